//! Gradients beyond those of one class's score: of any weighted sum of scores, and how they change.

use super::plan::{Binary, Op, Reduction, Source, Step, Unary, rank4};
use super::{Cut, LayerId, Network, run};
use crate::tensor::{Tensor, tensor};

/// How gradients pass back through rectifiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rectifiers {
    /// By the chain rule.
    Plain,
    /// By the chain rule where they are positive; negative ones stop there.
    Guided,
}

/// A run of what lies behind a layer at activations beside those of the cut.
pub(crate) struct Beside {
    layer: LayerId,
    /// All values at the activations of the cut, and at the others.
    still: Vec<Option<Tensor<4>>>,
    moved: Vec<Option<Tensor<4>>>,
}

impl Network {
    /// Runs what lies behind the cut at other activations `[1, K, h, w]` as if nothing changed sides: each rectifier, clipping
    /// and maximum stays in the piece in which it is at the activations of the cut.
    ///
    /// A step to the side of a network with corners crosses a few of them, and a difference of gradients would count each
    /// as a bend. Without them the scores are smooth, and at the cut their derivatives are those of automatic
    /// differentiation, which sees no corners.
    pub(crate) fn run_beside(&self, cut: &Cut, activations: Tensor<4>) -> Beside {
        let behind = self.behind(cut.layer);
        let mut still = cut.values.clone();
        still[cut.layer.0.0] = Some(cut.activations());
        let mut moved = still.clone();
        moved[cut.layer.0.0] = Some(activations);
        for step in self.plan.steps.iter().filter(|step| behind[step.output.0]) {
            let shape = rank4(&self.plan.values[step.output.0].shape);
            let operands = self.operands(step, &still);
            let out = in_piece(&step.op, &operands, &self.operands(step, &moved), shape);
            still[step.output.0] = Some(run::run(&step.op, &operands, shape));
            moved[step.output.0] = Some(out);
            self.steps_run.set(self.steps_run.get() + 2);
        }
        Beside { layer: cut.layer, still, moved }
    }

    /// The scores of such a run: `[1, classes]`.
    pub(crate) fn scores_beside(&self, beside: &Beside) -> Tensor<2> {
        let scores = beside.moved[self.plan.scores.0].clone().expect("every step feeds the scores");
        scores.reshape([1, self.classes()])
    }

    /// The gradient of the weighted sum of these scores by the layer's activations, `[1, K, h, w]`.
    pub(crate) fn gradients_beside(&self, beside: &Beside, class_weights: &[f64]) -> Tensor<4> {
        let behind = self.behind(beside.layer);
        let mut gradients: Vec<Option<Tensor<4>>> = vec![None; self.plan.values.len()];
        let weights = class_weights.iter().map(|&weight| weight as f32).collect();
        let scores = self.plan.scores.0;
        gradients[scores] = Some(tensor(weights, rank4(&self.plan.values[scores].shape)));
        for step in self.plan.steps.iter().rev().filter(|step| behind[step.output.0]) {
            let Some(gradient) = gradients[step.output.0].take() else { continue };
            let still = self.operands(step, &beside.still);
            // Which of several numbers is the greatest is asked where the cut is.
            let at = if chooses(&step.op) { still.clone() } else { self.operands(step, &beside.moved) };
            let shape = rank4(&self.plan.values[step.output.0].shape);
            let run = |leaves: &[Tensor<4>]| in_piece(&step.op, &still, leaves, shape);
            add_shares(step, at, gradient, run, &mut gradients);
        }
        let activations = beside.still[beside.layer.0.0].as_ref().expect("the cut's own");
        gradients[beside.layer.0.0].take().unwrap_or_else(|| activations.zeros_like())
    }

    /// What a step takes.
    fn operands(&self, step: &Step, values: &[Option<Tensor<4>>]) -> Vec<Tensor<4>> {
        let operand = |source: &Source| match source {
            Source::Value(value) => values[value.0].clone().expect("steps are in topological order"),
            Source::Constant(constant) => self.constant(*constant),
        };
        step.inputs.iter().map(operand).collect()
    }

    /// The gradient ∂s/∂A of the weighted sum s = Σ_c w_c y_c of the scores, at the given activations of the cut's layer.
    ///
    /// # Shapes
    /// - `activations` and output: `[1, K, h, w]`
    pub(crate) fn gradients_at(&self, cut: &Cut, activations: Tensor<4>, class_weights: &[f64]) -> Tensor<4> {
        let leaf = activations.clone().autodiff().require_grad();
        let weights = class_weights.iter().map(|&weight| weight as f32).collect();
        let weights = tensor(weights, [1, 1, 1, class_weights.len()]).reshape([1, class_weights.len()]);
        let mut tape = self.step_from(cut, leaf.clone()).mul(weights).sum().backward();
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
        values[0] = Some(input.clone());
        for step in &self.plan.steps {
            values[step.output.0] = Some(run::run(&step.op, &self.operands(step, &values), shape(step)));
            self.steps_run.set(self.steps_run.get() + 1);
        }
        let weights = class_weights.iter().map(|&weight| weight as f32).collect();
        let scores = self.plan.scores.0;
        gradients[scores] = Some(tensor(weights, rank4(&self.plan.values[scores].shape)));
        for step in self.plan.steps.iter().rev() {
            values[step.output.0] = None;
            let Some(mut gradient) = gradients[step.output.0].take() else { continue };
            if let Some(bias) = self.bias(step) {
                bias_product(gradient.clone().mul(bias));
            }
            if rectifiers == Rectifiers::Guided && is_rectifier(&step.op) {
                gradient = gradient.clamp_min(0.);
            }
            let run = |leaves: &[Tensor<4>]| run::run(&step.op, leaves, shape(step));
            add_shares(step, self.operands(step, &values), gradient, run, &mut gradients);
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

/// Adds to the gradients of a step's operands what the gradient of its result gives them, from a tape of its own.
fn add_shares(
    step: &Step,
    operands: Vec<Tensor<4>>,
    gradient: Tensor<4>,
    run: impl Fn(&[Tensor<4>]) -> Tensor<4>,
    gradients: &mut [Option<Tensor<4>>],
) {
    let leaves: Vec<Tensor<4>> = operands
        .into_iter()
        .zip(&step.inputs)
        .map(|(operand, source)| match source {
            Source::Value(_) => operand.autodiff().require_grad(),
            Source::Constant(_) => operand.autodiff(),
        })
        .collect();
    let mut tape = run(&leaves).mul(gradient.autodiff()).sum().backward();
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

/// A step of the `moved` operands, continued straight from the `still` ones where its function has a corner between.
fn in_piece(op: &Op, still: &[Tensor<4>], moved: &[Tensor<4>], shape: [usize; 4]) -> Tensor<4> {
    match op {
        Op::Unary(Unary::Relu | Unary::LeakyRelu(_) | Unary::Clip(..) | Unary::HardSigmoid(..) | Unary::Abs)
        | Op::Prelu => {
            let leaf = still[0].clone().autodiff().require_grad();
            let mut operands = still.to_vec();
            operands[0] = leaf.clone();
            let mut tape = run::run(op, &operands, shape).sum().backward();
            let step = moved[0].clone().sub(still[0].clone());
            let start = run::run(op, still, shape);
            match leaf.grad_remove(&mut tape) {
                Some(slope) => start.add(step.mul(slope)),
                None => start,
            }
        }
        // x · hard sigmoid(x).
        Op::Unary(Unary::HardSwish) => {
            let gate = Op::Unary(Unary::HardSigmoid(1. / 6., 0.5));
            moved[0].clone().mul(in_piece(&gate, still, moved, shape))
        }
        _ => run::run(op, moved, shape),
    }
}

/// Whether its result is one of several numbers.
fn chooses(op: &Op) -> bool {
    matches!(op, Op::MaxPool { .. } | Op::Reduce { kind: Reduction::Max, .. } | Op::Binary(Binary::Max | Binary::Min))
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
