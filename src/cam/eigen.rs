//! Projections of channels on the direction in which places differ most, on the host in f64.
//!
//! A direction has no sign of its own, and every linear algebra library gives another one. Here the number of the map that
//! is largest in absolute value is positive, as in Seg-Eigen-CAM (Chung and Ying 2025, eq. 13).

use crate::{Error, ErrorKind, Result};

/// More places make a kernel matrix of more than 128 MiB.
const KERNEL_PLACES: usize = 4096;
/// Upper bounds: rounds, and multiplications in all, of which a round takes three for each number of the matrix. The largest matrix
/// has 128 rounds, where those of smooth maps took up to 66; of noise, whose eigenvalues hardly differ, rounds go on for a minute.
const ROUNDS: u64 = 3000;
const WORK: u64 = 3 << 31;

/// The first principal component of places as points in the space of channels. `values` is `[channels, places]`.
pub(super) fn principal(values: &[f32], channels: usize) -> Vec<f32> {
    let matrix = centred(values, channels);
    let places = values.len() / channels;
    if matrix.iter().any(|value| !value.is_finite()) {
        return vec![f32::NAN; places];
    }
    // The smaller of the two matrices of inner products has all that is needed.
    let component = if places <= channels {
        let columns = transposed(&matrix, channels);
        let (eigenvalue, direction) = top_eigenpair(&products(&columns, places), places);
        scaled(direction, eigenvalue.max(0.).sqrt())
    } else {
        let (_, direction) = top_eigenpair(&products(&matrix, channels), channels);
        let mut component = vec![0.; places];
        for (channel, weight) in matrix.chunks_exact(places).zip(direction) {
            component.iter_mut().zip(channel).for_each(|(sum, value)| *sum += weight * value);
        }
        component
    };
    signed(component)
}

/// The first principal component after the kernel tanh(x·y / channels + 1), scikit-learn's `sigmoid`.
///
/// # Errors
/// `UnsupportedError` if there are too many places.
pub(super) fn kernel_principal(values: &[f32], channels: usize) -> Result<Vec<f32>> {
    let places = values.len() / channels;
    if places > KERNEL_PLACES {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "KPCA-CAM compares each place with each other and takes up to {KERNEL_PLACES}; this layer has {places}: a later one has fewer"
            ),
        ));
    }
    let matrix = centred(values, channels);
    if matrix.iter().any(|value| !value.is_finite()) {
        return Ok(vec![f32::NAN; places]);
    }
    // Of places that are all alike the kernel is the same everywhere, and what centring leaves of it is rounding.
    let largest =
        |numbers: &mut dyn Iterator<Item = f64>| numbers.fold(0_f64, |largest, value| largest.max(value.abs()));
    let spread = largest(&mut matrix.iter().copied());
    if spread <= 1e-6 * largest(&mut values.iter().map(|&value| f64::from(value))) {
        return Ok(vec![0.; places]);
    }
    let mut kernel = products(&transposed(&matrix, channels), places);
    kernel.iter_mut().for_each(|value| *value = (*value / channels as f64 + 1.).tanh());
    let means: Vec<f64> = kernel.chunks_exact(places).map(|row| row.iter().sum::<f64>() / places as f64).collect();
    let mean = means.iter().sum::<f64>() / places as f64;
    for (row, row_mean) in kernel.chunks_exact_mut(places).zip(&means) {
        row.iter_mut().zip(&means).for_each(|(value, column_mean)| *value += mean - row_mean - column_mean);
    }
    let (eigenvalue, direction) = top_eigenpair(&kernel, places);
    Ok(signed(scaled(direction, eigenvalue.max(0.).sqrt())))
}

/// In f64, each channel less its mean.
fn centred(values: &[f32], channels: usize) -> Vec<f64> {
    let places = values.len() / channels;
    let mut matrix = super::target::wide(values);
    for channel in matrix.chunks_exact_mut(places) {
        let mean = channel.iter().sum::<f64>() / places as f64;
        channel.iter_mut().for_each(|value| *value -= mean);
    }
    matrix
}

/// `[rows, columns]` to `[columns, rows]`.
pub(super) fn transposed(matrix: &[f64], rows: usize) -> Vec<f64> {
    let columns = matrix.len() / rows;
    (0..matrix.len()).map(|i| matrix[i % rows * columns + i / rows]).collect()
}

/// The inner products of all rows with each other: `[rows, rows]`.
fn products(matrix: &[f64], rows: usize) -> Vec<f64> {
    let columns = matrix.len() / rows;
    let row = |i: usize| &matrix[i * columns..][..columns];
    let mut out = vec![0.; rows * rows];
    for i in 0..rows {
        for j in 0..=i {
            let product = dot(row(i), row(j));
            out[i * rows + j] = product;
            out[j * rows + i] = product;
        }
    }
    out
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn scaled(mut vector: Vec<f64>, factor: f64) -> Vec<f64> {
    vector.iter_mut().for_each(|value| *value *= factor);
    vector
}

fn signed(component: Vec<f64>) -> Vec<f32> {
    let largest = component.iter().fold(0_f64, |largest, &v| if v.abs() > largest.abs() { v } else { largest });
    component.into_iter().map(|value| (value * largest.signum()) as f32).collect()
}

/// The largest eigenvalue of a symmetric matrix and its direction, of length 1.
///
/// Power iteration that in each round takes the best vector in the space of the current one, its residual and the last
/// step (Knyazev 2001): neighbouring eigenvalues that power iteration alone would need thousands of rounds to tell apart
/// take tens.
fn top_eigenpair(matrix: &[f64], n: usize) -> (f64, Vec<f64>) {
    let times = |x: &[f64]| -> Vec<f64> { matrix.chunks_exact(n).map(|row| dot(row, x)).collect() };
    // Not constant, which centred matrices send to zero.
    let mut x: Vec<f64> = (0..n).map(|i| (i as f64 * 0.618_033_988_749_895).fract() - 0.3).collect();
    normalise(&mut x);
    let mut step: Option<Vec<f64>> = None;
    let mut eigenvalue = 0.;
    for _ in 0..ROUNDS.min(WORK / (3 * (n as u64).pow(2)).max(1)) {
        let image = times(&x);
        eigenvalue = dot(&x, &image);
        let mut residual: Vec<f64> = image.iter().zip(&x).map(|(image, x)| image - eigenvalue * x).collect();
        let size = dot(&image, &image).sqrt();
        if dot(&residual, &residual).sqrt() <= 1e-13 * size || size == 0. {
            break;
        }
        normalise(&mut residual);
        let mut basis = vec![x.clone()];
        let mut images = vec![image];
        for mut candidate in [Some(residual), step.take()].into_iter().flatten() {
            // Twice, because once leaves rounding behind.
            for other in basis.iter().chain(&basis) {
                let along = dot(&candidate, other);
                candidate.iter_mut().zip(other).for_each(|(value, other)| *value -= along * other);
            }
            if normalise(&mut candidate) > 1e-12 {
                images.push(times(&candidate));
                basis.push(candidate);
            }
        }
        let small: Vec<f64> = basis.iter().flat_map(|a| images.iter().map(|image| dot(a, image))).collect();
        let weights = top_direction(small, basis.len());
        let mut moved = vec![0.; n];
        for (weight, vector) in weights.iter().zip(&basis).skip(1) {
            moved.iter_mut().zip(vector).for_each(|(sum, value)| *sum += weight * value);
        }
        x.iter_mut().zip(&moved).for_each(|(x, moved)| *x = weights[0] * *x + moved);
        normalise(&mut x);
        normalise(&mut moved);
        step = Some(moved);
    }
    (eigenvalue, x)
}

/// Makes it of length 1 and tells the length that it had; a zero stays.
fn normalise(vector: &mut [f64]) -> f64 {
    let length = dot(vector, vector).sqrt();
    if length > 0. {
        vector.iter_mut().for_each(|value| *value /= length);
    }
    length
}

/// The direction of the largest eigenvalue of a small symmetric matrix, by squaring it until one is left.
fn top_direction(mut matrix: Vec<f64>, n: usize) -> Vec<f64> {
    // Shifted so that no eigenvalue is negative.
    let shift = dot(&matrix, &matrix).sqrt();
    (0..n).for_each(|i| matrix[i * n + i] += shift);
    for _ in 0..60 {
        let largest = matrix.iter().fold(f64::MIN_POSITIVE, |largest, value| largest.max(value.abs()));
        matrix.iter_mut().for_each(|value| *value /= largest);
        matrix = products(&matrix, n);
    }
    let column = (0..n).max_by(|&a, &b| matrix[a * n + a].total_cmp(&matrix[b * n + b])).unwrap_or(0);
    let mut direction = matrix[column * n..][..n].to_vec();
    normalise(&mut direction);
    direction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(actual: Vec<f32>, expected: &[f32]) {
        assert_eq!(actual.len(), expected.len());
        for (a, e) in actual.iter().zip(expected) {
            assert!((a - e).abs() < 1e-4, "{actual:?} instead of {expected:?}");
        }
    }

    #[test]
    fn the_component_is_that_of_a_singular_value_decomposition() {
        // captum's network for testing Grad-CAM: centred channels (-18.75, -14.75, 12.25, 21.25) and
        // (-5.25, -5.25, 0.75, 9.75); numpy's SVD.
        let values = [0., 4., 31., 40., 0., 0., 6., 15.];
        check(principal(&values, 2), &[-19.4419, -15.654904, 11.839155, 23.257649]);
        // As many channels as places, some the same: the other matrix of inner products, the same component times √3.
        let six = [values, values, values].concat();
        let expected = [-19.4419, -15.654904, 11.839155, 23.257649].map(|v: f32| v * 3_f32.sqrt());
        check(principal(&six, 6), &expected);
    }

    #[test]
    fn a_flat_layer_has_no_component_and_an_overflow_is_not_hidden() {
        check(principal(&[3., 3., 3., 5., 5., 5.], 2), &[0.; 3]);
        // A dead layer, too: the kernel of places that are all alike is 1 everywhere.
        assert_eq!(kernel_principal(&[0.; 6], 2).unwrap(), [0.; 3]);
        assert_eq!(kernel_principal(&[3., 3., 3., 5., 5., 5.], 2).unwrap(), [0.; 3]);
        assert!(principal(&[1., f32::NAN, 3., 4.], 2)[0].is_nan());
        assert!(kernel_principal(&[1., f32::INFINITY, 3., 4.], 2).unwrap()[0].is_nan());
    }

    #[test]
    fn eigenvalues_next_to_each_other_are_told_apart() {
        // diag(1, 1 - 1e-4, 1 - 2e-4, …) turned by a reflection: the direction is the reflection's first column.
        let n = 40;
        let mut mirror: Vec<f64> = (0..n).map(|i| ((i * 7 + 3) % 11) as f64 - 4.5).collect();
        normalise(&mut mirror);
        let reflection = |i: usize, j: usize| f64::from(u8::from(i == j)) - 2. * mirror[i] * mirror[j];
        let mut matrix = vec![0.; n * n];
        for i in 0..n {
            for j in 0..n {
                matrix[i * n + j] = (0..n).map(|k| reflection(i, k) * (1. - 1e-4 * k as f64) * reflection(j, k)).sum();
            }
        }
        let (eigenvalue, direction) = top_eigenpair(&matrix, n);
        assert!((eigenvalue - 1.).abs() < 1e-9, "{eigenvalue}");
        let along: f64 = (0..n).map(|i| direction[i] * reflection(i, 0)).sum();
        assert!((along.abs() - 1.).abs() < 1e-9, "{along}");
    }

    #[test]
    fn too_many_places_for_a_kernel_are_refused() {
        let error = kernel_principal(&vec![0.; KERNEL_PLACES + 1], 1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }
}
