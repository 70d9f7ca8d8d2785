//! Loads ONNX files and prints, for each, one line of JSON: the scores of the formula input, the default layer, its
//! activations and its raw Grad-CAM map, or why the file is refused. `tests/data/zoo.py` compares that with PyTorch and onnxruntime.

use std::rc::Rc;

use gradcam_web::cam::{ExplainOptions, Prediction};
use gradcam_web::{Device, onnx};
use serde_json::{Value, json};

/// The input of the reference scores: -1..1, from a multiplicative hash of the index.
fn formula_input(length: usize) -> Vec<f32> {
    let number = |i: u64| (((i * 2_654_435_761) % (1 << 32)) as f64 / (1u64 << 32) as f64 - 0.5) * 2.;
    (0..length as u64).map(|i| number(i) as f32).collect()
}

fn explained(path: &str) -> gradcam_web::Result<Value> {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let network = Rc::new(onnx::load(&bytes, &onnx::LoadOptions::default(), &Device::cpu())?);
    let spec = network.input();
    let input = formula_input(spec.channels * spec.width as usize * spec.height as usize);
    pollster::block_on(async {
        let prediction = Prediction::new(network.clone(), &input).await?;
        let explanation = prediction.explain(&ExplainOptions::default(), &|_| {}, &|| false).await?;
        let cut = network.forward_to(&input, network.default_layer_id()).await?;
        let activations: Vec<f32> = cut.activations();
        let layer = network.layers().iter().find(|layer| layer.name == network.default_layer());
        Ok(json!({
            "file": path,
            "scores": prediction.scores(),
            "layer": network.default_layer(),
            "shape": layer.map(|layer| layer.shape),
            "kind": layer.map(|layer| layer.kind.name()),
            "activations": activations,
            "class": explanation.target_class,
            "map": explanation.map.values(),
        }))
    })
}

fn main() {
    for path in std::env::args().skip(1) {
        let found = explained(&path).unwrap_or_else(|error| json!({ "file": path, "error": error.to_string() }));
        println!("{found}");
    }
}
