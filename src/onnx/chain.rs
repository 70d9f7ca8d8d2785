//! The steps that one node turns into, written one after the other.

use super::literal::{Literal, broadcast_shape, count, element};
use super::node::{Input, Lowered, NewStep, Node, Operand, Resolved, device_axis};
use super::view;
use crate::Result;
use crate::plan::{Binary, NOWHERE, Op, Reduction, Unary, ValueId, rank4};
use crate::tensor::{numbers, tensor};

/// Steps of a node, each of which may take the result of any before it.
pub(super) struct Chain<'a> {
    node: &'a Node<'a>,
    new_steps: Vec<NewStep>,
    /// Numbers of the constants that the steps hold.
    held: usize,
}

/// An operand of the steps, of at most four axes.
#[derive(Clone)]
pub(super) struct Part {
    input: Input,
    pub shape: Vec<usize>,
}

impl Part {
    pub fn constant(literal: Literal) -> Part {
        Part { shape: literal.shape.clone(), input: Input::Constant(literal) }
    }

    pub fn number(value: f32) -> Part {
        Part::constant(Literal::float(vec![], vec![value]))
    }
}

impl<'a> Chain<'a> {
    /// No steps yet.
    pub fn of(node: &'a Node<'a>) -> Self {
        Chain { node, new_steps: vec![], held: 0 }
    }

    /// A value of the plan.
    pub fn value(&self, id: ValueId, shape: Vec<usize>) -> Part {
        Part { input: Input::Value(id), shape }
    }

    /// Input `index` as it is, of at most four axes.
    pub fn input(&mut self, node: &Node, index: usize) -> Result<Part> {
        let shape = node.dims(index)?;
        if shape.len() > 4 {
            return Err(node.refuse(format!("input {index} has {} axes; up to four are accepted", shape.len())));
        }
        self.shaped(node, index, shape)
    }

    /// The numbers of input `index` under another shape, of at most four axes.
    pub fn shaped(&mut self, node: &Node, index: usize, shape: Vec<usize>) -> Result<Part> {
        match node.inputs.get(index) {
            Some(Some(Resolved::Constant(literal))) if literal.len() == 0 => {
                Err(node.refuse(format!("input {index} has the shape {:?}, which holds no numbers", literal.shape)))
            }
            Some(Some(Resolved::Constant(literal))) => Ok(Part::constant(Literal::clone(literal).reshaped(shape))),
            Some(Some(Resolved::Value(operand))) => {
                let part = Part { input: Input::Value(operand.id), shape: operand.shape.clone() };
                Ok(self.reshape(&part, shape))
            }
            _ => {
                let new_steps = view::of(node, index)?.arranged(node, shape.clone(), self.new_steps.len())?;
                self.new_steps.extend(new_steps);
                Ok(self.last(shape))
            }
        }
    }

    fn last(&self, shape: Vec<usize>) -> Part {
        Part { input: Input::Earlier(self.new_steps.len().saturating_sub(1)), shape }
    }

    /// A step, or what it gives of constants alone. Where that can't be afforded, the steps end here: the node is refused
    /// for it as soon as they are to be added.
    pub fn step(&mut self, op: Op, inputs: &[&Part], shape: Vec<usize>) -> Part {
        let constants: Vec<&Literal> = inputs
            .iter()
            .filter_map(|part| if let Input::Constant(literal) = &part.input { Some(literal) } else { None })
            .collect();
        if constants.len() == inputs.len() {
            let sides: Vec<_> = constants.iter().map(|literal| rank4(&literal.shape)).collect();
            if self.node.budget.fold_step(&op, &sides, &shape) {
                let operands: Vec<_> =
                    constants.iter().map(|literal| tensor(literal.floats(), rank4(&literal.shape))).collect();
                let result = crate::engine::run_step(&op, &operands, rank4(&shape));
                return Part::constant(Literal::float(shape, numbers(result)));
            }
        }
        self.held = self.held.saturating_add(constants.iter().map(|literal| literal.len()).sum());
        if self.node.budget.could_hold(self.held).is_ok() {
            let inputs = inputs.iter().map(|part| part.input.clone()).collect();
            self.new_steps.push(NewStep { op, inputs, shape: shape.clone() });
        }
        self.last(shape)
    }

    pub fn unary(&mut self, unary: Unary, x: &Part) -> Part {
        self.step(Op::Unary(unary), &[x], x.shape.clone())
    }

    /// A function of two that broadcast, which they have to.
    pub fn binary(&mut self, binary: Binary, a: &Part, b: &Part) -> Part {
        let shape = broadcast_shape(&a.shape, &b.shape).unwrap_or_default();
        self.step(Op::Binary(binary), &[a, b], shape)
    }

    /// The same with one number as the second.
    pub fn with(&mut self, binary: Binary, a: &Part, number: f32) -> Part {
        self.binary(binary, a, &Part::number(number))
    }

    /// The same numbers, none of which is negative, with 1 in the place of 0: to divide by, on the way back, too.
    pub fn one_for_zero(&mut self, x: &Part) -> Part {
        let is_zero = self.is_zero(x);
        self.binary(Binary::Add, x, &is_zero)
    }

    fn is_zero(&mut self, x: &Part) -> Part {
        let is_more = self.unary(Unary::Step, x);
        self.binary(Binary::Sub, &Part::number(1.0), &is_more)
    }

    /// A root of the same numbers, without a slope at 0: its own is infinite there, and makes no number of the 0 that a sum of
    /// squares sends back. So the gradient of a norm of zeros is 0, as PyTorch has it.
    pub fn root(&mut self, x: &Part, root: Unary) -> Part {
        let is_zero = self.is_zero(x);
        let some = self.binary(Binary::Add, x, &is_zero);
        let root = self.unary(root, &some);
        self.binary(Binary::Sub, &root, &is_zero)
    }

    pub fn reshape(&mut self, x: &Part, shape: Vec<usize>) -> Part {
        match &x.input {
            _ if x.shape == shape => x.clone(),
            Input::Constant(literal) => Part::constant(literal.clone().reshaped(shape)),
            _ => self.step(Op::Reshape, &[x], shape),
        }
    }

    /// Over axes of `x`, which keep one number each.
    pub fn reduce(&mut self, kind: Reduction, x: &Part, axes: &[usize]) -> Part {
        let rank = x.shape.len();
        let mut shape = x.shape.clone();
        axes.iter().for_each(|&axis| shape[axis] = 1);
        let axes = axes.iter().map(|&axis| device_axis(axis, rank)).collect();
        self.step(Op::Reduce { kind, axes }, &[x], shape)
    }

    pub fn slice(&mut self, x: &Part, axis: usize, start: usize, end: usize) -> Part {
        if start == 0 && end == x.shape[axis] {
            return x.clone();
        }
        let mut shape = x.shape.clone();
        shape[axis] = end - start;
        let axis = device_axis(axis, x.shape.len());
        self.step(Op::Slice { axis, start, end, step: 1 }, &[x], shape)
    }

    pub fn concat(&mut self, parts: &[&Part], axis: usize) -> Part {
        let mut shape = parts[0].shape.clone();
        shape[axis] = parts.iter().map(|part| part.shape[axis]).sum();
        let axis = device_axis(axis, shape.len());
        self.step(Op::Concat { axis }, parts, shape)
    }

    /// Numbers picked from places of `x`, or [`NOWHERE`].
    pub fn pick(&mut self, x: &Part, places: Vec<u32>, fill: f32, shape: Vec<usize>) -> Part {
        if places.iter().enumerate().all(|(i, &place)| i == place as usize) && Some(places.len()) == count(&x.shape) {
            return self.reshape(x, shape);
        }
        if let Input::Constant(literal) = &x.input {
            return Part::constant(literal.placed(&places, fill, shape));
        }
        self.step(Op::Pick { places: places.into(), fill }, &[x], shape)
    }

    /// Axes in another order.
    pub fn permute(&mut self, x: &Part, permutation: &[usize]) -> Part {
        let rank = x.shape.len();
        if let Input::Constant(literal) = &x.input {
            return Part::constant(literal.transposed(permutation));
        }
        let mut axes = [0, 1, 2, 3];
        for (axis, &from) in permutation.iter().enumerate() {
            axes[device_axis(axis, rank)] = device_axis(from, rank);
        }
        let shape = permutation.iter().map(|&axis| x.shape[axis]).collect();
        self.step(Op::Permute(axes), &[x], shape)
    }

    /// `[.., n, k]` by `[.., k, m]`, whose axes before broadcast.
    pub fn product(&mut self, a: &Part, b: &Part) -> Part {
        let (batch_a, last_a) = a.shape.split_at(a.shape.len() - 2);
        let (batch_b, last_b) = b.shape.split_at(b.shape.len() - 2);
        let mut shape = broadcast_shape(batch_a, batch_b).unwrap_or_default();
        shape.extend([last_a[0], last_b[1]]);
        self.step(Op::Linear { transposed: false }, &[a, b], shape)
    }

    pub fn softmax(&mut self, x: &Part, axis: usize) -> Part {
        let axis = device_axis(axis, x.shape.len());
        self.step(Op::Softmax { axis, flatten: false, log: false }, &[x], x.shape.clone())
    }

    /// `part` as the node's result, under a shape of any number of axes.
    pub fn done(mut self, part: &Part, shape: Vec<usize>) -> Result<Lowered> {
        if let Input::Constant(literal) = &part.input {
            return Ok(Lowered::Constants(vec![literal.clone().reshaped(shape)]));
        }
        let stored = if shape.len() <= 4 { shape.clone() } else { part.shape.clone() };
        let is_last = matches!(part.input, Input::Earlier(step) if step + 1 == self.new_steps.len());
        if stored != part.shape || !is_last {
            self.step(Op::Reshape, &[part], stored);
        }
        Ok(match shape.len() {
            0..=4 => Lowered::Chain(self.new_steps),
            rank => Lowered::Views(vec![(self.new_steps, shape, (0..rank).collect())]),
        })
    }

    /// The steps of another operator, whose first input is `part`.
    pub fn then(mut self, part: &Part, build: impl FnOnce(Operand) -> Result<Lowered>) -> Result<Lowered> {
        // A value of no plan yet, which stands for the part until the steps are joined.
        const PART: ValueId = ValueId(usize::MAX);
        let shape = part.shape.clone();
        let Lowered::Chain(new_steps) = build(Operand { id: PART, shape, element: element::FLOAT })? else {
            return Err(self.node.refuse("a result of more than four axes; up to four are accepted"));
        };
        let before = self.new_steps.len();
        for mut new_step in new_steps {
            for input in &mut new_step.inputs {
                match input {
                    Input::Value(id) if *id == PART => *input = part.input.clone(),
                    Input::Earlier(step) => *step += before,
                    _ => {}
                }
            }
            self.new_steps.push(new_step);
        }
        Ok(Lowered::Chain(self.new_steps))
    }

    /// Several results, each of at most four axes.
    pub fn several(mut self, parts: &[(&Part, Vec<usize>)]) -> Result<Lowered> {
        let (mut results, mut constants) = (vec![], vec![]);
        for (part, shape) in parts {
            match self.step(Op::Reshape, &[part], shape.clone()).input {
                Input::Constant(literal) => constants.push(literal),
                _ => results.push(self.new_steps.len().saturating_sub(1)),
            }
        }
        match (results.len(), constants.len()) {
            (0, _) => Ok(Lowered::Constants(constants)),
            (_, 0) => Ok(Lowered::Parts(self.new_steps, results)),
            _ => Err(self.node.refuse("some of its results are constants, and others are not")),
        }
    }
}

/// For every place of `shape`, row by row, what `place` gives for its coordinates: a place, or none.
pub(super) fn places(
    node: &Node,
    shape: &[usize],
    place: &mut dyn FnMut(&[usize]) -> Option<usize>,
) -> Result<Vec<u32>> {
    let size = count(shape).ok_or_else(|| node.refuse(format!("a result of the shape {shape:?}")))?;
    node.budget.places(size).map_err(|reason| node.refuse(reason))?;
    let mut at = vec![0; shape.len()];
    let mut found = Vec::with_capacity(size);
    for _ in 0..size {
        found.push(place(&at).map_or(NOWHERE, |place| place as u32));
        for axis in (0..shape.len()).rev() {
            at[axis] += 1;
            if at[axis] < shape[axis] {
                break;
            }
            at[axis] = 0;
        }
    }
    Ok(found)
}

/// Input `index`, whatever its rank, as numbers picked from its places: the result of a node that moves numbers alone.
pub(super) fn picked(node: &Node, index: usize, places: Vec<u32>, fill: f32, shape: Vec<usize>) -> Result<Lowered> {
    if let Some(literal) = node.constant(index) {
        return Ok(Lowered::Constants(vec![literal.placed(&places, fill, shape)]));
    }
    if shape.contains(&0) || count(&shape).is_none() {
        return Err(node.refuse(format!("a result of the shape {shape:?}")));
    }
    let mut chain = Chain::of(node);
    let before = node.dims(index)?;
    let part = if before.len() > 4 { chain.shaped(node, index, folded(&before))? } else { chain.input(node, index)? };
    let result = chain.pick(&part, places, fill, if shape.len() > 4 { folded(&shape) } else { shape.clone() });
    chain.done(&result, shape)
}

/// A shape of many axes as one of two, the first of which stays.
pub(super) fn folded(shape: &[usize]) -> Vec<usize> {
    let (first, rest) = shape.split_at(shape.len().min(1));
    vec![first.iter().product(), rest.iter().product()]
}
