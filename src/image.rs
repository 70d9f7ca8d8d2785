//! The user's picture: decoded, upright, with its own alpha.
//!
//! Decoding is done here and not by the browser so that the same file gives the same pixels everywhere.
//!
//! **Invariants.** An [`Image`] has at least one pixel and exactly four bytes for each. Its size was checked before
//! memory for its pixels was taken.

use crate::{Error, ErrorKind, Result};

/// The longest side of an image, in pixels: that of JPEG.
pub const MAX_SIDE: u32 = 65_535;

/// The most pixels of an image: 64 megapixels, a quarter of a gigabyte as RGBA.
pub const MAX_PIXELS: u64 = 64_000_000;

/// A picture in RGBA, 8 bits a channel, straight alpha, upright.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    width: u32,
    height: u32,
    rgba: Vec<u8>,
    is_animated: bool,
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
        Ok(Image { width, height, rgba, is_animated: false })
    }

    /// In pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// In pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Whether the file has more frames, of which this is the first.
    pub fn is_animated(&self) -> bool {
        self.is_animated
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
#[cfg(feature = "decode")]
mod headers;
#[cfg(feature = "decode")]
mod jpeg;

#[cfg(feature = "decode")]
pub use decode::FileKind;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_that_do_not_fill_the_size_are_refused() {
        let error = Image::from_rgba(3, 2, vec![0; 23]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Image);
        assert_eq!(error.message(), "an image of 3 × 2 pixels takes 24 bytes of RGBA, but there are 23");
        assert!(Image::from_rgba(3, 2, vec![0; 24]).is_ok());
    }

    #[test]
    fn empty_and_huge_sizes_are_refused_with_size_and_limit() {
        assert_eq!(check_size("it", 0, 5).unwrap_err().message(), "it is empty (0 × 5 pixels)");
        assert_eq!(
            check_size("it", 65_536, 1).unwrap_err().message(),
            "it is too large: 65536 × 1 pixels; at most 65535 pixels a side and 64 megapixels are accepted"
        );
        assert!(check_size("it", 8_000, 8_001).is_err());
        assert!(check_size("it", 8_000, 8_000).is_ok());
        assert!(check_size("it", u32::MAX, u32::MAX).is_err());
    }
}
