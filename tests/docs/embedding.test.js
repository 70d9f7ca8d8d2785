// The lines of docs/embedding.md, taken as they are: sites built by the real generators, served below a sub-path without
// special headers, and looked at in Chromium. Every run builds the quick ones; `cargo xtask docs-test` builds all.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import test, { after } from "node:test";
import { chromium } from "../web/browsers.js";
import { ROOT } from "../web/site.js";
import { drawn, listen, serve } from "./look.js";
import { filesOf } from "./markdown.js";
import { LEFT_OUT, Missing, SETUPS, build } from "./setups.js";

const ALL = process.env.GRADCAM_DOCS === "all";
const BASE = "/docs/";

const browser = await chromium();
// The package on another origin, as a CDN has it.
const cdn = await serve(join(ROOT, "pkg"), "/gradcam-web@0.1.0/", { "access-control-allow-origin": "*" });
const pictures = await serve(join(ROOT, "www/samples"), "/", { "access-control-allow-origin": "*" });
after(() => Promise.all([browser.close(), cdn.close(), pictures.close()]));

for (const setup of SETUPS.filter(({ quick }) => ALL || quick)) {
  test(`a figure in ${setup.name} shows its heatmap`, async (t) => {
    let folder;
    try {
      folder = await build(setup, { cdn: cdn.url, picture: `${pictures.url}lighthouse.jpg` });
    } catch (error) {
      if (error instanceof Missing) return t.skip(`${setup.name} ${error.message}`);
      throw error;
    }
    let page;
    for (const wanted of setup.pages.map((page) => (typeof page === "string" ? { page } : page))) {
      const policy =
        wanted.policy && filesOf(setup.name).get("policy.txt").replaceAll("https://cdn.jsdelivr.net", cdn.origin);
      const headers = policy ? { "content-security-policy": policy.trim() } : {};
      const site = await serve(folder, BASE, headers);
      t.after(() => site.close());
      if (wanted.click) {
        await page.driver.getByRole("link", { name: wanted.click }).first().click();
        await page.driver.waitForURL((url) => url.pathname === BASE + wanted.page);
      } else {
        page = await browser.open("about:blank", t);
        page.said = listen(page.driver);
        await page.driver.goto(site.url + wanted.page);
      }
      await drawn(page.driver, wanted);
      const said = page.said().filter((text) => !setup.own?.test(text));
      assert.deepEqual(said, [], `the console on ${wanted.page}`);
    }
  });
}

if (ALL) {
  for (const [name, reason] of Object.entries(LEFT_OUT))
    test(`a figure in ${name} shows its heatmap`, { skip: reason }, () => {});
}

test("the examples on the element's own page are live", async (t) => {
  const site = await serve(join(ROOT, "dist"), BASE);
  t.after(() => site.close());
  const page = await browser.open("about:blank", t);
  const said = listen(page.driver);
  await page.driver.goto(`${site.url}about/element.html`);
  await drawn(page.driver, { figures: 4 });
  assert.deepEqual(said(), []);
});

test("every section with files is one that is tested or named as left out", () => {
  const text = readFileSync(join(ROOT, "docs/embedding.md"), "utf8");
  const headings = [...text.matchAll(/^## (.+)$/gm)].map(([, heading]) => heading);
  const others = ["npm and bundlers", "Notebooks", "Places that keep no script"];
  assert.deepEqual(
    headings.toSorted(),
    [...SETUPS.filter(({ files }) => !files).map(({ name }) => name), ...Object.keys(LEFT_OUT), ...others].toSorted(),
  );
});
