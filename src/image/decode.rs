//! From the bytes of a file to pixels.

use std::io::Cursor;

use image::error::ImageError;
use image::metadata::Orientation;
use image::{ColorType, ImageDecoder, ImageFormat, ImageReader, Limits};

use super::{Image, check_size, headers, jpeg, refuse};
use crate::Result;

#[cfg(not(target_family = "wasm"))]
const ACCEPTED: &str = "PNG, JPEG, WebP, GIF and BMP are accepted";

/// The package has asked the browser before it asks this crate.
#[cfg(target_family = "wasm")]
const ACCEPTED: &str = "PNG, JPEG, WebP, GIF, BMP and what this browser itself can show, such as SVG, are accepted";

/// What decoders may allocate, in bytes: 64 megapixels of 16-bit RGBA, twice.
const MAX_ALLOCATION: u64 = 1 << 30;

impl Image {
    /// Reads a PNG, JPEG, WebP, GIF (its first frame) or BMP file.
    ///
    /// The picture is turned upright as its EXIF data asks (XMP is not read). 16-bit samples are rounded to 8 bits, grey becomes
    /// equal red, green and blue; embedded colour profiles are ignored, as Pillow does.
    ///
    /// # Errors
    /// `ImageError` if the bytes are something else, which is then named; if they are damaged or end too early; or if
    /// the picture is larger than [`MAX_SIDE`](super::MAX_SIDE) or [`MAX_PIXELS`](super::MAX_PIXELS).
    pub fn decode(bytes: &[u8]) -> Result<Image> {
        let Some(FileKind { name, format, .. }) = FileKind::of(bytes) else {
            return Err(refuse(format!("{}; {ACCEPTED}", describe_unknown(bytes))));
        };
        if format == ImageFormat::Jpeg {
            let jpeg = jpeg::decode(bytes)?;
            let image = Image { width: jpeg.width, height: jpeg.height, rgba: jpeg.rgba, is_animated: false };
            return Ok(upright(image, headers::orientation(&jpeg.exif)));
        }
        // What decoders say is made for those who use them in a program.
        let damaged = |error: ImageError| {
            refuse(match error {
                ImageError::Unsupported(_) => format!("this {name} image is of a kind that is not supported"),
                ImageError::Limits(_) => format!("this {name} image needs too much memory to decode"),
                _ => format!("this {name} image is damaged or ends too early"),
            })
        };
        let check_size = |[width, height]: [u32; 2]| check_size(&format!("this {name} image"), width, height);

        let mut interlaced = None;
        let (size, mended) = match format {
            ImageFormat::Png => (headers::png_size(bytes), Some(headers::plain_png(bytes))),
            ImageFormat::Gif if cfg!(feature = "formats") => headers::plain_gif(bytes).map_or((None, None), |gif| {
                interlaced = gif.interlaced;
                (Some(gif.size), Some(gif.plain))
            }),
            ImageFormat::Bmp if cfg!(feature = "formats") => {
                if let Some(oddity) = headers::bmp_oddity(bytes) {
                    return Err(refuse(format!("this BMP image is of a kind that is not supported: {oddity}")));
                }
                (headers::bmp_size(bytes), headers::plain_bmp(bytes))
            }
            ImageFormat::WebP if cfg!(feature = "formats") => (None, headers::plain_webp(bytes)),
            _ => (None, None),
        };
        size.map_or(Ok(()), check_size)?;
        let mut reader = ImageReader::with_format(Cursor::new(mended.as_deref().unwrap_or(bytes)), format);
        let mut limits = Limits::no_limits();
        limits.max_alloc = Some(MAX_ALLOCATION);
        reader.limits(limits);
        let decoder = reader.into_decoder().map_err(damaged)?;
        let (width, height) = decoder.dimensions();
        check_size([width, height])?;
        let exif = match format {
            ImageFormat::Png => headers::png_exif(bytes),
            ImageFormat::WebP if cfg!(feature = "formats") => headers::webp_exif(bytes),
            _ => None,
        };
        let color = decoder.color_type();
        let mut samples = vec![0; decoder.total_bytes() as usize];
        decoder.read_image(&mut samples).map_err(damaged)?;
        let mut rgba = rgba_from_samples(samples, color);
        if let Some(rows) = interlaced {
            in_order(&mut rgba[4 * width as usize * rows.start..4 * width as usize * rows.end], rows.len());
        }
        let is_animated = headers::is_animated(format, bytes);
        Ok(upright(Image { width, height, rgba, is_animated }, exif.and_then(headers::orientation)))
    }
}

/// A kind of file that [`Image::decode`] reads.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FileKind {
    /// As people call it.
    pub name: &'static str,
    /// How such a file begins; a `?` stands for any byte.
    pub magic: &'static [u8],
    /// Whether few pages meet it: the browser's small build has no decoder for it.
    pub is_rare: bool,
    format: ImageFormat,
}

impl FileKind {
    /// All of them.
    pub const ALL: [FileKind; 5] = [
        FileKind { name: "PNG", magic: b"\x89PNG\r\n\x1a\n", is_rare: false, format: ImageFormat::Png },
        FileKind { name: "JPEG", magic: b"\xff\xd8\xff", is_rare: false, format: ImageFormat::Jpeg },
        FileKind { name: "WebP", magic: b"RIFF????WEBP", is_rare: true, format: ImageFormat::WebP },
        FileKind { name: "GIF", magic: b"GIF8?a", is_rare: true, format: ImageFormat::Gif },
        FileKind { name: "BMP", magic: b"BM", is_rare: true, format: ImageFormat::Bmp },
    ];

    /// The kind of a file.
    pub fn of(bytes: &[u8]) -> Option<FileKind> {
        let begins = |kind: &FileKind| {
            let head = bytes.get(..kind.magic.len())?;
            Some(head.iter().zip(kind.magic).all(|(byte, mark)| *mark == b'?' || byte == mark))
        };
        // Two letters alone would also match a text; the size of the header that follows does not.
        let is_text = |kind: &FileKind| {
            kind.name == "BMP" && !matches!(bytes.get(14..18), Some([12 | 16 | 40 | 52 | 56 | 64 | 108 | 124, 0, 0, 0]))
        };
        FileKind::ALL.into_iter().find(|kind| begins(kind) == Some(true) && !is_text(kind))
    }
}

/// What the bytes seem to be, as the beginning of a sentence.
fn describe_unknown(bytes: &[u8]) -> String {
    // The brand of an ISO media file (HEIC, AVIF, MP4) stands behind `ftyp`.
    const SIGNATURES: [(usize, &[u8], &str); 25] = [
        (4, b"ftypavi", "an AVIF image"),
        (4, b"ftyphei", "a HEIC image"),
        (4, b"ftyphev", "a HEIC image"),
        (4, b"ftypmif1", "a HEIF image"),
        (4, b"ftypmsf1", "a HEIF image"),
        (4, b"ftyp", "a video"),
        (0, b"\x1a\x45\xdf\xa3", "a video"),
        (0, b"\0\0\0\x0cJXL ", "a JPEG XL image"),
        (0, b"\xff\x0a", "a JPEG XL image"),
        (0, b"\0\0\0\x0cjP  ", "a JPEG 2000 image"),
        (0, b"II*\0", "a TIFF image"),
        (0, b"MM\0*", "a TIFF image"),
        (0, b"8BPS", "a Photoshop document"),
        (0, b"\0\0\x01\0", "an icon"),
        (0, b"%PDF", "a PDF document, not an image"),
        (0, b"PK\x03\x04", "a ZIP archive or an office document, not an image"),
        (0, b"\x1f\x8b", "a gzip archive, not an image"),
        (0, b"RIFF", "a sound or video file, not an image"),
        (0, b"ID3", "a sound file, not an image"),
        (0, b"OggS", "a sound or video file, not an image"),
        (0, b"<svg", "an SVG drawing"),
        (0, b"<?xml", "an XML file, not an image of pixels"),
        (0, b"<!doctype html", "a web page, not an image"),
        (0, b"<!DOCTYPE html", "a web page, not an image"),
        (0, b"<html", "a web page, not an image"),
    ];
    if bytes.is_empty() {
        return "the file is empty".into();
    }
    for (offset, magic, name) in SIGNATURES {
        if bytes.get(offset..).is_some_and(|rest| rest.starts_with(magic)) {
            return format!("this is {name}");
        }
    }
    let head = &bytes[..bytes.len().min(512)];
    let is_text = match std::str::from_utf8(head) {
        Ok(text) => !text.contains('\0'),
        // The cut may have split the last character.
        Err(error) => error.error_len().is_none() && !head.contains(&0),
    };
    if is_text { "this is a text file, not an image".into() } else { "this is not an image of a known format".into() }
}

/// Puts `count` rows, of which every eighth is stored first, then those between, in their order.
fn in_order(rows: &mut [u8], count: usize) {
    let stored = rows.to_vec();
    let row = rows.len() / count;
    let order = [(0, 8), (4, 8), (2, 4), (1, 2)].into_iter().flat_map(|(first, step)| (first..count).step_by(step));
    for (from, to) in stored.chunks_exact(row).zip(order) {
        rows[to * row..][..row].copy_from_slice(from);
    }
}

fn rgba_from_samples(samples: Vec<u8>, color: ColorType) -> Vec<u8> {
    fn grey([l]: [u8; 1]) -> [u8; 4] {
        [l, l, l, 255]
    }
    fn grey_alpha([l, a]: [u8; 2]) -> [u8; 4] {
        [l, l, l, a]
    }
    fn rgb([r, g, b]: [u8; 3]) -> [u8; 4] {
        [r, g, b, 255]
    }
    fn each<const N: usize>(samples: &[u8], pixel: impl Fn([u8; N]) -> [u8; 4]) -> Vec<u8> {
        samples.as_chunks::<N>().0.iter().map(|&samples| pixel(samples)).collect::<Vec<_>>().into_flattened()
    }
    match color {
        ColorType::Rgba8 => samples,
        ColorType::L8 => each(&samples, grey),
        ColorType::La8 => each(&samples, grey_alpha),
        ColorType::Rgb8 => each(&samples, rgb),
        ColorType::L16 => each(&eight_bits(&samples), grey),
        ColorType::La16 => each(&eight_bits(&samples), grey_alpha),
        ColorType::Rgb16 => each(&eight_bits(&samples), rgb),
        ColorType::Rgba16 => eight_bits(&samples),
        _ => unreachable!("none of the five formats has such samples"),
    }
}

/// 16-bit samples in native byte order, rounded to the nearest of the 256 levels.
fn eight_bits(samples: &[u8]) -> Vec<u8> {
    let round = |&pair: &[u8; 2]| ((u32::from(u16::from_ne_bytes(pair)) * 255 + 32_767) / 65_535) as u8;
    samples.as_chunks::<2>().0.iter().map(round).collect()
}

fn upright(image: Image, orientation: Option<Orientation>) -> Image {
    let Some(orientation) = orientation else { return image };
    let (w, h) = (image.width as usize, image.height as usize);
    let (row, last) = (w as isize, (w * h) as isize - 1);
    // Which stored pixel comes first in the upright picture, and how far it is from there to the next one in its row
    // and in its column.
    let (first, right, down) = match orientation {
        Orientation::NoTransforms => return image,
        Orientation::FlipHorizontal => (row - 1, -1, row),
        Orientation::Rotate180 => (last, -1, -row),
        Orientation::FlipVertical => (last - row + 1, 1, -row),
        Orientation::Rotate90FlipH => (0, row, 1),
        Orientation::Rotate90 => (last - row + 1, -row, 1),
        Orientation::Rotate270FlipH => (last, -row, -1),
        Orientation::Rotate270 => (row - 1, row, -1),
    };
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    let turned = matches!(orientation, Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH);
    let (width, height) = if turned { (h, w) } else { (w, h) };
    let stored = image.rgba.as_chunks::<4>().0;
    let mut pixels = vec![[0; 4]; w * h];
    // A cache line holds 16 pixels: all of them are used while it is there, also where rows become columns.
    for (band, rows) in pixels.chunks_mut(16 * width).enumerate() {
        for x in 0..width {
            let mut at = first + right * x as isize + down * (16 * band) as isize;
            for pixel in rows[x..].iter_mut().step_by(width) {
                *pixel = stored[at as usize];
                at += down;
            }
        }
    }
    Image { width: width as u32, height: height as u32, rgba: pixels.into_flattened(), ..image }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[track_caller]
    fn check_refused(bytes: &[u8], message: &str) {
        let error = Image::decode(bytes).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Image);
        assert_eq!(error.message(), message);
    }

    #[test]
    fn other_files_are_called_by_their_name() {
        for (bytes, message) in [
            (&b""[..], "the file is empty"),
            (b"hello", "this is a text file, not an image"),
            ("smörgåsbord".as_bytes(), "this is a text file, not an image"),
            (b"%PDF-1.7", "this is a PDF document, not an image"),
            (b"\0\0\0\x1cftypheic", "this is a HEIC image"),
            (b"\0\0\0\x1cftypavif", "this is an AVIF image"),
            (b"\0\0\0\x1cftypmp42", "this is a video"),
            (b"<svg xmlns", "this is an SVG drawing"),
            (b"PK\x03\x04", "this is a ZIP archive or an office document, not an image"),
            (b"RIFF\0\0\0\0WAVEfmt ", "this is a sound or video file, not an image"),
            (b"BMW is a maker of cars", "this is a text file, not an image"),
            (b"\x08\x07\x12\x07pytorch", "this is a text file, not an image"),
            (b"\x00\x01\xfe\xff", "this is not an image of a known format"),
        ] {
            assert!(FileKind::of(bytes).is_none());
            check_refused(bytes, &format!("{message}; PNG, JPEG, WebP, GIF and BMP are accepted"));
        }
    }

    #[test]
    fn huge_sizes_are_refused_by_what_the_header_says() {
        // Headers alone: nothing but their size could be wrong with them yet.
        let png = [
            b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".as_slice(),
            &20_000u32.to_be_bytes(),
            &10_000u32.to_be_bytes(),
            b"\x08\x06\0\0\0\xf9\x24\x48\xa2\0\0\0\0IDAT",
        ];
        let jpeg = [
            b"\xff\xd8\xff\xc0\0\x11\x08".as_slice(),
            &10_000u16.to_be_bytes(),
            &20_000u16.to_be_bytes(),
            b"\x03\x01\x11\0\x02\x11\0\x03\x11\0\xff\xda\0\x0c\x03\x01\0\x02\0\x03\0\0\x3f\0",
        ];
        let gif = [
            b"GIF89a".as_slice(),
            &20_000u16.to_le_bytes(),
            &10_000u16.to_le_bytes(),
            b"\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02\x44\x01\0;",
        ];
        for (name, header) in [("PNG", png.concat()), ("JPEG", jpeg.concat()), ("GIF", gif.concat())] {
            check_refused(
                &header,
                &format!(
                    "this {name} image is too large: 20000 × 10000 pixels; at most 65535 pixels a side and 64 \
                     megapixels are accepted"
                ),
            );
        }
    }

    #[test]
    fn a_frame_that_ends_beyond_all_screens_is_not_cut() {
        // One pixel at 65,535 of a screen of 1 × 1.
        let gif = b"GIF89a\x01\0\x01\0\0\0\0,\xff\xff\0\0\x01\0\x01\0\0\x02\x02\x44\x01\0;";
        check_refused(
            gif,
            "this GIF image is too large: 65536 × 1 pixels; at most 65535 pixels a side and 64 megapixels are accepted",
        );
    }

    /// A chunk of a PNG file.
    fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
        let named = [kind, data].concat();
        [&(data.len() as u32).to_be_bytes()[..], &named, &headers::checksum(&named).to_be_bytes()].concat()
    }

    /// A PNG file of four pixels in a row, which are the first four of these colours.
    fn four_colors(palette: &[u8], alphas: &[u8], others: &[Vec<u8>]) -> Vec<u8> {
        let pixels = b"x\x9cc``db\x06\x00\x00\x0f\x00\x07";
        [
            &b"\x89PNG\r\n\x1a\n"[..],
            &chunk(b"IHDR", b"\0\0\0\x04\0\0\0\x01\x08\x03\0\0\0"),
            &others.concat(),
            &chunk(b"PLTE", palette),
            &chunk(b"tRNS", alphas),
            &chunk(b"IDAT", pixels),
            &chunk(b"IEND", b""),
        ]
        .concat()
    }

    #[track_caller]
    fn check_pixels(bytes: &[u8], pixels: &[[u8; 4]]) {
        assert_eq!(Image::decode(bytes).unwrap().rgba().as_chunks().0, pixels);
    }

    const FOUR: [u8; 12] = [255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 8, 7];

    #[test]
    fn bytes_of_a_palette_that_are_no_colour_are_left_out() {
        // Pillow and Chromium have black for colours that are not there.
        const BLACK: [u8; 4] = [0, 0, 0, 255];
        let [red, green, blue] = [[255, 0, 0, 255], [0, 255, 0, 255], [0, 0, 255, 255]];
        check_pixels(&four_colors(&FOUR[..4], &[], &[]), &[red, BLACK, BLACK, BLACK]);
        check_pixels(&four_colors(&FOUR[..8], &[], &[]), &[red, green, BLACK, BLACK]);
        check_pixels(&four_colors(&FOUR[..11], &[], &[]), &[red, green, blue, BLACK]);
    }

    #[test]
    fn transparencies_of_no_colour_are_left_out() {
        let alphas: Vec<u8> = (0..=255).map(|index: u8| index.wrapping_mul(50)).collect();
        let pixels = [[255, 0, 0, 0], [0, 255, 0, 50], [0, 0, 255, 100], [9, 8, 7, 150]];
        check_pixels(&four_colors(&FOUR, &alphas, &[]), &pixels);
    }

    #[test]
    fn chunks_that_nobody_reads_make_no_png_file_wrong() {
        // A background before its palette, colours of no known kind, an animation without frames and one without a size.
        let others = [(b"bKGD", &b"\x03"[..]), (b"cICP", &[1, 2, 3, 4]), (b"acTL", &[0; 8]), (b"fcTL", &[0; 5])];
        let others = others.map(|(kind, data)| chunk(kind, data));
        assert_eq!(
            Image::decode(&four_colors(&FOUR, &[], &others)).unwrap(),
            Image::decode(&four_colors(&FOUR, &[], &[])).unwrap()
        );
    }

    #[test]
    fn exif_data_behind_the_pixels_and_with_their_jpeg_prefix_count() {
        let tiff = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0";
        let whole = four_colors(&FOUR, &[], &[]);
        let exif = chunk(b"eXIf", &[b"Exif\0\0", &tiff[..]].concat());
        let turned = [&whole[..whole.len() - 12], &exif, &whole[whole.len() - 12..]].concat();
        let image = Image::decode(&turned).unwrap();
        assert_eq!((image.width(), image.height()), (1, 4));
    }

    #[test]
    fn rows_and_colours_of_a_gif_file_are_put_right() {
        // At 1, 1 of 4 × 10 pixels, an interlaced frame of 2 × 9 pixels, whose colours are 0 to 3 from row to row, and back from 3
        // to 0. It has red and blue, of which blue is none. An unknown extension comes before.
        let gif = b"GIF89a\x04\0\x0a\0p\0\0!\x99\x04what\0!\xf9\x04\x01\x0a\0\x01\0,\x01\0\x01\0\x02\0\x09\0\xc0\xff\0\0\0\0\xff\
            \x02\x07\xc4l\x12\xba\xd7P\0\0;";
        const NONE: [u8; 4] = [0, 0, 0, 0];
        let colors = [[255, 0, 0, 255], [0, 0, 255, 0], [0, 0, 0, 255], [0, 0, 0, 255]];
        let rows = (0..9).map(|row| [NONE, colors[row % 4], colors[3 - row % 4], NONE]);
        let pixels: Vec<[u8; 4]> = [[NONE; 4]].into_iter().chain(rows).flatten().collect();
        check_pixels(gif, &pixels);
    }

    #[test]
    fn interlaced_rows_that_share_codes_are_read() {
        // Pillow's own file of 23 × 16 white pixels.
        let gif = b"GIF87a\x17\0\x10\0\x81\0\0\xff\xff\xff\0\0\0\0\0\0\0\0\0,\0\0\0\0\x17\0\x10\0@\x08!\0\x01\x08\x1cH\xb0\xa0\xc1\
            \x83\x08\x13*\\\xc8\xb0\xa1\xc3\x87\x10#J\x9cH\xb1\xa2\xc5\x8b\x183j\x8c\x18\x10\0;";
        check_pixels(gif, &[[255; 4]; 23 * 16]);
    }

    #[test]
    fn a_gif_file_without_colours_is_grey() {
        let gif = b"GIF89a\x02\0\x01\0p\0\0,\0\0\0\0\x02\0\x01\0\0\x08\x05\0\x03 \x0b\x08\0;";
        check_pixels(gif, &[[1, 1, 1, 255], [200, 200, 200, 255]]);
    }

    /// A BMP file of two pixels, colours 1 and 2 of three, four bits each.
    fn bmp() -> Vec<u8> {
        let mut file = b"BM\0\0\0\0\0\0\0\0\x42\0\0\0\x28\0\0\0\x02\0\0\0\x01\0\0\0\x01\0\x04\0".to_vec();
        file.extend(
            [&[0; 16], &[3_u8, 0, 0, 0, 0, 0, 0, 0][..], &[1, 1, 1, 0, 2, 2, 2, 0, 3, 3, 3, 0], &[0x12, 0, 0, 0]]
                .concat(),
        );
        file
    }

    #[test]
    fn planes_and_colours_of_a_bmp_file_are_put_right() {
        let pixels = [[2, 2, 2, 255], [3, 3, 3, 255]];
        check_pixels(&bmp(), &pixels);
        for planes in [0, 5] {
            let mut file = bmp();
            file[26] = planes;
            check_pixels(&file, &pixels);
        }
        // Pixels where the colours are, or nowhere.
        for start in [0, 54] {
            let mut file = bmp();
            file[10] = start;
            check_pixels(&file, &pixels);
        }
        // 17 colours of 16.
        let mut file = bmp();
        file[46] = 17;
        file[10] += 56;
        file.splice(66..66, [0; 56]);
        check_pixels(&file, &pixels);
    }

    #[test]
    fn a_webp_file_is_as_transparent_as_its_pixels_are() {
        // The flags say that nothing is.
        let webp = b"RIFF\x34\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\x01\0\0\0\0\0VP8L\x16\0\0\0/\x01\0\0\x10\x0fp\x0a\xa8+\xf8\x9e\xc2\
            \xe3\x81\xff\xc1\x83\x8c\xe8\x7f\0";
        check_pixels(webp, &[[200, 100, 50, 128], [10, 20, 30, 255]]);

        // The flags say that something is, though it has no transparency.
        let lossy = include_bytes!("../../tests/data/images/lossy.webp");
        let [width, height] = [40, 24].map(|side: u8| [side - 1, 0, 0]);
        let flags = [&b"RIFF\0\x10\0\0WEBPVP8X\x0a\0\0\0\x10\0\0\0"[..], &width, &height].concat();
        assert_eq!(Image::decode(&[&flags, &lossy[12..]].concat()).unwrap(), Image::decode(lossy).unwrap());
    }

    #[test]
    fn the_first_frame_of_a_webp_file_keeps_its_levels() {
        // It is to be blended with what was there before.
        let webp = b"RIFF\x5a\0\0\0WEBPVP8X\x0a\0\0\0\x02\0\0\0\x01\0\0\0\0\0ANIM\x06\0\0\0\0\0\0\0\0\0ANMF.\0\0\0\0\0\0\0\0\0\x01\0\
            \0\0\0\0\x64\0\0\0VP8L\x15\0\0\0/\x01\0\0\0\x0fp\x0a\xa8+\xf8\x9e\xc2c\xfe\x83\x07\x19\xd1\xff\0\0";
        check_pixels(webp, &[[200, 100, 50, 255], [10, 20, 30, 255]]);
    }

    #[test]
    fn refusals_are_sentences_of_our_own() {
        let png = four_colors(&FOUR, &[], &[]);
        let changed = |file: &[u8], at: usize, byte: u8| {
            let mut file = file.to_vec();
            file[at] = byte;
            file
        };
        check_refused(&changed(&png, 19, 0), "this PNG image is empty (0 × 1 pixels)");
        check_refused(&changed(&png, 30, 1), "this PNG image is damaged or ends too early");
        check_refused(&png[..40], "this PNG image is damaged or ends too early");
        let bmp = bmp();
        check_refused(&changed(&bmp, 22, 0), "this BMP image is empty (2 × 0 pixels)");
        check_refused(
            &changed(&bmp, 20, 1),
            "this BMP image is too large: 65538 × 1 pixels; at most 65535 pixels a side and 64 megapixels are accepted",
        );
        check_refused(&bmp[..68], "this BMP image is damaged or ends too early");
        let odd = "this BMP image is of a kind that is not supported: ";
        check_refused(&changed(&bmp, 30, 4), &format!("{odd}4 bits a pixel in compression 4"));
        check_refused(&changed(&bmp, 14, 64), &format!("{odd}a header of 64 bytes"));
        let gif = b"GIF89a\x02\0\x01\0p\0\0,\0\0\0\0\0\0\x01\0\0\x08\x05\0\x03 \x0b\x08\0;";
        check_refused(gif, "this GIF image is empty (0 × 1 pixels)");
    }

    #[test]
    fn colour_profiles_are_not_unpacked() {
        // Two of them, of no compression that exists: a decoder that looked at them would say so.
        let png = include_bytes!("../../tests/data/pictures/exif.png");
        let profile = b"\0\0\0\x04iCCPx\0\xff\xff\0\0\0\0";
        let with_profiles = [&png[..33], profile, profile, &png[33..]].concat();
        assert_eq!(headers::plain_png(&with_profiles), headers::plain_png(png));
        assert_eq!(Image::decode(&with_profiles).unwrap(), Image::decode(png).unwrap());
    }

    #[test]
    fn exif_data_that_are_longer_than_their_file_are_left_out() {
        let whole = include_bytes!("../../tests/data/pictures/exif.webp");
        assert!(headers::webp_exif(whole).is_some());
        let turned = Image::decode(whole).unwrap();
        let mut bytes = whole.to_vec();
        let at = bytes.windows(4).position(|name| name == b"EXIF").unwrap() + 4;
        bytes[at..at + 4].copy_from_slice(&3_385_393_178_u32.to_le_bytes());
        assert!(headers::webp_exif(&bytes).is_none());
        let image = Image::decode(&bytes).unwrap();
        assert_eq!((image.width(), image.height()), (turned.height(), turned.width()));
    }

    #[test]
    fn sixteen_bits_are_rounded_to_eight() {
        // 65535 / 255 = 257 a level: 128 is nearer to 0 and 129 to 1.
        let samples: Vec<u8> = [0u16, 128, 129, 65_535, 65_406, 25_700].iter().flat_map(|v| v.to_ne_bytes()).collect();
        assert_eq!(eight_bits(&samples), [0, 0, 1, 255, 254, 100]);
    }

    #[test]
    fn each_orientation_brings_the_stored_corners_upright() {
        // Files of two pixels, 1 and 2, beside each other and one below the other, with the EXIF standard's transforms.
        for (orientation, turned, from_row, from_column) in [
            (1, false, [1, 2], [1, 2]),
            (2, false, [2, 1], [1, 2]),
            (3, false, [2, 1], [2, 1]),
            (4, false, [1, 2], [2, 1]),
            (5, true, [1, 2], [1, 2]),
            (6, true, [1, 2], [2, 1]),
            (7, true, [2, 1], [2, 1]),
            (8, true, [2, 1], [1, 2]),
        ] {
            for (width, height, expected) in [(2, 1, from_row), (1, 2, from_column)] {
                let stored = Image::from_rgba(width, height, vec![1, 1, 1, 1, 2, 2, 2, 2]).unwrap();
                let image = upright(stored, Orientation::from_exif(orientation));
                let size = if turned { (height, width) } else { (width, height) };
                assert_eq!((image.width(), image.height()), size, "{orientation}");
                assert_eq!([image.rgba()[0], image.rgba()[4]], expected, "{orientation}, {width} × {height}");
            }
        }
    }
}
