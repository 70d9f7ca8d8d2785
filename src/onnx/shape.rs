//! Operators that move, pick or reshape numbers.

use super::host::{Data, Host, broadcast_shape, count, element};
use super::node::{Built, Draft, Input, Known, Node, Operand, Table, device_axis, step};
use super::view;
use crate::Result;
use crate::network::plan::{Op, rank4};

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
    ("Tile", tile),
    ("Resize", resize),
    ("Upsample", resize),
];

fn same(_: &Node) -> Result<Built> {
    Ok(Built::Same)
}

fn constant(node: &Node) -> Result<Built> {
    let host = if let Some(host) = node.tensor("value")? {
        host
    } else if let Some(values) = node.ints("value_ints") {
        Host::ints(vec![values.len()], values)
    } else if let Some(values) = node.floats("value_floats") {
        Host::float(vec![values.len()], values)
    } else if let Some(value) = node.optional_float("value_float") {
        Host::float(vec![], vec![value])
    } else {
        Host::ints(vec![], vec![node.int("value_int", 0)])
    };
    Ok(Built::Constants(vec![host]))
}

/// A list of sizes as a shape that fits in memory.
fn shape_from(node: &Node, sizes: &[i64]) -> Result<Vec<usize>> {
    lengths(sizes).filter(|shape| count(shape).is_some()).ok_or_else(|| node.refuse(format!("the shape {sizes:?}")))
}

/// Sizes of which none is negative.
fn lengths(sizes: &[i64]) -> Option<Vec<usize>> {
    sizes.iter().map(|&size| usize::try_from(size).ok()).collect()
}

fn constant_of_shape(node: &Node) -> Result<Built> {
    let sizes = node.int_list(0, "the shape")?.unwrap_or_default();
    let shape = shape_from(node, &sizes)?;
    let size = shape.iter().product();
    Ok(Built::Constants(vec![match node.tensor("value")? {
        Some(Host { data: Data::Int(values), element, .. }) if values.len() == 1 => {
            Host { element, ..Host::ints(shape, vec![values[0]; size]) }
        }
        Some(value) => Host::float(
            shape,
            vec![value.scalar().ok_or_else(|| node.refuse("a value that is no single number"))?; size],
        ),
        None => Host::float(shape, vec![0.0; size]),
    }]))
}

fn shape_of(node: &Node) -> Result<Built> {
    let shape = node.dims(0)?;
    let rank = shape.len() as i64;
    let bound = |name, default| {
        let axis = node.int(name, default);
        (if axis < 0 { axis + rank } else { axis }).clamp(0, rank) as usize
    };
    let (start, end) = (bound("start", 0), bound("end", rank));
    let sizes: Vec<i64> = shape.get(start..end).unwrap_or_default().iter().map(|&side| side as i64).collect();
    Ok(Built::Constants(vec![Host::ints(vec![sizes.len()], sizes)]))
}

fn size_of(node: &Node) -> Result<Built> {
    Ok(Built::Constants(vec![Host::ints(vec![], vec![node.dims(0)?.iter().product::<usize>() as i64])]))
}

fn range(node: &Node) -> Result<Built> {
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
    Ok(Built::Constants(vec![Host::ints(vec![values.len()], values)]))
}

fn cast(node: &Node) -> Result<Built> {
    let to = match (node.operator(), node.constant(1)) {
        ("CastLike", Some(like)) => like.element,
        ("CastLike", None) => element::FLOAT,
        _ => node.int("to", i64::from(element::FLOAT)) as i32,
    };
    match node.constant(0) {
        Some(host) => Ok(Built::Constants(vec![host.cast(to)])),
        // Everything on the device is f32: narrower floats read as they are, just more exact.
        None if element::is_float(to) => Ok(Built::Same),
        None => Err(node.refuse(format!("a computed value to the element type {to}; floats are accepted"))),
    }
}

/// The input as computed value or as a constant, the two cases that every reshaping operator has.
fn to_shape(node: &Node, shape: Vec<usize>) -> Result<Built> {
    match node.inputs.first() {
        Some(Some(Known::Constant(host))) => Ok(Built::Constants(vec![Host::clone(host).reshaped(shape)])),
        Some(Some(Known::View { .. })) => view::of(node, 0)?.reshaped(node, shape),
        _ => {
            let x = node.value(0)?;
            if shape.len() > 4 {
                let permutation = (0..shape.len()).collect();
                return Ok(Built::View { source: x.clone(), dims: shape, permutation });
            }
            step(Op::Reshape, vec![Input::Value(x.id)], shape)
        }
    }
}

fn reshape(node: &Node) -> Result<Built> {
    let before = node.dims(0)?;
    let asked = match node.ints("shape") {
        Some(shape) => shape,
        None => node.int_list(1, "the shape")?.ok_or_else(|| node.refuse("the shape is missing"))?,
    };
    let keep_zero = node.int("allowzero", 0) != 0;
    let total: usize = before.iter().product();
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

fn flatten(node: &Node) -> Result<Built> {
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

fn squeeze(node: &Node) -> Result<Built> {
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

fn unsqueeze(node: &Node) -> Result<Built> {
    let before = node.dims(0)?;
    let axes = listed_axes(node)?.ok_or_else(|| node.refuse("the axes are missing"))?;
    let rank = before.len() + axes.len();
    let axes = node.axes(&axes, rank)?;
    let mut rest = before.iter();
    let shape: Vec<usize> =
        (0..rank).map(|axis| if axes.contains(&axis) { Some(1) } else { rest.next().copied() }.unwrap_or(1)).collect();
    if count(&shape) != count(&before) {
        return Err(node.refuse(format!("axes {axes:?} named twice")));
    }
    to_shape(node, shape)
}

fn transpose(node: &Node) -> Result<Built> {
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
        Some(Some(Known::Constant(host))) => Ok(Built::Constants(vec![host.transposed(&permutation)])),
        Some(Some(Known::View { source, dims, permutation: earlier })) => Ok(Built::View {
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

fn concat(node: &Node) -> Result<Built> {
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
    }
    if let Some(parts) = node.constants() {
        return Ok(Built::Constants(vec![Host::concatenated(&parts, axis)]));
    }
    if rank > 4 {
        return view::concatenated(node, axis, shape);
    }
    let inputs = (0..node.inputs.len()).map(|index| node.operand(index)).collect::<Result<_>>()?;
    step(Op::Concat { axis: device_axis(axis, rank) }, inputs, shape)
}

fn split(node: &Node) -> Result<Built> {
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
    if let Some(host) = node.constant(0) {
        let pick = |(start, end): (usize, usize)| {
            let axes: Vec<Vec<usize>> = before
                .iter()
                .enumerate()
                .map(|(other, &side)| if other == axis { (start..end).collect() } else { (0..side).collect() })
                .collect();
            host.select(&axes)
        };
        return Ok(Built::Constants(parts.map(pick).collect()));
    }
    if node.is_view(0) {
        let each = parts.map(|(start, end)| {
            let part = |axis| Op::Slice { axis, start, end, step: 1 };
            let x = (vec![], view::of(node, 0)?);
            let (drafts, view) = view::along(x, &[(axis, end - start, &part)]);
            Ok((drafts, view.dims, view.permutation))
        });
        return Ok(Built::Views(each.collect::<Result<_>>()?));
    }
    let x = node.value(0)?;
    let drafts = parts.map(|(start, end)| {
        let mut shape = before.clone();
        shape[axis] = end - start;
        Draft {
            op: Op::Slice { axis: device_axis(axis, rank), start, end, step: 1 },
            inputs: vec![Input::Value(x.id)],
            shape,
        }
    });
    Ok(Built::Each(drafts.collect()))
}

fn slice(node: &Node) -> Result<Built> {
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
    let mut picked: Vec<Vec<usize>> = before.iter().map(|&side| (0..side).collect()).collect();
    let (mut drafts, mut cut) = (Vec::new(), Vec::new());
    let mut shape = before.clone();
    for (i, &axis) in axes.iter().enumerate() {
        let (side, by) = (before[axis] as i64, steps[i]);
        if by == 0 {
            return Err(node.refuse("a step of 0"));
        }
        let wrap = |v: i64| if v < 0 { v.saturating_add(side) } else { v };
        let (low, high) = if by > 0 { (0, side) } else { (-1, side - 1) };
        let (start, end) = (wrap(starts[i]).clamp(low.max(0), high.max(0)), wrap(ends[i]).clamp(low, high));
        let indices: Vec<usize> = std::iter::successors(Some(start), |&at| at.checked_add(by))
            .take_while(|&at| if by > 0 { at < end } else { at > end })
            .map(|at| at as usize)
            .collect();
        let last = indices.last().copied();
        shape[axis] = indices.len();
        // Of a value with more than four axes only one at a time is taken, as the third of four.
        let at = if rank > 4 { 2 } else { device_axis(axis, rank) };
        let op = match last {
            Some(last) if by > 0 => Op::Slice { axis: at, start: start as usize, end: last + 1, step: by as usize },
            Some(_) => Op::Select { axis: at, indices: indices.clone() },
            None if node.constant(0).is_some() => Op::Reshape,
            None => return Err(node.refuse("nothing is left")),
        };
        picked[axis] = indices;
        let whole = op == (Op::Slice { axis: at, start: 0, end: before[axis], step: 1 });
        if !whole {
            drafts.push((op, shape.clone()));
            cut.push(axis);
        }
    }
    if let Some(host) = node.constant(0) {
        return Ok(Built::Constants(vec![host.select(&picked)]));
    }
    if drafts.is_empty() {
        return Ok(Built::Same);
    }
    if node.is_view(0) {
        let ops: Vec<_> = drafts.into_iter().map(|(op, _)| move |_| op.clone()).collect();
        let steps = cut.iter().zip(&ops).map(|(&axis, op)| (axis, shape[axis], op as &dyn Fn(usize) -> Op));
        let x = (vec![], view::of(node, 0)?);
        return view::result(node, view::along(x, &steps.collect::<Vec<_>>()), &[]);
    }
    let x = node.value(0)?;
    Ok(Built::Chain(chained(x, drafts)))
}

/// One step after the other, the first on `x`.
fn chained(x: &Operand, drafts: Vec<(Op, Vec<usize>)>) -> Vec<Draft> {
    let steps = drafts.into_iter().enumerate();
    steps
        .map(|(i, (op, shape))| Draft {
            op,
            inputs: vec![if i == 0 { Input::Value(x.id) } else { Input::Previous }],
            shape,
        })
        .collect()
}

fn gather(node: &Node) -> Result<Built> {
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
    if let Some(host) = node.constant(0) {
        let mut axes: Vec<Vec<usize>> = before.iter().map(|&side| (0..side).collect()).collect();
        axes[axis] = indices;
        return Ok(Built::Constants(vec![host.select(&axes).reshaped(shape)]));
    }
    if node.is_view(0) {
        let (length, is_one) = (indices.len(), picks.rank() == 0);
        if picks.rank() > 1 {
            return Err(node.refuse("indices of more than one axis"));
        }
        let pick = move |axis| Op::Select { axis, indices: indices.clone() };
        let picked = view::along((vec![], view::of(node, 0)?), &[(axis, length, &pick)]);
        return view::result(node, picked, &[axis][..usize::from(is_one)]);
    }
    let x = node.value(0)?;
    let mut picked = before.clone();
    picked[axis] = indices.len();
    let select = (Op::Select { axis: device_axis(axis, before.len()), indices }, picked);
    if shape.len() > 4 {
        return Err(node.refuse("a result with more than four axes"));
    }
    Ok(Built::Chain(chained(x, vec![select, (Op::Reshape, shape)])))
}

fn pad(node: &Node) -> Result<Built> {
    let x = node.value(0)?;
    let rank = x.shape.len();
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
    let value = match node.constant(2) {
        Some(host) => host.scalar().ok_or_else(|| node.refuse("a value that is no single number"))?,
        None => node.float("value", 0.0),
    };
    let mut shape = x.shape.clone();
    let mut padding = [(0, 0); 4];
    let mut drafts = Vec::new();
    for (i, &axis) in axes.iter().enumerate() {
        let (before, after) = (pads[i], pads[i + axes.len()]);
        // Negative padding crops.
        let (start, end) = ((-before).max(0) as usize, (-after).max(0) as usize);
        if start + end > 0 {
            if start + end >= shape[axis] {
                return Err(node.refuse("nothing is left"));
            }
            let until = shape[axis] - end;
            shape[axis] = until - start;
            drafts.push((Op::Slice { axis: device_axis(axis, rank), start, end: until, step: 1 }, shape.clone()));
        }
        padding[device_axis(axis, rank)] = (before.max(0) as usize, after.max(0) as usize);
    }
    for (axis, side) in shape.iter_mut().enumerate() {
        let (before, after) = padding[device_axis(axis, rank)];
        *side += before + after;
    }
    let mode = node.text("mode").unwrap_or_else(|| "constant".into());
    let op = match mode.as_str() {
        "constant" => Op::Pad { padding, value },
        "reflect" | "edge" => Op::PadEdge { padding, reflect: mode == "reflect" },
        other => return Err(node.refuse(format!("mode {other}; constant, reflect and edge are accepted"))),
    };
    if mode == "reflect"
        && (0..4)
            .any(|axis| padding[axis].0.max(padding[axis].1) >= rank4(&x.shape)[axis].max(1) && padding[axis] != (0, 0))
    {
        return Err(node.refuse("reflecting more than there is"));
    }
    if padding.iter().any(|&pair| pair != (0, 0)) {
        drafts.push((op, shape));
    }
    if drafts.is_empty() {
        return Ok(Built::Same);
    }
    Ok(Built::Chain(chained(x, drafts)))
}

fn expand(node: &Node) -> Result<Built> {
    let asked = node.int_list(1, "the shape")?.unwrap_or_default();
    let asked = shape_from(node, &asked)?;
    let before = &node.dims(0)?;
    let unfit = || node.refuse(format!("the shape {asked:?} for {before:?}"));
    let shape = broadcast_shape(before, &asked).filter(|shape| count(shape).is_some()).ok_or_else(unfit)?;
    if let Some(host) = node.constant(0) {
        return Ok(Built::Constants(vec![host.expanded(&shape)]));
    }
    if shape.len() > 4 {
        return view::expanded(node, shape);
    }
    let x = node.value(0)?;
    step(Op::Expand, vec![Input::Value(x.id)], shape)
}

fn tile(node: &Node) -> Result<Built> {
    let host = node.required_constant(0, "its input")?;
    let repeats = node.int_list(1, "the repeats")?.unwrap_or_default();
    let repeats = shape_from(node, &repeats)?;
    let shape: Vec<usize> = host.shape.iter().zip(&repeats).map(|(side, times)| side.saturating_mul(*times)).collect();
    if repeats.len() != host.rank() || count(&shape).is_none() {
        return Err(node.refuse(format!("repeats {repeats:?} for {:?}", host.shape)));
    }
    let axes: Vec<Vec<usize>> =
        host.shape.iter().zip(&shape).map(|(&side, &length)| (0..length).map(|i| i % side).collect()).collect();
    Ok(Built::Constants(vec![host.select(&axes)]))
}

/// Resize and Upsample over the two spatial axes, as two matrices: every mode is linear in the input.
fn resize(node: &Node) -> Result<Built> {
    let x = node.value_of_rank(0, 4)?;
    // Where scales and sizes are, by opset: Upsample(scales), Resize-10(scales), Resize-11+(roi, scales, sizes).
    let scales_at = if node.operator() == "Resize" && node.opset >= 11 { 2 } else { 1 };
    let scales = match node.floats("scales") {
        Some(scales) => scales,
        None if node.has(scales_at) => node.required_constant(scales_at, "the scales")?.floats(),
        None => vec![],
    };
    let sizes = if scales_at == 2 { node.int_list(3, "the sizes")? } else { None };
    let axes = match node.ints("axes") {
        Some(axes) => node.axes(&axes, 4)?,
        None => vec![0, 1, 2, 3],
    };
    let mut shape = x.shape.clone();
    let mut factors = [1.0f64; 4];
    match sizes {
        Some(sizes) if sizes.len() == axes.len() => {
            for (&axis, &size) in axes.iter().zip(&shape_from(node, &sizes)?) {
                factors[axis] = size as f64 / x.shape[axis] as f64;
                shape[axis] = size;
            }
        }
        _ if scales.len() == axes.len() => {
            for (&axis, &scale) in axes.iter().zip(&scales) {
                if !(scale > 0.0 && scale < 1024.0) {
                    return Err(node.refuse(format!("a scale of {scale}")));
                }
                factors[axis] = f64::from(scale);
                shape[axis] = (x.shape[axis] as f64 * f64::from(scale)).floor() as usize;
            }
        }
        _ => return Err(node.refuse("neither scales nor sizes for its axes")),
    }
    if shape[..2] != x.shape[..2] || shape[2] * shape[3] == 0 {
        return Err(node.refuse(format!("from {:?} to {shape:?}; the two spatial axes are accepted", x.shape)));
    }
    let mode = node.text("mode").unwrap_or_else(|| "nearest".into());
    let half_pixel = if scales_at == 1 { "asymmetric" } else { "half_pixel" };
    let coordinates = node.text("coordinate_transformation_mode").unwrap_or_else(|| half_pixel.into());
    let nearest = node
        .text("nearest_mode")
        .unwrap_or_else(|| if scales_at == 1 { "floor".into() } else { "round_prefer_floor".into() });
    if node.int("antialias", 0) != 0 {
        return Err(node.refuse("antialias; plain resampling is accepted"));
    }
    if !matches!(mode.as_str(), "nearest" | "linear" | "bilinear" | "cubic") {
        return Err(node.refuse(format!("mode {mode}; nearest, linear and cubic are accepted")));
    }
    if mode == "cubic" && node.int("exclude_outside", 0) != 0 {
        return Err(node.refuse("exclude_outside; cubic resampling without it is accepted"));
    }
    let sharpness = f64::from(node.float("cubic_coeff_a", -0.75));
    // Keys 1981: of a neighbour so far away, up to 2.
    let cubic = |far: f64| match far {
        _ if far <= 1.0 => ((sharpness + 2.0) * far - (sharpness + 3.0)) * far * far + 1.0,
        _ => ((sharpness * far - 5.0 * sharpness) * far + 8.0 * sharpness) * far - 4.0 * sharpness,
    };
    let matrix = |axis: usize| -> Result<Vec<f32>> {
        let (from, to, factor) = (x.shape[axis], shape[axis], factors[axis]);
        let mut matrix = vec![0.0; from * to];
        for o in 0..to {
            let at = match coordinates.as_str() {
                "half_pixel" => (o as f64 + 0.5) / factor - 0.5,
                "pytorch_half_pixel" => if to > 1 { (o as f64 + 0.5) / factor - 0.5 } else { 0.0 },
                "asymmetric" => o as f64 / factor,
                "align_corners" => if to > 1 { o as f64 * (from - 1) as f64 / (to - 1) as f64 } else { 0.0 },
                other => return Err(node.refuse(format!("coordinate_transformation_mode {other}; half_pixel, pytorch_half_pixel, asymmetric and align_corners are accepted"))),
            };
            let clamp = |v: f64| v.clamp(0.0, (from - 1) as f64) as usize;
            if mode == "nearest" {
                let cell = match nearest.as_str() {
                    "round_prefer_floor" => (at - 0.5).ceil(),
                    "round_prefer_ceil" => (at + 0.5).floor(),
                    "ceil" => at.ceil(),
                    _ => at.floor(),
                };
                matrix[o * from + clamp(cell)] = 1.0;
            } else if mode == "cubic" {
                for tap in -1..3 {
                    let place = at.floor() + f64::from(tap);
                    matrix[o * from + clamp(place)] += cubic((at - place).abs()) as f32;
                }
            } else {
                let low = at.floor();
                matrix[o * from + clamp(low)] += (1.0 - (at - low)) as f32;
                matrix[o * from + clamp(low + 1.0)] += (at - low) as f32;
            }
        }
        Ok(matrix)
    };
    let rows = Host::float(vec![1, 1, shape[2], x.shape[2]], matrix(2)?);
    let columns = Host::float(vec![shape[3], x.shape[3]], matrix(3)?).transposed(&[1, 0]).rank4();
    step(Op::Resample, vec![Input::Value(x.id), Input::Constant(rows), Input::Constant(columns)], shape)
}
