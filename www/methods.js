// Plain words about each method: what its heatmap shows, and when it misleads. Title, paper and summary come with the package.

import { percent } from "./format.js";

/** @type {Record<string, { shows: string, misleads: string, warning?: string }>} */
const WORDS = {
  "grad-cam": {
    shows:
      "Where the patterns are that raise the score of the class, pattern by pattern averaged over the whole picture.",
    misleads:
      "Averaging blurs: with several objects of one kind it may mark only some, and before the last layer it can mark places that the network did not use.",
  },
  cam: {
    shows:
      "How much each place adds to the score: the numbers of all places have the score, less a constant, as their mean.",
    misleads:
      "Exact for this network, but as coarse as its last layer, and only there. Networks without pooling before the last layer have no CAM.",
  },
  "grad-cam++": {
    shows:
      "Like Grad-CAM, with more weight on places where the class depends strongly on a pattern: made for several objects of one kind.",
    misleads:
      "Its weights are never negative: what speaks against the class does not show, and a pattern that does so in some places counts as if it spoke for it in all.",
  },
  hirescam: {
    shows: "Which places the score was computed from: activations times gradients, place by place, without averaging.",
    misleads: "Faithful at the last layer; at early layers gradients are noisy, and so is the map.",
  },
  "grad-cam-elementwise": {
    shows: "Like HiResCAM, but what speaks against the class is dropped pattern by pattern before adding up.",
    misleads:
      "Evidence against the class can no longer cancel evidence for it, so more of the picture lights up than counts.",
  },
  "xgrad-cam": {
    shows:
      "Grad-CAM with each pattern weighed by where it is active, so that the map adds up to the score as nearly as weights can.",
    misleads:
      "On networks with pooling and one linear layer it equals Grad-CAM: agreement of the two proves nothing there.",
  },
  layercam: {
    shows: "Places where more of a pattern would raise the score. Fine detail even at early layers.",
    misleads:
      "Keeps only positive gradients, so evidence against the class does not show, and edges in the background may light up.",
  },
  "eigen-cam": {
    shows: "The strongest pattern at the layer, whatever the class: usually the most conspicuous object.",
    misleads:
      "It knows nothing of the class: two classes give the same map, and with several objects it follows the larger one.",
  },
  "eigen-grad-cam": {
    shows: "The strongest common pattern of activations times gradients: Eigen-CAM, told about the class.",
    misleads: "Its sign is a convention: where evidence for and against are equally strong, it may show the wrong one.",
  },
  "score-cam": {
    shows: "Which patterns, when only their places are left visible, keep the score high. No gradients.",
    misleads:
      "Slow, and covering places makes pictures that the network has never seen: a score on those may mean little.",
  },
  "ablation-cam": {
    shows: "Which patterns the score misses when they are switched off one by one. No gradients.",
    misleads: "Slow, and patterns that stand in for each other each look unimportant alone.",
  },
  "ss-cam": {
    shows: "Score-CAM, averaged over noisy masks for a smoother map.",
    misleads: "Random: two runs differ a little, unless the seed is the same. Shares Score-CAM's doubts.",
  },
  "is-cam": {
    shows: "Score-CAM, averaged over masks that let the picture through step by step.",
    misleads: "Many runs for a small change of Score-CAM, whose doubts it shares.",
  },
  "smooth-grad-cam++": {
    shows: "Grad-CAM++, averaged over noisy copies of the picture.",
    misleads: "Random, and smooth maps look more convincing than they are.",
  },
  "attention-rollout": {
    shows: "From where in the picture a vision transformer's attention gathers what its head reads.",
    misleads: "It knows nothing of the class, and attention alone does not say what is done with what it gathers.",
  },
  legrad: {
    shows: "Where a vision transformer would score the class higher if its blocks attended there more.",
    misleads: "It averages early and late blocks; what only one of them does can drown.",
  },
  fullgrad: {
    shows: "What every layer and the picture itself add to the score, in one map.",
    misleads: "It takes absolute values: places that speak against the class light up like those that speak for it.",
  },
  fem: {
    shows: "Where anything unusually strong happens at the layer, whatever the class.",
    misleads: "It knows nothing of the class. Often empty on small maps, where nothing is unusual.",
  },
  "seg-eigen-cam": {
    shows:
      "The strongest pattern at the layer, weighted by how much each place matters to the class, for or against it.",
    misleads:
      "It takes absolute gradients: places that speak against the class light up, too. Its sign is a convention.",
  },
  "kpca-cam": {
    shows:
      "The strongest pattern at the layer, found with a curved instead of a straight yardstick. Whatever the class.",
    misleads: "Knows nothing of the class, and its sign is a convention.",
  },
  "shapley-cam": {
    shows: "Grad-CAM with weights that share the score fairly among patterns, to second order.",
    misleads: "For the plain score of a network of rectifiers it equals Grad-CAM.",
  },
  "finer-cam": {
    shows: "What tells the class from the classes most like it: this, rather than those.",
    misleads: "Places that all of them share stay dark, though the network relies on them.",
  },
  "refine-cam": {
    shows: "Where maps of several layers agree: coarse ones say where, fine ones how far.",
    misleads: "One layer that is dark at a place darkens it altogether.",
  },
  "guided-backprop": {
    shows: "Edges and textures through which the signal can flow. Sharp, and nearly the same for every class.",
    misleads: "It mostly redraws the picture.",
    warning:
      "Guided backpropagation fails the sanity check: its picture hardly changes when the network's last layers are filled with random parameters. Do not read it as an explanation.",
  },
  "guided-grad-cam": {
    shows: "The edges of guided backpropagation, inside of Grad-CAM's map.",
    misleads: "Its detail comes from guided backpropagation, which does not depend on the class.",
    warning:
      "The detail comes from guided backpropagation, which fails the sanity check: its edges hardly change when the network's last layers are random. Trust it no further than Grad-CAM.",
  },
  counterfactual: {
    shows: "What speaks against the class: places that would raise its score if they were gone.",
    misleads: "A place that lights up need not belong to another class; it may be any distraction.",
  },
  occlusion: {
    shows: "How much the score falls when a patch is covered, tried place by place. No gradients.",
    misleads:
      "Slow. Evidence larger than the patch or present twice goes unnoticed, and the cover itself is evidence of something.",
  },
};

/** @param {string} method a name in `METHODS` */
export function wordsAbout(method) {
  return WORDS[method] ?? { shows: "", misleads: "" };
}

/** Colormaps that end in red; the others end in their brightest colour. */
const WARM = ["turbo", "jet"];

/** A class below this probability is one that the network rules out. */
const RULED_OUT = 0.01;

/**
 * What the warm places of a heatmap are, or why there are none: the heatmap's own note, of the class by its name.
 * @param {import("gradcam-web").Explanation} explanation @param {import("gradcam-web").Prediction} prediction @param {string} colormap
 */
export function noteOf({ note, targetClass, ratherThan }, { model: { labels }, probabilities }, colormap) {
  const probability = probabilities[targetClass];
  const isRuledOut = probability < RULED_OUT && /^Warm places (speak most for|change)/.test(note);
  const although = `, although the network gives it ${percent(probability)}: colours are stretched to this map's own maximum.`;
  const rival = ratherThan === undefined ? "" : ` rather than ${labels[ratherThan]}`;
  return note
    .replace("Warm", WARM.includes(colormap) ? "Warm" : "Bright")
    .replace(".", isRuledOut ? although : ".")
    .replace("this class", () => `${labels[targetClass]}${rival}`);
}
