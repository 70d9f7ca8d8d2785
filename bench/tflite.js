// Writes an ONNX network as a LiteRT one (.tflite), in the form that Google's converters leave: channels last, padding as a
// step of its own, activations fused. `node bench/tflite.js NETWORK.onnx NETWORK.tflite`
//
// Their converters want PyTorch or TensorFlow; this one needs only the npm package of the file's format.
// Numbers of fields and operators: <https://github.com/tensorflow/tensorflow/blob/master/tensorflow/compiler/mlir/lite/schema/schema.fbs>.

import { readFileSync, writeFileSync } from "node:fs";
import { networkFrom } from "./steps.js";

/** BuiltinOperator, and of its options the number in the union and the kind of each field. */
const OPERATORS = {
  ADD: { code: 0, options: 11, fields: ["byte"] },
  CONCATENATION: { code: 2, options: 10, fields: ["int", "byte"] },
  CONV_2D: { code: 3, options: 1, fields: ["byte", "int", "int", "byte", "int", "int"] },
  DEPTHWISE_CONV_2D: { code: 4, options: 2, fields: ["byte", "int", "int", "int", "byte", "int", "int"] },
  FULLY_CONNECTED: { code: 9, options: 8, fields: ["byte"] },
  MAX_POOL_2D: { code: 17, options: 5, fields: ["byte", "int", "int", "int", "int", "byte"] },
  MUL: { code: 18, options: 21, fields: ["byte"] },
  RELU: { code: 19 },
  RELU6: { code: 21 },
  RESHAPE: { code: 22, options: 17, fields: [] },
  PAD: { code: 34, options: 22, fields: [] },
  MEAN: { code: 40, options: 27, fields: ["bool"] },
  STRIDED_SLICE: { code: 45, options: 32, fields: ["int", "int", "int", "int", "int"] },
};
const ACTIVATIONS = { relu: 1, relu6: 3 };
const [FLOAT32, INT32] = [0, 2];
/** Padding, of which the steps take none: `VALID`. */
const NONE = 1;

/**
 * @param {typeof import("flatbuffers")} flatbuffers
 * @param {Uint8Array} file ONNX
 * @returns {Uint8Array}
 */
export function tfliteOf(flatbuffers, file) {
  const network = networkFrom(file);
  const tensors = [];
  const buffers = [new Uint8Array(0)];
  const operators = [];
  const known = new Map();
  const add = (shape, data) => {
    const type = data instanceof Int32Array ? INT32 : FLOAT32;
    if (data) buffers.push(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    return tensors.push({ shape, type, buffer: data ? buffers.length - 1 : 0 }) - 1;
  };
  const integers = (values, shape = [values.length]) => add(shape, Int32Array.from(values));
  /** Adds a step; returns its output. */
  const then = (name, inputs, shape, ...options) => {
    const output = add(shape);
    operators.push({ name, inputs, output, options });
    return output;
  };
  const padded = (x, shape, pads) => {
    if (!pads.some(Boolean)) return x;
    // Of the last axes only, where there are fewer.
    const half = pads.length / 2;
    const around = channelsLast(
      shape.map((_, axis) => {
        const i = axis - shape.length + half;
        return i < 0 ? [0, 0] : [pads[i], pads[i + half]];
      }),
    );
    const sides = channelsLast(shape).map((side, axis) => side + around[axis][0] + around[axis][1]);
    return then("PAD", [x, integers(around.flat(), [4, 2])], sides);
  };

  const { steps } = network;
  const input = add(channelsLast(network.inputShape));
  known.set(network.input, input);
  const merged = new Set();
  for (const [i, step] of steps.entries()) {
    if (merged.has(step)) continue;
    const { operator, from, strides = [] } = step;
    const inputs = step.inputs.map((name) => known.get(name));
    const [x] = inputs;
    const shape = channelsLast(step.shape);
    const [down, right] = strides;
    let { output } = step;
    switch (operator) {
      case "Conv": {
        const { weight, bias, group, dilations } = step;
        const [outputs, inner, ...size] = weight.shape;
        const activation = ACTIVATIONS[step.activation] ?? 0;
        const depthwise = group > 1;
        if (depthwise && (inner !== 1 || outputs !== group))
          throw new Error(`grouped convolutions are written only with one channel a group, not ${inner}`);
        const filter = depthwise
          ? add([1, ...size, outputs], reordered(weight, [2, 3, 0, 1]))
          : add([outputs, ...size, inner], reordered(weight, [0, 2, 3, 1]));
        known.set(
          output,
          then(
            depthwise ? "DEPTHWISE_CONV_2D" : "CONV_2D",
            [padded(x, from, step.pads), filter, add([outputs], bias)],
            shape,
            NONE,
            right,
            down,
            ...(depthwise ? [1] : []),
            activation,
            dilations[1],
            dilations[0],
          ),
        );
        break;
      }
      case "Add": {
        const next = steps[i + 1];
        const users = steps.filter(({ inputs }) => inputs.includes(output)).length;
        const fused = next?.operator === "Relu" && next.inputs[0] === output && users === 1;
        if (fused) {
          merged.add(next);
          ({ output } = next);
        }
        known.set(output, then("ADD", inputs, shape, fused ? ACTIVATIONS.relu : 0));
        break;
      }
      case "BatchNormalization": {
        const [gain, offset] = [step.gain, step.offset].map((row) => add([row.length], row));
        known.set(output, then("ADD", [then("MUL", [x, gain], shape, 0), offset], shape, 0));
        break;
      }
      case "Relu":
        known.set(output, then("RELU", inputs, shape));
        break;
      case "Clip":
        if (step.low !== 0 || step.high !== 6)
          throw new Error(`limits ${step.low}, ${step.high}: only 0, 6 are written`);
        known.set(output, then("RELU6", inputs, shape));
        break;
      case "Concat":
        known.set(output, then("CONCATENATION", inputs, shape, 3, 0));
        break;
      case "MaxPool": {
        const [height, width] = step.size;
        // Behind a ReLU nothing is below the padding of 0.
        const options = [NONE, right, down, width, height, 0];
        known.set(output, then("MAX_POOL_2D", [padded(x, from, step.pads)], shape, ...options));
        break;
      }
      case "GlobalAveragePool":
        known.set(output, then("MEAN", [x, integers([1, 2])], shape, 1));
        break;
      case "Flatten":
        if (from.slice(2).some((side) => side !== 1)) throw new Error(`a plane of ${from.slice(2)} is not flattened`);
        known.set(output, then("RESHAPE", [x, integers(step.shape)], step.shape));
        break;
      case "Gemm": {
        const weight = add(step.weight.shape, Float32Array.from(step.weight.values));
        known.set(output, then("FULLY_CONNECTED", [x, weight, add([step.bias.length], step.bias)], step.shape, 0));
        break;
      }
      case "Slice": {
        const ranges = [step.begin, step.end, step.step].map((range) => integers(channelsLast(range)));
        known.set(output, then("STRIDED_SLICE", [x, ...ranges], shape, 0, 0, 0, 0, 0));
        break;
      }
      case "Pad":
        known.set(output, padded(x, from, step.pads));
        break;
      default:
        throw new Error(`the comparison has no ${operator} for LiteRT`);
    }
  }
  return written(flatbuffers, { tensors, buffers, operators, input, output: known.get(network.output) });
}

function channelsLast(sides) {
  if (sides.length !== 4) return sides;
  const [images, channels, height, width] = sides;
  return [images, height, width, channels];
}

/** A tensor's numbers with its axes in another order. */
function reordered({ shape, values }, order) {
  const strides = shape.map((_, axis) => shape.slice(axis + 1).reduce((product, side) => product * side, 1));
  let places = [0];
  for (const axis of order)
    places = places.flatMap((place) => Array.from({ length: shape[axis] }, (_, i) => place + i * strides[axis]));
  return Float32Array.from(places, (place) => values[place]);
}

/** The file: tables refer to what lies behind them, so that the innermost is written first. */
function written(flatbuffers, { tensors, buffers, operators, input, output }) {
  const builder = new flatbuffers.Builder(1 << 20);
  /** Fields in order, undefined ones left out; each `[kind, value]`. */
  const table = (fields) => {
    builder.startObject(fields.length);
    fields.forEach((field, i) => {
      if (field) WRITE[field[0]](builder, i, field[1]);
    });
    return builder.endObject();
  };
  const offsets = (list) => {
    builder.startVector(4, list.length, 4);
    for (const offset of [...list].reverse()) builder.addOffset(offset);
    return builder.endVector();
  };
  const ints = (list) => {
    builder.startVector(4, list.length, 4);
    for (const value of [...list].reverse()) builder.addInt32(value);
    return builder.endVector();
  };
  const bytes = (data) => {
    // LiteRT reads numbers where they lie, from multiples of 16.
    builder.startVector(1, data.length, 16);
    builder.space = builder.space - data.length;
    builder.bb.bytes().set(data, builder.space);
    return builder.endVector();
  };
  const names = Object.keys(OPERATORS).filter((name) => operators.some((operator) => operator.name === name));
  const codes = names.map((name) => {
    const { code } = OPERATORS[name];
    return table([["byte", code], undefined, ["int", 1], ["int", code]]);
  });
  const lists = buffers.map((data) => table([data.length ? ["offset", bytes(data)] : undefined]));
  const values = tensors.map(({ shape, type, buffer }, i) => {
    const [sides, name] = [ints(shape), builder.createString(`t${i}`)];
    return table([
      ["offset", sides],
      ["byte", type],
      ["int", buffer],
      ["offset", name],
    ]);
  });
  const steps = operators.map(({ name, inputs, output, options }) => {
    const { options: kind, fields } = OPERATORS[name];
    const chosen = kind && table(fields.map((field, i) => [field, options[i]]));
    const [from, to] = [ints(inputs), ints([output])];
    return table([
      ["int", names.indexOf(name)],
      ["offset", from],
      ["offset", to],
      kind ? ["byte", kind] : undefined,
      kind ? ["offset", chosen] : undefined,
    ]);
  });
  const graph = [offsets(values), ints([input]), ints([output]), offsets(steps), builder.createString("main")];
  const graphs = offsets([table(graph.map((offset) => ["offset", offset]))]);
  const [list, description, data] = [offsets(codes), builder.createString("comparison"), offsets(lists)];
  builder.finish(
    table([
      ["int", 3],
      ["offset", list],
      ["offset", graphs],
      ["offset", description],
      ["offset", data],
    ]),
    "TFL3",
  );
  return builder.asUint8Array();
}

/** Without the shortcut for what equals a default: nothing here depends on one. */
const WRITE = {
  byte: (builder, i, value) => builder.addFieldInt8(i, value, undefined),
  bool: (builder, i, value) => builder.addFieldInt8(i, value, undefined),
  int: (builder, i, value) => builder.addFieldInt32(i, value, undefined),
  offset: (builder, i, value) => builder.addFieldOffset(i, value, 0),
};

if (import.meta.filename === process.argv[1]) {
  const [from, to] = process.argv.slice(2);
  if (!to) throw new Error("two files are needed: node bench/tflite.js NETWORK.onnx NETWORK.tflite");
  writeFileSync(to, tfliteOf(await import("flatbuffers"), readFileSync(from)));
}
