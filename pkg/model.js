import { BACKENDS, openEngine } from "./backend.js";
import { survive } from "./engine.js";
import { GradCamError, throwIfAborted } from "./errors.js";
import { readSource } from "./image-source.js";
import { checkLabels, checkPreprocess, readModel } from "./manifest.js";
import { choosePreprocess, labelsFromMetadata } from "./preprocess.js";
import { draw, heatmapAt, heatmapOf, loadView, sentenceOf, valueAt } from "./view.js";

/** @typedef {import("./engine.js").EngineWorker} EngineWorker */
/** @typedef {import("./view.js").Grid} Grid */

const construct = Symbol("constructed by loadModel");

/** See `loadModel` in index.d.ts. */
export async function loadModel(source, options = {}) {
  const { backend = "auto", preprocess, labels, onProgress, signal } = options;
  if (!BACKENDS.includes(backend)) {
    throw new GradCamError("TargetError", `There is no backend "${backend}"; there are ${BACKENDS.join(", ")}.`);
  }
  if (preprocess !== undefined) checkPreprocess(preprocess, "TargetError", "The call");
  if (labels !== undefined) checkLabels(labels, "TargetError", "The call");
  throwIfAborted(signal);
  // Model and engine download at the same time; the rest is the work of unpacking.
  const report = combined(onProgress, { model: 0.45, engine: 0.45 });
  const opening = openEngine(backend, report("engine"));
  const [file] = await Promise.all([readModel(source, { signal, onProgress: report("model") }), opening, loadView()]);
  throwIfAborted(signal);
  const model = new Model(construct, file, options);
  await model[prepare](signal);
  onProgress?.(1);
  return model;
}

/** One fraction from several parts; it never goes back. */
function combined(onProgress, shares) {
  const parts = {};
  let shown = 0;
  return (part) => (fraction) => {
    parts[part] = fraction;
    const sum = Object.entries(parts).reduce((sum, [name, fraction]) => sum + shares[name] * fraction, 0);
    if (sum > shown) onProgress?.((shown = sum));
  };
}

const prepare = Symbol("prepare");
const classifySource = Symbol("classifySource");
const count = Symbol("count");

/** Draws an explanation like `draw`, but no larger than a screen. */
export const drawForScreen = Symbol("drawForScreen");

/** See `Model` in index.d.ts. */
export class Model {
  /** @type {import("./manifest.js").ModelFile} */ #file;
  /** @type {"auto" | "webgpu" | "cpu"} */ #wanted;
  #options;
  /** Where the network is now: a worker and the network's number there. @type {{ worker: EngineWorker, network: Promise<number> } | undefined} */
  #seat;
  /** @type {import("./backend.js").Engine} */ #engine;
  #info;
  #prepared;
  #disposed = false;
  #stepsRun = 0;

  constructor(key, file, { backend = "auto", preprocess, labels }) {
    if (key !== construct) throw new TypeError("Models come from loadModel.");
    this.#file = file;
    this.#wanted = backend;
    this.#options = { preprocess, labels };
  }

  get name() {
    return this.#file.name;
  }
  get backend() {
    return this.#engine.backend;
  }
  get backendReason() {
    return this.#engine.reason;
  }
  get input() {
    return this.#info.input;
  }
  get labels() {
    return this.#info.labels;
  }
  get layers() {
    return this.#info.layers;
  }
  get defaultLayer() {
    return this.#info.defaultLayer;
  }
  get preprocess() {
    return this.#prepared.preprocess;
  }
  get preprocessReason() {
    return this.#prepared.reason;
  }
  get preprocessGuessed() {
    return this.#prepared.guessed;
  }
  get stats() {
    return { stepsRun: this.#stepsRun };
  }

  async classify(image, { signal } = {}) {
    const source = await readSource(image, signal);
    throwIfAborted(signal);
    const answer = await this[classifySource](source, signal);
    return new Prediction(construct, this, source, answer);
  }

  dispose() {
    this.#disposed = true;
    this.#seat?.network.then((network) => this.#seat.worker.tell("forget", { network })).catch(() => {});
    this.#file = undefined;
  }

  [prepare](signal) {
    return survive(() => this.#seated(signal));
  }

  /** Runs the image through the network, on whatever worker there is. */
  [classifySource](source, signal) {
    return survive(async () => {
      const { worker, network } = await this.#seated(signal);
      if (source.tensor) this.#checkTensor(source);
      const image = await forWorker(source);
      const answer = await worker.request("classify", { network, image }, { transfer: transferOf(image), signal });
      this[count](answer);
      return { worker, ...answer };
    });
  }

  [count]({ stepsRun }) {
    this.#stepsRun = stepsRun;
  }

  /** @returns {Promise<{ worker: EngineWorker, network: number }>} */
  async #seated(signal) {
    if (this.#disposed) throw new GradCamError("ModelError", "The model was disposed of; load it again.");
    const engine = await openEngine(this.#wanted);
    throwIfAborted(signal);
    if (this.#seat?.worker !== engine.worker) {
      this.#engine = engine;
      this.#seat = { worker: engine.worker, network: this.#load(engine.worker) };
    }
    const seat = this.#seat;
    try {
      return { worker: seat.worker, network: await seat.network };
    } catch (error) {
      // The next request tries again; another one may have begun to meanwhile.
      if (this.#seat === seat) this.#seat = undefined;
      throw error;
    }
  }

  async #load(worker) {
    const bytes = await this.#file.bytes.arrayBuffer().catch((cause) => {
      throw new GradCamError("ModelError", "The model's file can no longer be read.", { cause });
    });
    const { width, height } = this.#options.preprocess ?? this.#file.preprocess ?? {};
    const { network, info } = await worker.request("load", { bytes, width, height }, { transfer: [bytes] });
    try {
      this.#info ??= describe(info, this.#file, this.#options.labels);
      this.#prepared ??= choosePreprocess(info, this.#options.preprocess, this.#file.preprocess);
      await worker.request("prepare", { network, preprocess: this.#prepared.preprocess });
    } catch (error) {
      worker.tell("forget", { network });
      throw error;
    }
    return network;
  }

  #checkTensor({ tensor, shape }) {
    const { width, height, channels } = this.input;
    const expected = [1, channels, height, width];
    if (shape.length !== 4 || shape.some((side, i) => side !== expected[i])) {
      throw new GradCamError("ImageError", `The tensor has the shape [${shape.join(", ")}]; the network takes [${expected.join(", ")}].`);
    }
    const length = expected.reduce((a, b) => a * b);
    if (tensor.length !== length) {
      throw new GradCamError("ImageError", `The tensor has ${tensor.length} numbers; its shape [${shape.join(", ")}] takes ${length}.`);
    }
  }
}

function describe(info, file, labelsFromOptions) {
  const given = labelsFromOptions ?? file.labels;
  if (given && given.length !== info.classes) {
    const [name, who] = labelsFromOptions ? ["TargetError", "The call"] : ["ModelError", "The manifest"];
    throw new GradCamError(name, `${who} names ${given.length} classes, but the network has ${info.classes}.`);
  }
  const labels = given ?? labelsFromMetadata(info) ?? Array.from({ length: info.classes }, (_, i) => `class ${i}`);
  const defaultLayer = file.targetLayer ?? info.defaultLayer;
  if (!info.layers.some((layer) => layer.name === defaultLayer)) {
    throw new GradCamError("ModelError", `The manifest names the layer "${defaultLayer}", which the network does not have.`);
  }
  return Object.freeze({
    input: Object.freeze(info.input),
    labels: Object.freeze([...labels]),
    layers: Object.freeze(info.layers.map((layer) => Object.freeze({ ...layer, shape: Object.freeze(layer.shape) }))),
    defaultLayer,
  });
}

/** A copy of the source that can be handed over: the original stays here, to be used again after a crash. */
async function forWorker(source) {
  if (source.tensor) return { tensor: source.tensor, shape: source.shape };
  if (source.bytes) {
    const bytes = await source.bytes.arrayBuffer().catch((cause) => {
      throw new GradCamError("ImageError", "The image file can no longer be read.", { cause });
    });
    return { bytes };
  }
  return { ...source, rgba: await source.rgba.arrayBuffer() };
}

function transferOf({ bytes, rgba }) {
  return [bytes, rgba].filter(Boolean);
}

/** See `Prediction` in index.d.ts. */
export class Prediction {
  #source;
  /** Where the network's activations are kept. @type {{ worker: EngineWorker, prediction: number }} */ #seat;
  #picture;
  /** A smaller one where the picture has more pixels than a screen. */
  #screen;
  #rect;
  #timings;

  constructor(key, model, source, answer) {
    if (key !== construct) throw new TypeError("Predictions come from a model's classify.");
    this.model = model;
    this.scores = answer.scores;
    this.probabilities = answer.probabilities;
    this.#source = source;
    this.#picture = answer.picture ?? blank(model.input);
    this.#screen = answer.screen ?? this.#picture;
    this.#rect = answer.rect;
    this.#timings = answer.timings;
    this.#seat = answer;
    Object.freeze(this);
  }

  /** The image's size in pixels. */
  get image() {
    return { width: this.#picture.width, height: this.#picture.height };
  }

  get timings() {
    return { ...this.#timings };
  }

  top(n) {
    const { scores, probabilities } = this;
    // Of equal scores the class that comes first in the labels comes first.
    const order = Array.from(scores, (_, index) => index).sort((a, b) => scores[b] - scores[a] || a - b);
    return order.slice(0, Math.max(0, n)).map((index) => ({
      index,
      label: this.model.labels[index],
      score: scores[index],
      probability: probabilities[index],
    }));
  }

  async explain({ method = "grad-cam", targetClass, targetLayer, onProgress, signal } = {}) {
    const target = targetClass === undefined || targetClass === null ? undefined : findClass(this.model.labels, targetClass);
    const layers = [targetLayer ?? this.model.defaultLayer].flat().map(String);
    const answer = await survive(async () => {
      for (;;) {
        const { worker, prediction } = this.#seat;
        const args = { prediction, method: String(method), targetClass: target, layers };
        const answer = worker.alive ? await worker.request("explain", args, { signal, onProgress }) : { forgotten: true };
        if (!answer.forgotten) return answer;
        this.#seat = await this.model[classifySource](this.#source, signal);
      }
    });
    this.model[count](answer);
    return new Explanation(construct, answer, { picture: this.#picture, screen: this.#screen, rect: this.#rect, timings: this.#timings });
  }
}

/** Numbers given as a tensor have no picture: the heatmap is drawn over white. */
function blank({ width, height }) {
  return { width, height, rgba: new Uint8Array(4 * width * height).fill(255) };
}

/** The index of a class given as an index, a label, or one of the names in a label like "tench, Tinca tinca". */
export function findClass(labels, wanted) {
  if (typeof wanted === "number" || /^\s*\d+\s*$/.test(wanted)) {
    const index = labels.indexOf(wanted) >= 0 ? labels.indexOf(wanted) : Number(wanted);
    if (Number.isInteger(index) && index >= 0 && index < labels.length) return index;
    throw new GradCamError("TargetError", `There is no class ${wanted}; the network has the classes 0 to ${labels.length - 1}.`);
  }
  const plain = (text) => text.trim().toLowerCase();
  const name = plain(String(wanted));
  const tests = [(label) => plain(label) === name, (label) => label.split(",").some((part) => plain(part) === name)];
  for (const test of tests) {
    const index = labels.findIndex(test);
    if (index >= 0) return index;
  }
  const near = labels.filter((label) => plain(label).includes(name)).slice(0, 5);
  const hint = near.length ? `; did you mean ${near.map((label) => `"${label}"`).join(", ")}?` : `; there are "${labels.slice(0, 3).join('", "')}" and so on, or an index from 0 to ${labels.length - 1}.`;
  throw new GradCamError("TargetError", `There is no class "${wanted}"${hint}`);
}

/** See `Explanation` in index.d.ts. */
export class Explanation {
  #explained;
  #forScreen;
  /** @type {Grid | undefined} */ #heatmap;

  constructor(key, { map, method, targetClass, targetLayer, explain }, { picture, screen, rect, timings: { preprocess, forward } }) {
    if (key !== construct) throw new TypeError("Explanations come from a prediction's explain.");
    this.#explained = { picture, rect, map: Object.freeze(map) };
    const scales = [screen.width / picture.width, screen.height / picture.height];
    this.#forScreen = { picture: screen, rect: rect.map((side, i) => side * scales[i % 2]), map };
    this.method = method;
    this.targetClass = targetClass;
    this.targetLayer = targetLayer;
    this.map = this.#explained.map;
    this.timings = Object.freeze({ preprocess, forward, explain, total: preprocess + forward + explain });
    this.heatmapAt = (width, height) => Object.freeze(heatmapAt(this.map, width, height));
    Object.freeze(this);
  }

  get heatmap() {
    return (this.#heatmap ??= Object.freeze(heatmapOf(this.map)));
  }

  get note() {
    return sentenceOf(this.map);
  }

  draw(canvas, style) {
    draw(this.#explained, canvas, style);
  }

  [drawForScreen](canvas, style) {
    draw(this.#forScreen, canvas, style);
  }

  valueAt(x, y) {
    // The same numbers in coarser pixels, of the picture that is held already.
    const { picture } = this.#explained;
    const screen = this.#forScreen.picture;
    const scaled = (at, side, whole) => Math.floor(((at + 0.5) * side) / whole);
    return valueAt(this.#forScreen, scaled(x, screen.width, picture.width), scaled(y, screen.height, picture.height));
  }

  async toBlob(style) {
    const { width, height } = this.#explained.picture;
    if (typeof OffscreenCanvas !== "undefined") {
      const canvas = new OffscreenCanvas(width, height);
      this.draw(canvas, style);
      return canvas.convertToBlob({ type: "image/png" });
    }
    const canvas = document.createElement("canvas");
    this.draw(canvas, style);
    return new Promise((resolve, reject) => {
      canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new GradCamError("DeviceError", "The browser could not make a PNG of this size."))));
    });
  }
}
