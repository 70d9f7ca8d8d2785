// Measures and the sanity check through the package, in a real browser.

import assert from "node:assert/strict";
import test, { after, before, describe } from "node:test";
import { chromium } from "./browsers.js";
import { readFixture, relativeDifference } from "./fixtures.js";
import { serveSite } from "./site.js";

const site = await serveSite();
after(() => site.close());
const PACKAGE = `${site.url}gradcam-web/index.js`;
const NETWORK = site.material("data/cams/residual.onnx");

const { value: late } = readFixture("cams/residual.safetensors").fact("layers").late;
const input = readFixture("cams/residual.safetensors").tensor("input");

for (const backend of ["cpu", "webgpu"]) {
  describe(`judging explanations on ${backend}`, () => {
    let browser;
    before(async () => {
      browser = await chromium({ webgpu: backend === "webgpu" });
    });
    after(() => browser?.close());

    test("measures are those of torch-cam and pytorch-grad-cam", async (t) => {
      const page = await browser.open(site.blank, t);
      const found = await page.evaluate(
        async (address, network, backend, input, targetLayer) => {
          const { loadModel } = await import(address);
          const model = await loadModel(network, { backend });
          const prediction = await model.classify({ tensor: Float32Array.from(input.values), shape: input.shape });
          const explanation = await prediction.explain({ targetLayer, targetClass: 1 });
          const progress = [];
          const measures = await explanation.measure({ noise: 0, onProgress: (fraction) => progress.push(fraction) });
          return { backend: model.backend, measures, progress };
        },
        PACKAGE,
        NETWORK,
        backend,
        input,
        late,
      );

      assert.equal(found.backend, backend);
      const fixture = readFixture("metrics.safetensors");
      const { drop, increase, scoreChange, deletion, insertion, road, coherency, complexity, arcc } = found.measures;
      const close = (measure, numbers) => {
        const off = relativeDifference(Array.from(numbers), fixture.tensor(`residual/1/grad-cam/${measure}`).values);
        assert.ok(off < 1e-3, `${measure}: ${off} off`);
      };
      close("average_drop", [drop]);
      assert.equal(increase, false);
      close("change", [scoreChange]);
      close("fractions", deletion.fractions);
      close("deletion", deletion.probabilities);
      close("insertion", insertion.probabilities);
      close("deletion_area", [deletion.area]);
      close("insertion_area", [insertion.area]);
      assert.deepEqual(Array.from(road.percentiles), [10, 20, 30, 40, 50, 60, 70, 80, 90]);
      close("road_morf", road.mostRelevantFirst);
      close("road_lerf", road.leastRelevantFirst);
      close("road", [road.combined]);
      close("coherency", [coherency]);
      close("complexity", [complexity]);
      close("arcc", [arcc]);
      assert.ok(found.progress.length > 5 && found.progress.at(-1) === 1, `progress ${found.progress}`);
    });

    test("the sanity check shows Grad-CAM's maps collapse, and can be repeated", async (t) => {
      const page = await browser.open(site.blank, t);
      const found = await page.evaluate(
        async (address, network, backend, input, targetLayer) => {
          const { loadModel } = await import(address);
          const model = await loadModel(network, { backend });
          const prediction = await model.classify({ tensor: Float32Array.from(input.values), shape: input.shape });
          const original = await prediction.explain({ targetLayer });
          const check = () => prediction.sanityCheck({ targetLayer, steps: 3, seed: 7 });
          const steps = await check();
          const again = await check();
          const against = await prediction.sanityCheck({ targetLayer, steps: 3, seed: 7, target: "against" });
          const after = await prediction.explain({ targetLayer });
          const canvas = document.createElement("canvas");
          steps[0].explanation.draw(canvas);
          return {
            backend: model.backend,
            against: against.map(({ explanation, map }) => ({ target: explanation.target, map: map.values })),
            maps: steps.map(({ map }) => map.values),
            steps: steps.map(({ layer, randomised, rankCorrelation, explanation, map, heatmap }) => ({
              layer,
              randomised,
              rankCorrelation,
              method: explanation.method,
              targetClass: explanation.targetClass,
              size: [map.width, map.height],
              heatmap: heatmap.values,
            })),
            same: steps.every(({ rankCorrelation }, i) => rankCorrelation === again[i].rankCorrelation),
            unchanged: original.map.values.every((value, i) => value === after.map.values[i]),
            targetClass: original.targetClass,
            size: [original.map.width, original.map.height],
            canvas: [canvas.width, canvas.height],
          };
        },
        PACKAGE,
        NETWORK,
        backend,
        input,
        late,
      );
      assert.equal(found.backend, backend);
      assert.equal(found.steps.length, 3);
      // What speaks against a class is the negative of what speaks for it, in each of the networks.
      found.against.forEach(({ target, map }, i) => {
        assert.equal(target, "against");
        assert.ok(
          relativeDifference(
            map,
            found.maps[i].map((value) => -value),
          ) < 1e-4,
        );
      });
      assert.equal(found.steps[0].randomised, 1);
      assert.ok(found.same, "the same seed gives the same networks");
      assert.ok(found.unchanged, "the model itself stays as it was");
      assert.deepEqual(found.canvas, input.shape.slice(2).reverse());
      for (const { method, targetClass, size, heatmap, rankCorrelation } of found.steps) {
        assert.equal(method, "grad-cam");
        assert.equal(targetClass, found.targetClass);
        assert.deepEqual(size, found.size);
        assert.ok(heatmap.every((value) => value >= 0 && value <= 1));
        assert.ok(rankCorrelation < 0.9, `rank correlation ${rankCorrelation}`);
      }
    });
  });
}

describe("judging explanations", () => {
  let browser;
  before(async () => {
    browser = await chromium();
  });
  after(() => browser?.close());

  test("a measure is stopped at once, and the next request is served soon", async (t) => {
    const page = await browser.open(site.blank, t);
    const found = await page.evaluate(
      async (address, network, input) => {
        const { loadModel } = await import(address);
        const model = await loadModel(network, { backend: "cpu" });
        const prediction = await model.classify({ tensor: Float32Array.from(input.values), shape: input.shape });
        const explanation = await prediction.explain();
        const whole = performance.now();
        // As many steps as there are pixels: thousands of passes.
        const controller = new AbortController();
        let passed = 0;
        const stopped = explanation
          .measure({
            steps: 100_000,
            signal: controller.signal,
            onProgress: (fraction) => {
              passed = fraction;
              controller.abort();
            },
          })
          .then(
            () => undefined,
            ({ name }) => name,
          );
        const name = await stopped;
        const aborted = performance.now();
        await prediction.explain();
        return { name, passed, waited: performance.now() - aborted, ran: aborted - whole };
      },
      PACKAGE,
      NETWORK,
      input,
    );
    assert.equal(found.name, "AbortError");
    assert.ok(found.passed < 0.1, `${found.passed} of the work was done`);
    assert.ok(found.waited < 2000, `the next request waited for ${found.waited} ms`);
  });

  test("option values that make no sense are refused", async (t) => {
    const page = await browser.open(site.blank, t);
    const found = await page.evaluate(
      async (address, network, input) => {
        const { loadModel } = await import(address);
        const model = await loadModel(network, { backend: "cpu" });
        const prediction = await model.classify({ tensor: Float32Array.from(input.values), shape: input.shape });
        const explanation = await prediction.explain();
        const tries = [
          () => explanation.measure({ steps: 0 }),
          () => explanation.measure({ steps: 2.5 }),
          () => explanation.measure({ noise: -1 }),
          () => explanation.measure({ seed: -1 }),
          () => prediction.sanityCheck({ steps: 0 }),
          () => prediction.sanityCheck({ seed: "x" }),
          () => prediction.sanityCheck({ method: "guess" }),
        ];
        const names = [];
        for (const attempt of tries)
          names.push(
            await attempt().then(
              () => undefined,
              ({ name }) => name,
            ),
          );
        return names;
      },
      PACKAGE,
      NETWORK,
      input,
    );
    assert.deepEqual(found, Array(7).fill("TargetError"));
  });
});
