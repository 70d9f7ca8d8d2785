//! The engine alone, without a browser: milliseconds of a forward pass and of a Grad-CAM.
//!
//! `native FILE RUNS` prints the median and the minimum of each; `cargo xtask bench --native` calls it.

use std::{env, fs, process::ExitCode, rc::Rc, time::Instant};

use gradcam_web::Device;
use gradcam_web::cam::{ExplainOptions, Method, Prediction};
use gradcam_web::network::Network;
use gradcam_web::onnx::{self, LoadOptions};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [file, runs] = arguments.as_slice() else {
        eprintln!("usage: native FILE RUNS");
        return ExitCode::FAILURE;
    };
    let runs = runs.parse().expect("RUNS is a number");
    let bytes = fs::read(file).expect("FILE can be read");
    let network = onnx::load(&bytes, &LoadOptions { input_size: None }, &Device::cpu());
    let network = Rc::new(network.expect("FILE is a classifier in ONNX"));

    let mut forward = Vec::new();
    let mut grad_cam = Vec::new();
    for _ in 0..runs {
        let start = Instant::now();
        let prediction = predict(&network);
        forward.push(start.elapsed().as_secs_f64() * 1000.);
        explain(&prediction);
        grad_cam.push(start.elapsed().as_secs_f64() * 1000.);
    }
    println!("forward {}, Grad-CAM {}", summary(forward), summary(grad_cam));
    ExitCode::SUCCESS
}

fn predict(network: &Rc<Network>) -> Prediction {
    let input = network.input();
    let length = input.channels * (input.width * input.height) as usize;
    // The formula's numbers in -1..1, which every contestant gets.
    let value = |i: usize| (f64::from((i as u32).wrapping_mul(2_654_435_761)) / 4_294_967_296. - 0.5) * 2.;
    let values: Vec<f32> = (0..length).map(|i| value(i) as f32).collect();
    let input = network.input_tensor(&values).expect("as long as the network's input");
    pollster::block_on(Prediction::new(Rc::clone(network), input)).expect("the CPU does not fail")
}

fn explain(prediction: &Prediction) {
    let options = ExplainOptions {
        method: Method::GradCam,
        layers: vec![prediction.network().default_layer_id()],
        ..ExplainOptions::default()
    };
    pollster::block_on(prediction.explain(&options, &|_| {}, &|| false))
        .expect("Grad-CAM is defined for every network");
}

fn summary(mut times: Vec<f64>) -> String {
    times.sort_by(f64::total_cmp);
    format!("{:.2} ms (minimum {:.2})", times[times.len() / 2], times[0])
}
