// A network of one's own: its file with what lies beside it, as exporters and model hubs lay them out.

import { namesIn, namesOf, numberedIn } from "./gradcam-web/labels.js";
import { checkPreprocess } from "./gradcam-web/manifest.js";

/**
 * @typedef {object} OwnModel
 * @property {string} [id] stays the same when its names or its preprocessing change
 * @property {File} [file] the ONNX file
 * @property {File[]} [parts] what lies beside it and may have its parameters
 * @property {string} [address] in its place: of an ONNX file or a manifest
 * @property {{ name: string, content: object }} [manifest]
 * @property {string[]} [labels] the names of its classes
 * @property {string} [labelsName] the file that they come from
 * @property {import("gradcam-web").Preprocess} [preprocess]
 */

/** What a manifest may say; an object with none of these is none. */
const MANIFEST = ["name", "file", "sha256", "bytes", "preprocess", "labels", "targetLayer"];

/**
 * A network with what lies beside it: a manifest, names as a JSON list or one a line, or what Hugging Face has.
 * @param {File[]} models @param {File[]} notes @param {File[]} parts which may have the parameters
 * @returns {Promise<OwnModel>}
 */
export async function packed(models, notes, parts) {
  /** @type {OwnModel} */
  const own = { id: `${Date.now()} ${Math.random()}`, parts };
  for (const file of notes) Object.assign(own, await read(file, models.length > 0));
  const wanted = String(own.manifest?.content.file).split("/").pop();
  const plain = models.find(({ name }) =>
    /^(model|.*[^_-](?<!quantized|fp16|int8|q4f?\d*|uint8|bnb4))\.onnx$/i.test(name),
  );
  own.file = models.find(({ name }) => name === wanted) ?? plain ?? models[0];
  return own;
}

/** What one file beside a network says of it. @param {File} file @returns {Promise<Partial<OwnModel>>} */
export async function read(file, strict = true) {
  // Folders of networks have these, too.
  if (/^(readme|licen[cs]e|notice|requirements|vocab|merges)/i.test(file.name) && strict) return {};
  const text = await file.text();
  if (!/\.json$/i.test(file.name)) {
    // Beside a network a table may be of anything, and what describes a data set need not name its classes.
    const isOther =
      (strict && /\.csv$/i.test(file.name) && !numberedIn(text)) ||
      (/\.ya?ml$/i.test(file.name) && !/^names:/m.test(text));
    const labels = isOther ? undefined : namesIn(text);
    if (labels) return { labels, labelsName: file.name };
    if (strict) return {};
    throw modelError(
      file.name,
      `${file.name} has no names: a list of them, one a line or below "names:", is looked for.`,
    );
  }
  const content = parse(text, file.name);
  const labels = namesOf(content);
  if (labels) return { labels, labelsName: file.name };
  const says = (fields) => fields.some((field) => Object.hasOwn(content ?? {}, field));
  if (says(["image_mean", "image_processor_type", "do_normalize"]))
    return { preprocess: checked(preprocessOf(content), file.name) };
  if (says(MANIFEST)) return { manifest: { content, name: file.name } };
  // What else hubs put into such a folder.
  if (/config|tokenizer|quantize|_info|dataset|args|results|state|history|metrics/i.test(file.name) && strict)
    return {};
  throw modelError(file.name, `${file.name} is neither a manifest nor a list of labels, one name a class.`);
}

/**
 * How a file wants pictures prepared, refused by the file's name: with the network it is an option of the call.
 *
 * @param {import("gradcam-web").Preprocess} preprocess @param {string} name
 */
export function checked(preprocess, name) {
  try {
    checkPreprocess(preprocess, "ModelError", name);
  } catch (error) {
    throw modelError(name, error.message);
  }
  return preprocess;
}

/** A preprocessor_config.json of Hugging Face. @returns {import("gradcam-web").Preprocess} */
function preprocessOf(config) {
  const side = (size) => (typeof size === "number" ? { width: size, height: size } : size?.width ? size : undefined);
  const crops = Boolean(config.do_center_crop) || Boolean(config.crop_pct) || config.size?.shortest_edge !== undefined;
  const size = (crops && side(config.crop_size)) || side(config.size) || side(config.size?.shortest_edge) || {};
  // Their numbers are for samples that were multiplied by this; ours for samples in 0..=1.
  const scale = config.do_rescale === false ? 1 : (config.rescale_factor ?? 1 / 255);
  const normal = config.do_normalize !== false && config.image_mean && config.image_std;
  const [mean, std] = normal ? [config.image_mean, config.image_std] : [[0], [1]];
  return {
    width: size.width,
    height: size.height,
    resize: crops ? "crop" : "stretch",
    mean: [mean].flat().map((value) => value / (255 * scale)),
    std: [std].flat().map((value) => value / (255 * scale)),
    order: config.do_flip_channel_order ? "BGR" : "RGB",
  };
}

/** The network as `loadModel` takes it. @param {OwnModel} own */
export function sourceOf({ file, address, parts = [], manifest, labels, preprocess }) {
  const options = { labels, preprocess };
  if (!manifest) return { source: parts.length > 0 ? [file, ...parts] : (file ?? address), options };
  const given = manifest.content.labels;
  const content = {
    name: file.name,
    ...manifest.content,
    file: file.name,
    labels: Array.isArray(given) && !labels ? given : undefined,
  };
  return { source: [file, ...parts, new File([JSON.stringify(content)], manifest.name)], options };
}

/**
 * What is wrong with own files: a sentence that says what they are for, with their names, and which of them it is about.
 *
 * @param {OwnModel} own
 */
export function tellOf({ file, manifest, labelsName }, sentence) {
  const message = sentence
    .replace(`The manifest ${manifest?.name}`, manifest?.name)
    .replace(/^The (call|manifest)/, labelsName ?? manifest?.name ?? "The $1");
  const what = [labelsName, manifest?.name].find((name) => name && message.startsWith(name)) ?? file?.name;
  return { message, what };
}

function parse(text, name) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw modelError(name, `${name} is not JSON: ${error.message}.`);
  }
}

/** @param {string} what can't be used, as a title has it @param {string} message */
export function modelError(what, message) {
  return Object.assign(new Error(message), { name: "ModelError", what });
}
