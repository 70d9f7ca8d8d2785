//! Pictures: each is decoded to as many pixels as it says, or refused with one sentence.

#![no_main]

use gradcam_web::image::Image;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    check(data);
    if data.starts_with(b"\x89PNG\r\n\x1a\n") {
        check(&with_checksums(data.to_vec()));
    }
});

fn check(data: &[u8]) {
    match Image::decode(data) {
        Ok(image) => assert_eq!(image.rgba().len(), 4 * image.width() as usize * image.height() as usize),
        Err(error) => assert!(!error.message().is_empty() && error.message().len() < 5000),
    }
}

/// The PNG file with the checksums that its chunks should have, or no change would get far.
fn with_checksums(mut data: Vec<u8>) -> Vec<u8> {
    let mut at = 8;
    while let Some(&length) = data.get(at..).and_then(|rest| rest.first_chunk()) {
        let end = at + 8 + u32::from_be_bytes(length) as usize;
        let Some(named) = data.get(at + 4..end) else { break };
        let shift = |sum: u32| if sum & 1 == 0 { sum >> 1 } else { sum >> 1 ^ 0xedb8_8320 };
        let sum = !named.iter().fold(!0, |sum, &byte| (0..8).fold(sum ^ u32::from(byte), |sum, _| shift(sum)));
        let Some(place) = data.get_mut(end..end + 4) else { break };
        place.copy_from_slice(&sum.to_be_bytes());
        at = end + 4;
    }
    data
}
