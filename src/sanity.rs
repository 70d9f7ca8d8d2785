//! Whether a method explains the network at all: the sanity check of Adebayo et al. 2018,
//! <https://arxiv.org/abs/1810.03292>.
//!
//! Parameters are replaced by random ones from the top layer down, one layer more each time. The network forgets what it
//! learnt, so its explanations must change too; a method whose maps stay the same shows the image, not the network.

use std::rc::Rc;

use crate::cam::{ExplainOptions, Explanation, Prediction};
use crate::judge::rank_correlation;
use crate::{Error, ErrorKind, Result};

/// How far to go and by which random numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SanityOptions {
    /// How many networks to compare with, at most: evenly spaced from one random layer to all.
    pub steps: usize,
    /// Of the parameters.
    pub seed: u64,
}

impl Default for SanityOptions {
    fn default() -> Self {
        SanityOptions { steps: 8, seed: 1 }
    }
}

/// The explanation by a network whose upper layers are random.
#[derive(Clone, Debug, PartialEq)]
pub struct SanityStep {
    /// The lowest layer that is random.
    pub layer: String,
    /// How many layers are random, this one included.
    pub randomised: usize,
    /// Of the same class by the same method at the same layer.
    pub explanation: Explanation,
    /// Spearman's, between its heatmap and that of the network as it was: 1 if nothing changed, near 0 if the map has
    /// nothing in common with it. A map with nothing to show counts as 0.
    pub rank_correlation: f32,
}

/// Explains `prediction` with ever more random parameters. `progress` hears fractions in 0..=1; `stopped` is asked as
/// by [`Prediction::explain`].
///
/// # Errors
/// `TargetError` for 0 steps, and those of [`Prediction::explain`].
pub async fn sanity_check(
    prediction: &Prediction,
    options: &ExplainOptions,
    sanity: SanityOptions,
    progress: &dyn Fn(f32),
    stopped: &dyn Fn() -> bool,
) -> Result<Vec<SanityStep>> {
    if sanity.steps == 0 {
        return Err(Error::new(ErrorKind::Target, "0 steps check nothing; whole numbers above 0 are accepted"));
    }
    let network = prediction.network();
    let layers = network.weighted_layers();
    let depths = depths(layers.len(), sanity.steps);
    let part = |done: usize| {
        let all = depths.len() as f32 + 1.;
        move |fraction: f32| progress((done as f32 + fraction) / all)
    };
    let original = prediction.explain(options, &part(0), stopped).await?;
    // The class that was on top is followed, whatever comes out on top later.
    let options = ExplainOptions { target_class: Some(original.target_class), ..options.clone() };
    let heatmap = original.map.heatmap();
    let mut steps = Vec::with_capacity(depths.len());
    for (done, &randomised) in depths.iter().enumerate() {
        let random = Rc::new(network.with_randomised(randomised, sanity.seed));
        let again = Prediction::of(random, prediction.input(), options.layers.first().copied()).await?;
        let explanation = again.explain(&options, &part(done + 1), stopped).await?;
        let rank_correlation = rank_correlation(heatmap.grid(), explanation.map.heatmap().grid());
        steps.push(SanityStep { layer: layers[randomised - 1].to_owned(), randomised, explanation, rank_correlation });
    }
    Ok(steps)
}

/// At most `steps` numbers from 1 to `layers`, both included, evenly spaced.
fn depths(layers: usize, steps: usize) -> Vec<usize> {
    match (layers, steps) {
        (0, _) => Vec::new(),
        (_, 1) => vec![layers],
        _ if steps >= layers => (1..=layers).collect(),
        _ => (0..steps).map(|step| 1 + (step * (layers - 1) + (steps - 1) / 2) / (steps - 1)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_spread_from_the_top_layer_to_all() {
        assert_eq!(depths(3, 8), [1, 2, 3]);
        assert_eq!(depths(9, 3), [1, 5, 9]);
        assert_eq!(depths(26, 4), [1, 9, 18, 26]);
        assert_eq!(depths(26, 1), [26]);
        assert!(depths(0, 8).is_empty());
    }
}
