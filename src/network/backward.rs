//! Gradients beyond those of one class's score: of any weighted sum of scores, and how they change.

use burn_tensor::Tensor;

use super::plan::{Binary, Op, Source, Step, Unary, rank4};
use super::{Cut, LayerId, Network, run, tensor};

/// How gradients pass back through rectifiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rectifiers {
    /// By the chain rule.
    Plain,
    /// By the chain rule where they are positive; negative ones stop there.
    Guided,
}

impl Network {
    /// The gradient ∂s/∂A of the weighted sum s = Σ_c w_c y_c of the scores, at the given activations of the cut's layer.
    ///
    /// # Shapes
    /// - `activations` and output: `[1, K, h, w]`
    pub(crate) fn gradients_at(&self, cut: &Cut, activations: Tensor<4>, class_weights: &[f64]) -> Tensor<4> {
        let leaf = activations.clone().autodiff().require_grad();
        let weights = class_weights.iter().map(|&weight| weight as f32).collect();
        let weights = tensor(weights, [1, 1, 1, class_weights.len()], &self.device).reshape([1, class_weights.len()]);
        let mut tape = self.forward_from(cut, leaf.clone()).mul(weights).sum().backward();
        leaf.grad_remove(&mut tape).unwrap_or_else(|| activations.zeros_like())
    }

    /// Whether the scores are a curved function of the layer's activations. A network of convolutions, rectifiers and
    /// pooling is not: its scores are linear in pieces, so that gradients do not change within a piece.
    pub(crate) fn is_curved_behind(&self, layer: LayerId) -> bool {
        let behind = self.behind(layer);
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

    /// The gradient ∂s/∂x of the weighted sum s = Σ_c w_c y_c of one image's scores by the input x, `[1, C, H, W]`. Meanwhile
    /// `bias_product` is given b·∂s/∂V, `[1, K, h, w]`, for each value V to whose channels a bias b was added: by a
    /// convolution, a batch normalisation or an addition of its own.
    ///
    /// Each step's share is taken on a tape of its own, so that what passes between two steps can be looked at and changed.
    pub(crate) fn gradients_by_input(
        &self,
        input: Tensor<4>,
        class_weights: &[f64],
        rectifiers: Rectifiers,
        bias_product: &mut dyn FnMut(Tensor<4>),
    ) -> Tensor<4> {
        let input = if self.channels_last { input.permute([0, 2, 3, 1]) } else { input };
        let mut values: Vec<Option<Tensor<4>>> = vec![None; self.plan.values.len()];
        let mut gradients = values.clone();
        let shape = |step: &Step| rank4(&self.plan.values[step.output.0].shape);
        let operands = |step: &Step, values: &[Option<Tensor<4>>]| -> Vec<Tensor<4>> {
            let operand = |source: &Source| match source {
                Source::Value(value) => values[value.0].clone().expect("steps are in topological order"),
                Source::Constant(constant) => self.constant(*constant),
            };
            step.inputs.iter().map(operand).collect()
        };
        values[0] = Some(input.clone());
        for step in &self.plan.steps {
            values[step.output.0] = Some(run::run(&step.op, &operands(step, &values), shape(step)));
            self.steps_run.set(self.steps_run.get() + 1);
        }
        let weights = class_weights.iter().map(|&weight| weight as f32).collect();
        let scores = self.plan.scores.0;
        gradients[scores] = Some(tensor(weights, rank4(&self.plan.values[scores].shape), &self.device));
        for step in self.plan.steps.iter().rev() {
            values[step.output.0] = None;
            let Some(mut gradient) = gradients[step.output.0].take() else { continue };
            if let Some(bias) = self.bias(step) {
                bias_product(gradient.clone().mul(bias));
            }
            if rectifiers == Rectifiers::Guided && is_rectifier(&step.op) {
                gradient = gradient.clamp_min(0.);
            }
            let leaves: Vec<Tensor<4>> = operands(step, &values)
                .into_iter()
                .zip(&step.inputs)
                .map(|(operand, source)| match source {
                    Source::Value(_) => operand.autodiff().require_grad(),
                    Source::Constant(_) => operand.autodiff(),
                })
                .collect();
            let mut tape = run::run(&step.op, &leaves, shape(step)).mul(gradient.autodiff()).sum().backward();
            for (leaf, source) in leaves.iter().zip(&step.inputs) {
                let Source::Value(value) = source else { continue };
                let Some(share) = leaf.grad_remove(&mut tape) else { continue };
                let seat = &mut gradients[value.0];
                *seat = Some(match seat.take() {
                    Some(sum) => sum.add(share),
                    None => share,
                });
            }
        }
        let gradient = gradients[0].take().unwrap_or_else(|| input.zeros_like());
        if self.channels_last { gradient.permute([0, 3, 1, 2]) } else { gradient }
    }

    /// What a step adds to each channel of maps `[1, K, h, w]`, as `[1, K, 1, 1]`.
    fn bias(&self, step: &Step) -> Option<Tensor<4>> {
        let &[1, channels, _, _] = self.plan.values[step.output.0].shape.as_slice() else { return None };
        let constants = || {
            step.inputs.iter().filter_map(|source| match source {
                Source::Constant(constant) => Some(self.constant(*constant)),
                Source::Value(_) => None,
            })
        };
        let bias = match step.op {
            Op::Convolution { .. } | Op::Affine => step.inputs.get(2).and_then(|_| constants().last()),
            Op::Binary(Binary::Add) => constants().last().filter(|constant| constant.dims() == [1, channels, 1, 1]),
            _ => None,
        }?;
        let numbers: usize = bias.dims().iter().product();
        (numbers == channels).then(|| bias.reshape([1, channels, 1, 1]))
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

/// Whether it lets through what is positive and holds back, wholly or for the most part, what is not.
fn is_rectifier(op: &Op) -> bool {
    match op {
        Op::Prelu => true,
        Op::Unary(unary) => matches!(
            unary,
            Unary::Relu
                | Unary::LeakyRelu(_)
                | Unary::Clip(0., _)
                | Unary::Elu(_)
                | Unary::Selu(..)
                | Unary::Softplus
                | Unary::Swish(_)
                | Unary::HardSwish
                | Unary::Gelu
                | Unary::GeluTanh
                | Unary::Mish
        ),
        _ => false,
    }
}
