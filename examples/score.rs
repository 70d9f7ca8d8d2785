//! Scores a network on pictures with boxes: `cargo run --release --example score -- MODEL.json LIST.tsv`.
//!
//! Each line of the list holds a picture's path, its class and its object's box x0, y0, x1, y1 in pixels, between tabs.
//! Localisation is CAM's for the true class, beside what one gets without looking at the picture: its centre as the
//! point, all of it as the box.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::rc::Rc;

use gradcam_web::Device;
use gradcam_web::cam::{ExplainOptions, Method, Prediction};
use gradcam_web::image::Image;
use gradcam_web::judge::boxes::{Rect, best_iou, largest_part, points_at};
use gradcam_web::onnx;
use gradcam_web::preprocess::input_from_image;

#[path = "shared/manifest.rs"]
mod manifest;

/// Zhou et al. 2016, section 3.2.
const BOX_SHARE: f32 = 0.2;
const BINS: usize = 15;

/// What one picture adds to the means.
struct Outcome {
    /// How many classes score higher than the true one.
    rank: usize,
    confidence: f32,
    pointed: bool,
    overlap: f32,
    centre_pointed: bool,
    full_overlap: f32,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, list] = arguments.as_slice() else { return Err("usage: score MODEL.json LIST.tsv".into()) };
    let (bytes, preprocess) = manifest::read(Path::new(model))?;
    let network = Rc::new(onnx::load(&bytes, &Default::default(), &Device::cpu())?);
    network.check(&preprocess)?;

    let lines = fs::read_to_string(list)?;
    let mut outcomes = Vec::new();
    for line in lines.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [path, class, sides @ ..] = fields.as_slice() else {
            return Err(format!("`{line}` names no class").into());
        };
        let class: usize = class.parse()?;
        let sides = sides.iter().map(|side| side.parse()).collect::<Result<Vec<f32>, _>>()?;
        let [x0, y0, x1, y1] = sides[..] else { return Err(format!("`{line}` has no box of four sides").into()) };
        let truth = Rect { x0, y0, x1, y1 };

        let image = Image::decode(&fs::read(path)?)?;
        let (input, _) = input_from_image(&image, &preprocess, network.input().channels)?;
        let prediction = pollster::block_on(Prediction::new(network.clone(), &input))?;
        let options = ExplainOptions { method: Method::Cam, target_class: Some(class), ..ExplainOptions::default() };
        let explanation = pollster::block_on(prediction.explain(&options, &|_| {}, &|| false))?;

        let (width, height) = (image.width(), image.height());
        let heatmap = explanation.map.heatmap().resampled(width, height);
        let full = Rect { x0: 0., y0: 0., x1: width as f32, y1: height as f32 };
        let (x, y) = (width as f32 / 2., height as f32 / 2.);
        let scores = prediction.scores();
        outcomes.push(Outcome {
            rank: scores.iter().filter(|&&score| score > scores[class]).count(),
            confidence: prediction.probabilities()[prediction.top_class()],
            pointed: points_at(&heatmap, &[truth], 0.),
            overlap: largest_part(&heatmap, BOX_SHARE).map_or(0., |found| best_iou(found, &[truth])),
            centre_pointed: x0 <= x && x <= x1 && y0 <= y && y <= y1,
            full_overlap: full.iou(truth),
        });
    }

    let share = |of: &dyn Fn(&Outcome) -> f32| 100. * outcomes.iter().map(of).sum::<f32>() / outcomes.len() as f32;
    let part = |of: &dyn Fn(&Outcome) -> bool| share(&|outcome| f32::from(u8::from(of(outcome))));
    println!("{} pictures", outcomes.len());
    println!("top-1                      {:5.1} %", part(&|o| o.rank == 0));
    println!("top-5                      {:5.1} %", part(&|o| o.rank < 5));
    println!("calibration error          {:5.1} %", 100. * calibration_error(&outcomes));
    println!(
        "pointing game, CAM         {:5.1} %   (centre of the picture {:.1} %)",
        part(&|o| o.pointed),
        part(&|o| o.centre_pointed)
    );
    println!(
        "box IoU >= 0.5, CAM at 20 % {:4.1} %   (full picture {:.1} %)",
        part(&|o| o.overlap >= 0.5),
        part(&|o| o.full_overlap >= 0.5)
    );
    println!(
        "mean box IoU, CAM at 20 %  {:5.1} %   (full picture {:.1} %)",
        share(&|o| o.overlap),
        share(&|o| o.full_overlap)
    );
    Ok(())
}

/// Over 15 bins of equal width: Guo et al. 2017, <https://arxiv.org/abs/1706.04599>, eq. 3.
fn calibration_error(outcomes: &[Outcome]) -> f32 {
    let mut bins = [(0., 0.); BINS];
    for outcome in outcomes {
        let (confidence, right) = &mut bins[((outcome.confidence * BINS as f32) as usize).min(BINS - 1)];
        *confidence += outcome.confidence;
        *right += f32::from(u8::from(outcome.rank == 0));
    }
    bins.iter().map(|(confidence, right)| (confidence - right).abs()).sum::<f32>() / outcomes.len() as f32
}
