//! Weights that come from gradients, of the layer's activations or of their head, and what attention says.

use super::target::wide;
use super::{Task, methods};
use crate::heatmap::Grid;
use crate::network::runs::Watch;
use crate::network::{Cut, LayerId};
use crate::plan::outputs::softmax;
use crate::tensor::{Tensor, numbers};
use crate::{Error, ErrorKind, Result};

/// The relative step of central differences: in f32 rounding and curvature then weigh about the same.
const STEP: f32 = 1. / 256.;

/// A class less likely than this moves no slope of a softmax.
const UNLIKELY: f64 = 1e-7;

impl Task<'_> {
    /// G: the gradient of what is explained by the activations, `[1, K, h, w]`.
    pub(super) async fn gradients(&self, cut: &Cut) -> Result<Tensor<4>> {
        self.gradients_for(cut, self.prediction.scores()).await
    }

    /// G for a cut of another input, which has other scores.
    pub(super) async fn gradients_for(&self, cut: &Cut, scores: &[f32]) -> Result<Tensor<4>> {
        let slopes = self.objective.slopes(&wide(scores));
        self.network().gradients(cut, &slopes).await
    }

    /// What of each place attention hands on to the head, `[h, w]`.
    pub(super) async fn rollout(&self) -> Result<Grid> {
        let network = self.network();
        let blocks = network.blocks()?;
        let ([height, width], places) = blocks.places(&network.rollout(&blocks, &self.prediction.input).await?);
        Ok(Grid::new(width as u32, height as u32, places))
    }

    /// By how much the score grows with attention to each place, `[h, w]`.
    pub(super) async fn legrad(&self, watch: Watch<'_>) -> Result<Grid> {
        let network = self.network();
        let blocks = network.blocks()?;
        let slopes = self.objective.slopes(&wide(self.prediction.scores()));
        let pause = async |fraction| watch.pause_at(fraction).await;
        let tokens = network.legrad(&blocks, &self.prediction.input, &slopes, pause).await?;
        let ([height, width], places) = blocks.places(&tokens);
        Ok(Grid::new(width as u32, height as u32, places))
    }

    /// CAM's weights: the parameters of the last layer, `[1, K, 1, 1]`. torch-cam's, which rectifies no map of CAM.
    pub(super) fn pooling_weights(&self, layer: LayerId) -> Result<Tensor<4>> {
        let network = self.network();
        let pooled = network.pooled_layer()?;
        if layer != pooled {
            let (name, works) = (network.layer_name(layer), network.layer_name(pooled));
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("CAM can't be taken at layer `{name}`: in this network only `{works}` is pooled into scores"),
            ));
        }
        let slopes = self.objective.slopes(&wide(self.prediction.scores()));
        let mut sum: Option<Tensor<4>> = None;
        for (class, slope) in slopes.into_iter().enumerate().filter(|(_, slope)| *slope != 0.) {
            let weights = network.pooling_weights(class)?.mul_scalar(slope as f32);
            sum = Some(match sum {
                Some(sum) => sum.add(weights),
                None => weights,
            });
        }
        sum.ok_or_else(|| Error::new(ErrorKind::Target, "what is to be explained depends on no class"))
    }

    /// w_k = mean_ij (G − ½ H·A), where H·A is the change of the gradient along the activations (Shapley-CAM).
    ///
    /// In a network that is linear in pieces (convolutions, rectifiers, pooling) the gradient of a score does not change,
    /// and these are Grad-CAM's weights exactly, as by automatic differentiation. Where only the target is curved
    /// ([`Target::ScoreAndProbability`](super::Target::ScoreAndProbability)), H·A is the gradient of the target's changing
    /// slopes. Where the network itself is, H·A is a central difference of gradients at (1 ± 1/256)·A, with rectifiers and
    /// maxima kept on their sides: maps are right to 1e-4 of their largest value. Only the corner of an ELU or SELU whose
    /// slopes differ at zero is taken for a bend.
    pub(super) async fn shapley_weights(&self, cut: &Cut, watch: Watch<'_>) -> Result<Tensor<4>> {
        let network = self.network();
        let gradients = self.gradients(cut).await?;
        let change = if network.is_curved_behind(cut.layer()) {
            let mut sides = Vec::new();
            for (index, factor) in [1. + STEP, 1. - STEP].into_iter().enumerate() {
                watch.pause_at((index + 1) as f32 / 3.).await?;
                let side = network.run_beside(cut, factor);
                let scores = network.scores_beside(&side);
                sides.push(network.gradients_beside(cut, &side, &self.objective.slopes(&wide(&scores))));
            }
            sides.remove(0).sub(sides.remove(0)).mul_scalar(0.5 / STEP)
        } else if self.objective.is_linear() {
            return Ok(methods::mean(gradients));
        } else {
            let scores = wide(self.prediction.scores());
            let mut rates = vec![0.; scores.len()];
            for (class, probability) in softmax(&scores).into_iter().enumerate() {
                if probability > UNLIKELY {
                    watch.pause_at(class as f32 / scores.len() as f32).await?;
                    let (activations, gradients) = (cut.maps(), network.gradients_of(cut, class).await?);
                    rates[class] = numbers(activations.mul(gradients).sum())[0].into();
                }
            }
            network.gradients(cut, &self.objective.slope_rates(&scores, &rates)).await?
        };
        Ok(methods::mean(gradients.sub(change.mul_scalar(0.5))))
    }
}
