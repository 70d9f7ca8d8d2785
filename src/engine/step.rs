//! Runs one step of a plan on burn: the definition that everything faster is tested against.
//!
//! Whose tensors these are is settled by the module around this one: the CPU's, or burn's on a graphics card.

use super::tape::stretched_sum;
use super::tensor::module::{avg_pool2d, conv2d, max_pool2d};
use super::tensor::ops::{AvgPoolOptions, ConvOptions, MaxPoolOptions, PadMode};
use super::tensor::{Gradients, Slice, Tensor, activation, picked, product};
use crate::plan::{Binary, Op, Reduction, Unary};

/// Runs `op` on its operands.
///
/// `shape` is the four-dimensional shape of the result, the batch included.
pub(crate) fn run(op: &Op, operands: &[Tensor<4>], shape: [usize; 4]) -> Tensor<4> {
    let x = operands[0].clone();
    let operand = |index: usize| operands[index].clone();
    match op {
        Op::Convolution { stride, padding, dilation, groups } => {
            let bias = operands.get(2).map(|bias| flat(bias.clone()));
            conv2d(x, operand(1), bias, ConvOptions::new_with_padding(*stride, *padding, *dilation, *groups))
        }
        Op::Linear { transposed } => {
            let matrix = if *transposed { operand(1).swap_dims(2, 3) } else { operand(1) };
            let out = product(x, matrix);
            match operands.get(2) {
                Some(bias) => out.add(bias.clone()),
                None => out,
            }
        }
        Op::MaxPool { kernel, stride, padding, dilation } => max_pool2d(
            x,
            MaxPoolOptions {
                kernel_size: *kernel,
                stride: *stride,
                padding: *padding,
                dilation: *dilation,
                ceil_mode: false,
            },
        ),
        Op::AveragePool { kernel, stride, padding } => {
            let [(top, bottom), (left, right)] = *padding;
            let padded = match [top, bottom, left, right] {
                [0, 0, 0, 0] => x,
                _ => x.pad([(0, 0), (0, 0), (top, bottom), (left, right)], PadMode::Constant(0.0)),
            };
            let mean = avg_pool2d(
                padded,
                AvgPoolOptions {
                    kernel_size: *kernel,
                    stride: *stride,
                    padding: [(0, 0); 2],
                    count_include_pad: true,
                    ceil_mode: false,
                },
            );
            match operands.get(1) {
                Some(correction) => mean.mul(correction.clone()),
                None => mean,
            }
        }
        Op::Affine => x.mul(operand(1)).add(operand(2)),
        Op::Normalize { axes, epsilon } => {
            let mean = |t: Tensor<4>| axes.iter().fold(t, |t, &axis| t.mean_dim(axis));
            let centred = x.clone().sub(mean(x));
            let variance = mean(centred.clone().mul(centred.clone()));
            let mut out = centred.div(variance.add_scalar(*epsilon).sqrt());
            if let Some(scale) = operands.get(1) {
                out = out.mul(scale.clone());
            }
            if let Some(shift) = operands.get(2) {
                out = out.add(shift.clone());
            }
            out
        }
        Op::LocalResponse { size, alpha, beta, bias } => {
            let channels = x.dims()[1];
            let before = (size - 1) / 2;
            let squares = x
                .clone()
                .mul(x.clone())
                .pad([(0, 0), (before, size - 1 - before), (0, 0), (0, 0)], PadMode::Constant(0.0));
            let sum = (1..*size).fold(squares.clone().narrow(1, 0, channels), |sum, offset| {
                sum.add(squares.clone().narrow(1, offset, channels))
            });
            x.div(sum.mul_scalar(alpha / *size as f32).add_scalar(*bias).powf_scalar(*beta))
        }
        Op::Unary(unary) => run_unary(*unary, x),
        Op::Binary(binary) => {
            let y = operand(1);
            match binary {
                Binary::Add => x.add(y),
                Binary::Sub => x.sub(y),
                Binary::Mul => x.mul(y),
                Binary::Div => x.div(y),
                Binary::Pow => x.powf(y),
                Binary::Min => x.min_pair(y),
                Binary::Max => x.max_pair(y),
                Binary::Keep => y.expand(shape).mask_fill(x.expand(shape).equal_elem(0.0), 0.0),
            }
        }
        // max(x, 0) + slope·min(x, 0), which also serves slopes that burn's own PReLU can't broadcast.
        Op::Prelu => {
            let negative = x.clone().clamp_max(0.0);
            activation::relu(x).add(negative.mul(operand(1)))
        }
        Op::Softmax { axis, flatten, log } => {
            let dims = x.dims();
            let (x, axis) = if *flatten {
                let outer: usize = dims[..*axis].iter().product();
                (x.reshape([1, 1, outer, dims[*axis..].iter().product()]), 3)
            } else {
                (x, *axis)
            };
            let out = if *log { activation::log_softmax(x, axis) } else { activation::softmax(x, axis) };
            out.reshape(dims)
        }
        Op::Reduce { kind, axes } => {
            let reduced = axes.iter().fold(x, |t, &axis| match kind {
                Reduction::Mean => t.mean_dim(axis),
                Reduction::Sum => t.sum_dim(axis),
                Reduction::Max => t.max_dim(axis),
            });
            reduced.reshape(shape)
        }
        Op::Reshape => x.reshape(shape),
        Op::Permute(axes) => x.permute(*axes),
        Op::Rearrange { dims, permutation } => rearrange(x, dims, permutation, shape),
        Op::Concat { axis } => {
            // A constant, such as a class token, is that of every image.
            let spread = |part: &Tensor<4>| {
                let mut own = shape;
                own[*axis] = part.dims()[*axis];
                part.clone().expand(own)
            };
            Tensor::cat(operands.iter().map(spread).collect(), *axis)
        }
        Op::Slice { axis, start, end, step } => {
            let mut slices = [Slice::full(); 4];
            slices[*axis] = Slice::new(*start as isize, Some(*end as isize), *step as isize);
            x.slice(slices)
        }
        Op::Select { axis, indices } => {
            Tensor::cat(indices.iter().map(|&index| x.clone().narrow(*axis, index, 1)).collect(), *axis)
        }
        Op::Pad { padding, value } => x.pad(*padding, PadMode::Constant(*value)),
        Op::PadEdge { padding, reflect } => x.pad(*padding, if *reflect { PadMode::Reflect } else { PadMode::Edge }),
        Op::Expand => x.expand(shape),
        Op::Pick { places, fill } => picked(x, places, *fill, shape),
        Op::Resample => product(product(operand(1), x), operand(2)),
        // Rounding has no useful gradient: it passes straight through, as in quantisation-aware training.
        Op::Quantize { low, high } => {
            let ratio = x.div(operand(1));
            let levels = ratio.clone().add(operand(2)).clamp(*low, *high);
            // The zero point joins after rounding: an odd one would turn halves the other way.
            let rounded = ratio.detach().round().add(operand(2)).clamp(*low, *high);
            levels.clone().add(rounded.sub(levels.detach()))
        }
        Op::Dequantize => x.sub(operand(2)).mul(operand(1)),
        Op::Back { op, operand } => {
            let (gradient, given) = operands.split_last().expect("the gradient is the last operand");
            let mut leaves: Vec<Tensor<4>> = given.iter().map(|tensor| tensor.clone().autodiff()).collect();
            leaves[*operand] = leaves[*operand].clone().require_grad();
            let result = run(op, &leaves, gradient.dims());
            let share = back(result, gradient.clone()).and_then(|mut tape| leaves[*operand].grad_remove(&mut tape));
            share.unwrap_or_else(|| given[*operand].zeros_like()).reshape(shape)
        }
        Op::StretchedSum => {
            let channels = x.dims()[1];
            stretched_sum(x.mul(operand(1).reshape([1, channels, 1, 1])))
        }
    }
}

/// The tape's way back from the gradient by a result; nothing where the result changes by no operand on the tape, as a comparison's.
pub(crate) fn back(result: Tensor<4>, gradient: Tensor<4>) -> Option<Gradients> {
    result.is_tracked().then(|| result.mul(gradient.autodiff()).sum().backward())
}

fn run_unary(unary: Unary, x: Tensor<4>) -> Tensor<4> {
    match unary {
        Unary::Relu => activation::relu(x),
        // At 0 the slope is that of the negative side, as PyTorch's is; of burn's own function it is 1.
        Unary::LeakyRelu(slope) => activation::relu(x.clone()).add(x.clamp_max(0.0).mul_scalar(slope)),
        Unary::Clip(low, high) => clip(x, low, high),
        Unary::Sigmoid => activation::sigmoid(x),
        Unary::HardSigmoid(alpha, beta) => clip(x.mul_scalar(alpha).add_scalar(beta), 0.0, 1.0),
        Unary::HardSwish => x.clone().mul(clip(x.mul_scalar(1.0 / 6.0).add_scalar(0.5), 0.0, 1.0)),
        Unary::Swish(alpha) => x.clone().mul(activation::sigmoid(x.mul_scalar(alpha))),
        Unary::Elu(alpha) => activation::elu(x, alpha.into()),
        Unary::Selu(alpha, gamma) => activation::elu(x, alpha.into()).mul_scalar(gamma),
        Unary::Gelu => activation::gelu(x),
        Unary::GeluTanh => activation::gelu_approximate(x),
        Unary::Erf => x.erf(),
        Unary::Tanh => x.tanh(),
        Unary::Softplus => activation::softplus(x, 1.0),
        Unary::Softsign => x.clone().div(x.abs().add_scalar(1.0)),
        Unary::Mish => x.clone().mul(activation::softplus(x, 1.0).tanh()),
        Unary::Sqrt => x.sqrt(),
        Unary::Exp => x.exp(),
        Unary::Log => x.log(),
        Unary::Abs => x.abs(),
        Unary::Neg => x.neg(),
        Unary::Reciprocal => x.recip(),
        Unary::Power(2.0) => x.clone().mul(x),
        Unary::Power(exponent) => x.powf_scalar(exponent),
        Unary::Step => x.greater_elem(0.0).float(),
        // As functions of rounded numbers, whose slope is 0 wherever they have one.
        Unary::Floor => x.floor(),
        Unary::Ceil => x.ceil(),
        Unary::Round => x.round(),
        Unary::Sign => x.sign(),
        Unary::Sin => x.sin(),
        Unary::Cos => x.cos(),
        Unary::Tan => x.tan(),
        Unary::Asin => x.asin(),
        Unary::Acos => x.acos(),
        Unary::Atan => x.atan(),
        Unary::Sinh => x.sinh(),
        Unary::Cosh => x.cosh(),
        Unary::Asinh => x.asinh(),
        Unary::Acosh => x.acosh(),
        Unary::Atanh => x.atanh(),
    }
}

/// To `low..=high`. At both ends the slope is 0, as of PyTorch's ReLU6 and its kin, where burn's is 1.
fn clip(x: Tensor<4>, low: f32, high: f32) -> Tensor<4> {
    let clipped = match (low.is_finite(), high.is_finite()) {
        (true, true) => x.clone().clamp(low, high),
        (true, false) => x.clone().clamp_min(low),
        (false, true) => x.clone().clamp_max(high),
        (false, false) => return x,
    };
    if !x.is_tracked() {
        return clipped;
    }
    let still = x.clone().detach();
    let inside = still.clone().greater_elem(low).float().mul(still.neg().greater_elem(-high).float());
    let straight = x.mul(inside);
    clipped.detach().add(straight.clone().sub(straight.detach()))
}

/// A bias `[1, 1, 1, O]` as burn's convolution takes it.
fn flat(bias: Tensor<4>) -> Tensor<1> {
    let channels = bias.dims()[3];
    bias.reshape([channels])
}

fn rearrange(x: Tensor<4>, dims: &[usize], permutation: &[usize], shape: [usize; 4]) -> Tensor<4> {
    fn through<const D: usize>(x: Tensor<4>, dims: &[usize], permutation: &[usize], shape: [usize; 4]) -> Tensor<4> {
        // The first axis is the batch, which the plan counts as one image.
        let mut dims: [usize; D] = dims.try_into().expect("the caller chose D by this length");
        let rest: usize = dims[1..].iter().product();
        dims[0] = x.dims().iter().product::<usize>() / rest;
        let permutation: [usize; D] = permutation.try_into().expect("as long as dims");
        x.reshape(dims).permute(permutation).reshape(shape)
    }
    match dims.len() {
        5 => through::<5>(x, dims, permutation, shape),
        6 => through::<6>(x, dims, permutation, shape),
        _ => through::<7>(x, dims, permutation, shape),
    }
}
