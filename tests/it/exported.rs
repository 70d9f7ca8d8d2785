//! Networks as `training/export_torchvision.py` writes them, against PyTorch and pytorch-grad-cam.
//!
//! The files are too large to keep, so that they are made for the test, by a Python that has what is needed for it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use gradcam_web::cam::{ExplainOptions, Method, Prediction};
use gradcam_web::image::Image;
use gradcam_web::preprocess::input_from_image;
use serde_json::Value;

use crate::fixtures::{Fixture, manifest_preprocess, shared};
use crate::networks::{difference, load, logits};

/// Of the largest logit, and of the largest value of a map.
const TOLERANCE: f32 = 1e-3;

/// A Python with these modules: `$GRADCAM_PYTHON`, else the one of `training/README.md`, else the system's.
fn python(modules: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let named = std::env::var_os("GRADCAM_PYTHON").map(PathBuf::from);
    let candidates = named.into_iter().chain([root.join(".venv/bin/python"), "python3".into()]);
    let has_all = |python: &PathBuf| {
        let import = Command::new(python).args(["-c", &format!("import {modules}")]).output();
        import.is_ok_and(|output| output.status.success())
    };
    let found = candidates.into_iter().find(has_all);
    if found.is_none() {
        println!("skipped: needs a Python with {modules}; set GRADCAM_PYTHON, or see training/README.md");
    }
    found
}

/// Runs a script of `training/`.
#[track_caller]
fn run(python: &Path, arguments: &[&str]) {
    let script = Command::new(python).current_dir(env!("CARGO_MANIFEST_DIR")).args(arguments).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&script.stdout), String::from_utf8_lossy(&script.stderr));
    println!("{out}");
    assert!(script.status.success(), "{arguments:?}: {out}{err}");
}

/// What differs of one exported network, and how far the rest is off.
fn check(folder: &Path) -> Result<String, String> {
    let name = folder.file_name().unwrap().to_string_lossy().into_owned();
    let reference = Fixture::read_at(&folder.join("reference.safetensors"));
    let network = load(&name, &fs::read(folder.join(format!("{name}.onnx"))).unwrap());
    let default = reference.fact("default").as_str().unwrap();
    if network.default_layer() != default {
        return Err(format!("{name}: the default layer is {}, not {default}", network.default_layer()));
    }
    let input = reference.tensor("input");
    let prediction = pollster::block_on(Prediction::new(network.clone(), &input.values)).unwrap();
    let mut worst = vec![("logits".to_string(), difference(prediction.scores(), &reference.tensor("logits").values))];
    if reference.has("half_logits") {
        let file = format!("{name}.half.onnx");
        let halved = load(&file, &fs::read(folder.join(&file)).unwrap());
        let off = difference(&logits(&halved, &input.values), &reference.tensor("half_logits").values);
        worst.push(("logits of the file with half the bytes".into(), off));
    }
    for class in reference.fact("classes").as_array().unwrap() {
        let target_class = Some(class.as_u64().unwrap() as usize);
        let options = ExplainOptions { method: Method::GradCam, target_class, ..ExplainOptions::default() };
        let map = pollster::block_on(prediction.explain(&options, &|_| {}, &|| false)).unwrap().map;
        worst.push((
            format!("{class}/map"),
            difference(map.values(), &reference.tensor(&format!("{class}/map")).values),
        ));
        let heatmap = map.heatmap().resampled(input.shape[3] as u32, input.shape[2] as u32);
        let expected = &reference.tensor(&format!("{class}/heatmap")).values;
        worst.push((format!("{class}/heatmap"), difference(heatmap.grid().values(), expected)));
    }
    let told: Vec<_> = worst.iter().map(|(what, off)| format!("{what} {off:.1e}")).collect();
    let told = format!("{name}: {}", told.join(", "));
    if worst.iter().all(|&(_, off)| off <= TOLERANCE) { Ok(told) } else { Err(told) }
}

#[test]
fn exported_networks_of_thirteen_families_give_the_logits_and_maps_of_pytorch() {
    let made = std::env::var_os("GRADCAM_EXPORTS").map(PathBuf::from);
    let folder = made.clone().unwrap_or_else(|| Path::new(env!("CARGO_TARGET_TMPDIR")).join("exported"));
    if made.is_none() {
        let Some(python) = python("torchvision, pytorch_grad_cam, onnxruntime, safetensors") else { return };
        run(&python, &["training/test_export.py", folder.to_str().unwrap()]);
    }
    let mut folders: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    let checks: Vec<_> = folders.iter().map(|folder| check(folder)).collect();
    for told in checks.iter().flatten() {
        println!("{told}");
    }
    let failed: Vec<_> = checks.iter().filter_map(|check| check.as_ref().err()).cloned().collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(made.is_some() || checks.len() == 13, "{} networks", checks.len());
}

/// Pictures of each to learn from; the others are for the score.
const LEARNT_FROM: usize = 17;

#[test]
fn a_fine_tuned_network_tells_three_new_classes_apart_in_pictures_it_has_not_seen() {
    // Indices of ImageNet that are not among the default network's hundred classes.
    let classes = [("church", "497"), ("french horn", "566"), ("parachute", "701")];
    let Some(pictures) = shared("data/ilsvrc-boxes-250") else { return };
    let Some(python) = python("torch, onnxruntime, PIL") else { return };
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fine-tuned");
    let _ = fs::remove_dir_all(&folder);
    let table = fs::read_to_string(pictures.join("boxes.csv")).unwrap();
    let mut kept_back = Vec::new();
    for (label, (name, index)) in classes.into_iter().enumerate() {
        fs::create_dir_all(folder.join("pictures").join(name)).unwrap();
        let files = table.lines().map(|line| line.split(',').collect::<Vec<_>>()).filter(|row| row[1] == index);
        for (number, row) in files.enumerate() {
            let file = pictures.join("images").join(row[0]);
            if number < LEARNT_FROM {
                fs::copy(file, folder.join("pictures").join(name).join(row[0])).unwrap();
            } else {
                kept_back.push((file, label));
            }
        }
    }
    let paths = [folder.join("pictures"), folder.join("exported")].map(|path| path.to_str().unwrap().to_string());
    run(&python, &["training/finetune.py", &paths[0], "--output", &paths[1], "--name", "three"]);

    let checkpoints = fs::read_dir(folder.join("exported/checkpoints")).unwrap().count();
    assert_eq!(checkpoints, 30, "one an epoch");
    let read = |file: &str| fs::read(folder.join("exported").join(file)).unwrap();
    let labels: Value = serde_json::from_slice(&read("labels.json")).unwrap();
    assert_eq!(labels, serde_json::json!(classes.map(|(name, _)| name)));
    let manifest: Value = serde_json::from_slice(&read("model.json")).unwrap();
    let preprocess = manifest_preprocess(&manifest);
    let network = load("three.onnx", &read("three.onnx"));
    let mut right = 0;
    for (file, label) in &kept_back {
        let image = Image::decode(&fs::read(file).unwrap()).unwrap();
        let (input, _) = input_from_image(&image, &preprocess, 3).unwrap();
        let prediction = pollster::block_on(Prediction::new(network.clone(), &input)).unwrap();
        let scores = prediction.scores();
        right += usize::from(scores.iter().all(|&score| score <= scores[*label]));
        let options = ExplainOptions { method: Method::Cam, target_class: Some(*label), ..ExplainOptions::default() };
        pollster::block_on(prediction.explain(&options, &|_| {}, &|| false))
            .expect("pooling and a linear layer have a CAM");
    }
    println!("{right} of {} pictures right", kept_back.len());
    assert!(kept_back.len() >= 24, "only {} pictures", kept_back.len());
    assert!(right * 4 >= kept_back.len() * 3, "{right} of {} pictures right", kept_back.len());
}
