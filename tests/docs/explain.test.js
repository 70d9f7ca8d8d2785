// The picture that `--example explain` writes for places without scripts is the one that the package draws.

import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";
import { chromium } from "../web/browsers.js";
import { ROOT, serveSite } from "../web/site.js";
import { WORK, program, run } from "./tools.js";

test("the example explain writes the overlay that the package draws", async (t) => {
  mkdirSync(WORK, { recursive: true });
  const output = join(WORK, "heat.png");
  const model = join(ROOT, "pkg/models/everyday/model.json");
  // As the other native tests are compiled.
  const cargo = [program("cargo"), "run", "--quiet", "--example", "explain", "--no-default-features"];
  const files = [model, join(ROOT, "tests/data/images/photo.jpg"), "-o", output];
  const options = ["--method", "layercam", "--class", "7", "--colormap", "viridis", "--opacity", "0.7"];
  const said = await run([...cargo, "--features", "cpu,formats", "--", ...files, ...options], { cwd: ROOT });
  assert.match(said, /heat\.png: LayerCAM for class 7 \(.+\)\. \S/);

  const site = await serveSite();
  t.after(() => site.close());
  const browser = await chromium();
  t.after(() => browser.close());
  const page = await browser.open(site.blank, t);
  const found = await page.evaluate(
    async (root, photo, png) => {
      const { loadModel } = await import(`${root}gradcam-web/index.js`);
      const model = await loadModel(`${root}gradcam-web/models/everyday/model.json`, { backend: "cpu" });
      const explanation = await model.explain(photo, { method: "layercam", targetClass: 7 });
      const pixels = async (blob) => {
        const bitmap = await createImageBitmap(blob);
        const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
        context.drawImage(bitmap, 0, 0);
        return context.getImageData(0, 0, bitmap.width, bitmap.height);
      };
      const here = await pixels(await explanation.toBlob({ colormap: "viridis", opacity: 0.7 }));
      const there = await pixels(await (await fetch(`data:image/png;base64,${png}`)).blob());
      const far = here.data.filter((level, i) => Math.abs(level - there.data[i]) > 2).length;
      return { sizes: [here.width, here.height, there.width, there.height], far };
    },
    site.url,
    site.material("data/images/photo.jpg"),
    readFileSync(output).toString("base64"),
  );
  assert.deepEqual(found, { sizes: [371, 250, 371, 250], far: 0 });
});

test("the example explain says what it does not know", async () => {
  const cargo = [program("cargo"), "run", "--quiet", "--example", "explain", "--no-default-features"];
  const explain = (...options) => run([...cargo, "--features", "cpu,formats", "--", ...options], { cwd: ROOT });
  await assert.rejects(explain("a.onnx"), /usage: explain MODEL IMAGE/);
  await assert.rejects(explain("a.onnx", "b.jpg", "--colour", "red"), /there is no option --colour/);
  await assert.rejects(explain("nothing.onnx", "b.jpg"), /can't read nothing\.onnx/);
});
