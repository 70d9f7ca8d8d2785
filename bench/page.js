// The page's side of the comparison: each contestant behind one small interface, and a stopwatch.
//
// A contestant answers with numbers in JavaScript's hands: what still lies on a device is not a result yet.

import { networkOf as jaxNetworkOf } from "./jax-network.js";
import { networkOf as tensorflowNetworkOf } from "./tfjs-network.js";

/**
 * @typedef {object} Task what a contestant gets
 * @property {string} model the ONNX file's address
 * @property {string} [tflite] the same network's as a LiteRT file
 * @property {string} [unwritten] why there is none
 * @property {[number, number, number, number]} shape of the input, NCHW
 * @property {{ mean: number[], std: number[] }} preprocess
 * @property {string} layer the target layer
 *
 * @typedef {object} Contestant
 * @property {(input: Float32Array) => Promise<Float32Array>} forward scores of an input in NCHW order
 * @property {(input: Float32Array, targetClass: number) => Promise<Float32Array>} [gradCam] from the input to the heatmap
 * @property {(targetClass: number) => Promise<Float32Array>} [anotherClass] of the image seen last
 * @property {(targetClass: number) => Promise<Float32Array>} [anotherMethod] HiResCAM of the image seen last
 * @property {(targetClass: number) => Promise<Float32Array>} [fullGrad] of the image seen last
 * @property {(targetClass: number) => Promise<Float32Array>} [guided] guided backpropagation of the image seen last
 * @property {(opacity: number) => void} [opacity] draws the last heatmap over a picture of 2 megapixels again
 * @property {(camera: HTMLCanvasElement, screen: HTMLCanvasElement) => Promise<void>} [frame] from a camera's frame to a
 *   picture on the screen: with a heatmap where there is one
 */

const MODULES = new URL("../modules/", import.meta.url).href;

/** @type {Record<string, (task: Task) => Promise<Contestant>>} */
const CONTESTANTS = {
  "gradcam-web cpu": (task) => ours(task, "cpu", "/.plain/"),
  "gradcam-web relaxed cpu": (task) => ours(task, "cpu"),
  "gradcam-web webgpu": (task) => ours(task, "webgpu"),
  "onnxruntime-web cpu": (task) => onnxruntime(task, "ort.wasm.bundle.min.mjs", "wasm"),
  "onnxruntime-web webgpu": (task) => onnxruntime(task, "ort.webgpu.bundle.min.mjs", "webgpu"),
  "TensorFlow.js cpu": (task) => tensorflow(task, "wasm"),
  "TensorFlow.js webgpu": (task) => tensorflow(task, "webgpu"),
  "LiteRT.js cpu": (task) => litert(task, "wasm"),
  "LiteRT.js plain cpu": (task) => litert(task, "wasm", "litert_wasm_compat_internal.js"),
  "LiteRT.js webgpu": (task) => litert(task, "webgpu"),
  "jax-js cpu": (task) => jaxByHand(task, "wasm"),
  "jax-js webgpu": (task) => jaxByHand(task, "webgpu"),
  "@jax-js/onnx cpu": (task) => jaxOnnx(task, "wasm"),
  "@jax-js/onnx webgpu": (task) => jaxOnnx(task, "webgpu"),
};

/** @returns {Promise<Contestant>} */
async function ours({ model: address, shape, preprocess, layer }, backend, site = "/") {
  const { loadModel } = await import(`${site}gradcam-web/index.js`);
  const [, , height, width] = shape;
  const model = await loadModel(address, {
    backend,
    preprocess: { width, height, resize: "stretch", order: "RGB", ...preprocess },
  });
  let prediction;
  const explain = async (options) => (await prediction.explain({ targetLayer: layer, ...options })).heatmap.values;
  const forward = async (tensor) => {
    prediction = await model.classify({ tensor, shape });
    return prediction.scores;
  };
  let drawn;
  return {
    forward,
    async gradCam(tensor, targetClass) {
      const explanation = await model.explain({ tensor, shape }, { targetLayer: layer, targetClass });
      ({ prediction } = explanation);
      return explanation.heatmap.values;
    },
    anotherClass: (targetClass) => explain({ targetClass }),
    anotherMethod: (targetClass) => explain({ targetClass, method: "hirescam" }),
    fullGrad: async (targetClass) => (await prediction.explain({ targetClass, method: "fullgrad" })).heatmap.values,
    guided: async (targetClass) =>
      (await prediction.explain({ targetClass, method: "guided-backprop" })).heatmap.values,
    async opacity(opacity) {
      if (!drawn) {
        drawn = { explanation: await model.explain(testPicture(1600, 1250)), canvas: document.createElement("canvas") };
      }
      drawn.explanation.draw(drawn.canvas, { opacity });
    },
    async frame(camera, screen) {
      (await model.explain(camera, { targetLayer: layer })).draw(screen);
    },
  };
}

/** @returns {Promise<Contestant>} */
async function onnxruntime({ model: address, shape, preprocess }, file, provider) {
  const ort = await import(`${MODULES}onnxruntime-web/dist/${file}`);
  ort.env.wasm.numThreads = 1;
  const session = await ort.InferenceSession.create(address, {
    executionProviders: [provider],
    graphOptimizationLevel: "all",
  });
  const [name] = session.inputNames;
  const forward = async (input) => {
    const output = await session.run({ [name]: new ort.Tensor("float32", input, shape) });
    return output[session.outputNames[0]].getData();
  };
  return {
    forward,
    async frame(camera, screen) {
      await forward(inputFromCamera(camera, shape, preprocess));
      drawHeatmap(camera, screen);
    },
  };
}

/** @returns {Promise<Contestant>} */
async function tensorflow({ model: address, shape, preprocess, layer }, backend) {
  const folder = `${MODULES}@tensorflow/`;
  // With all of its gradients, which its core alone does not have.
  await script(`${folder}tfjs/dist/tf.es2017.min.js`);
  const { tf } = window;
  await script(`${folder}tfjs-backend-${backend}/dist/tf-backend-${backend}.es2017.min.js`);
  if (backend === "wasm") tf.wasm.setWasmPaths(`${folder}tfjs-backend-wasm/dist/`);
  if (!(await tf.setBackend(backend))) throw new Error(`TensorFlow.js has no backend ${backend} here`);
  await tf.ready();
  const network = tensorflowNetworkOf(tf, new Uint8Array(await (await fetch(address)).arrayBuffer()), layer);
  const [, channels, height, width] = shape;
  let activations, beside;
  const channelsLast = turningOnce(shape);
  const tensorOf = (input) => tf.tensor4d(channelsLast(input), [1, height, width, channels]);
  const see = (input) => {
    tf.dispose([activations, beside]);
    ({ activations, beside } = network.to(input));
    input.dispose();
  };
  const forward = async (input) => {
    see(input);
    const scores = tf.tidy(() => network.from(activations, beside));
    const values = await scores.data();
    scores.dispose();
    return values;
  };
  /** `weigh` turns gradients into what each activation counts for. */
  const explain = async (targetClass, weigh) => {
    const heatmap = tf.tidy(() => {
      const score = (activations) => tf.sum(tf.slice(network.from(activations, beside), [0, targetClass], [1, 1]));
      const gradients = tf.grad(score)(activations);
      const map = tf.relu(tf.sum(tf.mul(weigh(gradients), activations), 3));
      const [low, high] = [tf.min(map), tf.max(map)];
      return tf.divNoNan(tf.sub(map, low), tf.sub(high, low));
    });
    const values = await heatmap.data();
    heatmap.dispose();
    return values;
  };
  const gradCam = (gradients) => tf.mean(gradients, [1, 2], true);
  return {
    forward: (input) => forward(tensorOf(input)),
    gradCam(input, targetClass) {
      see(tensorOf(input));
      return explain(targetClass, gradCam);
    },
    anotherClass: (targetClass) => explain(targetClass, gradCam),
    anotherMethod: (targetClass) => explain(targetClass, (gradients) => gradients),
    async frame(camera, screen) {
      const { mean, std } = preprocess;
      see(
        tf.tidy(() => {
          const pixels = tf.image.resizeBilinear(tf.browser.fromPixels(camera), [height, width], false, true);
          return tf.div(tf.sub(tf.div(pixels, 255), mean), std).expandDims(0);
        }),
      );
      const scores = tf.tidy(() => network.from(activations, beside));
      const best = argmax(await scores.data());
      scores.dispose();
      const [, h, w] = activations.shape;
      drawHeatmap(camera, screen, { width: w, height: h, values: await explain(best, gradCam) });
    },
  };
}

/** @returns {Promise<Contestant>} `file` of its wasm, if not the one that it chooses */
async function litert({ tflite, unwritten, shape, preprocess }, accelerator, file = "") {
  if (!tflite) throw new Error(unwritten);
  const { loadLiteRt, loadAndCompile, Tensor } = await import(`${MODULES}@litertjs/core/dist/index.js`);
  await loadLiteRt(`${MODULES}@litertjs/core/wasm/${file}`);
  // In half precision, its own choice where the card has it, its scores would not be the others'.
  const model = await loadAndCompile(tflite, { accelerator, gpuOptions: { precision: "fp32" } });
  if (accelerator === "webgpu" && !model.isFullyAccelerated) throw new Error("not all of it runs on WebGPU");
  const [, channels, height, width] = shape;
  const channelsLast = turningOnce(shape);
  const forward = async (input) => {
    const tensor = new Tensor(channelsLast(input), [1, height, width, channels]);
    const [scores] = await model.run(tensor);
    tensor.delete();
    const values = await scores.data();
    scores.delete();
    return values;
  };
  return {
    forward,
    async frame(camera, screen) {
      await forward(inputFromCamera(camera, shape, preprocess));
      drawHeatmap(camera, screen);
    },
  };
}

/** jax-js on a device. */
async function jaxOn(device) {
  const jax = await import(`${MODULES}@jax-js/jax/dist/index.js`);
  const devices = await jax.init(device);
  if (!devices.includes(device)) throw new Error(`jax-js has no device ${device} here`);
  jax.defaultDevice(device);
  return jax;
}

/** @returns {Promise<Contestant>} */
async function jaxByHand({ model: address, shape, preprocess, layer }, device) {
  const jax = await jaxOn(device);
  const network = jaxNetworkOf(jax, new Uint8Array(await (await fetch(address)).arrayBuffer()), layer);
  const [, , h, w] = network.shape;
  let seen, classes;
  const tensorOf = (input) => jax.numpy.array(input, { shape });
  const see = (values) => {
    seen?.forEach((value) => value.dispose());
    seen = values;
  };
  const forward = async (input) => {
    const [scores, ...values] = network.all(tensorOf(input));
    see(values);
    const numbers = await scores.data();
    classes = numbers.length;
    return numbers;
  };
  const explain = (targetClass, method) => {
    const target = Float32Array.from({ length: classes }, (_, i) => Number(i === targetClass));
    return network[method](
      seen.map((value) => value.ref),
      jax.numpy.array(target, { shape: [1, classes] }),
    ).data();
  };
  return {
    forward,
    gradCam(input, targetClass) {
      see(network.to(tensorOf(input)));
      return explain(targetClass, "gradCam");
    },
    anotherClass: (targetClass) => explain(targetClass, "gradCam"),
    anotherMethod: (targetClass) => explain(targetClass, "hiResCam"),
    async frame(camera, screen) {
      const best = argmax(await forward(inputFromCamera(camera, shape, preprocess)));
      drawHeatmap(camera, screen, { width: w, height: h, values: await explain(best, "gradCam") });
    },
  };
}

/** Its own loader, which cuts no network at a layer: the forward pass. @returns {Promise<Contestant>} */
async function jaxOnnx({ model: address, shape }, device) {
  const jax = await jaxOn(device);
  const { ONNXModel } = await import(`${MODULES}@jax-js/onnx/dist/index.js`);
  const model = new ONNXModel(new Uint8Array(await (await fetch(address)).arrayBuffer()));
  const { graph } = model.model;
  const parameters = new Set(graph.initializer.map(({ name }) => name));
  const { name } = graph.input.find(({ name }) => !parameters.has(name));
  const run = jax.jit(model.run);
  return { forward: (input) => run({ [name]: jax.numpy.array(input, { shape }) })[graph.output[0].name].data() };
}

/** Turns an input into one with channels last, each only once: that is not what is compared. */
function turningOnce([, channels, height, width]) {
  let known = {};
  return (input) => {
    if (known.input !== input) {
      const values = new Float32Array(input.length);
      const plane = height * width;
      for (let c = 0; c < channels; c++)
        for (let i = 0; i < plane; i++) values[channels * i + c] = input[c * plane + i];
      known = { input, values };
    }
    return known.values;
  };
}

function script(src) {
  return new Promise((resolve, reject) => {
    const element = Object.assign(document.createElement("script"), {
      src,
      onload: resolve,
      onerror: () => reject(new Error(`${src} can't be loaded`)),
    });
    document.head.append(element);
  });
}

/** @returns {Float32Array} in NCHW order */
function inputFromCamera(camera, [, channels, height, width], { mean, std }) {
  const small = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  small.drawImage(camera, 0, 0, width, height);
  const { data } = small.getImageData(0, 0, width, height);
  const plane = width * height;
  const input = new Float32Array(channels * plane);
  for (let i = 0; i < plane; i++)
    for (let c = 0; c < channels; c++) input[c * plane + i] = (data[4 * i + c] / 255 - mean[c]) / std[c];
  return input;
}

/** The picture and, over it, a heatmap in red, stretched by the browser: the least that a page would do. */
function drawHeatmap(camera, screen, heatmap) {
  screen.width = camera.width;
  screen.height = camera.height;
  const context = screen.getContext("2d");
  context.drawImage(camera, 0, 0);
  if (!heatmap) return;
  const colors = new ImageData(heatmap.width, heatmap.height);
  heatmap.values.forEach((value, i) => colors.data.set([255, 0, 0, 255 * value], 4 * i));
  const small = new OffscreenCanvas(heatmap.width, heatmap.height);
  small.getContext("2d").putImageData(colors, 0, 0);
  context.globalAlpha = 0.5;
  context.drawImage(small, 0, 0, screen.width, screen.height);
}

/** Waves of colour, a little further at each call. */
function testPicture(width, height, canvas = document.createElement("canvas"), step = 0) {
  Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  const gradient = context.createLinearGradient(0, 0, width, height);
  for (let stop = 0; stop <= 8; stop++)
    gradient.addColorStop(stop / 8, `hsl(${(47 * (stop + step)) % 360} 80% ${30 + 5 * (stop % 6)}%)`);
  context.fillStyle = gradient;
  context.fillRect(0, 0, width, height);
  return canvas;
}

function argmax(values) {
  return values.reduce((best, value, i) => (value > values[best] ? i : best), 0);
}

/** The formula's numbers in -1..1: input element i is ((i · 2654435761) mod 2^32) / 2^32 · 2 - 1. */
function inputOf(shape) {
  const length = shape.reduce((product, side) => product * side, 1);
  return Float32Array.from({ length }, (_, i) => ((Math.imul(i, 2654435761) >>> 0) / 2 ** 32 - 0.5) * 2);
}

/** @type {Map<string, { contestant: Contestant, input: Float32Array, classes: number[], calls: number }>} */
const started = new Map();

/**
 * Starts a contestant: the times are from when the page was opened.
 *
 * @param {string} name @param {Task} task
 * @returns {Promise<{ ready: number, first: number, scores: Float32Array }>} milliseconds
 */
export async function start(name, task) {
  const contestant = await CONTESTANTS[name](task);
  const ready = performance.now();
  const input = inputOf(task.shape);
  const scores = await contestant.forward(input);
  const first = performance.now();
  const best = argmax(scores);
  started.set(name, { contestant, input, classes: [best, (best + 1) % scores.length], calls: 0 });
  return { ready, first, scores };
}

/**
 * The heatmap by which contestants are compared: of the best class, where there is one. Who has no gradient for what follows the
 * layer goes on without.
 *
 * @returns {Promise<{ values?: Float32Array, refused?: string }>}
 */
export async function heatmap(name) {
  const { contestant, input, classes } = started.get(name);
  try {
    return { values: await contestant.gradCam?.(input, classes[0]) };
  } catch ({ message }) {
    leaveOutHeatmaps(name);
    return { refused: message };
  }
}

/** Has a contestant take part with the forward pass alone. */
export function leaveOutHeatmaps(name) {
  const { contestant } = started.get(name);
  for (const way of ["gradCam", "anotherClass", "anotherMethod", "frame"]) delete contestant[way];
}

/** What there is to be timed, by the name under which it is reported. */
const EVENTS = {
  forward: ({ contestant, input }) => contestant.forward(input),
  gradCam: ({ contestant, input, classes }) => contestant.gradCam?.(input, classes[0]),
  anotherClass: ({ contestant, classes }, turn) => contestant.anotherClass?.(classes[(turn + 1) % 2]),
  anotherMethod: ({ contestant, classes }) => contestant.anotherMethod?.(classes[0]),
  fullGrad: ({ contestant, classes }, turn) => contestant.fullGrad?.(classes[(turn + 1) % 2]),
  guided: ({ contestant, classes }, turn) => contestant.guided?.(classes[(turn + 1) % 2]),
  opacity: ({ contestant }, turn) => contestant.opacity?.(0.3 + 0.1 * (turn % 5)),
  frame: ({ contestant }, turn) => {
    camera = testPicture(640, 480, camera, turn);
    screen ??= document.createElement("canvas");
    return contestant.frame?.(camera, screen);
  },
};

let camera, screen;

/** Ways back of which, in a large network, one is kept: another is compiled before it is timed. */
const COMPILED_FIRST = new Set(["fullGrad", "guided"]);

/**
 * Times one event again and again, for about `budget` milliseconds.
 *
 * @returns {Promise<number[] | undefined>} milliseconds; undefined if the contestant can't do that
 */
export async function time(name, event, budget) {
  const entry = started.get(name);
  const times = [];
  if (COMPILED_FIRST.has(event)) await EVENTS[event](entry, entry.calls++);
  for (const end = performance.now() + budget; times.length === 0 || performance.now() < end;) {
    const before = performance.now();
    const result = EVENTS[event](entry, entry.calls++);
    if (result === undefined) return undefined;
    await result;
    times.push(performance.now() - before);
  }
  return times;
}
