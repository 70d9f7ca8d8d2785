//! Explains a picture natively: `cargo run --release --example explain -- MODEL.json PICTURE [METHOD]`.
//!
//! Prints JSON: the scores, the explained class, the raw class activation map and the heatmap over the picture.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::rc::Rc;

use gradcam_web::Device;
use gradcam_web::cam::{ExplainOptions, Method, Prediction};
use gradcam_web::heatmap::Grid;
use gradcam_web::image::Image;
use gradcam_web::onnx;
use gradcam_web::preprocess::input_from_image;
use serde_json::{Value, json};

#[path = "shared/manifest.rs"]
mod manifest;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, picture, rest @ ..] = arguments.as_slice() else {
        return Err("usage: explain MODEL.json PICTURE [METHOD]".into());
    };
    let method = rest.first().map_or(Ok(Method::GradCam), |name| name.parse())?;
    let (bytes, preprocess) = manifest::read(Path::new(model))?;

    let network = Rc::new(onnx::load(&bytes, &Default::default(), &Device::cpu())?);
    network.check(&preprocess)?;
    let image = Image::decode(&fs::read(picture)?)?;
    let (input, placement) = input_from_image(&image, &preprocess, network.input().channels)?;
    let prediction = pollster::block_on(Prediction::new(network.clone(), network.input_tensor(&input)?))?;
    let options = ExplainOptions { method, ..ExplainOptions::default() };
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
