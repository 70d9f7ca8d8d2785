import { Bytes, download } from "./download.js";
import { GradCamError, throwIfAborted } from "./errors.js";

/** @typedef {import("./index.js").Preprocess} Preprocess */
/** @typedef {{ name?: string, bytes: Bytes, preprocess?: Preprocess, labels?: string[], targetLayer?: string }} ModelFile */

/** The model that comes with the package. */
export const DEFAULT_MODEL = new URL("./models/everyday/model.json", import.meta.url).href;

/**
 * Fetches what `source` stands for: a manifest with its file and labels, or an ONNX file alone.
 *
 * @param {string | URL | Blob | ArrayBuffer | Uint8Array} source
 * @param {{ signal?: AbortSignal, onProgress?: (fraction: number) => void }} options
 * @returns {Promise<ModelFile>}
 * @throws {GradCamError} `ModelError`
 */
export async function readModel(source, { signal, onProgress }) {
  if (source instanceof Blob) return { bytes: new Bytes(source), name: source.name };
  if (source instanceof ArrayBuffer || ArrayBuffer.isView(source)) return { bytes: new Bytes(new Blob([source])) };
  if (typeof source !== "string" && !(source instanceof URL)) {
    throw new GradCamError("ModelError", "A model is an address, a Blob, an ArrayBuffer or a Uint8Array.");
  }
  const address = absolute(source, globalThis.document?.baseURI ?? globalThis.location?.href);
  const looksLikeManifest = new URL(address).pathname.endsWith(".json");
  const bytes = await download(address, { kind: "ModelError", what: "the model", signal, onProgress: looksLikeManifest ? undefined : onProgress });
  // An ONNX file begins with the byte 8, a manifest with a brace.
  if (!/^[\s\ufeff]*\{/.test(new TextDecoder().decode(await bytes.head(64)))) return { bytes, name: fileName(address) };
  return readManifest(parseManifest(await bytes.text(), address), address, { signal, onProgress });
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
    throw new GradCamError("ModelError", `The manifest ${address} names no "file": the ONNX file's address, relative to its own.`);
  }
  if (manifest.preprocess !== undefined) checkPreprocess(manifest.preprocess, "ModelError", `The manifest ${address}`);
  return manifest;
}

async function readManifest(manifest, address, { signal, onProgress }) {
  const file = absolute(manifest.file, address);
  const [bytes, labels] = await Promise.all([
    download(file, { kind: "ModelError", what: "the model", bytes: manifest.bytes, signal, onProgress }),
    readLabels(manifest.labels, address, signal),
  ]);
  await check(bytes, manifest, file);
  throwIfAborted(signal);
  return { name: manifest.name ?? fileName(file), bytes, labels, preprocess: manifest.preprocess, targetLayer: manifest.targetLayer };
}

async function readLabels(labels, address, signal) {
  if (labels === undefined) return undefined;
  if (typeof labels === "string") {
    const file = absolute(labels, address);
    const text = await (await download(file, { kind: "ModelError", what: "the labels", signal })).text();
    labels = parseLabels(text);
    if (!labels) throw new GradCamError("ModelError", `The labels in ${file} are neither a JSON list of names nor one name a line.`);
  }
  checkLabels(labels, "ModelError", `The manifest ${address}`);
  return labels;
}

/** A JSON list of names, or one name a line. @param {string} text @returns {string[] | undefined} */
export function parseLabels(text) {
  if (!/^\s*[[{]/.test(text)) return text.trim().split(/\r?\n/).map((line) => line.trim());
  try {
    const labels = JSON.parse(text);
    return Array.isArray(labels) ? labels : undefined;
  } catch {
    return undefined;
  }
}

async function check(bytes, { sha256, bytes: length }, file) {
  if (length !== undefined && bytes.size !== length) {
    throw new GradCamError("ModelError", `${file} has ${bytes.size} bytes; its manifest says ${length}.`);
  }
  // Pages without https have no hashing.
  if (sha256 === undefined || !globalThis.crypto?.subtle) return;
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", await bytes.all()));
  const actual = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
  if (actual !== String(sha256).toLowerCase()) {
    throw new GradCamError("ModelError", `${file} does not match its manifest: its SHA-256 is ${actual}, not ${sha256}.`);
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
    if (size !== undefined && !(Number.isInteger(size) && size > 0 && size <= 8192)) refuse(`the ${field} ${size}: whole pixels from 1 to 8192 are accepted`);
  }
  if (![undefined, "stretch", "crop", "letterbox"].includes(resize)) refuse(`the resize "${resize}": stretch, crop and letterbox are accepted`);
  if (![undefined, "RGB", "BGR"].includes(order)) refuse(`the order "${order}": RGB and BGR are accepted`);
  for (const [field, values] of Object.entries({ mean, std })) {
    const numbers = values === undefined || (Array.isArray(values) && values.length > 0 && values.every(Number.isFinite));
    if (!numbers) refuse(`a ${field} that is no list of numbers, one for each channel`);
  }
  if (std?.includes(0)) refuse("a std of 0");
}

function absolute(address, base) {
  try {
    return new URL(address, base).href;
  } catch (cause) {
    throw new GradCamError("ModelError", `"${address}" is no address.`, { cause });
  }
}

function fileName(address) {
  return /^https?:/.test(address) ? decodeURIComponent(new URL(address).pathname.split("/").pop()) : undefined;
}
