//! Which number of the network is explained: a function of its scores.

use crate::plan::outputs::softmax;
use crate::{Error, ErrorKind, Result, order};

/// What is explained about a target class c, whose score is y_c.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Target {
    /// Its score y_c.
    #[default]
    Score,
    /// What speaks against it: −y_c. Of a single output, which is positive for "yes", the "no".
    Against,
    /// Why it rather than class d: y_c − y_d.
    Contrast(usize),
    /// Its score and its probability at once: y_c + ln softmax_c(y) (ReST, Shapley-CAM's own target).
    ScoreAndProbability,
}

impl Target {
    /// The names in options and attributes. [`Target::Contrast`] has none: it is the score with another class beside it.
    pub const NAMES: [&str; 3] = ["score", "against", "score-and-probability"];

    /// The target of that name; `rather_than` is another class, whose score is subtracted.
    ///
    /// # Errors
    /// `TargetError` if there is no such name, or if it does not go with another class.
    ///
    /// ```
    /// use gradcam_web::cam::Target;
    /// assert_eq!(Target::from_name("against", None), Ok(Target::Against));
    /// assert_eq!(Target::from_name("score", Some(3)), Ok(Target::Contrast(3)));
    /// assert!(Target::from_name("against", Some(3)).is_err());
    /// ```
    pub fn from_name(name: &str, rather_than: Option<usize>) -> Result<Target> {
        let refuse = |message: String| Err(Error::new(ErrorKind::Target, message));
        match (Target::NAMES.iter().position(|&known| known == name), rather_than) {
            (Some(0), Some(other)) => Ok(Target::Contrast(other)),
            (Some(0), None) => Ok(Target::Score),
            (Some(1), None) => Ok(Target::Against),
            (Some(2), None) => Ok(Target::ScoreAndProbability),
            (Some(_), Some(_)) => {
                refuse(format!("the target `{name}` can't be compared with another class; only `score` can"))
            }
            _ => refuse(format!("there is no target `{name}`; there are {}", Target::NAMES.join(", "))),
        }
    }
}

/// A differentiable function of the scores.
#[derive(Clone, Debug)]
pub(super) enum Objective {
    /// Σ w_c · y_c.
    Weighted(Vec<(usize, f64)>),
    /// y_c + ln softmax_c(y).
    ScoreAndProbability(usize),
    /// Σ_d p_d (y_c − y_d) / (Σ_d p_d + 1e-9) over rivals d, p = softmax(y): Finer-CAM as pytorch-grad-cam has it.
    Rivals { class: usize, rivals: Vec<usize> },
}

/// How many classes Finer-CAM compares with.
const RIVALS: usize = 3;

impl Objective {
    pub fn new(target: Target, class: usize) -> Objective {
        match target {
            Target::Score => Objective::Weighted(vec![(class, 1.)]),
            Target::Against => Objective::Weighted(vec![(class, -1.)]),
            Target::Contrast(other) => Objective::Weighted(vec![(class, 1.), (other, -1.)]),
            Target::ScoreAndProbability => Objective::ScoreAndProbability(class),
        }
    }

    /// The class against those whose scores are nearest to its own.
    ///
    /// # Errors
    /// `UnsupportedError` if there is no other class.
    pub fn nearest(class: usize, scores: &[f32]) -> Result<Objective> {
        let mut rivals: Vec<usize> = (0..scores.len()).filter(|&other| other != class).collect();
        if rivals.is_empty() {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "Finer-CAM compares classes, and this network has one only; Grad-CAM explains it",
            ));
        }
        let distance = |other: usize| (scores[other] - scores[class]).abs();
        order::sort(&mut rivals, &|a, b| distance(a).total_cmp(&distance(b)));
        rivals.truncate(RIVALS);
        Ok(Objective::Rivals { class, rivals })
    }

    /// Whether the slopes are the same for all scores.
    pub fn is_linear(&self) -> bool {
        matches!(self, Objective::Weighted(_))
    }

    /// Its value for one image's scores.
    pub fn value(&self, scores: &[f32]) -> f64 {
        let y = |class: usize| f64::from(scores[class]);
        match self {
            Objective::Weighted(weights) => weights.iter().map(|&(class, weight)| weight * y(class)).sum(),
            Objective::ScoreAndProbability(class) => y(*class) + softmax(&wide(scores))[*class].ln(),
            Objective::Rivals { class, rivals } => {
                let p = softmax(&wide(scores));
                let above: f64 = rivals.iter().map(|&d| p[d] * (y(*class) - y(d))).sum();
                above / (rivals.iter().map(|&d| p[d]).sum::<f64>() + 1e-9)
            }
        }
    }

    /// Its derivative by each score.
    pub fn slopes(&self, scores: &[f64]) -> Vec<f64> {
        let mut slopes = vec![0.; scores.len()];
        match self {
            Objective::Weighted(weights) => weights.iter().for_each(|&(class, weight)| slopes[class] += weight),
            Objective::ScoreAndProbability(class) => {
                slopes = softmax(scores).into_iter().map(|p| -p).collect();
                slopes[*class] += 2.;
            }
            Objective::Rivals { class, rivals } => {
                let p = softmax(scores);
                // Quotient N / D; ∂p_d/∂y_j = p_d (δ_dj − p_j).
                let lead = |d: usize| scores[*class] - scores[d];
                let numerator: f64 = rivals.iter().map(|&d| p[d] * lead(d)).sum();
                let shares: f64 = rivals.iter().map(|&d| p[d]).sum();
                let divisor = shares + 1e-9;
                for (j, slope) in slopes.iter_mut().enumerate() {
                    let mut above = -p[j] * numerator;
                    let mut below = -p[j] * shares;
                    if rivals.contains(&j) {
                        above += p[j] * lead(j) - p[j];
                        below += p[j];
                    }
                    if j == *class {
                        above += shares;
                    }
                    *slope = (above - numerator / divisor * below) / divisor;
                }
            }
        }
        slopes
    }
    /// How the slopes change when the scores change at the given rates.
    pub fn slope_rates(&self, scores: &[f64], rates: &[f64]) -> Vec<f64> {
        // In f64 a step this small loses nothing.
        const STEP: f64 = 1e-5;
        let at = |step: f64| -> Vec<f64> {
            self.slopes(&scores.iter().zip(rates).map(|(score, rate)| score + step * rate).collect::<Vec<_>>())
        };
        at(STEP).iter().zip(at(-STEP)).map(|(ahead, behind)| (ahead - behind) / (2. * STEP)).collect()
    }
}

/// In f64.
pub(super) fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| value.into()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slopes_are_the_derivatives_of_values() {
        let scores = [0.3, -1.2, 2.5, 0.9, 1.1];
        for objective in [
            Objective::new(Target::Score, 2),
            Objective::new(Target::Against, 1),
            Objective::new(Target::Contrast(4), 3),
            Objective::new(Target::ScoreAndProbability, 3),
            Objective::nearest(2, &scores).unwrap(),
            Objective::nearest(1, &scores[..2]).unwrap(),
        ] {
            let scores = match &objective {
                Objective::Rivals { rivals, .. } if rivals.len() == 1 => &scores[..2],
                _ => &scores[..],
            };
            let slopes = objective.slopes(&wide(scores));
            for (class, slope) in slopes.into_iter().enumerate() {
                let at = |step: f32| {
                    let mut scores = scores.to_vec();
                    scores[class] += step;
                    objective.value(&scores)
                };
                let difference = (at(1e-2) - at(-1e-2)) / 2e-2;
                assert!((slope - difference).abs() < 1e-4, "{objective:?} by score {class}: {slope}, not {difference}");
            }
        }
    }

    #[test]
    fn the_nearest_classes_are_chosen_by_score() {
        let Objective::Rivals { class, rivals } = Objective::nearest(2, &[0., 9., 3., 2.5, -1., 3.2]).unwrap() else {
            panic!("another objective");
        };
        assert_eq!((class, rivals), (2, vec![5, 3, 0]));
        assert_eq!(Objective::nearest(0, &[1.]).unwrap_err().kind(), ErrorKind::Unsupported);
    }
}
