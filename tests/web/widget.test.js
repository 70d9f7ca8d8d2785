// The front-end for anywidget as notebooks load it: from a blob, with the traits of a cell, without its neighbours.

import assert from "node:assert/strict";
import test, { after } from "node:test";
import { chromium } from "./browsers.js";
import { serveSite } from "./site.js";

const site = await serveSite();
const browser = await chromium();
after(() => Promise.all([site.close(), browser.close()]));

/** Renders a widget with these traits; `cell` on the page has the traits, their listeners and the element. */
async function render(t, traits, files = {}) {
  const page = await browser.open(site.blank, t);
  await page.evaluate(
    async (root, traits, files) => {
      const bytes = async (address) => new DataView(await (await fetch(address)).arrayBuffer());
      for (const [name, address] of Object.entries(files)) traits[name] = await bytes(address);
      const text = await (await fetch(`${root}gradcam-web/widget.js`)).text();
      const blob = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
      const { default: widget } = await import(blob);
      const listeners = new Map();
      const model = {
        get: (name) => traits[name],
        set: (name, value) => (traits[name] = value),
        save_changes: () => (cell.saved = (cell.saved ?? 0) + 1),
        on: (event, listener) => listeners.set(event, listener),
        off: (event) => listeners.delete(event),
      };
      const change = (name, value) => {
        traits[name] = value;
        listeners.get(`change:${name}`)();
      };
      const el = document.body.appendChild(document.createElement("div"));
      const cell = (globalThis.cell = { traits, listeners, change, el });
      cell.remove = await widget.render({ model, el });
    },
    site.url,
    { bases: [`${site.origin}/nowhere/`, `${site.url}gradcam-web/`], ...traits },
    files,
  );
  await page.waitFor(() => globalThis.cell.traits.class_index >= 0 || globalThis.cell.traits.error);
  return page;
}

const MODEL = site.material("data/bright.onnx");
const PHOTO = site.material("data/images/photo.jpg");

test("bytes of picture and model are drawn, and the results come back", async (t) => {
  const traits = { src: "", model: "", labels: ["dark", "bright"], method: "hirescam", controls: true, caption: false };
  const page = await render(t, traits, { image_bytes: PHOTO, model_bytes: MODEL });
  const found = await page.evaluate(() => {
    const { traits, el } = globalThis.cell;
    const [figure] = el.children;
    const { explanation } = figure;
    const floats = ({ buffer }) => Array.from(new Float32Array(buffer));
    return {
      told: [traits.error, traits.label, traits.class_index],
      attributes: [figure.method, figure.controls, figure.caption],
      sizes: traits.heatmap_size,
      same: [
        [traits.heatmap_bytes, explanation.heatmap.values],
        [traits.map_bytes, explanation.map.values],
        [traits.scores_bytes, figure.prediction.scores],
      ].map(([bytes, values]) => String(floats(bytes)) === String(Array.from(values))),
      width: figure.prediction.image.width,
    };
  });
  assert.deepEqual(found.told, ["", "bright", 1]);
  assert.deepEqual(found.attributes, ["hirescam", true, false]);
  assert.deepEqual(found.same, [true, true, true]);
  assert.equal(found.sizes.length, 2);
  assert.equal(found.width, 371);
});

test("a trait that changes has no more done than it concerns, and the cell can be taken away", async (t) => {
  const traits = { src: PHOTO, model: MODEL, labels: ["dark", "bright"], method: "grad-cam", opacity: 0.5 };
  const page = await render(t, traits);
  const found = await page.evaluate(async () => {
    const { traits, listeners, change, el, remove } = globalThis.cell;
    const [figure] = el.children;
    const { prediction, explanation } = figure;
    change("opacity", 0.25);
    await new Promise((resolve) => setTimeout(resolve, 100));
    const kept = [figure.opacity, figure.explanation === explanation];
    const explained = new Promise((resolve) => figure.addEventListener("explain", resolve, { once: true }));
    change("method", "layercam");
    await explained;
    const again = [figure.explanation.method, figure.prediction === prediction];
    const { label } = traits;
    remove();
    return { kept, again, label, left: [listeners.size, el.children.length] };
  });
  assert.deepEqual(found.kept, [0.25, true]);
  assert.deepEqual(found.again, ["layercam", true]);
  assert.equal(found.label, "bright");
  assert.deepEqual(found.left, [0, 0]);
});

test("a published page asks the CDN before it asks its reader's own computer", async (t) => {
  const page = await browser.open(site.blank, t);
  const asked = [];
  await page.driver.route(
    (url) => url.pathname.endsWith("/index.js"),
    (route) => (asked.push(new URL(route.request().url()).host), route.abort()),
  );
  await page.driver.route("https://notes.example/**", (route) =>
    route.fulfill({ contentType: "text/html", body: "<!doctype html><title>notes</title>" }),
  );
  await page.driver.goto("https://notes.example/");
  const text = await (await fetch(`${site.url}gradcam-web/widget.js`)).text();
  const message = await page.evaluate(async (text) => {
    const blob = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
    const { default: widget } = await import(blob);
    const el = document.body.appendChild(document.createElement("div"));
    await widget.render({ el, model: { get: () => ["http://127.0.0.1:9/x/", "https://files.example/x/"] } });
    return el.textContent;
  }, text);
  assert.deepEqual(asked, ["files.example", "cdn.jsdelivr.net", "127.0.0.1:9"]);
  assert.match(message, /can't be loaded from https:\/\/files\.example/);
});

test("what goes wrong is told to the cell", async (t) => {
  const page = await render(t, { src: `${PHOTO}.nowhere`, model: MODEL, method: "grad-cam" });
  const error = await page.evaluate(() => globalThis.cell.traits.error);
  assert.match(error, /^ImageError: .*404/);
});
