// What a network said of an image: predictions, explanations and other maps over the image.

import { DEFAULT_STYLE, METHODS, SENSES } from "./catalog.js";
import { certaintyOf } from "./certainty.js";
import { highest } from "./classes.js";
import { GradCamError, arrived, throwIfAborted } from "./errors.js";
import { npyOf } from "./npy.js";
import {
  MOST,
  boxesOf,
  colors,
  conceptColors,
  contoursOf,
  draw,
  drawConcepts,
  heatmapAt,
  heatmapOf,
  sentenceOf,
  valueAt,
  valuesOf,
} from "./view.js";
import { FIRST_FRAME, captionFor, percent, say } from "./words.js";
import { withRespawn } from "./worker-client.js";

/** @typedef {import("./session.js").Session} Session */
/** @typedef {import("./worker-client.js").EngineWorker} EngineWorker */
/** @typedef {import("./view.js").Grid} Grid */

/** Users get results from a model and can't make them. */
export const construct = Symbol("constructed by the package");

/** Makes an explanation of a worker's answer. */
export const explained = Symbol("explained");

/** Tells a prediction where it is kept now. */
export const moved = Symbol("moved");

/** What a map says of itself in a figure. */
const CAPTION = Symbol("caption");

/** Draws an explanation like `draw`, but no larger than a screen. */
export const drawForScreen = Symbol.for("gradcam-web.drawForScreen");

/** See `Prediction` in index.d.ts. */
export class Prediction {
  /** @type {Session} */ #session;
  #source;
  /** Where the network's activations are kept. @type {{ worker: EngineWorker, prediction: number }} */ #kept;
  /** @type {Canvas} */ #canvas;
  #timings;

  constructor(key, model, session, source, answer) {
    if (key !== construct) throw new TypeError("Predictions come from a model's classify.");
    this.model = model;
    this.#session = session;
    this.scores = answer.scores;
    this.probabilities = answer.probabilities;
    this.#source = source;
    this.#canvas = new Canvas(answer.picture, answer.screen, answer.rect);
    this.#timings = answer.timings;
    this[moved](answer);
    Object.freeze(this);
  }

  /** The image's size in pixels. */
  get image() {
    const { width, height, isAnimated } = this.#canvas.picture;
    return { width, height, ...(isAnimated && { isAnimated }) };
  }

  get timings() {
    return { ...this.#timings };
  }

  top(n) {
    return highest(this, this.model.labels, n);
  }

  get certainty() {
    return this.#certain().certainty;
  }
  get certaintyReason() {
    return this.#certain().certaintyReason;
  }

  #certain() {
    return certaintyOf(this.scores, this.top(1)[0], this.#session.certainty, this.#canvas.picture.rgba);
  }

  async explain(options) {
    const { onProgress, signal, ...rest } = options ?? {};
    const question = this.#session.questionOf(rest);
    return this[explained](await this.#ask("explain", question, { signal, onProgress }), question);
  }

  async sanityCheck(options) {
    const { steps = 8, seed = 1, onProgress, signal, ...rest } = options ?? {};
    checkWhole("number of steps", steps);
    checkWhole("seed", seed, 0);
    const question = this.#session.questionOf(rest);
    const asked = { ...question, steps, seed };
    const { answer: found, milliseconds } = await this.#ask("sanityCheck", asked, { signal, onProgress });
    return found.map(({ explanation: answer, ...step }) => {
      const explanation = this[explained]({ answer, milliseconds: milliseconds / found.length }, question);
      const { map, heatmap } = explanation;
      return Object.freeze({ ...step, explanation, map, heatmap });
    });
  }

  /** The worker's answer to a question, as an explanation. */
  [explained]({ answer, milliseconds: explain }, question) {
    const ask = (...asked) => this.#ask(...asked);
    return new Explanation(construct, this, { ...question, ...answer, explain }, this.#canvas, this.#timings, ask);
  }

  async factorize(options) {
    const { concepts = 5, targetLayer, seed = 0, onProgress, signal } = options ?? {};
    checkWhole("number of concepts", concepts, 1, 16);
    checkWhole("seed", seed, 0);
    const args = { layer: String(targetLayer ?? this.model.defaultLayer), concepts, seed };
    const { answer } = await this.#ask("factorize", args, { signal, onProgress });
    return new Factorization(construct, answer, this.model.labels, this.#canvas);
  }

  async units(options) {
    const { targetClass, targetLayer, count = 12, signal } = options ?? {};
    checkWhole("count of units", count);
    const layer = String(targetLayer ?? this.model.defaultLayer);
    const args = { targetClass: this.#session.classOf(targetClass), layer, count };
    const { answer } = await this.#ask("units", args, { signal });
    return answer.map((unit) => new Unit(construct, unit, this.#canvas));
  }

  cellAt(x, y, options) {
    const { targetLayer } = options ?? {};
    const [, height, width] = this.#layer(targetLayer).shape;
    const [left, top, wide, high] = this.#canvas.rect;
    const [column, row] = [Math.floor(((x - left) * width) / wide), Math.floor(((y - top) * height) / high)];
    const isInImage = x >= 0 && y >= 0 && x < this.image.width && y < this.image.height;
    if (!isInImage || column < 0 || row < 0 || column >= width || row >= height) return undefined;
    const [cellWidth, cellHeight] = [wide / width, high / height];
    return {
      column,
      row,
      x: left + column * cellWidth,
      y: top + row * cellHeight,
      width: cellWidth,
      height: cellHeight,
    };
  }

  async classesAt(x, y, options) {
    const { targetLayer, likeliest = 10, signal } = options ?? {};
    checkWhole("number of likeliest classes", likeliest);
    const cell = this.cellAt(x, y, { targetLayer });
    if (!cell) throw new GradCamError("TargetError", `The network did not look at the point ${x}, ${y} of the image.`);
    const args = { layer: this.#layer(targetLayer).name, column: cell.column, row: cell.row, likeliest };
    const { answer } = await this.#ask("classesAt", args, { signal });
    const classes = answer.classes.map(({ index, evidence }) => ({ index, label: this.model.labels[index], evidence }));
    return { cell, all: answer.all, classes };
  }

  #layer(name) {
    const wanted = String(name ?? this.model.defaultLayer);
    const layer = this.model.layers.find(({ name }) => name === wanted);
    if (layer) return layer;
    throw new GradCamError("TargetError", `There is no layer "${wanted}"; model.layers lists them.`);
  }

  /** Where it is kept now. */
  [moved](classified) {
    this.#kept = classified;
  }

  /** Asks the worker something about this prediction: with the image, if the worker no longer has it. */
  async #ask(op, args, { signal, onProgress }) {
    throwIfAborted(signal);
    const answer = await withRespawn(async () => {
      const { worker, prediction } = this.#kept;
      const options = { signal, onProgress, onStall: this.#session.onStall, urgency: () => KEPT };
      const answer = worker.alive ? await worker.request(op, { prediction, ...args }, options) : { forgotten: true };
      if (!answer.forgotten) return answer;
      const onClassified = (classified) => this[moved](classified);
      return this.#session.ask(this.#source, { op, args }, { signal, onProgress, onClassified });
    });
    this.#session.count(answer);
    return answer;
  }
}

/** How urgent questions are whose prediction the worker still has: it may not for long. */
const KEPT = 1.5;

function checkWhole(what, value, least = 1, most = MOST) {
  if (Number.isInteger(value) && value >= least && value <= most) return;
  throw new GradCamError(
    "TargetError",
    `The ${what} is ${value}; a whole number from ${least} to ${most} is accepted.`,
  );
}

/** In how many smaller sizes an image is kept: for a list and its thumbnails. */
const SIZES_KEPT = 2;

/** The image under all maps of a prediction, in the sizes that it is drawn in. */
class Canvas {
  /** The last smaller pictures by their longer side. @type {Map<number, { width: number, height: number, rgba: Uint8Array }>} */
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
      if (this.#small.size === SIZES_KEPT) this.#small.delete(this.#small.keys().next().value);
      this.#small.set(size, small);
    }
    return small;
  }
}

function shrink({ width, height, rgba }, smallWidth, smallHeight) {
  const whole = createCanvas(width, height).getContext("2d");
  whole.putImageData(
    new ImageData(new Uint8ClampedArray(rgba.buffer, rgba.byteOffset, rgba.byteLength), width, height),
    0,
    0,
  );
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

  draw(canvas, options) {
    const { maxSize, ...style } = options ?? {};
    if (maxSize !== undefined && !(maxSize >= 1))
      throw new GradCamError("TargetError", `The maxSize is ${maxSize}; a number from 1 on is accepted.`);
    draw(this.#canvas.under(this.map, maxSize), canvas, style);
  }

  [drawForScreen](canvas, style) {
    draw(this.#canvas.under(this.map, "screen"), canvas, style);
  }

  valueAt(x, y) {
    // The same numbers in coarser pixels, of the picture that is held already.
    const { picture, screen } = this.#canvas;
    const scaled = (at, side, whole) => Math.floor(((at + 0.5) * side) / whole);
    return valueAt(
      this.#canvas.under(this.map, "screen"),
      scaled(x, screen.width, picture.width),
      scaled(y, screen.height, picture.height),
    );
  }

  async toBlob(style) {
    const { width, height } = this.#canvas.picture;
    const canvas = createCanvas(width, height);
    this.draw(canvas, style);
    return pngOf(canvas);
  }

  boxes(options) {
    const { threshold } = options ?? {};
    return boxesOf(this.#canvas.under(this.map), threshold);
  }

  contours(options) {
    const { threshold } = options ?? {};
    return contoursOf(this.#canvas.under(this.map), threshold);
  }

  toNpy() {
    const { width, height } = this.#canvas.picture;
    return npyOf({ width, height, values: valuesOf(this.#canvas.under(this.map)) });
  }

  async toSvg(style) {
    const { svgOf } = await arrived(import("./figure.js"));
    return svgOf(
      this,
      this[CAPTION],
      this.#canvas.picture,
      style ?? {},
      await colors(style?.colormap ?? DEFAULT_STYLE.colormap),
    );
  }

  async toFigure(style) {
    const { width, height } = this.#canvas.picture;
    const canvas = createCanvas(width, height);
    this.draw(canvas, style);
    const { figureOf } = await arrived(import("./figure.js"));
    return pngOf(
      figureOf(this[CAPTION], canvas, await colors(style?.colormap ?? DEFAULT_STYLE.colormap), createCanvas),
    );
  }

  /** What it is, in a line. */
  get [CAPTION]() {
    return say("en", captionFor(this), this);
  }
}

/** @param {any} canvas an `HTMLCanvasElement` or an `OffscreenCanvas` @returns {Promise<Blob>} */
function pngOf(canvas) {
  if (canvas.convertToBlob) return canvas.convertToBlob({ type: "image/png" });
  return new Promise((resolve, reject) => {
    canvas.toBlob((blob) =>
      blob ? resolve(blob) : reject(new GradCamError("DeviceError", "The browser could not make a PNG of this size.")),
    );
  });
}

/** What a map shows, by what its warm places say about the class. */
const WARM_PLACES = {
  for: "Warm places speak most for this class.",
  against: "Warm places speak most against this class.",
  either: "Warm places change the score of this class most, up or down.",
  any: "Warm places stand out most at this layer, whatever the class.",
};

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

  get note() {
    return this.prediction.image.isAnimated ? `${this.#note} ${FIRST_FRAME}` : this.#note;
  }

  get #note() {
    const sense = SENSES[this.method] ?? "for";
    // Against what is against it is for it.
    const shown = this.target === "against" ? ({ for: "against", against: "for" }[sense] ?? sense) : sense;
    if (this.heatmap.values.some((value) => value > 0)) return WARM_PLACES[shown];
    const note = super.note;
    if (shown !== "against") return note;
    return note.replace("for this class", "against this class").replace("is against it", "is for it");
  }

  get [CAPTION]() {
    const { labels } = this.prediction.model;
    return say("en", captionFor(this), {
      label: labels[this.targetClass],
      rival: labels[this.ratherThan],
      percent: percent(this.prediction.probabilities[this.targetClass]),
      method: METHODS.find(({ name }) => name === this.method)?.title ?? this.method,
    });
  }

  async measure(options) {
    const { steps = 20, noise = 0.01, seed = 1, onProgress, signal } = options ?? {};
    checkWhole("number of steps", steps);
    checkWhole("seed", seed, 0);
    if (!(noise >= 0 && noise < Infinity)) {
      throw new GradCamError("TargetError", `The noise is ${noise}; 0 or a positive number is accepted.`);
    }
    const { map, method, targetClass, targetLayers: layers, target, ratherThan, augSmooth, eigenSmooth } = this;
    const explained = { method, targetClass, layers, target, ratherThan, augSmooth, eigenSmooth };
    const { answer } = await this.#ask("measure", { map, ...explained, steps, noise, seed }, { signal, onProgress });
    return answer;
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
    this.concepts = Object.freeze(
      found.map((concept, i) => new Concept(construct, concept, colors[i], labels, canvas)),
    );
    Object.freeze(this);
  }

  draw(canvas, style) {
    const { picture, rect } = this.#canvas;
    drawConcepts({ picture, rect, maps: this.concepts.map(({ map }) => map) }, canvas, style);
  }
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
