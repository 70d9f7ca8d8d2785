//! Pictures: each is decoded to as many pixels as it says, or refused with one sentence.

#![no_main]

use gradcam_web::image::Image;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    match Image::decode(data) {
        Ok(image) => assert_eq!(image.rgba().len(), 4 * image.width() as usize * image.height() as usize),
        Err(error) => assert!(!error.message().is_empty() && error.message().len() < 5000),
    }
});
