//! Tensors of f32 on the CPU, and the tape on which their gradients are found.
//!
//! A few operations know their own way back: functions of one and of two numbers, numbers picked from places, sums,
//! joining, products of matrices and convolutions. Everything else is made of these. Names, arguments and results are
//! burn's, so that the rest of the engine need not know which of the two it is compiled with.
//!
//! **Invariants.** Numbers are row-major and without gaps. A tensor is on the tape if a gradient may be asked through it;
//! without that nothing is kept for a way back.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::rc::Rc;

use crate::order::arranged;

mod broadcast;
mod functions;
mod places;
mod products;

pub use functions::activation;
pub(crate) use places::picked;
pub use places::{Slice, ops};
pub use products::module;

/// The CPU: the only device without burn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Device(());

impl Device {
    /// The CPU, by the name of burn's backend for it.
    pub fn flex() -> Device {
        Device(())
    }
}

/// Numbers and a shape, on their way to a tensor or from it.
pub struct TensorData {
    values: Rc<Vec<f32>>,
    shape: Vec<usize>,
}

impl TensorData {
    /// Row-major numbers of a shape.
    pub fn new<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> TensorData {
        TensorData { values: Rc::new(values), shape: shape.to_vec() }
    }

    /// The numbers; they are of the one type that there is.
    pub fn as_slice(&self) -> Result<&[f32], Infallible> {
        Ok(&self.values)
    }

    /// The numbers; they are of the one type that there is.
    pub fn try_into_vec<T: From<f32>>(self) -> Result<Vec<T>, Infallible> {
        Ok(Rc::unwrap_or_clone(self.values).into_iter().map(T::from).collect())
    }
}

/// Numbers in `D` dimensions.
#[derive(Clone, Debug)]
pub struct Tensor<const D: usize> {
    shape: [usize; D],
    values: Rc<Vec<f32>>,
    /// Where it stands on the tape.
    mark: Option<Rc<Mark>>,
}

/// A place on the tape.
struct Mark {
    /// Later ones are greater.
    index: usize,
    /// What it was computed from, as far as that is on the tape, and the way back to each.
    origins: Vec<Origin>,
}

struct Origin {
    mark: Rc<Mark>,
    /// From the gradient by the result to what is added to the gradient by the origin.
    back: Back,
}

type Back = Box<dyn Fn(&[f32]) -> Vec<f32>>;

impl std::fmt::Debug for Mark {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Mark({})", self.index)
    }
}

impl Mark {
    fn new(origins: Vec<Origin>) -> Rc<Mark> {
        thread_local!(static NEXT: Cell<usize> = const { Cell::new(0) });
        let index = NEXT.get();
        NEXT.set(index + 1);
        Rc::new(Mark { index, origins })
    }
}

/// What [`Tensor::backward`] found, by places on the tape.
pub struct Gradients(HashMap<usize, Vec<f32>>);

impl<const D: usize> Tensor<D> {
    /// A tensor of these numbers.
    pub fn from_data(data: TensorData, _device: &Device) -> Self {
        let shape = data.shape.try_into().expect("as many sides as dimensions");
        Tensor::made(shape, data.values)
    }

    /// Its numbers and shape.
    pub fn into_data(self) -> TensorData {
        let shape = self.shape.to_vec();
        TensorData { values: self.values, shape }
    }

    /// Its shape.
    pub fn dims(&self) -> [usize; D] {
        self.shape
    }

    /// Zeros in its shape.
    pub fn zeros_like(&self) -> Self {
        Tensor::made(self.shape, vec![0.; self.values.len()])
    }

    /// Itself: what is on the tape shows in the tensor alone.
    pub fn autodiff(self) -> Self {
        self
    }

    /// Whether it is on the tape.
    pub fn is_tracked(&self) -> bool {
        self.mark.is_some()
    }

    /// Puts it on the tape, as something that gradients are asked by.
    pub fn require_grad(self) -> Self {
        Tensor { mark: Some(Mark::new(Vec::new())), ..self }
    }

    /// The same numbers, off the tape.
    pub fn detach(self) -> Self {
        Tensor { mark: None, ..self }
    }

    /// The gradients of the sum of its numbers by all that it was computed from.
    pub fn backward(&self) -> Gradients {
        let mut found = HashMap::new();
        let Some(mark) = &self.mark else { return Gradients(found) };
        found.insert(mark.index, vec![1.; self.values.len()]);
        let mut marks = vec![mark.clone()];
        let mut seen = 0;
        let mut known = HashSet::from([mark.index]);
        while let Some(mark) = marks.get(seen).cloned() {
            for origin in &mark.origins {
                if known.insert(origin.mark.index) {
                    marks.push(origin.mark.clone());
                }
            }
            seen += 1;
        }
        // Whatever a mark contributes to is later than itself.
        let marks = arranged(marks, &|a, b| b.index.cmp(&a.index));
        for mark in marks.iter().filter(|mark| !mark.origins.is_empty()) {
            let Some(gradient) = found.remove(&mark.index) else { continue };
            for origin in &mark.origins {
                let share = (origin.back)(&gradient);
                match found.get_mut(&origin.mark.index) {
                    Some(sum) => sum.iter_mut().zip(share).for_each(|(sum, share)| *sum += share),
                    None => drop(found.insert(origin.mark.index, share)),
                }
            }
        }
        Gradients(found)
    }

    /// The gradient by this tensor, if anything depended on it.
    pub fn grad_remove(&self, gradients: &mut Gradients) -> Option<Self> {
        let values = gradients.0.remove(&self.mark.as_ref()?.index)?;
        Some(Tensor::made(self.shape, values))
    }

    fn made(shape: [usize; D], values: impl Into<Rc<Vec<f32>>>) -> Self {
        let values = values.into();
        assert_eq!(shape.iter().product::<usize>(), values.len(), "one number for each place of {shape:?}");
        Tensor { shape, values, mark: None }
    }

    /// A result and, from those operands that are on the tape, the ways back.
    fn computed(shape: [usize; D], values: impl Into<Rc<Vec<f32>>>, origins: Vec<Origin>) -> Self {
        let mark = (!origins.is_empty()).then(|| Mark::new(origins));
        Tensor { mark, ..Tensor::made(shape, values) }
    }

    /// The way back to this operand, if it is on the tape.
    fn origin(&self, back: impl FnOnce() -> Back) -> Option<Origin> {
        self.mark.as_ref().map(|mark| Origin { mark: mark.clone(), back: back() })
    }
}
