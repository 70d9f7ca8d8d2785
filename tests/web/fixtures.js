// What the tests in browsers read: the safetensors files that `tests/data/make_*.py` wrote, as plain data for a page.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "./site.js";

/** @param {string} file below `tests/data` */
export function readFixture(file) {
  const bytes = readFileSync(join(ROOT, "tests/data", file));
  const length = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString("utf8", 8, 8 + length));
  return {
    /** @param {string} name @returns {any} */
    fact: (name) => JSON.parse(header.__metadata__[name]),
    /** @param {string} name @returns {{ shape: number[], values: number[] }} */
    tensor(name) {
      const {
        shape,
        data_offsets: [from, to],
      } = header[name];
      const data = bytes.subarray(8 + length + from, 8 + length + to);
      return { shape, values: Array.from({ length: data.length / 4 }, (_, i) => data.readFloatLE(4 * i)) };
    },
  };
}

/** The largest difference of two lists, relative to the largest number of the second. */
export function relativeDifference(actual, expected) {
  if (actual.length !== expected.length) return Infinity;
  const largest = Math.max(...expected.map(Math.abs));
  const difference = Math.max(...actual.map((value, i) => Math.abs(value - expected[i])));
  // Zeros are expected exactly.
  return difference === 0 ? 0 : difference / largest;
}
