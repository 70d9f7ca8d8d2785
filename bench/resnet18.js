// ResNet-18 with made-up parameters: the comparison needs its shape, and nothing of what it says.

import { writeOnnx } from "./onnx.js";

/**
 * The graph that PyTorch exports of torchvision's `resnet18`, batch normalisation folded: He et al. 2015,
 * <https://arxiv.org/abs/1512.03385>, table 1.
 *
 * @returns {Uint8Array} the ONNX file; the same on each call
 */
export function resnet18() {
  const nodes = [];
  const constants = new Map();
  const random = evenNumbers(18);
  const add = (operator, inputs, attributes = {}) => {
    const name = `${operator.toLowerCase()}${nodes.length}`;
    nodes.push({ operator, inputs, outputs: [name], attributes });
    return name;
  };
  const parameter = (name, shape, deviation) => {
    const length = shape.reduce((product, side) => product * side, 1);
    constants.set(name, { shape, values: Float32Array.from({ length }, () => deviation * random()) });
    return name;
  };
  /** `gain` keeps the sum of a block's two branches from growing with each block. */
  const convolution = (x, from, to, size, stride, gain = 1) => {
    const name = `layer${nodes.length}`;
    const weight = parameter(`${name}.weight`, [to, from, size, size], gain * Math.sqrt(2 / (from * size * size)));
    const pad = (size - 1) / 2;
    return add("Conv", [x, weight, parameter(`${name}.bias`, [to], 0.05)], {
      dilations: [1, 1],
      group: 1,
      kernel_shape: [size, size],
      pads: [pad, pad, pad, pad],
      strides: [stride, stride],
    });
  };
  let x = add("Relu", [convolution("input", 3, 64, 7, 2)]);
  x = add("MaxPool", [x], { ceil_mode: 0, kernel_shape: [3, 3], pads: [1, 1, 1, 1], strides: [2, 2] });
  for (const [from, to, stride] of [
    [64, 64, 1],
    [64, 64, 1],
    [64, 128, 2],
    [128, 128, 1],
    [128, 256, 2],
    [256, 256, 1],
    [256, 512, 2],
    [512, 512, 1],
  ]) {
    const inner = convolution(add("Relu", [convolution(x, from, to, 3, stride)]), to, to, 3, 1, 0.5);
    const shortcut = stride === 1 ? x : convolution(x, from, to, 1, stride, 0.7);
    x = add("Relu", [add("Add", [inner, shortcut])]);
  }
  x = add("Flatten", [add("GlobalAveragePool", [x])], { axis: 1 });
  const weight = parameter("fc.weight", [1000, 512], 0.05);
  nodes.push({
    operator: "Gemm",
    inputs: [x, weight, parameter("fc.bias", [1000], 0.05)],
    outputs: ["logits"],
    attributes: { transB: 1 },
  });
  return writeOnnx({
    input: "input",
    inputShape: [1, 3, 224, 224],
    output: "logits",
    outputShape: [1, 1000],
    nodes,
    constants,
  });
}

/** Evenly distributed numbers of variance 1, by a linear congruential generator (Numerical Recipes). */
function evenNumbers(seed) {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state / 2 ** 32 - 0.5) * Math.sqrt(12);
  };
}
