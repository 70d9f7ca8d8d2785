//! Reductions over axes.

use super::arithmetic::quotient;
use super::chain::{Chain, Part};
use super::literal::{Literal, element};
use super::node::{Input, Lowered, NewStep, Node, Table, device_axis};
use super::view;
use crate::Result;
use crate::plan::{Binary, Op, Reduction, Unary};

pub(super) const TABLE: Table = &[
    ("ReduceMean", mean),
    ("ReduceSum", |node| of_integers(node, i64::wrapping_add, |node| reduce(node, None, Reduction::Sum, None))),
    ("ReduceMax", |node| of_integers(node, i64::max, |node| reduce(node, None, Reduction::Max, None))),
    ("ReduceMin", |node| {
        of_integers(node, i64::min, |node| reduce(node, Some(Unary::Neg), Reduction::Max, Some(Unary::Neg)))
    }),
    ("ReduceL1", |node| reduce(node, Some(Unary::Abs), Reduction::Sum, None)),
    ("ReduceL2", norm),
    ("ReduceSumSquare", |node| reduce(node, Some(Unary::Power(2.0)), Reduction::Sum, None)),
    ("ReduceLogSum", |node| reduce(node, None, Reduction::Sum, Some(Unary::Log))),
    ("ReduceLogSumExp", log_sum_exp),
    ("ReduceProd", |node| of_integers(node, i64::wrapping_mul, product)),
];

/// The axes, from the attribute (older opsets) or the second input.
fn axes(node: &Node, rank: usize) -> Result<Vec<usize>> {
    let given = match node.ints("axes") {
        Some(axes) => Some(axes),
        None => node.int_list(1, "the axes")?,
    };
    match given {
        Some(axes) if !axes.is_empty() => node.axes(&axes, rank),
        _ if node.int("noop_with_empty_axes", 0) != 0 => Ok(vec![]),
        _ => Ok((0..rank).collect()),
    }
}

/// The shape that remains.
fn remaining(node: &Node, shape: &[usize], axes: &[usize]) -> Vec<usize> {
    let keep = node.int("keepdims", 1) != 0;
    let sides = shape.iter().enumerate();
    sides.filter_map(|(axis, &side)| if !axes.contains(&axis) { Some(side) } else { keep.then_some(1) }).collect()
}

/// The reduction of `before` of each number, and `after` of what it gives.
fn reduce(node: &Node, before: Option<Unary>, kind: Reduction, after: Option<Unary>) -> Result<Lowered> {
    let rank = node.dims(0)?.len();
    let axes = axes(node, rank)?;
    if axes.is_empty() && before.is_none() {
        return Ok(Lowered::Given(0));
    }
    let mut x = (vec![], view::of(node, 0)?);
    if let Some(unary) = before {
        x = view::each(x, unary);
    }
    if node.is_view(0) {
        let over = |axis| Op::Reduce { kind, axes: vec![axis] };
        let steps: Vec<_> = axes.iter().map(|&axis| (axis, 1, &over as &dyn Fn(usize) -> Op)).collect();
        x = view::along(x, &steps);
        if let Some(unary) = after {
            x = view::each(x, unary);
        }
        return view::result(node, x, if node.int("keepdims", 1) == 0 { &axes } else { &[] });
    }
    let (mut new_steps, view) = x;
    let shape = remaining(node, &view.dims, &axes);
    let axes = axes.into_iter().map(|axis| device_axis(axis, rank)).collect();
    new_steps.push(NewStep { op: Op::Reduce { kind, axes }, inputs: vec![view.source], shape: shape.clone() });
    if let Some(unary) = after {
        new_steps.push(NewStep { op: Op::Unary(unary), inputs: vec![Input::Previous], shape });
    }
    Ok(Lowered::Chain(new_steps))
}

/// The root of the sum of squares.
fn norm(node: &Node) -> Result<Lowered> {
    if node.is_view(0) || element::is_integer(node.element(0)) {
        return reduce(node, Some(Unary::Power(2.0)), Reduction::Sum, Some(Unary::Sqrt));
    }
    let mut chain = Chain::of(node);
    let x = chain.input(node, 0)?;
    let axes = axes(node, x.shape.len())?;
    let shape = remaining(node, &x.shape, &axes);
    let squares = chain.unary(Unary::Power(2.0), &x);
    let sum = chain.reduce(Reduction::Sum, &squares, &axes);
    let norm = chain.root(&sum, Unary::Sqrt);
    chain.done(&norm, shape)
}

/// Of integers it is one, too.
fn mean(node: &Node) -> Result<Lowered> {
    if !element::is_integer(node.element(0)) {
        return reduce(node, None, Reduction::Mean, None);
    }
    let mut chain = Chain::of(node);
    let x = chain.input(node, 0)?;
    let axes = axes(node, x.shape.len())?;
    let shape = remaining(node, &x.shape, &axes);
    let count: usize = axes.iter().map(|&axis| x.shape[axis]).product();
    let sum = chain.reduce(Reduction::Sum, &x, &axes);
    let mean = quotient(&mut chain, &sum, &Part::number(count as f32));
    match chain.done(&mean, shape)? {
        Lowered::Constants(means) => {
            Ok(Lowered::Constants(means.iter().map(|mean| mean.cast(node.element(0))).collect()))
        }
        lowered => Ok(lowered),
    }
}

/// m + ln Σ exp(x − m), m the greatest.
fn log_sum_exp(node: &Node) -> Result<Lowered> {
    let mut chain = Chain::of(node);
    let x = chain.input(node, 0)?;
    let axes = axes(node, x.shape.len())?;
    let shape = remaining(node, &x.shape, &axes);
    let greatest = chain.reduce(Reduction::Max, &x, &axes);
    let below = chain.binary(Binary::Sub, &x, &greatest);
    let powers = chain.unary(Unary::Exp, &below);
    let sum = chain.reduce(Reduction::Sum, &powers, &axes);
    let log = chain.unary(Unary::Log, &sum);
    let y = chain.binary(Binary::Add, &log, &greatest);
    chain.done(&y, shape)
}

/// The reduction of constant integers, which exporters make of shapes; what else there is goes to `otherwise`.
fn of_integers(node: &Node, join: fn(i64, i64) -> i64, otherwise: fn(&Node) -> Result<Lowered>) -> Result<Lowered> {
    let Some((literal, ints)) = node.constant(0).and_then(|literal| Some((literal, literal.as_ints()?))) else {
        return otherwise(node);
    };
    // Of no integers the product is 1, as for the shape of a single number.
    if literal.shape == [0] && node.operator() == "ReduceProd" {
        let shape = remaining(node, &literal.shape, &axes(node, 1)?);
        if !shape.contains(&0) {
            return Ok(Lowered::Constants(vec![Literal::integers(literal.element, shape, vec![1])]));
        }
    }
    // Beside a side of 0 another may be of any length.
    if ints.is_empty() {
        return Err(node.refuse(format!("no integers, of the shape {:?}", literal.shape)));
    }
    let axes = axes(node, literal.rank())?;
    let shape = remaining(node, &literal.shape, &axes);
    let mut results = vec![None; shape.iter().product()];
    for (i, &value) in ints.iter().enumerate() {
        let (mut rest, mut at, mut stride) = (i, 0, 1);
        for (axis, &side) in literal.shape.iter().enumerate().rev() {
            if !axes.contains(&axis) {
                at += rest % side * stride;
                stride *= side;
            }
            rest /= side;
        }
        results[at] = Some(results[at].map_or(value, |result| join(result, value)));
    }
    let reduced = results.into_iter().flatten().collect();
    Ok(Lowered::Constants(vec![Literal::integers(literal.element, shape, reduced)]))
}

/// The product of computed numbers, one after the other.
fn product(node: &Node) -> Result<Lowered> {
    let mut chain = Chain::of(node);
    let mut x = chain.input(node, 0)?;
    let axes = axes(node, x.shape.len())?;
    let shape = remaining(node, &x.shape, &axes);
    for axis in axes {
        let side = x.shape[axis];
        if side > 256 {
            return Err(node.refuse(format!("a product of {side} numbers; up to 256 are accepted")));
        }
        let mut all = chain.slice(&x, axis, 0, 1);
        for at in 1..side {
            let next = chain.slice(&x, axis, at, at + 1);
            all = chain.binary(Binary::Mul, &all, &next);
        }
        x = all;
    }
    chain.done(&x, shape)
}
