// Three browser engines with one small interface, so that one test body runs in each.
//
// `chromium()`, `firefox()` and `webkit()` start a browser, before the file's first test (node:test begins with it at once);
// where one is missing, `missing(name)` is the reason to skip.

import { spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { basename, extname, join } from "node:path";
import { readFile } from "node:fs/promises";
import test, { after } from "node:test";
import { chromium as playwright } from "playwright-core";
import puppeteer from "puppeteer-core";
import { ROOT } from "./site.js";

/**
 * @typedef {object} Browser
 * @property {string} name
 * @property {(url: string, test?: import("node:test").TestContext) => Promise<Page>} open a fresh page, which is closed
 *   with its test; if that fails, a picture of the page is left in `target/failed/`
 * @property {() => Promise<void>} close
 *
 * @typedef {object} Page
 * @property {<T>(task: (...values: any[]) => T | Promise<T>, ...values: any[]) => Promise<T>} evaluate runs a function
 *   in the page; it sees nothing of the test but its arguments, and both they and its result are plain data
 * @property {(condition: (...values: any[]) => any, ...values: any[]) => Promise<any>} waitFor until the condition
 *   holds in the page; returns what it returned
 * @property {(selector: string, ...files: (string | { name: string, type?: string, bytes: Uint8Array })[]) => Promise<void>} drop
 *   drops files on an element, as a person would; a string is a path from the repository's root
 * @property {() => string[]} requests the addresses that the page and its workers asked for, data: and blob: left out;
 *   Firefox leaves some out, WebKit all
 * @property {() => Promise<Buffer>} screenshot a PNG
 * @property {() => Promise<void>} close
 * @property {any} driver the page of the library underneath
 */

/** How long a test may wait for one thing. The software GPU takes a minute for what a real one does in a second. */
const PATIENCE = 240_000;

/** Why a browser's tests can't run here; `false` if they can. @param {"firefox" | "webkit"} name */
export function missing(name) {
  if (name === "firefox" && !process.env.FIREFOX) return "needs Firefox (Debian: firefox-esr), or $FIREFOX";
  if (name === "webkit" && !process.env.MINIBROWSER) {
    return "needs WebKitGTK's MiniBrowser (Debian: webkit2gtk-driver libwebkit2gtk-4.1-0 xvfb)";
  }
  return false;
}

/**
 * Makes one test of each engine, in the given order. An engine starts with its first test, and ends with the file.
 *
 * @param {("chromium" | "firefox" | "webkit")[]} [names]
 * @returns {(title: string, body: (test: import("node:test").TestContext, browser: Browser) => Promise<void>,
 *   options?: { skip?: boolean }) => void}
 */
export function testIn(names = ["chromium", "firefox", "webkit"]) {
  const engines = { chromium, firefox, webkit };
  const started = {};
  after(() => Promise.all(Object.values(started).map(async (browser) => (await browser).close())));
  return (title, body, { skip = false } = {}) => {
    for (const name of names) {
      const without = name !== "chromium" && missing(name);
      test(`${title}, in ${name}`, { skip: skip || without }, async (t) =>
        body(t, await (started[name] ??= engines[name]())),
      );
    }
  };
}

/**
 * Chromium, either as on a machine without a graphics card or with one made of software.
 *
 * @param {{ webgpu?: boolean, flags?: string[] }} [options]
 * @returns {Promise<Browser>}
 */
export async function chromium({ webgpu = false, flags = [] } = {}) {
  const browser = await playwright.launch({
    executablePath: process.env.CHROME ?? "/usr/bin/chromium",
    // A container's root user has no sandbox to offer.
    chromiumSandbox: false,
    args: [
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      ...(webgpu ? ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"] : []),
      ...flags,
    ],
  });
  return {
    name: webgpu ? "chromium with webgpu" : "chromium",
    close: () => browser.close(),
    async open(url, test) {
      const context = await browser.newContext();
      const requests = [];
      // The context sees what workers ask for, too.
      context.on("request", (request) => requests.push(request.url()));
      const page = await context.newPage();
      page.setDefaultTimeout(PATIENCE);
      await page.goto(url);
      return prepare(test, {
        driver: page,
        evaluate: (task, ...values) => page.evaluate(wrapped(task, values)).then(unwrapped),
        requests: () => requests.filter(isOutside),
        screenshot: () => page.screenshot(),
        close: () => context.close(),
      });
    },
  };
}

/** Firefox over WebDriver BiDi. @returns {Promise<Browser>} */
export async function firefox() {
  const launch = () =>
    puppeteer.launch({
      browser: "firefox",
      executablePath: process.env.FIREFOX,
      headless: true,
      protocolTimeout: PATIENCE,
      timeout: PATIENCE / 4,
    });
  // On a busy machine a start may get stuck: then there is another.
  const browser = await launch().catch(launch);
  return {
    name: "firefox",
    close: () => browser.close(),
    async open(url, test) {
      const context = await browser.createBrowserContext();
      const page = await context.newPage();
      const requests = [];
      page.on("request", (request) => requests.push(request.url()));
      await page.goto(url);
      return prepare(test, {
        driver: page,
        evaluate: (task, ...values) => page.evaluate(wrapped(task, values)).then(unwrapped),
        requests: () => requests.filter(isOutside),
        screenshot: async () => Buffer.from(await page.screenshot()),
        close: () => context.close(),
      });
    },
  };
}

/** WebKitGTK's MiniBrowser, which has Safari's engine, over plain WebDriver on a screen of its own. @returns {Promise<Browser>} */
export async function webkit() {
  const screen = start("Xvfb", ["-displayfd", "3", "-screen", "0", "1280x1024x24", "-nolisten", "tcp", "-terminate"], {
    stdio: ["ignore", "ignore", "ignore", "pipe"],
  });
  const display = await firstLine(screen, screen.stdio[3]);
  const port = await freePort();
  const driver = start("WebKitWebDriver", [`--port=${port}`], {
    stdio: "ignore",
    env: { ...process.env, DISPLAY: `:${display}`, GDK_BACKEND: "x11", NO_AT_BRIDGE: "1", LIBGL_ALWAYS_SOFTWARE: "1" },
  });
  const address = `http://127.0.0.1:${port}`;
  await answering(`${address}/status`, driver);

  /** One command of the WebDriver protocol: <https://www.w3.org/TR/webdriver2/>. */
  const send = async (method, path, body) => {
    const response = await fetch(address + path, {
      method,
      body: body && JSON.stringify(body),
      headers: { "content-type": "application/json" },
      signal: AbortSignal.timeout(PATIENCE + 10_000),
    });
    const { value } = await response.json();
    if (!response.ok) throw new Error(`WebKitWebDriver, ${method} ${path}: ${value.error}: ${value.message}`);
    return value;
  };
  const options = { binary: process.env.MINIBROWSER, args: ["--automation"] };
  const capabilities = { alwaysMatch: { browserName: "MiniBrowser", "webkitgtk:browserOptions": options } };
  const { sessionId } = await send("POST", "/session", { capabilities });
  const session = `/session/${sessionId}`;
  await send("POST", `${session}/timeouts`, { script: PATIENCE, pageLoad: PATIENCE });

  return {
    name: "webkit",
    async close() {
      await send("DELETE", session).catch(() => {});
      driver.kill();
      screen.kill();
    },
    // One window serves all tests, one after the other: the driver gives each session a single one.
    async open(url, test) {
      await send("POST", `${session}/url`, { url });
      return prepare(test, {
        driver: send,
        async evaluate(task, ...values) {
          const script = `const done = arguments[0]; ${wrapped(task, values)}.then(done);`;
          return unwrapped(await send("POST", `${session}/execute/async`, { script, args: [] }));
        },
        requests: () => {
          throw new Error("WebKit's driver tells no requests");
        },
        screenshot: async () => Buffer.from(await send("GET", `${session}/screenshot`), "base64"),
        close: () => send("POST", `${session}/url`, { url: "about:blank" }),
      });
    },
  };
}

/** Adds what is the same in every browser. */
function prepare(test, page) {
  page.waitFor = async (condition, ...values) => {
    for (const end = Date.now() + PATIENCE; Date.now() < end;) {
      const result = await page.evaluate(condition, ...values);
      if (result) return result;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    throw new Error(`${PATIENCE / 1000} s went by without: ${condition}`);
  };
  page.drop = async (selector, ...files) => {
    const contents = await Promise.all(
      files.map(async (file) => {
        const { name, type, bytes } =
          typeof file === "string" ? { name: basename(file), bytes: await readFile(join(ROOT, file)) } : file;
        return { name, type: type ?? mediaType(name), base64: Buffer.from(bytes).toString("base64") };
      }),
    );
    await page.evaluate(dropInPage, selector, contents);
  };
  test?.after(async () => {
    if (test.passed === false)
      await keepPicture(page, test.name).catch((error) => console.log(`no picture of the page: ${error.message}`));
    // The browser may be gone before its pages.
    await page.close().catch(() => {});
  });
  return page;
}

function dropInPage(selector, contents) {
  const transfer = new DataTransfer();
  for (const { name, type, base64 } of contents) {
    const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
    transfer.items.add(new File([bytes], name, { type }));
  }
  const target = document.querySelector(selector);
  for (const type of ["dragenter", "dragover", "drop"]) {
    target.dispatchEvent(
      new DragEvent(type, { bubbles: true, cancelable: true, composed: true, dataTransfer: transfer }),
    );
  }
}

function mediaType(name) {
  const types = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".gif": "image/gif",
    ".bmp": "image/bmp",
  };
  return types[extname(name).toLowerCase()] ?? "";
}

async function keepPicture(page, name) {
  const folder = join(process.env.CARGO_TARGET_DIR ?? join(ROOT, "target"), "failed");
  mkdirSync(folder, { recursive: true });
  const file = join(folder, `${name.replace(/[^\w-]+/g, "-")}.png`);
  writeFileSync(file, await page.screenshot());
  console.log(`the page as it was then: ${file}`);
}

/** An expression for the page: its promise gives a value or an error, never fails, and is plain data in every protocol. */
function wrapped(task, values) {
  return `(async () => {
    try {
      return JSON.stringify({ value: await (${task})(...${JSON.stringify(values)}) }, (key, value) => ArrayBuffer.isView(value) ? [...value] : value);
    } catch (error) {
      return JSON.stringify({ error: { name: String(error?.name), message: String(error?.message ?? error) } });
    }
  })()`;
}

function unwrapped(text) {
  const { value, error } = JSON.parse(text);
  if (error) throw Object.assign(new Error(error.message), { name: error.name });
  return value;
}

function isOutside(url) {
  return !/^(data|blob|about):/.test(url);
}

/** Starts a program that ends with this one. */
function start(program, args, options) {
  const child = spawn(program, args, options);
  const kill = () => child.kill();
  process.once("exit", kill);
  child.once("exit", () => process.removeListener("exit", kill));
  child.once("error", (error) => console.log(`can't run ${program}: ${error.message}`));
  return child;
}

// Without these, a signal would end the program past its "exit" event.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.once(signal, () => process.exit(1));

function firstLine(child, stream) {
  return new Promise((resolve, reject) => {
    let text = "";
    stream.setEncoding("utf8").on("data", (part) => {
      text += part;
      if (text.includes("\n")) resolve(text.trim());
    });
    child.once("exit", (code) => reject(new Error(`${child.spawnfile} ended with ${code}`)));
  });
}

async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function answering(url, child) {
  for (const end = Date.now() + 30_000; Date.now() < end && child.exitCode === null;) {
    if (await fetch(url).catch(() => null)) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`${child.spawnfile} does not answer`);
}
