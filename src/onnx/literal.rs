//! Constants of the file: decoded, and computed with while loading.
//!
//! Shapes are static here, so everything that PyTorch's exporters compute about shapes at run time (Shape, Gather,
//! Concat, …) folds into constants, and so do dequantised or cast parameters.

use super::proto;
use crate::{Error, ErrorKind, Result};

/// ONNX's element types, by their published numbers.
pub(super) mod element {
    pub const FLOAT: i32 = 1;
    pub const UINT8: i32 = 2;
    pub const INT8: i32 = 3;
    pub const UINT16: i32 = 4;
    pub const INT16: i32 = 5;
    pub const INT32: i32 = 6;
    pub const INT64: i32 = 7;
    pub const STRING: i32 = 8;
    pub const BOOL: i32 = 9;
    pub const FLOAT16: i32 = 10;
    pub const DOUBLE: i32 = 11;
    pub const UINT32: i32 = 12;
    pub const UINT64: i32 = 13;
    pub const BFLOAT16: i32 = 16;
    pub const UINT4: i32 = 21;
    pub const INT4: i32 = 22;

    /// The type of a name that ONNX gives it.
    pub fn named(name: &str) -> Option<i32> {
        Some(match name {
            "FLOAT" => FLOAT,
            "UINT8" => UINT8,
            "INT8" => INT8,
            "UINT16" => UINT16,
            "INT16" => INT16,
            "INT32" => INT32,
            "INT64" => INT64,
            "BOOL" => BOOL,
            "FLOAT16" => FLOAT16,
            "DOUBLE" => DOUBLE,
            "UINT32" => UINT32,
            "UINT64" => UINT64,
            _ => return None,
        })
    }

    pub fn is_integer(element: i32) -> bool {
        matches!(element, UINT8..=INT64 | UINT32 | UINT64)
    }

    /// The numbers that a type of integers has, as far as floats tell them apart.
    pub fn range(element: i32) -> (f32, f32) {
        let wide = (1 << 24) as f32;
        match element {
            UINT8 => (0.0, 255.0),
            INT8 => (-128.0, 127.0),
            UINT16 => (0.0, 65535.0),
            INT16 => (-32768.0, 32767.0),
            UINT4 => (0.0, 15.0),
            INT4 => (-8.0, 7.0),
            UINT32 | UINT64 => (0.0, wide),
            _ => (-wide, wide),
        }
    }

    /// A whole number as one of this type: what is beyond its ends comes in again at the other.
    pub fn wrapped(element: i32, value: i64) -> i64 {
        match element {
            UINT8 => i64::from(value as u8),
            INT8 => i64::from(value as i8),
            UINT16 => i64::from(value as u16),
            INT16 => i64::from(value as i16),
            UINT32 => i64::from(value as u32),
            INT32 => i64::from(value as i32),
            _ => value,
        }
    }

    /// The lowest number of a narrow type of integers, and how many it has; none of one that floats of 32 bits do not hold.
    pub fn turn(element: i32) -> Option<(f32, f32)> {
        match element {
            UINT8 => Some((0.0, 256.0)),
            INT8 => Some((-128.0, 256.0)),
            UINT16 => Some((0.0, 65536.0)),
            INT16 => Some((-32768.0, 65536.0)),
            _ => None,
        }
    }

    /// Whether a type of integers has all numbers of another.
    pub fn holds(element: i32, other: i32) -> bool {
        match (turn(element), turn(other)) {
            _ if element == other => is_integer(element),
            // Of wide ones as many as floats tell apart, but none below 0 where there is no sign.
            (None, _) if other == BOOL => is_integer(element),
            (None, Some((low, _))) => is_integer(element) && (low == 0.0 || !matches!(element, UINT32 | UINT64)),
            (None, None) => matches!(element, INT32 | INT64) && is_integer(other),
            (Some((low, count)), Some((least, other))) => low <= least && least + other <= low + count,
            (Some(_), None) => other == BOOL,
        }
    }

    /// Whether numbers of this type are kept as [`Data::Float`](super::Data::Float).
    pub fn is_float(element: i32) -> bool {
        matches!(element, FLOAT | FLOAT16 | DOUBLE | BFLOAT16)
    }
}

/// A constant: its shape, its ONNX element type, and its numbers (wider types hold narrower ones).
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Literal {
    pub shape: Vec<usize>,
    pub element: i32,
    pub data: Data,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Data {
    Float(Vec<f32>),
    /// Integers and booleans.
    Int(Vec<i64>),
}

/// The most numbers a single value may have: 2 GiB of f32, beyond what a browser gives one instance.
const MAX_NUMBERS: usize = 1 << 29;

/// The most axes of anything.
pub(super) const MAX_AXES: usize = 32;

/// The most numbers of a constant that is larger than everything it was computed from: what exporters compute about
/// shapes, positions and masks has thousands.
const MAX_GROWN: usize = 1 << 24;

fn damaged(message: String) -> Error {
    Error::new(ErrorKind::Model, message)
}

/// The number of elements of `shape`, unless it is absurd: too many axes, or sides too long, even beside a side of 0,
/// because lists and loops are as long as a side. So the product of any of its sides is a size, too.
pub(super) fn count(shape: &[usize]) -> Option<usize> {
    let is_empty = shape.contains(&0);
    let most = if is_empty { MAX_GROWN } else { MAX_NUMBERS };
    let product = shape.iter().try_fold(1usize, |sides, &side| sides.checked_mul(side.max(1)));
    let product = product.filter(|&product| product <= most && shape.len() <= MAX_AXES)?;
    Some(if is_empty { 0 } else { product })
}

/// The same for a constant computed from others, the largest of which has `largest` numbers.
pub(super) fn grown(shape: &[usize], largest: usize) -> Option<usize> {
    count(shape).filter(|&numbers| numbers <= largest.max(MAX_GROWN))
}

/// Row-major strides.
pub(super) fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    strides
}

/// The shape that `a` and `b` broadcast to (numpy's rule).
pub(super) fn broadcast_shape(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let at = |shape: &[usize], axis: usize| (axis + shape.len()).checked_sub(rank).map_or(1, |i| shape[i]);
    (0..rank)
        .map(|axis| match (at(a, axis), at(b, axis)) {
            (x, y) if x == y => Some(x),
            (1, y) => Some(y),
            (x, 1) => Some(x),
            _ => None,
        })
        .collect()
}

impl Literal {
    pub fn float(shape: Vec<usize>, values: Vec<f32>) -> Self {
        debug_assert_eq!(count(&shape), Some(values.len()));
        Literal { shape, element: element::FLOAT, data: Data::Float(values) }
    }

    pub fn ints(shape: Vec<usize>, values: Vec<i64>) -> Self {
        debug_assert_eq!(count(&shape), Some(values.len()));
        Literal { shape, element: element::INT64, data: Data::Int(values) }
    }

    /// Decodes a tensor of the file.
    pub fn decode(tensor: &proto::Tensor, owner: &str) -> Result<Self> {
        let name = tensor.name.as_deref().unwrap_or_default();
        let whose = if name.is_empty() { owner.to_string() } else { format!("tensor `{name}`") };
        if tensor.data_location == Some(1) {
            return Err(damaged(format!(
                "{whose} lies in a separate file; a model in one self-contained .onnx file is accepted"
            )));
        }
        let shape = tensor
            .dims
            .iter()
            .map(|&d| usize::try_from(d).map_err(|_| damaged(format!("{whose} has the negative dimension {d}"))))
            .collect::<Result<Vec<_>>>()?;
        let expected = count(&shape).ok_or_else(|| damaged(format!("{whose} is too large: {shape:?}")))?;
        let element = tensor.data_type.unwrap_or_default();
        let raw = tensor.raw_data.as_deref().filter(|raw| !raw.is_empty());
        let data = match raw {
            Some(raw) => decode_raw(raw, element, expected),
            None => decode_typed(tensor, element, expected),
        }
        .ok_or_else(|| {
            damaged(format!(
                "{whose} has the element type {element}; float32, float16, bfloat16, float64, integers and booleans are accepted"
            ))
        })?;
        let literal = Literal { shape, element, data };
        match literal.len() {
            found if found == expected => Ok(literal),
            found => Err(damaged(format!(
                "{whose} has {found} numbers where its shape {:?} needs {expected}",
                literal.shape
            ))),
        }
    }

    /// A tensor of which the file keeps only the numbers that are not 0.
    pub fn sparse(tensor: &proto::SparseTensor) -> Result<Self> {
        let missing = || damaged("a sparse tensor without numbers or places".into());
        let values = Literal::decode(tensor.values.as_ref().ok_or_else(missing)?, "a sparse tensor")?;
        let places = Literal::decode(tensor.indices.as_ref().ok_or_else(missing)?, "a sparse tensor")?;
        let shape: Option<Vec<usize>> = tensor.dims.iter().map(|&side| usize::try_from(side).ok()).collect();
        let shape = shape.filter(|shape| grown(shape, values.len()).is_some());
        let shape = shape.ok_or_else(|| damaged(format!("a sparse tensor of the shape {:?}", tensor.dims)))?;
        let (size, steps) = (shape.iter().product::<usize>(), strides(&shape));
        // One place in a row, or one on each axis.
        let depth = places.shape.get(1).copied().unwrap_or(1).max(1);
        let rows = places.as_ints().unwrap_or_default().chunks_exact(depth);
        if rows.len() != values.len() || (places.rank() == 2 && depth != shape.len()) {
            return Err(damaged(format!("a sparse tensor with {} numbers at {} places", values.len(), rows.len())));
        }
        let mut found = vec![u32::MAX; size];
        for (i, row) in rows.enumerate() {
            let at = match row {
                [at] if places.rank() < 2 => usize::try_from(*at).ok(),
                _ => row.iter().zip(&steps).try_fold(0usize, |sum, (&at, step)| {
                    usize::try_from(at).ok()?.checked_mul(*step)?.checked_add(sum)
                }),
            };
            let seat = at.and_then(|at| found.get_mut(at));
            *seat.ok_or_else(|| damaged(format!("a sparse tensor with a number at {row:?} of {shape:?}")))? = i as u32;
        }
        Ok(values.placed(&found, 0.0, shape))
    }

    pub fn len(&self) -> usize {
        match &self.data {
            Data::Float(values) => values.len(),
            Data::Int(values) => values.len(),
        }
    }

    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// The numbers as floats.
    pub fn floats(&self) -> Vec<f32> {
        match &self.data {
            Data::Float(values) => values.clone(),
            Data::Int(values) => values.iter().map(|&v| v as f32).collect(),
        }
    }

    /// The same without a copy, where they are floats.
    pub fn into_floats(self) -> Vec<f32> {
        match self.data {
            Data::Float(values) => values,
            Data::Int(_) => self.floats(),
        }
    }

    /// The numbers as integers, where they are integers.
    pub fn as_ints(&self) -> Option<&[i64]> {
        match &self.data {
            Data::Int(values) => Some(values),
            Data::Float(_) => None,
        }
    }

    /// The only number, as a float.
    pub fn scalar(&self) -> Option<f32> {
        match &self.data {
            Data::Float(values) if values.len() == 1 => Some(values[0]),
            Data::Int(values) if values.len() == 1 => Some(values[0] as f32),
            _ => None,
        }
    }

    /// The same numbers under another shape of the same size.
    pub fn reshaped(mut self, shape: Vec<usize>) -> Self {
        debug_assert_eq!(count(&shape), Some(self.len()));
        self.shape = shape;
        self
    }

    /// As floats of exactly four dimensions, with leading ones: how the device holds everything.
    pub fn rank4(&self) -> Self {
        let mut shape = vec![1; 4usize.saturating_sub(self.rank())];
        shape.extend(&self.shape);
        Literal::float(shape, self.floats())
    }

    /// Picks the numbers at `indices` (flat positions of this constant), in that order.
    pub fn pick(&self, shape: Vec<usize>, indices: impl Iterator<Item = usize>) -> Self {
        let data = match &self.data {
            Data::Float(values) => Data::Float(indices.map(|i| values[i]).collect()),
            Data::Int(values) => Data::Int(indices.map(|i| values[i]).collect()),
        };
        Literal { shape, element: self.element, data }
    }

    /// The same, with `fill` at [`NOWHERE`].
    pub fn placed(&self, places: &[u32], fill: f32, shape: Vec<usize>) -> Self {
        let data = match &self.data {
            Data::Float(values) => {
                Data::Float(places.iter().map(|&i| *values.get(i as usize).unwrap_or(&fill)).collect())
            }
            Data::Int(values) => {
                let fill = fill as i64;
                Data::Int(places.iter().map(|&i| *values.get(i as usize).unwrap_or(&fill)).collect())
            }
        };
        Literal { shape, element: self.element, data }
    }

    /// For each axis of the result, which index of the same axis here; axes are independent.
    pub fn select(&self, axes: &[Vec<usize>]) -> Self {
        let shape: Vec<usize> = axes.iter().map(Vec::len).collect();
        let from = strides(&self.shape);
        self.pick(
            shape.clone(),
            positions(axes.iter().zip(&from).map(|(axis, step)| axis.iter().map(|&i| i * step).collect())),
        )
    }

    pub fn transposed(&self, permutation: &[usize]) -> Self {
        let shape: Vec<usize> = permutation.iter().map(|&axis| self.shape[axis]).collect();
        let from = strides(&self.shape);
        self.pick(
            shape.clone(),
            positions(permutation.iter().map(|&axis| (0..self.shape[axis]).map(|i| i * from[axis]).collect())),
        )
    }

    /// Broadcast to `shape`, which this constant's shape must fit.
    pub fn expanded(&self, shape: &[usize]) -> Self {
        if self.shape == shape {
            return self.clone();
        }
        let from = strides(&self.shape);
        let missing = shape.len() - self.rank();
        self.pick(
            shape.to_vec(),
            positions(shape.iter().enumerate().map(|(axis, &length)| match axis.checked_sub(missing) {
                Some(own) if self.shape[own] != 1 => (0..length).map(|i| i * from[own]).collect(),
                _ => vec![0; length],
            })),
        )
    }

    pub fn concatenated(parts: &[&Literal], axis: usize) -> Self {
        let mut shape = parts[0].shape.clone();
        shape[axis] = parts.iter().map(|part| part.shape[axis]).sum();
        let outer: usize = shape[..axis].iter().product();
        let run = |part: &Literal| part.shape[axis..].iter().product::<usize>();
        let data = if parts.iter().all(|part| matches!(part.data, Data::Int(_))) {
            let mut out = Vec::with_capacity(shape.iter().product());
            for row in 0..outer {
                for part in parts {
                    let run = run(part);
                    out.extend_from_slice(&part.as_ints().unwrap_or_default()[row * run..(row + 1) * run]);
                }
            }
            Data::Int(out)
        } else {
            let floats: Vec<Vec<f32>> = parts.iter().map(|part| part.floats()).collect();
            let mut out = Vec::with_capacity(shape.iter().product());
            for row in 0..outer {
                for (part, values) in parts.iter().zip(&floats) {
                    let run = run(part);
                    out.extend_from_slice(&values[row * run..(row + 1) * run]);
                }
            }
            Data::Float(out)
        };
        Literal { shape, element: parts[0].element, data }
    }

    /// Applies a function of one number.
    pub fn map(&self, float: impl Fn(f32) -> f32) -> Self {
        Literal::float(self.shape.clone(), self.floats().into_iter().map(float).collect())
    }

    /// Combines two constants number by number with broadcasting; integers stay integers.
    pub fn combine(
        a: &Literal,
        b: &Literal,
        float: impl Fn(f32, f32) -> f32,
        int: impl Fn(i64, i64) -> i64,
    ) -> Option<Literal> {
        let shape = broadcast_shape(&a.shape, &b.shape)?;
        grown(&shape, a.len().max(b.len()))?;
        let (a, b) = (a.expanded(&shape), b.expanded(&shape));
        Some(match (&a.data, &b.data) {
            (Data::Int(x), Data::Int(y)) => Literal {
                shape,
                element: a.element,
                data: Data::Int(x.iter().zip(y).map(|(&x, &y)| int(x, y)).collect()),
            },
            _ => Literal::float(shape, a.floats().into_iter().zip(b.floats()).map(|(x, y)| float(x, y)).collect()),
        })
    }

    /// Integers as their type holds them.
    pub fn wrapped(mut self) -> Self {
        if let Data::Int(values) = &mut self.data {
            values.iter_mut().for_each(|value| *value = element::wrapped(self.element, *value));
        }
        self
    }

    /// Converts to another element type, as ONNX's Cast does.
    pub fn cast(&self, to: i32) -> Self {
        let data = match (&self.data, element::is_float(to)) {
            (Data::Float(values), true) => Data::Float(match to {
                element::FLOAT16 => values.iter().map(|&v| half::f16::from_f32(v).to_f32()).collect(),
                element::BFLOAT16 => values.iter().map(|&v| half::bf16::from_f32(v).to_f32()).collect(),
                _ => values.clone(),
            }),
            (Data::Int(values), true) => Data::Float(values.iter().map(|&v| v as f32).collect()),
            (Data::Float(values), false) if to == element::BOOL => {
                Data::Int(values.iter().map(|&v| i64::from(v != 0.0)).collect())
            }
            // Beyond the ends of all types the standard leaves it open.
            (Data::Float(values), false) if to == element::INT32 => {
                Data::Int(values.iter().map(|&v| i64::from(v as i32)).collect())
            }
            (Data::Float(values), false) => Data::Int(values.iter().map(|&v| v as i64).collect()),
            (Data::Int(values), false) if to == element::BOOL => {
                Data::Int(values.iter().map(|&v| i64::from(v != 0)).collect())
            }
            (Data::Int(values), false) => Data::Int(values.clone()),
        };
        Literal { shape: self.shape.clone(), element: to, data }.wrapped()
    }
}

/// Every place of a grid in row-major order, as the sum of one offset from each axis.
fn positions(axes: impl Iterator<Item = Vec<usize>>) -> impl Iterator<Item = usize> {
    let all = axes.filter(|offsets| *offsets != [0]).fold(vec![0], |starts, offsets| {
        let mut all = Vec::with_capacity(starts.len() * offsets.len());
        for start in starts {
            all.extend(offsets.iter().map(|offset| start + offset));
        }
        all
    });
    all.into_iter()
}

/// Numbers of four bits, the first of two in a byte's lower half; the last byte of an odd count keeps half of itself unused.
fn halves(bytes: impl Iterator<Item = u8>, element: i32, expected: usize) -> Vec<i64> {
    let numbers = bytes.flat_map(|byte| [byte & 15, byte >> 4]).map(|half| match element {
        element::INT4 => i64::from((half << 4) as i8 >> 4),
        _ => i64::from(half),
    });
    let mut numbers: Vec<i64> = numbers.collect();
    if numbers.len() == expected + 1 {
        numbers.pop();
    }
    numbers
}

fn decode_raw(raw: &[u8], element: i32, expected: usize) -> Option<Data> {
    macro_rules! numbers {
        ($type:ty, $variant:ident, $convert:expr) => {
            Data::$variant(
                raw.chunks_exact(size_of::<$type>())
                    .map(|bytes| $convert(<$type>::from_le_bytes(bytes.try_into().expect("chunks have this size"))))
                    .collect(),
            )
        };
    }
    Some(match element {
        element::FLOAT => numbers!(f32, Float, |v| v),
        element::DOUBLE => numbers!(f64, Float, |v| v as f32),
        element::FLOAT16 => numbers!(u16, Float, |v| half::f16::from_bits(v).to_f32()),
        element::BFLOAT16 => numbers!(u16, Float, |v| half::bf16::from_bits(v).to_f32()),
        element::UINT8 | element::BOOL => numbers!(u8, Int, i64::from),
        element::INT8 => numbers!(i8, Int, i64::from),
        element::UINT16 => numbers!(u16, Int, i64::from),
        element::INT16 => numbers!(i16, Int, i64::from),
        element::INT32 => numbers!(i32, Int, i64::from),
        element::UINT32 => numbers!(u32, Int, i64::from),
        element::INT64 => numbers!(i64, Int, |v| v),
        element::UINT64 => numbers!(u64, Int, |v| v as i64),
        element::UINT4 | element::INT4 => Data::Int(halves(raw.iter().copied(), element, expected)),
        _ => return None,
    })
}

fn decode_typed(tensor: &proto::Tensor, element: i32, expected: usize) -> Option<Data> {
    Some(match element {
        element::FLOAT => Data::Float(tensor.float_data.clone()),
        element::DOUBLE => Data::Float(tensor.double_data.iter().map(|&v| v as f32).collect()),
        element::FLOAT16 => {
            Data::Float(tensor.int32_data.iter().map(|&v| half::f16::from_bits(v as u16).to_f32()).collect())
        }
        element::BFLOAT16 => {
            Data::Float(tensor.int32_data.iter().map(|&v| half::bf16::from_bits(v as u16).to_f32()).collect())
        }
        element::INT64 => Data::Int(tensor.int64_data.clone()),
        element::UINT32 | element::UINT64 => Data::Int(tensor.uint64_data.iter().map(|&v| v as i64).collect()),
        element::UINT8 | element::INT8 | element::UINT16 | element::INT16 | element::INT32 | element::BOOL => {
            Data::Int(tensor.int32_data.iter().map(|&v| i64::from(v)).collect())
        }
        element::UINT4 | element::INT4 => {
            Data::Int(halves(tensor.int32_data.iter().map(|&v| v as u8), element, expected))
        }
        _ => return None,
    })
}
