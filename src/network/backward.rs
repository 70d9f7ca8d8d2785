//! Gradients beyond those by a layer: by the input, and how they change.

use std::cell::RefCell;
use std::rc::Rc;

use super::programs::Compiled;
use super::{Cut, LayerId, Network};
use crate::Result;
use crate::engine::reference::Beside;
use crate::engine::{Rectifiers, WayBack};
use crate::plan::{Binary, Op, Source, Step, Unary, ValueId};
use crate::tensor::{Tensor, TensorData, tensor};

/// The program for the way back to the input that ran last, and of what kind it is.
pub(super) type InputBack = RefCell<Option<((Rectifiers, bool), Rc<Compiled>)>>;

impl Network {
    /// Runs what lies behind the cut at `factor` times the layer's value as if nothing changed sides: each rectifier, clipping
    /// and maximum stays in the piece in which it is at the value of the cut.
    pub(crate) fn run_beside(&self, cut: &Cut, factor: f32) -> Beside {
        self.reference.beside(cut.layer.0, &cut.values, cut.value.clone(), cut.value.clone().mul_scalar(factor))
    }

    /// The scores of such a run: one a class.
    pub(crate) fn scores_beside(&self, beside: &Beside) -> Vec<f32> {
        self.reference.scores_beside(beside)
    }

    /// The gradient of the weighted sum of these scores by the layer's activations, `[1, K, h, w]`.
    pub(crate) fn gradients_beside(&self, cut: &Cut, beside: &Beside, class_weights: &[f64]) -> Tensor<4> {
        cut.as_maps(self.reference.gradients_beside(beside, class_weights))
    }

    /// The gradient ∂s/∂x of the weighted sum s = Σ_c w_c y_c of one image's scores by the input x, `[1, C, H, W]`, and, if
    /// `biases` are asked for, FullGrad's sums ([`WayBack::biases`]), `[1, 1, h, w]` each.
    ///
    /// # Errors
    /// `DeviceError` if a graphics card gives no result.
    pub(crate) async fn gradients_by_input(
        &self,
        input: Tensor<4>,
        class_weights: &[f64],
        rectifiers: Rectifiers,
        biases: bool,
    ) -> Result<(Tensor<4>, Vec<Tensor<4>>)> {
        let input = if self.channels_last { input.permute([0, 2, 3, 1]) } else { input };
        let forward = self.plan.whole(vec![ValueId(0)], vec![self.plan.output.value]);
        let way = WayBack { forward, wanted: ValueId(0), rectifiers, biases };
        let (shape, sizes) = (input.dims(), way.sums(&self.plan));
        let program = self.program_back(way);
        let weights: Vec<f32> = class_weights.iter().map(|&weight| weight as f32).collect();
        let count = weights.len();
        let inputs = vec![(input.into_data(), 1), (TensorData::new(weights, [count]), 1)];
        let mut results = self.run_program(&program, inputs, 1, 0).await?.into_iter();
        let gradient = tensor(results.next().expect("it was asked for"), shape);
        let gradient = if self.channels_last { gradient.permute([0, 3, 1, 2]) } else { gradient };
        Ok((gradient, results.zip(sizes).map(|(sum, [height, width])| tensor(sum, [1, 1, height, width])).collect()))
    }

    /// The program for a way back from the scores to the input: the last one's, if that was of the same kind.
    fn program_back(&self, way: WayBack) -> Rc<Compiled> {
        let kind = (way.rectifiers, way.biases);
        let mut last = self.input_back.borrow_mut();
        if let Some((_, program)) = last.as_ref().filter(|(other, _)| *other == kind) {
            return program.clone();
        }
        // Packed parameters take memory: the other kind's go first.
        *last = None;
        let program = Rc::new(self.compiled_back(way));
        *last = Some((kind, program.clone()));
        program
    }

    /// Whether the scores are a curved function of the layer's activations. A network of convolutions, rectifiers and
    /// pooling is not: its scores are linear in pieces, so that gradients do not change within a piece.
    pub(crate) fn is_curved_behind(&self, layer: LayerId) -> bool {
        let behind = self.plan.downstream_of(layer.0);
        let varies = |source: &Source| source.value().is_some_and(|value| value == layer.0 || behind[value.0]);
        self.plan.steps.iter().filter(|step| behind[step.output.0]).any(|step| match &step.op {
            Op::Unary(unary) => !matches!(
                unary,
                Unary::Relu | Unary::LeakyRelu(_) | Unary::Clip(..) | Unary::HardSigmoid(..) | Unary::Abs | Unary::Neg
            ),
            Op::Binary(Binary::Mul) => step.inputs.iter().all(varies),
            Op::Binary(Binary::Div) => varies(&step.inputs[1]),
            Op::Binary(Binary::Pow) | Op::Softmax { .. } | Op::Normalize { .. } | Op::LocalResponse { .. } => true,
            // A product of two values, as in attention.
            Op::Linear { .. } | Op::Convolution { .. } => step.inputs[1..].iter().any(varies),
            _ => false,
        })
    }

    /// About how many numbers one image needs at once: twice the most that a step reads and writes.
    pub(crate) fn values_of_one_image(&self) -> usize {
        let size = |value: super::ValueId| self.plan.values[value.0].shape.iter().product::<usize>();
        let touched = |step: &Step| {
            step.inputs.iter().filter_map(|source| source.value()).map(size).sum::<usize>() + size(step.output)
        };
        2 * self.plan.steps.iter().map(touched).max().unwrap_or(1)
    }
}
