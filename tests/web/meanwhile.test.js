// What is chosen while something else is on its way, and what comes after something that did not come.

import assert from "node:assert/strict";
import test, { after } from "node:test";
import { chromium } from "./browsers.js";
import { openPage, settled } from "./page.js";
import { serveSite } from "./site.js";

/** Which files do not come. @type {RegExp | undefined} */
let missing;
/** Which come when that is called. @type {{ pattern: RegExp, come: () => void } | undefined} */
let late;
const site = await serveSite({
  fault(request, response) {
    if (missing?.test(request.url)) return Boolean(response.destroy());
    if (!late?.pattern.test(request.url)) return false;
    const { come } = late;
    late.come = () => {
      come();
      response.writeHead(302, { location: `${request.url}?now` }).end();
    };
    return true;
  },
});
const browser = await chromium();
after(() => Promise.all([browser.close(), site.close()]));

const photo = site.material("data/images/photo.jpg");
const BRIGHT = site.material("data/bright.onnx");
const FLATTEN = site.material("data/cams/flatten.onnx");
const hold = (pattern) => (late = { pattern, come() {} });
const release = () => {
  const { come } = late;
  late = undefined;
  come();
};
const open = (t, parameters = {}) => {
  t.after(() => (late = missing = undefined));
  return openPage(browser, site, t, { src: photo, backend: "cpu", ...parameters });
};
const use = (page, address) =>
  page.evaluate((address) => {
    document.querySelector("#address").value = address;
    document.querySelector("#address-form").requestSubmit();
  }, address);
const pickNetwork = (page, value) =>
  page.evaluate((value) => {
    const select = document.querySelector("#network");
    select.value = value;
    select.dispatchEvent(new Event("change"));
  }, value);
const pressClass = (page, at) => page.evaluate((at) => document.querySelectorAll("#classes button")[at].click(), at);
/** What answers, and what the page says of it. */
const shown = (page) =>
  page.evaluate(() => {
    const picture = document.querySelector("grad-cam");
    return {
      network: picture.prediction?.model.name,
      targetClass: picture.explanation?.targetClass,
      option: document.querySelector("#network").selectedOptions[0]?.textContent,
      state: document.querySelector("#stage").dataset.state,
      error: document.querySelector("#error").hidden ? "" : document.querySelector("#error-message").textContent,
      canRetry: !document.querySelector("#error-retry").hidden,
    };
  });
const isAtRest = (page) =>
  page.waitFor(
    () => document.querySelector("#progress").hidden && document.querySelector("#stage").dataset.state !== "busy",
  );

test("a network that is chosen again while another is on its way goes on", async (t) => {
  const page = await open(t);
  await settled(page);
  const before = await shown(page);
  hold(/everyday\.onnx$/);
  await pickNetwork(page, "everyday");
  await page.waitFor(() => !document.querySelector("#progress").hidden);
  await pickNetwork(page, "imagenet");
  await isAtRest(page);
  release();
  await page.evaluate(() => new Promise((resolve) => setTimeout(resolve, 1500)));
  const now = await shown(page);
  assert.deepEqual(now, before);
  assert.doesNotMatch(await page.evaluate(() => location.search), /everyday/);
});

test("a class that is chosen while another network is on its way is of the one in use", async (t) => {
  const page = await open(t);
  await settled(page);
  hold(/bright\.onnx$/);
  await use(page, BRIGHT);
  await page.waitFor(() => !document.querySelector("#progress").hidden);
  await pressClass(page, 2);
  const chosen = await page.waitFor(() => new URLSearchParams(location.search).get("class"));
  await page.waitFor(
    (chosen) => document.querySelector("grad-cam").explanation?.targetClass === Number(chosen),
    chosen,
  );
  release();
  await page.waitFor(() => document.querySelector("grad-cam").prediction?.model.labels.length < 100);
  const { error, targetClass } = await settled(page);
  assert.equal(error, undefined);
  const top = await page.evaluate(() => document.querySelector("grad-cam").prediction.top(1)[0].index);
  assert.deepEqual(
    [targetClass, await page.evaluate(() => new URLSearchParams(location.search).get("class"))],
    [top, null],
  );
});

test("networks that can't be had leave what was chosen of the one in use", async (t) => {
  const page = await open(t);
  await settled(page);
  await pressClass(page, 3);
  const chosen = await page.waitFor(() => new URLSearchParams(location.search).get("class"));
  await page.waitFor(
    (chosen) => document.querySelector("grad-cam").explanation?.targetClass === Number(chosen),
    chosen,
  );
  await settled(page);
  hold(/no-first\.onnx$/);
  await use(page, site.material("data/no-first.onnx"));
  await page.waitFor(() => !document.querySelector("#progress").hidden);
  await use(page, site.material("data/no-second.onnx"));
  const { error } = await settled(page);
  assert.match(error.text, /no-second\.onnx/);
  release();
  await page.waitFor(
    (chosen) => document.querySelector("grad-cam").explanation?.targetClass === Number(chosen),
    chosen,
  );
  assert.equal(await page.evaluate(() => new URLSearchParams(location.search).get("class")), chosen);
});

test("how pictures are prepared is changed for the network in use, not for one on its way", async (t) => {
  const page = await open(t, { model: BRIGHT });
  await settled(page);
  hold(/flatten\.onnx$/);
  await use(page, FLATTEN);
  await page.waitFor(() => !document.querySelector("#progress").hidden);
  await page.evaluate(() => {
    const form = document.querySelector("#prepare-form");
    form.elements.resize.value = "crop";
    form.dispatchEvent(new Event("change"));
  });
  await page.waitFor(() => document.querySelector("grad-cam").prediction?.model.preprocess.resize === "crop");
  release();
  const { error } = await settled(page);
  assert.equal(error, undefined);
  assert.match((await shown(page)).network, /bright/i);
});

test("what is kept in the browser is the network in use, not one on its way", async (t) => {
  const page = await open(t);
  await settled(page);
  await page.drop("body", "tests/data/bright.onnx");
  await page.waitFor(() => /bright/i.test(document.querySelector("grad-cam").prediction?.model.name ?? ""));
  await settled(page);
  hold(/flatten\.onnx$/);
  await use(page, FLATTEN);
  await page.waitFor(() => !document.querySelector("#progress").hidden);
  await page.evaluate(() => document.querySelector("#keep-model").click());
  const kept = await page.waitFor(() =>
    [...document.querySelector("#network").options].map(({ value }) => value).find((value) => /^kept:/.test(value)),
  );
  release();
  await settled(page);
  assert.equal(kept, "kept:bright.onnx");
  await pickNetwork(page, kept);
  await page.waitFor(() => /bright/i.test(document.querySelector("grad-cam").prediction?.model.name ?? ""));
  assert.equal((await settled(page)).error, undefined);
});

for (const [what, pattern] of [
  ["the network", /imagenet\.onnx/],
  ["the engine", /relaxed\/gradcam_web_bg\.wasm/],
  ["the worker", /\/worker\.js/],
  ["the drawing code", /view\/gradcam_web_bg\.wasm/],
]) {
  test(`after ${what} did not come it can be had by another try, and by another picture`, async (t) => {
    missing = pattern;
    const page = await open(t);
    await page.waitFor(() => !document.querySelector("#error").hidden);
    await isAtRest(page);
    assert.equal((await shown(page)).canRetry, true);
    missing = undefined;
    await page.evaluate(() => document.querySelector("#error-retry").click());
    const { error, targetClass } = await settled(page);
    assert.deepEqual([error, typeof targetClass], [undefined, "number"]);

    missing = pattern;
    const other = await open(t);
    await other.waitFor(() => !document.querySelector("#error").hidden);
    await isAtRest(other);
    missing = undefined;
    await other.evaluate(() => document.querySelector("#samples li:nth-child(3) button").click());
    const found = await settled(other);
    assert.deepEqual([found.error, typeof found.targetClass], [undefined, "number"]);
  });
}

test("two pictures in a row that are none take nothing away", async (t) => {
  const page = await open(t);
  await settled(page);
  await page.drop("body", "tests/data/images/photo.jpg");
  await page.waitFor(() => document.querySelector("grad-cam").src instanceof Blob);
  await settled(page);
  hold(/no-first\.jpg$/);
  await use(page, site.material("data/no-first.jpg"));
  await page.waitFor(() => document.querySelector("#stage").dataset.state === "busy");
  await use(page, site.material("data/no-second.jpg"));
  await page.waitFor(() => !document.querySelector("#error").hidden);
  release();
  await page.waitFor(() => document.querySelector("#stage").dataset.state === "ready");
  assert.match((await shown(page)).error, /no-second\.jpg/);
  assert.equal(await page.evaluate(() => document.querySelector("grad-cam").src.name), "photo.jpg");
});

test("without a connection the error is of the picture that was asked for, which can be tried again", async (t) => {
  const page = await open(t);
  await settled(page);
  missing = /\.jpg|\.webp/;
  await page.evaluate(() => document.querySelector("#samples li:nth-child(3) button").click());
  await page.waitFor(() => !document.querySelector("#error").hidden);
  await page.waitFor(() => document.querySelector("#stage").dataset.state === "empty");
  const { error, canRetry } = await shown(page);
  assert.doesNotMatch(error, /photo\.jpg/);
  assert.equal(canRetry, true);
  missing = undefined;
  await page.evaluate(() => document.querySelector("#error-retry").click());
  await page.waitFor(() => document.querySelector("#stage").dataset.state === "ready");
  assert.doesNotMatch(await page.evaluate(() => String(document.querySelector("grad-cam").src)), /photo\.jpg/);
});

test("changes of the preparation that follow each other all count", async (t) => {
  const page = await open(t, { model: BRIGHT });
  await settled(page);
  const change = (name, value) =>
    page.evaluate(
      (name, value) => {
        const form = document.querySelector("#prepare-form");
        form.elements[name].value = value;
        form.dispatchEvent(new Event("change"));
      },
      name,
      value,
    );
  hold(/bright\.onnx$/);
  await change("resize", "crop");
  await page.waitFor(() => !document.querySelector("#progress").hidden);
  await change("mean", "0.4");
  release();
  const { resize, mean } = await page.waitFor(() => {
    const { preprocess } = document.querySelector("grad-cam").prediction?.model ?? {};
    return preprocess?.mean[0] === 0.4 && preprocess;
  });
  assert.deepEqual([resize, mean[0]], ["crop", 0.4]);
});

test("what goes wrong after a picture that was none is said, too", async (t) => {
  const page = await open(t, { model: FLATTEN });
  await settled(page);
  await page.drop("body", { name: "text.jpg", bytes: Buffer.from("no picture") });
  await page.waitFor(() => !document.querySelector("#error").hidden);
  await page.waitFor(() => document.querySelector("#stage").dataset.state === "ready");
  await page.evaluate(() => {
    document.querySelector("#error-close").click();
    const method = document.querySelector("#method");
    method.value = "cam";
    method.dispatchEvent(new Event("change", { bubbles: true }));
  });
  await page.waitFor(() => document.querySelector("#stage").dataset.state === "error");
  assert.notEqual((await shown(page)).error, "");
});

test("who returns to a network has chosen nothing of it", async (t) => {
  const page = await open(t);
  await settled(page);
  await pressClass(page, 3);
  await page.waitFor(() => new URLSearchParams(location.search).get("class"));
  hold(/everyday\.onnx$/);
  await pickNetwork(page, "everyday");
  await page.waitFor(() => !document.querySelector("#progress").hidden);
  await pickNetwork(page, "imagenet");
  release();
  await use(page, site.material("data/no-first.onnx"));
  await page.waitFor(() => !document.querySelector("#error").hidden);
  await settled(page);
  assert.equal(await page.evaluate(() => new URLSearchParams(location.search).get("class")), null);
});
