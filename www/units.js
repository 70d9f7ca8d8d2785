// The channels of a layer that add most to the score, each as a small map over the image.

import { $, create } from "./dom.js";
import { signed } from "./format.js";
import { Tile, coalesced } from "./tiles.js";

/** How many are shown at first, and how many more each time. */
const COUNT = 12;

export class UnitsPanel {
  #on;
  /** @type {import("gradcam-web").Prediction | undefined} */ #prediction;
  /** @type {import("gradcam-web").Explanation | undefined} */ #explanation;
  /** @type {{ tile: Tile, unit: import("gradcam-web").Unit }[]} */ #tiles = [];
  #count = COUNT;
  #isOpen = false;
  /** For which class and layer the tiles are. */ #shown = "";
  /** @type {AbortController | undefined} */ #run;
  #redraw;

  /**
   * @param {object} on
   * @param {(unit: import("gradcam-web").Unit, sentence: string) => void} on.choose
   * @param {() => import("gradcam-web").Style} on.style
   * @param {(error: Error) => void} on.error
   */
  constructor(on) {
    this.#on = on;
    this.#redraw = coalesced(() => this.#tiles.forEach(({ tile }) => tile.draw(on.style())));
    $("units-more").addEventListener("click", () => {
      this.#count += COUNT;
      this.#shown = "";
      void this.#update();
    });
  }

  show(prediction) {
    this.#run?.abort();
    this.#prediction = prediction;
    this.#explanation = undefined;
    this.#shown = "";
    this.#tiles = [];
    $("units-tiles").replaceChildren();
  }

  explained(explanation) {
    this.#explanation = explanation;
    void this.#update();
  }

  /** Units are computed only while someone looks. */
  open(isOpen) {
    this.#isOpen = isOpen;
    void this.#update();
  }

  restyle() {
    this.#redraw();
  }

  /** Marks the one in the large picture. @param {import("gradcam-web").Unit | undefined} unit */
  mark(unit) {
    for (const entry of this.#tiles) entry.tile.press(entry.unit === unit);
  }

  async #update() {
    if (!this.#isOpen || !this.#explanation) return;
    const { targetClass, targetLayers } = this.#explanation;
    // Maps of the input itself have no layer.
    const targetLayer = targetLayers.at(-1) ?? this.#prediction.model.defaultLayer;
    const wanted = JSON.stringify([targetClass, targetLayer]);
    if (wanted === this.#shown) return;
    this.#run?.abort();
    const { signal } = (this.#run = new AbortController());
    this.#shown = wanted;
    const { model } = this.#prediction;
    const channels = model.layers.find(({ name }) => name === targetLayer).shape[0];
    const label = model.labels[targetClass];
    $("units-title").textContent = `${targetLayer}, for ${label}`;
    $("units-status").textContent = "computing …";
    try {
      const units = await this.#prediction.units({
        targetClass,
        targetLayer,
        count: Math.min(this.#count, channels),
        signal,
      });
      if (signal.aborted) return;
      const largest = Math.max(...units.map(({ contribution }) => Math.abs(contribution)), Number.MIN_VALUE);
      this.#tiles = units.map((unit) => {
        const words = `${signed(unit.contribution)} for ${label}`;
        const tile = new Tile(`Channel ${unit.channel}`, () =>
          this.#on.choose(unit, `Channel ${unit.channel} of ${targetLayer}: ${words}`),
        );
        const bar = create("span", { className: unit.contribution < 0 ? "bar against" : "bar" });
        bar.style.setProperty("--share", Math.abs(unit.contribution) / largest);
        tile.show(unit, [signed(unit.contribution), bar], this.#on.style());
        return { tile, unit };
      });
      $("units-tiles").replaceChildren(...this.#tiles.map(({ tile }) => tile.root));
      $("units-status").textContent = `${units.length} of ${channels} channels`;
      $("units-more").hidden = units.length === channels;
    } catch (error) {
      if (signal.aborted) return;
      this.#shown = "";
      $("units-status").textContent = "";
      this.#on.error(error);
    }
  }
}
