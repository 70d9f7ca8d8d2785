// What a bare ONNX file leaves open: how to prepare an image for it, and what its classes are called.

import { namesIn } from "./labels.js";
import { checkPreprocess } from "./manifest.js";
import { preprocessIn } from "./metadata.js";

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
  const fromFile = preprocessIn(info.metadata);
  if (fromFile) {
    checkPreprocess(fromFile, "ModelError", "The file's metadata");
    // Where the file leaves its sides open, the input already has those of the metadata: see the worker.
    return taken({ ...fromFile, width: undefined, height: undefined }, "from the file's metadata");
  }
  const shown = `mean ${guess.mean.join(", ")}; std ${guess.std.join(", ")}; ${guess.resize}`;
  return {
    preprocess: complete({}, guess, info),
    reason: `a guess, because the file does not say: ${shown}`,
    guessed: true,
  };
}

/**
 * Whether mean and std are those of samples from 0 to 255, as OpenCV's friends write them: no samples from 0 to 1 have such a
 * mean, or differ so much.
 * @param {Preprocess} preprocess
 */
function isOfBytes({ mean = [0], std = [1] }) {
  return mean.some((value) => value > 1) || (std.some((value) => value > 1) && mean.every((value) => value === 0));
}

/** Both for samples from 0 to 1. @param {Preprocess} preprocess */
function unitsOf({ mean = [0], std = [1] }) {
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
  // A manifest's or a caller's other sides are an error, which names both.
  return {
    width: width ?? input.width,
    height: height ?? input.height,
    resize: resize ?? guess.resize,
    mean: mean ?? guess.mean,
    std: std ?? guess.std,
    order: order ?? "RGB",
  };
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
