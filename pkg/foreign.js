// What is brought as a network and is not ONNX: what it is, and the way to ONNX. Fetched when such a file comes.

import { GradCamError } from "./errors.js";

/** By the end of the name, or by the first bytes as text. */
const KINDS = [
  {
    bytes: /^version https:\/\/git-lfs/,
    what: "a Git LFS pointer in place of the file",
    how: "fetch the file itself, with git lfs pull or from the address of its download",
  },
  {
    bytes: /^[\s\xef\xbb\xbf]*<(!doctype html|html|head|\?xml)/i,
    what: "a web page",
    how: "take the address of the file's download, not that of the page about it",
  },
  {
    name: /\.(pt|pt2|pth|ckpt|bin)$/i,
    bytes: /^(PK|\x80)/,
    what: "a PyTorch file",
    how: 'export it with torch.onnx.export(model.eval(), torch.zeros(1, 3, 224, 224), "model.onnx")',
  },
  {
    name: /\.(h5|hdf5|keras)$/i,
    bytes: /^\x89HDF/,
    what: "a Keras model",
    how: 'export it with model.export("model.onnx", format="onnx")',
  },
  {
    name: /\.tflite$/i,
    bytes: /^[^]{4}TFL3/,
    what: "a TensorFlow Lite model",
    how: "convert it with python -m tf2onnx.convert --tflite model.tflite --output model.onnx",
  },
  {
    name: /\.safetensors$/i,
    bytes: /^[^]{8}\{"/,
    what: "a file of weights without the network that they belong to",
    how: "load them into the network in PyTorch and export that with torch.onnx.export",
  },
  {
    name: /\.pb$/i,
    what: "a TensorFlow graph",
    how: "convert its folder with python -m tf2onnx.convert --saved-model folder --output model.onnx",
  },
  {
    name: /\.mlmodel$/i,
    isLikeOnnx: true,
    what: "a Core ML model",
    how: "export the network that it was made from to ONNX",
  },
  {
    name: /\.ort$/i,
    bytes: /^[^]{4}ORTM/,
    what: "a model in onnxruntime's own format",
    how: "take the .onnx file that it was made from",
  },
  {
    name: /\.gguf$/i,
    bytes: /^GGUF/,
    what: "a file of a language model's weights",
    how: "no image is classified by it",
  },
];

/** Whether it begins with a number of ONNX's versions; TensorFlow's files begin with 1. @param {string} head */
const beginsAsOnnx = (head) => head.charCodeAt(0) === 8 && head.charCodeAt(1) >= 3;

/**
 * @param {string} head the first bytes, each as a letter @param {string | undefined} name
 * @throws {GradCamError} `ModelError` if it is a network in another format, or what servers send in place of one
 */
export function refuseForeign(head, name) {
  // By its bytes first: a file with another's name is what it is. Archives may be anything.
  const isOnnx = beginsAsOnnx(head);
  const byName = KINDS.find((kind) => kind.name?.test(name ?? "") && (!isOnnx || kind.isLikeOnnx));
  const byBytes = KINDS.find(({ bytes }) => bytes?.test(head));
  const kind = head.startsWith("PK") ? (byName ?? byBytes) : (byBytes ?? byName);
  if (!kind) return;
  throw new GradCamError("ModelError", `${name ?? "The model"} is ${kind.what}; ONNX is read: ${kind.how}.`);
}
