//! Decodes pictures from standard input for `tests/soak/pictures.py`, which compares them with Pillow's.
//!
//! Each picture comes as its length in four bytes (little-endian) and its bytes. The answer is width and height, four
//! bytes each, and RGBA; or two zeros, the length of a sentence, and the sentence.

use std::io::{self, Read, Write};

use gradcam_web::image::Image;

fn main() -> io::Result<()> {
    let (mut input, mut output) = (io::stdin().lock(), io::BufWriter::new(io::stdout().lock()));
    let mut length = [0; 4];
    while input.read_exact(&mut length).is_ok() {
        let mut bytes = vec![0; u32::from_le_bytes(length) as usize];
        input.read_exact(&mut bytes)?;
        match Image::decode(&bytes) {
            Ok(image) => {
                output.write_all(&image.width().to_le_bytes())?;
                output.write_all(&image.height().to_le_bytes())?;
                output.write_all(image.rgba())?;
            }
            Err(error) => {
                let message = error.message().as_bytes();
                output.write_all(&[0; 8])?;
                output.write_all(&(message.len() as u32).to_le_bytes())?;
                output.write_all(message)?;
            }
        }
        output.flush()?;
    }
    Ok(())
}
