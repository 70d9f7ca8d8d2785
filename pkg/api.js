// The package without its element, for programs that show nothing or show it themselves. Types and words: index.d.ts.

export { configure } from "./assets.js";
export { explainAll } from "./batch.js";
export { ERROR_NAMES, GradCamError } from "./errors.js";
export { DEFAULT_MODEL, MODELS } from "./manifest.js";
export { loadModel } from "./model.js";
export { sanityVerdict } from "./sanity.js";
export { COLORMAPS, METHODS } from "./catalog.js";
export { colors } from "./view.js";
export { WORDS } from "./words.js";
