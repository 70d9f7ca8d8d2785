// An anywidget front-end: one `<grad-cam>` as the output of a notebook's cell (Jupyter, marimo, VS Code, Colab, MyST).
//
// Notebooks load this file from a blob or under a hashed name, so that it can't import its neighbours: it takes the rest
// of the package from the addresses in the trait `bases`, the first that answers, else from a CDN in this exact version.

/** Written by the build: the version that this file belongs to. */
const VERSION = "0.1.0";
const CDN = `https://cdn.jsdelivr.net/npm/gradcam-web@${VERSION}/`;

/** A trait has an underscore where an attribute of the element has a hyphen. */
const traitOf = (attribute) => attribute.replaceAll("-", "_");

/** One copy of the package for all cells. @type {Promise<object> | undefined} */
let loading;

/** Whether an address is this computer's own, or that of no host, as in an editor's window. */
const isLocal = ({ protocol, hostname }) =>
  !protocol.startsWith("http") || /(^|\.)localhost$|^127\.|^\[::1\]$/.test(hostname);

/** The addresses to try in turn. A published page leaves its author's computer to the end: its reader would be asked for leave. */
function places(bases) {
  const near = (base) => isLocal(new URL(base)) && !isLocal(location);
  return [...bases.filter((base) => !near(base)), CDN, ...bases.filter(near)];
}

async function load(bases) {
  const tried = [];
  for (const base of places(bases ?? [])) {
    try {
      return await import(/* @vite-ignore */ /* webpackIgnore: true */ new URL("index.js", base).href);
    } catch (error) {
      tried.push(`${base} (${error.message})`);
    }
  }
  throw new Error(`gradcam-web can't be loaded from ${tried.join(", nor from ")}.`);
}

/** A trait's bytes as the element takes them. */
function asSource(value) {
  if (!(value instanceof DataView) || value.byteLength === 0) return undefined;
  return new Blob([new Uint8Array(value.buffer, value.byteOffset, value.byteLength)]);
}

/** What crosses to Python: numbers as bytes of float32. */
const bytesOf = (numbers) => new DataView(new Float32Array(numbers).buffer);

async function render({ model, el }) {
  const figure = document.createElement("grad-cam");
  el.append(figure);
  const message = document.createElement("p");
  try {
    loading ??= load(model.get("bases"));
    const { loadModel } = await loading;
    // The page may have had the element before, of another copy of the package.
    const { observedAttributes } = customElements.get("grad-cam");
    const attributes = observedAttributes.filter((name) => model.get(traitOf(name)) !== undefined);
    return await show({ model, figure, loadModel, attributes });
  } catch (error) {
    loading = undefined;
    message.setAttribute("role", "alert");
    message.textContent = error.message;
    figure.replaceWith(message);
    return () => message.remove();
  }
}

async function show({ model, figure, loadModel, attributes }) {
  let own;
  /** A network given as bytes is loaded here, once; the element is handed the loaded one. */
  const takeModel = async () => {
    const bytes = asSource(model.get("model_bytes"));
    const before = own;
    own = bytes && (await loadModel(bytes, { backend: model.get("backend") || "auto", labels: labelsOf() }));
    if (own) figure.model = own;
    before?.dispose();
  };
  const labelsOf = () => {
    const labels = model.get("labels");
    return labels?.length ? labels : undefined;
  };
  const put = (name) => {
    const bytes = name === "src" ? asSource(model.get("image_bytes")) : undefined;
    let value = model.get(traitOf(name));
    if (name === "labels") value = labelsOf() && `data:application/json,${encodeURIComponent(JSON.stringify(value))}`;
    // A loaded network has its labels.
    if (own && ["model", "labels"].includes(name)) return;
    figure[name.replace(/-(.)/g, (_, letter) => letter.toUpperCase())] = bytes ?? (value === "" ? null : value);
  };
  const update = () => attributes.forEach(put);
  const tell = (values) => {
    for (const [name, value] of Object.entries(values)) model.set(name, value);
    model.save_changes();
  };

  figure.loading = "eager";
  figure.addEventListener("explain", ({ detail }) => {
    const { prediction, targetClass, targetLayer, map, heatmap } = detail;
    tell({
      error: "",
      label: prediction.model.labels[targetClass],
      class_index: targetClass,
      layer: targetLayer,
      probability: prediction.probabilities[targetClass],
      scores_bytes: bytesOf(prediction.scores),
      probabilities_bytes: bytesOf(prediction.probabilities),
      heatmap_size: [heatmap.width, heatmap.height],
      heatmap_bytes: bytesOf(heatmap.values),
      map_bytes: bytesOf(map.values),
    });
  });
  figure.addEventListener("error", ({ detail }) => tell({ error: `${detail.name}: ${detail.message}` }));

  const fail = (error) => {
    tell({ error: `${error.name}: ${error.message}` });
    figure.replaceChildren(error.message);
  };
  await takeModel().catch(fail);
  update();
  // A trait that changes concerns its own attribute: the rest is not computed again.
  const changes = attributes.map((name) => [`change:${traitOf(name)}`, () => put(name)]);
  changes.push(["change:image_bytes", () => put("src")]);
  changes.push(["change:model_bytes", () => takeModel().then(update, fail)]);
  for (const [event, listener] of changes) model.on(event, listener);
  return () => {
    for (const [event, listener] of changes) model.off(event, listener);
    figure.remove();
    own?.dispose();
  };
}

export default { render };
