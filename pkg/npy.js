// A heatmap's numbers for NumPy.

/** An `.npy` file of float32, version 1.0: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html */
export function npyOf({ width, height, values }) {
  const start = "\x93NUMPY\x01\x00";
  const facts = `{'descr': '<f4', 'fortran_order': False, 'shape': (${height}, ${width}), }`;
  // The numbers begin at a multiple of 64 bytes, and the header ends with a line break.
  const length = Math.ceil((start.length + 2 + facts.length + 1) / 64) * 64 - start.length - 2;
  const header = `${facts.padEnd(length - 1)}\n`;
  const file = new Uint8Array(start.length + 2 + length + 4 * values.length);
  const view = new DataView(file.buffer);
  Array.from(start, (letter, i) => view.setUint8(i, letter.charCodeAt(0)));
  view.setUint16(start.length, length, true);
  Array.from(header, (letter, i) => view.setUint8(start.length + 2 + i, letter.charCodeAt(0)));
  values.forEach((value, i) => view.setFloat32(start.length + 2 + length + 4 * i, value, true));
  return file;
}
