// The settings: what a link to this page carries, what the browser's history remembers, and who hears of a change.

import { ATTRIBUTES } from "./gradcam-web/attributes.js";
import { onNetworks, readStore, removeStored, store as keep } from "./storage.js";

const OF_THE_ELEMENT = ["method", "target", "colormap", "opacity", "backend"];
/** What the element takes without these attributes. @type {Record<string, string>} */
export const DEFAULTS = Object.fromEntries(
  ATTRIBUTES.filter(({ name }) => OF_THE_ELEMENT.includes(name)).map(({ name, default: usual }) => [
    name,
    String(usual),
  ]),
);
const NAMES = [
  "src",
  "model",
  "method",
  "class",
  "layer",
  "target",
  "rather-than",
  "smooth",
  "colormap",
  "opacity",
  "backend",
];
/** What "reset" takes back: everything but the photo, its class and the network. */
const ADJUSTABLE = ["method", "layer", "target", "rather-than", "smooth", "colormap", "opacity"];

/** How long what a tab had stays for a reload after its last use, in milliseconds. */
const LONG = 7 * 24 * 3600 * 1000;
/** In place of an entry's number: when the tab was last in use. */
const USED = "used";
/** How long to leave the address bar alone after the browser refused to change it again, in milliseconds. */
const PAUSE = 1000;

/**
 * Settings by their names in the address. `src` is an address or what was dropped; `layer` is a list, of several layers the
 * mean is shown; `smooth` is aug, eigen or both.
 * @typedef {{ src?: string | Blob, fileName?: string, model?: string, method: string, class?: string, layer?: string[],
 *   target: string, "rather-than"?: string, smooth?: string[], colormap: string, opacity: string, backend: string, own?: import("./own.js").OwnModel }} Settings
 */

export class Store {
  /** @type {Settings} */ state = read();
  /** What an address can't hold, by the number in the history's entry. @type {Map<number, object>} */
  #kept = new Map();
  #entry = history.state?.entry ?? 0;
  #listeners = new Set();
  #later;
  /** Own networks that were taken out of this browser: a reload is not to bring them back. @type {Set<string>} */
  #removed = new Set();
  /** When this tab first had what the address can't hold: the browser keeps it by that. @type {number | undefined} */ #local =
    history.state?.local;
  /** Where the tabs of this browser ask each other whose that is. */
  #tabs = new BroadcastChannel("gradcam-web tabs");

  constructor() {
    // Not while the page begins.
    setTimeout(() => void this.#tidy(), PAUSE);
    onNetworks(({ id, isKept }) => (isKept ? this.#removed.delete(id) : this.#removed.add(id)));
    this.#tabs.addEventListener("message", ({ data: { local, isTaken } }) => {
      if (local !== this.#local) return;
      if (isTaken) this.#part();
      else this.#tabs.postMessage({ local, isTaken: true });
    });
    addEventListener("popstate", () => {
      const [before, left] = [this.state, this.#entry];
      this.#entry = history.state?.entry ?? 0;
      this.state = { ...read(), ...this.#kept.get(this.#entry) };
      // What was refused left a step that is like the one before it: that goes further.
      if (isSame(before, this.state) && this.#entry !== left) return history.go(Math.sign(this.#entry - left));
      // What was kept since this entry was left is found by a reload, too.
      this.#write(false);
      this.#tell(before, true);
    });
  }

  /** @param {(state: Settings, before: Settings, returned: boolean) => void} listener `returned` by the browser's own buttons */
  watch(listener) {
    this.#listeners.add(listener);
  }

  /** After a reload, or coming back from another page: what was open here and no address holds. */
  async restore() {
    if (!this.#local) return;
    for (const [key, kept] of await readStore("tabs")) {
      const [tab, entry] = key.split(" ").map(Number);
      if (tab === this.#local && entry >= 0) this.#kept.set(entry, kept);
    }
    this.state = { ...this.state, ...this.#kept.get(this.#entry) };
    // Nobody answers, unless this tab is a copy of one that is there.
    this.#tabs.postMessage({ local: this.#local, isTaken: false });
  }

  /** A copy of a tab has its history, too. From then on each keeps what is its own. */
  #part() {
    // Two copies may part at once.
    this.#local = Date.now() + Math.random();
    for (const [entry, kept] of this.#kept) this.#store(entry, kept);
    this.#write(false);
  }

  /**
   * Takes over a choice. `step`: the browser's Back returns to what was before.
   * @param {Partial<Settings>} change @param {{ step?: boolean }} [options]
   */
  set(change, { step = false } = {}) {
    const before = this.state;
    this.state = { ...before, ...change };
    if (step) this.#entry++;
    this.#keep();
    this.#write(step);
    this.#tell(before, false);
  }

  /** Takes back what was adjusted; photo, class and network stay. */
  reset() {
    this.set({ ...Object.fromEntries(ADJUSTABLE.map((name) => [name, DEFAULTS[name]])) });
  }

  /** What the address can't hold: for the way back in this tab, and for a reload. */
  #keep() {
    const { src, fileName, own } = this.state;
    const kept = { fileName, own, ...(isAddress(src) ? {} : { src }) };
    const before = this.#kept.get(this.#entry) ?? {};
    this.#kept.set(this.#entry, kept);
    const isLocal = [kept, before].some(({ own, src }) => own || src);
    // A slider changes nothing of it, and files are long.
    if (!isLocal || isSame(kept, before)) return;
    this.#local ??= Date.now();
    this.#store(this.#entry, kept);
    void this.#sign();
  }

  #store(entry, kept) {
    const stored = this.#removed.has(kept.own?.id) ? { ...kept, own: undefined } : kept;
    void keep("tabs", `${this.#local} ${entry}`, stored).catch(() => {});
  }

  /** Leaves with what this tab has stored when that was last of use. */
  #sign() {
    return keep("tabs", `${this.#local} ${USED}`, { time: Date.now() }).catch(() => {});
  }

  /** Takes away what tabs of long ago have left. */
  async #tidy() {
    if (this.#local) await this.#sign();
    const stored = await readStore("tabs");
    const tabOf = (key) => Number.parseInt(key);
    const used = new Map(stored.map(([key]) => [tabOf(key), tabOf(key)]));
    for (const [key, { time }] of stored) if (key.endsWith(USED)) used.set(tabOf(key), time);
    for (const [key] of stored)
      if (used.get(tabOf(key)) < Date.now() - LONG) void removeStored("tabs", key).catch(() => {});
  }

  #tell(before, returned) {
    for (const listener of this.#listeners) listener(this.state, before, returned);
  }

  /** Puts the settings that differ from their defaults into the address bar. */
  #write(step) {
    const query = new URLSearchParams();
    for (const name of NAMES) {
      const isUsual = (value) => value === undefined || value === null || String(value) === DEFAULTS[name];
      if (name === "src" && !isAddress(this.state.src)) continue;
      for (const value of [this.state[name]].flat().filter((value) => !isUsual(value))) query.append(name, value);
    }
    const text = query.toString();
    clearTimeout(this.#later);
    // Even an address that stays the same takes the browser some milliseconds.
    const isSame = text === new URLSearchParams(location.search).toString() && history.state?.local === this.#local;
    if (!step && isSame) return;
    try {
      const write = step ? history.pushState : history.replaceState;
      write.call(history, { entry: this.#entry, local: this.#local }, "", text ? `?${text}` : location.pathname);
    } catch {
      // Safari takes a hundred changes in half a minute, and a slider makes more.
      this.#later = setTimeout(() => this.#write(step), PAUSE);
    }
  }
}

/** Whether two objects have the same values; lists are those of the address, which are new each time. */
function isSame(one, other) {
  const names = Object.keys({ ...one, ...other });
  return names.every(
    (name) => one[name] === other[name] || (Array.isArray(one[name]) && String(one[name]) === String(other[name])),
  );
}

function isAddress(src) {
  return src === undefined || (typeof src === "string" && !src.startsWith("blob:"));
}

/** The address's settings. Forms send what was left empty, too, so an empty one is none. @returns {Settings} */
function read() {
  const query = new URLSearchParams(location.search);
  const settings = Object.fromEntries(NAMES.map((name) => [name, query.get(name) || DEFAULTS[name]]));
  const list = (name) => {
    const values = [...new Set(query.getAll(name).filter(Boolean))];
    return values.length > 0 ? values : undefined;
  };
  return { ...settings, layer: list("layer"), smooth: list("smooth") };
}
