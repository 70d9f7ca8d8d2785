//! The CAM family: what each method is, and its map.
//!
//! Every method is one entry of the table in `cam/methods.rs`: a formula over the activations A of a target layer and the
//! gradients G = ∂y/∂A of the explained score y, or the scores of further runs, or gradients by the input. From there one
//! pipeline makes the map, the same for all.
//!
//! **Invariants.** No borrow of a cell lasts across an `await`: another call may run meanwhile. Whoever asks can stop
//! between any two runs of the network.

use std::cell::RefCell;
use std::rc::Rc;

use crate::heatmap::Grid;
use crate::network::runs::Watch;
use crate::network::{Cut, LayerId, Network};
use crate::tensor::{Tensor, numbers};
use crate::{Error, ErrorKind, Result};

mod eigen;
mod factors;
mod gradient;
mod input;
mod methods;
mod passes;
mod target;
mod units;

use methods::{Aim, Fuse, InputMap, Join, LayerMap, Map};
use target::Objective;

pub use factors::{Concept, Factorization, FactorizeOptions, Start};
pub use methods::Method;
pub use passes::{Noise, Occlusion};
pub use target::Target;
pub use units::{Evidence, Unit};

/// What to explain, and how.
#[derive(Clone, Debug)]
pub struct ExplainOptions {
    /// The formula.
    pub method: Method,
    /// The class whose score is explained: the top class if `None`.
    pub target_class: Option<usize>,
    /// What about that class is explained.
    pub target: Target,
    /// Where the maps are taken; none means the layers that suit the method: the last one, for CAM the one that is pooled,
    /// for RefineCAM the last one of each of the last three resolutions.
    pub layers: Vec<LayerId>,
    /// The mean over the input and its mirror image, each 0.9, 1 and 1.1 times as strong: smoother, six times the work.
    pub aug_smooth: bool,
    /// Instead of the sum of the weighted channels, their projection on the direction in which places differ most: less
    /// noise. Methods that sum no channels stay as they are.
    pub eigen_smooth: bool,
    /// What the methods that add noise draw.
    pub noise: Noise,
    /// What occlusion covers: an eighth of each side if `None`.
    pub occlusion: Option<Occlusion>,
}

/// Grad-CAM of the top class at the default layer.
impl Default for ExplainOptions {
    fn default() -> Self {
        ExplainOptions {
            method: Method::GradCam,
            target_class: None,
            target: Target::Score,
            layers: Vec::new(),
            aug_smooth: false,
            eigen_smooth: false,
            noise: Noise::Seed(0),
            occlusion: None,
        }
    }
}

/// A class activation map and what it is of.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// Of one layer, the raw map at the layer's size, before rectification. Of several layers, or with `aug_smooth`, the
    /// mean (of RefineCAM the product) of their heatmaps at the size of the input, as in pytorch-grad-cam.
    pub map: Grid,
    /// The formula.
    pub method: Method,
    /// The class that was explained.
    pub target_class: usize,
    /// The names of the target layers; none if the method explains by the input alone.
    pub layers: Vec<String>,
}

/// The scores of one image, and what explaining them needs.
pub struct Prediction {
    network: Rc<Network>,
    input: Tensor<4>,
    scores: Vec<f32>,
    /// At the layer at which the network was run: another class or method need not run what lies before it again.
    cut: Rc<Cut>,
    /// At the layer that was asked for last, if another.
    other_cut: RefCell<Option<Rc<Cut>>>,
}

/// By how much `aug_smooth` strengthens the input.
const STRENGTHS: [f32; 3] = [0.9, 1., 1.1];

impl Prediction {
    /// Runs the network on one preprocessed image: the numbers of `[1, C, H, W]`, row-major.
    ///
    /// # Errors
    /// `ImageError` if there are more or fewer numbers, `DeviceError` if the device gives no result.
    pub async fn new(network: Rc<Network>, input: &[f32]) -> Result<Prediction> {
        let layer = network.default_layer_id();
        Prediction::ready_at(network, input, layer).await
    }

    /// The same, ready for explanations at another layer than the default one.
    ///
    /// # Errors
    /// Those of [`new`](Self::new).
    pub async fn ready_at(network: Rc<Network>, input: &[f32], layer: LayerId) -> Result<Prediction> {
        let input = network.input_of(input)?;
        Prediction::of(network, input, Some(layer)).await
    }

    /// Runs the network on one input `[1, C, H, W]`, ready for explanations at a layer, by default at the default one.
    pub(crate) async fn of(network: Rc<Network>, input: Tensor<4>, layer: Option<LayerId>) -> Result<Prediction> {
        let (cut, scores) = network.run_through(&input, layer.unwrap_or(network.default_layer_id())).await?;
        let scores = numbers(scores);
        Ok(Prediction { network, input, scores, cut: Rc::new(cut), other_cut: RefCell::new(None) })
    }

    /// One number a class, before softmax.
    pub fn scores(&self) -> &[f32] {
        &self.scores
    }

    /// One number in 0..=1 a class.
    pub fn probabilities(&self) -> Vec<f32> {
        self.network.activation().probabilities(&self.scores)
    }

    /// The class with the highest score, the first if several have it.
    pub fn top_class(&self) -> usize {
        let scores = &self.scores;
        (1..scores.len()).fold(0, |top, class| if scores[class] > scores[top] { class } else { top })
    }

    /// How many bytes it takes: the input, and the activations kept for explanations.
    pub fn memory(&self) -> usize {
        let other = self.other_cut.borrow().as_ref().map_or(0, |cut| cut.memory());
        size_of::<f32>() * self.input.dims().iter().product::<usize>() + self.cut.memory() + other
    }

    /// What was run: `[1, C, H, W]`.
    pub(crate) fn input(&self) -> Tensor<4> {
        self.input.clone()
    }

    /// What predicted this.
    pub fn network(&self) -> &Rc<Network> {
        &self.network
    }

    /// Computes a class activation map. `progress` hears fractions in 0..=1; `stopped` is asked between runs of the network.
    ///
    /// # Errors
    /// `TargetError` if there is no such class, `UnsupportedError` if the network can't serve the method at this layer,
    /// `DeviceError` if the device gives no result, `AbortError` if `stopped` says so.
    pub async fn explain(
        &self,
        options: &ExplainOptions,
        progress: &dyn Fn(f32),
        stopped: &dyn Fn() -> bool,
    ) -> Result<Explanation> {
        let target_class = self.class_or_top(options.target_class)?;
        if let Target::Contrast(other) = options.target {
            self.class_or_top(Some(other))?;
            if other == target_class {
                return Err(Error::new(
                    ErrorKind::Target,
                    format!("the class to compare with is the target class itself ({other}); choose a different class"),
                ));
            }
        }
        let method = options.method;
        let recipe = method.recipe();
        let objective = match (recipe.aim, options.target) {
            (Aim::Asked, target) => Objective::new(target, target_class),
            (Aim::Nearest, Target::Score) => Objective::nearest(target_class, &self.scores)?,
            (Aim::Nearest, _) => {
                return Err(Error::new(
                    ErrorKind::Target,
                    format!("{} chooses by itself what to compare with: no other target is accepted", method.title()),
                ));
            }
        };
        let layers = match (options.layers.as_slice(), recipe.map, recipe.fuse) {
            (_, Map::Input(map), _) if !matches!(map, InputMap::GuidedGradCam) => vec![],
            ([], Map::Layer(LayerMap::Pooling), _) => vec![self.network.pooled_layer()?],
            ([], _, Fuse::Product) => self.network.last_of_each_resolution(REFINED),
            ([], ..) => vec![self.network.default_layer_id()],
            (layers, ..) => layers.to_vec(),
        };
        let watch = Watch::new(progress, stopped);
        watch.at(0.)?;
        let task = Task { prediction: self, map: recipe.map, fuse: recipe.fuse, objective, layers: &layers, options };
        let map = if options.aug_smooth { task.augmented(watch).await? } else { task.run(watch).await? };
        // A rectifier takes what is not a number for zero, so that a map may look sound though the scores are not.
        let map = match self.scores.iter().all(|score| score.is_finite()) {
            true => map,
            false => Grid::new(map.width(), map.height(), vec![f32::NAN; map.values().len()]),
        };
        watch.at(1.)?;
        let layers = layers.into_iter().map(|layer| self.network.layer_name(layer).to_owned()).collect();
        Ok(Explanation { map, method, target_class, layers })
    }

    /// The class that was asked for, else the top class.
    fn class_or_top(&self, target_class: Option<usize>) -> Result<usize> {
        let class = target_class.unwrap_or_else(|| self.top_class());
        let classes = self.scores.len();
        if class < classes {
            return Ok(class);
        }
        Err(Error::new(
            ErrorKind::Target,
            match classes {
                1 => format!("class {class} does not exist: this network has class 0 only"),
                _ => format!("class {class} does not exist: this network has classes 0 to {}", classes - 1),
            },
        ))
    }

    async fn cut_at(&self, layer: LayerId) -> Result<Rc<Cut>> {
        if self.cut.layer() == layer {
            return Ok(self.cut.clone());
        }
        let cached = self.other_cut.borrow().clone();
        if let Some(cut) = cached.filter(|cut| cut.layer() == layer) {
            return Ok(cut);
        }
        let cut = Rc::new(self.network.run_to(&self.input, layer).await?);
        self.other_cut.replace(Some(cut.clone()));
        Ok(cut)
    }
}

/// How many layers RefineCAM multiplies if none are named.
const REFINED: usize = 3;

/// One explanation on its way: what is computed, of which input.
struct Task<'a> {
    prediction: &'a Prediction,
    map: Map,
    fuse: Fuse,
    objective: Objective,
    layers: &'a [LayerId],
    options: &'a ExplainOptions,
}

impl Task<'_> {
    fn network(&self) -> &Network {
        &self.prediction.network
    }

    /// The raw map, or what becomes of the heatmaps of several layers.
    async fn run(&self, watch: Watch<'_>) -> Result<Grid> {
        match self.map {
            Map::Layer(map) => self.layer_maps(map, watch).await,
            Map::Input(InputMap::FullGrad) => self.full_grad(watch).await,
            Map::Input(InputMap::Guided) => self.guided_map().await,
            Map::Input(InputMap::Occlusion) => self.occlusion(watch).await,
            Map::Input(InputMap::Rollout) => self.rollout().await,
            Map::Input(InputMap::LeGrad) => self.legrad(watch).await,
            Map::Input(InputMap::GuidedGradCam) => {
                let grad_cam = LayerMap::Gradients(methods::grad_cam, Join::Sum);
                let heatmap = self.finished(&self.layer_maps(grad_cam, watch).await?);
                Ok(fused(&[self.guided_map().await?, heatmap], Fuse::Product))
            }
        }
    }

    /// The raw map of one layer, or what becomes of the heatmaps of several.
    async fn layer_maps(&self, map: LayerMap, watch: Watch<'_>) -> Result<Grid> {
        let mut maps = Vec::with_capacity(self.layers.len());
        for (index, &layer) in self.layers.iter().enumerate() {
            let watch = watch.part(index, self.layers.len());
            watch.at(0.)?;
            maps.push(self.layer_map(map, layer, watch).await?);
        }
        if maps.len() == 1 {
            return Ok(maps.remove(0));
        }
        let input = self.network().input();
        let resized = |map: &Grid| match self.fuse {
            Fuse::Mean => map.heatmap().grid().resized(input.width, input.height),
            Fuse::Product => self.finished(map),
        };
        Ok(fused(&maps.iter().map(resized).collect::<Vec<_>>(), self.fuse))
    }

    /// The mean over mirrored, weaker and stronger inputs, each map turned back, as pytorch-grad-cam's `aug_smooth`.
    async fn augmented(&self, watch: Watch<'_>) -> Result<Grid> {
        let mut maps = Vec::new();
        for mirrored in [false, true] {
            for strength in STRENGTHS {
                let watch = watch.part(maps.len(), 2 * STRENGTHS.len());
                watch.pause_at(0.).await?;
                let input = self.prediction.input.clone().mul_scalar(strength);
                let input = if mirrored { input.flip([3]) } else { input };
                let prediction =
                    Prediction::of(self.prediction.network.clone(), input, self.layers.first().copied()).await?;
                let task = Task { prediction: &prediction, objective: self.objective.clone(), ..*self };
                let map = self.finished(&task.run(watch).await?);
                maps.push(if mirrored { map.mirrored() } else { map });
            }
        }
        Ok(fused(&maps, Fuse::Mean))
    }

    /// pytorch-grad-cam's final map: the heatmap at the size of the input.
    fn finished(&self, map: &Grid) -> Grid {
        let input = self.network().input();
        map.heatmap().resampled(input.width, input.height).into_grid()
    }

    /// The raw map of one layer.
    async fn layer_map(&self, map: LayerMap, layer: LayerId, watch: Watch<'_>) -> Result<Grid> {
        let cut = self.prediction.cut_at(layer).await?;
        let activations = cut.maps();
        let (weights, join) = match map {
            LayerMap::Pooling => (self.pooling_weights(layer)?, Join::Sum),
            LayerMap::Unweighted(join) => return self.joined(activations, join),
            LayerMap::Activations(formula) => (formula(activations.clone()), Join::Sum),
            LayerMap::Gradients(formula, join) => (formula(activations.clone(), self.gradients(&cut).await?), join),
            LayerMap::Shapley => (self.shapley_weights(&cut, watch).await?, Join::Sum),
            LayerMap::Masked(masks) => (self.mask_weights(&cut, masks, watch).await?, Join::Sum),
            LayerMap::Ablated => (self.ablation_weights(&cut, watch).await?, Join::Sum),
            LayerMap::Smooth => return self.joined(self.smooth_weighted(&cut, watch).await?, Join::Sum),
        };
        let [_, channels, height, width] = activations.dims();
        if weights.dims() == [1, channels, 1, 1] && matches!(join, Join::Sum) && !self.options.eigen_smooth {
            // One weight a channel: a row times a matrix, so that nothing as large as the activations is made.
            let weights = weights.reshape([1, 1, 1, channels]);
            let map = weights.matmul(activations.reshape([1, 1, channels, height * width]));
            return Ok(Grid::new(width as u32, height as u32, numbers(map)));
        }
        self.joined(activations.mul(weights), join)
    }

    /// One map from weighted channels `[1, K, h, w]`.
    fn joined(&self, weighted: Tensor<4>, join: Join) -> Result<Grid> {
        let [_, channels, height, width] = weighted.dims();
        let join = if self.options.eigen_smooth && matches!(join, Join::Sum) { Join::Principal } else { join };
        let values = match join {
            Join::Sum => numbers(weighted.sum_dim(1)),
            Join::Principal => eigen::principal(&numbers(weighted), channels),
            Join::KernelPrincipal => eigen::kernel_principal(&numbers(weighted), channels)?,
        };
        Ok(Grid::new(width as u32, height as u32, values))
    }
}

/// Place by place, of maps of one size.
fn fused(maps: &[Grid], fuse: Fuse) -> Grid {
    let values = (0..maps[0].values().len()).map(|place| {
        let each = maps.iter().map(|map| map.values()[place]);
        match fuse {
            Fuse::Mean => each.sum::<f32>() / maps.len() as f32,
            Fuse::Product => each.product(),
        }
    });
    Grid::new(maps[0].width(), maps[0].height(), values.collect())
}
