// The page and the element as people use them, with the network of `make_bright.py`.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import test, { after } from "node:test";
import { chromium } from "./browsers.js";
import { relativeDifference } from "./fixtures.js";
import { openPage, settled } from "./page.js";
import { serveSite } from "./site.js";

// Below a folder, as on hosts that give a project no origin of its own.
const site = await serveSite({ base: "/some/where/" });
const browsers = { cpu: await chromium(), webgpu: await chromium({ webgpu: true }) };
const browser = browsers.cpu;
after(() => Promise.all([...Object.values(browsers).map((browser) => browser.close()), site.close()]));

const MODEL = site.material("data/bright.onnx");
const photo = site.material("data/images/photo.jpg");

const open = (t, parameters = {}, backend = "cpu") =>
  openPage(browsers[backend], site, t, { model: MODEL, backend, ...parameters });

/** The map of the dropped photo, by backend. */
const maps = {};

for (const [backend, name] of [
  ["cpu", "CPU"],
  ["webgpu", "WebGPU"],
]) {
  test(`a dropped photo is classified and explained on the ${name}, and nothing goes anywhere`, async (t) => {
    const page = await open(t, {}, backend);
    await page.drop("main", "tests/data/images/photo.jpg");
    const shown = await settled(page);
    assert.equal(shown.error, undefined);
    assert.deepEqual(shown.classes.toSorted(), ["bright", "dark"]);
    assert.equal(shown.pressed, shown.classes[0]);
    assert.ok(shown.backend.startsWith(`${name} asked for`), shown.backend);
    assert.deepEqual(
      page.requests().filter((url) => new URL(url).origin !== site.origin),
      [],
    );
    const found = await page.evaluate(() => {
      const { prediction, explanation } = document.querySelector("grad-cam");
      return { backend: prediction.model.backend, map: explanation.map.values };
    });
    assert.equal(found.backend, backend);
    maps[backend] = found.map;
    assert.ok(relativeDifference(found.map, maps.cpu) < 1e-3);
  });

  test(`rows choose the class on the ${name}, and the address keeps every choice`, async (t) => {
    const page = await open(t, { src: site.material("data/images/photo.jpg") }, backend);
    const first = await settled(page);
    await page.evaluate(() => document.querySelectorAll("#classes button")[1].click());
    await page.waitFor(
      (label) => document.querySelector("#classes [aria-pressed=true] .label")?.textContent === label,
      first.classes[1],
    );
    await page.evaluate(() => {
      const set = (selector, value, type) => {
        const input = document.querySelector(selector);
        if (input.type === "radio") input.checked = true;
        else input.value = value;
        input.dispatchEvent(new Event(type, { bubbles: true }));
      };
      set("#method", "cam", "change");
      set("#opacity", "0.7", "input");
      set("#colormaps input[value=viridis]", "", "change");
    });
    const { query, method, targetClass } = await page.waitFor(() => {
      const { explanation } = document.querySelector("grad-cam");
      return (
        explanation.method === "cam" && {
          query: location.search,
          method: explanation.method,
          targetClass: explanation.targetClass,
        }
      );
    });
    const parameters = Object.fromEntries(new URLSearchParams(query));
    assert.deepEqual(parameters, {
      src: site.material("data/images/photo.jpg"),
      model: MODEL,
      method: "cam",
      class: String(targetClass),
      colormap: "viridis",
      opacity: "0.7",
      backend,
    });
    assert.equal(method, "cam");

    const again = await settled(await open(t, parameters, backend));
    assert.deepEqual(
      [again.error, again.method, again.targetClass, again.query],
      [undefined, "cam", targetClass, query],
    );
  });
}

test("opacity 0 and the held key O show the photo itself", async (t) => {
  const page = await open(t, { src: site.material("data/images/photo.png") });
  await settled(page);
  const found = await page.evaluate(async (address) => {
    const picture = document.querySelector("grad-cam");
    const canvas = picture.shadowRoot.querySelector("canvas");
    const pixels = () => canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    const bitmap = await createImageBitmap(await (await fetch(address)).blob(), { colorSpaceConversion: "none" });
    const own = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
    own.drawImage(bitmap, 0, 0);
    const photo = own.getImageData(0, 0, bitmap.width, bitmap.height).data;
    const same = () => pixels().every((level, i) => level === photo[i]);
    const press = (type) => dispatchEvent(new KeyboardEvent(type, { key: "o" }));
    const result = { before: same() };
    document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "o", bubbles: true }));
    result.held = same();
    press("keyup");
    result.released = same();
    picture.opacity = 0;
    result.opacity0 = same();
    return result;
  }, site.material("data/images/photo.png"));
  assert.deepEqual(found, { before: false, held: true, released: false, opacity0: true });
});

test("a file that is no image is named, and the next photo works", async (t) => {
  const page = await open(t);
  await page.drop("main", { name: "notes.html", type: "text/html", bytes: Buffer.from("not a picture") });
  assert.equal((await settled(page)).error?.name, "ImageError");
  await page.drop("main", "tests/data/images/photo.jpg");
  await page.waitFor(() => document.querySelector("grad-cam").explanation);
  assert.equal((await settled(page)).error, undefined);
});

test("a file that is no image takes nothing away from the picture before", async (t) => {
  const page = await open(t, { src: site.material("data/images/photo.png"), class: "1" });
  const before = await settled(page);
  await page.drop("main", { name: "notes.html", type: "text/html", bytes: Buffer.from("not a picture") });
  await page.waitFor(
    () =>
      !document.querySelector("#error").hidden &&
      document.querySelector("grad-cam").explanation &&
      document.querySelector("#stage").dataset.state === "ready",
  );
  const { error, ...after } = await settled(page);
  assert.equal(error.name, "ImageError");
  assert.deepEqual(after, before);
});

test("nor from the one that the page opens on", async (t) => {
  const page = await open(t);
  const before = await settled(page);
  await page.drop("main", { name: "notes.html", type: "text/html", bytes: Buffer.from("not a picture") });
  await page.waitFor(
    () => !document.querySelector("#error").hidden && document.querySelector("#stage").dataset.state === "ready",
  );
  const { error, ...after } = await settled(page);
  assert.equal(error.name, "ImageError");
  assert.deepEqual(after, before);
});

test("a damaged model is named, and the network in use stays", async (t) => {
  const page = await open(t, { src: photo, class: "1", layer: "tiles" });
  const before = await settled(page);
  await page.drop("main", { name: "damaged.onnx", bytes: Buffer.from("not a model") });
  await page.waitFor(() => !document.querySelector("#error").hidden);
  const { error, ...after } = await settled(page);
  assert.equal(error?.name, "ModelError");
  assert.deepEqual(after, before);
  await page.drop("main", "tests/data/images/portrait.jpg");
  await page.waitFor(() => document.querySelector("#error").hidden && document.querySelector("grad-cam").explanation);
  assert.deepEqual((await settled(page)).classes.toSorted(), ["bright", "dark"]);
});

test("a dropped model takes the place of the one in use, with its labels", async (t) => {
  const page = await open(t, { src: site.material("data/images/photo.jpg") });
  await settled(page);
  await page.drop("main", "tests/data/bright.onnx", { name: "labels.json", bytes: Buffer.from('["day", "night"]') });
  await page.waitFor(() => document.querySelector("grad-cam").prediction?.model.labels[0] === "day");
  assert.deepEqual((await settled(page)).classes.toSorted(), ["day", "night"]);
});

test("a dropped manifest is followed as a fetched one is, and errors name the file", async (t) => {
  const page = await open(t, { src: photo });
  await settled(page);
  const layer = await page.evaluate(() => document.querySelector("grad-cam").prediction.model.layers[0].name);
  const json = (name, content) => ({ name, bytes: Buffer.from(JSON.stringify(content)) });
  await page.drop(
    "main",
    json("model.json", { name: "By day", file: "bright.onnx", labels: "labels.json", targetLayer: layer }),
    json("labels.json", ["day", "night"]),
    "tests/data/bright.onnx",
  );
  await page.waitFor(
    () =>
      document.querySelector("#facts dd").textContent === "By day" && document.querySelector("grad-cam").explanation,
  );
  const { classes, targetLayer } = await settled(page);
  assert.deepEqual([classes.toSorted(), targetLayer], [["day", "night"], layer]);

  for (const [content, sentence] of [
    [{ file: "bright.onnx", sha256: "00" }, /^bright\.onnx can't be used: bright\.onnx does not match its manifest/],
    [{ preprocess: { std: 0 } }, /model\.json has a preprocess with a std that is no list of numbers/],
    [["one", "two", "three"], /^model\.json can't be used: model\.json names 3 classes, but the network has 2\./],
    [{ a: "day", b: "night" }, /^model\.json can't be used: model\.json is neither a manifest nor a list of labels/],
    [null, /model\.json is neither a manifest nor a list of labels/],
    [5, /^model\.json can't be used: model\.json is neither a manifest nor a list of labels/],
    ["text", /model\.json is neither a manifest nor a list of labels/],
  ]) {
    await page.drop("main", json("model.json", content), "tests/data/bright.onnx");
    await page.waitFor(
      (source) => new RegExp(source).test(document.querySelector("#error").textContent.trim()),
      sentence.source,
    );
  }
  await page.drop("main", { name: "broken.onnx", bytes: Buffer.from("no model") });
  await page.waitFor(() =>
    document.querySelector("#error").textContent.trim().startsWith("broken.onnx can't be used: "),
  );
  assert.deepEqual((await settled(page)).classes.toSorted(), ["day", "night"]);
});

test("of what is dropped together nothing is lost without a word", async (t) => {
  const page = await open(t);
  await page.drop(
    "main",
    { name: "notes.pdf", bytes: Buffer.from("%PDF-1.4") },
    "tests/data/images/photo.jpg",
    "tests/data/images/portrait.jpg",
  );
  assert.equal((await settled(page)).error, undefined);
  const notice = () =>
    page.evaluate(() => !document.querySelector("#notice").hidden && document.querySelector("#notice").textContent);
  assert.equal(await notice(), "This is photo.jpg, the first of 2. All are below it.");
  await page.drop("main", "tests/data/images/portrait.jpg", "tests/data/bright.onnx", {
    name: "labels.txt",
    bytes: Buffer.from("day\nnight\n"),
  });
  await page.waitFor(() => document.querySelector("grad-cam").prediction?.model.labels[0] === "day");
  assert.deepEqual(
    [(await settled(page)).error, await notice(), await page.evaluate(() => document.querySelector("grad-cam").alt)],
    [undefined, false, "portrait.jpg"],
  );
  await page.drop("main", { name: "scan.tif", bytes: Buffer.from("II*\0") });
  await page.waitFor(() => !document.querySelector("#error").hidden);
  assert.match((await settled(page)).error.text, /scan\.tif can't be used: /);
});

test("empty parameters, which forms send, are none", async (t) => {
  const page = await open(t, {
    src: site.material("data/images/photo.jpg"),
    method: "",
    class: "",
    layer: "",
    target: "",
    "rather-than": "",
    smooth: "",
    colormap: "",
    opacity: "",
  });
  const { error, method, query } = await settled(page);
  assert.deepEqual([error, method], [undefined, "grad-cam"]);
  assert.deepEqual([...new URLSearchParams(query).keys()], ["src", "model", "backend"]);
  assert.equal(await page.evaluate(() => document.querySelector("#opacity-value").textContent), "50 %");
});

test("a backend that does not exist is named, and the page goes on without it", async (t) => {
  const page = await open(t, { src: site.material("data/images/photo.jpg"), backend: "gpu" });
  await page.waitFor(() => document.querySelector("grad-cam").explanation);
  const { error, query } = await settled(page);
  assert.match(error.text, /no backend "gpu"; there are auto, webgpu, cpu/);
  assert.equal(new URLSearchParams(query).get("backend"), null);
});

test("when the network can't be had, nothing seems to go on", async (t) => {
  const page = await browser.open(site.blank, t);
  await page.driver.route("**/models/**/*.onnx", (route) => route.fulfill({ status: 404 }));
  await page.driver.goto(`${site.url}?src=${photo}`);
  await page.waitFor(() => !document.querySelector("#error").hidden);
  // The engine still comes.
  await page.evaluate(() => new Promise((resolve) => setTimeout(resolve, 500)));
  assert.match((await settled(page)).error.text, /answered 404/);
});

for (const [name, spoil] of Object.entries({
  "without WebAssembly": (page) => page.addInitScript(() => delete globalThis.WebAssembly),
  "whose scripts don't come": (page) => page.route("**/gradcam-web/*.js", (route) => route.abort()),
})) {
  test(`a page ${name} says that it can't start`, async (t) => {
    const page = await browser.open(site.blank, t);
    await spoil(page.driver);
    await page.driver.goto(site.url);
    await page.waitFor(() => !document.querySelector("#unstarted").hidden);
    assert.equal(await page.evaluate(() => document.querySelector("main").checkVisibility()), false);
  });
}

test("a page without JavaScript says so, and invites to nothing", async (t) => {
  const blank = await browser.open(site.blank, t);
  const context = await blank.driver.context().browser().newContext({ javaScriptEnabled: false });
  t.after(() => context.close());
  const page = await context.newPage();
  await page.goto(site.url);
  assert.equal(await page.locator("noscript p").isVisible(), true);
  assert.equal(await page.locator("main").isVisible(), false);
});

test("what the colours mean is said for the colormap that is there", async (t) => {
  const page = await open(t, { src: photo, class: "0", colormap: "viridis" });
  await settled(page);
  const note = () => page.evaluate(() => document.querySelector("#note").textContent);
  assert.equal(await note(), "Bright places speak most for bright.");
  await page.evaluate(() => document.querySelector("#colormaps input[value=turbo]").click());
  assert.equal(await note(), "Warm places speak most for bright.");
  await page.driver.selectOption("#method", "fullgrad");
  await page.waitFor(
    () => document.querySelector("#note").textContent === "Warm places change the score of bright most, up or down.",
  );
  assert.equal(await page.evaluate(() => document.querySelector("#unstarted").hidden), true);
});

test("a slow method can be stopped", async (t) => {
  const page = await browser.open(site.blank, t);
  await page.driver.addInitScript(() =>
    addEventListener("DOMContentLoaded", () => {
      const button = document.querySelector("#progress-stop");
      new MutationObserver(() => !button.hidden && button.click()).observe(button, { attributes: true });
    }),
  );
  await page.driver.goto(
    `${site.url}?${new URLSearchParams({ model: MODEL, src: photo, backend: "cpu", method: "ss-cam", smooth: "aug" })}`,
  );
  await page.waitFor(() => document.querySelector("grad-cam")?.explanation);
  const { method, query } = await settled(page);
  assert.equal(method, "grad-cam");
  assert.deepEqual([...new URLSearchParams(query).keys()], ["src", "model", "backend"]);
});

test("without a heatmap there is none to save or to judge", async (t) => {
  const page = await open(t, { src: photo });
  await settled(page);
  const usable = () =>
    page.evaluate(() => [!document.querySelector("#save").disabled, !document.querySelector("#bench").hidden]);
  assert.deepEqual(await usable(), [true, true]);
  await page.driver.selectOption("#method", "cam");
  await page.evaluate(() => {
    const slider = document.querySelector("#layer");
    slider.value = 0;
    slider.dispatchEvent(new Event("input"));
  });
  await page.waitFor(() => !document.querySelector("#error").hidden);
  assert.deepEqual(await usable(), [false, false]);
  await page.driver.selectOption("#method", "grad-cam");
  await page.waitFor(
    () => document.querySelector("#error").hidden && document.querySelector("#stage").dataset.state === "ready",
  );
  assert.deepEqual(await usable(), [true, true]);
});

for (const width of [1440, 360]) {
  test(`nothing sticks out of a window of ${width} pixels`, async (t) => {
    const page = await open(t, { src: site.material("data/images/photo.jpg") });
    await page.driver.setViewportSize({ width, height: 800 });
    await settled(page);
    await page.waitFor(() => document.querySelector("#samples li, #samples[hidden]"));
    for (const tab of ["judge", "units", "compare"]) {
      await page.evaluate((tab) => document.querySelector(`#${tab}-tab`).click(), tab);
      const found = await page.evaluate(() => {
        const main = document.querySelector("main").getBoundingClientRect();
        const wide = [...document.querySelectorAll("main > *, .left > *, .right > *")].filter(
          (box) => box.getBoundingClientRect().right > main.right + 1,
        );
        return {
          page: document.documentElement.scrollWidth - innerWidth,
          wide: wide.map(({ id, className }) => id || className),
          columns: document.querySelector("#stage").getBoundingClientRect().right <= main.right + 1,
        };
      });
      assert.deepEqual(found, { page: found.page, wide: [], columns: true });
      assert.ok(found.page <= 0, `${found.page} pixels too wide`);
    }
  });
}

test("on a phone the classes are in sight of the picture, and letters may be twice as large", async (t) => {
  const page = await open(t);
  await page.driver.setViewportSize({ width: 390, height: 844 });
  await page.waitFor(() => document.querySelector("#samples li"));
  const below = (upper, lower) =>
    page.evaluate(
      (upper, lower) =>
        document.querySelector(upper).getBoundingClientRect().bottom <=
        document.querySelector(lower).getBoundingClientRect().top,
      upper,
      lower,
    );
  assert.equal(await below("#samples", "#classes-card"), true);
  await page.drop("main", "tests/data/images/photo.jpg");
  await settled(page);
  assert.equal(await below("#stage", "#classes-card"), true);
  assert.ok(
    await page.evaluate(
      () => scrollY === 0 && document.querySelector("#classes button").getBoundingClientRect().bottom < innerHeight,
    ),
  );
  await page.evaluate(() => {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(":root { font-size: 32px !important }");
    document.adoptedStyleSheets = [sheet];
  });
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth));
});

/** An empty page with elements on it. */
async function withElements(t, html) {
  const page = await browser.open(site.blank, t);
  await page.evaluate(
    (html, address) => {
      globalThis.events = [];
      document.body.replaceChildren(document.createRange().createContextualFragment(html));
      for (const element of document.querySelectorAll("grad-cam")) {
        for (const type of ["load", "explain", "error"]) {
          element.addEventListener(type, ({ detail }) =>
            globalThis.events.push(
              [element.id, type, type === "error" ? detail.name : undefined].filter(Boolean).join(" "),
            ),
          );
        }
      }
      return import(address);
    },
    html,
    `${site.url}gradcam-web/index.js`,
  );
  return page;
}

test("two elements share one worker and one copy of the model", async (t) => {
  const page = await withElements(
    t,
    `
    <grad-cam id="a" loading="eager" model="${MODEL}" backend="cpu" src="${photo}" alt="A photo" controls></grad-cam>
    <grad-cam id="b" loading="eager" model="${MODEL}" backend="cpu" src="${photo}" target-class="dark"></grad-cam>`,
  );
  await page.waitFor(() => globalThis.events.filter((event) => event.endsWith("explain")).length === 2);
  const found = await page.evaluate(() => {
    const [a, b] = document.querySelectorAll("grad-cam");
    return {
      same: a.prediction.model === b.prediction.model,
      b: b.explanation.targetClass,
      label: a.shadowRoot.querySelector("canvas").getAttribute("aria-label"),
      buttons: a.shadowRoot.querySelectorAll("[part=class]").length,
    };
  });
  assert.match(found.label, /^A photo\. Grad-CAM heatmap for (bright|dark), \d+ %$/);
  assert.deepEqual([found.same, found.b, found.buttons], [true, 1, 2]);
  assert.equal(page.driver.workers().length, 1);
  assert.equal(page.requests().filter((url) => url === MODEL).length, 1);
});

test("an element in trouble shows its fallback and recovers", async (t) => {
  const page = await withElements(
    t,
    `
    <grad-cam id="a" loading="eager" model="${MODEL}" backend="cpu" src="${site.url}style.css"><img src="${photo}" alt="fallback"></grad-cam>`,
  );
  await page.waitFor(() => globalThis.events.includes("a error ImageError"));
  const visible = () =>
    page.evaluate(() => {
      const root = document.querySelector("grad-cam").shadowRoot;
      return {
        fallback: document.querySelector("grad-cam img").checkVisibility(),
        message: !root.querySelector("[part=message]").hidden,
        canvas: !root.querySelector("canvas").hidden,
      };
    });
  assert.deepEqual(await visible(), { fallback: true, message: true, canvas: false });
  await page.evaluate((photo) => (document.querySelector("grad-cam").src = photo), photo);
  await page.waitFor(() => globalThis.events.includes("a explain"));
  assert.deepEqual(await visible(), { fallback: false, message: false, canvas: true });
});

test("an element below the fold waits, and one that was taken out comes back", async (t) => {
  const page = await withElements(
    t,
    `
    <div style="height: 9000px"></div>
    <grad-cam id="a" model="${MODEL}" backend="cpu" src="${photo}"></grad-cam>`,
  );
  await page.evaluate(() => new Promise((resolve) => setTimeout(resolve, 300)));
  assert.deepEqual(await page.evaluate(() => globalThis.events), []);
  await page.evaluate(() => document.querySelector("grad-cam").scrollIntoView());
  await page.waitFor(() => globalThis.events.includes("a explain"));
  await page.evaluate(async () => {
    const element = document.querySelector("grad-cam");
    element.remove();
    await new Promise((resolve) => setTimeout(resolve));
    globalThis.events = [];
    document.body.append(element);
    element.scrollIntoView();
  });
  await page.waitFor(() => globalThis.events.includes("a explain"));
});

test("a worker that ends in any way is replaced, and image and settings stay", async (t) => {
  const page = await open(t, { src: photo, class: "1" });
  await settled(page);
  const endings = [
    "globalThis.close()",
    "setTimeout(() => { throw new Error('crash') })",
    "onmessage({ data: { op: 'panic', args: {} } })",
  ];
  for (const [i, ending] of endings.entries()) {
    await page.driver
      .workers()[0]
      .evaluate(ending)
      .catch(() => {});
    const targetClass = i % 2;
    await page.evaluate((index) => {
      const rows = [...document.querySelectorAll("#classes button")];
      rows.find((row) => Number(row.value) === index).click();
    }, targetClass);
    await page.waitFor(
      (index) =>
        document.querySelector("grad-cam").explanation?.targetClass === index &&
        document.querySelector("#progress").hidden,
      targetClass,
    );
    assert.equal((await settled(page)).error, undefined, ending);
  }
});

test("a link that names another host asks it for that file alone, as a picture in any page would", async (t) => {
  const bytes = await readFile("tests/data/images/photo.jpg");
  const asked = [];
  const elsewhere = createServer(({ method, url, headers }, response) => {
    asked.push({ method, url, referer: headers.referer });
    response.writeHead(200, { "content-type": "image/jpeg", "access-control-allow-origin": "*" });
    response.end(bytes);
  });
  await new Promise((listening) => elsewhere.listen(0, "127.0.0.1", () => listening()));
  t.after(() => new Promise((closed) => elsewhere.close(closed).closeAllConnections()));
  const host = `http://127.0.0.1:${elsewhere.address().port}`;
  const page = await open(t, { src: `${host}/photo.jpg` });
  assert.equal((await settled(page)).error, undefined);
  const others = page.requests().filter((url) => new URL(url).origin !== site.origin);
  assert.deepEqual([...new Set(others)], [`${host}/photo.jpg`]);
  assert.ok(asked.length > 0);
  for (const { method, url, referer } of asked) {
    // Where the visitor comes from, but not what else the link says.
    assert.deepEqual([method, url, referer], ["GET", "/photo.jpg", `${site.origin}/`]);
  }
});
