// One page for a long time: pictures, loads and changes of mind without end leave it as right, and as large, as it was.

import assert from "node:assert/strict";
import { after } from "node:test";
import { testIn } from "./browsers.js";
import { serveSite } from "./site.js";

const site = await serveSite();
after(() => site.close());
const PACKAGE = `${site.url}gradcam-web/index.js`;
const MODELS = [site.material("data/bright.onnx"), site.material("data/cams/squeeze.onnx")];

/** How many pictures and loads. The long forms are `GRADCAM_IMAGES=2500` and `GRADCAM_LOADS=500`. */
const IMAGES = Number(process.env.GRADCAM_IMAGES ?? 60);
const LOADS = Number(process.env.GRADCAM_LOADS ?? 40);
/** What is asked for alone, of the two. */
const WANTS_IMAGES = !process.env.GRADCAM_LOADS;
const WANTS_LOADS = !process.env.GRADCAM_IMAGES;

const test = testIn(WANTS_IMAGES && WANTS_LOADS ? undefined : ["chromium"]);

/** Puts into the page what all tests use: pictures that differ, and a way to compare maps. */
async function opened(t, browser) {
  const page = await browser.open(site.blank, t);
  await page.evaluate(async (address) => {
    globalThis.package = await import(address);
    globalThis.picture = async (i) => {
      const canvas = new OffscreenCanvas(64 + (i % 7) * 8, 48 + (i % 5) * 8);
      const context = canvas.getContext("2d");
      for (let at = 0; at < 12; at++) {
        context.fillStyle = `hsl(${(37 * at * (i + 1)) % 360} 80% ${20 + ((13 * at + 29 * i) % 60)}%)`;
        context.fillRect((31 * at * (i + 2)) % canvas.width, (17 * at + 11 * i) % canvas.height, 16, 12);
      }
      return canvas.convertToBlob({ type: i % 2 ? "image/png" : "image/jpeg" });
    };
    globalThis.isSame = (a, b) => a.length === b.length && a.every((value, at) => value === b[at]);
  }, PACKAGE);
  return page;
}

/**
 * A memory that has settled stays within a twentieth; a short run only begins to settle.
 *
 * @param {number[]} memory after each turn, in bytes @param {number} from which turn on
 */
function assertSettled(memory, from, t) {
  const isLong = memory.length > from;
  const settled = memory[isLong ? from : Math.floor(memory.length / 2)];
  const megabytes = [memory[0], settled, memory.at(-1)].map((bytes) => (bytes / 1e6).toFixed(1));
  t.diagnostic(`${megabytes.join(" → ")} MB`);
  assert.ok(Math.max(...memory.slice(-10)) <= (isLong ? 1.05 : 1.5) * settled, megabytes.join(" → "));
}

test(
  `${IMAGES} pictures in one page are all right, and its memory settles`,
  async (t, browser) => {
    const page = await opened(t, browser);
    const { wrong, memory } = await page.evaluate(
      async (file, count) => {
        const { package: gradcam, picture, isSame } = globalThis;
        const model = await gradcam.loadModel(file, { backend: "cpu" });
        // As many as come again in turn; each must have the map that it had first.
        const kinds = await Promise.all(Array.from({ length: 35 }, (_, i) => picture(i)));
        const [first, memory] = [[], []];
        let wrong = 0;
        for (let i = 0; i < count; i++) {
          const { map } = await model.explain(kinds[i % kinds.length]);
          first[i % kinds.length] ??= map.values;
          if (!isSame(first[i % kinds.length], map.values)) wrong++;
          memory.push(model.stats.memory);
        }
        return { wrong, memory };
      },
      MODELS[0],
      IMAGES,
    );
    assert.equal(wrong, 0);
    assertSettled(memory, 500, t);
  },
  { skip: !WANTS_IMAGES },
);

test(
  `${LOADS} loads and disposals leave nothing behind`,
  async (t, browser) => {
    const page = await opened(t, browser);
    const { wrong, memory, workers } = await page.evaluate(
      async (files, count) => {
        const { package: gradcam, picture, isSame } = globalThis;
        let workers = 0;
        globalThis.Worker = class extends Worker {
          constructor(...args) {
            super(...args);
            workers++;
          }
        };
        const image = await picture(3);
        const blobs = await Promise.all(files.map(async (file) => (await fetch(file)).blob()));
        const [first, memory] = [[], []];
        let wrong = 0;
        for (let i = 0; i < count; i++) {
          const model = await gradcam.loadModel(blobs[i % 2], { backend: "cpu" });
          const { map } = await model.explain(image);
          first[i % 2] ??= map.values;
          if (!isSame(first[i % 2], map.values)) wrong++;
          memory.push(model.stats.memory);
          model.dispose();
        }
        return { wrong, memory, workers };
      },
      MODELS,
      LOADS,
    );
    assert.equal(wrong, 0);
    assert.ok(workers <= 1 + LOADS / 20, `${workers} workers`);
    assertSettled(memory, 200, t);
  },
  { skip: !WANTS_LOADS },
);

test("two models in turn, and questions that are stopped at any moment, never mix up their answers", async (t, browser) => {
  const page = await opened(t, browser);
  const outcomes = await page.evaluate(
    async (files, count) => {
      const { package: gradcam, picture, isSame } = globalThis;
      const models = await Promise.all(files.map((file) => gradcam.loadModel(file, { backend: "cpu" })));
      const images = [await picture(1), await picture(2)];
      const expected = [];
      for (const model of models) for (const image of images) expected.push((await model.explain(image)).map.values);
      const outcomes = {};
      const asked = Array.from({ length: count }, async (_, i) => {
        const stop = new AbortController();
        // Every third is stopped, some before anything was done.
        if (i % 3 === 0) setTimeout(() => stop.abort(), (i * 13) % 40);
        const [model, image] = [i % 2, (i >> 1) % 2];
        const outcome = await models[model].explain(images[image], { signal: stop.signal }).then(
          ({ map }) => (isSame(map.values, expected[2 * model + image]) ? "right" : "wrong"),
          ({ name }) => (i % 3 === 0 ? name : `not stopped, but ${name}`),
        );
        outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
      });
      await Promise.all(asked);
      return outcomes;
    },
    MODELS,
    Math.min(IMAGES, 400),
  );
  t.diagnostic(JSON.stringify(outcomes));
  assert.deepEqual(
    Object.keys(outcomes).filter((outcome) => !["right", "AbortError"].includes(outcome)),
    [],
  );
});
