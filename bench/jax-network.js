// An ONNX network by hand in jax-js: what its own loader refuses (`@jax-js/onnx`) is a line each here.
//
// An array belongs to whom it is given to: `ref` keeps it for another use.

import { cut, networkFrom } from "./steps.js";

/**
 * @param {any} jax jax-js, its device chosen
 * @param {Uint8Array} file
 * @param {string} layer the target layer, where the network is cut
 */
export function networkOf(jax, file, layer) {
  const { numpy, jit, grad } = jax;
  const network = networkFrom(file, layer);
  const { before, behind, kept } = cut(network, layer);
  const prepared = (steps) => steps.map((step) => ({ ...step, run: operatorOf(jax, step) }));
  const [first, second] = [prepared(before), prepared(behind)];
  /** Adds the steps' values to those that are there; gives back those that are asked for and lets go of the others. */
  const run = (values, steps, results) => {
    for (const { output, inputs, run } of steps) values.set(output, run(...inputs.map((name) => values.get(name).ref)));
    const asked = results.map((name) => values.get(name).ref);
    for (const value of values.values()) value.dispose();
    return asked;
  };
  const to = (input) => run(new Map([[network.input, input]]), first, [layer, ...kept]);
  const from = ([activations, ...beside]) =>
    run(new Map([[layer, activations], ...kept.map((name, i) => [name, beside[i]])]), second, [network.output])[0];
  const heatmap = (weigh) => (seen, target) => {
    const [activations, ...beside] = seen;
    const score = (activations, target, ...beside) => numpy.sum(from([activations, ...beside]).mul(target));
    const gradients = grad(score)(activations.ref, target, ...beside);
    const map = jax.nn.relu(numpy.sum(weigh(gradients).mul(activations), 1));
    const low = numpy.min(map.ref);
    const range = numpy.max(map.ref).sub(low.ref);
    // All zero where nothing speaks for the class.
    return map.sub(low).div(numpy.maximum(range, 1e-30));
  };
  return {
    shape: network.steps.find(({ output }) => output === layer).shape,
    /** The layer's activations of an input `[1, C, H, W]`, and what else is used behind it. */
    to: jit(to),
    /** The scores too, as the first of them. */
    all: jit((input) => {
      const seen = to(input);
      return [from(seen.map((value) => value.ref)), ...seen];
    }),
    /** From what `to` gives and a row with 1 at the target class. */
    gradCam: jit(heatmap((gradients) => numpy.mean(gradients, [2, 3], { keepdims: true }))),
    hiResCam: jit(heatmap((gradients) => gradients)),
  };
}

/** @returns {(...inputs: any[]) => any} */
function operatorOf(jax, step) {
  const { numpy, lax, nn } = jax;
  switch (step.operator) {
    case "Conv": {
      const sum = jax.defaultDevice() === "wasm" ? shiftedProducts(jax, step) : ownConvolution(jax, step);
      const offset = numpy.array(step.bias, { shape: [1, step.bias.length, 1, 1] });
      return (x) => {
        const y = sum(x).add(offset.ref);
        return step.activation ? nn[step.activation](y) : y;
      };
    }
    case "BatchNormalization": {
      const [gain, offset] = [step.gain, step.offset].map((row) => numpy.array(row, { shape: [1, row.length, 1, 1] }));
      return (x) => x.mul(gain.ref).add(offset.ref);
    }
    case "Relu":
      return (x) => nn.relu(x);
    case "Clip":
      return (x) => numpy.clip(x, step.low, step.high);
    case "Add":
      return (a, b) => a.add(b);
    case "Concat":
      return (...parts) => numpy.concatenate(parts, 1);
    case "MaxPool": {
      const [top, left, bottom, right] = step.pads;
      const around = [
        [0, 0],
        [0, 0],
        [top, bottom],
        [left, right],
      ];
      // Behind a ReLU nothing is below the padding of 0.
      return (x) =>
        lax.reduceWindow(step.pads.some(Boolean) ? numpy.pad(x, around) : x, numpy.max, step.size, step.strides);
    }
    case "GlobalAveragePool":
      return (x) => numpy.mean(x, [2, 3], { keepdims: true });
    case "Flatten":
      return (x) => x.reshape(step.shape);
    case "Gemm": {
      const { shape, values } = step.weight;
      const weight = numpy.array(Float32Array.from(values), { shape });
      const bias = numpy.array(step.bias);
      return (x) => numpy.matmul(x, weight.ref.transpose()).add(bias.ref);
    }
    case "Slice":
      return pick(jax, step.from, step.begin, step.shape, step.step);
    case "Pad": {
      const around = step.from.map((_, axis) => [step.pads[axis], step.pads[axis + step.from.length]]);
      return (x) => numpy.pad(x, around);
    }
    default:
      throw new Error(`the comparison has no ${step.operator} for jax-js`);
  }
}

function ownConvolution({ numpy, lax }, { weight, strides, group, dilations, pads: [top, left, bottom, right] }) {
  const filter = numpy.array(Float32Array.from(weight.values), { shape: weight.shape });
  const padding = [
    [top, bottom],
    [left, right],
  ];
  const options = { rhsDilation: dilations, featureGroupCount: group };
  return (x) => lax.convGeneralDilated(x, filter.ref, strides, padding, options);
}

/**
 * A convolution as one product for each place of its window. On the CPU jax-js' own takes up to 30 times as long: it has tiles
 * for products alone.
 */
function shiftedProducts(jax, step) {
  const { numpy } = jax;
  const [outputs, inner, rows, columns] = step.weight.shape;
  const [, , height, width] = step.shape;
  const [images, channels, ...sides] = step.from;
  const [top, left, bottom, right] = step.pads;
  if (step.group !== 1) return ownConvolution(jax, step);
  const around = [
    [0, 0],
    [0, 0],
    [top, bottom],
    [left, right],
  ];
  const padded = [images, channels, sides[0] + top + bottom, sides[1] + left + right];
  const places = Array.from({ length: rows * columns }, (_, place) => {
    const begin = [0, 0, step.dilations[0] * Math.floor(place / columns), step.dilations[1] * (place % columns)];
    const values = Float32Array.from(
      { length: outputs * inner },
      (_, i) => step.weight.values[rows * columns * i + place],
    );
    return {
      weight: numpy.array(values, { shape: [outputs, inner] }),
      pixels: pick(jax, padded, begin, [images, channels, height, width], [1, 1, ...step.strides]),
    };
  });
  return (x) => {
    if (step.pads.some(Boolean)) x = numpy.pad(x, around);
    const terms = places.map(({ weight, pixels }) =>
      numpy.matmul(weight.ref, pixels(x.ref).reshape([channels, height * width])),
    );
    x.dispose();
    return terms.reduce((sum, term) => sum.add(term)).reshape(step.shape);
  };
}

/**
 * Every so many places from one on. Slices of jax-js have no step: each axis becomes two, of which the inner one keeps its
 * first place.
 */
function pick({ numpy }, from, begin, shape, step) {
  const reach = shape.map((count, axis) => begin[axis] + count * step[axis]);
  const around = reach.map((end, axis) => [0, Math.max(0, end - from[axis])]);
  const ranges = reach.map((end, axis) => [begin[axis], end]);
  if (step.every((step) => step === 1)) return (x) => x.slice(...ranges);
  const split = shape.flatMap((count, axis) => [count, step[axis]]);
  return (x) =>
    (around.some(([, more]) => more > 0) ? numpy.pad(x, around) : x)
      .slice(...ranges)
      .reshape(split)
      .slice(...shape.flatMap(() => [[], 0]));
}
