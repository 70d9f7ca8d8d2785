// What the colours mean: the legend under the picture, and the choice of colormaps.

import { colors } from "./gradcam-web/api.js";
import { $, create } from "./dom.js";

/** A CSS gradient of a colormap, from left to right. */
async function gradient(colormap) {
  const rgb = await colors(colormap);
  const stops = Array.from({ length: 18 }, (_, i) => {
    const at = 3 * Math.round((i / 17) * 255);
    return `rgb(${rgb[at]} ${rgb[at + 1]} ${rgb[at + 2]})`;
  });
  return `linear-gradient(to right, ${stops.join(", ")})`;
}

export class Legend {
  #shown;
  #picture;
  /** Where the pointer is over the picture. @type {{ clientX: number, clientY: number } | undefined} */ #pointer;

  /** @param {import("gradcam-web").GradCamElement} picture */
  constructor(picture) {
    this.#picture = picture;
    picture.addEventListener("pointermove", ({ clientX, clientY }) => this.#point({ clientX, clientY }));
    picture.addEventListener("pointerleave", () => this.#point(undefined));
  }

  /** Another map has another number at the same place. */
  explained() {
    this.#point(this.#pointer);
  }

  /** So has a channel or a concept, and without a map there is none. */
  mark() {
    this.#point(this.#pointer);
  }

  show() {
    this.#point(undefined);
  }

  select({ colormap }) {
    void this.#paint(colormap);
  }

  #point(pointer) {
    this.#pointer = pointer;
    this.#mark(pointer && this.#picture.valueAt(pointer.clientX, pointer.clientY));
  }

  async #paint(colormap) {
    if (this.#shown === colormap) return;
    this.#shown = colormap;
    // A colormap that does not exist is the element's to refuse.
    const image = await gradient(colormap).catch(() => "none");
    if (this.#shown === colormap) $("legend-strip").style.backgroundImage = image;
  }

  /** Shows where a number of the heatmap is. @param {number | undefined} value 0..=1 */
  #mark(value) {
    $("legend-mark").hidden = value === undefined;
    $("legend-value").textContent = value === undefined ? "" : value.toFixed(2);
    if (value !== undefined) $("legend-mark").style.left = `${100 * value}%`;
  }
}

/** @param {HTMLElement} container @param {readonly string[]} colormaps @param {(colormap: string) => void} onChoose */
export function createColormapChoice(container, colormaps, onChoose) {
  for (const colormap of colormaps) {
    const radio = create("input", { type: "radio", name: "colormap", value: colormap });
    radio.addEventListener("change", () => onChoose(colormap));
    const strip = create("span", { className: "strip" });
    container.append(create("label", {}, radio, strip, colormap));
    gradient(colormap).then(
      (image) => (strip.style.backgroundImage = image),
      () => {},
    );
  }
}
