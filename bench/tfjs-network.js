// An ONNX network as TensorFlow.js would run it: channels last, batch normalisation folded, bias and activation fused
// into the convolutions, as its own converter leaves them.

import { readOnnx } from "./onnx.js";

/** @typedef {{ output: string, inputs: string[], run: (...inputs: any[]) => any }} Step */

/**
 * @param {any} tf TensorFlow.js, its backend chosen
 * @param {Uint8Array} file
 * @param {string} layer the target layer, where the network is cut
 */
export function networkOf(tf, file, layer) {
  const graph = readOnnx(file);
  const steps = stepsOf(tf, graph, layer);
  const behind = behindOf(steps, layer);
  const run = (values, chosen) => {
    for (const { output, inputs, run } of steps) {
      if (behind.has(output) === chosen) values.set(output, run(...inputs.map((name) => values.get(name))));
    }
    return values;
  };
  // What comes from before the layer and is used behind it, by a skip connection or another branch.
  const kept = [...new Set(steps.filter(({ output }) => behind.has(output)).flatMap(({ inputs }) => inputs))].filter(
    (name) => name !== layer && !behind.has(name),
  );
  return {
    /** The layer's activations of an input `[1, H, W, C]`, and what else is used behind it. */
    to: (input) =>
      tf.tidy(() => {
        const values = run(new Map([[graph.input, input]]), false);
        return { activations: values.get(layer), beside: kept.map((name) => tf.clone(values.get(name))) };
      }),
    /** The scores from the layer's activations and what else there is. */
    from: (activations, beside) =>
      run(new Map([[layer, activations], ...kept.map((name, i) => [name, beside[i]])]), true).get(graph.output),
  };
}

/** What depends on the layer. @returns {Set<string>} */
function behindOf(steps, layer) {
  const behind = new Set();
  for (const { outputs, output, inputs } of steps) {
    if (!inputs.some((name) => name === layer || behind.has(name))) continue;
    for (const name of outputs ?? [output]) if (name !== layer) behind.add(name);
  }
  return behind;
}

/** @returns {Step[]} */
function stepsOf(tf, { nodes, constants, output: scores }, layer) {
  const numbersOf = new Map(constants);
  const users = new Map();
  for (const node of nodes) for (const name of node.inputs) users.set(name, [...(users.get(name) ?? []), node]);
  /** The one node that takes this value, if nothing else needs it. */
  const soleUser = (name) =>
    name !== layer && name !== scores && users.get(name)?.length === 1 ? users.get(name)[0] : undefined;
  const steps = [];
  const merged = new Set();
  const behind = behindOf(nodes, layer);
  for (const node of nodes) {
    if (merged.has(node)) continue;
    const { operator, inputs, attributes } = node;
    const number = (i) => numbersOf.get(inputs[i]);
    const values = (i) => Array.from(number(i).values);
    let [output] = node.outputs;
    const add = (inputs, run) => steps.push({ output, inputs, run });
    const [x] = inputs;
    switch (operator) {
      case "Cast":
        numbersOf.set(output, number(0));
        break;
      case "DequantizeLinear":
        numbersOf.set(output, dequantized(number(0), number(1), number(2)));
        break;
      case "Conv": {
        let [weight, bias] = [number(1), inputs[2] ? number(2).values : new Float32Array(number(1).shape[0])];
        let next = soleUser(output);
        if (next?.operator === "BatchNormalization") {
          [weight, bias] = folded(
            weight,
            bias,
            next.inputs.slice(1).map((name) => numbersOf.get(name).values),
            next.attributes.epsilon ?? 1e-5,
          );
          merged.add(next);
          [output] = next.outputs;
          next = soleUser(output);
        }
        let activation;
        if (next?.operator === "Relu" || (next?.operator === "Clip" && numbersOf.get(next.inputs[2]).values[0] === 6)) {
          activation = next.operator === "Relu" ? "relu" : "relu6";
          merged.add(next);
          [output] = next.outputs;
        }
        // The fused operators' gradient asks for the filter's gradient too, which the wasm backend does not have.
        add(
          [x],
          convolution(behind.has(x) || x === layer ? unfused(tf) : tf.fused, tf, weight, bias, activation, attributes),
        );
        break;
      }
      case "BatchNormalization": {
        const [scale, shift, mean, variance] = [1, 2, 3, 4].map((i) => tf.tensor1d(values(i)));
        add([x], (x) => tf.batchNorm(x, mean, variance, shift, scale, attributes.epsilon ?? 1e-5));
        break;
      }
      case "Relu":
        add([x], (x) => tf.relu(x));
        break;
      case "Clip":
        add([x], (x) => tf.clipByValue(x, values(1)[0], values(2)[0]));
        break;
      case "Add":
        add(inputs, (a, b) => tf.add(a, b));
        break;
      case "Concat":
        add(inputs, (...parts) => tf.concat(parts, 3));
        break;
      case "MaxPool": {
        const { kernel_shape: size, strides, pads, ceil_mode: ceiling } = attributes;
        // What sticks out past the last window is padded where windows may stick out.
        const rest = (side, axis) =>
          ceiling
            ? (strides[axis] - ((side + pads[axis] + pads[axis + 2] - size[axis]) % strides[axis])) % strides[axis]
            : 0;
        add([x], (x) => {
          const [top, left, bottom, right] = [
            pads[0],
            pads[1],
            pads[2] + rest(x.shape[1], 0),
            pads[3] + rest(x.shape[2], 1),
          ];
          // Behind a ReLU nothing is below the padding of 0.
          return tf.maxPool(
            tf.pad(x, [
              [0, 0],
              [top, bottom],
              [left, right],
              [0, 0],
            ]),
            size,
            strides,
            "valid",
          );
        });
        break;
      }
      case "GlobalAveragePool":
        add([x], (x) => tf.mean(x, [1, 2], true));
        break;
      case "Flatten":
        add([x], (x) => tf.reshape(x, [1, -1]));
        break;
      case "Gemm": {
        const { shape, values } = number(1);
        const weight = tf.tidy(() => tf.transpose(tf.tensor(values, shape), attributes.transB ? [1, 0] : [0, 1]));
        const bias = tf.tensor1d(Array.from(number(2).values));
        add([x], (x) => tf.fused.matMul({ a: x, b: weight, bias }));
        break;
      }
      case "Slice": {
        const [starts, ends, axes, strides] = [1, 2, 3, 4].map(values);
        add([x], (x) => {
          const [begin, end, step] = [[0, 0, 0, 0], [...x.shape], [1, 1, 1, 1]];
          axes.forEach((axis, i) => {
            const side = x.shape[channelsLast(axis)];
            begin[channelsLast(axis)] = Math.min(starts[i], side);
            end[channelsLast(axis)] = Math.min(ends[i], side);
            step[channelsLast(axis)] = strides[i];
          });
          return tf.stridedSlice(x, begin, end, step);
        });
        break;
      }
      case "Pad": {
        const pads = values(1);
        add([x], (x) =>
          tf.pad(
            x,
            [0, 2, 3, 1].map((axis) => [pads[axis], pads[axis + 4]]),
          ),
        );
        break;
      }
      default:
        throw new Error(`the comparison has no ${operator} for TensorFlow.js`);
    }
  }
  return steps;
}

const channelsLast = (axis) => [0, 3, 1, 2][axis];

/** Weights with one scale for each output channel. */
function dequantized({ shape, values }, scales, zeros) {
  const inner = values.length / shape[0];
  const of = ({ values }, i) => values[values.length === 1 ? 0 : Math.floor(i / inner)];
  return { shape, values: Float32Array.from(values, (value, i) => (value - of(zeros, i)) * of(scales, i)) };
}

/** Batch normalisation behind a convolution as part of its parameters. */
function folded({ shape, values }, bias, [scale, shift, mean, variance], epsilon) {
  const inner = values.length / shape[0];
  const gain = Array.from(scale, (scale, i) => scale / Math.sqrt(variance[i] + epsilon));
  return [
    { shape, values: Float32Array.from(values, (value, i) => value * gain[Math.floor(i / inner)]) },
    Float32Array.from(bias, (bias, i) => (bias - mean[i]) * gain[i] + shift[i]),
  ];
}

function convolution(
  { conv2d, depthwiseConv2d },
  tf,
  { shape, values },
  biasValues,
  activation,
  { group = 1, strides, pads, dilations },
) {
  const bias = tf.tensor1d(biasValues);
  const pad = pads.every((pad) => pad === 0)
    ? "valid"
    : [
        [0, 0],
        [pads[0], pads[2]],
        [pads[1], pads[3]],
        [0, 0],
      ];
  const options = { strides, pad, dilations, bias, activation };
  if (group === 1) {
    const filter = tf.tidy(() => tf.transpose(tf.tensor(values, shape), [2, 3, 1, 0]));
    return (x) => conv2d({ x, filter, ...options });
  }
  if (shape[1] !== 1)
    throw new Error("the comparison has grouped convolutions for TensorFlow.js only with one channel a group");
  const filter = tf.tidy(() => tf.transpose(tf.tensor(values, shape), [2, 3, 0, 1]));
  return (x) => depthwiseConv2d({ x, filter, ...options });
}

/** The fused operators, one operator at a time. */
function unfused(tf) {
  const finished = (x, { bias, activation }) => (activation ? tf[activation](tf.add(x, bias)) : tf.add(x, bias));
  return {
    conv2d: (o) => finished(tf.conv2d(o.x, o.filter, o.strides, o.pad, "NHWC", o.dilations), o),
    depthwiseConv2d: (o) => finished(tf.depthwiseConv2d(o.x, o.filter, o.strides, o.pad, "NHWC", o.dilations), o),
  };
}
