// The tests' own tools: what they would miss would count as passed.

import assert from "node:assert/strict";
import test, { after } from "node:test";
import { chromium, firefox, missing, webkit } from "./browsers.js";
import { serveSite } from "./site.js";

const site = await serveSite({ base: "/some/where/" });
const browsers = { chromium: await chromium() };
for (const [name, start] of Object.entries({ firefox, webkit })) browsers[name] = missing(name) ? null : await start();
after(() => Promise.all([site.close(), ...Object.values(browsers).map((browser) => browser?.close())]));

for (const name of Object.keys(browsers)) {
  test(
    `${name} runs a module worker and takes a dropped file`,
    { skip: browsers[name] ? false : missing(name) },
    async (t) => {
      const page = await browsers[name].open(site.blank, t);
      const sum = await page.evaluate(
        async (module, number) => {
          const script = `import { WASM_BYTES } from ${JSON.stringify(module)}; postMessage(WASM_BYTES.view > 0 ? ${number} * 2 : 0);`;
          const worker = new Worker(URL.createObjectURL(new Blob([script], { type: "text/javascript" })), {
            type: "module",
          });
          return new Promise((resolve, reject) => {
            worker.onmessage = ({ data }) => resolve(data);
            worker.onerror = ({ message }) => reject(new Error(message));
          });
        },
        `${site.url}gradcam-web/sizes.js`,
        21,
      );
      assert.equal(sum, 42);
      assert.ok(site.requests.includes("/some/where/gradcam-web/sizes.js"));

      await page.evaluate(() => {
        document.body.addEventListener("drop", async ({ dataTransfer }) => {
          const [file] = dataTransfer.files;
          globalThis.dropped = { name: file.name, text: await file.text() };
        });
      });
      await page.drop("body", { name: "note.txt", bytes: Buffer.from("grüezi") });
      assert.deepEqual(await page.waitFor(() => globalThis.dropped), { name: "note.txt", text: "grüezi" });
      await assert.rejects(
        page.evaluate(() => {
          throw new TypeError("oh");
        }),
        { name: "TypeError", message: "oh" },
      );
    },
  );
}

test("the list of requests holds what a worker asks of another origin", async (t) => {
  const page = await browsers.chromium.open(site.blank, t);
  await page.evaluate(
    () =>
      new Promise((resolve) => {
        const script = `fetch("http://127.0.0.1:9/elsewhere").catch(() => {}).then(() => postMessage(0));`;
        const worker = new Worker(URL.createObjectURL(new Blob([script], { type: "text/javascript" })), {
          type: "module",
        });
        worker.onmessage = () => resolve();
      }),
  );
  assert.deepEqual(
    page.requests().filter((url) => !url.startsWith(site.origin)),
    ["http://127.0.0.1:9/elsewhere"],
  );
});
