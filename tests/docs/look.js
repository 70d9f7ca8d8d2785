// Sites as readers see them: on a plain static host, in Chromium, until each figure has its heatmap.

import assert from "node:assert/strict";
import { createReadStream, existsSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";

const PATIENCE = 120_000;
const TYPES = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".css": "text/css",
  ".json": "application/json",
  ".wasm": "application/wasm",
  ".svg": "image/svg+xml",
  ".jpg": "image/jpeg",
};

/** Waits for the heatmap of every figure of a page. */
export async function drawn(page, { frame, figures = 1 }) {
  const place = frame ? await frameOf(page, frame) : page;
  const state = () => {
    const all = [...document.querySelectorAll("grad-cam")];
    const canvases = all.map((figure) => figure.shadowRoot?.querySelector("canvas"));
    return {
      drawn: canvases.filter((canvas) => canvas && !canvas.hidden && canvas.width > 1 && canvas.ariaLabel !== "")
        .length,
      named: all.filter((figure) => figure.explanation).length,
      messages: all.map(
        (figure) => figure.shadowRoot?.querySelector("[part=message]:not([hidden])")?.textContent ?? "",
      ),
    };
  };
  const end = Date.now() + PATIENCE;
  for (;;) {
    const { drawn, named, messages } = await place.evaluate(state);
    assert.deepEqual(messages.filter(Boolean), []);
    if (drawn === figures && named === figures) return;
    assert.ok(Date.now() < end, `${drawn} of ${figures} figures are drawn`);
    await place.evaluate(() =>
      [...document.querySelectorAll("grad-cam")].find((figure) => !figure.explanation)?.scrollIntoView(),
    );
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

async function frameOf(page, name) {
  for (const end = Date.now() + PATIENCE; Date.now() < end; await new Promise((resolve) => setTimeout(resolve, 50))) {
    const frame = page.frames().find((frame) => frame.url().includes(name));
    if (frame) return frame;
  }
  throw new Error(`there is no frame ${name}`);
}

/** What a page complains about: errors and warnings on its console, exceptions, missing files. */
export function listen(page) {
  const said = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) said.push(`${message.text()} ${message.location().url}`);
  });
  page.on("pageerror", (error) => said.push(String(error)));
  // What is Chromium's own: the icon that it asks every host for, and that there is no graphics card.
  return () => said.filter((text) => !/\/favicon\.(ico|svg)/.test(text) && !text.startsWith("No available adapters"));
}

/** A plain static host. @param {string} folder @param {string} base where it lies on the host @param {Record<string, string>} [headers] */
export async function serve(folder, base, headers = {}) {
  const server = createServer((request, response) => {
    const pathname = decodeURIComponent(new URL(request.url, "http://localhost").pathname);
    const path =
      pathname.startsWith(base) && !normalize(pathname).includes("..") && join(folder, pathname.slice(base.length));
    const file = path && existsSync(path) && statSync(path).isDirectory() ? join(path, "index.html") : path;
    if (!file || !existsSync(file)) {
      response.writeHead(404).end();
      return;
    }
    response.writeHead(200, { "content-type": TYPES[extname(file)] ?? "application/octet-stream", ...headers });
    createReadStream(file).pipe(response);
  });
  await new Promise((resolve, reject) => server.once("error", reject).listen(0, "127.0.0.1", resolve));
  const origin = `http://127.0.0.1:${server.address().port}`;
  const close = () => new Promise((resolve) => (server.close(resolve), server.closeAllConnections()));
  return { origin, url: origin + base, close };
}
