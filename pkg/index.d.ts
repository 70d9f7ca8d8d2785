/** See, in the browser, why an image classifier said what it said. */

export type Method =
  | "cam" | "grad-cam" | "grad-cam++" | "hirescam" | "grad-cam-elementwise" | "xgrad-cam" | "layercam" | "eigen-cam"
  | "eigen-grad-cam" | "score-cam" | "ablation-cam" | "ss-cam" | "is-cam" | "smooth-grad-cam++" | "fullgrad" | "fem"
  | "kpca-cam" | "shapley-cam" | "finer-cam" | "refine-cam" | "guided-backprop" | "guided-grad-cam" | "counterfactual"
  | "occlusion";

export type Colormap = "turbo" | "viridis" | "inferno" | "magma" | "cividis" | "jet" | "gray";

export type Backend = "webgpu" | "cpu";

/** The methods that are there, in the order in which to offer them. */
export const METHODS: readonly {
  readonly name: Method;
  readonly title: string;
  /** Address of the paper. */
  readonly paper: string;
  readonly summary: string;
  readonly forwardPasses: string;
}[];

export const COLORMAPS: readonly Colormap[];

/** Address of the manifest of the model that comes with the package. */
export const DEFAULT_MODEL: string;

/** A colormap's 256 colours, from the lowest number to the highest: red, green, blue, 0..=255. */
export function colors(colormap: Colormap): Promise<Uint8Array>;

/** How a picture becomes the network's input. What is left out comes from the network or a guess. */
export interface Preprocess {
  /** Of the network's input, in pixels. */
  width?: number;
  height?: number;
  /** stretch: the whole picture; crop: the centre in the input's proportions; letterbox: the whole picture with borders. */
  resize?: "stretch" | "crop" | "letterbox";
  /** Subtracted from samples in 0..=1; one for each channel, or one for all. */
  mean?: number[];
  /** Divides after that. */
  std?: number[];
  order?: "RGB" | "BGR";
}

export type ImageSource =
  | string | URL | Blob | HTMLImageElement | HTMLCanvasElement | OffscreenCanvas | HTMLVideoElement | VideoFrame
  | ImageBitmap | ImageData
  /** The network's input as it is, without any preprocessing. */
  | { tensor: Float32Array; shape: [1, number, number, number] };

/**
 * Loads an ONNX image classifier, alone or by its manifest.
 * @throws {GradCamError} `ModelError`, `UnsupportedError`, `DeviceError`, `TargetError` (an option's value), `AbortError`
 */
export function loadModel(
  source: string | URL | Blob | ArrayBuffer | Uint8Array,
  options?: {
    /** Default `auto`: WebGPU where a real GPU computes rightly, else the CPU. */
    backend?: "auto" | Backend;
    /** Override the manifest or the file's metadata. */
    preprocess?: Preprocess;
    labels?: string[];
    /** 0..=1 of downloading and unpacking model and engine. */
    onProgress?(fraction: number): void;
    signal?: AbortSignal;
  },
): Promise<Model>;

export interface Model {
  /** From the manifest or the file's name. */
  readonly name: string | undefined;
  /** Where it runs now: after a failure of the GPU that may be the CPU. */
  readonly backend: Backend;
  /** Why it runs there, in a few words, such as "no WebGPU adapter". */
  readonly backendReason: string;
  readonly input: { readonly width: number; readonly height: number; readonly channels: number };
  readonly labels: readonly string[];
  /** Every value with a spatial map, in order. */
  readonly layers: readonly { readonly name: string; readonly operator: string; readonly shape: readonly [channels: number, height: number, width: number] }[];
  readonly defaultLayer: string;
  readonly preprocess: Readonly<Required<Preprocess>>;
  /** Where the preprocessing comes from, in words to show. */
  readonly preprocessReason: string;
  /** Whether neither caller nor manifest nor file said how to prepare images. */
  readonly preprocessGuessed: boolean;
  /** How many of the network's steps have been run so far. */
  readonly stats: { readonly stepsRun: number };
  /** @throws {GradCamError} `ImageError`, `DeviceError`, `AbortError` */
  classify(image: ImageSource, options?: { signal?: AbortSignal }): Promise<Prediction>;
  /** Frees the network. */
  dispose(): void;
}

export interface Prediction {
  readonly model: Model;
  /** The image's size in pixels. */
  readonly image: { readonly width: number; readonly height: number };
  /** Logits. */
  readonly scores: Float32Array;
  /** Softmax of the scores, or sigmoid for a single output. */
  readonly probabilities: Float32Array;
  /** Milliseconds. */
  readonly timings: { readonly preprocess: number; readonly forward: number };
  /** The `n` most likely classes, most likely first. */
  top(n: number): { index: number; label: string; score: number; probability: number }[];
  /**
   * Default: grad-cam of the top class at the default layer.
   * @throws {GradCamError} `TargetError`, `UnsupportedError`, `DeviceError`, `AbortError`
   */
  explain(options?: {
    method?: Method;
    /** Index or label. */
    targetClass?: number | string;
    targetLayer?: string | string[];
    onProgress?(fraction: number): void;
    signal?: AbortSignal;
  }): Promise<Explanation>;
}

export interface Style {
  /** Default turbo. */
  colormap?: Colormap;
  /** 0 shows the image alone, 1 the colormap alone. Default 0.5. */
  opacity?: number;
}

export interface Explanation {
  readonly method: Method;
  readonly targetClass: number;
  readonly targetLayer: string;
  /** The raw class activation map at the layer's resolution, before rectification. */
  readonly map: Grid;
  /** Rectified, min-max to 0..=1, at the layer's resolution. */
  readonly heatmap: Grid;
  /** The heatmap resampled (bilinear, half-pixel centres), min-max again. */
  readonly heatmapAt: (width: number, height: number) => Grid;
  /** What there is to see, in a sentence: also that there is nothing to see. */
  readonly note: string;
  /** The heatmap's number in a pixel of the image; undefined where the network did not look. */
  valueAt(x: number, y: number): number | undefined;
  /** Draws the overlay and makes the canvas as large as the original image. */
  draw(canvas: HTMLCanvasElement | OffscreenCanvas, style?: Style): void;
  /** The overlay as PNG. */
  toBlob(style?: Style): Promise<Blob>;
  /** Milliseconds. */
  readonly timings: { readonly preprocess: number; readonly forward: number; readonly explain: number; readonly total: number };
}

/** Row-major. */
export interface Grid {
  readonly width: number;
  readonly height: number;
  readonly values: Float32Array;
}

export type ErrorName = "ImageError" | "ModelError" | "UnsupportedError" | "TargetError" | "DeviceError" | "AbortError";

export const ERROR_NAMES: readonly ErrorName[];

export class GradCamError extends Error {
  constructor(name: ErrorName, message: string, options?: { cause?: unknown });
  name: ErrorName;
}

export interface GradCamEventMap {
  progress: CustomEvent<{ totalProgress: number }>;
  load: CustomEvent<Prediction>;
  explain: CustomEvent<Explanation>;
  error: CustomEvent<GradCamError>;
}

/** `<grad-cam>`: an image, and over it the heatmap that explains a class. */
export class GradCamElement extends HTMLElement {
  get src(): ImageSource | null;
  set src(value: ImageSource | null);
  alt: string;
  /** The address of a manifest or an `.onnx`, or a model that was loaded already. Default: the package's own. */
  get model(): string | Model | Promise<Model> | null;
  set model(value: string | URL | Model | Promise<Model> | null);
  method: Method;
  /** Index or label; null for the top class. */
  get targetClass(): string | null;
  set targetClass(value: string | number | null);
  get targetLayer(): string | string[] | null;
  set targetLayer(value: string | string[] | null);
  colormap: Colormap;
  opacity: number;
  backend: "auto" | Backend;
  loading: "lazy" | "eager";
  controls: boolean;
  readonly prediction: Prediction | undefined;
  readonly explanation: Explanation | undefined;
  /** The overlay as PNG, at the image's size. */
  toBlob(): Promise<Blob>;
  /** Shows the image without its heatmap as long as `on`. */
  showOriginal(on: boolean): void;
  /** The heatmap's number under a point of the window. */
  valueAt(clientX: number, clientY: number): number | undefined;
  /** Tries again after an error. */
  retry(): void;

  addEventListener<K extends keyof GradCamEventMap>(type: K, listener: (this: GradCamElement, event: GradCamEventMap[K]) => unknown, options?: boolean | AddEventListenerOptions): void;
  addEventListener(type: string, listener: EventListenerOrEventListenerObject, options?: boolean | AddEventListenerOptions): void;
}

declare global {
  interface HTMLElementTagNameMap {
    "grad-cam": GradCamElement;
  }
}
