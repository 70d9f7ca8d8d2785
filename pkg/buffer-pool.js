// @ts-check
// Memory for copies of tensors, kept ready: the first touch of memory that is new takes several times as long as a copy.

/** One for a prediction to keep and one to be sent to the worker. */
const MOST = 2;

/** All of one length. @type {Float32Array[]} */
let spare = [];

/** A copy in memory that lies ready, if any does. @param {ArrayLike<number>} values */
export function copyOf(values) {
  const fits = spare[0]?.length === values.length;
  const copy = (fits && spare.pop()) || new Float32Array(values.length);
  copy.set(values);
  return copy;
}

/** Takes memory that nobody uses any more. @param {Float32Array} tensor */
export function giveBack(tensor) {
  if (spare[0]?.length !== tensor.length) spare = [];
  if (spare.length < MOST) spare.push(tensor);
}

/** Makes memory ready for another tensor, while there is time. @param {number} length */
export function makeReady(length) {
  // Zeros are not touched before they are written.
  giveBack(new Float32Array(length).fill(0));
}
