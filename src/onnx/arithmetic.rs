//! Arithmetic with broadcasting.

use super::host::{Host, broadcast_shape, element};
use super::node::{Built, Draft, Input, Node, Table};
use super::view;
use crate::Result;
use crate::network::plan::{Binary, Op, Unary};

pub(super) const TABLE: Table = &[
    ("Add", |node| nary(node, Binary::Add)),
    ("Sub", |node| nary(node, Binary::Sub)),
    ("Mul", |node| nary(node, Binary::Mul)),
    ("Div", |node| nary(node, Binary::Div)),
    ("Sum", |node| nary(node, Binary::Add)),
    ("Mean", mean),
    ("Min", |node| nary(node, Binary::Min)),
    ("Max", |node| nary(node, Binary::Max)),
    ("Pow", power),
    ("Mod", |node| on_constants(node, |x, y| x % y, |x, y| x.checked_rem_euclid(y).unwrap_or(0))),
    ("Equal", |node| compare(node, |x, y| x == y)),
    ("Less", |node| compare(node, |x, y| x < y)),
    ("Greater", |node| compare(node, |x, y| x > y)),
    ("Where", choose),
    ("Not", |node| map_constant(node, |v| i64::from(v == 0))),
    ("Floor", |node| map_floats(node, f32::floor)),
    ("Ceil", |node| map_floats(node, f32::ceil)),
    ("Sin", |node| map_floats(node, f32::sin)),
    ("Cos", |node| map_floats(node, f32::cos)),
    ("CumSum", cumulated),
];

fn fold(kind: Binary, a: &Host, b: &Host) -> Option<Host> {
    match kind {
        Binary::Add => Host::combine(a, b, |x, y| x + y, i64::wrapping_add),
        Binary::Sub => Host::combine(a, b, |x, y| x - y, i64::wrapping_sub),
        Binary::Mul => Host::combine(a, b, |x, y| x * y, i64::wrapping_mul),
        Binary::Div => Host::combine(a, b, |x, y| x / y, |x, y| x.checked_div(y).unwrap_or(0)),
        Binary::Pow => Host::combine(a, b, f32::powf, |x, y| x.wrapping_pow(y.clamp(0, 63) as u32)),
        Binary::Min => Host::combine(a, b, f32::min, i64::min),
        Binary::Max => Host::combine(a, b, f32::max, i64::max),
    }
}

/// One, two or more operands, combined from the left.
fn nary(node: &Node, kind: Binary) -> Result<Built> {
    let unfit = || node.refuse("operands whose shapes do not fit");
    if node.inputs.len() == 1 {
        return Ok(Built::Same);
    }
    if let Some(constants) = node.constants() {
        let mut constants = constants.into_iter();
        let first = constants.next().ok_or_else(unfit)?.clone();
        let folded = constants.try_fold(first, |a, b| fold(kind, &a, b).ok_or_else(unfit))?;
        return Ok(Built::Constants(vec![folded]));
    }
    let ranks = (0..node.inputs.len()).map(|index| node.dims(index).map(|shape| shape.len()));
    if ranks.collect::<Result<Vec<_>>>()?.into_iter().any(|rank| rank > 4) {
        return view::broadcasting(node, &Op::Binary(kind));
    }
    let mut shape = node.shape(0)?.to_vec();
    let mut drafts = Vec::new();
    for index in 1..node.inputs.len() {
        shape = broadcast_shape(&shape, node.shape(index)?).ok_or_else(unfit)?;
        let left = if index == 1 { node.operand(0)? } else { Input::Previous };
        drafts.push(Draft { op: Op::Binary(kind), inputs: vec![left, node.operand(index)?], shape: shape.clone() });
    }
    Ok(Built::Chain(drafts))
}

/// The sum of the operands over their number.
fn mean(node: &Node) -> Result<Built> {
    let share = 1.0 / node.inputs.len() as f32;
    Ok(match nary(node, Binary::Add)? {
        Built::Constants(sums) => Built::Constants(sums.iter().map(|sum| sum.map(|v| v * share)).collect()),
        Built::Chain(mut drafts) => {
            let shape = drafts.last().map(|draft| draft.shape.clone()).unwrap_or_default();
            let share = Input::Constant(Host::float(vec![], vec![share]));
            drafts.push(Draft { op: Op::Binary(Binary::Mul), inputs: vec![Input::Previous, share], shape });
            Built::Chain(drafts)
        }
        built => built,
    })
}

fn power(node: &Node) -> Result<Built> {
    match (node.constant(0), node.constant(1).and_then(|exponent| exponent.scalar())) {
        (None, Some(exponent)) => view::elementwise(node, Unary::Power(exponent)),
        _ => nary(node, Binary::Pow),
    }
}

fn two_constants<'a>(node: &'a Node) -> Result<(&'a Host, &'a Host)> {
    Ok((node.required_constant(0, "its first operand")?, node.required_constant(1, "its second operand")?))
}

fn on_constants(node: &Node, float: fn(f32, f32) -> f32, int: fn(i64, i64) -> i64) -> Result<Built> {
    let (a, b) = two_constants(node)?;
    let folded = Host::combine(a, b, float, int).ok_or_else(|| node.refuse("operands whose shapes do not fit"))?;
    Ok(Built::Constants(vec![folded]))
}

fn compare(node: &Node, holds: fn(f64, f64) -> bool) -> Result<Built> {
    let (a, b) = two_constants(node)?;
    let float = |x: f32, y: f32| f32::from(holds(x.into(), y.into()));
    let int = |x: i64, y: i64| i64::from(holds(x as f64, y as f64));
    let folded = Host::combine(a, b, float, int).ok_or_else(|| node.refuse("operands whose shapes do not fit"))?;
    Ok(Built::Constants(vec![folded.cast(element::BOOL)]))
}

/// Where between constants, as exporters use it to work out shapes.
fn choose(node: &Node) -> Result<Built> {
    let condition = node.required_constant(0, "its condition")?;
    let (yes, no) = (node.required_constant(1, "its first choice")?, node.required_constant(2, "its second choice")?);
    let shape = broadcast_shape(&condition.shape, &yes.shape).and_then(|shape| broadcast_shape(&shape, &no.shape));
    let shape = shape.ok_or_else(|| node.refuse("operands whose shapes do not fit"))?;
    let (condition, yes, no) = (condition.expanded(&shape), yes.expanded(&shape), no.expanded(&shape));
    let both = Host::concatenated(&[&yes.reshaped(vec![count(&shape)]), &no.reshaped(vec![count(&shape)])], 0);
    let holds = condition.floats();
    let size = count(&shape);
    Ok(Built::Constants(vec![both.pick(shape, (0..size).map(|i| if holds[i] != 0.0 { i } else { i + size }))]))
}

fn count(shape: &[usize]) -> usize {
    shape.iter().product()
}

fn map_constant(node: &Node, function: fn(i64) -> i64) -> Result<Built> {
    let host = node.required_constant(0, "its operand")?;
    let ints = host.as_ints().ok_or_else(|| node.refuse("an operand that is not boolean"))?;
    let mapped = Host::ints(host.shape.clone(), ints.iter().map(|&v| function(v)).collect());
    Ok(Built::Constants(vec![mapped.cast(host.element)]))
}

/// Sums from the first number of an axis to each, as exporters compute positions.
fn cumulated(node: &Node) -> Result<Built> {
    let host = node.required_constant(0, "its operand")?;
    let axis = match node.int_list(1, "the axis")?.as_deref() {
        Some(&[axis]) => node.axis(axis, host.rank())?,
        _ => return Err(node.refuse("its axis is no single number")),
    };
    if node.int("exclusive", 0) != 0 || node.int("reverse", 0) != 0 {
        return Err(node.refuse("exclusive or reverse; plain sums are accepted"));
    }
    let run: usize = host.shape[axis + 1..].iter().product();
    let mut sums = host.floats();
    for i in run..sums.len() {
        if !(i / run).is_multiple_of(host.shape[axis]) {
            sums[i] += sums[i - run];
        }
    }
    Ok(Built::Constants(vec![Host::float(host.shape.clone(), sums).cast(host.element)]))
}

fn map_floats(node: &Node, function: fn(f32) -> f32) -> Result<Built> {
    Ok(Built::Constants(vec![node.required_constant(0, "its operand")?.map(function)]))
}
