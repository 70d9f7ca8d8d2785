//! The CAM family: what each method is, and its map.
//!
//! Every method is a formula over the activations A of a target layer and the gradients G = ∂y/∂A of the target class's
//! score y before softmax. The formulas are those of pytorch-grad-cam, so that maps can be compared number by number.
//!
//! **Invariants.** No borrow of a cell lasts across an `await`: another call may run meanwhile.

use std::cell::RefCell;
use std::rc::Rc;
use std::str::FromStr;

use burn_tensor::{Tensor, activation};

use crate::heatmap::Grid;
use crate::network::{Activation, Cut, LayerId, Network, read};
use crate::{Error, ErrorKind, Result};

mod units;

pub use units::{Evidence, Unit};

/// A way to compute a class activation map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// Selvaraju et al. 2017.
    GradCam,
    /// Zhou et al. 2016.
    Cam,
    /// Chattopadhay et al. 2018.
    GradCamPlusPlus,
    /// Draelos and Carin 2020.
    HiResCam,
    /// pytorch-grad-cam's variant of HiResCAM.
    GradCamElementwise,
    /// Fu et al. 2020.
    XGradCam,
    /// Jiang et al. 2021.
    LayerCam,
    /// Fuad et al. 2020.
    Fem,
    /// Selvaraju et al. 2017, section 3.3.
    Counterfactual,
}

impl Method {
    /// Every method there is, in the order in which to offer them.
    pub const ALL: [Method; 9] = [
        Method::GradCam,
        Method::Cam,
        Method::GradCamPlusPlus,
        Method::HiResCam,
        Method::GradCamElementwise,
        Method::XGradCam,
        Method::LayerCam,
        Method::Fem,
        Method::Counterfactual,
    ];

    /// The name in options and attributes.
    pub fn name(self) -> &'static str {
        self.texts()[0]
    }

    /// The name for people.
    pub fn title(self) -> &'static str {
        self.texts()[1]
    }

    /// The address of the paper, or of the source where there is none.
    pub fn paper(self) -> &'static str {
        self.texts()[2]
    }

    /// What it does, in a sentence.
    pub fn summary(self) -> &'static str {
        self.texts()[3]
    }

    /// How often the network is run for a map.
    pub fn forward_passes(self) -> &'static str {
        "1"
    }

    /// Name, title, paper, summary: `METHODS` in `pkg/tables.js` repeats them.
    fn texts(self) -> [&'static str; 4] {
        match self {
            Method::GradCam => [
                "grad-cam",
                "Grad-CAM",
                "https://arxiv.org/abs/1610.02391",
                "Weights each channel by the mean of its gradient.",
            ],
            Method::Cam => [
                "cam",
                "CAM",
                "https://arxiv.org/abs/1512.04150",
                "Weights each channel by its weight in the last layer.",
            ],
            Method::GradCamPlusPlus => [
                "grad-cam++",
                "Grad-CAM++",
                "https://arxiv.org/abs/1710.11063",
                "Weights each channel by its positive gradients, scaled by higher derivatives.",
            ],
            Method::HiResCam => [
                "hirescam",
                "HiResCAM",
                "https://arxiv.org/abs/2011.08891",
                "Multiplies activations and gradients place by place.",
            ],
            Method::GradCamElementwise => [
                "grad-cam-elementwise",
                "Element-wise Grad-CAM",
                "https://github.com/jacobgil/pytorch-grad-cam",
                "Multiplies activations and gradients place by place and keeps what is positive.",
            ],
            Method::XGradCam => [
                "xgrad-cam",
                "XGrad-CAM",
                "https://arxiv.org/abs/2008.02312",
                "Weights each channel by its gradients, scaled by its activations.",
            ],
            Method::LayerCam => [
                "layercam",
                "LayerCAM",
                "https://doi.org/10.1109/TIP.2021.3089943",
                "Weights each place of each channel by its positive gradient.",
            ],
            Method::Fem => [
                "fem",
                "FEM",
                "https://ieeexplore.ieee.org/document/9286629",
                "Weights each channel by how much of it is unusually strong, whatever the class.",
            ],
            Method::Counterfactual => [
                "counterfactual",
                "Counterfactual Grad-CAM",
                "https://arxiv.org/abs/1610.02391",
                "Shows what speaks against the class: Grad-CAM with negated gradients.",
            ],
        }
    }
}

/// The name in options; others are a `TargetError`.
impl FromStr for Method {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Method::ALL.into_iter().find(|method| method.name() == name).ok_or_else(|| {
            let names = Method::ALL.map(Method::name).join(", ");
            Error::new(ErrorKind::Target, format!("`{name}` is no method; there are {names}"))
        })
    }
}

/// What to explain, and how.
#[derive(Clone, Debug)]
pub struct ExplainOptions {
    /// The formula.
    pub method: Method,
    /// The class whose score is explained: the top class if `None`.
    pub target_class: Option<usize>,
    /// Where the maps are taken; none means the network's default layer, for CAM the layer that is pooled.
    pub layers: Vec<LayerId>,
}

/// A class activation map and what it is of.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// Of one layer, the raw map at the layer's size, before rectification. Of several, the mean of their heatmaps at
    /// the size of the input.
    pub map: Grid,
    /// The formula.
    pub method: Method,
    /// The class that was explained.
    pub target_class: usize,
    /// The names of the target layers.
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

impl Prediction {
    /// Runs the network on one input `[1, C, H, W]`, as from [`Network::input_tensor`].
    ///
    /// # Errors
    /// `DeviceError` if the device gives no result.
    pub async fn new(network: Rc<Network>, input: Tensor<4>) -> Result<Prediction> {
        let cut = network.forward_to(input.clone(), network.default_layer_id());
        let scores = read(network.forward_from(&cut, cut.activations())).await?;
        Ok(Prediction { network, input, scores, cut: Rc::new(cut), other_cut: RefCell::new(None) })
    }

    /// One number a class, before softmax.
    pub fn scores(&self) -> &[f32] {
        &self.scores
    }

    /// One number in 0..=1 a class.
    pub fn probabilities(&self) -> Vec<f32> {
        match self.network.activation() {
            Activation::Softmax if self.scores.len() > 1 => softmax(&self.scores),
            _ => self.scores.iter().map(|score| 1. / (1. + (-score).exp())).collect(),
        }
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

    /// Computes a class activation map. `progress` hears fractions in 0..=1; `stopped` is asked between layers.
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
        let method = options.method;
        let layers = match (options.layers.as_slice(), method) {
            ([], Method::Cam) => vec![self.network.pooled_layer()?],
            ([], _) => vec![self.network.default_layer_id()],
            (layers, _) => layers.to_vec(),
        };
        progress(0.);
        let mut maps = Vec::with_capacity(layers.len());
        for (done, &layer) in layers.iter().enumerate() {
            check_running(stopped)?;
            maps.push(self.map(method, target_class, layer).await?);
            progress((done + 1) as f32 / layers.len() as f32);
        }
        check_running(stopped)?;
        let map = match maps.len() {
            1 => maps.remove(0),
            _ => self.mean(&maps),
        };
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

    /// The raw map of one layer.
    async fn map(&self, method: Method, class: usize, layer: LayerId) -> Result<Grid> {
        let network = &self.network;
        let map = if method == Method::Cam {
            let pooled = network.pooled_layer()?;
            if layer != pooled {
                let (name, works) = (network.layer_name(layer), network.layer_name(pooled));
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    format!(
                        "CAM can't be taken at layer `{name}`: in this network only `{works}` is pooled into scores"
                    ),
                ));
            }
            let weights = network.pooling_weights(class)?;
            class_activation_map(method, self.cut_at(layer).activations(), || weights)
        } else {
            let cut = self.cut_at(layer);
            class_activation_map(method, cut.activations(), || network.activations_and_gradients(&cut, class).1)
        };
        let [_, _, height, width] = map.dims();
        Ok(Grid::new(width as u32, height as u32, read(map).await?))
    }

    fn cut_at(&self, layer: LayerId) -> Rc<Cut> {
        if self.cut.layer() == layer {
            return self.cut.clone();
        }
        let cached = self.other_cut.borrow().clone();
        cached.filter(|cut| cut.layer() == layer).unwrap_or_else(|| {
            let cut = Rc::new(self.network.forward_to(self.input.clone(), layer));
            self.other_cut.replace(Some(cut.clone()));
            cut
        })
    }

    /// The mean of the layers' heatmaps at the size of the input, as in pytorch-grad-cam.
    fn mean(&self, maps: &[Grid]) -> Grid {
        let input = self.network.input();
        let (width, height) = (input.width, input.height);
        let mut sum = vec![0.; width as usize * height as usize];
        for map in maps {
            let resized = map.heatmap().grid().resized(width, height);
            sum.iter_mut().zip(resized.values()).for_each(|(sum, value)| *sum += value / maps.len() as f32);
        }
        Grid::new(width, height, sum)
    }
}

fn check_running(stopped: &dyn Fn() -> bool) -> Result<()> {
    if stopped() { Err(Error::new(ErrorKind::Abort, "stopped by the caller")) } else { Ok(()) }
}

fn softmax(scores: &[f32]) -> Vec<f32> {
    let highest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f32> = scores.iter().map(|score| (score - highest).exp()).collect();
    let sum: f32 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}

/// The raw map of a method, before rectification: Σ_k w_k A_k, with the weights w of the method.
///
/// `gradients` is asked only by methods that need it. CAM takes the weights of the pooling head in their place, which
/// are the score's gradients by the pooled activations.
///
/// # Shapes
/// - `activations`, `gradients`: `[1, K, h, w]`; CAM's `gradients`: `[1, K, 1, 1]`
/// - output: `[1, 1, h, w]`
pub(crate) fn class_activation_map(
    method: Method,
    activations: Tensor<4>,
    gradients: impl FnOnce() -> Tensor<4>,
) -> Tensor<4> {
    let a = activations;
    let weights = match method {
        // w_k = W_ck, the parameters of the last layer.
        Method::Cam => gradients(),
        // w_k = mean_ij G_k, eq. 1.
        Method::GradCam => mean(gradients()),
        Method::Counterfactual => mean(gradients()).neg(),
        // α = G² / (2G² + Σ_ij A_k · G³ + 1e-6), w_k = Σ_ij α · max(G, 0), eq. 19 with powers of G as derivatives.
        Method::GradCamPlusPlus => {
            let g = gradients();
            let squares = g.clone().mul(g.clone());
            let cubes = squares.clone().mul(g.clone());
            let divisor = squares.clone().mul_scalar(2.).add(sum(a.clone()).mul(cubes)).add_scalar(1e-6);
            // Where G = 0, α = 0 / 1e-6 = 0.
            sum(activation::relu(g).mul(squares.div(divisor)))
        }
        // w_k = Σ_ij G_k · A_k / (Σ_ij A_k + 1e-7).
        Method::XGradCam => {
            let share = a.clone().div(sum(a.clone()).add_scalar(1e-7));
            sum(gradients().mul(share))
        }
        // w = G: a weight for each place.
        Method::HiResCam => gradients(),
        // w = max(G, 0): a weight for each place.
        Method::LayerCam => activation::relu(gradients()),
        // Σ_k max(G·A, 0): the only one that is no weighted sum of the channels.
        Method::GradCamElementwise => return activation::relu(gradients().mul(a)).sum_dim(1),
        // w_k is the part of the places with A > mean + 2 · standard deviation.
        Method::Fem => {
            let centred = a.clone().sub(mean(a.clone()));
            let deviation = mean(centred.clone().mul(centred.clone())).sqrt();
            mean(centred.sub(deviation.mul_scalar(2.)).greater_elem(0.).float())
        }
    };
    a.mul(weights).sum_dim(1)
}

/// Over places: `[1, K, h, w]` to `[1, K, 1, 1]`.
fn mean(t: Tensor<4>) -> Tensor<4> {
    t.mean_dim(2).mean_dim(3)
}

/// Over places: `[1, K, h, w]` to `[1, K, 1, 1]`.
fn sum(t: Tensor<4>) -> Tensor<4> {
    t.sum_dim(2).sum_dim(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_and_others_are_refused_with_the_list() {
        for method in Method::ALL {
            assert_eq!(method.name().parse(), Ok(method));
        }
        let error = "score-cam".parse::<Method>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Target);
        assert!(error.message().starts_with("`score-cam` is no method; there are grad-cam, cam, "), "{error}");
    }

    #[cfg(feature = "cpu")]
    mod maps {
        use burn_tensor::{Device, TensorData};

        use super::*;

        #[track_caller]
        fn check(method: Method, activations: [[f32; 4]; 2], gradients: [[f32; 4]; 2], expected: [f32; 4]) {
            let device = Device::flex();
            let tensor = |channels: [[f32; 4]; 2]| {
                Tensor::<4>::from_data(TensorData::new(channels.as_flattened().to_vec(), [1, 2, 2, 2]), &device)
            };
            let map = class_activation_map(method, tensor(activations), || tensor(gradients));
            assert_eq!(map.dims(), [1, 1, 2, 2]);
            let found = pollster::block_on(read(map)).unwrap();
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() <= 1e-5 * expected.abs().max(1.), "{method:?}: {found} {expected}");
            }
        }

        /// captum's network for testing Grad-CAM, at its first ReLU: the gradient varies over space, so that the methods
        /// differ. Grad-CAM's map is asserted by captum; the others are pytorch-grad-cam 1.5.7's.
        #[track_caller]
        fn golden(method: Method, expected: [f32; 4]) {
            check(method, [[0., 4., 31., 40.], [0., 0., 6., 15.]], [[1.; 4], [1., -1., -1., -1.]], expected);
        }

        #[test]
        fn grad_cam() {
            golden(Method::GradCam, [0., 4., 28., 32.5]);
        }

        #[test]
        fn counterfactual_is_the_negative_of_grad_cam() {
            golden(Method::Counterfactual, [0., -4., -28., -32.5]);
        }

        #[test]
        fn hires_cam() {
            golden(Method::HiResCam, [0., 4., 25., 25.]);
        }

        #[test]
        fn element_wise_grad_cam() {
            golden(Method::GradCamElementwise, [0., 4., 31., 40.]);
        }

        #[test]
        fn layer_cam() {
            golden(Method::LayerCam, [0., 4., 31., 40.]);
        }

        #[test]
        fn xgrad_cam() {
            golden(Method::XGradCam, [0., 4., 25., 25.]);
        }

        #[test]
        fn grad_cam_plus_plus() {
            golden(Method::GradCamPlusPlus, [0., 0.207792, 1.871259, 2.730096]);
        }

        #[test]
        fn fem_of_four_places_is_zero() {
            // Of four numbers none is more than √3 deviations above the mean.
            golden(Method::Fem, [0.; 4]);
        }

        #[test]
        fn fem_weights_a_channel_by_its_unusual_places() {
            // Channel 0: mean 1, deviation √7 = 2.65, and 8 > 6.29 at one place of eight. Channel 1 is flat.
            let device = Device::flex();
            let mut values = vec![0.; 16];
            values[5] = 8.;
            values[8..].fill(3.);
            let activations = Tensor::<4>::from_data(TensorData::new(values, [1, 2, 2, 4]), &device);
            let map = class_activation_map(Method::Fem, activations.clone(), || activations);
            assert_eq!(pollster::block_on(read(map)).unwrap(), [0., 0., 0., 0., 0., 1., 0., 0.]);
        }

        #[test]
        fn cam_weights_channels_by_the_head() {
            // 2 · A_0 - A_1.
            let device = Device::flex();
            let tensor = |values: &[f32], shape: [usize; 4]| {
                Tensor::<4>::from_data(TensorData::new(values.to_vec(), shape), &device)
            };
            let weights = tensor(&[2., -1.], [1, 2, 1, 1]);
            let map = class_activation_map(Method::Cam, tensor(&[1., 2., 3., 4., 5., 6.], [1, 2, 1, 3]), || weights);
            assert_eq!(pollster::block_on(read(map)).unwrap(), [-2., -1., 0.]);
        }

        #[test]
        fn this_device_passes_the_self_test() {
            pollster::block_on(crate::network::self_test(&Device::flex())).unwrap();
        }
    }
}
