//! Reductions over axes.

use super::node::{Built, Input, Node, Table, device_axis, step};
use crate::Result;
use crate::network::plan::{Op, Reduction};

pub(super) const TABLE: Table = &[
    ("ReduceMean", |node| reduce(node, Reduction::Mean)),
    ("ReduceSum", |node| reduce(node, Reduction::Sum)),
    ("ReduceMax", |node| reduce(node, Reduction::Max)),
    ("ReduceProd", product),
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

fn reduce(node: &Node, kind: Reduction) -> Result<Built> {
    let x = node.value(0)?;
    let rank = x.shape.len();
    let axes = axes(node, rank)?;
    if axes.is_empty() {
        return Ok(Built::Same);
    }
    let shape = remaining(node, &x.shape, &axes);
    let axes = axes.into_iter().map(|axis| device_axis(axis, rank)).collect();
    step(Op::Reduce { kind, axes }, vec![Input::Value(x.id)], shape)
}

/// The product of all numbers of a constant, as exporters take it of shapes.
fn product(node: &Node) -> Result<Built> {
    let host = node.required_constant(0, "its operand")?;
    let axes = axes(node, host.rank())?;
    match host.as_ints() {
        Some(ints) if axes.len() == host.rank() => {
            let shape = remaining(node, &host.shape, &axes);
            Ok(Built::Constants(vec![super::host::Host::ints(shape, vec![ints.iter().product()])]))
        }
        _ => Err(node.refuse("a product over some axes; the product of a whole list of integers is accepted")),
    }
}
