//! Explains a picture natively: `cargo run --release --example explain -- MODEL.json PICTURE [METHOD]`.
//!
//! Prints JSON: the scores, the explained class, the raw class activation map and the heatmap over the picture.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::rc::Rc;

use burn_tensor::Device;
use gradcam_web::cam::{ExplainOptions, Method, Prediction};
use gradcam_web::heatmap::Grid;
use gradcam_web::image::Image;
use gradcam_web::onnx;
use gradcam_web::preprocess::{Preprocess, input_from_image};
use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [manifest, picture, rest @ ..] = arguments.as_slice() else {
        return Err("usage: explain MODEL.json PICTURE [METHOD]".into());
    };
    let method = rest.first().map_or(Ok(Method::GradCam), |name| name.parse())?;
    let (model, preprocess) = read_manifest(Path::new(manifest))?;

    let network = Rc::new(onnx::load(&model, &Default::default(), &Device::flex())?);
    network.check(&preprocess)?;
    let image = Image::decode(&fs::read(picture)?)?;
    let (input, placement) = input_from_image(&image, &preprocess, network.input().channels)?;
    let prediction = pollster::block_on(Prediction::new(network.clone(), network.input_tensor(&input)?))?;
    let options = ExplainOptions { method, target_class: None, layers: vec![] };
    let explanation = pollster::block_on(prediction.explain(&options, &|_| {}, &|| false))?;

    let heatmap = explanation.map.heatmap().resampled(image.width(), image.height());
    let result = json!({
        "image": [image.width(), image.height()],
        "rect": placement.rect(),
        "scores": prediction.scores(),
        "targetClass": explanation.target_class,
        "map": grid(&explanation.map),
        "heatmap": grid(heatmap.grid()),
    });
    println!("{result}");
    Ok(())
}

fn grid(grid: &Grid) -> Value {
    json!({ "width": grid.width(), "height": grid.height(), "values": grid.values() })
}

/// The model's bytes, and how its manifest says that pictures are prepared.
fn read_manifest(path: &Path) -> Result<(Vec<u8>, Preprocess), Box<dyn Error>> {
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
