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

test("all code of a figure takes 500 kB at most", async (t) => {
  const browser = await chromium();
  t.after(() => browser.close());
  const page = await browser.open(site.blank, t);
  await page.evaluate(
    async (address, photo) => {
      await import(address);
      const figure = Object.assign(document.createElement("grad-cam"), {
        src: photo,
        alt: "a photo",
        backend: "cpu",
        loading: "eager",
        controls: true,
      });
      const explained = new Promise((resolve) => figure.addEventListener("explain", resolve, { once: true }));
      document.body.append(figure);
      await explained;
    },
    `${site.url}gradcam-web/index.js`,
    site.material("data/images/photo.jpg"),
  );
  // A network's labels come as a module, for bundlers: they are data, as its weights are.
  const isCode = (path) => /\.(js|wasm)$/.test(path) && !path.includes("/models/");
  const code = [...new Set(site.requests.filter(isCode))];
  const bytes = code.map((path) => sizeOf(site.file(path)));
  assert.ok(
    code.some((path) => path.includes("/decode/")),
    `${code}`,
  );
  assert.ok(
    bytes.reduce((sum, length) => sum + length) <= 500_000,
    code.map((path, i) => `${path} ${bytes[i]}`).join("\n"),
  );
});

for (const [build, limit] of [
  ["cpu", 350_000],
  ["relaxed", 350_000],
  ["gpu", 1_400_000],
]) {
  test(`the ${build} build takes ${limit / 1000} kB at most`, () => {
    const bytes = sizeOf(join(ROOT, `pkg/${build}/gradcam_web_bg.wasm`));
    assert.ok(bytes <= limit, `${bytes} bytes`);
  });
}
