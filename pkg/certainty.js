// Whether a network is sure of what it says: whether anything that it knows is likely.

import { grouped, percent } from "./words.js";

/**
 * The rule of a network, from its manifest: the least probability of a likely class; the least that all scores must come to
 * (the logarithm of the sum of their exponentials: the energy of Liu et al. 2020, https://arxiv.org/abs/2010.03759); and the
 * most that those of all but the highest twentieth may come to. Pictures of nothing raise few scores, or in some networks
 * hundreds a little, and one class may be likely by that.
 * @typedef {{ probability?: number, energy?: number, rest?: number }} Rule
 */

/** Below this probability of its likeliest class a network that says nothing of its own is unsure. */
const LIKELY = 0.25;
/** A likeliest class that is hardly likelier than all are by chance is no answer: for networks of few classes. */
const ABOVE_CHANCE = 1.2;
/** The share of the classes whose scores are left out of the rest. */
const HIGHEST = 1 / 20;
/** Neighbouring pixels of less correlation are noise: photographs have 0.7 and more, those of 64 pixels almost always 0.3. */
const ALIKE = 0.2;
/** How many pixels are looked at, about. */
const SAMPLE = 1e5;

/**
 * @param {Float32Array} scores of all classes @param {{ label: string, probability: number }} top the likeliest class
 * @param {Rule} [rule] @param {Uint8Array} [rgba] the picture
 * @returns {{ certainty: "sure" | "unsure", certaintyReason: string }}
 */
export function certaintyOf(scores, { label, probability }, rule = {}, rgba = new Uint8Array()) {
  // -∞ is how some networks leave classes out.
  if (Number.isNaN(probability) || !scores.every((score) => score < Infinity))
    return unsure("The computation overflowed: not all scores are numbers, so that nothing is said of this image.");
  const { probability: least, energy: enough, rest: most } = rule;
  const classes = scores.length;
  // One output is a yes or a no: both are answers.
  const likeliest = classes === 1 ? Math.max(probability, 1 - probability) : probability;
  const limit = least ?? Math.max(LIKELY, ABOVE_CHANCE / Math.max(2, classes));
  if (likeliest < limit) return unsure(unlikely(classes, label, likeliest, limit));
  const energy = enough === undefined ? undefined : energyOf(scores);
  if (energy < enough) {
    return unsure(
      `Little here speaks for any of the ${grouped(classes)} things that this network knows (all scores come to ${energy.toFixed(2)}, less than ${enough}): ${label} has ${percent(likeliest)} for want of others.`,
    );
  }
  const rest = most === undefined ? undefined : restOf(scores);
  if (rest > most) {
    return unsure(
      `This looks like noise: ${grouped(classes)} classes share what there is (the scores of all but the highest come to ${rest.toFixed(2)}, more than ${most}), and ${label} has ${percent(likeliest)} by chance.`,
    );
  }
  const alike = likenessIn(rgba);
  if (alike < ALIKE) {
    return unsure(
      `This looks like noise: pixels have nothing to do with their neighbours (a correlation of ${alike.toFixed(2)}, less than ${ALIKE}), and ${label} has ${percent(likeliest)} by chance.`,
    );
  }
  return { certainty: "sure", certaintyReason: `${label} has ${percent(likeliest)}, at least ${percent(limit)}.` };
}

function unsure(certaintyReason) {
  return { certainty: "unsure", certaintyReason };
}

function unlikely(classes, label, likeliest, limit) {
  if (classes === 1) return `Yes and no are about as likely: ${percent(likeliest)}.`;
  return `Nothing among the ${grouped(classes)} things that this network knows is likely here: the nearest, ${label}, has ${percent(likeliest)}, less than ${percent(limit)}.`;
}

/** The logarithm of the sum of the exponentials. @param {Float32Array} scores */
function energyOf(scores) {
  const largest = scores.reduce((a, b) => Math.max(a, b), -Infinity);
  return largest + Math.log(scores.reduce((sum, score) => sum + Math.exp(score - largest), 0));
}

/** The same of all scores but the highest. */
function restOf(scores) {
  const ordered = scores.slice().sort();
  return energyOf(ordered.subarray(0, ordered.length - Math.ceil(HIGHEST * ordered.length)));
}

/** The correlation of pixels with those on their left, in green; NaN where all are the same. @param {Uint8Array} rgba */
function likenessIn(rgba) {
  let [sum, squares, products, count] = [0, 0, 0, 0];
  const step = 4 * Math.ceil(rgba.length / 4 / SAMPLE);
  for (let i = 5; i < rgba.length; i += step) {
    sum += rgba[i];
    squares += rgba[i] ** 2;
    products += rgba[i] * rgba[i - 4];
    count++;
  }
  return (products * count - sum ** 2) / (squares * count - sum ** 2);
}
