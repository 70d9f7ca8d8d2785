// An ONNX network as any framework's converter would leave it: parameters in f32, batch normalisation folded into the
// convolutions, activations named with them, padding in numbers, each value's shape known.

import { readOnnx } from "./onnx.js";

/**
 * @typedef {import("./onnx.js").Constant} Constant
 *
 * @typedef {object} Step
 * @property {string} operator ONNX's name
 * @property {string[]} inputs values of other steps, or the network's input
 * @property {string} output
 * @property {number[]} shape of the output, in ONNX's order
 * @property {number[]} from the first input's shape
 * @property {Constant} [weight] of Conv `[out, in / group, height, width]`, of Gemm `[out, in]`
 * @property {Float32Array} [bias]
 * @property {"relu" | "relu6"} [activation] of Conv
 * @property {number[]} [strides] @property {number[]} [pads] top, left, bottom, right; of Pad as ONNX has them
 * @property {number[]} [dilations] @property {number} [group] @property {number[]} [size] of a window
 * @property {Float32Array} [gain] @property {Float32Array} [offset] of a BatchNormalization that is on its own
 * @property {number} [low] @property {number} [high] of Clip
 * @property {number[]} [begin] @property {number[]} [end] @property {number[]} [step] of Slice, one number an axis
 *
 * @typedef {{ input: string, inputShape: number[], output: string, steps: Step[] }} Network
 */

/**
 * @param {Uint8Array} file
 * @param {string} [layer] a value that must not disappear in a fused step
 * @returns {Network}
 */
export function networkFrom(file, layer) {
  const graph = readOnnx(file);
  return { ...graph, steps: stepsOf(graph, layer) };
}

/**
 * The steps before a layer, those that depend on it, and what else these need, by a skip connection or another branch.
 *
 * @param {Network} network @param {string} layer
 * @returns {{ before: Step[], behind: Step[], kept: string[] }}
 */
export function cut({ steps }, layer) {
  const depends = new Set([layer]);
  const behind = steps.filter(({ inputs, output }) => {
    const does = output !== layer && inputs.some((name) => depends.has(name));
    if (does) depends.add(output);
    return does;
  });
  const kept = [...new Set(behind.flatMap(({ inputs }) => inputs))].filter((name) => !depends.has(name));
  return { before: steps.filter((step) => !behind.includes(step)), behind, kept };
}

/** @returns {Step[]} */
function stepsOf({ nodes, constants, input, inputShape, output: scores }, layer) {
  const numbersOf = new Map(constants);
  const shapes = new Map([[input, inputShape]]);
  const users = new Map();
  for (const node of nodes) for (const name of node.inputs) users.set(name, [...(users.get(name) ?? []), node]);
  /** The one node that takes this value, if nothing else needs it. */
  const soleUser = (name) =>
    name !== layer && name !== scores && users.get(name)?.length === 1 ? users.get(name)[0] : undefined;
  const steps = [];
  const merged = new Set();
  for (const node of nodes) {
    if (merged.has(node)) continue;
    const { operator, inputs, attributes } = node;
    const [x] = inputs;
    const from = shapes.get(x);
    const number = (i) => numbersOf.get(inputs[i]);
    const values = (i) => Array.from(number(i).values);
    let [output] = node.outputs;
    const add = (shape, details = {}, inputs = [x]) => {
      shapes.set(output, shape);
      steps.push({ operator, inputs, output, from, shape, ...details });
    };
    switch (operator) {
      case "Cast":
        numbersOf.set(output, number(0));
        break;
      case "DequantizeLinear":
        numbersOf.set(output, dequantized(number(0), number(1), number(2)));
        break;
      case "Conv": {
        let [weight, bias] = [number(1), inputs[2] ? number(2).values : new Float32Array(number(1).shape[0])];
        const take = (next) => {
          merged.add(next);
          [output] = next.outputs;
        };
        let next = soleUser(output);
        if (next?.operator === "BatchNormalization") {
          [weight, bias] = folded(
            weight,
            bias,
            normalization(
              next.inputs.slice(1).map((name) => numbersOf.get(name)),
              next.attributes,
            ),
          );
          take(next);
          next = soleUser(output);
        }
        let activation;
        if (next?.operator === "Relu" || (next?.operator === "Clip" && numbersOf.get(next.inputs[2]).values[0] === 6)) {
          activation = next.operator === "Relu" ? "relu" : "relu6";
          take(next);
        }
        const { group = 1, strides = [1, 1], pads = [0, 0, 0, 0], dilations = [1, 1] } = attributes;
        const [outputs, , ...size] = weight.shape;
        const shape = [from[0], outputs, ...windows(from, size, strides, pads, dilations)];
        add(shape, { weight, bias: Float32Array.from(bias), activation, group, strides, pads, dilations, size });
        break;
      }
      case "BatchNormalization":
        add(
          from,
          normalization(
            [1, 2, 3, 4].map((i) => number(i)),
            attributes,
          ),
        );
        break;
      case "Relu":
        add(from);
        break;
      case "Clip":
        add(from, { low: values(1)[0], high: values(2)[0] });
        break;
      case "Add":
        add(from, {}, inputs);
        break;
      case "Concat": {
        const channels = inputs.reduce((sum, name) => sum + shapes.get(name)[1], 0);
        add([from[0], channels, ...from.slice(2)], {}, inputs);
        break;
      }
      case "MaxPool": {
        const { kernel_shape: size, strides, ceil_mode: ceiling } = attributes;
        const pads = [...attributes.pads];
        // What sticks out past the last window is padded where windows may stick out.
        if (ceiling) {
          for (const axis of [0, 1]) {
            const rest = (from[2 + axis] + pads[axis] + pads[axis + 2] - size[axis]) % strides[axis];
            pads[axis + 2] += (strides[axis] - rest) % strides[axis];
          }
        }
        add([...from.slice(0, 2), ...windows(from, size, strides, pads)], { size, strides, pads });
        break;
      }
      case "GlobalAveragePool":
        add([...from.slice(0, 2), 1, 1]);
        break;
      case "Flatten":
        add([from[0], from.slice(1).reduce((product, side) => product * side, 1)]);
        break;
      case "Gemm": {
        const weight = attributes.transB ? number(1) : transposed(number(1));
        add([from[0], weight.shape[0]], { weight, bias: Float32Array.from(number(2).values) });
        break;
      }
      case "Slice": {
        const [begin, end, step] = [from.map(() => 0), [...from], from.map(() => 1)];
        const [starts, ends, axes, strides] = [1, 2, 3, 4].map(values);
        axes.forEach((axis, i) => {
          begin[axis] = Math.min(starts[i], from[axis]);
          end[axis] = Math.min(ends[i], from[axis]);
          step[axis] = strides[i];
        });
        add(
          from.map((_, axis) => Math.ceil((end[axis] - begin[axis]) / step[axis])),
          { begin, end, step },
        );
        break;
      }
      case "Pad": {
        const pads = values(1);
        add(
          from.map((side, axis) => side + pads[axis] + pads[axis + from.length]),
          { pads },
        );
        break;
      }
      default:
        throw new Error(`the comparison has no ${operator}`);
    }
  }
  return steps;
}

/** How many windows fit, below each other and side by side. */
function windows([, , ...sides], size, strides, pads, dilations = [1, 1]) {
  return sides.map((side, i) => {
    const reach = dilations[i] * (size[i] - 1) + 1;
    return Math.floor((side + pads[i] + pads[i + 2] - reach) / strides[i]) + 1;
  });
}

/** Weights with one scale for each output channel. */
function dequantized({ shape, values }, scales, zeros) {
  const inner = values.length / shape[0];
  const of = ({ values }, i) => values[values.length === 1 ? 0 : Math.floor(i / inner)];
  return { shape, values: Float32Array.from(values, (value, i) => (value - of(zeros, i)) * of(scales, i)) };
}

/** What a batch normalisation multiplies each channel by, and what it adds. */
function normalization([scale, shift, mean, variance], { epsilon = 1e-5 }) {
  const gain = Float32Array.from(scale.values, (scale, i) => scale / Math.sqrt(variance.values[i] + epsilon));
  return { gain, offset: Float32Array.from(gain, (gain, i) => shift.values[i] - mean.values[i] * gain) };
}

/** Batch normalisation behind a convolution as part of its parameters. */
function folded({ shape, values }, bias, { gain, offset }) {
  const inner = values.length / shape[0];
  return [
    { shape, values: Float32Array.from(values, (value, i) => value * gain[Math.floor(i / inner)]) },
    Float32Array.from(bias, (bias, i) => bias * gain[i] + offset[i]),
  ];
}

function transposed({ shape: [rows, columns], values }) {
  const at = (i) => values[(i % rows) * columns + Math.floor(i / rows)];
  return { shape: [columns, rows], values: Float32Array.from({ length: values.length }, (_, i) => at(i)) };
}
