//! The arithmetic of networks on the CPU: convolutions, pooling and functions of each number, on one thread.
//!
//! Activations lie in one memory, channels last, so that a vector instruction works on neighbouring channels and no
//! kernel copies its input into another order; the places around an image are zero where a convolution reads over its
//! edge. Each kernel is prepared once (weights packed in the order in which they are read, positions worked out) and then
//! only runs. burn's operators define what they compute; the tests hold them to plain loops.
//!
//! **Invariants.** A prepared kernel knows the highest number that it touches and looks once a run whether the memory
//! reaches that far: in the loops nothing is checked. The innermost loops sit in functions that are called often, because
//! Chromium replaces slow code by fast code only where a function begins.

mod back;
#[cfg(target_family = "wasm")]
mod constructors;
mod convolution;
mod depthwise;
mod elementwise;
pub mod formula;
#[cfg(target_family = "wasm")]
mod memory;
mod panels;
mod pooling;
mod simd;
mod sums;
mod winograd;

pub use back::{PoolBack, clear, slope, spread, stretched_sum};
#[cfg(target_family = "wasm")]
pub use constructors::run_constructors;
pub use convolution::Convolution;
pub use depthwise::Depthwise;
pub use elementwise::{Map, clear_border, combine, copy, fill, from_planes, shuffle, to_planes};
#[cfg(target_family = "wasm")]
pub use memory::used as used_memory;
pub use panels::{Order, Panels};
pub use pooling::Pool;
pub use sums::{add_scaled, sum};
pub use winograd::{Tiling, Winograd};

use crate::formula::{PoolKind, Rectifier, Window};

/// Where the activations of one image lie in memory: `[height, width, channels]`, as positions of numbers.
///
/// Up to three numbers behind the channels of a pixel belong to it, too: kernels write whole vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planes {
    /// Of the first channel of the first pixel.
    pub start: usize,
    /// From a pixel to the one below.
    pub row: usize,
    /// From a pixel to the next.
    pub pixel: usize,
    pub height: usize,
    pub width: usize,
    pub channels: usize,
}

impl Planes {
    /// The position of a pixel, which may lie outside the image in its border.
    fn at(&self, y: isize, x: isize) -> usize {
        let position = self.start as isize + y * self.row as isize + x * self.pixel as isize;
        usize::try_from(position).expect("borders are wide enough")
    }

    /// The positions of all pixels, row by row.
    pub fn pixels(self) -> impl Iterator<Item = usize> {
        (0..self.height).flat_map(move |y| (0..self.width).map(move |x| self.start + y * self.row + x * self.pixel))
    }

    /// The same image in the rows and pixels of another.
    pub fn strided_like(self, other: Planes) -> Planes {
        Planes { row: other.row, pixel: other.pixel, ..self }
    }

    /// The channels in whole vectors.
    fn vectors(&self) -> usize {
        self.channels.div_ceil(4)
    }

    /// One more than the highest position.
    fn end(&self) -> usize {
        self.at(self.height as isize - 1, self.width as isize - 1) + 4 * self.vectors()
    }
}

/// What becomes of the sums of a convolution: bias, a scale and a shift for each output, an addition, a [`Rectifier`].
///
/// The scale is not multiplied into the weights: batch normalisation undoes large sums, and rounding each weight once more
/// would double the error of what remains.
pub struct After {
    /// One number for each output.
    pub bias: Vec<f32>,
    /// The same, each.
    pub affine: Option<[Vec<f32>; 2]>,
    /// Laid out like the output, added after the shift.
    pub addend: Option<Planes>,
    pub rectifier: Rectifier,
}

impl After {
    /// For each `block` outputs from `first` on their scales and then their shifts; nothing without any.
    fn affine_blocks(&self, first: usize, outputs: usize, block: usize) -> Vec<f32> {
        let Some(affine) = &self.affine else { return Vec::new() };
        let mut blocks = vec![0.; outputs.div_ceil(block) * 2 * block];
        for output in 0..outputs {
            let place = output / block * 2 * block + output % block;
            blocks[place] = affine[0][first + output];
            blocks[place + block] = affine[1][first + output];
        }
        blocks
    }
}

impl Window {
    /// The first row and column that the window at an output pixel covers.
    fn corner(&self, y: usize, x: usize) -> (isize, isize) {
        let along = |i: usize, at: usize| (at * self.stride[i]) as isize - self.padding[i] as isize;
        (along(0, y), along(1, x))
    }
}

/// One more than the highest number in use by each of the planes.
fn reach(planes: &[Planes]) -> usize {
    planes.iter().map(Planes::end).max().unwrap_or(0)
}

/// Looks whether each of the planes has as many rows, columns and vectors of channels as the first: a kernel goes through
/// that one and takes the same pixels of all.
fn assert_covering(first: Planes, others: &[Planes]) {
    for other in others {
        let covers = other.height >= first.height && other.width >= first.width && other.vectors() >= first.vectors();
        assert!(covers, "planes that a kernel goes through together are of one size");
    }
}

/// Runs the innermost loops for some milliseconds, so that a browser has made fast code of them when a network comes.
pub fn warm_up() {
    let planes = |start: usize, channels: usize| {
        // 28×28 pixels within a border of four.
        Planes {
            start: start + 37 * 4 * channels,
            row: 36 * channels,
            pixel: channels,
            height: 28,
            width: 28,
            channels,
        }
    };
    const CHANNELS: usize = 32;
    const IMAGE: usize = 36 * 36 * CHANNELS + 4;
    let (input, output) = (planes(0, CHANNELS), planes(IMAGE, CHANNELS));
    let halved = Planes { height: 14, width: 14, ..output };
    let mut memory =
        vec![0.; 2 * IMAGE + Tiling::SMALL.scratch(CHANNELS, output).max(Tiling::LARGE.scratch(CHANNELS, output))];
    let after = After { bias: vec![0.; CHANNELS], affine: None, addend: None, rectifier: Rectifier::PLAIN };
    let weights = vec![0.; CHANNELS * CHANNELS * 9];
    let window = Window { kernel: [3, 3], stride: [1, 1], padding: [1, 1], dilation: [1, 1] };
    let by_two = Window { stride: [2, 2], ..window };
    let pack = &|order: Order| order.pack(&weights, &after.bias);
    Convolution::new([input, output], window, 1, pack, &after).run(&mut memory);
    for tiling in [Tiling::SMALL, Tiling::LARGE] {
        Winograd::new(tiling, [input, output], [1, 1], pack, &after, 2 * IMAGE).run(&mut memory);
    }
    for _ in 0..8 {
        Depthwise::new([input, output], window, pack, &after).run(&mut memory);
        Depthwise::new([input, halved], by_two, pack, &after).run(&mut memory);
        Pool::new([input, halved], by_two, PoolKind::Max, vec![1.]).run(&mut memory);
        Convolution::new([input, halved], Window { kernel: [1, 1], ..by_two }, 1, pack, &after).run(&mut memory);
    }
}

#[cfg(test)]
mod tests;
