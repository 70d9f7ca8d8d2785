import { assetUrl } from "./assets.js";
import { PREPROCESS } from "./catalog.js";
import { Bytes, download } from "./download.js";
import { GradCamError, arrived, throwIfAborted } from "./errors.js";
import { namesIn } from "./labels.js";
import { MODELS, PACKED } from "./models.js";

/** @typedef {import("./index.js").Preprocess} Preprocess */
/** @typedef {{ name?: string, address?: string, bytes: Bytes, parts?: { name: string, bytes: Bytes }[], beside?: any[], preprocess?: Preprocess, labels?: string[], targetLayer?: string, certainty?: import("./certainty.js").Rule }} ModelFile */

export { MODELS };

/** The model that is taken where none is named. */
export const DEFAULT_MODEL = MODELS[0].url;

/**
 * Fetches what `source` stands for: a manifest with its file and labels, or an ONNX file alone.
 *
 * @param {string | URL | Blob | ArrayBuffer | Uint8Array} source
 * @param {{ signal?: AbortSignal, onProgress?: (fraction: number) => void }} options
 * @returns {Promise<ModelFile>}
 * @throws {GradCamError} `ModelError`
 */
export async function readModel(source, { signal, onProgress }) {
  if (Array.isArray(source) || (globalThis.FileList && source instanceof FileList)) {
    const { readTogether } = await arrived(import("./together.js"));
    return readTogether([...source], { signal, onProgress });
  }
  if (source instanceof Blob) return { bytes: await onnx(new Bytes(source), source.name), name: source.name };
  if (source instanceof ArrayBuffer || ArrayBuffer.isView(source)) return { bytes: new Bytes(new Blob([source])) };
  if (typeof source !== "string" && !(source instanceof URL)) {
    throw new GradCamError("ModelError", "A model is an address, a Blob, an ArrayBuffer or a Uint8Array.");
  }
  const address = addressOfModel(source, base());
  // Some bundlers give addresses without their host.
  const packed = MODELS.find(({ url }) => absolute(url, base()) === address);
  if (packed) {
    const { MANIFEST, FILE } = await arrived(PACKED[packed.name]());
    const file = assetUrl(`models/${packed.name}/${MANIFEST.file}`, FILE).href;
    return readManifest({ ...MANIFEST, file }, address, { signal, onProgress });
  }
  const looksLikeManifest = new URL(address).pathname.endsWith(".json");
  const bytes = await download(address, {
    kind: "ModelError",
    what: "the model",
    signal,
    onProgress: looksLikeManifest ? undefined : onProgress,
  });
  // An ONNX file begins with the byte 8, a manifest with a brace.
  if (!/^[\s\ufeff]*\{/.test(new TextDecoder().decode(await bytes.head(64)))) {
    return { bytes: await onnx(bytes, fileName(address)), name: fileName(address), address };
  }
  return readManifest(parseManifest(await bytes.text(), address), address, { signal, onProgress });
}

/** The bytes, unless they are those of something else. @param {Bytes} bytes @param {string | undefined} name */
async function onnx(bytes, name) {
  await refuseForeign(bytes, name);
  return bytes;
}

/** Refuses what is in another format, by what it is. @param {Bytes} bytes @param {string | undefined} name */
async function refuseForeign(bytes, name) {
  const head = String.fromCharCode(...(await bytes.head(64)));
  // As ONNX files begin, and others with messages of the same kind.
  if (head.startsWith("\x08") && !/\.(pb|mlmodel)$/i.test(name ?? "")) return;
  // Without these words the engine says in its own that it is no model.
  const foreign = await import("./foreign.js").catch(() => undefined);
  foreign?.refuseForeign(head, name);
}

/** What a manifest says beside the file and the names. */
export function described({ name, preprocess, targetLayer, certainty } = {}) {
  return Object.fromEntries(Object.entries({ name, preprocess, targetLayer, certainty }).filter(([, value]) => value));
}

/** @param {any} source a file or an address */
export function nameOf(source) {
  return (source instanceof Blob ? /** @type {File} */ (source).name : fileName(absolute(source, base()))) ?? "";
}

/** @param {string} path */
export function lastOf(path) {
  return path.split(/[\\/]/).pop();
}

/** Files that a model may name beside it, one for each of its tensors, and how many are fetched at a time. */
const MOST_PARTS = 4096;
const PARTS_AT_ONCE = 8;

/**
 * The files in which a model's parameters lie: those that came with it, else those beside its address.
 *
 * @param {string[]} names as the model's file has them
 * @param {ModelFile} file
 * @param {AbortSignal} [signal]
 */
export async function readParts(names, { address, beside = [] }, signal) {
  const read = async (name) => {
    const given = beside.find((source) => nameOf(source) === lastOf(name));
    if (given instanceof Blob) return { name, bytes: new Bytes(given) };
    // Beside it, whatever the file says: no model sends requests elsewhere.
    const found = given ? absolute(given, base()) : address && absolute(encodeURIComponent(lastOf(name)), address);
    return found && { name, bytes: await partAt(found, signal) };
  };
  if (names.length > MOST_PARTS) {
    throw new GradCamError(
      "ModelError",
      `The model names ${names.length} files beside it; up to ${MOST_PARTS} are accepted.`,
    );
  }
  const left = [...names];
  const parts = [];
  const readSome = async () => {
    // Where one can't be had, no other is asked for.
    for (let name; (name = left.pop()) !== undefined;) {
      const part = await read(name).catch((error) => {
        left.length = 0;
        throw error;
      });
      // What is nowhere the engine misses, and says how to write one file.
      if (part) parts.push(part);
    }
  };
  await Promise.all(Array.from({ length: PARTS_AT_ONCE }, readSome));
  return parts;
}

/** @param {string} address @param {AbortSignal} [signal] */
function partAt(address, signal) {
  return download(address, { kind: "ModelError", what: "the model's parameters", signal });
}

/** What addresses are relative to. */
function base() {
  return globalThis.document?.baseURI ?? globalThis.location?.href;
}

/** What a model's name or address stands for, as an address. @param {string | URL} source @param {string} base */
export function addressOfModel(source, base) {
  return absolute(MODELS.find(({ name }) => name === source)?.url ?? source, base);
}

/** @param {string} text @param {string} address for the error's sentence */
export function parseManifest(text, address) {
  let manifest;
  try {
    manifest = JSON.parse(text);
  } catch (cause) {
    throw new GradCamError("ModelError", `The manifest ${address} is not JSON: ${cause.message}.`, { cause });
  }
  if (typeof manifest.file !== "string") {
    throw new GradCamError(
      "ModelError",
      `The manifest ${address} names no "file": the ONNX file's address, relative to its own.`,
    );
  }
  for (const [field, type] of Object.entries({
    name: "string",
    sha256: "string",
    bytes: "number",
    targetLayer: "string",
  })) {
    const value = manifest[field];
    if (value !== undefined && typeof value !== type)
      throw new GradCamError("ModelError", `The manifest ${address} has a "${field}" that is no ${type}.`);
  }
  if (manifest.preprocess !== undefined) checkPreprocess(manifest.preprocess, "ModelError", `The manifest ${address}`);
  for (const [field, highest] of [
    ["probability", 1],
    ["energy", Infinity],
    ["rest", Infinity],
  ]) {
    const value = manifest.certainty?.[field];
    if (value !== undefined && !(typeof value === "number" && value >= 0 && value <= highest)) {
      const accepted = highest === 1 ? "a number from 0 to 1" : "a number above 0";
      throw new GradCamError(
        "ModelError",
        `The manifest ${address} has a certainty with the ${field} ${shown(value)}: ${accepted} is accepted.`,
      );
    }
  }
  return manifest;
}

async function readManifest(manifest, address, { signal, onProgress }) {
  const file = absolute(manifest.file, address);
  const [bytes, labels] = await Promise.all([
    download(file, { kind: "ModelError", what: "the model", bytes: manifest.bytes, signal, onProgress }),
    readLabels(manifest.labels, address, signal),
  ]);
  await refuseForeign(bytes, fileName(file));
  await check(bytes, manifest, file);
  throwIfAborted(signal);
  return { name: fileName(file), bytes, address: file, labels, ...described(manifest) };
}

/**
 * Names of classes, or what their address, relative to `address`, leads to.
 * @param {unknown} labels @param {string | undefined} address @param {AbortSignal | undefined} signal @param {string} [who] for errors
 */
export async function readLabels(labels, address, signal, who = `The manifest ${address}`) {
  if (labels === undefined) return undefined;
  if (typeof labels === "string") {
    const file = absolute(labels, address);
    const text = await (await download(file, { kind: "ModelError", what: "the labels", signal })).text();
    labels = namesIn(text);
    if (!labels)
      throw new GradCamError(
        "ModelError",
        `The labels in ${file} are neither a JSON list of names nor one name a line.`,
      );
  }
  checkLabels(labels, "ModelError", who);
  return labels;
}

export async function check(bytes, { sha256, bytes: length }, file) {
  if (length !== undefined && bytes.size !== length) {
    throw new GradCamError("ModelError", `${file} has ${bytes.size} bytes; its manifest says ${length}.`);
  }
  // Pages without https have no hashing.
  if (sha256 === undefined || !globalThis.crypto?.subtle) return;
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", await bytes.all()));
  const actual = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
  if (actual !== String(sha256).toLowerCase()) {
    throw new GradCamError(
      "ModelError",
      `${file} does not match its manifest: its SHA-256 is ${actual}, not ${sha256}.`,
    );
  }
}

/** @param {unknown} labels @param {string} name of the error @param {string} who for its sentence */
export function checkLabels(labels, name, who) {
  if (!Array.isArray(labels) || labels.some((label) => typeof label !== "string")) {
    throw new GradCamError(name, `${who} has labels that are not a list of names.`);
  }
}

/** @param {any} preprocess @param {string} name of the error @param {string} who for its sentence */
export function checkPreprocess(preprocess, name, who) {
  const refuse = (what) => {
    throw new GradCamError(name, `${who} has a preprocess with ${what}.`);
  };
  if (typeof preprocess !== "object" || preprocess === null) refuse("no fields");
  const { width, height, resize, mean, std, order } = preprocess;
  for (const [field, size] of Object.entries({ width, height })) {
    if (size !== undefined && !(Number.isInteger(size) && size > 0 && size <= PREPROCESS.maxSide))
      refuse(`the ${field} ${shown(size)}: whole pixels from 1 to ${PREPROCESS.maxSide} are accepted`);
  }
  for (const [field, value] of Object.entries({ resize, order })) {
    const accepted = PREPROCESS[field];
    if (value !== undefined && !accepted.includes(value))
      refuse(`the ${field} "${shown(value)}": ${new Intl.ListFormat("en-GB").format(accepted)} are accepted`);
  }
  for (const [field, values] of Object.entries({ mean, std })) {
    const numbers =
      values === undefined ||
      (Array.isArray(values) &&
        values.length > 0 &&
        values.length <= PREPROCESS.maxChannels &&
        values.every(Number.isFinite));
    if (!numbers) refuse(`a ${field} that is no list of numbers, one for each channel`);
  }
  const wrong = std?.find((value) => value <= 0);
  if (wrong !== undefined) refuse(`a std of ${wrong}: numbers over 0 are accepted`);
}

/** A value of a manifest in a sentence: JSON has objects that can't be made a string. @param {unknown} value */
const shown = (value) => (typeof value === "object" ? JSON.stringify(value) : String(value));

/** @param {string | URL} address @param {string} base @param {string} [what] it is, before it in the error's sentence */
export function absolute(address, base, what = "") {
  try {
    return new URL(address, base).href;
  } catch (cause) {
    throw new GradCamError("ModelError", `${what}"${address}" is no address.`, { cause });
  }
}

function fileName(address) {
  if (!/^https?:/.test(address)) return undefined;
  // A folder has no name of its own.
  const name = new URL(address).pathname.split("/").pop() || address;
  try {
    return decodeURIComponent(name);
  } catch {
    // A % that stands for itself.
    return name;
  }
}
