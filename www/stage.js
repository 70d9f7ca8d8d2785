// The picture with its heatmap, and the sentences under it.

import { $ } from "./dom.js";
import { hideMessages, showError, showNotice, showProgress } from "./messages.js";
import { noteOf, wordsAbout } from "./methods.js";
import { SAMPLES } from "./samples.js";

/** From here on the element's progress is that of the explanation. */
const CLASSIFIED = 0.85;
/** What takes a moment with every network. */
const FALLBACK = { method: "grad-cam", smooth: undefined };
/** How many of the values that a network does not have are named. */
const NAMED = 5;
/** No picture at all; the opening one has no address. */
const NONE = Symbol("none");

/** What is shown when nothing else was asked for. */
export const opening = SAMPLES[0] && new URL(`samples/${SAMPLES[0].file}`, document.baseURI).href;

export class Stage {
  #store;
  #picture;
  #panels;
  #networks;
  /** How the last heatmap was made: Stop returns to it. */
  #lastWay = FALLBACK;
  /** The last picture that was one, to return to from one that is none. */
  #before;
  /** Whether that is the one that the settings name. */
  #isPicture = false;
  #failed = NONE;
  /** Whether that one is shown again, in place of one that is none. */
  #isReturning = false;
  /** What is shown in place of the heatmap. @type {import("gradcam-web").Unit | import("gradcam-web").Concept | undefined} */
  #unit;
  /** Whether anything was explained: before that, what is asked for comes from a link. */
  #hasExplained = false;

  /**
   * @param {import("./store.js").Store} store @param {import("gradcam-web").GradCamElement} picture
   * @param {object[]} panels what follows the picture
   * @param {import("./networks.js").Networks} networks
   */
  constructor(store, picture, panels, networks) {
    this.#store = store;
    this.#networks = networks;
    this.#picture = picture;
    this.#panels = panels;
    store.watch((state, before) => {
      if (state.src === before.src) return;
      if (this.#isPicture) this.#before = { src: before.src, fileName: before.fileName, class: before.class };
      this.#isPicture = false;
      this.open();
    });
    picture.addEventListener("progress", ({ detail }) => this.#progress(detail.totalProgress));
    // The photo itself is there before the network has seen it.
    const photo = picture.shadowRoot.querySelector("[part=image]");
    photo.addEventListener("load", () => this.#shape(photo.naturalWidth, photo.naturalHeight));
    picture.addEventListener("load", ({ detail }) => this.#loaded(detail));
    picture.addEventListener("explain", ({ detail }) => this.#explained(detail));
    picture.addEventListener("error", ({ detail }) => this.#refused(detail));
    $("progress-stop").addEventListener("click", () => {
      const { method, smooth } = store.state;
      const isSame = method === this.#lastWay.method && String(smooth) === String(this.#lastWay.smooth);
      store.set(isSame ? FALLBACK : this.#lastWay);
      picture.focus({ preventScroll: true });
    });
    $("showing-back").addEventListener("click", () => {
      picture.show();
      this.#hideUnit();
      picture.focus({ preventScroll: true });
    });
  }

  /** Takes another photo. What was chosen of the one before means nothing to it. @param {Blob | string} image */
  take(image, fileName) {
    hideMessages();
    if (this.#store.state.src === image) return this.open();
    this.#store.set({ src: image, fileName, class: undefined, "rather-than": undefined }, { step: true });
  }

  /** Shows the picture that the settings name. */
  open() {
    const { src, fileName } = this.#store.state;
    const shown = src ?? opening;
    this.#isReturning = false;
    // Over a picture of one's own it would be in the way.
    $("hero").hidden = src !== undefined;
    if (!shown) return this.#state("empty");
    this.#state("busy");
    const sample = SAMPLES.find(({ file }) => String(shown).endsWith(`samples/${file}`));
    // The style has that of the first.
    $("stage").toggleAttribute("data-shapeless", this.#hasExplained || shown !== opening);
    // Laid out without it, as a small file may be there before the next frame: then it would seem to have moved.
    $("stage").getBoundingClientRect();
    this.#picture.alt = fileName ?? sample?.title ?? "";
    this.forget();
    showProgress(this.#networks.model ? "Reading the photo" : "Getting the network ready", 0);
    this.#picture.src = null;
    this.#picture.src = shown;
    this.#networks.want();
  }

  /** What was said of another picture, or by another network. */
  forget() {
    this.#panels.forEach((panel) => panel.show?.(undefined));
    this.#hideHeatmap();
  }

  /** Shows one channel or concept over the picture. */
  showUnit(unit, sentence) {
    this.#unit = unit;
    this.#picture.show(unit);
    $("showing-text").textContent = sentence;
    $("showing").hidden = false;
    // They are about the heatmap.
    $("note").hidden = $("warning").hidden = true;
    this.#panels.forEach((panel) => panel.mark?.(unit));
    this.reveal();
  }

  /** Scrolls to the picture, if it is out of sight. */
  reveal() {
    $("stage").scrollIntoView({ block: "nearest" });
  }

  /** The map that is over the picture. @type {import("gradcam-web").MapOverImage | undefined} */
  get shown() {
    return this.#unit ?? this.#picture.explanation;
  }

  /** A word for the file of what is shown. */
  get shownName() {
    if (!this.#unit) return undefined;
    return this.#unit.channel === undefined ? "concept" : `channel-${this.#unit.channel}`;
  }

  /** A warning stands there before the heatmap does, so that nothing moves then. @param {import("./store.js").Settings} state */
  select({ method }) {
    $("warning").textContent = wordsAbout(method).warning ?? "";
    $("warning").hidden = Boolean(this.#unit) || $("warning").textContent === "";
  }

  /** Another colormap has another word for its strongest places. */
  restyle() {
    const { explanation, prediction } = this.#picture;
    if (explanation) $("note").textContent = noteOf(explanation, prediction, this.#store.state.colormap);
  }

  #state(state) {
    $("stage").dataset.state = state;
    $("empty").hidden = state !== "empty";
    $("frame").hidden = state === "empty";
  }

  /** Without a heatmap there is nothing to save or to look at more closely. */
  #hideHeatmap() {
    for (const id of ["bench", "note", "hint", "showing", "cell"]) $(id).hidden = true;
    $("save").disabled = $("save-figure").disabled = true;
    $("under").inert = true;
  }

  #hideUnit() {
    this.#unit = undefined;
    $("showing").hidden = true;
    this.restyle();
    $("note").hidden = false;
    this.select(this.#store.state);
    this.#panels.forEach((panel) => panel.mark?.(undefined));
  }

  #progress(total) {
    if (!this.#networks.model) return;
    if (total < CLASSIFIED) return showProgress("Running the network", total / CLASSIFIED);
    // Slow methods take minutes here: they get the whole bar, and a way out.
    const { method, smooth } = this.#store.state;
    const canStop = method !== FALLBACK.method || Boolean(smooth);
    showProgress("Explaining", (total - CLASSIFIED) / (1 - CLASSIFIED), canStop);
  }

  /** Gives the picture its place. A drawing may have no size of its own. */
  #shape(width, height) {
    if (width && height) $("stage").style.setProperty("--ratio", width / height);
    $("stage").removeAttribute("data-shapeless");
  }

  #loaded(prediction) {
    this.#isPicture = true;
    this.#isReturning = false;
    this.#state("busy");
    const { width, height } = prediction.image;
    this.#shape(width, height);
    this.#panels.forEach((panel) => panel.show?.(prediction));
  }

  #explained(explanation) {
    this.#hasExplained = true;
    this.#networks.tellProgress();
    this.#state("ready");
    for (const id of ["hint", "bench"]) $(id).hidden = false;
    $("save").disabled = $("save-figure").disabled = $("under").inert = false;
    this.#lastWay = { method: explanation.method, smooth: this.#store.state.smooth };
    this.#hideUnit();
    this.#panels.forEach((panel) => panel.explained?.(explanation));
    document.body.dataset.backend = this.#picture.prediction.model.backend;
    const label = this.#picture.prediction.model.labels[explanation.targetClass];
    document.title = `${label}: why? gradcam-web`;
  }

  #refused(error) {
    const { src, fileName } = this.#store.state;
    const lacking = error.name === "TargetError" && !this.#hasExplained ? this.#lacking() : [];
    if (lacking.length > 0) {
      // A link to another network, most likely. The rest of it is shown, and what is not is said.
      this.#store.set(Object.fromEntries(lacking.map(([name]) => [name, undefined])));
      const all = lacking.flatMap(([name, values]) =>
        values.map((value) => `${name === "rather-than" ? "class" : name} ${value}`),
      );
      const more = all.length > NAMED ? `, nor ${all.length - NAMED} others` : "";
      return showNotice(
        all.length === 1
          ? `${error.message.replace(/(?<![.?!])$/, ".")} The usual is shown in its place.`
          : `This network has no ${all.slice(0, NAMED).join(" and no ")}${more}. The usual is shown in their place.`,
      );
    }
    const previous = this.#before;
    // What came over the network, or did not, may come the next time.
    const canRetry = error.name === "DeviceError" || (error.name === "ImageError" && !(src instanceof Blob));
    const retry = canRetry && (() => this.#retry(src, fileName));
    // Nobody loses a picture to a file that is none, or to a decoder that did not come.
    if (!this.#picture.prediction && previous && this.#failed !== src) {
      this.#failed = src;
      this.#before = undefined;
      this.#store.set(previous);
      this.#isReturning = true;
      return showError(error, { picture: fileName, retry });
    }
    // Of a network that did not come its own loader tells, and a picture to return to was not what a person asked for.
    const isTold = (!this.#networks.model && error.name !== "ImageError") || this.#isReturning;
    if (!isTold) showError(error, { picture: fileName, retry });
    this.#failed = src;
    this.#hideHeatmap();
    // Without a picture there is room for another one.
    this.#state(this.#picture.prediction ? "error" : "empty");
  }

  /** Which of the settings name what this network does not have. */
  #lacking() {
    const { model } = this.#picture.prediction ?? {};
    if (!model) return [];
    const { state } = this.#store;
    const isClass = (name) => (/^\d+$/.test(name) ? Number(name) < model.labels.length : model.labels.includes(name));
    const isLayer = (wanted) => model.layers.some(({ name }) => name === wanted);
    const wanted = { class: [state.class], "rather-than": [state["rather-than"]], layer: state.layer ?? [] };
    return Object.entries(wanted)
      .map(([name, values]) => [
        name,
        values.filter((value) => value !== undefined && !(name === "layer" ? isLayer : isClass)(value)),
      ])
      .filter(([, values]) => values.length > 0);
  }

  #retry(src, fileName) {
    this.#failed = NONE;
    if (src === undefined) this.open();
    else this.take(src, fileName);
  }
}
