//! Convolutions as sums over contiguous stretches of the input, and linear layers as convolutions of one pixel.

use std::mem::MaybeUninit;
use std::ops::Range;

use super::simd::F32x4;
use super::{After, Order, Panels, Planes, assert_covering, reach};
use crate::formula::{Rectifier, Window};

/// Output channels that are computed together.
const BLOCK: usize = 8;
/// Pixels that are computed together.
const TILE: usize = 4;
/// Tiles a call of the innermost function: enough to make the call cheap, few enough for it to come often.
const STRIP: usize = 16;
/// Products that are added up one after the other, about: the sums of such chains are added then. One chain of all of a
/// window's products, of which there may be thousands, rounds away several times as much.
const CHAIN: usize = 256;
/// Numbers of the input that stay in the second-level cache while all weights pass by.
const RESIDENT: usize = 24 * 1024;

/// A convolution and what comes after it.
pub struct Convolution {
    /// The output pixels, filled up to whole tiles with the last one.
    places: Vec<Places>,
    /// Where the numbers lie that are added to those of a tile.
    addends: Option<Vec<[u32; TILE]>>,
    pixels: usize,
    /// What a window reads.
    chains: Vec<Vec<Stretch>>,
    /// Numbers of a window that lie one behind the other.
    length: usize,
    /// As [`Order::Direct`] says.
    panels: Panels,
    groups: Vec<Group>,
    rectifier: Rectifier,
    pub(super) reach: usize,
}

/// Output channels that share their inputs.
struct Group {
    /// The first input channel and the first output channel.
    first: [usize; 2],
    outputs: usize,
    /// Of each block eight scales and eight shifts; empty if there are none.
    affine: Vec<f32>,
}

impl Convolution {
    /// `packed` gives the weights `[outputs, inputs / groups, kernel height, kernel width]` and `after`'s biases in an order.
    ///
    /// With more than one group, the outputs of each must be a multiple of four.
    pub fn new(
        [input, output]: [Planes; 2],
        window: Window,
        groups: usize,
        packed: &dyn Fn(Order) -> Panels,
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
        let panels = packed(Order::Direct {
            outputs: output.channels,
            inputs: per_group,
            groups,
            kernel: window.kernel,
            joined: joined.then_some(input.pixel),
        });
        let outputs = output.channels / groups;
        assert!(groups == 1 || outputs.is_multiple_of(4), "groups of outputs are whole vectors");
        assert_covering(output, after.addend.as_slice());
        let groups: Vec<Group> = (0..groups)
            .map(|group| {
                let first = group * outputs;
                let affine = after.affine_blocks(first, outputs, BLOCK);
                Group { first: [group * per_group, first], outputs, affine }
            })
            .collect();
        let panel = BLOCK * (1 + segments.len() * length);
        assert_eq!(
            panels.len(),
            groups.len() * outputs.div_ceil(BLOCK) * panel,
            "the weights were packed for this kernel"
        );
        let pixels = output.height * output.width;
        let tile = |tile: usize, at: &dyn Fn(usize, usize) -> usize| -> [u32; TILE] {
            std::array::from_fn(|lane| {
                let pixel = (tile * TILE + lane).min(pixels - 1);
                at(pixel / output.width, pixel % output.width) as u32
            })
        };
        let begins = |y, x| {
            let (y, x) = window.corner(y, x);
            input.at(y, x)
        };
        let of = |planes: Planes| move |y, x| planes.at(y as isize, x as isize);
        let tiles = 0..pixels.div_ceil(TILE);
        let places: Vec<Places> =
            tiles.clone().map(|at| Places { input: tile(at, &begins), output: tile(at, &of(output)) }).collect();
        let addends = after.addend.map(|addend| tiles.map(|at| tile(at, &of(addend))).collect());
        let begin = places.iter().flat_map(|places| places.input).max().unwrap_or(0) as usize;
        let read = begin + segments.last().map_or(0, |&last| last as usize) + input.channels.max(length);
        let written = reach(&[output, after.addend.unwrap_or(output)]);
        Convolution {
            places,
            addends,
            pixels,
            chains: chains(&segments, length),
            length,
            panels,
            groups,
            rectifier: after.rectifier,
            reach: read.max(written),
        }
    }

    pub fn run(&self, memory: &mut [f32]) {
        assert!(self.reach <= memory.len(), "the memory was made for this kernel");
        let memory = memory.as_mut_ptr();
        let each = self.panels.len() / self.groups.len();
        for (group, panels) in self.groups.iter().zip(self.panels.chunks_exact(each)) {
            let blocks = group.outputs.div_ceil(BLOCK);
            let panel = panels.len() / blocks;
            let job = |block: usize, tiles: Range<usize>| Job {
                // SAFETY: the first input channel lies within `reach`.
                input: unsafe { memory.add(group.first[0]) },
                // SAFETY: and so do the block's output channels, of which there are as many as panels.
                output: unsafe { memory.add(group.first[1] + block * BLOCK) },
                places: &self.places[tiles.clone()],
                addends: self.addends.as_ref().map(|addends| &addends[tiles]),
                chains: &self.chains,
                panel: &panels[block * panel..][..panel],
                affine: group.affine.get(2 * block * BLOCK..2 * (block + 1) * BLOCK),
                half: group.outputs - block * BLOCK <= 4,
                rectifier: self.rectifier,
            };
            if self.pixels < TILE {
                for first in (0..blocks).step_by(4) {
                    // The last block is computed again where there are less than four.
                    let jobs = std::array::from_fn(|next| job((first + next).min(blocks - 1), 0..1));
                    for lane in 0..self.pixels {
                        // SAFETY: all positions of the tables lie within `reach`.
                        unsafe { single(&jobs, lane) };
                    }
                }
                continue;
            }
            // A stretch may be longer than all that stays.
            let chunk = (RESIDENT / TILE / self.length).max(1).next_multiple_of(STRIP);
            for first in (0..self.places.len()).step_by(chunk) {
                let end = (first + chunk).min(self.places.len());
                for block in 0..blocks {
                    for strip in (first..end).step_by(STRIP) {
                        // SAFETY: all positions of the tables lie within `reach`.
                        unsafe { tiles(&job(block, strip..(strip + STRIP).min(end))) };
                    }
                }
            }
        }
    }
}

/// Which weight of an output belongs to each number that its window reads, if one does.
pub(super) fn order(inputs: usize, [kh, kw]: [usize; 2], joined: Option<usize>) -> Vec<Option<usize>> {
    let weight = move |ky: usize, kx: usize, channel: usize| (channel * kh + ky) * kw + kx;
    match joined {
        Some(pixel) => {
            let length = (kw - 1) * pixel + inputs;
            let at = move |ky: usize, offset: usize| {
                let (kx, channel) = (offset / pixel, offset % pixel);
                (channel < inputs).then(|| weight(ky, kx, channel))
            };
            (0..kh).flat_map(|ky| (0..length).map(move |offset| at(ky, offset))).collect()
        }
        None => {
            let taps = (0..kh).flat_map(|ky| (0..kw).map(move |kx| (ky, kx)));
            taps.flat_map(|(ky, kx)| (0..inputs).map(move |channel| Some(weight(ky, kx, channel)))).collect()
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

/// Numbers of a window that lie one behind the other: where the first of them is, from where the window begins, and how many.
pub(super) struct Stretch {
    from: u32,
    length: u32,
}

/// What a window reads, segments of `length` numbers, as stretches in chains of about [`CHAIN`] numbers.
pub(super) fn chains(segments: &[u32], length: usize) -> Vec<Vec<Stretch>> {
    let numbers = segments.len() * length;
    let most = numbers.div_ceil(numbers.div_ceil(CHAIN)).next_multiple_of(4).min(length);
    let mut chains: Vec<Vec<Stretch>> = vec![];
    let mut free = 0;
    for &segment in segments {
        for begin in (0..length).step_by(most) {
            let length = most.min(length - begin);
            if free < length {
                chains.push(vec![]);
                free = CHAIN + most / 2;
            }
            free -= length;
            let stretch = Stretch { from: segment + begin as u32, length: length as u32 };
            chains.last_mut().expect("there is one with room").push(stretch);
        }
    }
    chains
}

/// The pixels of a tile: where their windows begin, and where their outputs go.
pub(super) struct Places {
    pub input: [u32; TILE],
    pub output: [u32; TILE],
}

/// A block of outputs for some tiles.
pub(super) struct Job<'a> {
    pub input: *const f32,
    pub output: *mut f32,
    pub places: &'a [Places],
    /// Added to the results; positions from the same place as those of the outputs.
    pub addends: Option<&'a [[u32; TILE]]>,
    pub chains: &'a [Vec<Stretch>],
    pub panel: &'a [f32],
    /// Eight scales and eight shifts.
    pub affine: Option<&'a [f32]>,
    /// Whether only the first four outputs are there.
    pub half: bool,
    pub rectifier: Rectifier,
}

/// Four pixels by eight outputs at a time.
///
/// # Safety
/// What the places and addends point at must be memory: all stretches, of which there is at least one, at each input, eight
/// numbers (four if `half`) at each output and addend. The panel has eight numbers for each of the stretches' numbers, and
/// eight biases; `affine` has sixteen numbers.
pub(super) unsafe fn tiles(job: &Job) {
    let (last, before) = job.chains.split_last().expect("a window reads something");
    let weights = job.panel[BLOCK..].as_ptr();
    // SAFETY: as the caller promises.
    unsafe {
        if before.is_empty() {
            return outputs(job, 0..job.places.len(), last, weights, None);
        }
        let mut sums = [const { MaybeUninit::<Sums>::uninit() }; STRIP];
        for first in (0..job.places.len()).step_by(STRIP) {
            let strip = first..(first + STRIP).min(job.places.len());
            let mut weights = weights;
            for (index, chain) in before.iter().enumerate() {
                weights = add_chain(job, strip.clone(), chain, weights, index == 0, sums.as_mut_ptr().cast());
            }
            outputs(job, strip, last, weights, Some(sums.as_ptr().cast()));
        }
    }
}

/// Writes a chain's products, added up, to the sums of some tiles, or adds them to those; where the next chain's weights are.
///
/// # Safety
/// As for [`tiles`]; there is a place for the sums of each tile.
#[inline(never)]
unsafe fn add_chain(
    job: &Job,
    strip: Range<usize>,
    chain: &[Stretch],
    weights: *const f32,
    is_first: bool,
    sums: *mut Sums,
) -> *const f32 {
    let mut next = weights;
    for (place, tile) in strip.enumerate() {
        // SAFETY: as the caller promises.
        unsafe {
            let (found, after) = products(job, tile, chain, weights, [F32x4::splat(0.); 2]);
            next = after;
            let sums = sums.add(place);
            *sums = if is_first { found } else { plus(found, &*sums) };
        }
    }
    next
}

/// Of each pixel of a tile two vectors for eight outputs.
type Sums = [F32x4; 2 * TILE];

#[inline(always)]
fn plus([s00, s01, s10, s11, s20, s21, s30, s31]: Sums, other: &Sums) -> Sums {
    let [o00, o01, o10, o11, o20, o21, o30, o31] = *other;
    [s00 + o00, s01 + o01, s10 + o10, s11 + o11, s20 + o20, s21 + o21, s30 + o30, s31 + o31]
}

/// The outputs of some tiles, from the last chain and the sums of those before.
///
/// # Safety
/// As for [`tiles`]; the sums of each tile are there.
#[inline(never)]
unsafe fn outputs(job: &Job, strip: Range<usize>, chain: &[Stretch], weights: *const f32, before: Option<*const Sums>) {
    let slope = F32x4::splat(job.rectifier.slope);
    let high = F32x4::splat(job.rectifier.high);
    let first = strip.start;
    for tile in strip {
        // SAFETY: as the caller promises.
        unsafe {
            let bias = [F32x4::load(job.panel.as_ptr()), F32x4::load(job.panel.as_ptr().add(4))];
            let (mut sums, _) = products(job, tile, chain, weights, bias);
            if let Some(before) = before {
                sums = plus(sums, &*before.add(tile - first));
            }
            let [mut s00, mut s01, mut s10, mut s11, mut s20, mut s21, mut s30, mut s31] = sums;
            if let Some(affine) = job.affine {
                let (scale0, scale1) = (F32x4::load(affine.as_ptr()), F32x4::load(affine.as_ptr().add(4)));
                let (shift0, shift1) = (F32x4::load(affine.as_ptr().add(8)), F32x4::load(affine.as_ptr().add(12)));
                (s00, s01) = (shift0.plus(s00, scale0), shift1.plus(s01, scale1));
                (s10, s11) = (shift0.plus(s10, scale0), shift1.plus(s11, scale1));
                (s20, s21) = (shift0.plus(s20, scale0), shift1.plus(s21, scale1));
                (s30, s31) = (shift0.plus(s30, scale0), shift1.plus(s31, scale1));
            }
            if let Some(addends) = job.addends {
                let places = addends.get_unchecked(tile);
                let from = |lane: usize| job.output.cast_const().add(places[lane] as usize);
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
            let finish = |sum: F32x4| high.min((sum * slope).max(sum));
            let places = job.places.get_unchecked(tile);
            let to = |lane: usize| job.output.add(places.output[lane] as usize);
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
    }
}

/// The sums of a tile's products with a chain's weights from a start on, and where the next chain's weights are.
///
/// The order of the loads is the one that keeps all sums in registers in V8 and in SpiderMonkey; a tile of 5 or 6 pixels
/// takes twice the time. So does a loop unrolled without a way out after each number: whole sums are then put off, with
/// all that they need in registers.
///
/// # Safety
/// As for [`tiles`].
#[inline(always)]
unsafe fn products(
    job: &Job,
    tile: usize,
    chain: &[Stretch],
    mut weights: *const f32,
    start: [F32x4; 2],
) -> (Sums, *const f32) {
    let [start0, start1] = start;
    let (mut s00, mut s01) = (start0, start1);
    let (mut s10, mut s11) = (start0, start1);
    let (mut s20, mut s21) = (start0, start1);
    let (mut s30, mut s31) = (start0, start1);
    // SAFETY: as the caller promises.
    unsafe {
        let places = job.places.get_unchecked(tile);
        let from = |lane: usize| job.input.add(places.input[lane] as usize);
        let (a0, a1, a2, a3) = (from(0), from(1), from(2), from(3));
        for stretch in chain {
            let from = stretch.from as usize;
            let (mut p0, mut p1) = (a0.add(from), a1.add(from));
            let (mut p2, mut p3) = (a2.add(from), a3.add(from));
            let mut left = stretch.length as usize;
            macro_rules! add_products_and_leave_after_the_last {
                ($place:literal) => {
                    let w0 = F32x4::load(weights.add($place * BLOCK));
                    let w1 = F32x4::load(weights.add($place * BLOCK + 4));
                    let x = F32x4::splat_at(p0.add($place));
                    s00 = s00.plus(x, w0);
                    s01 = s01.plus(x, w1);
                    let x = F32x4::splat_at(p1.add($place));
                    s10 = s10.plus(x, w0);
                    s11 = s11.plus(x, w1);
                    let x = F32x4::splat_at(p2.add($place));
                    s20 = s20.plus(x, w0);
                    s21 = s21.plus(x, w1);
                    let x = F32x4::splat_at(p3.add($place));
                    s30 = s30.plus(x, w0);
                    s31 = s31.plus(x, w1);
                    if left == $place + 1 {
                        break;
                    }
                };
            }
            loop {
                add_products_and_leave_after_the_last!(0);
                add_products_and_leave_after_the_last!(1);
                add_products_and_leave_after_the_last!(2);
                add_products_and_leave_after_the_last!(3);
                left -= 4;
                (p0, p1, p2, p3) = (p0.add(4), p1.add(4), p2.add(4), p3.add(4));
                weights = weights.add(4 * BLOCK);
            }
            weights = weights.add(left * BLOCK);
        }
    }
    ([s00, s01, s10, s11, s20, s21, s30, s31], weights)
}

/// One pixel by four times eight outputs: what is read are mostly weights, which come sooner from four places at a time.
///
/// # Safety
/// As for [`tiles`]; there is a tile, the same in all jobs, and `lane` is less than four.
#[inline(never)]
unsafe fn single(jobs: &[Job; 4], lane: usize) {
    // SAFETY: as the caller promises.
    unsafe {
        let Job { input, places, chains, .. } = jobs[0];
        let start = input.add(places[0].input[lane] as usize);
        let [mut a, mut b, mut c, mut d] = jobs.each_ref().map(|job| job.panel.as_ptr());
        let load = |from: *const f32| (F32x4::load(from), F32x4::load(from.add(4)));
        let mut sums = [a, b, c, d].map(load);
        for chain in chains {
            let zero = F32x4::splat(0.);
            let [mut a0, mut a1, mut b0, mut b1, mut c0, mut c1, mut d0, mut d1] = [zero; 8];
            for stretch in chain {
                let mut from = start.add(stretch.from as usize);
                for _ in 0..stretch.length {
                    (a, b, c, d) = (a.add(BLOCK), b.add(BLOCK), c.add(BLOCK), d.add(BLOCK));
                    let x = F32x4::splat_at(from);
                    a0 = a0.plus(x, F32x4::load(a));
                    a1 = a1.plus(x, F32x4::load(a.add(4)));
                    b0 = b0.plus(x, F32x4::load(b));
                    b1 = b1.plus(x, F32x4::load(b.add(4)));
                    c0 = c0.plus(x, F32x4::load(c));
                    c1 = c1.plus(x, F32x4::load(c.add(4)));
                    d0 = d0.plus(x, F32x4::load(d));
                    d1 = d1.plus(x, F32x4::load(d.add(4)));
                    from = from.add(1);
                }
            }
            for (sum, next) in sums.iter_mut().zip([(a0, a1), (b0, b1), (c0, c1), (d0, d1)]) {
                *sum = (sum.0 + next.0, sum.1 + next.1);
            }
        }
        for (job, (s0, s1)) in jobs.iter().zip(sums) {
            finish(job, lane, s0, s1);
        }
    }
}

/// What comes after the sums of a pixel by eight outputs.
///
/// # Safety
/// As for [`single`].
unsafe fn finish(job: &Job, lane: usize, mut s0: F32x4, mut s1: F32x4) {
    // SAFETY: as the caller promises.
    unsafe {
        if let Some(affine) = job.affine {
            let from = affine.as_ptr();
            s0 = s0 * F32x4::load(from) + F32x4::load(from.add(8));
            s1 = s1 * F32x4::load(from.add(4)) + F32x4::load(from.add(12));
        }
        if let Some(addends) = job.addends {
            let from = job.output.cast_const().add(addends[0][lane] as usize);
            s0 = s0 + F32x4::load(from);
            if !job.half {
                s1 = s1 + F32x4::load(from.add(4));
            }
        }
        let slope = F32x4::splat(job.rectifier.slope);
        let high = F32x4::splat(job.rectifier.high);
        let to = job.output.add(job.places[0].output[lane] as usize);
        high.min((s0 * slope).max(s0)).store(to);
        if !job.half {
            high.min((s1 * slope).max(s1)).store(to.add(4));
        }
    }
}
