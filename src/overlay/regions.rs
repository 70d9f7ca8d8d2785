//! Where a heatmap is hot: boxes around its parts, and the lines around them.

use crate::heatmap::Grid;
use crate::numbers::within;

/// A rectangle of whole pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// Of its left side, in pixels.
    pub x: u32,
    /// Of its upper side, in pixels.
    pub y: u32,
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
}

fn is_hot(value: f32, threshold: f32) -> bool {
    value > 0. && value >= threshold
}

/// The boxes around the connected parts of what reaches `threshold`, that of the most pixels first. Pixels that touch at
/// a corner are connected, as in [`judge`](crate::judge).
pub fn boxes(values: &Grid, threshold: f32) -> Vec<Region> {
    let (width, height) = (values.width() as usize, values.height() as usize);
    let mut is_open: Vec<bool> = values.values().iter().map(|&value| is_hot(value, threshold)).collect();
    let mut found = Vec::new();
    let mut waiting = Vec::new();
    for start in 0..is_open.len() {
        if !is_open[start] {
            continue;
        }
        is_open[start] = false;
        waiting.push(start);
        let (mut pixels, mut left, mut right, mut top, mut bottom) = (0u32, width, 0, height, 0);
        while let Some(at) = waiting.pop() {
            let (x, y) = (at % width, at / width);
            pixels += 1;
            (left, right, top, bottom) = (left.min(x), right.max(x), top.min(y), bottom.max(y));
            for row in y.saturating_sub(1)..(y + 2).min(height) {
                for column in x.saturating_sub(1)..(x + 2).min(width) {
                    let next = row * width + column;
                    if is_open[next] {
                        is_open[next] = false;
                        waiting.push(next);
                    }
                }
            }
        }
        let [x, y, width, height] = [left, top, right + 1 - left, bottom + 1 - top].map(|side| side as u32);
        // Parts are found row by row; of equals the first one stays first.
        let place = found.iter().position(|&(others, _)| others < pixels).unwrap_or(found.len());
        found.insert(place, (pixels, Region { x, y, width, height }));
    }
    found.into_iter().map(|(_, region)| region).collect()
}

/// The closed lines around what reaches `threshold`, x and y in pixels, by marching squares between the pixels' centres.
/// At the image's border the line runs along it. Lines go clockwise around what is hot.
pub fn contours(values: &Grid, threshold: f32) -> Vec<Vec<[f32; 2]>> {
    const NONE: usize = usize::MAX;
    let (width, height) = (values.width() as usize, values.height() as usize);
    // With a ring of cold pixels around: no line can leave.
    let across = width + 2;
    let at = |x: usize, y: usize| -> Option<f32> {
        let is_inside = (1..=width).contains(&x) && (1..=height).contains(&y);
        is_inside.then(|| values.values()[(y - 1) * width + x - 1])
    };
    let hot = |x: usize, y: usize| at(x, y).is_some_and(|value| is_hot(value, threshold));
    // Sides between two neighbours: 2 · pixel to the right, 2 · pixel + 1 downwards. Each that a line crosses leads on
    // to one other.
    let mut next = vec![NONE; 2 * across * (height + 2)];
    for y in 0..=height {
        for x in 0..=width {
            let pixel = y * across + x;
            let corners = [(x, y), (x + 1, y), (x + 1, y + 1), (x, y + 1)];
            // Clockwise from the upper side.
            let sides = [2 * pixel, 2 * (pixel + 1) + 1, 2 * (pixel + across), 2 * pixel + 1];
            let hots = corners.map(|(x, y)| hot(x, y));
            let leaves = |side: usize| hots[side] && !hots[(side + 1) % 4];
            let enters = |side: usize| !hots[side] && hots[(side + 1) % 4];
            let middle = || corners.iter().map(|&(x, y)| at(x, y).unwrap_or(0.)).sum::<f32>() / 4.;
            for side in (0..4).filter(|&side| leaves(side)) {
                let is_saddle = (0..4).filter(|&side| leaves(side)).count() == 2;
                // Where two opposite corners are hot, their mean says whether they are one.
                let turn = if is_saddle && is_hot(middle(), threshold) { [1, 2, 3] } else { [3, 2, 1] };
                let to = turn.into_iter().map(|turn| (side + turn) % 4).find(|&side| enters(side));
                next[sides[side]] = sides[to.expect("what goes out comes in again")];
            }
        }
    }
    let point = |side: usize| -> [f32; 2] {
        let (x, y) = (side / 2 % across, side / 2 / across);
        let to = if side.is_multiple_of(2) { (x + 1, y) } else { (x, y + 1) };
        let share = match (at(x, y), at(to.0, to.1)) {
            (Some(from), Some(to)) => within((threshold - from) / (to - from), 0., 1.),
            // The border lies half a pixel from the centres.
            _ => 0.5,
        };
        // Centres of pixels lie at halves, and the ring has moved them by one.
        let (x, y) = (x as f32 - 0.5, y as f32 - 0.5);
        let [x, y] = if side.is_multiple_of(2) { [x + share, y] } else { [x, y + share] };
        [within(x, 0., width as f32), within(y, 0., height as f32)]
    };
    let mut lines = Vec::new();
    for start in 0..next.len() {
        let mut line = Vec::new();
        let mut side = start;
        while next[side] != NONE {
            line.push(point(side));
            side = std::mem::replace(&mut next[side], NONE);
        }
        if !line.is_empty() {
            lines.push(line);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Digits of a picture, 9 the hottest, as tenths.
    fn picture(rows: &[&str]) -> Grid {
        let values = rows.iter().flat_map(|row| row.bytes().map(|digit| f32::from(digit - b'0') / 10.)).collect();
        Grid::new(rows[0].len() as u32, rows.len() as u32, values)
    }

    #[test]
    fn boxes_surround_connected_parts_the_largest_first() {
        let values = picture(&["900000", "000550", "000090", "770000", "000009"]);
        let found =
            |threshold| boxes(&values, threshold).iter().map(|r| [r.x, r.y, r.width, r.height]).collect::<Vec<_>>();
        // Three pixels, two, and one each.
        assert_eq!(found(0.5), [[3, 1, 2, 2], [0, 3, 2, 1], [0, 0, 1, 1], [5, 4, 1, 1]]);
        assert_eq!(found(0.8), [[0, 0, 1, 1], [4, 2, 1, 1], [5, 4, 1, 1]]);
        assert_eq!(boxes(&picture(&["000"]), 0.), []);
        // Corners touch.
        assert_eq!(boxes(&picture(&["90", "09"]), 0.5).len(), 1);
    }

    #[test]
    fn a_line_runs_where_the_heatmap_crosses_the_threshold() {
        // One pixel of 0.8 in zeros: at 0.4 half way to each neighbour's centre, which is half a pixel.
        let lines = contours(&picture(&["000", "080", "000"]), 0.4);
        // Clockwise from the upper side on.
        assert_eq!(lines, [[[1.5, 1.], [2., 1.5], [1.5, 2.], [1., 1.5]]]);
    }

    #[test]
    fn lines_are_closed_at_the_border_and_leave_holes() {
        let around = contours(&picture(&["99", "99"]), 0.5);
        assert_eq!(around.len(), 1);
        for corner in [[0.5, 0.], [2., 0.5], [0., 1.5], [1.5, 2.]] {
            assert!(around[0].contains(&corner), "{corner:?} in {around:?}");
        }
        assert_eq!(contours(&picture(&["999", "909", "999"]), 0.5).len(), 2);
        // Two corners: apart where their mean is cold, one where it is hot.
        assert_eq!(contours(&picture(&["90", "09"]), 0.8).len(), 2);
        assert_eq!(contours(&picture(&["90", "09"]), 0.4).len(), 1);
        assert!(contours(&picture(&["12"]), 0.5).is_empty());
    }
}
