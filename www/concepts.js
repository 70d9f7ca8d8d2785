// The few concepts of which a layer's activations are made, each in its own colour, and the classes each speaks for.

import { $, announce, create } from "./dom.js";
import { percent } from "./format.js";
import { Tile, coalesced } from "./tiles.js";

/** How many classes of each concept are named. */
const CLASSES = 3;

export class ConceptsPanel {
  #on;
  /** @type {import("gradcam-web").Prediction | undefined} */ #prediction;
  #layer = "";
  /** @type {import("gradcam-web").Factorization | undefined} */ #found;
  /** @type {Tile[]} */ #tiles = [];
  /** @type {AbortController | undefined} */ #run;
  #redraw;

  /**
   * @param {object} on
   * @param {(concept: import("gradcam-web").Concept, sentence: string) => void} on.choose
   * @param {() => import("gradcam-web").Style} on.style
   * @param {(error: Error) => void} on.error
   */
  constructor(on) {
    this.#on = on;
    this.#redraw = coalesced(() => this.#draw());
    $("concepts-run").addEventListener("click", () => (this.#run ? this.#stop("Stopped.") : this.#find()));
    $("concepts-count").addEventListener("input", ({ target }) => {
      $("concepts-number").textContent = target.value;
      target.ariaValueText = `${target.value} concepts`;
    });
  }

  show(prediction) {
    this.#prediction = prediction;
    this.#clear();
  }

  /** @param {import("gradcam-web").Explanation} explanation */
  explained({ targetLayers }) {
    const layer = targetLayers.at(-1) ?? this.#prediction.model.defaultLayer;
    if (layer !== this.#layer) this.#clear();
    this.#layer = layer;
  }

  restyle() {
    this.#redraw();
  }

  #clear() {
    this.#stop("");
    this.#found = undefined;
    this.#tiles = [];
    $("concepts-canvas").hidden = true;
    $("concepts-tiles").replaceChildren();
    $("concepts-title").textContent = "";
  }

  #stop(words) {
    this.#run?.abort();
    this.#run = undefined;
    $("concepts-run").textContent = "Find concepts";
    $("concepts-status").textContent = words;
  }

  async #find() {
    const { signal } = (this.#run = new AbortController());
    const layer = this.#layer;
    $("concepts-run").textContent = "Stop";
    const onProgress = (fraction) => {
      if (!signal.aborted) $("concepts-status").textContent = `${Math.round(100 * fraction)} %`;
    };
    onProgress(0);
    try {
      const found = await this.#prediction.factorize({
        concepts: $("concepts-count").valueAsNumber,
        targetLayer: layer,
        signal,
        onProgress,
      });
      if (signal.aborted) return;
      this.#stop("");
      this.#found = found;
      this.#show(layer);
    } catch (error) {
      if (signal.aborted) return;
      this.#stop("");
      this.#on.error(error);
    }
  }

  #show(layer) {
    $("concepts-title").textContent = layer;
    this.#tiles = this.#found.concepts.map((concept, i) => {
      const classes = concept.top(CLASSES).map(({ label, probability }) => `${label} ${percent(probability)}`);
      const tile = new Tile(`Concept ${i + 1}`, () =>
        this.#on.choose(concept, `Concept ${i + 1} of ${layer}: ${classes.join(", ")}`),
      );
      const swatch = create("span", { className: "swatch" });
      swatch.style.backgroundColor = concept.color;
      tile.show(concept, [swatch, ...classes], this.#on.style());
      return tile;
    });
    $("concepts-tiles").replaceChildren(...this.#tiles.map(({ root }) => root));
    this.#draw();
    announce(`${this.#tiles.length} concepts.`);
  }

  #draw() {
    if (!this.#found) return;
    const style = this.#on.style();
    this.#found.draw($("concepts-canvas"), { opacity: style.opacity });
    $("concepts-canvas").hidden = false;
    this.#tiles.forEach((tile) => tile.draw(style));
  }
}
