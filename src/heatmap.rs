//! Class activation maps once they have left the device: grids of numbers, normalised and resampled.
//!
//! Everything here is plain host data, so opacity, colours and size change without running the network.
//!
//! **Invariants.** A [`Heatmap`] holds numbers in 0..=1 and nothing else, whatever the map was.

use std::ops::Range;

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

    /// The heatmap of a class activation map: negative numbers become 0, then the rest is stretched to 0..=1 by
    /// `(v - min) / (1e-7 + max - min)`, both at the map's own resolution, as in pytorch-grad-cam. A map that is not
    /// finite gives zeros; [`state`](Self::state) tells.
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
        ((value - self.min) / self.range).clamp(0., 1.)
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
        let last = f64::from(cells - 1);
        let mut axis =
            Axis { runs: Vec::new(), weights: Vec::with_capacity((pixels.end - pixels.start).max(0) as usize) };
        for pixel in pixels {
            let position = (((pixel as f64 + 0.5 - start) * f64::from(cells)) / length - 0.5).clamp(0., last);
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
