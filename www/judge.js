// Whether to believe the heatmap: measures of faithfulness, and the sanity check with random parameters.

import { sanityVerdict } from "./gradcam-web/api.js";
import { chart } from "./chart.js";
import { $, announce, create } from "./dom.js";
import { percent, signed } from "./format.js";
import { Tile, coalesced } from "./tiles.js";

/** Each measure in a word and a number, and which of two numbers is the better one. */
export const MEASURES = [
  {
    name: "Drop",
    title: "Share of the probability that is lost when only what the heatmap marks is left: less is better.",
    value: ({ drop }) => drop,
    text: percent,
    better: Math.min,
  },
  {
    name: "Deletion",
    title: "Area under the probability as the hottest pixels are taken away first: less is better.",
    value: ({ deletion }) => deletion.area,
    text: (area) => area.toFixed(2),
    better: Math.min,
  },
  {
    name: "Insertion",
    title: "Area under the probability as the hottest pixels are put back first: more is better.",
    value: ({ insertion }) => insertion.area,
    text: (area) => area.toFixed(2),
    better: Math.max,
  },
  {
    name: "ROAD",
    title: "How much more the score suffers when hot pixels are blurred away than cold ones: more is better.",
    value: ({ road }) => road.combined,
    text: signed,
    better: Math.max,
  },
];

/** Those that a grid of maps has no room for. */
const FURTHER = [
  {
    name: "Coherency",
    title: "How alike the map stays when only what it marks is left of the photo, from 0 to 1: more is better.",
    value: ({ coherency }) => coherency,
    text: (share) => share.toFixed(2),
  },
  {
    name: "Complexity",
    title: "How much of the photo the heatmap marks, its mean from 0 to 1: less is better.",
    value: ({ complexity }) => complexity,
    text: (share) => share.toFixed(2),
  },
  {
    name: "ARCC",
    title: "Coherency, complexity and ROAD in one number from 0 to 1, low if any of them is bad: more is better.",
    value: ({ arcc }) => arcc,
    text: (mean) => mean.toFixed(2),
  },
];

export class JudgePanel {
  #on;
  /** @type {import("gradcam-web").Prediction | undefined} */ #prediction;
  /** @type {import("gradcam-web").Explanation | undefined} */ #explanation;
  /** What was computed for each explanation. @type {WeakMap<object, import("gradcam-web").Measures>} */ #measured =
    new WeakMap();
  /** @type {Tile[]} */ #tiles = [];
  /** @type {Record<string, AbortController | undefined>} */ #runs = {};
  #redraw;

  /** @param {{ style: () => import("gradcam-web").Style, error: (error: Error) => void }} on */
  constructor(on) {
    this.#on = on;
    this.#redraw = coalesced(() => this.#tiles.forEach((tile) => tile.draw(on.style())));
    $("measure-run").addEventListener("click", () => this.#toggle("measure", (hooks) => this.#measure(hooks)));
    $("sanity-run").addEventListener("click", () => this.#toggle("sanity", (hooks) => this.#check(hooks)));
  }

  show(prediction) {
    this.#prediction = prediction;
    this.#clear();
  }

  /** @param {import("gradcam-web").Explanation} explanation */
  explained(explanation) {
    if (explanation === this.#explanation) return;
    this.#clear();
    this.#explanation = explanation;
    const measures = this.#measured.get(explanation);
    if (measures) this.#showMeasures(measures);
  }

  /** Takes over what was measured elsewhere. */
  remember(explanation, measures) {
    this.#measured.set(explanation, measures);
  }

  restyle() {
    this.#redraw();
  }

  #clear() {
    for (const name of Object.keys(this.#runs)) this.#end(name);
    this.#explanation = undefined;
    this.#tiles = [];
    $("measures").hidden = $("sanity-verdict").hidden = true;
    $("sanity-tiles").replaceChildren();
    for (const id of ["measure-status", "sanity-status"]) $(id).textContent = "";
  }

  /** Starts one of the two, or stops it. */
  async #toggle(name, work) {
    if (this.#runs[name]) {
      this.#end(name);
      $(`${name}-status`).textContent = "Stopped.";
      return;
    }
    const run = (this.#runs[name] = new AbortController());
    $(`${name}-run`).textContent = "Stop";
    const status = $(`${name}-status`);
    const onProgress = (fraction) => {
      if (!run.signal.aborted) status.textContent = `${Math.round(100 * fraction)} %`;
    };
    onProgress(0);
    try {
      await work({ signal: run.signal, onProgress });
      if (run.signal.aborted) return;
      status.textContent = "";
    } catch (error) {
      if (run.signal.aborted) return;
      status.textContent = "";
      this.#on.error(error);
    }
    this.#end(name);
  }

  #end(name) {
    this.#runs[name]?.abort();
    this.#runs[name] = undefined;
    $(`${name}-run`).textContent = $(`${name}-run`).dataset.text;
  }

  async #measure(hooks) {
    const explanation = this.#explanation;
    const measures = await explanation.measure(hooks);
    if (hooks.signal.aborted) return;
    this.remember(explanation, measures);
    this.#showMeasures(measures);
    announce([...MEASURES, ...FURTHER].map(({ name, value, text }) => `${name} ${text(value(measures))}`).join(", "));
  }

  #showMeasures(measures) {
    const { increase, deletion, insertion, road } = measures;
    $("measure-numbers").replaceChildren(
      ...[...MEASURES, ...FURTHER].map(({ name, title, value, text }) =>
        create(
          "div",
          {},
          create("dt", { textContent: name }),
          create("dd", { className: "number", textContent: text(value(measures)) }),
          create("dd", { className: "quiet", textContent: title }),
        ),
      ),
    );
    $("measure-increase").textContent = increase
      ? "Left alone, the marked places make the network even surer of the class."
      : "";
    const figure = (title, picture) => create("figure", {}, create("figcaption", { textContent: title }), picture);
    const along = ({ fractions, probabilities }, name) => [{ name, x: fractions, y: probabilities, filled: true }];
    // Both in one scale, so that their areas can be compared.
    const range = [0, roundedUp(Math.max(...deletion.probabilities, ...insertion.probabilities))];
    const shares = Array.from(road.percentiles, (stays) => 1 - stays / 100);
    const legend = create(
      "p",
      { className: "quiet chart-legend" },
      create("span", { className: "key key-0" }),
      "hottest first ",
      create("span", { className: "key key-1" }),
      "coldest first",
    );
    $("measure-charts").replaceChildren(
      figure(
        "Deletion: probability as the hottest pixels go",
        chart(`Deletion curve, area ${deletion.area.toFixed(2)}`, along(deletion, "deletion"), range),
      ),
      figure(
        "Insertion: probability as the hottest pixels come",
        chart(`Insertion curve, area ${insertion.area.toFixed(2)}`, along(insertion, "insertion"), range),
      ),
      create(
        "figure",
        {},
        create("figcaption", { textContent: "ROAD: change of the score as pixels are blurred away" }),
        chart(`ROAD, combined ${road.combined.toFixed(2)}`, [
          { name: "hottest first", x: shares, y: road.mostRelevantFirst },
          { name: "coldest first", x: shares, y: road.leastRelevantFirst },
        ]),
        legend,
      ),
    );
    $("measures").hidden = false;
  }

  async #check({ signal, onProgress }) {
    const { method, targetClass, targetLayers, target, ratherThan, augSmooth, eigenSmooth } = this.#explanation;
    const aim = { target, ratherThan, augSmooth, eigenSmooth };
    $("sanity-verdict").hidden = true;
    $("sanity-tiles").replaceChildren();
    const steps = await this.#prediction.sanityCheck({
      method,
      targetClass,
      targetLayer: targetLayers,
      ...aim,
      signal,
      onProgress,
    });
    if (signal.aborted || steps.length === 0) return;
    const untouched = { randomised: 0, rankCorrelation: 1, explanation: this.#explanation };
    this.#tiles = [untouched, ...steps].map(({ layer, randomised, rankCorrelation, explanation }) => {
      const tile = new Tile(randomised === 0 ? "None random" : `${randomised} random`, () => {});
      const bar = create("span", { className: rankCorrelation < 0 ? "bar against" : "bar" });
      bar.style.setProperty("--share", Math.abs(rankCorrelation));
      const where = create("span", {
        className: "tile-where",
        textContent: randomised === 0 ? "the network as it is" : `down to ${layer}`,
      });
      tile.show(explanation, [where, `ρ ${signed(rankCorrelation)}`, bar], this.#on.style());
      tile.button.disabled = true;
      return tile;
    });
    $("sanity-tiles").replaceChildren(...this.#tiles.map(({ root }) => root));
    const { verdict, sentence } = sanityVerdict(steps);
    $("sanity-verdict").dataset.verdict = verdict;
    $("sanity-verdict").textContent = sentence;
    $("sanity-verdict").hidden = false;
  }
}

/** To one digit: 0.11 becomes 0.2. */
function roundedUp(number) {
  const unit = 10 ** Math.floor(Math.log10(number || 1));
  return Math.min(1, Math.ceil(number / unit) * unit);
}
