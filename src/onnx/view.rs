//! Values with more than four axes.
//!
//! Tensors have four axes, so that such a value is stored with fewer, and read through its dims and a permutation of
//! them ([`Resolved::View`]). What networks do there, attention above all, comes down to steps on what is stored: along one
//! axis at a time, with the axes before and after it taken together, or between values whose neighbouring axes broadcast
//! alike.
//!
//! **Invariants.** The first axis stays the first of what is stored, so that images stay apart.

use super::attention;
use super::literal::{Literal, broadcast_shape, count};
use super::node::{Input, Lowered, NewStep, Node, Resolved, device_axis, step};
use crate::Result;
use crate::plan::{Op, Unary};

/// What is stored, and how it is read.
pub(super) struct View {
    pub source: Input,
    pub stored: Vec<usize>,
    pub dims: Vec<usize>,
    pub permutation: Vec<usize>,
}

/// Input `index`, computed and of any rank.
pub(super) fn of(node: &Node, index: usize) -> Result<View> {
    if let Some(Some(Resolved::View { source, dims, permutation })) = node.inputs.get(index) {
        let (dims, permutation) = (dims.clone(), permutation.clone());
        return Ok(View { source: Input::Value(source.id), stored: source.shape.clone(), dims, permutation });
    }
    let x = node.value(index)?;
    let permutation = (0..x.shape.len()).collect();
    Ok(View { source: Input::Value(x.id), stored: x.shape.clone(), dims: x.shape.clone(), permutation })
}

impl View {
    /// The shape as it is read.
    fn shape(&self) -> Vec<usize> {
        self.permutation.iter().map(|&axis| self.dims[axis]).collect()
    }

    /// Steps to `shape`, of at most four axes, that begin as number `at` of a chain.
    pub fn arranged(self, node: &Node, shape: Vec<usize>, at: usize) -> Result<Vec<NewStep>> {
        // Axes of one number can be anywhere; the first stays, because it is the batch.
        let kept: Vec<usize> = (0..self.dims.len()).filter(|&axis| axis == 0 || self.dims[axis] != 1).collect();
        let dims: Vec<usize> = kept.iter().map(|&axis| self.dims[axis]).collect();
        let read = self.permutation.iter().filter_map(|axis| kept.iter().position(|other| other == axis));
        let mut permutation: Vec<usize> = read.collect();
        if self.dims.first() == Some(&1) {
            permutation.retain(|&axis| axis != 0);
            permutation.insert(0, 0);
        }
        let rank = dims.len();
        if permutation.iter().copied().eq(0..rank) {
            return Ok(vec![NewStep { op: Op::Reshape, inputs: vec![self.source], shape }]);
        }
        if rank > 7 {
            return Err(node.refuse(format!("through {rank} axes; up to seven are accepted")));
        }
        if rank > 4 {
            return Ok(vec![NewStep { op: Op::Rearrange { dims, permutation }, inputs: vec![self.source], shape }]);
        }
        let mut axes = [0, 1, 2, 3];
        for (axis, &from) in permutation.iter().enumerate() {
            axes[device_axis(axis, rank)] = device_axis(from, rank);
        }
        let permuted: Vec<usize> = permutation.iter().map(|&axis| dims[axis]).collect();
        let mut new_steps = vec![
            NewStep { op: Op::Reshape, inputs: vec![self.source], shape: dims },
            NewStep { op: Op::Permute(axes), inputs: vec![Input::Earlier(at)], shape: permuted.clone() },
        ];
        if permuted != shape {
            new_steps.push(NewStep { op: Op::Reshape, inputs: vec![Input::Earlier(at + 1)], shape });
        }
        Ok(new_steps)
    }

    /// The same numbers under another shape.
    pub fn reshaped(self, node: &Node, shape: Vec<usize>) -> Result<Lowered> {
        if shape.len() <= 4 {
            return Ok(Lowered::Chain(self.arranged(node, shape, 0)?));
        }
        let (first, rest) = shape.split_at(1);
        let new_steps = self.arranged(node, vec![first[0], rest.iter().product()], 0)?;
        let permutation = (0..shape.len()).collect();
        Ok(Lowered::Views(vec![(new_steps, shape, permutation)]))
    }
}

/// A function of each number by itself, which what is stored takes as well as what is read.
pub(super) fn each((mut new_steps, mut view): (Vec<NewStep>, View), unary: Unary) -> (Vec<NewStep>, View) {
    new_steps.push(NewStep { op: Op::Unary(unary), inputs: vec![view.source], shape: view.stored.clone() });
    view.source = Input::Earlier(new_steps.len() - 1);
    (new_steps, view)
}

/// An axis as it is read, how long it is afterwards, and what is done on the given axis of a tensor.
pub(super) type Along<'a> = (usize, usize, &'a dyn Fn(usize) -> Op);

/// Does something along one axis after the other.
pub(super) fn along((mut new_steps, mut view): (Vec<NewStep>, View), steps: &[Along]) -> (Vec<NewStep>, View) {
    for &(axis, length, op) in steps {
        let axis = view.permutation[axis];
        let (before, after) = (&view.dims[..axis], &view.dims[axis + 1..]);
        let (first, before) = before.split_at(before.len().min(1));
        let mut shape =
            [first, before, &[view.dims[axis]], after].map(|sides| sides.iter().product::<usize>()).to_vec();
        new_steps.push(NewStep { op: Op::Reshape, inputs: vec![view.source], shape: shape.clone() });
        shape[2] = length;
        new_steps.push(NewStep { op: op(2), inputs: vec![Input::Previous], shape: shape.clone() });
        view.dims[axis] = length;
        view.source = Input::Earlier(new_steps.len() - 1);
        view.stored = shape;
    }
    (new_steps, view)
}

/// What [`along`] gave as a node's result, without the axes in `dropped` (as read), which have one number each.
pub(super) fn result(
    node: &Node,
    (mut new_steps, mut view): (Vec<NewStep>, View),
    dropped: &[usize],
) -> Result<Lowered> {
    let gone: Vec<usize> = dropped.iter().map(|&axis| view.permutation[axis]).collect();
    let left: Vec<usize> = (0..view.dims.len()).filter(|axis| !gone.contains(axis)).collect();
    let read = view.permutation.iter().filter_map(|axis| left.iter().position(|other| other == axis));
    view.permutation = read.collect();
    view.dims = left.iter().map(|&axis| view.dims[axis]).collect();
    if view.dims.len() > 4 {
        return Ok(Lowered::Views(vec![(new_steps, view.dims, view.permutation)]));
    }
    let shape = view.shape();
    let more = view.arranged(node, shape, new_steps.len())?;
    new_steps.extend(more);
    Ok(Lowered::Chain(new_steps))
}

/// The sides of `out` and of each of `shapes` with neighbouring axes taken together where every one of the shapes has
/// them whole or not at all, so that broadcasting stays what it was. The first axis stays by itself.
fn merged(out: &[usize], shapes: &[Vec<usize>]) -> (Vec<usize>, Vec<Vec<usize>>) {
    let mut sides = vec![out[0]];
    let mut each: Vec<Vec<usize>> = shapes.iter().map(|shape| vec![shape[0]]).collect();
    let mut last = None;
    for axis in (1..out.len()).filter(|&axis| out[axis] != 1) {
        let whole: Vec<bool> = shapes.iter().map(|shape| shape[axis] != 1).collect();
        if last.as_ref() != Some(&whole) {
            sides.push(1);
            each.iter_mut().for_each(|sides| sides.push(1));
            last = Some(whole);
        }
        let at = sides.len() - 1;
        sides[at] *= out[axis];
        each.iter_mut().zip(shapes).for_each(|(sides, shape)| sides[at] *= shape[axis]);
    }
    (sides, each)
}

/// A function of operands that broadcast, at least one of which has more than four axes: `op` on two at a time.
pub(super) fn broadcasting(node: &Node, op: &Op) -> Result<Lowered> {
    let unfit = || node.refuse("operands whose shapes do not fit");
    let mut shapes = (0..node.inputs.len()).map(|index| node.dims(index)).collect::<Result<Vec<_>>>()?;
    let out = shapes.iter().try_fold(vec![], |out, shape| broadcast_shape(&out, shape)).ok_or_else(unfit)?;
    count(&out).ok_or_else(unfit)?;
    for shape in &mut shapes {
        shape.splice(0..0, vec![1; out.len() - shape.len()]);
    }
    let (sides, each) = merged(&out, &shapes);
    if sides.len() > 4 {
        return Err(node.refuse(format!("shapes {shapes:?}, which broadcast in more than four ways")));
    }
    let mut new_steps: Vec<NewStep> = vec![];
    let mut operands = vec![];
    for (index, shape) in each.iter().cloned().enumerate() {
        operands.push(match node.constant(index) {
            Some(literal) => Input::Constant(Literal::clone(literal).reshaped(shape).rank4()),
            None => {
                new_steps.extend(of(node, index)?.arranged(node, shape, new_steps.len())?);
                Input::Earlier(new_steps.len() - 1)
            }
        });
    }
    let mut operands = operands.into_iter().zip(each);
    let (mut left, mut shape) = operands.next().ok_or_else(unfit)?;
    for (right, other) in operands {
        // The first two may be smaller than all.
        shape = broadcast_shape(&shape, &other).ok_or_else(unfit)?;
        new_steps.push(NewStep { op: op.clone(), inputs: vec![left, right], shape: shape.clone() });
        left = Input::Earlier(new_steps.len() - 1);
    }
    let permutation = (0..out.len()).collect();
    Ok(Lowered::Views(vec![(new_steps, out, permutation)]))
}

/// Parts of more than four axes one after the other along `axis`; `shape` is that of the whole.
pub(super) fn concatenated(node: &Node, axis: usize, shape: Vec<usize>) -> Result<Lowered> {
    let stored = |shape: &[usize]| {
        let (before, after) = (&shape[..axis], &shape[axis + 1..]);
        let (first, before) = before.split_at(before.len().min(1));
        [first, before, &[shape[axis]], after].map(|sides| sides.iter().product::<usize>()).to_vec()
    };
    let mut new_steps: Vec<NewStep> = vec![];
    let mut inputs = vec![];
    for index in 0..node.inputs.len() {
        let part = stored(&node.dims(index)?);
        inputs.push(match node.constant(index) {
            Some(literal) => Input::Constant(Literal::clone(literal).reshaped(part).rank4()),
            None => {
                new_steps.extend(of(node, index)?.arranged(node, part, new_steps.len())?);
                Input::Earlier(new_steps.len() - 1)
            }
        });
    }
    new_steps.push(NewStep { op: Op::Concat { axis: 2 }, inputs, shape: stored(&shape) });
    let permutation = (0..shape.len()).collect();
    Ok(Lowered::Views(vec![(new_steps, shape, permutation)]))
}

/// A function of each number by itself.
pub(super) fn elementwise(node: &Node, unary: Unary) -> Result<Lowered> {
    if node.is_view(0) {
        return result(node, each((vec![], of(node, 0)?), unary), &[]);
    }
    let x = node.value(0)?;
    step(Op::Unary(unary), vec![Input::Value(x.id)], x.shape.clone())
}

/// Input 0 broadcast to a shape of more than four axes.
pub(super) fn expanded(node: &Node, shape: Vec<usize>) -> Result<Lowered> {
    let mut given = node.dims(0)?;
    given.splice(0..0, vec![1; shape.len() - given.len()]);
    let (sides, each) = merged(&shape, &[given]);
    if sides.len() > 4 {
        return Err(node.refuse("a result with more than four axes"));
    }
    let mut new_steps = of(node, 0)?.arranged(node, each.concat(), 0)?;
    new_steps.push(NewStep { op: Op::Expand, inputs: vec![Input::Previous], shape: sides });
    let permutation = (0..shape.len()).collect();
    Ok(Lowered::Views(vec![(new_steps, shape, permutation)]))
}

/// A product of matrices of more than four axes.
pub(super) fn product(node: &Node) -> Result<Lowered> {
    let (a, b) = (node.dims(0)?, node.dims(1)?);
    // Where the axes before the last two are not alike they broadcast.
    if a.len() < 5 || b.len() < 2 || (b.len() != 2 && a[..a.len() - 2] != b[..b.len() - 2]) {
        let equation = if b.len() == 1 { "...k,k->..." } else { "...nk,...km->...nm" };
        return attention::summed(node, if a.len() == 1 { "k,...km->...m" } else { equation });
    }
    if a[a.len() - 1] != b[b.len() - 2] {
        return Err(node.refuse(format!("rows of {a:?} by columns of {b:?}, which are not as long")));
    }
    let stored = |shape: &[usize]| match shape {
        [first, rest @ .., n, m] => vec![*first, rest.iter().product(), *n, *m],
        _ => shape.to_vec(),
    };
    let mut new_steps: Vec<NewStep> = of(node, 0)?.arranged(node, stored(&a), 0)?;
    let left = Input::Earlier(new_steps.len() - 1);
    let right = match node.constant(1) {
        Some(literal) => {
            Input::Constant(Literal::clone(literal).reshaped(if b.len() == 2 { b.clone() } else { stored(&b) }).rank4())
        }
        None if b.len() == 2 => Input::Value(node.value(1)?.id),
        None => {
            new_steps.extend(of(node, 1)?.arranged(node, stored(&b), new_steps.len())?);
            Input::Earlier(new_steps.len() - 1)
        }
    };
    let shape = [&a[..a.len() - 1], &b[b.len() - 1..]].concat();
    new_steps.push(NewStep { op: Op::Linear { transposed: false }, inputs: vec![left, right], shape: stored(&shape) });
    let permutation = (0..shape.len()).collect();
    Ok(Lowered::Views(vec![(new_steps, shape, permutation)]))
}
