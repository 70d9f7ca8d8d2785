// When `auto` leaves the CPU for a graphics card.

import assert from "node:assert/strict";
import { test } from "node:test";

import { compare } from "../../pkg/takeover.js";

const decide = (card, cpu) => compare(card, cpu, "WebGPU on a card");

test("a card that is faster by a fifth takes over, and both times are told", () => {
  assert.deepEqual(decide([3, 90, 2.96], [14, 13.6, 40]), {
    isWorth: true,
    reason: "WebGPU on a card: 3.0 ms a forward pass, 14 ms on the CPU",
  });
});

test("a card that is slower, or faster by less, does not", () => {
  for (const card of [[20, 19, 21], [11.3], [12, 11.5, 13]]) assert.equal(decide(card, [14, 14, 14]).isWorth, false);
  assert.equal(decide([20], [14]).reason, "14 ms a forward pass, 20 ms by WebGPU on a card");
  assert.equal(decide([11.1], [14]).isWorth, true);
});

test("where the clock is too coarse to tell, the CPU stays", () => {
  assert.equal(decide([0, 0, 0], [0, 0, 0]).isWorth, false);
});
