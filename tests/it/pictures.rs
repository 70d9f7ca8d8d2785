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
        // WebP decoders may round differently; everything else gives the same bytes.
        let tolerance = if file == "lossy.webp" { 3. } else { 0. };
        assert!(difference <= tolerance, "{file}: off by {difference} levels");
        assert!(channels == 4 || image.rgba().iter().skip(3).step_by(4).all(|&alpha| alpha == 255), "{file}: alpha");
    }
}

#[test]
fn odd_files_decode_to_the_pixels_that_pillow_sees() {
    let fixture = Fixture::read("pictures.safetensors");
    for (file, odd) in fixture.fact("files").as_object().unwrap() {
        let expected = fixture.tensor(file);
        let image = Image::decode(&bytes(&format!("pictures/{file}"))).unwrap_or_else(|e| panic!("{file}, {odd}: {e}"));
        let [height, width, channels] = expected.shape[..] else { panic!("{file}: {:?}", expected.shape) };
        assert_eq!((image.width() as usize, image.height() as usize), (width, height), "{file}, {odd}");
        let pixels = image.rgba().as_chunks::<4>().0.iter();
        let actual: Vec<f32> = pixels.flat_map(|p| &p[..channels]).map(|&level| f32::from(level)).collect();
        let difference = largest_difference(&actual, &expected.values);
        assert_eq!(difference, 0., "{file}, {odd}: off by {difference} levels");
        assert_eq!(image.is_animated(), file.starts_with("moving"), "{file}");
    }
}

#[test]
fn jpeg_files_whose_pixels_end_too_early_are_refused_whatever_their_scans() {
    for file in ["separate_420.jpg", "two_scans.jpg", "no_end.jpg", "progressive_restarts.jpg", "cmyk.jpg"] {
        let whole = bytes(&format!("pictures/{file}"));
        // The last bytes may be the end marker, the padding before it, or what stands for no coefficient.
        for end in 0..whole.len() - 16 {
            let error = Image::decode(&whole[..end]).expect_err(&format!("{file}: {end} of {} bytes", whole.len()));
            assert_eq!(error.kind(), ErrorKind::Image);
        }
    }
}

#[test]
fn a_progressive_file_that_refines_nothing_without_end_is_refused() {
    let segment = |marker: u8, data: &[u8]| [&[0xff, marker, 0, data.len() as u8 + 2], data].concat();
    // Grey, 8000 × 8000 pixels, all 0: a million blocks, told in 61 groups of 16,384 blocks without news.
    let table = |kind: u8, symbol: u8| [[kind, 1].as_slice(), &[0; 15], &[symbol]].concat();
    let scan = |first: u8, last: u8, bits: u8| segment(0xda, &[1, 1, 0, first, last, bits]);
    let mut jpeg = vec![0xff, 0xd8];
    jpeg.extend(segment(0xdb, &[[0].as_slice(), &[1; 64]].concat()));
    jpeg.extend(segment(0xc2, &[8, 0x1f, 0x40, 0x1f, 0x40, 1, 1, 0x11, 0]));
    jpeg.extend([segment(0xc4, &table(0, 0)), segment(0xc4, &table(0x10, 0xe0)), scan(0, 0, 0)].concat());
    jpeg.extend([0; 125_000]);
    let groups = [0; (62_usize * 15).div_ceil(8)];
    jpeg.extend([scan(1, 63, 13).as_slice(), &groups].concat());
    let scans = (0..100)
        .map(|turn| 12 - turn % 13)
        .map(|bit: u8| [scan(1, 63, (bit + 1) << 4 | bit).as_slice(), &groups].concat());
    jpeg.extend(scans.flatten());
    let error = Image::decode(&jpeg).unwrap_err();
    assert_eq!(error.message(), "this JPEG image is damaged: its 68 scans go through more than 67108864 units");
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
            if file.ends_with(".png") && whole.len() - end <= 12 {
                // Every pixel is there; only the chunk that says so is cut.
                assert_eq!(Image::decode(&whole[..end]).unwrap(), decode(file));
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

#[test]
fn the_first_of_several_orientations_counts() {
    // A file of orientation 6, which then says that there are two numbers: Pillow takes the first of them.
    let mut file = bytes("images/orientation_6.jpg");
    let entry = file.windows(4).position(|bytes| bytes == [1, 0x12, 0, 3]).unwrap();
    file[entry + 7] = 2;
    assert_eq!(Image::decode(&file).unwrap(), decode("orientation_6.jpg"));
    // Three of them don't stand in the entry, and where they should there is nothing.
    file[entry + 7] = 3;
    file[entry + 8] = 0x7f;
    let (stored, upright) = (Image::decode(&file).unwrap(), decode("orientation_6.jpg"));
    assert_eq!((stored.width(), stored.height()), (upright.height(), upright.width()));
}

#[test]
fn an_orientation_counts_behind_the_mark_of_large_files() {
    // Pillow takes `MM\0+` for `MM\0*`.
    let mut file = bytes("images/orientation_6.jpg");
    let mark = file.windows(4).position(|bytes| bytes == b"MM\0*").unwrap();
    file[mark + 3] = b'+';
    assert_eq!(Image::decode(&file).unwrap(), decode("orientation_6.jpg"));
}

#[test]
fn a_bmp_file_that_does_not_say_where_its_pixels_begin_has_them_behind_its_headers() {
    let mut file = bytes("images/plain.bmp");
    file[10..14].fill(0);
    assert_eq!(Image::decode(&file).unwrap().rgba(), decode("plain.bmp").rgba());
}

#[test]
fn a_webp_file_is_turned_only_if_it_says_that_it_has_exif_data() {
    let mut file = bytes("pictures/exif.webp");
    let upright = Image::decode(&file).unwrap();
    file[20] = 0;
    let stored = Image::decode(&file).unwrap();
    assert_eq!((stored.width(), stored.height()), (upright.height(), upright.width()));
}

/// The file with a segment before the `nth` marker of this kind.
fn with_segment(file: &[u8], marker: u8, nth: usize, segment: &[u8]) -> Vec<u8> {
    let at = (0..file.len()).filter(|&at| file[at..].starts_with(&[0xff, marker])).nth(nth).unwrap();
    [&file[..at], segment, &file[at..]].concat()
}

#[test]
fn what_stands_between_scans_says_nothing_of_the_picture() {
    // YCbCr, without JFIF.
    let mut file = bytes("pictures/separate_420.jpg");
    file.drain(2..20);
    let image = Image::decode(&file).unwrap();
    let adobe = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\0";
    assert_ne!(Image::decode(&with_segment(&file, 0xda, 0, adobe)).unwrap(), image);
    assert_eq!(Image::decode(&with_segment(&file, 0xda, 1, adobe)).unwrap(), image);
    let exif = b"\xff\xe1\0\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    assert_ne!(Image::decode(&with_segment(&file, 0xda, 0, exif)).unwrap(), image);
    assert_eq!(Image::decode(&with_segment(&file, 0xda, 1, exif)).unwrap(), image);
}

#[test]
fn an_empty_exif_segment_hides_none() {
    let file = bytes("images/orientation_6.jpg");
    let with_empty = [&file[..2], b"\xff\xe1\0\x08Exif\0\0", &file[2..]].concat();
    assert_eq!(Image::decode(&with_empty).unwrap(), decode("orientation_6.jpg"));
}

#[test]
fn jpeg_components_may_share_a_name() {
    let mut file = bytes("images/photo.jpg");
    let frame = file.windows(4).position(|bytes| bytes == [0xff, 0xc0, 0, 17]).unwrap() + 10;
    let scan = file.windows(4).position(|bytes| bytes == [0xff, 0xda, 0, 12]).unwrap() + 5;
    for component in 0..3 {
        (file[frame + 3 * component], file[scan + 2 * component]) = (1, 1);
    }
    assert_eq!(Image::decode(&file).unwrap(), decode("photo.jpg"));
}

#[test]
fn a_huffman_table_that_makes_no_sense_harms_only_who_reads_by_it() {
    let file = bytes("images/photo.jpg");
    // Two codes of one bit, the fourth table and the first.
    let table = |number: u8| [&[0xff, 0xc4, 0, 21, number, 2], &[0; 15][..], &[1, 2]].concat();
    assert_eq!(Image::decode(&with_segment(&file, 0xda, 0, &table(3))).unwrap(), decode("photo.jpg"));
    let error = Image::decode(&with_segment(&file, 0xda, 0, &table(0))).unwrap_err();
    assert_eq!(error.message(), "this JPEG image is damaged: its compressed data makes no sense");
}

#[test]
fn a_jpeg_file_that_ends_before_its_last_scan_is_refused_as_such() {
    let file = bytes("images/progressive.jpg");
    let last = (0..file.len()).rfind(|&at| file[at..].starts_with(&[0xff, 0xda])).unwrap();
    let first = file.windows(2).position(|bytes| bytes == [0xff, 0xda]).unwrap();
    assert!(first < last);
    for (end, reason) in [(&[0xff, 0xd9][..], "it ends before its last scan"), (&[], "its data ends too early")] {
        let error = Image::decode(&[&file[..last], end].concat()).unwrap_err();
        assert_eq!(error.message(), format!("this JPEG image is damaged: {reason}"));
    }
}

#[test]
fn jpeg_data_that_decoders_read_differently_is_refused() {
    let refused = |file: &[u8], reason: &str| {
        let message = Image::decode(file).unwrap_err().message().to_owned();
        assert_eq!(message, format!("this JPEG image is damaged: {reason}"));
    };
    // The first of three scans, twice, and the last one.
    let file = bytes("pictures/separate_420.jpg");
    let scans: Vec<usize> = (0..file.len()).filter(|&at| file[at..].starts_with(&[0xff, 0xda])).collect();
    refused(&[&file[..scans[1]], &file[scans[0]..]].concat(), "a component comes twice");
    for between in [&b""[..], &[0xff, 0xd0, 7]] {
        refused(&[&file[..file.len() - 2], between, &file[scans[2]..]].concat(), "a component comes twice");
    }

    // What may fill the space before a marker, before a stuffed zero.
    let file = bytes("images/photo.jpg");
    let data = file.windows(2).position(|bytes| bytes == [0xff, 0xda]).unwrap();
    let stuffed = data + file[data..].windows(2).position(|bytes| bytes == [0xff, 0]).unwrap();
    refused(&[&file[..stuffed], &[0xff], &file[stuffed..]].concat(), "a scan is shorter than the picture");
}
