//! The heatmap over the picture: colormaps and blending.
//!
//! Colours are mixed in integers, row by row, so that moving an opacity slider keeps up with the hand.

use std::str::FromStr;

use crate::heatmap::{Axis, Heatmap, Normalise, resampled_extremes};
use crate::image::Image;
use crate::preprocess::Placement;
use crate::{Error, ErrorKind, Result};

/// The published tables, 256 RGB triples each, in the order of [`Colormap::ALL`]; `make_colormaps.py` writes them.
static TABLES: &[u8; Colormap::ALL.len() * 768] = include_bytes!("overlay/colormaps.bin");

/// How numbers in 0..=1 become colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Colormap {
    /// Google's rainbow without false bands.
    #[default]
    Turbo,
    /// matplotlib's default: perceptually uniform, readable with colour-blind eyes.
    Viridis,
    /// Black to pale yellow, perceptually uniform.
    Inferno,
    /// Black to pale pink, perceptually uniform.
    Magma,
    /// Blue to yellow, made for colour-blind eyes.
    Cividis,
    /// OpenCV's `COLORMAP_JET`, the one of most papers and of pytorch-grad-cam. matplotlib's differs a little.
    Jet,
    /// Black to white.
    Gray,
}

impl Colormap {
    /// Every colormap.
    pub const ALL: [Colormap; 7] = [
        Colormap::Turbo,
        Colormap::Viridis,
        Colormap::Inferno,
        Colormap::Magma,
        Colormap::Cividis,
        Colormap::Jet,
        Colormap::Gray,
    ];

    /// The name in attributes, options and addresses.
    pub fn name(self) -> &'static str {
        match self {
            Colormap::Turbo => "turbo",
            Colormap::Viridis => "viridis",
            Colormap::Inferno => "inferno",
            Colormap::Magma => "magma",
            Colormap::Cividis => "cividis",
            Colormap::Jet => "jet",
            Colormap::Gray => "gray",
        }
    }

    /// The 256 colours, red, green, blue, from the lowest number to the highest.
    pub fn colors(self) -> &'static [[u8; 3]] {
        let (colors, _) = TABLES.as_chunks::<3>();
        &colors[self as usize * 256..][..256]
    }
}

/// The colormap's name; others are a `TargetError` that lists them.
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
}

impl Style {
    /// `opacity` 0 shows the image alone, 1 the colormap alone.
    ///
    /// # Errors
    /// `TargetError` if `opacity` is not within 0..=1.
    pub fn new(colormap: Colormap, opacity: f32) -> Result<Style> {
        if !(0. ..=1.).contains(&opacity) {
            return Err(Error::new(
                ErrorKind::Target,
                format!("the opacity is {opacity}; a number from 0 to 1 is accepted"),
            ));
        }
        Ok(Style { colormap, opacity })
    }

    /// The colours of the heatmap.
    pub fn colormap(self) -> Colormap {
        self.colormap
    }

    /// 0 shows the image alone, 1 the colormap alone.
    pub fn opacity(self) -> f32 {
        self.opacity
    }
}

/// Turbo, half and half.
impl Default for Style {
    fn default() -> Self {
        Style { colormap: Colormap::default(), opacity: 0.5 }
    }
}

/// Four 16-bit lanes of a pixel: the style's share of the result, in 256ths, with half a level added for rounding.
type Tint = [u16; 4];

/// The heatmap over the image, as RGBA at the image's size: `(1 - opacity) * image + opacity * colour`.
///
/// The heatmap is resampled once, from its own resolution straight to the image's pixels, over the rectangle that the
/// network saw, and stretched to 0..=1 over that rectangle: where it is the whole image, the numbers are those of
/// [`Heatmap::resampled`] at the image's size. Around the rectangle the colour is black, which dims what the network
/// did not see; padding, which is no part of the image, does not appear.
///
/// Numbers take the nearest of the colormap's 256 colours. The opacity is rounded to 256ths and the result to the
/// nearest level, halves up, so that opacity 0 gives the image back byte for byte and 1 the colours. The image's own
/// alpha is kept.
pub fn blend(image: &Image, heatmap: &Heatmap, placement: &Placement, style: &Style) -> Vec<u8> {
    let mut rgba = image.rgba().to_vec();
    let opacity = (style.opacity * 256.).round() as u16;
    if opacity == 0 {
        return rgba;
    }
    const HALF: u16 = 128;
    let tint = |[r, g, b]: [u8; 3]| [r, g, b].map(|level| u16::from(level) * opacity + HALF);
    let tint = |color: [u8; 3]| -> Tint {
        let [r, g, b] = tint(color);
        [r, g, b, HALF]
    };
    let tints: [Tint; 256] = std::array::from_fn(|level| tint(style.colormap.colors()[level]));
    let outside = tint([0; 3]);

    let (width, height) = (image.width() as usize, image.height() as usize);
    let [left, top, across, down] = placement.rect();
    let grid = heatmap.grid();
    let frame_x = pixels_within(left, across);
    let frame_y = pixels_within(top, down);
    let columns = Axis::new(grid.width(), left, across, frame_x.clone());
    let rows = Axis::new(grid.height(), top, down, frame_y.clone());
    let range = Normalise::new(resampled_extremes(grid, &columns, &rows));
    // The part of the image that the network saw, and how much of the frame lies before it.
    let seen_x = frame_x.start.clamp(0, width as i64) as usize..frame_x.end.clamp(0, width as i64) as usize;
    let seen_y = frame_y.start.clamp(0, height as i64) as usize..frame_y.end.clamp(0, height as i64) as usize;
    let skipped_x = (-frame_x.start).max(0) as usize;
    let skipped_y = (-frame_y.start).max(0) as usize;

    let mut blended = Vec::new();
    let mut numbers = vec![0.; columns.len()];
    let mut tinted: Vec<Tint> = vec![outside; width];
    for (y, pixels) in rgba.chunks_exact_mut(width * 4).enumerate() {
        if seen_y.contains(&y) {
            grid.row_at(&rows, y - seen_y.start + skipped_y, &mut blended);
            columns.interpolate(&blended, &mut numbers);
            for (tint, &number) in tinted[seen_x.clone()].iter_mut().zip(&numbers[skipped_x..]) {
                let level = (range.apply(number) * 255. + 0.5) as i32;
                *tint = tints[(level & 255) as usize];
            }
        } else {
            tinted.fill(outside);
        }
        mix(pixels, tinted.as_flattened(), 256 - opacity);
    }
    rgba
}

/// The pixels whose centres lie within `start..start + length`.
fn pixels_within(start: f64, length: f64) -> std::ops::Range<i64> {
    (start - 0.5).ceil() as i64..(start + length - 0.5).ceil() as i64
}

/// Multiplies colour by `share` 256ths, leaves alpha, adds the tint.
fn mix(pixels: &mut [u8], tints: &[u16], share: u16) {
    // Sixteen bytes at a time make one vector. `255 * 256 + 128` still fits 16 bits.
    let shares: [u16; 16] = std::array::from_fn(|lane| if lane % 4 == 3 { 256 } else { share });
    let (chunks, rest) = pixels.as_chunks_mut::<16>();
    let (tint_chunks, tint_rest) = tints.as_chunks::<16>();
    for (chunk, tints) in chunks.iter_mut().zip(tint_chunks) {
        for lane in 0..16 {
            chunk[lane] = ((u16::from(chunk[lane]) * shares[lane] + tints[lane]) >> 8) as u8;
        }
    }
    for ((byte, &tint), &share) in rest.iter_mut().zip(tint_rest).zip(&shares) {
        *byte = ((u16::from(*byte) * share + tint) >> 8) as u8;
    }
}
