//! Measures of explanations, and the sanity check.

use super::*;
use crate::heatmap::Grid;
use crate::judge::{self, Judge, JudgeOptions};
use crate::sanity::{self, SanityOptions};

#[wasm_bindgen]
impl Prediction {
    /// Every measure of a class activation map, given row-major. `progress` is called with fractions, `is_stopped` asked
    /// whether to go on.
    #[allow(clippy::too_many_arguments, reason = "JavaScript's options, one by one")]
    pub async fn measure(
        &self,
        width: u32,
        height: u32,
        values: Vec<f32>,
        target_class: usize,
        steps: usize,
        noise: f32,
        seed: u32,
        progress: Function,
        is_stopped: Function,
    ) -> Result<Measures, JsValue> {
        let map = Grid::new(width, height, values);
        let options = JudgeOptions { steps, noise, seed: seed.into() };
        let judge = Judge::new(&self.prediction, &map, target_class, options).await?;
        Ok(Measures(judge.measure(&hear(progress), &ask(is_stopped)).await?))
    }

    /// The same explanation by networks with random parameters from the top layer down.
    #[wasm_bindgen(js_name = sanityCheck)]
    #[allow(clippy::too_many_arguments, reason = "JavaScript's options, one by one")]
    pub async fn sanity_check(
        &self,
        method: &str,
        target_class: Option<usize>,
        layers: Vec<String>,
        aim: Aim,
        steps: usize,
        seed: u32,
        progress: Function,
        is_stopped: Function,
    ) -> Result<SanitySteps, JsValue> {
        let options = self.options(method, target_class, &layers, aim)?;
        let sanity = SanityOptions { steps, seed: seed.into() };
        let (progress, is_stopped) = (hear(progress), ask(is_stopped));
        Ok(SanitySteps(sanity::sanity_check(&self.prediction, &options, sanity, &progress, &is_stopped).await?))
    }
}

/// Every measure of an explanation.
#[wasm_bindgen]
pub struct Measures(judge::Measures);

#[wasm_bindgen]
impl Measures {
    #[wasm_bindgen(getter)]
    pub fn drop(&self) -> f32 {
        self.0.confidence.drop
    }

    #[wasm_bindgen(getter)]
    pub fn increase(&self) -> bool {
        self.0.confidence.increase
    }

    #[wasm_bindgen(getter, js_name = scoreChange)]
    pub fn score_change(&self) -> f32 {
        self.0.confidence.score_change
    }

    /// The share of pixels changed at each point of both curves.
    #[wasm_bindgen(getter)]
    pub fn fractions(&self) -> Vec<f32> {
        self.0.deletion.fractions.clone()
    }

    #[wasm_bindgen(getter)]
    pub fn deletion(&self) -> Vec<f32> {
        self.0.deletion.probabilities.clone()
    }

    #[wasm_bindgen(getter)]
    pub fn insertion(&self) -> Vec<f32> {
        self.0.insertion.probabilities.clone()
    }

    #[wasm_bindgen(getter, js_name = deletionArea)]
    pub fn deletion_area(&self) -> f32 {
        self.0.deletion.area()
    }

    #[wasm_bindgen(getter, js_name = insertionArea)]
    pub fn insertion_area(&self) -> f32 {
        self.0.insertion.area()
    }

    /// How many per cent of the pixels are left at each point of ROAD.
    #[wasm_bindgen(getter)]
    pub fn percentiles(&self) -> Vec<u8> {
        judge::PERCENTILES.to_vec()
    }

    #[wasm_bindgen(getter, js_name = mostRelevantFirst)]
    pub fn most_relevant_first(&self) -> Vec<f32> {
        self.0.road.most_relevant_first.clone()
    }

    #[wasm_bindgen(getter, js_name = leastRelevantFirst)]
    pub fn least_relevant_first(&self) -> Vec<f32> {
        self.0.road.least_relevant_first.clone()
    }

    #[wasm_bindgen(getter, js_name = roadCombined)]
    pub fn road_combined(&self) -> f32 {
        self.0.road.combined()
    }
}

/// Explanations by ever more random networks.
#[wasm_bindgen]
pub struct SanitySteps(Vec<sanity::SanityStep>);

#[wasm_bindgen]
impl SanitySteps {
    /// The lowest random layer of each.
    #[wasm_bindgen(getter)]
    pub fn layers(&self) -> Vec<String> {
        self.0.iter().map(|step| step.layer.clone()).collect()
    }

    /// How many layers of each are random.
    #[wasm_bindgen(getter)]
    pub fn randomised(&self) -> Vec<u32> {
        self.0.iter().map(|step| step.randomised as u32).collect()
    }

    #[wasm_bindgen(getter, js_name = rankCorrelations)]
    pub fn rank_correlations(&self) -> Vec<f32> {
        self.0.iter().map(|step| step.rank_correlation).collect()
    }

    /// The explanation by the network at `index`.
    pub fn explanation(&self, index: usize) -> Explanation {
        Explanation(self.0[index].explanation.clone())
    }
}
