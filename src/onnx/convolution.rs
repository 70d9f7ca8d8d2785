//! Convolutions and linear layers.

use super::host::{Host, broadcast_shape};
use super::node::{Built, Draft, Input, Node, Table, step};
use super::view;
use crate::Result;
use crate::network::plan::Op;

pub(super) const TABLE: Table = &[("Conv", convolution), ("Gemm", gemm), ("MatMul", matmul)];

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
            let pads = node.ints("pads").unwrap_or_else(|| vec![0; 4]);
            match pads[..] {
                [left, right] if node.shape(0)?.len() == 3 && pads.iter().all(|p| (0..1 << 16).contains(p)) => {
                    Ok([(0, 0), (left as usize, right as usize)])
                }
                [top, left, bottom, right] if pads.iter().all(|p| (0..1 << 16).contains(p)) => {
                    Ok([(top as usize, bottom as usize), (left as usize, right as usize)])
                }
                _ => Err(node.refuse(format!("pads {pads:?}; four numbers from 0 are accepted"))),
            }
        }
        "VALID" => Ok([(0, 0); 2]),
        "SAME_UPPER" | "SAME_LOWER" => Ok(std::array::from_fn(|i| {
            let out = input[i].div_ceil(stride[i]);
            let total = ((out - 1) * stride[i] + window[i]).saturating_sub(input[i]);
            let (small, large) = (total / 2, total - total / 2);
            if auto == "SAME_UPPER" { (small, large) } else { (large, small) }
        })),
        other => Err(node.refuse(format!("auto_pad {other}; NOTSET, VALID, SAME_UPPER and SAME_LOWER are accepted"))),
    }
}

/// How far a kernel reaches with its dilation.
pub(super) fn window(kernel: [usize; 2], dilation: [usize; 2]) -> [usize; 2] {
    std::array::from_fn(|i| (kernel[i] - 1) * dilation[i] + 1)
}

pub(super) fn convolution(node: &Node) -> Result<Built> {
    let x = node.value(0)?;
    let weights = node.required_constant(1, "the kernel")?;
    // Along one axis, as in ECA-Net, it is one over a plane of height 1.
    let is_line = x.shape.len() == 3;
    let (n, channels, height, width) = match x.shape[..] {
        [n, channels, height, width] => (n, channels, height, width),
        [n, channels, width] => (n, channels, 1, width),
        _ => return Err(node.refuse(format!("its input has {} axes; three or four are accepted", x.shape.len()))),
    };
    let (out, per_group, kh, kw) = match weights.shape[..] {
        [out, per_group, kh, kw] if !is_line => (out, per_group, kh, kw),
        [out, per_group, kw] if is_line => (out, per_group, 1, kw),
        _ => {
            return Err(node.refuse(format!("a kernel with {} axes; {} are accepted", weights.rank(), x.shape.len())));
        }
    };
    let groups = node.int("group", 1).max(0) as usize;
    if groups == 0 || !channels.is_multiple_of(groups) || !out.is_multiple_of(groups) || channels / groups != per_group
    {
        return Err(
            node.refuse(format!("group {groups} and a kernel for {per_group} channels do not fit {channels} channels"))
        );
    }
    if kh * kw * out == 0 {
        return Err(node.refuse(format!("the kernel's shape {:?}", weights.shape)));
    }
    let (stride, dilation) = (node.pair("strides", 1, 1)?, node.pair("dilations", 1, 1)?);
    let window = window([kh, kw], dilation);
    let padding = padding(node, [height, width], window, stride)?;
    let side = |i: usize, length: usize| {
        (length + padding[i].0 + padding[i].1).checked_sub(window[i]).map(|room| room / stride[i] + 1)
    };
    let (Some(oh), Some(ow)) = (side(0, height), side(1, width)) else {
        return Err(node.refuse(format!("a window of {window:?} is larger than its padded input {height}×{width}")));
    };
    let weights = Host::float(vec![out, per_group, kh, kw], weights.floats());
    let mut inputs = vec![if is_line { Input::Previous } else { Input::Value(x.id) }, Input::Constant(weights)];
    if node.has(2) {
        let bias = node.required_constant(2, "the bias")?;
        if bias.len() != out {
            return Err(node.refuse(format!("a bias of {} numbers for {out} channels", bias.len())));
        }
        inputs.push(Input::Constant(Host::float(vec![1, 1, 1, out], bias.floats())));
    }
    let op = Op::Convolution { stride, padding, dilation, groups };
    if !is_line {
        return step(op, inputs, vec![n, out, oh, ow]);
    }
    Ok(Built::Chain(vec![
        Draft { op: Op::Reshape, inputs: vec![Input::Value(x.id)], shape: vec![n, channels, height, width] },
        Draft { op, inputs, shape: vec![n, out, oh, ow] },
        Draft { op: Op::Reshape, inputs: vec![Input::Previous], shape: vec![n, out, ow] },
    ]))
}

fn gemm(node: &Node) -> Result<Built> {
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
    let matrix = if alpha == 1.0 { matrix.rank4() } else { matrix.rank4().map(|v| v * alpha) };
    let mut drafts = vec![];
    let mut first = Input::Value(x.id);
    if turned {
        drafts.push(Draft { op: Op::Permute([0, 1, 3, 2]), inputs: vec![first], shape: vec![rows_in, k_in] });
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
    drafts.push(Draft { op: Op::Linear { transposed }, inputs, shape });
    Ok(Built::Chain(drafts))
}

pub(super) fn matmul(node: &Node) -> Result<Built> {
    if node.dims(0)?.len().max(node.dims(1)?.len()) > 4 {
        return view::product(node);
    }
    let (a, b) = (node.shape(0)?, node.shape(1)?);
    if a.len() < 2 || b.len() < 2 {
        return Err(node.refuse(format!("shapes {a:?} and {b:?}; matrices are accepted")));
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
    Ok(Built::Chain(vec![
        Draft { op: swap.clone(), inputs: vec![Input::Value(node.value(1)?.id)], shape: x },
        Draft {
            op: Op::Linear { transposed: false },
            inputs: vec![Input::Previous, Input::Constant(first.transposed(&swapped).rank4())],
            shape: turned,
        },
        Draft { op: swap, inputs: vec![Input::Previous], shape },
    ]))
}

fn split(shape: &[usize]) -> (&[usize], [usize; 2]) {
    let (batch, matrix) = shape.split_at(shape.len() - 2);
    (batch, [matrix[0], matrix[1]])
}
