// What a visitor downloads, after brotli.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import test, { after } from "node:test";
import { brotli } from "../../xtask/brotli.js";
import { chromium } from "./browsers.js";
import { ROOT, serveSite } from "./site.js";

const sizeOf = (file) => brotli(readFileSync(file)).length;

const site = await serveSite();
after(() => site.close());

test("all code of a figure takes 450 kB at most", async (t) => {
  const browser = await chromium();
  t.after(() => browser.close());
  const page = await browser.open(site.blank, t);
  await page.evaluate(async (address, photo) => {
    await import(address);
    const figure = Object.assign(document.createElement("grad-cam"), { src: photo, alt: "a photo", backend: "cpu", loading: "eager", controls: true });
    const explained = new Promise((resolve) => figure.addEventListener("explain", resolve, { once: true }));
    document.body.append(figure);
    await explained;
  }, `${site.url}gradcam-web/index.js`, site.material("data/images/photo.jpg"));
  const code = [...new Set(site.requests.filter((path) => /\.(js|wasm)$/.test(path)))];
  const bytes = code.map((path) => sizeOf(site.file(path)));
  assert.ok(code.some((path) => path.includes("/decode/")) && code.some((path) => path.endsWith("element-controls.js")), `${code}`);
  assert.ok(bytes.reduce((sum, length) => sum + length) <= 450_000, code.map((path, i) => `${path} ${bytes[i]}`).join("\n"));
});

for (const [build, limit] of [["cpu", 350_000], ["relaxed", 350_000], ["gpu", 800_000]]) {
  test(`the ${build} build takes ${limit / 1000} kB at most`, () => {
    const bytes = sizeOf(join(ROOT, `pkg/${build}/gradcam_web_bg.wasm`));
    assert.ok(bytes <= limit, `${bytes} bytes`);
  });
}
