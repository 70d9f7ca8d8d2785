//! The table of methods: for each its names, and the recipe from which [`Prediction::explain`](super::Prediction::explain)
//! computes its map.
//!
//! A new method is one entry here; `cargo xtask codegen` hands its texts on. A stands for the
//! activations `[1, K, h, w]` of the target layer, G for the gradients ∂y/∂A of the explained score y, S_k for Σ_ij A_k.
//! Formulas are those of pytorch-grad-cam, so that maps can be compared number by number; what it does not have is as in
//! torch-cam (CAM, SS-CAM, IS-CAM, Smooth Grad-CAM++) or captum (occlusion).

use std::str::FromStr;

use super::passes::Masks;
use crate::tensor::{Tensor, activation};
use crate::{Error, ErrorKind, Result};

/// How a map comes about.
#[derive(Clone, Copy)]
pub(super) enum Map {
    /// From a target layer, at its size.
    Layer(LayerMap),
    /// Of no layer in particular, most at the size of the input.
    Input(InputMap),
}

/// Maps of a target layer.
#[derive(Clone, Copy)]
pub(super) enum LayerMap {
    /// Σ_k W_ck A_k, with the weights of the head that pools the layer.
    Pooling,
    /// The activations as they are.
    Unweighted(Join),
    /// Weights from the activations alone, for each channel or each place of each.
    Activations(fn(Tensor<4>) -> Tensor<4>),
    /// Weights from activations and gradients, for each channel or each place of each.
    Gradients(fn(Tensor<4>, Tensor<4>) -> Tensor<4>, Join),
    /// Gradients and their change along the activations.
    Shapley,
    /// Gradients of several noisy copies of the input.
    Smooth,
    /// Scores of the input behind masks made of the activations.
    Masked(Masks),
    /// Scores without one channel after another.
    Ablated,
}

/// Maps of the input, by no target layer.
#[derive(Clone, Copy)]
pub(super) enum InputMap {
    /// Input times gradient and bias times gradient, of all layers.
    FullGrad,
    /// Gradients by the input that pass rectifiers only where they are positive.
    Guided,
    /// The same times the heatmap of Grad-CAM at the target layers.
    GuidedGradCam,
    /// What covering a place takes from the score.
    Occlusion,
    /// What of each place attention hands on to the head; at the size of the grid of tokens.
    Rollout,
    /// By how much the score grows with attention to each place; at the size of the grid of tokens.
    LeGrad,
}

/// How weighted channels become one map.
#[derive(Clone, Copy)]
pub(super) enum Join {
    /// Their sum.
    Sum,
    /// Their projection on the direction in which places differ most.
    Principal,
    /// The same after a sigmoid kernel.
    KernelPrincipal,
}

/// Which number is explained.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Aim {
    /// What the options say.
    Asked,
    /// The target class rather than those with the nearest scores.
    Nearest,
}

/// How the heatmaps of several layers become one.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Fuse {
    Mean,
    Product,
}

/// What warm places of a map say about the explained class.
#[derive(Clone, Copy)]
enum Warm {
    For,
    Against,
    /// They change its score most, up or down.
    Either,
    /// They stand out, whatever the class.
    Any,
}

/// Everything about a method.
#[derive(Clone, Copy)]
pub(super) struct Recipe {
    pub map: Map,
    pub aim: Aim,
    pub fuse: Fuse,
    warm: Warm,
}

impl Recipe {
    fn layer(map: LayerMap) -> Recipe {
        Recipe { map: Map::Layer(map), aim: Aim::Asked, fuse: Fuse::Mean, warm: Warm::For }
    }

    fn input(map: InputMap) -> Recipe {
        Recipe { map: Map::Input(map), aim: Aim::Asked, fuse: Fuse::Mean, warm: Warm::For }
    }

    /// Σ_k w_k A_k with the weights that the formula gives.
    fn sum(formula: fn(Tensor<4>, Tensor<4>) -> Tensor<4>) -> Recipe {
        Recipe::layer(LayerMap::Gradients(formula, Join::Sum))
    }

    fn warm(self, warm: Warm) -> Recipe {
        Recipe { warm, ..self }
    }
}

macro_rules! methods {
    ($($method:ident: $name:literal, $title:literal, $paper:literal, $passes:literal, $summary:literal => $recipe:expr;)*) => {
        /// A way to compute a class activation map.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Method {
            $(#[doc = concat!($title, ", <", $paper, ">: ", $summary)] $method,)*
        }

        impl Method {
            /// Every method there is, in the order in which to offer them.
            pub const ALL: [Method; [$($name),*].len()] = [$(Method::$method),*];

            /// Name, title, paper, summary, forward passes.
            fn texts(self) -> [&'static str; 5] {
                match self {
                    $(Method::$method => [$name, $title, $paper, $summary, $passes],)*
                }
            }

            pub(super) fn recipe(self) -> Recipe {
                match self {
                    $(Method::$method => $recipe,)*
                }
            }
        }
    };
}

methods! {
    GradCam: "grad-cam", "Grad-CAM", "https://arxiv.org/abs/1610.02391", "1",
        "Weights each channel by the mean of its gradient."
        => Recipe::sum(grad_cam);

    Cam: "cam", "CAM", "https://arxiv.org/abs/1512.04150", "1",
        "Weights each channel by its weight in the last layer."
        => Recipe::layer(LayerMap::Pooling);

    GradCamPlusPlus: "grad-cam++", "Grad-CAM++", "https://arxiv.org/abs/1710.11063", "1",
        "Weights each channel by its positive gradients, scaled by higher derivatives."
        => Recipe::sum(grad_cam_plus_plus);

    // w = G: a weight for each place.
    HiResCam: "hirescam", "HiResCAM", "https://arxiv.org/abs/2011.08891", "1",
        "Multiplies activations and gradients place by place."
        => Recipe::sum(|_, g| g);

    // w = G where G·A is positive: Σ_k max(G·A, 0).
    GradCamElementwise: "grad-cam-elementwise", "Element-wise Grad-CAM", "https://github.com/jacobgil/pytorch-grad-cam", "1",
        "Multiplies activations and gradients place by place and keeps what is positive."
        => Recipe::sum(|a, g| g.clone().mul(a.mul(g).greater_elem(0.).float()));

    XGradCam: "xgrad-cam", "XGrad-CAM", "https://arxiv.org/abs/2008.02312", "1",
        "Weights each channel by its gradients, scaled by its activations."
        => Recipe::sum(xgrad_cam);

    // w = max(G, 0): a weight for each place.
    LayerCam: "layercam", "LayerCAM", "https://doi.org/10.1109/TIP.2021.3089943", "1",
        "Weights each place of each channel by its positive gradient."
        => Recipe::sum(|_, g| activation::relu(g));

    EigenCam: "eigen-cam", "Eigen-CAM", "https://arxiv.org/abs/2008.00299", "1",
        "Shows the strongest pattern in the activations, whatever the class."
        => Recipe::layer(LayerMap::Unweighted(Join::Principal)).warm(Warm::Any);

    EigenGradCam: "eigen-grad-cam", "Eigen-Grad-CAM", "https://github.com/jacobgil/pytorch-grad-cam", "1",
        "Shows the strongest pattern in the activations times their gradients."
        => Recipe::layer(LayerMap::Gradients(|_, g| g, Join::Principal));

    SegEigenCam: "seg-eigen-cam", "Seg-Eigen-CAM", "https://doi.org/10.3390/app15137562", "1",
        "Shows the strongest pattern in the activations times the size of their gradients."
        => Recipe::layer(LayerMap::Gradients(|_, g| g.abs(), Join::Principal)).warm(Warm::Either);

    KpcaCam: "kpca-cam", "KPCA-CAM", "https://arxiv.org/abs/2410.00267", "1",
        "Shows the strongest pattern in the activations as a curved kernel sees it, whatever the class."
        => Recipe::layer(LayerMap::Unweighted(Join::KernelPrincipal)).warm(Warm::Any);

    Fem: "fem", "FEM", "https://ieeexplore.ieee.org/document/9286629", "1",
        "Weights each channel by how much of it is unusually strong, whatever the class."
        => Recipe::layer(LayerMap::Activations(fem)).warm(Warm::Any);

    ScoreCam: "score-cam", "Score-CAM", "https://arxiv.org/abs/1910.01279", "1 a channel",
        "Weights each channel by the score of the image seen through it."
        => Recipe::layer(LayerMap::Masked(Masks::Plain));

    SsCam: "ss-cam", "SS-CAM", "https://arxiv.org/abs/2006.14255", "35 a channel",
        "Score-CAM with noise on the channels, averaged."
        => Recipe::layer(LayerMap::Masked(Masks::Noisy));

    IsCam: "is-cam", "IS-CAM", "https://arxiv.org/abs/2010.03023", "10 a channel",
        "Score-CAM with channels of growing strength, averaged."
        => Recipe::layer(LayerMap::Masked(Masks::Growing));

    AblationCam: "ablation-cam", "Ablation-CAM", "https://openaccess.thecvf.com/content_WACV_2020/html/Desai_Ablation-CAM_Visual_Explanations_for_Deep_Convolutional_Network_via_Gradient-free_Localization_WACV_2020_paper.html", "1 a channel, from the layer on",
        "Weights each channel by what the score loses without it."
        => Recipe::layer(LayerMap::Ablated);

    SmoothGradCamPlusPlus: "smooth-grad-cam++", "Smooth Grad-CAM++", "https://arxiv.org/abs/1908.01224", "5",
        "Grad-CAM++ over four noisy copies of the image."
        => Recipe::layer(LayerMap::Smooth);

    ShapleyCam: "shapley-cam", "Shapley-CAM", "https://arxiv.org/abs/2501.06261", "1 to 3",
        "Corrects Grad-CAM by how the gradients change with the activations."
        => Recipe::layer(LayerMap::Shapley);

    FinerCam: "finer-cam", "Finer-CAM", "https://arxiv.org/abs/2501.11309", "1",
        "Grad-CAM of what sets the class apart from the three with the nearest scores."
        => Recipe { aim: Aim::Nearest, ..Recipe::sum(grad_cam) };

    RefineCam: "refine-cam", "RefineCAM", "https://arxiv.org/abs/2605.14641", "1",
        "Multiplies the Grad-CAM++ maps of several layers, so that late ones denoise early ones."
        => Recipe { fuse: Fuse::Product, ..Recipe::sum(grad_cam_plus_plus) };

    Counterfactual: "counterfactual", "Counterfactual Grad-CAM", "https://arxiv.org/abs/1610.02391", "1",
        "Shows what speaks against the class: Grad-CAM with negated gradients."
        => Recipe::sum(|a, g| grad_cam(a, g.neg())).warm(Warm::Against);

    AttentionRollout: "attention-rollout", "Attention rollout", "https://arxiv.org/abs/2005.00928", "1",
        "Follows a transformer's attention from block to block, whatever the class."
        => Recipe::input(InputMap::Rollout).warm(Warm::Any);

    LeGrad: "legrad", "LeGrad", "https://arxiv.org/abs/2404.03214", "about 3",
        "Shows where more attention would raise the score, averaged over a transformer's blocks."
        => Recipe::input(InputMap::LeGrad);

    FullGrad: "fullgrad", "FullGrad", "https://arxiv.org/abs/1905.00780", "1",
        "Adds up, over the whole network, what the image and each bias do to the score."
        => Recipe::input(InputMap::FullGrad).warm(Warm::Either);

    GuidedBackprop: "guided-backprop", "Guided backpropagation", "https://arxiv.org/abs/1412.6806", "1",
        "Shows edges and texture that excite the network. It fails the sanity check: it hardly changes when the last layers are random."
        => Recipe::input(InputMap::Guided).warm(Warm::Either);

    GuidedGradCam: "guided-grad-cam", "Guided Grad-CAM", "https://arxiv.org/abs/1610.02391", "1",
        "Guided backpropagation where Grad-CAM is warm; with it, it fails the sanity check."
        => Recipe::input(InputMap::GuidedGradCam);

    Occlusion: "occlusion", "Occlusion", "https://arxiv.org/abs/1311.2901", "about 225",
        "Covers one place after another and shows what that takes from the score."
        => Recipe::input(InputMap::Occlusion);
}

impl Method {
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

    /// What warm places of its map say about the explained class: that they speak `for` or `against` it, that they change its
    /// score `either` way, or that they stand out whatever the class, `any`.
    pub fn warm_places(self) -> &'static str {
        match self.recipe().warm {
            Warm::For => "for",
            Warm::Against => "against",
            Warm::Either => "either",
            Warm::Any => "any",
        }
    }

    /// How often the network is run for a map, in words.
    pub fn forward_passes(self) -> &'static str {
        self.texts()[4]
    }
}

/// The name in options; others are a `TargetError`.
///
/// ```
/// use gradcam_web::cam::Method;
/// assert_eq!("score-cam".parse(), Ok(Method::ScoreCam));
/// assert_eq!(Method::ScoreCam.title(), "Score-CAM");
/// ```
impl FromStr for Method {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Method::ALL.into_iter().find(|method| method.name() == name).ok_or_else(|| {
            let names = Method::ALL.map(Method::name).join(", ");
            Error::new(ErrorKind::Target, format!("`{name}` is no method; there are {names}"))
        })
    }
}

/// w_k = mean_ij G_k. Selvaraju et al. 2017, eq. 1.
pub(super) fn grad_cam(_: Tensor<4>, g: Tensor<4>) -> Tensor<4> {
    mean(g)
}

/// α = G² / (2G² + S_k · G³ + 1e-6), w_k = Σ_ij α · max(G, 0). Chattopadhay et al. 2018, eq. 19 with powers of G as
/// derivatives.
///
/// torch-cam divides by 2G² + Σ_ij(G³·A) instead, which is the same only where G is constant over a channel; and in its
/// released version the quotient is lost in a copy, so that its weights are Σ_ij G² · max(G, 0).
fn grad_cam_plus_plus(a: Tensor<4>, g: Tensor<4>) -> Tensor<4> {
    let squares = g.clone().mul(g.clone());
    let cubes = squares.clone().mul(g.clone());
    let divisor = squares.clone().mul_scalar(2.).add(sum(a).mul(cubes)).add_scalar(1e-6);
    // Where G = 0, α = 0 / 1e-6 = 0.
    sum(activation::relu(g).mul(squares.div(divisor)))
}

/// w_k = Σ_ij G_k · A_k / (S_k + 1e-7). Fu et al. 2020, eq. 8.
fn xgrad_cam(a: Tensor<4>, g: Tensor<4>) -> Tensor<4> {
    let share = a.clone().div(sum(a).add_scalar(1e-7));
    sum(g.mul(share))
}

/// w_k is the part of the places with A > mean + 2 · standard deviation. Fuad et al. 2020.
fn fem(a: Tensor<4>) -> Tensor<4> {
    let centred = a.clone().sub(mean(a));
    let deviation = mean(centred.clone().mul(centred.clone())).sqrt();
    mean(centred.sub(deviation.mul_scalar(2.)).greater_elem(0.).float())
}

/// Over places: `[N, K, h, w]` to `[N, K, 1, 1]`.
pub(super) fn mean(t: Tensor<4>) -> Tensor<4> {
    let [.., height, width] = t.dims();
    sum(t).mul_scalar(1. / (height * width) as f32)
}

/// Over places: `[N, K, h, w]` to `[N, K, 1, 1]`.
pub(super) fn sum(t: Tensor<4>) -> Tensor<4> {
    let [images, channels, height, width] = t.dims();
    t.reshape([images, channels, 1, height * width]).sum_dim(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_and_others_are_refused_with_the_list() {
        for method in Method::ALL {
            assert_eq!(method.name().parse(), Ok(method));
        }
        let error = "magic-cam".parse::<Method>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Target);
        assert!(error.message().starts_with("`magic-cam` is no method; there are grad-cam, cam, "), "{error}");
    }

    mod maps {
        use super::*;
        use crate::device::Device;
        use crate::tensor::{numbers, tensor};

        /// The sum of the channels that the method weighted.
        fn map(method: Method, activations: Tensor<4>, gradients: Tensor<4>) -> Vec<f32> {
            let weights = match method.recipe().map {
                Map::Layer(LayerMap::Activations(formula)) => formula(activations.clone()),
                Map::Layer(LayerMap::Gradients(formula, _)) => formula(activations.clone(), gradients),
                _ => panic!("{method:?} is no formula"),
            };
            numbers(activations.mul(weights).sum_dim(1))
        }

        #[track_caller]
        fn check(method: Method, activations: [[f32; 4]; 2], gradients: [[f32; 4]; 2], expected: [f32; 4]) {
            let maps = |channels: [[f32; 4]; 2]| tensor(channels.as_flattened().to_vec(), [1, 2, 2, 2]);
            let found = map(method, maps(activations), maps(gradients));
            assert_eq!(found.len(), expected.len());
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
            let mut values = vec![0.; 16];
            values[5] = 8.;
            values[8..].fill(3.);
            let activations = tensor(values, [1, 2, 2, 4]);
            assert_eq!(map(Method::Fem, activations.clone(), activations), [0., 0., 0., 0., 0., 1., 0., 0.]);
        }

        #[test]
        fn this_device_passes_the_self_test() {
            pollster::block_on(crate::network::self_test(&Device::cpu())).unwrap();
        }
    }
}
