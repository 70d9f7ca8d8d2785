// The shaders: how many dispatches a network takes, and that layers have the values that the CPU computes.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import test, { after, describe } from "node:test";
import { chromium } from "./browsers.js";
import { relativeDifference } from "./fixtures.js";
import { ROOT, serveSite } from "./site.js";

const site = await serveSite();
after(() => site.close());

const PACKAGE = `${site.url}gradcam-web/index.js`;
const MODELS = join(ROOT, "../shared/models");
const skip = existsSync(MODELS) ? false : "needs ../shared";

/** Counts what the page's workers dispatch from now on. */
async function countLaunches(page) {
  for (const worker of page.driver.workers()) {
    await worker.evaluate(() => {
      const dispatch = GPUComputePassEncoder.prototype.dispatchWorkgroups;
      globalThis.dispatches ??= 0;
      GPUComputePassEncoder.prototype.dispatchWorkgroups = function (...size) {
        globalThis.dispatches += 1;
        return dispatch.apply(this, size);
      };
    });
  }
}

const dispatches = async (page) => {
  const counts = await Promise.all(
    page.driver.workers().map((worker) => worker.evaluate(() => globalThis.dispatches ?? 0)),
  );
  return counts.reduce((sum, count) => sum + count, 0);
};

/** Keeps the model for the scripts that follow. */
const load = async (address, source) => {
  const { loadModel } = await import(address);
  const model = await loadModel(source, { backend: "webgpu" });
  const { width, height, channels } = model.input;
  const tensor = Float32Array.from(
    { length: channels * height * width },
    (_, i) => (((i * 2_654_435_761) % 2 ** 32) / 2 ** 32 - 0.5) * 2,
  );
  Object.assign(globalThis, { model, tensor, shape: [1, channels, height, width] });
};

const classify = async () => {
  globalThis.prediction = await globalThis.model.classify({ tensor: globalThis.tensor, shape: globalThis.shape });
};

/**
 * What each of at most `count` layers and the scores hold on a backend: place by place, activations times gradients; and how many
 * steps the CPU did in a card's place.
 */
const maps = async (address, source, backend, count) => {
  const { loadModel } = await import(address);
  const model = await loadModel(source, { backend });
  const { width, height, channels } = model.input;
  const tensor = Float32Array.from(
    { length: channels * height * width },
    (_, i) => (((i * 2_654_435_761) % 2 ** 32) / 2 ** 32 - 0.5) * 2,
  );
  const prediction = await model.classify({ tensor, shape: [1, channels, height, width] });
  const step = Math.max(1, Math.ceil(model.layers.length / count));
  const names = model.layers
    .map(({ name }) => name)
    .reverse()
    .filter((_, i) => i % step === 0);
  const found = [["scores", [...prediction.scores]]];
  for (const targetLayer of names) {
    const { map } = await prediction.explain({ method: "hirescam", targetClass: 0, targetLayer });
    found.push([targetLayer, [...map.values]]);
  }
  return { found, cpuSteps: model.stats.cpuSteps };
};

describe("shaders", { skip }, () => {
  let browser;
  after(() => browser?.close());

  test("SqueezeNet takes no more than 30 dispatches, and its heatmap no more", async (t) => {
    browser ??= await chromium({ webgpu: true });
    const page = await browser.open(site.blank, t);
    await page.evaluate(load, PACKAGE, site.material("shared/models/squeezenet1_1_torchvision_fp16w.onnx"));
    await page.evaluate(classify);
    await countLaunches(page);
    await page.evaluate(classify);
    const forward = await dispatches(page);
    t.diagnostic(`forward: ${forward}`);
    await page.evaluate(async () => void (await globalThis.prediction.explain({ targetClass: 3 })));
    const explained = (await dispatches(page)) - forward;
    t.diagnostic(`Grad-CAM of a class: ${explained}`);
    assert.ok(forward > 0 && forward <= 30, `${forward} dispatches`);
    assert.equal(explained, 0, "what follows is the CPU's");
  });
});

test("what goes back to the page is read from the card at once", async (t) => {
  const browser = await chromium({ webgpu: true });
  t.after(() => browser.close());
  const page = await browser.open(site.blank, t);
  await page.evaluate(load, PACKAGE, site.material("data/cams/residual.onnx"));
  await page.evaluate(classify);
  for (const worker of page.driver.workers()) {
    await worker.evaluate(() => {
      const map = GPUBuffer.prototype.mapAsync;
      globalThis.readings = 0;
      GPUBuffer.prototype.mapAsync = function (...rest) {
        globalThis.readings += 1;
        return map.apply(this, rest);
      };
    });
  }
  const readings = async (task) => {
    await page.evaluate(task);
    const counts = await Promise.all(
      page.driver.workers().map((worker) =>
        worker.evaluate(() => {
          const { readings = 0 } = globalThis;
          globalThis.readings = 0;
          return readings;
        }),
      ),
    );
    return counts.reduce((sum, count) => sum + count, 0);
  };
  // The scores and what their heatmap takes; another class takes nothing more.
  assert.equal(await readings(classify), 1);
  assert.equal(await readings(async () => void (await globalThis.prediction.explain({ targetClass: 1 }))), 0);
  const middle = async () => {
    const { prediction, model } = globalThis;
    const targetLayer = model.layers[Math.floor(model.layers.length / 2)].name;
    globalThis.next = (globalThis.next ?? 0) + 1;
    await prediction.explain({ targetLayer, targetClass: globalThis.next % 2 });
  };
  // The first time at another layer its activations are read, and what the last steps' gradient takes of its own.
  assert.ok((await readings(middle)) <= 3);
  assert.equal(await readings(middle), 1);
});

describe("values of layers", () => {
  const browsers = {};
  after(() => Promise.all(Object.values(browsers).map((browser) => browser.close())));
  // Residual sums, depthwise and grouped convolutions, concatenations, flattened heads, more pixels than a dispatch has along one
  // axis, and what transformers take: at all layers, or at so many of them.
  const networks = {
    "data/cams/squeeze.onnx": Infinity,
    "data/cams/residual.onnx": Infinity,
    "data/cams/flatten.onnx": Infinity,
    "data/cams/curved.onnx": Infinity,
    "data/tokens/vit.onnx": Infinity,
    "data/tokens/swin.onnx": Infinity,
    "data/tokens/mixer.onnx": Infinity,
    "data/large.onnx": 1,
    "shared/models/resnet20_cifar10.onnx": 3,
    "shared/models/mobilenet_v1_0.25_224.onnx": 3,
    "shared/models/light/light_shufflenet.onnx": 1,
  };
  for (const [file, layers] of Object.entries(networks)) {
    test(`${file} has the CPU's maps on the GPU`, { skip: file.startsWith("shared/") && skip }, async (t) => {
      browsers.cpu ??= await chromium();
      browsers.webgpu ??= await chromium({ webgpu: true });
      const of = {};
      for (const [backend, browser] of Object.entries(browsers)) {
        const page = await browser.open(site.blank, t);
        of[backend] = await page.evaluate(maps, PACKAGE, site.material(file), backend, layers);
      }
      assert.equal(of.webgpu.cpuSteps, 0, "steps on the CPU");
      of.cpu.found.forEach(([name, expected], i) => {
        const off = relativeDifference(of.webgpu.found[i][1], expected);
        assert.ok(off < 1e-3, `${name}: ${off} off`);
      });
    });
  }
});
