//! Maps from the scores of many changed inputs or activations.
//!
//! Runs go in batches of a few images, whose memory is bounded, where the network keeps images apart, else one by one;
//! between two of them progress is reported and the caller may stop.

use super::Task;
use crate::Result;
use crate::engine::stretched;
use crate::heatmap::{Axis, Grid};
use crate::network::Cut;
use crate::network::runs::Watch;
use crate::plan::outputs::softmax;
use crate::random::Random;
use crate::tensor::{Tensor, numbers, tensor};

/// Of pytorch-grad-cam's Ablation-CAM: how far below everything a channel is put that can't be put to zero, and how many
/// channels it ablates at once. It looks for the lowest number again after each, so that within a batch they sink.
const ABLATED: f32 = 1e7;
const ABLATED_AT_ONCE: usize = 32;

/// torch-cam's numbers of samples, and the deviations of their noise.
const SS_SAMPLES: usize = 35;
const SS_DEVIATION: f32 = 2.;
const IS_SAMPLES: usize = 10;
const SMOOTH_SAMPLES: usize = 4;
const SMOOTH_DEVIATION: f32 = 0.3;

/// How channels become masks of the input.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Masks {
    /// Enlarged corner to corner, then stretched to 0..=1 (Score-CAM).
    Plain,
    /// Stretched, enlarged, with noise, many times (SS-CAM).
    Noisy,
    /// Stretched, enlarged, with growing strength (IS-CAM).
    Growing,
}

/// Normally distributed numbers, mean 0 and deviation 1.
#[derive(Clone, Debug)]
pub enum Noise {
    /// A sequence of its own for each seed, the same everywhere.
    Seed(u64),
    /// These numbers, again from the start when they are used up: to repeat what another program drew.
    Table(std::rc::Rc<[f32]>),
}

impl Noise {
    /// The numbers from the `start`-th that a method draws.
    fn numbers(&self, start: usize, count: usize) -> Vec<f32> {
        match self {
            Noise::Seed(seed) => {
                let mut random = Random::new(*seed).past_normals(start);
                (0..count).map(|_| random.normal()).collect()
            }
            Noise::Table(table) => (start..start + count).map(|index| table[index % table.len()]).collect(),
        }
    }
}

/// What [`Method::Occlusion`](super::Method::Occlusion) covers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Occlusion {
    /// Width and height of the window, in pixels of the network's input.
    pub window: [usize; 2],
    /// By how many pixels it moves, to the right and down.
    pub stride: [usize; 2],
    /// What the network sees in the window; 0 is the mean colour where inputs are centred.
    pub baseline: f32,
}

impl Occlusion {
    /// An eighth of each side, moved by half of that.
    pub fn of_size(width: usize, height: usize) -> Occlusion {
        let window = [width, height].map(|side| side.div_ceil(8));
        Occlusion { window, stride: window.map(|side| side.div_ceil(2)), baseline: 0. }
    }
}

impl Task<'_> {
    /// What is explained, for each image of a batch of scores `[N, classes]`.
    fn values(&self, scores: Tensor<2>) -> Vec<f64> {
        let [_, classes] = scores.dims();
        numbers(scores).chunks_exact(classes).map(|scores| self.objective.value(scores)).collect()
    }

    /// The value of each of `count` changed inputs; `make` makes those of a range of them.
    async fn values_of_inputs(
        &self,
        count: usize,
        watch: Watch<'_>,
        make: impl Fn(std::ops::Range<usize>) -> Tensor<4>,
    ) -> Result<Vec<f64>> {
        let mut values = Vec::with_capacity(count);
        while values.len() < count {
            watch.pause_at(values.len() as f32 / count as f32).await?;
            let inputs = make(values.len()..count.min(values.len() + self.network().images_at_once()));
            values.extend(self.values(self.network().run_all(&inputs).await?));
        }
        Ok(values)
    }

    /// w = softmax over channels of the value of the input times the channel, `[1, K, 1, 1]`: Score-CAM, SS-CAM, IS-CAM.
    ///
    /// Score-CAM as pytorch-grad-cam has it: the channel is enlarged corner to corner (Wang et al. 2020 leave that open),
    /// stretched to 0..=1 by its own extremes and multiplied with the prepared input, and there is no baseline, which
    /// softmax would cancel. torch-cam stretches before it enlarges by half-pixel centres, and so do its SS-CAM and IS-CAM,
    /// which only it has. The authors' own program takes probabilities and no softmax.
    pub(super) async fn mask_weights(&self, cut: &Cut, masks: Masks, watch: Watch<'_>) -> Result<Tensor<4>> {
        let input = &self.prediction.input;
        let activations = cut.maps();
        let [_, channels, h, w] = activations.dims();
        let [_, _, height, width] = input.dims();
        let matrix = |out: usize, cells: usize| {
            let weights = if masks == Masks::Plain { corner_to_corner(out, cells) } else { half_pixel(out, cells) };
            tensor(weights, [1, 1, out, cells])
        };
        let (rows, columns) = (matrix(height, h), matrix(width, w).swap_dims(2, 3));
        let enlarged = |maps: Tensor<4>| rows.clone().matmul(maps).matmul(columns.clone());
        // One channel an image: `[n, 1, height, width]`.
        let mask = |range: &std::ops::Range<usize>| {
            let maps = activations.clone().narrow(1, range.start, range.len()).swap_dims(0, 1);
            match masks {
                Masks::Plain => stretched(enlarged(maps), 1e-8),
                Masks::Noisy | Masks::Growing => enlarged(stretched(maps, 1e-8)),
            }
        };
        let samples = match masks {
            Masks::Plain => 1,
            Masks::Noisy => SS_SAMPLES,
            Masks::Growing => IS_SAMPLES,
        };
        let mut values = vec![0.; channels];
        let mut strength = 0.;
        for sample in 0..samples {
            // Strengths add up: 0.1, 0.3, 0.6 … 5.5.
            strength += (sample + 1) as f32 / samples as f32;
            let make = |range: std::ops::Range<usize>| {
                let mask = mask(&range);
                let mask = match masks {
                    Masks::Plain => mask,
                    Masks::Growing => mask.mul_scalar(strength),
                    Masks::Noisy => {
                        let size = height * width;
                        let first = (sample * channels + range.start) * size;
                        let noise = self.options.noise.numbers(first, range.len() * size);
                        let noise = tensor(noise, [range.len(), 1, height, width]);
                        mask.add(noise.mul_scalar(SS_DEVIATION))
                    }
                };
                input.clone().mul(mask)
            };
            let found = self.values_of_inputs(channels, watch.part(sample, samples), make).await?;
            values.iter_mut().zip(found).for_each(|(sum, value)| *sum += value / samples as f64);
        }
        let weights = softmax(&values).into_iter().map(|weight| weight as f32).collect();
        Ok(per_channel(weights))
    }

    /// w_k = (y − y_k) / y, where y_k is without channel k, `[1, K, 1, 1]` (Ablation-CAM, Desai and Ramaswamy 2020).
    ///
    /// As in pytorch-grad-cam, a channel is put to zero only if the layer's lowest number is zero; elsewhere to 1e7 below
    /// the lowest. Where y is negative, weights turn their sign; where it is zero, there is no map.
    pub(super) async fn ablation_weights(&self, cut: &Cut, watch: Watch<'_>) -> Result<Tensor<4>> {
        let network = self.network();
        let [_, channels, _, _] = cut.maps().dims();
        let lowest = cut.least();
        let mut values = Vec::with_capacity(channels);
        let whole = self.objective.value(self.prediction.scores());
        let batch = self.network().images_at_once();
        let mut ablated = lowest;
        while values.len() < channels {
            watch.pause_at(values.len() as f32 / channels as f32).await?;
            let count = batch.min(channels - values.len());
            let (mut kept, mut added) = (vec![1.; count * channels], vec![0.; count * channels]);
            for image in 0..count {
                let channel = values.len() + image;
                if channel % ABLATED_AT_ONCE == 0 {
                    ablated = lowest;
                }
                if lowest != 0. {
                    ablated -= ABLATED;
                }
                kept[image * channels + channel] = 0.;
                added[image * channels + channel] = ablated;
            }
            let shape = [count, channels, 1, 1];
            let scores = network.run_changed(cut, tensor(kept, shape), tensor(added, shape)).await?;
            values.extend(self.values(scores));
        }
        let weights = values.into_iter().map(|value| ((whole - value) / whole) as f32).collect();
        Ok(per_channel(weights))
    }

    /// The weighted activations of Smooth Grad-CAM++ as torch-cam has it, `[1, K, h, w]`.
    ///
    /// Of four inputs with noise of deviation 0.3: D2 and D3 the means of G² and G³, α = D2 / (2·D2 + Σ_ij(A·D3) + 1e-8),
    /// w_k = Σ_ij α · max(G, 0), where A is that of the input without noise, and the last sample's G and activations stand
    /// for all in w and in the map. The map is right to 1e-4 of its largest value, but for channels whose divisor is a
    /// small difference of large sums: what rounding does to gradients there, torch-cam's as well as these, moves the map by
    /// more, and sums in double precision do not repair that.
    pub(super) async fn smooth_weighted(&self, cut: &Cut, watch: Watch<'_>) -> Result<Tensor<4>> {
        let network = self.network();
        let input = &self.prediction.input;
        let size = input.dims().iter().product::<usize>();
        let activations = cut.activations();
        // On the host in f64: the divisor may be a small difference of large sums.
        let mut powers = vec![[0_f64; 2]; activations.len()];
        let mut last = None;
        for sample in 0..SMOOTH_SAMPLES {
            watch.pause_at(sample as f32 / SMOOTH_SAMPLES as f32).await?;
            let noise = tensor(self.options.noise.numbers(sample * size, size), input.dims());
            let noisy = input.clone().add(noise.mul_scalar(SMOOTH_DEVIATION));
            let (noisy, scores) = network.run_through(&noisy, cut.layer()).await?;
            let gradients = numbers(self.gradients_for(&noisy, &numbers(scores)).await?);
            for ([square, cube], &gradient) in powers.iter_mut().zip(&gradients) {
                let gradient = f64::from(gradient);
                *square += gradient.powi(2) / SMOOTH_SAMPLES as f64;
                *cube += gradient.powi(3) / SMOOTH_SAMPLES as f64;
            }
            last = Some((noisy.maps(), gradients));
        }
        let (shown, gradients) = last.expect("there are samples");
        let [_, channels, height, width] = shown.dims();
        let weights = (0..channels).map(|channel| {
            let places = channel * height * width..(channel + 1) * height * width;
            let together: f64 = places.clone().map(|place| f64::from(activations[place]) * powers[place][1]).sum();
            let share = |place: usize| {
                let [square, _] = powers[place];
                square / (2. * square + together + 1e-8) * f64::from(gradients[place].max(0.))
            };
            places.map(share).sum::<f64>() as f32
        });
        Ok(shown.clone().mul(per_channel(weights.collect())))
    }

    /// What covering a place takes from the score, as the mean over the windows that cover it (Zeiler and Fergus 2014),
    /// at the size of the input. captum's, with which windows that stand over the edge are cut off.
    pub(super) async fn occlusion(&self, watch: Watch<'_>) -> Result<Grid> {
        let input = &self.prediction.input;
        let [_, _, height, width] = input.dims();
        let occlusion = self.options.occlusion.unwrap_or_else(|| Occlusion::of_size(width, height));
        let starts = |axis: usize, side: usize| -> Vec<usize> {
            let [window, stride] = [occlusion.window, occlusion.stride].map(|pair| pair[axis].max(1));
            (0..=side.saturating_sub(window).div_ceil(stride)).map(|index| index * stride).collect()
        };
        let (columns, rows) = (starts(0, width), starts(1, height));
        let windows: Vec<_> = rows
            .iter()
            .flat_map(|&y| columns.iter().map(move |&x| (x, y)))
            .map(|(x, y)| (x..width.min(x + occlusion.window[0]), y..height.min(y + occlusion.window[1])))
            .collect();
        let values = self
            .values_of_inputs(windows.len(), watch, |range| {
                let mut kept = vec![1.; range.len() * height * width];
                for (image, (columns, rows)) in kept.chunks_exact_mut(height * width).zip(&windows[range.clone()]) {
                    rows.clone().for_each(|y| image[y * width..][columns.clone()].fill(0.));
                }
                let kept = tensor(kept, [range.len(), 1, height, width]);
                let cover = kept.clone().neg().add_scalar(1.).mul_scalar(occlusion.baseline);
                input.clone().mul(kept).add(cover)
            })
            .await?;
        let whole = self.objective.value(self.prediction.scores());
        let (mut sums, mut counts) = (vec![0.; width * height], vec![0_u32; width * height]);
        for ((columns, rows), value) in windows.into_iter().zip(values) {
            for place in rows.flat_map(|y| columns.clone().map(move |x| y * width + x)) {
                sums[place] += whole - value;
                counts[place] += 1;
            }
        }
        let map = sums.into_iter().zip(counts).map(|(sum, count)| (sum / f64::from(count.max(1))) as f32);
        Ok(Grid::new(width as u32, height as u32, map.collect()))
    }
}

/// One weight a channel, `[1, K, 1, 1]`.
fn per_channel(weights: Vec<f32>) -> Tensor<4> {
    let shape = [1, weights.len(), 1, 1];
    tensor(weights, shape)
}

/// Maps `[N, K, h, w]` at another size, bilinear by half-pixel centres.
pub(super) fn enlarge(maps: Tensor<4>, height: usize, width: usize) -> Tensor<4> {
    let [_, _, h, w] = maps.dims();
    let matrix = |out: usize, cells: usize| tensor(half_pixel(out, cells), [1, 1, out, cells]);
    matrix(height, h).matmul(maps).matmul(matrix(width, w).swap_dims(2, 3))
}

/// Bilinear enlargement `[out, cells]` in which the corner cells' centres are the corners.
fn corner_to_corner(out: usize, cells: usize) -> Vec<f32> {
    Axis::corner_to_corner(cells as u32, out as u32).matrix(cells)
}

/// Bilinear enlargement `[out, cells]` by half-pixel centres.
fn half_pixel(out: usize, cells: usize) -> Vec<f32> {
    Axis::stretched(cells as u32, out as u32).matrix(cells)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeded_noise_is_the_same_in_one_piece_and_in_several() {
        let numbers = Noise::Seed(7).numbers(0, 400);
        assert_eq!(Noise::Seed(7).numbers(300, 50), numbers[300..350]);
        assert_ne!(Noise::Seed(8).numbers(300, 50), numbers[300..350]);
    }

    #[test]
    fn a_table_of_noise_starts_again() {
        let table = Noise::Table([1., 2., 3.].into());
        assert_eq!(table.numbers(2, 5), [3., 1., 2., 3., 1.]);
    }

    #[test]
    fn the_two_ways_to_enlarge() {
        // Of two cells to four pixels: positions 0, 1/3, 2/3, 1 and -0.25, 0.25, 0.75, 1.25 cells from the first centre.
        let third = 1. / 3.;
        let close = |a: Vec<f32>, b: [f32; 8]| a.iter().zip(b).for_each(|(a, b)| assert!((a - b).abs() < 1e-6));
        close(corner_to_corner(4, 2), [1., 0., 1. - third, third, third, 1. - third, 0., 1.]);
        close(half_pixel(4, 2), [1., 0., 0.75, 0.25, 0.25, 0.75, 0., 1.]);
        assert_eq!(corner_to_corner(1, 3), [1., 0., 0.]);
        assert_eq!(corner_to_corner(3, 1), [1., 1., 1.]);
    }
}
