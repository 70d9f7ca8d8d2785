//! The way back through pooling and functions of each number. Convolutions back are convolutions.

use super::simd::F32x4;
use super::{Planes, assert_covering, reach};
use crate::formula::{Function, PoolKind, Rectifier, Window};

/// The gradient by the input of pooling.
pub struct PoolBack {
    /// What was pooled; of sums it is not read.
    input: Planes,
    gradient: Planes,
    output: Planes,
    window: Window,
    kind: PoolKind,
    /// One for each pixel of the gradient, or one for all.
    factors: Vec<f32>,
    pub(super) reach: usize,
}

impl PoolBack {
    pub fn new([input, gradient, output]: [Planes; 3], window: Window, kind: PoolKind, factors: Vec<f32>) -> PoolBack {
        assert!([1, gradient.height * gradient.width].contains(&factors.len()), "one factor, or one a pixel");
        assert!(gradient.vectors() == output.vectors(), "one output for each channel");
        if kind == PoolKind::Max {
            assert_covering(output, &[input]);
        }
        PoolBack { input, gradient, output, window, kind, factors, reach: reach(&[input, gradient, output]) }
    }

    pub fn run(&self, memory: &mut [f32]) {
        assert!(self.reach <= memory.len(), "the memory was made for this kernel");
        clear(memory, self.output);
        let mut taps = Vec::with_capacity(self.window.kernel[0] * self.window.kernel[1]);
        for pixel in 0..self.gradient.height * self.gradient.width {
            let (y, x) = (pixel / self.gradient.width, pixel % self.gradient.width);
            let corner = self.window.corner(y, x);
            taps.clear();
            for tap in 0..self.window.kernel[0] * self.window.kernel[1] {
                let (ky, kx) = (tap / self.window.kernel[1], tap % self.window.kernel[1]);
                let y = corner.0 + (ky * self.window.dilation[0]) as isize;
                let x = corner.1 + (kx * self.window.dilation[1]) as isize;
                if (0..self.output.height as isize).contains(&y) && (0..self.output.width as isize).contains(&x) {
                    taps.push([self.input.at(y, x), self.output.at(y, x)]);
                }
            }
            let from = self.gradient.at(y as isize, x as isize);
            let factor = self.factors[if self.factors.len() == 1 { 0 } else { pixel }];
            // SAFETY: the taps lie in the image, and `reach` covers all planes.
            unsafe {
                let memory = memory.as_mut_ptr();
                match self.kind {
                    PoolKind::Max => max_back(memory, &taps, from, self.output.vectors()),
                    PoolKind::Sum => sum_back(memory, &taps, from, self.output.vectors(), factor),
                }
            }
        }
    }
}

/// Gives the gradient of one maximum to the first place that has it.
///
/// # Safety
/// So many vectors at each tap and at `from` must lie in memory.
#[inline(never)]
unsafe fn max_back(memory: *mut f32, taps: &[[usize; 2]], from: usize, vectors: usize) {
    let zero = F32x4::splat(0.);
    for at in (0..4 * vectors).step_by(4) {
        // SAFETY: as the caller promises.
        unsafe {
            let mut most = F32x4::splat(f32::NEG_INFINITY);
            for [input, _] in taps {
                most = F32x4::load(memory.add(input + at)).max(most);
            }
            let mut left = F32x4::load(memory.add(from + at));
            for [input, output] in taps {
                let value = F32x4::load(memory.add(input + at));
                let to = memory.add(output + at);
                (F32x4::load(to) + most.if_greater(value, zero, left)).store(to);
                left = most.if_greater(value, left, zero);
            }
        }
    }
}

/// Gives the gradient of one sum to all its places.
///
/// # Safety
/// As of [`max_back`].
#[inline(never)]
unsafe fn sum_back(memory: *mut f32, taps: &[[usize; 2]], from: usize, vectors: usize, factor: f32) {
    let factor = F32x4::splat(factor);
    for at in (0..4 * vectors).step_by(4) {
        // SAFETY: as the caller promises.
        unsafe {
            let share = F32x4::load(memory.add(from + at)) * factor;
            for [_, output] in taps {
                let to = memory.add(output + at);
                (F32x4::load(to) + share).store(to);
            }
        }
    }
}

/// Writes zeros in whole vectors.
pub fn clear(memory: &mut [f32], planes: Planes) {
    for pixel in planes.pixels() {
        memory[pixel..pixel + 4 * planes.vectors()].fill(0.);
    }
}

/// Writes the one pixel of `from`, times a factor, to every pixel of `to`.
pub fn spread(memory: &mut [f32], [from, to]: [Planes; 2], factor: f32) {
    assert!(reach(&[from, to]) <= memory.len(), "the memory was made for these planes");
    assert!(from.vectors() == to.vectors(), "one output for each channel");
    let (memory, factor) = (memory.as_mut_ptr(), F32x4::splat(factor));
    for pixel in to.pixels() {
        for at in (0..4 * to.vectors()).step_by(4) {
            // SAFETY: both planes lie in memory.
            unsafe { (F32x4::load(memory.add(from.start + at)) * factor).store(memory.add(pixel + at)) }
        }
    }
}

/// The sum over channels of |b·x|, b each channel's own, stretched to 0..=1 by the least and the greatest of the channel.
pub fn stretched_sum(memory: &mut [f32], [from, to]: [Planes; 2], biases: &[f32]) {
    assert!(reach(&[from, to]) <= memory.len(), "the memory was made for these planes");
    let numbers = 4 * from.vectors();
    let mut factors = biases.to_vec();
    factors.resize(numbers, 0.);
    let (mut least, mut most) = (vec![f32::INFINITY; numbers], vec![0.; numbers]);
    let memory = memory.as_mut_ptr();
    // SAFETY: both planes lie in memory, and as many numbers as `from` has channels in each of the lists.
    unsafe {
        for pixel in from.pixels() {
            extremes(memory.add(pixel), &factors, &mut least, &mut most);
        }
        let scales: Vec<f32> = least.iter().zip(&most).map(|(least, most)| 1. / (most - least + 1e-7)).collect();
        for (pixel, to) in from.pixels().zip(to.pixels()) {
            let sum = stretched(memory.add(pixel), &factors, &least, &scales);
            F32x4::splat(sum).store(memory.add(to));
        }
    }
}

/// Joins the absolute values of a pixel's products to the least and the greatest of each channel.
///
/// # Safety
/// At `pixel` lie as many numbers as each list has: whole vectors.
#[inline(never)]
unsafe fn extremes(pixel: *const f32, factors: &[f32], least: &mut [f32], most: &mut [f32]) {
    for at in (0..factors.len()).step_by(4) {
        // SAFETY: as the caller promises.
        unsafe {
            let product = F32x4::load(pixel.add(at)) * F32x4::load(factors.as_ptr().add(at));
            let size = product.max(F32x4::splat(0.) - product);
            let (low, high) = (least.as_mut_ptr().add(at), most.as_mut_ptr().add(at));
            F32x4::load(low).min(size).store(low);
            F32x4::load(high).max(size).store(high);
        }
    }
}

/// The sum of a pixel's stretched products.
///
/// # Safety
/// As of [`extremes`].
#[inline(never)]
unsafe fn stretched(pixel: *const f32, factors: &[f32], least: &[f32], scales: &[f32]) -> f32 {
    let mut sum = F32x4::splat(0.);
    for at in (0..factors.len()).step_by(4) {
        // SAFETY: as the caller promises.
        unsafe {
            let product = F32x4::load(pixel.add(at)) * F32x4::load(factors.as_ptr().add(at));
            let size = product.max(F32x4::splat(0.) - product);
            sum = sum.plus(size - F32x4::load(least.as_ptr().add(at)), F32x4::load(scales.as_ptr().add(at)));
        }
    }
    let mut lanes = [0.; 4];
    // SAFETY: there are four.
    unsafe { sum.store(lanes.as_mut_ptr()) };
    lanes.iter().sum()
}

/// The slope of a function, times the gradient by its result. At corners the slopes are PyTorch's.
///
/// `value` is the function's result where [`Function::Rectifier`] and [`Function::Clip`] are concerned, else its argument.
pub fn slope(function: Function, memory: &mut [f32], [value, gradient]: [Planes; 2], output: Planes) {
    assert!(reach(&[value, gradient, output]) <= memory.len(), "the memory was made for these planes");
    assert_covering(output, &[value, gradient]);
    let splat = F32x4::splat;
    let (zero, one) = (splat(0.), splat(1.));
    let within =
        |x: F32x4, low: F32x4, high: F32x4, then: F32x4| x.if_greater(low, high.if_greater(x, then, zero), zero);
    let mut each = |slope: &dyn Fn(F32x4) -> F32x4| by_slope(memory, [value, gradient], output, slope);
    match function {
        Function::Rectifier(Rectifier { slope, high: f32::INFINITY }) => {
            rectify(memory, [value, gradient], output, slope);
        }
        Function::Rectifier(Rectifier { slope, high }) => {
            let (slope, high) = (splat(slope), splat(high));
            each(&|y| high.if_greater(y, y.if_greater(zero, one, slope), zero));
        }
        Function::Clip(low, high) => each(&|y| within(y, splat(low), splat(high), one)),
        Function::HardSigmoid(alpha, beta) => {
            each(&|x| within(x * splat(alpha) + splat(beta), zero, one, splat(alpha)));
        }
        Function::HardSwish => each(&|x| {
            let gate = x * splat(1. / 6.) + splat(0.5);
            gate.max(zero).min(one) + within(gate, zero, one, x * splat(1. / 6.))
        }),
        Function::Sigmoid => each(&|x| x.each(|x| sigmoid(x) * (1. - sigmoid(x)))),
        Function::Swish(alpha) => each(&|x| {
            x.each(|x| {
                let gate = sigmoid(alpha * x);
                gate + alpha * x * gate * (1. - gate)
            })
        }),
        Function::Tanh => each(&|x| x.each(|x| 1. - x.tanh() * x.tanh())),
        Function::Sqrt => each(&|x| x.each(|x| 0.5 / x.sqrt())),
        Function::Abs => each(&|x| x.if_greater(zero, one, zero) - zero.if_greater(x, one, zero)),
    }
}

fn sigmoid(x: f32) -> f32 {
    1. / (1. + (-x).exp())
}

fn by_slope(memory: &mut [f32], [value, gradient]: [Planes; 2], output: Planes, slope: &dyn Fn(F32x4) -> F32x4) {
    let memory = memory.as_mut_ptr();
    for ((x, from), to) in value.pixels().zip(gradient.pixels()).zip(output.pixels()) {
        for at in (0..4 * output.vectors()).step_by(4) {
            // SAFETY: the caller saw to it that all planes lie in memory.
            unsafe {
                let slope = slope(F32x4::load(memory.add(x + at)));
                (slope * F32x4::load(memory.add(from + at))).store(memory.add(to + at));
            }
        }
    }
}

/// The same for rectifiers, which most networks have most of.
fn rectify(memory: &mut [f32], [value, gradient]: [Planes; 2], output: Planes, slope: f32) {
    let (memory, slope, zero) = (memory.as_mut_ptr(), F32x4::splat(slope), F32x4::splat(0.));
    for ((x, from), to) in value.pixels().zip(gradient.pixels()).zip(output.pixels()) {
        for at in (0..4 * output.vectors()).step_by(4) {
            // SAFETY: the caller saw to it that all planes lie in memory.
            unsafe {
                let gradient = F32x4::load(memory.add(from + at));
                let value = F32x4::load(memory.add(x + at));
                value.if_greater(zero, gradient, gradient * slope).store(memory.add(to + at));
            }
        }
    }
}
