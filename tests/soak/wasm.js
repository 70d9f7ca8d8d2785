// Mutated models in the browser's CPU build, in Node.js: `cargo xtask soak wasm` runs it.
//
// usage: wasm.js BUILD FOLDER    BUILD has gradcam_web.js and its wasm, FOLDER the models
//
// Each is loaded, run and explained by every method, or refused with one sentence, within 5 seconds of work and 2 GiB of
// memory. They run in processes of their own, as many at a time as there are processors: after a trap, or too much of
// either, the next process goes on behind the model that did it.

import { fork } from "node:child_process";
import { readFileSync, readdirSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { METHODS } from "../../pkg/catalog.js";
import { ERROR_NAMES } from "../../pkg/errors.js";

const MOST_MILLISECONDS = 5000;
const MOST_MEMORY = 2 ** 31;
/** A larger input takes long whatever the network is; `signal` ends it. */
const MOST_NUMBERS = 2 ** 18;
/** How long a model is explained. */
const PATIENCE = 500;

const [, , build, folder, task] = process.argv;
if (task === "work") await work();
else if (folder) await supervise();
else console.error("usage: wasm.js BUILD FOLDER");

/** What the process's main thread has worked, in milliseconds, whatever else the machine does. */
function workOf(pid) {
  try {
    return Number(readFileSync(`/proc/${pid}/schedstat`, "utf8").split(" ")[0]) / 1e6;
  } catch {
    return performance.now();
  }
}

async function supervise() {
  const files = readdirSync(folder).filter((name) => name.endsWith(".onnx"));
  files.sort((a, b) => parseInt(a) - parseInt(b));
  const count = files.length;
  const [outcomes, faults] = [new Map(), []];
  let [slowest, largest] = [
    { took: 0, file: "" },
    { memory: 0, file: "" },
  ];
  let done = 0;
  const note = ({ file, outcome, fault, took, memory }) => {
    if (++done % 1000 === 0) console.error(`${done} of ${count}: ${faults.length} faults`);
    if (fault) faults.push(`${file}: ${fault}`);
    else outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    if (took > slowest.took) slowest = { took, file };
    if (memory > largest.memory) largest = { memory, file };
  };
  /** A process until all files are taken, or it has to be ended. */
  const process_ = () =>
    new Promise((done) => {
      const child = fork(fileURLToPath(import.meta.url), [build, folder, "work"]);
      let file, began;
      const end = (fault) => {
        clearInterval(timer);
        if (file && fault) note({ file, fault, took: workOf(child.pid) - began, memory: 0 });
        file = undefined;
        child.kill("SIGKILL");
      };
      const timer = setInterval(() => {
        if (file && workOf(child.pid) - began > MOST_MILLISECONDS) end(`more than ${MOST_MILLISECONDS} ms`);
      }, 50);
      child.on("message", (message) => {
        if (message.fault) return end(message.fault);
        if (file) note({ file, ...message });
        file = files.shift();
        if (!file) return end();
        began = workOf(child.pid);
        child.send(file);
      });
      child.on("exit", (code, signal) => {
        end(`ended the process (${signal ?? code})`);
        done();
      });
    });
  const lane = async () => {
    while (files.length > 0) await process_();
  };
  await Promise.all(Array.from({ length: availableParallelism() }, lane));
  for (const [outcome, times] of [...outcomes].sort()) console.log(`${String(times).padStart(8)}  ${outcome}`);
  for (const fault of faults) console.log(`FAULT ${fault}`);
  console.log(
    `${count} models; the slowest took ${Math.round(slowest.took)} ms (${slowest.file}), ` +
      `the largest ${Math.round(largest.memory / 2 ** 20)} MiB (${largest.file})`,
  );
  console.log(`${count - faults.length} passed, ${faults.length} failed`);
  process.exitCode = faults.length > 0 ? 1 : 0;
}

async function work() {
  const script = pathToFileURL(resolve(build, "gradcam_web.js"));
  const glue = await import(script);
  const module_or_path = readFileSync(new URL("gradcam_web_bg.wasm", script));
  const { memory } = await glue.default({ module_or_path });
  const engine = await glue.Engine.start();
  process.on("message", async (file) => {
    const began = workOf(process.pid);
    try {
      const outcome = await exercise(engine, readFileSync(join(folder, file)), parseInt(file) || 0);
      const took = workOf(process.pid) - began;
      const bytes = memory.buffer.byteLength;
      process.send(bytes > MOST_MEMORY ? { fault: `${bytes >> 20} MiB` } : { outcome, took, memory: bytes });
    } catch (error) {
      process.send({ fault: `${globalThis.gradcamPanic ?? error?.stack ?? error}`.slice(0, 500) });
    }
  });
  process.send({});
}

/** What comes of a model, in a word or two. */
async function exercise(engine, bytes, seed) {
  let network;
  try {
    network = engine.load(bytes, [], []);
  } catch (error) {
    return `refused: ${named(error)}`;
  }
  const { input, layers, classes } = network.info();
  const numbers = input.channels * input.width * input.height;
  if (numbers > MOST_NUMBERS) {
    network.free();
    return "loaded, and too large to be run here";
  }
  const values = Float32Array.from({ length: numbers }, (_, i) => ((i * 7919) % 255) / 127.5 - 1);
  const began = performance.now();
  let prediction;
  try {
    prediction = await network.classify(values);
    const { scores } = prediction.classified();
    if (scores.length !== classes) throw new Error(`${scores.length} scores for ${classes} classes`);
  } catch (error) {
    network.free();
    return `loaded, then ${named(error)}`;
  }
  // Every method at the default layer, and some of them at others: where they begin changes from model to model.
  for (let turn = 0; turn < METHODS.length + 3 && performance.now() - began < PATIENCE; turn++) {
    const method = METHODS[(seed + turn) % METHODS.length].name;
    const other = turn - METHODS.length;
    const at = other < 0 ? [] : [layers[(seed + other) % layers.length].name];
    const question = { method, layers: at, target: "score", augSmooth: false, eigenSmooth: false };
    const isStopped = () => performance.now() - began > PATIENCE;
    try {
      await prediction.ask("explain", question, () => {}, isStopped);
    } catch (error) {
      // A method that the network can't serve says so.
      named(error);
    }
  }
  prediction.free();
  network.free();
  return "explained";
}

/** The kind of an error of the engine's own, which says in a sentence what is wrong; any other is a fault. */
function named(error) {
  if (!ERROR_NAMES.includes(error?.name) || !error.message || error.message.length > 5000) throw error;
  return error.name;
}
