import { BACKENDS, openEngine } from "./backend.js";
import { WorkerCrash, survive } from "./engine.js";
import { GradCamError, throwIfAborted } from "./errors.js";
import { readSource } from "./image-source.js";
import { checkLabels, checkPreprocess, readModel } from "./manifest.js";
import { choosePreprocess, labelsFromMetadata } from "./preprocess.js";
import { copyOf, giveBack, makeReady } from "./spare.js";
import { conceptColors, draw, drawConcepts, heatmapAt, heatmapOf, loadView, sentenceOf, valueAt } from "./view.js";

/** @typedef {import("./engine.js").EngineWorker} EngineWorker */
/** @typedef {import("./view.js").Grid} Grid */

const construct = Symbol("constructed by loadModel");

/** How long a loaded model waits for a first image before a better engine gets ready: in milliseconds. */
const SOON = 1_000;

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
const questionOf = Symbol("questionOf");
const classOf = Symbol("classOf");
const count = Symbol("count");
const explained = Symbol("explained");

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
  /** Whether a better engine is getting ready for this model. */
  #isImproving = false;
  #settle;
  #stats = { stepsRun: 0, memory: 0 };

  constructor(key, file, { backend = "auto", preprocess, labels }) {
    if (key !== construct) throw new TypeError("Models come from loadModel.");
    this.#file = file;
    this.#wanted = backend;
    this.#options = { preprocess, labels };
    this.settled = new Promise((resolve) => (this.#settle = resolve));
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
    return { ...this.#stats };
  }

  async classify(image, { signal } = {}) {
    const source = await readSource(image, signal);
    throwIfAborted(signal);
    const answer = await this[classifySource](source, { signal });
    return new Prediction(construct, this, source, answer);
  }

  async explain(image, { onProgress, signal, ...options } = {}) {
    const source = await readSource(image, signal);
    throwIfAborted(signal);
    const question = this[questionOf](options);
    const answer = await this[classifySource](source, { question, onProgress, signal });
    return new Prediction(construct, this, source, answer)[explained](answer.explanation, question);
  }

  dispose() {
    this.#disposed = true;
    this.#settle();
    this.#leave();
    this.#file = undefined;
  }

  async [prepare](signal) {
    await survive(() => this.#seated(signal));
    // The first answer comes first, if it is asked for at once.
    if (this.#engine.better) setTimeout(() => this.#improve(), SOON);
    else this.#settle();
  }

  /** Runs the image through the network, on whatever worker there is, and explains it at once if there is a question. */
  [classifySource](source, { question, onProgress, signal }) {
    return survive(async () => {
      const { worker, network } = await this.#seated(signal);
      if (source.tensor) this.#checkTensor(source);
      const image = await forWorker(source);
      const args = { network, image, pixelRatio: globalThis.devicePixelRatio ?? 1, question };
      const answering = worker.request("classify", args, { transfer: transferOf(image), onProgress, signal });
      // For the next one, as the page has nothing to do meanwhile.
      if (source.tensor) makeReady(source.tensor.length);
      const { tensor, forgotten, ...answer } = await answering;
      // It moved to another engine after this request had been given its place.
      if (forgotten) throw new WorkerCrash("the network is no longer there", false);
      if (tensor) giveBack(tensor);
      this[count](answer);
      void this.#improve();
      return { worker, ...answer };
    });
  }

  /** What to explain, as the worker takes it. */
  [questionOf]({ method = "grad-cam", targetClass, targetLayer, target = "score", ratherThan, augSmooth = false, eigenSmooth = false }) {
    // CAM can be taken at one layer, and RefineCAM joins several: the network knows which.
    const usual = ["cam", "refine-cam"].includes(method) ? [] : this.defaultLayer;
    return {
      method: String(method),
      targetClass: this[classOf](targetClass),
      layers: [targetLayer ?? usual].flat().map(String),
      target: String(target),
      ratherThan: this[classOf](ratherThan),
      augSmooth: Boolean(augSmooth),
      eigenSmooth: Boolean(eigenSmooth),
    };
  }

  [classOf](targetClass) {
    return targetClass === undefined || targetClass === null ? undefined : findClass(this.labels, targetClass);
  }

  [count]({ stepsRun, memory = this.#stats.memory }) {
    this.#stats = { stepsRun, memory };
  }

  /** @returns {Promise<{ worker: EngineWorker, network: number }>} */
  async #seated(signal) {
    if (this.#disposed) throw new GradCamError("ModelError", "The model was disposed of; load it again.");
    const engine = await openEngine(this.#wanted);
    throwIfAborted(signal);
    // An engine that still answers is not left before the better one is ready.
    const stays = this.#engine?.better && this.#seat?.worker.alive;
    if (this.#seat?.worker !== engine.worker && !stays) {
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

  /** Has a better engine get ready, if there is one, and take over: its first run of a network takes long. */
  async #improve() {
    const { better } = this.#engine;
    if (!better || this.#isImproving || this.#disposed) return;
    this.#isImproving = true;
    try {
      const engine = await better();
      const network = await this.#load(engine.worker);
      const { width, height, channels } = this.input;
      const image = { tensor: new Float32Array(channels * height * width), shape: [1, channels, height, width] };
      await engine.worker.request("classify", { network, image });
      if (this.#seat) void vacate(this.#seat);
      [this.#engine, this.#seat] = [engine, { worker: engine.worker, network: Promise.resolve(network) }];
      if (this.#disposed) this.#leave();
    } catch (error) {
      // The CPU goes on.
      this.#wanted = "cpu";
      this.#engine = { ...this.#engine, reason: error.message, better: undefined };
    }
    this.#isImproving = false;
    this.#settle();
  }

  /** Frees the network where it is. */
  #leave() {
    const seat = this.#seat;
    seat?.network.then((network) => seat.worker.tell("forget", { network })).catch(() => {});
  }

  async #load(worker) {
    const bytes = await this.#file.bytes.take().catch((cause) => {
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

/** Frees a network after what is under way there, and its worker's memory if it was the last one. */
async function vacate({ worker, network }) {
  try {
    const { networks } = await worker.request("forget", { network: await network });
    if (networks === 0) worker.end();
  } catch {
    // A worker that died has freed everything.
  }
}

/** A copy of the source that can be handed over: the original stays here, to be used again after a crash. */
async function forWorker(source) {
  if (source.tensor) return { tensor: copyOf(source.tensor), shape: source.shape };
  if (source.bytes) {
    const bytes = await source.bytes.take().catch((cause) => {
      throw new GradCamError("ImageError", "The image file can no longer be read.", { cause });
    });
    return { bytes };
  }
  const { rgba } = source;
  return { ...source, rgba: rgba instanceof Blob ? await rgba.arrayBuffer() : rgba.slice().buffer };
}

function transferOf({ bytes, rgba, tensor }) {
  return [bytes, rgba, tensor?.buffer].filter(Boolean);
}

/** See `Prediction` in index.d.ts. */
export class Prediction {
  #source;
  /** Where the network's activations are kept. @type {{ worker: EngineWorker, prediction: number }} */ #seat;
  /** @type {Canvas} */ #canvas;
  #timings;

  constructor(key, model, source, answer) {
    if (key !== construct) throw new TypeError("Predictions come from a model's classify.");
    this.model = model;
    this.scores = answer.scores;
    this.probabilities = answer.probabilities;
    this.#source = source;
    const picture = answer.picture ?? blank(model.input);
    this.#canvas = new Canvas(picture, answer.screen ?? picture, answer.rect);
    this.#timings = answer.timings;
    this.#seat = answer;
    Object.freeze(this);
  }

  /** The image's size in pixels. */
  get image() {
    const { width, height } = this.#canvas.picture;
    return { width, height };
  }

  get timings() {
    return { ...this.#timings };
  }

  top(n) {
    return highest(this, this.model.labels, n);
  }

  async explain({ onProgress, signal, ...options } = {}) {
    const question = this.model[questionOf](options);
    return this[explained](await this.#ask("explain", question, { signal, onProgress }), question);
  }

  async sanityCheck({ steps = 8, seed = 1, onProgress, signal, ...options } = {}) {
    checkSteps(steps);
    checkSeed(seed);
    const question = this.model[questionOf](options);
    const { found } = await this.#ask("sanityCheck", { ...question, steps, seed }, { signal, onProgress });
    return found.map(({ explanation: answer, ...step }) => {
      const explanation = this[explained](answer, question);
      const { map, heatmap } = explanation;
      return Object.freeze({ ...step, explanation, map, heatmap });
    });
  }

  /** The worker's answer to a question, as an explanation. */
  [explained](answer, question) {
    return new Explanation(construct, this, { ...question, ...answer }, this.#canvas, this.#timings, (...asked) => this.#ask(...asked));
  }

  async factorize({ concepts = 5, targetLayer, seed = 0, onProgress, signal } = {}) {
    if (!Number.isInteger(concepts) || concepts < 1) {
      throw new GradCamError("TargetError", `The number of concepts is ${concepts}; a whole number from 1 to 16 is accepted.`);
    }
    checkSeed(seed);
    const args = { layer: String(targetLayer ?? this.model.defaultLayer), concepts, seed };
    const { found } = await this.#ask("factorize", args, { signal, onProgress });
    return new Factorization(construct, found, this.model.labels, this.#canvas);
  }

  async units({ targetClass, targetLayer, count = 12, signal } = {}) {
    if (!Number.isInteger(count) || count < 1) {
      throw new GradCamError("TargetError", `The count of units is ${count}; a whole number above 0 is accepted.`);
    }
    const layer = String(targetLayer ?? this.model.defaultLayer);
    const args = { targetClass: this.model[classOf](targetClass), layer, count };
    const { channels, contributions, width, height, values } = await this.#ask("units", args, { signal });
    const map = (i) => ({ width, height, values: values.slice(i * width * height, (i + 1) * width * height) });
    return Array.from(channels, (channel, i) => new Unit(construct, { channel, contribution: contributions[i], map: map(i) }, this.#canvas));
  }

  cellAt(x, y, { targetLayer } = {}) {
    const [, height, width] = this.#layer(targetLayer).shape;
    const [left, top, wide, high] = this.#canvas.rect;
    const [column, row] = [Math.floor(((x - left) * width) / wide), Math.floor(((y - top) * height) / high)];
    const isInImage = x >= 0 && y >= 0 && x < this.image.width && y < this.image.height;
    if (!isInImage || column < 0 || row < 0 || column >= width || row >= height) return undefined;
    const [cellWidth, cellHeight] = [wide / width, high / height];
    return { column, row, x: left + column * cellWidth, y: top + row * cellHeight, width: cellWidth, height: cellHeight };
  }

  async classesAt(x, y, { targetLayer, likeliest = 10, signal } = {}) {
    const cell = this.cellAt(x, y, { targetLayer });
    if (!cell) throw new GradCamError("TargetError", `The network did not look at the point ${x}, ${y} of the image.`);
    const args = { layer: this.#layer(targetLayer).name, column: cell.column, row: cell.row, likeliest };
    const { classes, values, all } = await this.#ask("classesAt", args, { signal });
    const { labels } = this.model;
    return { cell, all, classes: Array.from(classes, (index, i) => ({ index, label: labels[index], evidence: values[i] })) };
  }

  #layer(name) {
    const wanted = String(name ?? this.model.defaultLayer);
    const layer = this.model.layers.find(({ name }) => name === wanted);
    if (layer) return layer;
    throw new GradCamError("TargetError", `There is no layer "${wanted}"; model.layers lists them.`);
  }

  /** Asks the worker something about this prediction, which is made again if it is no longer there. */
  async #ask(op, args, { signal, onProgress }) {
    const answer = await survive(async () => {
      for (;;) {
        const { worker, prediction } = this.#seat;
        const answer = worker.alive ? await worker.request(op, { prediction, ...args }, { signal, onProgress }) : { forgotten: true };
        if (!answer.forgotten) return answer;
        this.#seat = await this.model[classifySource](this.#source, { signal });
      }
    });
    this.model[count](answer);
    return answer;
  }
}

/** As large as the engine counts. */
const MOST = 2 ** 32 - 1;

function checkSteps(steps) {
  if (Number.isInteger(steps) && steps > 0 && steps <= MOST) return;
  throw new GradCamError("TargetError", `The number of steps is ${steps}; a whole number above 0 is accepted.`);
}

function checkSeed(seed) {
  if (Number.isInteger(seed) && seed >= 0 && seed <= MOST) return;
  throw new GradCamError("TargetError", `The seed is ${seed}; a whole number from 0 to ${MOST} is accepted.`);
}

/** The image under all maps of a prediction, in the sizes that it is drawn in. */
class Canvas {
  /** Smaller pictures by their longer side. @type {Map<number, { width: number, height: number, rgba: Uint8Array }>} */
  #small = new Map();

  /**
   * @param {object} picture at the image's own size
   * @param {object} screen the same, or a smaller one where the picture has more pixels than a screen
   * @param {number[]} rect where the network's whole input lies on the image: x, y, width, height in pixels
   */
  constructor(picture, screen, rect) {
    this.picture = picture;
    this.screen = screen;
    this.rect = rect;
  }

  /** What drawing a map takes. @param {number | "screen" | undefined} size of the longer side, at most */
  under(map, size) {
    const picture = size === "screen" ? this.screen : size === undefined ? this.picture : this.#shrunk(size);
    const scales = [picture.width / this.picture.width, picture.height / this.picture.height];
    return { picture, rect: Float64Array.from(this.rect, (side, i) => side * scales[i % 2]), map };
  }

  #shrunk(size) {
    const { width, height } = this.screen;
    const scale = size / Math.max(width, height);
    if (scale >= 1) return this.screen;
    let small = this.#small.get(size);
    if (!small) {
      small = shrink(this.screen, Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale)));
      this.#small.set(size, small);
    }
    return small;
  }
}

function shrink({ width, height, rgba }, smallWidth, smallHeight) {
  const whole = createCanvas(width, height).getContext("2d");
  whole.putImageData(new ImageData(new Uint8ClampedArray(rgba.buffer, rgba.byteOffset, rgba.byteLength), width, height), 0, 0);
  const small = createCanvas(smallWidth, smallHeight).getContext("2d", { willReadFrequently: true });
  small.imageSmoothingQuality = "high";
  small.drawImage(whole.canvas, 0, 0, smallWidth, smallHeight);
  const { data } = small.getImageData(0, 0, smallWidth, smallHeight);
  return { width: smallWidth, height: smallHeight, rgba: new Uint8Array(data.buffer) };
}

function createCanvas(width, height) {
  if (typeof OffscreenCanvas !== "undefined") return new OffscreenCanvas(width, height);
  return Object.assign(document.createElement("canvas"), { width, height });
}

/** The last one of those below. */
let white;

/** Numbers given as a tensor have no picture: the heatmap is drawn over white. */
function blank({ width, height }) {
  if (white?.width !== width || white.height !== height) {
    white = { width, height, rgba: new Uint8Array(4 * width * height).fill(255) };
  }
  return white;
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

/** See `MapOverImage` in index.d.ts. */
class MapOverImage {
  /** @type {Canvas} */ #canvas;
  /** @type {Grid | undefined} */ #heatmap;

  constructor(map, canvas) {
    this.map = Object.freeze(map);
    this.#canvas = canvas;
    this.heatmapAt = (width, height) => Object.freeze(heatmapAt(this.map, width, height));
  }

  get heatmap() {
    return (this.#heatmap ??= Object.freeze(heatmapOf(this.map)));
  }

  get note() {
    return sentenceOf(this.map);
  }

  draw(canvas, { maxSize, ...style } = {}) {
    if (maxSize !== undefined && !(maxSize >= 1)) throw new GradCamError("TargetError", `The maxSize is ${maxSize}; a number from 1 on is accepted.`);
    draw(this.#canvas.under(this.map, maxSize), canvas, style);
  }

  [drawForScreen](canvas, style) {
    draw(this.#canvas.under(this.map, "screen"), canvas, style);
  }

  valueAt(x, y) {
    // The same numbers in coarser pixels, of the picture that is held already.
    const { picture, screen } = this.#canvas;
    const scaled = (at, side, whole) => Math.floor(((at + 0.5) * side) / whole);
    return valueAt(this.#canvas.under(this.map, "screen"), scaled(x, screen.width, picture.width), scaled(y, screen.height, picture.height));
  }

  async toBlob(style) {
    const { width, height } = this.#canvas.picture;
    const canvas = createCanvas(width, height);
    this.draw(canvas, style);
    if (canvas.convertToBlob) return canvas.convertToBlob({ type: "image/png" });
    return new Promise((resolve, reject) => {
      canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new GradCamError("DeviceError", "The browser could not make a PNG of this size."))));
    });
  }
}

/** See `Explanation` in index.d.ts. */
export class Explanation extends MapOverImage {
  /** Asks the worker about the prediction that this explains. */
  #ask;

  constructor(key, prediction, answer, canvas, { preprocess, forward }, ask) {
    const { map, method, targetClass, targetLayers, target, ratherThan, augSmooth, eigenSmooth, explain } = answer;
    if (key !== construct) throw new TypeError("Explanations come from explain.");
    super(map, canvas);
    this.#ask = ask;
    this.prediction = prediction;
    this.method = method;
    this.targetClass = targetClass;
    this.targetLayers = Object.freeze(targetLayers);
    this.targetLayer = targetLayers.join(", ");
    this.target = target;
    this.ratherThan = ratherThan;
    this.augSmooth = augSmooth;
    this.eigenSmooth = eigenSmooth;
    this.timings = Object.freeze({ preprocess, forward, explain, total: preprocess + forward + explain });
    Object.freeze(this);
  }

  async measure({ steps = 20, noise = 0.01, seed = 1, onProgress, signal } = {}) {
    checkSteps(steps);
    checkSeed(seed);
    if (!(noise >= 0 && noise < Infinity)) {
      throw new GradCamError("TargetError", `The noise is ${noise}; 0 or a positive number is accepted.`);
    }
    const { map, targetClass } = this;
    const { measures } = await this.#ask("measure", { map, targetClass, steps, noise, seed }, { signal, onProgress });
    return measures;
  }
}

/** See `Concept` in index.d.ts. */
export class Concept extends MapOverImage {
  #labels;

  constructor(key, { map, scores, probabilities }, color, labels, canvas) {
    if (key !== construct) throw new TypeError("Concepts come from a prediction's factorize.");
    super(map, canvas);
    this.#labels = labels;
    this.color = color;
    this.scores = scores;
    this.probabilities = probabilities;
    Object.freeze(this);
  }

  get note() {
    const isThere = this.map.values.some((value) => value > 0);
    return isThere ? "Warm places are where this concept is strongest." : "This concept is nowhere in this image.";
  }

  top(n) {
    return highest(this, this.#labels, n);
  }
}

/** See `Factorization` in index.d.ts. */
export class Factorization {
  /** @type {Canvas} */ #canvas;

  constructor(key, found, labels, canvas) {
    if (key !== construct) throw new TypeError("Factorizations come from a prediction's factorize.");
    this.#canvas = canvas;
    const colors = conceptColors(found.length);
    this.concepts = Object.freeze(found.map((concept, i) => new Concept(construct, concept, colors[i], labels, canvas)));
    Object.freeze(this);
  }

  draw(canvas, style) {
    const { picture, rect } = this.#canvas;
    drawConcepts({ picture, rect, maps: this.concepts.map(({ map }) => map) }, canvas, style);
  }
}

/** The `n` likeliest classes of scores and probabilities. */
function highest({ scores, probabilities }, labels, n) {
  // Of equal scores the class that comes first in the labels comes first.
  const order = Array.from(scores, (_, index) => index).sort((a, b) => scores[b] - scores[a] || a - b);
  return order.slice(0, Math.max(0, n)).map((index) => ({ index, label: labels[index], score: scores[index], probability: probabilities[index] }));
}

/** See `Unit` in index.d.ts. */
export class Unit extends MapOverImage {
  constructor(key, { channel, contribution, map }, canvas) {
    if (key !== construct) throw new TypeError("Units come from a prediction's units.");
    super(map, canvas);
    this.channel = channel;
    this.contribution = contribution;
    Object.freeze(this);
  }

  get note() {
    const isActive = this.map.values.some((value) => value > 0);
    return isActive ? "Warm places are where this channel is most active." : "This channel is not active anywhere.";
  }
}
