// Whether everybody can use the page: axe-core's rules in every state, light and dark, and what the keyboard reaches.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import test, { after } from "node:test";
import { chromium } from "./browsers.js";
import { openPage, settled } from "./page.js";
import { ROOT, serveSite } from "./site.js";

const site = await serveSite();
const browser = await chromium();
after(() => Promise.all([browser.close(), site.close()]));

const AXE = readFileSync(join(ROOT, "node_modules/axe-core/axe.min.js"), "utf8");
const photo = site.material("data/images/photo.jpg");
const small = { model: site.material("data/bright.onnx"), src: photo };
/** Grey all over: a picture of nothing. */
const NOTHING = `<svg xmlns="http://www.w3.org/2000/svg" width="480" height="320"><rect width="480" height="320" fill="#777"/></svg>`;
const openDetails = (page) =>
  page.evaluate(() => {
    // Of a thousand rows that are alike a few will do: axe takes a minute for all.
    document.querySelector("#class-search").value = "1";
    for (const details of document.querySelectorAll("details")) details.open = true;
  });
const click = (page, selector) => page.evaluate((selector) => document.querySelector(selector).click(), selector);

/** Each state: what the address says, and how one comes there. */
const STATES = {
  "first view": [{}, () => {}],
  result: [small, openDetails],
  "default network": [{}, openDetails],
  unsure: [
    {},
    async (page) => {
      await page.drop("main", { name: "nothing.svg", type: "image/svg+xml", bytes: Buffer.from(NOTHING) });
      await page.waitFor(() => document.querySelector("#certainty").checkVisibility());
    },
  ],
  "own model": [{ ...small, model: site.material("data/nameless.onnx") }, openDetails],
  error: [
    small,
    async (page) => {
      await page.drop("main", { name: "notes.html", type: "text/html", bytes: Buffer.from("no picture") });
      await page.waitFor(() => document.querySelector("#error").checkVisibility());
    },
  ],
  batch: [
    small,
    async (page) => {
      await page.drop("main", "tests/data/images/photo.png", "tests/data/images/portrait.jpg");
      await page.waitFor(() => !document.querySelector("#batch-csv").disabled);
    },
  ],
  judge: [
    small,
    async (page) => {
      await click(page, "#judge-tab");
      await click(page, "#measure-run");
      await page.waitFor(() => document.querySelector("#measures").checkVisibility());
      await click(page, "#sanity-run");
      await page.waitFor(() => document.querySelector("#sanity-verdict").checkVisibility());
    },
  ],
  compare: [
    small,
    async (page) => {
      await click(page, "#compare-run");
      await page.waitFor(() => /Choose one/.test(document.querySelector("#compare-status").textContent));
    },
  ],
  "what a word means": [
    small,
    async (page) => {
      await click(page, "[popovertarget=term-method]");
      await page.waitFor(() => document.querySelector("#term-method").matches(":popover-open"));
    },
  ],
  "list of layers": [
    { ...small, model: site.material("data/nameless.onnx") },
    async (page) => {
      await page.evaluate(() => {
        document.querySelector("#more").open = document.querySelector("#layer-list").open = true;
      });
      await page.waitFor(() => document.querySelectorAll("#layer-results button").length > 20);
      await page.evaluate(() => document.querySelectorAll("#layer-results button")[3].click());
      await settled(page);
    },
  ],
  "chooser of networks": [
    small,
    async (page) => {
      await page.drop("main", "tests/data/nameless.onnx");
      await page.waitFor(() => document.querySelector("#keep-model").checkVisibility());
      await click(page, "#keep-model");
      await page.waitFor(() => /Remove/.test(document.querySelector("#keep-model").textContent));
      await page.evaluate(() => document.querySelector("#network").focus());
      await settled(page);
    },
  ],
  "what is this": [small, (page) => click(page, "#what")],
  embed: [
    small,
    async (page) => {
      await click(page, "#embed");
      await page.waitFor(() => document.querySelector("#embed-preview grad-cam").explanation);
    },
  ],
};

for (const scheme of ["light", "dark"]) {
  for (const [name, [parameters, come]] of Object.entries(STATES)) {
    test(`axe finds nothing in the state ${name}, ${scheme}`, async (t) => {
      await check(await openPage(browser, site, t, { ...parameters, backend: "cpu" }), scheme, come);
    });
  }
  test(`axe finds nothing on a phone, ${scheme}`, async (t) => {
    // The first view has what no other has, and fingers have buttons that a mouse has not.
    for (const parameters of [{ model: small.model }, small]) {
      const page = await openPage(browser, site, t, { ...parameters, backend: "cpu" });
      await page.driver.setViewportSize({ width: 390, height: 844 });
      const session = await page.driver.context().newCDPSession(page.driver);
      await session.send("Emulation.setTouchEmulationEnabled", { enabled: true });
      await page.waitFor(() => matchMedia("(hover: none)").matches);
      await check(page, scheme, openDetails);
    }
  });
}

async function check(page, scheme, come) {
  await page.driver.emulateMedia({ colorScheme: scheme, reducedMotion: "reduce" });
  await settled(page);
  await come(page);
  await found(page);
}

async function found(page) {
  await page.driver.evaluate(AXE);
  const { violations, passes } = await page.driver.evaluate(() => globalThis.axe.run());
  const said = violations.flatMap(({ id, nodes }) =>
    nodes.map(({ target, failureSummary }) => `${id}: ${target}: ${failureSummary.replaceAll(/\s+/g, " ")}`),
  );
  assert.deepEqual(said, []);
  assert.ok(passes.length > 10);
}

test("axe finds nothing in the texts beside the page", async (t) => {
  for (const text of ["imagenet", "everyday", "credits", "judging", "your-own-model", "package"]) {
    const page = await browser.open(`${site.url}about/${text}.html`, t);
    await found(page);
    assert.ok(await page.evaluate(() => document.querySelector("a[href='../'], a[href='../index.html']")), text);
  }
});

test("every control is reached by the keyboard and has a name and a value in words", async (t) => {
  const page = await openPage(browser, site, t, { ...small, backend: "cpu" });
  await settled(page);
  await openDetails(page);
  const wanted = await page.evaluate(() =>
    [...document.querySelectorAll("button, select, input, summary, a[href], [tabindex='0']")]
      .filter(
        (control) =>
          control.checkVisibility({ visibilityProperty: true }) && !control.disabled && control.tabIndex >= 0,
      )
      .map((control) => control.id || control.textContent.trim() || control.name),
  );
  await page.evaluate(() => document.activeElement.blur());
  const reached = new Map();
  for (let i = 0; i < 3 * wanted.length; i++) {
    await page.driver.keyboard.press("Tab");
    const control = await page.evaluate(() => {
      const { activeElement: at } = document;
      if (!at || at === document.body) return undefined;
      const group = at.type === "radio" ? at.name : "";
      return { key: at.id || at.textContent.trim() || at.name, group };
    });
    if (!control) break;
    reached.set(control.key, control.group);
  }
  // Of a group of radio buttons the keyboard comes to the chosen one, and arrow keys go on.
  const radios = new Set(
    await page.evaluate(() => [...document.querySelectorAll("[type=radio]")].map(({ name }) => name)),
  );
  const missed = wanted.filter((key) => !reached.has(key) && !radios.has(key));
  assert.deepEqual(missed, []);

  // As assistive technology hears it.
  const session = await page.driver.context().newCDPSession(page.driver);
  const { nodes } = await session.send("Accessibility.getFullAXTree");
  const controls = nodes.filter(
    ({ role, ignored }) =>
      !ignored &&
      [
        "button",
        "combobox",
        "slider",
        "checkbox",
        "radio",
        "link",
        "textbox",
        "searchbox",
        "spinbutton",
        "tab",
      ].includes(role?.value),
  );
  const nameless = controls.filter(({ name }) => !name?.value);
  assert.deepEqual(
    nameless.map(({ role, backendDOMNodeId }) => [role.value, backendDOMNodeId]),
    [],
  );
  const heard = Object.fromEntries(controls.map(({ name, value }) => [name.value, value?.value]));
  assert.equal(heard.Method, "Grad-CAM");
  // The words in place of a slider's number, which the tree does not have.
  const sliders = await page.evaluate(() =>
    [...document.querySelectorAll("input[type=range]")].map(({ id, ariaValueText }) => [id, ariaValueText]),
  );
  const words = Object.fromEntries(sliders);
  assert.equal(words.opacity, "50 %");
  assert.match(words.layer, /channels/);
  assert.match(words["concepts-count"], /^5 concepts$/);
});
