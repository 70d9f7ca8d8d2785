//! 3×3 convolutions of stride 1 with less than half of the multiplications.
//!
//! F(4×4, 3×3) of Lavin and Gray 2016, <https://arxiv.org/abs/1509.09308>, section 4.3: 36 products give 16 outputs that
//! take 144 otherwise, with other points than theirs. On small maps F(2×2, 3×3),
//! section 4.1, takes hardly longer: 16 products for 4 outputs, fewer of them beyond the edges, and not half as many weights.

use super::convolution::{Job, Places, Stretch, chains, tiles};
use super::simd::F32x4;
use super::{After, Order, Panels, Planes, Rectifier, Window, assert_covering};

/// Transformed numbers that are in work at a time: what the second-level cache holds.
const RESIDENT: usize = 160 * 1024;
const BLOCK: usize = 8;
/// The points at which large tiles' polynomials are taken, with 0 and infinity: ±1/√2 and ±√2. Their transforms multiply by
/// numbers that are nearer to 1 than those of ±1 and ±2, which the paper takes.
const NEAR: f64 = std::f64::consts::FRAC_1_SQRT_2;
const FAR: f64 = std::f64::consts::SQRT_2;
/// From so many kernels on small tiles are worth some more multiplications, and from so many on any number of them:
/// otherwise the weights outgrow the caches, and the network's memory doubles.
const SOME: usize = 80 * 80;
const MANY: usize = 256 * 256;

/// How the outputs are divided into tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tiling {
    /// Outputs of a tile along each axis: 2 or 4.
    side: usize,
}

impl Tiling {
    pub const SMALL: Tiling = Tiling { side: 2 };
    pub const LARGE: Tiling = Tiling { side: 4 };

    /// The way that pays for such a convolution, if there is any. `input` and `output` are channels, height and width.
    pub fn of(window: &Window, groups: usize, input: [usize; 3], output: [usize; 3]) -> Option<Tiling> {
        let fits = window.kernel == [3, 3]
            && window.stride == [1, 1]
            && window.dilation == [1, 1]
            && groups == 1
            && input[0] >= 8
            && output[0] >= 8
            // A single row of tiles would compute more outputs than there are.
            && output[1] >= 4
            && output[2] >= 4;
        let kernels = input[0] * output[0];
        let cost = |tiling: Tiling| tiling.products() * tiling.tiles(output[1], output[2]).next_multiple_of(4);
        // Large tiles make four times the weights of them, small ones not twice as many.
        let small = kernels > MANY || kernels > SOME && 2 * cost(Tiling::SMALL) <= 3 * cost(Tiling::LARGE);
        fits.then_some(if small { Tiling::SMALL } else { Tiling::LARGE })
    }

    /// How far beyond the image the tiles of an output of this size read, after the padding before it: the rows below
    /// and the columns to the right that must be there, counted from the first row and column.
    pub fn needed(self, output: [usize; 2], padding: [usize; 2]) -> [usize; 2] {
        std::array::from_fn(|i| (output[i].next_multiple_of(self.side) + 2).saturating_sub(padding[i]))
    }

    /// How many numbers the transformed inputs and outputs take.
    pub fn scratch(self, input_channels: usize, output: Planes) -> usize {
        let (chunk, inputs, outputs) = self.sizes(input_channels, output);
        self.products() * chunk * (inputs + outputs)
    }

    fn products(self) -> usize {
        (self.side + 2) * (self.side + 2)
    }

    fn tiles(self, height: usize, width: usize) -> usize {
        height.div_ceil(self.side) * width.div_ceil(self.side)
    }

    /// Tiles in work at a time, and channels of the transformed inputs and outputs.
    fn sizes(self, input_channels: usize, output: Planes) -> (usize, usize, usize) {
        let (inputs, outputs) = (input_channels.next_multiple_of(4), output.channels.next_multiple_of(BLOCK));
        let all = self.tiles(output.height, output.width);
        // A few tiles more at a time cost less than all weights once more for the few that are left.
        let most = (RESIDENT / self.products() / (inputs + outputs)).max(16);
        let chunks = ((2 * all + most) / (2 * most)).max(1);
        (all.div_ceil(chunks).next_multiple_of(4), inputs, outputs)
    }
}

/// A 3×3 convolution of stride 1 and what comes after it.
pub struct Winograd {
    tiling: Tiling,
    input: Planes,
    output: Planes,
    addend: Option<Planes>,
    padding: [usize; 2],
    /// As [`Order::Winograd`] says.
    panels: Panels,
    bias: Vec<f32>,
    /// Of each four outputs four scales and four shifts; empty if there are none.
    affine: Vec<f32>,
    rectifier: Rectifier,
    /// Tiles down and across, and in work at a time.
    grid: [usize; 2],
    chunk: usize,
    /// Where the transformed inputs and outputs lie.
    scratch: usize,
    /// The channels, which a product reads.
    chains: Vec<Vec<Stretch>>,
    /// The tiles of a chunk in the transformed inputs and outputs.
    places: Vec<Places>,
    pub(super) reach: usize,
}

impl Winograd {
    /// `packed` gives the weights `[outputs, inputs, 3, 3]` in an order; `scratch` is where the numbers of [`Tiling::scratch`] are free.
    pub fn new(
        tiling: Tiling,
        [input, output]: [Planes; 2],
        padding: [usize; 2],
        packed: &dyn Fn(Order) -> Panels,
        after: &After,
        scratch: usize,
    ) -> Winograd {
        let (chunk, inputs, outputs) = tiling.sizes(input.channels, output);
        assert_covering(output, after.addend.as_slice());
        let grid = [output.height.div_ceil(tiling.side), output.width.div_ceil(tiling.side)];
        let panels = packed(Order::Winograd { tiling, inputs: input.channels, outputs: output.channels });
        let length = tiling.products() * outputs * (1 + input.channels);
        assert_eq!(panels.len(), length, "the weights were packed for this kernel");
        let mut bias = after.bias.clone();
        bias.resize(outputs, 0.);
        let [rows, columns] = tiling.needed([output.height, output.width], padding);
        let read = input.at(rows as isize - 1, columns as isize - 1) + 4 * input.vectors();
        let reach = read
            .max(output.end())
            .max(after.addend.map_or(0, |planes| planes.end()))
            .max(scratch + tiling.scratch(input.channels, output));
        Winograd {
            tiling,
            input,
            output,
            addend: after.addend,
            padding,
            panels,
            bias,
            affine: after.affine_blocks(0, output.channels, 4),
            rectifier: after.rectifier,
            grid,
            chunk,
            scratch,
            chains: chains(&[0], input.channels),
            places: (0..chunk)
                .step_by(4)
                .map(|first| {
                    let at = |channels: usize| std::array::from_fn(|lane| ((first + lane) * channels) as u32);
                    Places { input: at(inputs), output: at(outputs) }
                })
                .collect(),
            reach,
        }
    }

    pub fn run(&self, memory: &mut [f32]) {
        match self.tiling.side {
            2 => self.run_tiles::<2, 4>(memory),
            _ => self.run_tiles::<4, 6>(memory),
        }
    }

    /// By tiles of `OUT` × `OUT` outputs and `IN` × `IN` inputs.
    fn run_tiles<const OUT: usize, const IN: usize>(&self, memory: &mut [f32]) {
        assert!(self.reach <= memory.len(), "the memory was made for this kernel");
        let (inputs, outputs) = (4 * self.input.vectors(), self.bias.len());
        let memory = memory.as_mut_ptr();
        let (input_plane, output_plane) = (self.chunk * inputs, self.chunk * outputs);
        // SAFETY: `reach` covers the scratch, which begins there.
        let transformed = unsafe { memory.add(self.scratch) };
        // SAFETY: and it covers the products, which follow.
        let products = unsafe { transformed.add(IN * IN * input_plane) };
        let [_, across] = self.grid;
        let all = self.grid[0] * across;
        let panel = BLOCK * (1 + self.input.channels);
        for first in (0..all).step_by(self.chunk) {
            let count = self.chunk.min(all - first);
            for tile in 0..count {
                let (y, x) = ((first + tile) / across * OUT, (first + tile) % across * OUT);
                let at = self.input.at(y as isize - self.padding[0] as isize, x as isize - self.padding[1] as isize);
                // SAFETY: `reach` covers the last tile of the image and the scratch.
                unsafe {
                    gather::<IN>(memory.add(at), self.input, transformed.add(tile * inputs), input_plane);
                }
            }
            let mut panels = self.panels.chunks_exact(panel);
            for product in 0..IN * IN {
                for block in 0..outputs / BLOCK {
                    let job = Job {
                        // SAFETY: the plane lies in the scratch.
                        input: unsafe { transformed.add(product * input_plane) },
                        // SAFETY: so does this one, behind the inputs' planes.
                        output: unsafe { products.add(product * output_plane + block * BLOCK) },
                        places: &self.places[..count.div_ceil(4)],
                        addends: None,
                        affine: None,
                        chains: &self.chains,
                        panel: panels.next().expect("there are as many panels as products and blocks"),
                        half: false,
                        rectifier: Rectifier::PLAIN,
                    };
                    // SAFETY: the tables stay inside a plane; whatever lies in tiles beyond `count` is not used.
                    unsafe { tiles(&job) };
                }
            }
            for tile in 0..count {
                let (y, x) = ((first + tile) / across * OUT, (first + tile) % across * OUT);
                // SAFETY: `reach` covers the output, the addend and the scratch; `scatter` stays inside the image.
                unsafe { self.scatter::<OUT, IN>(memory, products.add(tile * outputs), output_plane, y, x) };
            }
        }
    }

    /// Transforms the products of one tile back and stores its outputs.
    ///
    /// # Safety
    /// All planes of products, the output and the addend must lie in memory.
    #[inline(never)]
    unsafe fn scatter<const OUT: usize, const IN: usize>(
        &self,
        memory: *mut f32,
        products: *const f32,
        plane: usize,
        y: usize,
        x: usize,
    ) {
        let (rows, columns) = (OUT.min(self.output.height - y), OUT.min(self.output.width - x));
        let slope = F32x4::splat(self.rectifier.slope);
        let high = F32x4::splat(self.rectifier.high);
        // SAFETY: as the caller promises.
        let at = |planes: Planes| unsafe { memory.add(planes.at(y as isize, x as isize)) };
        let to = at(self.output);
        let addend = self.addend.map(|planes| (at(planes).cast_const(), planes));
        for vector in 0..self.output.vectors() {
            // SAFETY: as the caller promises.
            unsafe {
                let products = products.add(4 * vector);
                let mut half = [[F32x4::splat(0.); OUT]; IN];
                for (column, half) in half.iter_mut().enumerate() {
                    *half = output_transform(all::<IN>(|row| F32x4::load(products.add((row * IN + column) * plane))));
                }
                let bias = F32x4::load(self.bias.as_ptr().add(4 * vector));
                let affine = self.affine.get(8 * vector..8 * (vector + 1)).map(<[f32]>::as_ptr);
                let affine = affine.map(|from| (F32x4::load(from), F32x4::load(from.add(4))));
                let across = |row: usize| all::<IN>(|column| half[column][row]);
                for row in 0..rows {
                    let out: [F32x4; OUT] = output_transform(across(row));
                    let to = to.add(row * self.output.row + 4 * vector);
                    for (column, &value) in out.iter().enumerate().take(columns) {
                        let mut value = value + bias;
                        if let Some((scale, shift)) = affine {
                            value = value * scale + shift;
                        }
                        if let Some((from, planes)) = addend {
                            value =
                                value + F32x4::load(from.add(row * planes.row + column * planes.pixel + 4 * vector));
                        }
                        (value * slope).max(value).min(high).store(to.add(column * self.output.pixel));
                    }
                }
            }
        }
    }
}

pub(super) fn pack(weights: &[f32], tiling: Tiling, inputs: usize, outputs: usize) -> Vec<f32> {
    match tiling.side {
        2 => transform_weights::<4>(weights, inputs, outputs),
        _ => transform_weights::<6>(weights, inputs, outputs),
    }
}

/// G g Gᵀ of each kernel, for each of the products in the order in which [`tiles`] reads blocks of eight outputs.
fn transform_weights<const IN: usize>(weights: &[f32], inputs: usize, outputs: usize) -> Vec<f32> {
    let panel = BLOCK * (1 + inputs);
    let blocks = outputs.div_ceil(BLOCK);
    let mut panels = vec![0.; IN * IN * blocks * panel];
    for (block, kernels) in weights.chunks(BLOCK * inputs * 9).enumerate() {
        transform_block::<IN>(kernels, inputs, &mut panels[block * panel..], blocks * panel);
    }
    panels
}

/// The kernels of up to eight outputs into their panels, which lie `plane` apart for each product. A function of its own,
/// because a browser makes fast code of it only for its next call.
#[inline(never)]
fn transform_block<const IN: usize>(kernels: &[f32], inputs: usize, panels: &mut [f32], plane: usize) {
    assert!(panels.len() >= (IN * IN - 1) * plane + BLOCK * (1 + inputs), "there is room for every product");
    for (lane, kernels) in kernels.chunks_exact(9 * inputs).enumerate() {
        for (input, kernel) in kernels.as_chunks::<9>().0.iter().enumerate() {
            let g = kernel.map(f64::from);
            let columns = [0, 1, 2].map(|column| kernel_transform::<IN>([g[column], g[3 + column], g[6 + column]]));
            let mut at = (1 + input) * BLOCK + lane;
            for row in 0..IN {
                for product in kernel_transform::<IN>(columns.map(|column| column[row])) {
                    panels[at] = product as f32;
                    at += plane;
                }
            }
        }
    }
}

/// G g, in double precision: rounded at each step the activations of a layer are off enough for the third power of their
/// gradients, which Smooth Grad-CAM++ takes, to tell.
#[inline(always)]
fn kernel_transform<const IN: usize>([a, b, c]: [f64; 3]) -> [f64; IN] {
    if IN == 4 {
        return whole([a, (a + c) * 0.5 + b * 0.5, (a + c) * 0.5 - b * 0.5, c]);
    }
    let at = |point: f64, other: f64| {
        let (square, share) = (point * point, 1. / (2. * point * point * (point * point - other * other)));
        ((a + square * c) * share, point * b * share)
    };
    let ((near, near_odd), (far, far_odd)) = (at(NEAR, FAR), at(FAR, NEAR));
    whole([a, near + near_odd, near - near_odd, far + far_odd, far - far_odd, c])
}

/// Transforms the inputs of one tile, all channels, into one number for each product.
///
/// # Safety
/// The tile's six by six pixels and all planes `to` must lie in memory.
#[inline(never)]
unsafe fn gather<const IN: usize>(from: *const f32, input: Planes, to: *mut f32, plane: usize) {
    for vector in 0..input.vectors() {
        // SAFETY: as the caller promises.
        unsafe {
            let (from, to) = (from.add(4 * vector), to.add(4 * vector));
            let mut half = [[F32x4::splat(0.); IN]; IN];
            for (column, half) in half.iter_mut().enumerate() {
                *half = input_transform(all(|row| F32x4::load(from.add(row * input.row + column * input.pixel))));
            }
            let across = |row: usize| all::<IN>(|column| half[column][row]);
            for row in 0..IN {
                let out: [F32x4; IN] = input_transform(across(row));
                for (column, value) in out.into_iter().enumerate() {
                    value.store(to.add((row * IN + column) * plane));
                }
            }
        }
    }
}

/// Bᵀ d.
#[inline(always)]
fn input_transform<const IN: usize>(d: [F32x4; IN]) -> [F32x4; IN] {
    if IN == 4 {
        return whole([d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]]);
    }
    let [half, two, sum] = [0.5, 2., 2.5].map(F32x4::splat);
    let (near, near_odd) = (d[4] - two * d[2], F32x4::splat(NEAR as f32) * (d[3] - two * d[1]));
    let (far, far_odd) = (d[4] - half * d[2], F32x4::splat(FAR as f32) * (d[3] - half * d[1]));
    whole([
        d[0] - sum * d[2] + d[4],
        near + near_odd,
        near - near_odd,
        far + far_odd,
        far - far_odd,
        d[1] - sum * d[3] + d[5],
    ])
}

/// Aᵀ m.
#[inline(always)]
fn output_transform<const OUT: usize, const IN: usize>(m: [F32x4; IN]) -> [F32x4; OUT] {
    let (near, near_odd) = (m[1] + m[2], m[1] - m[2]);
    if OUT == 2 {
        return whole([m[0] + near, near_odd - m[3]]);
    }
    let [half, two] = [0.5, 2.].map(F32x4::splat);
    let (far, far_odd) = (m[3] + m[4], F32x4::splat(FAR as f32) * (m[3] - m[4]));
    let near_odd = F32x4::splat(NEAR as f32) * near_odd;
    whole([m[0] + near + far, near_odd + far_odd, half * near + two * far, half * near_odd + two * far_odd + m[5]])
}

/// Four or six vectors, written out: optimised for size a loop would keep them in memory.
#[inline(always)]
fn all<const IN: usize>(at: impl Fn(usize) -> F32x4) -> [F32x4; IN] {
    if IN == 4 { whole([at(0), at(1), at(2), at(3)]) } else { whole([at(0), at(1), at(2), at(3), at(4), at(5)]) }
}

/// The same numbers, of which there are as many as the type says.
#[inline(always)]
fn whole<T: Copy, const N: usize, const LENGTH: usize>(values: [T; N]) -> [T; LENGTH] {
    *values.first_chunk().expect("the lengths are the same")
}
