// The classes: the likeliest as bars, all of them on demand, and whether the network is sure. Every row chooses its class.

import { highest } from "./gradcam-web/classes.js";
import { $, create, moveByArrows } from "./dom.js";
import { grouped, percent } from "./format.js";

const SHOWN = 5;
/** A sentence above or below the rows stands where so many of them would: nothing else has to move for it. */
const ROWS_OF_A_SENTENCE = 2;
/** How many of all classes are listed: more than people read, and as many as a page can hold. */
const LISTED = 1000;

export class ClassPanel {
  #prediction;
  #labels = [];
  #target;
  #onChoose;

  /** @param {(index: number) => void} onChoose */
  constructor(onChoose) {
    this.#onChoose = onChoose;
    $("class-search").addEventListener("input", () => this.#search());
    $("all").addEventListener("toggle", () => this.#search());
    moveByArrows($("class-results"));
    // Room for the rows, before there are any.
    this.#fill($("classes"), Array(SHOWN).fill(undefined));
  }

  /** Another network. @param {import("gradcam-web").Model} model */
  network({ labels }) {
    this.#labels = labels;
    $("class-count").textContent = grouped(labels.length);
    const isNameless = labels.every((label, index) => label === `class ${index}`);
    $("nameless").hidden = !isNameless;
    $("nameless-imagenet").hidden = labels.length !== 1000;
    this.#search();
  }

  /** @param {import("gradcam-web").Prediction | undefined} prediction */
  show(prediction) {
    this.#prediction = prediction;
    this.#target = undefined;
    $("certainty").hidden = prediction?.certainty !== "unsure";
    if (prediction) this.#render();
    else this.#fill($("classes"), Array(Math.min(SHOWN, this.#labels.length || SHOWN)).fill(undefined));
    if (prediction?.certainty === "unsure") $("certainty").textContent = `Not sure. ${prediction.certaintyReason}`;
  }

  /** How many rows there are, whatever is explained. */
  get #shown() {
    const sentences = ["certainty", "nameless"].filter((id) => !$(id).hidden).length;
    return SHOWN - ROWS_OF_A_SENTENCE * Math.min(sentences, 1);
  }

  /** Marks the class that is explained. @param {import("gradcam-web").Explanation} explanation */
  explained({ targetClass }) {
    this.#target = targetClass;
    this.#render();
  }

  #render() {
    const rows = this.#prediction.top(this.#shown);
    if (this.#target !== undefined && !rows.some(({ index }) => index === this.#target)) {
      // In place of the last one, as there is room for so many.
      [rows[rows.length - 1]] = highest(this.#prediction, this.#labels, 1, [this.#target]);
    }
    this.#fill($("classes"), rows);
    this.#search();
  }

  /** Before there is a picture, too: what the network knows can be read at any time. */
  #search() {
    if (!$("all").open) return;
    const wanted = $("class-search").value.trim().toLowerCase();
    const matches = [];
    this.#labels.forEach((label, index) => {
      if (!wanted || label.toLowerCase().includes(wanted) || String(index) === wanted) matches.push(index);
    });
    const rows = this.#prediction
      ? highest(this.#prediction, this.#labels, LISTED, matches)
      : matches.slice(0, LISTED).map((index) => ({ index, label: this.#labels[index] }));
    this.#fill($("class-results"), rows);
    const more = matches.length - LISTED;
    $("class-more").hidden = matches.length > 0 && more <= 0;
    $("class-more").textContent =
      more > 0 ? `${grouped(more)} more; a part of a name finds them.` : "No class is called that.";
  }

  /** Rows are reused, so that the one with the focus keeps it. */
  #fill(list, rows) {
    while (list.children.length > rows.length) list.lastElementChild.remove();
    // A list that has the focus itself has arrow keys for its rows.
    while (list.children.length < rows.length) list.append(this.#createRow(list.tabIndex === 0 ? -1 : 0));
    rows.forEach((row, i) => {
      const button = list.children[i].firstElementChild;
      const [name, number, bar] = button.children;
      button.disabled = row?.probability === undefined;
      list.children[i].ariaHidden = row ? null : "true";
      button.value = row?.index ?? "";
      button.title = row
        ? `${row.label} (class ${row.index}${row.score === undefined ? "" : `, score ${row.score.toFixed(2)}`})`
        : "";
      button.setAttribute("aria-pressed", String(row !== undefined && row.index === this.#target));
      name.textContent = row?.label ?? "\u00a0";
      number.textContent = row?.probability === undefined ? "" : percent(row.probability);
      bar.style.setProperty("--share", row?.probability ?? 0);
    });
  }

  #createRow(tabIndex) {
    const button = create("button", { type: "button", tabIndex });
    for (const name of ["label", "number", "bar"]) button.append(create("span", { className: name }));
    button.addEventListener("click", () => this.#onChoose(Number(button.value)));
    return create("li", {}, button);
  }
}
