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

/// The same of integers, which are kept in eight bytes each.
pub(super) const MAX_INTEGERS: usize = 1 << 27;

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

    /// Integers of one of ONNX's types, which wraps what it does not hold.
    pub fn integers(element: i32, shape: Vec<usize>, values: Vec<i64>) -> Self {
        Literal { element, ..Literal::ints(shape, values) }.wrapped()
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
        if integers(tensor) > MAX_INTEGERS {
            return Err(damaged(format!(
                "{whose} is too large: {expected} integers; up to {MAX_INTEGERS} are accepted"
            )));
        }
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
        let seats = rows.map(|row| {
            let at = match row {
                [at] if places.rank() < 2 => usize::try_from(*at).ok(),
                _ => row.iter().zip(&steps).try_fold(0usize, |sum, (&at, step)| {
                    usize::try_from(at).ok()?.checked_mul(*step)?.checked_add(sum)
                }),
            };
            let seat = at.filter(|&at| at < size);
            seat.ok_or_else(|| damaged(format!("a sparse tensor with a number at {row:?} of {shape:?}")))
        });
        fn seated<T: Copy + Default>(
            values: &[T],
            size: usize,
            seats: impl Iterator<Item = Result<usize>>,
        ) -> Result<Vec<T>> {
            let mut all = vec![T::default(); size];
            seats.zip(values).try_for_each(|(seat, &value)| seat.map(|seat| all[seat] = value))?;
            Ok(all)
        }
        let data = match &values.data {
            Data::Float(values) => Data::Float(seated(values, size, seats)?),
            Data::Int(values) => Data::Int(seated(values, size, seats)?),
        };
        Ok(Literal { shape, element: values.element, data })
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

    /// The numbers at `places` of this constant, row by row, and `fill` at [`NOWHERE`](crate::plan::NOWHERE).
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

    /// The numbers along axes of the result, each of which steps so far through those of this constant.
    fn along(&self, axes: &[(Along, usize)]) -> Self {
        fn read<T: Copy>(values: &[T], axes: &[(Along, usize)]) -> Vec<T> {
            let mut found = Vec::with_capacity(axes.iter().map(|(along, _)| along.count()).product());
            walk(axes, &mut |place| found.push(values[place]));
            found
        }
        let data = match &self.data {
            Data::Float(values) => Data::Float(read(values, axes)),
            Data::Int(values) => Data::Int(read(values, axes)),
        };
        Literal { shape: axes.iter().map(|(along, _)| along.count()).collect(), element: self.element, data }
    }

    /// Of each axis the given numbers; axes are independent.
    pub fn select(&self, axes: Vec<Along>) -> Self {
        self.along(&axes.into_iter().zip(strides(&self.shape)).collect::<Vec<_>>())
    }

    pub fn transposed(&self, permutation: &[usize]) -> Self {
        // Matrices, as most are, without a walk through all of memory for each row.
        if let Some((batch, &[rows, columns])) = self.shape.split_last_chunk()
            && permutation.iter().copied().eq((0..batch.len()).chain([batch.len() + 1, batch.len()]))
            && self.len() > 0
        {
            let data = match &self.data {
                Data::Float(values) => Data::Float(turned(values, rows, columns)),
                Data::Int(values) => Data::Int(turned(values, rows, columns)),
            };
            return Literal { shape: [batch, &[columns, rows]].concat(), element: self.element, data };
        }
        let from = strides(&self.shape);
        let axes = permutation.iter().map(|&axis| (Along::all(self.shape[axis]), from[axis]));
        self.along(&axes.collect::<Vec<_>>())
    }

    /// The axes of `shape`, which this constant's shape must fit, and how far each steps here.
    fn broadcast(&self, shape: &[usize]) -> Vec<(Along, usize)> {
        let from = strides(&self.shape);
        let missing = shape.len() - self.rank();
        let step = |axis: usize| match axis.checked_sub(missing) {
            Some(own) if self.shape[own] != 1 => from[own],
            _ => 0,
        };
        shape.iter().enumerate().map(|(axis, &length)| (Along::all(length), step(axis))).collect()
    }

    /// Broadcast to `shape`, which this constant's shape must fit.
    pub fn expanded(&self, shape: &[usize]) -> Self {
        if self.shape == shape { self.clone() } else { self.along(&self.broadcast(shape)) }
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
            let mut out = Vec::with_capacity(shape.iter().product());
            for row in 0..outer {
                for part in parts {
                    let row = row * run(part)..(row + 1) * run(part);
                    match &part.data {
                        Data::Float(values) => out.extend_from_slice(&values[row]),
                        Data::Int(values) => out.extend(values[row].iter().map(|&v| v as f32)),
                    }
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
        // The result is the first operand, in whose numbers the second's are taken in one by one.
        let mut result = a.expanded(&shape);
        if let (Data::Int(x), Data::Int(y)) = (&mut result.data, &b.data) {
            joined(x, &b.broadcast(&shape), |x, place| int(x, y[place]));
            return Some(result);
        }
        let mut x = result.into_floats();
        match &b.data {
            Data::Float(y) => joined(&mut x, &b.broadcast(&shape), |x, place| float(x, y[place])),
            Data::Int(y) => joined(&mut x, &b.broadcast(&shape), |x, place| float(x, y[place] as f32)),
        }
        Some(Literal::float(shape, x))
    }

    /// Of each place of `shape`, which all of them must fit, the first where `condition` holds, else the second.
    pub fn chosen(condition: &Literal, yes: &Literal, no: &Literal, shape: &[usize]) -> Literal {
        let mut kept = Vec::with_capacity(shape.iter().product());
        walk(&condition.broadcast(shape), &mut |place| {
            kept.push(match &condition.data {
                Data::Float(values) => values[place] != 0.0,
                Data::Int(values) => values[place] != 0,
            });
        });
        let mut kept = kept.into_iter();
        let mut is_kept = || kept.next() == Some(true);
        let mut result = yes.expanded(shape);
        if let (Data::Int(x), Data::Int(y)) = (&mut result.data, &no.data) {
            joined(x, &no.broadcast(shape), |x, place| if is_kept() { x } else { y[place] });
            return result;
        }
        let mut x = result.into_floats();
        match &no.data {
            Data::Float(y) => joined(&mut x, &no.broadcast(shape), |x, place| if is_kept() { x } else { y[place] }),
            Data::Int(y) => {
                joined(&mut x, &no.broadcast(shape), |x, place| if is_kept() { x } else { y[place] as f32 });
            }
        }
        Literal::float(shape.to_vec(), x)
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

/// How many integers a tensor of the file says that it has.
pub(super) fn integers(tensor: &proto::Tensor) -> usize {
    if element::is_float(tensor.data_type.unwrap_or_default()) {
        return 0;
    }
    tensor.dims.iter().fold(1, |count, &side| count.saturating_mul(usize::try_from(side).unwrap_or(0)))
}

/// Which numbers of an axis are taken, in order.
#[derive(Clone, Debug)]
pub(super) enum Along {
    /// So many from `start` on, each `step` behind the one before.
    Every {
        start: usize,
        step: isize,
        count: usize,
    },
    Listed(Vec<usize>),
}

impl Along {
    /// All of `side`.
    pub fn all(side: usize) -> Along {
        Along::Every { start: 0, step: 1, count: side }
    }

    pub fn count(&self) -> usize {
        match self {
            Along::Every { count, .. } => *count,
            Along::Listed(places) => places.len(),
        }
    }

    fn first(&self) -> usize {
        match self {
            Along::Every { start, .. } => *start,
            Along::Listed(places) => places[0],
        }
    }
}

/// Visits every place of a grid row by row; each axis steps so far through the numbers.
fn walk(axes: &[(Along, usize)], visit: &mut impl FnMut(usize)) {
    fn rows(axes: &[&(Along, usize)], base: usize, visit: &mut impl FnMut(usize)) {
        let Some(((along, stride), rest)) = axes.split_first() else { return visit(base) };
        let mut each = |place: usize| if rest.is_empty() { visit(place) } else { rows(rest, place, visit) };
        match along {
            Along::Every { start, step, count } => {
                let mut place = base + start * stride;
                for _ in 0..*count {
                    each(place);
                    // Behind the last one it may be no place any more.
                    place = place.wrapping_add_signed(step * *stride as isize);
                }
            }
            Along::Listed(places) => places.iter().for_each(|place| each(base + place * stride)),
        }
    }
    if axes.iter().any(|(along, _)| along.count() == 0) {
        return;
    }
    // A single number is the same at every place of the other axes.
    let (single, many): (Vec<_>, Vec<_>) = axes.iter().partition(|(along, _)| along.count() == 1);
    rows(&many, single.iter().map(|(along, stride)| along.first() * stride).sum(), visit);
}

/// Matrices in a row, each with its rows as columns.
fn turned<T: Copy + Default>(values: &[T], rows: usize, columns: usize) -> Vec<T> {
    let mut all = vec![T::default(); values.len()];
    for (matrix, turned) in values.chunks_exact(rows * columns).zip(all.chunks_exact_mut(rows * columns)) {
        // So many rows at a time as there are numbers in a line of the processor's cache.
        for first in (0..rows).step_by(16) {
            for column in 0..columns {
                for row in first..rows.min(first + 16) {
                    turned[column * rows + row] = matrix[row * columns + column];
                }
            }
        }
    }
    all
}

/// Joins to each number the one at its place of another constant.
fn joined<T: Copy>(numbers: &mut [T], axes: &[(Along, usize)], mut join: impl FnMut(T, usize) -> T) {
    let mut numbers = numbers.iter_mut();
    walk(axes, &mut |place| {
        if let Some(number) = numbers.next() {
            *number = join(*number, place);
        }
    });
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
