//! Products of matrices and convolutions, on the kernels, forwards and backwards; and pooling.

use std::rc::Rc;

use super::Tensor;
use crate::formula::{Rectifier, Window};
use crate::kernels::{After, Convolution, Depthwise, Order, Planes, add_scaled, from_planes, to_planes};
use crate::plan::NOWHERE as NONE;

/// How a convolution moves.
#[derive(Clone, Copy, Debug)]
pub struct ConvOptions {
    stride: [usize; 2],
    padding: [(usize, usize); 2],
    dilation: [usize; 2],
    groups: usize,
}

impl ConvOptions {
    /// `padding` is what stands before and after rows and columns.
    pub fn new_with_padding(
        stride: [usize; 2],
        padding: [(usize, usize); 2],
        dilation: [usize; 2],
        groups: usize,
    ) -> ConvOptions {
        ConvOptions { stride, padding, dilation, groups }
    }
}

/// How the window of a maximum moves. What is outside never is the greatest.
#[derive(Clone, Copy, Debug)]
pub struct MaxPoolOptions {
    pub kernel_size: [usize; 2],
    pub stride: [usize; 2],
    pub padding: [(usize, usize); 2],
    pub dilation: [usize; 2],
    pub ceil_mode: bool,
}

/// How the window of a mean moves. What is outside counts as zeros.
#[derive(Clone, Copy, Debug)]
pub struct AvgPoolOptions {
    pub kernel_size: [usize; 2],
    pub stride: [usize; 2],
    pub padding: [(usize, usize); 2],
    pub count_include_pad: bool,
    pub ceil_mode: bool,
}

/// Operations with windows.
pub mod module {
    pub use super::{avg_pool2d, conv2d, max_pool2d};
}

/// How many places a window has along an axis.
fn places(size: usize, kernel: usize, stride: usize, (before, after): (usize, usize), dilation: usize) -> usize {
    (size + before + after - dilation * (kernel - 1) - 1) / stride + 1
}

/// A convolution of one image, `[C, H, W]` to `[O, h, w]`.
#[derive(Clone, Debug)]
struct Moves {
    /// C, H, W.
    input: [usize; 3],
    /// O, h, w.
    output: [usize; 3],
    kernel: [usize; 2],
    stride: [usize; 2],
    before: [usize; 2],
    dilation: [usize; 2],
    groups: usize,
}

impl Moves {
    /// By how much the last number of a window lies behind its first.
    fn reach(&self, axis: usize) -> usize {
        self.dilation[axis] * (self.kernel[axis] - 1)
    }

    /// Weights `[O, C / groups, kh, kw]`.
    fn forward(&self, image: &[f32], weights: &[f32]) -> Vec<f32> {
        let [_, h, w] = self.output;
        let lattice = [(h - 1) * self.stride[0] + self.reach(0) + 1, (w - 1) * self.stride[1] + self.reach(1) + 1];
        let before = self.before.map(|before| before as isize);
        let window = Window { kernel: self.kernel, stride: self.stride, padding: [0, 0], dilation: self.dilation };
        convolve(self.groups, (image, self.input, before, [1, 1]), lattice, window, weights, self.output)
    }

    /// The gradient by the image: what each number of the gradient was computed from gets its share, which is a
    /// convolution with the weights turned round of the gradient with gaps for the stride.
    fn back_to_image(&self, gradient: &[f32], weights: &[f32]) -> Vec<f32> {
        let [channels, height, width] = self.input;
        let [outputs, ..] = self.output;
        let [kh, kw] = self.kernel;
        let (inputs, outputs) = (channels / self.groups, outputs / self.groups);
        let area = kh * kw;
        let mut turned = Vec::with_capacity(weights.len());
        for group in weights.chunks_exact(outputs * inputs * area) {
            for input in 0..inputs {
                for output in 0..outputs {
                    turned.extend(group[(output * inputs + input) * area..][..area].iter().rev());
                }
            }
        }
        let lattice = [height + self.reach(0), width + self.reach(1)];
        let before = [0, 1].map(|axis| self.reach(axis) as isize - self.before[axis] as isize);
        let window = Window { kernel: self.kernel, stride: [1, 1], padding: [0, 0], dilation: self.dilation };
        convolve(self.groups, (gradient, self.output, before, self.stride), lattice, window, &turned, self.input)
    }

    /// The gradient by the weights, added to `found`.
    fn back_to_weights(&self, gradient: &[f32], image: &[f32], found: &mut [f32]) {
        let [channels, height, width] = self.input;
        let [outputs, h, w] = self.output;
        let [kh, kw] = self.kernel;
        let (inputs, per_group) = (channels / self.groups, outputs / self.groups);
        for (at, found) in found.iter_mut().enumerate() {
            let (output, input, ky, kx) = (at / (inputs * kh * kw), at / (kh * kw) % inputs, at / kw % kh, at % kw);
            let plane = &image[(output / per_group * inputs + input) * height * width..][..height * width];
            for y in 0..h {
                let from_y = (y * self.stride[0] + ky * self.dilation[0]).wrapping_sub(self.before[0]);
                for x in 0..w {
                    let from_x = (x * self.stride[1] + kx * self.dilation[1]).wrapping_sub(self.before[1]);
                    if from_y < height && from_x < width {
                        *found += gradient[(output * h + y) * w + x] * plane[from_y * width + from_x];
                    }
                }
            }
        }
    }
}

/// Convolves an image that is laid out on a lattice of zeros, its first pixel at `before` (which may be negative: what lies
/// outside the lattice is in no window) and each next one `apart` further on.
fn convolve(
    groups: usize,
    (image, [channels, height, width], before, apart): (&[f32], [usize; 3], [isize; 2], [usize; 2]),
    [rows, columns]: [usize; 2],
    window: Window,
    weights: &[f32],
    [outputs, h, w]: [usize; 3],
) -> Vec<f32> {
    // One channel for each is a kernel of its own.
    let depthwise = groups == channels && groups == outputs;
    let parts = if depthwise { 1 } else { groups };
    let (channels, outputs) = (channels / parts, outputs / parts);
    let planes = |start: usize, height: usize, width: usize, channels: usize| {
        let pixel = channels.next_multiple_of(4);
        Planes { start, row: width * pixel, pixel, height, width, channels }
    };
    let input = planes(0, rows, columns, channels);
    let output = planes(rows * input.row, h, w, outputs);
    let mut memory = vec![0.; output.start + h * output.row];
    let after = After { bias: vec![0.; outputs], affine: None, addend: None, rectifier: Rectifier::PLAIN };
    let mut found = Vec::with_capacity(parts * outputs * h * w);
    let area = height * width;
    let images = image.chunks_exact(channels * area);
    // Where the image lies, if it does not stand over the edge.
    let first = |axis: usize, size: usize, count: usize| {
        usize::try_from(before[axis]).ok().filter(|first| first + (count - 1) * apart[axis] < size)
    };
    let inside = first(0, rows, height).zip(first(1, columns, width)).map(|(row, column)| Planes {
        start: row * input.row + column * input.pixel,
        row: apart[0] * input.row,
        pixel: apart[1] * input.pixel,
        height,
        width,
        channels,
    });
    for (image, weights) in images.zip(weights.chunks_exact(weights.len() / parts)) {
        match inside {
            Some(planes) => from_planes(&mut memory, planes, image),
            None => {
                let on = |axis: usize, i: usize, size: usize| {
                    usize::try_from(before[axis] + (i * apart[axis]) as isize).ok().filter(|&place| place < size)
                };
                for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
                    let (Some(row), Some(column)) = (on(0, y, rows), on(1, x, columns)) else { continue };
                    let pixel = &mut memory[row * input.row + column * input.pixel..][..channels];
                    let numbers = image[y * width + x..].iter().step_by(area);
                    pixel.iter_mut().zip(numbers).for_each(|(pixel, number)| *pixel = *number);
                }
            }
        }
        let pack = &|order: Order| order.pack(weights, &after.bias);
        if depthwise {
            Depthwise::new([input, output], window, pack, &after).run(&mut memory);
        } else {
            Convolution::new([input, output], window, 1, pack, &after).run(&mut memory);
        }
        found.extend(to_planes(&memory, output));
    }
    found
}

/// One behind the other; a single one as it is.
fn joined(mut parts: impl Iterator<Item = Vec<f32>>) -> Vec<f32> {
    let mut all = parts.next().unwrap_or_default();
    parts.for_each(|part| all.extend(part));
    all
}

/// `[N, C, H, W]` by `[O, C / groups, kh, kw]` to `[N, O, h, w]`; the bias has one number for each output.
pub fn conv2d(x: Tensor<4>, weights: Tensor<4>, bias: Option<Tensor<1>>, options: ConvOptions) -> Tensor<4> {
    let ConvOptions { stride, padding, dilation, groups } = options;
    let [images, channels, height, width] = x.shape;
    let [outputs, _, kh, kw] = weights.shape;
    let moves = Rc::new(Moves {
        input: [channels, height, width],
        output: [
            outputs,
            places(height, kh, stride[0], padding[0], dilation[0]),
            places(width, kw, stride[1], padding[1], dilation[1]),
        ],
        kernel: [kh, kw],
        stride,
        before: padding.map(|(before, _)| before),
        dilation,
        groups,
    });
    let [_, h, w] = moves.output;
    let (before, after) = (channels * height * width, outputs * h * w);
    let values = joined(x.values.chunks_exact(before).map(|image| moves.forward(image, &weights.values)));
    let to_image = x.origin(|| {
        let (moves, weights) = (moves.clone(), weights.values.clone());
        Box::new(move |gradient| {
            joined(gradient.chunks_exact(after).map(|gradient| moves.back_to_image(gradient, &weights)))
        })
    });
    let to_weights = weights.origin(|| {
        let (moves, x, count) = (moves.clone(), x.values.clone(), weights.values.len());
        Box::new(move |gradient| {
            let mut found = vec![0.; count];
            for (gradient, image) in gradient.chunks_exact(after).zip(x.chunks_exact(before)) {
                moves.back_to_weights(gradient, image, &mut found);
            }
            found
        })
    });
    let origins = [to_image, to_weights].into_iter().flatten().collect();
    let sums = Tensor::computed([images, outputs, h, w], values, origins);
    match bias {
        Some(bias) => sums.add(bias.reshape([1, outputs, 1, 1])),
        None => sums,
    }
}

/// The greatest number of each window.
pub fn max_pool2d(x: Tensor<4>, options: MaxPoolOptions) -> Tensor<4> {
    let MaxPoolOptions { kernel_size: [kh, kw], stride, padding, dilation, ceil_mode } = options;
    assert!(!ceil_mode, "no window ends outside");
    let [images, channels, height, width] = x.shape;
    let h = places(height, kh, stride[0], padding[0], dilation[0]);
    let w = places(width, kw, stride[1], padding[1], dilation[1]);
    // The places of a window that lie inside.
    let inside = |axis: usize, at: usize, size: usize, kernel: usize| -> Vec<usize> {
        let along = |k: usize| (at * stride[axis] + k * dilation[axis]).wrapping_sub(padding[axis].0);
        (0..kernel).map(along).filter(|&place| place < size).collect()
    };
    let columns: Vec<Vec<usize>> = (0..w).map(|at| inside(1, at, width, kw)).collect();
    let mut index = Vec::with_capacity(images * channels * h * w);
    for plane in 0..images * channels {
        for at in 0..h {
            let rows = inside(0, at, height, kh);
            for columns in &columns {
                let start = plane * height * width;
                // With gaps, a window can lie in the padding alone.
                let (Some(first_row), Some(first_column)) = (rows.first(), columns.first()) else {
                    index.push(NONE);
                    continue;
                };
                let mut best = start + first_row * width + first_column;
                for place in rows.iter().flat_map(|row| columns.iter().map(move |column| start + row * width + column))
                {
                    let (number, greatest) = (x.values[place], x.values[best]);
                    if number > greatest || (number.is_nan() && !greatest.is_nan()) {
                        best = place;
                    }
                }
                index.push(best as u32);
            }
        }
    }
    x.picked([images, channels, h, w], index, f32::NEG_INFINITY)
}

/// The mean of each window.
pub fn avg_pool2d(x: Tensor<4>, options: AvgPoolOptions) -> Tensor<4> {
    let AvgPoolOptions { kernel_size: [kh, kw], stride, padding, count_include_pad, ceil_mode } = options;
    assert!(count_include_pad && !ceil_mode, "what is outside counts, and no window ends there");
    let channels = x.shape[1];
    let weights = vec![1. / (kh * kw) as f32; channels * kh * kw];
    let options = ConvOptions::new_with_padding(stride, padding, [1, 1], channels);
    conv2d(x, Tensor::made([channels, 1, kh, kw], weights), None, options)
}

/// `[rows, K]` by the transpose of `[columns, K]`.
fn product(a: &[f32], b: &[f32], length: usize) -> Vec<f32> {
    let (rows, columns) = (a.len() / length, b.len() / length);
    let pixel = columns.next_multiple_of(4);
    let input = Planes { start: 0, row: length, pixel: length, height: rows, width: 1, channels: length };
    let output = Planes { start: a.len(), row: pixel, pixel, height: rows, width: 1, channels: columns };
    // Whole vectors are looked for behind the last number.
    let mut memory = vec![0.; a.len() + (rows * pixel).max(4)];
    memory[..a.len()].copy_from_slice(a);
    let after = After { bias: vec![0.; columns], affine: None, addend: None, rectifier: Rectifier::PLAIN };
    Convolution::new([input, output], Window::PIXEL, 1, &|order| order.pack(b, &after.bias), &after).run(&mut memory);
    output.pixels().flat_map(|at| &memory[at..][..columns]).copied().collect()
}

/// The sum of the rows of a matrix, each times its weight.
fn weighted_sum(weights: &[f32], matrix: &[f32]) -> Vec<f32> {
    let mut sums = vec![0.; matrix.len() / weights.len()];
    for (&weight, row) in weights.iter().zip(matrix.chunks_exact(sums.len())) {
        add_scaled(&mut sums, row, weight);
    }
    sums
}

fn transposed(matrix: &[f32], columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|column| matrix[column..].iter().step_by(columns)).copied().collect()
}

impl<const D: usize> Tensor<D> {
    /// `[.., n, K]` by `[.., K, m]`; the axes before broadcast.
    pub fn matmul(self, other: Self) -> Self {
        let [n, length] = [self.shape[D - 2], self.shape[D - 1]];
        let m = other.shape[D - 1];
        assert_eq!(other.shape[D - 2], length, "{:?} by {:?}", self.shape, other.shape);
        let mut shape: [usize; D] = std::array::from_fn(|axis| self.shape[axis].max(other.shape[axis]));
        (shape[D - 2], shape[D - 1]) = (n, m);
        // Which matrices each product is of.
        let count: usize = shape[..D - 2].iter().product();
        let pairs: Rc<Vec<[usize; 2]>> = Rc::new(
            (0..count)
                .map(|product| {
                    let (mut rest, mut at, mut distance) = (product, [0, 0], [1, 1]);
                    for axis in (0..D - 2).rev() {
                        let position = rest % shape[axis];
                        rest /= shape[axis];
                        for (side, size) in [self.shape[axis], other.shape[axis]].into_iter().enumerate() {
                            at[side] += if size == 1 { 0 } else { position * distance[side] };
                            distance[side] *= size;
                        }
                    }
                    at
                })
                .collect(),
        );
        let (of_a, of_b, of_c) = (n * length, length * m, n * m);
        let mut values = Vec::with_capacity(count * of_c);
        for &[a, b] in pairs.iter() {
            let (a, b) = (&self.values[a * of_a..][..of_a], &other.values[b * of_b..][..of_b]);
            values.extend(if n == 1 { weighted_sum(a, b) } else { product(a, &transposed(b, m), length) });
        }
        let add = |sums: &mut [f32], found: Vec<f32>| sums.iter_mut().zip(found).for_each(|(sum, found)| *sum += found);
        let to_a = self.origin(|| {
            let (pairs, b, numbers) = (pairs.clone(), other.values.clone(), self.values.len());
            Box::new(move |gradient| {
                let mut found = vec![0.; numbers];
                for (&[at, matrix], gradient) in pairs.iter().zip(gradient.chunks_exact(of_c)) {
                    add(&mut found[at * of_a..][..of_a], product(gradient, &b[matrix * of_b..][..of_b], m));
                }
                found
            })
        });
        let to_b = other.origin(|| {
            let (pairs, a, numbers) = (pairs.clone(), self.values.clone(), other.values.len());
            Box::new(move |gradient| {
                let mut found = vec![0.; numbers];
                for (&[matrix, at], gradient) in pairs.iter().zip(gradient.chunks_exact(of_c)) {
                    let a = transposed(&a[matrix * of_a..][..of_a], length);
                    add(&mut found[at * of_b..][..of_b], product(&a, &transposed(gradient, m), n));
                }
                found
            })
        });
        Tensor::computed(shape, values, [to_a, to_b].into_iter().flatten().collect())
    }
}
