//! Pooling.

use super::convolution::{padding, window};
use super::host::Host;
use super::node::{Built, Draft, Input, Node, Table, step};
use crate::Result;
use crate::network::plan::{Binary, Op, Reduction};

pub(super) const TABLE: Table = &[
    ("MaxPool", max_pool),
    ("AveragePool", average_pool),
    ("GlobalAveragePool", global_average_pool),
    ("GlobalMaxPool", global_max_pool),
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

fn max_pool(node: &Node) -> Result<Built> {
    if node.proto.output.len() > 1 && !node.proto.output[1].is_empty() {
        return Err(node.refuse("its second result, the indices, is used; the maxima alone are accepted"));
    }
    let x = node.value_of_rank(0, 4)?;
    let Windows { kernel, stride, dilation, exact, out, .. } = windows(node, plane(&x.shape))?;
    let shape = vec![x.shape[0], x.shape[1], out[0], out[1]];
    step(Op::MaxPool { kernel, stride, padding: exact, dilation }, vec![Input::Value(x.id)], shape)
}

fn average_pool(node: &Node) -> Result<Built> {
    let x = node.value_of_rank(0, 4)?;
    let plane = plane(&x.shape);
    let Windows { kernel, stride, dilation, padding, exact, out } = windows(node, plane)?;
    let include = node.int("count_include_pad", 0) != 0;
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
    let shape = vec![x.shape[0], x.shape[1], out[0], out[1]];
    if dilation != [1, 1] {
        // Pooling with holes is a convolution of each channel by itself.
        let channels = x.shape[1];
        let kernels = vec![1.0 / area; channels * kernel[0] * kernel[1]];
        let kernels = Host::float(vec![channels, 1, kernel[0], kernel[1]], kernels);
        let op = Op::Convolution { stride, padding: exact, dilation, groups: channels };
        let corrections = Input::Constant(Host::float(vec![1, 1, out[0], out[1]], corrections));
        return Ok(Built::Chain(vec![
            Draft { op, inputs: vec![Input::Value(x.id), Input::Constant(kernels)], shape: shape.clone() },
            Draft { op: Op::Binary(Binary::Mul), inputs: vec![Input::Previous, corrections], shape },
        ]));
    }
    let mut inputs = vec![Input::Value(x.id)];
    if corrections.iter().any(|&c| c != 1.0) {
        inputs.push(Input::Constant(Host::float(vec![1, 1, out[0], out[1]], corrections)));
    }
    step(Op::AveragePool { kernel, stride, padding: exact }, inputs, shape)
}

fn global(node: &Node, kind: Reduction) -> Result<Built> {
    let x = node.value_of_rank(0, 4)?;
    step(Op::Reduce { kind, axes: vec![2, 3] }, vec![Input::Value(x.id)], vec![x.shape[0], x.shape[1], 1, 1])
}

fn global_average_pool(node: &Node) -> Result<Built> {
    global(node, Reduction::Mean)
}

fn global_max_pool(node: &Node) -> Result<Built> {
    global(node, Reduction::Max)
}
