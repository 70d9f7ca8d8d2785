// Where the map is taken: a slider through the network's layers, and the mean of several.

import { $, create, moveByArrows } from "./dom.js";
import { layerText, sizeText } from "./format.js";

/** How many layers a slider can tell apart. */
const MOST = 40;

export class LayerPanel {
  /** @type {import("gradcam-web").Model | undefined} */ #model;
  /** The layers that stay in the mean while the slider moves on. @type {string[]} */ #kept = [];
  /** Where the slider is. */ #current = "";
  /** Those that the slider goes through. @type {import("gradcam-web").Model["layers"]} */ #steps = [];
  #onChoose;

  /** @param {(layers: string[] | undefined) => void} onChoose undefined for the default layer alone */
  constructor(onChoose) {
    this.#onChoose = onChoose;
    $("layer").addEventListener("input", ({ target }) => {
      this.#current = this.#steps[target.valueAsNumber].name;
      this.#choose();
    });
    $("layer-search").addEventListener("input", () => this.#find());
    $("layer-list").addEventListener("toggle", () => this.#find());
    moveByArrows($("layer-results"));
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

  /** The layers of another network. @param {import("gradcam-web").Model} model */
  network(model) {
    this.#model = model;
    this.#steps = model.layers.length <= MOST ? model.layers : blocksOf(model);
    // More than that can't be told apart on a slider: there is the list.
    const slides = this.#steps.length <= MOST;
    $("layer").hidden = $("layer-sizes").hidden = !slides;
    $("layer").max = this.#steps.length - 1;
    $("layer").disabled = false;
    $("layer-list").hidden = model.layers.length <= 1;
    for (const id of ["layer-default", "layer-keep"]) $(id).disabled = false;
    const heights = this.#steps.map(({ shape: [, height] }) => Math.log2(height));
    const [lowest, highest] = [Math.min(...heights), Math.max(...heights)];
    $("layer-sizes").replaceChildren(
      ...heights.map((height) => {
        const column = create("span");
        column.style.setProperty("--share", 0.25 + (0.75 * (height - lowest)) / (highest - lowest || 1));
        return column;
      }),
    );
    this.#find();
  }

  /** Shows a choice that was made elsewhere. @param {import("./store.js").Settings} settings */
  select({ layer }) {
    if (!this.#model) return;
    const chosen = layer ?? [this.#model.defaultLayer];
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
    // A layer that does not exist is the element's to refuse; one that the slider leaves out lies at the one before.
    const step = this.#steps.findLastIndex((other) => layers.indexOf(other) <= at);
    if (layer) $("layer").value = Math.max(0, step);
    $("layer").setAttribute("aria-valuetext", layer ? `${layer.name}: ${layerText(layer)}` : this.#current);
    $("layer-place").textContent = layer ? `${at + 1} of ${layers.length}` : "";
    $("layer-name").textContent = this.#current;
    $("layer-shape").textContent = layer
      ? layerText(layer) + (this.#current === defaultLayer ? ", the usual choice" : "")
      : "";
    $("layer-default").hidden = this.#kept.length === 0 && this.#current === defaultLayer;
    $("layer-keep").hidden = this.#kept.includes(this.#current);
    [...$("layer-sizes").children].forEach((column, i) => {
      column.className = i === step ? "current" : this.#kept.includes(this.#steps[i].name) ? "kept" : "";
    });
    for (const button of $("layer-results").querySelectorAll("button"))
      button.setAttribute("aria-pressed", String(this.#chosen().includes(button.value)));
    $("layer-mean").hidden = this.#kept.length === 0;
    $("layer-kept").replaceChildren(
      ...this.#kept.map((name) => {
        const remove = create("button", {
          type: "button",
          className: "chip-remove",
          textContent: "×",
          ariaLabel: `Leave ${name} out of the mean`,
        });
        remove.addEventListener("click", () => {
          this.#kept = this.#kept.filter((other) => other !== name);
          this.#choose();
          ($("layer-kept").querySelector("button") ?? $("layer")).focus();
        });
        return create("li", { className: "tag" }, name, remove);
      }),
    );
  }

  /** The list of all layers, those that end a block first. */
  #find() {
    if (!$("layer-list").open || !this.#model) return;
    const wanted = $("layer-search").value.trim().toLowerCase();
    const blocks = blocksOf(this.#model);
    const rest = this.#model.layers.filter((layer) => !blocks.includes(layer));
    const isWanted = (layer) => `${layer.name} ${layerText(layer)}`.toLowerCase().includes(wanted);
    $("layer-results").replaceChildren(
      ...[...blocks, ...rest].filter(isWanted).map((layer) => {
        const button = create(
          "button",
          { type: "button", tabIndex: -1, value: layer.name, title: layer.name },
          create("span", { className: "label", textContent: layer.name }),
          create("span", { className: "number", textContent: sizeText(layer) }),
        );
        button.setAttribute("aria-pressed", String(this.#chosen().includes(layer.name)));
        button.addEventListener("click", () => {
          this.#current = layer.name;
          this.#choose();
        });
        return create("li", {}, button);
      }),
    );
  }
}

/** The layers that end a block: sums and joins, the last of each size, and the usual one. */
function blocksOf({ layers, defaultLayer }) {
  const sizeOf = ({ shape: [, height, width] }) => `${width} × ${height}`;
  return layers.filter(
    (layer, i) =>
      ["Add", "Concat"].includes(layer.operator) ||
      layer.name === defaultLayer ||
      i + 1 === layers.length ||
      sizeOf(layer) !== sizeOf(layers[i + 1]),
  );
}
