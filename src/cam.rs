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
use crate::network::{Activation, Cut, LayerId, Network};
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
    /// At the default layer: another class or method need not run what lies before it again.
    cut: Rc<Cut>,
    /// At the layer that was asked for last, if another.
    other_cut: RefCell<Option<Rc<Cut>>>,
}

/// By how much `aug_smooth` strengthens the input.
const STRENGTHS: [f32; 3] = [0.9, 1., 1.1];

impl Prediction {
    /// Runs the network on one input `[1, C, H, W]`, as from [`Network::input_tensor`].
    ///
    /// # Errors
    /// `DeviceError` if the device gives no result.
    pub async fn new(network: Rc<Network>, input: Tensor<4>) -> Result<Prediction> {
        let (cut, scores) = network.forward_through(input.clone(), network.default_layer_id()).await?;
        let scores = numbers(scores);
        Ok(Prediction { network, input, scores, cut: Rc::new(cut), other_cut: RefCell::new(None) })
    }

    /// One number a class, before softmax.
    pub fn scores(&self) -> &[f32] {
        &self.scores
    }

    /// One number in 0..=1 a class.
    pub fn probabilities(&self) -> Vec<f32> {
        probabilities(&self.network, &self.scores)
    }

    /// The class with the highest score, the first if several have it.
    pub fn top_class(&self) -> usize {
        let scores = &self.scores;
        (1..scores.len()).fold(0, |top, class| if scores[class] > scores[top] { class } else { top })
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
                    format!("class {other} can't be told from itself: another class to compare with is accepted"),
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
            (_, Map::Input(InputMap::FullGrad | InputMap::Guided | InputMap::Occlusion), _) => vec![],
            ([], Map::Layer(LayerMap::Pooling), _) => vec![self.network.pooled_layer()?],
            ([], _, Fuse::Product) => self.network.last_of_each_resolution(REFINED),
            ([], ..) => vec![self.network.default_layer_id()],
            (layers, ..) => layers.to_vec(),
        };
        let watch = Watch { progress, stopped, from: 0., to: 1. };
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
        let cut = Rc::new(self.network.forward_to(self.input.clone(), layer).await?);
        self.other_cut.replace(Some(cut.clone()));
        Ok(cut)
    }
}

fn probabilities(network: &Network, scores: &[f32]) -> Vec<f32> {
    match network.activation() {
        Activation::Softmax if scores.len() > 1 => {
            target::softmax(&target::wide(scores)).into_iter().map(|p| p as f32).collect()
        }
        _ => scores.iter().map(|score| 1. / (1. + (-score).exp())).collect(),
    }
}

/// How many layers RefineCAM multiplies if none are named.
const REFINED: usize = 3;

/// Who waits for a result: hears of progress and may stop it.
#[derive(Clone, Copy)]
struct Watch<'a> {
    progress: &'a dyn Fn(f32),
    stopped: &'a dyn Fn() -> bool,
    /// The part of the whole that this is, as fractions.
    from: f32,
    to: f32,
}

impl Watch<'_> {
    /// The watch over one of several equal parts.
    fn part(self, index: usize, count: usize) -> Self {
        let at = |index: usize| self.from + (self.to - self.from) * index as f32 / count as f32;
        Watch { from: at(index), to: at(index + 1), ..self }
    }

    /// Reports a fraction of this part.
    ///
    /// # Errors
    /// `AbortError` if the caller stopped it.
    fn at(self, fraction: f32) -> Result<()> {
        check_running(self.stopped)?;
        (self.progress)(self.from + (self.to - self.from) * fraction);
        Ok(())
    }

    /// The same between two runs of the network, where the caller's wish to stop may arrive.
    async fn pause_at(self, fraction: f32) -> Result<()> {
        // A message reaches a browser's worker only between two turns of its event loop.
        #[cfg(target_family = "wasm")]
        crate::web::next_turn().await;
        self.at(fraction)
    }
}

fn check_running(stopped: &dyn Fn() -> bool) -> Result<()> {
    if stopped() { Err(Error::new(ErrorKind::Abort, "stopped by the caller")) } else { Ok(()) }
}

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
            Map::Input(InputMap::Guided) => Ok(self.guided_map()),
            Map::Input(InputMap::Occlusion) => self.occlusion(watch).await,
            Map::Input(InputMap::GuidedGradCam) => {
                let grad_cam = LayerMap::Gradients(methods::grad_cam, Join::Sum);
                let heatmap = self.finished(&self.layer_maps(grad_cam, watch).await?);
                Ok(fused(&[self.guided_map(), heatmap], Fuse::Product))
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
                let prediction = Prediction::new(self.prediction.network.clone(), input).await?;
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
        let activations = cut.activations();
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
