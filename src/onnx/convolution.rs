//! Convolutions and linear layers.

use super::chain::{Chain, Part, places};
use super::literal::{broadcast_shape, count, strides};
use super::node::{Input, Lowered, NewStep, Node, Table, step};
use super::places::{place, spread};
use super::view;
use crate::Result;
use crate::plan::{Binary, Op};

pub(super) const TABLE: Table = &[
    ("Conv", convolution),
    ("ConvTranspose", transposed_convolution),
    ("Col2Im", from_columns),
    ("Gemm", gemm),
    ("MatMul", matmul),
    ("FusedMatMul", fused_matmul),
];

/// Padding per spatial axis, `(before, after)`, from `auto_pad` or `pads`, as ONNX defines it for windows.
pub(super) fn padding(
    node: &Node,
    input: [usize; 2],
    window: [usize; 2],
    stride: [usize; 2],
) -> Result<[(usize, usize); 2]> {
    let auto = node.text("auto_pad").unwrap_or_default();
    match auto.as_str() {
        "" | "NOTSET" => {
            let Some(pads) = node.ints("pads") else { return Ok([(0, 0); 2]) };
            let accepted = pads.iter().all(|p| (0..1 << 16).contains(p));
            match (node.shape(0)?.len(), &pads[..]) {
                (3, &[left, right]) if accepted => Ok([(0, 0), (left as usize, right as usize)]),
                (4, &[top, left, bottom, right]) if accepted => {
                    Ok([(top as usize, bottom as usize), (left as usize, right as usize)])
                }
                (rank, _) => {
                    let numbers = if rank == 3 { "two" } else { "four" };
                    Err(node.refuse(format!("pads {pads:?}; {numbers} numbers from 0 to 65535 are accepted")))
                }
            }
        }
        "VALID" => Ok([(0, 0); 2]),
        "SAME_UPPER" | "SAME_LOWER" => {
            let total: [usize; 2] = std::array::from_fn(|i| {
                let out = input[i].div_ceil(stride[i]);
                ((out - 1) * stride[i]).saturating_add(window[i]).saturating_sub(input[i])
            });
            if total.iter().any(|&total| total >= 1 << 17) {
                return Err(node.refuse(format!("{auto} for a window of {window:?}")));
            }
            Ok(total.map(|total| {
                let (small, large) = (total / 2, total - total / 2);
                if auto == "SAME_UPPER" { (small, large) } else { (large, small) }
            }))
        }
        other => Err(node.refuse(format!("auto_pad {other}; NOTSET, VALID, SAME_UPPER and SAME_LOWER are accepted"))),
    }
}

/// How far a kernel reaches with its dilation; what is beyond every size fits no input.
pub(super) fn window(kernel: [usize; 2], dilation: [usize; 2]) -> [usize; 2] {
    std::array::from_fn(|i| reach(kernel[i], dilation[i]))
}

/// The same along one axis.
pub(super) fn reach(kernel: usize, dilation: usize) -> usize {
    (kernel - 1).saturating_mul(dilation).saturating_add(1)
}

/// Padding, stride and dilation of each spatial axis of a value with more than two of them.
pub(super) struct Windows {
    pub kernel: Vec<usize>,
    pub stride: Vec<usize>,
    pub dilation: Vec<usize>,
    pub pads: Vec<(usize, usize)>,
    pub out: Vec<usize>,
}

impl Windows {
    pub fn of(node: &Node, plane: &[usize], kernel: &[usize]) -> Result<Windows> {
        let rank = plane.len();
        let list = |name: &str, default: i64, count: usize| -> Result<Vec<usize>> {
            let given = node.ints(name).unwrap_or_else(|| vec![default; count]);
            let list: Option<Vec<usize>> =
                given.iter().map(|&v| usize::try_from(v).ok().filter(|&v| v < 1 << 15)).collect();
            list.filter(|list| list.len() == count)
                .ok_or_else(|| node.refuse(format!("{name} {given:?} for {rank} axes")))
        };
        let (stride, dilation, pads) =
            (list("strides", 1, rank)?, list("dilations", 1, rank)?, list("pads", 0, 2 * rank)?);
        if stride.iter().chain(&dilation).chain(kernel).any(|&v| v == 0) || node.int("ceil_mode", 0) != 0 {
            return Err(node.refuse("sizes of 0, or ceil_mode over three axes"));
        }
        let auto = node.text("auto_pad").unwrap_or_default();
        let mut found = Windows { kernel: kernel.to_vec(), stride, dilation, pads: vec![], out: vec![] };
        for (i, &side) in plane.iter().enumerate() {
            let (stride, reach) = (found.stride[i], reach(kernel[i], found.dilation[i]));
            let pair = match auto.as_str() {
                "SAME_UPPER" | "SAME_LOWER" => {
                    let total = ((side.div_ceil(stride) - 1) * stride).saturating_add(reach).saturating_sub(side);
                    let (small, large) = (total / 2, total - total / 2);
                    if auto == "SAME_UPPER" { (small, large) } else { (large, small) }
                }
                "VALID" => (0, 0),
                _ => (pads[i], pads[i + rank]),
            };
            let room = side.saturating_add(pair.0).saturating_add(pair.1).checked_sub(reach);
            let room =
                room.ok_or_else(|| node.refuse(format!("a window of {kernel:?} is larger than its input {plane:?}")))?;
            found.pads.push(pair);
            found.out.push(room / stride + 1);
        }
        Ok(found)
    }
}

/// A convolution over planes; along one axis it is one over a plane of height 1, as in ECA-Net, and over three axes the
/// first of them becomes images, whose neighbours count as channels.
pub(super) fn convolution(node: &Node) -> Result<Lowered> {
    let (before, kernel) = (node.dims(0)?, node.dims(1)?);
    let rank = before.len();
    if !(3..=5).contains(&rank) || kernel.len() != rank {
        return Err(
            node.refuse(format!("an input {before:?} and a kernel {kernel:?}; three to five axes are accepted"))
        );
    }
    let groups = node.int("group", 1).max(0) as usize;
    let (n, channels, out, per_group) = (before[0], before[1], kernel[0], kernel[1]);
    if groups == 0 || !channels.is_multiple_of(groups) || !out.is_multiple_of(groups) || channels / groups != per_group
    {
        return Err(
            node.refuse(format!("group {groups} and a kernel for {per_group} channels do not fit {channels} channels"))
        );
    }
    if kernel.contains(&0) || before.contains(&0) {
        return Err(node.refuse(format!("an input {before:?} and a kernel {kernel:?}; sides of 0 are not accepted")));
    }
    let mut chain = Chain::of(node);
    let bias = |chain: &mut Chain| -> Result<Option<Part>> {
        if !node.has(2) {
            return Ok(None);
        }
        if node.dims(2)?.iter().product::<usize>() != out {
            return Err(node.refuse(format!("a bias {:?} for {out} channels", node.dims(2)?)));
        }
        chain.shaped(node, 2, vec![1, 1, 1, out]).map(Some)
    };
    if rank == 5 {
        let windows = Windows::of(node, &before[2..], &kernel[2..])?;
        let (&[_, _, depth, height, width], &[kd, kh, kw]) = (&before[..], &windows.kernel[..]) else { unreachable!() };
        let (slices, by) = (windows.out[0], windows.stride[0]);
        let x = chain.shaped(node, 0, vec![n, channels, depth, height * width])?;
        let from = strides(&before);
        let found = places(node, &[n, slices, channels, kd, height, width], &mut |at| {
            let own = (at[1] * by + at[3] * windows.dilation[0]).wrapping_sub(windows.pads[0].0);
            (own < depth).then(|| at[0] * from[0] + at[2] * from[1] + own * from[2] + at[4] * from[3] + at[5])
        })?;
        let planes = chain.pick(&x, found, 0., vec![n * slices, channels * kd, height, width]);
        let weights = chain.shaped(node, 1, vec![out, per_group * kd, kh, kw])?;
        let pair = |list: &[usize]| [list[1], list[2]];
        let op = Op::Convolution {
            stride: pair(&windows.stride),
            padding: [windows.pads[1], windows.pads[2]],
            dilation: pair(&windows.dilation),
            groups,
        };
        let [oh, ow] = pair(&windows.out);
        let mut inputs = vec![planes, weights];
        inputs.extend(bias(&mut chain)?);
        let sums = chain.step(op, &inputs.iter().collect::<Vec<_>>(), vec![n * slices, out, oh, ow]);
        // [n·slices, out, ..] to [n, out, slices, ..].
        let rows = chain.reshape(&sums, vec![n, slices, out, oh * ow]);
        let turned = chain.permute(&rows, &[0, 2, 1, 3]);
        return chain.done(&turned, vec![n, out, slices, oh, ow]);
    }
    let is_line = rank == 3;
    let [height, width] = if is_line { [1, before[2]] } else { [before[2], before[3]] };
    let [kh, kw] = if is_line { [1, kernel[2]] } else { [kernel[2], kernel[3]] };
    let (stride, dilation) = (node.pair("strides", 1, 1)?, node.pair("dilations", 1, 1)?);
    let window = window([kh, kw], dilation);
    let padding = padding(node, [height, width], window, stride)?;
    let side = |i: usize, length: usize| {
        (length + padding[i].0 + padding[i].1).checked_sub(window[i]).map(|room| room / stride[i] + 1)
    };
    let (Some(oh), Some(ow)) = (side(0, height), side(1, width)) else {
        return Err(node.refuse(format!("a window of {window:?} is larger than its padded input {height}×{width}")));
    };
    if node.constant(0).is_some() {
        node.value(0)?;
    }
    let x = chain.shaped(node, 0, vec![n, channels, height, width])?;
    let weights = chain.shaped(node, 1, vec![out, per_group, kh, kw])?;
    let mut inputs = vec![x, weights];
    inputs.extend(bias(&mut chain)?);
    let op = Op::Convolution { stride, padding, dilation, groups };
    let y = chain.step(op, &inputs.iter().collect::<Vec<_>>(), vec![n, out, oh, ow]);
    chain.done(&y, if is_line { vec![n, out, ow] } else { vec![n, out, oh, ow] })
}

/// A convolution over an input with zeros between its pixels, with the kernel turned round.
fn transposed_convolution(node: &Node) -> Result<Lowered> {
    let (before, kernel) = (node.dims(0)?, node.dims(1)?);
    let is_line = before.len() == 3;
    if !(3..=4).contains(&before.len())
        || kernel.len() != before.len()
        || kernel[0] != before[1]
        || kernel.contains(&0)
        || before.contains(&0)
    {
        return Err(node.refuse(format!("an input {before:?} and a kernel {kernel:?}; planes are accepted")));
    }
    let groups = node.int("group", 1).max(0) as usize;
    let (n, channels, per_group) = (before[0], before[1], kernel[1]);
    if groups == 0 || !channels.is_multiple_of(groups) {
        return Err(node.refuse(format!("group {groups} of {channels} channels")));
    }
    let plane = |shape: &[usize]| if is_line { [1, shape[2]] } else { [shape[2], shape[3]] };
    let (size, taps) = (plane(&before), plane(&kernel));
    let (stride, dilation) = (node.pair("strides", 1, 1)?, node.pair("dilations", 1, 1)?);
    let extra = node.pair("output_padding", 0, 0)?;
    let reach = window(taps, dilation);
    let auto = node.text("auto_pad").unwrap_or_default();
    let asked = node.ints("output_shape").filter(|shape| shape.len() + 2 >= before.len()).map(|shape| {
        let sides: Vec<usize> = shape.iter().rev().map(|&side| side.clamp(0, 1 << 15) as usize).collect();
        if is_line { [1, sides[0]] } else { [sides[1], sides[0]] }
    });
    let full: [usize; 2] = std::array::from_fn(|i| {
        let last = (size[i] - 1).saturating_mul(stride[i]);
        last.saturating_add(reach[i]).saturating_add(extra[i])
    });
    let mut pads =
        if matches!(auto.as_str(), "" | "NOTSET") { padding(node, size, reach, stride)? } else { [(0, 0); 2] };
    let mut out: [usize; 2] = [0; 2];
    for i in 0..2 {
        let wanted = match (&asked, auto.as_str()) {
            (Some(asked), _) => Some(asked[i]),
            (None, "SAME_UPPER" | "SAME_LOWER") => Some(size[i].saturating_mul(stride[i])),
            _ => None,
        };
        if let Some(wanted) = wanted {
            let total = full[i].saturating_sub(wanted);
            let (small, large) = (total / 2, total - total / 2);
            pads[i] = if auto == "SAME_UPPER" { (small, large) } else { (large, small) };
            out[i] = wanted;
        } else {
            let side = full[i].checked_sub(pads[i].0 + pads[i].1).filter(|&side| side > 0);
            out[i] = side.ok_or_else(|| node.refuse(format!("pads {pads:?} leave nothing of a result of {full:?}")))?;
        }
    }
    let mut chain = Chain::of(node);
    let x = chain.shaped(node, 0, vec![n, channels, size[0], size[1]])?;
    if count(&[n, channels, out[0].saturating_add(reach[0]), out[1].saturating_add(reach[1])]).is_none() {
        return Err(node.refuse(format!("a result of {out:?}")));
    }
    let lead = std::array::from_fn(|i| reach[i] as isize - 1 - pads[i].0 as isize);
    let wide = std::array::from_fn(|i| out[i] + reach[i] - 1);
    let spread = spread(node, &mut chain, &x, stride, lead, wide)?;
    // [inputs, outputs / groups, ..] to [outputs, inputs / groups, ..], turned round.
    let per_in = channels / groups;
    let weights = chain.shaped(node, 1, vec![channels, per_group, taps[0], taps[1]])?;
    let from = strides(&weights.shape);
    let shape = vec![groups * per_group, per_in, taps[0], taps[1]];
    let found = places(node, &shape, &mut |at| {
        let (group, output) = (at[0] / per_group, at[0] % per_group);
        Some(place(&[group * per_in + at[1], output, taps[0] - 1 - at[2], taps[1] - 1 - at[3]], &from))
    })?;
    let weights = chain.pick(&weights, found, 0., shape);
    let mut inputs = vec![spread, weights];
    if node.has(2) {
        if node.dims(2)?.iter().product::<usize>() != groups * per_group {
            return Err(node.refuse(format!("a bias {:?} for {} channels", node.dims(2)?, groups * per_group)));
        }
        inputs.push(chain.shaped(node, 2, vec![1, 1, 1, groups * per_group])?);
    }
    let op = Op::Convolution { stride: [1, 1], padding: [(0, 0); 2], dilation, groups };
    let shape = vec![n, groups * per_group, out[0], out[1]];
    let y = chain.step(op, &inputs.iter().collect::<Vec<_>>(), shape.clone());
    chain.done(&y, if is_line { vec![n, groups * per_group, out[1]] } else { shape })
}

/// The sums of the windows that columns stand for, where they overlap: one addition for each place of a window.
fn from_columns(node: &Node) -> Result<Lowered> {
    let before = node.dims(0)?;
    let lists = [node.int_list(1, "the image's size")?, node.int_list(2, "the window's size")?];
    let sizes = |list: &Option<Vec<i64>>| -> Option<[usize; 2]> {
        let list: Vec<usize> = list.as_ref()?.iter().map(|&v| usize::try_from(v).ok()).collect::<Option<_>>()?;
        list.try_into().ok()
    };
    let (Some(image), Some(block), &[n, rows, columns]) = (sizes(&lists[0]), sizes(&lists[1]), &before[..]) else {
        return Err(node.refuse(format!("{before:?}, {lists:?}; a plane is accepted")));
    };
    let area = count(&block).unwrap_or(0);
    if area == 0 || count(&image).is_none() || area > 1 << 10 || image.contains(&0) || !rows.is_multiple_of(area) {
        return Err(node.refuse(format!("windows of {block:?} in {rows} rows")));
    }
    let windows = Windows::of(node, &image, &block)?;
    if count(&windows.out) != Some(columns) {
        return Err(node.refuse(format!("{columns} columns for windows at {:?} places", windows.out)));
    }
    let channels = rows / area;
    let mut chain = Chain::of(node);
    let x = chain.input(node, 0)?;
    let shape = vec![n, channels, image[0], image[1]];
    count(&shape).ok_or_else(|| node.refuse(format!("an image of {image:?}")))?;
    let mut sum: Option<Part> = None;
    for tap in 0..area {
        let offset = [tap / block[1] * windows.dilation[0], tap % block[1] * windows.dilation[1]];
        let found = places(node, &shape, &mut |at| {
            let along = |i: usize| {
                let own = (at[2 + i] + windows.pads[i].0).checked_sub(offset[i])?;
                (own.is_multiple_of(windows.stride[i]) && own / windows.stride[i] < windows.out[i])
                    .then(|| own / windows.stride[i])
            };
            let column = along(0)? * windows.out[1] + along(1)?;
            Some((at[0] * rows + at[1] * area + tap) * columns + column)
        })?;
        let part = chain.pick(&x, found, 0., shape.clone());
        sum = Some(match sum {
            Some(sum) => chain.binary(Binary::Add, &sum, &part),
            None => part,
        });
    }
    chain.done(&sum.ok_or_else(|| node.refuse("no window"))?, shape)
}

/// onnxruntime's product of matrices, each of which may be transposed, times a factor.
fn fused_matmul(node: &Node) -> Result<Lowered> {
    let mut chain = Chain::of(node);
    let mut parts = vec![];
    for (index, name) in [(0, "transA"), (1, "transB")] {
        let mut part = chain.input(node, index)?;
        let rank = part.shape.len();
        if rank < 2 || node.int(&name.replace("trans", "transBatch"), 0) != 0 {
            return Err(node.refuse(format!("an operand {:?}; matrices are accepted", part.shape)));
        }
        if node.int(name, 0) != 0 {
            let mut axes: Vec<usize> = (0..rank).collect();
            axes.swap(rank - 2, rank - 1);
            part = chain.permute(&part, &axes);
        }
        parts.push(part);
    }
    let ((batch_a, [_, k]), (batch_b, [k2, _])) = (split(&parts[0].shape), split(&parts[1].shape));
    if k != k2 || broadcast_shape(batch_a, batch_b).is_none() {
        return Err(node.refuse(format!("shapes {:?} and {:?} do not fit", parts[0].shape, parts[1].shape)));
    }
    let mut y = chain.product(&parts[0], &parts[1]);
    let alpha = node.float("alpha", 1.0);
    if alpha != 1.0 {
        y = chain.with(Binary::Mul, &y, alpha);
    }
    let shape = y.shape.clone();
    chain.done(&y, shape)
}

/// Gemm of two computed matrices, or with a computed bias.
fn computed_gemm(node: &Node) -> Result<Lowered> {
    let mut chain = Chain::of(node);
    let mut parts = vec![];
    for (index, name) in [(0, "transA"), (1, "transB")] {
        let part = chain.input(node, index)?;
        if part.shape.len() != 2 {
            return Err(node.refuse(format!("an operand {:?}; a matrix is accepted", part.shape)));
        }
        parts.push(if node.int(name, 0) != 0 { chain.permute(&part, &[1, 0]) } else { part });
    }
    if parts[0].shape[1] != parts[1].shape[0] {
        return Err(node.refuse(format!("a matrix {:?} does not fit {:?}", parts[1].shape, parts[0].shape)));
    }
    let mut y = chain.product(&parts[0], &parts[1]);
    let (alpha, beta) = (node.float("alpha", 1.0), node.float("beta", 1.0));
    if alpha != 1.0 {
        y = chain.with(Binary::Mul, &y, alpha);
    }
    if node.has(2) {
        let mut bias = chain.input(node, 2)?;
        if broadcast_shape(&bias.shape, &y.shape).as_ref() != Some(&y.shape) {
            return Err(node.refuse(format!("a bias of shape {:?} for {:?}", bias.shape, y.shape)));
        }
        if beta != 1.0 {
            bias = chain.with(Binary::Mul, &bias, beta);
        }
        y = chain.binary(Binary::Add, &y, &bias);
    }
    let shape = y.shape.clone();
    chain.done(&y, shape)
}

fn gemm(node: &Node) -> Result<Lowered> {
    if node.constant(1).is_none() || (node.has(2) && node.constant(2).is_none()) {
        return computed_gemm(node);
    }
    let x = node.value_of_rank(0, 2)?;
    let transposed = node.int("transB", 0) != 0;
    let turned = node.int("transA", 0) != 0;
    let (rows_in, k_in) = if turned { (x.shape[1], x.shape[0]) } else { (x.shape[0], x.shape[1]) };
    let (alpha, beta) = (node.float("alpha", 1.0), node.float("beta", 1.0));
    let matrix = node.required_constant(1, "the second operand")?;
    let [rows, columns] = matrix.shape[..] else {
        return Err(node.refuse("the second operand is no matrix"));
    };
    let (k, out) = if transposed { (columns, rows) } else { (rows, columns) };
    if k_in != k || out == 0 {
        return Err(node.refuse(format!("a matrix {:?} does not fit the input {:?}", matrix.shape, x.shape)));
    }
    let matrix = if alpha == 1.0 { matrix.rank4() } else { matrix.map(|v| v * alpha) };
    let mut new_steps = vec![];
    let mut first = Input::Value(x.id);
    if turned {
        new_steps.push(NewStep { op: Op::Permute([0, 1, 3, 2]), inputs: vec![first], shape: vec![rows_in, k_in] });
        first = Input::Previous;
    }
    let mut inputs = vec![first, Input::Constant(matrix)];
    let shape = vec![rows_in, out];
    if node.has(2) {
        let bias = node.required_constant(2, "the bias")?;
        if broadcast_shape(&bias.shape, &shape).as_ref() != Some(&shape) {
            return Err(node.refuse(format!("a bias of shape {:?} for {shape:?}", bias.shape)));
        }
        inputs.push(Input::Constant(bias.rank4().map(|v| v * beta)));
    }
    new_steps.push(NewStep { op: Op::Linear { transposed }, inputs, shape });
    Ok(Lowered::Chain(new_steps))
}

pub(super) fn matmul(node: &Node) -> Result<Lowered> {
    if node.dims(0)?.len().max(node.dims(1)?.len()) > 4 {
        return view::product(node);
    }
    let (a, b) = (node.shape(0)?, node.shape(1)?);
    if a.is_empty() || b.is_empty() {
        return Err(node.refuse(format!("shapes {a:?} and {b:?}; matrices are accepted")));
    }
    if a.len() < 2 || b.len() < 2 {
        // A row in front, or a column behind, which goes again.
        let mut chain = Chain::of(node);
        let left = if a.len() == 1 { vec![1, a[0]] } else { a.to_vec() };
        let right = if b.len() == 1 { vec![b[0], 1] } else { b.to_vec() };
        if left[left.len() - 1] != right[right.len() - 2] {
            return Err(node.refuse(format!("shapes {a:?} and {b:?} do not fit")));
        }
        let mut shape = if a.len() == 1 { right[..right.len() - 2].to_vec() } else { left[..left.len() - 1].to_vec() };
        if b.len() > 1 {
            shape.push(right[right.len() - 1]);
        }
        let (left, right) = (chain.shaped(node, 0, left)?, chain.shaped(node, 1, right)?);
        let y = chain.product(&left, &right);
        return chain.done(&y, shape);
    }
    let ((batch_a, [n, k]), (batch_b, [k2, m])) = (split(a), split(b));
    let batch = broadcast_shape(batch_a, batch_b).filter(|_| k == k2);
    let Some(mut shape) = batch else {
        return Err(node.refuse(format!("shapes {a:?} and {b:?} do not fit")));
    };
    let mut turned = shape.clone();
    shape.extend([n, m]);
    let Some(first) = node.constant(0).filter(|_| node.constant(1).is_none()) else {
        let x = node.value(0)?;
        return step(Op::Linear { transposed: false }, vec![Input::Value(x.id), node.operand(1)?], shape);
    };
    // A constant is the second factor of a step: A·B = (Bᵀ·Aᵀ)ᵀ.
    turned.extend([m, n]);
    let mut swapped: Vec<usize> = (0..a.len()).collect();
    swapped.swap(a.len() - 2, a.len() - 1);
    let swap = Op::Permute([0, 1, 3, 2]);
    let x = [batch_b, &[m, k2]].concat();
    Ok(Lowered::Chain(vec![
        NewStep { op: swap.clone(), inputs: vec![Input::Value(node.value(1)?.id)], shape: x },
        NewStep {
            op: Op::Linear { transposed: false },
            inputs: vec![Input::Previous, Input::Constant(first.transposed(&swapped).rank4())],
            shape: turned,
        },
        NewStep { op: swap, inputs: vec![Input::Previous], shape },
    ]))
}

fn split(shape: &[usize]) -> (&[usize], [usize; 2]) {
    let (batch, matrix) = shape.split_at(shape.len() - 2);
    (batch, [matrix[0], matrix[1]])
}
