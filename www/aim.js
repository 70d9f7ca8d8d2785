// What about the class is explained: its score, what speaks against it, or why it rather than another; and how smoothly.

import { $, create } from "./dom.js";
import { percent } from "./format.js";

/** How many other classes there are to choose from. */
const LISTED = 30;

/** @typedef {{ target: string, "rather-than": string | undefined, smooth: string[] | undefined }} Aim */

export class AimPanel {
  /** @type {import("gradcam-web").Prediction | undefined} */ #prediction;
  /** @type {Aim} */ #aim;
  #boxes = [...document.querySelectorAll("#more input[name=smooth]")];

  /** @param {(change: Partial<Aim>) => void} onChoose */
  constructor(onChoose) {
    $("target").addEventListener("change", ({ target: { value } }) => {
      if (value !== "rather-than") return onChoose({ target: value, "rather-than": undefined });
      // The likeliest of the others, until one is chosen.
      onChoose({ target: "score", "rather-than": $("rather-than").options[0]?.value });
    });
    $("rather-than").addEventListener("change", ({ target }) => onChoose({ "rather-than": target.value }));
    for (const box of this.#boxes) {
      box.addEventListener("change", () => {
        const smooth = this.#boxes.filter(({ checked }) => checked).map(({ value }) => value);
        onChoose({ smooth: smooth.length ? smooth : undefined });
      });
    }
  }

  /** @param {import("gradcam-web").Prediction | undefined} prediction */
  show(prediction) {
    this.#prediction = prediction;
    $("rather-than").replaceChildren();
    for (const option of $("target").options)
      option.disabled = option.value === "rather-than" && !(prediction?.scores.length > 1);
  }

  /** @param {import("gradcam-web").Explanation} explanation */
  explained({ targetClass, ratherThan }) {
    const classes = this.#prediction.top(LISTED).filter(({ index }) => index !== targetClass);
    if (ratherThan !== undefined && !classes.some(({ index }) => index === ratherThan)) {
      classes.push(this.#prediction.top(Infinity).find(({ index }) => index === ratherThan));
    }
    $("rather-than").replaceChildren(
      ...classes.map(({ index, label, probability }) =>
        create("option", { value: String(index), textContent: `${label} (${percent(probability)})` }),
      ),
    );
    this.select(this.#aim);
  }

  /** Shows a choice that was made elsewhere. @param {Aim} aim */
  select(aim) {
    this.#aim = aim;
    const rival = aim["rather-than"];
    $("target").value = rival === undefined ? aim.target : "rather-than";
    $("rather-than").hidden = rival === undefined;
    $("rather-than").value = rival ?? "";
    for (const box of this.#boxes) box.checked = aim.smooth?.includes(box.value) ?? false;
    if (rival !== undefined || aim.smooth || aim.target !== "score") $("more").open = true;
  }
}
