import { loadModel } from "./model.js";

/** How long a model that nobody uses stays: an element that is moved in the page leaves and comes back. */
const GRACE = 5_000;

/** @typedef {import("./model.js").Model} Model */
/** @type {Map<string, { model: Promise<Model>, users: number, stop: AbortController, fraction: number, watchers: Set<(fraction: number) => void> }>} */
const shared = new Map();

/**
 * The page's one copy of a model, loaded when the first element asks for it and disposed of after the last.
 *
 * @param {string} address @param {"auto" | "webgpu" | "cpu"} backend
 * @param {(fraction: number) => void} onProgress
 * @returns {{ model: Promise<Model>, release: () => void }}
 */
export function borrowModel(address, backend, onProgress) {
  const key = `${backend} ${address}`;
  let entry = shared.get(key);
  if (!entry) {
    const stop = new AbortController();
    entry = { users: 0, stop, fraction: 0, watchers: new Set() };
    entry.model = loadModel(address, { backend, signal: stop.signal, onProgress: report.bind(null, entry) });
    shared.set(key, entry);
    // A failure is not kept: the next element that asks tries again.
    entry.model.catch(() => shared.get(key) === entry && shared.delete(key));
  }
  const { watchers } = entry;
  entry.users++;
  watchers.add(onProgress);
  onProgress(entry.fraction);
  let released = false;
  const release = () => {
    if (released) return;
    released = true;
    watchers.delete(onProgress);
    if (--entry.users === 0) setTimeout(drop, GRACE, key, entry);
  };
  return { model: entry.model, release };
}

function report(entry, fraction) {
  entry.fraction = fraction;
  for (const watcher of entry.watchers) watcher(fraction);
}

function drop(key, entry) {
  if (entry.users > 0 || shared.get(key) !== entry) return;
  shared.delete(key);
  entry.stop.abort();
  entry.model.then((model) => model.dispose()).catch(() => {});
}
