// Asking the map: which classes the cell under the pointer, or under the keyboard's cursor, speaks for.

import { $, announce, create } from "./dom.js";
import { signed } from "./format.js";

const SHOWN = 6;
/** A press longer than this shows the photo alone and asks nothing; the element waits as long. In milliseconds. */
const HOLD = 250;

export class AskPanel {
  #picture;
  #onChoose;
  #onError;
  /** The middle of the cell that the keyboard is at, in pixels of the image. @type {{ x: number, y: number } | undefined} */ #cursor;
  #asking;
  #pressed = 0;
  /** Whose cells are asked. */ #layer = "";

  /**
   * @param {import("gradcam-web").GradCamElement} picture
   * @param {{ onChoose: (index: number) => void, onError: (error: Error) => void }} on
   */
  constructor(picture, { onChoose, onError }) {
    this.#picture = picture;
    this.#onChoose = onChoose;
    this.#onError = onError;
    picture.addEventListener("pointerdown", ({ timeStamp }) => (this.#pressed = timeStamp));
    picture.addEventListener("click", ({ clientX, clientY, timeStamp }) => {
      const point = picture.pointAt(clientX, clientY);
      if (point && timeStamp - this.#pressed < HOLD) this.ask(point);
    });
    picture.addEventListener("keydown", (event) => this.#key(event));
    picture.addEventListener("blur", () => (this.#cursor = undefined));
    $("ask-close").addEventListener("click", () => {
      this.clear();
      picture.focus({ preventScroll: true });
    });
  }

  /** Another image, or another network. */
  show() {
    this.clear();
  }

  /** Another layer has other cells. @param {import("gradcam-web").Explanation} explanation */
  explained(explanation) {
    const layer = this.#layerOf(explanation);
    if (layer !== this.#layer) this.clear();
    this.#layer = layer;
  }

  /** Maps of the input itself have no layer. */
  #layerOf({ targetLayers }) {
    return targetLayers.at(-1) ?? this.#picture.prediction.model.defaultLayer;
  }

  clear() {
    this.#asking?.abort();
    this.#cursor = undefined;
    $("cell").hidden = $("asked").hidden = true;
  }

  /** @param {{ x: number, y: number }} point in pixels of the image */
  async ask(point) {
    const { prediction, explanation } = this.#picture;
    if (!prediction || !explanation) return;
    this.#asking?.abort();
    const { signal } = (this.#asking = new AbortController());
    const targetLayer = this.#layerOf(explanation);
    try {
      const cell = prediction.cellAt(point.x, point.y, { targetLayer });
      if (!cell) return;
      this.#outline(cell);
      const answer = await prediction.classesAt(point.x, point.y, { targetLayer, signal });
      if (!signal.aborted) this.#show(answer, targetLayer);
    } catch (error) {
      if (!signal.aborted) this.#onError(error);
    }
  }

  #outline({ x, y, width, height }) {
    const { image } = this.#picture.prediction;
    const { style } = $("cell");
    for (const [side, at, whole] of [
      ["left", x, image.width],
      ["top", y, image.height],
      ["width", width, image.width],
      ["height", height, image.height],
    ]) {
      style[side] = `${(100 * at) / whole}%`;
    }
    $("cell").hidden = false;
  }

  #show({ cell, all, classes }, targetLayer) {
    const [, rows, columns] = this.#picture.prediction.model.layers.find(({ name }) => name === targetLayer).shape;
    $("asked-title").textContent = `Column ${cell.column + 1}, row ${cell.row + 1} of ${columns} × ${rows} speaks for`;
    const shown = classes.slice(0, SHOWN);
    const largest = Math.max(...shown.map(({ evidence }) => Math.abs(evidence)), Number.MIN_VALUE);
    $("asked-classes").replaceChildren(
      ...shown.map(({ index, label, evidence }) => {
        const bar = create("span", { className: evidence < 0 ? "bar against" : "bar" });
        bar.style.setProperty("--share", Math.abs(evidence) / largest);
        const button = create(
          "button",
          { type: "button", value: index, title: `${label} (class ${index})` },
          create("span", { className: "label", textContent: label }),
          create("span", { className: "number", textContent: signed(evidence) }),
          bar,
        );
        button.addEventListener("click", () => this.#onChoose(index));
        return create("li", {}, button);
      }),
    );
    $("asked-note").textContent = all
      ? "Each number is the cell's part of a score: the mean of all cells is the score, less a constant, exactly."
      : `Each number is the cell's part of a score by Grad-CAM, for the ${classes.length} likeliest classes: in this network only gradients tell at this layer.`;
    $("asked").hidden = false;
  }

  /** Arrow keys move over the cells, Enter asks. */
  #key(event) {
    const { prediction, explanation } = this.#picture;
    if (!prediction || !explanation || event.ctrlKey || event.metaKey || event.altKey) return;
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (event.key === "Escape") return this.clear();
    if (!step && event.key !== "Enter") return;
    event.preventDefault();
    const { width, height } = prediction.image;
    const targetLayer = this.#layerOf(explanation);
    const cellAt = ({ x, y }) => prediction.cellAt(x, y, { targetLayer });
    const start = this.#cursor ?? { x: width / 2, y: height / 2 };
    const cell = cellAt(start);
    if (!cell) return;
    if (event.key === "Enter") return void this.ask(start);
    const next = this.#cursor ? { x: start.x + step[0] * cell.width, y: start.y + step[1] * cell.height } : start;
    const reached = cellAt(next);
    if (!reached) return;
    // The middle of the cell, unless that lies outside of the picture.
    const middle = { x: reached.x + reached.width / 2, y: reached.y + reached.height / 2 };
    this.#cursor = cellAt(middle) ? middle : next;
    this.#outline(reached);
    const value = explanation.valueAt(Math.floor(this.#cursor.x), Math.floor(this.#cursor.y));
    announce(`Column ${reached.column + 1}, row ${reached.row + 1}: ${value?.toFixed(2) ?? "not seen"}`);
  }
}
