import { BACKENDS, openEngine } from "./backend.js";
import { GradCamError, following, orAborted, throwIfAborted } from "./errors.js";
import { readSource } from "./image-source.js";
import { checkLabels, checkPreprocess, readLabels, readModel } from "./manifest.js";
import { Prediction, construct, explained, moved } from "./results.js";
import { Session } from "./session.js";
import { loadView } from "./view.js";

/** See `loadModel` in index.d.ts. */
export async function loadModel(source, options) {
  const { backend = "auto", preprocess, labels, signal } = options ?? {};
  if (!BACKENDS.includes(backend)) {
    throw new GradCamError("TargetError", `There is no backend "${backend}"; there are ${BACKENDS.join(", ")}.`);
  }
  if (preprocess !== undefined) checkPreprocess(preprocess, "TargetError", "The call");
  const isAddress = typeof labels === "string" || labels instanceof URL;
  if (labels !== undefined && !isAddress) checkLabels(labels, "TargetError", "The call");
  throwIfAborted(signal);
  if (typeof Worker === "undefined" || typeof location === "undefined") {
    throw new GradCamError("DeviceError", "Models run in browsers only: here is no Worker to run them in.");
  }
  // What is left, when one part fails, is not waited for.
  const { stop, done } = following(signal);
  try {
    return await load(source, options ?? {}, stop.signal);
  } catch (error) {
    stop.abort();
    throw error;
  } finally {
    done();
  }
}

/** @param {AbortSignal} signal the caller's, and that of a part that failed */
async function load(source, { backend = "auto", preprocess, labels, onProgress, onStall }, signal) {
  // Model and engine download at the same time; the rest is the work of unpacking.
  const report = combined((fraction) => signal.aborted || onProgress?.(fraction), { model: 0.45, engine: 0.45 });
  const coming = [openEngine(backend, { onProgress: report("engine") }), loadView()];
  const reading = readModel(source, { signal, onProgress: report("model") });
  const base = globalThis.document?.baseURI ?? globalThis.location?.href;
  const isAddress = typeof labels === "string" || labels instanceof URL;
  const naming = isAddress ? readLabels(String(labels), base, signal, `The file ${labels}`) : labels;
  const [file, names] = await orAborted(Promise.all([reading, naming, ...coming]), signal);
  const session = new Session(file, backend, { preprocess, labels: names, onStall });
  await session.open(signal);
  onProgress?.(1);
  return new Model(construct, session);
}

/** One fraction from several parts; it never goes back. */
function combined(onProgress, shares) {
  const parts = {};
  let shown = 0;
  return (part) => (fraction) => {
    parts[part] = fraction;
    const sum = Object.entries(parts).reduce((sum, [name, fraction]) => sum + shares[name] * fraction, 0);
    if (sum > shown) onProgress((shown = sum));
  };
}

/** Explains for an element. */
export const explain = Symbol.for("gradcam-web.explain");

/** See `Model` in index.d.ts. */
export class Model {
  /** @type {Session} */ #session;

  constructor(key, session) {
    if (key !== construct) throw new TypeError("Models come from loadModel.");
    this.#session = session;
    this.settled = session.settled;
  }

  get name() {
    return this.#session.name;
  }
  get backend() {
    return this.#session.engine.backend;
  }
  get backendReason() {
    return this.#session.engine.reason;
  }
  get input() {
    return this.#session.info.input;
  }
  get labels() {
    return this.#session.info.labels;
  }
  get layers() {
    return this.#session.info.layers;
  }
  get defaultLayer() {
    return this.#session.info.defaultLayer;
  }
  get preprocess() {
    return this.#session.prepared.preprocess;
  }
  get preprocessReason() {
    return this.#session.prepared.reason;
  }
  get preprocessGuessed() {
    return this.#session.prepared.guessed;
  }
  get stats() {
    return { ...this.#session.stats };
  }

  async classify(image, options) {
    const { signal } = options ?? {};
    const source = await readSource(image, signal);
    throwIfAborted(signal);
    const classified = await this.#session.ask(source, undefined, { signal });
    return new Prediction(construct, this, this.#session, source, classified);
  }

  async explain(image, options) {
    return this[explain](image, options);
  }

  /** The same for an element: `onPrediction` hears the prediction before, `urgency` says how soon it is wanted. */
  async [explain](image, options) {
    const { onProgress, signal, onPrediction, urgency, ...rest } = options ?? {};
    const source = await readSource(image, signal);
    throwIfAborted(signal);
    let asked, refusal, prediction;
    try {
      asked = { op: "explain", args: this.#session.questionOf(rest) };
    } catch (error) {
      // What the network says of the image is worth showing all the same.
      if (!onPrediction) throw error;
      refusal = error;
    }
    const onClassified = (classified) => {
      if (prediction) return prediction[moved](classified);
      prediction = new Prediction(construct, this, this.#session, source, classified);
      onPrediction?.(prediction);
    };
    const answer = await this.#session.ask(source, asked, { onClassified, onProgress, signal, urgency });
    if (!refusal) return prediction[explained](answer, asked.args);
    onClassified(answer);
    throw refusal;
  }

  dispose() {
    this.#session.close();
  }
}
