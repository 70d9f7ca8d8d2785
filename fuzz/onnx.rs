//! Models: each is loaded, run and explained by every method, or refused with one sentence.
//!
//! Bytes that are a model are changed as `examples/soak/mutate.rs` changes models; of most others the loader sees a few bytes.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

use mutate::{Case, Corpus};

#[path = "../examples/soak/exercise.rs"]
mod exercise;
#[allow(dead_code, reason = "libFuzzer has seeds of its own")]
#[path = "../examples/soak/mutate.rs"]
mod mutate;
#[allow(dead_code, reason = "the loader reads more than mutants change")]
#[path = "../src/onnx/proto.rs"]
mod proto;

static CORPUS: LazyLock<Corpus> = LazyLock::new(Corpus::read);

fuzz_target!(|data: &[u8]| {
    // The layers that are explained beside the default one, the same at each run.
    let seed = data.iter().map(|&byte| u64::from(byte)).sum();
    exercise::exercise(&Case::file(data.to_vec()), seed);
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let model = if seed.is_multiple_of(8) { None } else { CORPUS.mutated(&data[..size], seed.into()) };
    match model.filter(|model| model.len() <= max_size) {
        Some(model) => {
            data[..model.len()].copy_from_slice(&model);
            model.len()
        }
        None => fuzzer_mutate(data, size, max_size),
    }
});
