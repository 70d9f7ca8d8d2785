// The package without its element, for programs that show nothing or show it themselves. Types and words: index.d.ts.

export { configure } from "./assets.js";
export { ERROR_NAMES, GradCamError } from "./errors.js";
export { DEFAULT_MODEL, MODELS } from "./manifest.js";
export { loadModel } from "./model.js";
export { sanityVerdict } from "./sanity.js";
export { COLORMAPS, METHODS } from "./catalog.js";
export { colors } from "./view.js";
export { WORDS } from "./words.js";

/** See `explainAll` in index.d.ts. Few pages have many images. */
export async function* explainAll(...given) {
  yield* (await import("./batch.js")).explainAll(...given);
}
