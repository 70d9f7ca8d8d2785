// @ts-check
import { GradCamError, aborted, following, throwIfAborted } from "./errors.js";

/** Up to here bytes are held as they came, until they are first used: a Blob takes some milliseconds to make and to read. */
const AT_HAND = 16e6;

/** How long a server may send nothing in the middle of a file before it is given up, in milliseconds. Tests shorten it. */
export const SILENCE = { limit: 60_000 };

/** Before that it may take so many times as long: browsers hold a request back while others to the same server are under way. */
const BEFORE = 5;

/** That time is counted in so many waits: a page that was frozen meanwhile counts one of them. */
const WAITS = 6;

/**
 * The signal for a download, aborted by the caller's or after too long a silence. `heard` is to be called with each sign of the
 * server, and `done` at the end.
 *
 * @param {AbortSignal} [signal]
 */
export function listening(signal) {
  const { stop, done: leave } = following(signal);
  let [waits, patience] = [0, BEFORE];
  const timer = setInterval(() => {
    if (++waits < WAITS * patience) return;
    stop.abort(new Error(`nothing came for ${(SILENCE.limit * patience) / 1000} s`));
  }, SILENCE.limit / WAITS);
  const heard = () => {
    waits = 0;
    patience = 1;
  };
  const done = () => {
    clearInterval(timer);
    leave();
  };
  return { signal: stop.signal, heard, done };
}

/** A file's bytes, to be had again and again: the first time as they came, then from a Blob, which browsers may keep out of memory. */
export class Bytes {
  /** @type {ArrayBuffer | undefined} */ #fresh;
  /** There where no fresh bytes are. @type {Blob | undefined} */ #kept;
  /** @type {string | undefined} */ #type;

  /** @param {Blob | ArrayBuffer} source nobody else's to change @param {string} [type] of what is in an ArrayBuffer */
  constructor(source, type) {
    if (source instanceof Blob) this.#kept = source;
    else {
      this.#fresh = source;
      this.#type = type;
    }
  }

  get blob() {
    return (this.#kept ??= new Blob(this.#fresh && [this.#fresh], { type: this.#type }));
  }

  get size() {
    return this.#fresh?.byteLength ?? this.blob.size;
  }

  /** The first bytes, `length` of them if there are as many. @param {number} length @returns {Promise<Uint8Array>} */
  async head(length) {
    if (this.#fresh) return new Uint8Array(this.#fresh, 0, Math.min(length, this.#fresh.byteLength));
    return new Uint8Array(await this.blob.slice(0, length).arrayBuffer());
  }

  /** All of them, to be looked at. @returns {Promise<ArrayBuffer>} */
  async all() {
    return this.#fresh ?? this.blob.arrayBuffer();
  }

  async text() {
    return new TextDecoder().decode(await this.all());
  }

  /** All of them, to be given away. @returns {Promise<ArrayBuffer>} */
  async take() {
    const { blob } = this;
    const fresh = this.#fresh;
    this.#fresh = undefined;
    return fresh ?? blob.arrayBuffer();
  }
}

/**
 * Fetches an address.
 *
 * @param {string | URL} url
 * @param {object} options
 * @param {string} options.kind the `name` of the error if it fails
 * @param {string} options.what what the address stands for, for the error's sentence: "the model"
 * @param {number} [options.bytes] the length, where it is known beforehand
 * @param {AbortSignal} [options.signal]
 * @param {(fraction: number) => void} [options.onProgress] never called if the length can't be known
 * @returns {Promise<Bytes>}
 */
export async function download(url, { kind, what, bytes, signal, onProgress }) {
  throwIfAborted(signal);
  const address = String(url);
  const shown = address.startsWith("data:") ? "the data: address" : address;
  const line = listening(signal);
  try {
    const response = await fetch(address, { signal: line.signal });
    line.heard();
    if (!response.ok) {
      throw new GradCamError(
        kind,
        `Can't fetch ${what}: ${shown} answered ${response.status} ${response.statusText}`.trim() + ".",
      );
    }
    const total = bytes ?? plainLength(response);
    const type = response.headers.get("content-type") ?? "";
    const onBytes = counting(total, onProgress, line.heard);
    if (total !== undefined && total <= AT_HAND) return new Bytes(await read(response, onBytes), type);
    if (!response.body) return new Bytes(await response.blob());
    return new Bytes(
      await new Response(response.body.pipeThrough(counter(onBytes)), { headers: { "content-type": type } }).blob(),
    );
  } catch (error) {
    if (signal?.aborted) throw aborted();
    if (error instanceof GradCamError) throw error;
    const foreign = isForeign(address) ? " Another site must allow it with CORS headers." : "";
    const { reason } = line.signal;
    const why = reason ? `${shown} was silent: ${reason.message}.` : `nothing came from ${shown}.${foreign}`;
    throw new GradCamError(kind, `Can't fetch ${what}: ${why}`, { cause: error });
  } finally {
    line.done();
  }
}

/**
 * @param {Response} response @param {(length: number) => void} onBytes hears of each part
 * @returns {Promise<ArrayBuffer>}
 */
async function read(response, onBytes) {
  if (!response.body) return response.arrayBuffer();
  const reader = response.body.getReader();
  /** @type {Uint8Array[]} */
  const chunks = [];
  let seen = 0;
  for (let { value } = await reader.read(); value; { value } = await reader.read()) {
    chunks.push(value);
    seen += value.byteLength;
    onBytes(value.byteLength);
  }
  const all = new Uint8Array(seen);
  for (let i = chunks.length; i-- > 0;) all.set(chunks[i], (seen -= chunks[i].byteLength));
  return all.buffer;
}

/**
 * The number of bytes that will come out of `response`, if it says so: with a content encoding,
 * Content-Length counts the compressed bytes instead.
 * @param {Response} response
 */
function plainLength(response) {
  if (response.headers.get("content-encoding")) return undefined;
  return Number(response.headers.get("content-length")) || undefined;
}

/**
 * What is to hear how long each part is: it reports the fraction of `total` that came, where that is known.
 * @param {number | undefined} total @param {((fraction: number) => void) | undefined} onProgress @param {() => void} heard
 * @returns {(length: number) => void}
 */
export function counting(total, onProgress, heard) {
  let seen = 0;
  return (length) => {
    heard();
    seen += length;
    if (total && seen <= total) onProgress?.(seen / total);
  };
}

/**
 * A stream that passes everything on.
 * @param {(length: number) => void} onBytes hears of each part
 * @returns {TransformStream<Uint8Array, Uint8Array>}
 */
export function counter(onBytes) {
  return new TransformStream({
    transform(chunk, controller) {
      onBytes(chunk.byteLength);
      controller.enqueue(chunk);
    },
  });
}

/** @param {string} address */
function isForeign(address) {
  try {
    const { protocol, origin } = new URL(address, globalThis.location?.href);
    return /^https?:$/.test(protocol) && origin !== globalThis.location?.origin;
  } catch {
    return false;
  }
}
