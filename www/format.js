// Numbers and settings in words.

import { grouped, percent as inPercent } from "./gradcam-web/words.js";
import { DEFAULTS } from "./store.js";

export { grouped };

/** "12.3 ms" or "1.20 s". @param {number} time in milliseconds */
export function milliseconds(time) {
  if (time >= 1000) return `${(time / 1000).toFixed(2)} s`;
  return `${time < 100 ? time.toFixed(1) : Math.round(time)} ms`;
}

/** "93 %", with spaces at which no line breaks. @param {number} probability */
export function percent(probability) {
  return inPercent(probability).replaceAll(" ", "\u00a0");
}

/** "+1.24", with as many digits as matter. @param {number} number */
export function signed(number) {
  const size = Math.abs(number);
  const digits = size >= 100 ? 0 : size >= 10 ? 1 : size >= 0.1 || size === 0 ? 2 : 3;
  // A minus sign, which is as wide as the plus, not a hyphen.
  return `${number < 0 ? "−" : "+"}${size.toFixed(digits)}`;
}

/** "7 × 7 × 512" */
export function sizeText({ shape: [channels, height, width] }) {
  return `${width} × ${height} × ${grouped(channels)}`;
}

/** "Conv, 7 × 7, 512 channels" */
export function layerText({ operator, shape: [channels, height, width] }) {
  return `${operator}, ${width} × ${height}, ${grouped(channels)} channels`;
}

/** What there is to know about the network and how it ran: term, value, and whether that needs attention. */
export function facts(model, explanation) {
  const { input, labels, preprocess } = model;
  const rows = [
    ["Network", model.name ?? "unnamed"],
    ["Input", `${input.width} × ${input.height}, ${input.channels === 1 ? "grey" : "colour"}, ${preprocess.resize}`],
    ["Classes", grouped(labels.length)],
    ["Preprocessing", model.preprocessReason, model.preprocessGuessed],
    ["Backend", `${model.backend === "webgpu" ? "WebGPU" : "CPU"}: ${model.backendReason}`],
  ];
  if (explanation) {
    const { preprocess, forward, explain, total } = explanation.timings;
    rows.push([
      "Times",
      `preprocess ${milliseconds(preprocess)}, forward ${milliseconds(forward)}, explain ${milliseconds(explain)}, total ${milliseconds(total)}`,
    ]);
  }
  return rows;
}

/** "4.9 MB" @param {number} count */
export function bytesText(count) {
  const [size, unit] = count < 1e6 ? [count / 1e3, "kB"] : [count / 1e6, "MB"];
  return `${size < 10 ? size.toFixed(1) : grouped(Math.round(size))} ${unit}`;
}

/** What a network's file holds: term and value. @param {import("./inside.js").Inside} inside */
export function insideFacts(bytes, { opset, producer, parameters, isSplit, operators }, { layers }) {
  const used = [...operators].map(([operator, count]) => `${grouped(count)} ${operator}`);
  return [
    ["Size", bytesText(bytes)],
    ["Format", `ONNX, opset ${opset}${producer && `, written by ${producer}`}`],
    ["Parameters", `${grouped(parameters)}${isSplit ? ", some of them in further files" : ""}`],
    ["Operators", used.join(", ")],
    ["Layers", `${grouped(layers.length)} with a map: all of them under Adjust, All layers`],
  ];
}

/** A name for the saved picture. */
export function fileName({ src, fileName }) {
  const name = fileName ?? (typeof src === "string" ? src.split(/[?#]/)[0].split("/").pop() : "");
  return name.replace(/\.[^.]*$/, "").replace(/[^\p{L}\p{N}._-]+/gu, "-") || "photo";
}

/** The lines that put the present view on another page. */
export function embedCode(state) {
  const { src, alt, attributes } = figureOf(state);
  const quoted = (text) => text.replaceAll("&", "&amp;").replaceAll('"', "&quot;");
  const written = attributes.map(([name, value]) => (value === "" ? name : `${name}="${quoted(value)}"`));
  // An attribute holds one layer only.
  const several =
    state.layer?.length > 1
      ? `\n<script type="module">\n  document.querySelector("grad-cam").targetLayer = ${JSON.stringify(state.layer)};\n</script>`
      : "";
  return `<script type="module" src="gradcam-web/index.js"></script>\n<grad-cam ${written.join(" ")}>\n  <img src="${quoted(src)}" alt="${quoted(alt)}">\n</grad-cam>${several}`;
}

/** The attributes of an element that shows what the page shows; those without a value are "". */
export function figureOf(state) {
  const src = typeof state.src === "string" ? state.src : "photo.jpg";
  // Better than nothing, which a person would have to fill in: what the network sees, or the file's name.
  const alt = state.alt || state.seen || fileName({ src });
  const unusual = (name) => (state[name] === DEFAULTS[name] ? undefined : state[name]);
  const attributes = [
    ["src", src],
    ["alt", alt],
    ["model", state.model],
    ["method", state.method],
    ["target-class", state.label ?? state.class],
    ["target-layer", state.layer?.length === 1 ? state.layer[0] : undefined],
    ["target", unusual("target")],
    ["rather-than", state["rather-than"]],
    ["colormap", unusual("colormap")],
    ["opacity", unusual("opacity")],
  ]
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => [name, String(value)]);
  attributes.push(...(state.smooth ?? []).map((kind) => [`${kind}-smooth`, ""]), ["controls", ""]);
  return { src, alt, attributes };
}
