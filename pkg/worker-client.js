// The page's end of a worker: a queue, and the watch over a thread that may die or no longer listen.

import { assetUrl, isConfigured } from "./assets.js";
import { compile, folderOf } from "./builds.js";
import { GradCamError, aborted, asGradCamError, messageOf } from "./errors.js";

/** The worker under a request died; the request may be tried again on a fresh one. */
export class WorkerCrash extends Error {
  /**
   * @param {string} message
   * @param {number} blame of this very request: 1 if it was being worked on, half of that if it was next and nothing tells whether it
   *   had been begun, else 0
   */
  constructor(message, blame) {
    super(message);
    this.blame = blame;
  }
}

/**
 * Runs a task that needs a worker, again if the worker dies under it.
 *
 * The task is to find everything the worker needs by itself: after a crash nothing of it is there any more.
 * @template T @param {() => Promise<T>} task
 * @param {(crash: WorkerCrash) => boolean} [fallBack] asked after two crashes: whether the next try has another chance
 * @returns {Promise<T>}
 */
export async function withRespawn(task, fallBack) {
  for (let blame = 0; ;) {
    try {
      return await task();
    } catch (error) {
      if (!(error instanceof WorkerCrash)) throw error;
      // Requests that only waited in the same worker are not to blame.
      blame += error.blame;
      if (blame < 2) continue;
      if (!fallBack?.(error)) {
        throw new GradCamError(
          "DeviceError",
          `The computation broke down twice, the last time with: ${error.message}`,
          { cause: error },
        );
      }
      blame = 0;
    }
  }
}

/** How long a worker may say nothing, in milliseconds. Tests shorten it. */
export const PATIENCE = {
  /** Until its script runs. The next try is given twice as long, for slow connections. */
  start: 10_000,
  /** After the request that it works on was stopped, before it is ended: a load can't be interrupted, and others wait. */
  stopLoading: 2_000,
  stop: 20_000,
  /** Between two signs of progress, before the caller is told. */
  stall: 20_000,
  /** Without a sign of progress before it is ended: whatever it does, nobody waits that long. */
  lost: 600_000,
  /** Without work, before a worker that takes much more memory than it needs is ended. */
  rest: 3_000,
};

/** What a worker is at, for a person. */
const DOING = {
  start: "starting",
  load: "reading the network",
  classify: "running the network",
  explain: "explaining",
  factorize: "looking for concepts",
  units: "looking for channels",
  classesAt: "looking for classes",
  measure: "measuring",
  sanityCheck: "comparing with random networks",
};

/** A worker's memory is never worth a new one below this many bytes, nor below so many times what is in use. */
const BLOATED = 256e6;
const BLOAT = 4;

/** How often a worker is started before the engine is given up. */
const STARTS = 3;

/** How many requests a worker holds: the one that it works on, and one that is there when that is done. */
const HELD = 2;

/** Every so many requests the one that waited longest is next, whatever its urgency. */
const FAIR = 4;

/**
 * The engine's code for a backend, fetched and compiled once for the page: a worker that begins meanwhile, or that takes
 * over after a crash, is given it.
 * @type {Map<string, { module: Promise<WebAssembly.Module>, stop: AbortController, fraction: number, watchers: Set<(fraction: number) => void> }>}
 */
const code = new Map();

function codeOf(build) {
  let entry = code.get(build);
  if (!entry) {
    entry = { stop: new AbortController(), fraction: 0, watchers: new Set() };
    const onProgress = (fraction) => {
      entry.fraction = fraction;
      for (const watcher of entry.watchers) watcher(fraction);
    };
    entry.module = compile(build, { signal: entry.stop.signal, onProgress }).then((module) => {
      onProgress(1);
      entry.watchers.clear();
      return module;
    });
    code.set(build, entry);
    // A failure is not kept: the next one to ask tries again.
    entry.module.catch(() => code.get(build) === entry && code.delete(build));
  }
  return entry;
}

/** A worker that was started ahead of its time, and for which backend. @type {{ worker: EngineWorker, backend: string } | undefined} */
let spare;

/**
 * @typedef {object} Request
 * @property {number} id
 * @property {string} op
 * @property {() => Promise<{ args: object, transfer?: Transferable[] }>} prepare
 * @property {(value: any) => void} resolve
 * @property {(error: Error) => void} reject
 * @property {(fraction: number) => void} [onProgress]
 * @property {(value: any) => void} [onPart]
 * @property {(stall: { doing: string, seconds: number, end: () => void }) => void} [onStall]
 * @property {() => number} urgency
 * @property {boolean} posted
 * @property {boolean} stopped
 */

/**
 * A worker with an engine on one device. It answers one request after the other, and dies as a whole:
 * a panic in WebAssembly leaves nothing that could be used further.
 */
export class EngineWorker {
  /** @type {Worker} */ #worker;
  /** Those that wait on the page, the oldest first. @type {Request[]} */ #waiting = [];
  /** Those that the worker holds, in the order in which it takes them up. @type {Map<number, Request>} */ #held =
    new Map();
  /** The one that it works on, by its own word. @type {number | undefined} */ #running;
  /** @type {string | undefined} */ #crash;
  #onEnd;
  #lastId = 0;
  #taken = 0;
  #hasBegun = false;
  /** In bytes. */ #memory = { total: 0, used: 0 };
  /** The timer for the next thing that is to happen if nothing is heard. */ #watchdog;

  /**
   * @param {"webgpu" | "cpu"} backend
   * @param {(crash?: string) => void} onEnd called once, when the worker ends after it had started: with the reason if it failed
   * @returns {Promise<EngineWorker>}
   * @throws {GradCamError} `DeviceError` if the device does not open or computes wrongly
   */
  static async start(backend, onEnd) {
    if (spare && spare.backend !== backend) {
      code.get(spare.backend)?.stop.abort();
      code.delete(spare.backend);
    }
    for (let attempt = 0; ; attempt++) {
      const worker = spare?.worker.alive ? spare.worker : new EngineWorker(PATIENCE.start * 2 ** attempt);
      spare = undefined;
      try {
        const module = await codeOf(backend).module;
        await worker.request("start", { backend, build: folderOf(backend), module });
        worker.#onEnd = onEnd;
        return worker;
      } catch (error) {
        worker.#die(error.message);
        if (!(error instanceof WorkerCrash)) throw error;
        if (attempt + 1 < STARTS) continue;
        throw new GradCamError("DeviceError", `The engine did not start: ${error.message}`, { cause: error });
      }
    }
  }

  /**
   * Gets a worker and its code going for a start that is sure to follow, with the backend that is likely to be wanted:
   * what is missing for the decision takes about as long.
   *
   * @param {"webgpu" | "cpu"} backend
   */
  static prewarm(backend) {
    spare ??= { worker: new EngineWorker(PATIENCE.start), backend };
    codeOf(backend);
  }

  /** Reports how much of a backend's code has come, until it is all there. */
  static watchDownload(backend, onProgress) {
    const { fraction, watchers } = codeOf(backend);
    watchers.add(onProgress);
    onProgress(fraction);
  }

  /** @param {number} patience how long its script may take to run, in milliseconds */
  constructor(patience) {
    this.#worker = openWorker();
    this.#worker.onmessage = ({ data }) => this.#receive(data);
    this.#worker.onerror = (event) => {
      event.preventDefault();
      // Of a script that was never had there is nothing to tell. The next attempt goes another way.
      if (!this.#hasBegun && !event.message) isRefused = !isRefused;
      this.#die(event.message || "the worker's script could not be loaded");
    };
    this.#worker.onmessageerror = () => this.#die("an unreadable message came from the worker");
    const timer = setTimeout(() => {
      if (!this.#hasBegun) this.#die(`the worker's script did not run within ${patience / 1000} s`);
    }, patience);
    // Node would wait for it.
    timer.unref?.();
    this.#holdLine();
  }

  /** Whether it still answers. */
  get alive() {
    return this.#crash === undefined;
  }

  /**
   * @param {string} op
   * @param {object | (() => Promise<{ args: object, transfer?: Transferable[] }>)} args or what makes them, when it is their turn
   * @param {object} [options]
   * @param {Transferable[]} [options.transfer]
   * @param {AbortSignal} [options.signal]
   * @param {(fraction: number) => void} [options.onProgress]
   * @param {(value: any) => void} [options.onPart] hears what is known before the rest
   * @param {(stall: { doing: string, seconds: number, end: () => void }) => void} [options.onStall] hears that there is no progress
   * @param {() => number} [options.urgency] asked whenever a request is taken up: those with the highest go first. Default 1
   * @returns {Promise<any>}
   * @throws {WorkerCrash} if the worker is or becomes dead
   */
  request(op, args, { transfer = [], signal, onProgress, onPart, onStall, urgency = () => 1 } = {}) {
    return new Promise((resolve, reject) => {
      if (!this.alive) return reject(new WorkerCrash(this.#crash, 0));
      if (signal?.aborted) return reject(aborted());
      const stop = () => this.#stop(request);
      const finish = (settle) => (value) => {
        signal?.removeEventListener("abort", stop);
        settle(value);
      };
      const request = {
        id: ++this.#lastId,
        op,
        prepare: typeof args === "function" ? args : async () => ({ args, transfer }),
        resolve: finish(resolve),
        reject: finish(reject),
        onProgress,
        onPart,
        onStall,
        urgency,
        posted: false,
        stopped: false,
      };
      signal?.addEventListener("abort", stop, { once: true });
      this.#waiting.push(request);
      this.#takeUp();
    });
  }

  /** Ends the worker, whose memory or attention is wanted back. What is under way moves to another one. */
  end(reason = "it was no longer needed") {
    this.#die(reason, null);
  }

  /** Tells the worker something that has no answer. */
  tell(op, args) {
    if (this.alive) this.#worker.postMessage({ op, args });
  }

  /** Where browsers tell that the other end of a channel is gone: a worker that ends before it could take its lock. */
  #holdLine() {
    const { port1, port2 } = new MessageChannel();
    port1.addEventListener("close", () => this.#die("the worker was ended from outside"));
    port1.start();
    this.#worker.postMessage({ op: "holdLine", args: port2 }, [port2]);
  }

  /** Hands requests to the worker as long as it may hold more. */
  #takeUp() {
    while (this.alive && this.#held.size < HELD && this.#waiting.length > 0) {
      const request = this.#next();
      this.#held.set(request.id, request);
      void this.#hand(request);
    }
  }

  /** Takes the request that is to be next. */
  #next() {
    let next = 0;
    if (++this.#taken % FAIR !== 0) {
      const urgencies = this.#waiting.map(({ urgency }) => urgency());
      next = urgencies.indexOf(Math.max(...urgencies));
    }
    return this.#waiting.splice(Math.max(next, 0), 1)[0];
  }

  async #hand(request) {
    const { id, op, onProgress } = request;
    try {
      const { args, transfer = [] } = await request.prepare();
      if (!this.#held.has(id)) return;
      this.#worker.postMessage({ id, op, args, watched: onProgress !== undefined }, transfer);
      request.posted = true;
      if (this.#running === undefined) this.#watch();
    } catch (error) {
      // What could not be made ready concerns nobody else.
      this.#settle(id)?.reject(error);
    }
  }

  /** The caller no longer wants an answer. */
  #stop(request) {
    request.stopped = true;
    request.reject(aborted());
    const waiting = this.#waiting.indexOf(request);
    if (waiting >= 0) this.#waiting.splice(waiting, 1);
    if (!this.#held.has(request.id)) return;
    // The worker is to hear of it no more: a word of its end would come before it.
    if (!request.posted) return void this.#settle(request.id);
    this.#worker.postMessage({ op: "abort", id: request.id });
    const patience = request.op === "load" ? PATIENCE.stopLoading : PATIENCE.stop;
    setTimeout(() => {
      if (this.#current === request) this.end("it did not hear that it was to stop");
    }, patience);
  }

  #receive({ id, begins, result, error, progress, part, crash, lock, memory, wants }) {
    if (crash !== undefined) return this.#die(crash, id);
    if (lock !== undefined) return this.#begin(lock);
    if (wants !== undefined) return this.#bring(wants);
    if (memory !== undefined) this.#memory = memory;
    const request = this.#held.get(id);
    if (!request) return;
    this.#watch();
    if (begins) this.#running = id;
    else if (progress !== undefined) {
      if (!request.stopped) request.onProgress?.(progress);
    } else if (part !== undefined) {
      if (!request.stopped) request.onPart?.(part);
    } else {
      this.#settle(id);
      // Nobody will use what was loaded for a caller who went.
      if (request.stopped && result?.network) this.tell("forget", { network: result.network });
      if (error)
        request.reject(asGradCamError(Object.assign(new Error(error.message), { name: error.name }), "DeviceError"));
      else request.resolve(result);
    }
  }

  /** Gives the worker the code of a build. */
  async #bring(build) {
    try {
      this.tell("code", { build, module: await codeOf(build).module });
    } catch (error) {
      this.tell("code", { build, error: error.message });
    }
  }

  /** What it works on, as far as that is known. */
  get #current() {
    return this.#held.get(this.#running) ?? this.#held.values().next().value;
  }

  #settle(id) {
    const request = this.#held.get(id);
    this.#held.delete(id);
    if (this.#running === id) this.#running = undefined;
    this.#takeUp();
    if (this.#held.size === 0) this.#restIfBloated();
    return request;
  }

  /** Begins to wait for a sign of progress. */
  #watch(seconds = 0) {
    clearTimeout(this.#watchdog);
    // Counted by waits, so that a page that was frozen meanwhile counts none of that time.
    this.#watchdog = setTimeout(() => {
      const request = this.#current;
      if (!this.alive || !request) return;
      const silent = seconds + PATIENCE.stall / 1000;
      const doing = DOING[request.op] ?? "answering";
      if (silent >= PATIENCE.lost / 1000)
        return this.#die(`nothing was heard of it for ${silent} s while it was ${doing}`);
      this.#watch(silent);
      if (request.stopped) return;
      const end = () => {
        request.reject(new GradCamError("DeviceError", `The engine was ended: it had been ${doing} for ${silent} s.`));
        this.end();
      };
      request.onStall?.({ doing, seconds: silent, end });
    }, PATIENCE.stall);
  }

  /** Ends a worker that something has left much larger than what it holds: WebAssembly never gives memory back. */
  #restIfBloated() {
    clearTimeout(this.#watchdog);
    const { total, used } = this.#memory;
    if (total < BLOATED || total < BLOAT * used) return;
    this.#watchdog = setTimeout(() => {
      if (this.#held.size === 0) this.end();
    }, PATIENCE.rest);
  }

  /** Its script runs. If it ends without a word (closed, or killed by the browser) it gives up the lock that it holds. */
  #begin(lock) {
    this.#hasBegun = true;
    if (lock) navigator.locks.request(lock, () => this.#die("the worker was ended from outside")).catch(() => {});
  }

  /** @param {number | null} [running] the request it was working on, null for none */
  #die(message, running = this.#running) {
    if (!this.alive) return;
    this.#crash = message;
    this.#worker.terminate();
    this.#onEnd?.(running === null ? undefined : message);
    const requests = [...this.#held.values(), ...this.#waiting];
    this.#held.clear();
    this.#waiting = [];
    requests.forEach(({ id, posted, reject }, at) => {
      // It may have been gone before the oldest one came.
      const blame = id === running ? 1 : running === undefined && posted && at === 0 ? 0.5 : 0;
      reject(new WorkerCrash(message, blame));
    });
  }
}

/**
 * Whether the page's own host did not serve a worker: those of isolated pages (`Cross-Origin-Embedder-Policy`) want that header, too,
 * which hosts often send with the page alone. What a blob holds has the page's.
 */
let isRefused = false;

/** @returns {Worker} */
function openWorker() {
  // Pages with Trusted Types complain of a plain address, which only bundlers have to see.
  const isBundled = !/^http.+\/worker-client\.js$/.test(import.meta.url);
  if (isBundled && !isRefused && !isConfigured() && isOwnOrigin(import.meta.url)) {
    try {
      // Bundlers know a worker by these very words.
      return new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
    } catch {
      // Those pages again, and frames without an origin, which may start none but their own.
    }
  }
  const address = assetUrl("worker.js", new URL("./worker.js", import.meta.url)).href;
  if (!isRefused && isOwnOrigin(address)) return new Worker(trusted(address), { type: "module" });
  // Browsers start workers from the page's own origin only. A module worker's import would be held to the page's
  // `worker-src`; what a classic one imports is a script like any other. It keeps what comes before that is there.
  const script = `
    const early = [];
    onmessage = (event) => early.push(event);
    import(${JSON.stringify(address)}).then(
      () => early.forEach((event) => onmessage(event)),
      (error) => postMessage({ crash: error.message }),
    );`;
  const bootstrap = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
  try {
    return new Worker(trusted(bootstrap));
  } catch (cause) {
    throw new GradCamError("DeviceError", `This page lets no worker start: ${messageOf(cause)}`, { cause });
  } finally {
    setTimeout(() => URL.revokeObjectURL(bootstrap), 60_000);
  }
}

/** Whether the page may start a worker from there. webpack's `import.meta.url` names a file. */
function isOwnOrigin(address) {
  const { origin, protocol } = new URL(address, location.href);
  return origin === globalThis.origin || protocol === "file:";
}

/** @type {{ createScriptURL(address: string): any } | undefined} */
let policy;

/** An address that pages with Trusted Types accept: their policy lets `gradcam-web` make those of its worker. @param {string} address */
function trusted(address) {
  try {
    policy ??= globalThis.trustedTypes?.createPolicy("gradcam-web", { createScriptURL: (address) => address });
  } catch {
    // A page that names its policies need not demand them.
  }
  return policy ? policy.createScriptURL(address) : address;
}
