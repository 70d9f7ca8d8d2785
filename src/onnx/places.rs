//! Operators that move numbers: each gives, for every place of its result, the place that the number comes from. What
//! decides that must be constant.

use super::chain::{Chain, Part, folded, picked, places};
use super::literal::{Data, Literal, count, element, strides};
use super::node::{Lowered, Node, Table};
use crate::Result;
use crate::plan::{Binary, NOWHERE};

pub(super) const TABLE: Table = &[
    ("GatherElements", gather_elements),
    ("GatherND", gather_nd),
    ("ScatterElements", scatter_elements),
    ("Scatter", scatter_elements),
    ("ScatterND", scatter_nd),
    ("Tile", tile),
    ("Trilu", trilu),
    ("DepthToSpace", |node| space(node, true)),
    ("SpaceToDepth", |node| space(node, false)),
    ("Compress", compress),
    ("OneHot", one_hot),
    ("EyeLike", eye),
    ("NonZero", non_zero),
    ("ReverseSequence", reverse_sequence),
    ("CenterCropPad", center),
];

/// The place of coordinates.
pub(super) fn place(at: &[usize], strides: &[usize]) -> usize {
    at.iter().zip(strides).map(|(at, stride)| at * stride).sum()
}

/// Constant input `index` as integers, each made to count from the front of an axis of `side`.
fn indices(node: &Node, index: usize, side: usize) -> Result<Vec<usize>> {
    let literal = node.required_constant(index, "the indices")?;
    let ints = literal.as_ints().ok_or_else(|| node.refuse("indices that are not integers"))?;
    ints.iter()
        .map(|&i| node.axis(i, side).map_err(|_| node.refuse(format!("the index {i} of {side} numbers"))))
        .collect()
}

fn gather_elements(node: &Node) -> Result<Lowered> {
    let before = node.dims(0)?;
    let axis = node.axis(node.int("axis", 0), before.len())?;
    let shape = node.dims(1)?;
    if shape.len() != before.len() || (0..shape.len()).any(|other| other != axis && shape[other] > before[other]) {
        return Err(node.refuse(format!("indices of the shape {shape:?} for {before:?}")));
    }
    let indices = indices(node, 1, before[axis])?;
    let from = strides(&before);
    let mut rest = indices.into_iter();
    let found = places(node, &shape, &mut |at| {
        let along = rest.next()?;
        Some(place(at, &from) - at[axis] * from[axis] + along * from[axis])
    })?;
    picked(node, 0, found, 0., shape)
}

/// The places that rows of indices name along the axes from `batch` on, and how many numbers each names.
fn named(node: &Node, before: &[usize], index: usize, batch: usize) -> Result<(Vec<usize>, usize, Vec<usize>)> {
    let literal = node.required_constant(index, "the indices")?;
    let (outer, depth) = match literal.shape.split_last() {
        Some((&depth, outer)) if batch <= outer.len() && batch + depth <= before.len() => (outer.to_vec(), depth),
        _ => return Err(node.refuse(format!("indices of the shape {:?} for {before:?}", literal.shape))),
    };
    let ints = literal.as_ints().ok_or_else(|| node.refuse("indices that are not integers"))?;
    let from = strides(before);
    let block: usize = before[batch + depth..].iter().product();
    let rows: usize = outer.iter().product();
    node.budget.places(rows.saturating_mul(block.max(1))).map_err(|reason| node.refuse(reason))?;
    let each_batch = rows / outer[..batch].iter().product::<usize>().max(1);
    let batch_stride: usize = before[batch..].iter().product();
    let mut starts = Vec::with_capacity(rows);
    for row in 0..rows {
        let mut at = row / each_batch.max(1) * if batch > 0 { batch_stride } else { 0 };
        for axis in 0..depth {
            at += node.axis(ints[row * depth + axis], before[batch + axis])? * from[batch + axis];
        }
        starts.push(at);
    }
    Ok((starts, block, outer))
}

fn gather_nd(node: &Node) -> Result<Lowered> {
    let before = node.dims(0)?;
    let batch = node.int("batch_dims", 0).clamp(0, 8) as usize;
    let (starts, block, mut shape) = named(node, &before, 1, batch)?;
    let depth = node.dims(1)?.last().copied().unwrap_or(0);
    shape.extend(&before[batch + depth..]);
    count(&shape).ok_or_else(|| node.refuse(format!("a result of the shape {shape:?}")))?;
    let found = starts.iter().flat_map(|&start| (start..start + block).map(|at| at as u32)).collect();
    picked(node, 0, found, 0., shape)
}

/// Input 0 with the numbers of input 2 at the given places: both one behind the other, and what each place gets.
fn scattered(node: &Node, targets: Vec<usize>) -> Result<Lowered> {
    let shape = node.dims(0)?;
    let size: usize = shape.iter().product();
    let reduction = node.text("reduction").unwrap_or_else(|| "none".into());
    if node.dims(2)?.iter().product::<usize>() != targets.len() {
        return Err(node.refuse("as many updates as indices are accepted"));
    }
    if let (Some(data), Some(updates)) = (node.constant(0), node.constant(2)) {
        return Ok(Lowered::Constants(vec![written(node, data, updates, &targets, &reduction)?]));
    }
    let mut chain = Chain::of(node);
    let flat = |chain: &mut Chain, index: usize| {
        let numbers = node.dims(index)?.iter().product();
        chain.shaped(node, index, vec![1, numbers])
    };
    let (data, updates) = (flat(&mut chain, 0)?, flat(&mut chain, 2)?);
    let stored = if shape.len() > 4 { folded(&shape) } else { shape.clone() };
    let result = match reduction.as_str() {
        "none" => {
            let mut found: Vec<u32> = (0..size as u32).collect();
            targets.iter().enumerate().for_each(|(i, &at)| found[at] = (size + i) as u32);
            let both = chain.concat(&[&data, &updates], 1);
            chain.pick(&both, found, 0., stored)
        }
        "add" => {
            // Each round adds to every place at most once.
            let mut left: Vec<(usize, usize)> = targets.into_iter().enumerate().collect();
            let mut sum = data;
            for _ in 0..64 {
                node.budget.places(size).map_err(|reason| node.refuse(reason))?;
                let mut found = vec![NOWHERE; size];
                left.retain(|&(i, at)| {
                    let is_taken = found[at] != NOWHERE;
                    if !is_taken {
                        found[at] = i as u32;
                    }
                    is_taken
                });
                let more = chain.pick(&updates, found, 0., vec![1, size]);
                sum = chain.binary(Binary::Add, &sum, &more);
                if left.is_empty() {
                    break;
                }
            }
            if !left.is_empty() {
                return Err(node.refuse("more than 64 numbers added at one place"));
            }
            chain.reshape(&sum, stored)
        }
        other => return Err(node.refuse(format!("reduction {other}; none and add are accepted"))),
    };
    chain.done(&result, shape)
}

/// The same of constants.
fn written(node: &Node, data: &Literal, updates: &Literal, targets: &[usize], reduction: &str) -> Result<Literal> {
    fn write<T: Copy>(into: &mut [T], from: &[T], targets: &[usize], join: impl Fn(T, T) -> T) {
        targets.iter().zip(from).for_each(|(&at, &value)| into[at] = join(into[at], value));
    }
    let mut result = data.clone();
    match (&mut result.data, &updates.data, reduction) {
        (Data::Int(into), Data::Int(from), "none") => write(into, from, targets, |_, value| value),
        (Data::Int(into), Data::Int(from), "add") => write(into, from, targets, i64::wrapping_add),
        (Data::Float(into), Data::Float(from), "none") => write(into, from, targets, |_, value| value),
        (Data::Float(into), Data::Float(from), "add") => write(into, from, targets, |a, b| a + b),
        (Data::Float(into), Data::Float(from), "mul") => write(into, from, targets, |a, b| a * b),
        _ => return Err(node.refuse(format!("reduction {reduction} of numbers of these types"))),
    }
    Ok(result)
}

fn scatter_elements(node: &Node) -> Result<Lowered> {
    let before = node.dims(0)?;
    let axis = node.axis(node.int("axis", 0), before.len())?;
    let shape = node.dims(1)?;
    if shape.len() != before.len() || (0..shape.len()).any(|other| other != axis && shape[other] > before[other]) {
        return Err(node.refuse(format!("indices of the shape {shape:?} for {before:?}")));
    }
    let mut rest = indices(node, 1, before[axis])?.into_iter();
    let into = strides(&before);
    let mut targets = vec![];
    places(node, &shape, &mut |at| {
        targets.push(place(at, &into) - at[axis] * into[axis] + rest.next()? * into[axis]);
        None
    })?;
    scattered(node, targets)
}

fn scatter_nd(node: &Node) -> Result<Lowered> {
    let (starts, block, _) = named(node, &node.dims(0)?, 1, 0)?;
    scattered(node, starts.iter().flat_map(|&start| start..start + block).collect())
}

fn tile(node: &Node) -> Result<Lowered> {
    let before = node.dims(0)?;
    let repeats = node.int_list(1, "the repeats")?.unwrap_or_default();
    let times: Option<Vec<usize>> = repeats.iter().map(|&times| usize::try_from(times).ok()).collect();
    let shape: Option<Vec<usize>> = times
        .filter(|times| times.len() == before.len())
        .and_then(|times| before.iter().zip(times).map(|(side, times)| side.checked_mul(times)).collect());
    let shape = shape.filter(|shape| count(shape).is_some());
    let shape = shape.ok_or_else(|| node.refuse(format!("repeats {repeats:?} for {before:?}")))?;
    let from = strides(&before);
    let found =
        places(node, &shape, &mut |at| Some((0..at.len()).map(|axis| at[axis] % before[axis] * from[axis]).sum()))?;
    picked(node, 0, found, 0., shape)
}

/// The part of the matrices in the last two axes above (or below) a diagonal.
fn trilu(node: &Node) -> Result<Lowered> {
    let shape = node.dims(0)?;
    let [.., _, _] = shape[..] else { return Err(node.refuse(format!("{shape:?}; matrices are accepted"))) };
    let diagonal = match node.int_list(1, "the diagonal")? {
        Some(list) => *list.first().ok_or_else(|| node.refuse("no diagonal"))?,
        None => 0,
    };
    let is_upper = node.int("upper", 1) != 0;
    let (rank, from) = (shape.len(), strides(&shape));
    let found = places(node, &shape, &mut |at| {
        let ahead = (at[rank - 1] as i64 - at[rank - 2] as i64).saturating_sub(diagonal);
        (if is_upper { ahead >= 0 } else { ahead <= 0 }).then(|| place(at, &from))
    })?;
    picked(node, 0, found, 0., shape)
}

/// Channels to blocks of pixels, or back.
fn space(node: &Node, is_to_space: bool) -> Result<Lowered> {
    let before = node.dims(0)?;
    let block = node.int("blocksize", 0).clamp(0, 1 << 12) as usize;
    let &[n, channels, height, width] = &before[..] else {
        return Err(node.refuse(format!("{before:?}; four axes are accepted")));
    };
    let squared = block * block;
    let fits = match is_to_space {
        true => block > 0 && channels.is_multiple_of(squared),
        false => block > 0 && height.is_multiple_of(block) && width.is_multiple_of(block),
    };
    if !fits {
        return Err(node.refuse(format!("blocksize {block} for {before:?}")));
    }
    let from = strides(&before);
    if !is_to_space {
        let shape = vec![n, channels * squared, height / block, width / block];
        let found = places(node, &shape, &mut |at| {
            let (offset, channel) = (at[1] / channels, at[1] % channels);
            Some(place(&[at[0], channel, at[2] * block + offset / block, at[3] * block + offset % block], &from))
        })?;
        return picked(node, 0, found, 0., shape);
    }
    let by_columns = node.text("mode").as_deref() == Some("CRD");
    let depth = channels / squared;
    let shape = vec![n, depth, height * block, width * block];
    let found = places(node, &shape, &mut |at| {
        let offset = at[2] % block * block + at[3] % block;
        let channel = if by_columns { at[1] * squared + offset } else { offset * depth + at[1] };
        Some(place(&[at[0], channel, at[2] / block, at[3] / block], &from))
    })?;
    picked(node, 0, found, 0., shape)
}

/// The chosen places of an axis, or of all numbers in a row.
fn compress(node: &Node) -> Result<Lowered> {
    let chosen = node.required_constant(1, "the condition")?.floats();
    let before = node.dims(0)?;
    let kept: Vec<usize> = (0..chosen.len()).filter(|&i| chosen[i] != 0.).collect();
    if !node.has_attribute("axis") {
        let size: usize = before.iter().product();
        let found: Vec<u32> = kept.iter().filter(|&&i| i < size).map(|&i| i as u32).collect();
        let shape = vec![found.len()];
        return picked(node, 0, found, 0., shape);
    }
    let axis = node.axis(node.int("axis", 0), before.len())?;
    let kept: Vec<usize> = kept.into_iter().filter(|&i| i < before[axis]).collect();
    let from = strides(&before);
    let mut shape = before;
    shape[axis] = kept.len();
    let found =
        places(node, &shape, &mut |at| Some(place(at, &from) - at[axis] * from[axis] + kept[at[axis]] * from[axis]))?;
    picked(node, 0, found, 0., shape)
}

fn one_hot(node: &Node) -> Result<Lowered> {
    let given = node.required_constant(0, "the indices")?;
    let depth = node.required_constant(1, "the depth")?.scalar().unwrap_or(0.) as i64;
    let values = node.required_constant(2, "the values")?;
    if !(1..1 << 24).contains(&depth) || values.len() != 2 {
        return Err(
            node.refuse(format!("depth {depth} and {} values; a depth from 1 and two are accepted", values.len()))
        );
    }
    let mut shape = given.shape.clone();
    let axis = node.axis(node.int("axis", -1), shape.len() + 1)?;
    shape.insert(axis, depth as usize);
    count(&shape).ok_or_else(|| node.refuse(format!("a result of the shape {shape:?}")))?;
    let (floats, from) = (given.floats(), strides(&given.shape));
    let found = places(node, &shape, &mut |at| {
        let mut own = at.to_vec();
        own.remove(axis);
        let index = floats[place(&own, &from)] as i64;
        let index = if index < 0 { index + depth } else { index };
        Some(usize::from(index == at[axis] as i64))
    })?;
    Ok(Lowered::Constants(vec![values.placed(&found, 0., shape)]))
}

fn eye(node: &Node) -> Result<Lowered> {
    let shape = node.dims(0)?;
    let [_, _] = shape[..] else { return Err(node.refuse(format!("{shape:?}; a matrix is accepted"))) };
    let offset = node.int("k", 0);
    let like = node.constant(0).map_or(element::FLOAT, |literal| literal.element);
    let one = Literal::ints(vec![1], vec![1]).cast(node.int("dtype", i64::from(like)) as i32);
    let found = places(node, &shape, &mut |at| (at[1] as i64 == (at[0] as i64).saturating_add(offset)).then_some(0))?;
    Ok(Lowered::Constants(vec![one.placed(&found, 0., shape)]))
}

/// The coordinates of all numbers of a constant that are not 0.
fn non_zero(node: &Node) -> Result<Lowered> {
    let literal = node.required_constant(0, "its operand")?;
    let is_any = |i: usize| match &literal.data {
        Data::Float(values) => values[i] != 0.,
        Data::Int(values) => values[i] != 0,
    };
    let (rank, count) = (literal.rank(), (0..literal.len()).filter(|&i| is_any(i)).count());
    node.budget.places(rank.saturating_mul(count)).map_err(|reason| node.refuse(reason))?;
    let mut columns = vec![0; rank * count];
    let (mut next, mut row) = (0, 0);
    places(node, &literal.shape, &mut |at| {
        if is_any(next) {
            at.iter().enumerate().for_each(|(axis, &i)| columns[axis * count + row] = i as i64);
            row += 1;
        }
        next += 1;
        None
    })?;
    Ok(Lowered::Constants(vec![Literal::ints(vec![rank, count], columns)]))
}

fn reverse_sequence(node: &Node) -> Result<Lowered> {
    let shape = node.dims(0)?;
    let (time, batch) =
        (node.axis(node.int("time_axis", 0), shape.len())?, node.axis(node.int("batch_axis", 1), shape.len())?);
    let lengths = node.int_list(1, "the lengths")?.unwrap_or_default();
    if lengths.len() != shape[batch] || lengths.iter().any(|&length| !(0..=shape[time] as i64).contains(&length)) {
        return Err(node.refuse(format!("the lengths {lengths:?} for {shape:?}")));
    }
    let from = strides(&shape);
    let found = places(node, &shape, &mut |at| {
        let (length, now) = (lengths[at[batch]] as usize, at[time]);
        let then = if now < length { length - 1 - now } else { now };
        Some(place(at, &from) - now * from[time] + then * from[time])
    })?;
    picked(node, 0, found, 0., shape)
}

/// The middle of an axis, or zeros around it.
fn center(node: &Node) -> Result<Lowered> {
    let before = node.dims(0)?;
    let sizes = node.int_list(1, "the shape")?.unwrap_or_default();
    let axes = match node.ints("axes") {
        Some(axes) => node.axes(&axes, before.len())?,
        None => (0..before.len()).collect(),
    };
    let mut shape = before.clone();
    for (&axis, &size) in axes.iter().zip(&sizes) {
        shape[axis] = usize::try_from(size).map_err(|_| node.refuse(format!("the shape {sizes:?}")))?;
    }
    count(&shape).ok_or_else(|| node.refuse(format!("the shape {sizes:?}")))?;
    let from = strides(&before);
    let found = places(node, &shape, &mut |at| {
        let along = |axis: usize| {
            let (side, wanted) = (before[axis], shape[axis]);
            let own = if wanted <= side {
                at[axis] + (side - wanted) / 2
            } else {
                at[axis].wrapping_sub((wanted - side) / 2)
            };
            (own < side).then(|| own * from[axis])
        };
        (0..at.len()).map(along).sum()
    })?;
    picked(node, 0, found, 0., shape)
}

/// Windows along the axes from `first` on: for each tap, the places of `x` that all windows read there.
pub(super) struct Taps<'a> {
    pub before: &'a [usize],
    pub out: &'a [usize],
    pub first: usize,
    pub kernel: &'a [usize],
    pub stride: &'a [usize],
    pub dilation: &'a [usize],
    pub pads: &'a [(usize, usize)],
}

impl Taps<'_> {
    /// The places of tap number `tap`, in the order of the output.
    pub fn of(&self, node: &Node, mut tap: usize) -> Result<Vec<u32>> {
        let mut offset = vec![0; self.kernel.len()];
        for axis in (0..self.kernel.len()).rev() {
            offset[axis] = tap % self.kernel[axis] * self.dilation[axis];
            tap /= self.kernel[axis];
        }
        let from = strides(self.before);
        places(node, self.out, &mut |at| {
            let along = |axis: usize| match axis.checked_sub(self.first) {
                None => Some(at[axis] * from[axis]),
                Some(i) => {
                    let own = (at[axis] * self.stride[i] + offset[i]).wrapping_sub(self.pads[i].0);
                    (own < self.before[axis]).then(|| own * from[axis])
                }
            };
            (0..at.len()).map(along).sum()
        })
    }
}

/// Zeros between and around the pixels of `x` `[n, c, h, w]`: what a transposed convolution's plain one runs over.
pub(super) fn spread(
    node: &Node,
    chain: &mut Chain,
    x: &Part,
    stride: [usize; 2],
    before: [isize; 2],
    out: [usize; 2],
) -> Result<Part> {
    let shape = vec![x.shape[0], x.shape[1], out[0], out[1]];
    let from = strides(&x.shape);
    let found = places(node, &shape, &mut |at| {
        let along = |i: usize| {
            let own = usize::try_from(at[2 + i] as isize - before[i]).ok()?;
            (own.is_multiple_of(stride[i]) && own / stride[i] < x.shape[2 + i]).then(|| own / stride[i])
        };
        Some(place(&[at[0], at[1], along(0)?, along(1)?], &from))
    })?;
    Ok(chain.pick(x, found, 0., shape))
}
