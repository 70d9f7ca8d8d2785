// What is in a network's file: read from its outermost messages alone, so that a large file takes no longer than a small one.

/**
 * The fields of a protobuf message in order: the number of each, and its value, which is a number or bytes.
 * @param {Uint8Array} bytes @returns {Generator<[number, any]>}
 */
function* fieldsOf(bytes) {
  let at = 0;
  const number = () => {
    let [value, scale] = [0, 1];
    let byte;
    do {
      if (at >= bytes.length) throw new RangeError("The file ends in the middle of a number.");
      byte = bytes[at++];
      value += (byte & 127) * scale;
      scale *= 128;
    } while (byte > 127);
    return value;
  };
  while (at < bytes.length) {
    const key = number();
    const [field, kind] = [Math.floor(key / 8), key % 8];
    if (kind === 0) yield [field, number()];
    else if (kind === 2) {
      const length = number();
      yield [field, bytes.subarray(at, at + length)];
      at += length;
    } else if (kind === 1 || kind === 5) at += kind === 1 ? 8 : 4;
    else throw new RangeError(`The file has a field of kind ${kind}, which ONNX has none of.`);
  }
}

const textOf = (bytes) => new TextDecoder().decode(bytes);

/** Field numbers of onnx.proto. */
const MODEL = { producer: 2, producerVersion: 3, graph: 7, opset: 8 };
const GRAPH = { node: 1, initializer: 5 };
const NODE = { operator: 4, attribute: 5 };
const ATTRIBUTE = { tensor: 5 };
const TENSOR = { sides: 1, place: 14 };

/**
 * @typedef {object} Inside
 * @property {number} opset of the standard operators
 * @property {string} producer what wrote the file, or nothing
 * @property {number} parameters how many numbers it holds, its constants among them
 * @property {boolean} isSplit whether some of them lie in further files
 * @property {Map<string, number>} operators how often each is there, the most frequent first
 */

/** @param {Uint8Array} bytes of an ONNX file @returns {Inside} */
export function insideOf(bytes) {
  const inside = { opset: 1, producer: "", parameters: 0, isSplit: false, operators: new Map() };
  for (const [field, value] of fieldsOf(bytes)) {
    if (field === MODEL.producer || field === MODEL.producerVersion)
      inside.producer = `${inside.producer} ${textOf(value)}`.trim();
    else if (field === MODEL.opset) readOpset(value, inside);
    else if (field === MODEL.graph) readGraph(value, inside);
  }
  inside.operators = new Map([...inside.operators].sort(([, a], [, b]) => b - a));
  return inside;
}

function readOpset(bytes, inside) {
  let [domain, version] = ["", 1];
  for (const [field, value] of fieldsOf(bytes)) {
    if (field === 1) domain = textOf(value);
    else if (field === 2) version = value;
  }
  if (domain === "" || domain === "ai.onnx") inside.opset = version;
}

function readGraph(bytes, inside) {
  for (const [field, value] of fieldsOf(bytes)) {
    if (field === GRAPH.initializer) readTensor(value, inside);
    else if (field === GRAPH.node) readNode(value, inside);
  }
}

function readNode(bytes, inside) {
  let operator = "";
  const attributes = [];
  for (const [field, value] of fieldsOf(bytes)) {
    if (field === NODE.operator) operator = textOf(value);
    else if (field === NODE.attribute) attributes.push(value);
  }
  // A constant is a parameter in another place.
  if (operator !== "Constant") {
    inside.operators.set(operator, (inside.operators.get(operator) ?? 0) + 1);
    return;
  }
  for (const [field, value] of attributes.flatMap((attribute) => [...fieldsOf(attribute)]))
    if (field === ATTRIBUTE.tensor) readTensor(value, inside);
}

function readTensor(bytes, inside) {
  let size = 1;
  for (const [field, value] of fieldsOf(bytes)) {
    if (field === TENSOR.place && value === 1) inside.isSplit = true;
    if (field !== TENSOR.sides) continue;
    // Repeated numbers come one by one, or all in one field.
    size *= typeof value === "number" ? value : [...packedIn(value)].reduce((product, side) => product * side, 1);
  }
  inside.parameters += size;
}

function* packedIn(bytes) {
  let [value, scale] = [0, 1];
  for (const byte of bytes) {
    value += (byte & 127) * scale;
    scale *= 128;
    if (byte > 127) continue;
    yield value;
    [value, scale] = [0, 1];
  }
}
