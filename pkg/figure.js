// A heatmap for places without a page: the figure with its legend and caption. Few pages want it, so it is fetched when one does.

/** Sizes of a figure's foot, by the picture's: enough to be read on a small one, no wider than it. */
function footOf({ width, height }) {
  const size = Math.max(11, Math.round(Math.max(width, height) / 40));
  return { size, pad: Math.round(size * 0.7), bar: Math.round(size * 0.8), height: Math.round(size * 4.6) };
}

/**
 * The figure as SVG: the overlay as a PNG within, lines as paths, legend and caption as text.
 *
 * @param {any} map a `MapOverImage` @param {string} caption of it @param {{ width: number, height: number }} picture
 * @param {import("./index.js").Style} style @param {Uint8Array} colors of the legend
 */
export async function svgOf(map, caption, picture, style, colors) {
  const { contours, boxes, ...plain } = style;
  const { width, height } = picture;
  const { size, pad, bar, height: foot } = footOf(picture);
  const png = await base64(await map.toBlob(plain));
  const threshold = style.threshold || undefined;
  const paths = [
    ...(contours ? map.contours({ threshold }) : []).map(
      (line) => `M${line.map((point) => point.map(round)).join("L")}Z`,
    ),
    ...(boxes ? map.boxes({ threshold }) : []).map((r) => `M${r.x},${r.y}h${r.width}v${r.height}h${-r.width}Z`),
  ].join("");
  const line = Math.max(1.5, Math.max(width, height) / 300);
  const stops = Array.from({ length: 18 }, (_, i) => {
    const [r, g, b] = colors.subarray(45 * i, 45 * i + 3);
    return `<stop offset="${round(i / 17)}" stop-color="rgb(${r},${g},${b})"/>`;
  });
  const text = (x, y, words, anchor) => `<text x="${x}" y="${y}" text-anchor="${anchor}">${escape(words)}</text>`;
  const top = height + pad;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height + foot}" width="${width}" height="${height + foot}" font-family="system-ui, sans-serif" font-size="${size}">`,
    `<title>${escape(caption || map.note)}</title>`,
    `<defs><linearGradient id="legend">${stops.join("")}</linearGradient></defs>`,
    `<image width="${width}" height="${height}" href="data:image/png;base64,${png}"/>`,
    paths && `<path d="${paths}" fill="none" stroke="#000" stroke-opacity="0.6" stroke-width="${2 * line}"/>`,
    paths && `<path d="${paths}" fill="none" stroke="#fff" stroke-width="${line}"/>`,
    `<rect x="0" y="${top}" width="${width}" height="${bar}" fill="url(#legend)"/>`,
    text(0, top + bar + size * 1.1, "0", "start"),
    text(width, top + bar + size * 1.1, "1", "end"),
    caption && text(0, top + bar + size * 2.5, caption, "start"),
    "</svg>",
  ]
    .filter(Boolean)
    .join("\n");
}

/** The figure as a canvas. @param {string} caption @param {HTMLCanvasElement | OffscreenCanvas} overlay @param {Uint8Array} colors */
export function figureOf(caption, overlay, colors, createCanvas) {
  const { width, height } = overlay;
  const { size, pad, bar, height: foot } = footOf(overlay);
  const canvas = createCanvas(width, height + foot);
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height + foot);
  context.drawImage(overlay, 0, 0);
  const top = height + pad;
  for (let x = 0; x < width; x++) {
    const at = 3 * Math.min(255, Math.floor((256 * x) / width));
    context.fillStyle = `rgb(${colors.subarray(at, at + 3).join(" ")})`;
    context.fillRect(x, top, 1, bar);
  }
  context.fillStyle = "#111";
  context.font = `${size}px system-ui, sans-serif`;
  context.fillText("0", 0, top + bar + size * 1.1);
  context.textAlign = "right";
  context.fillText("1", width, top + bar + size * 1.1);
  context.textAlign = "left";
  // Squeezed rather than cut.
  context.fillText(caption, 0, top + bar + size * 2.5, width);
  return canvas;
}

function round(number) {
  return Math.round(100 * number) / 100;
}

function escape(text) {
  return text.replace(/[&<>"]/g, (letter) => `&#${letter.charCodeAt(0)};`);
}

async function base64(blob) {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  let text = "";
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return btoa(text);
}
