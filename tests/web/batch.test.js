// Many images in turn, and two copies of the package on one page.

import assert from "node:assert/strict";
import test, { after } from "node:test";
import { chromium } from "./browsers.js";
import { serveSite } from "./site.js";

const site = await serveSite();
const browser = await chromium();
after(() => Promise.all([site.close(), browser.close()]));

const PACKAGE = `${site.url}gradcam-web/index.js`;
/** The same files under another address are another copy. */
const OTHER = `${site.plain}gradcam-web/index.js`;
const MODEL = site.material("data/bright.onnx");
const PHOTO = site.material("data/images/photo.jpg");
const PORTRAIT = site.material("data/images/portrait.jpg");

test("explainAll answers in the order of the images, tells what fails, and stops with its loop", async (t) => {
  const page = await browser.open(site.blank, t);
  const found = await page.evaluate(
    async (address, model, photo, portrait) => {
      const { explainAll, loadModel } = await import(address);
      const loaded = await loadModel(model, { backend: "cpu" });
      const images = [photo, `${photo}.nowhere`, portrait, new ImageData(8, 6)];
      const answers = [];
      const progress = [];
      const options = { method: "hirescam", onProgress: (fraction) => progress.push(fraction) };
      for await (const { index, explanation, error } of explainAll(loaded, images, options))
        answers.push([index, explanation?.method ?? error.name, explanation?.prediction.image.width]);

      // An endless source is asked for no more than is under way.
      let taken = 0;
      const endless = (function* () {
        for (;;) yield (taken++, photo);
      })();
      for await (const { index } of explainAll(loaded, endless)) if (index === 2) break;
      const refused = await explainAll(loaded, photo)
        .next()
        .catch(({ name }) => name);
      const stop = AbortSignal.abort();
      const aborted = await explainAll(loaded, [photo], { signal: stop })
        .next()
        .catch(({ name }) => name);
      return { answers, progress, taken, refused, aborted };
    },
    PACKAGE,
    MODEL,
    PHOTO,
    PORTRAIT,
  );
  assert.deepEqual(found.answers, [
    [0, "hirescam", 371],
    [1, "ImageError", null],
    [2, "hirescam", 250],
    [3, "hirescam", 8],
  ]);
  assert.deepEqual(found.progress, [0.25, 0.5, 0.75, 1]);
  assert.ok(found.taken <= 6, `${found.taken} images were taken for three`);
  assert.deepEqual([found.refused, found.aborted], ["TargetError", "AbortError"]);
});

test("explainAll takes what a source gives, when it gives it, and waits for nothing else", async (t) => {
  const page = await browser.open(site.blank, t);
  const found = await page.evaluate(
    async (address, model, photo) => {
      const { explainAll, loadModel } = await import(address);
      const loaded = await loadModel(model, { backend: "cpu" });
      const named = ({ name }) => name;
      const indices = [];
      const all = async (images, signal) => {
        indices.length = 0;
        for await (const { index } of explainAll(loaded, images, { signal })) indices.push(index);
      };

      // The next image is chosen by the last answer.
      const chosen = async function* () {
        for (let count = 0; count < 4; count++) {
          yield photo;
          while (indices.length <= count) await new Promise((resolve) => setTimeout(resolve));
        }
      };
      await all(chosen());
      const byAnswer = [...indices];

      // The source gives nothing more, and can't be closed either.
      const stop = new AbortController();
      const silent = async function* () {
        yield photo;
        setTimeout(() => stop.abort());
        await new Promise(() => {});
      };
      const aborted = await all(silent(), stop.signal).catch(named);

      // It fails, at once or later: what came before is answered.
      let closed = 0;
      const failing = [
        function* () {
          yield photo;
          yield photo;
          throw new RangeError("no more");
        },
        async function* () {
          yield* failing[0]();
        },
      ];
      const failed = [];
      for (const source of failing) failed.push([await all(source()).catch(named), ...indices]);

      // Who leaves closes it.
      const closing = function* () {
        try {
          for (;;) yield photo;
        } finally {
          closed++;
        }
      };
      for await (const { index } of explainAll(loaded, closing())) {
        failed.push(index);
        break;
      }
      return { byAnswer, aborted, failed, closed };
    },
    PACKAGE,
    MODEL,
    PHOTO,
  );
  assert.deepEqual(found.byAnswer, [0, 1, 2, 3]);
  assert.equal(found.aborted, "AbortError");
  assert.deepEqual(found.failed, [["RangeError", 0, 1], ["RangeError", 0, 1], 0]);
  assert.equal(found.closed, 1);
});

test("two copies on one page work together", async (t) => {
  const page = await browser.open(site.blank, t);
  const found = await page.evaluate(
    async (first, second, model, photo) => {
      const [one, two] = [await import(first), await import(second)];
      const element = document.createElement("grad-cam");
      element.loading = "eager";
      // A model of the copy that does not own the element.
      element.model = await two.loadModel(model, { backend: "cpu" });
      element.src = photo;
      const explained = new Promise((resolve, reject) => {
        element.addEventListener("explain", ({ detail }) => resolve(detail));
        element.addEventListener("error", ({ detail }) => reject(detail));
      });
      document.body.append(element);
      const { targetClass } = await explained;
      const canvas = element.shadowRoot.querySelector("canvas");
      return {
        isFirst: element instanceof one.GradCamElement && one.GradCamElement !== two.GradCamElement,
        targetClass,
        drawn: !canvas.hidden && canvas.width > 1,
      };
    },
    PACKAGE,
    OTHER,
    MODEL,
    PHOTO,
  );
  assert.deepEqual(found, { isFirst: true, targetClass: 1, drawn: true });
});
