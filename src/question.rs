//! What can be asked of a prediction and what is answered, each as one value: what crosses to another language or thread.

use crate::Result;
use crate::cam::{Evidence, ExplainOptions, Explanation, Factorization, FactorizeOptions, Prediction, Unit};
use crate::heatmap::Grid;
use crate::judge::{Judge, JudgeOptions, Measures};
use crate::network::LayerId;
use crate::sanity::{SanityOptions, SanityStep, sanity_check};

/// A question about a prediction.
#[derive(Clone, Debug)]
pub enum Question {
    /// [`Prediction::explain`].
    Explain(ExplainOptions),
    /// [`sanity_check`].
    SanityCheck(ExplainOptions, SanityOptions),
    /// [`Prediction::factorize`].
    Factorize(FactorizeOptions),
    /// [`Prediction::units`].
    Units {
        /// The top class if `None`.
        target_class: Option<usize>,
        /// The default layer if `None`.
        layer: Option<LayerId>,
        /// How many channels, at most.
        count: usize,
    },
    /// [`Prediction::classes_at`].
    ClassesAt {
        /// The default layer if `None`.
        layer: Option<LayerId>,
        /// Column and row of the layer's map.
        place: (usize, usize),
        /// How many classes are looked at where each takes a gradient.
        likeliest: usize,
    },
    /// [`Judge::measure`].
    Measure {
        /// The class activation map that is judged.
        map: Grid,
        /// The class that it explains.
        target_class: usize,
        /// What it was the answer to.
        explained: ExplainOptions,
        /// Steps, noise and seed.
        options: JudgeOptions,
    },
}

/// The answer to the question of the same name.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A class activation map and what it is of.
    Explanation(Explanation),
    /// Explanations by ever more random networks.
    SanitySteps(Vec<SanityStep>),
    /// What a layer's activations are made of.
    Factorization(Factorization),
    /// Channels, those that add most to the score first.
    Units(Vec<Unit>),
    /// Classes for which a place speaks, highest first.
    Evidence(Evidence),
    /// Every measure of the map.
    Measures(Measures),
}

impl Prediction {
    /// Answers a question. `progress` hears fractions in 0..=1; `stopped` is asked between runs of the network.
    ///
    /// # Errors
    /// Those of what the question names.
    pub async fn ask(&self, question: Question, progress: &dyn Fn(f32), stopped: &dyn Fn() -> bool) -> Result<Answer> {
        Ok(match question {
            Question::Explain(options) => Answer::Explanation(self.explain(&options, progress, stopped).await?),
            Question::SanityCheck(options, sanity) => {
                Answer::SanitySteps(sanity_check(self, &options, sanity, progress, stopped).await?)
            }
            Question::Factorize(options) => Answer::Factorization(self.factorize(&options, progress, stopped).await?),
            Question::Units { target_class, layer, count } => {
                Answer::Units(self.units(target_class, layer, count).await?)
            }
            Question::ClassesAt { layer, place, likeliest } => {
                Answer::Evidence(self.classes_at(layer, place, likeliest, stopped).await?)
            }
            Question::Measure { map, target_class, explained, options } => {
                let judge = Judge::new(self, &map, target_class, options).await?;
                Answer::Measures(judge.measure(&explained, progress, stopped).await?)
            }
        })
    }
}
