// The classes: the likeliest as bars, all of them on demand. Every row chooses its class.

import { $, create } from "./dom.js";
import { grouped, percent } from "./format.js";

const SHOWN = 5;
const FOUND = 40;

export class ClassPanel {
  #prediction;
  #target;
  #onChoose;

  /** @param {(index: number) => void} onChoose */
  constructor(onChoose) {
    this.#onChoose = onChoose;
    $("class-search").addEventListener("input", () => this.#search());
    $("all").addEventListener("toggle", () => this.#search());
  }

  /** The network with so many classes is there. */
  expect(count) {
    $("class-count").textContent = grouped(count);
  }

  clear() {
    this.#prediction = this.#target = undefined;
    $("classes").replaceChildren();
    $("all").hidden = true;
    $("classes-hint").hidden = false;
  }

  /** @param {import("gradcam-web").Prediction} prediction */
  show(prediction) {
    this.#prediction = prediction;
    this.#target = undefined;
    $("classes-hint").hidden = true;
    $("all").hidden = prediction.scores.length <= SHOWN;
    this.#render();
  }

  /** Marks the class that is explained. */
  mark(index) {
    this.#target = index;
    this.#render();
  }

  #render() {
    const rows = this.#prediction.top(SHOWN);
    if (this.#target !== undefined && !rows.some(({ index }) => index === this.#target)) {
      rows.push(this.#prediction.top(Infinity).find(({ index }) => index === this.#target));
    }
    this.#fill($("classes"), rows);
    this.#search();
  }

  #search() {
    if (!$("all").open || !this.#prediction) return;
    const wanted = $("class-search").value.trim().toLowerCase();
    const matches = this.#prediction.top(Infinity).filter(({ index, label }) => !wanted || label.toLowerCase().includes(wanted) || String(index) === wanted);
    this.#fill($("class-results"), matches.slice(0, FOUND));
    $("class-more").hidden = matches.length > 0 && matches.length <= FOUND;
    $("class-more").textContent = matches.length === 0 ? "No class is called that." : `and ${matches.length - FOUND} more`;
  }

  /** Rows are reused, so that the one with the focus keeps it. */
  #fill(list, rows) {
    while (list.children.length > rows.length) list.lastElementChild.remove();
    while (list.children.length < rows.length) list.append(this.#createRow());
    rows.forEach(({ index, label, probability, score }, i) => {
      const button = list.children[i].firstElementChild;
      const [name, number, bar] = button.children;
      button.value = index;
      button.title = `${label} (class ${index}, score ${score.toFixed(2)})`;
      button.setAttribute("aria-pressed", String(index === this.#target));
      name.textContent = label;
      number.textContent = percent(probability);
      bar.style.setProperty("--share", probability);
    });
  }

  #createRow() {
    const button = create("button", { type: "button" });
    for (const name of ["label", "number", "bar"]) button.append(create("span", { className: name }));
    button.addEventListener("click", () => this.#onChoose(Number(button.value)));
    return create("li", {}, button);
  }
}
