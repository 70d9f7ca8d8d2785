//! Pooling.

use super::chain::{Chain, Part, folded};
use super::convolution::{padding, reach, window};
use super::literal::{Literal, count, grown};
use super::node::{Input, Lowered, Node, Table, device_axis, step};
use super::places::Taps;
use crate::Result;
use crate::plan::{Binary, NOWHERE, Op, Reduction, Unary};

pub(super) const TABLE: Table = &[
    ("MaxPool", max_pool),
    ("AveragePool", average_pool),
    ("GlobalAveragePool", global_average_pool),
    ("GlobalMaxPool", global_max_pool),
    ("LpPool", lp_pool),
    ("GlobalLpPool", global_lp_pool),
];

/// A window sliding over a plane, with the padding that gives exactly the output's size.
struct Windows {
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    /// As the file says.
    padding: [(usize, usize); 2],
    /// The end extended (or cut) so that rounding down gives the size that `ceil_mode` asks for.
    exact: [(usize, usize); 2],
    out: [usize; 2],
}

fn windows(node: &Node, plane: [usize; 2]) -> Result<Windows> {
    let kernel = match node.ints("kernel_shape") {
        Some(_) => node.pair("kernel_shape", 1, 1)?,
        None => return Err(node.refuse("kernel_shape is missing")),
    };
    let (stride, dilation) = (node.pair("strides", 1, 1)?, node.pair("dilations", 1, 1)?);
    let reach = window(kernel, dilation);
    let padding = padding(node, plane, reach, stride)?;
    let ceil = node.int("ceil_mode", 0) != 0;
    let mut exact = padding;
    let mut out = [0; 2];
    for i in 0..2 {
        let padded = plane[i] + padding[i].0 + padding[i].1;
        let Some(room) = padded.checked_sub(reach[i]) else {
            return Err(node.refuse(format!("a window of {reach:?} is larger than its padded input {plane:?}")));
        };
        let mut count = if ceil { room.div_ceil(stride[i]) } else { room / stride[i] } + 1;
        // A window that would begin in the padding after the input is dropped.
        if ceil && (count - 1) * stride[i] >= plane[i] + padding[i].0 {
            count -= 1;
        }
        let needed = (count - 1) * stride[i] + reach[i];
        exact[i].1 = needed.saturating_sub(plane[i] + padding[i].0);
        out[i] = count;
        if padding[i].0 >= reach[i] || exact[i].1 >= reach[i] {
            return Err(node.refuse(format!("padding {padding:?} as large as the window {reach:?}")));
        }
    }
    Ok(Windows { kernel, stride, dilation, padding, exact, out })
}

fn plane(shape: &[usize]) -> [usize; 2] {
    [shape[2], shape[3]]
}

/// Input 0 as planes `[n, c, h, w]`, of height 1 where there is one spatial axis, and its shape.
fn planes(node: &Node, chain: &mut Chain) -> Result<(Part, Vec<usize>)> {
    let before = node.dims(0)?;
    let stored = match before[..] {
        [n, channels, width] => vec![n, channels, 1, width],
        [_, _, _, _] => before.clone(),
        _ => return Err(node.refuse(format!("its input {before:?}; three or four axes are accepted"))),
    };
    Ok((chain.shaped(node, 0, stored)?, before))
}

/// The shape of what is pooled, with one spatial axis or two.
fn pooled(before: &[usize], out: [usize; 2]) -> Vec<usize> {
    if before.len() == 3 { vec![before[0], before[1], out[1]] } else { vec![before[0], before[1], out[0], out[1]] }
}

fn max_pool(node: &Node) -> Result<Lowered> {
    if node.outputs > 1 {
        return Err(node.refuse("its second result, the indices, is used; the maxima alone are accepted"));
    }
    if node.dims(0)?.len() == 5 {
        return by_taps(node, Binary::Max);
    }
    let mut chain = Chain::of(node);
    let (x, before) = planes(node, &mut chain)?;
    let Windows { kernel, stride, dilation, exact, out, .. } = windows(node, plane(&x.shape))?;
    let shape = vec![x.shape[0], x.shape[1], out[0], out[1]];
    let y = chain.step(Op::MaxPool { kernel, stride, padding: exact, dilation }, &[&x], shape);
    chain.done(&y, pooled(&before, out))
}

/// Pooling over three axes: of each place of the window a copy of what all windows read there.
fn by_taps(node: &Node, join: Binary) -> Result<Lowered> {
    let before = node.dims(0)?;
    let kernel = node.ints("kernel_shape").unwrap_or_default();
    let refuse = |what: String| node.refuse(format!("{what}; up to 512 numbers along three axes are accepted"));
    if before.contains(&0) || kernel.len() != 3 {
        return Err(refuse(format!("a window of {} axes in {before:?}", kernel.len())));
    }
    let kernel: Vec<usize> = kernel.iter().map(|&side| side.clamp(0, 1 << 12) as usize).collect();
    let taps = count(&kernel).filter(|taps| (1..=512).contains(taps));
    let taps_in_all = taps.ok_or_else(|| refuse(format!("a window of {kernel:?}")))?;
    let windows = super::convolution::Windows::of(node, &before[2..], &kernel)?;
    let reach = |i: usize| reach(kernel[i], windows.dilation[i]);
    if (0..3).any(|i| windows.pads[i].0.max(windows.pads[i].1) >= reach(i)) {
        let reach = [0, 1, 2].map(reach);
        return Err(node.refuse(format!("padding {:?} as large as the window {reach:?}", windows.pads)));
    }
    let out = [&before[..2], &windows.out[..]].concat();
    if grown(&out, 0).is_none_or(|size| size == 0) {
        return Err(node.refuse(format!("a result of the shape {out:?}")));
    }
    let taps = Taps {
        before: &before,
        out: &out,
        first: 2,
        kernel: &kernel,
        stride: &windows.stride,
        dilation: &windows.dilation,
        pads: &windows.pads,
    };
    let mut chain = Chain::of(node);
    let x = chain.shaped(node, 0, folded(&before))?;
    let fill = if join == Binary::Max { f32::NEG_INFINITY } else { 0.0 };
    let counts_all = node.int("count_include_pad", 0) != 0;
    let mut counts = vec![0.0f32; out.iter().product()];
    let mut all: Option<Part> = None;
    for tap in 0..taps_in_all {
        let found = taps.of(node, tap)?;
        found.iter().zip(&mut counts).for_each(|(&at, count)| *count += f32::from(counts_all || at != NOWHERE));
        let part = chain.pick(&x, found, fill, folded(&out));
        all = Some(match all {
            Some(all) => chain.binary(join, &all, &part),
            None => part,
        });
    }
    let mut y = all.ok_or_else(|| node.refuse("an empty window"))?;
    if join == Binary::Add {
        let shares = counts.iter().map(|count| 1.0 / count.max(1.0)).collect();
        let shares = Part::constant(Literal::float(folded(&out), shares));
        y = chain.binary(Binary::Mul, &y, &shares);
    }
    chain.done(&y, out)
}

/// The p-th root of sums of p-th powers.
fn lp_pool(node: &Node) -> Result<Lowered> {
    let mut chain = Chain::of(node);
    let (x, before) = planes(node, &mut chain)?;
    let Windows { kernel, stride, dilation, exact, out, .. } = windows(node, plane(&x.shape))?;
    let powers = powers(node, &mut chain, &x);
    let channels = x.shape[1];
    if grown(&[channels, kernel[0], kernel[1]], 0).is_none() {
        return Err(node.refuse(format!("a window of {kernel:?} over {channels} channels")));
    }
    let ones = vec![1.0; channels * kernel[0] * kernel[1]];
    let ones = Part::constant(Literal::float(vec![channels, 1, kernel[0], kernel[1]], ones));
    let op = Op::Convolution { stride, padding: exact, dilation, groups: channels };
    let sums = chain.step(op, &[&powers, &ones], vec![x.shape[0], channels, out[0], out[1]]);
    let y = root(node, &mut chain, &sums);
    chain.done(&y, pooled(&before, out))
}

fn powers(node: &Node, chain: &mut Chain, x: &Part) -> Part {
    let size = chain.unary(Unary::Abs, x);
    match node.int("p", 2) {
        1 => size,
        p => chain.unary(Unary::Power(p as f32), &size),
    }
}

fn root(node: &Node, chain: &mut Chain, sums: &Part) -> Part {
    match node.int("p", 2) {
        1 => sums.clone(),
        2 => chain.root(sums, Unary::Sqrt),
        p => chain.root(sums, Unary::Power(1.0 / p as f32)),
    }
}

fn global_lp_pool(node: &Node) -> Result<Lowered> {
    let mut chain = Chain::of(node);
    let (x, before) = planes(node, &mut chain)?;
    let powers = powers(node, &mut chain, &x);
    let sums = chain.reduce(Reduction::Sum, &powers, &[2, 3]);
    let y = root(node, &mut chain, &sums);
    chain.done(&y, pooled(&before, [1, 1]))
}

fn average_pool(node: &Node) -> Result<Lowered> {
    if node.dims(0)?.len() == 5 {
        return by_taps(node, Binary::Add);
    }
    let mut chain = Chain::of(node);
    let (x, before) = planes(node, &mut chain)?;
    let plane = plane(&x.shape);
    let Windows { kernel, stride, dilation, padding, exact, out } = windows(node, plane)?;
    let include = node.int("count_include_pad", 0) != 0;
    let lists = [[out[0], out[1]], [out[0], kernel[0]], [out[1], kernel[1]]];
    let kernels = [x.shape[1], kernel[0], kernel[1]];
    if lists.iter().any(|sides| grown(sides, 0).is_none()) || (dilation != [1, 1] && grown(&kernels, 0).is_none()) {
        return Err(node.refuse(format!("a window of {kernel:?} at {out:?} places")));
    }
    // How many positions of each window count: padding counts if asked for, what ceil_mode adds beyond it never does.
    let counts = |i: usize| -> Vec<f32> {
        let (low, high) =
            if include { (0, plane[i] + padding[i].0 + padding[i].1) } else { (padding[i].0, padding[i].0 + plane[i]) };
        let taps = |o: usize| (0..kernel[i]).map(move |tap| o * stride[i] + tap * dilation[i]);
        (0..out[i]).map(|o| taps(o).filter(|at| (low..high).contains(at)).count() as f32).collect()
    };
    let area = (kernel[0] * kernel[1]) as f32;
    let (rows, columns) = (counts(0), counts(1));
    let corrections: Vec<f32> = rows.iter().flat_map(|r| columns.iter().map(move |c| area / (r * c))).collect();
    let is_corrected = corrections.iter().any(|&c| c != 1.0);
    let shape = vec![x.shape[0], x.shape[1], out[0], out[1]];
    let corrections = Part::constant(Literal::float(vec![1, 1, out[0], out[1]], corrections));
    if dilation != [1, 1] {
        // Pooling with holes is a convolution of each channel by itself.
        let channels = x.shape[1];
        let kernels = vec![1.0 / area; channels * kernel[0] * kernel[1]];
        let kernels = Part::constant(Literal::float(vec![channels, 1, kernel[0], kernel[1]], kernels));
        let op = Op::Convolution { stride, padding: exact, dilation, groups: channels };
        let sums = chain.step(op, &[&x, &kernels], shape);
        let y = chain.binary(Binary::Mul, &sums, &corrections);
        return chain.done(&y, pooled(&before, out));
    }
    let inputs = if is_corrected { vec![&x, &corrections] } else { vec![&x] };
    let y = chain.step(Op::AveragePool { kernel, stride, padding: exact }, &inputs, shape);
    chain.done(&y, pooled(&before, out))
}

fn global(node: &Node, kind: Reduction) -> Result<Lowered> {
    let before = node.dims(0)?;
    if before.len() < 3 {
        return Err(node.refuse(format!("its input {before:?} has no positions")));
    }
    if before.len() > 4 {
        let mut chain = Chain::of(node);
        let x = chain.shaped(node, 0, vec![before[0], before[1], before[2..].iter().product()])?;
        let y = chain.reduce(kind, &x, &[2]);
        return chain.done(&y, [&before[..2], &vec![1; before.len() - 2]].concat());
    }
    let x = node.value(0)?;
    let axes = (2..before.len()).map(|axis| device_axis(axis, before.len())).collect();
    let shape = [&before[..2], &vec![1; before.len() - 2]].concat();
    step(Op::Reduce { kind, axes }, vec![Input::Value(x.id)], shape)
}

fn global_average_pool(node: &Node) -> Result<Lowered> {
    global(node, Reduction::Mean)
}

fn global_max_pool(node: &Node) -> Result<Lowered> {
    global(node, Reduction::Max)
}
