// Many figures on one page: each is answered, by few requests, by one worker, within a memory that does not grow with them.

import assert from "node:assert/strict";
import { after } from "node:test";
import { testIn } from "./browsers.js";
import { relativeDifference } from "./fixtures.js";
import { serveSite } from "./site.js";

const site = await serveSite();
after(() => site.close());
const PACKAGE = `${site.url}gradcam-web/index.js`;

/** As many figures, and how they differ. The long form is `GRADCAM_FIGURES=200`. */
const FIGURES = Number(process.env.GRADCAM_FIGURES ?? 60);
const PICTURES = Math.round(FIGURES / 10);
const METHODS = ["grad-cam", "hirescam", "layercam", "eigen-cam"];
/** Two; Firefox takes seconds for a forward pass of the larger one on some processors (bench/NOTES.md). @param {{ name: string }} browser */
const modelsFor = ({ name }) =>
  ["data/bright.onnx", name === "firefox" ? "data/cams/squeeze.onnx" : "models/everyday/model.json"].map((model) =>
    site.material(model),
  );

const test = testIn(process.env.GRADCAM_FIGURES ? ["chromium"] : undefined);

/** Puts what is asked of the page's workers into `globalThis.asked`. */
function watchWorkers() {
  globalThis.workers = [];
  globalThis.asked = [];
  globalThis.Worker = class extends Worker {
    constructor(...args) {
      super(...args);
      globalThis.workers.push(this);
    }
    postMessage(message, ...rest) {
      globalThis.asked.push(message.op);
      super.postMessage(message, ...rest);
    }
  };
}

test(`${FIGURES} figures of ${PICTURES} pictures, 4 methods and 2 models are all right`, async (t, browser) => {
  const page = await browser.open(site.blank, t);
  await page.evaluate(watchWorkers);
  const found = await page.evaluate(
    async (address, models, methods, pictures, count) => {
      const { loadModel } = await import(address);
      const blobs = [];
      for (let i = 0; i < pictures; i++) {
        const canvas = new OffscreenCanvas(96 + 16 * (i % 4), 80);
        const context = canvas.getContext("2d");
        for (let at = 0; at < 40; at++) {
          context.fillStyle = `hsl(${(37 * at * (i + 1)) % 360} 80% ${20 + ((13 * at + 29 * i) % 60)}%)`;
          context.fillRect((31 * at * (i + 2)) % canvas.width, (17 * at + 11 * i) % 80, 24, 18);
        }
        blobs.push(await canvas.convertToBlob());
      }
      const addresses = blobs.map((blob) => URL.createObjectURL(blob));
      const combinations = Array.from({ length: count }, (_, i) => ({
        picture: i % pictures,
        method: methods[Math.floor(i / pictures) % methods.length],
        model: models[Math.floor(i / pictures / methods.length) % models.length],
      }));
      const explained = combinations.map(({ picture, method, model }) => {
        const figure = document.createElement("grad-cam");
        Object.assign(figure, { src: addresses[picture], alt: `picture ${picture}`, method, model });
        Object.assign(figure, { backend: "cpu", loading: "eager" });
        const events = [];
        figure.addEventListener("load", () => events.push("load"));
        document.body.append(figure);
        return new Promise((resolve, reject) => {
          figure.addEventListener("explain", ({ detail }) =>
            resolve({ ...detail, events, scores: detail.prediction.scores, stats: detail.prediction.model.stats }),
          );
          figure.addEventListener("error", ({ detail }) => reject(detail));
        });
      });
      const figures = await Promise.all(explained);
      const asked = [...globalThis.asked];
      // Each by itself, one after the other.
      const expected = new Map();
      for (const model of models) {
        const loaded = await loadModel(model, { backend: "cpu" });
        for (const { picture, method, model: of } of combinations) {
          const key = [picture, method, of].join();
          if (of !== model || expected.has(key)) continue;
          expected.set(key, (await (await loaded.classify(blobs[picture])).explain({ method })).map.values);
        }
        loaded.dispose();
      }
      return {
        asked,
        workers: globalThis.workers.length,
        figures: figures.map(({ map, events, method }) => ({ map: map.values, events, method })),
        expected: combinations.map(({ picture, method, model }) => expected.get([picture, method, model].join())),
        methods: combinations.map(({ method }) => method),
        memory: Math.max(...figures.map(({ stats }) => stats.memory)),
      };
    },
    PACKAGE,
    modelsFor(browser),
    METHODS,
    PICTURES,
    FIGURES,
  );
  assert.equal(found.workers, 1);
  const requests = found.asked.filter((op) => op === "classify" || op === "explain").length;
  assert.ok(requests <= 2 * FIGURES, `${requests} requests`);
  assert.equal(found.asked.filter((op) => op === "load").length, 2, "one copy of each model");
  found.figures.forEach(({ map, events, method }, i) => {
    assert.deepEqual([events, method], [["load"], found.methods[i]]);
    assert.ok(relativeDifference(map, found.expected[i]) < 1e-5, `figure ${i}`);
  });
  assert.ok(found.memory < 256e6, `${found.memory} bytes`);
  t.diagnostic(`${requests} requests, ${Math.round(found.memory / 1e6)} MB`);
});

test("predictions that are asked about in turn are answered, however many", async (t, browser) => {
  const page = await browser.open(site.blank, t);
  await page.evaluate(watchWorkers);
  const count = 40;
  const { asked, wrong } = await page.evaluate(
    async (address, model, count) => {
      const { loadModel } = await import(address);
      const loaded = await loadModel(model, { backend: "cpu" });
      const { width, height, channels } = loaded.input;
      const tensor = (i) => new Float32Array(width * height * channels).map((_, at) => Math.sin(at * (i + 1)));
      const images = Array.from({ length: count }, (_, i) => ({
        tensor: tensor(i),
        shape: [1, channels, height, width],
      }));
      const maps = await Promise.all(
        images.map(async (image) => (await (await loaded.classify(image)).explain()).map.values),
      );
      const { asked } = globalThis;
      globalThis.asked = [];
      let wrong = 0;
      for (const [i, image] of images.entries()) {
        const { map } = await loaded.explain(image);
        if (map.values.some((value, at) => value !== maps[i][at])) wrong++;
      }
      return { asked, wrong };
    },
    PACKAGE,
    modelsFor(browser)[1],
    count,
  );
  assert.equal(wrong, 0);
  assert.ok(asked.filter((op) => op === "classify" || op === "explain").length <= 2 * count, `${asked}`);
});

test("what is in the window goes first", async (t, browser) => {
  const page = await browser.open(site.blank, t);
  const order = await page.evaluate(
    async (address, model, photo) => {
      await import(address);
      const order = [];
      const figures = Array.from({ length: 16 }, (_, i) => {
        const figure = Object.assign(document.createElement("grad-cam"), {
          src: `${photo}?${i}`,
          model,
          backend: "cpu",
          loading: "eager",
        });
        figure.style.display = "block";
        figure.style.height = "600px";
        figure.addEventListener("explain", () => order.push(i));
        return figure;
      });
      document.body.append(...figures);
      figures[12].scrollIntoView();
      await new Promise((resolve) => {
        figures.at(-1).addEventListener("explain", resolve);
        const timer = setInterval(() => order.length === 16 && (clearInterval(timer), resolve()), 20);
      });
      while (order.length < 16) await new Promise((resolve) => setTimeout(resolve, 20));
      return order;
    },
    PACKAGE,
    modelsFor(browser)[1],
    site.material("data/images/photo.jpg"),
  );
  // Two may have been taken up before the others asked, and each fourth is the one that waited longest.
  assert.ok(order.indexOf(12) <= 3, `${order}`);
  assert.ok(order.indexOf(12) < order.indexOf(6), `${order}`);
});
