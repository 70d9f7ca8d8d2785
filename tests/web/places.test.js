// `<grad-cam>` wherever a page puts it: nothing around it moves, and it draws.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import test, { after } from "node:test";
import { chromium } from "./browsers.js";
import { ROOT, serveSite } from "./site.js";

const site = await serveSite();
const browser = await chromium();
after(() => Promise.all([site.close(), browser.close()]));

const PHOTO = site.material("data/images/photo.jpg");
const JPEG = readFileSync(join(ROOT, "tests/data/images/photo.jpg"));
const MODEL = site.material("data/bright.onnx");
const PACKAGE = `${site.url}gradcam-web/index.js`;
const DRAWING =
  '<svg xmlns="http://www.w3.org/2000/svg" width="300" height="200"><path fill="red" d="M0 0h100v100H0z"/></svg>';
/** The first policy of the package's README. */
const [POLICY] = readFileSync(join(ROOT, "pkg/README.md"), "utf8").match(/^default-src.+$/gm);

const figure = (content, attributes = "") => `<grad-cam model="${MODEL}" ${attributes}>${content}</grad-cam>`;
const IMAGE = `<img src="${PHOTO}" alt="A scene" width="371" height="250">`;

/** A document of its own, as a host serves it. @param {{ head?: string, policy?: string, script?: boolean, attributes?: string }} [options] */
async function open(t, body, { head = "", policy, script = true, attributes = "" } = {}) {
  const page = await browser.open(site.blank, t);
  const html = `<!doctype html><html lang="en" ${attributes}><meta charset="utf-8"><title>A page</title><link rel="icon" href="icon.png">
${head}${script ? `<script type="module" src="${PACKAGE}"></script>` : ""}<body>${body}`;
  const headers = policy ? { "content-security-policy": policy } : {};
  await page.driver.route("**/page.html", (route) => route.fulfill({ contentType: "text/html", headers, body: html }));
  await page.driver.route("**/drawing.svg", (route) => route.fulfill({ contentType: "image/svg+xml", body: DRAWING }));
  await page.driver.route("**/names/*", (route) => route.fulfill({ contentType: "image/jpeg", body: JPEG }));
  await page.driver.goto(`${site.origin}/page.html`);
  return page;
}

/** Until every figure of the page is drawn, also those in shadow roots; the sizes of their pictures. */
const drawn = (page) =>
  page.waitFor(() => {
    const inside = (root) =>
      [...root.querySelectorAll("*")].flatMap((node) => [node, ...(node.shadowRoot ? inside(node.shadowRoot) : [])]);
    const figures = inside(document).filter(({ localName }) => localName === "grad-cam");
    const messages = figures.map((figure) => figure.shadowRoot?.querySelector("[part=message]:not([hidden])"));
    if (messages.some(Boolean)) throw new Error(messages.find(Boolean).textContent);
    if (!figures.length || !figures.every((figure) => figure.explanation)) return false;
    return figures.map(({ prediction }) => `${prediction.image.width} × ${prediction.image.height}`);
  });

const SIZE = "371 × 250";

test("nothing around a figure moves, neither when the package comes nor when the heatmap does", async (t) => {
  const places = {
    "in a paragraph of Markdown": `<p>before</p>${figure(`<p>${IMAGE}</p>`)}<p>after</p>`,
    "with the margins of prose": `<style>img { display: block; margin: 2em auto }</style><p>before</p>${figure(IMAGE)}<p>after</p>`,
    "in the middle": `<p>before</p>${figure(`<p style="text-align: center">${IMAGE}</p>`)}<p>after</p>`,
    "in a figure's margins": `<p>before</p>${figure(`<figure>${IMAGE}</figure>`)}<p>after</p>`,
    "at the end of the line": `<p>before</p><div dir="rtl">${figure(`<p>${IMAGE}</p>`)}</div><p>after</p>`,
    "in a link": `<a href="#there">${figure(IMAGE)}</a><p>after</p>`,
    "in a table": `<style>img { max-width: 100%; height: auto }</style>
      <table><tr><td>words of a table's first column<td>${figure(IMAGE)}<td>${figure(IMAGE)}<td>${figure(IMAGE)}</table><p>after</p>`,
    "side by side": `<div style="display: flex">${figure(IMAGE)}${figure(IMAGE)}</div><p>after</p>`,
    "beside the text": `<style>grad-cam { float: right }</style>${figure(IMAGE)}<p>after ${"words ".repeat(300)}</p>`,
  };
  for (const [where, body] of Object.entries(places)) {
    const page = await open(t, body, { script: false });
    await page.waitFor(() => [...document.images].every((image) => image.complete));
    const seen = () =>
      page.evaluate(() => {
        const figures = [...document.querySelectorAll("grad-cam")].map((figure) => {
          const canvas = figure.shadowRoot?.querySelector("canvas");
          return canvas && !canvas.hidden ? canvas : figure.querySelector("img");
        });
        return [...figures, ...document.querySelectorAll("p")]
          .map((node) => node.getBoundingClientRect())
          .filter(({ width }) => width > 0)
          .map(({ x, y, width, height }) => [x, y, width, height].map(Math.round));
      });
    const before = await seen();
    await page.evaluate(async (address) => void (await import(address)), PACKAGE);
    const upgraded = await seen();
    await drawn(page);
    const after = await seen();
    const figures = await page.evaluate(() => document.querySelectorAll("grad-cam").length);
    // The pictures themselves, and the last paragraph; those that hold a picture go.
    const kept = (all) => [...all.slice(0, figures), all.at(-1)];
    const far = [upgraded, after].map((now) =>
      Math.max(...kept(now).flatMap((box, i) => box.map((value, k) => Math.abs(value - kept(before)[i][k])))),
    );
    assert.ok(
      Math.max(...far) <= 1,
      `${where}: moved by ${far} pixels, from ${before.join(" | ")} to ${after.join(" | ")}`,
    );
    await page.close();
  }
});

test("a caption in the tag stays where it is: the heatmap covers the picture alone", async (t) => {
  const body = `${figure(`<figure>${IMAGE}<figcaption>A caption</figcaption></figure>`)}<p>after</p>`;
  const head = "<style>img { max-width: 100%; height: auto }</style>";
  const page = await open(t, body, { head, script: false });
  await page.waitFor(() => document.images[0].complete);
  const seen = () =>
    page.evaluate(() =>
      ["img", "figcaption", "body > p"].map((selector) => {
        const { x, y, width, height } = document.querySelector(selector).getBoundingClientRect();
        return [x, y, width, height];
      }),
    );
  const before = await seen();
  await page.evaluate(async (address) => void (await import(address)), PACKAGE);
  await drawn(page);
  assert.deepEqual(await seen(), before);
  for (const width of [371, 224]) {
    // Less the margins of the page and of the figure.
    await page.driver.setViewportSize({ width: width + 2 * (8 + 40), height: 600 });
    await page.waitFor((width) => {
      const boxes = [document.images[0], document.querySelector("grad-cam").shadowRoot.querySelector("canvas")].map(
        (node) => node.getBoundingClientRect(),
      );
      const far = ["x", "y", "width", "height"].map((side) => Math.abs(boxes[0][side] - boxes[1][side]));
      return boxes[0].width === width && Math.max(...far) < 0.1;
    }, width);
  }
});

test("a figure draws wherever it is put", async (t) => {
  const page = await open(
    t,
    `<details><summary>more</summary>${figure(IMAGE)}</details><div id="tab" hidden>${figure(IMAGE, "controls loading=eager")}</div>
     <template>${figure(IMAGE)}</template><div id="shadow"></div><div id="parsed"></div>`,
  );
  await page.evaluate((html) => {
    const shadow = document.querySelector("#shadow").attachShadow({ mode: "open" });
    shadow.append(document.createRange().createContextualFragment(html));
    const parsed = new DOMParser().parseFromString(html, "text/html");
    document.querySelector("#parsed").append(parsed.body.firstChild);
    document.body.append(document.querySelector("template").content.cloneNode(true));
    document.querySelector("details").open = true;
  }, figure(IMAGE));
  await page.waitFor(() => document.querySelector("#tab grad-cam").explanation);
  await page.evaluate(() => document.querySelector("#tab").removeAttribute("hidden"));
  for (const selector of ["details", "#tab", "#shadow", "#parsed", "body > grad-cam"])
    await page.driver.locator(selector).first().scrollIntoViewIfNeeded();
  assert.deepEqual(await drawn(page), Array(5).fill(SIZE));
  assert.ok(
    await page.evaluate(
      () => document.querySelector("#tab grad-cam").shadowRoot.querySelector("canvas").clientWidth > 300,
    ),
  );
  // Through a document without a window, as some routers carry elements from page to page.
  const kept = await page.evaluate(() => {
    const [element] = document.querySelectorAll("#tab grad-cam");
    const { explanation } = element;
    document.implementation.createHTMLDocument().body.append(element);
    document.body.append(element);
    const list = element.shadowRoot.querySelector("[part=classes]");
    return [element.explanation === explanation, getComputedStyle(list).listStyleType];
  });
  assert.deepEqual(kept, [true, "none"]);
});

test("whatever a file is called and wherever addresses begin, it is found", async (t) => {
  const names = [
    "a%23b.jpg",
    "a%3Fb.jpg",
    "100%25.jpg",
    "100%.jpg",
    "sp ace.jpg",
    "ü.jpg",
    "a+b.jpg",
    "a&amp;b.jpg",
    "c.jpg#only-light",
  ];
  const figures = names.flatMap((name) => [
    `<grad-cam model="data/bright.onnx" loading="eager" src="/names/${name}"></grad-cam>`,
    `<grad-cam model="data/bright.onnx" loading="eager"><img src="/names/${name}" alt=""></grad-cam>`,
  ]);
  // Templates leave attributes empty that nobody filled in.
  figures.push(
    `<grad-cam model="" src="" labels="" target-class="" target-layer="" rather-than="" loading="eager"><img src="data/images/photo.jpg" alt=""></grad-cam>`,
  );
  const page = await open(t, figures.join(""), { head: `<base href="${site.origin}/.test/">` });
  assert.deepEqual(await drawn(page), Array(2 * names.length + 1).fill(SIZE));
});

test("what can't be fetched is read as the page shows it", async (t) => {
  const data = `data:image/jpeg;base64,${JPEG.toString("base64")}`;
  const images = [`<img src="${data}" alt="">`, `<img src="drawing.svg" alt="">`, `<img id="revoked" alt="">`];
  const policy = `${POLICY} data: blob:`.replace("img-src 'self' data: blob:", "img-src 'self' data:");
  const page = await open(
    t,
    images
      .slice(0, 2)
      .map((image) => figure(image))
      .join(""),
    { policy },
  );
  assert.deepEqual(await drawn(page), [SIZE, "300 × 200"]);
  const other = await open(t, figure(images[2]));
  await other.evaluate(async (address) => {
    const made = URL.createObjectURL(await (await fetch(address)).blob());
    const image = document.querySelector("#revoked");
    image.onload = () => URL.revokeObjectURL(made);
    image.src = made;
  }, PHOTO);
  assert.deepEqual(await drawn(other), [SIZE]);
});

test("a slotted file that is no picture is named for it", async (t) => {
  const page = await open(t, figure(`<img src="${site.url}style.css" alt="">`));
  const message = await page.waitFor(
    () => document.querySelector("grad-cam").shadowRoot?.querySelector("[part=message]:not([hidden])")?.textContent,
  );
  assert.match(message, /PNG, JPEG, WebP/);
});

test("a lazy picture of several files is chosen once its figure is wanted, also for paper", async (t) => {
  const image = `<img loading="lazy" srcset="${PHOTO} 371w" alt="">`;
  const far = `<div style="height: 9000px"></div>`;
  const page = await open(t, `${far}${figure(image, "loading=eager")}${far}${figure(image)}`);
  await page.waitFor(() => document.querySelector("grad-cam").explanation);
  assert.ok(await page.evaluate(() => !document.querySelectorAll("grad-cam")[1].explanation), "far away: not yet");
  await page.evaluate(() => dispatchEvent(new Event("beforeprint")));
  assert.deepEqual(await drawn(page), [SIZE, SIZE]);
});

test("bars begin where the text does, are seen in forced colours, and keep still where that is asked for", async (t) => {
  const page = await open(t, figure(IMAGE, "controls"), { attributes: 'dir="rtl"' });
  await drawn(page);
  const bar = () =>
    page.evaluate(() => {
      const row = document.querySelector("grad-cam").shadowRoot.querySelector("[part=class][aria-pressed=true]");
      const track = row.querySelector("[part=class-bar]");
      const { width, backgroundColor, transitionDuration } = getComputedStyle(track, "::before");
      const share = parseFloat(width) / track.clientWidth;
      return { share, backgroundColor, transitionDuration, outline: getComputedStyle(row).outlineStyle };
    });
  const probability = await page.evaluate(() => document.querySelector("grad-cam").prediction.top(1)[0].probability);
  await page.waitFor((wanted) => {
    const { shadowRoot } = document.querySelector("grad-cam");
    const track = shadowRoot.querySelector("[aria-pressed=true] [part=class-bar]");
    return Math.abs(parseFloat(getComputedStyle(track, "::before").width) / track.clientWidth - wanted) < 0.01;
  }, probability);
  assert.equal((await bar()).outline, "none");
  await page.driver.emulateMedia({ forcedColors: "active", reducedMotion: "reduce" });
  const forced = await bar();
  const canvas = await page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
  assert.notEqual(forced.backgroundColor, canvas);
  assert.deepEqual([forced.transitionDuration, forced.outline], ["0s", "solid"]);
});
