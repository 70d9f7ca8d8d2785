// The package for Python: its own tests, and its wheel in a notebook that has no network.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { cpSync, existsSync, readdirSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import test from "node:test";
import { chromium } from "../web/browsers.js";
import { ROOT } from "../web/site.js";
import { SPHINX } from "./setups.js";
import { Missing, WORK, npm, python, run } from "./tools.js";

const ALL = process.env.GRADCAM_DOCS === "all";
const NOTEBOOK = ["jupyterlab==4.6.6", "anywidget==0.11.0", "ipykernel==7.4.0", "numpy==2.4.6", "pillow==13.0.0"];
const MARIMO = ["marimo==0.25.2", "anywidget==0.11.0", "numpy==2.4.6", "pillow==13.0.0"];
/** What pages of nbconvert take from CDNs. */
const NBCONVERT = ["@jupyter-widgets/html-manager@1.0.15", "anywidget@0.11.0", "requirejs@2.3.7"];

/** The programs of an environment, or undefined where it can't be had, which is told. */
async function programs(t, name, packages) {
  try {
    return await python(name, packages);
  } catch (error) {
    if (!(error instanceof Missing)) throw error;
    t.skip(`${name} ${error.message}`);
  }
}

test("the widget and the Sphinx directive pass their own tests", async (t) => {
  const bin = await programs(t, "sphinx", SPHINX);
  if (!bin) return;
  const said = await run([join(bin, "python"), "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"], {
    cwd: join(ROOT, "python"),
    env: { PYTHONPATH: join(ROOT, "python/src"), PYTHONDONTWRITEBYTECODE: "1" },
  });
  assert.match(said, /\d+ passed/);
});

const skip = !ALL && "part of docs-test";

/** An environment with the wheel, and a folder with a copy of an example and its picture. */
async function workplace(t, name, packages) {
  const bin = await programs(t, name, packages);
  if (!bin) return undefined;
  const folder = join(WORK, "projects", `${name}-${t.name.replace(/\W+/g, "-")}`);
  rmSync(folder, { recursive: true, force: true });
  cpSync(join(ROOT, "examples", name), folder, { recursive: true });
  cpSync(join(ROOT, "www/samples/lighthouse.jpg"), join(folder, "cat.jpg"));
  await run([join(bin, "pip"), "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, join(ROOT, "python")]);
  const [wheel] = readdirSync(folder).filter((file) => file.endsWith(".whl"));
  await run([join(bin, "pip"), "install", "--quiet", "--no-deps", "--force-reinstall", join(folder, wheel)]);
  return { bin, folder, env: { PATH: `${bin}:${process.env.PATH}`, JUPYTER_CONFIG_DIR: join(folder, "config") } };
}

/** Starts a server and waits until it answers. */
async function started(t, command, { folder, env }, address) {
  const server = spawn(command[0], command.slice(1), { cwd: folder, env: { ...process.env, ...env }, stdio: "ignore" });
  t.after(() => server.kill());
  for (const end = Date.now() + 180_000; ; await new Promise((resolve) => setTimeout(resolve, 500))) {
    if ((await fetch(address).catch(() => undefined))?.ok) return;
    assert.ok(Date.now() < end, `nothing answers at ${address}`);
  }
}

/** A page that reaches this machine alone; `outside` has what else was asked for. */
async function offline(t) {
  const browser = await chromium();
  t.after(() => browser.close());
  const { driver } = await browser.open("about:blank", t);
  const outside = [];
  await driver.route(
    (url) => url.protocol.startsWith("http") && url.hostname !== "127.0.0.1",
    (route) => (outside.push(route.request().url()), route.abort()),
  );
  return { driver, outside };
}

test("the wheel draws in JupyterLab without a network, and answers Python", { skip }, async (t) => {
  const place = await workplace(t, "notebook", NOTEBOOK);
  if (!place) return;
  const port = await freePort();
  const options = ["--no-browser", "--allow-root", "--expose-app-in-browser", `--port=${port}`, "--ServerApp.token="];
  await started(t, [join(place.bin, "jupyter-lab"), ...options], place, `http://127.0.0.1:${port}/api`);
  const { driver, outside } = await offline(t);
  const address = `http://127.0.0.1:${port}/lab/tree/figure.ipynb`;
  await driver.goto(address, { waitUntil: "commit", timeout: 120_000 });
  await driver.waitForSelector(".jp-Notebook .jp-CodeCell", { timeout: 240_000 });
  // A cell that is run before there is a kernel waits for ever.
  const idle = () => document.querySelector(".jp-StatusBar-Left")?.textContent.includes("Idle");
  await driver.waitForFunction(idle, undefined, { timeout: 180_000 });
  // Each cell of code has one of text before it.
  const runNext = async () => {
    for (const name of Array(2).fill("notebook:run-cell-and-select-next"))
      await driver.evaluate((name) => void globalThis.jupyterapp.commands.execute(name), name);
  };
  const figure = (state) => driver.waitForFunction(state, undefined, { timeout: 240_000 });
  await runNext();
  await figure(() => document.querySelector("grad-cam")?.explanation?.method === "grad-cam");
  const shown = await driver.evaluate(() => {
    const { prediction, explanation } = document.querySelector("grad-cam");
    const { width, height } = explanation.heatmap;
    return `${explanation.targetClass} ${prediction.scores.length} (${height}, ${width}) 1.0`;
  });
  await runNext();
  const output = driver.locator(".jp-CodeCell").nth(1).locator(".jp-OutputArea-output");
  await output.waitFor();
  assert.equal((await output.textContent()).trim(), shown);
  await runNext();
  await figure(() => document.querySelector("grad-cam")?.explanation?.method === "layercam");
  assert.equal(await driver.evaluate(() => document.querySelector("grad-cam").opacity), 0.25);
  assert.deepEqual(
    outside.filter((url) => url.includes("gradcam")),
    [],
  );
});

test("a notebook that nbconvert made a page draws from the CDN", { skip }, async (t) => {
  const place = await workplace(t, "notebook", NOTEBOOK);
  if (!place) return;
  const { folder, bin, env } = place;
  await run([join(bin, "jupyter-nbconvert"), "--to", "html", "--execute", "figure.ipynb"], { cwd: folder, env });
  const modules = join(await npm("nbconvert", NBCONVERT), "node_modules");
  const browser = await chromium();
  t.after(() => browser.close());
  const { driver } = await browser.open("about:blank", t);
  // The page on a host of its own, and what it asks CDNs for.
  const hosts = [
    [/^https:\/\/notes\.example\//, folder],
    [/^https:\/\/cdn\.jsdelivr\.net\/npm\/gradcam-web@[\d.]+\//, join(ROOT, "pkg")],
    [
      /^https:\/\/(unpkg\.com|cdn\.jsdelivr\.net\/npm)\/@jupyter-widgets\/html-manager@[^/]+\//,
      `${modules}/@jupyter-widgets/html-manager`,
    ],
    [/^https:\/\/(unpkg\.com|cdn\.jsdelivr\.net\/npm)\/anywidget@[^/]+\//, `${modules}/anywidget`],
    [/^https:\/\/cdnjs\.cloudflare\.com\/ajax\/libs\/require\.js\/[^/]+\//, `${modules}/requirejs`],
  ];
  const others = [];
  await driver.route(
    (url) => url.protocol.startsWith("http"),
    (route) => {
      const address = route.request().url().split("?")[0];
      const [host, root] = hosts.find(([host]) => host.test(address)) ?? [];
      if (!host) return (others.push(address), route.abort());
      const path = join(root, address.replace(host, "").replace(/^require\.min\.js$/, "require.js"));
      // require.js looks beside the page first.
      if (!existsSync(path)) return route.fulfill({ status: 404 });
      return route.fulfill({ path, headers: { "access-control-allow-origin": "*" } });
    },
  );
  await driver.goto("https://notes.example/figure.html", { waitUntil: "commit" });
  await driver.waitForFunction(() => document.querySelector("grad-cam")?.explanation, undefined, { timeout: 240_000 });
  const shown = await driver.evaluate(() => {
    const { explanation, opacity } = document.querySelector("grad-cam");
    return [explanation.method, opacity];
  });
  assert.deepEqual(shown, ["layercam", 0.25]);
  // A reader's browser would ask whether the page may look at this computer.
  assert.deepEqual(
    others.filter((url) => url.includes("127.0.0.1")),
    [],
  );
});

test("the wheel draws in marimo without a network, and answers Python", { skip }, async (t) => {
  const place = await workplace(t, "marimo", MARIMO);
  if (!place) return;
  const port = await freePort();
  const options = ["run", "figure.py", "--headless", "--no-token", "--host", "127.0.0.1", "--port", String(port)];
  await started(t, [join(place.bin, "marimo"), ...options], place, `http://127.0.0.1:${port}/`);
  const { driver, outside } = await offline(t);
  await driver.goto(`http://127.0.0.1:${port}/`, { waitUntil: "commit", timeout: 120_000 });
  // marimo puts it below a shadow root, which locators look into.
  const figure = driver.locator("grad-cam").first();
  await figure.waitFor({ timeout: 240_000 });
  const label = await figure.evaluate(async (element) => {
    const { targetClass, prediction } =
      element.explanation ??
      (await new Promise((resolve, reject) => {
        element.addEventListener("explain", ({ detail }) => resolve(detail));
        element.addEventListener("error", ({ detail }) => reject(detail));
      }));
    return prediction.model.labels[targetClass];
  });
  await driver.getByText(`The network says: ${label}`).waitFor({ timeout: 120_000 });
  assert.deepEqual(
    outside.filter((url) => url.includes("gradcam")),
    [],
  );
});

function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject).listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}
