//! The many forms in which classifiers are written down, against onnxruntime: each small network of `make_forms.py` loads,
//! gives the right scores or probabilities, by the kernels and step by step, and can be explained.

use std::rc::Rc;

use gradcam_web::cam::{ExplainOptions, Prediction};
use gradcam_web::onnx;

use crate::fixtures::Fixture;
use crate::networks::{device, difference, wait};

/// Forms with numbers that are none on the way: PyTorch's gradients there are none either, 0 times infinity.
const NOT_SMOOTH: [&str; 2] = ["guarded_attention_with_an_empty_row", "logarithms_without_numbers"];

/// Words in the names of forms whose functions jump: their slope is not what a step gains.
const JUMPS: [&str; 16] = [
    "and",
    "cast",
    "ceil",
    "equal",
    "floor",
    "mod",
    "nearest",
    "not",
    "or",
    "qoperator",
    "quantised",
    "round",
    "shrink",
    "sign",
    "thresholdedrelu",
    "xor",
];

/// What is wrong with a network of the fixture, if anything is.
fn fault(fixture: &Fixture, case: &str, are_probabilities: bool) -> Result<(), String> {
    let bytes = |name: &str| -> Vec<u8> { fixture.tensor(name).values.iter().map(|&byte| byte as u8).collect() };
    let model = bytes(&format!("{case}/model"));
    let input = &fixture.tensor(&format!("{case}/input"));
    let expected = &fixture.tensor(&format!("{case}/scores")).values;
    let size = (input.shape[2] as u32, input.shape[1] as u32);
    let options = onnx::LoadOptions { input_size: Some(size), ..Default::default() };
    let parts = match fixture.has(&format!("{case}/data")) {
        true => vec![(format!("{case}.onnx.data"), bytes(&format!("{case}/data")))],
        false => vec![],
    };
    let load =
        || onnx::load_parts(model.clone(), parts.clone(), &options, &device()).map_err(|error| error.to_string());
    let network = Rc::new(load()?);
    if network.input().channels != input.shape[0] {
        return Err(format!("{} channels instead of {}", network.input().channels, input.shape[0]));
    }
    if let Some(expected) = fixture.fact("layers").get(case) {
        let default = network.layers().iter().find(|layer| layer.name == network.default_layer());
        let found = default.map(|layer| serde_json::json!([layer.node, layer.shape]));
        if found.as_ref() != Some(expected) {
            return Err(format!("the default layer is {found:?} instead of {expected}"));
        }
    }
    let plain = wait(load()?.on_reference_engine().forward(&input.values));
    let prediction = wait(Prediction::new(network.clone(), &input.values));
    let found = if are_probabilities { prediction.probabilities() } else { prediction.scores().to_vec() };
    let off = difference(&found, expected);
    if off > 1e-4 {
        return Err(format!("{off} off, relative to the largest score: {found:?} instead of {expected:?}"));
    }
    let off = difference(prediction.scores(), &plain);
    if off > 1e-4 {
        return Err(format!("{off} between the kernels and step by step"));
    }
    if NOT_SMOOTH.contains(&case) {
        return Ok(());
    }
    let classes = prediction.scores().len();
    for at in 0..network.layers().len() {
        let layer = network.layer(&network.layers()[at].name).map_err(|error| error.to_string())?;
        let options = ExplainOptions { layers: vec![layer], ..ExplainOptions::default() };
        let explanation = wait(prediction.explain(&options, &|_| {}, &|| false));
        let cut = wait(network.forward_to(&input.values, layer));
        let activations = cut.activations();
        let is_finite = |values: &[f32]| values.iter().all(|value| value.is_finite());
        if is_finite(&activations) && !case.to_lowercase().split('_').any(|word| JUMPS.contains(&word)) {
            // The gradient along the activations against what the score gains where they are a little stronger.
            let (_, gradient) = wait(network.activations_and_gradients(&cut, classes - 1));
            let products = gradient.into_iter().zip(&activations).map(|(g, &a)| f64::from(g) * f64::from(a));
            let slope: f64 = products.sum();
            let score = |strength: f32| -> f64 {
                let stronger: Vec<f32> = activations.iter().map(|value| value * strength).collect();
                f64::from(wait(network.forward_from(&cut, &stronger))[classes - 1])
            };
            let gain = (score(1.002) - score(0.998)) / 0.004;
            if (slope - gain).abs() > 0.05 * gain.abs().max(slope.abs()) + 5e-3 {
                return Err(format!("at {} the gradient gives {slope}, a step {gain}", network.layers()[at].name));
            }
        }
        if is_finite(&activations) && !is_finite(explanation.map.values()) {
            return Err(format!("Grad-CAM at {} is not finite", network.layers()[at].name));
        }
        if network.layers()[at].name == network.default_layer()
            && explanation.map.values().iter().all(|&value| value == 0.)
        {
            return Err(format!("Grad-CAM at the default layer, {}, is zero everywhere", network.default_layer()));
        }
    }
    Ok(())
}

#[test]
fn each_form_gives_onnxruntimes_scores() {
    // Another file of the same layout can be looked at.
    let fixture = match std::env::var("FORMS") {
        Ok(path) => Fixture::read_at(path.as_ref()),
        Err(_) => Fixture::read("forms.safetensors"),
    };
    let names = |fact: &str| -> Vec<String> { serde_json::from_value(fixture.fact(fact).clone()).unwrap() };
    let (cases, probabilities) = (names("cases"), names("probabilities"));
    let faults: Vec<String> = cases
        .iter()
        .filter_map(|case| {
            let found = std::panic::catch_unwind(|| fault(&fixture, case, probabilities.contains(case)));
            let found = found.unwrap_or_else(|_| Err("panicked".into()));
            found.err().map(|reason| format!("{case}: {}", reason.chars().take(250).collect::<String>()))
        })
        .collect();
    assert!(faults.is_empty(), "{} of {} forms fail:\n{}", faults.len(), cases.len(), faults.join("\n"));
}
