import { FILES } from "./catalog.js";
import { Bytes, download } from "./download.js";
import { GradCamError, throwIfAborted } from "./errors.js";
import { copyOf } from "./buffer-pool.js";

/**
 * An image as the engine takes it, kept so that it can be handed over again after a crash.
 *
 * `bytes` is an encoded file that the engine decodes, so that every browser sees the same pixels; `rgba` are pixels
 * that only the browser could give; `tensor` is the network's input as it is.
 * @typedef {{ bytes: Bytes, isRare?: boolean } | { width: number, height: number, rgba: Blob | Uint8ClampedArray } | { tensor: Float32Array, shape: number[] }} Source
 */

/** Pictures with more pixels are refused: two copies of one would fill a phone's memory. */
const MAX_PIXELS = 64e6;

/**
 * Images under way before anybody can use them, each with the signals of those who want it.
 * @typedef {{ bytes: Promise<Bytes>, stop: AbortController, wanting: Set<AbortSignal | undefined> }} Fetch
 * @type {Map<string, Fetch>}
 */
const expected = new Map();

/**
 * Begins to fetch an image that the next `readSource` of its address is going to ask for.
 *
 * @param {unknown} image @param {AbortSignal} signal
 */
export function expectImage(image, signal) {
  if (typeof image !== "string" || signal.aborted) return;
  if (!expected.has(image)) {
    const stop = new AbortController();
    const bytes = fetchImage(image, stop.signal);
    expected.set(image, { bytes, stop, wanting: new Set() });
    bytes.catch(() => forget(image, bytes));
  }
  want(image, signal);
}

/** Takes part in a fetch, which ends early only if nobody wants it any more. @param {string} image @param {AbortSignal} [signal] */
function want(image, signal) {
  const fetched = expected.get(image);
  fetched?.wanting.add(signal);
  const leave = () => {
    fetched.wanting.delete(signal);
    if (fetched.wanting.size > 0) return;
    forget(image, fetched.bytes);
    fetched.stop.abort();
  };
  if (fetched) signal?.addEventListener("abort", leave, { once: true });
  return fetched?.bytes;
}

/** @param {string} image @param {Promise<Bytes>} bytes */
function forget(image, bytes) {
  if (expected.get(image)?.bytes === bytes) expected.delete(image);
}

/** What `expectImage` began to fetch, else fetched now. @param {string | URL} address @param {AbortSignal} [signal] */
function fetched(address, signal) {
  throwIfAborted(signal);
  const early = want(address, signal);
  expected.delete(address);
  return early ?? fetchImage(address, signal);
}

function fetchImage(address, signal) {
  return download(address, { kind: "ImageError", what: "the image", signal });
}

/** More than a camera's frame is kept as a Blob, out of memory, which takes some milliseconds to put there and to read. */
const FRAME_BYTES = 4 * 1920 * 1080;

/**
 * @param {unknown} image see `ImageSource` in index.d.ts
 * @param {AbortSignal} [signal]
 * @returns {Promise<Source>}
 * @throws {GradCamError} `ImageError`
 */
export async function readSource(image, signal) {
  if (typeof image === "string" || image instanceof URL) {
    return fromFile(await fetched(image, signal));
  }
  if (image instanceof Blob) return fromFile(new Bytes(image));
  if (isTensor(image)) return fromTensor(image);
  if (is(image, "ImageData")) {
    const { width, height, data } = image;
    // Wide ones have numbers from 0 to 1.
    const isWide = data.BYTES_PER_ELEMENT > 1;
    return fromPixels(width, height, isWide ? Uint8ClampedArray.from(data, (level) => 255 * level) : data);
  }
  if (is(image, "HTMLImageElement")) return fromImageElement(image, signal);
  if (is(image, "HTMLVideoElement")) {
    if (image.readyState < 2) throw new GradCamError("ImageError", "The video has no frame to show yet.");
    return fromDrawable(image, image.videoWidth, image.videoHeight);
  }
  if (is(image, "VideoFrame")) return fromDrawable(image, image.displayWidth, image.displayHeight);
  if (is(image, "HTMLCanvasElement") || is(image, "OffscreenCanvas") || is(image, "ImageBitmap")) {
    return fromDrawable(image, image.width, image.height);
  }
  throw new GradCamError(
    "ImageError",
    `${describe(image)} is no image. Accepted are an address, a Blob, an img, canvas or video element, a VideoFrame, an ImageBitmap, ImageData, or { tensor, shape }.`,
  );
}

/** Elements of another frame have that frame's constructors, and some constructors are missing in some browsers. */
function is(value, constructorName) {
  return Object.prototype.toString.call(value) === `[object ${constructorName}]`;
}

function isTensor(image) {
  return typeof image === "object" && image !== null && "tensor" in image && Array.isArray(image.shape);
}

/** @returns {Source} */
function fromTensor({ tensor, shape }) {
  try {
    return { tensor: copyOf(tensor), shape: Array.from(shape) };
  } catch (cause) {
    throw new GradCamError("ImageError", "The tensor can't be read: a Float32Array is accepted.", { cause });
  }
}

function describe(value) {
  if (value === null || value === undefined) return String(value);
  return typeof value === "object"
    ? `A value of type ${value.constructor?.name ?? "object"}`
    : `The ${typeof value} ${String(value)}`;
}

/** How far into a file to look for what it is: drawings may begin with a long comment. */
const HEAD_BYTES = 1 << 16;

/** @param {Bytes} bytes @param {HTMLImageElement} [shown] the same as a page shows it @returns {Promise<Source>} */
async function fromFile(bytes, shown) {
  const head = await bytes.head(HEAD_BYTES).catch((cause) => {
    throw new GradCamError("ImageError", "The image file can't be read.", { cause });
  });
  const kind = kindOf(head);
  if (kind) return { bytes, isRare: kind.isRare };
  const decoded = await decodeInBrowser(bytes.blob, head);
  if (decoded) return decoded;
  if (shown?.naturalWidth) return fromShown(shown);
  // What the browser can't read either, the engine refuses with its reason.
  return { bytes };
}

/** Which of the files it is that the engine decodes. @param {Uint8Array} head */
function kindOf(head) {
  return FILES.find(({ magic }) => [...magic].every((mark, at) => mark === "?" || mark.charCodeAt(0) === head[at]));
}

/** Whether the file is XML whose first element is `svg`, behind comments and declarations of any length. @param {Uint8Array} head */
function isDrawing(head) {
  const text = new TextDecoder().decode(head).replace(/^\ufeff/, "");
  let at = 0;
  for (;;) {
    while (/\s/.test(text.charAt(at))) at++;
    const [open, close] = PAIRS.find(([open]) => text.startsWith(open, at)) ?? [];
    if (open) at = behind(text, close, at + open.length);
    else if (text.startsWith("<!", at)) at = behindDeclaration(text, at + 2);
    else return /^<(\w+:)?svg[\s>/]/.test(text.slice(at, at + 64));
    if (at === 0) return false;
  }
}

/** What stands before an element, and how it ends. */
const PAIRS = [
  ["<!--", "-->"],
  ["<?", "?>"],
];

/** The place behind a mark, or 0. */
const behind = (text, mark, from) => {
  const at = text.indexOf(mark, from);
  return at < 0 ? 0 : at + mark.length;
};

/** The place behind a document type, which may declare entities between brackets, or 0. */
function behindDeclaration(text, from) {
  let depth = 0;
  for (let at = from; at > 0 && at < text.length;) {
    const mark = text[at];
    const [open, close] = PAIRS.find(([open]) => text.startsWith(open, at)) ?? [];
    if (open) at = behind(text, close, at + open.length);
    else if (mark === '"' || mark === "'") at = behind(text, mark, at + 1);
    else if (mark === ">" && depth === 0) return at + 1;
    else {
      depth += Number(mark === "[") - Number(mark === "]");
      at++;
    }
  }
  return 0;
}

/** @returns {Promise<Source | undefined>} */
async function decodeInBrowser(blob, head) {
  if (typeof document === "undefined") return undefined;
  const isSvg = isDrawing(head) || blob.type === "image/svg+xml";
  const typed = isSvg && blob.type !== "image/svg+xml" ? new Blob([blob], { type: "image/svg+xml" }) : blob;
  const address = URL.createObjectURL(typed);
  try {
    const image = new Image();
    image.src = address;
    await image.decode();
    return await fromDrawable(image, image.naturalWidth || 512, image.naturalHeight || 512);
  } catch (error) {
    if (error instanceof GradCamError) throw error;
    return undefined;
  } finally {
    URL.revokeObjectURL(address);
  }
}

/** @param {HTMLImageElement} image @returns {Promise<Source>} */
async function fromImageElement(image, signal) {
  const address = image.currentSrc || image.src;
  if (!address) throw new GradCamError("ImageError", "The img element has no src.");
  try {
    return await fromFile(await fetched(address, signal), image);
  } catch (error) {
    throwIfAborted(signal);
    // Its file can't be read again (a revoked blob: address, a policy or server that forbids it); its pixels perhaps can.
    image.loading = "eager";
    await image.decode().catch(() => {
      throw error;
    });
    return fromShown(image);
  }
}

/** @param {HTMLImageElement} image */
function fromShown(image) {
  return fromDrawable(image, image.naturalWidth, image.naturalHeight);
}

/** @returns {Promise<Source>} */
async function fromDrawable(drawable, width, height) {
  if (!(width > 0 && height > 0)) throw new GradCamError("ImageError", "The image has no pixels.");
  refuseLarge(width, height);
  const canvas =
    typeof OffscreenCanvas === "undefined" ? document.createElement("canvas") : new OffscreenCanvas(width, height);
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  try {
    context.drawImage(drawable, 0, 0, width, height);
    return fromPixels(width, height, context.getImageData(0, 0, width, height).data);
  } catch (cause) {
    const reason =
      cause.name === "SecurityError"
        ? "it comes from another site, which does not allow reading it (CORS)"
        : cause.message;
    throw new GradCamError("ImageError", `The image's pixels can't be read: ${reason}.`, { cause });
  }
}

/** @returns {Source} */
function fromPixels(width, height, rgba) {
  refuseLarge(width, height);
  return { width, height, rgba: rgba.byteLength > FRAME_BYTES ? new Blob([rgba]) : rgba.slice() };
}

function refuseLarge(width, height) {
  if (width * height > MAX_PIXELS) {
    throw new GradCamError(
      "ImageError",
      `The image has ${width} × ${height} pixels; up to ${MAX_PIXELS / 1e6} million can be handled.`,
    );
  }
}
