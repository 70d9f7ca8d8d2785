// Whether to believe a heatmap: measures and the sanity check, as the page shows what the package computes.

import assert from "node:assert/strict";
import { after } from "node:test";
import { settled, testOnBothBackends } from "./page.js";
import { serveSite } from "./site.js";

const site = await serveSite({ base: "/some/where/" });
after(() => site.close());
const testOnBoth = await testOnBothBackends(site);

async function openJudge(open, more = {}) {
  const page = await open({
    model: site.material("data/cams/flatten.onnx"),
    src: site.material("data/images/photo.jpg"),
    ...more,
  });
  assert.equal((await settled(page)).error, undefined);
  await page.evaluate(() => document.querySelector("#judge-tab").click());
  return page;
}

const click = (page, selector) => page.evaluate((selector) => document.querySelector(selector).click(), selector);

/** The page's way to write a number that adds to another. */
const signed = (number) => {
  const size = Math.abs(number);
  return `${number < 0 ? "−" : "+"}${size.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : size >= 0.1 || size === 0 ? 2 : 3)}`;
};

testOnBoth("the measures of the heatmap are shown as numbers and as curves", async (open) => {
  const page = await openJudge(open);
  await click(page, "#measure-run");
  const shown = await page.waitFor(async () => {
    if (document.querySelector("#measures").hidden) return false;
    const { drop, deletion, insertion, road, coherency, complexity, arcc } = await document
      .querySelector("grad-cam")
      .explanation.measure();
    return {
      expected: { drop, deletion, insertion, road, coherency, complexity, arcc },
      numbers: Object.fromEntries(
        [...document.querySelectorAll("#measure-numbers div")].map((row) => [
          row.querySelector("dt").textContent,
          row.querySelector("dd").textContent,
        ]),
      ),
      sentences: [...document.querySelectorAll("#measure-numbers .quiet")].map(({ textContent }) => textContent),
      charts: [...document.querySelectorAll("#measure-charts svg")].map((chart) => ({
        label: chart.getAttribute("aria-label"),
        curves: [...chart.querySelectorAll("polyline")].map((line) =>
          line
            .getAttribute("points")
            .split(" ")
            .map((point) => point.split(",").map(Number)),
        ),
      })),
      button: document.querySelector("#measure-run").textContent,
    };
  });
  const { drop, deletion, insertion, road, coherency, complexity, arcc } = shown.expected;
  assert.deepEqual(shown.numbers, {
    Drop: drop > 0 && drop < 0.001 ? "<\u00a00.1\u00a0%" : `${(100 * drop).toFixed(drop < 0.0995 ? 1 : 0)}\u00a0%`,
    Deletion: deletion.area.toFixed(2),
    Insertion: insertion.area.toFixed(2),
    ROAD: signed(road.combined),
    Coherency: coherency.toFixed(2),
    Complexity: complexity.toFixed(2),
    ARCC: arcc.toFixed(2),
  });
  // Each says what it is, and which way is better.
  assert.deepEqual(
    shown.sentences.map((sentence) => /(more|less) is better\.$/.exec(sentence)?.[1]),
    ["less", "less", "more", "more", "more", "less", "more"],
  );
  assert.equal(shown.button, "Measure");
  assert.deepEqual(
    shown.charts.map(({ label }) => label),
    [
      `Deletion curve, area ${deletion.area.toFixed(2)}`,
      `Insertion curve, area ${insertion.area.toFixed(2)}`,
      `ROAD, combined ${road.combined.toFixed(2)}`,
    ],
  );
  // Heights on the page go down as numbers go up, by one factor for both curves.
  const [first, second] = shown.charts.map(({ curves: [points] }) => points);
  assert.deepEqual([first.length, second.length], [deletion.probabilities.length, insertion.probabilities.length]);
  const heights = [...first, ...second].map(([, y]) => y);
  const numbers = [...deletion.probabilities, ...insertion.probabilities];
  const [low, high] = [numbers.indexOf(Math.min(...numbers)), numbers.indexOf(Math.max(...numbers))];
  const slope = (heights[high] - heights[low]) / (numbers[high] - numbers[low]);
  assert.ok(slope < 0);
  heights.forEach((height, i) =>
    assert.ok(Math.abs(height - heights[low] - slope * (numbers[i] - numbers[low])) < 0.2, `${i}`),
  );
  assert.deepEqual(
    shown.charts[2].curves.map((points) => points.length),
    [road.mostRelevantFirst.length, road.leastRelevantFirst.length],
  );
});

testOnBoth("the sanity check shows the map fall apart, and its rank correlations", async (open) => {
  const page = await openJudge(open, { method: "layercam" });
  await click(page, "#sanity-run");
  const { tiles, shown, expected, steps } = await page.waitFor(async () => {
    const verdict = document.querySelector("#sanity-verdict");
    if (verdict.hidden) return false;
    const { sanityVerdict } = await import("./gradcam-web/index.js");
    const steps = await document.querySelector("grad-cam").prediction.sanityCheck({ method: "layercam" });
    return {
      tiles: [...document.querySelectorAll("#sanity-tiles li")].map((tile) => ({
        title: tile.querySelector(".tile-title").textContent,
        detail: tile.querySelector(".tile-detail").textContent,
        state: tile.dataset.state,
      })),
      shown: { verdict: verdict.dataset.verdict, sentence: verdict.textContent },
      expected: sanityVerdict(steps),
      steps: steps.map(({ layer, randomised, rankCorrelation }) => ({ layer, randomised, rankCorrelation })),
    };
  });
  assert.ok(steps.length > 2);
  assert.deepEqual(tiles, [
    { title: "None random", detail: "the network as it isρ +1.00", state: "done" },
    ...steps.map(({ layer, randomised, rankCorrelation }) => ({
      title: `${randomised} random`,
      detail: `down to ${layer}ρ ${signed(rankCorrelation)}`,
      state: "done",
    })),
  ]);
  assert.deepEqual(shown, expected);
});

testOnBoth("what is measured in a comparison marks the best, and stays with its map", async (open) => {
  const page = await openJudge(open);
  await page.evaluate(() => {
    document.querySelector("#compare-none").click();
    for (const name of ["grad-cam", "layercam", "cam"])
      document.querySelector(`#compare-options input[value="${name}"]`).click();
    document.querySelector("#compare-measure").click();
    document.querySelector("#compare-run").click();
  });
  const found = await page.waitFor(async () => {
    if (!/Choose one/.test(document.querySelector("#compare-status").textContent)) return false;
    const { prediction } = document.querySelector("grad-cam");
    const measures = await Promise.all(
      ["grad-cam", "layercam"].map(async (method) => (await prediction.explain({ method })).measure()),
    );
    return {
      areas: measures.map(({ insertion }) => insertion.area),
      tiles: [...document.querySelectorAll("#compare-tiles li")].map((tile) => ({
        state: tile.dataset.state,
        title: tile.querySelector(".tile-title").textContent,
        insertion: tile.querySelector(".tile-measures")?.children[5].textContent,
        best: tile.querySelector(".tile-measures")?.children[5].tagName,
      })),
    };
  });
  const [first, second] = found.areas;
  assert.deepEqual(
    found.tiles.filter(({ state }) => state === "done"),
    [
      {
        state: "done",
        title: "Grad-CAM",
        insertion: first.toFixed(2),
        best: first.toFixed(2) >= second.toFixed(2) ? "B" : "SPAN",
      },
      {
        state: "done",
        title: "LayerCAM",
        insertion: second.toFixed(2),
        best: second.toFixed(2) >= first.toFixed(2) ? "B" : "SPAN",
      },
    ],
  );
  assert.equal(found.tiles.filter(({ state }) => state === "refused").length, 1);
  await page.evaluate(() =>
    [...document.querySelectorAll("#compare-tiles button")].find(({ title }) => title === "LayerCAM").click(),
  );
  assert.equal(await page.evaluate(() => document.querySelector("#measures").hidden), false);
});

testOnBoth("a measurement that is stopped says so, and another explanation clears the numbers", async (open) => {
  const page = await openJudge(open);
  const stopped = await page.evaluate(() => {
    const run = document.querySelector("#sanity-run");
    // At once: so small a network is checked in no time.
    run.click();
    run.click();
    return [document.querySelector("#sanity-status").textContent, run.textContent];
  });
  assert.deepEqual(stopped, ["Stopped.", "Run the sanity check"]);
  await click(page, "#measure-run");
  await page.waitFor(() => !document.querySelector("#measures").hidden);
  await page.evaluate(() => {
    const method = document.querySelector("#method");
    method.value = "hirescam";
    method.dispatchEvent(new Event("change"));
  });
  await page.waitFor(
    () =>
      document.querySelector("grad-cam").explanation.method === "hirescam" &&
      document.querySelector("#measures").hidden,
  );
});
