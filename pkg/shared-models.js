// @ts-check
import { loadModel } from "./model.js";

/** How long a model that nobody uses stays: an element that is moved in the page leaves and comes back. */
const GRACE = 5_000;

/** @typedef {import("./model.js").Model} Model */
/** @typedef {{ model: Promise<Model>, users: number, stop: AbortController, progress: { fraction: number, watchers: Set<(fraction: number) => void> } }} Shared */
/** @type {Map<string, Shared>} */
const shared = new Map();

/**
 * The page's one copy of a model, loaded when the first element asks for it and disposed of after the last.
 *
 * @param {string} address @param {{ backend: "auto" | "webgpu" | "cpu", labels?: string }} options
 * @param {(fraction: number) => void} onProgress
 * @returns {{ model: Promise<Model>, release: () => void }}
 */
export function borrowModel(address, options, onProgress) {
  const key = JSON.stringify([address, options.backend, options.labels]);
  const entry = shared.get(key) ?? load(key, address, options);
  const { fraction, watchers } = entry.progress;
  entry.users++;
  watchers.add(onProgress);
  onProgress(fraction);
  let released = false;
  const release = () => {
    if (released) return;
    released = true;
    watchers.delete(onProgress);
    if (--entry.users === 0) setTimeout(drop, GRACE, key, entry);
  };
  return { model: entry.model, release };
}

/**
 * @param {string} key @param {string} address @param {{ backend: "auto" | "webgpu" | "cpu", labels?: string }} options
 * @returns {Shared}
 */
function load(key, address, options) {
  const stop = new AbortController();
  /** @type {Shared["progress"]} */
  const progress = { fraction: 0, watchers: new Set() };
  /** @param {number} fraction */
  const onProgress = (fraction) => {
    progress.fraction = fraction;
    for (const watcher of progress.watchers) watcher(fraction);
  };
  const model = loadModel(address, { ...options, signal: stop.signal, onProgress });
  const entry = { model, users: 0, stop, progress };
  shared.set(key, entry);
  // A failure is not kept: the next element that asks tries again.
  model.catch(() => shared.get(key) === entry && shared.delete(key));
  return entry;
}

/** @param {string} key @param {Shared} entry */
function drop(key, entry) {
  if (entry.users > 0 || shared.get(key) !== entry) return;
  shared.delete(key);
  entry.stop.abort();
  entry.model.then((model) => model.dispose()).catch(() => {});
}
