// The package under policies that pages have, from its own origin, from another and from none.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import test, { after } from "node:test";
import { chromium } from "./browsers.js";
import { ROOT, serveSite } from "./site.js";

const [site, elsewhere] = await Promise.all([serveSite(), serveSite()]);
let browser;
after(async () => {
  await browser?.close();
  await Promise.all([site.close(), elsewhere.close()]);
});

/** The policies that the package's README gives: for its own host, for another, with Trusted Types. */
const [OWN, OTHER, TYPED] = readFileSync(join(ROOT, "pkg/README.md"), "utf8").match(/^(default-src|require-t).+$/gm);

/**
 * Explains a picture on a page with a policy, or with other headers, without a complaint on its console.
 * @param {string | Record<string, string>} policy @param {string} root where the package comes from
 */
async function explain(t, policy, root) {
  browser ??= await chromium();
  const page = await browser.open(site.blank, t);
  const headers = typeof policy === "string" ? { "content-security-policy": policy } : policy;
  await page.driver.route("**/framed.html", (route) =>
    route.fulfill({
      contentType: "text/html",
      headers,
      body: `<!doctype html><meta charset=utf-8><title>framed</title><img src="${site.material("data/images/photo.jpg")}">`,
    }),
  );
  // Whoever wants the package from another origin gets it, as from a CDN.
  await page.driver.route(
    (url) => url.origin === elsewhere.origin,
    async (route) => {
      const response = await route.fetch();
      await route.fulfill({ response, headers: { ...response.headers(), "access-control-allow-origin": "*" } });
    },
  );
  await page.driver.goto(`${site.origin}/framed.html`);
  const said = [];
  page.driver.on("console", (message) => {
    const isOfPage = !message.location().url.endsWith("/favicon.ico");
    if (message.type() === "error" && isOfPage) said.push(message.text());
  });
  const found = await page.evaluate(async (address) => {
    const { loadModel } = await import(`${address}index.js`);
    const model = await loadModel(`${address}models/everyday/model.json`, { backend: "cpu" });
    // Without an origin no page may read what it shows.
    const image = globalThis.origin === "null" ? new ImageData(24, 16) : document.images[0];
    const { method } = await model.explain(image);
    return { method, origin: globalThis.origin };
  }, root);
  assert.deepEqual(said, []);
  return found;
}

test("the page and the figure for frames run no script but the site's own", async (t) => {
  browser ??= await chromium();
  for (const name of ["", "embed.html"]) {
    const page = await browser.open(`${site.url}${name}`, t);
    const refused = await page.evaluate(async () => {
      const heard = new Promise((resolve) => addEventListener("securitypolicyviolation", resolve, { once: true }));
      document.head.append(
        Object.assign(document.createElement("script"), { textContent: "globalThis.hasRun = true" }),
      );
      return globalThis.hasRun ? "it ran" : (await heard).effectiveDirective;
    });
    assert.equal(refused, "script-src-elem", name);
  }
});

test("README's policy suffices for the page's own package", async (t) => {
  assert.equal((await explain(t, OWN, site.material("package/"))).method, "grad-cam");
});

test("Trusted Types are kept to, with a policy of the package's name", async (t) => {
  assert.equal((await explain(t, TYPED, site.material("package/"))).method, "grad-cam");
});

test("README's policy suffices for a package from another origin", async (t) => {
  const policy = OTHER.replaceAll("https://cdn.jsdelivr.net", elsewhere.origin);
  assert.notEqual(policy, OTHER);
  assert.equal((await explain(t, policy, elsewhere.material("package/"))).method, "grad-cam");
});

test("a page without an origin of its own can use a package from elsewhere", async (t) => {
  const found = await explain(t, "sandbox allow-scripts", elsewhere.material("package/"));
  assert.deepEqual(found, { method: "grad-cam", origin: "null" });
});

test("an isolated page can use it although its host sends the headers with the page alone", async (t) => {
  const headers = { "cross-origin-embedder-policy": "require-corp", "cross-origin-opener-policy": "same-origin" };
  assert.equal((await explain(t, headers, site.material("package/"))).method, "grad-cam");
});
