//! Class activation maps once they have left the device: grids of numbers, normalised and resampled.
//!
//! Everything here is plain host data, so opacity, colours and size change without running the network.
//!
//! **Invariants.** A [`Heatmap`] holds numbers in 0..=1 and nothing else, whatever the map was.

use std::ops::Range;

use crate::numbers::within;

/// Keeps a map of zeros from being divided by zero: the number that pytorch-grad-cam adds to the maximum.
const EPSILON: f32 = 1e-7;

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
    /// If a side is zero or there are not `width * height` values: the caller computed them for this size.
    pub fn new(width: u32, height: u32, values: Vec<f32>) -> Self {
        assert!(width > 0 && height > 0, "a {width}×{height} grid");
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

    /// The grid at another size: bilinear, half-pixel centres, edges repeated, no antialiasing. The same as OpenCV's
    /// `INTER_LINEAR` and PyTorch's `interpolate(mode="bilinear", align_corners=False)`.
    ///
    /// # Panics
    /// If a side is zero. [`check_size`](crate::image::check_size) is for sizes that a user asked for.
    ///
    /// ```
    /// use gradcam_web::heatmap::Grid;
    /// assert_eq!(Grid::new(2, 1, vec![0., 4.]).resized(4, 1).values(), [0., 1., 3., 4.]);
    /// ```
    pub fn resized(&self, width: u32, height: u32) -> Grid {
        assert!(width > 0 && height > 0, "a {width}×{height} grid");
        let columns = Axis::stretched(self.width, width);
        let rows = Axis::stretched(self.height, height);
        let mut values = vec![0.; width as usize * height as usize];
        let mut blended = Vec::new();
        for (y, row) in values.chunks_exact_mut(width as usize).enumerate() {
            self.row_at(&rows, y, &mut blended);
            columns.interpolate(&blended, row);
        }
        Grid { width, height, values }
    }

    /// The grid with left and right exchanged.
    pub fn mirrored(mut self) -> Grid {
        self.values.chunks_exact_mut(self.width as usize).for_each(<[f32]>::reverse);
        self
    }

    /// The heatmap of a class activation map: negative numbers become 0, then the rest is stretched to 0..=1 by
    /// `(v - min) / (1e-7 + max - min)`, both at the map's own resolution, as in pytorch-grad-cam. A map that is not
    /// finite gives zeros; [`state`](Self::state) tells.
    ///
    /// ```
    /// use gradcam_web::heatmap::Grid;
    /// // What speaks against the class becomes 0, the rest is stretched to 0..=1.
    /// assert_eq!(Grid::new(3, 1, vec![-2., 1., 4.]).heatmap().grid().values(), [0., 0.25, 1.]);
    /// ```
    pub fn heatmap(&self) -> Heatmap {
        if self.values.iter().any(|value| !value.is_finite()) {
            return Heatmap(Grid { values: vec![0.; self.values.len()], ..*self });
        }
        let rectified = Grid { values: self.values.iter().map(|value| value.max(0.)).collect(), ..*self };
        rectified.normalised()
    }

    /// Whether this class activation map has anything to show.
    pub fn state(&self) -> MapState {
        let (min, max) = extremes(&self.values);
        if self.values.iter().any(|value| !value.is_finite()) {
            MapState::NotFinite
        } else if self.values.iter().all(|&value| value == 0.) {
            MapState::Zero
        } else if max <= 0. {
            MapState::NoPositiveEvidence
        } else if max - min.max(0.) <= CONSTANT * max {
            MapState::Constant
        } else {
            MapState::Normal
        }
    }

    fn normalised(mut self) -> Heatmap {
        let range = Normalise::new(extremes(&self.values));
        for value in &mut self.values {
            *value = range.apply(*value);
        }
        Heatmap(self)
    }

    /// Row `y` of `rows`, still as wide as the grid.
    pub(crate) fn row_at(&self, rows: &Axis, y: usize, blended: &mut Vec<f32>) {
        let width = self.width as usize;
        let (upper, lower, weight) = rows.at(y);
        let upper = &self.values[upper * width..][..width];
        let lower = &self.values[lower * width..][..width];
        blended.clear();
        blended.extend(upper.iter().zip(lower).map(|(&a, &b)| a + weight * (b - a)));
    }
}

/// Differences below this share of the maximum are rounding, in f32 sums over hundreds of channels.
const CONSTANT: f32 = 1e-5;

/// What there is to see in a class activation map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapState {
    /// Some places speak for the class more than others.
    Normal,
    /// Every number is 0.
    Zero,
    /// No number is positive, some are negative.
    NoPositiveEvidence,
    /// Every place speaks for the class equally.
    Constant,
    /// Some number is infinite or not a number.
    NotFinite,
}

impl MapState {
    /// What to tell a person who sees the heatmap.
    pub fn sentence(self) -> &'static str {
        match self {
            MapState::Normal => "Warm places speak most for this class.",
            MapState::Zero => "Nothing at this layer changes the score of this class; another layer may show more.",
            MapState::NoPositiveEvidence => {
                "No place at this layer speaks for this class: all evidence is against it or absent."
            }
            MapState::Constant => "Every place speaks for this class equally, so there is nothing to highlight.",
            MapState::NotFinite => {
                "The computation overflowed at this layer, so there is no heatmap; try another layer."
            }
        }
    }
}

/// A grid of numbers in 0..=1: 0 is no evidence for the class, 1 the most that this map has.
#[derive(Clone, Debug, PartialEq)]
pub struct Heatmap(Grid);

impl Heatmap {
    /// The numbers.
    pub fn grid(&self) -> &Grid {
        &self.0
    }

    /// The numbers, taken out.
    pub fn into_grid(self) -> Grid {
        self.0
    }

    /// The heatmap at another size: [`Grid::resized`], then stretched to 0..=1 again. At the size of the network's
    /// input this is pytorch-grad-cam's final map.
    ///
    /// # Panics
    /// If a side is zero, as [`Grid::resized`].
    pub fn resampled(&self, width: u32, height: u32) -> Heatmap {
        self.0.resized(width, height).normalised()
    }
}

fn extremes(values: &[f32]) -> (f32, f32) {
    values.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(min, max), &value| (min.min(value), max.max(value)))
}

/// Stretches numbers between two extremes to 0..=1.
#[derive(Clone, Copy)]
pub(crate) struct Normalise {
    min: f32,
    range: f32,
}

impl Normalise {
    pub(crate) fn new((min, max): (f32, f32)) -> Self {
        Normalise { min, range: EPSILON + (max - min) }
    }

    pub(crate) fn apply(self, value: f32) -> f32 {
        within((value - self.min) / self.range, 0., 1.)
    }
}

/// One axis of a bilinear resampling: for each of a range of pixels, the two cells between which it lies.
///
/// Pixels between the same two cells form a run, so that interpolating a run is one loop over contiguous weights.
pub(crate) struct Axis {
    runs: Vec<Run>,
    /// The share of the second cell, for each pixel.
    weights: Vec<f32>,
}

struct Run {
    cells: (usize, usize),
    pixels: Range<usize>,
}

impl Axis {
    /// All pixels of an axis over which the cells are spread evenly.
    pub(crate) fn stretched(cells: u32, pixels: u32) -> Axis {
        Axis::new(cells, 0., f64::from(pixels), 0..i64::from(pixels))
    }

    /// The pixels `pixels` of an axis where the cells are spread evenly over `start..start + length`.
    pub(crate) fn new(cells: u32, start: f64, length: f64, pixels: Range<i64>) -> Axis {
        Axis::at_positions(cells, pixels, |pixel| ((pixel as f64 + 0.5 - start) * f64::from(cells)) / length - 0.5)
    }

    /// All pixels of an axis whose first and last pixel are the centres of the first and last cell: PyTorch's `align_corners`.
    #[cfg(feature = "cpu")]
    pub(crate) fn corner_to_corner(cells: u32, pixels: u32) -> Axis {
        let scale = if pixels > 1 { f64::from(cells - 1) / f64::from(pixels - 1) } else { 0. };
        Axis::at_positions(cells, 0..i64::from(pixels), |pixel| pixel as f64 * scale)
    }

    /// `position` is that of a pixel, in cells from the first one's centre.
    fn at_positions(cells: u32, pixels: Range<i64>, position: impl Fn(i64) -> f64) -> Axis {
        let last = f64::from(cells - 1);
        let mut axis =
            Axis { runs: Vec::new(), weights: Vec::with_capacity((pixels.end - pixels.start).max(0) as usize) };
        for pixel in pixels {
            let position = within(position(pixel), 0., last);
            let first = position as usize;
            let cells = (first, (first + 1).min(last as usize));
            let at = axis.weights.len();
            axis.weights.push((position - first as f64) as f32);
            match axis.runs.last_mut() {
                Some(run) if run.cells == cells => run.pixels.end = at + 1,
                _ => axis.runs.push(Run { cells, pixels: at..at + 1 }),
            }
        }
        axis
    }

    /// The weight of each of so many cells for each pixel: `[pixels, cells]`.
    #[cfg(feature = "cpu")]
    pub(crate) fn matrix(&self, cells: usize) -> Vec<f32> {
        let mut weights = vec![0.; self.len() * cells];
        for (pixel, row) in weights.chunks_exact_mut(cells).enumerate() {
            let (first, second, share) = self.at(pixel);
            row[first] += 1. - share;
            row[second] += share;
        }
        weights
    }

    /// How many pixels.
    pub(crate) fn len(&self) -> usize {
        self.weights.len()
    }

    /// The two cells of a pixel, and the share of the second.
    fn at(&self, pixel: usize) -> (usize, usize, f32) {
        let run = self.runs.partition_point(|run| run.pixels.end <= pixel);
        let (first, second) = self.runs[run].cells;
        (first, second, self.weights[pixel])
    }

    /// The pixels at which a bilinear surface can have its extremes: within a run it is linear, so they are at its ends.
    fn ends(&self) -> impl Iterator<Item = usize> {
        self.runs.iter().flat_map(|run| [run.pixels.start, run.pixels.end - 1])
    }

    /// One number for each pixel from one for each cell.
    pub(crate) fn interpolate(&self, cells: &[f32], pixels: &mut [f32]) {
        for run in &self.runs {
            let (first, second) = (cells[run.cells.0], cells[run.cells.1]);
            let slope = second - first;
            for (pixel, &weight) in pixels[run.pixels.clone()].iter_mut().zip(&self.weights[run.pixels.clone()]) {
                *pixel = first + weight * slope;
            }
        }
    }
}

/// The least and greatest number of `grid` resampled over `columns` and `rows`, without computing all of them.
pub(crate) fn resampled_extremes(grid: &Grid, columns: &Axis, rows: &Axis) -> (f32, f32) {
    let (mut min, mut max) = (f32::INFINITY, f32::NEG_INFINITY);
    let mut blended = Vec::new();
    for y in rows.ends() {
        grid.row_at(rows, y, &mut blended);
        for x in columns.ends() {
            let (first, second, weight) = columns.at(x);
            let value = blended[first] + weight * (blended[second] - blended[first]);
            (min, max) = (min.min(value), max.max(value));
        }
    }
    (min, max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(actual: &Grid, width: u32, height: u32, expected: &[f32]) {
        assert_eq!((actual.width(), actual.height()), (width, height));
        for (a, e) in actual.values().iter().zip(expected) {
            assert!((a - e).abs() <= 1e-6, "{:?} instead of {expected:?}", actual.values());
        }
        assert_eq!(actual.values().len(), expected.len());
    }

    #[test]
    fn half_pixel_centres_put_a_quarter_and_three_quarters_between_two_cells() {
        // Centres of four pixels over two cells: -0.25, 0.25, 0.75 and 1.25 cells from the first centre.
        let grid = Grid::new(2, 1, vec![0., 10.]);
        check(&grid.resized(4, 1), 4, 1, &[0., 2.5, 7.5, 10.]);
        check(&Grid::new(1, 2, vec![0., 10.]).resized(1, 4), 1, 4, &[0., 2.5, 7.5, 10.]);
    }

    #[test]
    fn rows_and_columns_are_not_mixed_up() {
        // 3 × 2 doubled in height only: rows at -0.25, 0.25, 0.75, 1.25.
        let grid = Grid::new(3, 2, vec![0., 1., 2., 4., 5., 6.]);
        check(&grid.resized(3, 4), 3, 4, &[0., 1., 2., 1., 2., 3., 3., 4., 5., 4., 5., 6.]);
    }

    #[test]
    fn shrinking_takes_the_two_nearest_cells_without_antialiasing() {
        // Centres at 0.5 and 2.5 cells.
        check(&Grid::new(4, 1, vec![0., 10., 20., 40.]).resized(2, 1), 2, 1, &[5., 30.]);
    }

    #[test]
    fn the_same_size_gives_the_same_grid() {
        let grid = Grid::new(3, 2, vec![-1., 2., 0.5, 7., -3., 1.]);
        assert_eq!(grid.resized(3, 2), grid);
    }

    #[test]
    fn negative_numbers_become_zero_before_the_stretch() {
        check(Grid::new(2, 2, vec![-8., 1., 2., 4.]).heatmap().grid(), 2, 2, &[0., 0.25, 0.5, 1.]);
        // All positive: the least becomes 0.
        check(Grid::new(2, 1, vec![3., 5.]).heatmap().grid(), 2, 1, &[0., 1.]);
    }

    #[test]
    fn a_faint_map_stays_faint_because_of_the_epsilon() {
        // 1e-7 / (1e-7 + 1e-7)
        check(Grid::new(2, 1, vec![0., 1e-7]).heatmap().grid(), 2, 1, &[0., 0.5]);
    }

    #[test]
    fn resampled_heatmaps_equal_those_of_pytorch_grad_cam() {
        // Raw maps of captum's hand-worked network, layers relu1 and conv1, and the library's 4 × 4 heatmaps.
        let relu1 = Grid::new(2, 2, vec![0., 4., 28., 32.5]).heatmap().resampled(4, 4);
        #[rustfmt::skip]
        check(relu1.grid(), 4, 4, &[
            0.0, 0.030769, 0.092308, 0.123077,
            0.215385, 0.247115, 0.310577, 0.342308,
            0.646154, 0.679808, 0.747115, 0.780769,
            0.861538, 0.896154, 0.965385, 1.0,
        ]);
        let conv1 = Grid::new(2, 2, vec![11.25, 13.5, 20.25, 22.5]).heatmap().resampled(4, 4);
        #[rustfmt::skip]
        check(conv1.grid(), 4, 4, &[
            0.0, 0.05, 0.15, 0.2,
            0.2, 0.25, 0.35, 0.4,
            0.6, 0.65, 0.75, 0.8,
            0.8, 0.85, 0.95, 1.0,
        ]);
    }

    #[test]
    fn resampling_stretches_again() {
        // The sampled centres of two pixels over four cells, 0.25 and 0.75 before the second stretch.
        let heatmap = Grid::new(4, 1, vec![0., 0.5, 0.5, 1.]).heatmap();
        check(heatmap.resampled(2, 1).grid(), 2, 1, &[0., 1.]);
    }

    #[test]
    fn each_dead_map_is_told_apart() {
        let state = |values: [f32; 2]| Grid::new(2, 1, values.to_vec()).state();
        assert_eq!(state([0., 1.]), MapState::Normal);
        assert_eq!(state([-1., 1.]), MapState::Normal);
        assert_eq!(state([2., 1.]), MapState::Normal);
        assert_eq!(state([0., 0.]), MapState::Zero);
        assert_eq!(state([0., -1.]), MapState::NoPositiveEvidence);
        assert_eq!(state([3., 3.]), MapState::Constant);
        assert_eq!(state([3., 3.000_001]), MapState::Constant);
        assert_eq!(state([1., f32::NAN]), MapState::NotFinite);
        assert_eq!(state([1., f32::INFINITY]), MapState::NotFinite);
    }

    #[test]
    fn no_map_makes_a_heatmap_outside_0_to_1() {
        for values in [
            [0., 0.],
            [-1., -2.],
            [3., 3.],
            [f32::NAN, 1.],
            [f32::INFINITY, 1.],
            [f32::MAX, -f32::MAX],
            [f32::MIN_POSITIVE, 0.],
        ] {
            let heatmap = Grid::new(2, 1, values.to_vec()).heatmap();
            for heatmap in [heatmap.resampled(7, 3), heatmap] {
                assert!(heatmap.grid().values().iter().all(|value| (0. ..=1.).contains(value)), "{values:?}");
            }
        }
    }

    #[test]
    fn extremes_are_found_without_computing_every_pixel() {
        let values = (0..35).map(|i| (i * 23 % 31) as f32).collect();
        let grid = Grid::new(7, 5, values);
        for (width, height) in [(1, 1), (3, 2), (7, 5), (50, 33), (224, 8)] {
            let (columns, rows) = (Axis::stretched(7, width), Axis::stretched(5, height));
            assert_eq!(
                resampled_extremes(&grid, &columns, &rows),
                extremes(grid.resized(width, height).values()),
                "{width} × {height}"
            );
        }
    }
}
