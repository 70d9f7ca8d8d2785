// What comes in from outside: dropped, chosen, pasted, or typed as an address.

import { $ } from "./dom.js";
import { checked, modelError, packed, read } from "./own.js";

const NETWORK = /\.(pt|pt2|pth|ckpt|h5|hdf5|keras|tflite|safetensors|pb|mlmodel|ort|gguf)$/i;
const PICTURE = /\.(png|jpe?g|webp|gif|bmp|svg|avif|heic|tiff?)$/i;

/**
 * @param {object} on
 * @param {(image: Blob | string) => void} on.image a photo, or its address
 * @param {(images: File[]) => void} on.images several
 * @param {(model: import("./own.js").OwnModel | string) => void} on.model a network, or its address
 * @param {(change: Partial<import("./own.js").OwnModel>) => void} on.refine names and preprocessing for the one that is there
 * @param {(sentence: string) => void} on.note what a person should know of what was taken
 * @param {(error: Error) => void} on.error
 */
export function watchDrops(on) {
  const veil = $("drop-veil");
  const take = (files) =>
    Promise.resolve(files)
      .then((files) => takeFiles([...files], on))
      .catch(on.error);
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
    if (event.target.closest?.("input, textarea")) return;
    takeTransfer(event.clipboardData, on, take);
  });
  $("address-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const address = $("address").value.trim();
    if (!address) return;
    if (takeAddress(address, on)) $("address").value = "";
  });
  for (const [action, inputId] of [
    ["choose", "file"],
    ["camera", "camera"],
    ["choose-model", "model-file"],
  ]) {
    const input = $(inputId);
    for (const button of document.querySelectorAll(`[data-action="${action}"]`))
      button.addEventListener("click", () => input.click());
    const chosen = () => {
      // A list that empties with the input.
      const files = [...input.files];
      // The same file can be chosen again.
      input.value = "";
      if (files.length > 0) take(files);
    };
    input.addEventListener("change", chosen);
    // Before this script ran.
    chosen();
  }
  // What came before this script ran.
  for (const transfer of globalThis.early ?? []) takeTransfer(transfer, on, take);
  globalThis.early = undefined;
}

function takeTransfer(transfer, on, take) {
  if (transfer.files.length > 0) return take(filesOf(transfer));
  const address = (transfer.getData("text/uri-list") || transfer.getData("text/plain"))
    .split(/\r?\n/)
    .find((line) => line && !line.startsWith("#"));
  if (/^(https?|data|blob):/.test(address?.trim() ?? "")) takeAddress(address.trim(), on);
}

/** A network by its ending, else a photo. @param {string} text @returns {boolean} whether it is an address */
function takeAddress(text, on) {
  let address;
  try {
    // Beside this page's address, "https:" alone would be one.
    address = /^\w+:/.test(text) ? new URL(text) : new URL(text, document.baseURI);
  } catch {
    on.error(modelError("This address", `"${text}" is no address: one such as https://example.org/photo.jpg is.`));
    return false;
  }
  if (address.protocol === "data:") void takeData(address, on);
  else if (/\.(onnx|json)$/i.test(address.pathname)) on.model(address.href);
  else on.image(address.href);
  return true;
}

/** A picture that is its own address is a file from here on: the address bar and the history have no room for it. */
async function takeData(address, on) {
  let image;
  try {
    image = await (await fetch(address)).blob();
  } catch {
    return on.error(modelError("This address", "It begins with data: and holds nothing that can be read."));
  }
  on.image(image);
}

/** The files, those in folders among them: exports of models are folders. Whatever asks the transfer has to ask at once. */
async function filesOf({ files, items }) {
  const plain = [...files];
  const entries = [...items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some(({ isDirectory }) => isDirectory)) return plain;
  const listed = await Promise.all(
    entries.map((entry) => (entry.isDirectory ? entriesIn(entry.createReader()) : [entry])),
  );
  return Promise.all(
    listed
      .flat()
      .filter(({ isFile }) => isFile)
      .map((entry) => new Promise((resolve, reject) => entry.file(resolve, reject))),
  );
}

/** A reader gives a hundred at a time. */
async function entriesIn(reader) {
  const entries = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
  return entries.length > 0 ? [...entries, ...(await entriesIn(reader))] : [];
}

/** @param {File[]} files photos, a network with what describes it, names for the one that is there, or all of these */
async function takeFiles(files, on) {
  if (files.length === 0) return on.note("Nothing came: the folder is empty.");
  const named = (pattern) => files.filter(({ name }) => pattern.test(name));
  const notes = named(/\.(json|txt|csv|ya?ml|names|labels)$/i);
  const onnx = named(/\.onnx$/i);
  // Those in other formats are refused by name, with the way to ONNX.
  const models = onnx.length > 0 ? onnx : named(NETWORK);
  const others = files.filter((file) => !models.includes(file) && (models.length === 0 || !notes.includes(file)));
  const photos = others.filter(({ type, name }) => type.startsWith("image/") || PICTURE.test(name));
  const parts = onnx.length > 0 ? others.filter((file) => !photos.includes(file) && !onnx.includes(file)) : [];
  if (models.length > 0) on.model(await packed(models, notes, parts));
  else if (notes.length === files.length) return on.refine(await describing(notes));
  // Whatever else lies beside a model is left alone; with nothing better a file is tried, and says itself what it is.
  const image = photos[0] ?? (models.length === 0 ? others[0] : undefined);
  if (!image) return;
  if (photos.length > 1) on.images(photos);
  else on.image(image);
}

/** Names and preprocessing that came without their network: for the one that is there. @param {File[]} notes */
async function describing(notes) {
  const own = {};
  for (const file of notes) Object.assign(own, await read(file, notes.length > 1));
  if (own.manifest) {
    const { name, content } = own.manifest;
    const { labels, preprocess } = content;
    if (!Array.isArray(labels) && !preprocess)
      throw modelError(name, `${name} describes a model: drop it together with the .onnx file.`);
    if (Array.isArray(labels) && !own.labels) Object.assign(own, { labels, labelsName: name });
    if (preprocess) own.preprocess ??= checked(preprocess, name);
  }
  const { labels, labelsName, preprocess } = own;
  return Object.fromEntries(
    Object.entries({ labels, labelsName, preprocess }).filter(([, value]) => value !== undefined),
  );
}
