//! Pictures as the site shows them: photographs from other formats, and small ones for the strip of samples.

use crate::{fetched::write, shell::Result};
use image::{ImageReader, codecs::jpeg::JpegEncoder, imageops::FilterType};
use std::path::Path;

/// Writes a picture as JPEG; with a size it is scaled and cropped to fill it.
pub fn convert(from: &Path, to: &Path, size: Option<(u32, u32)>, quality: u8) -> Result<()> {
    let fail = |error: &dyn std::fmt::Display| format!("can't convert {} to {}: {error}", from.display(), to.display());
    let picture = ImageReader::open(from).map_err(|error| fail(&error))?.decode().map_err(|error| fail(&error))?;
    let picture = match size {
        Some((width, height)) => picture.resize_to_fill(width, height, FilterType::CatmullRom),
        None => picture,
    };
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, quality)
        .encode_image(&picture.to_rgb8())
        .map_err(|error| fail(&error))?;
    write(to, &bytes)
}
