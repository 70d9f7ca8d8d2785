//! Measures of explanations against torch-cam's and pytorch-grad-cam's.

use std::cell::RefCell;
use std::rc::Rc;

use gradcam_web::ErrorKind;
use gradcam_web::cam::Prediction;
use gradcam_web::heatmap::Grid;
use gradcam_web::judge::{Judge, JudgeOptions, rank_correlation};
use gradcam_web::network::Network;

use crate::fixtures::{Fixture, assert_close, bytes};
use crate::networks::load;

const WITHOUT_NOISE: JudgeOptions = JudgeOptions { steps: 20, noise: 0., seed: 1 };

fn predict(network: &Rc<Network>, input: &[f32]) -> Prediction {
    let tensor = network.input_tensor(input).unwrap();
    pollster::block_on(Prediction::new(network.clone(), tensor)).unwrap()
}

/// A judged map of `metrics.safetensors`: `NAME/CLASS/METHOD`.
struct Judged {
    fixture: Fixture,
    key: String,
    prediction: Prediction,
    target_class: usize,
}

impl Judged {
    #[track_caller]
    fn new(key: &str) -> Judged {
        let parts: Vec<&str> = key.split('/').collect();
        let [name, class, _] = parts[..] else { panic!("{key}") };
        let network = Fixture::read(&format!("cams/{name}.safetensors"));
        let file = network.fact("model").as_str().unwrap();
        let prediction = predict(&load(file, &bytes(&format!("cams/{file}"))), &network.tensor("input").values);
        Judged {
            fixture: Fixture::read("metrics.safetensors"),
            key: key.into(),
            prediction,
            target_class: class.parse().unwrap(),
        }
    }

    fn expected(&self, measure: &str) -> &[f32] {
        &self.fixture.tensor(&format!("{}/{measure}", self.key)).values
    }

    fn map(&self) -> Grid {
        let tensor = self.fixture.tensor(&format!("{}/heatmap", self.key));
        Grid::new(tensor.shape[1] as u32, tensor.shape[0] as u32, tensor.values.clone())
    }

    fn judge(&self, options: JudgeOptions) -> Judge<'_> {
        pollster::block_on(Judge::new(&self.prediction, &self.map(), self.target_class, options)).unwrap()
    }
}

/// Every measure of one map.
#[track_caller]
fn check(key: &str) {
    let judged = Judged::new(key);
    let shares = RefCell::new(Vec::new());
    let judge = judged.judge(WITHOUT_NOISE);
    let found = pollster::block_on(judge.measure(&|share| shares.borrow_mut().push(share), &|| false)).unwrap();
    let close =
        |measure: &str, found: &[f32]| assert_close(&format!("{key} {measure}"), found, judged.expected(measure), 1e-4);

    close("average_drop", &[found.confidence.drop]);
    close("confidence_increase", &[f32::from(found.confidence.increase)]);
    close("change", &[found.confidence.score_change]);
    close("drop", &[(-found.confidence.score_change).max(0.)]);
    close("increase", &[f32::from(found.confidence.score_change > 0.)]);
    close("fractions", &found.deletion.fractions);
    close("deletion", &found.deletion.probabilities);
    close("insertion", &found.insertion.probabilities);
    close("deletion_area", &[found.deletion.area()]);
    close("insertion_area", &[found.insertion.area()]);
    close("road_morf", &found.road.most_relevant_first);
    close("road_lerf", &found.road.least_relevant_first);
    close("road", &[found.road.combined()]);

    // 1 + 39 + 18 passes in batches, told in order.
    let shares = shares.into_inner();
    assert!(shares.is_sorted() && shares.last() == Some(&1.), "{shares:?}");
}

#[test]
fn a_pooling_networks_measures_are_those_of_the_libraries() {
    check("gap/2/grad-cam");
    check("gap/2/layercam");
}

#[test]
fn a_residual_networks_measures_are_those_of_the_libraries() {
    check("residual/1/grad-cam");
    check("residual/1/layercam");
}

#[test]
fn a_grey_networks_measures_are_those_of_the_libraries() {
    check("flatten/3/grad-cam");
    check("flatten/3/layercam");
}

#[test]
fn each_measure_by_itself_is_the_same() {
    let judged = Judged::new("flatten/3/grad-cam");
    let judge = judged.judge(JudgeOptions::default());
    let (progress, stopped) = (|_: f32| {}, || false);
    let all = pollster::block_on(judge.measure(&progress, &stopped)).unwrap();
    assert_eq!(pollster::block_on(judge.confidence(&progress, &stopped)).unwrap(), all.confidence);
    assert_eq!(pollster::block_on(judge.curves(&progress, &stopped)).unwrap(), (all.deletion, all.insertion));
    assert_eq!(pollster::block_on(judge.road(&progress, &stopped)).unwrap(), all.road);
}

#[test]
fn noise_on_imputed_pixels_changes_little_and_can_be_repeated() {
    let judged = Judged::new("residual/1/grad-cam");
    let road = |noise, seed| {
        let judge = judged.judge(JudgeOptions { noise, seed, ..WITHOUT_NOISE });
        pollster::block_on(judge.road(&|_| {}, &|| false)).unwrap()
    };
    let noisy = road(0.01, 1);
    assert_eq!(noisy, road(0.01, 1));
    assert_ne!(noisy, road(0.01, 2));
    assert_close("ROAD with noise", &noisy.most_relevant_first, judged.expected("road_morf"), 0.02);
    assert_close("ROAD with noise", &noisy.least_relevant_first, judged.expected("road_lerf"), 0.02);
}

#[test]
fn measures_stop_when_the_caller_says_so() {
    let judged = Judged::new("flatten/3/grad-cam");
    let judge = judged.judge(JudgeOptions::default());
    let asked = RefCell::new(0);
    let stopped = || {
        *asked.borrow_mut() += 1;
        *asked.borrow() > 3
    };
    let error = pollster::block_on(judge.measure(&|_| {}, &stopped)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Abort);
    assert_eq!(asked.into_inner(), 4);
}

#[test]
fn what_can_not_be_judged_is_refused() {
    let judged = Judged::new("flatten/3/grad-cam");
    let refusal = |class, options| {
        let judge = pollster::block_on(Judge::new(&judged.prediction, &judged.map(), class, options));
        judge.err().unwrap()
    };
    for error in [
        refusal(99, WITHOUT_NOISE),
        refusal(3, JudgeOptions { steps: 0, ..WITHOUT_NOISE }),
        refusal(3, JudgeOptions { noise: -1., ..WITHOUT_NOISE }),
        refusal(3, JudgeOptions { noise: f32::NAN, ..WITHOUT_NOISE }),
    ] {
        assert_eq!(error.kind(), ErrorKind::Target, "{error}");
    }
}

#[test]
fn rank_correlation_is_scipys() {
    let fixture = Fixture::read("metrics.safetensors");
    for key in ["gap/2", "residual/1", "flatten/3"] {
        let [a, b] = ["grad-cam", "layercam"].map(|method| {
            let tensor = fixture.tensor(&format!("{key}/{method}/heatmap"));
            Grid::new(tensor.shape[1] as u32, tensor.shape[0] as u32, tensor.values.clone())
        });
        assert_close(key, &[rank_correlation(&a, &b)], &fixture.tensor(&format!("{key}/spearman")).values, 1e-4);
    }
}
