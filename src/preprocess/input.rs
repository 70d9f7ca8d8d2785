//! The picture's pixels as the network's input.

use super::{ChannelOrder, Fit, Placement, Preprocess};
use crate::Result;
use crate::image::Image;

/// What the network sees of `image`: NCHW values `(sample / 255 - mean) / std`, and where they lie on it.
///
/// Transparent pixels are laid over white first, unless the network takes the opacity as its fourth channel. A network of one
/// channel gets Pillow's luma (ITU-R 601-2). The picture is resized by Pillow's antialiased bilinear filter, to the same bytes.
///
/// # Shapes
/// - output: `[1, channels, preprocess.height, preprocess.width]`, row-major
///
/// # Errors
/// Those of [`Preprocess::check`].
pub fn input_from_image(image: &Image, preprocess: &Preprocess, channels: usize) -> Result<(Vec<f32>, Placement)> {
    preprocess.check(channels)?;
    let input = (preprocess.width, preprocess.height);
    let size = (image.width(), image.height());
    let fit = Fit::new(preprocess.resize, size, input);
    let placement = Placement::new(preprocess.resize, size, input);
    let values = if channels == 1 {
        let luma: Vec<u8> = image.rgba().as_chunks::<4>().0.iter().map(|&pixel| luma(over_white(pixel))).collect();
        planes::<1>(&luma, size, fit, preprocess, &[0])
    } else {
        let order = match preprocess.order {
            ChannelOrder::Rgb => [0, 1, 2, 3],
            ChannelOrder::Bgr => [2, 1, 0, 3],
        };
        let order = &order[..channels];
        let pixels = image.rgba().as_chunks::<4>().0;
        let is_opaque = pixels.iter().all(|pixel| pixel[3] == 255);
        // As Pillow, which leaves a picture of the right size as it is.
        let is_weighted = channels == 4 && fit.resized != size;
        let change = if is_weighted { weighted } else { over_white };
        // Four bytes a pixel are resized as quickly as three, so that an opaque image needs no copy.
        if is_opaque || (channels == 4 && !is_weighted) {
            planes::<4>(image.rgba(), size, fit, preprocess, order)
        } else {
            let changed: Vec<[u8; 4]> = pixels.iter().map(|&pixel| change(pixel)).collect();
            planes::<4>(changed.as_flattened(), size, fit, preprocess, order)
        }
    };
    Ok((values, placement))
}

/// Resizes pixels of `N` bytes and writes the samples `order` of each, normalised, plane by plane. With the opacity among the
/// samples, the colours of resized pixels are given weighted by it, and are divided by it again.
fn planes<const N: usize>(
    pixels: &[u8],
    size: (u32, u32),
    fit: Fit,
    preprocess: &Preprocess,
    order: &[usize],
) -> Vec<f32> {
    let (width, height) = (preprocess.width as usize, preprocess.height as usize);
    let visible = |offset: i64, resized: u32, input: usize| {
        let start = (-offset).max(0) as usize;
        start..(resized as usize).min(start + input)
    };
    let columns = visible(fit.offset.0, fit.resized.0, width);
    let rows = visible(fit.offset.1, fit.resized.1, height);
    let (left, top) = (fit.offset.0.max(0) as usize, fit.offset.1.max(0) as usize);
    let across = columns.len();
    let mut resized = resize::<N>(
        pixels,
        (size.0 as usize, size.1 as usize),
        &Taps::new(size.0 as usize, fit.resized.0 as usize, columns),
        &Taps::new(size.1 as usize, fit.resized.1 as usize, rows),
    );

    if order.len() == 4 && fit.resized != size {
        resized.as_chunks_mut().0.iter_mut().for_each(|pixel| *pixel = unweighted(*pixel));
    }

    let mut values = Vec::with_capacity(order.len() * width * height);
    for (channel, &sample) in order.iter().enumerate() {
        let of = |numbers: &[f32]| *numbers.get(channel).unwrap_or(&numbers[0]);
        let (mean, std) = (of(&preprocess.mean), of(&preprocess.std));
        let normalised: [f32; 256] = std::array::from_fn(|level| (level as f32 / 255. - mean) / std);
        let plane = values.len();
        values.resize(plane + width * height, 0.);
        for (y, row) in resized.chunks_exact(across * N).enumerate() {
            let start = plane + (top + y) * width + left;
            for (value, pixel) in values[start..start + across].iter_mut().zip(row.as_chunks::<N>().0) {
                *value = normalised[usize::from(pixel[sample])];
            }
        }
    }
    values
}

fn over_white([r, g, b, a]: [u8; 4]) -> [u8; 4] {
    let alpha = u32::from(a);
    let blend = |level: u8| ((u32::from(level) * alpha + 255 * (255 - alpha) + 127) / 255) as u8;
    [blend(r), blend(g), blend(b), 255]
}

/// Colours times opacity, rounded as Pillow does before it resizes: what can't be seen lends its neighbours no colour.
fn weighted([r, g, b, a]: [u8; 4]) -> [u8; 4] {
    let times = |level: u8| {
        let product = u32::from(level) * u32::from(a) + 128;
        (((product >> 8) + product) >> 8) as u8
    };
    [times(r), times(g), times(b), a]
}

/// The way back.
fn unweighted([r, g, b, a]: [u8; 4]) -> [u8; 4] {
    let over = |level: u8| match a {
        0 | 255 => level,
        _ => (255 * u32::from(level) / u32::from(a)).min(255) as u8,
    };
    [over(r), over(g), over(b), a]
}

/// Pillow's conversion to `L`, in its fixed-point numbers.
fn luma([r, g, b, _]: [u8; 4]) -> u8 {
    ((u32::from(r) * 19_595 + u32::from(g) * 38_470 + u32::from(b) * 7_471 + 0x8000) >> 16) as u8
}

/// Bits behind the point of a tap's weight, as in Pillow: the sum of 255 times all weights stays within 30 bits.
const PRECISION: u32 = 22;

/// For a range of output positions along one axis, the source positions and weights that make each of them.
struct Taps {
    /// First source position and number of taps of each output position.
    spans: Vec<(usize, usize)>,
    /// All weights one after the other; those of a position add up to `1 << PRECISION`, give or take rounding.
    weights: Vec<i32>,
}

impl Taps {
    /// Pillow's triangle filter, widened by the scale when shrinking (`precompute_coeffs` and `normalize_coeffs_8bpc`
    /// of its `Resample.c`), for the positions `window` of an axis resized from `source` to `resized`.
    fn new(source: usize, resized: usize, window: std::ops::Range<usize>) -> Taps {
        let scale = source as f64 / resized as f64;
        let support = scale.max(1.);
        let mut taps = Taps { spans: Vec::with_capacity(window.len()), weights: Vec::new() };
        for position in window {
            let center = (position as f64 + 0.5) * scale;
            let start = (center - support + 0.5).max(0.) as usize;
            let end = ((center + support + 0.5) as usize).min(source);
            let distances = (start..end).map(|tap| ((tap as f64 - center + 0.5) * (1. / support)).abs());
            let weights: Vec<f64> = distances.map(|distance| (1. - distance).max(0.)).collect();
            let sum: f64 = weights.iter().sum();
            let fixed = |weight: f64| (0.5 + weight / sum * f64::from(1 << PRECISION)) as i32;
            taps.weights.extend(weights.into_iter().map(fixed));
            taps.spans.push((start, end - start));
        }
        taps
    }

    /// First source position and weights of each output position.
    fn iter(&self) -> impl Iterator<Item = (usize, &[i32])> {
        let mut rest = self.weights.as_slice();
        self.spans.iter().map(move |&(start, count)| {
            let (weights, after) = rest.split_at(count);
            rest = after;
            (start, weights)
        })
    }

    /// From the first source position that is needed to behind the last.
    fn sources(&self) -> std::ops::Range<usize> {
        let start = self.spans.first().map_or(0, |&(start, _)| start);
        start..self.spans.last().map_or(start, |&(start, count)| start + count)
    }
}

/// Resizes rows first and then columns, rounding to bytes between the two as Pillow does.
fn resize<const N: usize>(pixels: &[u8], (width, height): (usize, usize), columns: &Taps, rows: &Taps) -> Vec<u8> {
    const HALF: i32 = 1 << (PRECISION - 1);
    debug_assert_eq!(pixels.len(), width * height * N);
    let across = columns.spans.len();
    let needed = rows.sources();
    let mut narrowed = Vec::with_capacity(needed.len() * across * N);
    for row in pixels[needed.start * width * N..needed.end * width * N].chunks_exact(width * N) {
        let row = row.as_chunks::<N>().0;
        for (start, weights) in columns.iter() {
            let mut sums = [HALF; N];
            for (pixel, &weight) in row[start..start + weights.len()].iter().zip(weights) {
                for (sum, &level) in sums.iter_mut().zip(pixel) {
                    *sum += weight * i32::from(level);
                }
            }
            narrowed.extend_from_slice(&sums.map(level));
        }
    }

    let mut resized = Vec::with_capacity(rows.spans.len() * across * N);
    let mut sums = vec![0; across * N];
    for (start, weights) in rows.iter() {
        sums.fill(HALF);
        let from = (start - needed.start) * across * N;
        for (row, &weight) in narrowed[from..].chunks_exact(across * N).zip(weights) {
            for (sum, &level) in sums.iter_mut().zip(row) {
                *sum += weight * i32::from(level);
            }
        }
        resized.extend(sums.iter().map(|&sum| level(sum)));
    }
    resized
}

fn level(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preprocess::Resize;

    /// Values are the levels 0..=255 themselves.
    fn levels(width: u32, height: u32, resize: Resize) -> Preprocess {
        let (mean, std) = (vec![0.], vec![1. / 255.]);
        Preprocess { width, height, resize, mean, std, order: ChannelOrder::Rgb }
    }

    #[track_caller]
    fn check(image: &Image, preprocess: &Preprocess, channels: usize, expected: &[f32]) {
        let (values, _) = input_from_image(image, preprocess, channels).unwrap();
        assert_eq!(values.len(), expected.len());
        let close = values.iter().zip(expected).all(|(a, e)| (a - e).abs() < 1e-4);
        assert!(close, "{values:?} instead of {expected:?}");
    }

    #[test]
    fn pixels_become_planes_in_the_asked_order() {
        let image = Image::from_rgba(2, 1, vec![1, 2, 3, 255, 4, 5, 6, 255]).unwrap();
        let rgb = levels(2, 1, Resize::Stretch);
        check(&image, &rgb, 3, &[1., 4., 2., 5., 3., 6.]);
        check(&image, &Preprocess { order: ChannelOrder::Bgr, ..rgb }, 3, &[3., 6., 2., 5., 1., 4.]);
    }

    #[test]
    fn mean_and_std_belong_to_the_channels_in_input_order() {
        let image = Image::from_rgba(1, 1, vec![255, 51, 0, 255]).unwrap();
        let (mean, std) = (vec![0.5, 0.25, 0.], vec![0.5, 0.25, 2.]);
        let rgb = Preprocess { mean, std, ..levels(1, 1, Resize::Stretch) };
        // (1 - 0.5) / 0.5, (0.2 - 0.25) / 0.25, (0 - 0) / 2.
        check(&image, &rgb, 3, &[1., -0.2, 0.]);
        // Blue 0 meets the first mean: (0 - 0.5) / 0.5; red the last: 1 / 2.
        check(&image, &Preprocess { order: ChannelOrder::Bgr, ..rgb }, 3, &[-1., -0.2, 0.5]);
    }

    #[test]
    fn transparent_pixels_lie_over_white() {
        // Opaque, three fifths, and nothing of it: 0.6 · 100 + 0.4 · 255 = 162.
        let image = Image::from_rgba(3, 1, vec![100, 0, 0, 255, 100, 0, 0, 153, 100, 0, 0, 0]).unwrap();
        check(&image, &levels(3, 1, Resize::Stretch), 3, &[100., 162., 255., 0., 102., 255., 0., 102., 255.]);
    }

    #[test]
    fn opacity_is_the_fourth_channel() {
        #[rustfmt::skip]
        let pixels = [
            [200, 10, 30, 255], [40, 90, 250, 128], [7, 255, 3, 0], [90, 60, 30, 60], [255, 255, 255, 255],
            [10, 20, 30, 200], [0, 0, 0, 0], [250, 120, 5, 90], [33, 66, 99, 255], [128, 64, 32, 16],
            [1, 2, 3, 4], [60, 70, 80, 255], [210, 220, 230, 40], [5, 15, 25, 180], [99, 88, 77, 111],
        ];
        let image = Image::from_rgba(5, 3, pixels.concat()).unwrap();
        // `resize((3, 2), Image.BILINEAR)` of Pillow 13.0.0, of a picture in the mode RGBA.
        #[rustfmt::skip]
        let [red, green, blue, alpha] = [
            [119., 104., 175., 40., 93., 44.], [28., 85., 180., 49., 82., 54.],
            [75., 104., 185., 60., 77., 63.], [168., 66., 151., 113., 115., 132.],
        ];
        let rgb = levels(3, 2, Resize::Stretch);
        check(&image, &rgb, 4, &[red, green, blue, alpha].concat());
        check(&image, &Preprocess { order: ChannelOrder::Bgr, ..rgb }, 4, &[blue, green, red, alpha].concat());
        // Pillow leaves a picture of the right size as it is: also the colour of what can't be seen.
        let whole = [0, 1, 2, 3].map(|channel| pixels.map(|pixel| f32::from(pixel[channel])));
        check(&image, &levels(5, 3, Resize::Stretch), 4, &whole.concat());
    }

    #[test]
    fn a_network_of_one_channel_gets_pillows_luma() {
        // 0.299 · 255, 0.587 · 255, 0.114 · 255 rounded.
        let image = Image::from_rgba(
            4,
            1,
            [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255; 3]].map(|[r, g, b]| [r, g, b, 255]).concat(),
        );
        check(&image.unwrap(), &levels(4, 1, Resize::Stretch), 1, &[76., 150., 29., 255.]);
    }

    #[test]
    fn shrinking_averages_under_a_triangle() {
        // Four pixels to two: for each output, weights of the distances 1.5, 0.5, 0.5, 1.5 over a support of 2, those of
        // them inside: 0.75, 0.75, 0.25 of their sum 1.75.
        let image = Image::from_rgba(4, 1, [0, 70, 140, 210].map(|level| [level, level, level, 255]).concat()).unwrap();
        // (0.75 · 70 + 0.25 · 140) / 1.75 = 50, and (0.25 · 70 + 0.75 · 140 + 0.75 · 210) / 1.75 = 160.
        check(&image, &levels(2, 1, Resize::Stretch), 1, &[50., 160.]);
    }

    #[test]
    fn a_letterbox_is_padded_with_the_mean() {
        let image = Image::from_rgba(2, 1, vec![255; 8]).unwrap();
        let preprocess = Preprocess { mean: vec![0.5], std: vec![0.5], ..levels(2, 3, Resize::Letterbox) };
        check(&image, &preprocess, 1, &[0., 0., 1., 1., 0., 0.]);
    }

    #[test]
    fn a_strip_needs_no_more_memory_than_its_middle() {
        // Resized as a whole it would be 224 × 16384 · 224 pixels.
        let image = Image::from_rgba(16_384, 1, vec![255; 4 * 16_384]).unwrap();
        let (values, placement) = input_from_image(&image, &Preprocess::default(), 3).unwrap();
        assert_eq!(values.len(), 3 * 224 * 224);
        assert_eq!(placement.rect(), [8_191.5, 0., 1., 1.]);
    }
}
