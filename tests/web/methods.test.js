// Every method in the browser against the libraries, its options, and concepts.

import assert from "node:assert/strict";
import test, { after, describe } from "node:test";
import { METHODS } from "../../pkg/catalog.js";
import { chromium } from "./browsers.js";
import { readFixture, relativeDifference } from "./fixtures.js";
import { serveSite } from "./site.js";

const site = await serveSite();
const browsers = { cpu: await chromium(), webgpu: await chromium({ webgpu: true }) };
after(() => Promise.all([...Object.values(browsers).map((browser) => browser.close()), site.close()]));

const PACKAGE = `${site.url}gradcam-web/index.js`;
const fixture = readFixture("cams/flatten.safetensors");
const [targetClass, contrastClass] = fixture.fact("classes");
const {
  early: { value: earlyLayer },
  late: { value: targetLayer },
} = fixture.fact("layers");
const [, , HEIGHT, WIDTH] = fixture.tensor("input").shape;

const pooled = readFixture("cams/gap.safetensors");
const defaults = readFixture("defaults.safetensors");
const guided = readFixture("guided.safetensors");
const transformer = readFixture("tokens/vit.safetensors");

/** The largest difference from a library's numbers, relative to the largest of them. */
const TOLERANCE = 1e-3;

/**
 * What a library says of a method. Most of it is of one network at one layer; a method of several layers gives a heatmap,
 * and what a library leaves signed for each channel of the input (one here) the package shows by its size.
 */
function reference(method) {
  const at = (layer, from = fixture) => from.tensor(`${layer}/${targetClass}/${method}/map`).values;
  const of = { network: "flatten", options: { method, targetClass, targetLayer }, kind: "map" };
  switch (method) {
    case "ss-cam":
    case "smooth-grad-cam++":
      return { ...of, values: at("late", defaults) };
    case "occlusion":
      return { ...of, values: at("input", defaults) };
    case "fullgrad":
      return { ...of, values: at("input") };
    case "guided-backprop":
    case "guided-grad-cam":
      return { ...of, values: at("flatten", guided).map(Math.abs) };
    case "refine-cam": {
      const options = { method, targetClass, targetLayer: [earlyLayer, targetLayer] };
      return {
        ...of,
        options,
        kind: "heatmap",
        values: fixture.tensor(`multi/${targetClass}/${method}/heatmap`).values,
      };
    }
    case "cam": {
      const [targetClass] = pooled.fact("classes");
      return {
        network: "gap",
        options: { method, targetClass },
        kind: "map",
        values: pooled.tensor(`late/${targetClass}/${method}/map`).values,
      };
    }
    case "attention-rollout":
    case "legrad": {
      const [targetClass] = transformer.fact("classes");
      return {
        network: "vit",
        options: { method, targetClass },
        kind: "map",
        values: transformer.tensor(`input/${targetClass}/${method}/map`).values,
      };
    }
    default:
      return { ...of, values: at("late") };
  }
}

for (const [backend, browser] of Object.entries(browsers)) {
  describe(backend, () => {
    /** A page for each network, kept: the software GPU takes its time to compile what runs there. */
    const pages = new Map();
    /** Runs a script with the prediction for the input of a network's fixture. */
    const shownBy = async (network, { tensor }, script, ...args) => {
      if (!pages.has(network)) {
        const page = await browser.open(site.blank);
        const used = await page.evaluate(
          async (address, source, backend, input) => {
            const { loadModel } = await import(address);
            const model = await loadModel(source, { backend });
            globalThis.prediction = await model.classify({
              tensor: Float32Array.from(input.values),
              shape: input.shape,
            });
            return model.backend;
          },
          PACKAGE,
          site.material(`data/${network === "vit" ? "tokens" : "cams"}/${network}.onnx`),
          backend,
          tensor("input"),
        );
        assert.equal(used, backend);
        pages.set(network, page);
      }
      return pages.get(network).evaluate(`async (...args) => (${script})(globalThis.prediction, ...args)`, ...args);
    };
    const shown = (script, ...args) => shownBy("flatten", fixture, script, ...args);

    test("maps of all methods are those of the libraries", async () => {
      const references = METHODS.map(({ name }) => reference(name));
      for (const [network, of] of Object.entries({ flatten: fixture, gap: pooled, vit: transformer })) {
        const chosen = references.filter((reference) => reference.network === network);
        const maps = await shownBy(
          network,
          of,
          async (prediction, wanted) => {
            const maps = [];
            for (const { options, kind } of wanted) maps.push((await prediction.explain(options))[kind].values);
            return maps;
          },
          chosen.map(({ options, kind }) => ({ options, kind })),
        );
        chosen.forEach(({ options: { method }, values }, i) => {
          const off = relativeDifference(maps[i], values);
          assert.ok(off < TOLERANCE, `${method}: ${off}`);
        });
      }
    });

    test("targets other than one class, and smoothing, are those of pytorch-grad-cam", async () => {
      const ratherThan = contrastClass;
      const cases = [
        [{ ratherThan }, `${targetClass}-${contrastClass}/grad-cam/map`],
        [{ ratherThan, method: "layercam" }, `${targetClass}-${contrastClass}/layercam/map`],
        [{ ratherThan, method: "score-cam" }, `${targetClass}-${contrastClass}/score-cam/map`],
        [{ target: "against" }, `${targetClass}/counterfactual/map`],
        [{ target: "score-and-probability", method: "shapley-cam" }, `${targetClass}/shapley-cam@rest/map`],
        [{ eigenSmooth: true }, `${targetClass}/grad-cam+eigen_smooth/map`],
        [{ augSmooth: true }, `${targetClass}/grad-cam+aug_smooth/heatmap`],
      ];
      const maps = await shown(
        async (prediction, cases, options) => {
          const maps = [];
          for (const [more] of cases) maps.push((await prediction.explain({ ...options, ...more })).map.values);
          return maps;
        },
        cases,
        { targetClass, targetLayer },
      );
      cases.forEach(([, name], i) => {
        const off = relativeDifference(maps[i], fixture.tensor(`late/${name}`).values);
        assert.ok(off < TOLERANCE, `${name}: ${off}`);
      });
    });

    test("concepts are found, named by their classes, and drawn", async () => {
      const found = await shown(async (prediction) => {
        const heard = [];
        const factorization = await prediction.factorize({
          concepts: 3,
          onProgress: (fraction) => heard.push(fraction),
        });
        const canvas = document.createElement("canvas");
        factorization.draw(canvas, { opacity: 1 });
        const errors = await Promise.all(
          [0, 17, 1.5].map((concepts) =>
            prediction.factorize({ concepts }).then(
              () => "none",
              ({ name }) => name,
            ),
          ),
        );
        return {
          concepts: factorization.concepts.map(({ map, color, note }, i) => ({
            least: Math.min(...map.values),
            color,
            note,
            top: factorization.concepts[i].top(2),
          })),
          size: [canvas.width, canvas.height],
          last: heard.at(-1),
          errors,
        };
      });
      assert.deepEqual(
        found.concepts.map(({ color }) => color),
        ["rgb(255 0 0)", "rgb(0 255 0)", "rgb(0 0 255)"],
      );
      assert.ok(
        found.concepts.every(
          ({ least, top }) => least >= 0 && top.length === 2 && top[0].probability >= top[1].probability,
        ),
      );
      assert.deepEqual([found.size, found.last], [[WIDTH, HEIGHT], 1]);
      assert.deepEqual(found.errors, ["TargetError", "TargetError", "TargetError"]);
    });

    test("a method of many runs stops when it is told to", async () => {
      const found = await shown(async (prediction) => {
        const before = prediction.model.stats.stepsRun;
        const controller = new AbortController();
        const heard = [];
        const onProgress = (fraction) => {
          heard.push(fraction);
          controller.abort();
        };
        const name = await prediction.explain({ method: "ss-cam", onProgress, signal: controller.signal }).then(
          () => "none",
          ({ name }) => name,
        );
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

test("concepts of WebGPU are those of the CPU", async (t) => {
  const page = await browsers.webgpu.open(site.blank, t);
  const [cpu, webgpu] = await page.evaluate(
    async (address, source, input) => {
      const { loadModel } = await import(address);
      const found = [];
      for (const backend of ["cpu", "webgpu"]) {
        const model = await loadModel(source, { backend });
        const prediction = await model.classify({ tensor: Float32Array.from(input.values), shape: input.shape });
        const { concepts } = await prediction.factorize({ concepts: 3, seed: 5 });
        found.push({
          backend: model.backend,
          concepts: concepts.map((concept) => ({ map: [...concept.map.values], top: concept.top(1)[0] })),
        });
      }
      return found;
    },
    PACKAGE,
    site.material("data/cams/gap.onnx"),
    pooled.tensor("input"),
  );
  assert.deepEqual([cpu.backend, webgpu.backend], ["cpu", "webgpu"]);
  cpu.concepts.forEach(({ map, top }, i) => {
    const off = relativeDifference(webgpu.concepts[i].map, map);
    assert.ok(off < TOLERANCE, `concept ${i}: ${off}`);
    assert.equal(webgpu.concepts[i].top.index, top.index);
    assert.ok(Math.abs(webgpu.concepts[i].top.probability - top.probability) < TOLERANCE);
  });
});

test("a dead map is said in words, and leaves the picture as it is", async (t) => {
  const squeeze = readFixture("cams/squeeze.safetensors");
  const page = await browsers.cpu.open(site.blank, t);
  const found = await page.evaluate(
    async (address, source, input, targetClass, targetLayer) => {
      const { loadModel } = await import(address);
      const model = await loadModel(source, { backend: "cpu" });
      const prediction = await model.classify({ tensor: Float32Array.from(input.values), shape: input.shape });
      const found = {};
      for (const method of ["counterfactual", "grad-cam"]) {
        const explanation = await prediction.explain({ method, targetClass, targetLayer });
        const canvas = document.createElement("canvas");
        explanation.draw(canvas);
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        // A tensor has no picture: what is under the heatmap is white.
        found[method] = { note: explanation.note, isWhite: data.every((level) => level === 255) };
      }
      return found;
    },
    PACKAGE,
    site.material("data/cams/squeeze.onnx"),
    squeeze.tensor("input"),
    squeeze.fact("classes")[0],
    squeeze.fact("layers").late.value,
  );
  assert.deepEqual(found.counterfactual, {
    note: "No place at this layer speaks against this class: all evidence is for it or absent.",
    isWhite: true,
  });
  assert.deepEqual(found["grad-cam"], { note: "Warm places speak most for this class.", isWhite: false });
});

test("each heatmap says what its warm places are, in every language", async (t) => {
  const page = await browsers.cpu.open(site.blank, t);
  const ways = [
    [{ method: "hirescam" }, "Warm places speak most for this class."],
    [{ method: "hirescam", target: "against" }, "Warm places speak most against this class."],
    [{ method: "counterfactual" }, "Warm places speak most against this class."],
    [{ method: "fullgrad", target: "against" }, "Warm places change the score of this class most, up or down."],
    [{ method: "eigen-cam" }, "Warm places stand out most at this layer, whatever the class."],
  ];
  const found = await page.evaluate(
    async (address, source, input, ways) => {
      const { WORDS, loadModel } = await import(address);
      const model = await loadModel(source, { backend: "cpu" });
      const prediction = await model.classify({ tensor: Float32Array.from(input.values), shape: input.shape });
      const found = [];
      for (const [options] of ways) {
        const { note } = await prediction.explain({ ...options, targetClass: 0 });
        found.push([options, note, Object.values(WORDS).every((words) => words[note])]);
      }
      return found;
    },
    PACKAGE,
    site.material("data/cams/flatten.onnx"),
    fixture.tensor("input"),
    ways,
  );
  assert.deepEqual(
    found,
    ways.map((way) => [...way, true]),
  );
});
