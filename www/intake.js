// All the ways in which photos and models come in: dropped, chosen, pasted.

/**
 * A model as `loadModel` takes it: its file alone, or the address of a manifest. `tell` names the files in a sentence that
 * only knows their addresses.
 * @typedef {{ source: Blob | string, tell: (sentence: string) => string }} OwnModel
 */

/** What a manifest may say; an object with none of these is none. */
const MANIFEST = ["name", "file", "sha256", "bytes", "preprocess", "labels", "targetLayer"];

/**
 * @param {object} on
 * @param {(image: Blob | string) => void} on.image a photo, or its address
 * @param {(model: OwnModel) => void} on.model
 * @param {(sentence: string) => void} on.note what a person should know of what was taken
 * @param {(error: Error) => void} on.error
 */
export function watchIntake(on) {
  const veil = document.getElementById("drop-veil");
  const take = (files) => Promise.resolve(files).then((files) => takeFiles([...files], on)).catch(on.error);
  let depth = 0;
  const cover = (change) => {
    depth = Math.max(0, change === 0 ? 0 : depth + change);
    veil.hidden = depth === 0;
  };
  // Selected text can be dragged, too.
  const isOurs = ({ dataTransfer: { types } }) => types.includes("Files") || types.includes("text/uri-list");
  addEventListener("dragenter", (event) => {
    if (!isOurs(event)) return;
    event.preventDefault();
    cover(+1);
  });
  addEventListener("dragleave", (event) => isOurs(event) && cover(-1));
  addEventListener("dragover", (event) => {
    if (!isOurs(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
  });
  addEventListener("drop", (event) => {
    if (!isOurs(event)) return;
    event.preventDefault();
    cover(0);
    takeTransfer(event.dataTransfer, on, take);
  });
  addEventListener("paste", (event) => {
    if (event.target.closest?.("input[type=search]")) return;
    takeTransfer(event.clipboardData, on, take);
  });
  for (const [action, inputId] of [["choose", "file"], ["choose-model", "model-file"]]) {
    const input = document.getElementById(inputId);
    for (const button of document.querySelectorAll(`[data-action="${action}"]`)) button.addEventListener("click", () => input.click());
    input.addEventListener("change", () => {
      // A list that empties with the input.
      take([...input.files]);
      // The same file can be chosen again.
      input.value = "";
    });
  }
}

function takeTransfer(transfer, on, take) {
  if (transfer.files.length > 0) return take(filesOf(transfer));
  const address = (transfer.getData("text/uri-list") || transfer.getData("text/plain")).split(/\r?\n/).find((line) => line && !line.startsWith("#"));
  if (/^(https?|data|blob):/.test(address?.trim() ?? "")) on.image(address.trim());
}

/** The files, those in folders among them: exports of models are folders. Whatever asks the transfer has to ask at once. */
async function filesOf({ files, items }) {
  const plain = [...files];
  const entries = [...items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some(({ isDirectory }) => isDirectory)) return plain;
  const listed = await Promise.all(entries.map((entry) => (entry.isDirectory ? entriesIn(entry.createReader()) : [entry])));
  return Promise.all(listed.flat().filter(({ isFile }) => isFile).map((entry) => new Promise((resolve, reject) => entry.file(resolve, reject))));
}

/** A reader gives a hundred at a time. */
async function entriesIn(reader) {
  const entries = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
  return entries.length > 0 ? [...entries, ...(await entriesIn(reader))] : [];
}

/** @param {File[]} files a photo, a model with what describes it, or both */
async function takeFiles(files, on) {
  const named = (pattern) => files.filter(({ name }) => pattern.test(name));
  const [models, notes] = [named(/\.onnx$/i), named(/\.(json|txt)$/i)];
  if (models.length > 0) on.model(await packed(models, notes));
  else if (notes.length === files.length && notes.some(({ name }) => /\.json$/i.test(name))) {
    throw modelError(`${notes[0].name} describes a model: drop it together with the .onnx file.`);
  }
  const others = files.filter((file) => !models.includes(file) && (models.length === 0 || !notes.includes(file)));
  const photos = others.filter(({ type, name }) => type.startsWith("image/") || /\.(png|jpe?g|webp|gif|bmp|svg|avif|heic)$/i.test(name));
  // Whatever else lies beside a model is left alone; with nothing better a file is tried, and says itself what it is.
  const image = photos[0] ?? (models.length === 0 ? others[0] : undefined);
  if (image) on.image(image);
  if (photos.length > 1) on.note(`One photo at a time: this is ${image.name}, of ${photos.length} that came.`);
}

/**
 * A model with what lies beside it: a manifest, and labels as a JSON list or one a line. They become a manifest whose
 * addresses are the files; those take no room and last as long as the page.
 * @param {File[]} models @param {File[]} notes
 * @returns {Promise<OwnModel>}
 */
async function packed(models, notes) {
  let manifest, labels;
  for (const file of notes) {
    const text = await file.text();
    const content = file.name.toLowerCase().endsWith(".json") ? parse(text, file.name) : text.trim().split(/\r?\n/);
    if (Array.isArray(content)) labels = { content, name: file.name };
    else if (MANIFEST.some((field) => content && Object.hasOwn(content, field))) manifest = { content, name: file.name };
    else throw modelError(`${file.name} is neither a manifest nor a list of labels, one name a class.`);
  }
  const wanted = String(manifest?.content.file).split("/").pop();
  const file = models.find(({ name }) => name === wanted) ?? models[0];
  if (!manifest && !labels) return { source: file, tell: (sentence) => sentence };
  const address = URL.createObjectURL(file);
  const given = manifest?.content.labels;
  const content = { name: file.name, ...manifest?.content, file: address, labels: labels?.content ?? (Array.isArray(given) ? given : undefined) };
  return {
    source: URL.createObjectURL(new Blob([JSON.stringify(content)])),
    tell: (sentence) => sentence.replace(/^The manifest( blob:\S+)?/, (manifest ?? labels).name).replaceAll(address, file.name),
  };
}

function parse(text, name) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw modelError(`${name} is not JSON: ${error.message}.`);
  }
}

function modelError(message) {
  return Object.assign(new Error(message), { name: "ModelError" });
}
