//! Convolutions of each channel by itself.

use super::simd::F32x4;
use super::{After, Planes, reach};
use crate::formula::{Finish, Window};

/// Neighbouring outputs that are computed together.
const COLUMNS: usize = 4;

/// A depthwise convolution and what comes after it.
pub(crate) struct Depthwise {
    input: Planes,
    output: Planes,
    addend: Option<Planes>,
    window: Window,
    /// For each four channels: the biases, then four weights for each place of the window.
    panels: Vec<f32>,
    /// Of each four channels four scales and four shifts; empty if there are none.
    affine: Vec<f32>,
    finish: Finish,
    reach: usize,
}

impl Depthwise {
    /// `weights` are `[channels, 1, kernel height, kernel width]`.
    pub(crate) fn new([input, output]: [Planes; 2], window: Window, weights: &[f32], after: &After) -> Depthwise {
        let taps = window.kernel[0] * window.kernel[1];
        let mut panels = vec![0.; input.vectors() * 4 * (1 + taps)];
        for channel in 0..input.channels {
            let panel = &mut panels[channel / 4 * 4 * (1 + taps) + channel % 4..];
            panel[0] = after.bias[channel];
            for tap in 0..taps {
                panel[4 * (1 + tap)] = weights[channel * taps + tap];
            }
        }
        let (y, x) = window.corner(output.height - 1, output.width - 1);
        let span = |i: usize| ((window.kernel[i] - 1) * window.dilation[i]) as isize;
        let read = input.at(y + span(0), x + span(1)) + 4 * input.vectors();
        let written = reach(&[output, after.addend.unwrap_or(output)]);
        let affine = after.affine_blocks(0, output.channels, 4);
        let (addend, finish) = (after.addend, after.finish);
        Depthwise { input, output, addend, window, panels, affine, finish, reach: read.max(written) }
    }

    pub(crate) fn run(&self, memory: &mut [f32]) {
        assert!(self.reach <= memory.len(), "the memory was made for this kernel");
        // What lies before the first window is in its border.
        let _ = self.input.at(-(self.window.padding[0] as isize), -(self.window.padding[1] as isize));
        let Window { kernel: [kh, kw], dilation: [down, across], stride, .. } = self.window;
        let taps: Vec<usize> =
            (0..kh * kw).map(|tap| tap / kw * down * self.input.row + tap % kw * across * self.input.pixel).collect();
        let width = self.output.width;
        let by_columns = [kh, kw, across] == [3, 3, 1] && width >= COLUMNS;
        let memory = memory.as_mut_ptr();
        for y in 0..self.output.height {
            let (from_y, from_x) = self.window.corner(y, 0);
            let at = |planes: Planes| planes.at(y as isize, 0);
            // SAFETY: `reach` covers the last window, the last output and its addend.
            unsafe {
                let input = memory.add(self.input.at(from_y, from_x)).cast_const();
                let output = memory.add(at(self.output));
                let addend = self.addend.map(|planes| memory.add(at(planes)).cast_const());
                match stride[1] {
                    1 if by_columns => self.columns::<1>(input, output, addend),
                    2 if by_columns => self.columns::<2>(input, output, addend),
                    _ => self.any(&taps, input, output, addend),
                }
            }
        }
    }

    /// A row of outputs, four at a time and of these all channels, with a window of 3×3 that moves by `STRIDE`. Each number
    /// of the input is loaded once for all outputs that it belongs to.
    ///
    /// # Safety
    /// All windows, outputs and addends from the first on must lie in memory.
    #[inline(never)]
    unsafe fn columns<const STRIDE: usize>(&self, input: *const f32, output: *mut f32, addend: Option<*const f32>) {
        let (across, down) = (self.input.pixel, self.window.dilation[0] * self.input.row);
        let (slope, high) = (F32x4::splat(self.finish.slope), F32x4::splat(self.finish.high));
        let width = self.output.width;
        for column in (0..width).step_by(COLUMNS) {
            // The last ones of a row are computed with some before them, twice.
            let column = column.min(width - COLUMNS);
            let mut weights = self.panels.as_ptr();
            for vector in 0..self.input.vectors() {
                // SAFETY: as the caller promises; there is a panel for each vector.
                unsafe {
                    let bias = F32x4::load(weights);
                    let (mut s0, mut s1, mut s2, mut s3) = (bias, bias, bias, bias);
                    weights = weights.add(4);
                    let mut row = input.add(column * STRIDE * across + 4 * vector);
                    for _ in 0..3 {
                        let (w0, w1, w2) =
                            (F32x4::load(weights), F32x4::load(weights.add(4)), F32x4::load(weights.add(8)));
                        let x = |place: usize| F32x4::load(row.add(place * across));
                        let sum = |sum: F32x4, first: usize| {
                            sum.plus(x(first), w0).plus(x(first + 1), w1).plus(x(first + 2), w2)
                        };
                        s0 = sum(s0, 0);
                        s1 = sum(s1, STRIDE);
                        s2 = sum(s2, 2 * STRIDE);
                        s3 = sum(s3, 3 * STRIDE);
                        row = row.wrapping_add(down);
                        weights = weights.add(12);
                    }
                    if let Some((scale, shift)) = self.affine(vector) {
                        (s0, s1) = (shift.plus(s0, scale), shift.plus(s1, scale));
                        (s2, s3) = (shift.plus(s2, scale), shift.plus(s3, scale));
                    }
                    if let Some((from, planes)) = addend.zip(self.addend) {
                        let from = from.add(column * planes.pixel + 4 * vector);
                        let added = |place: usize| F32x4::load(from.add(place * planes.pixel));
                        (s0, s1, s2, s3) = (s0 + added(0), s1 + added(1), s2 + added(2), s3 + added(3));
                    }
                    let to = output.add(column * self.output.pixel + 4 * vector);
                    let store = |place: usize, sum: F32x4| {
                        (sum * slope).max(sum).min(high).store(to.add(place * self.output.pixel));
                    };
                    store(0, s0);
                    store(1, s1);
                    store(2, s2);
                    store(3, s3);
                }
            }
        }
    }

    /// A row of outputs, all channels of one after the other, with a window of any shape.
    ///
    /// # Safety
    /// As for [`Depthwise::columns`]; `taps` are the places of the window.
    #[inline(never)]
    unsafe fn any(&self, taps: &[usize], input: *const f32, output: *mut f32, addend: Option<*const f32>) {
        let (slope, high) = (F32x4::splat(self.finish.slope), F32x4::splat(self.finish.high));
        for column in 0..self.output.width {
            let mut weights = self.panels.as_ptr();
            for vector in 0..self.input.vectors() {
                // SAFETY: as the caller promises; there is a panel for each vector.
                unsafe {
                    let from = input.add(column * self.window.stride[1] * self.input.pixel + 4 * vector);
                    let mut sum = F32x4::load(weights);
                    for &tap in taps {
                        weights = weights.add(4);
                        sum = sum.plus(F32x4::load(from.add(tap)), F32x4::load(weights));
                    }
                    weights = weights.add(4);
                    if let Some((scale, shift)) = self.affine(vector) {
                        sum = shift.plus(sum, scale);
                    }
                    if let Some((from, planes)) = addend.zip(self.addend) {
                        sum = sum + F32x4::load(from.add(column * planes.pixel + 4 * vector));
                    }
                    (sum * slope).max(sum).min(high).store(output.add(column * self.output.pixel + 4 * vector));
                }
            }
        }
    }

    /// The scales and shifts of a vector of channels.
    #[inline(always)]
    fn affine(&self, vector: usize) -> Option<(F32x4, F32x4)> {
        let from = self.affine.get(8 * vector..8 * (vector + 1))?.as_ptr();
        // SAFETY: four scales and four shifts.
        Some(unsafe { (F32x4::load(from), F32x4::load(from.add(4))) })
    }
}
