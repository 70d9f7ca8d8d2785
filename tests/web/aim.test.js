// What about a class is explained, and how smoothly.

import assert from "node:assert/strict";
import { after } from "node:test";
import { relativeDifference } from "./fixtures.js";
import { settled, testOnBothBackends } from "./page.js";
import { serveSite } from "./site.js";

const site = await serveSite({ base: "/some/where/" });
after(() => site.close());
const testOnBoth = await testOnBothBackends(site);

const parameters = { model: site.material("data/cams/flatten.onnx"), src: site.material("data/images/photo.jpg") };

/** The large picture's explanation, once it is what the condition asks for. */
const explained = (page, key, value) =>
  page.waitFor(
    (key, value) => {
      const { explanation } = document.querySelector("grad-cam");
      return (
        document.querySelector("#progress").hidden &&
        (explanation[key] ?? null) === value && {
          method: explanation.method,
          targetClass: explanation.targetClass,
          ratherThan: explanation.ratherThan,
          target: explanation.target,
          map: explanation.map,
          query: location.search,
          note: document.querySelector("#note").textContent,
          label: document.querySelector("grad-cam").shadowRoot.querySelector("canvas").getAttribute("aria-label"),
        }
      );
    },
    key,
    value,
  );

/** The map of options that the page need not show. */
const mapOf = (page, options) =>
  page.evaluate(
    async (options) => (await document.querySelector("grad-cam").prediction.explain(options)).map.values,
    options,
  );

const choose = (page, selector, value) =>
  page.evaluate(
    (selector, value) => {
      const select = document.querySelector(selector);
      select.value = value;
      select.dispatchEvent(new Event("change"));
    },
    selector,
    value,
  );

testOnBoth("why this rather than that is the difference of the two maps, and a link keeps it", async (open) => {
  const page = await open(parameters);
  const { targetClass } = await settled(page);
  const [, second, third] = await page.evaluate(() =>
    document
      .querySelector("grad-cam")
      .prediction.top(3)
      .map(({ index }) => index),
  );
  await choose(page, "#target", "rather-than");
  await explained(page, "ratherThan", second);
  await choose(page, "#rather-than", String(third));
  const shown = await explained(page, "ratherThan", third);
  const [own, other] = [await mapOf(page, { targetClass }), await mapOf(page, { targetClass: third })];
  // Grad-CAM's weights are linear in the score.
  assert.ok(
    relativeDifference(
      shown.map.values,
      own.map((value, i) => value - other[i]),
    ) < 1e-4,
  );
  assert.equal(new URLSearchParams(shown.query).get("rather-than"), String(third));
  assert.match(shown.label, / heatmap for class \d+ rather than class \d+, /);
  assert.match(shown.note, /^Warm places speak most for class \d+ rather than class \d+\.$/);

  const again = await open(Object.fromEntries(new URLSearchParams(shown.query)));
  const reopened = await explained(again, "ratherThan", third);
  assert.deepEqual([reopened.targetClass, reopened.map.values], [targetClass, shown.map.values]);
  // A class is not explained rather than itself.
  await again.evaluate(
    (index) => [...document.querySelectorAll("#classes button")].find((row) => row.value === String(index)).click(),
    third,
  );
  assert.equal((await explained(again, "ratherThan", null)).targetClass, third);
});

testOnBoth("what speaks against a class is the negative of what speaks for it", async (open) => {
  const page = await open({ ...parameters, target: "against" });
  const shown = await explained(page, "target", "against");
  const own = await mapOf(page, { targetClass: shown.targetClass });
  assert.ok(
    relativeDifference(
      shown.map.values,
      own.map((value) => -value),
    ) < 1e-4,
  );
  assert.match(shown.label, / heatmap against class \d+, /);
  assert.match(shown.note, /^Warm places speak most against class \d+\.$|evidence is for it/);
});

testOnBoth("smoothing is a choice that a comparison keeps", async (open) => {
  const page = await open({ ...parameters, smooth: "aug" });
  const shown = await explained(page, "augSmooth", true);
  // Means of heatmaps have the size of the input, 28 × 20, and lie in 0..=1.
  assert.deepEqual([shown.map.width, shown.map.height], [28, 20]);
  assert.ok(shown.map.values.every((value) => value >= 0 && value <= 1));
  await page.evaluate(() => {
    document.querySelector("#more input[value=eigen]").click();
    document.querySelector("#more input[value=aug]").click();
  });
  const { query } = await explained(page, "augSmooth", false);
  assert.deepEqual(new URLSearchParams(query).getAll("smooth"), ["eigen"]);
  await page.evaluate(() => {
    document.querySelector("#compare-none").click();
    document.querySelector(`#compare-options input[value="layercam"]`).click();
    document.querySelector("#compare-run").click();
  });
  await page.waitFor(() => document.querySelector("#compare-tiles [data-state=done]"));
  await page.evaluate(() => document.querySelector("#compare-tiles button").click());
  const chosen = await page.evaluate(() => {
    const { method, eigenSmooth, augSmooth } = document.querySelector("grad-cam").explanation;
    return { method, eigenSmooth, augSmooth, query: location.search };
  });
  assert.deepEqual([chosen.method, chosen.eigenSmooth, chosen.augSmooth], ["layercam", true, false]);
  assert.deepEqual(new URLSearchParams(chosen.query).getAll("smooth"), ["eigen"]);
});

testOnBoth("a target that does not exist is named, and the usual is shown", async (open) => {
  const page = await open({ ...parameters, target: "nothing" });
  const shown = await explained(page, "target", "score");
  assert.match(shown.note, /^Warm places speak most for class \d+\.$/);
  assert.equal(new URLSearchParams(shown.query).get("target"), null);
  assert.match(
    await page.evaluate(() => document.querySelector("#notice").textContent),
    /^The link asks for what does not exist: target "nothing"\./,
  );
  const error = await page.evaluate(() =>
    document
      .querySelector("grad-cam")
      .prediction.explain({ target: "nothing" })
      .catch(({ name, message }) => [name, message]),
  );
  assert.equal(error[0], "TargetError");
  assert.match(error[1], /there are score, against, score-and-probability/);
});
