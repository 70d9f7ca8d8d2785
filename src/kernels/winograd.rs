//! 3×3 convolutions of stride 1 with a quarter of the multiplications.
//!
//! F(4×4, 3×3) of Lavin and Gray 2016, <https://arxiv.org/abs/1509.09308>, section 4.3: 36 products give 16 outputs that
//! take 144 otherwise. Its results differ from the plain sum's by some 4e-6 of the largest.

use super::convolution::{Job, Places, tiles};
use super::simd::F32x4;
use super::{After, Finish, Planes, Window};

/// Outputs of a tile along each axis, and inputs.
const OUT: usize = 4;
const IN: usize = 6;
const PRODUCTS: usize = IN * IN;
/// Transformed numbers that are in work at a time: what the second-level cache holds.
const RESIDENT: usize = 160 * 1024;
const BLOCK: usize = 8;

/// A 3×3 convolution of stride 1 and what comes after it.
pub(crate) struct Winograd {
    input: Planes,
    output: Planes,
    addend: Option<Planes>,
    padding: [usize; 2],
    /// For each of the products, blocks of eight outputs as [`tiles`] reads them.
    panels: Vec<f32>,
    bias: Vec<f32>,
    /// Of each four outputs four scales and four shifts; empty if there are none.
    affine: Vec<f32>,
    finish: Finish,
    /// Tiles down and across, and in work at a time.
    grid: [usize; 2],
    chunk: usize,
    /// Where the transformed inputs and outputs lie.
    scratch: usize,
    /// The tiles of a chunk in the transformed inputs and outputs.
    places: Vec<Places>,
    reach: usize,
}

impl Winograd {
    /// How far beyond the image the tiles of an output of this size read, after the padding before it: the rows below
    /// and the columns to the right that must be there, counted from the first row and column.
    pub(crate) fn needed(output: [usize; 2], padding: [usize; 2]) -> [usize; 2] {
        std::array::from_fn(|i| (output[i].next_multiple_of(OUT) + 2).saturating_sub(padding[i]))
    }

    /// How many numbers the transformed inputs and outputs take.
    pub(crate) fn scratch(input_channels: usize, output: Planes) -> usize {
        let (chunk, inputs, outputs) = sizes(input_channels, output);
        PRODUCTS * chunk * (inputs + outputs)
    }

    /// `weights` are `[outputs, inputs, 3, 3]`; `scratch` is where the numbers of [`Winograd::scratch`] are free.
    pub(crate) fn new(
        [input, output]: [Planes; 2],
        padding: [usize; 2],
        weights: &[f32],
        after: &After,
        scratch: usize,
    ) -> Winograd {
        let (chunk, inputs, outputs) = sizes(input.channels, output);
        let grid = [output.height.div_ceil(OUT), output.width.div_ceil(OUT)];
        let mut bias = after.bias.clone();
        bias.resize(outputs, 0.);
        let [rows, columns] = Winograd::needed([output.height, output.width], padding);
        let read = input.at(rows as isize - 1, columns as isize - 1) + 4 * input.vectors();
        let reach = read
            .max(output.end())
            .max(after.addend.map_or(0, |planes| planes.end()))
            .max(scratch + PRODUCTS * chunk * (inputs + outputs));
        Winograd {
            input,
            output,
            addend: after.addend,
            padding,
            panels: transform_weights(weights, input.channels, output.channels),
            bias,
            affine: after.affine_blocks(0, output.channels, 4),
            finish: after.finish,
            grid,
            chunk,
            scratch,
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

    pub(crate) fn run(&self, memory: &mut [f32]) {
        assert!(self.reach <= memory.len(), "the memory was made for this kernel");
        let (inputs, outputs) = (4 * self.input.vectors(), self.bias.len());
        let memory = memory.as_mut_ptr();
        let (input_plane, output_plane) = (self.chunk * inputs, self.chunk * outputs);
        // SAFETY: `reach` covers both.
        let transformed = unsafe { memory.add(self.scratch) };
        let products = unsafe { transformed.add(PRODUCTS * input_plane) };
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
                    gather(memory.add(at), self.input, transformed.add(tile * inputs), input_plane);
                }
            }
            let mut panels = self.panels.chunks_exact(panel);
            for product in 0..PRODUCTS {
                for block in 0..outputs / BLOCK {
                    let job = Job {
                        // SAFETY: both planes lie in the scratch.
                        input: unsafe { transformed.add(product * input_plane) },
                        output: unsafe { products.add(product * output_plane + block * BLOCK) },
                        places: &self.places[..count.div_ceil(4)],
                        addends: None,
                        affine: None,
                        segments: &[0],
                        length: self.input.channels,
                        panel: panels.next().expect("there are as many panels as products and blocks"),
                        half: false,
                        finish: Finish::PLAIN,
                    };
                    // SAFETY: the tables stay inside a plane; whatever lies in tiles beyond `count` is not used.
                    unsafe { tiles(&job) };
                }
            }
            for tile in 0..count {
                let (y, x) = ((first + tile) / across * OUT, (first + tile) % across * OUT);
                // SAFETY: `reach` covers the output, the addend and the scratch; `scatter` stays inside the image.
                unsafe { self.scatter(memory, products.add(tile * outputs), output_plane, y, x) };
            }
        }
    }

    /// Transforms the products of one tile back and stores its outputs.
    ///
    /// # Safety
    /// All planes of products, the output and the addend must lie in memory.
    #[inline(never)]
    unsafe fn scatter(&self, memory: *mut f32, products: *const f32, plane: usize, y: usize, x: usize) {
        let (rows, columns) = (OUT.min(self.output.height - y), OUT.min(self.output.width - x));
        let to = self.output.at(y as isize, x as isize);
        let slope = F32x4::splat(self.finish.slope);
        let high = F32x4::splat(self.finish.high);
        for vector in 0..self.output.vectors() {
            // SAFETY: as the caller promises.
            unsafe {
                let products = products.add(4 * vector);
                let mut half = [F32x4::splat(0.); OUT * IN];
                for column in 0..IN {
                    let m = |row: usize| F32x4::load(products.add((row * IN + column) * plane));
                    let out = output_transform([m(0), m(1), m(2), m(3), m(4), m(5)]);
                    for row in 0..OUT {
                        half[row * IN + column] = out[row];
                    }
                }
                let bias = F32x4::load(self.bias.as_ptr().add(4 * vector));
                let affine = self.affine.get(8 * vector..8 * (vector + 1)).map(<[f32]>::as_ptr);
                let affine = affine.map(|from| (F32x4::load(from), F32x4::load(from.add(4))));
                for row in 0..rows {
                    let h = |column: usize| half[row * IN + column];
                    let out = output_transform([h(0), h(1), h(2), h(3), h(4), h(5)]);
                    for (column, &value) in out.iter().enumerate().take(columns) {
                        let mut value = value + bias;
                        if let Some((scale, shift)) = affine {
                            value = value * scale + shift;
                        }
                        if let Some(addend) = &self.addend {
                            let from = addend.at((y + row) as isize, (x + column) as isize) + 4 * vector;
                            value = value + F32x4::load(memory.add(from));
                        }
                        let to = memory.add(to + row * self.output.row + column * self.output.pixel + 4 * vector);
                        (value * slope).max(value).min(high).store(to);
                    }
                }
            }
        }
    }
}

/// Tiles in work at a time, and channels of the transformed inputs and outputs.
fn sizes(input_channels: usize, output: Planes) -> (usize, usize, usize) {
    let (inputs, outputs) = (input_channels.next_multiple_of(4), output.channels.next_multiple_of(BLOCK));
    let all = output.height.div_ceil(OUT) * output.width.div_ceil(OUT);
    let chunk = (RESIDENT / PRODUCTS / (inputs + outputs)).clamp(16, all.max(16)).next_multiple_of(4);
    (chunk.min(all.next_multiple_of(4)), inputs, outputs)
}

/// G g Gᵀ of each kernel, for each of the 36 products in the order in which [`tiles`] reads blocks of eight outputs.
fn transform_weights(weights: &[f32], inputs: usize, outputs: usize) -> Vec<f32> {
    let panel = BLOCK * (1 + inputs);
    let blocks = outputs.div_ceil(BLOCK);
    let mut panels = vec![0.; PRODUCTS * blocks * panel];
    for (block, kernels) in weights.chunks(BLOCK * inputs * 9).enumerate() {
        transform_block(kernels, inputs, &mut panels[block * panel..], blocks * panel);
    }
    panels
}

/// The kernels of up to eight outputs into their panels, which lie `plane` apart for each product. A function of its own,
/// because a browser makes fast code of it only for its next call.
#[inline(never)]
fn transform_block(kernels: &[f32], inputs: usize, panels: &mut [f32], plane: usize) {
    assert!(panels.len() >= (PRODUCTS - 1) * plane + BLOCK * (1 + inputs), "there is room for every product");
    for (lane, kernels) in kernels.chunks_exact(9 * inputs).enumerate() {
        for (input, kernel) in kernels.as_chunks::<9>().0.iter().enumerate() {
            let g = kernel.map(f64::from);
            let columns = [0, 1, 2].map(|column| kernel_transform([g[column], g[3 + column], g[6 + column]]));
            let mut at = (1 + input) * BLOCK + lane;
            for row in 0..IN {
                for product in kernel_transform(columns.map(|column| column[row])) {
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
fn kernel_transform([a, b, c]: [f64; 3]) -> [f64; IN] {
    const SIXTH: f64 = 1. / 6.;
    let (outer, middle) = ((a + c) * SIXTH, b * SIXTH);
    let (far, near) = ((a * 0.25 + c) * SIXTH, b * (1. / 12.));
    [a * 0.25, -outer - middle, middle - outer, far + near, far - near, c]
}

/// Transforms the inputs of one tile, all channels, into one number for each product.
///
/// # Safety
/// The tile's six by six pixels and all planes `to` must lie in memory.
#[inline(never)]
unsafe fn gather(from: *const f32, input: Planes, to: *mut f32, plane: usize) {
    for vector in 0..input.vectors() {
        // SAFETY: as the caller promises.
        unsafe {
            let (from, to) = (from.add(4 * vector), to.add(4 * vector));
            let mut half = [F32x4::splat(0.); PRODUCTS];
            for column in 0..IN {
                let d = |row: usize| F32x4::load(from.add(row * input.row + column * input.pixel));
                let out = input_transform([d(0), d(1), d(2), d(3), d(4), d(5)]);
                for row in 0..IN {
                    half[row * IN + column] = out[row];
                }
            }
            for row in 0..IN {
                let h = |column: usize| half[row * IN + column];
                let out = input_transform([h(0), h(1), h(2), h(3), h(4), h(5)]);
                for (column, value) in out.into_iter().enumerate() {
                    value.store(to.add((row * IN + column) * plane));
                }
            }
        }
    }
}

/// Bᵀ d.
#[inline(always)]
fn input_transform(d: [F32x4; IN]) -> [F32x4; IN] {
    let (two, four, five) = (F32x4::splat(2.), F32x4::splat(4.), F32x4::splat(5.));
    let (even, odd) = (d[4] - four * d[2], d[3] - four * d[1]);
    let (near, far) = (d[4] - d[2], two * (d[3] - d[1]));
    [four * d[0] - five * d[2] + d[4], even + odd, even - odd, near + far, near - far, four * d[1] - five * d[3] + d[5]]
}

/// Aᵀ m.
#[inline(always)]
fn output_transform(m: [F32x4; IN]) -> [F32x4; OUT] {
    let (two, four, eight) = (F32x4::splat(2.), F32x4::splat(4.), F32x4::splat(8.));
    let (sum, difference) = (m[1] + m[2], m[1] - m[2]);
    let (sum2, difference2) = (m[3] + m[4], m[3] - m[4]);
    [m[0] + sum + sum2, difference + two * difference2, sum + four * sum2, difference + eight * difference2 + m[5]]
}

/// Whether this way is there for such a convolution and pays.
pub(crate) fn pays(window: &Window, groups: usize, input: [usize; 3], output: [usize; 3]) -> bool {
    window.kernel == [3, 3]
        && window.stride == [1, 1]
        && window.dilation == [1, 1]
        && groups == 1
        && input[0] >= 8
        && output[0] >= 8
        // A single row of tiles would compute more outputs than there are.
        && output[1] >= 4
        && output[2] >= 4
        // The weights grow fourfold: beyond this they no longer fit the caches, and the model's memory doubles.
        && input[0] * output[0] <= 256 * 256
}
