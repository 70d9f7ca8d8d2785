// What the page tells of a network's file. The numbers are those of the Python package onnx 1.23.2.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import { insideOf } from "../../www/inside.js";

const inside = (file) => insideOf(readFileSync(new URL(`../data/${file}`, import.meta.url)));

test("a network's file tells its opset, its operators and how many parameters it holds", () => {
  const { operators, ...rest } = inside("cams/residual.onnx");
  assert.deepEqual(rest, { opset: 17, producer: "pytorch 2.15.0", parameters: 4315, isSplit: false });
  assert.deepEqual(Object.fromEntries(operators), {
    Conv: 6,
    Relu: 5,
    BatchNormalization: 5,
    Add: 2,
    GlobalAveragePool: 1,
    Flatten: 1,
    Gemm: 1,
  });
  assert.deepEqual([...operators.keys()][0], "Conv");

  const nameless = inside("nameless.onnx");
  assert.deepEqual([nameless.opset, nameless.parameters, nameless.operators.get("Softsign")], [17, 3576, 48]);
});

test("a file that ends early or is none is refused", () => {
  const bytes = readFileSync(new URL("../data/bright.onnx", import.meta.url));
  assert.throws(() => insideOf(Uint8Array.of(8, 255)), /in the middle of a number/);
  assert.throws(() => insideOf(Uint8Array.of(7, 1)), /a field of kind 7/);
  assert.equal(insideOf(bytes).parameters, 102);
});
