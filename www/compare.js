// The same image under many methods, layers or classes, one after the other.

import { METHODS } from "./gradcam-web/api.js";
import { $, announce, create } from "./dom.js";
import { percent } from "./format.js";
import { MEASURES } from "./judge.js";
import { Tile, coalesced, timeOf } from "./tiles.js";

/** How many layers and classes are compared unless others are chosen. */
const LAYERS = 8;
const CLASSES = 6;
/** How many classes there are to choose from. */
const LISTED = 24;

/**
 * Settings by their names in the address.
 * @typedef {{ method: string, class: string, layer: string[] | undefined, target: string, "rather-than": string | undefined, smooth: string[] | undefined }} Request
 */

export class ComparePanel {
  #on;
  /** @type {import("gradcam-web").Prediction | undefined} */ #prediction;
  /** What the large picture shows. @type {import("gradcam-web").Explanation | undefined} */ #explanation;
  #what = "methods";
  /** What the tiles show, whatever is chosen since. */ #compared = "methods";
  /** The names that are checked, by what is compared. */
  #chosen = { methods: new Set(METHODS.filter(({ forwardPasses }) => forwardPasses === "1").map(({ name }) => name)) };
  /** @type {{ tile: Tile, title: string, words?: string[], request: Request, explanation?: import("gradcam-web").Explanation, measures?: import("gradcam-web").Measures }[]} */
  #tiles = [];
  /** @type {AbortController | undefined} */ #run;
  #redraw;

  /**
   * @param {object} on
   * @param {(request: Request, explanation: import("gradcam-web").Explanation) => void} on.choose
   * @param {(explanation: import("gradcam-web").Explanation, measures: import("gradcam-web").Measures) => void} on.measured
   * @param {() => Omit<Request, "method" | "class">} on.settings
   * @param {() => import("gradcam-web").Style} on.style
   */
  constructor(on) {
    this.#on = on;
    this.#redraw = coalesced(() => this.#tiles.forEach(({ tile }) => tile.draw(on.style())));
    for (const radio of document.querySelectorAll("#compare input[name=what]")) {
      radio.addEventListener("change", () => {
        this.#what = radio.value;
        this.#list();
      });
    }
    $("compare-run").addEventListener("click", () => (this.#run ? this.stop() : this.run()));
    $("compare-all").addEventListener("click", () => this.#check(() => true));
    $("compare-none").addEventListener("click", () => this.#check(() => false));
    $("compare-options").addEventListener("change", ({ target }) => {
      if (target.checked) this.#chosen[this.#what].add(target.value);
      else this.#chosen[this.#what].delete(target.value);
      this.#count();
    });
  }

  /** Another image, or another network. @param {import("gradcam-web").Prediction | undefined} prediction */
  show(prediction) {
    this.stop();
    this.#prediction = prediction;
    this.#explanation = undefined;
    this.#tiles = [];
    $("compare-tiles").replaceChildren();
    $("compare-status").textContent = $("compare-title").textContent = "";
    $("compare-stale").hidden = true;
    if (!prediction) return;
    this.#chosen = {
      methods: this.#chosen.methods,
      layers: new Set(spread(prediction.model)),
      classes: new Set(prediction.top(CLASSES).map(({ index }) => String(index))),
    };
    this.#list();
  }

  /** @param {import("gradcam-web").Explanation} explanation what the large picture shows now */
  explained(explanation) {
    const first = !this.#explanation;
    this.#explanation = explanation;
    if (first) this.#list();
    this.#mark();
    this.#tellStale();
  }

  /** Says so if the tiles are for another class, layer or question than the large picture. */
  #tellStale() {
    const { targetClass } = this.#explanation;
    const settings = this.#on.settings();
    const kinds = {
      methods: ["class", "layer", "target", "rather-than", "smooth"],
      layers: ["class", "method", "target", "rather-than", "smooth"],
      classes: ["method", "layer", "target", "rather-than", "smooth"],
    };
    const now = { ...settings, method: this.#explanation.method, class: String(targetClass) };
    const then = this.#tiles[0]?.request;
    const isStale = Boolean(then) && kinds[this.#compared].some((name) => String(then[name]) !== String(now[name]));
    $("compare-tiles").classList.toggle("stale-tiles", isStale);
    $("compare-stale").hidden = !isStale;
    $("compare-stale").textContent = isStale
      ? `These maps are as they were asked for: ${$("compare-title").textContent}. The picture shows something else by now; compare again.`
      : "";
  }

  restyle() {
    this.#redraw();
  }

  stop() {
    this.#run?.abort();
    this.#run = undefined;
    for (const { tile, words, measures } of this.#tiles) {
      tile.stop();
      if (words && !measures) tile.detail(...words);
    }
    this.#button();
  }

  async run() {
    const prediction = this.#prediction;
    if (!prediction || !this.#explanation) return;
    this.stop();
    const run = (this.#run = new AbortController());
    this.#compared = this.#what;
    const requests = this.#requests();
    this.#tiles = requests.map(({ title, ...request }) => {
      const entry = { request, title, explanation: undefined };
      entry.tile = new Tile(title, () => this.#on.choose(request, entry.explanation));
      return entry;
    });
    $("compare-tiles").replaceChildren(...this.#tiles.map(({ tile }) => tile.root));
    this.#tellStale();
    $("compare-choice").open = false;
    this.#button();
    let done = 0;
    // The quick ones first: nobody should wait for them behind a slow one.
    for (const entry of this.#tiles.toSorted((a, b) => Number(isSlow(a.request)) - Number(isSlow(b.request)))) {
      const { tile, request } = entry;
      this.#tell(`${done} of ${requests.length}`);
      tile.run(0);
      try {
        const onProgress = (fraction) => run.signal.aborted || tile.run(fraction);
        const explanation = await prediction.explain({ ...optionsOf(request), signal: run.signal, onProgress });
        if (run.signal.aborted) return;
        entry.explanation = explanation;
        const twin = this.#tiles.find(
          ({ explanation: other }) => other && other !== explanation && areAlike(other.heatmap, explanation.heatmap),
        );
        entry.words = [timeOf(explanation), ...(twin ? [`the same map as ${twin.title}`] : [])];
        tile.show(explanation, entry.words, this.#on.style());
        this.#mark();
        if ($("compare-measure").checked) await this.#measure(entry, run.signal);
        if (run.signal.aborted) return;
      } catch (error) {
        if (run.signal.aborted) return;
        tile.refuse(error);
      }
      done++;
    }
    this.#run = undefined;
    this.#button();
    const refused = this.#tiles.filter(({ explanation }) => !explanation).length;
    this.#tell(`${done - refused} maps${refused ? `; ${refused} can't be had here` : ""}. Choose one to see it large.`);
    announce($("compare-status").textContent);
  }

  /** What is checked, in the order of the list, each with all that it takes. @returns {(Request & { title: string })[]} */
  #requests() {
    const { method, targetClass, targetLayer } = this.#explanation;
    const { model } = this.#prediction;
    // CAM was taken where it can be; another method goes where the settings say.
    const base = { ...this.#on.settings(), method, class: String(targetClass) };
    const names = this.#options()
      .map(({ value }) => value)
      .filter((value) => this.#chosen[this.#what].has(value));
    $("compare-title").textContent = {
      methods: `Methods, for ${model.labels[targetClass]} at ${base.layer?.join(", ") ?? model.defaultLayer}`,
      layers: `Layers, for ${model.labels[targetClass]} by ${titleOf(method)}`,
      classes: `Classes, by ${titleOf(method)} at ${targetLayer || "the input"}`,
    }[this.#what];
    return names.map((name) =>
      ({
        methods: () => ({ ...base, method: name, title: titleOf(name) }),
        layers: () => ({ ...base, layer: [name], title: name }),
        classes: () => ({ ...base, class: name, title: model.labels[name] }),
      })[this.#what](),
    );
  }

  async #measure(entry, signal) {
    const { tile, words, explanation } = entry;
    const onProgress = (fraction) =>
      signal.aborted || tile.detail(...words, `measuring ${Math.round(100 * fraction)} %`);
    try {
      entry.measures = await explanation.measure({ signal, onProgress });
    } catch (error) {
      // The map is there, and stays.
      if (!signal.aborted) tile.detail(...words, `Not measured: ${error.message}`);
      return;
    }
    this.#on.measured(explanation, entry.measures);
    this.#showMeasures();
  }

  /** The measures of each tile, the best of each kind marked. */
  #showMeasures() {
    const measured = this.#tiles.filter(({ measures }) => measures);
    // What one class loses says nothing of what another had to lose.
    const isComparable = measured.every(({ request }) => request.class === measured[0].request.class);
    // By the numbers as they are shown: of two that read the same neither is better.
    const best = MEASURES.map(({ value, text, better }) =>
      text(better(...measured.map(({ measures }) => value(measures)))),
    );
    for (const { tile, words, measures } of measured) {
      const rows = MEASURES.flatMap(({ name, title, value, text }, i) => {
        const number = text(value(measures));
        const isBest = isComparable && measured.length > 1 && number === best[i];
        return [
          create("span", { textContent: name, title }),
          create(isBest ? "b" : "span", { textContent: number, title: isBest ? "the best of these" : "" }),
        ];
      });
      tile.detail(...words, create("span", { className: "tile-measures" }, ...rows));
    }
  }

  /** Everything that could be compared. @returns {{ value: string, text: string, detail: string }[]} */
  #options() {
    const { model } = this.#prediction;
    if (this.#what === "methods") {
      return METHODS.map(({ name, title, forwardPasses }) => ({
        value: name,
        text: title,
        detail: forwardPasses === "1" ? "" : `runs: ${forwardPasses}`,
      }));
    }
    if (this.#what === "layers") {
      return model.layers.map(({ name, shape: [channels, height, width] }) => ({
        value: name,
        text: name,
        detail: `${width} × ${height}, ${channels}`,
      }));
    }
    const classes = this.#prediction.top(LISTED);
    const target = this.#explanation?.targetClass;
    if (target !== undefined && !classes.some(({ index }) => index === target))
      classes.push(this.#prediction.top(Infinity).find(({ index }) => index === target));
    return classes.map(({ index, label, probability }) => ({
      value: String(index),
      text: label,
      detail: percent(probability),
    }));
  }

  #list() {
    if (!this.#prediction) return;
    const chosen = this.#chosen[this.#what];
    $("compare-options").replaceChildren(
      ...this.#options().map(({ value, text, detail }) =>
        create(
          "label",
          {},
          create("input", { type: "checkbox", value, checked: chosen.has(value) }),
          create("span", { className: "option-text", textContent: text, title: text }),
          create("span", { className: "quiet", textContent: detail }),
        ),
      ),
    );
    this.#count();
  }

  #check(isChosen) {
    for (const box of $("compare-options").querySelectorAll("input")) {
      box.checked = isChosen(box.value);
      if (box.checked) this.#chosen[this.#what].add(box.value);
      else this.#chosen[this.#what].delete(box.value);
    }
    this.#count();
  }

  #count() {
    const options = this.#options();
    const count = options.filter(({ value }) => this.#chosen[this.#what].has(value)).length;
    $("compare-count").textContent = `${count} of ${options.length} ${this.#what}`;
    $("compare-run").disabled = !this.#run && count === 0;
  }

  #button() {
    $("compare-run").textContent = this.#run ? "Stop" : "Compare";
    $("compare-run").classList.toggle("primary", !this.#run);
    if (!this.#run && $("compare-status").textContent.includes(" of ")) this.#tell("Stopped.");
  }

  /** Presses the tile that the large picture shows. */
  #mark() {
    for (const { tile, explanation } of this.#tiles)
      tile.press(explanation === this.#explanation || isSame(explanation, this.#explanation));
  }

  #tell(text) {
    $("compare-status").textContent = text;
  }
}

/** @param {Request} request */
function optionsOf({ method, class: targetClass, layer, target, "rather-than": ratherThan, smooth = [] }) {
  return {
    method,
    targetClass: Number(targetClass),
    targetLayer: layer,
    target,
    ratherThan,
    augSmooth: smooth.includes("aug"),
    eigenSmooth: smooth.includes("eigen"),
  };
}

function isSame(a, b) {
  return (
    Boolean(a && b) &&
    a.method === b.method &&
    a.targetClass === b.targetClass &&
    a.targetLayer === b.targetLayer &&
    a.map.values.every((value, i) => Object.is(value, b.map.values[i]))
  );
}

/**
 * Whether two heatmaps differ by rounding only. On a network with pooling and one linear layer several methods are one
 * by algebra, and their agreement is no evidence.
 */
function areAlike(a, b) {
  return (
    a.width === b.width && a.height === b.height && a.values.every((value, i) => Math.abs(value - b.values[i]) < 1e-3)
  );
}

function isSlow({ method }) {
  return METHODS.find(({ name }) => name === method)?.forwardPasses !== "1";
}

function titleOf(method) {
  return METHODS.find(({ name }) => name === method)?.title ?? method;
}

/** Layers at even steps through the network, the default one among them. */
function spread({ layers, defaultLayer }) {
  const names = layers.map(({ name }) => name);
  const count = Math.min(LAYERS, names.length);
  const even = Array.from({ length: count }, (_, i) => names[Math.round(((i + 1) * names.length) / count) - 1]);
  return [...new Set([...even, defaultLayer])];
}
