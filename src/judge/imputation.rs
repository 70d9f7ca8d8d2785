//! Filling removed pixels from their neighbours, so that the hole itself tells a network as little as it can.

/// A neighbour's offset in x and y, and its weight.
type Neighbour = (isize, isize, f64);

/// The eight neighbours, those that come first in row-major order before the others. Rong et al. 2022,
/// <https://arxiv.org/abs/2202.00449>, section 4.
const NEIGHBOURS: [Neighbour; 8] = [
    (-1, -1, 1. / 12.),
    (0, -1, 1. / 6.),
    (1, -1, 1. / 12.),
    (-1, 0, 1. / 6.),
    (1, 0, 1. / 6.),
    (-1, 1, 1. / 12.),
    (0, 1, 1. / 6.),
    (1, 1, 1. / 12.),
];

/// Residuals below this share of the right-hand side are as good as none: f32 pixels have no more digits.
const TOLERANCE: f64 = 1e-7;

/// A grid of 4096² needs fewer.
const MOST_ITERATIONS: usize = 2000;

/// Removed pixels as the unknowns of linear equations: each is the weighted mean of those neighbours that there are.
///
/// Solved by conjugate gradients. The preconditioner is an incomplete factorisation whose diagonal makes up for what it
/// drops (Gustafsson 1978): without it, the iterations needed grow with the width of the hole.
pub(super) struct Imputation {
    width: usize,
    height: usize,
    /// Row-major places of the removed pixels.
    removed: Vec<usize>,
    /// For each unknown its neighbours among the unknowns; `removed.len()` where there is none.
    neighbours: Vec<[u32; 8]>,
    diagonal: Vec<f64>,
    /// The factorisation's diagonal, inverted.
    pivots: Vec<f64>,
}

impl Imputation {
    /// For a grid whose pixels are removed where `is_removed`, row-major.
    pub fn new(width: usize, height: usize, is_removed: &[bool]) -> Imputation {
        let removed: Vec<usize> = (0..width * height).filter(|&place| is_removed[place]).collect();
        let count = removed.len();
        let mut unknown_at = vec![count as u32; width * height];
        for (unknown, &place) in removed.iter().enumerate() {
            unknown_at[place] = unknown as u32;
        }
        let mut imputation = Imputation {
            width,
            height,
            neighbours: Vec::with_capacity(count),
            diagonal: Vec::with_capacity(count),
            pivots: Vec::with_capacity(count),
            removed,
        };
        for &place in &imputation.removed {
            let mut neighbours = [count as u32; 8];
            let mut sum = 0.;
            for (neighbour, at) in imputation.around(place) {
                neighbours[neighbour] = unknown_at[at];
                sum += NEIGHBOURS[neighbour].2;
            }
            imputation.neighbours.push(neighbours);
            imputation.diagonal.push(sum);
        }
        imputation.factorise();
        imputation
    }

    /// The neighbours of a place that lie on the grid: which of the eight, and where.
    fn around(&self, place: usize) -> impl Iterator<Item = (usize, usize)> {
        let (width, height) = (self.width as isize, self.height as isize);
        let (x, y) = (place as isize % width, place as isize / width);
        NEIGHBOURS.iter().enumerate().filter_map(move |(neighbour, &(dx, dy, _))| {
            let (x, y) = (x + dx, y + dy);
            ((0..width).contains(&x) && (0..height).contains(&y)).then_some((neighbour, (y * width + x) as usize))
        })
    }

    fn factorise(&mut self) {
        // Slightly less than all that is dropped: with nothing known at all the equations are singular.
        const MADE_UP_FOR: f64 = 0.99;
        let none = self.removed.len() as u32;
        for (unknown, neighbours) in self.neighbours.iter().enumerate() {
            let mut pivot = self.diagonal[unknown];
            for (back, &before) in neighbours[..4].iter().enumerate() {
                if before == none {
                    continue;
                }
                // What eliminating `before` adds between this unknown and the others behind it.
                let weight = NEIGHBOURS[back].2;
                let behind = &self.neighbours[before as usize][4..];
                let all: f64 =
                    behind.iter().zip(&NEIGHBOURS[4..]).map(|(&at, n)| if at == none { 0. } else { n.2 }).sum();
                pivot -= weight * (weight + MADE_UP_FOR * (all - weight)) * self.pivots[before as usize];
            }
            self.pivots.push(1. / pivot);
        }
    }

    /// Replaces the removed pixels of one channel.
    ///
    /// Where all pixels are removed they become 0, which is the mean colour of most preprocessing.
    pub fn fill(&self, channel: &mut [f32]) {
        let count = self.removed.len();
        // One more than there are unknowns: a neighbour that is none reads as 0.
        let mut x = vec![0.; count + 1];
        let mut residual: Vec<f64> = self
            .removed
            .iter()
            .zip(&self.neighbours)
            .map(|(&place, neighbours)| {
                self.around(place)
                    .filter(|&(neighbour, _)| neighbours[neighbour] as usize == count)
                    .map(|(neighbour, at)| NEIGHBOURS[neighbour].2 * f64::from(channel[at]))
                    .sum()
            })
            .collect();
        let enough = TOLERANCE * dot(&residual, &residual).sqrt();
        let mut preconditioned = vec![0.; count + 1];
        let mut direction = vec![0.; count + 1];
        let mut product = vec![0.; count];
        let mut slope = 0.;
        for _ in 0..MOST_ITERATIONS {
            let left = dot(&residual, &residual).sqrt();
            if left <= enough || left.is_nan() {
                break;
            }
            self.precondition(&residual, &mut preconditioned);
            let previous = std::mem::replace(&mut slope, dot(&residual, &preconditioned));
            let keep = if previous == 0. { 0. } else { slope / previous };
            for (direction, preconditioned) in direction.iter_mut().zip(&preconditioned) {
                *direction = preconditioned + keep * *direction;
            }
            self.multiply(&direction, &mut product);
            let step = slope / dot(&direction, &product);
            for unknown in 0..count {
                x[unknown] += step * direction[unknown];
                residual[unknown] -= step * product[unknown];
            }
        }
        for (&place, &value) in self.removed.iter().zip(&x) {
            channel[place] = value as f32;
        }
    }

    /// The places that were removed, row-major.
    pub fn removed(&self) -> &[usize] {
        &self.removed
    }

    fn multiply(&self, x: &[f64], product: &mut [f64]) {
        for (unknown, neighbours) in self.neighbours.iter().enumerate() {
            product[unknown] = self.diagonal[unknown] * x[unknown] - weighted(&neighbours[..], &NEIGHBOURS, x);
        }
    }

    /// Solves (L + D) D⁻¹ (D + Lᵀ) z = r.
    fn precondition(&self, residual: &[f64], z: &mut [f64]) {
        for (unknown, neighbours) in self.neighbours.iter().enumerate() {
            let before = weighted(&neighbours[..4], &NEIGHBOURS[..4], z);
            z[unknown] = (residual[unknown] + before) * self.pivots[unknown];
        }
        for (unknown, neighbours) in self.neighbours.iter().enumerate().rev() {
            let behind = weighted(&neighbours[4..], &NEIGHBOURS[4..], z);
            z[unknown] += behind * self.pivots[unknown];
        }
    }
}

fn weighted(neighbours: &[u32], weights: &[Neighbour], x: &[f64]) -> f64 {
    neighbours.iter().zip(weights).map(|(&at, weight)| weight.2 * x[at as usize]).sum()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(width: usize, height: usize, channel: &[f32], removed: &[usize], expected: &[f32]) {
        let is_removed: Vec<bool> = (0..channel.len()).map(|place| removed.contains(&place)).collect();
        let mut filled = channel.to_vec();
        Imputation::new(width, height, &is_removed).fill(&mut filled);
        for (filled, expected) in filled.iter().zip(expected) {
            assert!((filled - expected).abs() < 1e-6, "{filled} instead of {expected}");
        }
    }

    #[test]
    fn a_pixel_is_the_weighted_mean_of_its_neighbours() {
        // Neighbours beside it 1/6 each, diagonal ones 1/12 each: (2 + 4 + 6 + 8) / 6 + (1 + 3 + 7 + 9) / 12.
        check(3, 3, &[1., 2., 3., 4., 0., 6., 7., 8., 9.], &[4], &[1., 2., 3., 4., 5., 6., 7., 8., 9.]);
    }

    #[test]
    fn at_the_edge_the_neighbours_that_there_are_count_more() {
        // A corner of 2 × 2: 1/6, 1/6 and 1/12 of 5/12.
        check(2, 2, &[9., 1., 2., 4.], &[0], &[(2. + 4. + 4.) / 5., 1., 2., 4.]);
    }

    #[test]
    fn removed_neighbours_depend_on_each_other() {
        // A row has neighbours left and right only: the straight line from 0 to 3.
        check(4, 1, &[0., 9., 9., 3.], &[1, 2], &[0., 1., 2., 3.]);
    }

    #[test]
    fn without_any_pixel_left_everything_is_zero() {
        check(2, 2, &[1., 2., 3., 4.], &[0, 1, 2, 3], &[0.; 4]);
    }

    #[test]
    fn a_wide_hole_is_filled_with_what_solves_its_equations() {
        let (width, height) = (61, 47);
        // A disc in the middle and a strip along an edge.
        let is_removed: Vec<bool> = (0..width * height)
            .map(|place| {
                let (x, y) = ((place % width) as f32 - 30., (place / width) as f32 - 20.);
                x * x + y * y < 300. || y > 20.
            })
            .collect();
        let mut channel: Vec<f32> = (0..width * height).map(|place| ((place * 37) % 101) as f32 / 50. - 1.).collect();
        let imputation = Imputation::new(width, height, &is_removed);
        imputation.fill(&mut channel);
        for &place in imputation.removed() {
            let (mut sum, mut weights) = (0., 0.);
            for (neighbour, at) in imputation.around(place) {
                sum += NEIGHBOURS[neighbour].2 * f64::from(channel[at]);
                weights += NEIGHBOURS[neighbour].2;
            }
            assert!((f64::from(channel[place]) - sum / weights).abs() < 1e-5, "place {place}");
        }
    }
}
