// How pictures are fetched where several ask for one of them.

import assert from "node:assert/strict";
import { test } from "node:test";

import { expectImage, readSource } from "../../pkg/image-source.js";

const PNG = new Uint8Array([0x89, 0x50, 0x4e, 0x47, 1, 2, 3]);

/** Holds back each answer until `arrive`. @param {import("node:test").TestContext} t */
function heldBack(t) {
  const fetched = [];
  t.mock.method(globalThis, "fetch", (address, { signal }) => {
    return new Promise((resolve, reject) => {
      signal?.addEventListener("abort", () => reject(signal.reason));
      fetched.push({ address, signal, arrive: () => resolve(new Response(PNG)) });
    });
  });
  return fetched;
}

test("a fetch that several want goes on when one of them leaves, and ends with the last", async (t) => {
  const fetched = heldBack(t);
  const [first, second] = [new AbortController(), new AbortController()];
  expectImage("https://example.org/a.png", first.signal);
  expectImage("https://example.org/a.png", second.signal);
  first.abort();
  const read = readSource("https://example.org/a.png", second.signal);
  assert.equal(fetched.length, 1);
  assert.equal(fetched[0].signal.aborted, false);
  fetched[0].arrive();
  const { bytes } = await read;
  assert.deepEqual(new Uint8Array(await bytes.all()), PNG);

  const [third, fourth] = [new AbortController(), new AbortController()];
  expectImage("https://example.org/b.png", third.signal);
  expectImage("https://example.org/b.png", fourth.signal);
  third.abort();
  fourth.abort();
  assert.equal(fetched[1].signal.aborted, true);
  // Whoever comes now begins anew.
  const again = readSource("https://example.org/b.png");
  assert.equal(fetched.length, 3);
  fetched[2].arrive();
  await again;
});

test("a tensor of no numbers is refused by name, and wide pixels become bytes", async () => {
  const shape = [1, 1, 1, 1];
  for (const tensor of [undefined, null, new BigInt64Array(1), { length: 1e12 }])
    await assert.rejects(readSource({ tensor, shape }), { name: "ImageError", message: /a Float32Array is accepted/ });

  // A stand-in: not every Node has numbers of 16 bits.
  const data = Float32Array.of(0, 0.5, 1, 2);
  const { rgba } = await readSource({ [Symbol.toStringTag]: "ImageData", width: 1, height: 1, data });
  assert.deepEqual([...rgba], [0, 128, 255, 255]);
});

test("whoever reads a picture that an element expects keeps it when the element leaves", async (t) => {
  const fetched = heldBack(t);
  const element = new AbortController();
  expectImage("https://example.org/c.png", element.signal);
  const read = readSource("https://example.org/c.png");
  element.abort();
  fetched[0].arrive();
  assert.deepEqual(new Uint8Array(await (await read).bytes.all()), PNG);
  assert.equal(fetched.length, 1);
});
