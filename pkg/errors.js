// @ts-check
/** The stable kinds of {@link GradCamError}: its `name` is one of these. */
export const ERROR_NAMES = Object.freeze([
  "ImageError",
  "ModelError",
  "UnsupportedError",
  "TargetError",
  "DeviceError",
  "AbortError",
]);

/** The most characters of a message: names from a file can't make it longer than a screen. */
const MAX_MESSAGE = 4000;

/** The one error of this package: `name` is the kind, `message` a sentence for a person. */
export class GradCamError extends Error {
  /**
   * @param {string} name one of {@link ERROR_NAMES}
   * @param {string} message what is wrong, where, and what would be accepted
   * @param {{ cause?: unknown }} [options]
   */
  constructor(name, message, options) {
    super(message.length > MAX_MESSAGE ? `${message.slice(0, MAX_MESSAGE)}…` : message, options);
    this.name = name;
  }
}

/** Whether `error` is a stop that the caller asked for. @param {unknown} error */
export const isAbort = (error) => error instanceof GradCamError && error.name === "AbortError";

/** What was thrown, in words. @param {unknown} thrown */
export const messageOf = (thrown) => (thrown instanceof Error ? thrown.message : String(thrown));

/**
 * A part of the package that comes when it is needed.
 * @template T @param {Promise<T>} part @returns {Promise<T>}
 */
export function arrived(part) {
  return part.catch((cause) => {
    throw new GradCamError("DeviceError", `A part of the package did not come: ${messageOf(cause)}`, { cause });
  });
}

/** @returns {GradCamError} the error for a request whose `signal` was aborted */
export const aborted = () => new GradCamError("AbortError", "The request was stopped by its caller.");

/** @param {AbortSignal | undefined} signal */
export function throwIfAborted(signal) {
  if (signal && typeof signal.addEventListener !== "function")
    throw new GradCamError("TargetError", `The signal is ${String(signal)}; an AbortSignal is accepted.`);
  if (signal?.aborted) throw aborted();
}

/**
 * A controller of one's own, which the caller's signal aborts, too, until `done` is called.
 * @param {AbortSignal} [signal]
 */
export function following(signal) {
  const stop = new AbortController();
  const end = () => stop.abort();
  signal?.addEventListener("abort", end);
  return { stop, done: () => signal?.removeEventListener("abort", end) };
}

/**
 * What a promise gives, unless the caller stops waiting before.
 * @template T @param {Promise<T>} promise @param {AbortSignal | undefined} signal @returns {Promise<T>}
 */
export function orAborted(promise, signal) {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const stop = () => reject(aborted());
    if (signal.aborted) return stop();
    signal.addEventListener("abort", stop, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", stop));
  });
}

/**
 * Makes a GradCamError of whatever was thrown, once, at the package's border.
 * @param {unknown} error
 * @param {string} name the kind to use for an error that has none of ours
 */
export function asGradCamError(error, name) {
  if (error instanceof GradCamError) return error;
  const known = error instanceof Error && ERROR_NAMES.includes(error.name);
  return new GradCamError(known ? error.name : name, messageOf(error), { cause: error });
}
