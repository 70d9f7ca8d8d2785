// Where the map is taken: a slider through the network's layers, and the mean of several.

import { $, create } from "./dom.js";
import { layerText } from "./format.js";

export class LayerPanel {
  /** @type {import("gradcam-web").Model | undefined} */ #model;
  /** The layers that stay in the mean while the slider moves on. @type {string[]} */ #kept = [];
  /** Where the slider is. */ #current = "";
  #onChoose;

  /** @param {(layers: string[] | undefined) => void} onChoose undefined for the default layer alone */
  constructor(onChoose) {
    this.#onChoose = onChoose;
    $("layer").addEventListener("input", ({ target }) => {
      this.#current = this.#model.layers[target.valueAsNumber].name;
      this.#choose();
    });
    $("layer-default").addEventListener("click", () => {
      this.#kept = [];
      this.#current = this.#model.defaultLayer;
      this.#choose();
    });
    $("layer-keep").addEventListener("click", () => {
      this.#kept = [...new Set([...this.#kept, this.#current])];
      this.#render();
    });
  }

  /** The layers of another network. @param {import("gradcam-web").Model} model @param {string[] | undefined} layers the chosen ones */
  show(model, layers) {
    this.#model = model;
    $("layer").max = model.layers.length - 1;
    $("layer").disabled = false;
    for (const id of ["layer-default", "layer-keep"]) $(id).disabled = false;
    const heights = model.layers.map(({ shape: [, height] }) => Math.log2(height));
    const [lowest, highest] = [Math.min(...heights), Math.max(...heights)];
    $("layer-sizes").replaceChildren(...heights.map((height) => {
      const column = create("span");
      column.style.setProperty("--share", 0.25 + (0.75 * (height - lowest)) / (highest - lowest || 1));
      return column;
    }));
    this.select(layers);
  }

  /** Shows a choice that was made elsewhere. @param {string[] | undefined} layers */
  select(layers) {
    if (!this.#model) return;
    const chosen = layers ?? [this.#model.defaultLayer];
    if (String(chosen) !== String(this.#chosen())) {
      this.#kept = chosen.slice(0, -1);
      this.#current = chosen.at(-1);
    }
    this.#render();
  }

  /** The layers that are kept, and where the slider is. */
  #chosen() {
    return [...this.#kept.filter((name) => name !== this.#current), this.#current];
  }

  #choose() {
    const layers = this.#chosen();
    this.#render();
    this.#onChoose(layers.length === 1 && layers[0] === this.#model.defaultLayer ? undefined : layers);
  }

  #render() {
    const { layers, defaultLayer } = this.#model;
    const at = layers.findIndex(({ name }) => name === this.#current);
    const layer = layers[at];
    // A layer that does not exist is the element's to refuse.
    if (layer) $("layer").value = at;
    $("layer").setAttribute("aria-valuetext", layer ? `${layer.name}: ${layerText(layer)}` : this.#current);
    $("layer-place").textContent = layer ? `${at + 1} of ${layers.length}` : "";
    $("layer-name").textContent = this.#current;
    $("layer-shape").textContent = layer ? layerText(layer) + (this.#current === defaultLayer ? ", the usual choice" : "") : "";
    $("layer-default").hidden = this.#kept.length === 0 && this.#current === defaultLayer;
    $("layer-keep").hidden = this.#kept.includes(this.#current);
    [...$("layer-sizes").children].forEach((column, i) => {
      column.className = i === at ? "current" : this.#kept.includes(layers[i].name) ? "kept" : "";
    });
    $("layer-mean").hidden = this.#kept.length === 0;
    $("layer-kept").replaceChildren(...this.#kept.map((name) => {
      const remove = create("button", { type: "button", className: "chip-remove", textContent: "×", ariaLabel: `Leave ${name} out of the mean` });
      remove.addEventListener("click", () => {
        this.#kept = this.#kept.filter((other) => other !== name);
        this.#choose();
        ($("layer-kept").querySelector("button") ?? $("layer")).focus();
      });
      return create("li", { className: "tag" }, name, remove);
    }));
  }
}
