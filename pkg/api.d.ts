export type * from "./index.js";
export {
  COLORMAPS,
  DEFAULT_MODEL,
  ERROR_NAMES,
  GradCamError,
  METHODS,
  MODELS,
  WORDS,
  colors,
  configure,
  explainAll,
  loadModel,
  sanityVerdict,
} from "./index.js";
