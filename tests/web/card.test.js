// What fails on the graphics card is never an answer, and what waits for it is not left waiting.

import assert from "node:assert/strict";
import test, { after } from "node:test";
import { chromium } from "./browsers.js";
import { relativeDifference } from "./fixtures.js";
import { serveSite } from "./site.js";

const site = await serveSite();
after(() => site.close());

/** How many cards are lost. The long form is `cargo xtask soak devices`. */
const LOSSES = Number(process.env.GRADCAM_LOSSES ?? 1);

const PACKAGE = `${site.url}gradcam-web/index.js`;
const NETWORK = site.material("data/cams/squeeze.onnx");

/** Keeps the model for the scripts that follow. */
const load = async (address, source, backend) => {
  const { loadModel } = await import(address);
  const model = await loadModel(source, { backend });
  const { width, height, channels } = model.input;
  const tensor = Float32Array.from({ length: channels * height * width }, (_, i) => ((i * 37) % 23) / 11 - 1);
  Object.assign(globalThis, { model, tensor, shape: [1, channels, height, width] });
};

/** The scores, or what is wrong. */
const classify = async () => {
  const { model, tensor, shape } = globalThis;
  try {
    const { scores } = await model.classify({ tensor, shape });
    return { scores: [...scores], backend: model.backend, stats: model.stats };
  } catch ({ name, message }) {
    return { name, message };
  }
};

/** What comes of a task in each worker. One that was replaced a moment ago may still be named, and has ended. */
async function inWorkers(page, task, value) {
  const outcomes = await Promise.allSettled(page.driver.workers().map((worker) => worker.evaluate(task, value)));
  const values = [];
  for (const { status, value, reason } of outcomes) {
    if (status === "fulfilled") values.push(value);
    else if (!/has been closed/.test(reason.message)) throw reason;
  }
  return values;
}

let browser;
after(() => browser?.close());

async function opened(t) {
  browser ??= await chromium({ webgpu: true });
  const page = await browser.open(site.blank, t);
  await page.evaluate(load, PACKAGE, NETWORK, "webgpu");
  return page;
}

/**
 * A page on which every worker begins with the script `broken`, and that keeps what workers die of.
 *
 * @param {() => void} broken
 */
async function openedBroken(t, broken) {
  browser ??= await chromium({ webgpu: true });
  const page = await browser.open(site.blank, t);
  await page.evaluate((script) => {
    const address = (text) => URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
    const first = address(`(${script})();`);
    globalThis.crashes = [];
    globalThis.Worker = class extends Worker {
      constructor(own, options) {
        super(address(`import ${JSON.stringify(first)}; import ${JSON.stringify(String(own))};`), options);
        this.addEventListener("message", ({ data }) => data.crash && globalThis.crashes.push(data.crash));
      }
    };
  }, String(broken));
  return page;
}

/** Has a model that was loaded on the card give its scores after all, by the CPU. */
async function goesOn(page) {
  await page.evaluate(load, PACKAGE, NETWORK, "cpu");
  const expected = await page.evaluate(classify);
  await page.evaluate(load, PACKAGE, NETWORK, "webgpu");
  const { backend } = await page.evaluate(() => ({ backend: globalThis.model.backend }));
  assert.equal(backend, "webgpu", "its own test found nothing");
  const found = await page.evaluate(classify);
  assert.ok(found.scores, JSON.stringify(found));
  assert.ok(relativeDifference(found.scores, expected.scores) < 1e-6, JSON.stringify({ found, expected }));
  const { crashes, reason } = await page.evaluate(() => ({
    crashes: globalThis.crashes,
    reason: globalThis.model.backendReason,
  }));
  assert.equal(found.backend, "cpu");
  assert.match(reason, /^the GPU failed: the graphics card refused a command/);
  assert.equal(crashes.length, 2, JSON.stringify(crashes));
  for (const crash of crashes) assert.match(crash, /^the graphics card refused a command/);
}

test("a card that refuses a shader of the network fails, and the CPU goes on", async (t) => {
  const page = await openedBroken(t, () => {
    let isBroken = false;
    // What the engine's own test takes is well.
    addEventListener("message", ({ data }) => (isBroken ||= data.op === "load"));
    const create = globalThis.GPUDevice.prototype.createShaderModule;
    globalThis.GPUDevice.prototype.createShaderModule = function (descriptor) {
      return create.call(
        this,
        isBroken ? { ...descriptor, code: `${descriptor.code}\nthis is no shader` } : descriptor,
      );
    };
  });
  await goesOn(page);
});

test("a card that has no room for the network fails, and the CPU goes on", async (t) => {
  const page = await openedBroken(t, () => {
    let isFull = false;
    addEventListener("message", ({ data }) => (isFull ||= data.op === "load"));
    const create = globalThis.GPUDevice.prototype.createBuffer;
    globalThis.GPUDevice.prototype.createBuffer = function (descriptor) {
      return create.call(this, isFull && descriptor.size > 256 ? { ...descriptor, size: 2 ** 45 } : descriptor);
    };
  });
  await goesOn(page);
});

test("a card that refuses every shader is not started", async (t) => {
  const page = await openedBroken(t, () => {
    const create = globalThis.GPUDevice.prototype.createShaderModule;
    globalThis.GPUDevice.prototype.createShaderModule = function (descriptor) {
      return create.call(this, { ...descriptor, code: `${descriptor.code}\nthis is no shader` });
    };
  });
  const { name, message } = await page.evaluate(load, PACKAGE, NETWORK, "webgpu").catch((error) => error);
  assert.match(`${name}: ${message}`, /DeviceError: .*the graphics card refused a command/s);
});

test("a device that is destroyed while it computes is survived", async (t) => {
  const page = await opened(t);
  const expected = await page.evaluate(classify);
  assert.equal(expected.stats.cpuSteps, 0);
  const reached = await inWorkers(page, () => {
    const create = GPUDevice.prototype.createCommandEncoder;
    GPUDevice.prototype.createCommandEncoder = function (...rest) {
      setTimeout(() => this.destroy());
      return create.apply(this, rest);
    };
  });
  assert.equal(reached.length, 1, "one worker computes");
  const found = await page.evaluate(classify);
  // Another worker, or the CPU, does it again.
  assert.ok(found.scores, JSON.stringify(found));
  assert.ok(relativeDifference(found.scores, expected.scores) < 1e-3);
});

test("a device that is lost at any moment is survived, again and again", async (t) => {
  const [outcomes, backends] = [{}, {}];
  let page, expected;
  // For each card that was lost there is another worker.
  let [lost, told, turns] = [0, 0, 0];
  while (lost < LOSSES) {
    if (!page) {
      page = await opened(t);
      page.driver.on("worker", () => lost++);
    }
    expected ??= (await page.evaluate(classify)).scores;
    const lose = (delay) => {
      // With the next command, or up to 60 ms later: while it is computed, read, or between two questions.
      const create = GPUDevice.prototype.createCommandEncoder;
      let isLost = false;
      GPUDevice.prototype.createCommandEncoder = function (...rest) {
        if (!isLost) setTimeout(() => this.destroy(), delay);
        isLost = true;
        return create.apply(this, rest);
      };
    };
    // A card that was lost after the last answer: the next question starts another worker.
    while ((await inWorkers(page, lose, (60 * lost) / LOSSES)).length === 0) await page.evaluate(classify);
    let backend;
    for (let turn = 0; turn < 3; turn++, turns++) {
      const found = await page.evaluate(classify);
      const isRight = found.scores && relativeDifference(found.scores, expected) < 1e-3;
      const outcome = isRight ? "right" : found.scores ? "wrong" : `${found.name}: ${found.message}`;
      outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
      ({ backend } = found);
      backends[backend] = (backends[backend] ?? 0) + 1;
    }
    // The next device is another one, in the same page unless that has given its cards up.
    if (backend !== "webgpu") {
      await page.close();
      page = undefined;
    }
    // At once, unlike a diagnostic of the test: a long run may be ended.
    if (lost >= told + 20 || lost >= LOSSES) console.log(JSON.stringify({ lost: (told = lost), outcomes, backends }));
  }
  assert.deepEqual(outcomes, { right: turns });
});

test("in Firefox the card is kept moving while a result is waited for, and not a moment longer", async (t) => {
  const count = async (flags) => {
    const browser = await chromium({ webgpu: true, flags });
    t.after(() => browser.close());
    const page = await browser.open(site.blank, t);
    await page.evaluate(load, PACKAGE, NETWORK, "webgpu");
    await page.evaluate(classify);
    await inWorkers(page, () => {
      const submit = GPUQueue.prototype.submit;
      globalThis.submitted = 0;
      GPUQueue.prototype.submit = function (commands) {
        globalThis.submitted += 1;
        return submit.call(this, commands);
      };
      // A reading that takes its time: a second, or until there was work enough to tell.
      const map = GPUBuffer.prototype.mapAsync;
      GPUBuffer.prototype.mapAsync = async function (...rest) {
        await map.apply(this, rest);
        const [enough, end] = [globalThis.submitted + 6, performance.now() + 1000];
        while (globalThis.submitted < enough && performance.now() < end) {
          await new Promise((resolve) => setTimeout(resolve, 10));
        }
      };
    });
    await page.evaluate(classify);
    const during = Math.max(...(await inWorkers(page, () => globalThis.submitted ?? 0)));
    await page.evaluate(() => new Promise((resolve) => setTimeout(resolve, 300)));
    const later = Math.max(...(await inWorkers(page, () => globalThis.submitted ?? 0)));
    return { during, later };
  };
  const agent = "Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0";
  const [firefox, others] = [await count([`--user-agent=${agent}`]), await count([])];
  assert.ok(firefox.during >= others.during + 5, JSON.stringify({ firefox, others }));
  assert.ok(firefox.later <= firefox.during + 1, JSON.stringify({ firefox, others }));
});
