import { BACKENDS } from "./backend.js";
import { Controls, create, holdable, percent } from "./element-controls.js";
import { STYLE } from "./element-style.js";
import { GradCamError, asGradCamError } from "./errors.js";
import { expectImage } from "./image-source.js";
import { DEFAULT_MODEL } from "./manifest.js";
import { drawForScreen } from "./model.js";
import { borrowModel } from "./shared-models.js";
import { METHODS } from "./tables.js";

/** What is done one after the other. A change repeats its own stage and those that follow. */
const STAGE = { model: 0, image: 1, explain: 2, done: 3 };

/** Which stage an attribute concerns; those without one only change how things look. */
const STAGE_OF = {
  model: STAGE.model, backend: STAGE.model, src: STAGE.image,
  method: STAGE.explain, "target-class": STAGE.explain, "target-layer": STAGE.explain,
  target: STAGE.explain, "rather-than": STAGE.explain, "aug-smooth": STAGE.explain, "eigen-smooth": STAGE.explain,
};

/** How much of the whole each stage is, as far as progress goes. */
const PROGRESS = [[0, 0.7], [0.7, 0.85], [0.85, 1]];

/** How long a press on the picture is a click, which is the page's to use, and does not show the original. In milliseconds. */
const CLICK = 250;

/** Modules are also loaded where there is no DOM. */
const Base = globalThis.HTMLElement ?? class {};

/** @type {CSSStyleSheet | undefined} */
let sheet;

/** `<grad-cam>`: an image, and over it the heatmap that explains a class. Attributes in, events out. */
export class GradCamElement extends Base {
  static observedAttributes = [...Object.keys(STAGE_OF), "alt", "colormap", "opacity", "loading", "controls"];

  /** Values of properties that no attribute can hold: an image, a model, several layers. */
  #objects = { src: undefined, model: undefined, "target-layer": undefined };
  /** The first stage whose result does not fit the attributes. */
  #dirty = STAGE.model;
  /** Ends the run under way. @type {AbortController | undefined} */ #run;
  #scheduled = false;
  #wanted = false;
  #observer;
  /** @type {{ model: Promise<import("./model.js").Model>, release: () => void } | undefined} */ #borrowed;
  #model;
  #prediction;
  #explanation;
  /** What is drawn: the explanation, or another map over the same image. @type {import("./model.js").Explanation | import("./model.js").Unit | undefined} */
  #shown;
  #original = false;
  /** @type {{ src: unknown, made?: string, address?: string, failed: boolean } | undefined} */ #poster;
  #parts;
  #internals;

  constructor() {
    super();
    this.#internals = this.attachInternals?.();
    this.#build();
  }

  // Properties.

  get src() { return this.#objects.src ?? this.getAttribute("src"); }
  set src(value) { this.#set("src", value); }
  get model() { return this.#objects.model ?? this.getAttribute("model"); }
  set model(value) { this.#set("model", value); }
  get targetLayer() { return this.#objects["target-layer"] ?? this.getAttribute("target-layer"); }
  set targetLayer(value) { this.#set("target-layer", value); }
  get alt() { return this.getAttribute("alt") ?? ""; }
  set alt(value) { this.#set("alt", value); }
  get method() { return this.getAttribute("method") ?? "grad-cam"; }
  set method(value) { this.#set("method", value); }
  get targetClass() { return this.getAttribute("target-class"); }
  set targetClass(value) { this.#set("target-class", value); }
  get target() { return this.getAttribute("target") ?? "score"; }
  set target(value) { this.#set("target", value); }
  get ratherThan() { return this.getAttribute("rather-than"); }
  set ratherThan(value) { this.#set("rather-than", value); }
  get augSmooth() { return this.hasAttribute("aug-smooth"); }
  set augSmooth(value) { this.toggleAttribute("aug-smooth", Boolean(value)); }
  get eigenSmooth() { return this.hasAttribute("eigen-smooth"); }
  set eigenSmooth(value) { this.toggleAttribute("eigen-smooth", Boolean(value)); }
  get colormap() { return this.getAttribute("colormap") ?? "turbo"; }
  set colormap(value) { this.#set("colormap", value); }
  get opacity() { return this.hasAttribute("opacity") ? Number(this.getAttribute("opacity")) : 0.5; }
  set opacity(value) { this.#set("opacity", value); }
  get backend() { return this.getAttribute("backend") ?? "auto"; }
  set backend(value) { this.#set("backend", value); }
  get loading() { return this.getAttribute("loading") === "eager" ? "eager" : "lazy"; }
  set loading(value) { this.#set("loading", value); }
  get controls() { return this.hasAttribute("controls"); }
  set controls(value) { this.toggleAttribute("controls", Boolean(value)); }

  /** What the network said of the image, once `load` was dispatched. */
  get prediction() { return this.#prediction; }
  /** What the attributes ask for, once `explain` was dispatched. */
  get explanation() { return this.#explanation; }

  /** What is drawn, as PNG at the image's size. */
  async toBlob() {
    if (!this.#shown) throw new GradCamError("ImageError", "There is no heatmap yet: wait for the event `explain`.");
    return this.#shown.toBlob({ colormap: this.colormap, opacity: this.opacity });
  }

  /**
   * Shows a map that was computed already over the image, until an attribute asks for another. An explanation takes the
   * place of the one that the attributes ask for, a unit only hides it; without a map the explanation is shown again.
   */
  show(map = this.#explanation) {
    if (!map || !this.#prediction) return;
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
    for (const name of ["src", "model", "alt", "method", "targetClass", "targetLayer", "target", "ratherThan", "augSmooth", "eigenSmooth", "colormap", "opacity", "backend", "loading", "controls"]) {
      this.#upgrade(name);
    }
    this.#observe();
    this.#show();
    this.#schedule(this.#dirty);
  }

  disconnectedCallback() {
    // An element that only moves is connected again before this turn ends.
    queueMicrotask(() => {
      if (this.isConnected) return;
      this.#observer?.disconnect();
      this.#observer = undefined;
      this.#wanted = false;
      this.#run?.abort();
      this.#release();
      this.#dirty = STAGE.model;
    });
  }

  attributeChangedCallback(name, old, value) {
    if (old === value) return;
    if (name in this.#objects) this.#objects[name] = undefined;
    this.#changed(name);
  }

  #set(name, value) {
    const isObject = typeof value === "object" && value !== null && !(value instanceof URL);
    if (isObject && name in this.#objects) {
      this.removeAttribute(name);
      this.#objects[name] = value;
      this.#changed(name);
    } else if (value === null || value === undefined) {
      const had = this.#objects[name] !== undefined;
      if (had) this.#objects[name] = undefined;
      this.removeAttribute(name);
      if (had) this.#changed(name);
    } else {
      this.setAttribute(name, String(value));
    }
  }

  /** A property that was set before this class was defined lies in the way of its accessor. */
  #upgrade(name) {
    if (!Object.hasOwn(this, name)) return;
    const value = this[name];
    delete this[name];
    this[name] = value;
  }

  #changed(name) {
    if (name in STAGE_OF) {
      if (name === "src") this.#forgetImage();
      this.#schedule(STAGE_OF[name]);
    } else if (name === "loading") {
      this.#observe();
    } else {
      this.#draw();
      this.#show();
      // What could not be drawn as it was asked for may now be.
      if (!this.#explanation && !this.#run) this.#schedule(this.#dirty);
    }
  }

  #observe() {
    if (!this.isConnected || this.#wanted) return;
    this.#observer?.disconnect();
    if (this.loading === "eager" || !globalThis.IntersectionObserver) {
      this.#wanted = true;
      return this.#schedule(this.#dirty);
    }
    this.#observer = new IntersectionObserver((entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      this.#observer.disconnect();
      this.#wanted = true;
      this.#schedule(this.#dirty);
    }, { rootMargin: "200px" });
    this.#observer.observe(this);
  }

  // The work.

  /** Has everything from `stage` on done again. What is under way is of no use any more. */
  #schedule(stage) {
    this.#dirty = Math.min(this.#dirty, stage);
    this.#run?.abort();
    this.#run = undefined;
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      if (this.isConnected && this.#wanted && this.src !== null && this.#dirty < STAGE.done) void this.#work();
    });
  }

  async #work() {
    const run = (this.#run = new AbortController());
    const { signal } = run;
    const stages = [this.#loadModel, this.#classify, this.#explain];
    const begin = (stage) => stages[stage].call(this, signal, (fraction) => {
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
      if (!signal.aborted) this.#fail(asGradCamError(error, "DeviceError"));
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
    expectImage(this.src, signal);
    let model = await this.#objects.model;
    if (!model) {
      const address = new URL(this.model ?? DEFAULT_MODEL, this.ownerDocument.baseURI).href;
      this.#borrowed = borrowModel(address, this.backend, onProgress);
      model = await this.#borrowed.model;
    }
    if (!signal.aborted) this.#model = model;
  }

  async #classify(signal) {
    const prediction = await this.#model.classify(this.src, { signal });
    if (signal.aborted) return undefined;
    this.#prediction = prediction;
    return () => {
      this.#show();
      this.#emit("load", prediction);
    };
  }

  async #explain(signal, onProgress) {
    const { method, target, augSmooth, eigenSmooth } = this;
    const given = { targetClass: this.targetClass ?? undefined, targetLayer: this.targetLayer ?? undefined, ratherThan: this.ratherThan ?? undefined };
    const options = { method, target, augSmooth, eigenSmooth, ...given };
    const explanation = await this.#prediction.explain({ ...options, signal, onProgress });
    if (signal.aborted) return undefined;
    // Drawing also proves colormap and opacity.
    explanation[drawForScreen](this.#parts.canvas, this.#style());
    this.#explanation = this.#shown = explanation;
    return () => {
      this.#setState("ready");
      this.#show();
      this.#announce();
      this.#emit("explain", explanation);
    };
  }

  #release() {
    this.#borrowed?.release();
    this.#borrowed = undefined;
  }

  #forgetImage() {
    this.#prediction = this.#explanation = this.#shown = undefined;
    this.#parts.canvas.hidden = true;
    this.#show();
  }

  #style() {
    return { colormap: this.colormap, opacity: this.#original ? 0 : this.opacity };
  }

  #draw() {
    if (!this.#shown) return;
    try {
      this.#shown[drawForScreen](this.#parts.canvas, this.#style());
      if (this.#dirty === STAGE.done) this.#setState("ready");
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(error) {
    this.#setState("error");
    this.#parts.message.textContent = error.message;
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
    sheet ??= createSheet();
    root.adoptedStyleSheets = [sheet];
    const parts = {
      slot: create("slot"),
      image: create("img", { part: "image", hidden: true }),
      canvas: create("canvas", { part: "canvas", hidden: true, attributes: { role: "img" } }),
      value: create("span", { part: "value", hidden: true, attributes: { "aria-hidden": "true" } }),
      progress: create("div", { part: "progress", attributes: { role: "progressbar", "aria-label": "Explaining the image", "aria-valuemin": "0", "aria-valuemax": "100" } },
        create("div", { part: "progress-bar" })),
      message: create("p", { part: "message", hidden: true, attributes: { role: "alert" } }),
      announcer: create("p", { className: "announcer", attributes: { role: "status" } }),
    };
    parts.stage = create("div", { part: "stage" }, parts.slot, parts.image, parts.canvas, parts.value, parts.progress);
    parts.figure = create("figure", { part: "figure" }, parts.stage, parts.message, parts.announcer);
    parts.image.addEventListener("error", () => {
      this.#poster.failed = parts.image.hidden = true;
    });
    parts.slot.addEventListener("slotchange", () => this.#show());
    holdable(parts.canvas, (held) => this.showOriginal(held), CLICK);
    parts.canvas.addEventListener("pointermove", (event) => this.#hover(event));
    parts.canvas.addEventListener("pointerleave", () => (parts.value.hidden = true));
    root.append(parts.figure);
    this.#parts = parts;
  }

  /** Shows what there is: the heatmap, else the page's own fallback, else the image alone. */
  #show() {
    const { slot, canvas, message } = this.#parts;
    const failed = !message.hidden;
    const drawn = Boolean(this.#shown) && !failed;
    const hasFallback = slot.assignedElements().length > 0;
    canvas.hidden = !drawn;
    slot.hidden = drawn || (!failed && !hasFallback);
    this.#showPoster(!drawn && !hasFallback);
    if (drawn) canvas.setAttribute("aria-label", this.#describe());
    this.#updateControls();
  }

  /** The image itself, until there is more to show. */
  #showPoster(wanted) {
    const { image } = this.#parts;
    const { src } = this;
    if (this.#poster?.src !== src) {
      URL.revokeObjectURL(this.#poster?.made);
      const made = src instanceof Blob ? URL.createObjectURL(src) : undefined;
      this.#poster = { src, made, address: made ?? (typeof src === "string" ? src : undefined), failed: false };
      image.removeAttribute("src");
    }
    const { address, failed } = this.#poster;
    image.alt = this.alt;
    image.loading = this.loading;
    if (wanted && address && !image.hasAttribute("src")) image.src = address;
    image.hidden = !wanted || !address || failed;
  }

  #updateControls() {
    const { figure, message } = this.#parts;
    if (this.controls && !this.#parts.controls) {
      this.#parts.controls = new Controls(this);
      message.after(this.#parts.controls.root);
    } else if (!this.controls && this.#parts.controls) {
      this.#parts.controls.root.remove();
      this.#parts.controls = undefined;
    }
    this.#parts.controls?.update();
    figure.setAttribute("aria-busy", String(this.#dirty < STAGE.done && this.#wanted));
  }

  #setState(state) {
    const { message, progress } = this.#parts;
    message.hidden = state !== "error";
    progress.toggleAttribute("data-busy", state === "loading");
    try {
      this.#internals?.states.clear();
      this.#internals?.states.add(state);
    } catch {
      // Older browsers allow only names with dashes, and nothing depends on these.
    }
  }

  #describe() {
    const what = this.#what();
    return this.alt ? `${this.alt}. ${what}` : what;
  }

  /** What is over the image, in words. */
  #what() {
    const { targetClass, method, channel, target, ratherThan } = this.#shown;
    if (method === undefined) return channel === undefined ? "A concept of a layer" : `Activations of channel ${channel}`;
    const { labels } = this.#prediction.model;
    const title = METHODS.find(({ name }) => name === method)?.title ?? method;
    const rival = ratherThan === undefined ? "" : ` rather than ${labels[ratherThan]}`;
    return `${title} heatmap ${target === "against" ? "against" : "for"} ${labels[targetClass]}${rival}, ${percent(this.#prediction.probabilities[targetClass])}`;
  }

  #announce() {
    this.#parts.announcer.textContent = `${this.#describe()}. ${this.#explanation.note}`;
  }

  #hover({ clientX, clientY, pointerType }) {
    const { value, stage } = this.#parts;
    const number = pointerType === "touch" || this.#original ? undefined : this.valueAt(clientX, clientY);
    value.hidden = number === undefined;
    if (number === undefined) return;
    const box = stage.getBoundingClientRect();
    const left = Math.min(clientX - box.left + 12, box.width - 48);
    const top = Math.max(clientY - box.top - 28, 2);
    value.textContent = number.toFixed(2);
    value.style.transform = `translate(${left}px, ${top}px)`;
  }
}

function createSheet() {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(STYLE);
  return sheet;
}

// Two copies of the package on one page share the name; the first one keeps it.
if (globalThis.customElements && !customElements.get("grad-cam")) customElements.define("grad-cam", GradCamElement);
