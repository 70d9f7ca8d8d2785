//! Products of matrices and convolutions by burn's multiplications and sums.

use burn::tensor::ops::{ConvOptions, PadMode};
use burn::tensor::{Slice, Tensor};

/// How many numbers are multiplied at a time, unless a result has more.
const AT_ONCE: usize = 1 << 24;

/// `[a, b, n, k]` and `[c, d, k, m]`, where a side of one serves for any: `[.., .., n, m]`.
pub(super) fn product(x: Tensor<4>, y: Tensor<4>) -> Tensor<4> {
    let ([a, b, rows, depth], [c, d, _, columns]) = (x.dims(), y.dims());
    let shape = [a.max(c), b.max(d), rows, columns];
    let step = (AT_ONCE / shape.iter().product::<usize>()).clamp(1, depth);
    let part = |start: usize| -> Tensor<5> {
        let length = step.min(depth - start);
        let x = x.clone().narrow(3, start, length).reshape([a, b, rows, 1, length]);
        let y = y.clone().narrow(2, start, length).swap_dims(2, 3).reshape([c, d, 1, columns, length]);
        x.mul(y).sum_dim(4)
    };
    (step..depth).step_by(step).fold(part(0), |sum, start| sum.add(part(start))).reshape(shape)
}

/// Place by place of the windows.
pub(super) fn conv2d(x: Tensor<4>, weights: Tensor<4>, bias: Option<Tensor<1>>, options: ConvOptions<2>) -> Tensor<4> {
    let ConvOptions { stride, padding: [rows, columns], dilation, groups } = options;
    let x = x.pad([(0, 0), (0, 0), rows, columns], PadMode::Constant(0.));
    let ([images, _, height, width], [outputs, depth, rows, columns]) = (x.dims(), weights.dims());
    let side = |i: usize, size: usize, kernel: usize| (size - dilation[i] * (kernel - 1) - 1) / stride[i] + 1;
    let [out_height, out_width] = [side(0, height, rows), side(1, width, columns)];
    let along = |i: usize, at: usize, count: usize| {
        let start = at * dilation[i];
        let end = start + (count - 1) * stride[i] + 1;
        Slice::new(start as isize, Some(end as isize), stride[i] as isize)
    };
    let tap = |y: usize, column: usize| {
        let places = [Slice::full(), Slice::full(), along(0, y, out_height), along(1, column, out_width)];
        let x = x.clone().slice(places).reshape([images, groups, depth, out_height * out_width]);
        let weights = weights.clone().narrow(2, y, 1).narrow(3, column, 1);
        product(weights.reshape([1, groups, outputs / groups, depth]), x)
    };
    let taps = (0..rows * columns).map(|at| tap(at / columns, at % columns));
    let sum = taps.reduce(|sum, tap| sum.add(tap)).expect("a window has a place");
    let sum = sum.reshape([images, outputs, out_height, out_width]);
    match bias {
        Some(bias) => sum.add(bias.reshape([1, outputs, 1, 1])),
        None => sum,
    }
}
