// A network in several files: few pages have one, so this is fetched when it is asked for.

import { GradCamError } from "./errors.js";
import { namesIn } from "./labels.js";
import { check, checkLabels, described, lastOf, nameOf, parseManifest, readModel } from "./manifest.js";

/** An ONNX file with what lies beside it: files of parameters, a manifest, names of classes. Each is a file or an address. */
export async function readTogether(sources, options) {
  let manifest, names;
  for (const note of sources.filter((source) => source instanceof Blob && /\.(json|txt)$/i.test(nameOf(source)))) {
    const text = await note.text();
    if (/^\s*\{/.test(text) && /"file"\s*:/.test(text)) manifest = parseManifest(text, nameOf(note));
    // Other programs have JSON files of their own there.
    else names = namesIn(text) ?? names;
  }
  const model = [
    (name) => name === lastOf(manifest?.file ?? ""),
    (name) => /\.onnx$/i.test(name),
    (name) => /\.json$/i.test(name),
  ]
    .map((fits) => sources.find((source) => fits(nameOf(source))))
    .find(Boolean);
  if (!model) {
    const listed = sources.map(nameOf).join(", ") || "nothing";
    throw new GradCamError("ModelError", `Of the files of a model one is the .onnx file; these are ${listed}.`);
  }
  const file = await readModel(model, options);
  const labels = Array.isArray(manifest?.labels) ? manifest.labels : names;
  if (labels) checkLabels(labels, "ModelError", "What lies beside the model");
  if (manifest) await check(file.bytes, manifest, nameOf(model));
  return { ...file, ...(labels && { labels }), ...described(manifest), beside: sources };
}
