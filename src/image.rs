//! The user's picture: decoded, upright, with its own alpha.
//!
//! Decoding is done here and not by the browser so that the same file gives the same pixels everywhere.
//!
//! **Invariants.** An [`Image`] has at least one pixel and exactly four bytes for each. Its size was checked before
//! memory for its pixels was taken.

use crate::{Error, ErrorKind, Result};

/// The longest side of an image, in pixels.
pub const MAX_SIDE: u32 = 16_384;

/// The most pixels of an image: 64 megapixels, a quarter of a gigabyte as RGBA.
pub const MAX_PIXELS: u64 = 64_000_000;

/// A picture in RGBA, 8 bits a channel, straight alpha, upright.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    width: u32,
    height: u32,
    rgba: Vec<u8>,
}

impl Image {
    /// A picture from its pixels: row-major, four bytes a pixel, straight alpha.
    ///
    /// # Errors
    /// `ImageError` if a side is zero, the size is over [`MAX_SIDE`] or [`MAX_PIXELS`], or `rgba` is not
    /// `4 * width * height` bytes long.
    pub fn from_rgba(width: u32, height: u32, rgba: Vec<u8>) -> Result<Image> {
        check_size("the image", width, height)?;
        let expected = 4 * u64::from(width) * u64::from(height);
        if rgba.len() as u64 != expected {
            return Err(refuse(format!(
                "an image of {width} × {height} pixels takes {expected} bytes of RGBA, but there are {}",
                rgba.len()
            )));
        }
        Ok(Image { width, height, rgba })
    }

    /// In pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// In pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Row-major, four bytes a pixel.
    pub fn rgba(&self) -> &[u8] {
        &self.rgba
    }
}

/// Whether something of this size can be held: `subject` begins the sentence if not.
///
/// # Errors
/// `ImageError` if a side is zero or the size is over [`MAX_SIDE`] or [`MAX_PIXELS`].
pub fn check_size(subject: &str, width: u32, height: u32) -> Result<()> {
    if width == 0 || height == 0 {
        return Err(refuse(format!("{subject} is empty ({width} × {height} pixels)")));
    }
    let pixels = u64::from(width) * u64::from(height);
    if width.max(height) > MAX_SIDE || pixels > MAX_PIXELS {
        return Err(refuse(format!(
            "{subject} is too large: {width} × {height} pixels; at most {MAX_SIDE} pixels a side and {} megapixels \
             are accepted",
            MAX_PIXELS / 1_000_000
        )));
    }
    Ok(())
}

fn refuse(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Image, message)
}

#[cfg(feature = "decode")]
mod decode;
