// What a bare ONNX file leaves open: how to prepare an image for it, and what its classes are called.

import { PREPROCESS } from "./catalog.js";
import { namesIn } from "./labels.js";
import { checkPreprocess } from "./manifest.js";

/** @typedef {import("./index.js").Preprocess} Preprocess */
/** @typedef {{ input: { width: number, height: number, channels: number }, classes: number, metadata: Map<string, string> }} NetworkInfo */

const IMAGENET = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };

/**
 * How to prepare images: as the caller says, else the manifest, else the file, else by a guess.
 *
 * @param {NetworkInfo} info
 * @param {Preprocess | undefined} fromOptions
 * @param {Preprocess | undefined} fromManifest
 * @returns {{ preprocess: Required<Preprocess>, reason: string, guessed: boolean }}
 * @throws {GradCamError} `ModelError` if the file says something that can't be
 */
export function choosePreprocess(info, fromOptions, fromManifest) {
  const guess = guessFor(info);
  const taken = (preprocess, reason) => {
    const inUnits = isOfBytes(preprocess) ? { ...preprocess, ...unitsOf(preprocess) } : preprocess;
    const also = inUnits === preprocess ? "" : ", where mean and std are of samples from 0 to 255";
    return { preprocess: complete(inUnits, guess, info), reason: reason + also, guessed: false };
  };
  if (fromOptions) return taken(fromOptions, "as given");
  if (fromManifest) return taken(fromManifest, "from the model's manifest");
  const fromFile = readMetadata(info);
  if (fromFile) checkPreprocess(fromFile, "ModelError", "The file's metadata");
  if (fromFile) return taken(fromFile, "from the file's metadata");
  const shown = `mean ${guess.mean.join(", ")}; std ${guess.std.join(", ")}; ${guess.resize}`;
  return {
    preprocess: complete({}, guess, info),
    reason: `a guess, because the file does not say: ${shown}`,
    guessed: true,
  };
}

/**
 * Whether mean and std are those of samples from 0 to 255, as OpenCV's friends write them: no sample from 0 to 1 has such a mean.
 * @param {Preprocess} preprocess
 */
function isOfBytes({ mean = [] }) {
  return mean.some((value) => value > 1);
}

/** Both for samples from 0 to 1. @param {Preprocess} preprocess */
function unitsOf({ mean, std = [1] }) {
  const [inUnits, deviations] = [mean, std].map((values) => values.map((value) => value / 255));
  return { mean: inUnits, std: deviations };
}

/** What most files without a word about it were trained with. @param {NetworkInfo} info */
function guessFor({ input, classes }) {
  // torchvision's evaluation transform for its 1000 classes; other networks mostly see the whole picture.
  const resize = classes === 1000 ? "crop" : "stretch";
  return input.channels === 3 ? { ...IMAGENET, resize } : { mean: [0], std: [1], resize };
}

function complete({ width, height, resize, mean, std, order }, guess, { input }) {
  // The file's own size counts where it has one: a network with fixed sides takes no other.
  return {
    width: width ?? input.width,
    height: height ?? input.height,
    resize: resize ?? guess.resize,
    mean: mean ?? guess.mean,
    std: std ?? guess.std,
    order: order ?? "RGB",
  };
}

/**
 * The sides that a file's metadata names, if they are others than those of its input: where the file leaves them open, they count.
 * @param {NetworkInfo} info @returns {{ width: number, height: number } | undefined}
 */
export function otherSides(info) {
  const { width, height } = readMetadata(info) ?? {};
  const isSide = (side) => Number.isInteger(side) && side > 0 && side <= PREPROCESS.maxSide;
  if (!isSide(width) || !isSide(height)) return undefined;
  return width === info.input.width && height === info.input.height ? undefined : { width, height };
}

/** @param {NetworkInfo} info @returns {Preprocess | undefined} */
function readMetadata({ metadata }) {
  const text = metadata.get("preprocess") ?? metadata.get("preprocessing");
  // Ultralytics' classifiers: the middle square, samples in 0..=1.
  if (text === undefined && metadata.get("task") === "classify" && metadata.has("imgsz")) {
    const [height, width] = (metadata.get("imgsz").slice(0, MAX_PROSE).match(/\d+/g) ?? []).map(Number);
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

/** The most characters of a description that are looked at. */
const MAX_PROSE = 10_000;

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

/** The file's own names of its classes, if they are in its metadata and there is one for each. @param {NetworkInfo} info */
export function labelsFromMetadata({ metadata, classes }) {
  for (const key of ["labels", "classes", "class_names", "names"]) {
    const text = metadata.get(key)?.trim();
    if (!text) continue;
    const names = namesIn(text);
    if (names?.length === classes) return names;
    if (!names) continue;
    for (const separator of [/[,;|]/, /\s+/]) {
      // One more than is wanted tells that there are too many.
      const parts = text.split(separator, classes + 1);
      if (parts.length === classes) return parts.map((part) => part.trim());
    }
  }
  return undefined;
}
