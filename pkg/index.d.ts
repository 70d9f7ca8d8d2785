/** See, in the browser, why an image classifier said what it said. */

// names: written by cargo xtask codegen

export type Method =
  | "grad-cam"
  | "cam"
  | "grad-cam++"
  | "hirescam"
  | "grad-cam-elementwise"
  | "xgrad-cam"
  | "layercam"
  | "eigen-cam"
  | "eigen-grad-cam"
  | "seg-eigen-cam"
  | "kpca-cam"
  | "fem"
  | "score-cam"
  | "ss-cam"
  | "is-cam"
  | "ablation-cam"
  | "smooth-grad-cam++"
  | "shapley-cam"
  | "finer-cam"
  | "refine-cam"
  | "counterfactual"
  | "attention-rollout"
  | "legrad"
  | "fullgrad"
  | "guided-backprop"
  | "guided-grad-cam"
  | "occlusion";

export type Colormap = "turbo" | "viridis" | "inferno" | "magma" | "cividis" | "jet" | "gray";

/** What about a class is explained: its score, what speaks against it, or its score and its probability at once. */
export type Target = "score" | "against" | "score-and-probability";

// end of names

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

/** The networks that come with the package, the default first. */
export const MODELS: readonly {
  readonly name: "imagenet" | "everyday";
  readonly title: string;
  /** Address of its manifest. */
  readonly url: string;
  /** How many classes it knows. */
  readonly classes: number;
  /** Length of its file. */
  readonly bytes: number;
}[];

/** Address of the manifest of the network that is taken where none is named. */
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
  /**
   * Subtracted from samples in 0..=1; one for each channel, or one for all. If one is over 1, all are of samples in 0..=255, and
   * so is `std`.
   */
  mean?: number[];
  /** Divides after that. */
  std?: number[];
  order?: "RGB" | "BGR";
}

export type ImageSource =
  | string
  | URL
  | Blob
  | HTMLImageElement
  | HTMLCanvasElement
  | OffscreenCanvas
  | HTMLVideoElement
  | VideoFrame
  | ImageBitmap
  | ImageData
  /** The network's input as it is, without any preprocessing. */
  | { tensor: Float32Array; shape: [1, number, number, number] };

/**
 * Says where the package's files lie, before the first use: for bundlers and CDNs that put its scripts elsewhere.
 * @throws {GradCamError} `TargetError` if that is no address
 */
export function configure(options: {
  /** Address of the folder that holds `worker.js`, `view/`, `cpu/` and the rest, as in the package. */
  assets?: string | URL;
}): void;

/**
 * Explains many images, one after the other, in their order; the next are fetched meanwhile. An image that can't be explained
 * has an `error` and does not end the others; what the list itself throws comes after the answers to the images before.
 * @throws {GradCamError} `AbortError`, `TargetError` if there is no model or no list of images
 */
export function explainAll(
  model: Model,
  images: Iterable<ImageSource> | AsyncIterable<ImageSource>,
  /** `onProgress` hears the share of a list's images that is done. */
  options?: ExplainOptions,
): AsyncIterable<
  | { readonly index: number; readonly explanation: Explanation; readonly error?: undefined }
  | { readonly index: number; readonly explanation?: undefined; readonly error: GradCamError }
>;

/**
 * Loads an ONNX image classifier, alone or by its manifest; "imagenet" and "everyday" name those of the package.
 * @throws {GradCamError} `ModelError`, `UnsupportedError`, `DeviceError`, `TargetError` (an option's value), `AbortError`
 */
export function loadModel(
  source: string | URL | Blob | ArrayBuffer | Uint8Array | readonly (string | URL | Blob)[] | FileList,
  options?: {
    /**
     * Default `auto`: WebGPU where a real GPU computes rightly, else the CPU. The CPU answers first in any case, as a GPU
     * takes longer to get ready: it takes over once it has run the network.
     */
    backend?: "auto" | Backend;
    /** Override the manifest or the file's metadata. */
    preprocess?: Preprocess;
    labels?: string[] | string | URL;
    /** 0..=1 of downloading and unpacking model and engine. */
    onProgress?(fraction: number): void;
    /**
     * Hears every 20 seconds that something asked of this model, the load included, shows no progress: what the engine is at,
     * for how long, and how to end it. What was asked then fails with a `DeviceError`, and all models go on in a new worker.
     */
    onStall?(stall: { readonly doing: string; readonly seconds: number; end(): void }): void;
    /** Ends the load in any stage. */
    signal?: AbortSignal;
  },
): Promise<Model>;

export interface Model {
  /** From the manifest or the file's name. */
  readonly name: string | undefined;
  /** Where it runs now: before the GPU is ready, where it is not faster by a fifth at least, and after a failure, that may be the CPU. */
  readonly backend: Backend;
  /** Why it runs there, in a few words, such as "no WebGPU adapter"; what a forward pass takes on both, once that was compared. */
  readonly backendReason: string;
  /** Fulfilled when `backend` changes no more, short of a failure: with `auto` and a GPU some time after the first answer, or after nobody asked for one. */
  readonly settled: Promise<void>;
  readonly input: { readonly width: number; readonly height: number; readonly channels: number };
  readonly labels: readonly string[];
  /**
   * Every value that keeps the places of the image apart, in order. `tokens`: `[1, n, K]` or `[1, h, w, K]`, as transformers have
   * them, seen as K maps of h × w; class tokens and others that are no places are left out.
   */
  readonly layers: readonly {
    readonly name: string;
    readonly operator: string;
    readonly shape: readonly [channels: number, height: number, width: number];
    readonly kind: "map" | "tokens";
  }[];
  readonly defaultLayer: string;
  readonly preprocess: Readonly<Required<Preprocess>>;
  /** Where the preprocessing comes from, in words to show. */
  readonly preprocessReason: string;
  /** Whether neither caller nor manifest nor file said how to prepare images. */
  readonly preprocessGuessed: boolean;
  /**
   * How many of the network's steps have been run so far, how many bytes the engine's memory had at the last image, and, on WebGPU,
   * how many steps the CPU had to run in the graphics card's place.
   */
  readonly stats: { readonly stepsRun: number; readonly memory: number; readonly cpuSteps: number };
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
  target?: Target;
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
  readonly image: {
    readonly width: number;
    readonly height: number;
    /** The file has more frames, of which this is the first. */
    readonly isAnimated?: true;
  };
  /** Logits. */
  readonly scores: Float32Array;
  /** What the network ends with: softmax of the scores, or their sigmoids, as of a single output and of several labels. */
  readonly probabilities: Float32Array;
  /** Milliseconds. */
  readonly timings: { readonly preprocess: number; readonly forward: number };
  /**
   * `unsure` where nothing that the network knows is likely: its likeliest class stays below the `probability` that its
   * manifest's `certainty` names (default 0.25, more for networks of fewer than five classes), all scores come to less than
   * its `energy` (log Σ exp), or those of all but the highest twentieth to more than its `rest`, as they do for noise. Nor is
   * any network sure of a picture whose pixels have nothing to do with their neighbours, or of scores that overflowed. That
   * catches pictures of nothing; a thing that is not among its classes may still be called by another's name with confidence.
   */
  readonly certainty: "sure" | "unsure";
  /** Why, in a sentence for a person, with the numbers. */
  readonly certaintyReason: string;
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
  units(options?: {
    targetClass?: number | string;
    targetLayer?: string;
    count?: number;
    signal?: AbortSignal;
  }): Promise<Unit[]>;
  /** The cell of a layer's map that a pixel of the image lies in; undefined where the network did not look. */
  cellAt(x: number, y: number, options?: { targetLayer?: string }): Cell | undefined;
  /**
   * The classes for which the cell under a pixel of the image speaks, most evidence first. Where the layer is pooled into
   * the scores these are all classes; elsewhere, where each takes a gradient, the `likeliest` (default 10) of the image.
   * @throws {GradCamError} `TargetError` (also where the network did not look), `DeviceError`, `AbortError`
   */
  classesAt(
    x: number,
    y: number,
    options?: { targetLayer?: string; likeliest?: number; signal?: AbortSignal },
  ): Promise<{
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
  sanityCheck(
    options?: ExplainOptions & {
      /** How many networks to compare with, at most, from one random layer to all. Default 8. */
      steps?: number;
      /** Of the random parameters. Default 1. */
      seed?: number;
    },
  ): Promise<SanityStep[]>;
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

/**
 * Whether a method's map depends on the network, by the whole cascade of a sanity check: `depends` below a rank correlation
 * of 0.3 on average and at the end and of 0.5 at the first step, `independent` from 0.5 on average and 0.2 at the end.
 * @throws {GradCamError} `TargetError` if there are no steps
 */
export function sanityVerdict(steps: readonly SanityStep[]): {
  readonly verdict: "depends" | "hardly depends" | "independent";
  /** For a person, with the numbers. */
  readonly sentence: string;
};

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
  /** How alike the heatmap is to that of the input times the heatmap: (1 + r) / 2 of Pearson's r, 0..=1; more is better. */
  readonly coherency: number;
  /** The mean of the heatmap, 0..=1: less is better. */
  readonly complexity: number;
  /**
   * The harmonic mean of coherency, 1 - complexity and twice ROAD of 20, 40, 60 and 80 %: more is better (after Poppi et al.
   * 2021, https://arxiv.org/abs/2104.10252). All three are pytorch-grad-cam's.
   */
  readonly arcc: number;
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
  /** Where the heatmap is below, 0..=1, the image stays as it is. Default 0. */
  threshold?: number;
  /** `value`: the opacity grows with the heatmap, from 0 to `opacity`. Default uniform. */
  opacityBy?: "uniform" | "value";
  /** Draws lines around what reaches the threshold, or 0.2 without one. */
  contours?: boolean;
  /** Draws boxes around what reaches the threshold, or 0.2 without one. */
  boxes?: boolean;
}

/** In pixels of the image. */
export interface Rect {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
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
  /**
   * Boxes around the connected parts of what reaches `threshold`, a share of the maximum (default 0.2), that of the most
   * pixels first. Pixels that touch at a corner are connected.
   * @throws {GradCamError} `TargetError`
   */
  boxes(options?: { threshold?: number }): Rect[];
  /**
   * Closed lines around what reaches `threshold` (default 0.2), clockwise, in pixels of the image.
   * @throws {GradCamError} `TargetError`
   */
  contours(options?: { threshold?: number }): [x: number, y: number][][];
  /** The heatmap at the image's size as an `.npy` file of float32, 0 where the network did not look. */
  toNpy(): Uint8Array;
  /** The figure with its legend and caption, as SVG: the overlay as a PNG within, lines as paths. */
  toSvg(style?: Style): Promise<string>;
  /** The figure with its legend and caption, as PNG. */
  toFigure(style?: Style): Promise<Blob>;
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
  readonly target: Target;
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
  readonly timings: {
    readonly preprocess: number;
    readonly forward: number;
    readonly explain: number;
    readonly total: number;
  };
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

/**
 * What the element says, by language and English words; `{name}` stands for what is put in. Whoever needs another language than
 * English and German adds a table before the first element: `WORDS.fr = { Method: "Méthode" }`; the nearest `lang` on the page chooses.
 */
export const WORDS: Record<string, Record<string, string>>;

export interface GradCamEventMap {
  progress: CustomEvent<{ totalProgress: number }>;
  load: CustomEvent<Prediction>;
  explain: CustomEvent<Explanation>;
  error: CustomEvent<GradCamError>;
}

/** The attributes of `<grad-cam>` as properties. */
export interface GradCamProperties {
  // attributes: written by cargo xtask codegen

  /** Address of the image; the property takes every image that `classify` takes. Default: what the slotted `img` shows. */
  src: ImageSource | null;
  /** The image's text alternative. Default: that of the slotted `img`. */
  alt: string;
  /** Address of a manifest or an ONNX file; the property also takes a loaded model. Default: the model that comes with the package. */
  get model(): string | Model | Promise<Model> | null;
  set model(value: string | URL | Model | Promise<Model> | null);
  /** Address of a text or JSON file with the names of the model's classes. Default: the model's. */
  labels: string | null;
  /** How the class activation map is computed. Default: `grad-cam`. */
  method: Method;
  /** Index or label of the class to explain. Default: the top class. */
  get targetClass(): string | null;
  set targetClass(value: string | number | null);
  /** Name of the target layer; the property also takes several. Default: the model's. */
  targetLayer: string | string[] | null;
  /** What to explain about the class. Default: `score`. */
  target: Target;
  /** Index or label of another class: why the target class rather than this one. */
  get ratherThan(): string | null;
  set ratherThan(value: string | number | null);
  /** The mean over mirrored, weaker and stronger inputs: smoother, six times the work. Default: off. */
  augSmooth: boolean;
  /** The main direction of the weighted channels instead of their sum: less noise. Default: off. */
  eigenSmooth: boolean;
  /** The colours of the heatmap. Default: `turbo`. */
  colormap: Colormap;
  /** 0 shows the image alone, 1 the colormap alone. Default: `0.5`. */
  opacity: number;
  /** `value`: the opacity grows with the heatmap, from 0 to `opacity`. Default: `uniform`. */
  opacityBy: "uniform" | "value";
  /** Where the heatmap is below it, 0 to 1, the image stays as it is. Default: `0`. */
  threshold: number;
  /** Draws lines around what reaches the threshold, 0.2 without one. Default: off. */
  contours: boolean;
  /** Draws boxes around what reaches the threshold, 0.2 without one. Default: off. */
  boxes: boolean;
  /** Shows a line under the picture: what was asked and what came, and the method. Default: off. */
  caption: boolean;
  /** How wide the picture is on the page at most, in CSS pixels, or a share of the room such as `50%`. Default: that of the slotted `img`. */
  get width(): string | null;
  set width(value: string | number | null);
  /** With `width`, the shape that is kept free until the picture is there. Default: that of the slotted `img`. */
  get height(): string | null;
  set height(value: string | number | null);
  /** What the network runs on; `auto` takes WebGPU where a real graphics card computes correctly and faster than the CPU; on iOS the CPU. Default: `auto`. */
  backend: "auto" | Backend;
  /** `lazy` waits until the element comes near the window. Default: `lazy`. */
  loading: "lazy" | "eager";
  /** Shows the class list, the method and the opacity. Default: off. */
  controls: boolean;

  // end of attributes
}

/** The attributes of `<grad-cam>` in a template. */
export interface GradCamAttributes {
  // markup: written by cargo xtask codegen

  src?: ImageSource | null | undefined;
  alt?: string | null | undefined;
  model?: string | URL | Model | Promise<Model> | null | undefined;
  labels?: string | null | undefined;
  method?: Method | null | undefined;
  "target-class"?: string | number | null | undefined;
  "target-layer"?: string | string[] | null | undefined;
  target?: Target | null | undefined;
  "rather-than"?: string | number | null | undefined;
  "aug-smooth"?: boolean | null | undefined;
  "eigen-smooth"?: boolean | null | undefined;
  colormap?: Colormap | null | undefined;
  opacity?: number | string | null | undefined;
  "opacity-by"?: "uniform" | "value" | null | undefined;
  threshold?: number | string | null | undefined;
  contours?: boolean | null | undefined;
  boxes?: boolean | null | undefined;
  caption?: boolean | null | undefined;
  width?: string | number | null | undefined;
  height?: string | number | null | undefined;
  backend?: "auto" | Backend | null | undefined;
  loading?: "lazy" | "eager" | null | undefined;
  controls?: boolean | null | undefined;

  // end of markup
}

type Camel<Name extends string> = Name extends `${infer First}-${infer Rest}`
  ? `${First}${Capitalize<Camel<Rest>>}`
  : Name;

/** What a framework passes on to `<grad-cam>`: attributes, under their own names or those of the properties. */
export type GradCamProps = GradCamAttributes & {
  [Name in keyof GradCamAttributes as Camel<Name>]?: GradCamAttributes[Name];
};

/** `<grad-cam>`: an image, and over it the heatmap that explains a class. */
export interface GradCamElement extends GradCamProperties {}
export class GradCamElement extends HTMLElement {
  readonly prediction: Prediction | undefined;
  readonly explanation: Explanation | undefined;
  /** What is drawn, as PNG at the image's size. */
  toBlob(): Promise<Blob>;
  /**
   * Shows a map that was computed already over the image, until an attribute asks for another. An explanation takes the
   * place of the one that the attributes ask for, a unit only hides it; without a map the explanation is shown again.
   * @throws {GradCamError} `TargetError` if it is neither
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

  addEventListener<K extends keyof GradCamEventMap>(
    type: K,
    listener: (this: GradCamElement, event: GradCamEventMap[K]) => unknown,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject,
    options?: boolean | AddEventListenerOptions,
  ): void;
}

declare global {
  interface HTMLElementTagNameMap {
    "grad-cam": GradCamElement;
  }
}
