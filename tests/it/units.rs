//! Single channels and single places, against PyTorch's activations and gradients and against the maps that they add up to.

use gradcam_web::ErrorKind;
use gradcam_web::cam::{Evidence, ExplainOptions, Method, Prediction, Unit};

use crate::fixtures::{Fixture, assert_close, bytes};
use crate::networks::load;

/// A network of `tests/data/cams` with PyTorch's values, and one of its layers.
struct Case {
    fixture: Fixture,
    prediction: Prediction,
    layer: String,
}

impl Case {
    /// `layer` is the fixture's word for it.
    #[track_caller]
    fn new(network: &str, layer: &str) -> Case {
        let fixture = Fixture::read(&format!("cams/{network}.safetensors"));
        let loaded = load(network, &bytes(&format!("cams/{network}.onnx")));
        let layer = fixture.fact("layers")[layer]["value"].as_str().unwrap().to_owned();
        let prediction = pollster::block_on(Prediction::new(loaded, &fixture.tensor("input").values)).unwrap();
        Case { fixture, prediction, layer }
    }

    fn units(&self, class: usize, count: usize) -> Vec<Unit> {
        let layer = self.prediction.network().layer(&self.layer).unwrap();
        pollster::block_on(self.prediction.units(Some(class), Some(layer), count)).unwrap()
    }

    fn classes_at(&self, place: (usize, usize), likeliest: usize) -> gradcam_web::Result<Evidence> {
        let layer = self.prediction.network().layer(&self.layer).unwrap();
        pollster::block_on(self.prediction.classes_at(Some(layer), place, likeliest, &|| false))
    }

    fn map(&self, method: Method, class: usize) -> Vec<f32> {
        let layers = vec![self.prediction.network().layer(&self.layer).unwrap()];
        let options = ExplainOptions { method, target_class: Some(class), layers, ..ExplainOptions::default() };
        let explanation = pollster::block_on(self.prediction.explain(&options, &|_| {}, &|| false)).unwrap();
        explanation.map.values().to_vec()
    }

    fn first_class(&self) -> usize {
        self.fixture.fact("classes")[0].as_u64().unwrap() as usize
    }
}

#[test]
fn a_contribution_is_the_summed_activation_times_the_mean_gradient() {
    // captum's network at its first ReLU: activations [0, 4, 31, 40] and [0, 0, 6, 15], gradients [1, 1, 1, 1] and
    // [1, -1, -1, -1]. 75 · 1 and 21 · -1/2.
    let units = Case::new("golden_tiny", "late").units(0, 5);
    let found: Vec<(usize, f32)> = units.iter().map(|unit| (unit.channel, unit.contribution)).collect();
    assert_eq!(found, [(0, 75.), (1, -10.5)]);
    assert_eq!(units[1].map.values(), [0., 0., 6., 15.]);
}

#[test]
fn contributions_are_the_sums_of_pytorchs_gradients_times_the_means_of_its_activations() {
    for (network, layer) in LAYERS {
        let case = Case::new(network, layer);
        let class = case.first_class();
        let activations = case.fixture.tensor(&format!("{layer}/activations"));
        let gradients = case.fixture.tensor(&format!("{layer}/{class}/gradients"));
        let [.., channels, height, width] = activations.shape[..] else { panic!("{network} {layer}") };
        let places = height * width;
        let expected: Vec<f32> = (0..channels)
            .map(|k| {
                let gradient: f32 = gradients.values[k * places..][..places].iter().sum();
                gradient * activations.values[k * places..][..places].iter().sum::<f32>() / places as f32
            })
            .collect();

        let units = case.units(class, usize::MAX);
        assert_eq!(units.len(), channels, "{network} {layer}");
        assert!(units.is_sorted_by(|a, b| a.contribution >= b.contribution), "{network} {layer}");
        let mut contributions = vec![0.; channels];
        for Unit { channel, contribution, map } in units {
            contributions[channel] = contribution;
            let expected = &activations.values[channel * places..][..places];
            let largest = activations.values.iter().fold(0f32, |largest, value| largest.max(value.abs()));
            let off = map.values().iter().zip(expected).fold(0f32, |off, (a, b)| off.max((a - b).abs()));
            assert!(off <= 1e-4 * largest, "{network} {layer}: channel {channel} is {off} off");
        }
        assert_close(&format!("{network} {layer}"), &contributions, &expected, 1e-4);
    }
}

/// With pooling and one linear layer behind them, and without.
const LAYERS: [(&str, &str); 4] = [("gap", "late"), ("flatten", "late"), ("residual", "late"), ("flatten", "early")];

#[test]
fn the_first_units_are_those_of_the_whole_list() {
    let case = Case::new("flatten", "late");
    assert_eq!(case.units(1, 3), case.units(1, usize::MAX)[..3]);
}

#[test]
fn units_add_up_to_grad_cam() {
    let case = Case::new("flatten", "late");
    let sum: f32 = case.units(1, usize::MAX).iter().map(|unit| unit.contribution).sum();
    assert_close("sum", &[sum], &[case.map(Method::GradCam, 1).iter().sum()], 1e-4);
}

#[test]
fn a_pooled_place_speaks_for_classes_by_their_class_activations() {
    for network in ["gap", "squeeze"] {
        let case = Case::new(network, "late");
        let evidence = case.classes_at((2, 1), 3).unwrap();
        assert!(evidence.all);
        assert_eq!(evidence.classes.len(), case.prediction.scores().len());
        assert!(evidence.classes.is_sorted_by(|(_, a), (_, b)| a >= b));
        let width = case.units(0, 1)[0].map.width() as usize;
        for (class, value) in evidence.classes {
            assert_close(&format!("{network} {class}"), &[value], &[case.map(Method::Cam, class)[width + 2]], 1e-3);
        }
    }
}

#[test]
fn elsewhere_a_place_speaks_for_the_likeliest_classes_by_their_grad_cams() {
    let case = Case::new("flatten", "late");
    let evidence = case.classes_at((1, 2), 2).unwrap();
    assert!(!evidence.all);
    let scores = case.prediction.scores();
    let mut likeliest: Vec<usize> = (0..scores.len()).collect();
    likeliest.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    let mut classes: Vec<usize> = evidence.classes.iter().map(|&(class, _)| class).collect();
    classes.sort_by_key(|class| likeliest.iter().position(|other| other == class));
    assert_eq!(classes, likeliest[..2]);
    let grid = case.units(0, 1).remove(0).map;
    let at = (2 * grid.width() + 1) as usize;
    for (class, value) in evidence.classes {
        let map = case.map(Method::GradCam, class);
        assert_close(&class.to_string(), &[value], &[map[at] * map.len() as f32], 1e-4);
    }
}

#[test]
fn a_place_that_is_not_there_is_refused_with_the_size() {
    let case = Case::new("flatten", "late");
    let error = case.classes_at((1000, 0), 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Target);
    assert!(error.message().starts_with("there is no place 1000, 0: the layer has "), "{error}");
}
