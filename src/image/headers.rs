//! What is read from a file's headers before a decoder gets it.

use std::ops::Range;

use image::ImageFormat;
use image::metadata::Orientation;

/// The flag of a WebP file that has frames.
const ANIMATION: u8 = 2;

/// Whether a file has more than the one frame that is decoded.
pub(super) fn is_animated(format: ImageFormat, bytes: &[u8]) -> bool {
    match format {
        ImageFormat::Gif => has_second_frame(bytes) == Some(true),
        ImageFormat::WebP => webp_flags(bytes).is_some_and(|flags| flags & ANIMATION != 0),
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
    let first = gif_frame_from(bytes, 13 + color_table(*bytes.get(10)?))?;
    let end = gif_blocks_end(bytes, first + 11 + color_table(*bytes.get(first + 9)?))?;
    Some(gif_frame_from(bytes, end).is_some())
}

/// The bytes of a GIF file's colour table.
fn color_table(packed: u8) -> usize {
    if packed & 0x80 == 0 { 0 } else { 6 << (packed & 7) }
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

/// Width and height as a PNG file's header has them.
pub(super) fn png_size(bytes: &[u8]) -> Option<[u32; 2]> {
    let &[a, b, c, d, e, f, g, h] = bytes.get(12..)?.strip_prefix(b"IHDR")?.first_chunk()?;
    Some([[a, b, c, d], [e, f, g, h]].map(u32::from_be_bytes))
}

/// A PNG file of what its pixels are made of, with its end, which may be missing. Nobody reads the rest here, of which some would be
/// refused, and a colour profile unpacked, a gigabyte of a megabyte. Files whose pixels end too early stay so.
///
/// Bytes of the palette that make no whole colour are left out, as are transparencies of colours that it does not have: Pillow and
/// browsers pass over both, the decoder panics at the one and takes the other for damage.
pub(super) fn plain_png(bytes: &[u8]) -> Vec<u8> {
    const END: &[u8] = b"\0\0\0\0IEND\xae\x42\x60\x82";
    let mut plain = bytes[..8].to_vec();
    let mut end = &[][..];
    let mut colors = 0;
    for Chunk { kind, at, next } in chunks(bytes) {
        let is_optional = kind[0].is_ascii_lowercase() && kind != *b"tRNS";
        match (&kind, bytes.get(at..next)) {
            _ if is_optional => {}
            (b"IEND", Some(_)) => break,
            (b"IDAT", None) => return [&plain, &bytes[at..]].concat(),
            (_, Some(whole)) => {
                let length = whole.len() - 12;
                let most = match &kind {
                    b"PLTE" => {
                        colors = length / 3;
                        3 * colors
                    }
                    b"tRNS" if bytes.get(25) == Some(&3) => colors,
                    _ => length,
                };
                if length > most {
                    let data = &whole[4..8 + most];
                    plain.extend([&(most as u32).to_be_bytes(), data, &checksum(data).to_be_bytes()].concat());
                } else {
                    plain.extend(whole);
                }
                if kind == *b"IDAT" {
                    end = END;
                }
            }
            (_, None) => {}
        }
    }
    plain.extend(end);
    plain
}

/// That of a PNG file's chunk: CRC-32.
pub(super) fn checksum(bytes: &[u8]) -> u32 {
    let shift = |sum: u32| if sum & 1 == 0 { sum >> 1 } else { sum >> 1 ^ 0xedb8_8320 };
    !bytes.iter().fold(!0, |sum, &byte| (0..8).fold(sum ^ u32::from(byte), |sum, _| shift(sum)))
}

/// A PNG file's EXIF data: the last ones, wherever they are, as Pillow takes them.
pub(super) fn png_exif(bytes: &[u8]) -> Option<&[u8]> {
    let chunk =
        chunks(bytes).take_while(|chunk| chunk.kind != *b"IEND").filter(|chunk| chunk.kind == *b"eXIf").last()?;
    bytes.get(chunk.at + 8..chunk.next - 4)
}

/// A GIF file's first frame alone.
pub(super) struct Gif {
    /// The file of it: its screen holds the frame, whose rows come as they are stored, and it has 256 colours of its own.
    pub plain: Vec<u8>,
    /// Width and height of the screen, as large as Pillow and browsers show it, or of a frame without pixels.
    pub size: [u32; 2],
    /// The frame's rows, if every eighth of them is stored first, then those between.
    pub interlaced: Option<Range<usize>>,
}

/// `None` where there is no frame.
///
/// The decoder refuses extensions that it does not know and files without colours, which are grey in Pillow; it leaves out pixels
/// whose colour the file does not have, which are black in Pillow and browsers; and it calls sound files damaged if it puts rows in
/// order (<https://github.com/image-rs/weezl/issues/68>).
pub(super) fn plain_gif(bytes: &[u8]) -> Option<Gif> {
    let shared = color_table(*bytes.get(10)?);
    let mut at = 13 + shared;
    // It says which colour is none. Of several the last one counts, and of its blocks the first.
    let mut control = None;
    while *bytes.get(at)? == 0x21 {
        let next = gif_blocks_end(bytes, at + 2)?;
        if let [0xf9, 4..=255, a, b, c, d, ..] = bytes[at + 1..next] {
            control = Some([0x21, 0xf9, 4, a, b, c, d, 0]);
        }
        at = next;
    }
    let frame: &[u8; 10] = bytes.get(at..)?.first_chunk().filter(|frame| frame[0] == 0x2c)?;
    let (own, data) = bytes[at + 10..].split_at_checked(color_table(frame[9]))?;
    let greys: Vec<u8> = (0..=255).flat_map(|level| [level; 3]).collect();
    let colors = match own {
        [] if shared > 0 => &bytes[13..13 + shared],
        [] => &greys,
        _ => own,
    };
    let number = |bytes: &[u8], at: usize| u32::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
    let [left, top, width, height] = [1, 3, 5, 7].map(|at| number(frame, at));
    let screen = [number(bytes, 6).max(left + width), number(bytes, 8).max(top + height)];
    let size = if width == 0 || height == 0 { [width, height] } else { screen };
    let [across, down] = screen.map(|side| (side as u16).to_le_bytes());
    let control = control.as_slice().as_flattened();
    let black = vec![0; 3 * 256 - colors.len()];
    let plain = [&bytes[..6], &across, &down, &[0; 3], control, &frame[..9], &[0x87], colors, &black, data].concat();
    let rows = top as usize..(top + height) as usize;
    Some(Gif { plain, size, interlaced: (frame[9] & 0x40 != 0).then_some(rows) })
}

/// Width and height as a BMP file's header has them: a height below 0 says that the rows begin at the top.
pub(super) fn bmp_size(bytes: &[u8]) -> Option<[u32; 2]> {
    let &[a, b, c, d, e, f, g, h] = bytes.get(18..)?.first_chunk()?;
    Some(match bytes[14] {
        12 => [[a, b, 0, 0], [c, d, 0, 0]].map(u32::from_le_bytes),
        _ => [[a, b, c, d], [e, f, g, h]].map(|side| i32::from_le_bytes(side).unsigned_abs()),
    })
}

/// What in a BMP file's header the decoder does not know.
pub(super) fn bmp_oddity(bytes: &[u8]) -> Option<String> {
    let number = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
    let header = number(14)?;
    let (bits, compression) = match header {
        12 => (number(22)? >> 16, None),
        16 | 64 => return Some(format!("a header of {header} bytes")),
        _ => (number(26)? >> 16, Some(number(30)?)),
    };
    let known: &[u32] = match compression {
        None => &[1, 4, 8, 24],
        Some(0) => &[1, 2, 4, 8, 16, 24, 32],
        Some(1) => &[8],
        Some(2) => &[4],
        Some(3) => &[16, 32],
        _ => &[],
    };
    (!known.contains(&bits)).then(|| format!("{bits} bits a pixel in compression {}", compression.unwrap_or(0)))
}

/// A BMP file as Pillow reads it: with one plane, with no more colours than its bits can name, and with its pixels behind its headers
/// if it does not say where they begin, or says that it is where its colours do.
pub(super) fn plain_bmp(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut head = bytes[..bytes.len().min(50)].to_vec();
    let header = bytes[14];
    let (planes, entry) = if header == 12 { (22, 3) } else { (26, 4) };
    head.get_mut(planes..planes + 2)?.copy_from_slice(&[1, 0]);
    let bits = bytes.get(planes + 2..)?.first_chunk().map(|bits| u16::from_le_bytes(*bits))?;
    let number = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
    let named = if header == 12 { 0 } else { number(46)? };
    if bits <= 8 && named > 1 << bits {
        head[46..50].copy_from_slice(&(1_u32 << bits).to_le_bytes());
    }
    let start = number(10)?;
    if start == 0 || bits <= 8 && start == 14 + u32::from(header) {
        let masks = if header == 40 && number(30)? == 3 { 12 } else { 0 };
        let colors = if bits > 8 || named > 0 { named } else { 1 << bits };
        let start = colors.checked_mul(entry)?.checked_add(14 + masks + u32::from(header))?;
        head[10..14].copy_from_slice(&start.to_le_bytes());
    }
    let (own, rest) = bytes.split_at(head.len());
    (head != own).then(|| [&head, rest].concat())
}

/// What flags a WebP file has, if it has any.
fn webp_flags(bytes: &[u8]) -> Option<u8> {
    bytes.get(12..21)?.strip_prefix(b"VP8X").map(|rest| rest[4])
}

/// Where the data of a WebP file's first chunk of this kind are, if they end in the file.
fn webp_chunk(bytes: &[u8], kind: &[u8; 4]) -> Option<Range<usize>> {
    let mut at = 12_usize;
    loop {
        let &[a, b, c, d, ref length @ ..] = bytes.get(at..)?.first_chunk::<8>()?;
        let length = u32::from_le_bytes(*length) as usize;
        let data = at + 8..(at + 8).checked_add(length).filter(|&end| end <= bytes.len())?;
        if [a, b, c, d] == *kind {
            return Some(data);
        }
        at = data.end + length % 2;
    }
}

/// A WebP file that is right about whether it has transparency, as Pillow reads it, and whose first frame is not blended with the
/// nothing behind it, which would make it a level darker.
pub(super) fn plain_webp(bytes: &[u8]) -> Option<Vec<u8>> {
    const ALPHA: u8 = 0x10;
    const REPLACES: u8 = 2;
    let flags = webp_flags(bytes)?;
    let (at, byte) = if flags & ANIMATION != 0 {
        let at = webp_chunk(bytes, b"ANMF")?.start + 15;
        (at, bytes.get(at)? | REPLACES)
    } else {
        let has_alpha = match webp_chunk(bytes, b"VP8L") {
            Some(pixels) => (flags | bytes[pixels].get(4)?) & ALPHA != 0,
            None => flags & ALPHA != 0 && webp_chunk(bytes, b"ALPH").is_some(),
        };
        (20, if has_alpha { flags | ALPHA } else { flags & !ALPHA })
    };
    (bytes[at] != byte).then(|| {
        let mut plain = bytes.to_vec();
        plain[at] = byte;
        plain
    })
}

/// A WebP file's EXIF data, if it says that it has some, without which Pillow and browsers look at none, and they end in the file.
pub(super) fn webp_exif(bytes: &[u8]) -> Option<&[u8]> {
    const EXIF: u8 = 8;
    webp_flags(bytes).filter(|flags| flags & EXIF != 0)?;
    webp_chunk(bytes, b"EXIF").map(|data| &bytes[data])
}

/// How EXIF data, from its TIFF header on, asks for the picture to be turned: a number of any integer type, and the first of
/// several, as Pillow takes it. What leads them in JPEG files may do so elsewhere.
pub(super) fn orientation(mut exif: &[u8]) -> Option<Orientation> {
    const ORIENTATION: u64 = 0x0112;
    while let Some(rest) = exif.strip_prefix(b"Exif\0\0") {
        exif = rest;
    }
    let is_big = match exif.get(..4)? {
        // The second is BigTIFF's, which Pillow does not tell apart here.
        b"MM\0*" | b"MM\0+" => true,
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
