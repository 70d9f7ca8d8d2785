//! Convolutions of each channel by itself.

use super::simd::F32x4;
use super::{After, Planes, reach};
use crate::formula::{Finish, Window};

/// Neighbouring outputs that are computed for all channels before the next: their windows stay in the first-level cache.
const COLUMNS: usize = 28;

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
        let [kh, kw] = self.window.kernel;
        let [down, across] = self.window.dilation;
        let taps: Vec<usize> =
            (0..kh * kw).map(|tap| tap / kw * down * self.input.row + tap % kw * across * self.input.pixel).collect();
        let memory = memory.as_mut_ptr();
        for y in 0..self.output.height {
            for x in (0..self.output.width).step_by(COLUMNS) {
                let (from_y, from_x) = self.window.corner(y, x);
                let (from, to) = (self.input.at(from_y, from_x), self.output.at(y as isize, x as isize));
                let addend = self.addend.map(|planes| (planes.at(y as isize, x as isize), planes.pixel));
                for (vector, panel) in self.panels.chunks_exact(4 * (1 + kh * kw)).enumerate() {
                    // SAFETY: `reach` covers the last window, the last output and its addend.
                    unsafe {
                        let row = Row {
                            input: memory.add(from + 4 * vector),
                            step: self.window.stride[1] * self.input.pixel,
                            output: memory.add(to + 4 * vector),
                            output_step: self.output.pixel,
                            addend: addend.map(|(at, step)| (memory.add(at + 4 * vector).cast_const(), step)),
                            count: COLUMNS.min(self.output.width - x),
                            panel,
                            affine: self.affine.get(8 * vector..8 * (vector + 1)),
                            finish: self.finish,
                        };
                        match (self.window.kernel, self.window.stride[1], across) {
                            ([3, 3], 1, 1) => slide(&row, down * self.input.row, self.input.pixel),
                            ([3, 3], 2, 1) => slide_by_two(&row, down * self.input.row, self.input.pixel),
                            _ => any(&row, &taps),
                        }
                    }
                }
            }
        }
    }
}

/// Neighbouring outputs of a row, four channels of them.
struct Row<'a> {
    input: *const f32,
    step: usize,
    output: *mut f32,
    output_step: usize,
    addend: Option<(*const f32, usize)>,
    count: usize,
    panel: &'a [f32],
    affine: Option<&'a [f32]>,
    finish: Finish,
}

/// With a window of 3×3 that moves by one: each column of the input is read once, for the three outputs that it belongs to.
///
/// # Safety
/// All windows, outputs and addends of the row must lie in memory; the window's rows are `down` apart and its columns
/// `across`.
#[inline(never)]
unsafe fn slide(row: &Row, down: usize, across: usize) {
    // SAFETY: as the caller promises.
    unsafe {
        let w = |place: usize| F32x4::load(row.panel.as_ptr().add(4 * place));
        let bias = F32x4::load(row.panel.as_ptr());
        let (w00, w01, w02) = (w(1), w(2), w(3));
        let (w10, w11, w12) = (w(4), w(5), w(6));
        let (w20, w21, w22) = (w(7), w(8), w(9));
        let (mut from0, mut to) = (row.input, row.output);
        let (mut from1, mut from2) = (from0.add(down), from0.add(2 * down));
        // The sums of the output whose last column comes next, of the one after it, and of a new one.
        let (mut sum, mut next) = (bias, bias);
        let finishing = Finishing::of(row);
        for column in 0..row.count + 2 {
            let x = F32x4::load(from0);
            let mut new = bias + x * w00;
            next = next + x * w01;
            sum = sum + x * w02;
            let x = F32x4::load(from1);
            new = new + x * w10;
            next = next + x * w11;
            sum = sum + x * w12;
            let x = F32x4::load(from2);
            new = new + x * w20;
            next = next + x * w21;
            sum = sum + x * w22;
            if column >= 2 {
                finishing.store(column - 2, sum, to);
                to = to.add(row.output_step);
            }
            (sum, next) = (next, new);
            from0 = from0.wrapping_add(across);
            from1 = from1.wrapping_add(across);
            from2 = from2.wrapping_add(across);
        }
    }
}

/// With a window of 3×3 that moves by two: a column between two windows is read once.
///
/// # Safety
/// As for [`slide`].
#[inline(never)]
unsafe fn slide_by_two(row: &Row, down: usize, across: usize) {
    // SAFETY: as the caller promises.
    unsafe {
        let w = |place: usize| F32x4::load(row.panel.as_ptr().add(4 * place));
        let bias = F32x4::load(row.panel.as_ptr());
        let (w00, w01, w02) = (w(1), w(2), w(3));
        let (w10, w11, w12) = (w(4), w(5), w(6));
        let (w20, w21, w22) = (w(7), w(8), w(9));
        let (mut from0, mut to) = (row.input, row.output);
        let (mut from1, mut from2) = (from0.add(down), from0.add(2 * down));
        let mut sum = bias + F32x4::load(from0) * w00;
        sum = sum + F32x4::load(from1) * w10;
        sum = sum + F32x4::load(from2) * w20;
        let finishing = Finishing::of(row);
        for x in 0..row.count {
            sum = sum + F32x4::load(from0.add(across)) * w01;
            sum = sum + F32x4::load(from1.add(across)) * w11;
            sum = sum + F32x4::load(from2.add(across)) * w21;
            from0 = from0.add(row.step);
            from1 = from1.add(row.step);
            from2 = from2.add(row.step);
            let column = F32x4::load(from0);
            sum = sum + column * w02;
            let mut new = bias + column * w00;
            let column = F32x4::load(from1);
            sum = sum + column * w12;
            new = new + column * w10;
            let column = F32x4::load(from2);
            sum = sum + column * w22;
            new = new + column * w20;
            finishing.store(x, sum, to);
            to = to.add(row.output_step);
            sum = new;
        }
    }
}

/// With a window of any shape.
///
/// # Safety
/// As for [`slide`].
#[inline(never)]
unsafe fn any(row: &Row, taps: &[usize]) {
    // SAFETY: as the caller promises.
    unsafe {
        let mut from = row.input;
        let mut to = row.output;
        let finishing = Finishing::of(row);
        for x in 0..row.count {
            let mut weights = row.panel.as_ptr();
            let mut sum = F32x4::load(weights);
            for &tap in taps {
                weights = weights.add(4);
                sum = sum + F32x4::load(from.add(tap)) * F32x4::load(weights);
            }
            finishing.store(x, sum, to);
            from = from.add(row.step);
            to = to.add(row.output_step);
        }
    }
}

/// What becomes of the sums of a row, at hand in registers.
struct Finishing {
    affine: Option<(F32x4, F32x4)>,
    addend: Option<(*const f32, usize)>,
    slope: F32x4,
    high: F32x4,
}

impl Finishing {
    #[inline(always)]
    fn of(row: &Row) -> Finishing {
        // SAFETY: four scales and four shifts.
        let affine =
            row.affine.map(|affine| unsafe { (F32x4::load(affine.as_ptr()), F32x4::load(affine[4..].as_ptr())) });
        let (slope, high) = (F32x4::splat(row.finish.slope), F32x4::splat(row.finish.high));
        Finishing { affine, addend: row.addend, slope, high }
    }

    /// # Safety
    /// `to` and the addend of output `x` must lie in memory.
    #[inline(always)]
    unsafe fn store(&self, x: usize, mut sum: F32x4, to: *mut f32) {
        if let Some((scale, shift)) = self.affine {
            sum = sum * scale + shift;
        }
        // SAFETY: as the caller promises.
        unsafe {
            if let Some((addend, step)) = self.addend {
                sum = sum + F32x4::load(addend.add(x * step));
            }
            (sum * self.slope).max(sum).min(self.high).store(to);
        }
    }
}
