//! Whole networks against onnxruntime's outputs, and files that are to be refused.

use std::fs;
use std::path::PathBuf;
use std::rc::Rc;

use gradcam_web::Device;
use gradcam_web::cam::{ExplainOptions, Method, Prediction};
use gradcam_web::network::Network;
use gradcam_web::{Error, ErrorKind, onnx};

use crate::fixtures::{Fixture, assert_close, bytes, shared};

/// Where the tests compute: on the CPU, or with the feature `gpu` on a graphics card if `GRADCAM_DEVICE` is `gpu`.
pub fn device() -> Device {
    #[cfg(feature = "gpu")]
    if std::env::var("GRADCAM_DEVICE").is_ok_and(|wanted| wanted == "gpu") {
        return wait(Device::gpu());
    }
    Device::cpu()
}

/// What a device gives in the end.
#[track_caller]
pub fn wait<T>(result: impl Future<Output = gradcam_web::Result<T>>) -> T {
    pollster::block_on(result).unwrap_or_else(|error| panic!("{error}"))
}

/// The network in an ONNX file.
#[track_caller]
pub fn load(file: &str, bytes: &[u8]) -> Rc<Network> {
    let network = onnx::load(bytes, &onnx::LoadOptions::default(), &device());
    Rc::new(network.unwrap_or_else(|error| panic!("{file}: {error}")))
}

/// Why an ONNX file is refused.
#[track_caller]
pub fn refusal(file: &str, bytes: &[u8]) -> Error {
    let network = onnx::load(bytes, &onnx::LoadOptions::default(), &device());
    network.err().unwrap_or_else(|| panic!("{file} was not refused"))
}

/// The logits of one input.
#[track_caller]
pub fn logits(network: &Network, input: &[f32]) -> Vec<f32> {
    wait(network.forward(input))
}

/// The largest difference, relative to the largest expected number; infinite where lengths differ or a number is NaN.
pub fn difference(actual: &[f32], expected: &[f32]) -> f32 {
    if actual.len() != expected.len() {
        return f32::INFINITY;
    }
    let largest = expected.iter().fold(0f32, |largest, value| largest.max(value.abs()));
    let difference = actual
        .iter()
        .zip(expected)
        .map(|(a, b)| (a - b).abs())
        .fold(0f32, |worst, d| if d.is_nan() { f32::INFINITY } else { worst.max(d) });
    // Zeros are expected exactly.
    if difference == 0. { 0. } else { difference / largest }
}

/// The input of the reference logits: -1..1, from a multiplicative hash of the index.
pub fn formula_input(length: usize) -> Vec<f32> {
    (0..length as u64)
        .map(|i| {
            let hash = (i * 2_654_435_761) % (1 << 32);
            ((hash as f64 / (1u64 << 32) as f64 - 0.5) * 2.) as f32
        })
        .collect()
}

/// The numbers of a file of little-endian f32.
fn floats(path: PathBuf) -> Vec<f32> {
    fs::read(path).unwrap().as_chunks().0.iter().map(|&number| f32::from_le_bytes(number)).collect()
}

fn softmax(scores: &[f32]) -> Vec<f32> {
    let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = scores.iter().map(|score| f64::from(score - largest).exp()).sum();
    scores.iter().map(|score| (f64::from(score - largest).exp() / sum) as f32).collect()
}

/// `explain` with one method, for its error.
fn explanation_error(network: &Rc<Network>, input: &[f32], method: &str) -> Option<Error> {
    let method: Method = method.parse().unwrap();
    pollster::block_on(async {
        let prediction = Prediction::new(network.clone(), input).await.unwrap();
        let options = ExplainOptions { method, ..ExplainOptions::default() };
        prediction.explain(&options, &|_| {}, &|| false).await.err()
    })
}

#[track_caller]
fn check_trained(name: &str, pixels: usize) {
    let Some(models) = shared("models") else { return };
    let network = load(name, &fs::read(models.join(format!("{name}.onnx"))).unwrap());
    let expected = floats(models.join(format!("refs/{name}.logits.f32")));
    assert_close(name, &logits(&network, &formula_input(pixels)), &expected, 1e-4);
}

#[test]
fn squeezenet_with_half_precision_weights_gives_the_logits_of_onnxruntime() {
    check_trained("squeezenet1_1_torchvision_fp16w", 3 * 224 * 224);
}

#[test]
fn mobilenet_v2_with_8_bit_weights_gives_the_logits_of_onnxruntime() {
    check_trained("mobilenet_v2_1.0_224_w8", 3 * 224 * 224);
}

#[test]
fn mobilenet_v1_gives_the_logits_of_onnxruntime() {
    check_trained("mobilenet_v1_0.25_224", 3 * 224 * 224);
}

#[test]
fn tiny_darknet_gives_the_logits_of_onnxruntime() {
    check_trained("tiny_darknet", 3 * 224 * 224);
}

#[test]
fn resnet20_gives_the_logits_of_onnxruntime() {
    check_trained("resnet20_cifar10", 3 * 32 * 32);
}

#[test]
fn a_picture_of_a_megapixel_gives_the_logits_of_onnxruntime() {
    let network = load("large.onnx", &bytes("large.onnx"));
    let found = logits(&network, &formula_input(3 * 1000 * 1100));
    assert_close("large", &found, &Fixture::read("large.safetensors").tensor("logits").values, 1e-4);
}

/// A public graph: its output, and three of the values on the way (the weights are constant, so the output alone says
/// little). All but DenseNet end in a softmax.
#[track_caller]
fn check_light(name: &str) {
    let Some(models) = shared("models/light") else { return };
    let fixture = Fixture::read("light.safetensors");
    let network = load(name, &fs::read(models.join(format!("light_{name}.onnx"))).unwrap());
    let shape = fixture.fact("inputs")[name]["shape"].as_array().unwrap();
    let length: u64 = shape.iter().map(|side| side.as_u64().unwrap()).product();
    let input: Vec<f32> = (0..length).map(|i| (i as f64 / length as f64) as f32).collect();

    let scores = logits(&network, &input);
    let output = if name == "densenet121" { scores } else { softmax(&scores) };
    assert_close(name, &output, &fixture.tensor(name).values, 1e-4);

    let (means, deviations) = (fixture.tensor(&format!("{name}/mean")), fixture.tensor(&format!("{name}/deviation")));
    let values = fixture.fact("values")[name].as_array().unwrap();
    let layers: Vec<_> = values
        .iter()
        .enumerate()
        .filter_map(|(at, value)| {
            let shape = value[1].as_array().unwrap();
            let map = shape.len() == 4 && shape[2].as_u64() > Some(1);
            let value = value[0].as_str().unwrap();
            map.then(|| network.layer(value).ok()).flatten().map(|layer| (at, value, layer))
        })
        .collect();
    assert!(layers.len() >= 5, "{name}: only {} layers are known by their values' names", layers.len());
    for part in [1, 2, 4] {
        let (at, value, layer) = layers[layers.len() * part / 4 - 1];
        let activations = wait(network.forward_to(&input, layer)).activations();
        let count = activations.len() as f64;
        let mean = activations.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
        let variance = activations.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / count;
        assert_close(
            &format!("{name} {value}: mean and deviation"),
            &[mean as f32, variance.sqrt() as f32],
            &[means.values[at], deviations.values[at]],
            1e-4,
        );
    }
}

#[test]
fn alexnet_gives_its_published_output() {
    check_light("bvlc_alexnet");
}

#[test]
fn densenet_121_gives_its_published_output() {
    check_light("densenet121");
}

#[test]
fn inception_v1_gives_its_published_output() {
    check_light("inception_v1");
}

#[test]
fn inception_v2_gives_its_published_output() {
    check_light("inception_v2");
}

#[test]
fn resnet_50_gives_its_published_output() {
    check_light("resnet50");
}

#[test]
fn shufflenet_gives_its_published_output() {
    check_light("shufflenet");
}

#[test]
fn squeezenet_gives_its_published_output() {
    check_light("squeezenet");
}

#[test]
fn vgg_19_gives_its_published_output() {
    check_light("vgg19");
}

#[test]
fn zfnet_512_gives_its_published_output() {
    check_light("zfnet512");
}

/// onnxruntime 1.32's output for the formula input.
const MNIST_CNTK: [f32; 10] =
    [-0.488616, 0.50111, 0.003579, -0.348513, 0.501547, 0.375869, -0.269912, 0.172104, -0.361722, -0.16174];
/// The same; the file ends in LogSoftmax.
const MNIST_PYTORCH: [f32; 10] =
    [-6.997752, -8.219102, -6.821638, -7.13016, -6.196804, -7.65834, -6.953072, -8.597356, -0.01416, -4.91475];

#[test]
fn a_network_of_opset_8_with_auto_pad_gives_the_logits_of_onnxruntime_and_has_no_cam() {
    let Some(models) = shared("models") else { return };
    let network = load("mnist_cntk", &fs::read(models.join("mnist_cntk.onnx")).unwrap());
    let input = formula_input(28 * 28);
    assert_close("mnist_cntk", &logits(&network, &input), &MNIST_CNTK, 1e-4);
    let error = explanation_error(&network, &input, "cam").expect("a flattening head has no CAM");
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert_eq!(explanation_error(&network, &input, "grad-cam"), None);
}

#[test]
fn scores_are_those_before_a_trailing_log_softmax_and_a_flattening_head_has_no_cam() {
    let Some(models) = shared("models") else { return };
    let network = load("mnist_pytorch_burn", &fs::read(models.join("mnist_pytorch_burn.onnx")).unwrap());
    let input = formula_input(28 * 28);
    let probabilities = softmax(&logits(&network, &input));
    let log_softmax: Vec<f32> = probabilities.iter().map(|probability| probability.ln()).collect();
    assert_close("mnist_pytorch_burn", &log_softmax, &MNIST_PYTORCH, 1e-4);
    let scores = logits(&network, &input);
    assert!(difference(&scores, &MNIST_PYTORCH) > 1e-3, "these are the logarithms: {scores:?}");
    let error = explanation_error(&network, &input, "cam").expect("a flattening head has no CAM");
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert_eq!(explanation_error(&network, &input, "grad-cam"), None);
}

#[test]
fn scores_are_found_beside_features_labels_and_probabilities() {
    let fixture = Fixture::read("outputs.safetensors");
    let cases = fixture.fact("cases").as_array().unwrap();
    assert_eq!(cases.len(), 12);
    for case in cases.iter().map(|case| case.as_str().unwrap()) {
        let file: Vec<u8> = fixture.tensor(&format!("{case}/model")).values.iter().map(|&byte| byte as u8).collect();
        let network = load(case, &file);
        let input = &fixture.tensor("input").values;
        assert_close(case, &logits(&network, input), &fixture.tensor(&format!("{case}/scores")).values, 1e-5);
        assert_eq!(network.default_layer(), "activations", "{case}");
        assert_eq!(explanation_error(&network, input, "cam"), None, "{case}");
    }
}

/// onnxruntime 1.32's logits, without optimisation: the largest, the smallest and the first few. Multiples of the output's
/// quantisation step.
const QUANTISED: [(usize, f32); 16] = [
    (446, 7.4720),
    (623, 7.4720),
    (632, 7.4720),
    (588, 7.2003),
    (549, 6.6569),
    (533, 6.3851),
    (418, 6.2493),
    (911, 6.2493),
    (690, -7.4720),
    (476, -5.8417),
    (576, -5.7059),
    (345, -5.7059),
    (0, -1.4944),
    (1, -1.0868),
    (2, -2.5812),
    (3, -2.8529),
];
const QUANTISATION_STEP: f32 = 0.135_853_77;

#[test]
fn a_network_with_quantised_activations_is_as_near_to_onnxruntime_as_onnxruntime_to_itself() {
    let Some(models) = shared("models") else { return };
    let network = load("mobilenetv2_quant_static", &fs::read(models.join("mobilenetv2_quant_static.onnx")).unwrap());
    let scores = logits(&network, &formula_input(3 * 224 * 224));
    assert_eq!(scores.len(), 1000);
    for (class, expected) in QUANTISED {
        // A sum on the way that rounds to the other side moves the output by whole steps: onnxruntime's own optimisation
        // levels (disabled or basic against extended or all) differ by up to seven on this file and input.
        let off = (scores[class] - expected).abs();
        assert!(off <= 7.01 * QUANTISATION_STEP, "class {class}: {} instead of {expected}", scores[class]);
    }
}

#[test]
fn a_network_that_makes_pictures_is_refused_as_no_classifier() {
    let Some(models) = shared("models") else { return };
    let file = "super_resolution_10.onnx";
    let error = refusal(file, &fs::read(models.join(file)).unwrap());
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(error.message().contains("classifier"), "{error}");
}

#[test]
fn numbers_that_are_no_whole_images_are_refused() {
    let fixture = Fixture::read("cams/residual.safetensors");
    let input = &fixture.tensor("input").values;
    let network = load("residual.onnx", &bytes("cams/residual.onnx"));
    let twice = input.repeat(2);
    assert_close("two images", &wait(network.forward(&twice)), &logits(&network, input).repeat(2), 1e-5);

    let refused = |error: Option<Error>| {
        let error = error.expect("it is refused");
        assert_eq!(error.kind(), ErrorKind::Image, "{error}");
        error.message().to_owned()
    };
    let spec = network.input();
    let shape = format!("[1, {}, {}, {}]", spec.channels, spec.height, spec.width);
    for wrong in [&input[1..], &[]] {
        let message = refused(pollster::block_on(network.forward(wrong)).err());
        assert!(message.contains(&format!("{} numbers", wrong.len())) && message.contains(&shape), "{message}");
    }
    let message = refused(pollster::block_on(Prediction::new(network.clone(), &twice)).err());
    assert!(message.contains(&shape), "{message}");
    let cut = wait(network.forward_to(&twice, network.default_layer_id()));
    let message = refused(pollster::block_on(network.forward_from(&cut, &cut.activations().repeat(2))).err());
    assert!(message.contains("of 4 images; those of 2"), "{message}");
}

#[test]
fn damaged_files_give_an_error_or_a_network() {
    for file in ["cams/gap.onnx", "cams/squeeze.onnx", "cams/residual_dynamo.onnx"] {
        let whole = bytes(file);
        let load = |bytes: &[u8]| onnx::load(bytes, &onnx::LoadOptions::default(), &device());
        for part in 0..100 {
            let _ = load(&whole[..whole.len() * part / 100]);
        }
        // Flips all over the file, more of them in the first kilobytes, where the nodes and names are.
        let mut random = 1u64;
        for round in 0..400 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let reach = if round % 2 == 0 { whole.len() } else { whole.len().min(4096) };
            let mut damaged = whole.clone();
            damaged[(random >> 33) as usize % reach] ^= 1 << ((random >> 20) % 8);
            let _ = load(&damaged);
        }
    }
}

#[test]
fn files_that_are_no_model_are_refused() {
    for (what, bytes) in [
        ("nothing", Vec::new()),
        ("text", b"<!doctype html><title>404 Not Found</title>".to_vec()),
        ("a picture", bytes("images/photo.png")),
    ] {
        assert_eq!(refusal(what, &bytes).kind(), ErrorKind::Model, "{what}");
    }
}

#[test]
fn all_nodes_whose_operators_are_not_there_are_listed() {
    // `op_type` is field 4 of a node, and its tag comes before its length: names that contain Relu stay.
    let mut file = bytes("cams/gap.onnx");
    let relus: Vec<usize> = (0..file.len() - 6).filter(|&at| file[at..].starts_with(b"\x22\x04Relu")).collect();
    assert_eq!(relus.len(), 3);
    for at in relus {
        file[at + 2..at + 6].copy_from_slice(b"Rexu");
    }
    let error = refusal("gap.onnx with an unknown operator", &file);
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    for part in ["Rexu", "/features/features.1/Relu", "/features/features.3/Relu", "/features/features.5/Relu"] {
        assert!(error.message().contains(part), "no `{part}` in: {error}");
    }
}

/// The fast way and burn give the same at every layer, in the scores from there and in the gradients of the default
/// layer, for the networks in a folder.
#[track_caller]
fn check_both_ways(folder: &std::path::Path, at_least: usize) {
    let mut compared = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let Some(file) = path.file_name().and_then(|name| name.to_str()).filter(|name| name.ends_with(".onnx")) else {
            continue;
        };
        // Where a sum is rounded to a level, ways that differ in the last digit differ by a level.
        if file == "super_resolution_10.onnx" || file == "mobilenetv2_quant_static.onnx" {
            continue;
        }
        let read = || onnx::load(&fs::read(&path).unwrap(), &onnx::LoadOptions::default(), &device()).unwrap();
        let (fast, plain) = (read(), read().on_reference_engine());
        let spec = *fast.input();
        let input = formula_input(spec.channels * spec.width as usize * spec.height as usize);
        // Large networks at some of their layers.
        let step = fast.layers().len().div_ceil(12);
        for layer in fast.layers().iter().rev().step_by(step) {
            let id = fast.layer(&layer.name).unwrap();
            let (cut, expected) = (wait(fast.forward_to(&input, id)), wait(plain.forward_to(&input, id)));
            let name = format!("{file} {}", layer.name);
            assert_close(&name, &cut.activations(), &expected.activations(), 1e-4);
            let scores = wait(fast.forward_from(&cut, &cut.activations()));
            assert_close(&format!("{name}: scores"), &scores, &wait(plain.forward(&input)), 1e-4);
            compared += 1;
        }
        let gradients = |network: &Network, layer: &str, class| {
            let cut = wait(network.forward_to(&input, network.layer(layer).unwrap()));
            wait(network.activations_and_gradients(&cut, class)).1
        };
        let last = fast.classes() - 1;
        let names: Vec<&str> = fast.layers().iter().map(|layer| layer.name.as_str()).collect();
        let mut at = vec![(fast.default_layer(), 0), (fast.default_layer(), last)];
        match names.len() {
            0..25 => at.extend(names.iter().map(|&name| (name, last))),
            // Each takes seconds.
            count => at.extend([(names[count / 2], 0), (names[count / 5], last)]),
        }
        for (layer, class) in at {
            let (found, expected) = (gradients(&fast, layer, class), gradients(&plain, layer, class));
            assert_close(&format!("{file}: gradients of class {class} at {layer}"), &found, &expected, 1e-4);
        }
        if names.len() < 25 {
            let [fast, plain] = [fast, plain].map(|network| {
                let prediction = wait(Prediction::new(Rc::new(network), &input));
                let options = ExplainOptions { method: Method::FullGrad, ..ExplainOptions::default() };
                let map = wait(prediction.explain(&options, &|_| {}, &|| false)).map;
                (map.values().to_vec(), wait(prediction.guided_backpropagation(Some(0))))
            });
            assert_close(&format!("{file}: FullGrad"), &fast.0, &plain.0, 1e-4);
            assert_close(&format!("{file}: guided backpropagation"), &fast.1, &plain.1, 1e-4);
        }
    }
    assert!(compared >= at_least, "only {compared} layers compared");
}

#[test]
fn small_networks_give_on_both_ways_the_same() {
    check_both_ways(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/cams"), 20);
}

#[test]
fn trained_networks_give_on_both_ways_the_same() {
    let Some(models) = shared("models") else { return };
    check_both_ways(&models, 50);
}
