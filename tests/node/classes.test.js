// The likeliest of many classes, and the names that programs give them.

import assert from "node:assert/strict";
import test from "node:test";
import { highest } from "../../pkg/classes.js";
import { refuseForeign } from "../../pkg/foreign.js";
import { namesIn } from "../../pkg/labels.js";

test("the likeliest classes are those of a sort, whatever is among the scores", () => {
  const labels = Array.from({ length: 500 }, (_, index) => `class ${index}`);
  // Some are equal, and of those the first comes first.
  const scores = Float32Array.from(labels, (_, index) => (index * 7919) % 101);
  const sorted = labels.map((_, index) => index).sort((a, b) => scores[b] - scores[a] || a - b);
  for (const n of [0, 1, 5, 499, 500, 1000, Infinity])
    assert.deepEqual(
      highest({ scores, probabilities: scores }, labels, n).map(({ index }) => index),
      sorted.slice(0, n),
    );
  const even = sorted.filter((index) => index % 2 === 0);
  assert.deepEqual(
    highest({ scores, probabilities: scores }, labels, 7, even).map(({ index }) => index),
    even.slice(0, 7),
  );
  assert.equal(highest({ scores: [NaN, NaN], probabilities: [NaN, NaN] }, labels, 2).length, 2);
});

test("names are read as Python reads them", () => {
  assert.deepEqual(namesIn(String.raw`('caf\u00e9', 'na\xefve', "it\'s", 'a\tb', 'two\\n', '\U0001F408',)`), [
    "café",
    "naïve",
    "it's",
    "a\tb",
    "two\\n",
    "\u{1F408}",
  ]);
  assert.deepEqual(namesIn("(none)\ncat\ndog"), ["(none)", "cat", "dog"]);
});

test("files of other programs are named, whatever bytes they share", () => {
  for (const [head, name, words] of [
    ["PK\x03\x04", "net.keras", /net\.keras is a Keras model/],
    ["PK\x03\x04", "net.pt", /is a PyTorch file/],
    ["PK\x03\x04", "net.onnx", /is a PyTorch file/],
    ["\x08\x01", "saved_model.pb", /is a TensorFlow graph/],
    ["\x08\x04", "net.mlmodel", /is a Core ML model/],
    ["\x1c\x00\x00\x00ORTM", "net.onnx", /onnxruntime's own format/],
    ["GGUF\x03", undefined, /a language model's weights/],
  ])
    assert.throws(() => refuseForeign(head, name), { name: "ModelError", message: words });
  // ONNX by its bytes, whatever its name.
  for (const name of ["model.pb", "model.bin"])
    assert.doesNotThrow(() => refuseForeign("\x08\x08\x12\x07pytorch", name));
});
