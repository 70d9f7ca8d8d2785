// The page as tests find it.

import assert from "node:assert/strict";
import test, { after } from "node:test";
import { chromium } from "./browsers.js";

/** Opens the page with its script run. @returns {Promise<import("./browsers.js").Page>} */
export async function openPage(browser, site, t, parameters) {
  const page = await browser.open(`${site.url}?${new URLSearchParams(parameters)}`, t);
  await page.waitFor(() => document.querySelector("#method").options.length > 0);
  return page;
}

/** What the page shows, once it is at rest. */
export function settled(page) {
  return page.waitFor(() => {
    const picture = document.querySelector("grad-cam");
    const error = document.querySelector("#error");
    if (!document.querySelector("#progress").hidden) return false;
    if (error.hidden && !picture.explanation) return false;
    return {
      error: error.hidden ? undefined : { name: error.dataset.name, text: error.textContent },
      classes: [...document.querySelectorAll("#classes .label")].map((label) => label.textContent),
      pressed: document.querySelector("#classes [aria-pressed=true] .label")?.textContent,
      targetClass: picture.explanation?.targetClass,
      targetLayer: picture.explanation?.targetLayer,
      method: picture.explanation?.method,
      backend: document.querySelector("#backend").textContent.trim(),
      query: location.search,
    };
  });
}

/**
 * For tests that run in a Chromium without a graphics card and in one with WebGPU. `body` opens pages with
 * `open(parameters)`; what they show has to come from the backend that was asked for.
 *
 * @returns {Promise<(name: string, body: (open: (parameters: object) => Promise<import("./browsers.js").Page>) => Promise<void>) => void>}
 */
export async function testOnBothBackends(site) {
  const browsers = { cpu: await chromium(), webgpu: await chromium({ webgpu: true }) };
  after(() => Promise.all(Object.values(browsers).map((browser) => browser.close())));
  return (name, body) => {
    for (const [backend, browser] of Object.entries(browsers)) {
      test(`${name} (${backend})`, async (t) => {
        const pages = [];
        await body(async (parameters) => {
          pages.push(await openPage(browser, site, t, { ...parameters, backend }));
          return pages.at(-1);
        });
        for (const page of pages)
          assert.equal(await page.evaluate(() => document.querySelector("grad-cam").prediction.model.backend), backend);
      });
    }
  };
}
