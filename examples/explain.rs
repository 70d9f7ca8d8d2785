//! A heatmap without a browser, for places that keep no script:
//! `cargo run --release --example explain -- MODEL IMAGE -o heat.png [--method NAME] [--class INDEX or LABEL] [--layer NAME]
//! [--colormap NAME] [--opacity 0 to 1]`.
//!
//! MODEL is a manifest (`model.json`) or an ONNX file, whose pictures are then prepared as for ImageNet. Without `-o` the scores,
//! the raw class activation map and the heatmap over the image are printed as JSON.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::rc::Rc;

use gradcam_web::Device;
use gradcam_web::cam::{ExplainOptions, Method, Prediction};
use gradcam_web::heatmap::Grid;
use gradcam_web::image::Image;
use gradcam_web::onnx;
use gradcam_web::overlay::{self, Style};
use gradcam_web::preprocess::{Preprocess, input_from_image};
use image::{ExtendedColorType, ImageEncoder, codecs::png::PngEncoder};
use serde_json::{Value, json};

#[path = "shared/manifest.rs"]
mod manifest;

const USAGE: &str = "usage: explain MODEL IMAGE [-o heat.png] [--method NAME] [--class INDEX or LABEL] [--layer NAME] \
                     [--colormap NAME] [--opacity 0 to 1]";

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// What the command line asks for.
#[derive(Default)]
struct Asked {
    files: Vec<String>,
    output: Option<String>,
    method: Option<String>,
    class: Option<String>,
    layer: Option<String>,
    colormap: Option<String>,
    opacity: Option<String>,
}

impl Asked {
    fn read() -> Result<Asked> {
        let mut asked = Asked::default();
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let place = match argument.as_str() {
                "-o" => &mut asked.output,
                "--method" => &mut asked.method,
                "--class" => &mut asked.class,
                "--layer" => &mut asked.layer,
                "--colormap" => &mut asked.colormap,
                "--opacity" => &mut asked.opacity,
                name if name.starts_with('-') => return Err(format!("there is no option {name}\n{USAGE}").into()),
                _ => {
                    asked.files.push(argument);
                    continue;
                }
            };
            *place = Some(arguments.next().ok_or_else(|| format!("{argument} wants a value\n{USAGE}"))?);
        }
        Ok(asked)
    }
}

fn main() {
    if let Err(error) = explain() {
        eprintln!("{error}");
        std::process::exit(1);
    }
}

fn explain() -> Result<()> {
    let asked = Asked::read()?;
    let [model, picture] = asked.files.as_slice() else { return Err(USAGE.into()) };
    let is_manifest = Path::new(model).extension().is_some_and(|extension| extension == "json");
    let (bytes, given) = if is_manifest {
        let (bytes, preprocess) = manifest::read(Path::new(model))?;
        (bytes, Some(preprocess))
    } else {
        (read(model)?, None)
    };

    let network = Rc::new(onnx::load(&bytes, &Default::default(), &Device::cpu())?);
    let preprocess = given.unwrap_or_else(|| {
        let (width, height) = (network.input().width, network.input().height);
        let guess = Preprocess { width, height, ..Preprocess::default() };
        eprintln!(
            "{model} is no manifest: the picture is prepared as for ImageNet (mean {:?}, std {:?}, {:?})",
            guess.mean, guess.std, guess.resize
        );
        guess
    });
    network.check(&preprocess)?;
    let image = Image::decode(&read(picture)?)?;
    let (input, placement) = input_from_image(&image, &preprocess, network.input().channels)?;
    let prediction = pollster::block_on(Prediction::new(network.clone(), &input))?;

    let labels = if is_manifest { manifest::labels(Path::new(model))? } else { Vec::new() };
    let options = ExplainOptions {
        method: asked.method.as_deref().map_or(Ok(Method::GradCam), str::parse)?,
        target_class: asked.class.as_deref().map(|class| class_of(class, &labels)).transpose()?,
        layers: asked.layer.iter().map(|name| network.layer(name)).collect::<std::result::Result<_, _>>()?,
        ..ExplainOptions::default()
    };
    let explanation = pollster::block_on(prediction.explain(&options, &|_| {}, &|| false))?;
    let heatmap = explanation.map.heatmap();

    let Some(output) = asked.output else {
        let result = json!({
            "image": [image.width(), image.height()],
            "rect": placement.rect(),
            "scores": prediction.scores(),
            "targetClass": explanation.target_class,
            "map": grid(&explanation.map),
            "heatmap": grid(heatmap.resampled(image.width(), image.height()).grid()),
        });
        println!("{result}");
        return Ok(());
    };
    let style = Style::new(
        asked.colormap.as_deref().map_or(Ok(Default::default()), str::parse)?,
        asked.opacity.as_deref().map_or(Ok(0.5), |text| {
            text.parse().map_err(|_| format!("the opacity is {text:?}; a number is accepted"))
        })?,
    )?;
    let pixels = overlay::blend(&image, &heatmap, &placement, &style);
    let mut png = Vec::new();
    PngEncoder::new(&mut png).write_image(&pixels, image.width(), image.height(), ExtendedColorType::Rgba8)?;
    fs::write(&output, png).map_err(|error| format!("can't write {output}: {error}"))?;
    let class = explanation.target_class;
    let label = labels.get(class).map_or(String::new(), |label| format!(" ({label})"));
    println!("{output}: {} for class {class}{label}. {}", options.method.title(), explanation.map.state().sentence());
    Ok(())
}

fn read(path: &str) -> Result<Vec<u8>> {
    fs::read(path).map_err(|error| format!("can't read {path}: {error}").into())
}

/// A class by its index or one of its names.
fn class_of(class: &str, labels: &[String]) -> Result<usize> {
    if let Ok(index) = class.parse() {
        return Ok(index);
    }
    let is_it = |label: &&String| label.split(',').any(|name| name.trim().eq_ignore_ascii_case(class));
    let found = labels.iter().position(|label| is_it(&label));
    found
        .ok_or_else(|| format!("there is no class {class:?}; an index, or a label of the manifest, is accepted").into())
}

fn grid(grid: &Grid) -> Value {
    json!({ "width": grid.width(), "height": grid.height(), "values": grid.values() })
}
