//! From the user's picture to the network's input, and back: everything geometric hides behind [`Placement`].
//!
//! Pixels are resized exactly as Pillow and torchvision do, because networks were trained on such pixels and a
//! different filter changes scores.

use std::str::FromStr;

use crate::numbers::decimal;
use crate::{Error, ErrorKind, Result};

/// The longest side of a network's input, in pixels.
pub const MAX_INPUT_SIDE: u32 = 16_384;

/// How many channels a network for pictures may take: grey, colour, or colour and opacity.
pub const CHANNELS: [usize; 3] = [1, 3, 4];

/// How a picture becomes the network's input. A model's manifest says this.
#[derive(Clone, Debug, PartialEq)]
pub struct Preprocess {
    /// Of the network's input, in pixels.
    pub width: u32,
    /// Of the network's input, in pixels.
    pub height: u32,
    /// How the picture is fitted to the input.
    pub resize: Resize,
    /// What is subtracted from each channel, in input order, where samples run over 0..=1. One number serves all
    /// channels.
    pub mean: Vec<f32>,
    /// What each channel is then divided by: positive. One number serves all channels.
    pub std: Vec<f32>,
    /// Which colour comes first.
    pub order: ChannelOrder,
}

/// torchvision's usual evaluation transform for ImageNet networks: a centre crop of 224 × 224, normalised by ImageNet's
/// mean and standard deviation.
impl Default for Preprocess {
    fn default() -> Self {
        Preprocess {
            width: 224,
            height: 224,
            resize: Resize::Crop,
            mean: vec![0.485, 0.456, 0.406],
            std: vec![0.229, 0.224, 0.225],
            order: ChannelOrder::Rgb,
        }
    }
}

impl Preprocess {
    /// Whether these numbers can serve a network with so many input channels.
    ///
    /// # Errors
    /// `UnsupportedError` if the network takes another number of channels than 1, 3 or 4. `ModelError` if a side is zero or over
    /// [`MAX_INPUT_SIDE`], if `mean` or `std` has neither 1 nor `channels` numbers, if one of them is not finite, or if a
    /// `std` is not positive.
    pub fn check(&self, channels: usize) -> Result<()> {
        let refuse = |message: String| Err(Error::new(ErrorKind::Model, message));
        if !CHANNELS.contains(&channels) {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "the network takes {channels} channels; 1 (grey), 3 (colour) and 4 (with transparency) are accepted"
                ),
            ));
        }
        let (width, height) = (self.width, self.height);
        if !(1..=MAX_INPUT_SIDE).contains(&width) || !(1..=MAX_INPUT_SIDE).contains(&height) {
            return refuse(format!(
                "preprocess: an input of {width} × {height}; sides of 1 to {MAX_INPUT_SIDE} are accepted"
            ));
        }
        for (name, values) in [("mean", &self.mean), ("std", &self.std)] {
            if values.len() != channels && values.len() != 1 {
                let n = values.len();
                return refuse(format!(
                    "preprocess: `{name}` has {n} numbers, but the network takes {channels} channels"
                ));
            }
            if let Some(value) = values.iter().find(|value| !value.is_finite()) {
                return refuse(format!("preprocess: `{name}` has {}, which is not a finite number", decimal(*value)));
            }
        }
        if let Some(value) = self.std.iter().find(|&&value| value <= 0.) {
            return refuse(format!("preprocess: `std` has {}, but must be positive", decimal(*value)));
        }
        Ok(())
    }
}

/// How a picture is fitted to the network's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resize {
    /// The whole picture, its sides scaled independently.
    Stretch,
    /// The largest part around the centre that has the input's proportions: torchvision's `Resize` of the shorter side
    /// and `CenterCrop`.
    Crop,
    /// The whole picture in its own proportions, with padding of the mean colour (0 after normalisation) around it.
    Letterbox,
}

impl Resize {
    /// Every way of fitting.
    pub const ALL: [Resize; 3] = [Resize::Stretch, Resize::Crop, Resize::Letterbox];

    /// The name in manifests.
    pub fn name(self) -> &'static str {
        match self {
            Resize::Stretch => "stretch",
            Resize::Crop => "crop",
            Resize::Letterbox => "letterbox",
        }
    }
}

/// The name in manifests; others are a `TargetError`.
///
/// ```
/// use gradcam_web::preprocess::Resize;
/// assert_eq!("letterbox".parse(), Ok(Resize::Letterbox));
/// assert!("squash".parse::<Resize>().is_err());
/// ```
impl FromStr for Resize {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Resize::ALL.into_iter().find(|resize| resize.name() == name).ok_or_else(|| {
            Error::new(
                ErrorKind::Target,
                format!("`{name}` is no way of resizing; stretch, crop and letterbox are accepted"),
            )
        })
    }
}

/// The order of a colour network's input channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelOrder {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red, as networks from Caffe and OpenCV take it.
    Bgr,
}

impl ChannelOrder {
    /// Every order.
    pub const ALL: [ChannelOrder; 2] = [ChannelOrder::Rgb, ChannelOrder::Bgr];

    /// The name in manifests.
    pub fn name(self) -> &'static str {
        match self {
            ChannelOrder::Rgb => "RGB",
            ChannelOrder::Bgr => "BGR",
        }
    }
}

/// The name in manifests; others are a `TargetError`.
impl FromStr for ChannelOrder {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        ChannelOrder::ALL.into_iter().find(|order| order.name() == name).ok_or_else(|| {
            Error::new(ErrorKind::Target, format!("`{name}` is no order of channels; RGB and BGR are accepted"))
        })
    }
}

/// Which rectangle of the image the network's input covers.
///
/// Points are in pixels with the origin at the top left corner, so that pixel `i` covers `i..i + 1` and its centre is
/// at `i + 0.5`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Placement {
    rect: [f64; 4],
    input: (u32, u32),
}

impl Placement {
    /// Where an input of `input` (width, height) lies on an upright image of `image` (width, height).
    ///
    /// # Panics
    /// If a side is zero: neither an image nor a checked [`Preprocess`] has such a side.
    pub fn new(resize: Resize, image: (u32, u32), input: (u32, u32)) -> Self {
        let fit = Fit::new(resize, image, input);
        // Image pixels in one pixel of the resized picture. The two differ a little, because its sides are whole.
        let scale_x = f64::from(image.0) / f64::from(fit.resized.0);
        let scale_y = f64::from(image.1) / f64::from(fit.resized.1);
        let rect = [
            -fit.offset.0 as f64 * scale_x,
            -fit.offset.1 as f64 * scale_y,
            f64::from(input.0) * scale_x,
            f64::from(input.1) * scale_y,
        ];
        Placement { rect, input }
    }

    /// The placement of an input of `input` (width, height) whose [`rect`](Self::rect) is known.
    pub fn from_rect(rect: [f64; 4], input: (u32, u32)) -> Self {
        Placement { rect, input }
    }

    /// x, y, width, height of the whole input in pixels of the image. With a letterbox, it reaches beyond the image.
    pub fn rect(&self) -> [f64; 4] {
        self.rect
    }

    /// Where a point of the input is on the image.
    ///
    /// ```
    /// use gradcam_web::preprocess::{Placement, Resize};
    /// // The middle 200 of 300 pixels, seen at 100 × 100.
    /// let placement = Placement::new(Resize::Crop, (300, 200), (100, 100));
    /// assert_eq!(placement.image_from_input((0., 0.)), (50., 0.));
    /// ```
    pub fn image_from_input(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let [left, top, width, height] = self.rect;
        (left + x * width / f64::from(self.input.0), top + y * height / f64::from(self.input.1))
    }

    /// Where a point of the image is on the input.
    pub fn input_from_image(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let [left, top, width, height] = self.rect;
        ((x - left) * f64::from(self.input.0) / width, (y - top) * f64::from(self.input.1) / height)
    }
}

/// The picture resized as a whole, and where its top left corner lies in the input: negative where it is cropped,
/// positive where it is padded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fit {
    resized: (u32, u32),
    offset: (i64, i64),
}

impl Fit {
    fn new(resize: Resize, (w, h): (u32, u32), (width, height): (u32, u32)) -> Fit {
        assert!(w > 0 && h > 0 && width > 0 && height > 0, "{w} × {h} into {width} × {height}");
        match resize {
            Resize::Stretch => Fit { resized: (width, height), offset: (0, 0) },
            Resize::Crop => {
                let (short, long) = (u64::from(w.min(h)), u64::from(w.max(h)));
                // torchvision's `Resize(side)` truncates the longer side. `side` is the smallest that covers the input.
                let mut side = u64::from(width.min(height));
                let resized = loop {
                    let other = side * long / short;
                    let (x, y) = if w <= h { (side, other) } else { (other, side) };
                    if x >= u64::from(width) && y >= u64::from(height) {
                        break (x as u32, y as u32);
                    }
                    side += 1;
                };
                let offset = |resized: u32, input: u32| -half_to_even(i64::from(resized - input));
                Fit { resized, offset: (offset(resized.0, width), offset(resized.1, height)) }
            }
            Resize::Letterbox => {
                let scale = (f64::from(width) / f64::from(w)).min(f64::from(height) / f64::from(h));
                let side = |side: u32, input: u32| ((f64::from(side) * scale + 0.5) as u32).clamp(1, input);
                let resized = (side(w, width), side(h, height));
                let offset = (i64::from(width - resized.0) / 2, i64::from(height - resized.1) / 2);
                Fit { resized, offset }
            }
        }
    }
}

/// `n / 2`, halves to the even neighbour: Python's `round`, which places torchvision's `CenterCrop`.
fn half_to_even(n: i64) -> i64 {
    let down = n / 2;
    if n % 2 == 1 && down % 2 == 1 { down + 1 } else { down }
}

#[cfg(feature = "decode")]
mod input;
#[cfg(feature = "decode")]
pub use input::input_from_image;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(resize: Resize, image: (u32, u32), input: (u32, u32), resized: (u32, u32), offset: (i64, i64)) {
        assert_eq!(Fit::new(resize, image, input), Fit { resized, offset }, "{resize:?} {image:?} {input:?}");
    }

    #[test]
    fn stretching_fits_both_sides() {
        check(Resize::Stretch, (371, 250), (64, 48), (64, 48), (0, 0));
    }

    #[test]
    fn cropping_truncates_the_longer_side_and_halves_to_even() {
        // 64 · 371 / 250 = 94.976, and (94 - 64) / 2 = 15.
        check(Resize::Crop, (371, 250), (64, 64), (94, 64), (-15, 0));
        check(Resize::Crop, (250, 371), (64, 64), (64, 94), (0, -15));
        // Python rounds 0.5 to 0, 1.5 and 2.5 to 2.
        check(Resize::Crop, (65, 64), (64, 64), (65, 64), (0, 0));
        check(Resize::Crop, (67, 64), (64, 64), (67, 64), (-2, 0));
        check(Resize::Crop, (69, 64), (64, 64), (69, 64), (-2, 0));
    }

    #[test]
    fn cropping_to_an_oblong_covers_it() {
        // A shorter side of 64 is the smallest whose longer one is 64 or more; 48 would be 48 × 71.
        check(Resize::Crop, (250, 371), (64, 48), (64, 94), (0, -23));
        check(Resize::Crop, (371, 250), (64, 48), (71, 48), (-4, 0));
    }

    #[test]
    fn a_letterbox_keeps_proportions_and_is_at_least_one_pixel_wide() {
        // 64 · 250 / 371 = 43.13, and (48 - 43) / 2 rounded down is 2.
        check(Resize::Letterbox, (371, 250), (64, 48), (64, 43), (0, 2));
        check(Resize::Letterbox, (250, 371), (64, 48), (32, 48), (16, 0));
        check(Resize::Letterbox, (1000, 1), (10, 10), (10, 1), (0, 4));
    }

    #[test]
    fn corners_of_the_input_are_where_the_image_has_them() {
        for (resize, corner, opposite) in [
            // The whole image.
            (Resize::Stretch, (0., 0.), (400., 200.)),
            // The middle square.
            (Resize::Crop, (100., 0.), (300., 200.)),
            // A square around the image.
            (Resize::Letterbox, (0., -100.), (400., 300.)),
        ] {
            let placement = Placement::new(resize, (400, 200), (48, 48));
            assert_eq!(placement.image_from_input((0., 0.)), corner, "{resize:?}");
            assert_eq!(placement.image_from_input((48., 48.)), opposite, "{resize:?}");
            assert_eq!(placement.input_from_image(corner), (0., 0.), "{resize:?}");
            assert_eq!(placement.input_from_image(opposite), (48., 48.), "{resize:?}");
            assert_eq!(Placement::from_rect(placement.rect(), (48, 48)), placement);
        }
    }

    #[test]
    fn there_and_back_is_the_same_point() {
        for resize in Resize::ALL {
            let placement = Placement::new(resize, (371, 250), (64, 48));
            let (x, y) = placement.input_from_image(placement.image_from_input((12.5, 31.25)));
            assert!((x - 12.5).abs() < 1e-9 && (y - 31.25).abs() < 1e-9, "{resize:?}");
        }
    }

    #[test]
    fn names_lead_back_and_others_are_refused_with_the_list() {
        for resize in Resize::ALL {
            assert_eq!(resize.name().parse(), Ok(resize));
        }
        for order in [ChannelOrder::Rgb, ChannelOrder::Bgr] {
            assert_eq!(order.name().parse(), Ok(order));
        }
        let error = "squash".parse::<Resize>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Target);
        assert_eq!(error.message(), "`squash` is no way of resizing; stretch, crop and letterbox are accepted");
        let error = "rgb".parse::<ChannelOrder>().unwrap_err();
        assert_eq!(error.message(), "`rgb` is no order of channels; RGB and BGR are accepted");
    }

    #[test]
    fn impossible_numbers_are_refused_by_name() {
        let fine = Preprocess::default();
        assert_eq!(fine.check(3), Ok(()));
        let one = Preprocess { mean: vec![0.5], std: vec![0.5], ..fine.clone() };
        assert_eq!((one.check(1), one.check(3)), (Ok(()), Ok(())));
        for (preprocess, channels, kind, message) in [
            (fine.clone(), 2, ErrorKind::Unsupported, "2 channels"),
            (fine.clone(), 1, ErrorKind::Model, "`mean` has 3 numbers, but the network takes 1 channel"),
            (Preprocess { width: 0, ..fine.clone() }, 3, ErrorKind::Model, "0 × 224"),
            (Preprocess { std: vec![0.2, 0., 0.2], ..fine.clone() }, 3, ErrorKind::Model, "`std` has 0"),
            (Preprocess { mean: vec![f32::NAN], ..fine.clone() }, 3, ErrorKind::Model, "`mean` has NaN"),
        ] {
            let error = preprocess.check(channels).unwrap_err();
            assert_eq!(error.kind(), kind);
            assert!(error.message().contains(message), "{error}");
        }
    }
}
