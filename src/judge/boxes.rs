//! How well a heatmap finds the object that a box was drawn around.
//!
//! Measures over many images are counted in [`BoxAccuracy`]; the others are a number for one image. All take heatmaps at
//! the size of the picture in which the boxes are, and several boxes where there are several objects.

use std::ops::Range;

use crate::heatmap::{Grid, Heatmap};

/// The tolerance of the pointing game, in pixels: Zhang et al. 2016, <https://arxiv.org/abs/1608.00507>.
pub const POINTING_TOLERANCE: f32 = 15.;

/// A rectangle on a picture, in pixels; the first pixel covers 0..1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rect {
    /// Left.
    pub x0: f32,
    /// Top.
    pub y0: f32,
    /// Right.
    pub x1: f32,
    /// Bottom.
    pub y1: f32,
}

impl Rect {
    fn area(self) -> f32 {
        (self.x1 - self.x0).max(0.) * (self.y1 - self.y0).max(0.)
    }

    /// The area that both cover over the area that either covers: 0..=1.
    ///
    /// ```
    /// use gradcam_web::judge::boxes::Rect;
    /// let rect = |x0, x1| Rect { x0, y0: 0., x1, y1: 1. };
    /// assert_eq!(rect(0., 2.).iou(rect(1., 3.)), 1. / 3.);
    /// ```
    pub fn iou(self, other: Rect) -> f32 {
        let (x0, y0) = (self.x0.max(other.x0), self.y0.max(other.y0));
        let (x1, y1) = (self.x1.min(other.x1), self.y1.min(other.y1));
        let both = Rect { x0, y0, x1, y1 }.area();
        let either = self.area() + other.area() - both;
        if either > 0. { both / either } else { 0. }
    }

    /// From the middle of a pixel to the nearest point of the rectangle.
    fn distance(self, x: usize, y: usize) -> f32 {
        let (x, y) = (x as f32 + 0.5, y as f32 + 0.5);
        let (dx, dy) = ((self.x0 - x).max(x - self.x1).max(0.), (self.y0 - y).max(y - self.y1).max(0.));
        dx.hypot(dy)
    }
}

/// Whether the hottest pixel (the first of several) lies in a box or no further than `tolerance` pixels from it. A heatmap
/// that is the same everywhere points nowhere.
pub fn points_at(heatmap: &Heatmap, boxes: &[Rect], tolerance: f32) -> bool {
    let grid = heatmap.grid();
    let values = grid.values();
    let hottest = (1..values.len()).fold(0, |best, place| if values[place] > values[best] { place } else { best });
    if values.iter().all(|&value| value == values[hottest]) {
        return false;
    }
    let (x, y) = (hottest % grid.width() as usize, hottest / grid.width() as usize);
    boxes.iter().any(|rect| rect.distance(x, y) <= tolerance)
}

/// The rectangle around the largest connected part of what reaches `share` of the heatmap's maximum: Zhou et al. 2016
/// take 0.2, Selvaraju et al. 2017 take 0.15. Pixels that touch at a corner are connected. `None` if the heatmap is zero.
pub fn largest_part(heatmap: &Heatmap, share: f32) -> Option<Rect> {
    let grid = heatmap.grid();
    let maximum = grid.values().iter().copied().fold(0., f32::max);
    if maximum == 0. {
        return None;
    }
    let mut parts = Parts::new(grid, true);
    let hot = grid.values().iter().enumerate().filter(|&(_, &value)| value >= share * maximum);
    hot.for_each(|(place, _)| parts.add(place));
    // The first of several as large.
    let largest = parts.found().max_by_key(|part| (part.pixels, std::cmp::Reverse(part.first)))?;
    let Part { left, top, right, bottom, .. } = largest;
    Some(Rect { x0: left as f32, y0: top as f32, x1: right as f32 + 1., y1: bottom as f32 + 1. })
}

/// The best overlap of a rectangle with one of the boxes, 0..=1.
pub fn best_iou(rect: Rect, boxes: &[Rect]) -> f32 {
    boxes.iter().map(|&truth| rect.iou(truth)).fold(0., f32::max)
}

/// The part of the heatmap's sum that lies in pixels whose middle is in a box: 0..=1, 0 for a heatmap of zeros. Wang et al.
/// 2020, <https://arxiv.org/abs/1910.01279>, section 4.3.
pub fn energy_inside(heatmap: &Heatmap, boxes: &[Rect]) -> f32 {
    let grid = heatmap.grid();
    let (mut inside, mut all) = (0., 0.);
    for (place, &value) in grid.values().iter().enumerate() {
        let (x, y) = (place % grid.width() as usize, place / grid.width() as usize);
        all += f64::from(value);
        if boxes.iter().any(|rect| rect.distance(x, y) == 0.) {
            inside += f64::from(value);
        }
    }
    if all > 0. { (inside / all) as f32 } else { 0. }
}

/// MaxBoxAccV2: the share of images on which some contour's box overlaps some object's by 30, 50 and 70 %, each at the
/// threshold that suits the whole set best. Choe et al. 2020, <https://arxiv.org/abs/2001.07437>.
///
/// As in the authors' evaluation code: heatmaps of 256 levels, thresholds in steps of 0.001, all contours, the inner ones
/// too, and boxes that count their last pixel.
#[derive(Clone, Debug)]
pub struct BoxAccuracy {
    images: usize,
    /// For each overlap and threshold the images that reach it.
    found: [Vec<u32>; 3],
}

const OVERLAPS: [f32; 3] = [0.3, 0.5, 0.7];
const THRESHOLDS: usize = 1000;

impl Default for BoxAccuracy {
    fn default() -> Self {
        BoxAccuracy { images: 0, found: OVERLAPS.map(|_| vec![0; THRESHOLDS]) }
    }
}

/// What an image adds to a [`BoxAccuracy`]: for overlaps of 30, 50 and 70 % the thresholds, in thousandths of the maximum,
/// at which some contour reaches it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BoxHits(pub [Vec<Range<usize>>; 3]);

impl BoxHits {
    /// Of one heatmap.
    pub fn new(heatmap: &Heatmap, boxes: &[Rect]) -> BoxHits {
        let grid = heatmap.grid();
        let levels: Vec<u8> = grid.values().iter().map(|value| (value * 255.) as u8).collect();
        let highest = levels.iter().copied().max().unwrap_or(0);
        let overlaps = best_contours(grid, &levels, boxes);
        let mut hits = BoxHits::default();
        for threshold in 0..THRESHOLDS {
            let level = (threshold as f64 / THRESHOLDS as f64 * f64::from(highest)) as usize;
            for (reached, wanted) in hits.0.iter_mut().zip(OVERLAPS) {
                match reached.last_mut() {
                    _ if overlaps[level] < wanted => {}
                    Some(range) if range.end == threshold => range.end += 1,
                    _ => reached.push(threshold..threshold + 1),
                }
            }
        }
        hits
    }
}

impl BoxAccuracy {
    /// Counts an image; thresholds beyond 1000 are left out.
    pub fn add(&mut self, hits: &BoxHits) {
        for (found, reached) in self.found.iter_mut().zip(&hits.0) {
            for threshold in reached.iter().cloned().flatten().filter(|&threshold| threshold < THRESHOLDS) {
                found[threshold] += 1;
            }
        }
        self.images += 1;
    }

    /// 0..=1; 0 without images.
    pub fn value(&self) -> f32 {
        let best = |found: &Vec<u32>| found.iter().copied().max().unwrap_or(0) as f32;
        self.found.iter().map(best).sum::<f32>() / (OVERLAPS.len() * self.images.max(1)) as f32
    }
}

/// For each of 256 levels, the best overlap of a contour of what is above it with a box.
fn best_contours(grid: &Grid, levels: &[u8], boxes: &[Rect]) -> [f32; 256] {
    let (width, height) = (grid.width() as usize, grid.height() as usize);
    let overlap = |left: usize, top: usize, right: usize, bottom: usize| {
        // The authors' right and bottom are one past the last pixel, except at the edge, and count as pixels.
        let (right, bottom) = ((right + 1).min(width - 1), (bottom + 1).min(height - 1));
        let contour = Rect { x0: left as f32, y0: top as f32, x1: right as f32 + 1., y1: bottom as f32 + 1. };
        let wider = |truth: &Rect| Rect { x1: truth.x1 + 1., y1: truth.y1 + 1., ..*truth };
        boxes.iter().map(|truth| contour.iou(wider(truth))).fold(0., f32::max)
    };
    let mut at_level = vec![Vec::new(); 256];
    levels.iter().enumerate().for_each(|(place, &level)| at_level[usize::from(level)].push(place));
    let mut best = [0_f32; 256];

    let mut inside = Parts::new(grid, true);
    for level in (0..255).rev() {
        at_level[level + 1].iter().for_each(|&place| inside.add(place));
        let overlaps = inside.found().map(|part| overlap(part.left, part.top, part.right, part.bottom));
        best[level] = overlaps.fold(0., f32::max);
    }
    // A hole's contour runs over the pixels around it; what reaches the edge is no hole.
    let mut outside = Parts::new(grid, false);
    for level in 0..256 {
        at_level[level].iter().for_each(|&place| outside.add(place));
        let is_hole = |part: &Part| part.left > 0 && part.top > 0 && part.right + 1 < width && part.bottom + 1 < height;
        let holes = outside.found().filter(is_hole);
        let overlaps = holes.map(|part| overlap(part.left - 1, part.top - 1, part.right + 1, part.bottom + 1));
        best[level] = overlaps.fold(best[level], f32::max);
    }
    best
}

/// A connected part of a picture; the sides are its outermost pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Part {
    left: usize,
    top: usize,
    right: usize,
    bottom: usize,
    pixels: usize,
    /// The first pixel, row-major.
    first: usize,
}

/// The connected parts of a picture to which pixels are added one by one.
struct Parts {
    width: usize,
    height: usize,
    /// Whether pixels that touch at a corner are connected.
    corners: bool,
    /// The pixel that each pixel was joined to, itself for one that stands for a part; `usize::MAX` if not added.
    joined: Vec<usize>,
    /// By the pixel that stands for it.
    parts: Vec<Part>,
    /// Pixels that stood for a part when they were added.
    stands: Vec<usize>,
}

impl Parts {
    fn new(grid: &Grid, corners: bool) -> Parts {
        let (width, height) = (grid.width() as usize, grid.height() as usize);
        let nothing = Part { left: 0, top: 0, right: 0, bottom: 0, pixels: 0, first: 0 };
        let pixels = width * height;
        let (joined, parts) = (vec![usize::MAX; pixels], vec![nothing; pixels]);
        Parts { width, height, corners, joined, parts, stands: Vec::new() }
    }

    fn add(&mut self, place: usize) {
        let (x, y) = (place % self.width, place / self.width);
        self.joined[place] = place;
        self.parts[place] = Part { left: x, top: y, right: x, bottom: y, pixels: 1, first: place };
        let mut root = place;
        for row in y.saturating_sub(1)..=(y + 1).min(self.height - 1) {
            for column in x.saturating_sub(1)..=(x + 1).min(self.width - 1) {
                let neighbour = row * self.width + column;
                let is_near = self.corners || row == y || column == x;
                if is_near && neighbour != place && self.joined[neighbour] != usize::MAX {
                    let other = self.root(neighbour);
                    root = self.join(root, other);
                }
            }
        }
        if root == place {
            self.stands.push(place);
        }
    }

    fn root(&mut self, mut place: usize) -> usize {
        while self.joined[place] != place {
            self.joined[place] = self.joined[self.joined[place]];
            place = self.joined[place];
        }
        place
    }

    /// The larger part takes the other in.
    fn join(&mut self, a: usize, b: usize) -> usize {
        if a == b {
            return a;
        }
        let (into, from) = if self.parts[a].pixels > self.parts[b].pixels { (a, b) } else { (b, a) };
        let [whole, part] = [into, from].map(|root| self.parts[root]);
        self.joined[from] = into;
        self.parts[into] = Part {
            left: whole.left.min(part.left),
            top: whole.top.min(part.top),
            right: whole.right.max(part.right),
            bottom: whole.bottom.max(part.bottom),
            pixels: whole.pixels + part.pixels,
            first: whole.first.min(part.first),
        };
        into
    }

    /// Every part there is now.
    fn found(&mut self) -> impl Iterator<Item = Part> {
        self.stands.retain(|&place| self.joined[place] == place);
        self.stands.iter().map(|&place| self.parts[place])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Digits of a picture, 9 the hottest.
    fn heatmap(rows: &[&str]) -> Heatmap {
        let values = rows.iter().flat_map(|row| row.bytes()).map(|digit| f32::from(digit - b'0')).collect();
        Grid::new(rows[0].len() as u32, rows.len() as u32, values).heatmap()
    }

    fn rect(x0: f32, y0: f32, x1: f32, y1: f32) -> Rect {
        Rect { x0, y0, x1, y1 }
    }

    #[test]
    fn overlap_is_what_both_cover_over_what_either_covers() {
        // 2 of 4 + 4 - 2.
        assert_eq!(rect(0., 0., 2., 2.).iou(rect(1., 0., 3., 2.)), 1. / 3.);
        assert_eq!(rect(0., 0., 2., 2.).iou(rect(2., 0., 3., 2.)), 0.);
        assert_eq!(rect(0., 0., 2., 2.).iou(rect(0., 0., 2., 2.)), 1.);
    }

    #[test]
    fn pointing_counts_the_distance_from_the_pixels_middle() {
        // The hottest pixel's middle is 3.5, 0.5: 1.5 pixels right of the box.
        let heatmap = heatmap(&["01093", "00000"]);
        let boxes = [rect(0., 0., 2., 2.)];
        assert!(points_at(&heatmap, &boxes, 1.5));
        assert!(!points_at(&heatmap, &boxes, 1.4));
        assert!(points_at(&heatmap, &[boxes[0], rect(3., 0., 4., 1.)], 0.));
    }

    #[test]
    fn a_flat_heatmap_points_nowhere() {
        assert!(!points_at(&heatmap(&["000", "000"]), &[rect(0., 0., 3., 2.)], 15.));
    }

    #[test]
    fn the_box_is_around_the_largest_part_above_the_threshold() {
        let heatmap = heatmap(&[
            "900000", //
            "002200", //
            "000020", //
            "100000",
        ]);
        // 2 / 9 = 0.22 of the maximum. Three pixels, one of which touches at a corner only.
        assert_eq!(largest_part(&heatmap, 0.2), Some(rect(2., 1., 5., 3.)));
        assert_eq!(largest_part(&heatmap, 0.25), Some(rect(0., 0., 1., 1.)));
        assert_eq!(largest_part(&super::tests::heatmap(&["00"]), 0.2), None);
    }

    #[test]
    fn energy_is_the_share_of_the_sum() {
        // (9 + 3) / (9 + 3 + 4 + 2), the box covering the middles of two pixels.
        let heatmap = heatmap(&["0930", "0402"]);
        let boxes = [rect(1.2, 0.3, 2.9, 1.4)];
        assert!((energy_inside(&heatmap, &boxes) - 12. / 18.).abs() < 1e-6);
        // Overlapping boxes count once.
        assert!((energy_inside(&heatmap, &[boxes[0], boxes[0]]) - 12. / 18.).abs() < 1e-6);
    }

    #[test]
    fn parts_that_meet_later_are_one() {
        let mask = "10101 10101 11111 00000 10001";
        let grid = Grid::new(5, 5, vec![0.; 25]);
        let mut parts = Parts::new(&grid, true);
        let places = mask.bytes().filter(|&pixel| pixel != b' ').enumerate().filter(|&(_, pixel)| pixel == b'1');
        places.for_each(|(place, _)| parts.add(place));
        let mut found: Vec<Part> = parts.found().collect();
        found.sort_by_key(|part| part.first);
        assert_eq!(found.len(), 3);
        assert_eq!(found[0], Part { left: 0, top: 0, right: 4, bottom: 2, pixels: 11, first: 0 });
    }

    #[test]
    fn an_object_found_at_every_overlap_counts_whole() {
        // With the authors' way of counting, this contour is 1..=4 × 1..=3 and so is the box.
        let mut accuracy = BoxAccuracy::default();
        let heatmap = heatmap(&["000000", "099900", "099900", "000000", "000000"]);
        accuracy.add(&BoxHits::new(&heatmap, &[rect(1., 1., 4., 3.)]));
        assert_eq!(accuracy.value(), 1.);
        // Nothing overlaps this one by 30 %: half of the images.
        accuracy.add(&BoxHits::new(&heatmap, &[rect(5., 3., 6., 5.)]));
        assert_eq!(accuracy.value(), 0.5);
    }

    #[test]
    fn holes_have_contours_too() {
        // The ring is 7 × 7; only the contour of its hole, 1 pixel larger than the hole all around, fits the box of 5 × 5.
        let rows = [
            "999999999",
            "999999999",
            "999999999",
            "999000999",
            "999000999",
            "999000999",
            "999999999",
            "999999999",
            "999999999",
        ];
        let mut accuracy = BoxAccuracy::default();
        accuracy.add(&BoxHits::new(&heatmap(&rows), &[rect(2., 2., 7., 7.)]));
        assert_eq!(accuracy.value(), 1.);
    }
}
