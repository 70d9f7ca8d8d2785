// What somebody meets who comes for the first time: what is seen before anything is touched, and what becomes of what they do.

import assert from "node:assert/strict";
import { mkdtemp, readFile, rmdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { after } from "node:test";
import { chromium } from "./browsers.js";
import { openPage, settled } from "./page.js";
import { serveSite } from "./site.js";

const site = await serveSite({ base: "/some/where/" });
const browser = await chromium();
after(() => Promise.all([browser.close(), site.close()]));

const MODEL = site.material("data/bright.onnx");
const photo = site.material("data/images/photo.jpg");
const portrait = site.material("data/images/portrait.jpg");
const open = (t, parameters = {}) => openPage(browser, site, t, { model: MODEL, backend: "cpu", ...parameters });
const json = (name, content) => ({ name, bytes: Buffer.from(JSON.stringify(content)) });
/** A picture of nothing: grey all over. */
const NOTHING = `<svg xmlns="http://www.w3.org/2000/svg" width="480" height="320"><rect width="480" height="320" fill="#777"/></svg>`;
const nothing = `data:image/svg+xml,${encodeURIComponent(NOTHING)}`;
const labels = (page) => page.evaluate(() => document.querySelector("grad-cam").prediction?.model.labels);
const errorOf = (page) =>
  page.waitFor(() => !document.querySelector("#error").hidden && document.querySelector("#error").textContent.trim());

/** Adds up by how much of the page things move, from its next document on: `shift`. */
const addUpShifts = (page) =>
  page.driver.addInitScript(() => {
    globalThis.shift = 0;
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) globalThis.shift += entry.value;
    }).observe({ type: "layout-shift", buffered: true });
  });

test("the page opens on an explained sample, and nothing jumps", async (t) => {
  const page = await browser.open(site.blank, t);
  await addUpShifts(page);
  await page.driver.goto(`${site.url}?backend=cpu`);
  const { error, classes, query } = await settled(page);
  assert.deepEqual([error, query], [undefined, "?backend=cpu"]);
  assert.equal(classes.length, 5);
  // The small pictures come last.
  await page.waitFor(() =>
    [...document.querySelectorAll("#samples img")].every((image) => image.complete && image.naturalWidth > 0),
  );
  const found = await page.evaluate(() => ({
    shift: globalThis.shift,
    invites: document.querySelector("#hero").checkVisibility(),
    alt: document.querySelector("grad-cam").alt,
    known: document.querySelector("#all summary").textContent,
  }));
  assert.ok(found.shift <= 0.02, `${found.shift} shifted`);
  assert.ok(found.invites && found.alt, JSON.stringify(found));
  assert.match(found.known, /^This network knows (1,000|100) things/);
});

const SCREENS = [
  ["desktop", 1280, 800],
  ["tablet", 820, 1180],
  ["phone", 390, 844],
];

/** What the page is opened on, or what is done with it then: parameters, and how one comes there. */
const MOMENTS = {
  "the first view": [{}, () => {}],
  "a link with a picture": [{ src: `${site.url}samples/small/barn.jpg` }, () => {}],
  "a link with an upright picture": [{ src: portrait }, () => {}],
  "a link with a picture of nothing": [{ src: nothing }, () => {}],
  "a link to a method that misleads": [{ src: `${site.url}samples/barn.jpg`, method: "guided-backprop" }, () => {}],
  "a link to a class far down": [{ src: `${site.url}samples/barn.jpg`, class: "goldfish" }, () => {}],
  "a link to a picture that is none": [{ src: `${site.url}style.css` }, () => {}],
  "a photo that is dropped": [{}, (page) => page.drop("main", "tests/data/images/portrait.jpg")],
  "a picture of nothing that is dropped": [
    {},
    (page) => page.drop("main", { name: "nothing.svg", type: "image/svg+xml", bytes: Buffer.from(NOTHING) }),
  ],
  "a network that is dropped": [{}, (page) => page.drop("main", "tests/data/nameless.onnx")],
  "a file that is none of these": [
    {},
    (page) => page.drop("main", { name: "notes.html", type: "text/html", bytes: Buffer.from("no picture") }),
  ],
};

for (const [name, width, height] of SCREENS) {
  test(`on a ${name} nothing jumps, whatever comes`, async (t) => {
    for (const [moment, [parameters, come]] of Object.entries(MOMENTS)) {
      const page = await browser.open(site.blank, t);
      await page.driver.setViewportSize({ width, height });
      await page.driver.addInitScript(() => {
        globalThis.shifts = [];
        new PerformanceObserver((list) => {
          for (const { value, sources } of list.getEntries()) {
            const moved = sources.map(({ node }) => node?.id || node?.className || node?.nodeName);
            globalThis.shifts.push({ value, moved });
          }
        }).observe({ type: "layout-shift", buffered: true });
        document.addEventListener("explain", () => (globalThis.count = (globalThis.count ?? 0) + 1), true);
      });
      await page.driver.goto(`${site.url}?${new URLSearchParams({ backend: "cpu", ...parameters })}`);
      await settled(page);
      await come(page);
      await page.waitFor(
        (isDropped) => (globalThis.count ?? 0) > (isDropped ? 1 : 0) || !document.querySelector("#error").hidden,
        Object.keys(parameters).length === 0 && moment !== "the first view",
      );
      await settled(page);
      // Small pictures and bars come to rest.
      const shifts = await page.evaluate(
        () => new Promise((resolve) => setTimeout(() => resolve(globalThis.shifts), 500)),
      );
      const sum = shifts.reduce((sum, { value }) => sum + value, 0);
      t.diagnostic(`${moment}: ${sum.toFixed(4)}`);
      assert.ok(sum <= 0.02, `${moment}: ${sum.toFixed(3)} shifted: ${JSON.stringify(shifts)}`);
      await page.close();
    }
  });

  test(`on a ${name} the picture stays in sight of every control`, async (t) => {
    const page = await open(t, { src: photo });
    await page.driver.setViewportSize({ width, height });
    await settled(page);
    await page.evaluate(() => (document.querySelector("#more").open = true));
    for (const control of [
      "#classes",
      "#method",
      "#opacity",
      "#layer",
      "#colormaps",
      "#save",
      "#compare-run",
      "#facts",
    ]) {
      const share = await page.evaluate((control) => {
        document.querySelector(control).scrollIntoView({ block: "end" });
        const box = document.querySelector("#stage").getBoundingClientRect();
        return (Math.min(box.bottom, innerHeight) - Math.max(box.top, 0)) / box.height;
      }, control);
      assert.ok(share > 0.98, `${control}: ${Math.round(100 * share)} % of the picture`);
    }
  });
}

test("on a phone nothing jumps while the page itself is on its way", async (t) => {
  const html = await readFile(site.file(site.url), "utf8");
  const middle = html.indexOf('<div class="right">');
  let finish;
  const slow = await serveSite({
    fault({ url }, response) {
      if (!url.startsWith("/?")) return false;
      response.writeHead(200, { "content-type": "text/html; charset=utf-8" }).write(html.slice(0, middle));
      finish = () => response.end(html.slice(middle));
      return true;
    },
  });
  t.after(() => slow.close());
  const page = await browser.open(slow.blank, t);
  await page.driver.setViewportSize({ width: 390, height: 844 });
  await addUpShifts(page);
  await page.driver.goto(`${slow.url}?backend=cpu`, { waitUntil: "commit" });
  await page.waitFor(() => performance.getEntriesByType("paint").length > 0);
  finish();
  await page.waitFor(() => document.documentElement.hasAttribute("data-started"));
  assert.equal((await settled(page)).error, undefined);
  const shift = await page.evaluate(() => globalThis.shift);
  assert.ok(shift <= 0.02, `${shift} shifted`);
});

test("what goes wrong is in sight wherever one is", async (t) => {
  const page = await open(t, { src: photo });
  await page.driver.setViewportSize({ width: 390, height: 844 });
  await settled(page);
  await page.evaluate(() => document.querySelector("footer").scrollIntoView());
  await page.drop("main", { name: "notes.html", type: "text/html", bytes: Buffer.from("no picture") });
  await errorOf(page);
  const box = await page.evaluate(() => document.querySelector("#error").getBoundingClientRect().toJSON());
  assert.ok(box.top >= 0 && box.bottom <= 844 && box.height > 20, JSON.stringify(box));
});

test("names that are dropped later join the network that is there", async (t) => {
  const page = await open(t, { src: photo });
  await settled(page);
  assert.equal(await page.evaluate(() => document.querySelector("#nameless").hidden), true);
  await page.drop("main", { name: "names.txt", bytes: Buffer.from("n00000001 day, daytime\nn00000002 night\n") });
  await page.waitFor(() => document.querySelector("grad-cam").prediction?.model.labels[0] === "day");
  assert.deepEqual((await settled(page)).classes.toSorted(), ["day", "night"]);

  await page.drop("main", json("config.json", { model_type: "x", id2label: { 1: "dusk", 0: "dawn" } }));
  await page.waitFor(() => document.querySelector("grad-cam").prediction?.model.labels[0] === "dawn");
  await page.drop("main", { name: "three.txt", bytes: Buffer.from("a\nb\nc") });
  assert.match(await errorOf(page), /three\.txt names 3 classes, but the network has 2\./);
  assert.deepEqual(await labels(page), ["dawn", "dusk"]);
});

test("a file with an impossible preparation is named, whatever was dropped before it", async (t) => {
  const page = await open(t, { src: photo });
  await settled(page);
  await page.drop("main", { name: "names.txt", bytes: Buffer.from("day\nnight") });
  await page.waitFor(() => document.querySelector("grad-cam").prediction?.model.labels[0] === "day");
  await settled(page);
  for (const [name, content, sentence] of [
    ["m.json", { name: "m", preprocess: 5 }, "m.json has a preprocess with no fields."],
    [
      "preprocessor_config.json",
      { do_normalize: true, image_mean: "x", image_std: 5 },
      "preprocessor_config.json has a preprocess with a mean that is no list of numbers",
    ],
  ]) {
    await page.drop("main", json(name, content));
    await page.waitFor((name) => document.querySelector("#error").textContent.trim().startsWith(name), name);
    const said = await errorOf(page);
    assert.ok(said.startsWith(`${name} can't be used`) && said.includes(sentence), said);
    assert.equal(await page.evaluate(() => document.querySelector("#error-retry").checkVisibility()), false);
  }
  // Of several files it is the one with the names that has too many.
  await page.drop(
    "main",
    json("preprocessor_config.json", { do_normalize: false }),
    json("m.json", { labels: ["day"] }),
  );
  await page.waitFor(() => /m\.json names 1 class/.test(document.querySelector("#error").textContent));
  assert.deepEqual(await labels(page), ["day", "night"]);
});

test("a folder of Hugging Face is understood", async (t) => {
  const page = await open(t, { src: photo });
  await settled(page);
  await page.drop(
    "main",
    "tests/data/bright.onnx",
    json("config.json", { model_type: "x", id2label: { 0: "dawn", 1: "dusk" } }),
    json("preprocessor_config.json", {
      do_normalize: true,
      image_mean: [0.5, 0.5, 0.5],
      image_std: [0.25, 0.25, 0.25],
      do_center_crop: true,
    }),
  );
  await page.waitFor(() => document.querySelector("grad-cam").prediction?.model.labels[0] === "dawn");
  const { mean, std, resize, order } = await page.evaluate(
    () => document.querySelector("grad-cam").prediction.model.preprocess,
  );
  assert.deepEqual([mean, std, resize, order], [[0.5, 0.5, 0.5], [0.25, 0.25, 0.25], "crop", "RGB"]);
});

test("how pictures are prepared can be changed beside the result", async (t) => {
  const page = await open(t, { src: photo });
  await settled(page);
  const scores = () => page.evaluate(() => [...(document.querySelector("grad-cam").prediction?.scores ?? [])]);
  const before = await scores();
  await page.evaluate(() => {
    const { mean } = document.querySelector("#prepare-form").elements;
    mean.value = "0.9, 0.1, 0.3";
    mean.dispatchEvent(new Event("change", { bubbles: true }));
  });
  await page.waitFor(() => document.querySelector("grad-cam").prediction?.model.preprocess.mean[0] === 0.9);
  await settled(page);
  assert.notDeepEqual(await scores(), before);
  await page.evaluate(() => {
    const { std } = document.querySelector("#prepare-form").elements;
    std.value = "0";
    std.dispatchEvent(new Event("change", { bubbles: true }));
  });
  assert.match(await page.evaluate(() => document.querySelector("#prepare-error").textContent), /none of them 0/);
  // Nothing is asked of the network that the form itself can refuse.
  await page.evaluate(() => {
    const { std, width } = document.querySelector("#prepare-form").elements;
    [std.value, width.value] = ["0.2", ""];
    width.dispatchEvent(new Event("change", { bubbles: true }));
  });
  assert.match(await page.evaluate(() => document.querySelector("#prepare-error").textContent), /^Width and height: /);
  // What the network can't take is refused, and the form says again what holds.
  const width = await page.evaluate(() => document.querySelector("grad-cam").prediction.model.input.width);
  await page.evaluate((other) => {
    const { width } = document.querySelector("#prepare-form").elements;
    width.value = other;
    width.dispatchEvent(new Event("change", { bubbles: true }));
  }, width + 1);
  await page.waitFor(() => !document.querySelector("#error").hidden);
  assert.equal(await page.evaluate(() => document.querySelector("#prepare-form").elements.width.valueAsNumber), width);
});

test("networks of other formats are named, with the way to ONNX", async (t) => {
  const page = await open(t, { src: photo });
  await settled(page);
  for (const [name, sentence, text = "something else"] of [
    ["resnet.pt", /resnet\.pt is a PyTorch file; ONNX is read: export it with torch\.onnx\.export/],
    ["model.h5", /is a Keras model/],
    ["model.tflite", /is a TensorFlow Lite model.*tf2onnx/],
    ["model.safetensors", /is a file of weights without the network/],
    ["page.onnx", /page\.onnx is a web page; .*download/, "<!doctype html><title>model</title>"],
    ["large.onnx", /is a Git LFS pointer.*git lfs pull/, "version https://git-lfs.github.com/spec/v1\noid sha256:0"],
  ]) {
    await page.drop("main", { name, bytes: Buffer.from(text) });
    await page.waitFor(
      (source) => new RegExp(source).test(document.querySelector("#error").textContent),
      sentence.source,
    );
  }
  assert.equal((await settled(page)).classes.length, 2);
});

test("the number under the pointer is that of the map that is drawn", async (t) => {
  const page = await open(t, { src: photo, class: "0" });
  await settled(page);
  const box = await page.evaluate(() => document.querySelector("grad-cam").getBoundingClientRect().toJSON());
  const [x, y] = [box.x + 0.3 * box.width, box.y + 0.3 * box.height];
  await page.driver.mouse.move(x, y);
  const shown = () =>
    page.evaluate(
      (x, y) => {
        const picture = document.querySelector("grad-cam");
        return {
          targetClass: picture.explanation?.targetClass,
          value: picture.valueAt(x, y)?.toFixed(2),
          chip: picture.shadowRoot.querySelector("[part=value]").textContent,
          legend: document.querySelector("#legend-value").textContent,
        };
      },
      x,
      y,
    );
  const first = await shown();
  await page.evaluate(() => document.querySelector("#classes button:not([value='0'])").click());
  await page.waitFor(
    (before) => document.querySelector("grad-cam").explanation?.targetClass !== before,
    first.targetClass,
  );
  await settled(page);
  const second = await shown();
  assert.notEqual(second.value, first.value);
  assert.deepEqual([second.chip, second.legend], [second.value, second.value]);
});

test("a class that the network rules out says so", async (t) => {
  const page = await open(t, { src: photo });
  await settled(page);
  const [index, label] = await page.evaluate(() => {
    const { prediction } = document.querySelector("grad-cam");
    const { index, label, probability } = prediction.top(2)[1];
    return [index, label, probability];
  });
  await page.evaluate((index) => {
    const rows = [...document.querySelectorAll("#classes button")];
    rows.find(({ value }) => Number(value) === index).click();
  }, index);
  await page.waitFor((index) => document.querySelector("grad-cam").explanation?.targetClass === index, index);
  const { note, probability } = await page.evaluate((index) => {
    const { prediction } = document.querySelector("grad-cam");
    return { note: document.querySelector("#note").textContent, probability: prediction.probabilities[index] };
  }, index);
  assert.equal(/although the network gives it/.test(note), probability < 0.01, `${label}: ${probability}, ${note}`);
});

test("Back returns to the photo before, and a reload keeps the one that was dropped", async (t) => {
  const page = await open(t, { src: photo });
  await settled(page);
  await page.drop("main", "tests/data/images/portrait.jpg");
  await page.waitFor(() => document.querySelector("grad-cam").alt === "portrait.jpg");
  const { width, height } = await page.waitFor(() => document.querySelector("grad-cam").prediction?.image);
  await settled(page);
  await page.evaluate(() => new Promise((resolve) => setTimeout(resolve, 300)));
  await page.driver.reload();
  assert.deepEqual(await page.waitFor(() => document.querySelector("grad-cam")?.prediction?.image), { width, height });
  await page.driver.goBack();
  await page.waitFor((photo) => document.querySelector("grad-cam")?.src === photo, photo);
  assert.equal((await settled(page)).error, undefined);
});

test("Back returns over what was refused, before a reload and after it", async (t) => {
  const page = await open(t, { src: photo });
  await settled(page);
  const shows = (alt) => page.waitFor((alt) => document.querySelector("grad-cam")?.alt === alt, alt);
  await page.drop("main", "tests/data/images/portrait.jpg");
  await shows("portrait.jpg");
  await settled(page);
  await page.drop("main", "tests/data/images/photo.png");
  await shows("photo.png");
  await settled(page);
  for (const name of ["broken.png", "broken.onnx"]) {
    await page.drop("main", { name, type: "", bytes: Buffer.from("none") });
    await errorOf(page);
    await page.waitFor(() => document.querySelector("#stage").dataset.state === "ready");
    await page.evaluate(() => document.querySelector("#error-close").click());
  }
  await page.driver.goBack();
  await shows("portrait.jpg");
  await page.driver.reload();
  await shows("portrait.jpg");
  await settled(page);
  await page.driver.goForward();
  await shows("photo.png");
  assert.equal((await settled(page)).error, undefined);
});

test("a tab that was copied keeps its own photos from then on", async (t) => {
  const page = await open(t, { src: photo });
  await settled(page);
  const first = page.driver;
  const local = (tab) => tab.evaluate(() => history.state.local);
  const take = async (tab, name) => {
    await tab.setInputFiles("#file", site.file(site.material(`data/images/${name}`)));
    await tab.waitForFunction((name) => document.querySelector("#picture")?.alt === name, name);
    await tab.waitForFunction(() => document.querySelector("#picture").explanation);
    // The browser has kept it by then.
    await tab.waitForTimeout(300);
  };
  const shownAfterReload = async (tab) => {
    await tab.reload();
    await tab.waitForFunction(() => document.querySelector("#picture")?.explanation);
    return tab.evaluate(() => document.querySelector("#picture").alt);
  };
  await take(first, "portrait.jpg");
  const [address, state] = [first.url(), await first.evaluate(() => history.state)];
  const copy = await first.context().newPage();
  await copy.addInitScript((state) => history.state ?? history.replaceState(state, ""), state);
  await copy.goto(address);
  await copy.waitForFunction(() => document.querySelector("#picture").alt === "portrait.jpg");
  await copy.waitForFunction((local) => history.state.local !== local, state.local);

  await take(first, "photo.png");
  await take(copy, "alpha.png");
  assert.deepEqual([await shownAfterReload(first), await shownAfterReload(copy)], ["photo.png", "alpha.png"]);
  assert.equal(await local(first), state.local);
  await copy.goBack();
  await copy.waitForFunction(() => document.querySelector("#picture").alt === "portrait.jpg");
  assert.equal(await shownAfterReload(copy), "portrait.jpg");
  assert.notEqual(await local(copy), state.local);
});

test("Forward finds a dropped photo again, after a reload on what was before it", async (t) => {
  const page = await open(t, { src: photo });
  await settled(page);
  await page.drop("main", "tests/data/images/portrait.jpg");
  await page.waitFor(() => document.querySelector("grad-cam").alt === "portrait.jpg");
  await settled(page);
  await page.driver.goBack();
  await page.waitFor((photo) => document.querySelector("grad-cam").src === photo, photo);
  await settled(page);
  await page.driver.reload();
  await settled(page);
  await page.driver.goForward();
  await page.waitFor(() => document.querySelector("grad-cam")?.alt === "portrait.jpg");
  assert.equal((await settled(page)).error, undefined);
});

test("what a tab of long ago had is forgotten, if it was not in use since", async (t) => {
  const page = await open(t, { src: photo });
  await settled(page);
  const keys = (added = []) =>
    page.evaluate(
      (added) =>
        new Promise((resolve) => {
          indexedDB.open("gradcam-web", 1).onsuccess = ({ target: { result: database } }) => {
            const transaction = database.transaction("tabs", "readwrite");
            const objects = transaction.objectStore("tabs");
            for (const [key, value] of added) objects.put(value, key);
            const found = objects.getAllKeys();
            transaction.oncomplete = () => resolve(database.close() ?? found.result);
          };
        }),
      added,
    );
  const [day, now] = [24 * 3600 * 1000, Date.now()];
  const [past, longAgo] = [now - 8 * day, now - 9 * day];
  // Whoever reads first makes the stores.
  const added = [
    [`${past} 1`, {}],
    [`${past} used`, { time: past }],
    [`${longAgo} 1`, {}],
    [`${longAgo} used`, { time: now - day }],
    [`${now - 1000} 1`, {}],
  ];
  await keys(added);
  await page.drop("main", "tests/data/images/portrait.jpg");
  await page.waitFor(() => document.querySelector("grad-cam").alt === "portrait.jpg");
  await settled(page);
  await page.driver.reload();
  await settled(page);
  let left;
  for (let turn = 0; turn < 100 && (left = await keys()).some((key) => key.startsWith(past)); turn++)
    await page.driver.waitForTimeout(100);
  const local = String(await page.evaluate(() => history.state.local));
  const [own, others] = [true, false].map((isOwn) => left.filter((key) => key.startsWith(local) === isOwn).sort());
  assert.deepEqual(others, [`${longAgo} 1`, `${longAgo} used`, `${now - 1000} 1`]);
  assert.ok(own.length > 1 && own.at(-1) === `${local} used`, String(own));
});

test("an address is typed or pasted, of a photo or of a network", async (t) => {
  const page = await open(t, { src: photo });
  await settled(page);
  const type = (address) =>
    page.evaluate((address) => {
      document.querySelector("#address").value = address;
      document.querySelector("#address-form button").click();
    }, address);
  await type(portrait);
  await page.waitFor((portrait) => document.querySelector("grad-cam").src === portrait, portrait);
  await settled(page);
  await type(site.material("data/cams/residual.onnx"));
  await page.waitFor(() => document.querySelector("grad-cam").prediction?.model.name === "residual.onnx");
  assert.equal((await settled(page)).error, undefined);
});

/** Pastes a text on the page, as its user would. */
const paste = (page, text) =>
  page.evaluate((text) => {
    const clipboardData = new DataTransfer();
    clipboardData.setData("text/plain", text);
    document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true }));
  }, text);

test("a text that can't be an address is said to be none, however it comes", async (t) => {
  const page = await open(t, { src: photo });
  await settled(page);
  const faults = [];
  page.driver.on("pageerror", (fault) => faults.push(String(fault)));
  for (const text of ["http://[", "http://", "https:", "http://%zz/"]) {
    for (const come of [
      () => paste(page, text),
      () =>
        page.evaluate((text) => {
          const dataTransfer = new DataTransfer();
          dataTransfer.setData("text/uri-list", text);
          document.body.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
        }, text),
      () =>
        page.evaluate((text) => {
          document.querySelector("#address").value = text;
          document.querySelector("#address-form button").click();
        }, text),
    ]) {
      await page.evaluate(() => (document.querySelector("#error").hidden = true));
      await come();
      const said = await errorOf(page);
      assert.ok(said.startsWith("This address can't be used") && said.includes(`"${text}" is no address`), said);
    }
  }
  assert.deepEqual(faults, []);
});

test("a picture that is pasted as its own address is kept as a file is", async (t) => {
  const page = await open(t, { src: photo });
  await settled(page);
  const bytes = await readFile(site.file(portrait));
  await paste(page, `data:image/jpeg;base64,${bytes.toString("base64")}`);
  const size = () => page.waitFor(() => document.querySelector("grad-cam")?.prediction?.image.height);
  await page.waitFor((photo) => document.querySelector("grad-cam").src !== photo, photo);
  const height = await size();
  const { error, query } = await settled(page);
  assert.deepEqual([error, [...new URLSearchParams(query).keys()]], [undefined, ["model", "backend"]]);
  await page.evaluate(() => new Promise((resolve) => setTimeout(resolve, 300)));
  await page.driver.reload();
  assert.equal(await size(), height);

  await paste(page, "data:none");
  assert.match(await errorOf(page), /This address can't be used.*begins with data: and holds nothing/s);
});

test("several photos that come together wait below the first", async (t) => {
  const page = await open(t, { src: photo });
  await settled(page);
  await page.drop("main", "tests/data/images/photo.png", "tests/data/images/portrait.jpg");
  await page.waitFor(() => document.querySelector("grad-cam").alt === "photo.png");
  await settled(page);
  await page.evaluate(() => document.querySelectorAll("#samples button")[1].click());
  await page.waitFor(() => document.querySelector("grad-cam").alt === "portrait.jpg");
  assert.equal((await settled(page)).error, undefined);
});

test("an empty folder says that it is empty, and takes nothing away", async (t) => {
  const page = await open(t, { src: photo });
  await settled(page);
  const folder = await mkdtemp(join(tmpdir(), "empty-"));
  t.after(() => rmdir(folder));
  const session = await page.driver.context().newCDPSession(page.driver);
  const data = { items: [], files: [folder], dragOperationsMask: 1 };
  for (const type of ["dragEnter", "dragOver", "drop"])
    await session.send("Input.dispatchDragEvent", { type, x: 200, y: 300, data });
  await page.waitFor(() => document.querySelector("#notice").checkVisibility());
  const { notice, isCovered } = await page.evaluate(() => ({
    notice: document.querySelector("#notice").textContent,
    isCovered: document.querySelector("#drop-veil").checkVisibility(),
  }));
  assert.deepEqual([notice, isCovered], ["Nothing came: the folder is empty.", false]);
  assert.equal((await settled(page)).error, undefined);
});

test("a network of three classes takes its place without a jump", async (t) => {
  const page = await browser.open(site.blank, t);
  await addUpShifts(page);
  const parameters = { backend: "cpu", model: site.material("data/ultralytics.onnx"), src: photo };
  for (const [width, height] of [
    [1280, 800],
    [390, 844],
  ]) {
    await page.driver.setViewportSize({ width, height });
    await page.driver.goto(`${site.url}?${new URLSearchParams(parameters)}`);
    assert.equal((await settled(page)).classes.filter((label) => label.trim()).length, 3);
    const shift = await page.evaluate(() => new Promise((resolve) => setTimeout(() => resolve(globalThis.shift), 500)));
    assert.ok(shift <= 0.02, `${width} × ${height}: ${shift} shifted`);
  }
});

test("a link to a class that the network does not have shows the usual one, and says so", async (t) => {
  const page = await open(t, { src: photo, class: "no such thing" });
  const { error, targetClass, query } = await settled(page);
  assert.equal(error, undefined);
  assert.equal(targetClass, await page.evaluate(() => document.querySelector("grad-cam").prediction.top(1)[0].index));
  assert.deepEqual([...new URLSearchParams(query).keys()], ["src", "model", "backend"]);
  const notice = await page.waitFor(
    () => document.querySelector("#notice").checkVisibility() && document.querySelector("#notice").textContent,
  );
  assert.match(notice, /no such thing[^?.]*[?.] The usual is shown in its place\.$/);
});

test("of many layers that a network does not have some are named", async (t) => {
  const page = await browser.open(
    `${site.url}?${new URLSearchParams([["src", photo], ["backend", "cpu"], ...Array.from({ length: 40 }, (_, i) => ["layer", `x${i}`])])}`,
    t,
  );
  assert.equal((await settled(page)).error, undefined);
  const notice = await page.waitFor(() => document.querySelector("#notice").textContent);
  assert.equal(
    notice,
    "This network has no layer x0 and no layer x1 and no layer x2 and no layer x3 and no layer x4, nor 35 others. " +
      "The usual is shown in their place.",
  );
});

test("maps that were compared for another class say so", async (t) => {
  const page = await open(t, { src: photo });
  await settled(page);
  await page.evaluate(() => document.querySelector("#compare-run").click());
  await page.waitFor(() => /Choose one/.test(document.querySelector("#compare-status").textContent));
  const stale = () => page.evaluate(() => !document.querySelector("#compare-stale").hidden);
  assert.equal(await stale(), false);
  await page.evaluate(() => document.querySelectorAll("#classes button")[1].click());
  await page.waitFor(() => !document.querySelector("#compare-stale").hidden);
});

test("classes are not ranked against each other by their measures", async (t) => {
  const page = await open(t, { src: photo });
  await settled(page);
  const best = async (what) => {
    await page.evaluate((what) => {
      document.querySelector(`#compare input[value=${what}]`).click();
      document.querySelector("#compare-measure").checked = true;
      document.querySelector("#compare-run").click();
    }, what);
    await page.waitFor(() => /Choose one/.test(document.querySelector("#compare-status").textContent));
    return page.evaluate(() => [
      document.querySelectorAll(".tile-measures").length,
      document.querySelectorAll(".tile-measures b").length,
    ]);
  };
  const [measured, marked] = await best("classes");
  assert.deepEqual([measured, marked], [2, 0]);
});

/** The page before its script runs, and what lets it run. */
async function openHeld(t) {
  const page = await browser.open(site.blank, t);
  let release;
  const held = new Promise((resolve) => (release = resolve));
  await page.driver.route("**/main.js", async (route) => {
    await held;
    await route.continue();
  });
  await page.driver.goto(`${site.url}?${new URLSearchParams({ model: MODEL, backend: "cpu" })}`, {
    waitUntil: "commit",
  });
  await page.waitFor(() => document.querySelector("#stage"));
  return { page, release };
}

test("what is dropped before the page's script runs is not lost", async (t) => {
  const { page, release } = await openHeld(t);
  await page.drop("main", "tests/data/images/portrait.jpg");
  release();
  await page.waitFor(() => document.querySelector("grad-cam").alt === "portrait.jpg");
  assert.equal((await settled(page)).error, undefined);
});

test("a text that is pasted before the page's script runs and can't be an address stops nothing", async (t) => {
  const { page, release } = await openHeld(t);
  await paste(page, "http://[");
  release();
  assert.match(await errorOf(page), /"http:\/\/\[" is no address/);
  await page.waitFor(() => document.querySelector("grad-cam").explanation);
  assert.ok(await page.evaluate(() => document.documentElement.hasAttribute("data-started")));
});

test("sliders are read out in words, and long lists take one stop of the keyboard", async (t) => {
  const page = await open(t, { src: photo, model: "" });
  await settled(page);
  const found = await page.evaluate(() => ({
    opacity: document.querySelector("#opacity").getAttribute("aria-valuetext"),
    layer: document.querySelector("#layer").getAttribute("aria-valuetext"),
  }));
  assert.equal(found.opacity, "50 %");
  assert.match(found.layer, /channels/);

  await page.evaluate(() => {
    for (const id of ["all", "more", "layer-list"]) document.querySelector(`#${id}`).open = true;
  });
  await page.waitFor(() => document.querySelectorAll("#class-results button, #layer-results button").length > 100);
  for (const list of ["#samples", "#class-results", "#layer-results"]) {
    const stops = (list) =>
      page.evaluate(
        (list) => [...document.querySelectorAll(`${list}, ${list} *`)].filter(({ tabIndex }) => tabIndex === 0).length,
        list,
      );
    assert.equal(await stops(list), 1, list);
    const at = () =>
      page.evaluate((list) => [...document.querySelectorAll(`${list} button`)].indexOf(document.activeElement), list);
    await page.driver.focus(list === "#samples" ? `${list} button` : list);
    const first = await at();
    for (const key of ["ArrowDown", "ArrowDown", "ArrowUp"]) await page.driver.keyboard.press(key);
    assert.equal(await at(), first + 1, list);
  }
  // Enter chooses the row.
  await page.driver.focus("#class-results");
  for (const key of ["ArrowDown", "ArrowDown", "Enter"]) await page.driver.keyboard.press(key);
  await page.waitFor(() => {
    const { prediction, explanation } = document.querySelector("grad-cam");
    return explanation?.targetClass === prediction.top(2)[1].index;
  });
});

test("on a phone the picture does not lie over what has the keyboard's focus", async (t) => {
  const page = await open(t, { src: photo });
  await page.driver.setViewportSize({ width: 390, height: 844 });
  await settled(page);
  await page.evaluate(() => {
    document.querySelector("#more").open = true;
    document.querySelector("#backend-choice").focus();
  });
  const covered = [];
  const keys = [...Array(40).fill("Shift+Tab"), ...Array(20).fill("Tab")];
  for (const key of keys) {
    await page.driver.keyboard.press(key);
    const hidden = await page.evaluate(() => {
      const { activeElement: at } = document;
      if (at === document.body || at.closest("#stage")) return undefined;
      const [box, stage] = [at, document.querySelector("#stage")].map((part) => part.getBoundingClientRect());
      return box.bottom > stage.top && box.top < stage.bottom - 1 ? at.id || at.textContent : undefined;
    });
    if (hidden) covered.push(hidden);
  }
  assert.deepEqual(covered, []);
  // A picture that is in sight stays where it is.
  const moved = await page.evaluate(() => {
    document.querySelector("#save").scrollIntoView({ block: "center" });
    const before = scrollY;
    document.querySelector("#stage").scrollIntoView({ block: "nearest" });
    return scrollY - before;
  });
  assert.ok(Math.abs(moved) <= 1, `${moved} pixels`);
});

test("reset takes back what was adjusted, and nothing else", async (t) => {
  const page = await open(t, { src: photo, class: "1", method: "layercam", colormap: "gray", opacity: "0.9" });
  await settled(page);
  await page.evaluate(() => document.querySelector("#reset").click());
  await page.waitFor(() => document.querySelector("grad-cam").explanation?.method === "grad-cam");
  const { query, targetClass } = await settled(page);
  assert.equal(targetClass, 1);
  assert.deepEqual([...new URLSearchParams(query).keys()], ["src", "model", "class", "backend"]);
});

test("a link with wrong values shows what is right in it, and says what is not", async (t) => {
  const page = await open(t, { src: photo, class: "1", method: "magic", colormap: "pink", opacity: "7" });
  const { error, method, targetClass, query } = await settled(page);
  assert.deepEqual([error, method, targetClass], [undefined, "grad-cam", 1]);
  assert.deepEqual([...new URLSearchParams(query).keys()], ["src", "model", "class", "backend"]);
  assert.equal(
    await page.evaluate(
      () => document.querySelector("#notice").checkVisibility() && document.querySelector("#notice").textContent,
    ),
    'The link asks for what does not exist: method "magic", colormap "pink", opacity "7". The usual is shown in its place.',
  );
});

test("a link with a way to smooth that does not exist keeps the one that does", async (t) => {
  const page = await open(t, { src: photo });
  await settled(page);
  await page.driver.goto(`${page.driver.url()}&smooth=foo&smooth=eigen`);
  const { error, query } = await settled(page);
  assert.deepEqual([error, new URLSearchParams(query).getAll("smooth")], [undefined, ["eigen"]]);
  const notice = await page.evaluate(() => document.querySelector("#notice").textContent);
  assert.match(notice, /does not exist: smooth "foo"\. The usual/);
});

test("what a link names many times is said once", async (t) => {
  const page = await open(t, { src: photo });
  await settled(page);
  await page.driver.goto(page.driver.url() + "&layer=nosuch".repeat(300));
  const { error, query } = await settled(page);
  assert.deepEqual([error, new URLSearchParams(query).getAll("layer")], [undefined, []]);
  const notice = await page.evaluate(() => document.querySelector("#notice").textContent);
  assert.equal(notice.match(/nosuch/g)?.length, 1, notice);
});

test("a picture whose decoder does not come takes nothing away, and can be tried again", async (t) => {
  const page = await open(t, { src: photo });
  await settled(page);
  await page.driver.context().route("**/formats/**", (route) => route.abort());
  await page.drop("main", "tests/data/images/lossy.webp");
  assert.match(await errorOf(page), /formats.*can't be had/);
  await page.waitFor((photo) => document.querySelector("grad-cam").src === photo, photo);
  await page.waitFor(() => document.querySelector("#stage").dataset.state === "ready");
  assert.match(await errorOf(page), /formats.*can't be had/);
  await page.driver.context().unroute("**/formats/**");
  await page.evaluate(() => document.querySelector("#error-retry").click());
  await page.waitFor(() => document.querySelector("grad-cam").alt === "lossy.webp");
  await page.waitFor(() => document.querySelector("#stage").dataset.state === "ready");
  assert.equal((await settled(page)).error, undefined);
});

test("a file that is no picture can't be tried again, and formats that are read are named", async (t) => {
  const page = await open(t, { src: photo });
  await settled(page);
  await page.drop("main", { name: "scan.tiff", type: "image/tiff", bytes: Buffer.from("II*\0........") });
  const said = await errorOf(page);
  assert.match(said, /PNG, JPEG, WebP, GIF, BMP and what this browser itself can show, such as SVG, are accepted/);
  assert.equal(await page.evaluate(() => document.querySelector("#error-retry").checkVisibility()), false);
});

test("photos that came together are a table to take along", async (t) => {
  const page = await open(t, { src: photo });
  await settled(page);
  const files = ["tests/data/images/photo.png", "tests/data/images/portrait.jpg"];
  await page.drop("main", ...files, { name: 'a "broken", one.png', type: "image/png", bytes: Buffer.from("none") });
  await page.waitFor(() => !document.querySelector("#batch-csv").disabled);
  const [download] = await Promise.all([
    page.driver.waitForEvent("download"),
    page.evaluate(() => document.querySelector("#batch-csv").click()),
  ]);
  const lines = (await readFile(await download.path(), "utf8")).trim().split("\r\n");
  assert.equal(lines[0], "photo,certainty,error,class 1,probability 1,class 2,probability 2,class 3,probability 3");
  assert.match(lines[1], /^photo\.png,(un)?sure,,(bright|dark),0\.\d{4},(bright|dark),0\.\d{4}$/);
  assert.match(lines[2], /^portrait\.jpg,/);
  assert.match(lines[3], /^"a ""broken"", one\.png",,"?[A-Za-z]/);
  assert.deepEqual((await settled(page)).error, undefined);
  // Each row opens its photo.
  await page.evaluate(() => document.querySelectorAll("#batch-rows button")[1].click());
  await page.waitFor(() => document.querySelector("grad-cam").alt === "portrait.jpg");
});

test("the invitation lies over the first map alone", async (t) => {
  const page = await open(t);
  await settled(page);
  const invites = () => page.evaluate(() => document.querySelector("#hero").checkVisibility());
  assert.equal(await invites(), true);
  await page.drop("main", "tests/data/nameless.onnx");
  await page.waitFor(() => document.querySelector("grad-cam").prediction?.model.name === "nameless.onnx");
  await settled(page);
  assert.equal(await invites(), false);
});

test("of a moving picture the first frame is shown, and said to be", async (t) => {
  const page = await open(t, { src: site.material("data/images/animated.gif") });
  await settled(page);
  assert.match(
    await page.evaluate(() => document.querySelector("#note").textContent),
    /\. This is the first frame of an/,
  );
});

test("what is saved says of what class it is, and with its legend is higher than the photo", async (t) => {
  const page = await open(t, { src: photo, class: "0" });
  await settled(page);
  const saved = async (id) => {
    const [download] = await Promise.all([
      page.driver.waitForEvent("download"),
      page.evaluate((id) => document.querySelector(id).click(), id),
    ]);
    // A PNG has its size in its first 24 bytes.
    const bytes = await readFile(await download.path());
    return { name: download.suggestedFilename(), width: bytes.readUInt32BE(16), height: bytes.readUInt32BE(20) };
  };
  const [plain, figure] = [await saved("#save"), await saved("#save-figure")];
  assert.deepEqual([plain.name, figure.name], ["photo-grad-cam-bright.png", "photo-grad-cam-bright-figure.png"]);
  assert.ok(figure.width === plain.width && figure.height > plain.height, JSON.stringify([plain, figure]));
});

test("what is saved is what was shown when it was asked for, whatever is chosen meanwhile", async (t) => {
  const page = await open(t, { src: photo, class: "0" });
  await settled(page);
  const saved = async (choice) => {
    const [download] = await Promise.all([
      page.driver.waitForEvent("download"),
      page.evaluate((choice) => {
        document.querySelector("#save").click();
        if (choice === "sample") return document.querySelectorAll("#samples button")[3].click();
        const method = document.querySelector("#method");
        method.value = choice;
        method.dispatchEvent(new Event("change", { bubbles: true }));
      }, choice),
    ]);
    const said = await page.waitFor(() =>
      /^Saved/.exec(document.querySelector("#action-status").textContent)?.input.trim(),
    );
    return [download.suggestedFilename(), said];
  };
  const { width, height } = await page.evaluate(() => document.querySelector("grad-cam").prediction.image);
  const asked = ["photo-grad-cam-bright.png", `Saved at ${width} × ${height} pixels.`];
  assert.deepEqual(await saved("layercam"), asked);
  await page.waitFor(() => document.querySelector("grad-cam").explanation?.method === "layercam");
  await settled(page);
  asked[0] = "photo-layercam-bright.png";
  assert.deepEqual(await saved("sample"), asked);
});

test("what went wrong with saving is not said any more once it went well", async (t) => {
  const page = await open(t, { src: photo });
  await settled(page);
  await page.evaluate(() => {
    const { convertToBlob } = OffscreenCanvas.prototype;
    OffscreenCanvas.prototype.convertToBlob = () => Promise.reject(new Error("no room"));
    globalThis.mend = () => (OffscreenCanvas.prototype.convertToBlob = convertToBlob);
    document.querySelector("#save").click();
  });
  await errorOf(page);
  await page.evaluate(() => {
    globalThis.mend();
    document.querySelector("#save").click();
  });
  await page.waitFor(() => /^Saved/.test(document.querySelector("#action-status").textContent));
  assert.equal(await page.evaluate(() => document.querySelector("#error").checkVisibility()), false);
});

test("an unsure network says so above its classes", async (t) => {
  const page = await open(t, { model: "" });
  await settled(page);
  assert.equal(await page.evaluate(() => document.querySelector("#certainty").checkVisibility()), false);
  await page.drop("main", {
    name: "nothing.svg",
    type: "image/svg+xml",
    bytes: Buffer.from(
      `<svg xmlns="http://www.w3.org/2000/svg" width="96" height="64"><rect width="96" height="64"/></svg>`,
    ),
  });
  const said = await page.waitFor(
    () => document.querySelector("#certainty").checkVisibility() && document.querySelector("#certainty").textContent,
  );
  assert.match(said, /^Not sure\. Nothing among the (1,000|100) things/);
});

test("a class that has no chance is drawn, and said to have none", async (t) => {
  const page = await open(t, { model: "", class: "goldfish", src: `${site.url}samples/barn.jpg` });
  await page.waitFor(() => document.querySelector("#stage").dataset.state === "ready");
  const note = await page.evaluate(() => document.querySelector("#note").textContent);
  assert.match(note, /goldfish.*although the network gives it (<\u00a0)?0\.\d\u00a0%.*this map's own maximum/);
});

test("the small pictures come after the network", async (t) => {
  const page = await open(t, { src: photo });
  await settled(page);
  await page.waitFor(() =>
    [...document.querySelectorAll("#samples img")].every(({ complete, src }) => src && complete),
  );
  const asked = await page.evaluate(() =>
    performance
      .getEntriesByType("resource")
      .toSorted((a, b) => a.startTime - b.startTime)
      .map(({ name }) => name),
  );
  const first = asked.findIndex((name) => /samples\/small\//.test(name));
  assert.ok(first > asked.indexOf(MODEL) && first > asked.indexOf(photo), asked.join("\n"));
  // None of them is the whole picture, and each has its room before it is there.
  assert.ok(asked.slice(first).every((name) => !/samples\/[^/]+\.jpg/.test(name)));
  assert.ok(
    await page.evaluate(() =>
      [...document.querySelectorAll("#samples img")].every(({ width, height }) => width && height),
    ),
  );
});

test("on a phone a sample is pressed and its picture is in sight", async (t) => {
  const page = await open(t, { src: photo });
  await page.driver.setViewportSize({ width: 390, height: 844 });
  await settled(page);
  await page.evaluate(() => {
    document.querySelector("footer").scrollIntoView();
    document.querySelectorAll("#samples button")[2].click();
  });
  await page.waitFor((photo) => document.querySelector("grad-cam").src !== photo, photo);
  await settled(page);
  const box = await page.evaluate(() => document.querySelector("#stage").getBoundingClientRect().toJSON());
  assert.ok(box.top >= 0 && box.bottom <= 844, JSON.stringify(box));
});

for (const [width, height] of [
  [400, 2],
  [2, 400],
]) {
  test(`of a picture of ${width} × ${height} pixels something can be seen`, async (t) => {
    const page = await open(t, { src: photo });
    await settled(page);
    const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}"><rect width="${width}" height="${height}"/></svg>`;
    await page.drop("main", { name: "strip.svg", type: "image/svg+xml", bytes: Buffer.from(svg) });
    await page.waitFor((width) => document.querySelector("grad-cam").prediction?.image.width === width, width);
    await page.waitFor(() => document.querySelector("#stage").dataset.state === "ready");
    const [stage, canvas] = await page.evaluate(() =>
      [document.querySelector("#stage"), document.querySelector("grad-cam").shadowRoot.querySelector("canvas")].map(
        (element) => element.getBoundingClientRect().toJSON(),
      ),
    );
    assert.ok(stage.height > 100, JSON.stringify(stage));
    assert.ok(
      Math.min(canvas.width, canvas.height) >= 1 && Math.max(canvas.width, canvas.height) > 300,
      JSON.stringify(canvas),
    );
  });
}

test("what is embedded says what is in the picture, and how to get the code", async (t) => {
  const page = await open(t, { model: "", src: `${site.url}samples/barn.jpg`, class: "425" });
  await settled(page);
  const { label, code, text } = await page.evaluate(() => {
    document.querySelectorAll("#samples button")[5].click();
    document.querySelector("#embed").click();
    return {
      label: document.querySelector("grad-cam").alt,
      code: document.querySelector("#embed-code").textContent,
      text: document.querySelector("#embed-dialog").textContent,
    };
  });
  assert.doesNotMatch(code, /alt="…"/);
  assert.ok(label.length > 3 && code.includes(`alt="${label}"`), code);
  assert.match(text, /npm install gradcam-web/);
  await page.evaluate(() => document.querySelector("#embed-dialog").close());
  await page.waitFor(() => !document.querySelector("#embed-preview grad-cam"));
  // What the code shows, beside it.
  await settled(page);
  const chosen = await page.evaluate(() => {
    const row = document.querySelectorAll("#classes button")[2];
    row.click();
    document.querySelector("#embed").click();
    return { target: Number(row.value), src: document.querySelector("#picture").src };
  });
  const shown = await page.waitFor(() => {
    const figure = document.querySelector("#embed-preview grad-cam");
    return figure?.explanation && { target: figure.explanation.targetClass, src: figure.src };
  });
  assert.deepEqual(shown, chosen);
});

test("the model card is a page with a way back, and leaves this one as it is", async (t) => {
  const page = await open(t, { src: photo });
  await settled(page);
  const links = await page.evaluate(() =>
    [...document.querySelectorAll("a[href^='about/']")].map(({ href, target }) => [href, target]),
  );
  assert.ok(links.length >= 5);
  for (const [href, target] of links) {
    assert.equal(target, "_blank", href);
    assert.ok(site.file(href), href);
  }
  await page.driver.goto(`${site.url}about/everyday.html`);
  const found = await page.evaluate(() => ({
    tables: document.querySelectorAll("main table").length,
    pipes: /\|\s*---/.test(document.body.textContent),
    back: document.querySelector(".home a").href,
  }));
  assert.ok(found.tables > 0 && !found.pipes, JSON.stringify(found));
  assert.ok([site.url, `${site.url}index.html`].includes(found.back), found.back);
});

test("guided backpropagation does not pass the sanity check", async (t) => {
  const model = "gradcam-web/models/everyday/model.json";
  const page = await open(t, { model, src: `${site.url}samples/desk.jpg`, method: "guided-backprop" });
  assert.equal((await settled(page)).error, undefined);
  await page.evaluate(() => {
    document.querySelector("#judge-tab").click();
    document.querySelector("#sanity-run").click();
  });
  const verdict = await page.waitFor(
    () =>
      document.querySelector("#sanity-verdict").checkVisibility() &&
      document.querySelector("#sanity-verdict").dataset.verdict,
  );
  assert.notEqual(verdict, "depends");
});
