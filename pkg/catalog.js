// Written by `cargo xtask codegen` from the tables in Rust, for use before any wasm is loaded and where there is no DOM.

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
    name: "eigen-cam",
    title: "Eigen-CAM",
    paper: "https://arxiv.org/abs/2008.00299",
    summary: "Shows the strongest pattern in the activations, whatever the class.",
    forwardPasses: "1",
  }),
  Object.freeze({
    name: "eigen-grad-cam",
    title: "Eigen-Grad-CAM",
    paper: "https://github.com/jacobgil/pytorch-grad-cam",
    summary: "Shows the strongest pattern in the activations times their gradients.",
    forwardPasses: "1",
  }),
  Object.freeze({
    name: "seg-eigen-cam",
    title: "Seg-Eigen-CAM",
    paper: "https://doi.org/10.3390/app15137562",
    summary: "Shows the strongest pattern in the activations times the size of their gradients.",
    forwardPasses: "1",
  }),
  Object.freeze({
    name: "kpca-cam",
    title: "KPCA-CAM",
    paper: "https://arxiv.org/abs/2410.00267",
    summary: "Shows the strongest pattern in the activations as a curved kernel sees it, whatever the class.",
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
    name: "score-cam",
    title: "Score-CAM",
    paper: "https://arxiv.org/abs/1910.01279",
    summary: "Weights each channel by the score of the image seen through it.",
    forwardPasses: "1 a channel",
  }),
  Object.freeze({
    name: "ss-cam",
    title: "SS-CAM",
    paper: "https://arxiv.org/abs/2006.14255",
    summary: "Score-CAM with noise on the channels, averaged.",
    forwardPasses: "35 a channel",
  }),
  Object.freeze({
    name: "is-cam",
    title: "IS-CAM",
    paper: "https://arxiv.org/abs/2010.03023",
    summary: "Score-CAM with channels of growing strength, averaged.",
    forwardPasses: "10 a channel",
  }),
  Object.freeze({
    name: "ablation-cam",
    title: "Ablation-CAM",
    paper:
      "https://openaccess.thecvf.com/content_WACV_2020/html/Desai_Ablation-CAM_Visual_Explanations_for_Deep_Convolutional_Network_via_Gradient-free_Localization_WACV_2020_paper.html",
    summary: "Weights each channel by what the score loses without it.",
    forwardPasses: "1 a channel, from the layer on",
  }),
  Object.freeze({
    name: "smooth-grad-cam++",
    title: "Smooth Grad-CAM++",
    paper: "https://arxiv.org/abs/1908.01224",
    summary: "Grad-CAM++ over four noisy copies of the image.",
    forwardPasses: "5",
  }),
  Object.freeze({
    name: "shapley-cam",
    title: "Shapley-CAM",
    paper: "https://arxiv.org/abs/2501.06261",
    summary: "Corrects Grad-CAM by how the gradients change with the activations.",
    forwardPasses: "1 to 3",
  }),
  Object.freeze({
    name: "finer-cam",
    title: "Finer-CAM",
    paper: "https://arxiv.org/abs/2501.11309",
    summary: "Grad-CAM of what sets the class apart from the three with the nearest scores.",
    forwardPasses: "1",
  }),
  Object.freeze({
    name: "refine-cam",
    title: "RefineCAM",
    paper: "https://arxiv.org/abs/2605.14641",
    summary: "Multiplies the Grad-CAM++ maps of several layers, so that late ones denoise early ones.",
    forwardPasses: "1",
  }),
  Object.freeze({
    name: "counterfactual",
    title: "Counterfactual Grad-CAM",
    paper: "https://arxiv.org/abs/1610.02391",
    summary: "Shows what speaks against the class: Grad-CAM with negated gradients.",
    forwardPasses: "1",
  }),
  Object.freeze({
    name: "attention-rollout",
    title: "Attention rollout",
    paper: "https://arxiv.org/abs/2005.00928",
    summary: "Follows a transformer's attention from block to block, whatever the class.",
    forwardPasses: "1",
  }),
  Object.freeze({
    name: "legrad",
    title: "LeGrad",
    paper: "https://arxiv.org/abs/2404.03214",
    summary: "Shows where more attention would raise the score, averaged over a transformer's blocks.",
    forwardPasses: "about 3",
  }),
  Object.freeze({
    name: "fullgrad",
    title: "FullGrad",
    paper: "https://arxiv.org/abs/1905.00780",
    summary: "Adds up, over the whole network, what the image and each bias do to the score.",
    forwardPasses: "1",
  }),
  Object.freeze({
    name: "guided-backprop",
    title: "Guided backpropagation",
    paper: "https://arxiv.org/abs/1412.6806",
    summary:
      "Shows edges and texture that excite the network. It fails the sanity check: it hardly changes when the last layers are random.",
    forwardPasses: "1",
  }),
  Object.freeze({
    name: "guided-grad-cam",
    title: "Guided Grad-CAM",
    paper: "https://arxiv.org/abs/1610.02391",
    summary: "Guided backpropagation where Grad-CAM is warm; with it, it fails the sanity check.",
    forwardPasses: "1",
  }),
  Object.freeze({
    name: "occlusion",
    title: "Occlusion",
    paper: "https://arxiv.org/abs/1311.2901",
    summary: "Covers one place after another and shows what that takes from the score.",
    forwardPasses: "about 225",
  }),
]);

/**
 * Of methods whose warm places do not speak for the explained class: whether they speak against it, change its score either
 * way, or stand out whatever the class. @type {Record<string, "against" | "either" | "any">}
 */
export const SENSES = Object.freeze({
  "eigen-cam": "any",
  "seg-eigen-cam": "either",
  "kpca-cam": "any",
  fem: "any",
  counterfactual: "against",
  "attention-rollout": "any",
  fullgrad: "either",
  "guided-backprop": "either",
});

/** Every colormap there is, in the order in which to offer them. */
export const COLORMAPS = Object.freeze(["turbo", "viridis", "inferno", "magma", "cividis", "jet", "gray"]);

/** How a heatmap is drawn if nobody says. */
export const DEFAULT_STYLE = Object.freeze({ colormap: "turbo", opacity: 0.5, threshold: 0 });

/** What about a class can be explained by name. */
export const TARGETS = Object.freeze(["score", "against", "score-and-probability"]);

/**
 * How the picture files begin that the engine decodes, a character a byte, of which "?" stands for any, and whether a kind
 * is so rare that its decoder loads when it is needed.
 */
export const FILES = [
  { isRare: false, magic: "\u0089PNG\r\n\u001a\n" },
  { isRare: false, magic: "\u00ff\u00d8\u00ff" },
  { isRare: true, magic: "RIFF????WEBP" },
  { isRare: true, magic: "GIF8?a" },
  { isRare: true, magic: "BM" },
];

/** What a description of the preprocessing may say: ways to fit a picture, orders of its colours, the longest side, the most channels. */
export const PREPROCESS = {
  maxChannels: 4,
  maxSide: 16384,
  order: ["RGB", "BGR"],
  resize: ["stretch", "crop", "letterbox"],
};
