// All the ways in which photos and models come in: dropped, chosen, pasted.

/** @typedef {{ file: File, preprocess?: object, labels?: string[] }} ModelFiles */

/**
 * @param {object} on
 * @param {(image: Blob | string) => void} on.image a photo, or its address
 * @param {(model: ModelFiles) => void} on.model
 * @param {(error: Error) => void} on.error
 */
export function watchIntake(on) {
  const veil = document.getElementById("drop-veil");
  const take = (files) => takeFiles([...files], on).catch(on.error);
  let depth = 0;
  const cover = (change) => {
    depth = Math.max(0, change === 0 ? 0 : depth + change);
    veil.hidden = depth === 0;
  };
  addEventListener("dragenter", (event) => {
    event.preventDefault();
    cover(+1);
  });
  addEventListener("dragleave", () => cover(-1));
  addEventListener("dragover", (event) => {
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
  });
  addEventListener("drop", (event) => {
    event.preventDefault();
    cover(0);
    takeTransfer(event.dataTransfer, on, take);
  });
  addEventListener("paste", (event) => {
    if (event.target.closest?.("input, textarea")) return;
    takeTransfer(event.clipboardData, on, take);
  });
  for (const [action, inputId] of [["choose", "file"], ["choose-model", "model-file"]]) {
    const input = document.getElementById(inputId);
    for (const button of document.querySelectorAll(`[data-action="${action}"]`)) button.addEventListener("click", () => input.click());
    input.addEventListener("change", () => {
      take(input.files);
      // The same file can be chosen again.
      input.value = "";
    });
  }
}

function takeTransfer(transfer, on, take) {
  if (transfer.files.length > 0) return take(transfer.files);
  const address = (transfer.getData("text/uri-list") || transfer.getData("text/plain")).split(/\r?\n/).find((line) => line && !line.startsWith("#"));
  if (/^(https?|data|blob):/.test(address?.trim() ?? "")) on.image(address.trim());
}

/** @param {File[]} files */
async function takeFiles(files, on) {
  const isNamed = (pattern) => (file) => pattern.test(file.name);
  const model = files.find(isNamed(/\.onnx$/i));
  const notes = files.filter(isNamed(/\.(json|txt)$/i));
  if (model) return on.model({ file: model, ...(await readNotes(notes)) });
  if (notes.length > 0 && notes.length === files.length && notes.some(isNamed(/\.json$/i))) {
    throw named("ModelError", `${notes[0].name} describes a model: drop it together with the .onnx file.`);
  }
  if (files.length > 0) on.image(files[0]);
}

/** What lies beside a model: a manifest, and labels as a JSON list or one a line. @param {File[]} files */
async function readNotes(files) {
  let manifest = {};
  let labels;
  for (const file of files) {
    const text = await file.text();
    const parsed = file.name.toLowerCase().endsWith(".json") ? parse(text, file.name) : text.trim().split(/\r?\n/);
    if (Array.isArray(parsed)) labels = parsed;
    else manifest = parsed;
  }
  return { preprocess: manifest.preprocess, labels: labels ?? (Array.isArray(manifest.labels) ? manifest.labels : undefined) };
}

function parse(text, name) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw named("ModelError", `${name} is not JSON: ${error.message}.`);
  }
}

function named(name, message) {
  return Object.assign(new Error(message), { name });
}
