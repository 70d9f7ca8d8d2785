//! Products of matrices by dispatches: of values, which attention multiplies, and of any order of axes.

use std::rc::Rc;

use super::{Compiler, Dispatch, Instruction};
use crate::plan::{Source, ValueId, rank4};
use crate::schedule::Matrix;
use crate::shaders::{self, Epilogue, Factors, Shader, Shared};

/// Matrices `[a, b, rows, columns]`.
#[derive(Clone, Copy)]
struct Matrices {
    at: At,
    sides: [usize; 4],
    /// The sides with what is written beyond them.
    written: [usize; 4],
    strides: [usize; 4],
    offset: usize,
    /// From an image to the next.
    image: usize,
}

/// Where numbers lie.
#[derive(Clone, Copy)]
enum At {
    Slot(usize),
    Constant(usize),
}

impl Matrices {
    /// Row by row.
    fn plain(at: At, sides: [usize; 4]) -> Matrices {
        let [a, b, rows, columns] = sides;
        let strides = [b * rows * columns, rows * columns, columns, 1];
        let image = if matches!(at, At::Slot(_)) { a * strides[0] } else { 0 };
        Matrices { at, sides, written: sides, strides, offset: 0, image }
    }

    /// Rows for columns.
    fn turned(mut self) -> Matrices {
        for axes in [&mut self.sides, &mut self.written, &mut self.strides] {
            axes.swap(2, 3);
        }
        self
    }

    /// One matrix in the place of several, one row in the place of several.
    fn spread(&self) -> [usize; 4] {
        std::array::from_fn(|axis| if self.sides[axis] == 1 { 0 } else { self.strides[axis] })
    }
}

impl Compiler<'_> {
    /// Factors multiplied from left to right, and a constant that is added.
    pub(super) fn product(&mut self, factors: &[Matrix], bias: Option<usize>, output: ValueId) {
        let all: Vec<Matrices> = factors.iter().map(|factor| self.factor(factor)).collect();
        let output = self.matrices(Source::Value(output));
        let mut left = all[0];
        for (position, &right) in all.iter().enumerate().skip(1) {
            let is_last = position + 1 == all.len();
            let to = if is_last { output } else { self.between(left, right) };
            self.multiply([left, right, to], bias.filter(|_| is_last));
            left = to;
        }
    }

    fn factor(&mut self, factor: &Matrix) -> Matrices {
        let matrices = self.matrices(factor.source);
        if factor.turned { matrices.turned() } else { matrices }
    }

    fn matrices(&mut self, source: Source) -> Matrices {
        let value = match source {
            Source::Constant(index) => return Matrices::plain(At::Constant(index), self.plan.constants[index].shape),
            Source::Value(value) => value,
        };
        let (place, sides) = (self.place(value), rank4(&self.plan.values[value.0].shape));
        let at = At::Slot(place.slot);
        if place.planar {
            return Matrices::plain(at, sides);
        }
        let (own, mut written) = (place.strides(), sides);
        let strides = match place.form.channels_first {
            true => [own.image, own.channel, own.row, own.pixel],
            false => [sides[1] * own.row, own.row, own.pixel, own.channel],
        };
        let channels = &mut written[if place.form.channels_first { 1 } else { 3 }];
        *channels = channels.next_multiple_of(4);
        Matrices { at, sides, written, strides, offset: own.offset, image: own.image }
    }

    /// Room for a product that another factor follows.
    fn between(&mut self, left: Matrices, right: Matrices) -> Matrices {
        let side = |axis: usize| left.sides[axis].max(right.sides[axis]);
        let sides = [side(0), side(1), left.sides[2], right.sides[3]];
        Matrices::plain(At::Slot(self.buffer(sides.iter().product())), sides)
    }

    fn multiply(&mut self, [left, right, to]: [Matrices; 3], bias: Option<usize>) {
        let mut added = bias.map(|bias| Matrices::plain(At::Constant(bias), self.plan.constants[bias].shape));
        let (mut left, mut right, mut to) = (left, right, to);
        if let At::Constant(_) = left.at {
            // A·B = (Bᵀ·Aᵀ)ᵀ, and the constant is the second.
            (left, right, to) = (right.turned(), left.turned(), to.turned());
            added = added.map(Matrices::turned);
        }
        let (At::Slot(input), At::Slot(output)) = (left.at, to.at) else { unreachable!("one factor is a value") };
        let (constant, other) = match right.at {
            At::Constant(constant) => (Some(constant), None),
            At::Slot(slot) => (None, Some(slot)),
        };
        let kind = shaders::Kind::Product { constant: constant.is_some(), bias: bias.is_some() };
        let shared = Shared { input: input == output, other: other == Some(output) };
        let shader = Shader { kind, function: Epilogue::Plain, shared, lanes: 8 };
        // The bias lies behind the factor.
        let start = constant.map_or(0, |_| right.sides.iter().product());
        let sizes = Factors {
            sides: to.sides,
            written: to.written,
            depth: left.sides[3],
            strides: [left.spread(), right.spread(), to.strides, added.map_or([0; 4], |added| added.spread())],
            offsets: [left.offset, right.offset, to.offset, start],
            images: [left.image, right.image, to.image],
        };
        let constants: Vec<usize> = constant.into_iter().chain(bias).collect();
        let weights = (!constants.is_empty()).then(|| self.common.constants_in_one(self.plan, constants));
        let parameters = self.common.gpu.filled(&sizes.parameters());
        let groups = sizes.groups();
        self.instructions.push(Instruction::Dispatch(Dispatch {
            shader,
            groups,
            parameters,
            weights,
            output,
            input,
            other,
        }));
    }
}

impl super::Common {
    /// Constants as they are, one behind the other.
    fn constants_in_one(&self, plan: &crate::plan::Plan, constants: Vec<usize>) -> Rc<super::Buffer> {
        self.matrices.get(constants[0], constants.clone(), || {
            let numbers = constants.iter().flat_map(|&index| plan.constants[index].values.iter().copied());
            Rc::new(self.gpu.filled(&numbers.collect::<Vec<f32>>()))
        })
    }
}
