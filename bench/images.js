// Whether memory stays flat: many different images one after the other, as a page would explain them when they are dropped
// on it. Given by their addresses they would be counted twice: a browser that is driven from outside keeps what it fetched.
//
// `node bench/images.js [HOW_MANY] [cpu|webgpu]`, after `cargo xtask build`.

import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { chromium } from "../tests/web/browsers.js";
import { ROOT, serveSite } from "../tests/web/site.js";
import { memoryOf } from "./memory.js";

const PHOTOS = join(ROOT, "../shared/photos");
const count = Number(process.argv[2] ?? 1000);
const backend = process.argv[3] ?? "cpu";
const step = Math.ceil(count / 10);

const site = await serveSite();
const browser = await chromium({ webgpu: backend === "webgpu" });
const page = await browser.open(site.blank);
const photos = readdirSync(PHOTOS)
  .filter((file) => file.endsWith(".jpg"))
  .map((file) => site.material(`shared/photos/${file}`));

await page.evaluate(
  async (backend, photos) => {
    const { loadModel } = await import("/gradcam-web/index.js");
    globalThis.model = await loadModel("/gradcam-web/models/everyday/model.json", { backend });
    globalThis.canvas = document.createElement("canvas");
    globalThis.photos = await Promise.all(photos.map(async (photo) => (await fetch(photo)).blob()));
  },
  backend,
  photos,
);
console.log("images   engine's memory, MB   page's memory, MB   GPU process's, MB");
for (let done = 0; done < count; done += step) {
  const { memory } = await page.evaluate(
    async (from, to) => {
      const { model, canvas, photos } = globalThis;
      for (let i = from; i < to; i++) {
        const prediction = await model.classify(photos[i % photos.length]);
        (await prediction.explain()).draw(canvas);
      }
      return model.stats;
    },
    done,
    Math.min(done + step, count),
  );
  const resident = await memoryOf(page, "VmRSS");
  const gpu = await memoryOf(page, "VmRSS", "GPU");
  console.log(
    `${String(done + step).padStart(6)}${(memory / 1e6).toFixed(1).padStart(22)}${(resident / 1e6).toFixed(1).padStart(20)}${(gpu / 1e6).toFixed(1).padStart(22)}`,
  );
}
const model = readFileSync(join(ROOT, "www/models/everyday/everyday.onnx")).length;
console.log(`the model's file: ${(model / 1e6).toFixed(1)} MB`);
await browser.close();
await site.close();
