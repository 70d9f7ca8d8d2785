// Damaged models in a page, by the package: each is explained or refused by a named error, soon, and the page goes on.

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { after } from "node:test";
import { METHODS } from "../../pkg/catalog.js";
import { testIn } from "./browsers.js";
import { ROOT, serveSite } from "./site.js";

/** A folder of models. The long form, `cargo xtask soak pages`, fills it with mutants; else the fuzzer's seeds are damaged here. */
const FOLDER = process.env.GRADCAM_MUTANTS;
const SEEDS = join(ROOT, "fuzz/seeds/onnx");
/** How long one may take in all, beside whatever else the machine does, and how much memory the worker may have. */
const MOST_MILLISECONDS = 5000;
const MOST_MEMORY = 2 ** 31;
/** What a page is asked at once; the next ones go on in the same page. */
const BATCH = 50;

const material = FOLDER ? { mutants: FOLDER } : {};
const site = await serveSite({ material });
after(() => site.close());
const test = testIn(FOLDER ? ["chromium"] : undefined);

/** The models: addresses, or bytes; a quarter of them where it is only to be seen that the engine differs in nothing. */
function modelsFor({ name: engine }) {
  const byNumber = (a, b) => parseInt(a) - parseInt(b) || (a < b ? -1 : 1);
  const names = readdirSync(FOLDER ?? SEEDS).sort(byNumber);
  if (FOLDER) return names.map((name) => ({ name, url: site.material(`mutants/${name}`) }));
  const chosen = engine === "chromium" ? names : names.filter((_, index) => index % 4 === 0);
  return chosen.flatMap((name, index) => {
    const whole = readFileSync(join(SEEDS, name));
    const damaged = Uint8Array.from(whole);
    for (let i = 0; i <= index % 4; i++)
      damaged[(index * 7919 + i * 104729) % damaged.length] ^= 1 << ((index + 3 * i) % 8);
    return [
      { name, bytes: whole.toString("base64") },
      { name: `damaged ${name}`, bytes: Buffer.from(damaged).toString("base64") },
    ];
  });
}

/** Runs in the page: what comes of each model. */
async function exercise(models, methods, mostMilliseconds) {
  const { package: gradcam } = globalThis;
  const named = ({ name, message }) => {
    // There is no device here to fail.
    if (!gradcam.ERROR_NAMES.includes(name) || name === "DeviceError" || !message || message.length > 5000) {
      throw new Error(`${name}: ${String(message).slice(0, 300)}`);
    }
    return name;
  };
  /** A word for what comes of it. The memory is that of the worker at the end. */
  const outcomeOf = async ({ bytes, url }, index) => {
    const file = url ?? new Blob([Uint8Array.from(atob(bytes), (c) => c.charCodeAt(0))]);
    let model;
    try {
      model = await gradcam.loadModel(file, { backend: "cpu" });
    } catch (error) {
      return { outcome: `refused: ${named(error)}`, memory: 0 };
    }
    try {
      const { channels, width, height } = model.input;
      const numbers = channels * width * height;
      // A larger input takes long whatever the network is; `signal` ends it.
      if (numbers > 2 ** 18) return { outcome: "loaded, and too large to be run here", memory: model.stats.memory };
      const tensor = Float32Array.from({ length: numbers }, (_, i) => ((i * 7919) % 255) / 127.5 - 1);
      const prediction = await model.classify({ tensor, shape: [1, channels, height, width] });
      const signal = AbortSignal.timeout(200);
      for (let turn = 0; turn < 4 && !signal.aborted; turn++) {
        const method = methods[(index + turn) % methods.length];
        const { name } = model.layers[(index + turn) % model.layers.length] ?? {};
        const at = turn % 2 && name !== undefined ? { targetLayer: name } : {};
        await prediction.explain({ method, signal, ...at }).catch(named);
      }
      return { outcome: "explained", memory: model.stats.memory };
    } catch (error) {
      return { outcome: `loaded, then ${named(error)}`, memory: 0 };
    } finally {
      model.dispose();
    }
  };
  const results = [];
  for (const [index, model] of models.entries()) {
    const began = performance.now();
    const tooLong = new Promise((resolve) => setTimeout(resolve, 6 * mostMilliseconds, { fault: "no answer" }));
    const outcome = outcomeOf(model, index).catch(({ message }) => ({ fault: message }));
    const result = await Promise.race([outcome, tooLong]);
    results.push({ name: model.name, took: performance.now() - began, ...result });
    if (result.fault === "no answer") break;
  }
  for (const error of globalThis.errors.splice(0)) results.at(-1).fault ??= `the page: ${error}`;
  return results;
}

test("damaged models in a page are explained, or refused by a named error", async (t, browser) => {
  const all = modelsFor(browser);
  const [outcomes, faults, slow] = [{}, [], []];
  let [slowest, largest] = [{ took: 0 }, { memory: 0 }];
  let page;
  for (let at = 0; at < all.length;) {
    if (!page) {
      page = await browser.open(site.blank, t);
      await page.evaluate(async (address) => {
        globalThis.errors = [];
        for (const type of ["error", "unhandledrejection"])
          addEventListener(type, ({ message, reason }) => globalThis.errors.push(String(reason ?? message)));
        globalThis.package = await import(address);
      }, site.material("package/index.js"));
    }
    const methods = METHODS.map(({ name }) => name);
    const results = await page.evaluate(exercise, all.slice(at, at + BATCH), methods, MOST_MILLISECONDS);
    for (const result of results) {
      if (result.fault) faults.push(`${result.name}: ${result.fault}`);
      else outcomes[result.outcome] = (outcomes[result.outcome] ?? 0) + 1;
      if (result.took > MOST_MILLISECONDS) slow.push(`${result.name}: ${Math.round(result.took)} ms`);
      if (result.memory > MOST_MEMORY) faults.push(`${result.name}: ${result.memory / 2 ** 20} MiB`);
      if (result.took > slowest.took) slowest = result;
      if (result.memory > largest.memory) largest = result;
    }
    at += results.length;
    if (FOLDER && at % 1000 === 0) console.error(`${at} of ${all.length}: ${faults.length} faults`);
    if (results.at(-1).fault === "no answer") {
      await page.close();
      page = undefined;
    }
  }
  t.diagnostic(JSON.stringify(outcomes));
  t.diagnostic(`the slowest took ${Math.round(slowest.took)} ms (${slowest.name})`);
  t.diagnostic(`the largest worker had ${Math.round(largest.memory / 2 ** 20)} MiB (${largest.name})`);
  if (slow.length > 0) t.diagnostic(`over ${MOST_MILLISECONDS} ms beside whatever else ran: ${slow.join(", ")}`);
  assert.deepEqual(faults, []);
});
