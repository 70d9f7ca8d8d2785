// An ONNX network as TensorFlow.js would run it: channels last, bias and activation fused into the convolutions, as its own
// converter leaves them.

import { cut, networkFrom } from "./steps.js";

/**
 * @param {any} tf TensorFlow.js, its backend chosen
 * @param {Uint8Array} file
 * @param {string} layer the target layer, where the network is cut
 */
export function networkOf(tf, file, layer) {
  const network = networkFrom(file, layer);
  const { before, behind, kept } = cut(network, layer);
  const prepared = (steps, operators) => steps.map((step) => ({ ...step, run: operatorOf(tf, step, operators) }));
  // The fused operators' gradient asks for the filter's gradient too, which the wasm backend does not have.
  const [first, second] = [prepared(before, tf.fused), prepared(behind, unfused(tf))];
  const run = (values, steps) => {
    for (const { output, inputs, run } of steps) values.set(output, run(...inputs.map((name) => values.get(name))));
    return values;
  };
  return {
    /** The layer's activations of an input `[1, H, W, C]`, and what else is used behind it. */
    to: (input) =>
      tf.tidy(() => {
        const values = run(new Map([[network.input, input]]), first);
        return { activations: values.get(layer), beside: kept.map((name) => tf.clone(values.get(name))) };
      }),
    /** The scores from the layer's activations and what else there is. */
    from: (activations, beside) =>
      run(new Map([[layer, activations], ...kept.map((name, i) => [name, beside[i]])]), second).get(network.output),
  };
}

/** @returns {(...inputs: any[]) => any} */
function operatorOf(tf, step, operators) {
  switch (step.operator) {
    case "Conv":
      return convolution(operators, tf, step);
    case "BatchNormalization": {
      const [gain, offset] = [tf.tensor1d(step.gain), tf.tensor1d(step.offset)];
      return (x) => tf.add(tf.mul(x, gain), offset);
    }
    case "Relu":
      return (x) => tf.relu(x);
    case "Clip":
      return (x) => tf.clipByValue(x, step.low, step.high);
    case "Add":
      return (a, b) => tf.add(a, b);
    case "Concat":
      return (...parts) => tf.concat(parts, 3);
    case "MaxPool": {
      const [top, left, bottom, right] = step.pads;
      const around = [
        [0, 0],
        [top, bottom],
        [left, right],
        [0, 0],
      ];
      // Behind a ReLU nothing is below the padding of 0.
      return (x) => tf.maxPool(tf.pad(x, around), step.size, step.strides, "valid");
    }
    case "GlobalAveragePool":
      return (x) => tf.mean(x, [1, 2], true);
    case "Flatten":
      return (x) => tf.reshape(x, [1, -1]);
    case "Gemm": {
      const { shape, values } = step.weight;
      const weight = tf.tidy(() => tf.transpose(tf.tensor(values, shape)));
      const bias = tf.tensor1d(step.bias);
      return (x) => tf.fused.matMul({ a: x, b: weight, bias });
    }
    case "Slice":
      return (x) => tf.stridedSlice(x, ...[step.begin, step.end, step.step].map(channelsLast));
    case "Pad": {
      const around = step.from.map((_, axis) => [step.pads[axis], step.pads[axis + 4]]);
      return (x) => tf.pad(x, channelsLast(around));
    }
    default:
      throw new Error(`the comparison has no ${step.operator} for TensorFlow.js`);
  }
}

const channelsLast = ([images, channels, height, width]) => [images, height, width, channels];

function convolution(operators, tf, step) {
  const { shape, values } = step.weight;
  const bias = tf.tensor1d(step.bias);
  const [top, left, bottom, right] = step.pads;
  const pad = step.pads.every((pad) => pad === 0)
    ? "valid"
    : [
        [0, 0],
        [top, bottom],
        [left, right],
        [0, 0],
      ];
  const options = { strides: step.strides, pad, dilations: step.dilations, bias, activation: step.activation };
  if (step.group === 1) {
    const filter = tf.tidy(() => tf.transpose(tf.tensor(values, shape), [2, 3, 1, 0]));
    return (x) => operators.conv2d({ x, filter, ...options });
  }
  if (shape[1] !== 1)
    throw new Error("the comparison has grouped convolutions for TensorFlow.js only with one channel a group");
  const filter = tf.tidy(() => tf.transpose(tf.tensor(values, shape), [2, 3, 0, 1]));
  return (x) => operators.depthwiseConv2d({ x, filter, ...options });
}

/** The fused operators, one operator at a time. */
function unfused(tf) {
  const finished = (x, { bias, activation }) => (activation ? tf[activation](tf.add(x, bias)) : tf.add(x, bias));
  return {
    conv2d: (o) => finished(tf.conv2d(o.x, o.filter, o.strides, o.pad, "NHWC", o.dilations), o),
    depthwiseConv2d: (o) => finished(tf.depthwiseConv2d(o.x, o.filter, o.strides, o.pad, "NHWC", o.dilations), o),
  };
}
