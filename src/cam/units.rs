//! What single channels and single places of a layer say: units as detectors of things, and places asked for their classes.

use super::methods::{mean, sum};
use super::{ExplainOptions, Prediction};
use crate::heatmap::Grid;
use crate::network::LayerId;
use crate::network::runs::check_running;
use crate::order::{arranged, ordered};
use crate::tensor::{Tensor, numbers};
use crate::{Error, ErrorKind, Result};

/// A channel of a layer, and what it adds to a class's score ("units act as object detectors", Zhou et al. 2015,
/// <https://arxiv.org/abs/1412.6856>).
#[derive(Clone, Debug, PartialEq)]
pub struct Unit {
    /// Its place among the layer's channels.
    pub channel: usize,
    /// Σ_ij w_k A_k(i,j) with Grad-CAM's weight w_k = mean_ij ∂y/∂A_k(i,j): the channel's part of the sum of Grad-CAM's
    /// map. Under pooling and a linear layer the contributions of all channels add up to the score less its bias.
    pub contribution: f32,
    /// Its activations A_k.
    pub map: Grid,
}

/// How much a place of a layer speaks for classes.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    /// Classes and h·w·M_c(place), highest first, where M_c is Grad-CAM's map of the class: the mean over all places is
    /// what the map owes to the score. Behind a pooling layer this is the class activation Σ_k W_ck A_k(place).
    pub classes: Vec<(usize, f32)>,
    /// Whether these are all classes, by their class activations; else they are the likeliest of the image.
    pub all: bool,
}

impl Prediction {
    /// The `count` channels of a layer (`None`: the default one) that add most to a class's score (`None`: the top class),
    /// highest first.
    ///
    /// # Errors
    /// `TargetError` if there is no such class, `DeviceError` if the device gives no result.
    pub async fn units(&self, target_class: Option<usize>, layer: Option<LayerId>, count: usize) -> Result<Vec<Unit>> {
        let class = self.class_or_top(target_class)?;
        let cut = self.cut_at(layer.unwrap_or(self.network.default_layer_id())).await?;
        let (activations, gradients) = (cut.maps(), self.network.gradients_of(&cut, class).await?);
        let [_, channels, height, width] = activations.dims();
        let contributions = numbers(sum(gradients).mul(mean(activations.clone())));
        // Of equal channels the first comes first; adding 0 makes -0 equal to 0.
        let mut order = ordered(channels, &|a, b| (contributions[b] + 0.).total_cmp(&(contributions[a] + 0.)));
        order.truncate(count);
        if order.is_empty() {
            return Ok(Vec::new());
        }
        let chosen = order.iter().map(|&channel| activations.clone().narrow(1, channel, 1)).collect();
        let values = numbers(Tensor::cat(chosen, 1));
        let maps = values.chunks_exact(height * width);
        Ok(order
            .into_iter()
            .zip(maps)
            .map(|(channel, values)| Unit {
                channel,
                contribution: contributions[channel],
                map: Grid::new(width as u32, height as u32, values.to_vec()),
            })
            .collect())
    }

    /// Which classes one place of a layer (`None`: the default one) speaks for, counted from the upper left.
    ///
    /// Where the layer is pooled into the scores, every class can be told from one run of the head. Elsewhere it takes
    /// a gradient for each class, so only the `likeliest` of the image are told; `stopped` is asked between them.
    ///
    /// # Errors
    /// `TargetError` if the layer has no such place, `DeviceError` if the device gives no result, `AbortError` if
    /// `stopped` says so.
    pub async fn classes_at(
        &self,
        layer: Option<LayerId>,
        (column, row): (usize, usize),
        likeliest: usize,
        stopped: &dyn Fn() -> bool,
    ) -> Result<Evidence> {
        let layer = layer.unwrap_or(self.network.default_layer_id());
        let cut = self.cut_at(layer).await?;
        let dims @ [_, _, height, width] = cut.shape();
        if column >= width || row >= height {
            return Err(Error::new(
                ErrorKind::Target,
                format!("there is no place {column}, {row}: the layer has {width} columns and {height} rows"),
            ));
        }
        let all = self.network.pooled_layer().is_ok_and(|pooled| pooled == layer);
        let classes = if all {
            // The head is linear, so an image that is this place all over has the place's class activations as scores,
            // but for the bias, which an image without any activation has alone.
            let place = cut.maps().narrow(2, row, 1).narrow(3, column, 1).expand(dims);
            let bias = self.network.run_from(&cut, &place.zeros_like()).await?;
            let evidence = numbers(self.network.run_from(&cut, &place).await?.sub(bias));
            evidence.into_iter().enumerate().collect::<Vec<_>>()
        } else {
            let mut classes = Vec::new();
            for class in self.likeliest(likeliest) {
                check_running(stopped)?;
                let options =
                    ExplainOptions { target_class: Some(class), layers: vec![layer], ..ExplainOptions::default() };
                let map = self.explain(&options, &|_| {}, stopped).await?.map;
                classes.push((class, (height * width) as f32 * map.values()[row * width + column]));
            }
            classes
        };
        Ok(Evidence { classes: arranged(classes, &|(_, a), (_, b)| (b + 0.).total_cmp(&(a + 0.))), all })
    }

    /// The `count` classes with the highest scores.
    fn likeliest(&self, count: usize) -> Vec<usize> {
        let mut order = ordered(self.scores.len(), &|a, b| self.scores[b].total_cmp(&self.scores[a]));
        order.truncate(count);
        order
    }
}
