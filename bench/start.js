// What a visitor waits for: from opening the page, nothing cached, to the first heatmap; the longest tasks of the page's own
// thread until then; and how long another opacity takes on a picture of two megapixels.
//
// `node bench/start.js [ROUNDS]`, after `cargo xtask build`.

import { chromium } from "../tests/web/browsers.js";
import { serveSite } from "../tests/web/site.js";

const rounds = Number(process.argv[2] ?? 5);
/** A visitor's browser is open already: ours gets time to finish loading its own interface. In milliseconds. */
const SETTLING = 4000;
const site = await serveSite();
const starts = [];
let opacity;

for (let round = 0; round < rounds; round++) {
  const browser = await chromium();
  const page = await browser.open(site.blank);
  await page.driver.waitForTimeout(SETTLING);
  await page.driver.addInitScript(() => {
    globalThis.tasks = [];
    new PerformanceObserver((list) =>
      globalThis.tasks.push(...list.getEntries().map((entry) => entry.duration)),
    ).observe({ type: "longtask", buffered: true });
    document.addEventListener("explain", () => (globalThis.explained ??= performance.now()), true);
  });
  await page.driver.goto(`${site.url}?src=samples/barn.jpg&backend=cpu`);
  starts.push(
    await page.waitFor(
      () => globalThis.explained && { first: globalThis.explained, longest: Math.max(0, ...globalThis.tasks) },
    ),
  );
  if (round === rounds - 1) opacity = await page.evaluate(opacities);
  await browser.close();
}
await site.close();

const sorted = (numbers) => [...numbers].sort((a, b) => a - b);
const middle = (numbers) => sorted(numbers)[numbers.length >> 1].toFixed(1);
const line = (what, numbers) =>
  console.log(`${what.padEnd(58)}${middle(numbers).padStart(8)} (${sorted(numbers)[0].toFixed(1)})`);
console.log("CPU, default model, ms: median (minimum)");
line(
  "from opening the page to the first heatmap",
  starts.map((start) => start.first),
);
line(
  "the longest task of the page until then, 0 if none over 50",
  starts.map((start) => start.longest),
);
line("another opacity on 2 megapixels", opacity);

/** Draws the same explanation with other opacities. */
async function opacities() {
  const { loadModel } = await import("/gradcam-web/index.js");
  const model = await loadModel("/gradcam-web/models/everyday/model.json", { backend: "cpu" });
  const photo = new OffscreenCanvas(1633, 1225);
  const context = photo.getContext("2d");
  for (let i = 0; i < 400; i++) {
    context.fillStyle = `hsl(${i * 37}, 60%, 50%)`;
    context.fillRect((i * 97) % 1633, (i * 61) % 1225, 200, 150);
  }
  const explanation = await (await model.classify(photo)).explain();
  const canvas = document.createElement("canvas");
  const times = [];
  for (let i = 0; i < 40; i++) {
    const start = performance.now();
    explanation.draw(canvas, { opacity: 0.3 + 0.01 * i });
    times.push(performance.now() - start);
    await new Promise(requestAnimationFrame);
  }
  // Those after the browser has made fast code of it.
  return times.slice(10);
}
