//! Deep feature factorization: the few concepts of which a layer's activations are made, whatever the class.
//!
//! Collins et al. 2018, <https://arxiv.org/abs/1806.10206>, as in pytorch-grad-cam: the activations `[K, h·w]`, each channel
//! less its least number, are the product of two matrices without negative numbers, W `[K, n]` and H `[n, h·w]`. A row of H is
//! where a concept is, a column of W what it is made of.

use super::Prediction;
use super::eigen::transposed;
use super::target::wide;
use crate::heatmap::Grid;
use crate::network::LayerId;
use crate::network::runs::Watch;
use crate::random::Random;
use crate::tensor::{numbers, tensor};
use crate::{Error, ErrorKind, Result};

/// scikit-learn's limits for its non-negative matrix factorization.
const ROUNDS: usize = 200;
const TOLERANCE: f64 = 1e-4;

/// More concepts no eye keeps apart.
const MOST: usize = 16;

/// Which concepts are looked for.
#[derive(Clone, Debug)]
pub struct FactorizeOptions {
    /// How many: 1 to 16.
    pub concepts: usize,
    /// Of which layer: the default one if `None`.
    pub layer: Option<LayerId>,
    /// Where the search starts: other starts may find other concepts.
    pub start: Start,
}

/// Five concepts of the default layer.
impl Default for FactorizeOptions {
    fn default() -> Self {
        FactorizeOptions { concepts: 5, layer: None, start: Start::Seed(0) }
    }
}

/// The first W and H.
#[derive(Clone, Debug)]
pub enum Start {
    /// Random numbers, the same for each seed.
    Seed(u64),
    /// These: `[K, n]` and `[n, h·w]`, row-major, to repeat what another program found.
    Matrices(Vec<f32>, Vec<f32>),
}

/// One of the concepts of which a layer's activations are made.
#[derive(Clone, Debug, PartialEq)]
pub struct Concept {
    /// Where it is: its row of H, at the layer's size, 0 or more.
    pub map: Grid,
    /// What it is made of: its column of W plus each channel's least number, K numbers.
    pub activations: Vec<f32>,
    /// The scores of an image that shows this concept everywhere.
    pub scores: Vec<f32>,
    /// One number in 0..=1 a class, from those scores.
    pub probabilities: Vec<f32>,
}

/// The concepts of one layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Factorization {
    /// In no order.
    pub concepts: Vec<Concept>,
    /// The name of the layer.
    pub layer: String,
}

impl Prediction {
    /// Finds the concepts of a layer. `progress` hears fractions in 0..=1; `stopped` is asked between rounds.
    ///
    /// # Errors
    /// `TargetError` if that many concepts can't be had or the start has another size, `DeviceError` if the device gives no
    /// result or the layer's numbers are not finite, `AbortError` if `stopped` says so.
    pub async fn factorize(
        &self,
        options: &FactorizeOptions,
        progress: &dyn Fn(f32),
        stopped: &dyn Fn() -> bool,
    ) -> Result<Factorization> {
        let count = options.concepts;
        if !(1..=MOST).contains(&count) {
            return Err(Error::new(ErrorKind::Target, format!("{count} concepts can't be had; 1 to {MOST} can")));
        }
        let watch = Watch::new(progress, stopped);
        watch.at(0.)?;
        let network = &self.network;
        let layer = options.layer.unwrap_or_else(|| network.default_layer_id());
        let cut = self.cut_at(layer).await?;
        let [_, channels, height, width] = cut.shape();
        let places = height * width;
        let mut matrix = wide(&cut.activations());
        if matrix.iter().any(|value| !value.is_finite()) {
            return Err(Error::new(ErrorKind::Device, "the computation overflowed at this layer; another may do"));
        }
        let offsets: Vec<f64> =
            matrix.chunks_exact(places).map(|row| row.iter().copied().fold(f64::INFINITY, f64::min)).collect();
        for (row, offset) in matrix.chunks_exact_mut(places).zip(&offsets) {
            row.iter_mut().for_each(|value| *value -= offset);
        }
        let (mut w, mut h) = options.start.matrices(&matrix, channels, count)?;
        let columns = transposed(&matrix, channels);
        let mut first = 0.;
        for round in 0..ROUNDS {
            if round % 10 == 9 {
                watch.pause_at(0.9 * round as f32 / ROUNDS as f32).await?;
            }
            let moved = descend(&matrix, &mut w, &h, count) + descend(&columns, &mut h, &w, count);
            if round == 0 {
                first = moved;
            }
            if moved <= TOLERANCE * first {
                break;
            }
        }
        let mut concepts = Vec::with_capacity(count);
        for concept in 0..count {
            watch.pause_at(0.9 + 0.1 * concept as f32 / count as f32).await?;
            let column = |matrix: &[f64]| -> Vec<f64> { matrix.iter().skip(concept).step_by(count).copied().collect() };
            let activations: Vec<f32> =
                column(&w).iter().zip(&offsets).map(|(w, offset)| (w + offset) as f32).collect();
            let everywhere = tensor(activations.clone(), [1, channels, 1, 1]).expand([1, channels, height, width]);
            let scores = numbers(network.run_from(&cut, &everywhere).await?);
            let map = column(&h).into_iter().map(|value| value as f32).collect();
            concepts.push(Concept {
                map: Grid::new(width as u32, height as u32, map),
                activations,
                probabilities: network.activation().probabilities(&scores),
                scores,
            });
        }
        watch.at(1.)?;
        Ok(Factorization { concepts, layer: network.layer_name(layer).to_owned() })
    }
}

impl Start {
    /// W `[K, n]` and H transposed, `[h·w, n]`.
    fn matrices(&self, matrix: &[f64], channels: usize, count: usize) -> Result<(Vec<f64>, Vec<f64>)> {
        let places = matrix.len() / channels;
        match self {
            Start::Seed(seed) => {
                // So that W H is as large as the matrix on average.
                let mean = matrix.iter().sum::<f64>() / matrix.len() as f64;
                let size = (mean / count as f64).sqrt();
                let mut random = Random::new(*seed);
                let mut draw = |length: usize| (0..length).map(|_| size * f64::from(random.normal()).abs()).collect();
                Ok((draw(channels * count), draw(places * count)))
            }
            Start::Matrices(w, h) if w.len() == channels * count && h.len() == count * places => {
                Ok((wide(w), transposed(&wide(h), count)))
            }
            Start::Matrices(w, h) => Err(Error::new(
                ErrorKind::Target,
                format!(
                    "a start of {} and {} numbers; the layer takes {} and {}",
                    w.len(),
                    h.len(),
                    channels * count,
                    count * places
                ),
            )),
        }
    }
}

/// One round of coordinate descent on |X − W Hᵀ|² over W without negative numbers, as scikit-learn does it: X `[rows, columns]`,
/// W `[rows, n]`, H `[columns, n]`. Tells by how much the gradients that still pulled add up.
fn descend(x: &[f64], w: &mut [f64], h: &[f64], n: usize) -> f64 {
    let columns = h.len() / n;
    let mut products = vec![0.; n * n];
    for row in h.chunks_exact(n) {
        for (product, (a, b)) in products.iter_mut().zip(row.iter().flat_map(|a| row.iter().map(move |b| (a, b)))) {
            *product += a * b;
        }
    }
    let mut pulled = 0.;
    for (x, w) in x.chunks_exact(columns).zip(w.chunks_exact_mut(n)) {
        let mut wanted = vec![0.; n];
        for (x, h) in x.iter().zip(h.chunks_exact(n)) {
            wanted.iter_mut().zip(h).for_each(|(sum, h)| *sum += x * h);
        }
        for t in 0..n {
            let row = &products[t * n..][..n];
            let gradient = row.iter().zip(&*w).map(|(product, w)| product * w).sum::<f64>() - wanted[t];
            pulled += if w[t] == 0. { gradient.min(0.).abs() } else { gradient.abs() };
            if row[t] != 0. {
                w[t] = (w[t] - gradient / row[t]).max(0.);
            }
        }
    }
    pulled
}
