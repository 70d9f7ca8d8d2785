//! Single operators and short chains against ONNX's own node tests, PyTorch's exporter and onnxruntime.

use gradcam_web::onnx;

use crate::fixtures::Fixture;
use crate::networks::{device, difference};

/// Cases outside what image classifiers use, which are refused while loading, each with a reason.
const REFUSED: [&str; 4] =
    ["node_averagepool_1d_default", "node_maxpool_1d_default", "node_matmul_1d_3d", "node_matmul_4d_1d"];

/// Its published output is rounded to four decimals.
const ROUNDED: &str = "node_averagepool_2d_ceil_last_window_starts_on_pad";

#[test]
fn operators_give_the_published_outputs() {
    let fixture = Fixture::read("ops.safetensors");
    let device = device();
    let cases = fixture.fact("cases").as_object().unwrap();
    assert!(cases.len() >= 300, "only {} cases", cases.len());
    let mut failed = Vec::new();
    for (case, facts) in cases {
        // u8, read as numbers.
        let model: Vec<u8> = fixture.tensor(&format!("{case}/model")).values.iter().map(|&byte| byte as u8).collect();
        let names = |key: &str| facts[key].as_array().unwrap().iter().map(|name| name.as_str().unwrap());
        let inputs: Vec<_> = names("inputs")
            .map(|name| {
                let input = fixture.tensor(&format!("{case}/in/{name}"));
                (input.shape.clone(), input.values.clone())
            })
            .collect();
        let expected = fixture.tensor(&format!("{case}/out/{}", names("outputs").next().unwrap()));
        for (way, on_reference_engine) in [("", false), (" on burn", true)] {
            match pollster::block_on(onnx::evaluate(&model, &inputs, &device, on_reference_engine)) {
                Err(error) if REFUSED.contains(&case.as_str()) && error.message().contains("are accepted") => {}
                Err(error) => failed.push(format!("{case}{way}: {error}")),
                Ok((shape, _)) if shape != expected.shape => {
                    failed.push(format!("{case}{way}: shape {shape:?} instead of {:?}", expected.shape));
                }
                Ok((_, actual)) => {
                    let difference = difference(&actual, &expected.values);
                    if difference > if case == ROUNDED { 2e-4 } else { 1e-4 } {
                        failed.push(format!("{case}{way}: {difference} off, relative to the largest value"));
                    }
                }
            }
        }
    }
    assert!(failed.is_empty(), "{} of {} cases fail:\n{}", failed.len(), cases.len(), failed.join("\n"));
}
