// How an ONNX file says in its metadata what images it takes. Nobody has to follow a form there: some write JSON, some prose.

import { PREPROCESS } from "./catalog.js";

/** @typedef {import("./index.js").Preprocess} Preprocess */

/** The most characters of a description that are looked at. */
const MAX_PROSE = 10_000;

/**
 * The sides that metadata names, for a file that leaves them open.
 * @param {Map<string, string>} metadata @returns {{ width: number, height: number } | undefined}
 */
export function sidesIn(metadata) {
  const { width, height } = preprocessIn(metadata) ?? {};
  const isSide = (side) => Number.isInteger(side) && side > 0 && side <= PREPROCESS.maxSide;
  return isSide(width) && isSide(height) ? { width, height } : undefined;
}

/**
 * How metadata says that images are prepared, whether that can be or not.
 * @param {Map<string, string>} metadata @returns {Preprocess | undefined}
 */
export function preprocessIn(metadata) {
  const text = metadata.get("preprocess") ?? metadata.get("preprocessing");
  // Ultralytics' classifiers: the middle square, samples in 0..=1.
  if (text === undefined && metadata.get("task") === "classify" && metadata.has("imgsz")) {
    const [height, width = height] = (metadata.get("imgsz").slice(0, MAX_PROSE).match(/\d+/g) ?? []).map(Number);
    return { width, height, mean: [0], std: [1], resize: "crop", order: "RGB" };
  }
  if (text === undefined && !metadata.has("mean")) return undefined;
  const json = parseObject(text);
  if (json) return pickFields(json);
  const prose = (text ?? "").slice(0, MAX_PROSE);
  const mean = numbers(metadata.get("mean")) ?? numbers(/mean\b[\s:=[(]*([-\d.,\s]+)/i.exec(prose)?.[1]);
  const std = numbers(metadata.get("std")) ?? numbers(/std\b[\s:=[(]*([-\d.,\s]+)/i.exec(prose)?.[1]);
  const order = /\bBGR\b/.test(prose) ? "BGR" : "RGB";
  const resize = PREPROCESS.resize.find((name) => new RegExp(`\\b${name}\\b`).test(prose));
  if (mean && std) return { mean, std, order, resize };
  if (/127\.5\s*-\s*1\b/.test(prose)) return { mean: [0.5], std: [0.5], order, resize };
  if (/\b0\s*(\.\.=?|-|to)\s*1\b/.test(prose)) return { mean: [0], std: [1], order, resize };
  return undefined;
}

function pickFields({ width, height, resize, mean, std, order }) {
  return { width, height, resize, mean, std, order };
}

function parseObject(text) {
  if (!text?.trim().startsWith("{")) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The numbers in "0.485, 0.456 .406", if there is one or one for each colour. */
function numbers(text) {
  const found = (text?.slice(0, MAX_PROSE).match(/-?\d*\.?\d+/g) ?? []).map(Number);
  return found.length === 1 || found.length === 3 ? found : undefined;
}
