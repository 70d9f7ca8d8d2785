//! Normalisation at inference.

use super::chain::{Chain, Part};
use super::literal::{Literal, broadcast_shape};
use super::node::{Input, Lowered, Node, Table, device_axis, step};
use crate::Result;
use crate::plan::{Binary, Op, Reduction, Unary};

pub(super) const TABLE: Table = &[
    ("BatchNormalization", batch_normalization),
    ("InstanceNormalization", instance_normalization),
    ("LayerNormalization", layer_normalization),
    ("GroupNormalization", group_normalization),
    ("RMSNormalization", rms_normalization),
    ("MeanVarianceNormalization", mean_variance_normalization),
    ("LpNormalization", lp_normalization),
    ("LRN", local_response_normalization),
];

/// A list with one number a channel, shaped to broadcast over a value of `rank` axes.
fn per_channel(rank: usize, values: Vec<f32>) -> Input {
    let mut shape = vec![1; 4];
    shape[device_axis(1, rank)] = values.len();
    Input::Constant(Literal::float(shape, values))
}

/// Constant input `index`, which holds one number a channel.
fn channel_list(node: &Node, index: usize, what: &str, channels: usize) -> Result<Vec<f32>> {
    let literal = node.required_constant(index, what)?;
    if literal.len() == channels {
        Ok(literal.floats())
    } else {
        Err(node.refuse(format!("{what} has {} numbers for {channels} channels", literal.len())))
    }
}

fn batch_normalization(node: &Node) -> Result<Lowered> {
    let x = node.value(0)?;
    let rank = x.shape.len();
    if rank < 2 {
        return Err(node.refuse("its input has no channels"));
    }
    if node.int("training_mode", 0) != 0 && node.is_folding {
        // By its own mean and variance, as standardised weights are.
        let list = |index, what| channel_list(node, index, what, x.shape[1]).map(|values| per_channel(rank, values));
        let axes = (0..rank).filter(|&axis| axis != 1).map(|axis| device_axis(axis, rank)).collect();
        let inputs = vec![Input::Value(x.id), list(1, "the scale")?, list(2, "the shift")?];
        return step(Op::Normalize { axes, epsilon: node.float("epsilon", 1e-5) }, inputs, x.shape.clone());
    }
    if node.int("training_mode", 0) != 0 {
        return Err(node.refuse("training_mode; a network exported for inference is accepted"));
    }
    let epsilon = node.float("epsilon", 1e-5);
    let list = |index, what| channel_list(node, index, what, x.shape[1]);
    let (scale, shift, mean, variance) =
        (list(1, "the scale")?, list(2, "the shift")?, list(3, "the mean")?, list(4, "the variance")?);
    // In f64: the two numbers that remain are rounded once.
    let factor: Vec<f64> =
        scale.iter().zip(&variance).map(|(&s, &v)| f64::from(s) / (f64::from(v) + f64::from(epsilon)).sqrt()).collect();
    let offset =
        shift.iter().zip(&mean).zip(&factor).map(|((&b, &m), f)| (f64::from(b) - f64::from(m) * f) as f32).collect();
    let factor = factor.iter().map(|&f| f as f32).collect();
    step(Op::Affine, vec![Input::Value(x.id), per_channel(rank, factor), per_channel(rank, offset)], x.shape.clone())
}

fn instance_normalization(node: &Node) -> Result<Lowered> {
    let x = node.value(0)?;
    let rank = x.shape.len();
    if rank < 3 {
        return Err(node.refuse("its input has no positions"));
    }
    let list = |index, what| channel_list(node, index, what, x.shape[1]).map(|values| per_channel(rank, values));
    let axes = (2..rank).map(|axis| device_axis(axis, rank)).collect();
    let inputs = vec![Input::Value(x.id), list(1, "the scale")?, list(2, "the shift")?];
    step(Op::Normalize { axes, epsilon: node.float("epsilon", 1e-5) }, inputs, x.shape.clone())
}

fn layer_normalization(node: &Node) -> Result<Lowered> {
    if node.is_view(0) {
        // Over the last axis, with those before it in a row.
        let shape = node.dims(0)?;
        let last = shape[shape.len() - 1];
        if node.axis(node.int("axis", -1), shape.len())? + 1 != shape.len() {
            return Err(node.refuse(format!("axes of {shape:?}; the last one is accepted")));
        }
        let mut chain = Chain::of(node);
        let x = chain.shaped(node, 0, vec![shape[0], shape[1..shape.len() - 1].iter().product(), last])?;
        let mut inputs = vec![x.clone()];
        for index in (1..3).filter(|&index| node.has(index)) {
            inputs.push(Part::constant(Literal::float(vec![last], channel_list(node, index, "a parameter", last)?)));
        }
        let op = Op::Normalize { axes: vec![3], epsilon: node.float("epsilon", 1e-5) };
        let y = chain.step(op, &inputs.iter().collect::<Vec<_>>(), x.shape.clone());
        return chain.done(&y, shape);
    }
    let x = node.value(0)?;
    let rank = x.shape.len();
    let first = node.axis(node.int("axis", -1), rank)?;
    let mut inputs = vec![Input::Value(x.id)];
    for index in 1..3 {
        if node.has(index) {
            let literal = node.required_constant(index, "a parameter")?;
            if super::literal::broadcast_shape(&x.shape, &literal.shape).as_ref() != Some(&x.shape) {
                return Err(node.refuse("a parameter that does not fit its input"));
            }
            inputs.push(Input::Constant(literal.rank4()));
        }
    }
    let axes = (first..rank).map(|axis| device_axis(axis, rank)).collect();
    step(Op::Normalize { axes, epsilon: node.float("epsilon", 1e-5) }, inputs, x.shape.clone())
}

/// The channels of each group together, then a scale and a shift for each channel (until opset 20 for each group).
fn group_normalization(node: &Node) -> Result<Lowered> {
    let shape = node.dims(0)?;
    let &[n, channels, ref plane @ ..] = &shape[..] else { return Err(node.refuse("its input has no channels")) };
    let groups = node.int("num_groups", 0).max(0) as usize;
    if groups == 0 || !channels.is_multiple_of(groups) {
        return Err(node.refuse(format!("{groups} groups of {channels} channels")));
    }
    let size: usize = plane.iter().product();
    let mut chain = Chain::of(node);
    let x = chain.shaped(node, 0, vec![n, groups, channels / groups * size])?;
    let op = Op::Normalize { axes: vec![3], epsilon: node.float("epsilon", 1e-5) };
    let mut y = chain.step(op, &[&x], x.shape.clone());
    let stored = if shape.len() <= 4 { shape.clone() } else { vec![n, channels, size] };
    y = chain.reshape(&y, stored.clone());
    let mut lists = vec![];
    for (index, what) in [(1, "the scale"), (2, "the shift")] {
        let list = node.required_constant(index, what)?.floats();
        let each = match list.len() {
            length if length == channels => list,
            length if length == groups => (0..channels).map(|channel| list[channel / (channels / groups)]).collect(),
            length => return Err(node.refuse(format!("{what} has {length} numbers for {channels} channels"))),
        };
        let mut wide = vec![1; stored.len()];
        wide[1] = channels;
        lists.push(Part::constant(Literal::float(wide, each)));
    }
    let y = chain.step(Op::Affine, &[&y, &lists[0], &lists[1]], stored);
    chain.done(&y, shape)
}

/// Divided by the root of the mean square over the axes from the given one on.
fn rms_normalization(node: &Node) -> Result<Lowered> {
    let mut chain = Chain::of(node);
    let x = chain.input(node, 0)?;
    let rank = x.shape.len();
    let first = node.axis(node.int("axis", -1), rank)?;
    let axes: Vec<usize> = (first..rank).collect();
    let square = chain.binary(Binary::Mul, &x, &x);
    let mean = chain.reduce(Reduction::Mean, &square, &axes);
    let mean = chain.with(Binary::Add, &mean, node.float("epsilon", 1e-5));
    let root = chain.unary(Unary::Sqrt, &mean);
    let mut y = chain.binary(Binary::Div, &x, &root);
    if node.has(1) {
        let scale = chain.input(node, 1)?;
        if broadcast_shape(&y.shape, &scale.shape).as_ref() != Some(&y.shape) {
            return Err(node.refuse(format!("a scale {:?} for {:?}", scale.shape, y.shape)));
        }
        y = chain.binary(Binary::Mul, &y, &scale);
    }
    let shape = y.shape.clone();
    chain.done(&y, shape)
}

fn mean_variance_normalization(node: &Node) -> Result<Lowered> {
    let x = node.value(0)?;
    let rank = x.shape.len();
    let axes = node.axes(&node.ints("axes").unwrap_or_else(|| vec![0, 2, 3]), rank)?;
    // Of one image the first axis is a single number.
    let axes = axes.into_iter().filter(|&axis| x.shape[axis] != 1).map(|axis| device_axis(axis, rank)).collect();
    step(Op::Normalize { axes, epsilon: 1e-9 }, vec![Input::Value(x.id)], x.shape.clone())
}

/// Divided by the sum of absolute values, or by the root of the sum of squares, which are 0 for zeros alone.
fn lp_normalization(node: &Node) -> Result<Lowered> {
    let mut chain = Chain::of(node);
    let x = chain.input(node, 0)?;
    let axis = node.axis(node.int("axis", -1), x.shape.len())?;
    let is_first = match node.int("p", 2) {
        1 => true,
        2 => false,
        p => return Err(node.refuse(format!("p {p}; 1 and 2 are accepted"))),
    };
    let size = if is_first { chain.unary(Unary::Abs, &x) } else { chain.binary(Binary::Mul, &x, &x) };
    let mut sum = chain.reduce(Reduction::Sum, &size, &[axis]);
    // Zeros alone stay zeros. Before the root, which has no slope at 0.
    sum = chain.one_for_zero(&sum);
    if !is_first {
        sum = chain.unary(Unary::Sqrt, &sum);
    }
    let y = chain.binary(Binary::Div, &x, &sum);
    let shape = y.shape.clone();
    chain.done(&y, shape)
}

fn local_response_normalization(node: &Node) -> Result<Lowered> {
    let x = node.value_of_rank(0, 4)?;
    let size = node.int("size", 0);
    if !(1..=i64::from(u16::MAX)).contains(&size) {
        return Err(node.refuse(format!("size {size}; a number from 1 is accepted")));
    }
    let op = Op::LocalResponse {
        size: size as usize,
        alpha: node.float("alpha", 1e-4),
        beta: node.float("beta", 0.75),
        bias: node.float("bias", 1.0),
    };
    step(op, vec![Input::Value(x.id)], x.shape.clone())
}
