// The comparison with peers, side by side in one browser run; `cargo xtask bench` builds what it needs and starts it.
//
// Contestants take turns, each in a page of its own, and first have to agree on what the network says.

import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { chromium, firefox, webkit } from "../tests/web/browsers.js";
import { ROOT, serveSite } from "../tests/web/site.js";
import { brotli } from "../xtask/brotli.js";
import { readOnnx } from "./onnx.js";
import { memoryOf } from "./memory.js";
import { MADE, networksNamed } from "./networks.js";
import { printNetwork } from "./table.js";
import { tfliteOf } from "./tflite.js";

const { values: options } = parseArgs({
  options: {
    networks: { type: "string" },
    backend: { type: "string", default: "cpu,webgpu" },
    browser: { type: "string", default: "chromium" },
    layer: { type: "string", default: "default" },
    rounds: { type: "string", default: "5" },
    quick: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
  },
});
const rounds = Number(options.rounds);

mkdirSync(MADE, { recursive: true });

const BROWSERS = { chromium, firefox, webkit };
const site = await serveSite({
  material: { bench: join(ROOT, "bench"), modules: join(ROOT, "bench/node_modules"), made: MADE },
});
const say = (text) => process.stderr.write(`${text}\n`);

async function main() {
  const networks = networksNamed(options.networks);
  const results = [];
  for (const backend of options.backend.split(",")) {
    if (backend === "webgpu" && options.browser !== "chromium") {
      say(`WebGPU is compared in Chromium alone: ${options.browser} is left out.`);
      continue;
    }
    for (const network of networks) {
      const result = await compare(network, backend);
      results.push(result);
      if (!options.json) printNetwork(result);
    }
  }
  if (options.json) console.log(JSON.stringify(results, null, 1));
  await site.close();
}

async function compare({ name, file, address, preprocess }, backend) {
  const task = { model: site.material(address), shape: readOnnx(readFileSync(file)).inputShape, preprocess };
  Object.assign(task, await tfliteFor(file));
  const before = site.requests.length;
  task.layer = await layerOf(task.model, options.layer);
  const libraries = ["gradcam-web", "onnxruntime-web", "TensorFlow.js", "LiteRT.js", "jax-js", "@jax-js/onnx"];
  // Where the browser has relaxed SIMD, ours takes part with it, too, and LiteRT.js without it.
  if (backend === "cpu" && site.requests.slice(before).some((path) => path.includes("/relaxed/")))
    libraries.push("LiteRT.js plain", "gradcam-web relaxed");
  const all = libraries.map((library) => ({ library, name: `${library} ${backend}`, figures: {} }));
  say(`${name}, ${backend}: ${rounds} rounds`);
  const { contestants, agreement, refusals } = await compareEvents(all, task, backend);
  if (!options.quick) {
    say(`${name}, ${backend}: starts`);
    await compareStarts(contestants, task, backend);
  }
  return {
    network: name,
    backend,
    browser: options.browser,
    layer: task.layer,
    rounds,
    agreement,
    refusals,
    contestants: Object.fromEntries(contestants.map(({ library, figures }) => [library, figures])),
  };
}

/** The network as LiteRT reads it, under a name that changes with its contents, or why there is none. */
async function tfliteFor(file) {
  try {
    const bytes = tfliteOf(await import("flatbuffers"), readFileSync(file));
    const name = `${createHash("sha256").update(bytes).digest("hex").slice(0, 16)}.tflite`;
    writeFileSync(join(MADE, name), bytes);
    return { tflite: site.material(`made/${name}`) };
  } catch (error) {
    return { unwritten: error.message };
  }
}

/** Starts a browser that answers tests' questions, in the way the comparison needs it. */
async function launch(backend) {
  if (options.browser !== "chromium") return BROWSERS[options.browser]();
  return chromium({ webgpu: backend === "webgpu" });
}

const page = () => site.material("bench/page.html");
const isReady = () => globalThis.comparison !== undefined;
const start = (name, task) => globalThis.comparison.start(name, task);
const heatmap = (name) => globalThis.comparison.heatmap(name);
const leaveOutHeatmaps = (name) => globalThis.comparison.leaveOutHeatmaps(name);
const time = (name, event, budget) => globalThis.comparison.time(name, event, budget);

/** Where the heatmaps are of. @param {string} which `default`, `middle` (half of the layers follow) or `early` (four fifths) */
async function layerOf(address, which) {
  const browser = await launch("cpu");
  const tab = await browser.open(site.blank);
  const { layers, defaultLayer } = await tab.evaluate(async (address) => {
    const { loadModel } = await import("/gradcam-web/index.js");
    const { layers, defaultLayer } = await loadModel(address, { backend: "cpu" });
    return { layers: layers.map(({ name }) => name), defaultLayer };
  }, address);
  await browser.close();
  const parts = { middle: 2, early: 5 };
  return which in parts ? layers[Math.floor(layers.length / parts[which])] : defaultLayer;
}

/** From an empty cache to the first result, each time in a browser that has just been started. */
async function compareStarts(contestants, task, backend) {
  for (let round = 0; round < Math.min(rounds, 3); round++) {
    for (const { name, figures } of contestants) {
      const browser = await launch(backend);
      const empty = await browser.open(site.blank);
      const memoryBefore = await memoryOf(empty);
      await empty.close();
      const before = site.requests.length;
      const tab = await browser.open(`${page()}#${encodeURIComponent(JSON.stringify([name, task]))}`);
      await tab.waitFor(isReady);
      const { ready, first } = await tab.evaluate(() => globalThis.comparison.starting);
      const files = site.requests
        .slice(before)
        .filter((path) => !path.includes("/bench/") && !path.includes("favicon"));
      await tab.evaluate(time, name, "forward", 300);
      await tab.evaluate(time, name, "gradCam", 300);
      const memory = (await memoryOf(tab)) - memoryBefore;
      await browser.close();
      add(figures, "ready", ready);
      add(figures, "first", first);
      if (Number.isFinite(memory)) add(figures, "memory", memory / 1e6);
      const code = files.filter((path) => !/\.(onnx|tflite)$/.test(path)).map((path) => site.file(path));
      figures.bytes = { files: code.length, ...sizes(code) };
    }
  }
}

/**
 * What happens again and again, after a warm-up.
 *
 * A peer that can't run the network, or says something else than ours, is left out with its reason: times of a wrong result
 * mean nothing.
 */
async function compareEvents(all, task, backend) {
  const browser = await launch(backend);
  const tabs = new Map();
  const shared = options.browser === "webkit" ? await browser.open(page()) : undefined;
  const [agreement, refusals] = [{}, {}];
  const contestants = [];
  let expected;
  for (const contestant of all) {
    const { name, library } = contestant;
    const tab = shared ?? (await browser.open(page()));
    await tab.waitFor(isReady);
    tabs.set(name, tab);
    let scores;
    try {
      ({ scores } = await tab.evaluate(start, name, task));
    } catch (error) {
      if (!expected) throw error;
      refusals[library] = reasonOf(error);
      say(`${library} is left out: ${refusals[library]}`);
      continue;
    }
    const differs = compared("scores", library, scores, expected?.scores);
    if (differs) {
      refusals[library] = differs;
      say(`${library} is left out: ${differs}`);
      continue;
    }
    contestants.push(contestant);
    const { values, refused } = await tab.evaluate(heatmap, name);
    const wrong = refused ?? compared("heatmap", library, values, expected?.heatmap);
    if (wrong) {
      if (!expected) throw new Error(`no heatmap at ${task.layer}: ${wrong}`);
      // Where several numbers are the greatest, libraries differ in which of them has the gradient.
      refusals[`${library}, heatmaps`] = wrong;
      say(`${library} goes on without heatmaps at ${task.layer}: ${wrong}`);
      await tab.evaluate(leaveOutHeatmaps, name);
    }
    expected ??= { scores, heatmap: values };
  }

  /** How far it is from what is expected goes into `agreement`; returns what is wrong if that is too far. */
  function compared(what, library, actual, expected) {
    if (!actual || !expected) return undefined;
    const distance = distanceOf(actual, expected);
    if (!(distance < AGREED[what])) return `its ${what} differ by ${distance.toPrecision(2)} of the largest number`;
    agreement[`${what}, ${library}`] = distance;
    return undefined;
  }

  const events = options.quick
    ? ["forward", "gradCam", "anotherClass"]
    : ["forward", "gradCam", "anotherClass", "anotherMethod", "fullGrad", "guided", "opacity", "frame"];
  // On a graphics card made of software a single result takes seconds.
  const budget = 250;
  for (const { name } of contestants) {
    for (const event of events) await tabs.get(name).evaluate(time, name, event, 2 * budget);
  }
  for (let round = 0; round < rounds; round++) {
    for (const event of events) {
      for (let turn = 0; turn < contestants.length; turn++) {
        const { name, figures } = contestants[(turn + round) % contestants.length];
        const times = await tabs.get(name).evaluate(time, name, event, budget);
        for (const value of times ?? []) add(figures, event, value);
      }
    }
  }
  await browser.close();
  return { contestants, agreement, refusals };
}

/** The first line of what was thrown in a page, without what the browser's driver puts before it. */
function reasonOf({ message }) {
  return message
    .split("\n")[0]
    .replace(/^page\.evaluate: /, "")
    .replace(/^Error: /, "");
}

function add(figures, what, value) {
  (figures[what] ??= []).push(value);
}

/** What contestants may differ by, in units of the largest number. */
const AGREED = { scores: 1e-3, heatmap: 1e-2 };

/** In units of the largest number. */
function distanceOf(actual, expected) {
  if (actual.length !== expected.length) return Infinity;
  const largest = Math.max(...expected.map(Math.abs));
  // A map of nothing is compared as it is.
  return Math.max(...expected.map((value, i) => Math.abs(value - actual[i]))) / (largest || 1);
}

/** Sizes of files as they are and as a server with brotli would send them, in bytes. */
function sizes(files) {
  const cache = join(MADE, "brotli.json");
  const known = existsSync(cache) ? JSON.parse(readFileSync(cache)) : {};
  const sum = { raw: 0, brotli: 0 };
  for (const file of new Set(files)) {
    const bytes = readFileSync(file);
    const hash = createHash("sha256").update(bytes).digest("hex");
    known[hash] ??= brotli(bytes).length;
    sum.raw += bytes.length;
    sum.brotli += known[hash];
  }
  writeFileSync(cache, JSON.stringify(known));
  return sum;
}

await main();
