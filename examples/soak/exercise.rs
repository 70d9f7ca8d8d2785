//! Everything that is done with a mutant: load, run, explain.

use std::rc::Rc;
use std::time::{Duration, Instant};

use gradcam_web::cam::{ExplainOptions, Method, Prediction};
use gradcam_web::{Device, Error, onnx};
use pollster::block_on;

use crate::mutate::Case;

/// How much arithmetic a mutant may take to be run: more is a matter of patience, and `signal` ends it.
const MOST_WORK: u64 = 1 << 28;

/// How long it is explained, by one method at least: where it begins changes from one mutant to the next, so that many mutants find
/// more in the same time than few that are followed to the end.
const MOST_TIME: Duration = Duration::from_millis(10);
const MOST_TIME_OF_SOME: Duration = Duration::from_millis(500);

/// What came of a case, in a word or two.
pub fn exercise(case: &Case, seed: u64) -> String {
    if let Some(inputs) = &case.inputs {
        return match block_on(onnx::evaluate(&case.bytes, inputs, &Device::cpu(), seed.is_multiple_of(2))) {
            Ok(_) => "single operators: computed".into(),
            Err(error) => format!("single operators: {}", error.kind().name()),
        };
    }
    let network = match onnx::load(&case.bytes, &Default::default(), &Device::cpu()) {
        Ok(network) => network,
        Err(error) => {
            assert!(!error.message().is_empty() && error.message().len() < 5000, "a sentence without bound");
            return format!("refused: {}", error.kind().name());
        }
    };
    if network.work() > MOST_WORK {
        return "loaded, and too large to be run here".into();
    }
    match explained(network, seed) {
        Ok(()) => "explained".into(),
        Err(error) => format!("loaded, then {}", error.kind().name()),
    }
}

fn explained(network: gradcam_web::network::Network, seed: u64) -> Result<(), Error> {
    let started = Instant::now();
    let input = *network.input();
    let count = input.channels * input.width as usize * input.height as usize;
    let values: Vec<f32> = (0..count).map(|i| (i * 7919 % 255) as f32 / 127.5 - 1.).collect();
    let network = Rc::new(network);
    let prediction = block_on(Prediction::new(network.clone(), &values))?;
    assert_eq!(prediction.scores().len(), network.classes());
    assert_eq!(prediction.probabilities().len(), network.classes());
    let layers = network.layers();
    let most = if seed.is_multiple_of(16) { MOST_TIME_OF_SOME } else { MOST_TIME };
    let stopped = || started.elapsed() > most;
    let methods: Vec<Method> = Method::ALL.into_iter().collect();
    // Every method at the default layer, and some of them at others: where they begin changes from mutant to mutant.
    for turn in 0..methods.len() + 3 {
        if stopped() {
            break;
        }
        let method = methods[(seed as usize + turn) % methods.len()];
        let layers = match turn.checked_sub(methods.len()) {
            Some(other) => vec![network.layer(&layers[(seed as usize + other) % layers.len()].name)?],
            None => vec![],
        };
        let options = ExplainOptions { method, layers, ..ExplainOptions::default() };
        // A method that the network can't serve says so.
        if let Ok(explanation) = block_on(prediction.explain(&options, &|_| {}, &stopped)) {
            let (width, height) = (explanation.map.width() as usize, explanation.map.height() as usize);
            assert_eq!(explanation.map.values().len(), width * height);
            assert!(explanation.map.heatmap().grid().values().iter().all(|value| (0. ..=1.).contains(value)));
        }
    }
    Ok(())
}
