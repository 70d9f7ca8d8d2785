//! Convolutions as sums over contiguous stretches of the input, and linear layers as convolutions of one pixel.

use super::simd::F32x4;
use super::{After, Planes};
use crate::formula::{Finish, Window};

/// Output channels that are computed together.
const BLOCK: usize = 8;
/// Pixels a call of the innermost function: enough to make the call cheap, few enough for it to come often.
const STRIP: usize = 64;
/// Numbers of the input that stay in the second-level cache while all weights pass by.
const RESIDENT: usize = 24 * 1024;

/// A convolution and what comes after it.
pub(crate) struct Convolution {
    /// Of each output pixel, filled up to whole tiles of four with the last one: where its window begins.
    input_at: Vec<u32>,
    /// Where it goes.
    output_at: Vec<u32>,
    /// What is added to it.
    addend_at: Option<Vec<u32>>,
    pixels: usize,
    /// Where the stretches of a window begin.
    segments: Vec<u32>,
    /// Of a stretch.
    length: usize,
    groups: Vec<Group>,
    finish: Finish,
    reach: usize,
}

/// Output channels that share their inputs.
struct Group {
    /// The first input channel and the first output channel.
    first: [usize; 2],
    outputs: usize,
    /// Of each block of eight outputs the biases, then for each number of the window eight weights.
    panels: Vec<f32>,
    /// Of each block eight scales and eight shifts; empty if there are none.
    affine: Vec<f32>,
}

impl Convolution {
    /// `weights` are `[outputs, inputs / groups, kernel height, kernel width]`.
    ///
    /// With more than one group, the outputs of each must be a multiple of four.
    pub(crate) fn new(
        [input, output]: [Planes; 2],
        window: Window,
        groups: usize,
        weights: &[f32],
        after: &After,
    ) -> Convolution {
        let [kh, kw] = window.kernel;
        let per_group = input.channels / groups;
        // Neighbouring pixels form one stretch if all their channels are read; what lies between is weighed with zero.
        let joined = groups == 1 && window.dilation[1] == 1 && input.pixel - input.channels < 4 && kw > 1;
        let (per_row, length) = if joined { (1, (kw - 1) * input.pixel + input.channels) } else { (kw, per_group) };
        let segments = (0..kh)
            .flat_map(|ky| {
                (0..per_row)
                    .map(move |kx| (ky * window.dilation[0] * input.row + kx * window.dilation[1] * input.pixel) as u32)
            })
            .collect::<Vec<u32>>();
        // Which weight of an output belongs to a number of a stretch.
        let weight_at = |segment: usize, offset: usize| {
            let (ky, kx) = (segment / per_row, segment % per_row);
            let (kx, channel) = if joined { (offset / input.pixel, offset % input.pixel) } else { (kx, offset) };
            (channel < per_group).then(|| (channel * kh + ky) * kw + kx)
        };
        let order: Vec<Option<usize>> =
            (0..segments.len()).flat_map(|s| (0..length).map(move |o| (s, o))).map(|(s, o)| weight_at(s, o)).collect();
        let outputs = output.channels / groups;
        let groups = (0..groups)
            .map(|group| {
                let first = group * outputs;
                let rows = &weights[first * per_group * kh * kw..][..outputs * per_group * kh * kw];
                let panels = pack(rows, outputs, &order, &after.bias[first..][..outputs]);
                let affine = after.affine_blocks(first, outputs, BLOCK);
                Group { first: [group * per_group, first], outputs, panels, affine }
            })
            .collect();
        let pixels = output.height * output.width;
        let table = |at: &dyn Fn(usize, usize) -> usize| -> Vec<u32> {
            let mut table: Vec<u32> =
                (0..pixels).map(|pixel| at(pixel / output.width, pixel % output.width) as u32).collect();
            table.resize(pixels.next_multiple_of(4), *table.last().expect("planes are not empty"));
            table
        };
        let input_at = table(&|y, x| {
            let (y, x) = window.corner(y, x);
            input.at(y, x)
        });
        let own = |planes: Planes| table(&|y, x| planes.at(y as isize, x as isize));
        let last = |table: &[u32]| table.iter().copied().max().unwrap_or(0) as usize;
        let (output_at, addend_at) = (own(output), after.addend.map(own));
        let read = last(&input_at) + last(&segments) + input.channels.max(length);
        let written = last(&output_at).max(addend_at.as_deref().map_or(0, last)) + 4 * output.vectors();
        Convolution {
            input_at,
            output_at,
            addend_at,
            pixels,
            segments,
            length,
            groups,
            finish: after.finish,
            reach: read.max(written),
        }
    }

    pub(crate) fn run(&self, memory: &mut [f32]) {
        assert!(self.reach <= memory.len(), "the memory was made for this kernel");
        let memory = memory.as_mut_ptr();
        let panel = BLOCK * (1 + self.segments.len() * self.length);
        for group in &self.groups {
            let job = |panel_start: usize, pixels: std::ops::Range<usize>, output: usize| Job {
                // SAFETY: the first channels lie within `reach`, and blocks within the panels.
                input: unsafe { memory.add(group.first[0]) },
                output: unsafe { memory.add(group.first[1] + output) },
                input_at: &self.input_at[pixels.clone()],
                output_at: &self.output_at[pixels.clone()],
                addend_at: self.addend_at.as_ref().map(|table| &table[pixels]),
                segments: &self.segments,
                length: self.length,
                panel: &group.panels[panel_start..][..panel],
                affine: group.affine.get(2 * output..2 * (output + BLOCK)),
                half: group.outputs - output <= 4,
                finish: self.finish,
            };
            let blocks = group.outputs.div_ceil(BLOCK);
            if self.pixels < 4 {
                for pixel in 0..self.pixels {
                    for block in 0..blocks {
                        // SAFETY: all positions of the tables lie within `reach`.
                        unsafe { single(&job(block * panel, pixel..pixel + 1, block * BLOCK)) };
                    }
                }
                continue;
            }
            let chunk = (RESIDENT / self.length).next_multiple_of(STRIP);
            for first in (0..self.input_at.len()).step_by(chunk) {
                let end = (first + chunk).min(self.input_at.len());
                for block in 0..blocks {
                    for strip in (first..end).step_by(STRIP) {
                        let pixels = strip..(strip + STRIP).min(end);
                        // SAFETY: all positions of the tables lie within `reach`.
                        unsafe { tiles(&job(block * panel, pixels, block * BLOCK)) };
                    }
                }
            }
        }
    }
}

/// Weights in the order in which a block of outputs reads them, behind their biases.
pub(super) fn pack(rows: &[f32], outputs: usize, order: &[Option<usize>], bias: &[f32]) -> Vec<f32> {
    let per_output = rows.len() / outputs;
    let mut panels = vec![0.; outputs.div_ceil(BLOCK) * BLOCK * (1 + order.len())];
    for (block, panel) in panels.chunks_exact_mut(BLOCK * (1 + order.len())).enumerate() {
        for lane in 0..BLOCK.min(outputs - block * BLOCK) {
            let output = block * BLOCK + lane;
            panel[lane] = bias.get(output).copied().unwrap_or(0.);
            pack_lane(&rows[output * per_output..][..per_output], order, &mut panel[BLOCK + lane..]);
        }
    }
    panels
}

/// A function of its own, because a browser makes fast code of it only for its next call.
#[inline(never)]
fn pack_lane(row: &[f32], order: &[Option<usize>], lane: &mut [f32]) {
    for (to, weight) in lane.iter_mut().step_by(BLOCK).zip(order) {
        *to = weight.map_or(0., |weight| row[weight]);
    }
}

/// A block of outputs for some pixels.
pub(super) struct Job<'a> {
    pub input: *const f32,
    pub output: *mut f32,
    pub input_at: &'a [u32],
    pub output_at: &'a [u32],
    /// Added to the result; positions from the same place as those of the output.
    pub addend_at: Option<&'a [u32]>,
    pub segments: &'a [u32],
    pub length: usize,
    pub panel: &'a [f32],
    /// Eight scales and eight shifts.
    pub affine: Option<&'a [f32]>,
    /// Whether only the first four outputs are there.
    pub half: bool,
    pub finish: Finish,
}

/// Four pixels by eight outputs at a time, for a multiple of four pixels.
///
/// The order of the loads is the one that keeps all sums in registers in V8 and in SpiderMonkey; a tile of 5 or 6 pixels,
/// or a loop unrolled twice, takes twice the time.
///
/// # Safety
/// What the tables point at must be memory: `segments` stretches of `length` numbers at each input, eight numbers (four if
/// `half`) at each output and addend. The panel has eight numbers for each of the stretches' numbers, and eight biases; `affine` has sixteen numbers.
#[inline(never)]
pub(super) unsafe fn tiles(job: &Job) {
    let Job { input, output, .. } = *job;
    let slope = F32x4::splat(job.finish.slope);
    let high = F32x4::splat(job.finish.high);
    let mut tile = 0;
    while tile + 4 <= job.input_at.len() {
        // SAFETY: as the caller promises; `tile + 3` is inside the tables, which are of one length.
        unsafe {
            let at = |lane: usize| *job.input_at.get_unchecked(tile + lane) as usize;
            let (a0, a1, a2, a3) = (input.add(at(0)), input.add(at(1)), input.add(at(2)), input.add(at(3)));
            let mut weights = job.panel.as_ptr();
            let (bias0, bias1) = (F32x4::load(weights), F32x4::load(weights.add(4)));
            weights = weights.add(BLOCK);
            let (mut s00, mut s01) = (bias0, bias1);
            let (mut s10, mut s11) = (bias0, bias1);
            let (mut s20, mut s21) = (bias0, bias1);
            let (mut s30, mut s31) = (bias0, bias1);
            for &segment in job.segments {
                let segment = segment as usize;
                let (mut p0, mut p1) = (a0.add(segment), a1.add(segment));
                let (mut p2, mut p3) = (a2.add(segment), a3.add(segment));
                for _ in 0..job.length {
                    let (w0, w1) = (F32x4::load(weights), F32x4::load(weights.add(4)));
                    let x = F32x4::splat_at(p0);
                    s00 = s00 + x * w0;
                    s01 = s01 + x * w1;
                    let x = F32x4::splat_at(p1);
                    s10 = s10 + x * w0;
                    s11 = s11 + x * w1;
                    let x = F32x4::splat_at(p2);
                    s20 = s20 + x * w0;
                    s21 = s21 + x * w1;
                    let x = F32x4::splat_at(p3);
                    s30 = s30 + x * w0;
                    s31 = s31 + x * w1;
                    p0 = p0.add(1);
                    p1 = p1.add(1);
                    p2 = p2.add(1);
                    p3 = p3.add(1);
                    weights = weights.add(BLOCK);
                }
            }
            if let Some(affine) = job.affine {
                let (scale0, scale1) = (F32x4::load(affine.as_ptr()), F32x4::load(affine.as_ptr().add(4)));
                let (shift0, shift1) = (F32x4::load(affine.as_ptr().add(8)), F32x4::load(affine.as_ptr().add(12)));
                (s00, s01) = (s00 * scale0 + shift0, s01 * scale1 + shift1);
                (s10, s11) = (s10 * scale0 + shift0, s11 * scale1 + shift1);
                (s20, s21) = (s20 * scale0 + shift0, s21 * scale1 + shift1);
                (s30, s31) = (s30 * scale0 + shift0, s31 * scale1 + shift1);
            }
            if let Some(addend_at) = job.addend_at {
                let from = |lane: usize| output.cast_const().add(*addend_at.get_unchecked(tile + lane) as usize);
                let (from0, from1, from2, from3) = (from(0), from(1), from(2), from(3));
                s00 = s00 + F32x4::load(from0);
                s10 = s10 + F32x4::load(from1);
                s20 = s20 + F32x4::load(from2);
                s30 = s30 + F32x4::load(from3);
                if !job.half {
                    s01 = s01 + F32x4::load(from0.add(4));
                    s11 = s11 + F32x4::load(from1.add(4));
                    s21 = s21 + F32x4::load(from2.add(4));
                    s31 = s31 + F32x4::load(from3.add(4));
                }
            }
            let finish = |sum: F32x4| (sum * slope).max(sum).min(high);
            let to = |lane: usize| output.add(*job.output_at.get_unchecked(tile + lane) as usize);
            let (to0, to1, to2, to3) = (to(0), to(1), to(2), to(3));
            finish(s00).store(to0);
            finish(s10).store(to1);
            finish(s20).store(to2);
            finish(s30).store(to3);
            if !job.half {
                finish(s01).store(to0.add(4));
                finish(s11).store(to1.add(4));
                finish(s21).store(to2.add(4));
                finish(s31).store(to3.add(4));
            }
        }
        tile += 4;
    }
}

/// One pixel by eight outputs, the sums split in four so that additions need not wait for each other.
///
/// # Safety
/// As for [`tiles`].
#[inline(never)]
unsafe fn single(job: &Job) {
    // SAFETY: as the caller promises.
    unsafe {
        let start = job.input.add(job.input_at[0] as usize);
        let mut weights = job.panel.as_ptr();
        let (mut s0, mut s1) = (F32x4::load(weights), F32x4::load(weights.add(4)));
        weights = weights.add(BLOCK);
        let zero = F32x4::splat(0.);
        let (mut t0, mut t1, mut u0, mut u1, mut v0, mut v1) = (zero, zero, zero, zero, zero, zero);
        for &segment in job.segments {
            let mut from = start.add(segment as usize);
            for _ in 0..job.length / 4 {
                let x = F32x4::splat_at(from);
                s0 = s0 + x * F32x4::load(weights);
                s1 = s1 + x * F32x4::load(weights.add(4));
                let x = F32x4::splat_at(from.add(1));
                t0 = t0 + x * F32x4::load(weights.add(8));
                t1 = t1 + x * F32x4::load(weights.add(12));
                let x = F32x4::splat_at(from.add(2));
                u0 = u0 + x * F32x4::load(weights.add(16));
                u1 = u1 + x * F32x4::load(weights.add(20));
                let x = F32x4::splat_at(from.add(3));
                v0 = v0 + x * F32x4::load(weights.add(24));
                v1 = v1 + x * F32x4::load(weights.add(28));
                from = from.add(4);
                weights = weights.add(4 * BLOCK);
            }
            for _ in 0..job.length % 4 {
                let x = F32x4::splat_at(from);
                s0 = s0 + x * F32x4::load(weights);
                s1 = s1 + x * F32x4::load(weights.add(4));
                from = from.add(1);
                weights = weights.add(BLOCK);
            }
        }
        let (mut s0, mut s1) = ((s0 + t0) + (u0 + v0), (s1 + t1) + (u1 + v1));
        if let Some(affine) = job.affine {
            let from = affine.as_ptr();
            s0 = s0 * F32x4::load(from) + F32x4::load(from.add(8));
            s1 = s1 * F32x4::load(from.add(4)) + F32x4::load(from.add(12));
        }
        if let Some(addend_at) = job.addend_at {
            let from = job.output.cast_const().add(addend_at[0] as usize);
            s0 = s0 + F32x4::load(from);
            if !job.half {
                s1 = s1 + F32x4::load(from.add(4));
            }
        }
        let slope = F32x4::splat(job.finish.slope);
        let high = F32x4::splat(job.finish.high);
        let to = job.output.add(job.output_at[0] as usize);
        (s0 * slope).max(s0).min(high).store(to);
        if !job.half {
            (s1 * slope).max(s1).min(high).store(to.add(4));
        }
    }
}
