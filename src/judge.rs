//! How far an explanation can be trusted: what becomes of the score when what a heatmap marks is taken away, or all else.
//!
//! Apart from the methods, because it knows nothing of how a heatmap came about. The measures are those of torch-cam and
//! pytorch-grad-cam, so that numbers can be compared. Everything happens on the network's input: a heatmap is resampled
//! to its size first, and a removed pixel is one of the preprocessed picture.
//!
//! **Invariants.** No more changed inputs exist at once than the network runs at once, and the caller is asked between them.

use crate::cam::{ExplainOptions, Prediction};
use crate::heatmap::{Grid, Heatmap};
use crate::network::Network;
use crate::network::runs::Watch;
use crate::numbers::{decimal, within};
use crate::order::ordered;
use crate::random::Random;
use crate::tensor::numbers;
use crate::{Error, ErrorKind, Result};

pub mod boxes;
mod imputation;

use imputation::Imputation;

/// The percentiles of ROAD, of the pixels that stay.
pub const PERCENTILES: [u8; 9] = [10, 20, 30, 40, 50, 60, 70, 80, 90];

/// What becomes of a class when only what the heatmap marks is left: the input times the heatmap.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Confidence {
    /// The share of the probability p that is lost, max(0, p - p') / (p + 1e-7), in 0..=1; less is better. The mean over
    /// images is the average drop of Chattopadhay et al. 2018, <https://arxiv.org/abs/1710.11063>, as in torch-cam.
    pub drop: f32,
    /// Whether the probability grows. The mean over images is torch-cam's increase in confidence.
    pub increase: bool,
    /// By how much the score before softmax changes. pytorch-grad-cam's `DropInConfidence` is its negative part, its
    /// `IncreaseInConfidence` whether it is positive.
    pub score_change: f32,
}

/// The probability of a class while pixels are removed or put back, the hottest first. Petsiuk et al. 2018,
/// <https://arxiv.org/abs/1806.07421>, with torch-cam's steps; a removed pixel is 0 after preprocessing.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// The share of pixels that were changed, from 0 to 1.
    pub fractions: Vec<f32>,
    /// The probability of the class at each.
    pub probabilities: Vec<f32>,
}

impl Curve {
    /// The area below the curve, 0..=1: for deletion less is better, for insertion more.
    pub fn area(&self) -> f32 {
        let points: Vec<(f32, f32)> = self.fractions.iter().copied().zip(self.probabilities.iter().copied()).collect();
        points.windows(2).map(|pair| (pair[1].0 - pair[0].0) * (pair[0].1 + pair[1].1) / 2.).sum()
    }
}

/// Remove and debias: by how much the score before softmax changes when pixels are imputed from those that stay. Rong et
/// al. 2022, <https://arxiv.org/abs/2202.00449>, as in pytorch-grad-cam.
#[derive(Clone, Debug, PartialEq)]
pub struct Road {
    /// With the least relevant 10, 20, ... 90 % of pixels left, the others imputed ([`PERCENTILES`]): a faithful heatmap
    /// makes these low.
    pub most_relevant_first: Vec<f32>,
    /// With the most relevant 10, 20, ... 90 % left: a faithful heatmap makes these high.
    pub least_relevant_first: Vec<f32>,
}

impl Road {
    /// Half of by how much the means of the two differ (`ROADCombined`); more is better.
    pub fn combined(&self) -> f32 {
        self.mean_difference(|_| true)
    }

    /// The same over some of the percentiles.
    fn mean_difference(&self, counts: fn(usize) -> bool) -> f32 {
        let points = self.least_relevant_first.iter().zip(&self.most_relevant_first).enumerate();
        let halves: Vec<f32> =
            points.filter(|(at, _)| counts(*at)).map(|(_, (least, most))| (least - most) / 2.).collect();
        halves.iter().sum::<f32>() / halves.len() as f32
    }
}

/// How removed pixels are drawn and how finely.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct JudgeOptions {
    /// Into how many steps deletion and insertion are divided, at most.
    pub steps: usize,
    /// The standard deviation of the noise on imputed pixels.
    pub noise: f32,
    /// Of the noise.
    pub seed: u64,
}

/// torch-cam's steps and pytorch-grad-cam's noise.
impl Default for JudgeOptions {
    fn default() -> Self {
        JudgeOptions { steps: 20, noise: 0.01, seed: 1 }
    }
}

/// Every measure of one heatmap.
#[derive(Clone, Debug, PartialEq)]
pub struct Measures {
    /// Of the input times the heatmap.
    pub confidence: Confidence,
    /// Of removing pixels.
    pub deletion: Curve,
    /// Of putting pixels back.
    pub insertion: Curve,
    /// Of imputing pixels.
    pub road: Road,
    /// How alike the heatmap and that of what it leaves of the input are: (1 + r) / 2 of Pearson's r, in 0..=1; more is
    /// better. `Coherency` of pytorch-grad-cam.
    pub coherency: f32,
    /// The mean of the heatmap, in 0..=1; less is better. `Complexity` of pytorch-grad-cam.
    pub complexity: f32,
}

impl Measures {
    /// The harmonic mean of coherency, 1 - complexity and twice ROAD of 20, 40, 60 and 80 %, in 0..=1; more is better. `ARCC`
    /// of pytorch-grad-cam, after Poppi et al. 2021, <https://arxiv.org/abs/2104.10252>.
    pub fn arcc(&self) -> f32 {
        let faithful = within(2. * self.road.mean_difference(|index| index % 2 == 1), 0., 1.);
        let inverse = |share: f32| 1. / (share + 1e-8);
        3. / (inverse(self.coherency) + inverse(1. - self.complexity) + inverse(faithful))
    }
}

/// A heatmap beside the prediction that it explains.
pub struct Judge<'a> {
    prediction: &'a Prediction,
    target_class: usize,
    /// At the size of the network's input.
    heatmap: Heatmap,
    /// The input, `[C, H, W]`.
    input: Vec<f32>,
    original: Outcome,
    options: JudgeOptions,
}

/// What the network says of one class.
#[derive(Clone, Copy)]
struct Outcome {
    score: f32,
    probability: f32,
}

impl<'a> Judge<'a> {
    /// `map` is a class activation map before rectification, at any size.
    ///
    /// # Errors
    /// `TargetError` if there is no such class or the options make no sense, `DeviceError` if the device gives no result.
    pub async fn new(
        prediction: &'a Prediction,
        map: &Grid,
        target_class: usize,
        options: JudgeOptions,
    ) -> Result<Judge<'a>> {
        let refuse = |message: String| Err(Error::new(ErrorKind::Target, message));
        if target_class >= prediction.scores().len() {
            return refuse(format!(
                "class {target_class} does not exist: the network has {}",
                prediction.scores().len()
            ));
        }
        if options.steps == 0 {
            return refuse("0 steps make no curve; whole numbers above 0 are accepted".into());
        }
        if !(options.noise >= 0. && options.noise.is_finite()) {
            return refuse(format!("noise of {}; 0 or a positive number is accepted", decimal(options.noise)));
        }
        let size = prediction.network().input();
        let original =
            Outcome { score: prediction.scores()[target_class], probability: prediction.probabilities()[target_class] };
        Ok(Judge {
            prediction,
            target_class,
            heatmap: map.heatmap().resampled(size.width, size.height),
            input: numbers(prediction.input()),
            original,
            options,
        })
    }

    /// All measures of a map that `explained` asked for. `progress` hears fractions in 0..=1; `stopped` is asked between
    /// batches.
    ///
    /// # Errors
    /// `DeviceError` if the device gives no result, `AbortError` if `stopped` says so, and those of
    /// [`Prediction::explain`].
    pub async fn measure(
        &self,
        explained: &ExplainOptions,
        progress: &dyn Fn(f32),
        stopped: &dyn Fn() -> bool,
    ) -> Result<Measures> {
        let coherency = self.coherency(explained, stopped).await?;
        let all = 1 + self.curve_passes() + self.road_passes();
        let watch = Watch::new(progress, stopped);
        let confidence = self.watched_confidence(watch.part(0, all)).await?;
        let (deletion, insertion) = self.watched_curves(watch.parts(1..1 + self.curve_passes(), all)).await?;
        let road = self.watched_road(watch.parts(1 + self.curve_passes()..all, all)).await?;
        Ok(Measures { confidence, deletion, insertion, road, coherency, complexity: self.complexity() })
    }

    /// The mean of the heatmap.
    pub fn complexity(&self) -> f32 {
        let heat = self.heatmap.grid().values();
        heat.iter().sum::<f32>() / heat.len() as f32
    }

    /// How alike the heatmap is to that of the input times the heatmap: one more explanation.
    ///
    /// # Errors
    /// As [`measure`](Self::measure).
    pub async fn coherency(&self, explained: &ExplainOptions, stopped: &dyn Fn() -> bool) -> Result<f32> {
        let network = self.prediction.network();
        let mut input = self.input.clone();
        self.mask(&mut input);
        let masked = Prediction::new(network.clone(), &input).await?;
        let explained = ExplainOptions { target_class: Some(self.target_class), ..explained.clone() };
        let map = masked.explain(&explained, &|_| {}, stopped).await?.map;
        let size = network.input();
        let other = map.heatmap().resampled(size.width, size.height);
        let [a, b] =
            [&self.heatmap, &other].map(|map| map.grid().values().iter().map(|&v| f64::from(v)).collect::<Vec<_>>());
        Ok((1. + correlation(&a, &b)) / 2.)
    }

    /// Leaves of each channel of an input what the heatmap marks.
    fn mask(&self, input: &mut [f32]) {
        for channel in input.chunks_exact_mut(self.pixels()) {
            channel.iter_mut().zip(self.heatmap.grid().values()).for_each(|(pixel, weight)| *pixel *= weight);
        }
    }

    /// One pass.
    ///
    /// # Errors
    /// As [`measure`](Self::measure).
    pub async fn confidence(&self, progress: &dyn Fn(f32), stopped: &dyn Fn() -> bool) -> Result<Confidence> {
        self.watched_confidence(Watch::new(progress, stopped)).await
    }

    /// Deletion and insertion, [`curve_passes`](Self::curve_passes) passes.
    ///
    /// # Errors
    /// As [`measure`](Self::measure).
    pub async fn curves(&self, progress: &dyn Fn(f32), stopped: &dyn Fn() -> bool) -> Result<(Curve, Curve)> {
        self.watched_curves(Watch::new(progress, stopped)).await
    }

    /// ROAD, 18 passes.
    ///
    /// # Errors
    /// As [`measure`](Self::measure).
    pub async fn road(&self, progress: &dyn Fn(f32), stopped: &dyn Fn() -> bool) -> Result<Road> {
        self.watched_road(Watch::new(progress, stopped)).await
    }

    /// How often deletion and insertion run the network.
    pub fn curve_passes(&self) -> usize {
        2 * (self.counts().len() - 2) + 1
    }

    fn road_passes(&self) -> usize {
        2 * PERCENTILES.len()
    }

    async fn watched_confidence(&self, watch: Watch<'_>) -> Result<Confidence> {
        let masked = self.outcomes(1, watch, |_, input| self.mask(input));
        let (before, after) = (self.original, masked.await?[0]);
        Ok(Confidence {
            drop: (before.probability - after.probability).max(0.) / (before.probability + 1e-7),
            increase: after.probability > before.probability,
            score_change: after.score - before.score,
        })
    }

    async fn watched_curves(&self, watch: Watch<'_>) -> Result<(Curve, Curve)> {
        let heat = self.heatmap.grid().values();
        // The hottest first; of equal ones those that come first on the picture.
        let order = ordered(heat.len(), &|a, b| heat[b].total_cmp(&heat[a]));
        let counts = self.counts();
        let inner = &counts[1..counts.len() - 1];
        // Everything removed is the last point of one curve and the first of the other.
        let outcomes = self.outcomes(2 * inner.len() + 1, watch, |job, input| {
            let removed = match job {
                0 => &order[..],
                _ if job % 2 == 1 => &order[..inner[job / 2]],
                _ => &order[inner[job / 2 - 1]..],
            };
            for channel in input.chunks_exact_mut(self.pixels()) {
                removed.iter().for_each(|&place| channel[place] = 0.);
            }
        });
        let outcomes: Vec<f32> = outcomes.await?.iter().map(|outcome| outcome.probability).collect();
        let (nothing, whole) = (outcomes[0], self.original.probability);
        let fractions: Vec<f32> = counts.iter().map(|&count| count as f32 / heat.len() as f32).collect();
        let curve = |first, inner: &mut dyn Iterator<Item = &f32>, last| Curve {
            fractions: fractions.clone(),
            probabilities: [first].into_iter().chain(inner.copied()).chain([last]).collect(),
        };
        let deletion = curve(whole, &mut outcomes[1..].iter().step_by(2), nothing);
        let insertion = curve(nothing, &mut outcomes[1..].iter().skip(1).step_by(2), whole);
        Ok((deletion, insertion))
    }

    /// How many pixels are changed at each point of a curve.
    fn counts(&self) -> Vec<usize> {
        let pixels = self.pixels();
        (0..pixels).step_by(pixels.div_ceil(self.options.steps)).chain([pixels]).collect()
    }

    async fn watched_road(&self, watch: Watch<'_>) -> Result<Road> {
        let heat = self.heatmap.grid().values();
        let coolness: Vec<f32> = heat.iter().map(|value| 1. - value).collect();
        let orders = [heat, &coolness[..]].map(|kept| {
            let order = ordered(kept.len(), &|a, b| kept[a].total_cmp(&kept[b]));
            (kept, order.into_iter().map(|place| kept[place]).collect::<Vec<f32>>())
        });
        let mut random = Random::new(self.options.seed);
        let outcomes = self.outcomes(self.road_passes(), watch, |job, input| {
            let (kept, sorted) = &orders[job / PERCENTILES.len()];
            let threshold = percentile(sorted, f64::from(PERCENTILES[job % PERCENTILES.len()]));
            let is_removed: Vec<bool> = kept.iter().map(|&value| f64::from(value) >= threshold).collect();
            let size = self.heatmap.grid();
            let imputation = Imputation::new(size.width() as usize, size.height() as usize, &is_removed);
            for channel in input.chunks_exact_mut(self.pixels()) {
                imputation.fill(channel);
                if self.options.noise > 0. {
                    imputation
                        .removed()
                        .iter()
                        .for_each(|&place| channel[place] += self.options.noise * random.normal());
                }
            }
        });
        let changes: Vec<f32> = outcomes.await?.iter().map(|outcome| outcome.score - self.original.score).collect();
        let (most, least) = changes.split_at(PERCENTILES.len());
        Ok(Road { most_relevant_first: most.to_vec(), least_relevant_first: least.to_vec() })
    }

    fn pixels(&self) -> usize {
        self.heatmap.grid().values().len()
    }

    /// Runs the network on `count` copies of the input, each as `change` leaves it.
    async fn outcomes(
        &self,
        count: usize,
        watch: Watch<'_>,
        mut change: impl FnMut(usize, &mut [f32]),
    ) -> Result<Vec<Outcome>> {
        let network = self.prediction.network();
        let mut outcomes = Vec::with_capacity(count);
        let batch = network.images_at_once();
        for first in (0..count).step_by(batch) {
            watch.pause_at(first as f32 / count as f32).await?;
            let jobs = first..count.min(first + batch);
            let mut inputs = self.input.repeat(jobs.len());
            for (job, input) in jobs.clone().zip(inputs.chunks_exact_mut(self.input.len())) {
                change(job, input);
            }
            let scores = numbers(network.run_all(&network.inputs(&inputs)?).await?);
            outcomes.extend(scores.chunks_exact(network.classes()).map(|scores| Outcome {
                score: scores[self.target_class],
                probability: probability(network, scores, self.target_class),
            }));
        }
        watch.pause_at(1.).await?;
        Ok(outcomes)
    }
}

/// Of one class, 0..=1.
fn probability(network: &Network, scores: &[f32], class: usize) -> f32 {
    network.activation().probabilities(scores)[class]
}

/// Pearson's correlation; 0 where one of them is the same everywhere.
fn correlation(a: &[f64], b: &[f64]) -> f32 {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let means = (mean(a), mean(b));
    let product = |a: &[f64], mean_a: f64, b: &[f64], mean_b: f64| -> f64 {
        a.iter().zip(b).map(|(a, b)| (a - mean_a) * (b - mean_b)).sum()
    };
    let scale = (product(a, means.0, a, means.0) * product(b, means.1, b, means.1)).sqrt();
    if scale > 0. { (product(a, means.0, b, means.1) / scale) as f32 } else { 0. }
}

/// Between the two nearest of sorted numbers, as numpy's default.
fn percentile(sorted: &[f32], percent: f64) -> f64 {
    let position = (sorted.len() - 1) as f64 * percent / 100.;
    let lower = position as usize;
    let (a, b) = (f64::from(sorted[lower]), f64::from(sorted[(lower + 1).min(sorted.len() - 1)]));
    a + (b - a) * (position - lower as f64)
}

/// Spearman's rank correlation of two maps of one size: 1 where they order the places alike, -1 where in reverse. Equal
/// numbers share the mean of their ranks. A map that is the same everywhere has no order, which counts as 0.
pub fn rank_correlation(a: &Grid, b: &Grid) -> f32 {
    correlation(&ranks(a.values()), &ranks(b.values()))
}

/// 1 for the least.
fn ranks(values: &[f32]) -> Vec<f64> {
    let order = ordered(values.len(), &|a, b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.; values.len()];
    let mut first = 0;
    for equal in order.chunk_by(|&a, &b| values[a] == values[b]) {
        let rank = first as f64 + (equal.len() as f64 + 1.) / 2.;
        equal.iter().for_each(|&place| ranks[place] = rank);
        first += equal.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_are_those_of_torch_cams_tests() {
        // tests/test_metrics.py: a classifier that sums [0.4, 0.3, 0.2, 0.1], removed in that order, in two steps.
        let curve = |fractions: &[f32], probabilities: &[f32]| Curve {
            fractions: fractions.to_vec(),
            probabilities: probabilities.to_vec(),
        };
        assert!((curve(&[0., 0.5, 1.], &[1., 0.3, 0.]).area() - 0.4).abs() < 1e-6);
        assert!((curve(&[0., 0.5, 1.], &[0., 0.7, 1.]).area() - 0.6).abs() < 1e-6);
    }

    #[test]
    fn percentiles_are_numpys() {
        let sorted = [1., 2., 4., 8.];
        for (percent, expected) in [(0., 1.), (10., 1.3), (50., 3.), (90., 6.8), (100., 8.)] {
            assert!((percentile(&sorted, percent) - expected).abs() < 1e-9, "{percent}");
        }
    }

    #[test]
    fn rank_correlation_averages_the_ranks_of_equal_numbers() {
        let grid = |values: [f32; 4]| Grid::new(2, 2, values.to_vec());
        let order = grid([1., 2., 3., 4.]);
        assert_eq!(rank_correlation(&order, &grid([10., 20., 30., 400.])), 1.);
        assert_eq!(rank_correlation(&order, &grid([4., 3., 2., 1.])), -1.);
        // Ranks 1, 2.5, 2.5, 4: (2.25 + 0 + 0 + 2.25) / √(5 · 4.5).
        assert!((rank_correlation(&order, &grid([0., 5., 5., 9.])) - 4.5 / 22.5_f32.sqrt()).abs() < 1e-6);
        assert_eq!(rank_correlation(&order, &grid([7.; 4])), 0.);
    }
}
