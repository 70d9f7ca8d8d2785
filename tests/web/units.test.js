// Single channels and single cells: what each adds to a score, and which classes it speaks for.

import assert from "node:assert/strict";
import test, { after, describe } from "node:test";
import { chromium } from "./browsers.js";
import { readFixture, relativeDifference } from "./fixtures.js";
import { openPage, settled } from "./page.js";
import { serveSite } from "./site.js";

const site = await serveSite({ base: "/some/where/" });
const browsers = { cpu: await chromium(), webgpu: await chromium({ webgpu: true }) };
after(() => Promise.all([...Object.values(browsers).map((browser) => browser.close()), site.close()]));

const PACKAGE = `${site.url}gradcam-web/index.js`;
const PHOTO = site.material("data/images/photo.jpg");

for (const [backend, browser] of Object.entries(browsers)) {
  describe(backend, () => {
    for (const network of ["gap", "flatten"]) {
      test(`${network}: units add what PyTorch's activations and gradients say`, async (t) => {
        const fixture = readFixture(`cams/${network}.safetensors`);
        const input = fixture.tensor("input");
        const [targetClass] = fixture.fact("classes");
        const page = await browser.open(site.blank, t);
        const found = await page.evaluate(
          async (address, source, backend, input, targetClass, targetLayer) => {
            const { loadModel } = await import(address);
            const model = await loadModel(source, { backend });
            const prediction = await model.classify({ tensor: Float32Array.from(input.values), shape: input.shape });
            const units = await prediction.units({ targetClass, targetLayer, count: 1000 });
            const { all, classes, cell } = await prediction.classesAt(0, 0, { targetLayer });
            const top = prediction.top(10).map(({ index }) => index);
            const first = await prediction.units({ targetClass, targetLayer, count: 2 });
            const errors = await Promise.all(
              [{ count: 0 }, { targetLayer: "nowhere" }, { targetClass: 99 }].map((options) =>
                prediction.units(options).then(
                  () => "none",
                  ({ name }) => name,
                ),
              ),
            );
            return {
              backend: model.backend,
              all,
              classes,
              cell,
              top,
              errors,
              units: units.map(({ channel, contribution, map }) => ({ channel, contribution, values: map.values })),
              first: first.map(({ channel }) => channel),
            };
          },
          PACKAGE,
          site.material(`data/cams/${network}.onnx`),
          backend,
          input,
          targetClass,
          fixture.fact("layers").late.value,
        );

        assert.equal(found.backend, backend);
        const {
          shape: [, channels, height, width],
          values: activations,
        } = fixture.tensor("late/activations");
        const gradients = fixture.tensor(`late/${targetClass}/gradients`).values;
        const places = width * height;
        const sum = (values, channel) => values.slice(channel * places, (channel + 1) * places).reduce((a, b) => a + b);
        const expected = Array.from({ length: channels }, (_, k) => (sum(gradients, k) * sum(activations, k)) / places);
        assert.equal(found.units.length, channels);
        assert.ok(
          found.units.every(({ contribution }, i) => i === 0 || found.units[i - 1].contribution >= contribution),
        );
        const byChannel = found.units.toSorted((a, b) => a.channel - b.channel);
        assert.ok(
          relativeDifference(
            byChannel.map(({ contribution }) => contribution),
            expected,
          ) < 1e-3,
        );
        assert.ok(
          relativeDifference(
            byChannel.flatMap(({ values }) => values),
            activations,
          ) < 1e-3,
        );
        assert.deepEqual(
          found.first,
          found.units.slice(0, 2).map(({ channel }) => channel),
        );
        assert.deepEqual(found.errors, ["TargetError", "TargetError", "TargetError"]);

        // The cell in the corner, of the class whose map PyTorch made.
        const { evidence } = found.classes.find(({ index }) => index === targetClass);
        const [method, factor] = network === "gap" ? ["cam", 1] : ["grad-cam", places];
        const map = fixture.tensor(`late/${targetClass}/${method}/map`).values;
        assert.ok(
          Math.abs(evidence - factor * map[0]) < 1e-3 * factor * Math.max(...map.map(Math.abs)),
          `${evidence} ${factor * map[0]}`,
        );
        assert.equal(found.all, network === "gap");
        assert.deepEqual(found.classes.map(({ index }) => index).toSorted(), found.top.toSorted());
        assert.deepEqual(found.cell, {
          column: 0,
          row: 0,
          x: 0,
          y: 0,
          width: input.shape[3] / width,
          height: input.shape[2] / height,
        });
      });
    }
  });
}

const open = (t, more = {}) =>
  openPage(browsers.cpu, site, t, { model: site.material("data/bright.onnx"), backend: "cpu", src: PHOTO, ...more });

test("units show beside the picture with what they add, and one click shows them large", async (t) => {
  const page = await open(t, { class: "bright" });
  await settled(page);
  await page.evaluate(() => document.querySelector("#units-tab").click());
  const shown = await page.waitFor(() => {
    const tiles = [...document.querySelectorAll("#units-tiles li")].map((tile) => ({
      title: tile.querySelector(".tile-title").textContent,
      number: tile.querySelector(".tile-detail").firstChild.textContent,
    }));
    return (
      tiles.length > 0 && {
        tiles,
        score: document.querySelector("grad-cam").prediction.scores[0],
        status: document.querySelector("#units-status").textContent,
      }
    );
  });
  // Channel 0 is the brightness, whose mean is the score of `bright`; channel 1 counts for `dark` alone.
  assert.deepEqual(shown.tiles, [
    { title: "Channel 0", number: `+${shown.score.toFixed(2)}` },
    { title: "Channel 1", number: "+0.00" },
  ]);
  assert.equal(shown.status, "2 of 2 channels");

  const large = await page.evaluate(() => {
    const picture = document.querySelector("grad-cam");
    const canvas = picture.shadowRoot.querySelector("canvas");
    const pixels = () =>
      canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.slice(0, 40_000).join();
    const { explanation } = picture;
    const before = pixels();
    document.querySelectorAll("#units-tiles button")[1].click();
    const unit = {
      pixels: pixels(),
      text: document.querySelector("#showing-text").textContent,
      same: picture.explanation === explanation,
      note: !document.querySelector("#note").hidden,
    };
    document.querySelector("#showing-back").click();
    return {
      text: unit.text,
      same: unit.same,
      changed: unit.pixels !== before,
      back: pixels() === before,
      hidden: document.querySelector("#showing").hidden,
      notes: [unit.note, !document.querySelector("#note").hidden],
    };
  });
  // What the note says is true of the heatmap alone.
  assert.deepEqual(large, {
    notes: [false, true],
    text: "Channel 1 of evidence: +0.00 for bright",
    same: true,
    changed: true,
    back: true,
    hidden: true,
  });
});

test("another class has other units", async (t) => {
  const page = await open(t, { class: "bright" });
  await settled(page);
  await page.evaluate(() => {
    document.querySelector("#units-tab").click();
    [...document.querySelectorAll("#classes button")].find((row) => row.value === "1").click();
  });
  await page.waitFor(
    () =>
      document.querySelector("#units-title").textContent === "evidence, for dark" &&
      document.querySelector("#units-tiles .tile-title")?.textContent === "Channel 1",
  );
});

test("a clicked cell tells which classes it speaks for", async (t) => {
  const page = await open(t);
  await settled(page);
  const box = await page.driver.locator("grad-cam").boundingBox();
  await page.driver.mouse.click(box.x + 0.3 * box.width, box.y + 0.6 * box.height);
  const asked = await page.waitFor(() => {
    const rows = [...document.querySelectorAll("#asked-classes button")].map((row) => ({
      label: row.querySelector(".label").textContent,
      number: Number(row.querySelector(".number").textContent),
    }));
    const { map } = document.querySelector("grad-cam").explanation;
    return (
      rows.length > 0 && {
        rows,
        title: document.querySelector("#asked-title").textContent,
        note: document.querySelector("#asked-note").textContent,
        map,
        target: document.querySelector("grad-cam").explanation.targetClass,
      }
    );
  });
  // 12 × 8 cells: the fourth column and the fifth row.
  assert.equal(asked.title, "Column 4, row 5 of 12 × 8 speaks for");
  assert.match(asked.note, /exactly/);
  const labels = ["bright", "dark"];
  const number = (label) => asked.rows.find((row) => row.label === label).number;
  // What a cell lacks to white speaks for `dark`; CAM's map is W · A, and pooling makes Grad-CAM's smaller by the 96 places.
  assert.ok(Math.abs(number("bright") + number("dark") - 1) < 0.011, JSON.stringify(asked.rows));
  const own = 96 * asked.map.values[4 * 12 + 3];
  assert.ok(Math.abs(number(labels[asked.target]) - own) < 0.006, `${own} ${JSON.stringify(asked.rows)}`);

  await page.evaluate(() =>
    [...document.querySelectorAll("#asked-classes button")].find((row) => row.value === "1").click(),
  );
  await page.waitFor(() => document.querySelector("grad-cam").explanation.targetClass === 1);
});

test("the keyboard moves over the cells, and Enter asks", async (t) => {
  const page = await open(t);
  await settled(page);
  await page.driver.focus("grad-cam");
  for (const key of ["ArrowUp", "ArrowRight", "ArrowRight", "ArrowDown"]) await page.driver.keyboard.press(key);
  // The first key only shows the cursor, in the middle: column 7, row 5.
  assert.match(
    await page.evaluate(() => document.querySelector("#announcer").textContent),
    /^Column 9, row 6: [01]\.\d\d$/,
  );
  await page.driver.keyboard.press("Enter");
  await page.waitFor(
    () => document.querySelector("#asked-title").textContent === "Column 9, row 6 of 12 × 8 speaks for",
  );
  await page.driver.keyboard.press("Escape");
  assert.equal(
    await page.evaluate(() => document.querySelector("#asked").hidden && document.querySelector("#cell").hidden),
    true,
  );

  // What was said of one layer's cells does not stay over another's.
  await page.driver.keyboard.press("Enter");
  await page.waitFor(() => !document.querySelector("#asked").hidden);
  await page.evaluate(() => {
    const slider = document.querySelector("#layer");
    slider.value = 0;
    slider.dispatchEvent(new Event("input"));
  });
  await page.waitFor(() => document.querySelector("#asked").hidden && document.querySelector("#cell").hidden);
});

test("a longer press shows the photo and asks nothing", async (t) => {
  const page = await open(t);
  await settled(page);
  const box = await page.driver.locator("grad-cam").boundingBox();
  await page.driver.mouse.move(box.x + 20, box.y + 20);
  await page.driver.mouse.down();
  await page.evaluate(() => new Promise((resolve) => setTimeout(resolve, 400)));
  await page.driver.mouse.up();
  assert.equal(await page.evaluate(() => document.querySelector("#asked").hidden), true);
});
