//! The gradient of scores in closed form through the last steps of a network, as far as they are a chain of simple ones.
//!
//! Pooling and a linear layer, a convolution to classes and pooling, flattening and linear layers: of a layer that gives
//! one score a class only the rows of the classes asked for are read.

use super::{Binary, Op, Plan, Reduction, Source, Unary, ValueId};
use crate::kernels::add_scaled;

/// The steps from a value to the scores, each of which takes the result of the one before and nothing else.
pub(crate) struct Chain {
    steps: Vec<Link>,
    /// The value at which the chain begins: whatever the scores depend on, they do so through it.
    pub neck: ValueId,
    /// The values whose numbers the way back needs.
    pub saved: Vec<ValueId>,
}

/// A step backwards.
enum Link {
    /// `[rows, columns]` of a constant, by which the row of inputs is multiplied; `transposed` as in [`Op::Linear`].
    Linear { constant: usize, rows: usize, columns: usize, transposed: bool },
    /// A convolution of single pixels by `[outputs, inputs]` of a constant.
    Pixels { constant: usize, outputs: usize, inputs: usize, area: usize },
    /// Each sum is of `area` numbers, times a factor.
    Spread { area: usize, factor: f32 },
    /// One factor for each of the stretches of `area` numbers, or one for all.
    Scale { constant: usize, area: usize },
    /// The slope where the saved number is not above zero.
    Rectify { saved: usize, slope: f32 },
}

impl Chain {
    /// The longest chain that does not begin before `layer`.
    pub(crate) fn downstream_of(plan: &Plan, layer: ValueId) -> Chain {
        let mut uses = vec![0; plan.values.len()];
        plan.steps.iter().flat_map(|step| &step.inputs).filter_map(Source::value).for_each(|id| uses[id.0] += 1);
        let mut chain = Chain { steps: Vec::new(), neck: plan.output.value, saved: Vec::new() };
        while chain.neck != layer {
            let Some(step) = plan.producer(chain.neck) else { break };
            let mut values = step.inputs.iter().filter_map(Source::value);
            let (Some(Source::Value(input)), Some(_), None) = (step.inputs.first(), values.next(), values.next())
            else {
                break;
            };
            // A value with another use reaches the scores by another way, too.
            if uses[input.0] > 1 || chain.push(plan, &step.op, &step.inputs, *input, chain.neck).is_none() {
                break;
            }
            chain.neck = *input;
        }
        chain
    }

    fn push(&mut self, plan: &Plan, op: &Op, inputs: &[Source], input: ValueId, output: ValueId) -> Option<()> {
        let shape = plan.values[input.0].shape.as_slice();
        let constant = |position: usize| match inputs.get(position) {
            Some(Source::Constant(index)) => Some(*index),
            _ => None,
        };
        let link = match op {
            Op::Reshape => return Some(()),
            Op::Linear { transposed } => {
                let index = constant(1)?;
                let [1, 1, rows, columns] = plan.constants[index].shape else { return None };
                let one_row = shape.iter().rev().skip(1).all(|&side| side == 1);
                if !one_row {
                    return None;
                }
                Link::Linear { constant: index, rows, columns, transposed: *transposed }
            }
            Op::Convolution { stride: [1, 1], padding: [(0, 0), (0, 0)], groups: 1, .. } => {
                let index = constant(1)?;
                let [outputs, inputs, 1, 1] = plan.constants[index].shape else { return None };
                Link::Pixels { constant: index, outputs, inputs, area: shape[2] * shape[3] }
            }
            Op::Reduce { kind, axes } => {
                let whole = shape.len() == 4 && axes.len() == 2 && axes.contains(&2) && axes.contains(&3);
                let area = if whole { shape[2] * shape[3] } else { return None };
                match kind {
                    Reduction::Mean => Link::Spread { area, factor: 1. / area as f32 },
                    Reduction::Sum => Link::Spread { area, factor: 1. },
                    Reduction::Max => return None,
                }
            }
            Op::AveragePool { kernel, padding: [(0, 0), (0, 0)], .. } => {
                if inputs.len() > 1 || shape[2..] != kernel[..] {
                    return None;
                }
                let area = kernel[0] * kernel[1];
                Link::Spread { area, factor: 1. / area as f32 }
            }
            Op::Affine | Op::Binary(Binary::Mul) => self.scale(plan, constant(1)?, shape)?,
            Op::Binary(Binary::Add | Binary::Sub) if plan.values[output.0].shape == shape => return Some(()),
            Op::Unary(Unary::Relu) => self.rectify(input, 0.),
            Op::Unary(Unary::LeakyRelu(slope)) => self.rectify(input, *slope),
            _ => return None,
        };
        self.steps.push(link);
        Some(())
    }

    fn scale(&self, plan: &Plan, constant: usize, shape: &[usize]) -> Option<Link> {
        let area = match (plan.constants[constant].shape, shape) {
            ([1, 1, 1, 1], _) => shape.iter().product(),
            ([1, channels, 1, 1], &[1, own, height, width]) if channels == own => height * width,
            ([1, 1, 1, last], _) if shape.len() < 4 && shape.iter().product::<usize>() == last => 1,
            _ => return None,
        };
        Some(Link::Scale { constant, area })
    }

    fn rectify(&mut self, input: ValueId, slope: f32) -> Link {
        self.saved.push(input);
        Link::Rectify { saved: self.saved.len() - 1, slope }
    }

    /// The gradient of the weighted sum of the scores by the neck, of one image whose `saved` values are given.
    pub(crate) fn gradient(&self, plan: &Plan, class_weights: &[f32], saved: &[&[f32]]) -> Vec<f32> {
        let mut gradient = class_weights.to_vec();
        for link in &self.steps {
            gradient = link.back(plan, gradient, saved);
        }
        gradient
    }
}

impl Link {
    fn back(&self, plan: &Plan, mut gradient: Vec<f32>, saved: &[&[f32]]) -> Vec<f32> {
        match *self {
            Link::Linear { constant, rows, columns, transposed } => {
                let matrix = &plan.constants[constant].values;
                let (inputs, outputs) = if transposed { (columns, rows) } else { (rows, columns) };
                let mut out = vec![0.; inputs];
                for (output, &slope) in gradient.iter().enumerate().take(outputs).filter(|(_, slope)| **slope != 0.) {
                    if transposed {
                        add_scaled(&mut out, &matrix[output * inputs..][..inputs], slope);
                    } else {
                        let column = matrix[output..].iter().step_by(outputs);
                        out.iter_mut().zip(column).for_each(|(out, weight)| *out += slope * weight);
                    }
                }
                out
            }
            Link::Pixels { constant, outputs, inputs, area } => {
                let weights = &plan.constants[constant].values;
                let mut out = vec![0.; inputs * area];
                for output in 0..outputs {
                    let slopes = &gradient[output * area..][..area];
                    if slopes.iter().all(|&slope| slope == 0.) {
                        continue;
                    }
                    for (plane, &weight) in out.chunks_exact_mut(area).zip(&weights[output * inputs..][..inputs]) {
                        add_scaled(plane, slopes, weight);
                    }
                }
                out
            }
            Link::Spread { area, factor } => {
                let mut out = vec![0.; gradient.len() * area];
                for (plane, slope) in out.chunks_exact_mut(area).zip(gradient).filter(|(_, slope)| *slope != 0.) {
                    plane.fill(slope * factor);
                }
                out
            }
            Link::Scale { constant, area } => {
                let factors = &plan.constants[constant].values;
                for (stretch, factor) in gradient.chunks_exact_mut(area).zip(factors) {
                    stretch.iter_mut().for_each(|slope| *slope *= factor);
                }
                gradient
            }
            Link::Rectify { saved: index, slope } => {
                for (gradient, &value) in gradient.iter_mut().zip(saved[index]) {
                    *gradient *= if value > 0. { 1. } else { slope };
                }
                gradient
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Activation, Constant, Layout, Output, OutputKind, Step, Value};

    /// `[1, 2, 1, 2]` → ReLU → convolution of pixels to two channels → mean → linear to two scores.
    fn plan() -> Plan {
        let value = |shape: &[usize]| Value { name: String::new(), shape: shape.to_vec(), layout: Layout::default() };
        let step = |op: Op, inputs: Vec<Source>, output: usize| Step {
            node: String::new(),
            operator: String::new(),
            op,
            inputs,
            output: ValueId(output),
        };
        let of = |value: usize| Source::Value(ValueId(value));
        Plan {
            values: [&[1, 2, 1, 2][..], &[1, 2, 1, 2], &[1, 2, 1, 2], &[1, 2, 1, 1], &[1, 2], &[1, 2]]
                .map(value)
                .to_vec(),
            constants: vec![
                Constant { shape: [2, 2, 1, 1], values: vec![1., 2., 3., 4.] },
                Constant { shape: [1, 1, 2, 2], values: vec![5., 6., 7., 8.] },
            ]
            .into(),
            steps: vec![
                step(Op::Unary(Unary::Relu), vec![of(0)], 1),
                step(
                    Op::Convolution { stride: [1, 1], padding: [(0, 0); 2], dilation: [1, 1], groups: 1 },
                    vec![of(1), Source::Constant(0)],
                    2,
                ),
                step(Op::Reduce { kind: Reduction::Mean, axes: vec![2, 3] }, vec![of(2)], 3),
                step(Op::Reshape, vec![of(3)], 4),
                step(Op::Linear { transposed: false }, vec![of(4), Source::Constant(1)], 5),
            ],
            output: Output { value: ValueId(5), kind: OutputKind::Scores(Activation::Softmax) },
            batches: true,
            head: Err(String::new()),
            aliases: Vec::new(),
        }
    }

    #[test]
    fn each_link_of_a_chain_passes_the_gradient_on() {
        let plan = plan();
        let chain = Chain::downstream_of(&plan, ValueId(0));
        assert_eq!((chain.neck, &chain.saved[..]), (ValueId(0), &[ValueId(0)][..]));
        // Score 1 depends on the means by [6, 8], on each place by half of that, on the rectified channels by
        // [3·1 + 4·3, 3·2 + 4·4] = [15, 22], and only where the input is above zero.
        assert_eq!(chain.gradient(&plan, &[0., 1.], &[&[1., -1., 0., 2.]]), [15., 0., 0., 22.]);
        // Score 0 by [5, 7], [2.5, 3.5], [13, 19].
        assert_eq!(chain.gradient(&plan, &[1., -1.], &[&[1., 1., 1., 1.]]), [-2., -2., -3., -3.]);
    }

    #[test]
    fn a_chain_begins_where_a_value_goes_two_ways() {
        let mut plan = plan();
        assert_eq!(Chain::downstream_of(&plan, ValueId(3)).neck, ValueId(3));
        plan.steps[4].inputs[1] = Source::Value(ValueId(3));
        assert_eq!(Chain::downstream_of(&plan, ValueId(0)).neck, ValueId(5));
        plan.steps[4].inputs[1] = Source::Constant(1);
        plan.steps[3].inputs.push(Source::Value(ValueId(2)));
        assert_eq!(Chain::downstream_of(&plan, ValueId(0)).neck, ValueId(4));
    }
}
