// Every method in the browser against the libraries, its options, and concepts.

import assert from "node:assert/strict";
import test, { after, describe } from "node:test";
import { METHODS } from "../../pkg/tables.js";
import { chromium } from "./browsers.js";
import { readFixture, relativeDifference } from "./fixtures.js";
import { serveSite } from "./site.js";

const site = await serveSite();
const browsers = { cpu: await chromium(), webgpu: await chromium({ webgpu: true }) };
after(() => Promise.all([...Object.values(browsers).map((browser) => browser.close()), site.close()]));

const PACKAGE = `${site.url}gradcam-web/index.js`;
const fixture = readFixture("cams/flatten.safetensors");
const [targetClass, contrastClass] = fixture.fact("classes");
const targetLayer = fixture.fact("layers").late.value;
const [, , HEIGHT, WIDTH] = fixture.tensor("input").shape;

/** What is random, what has no map in the fixture, and what this network can't have. */
const WITHOUT_MAP = ["ss-cam", "smooth-grad-cam++", "refine-cam", "guided-backprop", "guided-grad-cam", "occlusion", "cam"];

for (const [backend, browser] of Object.entries(browsers)) {
  describe(backend, () => {
    /** Runs a script in a page with the prediction for the fixture's input. */
    const shown = async (t, script, ...args) => {
      const page = await browser.open(site.blank, t);
      return page.evaluate(`async (address, source, backend, input, ...args) => {
        const { loadModel } = await import(address);
        const model = await loadModel(source, { backend });
        const prediction = await model.classify({ tensor: Float32Array.from(input.values), shape: input.shape });
        return (${script})(prediction, ...args);
      }`, PACKAGE, site.material("data/cams/flatten.onnx"), backend, fixture.tensor("input"), ...args);
    };

    test("maps of all methods are those of the libraries", async (t) => {
      const names = METHODS.map(({ name }) => name).filter((name) => !WITHOUT_MAP.includes(name));
      const maps = await shown(t, async (prediction, names, options) => {
        const maps = [];
        for (const method of names) maps.push((await prediction.explain({ ...options, method })).map.values);
        return maps;
      }, names, { targetClass, targetLayer });
      names.forEach((name, i) => {
        const expected = fixture.tensor(`${name === "fullgrad" ? "input" : "late"}/${targetClass}/${name}/map`).values;
        assert.ok(relativeDifference(maps[i], expected) < 1e-3, `${name}: ${relativeDifference(maps[i], expected)}`);
      });
    });

    test("contrast and smoothing are those of pytorch-grad-cam", async (t) => {
      const cases = [
        [{ ratherThan: contrastClass }, `late/${targetClass}-${contrastClass}/grad-cam/map`],
        [{ eigenSmooth: true }, `late/${targetClass}/grad-cam+eigen_smooth/map`],
        [{ augSmooth: true }, `late/${targetClass}/grad-cam+aug_smooth/heatmap`],
      ];
      const maps = await shown(t, async (prediction, cases, options) => {
        const maps = [];
        for (const [more] of cases) maps.push((await prediction.explain({ ...options, ...more })).map.values);
        return maps;
      }, cases, { targetClass, targetLayer });
      cases.forEach(([, name], i) => assert.ok(relativeDifference(maps[i], fixture.tensor(name).values) < 1e-3, name));
    });

    test("concepts are found, named by their classes, and drawn", async (t) => {
      const found = await shown(t, async (prediction) => {
        const heard = [];
        const factorization = await prediction.factorize({ concepts: 3, onProgress: (fraction) => heard.push(fraction) });
        const canvas = document.createElement("canvas");
        factorization.draw(canvas, { opacity: 1 });
        const errors = await Promise.all([0, 17, 1.5].map((concepts) => prediction.factorize({ concepts }).then(() => "none", ({ name }) => name)));
        return {
          concepts: factorization.concepts.map(({ map, color, note }, i) => ({ least: Math.min(...map.values), color, note, top: factorization.concepts[i].top(2) })),
          size: [canvas.width, canvas.height],
          last: heard.at(-1),
          errors,
        };
      });
      assert.deepEqual(found.concepts.map(({ color }) => color), ["rgb(255 0 0)", "rgb(0 255 0)", "rgb(0 0 255)"]);
      assert.ok(found.concepts.every(({ least, top }) => least >= 0 && top.length === 2 && top[0].probability >= top[1].probability));
      assert.deepEqual([found.size, found.last], [[WIDTH, HEIGHT], 1]);
      assert.deepEqual(found.errors, ["TargetError", "TargetError", "TargetError"]);
    });

    test("a method of many runs stops when it is told to", async (t) => {
      const found = await shown(t, async (prediction) => {
        const before = prediction.model.stats.stepsRun;
        const controller = new AbortController();
        const heard = [];
        const onProgress = (fraction) => {
          heard.push(fraction);
          controller.abort();
        };
        const name = await prediction.explain({ method: "ss-cam", onProgress, signal: controller.signal }).then(() => "none", ({ name }) => name);
        await prediction.explain({ method: "grad-cam" });
        const part = prediction.model.stats.stepsRun - before;
        await prediction.explain({ method: "ss-cam" });
        return { name, part, whole: prediction.model.stats.stepsRun - before - part, heard: heard.length };
      });
      assert.equal(found.name, "AbortError");
      assert.ok(found.part < found.whole / 4, `${found.part} of ${found.whole} steps after stopping`);
    });
  });
}
