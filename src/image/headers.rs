//! What is read from a file's headers before a decoder gets it.

use image::ImageFormat;
use image::metadata::Orientation;

/// Whether a file has more than the one frame that is decoded.
pub(super) fn is_animated(format: ImageFormat, bytes: &[u8]) -> bool {
    match format {
        ImageFormat::Gif => has_second_frame(bytes) == Some(true),
        ImageFormat::WebP => bytes.get(12..16) == Some(b"VP8X") && bytes.get(20).is_some_and(|flags| flags & 2 != 0),
        ImageFormat::Png => {
            // The chunk stands before the pixels and begins with the number of frames.
            let control = chunks(bytes).take_while(|chunk| chunk.kind != *b"IDAT").find(|chunk| chunk.kind == *b"acTL");
            control
                .and_then(|chunk| bytes.get(chunk.at + 8..chunk.at + 12))
                .is_some_and(|frames| *frames > [0, 0, 0, 1][..])
        }
        _ => false,
    }
}

/// Whether another frame follows a GIF file's first one.
fn has_second_frame(bytes: &[u8]) -> Option<bool> {
    let first = first_gif_frame(bytes)?;
    let end = gif_blocks_end(bytes, first + 11 + color_table(*bytes.get(first + 9)?))?;
    Some(gif_frame_from(bytes, end).is_some())
}

/// The bytes of a GIF file's colour table.
fn color_table(packed: u8) -> usize {
    if packed & 0x80 == 0 { 0 } else { 6 << (packed & 7) }
}

fn first_gif_frame(bytes: &[u8]) -> Option<usize> {
    gif_frame_from(bytes, 13 + color_table(*bytes.get(10)?))
}

/// Where the next frame begins, extensions skipped.
fn gif_frame_from(bytes: &[u8], mut at: usize) -> Option<usize> {
    while *bytes.get(at)? == 0x21 {
        at = gif_blocks_end(bytes, at + 2)?;
    }
    (bytes[at] == 0x2c).then_some(at)
}

/// Behind a chain of blocks, each led by its length.
fn gif_blocks_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    while *bytes.get(at)? != 0 {
        at += 1 + usize::from(bytes[at]);
    }
    Some(at + 1)
}

/// A piece of a PNG file: its kind, where it begins and where the next one does, which may be behind the file's end.
struct Chunk {
    kind: [u8; 4],
    at: usize,
    next: usize,
}

fn chunks(bytes: &[u8]) -> impl Iterator<Item = Chunk> {
    let mut at = 8usize;
    std::iter::from_fn(move || {
        let &[a, b, c, d, ref kind @ ..] = bytes.get(at..)?.first_chunk::<8>()?;
        let next = at.checked_add(u32::from_be_bytes([a, b, c, d]) as usize)?.checked_add(12)?;
        let chunk = Chunk { kind: *kind, at, next };
        at = next;
        Some(chunk)
    })
}

/// A PNG file with its end, which may be missing, and without its colour profile, which nobody reads here: its decoder would make up
/// to a gigabyte of a megabyte. Files whose pixels end too early stay so.
pub(super) fn plain_png(bytes: &[u8]) -> Vec<u8> {
    const END: &[u8] = b"\0\0\0\0IEND\xae\x42\x60\x82";
    let mut plain = bytes[..8].to_vec();
    let mut end = &[][..];
    for chunk in chunks(bytes) {
        match (&chunk.kind, bytes.get(chunk.at..chunk.next)) {
            (b"iCCP", _) => {}
            (b"IEND", Some(_)) => break,
            (b"IDAT", None) => return [&plain, &bytes[chunk.at..]].concat(),
            (kind, Some(whole)) => {
                plain.extend(whole);
                if kind == b"IDAT" {
                    end = END;
                }
            }
            (_, None) => {}
        }
    }
    plain.extend(end);
    plain
}

/// Width and height that hold a GIF file's first frame, where its screen does not: as large Pillow and browsers show it.
pub(super) fn gif_room(bytes: &[u8]) -> Option<[u32; 2]> {
    let number = |at: usize| Some(u32::from(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?)));
    let at = first_gif_frame(bytes)?;
    let side = |axis: usize| Some((number(6 + axis)?, number(at + 1 + axis)? + number(at + 5 + axis)?));
    let [(width, right), (height, bottom)] = [side(0)?, side(2)?];
    (right > width || bottom > height).then_some([width.max(right), height.max(bottom)])
}

/// The GIF file with a screen of that size.
pub(super) fn with_screen(bytes: &[u8], [width, height]: [u16; 2]) -> Vec<u8> {
    [&bytes[..6], &width.to_le_bytes(), &height.to_le_bytes(), &bytes[10..]].concat()
}

/// A BMP file that does not say where its pixels begin, with their place: behind its headers, as Pillow and browsers read it.
pub(super) fn with_offset(bytes: &[u8]) -> Option<Vec<u8>> {
    let number = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
    let (start, header) = (number(10)?, number(14)?);
    if start != 0 {
        return None;
    }
    let (bits, color) = if header == 12 { (number(22)? >> 16, 3) } else { (number(26)? >> 16, 4) };
    let masks = match (header, number(30)?) {
        (40, 3) => 12,
        (40, 6) => 16,
        _ => 0,
    };
    let named = if header == 12 { 0 } else { number(46)? };
    let colors = if bits > 8 || named > 0 { named } else { 1 << bits };
    let start = header.checked_add(14 + masks)?.checked_add(colors.checked_mul(color)?)?;
    Some([&bytes[..10], &start.to_le_bytes(), &bytes[14..]].concat())
}

/// Whether a WebP file says that it has EXIF data, without which Pillow and browsers look at none, and these end in the file.
/// Otherwise its decoder would ask for as much memory as their length says.
pub(super) fn has_exif(bytes: &[u8]) -> bool {
    const EXIF: u8 = 8;
    if bytes.get(20).is_none_or(|flags| flags & EXIF == 0) {
        return false;
    }
    let mut at = 12usize;
    while let Some(&[a, b, c, d, ref length @ ..]) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let length = u32::from_le_bytes(*length) as usize;
        let Some(end) = at.checked_add(8).and_then(|start| start.checked_add(length)) else { return false };
        if [a, b, c, d] == *b"EXIF" && end > bytes.len() {
            return false;
        }
        let Some(next) = end.checked_add(length % 2) else { return false };
        at = next;
    }
    true
}

/// How EXIF data, from its TIFF header on, asks for the picture to be turned: a number of any integer type, and the first of
/// several, as Pillow takes it.
pub(super) fn orientation(exif: &[u8]) -> Option<Orientation> {
    const ORIENTATION: u64 = 0x0112;
    let is_big = match exif.get(..4)? {
        b"MM\0*" => true,
        b"II*\0" => false,
        _ => return None,
    };
    let number = |at: usize, size: usize| -> Option<u64> {
        let bytes = exif.get(at..at.checked_add(size)?)?;
        let join = |number: u64, &byte: &u8| number << 8 | u64::from(byte);
        Some(if is_big { bytes.iter().fold(0, join) } else { bytes.iter().rev().fold(0, join) })
    };
    let list = number(4, 4)? as usize;
    let count = number(list, 2)? as usize;
    for entry in (0..count).map(|index| list + 2 + 12 * index) {
        if number(entry, 2)? != ORIENTATION {
            continue;
        }
        // One that is cut off counts for nothing.
        number(entry + 8, 4)?;
        let size: usize = match number(entry + 2, 2)? {
            3 | 8 => 2,
            4 | 9 => 4,
            _ => return None,
        };
        // Four bytes stand here, more elsewhere.
        let length = size.checked_mul(number(entry + 4, 4)? as usize).filter(|&length| length > 0)?;
        let at = if length <= 4 { entry + 8 } else { number(entry + 8, 4)? as usize };
        exif.get(at..at.checked_add(length)?)?;
        return Orientation::from_exif(number(at, size)?.try_into().ok()?);
    }
    None
}
