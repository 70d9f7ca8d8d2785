// Numbers and settings in words.

/** "12.3 ms" or "1.20 s". @param {number} time in milliseconds */
export function milliseconds(time) {
  if (time >= 1000) return `${(time / 1000).toFixed(2)} s`;
  return `${time < 100 ? time.toFixed(1) : Math.round(time)} ms`;
}

/** "93 %", with a decimal where it matters. @param {number} probability */
export function percent(probability) {
  // With spaces at which no line breaks.
  if (probability > 0 && probability < 0.001) return "<\u00a00.1\u00a0%";
  return `${(100 * probability).toFixed(probability < 0.0995 ? 1 : 0)}\u00a0%`;
}

/** "+1.24", with as many digits as matter. @param {number} number */
export function signed(number) {
  const size = Math.abs(number);
  const digits = size >= 100 ? 0 : size >= 10 ? 1 : size >= 0.1 || size === 0 ? 2 : 3;
  // A minus sign, which is as wide as the plus, not a hyphen.
  return `${number < 0 ? "−" : "+"}${size.toFixed(digits)}`;
}

/** "1,000". Intl could do it, but loading what it knows takes 70 ms. @param {number} count a whole number */
export function grouped(count) {
  return String(count).replace(/\B(?=(\d{3})+$)/g, ",");
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
    rows.push(["Times", `preprocess ${milliseconds(preprocess)}, forward ${milliseconds(forward)}, explain ${milliseconds(explain)}, total ${milliseconds(total)}`]);
  }
  return rows;
}

/** A name for the saved picture. */
export function fileName({ src, fileName }) {
  const name = fileName ?? (typeof src === "string" ? src.split(/[?#]/)[0].split("/").pop() : "");
  return name.replace(/\.[^.]*$/, "").replace(/[^\p{L}\p{N}._-]+/gu, "-") || "photo";
}

/** The lines that put the present view on another page. */
export function embedCode(state) {
  const src = typeof state.src === "string" ? state.src : "photo.jpg";
  const quoted = (text) => text.replaceAll("&", "&amp;").replaceAll('"', "&quot;");
  const attributes = [
    ["src", src],
    ["alt", "…"],
    ["model", state.model],
    ["method", state.method],
    ["target-class", state.class],
    ["target-layer", state.layer?.length === 1 ? state.layer[0] : undefined],
    ["target", state.target === "score" ? undefined : state.target],
    ["rather-than", state["rather-than"]],
    ["colormap", state.colormap === "turbo" ? undefined : state.colormap],
    ["opacity", state.opacity === "0.5" ? undefined : state.opacity],
  ].filter(([, value]) => value !== undefined).map(([name, value]) => `${name}="${quoted(String(value))}"`);
  attributes.push(...(state.smooth ?? []).map((kind) => `${kind}-smooth`));
  // An attribute holds one layer only.
  const several = state.layer?.length > 1 ? `\n<script type="module">\n  document.querySelector("grad-cam").targetLayer = ${JSON.stringify(state.layer)};\n</script>` : "";
  return `<script type="module" src="gradcam-web/index.js"></script>\n<grad-cam ${attributes.join(" ")} controls>\n  <img src="${quoted(src)}" alt="…">\n</grad-cam>${several}`;
}
