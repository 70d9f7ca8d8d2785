// Where a model lives: in which worker, under which number there, and how it gets into another one.

import { openEngine } from "./backend.js";
import { copyOf, giveBack, makeReady } from "./buffer-pool.js";
import { findClass } from "./classes.js";
import { GradCamError, orAborted } from "./errors.js";
import { readParts } from "./manifest.js";
import { choosePreprocess, labelsFromMetadata } from "./preprocess.js";
import { RUNS, compare } from "./takeover.js";
import { WorkerCrash, withRespawn } from "./worker-client.js";

/** @typedef {import("./worker-client.js").EngineWorker} EngineWorker */

/** How long a loaded model waits for a first image before a better engine gets ready: in milliseconds. */
const SOON = 1_000;

/**
 * Pictures that the page holds, by the source that they came from: what several predictions of one image draw on.
 * @type {WeakMap<object, { picture: object, screen: object }>}
 */
const pictures = new WeakMap();

export class Session {
  /** @type {import("./manifest.js").ModelFile} */ #file;
  /** @type {"auto" | "webgpu" | "cpu"} */ #wanted;
  #options;
  /** The worker and the network's number there. @type {{ worker: EngineWorker, network: Promise<number> } | undefined} */
  #home;
  #closed = false;
  /** Why it runs on the CPU, though a graphics card was asked for or could be had. @type {string | undefined} */ #whyCpu;
  #isUpgrading = false;
  /** Whether the graphics card took over from the CPU. */
  #isOnCard = false;
  /** What the last forward passes on the CPU took, in milliseconds. @type {number[]} */
  #cpuTimes = [];
  #settle;

  /** @type {import("./backend.js").Engine} */ engine;
  /** What the file says of the network. */ info;
  /** How images are prepared, and why so. */ prepared;
  /** Of the model. @type {string | undefined} */ name;
  /** When the network is unsure, if the manifest says so. @type {import("./certainty.js").Rule | undefined} */
  certainty;
  stats = { stepsRun: 0, memory: 0, cpuSteps: 0 };
  /** Fulfilled when the engine changes no more. */
  settled = new Promise((resolve) => (this.#settle = resolve));

  /**
   * @param {import("./manifest.js").ModelFile} file @param {"auto" | "webgpu" | "cpu"} wanted
   * @param {{ preprocess?: object, labels?: string[], onStall?: Function }} options the caller's, before those of the file
   */
  constructor(file, wanted, options) {
    this.#file = file;
    this.name = file.name;
    this.certainty = file.certainty;
    this.#wanted = wanted;
    this.#options = options;
  }

  /** Hears of requests without progress. */
  get onStall() {
    return this.#options.onStall;
  }

  /** Loads the network into a worker. */
  async open(signal) {
    await this.#withRespawn(() => this.#resume(signal, signal));
    // The first answer comes first, if it is asked for at once.
    if (this.engine.better) setTimeout(() => this.#upgradeEngine(), SOON);
    else this.#settle();
  }

  close() {
    this.#closed = true;
    this.#settle();
    this.#leave();
    this.#file = undefined;
  }

  /**
   * Runs the image through the network, on whatever worker there is, and asks a question about it in the same request, if
   * there is one.
   *
   * @param {import("./image-source.js").Source} source
   * @param {{ op: string, args: object }} [question] an operation of the worker about a prediction
   * @param {object} [options]
   * @param {(classified: object) => void} [options.onClassified] hears what the network says as soon as that is known; again, if
   *   the worker had to be replaced after that
   * @returns {Promise<any>} the answer to the question, or what the network says
   */
  ask(source, question, { onClassified, onProgress, signal, urgency } = {}) {
    const { onStall } = this;
    return this.#withRespawn(async () => {
      const { worker, network } = await this.#resume(signal);
      if (source.tensor) checkTensor(source, this.info.input);
      const taken = ({ tensor, picture, screen, ...classified }) => {
        this.count(classified);
        if (this.engine.backend === "cpu")
          this.#cpuTimes = [...this.#cpuTimes, classified.timings.forward].slice(-RUNS);
        if (tensor) giveBack(tensor);
        if (picture) pictures.set(source, { picture, screen: screen ?? picture });
        return { worker, ...classified, ...(pictures.get(source) ?? blank(this.info.input)) };
      };
      const prepare = async () => {
        const image = await forWorker(source);
        // For the next one, as the page has nothing to do meanwhile.
        if (source.tensor) queueMicrotask(() => makeReady(source.tensor.length));
        const pixelRatio = globalThis.devicePixelRatio ?? 1;
        const args = { network, image, pixelRatio, wantsPicture: !pictures.has(source), then: question };
        return { args, transfer: transferOf(image) };
      };
      const onPart = (part) => onClassified?.(taken(part));
      const answer = await worker.request("classify", prepare, { onPart, onProgress, onStall, signal, urgency });
      // It moved to another engine after this request had been given its place.
      if (answer.forgotten) throw new WorkerCrash("the network is no longer there", 0);
      this.count(answer);
      void this.#upgradeEngine();
      return question ? answer : taken(answer);
    });
  }

  /** What to explain, as the worker takes it. */
  questionOf({
    method = "grad-cam",
    targetClass,
    targetLayer,
    target = "score",
    ratherThan,
    augSmooth = false,
    eigenSmooth = false,
  }) {
    return {
      method: String(method),
      targetClass: this.classOf(targetClass),
      layers: [targetLayer ?? []].flat().map(String),
      target: String(target),
      ratherThan: this.classOf(ratherThan),
      augSmooth: Boolean(augSmooth),
      eigenSmooth: Boolean(eigenSmooth),
    };
  }

  classOf(targetClass) {
    return targetClass === undefined || targetClass === null ? undefined : findClass(this.info.labels, targetClass);
  }

  /** Keeps what an answer says of the engine. */
  count({ stepsRun, cpuSteps, memory = this.stats.memory }) {
    this.stats = { stepsRun, memory, cpuSteps };
  }

  /** Runs a task that needs a worker. One that was asked for on a graphics card which was lost twice goes on on the CPU. */
  #withRespawn(task) {
    return withRespawn(task, ({ message }) => this.engine?.backend === "webgpu" && this.#leaveCard(message));
  }

  #leaveCard(message) {
    this.#wanted = "cpu";
    this.#whyCpu = `the GPU failed: ${message}`;
    return true;
  }

  async #openEngine() {
    try {
      const engine = await openEngine(this.#wanted, { isOnCard: this.#isOnCard });
      return this.#whyCpu ? { ...engine, reason: this.#whyCpu } : engine;
    } catch (error) {
      // A card that it ran on already, and that can't be had any more.
      if (this.#wanted !== "webgpu" || !this.info) throw error;
      this.#leaveCard(error.message);
      return this.#openEngine();
    }
  }

  /**
   * Where the network is, after it was loaded again if need be.
   *
   * @param {AbortSignal} [signal] of who waits for it
   * @param {AbortSignal} [loading] ends the load for all who wait
   * @returns {Promise<{ worker: EngineWorker, network: number }>}
   */
  async #resume(signal, loading) {
    if (this.#closed) throw new GradCamError("ModelError", "The model was disposed of; load it again.");
    const engine = await orAborted(this.#openEngine(), signal);
    // An engine that still answers is not left before the better one is ready.
    const stays = this.engine?.better && this.#home?.worker.alive;
    if (this.#home?.worker !== engine.worker && !stays) {
      this.engine = engine;
      this.#home = { worker: engine.worker, network: this.#load(engine.worker, loading) };
      this.#home.network.catch(() => {});
    }
    const home = this.#home;
    try {
      return { worker: home.worker, network: await orAborted(home.network, signal) };
    } catch (error) {
      // The next request tries again; another one may have begun to meanwhile. Who only stops waiting changes nothing.
      const isOver = !signal?.aborted || loading;
      if (isOver && this.#home === home) {
        this.#leave();
        this.#home = undefined;
      }
      throw error;
    }
  }

  /** Has a better engine get ready, if there is one, and take over if it is faster: its first run of a network takes long. */
  async #upgradeEngine() {
    const { better } = this.engine;
    if (!better || this.#isUpgrading || this.#closed) return;
    this.#isUpgrading = true;
    let engine, network;
    try {
      engine = await better();
      network = await this.#load(engine.worker);
      const [, ...times] = await this.#times(engine.worker, network, 1 + RUNS);
      const cpu = await this.#resume();
      const missing = RUNS - this.#cpuTimes.length;
      if (missing > 0) this.#cpuTimes.push(...(await this.#times(cpu.worker, cpu.network, missing)));
      const { isWorth, reason } = compare(times, this.#cpuTimes, engine.adapter);
      if (isWorth) this.#takeOver({ ...engine, reason }, network);
      else this.#stay(reason);
    } catch (error) {
      this.#stay(error.message);
    }
    if (!this.#isOnCard && network) engine.worker.tell("forget", { network });
    this.#isUpgrading = false;
    this.#settle();
  }

  /** From now on the graphics card answers. */
  #takeOver(engine, network) {
    if (this.#home) void vacate(this.#home);
    this.#isOnCard = true;
    [this.engine, this.#home] = [engine, { worker: engine.worker, network: Promise.resolve(network) }];
    if (this.#closed) this.#leave();
  }

  /** The CPU goes on for good. */
  #stay(reason) {
    this.#wanted = "cpu";
    this.#whyCpu = reason;
    this.engine = { ...this.engine, reason, better: undefined };
  }

  /** What so many forward passes take a worker, in milliseconds. @returns {Promise<number[]>} */
  async #times(worker, network, count) {
    const { width, height, channels } = this.info.input;
    const shape = [1, channels, height, width];
    const times = [];
    while (times.length < count) {
      const image = { tensor: new Float32Array(channels * height * width), shape };
      const { timings } = await worker.request("classify", { network, image });
      times.push(timings.forward);
    }
    return times;
  }

  /** Frees the network where it is. */
  #leave() {
    const home = this.#home;
    home?.network.then((network) => home.worker.tell("forget", { network })).catch(() => {});
  }

  async #load(worker, signal) {
    const { width, height } = this.#options.preprocess ?? this.#file.preprocess ?? {};
    const defaultLayer = this.#file.targetLayer;
    const load = async () => {
      const parts = this.#file.parts && (await Promise.all(this.#file.parts.map(taken)));
      const { bytes } = await taken(this.#file);
      const transfer = [bytes, ...(parts ?? []).map((part) => part.bytes)];
      return worker.request(
        "load",
        { bytes, parts, width, height, defaultLayer },
        { transfer, signal, onStall: this.onStall },
      );
    };
    let answer = await load();
    if (answer.wanted) {
      this.#file.parts = await readParts(answer.wanted, this.#file, signal);
      answer = await load();
    }
    const { network, info } = answer;
    try {
      this.info ??= describe(info, this.#file, this.#options.labels);
      this.prepared ??= choosePreprocess(info, this.#options.preprocess, this.#file.preprocess);
      await worker.request("prepare", { network, preprocess: this.prepared.preprocess });
    } catch (error) {
      worker.tell("forget", { network });
      throw error;
    }
    return network;
  }
}

/** A file's bytes, to be given away. */
async function taken({ name, bytes }) {
  const given = await bytes.take().catch((cause) => {
    throw new GradCamError("ModelError", "The model's file can no longer be read.", { cause });
  });
  return { name, bytes: given };
}

function checkTensor({ tensor, shape }, { width, height, channels }) {
  const expected = [1, channels, height, width];
  if (shape.length !== 4 || shape.some((side, i) => side !== expected[i])) {
    throw new GradCamError(
      "ImageError",
      `The tensor has the shape [${shape.join(", ")}]; the network takes [${expected.join(", ")}].`,
    );
  }
  const length = expected.reduce((a, b) => a * b);
  if (tensor.length !== length) {
    throw new GradCamError(
      "ImageError",
      `The tensor has ${tensor.length} numbers; its shape [${shape.join(", ")}] takes ${length}.`,
    );
  }
}

function describe(info, file, labelsFromOptions) {
  const given = labelsFromOptions ?? file.labels;
  if (given && given.length !== info.classes) {
    const [name, who] = labelsFromOptions ? ["TargetError", "The call"] : ["ModelError", "The manifest"];
    throw new GradCamError(name, `${who} names ${given.length} classes, but the network has ${info.classes}.`);
  }
  const labels = given ?? labelsFromMetadata(info) ?? Array.from({ length: info.classes }, (_, i) => `class ${i}`);
  return Object.freeze({
    input: Object.freeze(info.input),
    labels: Object.freeze([...labels]),
    layers: Object.freeze(info.layers.map((layer) => Object.freeze({ ...layer, shape: Object.freeze(layer.shape) }))),
    defaultLayer: info.defaultLayer,
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
    return { bytes, isRare: source.isRare };
  }
  const { rgba } = source;
  return { ...source, rgba: rgba instanceof Blob ? await rgba.arrayBuffer() : rgba.slice().buffer };
}

function transferOf({ bytes, rgba, tensor }) {
  return [bytes, rgba, tensor?.buffer].filter(Boolean);
}

/** The last one of those below. */
let white;

/** Numbers given as a tensor have no picture: the heatmap is drawn over white. */
function blank({ width, height }) {
  if (white?.width !== width || white.height !== height) {
    white = { width, height, rgba: new Uint8Array(4 * width * height).fill(255) };
  }
  return { picture: white, screen: white };
}
