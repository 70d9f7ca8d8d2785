import { ElementWithProperties } from "./attribute-properties.js";
import { ATTRIBUTES } from "./attributes.js";
import { BACKENDS } from "./backend.js";
import { COLORMAPS, METHODS } from "./catalog.js";
import { Controls, create, holdable } from "./element-controls.js";
import { STYLE } from "./element-style.js";
import { GradCamError, asGradCamError } from "./errors.js";
import { expectImage } from "./image-source.js";
import { DEFAULT_MODEL, absolute, addressOfModel } from "./manifest.js";
import { explain } from "./model.js";
import { drawForScreen } from "./results.js";
import { borrowModel } from "./shared-models.js";
import { OPACITIES } from "./view.js";
import { FIRST_FRAME, captionFor, languageOf, percent, say, wordsFor } from "./words.js";

/** What is done one after the other. A change repeats its own stage and those that follow. */
const STAGE = { model: 0, image: 1, explain: 2, done: 3 };

/** How much of the whole each stage is, as far as progress goes. */
const PROGRESS = [
  [0, 0.7],
  [0.7, 0.85],
  [0.85, 1],
];

/** How long a press on the picture is a click, which is the page's to use, and does not show the original. In milliseconds. */
const CLICK = 250;

/** Elements that are in a document. @type {Set<GradCamElement>} */
const living = new Set();

const hurry = Symbol("hurry");

/** The style of the elements of each document: a sheet can't be taken into another one. @type {WeakMap<Document, CSSStyleSheet>} */
const sheets = new WeakMap();

/** The stage that an attribute concerns; without one it only changes how things look. */
const STAGE_OF = Object.fromEntries(ATTRIBUTES.map(({ name, stage }) => [name, STAGE[stage]]));

/** `<grad-cam>`: an image, and over it the heatmap that explains a class. Attributes in, events out. */
export class GradCamElement extends ElementWithProperties {
  /** The first stage whose result does not fit the attributes. */
  #dirty = STAGE.model;
  /** Ends the run under way. @type {AbortController | undefined} */ #run;
  #scheduled = false;
  #wanted = false;
  #observer;
  /** @type {{ model: Promise<import("./model.js").Model>, release: () => void } | undefined} */ #borrowed;
  #model;
  /** What was asked for along with the prediction. @type {{ explanation?: Promise<any>, onProgress?: (fraction: number) => void } | undefined} */
  #asked;
  #prediction;
  #explanation;
  /** Whether what failed was the drawing: what it is drawn with may be put right. */
  #isUndrawn = false;
  /** What is drawn: the explanation, or another map over the same image. @type {import("./results.js").Explanation | import("./results.js").Unit | undefined} */
  #shown;
  #original = false;
  /** Where the pointer was last over the picture. @type {PointerEvent | undefined} */ #pointer;
  /** @type {{ src: unknown, made?: string, address?: string, failed: boolean } | undefined} */ #poster;
  #parts;
  #internals;
  /** Tells of changes of the slotted picture. @type {MutationObserver | undefined} */ #slotted;
  /** The slotted picture's address, while there is no `src`. @type {string | null} */ #slottedSrc = null;
  /** Cosmetic values that were told to be wrong already. */
  #warned = new Set();

  constructor() {
    super();
    this.#internals = this.attachInternals?.();
    this.#build();
  }

  // A wrong value of what only changes how things look is no reason to show nothing.

  get opacity() {
    return this.#within("opacity", super.opacity);
  }
  set opacity(value) {
    super.opacity = value;
  }
  get threshold() {
    return this.#within("threshold", super.threshold);
  }
  set threshold(value) {
    super.threshold = value;
  }

  /** What the network said of the image, once `load` was dispatched. */
  get prediction() {
    return this.#prediction;
  }
  /** What the attributes ask for, once `explain` was dispatched; none after `error`. */
  get explanation() {
    return this.#explanation;
  }

  /** What is drawn, as PNG at the image's size. */
  async toBlob() {
    if (!this.#shown) throw new GradCamError("ImageError", "There is no heatmap yet: wait for the event `explain`.");
    return this.#shown.toBlob({ ...this.#style(), opacity: this.opacity });
  }

  /**
   * Shows a map that was computed already over the image, until an attribute asks for another. An explanation takes the
   * place of the one that the attributes ask for, a unit only hides it; without a map the explanation is shown again.
   */
  show(map = this.#explanation) {
    if (!map || !this.#prediction) return;
    if (!map[drawForScreen]) throw new GradCamError("TargetError", "show takes an explanation or a unit.");
    this.#shown = map;
    if ("method" in map) {
      this.#run?.abort();
      this.#run = undefined;
      this.#dirty = STAGE.done;
      this.#explanation = map;
    }
    this.#draw();
    this.#show();
    if ("method" in map) this.#emit("explain", map);
  }

  /** Shows the image without its heatmap as long as `on`. */
  showOriginal(on) {
    this.#original = Boolean(on);
    this.#draw();
    this.#hover(this.#pointer);
  }

  /** The heatmap's number under a point of the window, if there is one. */
  valueAt(clientX, clientY) {
    const point = this.pointAt(clientX, clientY);
    return point && this.#shown?.valueAt(point.x, point.y);
  }

  /** The pixel of the image under a point of the window, if there is one. */
  pointAt(clientX, clientY) {
    const { canvas } = this.#parts;
    if (!this.#prediction || canvas.hidden) return undefined;
    const box = canvas.getBoundingClientRect();
    const { width, height } = this.#prediction.image;
    const x = Math.floor(((clientX - box.left) / box.width) * width);
    const y = Math.floor(((clientY - box.top) / box.height) * height);
    if (!(x >= 0 && y >= 0 && x < width && y < height)) return undefined;
    return { x, y };
  }

  /** Tries again after an error. */
  retry() {
    this.#schedule(this.#dirty);
  }

  // Life in the document.

  connectedCallback() {
    super.connectedCallback();
    this.#dress();
    this.#followSlotted();
    living.add(this);
    this.#observe();
    this.#show();
    this.#schedule(this.#dirty);
  }

  disconnectedCallback() {
    // An element that only moves is connected again before this turn ends.
    queueMicrotask(() => {
      if (this.isConnected) return;
      living.delete(this);
      this.#slotted?.disconnect();
      this.#slotted = undefined;
      this.#observer?.disconnect();
      this.#observer = undefined;
      this.#wanted = false;
      this.#run?.abort();
      // Nothing is at work any more, also when it comes back where nobody sees it.
      if (this.#dirty < STAGE.done) this.#setState();
      this.#release();
      this.#dirty = STAGE.model;
    });
  }

  adoptedCallback() {
    this.#dress();
  }

  /** Has the work begun although the element is not near the window. */
  [hurry]() {
    if (this.#wanted || !this.isConnected) return;
    this.#observer?.disconnect();
    this.#wanted = true;
    this.#schedule(this.#dirty);
  }

  /** A cosmetic number, brought to 0 to 1. @param {string} name @param {number} number as the attribute has it */
  #within(name, number) {
    if (number >= 0 && number <= 1) return number;
    const standard = ATTRIBUTES.find((attribute) => attribute.name === name).default;
    const taken = Number.isNaN(number) ? standard : Math.min(1, Math.max(0, number));
    this.#warn(name, this.getAttribute(name), `a number from 0 to 1 is accepted; ${taken} is taken`);
    return taken;
  }

  /** A cosmetic value from a list. */
  #oneOf(name, value, accepted) {
    if (accepted.includes(value)) return value;
    this.#warn(name, value, `${accepted.join(", ")} are accepted; ${accepted[0]} is taken`);
    return accepted[0];
  }

  #warn(name, value, sentence) {
    if (this.#warned.has(`${name} ${value}`)) return;
    this.#warned.add(`${name} ${value}`);
    console.warn(`<grad-cam>: ${name}="${value}": ${sentence}.`);
  }

  /** What is explained: what `src` says, else the slotted picture. */
  #source() {
    return this.src || this.#slottedSrc;
  }

  #picture() {
    return this.querySelector("img");
  }

  /** Follows the slotted picture, wherever in the content it is: generators wrap it, and `srcset` changes what it shows. */
  #followSlotted() {
    this.#slottedSrc = this.#slottedAddress();
    if (this.#slotted || typeof MutationObserver === "undefined") return;
    this.#slotted = new MutationObserver(() => this.#slottedChanged());
    const attributeFilter = ["src", "srcset", "sizes", "media", "alt", "width", "height"];
    this.#slotted.observe(this, { subtree: true, childList: true, attributes: true, attributeFilter });
  }

  #slottedAddress() {
    const image = this.#picture();
    if (!image) return null;
    // Which of several files is shown is known once it is fetched; it is fetched once it is near the window.
    const isChoice = image.hasAttribute("srcset") || image.parentElement?.localName === "picture";
    if (isChoice && !image.complete) return image.currentSrc || null;
    return (isChoice && image.currentSrc) || image.src || null;
  }

  #slottedChanged() {
    const address = this.#slottedAddress();
    if (address === this.#slottedSrc) return this.#show();
    this.#slottedSrc = address;
    if (!this.src) {
      this.#forgetImage();
      this.#schedule(STAGE.image);
    } else this.#show();
  }

  /** What shows and what is computed follow an attribute or its property. @param {string} name */
  changed(name) {
    if (STAGE_OF[name] !== undefined) {
      if (name === "src") this.#forgetImage();
      this.#schedule(STAGE_OF[name]);
    } else if (name === "loading") {
      this.#observe();
    } else {
      this.#draw();
      this.#show();
      if (this.#isUndrawn && !this.#run) this.#schedule(this.#dirty);
    }
  }

  #observe() {
    if (!this.isConnected || this.#wanted) return;
    this.#observer?.disconnect();
    if (this.loading === "eager" || !globalThis.IntersectionObserver) {
      this.#wanted = true;
      return this.#schedule(this.#dirty);
    }
    this.#observer = new IntersectionObserver(
      (entries) => {
        if (!entries.some((entry) => entry.isIntersecting)) return;
        this.#observer.disconnect();
        this.#wanted = true;
        this.#schedule(this.#dirty);
      },
      { rootMargin: "200px" },
    );
    this.#observer.observe(this);
  }

  // The work.

  /** Has everything from `stage` on done again. What is under way is of no use any more. */
  #schedule(stage) {
    this.#dirty = Math.min(this.#dirty, stage);
    this.#isUndrawn = false;
    this.#run?.abort();
    this.#run = undefined;
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      if (!this.isConnected || !this.#wanted || this.#dirty === STAGE.done) return;
      if (this.#source() !== null) return void this.#work();
      // Which of several files it is becomes known once the browser fetches it.
      const picture = this.#picture();
      if (picture) picture.loading = "eager";
    });
  }

  async #work() {
    const run = (this.#run = new AbortController());
    const { signal } = run;
    this.#asked = undefined;
    const stages = [this.#loadModel, this.#classify, this.#explain];
    const begin = (stage) =>
      stages[stage].call(this, signal, (fraction) => {
        if (!signal.aborted) this.#progress(PROGRESS[stage], fraction);
      });
    this.#setState("loading");
    try {
      let result = begin(this.#dirty);
      while (result) {
        const announce = await result;
        if (signal.aborted) return;
        this.#progress(PROGRESS[this.#dirty], 1);
        this.#dirty++;
        // Listeners take their time, and the worker need not wait for them.
        result = this.#dirty < STAGE.done ? begin(this.#dirty) : undefined;
        result?.catch(() => {});
        announce?.();
        // One of them may have changed an attribute.
        if (signal.aborted) return;
      }
    } catch (error) {
      if (!signal.aborted) this.#fail(error);
    } finally {
      if (this.#run === run) this.#run = undefined;
    }
  }

  async #loadModel(signal, onProgress) {
    if (!BACKENDS.includes(this.backend)) {
      throw new GradCamError("TargetError", `There is no backend "${this.backend}"; there are ${BACKENDS.join(", ")}.`);
    }
    this.#release();
    // Its address says nothing of the model's, so that both can come at once.
    expectImage(this.#source(), signal);
    let given = this.model || DEFAULT_MODEL;
    if (typeof given === "string") {
      const base = this.ownerDocument.baseURI;
      const labels = this.labels ? absolute(this.labels, base, "The attribute labels: ") : undefined;
      this.#borrowed = borrowModel(addressOfModel(given, base), { backend: this.backend, labels }, onProgress);
      given = this.#borrowed.model;
    }
    const model = await given;
    if (!model?.[explain]) {
      throw new GradCamError("ModelError", "The property model takes an address, or a model from loadModel.");
    }
    if (!signal.aborted) this.#model = model;
  }

  /** Asks for both at once, which is one trip to the worker: the prediction comes first, the explanation is the next stage's. */
  async #classify(signal) {
    const asked = (this.#asked = {});
    const prediction = await new Promise((resolve, reject) => {
      const onProgress = (fraction) => asked.onProgress?.(fraction);
      const urgency = () => this.#urgency();
      const options = { ...this.#question(), signal, onProgress, urgency, onPrediction: resolve };
      // Of the slotted picture the pixels are there, too, should its address be of no use.
      asked.explanation = this.#model[explain](this.src || this.#picture(), options);
      asked.explanation.catch(reject);
    });
    if (signal.aborted) return undefined;
    this.#prediction = prediction;
    return () => {
      this.#show();
      this.#emit("load", prediction);
    };
  }

  async #explain(signal, onProgress) {
    const asked = this.#asked;
    this.#asked = undefined;
    if (asked) asked.onProgress = onProgress;
    const explanation = await (asked?.explanation ??
      this.#prediction.explain({ ...this.#question(), signal, onProgress }));
    if (signal.aborted) return undefined;
    this.#paint(explanation);
    this.#explanation = this.#shown = explanation;
    return () => {
      this.#setState("ready");
      this.#show();
      this.#announce();
      this.#emit("explain", explanation);
    };
  }

  /** What the attributes ask for. */
  #question() {
    const { method, target, augSmooth, eigenSmooth } = this;
    const given = {
      targetClass: asClass(this.targetClass),
      targetLayer: this.targetLayer || undefined,
      ratherThan: asClass(this.ratherThan),
    };
    return { method, target, augSmooth, eigenSmooth, ...given };
  }

  /** How soon it is wanted: 1 if it is in the window, less the further away it is. */
  #urgency() {
    const { top, bottom } = this.getBoundingClientRect();
    const away = Math.max(-bottom, top - innerHeight, 0);
    return 1 / (1 + away / innerHeight);
  }

  #release() {
    this.#borrowed?.release();
    this.#borrowed = undefined;
  }

  #forgetImage() {
    this.#prediction = this.#explanation = this.#shown = undefined;
    this.#parts.canvas.hidden = true;
    this.#setState();
    this.#show();
  }

  #style() {
    return {
      colormap: this.#oneOf("colormap", this.colormap, COLORMAPS),
      opacity: this.#original ? 0 : this.opacity,
      opacityBy: this.#oneOf("opacity-by", this.opacityBy, OPACITIES),
      threshold: this.threshold,
      contours: this.contours && !this.#original,
      boxes: this.boxes && !this.#original,
    };
  }

  /** Drawing also proves what it is drawn with. */
  #paint(map) {
    this.#isUndrawn = true;
    map[drawForScreen](this.#parts.canvas, this.#style());
    this.#isUndrawn = false;
  }

  #draw() {
    if (!this.#shown) return;
    try {
      this.#paint(this.#shown);
      if (this.#dirty === STAGE.done) this.#setState("ready");
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(thrown) {
    const error = asGradCamError(thrown, "DeviceError");
    this.#setState("error");
    this.#parts.message.textContent = error.message;
    // What is not shown is not there to be had, and comes again with the next try.
    this.#explanation = this.#shown = undefined;
    this.#dirty = Math.min(this.#dirty, STAGE.explain);
    this.#show();
    this.#emit("error", error);
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  #progress([from, to], fraction) {
    const totalProgress = from + (to - from) * fraction;
    const { progress } = this.#parts;
    progress.setAttribute("aria-valuenow", Math.round(100 * totalProgress));
    progress.style.setProperty("--_progress", totalProgress);
    this.#emit("progress", { totalProgress });
  }

  // What shows.

  #build() {
    if (typeof document === "undefined") return;
    const root = this.attachShadow({ mode: "open" });
    const parts = {
      slot: create("slot"),
      image: create("img", { part: "image", hidden: true }),
      canvas: create("canvas", { part: "canvas", hidden: true, attributes: { role: "img" } }),
      value: create("span", { part: "value", hidden: true, attributes: { "aria-hidden": "true" } }),
      progress: create(
        "div",
        { part: "progress", attributes: { role: "progressbar", "aria-valuemin": "0", "aria-valuemax": "100" } },
        create("div", { part: "progress-bar" }),
      ),
      caption: create("figcaption", { part: "caption", hidden: true }),
      message: create("p", { part: "message", hidden: true, attributes: { role: "alert" } }),
      announcer: create("p", { className: "announcer", attributes: { role: "status" } }),
    };
    parts.stage = create("div", { part: "stage" }, parts.slot, parts.image, parts.canvas, parts.value, parts.progress);
    parts.figure = create("figure", { part: "figure" }, parts.stage, parts.caption, parts.message, parts.announcer);
    parts.image.addEventListener("error", () => {
      this.#poster.failed = parts.image.hidden = true;
    });
    parts.slot.addEventListener("slotchange", () => this.#slottedChanged());
    // Loads of slotted pictures do not bubble. The element's own event of that name is meant for others.
    this.addEventListener("load", (event) => event.target !== this && this.#slottedChanged(), true);
    holdable(parts.canvas, (held) => this.showOriginal(held), CLICK);
    parts.canvas.addEventListener("pointermove", (event) => this.#hover(event));
    parts.canvas.addEventListener("pointerleave", () => this.#hover(undefined));
    root.append(parts.figure);
    this.#parts = parts;
  }

  /** Shows what there is: the heatmap, else the page's own fallback, else the image alone. */
  #show() {
    const { slot, stage, canvas, message } = this.#parts;
    const failed = !message.hidden;
    const drawn = Boolean(this.#shown) && !failed;
    const hasFallback = (slot.assignedElements?.() ?? []).length > 0;
    if (drawn && canvas.hidden) this.#takePlace();
    if (!drawn) this.#leavePlace();
    canvas.hidden = !drawn;
    slot.hidden = drawn ? !this.#covering : !failed && !hasFallback;
    stage.toggleAttribute("data-slotted", !slot.hidden);
    this.#showPoster(!drawn && !hasFallback);
    if (drawn) canvas.setAttribute("aria-label", this.#describe());
    this.#reserve();
    this.#showCaption(drawn);
    this.#parts.progress.setAttribute("aria-label", this.say("Explaining the image"));
    // Another map has another number at the same place.
    this.#hover(this.#pointer);
    this.#updateControls();
  }

  /** The style, in whichever document the element is now. */
  #dress() {
    const root = this.shadowRoot;
    const { ownerDocument } = this;
    if (!root || root.querySelector("style")) return;
    try {
      let sheet = sheets.get(ownerDocument);
      if (!sheet) {
        sheet = new ownerDocument.defaultView.CSSStyleSheet();
        sheet.replaceSync(STYLE);
        sheets.set(ownerDocument, sheet);
      }
      root.adoptedStyleSheets = [sheet];
    } catch {
      // Documents without a window, and browsers without such sheets.
      if (ownerDocument.defaultView) root.prepend(create("style", { textContent: STYLE }));
    }
  }

  /** Gives the picture the size that the author asked for, and its shape before it is there. */
  #reserve() {
    const { canvas, image, stage } = this.#parts;
    const slotted = this.#picture();
    // As HTML reads them: what stands behind a number is a share of the column, or counts for nothing.
    const asked = (name, node) => {
      const [, number, share] = /^\s*(\d*\.?\d+)(%?)/.exec(node?.getAttribute(name) ?? "") ?? [];
      return Number(number) > 0 ? `${Number(number)}${share || "px"}` : undefined;
    };
    const own = asked("width", this);
    stage.toggleAttribute("data-sized", own !== undefined);
    if (own) stage.style.width = own;
    else if (!this.#taken) stage.style.removeProperty("width");
    const width = own ?? asked("width", slotted);
    const height = asked("height", this) ?? asked("height", slotted);
    for (const node of this.#covering ? [image] : [canvas, image]) {
      if (own) node.style.width = "100%";
      // Styles of the page had the last word on the slotted picture.
      else if (node === canvas && this.#taken) continue;
      else if (width) node.style.width = width;
      else node.style.removeProperty("width");
    }
    // Of a picture that is there, its own shape counts.
    const isShape = [width, height].every((side) => side?.endsWith("px"));
    image.style.aspectRatio = isShape && !image.naturalWidth ? `${parseFloat(width)} / ${parseFloat(height)}` : "";
  }

  /** The width that styles of the page gave the slotted picture, in CSS pixels, if it is not the picture's own or all there is. */
  #taken;

  /** Keeps the heatmap over the slotted picture, where the content says more, such as a caption, which stays. @type {ResizeObserver | undefined} */
  #covering;

  /** Before the heatmap takes the place of the slotted picture: it is to be as wide, where that was, and as far from the rest. */
  #takePlace() {
    const picture = this.#picture();
    const { canvas, slot, stage } = this.#parts;
    this.#taken = undefined;
    canvas.style.width = canvas.style.margin = stage.style.width = "";
    if (!picture?.naturalWidth || slot.hidden) return;
    if (this.textContent.trim() && picture.getClientRects().length > 0) return this.#cover(picture);
    const place = picture.getBoundingClientRect();
    const around = stage.getBoundingClientRect();
    const { width } = place;
    const left = place.left - around.left;
    const right = around.right - place.right;
    canvas.style.margin = isNear(left, right) ? "auto" : isNear(right, 0) ? "0 0 0 auto" : `0 0 0 ${left}px`;
    stage.style.padding = `${place.top - around.top}px 0 ${around.bottom - place.bottom}px`;
    stage.style.marginBlock = `${marginOf(picture, this, "Top")} ${marginOf(picture, this, "Bottom")}`;
    if (!(width > 0) || (isNear(left, 0) && isNear(width, Math.min(canvas.width, around.width)))) return;
    this.#taken = width;
    canvas.style.width = isNear(right + left, 0) ? "100%" : `${width}px`;
    stage.style.width = "100%";
  }

  #cover(picture) {
    const { canvas, stage } = this.#parts;
    const place = () => {
      const { left, top, width, height } = picture.getBoundingClientRect();
      const around = stage.getBoundingClientRect();
      const share = (length, whole) => `${(100 * length) / whole}%`;
      Object.assign(canvas.style, {
        position: "absolute",
        left: share(left - around.left, around.width),
        top: share(top - around.top, around.height),
        width: share(width, around.width),
        height: share(height, around.height),
      });
    };
    place();
    this.#covering = new ResizeObserver(place);
    for (const node of [picture, stage]) this.#covering.observe(node);
  }

  #leavePlace() {
    const { canvas, stage } = this.#parts;
    stage.style.padding = stage.style.marginBlock = "";
    if (!this.#covering) return;
    this.#covering.disconnect();
    this.#covering = undefined;
    canvas.removeAttribute("style");
  }

  #showCaption(drawn) {
    const { caption } = this.#parts;
    caption.hidden = !this.caption && !(drawn && this.controls);
    // With controls the line is there for paper alone, which has none.
    caption.toggleAttribute("data-print", !this.caption);
    caption.textContent = drawn ? this.#said(captionFor(this.#shown), isolated) : "\u00a0";
  }

  /** What is shown in the language of the page. */
  say(words, parts) {
    return say(languageOf(this), words, parts);
  }

  /** A probability in the language of the page. */
  percent(probability) {
    return percent(probability, languageOf(this));
  }

  /** The image itself, until there is more to show. */
  #showPoster(wanted) {
    const { image } = this.#parts;
    const { src } = this;
    if (this.#poster?.src !== src) {
      if (this.#poster?.made) URL.revokeObjectURL(this.#poster.made);
      // A simulated document has no addresses of its own making.
      const made = src instanceof Blob ? URL.createObjectURL?.(src) : undefined;
      this.#poster = { src, made, address: made ?? (typeof src === "string" ? src : undefined), failed: false };
      image.removeAttribute("src");
    }
    const { address, failed } = this.#poster;
    image.alt = this.#alt();
    image.loading = this.loading;
    if (wanted && address && !image.hasAttribute("src")) image.src = address;
    image.hidden = !wanted || !address || failed;
  }

  #updateControls() {
    const { message } = this.#parts;
    if (this.controls && !this.#parts.controls) {
      this.#parts.controls = new Controls(this);
      message.after(this.#parts.controls.root);
    } else if (!this.controls && this.#parts.controls) {
      this.#parts.controls.root.remove();
      this.#parts.controls = undefined;
    }
    this.#parts.controls?.update();
  }

  /** @param {"loading" | "ready" | "error"} [state] none: nothing is there to be seen */
  #setState(state) {
    const { figure, message, progress } = this.#parts;
    figure.setAttribute("aria-busy", String(state === "loading"));
    message.hidden = state !== "error";
    progress.toggleAttribute("data-busy", state === "loading");
    try {
      this.#internals?.states.clear();
      if (state) this.#internals?.states.add(state);
    } catch {
      // Older browsers allow only names with dashes, and nothing depends on these.
    }
  }

  #alt() {
    return this.getAttribute("alt") ?? this.#picture()?.alt ?? "";
  }

  #describe() {
    // A picture that the heatmap covers has said its own.
    const alt = this.#covering ? "" : this.#alt();
    const shown = this.#said(wordsFor(this.#shown));
    return alt ? `${alt}. ${shown}` : shown;
  }

  /**
   * Words about what is over the image. @param {string} words
   * @param {(percent: string) => string} [percentAs] how a percentage stands among them
   */
  #said(words, percentAs = String) {
    const { targetClass, method, channel, ratherThan } = this.#shown;
    if (method === undefined) return this.say(words, { channel });
    const { model, probabilities } = this.#prediction;
    return this.say(words, {
      method: METHODS.find(({ name }) => name === method)?.title ?? method,
      label: model.labels[targetClass],
      rival: model.labels[ratherThan],
      percent: percentAs(this.percent(probabilities[targetClass])),
    });
  }

  #announce() {
    const { note } = this.#explanation;
    const [seen, ...frame] = note.endsWith(FIRST_FRAME)
      ? [note.slice(0, -FIRST_FRAME.length - 1), FIRST_FRAME]
      : [note];
    const sentences = [seen, ...frame].map((sentence) => this.say(sentence)).join(" ");
    this.#parts.announcer.textContent = `${this.#describe()}. ${sentences}`;
  }

  /** Shows the number under the pointer. @param {PointerEvent} [pointer] none: it left */
  #hover(pointer) {
    this.#pointer = pointer;
    const { value, stage } = this.#parts;
    const { clientX, clientY, pointerType } = pointer ?? {};
    const isShown = pointer && pointerType !== "touch" && !this.#original;
    const number = isShown ? this.valueAt(clientX, clientY) : undefined;
    value.hidden = number === undefined;
    if (number === undefined) return;
    const box = stage.getBoundingClientRect();
    const left = Math.min(clientX - box.left + 12, box.width - 48);
    const top = Math.max(clientY - box.top - 28, 2);
    value.textContent = number.toFixed(2);
    value.style.transform = `translate(${left}px, ${top}px)`;
  }
}

/** Kept together and left to right, whatever is around it. @param {string} text */
function isolated(text) {
  return `\u2066${text.replaceAll(" ", "\u00a0")}\u2069`;
}

/** Whether two lengths are the same on a screen. */
function isNear(a, b) {
  return Math.abs(a - b) < 1.5;
}

/** The margin that what a picture is in leaves on one side of it, such as a paragraph of Markdown. Lines have theirs within. */
function marginOf(picture, element, side) {
  let most = 0;
  for (let node = picture; node !== element; node = node.parentElement) {
    const style = getComputedStyle(node);
    if (!style.display.startsWith("inline")) most = Math.max(most, parseFloat(style[`margin${side}`]));
  }
  return `${most}px`;
}

/** An attribute's class: digits are an index, whatever the labels say. */
function asClass(text) {
  if (!text) return undefined;
  return /^\s*\d+\s*$/.test(text) ? Number(text) : text;
}

// On paper there is no scrolling: whatever was far from the window is explained now.
globalThis.addEventListener?.("beforeprint", () => {
  for (const element of living) element[hurry]();
});

// Two copies of the package on one page share the name; the first one keeps it.
if (globalThis.customElements && !customElements.get("grad-cam")) customElements.define("grad-cam", GradCamElement);
