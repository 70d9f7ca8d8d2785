/** The stable kinds of {@link GradCamError}: its `name` is one of these. */
export const ERROR_NAMES = Object.freeze([
  "ImageError", "ModelError", "UnsupportedError", "TargetError", "DeviceError", "AbortError",
]);

/** The one error of this package: `name` is the kind, `message` a sentence for a person. */
export class GradCamError extends Error {
  /**
   * @param {string} name one of {@link ERROR_NAMES}
   * @param {string} message what is wrong, where, and what would be accepted
   * @param {{ cause?: unknown }} [options]
   */
  constructor(name, message, options) {
    super(message, options);
    this.name = name;
  }
}

/** Whether `error` is a stop that the caller asked for. */
export const isAbort = (error) => error instanceof GradCamError && error.name === "AbortError";

/** @returns {GradCamError} the error for a request whose `signal` was aborted */
export const aborted = () => new GradCamError("AbortError", "The request was stopped by its caller.");

/** @param {AbortSignal | undefined} signal */
export function throwIfAborted(signal) {
  if (signal?.aborted) throw aborted();
}

/**
 * Makes a GradCamError of whatever was thrown, once, at the package's border.
 * @param {unknown} error
 * @param {string} name the kind to use for an error that has none of ours
 */
export function asGradCamError(error, name) {
  if (error instanceof GradCamError) return error;
  const message = error instanceof Error ? error.message : String(error);
  const known = error instanceof Error && ERROR_NAMES.includes(error.name);
  return new GradCamError(known ? error.name : name, message, { cause: error });
}
