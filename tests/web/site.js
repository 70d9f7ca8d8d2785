// The built site on a server of its own, which keeps a log of what was asked of it.

import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const SITE = join(ROOT, "dist");
/** Folders that tests may read from their pages, below `/.test/`. */
const MATERIAL = {
  data: join(ROOT, "tests/data"),
  shared: join(ROOT, "../shared"),
  models: join(ROOT, "www/models"),
  // As it is published: the site has the same in fewer scripts.
  package: join(ROOT, "pkg"),
};

/** Where the site lies once more, without relaxed SIMD. */
const PLAIN = "/.plain";

const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".mjs": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".json": "application/json",
  ".wasm": "application/wasm",
  ".svg": "image/svg+xml",
  ".png": "image/png",
  ".jpg": "image/jpeg",
  ".jpeg": "image/jpeg",
  ".webp": "image/webp",
  ".gif": "image/gif",
};

/**
 * Serves the site, below `base` as on a host that gives it a folder: `url` is the page's address, `blank` that of an
 * empty page of the same origin, for tests of the package alone, and `material("shared/photos/x.jpg")` one of a file
 * from `../shared` or `data/` from `tests/data`.
 *
 * Below `plain` the same site keeps to the CPU build without relaxed SIMD, whatever the browser has.
 *
 * @param {{ base?: string, material?: Record<string, string>, fault?: (request, response) => boolean }} [options] `base`
 *   begins and ends with a slash; `material` are further folders to be read below `/.test/`; `fault` may answer in the
 *   server's place, and says whether it does
 * @returns {Promise<{ url: string, plain: string, origin: string, blank: string, material(path: string): string,
 *   file(path: string): string | undefined, requests: string[], close(): Promise<void> }>} `requests` are paths with
 *   their queries, in order; `file` tells which file answers one
 */
export async function serveSite({ base = "/", material = {}, fault } = {}) {
  const folders = { ...MATERIAL, ...material };
  const requests = [];
  const server = createServer(async (request, response) => {
    requests.push(request.url);
    if (fault?.(request, response)) return;
    const { pathname } = new URL(request.url, "http://localhost");
    if (pathname === "/.test/blank.html") {
      response.writeHead(200, { "content-type": TYPES[".html"] });
      response.end("<!doctype html><html lang=en><meta charset=utf-8><title>blank</title>");
      return;
    }
    const file = fileOf(pathname, base, folders);
    const found = file && (await stat(file).catch(() => null));
    if (!found?.isFile()) {
      response.writeHead(404, { "content-type": "text/plain" });
      response.end(`${pathname} is not here\n`);
      return;
    }
    const type = TYPES[extname(file).toLowerCase()] ?? "application/octet-stream";
    response.writeHead(200, { "content-type": type, "content-length": found.size, "cache-control": "no-store" });
    createReadStream(file).pipe(response);
  });
  await new Promise((resolve, reject) => server.once("error", reject).listen(0, "127.0.0.1", resolve));
  const origin = `http://127.0.0.1:${server.address().port}`;
  return {
    origin,
    url: origin + base,
    plain: `${origin}${PLAIN}${base}`,
    blank: `${origin}/.test/blank.html`,
    material: (path) => `${origin}/.test/${path}`,
    file: (path) => fileOf(new URL(path, origin).pathname, base, folders),
    requests,
    close: () =>
      new Promise((resolve) => {
        server.close(resolve);
        server.closeAllConnections();
      }),
  };
}

function fileOf(address, base, folders) {
  const pathname = decodeURIComponent(address);
  if (pathname.startsWith(`${PLAIN}/`))
    return fileOf(address.slice(PLAIN.length).replace("/relaxed/", "/cpu/"), base, folders);
  if (normalize(pathname).startsWith("..") || pathname.includes("\0")) return undefined;
  const [, area, kind, ...rest] = pathname.split("/");
  if (area === ".test") return folders[kind] && join(folders[kind], ...rest.filter((part) => part !== ".."));
  if (!pathname.startsWith(base)) return undefined;
  const path = pathname
    .slice(base.length)
    .split("/")
    .filter((part) => part !== "..")
    .join("/");
  return join(SITE, path === "" || path.endsWith("/") ? `${path}index.html` : path);
}
