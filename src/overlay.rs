//! The heatmap over the picture: colormaps and blending.
//!
//! Colours are mixed in integers, row by row, so that moving an opacity slider keeps up with the hand.

use std::ops::Range;
use std::str::FromStr;

use crate::heatmap::{Axis, Grid, Heatmap, Normalise, resampled_extremes};
use crate::image::{Image, MAX_SIDE};
use crate::numbers::{decimal, within};
use crate::preprocess::Placement;
use crate::{Error, ErrorKind, Result};

pub mod regions;

/// The published tables, 256 RGB triples each, in the order of [`Colormap::ALL`]; `make_colormaps.py` writes them.
static TABLES: &[u8; Colormap::ALL.len() * 768] = include_bytes!("overlay/colormaps.bin");

macro_rules! colormaps {
    ($($colormap:ident: $name:literal, $summary:literal;)*) => {
        /// How numbers in 0..=1 become colours.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Colormap {
            $(#[doc = $summary] $colormap,)*
        }

        impl Colormap {
            /// Every colormap, in the order in which to offer them.
            pub const ALL: [Colormap; [$($name),*].len()] = [$(Colormap::$colormap),*];

            /// The name in attributes, options and addresses.
            pub fn name(self) -> &'static str {
                match self {
                    $(Colormap::$colormap => $name,)*
                }
            }
        }
    };
}

// A new colormap is one entry here and one in `make_colormaps.py`, in the same place.
colormaps! {
    Turbo: "turbo", "Google's rainbow without false bands.";
    Viridis: "viridis", "matplotlib's default: perceptually uniform, readable with colour-blind eyes.";
    Inferno: "inferno", "Black to pale yellow, perceptually uniform.";
    Magma: "magma", "Black to pale pink, perceptually uniform.";
    Cividis: "cividis", "Blue to yellow, made for colour-blind eyes.";
    Jet: "jet", "OpenCV's `COLORMAP_JET`, the one of most papers and of pytorch-grad-cam. matplotlib's differs a little.";
    Gray: "gray", "Black to white.";
}

#[expect(clippy::derivable_impls, reason = "the macro writes all entries alike")]
impl Default for Colormap {
    fn default() -> Self {
        Colormap::Turbo
    }
}

impl Colormap {
    /// The 256 colours, red, green, blue, from the lowest number to the highest.
    pub fn colors(self) -> &'static [[u8; 3]] {
        let (colors, _) = TABLES.as_chunks::<3>();
        &colors[self as usize * 256..][..256]
    }
}

/// The colormap's name; others are a `TargetError` that lists them.
///
/// ```
/// use gradcam_web::overlay::Colormap;
/// assert_eq!("turbo".parse(), Ok(Colormap::Turbo));
/// assert!("rainbow".parse::<Colormap>().unwrap_err().message().contains("there are turbo, viridis"));
/// ```
impl FromStr for Colormap {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Colormap::ALL.into_iter().find(|colormap| colormap.name() == name).ok_or_else(|| {
            let names = Colormap::ALL.map(Colormap::name).join(", ");
            Error::new(ErrorKind::Target, format!("there is no colormap `{name}`; there are {names}"))
        })
    }
}

/// How an overlay looks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Style {
    colormap: Colormap,
    opacity: f32,
    threshold: f32,
    opacity_by_value: bool,
}

impl Style {
    /// `opacity` 0 shows the image alone, 1 the colormap alone.
    ///
    /// # Errors
    /// `TargetError` if `opacity` is not within 0..=1.
    ///
    /// ```
    /// use gradcam_web::overlay::{Colormap, Style};
    /// assert!(Style::new(Colormap::Viridis, 0.5).is_ok());
    /// assert_eq!(Style::new(Colormap::Viridis, 2.).unwrap_err().message(), "the opacity is 2; a number from 0 to 1 is accepted");
    /// ```
    pub fn new(colormap: Colormap, opacity: f32) -> Result<Style> {
        if !(0. ..=1.).contains(&opacity) {
            return Err(Error::new(
                ErrorKind::Target,
                format!("the opacity is {}; a number from 0 to 1 is accepted", decimal(opacity)),
            ));
        }
        Ok(Style { colormap, opacity, ..Style::default() })
    }

    /// The same, but the image as it is where the heatmap is below `threshold`.
    ///
    /// # Errors
    /// `TargetError` if `threshold` is not within 0..=1.
    pub fn with_threshold(self, threshold: f32) -> Result<Style> {
        if !(0. ..=1.).contains(&threshold) {
            return Err(Error::new(
                ErrorKind::Target,
                format!("the threshold is {}; a number from 0 to 1 is accepted", decimal(threshold)),
            ));
        }
        Ok(Style { threshold, ..self })
    }

    /// The same, but with an opacity that grows with the heatmap, from 0 to the style's own.
    pub fn with_opacity_by_value(self) -> Style {
        Style { opacity_by_value: true, ..self }
    }

    /// The colours of the heatmap.
    pub fn colormap(self) -> Colormap {
        self.colormap
    }

    /// 0 shows the image alone, 1 the colormap alone.
    pub fn opacity(self) -> f32 {
        self.opacity
    }

    /// Where the heatmap is below it, 0 to 1, the image stays as it is.
    pub fn threshold(self) -> f32 {
        self.threshold
    }
}

/// Turbo, half and half.
impl Default for Style {
    fn default() -> Self {
        Style { colormap: Colormap::default(), opacity: 0.5, threshold: 0., opacity_by_value: false }
    }
}

/// Four 16-bit lanes of a pixel: the style's share of the result, in 256ths, with half a level added for rounding.
type Tint = [u16; 4];

/// The 256 levels of a colormap, and as many places for what has none.
const LEVELS: usize = 512;

/// Stands for a number below the threshold.
const BELOW: usize = 256;

/// Half a level, in 256ths.
const HALF: u16 = 128;

/// The heatmap over the image, as RGBA at the image's size: `(1 - opacity) * image + opacity * colour`.
///
/// The heatmap is resampled once, from its own resolution straight to the image's pixels, over the rectangle that the
/// network saw, and stretched to 0..=1 over that rectangle: where it is the whole image, the numbers are those of
/// [`Heatmap::resampled`] at the image's size. Around the rectangle the colour is black, which dims what the network
/// did not see; padding, which is no part of the image, does not appear. A heatmap of zeros has nothing to show: the image
/// shows through as it is, where the coldest colour everywhere would look like evidence.
///
/// Numbers take the nearest of the colormap's 256 colours. The opacity is rounded to 256ths and the result to the
/// nearest level, halves up, so that opacity 0 gives the image back byte for byte and 1 the colours. The image's own
/// alpha is kept.
///
/// Below the style's threshold the image is left as it is; with opacity by value each number has its own share of the
/// style's opacity, which is `number * opacity`.
///
/// ```
/// use gradcam_web::{heatmap::Grid, image::Image, overlay::{self, Colormap, Style}, preprocess::{Placement, Resize}};
/// let image = Image::from_rgba(2, 1, vec![0, 0, 0, 255, 0, 0, 0, 255])?;
/// let heatmap = Grid::new(2, 1, vec![0., 3.]).heatmap();
/// let placement = Placement::new(Resize::Stretch, (2, 1), (2, 1));
/// // The gray colormap alone: black where the heatmap is 0, white where it is 1.
/// let rgba = overlay::blend(&image, &heatmap, &placement, &Style::new(Colormap::Gray, 1.)?);
/// assert_eq!(rgba, [0, 0, 0, 255, 255, 255, 255, 255]);
/// # Ok::<(), gradcam_web::Error>(())
/// ```
pub fn blend(image: &Image, heatmap: &Heatmap, placement: &Placement, style: &Style) -> Vec<u8> {
    let opacity = (style.opacity * 256.).round() as u16;
    if opacity == 0 {
        return image.rgba().to_vec();
    }
    let tint = |color: [u8; 3], opacity: u16| -> Tint {
        let [r, g, b] = color.map(|level| u16::from(level) * opacity + HALF);
        [r, g, b, HALF]
    };
    let share = |opacity: u16| -> Tint { [256 - opacity, 256 - opacity, 256 - opacity, 256] };
    // Of each level, and behind them of what is below the threshold.
    let opacities: [u16; LEVELS] = std::array::from_fn(|level| match level {
        BELOW.. => 0,
        _ if style.opacity_by_value => (style.opacity * level as f32 / 255. * 256.).round() as u16,
        _ => opacity,
    });
    let tints: [Tint; LEVELS] =
        std::array::from_fn(|level| tint(style.colormap.colors()[level.min(255)], opacities[level]));
    let shares_of = opacities.map(share);
    let is_even = style.threshold == 0. && !style.opacity_by_value;
    let outside = tint([0; 3], opacity);

    let (width, height) = (image.width() as usize, image.height() as usize);
    let [left, top, across, down] = placement.rect();
    let grid = heatmap.grid();
    let frame_x = pixels_within(left, across);
    let frame_y = pixels_within(top, down);
    let columns = Axis::new(grid.width(), left, across, frame_x.clone());
    let rows = Axis::new(grid.height(), top, down, frame_y.clone());
    let range = Normalise::new(resampled_extremes(grid, &columns, &rows));
    // The part of the image that the network saw, and how much of the frame lies before it.
    let visible = |frame: &Range<i64>, side: usize| {
        let inside = |at: i64| at.clamp(0, side as i64);
        (
            inside(frame.start) as usize..inside(frame.end) as usize,
            (-frame.start).clamp(0, frame.end - frame.start) as usize,
        )
    };
    let (seen_x, skipped_x) = visible(&frame_x, width);
    let (seen_y, skipped_y) = visible(&frame_y, height);
    // Written out for a whole row: one plain loop over bytes then makes vectors.
    let mut shares = vec![share(opacity); width];
    let mut blended = Vec::new();
    let mut numbers = vec![0.; columns.len()];
    let mut levels = vec![0; seen_x.len()];
    let mut tinted: Vec<Tint> = vec![outside; width];
    let is_dead = grid.values().iter().all(|&value| value == 0.);
    let mut rgba = Vec::with_capacity(image.rgba().len());
    for (y, row) in image.rgba().chunks_exact(width * 4).enumerate() {
        // Row by row, so that what is copied is still in the cache when it is mixed.
        rgba.extend_from_slice(row);
        let pixels = &mut rgba[y * row.len()..];
        if is_dead && seen_y.contains(&y) {
            let (before, rest) = pixels.split_at_mut(seen_x.start * 4);
            for around in [before, &mut rest[seen_x.len() * 4..]] {
                mix(around, &shares.as_flattened()[..around.len()], &tinted.as_flattened()[..around.len()]);
            }
            continue;
        }
        if seen_y.contains(&y) {
            grid.row_at(&rows, y - seen_y.start + skipped_y, &mut blended);
            columns.interpolate(&blended, &mut numbers);
            // Two loops, because the first one makes vectors and a look-up does not.
            for (level, &number) in levels.iter_mut().zip(&numbers[skipped_x..]) {
                *level = (range.apply(number) * 255. + 0.5) as usize;
            }
            if style.threshold > 0. {
                for (level, &number) in levels.iter_mut().zip(&numbers[skipped_x..]) {
                    if range.apply(number) < style.threshold {
                        *level = BELOW;
                    }
                }
            }
            for (tint, &level) in tinted[seen_x.clone()].iter_mut().zip(&levels) {
                *tint = tints[level % LEVELS];
            }
            if !is_even {
                for (share, &level) in shares[seen_x.clone()].iter_mut().zip(&levels) {
                    *share = shares_of[level % LEVELS];
                }
            }
        } else {
            tinted.fill(outside);
            shares.fill(share(opacity));
        }
        mix(pixels, shares.as_flattened(), tinted.as_flattened());
    }
    rgba
}

/// The colours of `count` concepts: hues at equal distances, red first.
///
/// ```
/// assert_eq!(gradcam_web::overlay::concept_colors(3), [[255, 0, 0], [0, 255, 0], [0, 0, 255]]);
/// ```
pub fn concept_colors(count: usize) -> Vec<[u8; 3]> {
    let level = |hue: f32, shift: f32| {
        let k = (hue * 6. + shift) % 6.;
        (255. * (1. - within(k.min(4. - k), 0., 1.))).round() as u8
    };
    (0..count).map(|i| i as f32 / count as f32).map(|hue| [5., 3., 1.].map(|shift| level(hue, shift))).collect()
}

/// Several heatmaps over the image, each in its own colour of [`concept_colors`], as RGBA at the image's size:
/// `(1 - opacity) * image + opacity * number * colour`, where a pixel belongs to the heatmap with the highest number there.
///
/// Of the style only the opacity counts. Around what the network saw the colour is black, as in [`blend`].
pub fn blend_concepts(image: &Image, heatmaps: &[Heatmap], placement: &Placement, style: &Style) -> Vec<u8> {
    let mut rgba = image.rgba().to_vec();
    let colors = concept_colors(heatmaps.len());
    let [left, top, across, down] = placement.rect();
    let (frame_x, frame_y) = (pixels_within(left, across), pixels_within(top, down));
    let axes: Vec<(Axis, Axis)> = heatmaps
        .iter()
        .map(|heatmap| {
            let grid = heatmap.grid();
            let columns = Axis::new(grid.width(), left, across, frame_x.clone());
            (columns, Axis::new(grid.height(), top, down, frame_y.clone()))
        })
        .collect();
    let width = image.width() as usize;
    let mut row = Vec::new();
    let mut numbers = vec![vec![0.; (frame_x.end - frame_x.start) as usize]; heatmaps.len()];
    for (y, pixels) in rgba.chunks_exact_mut(width * 4).enumerate() {
        let is_seen = frame_y.contains(&(y as i64));
        if is_seen {
            for ((heatmap, (columns, rows)), numbers) in heatmaps.iter().zip(&axes).zip(&mut numbers) {
                heatmap.grid().row_at(rows, (y as i64 - frame_y.start) as usize, &mut row);
                columns.interpolate(&row, numbers);
            }
        }
        for (x, pixel) in pixels.chunks_exact_mut(4).enumerate() {
            let mut strongest = (0., [0; 3]);
            if is_seen && frame_x.contains(&(x as i64)) {
                let x = (x as i64 - frame_x.start) as usize;
                for (numbers, &color) in numbers.iter().zip(&colors) {
                    if numbers[x] > strongest.0 {
                        strongest = (numbers[x], color);
                    }
                }
            }
            let (number, color) = strongest;
            for (level, tint) in pixel.iter_mut().zip(color) {
                let mixed = (1. - style.opacity) * f32::from(*level) + style.opacity * number * f32::from(tint);
                *level = mixed.round() as u8;
            }
        }
    }
    rgba
}

/// The number that [`blend`] colours the pixel (x, y) of the image by, 0..=1; nothing outside of what the network saw.
pub fn value_at(heatmap: &Heatmap, placement: &Placement, (x, y): (u32, u32)) -> Option<f32> {
    let [left, top, across, down] = placement.rect();
    let grid = heatmap.grid();
    let (frame_x, frame_y) = (pixels_within(left, across), pixels_within(top, down));
    let (x, y) = (i64::from(x), i64::from(y));
    if !frame_x.contains(&x) || !frame_y.contains(&y) {
        return None;
    }
    let columns = Axis::new(grid.width(), left, across, frame_x.clone());
    let rows = Axis::new(grid.height(), top, down, frame_y.clone());
    let range = Normalise::new(resampled_extremes(grid, &columns, &rows));
    let (mut row, mut numbers) = (Vec::new(), vec![0.; columns.len()]);
    grid.row_at(&rows, (y - frame_y.start) as usize, &mut row);
    columns.interpolate(&row, &mut numbers);
    Some(range.apply(numbers[(x - frame_x.start) as usize]))
}

/// The numbers that [`blend`] colours an image of `width` × `height` by: 0 outside of what the network saw.
pub fn values_over(heatmap: &Heatmap, placement: &Placement, (width, height): (u32, u32)) -> Grid {
    let [left, top, across, down] = placement.rect();
    let grid = heatmap.grid();
    let (frame_x, frame_y) = (pixels_within(left, across), pixels_within(top, down));
    let columns = Axis::new(grid.width(), left, across, frame_x.clone());
    let rows = Axis::new(grid.height(), top, down, frame_y.clone());
    let range = Normalise::new(resampled_extremes(grid, &columns, &rows));
    let mut values = vec![0.; width as usize * height as usize];
    let (mut row, mut numbers) = (Vec::new(), vec![0.; columns.len()]);
    for (y, line) in (0..).zip(values.chunks_exact_mut(width as usize)) {
        if !frame_y.contains(&y) {
            continue;
        }
        grid.row_at(&rows, (y - frame_y.start) as usize, &mut row);
        columns.interpolate(&row, &mut numbers);
        for (x, value) in (0..).zip(line) {
            if frame_x.contains(&x) {
                *value = range.apply(numbers[(x - frame_x.start) as usize]);
            }
        }
    }
    Grid::new(width, height, values)
}

/// The pixels whose centres lie within `start..start + length`; none if that is no sensible place for an input.
fn pixels_within(start: f64, length: f64) -> Range<i64> {
    // Far more than a letterbox around the longest image.
    const FARTHEST: f64 = 64. * MAX_SIDE as f64;
    if !(start.abs() <= FARTHEST && length > 0. && length <= FARTHEST) {
        return 0..0;
    }
    (start - 0.5).ceil() as i64..(start + length - 0.5).ceil() as i64
}

/// Multiplies each byte by its share in 256ths and adds its tint: at most `255 * 256 + 128`, which fits 16 bits.
fn mix(pixels: &mut [u8], shares: &[u16], tints: &[u16]) {
    for ((byte, &share), &tint) in pixels.iter_mut().zip(shares).zip(tints) {
        *byte = ((u16::from(*byte) * share + tint) >> 8) as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preprocess::Resize;

    #[test]
    fn each_pixel_takes_the_colour_of_its_strongest_concept() {
        assert_eq!(concept_colors(3), [[255, 0, 0], [0, 255, 0], [0, 0, 255]]);
        assert_eq!(concept_colors(4), [[255, 0, 0], [128, 255, 0], [0, 255, 255], [128, 0, 255]]);
        // Three pixels, of which the network saw the first two.
        let image = Image::from_rgba(3, 1, vec![200, 100, 40, 9, 200, 100, 40, 9, 200, 100, 40, 9]).unwrap();
        let placement = Placement::from_rect([0., 0., 2., 1.], (2, 1));
        let heatmap = |values: [f32; 2]| Grid::new(2, 1, values.to_vec()).heatmap();
        let heatmaps = [heatmap([1., 0.]), heatmap([0., 1.]), heatmap([0., 0.])];
        let style = Style::new(Colormap::Turbo, 0.25).unwrap();
        // (150, 75, 30), plus 64 in red, in green, and nothing.
        let expected = [214, 75, 30, 9, 150, 139, 30, 9, 150, 75, 30, 9];
        assert_eq!(blend_concepts(&image, &heatmaps, &placement, &style), expected);
    }

    fn gradient(width: u32, height: u32) -> Image {
        let pixel = |i: u32| [(i * 7) as u8, (i * 13) as u8, (255 - i % 256) as u8, (i * 31) as u8];
        Image::from_rgba(width, height, (0..width * height).flat_map(pixel).collect()).unwrap()
    }

    fn plain(width: u32, height: u32, color: [u8; 4]) -> Image {
        Image::from_rgba(width, height, color.repeat((width * height) as usize)).unwrap()
    }

    fn gray(opacity: f32) -> Style {
        Style::new(Colormap::Gray, opacity).unwrap()
    }

    /// The gray levels of a picture, row by row.
    fn reds(rgba: &[u8]) -> Vec<u8> {
        rgba.iter().step_by(4).copied().collect()
    }

    fn stretch(image: &Image) -> Placement {
        Placement::new(Resize::Stretch, (image.width(), image.height()), (224, 224))
    }

    #[test]
    fn opacity_0_gives_the_image_back_byte_for_byte() {
        let heatmap = Grid::new(2, 2, vec![0., 1., 2., 3.]).heatmap();
        // Widths that fill vectors and widths that do not.
        for (width, height) in [(1, 1), (3, 2), (16, 3), (37, 11)] {
            let image = gradient(width, height);
            for resize in Resize::ALL {
                let placement = Placement::new(resize, (width, height), (224, 224));
                let style = Style::new(Colormap::Turbo, 0.).unwrap();
                assert_eq!(blend(&image, &heatmap, &placement, &style), image.rgba(), "{width} × {height} {resize:?}");
            }
        }
    }

    #[test]
    fn the_value_under_a_pixel_is_the_resampled_heatmaps() {
        let heatmap = Grid::new(3, 2, vec![0., 4., 1., 2., -3., 6.]).heatmap();
        let placement = Placement::new(Resize::Stretch, (7, 5), (224, 224));
        for (i, &expected) in heatmap.resampled(7, 5).grid().values().iter().enumerate() {
            assert_eq!(value_at(&heatmap, &placement, (i as u32 % 7, i as u32 / 7)), Some(expected), "pixel {i}");
        }
    }

    #[test]
    fn what_the_network_did_not_see_has_no_value() {
        let heatmap = Grid::new(2, 2, vec![0., 1., 2., 3.]).heatmap();
        // Of 8 × 4 pixels, a square crop sees the columns 2 to 5.
        let placement = Placement::new(Resize::Crop, (8, 4), (4, 4));
        let seen = |x| value_at(&heatmap, &placement, (x, 0)).is_some();
        assert_eq!([0, 1, 2, 5, 6, 7].map(seen), [false, false, true, true, false, false]);
    }

    #[test]
    fn opacity_1_shows_the_colours_and_the_images_own_alpha() {
        let image = plain(2, 1, [9, 90, 200, 77]);
        let heatmap = Grid::new(2, 1, vec![0., 1.]).heatmap();
        let style = Style::new(Colormap::Jet, 1.).unwrap();
        assert_eq!(blend(&image, &heatmap, &stretch(&image), &style), [0, 0, 128, 77, 128, 0, 0, 77]);
    }

    #[test]
    fn colours_mix_by_opacity_rounded_to_the_nearest_level() {
        // A quarter of 255 and three quarters of 100: 138.75. Of 0: 75.
        let image = plain(2, 1, [100, 100, 100, 255]);
        let heatmap = Grid::new(2, 1, vec![0., 1.]).heatmap();
        assert_eq!(reds(&blend(&image, &heatmap, &stretch(&image), &gray(0.25))), [75, 139]);
        // Half of 255 and half of 100 is 177.5: halves go up.
        assert_eq!(reds(&blend(&image, &heatmap, &stretch(&image), &gray(0.5))), [50, 178]);
    }

    #[test]
    fn every_mix_is_within_one_level_of_the_exact_one() {
        let image = gradient(256, 3);
        let heatmap = Grid::new(2, 1, vec![0., 1.]).heatmap();
        let numbers = heatmap.resampled(256, 3);
        for opacity in [0.1, 0.37, 0.5, 0.77, 0.999] {
            let style = Style::new(Colormap::Viridis, opacity).unwrap();
            let blended = blend(&image, &heatmap, &stretch(&image), &style);
            for (at, (actual, original)) in
                blended.as_chunks::<4>().0.iter().zip(image.rgba().as_chunks::<4>().0).enumerate()
            {
                let color = Colormap::Viridis.colors()[(numbers.grid().values()[at] * 255. + 0.5) as usize];
                for channel in 0..3 {
                    let exact = (1. - opacity) * f32::from(original[channel]) + opacity * f32::from(color[channel]);
                    assert!((f32::from(actual[channel]) - exact).abs() <= 1., "{actual:?}, {exact}, at {opacity}");
                }
                assert_eq!(actual[3], original[3]);
            }
        }
    }

    #[test]
    fn stretched_over_the_image_the_numbers_are_those_of_the_resampled_heatmap() {
        let image = plain(101, 67, [0, 0, 0, 255]);
        let heatmap = Grid::new(7, 5, (0..35).map(|i| (i * 23 % 31) as f32 - 4.).collect()).heatmap();
        let numbers = heatmap.resampled(101, 67);
        let expected: Vec<u8> = numbers.grid().values().iter().map(|value| (value * 255. + 0.5) as u8).collect();
        assert_eq!(reds(&blend(&image, &heatmap, &stretch(&image), &gray(1.))), expected);
    }

    #[test]
    fn a_crop_dims_what_the_network_did_not_see() {
        // The centre 2 × 2 of 6 × 2: black at half opacity on both sides, one cell a pixel between them.
        let image = plain(6, 2, [100, 100, 100, 255]);
        let heatmap = Grid::new(2, 2, vec![0., 1., 1., 0.]).heatmap();
        let placement = Placement::new(Resize::Crop, (6, 2), (2, 2));
        let blended = blend(&image, &heatmap, &placement, &gray(0.5));
        assert_eq!(reds(&blended), [50, 50, 50, 178, 50, 50, 50, 50, 178, 50, 50, 50]);
        // And an upright picture, where whole rows lie outside.
        let image = plain(2, 6, [100, 100, 100, 255]);
        let placement = Placement::new(Resize::Crop, (2, 6), (2, 2));
        let blended = blend(&image, &heatmap, &placement, &gray(0.5));
        assert_eq!(reds(&blended), [50, 50, 50, 50, 50, 178, 178, 50, 50, 50, 50, 50]);
    }

    #[test]
    fn a_letterbox_drops_the_padding() {
        // 4 × 2 in 4 × 4: the first and the last row of cells are padding.
        let image = plain(4, 2, [0, 0, 0, 255]);
        #[rustfmt::skip]
        let map = Grid::new(4, 4, vec![
            5., 5., 5., 5.,
            0., 1., 2., 3.,
            4., 5., 0., 0.,
            5., 5., 5., 5.,
        ]);
        let placement = Placement::new(Resize::Letterbox, (4, 2), (4, 4));
        let blended = blend(&image, &map.heatmap(), &placement, &gray(1.));
        assert_eq!(reds(&blended), [0, 51, 102, 153, 204, 255, 0, 0]);
        // Upright: the first and the last column.
        let image = plain(2, 4, [0, 0, 0, 255]);
        let placement = Placement::new(Resize::Letterbox, (2, 4), (4, 4));
        let blended = blend(&image, &map.heatmap(), &placement, &gray(1.));
        assert_eq!(reds(&blended), [255, 255, 51, 102, 255, 0, 255, 255]);
    }

    #[test]
    fn a_hot_spot_in_padding_does_not_make_the_image_hot() {
        // All that the image's rows have is a fifth of the evidence, and that is what they show.
        let image = plain(2, 1, [0, 0, 0, 255]);
        let heatmap = Grid::new(2, 2, vec![0., 1., 5., 5.]).heatmap();
        let placement = Placement::from_rect([0., 0., 2., 2.], (2, 2));
        assert_eq!(reds(&blend(&image, &heatmap, &placement, &gray(1.))), [0, 51]);
    }

    #[test]
    fn a_hot_corner_stays_in_its_corner() {
        let (width, height) = (90, 40);
        let image = plain(width, height, [0, 0, 0, 255]);
        for resize in Resize::ALL {
            let input = (48, 32);
            let placement = Placement::new(resize, (width, height), input);
            for (x, y) in [(0, 0), (5, 0), (0, 3), (5, 3)] {
                let mut values = vec![0.; 24];
                values[y * 6 + x] = 1.;
                let rgba = blend(&image, &Grid::new(6, 4, values).heatmap(), &placement, &gray(1.));
                // The middle of the hot cell, moved from the input to the image, and into it from a letterbox's padding.
                let cell = ((x as f64 + 0.5) * 8., (y as f64 + 0.5) * 8.);
                let (hot_x, hot_y) = placement.image_from_input(cell);
                let clamp = |at: f64, side: u32| at.clamp(0., f64::from(side) - 1.) as usize;
                let at = |x: f64, y: f64| rgba[(clamp(y, height) * width as usize + clamp(x, width)) * 4];
                let (hot, opposite) = (at(hot_x, hot_y), at(90. - hot_x, 40. - hot_y));
                assert!(hot > 100 && opposite == 0, "{resize:?} {x}, {y}: {hot} here, {opposite} at the other corner");
            }
        }
    }

    #[test]
    fn a_dead_heatmap_leaves_the_image_as_it_is() {
        let image = gradient(5, 2);
        for values in [[0.; 4], [-1., -2., 0., -3.], [7.; 4], [f32::NAN; 4]] {
            let heatmap = Grid::new(2, 2, values.to_vec()).heatmap();
            assert_eq!(blend(&image, &heatmap, &stretch(&image), &Style::default()), image.rgba(), "{values:?}");
        }
        // What the network did not see is dimmed all the same: of 4 pixels, a square crop sees the middle ones.
        let image = plain(4, 2, [100, 100, 100, 255]);
        let placement = Placement::new(Resize::Crop, (4, 2), (4, 4));
        let blended = blend(&image, &Grid::new(1, 1, vec![0.]).heatmap(), &placement, &gray(0.5));
        assert_eq!(reds(&blended), [50, 100, 100, 50, 50, 100, 100, 50]);
    }

    #[test]
    fn below_the_threshold_the_image_stays_as_it_is() {
        let image = plain(4, 1, [100, 100, 100, 255]);
        let heatmap = Grid::new(4, 1, vec![0., 1., 2., 4.]).heatmap();
        let style = gray(0.5).with_threshold(0.4).unwrap();
        // 0, 0.25, 0.5 and 1: half of 100 and half of 127.5 and 255, as levels 128 and 255.
        assert_eq!(reds(&blend(&image, &heatmap, &stretch(&image), &style)), [100, 100, 114, 178]);
        assert!(gray(0.5).with_threshold(1.5).unwrap_err().message().contains("from 0 to 1"));
    }

    #[test]
    fn by_value_the_opacity_grows_with_the_heatmap() {
        let image = plain(3, 1, [100, 100, 100, 255]);
        let heatmap = Grid::new(3, 1, vec![0., 1., 2.]).heatmap();
        let style = gray(0.5).with_opacity_by_value();
        // Opacities 0, 64/256 (level 128 of 255, halved) and 1/2.
        assert_eq!(reds(&blend(&image, &heatmap, &stretch(&image), &style)), [100, 107, 178]);
        // Beside what the network saw the image is dimmed as ever.
        let seen = Placement::from_rect([0., 0., 2., 1.], (2, 1));
        let heatmap = Grid::new(2, 1, vec![0., 1.]).heatmap();
        assert_eq!(reds(&blend(&image, &heatmap, &seen, &style)), [100, 178, 50]);
    }

    #[test]
    fn values_over_the_image_are_those_of_single_pixels() {
        let heatmap = Grid::new(3, 2, vec![0., 1., 5., 2., 8., 3.]).heatmap();
        for resize in Resize::ALL {
            let placement = Placement::new(resize, (9, 5), (6, 4));
            let values = values_over(&heatmap, &placement, (9, 5));
            for (at, &value) in (0..).zip(values.values()) {
                let single = value_at(&heatmap, &placement, (at % 9, at / 9)).unwrap_or(0.);
                assert_eq!(value, single, "{resize:?} {at}");
            }
        }
    }

    #[test]
    fn odd_rectangles_do_no_harm() {
        let image = gradient(5, 3);
        let heatmap = Grid::new(2, 2, vec![0., 1., 2., 3.]).heatmap();
        for rect in [
            [100., 100., 4., 4.],
            [-100., -100., 4., 4.],
            [0., 0., 0., 0.],
            [1., 1., -3., 2.],
            [0.2, 0.2, 0.1, 0.1],
            [f64::NAN; 4],
            [0., 0., f64::INFINITY, 3.],
            [-1e300, -1e300, 2e300, 2e300],
        ] {
            let rgba = blend(&image, &heatmap, &Placement::from_rect(rect, (2, 2)), &gray(0.5));
            assert_eq!(rgba.len(), image.rgba().len());
        }
    }

    #[test]
    fn colormaps_have_the_published_ends() {
        for (colormap, first, last) in [
            (Colormap::Turbo, [48, 18, 59], [122, 4, 3]),
            (Colormap::Viridis, [68, 1, 84], [253, 231, 37]),
            (Colormap::Inferno, [0, 0, 4], [252, 255, 164]),
            (Colormap::Magma, [0, 0, 4], [252, 253, 191]),
            (Colormap::Cividis, [0, 34, 78], [254, 232, 56]),
            (Colormap::Jet, [0, 0, 128], [128, 0, 0]),
            (Colormap::Gray, [0, 0, 0], [255, 255, 255]),
        ] {
            let colors = colormap.colors();
            assert_eq!((colors.len(), colors[0], colors[255]), (256, first, last), "{colormap:?}");
        }
        // matplotlib's jet has [125, 255, 122] there.
        assert_eq!(Colormap::Jet.colors()[128], [130, 255, 126]);
    }

    #[test]
    fn names_lead_back_to_colormaps_and_others_are_refused_with_the_list() {
        for colormap in Colormap::ALL {
            assert_eq!(colormap.name().parse(), Ok(colormap));
        }
        let error = "rainbow".parse::<Colormap>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Target);
        assert_eq!(
            error.message(),
            "there is no colormap `rainbow`; there are turbo, viridis, inferno, magma, cividis, jet, gray"
        );
    }

    #[test]
    fn an_opacity_outside_0_to_1_is_refused() {
        for opacity in [-0.01, 1.01, f32::NAN, f32::INFINITY] {
            let error = Style::new(Colormap::Turbo, opacity).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Target, "{opacity}");
            assert!(error.message().contains("from 0 to 1"), "{error}");
        }
    }
}
