//! JPEG files, decoded to the pixels that libjpeg-turbo gives, and with it Pillow and the browsers.
//!
//! The decoding crates that were tried give garbage for legal files that cameras and scanners write: `zune-jpeg` for
//! separate scans with vertical subsampling, for chroma finer than luma and for a JFIF file with an Adobe marker;
//! `jpeg-decoder` differs by up to 3 levels and refuses files without an end. Here the arithmetic (the slow integer cosine
//! transform, triangle-filter upsampling, 16-bit fixed-point colours) is libjpeg's, bit for bit.
//!
//! **Invariants.** Nothing is guessed: a file whose compressed data is damaged or ends before the picture does is
//! refused, where libjpeg fills the rest with grey. Sizes are checked before memory is taken.

use super::{check_size, refuse};
use crate::{Error, Result};

/// A decoded file, as it is stored.
pub(super) struct Jpeg {
    pub width: u32,
    pub height: u32,
    /// Row-major, four bytes a pixel.
    pub rgba: Vec<u8>,
    /// What stands behind `Exif\0\0`, from the first segment that has something there.
    pub exif: Vec<u8>,
}

/// Where the coefficient that comes `k`-th in the file lies in its block (ITU T.81, figure A.6).
const ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21,
    28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54,
    47, 55, 62, 63,
];

/// The tables of ITU T.81, annex K, as a segment: frames of Motion JPEG are written by them and leave them out.
const USUAL_TABLES: &[u8] = b"\
    \x00\x00\x01\x05\x01\x01\x01\x01\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\
    \x0b\x10\x00\x02\x01\x03\x03\x02\x04\x03\x05\x05\x04\x04\x00\x00\x01\x7d\x01\x02\x03\x00\x04\x11\x05\x12\x21\x31\
    \x41\x06\x13\x51\x61\x07\x22\x71\x14\x32\x81\x91\xa1\x08\x23\x42\xb1\xc1\x15\x52\xd1\xf0\x24\x33\x62\x72\x82\x09\
    \x0a\x16\x17\x18\x19\x1a\x25\x26\x27\x28\x29\x2a\x34\x35\x36\x37\x38\x39\x3a\x43\x44\x45\x46\x47\x48\x49\x4a\x53\
    \x54\x55\x56\x57\x58\x59\x5a\x63\x64\x65\x66\x67\x68\x69\x6a\x73\x74\x75\x76\x77\x78\x79\x7a\x83\x84\x85\x86\x87\
    \x88\x89\x8a\x92\x93\x94\x95\x96\x97\x98\x99\x9a\xa2\xa3\xa4\xa5\xa6\xa7\xa8\xa9\xaa\xb2\xb3\xb4\xb5\xb6\xb7\xb8\
    \xb9\xba\xc2\xc3\xc4\xc5\xc6\xc7\xc8\xc9\xca\xd2\xd3\xd4\xd5\xd6\xd7\xd8\xd9\xda\xe1\xe2\xe3\xe4\xe5\xe6\xe7\xe8\
    \xe9\xea\xf1\xf2\xf3\xf4\xf5\xf6\xf7\xf8\xf9\xfa\x01\x00\x03\x01\x01\x01\x01\x01\x01\x01\x01\x01\x00\x00\x00\x00\
    \x00\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x11\x00\x02\x01\x02\x04\x04\x03\x04\x07\x05\x04\x04\x00\x01\
    \x02\x77\x00\x01\x02\x03\x11\x04\x05\x21\x31\x06\x12\x41\x51\x07\x61\x71\x13\x22\x32\x81\x08\x14\x42\x91\xa1\xb1\
    \xc1\x09\x23\x33\x52\xf0\x15\x62\x72\xd1\x0a\x16\x24\x34\xe1\x25\xf1\x17\x18\x19\x1a\x26\x27\x28\x29\x2a\x35\x36\
    \x37\x38\x39\x3a\x43\x44\x45\x46\x47\x48\x49\x4a\x53\x54\x55\x56\x57\x58\x59\x5a\x63\x64\x65\x66\x67\x68\x69\x6a\
    \x73\x74\x75\x76\x77\x78\x79\x7a\x82\x83\x84\x85\x86\x87\x88\x89\x8a\x92\x93\x94\x95\x96\x97\x98\x99\x9a\xa2\xa3\
    \xa4\xa5\xa6\xa7\xa8\xa9\xaa\xb2\xb3\xb4\xb5\xb6\xb7\xb8\xb9\xba\xc2\xc3\xc4\xc5\xc6\xc7\xc8\xc9\xca\xd2\xd3\xd4\
    \xd5\xd6\xd7\xd8\xd9\xda\xe2\xe3\xe4\xe5\xe6\xe7\xe8\xe9\xea\xf2\xf3\xf4\xf5\xf6\xf7\xf8\xf9\xfa";

/// Usual files have 1 to 12.
const MAX_SCANS: usize = 500;

/// Units that all scans may go through. A progressive file may say of a million blocks in a hundred bytes that nothing changes,
/// again and again; the largest picture may have 67 scans of whole planes.
const MAX_UNITS: usize = 1 << 26;

const TOO_EARLY: &str = "its data ends too early";
const TWICE: &str = "a component comes twice";

fn damaged(reason: &str) -> Error {
    refuse(format!("this JPEG image is damaged: {reason}"))
}

fn unsupported(reason: &str) -> Error {
    refuse(format!("this JPEG image is of a kind that is not supported: {reason}"))
}

fn too_early() -> Error {
    damaged(TOO_EARLY)
}

pub(super) fn decode(bytes: &[u8]) -> Result<Jpeg> {
    let mut decoder = Decoder { bytes, at: 2, ..Decoder::default() };
    let lack = decoder.read()?;
    let Decoder { frame, exif, jfif, adobe, .. } = decoder;
    let mut frame = frame.ok_or_else(too_early)?;
    frame.finish(lack)?;
    let rgba = frame.rgba(jfif, adobe);
    Ok(Jpeg { width: frame.width as u32, height: frame.height as u32, rgba, exif })
}

/// Skips to behind the next marker; `None` at the file's end.
fn next_marker(bytes: &[u8], at: &mut usize) -> Option<u8> {
    loop {
        *at += bytes.get(*at..)?.iter().position(|&byte| byte == 0xff)?;
        *at += bytes[*at..].iter().position(|&byte| byte != 0xff)?;
        *at += 1;
        if bytes[*at - 1] != 0 {
            return Some(bytes[*at - 1]);
        }
    }
}

#[derive(Default)]
struct Decoder<'a> {
    bytes: &'a [u8],
    at: usize,
    frame: Option<Frame>,
    quantizers: [Option<[u16; 64]>; 4],
    dc: [Option<Huffman>; 4],
    ac: [Option<Huffman>; 4],
    restart_interval: usize,
    scans: usize,
    /// What the scans so far went through.
    units: usize,
    jfif: bool,
    /// The colour transform that an Adobe marker names.
    adobe: Option<u8>,
    exif: Vec<u8>,
}

struct Frame {
    width: usize,
    height: usize,
    progressive: bool,
    /// The finest sampling of any component, across and down.
    finest: [usize; 2],
    components: Vec<Component>,
}

struct Component {
    id: u8,
    /// Samples beside and below each other in a unit of the interleaved file, in blocks.
    sampling: [usize; 2],
    quantizer: usize,
    /// The table that was there when its first scan began.
    steps: Option<[u16; 64]>,
    /// Its own samples, without those that only fill the last block.
    width: usize,
    height: usize,
    /// Blocks that are stored, whole units of the interleaved file.
    across: usize,
    down: usize,
    samples: Vec<u8>,
    /// Of progressive files.
    blocks: Vec<Block>,
    /// How many low bits of each coefficient are not there yet; -1 if nothing is.
    missing: [i8; 64],
}

/// What is there of a block's coefficients.
#[derive(Clone)]
struct Block {
    numbers: [i16; 64],
    /// Which of them are not 0, but for the first, by their order in the file: a bit for each. A scan looks at nothing else, or it
    /// would pass over all of a million blocks to refine one number in each.
    there: u64,
}

impl<'a> Decoder<'a> {
    /// Gives the reason why something is missing, should it be.
    fn read(&mut self) -> Result<&'static str> {
        loop {
            let Some(marker) = next_marker(self.bytes, &mut self.at) else { return Ok(TOO_EARLY) };
            match marker {
                0xd9 => return Ok("it ends before its last scan"),
                0xd8 => return Err(damaged("it begins twice")),
                0x01 | 0xd0..=0xd7 => {}
                _ => {
                    let segment = self.segment()?;
                    self.read_segment(marker, segment)?;
                    // Whatever follows a picture that is complete is no part of it, whether or not its end is marked, unless it is
                    // one more scan, which libjpeg mixes with those before.
                    if self.frame.as_ref().is_some_and(|frame| !frame.progressive && frame.is_complete()) {
                        let mut markers = std::iter::from_fn(|| next_marker(self.bytes, &mut self.at));
                        let next = markers.find(|marker| !matches!(marker, 0x01 | 0xd0..=0xd7));
                        return if next == Some(0xda) { Err(damaged(TWICE)) } else { Ok(TOO_EARLY) };
                    }
                }
            }
        }
    }

    fn segment(&mut self) -> Result<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        let Some(&[high, low]) = rest.get(..2) else { return Err(too_early()) };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length < 2 {
            return Err(damaged("a segment is shorter than its own length"));
        }
        let segment = rest.get(2..length).ok_or_else(too_early)?;
        self.at += length;
        Ok(segment)
    }

    fn read_segment(&mut self, marker: u8, segment: &[u8]) -> Result<()> {
        match marker {
            0xc0..=0xc2 => self.read_frame(segment, marker == 0xc2)?,
            0xc4 => self.read_huffman(segment)?,
            0xc3 | 0xc7 | 0xcb | 0xcf => return Err(unsupported("lossless JPEG")),
            0xc5 | 0xc6 | 0xcd | 0xce => return Err(unsupported("hierarchical JPEG")),
            0xc9 | 0xca => return Err(unsupported("arithmetic coding")),
            0xda => self.read_scan(segment)?,
            0xdb => self.read_quantizers(segment)?,
            0xdd => match *segment {
                [high, low] => self.restart_interval = usize::from(u16::from_be_bytes([high, low])),
                _ => return Err(damaged("its restart interval is no number")),
            },
            0xf7 => return Err(unsupported("JPEG-LS")),
            // What comes behind the first pixels says nothing of the picture.
            _ if self.scans > 0 => {}
            0xe0 => self.jfif |= segment.len() >= 14 && segment.starts_with(b"JFIF\0"),
            0xe1 if self.exif.is_empty() => self.exif = segment.strip_prefix(b"Exif\0\0").unwrap_or_default().to_vec(),
            0xee if segment.len() >= 12 && segment.starts_with(b"Adobe") => self.adobe = Some(segment[11]),
            _ => {}
        }
        Ok(())
    }

    fn read_frame(&mut self, segment: &[u8], progressive: bool) -> Result<()> {
        if self.frame.is_some() {
            return Err(damaged("it has two frames"));
        }
        let wrong = || damaged("its frame header is wrong");
        let (&[precision, h1, h0, w1, w0, count], listed) = segment.split_first_chunk().ok_or_else(wrong)?;
        let (width, height) = (u16::from_be_bytes([w1, w0]), u16::from_be_bytes([h1, h0]));
        check_size("this JPEG image", width.into(), height.into())?;
        if precision != 8 {
            return Err(unsupported(&format!("{precision} bits a sample")));
        }
        if !matches!(count, 1 | 3 | 4) {
            return Err(unsupported(&format!("{count} components")));
        }
        let (listed, []) = listed.as_chunks::<3>() else { return Err(wrong()) };
        if listed.len() != usize::from(count) {
            return Err(wrong());
        }
        let (width, height) = (usize::from(width), usize::from(height));
        let samplings = listed.iter().map(|&[_, sampling, _]| [sampling >> 4, sampling & 15].map(usize::from));
        if samplings.clone().flatten().any(|factor| !(1..=4).contains(&factor)) {
            return Err(damaged("a sampling factor is not 1 to 4"));
        }
        let finest = samplings.clone().fold([1, 1], |[a, b], [h, v]| [a.max(h), b.max(v)]);
        if samplings.clone().any(|[h, v]| finest[0] % h != 0 || finest[1] % v != 0) {
            return Err(unsupported("components whose resolutions are no multiples of each other"));
        }
        let units = [width.div_ceil(8 * finest[0]), height.div_ceil(8 * finest[1])];
        let components = listed.iter().zip(samplings).map(|(&[id, _, quantizer], sampling)| {
            let [across, down] = [0, 1].map(|axis| units[axis] * sampling[axis]);
            Component {
                id,
                sampling,
                quantizer: usize::from(quantizer),
                steps: None,
                width: (width * sampling[0]).div_ceil(finest[0]),
                height: (height * sampling[1]).div_ceil(finest[1]),
                across,
                down,
                samples: Vec::new(),
                blocks: Vec::new(),
                missing: [-1; 64],
            }
        });
        self.frame = Some(Frame { width, height, progressive, finest, components: components.collect() });
        Ok(())
    }

    fn read_quantizers(&mut self, mut segment: &[u8]) -> Result<()> {
        let wrong = || damaged("a quantization table is wrong");
        while let Some((&kind, rest)) = segment.split_first() {
            let bytes = 1 + usize::from(kind >> 4);
            let (number, size) = (usize::from(kind & 15), 64 * bytes);
            let table = rest.get(..size).filter(|_| number < 4 && bytes <= 2).ok_or_else(wrong)?;
            let mut steps = [0; 64];
            for (&at, step) in ZIGZAG.iter().zip(table.chunks_exact(bytes)) {
                steps[usize::from(at)] = step.iter().fold(0, |number, &byte| number << 8 | u16::from(byte));
            }
            self.quantizers[number] = Some(steps);
            segment = &rest[size..];
        }
        Ok(())
    }

    fn read_huffman(&mut self, mut segment: &[u8]) -> Result<()> {
        let wrong = || damaged("a Huffman table is wrong");
        while let Some((&kind, rest)) = segment.split_first() {
            let (counts, rest) = rest.split_first_chunk::<16>().ok_or_else(wrong)?;
            let size = counts.iter().map(|&count| usize::from(count)).sum();
            let symbols = rest.get(..size).filter(|_| size <= 256).ok_or_else(wrong)?;
            let tables = if kind >> 4 == 0 { &mut self.dc } else { &mut self.ac };
            let table = tables.get_mut(usize::from(kind & 15)).filter(|_| kind >> 4 <= 1).ok_or_else(wrong)?;
            // One that makes no sense has no code, and does no harm while nothing is read by it.
            *table = Some(Huffman::new(counts, symbols).unwrap_or_default());
            segment = &rest[size..];
        }
        Ok(())
    }

    /// Puts the usual Huffman tables where the file has none.
    fn complete_tables(&mut self) -> Result<()> {
        let mut usual = Decoder::default();
        usual.read_huffman(USUAL_TABLES)?;
        for (tables, usual) in [(&mut self.dc, usual.dc), (&mut self.ac, usual.ac)] {
            for (table, usual) in tables.iter_mut().zip(usual) {
                *table = table.take().or(usual);
            }
        }
        Ok(())
    }

    fn read_scan(&mut self, segment: &[u8]) -> Result<()> {
        let wrong = || damaged("a scan's header is wrong");
        if self.scans == 0 {
            self.complete_tables()?;
        }
        self.scans += 1;
        if self.scans > MAX_SCANS {
            return Err(damaged(&format!("it has more than {MAX_SCANS} scans")));
        }
        let frame = self.frame.as_mut().ok_or_else(|| damaged("a scan comes before the frame"))?;
        let (&count, rest) = segment.split_first().ok_or_else(wrong)?;
        let count = usize::from(count);
        if !(1..=4).contains(&count) || rest.len() != 2 * count + 3 {
            return Err(wrong());
        }
        let (listed, &[first, last, bits]) = rest.split_last_chunk::<3>().ok_or_else(wrong)?;
        let [first, last] = [first, last].map(usize::from);
        let (high, low) = (bits >> 4, bits & 15);
        let is_valid = last < 64 && low <= 13 && (high == 0 || high == low + 1);
        let is_valid = is_valid && if first == 0 { last == 0 } else { last >= first && count == 1 };
        if frame.progressive && !is_valid {
            return Err(wrong());
        }
        let mut members: Vec<Member> = Vec::with_capacity(count);
        for &[id, tables] in listed.as_chunks::<2>().0 {
            // Components may share a name: the next one of it, as in libjpeg.
            let is_next =
                |&index: &usize| frame.components[index].id == id && members.iter().all(|member| member.index != index);
            let index = (0..frame.components.len()).find(is_next).ok_or_else(wrong)?;
            let component = &mut frame.components[index];
            if component.steps.is_none() {
                let table = self.quantizers.get(component.quantizer).copied().flatten();
                component.steps = Some(table.ok_or_else(|| damaged("a quantization table is missing"))?);
            }
            let blocks = component.across * component.down;
            if frame.progressive {
                component.blocks.resize(blocks, Block { numbers: [0; 64], there: 0 });
                component.missing[first..=last].fill(low as i8);
            } else if !component.samples.is_empty() {
                return Err(damaged(TWICE));
            } else {
                component.samples.resize(64 * blocks, 0);
                component.missing.fill(0);
            }
            let table =
                |tables: &'_ [Option<Huffman>; 4], number: u8, is_used: bool| match tables.get(usize::from(number)) {
                    Some(Some(table)) => Ok(Some(table.clone())),
                    _ if is_used => Err(damaged("a Huffman table is missing")),
                    _ => Ok(None),
                };
            let dc = table(&self.dc, tables >> 4, !frame.progressive || first == 0 && high == 0)?;
            let ac = table(&self.ac, tables & 15, !frame.progressive || first > 0)?;
            members.push(Member { index, dc: dc.unwrap_or_default(), ac: ac.unwrap_or_default(), last_dc: 0 });
        }
        let scan = Scan { first, last, high, low, progressive: frame.progressive };
        let units = frame.units(&members);
        self.units += units[0] * units[1];
        if self.units > MAX_UNITS {
            return Err(damaged(&format!("its {} scans go through more than {MAX_UNITS} units", self.scans)));
        }
        let mut bits = Bits { bytes: self.bytes, at: self.at, buffer: 0, count: 0 };
        scan.read(frame, units, &mut members, &mut bits, self.restart_interval)?;
        self.at = bits.at;
        Ok(())
    }
}

/// A component within a scan.
struct Member {
    index: usize,
    dc: Huffman,
    ac: Huffman,
    last_dc: i32,
}

/// Which coefficients a scan brings, and which of their bits.
struct Scan {
    first: usize,
    last: usize,
    high: u8,
    low: u8,
    progressive: bool,
}

impl Scan {
    fn read(
        &self,
        frame: &mut Frame,
        units: [usize; 2],
        members: &mut [Member],
        bits: &mut Bits,
        restart: usize,
    ) -> Result<()> {
        let interleaved = members.len() > 1;
        if interleaved {
            let blocks: usize =
                members.iter().map(|m| frame.components[m.index].sampling.iter().product::<usize>()).sum();
            if blocks > 10 {
                return Err(damaged("a unit has more than 10 blocks"));
            }
        }
        let mut end_of_bands = 0;
        let mut left = restart;
        let mut restarts = 0;
        for y in 0..units[1] {
            for x in 0..units[0] {
                if restart > 0 {
                    if left == 0 {
                        bits.restart(restarts)?;
                        restarts = (restarts + 1) % 8;
                        members.iter_mut().for_each(|member| member.last_dc = 0);
                        end_of_bands = 0;
                        left = restart;
                    }
                    left -= 1;
                }
                for member in members.iter_mut() {
                    let component = &mut frame.components[member.index];
                    let [h, v] = if interleaved { component.sampling } else { [1, 1] };
                    for row in y * v..(y + 1) * v {
                        for column in x * h..(x + 1) * h {
                            if self.progressive {
                                let block = &mut component.blocks[row * component.across + column];
                                self.read_band(block, member, bits, &mut end_of_bands)?;
                            } else {
                                let mut block = [0; 64];
                                let steps = component.steps.as_ref().expect("set when the scan began");
                                let is_flat = read_block(&mut block, member, bits)?;
                                let stride = 8 * component.across;
                                let at = 8 * (row * stride + column);
                                samples_from_block(&block, steps, is_flat, &mut component.samples[at..], stride)?;
                            }
                        }
                    }
                }
            }
        }
        bits.end();
        Ok(())
    }

    /// A block's share of a progressive scan (ITU T.81, annex G).
    fn read_band(&self, block: &mut Block, member: &mut Member, bits: &mut Bits, ends: &mut u32) -> Result<()> {
        let Block { numbers: block, there } = block;
        let plus = 1i16 << self.low;
        if self.first == 0 {
            if self.high == 0 {
                member.last_dc = read_dc(member, bits)?;
                block[0] = (member.last_dc << self.low) as i16;
            } else if bits.take(1)? == 1 {
                block[0] |= plus;
            }
            return Ok(());
        }
        // A bit for a coefficient that was there before.
        let refine = |number: &mut i16, bits: &mut Bits| -> Result<()> {
            if bits.take(1)? == 1 && *number & plus == 0 {
                *number = number.wrapping_add(if *number >= 0 { plus } else { -plus });
            }
            Ok(())
        };
        let mut k = self.first;
        if *ends == 0 {
            while k <= self.last {
                let symbol = bits.symbol(&member.ac)?;
                let (run, size) = (symbol >> 4, u32::from(symbol & 15));
                if size == 0 && run < 15 {
                    *ends = (1 << run) + bits.take(u32::from(run))?;
                    break;
                }
                if self.high == 0 {
                    k += usize::from(run);
                    if size > 0 {
                        let at = *ZIGZAG.get(k).ok_or_else(bad_code)?;
                        let number = bits.signed(size)? << self.low;
                        block[usize::from(at)] = number.try_into().map_err(|_| bad_code())?;
                        *there |= 1 << k;
                    }
                } else {
                    if size > 1 {
                        return Err(bad_code());
                    }
                    let new = match size {
                        0 => 0,
                        _ if bits.take(1)? == 1 => plus,
                        _ => -plus,
                    };
                    let mut zeros = run;
                    while k <= self.last {
                        let number = &mut block[usize::from(ZIGZAG[k])];
                        if *number != 0 {
                            refine(number, bits)?;
                        } else if zeros == 0 {
                            break;
                        } else {
                            zeros -= 1;
                        }
                        k += 1;
                    }
                    if new != 0 {
                        let at = *ZIGZAG.get(k).filter(|_| k <= self.last).ok_or_else(bad_code)?;
                        block[usize::from(at)] = new;
                        *there |= 1 << k;
                    }
                }
                k += 1;
            }
        }
        if *ends > 0 {
            if self.high > 0 && k <= self.last {
                let mut rest = *there >> k << k & u64::MAX >> (63 - self.last);
                while rest > 0 {
                    refine(&mut block[usize::from(ZIGZAG[rest.trailing_zeros() as usize])], bits)?;
                    rest &= rest - 1;
                }
            }
            *ends -= 1;
        }
        Ok(())
    }
}

fn bad_code() -> Error {
    damaged("its compressed data makes no sense")
}

/// The first coefficient of a block, as a difference from that of the block before.
fn read_dc(member: &Member, bits: &mut Bits) -> Result<i32> {
    let size = u32::from(bits.symbol(&member.dc)?);
    if size > 15 {
        return Err(bad_code());
    }
    Ok(member.last_dc.wrapping_add(bits.signed(size)?))
}

/// A whole block; whether only its first coefficient is not 0.
fn read_block(block: &mut [i16; 64], member: &mut Member, bits: &mut Bits) -> Result<bool> {
    member.last_dc = read_dc(member, bits)?;
    block[0] = member.last_dc as i16;
    let mut is_flat = true;
    let mut k = 1;
    while k < 64 {
        let symbol = bits.symbol(&member.ac)?;
        let (run, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
        if size == 0 {
            if run < 15 {
                break;
            }
            k += 16;
            continue;
        }
        k += run;
        let at = *ZIGZAG.get(k).ok_or_else(bad_code)?;
        block[usize::from(at)] = bits.signed(size)? as i16;
        is_flat = false;
        k += 1;
    }
    Ok(is_flat)
}

/// Entropy-coded data up to the next marker.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The next `count` bits, from the highest on; zeros behind them.
    buffer: u64,
    count: u32,
}

impl Bits<'_> {
    fn fill(&mut self) {
        while self.count <= 56 {
            let Some(&byte) = self.bytes.get(self.at) else { return };
            let mut next = self.at + 1;
            if byte == 0xff {
                // A stuffed zero makes it data; anything else is a marker.
                match self.bytes.get(next) {
                    Some(0) => next += 1,
                    _ => return,
                }
            }
            self.at = next;
            self.buffer |= u64::from(byte) << (56 - self.count);
            self.count += 8;
        }
    }

    fn skip(&mut self, count: u32) -> Result<()> {
        if count > self.count {
            return Err(self.short());
        }
        self.buffer <<= count;
        self.count -= count;
        Ok(())
    }

    #[cold]
    fn short(&self) -> Error {
        let is_marked = self.bytes.get(self.at + 1).is_some();
        if is_marked { damaged("a scan is shorter than the picture") } else { too_early() }
    }

    /// The next `count` bits, at most 16.
    fn take(&mut self, count: u32) -> Result<u32> {
        if count == 0 {
            return Ok(0);
        }
        if count > self.count {
            self.fill();
        }
        let value = (self.buffer >> (64 - count)) as u32;
        self.skip(count)?;
        Ok(value)
    }

    /// The next number of `size` bits, whose first one is 0 if it is negative.
    fn signed(&mut self, size: u32) -> Result<i32> {
        let value = self.take(size)? as i32;
        let is_negative = size > 0 && value < 1 << (size - 1);
        Ok(if is_negative { value - (1 << size) + 1 } else { value })
    }

    fn symbol(&mut self, table: &Huffman) -> Result<u8> {
        if self.count < 16 {
            self.fill();
        }
        let (symbol, length) = table.short[(self.buffer >> (64 - SHORT)) as usize];
        if length > 0 {
            self.skip(length.into())?;
            return Ok(symbol);
        }
        let code = (self.buffer >> 48) as i32;
        for length in SHORT + 1..=16 {
            let code = code >> (16 - length);
            if code <= table.last_code[length as usize] {
                self.skip(length)?;
                let index = (code + table.offset[length as usize]) as usize;
                return table.symbols.get(index).copied().ok_or_else(bad_code);
            }
        }
        Err(if self.count < 16 { self.short() } else { bad_code() })
    }

    /// Passes the restart marker of this number.
    fn restart(&mut self, number: u8) -> Result<()> {
        self.end();
        match next_marker(self.bytes, &mut self.at) {
            Some(marker) if marker == 0xd0 + number => Ok(()),
            Some(_) => Err(damaged("a restart marker is missing")),
            None => Err(too_early()),
        }
    }

    /// Drops what is left of the last byte.
    fn end(&mut self) {
        // Whole bytes that were read ahead belong to what follows; between them there may have been stuffed zeros, but
        // what follows a scan is found by its marker, and no data lies before it.
        self.buffer = 0;
        self.count = 0;
    }
}

/// Codes up to this length are looked up at once.
const SHORT: u32 = 9;

#[derive(Clone)]
struct Huffman {
    /// Symbol and length of the code that these bits begin with; length 0 if it is longer.
    short: Box<[(u8, u8); 1 << SHORT]>,
    /// The last code of each length, or -1.
    last_code: [i32; 17],
    /// What makes a code of each length the index of its symbol.
    offset: [i32; 17],
    symbols: Vec<u8>,
}

impl Default for Huffman {
    fn default() -> Self {
        let short = Box::new([(0, 0); 1 << SHORT]);
        Huffman { short, last_code: [-1; 17], offset: [0; 17], symbols: Vec::new() }
    }
}

impl Huffman {
    fn new(counts: &[u8; 16], symbols: &[u8]) -> Option<Huffman> {
        let mut table = Huffman { symbols: symbols.to_vec(), ..Huffman::default() };
        let (mut code, mut index) = (0i32, 0i32);
        for (length, &count) in (1..=16u32).zip(counts) {
            let count = i32::from(count);
            table.offset[length as usize] = index - code;
            if count > 0 {
                table.last_code[length as usize] = code + count - 1;
                // No code is all ones.
                if code + count >= 1 << length {
                    return None;
                }
            }
            if length <= SHORT {
                let share = 1usize << (SHORT - length);
                for i in 0..count {
                    let from = (code + i) as usize * share;
                    table.short[from..from + share].fill((symbols[(index + i) as usize], length as u8));
                }
            }
            index += count;
            code = (code + count) << 1;
        }
        Some(table)
    }
}

/// libjpeg's slow integer inverse cosine transform (`jidctint.c`): 13-bit constants, two more bits between its passes.
///
/// Numbers that no picture has are refused: implementations differ in how they overflow.
fn samples_from_block(
    block: &[i16; 64],
    steps: &[u16; 64],
    is_flat: bool,
    samples: &mut [u8],
    stride: usize,
) -> Result<()> {
    // Whether any number left its range: 16 bits before and between the passes, eight times the samples' own behind.
    let mut excess = 0;
    let mut within = |number: i32, bits: u32| {
        excess |= (number.wrapping_add(1 << (bits - 1))) >> bits;
        number
    };
    let level = |number: i32| (number + 128).clamp(0, 255) as u8;
    let values: [i32; 64] = std::array::from_fn(|at| within(i32::from(block[at]) * i32::from(steps[at]), 16));
    if is_flat {
        let level = level(within((values[0] + 4) >> 3, 11));
        for y in 0..8 {
            samples[y * stride..][..8].fill(level);
        }
    } else {
        let mut half = [0; 64];
        for x in 0..8 {
            let column = std::array::from_fn(|y| values[8 * y + x]);
            for (y, number) in cosine_sums(column).into_iter().enumerate() {
                half[8 * y + x] = within(number.wrapping_add(1 << 10) >> 11, 16);
            }
        }
        for (y, row) in half.as_chunks::<8>().0.iter().enumerate() {
            for (sample, number) in samples[y * stride..][..8].iter_mut().zip(cosine_sums(*row)) {
                *sample = level(within(number.wrapping_add(1 << 17) >> 18, 11));
            }
        }
    }
    if excess == 0 { Ok(()) } else { Err(bad_code()) }
}

#[inline(always)]
fn cosine_sums(v: [i32; 8]) -> [i32; 8] {
    // Damaged numbers may be too large; they wrap, as they do in libjpeg.
    let add = i32::wrapping_add;
    let sub = i32::wrapping_sub;
    let mul = |a: i32, b: i32| a.wrapping_mul(b);
    let z1 = mul(add(v[2], v[6]), 4433);
    let (even2, even3) = (add(z1, mul(v[6], -15137)), add(z1, mul(v[2], 6270)));
    let (even0, even1) = (add(v[0], v[4]).wrapping_shl(13), sub(v[0], v[4]).wrapping_shl(13));
    let even = [add(even0, even3), add(even1, even2), sub(even1, even2), sub(even0, even3)];
    let z5 = mul(add(add(v[7], v[3]), add(v[5], v[1])), 9633);
    let z1 = mul(add(v[7], v[1]), -7373);
    let z2 = mul(add(v[5], v[3]), -20995);
    let z3 = add(mul(add(v[7], v[3]), -16069), z5);
    let z4 = add(mul(add(v[5], v[1]), -3196), z5);
    let odd = [
        add(mul(v[1], 12299), add(z1, z4)),
        add(mul(v[3], 25172), add(z2, z3)),
        add(mul(v[5], 16819), add(z2, z4)),
        add(mul(v[7], 2446), add(z1, z3)),
    ];
    std::array::from_fn(|i| if i < 4 { add(even[i], odd[i]) } else { sub(even[7 - i], odd[7 - i]) })
}

impl Frame {
    fn is_complete(&self) -> bool {
        self.components.iter().all(|component| component.missing == [0; 64])
    }

    /// How many units a scan of these components has, across and down.
    fn units(&self, members: &[Member]) -> [usize; 2] {
        match members {
            [member] => {
                let component = &self.components[member.index];
                [component.width.div_ceil(8), component.height.div_ceil(8)]
            }
            _ => [self.width.div_ceil(8 * self.finest[0]), self.height.div_ceil(8 * self.finest[1])],
        }
    }

    /// Samples from a progressive file's coefficients; `lack` says why some are missing, should they be.
    fn finish(&mut self, lack: &str) -> Result<()> {
        // libjpeg smooths over what is missing of the first ten coefficients; the rest are simply 0.
        let is_there = |component: &Component| component.missing[..10].iter().all(|&bits| bits == 0);
        if !self.components.iter().all(is_there) {
            return Err(damaged(lack));
        }
        for component in self.components.iter_mut().filter(|_| self.progressive) {
            let stride = 8 * component.across;
            component.samples = vec![0; stride * 8 * component.down];
            let steps = component.steps.as_ref().ok_or_else(too_early)?;
            for (index, block) in component.blocks.iter().enumerate() {
                let at = 8 * (index / component.across * stride + index % component.across);
                let is_flat = block.there == 0;
                samples_from_block(&block.numbers, steps, is_flat, &mut component.samples[at..], stride)?;
            }
            component.blocks = Vec::new();
        }
        Ok(())
    }

    fn rgba(&self, jfif: bool, adobe: Option<u8>) -> Vec<u8> {
        let ids: Vec<u8> = self.components.iter().map(|component| component.id).collect();
        // As in libjpeg's `default_decompress_parms`: JFIF says YCbCr, whatever Adobe's marker says.
        let has_luma = match (self.components.len(), adobe) {
            (3, _) if jfif => true,
            (3, Some(transform)) => transform != 0,
            (3, None) => ids != *b"RGB",
            (_, Some(transform)) => transform != 0,
            _ => false,
        };
        let mut rows: Vec<Vec<u8>> = self
            .components
            .iter()
            .map(|component| vec![0; component.width * (self.finest[0] / component.sampling[0])])
            .collect();
        let mut rgba = Vec::with_capacity(4 * self.width * self.height);
        for y in 0..self.height {
            for (row, component) in rows.iter_mut().zip(&self.components) {
                component.upsampled(y, self.finest, row);
            }
            match &rows[..] {
                [grey] => rgba.extend(grey[..self.width].iter().flat_map(|&l| [l, l, l, 255])),
                [a, b, c] => rgba.extend((0..self.width).flat_map(|x| {
                    let [r, g, b] = if has_luma { rgb_from_luma(a[x], b[x], c[x]) } else { [a[x], b[x], c[x]] };
                    [r, g, b, 255]
                })),
                [a, b, c, k] => rgba.extend((0..self.width).flat_map(|x| {
                    // Inks are stored inverted, as Adobe does and Pillow assumes: 255 is none. Pillow's conversion.
                    let inks = if has_luma {
                        rgb_from_luma(a[x], b[x], c[x])
                    } else {
                        [a[x], b[x], c[x]].map(|level| 255 - level)
                    };
                    let light = u32::from(k[x]);
                    let [r, g, b] = inks.map(|ink| {
                        let product = u32::from(ink) * light + 128;
                        light.saturating_sub((product + (product >> 8)) >> 8) as u8
                    });
                    [r, g, b, 255]
                })),
                _ => unreachable!("a frame has 1, 3 or 4 components"),
            }
        }
        rgba
    }
}

/// `jdcolor.c`: ITU-R BT.601 in 16-bit fixed point.
#[inline]
fn rgb_from_luma(luma: u8, blue: u8, red: u8) -> [u8; 3] {
    const HALF: i32 = 1 << 15;
    let (luma, blue, red) = (i32::from(luma), i32::from(blue) - 128, i32::from(red) - 128);
    [
        luma + ((91_881 * red + HALF) >> 16),
        luma + ((-22_554 * blue - 46_802 * red + HALF) >> 16),
        luma + ((116_130 * blue + HALF) >> 16),
    ]
    .map(|level| level.clamp(0, 255) as u8)
}

impl Component {
    fn row(&self, y: usize) -> &[u8] {
        &self.samples[y * 8 * self.across..][..self.width]
    }

    /// The component's samples for row `y` of the picture (`jdsample.c`): a triangle filter where it has half the
    /// resolution, repetition elsewhere.
    fn upsampled(&self, y: usize, finest: [usize; 2], out: &mut [u8]) {
        let ratio = [finest[0] / self.sampling[0], finest[1] / self.sampling[1]];
        let near = self.row(y / ratio[1]);
        // The other row of samples that the pixel lies between; at the picture's edge the row itself.
        let far = || {
            let y_near = y / 2;
            self.row(if y.is_multiple_of(2) { y_near.saturating_sub(1) } else { (y_near + 1).min(self.height - 1) })
        };
        match ratio {
            [1, 1] => out.copy_from_slice(near),
            [1, 2] => {
                let round = if y.is_multiple_of(2) { 1 } else { 2 };
                for ((out, &near), &far) in out.iter_mut().zip(near).zip(far()) {
                    *out = ((3 * u32::from(near) + u32::from(far) + round) >> 2) as u8;
                }
            }
            [2, 1] if self.width > 2 => widen(out, self.width, |x| u32::from(near[x]), [1, 2], 2),
            [2, 2] if self.width > 2 => {
                let far = far();
                widen(out, self.width, |x| 3 * u32::from(near[x]) + u32::from(far[x]), [8, 7], 4);
            }
            [across, _] => {
                for (pixels, &sample) in out.chunks_exact_mut(across).zip(near) {
                    pixels.fill(sample);
                }
            }
        }
    }
}

/// Twice as many pixels as numbers, each three parts its own and one part its neighbour.
#[inline(always)]
fn widen(out: &mut [u8], width: usize, number: impl Fn(usize) -> u32, [left, right]: [u32; 2], shift: u32) {
    for (x, pixels) in out.as_chunks_mut::<2>().0.iter_mut().enumerate() {
        let own = number(x);
        let before = number(x.saturating_sub(1));
        let after = number((x + 1).min(width - 1));
        pixels[0] = ((3 * own + before + left) >> shift) as u8;
        pixels[1] = ((3 * own + after + right) >> shift) as u8;
    }
}
