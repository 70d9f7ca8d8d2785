// Where the map is taken: the slider through the layers, and the mean of several.

import assert from "node:assert/strict";
import test, { after } from "node:test";
import { chromium } from "./browsers.js";
import { relativeDifference } from "./fixtures.js";
import { openPage, settled } from "./page.js";
import { serveSite } from "./site.js";

const site = await serveSite({ base: "/some/where/" });
const browser = await chromium();
after(() => Promise.all([browser.close(), site.close()]));

const parameters = {
  model: site.material("data/cams/residual.onnx"),
  backend: "cpu",
  src: site.material("data/images/photo.jpg"),
};
const open = (t, more = {}) => openPage(browser, site, t, { ...parameters, ...more });

/** Moves the slider to a layer, as a person does. */
const slide = (page, name) =>
  page.evaluate((name) => {
    const { layers } = document.querySelector("grad-cam").prediction.model;
    const slider = document.querySelector("#layer");
    slider.value = layers.findIndex((layer) => layer.name === name);
    slider.dispatchEvent(new Event("input"));
  }, name);
const click = (page, selector) => page.evaluate((selector) => document.querySelector(selector).click(), selector);
const shownAt = (page, layers) =>
  page.waitFor((layers) => {
    const { explanation } = document.querySelector("grad-cam");
    return (
      document.querySelector("#progress").hidden &&
      explanation &&
      String(explanation.targetLayers) === String(layers) && {
        map: explanation.map,
        query: location.search,
        shape: document.querySelector("#layer-shape").textContent,
        place: document.querySelector("#layer-place").textContent,
        text: document.querySelector("#layer").getAttribute("aria-valuetext"),
        kept: [...document.querySelectorAll("#layer-kept li")].map((tag) => tag.firstChild.textContent),
      }
    );
  }, layers);

test("the slider goes through the layers, and says what each is", async (t) => {
  const page = await open(t);
  await settled(page);
  const { layers, defaultLayer } = await page.evaluate(
    () =>
      document.querySelector("grad-cam").prediction.model.layers && {
        layers: document.querySelector("grad-cam").prediction.model.layers,
        defaultLayer: document.querySelector("grad-cam").prediction.model.defaultLayer,
      },
  );
  for (const at of [0, 3]) {
    const {
      name,
      operator,
      shape: [channels, height, width],
    } = layers[at];
    await slide(page, name);
    const shown = await shownAt(page, [name]);
    assert.deepEqual([shown.map.width, shown.map.height], [width, height]);
    assert.equal(shown.shape, `${operator}, ${width} × ${height}, ${channels} channels`);
    assert.equal(shown.place, `${at + 1} of ${layers.length}`);
    assert.equal(shown.text, `${name}: ${shown.shape}`);
    assert.deepEqual(new URLSearchParams(shown.query).getAll("layer"), [name]);
  }
  await click(page, "#layer-default");
  assert.equal(new URLSearchParams((await shownAt(page, [defaultLayer])).query).has("layer"), false);
});

test("layers that are kept make a mean, which a link brings back", async (t) => {
  const page = await open(t);
  await settled(page);
  const [first, second] = await page.evaluate(() => {
    const { layers } = document.querySelector("grad-cam").prediction.model;
    return [layers[2].name, layers.at(-3).name];
  });
  await slide(page, first);
  await shownAt(page, [first]);
  await click(page, "#layer-keep");
  await slide(page, second);
  const mean = await shownAt(page, [first, second]);
  assert.deepEqual(mean.kept, [first]);
  assert.deepEqual(new URLSearchParams(mean.query).getAll("layer"), [first, second]);
  // The mean of the two heatmaps at the size of the input, 41 × 29.
  const expected = await page.evaluate(
    async (layers) => {
      const { prediction } = document.querySelector("grad-cam");
      const bilinear = ({ width, height, values }, wide, high) =>
        Array.from({ length: wide * high }, (_, i) => {
          const along = (at, size, count) => {
            const place = Math.min(Math.max(((at + 0.5) * count) / size - 0.5, 0), count - 1);
            return [Math.floor(place), Math.min(Math.floor(place) + 1, count - 1), place - Math.floor(place)];
          };
          const [left, right, x] = along(i % wide, wide, width);
          const [upper, lower, y] = along(Math.floor(i / wide), high, height);
          const row = (at) => values[at * width + left] * (1 - x) + values[at * width + right] * x;
          return row(upper) * (1 - y) + row(lower) * y;
        });
      const maps = await Promise.all(
        layers.map(async (targetLayer) => bilinear((await prediction.explain({ targetLayer })).heatmap, 41, 29)),
      );
      return maps[0].map((value, i) => (value + maps[1][i]) / 2);
    },
    [first, second],
  );
  assert.deepEqual([mean.map.width, mean.map.height], [41, 29]);
  assert.ok(relativeDifference(mean.map.values, expected) < 1e-4);

  // One of them alone, chosen elsewhere, ends the mean.
  await page.evaluate((name) => {
    document.querySelector("#compare input[value=layers]").click();
    document.querySelector("#compare-none").click();
    [...document.querySelectorAll("#compare-options input")].find(({ value }) => value === name).click();
    document.querySelector("#compare-run").click();
  }, second);
  await page.waitFor(() => document.querySelector("#compare-tiles [data-state=done]"));
  await click(page, "#compare-tiles button");
  assert.deepEqual((await shownAt(page, [second])).kept, []);

  const again = await browser.open(`${site.url}${mean.query}`, t);
  const shown = await again.waitFor(() => document.querySelector("grad-cam").explanation?.targetLayers);
  assert.deepEqual(shown, [first, second]);
  await click(again, "#layer-kept button");
  assert.deepEqual((await shownAt(again, [second])).kept, []);
});

test("a layer that does not exist is named, the usual is shown, and the slider still works", async (t) => {
  const page = await open(t, { layer: "nowhere" });
  await page.waitFor(() => document.querySelector("#stage").dataset.state === "ready");
  const { error, targetLayer, query } = await settled(page);
  assert.equal(error, undefined);
  assert.equal(
    targetLayer,
    await page.evaluate(() => document.querySelector("grad-cam").prediction.model.defaultLayer),
  );
  assert.equal(new URLSearchParams(query).get("layer"), null);
  assert.match(
    await page.evaluate(() => document.querySelector("#notice").textContent),
    /`nowhere` is no spatial layer of this network.*The usual is shown in its place\.$/,
  );
  const name = await page.evaluate(() => document.querySelector("grad-cam").prediction.model.layers[1].name);
  await slide(page, name);
  await shownAt(page, [name]);
  assert.equal((await settled(page)).error, undefined);
});
