//! Decoding and preprocessing against Pillow and torchvision.

use gradcam_web::ErrorKind;
use gradcam_web::image::Image;
use gradcam_web::preprocess::{ChannelOrder, Placement, Preprocess, Resize, input_from_image};
use serde_json::Value;

use crate::fixtures::{Fixture, bytes, shared};

fn decode(file: &str) -> Image {
    Image::decode(&bytes(&format!("images/{file}"))).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The levels 0..=255 themselves as the network's input: `(v / 255 - 0) / (1 / 255)`.
fn levels(resize: Resize, width: u32, height: u32) -> Preprocess {
    let (mean, std) = (vec![0.], vec![1. / 255.]);
    Preprocess { width, height, resize, mean, std, order: ChannelOrder::Rgb }
}

/// Height, width, channel to channel, height, width.
fn planes(pixels: &[f32], channels: usize) -> Vec<f32> {
    (0..channels).flat_map(|c| pixels.iter().skip(c).step_by(channels).copied()).collect()
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0., f32::max)
}

#[test]
fn files_decode_to_the_pixels_that_pillow_sees() {
    let fixture = Fixture::read("preprocess.safetensors");
    for file in fixture.fact("decoded").as_object().unwrap().keys() {
        let expected = fixture.tensor(&format!("decoded/{file}"));
        let image = decode(file);
        let [height, width, channels] = expected.shape[..] else { panic!("{file}: {:?}", expected.shape) };
        assert_eq!((image.width() as usize, image.height() as usize), (width, height), "{file}");
        let actual: Vec<f32> = image
            .rgba()
            .as_chunks::<4>()
            .0
            .iter()
            .flat_map(|p| &p[..channels])
            .map(|&level| f32::from(level))
            .collect();
        let difference = largest_difference(&actual, &expected.values);
        println!("{file}: {difference}");
        // Lossless files give the same bytes. Decoders of lossy ones may round differently.
        let tolerance = if file.ends_with(".jpg") || file == "lossy.webp" { 3. } else { 0. };
        assert!(difference <= tolerance, "{file}: off by {difference} levels");
        assert!(channels == 4 || image.rgba().iter().skip(3).step_by(4).all(|&alpha| alpha == 255), "{file}: alpha");
    }
}

#[test]
fn the_bright_corner_stays_in_its_corner_whatever_the_orientation() {
    let fixture = Fixture::read("preprocess.safetensors");
    for (file, at) in fixture.fact("hot_corner").as_object().unwrap() {
        let image = decode(file);
        let at = (at[1].as_u64().unwrap() * u64::from(image.width()) + at[0].as_u64().unwrap()) as usize;
        let [r, g, ..] = image.rgba().as_chunks::<4>().0[at];
        assert!(r > 200 && g > 200, "{file}: {r}, {g}");
    }
}

#[test]
fn inputs_have_the_bytes_that_pillow_and_torchvision_make() {
    let fixture = Fixture::read("preprocess.safetensors");
    for (name, case) in fixture.fact("cases").as_object().unwrap() {
        let number = |key: &str| case[key].as_u64().unwrap() as u32;
        let pair = |key: &str| -> [usize; 2] { [0, 1].map(|i| case[key][i].as_u64().unwrap() as usize) };
        let (width, height) = (number("width"), number("height"));
        let resize: Resize = case["placement"].as_str().unwrap().parse().unwrap();
        let file = case["file"].as_str().unwrap();
        let image = decode(file);
        let (actual, placement) = input_from_image(&image, &levels(resize, width, height), 3).unwrap();

        let [resized_width, resized_height] = pair("resized");
        let [x, y] = pair("offset");
        let (w, h) = (width as usize, height as usize);
        let resized = &fixture.tensor(&format!("{name}/resized")).values;
        let expected: Vec<f32> = (0..h * w)
            .flat_map(|at| {
                let (column, row) = (at % w, at / w);
                let from = match resize {
                    Resize::Letterbox => column.checked_sub(x).zip(row.checked_sub(y)),
                    _ => Some((column + x, row + y)),
                };
                from.filter(|&(column, row)| column < resized_width && row < resized_height).map_or(
                    [0.; 3],
                    |(column, row)| {
                        let at = (row * resized_width + column) * 3;
                        [resized[at], resized[at + 1], resized[at + 2]]
                    },
                )
            })
            .collect();
        let difference = largest_difference(&actual, &planes(&expected, 3));
        println!("{name}: {difference}");
        let tolerance = if file.ends_with(".jpg") { 2. } else { 1e-3 };
        assert!(difference <= tolerance, "{name}: off by {difference} levels");

        check_frame(name, case, &placement);
    }
}

/// The frame of the input is where the resized picture's offset and size put it.
fn check_frame(name: &str, case: &Value, placement: &Placement) {
    let number = |value: &Value| value.as_f64().unwrap();
    let sign = if case["placement"] == "letterbox" { -1. } else { 1. };
    let input = [number(&case["width"]), number(&case["height"])];
    let rect = placement.rect();
    for axis in 0..2 {
        let scale = number(&case["image"][axis]) / number(&case["resized"][axis]);
        let offset = sign * number(&case["offset"][axis]) * scale;
        assert!((rect[axis] - offset).abs() < 1e-9, "{name}: {rect:?}");
        assert!((rect[axis + 2] - input[axis] * scale).abs() < 1e-9, "{name}: {rect:?}");
    }
}

#[test]
fn tensors_equal_those_of_torchvision() {
    let fixture = Fixture::read("preprocess.safetensors");
    let mut compared = 0;
    for (name, case) in fixture.fact("cases").as_object().unwrap() {
        if case["has_tensor"] == false {
            continue;
        }
        let preprocess = Preprocess {
            width: case["width"].as_u64().unwrap() as u32,
            height: case["height"].as_u64().unwrap() as u32,
            resize: case["placement"].as_str().unwrap().parse().unwrap(),
            ..Preprocess::default()
        };
        let (actual, _) = input_from_image(&decode(case["file"].as_str().unwrap()), &preprocess, 3).unwrap();
        let difference = largest_difference(&actual, &fixture.tensor(&format!("{name}/tensor")).values);
        println!("{name}: {difference}");
        // The same f32 operations in the same order.
        assert_eq!(difference, 0., "{name}");
        compared += 1;
    }
    assert!(compared == 2, "a stretched photo and an enlarged picture");
}

#[test]
fn files_that_end_too_early_are_refused_wherever_they_end() {
    for file in [
        "photo.jpg",
        "progressive.jpg",
        "orientation_6.jpg",
        "grey.jpg",
        "photo.png",
        "palette.png",
        "alpha.png",
        "lossless.webp",
        "lossy.webp",
        "animated.gif",
        "plain.bmp",
    ] {
        let whole = bytes(&format!("images/{file}"));
        for percent in [0, 1, 5, 20, 50, 80, 95] {
            let end = whole.len() * percent / 100;
            if file == "animated.gif" && percent > 50 {
                // The first frame is complete then.
                continue;
            }
            match Image::decode(&whole[..end]) {
                Err(error) => assert_eq!(error.kind(), ErrorKind::Image, "{file} at {percent} %: {error}"),
                Ok(_) => panic!("{file} cut at {percent} % ({end} of {} bytes) was accepted", whole.len()),
            }
        }
    }
}

#[test]
fn every_photo_beside_the_project_decodes() {
    let Some(folder) = shared("photos") else { return };
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "jpg") {
            let image = Image::decode(&std::fs::read(&path).unwrap());
            assert!(image.is_ok(), "{}: {}", path.display(), image.unwrap_err());
        }
    }
}
