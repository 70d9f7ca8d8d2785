// The engine's own thread: one wasm instance on one device, one request after the other.
//
// Requests: `{ id, op, args, watched }`, answered by `{ id, result }` or `{ id, error: { name, message } }`, with
// `{ id, progress }` before if it is watched; `{ op: "abort", id }`. Whatever goes wrong outside of a request's own error
// is a crash: `{ crash, id }` with the request that ran. The page then ends this worker and starts another.

import { compile, glueOf } from "./builds.js";

/** How many predictions keep their activations: a page with more asks again with the image, which costs a forward pass. */
const PREDICTIONS_KEPT = 4;

/** What is drawn on a page, at most and about: in CSS pixels, and on any screen. */
const PAGE_PIXELS = 1.2e6;
const SCREEN_PIXELS = 2.5e6;

let glue, engine;
/** What reads pictures, on its way or here, by build. @type {Record<string, Promise<object> | undefined>} */
const pictures = {};
let lastId = 0;
/** @type {Map<number, { network: object, preprocess?: any[], preparation?: object }>} */ const networks = new Map();
/** From the least to the most recently used. @type {Map<number, { prediction: object, network: object }>} */
const predictions = new Map();

const queue = [];
let running = null;
let doomed = false;

/** Those of the builds in use. @type {WebAssembly.Memory[]} */
const memories = [];

/** A build, ready to be used. @param {import("./builds.js").BuildName} name @param {Promise<WebAssembly.Module>} compiling */
async function instantiate(name, compiling) {
  const [glue, module] = await Promise.all([glueOf(name), compiling]);
  const { memory } = await glue.default({ module_or_path: module });
  memories.push(memory);
  return glue;
}

/** What reads pictures, fetched once; asked for again if it could not be had. @param {"decode" | "formats"} name */
function loadPictures(name = "decode") {
  pictures[name] ??= instantiate(name, compile(name));
  pictures[name].catch(() => (pictures[name] = undefined));
  return pictures[name];
}

const operations = {
  /** The code is going to come with `start`; the script around it need not wait for that. */
  expect({ backend }) {
    glueOf(backend).catch(() => {});
  },

  async start({ backend, module }) {
    holdLock();
    if (backend === "webgpu") watchDevices();
    glue = await instantiate(backend, module);
    engine = await glue.Engine.start();
    return {};
  },

  load({ bytes, width, height }) {
    const network = engine.load(new Uint8Array(bytes), width, height);
    networks.set(++lastId, { network });
    const [operators, shapes] = [network.layerOperators(), network.layerShapes()];
    const layers = network.layerNames().map((name, i) => ({
      name,
      operator: operators[i],
      shape: Array.from(shapes.subarray(3 * i, 3 * i + 3)),
    }));
    return {
      network: lastId,
      info: {
        input: { width: network.inputWidth, height: network.inputHeight, channels: network.inputChannels },
        classes: network.classes,
        layers,
        defaultLayer: network.defaultLayer,
        metadata: pairs(network.metadata()),
      },
    };
  },

  /** Says how the network wants its images, once that is settled. */
  prepare({ network: id, preprocess: { width, height, resize, mean, std, order } }) {
    const seat = networks.get(id);
    const numbers = (values) => Float32Array.from(values);
    seat.preprocess = [width, height, resize, numbers(mean), numbers(std), order];
    seat.network.checkPreprocess(...seat.preprocess);
  },

  async classify({ network: id, image, pixelRatio, question }, hooks) {
    const seat = networks.get(id);
    if (!seat) return { forgotten: true };
    const { network } = seat;
    const started = performance.now();
    const { values, rect, shown } = image.tensor
      ? { values: image.tensor, rect: Float64Array.of(0, 0, network.inputWidth, network.inputHeight) }
      : await readPicture(image, seat);
    hooks.stopped();
    const input = network.input(values);
    const prepared = performance.now();
    const prediction = await network.classify(input);
    const classified = performance.now();
    predictions.set(++lastId, { prediction, network });
    for (const [id, old] of predictions) {
      if (predictions.size <= PREDICTIONS_KEPT) break;
      old.prediction.free();
      predictions.delete(id);
    }
    const explanation = question && (await explained(prediction, question, hooks));
    const screen = shown ? await shrink(shown, Math.min(SCREEN_PIXELS, PAGE_PIXELS * pixelRatio ** 2)) : undefined;
    return {
      result: {
        prediction: lastId,
        scores: prediction.scores,
        probabilities: prediction.probabilities,
        rect,
        picture: shown,
        screen,
        tensor: image.tensor,
        explanation,
        timings: { preprocess: prepared - started, forward: classified - prepared },
        stepsRun: network.stepsRun,
        memory: memories.reduce((sum, { buffer }) => sum + buffer.byteLength, 0),
      },
      transfer: [shown?.rgba, screen?.rgba, image.tensor].filter(Boolean).map(({ buffer }) => buffer),
    };
  },

  async explain({ prediction: id, ...question }, hooks) {
    const kept = keptPrediction(id);
    if (!kept) return { forgotten: true };
    return { ...(await explained(kept.prediction, question, hooks)), stepsRun: kept.network.stepsRun };
  },

  async factorize({ prediction: id, layer, concepts: count, seed }, { progress, isStopped }) {
    const kept = keptPrediction(id);
    if (!kept) return { forgotten: true };
    const concepts = await kept.prediction.factorize(layer, count, seed, progress, isStopped);
    const { width, height } = concepts;
    const found = Array.from({ length: count }, (_, i) => ({
      map: { width, height, values: concepts.values(i) },
      scores: concepts.scores(i),
      probabilities: concepts.probabilities(i),
    }));
    concepts.free();
    return { found, stepsRun: kept.network.stepsRun };
  },

  async units({ prediction: id, targetClass, layer, count }) {
    const kept = keptPrediction(id);
    if (!kept) return { forgotten: true };
    const units = await kept.prediction.units(targetClass, layer, count);
    const { channels, contributions, width, height, values } = units;
    units.free();
    return { channels, contributions, width, height, values, stepsRun: kept.network.stepsRun };
  },

  async classesAt({ prediction: id, layer, column, row, likeliest }, { isStopped }) {
    const kept = keptPrediction(id);
    if (!kept) return { forgotten: true };
    const evidence = await kept.prediction.classesAt(layer, column, row, likeliest, isStopped);
    const { classes, values, all } = evidence;
    evidence.free();
    return { classes, values, all, stepsRun: kept.network.stepsRun };
  },

  async measure({ prediction: id, map: { width, height, values }, targetClass, steps, noise, seed }, { progress, isStopped }) {
    const kept = keptPrediction(id);
    if (!kept) return { forgotten: true };
    const found = await kept.prediction.measure(width, height, values, targetClass, steps, noise, seed, progress, isStopped);
    const { drop, increase, scoreChange, fractions, percentiles, mostRelevantFirst, leastRelevantFirst } = found;
    const measures = {
      drop,
      increase,
      scoreChange,
      deletion: { fractions, probabilities: found.deletion, area: found.deletionArea },
      insertion: { fractions, probabilities: found.insertion, area: found.insertionArea },
      road: { percentiles, mostRelevantFirst, leastRelevantFirst, combined: found.roadCombined },
    };
    found.free();
    return { measures, stepsRun: kept.network.stepsRun };
  },

  async sanityCheck({ prediction: id, method, targetClass, layers, target, ratherThan, augSmooth, eigenSmooth, steps, seed }, { progress, isStopped }) {
    const kept = keptPrediction(id);
    if (!kept) return { forgotten: true };
    const started = performance.now();
    const aim = new glue.Aim(target, ratherThan, augSmooth, eigenSmooth);
    const checked = await kept.prediction.sanityCheck(method, targetClass, layers, aim, steps, seed, progress, isStopped);
    const { layers: names, randomised, rankCorrelations } = checked;
    const explain = (performance.now() - started) / names.length;
    const found = names.map((layer, i) => ({
      layer,
      randomised: randomised[i],
      rankCorrelation: rankCorrelations[i],
      explanation: { ...unpacked(checked.explanation(i)), explain },
    }));
    checked.free();
    return { found, stepsRun: kept.network.stepsRun };
  },

  forget({ network: id }) {
    const seat = networks.get(id);
    networks.delete(id);
    for (const [key, kept] of predictions) {
      if (kept.network !== seat?.network) continue;
      kept.prediction.free();
      predictions.delete(key);
    }
    seat?.preparation?.free();
    seat?.network.free();
    return { networks: networks.size };
  },
};

/** Internal, for tests of survival: the engine panics while it works on the next explanation. */
operations.panic = () => {
  doomed = true;
};

// Nearly every page is about to show it a picture, and whoever does not never hears of a failure.
loadPictures().catch(() => {});

self.onmessage = ({ data }) => {
  if (data.op !== "abort") {
    queue.push({ ...data, stopped: false });
    if (!running) void work();
    return;
  }
  if (running?.id === data.id) running.stopped = true;
  const waiting = queue.findIndex((request) => request.id === data.id);
  if (waiting >= 0) queue.splice(waiting, 1);
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
      isStopped: () => request.stopped,
      stopped() {
        if (request.stopped) throw named("AbortError", "The request was stopped by its caller.");
      },
    };
    try {
      const answer = await operations[op](args, hooks);
      const { result, transfer } = answer?.transfer ? answer : { result: answer, transfer: [] };
      if (id !== undefined) postMessage({ id, result }, transfer);
    } catch (error) {
      // After a panic nothing in this instance may be touched again.
      if (error instanceof WebAssembly.RuntimeError) return crash(error);
      postMessage({ id, error: { name: error?.name, message: error?.message ?? String(error) } });
    }
    // A turn of the event loop lets a message that stops the next request come first.
    if (queue.length > 0) await turn();
  }
}

function crash(error) {
  // The engine leaves its last words here: it can no longer be asked for them. It has none when it runs out of memory.
  const silent = error instanceof WebAssembly.RuntimeError ? `memory ran out, or the engine failed (${error.message})` : undefined;
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

/** The page waits for this lock: it gets it when this worker ends, however that comes about. */
function holdLock() {
  const lock = `gradcam-web ${crypto.getRandomValues(new Uint32Array(4)).join("-")}`;
  navigator.locks?.request(lock, () => {
    postMessage({ lock });
    return new Promise(() => {});
  });
}

/** The engine keeps its device to itself; a lost or failing one is noticed where it is opened. */
function watchDevices() {
  const { requestDevice } = GPUAdapter.prototype;
  GPUAdapter.prototype.requestDevice = async function (...args) {
    const device = await requestDevice.apply(this, args);
    device.lost.then(({ reason, message }) => crash(new Error(`the GPU device was lost (${message || reason})`)));
    device.addEventListener("uncapturederror", ({ error }) => crash(new Error(`the GPU refused a command (${error.message})`)));
    return device;
  };
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
  return { width: resizeWidth, height: resizeHeight, rgba: new Uint8Array(context.getImageData(0, 0, resizeWidth, resizeHeight).data.buffer) };
}

/** A prediction that is still here, and now the one used last. @param {number} id */
function keptPrediction(id) {
  const kept = predictions.get(id);
  if (kept) {
    predictions.delete(id);
    predictions.set(id, kept);
  }
  return kept;
}

async function explained(prediction, { method, targetClass, layers, target, ratherThan, augSmooth, eigenSmooth }, { progress, isStopped }) {
  const started = performance.now();
  const aim = new glue.Aim(target, ratherThan, augSmooth, eigenSmooth);
  const explaining = prediction.explain(method, targetClass, layers, aim, progress, isStopped);
  if (doomed) glue.panicForTest();
  return { ...unpacked(await explaining), explain: performance.now() - started };
}

/** An explanation as plain data; the engine's own is freed. */
function unpacked(explanation) {
  const { width, height, values, method, targetClass, targetLayers } = explanation;
  explanation.free();
  return { map: { width, height, values }, method, targetClass, targetLayers };
}

/** What the network sees of an image, where that lies on it, and the image itself. */
async function readPicture(source, seat) {
  const { Picture, Preparation } = await loadPictures();
  seat.preparation ??= new Preparation(...seat.preprocess, seat.network.inputChannels);
  const { bytes, width, height, rgba } = isRare(source) ? await decodeRare(source) : source;
  const picture = bytes ? Picture.decode(new Uint8Array(bytes)) : Picture.fromRgba(width, height, new Uint8Array(rgba));
  try {
    const prepared = picture.prepared(seat.preparation);
    const { values, rect } = prepared;
    prepared.free();
    return { values, rect, shown: { width: picture.width, height: picture.height, rgba: picture.rgba() } };
  } finally {
    picture.free();
  }
}

/** Whether it may be a WebP, GIF or BMP file, whose decoders few pages need. */
function isRare({ bytes }) {
  return bytes?.byteLength > 0 && "RGB".includes(String.fromCharCode(new Uint8Array(bytes)[0]));
}

/** The pixels of such a file. */
async function decodeRare({ bytes }) {
  const { Picture } = await loadPictures("formats");
  const picture = Picture.decode(new Uint8Array(bytes));
  try {
    return { width: picture.width, height: picture.height, rgba: picture.rgba().buffer };
  } finally {
    picture.free();
  }
}

/** @param {string[]} list keys and values in turn */
function pairs(list) {
  const map = new Map();
  for (let i = 0; i < list.length; i += 2) map.set(list[i], list[i + 1]);
  return map;
}

function named(name, message) {
  return Object.assign(new Error(message), { name });
}
