// `<grad-cam>` in pages as people write them: each test is a fault that a page once had.

import assert from "node:assert/strict";
import test, { after } from "node:test";
import { chromium } from "./browsers.js";
import { serveSite } from "./site.js";

const site = await serveSite();
const browser = await chromium();
after(() => Promise.all([site.close(), browser.close()]));

const PACKAGE = `${site.url}gradcam-web/index.js`;
const MODEL = site.material("data/bright.onnx");
const PHOTO = site.material("data/images/photo.jpg");
const PORTRAIT = site.material("data/images/portrait.jpg");

/**
 * A page with this body, and, if nothing else is asked, the package. `{model}`, `{photo}` and `{portrait}` stand for addresses.
 * @param {{ script?: boolean }} [options]
 */
async function pageWith(t, body, { script = true } = {}) {
  const page = await browser.open(site.blank, t);
  const addresses = { model: `model="${MODEL}"`, photo: PHOTO, portrait: PORTRAIT };
  await page.evaluate(
    (html) => {
      globalThis.shifts = 0;
      globalThis.warnings = [];
      console.warn = (...words) => globalThis.warnings.push(words.join(" "));
      new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) globalThis.shifts += entry.value;
      }).observe({ type: "layout-shift", buffered: true });
      document.body.replaceChildren(document.createRange().createContextualFragment(html));
    },
    body.replace(/\{(\w+)\}/g, (whole, name) => addresses[name] ?? whole),
  );
  if (script) await define(page);
  return page;
}

const define = (page) => page.evaluate(async (address) => void (await import(address)), PACKAGE);

/** Until every element has drawn; the sizes of their pictures. */
const drawn = (page) =>
  page.waitFor(() => {
    const elements = [...document.querySelectorAll("grad-cam")];
    const canvases = elements.map((element) => element.shadowRoot?.querySelector("canvas"));
    if (!elements.every((element, i) => element.explanation && !canvases[i].hidden)) return false;
    return elements.map((element, i) => ({
      image: element.prediction.image,
      label: canvases[i].getAttribute("aria-label"),
      box: canvases[i].getBoundingClientRect().toJSON(),
    }));
  });

test("without src the slotted picture is explained, wherever it is in the content, and followed", async (t) => {
  const page = await pageWith(
    t,
    `<grad-cam {model}><p><img src="{photo}" alt="A scene"></p></grad-cam>
     <grad-cam {model}><picture><source srcset="{portrait}"><img src="{photo}" alt="Upright"></picture></grad-cam>`,
  );
  const [plain, chosen] = await drawn(page);
  assert.deepEqual(
    [plain.image, chosen.image],
    [
      { width: 371, height: 250 },
      { width: 250, height: 331 },
    ],
  );
  assert.match(plain.label, /^A scene\. Grad-CAM heatmap for /);
  const followed = await page.evaluate(async (portrait) => {
    const element = document.querySelector("grad-cam");
    const explained = new Promise((resolve) => element.addEventListener("explain", resolve, { once: true }));
    const image = element.querySelector("img");
    image.alt = "Another";
    image.src = portrait;
    await explained;
    const label = element.shadowRoot.querySelector("canvas").getAttribute("aria-label");
    return { image: element.prediction.image, label };
  }, PORTRAIT);
  assert.deepEqual(followed.image, { width: 250, height: 331 });
  assert.match(followed.label, /^Another\. /);
});

test("scripts that set src to itself, before or after the definition, change nothing", async (t) => {
  const page = await pageWith(t, `<grad-cam {model} src="{photo}" controls></grad-cam>`, { script: false });
  // As a theme with instant navigation does to whatever has a src.
  await page.evaluate(() => {
    for (const element of document.querySelectorAll("[src]")) {
      const { src } = element;
      element.src = src;
    }
  });
  assert.ok(await page.evaluate(() => Object.hasOwn(document.querySelector("grad-cam"), "src")));
  await define(page);
  const [{ image }] = await drawn(page);
  assert.deepEqual(image, { width: 371, height: 250 });
  const again = await page.evaluate(() => {
    const element = document.querySelector("grad-cam");
    const { explanation, src } = element;
    element.src = src;
    return { isSame: element.explanation === explanation, src: element.getAttribute("src") };
  });
  assert.deepEqual(again, { isSame: true, src: PHOTO });
});

test("properties that were set before the definition hold", async (t) => {
  const page = await pageWith(t, `<grad-cam {model}></grad-cam>`, { script: false });
  await page.evaluate((photo) => {
    Object.assign(document.querySelector("grad-cam"), { src: photo, method: "cam", controls: true, opacity: 0.25 });
  }, PHOTO);
  await define(page);
  await drawn(page);
  const found = await page.evaluate(() => {
    const element = document.querySelector("grad-cam");
    return [element.explanation.method, element.getAttribute("opacity"), element.hasAttribute("controls")];
  });
  assert.deepEqual(found, ["cam", "0.25", true]);
});

test("in another document the element keeps its style and works on", async (t) => {
  const page = await pageWith(t, `<grad-cam {model} src="{photo}" controls></grad-cam><iframe></iframe>`);
  await drawn(page);
  const found = await page.evaluate(() => {
    const element = document.querySelector("grad-cam");
    document.querySelector("iframe").contentDocument.body.append(element);
    const style = (part) => element.ownerDocument.defaultView.getComputedStyle(element.shadowRoot.querySelector(part));
    return { stage: style("[part~=stage]").position, list: style("[part~=classes]").listStyleType };
  });
  assert.deepEqual(found, { stage: "relative", list: "none" });
});

// The room of five classes is kept; a network of fewer gives the rest back.
test("nothing on the page moves when the heatmap comes", async (t) => {
  const page = await pageWith(
    t,
    `<style>.half { width: 50% }</style>
     <grad-cam model="${site.url}gradcam-web/models/everyday/model.json" controls><img src="{photo}" width="320" height="216" alt="A"></grad-cam><p>1</p>
     <grad-cam {model} width="300"><img src="{photo}" width="371" height="250" alt="B"></grad-cam><p>2</p>
     <grad-cam {model} caption><img class="half" src="{photo}" width="371" height="250" alt="C"></grad-cam><p>3</p>
     <grad-cam {model} src="{photo}" width="200" height="135"></grad-cam><p>4</p>`,
    { script: false },
  );
  await define(page);
  await page.waitFor(() => [...document.querySelectorAll("grad-cam")].every((element) => element.shadowRoot));
  const places = () =>
    page.evaluate(() => [...document.querySelectorAll("p")].map((p) => p.getBoundingClientRect().top));
  const before = await places();
  await page.evaluate(() => document.querySelectorAll("grad-cam").forEach((element) => (element.loading = "eager")));
  const boxes = (await drawn(page)).map(({ box }) => Math.round(box.width));
  const half = await page.evaluate(() => Math.round(document.body.clientWidth / 2));
  assert.deepEqual([boxes[0], boxes[1], boxes[3]], [320, 300, 200]);
  assert.ok(Math.abs(boxes[2] - half) <= 1, `${boxes[2]} instead of ${half}`);
  const moved = (await places()).map((top, i) => Math.abs(top - before[i]));
  assert.ok(Math.max(...moved) <= 1.5, `moved by ${moved} pixels`);
});

/** The contrast of two CSS colours over a page's background, as WCAG has it. */
function contrast([a, b]) {
  const luminance = (color) => {
    const [r, g, bl] = color.map((level) => {
      const share = level / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * bl;
  };
  const [dark, light] = [luminance(a), luminance(b)].sort((x, y) => x - y);
  return (light + 0.05) / (dark + 0.05);
}

test("on a dark page without color-scheme the controls can be read", async (t) => {
  const page = await pageWith(
    t,
    `<style>body { background: #111; color: #ddd }</style><grad-cam {model} src="{photo}" controls></grad-cam>`,
  );
  await drawn(page);
  const pairs = await page.evaluate(() => {
    const context = new OffscreenCanvas(1, 1).getContext("2d");
    // What is painted over what lies below.
    const painted = (...colors) => {
      for (const color of colors) {
        context.fillStyle = color;
        context.fillRect(0, 0, 1, 1);
      }
      return [...context.getImageData(0, 0, 1, 1).data.subarray(0, 3)];
    };
    const { shadowRoot } = document.querySelector("grad-cam");
    return ["select", "[part~=peek]", "[part~=class][aria-pressed=false]", "option"].map((selector) => {
      const { color, backgroundColor } = getComputedStyle(shadowRoot.querySelector(selector));
      return [selector, [painted(color), painted("#111", backgroundColor)]];
    });
  });
  for (const [selector, colors] of pairs) assert.ok(contrast(colors) >= 4.5, `${selector}: ${contrast(colors)}`);
});

test("in a narrow column nothing sticks out", async (t) => {
  const page = await pageWith(
    t,
    `<div style="width: 150px"><grad-cam {model} src="{photo}" controls></grad-cam></div>`,
  );
  const [{ box }] = await drawn(page);
  const widest = await page.evaluate(() => document.querySelector("grad-cam").scrollWidth);
  assert.ok(box.width <= 150 && widest <= 150, `${box.width}, ${widest}`);
});

test("wrong cosmetic values are brought to the nearest and told on the console", async (t) => {
  const page = await pageWith(
    t,
    `<grad-cam {model} src="{photo}" opacity="7" colormap="pink" threshold="-1" opacity-by="luck"></grad-cam>`,
  );
  await drawn(page);
  const { warnings, opacity, error } = await page.evaluate(() => {
    const element = document.querySelector("grad-cam");
    const error = element.shadowRoot.querySelector("[part~=message]").hidden;
    return { warnings: globalThis.warnings, opacity: element.opacity, error };
  });
  assert.equal(opacity, 1);
  assert.ok(error, "no error is shown");
  assert.deepEqual(warnings.map((text) => text.split(":")[1].trim()).sort(), [
    'colormap="pink"',
    'opacity-by="luck"',
    'opacity="7"',
    'threshold="-1"',
  ]);
});

test("a caption, in the language of the page", async (t) => {
  const page = await pageWith(
    t,
    `<div lang="de-AT"><grad-cam {model} src="{photo}" caption controls alt="Ein Bild"></grad-cam></div>
     <div dir="rtl" lang="ar"><grad-cam {model} src="{photo}" caption></grad-cam></div>`,
  );
  const [{ label }] = await drawn(page);
  assert.match(label, /^Ein Bild\. Heatmap von Grad-CAM für .+, [\d,]+ %$/);
  const found = await page.evaluate(() => {
    const { shadowRoot } = document.querySelector("grad-cam");
    const text = (selector) => shadowRoot.querySelector(selector).textContent.trim();
    return { caption: text("[part~=caption]"), method: text("label"), peek: text("[part~=peek]") };
  });
  assert.match(found.caption, /^.+, \u2066[\d,]+\u00a0%\u2069 · Grad-CAM$/);
  assert.deepEqual([found.method.startsWith("Verfahren"), found.peek], [true, "Original"]);
});

test("a caption and what is saved say what a map speaks against, or rather than what", async (t) => {
  const page = await pageWith(
    t,
    `<grad-cam {model} src="{photo}" caption target-class="0" target="against"></grad-cam>
     <grad-cam {model} src="{photo}" caption target-class="0" rather-than="1"></grad-cam>`,
  );
  await drawn(page);
  const found = await page.evaluate(() =>
    Promise.all(
      [...document.querySelectorAll("grad-cam")].map(async (element) => [
        element.shadowRoot.querySelector("[part~=caption]").textContent,
        /<title>(.*)<\/title>/.exec(await element.explanation.toSvg())[1],
      ]),
    ),
  );
  const [[against, titled], [rather, other]] = found.map((texts) =>
    texts.map((text) => text.replace(/[\u2066\u2069]/g, "").replace("\u00a0", " ")),
  );
  assert.match(against, /^Grad-CAM heatmap against bright, [\d.]+ %$/);
  assert.match(rather, /^Grad-CAM heatmap for bright rather than dark, [\d.]+ %$/);
  assert.deepEqual([titled, other], [against, rather]);
});

test("a width may be a share of the column, as in HTML", async (t) => {
  const page = await pageWith(
    t,
    `<div style="width: 300px">
       <grad-cam {model} src="{photo}" width="100%"></grad-cam>
       <grad-cam {model}><img src="{photo}" width="100%"></grad-cam>
       <grad-cam {model}><img src="{photo}" width="50%"></grad-cam>
       <grad-cam {model} src="{photo}" width="120"></grad-cam>
     </div>`,
  );
  const widths = (await drawn(page)).map(({ box }) => Math.round(box.width));
  assert.deepEqual(widths, [300, 300, 150, 120]);
});

test("an element is busy while it works, and no longer", async (t) => {
  const page = await pageWith(
    t,
    `<grad-cam {model} src="{photo}"></grad-cam><grad-cam {model} src="missing.png"></grad-cam><grad-cam {model}></grad-cam>`,
  );
  const busy = () =>
    page.evaluate(() =>
      [...document.querySelectorAll("grad-cam")].map(({ shadowRoot }) =>
        shadowRoot.querySelector("figure").getAttribute("aria-busy"),
      ),
    );
  await page.waitFor(() => {
    const [first, second] = document.querySelectorAll("grad-cam");
    return first.explanation && !second.shadowRoot.querySelector("[part~=message]").hidden;
  });
  const [first, second, third] = await busy();
  assert.deepEqual([first, second], ["false", "false"]);
  assert.notEqual(third, "true");
  await page.evaluate(() => (document.querySelector("grad-cam").src = null));
  assert.equal((await busy())[0], "false");
  // Nor where it was taken out while it worked, and comes back unseen.
  const moved = await page.evaluate(async (photo) => {
    const element = document.querySelector("grad-cam");
    const figure = element.shadowRoot.querySelector("figure");
    element.src = photo;
    const frame = () => new Promise(requestAnimationFrame);
    while (figure.getAttribute("aria-busy") !== "true") await frame();
    element.remove();
    await frame();
    const far = document.body.appendChild(document.createElement("div"));
    far.style.paddingTop = "9000px";
    far.append(element);
    for (let i = 0; i < 5; i++) await frame();
    return figure.getAttribute("aria-busy");
  }, PHOTO);
  assert.equal(moved, "false");
});

test("after a list of names that can't be had nothing goes on", async (t) => {
  const page = await pageWith(t, "");
  const found = await page.evaluate(async (address) => {
    const { loadModel } = await import(address);
    const told = [];
    const error = await loadModel("everyday", { labels: "nowhere.txt", onProgress: (done) => told.push(done) }).catch(
      (error) => error,
    );
    const count = told.length;
    await new Promise((resolve) => setTimeout(resolve, 500));
    return { name: error.name, later: told.length - count };
  }, PACKAGE);
  assert.deepEqual(found, { name: "ModelError", later: 0 });
});

test("what is no model, no address or no map is refused by name", async (t) => {
  const page = await pageWith(t, `<grad-cam {model} src="{photo}"></grad-cam>`);
  await drawn(page);
  const found = await page.evaluate(async (model) => {
    const element = document.querySelector("grad-cam");
    const said = ({ name, message }) => `${name}: ${message}`;
    const shown = [5, {}].map((map) => {
      try {
        return element.show(map);
      } catch (error) {
        return said(error);
      }
    });
    const errors = [];
    const refused = async (change) => {
      const failed = new Promise((resolve) => element.addEventListener("error", resolve, { once: true }));
      change();
      errors.push(said((await failed).detail));
    };
    for (const model of [{}, [], new Blob(["x"]), Promise.resolve(), Promise.resolve("imagenet")])
      await refused(() => (element.model = model));
    await refused(() => Object.assign(element, { model, labels: "http://[" }));
    element.labels = null;
    await refused(() => (element.src = { tensor: null, shape: [1, 3, 2, 2] }));
    return { shown, errors };
  }, MODEL);
  assert.deepEqual(found.shown, Array(2).fill("TargetError: show takes an explanation or a unit."));
  assert.deepEqual(found.errors, [
    ...Array(5).fill("ModelError: The property model takes an address, or a model from loadModel."),
    'ModelError: The attribute labels: "http://[" is no address.',
    "ImageError: The tensor can't be read: a Float32Array is accepted.",
  ]);
});

test("after an error there is no explanation, until one is shown again", async (t) => {
  const page = await pageWith(t, `<grad-cam {model} src="{photo}"></grad-cam>`);
  await drawn(page);
  const found = await page.evaluate(async () => {
    const element = document.querySelector("grad-cam");
    const next = (type) => new Promise((resolve) => element.addEventListener(type, resolve, { once: true }));
    const saved = () =>
      element.toBlob().then(
        ({ type }) => type,
        ({ name }) => name,
      );
    const { explanation } = element;
    const failed = next("error");
    element.method = "nonsense";
    await failed;
    const after = [element.explanation, await saved(), Boolean(element.prediction)];
    element.show(explanation);
    const again = [element.explanation === explanation, await saved()];
    const explained = next("explain");
    element.method = "hirescam";
    await explained;
    return { after, again, later: [element.explanation.method, await saved()] };
  });
  assert.deepEqual(found.after, [null, "ImageError", true]);
  assert.deepEqual(found.again, [true, "image/png"]);
  assert.deepEqual(found.later, ["hirescam", "image/png"]);
});

test("other languages come from a table", async (t) => {
  const page = await pageWith(t, "");
  const found = await page.evaluate(
    async (address, model, photo) => {
      const { WORDS } = await import(address);
      WORDS.fr = { Method: "Méthode", "{label}, {percent} · {method}": "{label} : {percent} ({method})" };
      const element = document.createElement("grad-cam");
      Object.assign(element, { model, src: photo, controls: true, caption: true, lang: "fr-CA", loading: "eager" });
      const explained = new Promise((resolve) => element.addEventListener("explain", resolve));
      document.body.append(element);
      await explained;
      const text = (selector) => element.shadowRoot.querySelector(selector).textContent.trim();
      return [text("label"), text("[part~=caption]"), text("[part~=peek]")];
    },
    PACKAGE,
    MODEL,
    PHOTO,
  );
  assert.match(found[0], /^Méthode /);
  assert.match(found[1], /^.+ : \u2066[\d,]+\u00a0%\u2069 \(Grad-CAM\)$/);
  assert.equal(found[2], "Original");
});

test("labels come from the address of a list", async (t) => {
  const page = await pageWith(t, "");
  const labels = await page.evaluate(
    async (model, photo) => {
      const { loadModel } = await import(model.replace(/\.test.*/, "gradcam-web/index.js"));
      const { labels } = await loadModel(model);
      const names = labels.map((_, i) => `name ${i}`).join("\n");
      const element = document.createElement("grad-cam");
      Object.assign(element, { model, src: photo, labels: URL.createObjectURL(new Blob([names])) });
      document.body.append(element);
      await new Promise((resolve) => element.addEventListener("explain", resolve, { once: true }));
      return element.prediction.model.labels.slice(0, 2);
    },
    MODEL,
    PHOTO,
  );
  assert.deepEqual(labels, ["name 0", "name 1"]);
});

test("a click on a class whose name is a number chooses that class", async (t) => {
  const page = await pageWith(t, "");
  const found = await page.evaluate(
    async (address, model, photo) => {
      const { loadModel } = await import(address);
      const { length } = (await loadModel(model)).labels;
      // Each class has another one's index for a name.
      const names = Array.from({ length }, (_, i) => length - 1 - i);
      const element = document.createElement("grad-cam");
      const labels = URL.createObjectURL(new Blob([names.join("\n")]));
      Object.assign(element, { model, src: photo, labels, controls: true, loading: "eager" });
      document.body.append(element);
      const explained = () => new Promise((resolve) => element.addEventListener("explain", resolve, { once: true }));
      await explained();
      const wanted = element.prediction.top(2)[1];
      const again = explained();
      element.shadowRoot.querySelectorAll("[part~=class]")[1].click();
      await again;
      return [element.explanation.targetClass === wanted.index, wanted.label === String(wanted.index)];
    },
    PACKAGE,
    MODEL,
    PHOTO,
  );
  assert.deepEqual(found, [true, false]);
});

test("names of files may have a percent sign", async (t) => {
  const page = await pageWith(t, "");
  const folder = site.material("data/");
  for (const [name, file] of [
    ["50%zz.jpg", "data/images/photo.jpg"],
    ["50%zz.onnx", "data/bright.onnx"],
  ])
    await page.driver.route(
      (url) => url.href === folder + name,
      (route) => route.fulfill({ path: site.file(`/.test/${file}`) }),
    );
  await page.evaluate((folder) => {
    const element = document.createElement("grad-cam");
    Object.assign(element, { model: `${folder}50%zz.onnx`, loading: "eager" });
    element.append(Object.assign(new Image(), { src: `${folder}50%zz.jpg`, alt: "A" }));
    document.body.append(element);
  }, folder);
  await define(page);
  const [{ image }] = await drawn(page);
  assert.deepEqual(image, { width: 371, height: 250 });
  assert.equal(await page.evaluate(() => document.querySelector("grad-cam").prediction.model.name), "50%zz.onnx");
});

test("a mouse can save the picture, and a finger's long press shows the original", async (t) => {
  const page = await pageWith(t, `<grad-cam {model} src="{photo}"></grad-cam>`);
  await drawn(page);
  const prevented = await page.evaluate(() => {
    const canvas = document.querySelector("grad-cam").shadowRoot.querySelector("canvas");
    return ["mouse", "touch"].map((pointerType) => {
      const event = new PointerEvent("contextmenu", { pointerType, cancelable: true, bubbles: true });
      return !canvas.dispatchEvent(event);
    });
  });
  assert.deepEqual(prevented, [false, true]);
});

test("on paper every figure is explained, and there are no controls", async (t) => {
  const page = await pageWith(
    t,
    `<grad-cam {model} src="{photo}" controls></grad-cam><div style="height: 5000px"></div>
     <grad-cam {model} src="{portrait}" controls></grad-cam>`,
  );
  await page.waitFor(() => document.querySelector("grad-cam").explanation);
  assert.ok(await page.evaluate(() => !document.querySelectorAll("grad-cam")[1].explanation), "far away: not yet");
  await page.evaluate(() => dispatchEvent(new Event("beforeprint")));
  await drawn(page);
  await page.driver.emulateMedia({ media: "print" });
  const shown = await page.evaluate(() => {
    const { shadowRoot } = document.querySelector("grad-cam");
    return ["controls", "caption", "canvas"].map(
      (part) => getComputedStyle(shadowRoot.querySelector(`[part~=${part}]`)).display,
    );
  });
  assert.deepEqual(shown, ["none", "block", "block"]);
});

test("thresholds, opacity by value, contours and boxes change what is drawn", async (t) => {
  const page = await pageWith(t, `<grad-cam {model} src="{photo}"></grad-cam>`);
  await drawn(page);
  const found = await page.evaluate(async () => {
    const element = document.querySelector("grad-cam");
    const { explanation } = element;
    const { width, height } = element.prediction.image;
    const pixels = (style) => {
      const canvas = new OffscreenCanvas(1, 1);
      explanation.draw(canvas, style);
      return canvas.getContext("2d").getImageData(0, 0, width, height).data;
    };
    const image = pixels({ opacity: 0 });
    const plain = pixels({});
    const cut = pixels({ threshold: 0.6 });
    const { values } = explanation.heatmapAt(width, height);
    // Below the threshold the image, above it the heatmap.
    let wrong = 0;
    values.forEach((value, i) => {
      if (Math.abs(value - 0.6) < 0.01) return;
      const expected = value < 0.6 ? image : plain;
      for (let c = 0; c < 3; c++) wrong += cut[4 * i + c] !== expected[4 * i + c];
    });
    const [box] = explanation.boxes({ threshold: 0.6 });
    const hot = [...values.keys()].filter((i) => values[i] >= 0.6);
    const xs = hot.map((i) => i % width);
    const lines = explanation.contours({ threshold: 0.6 });
    const lined = pixels({ threshold: 0.6, contours: true });
    const npy = explanation.toNpy();
    const view = new DataView(npy.buffer);
    const start = 10 + view.getUint16(8, true);
    const refused = await new Promise((resolve) => resolve(explanation.boxes({ threshold: 2 }))).catch((e) => e.name);
    const figure = await createImageBitmap(await explanation.toFigure());
    return {
      wrong,
      box,
      refused,
      leftmost: Math.min(...xs),
      isClosed: lines.length > 0 && lines.every((line) => line.length >= 3),
      // Each point of a line lies where the heatmap crosses the threshold.
      off: Math.max(
        ...lines.flat().map(([x, y]) => {
          const at = [Math.min(width - 1, Math.floor(x)), Math.min(height - 1, Math.floor(y))];
          return x <= 0.5 || y <= 0.5 || x >= width - 0.5 || y >= height - 0.5
            ? 0
            : Math.abs(values[at[1] * width + at[0]] - 0.6);
        }),
      ),
      changed: lined.some((level, i) => level !== cut[i]),
      header: String.fromCharCode(...npy.subarray(0, start)),
      aligned: start % 64,
      npy: [view.getFloat32(start, true), view.getFloat32(start + 4 * (width * height - 1), true)],
      ends: [values[0], values.at(-1)],
      length: npy.length - start - 4 * width * height,
      figure: [figure.width, figure.height > height],
      svg: await explanation.toSvg({ contours: true, boxes: true }),
    };
  });
  assert.equal(found.wrong, 0);
  assert.equal(found.refused, "TargetError");
  assert.ok(found.box.width > 0 && found.box.x >= found.leftmost);
  assert.ok(found.isClosed && found.changed);
  assert.ok(found.off < 0.1, `lines are off by ${found.off}`);
  assert.equal(found.header.slice(0, 8), "\x93NUMPY\x01\x00");
  assert.match(found.header.slice(10), /^\{'descr': '<f4', 'fortran_order': False, 'shape': \(250, 371\), \} *\n$/);
  assert.deepEqual([found.aligned, found.length, found.npy], [0, 0, found.ends]);
  assert.deepEqual(found.figure, [371, true]);
  assert.match(found.svg, /^<svg [^>]+viewBox="0 0 371 \d+"[^]+<path d="M[^]+· Grad-CAM<\/text>\n<\/svg>$/);
});

test("a drawing without a type behind a long comment, and files with several frames", async (t) => {
  const page = await pageWith(t, "");
  const found = await page.evaluate(
    async (address, model, moving) => {
      const { loadModel } = await import(address);
      const loaded = await loadModel(model);
      const drawing = `<?xml version="1.0"?>\n<!-- ${"a comment ".repeat(2000)}-->\n<!DOCTYPE svg [<!ENTITY note "a ]> b"><!-- don't --><!ENTITY red "rgb(200,30,60)">]>\n<svg xmlns="http://www.w3.org/2000/svg" width="24" height="40"><rect width="24" height="40" fill="&red;"/></svg>`;
      const drawn = (await loaded.classify(new Blob([drawing]))).image;
      const notes = [];
      for (const file of moving) {
        const prediction = await loaded.classify(file);
        notes.push([prediction.image.isAnimated, (await prediction.explain()).note.includes("first frame")]);
      }
      const refused = await loaded.classify(new Blob(["no picture"])).catch((error) => error.message);
      return { drawn, notes, refused };
    },
    PACKAGE,
    MODEL,
    ["pictures/moving.png", "pictures/moving.webp", "images/animated.gif"].map((file) => site.material(`data/${file}`)),
  );
  assert.deepEqual(found.drawn, { width: 24, height: 40 });
  assert.deepEqual(found.notes, Array(3).fill([true, true]));
  assert.match(found.refused, /text file.+SVG/);
});

test("a figure asks its own origin alone, sends nothing and keeps nothing", async (t) => {
  const page = await pageWith(t, `<grad-cam {model} src="{photo}"></grad-cam>`, { script: false });
  const context = page.driver.context();
  const asked = [];
  context.on("request", (request) => {
    asked.push({ url: request.url(), method: request.method(), body: request.postData() });
  });
  await define(page);
  await drawn(page);
  // What comes with a change of it is asked for later.
  await page.evaluate(() => document.querySelector("grad-cam").setAttribute("method", "score-cam"));
  await page.waitFor(() => document.querySelector("grad-cam").explanation?.method === "score-cam");
  const outside = asked.filter(({ url }) => !/^(data|blob):/.test(url));
  assert.ok(outside.some(({ url }) => url === MODEL) && outside.some(({ url }) => url === PHOTO));
  for (const { url, method, body } of outside) {
    assert.deepEqual([new URL(url).origin, method, body], [site.origin, "GET", null], url);
  }
  assert.deepEqual(await context.cookies(), []);
  const kept = await page.evaluate(async () => [
    localStorage.length,
    sessionStorage.length,
    (await indexedDB.databases()).length,
    (await caches.keys()).length,
  ]);
  assert.deepEqual(kept, [0, 0, 0, 0]);
});

test("an error is told once, and what only changes the drawing tries nothing again", async (t) => {
  const page = await pageWith(t, `<grad-cam {model} src="{photo}"></grad-cam>`);
  await drawn(page);
  const told = await page.evaluate(async () => {
    const figure = document.querySelector("grad-cam");
    const errors = [];
    figure.addEventListener("error", ({ detail }) => errors.push(detail.name));
    const after = (type) => new Promise((resolve) => figure.addEventListener(type, resolve, { once: true }));
    const failed = after("error");
    figure.targetLayer = "no such layer";
    await failed;
    for (const opacity of [0.1, 0.2, 0.3]) {
      figure.opacity = opacity;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    const explained = after("explain");
    figure.targetLayer = null;
    await explained;
    return errors;
  });
  assert.deepEqual(told, ["TargetError"]);
});
