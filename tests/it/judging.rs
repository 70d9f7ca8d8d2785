//! Measures of explanations against torch-cam's and pytorch-grad-cam's, and the sanity check on trained networks.

use std::cell::RefCell;
use std::fs;
use std::rc::Rc;

use gradcam_web::ErrorKind;
use gradcam_web::cam::{ExplainOptions, Method, Prediction, Target};
use gradcam_web::heatmap::Grid;
use gradcam_web::image::Image;
use gradcam_web::judge::boxes::{BoxAccuracy, BoxHits, Rect, best_iou, energy_inside, largest_part, points_at};
use gradcam_web::judge::{Judge, JudgeOptions, rank_correlation};
use gradcam_web::network::Network;
use gradcam_web::preprocess::{Preprocess, input_from_image};
use gradcam_web::sanity::{SanityOptions, SanityStep, sanity_check};

use crate::fixtures::{Fixture, assert_close, bytes, shared};
use crate::networks::{load, logits, wait};

const WITHOUT_NOISE: JudgeOptions = JudgeOptions { steps: 20, noise: 0., seed: 1 };

fn predict(network: &Rc<Network>, input: &[f32]) -> Prediction {
    pollster::block_on(Prediction::new(network.clone(), input)).unwrap()
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

    /// What the map was the answer to.
    fn explained(&self) -> ExplainOptions {
        let (_, method) = self.key.rsplit_once('/').unwrap();
        let name = self.key.split('/').next().unwrap();
        let late = Fixture::read(&format!("cams/{name}.safetensors"));
        let layer = late.fact("layers")["late"]["value"].as_str().unwrap().to_owned();
        ExplainOptions {
            method: method.parse().unwrap(),
            layers: vec![self.prediction.network().layer(&layer).unwrap()],
            ..ExplainOptions::default()
        }
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
    let found =
        pollster::block_on(judge.measure(&judged.explained(), &|share| shares.borrow_mut().push(share), &|| false))
            .unwrap();
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
    close("coherency", &[found.coherency]);
    close("complexity", &[found.complexity]);
    close("arcc", &[found.arcc()]);

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
    let all = pollster::block_on(judge.measure(&judged.explained(), &progress, &stopped)).unwrap();
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
    let error = pollster::block_on(judge.measure(&judged.explained(), &|_| {}, &stopped)).unwrap_err();
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

/// A network of `../shared/models` that has seen one of `../shared/photos`.
fn seen(file: &str, photo: &str, preprocess: Preprocess) -> Option<Prediction> {
    let (models, photos) = (shared("models")?, shared("photos")?);
    let network = load(file, &fs::read(models.join(file)).unwrap());
    let image = Image::decode(&fs::read(photos.join(photo)).unwrap()).unwrap();
    let (values, _) = input_from_image(&image, &preprocess, 3).unwrap();
    Some(predict(&network, &values))
}

fn checked(prediction: &Prediction, method: Method, steps: usize) -> Vec<SanityStep> {
    let options = ExplainOptions { method, ..ExplainOptions::default() };
    let sanity = SanityOptions { steps, seed: 1 };
    pollster::block_on(sanity_check(prediction, &options, sanity, &|_| {}, &|| false)).unwrap()
}

/// Grad-CAM's maps have nothing in common with the trained network's any more.
#[track_caller]
fn check_collapse(file: &str, photo: &str, preprocess: Preprocess, layers: usize) {
    let Some(prediction) = seen(file, photo, preprocess) else { return };
    let steps = checked(&prediction, Method::GradCam, 4);
    let shown: Vec<_> = steps.iter().map(|step| (step.layer.as_str(), step.rank_correlation)).collect();
    println!("{file}: {shown:?}");
    assert_eq!(steps.iter().map(|step| step.randomised).max(), Some(layers));
    // The uppermost layer alone decides which channels count; by chance some of them may be the same.
    let changed = &steps[1..];
    let mean = changed.iter().map(|step| step.rank_correlation.abs()).sum::<f32>() / changed.len() as f32;
    assert!(mean < 0.3, "{file}: {shown:?}");
    assert!(steps.iter().all(|step| step.explanation.target_class == prediction.top_class()));
}

#[test]
fn grad_cam_passes_the_sanity_check_on_squeezenet() {
    check_collapse("squeezenet1_1_torchvision_fp16w.onnx", "daisies.jpg", Preprocess::default(), 26);
}

#[test]
fn grad_cam_passes_the_sanity_check_on_mobilenet_v2() {
    let preprocess = Preprocess { mean: vec![0.5], std: vec![0.5], ..Preprocess::default() };
    check_collapse("mobilenet_v2_1.0_224_w8.onnx", "daisies.jpg", preprocess, 53);
}

#[test]
fn a_sanity_check_can_be_repeated_and_leaves_the_network_alone() {
    let fixture = Fixture::read("cams/residual.safetensors");
    let input = &fixture.tensor("input").values;
    let network = load("residual.onnx", &bytes("cams/residual.onnx"));
    let prediction = predict(&network, input);
    let steps = checked(&prediction, Method::LayerCam, usize::MAX);
    // One step for each layer with weights, from the scores down.
    let layers: Vec<&str> = steps.iter().map(|step| step.layer.as_str()).collect();
    assert_eq!(layers, network.weighted_layers());
    assert_eq!(steps.iter().map(|step| step.randomised).collect::<Vec<_>>(), (1..=layers.len()).collect::<Vec<_>>());
    assert_eq!(steps, checked(&prediction, Method::LayerCam, usize::MAX));
    assert_eq!(predict(&network, input).scores(), prediction.scores());
}

#[test]
fn random_parameters_replace_the_learnt_ones_from_the_top_down() {
    let fixture = Fixture::read("cams/residual.safetensors");
    let input = &fixture.tensor("input").values;
    let network = load("residual.onnx", &bytes("cams/residual.onnx"));
    let late = network.layer(fixture.fact("layers")["late"]["value"].as_str().unwrap()).unwrap();
    let activations = |network: &Network| wait(network.forward_to(input, late)).activations();
    // The matrix of the head comes after the layer: only the scores change.
    let headless = network.with_randomised(1, 1);
    assert_eq!(activations(&headless), activations(&network));
    assert_ne!(logits(&headless, input), logits(&network, input));
    assert_ne!(logits(&headless, input), logits(&network.with_randomised(1, 2), input));
    assert_ne!(activations(&network.with_randomised(2, 1)), activations(&network));
    assert_eq!(logits(&network.with_randomised(0, 1), input), logits(&network, input));
}

#[test]
fn boxes_are_judged_as_by_opencv_and_wsolevaluation() {
    let fixture = Fixture::read("boxes.safetensors");
    let tolerance = fixture.fact("tolerance").as_f64().unwrap() as f32;
    let mut accuracy = BoxAccuracy::default();
    for image in 0..fixture.fact("images").as_u64().unwrap() {
        let tensor = |name: &str| fixture.tensor(&format!("{image}/{name}"));
        let map = tensor("heatmap");
        let heatmap = Grid::new(map.shape[1] as u32, map.shape[0] as u32, map.values.clone()).heatmap();
        let rects = tensor("boxes").values.as_chunks().0.iter().map(|&[x0, y0, x1, y1]| Rect { x0, y0, x1, y1 });
        let rects: Vec<Rect> = rects.collect();
        let overlap = |share| best_iou(largest_part(&heatmap, share).unwrap(), &rects);
        for (name, found) in [
            ("pointing", f32::from(points_at(&heatmap, &rects, tolerance))),
            ("iou_15", overlap(0.15)),
            ("iou_20", overlap(0.2)),
            ("energy", energy_inside(&heatmap, &rects)),
        ] {
            let expected = tensor(name).values[0];
            assert!((found - expected).abs() <= 1e-4, "{image}/{name}: {found} instead of {expected}");
        }
        accuracy.add(&BoxHits::new(&heatmap, &rects));
    }
    let expected = fixture.tensor("max_box_acc_v2").values[0];
    assert!((accuracy.value() - expected).abs() <= 1e-5, "{} instead of {expected}", accuracy.value());
}

#[test]
fn guided_backpropagation_hardly_notices_a_random_classifier() {
    let (file, photo) = ("squeezenet1_1_torchvision_fp16w.onnx", "daisies.jpg");
    let Some(prediction) = seen(file, photo, Preprocess::default()) else { return };
    let top_layer_random = |method| checked(&prediction, method, 2)[0].rank_correlation;
    let (guided, grad_cam) = (top_layer_random(Method::GuidedBackprop), top_layer_random(Method::GradCam));
    println!("guided backpropagation {guided}, Grad-CAM {grad_cam}");
    assert!(guided > 0.8 && grad_cam < 0.3, "{guided}, {grad_cam}");
}

#[test]
fn a_sanity_check_explains_what_is_asked() {
    let fixture = Fixture::read("cams/residual.safetensors");
    let input = &fixture.tensor("input").values;
    let network = load("residual.onnx", &bytes("cams/residual.onnx"));
    let prediction = predict(&network, input);
    let options =
        ExplainOptions { target: Target::Contrast(0), target_class: Some(1), eigen_smooth: true, ..Default::default() };
    let sanity = SanityOptions { steps: 2, seed: 3 };
    let steps = pollster::block_on(sanity_check(&prediction, &options, sanity, &|_| {}, &|| false)).unwrap();
    for step in &steps {
        let again = predict(&Rc::new(network.with_randomised(step.randomised, 3)), input);
        let expected = pollster::block_on(again.explain(&options, &|_| {}, &|| false)).unwrap();
        assert_eq!(step.explanation, expected);
    }
    assert_eq!(steps.len(), 2);
}
