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
    /**
     * Default `auto`: WebGPU where a real GPU computes rightly, else the CPU. The CPU answers first in any case, as a GPU
     * takes longer to get ready: it takes over once it has run the network.
     */
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
  /** Where it runs now: before the GPU is ready, and after a failure, that may be the CPU. */
  readonly backend: Backend;
  /** Why it runs there, in a few words, such as "no WebGPU adapter". */
  readonly backendReason: string;
  /** Fulfilled when `backend` changes no more, short of a failure: with `auto` and a GPU some time after the first answer, or after nobody asked for one. */
  readonly settled: Promise<void>;
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
  /** How many of the network's steps have been run so far, and how many bytes the engine's memory had at the last image. */
  readonly stats: { readonly stepsRun: number; readonly memory: number };
  /** @throws {GradCamError} `ImageError`, `DeviceError`, `AbortError` */
  classify(image: ImageSource, options?: { signal?: AbortSignal }): Promise<Prediction>;
  /**
   * Classifies and explains at once, which saves a trip to the worker: for frames of a camera and other images of which
   * only the explanation is wanted. Its `prediction` answers everything else.
   * @throws {GradCamError} as `classify` and the prediction's `explain`
   */
  explain(image: ImageSource, options?: ExplainOptions): Promise<Explanation>;
  /** Frees the network. */
  dispose(): void;
}

/** Default: grad-cam of the top class at the default layer. */
export interface ExplainOptions {
  method?: Method;
  /** Index or label. */
  targetClass?: number | string;
  targetLayer?: string | string[];
  /** What about the class: its score (default), what speaks against it, or its score and its probability at once. */
  target?: "score" | "against" | "score-and-probability";
  /** Another class, index or label: its score is taken off, which explains why `targetClass` rather than this. */
  ratherThan?: number | string;
  /** The mean over the input and its mirror image, each 0.9, 1 and 1.1 times as strong: smoother, six times the work. */
  augSmooth?: boolean;
  /** The main direction of the weighted channels instead of their sum: less noise. */
  eigenSmooth?: boolean;
  onProgress?(fraction: number): void;
  signal?: AbortSignal;
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
  /** @throws {GradCamError} `TargetError`, `UnsupportedError`, `DeviceError`, `AbortError` */
  explain(options?: ExplainOptions): Promise<Explanation>;
  /**
   * Deep feature factorization: the few concepts of which a layer's activations are made, whatever the class. Default: 5
   * (at most 16) of the default layer.
   * @throws {GradCamError} `TargetError`, `DeviceError`, `AbortError`
   */
  factorize(options?: {
    concepts?: number;
    targetLayer?: string;
    /** Other seeds may find other concepts. Default 0. */
    seed?: number;
    onProgress?(fraction: number): void;
    signal?: AbortSignal;
  }): Promise<Factorization>;
  /**
   * The channels of a layer that add most to a class's score, highest contribution first. Default: 12 of the default layer
   * for the top class.
   * @throws {GradCamError} `TargetError`, `DeviceError`, `AbortError`
   */
  units(options?: { targetClass?: number | string; targetLayer?: string; count?: number; signal?: AbortSignal }): Promise<Unit[]>;
  /** The cell of a layer's map that a pixel of the image lies in; undefined where the network did not look. */
  cellAt(x: number, y: number, options?: { targetLayer?: string }): Cell | undefined;
  /**
   * The classes for which the cell under a pixel of the image speaks, most evidence first. Where the layer is pooled into
   * the scores these are all classes; elsewhere, where each takes a gradient, the `likeliest` (default 10) of the image.
   * @throws {GradCamError} `TargetError` (also where the network did not look), `DeviceError`, `AbortError`
   */
  classesAt(x: number, y: number, options?: { targetLayer?: string; likeliest?: number; signal?: AbortSignal }): Promise<{
    readonly cell: Cell;
    /** Whether these are all classes of the network. */
    readonly all: boolean;
    /** `evidence` is width · height · Grad-CAM's map at this cell, before rectification: its mean over all cells is what
     * the map owes to the score. Where the layer is pooled, it is the class activation Σ_k W_ck A_k at this cell. */
    readonly classes: readonly { readonly index: number; readonly label: string; readonly evidence: number }[];
  }>;
  /**
   * The same explanation by networks that forgot what they learnt: parameters are replaced by random ones from the top
   * layer down, one step after the other (Adebayo et al. 2018, https://arxiv.org/abs/1810.03292). A method whose maps stay
   * the same shows the image, not the network.
   * @throws {GradCamError} as `explain`
   */
  sanityCheck(options?: ExplainOptions & {
    /** How many networks to compare with, at most, from one random layer to all. Default 8. */
    steps?: number;
    /** Of the random parameters. Default 1. */
    seed?: number;
  }): Promise<SanityStep[]>;
}

/** A cell of a layer's map, and where it lies on the image, in pixels. */
export interface Cell {
  readonly column: number;
  readonly row: number;
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/** The explanation by a network whose upper layers are random. */
export interface SanityStep {
  /** The lowest layer that is random. */
  readonly layer: string;
  /** How many layers are random, this one included. */
  readonly randomised: number;
  /**
   * Spearman's rank correlation of its heatmap with that of the network as it is: 1 if nothing changed, near 0 if the two
   * have nothing in common. Where either has nothing to show, 0.
   */
  readonly rankCorrelation: number;
  readonly explanation: Explanation;
  /** The explanation's. */
  readonly map: Grid;
  readonly heatmap: Grid;
}

/** How faithful an explanation is to its network. Everything happens on the network's input, after preprocessing. */
export interface Measures {
  /**
   * The share of the probability that is lost when the input is multiplied by the heatmap, 0..=1: less is better. Its mean
   * over images is torch-cam's average drop (Chattopadhay et al. 2018, https://arxiv.org/abs/1710.11063).
   */
  readonly drop: number;
  /** Whether the probability grows instead; its mean over images is torch-cam's increase in confidence. */
  readonly increase: boolean;
  /** By how much the score changes. pytorch-grad-cam's DropInConfidence is its negative part. */
  readonly scoreChange: number;
  /** Pixels are set to 0, the hottest first: a small area is better (Petsiuk et al. 2018, https://arxiv.org/abs/1806.07421). */
  readonly deletion: Curve;
  /** Pixels are put back, the hottest first: a large area is better. */
  readonly insertion: Curve;
  /** Pixels are imputed from those that stay (Rong et al. 2022, https://arxiv.org/abs/2202.00449), as in pytorch-grad-cam. */
  readonly road: {
    /** How many per cent of the pixels stay at each point: 10 to 90. */
    readonly percentiles: Uint8Array;
    /** Change of the score when the least relevant pixels stay: lower is better. */
    readonly mostRelevantFirst: Float32Array;
    /** Change of the score when the most relevant pixels stay: higher is better. */
    readonly leastRelevantFirst: Float32Array;
    /** Half the difference of their means: higher is better. */
    readonly combined: number;
  };
}

export interface Curve {
  /** The share of pixels that were changed, 0 to 1. */
  readonly fractions: Float32Array;
  /** The probability of the class at each. */
  readonly probabilities: Float32Array;
  /** Below the curve, 0..=1. */
  readonly area: number;
}

export interface Style {
  /** Default turbo. */
  colormap?: Colormap;
  /** 0 shows the image alone, 1 the colormap alone. Default 0.5. */
  opacity?: number;
}

/** Numbers over the image, to be looked at. */
export interface MapOverImage {
  /** The raw map at the layer's resolution, before rectification. */
  readonly map: Grid;
  /** Rectified, min-max to 0..=1, at the layer's resolution. */
  readonly heatmap: Grid;
  /** The heatmap resampled (bilinear, half-pixel centres), min-max again. */
  readonly heatmapAt: (width: number, height: number) => Grid;
  /** What there is to see, in a sentence: also that there is nothing to see. */
  readonly note: string;
  /** The heatmap's number in a pixel of the image; undefined where the network did not look. */
  valueAt(x: number, y: number): number | undefined;
  /**
   * Draws the overlay and makes the canvas as large as the original image, or no larger than `maxSize` on its longer side.
   * Where the heatmap has nothing to show, as `note` says, the image stays as it is.
   */
  draw(canvas: HTMLCanvasElement | OffscreenCanvas, style?: Style & { maxSize?: number }): void;
  /** The overlay as PNG, at the image's size. */
  toBlob(style?: Style): Promise<Blob>;
}

/** A concept of a layer; its map is where it is, 0 or more. */
export interface Concept extends MapOverImage {
  /** In which `Factorization.draw` paints it, as CSS has it. */
  readonly color: string;
  /** Of an image that shows this concept everywhere. */
  readonly scores: Float32Array;
  readonly probabilities: Float32Array;
  /** The `n` likeliest classes of such an image. */
  top(n: number): { index: number; label: string; score: number; probability: number }[];
}

/** The concepts of a layer. */
export interface Factorization {
  readonly concepts: readonly Concept[];
  /** Draws the image and over it each concept in its own colour where it is the strongest, and makes the canvas as large as
   * the image. Of the style only the opacity counts. */
  draw(canvas: HTMLCanvasElement | OffscreenCanvas, style?: { opacity?: number }): void;
}

/** A channel of a layer; its map are its activations. */
export interface Unit extends MapOverImage {
  readonly channel: number;
  /** The channel's part of the sum of Grad-CAM's map: Σ_ij w_k A_k(i,j) with w_k = mean_ij ∂y/∂A_k(i,j). Under pooling and a
   * linear layer the contributions of all channels add up to the score less its bias. */
  readonly contribution: number;
}

/** A class activation map and what it is of. */
export interface Explanation extends MapOverImage {
  /** What is explained. */
  readonly prediction: Prediction;
  readonly method: Method;
  readonly targetClass: number;
  /** The names of the layers, joined by commas. */
  readonly targetLayer: string;
  readonly targetLayers: readonly string[];
  readonly target: "score" | "against" | "score-and-probability";
  readonly ratherThan: number | undefined;
  readonly augSmooth: boolean;
  readonly eigenSmooth: boolean;
  /**
   * Runs the network about 58 times to say how faithful this explanation is.
   * @throws {GradCamError} `TargetError` (an option's value), `DeviceError`, `AbortError`
   */
  measure(options?: {
    /** Of deletion and insertion, at most. Default 20. */
    steps?: number;
    /** The standard deviation of the noise on imputed pixels. Default 0.01. */
    noise?: number;
    /** Of the noise. Default 1. */
    seed?: number;
    onProgress?(fraction: number): void;
    signal?: AbortSignal;
  }): Promise<Measures>;
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
  target: "score" | "against" | "score-and-probability";
  /** Index or label of another class. */
  get ratherThan(): string | null;
  set ratherThan(value: string | number | null);
  augSmooth: boolean;
  eigenSmooth: boolean;
  colormap: Colormap;
  opacity: number;
  backend: "auto" | Backend;
  loading: "lazy" | "eager";
  controls: boolean;
  readonly prediction: Prediction | undefined;
  readonly explanation: Explanation | undefined;
  /** What is drawn, as PNG at the image's size. */
  toBlob(): Promise<Blob>;
  /**
   * Shows a map that was computed already over the image, until an attribute asks for another. An explanation takes the
   * place of the one that the attributes ask for, a unit only hides it; without a map the explanation is shown again.
   */
  show(map?: Explanation | Unit): void;
  /** Shows the image without its heatmap as long as `on`. */
  showOriginal(on: boolean): void;
  /** The heatmap's number under a point of the window. */
  valueAt(clientX: number, clientY: number): number | undefined;
  /** The pixel of the image under a point of the window. */
  pointAt(clientX: number, clientY: number): { x: number; y: number } | undefined;
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
