// The page: wires `<grad-cam>` and the package to the panel, the address bar and everything that is dropped.

import { COLORMAPS, DEFAULT_MODEL, METHODS, loadModel } from "./gradcam-web/index.js";
import { readAddress, writeAddress } from "./address.js";
import { AimPanel } from "./aim.js";
import { AskPanel } from "./ask.js";
import { ClassPanel } from "./classes.js";
import { ComparePanel } from "./compare.js";
import { ConceptsPanel } from "./concepts.js";
import { $, create } from "./dom.js";
import { embedCode, facts, fileName } from "./format.js";
import { watchIntake } from "./intake.js";
import { JudgePanel } from "./judge.js";
import { LayerPanel } from "./layers.js";
import { Legend, createColormapChoice } from "./legend.js";
import { noteOf, wordsAbout } from "./methods.js";
import { watchTabs } from "./tabs.js";
import { UnitsPanel } from "./units.js";

const picture = $("picture");
const state = readAddress();
/** A dropped model is not in the address: its bytes are only here. @type {import("./intake.js").OwnModel | undefined} */
let ownModel;
/** @type {AbortController | undefined} */
let loading;
/** The model in use. @type {import("gradcam-web").Model | undefined} */
let model;
/** The settings by which it was loaded. */
let settled = { ownModel: undefined, model: undefined, backend: "auto" };
// The engine and the network take the longest: they are on their way while the page is put together.
void startModel();

const classes = new ClassPanel(chooseClass);
const legend = new Legend();
const layers = new LayerPanel((layer) => choose({ layer }));
const aim = new AimPanel(choose);
const ask = new AskPanel(picture, { onChoose: chooseClass, onError: showError });
const style = () => ({ colormap: state.colormap, opacity: Number(state.opacity) });
const judge = new JudgePanel({ style, error: showError });
const compare = new ComparePanel({
  style,
  measured: (explanation, measures) => judge.remember(explanation, measures),
  settings: () => {
    const { layer, target, "rather-than": rival, smooth } = state;
    return { layer, target, "rather-than": rival, smooth };
  },
  choose(settings, explanation) {
    choose({ ...settings, layer: isUsual(settings.layer) ? undefined : settings.layer });
    // It is there already.
    picture.show(explanation);
    $("stage").scrollIntoView({ block: "nearest" });
  },
});
const units = new UnitsPanel({ style, choose: showUnit, error: showError });
const concepts = new ConceptsPanel({ style, choose: showUnit, error: showError });
/** Everything below the picture that follows it. */
const panels = [aim, ask, compare, judge, units, concepts];

// Settings: the address bar, the element and the panel always say the same.

/** Takes over a choice, by its name in the address. */
function choose(change) {
  hideError();
  Object.assign(state, change);
  apply();
}

function chooseClass(index) {
  // Nothing is rather than itself.
  choose({ class: String(index), "rather-than": state["rather-than"] === String(index) ? undefined : state["rather-than"] });
}

function apply() {
  writeAddress({ ...state, src: typeof state.src === "string" && !state.src.startsWith("blob:") ? state.src : undefined });
  picture.method = state.method;
  picture.targetClass = state.class ?? null;
  // A list would count as a change each time.
  if (String(picture.targetLayer ?? "") !== String(state.layer ?? "")) picture.targetLayer = state.layer?.length === 1 ? state.layer[0] : state.layer ?? null;
  picture.target = state.target;
  picture.ratherThan = state["rather-than"] ?? null;
  picture.augSmooth = state.smooth?.includes("aug");
  picture.eigenSmooth = state.smooth?.includes("eigen");
  picture.colormap = state.colormap;
  picture.opacity = state.opacity;
  $("method").value = state.method;
  const method = METHODS.find(({ name }) => name === state.method);
  $("method-summary").replaceChildren(...(method ? [method.summary, " ", link(method.paper, "Paper")] : []));
  const { shows, misleads, warning = "" } = wordsAbout(state.method);
  $("method-shows").textContent = shows;
  $("method-misleads").textContent = misleads;
  $("warning").textContent = warning;
  layers.select(state.layer);
  aim.select(state);
  $("opacity").value = state.opacity;
  // Where the slider is: another number is the element's to refuse.
  $("opacity-value").textContent = `${Math.round(100 * $("opacity").valueAsNumber)} %`;
  $("backend-choice").value = state.backend;
  const radio = document.querySelector(`#colormaps input[value="${CSS.escape(state.colormap)}"]`);
  if (radio) radio.checked = true;
  legend.show(state.colormap);
  tellNote();
  [compare, judge, units, concepts].forEach((panel) => panel.restyle());
}

function isUsual(layers) {
  return !layers?.length || (layers.length === 1 && layers[0] === model.defaultLayer);
}

function link(href, text) {
  return create("a", { href, textContent: text, rel: "noreferrer" });
}

// The model.

/** Takes another model: a dropped one, or the default. What was chosen of the one before means nothing to it. */
function useModel(own) {
  hideError();
  const { class: targetClass, layer, "rather-than": rival } = state;
  const before = { class: targetClass, layer, "rather-than": rival };
  ownModel = own;
  Object.assign(state, { model: undefined, class: undefined, layer: undefined, "rather-than": undefined });
  void startModel(before);
}

/**
 * Loads the model that the settings name. Until it is there, and if it can't be had, the one before stays, with what was
 * chosen of it.
 */
async function startModel(before = {}) {
  loading?.abort();
  const { signal } = (loading = new AbortController());
  const wanted = { ownModel, model: state.model, backend: state.backend };
  const source = ownModel?.source ?? state.model ?? DEFAULT_MODEL;
  const report = (fraction) => !signal.aborted && showProgress("Getting the network ready", fraction);
  report(0);
  const promise = loadModel(source, { backend: state.backend, onProgress: report, signal });
  // The first model: a photo may already be waiting for it.
  if (!model) picture.model = promise;
  try {
    const loaded = await promise;
    if (signal.aborted) return loaded.dispose();
    const previous = model;
    model = loaded;
    settled = wanted;
    if (previous) {
      picture.model = model;
      apply();
      forgetPrediction();
      previous.dispose();
    }
    showModel();
    // By then the GPU may have taken over.
    void loaded.settled.then(() => model === loaded && showEngine(picture.prediction?.model === loaded ? picture.explanation : undefined));
    if (!state.src) hideProgress();
  } catch (error) {
    if (signal.aborted) return;
    // What is still on its way has no progress to show any more.
    loading.abort();
    showError({ name: error.name, message: wanted.ownModel?.tell(error.message) ?? error.message });
    const isDefault = source === DEFAULT_MODEL && wanted.backend === "auto";
    ownModel = settled.ownModel;
    Object.assign(state, { model: settled.model, backend: settled.backend, ...before });
    apply();
    if (!model && !isDefault) void startModel();
  }
}

function showModel() {
  layers.show(model, state.layer);
  $("default-model").hidden = !ownModel && !state.model;
  classes.expect(model.labels.length);
  showEngine();
}

function showEngine(explanation) {
  $("backend").hidden = false;
  $("backend").dataset.backend = model.backend;
  $("backend-name").textContent = model.backend === "webgpu" ? "WebGPU" : "CPU";
  $("backend-reason").textContent = model.backendReason;
  $("facts").replaceChildren(...facts(model, explanation).flatMap(([term, value, attention]) => [
    create("dt", { textContent: term }),
    create("dd", { textContent: value, className: attention ? "attention" : "" }),
  ]));
}

// The picture.

/** From here on the element's progress is that of the explanation. */
const CLASSIFIED = 0.85;
/** What takes a moment with every network. */
const FALLBACK = { method: "grad-cam", smooth: undefined };
/** How the last heatmap was made: Stop returns to it. */
let lastWay = FALLBACK;

/** The one before, to return to. @type {{ src: unknown, fileName: string | undefined, class: string | undefined } | undefined} */
let lastPicture;
/** The one that was no picture. */
let failedSrc;

function openImage(image, name) {
  hideError();
  if (state.src !== image) {
    const { src, fileName, class: targetClass } = state;
    if (src !== undefined && src !== failedSrc) lastPicture = { src, fileName, class: targetClass };
    state.class = state["rather-than"] = undefined;
  }
  state.src = image;
  state.fileName = name;
  openPicture();
}

/** Shows what the settings name. */
function openPicture() {
  apply();
  $("stage").dataset.state = "busy";
  $("empty").hidden = true;
  $("frame").hidden = false;
  picture.alt = state.fileName ?? "";
  $("stage").style.removeProperty("--ratio");
  forgetPrediction();
  showProgress(model ? "Reading the photo" : "Getting the network ready", 0);
  picture.src = null;
  picture.src = state.src;
}

/** What was said of another picture, or by another network. */
function forgetPrediction() {
  classes.clear();
  panels.forEach((panel) => panel.show(undefined));
  hideHeatmap();
}

/** Without a heatmap there is nothing to read off a legend, to save or to look at more closely. */
function hideHeatmap() {
  for (const id of ["bench", "under", "note", "hint", "warning", "showing", "cell"]) $(id).hidden = true;
  $("save").disabled = true;
}

/** What is shown in place of the heatmap. @type {import("gradcam-web").Unit | import("gradcam-web").Concept | undefined} */
let shownUnit;

function showUnit(unit, sentence) {
  shownUnit = unit;
  picture.show(unit);
  $("showing-text").textContent = sentence;
  $("showing").hidden = false;
  // They are about the heatmap.
  $("note").hidden = $("warning").hidden = true;
  units.mark(unit);
  $("stage").scrollIntoView({ block: "nearest" });
}
$("showing-back").addEventListener("click", () => {
  picture.show();
  hideUnit();
  picture.focus({ preventScroll: true });
});
function hideUnit() {
  shownUnit = undefined;
  $("showing").hidden = true;
  tellNote();
  $("note").hidden = false;
  $("warning").hidden = $("warning").textContent === "";
  units.mark(undefined);
}

function tellNote() {
  const { explanation, prediction } = picture;
  if (explanation) $("note").textContent = noteOf(explanation, prediction.model.labels, state.colormap);
}

picture.addEventListener("progress", ({ detail: { totalProgress } }) => {
  if (!model) return;
  if (totalProgress < CLASSIFIED) return showProgress("Running the network", totalProgress / CLASSIFIED);
  // Slow methods take minutes here: they get the whole bar, and a way out.
  const canStop = state.method !== FALLBACK.method || Boolean(state.smooth);
  showProgress("Explaining", (totalProgress - CLASSIFIED) / (1 - CLASSIFIED), canStop);
});

$("progress-stop").addEventListener("click", () => {
  const isSame = state.method === lastWay.method && String(state.smooth) === String(lastWay.smooth);
  choose(isSame ? FALLBACK : lastWay);
  picture.focus({ preventScroll: true });
});

picture.addEventListener("load", ({ detail: prediction }) => {
  $("empty").hidden = true;
  $("frame").hidden = false;
  $("stage").style.setProperty("--ratio", prediction.image.width / prediction.image.height);
  classes.show(prediction);
  panels.forEach((panel) => panel.show(prediction));
});

picture.addEventListener("explain", ({ detail: explanation }) => {
  hideProgress();
  $("stage").dataset.state = "ready";
  for (const id of ["under", "hint", "bench"]) $(id).hidden = false;
  $("save").disabled = false;
  lastWay = { method: explanation.method, smooth: state.smooth };
  hideUnit();
  classes.mark(explanation.targetClass);
  panels.forEach((panel) => panel.explained(explanation));
  showEngine(explanation);
  document.body.dataset.backend = picture.prediction.model.backend;
});

picture.addEventListener("error", ({ detail }) => {
  showError(detail);
  if (detail.name === "ImageError") {
    failedSrc = state.src;
    const previous = lastPicture;
    lastPicture = undefined;
    if (previous) {
      // Nobody loses a picture to a file that is none.
      Object.assign(state, previous);
      return openPicture();
    }
  }
  hideHeatmap();
  // Without a picture there is room for another one.
  const hasPicture = Boolean(picture.prediction);
  $("stage").dataset.state = hasPicture ? "error" : "empty";
  $("empty").hidden = hasPicture;
  $("frame").hidden = !hasPicture;
});

picture.addEventListener("pointermove", ({ clientX, clientY }) => legend.mark(picture.valueAt(clientX, clientY)));
picture.addEventListener("pointerleave", () => legend.mark(undefined));

// Progress and errors.

function showProgress(text, fraction, canStop = false) {
  const percent = Math.round(100 * fraction);
  $("progress").hidden = false;
  $("progress-stop").hidden = !canStop;
  $("progress-value").setAttribute("aria-valuenow", percent);
  $("progress-bar").style.transform = `scaleX(${fraction})`;
  $("progress-text").textContent = `${text} … ${percent} %`;
}

function hideProgress() {
  $("progress").hidden = true;
}

/** What each kind of error means for a person. */
const ERROR_TITLES = {
  ImageError: "This picture can't be used",
  ModelError: "This network can't be used",
  UnsupportedError: "Not possible with this network",
  TargetError: "This choice does not exist",
  DeviceError: "The computation failed",
};

function showError({ name, message }) {
  hideProgress();
  $("error").hidden = false;
  $("error").dataset.name = name;
  const title = ERROR_TITLES[name] ?? name;
  $("error-name").textContent = name === "ImageError" && state.fileName ? title.replace("This picture", state.fileName) : title;
  $("error-message").textContent = message;
}

function hideError() {
  $("error").hidden = $("notice").hidden = true;
}

/** Says what is no error. */
function showNotice(sentence) {
  $("notice").textContent = sentence;
  $("notice").hidden = false;
}

// Controls.

$("method").append(...METHODS.map(({ name, title }) => new Option(title, name)));
$("method").addEventListener("change", ({ target }) => choose({ method: target.value }));
$("opacity").addEventListener("input", ({ target }) => choose({ opacity: target.value }));
$("backend-choice").addEventListener("change", ({ target }) => {
  choose({ backend: target.value });
  startModel();
});
$("default-model").addEventListener("click", () => useModel());
$("error-close").addEventListener("click", hideError);
watchTabs($("tabs"), (id) => units.open(id === "units"));
createColormapChoice($("colormaps"), COLORMAPS, (colormap) => choose({ colormap }));

let holding = false;
function hold(on) {
  if (holding === on) return;
  holding = on;
  picture.showOriginal(on);
  $("peek").classList.toggle("held", on);
}
$("peek").addEventListener("pointerdown", (event) => {
  $("peek").setPointerCapture(event.pointerId);
  hold(true);
});
for (const type of ["pointerup", "pointercancel", "lostpointercapture", "blur"]) $("peek").addEventListener(type, () => hold(false));
$("peek").addEventListener("contextmenu", (event) => event.preventDefault());
const holds = ({ key, target, ctrlKey, metaKey, altKey }) => {
  if (ctrlKey || metaKey || altKey) return false;
  if (target === $("peek")) return [" ", "Enter", "o", "O"].includes(key);
  return (key === "o" || key === "O") && !target.closest("input[type=search], select, textarea");
};
addEventListener("keydown", (event) => {
  if (!holds(event)) return;
  event.preventDefault();
  hold(true);
});
addEventListener("keyup", () => hold(false));
addEventListener("blur", () => hold(false));

function shownName() {
  if (!shownUnit) return undefined;
  return shownUnit.channel === undefined ? "concept" : `channel-${shownUnit.channel}`;
}

$("save").addEventListener("click", async () => {
  tell("action-status", "Saving …");
  const blob = await picture.toBlob().catch(showError);
  if (!blob) return tell("action-status", "");
  const anchor = create("a", { href: URL.createObjectURL(blob), download: `${fileName(state)}-${shownName() ?? state.method}.png` });
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(anchor.href), 10_000);
  tell("action-status", `Saved at ${picture.prediction.image.width} × ${picture.prediction.image.height} pixels.`);
});
$("link").addEventListener("click", async () => {
  const local = [state.src instanceof Blob && "the photo", ownModel && "the model"].filter(Boolean).join(" and ");
  await copy(location.href, "action-status", local ? `Link copied. ${local[0].toUpperCase()}${local.slice(1)} stayed on this device and is not in it.` : "Link copied.");
});
$("embed").addEventListener("click", () => {
  $("embed-code").textContent = embedCode({ ...state, model: ownModel ? "model.json" : state.model });
  $("embed-status").textContent = "";
  $("embed-dialog").showModal();
});
$("embed-copy").addEventListener("click", () => copy($("embed-code").textContent, "embed-status", "Copied."));

async function copy(text, statusId, done) {
  try {
    await navigator.clipboard.writeText(text);
    tell(statusId, done);
  } catch {
    tell(statusId, `The browser does not allow copying here: ${text}`);
  }
}

function tell(id, text) {
  $(id).textContent = text;
}

watchIntake({
  image: (image) => openImage(image, image.name),
  model: useModel,
  note: showNotice,
  error: showError,
});

async function showSamples() {
  const samples = await fetch("samples/samples.json").then((response) => (response.ok ? response.json() : []), () => []);
  const images = samples.map(({ title }) => create("img", { alt: title, loading: "lazy" }));
  $("samples").hidden = samples.length === 0;
  $("samples").querySelector("ul").replaceChildren(...samples.map(({ file, title }, i) => {
    const button = create("button", { type: "button", title }, images[i]);
    button.addEventListener("click", () => openImage(new URL(`samples/${file}`, location.href).href, title));
    return create("li", {}, button);
  }));
  // The picture that was asked for comes before those that could be; a slow method does not.
  if (state.src) {
    await new Promise((resolve) => {
      for (const type of ["explain", "error"]) picture.addEventListener(type, resolve, { once: true });
      picture.addEventListener("load", () => setTimeout(resolve, 1000), { once: true });
    });
  }
  images.forEach((image, i) => (image.src = `samples/${samples[i].file}`));
}

// The page is put together, and in a task of its own it is filled: the browser may answer in between.
await new Promise((resolve) => setTimeout(resolve));
if (state.src) openPicture();
else apply();
document.documentElement.dataset.started = "";
void showSamples();
