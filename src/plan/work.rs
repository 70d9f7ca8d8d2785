//! How much arithmetic a step and a whole plan take.

use super::{Op, Plan, Source, rank4};

/// How many multiplications or additions a step takes; `operands` are the shapes of its inputs. Sums saturate.
pub(crate) fn work(op: &Op, operands: &[[usize; 4]], shape: &[usize]) -> u64 {
    let out = product(shape);
    let sides = |index: usize| operands.get(index).copied().unwrap_or([1; 4]);
    let each = match op {
        Op::Convolution { .. } => product(&sides(1)[1..]),
        Op::Linear { .. } => sides(0)[3] as u64,
        Op::MaxPool { kernel, .. } | Op::AveragePool { kernel, .. } => product(kernel),
        Op::LocalResponse { size, .. } => *size as u64,
        // Rows first, then columns.
        Op::Resample => {
            let [n, channels, height, width] = sides(0);
            let rows = product(&[n, channels, sides(1)[2], height, width]);
            return out.saturating_mul(width as u64).saturating_add(rows);
        }
        _ => 1,
    };
    let read = operands.iter().fold(0, |sum: u64, operand| sum.saturating_add(product(operand)));
    out.saturating_mul(each).saturating_add(read)
}

/// The numbers of a shape. It saturates.
pub(crate) fn product(sides: &[usize]) -> u64 {
    sides.iter().fold(1, |product: u64, &side| product.saturating_mul(side as u64))
}

impl Plan {
    /// How many multiplications or additions one run takes.
    pub fn work(&self) -> u64 {
        let shape = |source: &Source| match source {
            Source::Value(value) => rank4(&self.values[value.0].shape),
            Source::Constant(constant) => self.constants[*constant].shape,
        };
        self.steps.iter().fold(0, |sum: u64, step| {
            let operands: Vec<_> = step.inputs.iter().map(shape).collect();
            sum.saturating_add(work(&step.op, &operands, &self.values[step.output.0].shape))
        })
    }
}
