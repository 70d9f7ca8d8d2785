//! The user's picture: decoded, upright, with its own alpha.

/// A picture in RGBA, 8 bits a channel, straight alpha, upright.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    width: u32,
    height: u32,
    rgba: Vec<u8>,
}

impl Image {
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
