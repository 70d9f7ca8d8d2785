// Takes pictures of the built site, after `cargo xtask build`: `node docs/screenshots.js` those of the docs, into
// docs/screenshots/; `node docs/screenshots.js FOLDER` every state at every size in both schemes, to be looked at.

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { chromium } from "../tests/web/browsers.js";
import { ROOT, serveSite } from "../tests/web/site.js";

const [everything] = process.argv.slice(2);
const FOLDER = everything ?? join(ROOT, "docs/screenshots");
const WIDE = { width: 1360, height: 860 };
const SIZES = { wide: WIDE, tablet: { width: 820, height: 1180 }, phone: { width: 390, height: 844 } };

/** A picture of nothing: grey all over. */
const NOTHING = `<svg xmlns="http://www.w3.org/2000/svg" width="480" height="320"><rect width="480" height="320" fill="#777"/></svg>`;

/** What the page can be seen in: the link that is opened, and what is done then. */
const STATES = {
  first: ["", () => {}],
  result: ["?src=samples/lighthouse.jpg", () => {}],
  compare: [
    "?src=samples/coast.jpg",
    async (page) => {
      await page.evaluate(() => {
        document.querySelector("#compare-run").click();
        document.querySelector("#bench").scrollIntoView({ block: "start" });
      });
      await page.waitFor(() => /Choose one/.test(document.querySelector("#compare-status").textContent));
    },
  ],
  unsure: [
    "",
    async (page) => {
      await page.drop("main", { name: "nothing.svg", type: "image/svg+xml", bytes: Buffer.from(NOTHING) });
      await page.waitFor(() => document.querySelector("grad-cam").alt === "nothing.svg");
      await explained(page);
    },
  ],
  "own-model": [
    "",
    async (page) => {
      await page.drop("main", "tests/data/cams/residual.onnx");
      await page.waitFor(() => document.querySelector("grad-cam").prediction?.model.name === "residual.onnx");
      await explained(page);
      await page.evaluate(() => document.querySelector("#engine").scrollIntoView({ block: "end" }));
    },
  ],
  error: [
    "?src=samples/lighthouse.jpg",
    async (page) => {
      await page.drop("main", { name: "network.pt", type: "", bytes: Buffer.from("PK\x03\x04 archive/data.pkl") });
      await page.waitFor(() => !document.querySelector("#error").hidden);
    },
  ],
  embed: ["?src=samples/lighthouse.jpg", (page) => page.evaluate(() => document.querySelector("#embed").click())],
};

/** Those that the docs show. */
const IN_DOCS = [
  ["first", "first", WIDE, "light"],
  ["compare", "compare", WIDE, "dark"],
  ["phone", "result", SIZES.phone, "light"],
  ["unsure", "unsure", { width: 820, height: 1000 }, "light"],
  ["own-model", "own-model", WIDE, "light"],
];

const site = await serveSite();
const browser = await chromium();
mkdirSync(FOLDER, { recursive: true });
for (const [name, state, size, scheme] of everything ? all() : IN_DOCS) await take(name, state, size, scheme);
await browser.close();
await site.close();

function all() {
  return Object.keys(STATES).flatMap((state) =>
    Object.entries(SIZES).flatMap(([size, pixels]) =>
      ["light", "dark"].map((scheme) => [`${state}-${size}-${scheme}`, state, pixels, scheme]),
    ),
  );
}

async function take(name, state, size, colorScheme) {
  const [query, come] = STATES[state];
  const page = await browser.open(site.blank);
  await page.driver.setViewportSize(size);
  await page.driver.emulateMedia({ colorScheme, reducedMotion: "reduce" });
  if (size !== WIDE) await touch(page);
  await page.driver.goto(`${site.url}${query}`);
  await explained(page);
  await come(page);
  // Small pictures and bars come to rest.
  await page.driver.waitForTimeout(1000);
  await page.driver.screenshot({ path: join(FOLDER, `${name}.jpg`), type: "jpeg", quality: 82 });
  await page.close();
}

/** Makes the window one that fingers use. */
async function touch(page) {
  const session = await page.driver.context().newCDPSession(page.driver);
  await session.send("Emulation.setTouchEmulationEnabled", { enabled: true });
}

/** Waits until the heatmap is there. */
function explained(page) {
  return page.waitFor(
    () => document.querySelector("grad-cam").explanation && document.querySelector("#progress").hidden,
  );
}
