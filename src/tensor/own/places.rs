//! Numbers picked from places: other orders, parts, repetitions, edges, extremes. The way back is one for all: what was
//! picked gets the gradient of where it went.

use super::{Origin, Tensor};
use crate::plan::NOWHERE as NONE;

/// A part of an axis: from `start` to before `end`, each `step`-th.
#[derive(Clone, Copy, Debug)]
pub struct Slice {
    start: usize,
    end: Option<usize>,
    step: usize,
}

impl Slice {
    /// All of it.
    pub fn full() -> Slice {
        Slice { start: 0, end: None, step: 1 }
    }

    /// Neither of them counts from the end here.
    pub fn new(start: isize, end: Option<isize>, step: isize) -> Slice {
        Slice { start: start as usize, end: end.map(|end| end as usize), step: step as usize }
    }
}

/// What operations are told.
pub mod ops {
    pub use super::super::products::{AvgPoolOptions, ConvOptions, MaxPoolOptions};

    /// What stands outside.
    #[derive(Clone, Copy, Debug)]
    pub enum PadMode {
        Constant(f32),
        /// The image mirrored at its outermost pixels, which are not repeated.
        Reflect,
        /// The outermost pixels again.
        Edge,
    }
}

impl<const D: usize> Tensor<D> {
    /// The same numbers in another shape.
    pub fn reshape<const E: usize>(self, shape: [usize; E]) -> Tensor<E> {
        assert_eq!(shape.iter().product::<usize>(), self.values.len(), "{:?} can't become {shape:?}", self.shape);
        // The same numbers for another shape: the same place on the tape.
        Tensor { shape, values: self.values, mark: self.mark }
    }

    /// Axes in another order.
    pub fn permute(self, axes: [usize; D]) -> Self {
        let strides = self.strides();
        let shape = axes.map(|axis| self.shape[axis]);
        let index = indices(&shape, |axis, i| (i * strides[axes[axis]]) as u32);
        self.picked(shape, index, 0.)
    }

    /// Two axes changed for each other.
    pub fn swap_dims(self, a: usize, b: usize) -> Self {
        let mut axes = std::array::from_fn(|axis| axis);
        axes.swap(a, b);
        self.permute(axes)
    }

    /// `length` places of an axis.
    pub fn narrow(self, axis: usize, start: usize, length: usize) -> Self {
        self.along(axis, length, |i| Some(start + i))
    }

    /// A part of each axis.
    pub fn slice(self, slices: [Slice; D]) -> Self {
        slices.into_iter().enumerate().fold(self, |tensor, (axis, Slice { start, end, step })| {
            let size = tensor.shape[axis];
            let end = end.unwrap_or(size).min(size);
            tensor.along(axis, end.saturating_sub(start).div_ceil(step), |i| Some(start + i * step))
        })
    }

    /// An axis from its end.
    pub fn flip(self, axes: [isize; 1]) -> Self {
        let axis = axes[0] as usize;
        let size = self.shape[axis];
        self.along(axis, size, |i| Some(size - 1 - i))
    }

    /// Axes of size one repeated.
    pub fn expand(self, shape: [usize; D]) -> Self {
        (0..D).fold(self, |tensor, axis| match tensor.shape[axis] {
            1 => tensor.along(axis, shape[axis], |_| Some(0)),
            _ => tensor,
        })
    }

    /// More places before and after each axis.
    pub fn pad(self, padding: [(usize, usize); D], mode: ops::PadMode) -> Self {
        padding.into_iter().enumerate().fold(self, |tensor, (axis, (before, after))| {
            let size = tensor.shape[axis];
            let fill = if let ops::PadMode::Constant(value) = mode { value } else { 0. };
            let from = |i: usize| {
                let at = i as isize - before as isize;
                let last = size as isize - 1;
                match mode {
                    ops::PadMode::Constant(_) => usize::try_from(at).ok().filter(|&at| at < size),
                    ops::PadMode::Edge => Some(at.clamp(0, last) as usize),
                    ops::PadMode::Reflect => Some((last - (last - at.abs()).abs()) as usize),
                }
            };
            tensor.filled_along(axis, before + size + after, from, fill)
        })
    }

    /// The greatest along an axis, which keeps size one.
    pub fn max_dim(self, axis: usize) -> Self {
        self.extreme(axis, |a, b| a > b)
    }

    /// The least along an axis, which keeps size one.
    pub fn min_dim(self, axis: usize) -> Self {
        self.extreme(axis, |a, b| a < b)
    }

    /// The first of those that none is `beyond`; what is not a number is beyond all.
    fn extreme(self, axis: usize, beyond: fn(f32, f32) -> bool) -> Self {
        let (outer, size, inner) = self.around(axis);
        let mut index = Vec::with_capacity(outer * inner);
        for block in 0..outer {
            for column in 0..inner {
                let first = block * size * inner + column;
                let best = (1..size).map(|i| first + i * inner).fold(first, |best, place| {
                    let (a, b) = (self.values[place], self.values[best]);
                    if beyond(a, b) || (a.is_nan() && !b.is_nan()) { place } else { best }
                });
                index.push(best as u32);
            }
        }
        let mut shape = self.shape;
        shape[axis] = 1;
        self.picked(shape, index, 0.)
    }

    /// One behind the other along an axis.
    pub fn cat(tensors: Vec<Self>, axis: usize) -> Self {
        let mut shape = tensors[0].shape;
        shape[axis] = tensors.iter().map(|tensor| tensor.shape[axis]).sum();
        let outer: usize = shape[..axis].iter().product();
        let blocks: Vec<usize> = tensors.iter().map(|tensor| tensor.values.len() / outer).collect();
        let whole: usize = blocks.iter().sum();
        let mut values = Vec::with_capacity(outer * whole);
        for row in 0..outer {
            for (tensor, block) in tensors.iter().zip(&blocks) {
                values.extend_from_slice(&tensor.values[row * block..][..*block]);
            }
        }
        let mut before = 0;
        let mut origins: Vec<Origin> = Vec::new();
        for (tensor, block) in tensors.iter().zip(blocks) {
            let start = before;
            origins.extend(tensor.origin(|| {
                Box::new(move |gradient| {
                    gradient.chunks_exact(whole).flat_map(|row| &row[start..][..block]).copied().collect()
                })
            }));
            before += block;
        }
        Tensor::computed(shape, values, origins)
    }

    /// Another size along one axis, each of whose places is one of before.
    fn along(self, axis: usize, size: usize, from: impl Fn(usize) -> Option<usize>) -> Self {
        self.filled_along(axis, size, from, 0.)
    }

    fn filled_along(self, axis: usize, size: usize, from: impl Fn(usize) -> Option<usize>, fill: f32) -> Self {
        if size == self.shape[axis] && (0..size).all(|i| from(i) == Some(i)) {
            return self;
        }
        let (outer, before, inner) = self.around(axis);
        let mut shape = self.shape;
        shape[axis] = size;
        if self.mark.is_none() {
            let mut values = Vec::with_capacity(outer * size * inner);
            for block in self.values.chunks_exact(before * inner) {
                for i in 0..size {
                    match from(i) {
                        Some(at) => values.extend_from_slice(&block[at * inner..][..inner]),
                        None => values.resize(values.len() + inner, fill),
                    }
                }
            }
            return Tensor::made(shape, values);
        }
        let mut index = Vec::with_capacity(outer * size * inner);
        for block in 0..outer {
            for i in 0..size {
                match from(i) {
                    Some(at) => index.extend((0..inner).map(|k| ((block * before + at) * inner + k) as u32)),
                    None => index.resize(index.len() + inner, NONE),
                }
            }
        }
        self.picked(shape, index, fill)
    }

    /// The number at each place of `index`.
    pub(super) fn picked<const E: usize>(self, shape: [usize; E], index: Vec<u32>, fill: f32) -> Tensor<E> {
        let values = index.iter().map(|&place| if place == NONE { fill } else { self.values[place as usize] });
        let values: Vec<f32> = values.collect();
        let numbers = self.values.len();
        let origin = self.origin(|| {
            Box::new(move |gradient| {
                let mut found = vec![0.; numbers];
                for (&place, gradient) in index.iter().zip(gradient).filter(|(place, _)| **place != NONE) {
                    found[place as usize] += gradient;
                }
                found
            })
        });
        Tensor::computed(shape, values, origin.into_iter().collect())
    }

    fn strides(&self) -> [usize; D] {
        std::array::from_fn(|axis| self.shape[axis + 1..].iter().product())
    }
}

/// The number at each of `places` of each image in turn, `fill` at [`NOWHERE`](crate::plan::NOWHERE), in the given shape.
pub(crate) fn picked(x: Tensor<4>, places: &[u32], fill: f32, shape: [usize; 4]) -> Tensor<4> {
    let images = shape.iter().product::<usize>() / places.len();
    let each = x.values.len() / images;
    let of = |image: usize| places.iter().map(move |&at| if at == NONE { at } else { at + (image * each) as u32 });
    x.picked(shape, (0..images).flat_map(of).collect(), fill)
}

/// For each place of a shape the sum of what its position along each axis adds.
fn indices(shape: &[usize], part: impl Fn(usize, usize) -> u32) -> Vec<u32> {
    let mut index = vec![0];
    for (axis, &size) in shape.iter().enumerate() {
        let parts: Vec<u32> = (0..size).map(|i| part(axis, i)).collect();
        index = index.iter().flat_map(|&start| parts.iter().map(move |part| start + part)).collect();
    }
    index
}
