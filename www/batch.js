// Several photos at once: what the network says of each, as a table to look at and to take along.

import { $, create } from "./dom.js";
import { percent } from "./format.js";

/** How many classes of each photo the saved table names. */
const NAMED = 3;

export class Batch {
  #on;
  /** @type {import("gradcam-web").Model | undefined} */ #model;
  /**
   * Of each photo what is written down of it: a prediction would keep its pixels.
   * @type {{ photo: File, row: HTMLTableRowElement, said?: { classes: { label: string, probability: number }[], certainty: string }, error?: Error }[]}
   */
  #rows = [];
  /** @type {AbortController | undefined} */ #run;

  /**
   * @param {import("gradcam-web").GradCamElement} picture
   * @param {{ choose: (photo: File) => void }} on
   */
  constructor(picture, on) {
    this.#on = on;
    $("batch-csv").addEventListener("click", () => this.#save());
    $("batch-close").addEventListener("click", () => this.add([]));
    // The large picture goes first.
    picture.addEventListener("explain", () => void this.#classify());
    picture.addEventListener("error", () => void this.#classify());
  }

  /** Another network says other things. @param {import("gradcam-web").Model} model */
  network(model) {
    this.#model = model;
    this.#run?.abort();
    this.#run = undefined;
    for (const row of this.#rows) row.said = row.error = undefined;
    this.#show();
  }

  /** @param {File[]} photos those that came together; none puts the table away */
  add(photos) {
    this.#run?.abort();
    this.#run = undefined;
    this.#rows = photos.map((photo) => {
      const button = create("button", { type: "button", className: "plain", textContent: photo.name });
      button.addEventListener("click", () => this.#on.choose(photo));
      const row = create("tr", {}, create("th", { scope: "row" }, button));
      row.append(create("td"), create("td", { className: "number" }));
      return { photo, row };
    });
    $("batch-rows").replaceChildren(...this.#rows.map(({ row }) => row));
    $("batch").hidden = photos.length === 0;
    this.#show();
  }

  async #classify() {
    const model = this.#model;
    if (this.#run || !model) return;
    const { signal } = (this.#run = new AbortController());
    for (const row of this.#rows.filter(({ said, error }) => !said && !error)) {
      try {
        const prediction = await model.classify(row.photo, { signal });
        row.said = { classes: prediction.top(NAMED), certainty: prediction.certainty };
      } catch (error) {
        if (signal.aborted) return;
        row.error = error;
      }
      if (signal.aborted) return;
      this.#show();
    }
    this.#run = undefined;
  }

  #show() {
    let done = 0;
    for (const { row, said, error } of this.#rows) {
      const [, name, probability] = row.cells;
      const [likeliest] = said?.classes ?? [];
      const isUnsure = said?.certainty === "unsure";
      name.textContent = error?.message ?? (isUnsure ? `not sure; ${likeliest.label}?` : (likeliest?.label ?? "…"));
      probability.textContent = likeliest ? percent(likeliest.probability) : "";
      if (said || error) done++;
    }
    const total = this.#rows.length;
    $("batch-status").textContent = done < total ? `${done} of ${total}` : `${total} photos`;
    $("batch-csv").disabled = done < total;
  }

  #save() {
    const head = ["photo", "certainty", "error"];
    for (let i = 1; i <= NAMED; i++) head.push(`class ${i}`, `probability ${i}`);
    const lines = this.#rows.map(({ photo, said, error }) => [
      photo.name,
      said?.certainty ?? "",
      error?.message ?? "",
      ...(said?.classes ?? []).flatMap(({ label, probability }) => [label, probability.toFixed(4)]),
    ]);
    const text = [head, ...lines].map((cells) => `${cells.map(quoted).join(",")}\r\n`).join("");
    const anchor = create("a", {
      href: URL.createObjectURL(new Blob([text], { type: "text/csv" })),
      download: "photos.csv",
    });
    anchor.click();
    setTimeout(() => URL.revokeObjectURL(anchor.href), 10_000);
  }
}

/** A cell as RFC 4180 has it. */
function quoted(cell) {
  return /[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell;
}
