//! Operators that take numbers from between the pixels of a plane.

use super::chain::{Chain, Part};
use super::literal::{Literal, grown};
use super::node::{Lowered, Node, Table};
use crate::Result;
use crate::numbers::{decimal, within};
use crate::plan::{Binary, Op, Unary};

pub(super) const TABLE: Table =
    &[("Resize", resize), ("Upsample", resize), ("GridSample", grid_sample), ("AffineGrid", affine_grid)];

/// How Resize finds a number: read from the node's attributes.
struct Way {
    mode: String,
    coordinates: String,
    nearest: String,
    antialias: bool,
    exclude_outside: bool,
    extrapolation: f64,
    sharpness: f64,
}

impl Way {
    fn of(node: &Node, is_old: bool) -> Result<Way> {
        let text = |name: &str, default: &str| node.text(name).unwrap_or_else(|| default.into());
        let way = Way {
            mode: text("mode", "nearest"),
            coordinates: text("coordinate_transformation_mode", if is_old { "asymmetric" } else { "half_pixel" }),
            nearest: text("nearest_mode", if is_old { "simple" } else { "round_prefer_floor" }),
            antialias: node.int("antialias", 0) != 0,
            exclude_outside: node.int("exclude_outside", 0) != 0,
            extrapolation: f64::from(node.float("extrapolation_value", 0.0)),
            sharpness: f64::from(node.float("cubic_coeff_a", -0.75)),
        };
        if !matches!(way.mode.as_str(), "nearest" | "linear" | "bilinear" | "cubic") {
            return Err(node.refuse(format!("mode {}; nearest, linear and cubic are accepted", way.mode)));
        }
        if !matches!(way.nearest.as_str(), "simple" | "floor" | "ceil" | "round_prefer_floor" | "round_prefer_ceil") {
            return Err(node.refuse(format!(
                "nearest_mode {}; floor, ceil, round_prefer_floor and round_prefer_ceil are accepted",
                way.nearest
            )));
        }
        Ok(way)
    }

    /// The weight of a neighbour so far away: a tent, or Keys 1981.
    fn weight(&self, far: f64) -> f64 {
        let a = self.sharpness;
        match (self.mode == "cubic", far) {
            (false, _) => (1.0 - far).max(0.0),
            (true, _) if far <= 1.0 => ((a + 2.0) * far - (a + 3.0)) * far * far + 1.0,
            (true, _) if far < 2.0 => ((a * far - 5.0 * a) * far + 8.0 * a) * far - 4.0 * a,
            _ => 0.0,
        }
    }

    /// Where number `o` of `to` lies among `from`; `region` is the part that is resized, from 0 to 1.
    fn place(&self, node: &Node, o: usize, [from, to]: [usize; 2], factor: f64, region: [f64; 2]) -> Result<f64> {
        let (o, last) = (o as f64, (from - 1) as f64);
        let half = (o + 0.5) / factor - 0.5;
        Ok(match self.coordinates.as_str() {
            "half_pixel" => half,
            "pytorch_half_pixel" => {
                if to > 1 {
                    half
                } else {
                    0.0
                }
            }
            // As if the size were exactly factor times the input's.
            "half_pixel_symmetric" => {
                let adjustment = to as f64 / (factor * from as f64);
                let center = from as f64 / 2.0;
                center * (1.0 - adjustment) + half
            }
            "asymmetric" => o / factor,
            "align_corners" => {
                if to > 1 {
                    o * last / (to - 1) as f64
                } else {
                    0.0
                }
            }
            "tf_half_pixel_for_nn" => (o + 0.5) / factor,
            "tf_crop_and_resize" => match to {
                1 => 0.5 * (region[0] + region[1]) * last,
                _ => region[0] * last + o * (region[1] - region[0]) * last / (to - 1) as f64,
            },
            other => {
                return Err(
                    node.refuse(format!("coordinate_transformation_mode {other}; those of the standard are accepted"))
                );
            }
        })
    }

    /// The matrix `[to, from]` that resizes one axis.
    fn matrix(&self, node: &Node, sides: [usize; 2], factor: f64, region: [f64; 2]) -> Result<Vec<f32>> {
        let [from, to] = sides;
        let size = grown(&sides, 0).ok_or_else(|| node.refuse(format!("a side of {from} to {to}")))?;
        let mut matrix = vec![0.0; size];
        let inside = |place: f64| (0.0..from as f64).contains(&place);
        let clamp = |v: f64| within(v, 0.0, (from - 1) as f64) as usize;
        for (o, row) in matrix.chunks_exact_mut(from).enumerate() {
            let at = self.place(node, o, sides, factor, region)?;
            if self.coordinates == "tf_crop_and_resize" && !(0.0..=(from - 1) as f64).contains(&at) {
                if self.extrapolation != 0.0 {
                    return Err(node.refuse("an extrapolation_value other than 0"));
                }
                continue;
            }
            if self.mode == "nearest" {
                let near = snapped(at);
                let cell = match self.nearest.as_str() {
                    // Until opset 10, as onnxruntime has it, in single precision, too: by 0.2 number 1 lies at 5, not at
                    // 4.99999993.
                    "simple" if factor < 1.0 => f64::from((at as f32).ceil()),
                    "simple" => f64::from((at as f32).floor()),
                    "round_prefer_floor" => (near - 0.5).ceil(),
                    "round_prefer_ceil" => (near + 0.5).floor(),
                    "ceil" => near.ceil(),
                    _ => near.floor(),
                };
                row[clamp(cell)] = 1.0;
                continue;
            }
            // With antialias the filter grows to what one number of the result stands for.
            let reach = if self.antialias { (1.0 / factor).max(1.0) } else { 1.0 };
            let taps = (if self.mode == "cubic" { 2.0 } else { 1.0 }) * reach;
            let taps = taps.ceil() as i64;
            let weights: Vec<(f64, f64)> = (1 - taps..=taps)
                .map(|tap| at.floor() + tap as f64)
                .map(|place| (place, self.weight((at - place).abs() / reach)))
                .filter(|&(place, _)| inside(place) || !self.exclude_outside)
                .collect();
            let sum: f64 = weights.iter().map(|(_, weight)| weight).sum();
            weights.iter().for_each(|&(place, weight)| row[clamp(place)] += (weight / sum) as f32);
        }
        Ok(matrix)
    }
}

/// A place that is meant to be a whole number or a half: a scale is a float of 32 bits, by 0.2 of which number 1 lies at
/// 4.99999993, and by onnxruntime and PyTorch at 5.
fn snapped(at: f64) -> f64 {
    let half = (at * 2.0).round() / 2.0;
    let near = f64::max(1e-5, at.abs() * f64::from(f32::EPSILON) / 2.0);
    if (at - half).abs() < near { half } else { at }
}

/// Resize and Upsample over the spatial axes, as two matrices: every mode is linear in the input.
fn resize(node: &Node) -> Result<Lowered> {
    let before = node.dims(0)?;
    let rank = before.len();
    if !(3..=4).contains(&rank) || before.contains(&0) {
        return Err(node.refuse(format!("its input has the shape {before:?}; three or four axes are accepted")));
    }
    // Where scales and sizes are, by opset: Upsample(scales), Resize-10(scales), Resize-11+(roi, scales, sizes).
    let scales_at = if node.operator() == "Resize" && node.opset >= 11 { 2 } else { 1 };
    let scales = match node.floats("scales") {
        Some(scales) => scales,
        None if node.has(scales_at) => node.required_constant(scales_at, "the scales")?.floats(),
        None => vec![],
    };
    let sizes = if scales_at == 2 { node.int_list(3, "the sizes")? } else { None };
    let axes = match node.ints("axes") {
        Some(axes) => node.axes(&axes, rank)?,
        None => (0..rank).collect(),
    };
    let mut shape = before.clone();
    let mut factors = vec![1.0f64; rank];
    match sizes {
        Some(sizes) if sizes.len() == axes.len() => {
            let wanted: Vec<f64> =
                axes.iter().zip(&sizes).map(|(&axis, &size)| size as f64 / before[axis] as f64).collect();
            let policy = node.text("keep_aspect_ratio_policy").unwrap_or_default();
            let common = match policy.as_str() {
                "not_larger" => Some(wanted.iter().copied().fold(f64::INFINITY, f64::min)),
                "not_smaller" => Some(wanted.iter().copied().fold(0.0, f64::max)),
                _ => None,
            };
            for (i, &axis) in axes.iter().enumerate() {
                let size = match common {
                    Some(common) => (common * before[axis] as f64).round(),
                    None => sizes[i] as f64,
                };
                if !(1.0..1e6).contains(&size) {
                    return Err(node.refuse(format!("the sizes {sizes:?}")));
                }
                factors[axis] = common.unwrap_or(wanted[i]);
                shape[axis] = size as usize;
            }
        }
        _ if scales.len() == axes.len() => {
            for (&axis, &scale) in axes.iter().zip(&scales) {
                if !(scale > 0.0 && scale < 1024.0) {
                    return Err(node.refuse(format!("a scale of {}", decimal(scale))));
                }
                factors[axis] = f64::from(scale);
                // In single precision, as onnxruntime: 1.3 of 10 is 13.
                shape[axis] = (before[axis] as f32 * scale).floor() as usize;
            }
        }
        _ => return Err(node.refuse("neither scales nor sizes for its axes")),
    }
    if shape.contains(&0) || shape.iter().any(|&side| side >= 1 << 16) {
        return Err(node.refuse(format!("a result of the shape {shape:?}")));
    }
    let way = Way::of(node, scales_at == 1)?;
    let regions = match node.constant(1).filter(|_| scales_at == 2) {
        Some(literal) if literal.len() == 2 * axes.len() => literal.floats(),
        _ => [vec![0.0; axes.len()], vec![1.0; axes.len()]].concat(),
    };
    let mut chain = Chain::of(node);
    let mut x = chain.input(node, 0)?;
    // Two neighbouring axes at a time, from the last ones: those before them count as one.
    let resized: Vec<usize> = (0..rank).filter(|&axis| shape[axis] != before[axis] || factors[axis] != 1.0).collect();
    if resized.iter().any(|&axis| axis + 2 < rank) && !(rank == 4 && resized.iter().all(|axis| [1, 2].contains(axis))) {
        return Err(node.refuse(format!("from {before:?} to {shape:?}; the spatial axes are accepted")));
    }
    let matrix = |axis: usize| -> Result<Literal> {
        let at = axes.iter().position(|&own| own == axis);
        let region = at.map_or([0.0, 1.0], |at| [regions[at], regions[at + axes.len()]].map(f64::from));
        let (from, to) = (before[axis], shape[axis]);
        Ok(Literal::float(vec![to, from], way.matrix(node, [from, to], factors[axis], region)?))
    };
    // With channels last the planes are turned to the front, and back.
    let is_last =
        rank == 4 && !resized.is_empty() && resized.iter().all(|axis| [1, 2].contains(axis)) && resized[0] == 1;
    if is_last {
        x = chain.permute(&x, &[0, 3, 1, 2]);
    }
    if rank == 3 {
        x = chain.reshape(&x, vec![before[0], before[1], 1, before[2]]);
    }
    let (high, wide) = match (is_last, rank) {
        (true, _) => (Some(1), 2),
        (_, 3) => (None, 2),
        _ => (Some(2), 3),
    };
    let rows = high.map_or_else(|| Ok(Literal::float(vec![1, 1], vec![1.0])), matrix)?;
    let columns = matrix(wide)?.transposed(&[1, 0]);
    let out = vec![x.shape[0], x.shape[1], rows.shape[0], columns.shape[1]];
    let (rows, columns) = (Part::constant(rows.rank4()), Part::constant(columns.rank4()));
    let mut y = chain.step(Op::Resample, &[&x, &rows, &columns], out);
    if is_last {
        y = chain.permute(&y, &[0, 2, 3, 1]);
    }
    chain.done(&y, shape)
}

/// Numbers at computed places of a plane, by tents around its pixels: of pixel i at place p the weight is
/// max(0, 1 − |p − i|), so that what lies outside counts as 0.
fn grid_sample(node: &Node) -> Result<Lowered> {
    let mode = node.text("mode").unwrap_or_else(|| "linear".into());
    let padding = node.text("padding_mode").unwrap_or_else(|| "zeros".into());
    let is_nearest = mode == "nearest";
    if !matches!(mode.as_str(), "linear" | "bilinear" | "nearest")
        || !matches!(padding.as_str(), "zeros" | "border" | "reflection")
    {
        return Err(node.refuse(format!("mode {mode} with padding_mode {padding}; linear and nearest are accepted")));
    }
    let align = node.int("align_corners", 0) != 0;
    let mut chain = Chain::of(node);
    let (x, grid) = (chain.input(node, 0)?, chain.input(node, 1)?);
    let (&[n, channels, height, width], &[m, high, wide, 2]) = (&x.shape[..], &grid.shape[..]) else {
        return Err(node.refuse(format!("an input {:?} and a grid {:?}; planes are accepted", x.shape, grid.shape)));
    };
    if n != m {
        return Err(node.refuse(format!("{n} inputs and {m} grids")));
    }
    let places = high * wide;
    let mut weights = vec![];
    for (axis, side) in [(1, height), (0, width)] {
        let own = chain.slice(&grid, 3, axis, axis + 1);
        let own = chain.reshape(&own, vec![n, 1, places, 1]);
        // From -1..=1 to pixels.
        let (scale, shift) = match align {
            true => ((side - 1) as f32 / 2., (side - 1) as f32 / 2.),
            false => (side as f32 / 2., (side - 1) as f32 / 2.),
        };
        let scaled = chain.with(Binary::Mul, &own, scale);
        let mut at = chain.with(Binary::Add, &scaled, shift);
        let last = (side - 1) as f32;
        if padding == "reflection" {
            // A zigzag of period 2·span between the two edges.
            let (low, span) = if align { (0., last) } else { (-0.5, side as f32) };
            if span == 0. {
                at = chain.with(Binary::Mul, &at, 0.);
            } else {
                let moved = chain.with(Binary::Sub, &at, low);
                let share = chain.with(Binary::Div, &moved, 2. * span);
                let nearest = chain.with(Binary::Add, &share, 0.5);
                let nearest = chain.unary(Unary::Floor, &nearest);
                let off = chain.binary(Binary::Sub, &share, &nearest);
                let off = chain.unary(Unary::Abs, &off);
                let off = chain.with(Binary::Mul, &off, 2. * span);
                at = chain.with(Binary::Add, &off, low);
            }
        }
        if padding != "zeros" {
            at = chain.unary(Unary::Clip(0., last), &at);
        }
        if is_nearest {
            at = chain.unary(Unary::Round, &at);
        }
        let pixels = Part::constant(Literal::float(vec![1, 1, 1, side], (0..side).map(|i| i as f32).collect()));
        let far = chain.binary(Binary::Sub, &at, &pixels);
        let far = chain.unary(Unary::Abs, &far);
        let near = chain.unary(Unary::Neg, &far);
        let near = chain.with(Binary::Add, &near, 1.);
        weights.push(chain.unary(Unary::Relu, &near));
    }
    // [n, 1, places, height] and [n, 1, places, width] to [n, 1, places, height·width].
    let rows = chain.reshape(&weights[0], vec![n, places, height, 1]);
    let columns = chain.reshape(&weights[1], vec![n, places, 1, width]);
    let both = chain.binary(Binary::Mul, &rows, &columns);
    let both = chain.reshape(&both, vec![n, 1, places, height * width]);
    let turned = chain.permute(&both, &[0, 1, 3, 2]);
    let flat = chain.reshape(&x, vec![n, 1, channels, height * width]);
    let found = chain.product(&flat, &turned);
    chain.done(&found, vec![n, channels, high, wide])
}

/// The places that an affine map of the plane reads.
fn affine_grid(node: &Node) -> Result<Lowered> {
    let size = node.int_list(1, "the size")?.unwrap_or_default();
    let &[n, _, height, width] = &size[..] else {
        return Err(node.refuse(format!("the size {size:?}; planes are accepted")));
    };
    if n < 1 || !(1..1 << 15).contains(&height) || !(1..1 << 15).contains(&width) {
        return Err(node.refuse(format!("the size {size:?}")));
    }
    let (n, height, width) = (n as usize, height as usize, width as usize);
    let align = node.int("align_corners", 0) != 0;
    let along = |i: usize, side: usize| match (align, side) {
        (true, 1) => 0.,
        (true, _) => -1. + 2. * i as f32 / (side - 1) as f32,
        (false, _) => (2 * i + 1) as f32 / side as f32 - 1.,
    };
    let mut chain = Chain::of(node);
    let theta = chain.input(node, 0)?;
    if theta.shape != [n, 2, 3] {
        return Err(node.refuse(format!("theta {:?} for the size {size:?}", theta.shape)));
    }
    grown(&[height, width], 0).ok_or_else(|| node.refuse(format!("the size {size:?}")))?;
    let base: Vec<f32> =
        (0..height * width).flat_map(|i| [along(i % width, width), along(i / width, height), 1.]).collect();
    let base = Part::constant(Literal::float(vec![1, height * width, 3], base));
    // [n, 2, 3] by [3, places]: a constant is the second factor of a step.
    let base = chain.permute(&base, &[0, 2, 1]);
    let found = chain.product(&theta, &base);
    let found = chain.permute(&found, &[0, 2, 1]);
    chain.done(&found, vec![n, height, width, 2])
}
