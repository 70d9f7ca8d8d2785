// Classes by their names and by their scores.

import { GradCamError } from "./errors.js";

/**
 * The index of a class given as an index, a label, or one of the names in a label like "tench, Tinca tinca".
 *
 * A number is an index, whatever the labels say. Digits in a string are a label if one reads like that, else an index.
 */
export function findClass(labels, wanted) {
  const refuse = (sentence) => {
    throw new GradCamError("TargetError", sentence);
  };
  const plain = (text) => text.trim().toLowerCase();
  if (typeof wanted !== "number") {
    const name = plain(String(wanted));
    const tests = [(label) => plain(label) === name, (label) => label.split(",").some((part) => plain(part) === name)];
    for (const test of tests) {
      const indices = labels.flatMap((label, index) => (test(label) ? [index] : []));
      if (indices.length === 1) return indices[0];
      if (indices.length > 1) {
        const all = indices.length > 9 ? [...indices.slice(0, 9), "…"] : indices;
        refuse(
          `"${wanted}" names ${indices.length} classes: ${all.join(" and ")}. Give the index of the one that is meant.`,
        );
      }
    }
    if (!/^\d+$/.test(name)) {
      const near = labels.filter((label) => plain(label).includes(name)).slice(0, 5);
      const hint = near.length
        ? `; did you mean ${near.map((label) => `"${label}"`).join(", ")}?`
        : `; there are "${labels.slice(0, 3).join('", "')}" and so on, or an index from 0 to ${labels.length - 1}.`;
      refuse(`There is no class "${wanted}"${hint}`);
    }
  }
  const index = Number(wanted);
  if (Number.isInteger(index) && index >= 0 && index < labels.length) return index;
  return refuse(`There is no class ${wanted}; the network has the classes 0 to ${labels.length - 1}.`);
}

/** The `n` likeliest classes of scores and probabilities, or the likeliest of some. @param {Iterable<number>} [among] their indices */
export function highest({ scores, probabilities }, labels, n, among = scores.keys()) {
  const indices = [...among];
  const count = Math.min(Math.max(0, n), indices.length);
  // Numbers are sorted fast, places by their numbers are not: of a million classes few are looked at.
  const least = Float32Array.from(indices, (index) => scores[index]).sort()[indices.length - count];
  return (
    indices
      .filter((index) => !(scores[index] < least))
      // Of equal scores the class that comes first in the labels comes first.
      .sort((a, b) => scores[b] - scores[a] || a - b)
      .slice(0, count)
      .map((index) => ({ index, label: labels[index], score: scores[index], probability: probabilities[index] }))
  );
}
