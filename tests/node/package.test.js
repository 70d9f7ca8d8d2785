// The package where there is no browser: what it exports, and how it reads models, metadata and class names.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { test } from "node:test";

import * as gradcam from "../../pkg/index.js";
import { readModel, readParts } from "../../pkg/manifest.js";
import { findClass } from "../../pkg/classes.js";
import { sidesIn } from "../../pkg/metadata.js";
import { choosePreprocess, labelsFromMetadata } from "../../pkg/preprocess.js";

const json = (value) => `data:application/json,${encodeURIComponent(JSON.stringify(value))}`;
const refuses = (name, message) => (error) => {
  assert.ok(error instanceof gradcam.GradCamError);
  assert.equal(error.name, name);
  assert.match(error.message, message);
  return true;
};

test("the package can be imported where there is no DOM", () => {
  assert.equal(typeof gradcam.loadModel, "function");
  assert.ok(gradcam.METHODS.some(({ name }) => name === "grad-cam"));
  assert.ok(gradcam.COLORMAPS.includes("turbo"));
});

test("api.js is the package without its element", async () => {
  const { GradCamElement, ...rest } = gradcam;
  assert.equal(typeof GradCamElement, "function");
  assert.deepEqual({ ...(await import("../../pkg/api.js")) }, rest);
});

test("options that do not exist are refused by name", async () => {
  await assert.rejects(
    gradcam.loadModel("x.onnx", { backend: "webgl" }),
    refuses("TargetError", /"webgl".*auto, webgpu, cpu/),
  );
  await assert.rejects(
    gradcam.loadModel("x.onnx", { preprocess: { resize: "squash" } }),
    refuses("TargetError", /"squash".*letterbox/),
  );
  await assert.rejects(gradcam.loadModel("x.onnx", { labels: [1, 2] }), refuses("TargetError", /labels/));
  await assert.rejects(gradcam.loadModel("x.onnx", { signal: AbortSignal.abort() }), refuses("AbortError", /stopped/));
});

test("a manifest that can't serve is refused with its reason", async () => {
  const check = (source, message) => assert.rejects(readModel(source, {}), refuses("ModelError", message));
  await check('data:application/json,{"file":', /is not JSON/);
  await check(json({ name: "no file" }), /names no "file"/);
  await check(
    json({ file: "data:,model", sha256: "0".repeat(64) }),
    /SHA-256 is 9372c470eeadd5ecd9c3c74c2b3cb633f8e2f2fad799250a0f70d652b6b825e4/,
  );
  await check(json({ file: "data:,model", bytes: 4 }), /has 5 bytes; its manifest says 4/);
  await check(json({ file: "data:,model", labels: "data:application/json,{}" }), /neither a JSON list/);
  await check(json({ file: "data:,model", preprocess: { std: [1, 0, 1] } }), /a std of 0/);
  await check(
    json({ file: "data:,model", preprocess: { width: { toString: 1 } } }),
    /the width {"toString":1}: whole pixels/,
  );
  await check(json({ file: "http://[" }), /is no address/);
  await check(42, /A model is an address/);
});

test("a web page without a name is called by its address", async (t) => {
  t.mock.method(globalThis, "fetch", async () => new Response("<!doctype html>"));
  await assert.rejects(
    readModel("https://example.org", {}),
    refuses("ModelError", /^https:\/\/example\.org\/ is a web page/),
  );
});

test("null stands for no options", async () => {
  gradcam.configure(null);
  await assert.rejects(gradcam.loadModel("x.onnx", null), refuses("DeviceError", /in browsers only/));
});

test("a manifest brings its file, labels and preprocessing along", async () => {
  const preprocess = { width: 64, height: 32, resize: "letterbox", mean: [0], std: [1] };
  const model = await readModel(json({ name: "Two", file: "data:,model", labels: "data:,a%0Ab%0A", preprocess }), {});
  assert.deepEqual(
    { ...model, bytes: await model.bytes.text() },
    { name: "Two", address: "data:,model", bytes: "model", labels: ["a", "b"], preprocess },
  );
});

const info = (metadata, { classes = 1000, channels = 3 } = {}) => ({
  input: { width: 224, height: 224, channels },
  classes,
  metadata: new Map(Object.entries(metadata)),
});

test("preprocessing comes from the options, else the manifest, else the file, else a guess that says so", () => {
  const file = info({ preprocess: "RGB, /255, mean 0.485,0.456,0.406 std 0.229,0.224,0.225, NCHW" });
  const given = { mean: [0.5], std: [0.5], resize: "stretch" };
  assert.equal(choosePreprocess(file, given, {}).reason, "as given");
  assert.deepEqual(choosePreprocess(file, given).preprocess, { width: 224, height: 224, order: "RGB", ...given });
  assert.equal(choosePreprocess(file, undefined, given).reason, "from the model's manifest");
  const own = choosePreprocess(file);
  assert.deepEqual(
    [own.preprocess.mean, own.preprocess.std, own.guessed],
    [[0.485, 0.456, 0.406], [0.229, 0.224, 0.225], false],
  );
  const guess = choosePreprocess(info({}));
  assert.ok(guess.guessed);
  assert.match(guess.reason, /guess.*0\.485.*crop/);
});

test("the ways in which files say how they want their images are understood", () => {
  const check = (metadata, expected) => {
    const { preprocess, guessed } = choosePreprocess(info(metadata));
    assert.equal(guessed, false, JSON.stringify(metadata));
    for (const [field, value] of Object.entries(expected))
      assert.deepEqual(preprocess[field], value, JSON.stringify(metadata));
  };
  check({ preprocess: "RGB x/127.5-1, NCHW" }, { mean: [0.5], std: [0.5], order: "RGB" });
  check({ preprocess: "RGB 0..1, NCHW" }, { mean: [0], std: [1] });
  check(
    { preprocess: "BGR /255, mean .1,.2,.3 std .4,.5,.6" },
    { mean: [0.1, 0.2, 0.3], std: [0.4, 0.5, 0.6], order: "BGR" },
  );
  check({ mean: "[0.5, 0.5, 0.5]", std: "[0.25, 0.25, 0.25]" }, { mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25] });
  check(
    { preprocess: '{"resize":"letterbox","mean":[0],"std":[1],"order":"BGR"}' },
    { resize: "letterbox", order: "BGR" },
  );
  assert.ok(choosePreprocess(info({ preprocess: "as usual" })).guessed);
});

test("mean and std of samples from 0 to 255 are told by their size, wherever they come from", () => {
  // torchvision's, as OpenCV's friends write them: 255 times.
  const bytes = { mean: [123.675, 116.28, 103.53], std: [58.395, 57.12, 57.375] };
  const metadata = info({ preprocess: JSON.stringify(bytes) });
  for (const found of [
    choosePreprocess(info({}), bytes),
    choosePreprocess(info({}), undefined, bytes),
    choosePreprocess(metadata),
  ]) {
    const rounded = (numbers) => numbers.map((number) => Math.round(number * 1e6) / 1e6);
    assert.deepEqual(rounded(found.preprocess.mean), [0.485, 0.456, 0.406]);
    assert.deepEqual(rounded(found.preprocess.std), [0.229, 0.224, 0.225]);
    assert.match(found.reason, /samples from 0 to 255$/);
  }
  // Pixels over 255.
  const byStd = choosePreprocess(info({}), { mean: [0, 0, 0], std: [255, 255, 255] });
  assert.deepEqual(
    [byStd.preprocess.mean, byStd.preprocess.std],
    [
      [0, 0, 0],
      [1, 1, 1],
    ],
  );
  // Caffe's networks take the difference as it is.
  const { preprocess } = choosePreprocess(info({}), { mean: [104, 117, 123], std: [1, 1, 1] });
  assert.deepEqual(preprocess.std, [1 / 255, 1 / 255, 1 / 255]);
});

test("sides that a file's metadata names are told, if they are sides", () => {
  const sides = (metadata) => sidesIn(new Map(Object.entries(metadata)));
  assert.deepEqual(sides({ preprocess: '{"width":40,"height":60}' }), { width: 40, height: 60 });
  assert.deepEqual(sides({ task: "classify", imgsz: "[64, 48]" }), { width: 48, height: 64 });
  assert.deepEqual(sides({ task: "classify", imgsz: "[64]" }), { width: 64, height: 64 });
  for (const preprocess of ['{"width":40}', '{"width":-1,"height":"60"}', "mean 0.5 std 0.5"])
    assert.equal(sides({ preprocess }), undefined);
  // An input whose sides are fixed keeps them.
  const fixed = choosePreprocess(info({ task: "classify", imgsz: "[64, 48]" })).preprocess;
  assert.deepEqual([fixed.width, fixed.height], [224, 224]);
});

test("a file's own class names are found where there is one for each class", () => {
  const check = (names, expected) => assert.deepEqual(labelsFromMetadata(info({ names }, { classes: 3 })), expected);
  check('["a b", "c", "d"]', ["a b", "c", "d"]);
  check("{0: 'cat', 1: \"dog's\", 2: 'ox'}", ["cat", "dog's", "ox"]);
  check("a b\nc\nd", ["a b", "c", "d"]);
  check("cat dog ox", ["cat", "dog", "ox"]);
  check("['a, b', 'c', 'd']", ["a, b", "c", "d"]);
  check("{'cat': 0, 'dog': 1, 'ox': 2}", ["cat", "dog", "ox"]);
  check("0 cat\n1 dog\n2 ox", ["cat", "dog", "ox"]);
  check("cat; dog; big ox", ["cat", "dog", "big ox"]);
  check("['cat', 'dog', 'o", undefined);
  check("imagenet 1000 synset order", undefined);
});

test("what a file says about its images is checked like a manifest", () => {
  const check = (preprocess, message) =>
    assert.throws(
      () => choosePreprocess(info({ preprocess: JSON.stringify(preprocess) })),
      refuses("ModelError", message),
      JSON.stringify(preprocess),
    );
  check({ mean: { length: 1e9 } }, /metadata has a preprocess with a mean that is no list of numbers/);
  check({ mean: new Array(5).fill(0) }, /a mean that is no list/);
  check({ std: [0] }, /a std of 0/);
  check({ std: ["1"] }, /a std that is no list/);
  check({ width: 2 ** 32 }, /the width 4294967296: whole pixels from 1 to 16384/);
  check({ resize: 7 }, /the resize "7": stretch, crop and letterbox/);
  check({ order: ["RGB"] }, /the order|RGB and BGR/);
  // Options come first, whatever the file says.
  assert.equal(choosePreprocess(info({ preprocess: '{"std":[0]}' }), { mean: [0], std: [1] }).reason, "as given");
});

test("metadata is read in a time that grows with its length", () => {
  const started = performance.now();
  const long = 300_000;
  for (const text of [
    "7".repeat(long),
    " ".repeat(long) + "x",
    `a${" ".repeat(long)}b`,
    "1:'".repeat(long / 3),
    "{" + "1: 'a".repeat(long / 5),
    "-".repeat(long),
    "mean".repeat(long / 4),
    "0 ".repeat(long / 2),
    "[".repeat(long),
    "['\\".repeat(long / 3),
    "{1 ".repeat(long / 3),
    "[, ".repeat(long / 3),
    "names:" + "\n- a:".repeat(long / 5),
  ]) {
    assert.equal(labelsFromMetadata(info({ labels: text, classes: text }, { classes: 3 })), undefined);
    try {
      choosePreprocess(info({ preprocess: text, mean: text, std: text }));
    } catch (error) {
      assert.equal(error.name, "ModelError", error.stack);
    }
  }
  // Quadratic ones take minutes.
  assert.ok(performance.now() - started < 5000, `${performance.now() - started} ms`);
});

test("no manifest or address makes an error of another kind", async () => {
  const check = (source, message) => assert.rejects(readModel(source, {}), refuses("ModelError", message));
  await check(json({ file: "data:,model", name: {} }), /has a "name" that is no string/);
  await check(json({ file: "data:,model", targetLayer: 3 }), /has a "targetLayer" that is no string/);
  await check(json({ file: "data:,model", bytes: "5" }), /has a "bytes" that is no number/);
  const { fetch } = globalThis;
  globalThis.fetch = async () => new Response(Uint8Array.of(8, 1));
  try {
    assert.equal((await readModel("https://models.test/x%.onnx", {})).name, "x%.onnx");
    assert.equal((await readModel("https://models.test/a%20b.onnx", {})).name, "a b.onnx");
  } finally {
    globalThis.fetch = fetch;
  }
  assert.equal(new gradcam.GradCamError("ModelError", "n".repeat(10_000_000)).message.length, 4001);
});

test("classes are found by index, label, or one of a label's names", () => {
  const labels = ["tench, Tinca tinca", "goldfish", "7"];
  const check = (wanted, index) => assert.equal(findClass(labels, wanted), index, String(wanted));
  check(1, 1);
  check("0", 0);
  check("Goldfish", 1);
  check("Tinca tinca", 0);
  check("7", 2);
  assert.throws(() => findClass(labels, 3), refuses("TargetError", /classes 0 to 2/));
  assert.throws(() => findClass(labels, 0.5), refuses("TargetError", /no class 0.5/));
  assert.throws(() => findClass(labels, "gold"), refuses("TargetError", /did you mean "goldfish"/));
});

test("the files that a model names are fetched a few at a time, none where there are too many", async (t) => {
  let [requests, now, most] = [0, 0, 0];
  const server = createServer((request, response) => {
    requests++;
    most = Math.max(most, ++now);
    setTimeout(() => {
      now--;
      response.statusCode = request.url.endsWith("/missing") ? 404 : 200;
      response.end(request.url.slice(1));
    }, 5);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close());
  const address = `http://127.0.0.1:${server.address().port}/x.onnx`;
  const names = Array.from({ length: 40 }, (_, i) => `part ${i}`);
  const parts = await readParts(names, { address });
  assert.deepEqual(parts.map(({ name }) => name).sort(), [...names].sort());
  assert.equal(new TextDecoder().decode(await parts[0].bytes.all()), encodeURIComponent(parts[0].name));
  assert.deepEqual([requests, most <= 8], [40, true], `${requests} requests, ${most} at a time`);

  requests = 0;
  await assert.rejects(readParts([...names, "missing"], { address }), refuses("ModelError", /missing.*404/));
  assert.ok(requests <= 16, `${requests} requests`);

  requests = 0;
  const many = Array.from({ length: 5000 }, (_, i) => `${i}`);
  await assert.rejects(readParts(many, { address }), refuses("ModelError", /names 5000 files.*4096/));
  assert.equal(requests, 0);
});
