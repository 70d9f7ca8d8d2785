//! The engine alone, without a browser: milliseconds of a forward pass, of a Grad-CAM, and of the ways back.
//!
//! `native FILE RUNS` prints the median and the minimum of each; `cargo xtask bench --native` calls it. The ways back are
//! those of another class of the same image, at a middle layer (half of them follow) and an early one (four fifths follow).

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
    let network = onnx::load(&bytes, &LoadOptions::default(), &Device::cpu());
    let network = Rc::new(network.expect("FILE is a classifier in ONNX"));

    let mut forward = Vec::new();
    let mut grad_cam = Vec::new();
    let milliseconds = |start: Instant| start.elapsed().as_secs_f64() * 1000.;
    for _ in 0..runs {
        let start = Instant::now();
        let prediction = predict(&network);
        forward.push(milliseconds(start));
        explain(&prediction, Method::GradCam, network.default_layer(), None);
        grad_cam.push(milliseconds(start));
    }
    let own = forward.iter().copied().fold(f64::INFINITY, f64::min);
    println!("forward {}, Grad-CAM {}", summary(forward), summary(grad_cam));

    let names: Vec<&str> = network.layers().iter().map(|layer| layer.name.as_str()).collect();
    let (middle, early) = (names[names.len() / 2], names[names.len() / 5]);
    let prediction = predict(&network);
    for (what, method, layer) in [
        ("Grad-CAM in the middle", Method::GradCam, middle),
        ("Grad-CAM early", Method::GradCam, early),
        ("FullGrad", Method::FullGrad, middle),
        ("guided backpropagation", Method::GuidedBackprop, middle),
    ] {
        // The first run compiles, and cuts at the layer.
        explain(&prediction, method, layer, None);
        let mut times = Vec::new();
        for run in 0..runs {
            let start = Instant::now();
            explain(&prediction, method, layer, Some(run % network.classes()));
            times.push(milliseconds(start));
        }
        let least = times.iter().copied().fold(f64::INFINITY, f64::min);
        println!("{what} {}: {:.2} of a forward pass", summary(times), least / own);
    }
    ExitCode::SUCCESS
}

fn predict(network: &Rc<Network>) -> Prediction {
    let input = network.input();
    let length = input.channels * (input.width * input.height) as usize;
    // The formula's numbers in -1..1, which every contestant gets.
    let value = |i: usize| (f64::from((i as u32).wrapping_mul(2_654_435_761)) / 4_294_967_296. - 0.5) * 2.;
    let values: Vec<f32> = (0..length).map(|i| value(i) as f32).collect();
    pollster::block_on(Prediction::new(Rc::clone(network), &values)).expect("as long as the network's input")
}

fn explain(prediction: &Prediction, method: Method, layer: &str, target_class: Option<usize>) {
    let layer = prediction.network().layer(layer).expect("it is one of the network's");
    let options = ExplainOptions { method, target_class, layers: vec![layer], ..ExplainOptions::default() };
    pollster::block_on(prediction.explain(&options, &|_| {}, &|| false))
        .expect("these methods are defined for every network");
}

fn summary(mut times: Vec<f64>) -> String {
    times.sort_by(f64::total_cmp);
    format!("{:.2} ms (minimum {:.2})", times[times.len() / 2], times[0])
}
