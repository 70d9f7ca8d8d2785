// What a sanity check found, in a word and a sentence.

import { GradCamError } from "./errors.js";

/**
 * In Adebayo et al. 2018 (https://arxiv.org/abs/1810.03292, figures 2 to 4) the rank correlation of maps that depend on the
 * network falls to about 0 with the first layers that are made random, and that of guided backpropagation stays above one
 * half until nearly all are. The whole cascade tells the two apart, the last step alone does not: with every parameter
 * random nearly all maps have changed.
 */
const DEPENDS = 0.3;
const INDEPENDENT = 0.5;
/** Maps that follow activations change late, but with every parameter random they are others; a map of edges is still itself. */
const LASTS = 0.2;

/**
 * Whether a method's map depends on the network.
 * @param {readonly { rankCorrelation: number, randomised: number }[]} steps of `prediction.sanityCheck`
 * @returns {{ verdict: "depends" | "hardly depends" | "independent", sentence: string }}
 */
export function sanityVerdict(steps) {
  const correlations = [...(steps ?? [])].map(({ rankCorrelation }) => rankCorrelation);
  if (correlations.length === 0 || correlations.some((rho) => !(Math.abs(rho) <= 1))) {
    throw new GradCamError(
      "TargetError",
      "A verdict takes the steps of a sanity check, each with a rankCorrelation from -1 to 1.",
    );
  }
  // A map turned into its opposite has changed as much as can be.
  const kept = correlations.map((rho) => Math.max(0, rho));
  const mean = kept.reduce((sum, rho) => sum + rho, 0) / kept.length;
  const [last, { randomised }] = [kept.at(-1), steps.at(-1)];
  const counted = correlations.some((rho) => rho < 0) ? ", where less than 0 counts as 0," : "";
  const numbers =
    `While ${randomised} ${randomised === 1 ? "layer is" : "layers are"} made random from the top down, the rank ` +
    `correlation with the true map is ${mean.toFixed(2)} on average${counted} and ${correlations.at(-1).toFixed(2)} at the end`;
  if (mean >= INDEPENDENT && last >= LASTS) {
    return {
      verdict: "independent",
      sentence: `${numbers}: the map stays much the same though the network forgets what it learnt. It shows the picture rather than the network; do not trust it as an explanation.`,
    };
  }
  if (mean >= DEPENDS || last >= DEPENDS) {
    return {
      verdict: "hardly depends",
      sentence: `${numbers}: the map changes late or only in part. Much of it shows the picture rather than what the network's last layers learnt.`,
    };
  }
  // What outlasts the layer that tells the classes apart does not show what tells them apart.
  if (kept[0] >= INDEPENDENT) {
    const first = steps[0].randomised;
    return {
      verdict: "hardly depends",
      sentence: `With ${first === 1 ? "the last layer" : `the last ${first} layers`} alone made random, the rank correlation with the true map is still ${kept[0].toFixed(2)}: the map hardly shows what that tells apart. It falls apart with the layers before.`,
    };
  }
  return {
    verdict: "depends",
    sentence: `${numbers}: the map falls apart together with the network, as it should. That does not prove it right, only that it depends on what was learnt.`,
  };
}
