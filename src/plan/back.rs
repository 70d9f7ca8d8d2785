//! The way back through a stretch of a plan, as further steps of it.
//!
//! Gradients then go through the same fusion, placement and kernels as everything else. What has no step of its own becomes
//! [`Op::Back`], which any engine can run on a tape.

use super::{Binary, Op, Plan, Reduction, Source, Step, Unary, Value, ValueId, layers::Layout, rank4};
use crate::engine::{Rectifiers, Stretch, WayBack, is_rectifier};

/// A plan with a way back.
pub(crate) struct Turned {
    pub plan: Plan,
    /// From the inputs of the way forward and the gradient by its output to those results that are not zero throughout: the
    /// gradient by the value wanted, and FullGrad's sums.
    pub stretch: Stretch,
    /// Of each result of the way back how many numbers it has, and whether it is one of the outputs.
    pub results: Vec<(usize, bool)>,
}

impl Turned {
    pub(crate) fn new(given: &Plan, way: &WayBack) -> Turned {
        // Its steps count channels and places of one image.
        let mut plan = Plan { batches: false, ..given.clone() };
        let behind = given.downstream_of(way.wanted);
        let depends = |value: ValueId| value == way.wanted || behind[value.0];
        let mut gradients: Vec<Option<ValueId>> = vec![None; given.values.len()];
        let output = way.forward.outputs[0];
        let seed = plan.add_value(given.values[output.0].shape.clone());
        gradients[output.0] = Some(seed);
        let sizes = way.sums(given);
        let mut sums: Vec<Option<ValueId>> = vec![None; sizes.len()];
        for &index in way.forward.steps.iter().rev() {
            let step = &given.steps[index];
            let Some(mut gradient) = gradients[step.output.0].filter(|_| depends(step.output)) else { continue };
            if let (true, Some(bias), &[_, _, height, width]) =
                (way.biases, given.bias(step), given.values[step.output.0].shape.as_slice())
            {
                let inputs = vec![Source::Value(gradient), Source::Constant(bias)];
                let share = plan.add_shaped(Op::StretchedSum, inputs, vec![1, 1, height, width]);
                let place = sizes.iter().position(|size| *size == [height, width]).expect("it is one of the sizes");
                sums[place] = Some(plan.joined(sums[place], share));
            }
            if way.rectifiers == Rectifiers::Guided && is_rectifier(&step.op) {
                gradient = plan.add(Op::Unary(Unary::Relu), vec![Source::Value(gradient)], step.output);
            }
            for (position, value) in step.inputs.iter().enumerate() {
                let Some(value) = value.value().filter(|value| depends(*value)) else { continue };
                let share = plan.share(step, position, value, gradient);
                gradients[value.0] = Some(plan.joined(gradients[value.0], share));
            }
        }
        let found = [gradients[way.wanted.0]].into_iter().chain(sums);
        let lengths = [plan.device_shape(way.wanted, 1).iter().product()].into_iter();
        let lengths = lengths.chain(sizes.iter().map(|[height, width]| height * width));
        let results = lengths.zip(found.clone()).map(|(length, found)| (length, found.is_some())).collect();
        let outputs: Vec<ValueId> = found.flatten().collect();
        let inputs = [&way.forward.inputs[..], &[seed]].concat();
        let mut needed = vec![false; plan.values.len()];
        outputs.iter().for_each(|output| needed[output.0] = true);
        inputs.iter().for_each(|input| needed[input.0] = false);
        let added = given.steps.len()..plan.steps.len();
        let mut steps: Vec<usize> = way.forward.steps.iter().copied().chain(added).rev().collect();
        steps.retain(|&index| {
            let step = &plan.steps[index];
            if needed[step.output.0] {
                step.inputs.iter().filter_map(Source::value).for_each(|value| needed[value.0] = true);
            }
            needed[step.output.0]
        });
        steps.reverse();
        Turned { plan, stretch: Stretch { steps, inputs, outputs }, results }
    }
}

impl Plan {
    fn add_value(&mut self, shape: Vec<usize>) -> ValueId {
        self.values.push(Value { name: String::new(), shape, layout: Layout::default() });
        ValueId(self.values.len() - 1)
    }

    /// A step whose result has the shape of `like`.
    fn add(&mut self, op: Op, inputs: Vec<Source>, like: ValueId) -> ValueId {
        self.add_shaped(op, inputs, self.values[like.0].shape.clone())
    }

    fn add_shaped(&mut self, op: Op, inputs: Vec<Source>, shape: Vec<usize>) -> ValueId {
        let output = self.add_value(shape);
        self.steps.push(Step { node: String::new(), operator: String::new(), op, inputs, output });
        output
    }

    /// A sum and what joins it.
    fn joined(&mut self, sum: Option<ValueId>, share: ValueId) -> ValueId {
        match sum {
            Some(sum) => self.add(Op::Binary(Binary::Add), vec![Source::Value(sum), Source::Value(share)], share),
            None => share,
        }
    }

    /// What the gradient by a step's result adds to the gradient by one of the values that it takes.
    fn share(&mut self, step: &Step, position: usize, value: ValueId, gradient: ValueId) -> ValueId {
        let shape = self.values[value.0].shape.clone();
        let out = self.values[step.output.0].shape.clone();
        let g = Source::Value(gradient);
        // One number a channel that was spread over places.
        let spread = shape.len() == 4 && out.len() == 4 && shape[..2] == out[..2] && shape[2..] == [1, 1];
        let constant = |index: usize| match step.inputs.get(index) {
            Some(source @ Source::Constant(_)) => Some(*source),
            _ => None,
        };
        // The axes along which there are several matrices.
        let outer = |shape: &[usize]| shape[..shape.len().saturating_sub(2)].to_vec();
        match &step.op {
            Op::Reshape => return self.add(Op::Reshape, vec![g], value),
            Op::Permute(axes) => {
                let mut inverse = [0; 4];
                axes.iter().enumerate().for_each(|(to, &from)| inverse[from] = to);
                return self.add(Op::Permute(inverse), vec![g], value);
            }
            Op::Rearrange { dims, permutation } => {
                let mut inverse = vec![0; permutation.len()];
                permutation.iter().enumerate().for_each(|(to, &from)| inverse[from] = to);
                let dims = permutation.iter().map(|&from| dims[from]).collect();
                return self.add(Op::Rearrange { dims, permutation: inverse }, vec![g], value);
            }
            Op::Binary(Binary::Add) if shape == out => return gradient,
            Op::Binary(Binary::Sub) if shape == out && position == 0 => return gradient,
            Op::Binary(Binary::Add) if spread => return self.summed(gradient, value),
            Op::Binary(Binary::Mul) if shape == out || spread => {
                let product = self.add(Op::Binary(Binary::Mul), vec![g, step.inputs[1 - position]], step.output);
                return if shape == out { product } else { self.summed(product, value) };
            }
            Op::Affine if shape == out && position == 0 => {
                return self.add(Op::Binary(Binary::Mul), vec![g, step.inputs[1]], value);
            }
            Op::Concat { axis } => {
                let size = |source: &Source| match source {
                    Source::Value(id) => rank4(&self.values[id.0].shape)[*axis],
                    Source::Constant(index) => self.constants[*index].shape[*axis],
                };
                let start: usize = step.inputs[..position].iter().map(size).sum();
                let end = start + size(&step.inputs[position]);
                return self.add(Op::Slice { axis: *axis, start, end, step: 1 }, vec![g], value);
            }
            Op::Slice { axis, start, end, step: 1 } => {
                let mut padding = [(0, 0); 4];
                padding[*axis] = (*start, rank4(&shape)[*axis] - end);
                return self.add(Op::Pad { padding, value: 0. }, vec![g], value);
            }
            Op::Pad { padding, .. } => {
                let mut at = gradient;
                let mut sides = rank4(&out);
                for (axis, &(before, after)) in padding.iter().enumerate().filter(|(_, sides)| **sides != (0, 0)) {
                    let end = sides[axis] - after;
                    sides[axis] = end - before;
                    let slice = Op::Slice { axis, start: before, end, step: 1 };
                    let rank = shape.len();
                    at = self.add_shaped(slice, vec![Source::Value(at)], sides[4 - rank..].to_vec());
                }
                return at;
            }
            // One matrix of inputs may meet several of weights; the tape then adds up what they say.
            Op::Linear { transposed } if position == 0 && outer(&shape) == outer(&out) => {
                if let Some(matrix) = constant(1) {
                    return self.add(Op::Linear { transposed: !transposed }, vec![g, matrix], value);
                }
            }
            // Their results tell their slopes, so that their arguments need not be kept.
            Op::Unary(unary @ (Unary::Relu | Unary::Clip(..))) => {
                let op = Box::new(Op::Unary(*unary));
                return self.add(Op::Back { op, operand: 0 }, vec![Source::Value(step.output), g], value);
            }
            Op::Unary(Unary::LeakyRelu(slope)) if *slope > 0. => {
                let op = Box::new(step.op.clone());
                return self.add(Op::Back { op, operand: 0 }, vec![Source::Value(step.output), g], value);
            }
            _ => {}
        }
        let inputs = step.inputs.iter().copied().chain([g]).collect();
        self.add(Op::Back { op: Box::new(step.op.clone()), operand: position }, inputs, value)
    }

    /// Added up over the places of each channel.
    fn summed(&mut self, maps: ValueId, like: ValueId) -> ValueId {
        let op = Op::Reduce { kind: Reduction::Sum, axes: vec![2, 3] };
        self.add(op, vec![Source::Value(maps)], like)
    }
}
