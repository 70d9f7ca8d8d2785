//! Class activation maps once they have left the device: grids of numbers, normalised and resampled.
//!
//! Everything here is plain host data, so opacity, colours and size change without running the network.

/// A grid of numbers, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    width: u32,
    height: u32,
    values: Vec<f32>,
}

impl Grid {
    /// A grid of `width` × `height` numbers.
    ///
    /// # Panics
    /// If there are not `width * height` values: the caller computed them for this size.
    pub fn new(width: u32, height: u32, values: Vec<f32>) -> Self {
        assert_eq!(values.len(), width as usize * height as usize, "a {width}×{height} grid");
        Grid { width, height, values }
    }

    /// In cells.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// In cells.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Row-major, `width * height` numbers.
    pub fn values(&self) -> &[f32] {
        &self.values
    }
}
