//! Class activation maps against pytorch-grad-cam and torch-cam, and against what must be equal by algebra.

use std::fs;
use std::path::PathBuf;
use std::rc::Rc;

use gradcam_web::ErrorKind;
use gradcam_web::cam::{
    ExplainOptions, Explanation, FactorizeOptions, Method, Noise, Occlusion, Prediction, Start, Target,
};
use gradcam_web::heatmap::{Grid, MapState};
use gradcam_web::network::{LayerKind, Network};

use crate::fixtures::{Fixture, Tensor, assert_close, bytes, shared};
use crate::networks::{difference, formula_input, load, wait};

/// References by formulas that are not offered: they are there to show how far libraries differ.
const NOT_OFFERED: [&str; 7] = [
    "grad-cam++@torchcam",
    "xgrad-cam@torchcam",
    "score-cam@torchcam",
    "finer-cam@torchcam",
    "refine-cam@torchcam",
    "refine-cam@torchcam-grad-cam",
    "refine-cam@grad-cam",
];

/// A network that has been shown one input.
struct Shown {
    network: Rc<Network>,
    prediction: Prediction,
}

impl Shown {
    #[track_caller]
    fn new(network: Rc<Network>, input: &[f32]) -> Shown {
        let prediction = pollster::block_on(Prediction::new(network.clone(), input)).unwrap();
        Shown { network, prediction }
    }

    fn explain(&self, method: &str, class: usize, layer: Option<&str>) -> gradcam_web::Result<Explanation> {
        let method = method.parse().unwrap();
        self.explain_with(ExplainOptions { method, target_class: Some(class), ..self.options(layer.as_slice()) })
    }

    fn explain_with(&self, options: ExplainOptions) -> gradcam_web::Result<Explanation> {
        pollster::block_on(self.prediction.explain(&options, &|_| {}, &|| false))
    }

    #[track_caller]
    fn options(&self, layers: &[&str]) -> ExplainOptions {
        let layers = layers.iter().map(|layer| self.network.layer(layer).unwrap()).collect();
        ExplainOptions { layers, ..ExplainOptions::default() }
    }

    #[track_caller]
    fn map(&self, method: &str, class: usize, layer: Option<&str>) -> Vec<f32> {
        let explanation = self.explain(method, class, layer);
        explanation.unwrap_or_else(|error| panic!("{method}: {error}")).map.values().to_vec()
    }
}

/// The name that one export of a fixture's network has for a layer.
#[track_caller]
fn value<'a>(fixture: &'a Fixture, export: Option<&str>, layer: &str) -> &'a str {
    let layers = match export {
        Some(export) => &fixture.fact("exports")[export],
        None => fixture.fact("layers"),
    };
    layers[layer]["value"].as_str().unwrap()
}

/// What a fixture's `LAYER/CLASS/METHOD` asks for, or nothing if it is not offered.
#[track_caller]
fn asked(fixture: &Fixture, shown: &Shown, layer: &str, class: &str, method: &str) -> Option<ExplainOptions> {
    if NOT_OFFERED.contains(&method) {
        return None;
    }
    let layers = match layer {
        "input" => vec![],
        "multi" => vec![value(fixture, None, "early"), value(fixture, None, "late")],
        layer => vec![value(fixture, None, layer)],
    };
    let (mut target, mut smooth) = (Target::Score, "");
    let (method, of) = match method.split_once('@') {
        Some((method, "rest")) => (method, Target::ScoreAndProbability),
        Some(_) => panic!("no formula is known by the name {method}"),
        None => (method, target),
    };
    target = of;
    let method = match method.split_once('+') {
        Some((method, option)) if option.ends_with("smooth") => {
            smooth = option;
            method
        }
        _ => method,
    };
    let method = method.parse().ok()?;
    let class: Vec<&str> = class.split('-').collect();
    let target_class = match class[..] {
        ["not", class] => {
            target = Target::Against;
            class
        }
        [class, other] => {
            target = Target::Contrast(other.parse().unwrap());
            class
        }
        _ => class[0],
    };
    let noise = match fixture.has("noise") {
        true => Noise::Table(fixture.tensor("noise").values.clone().into()),
        false => Noise::Seed(0),
    };
    // Heights first, as tensors have them.
    let pair = |facts: &serde_json::Value| [1, 0].map(|axis: usize| facts[axis].as_u64().unwrap() as usize);
    let occlusion = (method == Method::Occlusion).then(|| {
        let facts = fixture.fact("occlusion");
        let baseline = facts["baseline"].as_f64().unwrap() as f32;
        Occlusion { window: pair(&facts["window"]), stride: pair(&facts["stride"]), baseline }
    });
    Some(ExplainOptions {
        method,
        target,
        noise,
        occlusion,
        target_class: Some(target_class.parse().unwrap()),
        aug_smooth: smooth == "aug_smooth",
        eigen_smooth: smooth == "eigen_smooth",
        ..shown.options(&layers)
    })
}

/// The largest difference from the reference that is allowed, relative to its largest value.
fn tolerance(fixture: &Fixture, name: &str) -> f32 {
    // Smooth Grad-CAM++ divides by 2·D2 + Σ A·D3, which may come near zero. The reference is computed in double precision;
    // its `spread` is by how much it moves when parameters and input are rounded once, and a whole run rounds often.
    let spread = format!("{}/spread", name.rsplit_once('/').map_or("", |(method, _)| method));
    if fixture.has(&spread) { (ROUNDINGS * fixture.tensor(&spread).values[0]).max(1e-4) } else { 1e-4 }
}

/// How often a run of a network rounds on the way to a gradient, as far as errors add up.
const ROUNDINGS: f32 = 4.;

/// Every map of a fixture; what differs is collected, so that one run tells all.
#[track_caller]
fn check_maps(what: &str, fixture: &Fixture, shown: &Shown, input: (u32, u32), at_least: usize) {
    let (mut compared, mut failed) = (0, Vec::new());
    for name in fixture.names() {
        let parts: Vec<&str> = name.split('/').collect();
        let [layer, class, method, kind @ ("map" | "heatmap")] = parts[..] else { continue };
        let beside = format!("{layer}/{class}/{method}/map");
        let expected = fixture.tensor(name);
        if kind == "heatmap" && fixture.has(&beside) || expected.shape.len() != 2 {
            continue;
        }
        let Some(options) = asked(fixture, shown, layer, class, method) else { continue };
        // Thousands of runs each: one of a trained network is enough.
        if what.starts_with("resnet") && options.method == Method::SsCam && (layer, class) != ("late", "3") {
            continue;
        }
        compared += 1;
        let explanation = match shown.explain_with(options.clone()) {
            Ok(explanation) => explanation,
            Err(error) => {
                failed.push(format!("{name}: {error}"));
                continue;
            }
        };
        let mut compare = |name: &str, map: &Grid, expected: &Tensor| {
            if [map.height() as usize, map.width() as usize] != expected.shape[..] {
                failed.push(format!("{name}: {} × {} instead of {:?}", map.height(), map.width(), expected.shape));
                return;
            }
            let off = difference(map.values(), &expected.values);
            if off.is_nan() || off > tolerance(fixture, name) {
                failed.push(format!("{name}: {off} off, relative to the largest value"));
            }
        };
        if options.method == Method::AblationCam {
            // All weights are divided by the score, which may be next to zero: compared without that common factor.
            let score = |scores: &[f32]| scores[explanation.target_class];
            let ours = scaled(explanation.map.values(), score(shown.prediction.scores()));
            let theirs = scaled(&expected.values, score(&fixture.tensor("logits").values));
            let map = Grid::new(explanation.map.width(), explanation.map.height(), ours);
            compare(name, &map, &Tensor { shape: expected.shape.clone(), values: theirs });
            continue;
        }
        let heatmap = || explanation.map.heatmap().resampled(input.0, input.1);
        if kind == "map" {
            compare(name, &explanation.map, expected);
            let name = format!("{layer}/{class}/{method}/heatmap");
            if fixture.has(&name) {
                compare(&name, heatmap().grid(), fixture.tensor(&name));
            }
        } else if options.aug_smooth {
            // pytorch-grad-cam's mean of final maps, which it does not stretch again.
            compare(name, &explanation.map, expected);
        } else {
            compare(name, heatmap().grid(), expected);
        }
    }
    assert!(failed.is_empty(), "{what}: {} of {compared} maps differ:\n{}", failed.len(), failed.join("\n"));
    assert!(compared >= at_least, "{what}: only {compared} maps compared");
}

/// Logits, and at each layer activations and gradients, of one export of a fixture's network.
#[track_caller]
fn check_values(file: &str, fixture: &Fixture, export: Option<&str>, network: &Rc<Network>) {
    let input = &fixture.tensor("input").values;
    assert_close(&format!("{file} logits"), &wait(network.forward(input)), &fixture.tensor("logits").values, 1e-4);
    for layer in fixture.fact("layers").as_object().unwrap().keys() {
        let name = value(fixture, export, layer);
        let id = network.layer(name).unwrap_or_else(|error| panic!("{file} {name}: {error}"));
        let cut = wait(network.forward_to(input, id));
        let activations = &fixture.tensor(&format!("{layer}/activations")).values;
        assert_close(&format!("{file} {layer} activations"), &cut.activations(), activations, 1e-4);
        for class in fixture.fact("classes").as_array().unwrap() {
            let class = class.as_u64().unwrap();
            let what = format!("{layer}/{class}/gradients");
            let (also_activations, gradients) = wait(network.activations_and_gradients(&cut, class as usize));
            assert_close(&format!("{file} {what}"), &gradients, &fixture.tensor(&what).values, 1e-4);
            assert_close(&format!("{file} {what}: activations"), &also_activations, activations, 1e-4);
        }
    }
}

/// The network of `cams/NAME.onnx` and all its references.
#[track_caller]
fn check(name: &str) {
    check_in("cams", name);
}

/// The network of `FOLDER/NAME.onnx` and all its references.
#[track_caller]
fn check_in(folder: &str, name: &str) {
    let fixture = Fixture::read(&format!("{folder}/{name}.safetensors"));
    let file = fixture.fact("model").as_str().unwrap();
    let network = load(file, &bytes(&format!("{folder}/{file}")));
    check_values(file, &fixture, None, &network);

    let input = fixture.tensor("input");
    let size = (input.shape[3] as u32, input.shape[2] as u32);
    let shown = Shown::new(network, &input.values);
    assert_close(&format!("{file} scores"), shown.prediction.scores(), &fixture.tensor("logits").values, 1e-4);
    // At two layers for each class, six methods and more.
    let classes = fixture.fact("classes").as_array().unwrap().len();
    check_maps(name, &fixture, &shown, size, 2 * classes * 6);

    for (export, layers) in fixture.fact("exports").as_object().unwrap() {
        let network = load(export, &bytes(&format!("cams/{export}")));
        check_values(export, &fixture, Some(export), &network);
        let shown = Shown::new(network, &input.values);
        for layer in layers.as_object().unwrap().keys() {
            for class in fixture.fact("classes").as_array().unwrap() {
                let what = format!("{layer}/{class}/grad-cam/map");
                let class = class.as_u64().unwrap() as usize;
                let map = shown.map("grad-cam", class, Some(value(&fixture, Some(export), layer)));
                assert_close(&format!("{export} {what}"), &map, &fixture.tensor(&what).values, 1e-4);
            }
        }
    }
}

#[test]
fn maps_of_a_pooling_head_with_one_linear_layer_equal_the_libraries() {
    check("gap");
}

#[test]
fn maps_of_a_head_of_convolution_and_pooling_equal_the_libraries() {
    check("squeeze");
}

#[test]
fn maps_of_a_head_of_two_linear_layers_equal_the_libraries() {
    check("vgg");
}

#[test]
fn maps_beside_and_before_skip_connections_equal_the_libraries() {
    check("residual");
}

#[test]
fn maps_of_a_flattening_head_equal_the_libraries() {
    check("flatten");
}

#[test]
fn maps_of_the_network_worked_out_by_hand_equal_the_libraries() {
    check("golden_tiny");
}

#[test]
fn maps_of_a_single_output_equal_the_libraries() {
    check("single");
}

#[test]
fn maps_of_a_network_with_curved_activations_equal_the_libraries() {
    check("curved");
}

#[test]
fn shapley_cam_keeps_to_the_side_on_which_an_elu_is() {
    check("bent");
}

#[test]
fn maps_of_transformers_and_mixers_equal_the_libraries() {
    for name in ["vit", "deit", "swin", "mixer"] {
        check_in("tokens", name);
        // Where the library's documentation takes its maps.
        let fixture = Fixture::read(&format!("tokens/{name}.safetensors"));
        let network = load(name, &bytes(&format!("tokens/{name}.onnx")));
        let late = value(&fixture, None, "late");
        assert_eq!(network.default_layer(), late);
        let layer = network.layers().iter().find(|layer| layer.name == late).unwrap();
        assert_eq!(layer.kind, LayerKind::Tokens);
        assert_eq!(layer.shape[..], fixture.tensor("late/activations").shape[1..]);
    }
}

#[test]
fn attention_is_refused_where_no_token_attends_to_all() {
    for name in ["cams/gap", "tokens/swin", "tokens/mixer"] {
        let network = load(name, &bytes(&format!("{name}.onnx")));
        let input = vec![0.5; 3 * network.input().width as usize * network.input().height as usize];
        let shown = Shown::new(network, &input);
        for method in ["attention-rollout", "legrad"] {
            let error = shown.explain(method, 0, None).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{name}");
            assert!(error.message().contains("attend"), "{error}");
        }
    }
}

#[test]
fn maps_of_trained_networks_equal_the_libraries() {
    let Some(models) = shared("models") else { return };
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/cams");
    for entry in fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().file_name().into_string().unwrap();
        if !file.starts_with("real_") || !file.ends_with(".safetensors") {
            continue;
        }
        let fixture = Fixture::read(&format!("cams/{file}"));
        let model = fixture.fact("model").as_str().unwrap();
        let side = if model.contains("cifar10") { 32 } else { 224 };
        let network = load(model, &fs::read(models.join(model)).unwrap());
        let shown = Shown::new(network, &formula_input(3 * side * side));
        assert_close(&format!("{model} scores"), shown.prediction.scores(), &fixture.tensor("logits").values, 1e-4);
        check_maps(model, &fixture, &shown, (side as u32, side as u32), 16);
    }
}

#[test]
fn maps_by_the_packages_own_random_numbers_and_windows_equal_the_libraries() {
    let fixture = Fixture::read("defaults.safetensors");
    let (shown, _) = shown("flatten");
    let class = fixture.fact("class").as_u64().unwrap() as usize;
    for (layer, method) in [("late", "ss-cam"), ("late", "smooth-grad-cam++"), ("input", "occlusion")] {
        let name = format!("{layer}/{class}/{method}/map");
        let map = shown.map(method, class, None);
        assert_close(&name, &map, &fixture.tensor(&name).values, tolerance(&fixture, &name));
    }
}

/// The network of `cams/NAME.onnx` and the input it was shown.
#[track_caller]
fn shown(name: &str) -> (Shown, Vec<f32>) {
    let fixture = Fixture::read(&format!("cams/{name}.safetensors"));
    let input = fixture.tensor("input").values.clone();
    let network = load(name, &bytes(&format!("cams/{name}.onnx")));
    (Shown::new(network, &input), input)
}

fn scaled(values: &[f32], factor: f32) -> Vec<f32> {
    values.iter().map(|value| value * factor).collect()
}

#[test]
fn cam_is_refused_where_no_pooling_head_is() {
    for name in ["vgg", "flatten", "golden_tiny"] {
        let (shown, _) = shown(name);
        let error = shown.explain("cam", 0, None).err().unwrap_or_else(|| panic!("{name}: not refused"));
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{name}: {error}");
    }
}

#[test]
fn cam_is_refused_at_a_layer_that_is_not_pooled() {
    let (shown, _) = shown("gap");
    let fixture = Fixture::read("cams/gap.safetensors");
    let error = shown.explain("cam", 0, Some(value(&fixture, None, "early"))).expect_err("not refused");
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
}

#[test]
fn a_class_that_is_not_there_is_refused() {
    let (shown, _) = shown("gap");
    let classes = shown.prediction.scores().len();
    let error = shown.explain("grad-cam", classes, None).expect_err("not refused");
    assert_eq!(error.kind(), ErrorKind::Target, "{error}");
}

#[test]
fn before_global_pooling_and_one_linear_layer_the_methods_agree_up_to_a_factor() {
    let (shown, _) = shown("gap");
    for class in 0..shown.prediction.scores().len() {
        let grad_cam = shown.map("grad-cam", class, None);
        let cells = grad_cam.len() as f32;
        let same = |method: &str, factor: f32, expected: &[f32]| {
            let map = scaled(&shown.map(method, class, None), factor);
            assert_close(&format!("{method}, class {class}"), &map, expected, 1e-4);
        };
        same("hirescam", 1., &grad_cam);
        same("xgrad-cam", 1., &grad_cam);
        same("cam", 1. / cells, &grad_cam);
        same("counterfactual", -1., &grad_cam);
        same("shapley-cam", 1., &grad_cam);
        // Activations behind a ReLU: rectifying the product is rectifying the weight.
        same("layercam", 1., &shown.map("grad-cam-elementwise", class, None));
    }
}

#[test]
fn the_mean_of_a_cam_is_the_score_without_the_bias() {
    let (shown, input) = shown("gap");
    let fainter = Shown::new(shown.network.clone(), &scaled(&input, 0.25));
    let bias = |shown: &Shown, class: usize| {
        let map = shown.map("cam", class, None);
        shown.prediction.scores()[class] - map.iter().sum::<f32>() / map.len() as f32
    };
    let biases = |of: &Shown| (0..of.prediction.scores().len()).map(|class| bias(of, class)).collect::<Vec<_>>();
    assert_ne!(shown.prediction.scores(), fainter.prediction.scores());
    // What is left does not depend on the input. Relative to the scores, of which it is a difference.
    let largest = shown.prediction.scores().iter().fold(0f32, |largest, score| largest.max(score.abs()));
    for (a, b) in biases(&shown).into_iter().zip(biases(&fainter)) {
        assert!((a - b).abs() <= 1e-5 * largest, "{a} and {b}");
    }
}

#[test]
fn explaining_another_class_does_not_run_the_steps_before_the_default_layer_again() {
    for name in ["gap", "squeeze", "residual", "vgg"] {
        let (shown, input) = shown(name);
        let fixture = Fixture::read(&format!("cams/{name}.safetensors"));
        let network = &shown.network;
        let late = network.layer(value(&fixture, None, "late")).unwrap();
        let steps = |what: &dyn Fn()| {
            let before = network.steps_run();
            what();
            network.steps_run() - before
        };
        let whole = steps(&|| drop(wait(network.forward(&input))));
        let before = steps(&|| drop(wait(network.forward_to(&input, late))));
        assert!(0 < before && before < whole, "{name}: {before} of {whole} steps");
        shown.map("grad-cam", 0, None);
        let again = steps(&|| drop(shown.map("grad-cam", 1, None)));
        assert!(again <= whole - before, "{name}: {again} steps, {} after the layer", whole - before);
    }
}

#[test]
fn a_new_image_is_explained_at_any_layer_by_one_run_of_the_network() {
    for name in ["squeeze", "residual", "vgg", "curved"] {
        let (shown, input) = shown(name);
        let network = &shown.network;
        let whole = {
            let before = network.steps_run();
            wait(network.forward(&input));
            network.steps_run() - before
        };
        for layer in network.layers() {
            let id = network.layer(&layer.name).unwrap();
            let class = 1 % network.classes();
            let expected = shown.map("grad-cam", class, Some(&layer.name));
            let before = network.steps_run();
            let prediction = wait(Prediction::ready_at(network.clone(), &input, id));
            assert_eq!(network.steps_run() - before, whole, "{name}: {}", layer.name);
            assert_eq!(prediction.scores(), shown.prediction.scores(), "{name}: {}", layer.name);
            let ready = Shown { network: network.clone(), prediction };
            let before = network.steps_run();
            let map = ready.map("grad-cam", class, Some(&layer.name));
            let back = network.steps_run() - before;
            // What follows the layer, once for the way back.
            let to = network.steps_run();
            wait(network.forward_to(&input, id));
            let follow = whole - (network.steps_run() - to);
            assert!(back <= follow, "{name}: {back} steps at {}, behind which there are {follow}", layer.name);
            assert!(difference(&map, &expected) < 1e-5, "{name}: {}", layer.name);
        }
    }
}

#[test]
fn every_method_is_known_by_its_name() {
    for method in Method::ALL {
        assert_eq!(method.name().parse::<Method>().ok(), Some(method));
    }
    assert_eq!("grad_cam".parse::<Method>().err().map(|error| error.kind()), Some(ErrorKind::Target));
}

/// The rows of a tensor.
fn rows(tensor: &Tensor) -> impl Iterator<Item = &[f32]> {
    tensor.values.chunks_exact(tensor.values.len() / tensor.shape[0])
}

#[test]
fn guided_backpropagation_and_guided_grad_cam_equal_the_libraries() {
    let guided = Fixture::read("guided.safetensors");
    for (name, class) in guided.fact("classes").as_object().unwrap() {
        let (shown, _) = shown(name);
        let class = class.as_u64().unwrap() as usize;
        let gradients = pollster::block_on(shown.prediction.guided_backpropagation(Some(class))).unwrap();
        let of = |method: &str| guided.tensor(&format!("{name}/{class}/{method}/map"));
        assert_close(&format!("{name}: guided backpropagation"), &gradients, &of("guided-backprop").values, 1e-4);
        // Both maps are the largest absolute value of the library's channels.
        for method in ["guided-backprop", "guided-grad-cam"] {
            let expected = rows(of(method))
                .fold(vec![0f32; of(method).values.len() / of(method).shape[0]], |max, row| {
                    max.iter().zip(row).map(|(max, value)| max.max(value.abs())).collect()
                });
            assert_close(&format!("{name}: {method}"), &shown.map(method, class, None), &expected, 1e-4);
        }
    }
}

#[test]
fn guided_gradients_of_all_classes_equal_the_library() {
    for name in ["gap", "squeeze", "vgg", "residual", "flatten", "single"] {
        let (shown, _) = shown(name);
        let fixture = Fixture::read(&format!("cams/{name}.safetensors"));
        for class in fixture.fact("classes").as_array().unwrap() {
            let class = class.as_u64().unwrap() as usize;
            let gradients = pollster::block_on(shown.prediction.guided_backpropagation(Some(class))).unwrap();
            let expected = fixture.tensor(&format!("input/{class}/guided-backprop/map"));
            assert_close(&format!("{name}, class {class}"), &gradients, &expected.values, 1e-4);
        }
    }
}

#[test]
fn concepts_are_those_of_the_library_from_the_same_start() {
    let fixture = Fixture::read("dff.safetensors");
    for name in ["gap", "residual"] {
        let (shown, _) = shown(name);
        let of = |what: &str| fixture.tensor(&format!("{name}/{what}"));
        let start = Start::Matrices(of("start_w").values.clone(), of("start_h").values.clone());
        let late = value(&Fixture::read(&format!("cams/{name}.safetensors")), None, "late").to_owned();
        let layer = Some(shown.network.layer(&late).unwrap());
        let options = FactorizeOptions { concepts: 3, layer, start };
        let found = pollster::block_on(shown.prediction.factorize(&options, &|_| {}, &|| false)).unwrap();
        assert_eq!((found.concepts.len(), found.layer), (3, late));
        let each = |what: &str| rows(of(what)).map(<[f32]>::to_vec).collect::<Vec<_>>();
        let (heatmaps, explanations, scores) = (each("heatmaps"), each("explanations"), each("concept_scores"));
        let size = &of("heatmaps").shape;
        for (i, concept) in found.concepts.iter().enumerate() {
            let what = format!("{name}, concept {i}");
            assert_close(&what, concept.map.values(), &explanations[i], 1e-4);
            let heatmap = concept.map.heatmap();
            let enlarged = heatmap.grid().resized(size[2] as u32, size[1] as u32);
            assert_close(&format!("{what}: heatmap"), enlarged.values(), &heatmaps[i], 1e-4);
            let column: Vec<f32> = of("concepts").values.iter().skip(i).step_by(3).copied().collect();
            assert_close(&format!("{what}: activations"), &concept.activations, &column, 1e-4);
            assert_close(&format!("{what}: scores"), &concept.scores, &scores[i], 1e-4);
            assert!((concept.probabilities.iter().sum::<f32>() - 1.).abs() < 1e-5);
        }
        for concepts in [0, 17] {
            let options = FactorizeOptions { concepts, ..FactorizeOptions::default() };
            let refused = pollster::block_on(shown.prediction.factorize(&options, &|_| {}, &|| false));
            assert_eq!(refused.err().map(|error| error.kind()), Some(ErrorKind::Target));
        }
        let own = pollster::block_on(shown.prediction.factorize(&FactorizeOptions::default(), &|_| {}, &|| false));
        assert!(own.unwrap().concepts.iter().all(|concept| concept.map.values().iter().all(|value| *value >= 0.)));
    }
}

#[test]
fn a_run_of_many_passes_tells_its_progress_and_stops_at_once() {
    let (shown, _) = shown("gap");
    let steps = |what: &dyn Fn()| {
        let before = shown.network.steps_run();
        what();
        shown.network.steps_run() - before
    };
    for name in ["score-cam", "ss-cam", "is-cam", "ablation-cam", "smooth-grad-cam++", "occlusion"] {
        let options = ExplainOptions { method: name.parse().unwrap(), ..ExplainOptions::default() };
        let heard = std::cell::RefCell::new(Vec::new());
        let whole = steps(&|| {
            let hear = |fraction| heard.borrow_mut().push(fraction);
            pollster::block_on(shown.prediction.explain(&options, &hear, &|| false)).unwrap();
        });
        let heard = heard.into_inner();
        assert!(heard.is_sorted() && heard.len() > 2 && heard.last() == Some(&1.), "{name}: {heard:?}");
        // Asked a third time, the caller no longer waits.
        let asked = std::cell::Cell::new(0);
        let part = steps(&|| {
            let stopped = || asked.replace(asked.get() + 1) >= 2;
            let error = pollster::block_on(shown.prediction.explain(&options, &|_| {}, &stopped)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Abort, "{name}");
        });
        assert!(part < whole, "{name}: {part} of {whole} steps");
    }
}

#[test]
fn what_can_not_be_compared_is_refused() {
    let (shown, _) = shown("gap");
    let kind = |options: ExplainOptions| shown.explain_with(options).err().map(|error| error.kind());
    let contrast = |class, other, method| ExplainOptions {
        method,
        target_class: Some(class),
        target: Target::Contrast(other),
        ..ExplainOptions::default()
    };
    assert_eq!(kind(contrast(1, 1, Method::GradCam)), Some(ErrorKind::Target));
    assert_eq!(kind(contrast(1, 99, Method::GradCam)), Some(ErrorKind::Target));
    assert_eq!(kind(contrast(1, 2, Method::FinerCam)), Some(ErrorKind::Target));
    let (single, _) = self::shown("single");
    assert_eq!(single.explain("finer-cam", 0, None).err().map(|error| error.kind()), Some(ErrorKind::Unsupported));
}

#[test]
fn a_dead_map_is_said_in_words_by_every_method() {
    // Without any input nothing is seen; whatever a method makes of that, it is a state with a sentence.
    for name in ["gap", "flatten"] {
        let fixture = Fixture::read(&format!("cams/{name}.safetensors"));
        let network = load(name, &bytes(&format!("cams/{name}.onnx")));
        for fill in [0., f32::NAN] {
            let dead = Shown::new(network.clone(), &vec![fill; fixture.tensor("input").values.len()]);
            for method in Method::ALL {
                let Ok(explanation) = dead.explain(method.name(), 0, None) else { continue };
                let heatmap = explanation.map.heatmap();
                assert!(heatmap.grid().values().iter().all(|value| (0. ..=1.).contains(value)), "{name}: {method:?}");
                if dead.prediction.scores().iter().any(|score| score.is_nan()) {
                    assert_ne!(explanation.map.state(), MapState::Normal, "{name}: {method:?}");
                }
            }
        }
    }
}
