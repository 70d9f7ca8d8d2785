//! Functions of each number, of two, and the ways into the kernels' order and out of it.

use super::simd::F32x4;
use super::{Planes, assert_covering, reach};
use crate::formula::{Combine, Function, Rectifier};

/// A scale and a shift for each channel, then a function, of each number.
pub struct Map {
    input: Planes,
    output: Planes,
    /// For each four channels four scales and four shifts.
    affine: Vec<f32>,
    function: Function,
    pub(super) reach: usize,
}

impl Map {
    /// `scale` and `shift` hold one number a channel.
    pub fn new([input, output]: [Planes; 2], scale: &[f32], shift: &[f32], function: Function) -> Map {
        assert_covering(input, &[output]);
        let mut affine = vec![0.; 8 * input.vectors()];
        for channel in 0..input.channels {
            affine[channel / 4 * 8 + channel % 4] = scale[channel];
            affine[channel / 4 * 8 + 4 + channel % 4] = shift[channel];
        }
        Map { input, output, affine, function, reach: reach(&[input, output]) }
    }

    pub fn run(&self, memory: &mut [f32]) {
        assert!(self.reach <= memory.len(), "the memory was made for this kernel");
        let splat = F32x4::splat;
        match self.function {
            Function::Rectifier(Rectifier { slope, high }) => {
                let (slope, high) = (splat(slope), splat(high));
                self.each(memory, |x| high.min((x * slope).max(x)));
            }
            Function::Clip(low, high) => {
                let (low, high) = (splat(low), splat(high));
                self.each(memory, |x| high.min(low.max(x)));
            }
            Function::HardSigmoid(alpha, beta) => {
                let (alpha, beta) = (splat(alpha), splat(beta));
                self.each(memory, |x| (x * alpha + beta).max(splat(0.)).min(splat(1.)));
            }
            Function::HardSwish => {
                let (sixth, half) = (splat(1. / 6.), splat(0.5));
                self.each(memory, |x| x * (x * sixth + half).max(splat(0.)).min(splat(1.)));
            }
            Function::Sigmoid => self.each(memory, |x| x.each(sigmoid)),
            Function::Swish(alpha) => self.each(memory, |x| x.each(|x| x * sigmoid(alpha * x))),
            Function::Tanh => self.each(memory, |x| x.each(f32::tanh)),
            Function::Sqrt => self.each(memory, |x| x.each(f32::sqrt)),
            Function::Abs => self.each(memory, |x| x.each(f32::abs)),
        }
    }

    #[inline(always)]
    fn each(&self, memory: &mut [f32], function: impl Fn(F32x4) -> F32x4) {
        let memory = memory.as_mut_ptr();
        for y in 0..self.input.height as isize {
            for x in 0..self.input.width as isize {
                let (from, to) = (self.input.at(y, x), self.output.at(y, x));
                for (vector, affine) in self.affine.chunks_exact(8).enumerate() {
                    // SAFETY: `reach` covers both planes.
                    unsafe {
                        let (scale, shift) = (F32x4::load(affine.as_ptr()), F32x4::load(affine.as_ptr().add(4)));
                        let value = F32x4::load(memory.add(from + 4 * vector));
                        function(value * scale + shift).store(memory.add(to + 4 * vector));
                    }
                }
            }
        }
    }
}

fn sigmoid(x: f32) -> f32 {
    1. / (1. + (-x).exp())
}

/// Combines each two numbers, then finishes them; a second operand of one pixel serves for all pixels.
pub fn combine(by: Combine, memory: &mut [f32], [a, b]: [Planes; 2], output: Planes, rectifier: Rectifier) {
    assert!(reach(&[a, b, output]) <= memory.len(), "the memory was made for these planes");
    // One pixel serves for all.
    let single = Planes { height: 1, width: 1, ..output };
    assert_covering(output, &[a]);
    assert_covering(if b.height * b.width == 1 { single } else { output }, &[b]);
    match by {
        Combine::Add => combine_by(memory, [a, b], output, rectifier, |x, y| x + y),
        Combine::Sub => combine_by(memory, [a, b], output, rectifier, |x, y| x - y),
        Combine::Mul => combine_by(memory, [a, b], output, rectifier, |x, y| x * y),
    }
}

#[inline(always)]
fn combine_by(
    memory: &mut [f32],
    [a, b]: [Planes; 2],
    output: Planes,
    rectifier: Rectifier,
    function: impl Fn(F32x4, F32x4) -> F32x4,
) {
    let memory = memory.as_mut_ptr();
    let (slope, high) = (F32x4::splat(rectifier.slope), F32x4::splat(rectifier.high));
    let single = b.height * b.width == 1;
    for y in 0..output.height as isize {
        for x in 0..output.width as isize {
            let (from, to) = (a.at(y, x), output.at(y, x));
            let other = if single { b.start } else { b.at(y, x) };
            for vector in 0..output.vectors() {
                // SAFETY: the caller saw to it that all planes lie in memory.
                unsafe {
                    let x = F32x4::load(memory.add(from + 4 * vector));
                    let value = function(x, F32x4::load(memory.add(other + 4 * vector)));
                    high.min((value * slope).max(value)).store(memory.add(to + 4 * vector));
                }
            }
        }
    }
}

/// Copies the channels of `input` and no more.
pub fn copy(memory: &mut [f32], [input, output]: [Planes; 2]) {
    for (from, to) in input.pixels().zip(output.pixels()) {
        memory.copy_within(from..from + input.channels, to);
    }
}

/// The first channel of each of so many groups of channels, then the second of each, and so on; output and input lie apart.
pub fn shuffle(memory: &mut [f32], [input, output]: [Planes; 2], groups: usize) {
    let each = input.channels / groups;
    for (from, to) in input.pixels().zip(output.pixels()) {
        for channel in 0..input.channels {
            memory[to + channel] = memory[from + channel % groups * each + channel / groups];
        }
    }
}

/// Writes the same number to every channel of every pixel.
pub fn fill(memory: &mut [f32], planes: Planes, value: f32) {
    for pixel in planes.pixels() {
        memory[pixel..pixel + planes.channels].fill(value);
    }
}

/// Writes zeros around an image, as many pixels before and after it as given for rows and columns.
pub fn clear_border(memory: &mut [f32], planes: Planes, border: [(usize, usize); 2], pixel: usize) {
    let [(top, bottom), (left, right)] = border.map(|(before, after)| (before as isize, after as isize));
    let (height, width) = (planes.height as isize, planes.width as isize);
    for y in -top..height + bottom {
        let row = |from: isize, to: isize| planes.at(y, from)..planes.at(y, from) + (to - from) as usize * pixel;
        if (0..height).contains(&y) {
            memory[row(-left, 0)].fill(0.);
            memory[row(width, width + right)].fill(0.);
        } else {
            memory[row(-left, width + right)].fill(0.);
        }
    }
}

/// Puts `[channels, height, width]` into memory.
pub fn from_planes(memory: &mut [f32], planes: Planes, values: &[f32]) {
    let Planes { height, width, channels, .. } = planes;
    let area = height * width;
    assert_eq!(values.len(), channels * area, "one number for each place");
    for y in 0..height {
        let row = |channel: usize| values[channel * area + y * width..][..width].iter();
        for first in (0..channels).step_by(4) {
            let pixels = memory[planes.at(y as isize, 0) + first..].chunks_mut(planes.pixel);
            // Rows of input side by side, so that a pixel is written once.
            match channels - first {
                1 => pixels.zip(row(first)).for_each(|(pixel, &a)| pixel[0] = a),
                2 => {
                    for ((pixel, &a), &b) in pixels.zip(row(first)).zip(row(first + 1)) {
                        (pixel[0], pixel[1]) = (a, b);
                    }
                }
                // A picture, four pixels at a time.
                3 if planes.pixel == 3 && width >= 4 => {
                    let [a, b, c] = [0, 1, 2].map(|channel| row(channel).as_slice());
                    let start = planes.at(y as isize, 0);
                    let pixels = &mut memory[start..start + 3 * width];
                    for x in (0..width).step_by(4) {
                        // The last ones of a row are written with some before them, twice.
                        let x = x.min(width - 4);
                        // SAFETY: four pixels from there on lie in the row.
                        unsafe {
                            let load = |row: &[f32]| F32x4::load(row.as_ptr().add(x));
                            for (i, numbers) in F32x4::interleaved(load(a), load(b), load(c)).into_iter().enumerate() {
                                numbers.store(pixels.as_mut_ptr().add(3 * x + 4 * i));
                            }
                        }
                    }
                }
                3 => {
                    for (((pixel, &a), &b), &c) in pixels.zip(row(first)).zip(row(first + 1)).zip(row(first + 2)) {
                        (pixel[0], pixel[1], pixel[2]) = (a, b, c);
                    }
                }
                _ => {
                    let rows = row(first).zip(row(first + 1)).zip(row(first + 2)).zip(row(first + 3));
                    for (pixel, (((&a, &b), &c), &d)) in pixels.zip(rows) {
                        (pixel[0], pixel[1], pixel[2], pixel[3]) = (a, b, c, d);
                    }
                }
            }
        }
    }
}

/// Reads `[channels, height, width]` from memory.
pub fn to_planes(memory: &[f32], planes: Planes) -> Vec<f32> {
    let Planes { height, width, channels, .. } = planes;
    let area = height * width;
    let mut values = vec![0.; channels * area];
    for y in 0..height {
        for first in (0..channels).step_by(4) {
            let pixels = memory[planes.at(y as isize, 0) + first..].chunks(planes.pixel).take(width);
            if channels - first < 4 {
                for (x, pixel) in pixels.enumerate() {
                    for (channel, &value) in pixel.iter().enumerate().take(channels - first) {
                        values[(first + channel) * area + y * width + x] = value;
                    }
                }
                continue;
            }
            // Four rows of output side by side, so that a pixel is read once.
            let (a, rest) = values[first * area..].split_at_mut(area);
            let (b, rest) = rest.split_at_mut(area);
            let (c, d) = rest.split_at_mut(area);
            let row = y * width..(y + 1) * width;
            let rows = a[row.clone()].iter_mut().zip(&mut b[row.clone()]).zip(&mut c[row.clone()]).zip(&mut d[row]);
            for ((((a, b), c), d), pixel) in rows.zip(pixels) {
                (*a, *b, *c, *d) = (pixel[0], pixel[1], pixel[2], pixel[3]);
            }
        }
    }
    values
}
