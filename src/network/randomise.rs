//! The same network with parameters that it never learnt, from the top down: what a sanity check compares with.

use std::rc::Rc;

use super::Network;
use crate::plan::{Op, Plan, Source, Step};
use crate::random::Random;

impl Network {
    /// The names of the layers with weights, convolutions and matrices, from the scores down to the input.
    pub fn weighted_layers(&self) -> Vec<&str> {
        let steps = self.plan.steps.iter().rev().filter(|step| weights_of(step).is_some());
        steps.map(|step| self.plan.values[step.output.0].name.as_str()).collect()
    }

    /// This network with fresh random parameters in the first `top_layers` of [`weighted_layers`](Self::weighted_layers),
    /// and in every normalisation behind them.
    ///
    /// Weights are normal with variance 2/fan-in (He et al. 2015, <https://arxiv.org/abs/1502.01852>), biases 0;
    /// normalisations scale by 1 and shift by 0. A layer gets the same parameters whatever `top_layers` is.
    pub fn with_randomised(&self, top_layers: usize, seed: u64) -> Network {
        let mut plan = Plan::clone(&self.plan);
        let mut left = top_layers;
        for step in self.plan.steps.iter().rev() {
            if left == 0 {
                break;
            }
            let weights = weights_of(step);
            for (position, source) in step.inputs.iter().enumerate().skip(1) {
                let Source::Constant(constant) = *source else { continue };
                let shape = self.plan.constants[constant].shape;
                let all = |number: f32| vec![number; shape.iter().product()];
                let fresh = match (&step.op, position) {
                    (Op::Convolution { .. } | Op::Linear { .. }, 1) => {
                        random_weights(shape, fan_in(step, shape), seed ^ constant as u64)
                    }
                    (Op::Affine | Op::Normalize { .. }, 1) => all(1.),
                    (Op::Convolution { .. } | Op::Linear { .. } | Op::Affine | Op::Normalize { .. }, 2) => all(0.),
                    _ => continue,
                };
                Rc::make_mut(&mut plan.constants)[constant].values = fresh;
            }
            left -= usize::from(weights.is_some());
        }
        self.with_plan(plan)
    }
}

/// The constant that holds a layer's weights; layers between activations have none.
fn weights_of(step: &Step) -> Option<usize> {
    match (&step.op, step.inputs.get(1)) {
        (Op::Convolution { .. } | Op::Linear { .. }, Some(Source::Constant(constant))) => Some(*constant),
        _ => None,
    }
}

/// How many numbers are summed into one result.
fn fan_in(step: &Step, [_, second, rows, columns]: [usize; 4]) -> usize {
    match step.op {
        Op::Linear { transposed: true } => columns,
        Op::Linear { transposed: false } => rows,
        _ => second * rows * columns,
    }
}

fn random_weights(shape: [usize; 4], fan_in: usize, seed: u64) -> Vec<f32> {
    let mut random = Random::new(seed);
    let deviation = (2. / fan_in as f32).sqrt();
    (0..shape.iter().product()).map(|_| deviation * random.normal()).collect()
}
