// gradcam-web: see why an image classifier said what it said, in the browser. Types and words: index.d.ts.

export { ERROR_NAMES, GradCamError } from "./errors.js";
export { DEFAULT_MODEL } from "./manifest.js";
export { loadModel } from "./model.js";
export { COLORMAPS, METHODS } from "./tables.js";
export { colors } from "./view.js";
export { GradCamElement } from "./element.js";
