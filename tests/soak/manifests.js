// Mutated manifests and metadata: `cargo xtask soak manifests [--count N] [--first N]` runs it.
//
// Each is read, or refused with one sentence of the package's own, within a second of work. Mutants are made by their numbers, so that
// each can be made again.

import { parseArgs } from "node:util";
import { GradCamError } from "../../pkg/errors.js";
import { readModel } from "../../pkg/manifest.js";
import { choosePreprocess, labelsFromMetadata } from "../../pkg/preprocess.js";

const MOST_MILLISECONDS = 1000;
/** As long as a sentence may be. */
const MOST_CHARACTERS = 4001;

const { values: options } = parseArgs({
  options: { count: { type: "string", default: "100000" }, first: { type: "string", default: "0" } },
});

/** Numbers that are the same in every run. */
function dice(seed) {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x9e3779b9) >>> 0;
    let z = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return (z ^ (z >>> 15)) >>> 0;
  };
  const below = (count) => (count > 0 ? next() % count : 0);
  return { below, one: (of) => of[below(of.length)] };
}

const MANIFEST = {
  name: "a network",
  file: "data:,model",
  bytes: 5,
  labels: ["cat", "dog"],
  targetLayer: "features",
  preprocess: { width: 64, height: 32, resize: "letterbox", mean: [0.5], std: [0.25, 0.5, 1], order: "BGR" },
  certainty: { probability: 0.4, energy: 3, rest: 0.5 },
};

const ODD = [
  null,
  true,
  0,
  -1,
  0.5,
  1e308,
  2 ** 32,
  2 ** 53,
  "",
  "1",
  "NaN",
  "data:,model",
  "data:application/json,[1,2]",
  "http://[",
  "%",
  "\ud800",
  "x".repeat(10_000),
  [],
  [[]],
  [null],
  [0],
  ["a", "b"],
  Array(1000).fill(1),
  {},
  { length: 1e9 },
  { length: -1 },
  { toString: 1, valueOf: 1 },
  { then: 1 },
  { toJSON: 1 },
  JSON.parse('{"__proto__": {"file": 1}}'),
];

/** The object and all objects inside it. */
function insides(value) {
  if (typeof value !== "object" || value === null) return [];
  return [value, ...Object.values(value).flatMap(insides)];
}

function mutant(roll) {
  const manifest = structuredClone(MANIFEST);
  for (let change = roll.below(4); change >= 0; change--) {
    const inside = roll.one(insides(manifest));
    const key = roll.below(8)
      ? roll.one(Object.keys(inside))
      : roll.one(["file", "constructor", "length", "0", "mean"]);
    if (key === undefined || (Array.isArray(inside) && key === "length")) continue;
    if (roll.below(6) === 0) delete inside[key];
    else inside[key] = structuredClone(roll.one(ODD));
  }
  return damaged(JSON.stringify(manifest), roll);
}

/** A text, now and then with some characters changed, doubled or gone. */
function damaged(text, roll) {
  if (roll.below(3)) return text;
  const at = roll.below(text.length);
  const to = at + roll.below(20);
  const part = roll.one(["", text.slice(at, to).repeat(2), roll.one([...'{}[]",:\\0e-.']).repeat(1 + roll.below(50))]);
  return text.slice(0, at) + part + text.slice(to);
}

const METADATA = {
  preprocess: [
    "mean=[0.485, 0.456, 0.406] std=[0.229, 0.224, 0.225], RGB, crop",
    "x / 127.5 - 1, BGR, letterbox",
    "0..1",
    JSON.stringify(MANIFEST.preprocess),
  ],
  mean: ["0.5", "[0.1, 0.2, 0.3]", "1e999", "-.5.5.5"],
  std: ["0.5", "[0.1, 0.2, 0]", "0"],
  task: ["classify"],
  imgsz: ["[224, 224]"],
  labels: ["cat, dog", '["cat", "dog"]', "{0: 'cat', 1: \"dog\"}", '{"1": "dog", "0": "cat"}', "cat\ndog"],
  names: ["{0: 'cat''s', 1: 'dog'}"],
};

function metadata(roll) {
  const entries = Object.entries(METADATA).filter(() => roll.below(2));
  return new Map(
    entries.map(([key, values]) => {
      const odd = () => JSON.stringify(roll.one(ODD)) ?? "";
      const text = roll.below(5) ? damaged(roll.one(values), roll) : odd();
      return [key, roll.below(20) ? text : text.repeat(1 + Math.floor(2e4 / (text.length + 1)))];
    }),
  );
}

/** Reads all there is to be read, and returns what came of it. */
async function exercise(seed) {
  const roll = dice(seed);
  const read = await readModel(`data:application/json,${encodeURIComponent(mutant(roll).toWellFormed())}`, {});
  const info = { input: { width: 8, height: 8, channels: 1 + roll.below(4) }, classes: 2, metadata: metadata(roll) };
  const { preprocess } = choosePreprocess(info, undefined, roll.below(2) ? read.preprocess : undefined);
  const lists = [preprocess.mean, preprocess.std];
  if (!lists.every((list) => Array.isArray(list) && list.length > 0 && list.every(Number.isFinite)))
    throw new Error(`mean and std ${JSON.stringify(lists)}`);
  const labels = labelsFromMetadata(info) ?? read.labels ?? [];
  if (!labels.every((label) => typeof label === "string")) throw new Error(`labels ${JSON.stringify(labels)}`);
  return "read";
}

const [first, count] = [Number(options.first), Number(options.count)];
/** What this process has worked, in milliseconds, whatever else the machine does. */
const worked = () => (process.cpuUsage().user + process.cpuUsage().system) / 1000;
const outcomes = {};
let [faults, slowest] = [0, 0];
for (let seed = first; seed < first + count; seed++) {
  const began = worked();
  let outcome;
  try {
    outcome = await exercise(seed);
  } catch (error) {
    const isOwn = error instanceof GradCamError && error.message.length > 0 && error.message.length <= MOST_CHARACTERS;
    if (isOwn) outcome = error.name;
    else console.log(`FAULT ${seed}: ${String(error?.stack ?? error).slice(0, 300)}`);
  }
  const took = worked() - began;
  slowest = Math.max(slowest, took);
  if (took > MOST_MILLISECONDS) console.log(`FAULT ${seed}: ${Math.round(took)} ms`);
  if (!outcome || took > MOST_MILLISECONDS) faults++;
  else outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
}
if ({}.file !== undefined) throw new Error("a manifest changed what every object has");
console.log(outcomes, `the slowest took ${Math.round(slowest)} ms`);
console.log(`${count - faults} passed, ${faults} failed`);
process.exitCode = faults > 0 ? 1 : 0;
