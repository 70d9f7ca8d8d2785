//! Convolutions of each channel by itself.

use super::simd::F32x4;
use super::{After, Order, Panels, Planes, assert_covering, reach};
use crate::formula::{Rectifier, Window};

/// Neighbouring outputs that are computed together: as many as registers hold the sums of, and what narrow images have.
const MANY: usize = 8;
const FEW: usize = 4;

/// A function for so many neighbouring outputs, whose sums are written out: in an array they would lie in memory.
macro_rules! neighbours {
    ($name:ident: $($sum:ident $place:literal),+) => {
        /// All channels of neighbouring outputs. Each number of the input is loaded once for all outputs that it belongs to.
        ///
        /// # Safety
        /// As for [`Depthwise::columns`]; the addend comes with the step from one to the next.
        #[inline(never)]
        unsafe fn $name<const STRIDE: usize>(
            &self,
            mut input: *const f32,
            mut output: *mut f32,
            mut addend: Option<(*const f32, usize)>,
        ) {
            let (across, down) = (self.input.pixel, self.window.dilation[0] * self.input.row);
            let mut weights = self.panels.as_ptr();
            let mut affine = self.affine.as_ptr();
            for _ in 0..self.input.vectors() {
                // SAFETY: as the caller promises; there is a panel for each vector, and scales and shifts if there are any.
                unsafe {
                    let bias = F32x4::load(weights);
                    $(let mut $sum = bias;)+
                    weights = weights.add(4);
                    let mut row = input;
                    for _ in 0..3 {
                        let (w0, w1, w2) =
                            (F32x4::load(weights), F32x4::load(weights.add(4)), F32x4::load(weights.add(8)));
                        let x = |place: usize| F32x4::load(row.add(place * across));
                        $(
                            $sum = $sum
                                .plus(x($place * STRIDE), w0)
                                .plus(x($place * STRIDE + 1), w1)
                                .plus(x($place * STRIDE + 2), w2);
                        )+
                        row = row.wrapping_add(down);
                        weights = weights.add(12);
                    }
                    if !self.affine.is_empty() {
                        let (scale, shift) = (F32x4::load(affine), F32x4::load(affine.add(4)));
                        $($sum = shift.plus($sum, scale);)+
                        affine = affine.add(8);
                    }
                    if let Some((from, step)) = &mut addend {
                        $($sum = $sum + F32x4::load(from.add($place * *step));)+
                        *from = from.add(4);
                    }
                    let (slope, high) = (F32x4::splat(self.rectifier.slope), F32x4::splat(self.rectifier.high));
                    let step = self.output.pixel;
                    $(high.min(($sum * slope).max($sum)).store(output.add($place * step));)+
                    (input, output) = (input.add(4), output.add(4));
                }
            }
        }
    };
}

/// A depthwise convolution and what comes after it.
pub struct Depthwise {
    input: Planes,
    output: Planes,
    addend: Option<Planes>,
    window: Window,
    /// As [`Order::Depthwise`] says.
    panels: Panels,
    /// Of each four channels four scales and four shifts; empty if there are none.
    affine: Vec<f32>,
    rectifier: Rectifier,
    pub(super) reach: usize,
}

impl Depthwise {
    /// `packed` gives the weights `[channels, 1, kernel height, kernel width]` and `after`'s biases in an order.
    pub fn new(
        [input, output]: [Planes; 2],
        window: Window,
        packed: &dyn Fn(Order) -> Panels,
        after: &After,
    ) -> Depthwise {
        let taps = window.kernel[0] * window.kernel[1];
        assert!(input.vectors() == output.vectors(), "one output for each channel");
        assert_covering(output, after.addend.as_slice());
        let panels = packed(Order::Depthwise { channels: input.channels, taps });
        assert_eq!(panels.len(), input.vectors() * 4 * (1 + taps), "the weights were packed for this kernel");
        let (y, x) = window.corner(output.height - 1, output.width - 1);
        let span = |i: usize| ((window.kernel[i] - 1) * window.dilation[i]) as isize;
        let read = input.at(y + span(0), x + span(1)) + 4 * input.vectors();
        let written = reach(&[output, after.addend.unwrap_or(output)]);
        let affine = after.affine_blocks(0, output.channels, 4);
        let (addend, rectifier) = (after.addend, after.rectifier);
        Depthwise { input, output, addend, window, panels, affine, rectifier, reach: read.max(written) }
    }

    pub fn run(&self, memory: &mut [f32]) {
        assert!(self.reach <= memory.len(), "the memory was made for this kernel");
        // What lies before the first window is in its border.
        let _ = self.input.at(-(self.window.padding[0] as isize), -(self.window.padding[1] as isize));
        let Window { kernel: [kh, kw], dilation: [down, across], stride, .. } = self.window;
        let taps: Vec<usize> =
            (0..kh * kw).map(|tap| tap / kw * down * self.input.row + tap % kw * across * self.input.pixel).collect();
        let width = self.output.width;
        let by_columns = [kh, kw, across] == [3, 3, 1] && width >= FEW;
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

    /// A row of outputs, four or eight at a time and of these all channels, with a window of 3×3 that moves by `STRIDE`.
    /// The last ones of a row are computed with some before them, twice.
    ///
    /// # Safety
    /// All windows, outputs and addends from the first on must lie in memory.
    unsafe fn columns<const STRIDE: usize>(&self, input: *const f32, output: *mut f32, addend: Option<*const f32>) {
        let width = self.output.width;
        let mut column = 0;
        while column < width {
            let together = if width - column > FEW && width >= MANY { MANY } else { FEW };
            let first = column.min(width - together);
            column += together;
            // SAFETY: as the caller promises.
            unsafe {
                let input = input.add(first * STRIDE * self.input.pixel);
                let output = output.add(first * self.output.pixel);
                let addend =
                    addend.zip(self.addend).map(|(from, planes)| (from.add(first * planes.pixel), planes.pixel));
                match together {
                    MANY => self.eight::<STRIDE>(input, output, addend),
                    _ => self.four::<STRIDE>(input, output, addend),
                }
            }
        }
    }

    neighbours!(four: s0 0, s1 1, s2 2, s3 3);
    neighbours!(eight: s0 0, s1 1, s2 2, s3 3, s4 4, s5 5, s6 6, s7 7);

    /// A row of outputs, all channels of one after the other, with a window of any shape.
    ///
    /// # Safety
    /// As for [`Depthwise::columns`]; `taps` are the places of the window.
    #[inline(never)]
    unsafe fn any(&self, taps: &[usize], input: *const f32, output: *mut f32, addend: Option<*const f32>) {
        let (slope, high) = (F32x4::splat(self.rectifier.slope), F32x4::splat(self.rectifier.high));
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
                    high.min((sum * slope).max(sum)).store(output.add(column * self.output.pixel + 4 * vector));
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

pub(super) fn pack(weights: &[f32], channels: usize, taps: usize, bias: &[f32]) -> Vec<f32> {
    let mut panels = vec![0.; channels.div_ceil(4) * 4 * (1 + taps)];
    for channel in 0..channels {
        let panel = &mut panels[channel / 4 * 4 * (1 + taps) + channel % 4..];
        panel[0] = bias[channel];
        for tap in 0..taps {
            panel[4 * (1 + tap)] = weights[channel * taps + tap];
        }
    }
    panels
}
