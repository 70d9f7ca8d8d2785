//! Operators that move, pick or reshape numbers.

use super::arithmetic;
use super::chain::{Chain, Part, folded, picked, places};
use super::literal::{Along, Data, Literal, MAX_AXES, broadcast_shape, count, element, grown, strides};
use super::node::{Input, Lowered, NewStep, Node, Operand, Resolved, Table, device_axis, step};
use super::view;
use crate::Result;
use crate::numbers::decimal;
use crate::plan::{Binary, Op, Unary};

pub(super) const TABLE: Table = &[
    ("Identity", same),
    ("Dropout", same),
    ("Constant", constant),
    ("ConstantOfShape", constant_of_shape),
    ("Shape", shape_of),
    ("Size", size_of),
    ("Range", range),
    ("Cast", cast),
    ("CastLike", cast),
    ("Reshape", reshape),
    ("Flatten", flatten),
    ("Squeeze", squeeze),
    ("Unsqueeze", unsqueeze),
    ("Transpose", transpose),
    ("Concat", concat),
    ("Split", split),
    ("Slice", slice),
    ("Gather", gather),
    ("Pad", pad),
    ("Expand", expand),
];

fn same(_: &Node) -> Result<Lowered> {
    Ok(Lowered::Given(0))
}

fn constant(node: &Node) -> Result<Lowered> {
    let literal = if let Some(literal) = node.tensor("value")? {
        literal
    } else if let Some(values) = node.ints("value_ints") {
        Literal::ints(vec![values.len()], values)
    } else if let Some(values) = node.floats("value_floats") {
        Literal::float(vec![values.len()], values)
    } else if node.has_attribute("value_float") {
        // Some writers leave 0 out.
        Literal::float(vec![], vec![node.optional_float("value_float").unwrap_or(0.)])
    } else if let Some(literal) = node.sparse("sparse_value")? {
        literal
    } else if node.has_attribute("value_int") {
        Literal::ints(vec![], vec![node.int("value_int", 0)])
    } else {
        return Err(node.refuse("a constant without numbers; a tensor, numbers or one number are accepted"));
    };
    Ok(Lowered::Constants(vec![literal]))
}

/// A list of sizes as a shape that fits in memory.
fn shape_from(node: &Node, sizes: &[i64]) -> Result<Vec<usize>> {
    lengths(sizes).filter(|shape| count(shape).is_some()).ok_or_else(|| node.refuse(format!("the shape {sizes:?}")))
}

/// Sizes of which none is negative.
fn lengths(sizes: &[i64]) -> Option<Vec<usize>> {
    sizes.iter().map(|&size| usize::try_from(size).ok()).collect()
}

fn constant_of_shape(node: &Node) -> Result<Lowered> {
    let sizes = node.int_list(0, "the shape")?.unwrap_or_default();
    let shape = shape_from(node, &sizes)?;
    let value = node.tensor("value")?;
    // One list of floats is all that this takes: made-up weights are as large as real ones.
    let most = if value.as_ref().is_some_and(|value| value.as_ints().is_some()) { 0 } else { 1 << 27 };
    let size = grown(&shape, most).ok_or_else(|| node.refuse(format!("the shape {shape:?}")))?;
    // It is taken when it is there.
    node.budget.could_fold(size).map_err(|reason| node.refuse(reason))?;
    Ok(Lowered::Constants(vec![match value {
        Some(Literal { data: Data::Int(values), element, .. }) if values.len() == 1 => {
            Literal::integers(element, shape, vec![values[0]; size])
        }
        Some(value) => Literal::float(
            shape,
            vec![value.scalar().ok_or_else(|| node.refuse("a value that is no single number"))?; size],
        ),
        None => Literal::float(shape, vec![0.0; size]),
    }]))
}

fn shape_of(node: &Node) -> Result<Lowered> {
    let shape = node.dims(0)?;
    let rank = shape.len() as i64;
    let bound = |name, default| {
        let axis = node.int(name, default);
        (if axis < 0 { axis + rank } else { axis }).clamp(0, rank) as usize
    };
    let (start, end) = (bound("start", 0), bound("end", rank));
    let sizes: Vec<i64> = shape.get(start..end).unwrap_or_default().iter().map(|&side| side as i64).collect();
    Ok(Lowered::Constants(vec![Literal::ints(vec![sizes.len()], sizes)]))
}

fn size_of(node: &Node) -> Result<Lowered> {
    Ok(Lowered::Constants(vec![Literal::ints(vec![], vec![node.dims(0)?.iter().product::<usize>() as i64])]))
}

fn range(node: &Node) -> Result<Lowered> {
    if (0..3).any(|index| node.constant(index).is_some_and(|literal| literal.as_ints().is_none())) {
        let number = |index| -> Result<f64> {
            let literal = node.required_constant(index, "a bound")?;
            literal.scalar().map(f64::from).ok_or_else(|| node.refuse("a bound that is no single number"))
        };
        let (start, limit, delta) = (number(0)?, number(1)?, number(2)?);
        let length = ((limit - start) / delta).ceil();
        if !length.is_finite() || length > f64::from(1 << 24) {
            return Err(node.refuse(format!(
                "a range from {} to {} by {}",
                decimal(start),
                decimal(limit),
                decimal(delta)
            )));
        }
        let values: Vec<f32> = (0..length.max(0.0) as usize).map(|i| (start + i as f64 * delta) as f32).collect();
        return Ok(Lowered::Constants(vec![Literal::float(vec![values.len()], values)]));
    }
    let number = |index| -> Result<i64> {
        match node.required_constant(index, "a bound")?.as_ints() {
            Some(&[value]) => Ok(value),
            _ => Err(node.refuse("a bound that is no integer")),
        }
    };
    let (start, limit, delta) = (number(0)?, number(1)?, number(2)?);
    // `None` by 0, and for bounds too far apart to be counted.
    let length = limit.checked_sub(start).and_then(|room| room.checked_add(delta)?.checked_sub(delta.signum()));
    let length = length.and_then(|room| room.checked_div(delta)).filter(|&length| length <= 1 << 20);
    let length = length.ok_or_else(|| node.refuse(format!("a range from {start} to {limit} by {delta}")))?;
    let values: Vec<i64> = (0..length.max(0)).map(|i| start + i * delta).collect();
    Ok(Lowered::Constants(vec![Literal::ints(vec![values.len()], values)]))
}

/// The element type that a node casts to, if its numbers can be kept here.
pub(super) fn cast_to(node: &Node) -> Result<i32> {
    let to = match node.operator() {
        "CastLike" => node.element(1),
        // Until opset 5 by name.
        _ => match node.text("to") {
            Some(name) => {
                element::named(&name).ok_or_else(|| node.refuse(format!("to {name}; {ELEMENTS} are accepted")))?
            }
            None => node.int("to", i64::from(element::FLOAT)) as i32,
        },
    };
    let (low, high) = element::range(to);
    let fits = |ints: &[i64]| ints.iter().all(|&value| (low as i64..=high as i64).contains(&value));
    let is_half = matches!(to, element::UINT4 | element::INT4)
        && node.constant(0).and_then(|literal| literal.as_ints()).is_some_and(fits);
    match element::is_float(to) || element::is_integer(to) || to == element::BOOL || is_half {
        true => Ok(to),
        false => Err(node.refuse(format!("to the element type {to}; {ELEMENTS} are accepted"))),
    }
}

/// What numbers are cast to: types of 4 bits, unless they hold a constant, and floats of 8 would round, and a string is none.
const ELEMENTS: &str = "floats of 16 to 64 bits, integers of 8 to 64 bits and booleans";

fn cast(node: &Node) -> Result<Lowered> {
    let to = cast_to(node)?;
    match node.constant(0) {
        Some(literal) => Ok(Lowered::Constants(vec![literal.cast(to)])),
        // Everything on the device is f32: narrower floats read as they are, just more exact.
        None if element::is_float(to) => Ok(Lowered::Given(0)),
        None if element::holds(to, node.element(0)) => Ok(Lowered::Given(0)),
        None if to == element::BOOL => {
            let mut chain = Chain::of(node);
            let (x, shape) = flat(node, &mut chain)?;
            let size = chain.unary(Unary::Abs, &x);
            let step = chain.unary(Unary::Step, &size);
            chain.done(&step, shape)
        }
        // Towards 0.
        None => {
            let mut chain = Chain::of(node);
            let (x, shape) = flat(node, &mut chain)?;
            let (size, sign) = (chain.unary(Unary::Abs, &x), chain.unary(Unary::Sign, &x));
            let whole = chain.unary(Unary::Floor, &size);
            let whole = chain.binary(Binary::Mul, &whole, &sign);
            let whole = arithmetic::wrapped(&mut chain, &whole, to);
            chain.done(&whole, shape)
        }
    }
}

/// Input 0 as it is, or in a row if it has more than four axes, and its shape.
pub(super) fn flat(node: &Node, chain: &mut Chain) -> Result<(Part, Vec<usize>)> {
    let shape = node.dims(0)?;
    let stored = if shape.len() > 4 { folded(&shape) } else { shape.clone() };
    Ok((chain.shaped(node, 0, stored)?, shape))
}

/// The input as computed value or as a constant, the two cases that every reshaping operator has.
fn to_shape(node: &Node, shape: Vec<usize>) -> Result<Lowered> {
    match node.inputs.first() {
        Some(Some(Resolved::Constant(literal))) => {
            Ok(Lowered::Constants(vec![Literal::clone(literal).reshaped(shape)]))
        }
        Some(Some(Resolved::View { .. })) => view::of(node, 0)?.reshaped(node, shape),
        _ => {
            let x = node.value(0)?;
            if shape.len() > 4 {
                let permutation = (0..shape.len()).collect();
                return Ok(Lowered::View { source: x.clone(), dims: shape, permutation });
            }
            step(Op::Reshape, vec![Input::Value(x.id)], shape)
        }
    }
}

fn reshape(node: &Node) -> Result<Lowered> {
    let before = node.dims(0)?;
    let asked = match node.ints("shape") {
        Some(shape) => shape,
        None => node.int_list(1, "the shape")?.ok_or_else(|| node.refuse("the shape is missing"))?,
    };
    let keep_zero = node.int("allowzero", 0) != 0;
    let total: usize = before.iter().product();
    let asked = match (node.fixed_batch, asked.first()) {
        // Written for a batch, run for one.
        (Some(batch), Some(&first)) if first == batch as i64 && before.first() == Some(&1) => {
            [&[1], &asked[1..]].concat()
        }
        _ => asked,
    };
    let mut shape = Vec::with_capacity(asked.len());
    for (axis, &size) in asked.iter().enumerate() {
        shape.push(match size {
            0 if !keep_zero => {
                *before.get(axis).ok_or_else(|| node.refuse(format!("the shape {asked:?} for {before:?}")))?
            }
            -1 => usize::MAX,
            size => usize::try_from(size).map_err(|_| node.refuse(format!("the shape {asked:?}")))?,
        });
    }
    let known = shape.iter().filter(|&&side| side != usize::MAX).try_fold(1usize, |n, &side| n.checked_mul(side));
    if let (Some(open), Some(known)) = (shape.iter().position(|&side| side == usize::MAX), known) {
        shape[open] = total.checked_div(known).unwrap_or(0);
    }
    if count(&shape) != Some(total) {
        return Err(node.refuse(format!("the shape {asked:?} does not hold the {total} numbers of {before:?}")));
    }
    to_shape(node, shape)
}

fn flatten(node: &Node) -> Result<Lowered> {
    let before = node.dims(0)?;
    let rank = before.len() as i64;
    let axis = node.int("axis", 1);
    let axis = if axis < 0 { axis + rank } else { axis };
    if !(0..=rank).contains(&axis) {
        return Err(node.refuse(format!("axis {axis} of a value with {rank} axes")));
    }
    let (outer, inner) = before.split_at(axis as usize);
    to_shape(node, vec![outer.iter().product(), inner.iter().product()])
}

/// Axes from the attribute (before opset 13) or the second input.
fn listed_axes(node: &Node) -> Result<Option<Vec<i64>>> {
    match node.ints("axes") {
        Some(axes) => Ok(Some(axes)),
        None => node.int_list(1, "the axes"),
    }
}

fn squeeze(node: &Node) -> Result<Lowered> {
    let before = node.dims(0)?;
    let axes = match listed_axes(node)? {
        Some(axes) => node.axes(&axes, before.len())?,
        None => (0..before.len()).filter(|&axis| before[axis] == 1).collect(),
    };
    if axes.iter().any(|&axis| before[axis] != 1) {
        return Err(node.refuse(format!("axes {axes:?} of {before:?}; axes of size 1 are accepted")));
    }
    let sides = before.iter().enumerate();
    to_shape(node, sides.filter(|(axis, _)| !axes.contains(axis)).map(|(_, &side)| side).collect())
}

fn unsqueeze(node: &Node) -> Result<Lowered> {
    let before = node.dims(0)?;
    let axes = listed_axes(node)?.ok_or_else(|| node.refuse("the axes are missing"))?;
    let rank = before.len() + axes.len();
    if rank > MAX_AXES {
        return Err(node.refuse(format!("a result with {rank} axes; up to {MAX_AXES} are accepted")));
    }
    let axes = node.axes(&axes, rank)?;
    let mut rest = before.iter();
    let shape: Vec<usize> =
        (0..rank).map(|axis| if axes.contains(&axis) { Some(1) } else { rest.next().copied() }.unwrap_or(1)).collect();
    to_shape(node, shape)
}

fn transpose(node: &Node) -> Result<Lowered> {
    let before = node.dims(0)?;
    let rank = before.len();
    let permutation = match node.ints("perm") {
        Some(axes) => node.axes(&axes, rank)?,
        None => (0..rank).rev().collect(),
    };
    if permutation.len() != rank || !(0..rank).all(|axis| permutation.contains(&axis)) {
        return Err(node.refuse(format!("perm {permutation:?} of a value with {rank} axes")));
    }
    match node.inputs.first() {
        Some(Some(Resolved::Constant(literal))) => Ok(Lowered::Constants(vec![literal.transposed(&permutation)])),
        Some(Some(Resolved::View { source, dims, permutation: earlier })) => Ok(Lowered::View {
            source: source.clone(),
            dims: dims.clone(),
            permutation: permutation.iter().map(|&axis| earlier[axis]).collect(),
        }),
        _ => {
            let x = node.value(0)?;
            let mut axes = [0, 1, 2, 3];
            for (axis, &from) in permutation.iter().enumerate() {
                axes[device_axis(axis, rank)] = device_axis(from, rank);
            }
            let shape = permutation.iter().map(|&axis| before[axis]).collect();
            step(Op::Permute(axes), vec![Input::Value(x.id)], shape)
        }
    }
}

fn concat(node: &Node) -> Result<Lowered> {
    let first = node.dims(0)?;
    let rank = first.len();
    let axis = node.axis(node.int("axis", 0), rank)?;
    let mut shape = first.clone();
    shape[axis] = 0;
    for index in 0..node.inputs.len() {
        let part = node.dims(index)?;
        if part.len() != rank || (0..rank).any(|other| other != axis && part[other] != first[other]) {
            return Err(node.refuse(format!("parts of the shapes {first:?} and {part:?} along axis {axis}")));
        }
        shape[axis] += part[axis];
        if count(&shape).is_none() {
            return Err(node.refuse(format!("a result of the shape {shape:?}")));
        }
    }
    if let Some(parts) = node.constants() {
        node.budget.places(shape.iter().product()).map_err(|reason| node.refuse(reason))?;
        return Ok(Lowered::Constants(vec![Literal::concatenated(&parts, axis)]));
    }
    let is_empty = |index: usize| node.dims(index).is_ok_and(|part| part[axis] == 0);
    if (0..node.inputs.len()).any(is_empty) {
        let left = (0..node.inputs.len()).filter(|&index| !is_empty(index));
        let inputs = left.map(|index| node.inputs[index].clone()).collect();
        return concat(&Node { inputs, ..*node });
    }
    if rank > 4 {
        return view::concatenated(node, axis, shape);
    }
    let inputs = (0..node.inputs.len()).map(|index| node.operand(index)).collect::<Result<_>>()?;
    step(Op::Concat { axis: device_axis(axis, rank) }, inputs, shape)
}

fn split(node: &Node) -> Result<Lowered> {
    let before = node.dims(0)?;
    let rank = before.len();
    let axis = node.axis(node.int("axis", 0), rank)?;
    let outputs = node.proto.output.len();
    let sizes = match node.ints("split") {
        Some(sizes) => Some(sizes),
        None => node.int_list(1, "the sizes")?,
    };
    let sizes = match sizes {
        Some(sizes) => lengths(&sizes).ok_or_else(|| node.refuse(format!("the sizes {sizes:?}")))?,
        None => {
            let each = before[axis].div_ceil(outputs.max(1));
            (0..outputs).map(|i| each.min(before[axis].saturating_sub(i * each))).collect()
        }
    };
    if sizes.len() != outputs
        || sizes.iter().try_fold(0usize, |sum, &size| sum.checked_add(size)) != Some(before[axis])
        || sizes.contains(&0)
    {
        return Err(node.refuse(format!("parts of the sizes {sizes:?} along an axis of {}", before[axis])));
    }
    let mut start = 0;
    let parts = sizes.iter().map(|&size| {
        start += size;
        (start - size, start)
    });
    if let Some(literal) = node.constant(0) {
        let pick = |(start, end): (usize, usize)| {
            let mut axes: Vec<Along> = before.iter().map(|&side| Along::all(side)).collect();
            axes[axis] = Along::Every { start, step: 1, count: end - start };
            literal.select(axes)
        };
        return Ok(Lowered::Constants(parts.map(pick).collect()));
    }
    if node.is_view(0) {
        let each = parts.map(|(start, end)| {
            let part = |axis| Op::Slice { axis, start, end, step: 1 };
            let x = (vec![], view::of(node, 0)?);
            let (new_steps, view) = view::along(x, &[(axis, end - start, &part)]);
            Ok((new_steps, view.dims, view.permutation))
        });
        return Ok(Lowered::Views(each.collect::<Result<_>>()?));
    }
    let x = node.value(0)?;
    let new_steps = parts.map(|(start, end)| {
        let mut shape = before.clone();
        shape[axis] = end - start;
        NewStep {
            op: Op::Slice { axis: device_axis(axis, rank), start, end, step: 1 },
            inputs: vec![Input::Value(x.id)],
            shape,
        }
    });
    Ok(Lowered::Each(new_steps.collect()))
}

fn slice(node: &Node) -> Result<Lowered> {
    let before = node.dims(0)?;
    let rank = before.len();
    let list = |name: &str, index: usize| -> Result<Option<Vec<i64>>> {
        match node.ints(name) {
            Some(values) => Ok(Some(values)),
            None => node.int_list(index, name),
        }
    };
    let starts = list("starts", 1)?.ok_or_else(|| node.refuse("starts are missing"))?;
    let ends = list("ends", 2)?.ok_or_else(|| node.refuse("ends are missing"))?;
    let axes = match list("axes", 3)? {
        Some(axes) => node.axes(&axes, rank)?,
        None => (0..starts.len().min(rank)).collect(),
    };
    let steps = list("steps", 4)?.unwrap_or_else(|| vec![1; starts.len()]);
    if ends.len() != starts.len() || axes.len() != starts.len() || steps.len() != starts.len() {
        return Err(node.refuse("starts, ends, axes and steps of different lengths"));
    }
    let mut picked: Vec<Along> = before.iter().map(|&side| Along::all(side)).collect();
    let (mut new_steps, mut cut) = (Vec::new(), Vec::new());
    let mut shape = before.clone();
    for (i, &axis) in axes.iter().enumerate() {
        let (side, by) = (before[axis] as i64, steps[i]);
        if by == 0 {
            return Err(node.refuse("a step of 0"));
        }
        let wrap = |v: i64| if v < 0 { v.saturating_add(side) } else { v };
        let (low, high) = if by > 0 { (0, side) } else { (-1, side - 1) };
        let (start, end) = (wrap(starts[i]).clamp(low.max(0), high.max(0)), wrap(ends[i]).clamp(low, high));
        let room = if by > 0 { end - start } else { start - end };
        let is_any = side > 0 && room > 0;
        let count = if is_any { (room as u64 - 1) / by.unsigned_abs() + 1 } else { 0 } as usize;
        shape[axis] = count;
        picked[axis] = Along::Every { start: start as usize, step: by as isize, count };
        if node.constant(0).is_some() {
            continue;
        }
        let indices = || (0..count).map(|i| (start + i as i64 * by) as usize);
        let last = if is_any { indices().next_back() } else { None };
        // Of a value with more than four axes only one at a time is taken, as the third of four.
        let at = if rank > 4 { 2 } else { device_axis(axis, rank) };
        // A step beyond the axis leaves what one along all of it does.
        let step = by.clamp(1, side.max(1)) as usize;
        let op = match last {
            Some(last) if by > 0 => Op::Slice { axis: at, start: start as usize, end: last + 1, step },
            Some(_) => Op::Select { axis: at, indices: indices().collect() },
            None => Op::Reshape,
        };
        let whole = op == (Op::Slice { axis: at, start: 0, end: before[axis], step: 1 });
        if !whole {
            new_steps.push((op, shape.clone()));
            cut.push(axis);
        }
    }
    if let Some(literal) = node.constant(0) {
        return Ok(Lowered::Constants(vec![literal.select(picked)]));
    }
    // Such as what a roll by nothing moves; a concatenation leaves it out.
    if shape.contains(&0) {
        return Ok(Lowered::Constants(vec![Literal::float(shape, vec![])]));
    }
    if new_steps.is_empty() {
        return Ok(Lowered::Given(0));
    }
    if node.is_view(0) {
        let ops: Vec<_> = new_steps.into_iter().map(|(op, _)| move |_| op.clone()).collect();
        let steps = cut.iter().zip(&ops).map(|(&axis, op)| (axis, shape[axis], op as &dyn Fn(usize) -> Op));
        let x = (vec![], view::of(node, 0)?);
        return view::result(node, view::along(x, &steps.collect::<Vec<_>>()), &[]);
    }
    let x = node.value(0)?;
    Ok(Lowered::Chain(chained(x, new_steps)))
}

/// One step after the other, the first on `x`.
fn chained(x: &Operand, new_steps: Vec<(Op, Vec<usize>)>) -> Vec<NewStep> {
    let steps = new_steps.into_iter().enumerate();
    steps
        .map(|(i, (op, shape))| NewStep {
            op,
            inputs: vec![if i == 0 { Input::Value(x.id) } else { Input::Previous }],
            shape,
        })
        .collect()
}

fn gather(node: &Node) -> Result<Lowered> {
    let before = node.dims(0)?;
    let axis = node.axis(node.int("axis", 0), before.len())?;
    let picks = node.required_constant(1, "the indices")?;
    let side = before[axis] as i64;
    let indices = picks.as_ints().ok_or_else(|| node.refuse("indices that are not integers"))?;
    let indices: Option<Vec<usize>> = indices
        .iter()
        .map(|&i| if i < 0 { i + side } else { i })
        .map(|i| (0..side).contains(&i).then_some(i as usize))
        .collect();
    let indices = indices.ok_or_else(|| node.refuse(format!("an index beyond the {side} of axis {axis}")))?;
    if indices.is_empty() {
        return Err(node.refuse("no indices"));
    }
    let mut shape = before.clone();
    shape.splice(axis..=axis, picks.shape.iter().copied());
    if let Some(literal) = node.constant(0) {
        if grown(&shape, literal.len().max(picks.len())).is_none() {
            return Err(node.refuse(format!("a result of the shape {shape:?}")));
        }
        let mut axes: Vec<Along> = before.iter().map(|&side| Along::all(side)).collect();
        axes[axis] = Along::Listed(indices);
        return Ok(Lowered::Constants(vec![literal.select(axes).reshaped(shape)]));
    }
    if shape.len() > 4 || (node.is_view(0) && picks.rank() > 1) {
        let from = strides(&before);
        let mut middle = before.clone();
        middle[axis] = indices.len();
        let found = places(node, &middle, &mut |at| {
            Some(
                at.iter().zip(&from).map(|(at, step)| at * step).sum::<usize>() - at[axis] * from[axis]
                    + indices[at[axis]] * from[axis],
            )
        })?;
        return picked(node, 0, found, 0.0, shape);
    }
    if node.is_view(0) {
        let (length, is_one) = (indices.len(), picks.rank() == 0);
        let pick = move |axis| Op::Select { axis, indices: indices.clone() };
        let picked = view::along((vec![], view::of(node, 0)?), &[(axis, length, &pick)]);
        return view::result(node, picked, &[axis][..usize::from(is_one)]);
    }
    let x = node.value(0)?;
    let mut picked = before.clone();
    picked[axis] = indices.len();
    let select = (Op::Select { axis: device_axis(axis, before.len()), indices }, picked);
    Ok(Lowered::Chain(chained(x, vec![select, (Op::Reshape, shape)])))
}

/// Padding of any rank, as numbers picked from places.
fn padded(node: &Node, before: &[usize], pads: &[(i64, i64)], value: f32, mode: &str) -> Result<Lowered> {
    let side = |axis: usize| usize::try_from(before[axis] as i64 + pads[axis].0 + pads[axis].1).ok();
    let shape: Option<Vec<usize>> = (0..before.len()).map(side).collect();
    let shape = shape.filter(|shape| count(shape).is_some() && !shape.contains(&0) && !before.contains(&0));
    let shape =
        shape.ok_or_else(|| node.refuse(format!("pads {pads:?} of {before:?}: nothing, or too much, is left")))?;
    let from = strides(before);
    let found = places(node, &shape, &mut |at| {
        let along = |axis: usize| {
            // Negative padding crops, before anything is repeated.
            let (start, end) = pads[axis];
            let (cut, side) = (start.min(0), before[axis] as i64 + start.min(0) + end.min(0));
            let own = at[axis] as i64 - start.max(0);
            let own = match mode {
                "edge" => own.clamp(0, side - 1),
                "wrap" => own.rem_euclid(side),
                "reflect" => (side - 1 - (side - 1 - own.abs()).abs()).clamp(0, side - 1),
                _ => own,
            };
            (0..side).contains(&own).then(|| (own - cut) as usize * from[axis])
        };
        (0..at.len()).map(along).sum()
    })?;
    picked(node, 0, found, value, shape)
}

fn pad(node: &Node) -> Result<Lowered> {
    let before = node.dims(0)?;
    let rank = before.len();
    let pads = match node.ints("pads").or_else(|| node.ints("paddings")) {
        Some(pads) => pads,
        None => node.int_list(1, "the pads")?.ok_or_else(|| node.refuse("the pads are missing"))?,
    };
    let axes = match node.int_list(3, "the axes")? {
        Some(axes) => node.axes(&axes, rank)?,
        None => (0..rank).collect(),
    };
    if pads.len() != 2 * axes.len() || pads.iter().any(|pad| pad.unsigned_abs() > 1 << 16) {
        return Err(node.refuse(format!("pads {pads:?} for {} axes", axes.len())));
    }
    let value = if node.has(2) {
        let literal = node.required_constant(2, "the value")?;
        literal.scalar().ok_or_else(|| node.refuse("a value that is no single number"))?
    } else {
        node.float("value", 0.0)
    };
    let mode = node.text("mode").unwrap_or_else(|| "constant".into());
    if !matches!(mode.as_str(), "constant" | "reflect" | "edge" | "wrap") {
        return Err(node.refuse(format!("mode {mode}; constant, reflect, edge and wrap are accepted")));
    }
    let mut pairs = vec![(0, 0); rank];
    axes.iter().enumerate().for_each(|(i, &axis)| pairs[axis] = (pads[i], pads[i + axes.len()]));
    for (axis, &(start, end)) in pairs.iter().enumerate() {
        let side = before[axis] as i64;
        let left = side + start.min(0) + end.min(0);
        if start.min(end) < 0 && left <= 0 {
            return Err(
                node.refuse(format!("pads of {start} and {end} leave nothing of axis {axis}, of length {side}"))
            );
        }
        if mode == "reflect" && start.max(end) >= left.max(1) {
            return Err(node
                .refuse(format!("reflecting {start} and {end} of an axis of {left}: less than the axis is accepted")));
        }
    }
    if rank > 4 || node.constant(0).is_some() || mode == "wrap" {
        return padded(node, &before, &pairs, value, &mode);
    }
    let x = node.value(0)?;
    let mut shape = x.shape.clone();
    let mut padding = [(0, 0); 4];
    let mut new_steps = Vec::new();
    for (i, &axis) in axes.iter().enumerate() {
        let (before, after) = (pads[i], pads[i + axes.len()]);
        // Negative padding crops.
        let (start, end) = ((-before).max(0) as usize, (-after).max(0) as usize);
        if start + end > 0 {
            let until = shape[axis] - end;
            shape[axis] = until - start;
            new_steps.push((Op::Slice { axis: device_axis(axis, rank), start, end: until, step: 1 }, shape.clone()));
        }
        padding[device_axis(axis, rank)] = (before.max(0) as usize, after.max(0) as usize);
    }
    for (axis, side) in shape.iter_mut().enumerate() {
        let (before, after) = padding[device_axis(axis, rank)];
        *side += before + after;
    }
    let op = match mode.as_str() {
        "constant" => Op::Pad { padding, value },
        _ => Op::PadEdge { padding, reflect: mode == "reflect" },
    };
    if padding.iter().any(|&pair| pair != (0, 0)) {
        new_steps.push((op, shape));
    }
    if new_steps.is_empty() {
        return Ok(Lowered::Given(0));
    }
    Ok(Lowered::Chain(chained(x, new_steps)))
}

fn expand(node: &Node) -> Result<Lowered> {
    let asked = node.int_list(1, "the shape")?.unwrap_or_default();
    let asked = shape_from(node, &asked)?;
    let before = &node.dims(0)?;
    let unfit = || node.refuse(format!("the shape {asked:?} for {before:?}"));
    let shape = broadcast_shape(before, &asked).filter(|shape| count(shape).is_some()).ok_or_else(unfit)?;
    if let Some(literal) = node.constant(0) {
        grown(&shape, literal.len()).ok_or_else(unfit)?;
        return Ok(Lowered::Constants(vec![literal.expanded(&shape)]));
    }
    if shape.len() > 4 {
        return view::expanded(node, shape);
    }
    let x = node.value(0)?;
    step(Op::Expand, vec![Input::Value(x.id)], shape)
}

/// Values of one shape as the rows of a new first axis.
pub(super) fn stacked(node: &Node) -> Result<Lowered> {
    let shape = node.dims(0)?;
    let size = shape.iter().product();
    let rows = node.inputs.len();
    if (1..rows).any(|index| node.dims(index).ok().as_ref() != Some(&shape)) {
        return Err(node.refuse("results of different shapes"));
    }
    let whole = [&[rows], &shape[..]].concat();
    if let Some(parts) = node.constants() {
        let size = count(&whole).ok_or_else(|| node.refuse(format!("a result of the shape {whole:?}")))?;
        node.budget.places(size).map_err(|reason| node.refuse(reason))?;
        return Ok(Lowered::Constants(vec![Literal::concatenated(
            &parts
                .into_iter()
                .map(|part| part.clone().reshaped([&[1], &shape[..]].concat()))
                .collect::<Vec<_>>()
                .iter()
                .collect::<Vec<_>>(),
            0,
        )]));
    }
    let mut chain = Chain::of(node);
    let parts = (0..rows).map(|index| chain.shaped(node, index, vec![1, size])).collect::<Result<Vec<_>>>()?;
    let all = chain.concat(&parts.iter().collect::<Vec<_>>(), 0);
    chain.done(&all, whole)
}
