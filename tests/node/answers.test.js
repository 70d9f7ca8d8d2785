// What the package says of numbers: which class is meant, whether a network is sure, whether a method depends on it.

import assert from "node:assert/strict";
import test from "node:test";
import { certaintyOf } from "../../pkg/certainty.js";
import { readModel } from "../../pkg/manifest.js";
import { findClass } from "../../pkg/classes.js";
import { sanityVerdict } from "../../pkg/sanity.js";

test("a number is an index whatever the labels say, and a string is a label first", () => {
  const labels = ["1", "10", "2", "3"];
  assert.equal(findClass(labels, 1), 1);
  assert.equal(findClass(labels, "10"), 1);
  assert.equal(findClass(labels, "2"), 2);
  assert.equal(findClass(labels, "0"), 0);
  assert.throws(() => findClass(labels, 10), /no class 10; the network has the classes 0 to 3/);
  assert.throws(() => findClass(labels, "11"), /no class 11/);
});

test("a name that two classes have is refused with both", () => {
  const labels = ["a", "crane", "b", "crane"];
  assert.throws(() => findClass(labels, "Crane"), { name: "TargetError", message: /names 2 classes: 1 and 3\./ });
  assert.equal(findClass(labels, 3), 3);
  assert.equal(findClass(["tench, Tinca tinca", "crane"], "tinca tinca"), 0);
  assert.throws(() => findClass(labels, "cra"), /no class "cra"; did you mean "crane"/);
});

const cascade = (...correlations) => correlations.map((rankCorrelation, i) => ({ rankCorrelation, randomised: i + 1 }));

test("the verdict of a sanity check is on the whole cascade", () => {
  // Guided backpropagation on three pictures, Everyday 100: it changes only when nearly every layer is random.
  for (const steps of [
    cascade(0.89, 0.88, 0.85, 0.67, 0.7, 0.49, 0.49, 0.24),
    cascade(0.88, 0.86, 0.86, 0.68, 0.75, 0.55, 0.51, 0.45),
    cascade(0.93, 0.9, 0.88, 0.65, 0.72, 0.57, 0.59, 0.27),
  ]) {
    assert.equal(sanityVerdict(steps).verdict, "independent");
  }
  assert.equal(sanityVerdict(cascade(0.2, 0.1, -0.3, 0.05)).verdict, "depends");
  assert.equal(sanityVerdict(cascade(0.7, 0.6, 0.2, 0.05)).verdict, "hardly depends");
  // Grad-CAM++ and LayerCAM on Everyday 100: activations outlast the last layers, but not all.
  assert.equal(sanityVerdict(cascade(0.89, 0.75, 0.7, 0.72, 0.53, 0.57, 0.48, 0.09)).verdict, "hardly depends");
  // Grad-CAM there.
  assert.equal(sanityVerdict(cascade(0.35, 0.19, 0.16, 0.43, 0.13, 0.31, 0.45, 0.23)).verdict, "depends");
  // FullGrad on one picture: the last layers are random, and the map is still there.
  assert.equal(sanityVerdict(cascade(0.76, 0.71, 0.48, 0.03, 0.09, -0.1, 0.17, 0.09)).verdict, "hardly depends");
  // Falling at once and coming back is no pass.
  assert.equal(sanityVerdict(cascade(0.1, 0.1, 0.1, 0.39)).verdict, "hardly depends");
  assert.match(
    sanityVerdict(cascade(0.2, -0.4)).sentence,
    /^While 2 layers are made random .* 0\.10 on average, where less than 0 counts as 0, and -0\.40 at the end/,
  );
  // The sentence says what the verdict is by: here the first step, and not the mean of 0.07.
  const { verdict, sentence } = sanityVerdict(cascade(0.59, -0.12, -0.23, -0.22, -0.28, -0.29, -0.55, -0.16));
  assert.equal(verdict, "hardly depends");
  assert.match(
    sentence,
    /^With the last layer alone made random, the rank correlation with the true map is still 0\.59:/,
  );
  assert.throws(() => sanityVerdict([]), { name: "TargetError" });
  assert.throws(() => sanityVerdict(cascade(Number.NaN)), { name: "TargetError" });
});

test("a network is unsure where nothing that it knows is likely, or everything a little", () => {
  const of = (probability, classes, rule) =>
    certaintyOf(new Float32Array(classes), { label: "lighthouse", probability }, rule);
  for (const score of [Number.NaN, Infinity]) {
    const overflowed = certaintyOf(Float32Array.of(1, score), { label: "lighthouse", probability: score });
    assert.equal(overflowed.certainty, "unsure");
    assert.match(overflowed.certaintyReason, /^The computation overflowed/);
  }
  const masked = certaintyOf(Float32Array.of(9, 1, -Infinity), { label: "lighthouse", probability: 0.9996 });
  assert.equal(masked.certainty, "sure", masked.certaintyReason);
  assert.equal(of(0.11, 1000, { probability: 0.1 }).certainty, "sure");
  assert.deepEqual(of(0.08, 1000, { probability: 0.1 }), {
    certainty: "unsure",
    certaintyReason:
      "Nothing among the 1,000 things that this network knows is likely here: the nearest, lighthouse, has 8.0 %, less than 10 %.",
  });
  // 950 scores of 0 come to the logarithm of 950, 6.856.
  assert.equal(of(0.5, 1000, { probability: 0.1, rest: 6.857 }).certainty, "sure");
  assert.match(of(0.5, 1000, { probability: 0.1, rest: 6.855 }).certaintyReason, /come to 6\.86, more than 6\.855/);
  // 100 scores of 0 come to the logarithm of 100, 4.605.
  assert.equal(of(0.5, 100, { probability: 0.1, energy: 4.6 }).certainty, "sure");
  assert.deepEqual(of(0.5, 100, { probability: 0.1, energy: 4.7 }), {
    certainty: "unsure",
    certaintyReason:
      "Little here speaks for any of the 100 things that this network knows (all scores come to 4.61, less than 4.7): lighthouse has 50 % for want of others.",
  });
  // Of pixels that alternate, red, green and blue alike, each is the opposite of its neighbour; a ramp is all but its neighbour.
  const picture = (level) => Uint8Array.from({ length: 4 * 9600 }, (_, i) => level(i >> 2));
  const seen = (level) =>
    certaintyOf(new Float32Array(100), { label: "spider web", probability: 0.5 }, {}, picture(level));
  assert.match(seen((x) => 255 * (x % 2)).certaintyReason, /^This looks like noise: .*\(a correlation of -1\.00, less/);
  assert.equal(seen((x) => 2 * (x % 96)).certainty, "sure");
  // Of one colour all over is no noise: the network says what it makes of it.
  assert.equal(seen(() => 7).certainty, "sure");
  // Without a rule of its own: a quarter, and more than chance where there are few classes.
  assert.deepEqual(
    [of(0.24, 100), of(0.26, 100), of(0.55, 2), of(0.65, 2)].map(({ certainty }) => certainty),
    ["unsure", "sure", "unsure", "sure"],
  );
  // One output is a yes or a no, and both are answers.
  assert.deepEqual(
    [of(0.02, 1), of(0.5, 1), of(0.9, 1)].map(({ certainty }) => certainty),
    ["sure", "unsure", "sure"],
  );
});

test("what is no ONNX file is named for what it is, with the way to ONNX", async () => {
  const check = (name, text, message) =>
    assert.rejects(readModel(new File([Buffer.from(text, "latin1")], name), {}), { name: "ModelError", message });
  await check(
    "net.onnx",
    "version https://git-lfs.github.com/spec/v1",
    /^net\.onnx is a Git LFS pointer .* git lfs pull/,
  );
  await check("net.onnx", "\n<!DOCTYPE html><html>", /^net\.onnx is a web page; .*download/);
  await check("net.onnx", "PK\x03\x04archive", /^net\.onnx is a PyTorch file; .*torch\.onnx\.export/);
  await check("net.onnx", "\x89HDF\r\n", /^net\.onnx is a Keras model/);
  await check("net.onnx", "\x1c\0\0\0TFL3", /^net\.onnx is a TensorFlow Lite model; .*tf2onnx/);
  await check("weights", '\x40\0\0\0\0\0\0\0{"a":', /^weights is a file of weights/);
  await check("net.pt", "whatever", /^net\.pt is a PyTorch file/);
  // An ONNX file with another's name is one.
  assert.equal((await readModel(new File(["\x08\x08"], "net.bin"), {})).name, "net.bin");
});
