// The package as users have it: what `npm pack` takes, built by their bundlers and served below a folder, drawn in Chromium.

import assert from "node:assert/strict";
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test, { after } from "node:test";
import { chromium } from "./browsers.js";
import { TOOLS, project } from "./packed.js";
import { serveSite } from "./site.js";

const { folder, run, remove } = project(["vite", "esbuild", "webpack", "webpack-cli"]);
writeFileSync(
  join(folder, "index.html"),
  "<!doctype html><meta charset=utf-8><title>app</title><link rel=icon href=data:,><body><script type=module src=./main.js></script>",
);
writeFileSync(
  join(folder, "main.js"),
  `import { configure, loadModel } from "gradcam-web";
   if (globalThis.assets) configure({ assets: globalThis.assets });
   const figure = document.createElement("grad-cam");
   Object.assign(figure, { alt: "a photo", loading: "eager", src: globalThis.photo });
   const drawn = new Promise((resolve, reject) => {
     figure.addEventListener("explain", ({ detail }) => resolve(detail.prediction.top(1)[0].label));
     figure.addEventListener("error", ({ detail }) => reject(detail));
   });
   document.body.append(figure);
   globalThis.done = drawn.then(async (label) => {
     const model = await loadModel(globalThis.model, { backend: "cpu" });
     const { targetClass } = await model.explain(globalThis.photo);
     return { label, targetClass };
   });`,
);

let site, browser;
after(async () => {
  await browser?.close();
  await site?.close();
  remove();
});

/** Opens what a bundler wrote, and returns what it drew. @param {string} path of the page below the folder */
async function draw(t, path, { assets } = {}) {
  site ??= await serveSite({ material: { built: folder } });
  browser ??= await chromium();
  const page = await browser.open(site.blank, t);
  const problems = [];
  page.driver.on("console", (message) => {
    // The empty page that was open before has no icon.
    const isOfBuild = !message.location().url.endsWith("/favicon.ico");
    if (message.type() === "error" && isOfBuild) problems.push(`${message.text()} ${message.location().url}`);
  });
  page.driver.on("pageerror", (error) => problems.push(String(error)));
  page.driver.on("response", (response) => response.status() >= 400 && problems.push(response.url()));
  const given = {
    photo: site.material("data/images/photo.jpg"),
    model: site.material("data/bright.onnx"),
    assets: assets && site.material(`built/${assets}`),
  };
  await page.driver.addInitScript((given) => Object.assign(globalThis, given), given);
  await page.driver.goto(site.material(`built/${path}`));
  const found = await page.evaluate(() => globalThis.done);
  assert.equal(typeof found.label, "string");
  assert.equal(found.targetClass, 1);
  assert.deepEqual(problems, []);
}

test("vite builds it", async (t) => {
  run("node", [join(TOOLS, "node_modules/vite/bin/vite.js"), "build", "--base", "./", "--outDir", "vite"]);
  await draw(t, "vite/index.html");
});

test("webpack builds it", async (t) => {
  writeFileSync(
    join(folder, "webpack.config.cjs"),
    `module.exports = { mode: "production", entry: "./main.js", output: { path: __dirname + "/webpack", filename: "main.js", publicPath: "auto" } };`,
  );
  run("node", [join(TOOLS, "node_modules/webpack-cli/bin/cli.js"), "--config", "webpack.config.cjs"]);
  writeFileSync(join(folder, "webpack/index.html"), readFileSync(join(folder, "index.html")));
  await draw(t, "webpack/index.html");
});

test("esbuild builds it, beside a copy of the package's files", async (t) => {
  const { build } = await import(join(TOOLS, "node_modules/esbuild/lib/main.js"));
  await build({
    entryPoints: [join(folder, "main.js")],
    outfile: join(folder, "esbuild/main.js"),
    bundle: true,
    format: "esm",
    logLevel: "error",
  });
  writeFileSync(join(folder, "esbuild/index.html"), readFileSync(join(folder, "index.html")));
  cpSync(join(folder, "package"), join(folder, "esbuild/gradcam-web"), { recursive: true });
  await draw(t, "esbuild/index.html", { assets: "esbuild/gradcam-web/" });
});

test("who has no use for the element gets a bundle without it", async () => {
  const { build } = await import(join(TOOLS, "node_modules/esbuild/lib/main.js"));
  const bundle = async (entry) => {
    const contents = `import { loadModel } from "${entry}"; globalThis.load = loadModel;`;
    const stdin = { contents, resolveDir: folder };
    const { outputFiles } = await build({ stdin, bundle: true, format: "esm", write: false, logLevel: "error" });
    return outputFiles[0].text;
  };
  assert.match(await bundle("gradcam-web"), /customElements\.define/);
  assert.doesNotMatch(await bundle("gradcam-web/api.js"), /customElements\.define|attachShadow/);
});

for (const dom of ["jsdom", "happy-dom"]) {
  test(`in ${dom} it does nothing and throws nothing`, () => {
    writeFileSync(
      join(folder, `${dom}.mjs`),
      `import * as simulated from ${JSON.stringify(join(TOOLS, "node_modules", dom, dom === "jsdom" ? "lib/api.js" : "lib/index.js"))};
       const page = "<!doctype html><body></body>";
       const options = { url: "http://localhost/", pretendToBeVisual: true };
       const window = ${dom === "jsdom" ? "new simulated.JSDOM(page, options).window" : "new simulated.Window(options)"};
       const names = ["document", "HTMLElement", "customElements", "CSSStyleSheet", "CustomEvent", "Node", "Element", "Image",
         "IntersectionObserver", "location", "Event", "HTMLCanvasElement", "Blob", "URL", "AbortController", "AbortSignal",
         "MutationObserver", "getComputedStyle", "navigator"];
       for (const name of names)
         if (window[name] !== undefined) Object.defineProperty(globalThis, name, { value: window[name], configurable: true, writable: true });
       globalThis.window = window;
       const fail = (error) => { console.log(error?.stack ?? error); process.exit(1); };
       process.on("uncaughtException", fail);
       window.addEventListener("error", ({ error }) => fail(error));
       const { GradCamElement } = await import("gradcam-web");
       const figure = document.createElement("grad-cam");
       figure.setAttribute("src", "a.png");
       document.body.append(figure);
       figure.src = new Blob(["no picture"]);
       const slotted = document.createElement("div");
       slotted.innerHTML = '<grad-cam controls caption loading="eager"><img src="b.png" alt="b" width="20"></grad-cam>';
       document.body.append(slotted);
       slotted.firstChild.querySelector("img").src = "c.png";
       await new Promise((resolve) => setTimeout(resolve, 300));
       slotted.remove();
       figure.removeAttribute("src");
       await new Promise((resolve) => setTimeout(resolve, 50));
       console.log(figure instanceof GradCamElement ? "fine" : "not upgraded");
       process.exit(0);`,
    );
    assert.equal(String(run("node", [`${dom}.mjs`])).trim(), "fine");
  });
}
