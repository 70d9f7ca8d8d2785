// A network of one's own: names, preparation and manifest without writing any by hand; the chooser, and what is in a file.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import test, { after } from "node:test";
import { chromium } from "./browsers.js";
import { relativeDifference } from "./fixtures.js";
import { openPage, settled } from "./page.js";
import { serveSite } from "./site.js";

const site = await serveSite({ base: "/some/where/" });
const browser = await chromium();
after(() => Promise.all([browser.close(), site.close()]));

const photo = site.material("data/images/photo.jpg");
const NAMELESS = site.material("data/nameless.onnx");
const open = (t, parameters = {}) =>
  openPage(browser, site, t, { model: site.material("data/bright.onnx"), src: photo, backend: "cpu", ...parameters });
const click = (page, selector) => page.evaluate((selector) => document.querySelector(selector).click(), selector);
const visible = (page, selector) =>
  page.evaluate((selector) => document.querySelector(selector).checkVisibility(), selector);
/** What the page saves when this is pressed. */
async function saved(page, selector) {
  const [download] = await Promise.all([page.driver.waitForEvent("download"), click(page, selector)]);
  return { name: download.suggestedFilename(), text: await readFile(await download.path(), "utf8") };
}
/** The name of the network, once another than `before` is there. */
const network = (page, before) =>
  page.waitFor((before) => {
    const model = document.querySelector("grad-cam").prediction?.model;
    return document.querySelector("#progress").hidden && model && model.name !== before && model.name;
  }, before);
const choose = (page, option) =>
  page.evaluate((option) => {
    const select = document.querySelector("#network");
    select.value = [...select.options].find(({ textContent }) => textContent === option).value;
    select.dispatchEvent(new Event("change"));
  }, option);
const choices = (page) =>
  page.evaluate(() => [...document.querySelector("#network").options].map(({ textContent }) => textContent));

test("a thousand outputs without names are offered ImageNet's, and no other number is", async (t) => {
  const page = await open(t, { model: NAMELESS });
  const { classes } = await settled(page);
  assert.match(classes[0], /^class \d+$/);
  assert.deepEqual([await visible(page, "#nameless"), await visible(page, "#nameless-imagenet")], [true, true]);
  await click(page, "#imagenet-names");
  await page.waitFor(() => document.querySelector("grad-cam").prediction?.model.labels[0] === "tench");
  assert.doesNotMatch((await settled(page)).classes[0], /^class \d+$/);
  assert.equal(await visible(page, "#nameless"), false);

  const other = await open(t, { model: site.material("data/cams/flatten.onnx") });
  await settled(other);
  assert.deepEqual([await visible(other, "#nameless"), await visible(other, "#nameless-imagenet")], [true, false]);
});

test("what else lies beside a network is no list of names", async (t) => {
  const page = await open(t);
  await settled(page);
  const labels = () => page.evaluate(() => document.querySelector("grad-cam").prediction?.model.labels);
  const before = await labels();
  const beside = Object.entries({
    "requirements.txt": "torch\nonnx",
    "results.csv": "epoch,loss\n1,0.5\n2,0.4",
    "args.yaml": "task: classify",
    "training_args.json": '{"epochs": 3}',
    "all_results.json": '{"eval_accuracy": 0.9}',
  }).map(([name, text]) => ({ name, bytes: Buffer.from(text) }));
  await page.drop("main", "tests/data/bright.onnx", ...beside);
  await page.waitFor(() => document.querySelector("#keep-model").checkVisibility());
  const { error } = await settled(page);
  assert.deepEqual([error, await labels()], [undefined, before]);
  await page.drop("main", beside[2]);
  await page.waitFor(() => !document.querySelector("#error").hidden);
  assert.match(
    (await settled(page)).error.text,
    /args\.yaml has no names: a list of them, one a line or below "names:"/,
  );
});

test("what Ultralytics writes into a file is understood", async (t) => {
  const page = await open(t);
  await settled(page);
  await page.drop("main", "tests/data/ultralytics.onnx");
  assert.equal(await network(page, "bright.onnx"), "ultralytics.onnx");
  const model = await page.evaluate(() => {
    const { labels, preprocess, preprocessGuessed } = document.querySelector("grad-cam").prediction.model;
    return { labels, ...preprocess, guessed: preprocessGuessed };
  });
  assert.deepEqual(model.labels, ["red thing", "green's", "blue thing"]);
  assert.deepEqual([model.mean, model.std, model.guessed], [[0], [1], false]);
});

test("a file that leaves its sides open is loaded with those of its metadata", async (t) => {
  const page = await open(t);
  await settled(page);
  await page.drop("main", "tests/data/open-sides.onnx");
  assert.equal(await network(page, "bright.onnx"), "open-sides.onnx");
  const { width, height } = await page.evaluate(() => document.querySelector("grad-cam").prediction.model.preprocess);
  assert.deepEqual([width, height], [48, 32]);
});

test("a saved manifest beside its file says all that was set", async (t) => {
  const page = await open(t);
  await settled(page);
  await page.drop("main", "tests/data/nameless.onnx");
  await network(page, "bright.onnx");
  await click(page, "#imagenet-names");
  await page.waitFor(() => document.querySelector("grad-cam").prediction?.model.labels[0] === "tench");
  await page.evaluate(() => {
    const { mean, std, order } = document.querySelector("#prepare-form").elements;
    [mean.value, std.value, order.value] = ["0.1 0.2 0.3", "0.5", "BGR"];
    order.dispatchEvent(new Event("change", { bubbles: true }));
  });
  await page.waitFor(() => document.querySelector("grad-cam").prediction?.model.preprocess.order === "BGR");
  const scores = () => page.evaluate(() => [...document.querySelector("grad-cam").prediction.scores]);
  await settled(page);
  const [before, manifest] = [await scores(), await saved(page, "#save-manifest")];
  assert.equal(manifest.name, "model.json");
  const { file, labels, preprocess } = JSON.parse(manifest.text);
  assert.deepEqual([file, labels.length, preprocess.mean], ["nameless.onnx", 1000, [0.1, 0.2, 0.3]]);

  await choose(page, "Everyday 100");
  await network(page, "nameless.onnx");
  await page.drop("main", "tests/data/nameless.onnx", { name: "model.json", bytes: Buffer.from(manifest.text) });
  await network(page, "Everyday 100");
  await settled(page);
  assert.deepEqual(await scores(), before);
});

test("a file of parameters is taken with the network or from beside its address, and missed by name", async (t) => {
  const page = await open(t);
  await settled(page);
  await page.drop("main", "tests/data/two-files.onnx");
  await page.waitFor(() =>
    /two-files\.onnx\.data.*external_data=False/s.test(document.querySelector("#error").textContent),
  );

  await page.drop("main", "tests/data/two-files.onnx", "tests/data/two-files.onnx.data", {
    name: "labels.txt",
    bytes: Buffer.from("red\ngreen\nblue\n"),
  });
  assert.equal(await network(page, "bright.onnx"), "two-files.onnx");
  await settled(page);
  const found = () =>
    page.evaluate(() => {
      const { model, scores } = document.querySelector("grad-cam").prediction;
      return { labels: model.labels, scores: [...scores] };
    });
  const dropped = await found();
  assert.deepEqual(dropped.labels, ["red", "green", "blue"]);

  const address = site.material("data/two-files.onnx");
  const loaded = await page.evaluate(
    async (script, address) => {
      const { loadModel } = await import(script);
      const blob = async (address) => (await fetch(address)).blob();
      const parts = ["", ".data"].map(
        async (ending) => new File([await blob(address + ending)], `two-files.onnx${ending}`),
      );
      const manifest = {
        file: "two-files.onnx",
        name: "Two",
        labels: ["r", "g", "b"],
        preprocess: { mean: [0], std: [1] },
      };
      const described = new File([JSON.stringify(manifest)], "model.json");
      const results = [];
      for (const source of [address, [...(await Promise.all(parts)), described]]) {
        const model = await loadModel(source, { backend: "cpu", preprocess: { mean: [0], std: [1] } });
        const { scores } = await model.classify({
          tensor: new Float32Array(3 * 32 * 48).fill(1),
          shape: [1, 3, 32, 48],
        });
        results.push({ name: model.name, labels: model.labels, scores: [...scores] });
        model.dispose();
      }
      return results;
    },
    new URL("gradcam-web/index.js", site.url).href,
    address,
  );
  const [fetched, listed] = loaded;
  assert.deepEqual([listed.name, listed.labels], ["Two", ["r", "g", "b"]]);
  assert.deepEqual(fetched.scores, listed.scores);
  // onnxruntime's.
  assert.ok(relativeDifference(fetched.scores, [0.13501304, -1.8024795, 1.1754797]) < 1e-5, `${fetched.scores}`);
});

test("the chooser has the site's networks and one's own, which stay if one says so", async (t) => {
  const page = await open(t, { model: "" });
  await settled(page);
  const shipped = (await choices(page)).slice(0, -1);
  assert.ok(shipped.includes("Everyday 100"), String(shipped));
  await choose(page, "Everyday 100");
  if (shipped.length > 1) await network(page, "ImageNet 1000");
  await page.drop("main", "tests/data/ultralytics.onnx");
  await network(page, "Everyday 100");
  assert.deepEqual(await choices(page), [...shipped, "ultralytics.onnx", "Your own model …"]);
  // Not kept: it is gone with the page.
  let other;
  const kept = async () => {
    other = await page.driver.context().newPage();
    await other.goto(`${site.url}?backend=cpu`);
    await other.waitForFunction(() => document.querySelector("grad-cam").explanation);
    return other.evaluate(() => [...document.querySelector("#network").options].map(({ textContent }) => textContent));
  };
  assert.deepEqual(await kept(), [...shipped, "Your own model …"]);

  await click(page, "#keep-model");
  await page.waitFor(() => /Remove/.test(document.querySelector("#keep-model").textContent));
  await other.waitForTimeout(200);
  assert.deepEqual(await kept(), [...shipped, "ultralytics.onnx", "Your own model …"]);
  await other.selectOption("#network", { label: "ultralytics.onnx" });
  await other.waitForFunction(() => document.querySelector("grad-cam").prediction?.model.labels[0] === "red thing");
  await other.evaluate(() => document.querySelector("#keep-model").click());
  await other.waitForFunction(() => /Keep/.test(document.querySelector("#keep-model").textContent));
  assert.deepEqual(await kept(), [...shipped, "Your own model …"]);
  // Nor is it left with what this tab would have after a reload.
  assert.equal(await leftInTabs(page), 0);
});

/** How many networks this browser has left with what tabs would have after a reload. */
const leftInTabs = (page) =>
  page.evaluate(
    () =>
      new Promise((resolve) => {
        indexedDB.open("gradcam-web", 1).onsuccess = ({ target: { result: database } }) => {
          const found = database.transaction("tabs").objectStore("tabs").getAll();
          found.onsuccess = () => resolve(database.close() ?? found.result.filter(({ own }) => own).length);
        };
      }),
  );

test("a network is kept once, as it is now, and once removed does not come back", async (t) => {
  const page = await open(t);
  await settled(page);
  await page.drop("main", "tests/data/ultralytics.onnx");
  await network(page, "bright.onnx");
  await click(page, "#keep-model");
  const isKept = () => page.waitFor(() => /Remove/.test(document.querySelector("#keep-model").textContent));
  await isKept();
  await page.driver.reload();
  await settled(page);
  await isKept();
  // What is set of it later is kept, too.
  await page.evaluate(() => {
    const { order } = document.querySelector("#prepare-form").elements;
    order.value = "BGR";
    order.dispatchEvent(new Event("change", { bubbles: true }));
  });
  await page.waitFor(() => document.querySelector("grad-cam").prediction?.model.preprocess.order === "BGR");
  await isKept();
  await page.driver.waitForTimeout(200);
  const other = await page.driver.context().newPage();
  await other.goto(`${site.url}?backend=cpu`);
  await other.waitForFunction(() => document.querySelector("grad-cam").explanation);
  const names = await other.evaluate(() => [...document.querySelector("#network").options].map(({ text }) => text));
  assert.deepEqual(
    names.filter((name) => name.startsWith("ultralytics")),
    ["ultralytics.onnx"],
  );
  await other.selectOption("#network", { label: "ultralytics.onnx" });
  await other.waitForFunction(() => document.querySelector("grad-cam").prediction?.model.preprocess.order === "BGR");

  // Nor does another tab that has it open, with its next photo.
  await other.evaluate(() => document.querySelector("#keep-model").click());
  await page.waitFor(() => /Keep/.test(document.querySelector("#keep-model").textContent));
  await settled(page);
  await page.drop("main", "tests/data/images/alpha.png");
  await page.waitFor(() => document.querySelector("grad-cam").prediction?.image.width === 40);
  await settled(page);
  await page.driver.waitForTimeout(200);
  assert.equal(await leftInTabs(page), 0);
});

test("what is in a network's file is told", async (t) => {
  const page = await open(t, { model: site.material("data/cams/residual.onnx") });
  await settled(page);
  const facts = () =>
    page.waitFor(() => {
      const cells = [...document.querySelectorAll("#inside-facts > *")].map(({ textContent }) => textContent);
      return cells.length > 0 && cells;
    });
  await click(page, "#inside summary");
  // The numbers of tests/node/inside.test.js.
  assert.deepEqual((await facts()).slice(0, 8), [
    "Size",
    "22 kB",
    "Format",
    "ONNX, opset 17, written by pytorch 2.15.0",
    "Parameters",
    "4,315",
    "Operators",
    "6 Conv, 5 Relu, 5 BatchNormalization, 2 Add, 1 GlobalAveragePool, 1 Flatten, 1 Gemm",
  ]);
  await page.drop("main", "tests/data/nameless.onnx");
  await page.waitFor(() => /3,576/.test(document.querySelector("#inside-facts").textContent));
});

test("more than forty layers are a list that can be searched", async (t) => {
  const page = await open(t, { model: NAMELESS });
  await settled(page);
  await page.evaluate(() => (document.querySelector("#more").open = document.querySelector("#layer-list").open = true));
  const rows = () =>
    page.evaluate(() => [...document.querySelectorAll("#layer-results button")].map(({ value }) => value));
  await page.waitFor(() => document.querySelectorAll("#layer-results button").length > 40);
  const all = await page.evaluate(() =>
    document.querySelector("grad-cam").prediction.model.layers.map(({ name }) => name),
  );
  assert.deepEqual((await rows()).toSorted(), all.toSorted());
  await page.driver.fill("#layer-search", "layer 17");
  await page.waitFor(() => document.querySelectorAll("#layer-results button").length === 1);
  await click(page, "#layer-results button");
  await page.waitFor(() => document.querySelector("grad-cam").explanation?.targetLayer === "layer 17");
  assert.deepEqual(new URLSearchParams((await settled(page)).query).getAll("layer"), ["layer 17"]);
  // What the slider goes through can be told apart.
  assert.ok(await page.evaluate(() => Number(document.querySelector("#layer").max) < 40));
});

test("an address of a network can be pasted, and a class's index is an index everywhere", async (t) => {
  const page = await open(t);
  await settled(page);
  await page.evaluate((address) => {
    const clipboardData = new DataTransfer();
    clipboardData.setData("text/plain", address);
    document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true }));
  }, NAMELESS);
  await network(page, "bright.onnx");
  await settled(page);
  await click(page, "#all summary");
  await page.driver.fill("#class-search", "281");
  await page.waitFor(() => document.querySelectorAll("#class-results button").length === 1);
  await click(page, "#class-results button");
  await page.waitFor(() => document.querySelector("grad-cam").explanation?.targetClass === 281);
  // All of them are listed, not the first forty.
  await page.driver.fill("#class-search", "");
  await page.waitFor(() => document.querySelectorAll("#class-results li").length === 1000);
});
