// Small maps over the image, in a grid: buttons that are drawn, wait, run, or say why they can't.

import { create } from "./dom.js";
import { milliseconds } from "./format.js";

/** The longer side of a small map, in pixels: sharp on dense screens, and quick to draw by the dozen. */
const SIZE = 360;

/** One of the grid. */
export class Tile {
  #canvas = create("canvas", { hidden: true, ariaHidden: "true" });
  #bar = create("span", { className: "tile-bar" });
  #message = create("span", { className: "tile-message" });
  #title;
  #detail = create("span", { className: "tile-detail quiet" });
  /** What is drawn. @type {import("gradcam-web").MapOverImage | undefined} */ map;

  /** @param {string} title @param {() => void} onChoose */
  constructor(title, onChoose) {
    this.#title = create("span", { className: "tile-title", textContent: title });
    const picture = create("span", { className: "tile-picture" }, this.#canvas, this.#message, this.#bar);
    this.button = create(
      "button",
      { type: "button", className: "tile", disabled: true, title },
      picture,
      this.#title,
      this.#detail,
    );
    this.button.addEventListener("click", onChoose);
    this.root = create("li", {}, this.button);
    this.wait();
  }

  wait() {
    this.#state("waiting", "waiting");
  }

  /** @param {number} fraction 0..=1 */
  run(fraction) {
    this.#state("running", fraction > 0 && fraction < 1 ? `${Math.round(100 * fraction)} %` : "computing …");
    this.#bar.style.setProperty("--share", fraction);
  }

  stop() {
    if (!this.map && this.root.dataset.state !== "refused") this.#state("stopped", "not computed");
  }

  /** @param {Error} error why there is no map */
  refuse(error) {
    this.#state("refused", error.message);
    this.root.dataset.name = error.name;
  }

  /** @param {import("gradcam-web").MapOverImage} map @param {(string | Node)[]} detail */
  show(map, detail, style) {
    this.map = map;
    // A map with nothing to show says so instead.
    this.#state("done", map.heatmap.values.some((value) => value > 0) ? "" : map.note);
    this.button.disabled = false;
    this.detail(...detail);
    this.draw(style);
  }

  /** @param {...(string | Node)} lines */
  detail(...lines) {
    this.#detail.replaceChildren(
      ...lines.map((line) => (typeof line === "string" ? create("span", { textContent: line }) : line)),
    );
  }

  /** @param {import("gradcam-web").Style} style */
  draw(style) {
    if (!this.map) return;
    try {
      this.map.draw(this.#canvas, { ...style, maxSize: SIZE });
      this.#canvas.hidden = false;
    } catch {
      // A colormap that does not exist is the large picture's to refuse.
      this.#canvas.hidden = true;
    }
  }

  press(isPressed) {
    this.button.setAttribute("aria-pressed", String(isPressed));
  }

  #state(state, text) {
    this.root.dataset.state = state;
    this.#message.textContent = text;
    this.#message.hidden = text === "";
  }
}

/** How long a map took, in words. */
export function timeOf({ timings }) {
  return milliseconds(timings.explain);
}

/** Redraws at most once for each picture of the screen. @param {() => void} draw */
export function coalesced(draw) {
  let isWaiting = false;
  return () => {
    if (isWaiting) return;
    isWaiting = true;
    requestAnimationFrame(() => {
      isWaiting = false;
      draw();
    });
  };
}
