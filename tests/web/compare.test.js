// Many maps of one image, side by side.

import assert from "node:assert/strict";
import test, { after } from "node:test";
import { chromium } from "./browsers.js";
import { openPage, settled } from "./page.js";
import { serveSite } from "./site.js";

const site = await serveSite({ base: "/some/where/" });
const browser = await chromium();
after(() => Promise.all([browser.close(), site.close()]));

const photo = site.material("data/images/photo.jpg");

async function open(t, network, parameters = {}) {
  const model = site.material(network === "bright" ? "data/bright.onnx" : `data/cams/${network}.onnx`);
  const page = await openPage(browser, site, t, { model, backend: "cpu", src: photo, ...parameters });
  assert.equal((await settled(page)).error, undefined);
  return page;
}

/** Compares what is chosen; gives the tiles once they are done. */
async function compare(page, what) {
  await page.evaluate((what) => {
    document.querySelector(`#compare input[value=${what}]`).click();
    document.querySelector("#compare-run").click();
  }, what);
  return page.waitFor(() => {
    const tiles = [...document.querySelectorAll("#compare-tiles li")];
    if (document.querySelector("#compare-run").textContent !== "Compare" || tiles.length === 0) return false;
    return tiles.map((tile) => ({
      state: tile.dataset.state,
      title: tile.querySelector(".tile-title").textContent,
      detail: tile.querySelector(".tile-detail").firstChild?.textContent ?? "",
      same: /the same map as (.*)$/.exec(tile.querySelector(".tile-detail").textContent)?.[1],
      message: tile.querySelector(".tile-message").textContent,
      error: tile.dataset.name,
      pressed: tile.querySelector("button").getAttribute("aria-pressed"),
      disabled: tile.querySelector("button").disabled,
    }));
  });
}

/** Whether each tile's pixels are those that the package draws for the requests, in the page's style. */
const drawnAs = (page, requests, style) =>
  page.evaluate(
    async (requests, style) => {
      const { prediction } = document.querySelector("grad-cam");
      const pixels = (canvas) => canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
      const same = [];
      for (const [i, canvas] of [...document.querySelectorAll("#compare-tiles canvas")].entries()) {
        const own = new OffscreenCanvas(1, 1);
        (await prediction.explain(requests[i])).draw(own, { maxSize: 360, ...style });
        const [found, expected] = [pixels(canvas), pixels(own)];
        same.push(
          canvas.width === own.width &&
            canvas.height === own.height &&
            found.every((level, at) => level === expected[at]),
        );
      }
      return same;
    },
    requests,
    style,
  );

test("every method's tile has its map and its time, and one click makes it the large picture", async (t) => {
  const page = await open(t, "flatten");
  const methods = await page.evaluate(async () =>
    (await import("./gradcam-web/index.js")).METHODS.filter(({ forwardPasses }) => forwardPasses === "1").map(
      ({ name, title }) => ({ name, title }),
    ),
  );
  const tiles = await compare(page, "methods");
  assert.deepEqual(
    tiles.map(({ title }) => title),
    methods.map(({ title }) => title),
  );
  for (const { title, state, detail, message, error, disabled } of tiles) {
    if (["CAM", "Attention rollout"].includes(title)) {
      assert.deepEqual([state, error, disabled], ["refused", "UnsupportedError", true]);
      assert.match(message, /^CAM needs pooling and one linear layer|^this network has no attention/);
    } else {
      assert.deepEqual([title, state, disabled], [title, "done", false]);
      assert.match(detail, /^[\d.]+ m?s$/, title);
    }
  }
  assert.deepEqual(
    tiles.filter(({ pressed }) => pressed === "true").map(({ title }) => title),
    ["Grad-CAM"],
  );

  const drawn = methods.filter(({ name }) => name !== "cam" && name !== "attention-rollout");
  await page.evaluate(() =>
    document.querySelectorAll("#compare-tiles [data-state=refused] canvas").forEach((canvas) => canvas.remove()),
  );
  const same = await drawnAs(
    page,
    drawn.map(({ name }) => ({ method: name })),
    { opacity: 0.5 },
  );
  assert.deepEqual(
    same,
    drawn.map(() => true),
  );

  const clicked = await page.evaluate(() => {
    const picture = document.querySelector("grad-cam");
    const steps = () => picture.prediction.model.stats.stepsRun;
    const before = steps();
    [...document.querySelectorAll("#compare-tiles button")].find((tile) => tile.title === "LayerCAM").click();
    return {
      method: picture.explanation.method,
      steps: steps() - before,
      query: location.search,
      choice: document.querySelector("#method").value,
    };
  });
  assert.deepEqual([clicked.method, clicked.steps, clicked.choice], ["layercam", 0, "layercam"]);
  assert.equal(new URLSearchParams(clicked.query).get("method"), "layercam");
  assert.equal((await settled(page)).method, "layercam");
});

test("methods that are one by algebra are said to be the same", async (t) => {
  // Behind pooling and one linear layer the gradient is constant over space.
  const page = await open(t, "gap");
  const twins = Object.fromEntries((await compare(page, "methods")).map(({ title, same }) => [title, same]));
  for (const title of ["CAM", "HiResCAM", "XGrad-CAM"]) assert.equal(twins[title], "Grad-CAM", title);
  assert.equal(twins["Counterfactual Grad-CAM"], undefined);
  const others = Object.fromEntries(
    (await compare(await open(t, "flatten"), "methods")).map(({ title, same }) => [title, same]),
  );
  for (const title of ["HiResCAM", "XGrad-CAM", "Element-wise Grad-CAM"]) assert.equal(others[title], undefined, title);
  // max(G, 0) · A is max(G · A, 0) where no activation is negative.
  assert.equal(others.LayerCAM, "Element-wise Grad-CAM");
});

test("layers and classes are compared by the method in use, in one style", async (t) => {
  const page = await open(t, "gap", { method: "hirescam" });
  const { layers, top } = await page.evaluate(() => {
    const { prediction } = document.querySelector("grad-cam");
    return {
      layers: prediction.model.layers.map(({ name }) => name),
      top: prediction.top(6).map(({ index, label }) => ({ index, label })),
    };
  });
  const tiles = await compare(page, "layers");
  assert.ok(
    tiles.length > 3 && tiles.every(({ state, title }) => state === "done" && layers.includes(title)),
    JSON.stringify(tiles),
  );
  const requests = tiles.map(({ title }) => ({ method: "hirescam", targetClass: top[0].index, targetLayer: title }));
  assert.deepEqual(
    await drawnAs(page, requests, {}),
    tiles.map(() => true),
  );
  await page.evaluate(() => {
    const opacity = document.querySelector("#opacity");
    opacity.value = "0.9";
    opacity.dispatchEvent(new Event("input"));
    document.querySelector("#colormaps input[value=viridis]").click();
    return new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
  });
  assert.deepEqual(
    await drawnAs(page, requests, { opacity: 0.9, colormap: "viridis" }),
    tiles.map(() => true),
  );
  await page.evaluate(() => document.querySelector("#compare-tiles button").click());
  const chosen = await settled(page);
  assert.deepEqual(
    [chosen.targetLayer, new URLSearchParams(chosen.query).getAll("layer")],
    [tiles[0].title, [tiles[0].title]],
  );

  const classes = await compare(page, "classes");
  assert.deepEqual(
    classes.map(({ title }) => title),
    top.map(({ label }) => label),
  );
  await page.evaluate(() => document.querySelectorAll("#compare-tiles button")[2].click());
  const { pressed, targetClass, targetLayer, query } = await settled(page);
  assert.deepEqual([pressed, targetClass, targetLayer], [top[2].label, top[2].index, tiles[0].title]);
  assert.equal(new URLSearchParams(query).get("class"), String(top[2].index));

  // Said once, at the end.
  const texts = () =>
    page.evaluate(() =>
      ["#announcer", "#compare-status", "#compare-title"].map((id) => document.querySelector(id).textContent),
    );
  const [said, status, title] = await texts();
  assert.deepEqual([said, title], [status, `Classes, by HiResCAM at ${tiles[0].title}`]);
  await page.drop("main", "tests/data/images/portrait.jpg");
  await page.waitFor(() => document.querySelector("grad-cam").prediction);
  assert.deepEqual((await texts()).slice(1), ["", ""]);
});

test("a comparison that is stopped leaves the page as it was", async (t) => {
  const page = await open(t, "gap");
  await page.evaluate(() => {
    const button = document.querySelector("#compare-run");
    button.click();
    button.click();
  });
  const states = await page.evaluate(() =>
    [...document.querySelectorAll("#compare-tiles li")].map((tile) => tile.dataset.state),
  );
  assert.ok(states.length > 0 && states.every((state) => state === "stopped"), String(states));
  await page.evaluate(() => {
    const method = document.querySelector("#method");
    method.value = "layercam";
    method.dispatchEvent(new Event("change"));
  });
  await page.waitFor(() => document.querySelector("grad-cam").explanation.method === "layercam");
  assert.equal((await settled(page)).error, undefined);
});
