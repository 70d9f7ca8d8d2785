// As much of ONNX as the comparison needs: reading a network for TensorFlow.js, and writing one with made-up weights.
//
// Field numbers are those of onnx.proto: <https://github.com/onnx/onnx/blob/main/onnx/onnx.proto>.

/**
 * @typedef {{ shape: number[], values: Float32Array | number[] }} Constant
 * @typedef {{ operator: string, inputs: string[], outputs: string[], attributes: Record<string, any> }} Node
 * @typedef {{ input: string, inputShape: number[], output: string, nodes: Node[], constants: Map<string, Constant> }} Graph
 */

/** @param {Uint8Array} file @returns {Graph} */
export function readOnnx(file) {
  const graph = message(one(message(file), 7));
  const constants = new Map(all(graph, 5).map((bytes) => readTensor(message(bytes))));
  const nodes = all(graph, 1).map((bytes) => {
    const node = message(bytes);
    return {
      operator: text(one(node, 4)),
      inputs: all(node, 1).map(text),
      outputs: all(node, 2).map(text),
      attributes: Object.fromEntries(all(node, 5).map((bytes) => readAttribute(message(bytes)))),
    };
  });
  const input = all(graph, 11)
    .map(message)
    .find((value) => !constants.has(text(one(value, 1))));
  const tensorType = message(one(message(one(input, 2)), 1));
  const inputShape = all(message(one(tensorType, 2)), 1).map((bytes) => one(message(bytes), 1) || 1);
  return { input: text(one(input, 1)), inputShape, output: text(one(message(one(graph, 12)), 1)), nodes, constants };
}

/** The fields of a protobuf message in order: numbers for varints and fixed-width ones, bytes for the rest. */
function message(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const fields = [];
  for (let at = 0; at < bytes.length;) {
    let key, value;
    [key, at] = varint(bytes, at);
    switch (key & 7) {
      case 0:
        [value, at] = varint(bytes, at);
        break;
      case 1:
        value = view.getFloat64(at, true);
        at += 8;
        break;
      case 5:
        value = view.getFloat32(at, true);
        at += 4;
        break;
      default: {
        const [length, start] = varint(bytes, at);
        value = bytes.subarray(start, (at = start + length));
      }
    }
    fields.push({ number: key >>> 3, value });
  }
  return fields;
}

function varint(bytes, at) {
  let value = 0n;
  for (let shift = 0n; ; shift += 7n) {
    const byte = bytes[at++];
    value |= BigInt(byte & 127) << shift;
    if (byte < 128) return [Number(BigInt.asIntN(64, value)), at];
  }
}

const all = (fields, number) => fields.filter((field) => field.number === number).map((field) => field.value);
const one = (fields, number) => all(fields, number)[0];
const text = (bytes) => new TextDecoder().decode(bytes);

/** Repeated numbers, each in a field of its own or packed into one. */
function numbers(fields, number, size, read) {
  return all(fields, number).flatMap((value) => {
    if (typeof value === "number") return [value];
    if (size)
      return Array.from({ length: value.length / size }, (_, i) =>
        read(new DataView(value.buffer, value.byteOffset), i * size),
      );
    const values = [];
    for (let at = 0, next; at < value.length; values.push(next)) [next, at] = varint(value, at);
    return values;
  });
}

const float = (view, at) => view.getFloat32(at, true);

function readAttribute(fields) {
  const name = text(one(fields, 1));
  switch (one(fields, 20)) {
    case 1:
      return [name, one(fields, 2)];
    case 2:
      return [name, one(fields, 3) ?? 0];
    case 3:
      return [name, text(one(fields, 4))];
    case 6:
      return [name, numbers(fields, 7, 4, float)];
    case 7:
      return [name, numbers(fields, 8)];
    default:
      return [name, undefined];
  }
}

/** Readers of one number of a data type, and its size in bytes. */
const TYPES = {
  1: [4, float],
  2: [1, (view, at) => view.getUint8(at)],
  3: [1, (view, at) => view.getInt8(at)],
  6: [4, (view, at) => view.getInt32(at, true)],
  7: [8, (view, at) => Number(view.getBigInt64(at, true))],
  10: [2, (view, at) => half(view.getUint16(at, true))],
};

function readTensor(fields) {
  const name = text(one(fields, 8));
  const shape = numbers(fields, 1);
  const type = one(fields, 2);
  if (!TYPES[type]) throw new Error(`${name} has ONNX's data type ${type}, which the comparison does not read`);
  const [size, read] = TYPES[type];
  const raw = one(fields, 9);
  if (!raw)
    return [name, { shape, values: type === 1 ? numbers(fields, 4, 4, float) : numbers(fields, type === 7 ? 7 : 5) }];
  const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
  return [name, { shape, values: Float32Array.from({ length: raw.length / size }, (_, i) => read(view, i * size)) }];
}

function half(bits) {
  const [sign, exponent, fraction] = [bits >> 15 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/**
 * Writes a network whose constants are 32-bit floats.
 *
 * @param {Graph & { outputShape: number[] }} graph @returns {Uint8Array}
 */
export function writeOnnx({ input, inputShape, output, outputShape, nodes, constants }) {
  const dims = (shape) => shape.map((side) => bytesField(1, varintField(1, side)));
  const value = (name, shape) => [
    bytesField(1, name),
    bytesField(2, bytesField(1, [varintField(1, 1), bytesField(2, dims(shape))])),
  ];
  const attribute = ([name, content]) =>
    bytesField(5, [
      bytesField(1, name),
      ...(Array.isArray(content)
        ? [...content.map((number) => varintField(8, number)), varintField(20, 7)]
        : [varintField(3, content), varintField(20, 2)]),
    ]);
  const graph = [
    ...nodes.map(({ operator, inputs, outputs, attributes }) =>
      bytesField(1, [
        ...inputs.map((name) => bytesField(1, name)),
        ...outputs.map((name) => bytesField(2, name)),
        bytesField(4, operator),
        ...Object.entries(attributes).map(attribute),
      ]),
    ),
    bytesField(2, "comparison"),
    ...[...constants].map(([name, { shape, values }]) =>
      bytesField(5, [
        ...shape.map((side) => varintField(1, side)),
        varintField(2, 1),
        bytesField(8, name),
        bytesField(9, new Uint8Array(values.buffer, values.byteOffset, values.byteLength)),
      ]),
    ),
    bytesField(11, value(input, inputShape)),
    bytesField(12, value(output, outputShape)),
  ];
  const opset = [bytesField(1, ""), varintField(2, 13)];
  return joined([varintField(1, 8), bytesField(7, graph), bytesField(8, opset)]);
}

function varintBytes(value) {
  const bytes = [];
  for (; value > 127; value = Math.floor(value / 128)) bytes.push((value % 128) | 128);
  return Uint8Array.from([...bytes, value]);
}

function varintField(number, value) {
  return joined([varintBytes(8 * number), varintBytes(value)]);
}

function bytesField(number, content) {
  const bytes = typeof content === "string" ? new TextEncoder().encode(content) : joined([content].flat());
  return joined([varintBytes(8 * number + 2), varintBytes(bytes.length), bytes]);
}

function joined(parts) {
  if (parts.length === 1) return parts[0];
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
