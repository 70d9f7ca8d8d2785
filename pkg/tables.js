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
  Object.freeze({
    name: "grad-cam++",
    title: "Grad-CAM++",
    paper: "https://arxiv.org/abs/1710.11063",
    summary: "Weights each channel by its positive gradients, scaled by higher derivatives.",
    forwardPasses: "1",
  }),
  Object.freeze({
    name: "hirescam",
    title: "HiResCAM",
    paper: "https://arxiv.org/abs/2011.08891",
    summary: "Multiplies activations and gradients place by place.",
    forwardPasses: "1",
  }),
  Object.freeze({
    name: "grad-cam-elementwise",
    title: "Element-wise Grad-CAM",
    paper: "https://github.com/jacobgil/pytorch-grad-cam",
    summary: "Multiplies activations and gradients place by place and keeps what is positive.",
    forwardPasses: "1",
  }),
  Object.freeze({
    name: "xgrad-cam",
    title: "XGrad-CAM",
    paper: "https://arxiv.org/abs/2008.02312",
    summary: "Weights each channel by its gradients, scaled by its activations.",
    forwardPasses: "1",
  }),
  Object.freeze({
    name: "layercam",
    title: "LayerCAM",
    paper: "https://doi.org/10.1109/TIP.2021.3089943",
    summary: "Weights each place of each channel by its positive gradient.",
    forwardPasses: "1",
  }),
  Object.freeze({
    name: "fem",
    title: "FEM",
    paper: "https://ieeexplore.ieee.org/document/9286629",
    summary: "Weights each channel by how much of it is unusually strong, whatever the class.",
    forwardPasses: "1",
  }),
  Object.freeze({
    name: "counterfactual",
    title: "Counterfactual Grad-CAM",
    paper: "https://arxiv.org/abs/1610.02391",
    summary: "Shows what speaks against the class: Grad-CAM with negated gradients.",
    forwardPasses: "1",
  }),
]);

/** Every colormap there is, in the order in which to offer them. */
export const COLORMAPS = Object.freeze(["turbo", "viridis", "inferno", "magma", "cividis", "jet", "gray"]);
