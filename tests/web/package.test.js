// The package in real browsers: values, images, refusals and survival, on both backends.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import test, { after, describe } from "node:test";
import { chromium, firefox, missing, webkit } from "./browsers.js";
import { readFixture, relativeDifference } from "./fixtures.js";
import { ROOT, serveSite } from "./site.js";

const site = await serveSite();
after(() => site.close());
const PACKAGE = `${site.url}gradcam-web/index.js`;

const ENGINES = [
  { name: "chromium on the CPU", backend: "cpu", start: () => chromium(), skip: false },
  { name: "chromium on WebGPU", backend: "webgpu", start: () => chromium({ webgpu: true }), skip: false },
  { name: "firefox on the CPU", backend: "cpu", start: firefox, skip: missing("firefox") },
  { name: "webkit on the CPU", backend: "cpu", start: webkit, skip: missing("webkit") },
];

for (const { name, backend, start, skip } of ENGINES) {
  describe(name, { skip }, () => {
    let browser;
    const open = async (t) => {
      browser ??= await start();
      return browser.open(site.blank, t);
    };
    after(() => browser?.close());

    for (const network of ["gap", "squeeze", "residual"]) {
      test(`${network}: scores and maps are those of PyTorch`, async (t) => {
        const fixture = readFixture(`cams/${network}.safetensors`);
        const input = fixture.tensor("input");
        const cases = Object.entries(fixture.fact("layers")).flatMap(([layer, { value }]) =>
          fixture.fact("classes").map((targetClass) => ({ layer, value, targetClass })),
        );
        const page = await open(t);
        const found = await page.evaluate(
          async (address, model, backend, input, cases) => {
            const { loadModel } = await import(address);
            const loaded = await loadModel(model, { backend });
            const prediction = await loaded.classify({ tensor: Float32Array.from(input.values), shape: input.shape });
            const maps = [];
            for (const { value, targetClass } of cases) {
              const { map, heatmapAt } = await prediction.explain({ targetClass, targetLayer: value });
              maps.push({ map: map.values, heatmap: heatmapAt(input.shape[3], input.shape[2]).values });
            }
            return { backend: loaded.backend, layers: loaded.layers, scores: prediction.scores, maps };
          },
          PACKAGE,
          site.material(`data/cams/${network}.onnx`),
          backend,
          input,
          cases,
        );

        assert.equal(found.backend, backend);
        assert.ok(relativeDifference(found.scores, fixture.tensor("logits").values) < 1e-3, "scores");
        cases.forEach(({ layer, targetClass }, i) => {
          const expected = (kind) => fixture.tensor(`${layer}/${targetClass}/grad-cam/${kind}`).values;
          assert.ok(relativeDifference(found.maps[i].map, expected("map")) < 1e-3, `${layer}/${targetClass}: map`);
          assert.ok(
            relativeDifference(found.maps[i].heatmap, expected("heatmap")) < 1e-3,
            `${layer}/${targetClass}: heatmap`,
          );
        });
      });
    }

    test("a bright corner stays in its corner, whatever the orientation", async (t) => {
      const corners = Object.entries(readFixture("preprocess.safetensors").fact("hot_corner"));
      const page = await open(t);
      const found = await page.evaluate(
        async (address, model, backend, images) => {
          const { loadModel } = await import(address);
          const loaded = await loadModel(model, { backend });
          const results = [];
          for (const image of images) {
            const prediction = await loaded.classify(image);
            const explanation = await prediction.explain({ method: "cam", targetClass: "bright" });
            const { width, height, values } = explanation.heatmapAt(prediction.image.width, prediction.image.height);
            const hottest = values.indexOf(Math.max(...values));
            const canvas = document.createElement("canvas");
            explanation.draw(canvas);
            results.push({
              at: [hottest % width, Math.floor(hottest / width)],
              size: [width, height],
              canvas: [canvas.width, canvas.height],
            });
          }
          return results;
        },
        PACKAGE,
        site.material("data/bright.onnx"),
        backend,
        corners.map(([file]) => site.material(`data/images/${file}`)),
      );
      corners.forEach(([file, [x, y]], i) => {
        const { at, size, canvas } = found[i];
        assert.deepEqual(canvas, size, file);
        // In the same quarter of the picture.
        assert.deepEqual(
          at.map((side, axis) => side * 2 >= size[axis]),
          [x, y].map((side, axis) => side * 2 >= size[axis]),
          `${file}: ${at} of ${size}`,
        );
      });
    });

    test("another class does not run the network before the target layer again", async (t) => {
      const page = await open(t);
      const steps = await page.evaluate(
        async (address, model, backend) => {
          const { loadModel } = await import(address);
          const loaded = await loadModel(model, { backend });
          const { width, height, channels } = loaded.input;
          const counts = [loaded.stats.stepsRun];
          const prediction = await loaded.classify({
            tensor: new Float32Array(width * height * channels).fill(0.1),
            shape: [1, channels, height, width],
          });
          counts.push(loaded.stats.stepsRun);
          for (const targetClass of [0, 1, 2]) {
            await prediction.explain({ targetClass });
            counts.push(loaded.stats.stepsRun);
          }
          return counts;
        },
        PACKAGE,
        site.material("data/cams/residual.onnx"),
        backend,
      );
      const [all, first, second, third] = steps.slice(1).map((count, i) => count - steps[i]);
      assert.ok(all > 5, `${all} steps for a prediction`);
      for (const again of [first, second, third])
        assert.ok(again < all / 2, `${again} of ${all} steps for an explanation`);
    });

    test("tensors stay the caller's, and each has its own scores", async (t) => {
      const page = await open(t);
      const { apart, together, kept } = await page.evaluate(
        async (address, model, backend) => {
          const { loadModel } = await import(address);
          const loaded = await loadModel(model, { backend });
          const { width, height, channels } = loaded.input;
          const tensors = [0.1, -0.3].map((value) => new Float32Array(width * height * channels).fill(value));
          const scores = async (tensor) => [
            ...(await loaded.classify({ tensor, shape: [1, channels, height, width] })).scores,
          ];
          const apart = [await scores(tensors[0]), await scores(tensors[1])];
          return {
            apart,
            together: await Promise.all(tensors.map(scores)),
            kept: tensors.map((tensor) => tensor.length && tensor.at(-1)),
          };
        },
        PACKAGE,
        site.material("data/cams/residual.onnx"),
        backend,
      );
      assert.deepEqual(together, apart);
      assert.notDeepEqual(apart[0], apart[1]);
      assert.deepEqual(kept, [0.1, -0.3].map(Math.fround));
    });

    test("a prediction keeps the tensor as it was, however many come after it", async (t) => {
      const page = await open(t);
      const { first, again } = await page.evaluate(
        async (address, model, backend) => {
          const { loadModel } = await import(address);
          const loaded = await loadModel(model, { backend });
          const { width, height, channels } = loaded.input;
          const tensor = new Float32Array(width * height * channels);
          const classify = (value) => {
            const answer = loaded.classify({ tensor: tensor.fill(value), shape: [1, channels, height, width] });
            tensor.fill(NaN);
            return answer;
          };
          const predictions = [await classify(0.1)];
          const explain = async () => [...(await predictions[0].explain({ targetClass: 1 })).map.values];
          const first = await explain();
          for (const value of [0.2, 0.3, 0.4, 0.5, 0.6]) predictions.push(await classify(value));
          return { first, again: await explain() };
        },
        PACKAGE,
        site.material("data/cams/residual.onnx"),
        backend,
      );
      assert.ok(first.every(Number.isFinite));
      assert.deepEqual(again, first);
    });

    test("classified and explained at once, the answers are the same", async (t) => {
      const page = await open(t);
      const { once, twice, refusal } = await page.evaluate(
        async (address, model, backend) => {
          const { loadModel } = await import(address);
          const loaded = await loadModel(model, { backend });
          const { width, height, channels } = loaded.input;
          const image = {
            tensor: Float32Array.from({ length: width * height * channels }, (_, i) => Math.sin(i)),
            shape: [1, channels, height, width],
          };
          const said = ({ prediction, map, method, targetClass, targetLayer }) => ({
            scores: [...prediction.scores],
            map: [...map.values],
            method,
            targetClass,
            targetLayer,
          });
          const options = { method: "hirescam", targetClass: 1 };
          const twice = [
            await (await loaded.classify(image)).explain(),
            await (await loaded.classify(image)).explain(options),
          ].map(said);
          const fractions = [];
          const once = [
            await loaded.explain(image),
            await loaded.explain(image, { ...options, onProgress: (fraction) => fractions.push(fraction) }),
          ];
          const another = await once[0].prediction.explain(options);
          const refusal = await loaded.explain(image, { targetClass: 99 }).catch(({ name }) => name);
          return {
            once: [...once, another].map(said),
            twice: [...twice, twice[1]],
            refusal: [refusal, fractions.at(-1)],
          };
        },
        PACKAGE,
        site.material("data/cams/residual.onnx"),
        backend,
      );
      assert.deepEqual(once, twice);
      assert.deepEqual(refusal, ["TargetError", 1]);
    });

    test("what can't be used is refused by name, and the next image works", async (t) => {
      const page = await open(t);
      const found = await page.evaluate(
        async (address, backend, { model, photo, refused }) => {
          const { loadModel } = await import(address);
          const bytes = async (url) => new Uint8Array(await (await fetch(url)).arrayBuffer());
          const loaded = await loadModel(model, { backend });
          const { width, height, channels } = loaded.input;
          const jpeg = await bytes(photo);
          const fine = (await loaded.classify(new Blob([jpeg]))).top(1)[0].label;
          // The head of a PNG that promises 100,000 × 100,000 pixels.
          const huge = Uint8Array.from([
            0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10, 0, 0, 0, 13, 0x49, 0x48, 0x44, 0x52, 0, 1, 0x86, 0xa0, 0, 1, 0x86,
            0xa0, 8, 2, 0, 0, 0, 0x15, 0x5b, 0x24, 0x6b,
          ]);
          const tries = {
            text: () => loaded.classify(new Blob(["just some text"])),
            truncated: () => loaded.classify(new Blob([jpeg.slice(0, 900)])),
            huge: () => loaded.classify(new Blob([huge])),
            "missing image": () => loaded.classify("/.test/nothing.jpg"),
            number: () => loaded.classify(42),
            "wrong shape": () => loaded.classify({ tensor: new Float32Array(12), shape: [1, 3, 2, 2] }),
            "wrong length": () =>
              loaded.classify({ tensor: new Float32Array(12), shape: [1, channels, height, width] }),
            "damaged model": async () => loadModel((await bytes(model)).slice(0, 300), { backend }),
            "no model": () => loadModel(new Blob(["just some text"]), { backend }),
            // An operator's name with one letter changed.
            "unknown operator": async () =>
              loadModel(
                (await bytes(model)).map((byte, i, all) =>
                  String.fromCharCode(...all.slice(i, i + 4)) === "Conv" ? 0x58 : byte,
                ),
                { backend },
              ),
            "missing model": () => loadModel("/.test/nothing.onnx", { backend }),
            ...(refused ? { "no classifier": () => loadModel(refused, { backend }) } : {}),
            class: async () => (await loaded.classify(photo)).explain({ targetClass: 2 }),
            layer: async () => (await loaded.classify(photo)).explain({ targetLayer: "nowhere" }),
            method: async () => (await loaded.classify(photo)).explain({ method: "guess" }),
            colormap: async () =>
              (await (await loaded.classify(photo)).explain()).draw(document.createElement("canvas"), {
                colormap: "mauve",
              }),
            opacity: async () =>
              (await (await loaded.classify(photo)).explain()).draw(document.createElement("canvas"), { opacity: 1.5 }),
            backend: () => loadModel(model, { backend: "abacus" }),
            abort: () => loaded.classify(photo, { signal: AbortSignal.abort() }),
          };
          const errors = {};
          for (const [what, attempt] of Object.entries(tries)) {
            const error = await attempt().then(
              () => undefined,
              (error) => error,
            );
            const next = (await loaded.classify(new Blob([jpeg]))).top(1)[0].label;
            errors[what] = { name: error?.name, message: error?.message, next: next === fine };
          }
          return errors;
        },
        PACKAGE,
        backend,
        {
          model: site.material("data/bright.onnx"),
          photo: site.material("data/images/photo.jpg"),
          refused: existsSync(join(ROOT, "../shared/models"))
            ? site.material("shared/models/super_resolution_10.onnx")
            : undefined,
        },
      );
      const expected = {
        text: "ImageError",
        truncated: "ImageError",
        huge: "ImageError",
        "missing image": "ImageError",
        number: "ImageError",
        "wrong shape": "ImageError",
        "wrong length": "ImageError",
        "damaged model": "ModelError",
        "no model": "ModelError",
        "missing model": "ModelError",
        "unknown operator": "UnsupportedError",
        ...(found["no classifier"] ? { "no classifier": "UnsupportedError" } : {}),
        class: "TargetError",
        layer: "TargetError",
        method: "TargetError",
        colormap: "TargetError",
        opacity: "TargetError",
        backend: "TargetError",
        abort: "AbortError",
      };
      for (const [what, name] of Object.entries(expected)) {
        assert.equal(found[what].name, name, `${what}: ${found[what].message}`);
        assert.ok(found[what].next, `after ${what}`);
      }
    });

    test("every kind of image source gives the same scores", async (t) => {
      const page = await open(t);
      const found = await page.evaluate(
        async (address, backend, model, image) => {
          const { loadModel } = await import(address);
          const loaded = await loadModel(model, { backend });
          const blob = await (await fetch(image)).blob();
          const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none" });
          const canvas = Object.assign(document.createElement("canvas"), {
            width: bitmap.width,
            height: bitmap.height,
          });
          const context = canvas.getContext("2d");
          context.drawImage(bitmap, 0, 0);
          const offscreen = new OffscreenCanvas(bitmap.width, bitmap.height);
          offscreen.getContext("2d").drawImage(bitmap, 0, 0);
          const element = Object.assign(new Image(), { src: image });
          const local = Object.assign(new Image(), { src: URL.createObjectURL(blob) });
          await local.decode();
          URL.revokeObjectURL(local.src);
          const sources = {
            address: image,
            url: new URL(image),
            blob,
            element,
            local,
            canvas,
            offscreen,
            bitmap,
            data: context.getImageData(0, 0, canvas.width, canvas.height),
            ...(globalThis.VideoFrame ? { frame: new VideoFrame(canvas, { timestamp: 0 }) } : {}),
          };
          const scores = {};
          for (const [kind, source] of Object.entries(sources)) scores[kind] = (await loaded.classify(source)).scores;
          return scores;
        },
        PACKAGE,
        backend,
        site.material("data/bright.onnx"),
        site.material("data/images/photo.png"),
      );
      for (const [kind, scores] of Object.entries(found)) {
        // A video frame goes through YUV in some browsers.
        const tolerance = kind === "frame" ? 0.02 : 2e-3;
        assert.ok(
          relativeDifference(scores, found.address) < tolerance,
          `${kind}: ${scores} instead of ${found.address}`,
        );
      }
    });

    test("a panic in mid-run is survived with model, image and settings kept", async (t) => {
      const page = await open(t);
      const found = await page.evaluate(
        async (address, backend, model, photo) => {
          const workers = [];
          // Where the package's workers can be reached, to send them the message that makes them panic.
          globalThis.Worker = class extends Worker {
            constructor(...args) {
              super(...args);
              workers.push(this);
            }
          };
          const { loadModel } = await import(address);
          const loaded = await loadModel(model, { backend });
          const prediction = await loaded.classify(photo);
          const before = await prediction.explain({ targetClass: "dark" });
          workers.at(-1).postMessage({ op: "panic", args: {} });
          const after = await prediction.explain({ targetClass: "dark" });
          const next = await loaded.classify(photo);
          return {
            before: before.map.values,
            after: after.map.values,
            target: after.targetClass,
            workers: workers.length,
            backend: loaded.backend,
            label: next.top(1)[0].label === prediction.top(1)[0].label,
          };
        },
        PACKAGE,
        backend,
        site.material("data/bright.onnx"),
        site.material("data/images/photo.jpg"),
      );
      assert.equal(found.workers, 2, "a second worker was started");
      assert.ok(relativeDifference(found.after, found.before) < 1e-3);
      assert.equal(found.target, 1);
      assert.equal(found.backend, backend);
      assert.ok(found.label);
    });
  });
}

test("without a GPU, auto takes the CPU and says why, and WebGPU is refused by name", async (t) => {
  const browser = await chromium();
  t.after(() => browser.close());
  const page = await browser.open(site.blank, t);
  const found = await page.evaluate(
    async (address, model) => {
      const { loadModel } = await import(address);
      const { backend, backendReason } = await loadModel(model);
      const error = await loadModel(model, { backend: "webgpu" }).catch((error) => error);
      return { backend, backendReason, name: error.name, message: error.message };
    },
    PACKAGE,
    site.material("data/bright.onnx"),
  );
  assert.deepEqual([found.backend, found.backendReason, found.name], ["cpu", "no WebGPU adapter", "DeviceError"]);
});

test("null stands for no options, and every value that can't be is refused by name", async (t) => {
  const browser = await chromium();
  t.after(() => browser.close());
  const page = await browser.open(site.blank, t);
  const { fine, refused } = await page.evaluate(
    async (address, file, photo) => {
      const { explainAll, loadModel } = await import(address);
      const model = await loadModel(file, null);
      const prediction = await model.classify(photo, null);
      const explanation = await prediction.explain(null);
      const canvas = new OffscreenCanvas(1, 1);
      explanation.draw(canvas, null);
      const concepts = await prediction.factorize({ concepts: 1 });
      concepts.draw(canvas, null);
      const all = [];
      for await (const { error } of explainAll(model, [photo], null)) all.push(error);
      const fine = [
        ...[await model.explain(photo, null), await prediction.units(null), await prediction.classesAt(9, 9, null)],
        ...[prediction.cellAt(9, 9, null), explanation.boxes(null), explanation.contours(null)],
        ...[await explanation.toBlob(null), await explanation.toSvg(null), await explanation.toFigure(null)],
        ...[await explanation.measure(null), await prediction.sanityCheck(null), !all[0]],
      ];
      const signal = 5;
      const tries = [
        () => model.classify(photo, { signal }),
        () => model.explain(photo, { signal }),
        () => prediction.explain({ signal }),
        () => prediction.sanityCheck({ signal }),
        () => prediction.factorize({ concepts: 1, signal }),
        () => prediction.units({ signal }),
        () => prediction.classesAt(9, 9, { signal }),
        () => explanation.measure({ signal }),
        () => prediction.classesAt(9, 9, { likeliest: -1 }),
        () => prediction.classesAt(9, 9, { likeliest: "abc" }),
        () => prediction.factorize({ concepts: 17 }),
        () => prediction.units({ count: 2 ** 32 }),
        async () => explanation.heatmapAt(0, 5),
        async () => explanation.heatmapAt(2 ** 32 + 5, 5),
        async () => explanation.heatmapAt(5, 2 ** 33),
      ];
      const refused = [];
      for (const attempt of tries) refused.push(await attempt().catch(({ name, message }) => `${name}: ${message}`));
      return { fine: fine.map(Boolean), refused };
    },
    PACKAGE,
    site.material("data/bright.onnx"),
    site.material("data/images/photo.jpg"),
  );
  assert.deepEqual(fine, Array(12).fill(true));
  const whole = (what) => `TargetError: The ${what}; a whole number from 1 to `;
  const expected = [
    ...Array(8).fill("TargetError: The signal is 5; an AbortSignal is accepted."),
    whole("number of likeliest classes is -1"),
    whole("number of likeliest classes is abc"),
    whole("number of concepts is 17"),
    whole("count of units is 4294967296"),
    "TargetError: A heatmap of 0 × 5 can't be had",
    ...Array(2).fill("TargetError: the heatmap is too large"),
  ];
  assert.deepEqual(
    refused.map((said, i) => String(said).slice(0, expected[i].length)),
    expected,
  );
});

test("a picture is kept in the last two smaller sizes that it was drawn in", async (t) => {
  const browser = await chromium();
  t.after(() => browser.close());
  const page = await browser.open(site.blank, t);
  const made = await page.evaluate(
    async (address, file, photo) => {
      const { loadModel } = await import(address);
      const explanation = await (await loadModel(file, { backend: "cpu" })).explain(photo);
      const canvas = new OffscreenCanvas(1, 1);
      // A smaller picture is drawn from the whole one.
      let count = 0;
      const { prototype } = OffscreenCanvasRenderingContext2D;
      const { drawImage } = prototype;
      prototype.drawImage = function (...given) {
        count++;
        drawImage.apply(this, given);
      };
      return [100, 50, 100, 50, 25, 50, 100].map((maxSize) => {
        count = 0;
        explanation.draw(canvas, { maxSize });
        return count > 0;
      });
    },
    PACKAGE,
    site.material("data/bright.onnx"),
    site.material("data/images/photo.jpg"),
  );
  assert.deepEqual(made, [true, true, false, false, true, false, true]);
});

test("auto refuses a GPU made of software, and says so", async (t) => {
  const browser = await chromium({ webgpu: true });
  t.after(() => browser.close());
  const page = await browser.open(site.blank, t);
  const found = await page.evaluate(
    async (address, model) => {
      const { loadModel } = await import(address);
      const { backend, backendReason } = await loadModel(model);
      return { backend, backendReason };
    },
    PACKAGE,
    site.material("data/bright.onnx"),
  );
  assert.deepEqual(found, { backend: "cpu", backendReason: "software adapter" });
});

/**
 * Opens a page on which the adapter made of software looks like a graphics card, and forward passes seem to take these
 * milliseconds: by default the card is fast.
 */
async function openWithCard(t, times = { webgpu: 2, cpu: 14 }) {
  const browser = await chromium({ webgpu: true });
  t.after(() => browser.close());
  const page = await browser.open(site.blank, t);
  await page.evaluate((times) => {
    const card = { vendor: "some", architecture: "card", device: "", description: "", isFallbackAdapter: false };
    for (const [name, value] of Object.entries(card))
      Object.defineProperty(GPUAdapterInfo.prototype, name, { get: () => value });
    globalThis.Worker = class extends Worker {
      postMessage(message, ...rest) {
        if (message.op === "start") this.backend = message.args.backend;
        super.postMessage(message, ...rest);
      }
      set onmessage(hear) {
        super.onmessage = (event) => {
          const { timings } = event.data.result ?? event.data.part ?? {};
          if (timings) timings.forward = times[this.backend];
          hear(event);
        };
      }
    };
  }, times);
  return page;
}

test("with a GPU, auto answers on the CPU until the GPU has run the network once", async (t) => {
  const page = await openWithCard(t);
  await page.evaluate(
    async (address, model, photo) => {
      globalThis.workers = [];
      globalThis.Worker = class extends Worker {
        constructor(...args) {
          super(...args);
          globalThis.workers.push(this);
        }
        terminate() {
          this.ended = true;
          super.terminate();
        }
      };
      const { loadModel } = await import(address);
      const loaded = await loadModel(model);
      const prediction = await loaded.classify(photo);
      const { map } = await prediction.explain({ targetClass: "dark" });
      const { backend, backendReason } = loaded;
      Object.assign(globalThis, { loaded, prediction, first: { map: map.values, backend, backendReason } });
    },
    PACKAGE,
    site.material("data/bright.onnx"),
    site.material("data/images/photo.jpg"),
  );
  await page.evaluate(() => globalThis.loaded.settled);
  await page.waitFor(() => globalThis.workers[0].ended);
  const found = await page.evaluate(async (photo) => {
    const { loaded, prediction, first } = globalThis;
    const { stepsRun } = loaded.stats;
    const next = await loaded.explain(photo, { targetClass: "dark" });
    const kept = await prediction.explain({ targetClass: "dark" });
    return {
      first,
      workers: globalThis.workers.length,
      reason: loaded.backendReason,
      next: next.map.values,
      kept: kept.map.values,
      scores: [prediction.scores, next.prediction.scores],
      ran: loaded.stats.stepsRun !== stepsRun,
    };
  }, site.material("data/images/photo.jpg"));
  assert.deepEqual([found.first.backend, found.first.backendReason], ["cpu", "until WebGPU on some card is ready"]);
  assert.deepEqual([found.reason, found.ran], ["WebGPU on some card: 2.0 ms a forward pass, 14 ms on the CPU", true]);
  for (const map of [found.next, found.kept]) assert.ok(relativeDifference(map, found.first.map) < 1e-3);
  assert.ok(relativeDifference(found.scores[1], found.scores[0]) < 1e-3);
  // The CPU's memory is free again.
  assert.equal(found.workers, 2);
  const after = await page.evaluate(async () => {
    globalThis.workers.at(-1).postMessage({ op: "panic", args: {} });
    const { map } = await globalThis.prediction.explain({ targetClass: "dark" });
    const { backend, backendReason } = globalThis.loaded;
    return { map: map.values, backend, backendReason };
  });
  assert.ok(relativeDifference(after.map, found.first.map) < 1e-3);
  assert.equal(after.backend, "cpu");
  assert.match(after.backendReason, /^the GPU failed: /);
});

test("what is under way when the GPU takes over is answered", async (t) => {
  const page = await openWithCard(t);
  const found = await page.evaluate(
    async (address, file, photo) => {
      const { loadModel } = await import(address);
      // Another network keeps the CPU's worker going.
      const [beside, model] = [await loadModel(file, { backend: "cpu" }), await loadModel(file)];
      const image = await (await fetch(photo)).blob();
      const backends = new Set();
      let isSettled = false;
      const askOnAndOn = async () => {
        while (!isSettled || !backends.has("webgpu")) {
          await (await model.classify(image)).explain();
          backends.add(model.backend);
        }
      };
      const asked = Promise.all([askOnAndOn(), askOnAndOn(), askOnAndOn()]);
      await model.settled;
      isSettled = true;
      await asked;
      return { backends: [...backends], beside: (await beside.classify(image)).scores.length };
    },
    PACKAGE,
    site.material("data/bright.onnx"),
    site.material("data/images/photo.jpg"),
  );
  assert.deepEqual(found, { backends: ["cpu", "webgpu"], beside: 2 });
});

for (const [what, webgpu] of [
  ["a GPU that is slower", 20],
  ["a GPU that is hardly faster", 12],
]) {
  test(`${what} does not take over, and both times are told`, async (t) => {
    const page = await openWithCard(t, { webgpu, cpu: 14 });
    const found = await page.evaluate(
      async (address, model, photo) => {
        const { loadModel } = await import(address);
        const loaded = await loadModel(model);
        await loaded.classify(photo);
        await loaded.settled;
        const { scores } = await loaded.classify(photo);
        // Asked for by name it is had all the same.
        const asked = await loadModel(model, { backend: "webgpu" });
        const { backend, backendReason } = loaded;
        return { backend, backendReason, scores: scores.length, asked: asked.backend };
      },
      PACKAGE,
      site.material("data/bright.onnx"),
      site.material("data/images/photo.jpg"),
    );
    assert.deepEqual(found, {
      backend: "cpu",
      backendReason: `14 ms a forward pass, ${webgpu} ms by WebGPU on some card`,
      scores: 2,
      asked: "webgpu",
    });
  });
}

test("a GPU is compared with the CPU also where nobody asked for an answer", async (t) => {
  const page = await openWithCard(t);
  const found = await page.evaluate(
    async (address, model) => {
      const { loadModel } = await import(address);
      const loaded = await loadModel(model);
      await loaded.settled;
      const { backend, backendReason } = loaded;
      return { backend, backendReason };
    },
    PACKAGE,
    site.material("data/bright.onnx"),
  );
  const backendReason = "WebGPU on some card: 2.0 ms a forward pass, 14 ms on the CPU";
  assert.deepEqual(found, { backend: "webgpu", backendReason });
});

test("on iOS auto stays on the CPU and says why", async (t) => {
  const page = await openWithCard(t);
  const found = await page.evaluate(
    async (address, model) => {
      const agent = "Mozilla/5.0 (iPhone; CPU iPhone OS 26_0 like Mac OS X) AppleWebKit/605.1.15";
      Object.defineProperty(navigator, "userAgent", { get: () => agent });
      const { loadModel } = await import(address);
      const [loaded, asked] = [await loadModel(model), await loadModel(model, { backend: "webgpu" })];
      const { backend, backendReason } = loaded;
      return { backend, backendReason, asked: asked.backend };
    },
    PACKAGE,
    site.material("data/bright.onnx"),
  );
  assert.deepEqual(found, { backend: "cpu", backendReason: "WebGPU on iOS only if asked for", asked: "webgpu" });
});

test("where the GPU does not start, auto stays on the CPU and says why", async (t) => {
  const page = await openWithCard(t);
  await page.evaluate(
    async (address, model, photo) => {
      const { fetch } = globalThis;
      globalThis.fetch = (file, ...rest) =>
        String(file).includes("/gpu/") ? Promise.reject(new Error("it is lost")) : fetch(file, ...rest);
      const { loadModel } = await import(address);
      globalThis.loaded = await loadModel(model);
      await globalThis.loaded.classify(photo);
    },
    PACKAGE,
    site.material("data/bright.onnx"),
    site.material("data/images/photo.jpg"),
  );
  await page.evaluate(() => globalThis.loaded.settled);
  const found = await page.evaluate(async (photo) => {
    const { backend } = (await globalThis.loaded.classify(photo)).model;
    return { backend, reason: globalThis.loaded.backendReason };
  }, site.material("data/images/photo.jpg"));
  assert.equal(found.backend, "cpu");
  assert.match(found.reason, /^the GPU failed its start: .*it is lost$/);
});
