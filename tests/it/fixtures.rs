//! What the tests read: the safetensors files that `tests/data/make_*.py` wrote, and what lies beside the project.
#![allow(dead_code, reason = "which parts are used depends on the features that are on")]

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use gradcam_web::preprocess::Preprocess;
use safetensors::tensor::{Dtype, SafeTensors};
use serde_json::Value;

/// A file of reference values.
pub struct Fixture {
    file: String,
    tensors: BTreeMap<String, Tensor>,
    facts: HashMap<String, Value>,
}

/// Numbers of any type, as f32.
pub struct Tensor {
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

impl Fixture {
    /// Reads `tests/data/FILE`.
    pub fn read(file: &str) -> Fixture {
        Fixture::parse(file, &bytes(file))
    }

    /// Reads a safetensors file from elsewhere.
    pub fn read_at(path: &Path) -> Fixture {
        let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Fixture::parse(&path.to_string_lossy(), &bytes)
    }

    fn parse(file: &str, bytes: &[u8]) -> Fixture {
        let tensors = SafeTensors::deserialize(bytes).unwrap_or_else(|error| panic!("{file}: {error}"));
        let (_, header) = SafeTensors::read_metadata(bytes).unwrap();
        let facts = header.metadata().iter().flatten();
        Fixture {
            file: file.into(),
            tensors: tensors
                .tensors()
                .into_iter()
                .map(|(name, view)| {
                    (name, Tensor { shape: view.shape().to_vec(), values: numbers(view.dtype(), view.data()) })
                })
                .collect(),
            facts: facts.map(|(name, text)| (name.clone(), serde_json::from_str(text).unwrap())).collect(),
        }
    }

    /// The tensor of that name.
    #[track_caller]
    pub fn tensor(&self, name: &str) -> &Tensor {
        self.tensors.get(name).unwrap_or_else(|| panic!("{}: no tensor `{name}`", self.file))
    }

    /// The names of all tensors, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Whether there is a tensor of that name.
    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The metadata of that name.
    #[track_caller]
    pub fn fact(&self, name: &str) -> &Value {
        self.facts.get(name).unwrap_or_else(|| panic!("{}: no metadata `{name}`", self.file))
    }
}

fn numbers(dtype: Dtype, data: &[u8]) -> Vec<f32> {
    fn each<const N: usize>(data: &[u8], number: impl Fn([u8; N]) -> f32) -> Vec<f32> {
        data.as_chunks::<N>().0.iter().map(|&bytes| number(bytes)).collect()
    }
    match dtype {
        Dtype::F32 => each(data, f32::from_le_bytes),
        Dtype::F64 => each(data, |bytes| f64::from_le_bytes(bytes) as f32),
        Dtype::I64 => each(data, |bytes| i64::from_le_bytes(bytes) as f32),
        Dtype::I32 => each(data, |bytes| i32::from_le_bytes(bytes) as f32),
        Dtype::U8 | Dtype::BOOL => each(data, |[byte]| f32::from(byte)),
        other => panic!("no fixture has {other:?}"),
    }
}

/// Where the project lies.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The bytes of `tests/data/FILE`.
pub fn bytes(file: &str) -> Vec<u8> {
    let path = root().join("tests/data").join(file);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The path of something that stands beside the project, or `None` with a word on why the test does nothing.
pub fn shared(path: &str) -> Option<PathBuf> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared");
    if !root.exists() {
        println!("skipped: needs ../shared");
        return None;
    }
    Some(root.join(path))
}

/// The part of a model's manifest that says how pictures become its input.
pub fn manifest_preprocess(manifest: &Value) -> Preprocess {
    let numbers = |name: &str| {
        let list = manifest["preprocess"][name].as_array().unwrap();
        list.iter().map(|number| number.as_f64().unwrap() as f32).collect()
    };
    let side = |name: &str| manifest["preprocess"][name].as_u64().unwrap() as u32;
    Preprocess {
        width: side("width"),
        height: side("height"),
        resize: manifest["preprocess"]["resize"].as_str().unwrap().parse().unwrap(),
        mean: numbers("mean"),
        std: numbers("std"),
        order: manifest["preprocess"]["order"].as_str().unwrap().parse().unwrap(),
    }
}

/// Compares numbers; `tolerance` is relative to the largest expected one.
#[track_caller]
pub fn assert_close(what: &str, actual: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(actual.len(), expected.len(), "{what}: number of values");
    let largest = expected.iter().fold(0f32, |largest, value| largest.max(value.abs()));
    let (at, difference) = actual
        .iter()
        .zip(expected)
        .map(|(a, b)| (a - b).abs())
        .enumerate()
        .fold((0, 0f32), |worst, (at, d)| if d > worst.1 || d.is_nan() { (at, d) } else { worst });
    assert!(
        difference <= tolerance * largest,
        "{what}: value {at} is {} instead of {}: {difference} off, {} relative to the largest ({largest})",
        actual[at],
        expected[at],
        difference / largest,
    );
}
