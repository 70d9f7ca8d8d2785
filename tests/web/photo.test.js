// Photos dropped on the page: classes and heatmaps are those of the same program run natively, on both backends.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import test, { after, describe } from "node:test";
import { chromium } from "./browsers.js";
import { relativeDifference } from "./fixtures.js";
import { ROOT, serveSite } from "./site.js";

const site = await serveSite();
after(() => site.close());

const MANIFEST = "www/models/everyday/model.json";
/** Not square, turned by EXIF, grey, and what a camera made. */
const PICTURES = [
  "tests/data/images/photo.jpg",
  "tests/data/images/portrait.jpg",
  "tests/data/images/orientation_6.jpg",
  "tests/data/images/grey.jpg",
  ...["cat_chelsea.jpg", "espresso.jpg"]
    .map((name) => `../shared/photos/${name}`)
    .filter((path) => existsSync(join(ROOT, path))),
];

/** What the program says natively: scores, map and heatmap. */
function natively(picture) {
  const command = ["run", "--quiet", "--example", "explain", "--", MANIFEST, picture];
  return JSON.parse(execFileSync("cargo", command, { cwd: ROOT, encoding: "utf8", maxBuffer: 2 ** 30 }));
}

const expected = new Map(PICTURES.map((picture) => [picture, natively(picture)]));

for (const [backend, options] of Object.entries({ cpu: {}, webgpu: { webgpu: true } })) {
  describe(`photos on ${backend}`, () => {
    let browser;
    const open = async (t) => {
      browser ??= await chromium(options);
      const page = await browser.open(`${site.url}?backend=${backend}&model=gradcam-web/models/everyday/model.json`, t);
      // The sample that the page opens with is none of these.
      await page.waitFor(() => (globalThis.seen = document.querySelector("grad-cam").explanation));
      return page;
    };
    after(() => browser?.close());

    test("dropped photos give the native classes and heatmaps, and nothing goes anywhere", async (t) => {
      const page = await open(t);
      for (const picture of PICTURES) {
        await page.drop("main", picture);
        const found = await page.waitFor(() => {
          const { explanation, prediction } = document.querySelector("grad-cam");
          // The heatmap of this photo, not that of the one before.
          if (!explanation || !prediction || globalThis.seen === explanation) return false;
          globalThis.seen = explanation;
          const { width, height } = prediction.image;
          return {
            backend: prediction.model.backend,
            image: [width, height],
            scores: [...prediction.scores],
            targetClass: explanation.targetClass,
            method: explanation.method,
            map: [...explanation.map.values],
            heatmap: [...explanation.heatmapAt(width, height).values],
          };
        });
        const native = expected.get(picture);
        assert.equal(found.backend, backend);
        assert.equal(found.method, "grad-cam");
        assert.deepEqual(found.image, native.image, picture);
        assert.equal(found.targetClass, native.targetClass, picture);
        const off = Object.fromEntries(
          ["scores", "map"].map((what) => [
            what,
            relativeDifference(found[what], what === "map" ? native.map.values : native[what]),
          ]),
        );
        assert.ok(off.scores < 1e-3 && off.map < 1e-3, `${picture}: ${JSON.stringify(off)} off`);
        // Heatmaps of a whole photo have too many pixels to spread as arguments.
        const worst = found.heatmap.reduce(
          (worst, value, i) => Math.max(worst, Math.abs(value - native.heatmap.values[i])),
          0,
        );
        assert.equal(found.heatmap.length, native.heatmap.values.length, picture);
        assert.ok(worst < 1e-3, `${picture}: heatmap ${worst} off`);
      }
      assert.deepEqual(
        page.requests().filter((url) => new URL(url).origin !== site.origin),
        [],
      );
    });
  });
}

test("a lost GPU is survived with image and settings kept", async (t) => {
  const browser = await chromium({ webgpu: true });
  t.after(() => browser.close());
  const page = await browser.open(`${site.url}?backend=webgpu`, t);
  await page.waitFor(() => document.querySelector("#method").options.length > 0);
  await page.drop("main", PICTURES[0]);
  await page.waitFor(() => document.querySelector("grad-cam").explanation);
  // Another layer takes another run of the network.
  const explain = async (fromLast) => {
    const layer = await page.evaluate((fromLast) => {
      const figure = document.querySelector("grad-cam");
      figure.targetClass = 3;
      return (figure.targetLayer = figure.prediction.model.layers.at(-fromLast).name);
    }, fromLast);
    return page.waitFor((layer) => {
      const { explanation, prediction } = document.querySelector("grad-cam");
      return (
        explanation?.targetLayer === layer &&
        explanation.targetClass === 3 && {
          image: [prediction.image.width, prediction.image.height],
          backend: prediction.model.backend,
          map: [...explanation.map.values],
          quiet: document.querySelector("#error").hidden,
        }
      );
    }, layer);
  };
  const before = await explain(4);
  const engines = () => page.requests().filter((url) => url.endsWith("/worker.js")).length;
  assert.equal(engines(), 1);
  const session = await page.driver.context().browser().newBrowserCDPSession();
  await session.send("Browser.crashGpuProcess").catch(() => {});
  await explain(7);
  const after = await explain(4);
  assert.equal(engines(), 2, "a second engine was started");
  assert.deepEqual([after.image, after.backend, after.quiet], [expected.get(PICTURES[0]).image, "webgpu", true]);
  assert.ok(relativeDifference(after.map, before.map) < 1e-3);
});
