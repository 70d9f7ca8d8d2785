// The engine's own thread: one wasm instance on one device, one request after the other.
//
// Requests: `{ id, op, args, watched }`, answered by `{ id, result }` or `{ id, error: { name, message } }`, with
// `{ id, begins: true }` first, `{ id, progress }` before if it is watched, and `{ id, part }` for what is known before the rest;
// `{ op: "abort", id }`. The worker says `{ wants: build }` and is sent `{ op: "code", args: { build, module } }`. Whatever goes
// wrong outside of a request's own error is a crash: `{ crash, id }` with the request that ran. The page then ends this worker
// and starts another.

// `cargo xtask build` makes one script of this and the builds' glue, pkg/worker.js: it runs wherever a bundler puts it, and
// whatever kind of worker it is. It fetches nothing; the page hands it all code.

import * as cpu from "../cpu/gradcam_web.js";
import * as decode from "../decode/gradcam_web.js";
import * as formats from "../formats/gradcam_web.js";
import * as gpu from "../gpu/gradcam_web.js";
import { sidesIn } from "../metadata.js";

/** The script between JavaScript and each build. A worker has one of both CPU builds, and their glue is the same: bundle.js looks. */
const GLUE = { cpu, relaxed: cpu, gpu, decode, formats };

/**
 * How many bytes predictions may keep: a question about one that is no longer there comes with its image and costs a forward
 * pass. The last one is kept, however large.
 */
const MEMORY_FOR_PREDICTIONS = 96e6;
/** And how many there are at most: thousands of small ones take longer to go through, and more than they say. */
const MOST_PREDICTIONS = 256;

/** What is drawn on a page, at most and about: in CSS pixels, and on any screen. */
const PAGE_PIXELS = 1.2e6;
const SCREEN_PIXELS = 2.5e6;

let glue, engine;
let isOnCard = false;
/** What reads pictures, on its way or here, by build. @type {Record<string, Promise<object> | undefined>} */
const pictures = {};
let lastId = 0;
/** @type {Map<number, { network: object, preprocess?: object, preparation?: object }>} */ const networks = new Map();
/** From the least to the most recently used. @type {Map<number, { prediction: object, network: object }>} */
const predictions = new Map();

/** Kept, that is all. @type {MessagePort[]} */
const lines = [];

const queue = [];
let running = null;
let doomed = false;

/** Those of the builds in use. @type {WebAssembly.Memory[]} */
const memories = [];

/** A build, ready to be used. @param {"cpu" | "relaxed" | "gpu" | "decode" | "formats"} build @param {WebAssembly.Module} module */
async function instantiate(build, module) {
  const { memory } = await GLUE[build].default({ module_or_path: module });
  memories.push(memory);
  return GLUE[build];
}

/** Builds that the page was asked for. @type {Map<string, { resolve: Function, reject: Function }>} */
const wanted = new Map();

/** A build's code, from the page. @returns {Promise<WebAssembly.Module>} */
function moduleOf(build) {
  return new Promise((resolve, reject) => {
    wanted.set(build, { resolve, reject });
    postMessage({ wants: build });
  });
}

/** What reads pictures, asked for once; again if it could not be had. @param {"decode" | "formats"} build */
function loadPictures(build = "decode") {
  pictures[build] ??= moduleOf(build).then((module) => instantiate(build, module));
  pictures[build].catch(() => (pictures[build] = undefined));
  return pictures[build];
}

const operations = {
  /** The page notices when this end of it is gone. */
  holdLine(port) {
    lines.push(port);
  },

  async start({ backend, build, module }) {
    isOnCard = backend === "webgpu";
    glue = await instantiate(build, module);
    engine = await glue.Engine.start();
    if (isOnCard) engine.failure().then((reason) => crash(new Error(reason)));
    return {};
  },

  load({ bytes, parts, width, height, defaultLayer }) {
    const model = new Uint8Array(bytes);
    const outline = engine.outline(model);
    if (!parts && outline.parts.length > 0) return { wanted: outline.parts };
    const names = (parts ?? []).map(({ name }) => name);
    const files = (parts ?? []).map((part) => new Uint8Array(part.bytes));
    // What the file leaves open, its metadata may tell.
    const sides = width || height ? { width, height } : sidesIn(outline.metadata);
    const network = engine.load(model, names, files, sides?.width, sides?.height, defaultLayer);
    networks.set(++lastId, { network });
    return { network: lastId, info: network.info() };
  },

  /** Says how the network wants its images, once that is settled. */
  prepare({ network: id, preprocess }) {
    const loaded = networks.get(id);
    loaded.preprocess = preprocess;
    loaded.network.checkPreprocess(preprocess);
  },

  /**
   * Runs an image through the network. With a question `then` about it the classification comes before the answer, and only
   * that is the result. `wantsPicture` is false for an image that the page has got already.
   */
  async classify({ network: id, image, pixelRatio, wantsPicture = true, then }, hooks) {
    const loaded = networks.get(id);
    if (!loaded) return { forgotten: true };
    const { network } = loaded;
    const started = performance.now();
    const { values, rect, shown } = image.tensor
      ? { values: image.tensor, rect: wholeOf(image.shape) }
      : await readPicture(image, loaded, wantsPicture);
    hooks.stopped();
    const prepared = performance.now();
    const prediction = await network.classify(values, then?.args.layers?.[0] ?? then?.args.layer);
    const classified = performance.now();
    const key = keep(prediction, network);
    const screen = shown ? await shrink(shown, Math.min(SCREEN_PIXELS, PAGE_PIXELS * pixelRatio ** 2)) : undefined;
    const result = {
      prediction: key,
      ...prediction.classified(),
      rect,
      picture: shown,
      screen,
      tensor: image.tensor,
      timings: { preprocess: prepared - started, forward: classified - prepared },
      ...network.counts(),
      memory: memory().total,
    };
    const transfer = [shown?.rgba, screen?.rgba, image.tensor].filter(Boolean).map(({ buffer }) => buffer);
    if (!then) return { result, transfer };
    hooks.part(result, transfer);
    return ask(then.op, { prediction: key, ...then.args }, hooks);
  },

  forget({ network: id }) {
    const loaded = networks.get(id);
    networks.delete(id);
    for (const [key, kept] of predictions) {
      if (kept.network !== loaded?.network) continue;
      kept.prediction.free();
      predictions.delete(key);
    }
    loaded?.preparation?.free();
    loaded?.network.free();
    return { networks: networks.size };
  },
};

/**
 * The answer to a question about a prediction, and how long it took. @param {string} name of the question, as
 * src/web/engine/question.rs knows it
 */
async function ask(name, { prediction: id, ...question }, { progress, isStopped }) {
  const kept = predictions.get(id);
  if (!kept) return { forgotten: true };
  // It is now the one used last.
  predictions.delete(id);
  predictions.set(id, kept);
  const started = performance.now();
  const asking = kept.prediction.ask(name, question, progress, isStopped);
  if (doomed && name === "explain") glue.panicForTest();
  return { answer: await asking, milliseconds: performance.now() - started, ...kept.network.counts() };
}

/** Internal, for tests of survival: the engine panics while it works on the next explanation. */
operations.panic = () => {
  doomed = true;
};

void begin();

/** Internal, for tests: as if the engine were busy for ever. */
operations.sleepForTest = () => {
  for (;;);
};

// Nearly every page is about to show it a picture, and whoever does not never hears of a failure.
loadPictures().catch(() => {});

self.onmessage = ({ data }) => {
  if (data.op === "code") {
    const { build, module, error } = data.args;
    if (module) wanted.get(build)?.resolve(module);
    else wanted.get(build)?.reject(named("DeviceError", error));
    return;
  }
  if (data.op !== "abort") {
    queue.push({ ...data, stopped: false });
    if (!running) void work();
    return;
  }
  for (const request of [running, ...queue]) if (request?.id === data.id) request.stopped = true;
};

/** Timers would take up to 4 ms for that. */
const turns = new MessageChannel();

function turn() {
  return new Promise((resolve) => {
    turns.port1.onmessage = resolve;
    turns.port2.postMessage(undefined);
  });
}

async function work() {
  while ((running = queue.shift())) {
    const request = running;
    const { id, op, args, watched } = request;
    const hooks = {
      progress(fraction) {
        if (watched) postMessage({ id, progress: fraction });
      },
      part(value, transfer) {
        postMessage({ id, part: value }, transfer);
      },
      isStopped: () => request.stopped,
      stopped() {
        if (request.stopped) throw named("AbortError", "The request was stopped by its caller.");
      },
    };
    if (id !== undefined) postMessage({ id, begins: true });
    try {
      hooks.stopped();
      const answer = await (operations[op] ? operations[op](args, hooks) : ask(op, args, hooks));
      const { result, transfer } = answer?.transfer ? answer : { result: answer, transfer: [] };
      if (id !== undefined) postMessage({ id, result, memory: memory() }, transfer);
    } catch (error) {
      // After a panic nothing in this instance may be touched again, nor a graphics card that gives no result.
      const isLost = error?.name === "DeviceError" && isOnCard && op !== "start";
      if (isLost || error instanceof WebAssembly.RuntimeError) return crash(error);
      postMessage({ id, error: { name: error?.name, message: error?.message ?? String(error) }, memory: memory() });
    }
    // A turn of the event loop lets a message that stops the next request come first.
    if (queue.length > 0) await turn();
  }
}

function crash(error) {
  // The engine leaves its last words here: it can no longer be asked for them. It has none when it runs out of memory.
  const silent =
    error instanceof WebAssembly.RuntimeError ? `memory ran out, or the engine failed (${error.message})` : undefined;
  const message = self.gradcamPanic ?? silent ?? error?.message ?? String(error);
  postMessage({ crash: message, id: running?.id });
  queue.length = 0;
}

self.addEventListener("error", (event) => {
  event.preventDefault();
  crash(event.error ?? event);
});
self.addEventListener("unhandledrejection", (event) => {
  event.preventDefault();
  crash(event.reason);
});

/**
 * Says that this script runs. The page waits for the lock: it gets it when this worker ends, however that comes about.
 * Pages without https or without an origin have no locks.
 */
async function begin() {
  const lock = `gradcam-web ${crypto.getRandomValues(new Uint32Array(4)).join("-")}`;
  try {
    await navigator.locks.request(lock, () => {
      postMessage({ lock });
      return new Promise(() => {});
    });
  } catch {
    postMessage({ lock: null });
  }
}

/** A smaller copy of a picture with more pixels than a screen shows: drawing it all would make a slider stutter. */
async function shrink({ width, height, rgba }, most) {
  const scale = Math.sqrt(most / (width * height));
  if (scale > 0.8 || typeof OffscreenCanvas === "undefined") return undefined;
  const [resizeWidth, resizeHeight] = [width, height].map((side) => Math.max(1, Math.round(side * scale)));
  const pixels = new ImageData(new Uint8ClampedArray(rgba.buffer), width, height);
  const bitmap = await createImageBitmap(pixels, { resizeWidth, resizeHeight, resizeQuality: "medium" });
  const context = new OffscreenCanvas(resizeWidth, resizeHeight).getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return {
    width: resizeWidth,
    height: resizeHeight,
    rgba: new Uint8Array(context.getImageData(0, 0, resizeWidth, resizeHeight).data.buffer),
  };
}

/** Keeps a prediction for questions to come, instead of those whose last question is longest ago. @returns {number} */
function keep(prediction, network) {
  predictions.set(++lastId, { prediction, network });
  let sum = 0;
  for (const { prediction } of predictions.values()) sum += prediction.memory();
  for (const [id, { prediction }] of predictions) {
    if ((sum <= MEMORY_FOR_PREDICTIONS && predictions.size <= MOST_PREDICTIONS) || id === lastId) break;
    sum -= prediction.memory();
    prediction.free();
    predictions.delete(id);
  }
  return lastId;
}

/** What the builds in use have got, and what of it is in use, as far as that is known: in bytes. */
function memory() {
  const total = memories.reduce((sum, { buffer }) => sum + buffer.byteLength, 0);
  return { total, used: glue?.usedMemory?.() ?? 0 };
}

/** Where the network's whole input lies on numbers that are given as a tensor. */
function wholeOf([, , height, width]) {
  return Float64Array.of(0, 0, width, height);
}

/** What the network sees of an image, where that lies on it, and the image itself. */
async function readPicture(source, loaded, wantsPicture) {
  const { Picture, Preparation } = await loadPictures();
  loaded.preparation ??= new Preparation(loaded.preprocess, loaded.network.info().input.channels);
  const file = source.isRare ? await decodeRare(source) : source;
  const { bytes, width, height, rgba } = file;
  const picture = bytes ? Picture.decode(new Uint8Array(bytes)) : Picture.fromRgba(width, height, new Uint8Array(rgba));
  try {
    const { values, rect } = picture.prepared(loaded.preparation);
    const isAnimated = file.isAnimated ?? picture.info().isAnimated;
    const shown = wantsPicture ? { ...picture.info(), isAnimated, rgba: picture.rgba() } : undefined;
    return { values, rect, shown };
  } finally {
    picture.free();
  }
}

/** The pixels of a file of a kind whose decoder few pages need. */
async function decodeRare({ bytes }) {
  const { Picture } = await loadPictures("formats");
  const picture = Picture.decode(new Uint8Array(bytes));
  try {
    return { ...picture.info(), rgba: picture.rgba().buffer };
  } finally {
    picture.free();
  }
}

function named(name, message) {
  return Object.assign(new Error(message), { name });
}
