// Curves as small vector pictures.

const [WIDTH, HEIGHT] = [240, 130];
/** Room for the numbers of the axes. */
const [LEFT, BOTTOM] = [26, 16];

/**
 * @param {string} label what the picture shows, for those who do not see it
 * @param {{ name: string, x: ArrayLike<number>, y: ArrayLike<number>, filled?: boolean }[]} curves x from 0 to 1
 * @param {[number, number]} [range] of y
 */
export function chart(label, curves, range) {
  const all = curves.flatMap(({ y }) => [...y]);
  const [low, high] = range ?? [Math.min(0, ...all), Math.max(0, ...all)];
  const across = (x) => LEFT + x * (WIDTH - LEFT - 4);
  const up = (y) => 6 + (1 - (y - low) / (high - low || 1)) * (HEIGHT - BOTTOM - 8);
  const picture = node("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label, class: "chart" });
  for (const y of new Set([low, 0, high])) {
    picture.append(node("line", { x1: across(0), x2: across(1), y1: up(y), y2: up(y), class: "axis" }));
    // A number that 0 would be written over goes without saying.
    if (y === 0 || Math.abs(up(y) - up(0)) > 9) picture.append(text(across(0) - 4, up(y) + 3, number(y), "end"));
  }
  picture.append(text(across(0), HEIGHT - 3, "0", "middle"), text(across(1), HEIGHT - 3, "100 %", "end"));
  curves.forEach(({ name, x, y, filled }, i) => {
    const points = Array.from(x, (x, at) => `${across(x).toFixed(1)},${up(y[at]).toFixed(1)}`).join(" ");
    if (filled)
      picture.append(
        node("polygon", {
          points: `${across(x[0])},${up(0)} ${points} ${across(x[x.length - 1])},${up(0)}`,
          class: "area",
        }),
      );
    const line = node("polyline", { points, class: `curve curve-${i}` });
    line.append(node("title", {}, name));
    picture.append(line);
  });
  return picture;
}

function node(tag, attributes, content = "") {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.textContent = content;
  return node;
}

function text(x, y, content, anchor) {
  return node("text", { x, y, "text-anchor": anchor }, content);
}

function number(value) {
  return Number(value.toPrecision(2)).toString().replace("-", "−");
}
