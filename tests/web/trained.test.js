// Trained networks in the browser: their logits are those of onnxruntime, on both backends.

import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import test, { after, describe } from "node:test";
import { chromium } from "./browsers.js";
import { relativeDifference } from "./fixtures.js";
import { ROOT, serveSite } from "./site.js";

const site = await serveSite();
after(() => site.close());

const MODELS = join(ROOT, "../shared/models");
const skip = existsSync(MODELS) ? false : "needs ../shared";
/** Each build with the limit for its backend. */
const BUILDS = {
  cpu: { backend: "cpu", address: site.url, options: {}, tolerance: 1e-4 },
  "cpu without relaxed SIMD": { backend: "cpu", address: site.plain, options: {}, tolerance: 1e-4 },
  webgpu: { backend: "webgpu", address: site.url, options: { webgpu: true }, tolerance: 1e-3 },
};
const NETWORKS = [
  "squeezenet1_1_torchvision_fp16w",
  "mobilenet_v2_1.0_224_w8",
  "mobilenet_v1_0.25_224",
  "tiny_darknet",
  "resnet20_cifar10",
];

/** What onnxruntime gave for the input below. */
function reference(network) {
  const bytes = readFileSync(join(MODELS, `refs/${network}.logits.f32`));
  return Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readFloatLE(4 * i));
}

for (const [build, { backend, address, options, tolerance }] of Object.entries(BUILDS)) {
  describe(`trained networks on ${build}`, { skip }, () => {
    let browser;
    after(() => browser?.close());
    for (const network of NETWORKS) {
      test(`${network} on ${build} gives the logits of onnxruntime`, async (t) => {
        browser ??= await chromium(options);
        const before = site.requests.length;
        const page = await browser.open(site.blank, t);
        const found = await page.evaluate(
          async (address, model, backend) => {
            const { loadModel } = await import(address);
            const loaded = await loadModel(model, { backend });
            const { width, height, channels } = loaded.input;
            // -1..1, from a multiplicative hash of the index.
            const tensor = Float32Array.from(
              { length: channels * height * width },
              (_, i) => (((i * 2_654_435_761) % 2 ** 32) / 2 ** 32 - 0.5) * 2,
            );
            const { scores } = await loaded.classify({ tensor, shape: [1, channels, height, width] });
            return { backend: loaded.backend, scores: [...scores] };
          },
          `${address}gradcam-web/index.js`,
          site.material(`shared/models/${network}.onnx`),
          backend,
        );
        assert.equal(found.backend, backend);
        const isRelaxed = site.requests.slice(before).some((path) => site.file(path)?.includes("/relaxed/"));
        assert.equal(isRelaxed, build === "cpu");
        const off = relativeDifference(found.scores, reference(network));
        assert.ok(off < tolerance, `${off} off`);
      });
    }
  });
}
