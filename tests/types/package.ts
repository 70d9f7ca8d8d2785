// The package's types as a caller meets them: this file must type-check, and each marked line must not.

import {
  type Explanation,
  type GradCamElement,
  type Method,
  type Model,
  COLORMAPS,
  GradCamError,
  METHODS,
  MODELS,
  loadModel,
  sanityVerdict,
} from "gradcam-web";

export async function explain(canvas: HTMLCanvasElement, photo: Blob): Promise<Explanation> {
  const model: Model = await loadModel(MODELS[0].url, {
    backend: "auto",
    onProgress: (fraction) => fraction.toFixed(2),
  });
  const [channels, height, width]: readonly [number, number, number] = model.layers[0].shape;
  const prediction = await model.classify(photo, { signal: AbortSignal.timeout(1000) });
  const { label, probability } = prediction.top(1)[0];
  console.log(channels * height * width, label.toUpperCase(), probability.toFixed(2));
  const explanation = await prediction.explain({ method: "layercam", targetClass: "tabby", ratherThan: 3 });
  explanation.draw(canvas, { colormap: COLORMAPS[0], opacity: 0.5 });
  console.log(sanityVerdict([{ rankCorrelation: 0.1, randomised: 1 }] as never).verdict satisfies string);
  return explanation;
}

export async function refused(model: Model) {
  // @ts-expect-error no such backend
  await loadModel("a.onnx", { backend: "webgl" });
  // @ts-expect-error no such method
  await model.explain("a.jpg", { method: "magic-cam" });
  // @ts-expect-error a tensor has its shape beside it
  await model.classify({ tensor: new Float32Array(3) });
  // @ts-expect-error read-only
  model.defaultLayer = "conv1";
  // @ts-expect-error no such kind of error
  return new GradCamError("SomeError", "a sentence");
}

export function element(picture: GradCamElement, model: Promise<Model>) {
  picture.method = METHODS[0].name satisfies Method;
  picture.model = model;
  picture.targetClass = 281;
  picture.targetLayer = ["stage3", "stage4"];
  picture.opacity = 0.4;
  picture.controls = true;
  picture.addEventListener("explain", ({ detail }) => detail.heatmap.values.length);
  picture.addEventListener("error", ({ detail }) => detail.name);
  document.querySelector("grad-cam")?.retry();
  // @ts-expect-error the attribute is text, the property a number
  picture.opacity = "half";
  // @ts-expect-error no such colormap
  picture.colormap = "rainbow";
}
