// The tables of `cam::Method` and `overlay::Colormap`, repeated here so that they can be listed before any wasm is
// loaded and where there is no DOM. A test holds the two equal.

/** Every method there is, in the order in which to offer them. */
export const METHODS = Object.freeze([
  Object.freeze({
    name: "grad-cam",
    title: "Grad-CAM",
    paper: "https://arxiv.org/abs/1610.02391",
    summary: "Weights each channel by the mean of its gradient.",
    forwardPasses: "1",
  }),
  Object.freeze({
    name: "cam",
    title: "CAM",
    paper: "https://arxiv.org/abs/1512.04150",
    summary: "Weights each channel by its weight in the last layer.",
    forwardPasses: "1",
  }),
]);

/** Every colormap there is, in the order in which to offer them. */
export const COLORMAPS = Object.freeze(["turbo", "viridis", "inferno", "magma", "cividis", "jet", "gray"]);
