// The package in bundlers that not every run has the time for, and in development servers: below a folder, with hashed names.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { cpSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import test, { after } from "node:test";
import { chromium } from "../web/browsers.js";
import { ROOT } from "../web/site.js";
import { project as packUp } from "../web/packed.js";
import { drawn, listen, serve } from "./look.js";
import { Missing, WORK, npm, run } from "./tools.js";

const skip = process.env.GRADCAM_DOCS !== "all" && "part of docs-test";
const BASE = "/docs/";
const QUIET = { NEXT_TELEMETRY_DISABLED: "1" };
const NEXT = ["next@16.4.6", "react@19", "react-dom@19"];

let browser, packed;
after(async () => {
  await browser?.close();
  packed?.remove();
});

const HTML =
  '<!doctype html><html lang="en"><meta charset="utf-8"><title>app</title><body><script type="module" src="./main.js"></script>';
const MAIN = `import { configure } from "gradcam-web";
if (globalThis.assets) configure({ assets: globalThis.assets });
document.body.append(document.createRange().createContextualFragment('<grad-cam controls><img src="${BASE}cat.jpg" alt="A cat"></grad-cam>'));
`;
const BESIDE_A_COPY = HTML.replace("<script", `<script>assets = "${BASE}gradcam-web/"</script><script`);
const LIKE_WEBPACK = `export default { mode: "development", entry: "./main.js", output: { filename: "main.js", publicPath: "${BASE}" },
devServer: { static: { directory: ".", publicPath: "${BASE}" } } };`;

/** @type {{ name: string, packages: string[], files?: object, build?(project: string, bin: string): Promise<string>, serve?(bin: string, port: number, project: string): string[] }[]} */
const BUNDLERS = [
  ...[6, 7, 8].map((version) => ({
    name: `Vite ${version}`,
    packages: [`vite@${version}`],
    // As README says: the newest wants nothing.
    files: {
      "vite.config.js": `export default { base: "${BASE}"${version < 8 ? ', optimizeDeps: { exclude: ["gradcam-web"] }' : ""} };`,
    },
    async build(project, bin) {
      await run([join(bin, "vite"), "build"], { cwd: project });
      return join(project, "dist");
    },
    serve: (bin, port) => [join(bin, "vite"), "--port", port, "--strictPort", "--host", "127.0.0.1"],
  })),
  {
    name: "webpack",
    packages: ["webpack@5", "webpack-cli@6", "webpack-dev-server@5"],
    files: { "webpack.config.js": LIKE_WEBPACK },
    serve: (bin, port) => [join(bin, "webpack"), "serve", "--port", port, "--host", "127.0.0.1"],
  },
  {
    name: "Rspack",
    packages: ["@rspack/core@2", "@rspack/cli@2", "@rspack/dev-server@2"],
    files: { "rspack.config.js": LIKE_WEBPACK },
    async build(project, bin) {
      await run([join(bin, "rspack"), "build", "--mode", "production"], { cwd: project });
      cpSync(join(project, "index.html"), join(project, "dist/index.html"));
      return join(project, "dist");
    },
    serve: (bin, port) => [join(bin, "rspack"), "serve", "--port", port, "--host", "127.0.0.1"],
  },
  {
    name: "esbuild, beside a copy of the package's files",
    packages: ["esbuild@0.28"],
    files: { "docs/index.html": BESIDE_A_COPY },
    serve(bin, port, project) {
      cpSync(join(project, "node_modules/gradcam-web"), join(project, "docs/gradcam-web"), { recursive: true });
      const options = ["--bundle", "--format=esm", "--outdir=docs", "--servedir=."];
      return [join(bin, "esbuild"), "main.js", ...options, `--serve=127.0.0.1:${port}`];
    },
  },
  {
    name: "Rollup, beside a copy of the package's files",
    packages: ["rollup@4", "@rollup/plugin-node-resolve@16"],
    files: {
      "rollup.config.js": `import resolve from "@rollup/plugin-node-resolve";
export default { input: "main.js", output: { dir: "dist", format: "es", entryFileNames: "main.js", chunkFileNames: "[name]-[hash].js" }, plugins: [resolve({ browser: true })] };`,
      "index.html": BESIDE_A_COPY,
    },
    async build(project, bin) {
      await run([join(bin, "rollup"), "--config"], { cwd: project });
      cpSync(join(project, "index.html"), join(project, "dist/index.html"));
      cpSync(join(project, "node_modules/gradcam-web"), join(project, "dist/gradcam-web"), { recursive: true });
      return join(project, "dist");
    },
  },
  {
    name: "Parcel",
    packages: ["parcel@2"],
    async build(project, bin) {
      const options = ["--public-url", BASE, "--dist-dir", "dist", "--no-cache", "--no-source-maps"];
      await run([join(bin, "parcel"), "build", "index.html", ...options], { cwd: project });
      return join(project, "dist");
    },
    serve(bin, port) {
      const options = ["--public-url", BASE, "--dist-dir", "dist", "--no-cache"];
      return [join(bin, "parcel"), "serve", "index.html", ...options, "--port", port, "--host", "127.0.0.1"];
    },
  },
  {
    name: "Next",
    packages: NEXT,
    files: {
      "next.config.js": `export default { output: "export", basePath: "${BASE.slice(0, -1)}", turbopack: { root: import.meta.dirname } };`,
      "app/layout.jsx": `export const metadata = { title: "app" };
export default function Layout({ children }) { return <html lang="en"><body>{children}</body></html>; }`,
      "app/page.jsx": `import Figure from "./figure";
export default function Page() { return <Figure />; }`,
      "app/figure.jsx": `"use client";
import "gradcam-web";
export default function Figure() { return <grad-cam controls=""><img src="${BASE}cat.jpg" alt="A cat" /></grad-cam>; }`,
    },
    async build(project, bin) {
      await run([join(bin, "next"), "build"], { cwd: project, env: QUIET });
      return join(project, "out");
    },
    serve: (bin, port) => [join(bin, "next"), "dev", "--port", port, "--hostname", "127.0.0.1"],
    page: "",
  },
];

/** A project with the package installed, new each time. */
async function setUp({ name, packages, files = {} }) {
  const slug = name.replace(/\W+/g, "-").toLowerCase();
  const installed = join(await npm(slug, packages), "node_modules");
  const project = join(WORK, "projects", slug);
  rmSync(project, { recursive: true, force: true });
  const all = {
    "package.json": '{ "private": true, "type": "module" }',
    "index.html": HTML,
    "main.js": MAIN,
    ...files,
  };
  for (const [path, text] of Object.entries(all)) {
    mkdirSync(dirname(join(project, path)), { recursive: true });
    writeFileSync(join(project, path), text);
  }
  // Next keeps to the project's folder.
  if (packages === NEXT) cpSync(installed, join(project, "node_modules"), { recursive: true, verbatimSymlinks: true });
  else {
    mkdirSync(join(project, "node_modules"));
    for (const entry of readdirSync(installed).filter((entry) => entry !== ".vite"))
      symlinkSync(join(installed, entry), join(project, "node_modules", entry));
  }
  packed ??= packUp([]);
  cpSync(join(packed.folder, "package"), join(project, "node_modules/gradcam-web"), { recursive: true });
  for (const place of ["", "public", "docs", "dist"])
    cpSync(join(ROOT, "www/samples/lighthouse.jpg"), join(project, place, "cat.jpg"));
  return { project, bin: join(project, "node_modules/.bin") };
}

async function look(t, address) {
  browser ??= await chromium();
  const page = await browser.open("about:blank", t);
  const said = listen(page.driver);
  await page.driver.goto(address);
  await page.driver.waitForSelector("grad-cam");
  await drawn(page.driver, {});
  assert.deepEqual(said(), [], "the console");
}

async function orSkip(t, task) {
  try {
    await task();
  } catch (error) {
    if (!(error instanceof Missing)) throw error;
    t.skip(error.message);
  }
}

for (const bundler of BUNDLERS) {
  if (bundler.build)
    test(`${bundler.name} builds it`, { skip }, (t) =>
      orSkip(t, async () => {
        const { project, bin } = await setUp(bundler);
        const folder = await bundler.build(project, bin);
        cpSync(join(project, "cat.jpg"), join(folder, "cat.jpg"));
        const site = await serve(folder, BASE);
        t.after(() => site.close());
        await look(t, `${site.url}index.html`);
      }),
    );
  if (bundler.serve)
    test(`${bundler.name} serves it while developing`, { skip }, (t) =>
      orSkip(t, async () => {
        const { project, bin } = await setUp(bundler);
        const port = 20_000 + Math.floor(20_000 * Math.random());
        const [program, ...options] = bundler.serve(bin, port, project).map(String);
        // Some stop once nobody could type a word to them.
        const stdio = ["pipe", "ignore", "ignore"];
        const server = spawn(program, options, { cwd: project, env: { ...process.env, ...QUIET }, stdio });
        t.after(() => server.kill());
        const address = `http://127.0.0.1:${port}${BASE}`;
        for (const end = Date.now() + 120_000; ; await new Promise((resolve) => setTimeout(resolve, 200))) {
          if ((await fetch(address).catch(() => undefined))?.ok) break;
          assert.ok(Date.now() < end, `nothing is served at ${address}`);
        }
        await look(t, address + (bundler.page ?? "index.html"));
      }),
    );
}
