//! Reading a model by its manifest.

use std::error::Error;
use std::fs;
use std::path::Path;

use gradcam_web::preprocess::Preprocess;
use serde_json::Value;

/// The model's bytes, and how its manifest says that pictures are prepared.
pub fn read(path: &Path) -> Result<(Vec<u8>, Preprocess), Box<dyn Error>> {
    let manifest: Value = serde_json::from_slice(&fs::read(path)?)?;
    let text = |value: &Value| value.as_str().map(str::to_owned).ok_or(format!("{}: not a text", path.display()));
    let wanted = &manifest["preprocess"];
    let number = |name: &str| wanted[name].as_u64().map(|n| n as u32).ok_or(format!("preprocess has no {name}"));
    let numbers = |name: &str| -> Result<Vec<f32>, Box<dyn Error>> {
        let list = wanted[name].as_array().ok_or(format!("preprocess has no {name}"))?;
        Ok(list.iter().filter_map(Value::as_f64).map(|n| n as f32).collect())
    };
    let preprocess = Preprocess {
        width: number("width")?,
        height: number("height")?,
        resize: text(&wanted["resize"])?.parse()?,
        mean: numbers("mean")?,
        std: numbers("std")?,
        order: text(&wanted["order"])?.parse()?,
    };
    let model = fs::read(path.with_file_name(text(&manifest["file"])?))?;
    Ok((model, preprocess))
}

/// The names of the model's classes, if its manifest gives a list of them.
#[allow(dead_code, reason = "not every example names classes")]
pub fn labels(path: &Path) -> Result<Vec<String>, Box<dyn Error>> {
    let manifest: Value = serde_json::from_slice(&fs::read(path)?)?;
    let Some(file) = manifest["labels"].as_str() else { return Ok(Vec::new()) };
    Ok(serde_json::from_slice(&fs::read(path.with_file_name(file))?)?)
}
