import { GradCamError, aborted, throwIfAborted } from "./errors.js";

/**
 * Fetches an address as a Blob, which browsers may keep out of memory.
 *
 * @param {string | URL} url
 * @param {object} options
 * @param {string} options.kind the `name` of the error if it fails
 * @param {string} options.what what the address stands for, for the error's sentence: "the model"
 * @param {number} [options.bytes] the length, where it is known beforehand
 * @param {AbortSignal} [options.signal]
 * @param {(fraction: number) => void} [options.onProgress] never called if the length can't be known
 * @returns {Promise<Blob>}
 */
export async function download(url, { kind, what, bytes, signal, onProgress }) {
  throwIfAborted(signal);
  const address = String(url);
  const shown = address.startsWith("data:") ? "the data: address" : address;
  try {
    const response = await fetch(address, { signal });
    if (!response.ok) {
      throw new GradCamError(kind, `Can't fetch ${what}: ${shown} answered ${response.status} ${response.statusText}`.trim() + ".");
    }
    if (!onProgress || !response.body) return await response.blob();
    const total = bytes ?? plainLength(response);
    const type = response.headers.get("content-type") ?? "";
    return await new Response(response.body.pipeThrough(counter(total, onProgress)), { headers: { "content-type": type } }).blob();
  } catch (error) {
    if (signal?.aborted) throw aborted();
    if (error instanceof GradCamError) throw error;
    const foreign = isForeign(address) ? " Another site must allow it with CORS headers." : "";
    throw new GradCamError(kind, `Can't fetch ${what}: nothing came from ${shown}.${foreign}`, { cause: error });
  }
}

/**
 * The number of bytes that will come out of `response`, if it says so: with a content encoding,
 * Content-Length counts the compressed bytes instead.
 */
function plainLength(response) {
  if (response.headers.get("content-encoding")) return undefined;
  return Number(response.headers.get("content-length")) || undefined;
}

/** A stream that passes everything on and reports the fraction of `total` that went through. */
export function counter(total, onProgress) {
  let seen = 0;
  return new TransformStream({
    transform(chunk, controller) {
      seen += chunk.byteLength;
      if (total && seen <= total) onProgress(seen / total);
      controller.enqueue(chunk);
    },
  });
}

function isForeign(address) {
  try {
    const { protocol, origin } = new URL(address, globalThis.location?.href);
    return /^https?:$/.test(protocol) && origin !== globalThis.location?.origin;
  } catch {
    return false;
  }
}
