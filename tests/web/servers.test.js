// What a server can do wrong with any file of a figure: it is right all the same, or a named error, and right once the server is.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after } from "node:test";
import { ERROR_NAMES } from "../../pkg/errors.js";
import { testIn } from "./browsers.js";
import { serveSite } from "./site.js";

/** What the server does, and with which files. @type {{ part: string, answer: Function } | undefined} */
let broken;
let met = 0;
const site = await serveSite({
  fault(request, response) {
    if (!broken || !request.url.includes(broken.part)) return false;
    met++;
    broken.answer(response);
    return true;
  },
});
after(() => site.close());
const PACKAGE = site.material("package/index.js");
// Firefox takes seconds for a forward pass on some processors (bench/NOTES.md).
const test = testIn(process.env.GRADCAM_FAULTS ? ["chromium"] : ["chromium", "webkit"]);

const whole = (response, status, type, body) => {
  response.writeHead(status, { "content-type": type, "cache-control": "no-store" });
  response.end(body);
};
/** Of each kind a function that answers so. */
const FAULTS = {
  404: (response) => whole(response, 404, "text/plain", "not here"),
  "500 in HTML": (response) => whole(response, 500, "text/html", "<h1>An error</h1>"),
  "a page in its place": (response) => whole(response, 200, "text/html", "<!doctype html><title>Log in</title>"),
  nothing: (response) => whole(response, 200, "application/octet-stream", ""),
  "other bytes": (response) => whole(response, 200, "application/octet-stream", Buffer.alloc(5000, 0xa5)),
  204: (response) => response.writeHead(204).end(),
  "hanging up": (response) => response.destroy(),
  "hanging up in the middle": (response) => {
    response.writeHead(200, { "content-type": "application/octet-stream", "content-length": 100_000 });
    response.write(Buffer.alloc(1000, 8), () => setTimeout(() => response.destroy(), 20));
  },
  "turning in a circle": (response) => response.writeHead(302, { location: "?" + met }).end(),
};
/** The files that a figure fetches. */
const PARTS = [
  "/worker.js",
  "/relaxed/gradcam_web_bg.wasm",
  "/decode/gradcam_web_bg.wasm",
  "/view/gradcam_web_bg.wasm",
  "/view/gradcam_web.js",
  "/everyday/model.json",
  "/everyday/labels.json",
  "/everyday/everyday.onnx",
  "/photo.jpg",
  "/element-controls.js",
  "/sizes.js",
];

/** How many of the combinations are tried; all of them by `GRADCAM_FAULTS=1000`. */
const COUNT = Number(process.env.GRADCAM_FAULTS ?? 5);
const ALL = PARTS.flatMap((part) => Object.keys(FAULTS).map((fault) => ({ part, fault })));
// Spread over both.
const chosen = ALL.filter((_, i) => COUNT >= ALL.length || (i * 7) % ALL.length < COUNT);

test(`${chosen.length} faults of a server are survived`, async (t, browser) => {
  const outcomes = {};
  for (const { part, fault } of chosen) {
    [broken, met] = [{ part, answer: FAULTS[fault] }, 0];
    let page = await browser.open(site.blank, t);
    const explain = () =>
      page.evaluate(
        async (address, model, photo) => {
          const within = (promise) =>
            Promise.race([promise, new Promise((resolve) => setTimeout(resolve, 60_000, "hung"))]);
          const explained = async () => {
            const figure = document.createElement("grad-cam");
            Object.assign(figure, {
              src: photo,
              alt: "a photo",
              model,
              backend: "cpu",
              loading: "eager",
              controls: true,
            });
            const ends = new Promise((resolve) => {
              figure.addEventListener("explain", ({ detail }) => resolve([...detail.map.values].join()), {
                once: true,
              });
              figure.addEventListener("error", ({ detail }) => resolve(detail?.name ?? "an unnamed error"), {
                once: true,
              });
            });
            document.body.replaceChildren(figure);
            return ends;
          };
          const { PATIENCE } = await import(new URL("worker-client.js", address)).catch(() => ({ PATIENCE: {} }));
          PATIENCE.start = 2_500;
          // A script that does not come is the browser's own error, before there is anything of the package.
          return within(import(address).then(explained, (error) => error.name));
        },
        PACKAGE,
        site.material("models/everyday/model.json"),
        site.material("data/images/photo.jpg"),
      );
    const first = await explain();
    broken = undefined;
    // A script that did not come stays away until the page is loaded again: browsers remember that.
    if (part.endsWith(".js")) {
      await page.close();
      page = await browser.open(site.blank, t);
    }
    const second = await explain();
    const named = ERROR_NAMES.includes(first);
    const early = part.endsWith(".js") && /^(Type|Syntax|Reference)Error$/.test(first);
    const isFine = (named || early || first === second) && second.includes(",");
    const outcome = isFine
      ? named || early
        ? "named"
        : "right"
      : `${part}, ${fault}: ${first.slice(0, 40)}, then ${second.slice(0, 40)}`;
    outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
    await page.close();
  }
  t.diagnostic(JSON.stringify(outcomes));
  assert.deepEqual(
    Object.keys(outcomes).filter((outcome) => !["named", "right"].includes(outcome)),
    [],
  );
});

test("a server that falls silent is given up, at once or in the middle of a file", async (t, browser) => {
  const silences = {
    "at once": () => {},
    "in the middle": (response) => {
      response.writeHead(200, { "content-type": "application/octet-stream", "content-length": 1_500_000 });
      response.write(Buffer.alloc(1000, 8));
    },
  };
  const engine = `/${browser.name === "webkit" ? "cpu" : "relaxed"}/gradcam_web_bg.wasm`;
  for (const [part, silence, expected] of [
    [
      "/everyday.onnx",
      "at once",
      /^ModelError: Can't fetch the model: .*\/everyday\.onnx was silent: nothing came for 5 s\.$/,
    ],
    ["/everyday.onnx", "in the middle", /^ModelError: .* was silent: nothing came for 1 s\.$/],
    ["/photo.jpg", "at once", /^ImageError: Can't fetch the image: .* nothing came for 5 s\.$/],
    ["/photo.jpg", "in the middle", /^ImageError: .* nothing came for 1 s\.$/],
    [engine, "at once", /^DeviceError: .*\.wasm can't be had: nothing came for 5 s/],
    [engine, "in the middle", /^DeviceError: .*\.wasm can't be had: /],
  ]) {
    const page = await browser.open(site.blank, t);
    const explain = () =>
      page.evaluate(
        async (address, model, photo) => {
          const { loadModel } = await import(address);
          const { SILENCE } = await import(new URL("download.js", address));
          SILENCE.limit = 1_000;
          const explained = async () => {
            const loaded = await loadModel(model, { backend: "cpu" });
            return [...(await loaded.explain(photo)).map.values].join();
          };
          return explained().catch(({ name, message }) => `${name}: ${message}`);
        },
        PACKAGE,
        site.material("models/everyday/model.json"),
        site.material("data/images/photo.jpg"),
      );
    broken = { part, answer: silences[silence] };
    const first = await explain();
    broken = undefined;
    assert.match(first, expected, `${part}, ${silence}`);
    assert.match(await explain(), /^[\d.e-]+,/, `${part}, ${silence}, after that`);
    await page.close();
  }
});

test("a server that is slow is waited for", async (t, browser) => {
  const file = readFileSync(new URL("../../www/models/everyday/everyday.onnx", import.meta.url));
  broken = {
    part: "/everyday.onnx",
    answer: async (response) => {
      response.writeHead(200, { "content-type": "application/octet-stream", "content-length": file.length });
      for (let at = 0; at < file.length; at += file.length / 10) {
        response.write(file.subarray(at, at + file.length / 10));
        await new Promise((resolve) => setTimeout(resolve, 250));
      }
      response.end();
    },
  };
  const page = await browser.open(site.blank, t);
  const classes = await page.evaluate(
    async (address, model) => {
      const { loadModel } = await import(address);
      const { SILENCE } = await import(new URL("download.js", address));
      SILENCE.limit = 1_500;
      return (await loadModel(model, { backend: "cpu" })).labels.length;
    },
    PACKAGE,
    site.material("models/everyday/model.json"),
  );
  broken = undefined;
  assert.equal(classes, 100);
});
