//! A plan run step by step, forwards and back: the definition of scores and gradients, on burn's tensors.
//!
//! Whose tensors these are is settled by the module around this one: the CPU's, or burn's on a graphics card.

use std::cell::OnceCell;

use super::step::{back, run};
use super::tensor::{Device, Tensor, TensorData};
use crate::engine::{Rectifiers, Stretch, WayBack, is_rectifier};
use crate::plan::{Binary, Op, Plan, Reduction, Source, Step, Unary, ValueId, rank4};

/// What runs a plan step by step.
#[derive(Clone, Copy)]
pub(in crate::engine) struct Tape<'a> {
    pub plan: &'a Plan,
    pub device: &'a Device,
    /// Those of the plan, from their first use on.
    pub constants: &'a [OnceCell<Tensor<4>>],
}

/// All values at a layer's activations, and at others beside them.
pub(in crate::engine) struct Beside {
    still: Vec<Option<Tensor<4>>>,
    moved: Vec<Option<Tensor<4>>>,
}

impl Tape<'_> {
    /// A tensor of these numbers, row-major.
    pub fn tensor(&self, numbers: Vec<f32>, shape: [usize; 4]) -> Tensor<4> {
        Tensor::from_data(TensorData::new(numbers, shape), self.device)
    }

    /// A parameter as a tensor.
    pub fn constant(&self, index: usize) -> Tensor<4> {
        let made = || {
            let constant = &self.plan.constants[index];
            self.tensor(constant.values.clone(), constant.shape)
        };
        self.constants[index].get_or_init(made).clone()
    }

    /// What a step takes.
    pub fn operands(&self, step: &Step, mut value: impl FnMut(ValueId) -> Tensor<4>) -> Vec<Tensor<4>> {
        let operand = |source: &Source| match source {
            Source::Value(id) => value(*id),
            Source::Constant(constant) => self.constant(*constant),
        };
        step.inputs.iter().map(operand).collect()
    }

    fn of(&self, step: &Step, values: &[Option<Tensor<4>>]) -> Vec<Tensor<4>> {
        self.operands(step, |id| values[id.0].clone().expect("steps are in topological order"))
    }

    /// The values of a stretch for so many images at once. Where not all are kept, a value goes after the last step that
    /// takes it.
    fn values(&self, stretch: &Stretch, inputs: Vec<Tensor<4>>, images: usize, keep: bool) -> Vec<Option<Tensor<4>>> {
        let plan = self.plan;
        let mut values: Vec<Option<Tensor<4>>> = vec![None; plan.values.len()];
        for (id, input) in stretch.inputs.iter().zip(inputs) {
            values[id.0] = Some(input);
        }
        let mut last_use = vec![0; plan.values.len()];
        for &index in &stretch.steps {
            plan.steps[index].inputs.iter().filter_map(Source::value).for_each(|id| last_use[id.0] = index);
        }
        for &index in &stretch.steps {
            let step = &plan.steps[index];
            let operands = self.of(step, &values);
            for id in step.inputs.iter().filter_map(Source::value) {
                if !keep && last_use[id.0] == index && !stretch.outputs.contains(&id) {
                    values[id.0] = None;
                }
            }
            values[step.output.0] = Some(run(&step.op, &operands, plan.device_shape(step.output, images)));
        }
        values
    }

    /// The outputs of a stretch for so many images at once, of its inputs.
    pub fn run(&self, stretch: &Stretch, inputs: Vec<Tensor<4>>, images: usize) -> Vec<Tensor<4>> {
        let values = self.values(stretch, inputs, images, false);
        stretch.outputs.iter().map(|id| values[id.0].clone().expect("each output is computed")).collect()
    }

    /// What a program for a way back gives, for one image, of the inputs of the way forward and the gradient by its output.
    ///
    /// Each step's share is taken on a tape of its own, so that what passes between two steps can be looked at and changed.
    pub fn run_back(&self, way: &WayBack, inputs: Vec<Tensor<4>>, gradient: Tensor<4>) -> Vec<Tensor<4>> {
        let (plan, forward) = (self.plan, &way.forward);
        let mut values = self.values(forward, inputs, 1, true);
        let mut gradients: Vec<Option<Tensor<4>>> = vec![None; plan.values.len()];
        gradients[forward.outputs[0].0] = Some(gradient);
        let sizes = way.sums(plan);
        let mut sums: Vec<Option<Tensor<4>>> = vec![None; sizes.len()];
        for &index in forward.steps.iter().rev() {
            let step = &plan.steps[index];
            values[step.output.0] = None;
            let Some(mut gradient) = gradients[step.output.0].take() else { continue };
            if let Some(bias) = plan.bias(step).filter(|_| way.biases) {
                let channels = plan.values[step.output.0].shape[1];
                let bias = self.constant(bias).reshape([1, channels, 1, 1]);
                let sum = stretched_sum(gradient.clone().mul(bias));
                let [_, _, height, width] = sum.dims();
                let place = sizes.iter().position(|size| *size == [height, width]).expect("it is one of the sizes");
                sums[place] = Some(match sums[place].take() {
                    Some(other) => other.add(sum),
                    None => sum,
                });
            }
            if way.rectifiers == Rectifiers::Guided && is_rectifier(&step.op) {
                gradient = gradient.clamp_min(0.);
            }
            let compute = |leaves: &[Tensor<4>]| run(&step.op, leaves, plan.device_shape(step.output, 1));
            add_shares(step, self.of(step, &values), gradient, compute, &mut gradients);
        }
        let zeros = |shape: [usize; 4]| self.tensor(vec![0.; shape.iter().product()], shape);
        let gradient = gradients[way.wanted.0].take();
        let gradient = gradient.unwrap_or_else(|| zeros(plan.device_shape(way.wanted, 1)));
        let sums = sums.into_iter().zip(sizes);
        let sums = sums.map(|(sum, [height, width])| sum.unwrap_or_else(|| zeros([1, 1, height, width])));
        [gradient].into_iter().chain(sums).collect()
    }

    /// One number a class: `[1, 1, 1, classes]`.
    fn weights(&self, class_weights: &[f64]) -> Tensor<4> {
        let weights = class_weights.iter().map(|&weight| weight as f32).collect();
        self.tensor(weights, [1, 1, 1, class_weights.len()])
    }

    /// Runs what lies behind a layer at another value of it than `value` as if nothing changed sides: each rectifier, clipping
    /// and maximum stays in the piece in which it is at `value`.
    ///
    /// A step to the side of a network with corners crosses a few of them, and a difference of gradients would count each
    /// as a bend. Without them the scores are smooth, and at the cut their derivatives are those of automatic
    /// differentiation, which sees no corners.
    pub fn beside(&self, layer: ValueId, kept: &[Option<Tensor<4>>], value: Tensor<4>, other: Tensor<4>) -> Beside {
        let behind = self.plan.downstream_of(layer);
        let mut still = kept.to_vec();
        still[layer.0] = Some(value);
        let mut moved = still.clone();
        moved[layer.0] = Some(other);
        for step in self.plan.steps.iter().filter(|step| behind[step.output.0]) {
            let shape = rank4(&self.plan.values[step.output.0].shape);
            let operands = self.of(step, &still);
            let out = in_piece(&step.op, &operands, &self.of(step, &moved), shape);
            still[step.output.0] = Some(run(&step.op, &operands, shape));
            moved[step.output.0] = Some(out);
        }
        Beside { still, moved }
    }

    /// The scores of such a run.
    pub fn scores_beside(&self, beside: &Beside) -> Tensor<4> {
        beside.moved[self.plan.output.value.0].clone().expect("every step feeds the scores")
    }

    /// The gradient of the weighted sum of these scores by the layer's value.
    pub fn gradients_beside(&self, layer: ValueId, beside: &Beside, class_weights: &[f64]) -> Tensor<4> {
        let behind = self.plan.downstream_of(layer);
        let mut gradients: Vec<Option<Tensor<4>>> = vec![None; self.plan.values.len()];
        let scores = self.plan.output.value;
        gradients[scores.0] = Some(self.weights(class_weights).reshape(rank4(&self.plan.values[scores.0].shape)));
        for step in self.plan.steps.iter().rev().filter(|step| behind[step.output.0]) {
            let Some(gradient) = gradients[step.output.0].take() else { continue };
            let still = self.of(step, &beside.still);
            // Which of several numbers is the greatest is asked where the cut is.
            let at = if chooses(&step.op) { still.clone() } else { self.of(step, &beside.moved) };
            let shape = rank4(&self.plan.values[step.output.0].shape);
            let compute = |leaves: &[Tensor<4>]| in_piece(&step.op, &still, leaves, shape);
            add_shares(step, at, gradient, compute, &mut gradients);
        }
        let value = beside.still[layer.0].as_ref().expect("the cut's own");
        gradients[layer.0].take().unwrap_or_else(|| value.zeros_like())
    }
}

/// Adds to the gradients of a step's operands what the gradient of its result gives them, from a tape of its own.
fn add_shares(
    step: &Step,
    operands: Vec<Tensor<4>>,
    gradient: Tensor<4>,
    compute: impl Fn(&[Tensor<4>]) -> Tensor<4>,
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
    let Some(mut tape) = back(compute(&leaves), gradient) else { return };
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
            let mut tape = run(op, &operands, shape).sum().backward();
            let step = moved[0].clone().sub(still[0].clone());
            let start = run(op, still, shape);
            match leaf.grad_remove(&mut tape) {
                Some(slope) => start.add(step.mul(slope)),
                None => start,
            }
        }
        // Its second derivative jumps at 0.
        Op::Unary(Unary::Elu(_) | Unary::Selu(..)) => {
            let (alpha, gamma) = match op {
                Op::Unary(Unary::Selu(alpha, gamma)) => (*alpha, *gamma),
                Op::Unary(Unary::Elu(alpha)) => (*alpha, 1.),
                _ => unreachable!("one of the two"),
            };
            let above = still[0].clone().greater_elem(0.).float();
            let below = above.clone().neg().add_scalar(1.);
            let curved = moved[0].clone().exp().add_scalar(-1.).mul_scalar(alpha).mul(below);
            moved[0].clone().mul(above).add(curved).mul_scalar(gamma)
        }
        // x · hard sigmoid(x).
        Op::Unary(Unary::HardSwish) => {
            let gate = Op::Unary(Unary::HardSigmoid(1. / 6., 0.5));
            moved[0].clone().mul(in_piece(&gate, still, moved, shape))
        }
        _ => run(op, moved, shape),
    }
}

/// Whether its result is one of several numbers.
fn chooses(op: &Op) -> bool {
    matches!(op, Op::MaxPool { .. } | Op::Reduce { kind: Reduction::Max, .. } | Op::Binary(Binary::Max | Binary::Min))
}

/// Each channel less its least number, divided by what is its greatest then, plus `epsilon`: `[N, K, h, w]`.
pub(crate) fn stretched(maps: Tensor<4>, epsilon: f32) -> Tensor<4> {
    let least = maps.clone().min_dim(2).min_dim(3);
    let maps = maps.sub(least);
    let greatest = maps.clone().max_dim(2).max_dim(3);
    maps.div(greatest.add_scalar(epsilon))
}

/// The sum over channels of each one's absolute values, stretched to 0..=1: FullGrad's `[N, 1, h, w]` of `[N, K, h, w]`.
pub(crate) fn stretched_sum(products: Tensor<4>) -> Tensor<4> {
    stretched(products.abs(), 1e-7).sum_dim(1)
}
