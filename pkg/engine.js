import { compile } from "./builds.js";
import { GradCamError, aborted, asGradCamError } from "./errors.js";

/** The worker under a request died; the request may be tried again on a fresh one. */
export class WorkerCrash extends Error {
  /** @param {string} message @param {boolean} guilty whether it died while working on this very request */
  constructor(message, guilty) {
    super(message);
    this.guilty = guilty;
  }
}

/**
 * Runs a task that needs a worker, again if the worker dies under it.
 *
 * The task is to find everything the worker needs by itself: after a crash nothing of it is there any more.
 * @template T @param {() => Promise<T>} task @returns {Promise<T>}
 */
export async function survive(task) {
  for (let failures = 0; ; ) {
    try {
      return await task();
    } catch (error) {
      if (!(error instanceof WorkerCrash)) throw error;
      // Requests that only waited in the same worker are not to blame.
      if (error.guilty && ++failures === 2) {
        throw new GradCamError("DeviceError", `The computation broke down twice, the last time with: ${error.message}`, { cause: error });
      }
    }
  }
}

/**
 * The engine's code for a backend, fetched and compiled once for the page: a worker that begins meanwhile, or that takes
 * over after a crash, is given it.
 * @type {Map<string, { module: Promise<WebAssembly.Module>, stop: AbortController, fraction: number, watchers: Set<(fraction: number) => void> }>}
 */
const code = new Map();

function codeOf(backend) {
  let entry = code.get(backend);
  if (!entry) {
    entry = { stop: new AbortController(), fraction: 0, watchers: new Set() };
    const onProgress = (fraction) => {
      entry.fraction = fraction;
      for (const watcher of entry.watchers) watcher(fraction);
    };
    entry.module = compile(backend, { signal: entry.stop.signal, onProgress }).then((module) => {
      onProgress(1);
      entry.watchers.clear();
      return module;
    });
    code.set(backend, entry);
    // A failure is not kept: the next one to ask tries again.
    entry.module.catch(() => code.get(backend) === entry && code.delete(backend));
  }
  return entry;
}

/** A worker that was started ahead of its time, and for which backend. @type {{ worker: EngineWorker, backend: string } | undefined} */
let spare;

/**
 * A worker with an engine on one device. It answers one request after the other, and dies as a whole:
 * a panic in WebAssembly leaves nothing that could be used further.
 */
export class EngineWorker {
  /** @type {Worker} */ #worker;
  /** In the order in which the worker takes them up. @type {Map<number, { resolve: Function, reject: Function, onProgress?: Function }>} */
  #pending = new Map();
  /** @type {string | undefined} */ #crash;
  #onCrash;
  #lastId = 0;

  /**
   * @param {"webgpu" | "cpu"} backend
   * @param {(message: string) => void} onCrash called once, when the worker dies after it had started
   * @returns {Promise<EngineWorker>}
   * @throws {GradCamError} `DeviceError` if the device does not open or computes wrongly
   */
  static async start(backend, onCrash) {
    if (spare && spare.backend !== backend) {
      code.get(spare.backend)?.stop.abort();
      code.delete(spare.backend);
    }
    const engine = spare?.worker.alive ? spare.worker : new EngineWorker(backend);
    spare = undefined;
    try {
      await engine.request("start", { backend, module: await codeOf(backend).module });
    } catch (error) {
      engine.#die(error.message);
      if (error instanceof WorkerCrash) throw new GradCamError("DeviceError", `The engine did not start: ${error.message}`, { cause: error });
      throw error;
    }
    engine.#onCrash = onCrash;
    return engine;
  }

  /**
   * Gets a worker and its code going for a start that is sure to follow, with the backend that is likely to be wanted:
   * what is missing for the decision takes about as long.
   *
   * @param {"webgpu" | "cpu"} backend
   */
  static expect(backend) {
    spare ??= { worker: new EngineWorker(backend), backend };
    codeOf(backend);
  }

  /** Reports how much of a backend's code has come, until it is all there. */
  static watchDownload(backend, onProgress) {
    const { fraction, watchers } = codeOf(backend);
    watchers.add(onProgress);
    onProgress(fraction);
  }

  /** @param {"webgpu" | "cpu"} backend what it is going to be started with, most likely */
  constructor(backend) {
    this.#worker = openWorker(new URL("./worker.js", import.meta.url));
    this.#worker.onmessage = ({ data }) => this.#receive(data);
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#die(event.message || "the worker's script could not be loaded");
    };
    this.#worker.onmessageerror = () => this.#die("an unreadable message came from the worker");
    this.tell("expect", { backend });
  }

  /** Whether it still answers. */
  get alive() {
    return this.#crash === undefined;
  }

  /**
   * @param {string} op
   * @param {object} args
   * @param {{ transfer?: Transferable[], signal?: AbortSignal, onProgress?: (fraction: number) => void }} [options]
   * @returns {Promise<any>}
   * @throws {WorkerCrash} if the worker is or becomes dead
   */
  request(op, args, { transfer = [], signal, onProgress } = {}) {
    return new Promise((resolve, reject) => {
      if (!this.alive) return reject(new WorkerCrash(this.#crash, false));
      if (signal?.aborted) return reject(aborted());
      const id = ++this.#lastId;
      const stop = () => {
        this.#worker.postMessage({ op: "abort", id });
        this.#settle(id)?.reject(aborted());
      };
      const finish = (settle) => (value) => {
        signal?.removeEventListener("abort", stop);
        settle(value);
      };
      signal?.addEventListener("abort", stop, { once: true });
      this.#pending.set(id, { resolve: finish(resolve), reject: finish(reject), onProgress });
      this.#worker.postMessage({ id, op, args, watched: onProgress !== undefined }, transfer);
    });
  }

  /** Ends the worker, whose memory is wanted back. What is under way moves to another one. */
  end() {
    this.#die("it was no longer needed", null);
  }

  /** Tells the worker something that has no answer. */
  tell(op, args) {
    if (this.alive) this.#worker.postMessage({ op, args });
  }

  #receive({ id, result, error, progress, crash, lock }) {
    if (crash !== undefined) this.#die(crash, id);
    else if (lock) this.#watch(lock);
    else if (progress !== undefined) this.#pending.get(id)?.onProgress?.(progress);
    else if (error) this.#settle(id)?.reject(asGradCamError(Object.assign(new Error(error.message), { name: error.name }), "DeviceError"));
    else this.#settle(id)?.resolve(result);
  }

  #settle(id) {
    const request = this.#pending.get(id);
    this.#pending.delete(id);
    return request;
  }

  /** A worker that ends without a word (closed, or killed by the browser) gives up the lock that it holds. */
  #watch(lock) {
    navigator.locks?.request(lock, () => this.#die("the worker was ended from outside")).catch(() => {});
  }

  /** @param {number | null} [running] the request it was working on, null for none; if it could not say, the oldest */
  #die(message, running = this.#pending.keys().next().value) {
    if (!this.alive) return;
    this.#crash = message;
    this.#worker.terminate();
    this.#onCrash?.(message);
    for (const [id, { reject }] of this.#pending) reject(new WorkerCrash(message, id === running));
    this.#pending.clear();
  }
}

/** Browsers start workers from the page's own origin only: for a package on a CDN a small local module imports it. */
function openWorker(url) {
  const options = { type: "module", name: "gradcam-web" };
  if (url.origin === location.origin) return new Worker(url, options);
  const bootstrap = URL.createObjectURL(new Blob([`import ${JSON.stringify(url.href)};`], { type: "text/javascript" }));
  try {
    return new Worker(bootstrap, options);
  } finally {
    setTimeout(() => URL.revokeObjectURL(bootstrap), 60_000);
  }
}
