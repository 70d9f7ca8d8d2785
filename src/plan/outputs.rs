//! What a network gives out: which value an explanation is of, and what kind of numbers it holds.

use std::cell::Cell;
use std::collections::HashSet;

use super::{Binary, Constant, Op, Reduction, Source, Step, Unary, Value, ValueId, producer};
use crate::numbers::within;

/// What a network gives out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Output {
    pub value: ValueId,
    pub kind: OutputKind,
}

/// What the numbers of an output are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OutputKind {
    /// One score (logit) a class for each image, and how scores become probabilities.
    Scores(Activation),
}

/// How scores become probabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// Classes exclude each other.
    Softmax,
    /// Each class for itself: a single output, or a file that ends in Sigmoid.
    Sigmoid,
    /// Scores are probabilities: no logits lie behind them, as behind the mean of two softmaxes.
    Probability,
    /// Scores may be probabilities, and are where they lie in 0..=1 and sum to 1; else as [`Activation::Softmax`].
    Undecided,
}

impl Activation {
    /// The probabilities of one image's scores, each in 0..=1.
    pub(crate) fn probabilities(self, scores: &[f32]) -> Vec<f32> {
        let is_share = |score: &f32| (-1e-6..=1. + 1e-6).contains(score);
        let sums_to_one = || (scores.iter().map(|&score| f64::from(score)).sum::<f64>() - 1.).abs() < 1e-3;
        match self {
            Activation::Probability => scores.iter().map(|score| within(*score, 0., 1.)).collect(),
            Activation::Undecided if scores.len() > 1 && scores.iter().all(is_share) && sums_to_one() => {
                scores.iter().map(|score| within(*score, 0., 1.)).collect()
            }
            Activation::Softmax | Activation::Undecided if scores.len() > 1 => {
                let scores: Vec<f64> = scores.iter().map(|&score| score.into()).collect();
                softmax(&scores).into_iter().map(|probability| probability as f32).collect()
            }
            _ => scores.iter().map(|score| 1. / (1. + (-score).exp())).collect(),
        }
    }
}

/// The probabilities of one image's scores, of which one class is right.
pub(crate) fn softmax(scores: &[f64]) -> Vec<f64> {
    let highest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = scores.iter().map(|score| (score - highest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}

/// What a graph is read by: its steps, values and constants so far.
#[derive(Clone, Copy)]
pub(crate) struct Graph<'a> {
    pub steps: &'a [Step],
    pub values: &'a [Value],
    pub constants: &'a [Constant],
}

/// How far back from an output probabilities are looked for.
const DEPTH: usize = 24;

/// Of how many outputs it is found out which of them say less than others.
const COMPARED: usize = 16;

/// How many numbers are looked at for probabilities; a step counts as a thousand.
const LOOKED_AT: usize = 1 << 25;

impl Graph<'_> {
    fn producer(&self, value: ValueId) -> Option<&Step> {
        producer(self.steps, value)
    }

    fn count(&self, value: ValueId) -> usize {
        self.values[value.0].shape.iter().product()
    }

    /// The only number of an operand, if it is a constant.
    fn number(&self, source: Option<&Source>) -> Option<f32> {
        match source {
            Some(Source::Constant(constant)) => {
                let values = &self.constants[*constant].values;
                values.first().copied().filter(|first| values.iter().all(|value| value == first))
            }
            _ => None,
        }
    }

    /// The first of `candidates` from which no other one is computed: what another one is computed from is no result, such as
    /// features beside scores, or scores beside probabilities.
    pub fn result(&self, candidates: &[ValueId]) -> Option<ValueId> {
        let all: HashSet<ValueId> = candidates.iter().copied().collect();
        let is_result = |&id: &ValueId| all.len() > COMPARED || !self.says_less(id, &all);
        let results: HashSet<ValueId> = all.iter().copied().filter(is_result).collect();
        let mut used: HashSet<ValueId> = HashSet::new();
        for step in self.steps.iter().rev() {
            if results.contains(&step.output) || used.contains(&step.output) {
                used.extend(step.inputs.iter().filter_map(Source::value));
            }
        }
        candidates.iter().copied().find(|id| results.contains(id) && !used.contains(id))
    }

    /// Whether a value says less than another candidate that it is made of without a layer of weights: that moved by one
    /// number, as beyond a threshold, a decision or rounding of it, or one number for all of it, such as an entropy.
    fn says_less(&self, value: ValueId, candidates: &HashSet<ValueId>) -> bool {
        self.is_moved(value, candidates) || self.loses(value, candidates)
    }

    /// Whether a value is another candidate, each number of which is moved by the same one.
    fn is_moved(&self, value: ValueId, candidates: &HashSet<ValueId>) -> bool {
        let (mut at, mut moved) = (value, false);
        for _ in 0..DEPTH {
            let Some(step) = self.producer(at) else { return false };
            match &step.op {
                Op::Reshape => {}
                Op::Binary(Binary::Add | Binary::Sub) if self.number(step.inputs.get(1)).is_some() => moved = true,
                _ => return false,
            }
            let Some(input) = step.inputs.first().and_then(Source::value) else { return false };
            // What is added so that no logarithm is of 0 moves nothing.
            if moved && candidates.contains(&input) && self.scores(value).value != self.scores(input).value {
                return true;
            }
            at = input;
        }
        false
    }

    /// Whether all steps between another candidate and a value keep whole numbers or one number alone.
    fn loses(&self, value: ValueId, candidates: &HashSet<ValueId>) -> bool {
        let is_whole =
            |op: &Op| matches!(op, Op::Unary(Unary::Step | Unary::Sign | Unary::Floor | Unary::Ceil | Unary::Round));
        let mut open = vec![(value, false)];
        let mut seen = HashSet::new();
        let mut loses = false;
        while let Some((at, mut lost)) = open.pop() {
            let Some(step) = self.producer(at) else { continue };
            if matches!(step.op, Op::Linear { .. } | Op::Convolution { .. }) {
                // Weights say something of their own.
                if !lost {
                    return false;
                }
                continue;
            }
            lost |= is_whole(&step.op);
            for input in step.inputs.iter().filter_map(Source::value) {
                if candidates.contains(&input) {
                    if !lost && (self.count(value) > 1 || self.count(input) == 1) {
                        return false;
                    }
                    loses = true;
                    continue;
                }
                if seen.insert((input, lost)) {
                    open.push((input, lost));
                }
            }
        }
        loses
    }

    /// The scores behind the value of an output: those before a softmax or sigmoid and what changes nothing behind it, such
    /// as clipping, per cent and logarithms.
    pub fn scores(&self, output: ValueId) -> Output {
        let mut at = output;
        let mut peeled = output;
        for _ in 0..DEPTH {
            let Some(step) = self.producer(at) else { break };
            let Some(input) = step.inputs.first().and_then(Source::value) else { break };
            let number = self.number(step.inputs.get(1));
            let axes = |axis: usize| crate::plan::rank4(&self.values[input.0].shape)[axis];
            match &step.op {
                Op::Softmax { axis, flatten, .. } if *flatten || axes(*axis) == self.count(input) => {
                    return self.output(input, Activation::Softmax);
                }
                Op::Unary(Unary::Sigmoid) => return self.output(input, Activation::Sigmoid),
                Op::Reshape | Op::Quantize { .. } | Op::Dequantize if self.count(input) == self.count(output) => {}
                Op::Unary(Unary::Clip(low, high)) if *low <= 1e-3 && *high >= 0.999 => {}
                Op::Unary(Unary::Log) => {}
                Op::Binary(Binary::Mul | Binary::Div) if number.is_some_and(|number| number > 0.) => {}
                Op::Binary(Binary::Add | Binary::Max)
                    if number.is_some_and(|number| (0. ..=1e-3).contains(&number)) => {}
                Op::Binary(Binary::Min) if number.is_some_and(|number| (0.999..).contains(&number)) => {}
                _ => break,
            }
            at = input;
            // What is behind a logarithm is no probability any more.
            peeled = at;
        }
        match self.range(peeled, DEPTH, &Cell::new(LOOKED_AT)) {
            Some(Range { low, high, squashed: true }) if low >= -1e-6 && high <= 1. + 1e-6 => {
                Output { value: peeled, kind: OutputKind::Scores(Activation::Probability) }
            }
            _ if self.count(output) > 1 && self.may_be_probabilities(output) => {
                self.output(output, Activation::Undecided)
            }
            _ => self.output(output, Activation::Softmax),
        }
    }

    fn output(&self, value: ValueId, activation: Activation) -> Output {
        let is_one = self.count(value) == 1 && activation != Activation::Probability;
        Output { value, kind: OutputKind::Scores(if is_one { Activation::Sigmoid } else { activation }) }
    }

    /// Whether something between the last layer with parameters and the output makes probabilities.
    fn may_be_probabilities(&self, output: ValueId) -> bool {
        let mut open = vec![(output, DEPTH)];
        while let Some((value, depth)) = open.pop() {
            let Some(step) = self.producer(value).filter(|_| depth > 0) else { continue };
            match step.op {
                Op::Linear { .. } | Op::Convolution { .. } => continue,
                Op::Softmax { .. } | Op::Unary(Unary::Sigmoid | Unary::Exp) => return true,
                _ => open.extend(step.inputs.iter().filter_map(Source::value).map(|id| (id, depth - 1))),
            }
            if open.len() > 256 {
                return false;
            }
        }
        false
    }

    /// In which range the numbers of a value lie, as far as its steps say, and as long as something is `left` of what may be
    /// looked at: a value that is used twice at every step is reached in as many ways as two to the power of the steps.
    fn range(&self, value: ValueId, depth: usize, left: &Cell<usize>) -> Option<Range> {
        let look = |numbers: usize| left.get().checked_sub(numbers).map(|rest| left.set(rest));
        let step = self.producer(value).filter(|_| depth > 0)?;
        look(1000)?;
        let of = |index: usize| match step.inputs.get(index)? {
            Source::Value(id) => self.range(*id, depth - 1, left),
            Source::Constant(constant) => {
                let values = &self.constants[*constant].values;
                look(values.len())?;
                let range = values.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(a, b), &v| (a.min(v), b.max(v)));
                Some(Range { low: range.0, high: range.1, squashed: false })
            }
        };
        let squashed = |low, high| Some(Range { low, high, squashed: true });
        let within = |x: Range, low: f32, high: f32| Range { low, high, squashed: x.squashed };
        match &step.op {
            Op::Softmax { log: false, .. } | Op::Unary(Unary::Sigmoid | Unary::HardSigmoid(..)) => squashed(0., 1.),
            Op::Unary(Unary::Clip(low, high)) => {
                let x = of(0)?;
                Some(within(x, x.low.max(*low), x.high.min(*high)))
            }
            Op::Unary(Unary::Relu) => of(0).map(|x| within(x, x.low.max(0.), x.high.max(0.))),
            Op::Unary(Unary::Neg) => of(0).map(|x| within(x, -x.high, -x.low)),
            Op::Unary(Unary::Power(exponent)) if *exponent > 0. => {
                of(0).filter(|x| x.low >= 0.).map(|x| within(x, x.low.powf(*exponent), x.high.powf(*exponent)))
            }
            Op::Reshape | Op::Permute(_) | Op::Slice { .. } | Op::Select { .. } | Op::Rearrange { .. } | Op::Expand => {
                of(0)
            }
            Op::Concat { .. } => (0..step.inputs.len()).map(of).reduce(|a, b| {
                let (a, b) = (a?, b?);
                Some(Range { low: a.low.min(b.low), high: a.high.max(b.high), squashed: a.squashed || b.squashed })
            })?,
            Op::Reduce { kind: Reduction::Mean | Reduction::Max, .. } => of(0),
            Op::Reduce { kind: Reduction::Sum, .. } => {
                let Some(Source::Value(input)) = step.inputs.first() else { return None };
                let times = self.count(*input) as f32 / self.count(value) as f32;
                of(0).map(|x| within(x, x.low * times, x.high * times))
            }
            // Each of numbers from 0 up over their sum.
            Op::Binary(Binary::Div) if self.is_sum_of(step.inputs.get(1)?, step.inputs[0].value()?) => {
                of(0).filter(|x| x.low >= 0.).map(|x| within(x, 0., 1.))
            }
            Op::Binary(binary) => {
                let (a, b) = (of(0)?, of(1)?);
                let each =
                    |f: fn(f32, f32) -> f32| [f(a.low, b.low), f(a.low, b.high), f(a.high, b.low), f(a.high, b.high)];
                let ends = match binary {
                    Binary::Add => each(|a, b| a + b),
                    Binary::Sub => each(|a, b| a - b),
                    Binary::Mul => each(|a, b| a * b),
                    Binary::Div if b.low > 0. => each(|a, b| a / b),
                    Binary::Min => each(f32::min),
                    Binary::Max => each(f32::max),
                    _ => return None,
                };
                let low = ends.iter().copied().fold(f32::INFINITY, f32::min);
                let high = ends.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                Some(Range { low, high, squashed: a.squashed || b.squashed })
            }
            _ => None,
        }
    }

    /// Whether an operand is the sum of all numbers of a value, perhaps with a little added.
    fn is_sum_of(&self, operand: &Source, value: ValueId) -> bool {
        let mut at = operand.value();
        for _ in 0..4 {
            let Some(step) = at.and_then(|id| self.producer(id)) else { return false };
            let number = self.number(step.inputs.get(1));
            match &step.op {
                Op::Reduce { kind: Reduction::Sum, .. } => {
                    return step.inputs.first() == Some(&Source::Value(value)) && self.count(step.output) == 1;
                }
                Op::Reshape | Op::Expand | Op::Unary(Unary::Clip(..)) => {}
                Op::Binary(Binary::Add | Binary::Max) if number.is_some_and(|number| number >= 0.) => {}
                _ => return false,
            }
            at = step.inputs.first().and_then(Source::value);
        }
        false
    }
}

/// Where numbers lie, and whether a softmax or a sigmoid is why.
#[derive(Clone, Copy)]
struct Range {
    low: f32,
    high: f32,
    squashed: bool,
}

/// The scores of which a value is the greatest alone, if it is: what some files give beside the name of the best class.
pub(crate) fn choices(steps: &[Step], values: &[Value], value: ValueId) -> Option<ValueId> {
    let count = |id: ValueId| values[id.0].shape.iter().product::<usize>();
    let mut at = value;
    for _ in 0..4 {
        let step = producer(steps, at)?;
        let input = step.inputs.first().and_then(Source::value)?;
        match step.op {
            Op::Reduce { kind: Reduction::Max, .. } if count(input) > 1 && values[input.0].shape.len() == 2 => {
                return Some(input);
            }
            Op::Reshape => at = input,
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::layers::Layout;

    /// A chain of steps, each of which takes the value before it and perhaps a constant: `[1, 3]` each.
    fn chain(ops: &[(Op, Option<f32>)]) -> (Vec<Step>, Vec<Value>, Vec<Constant>) {
        let value = |_| Value { name: String::new(), shape: vec![1, 3], layout: Layout::default() };
        let constants = ops.iter().map(|(_, number)| Constant { shape: [1; 4], values: vec![number.unwrap_or(0.)] });
        let steps = ops.iter().enumerate().map(|(i, (op, number))| Step::in_chain(i, op.clone(), number.map(|_| i)));
        (steps.collect(), (0..=ops.len()).map(value).collect(), constants.collect())
    }

    #[test]
    fn of_several_outputs_the_scores_are_explained() {
        let linear = || (Op::Linear { transposed: false }, Some(1.));
        let less = |number| (Op::Binary(Binary::Sub), Some(number));
        let softmax = || (Op::Softmax { axis: 3, log: false, flatten: true }, None);
        for (ops, candidates, expected) in [
            // Features, and scores of them.
            (vec![linear(), linear()], vec![1, 2], 2),
            // Scores and their probabilities, from which they are told again.
            (vec![linear(), softmax()], vec![1, 2], 2),
            // Probabilities, and how far they are beyond a threshold, whichever comes first.
            (vec![linear(), softmax(), less(0.5)], vec![2, 3], 2),
            (vec![linear(), softmax(), less(0.5)], vec![3, 2], 2),
            // Features, scores, and a rounding of them.
            (vec![linear(), linear(), (Op::Unary(Unary::Round), None)], vec![1, 2, 3], 2),
            (vec![linear(), softmax(), less(0.5), (Op::Unary(Unary::Step), None), (Op::Reshape, None)], vec![5, 1], 1),
            // Scores, and probabilities at another temperature.
            (vec![linear(), less(3.), (Op::Binary(Binary::Div), Some(0.5)), softmax()], vec![1, 4], 4),
            // Features, and how near they are to a prototype.
            (
                vec![linear(), less(1.), (Op::Unary(Unary::Power(2.)), None), (Op::Unary(Unary::Neg), None)],
                vec![1, 4],
                4,
            ),
        ] {
            let (steps, values, constants) = chain(&ops);
            let graph = Graph { steps: &steps, values: &values, constants: &constants };
            let candidates: Vec<ValueId> = candidates.into_iter().map(ValueId).collect();
            assert_eq!(graph.result(&candidates), Some(ValueId(expected)), "{ops:?} {candidates:?}");
        }
    }

    #[test]
    fn scores_that_a_step_only_helps_to_make_are_explained() {
        // Features, a rounding of them, and scores of both: a mask, or a scale.
        let round = (Op::Unary(Unary::Round), None);
        let (mut steps, values, constants) =
            chain(&[(Op::Linear { transposed: false }, Some(1.)), round, (Op::Binary(Binary::Mul), None)]);
        steps[2].inputs = vec![Source::Value(ValueId(1)), Source::Value(ValueId(2))];
        let graph = Graph { steps: &steps, values: &values, constants: &constants };
        assert_eq!(graph.result(&[ValueId(1), ValueId(3)]), Some(ValueId(3)));
        assert_eq!(graph.result(&[ValueId(2), ValueId(1)]), Some(ValueId(1)));
    }
}
