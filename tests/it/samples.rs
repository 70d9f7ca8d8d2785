//! The page's sample pictures: the default network knows what is in them, and its heatmaps lie on it.

use std::fs;
use std::path::PathBuf;

use gradcam_web::cam::{ExplainOptions, Prediction};
use gradcam_web::image::Image;
use gradcam_web::preprocess::input_from_image;
use serde_json::Value;

use crate::fixtures::{bytes, manifest_preprocess};
use crate::networks::load;

/// In bytes, of one picture.
const LARGEST: usize = 80_000;

fn site(path: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("www").join(path);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn json(path: &str) -> Value {
    serde_json::from_slice(&site(path)).unwrap()
}

/// The known objects of a picture: class and mask, row by row. A mask's file is called after its picture and its class.
fn objects(name: &str, labels: &[String]) -> Vec<(usize, Vec<bool>)> {
    let mut found: Vec<_> = labels
        .iter()
        .enumerate()
        .filter_map(|(class, label)| {
            let file = format!("samples/{name}-{}.png", label.replace(' ', "-"));
            let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data");
            folder.join(&file).exists().then(|| (class, Image::decode(&bytes(&file)).unwrap()))
        })
        .map(|(class, mask)| (class, mask.rgba().iter().step_by(4).map(|&level| level > 127).collect()))
        .collect();
    found.sort_by_key(|&(class, _)| class);
    found
}

#[test]
fn the_default_network_recognises_every_sample_and_its_heatmaps_lie_on_the_objects() {
    let labels: Vec<String> = serde_json::from_value(json("models/everyday/labels.json")).unwrap();
    let preprocess = manifest_preprocess(&json("models/everyday/model.json"));
    let network = load("everyday.onnx", &site("models/everyday/everyday.onnx"));
    let (mut singles, mut pairs, mut failed) = (0, 0, Vec::new());
    for sample in json("samples/samples.json").as_array().unwrap() {
        let file = sample["file"].as_str().unwrap();
        let picture = site(&format!("samples/{file}"));
        assert!(picture.len() <= LARGEST, "{file} has {} bytes", picture.len());
        let image = Image::decode(&picture).unwrap();
        let (input, _) = input_from_image(&image, &preprocess, 3).unwrap();
        let prediction = pollster::block_on(Prediction::new(network.clone(), &input)).unwrap();
        let scores = prediction.scores();
        let rank = |class: usize| 1 + scores.iter().filter(|&&score| score > scores[class]).count();

        let objects = objects(file.trim_end_matches(".jpg"), &labels);
        let ranks: Vec<_> = objects.iter().map(|(class, _)| (labels[*class].as_str(), rank(*class))).collect();
        println!("{file}: {ranks:?}");
        let known = match ranks[..] {
            [(_, rank)] => rank == 1,
            [(_, first), (_, second)] => first <= 5 && second <= 5,
            _ => panic!("{file}: masks of {} objects", objects.len()),
        };
        if !known {
            failed.push(format!("{file}: ranks {ranks:?}"));
        }
        if objects.len() == 1 {
            singles += 1;
            continue;
        }
        pairs += 1;
        for at in 0..2 {
            let options = ExplainOptions { target_class: Some(objects[at].0), ..ExplainOptions::default() };
            let map = pollster::block_on(prediction.explain(&options, &|_| {}, &|| false)).unwrap().map;
            // The default network sees the whole picture, stretched.
            let heatmap = map.heatmap().resampled(image.width(), image.height());
            let values = heatmap.grid().values();
            let energy =
                |mask: &[bool]| values.iter().zip(mask).filter(|&(_, &inside)| inside).map(|(v, _)| v).sum::<f32>();
            let (own, other) = (energy(&objects[at].1), energy(&objects[1 - at].1));
            let told = format!("{file}: {}: energy {own:.0} on it, {other:.0} on the other", labels[objects[at].0]);
            println!("{told}");
            if own <= other {
                failed.push(told);
            }
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(singles + pairs >= 10 && pairs >= 3, "{singles} pictures of one object, {pairs} of two");
}
