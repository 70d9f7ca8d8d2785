// @ts-check
// Whether a graphics card is worth changing to, by times that were measured on this machine with this network.

/** So many times of either side are compared. */
export const RUNS = 3;

/** The card's share of the CPU's time, at most: what it saves has to be more than what times vary by. */
const WORTH = 0.8;

/**
 * @param {number[]} card milliseconds of forward passes, warm
 * @param {number[]} cpu the same of the CPU
 * @param {string} adapter the card's name
 * @returns {{ isWorth: boolean, reason: string }} whether the card is the faster one by enough, and both times for a person
 */
export function compare(card, cpu, adapter) {
  const [on, off] = [median(card), median(cpu)];
  const isWorth = on < WORTH * off;
  const reason = isWorth
    ? `${adapter}: ${shown(on)} a forward pass, ${shown(off)} on the CPU`
    : `${shown(off)} a forward pass, ${shown(on)} by ${adapter}`;
  return { isWorth, reason };
}

/** @param {number[]} times */
function median(times) {
  return [...times].sort((a, b) => a - b)[Math.floor(times.length / 2)];
}

/** @param {number} time in milliseconds */
function shown(time) {
  return `${time < 10 ? time.toFixed(1) : Math.round(time)} ms`;
}
