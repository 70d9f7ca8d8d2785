//! What steps can become one kernel: how a plan is fused, whatever runs it.
//!
//! A convolution takes in what follows it as long as nobody else looks at the values between: a scale and a shift for each
//! channel, an addition, a function of each number. Concatenated values and parts of values lie inside one another.
//!
//! **Invariants.** The values asked for are exactly what the plan says; only values between may be folded away. What is not
//! recognised stays a step as burn runs it.

use std::borrow::Cow;
use std::collections::HashMap;

use super::plan::{Binary, Constant, Op, Plan, Reduction, Source, Unary, ValueId};
use crate::formula::{Combine, Finish, Function, PoolKind, Window};
use crate::order::arranged;

/// What a group of steps computes.
pub(super) enum Kind {
    Convolution {
        window: Window,
        groups: usize,
        weights: Weights,
        bias: Vec<f32>,
        affine: Option<[Vec<f32>; 2]>,
        addend: Option<ValueId>,
        function: Function,
    },
    Pool {
        window: Window,
        kind: PoolKind,
        factors: Vec<f32>,
    },
    Map {
        scale: Vec<f32>,
        shift: Vec<f32>,
        function: Function,
    },
    Combine {
        combine: Combine,
        finish: Finish,
    },
    Concat,
    /// A part of the channels or another name for the same numbers.
    View {
        channel: usize,
    },
    /// Rows and columns of the input by start and step.
    Pick {
        start: [usize; 2],
        step: [usize; 2],
    },
    Pad {
        before: [usize; 3],
        value: f32,
    },
    /// The first channel of each of so many groups, then the second of each, and so on.
    Shuffle {
        groups: usize,
    },
    Step,
}

/// The weights of a convolution, `[outputs, inputs, rows, columns]`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Weights {
    constant: usize,
    /// A matrix `[inputs, outputs]` in their place.
    columns: bool,
}

impl Weights {
    pub fn numbers(self, plan: &Plan) -> Cow<'_, [f32]> {
        let Constant { shape: [_, _, rows, columns], values } = &plan.constants[self.constant];
        match self.columns {
            true => (0..rows * columns).map(|at| values[at % rows * columns + at / rows]).collect(),
            false => Cow::Borrowed(values),
        }
    }
}

/// Steps that become one instruction.
pub(super) struct Group {
    /// The last of its steps.
    pub last: usize,
    pub kind: Kind,
    pub operands: Vec<ValueId>,
    pub output: ValueId,
}

/// A value's size and order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Form {
    pub height: usize,
    pub width: usize,
    pub channels: usize,
    pub channels_first: bool,
}

impl Form {
    pub fn of(shape: &[usize]) -> Form {
        match *shape {
            [1, channels, height, width] => Form { height, width, channels, channels_first: true },
            _ => {
                let channels = shape.last().copied().unwrap_or(1);
                let width = if shape.len() >= 2 { shape[shape.len() - 2] } else { 1 };
                let height = shape.iter().rev().skip(2).product();
                Form { height, width, channels, channels_first: false }
            }
        }
    }

    /// How many numbers it takes in vectors of four channels.
    pub fn numbers(&self) -> usize {
        self.height * self.width * self.channels.next_multiple_of(4)
    }

    /// One pixel: the order makes no difference.
    pub fn single(&self) -> bool {
        self.height * self.width == 1
    }
}

/// The numbers of a constant that has one for each channel of a value, or one for all.
fn per_channel(constant: &Constant, form: Form) -> Option<Vec<f32>> {
    let expected = if form.channels_first { [1, form.channels, 1, 1] } else { [1, 1, 1, form.channels] };
    match constant.shape {
        [1, 1, 1, 1] => Some(vec![constant.values[0]; form.channels]),
        shape if shape == expected => Some(constant.values.clone()),
        _ => None,
    }
}

/// A scale and a shift for each channel, if that is what a step does to `value`.
fn affine(plan: &Plan, step: usize, value: ValueId) -> Option<(Vec<f32>, Vec<f32>)> {
    let step = &plan.steps[step];
    let shape = &plan.values[step.output.0].shape;
    if *shape != plan.values[value.0].shape {
        return None;
    }
    let form = Form::of(shape);
    let constant = |index: usize| match step.inputs.get(index) {
        Some(Source::Constant(constant)) => per_channel(&plan.constants[*constant], form),
        _ => None,
    };
    let all = |number: f32| vec![number; form.channels];
    let first = step.inputs[0] == Source::Value(value);
    match (&step.op, first) {
        (Op::Affine, true) => Some((constant(1)?, constant(2)?)),
        (Op::Binary(Binary::Add), _) => Some((all(1.), constant(usize::from(first))?)),
        (Op::Binary(Binary::Mul), _) => Some((constant(usize::from(first))?, all(0.))),
        (Op::Binary(Binary::Sub), true) => Some((all(1.), constant(1)?.iter().map(|v| -v).collect())),
        (Op::Binary(Binary::Sub), false) => Some((all(-1.), constant(0)?)),
        (Op::Binary(Binary::Div), true) => Some((constant(1)?.iter().map(|v| 1. / v).collect(), all(0.))),
        _ => None,
    }
}

/// The kernels' function for burn's, where there is one.
fn function(unary: Unary) -> Option<Function> {
    let finish = |slope, high| Some(Function::Finish(Finish { slope, high }));
    match unary {
        Unary::Relu => finish(0., f32::INFINITY),
        Unary::LeakyRelu(slope) if (0. ..=1.).contains(&slope) => finish(slope, f32::INFINITY),
        Unary::Clip(0., high) => finish(0., high),
        Unary::Clip(low, high) => Some(Function::Clip(low, high)),
        Unary::HardSigmoid(alpha, beta) => Some(Function::HardSigmoid(alpha, beta)),
        Unary::HardSwish => Some(Function::HardSwish),
        Unary::Sigmoid => Some(Function::Sigmoid),
        Unary::Swish(alpha) => Some(Function::Swish(alpha)),
        Unary::Tanh => Some(Function::Tanh),
        Unary::Sqrt => Some(Function::Sqrt),
        Unary::Abs => Some(Function::Abs),
        _ => None,
    }
}

/// Groups steps, in the order in which they are to run. No kernel is given more than `most` numbers in one piece.
pub(super) fn groups(plan: &Plan, chosen: &[usize], outputs: &[ValueId], most: usize) -> Vec<Group> {
    let mut uses: HashMap<ValueId, usize> = outputs.iter().map(|&value| (value, 1)).collect();
    for &step in chosen {
        for value in plan.steps[step].inputs.iter().filter_map(Source::value) {
            *uses.entry(value).or_default() += 1;
        }
    }
    let mut taken = vec![false; plan.steps.len()];
    let mut groups = Vec::new();
    for (position, &step) in chosen.iter().enumerate() {
        if taken[step] {
            continue;
        }
        let mut group = group(plan, step, most);
        // Values inside a group disappear: none of them may be asked for, or used elsewhere.
        while let Some(&next) = chosen[position + 1..].iter().find(|&&next| {
            uses[&group.output] == 1
                && !outputs.contains(&group.output)
                && plan.steps[next].inputs.contains(&Source::Value(group.output))
        }) {
            // An addition of two convolutions belongs to the first of them.
            if taken[next] || !absorb(plan, &mut group, next) {
                break;
            }
            taken[next] = true;
            group.last = next;
            group.output = plan.steps[next].output;
        }
        groups.push(group);
    }
    // A group runs where its last step stood: by then all its operands are there.
    arranged(groups, &|a, b| a.last.cmp(&b.last))
}

/// What one step does.
fn group(plan: &Plan, index: usize, most: usize) -> Group {
    let step = &plan.steps[index];
    // Their order for kernels has gaps.
    let weights_fit = |kind: &Kind| match kind {
        Kind::Convolution { weights, .. } => plan.constants[weights.constant].values.len() <= most / 5 * 4,
        _ => true,
    };
    let value_fits = |value: &ValueId| Form::of(&plan.values[value.0].shape).numbers() <= most;
    let fits = |(kind, operands): &(Kind, Vec<ValueId>)| {
        weights_fit(kind) && operands.iter().chain([&step.output]).all(value_fits)
    };
    let (kind, operands) = recognise(plan, index)
        .filter(fits)
        .unwrap_or_else(|| (Kind::Step, step.inputs.iter().filter_map(Source::value).collect()));
    Group { last: index, kind, operands, output: step.output }
}

/// The kernel for a step, and the values that it takes.
fn recognise(plan: &Plan, index: usize) -> Option<(Kind, Vec<ValueId>)> {
    let step = &plan.steps[index];
    let values: Vec<ValueId> = step.inputs.iter().filter_map(Source::value).collect();
    let form = |value: ValueId| Form::of(&plan.values[value.0].shape);
    let constant = |position: usize| match step.inputs.get(position) {
        Some(Source::Constant(constant)) => Some(&plan.constants[*constant]),
        _ => None,
    };
    let (x, out) = (form(*values.first()?), form(step.output));
    // In a plane the channels are axis 1, elsewhere the last.
    let is_channel_axis = |axis: usize| axis == if out.channels_first { 1 } else { 3 };
    let pool = |kernel: &[usize; 2], stride: &[usize; 2], padding: &[(usize, usize); 2], dilation: &[usize; 2]| {
        Window { kernel: *kernel, stride: *stride, padding: [padding[0].0, padding[1].0], dilation: *dilation }
    };
    let planes = x.channels_first && out.channels_first;
    let kind = match &step.op {
        Op::Convolution { .. } | Op::MaxPool { .. } | Op::AveragePool { .. } if !planes => return None,
        Op::Convolution { stride, padding, dilation, groups } => {
            let Some(Source::Constant(weights)) = step.inputs.get(1) else { return None };
            let [_, per_group, kh, kw] = plan.constants[*weights].shape;
            let depthwise = per_group == 1 && out.channels == *groups;
            // Groups of other sizes do not end where vectors do.
            if !(*groups == 1 || depthwise || (out.channels / groups).is_multiple_of(4)) {
                return None;
            }
            let bias = match step.inputs.len() {
                2 => vec![0.; out.channels],
                _ => constant(2)?.values.clone(),
            };
            Kind::Convolution {
                window: pool(&[kh, kw], stride, padding, dilation),
                groups: *groups,
                weights: Weights { constant: *weights, columns: false },
                bias,
                affine: None,
                addend: None,
                function: PLAIN,
            }
        }
        Op::Linear { transposed } => {
            let Some(Source::Constant(matrix)) = step.inputs.get(1) else { return None };
            let [1, 1, _, _] = plan.constants[*matrix].shape else { return None };
            if x.channels_first || out.channels_first {
                return None;
            }
            let bias = match step.inputs.len() {
                2 => vec![0.; out.channels],
                _ => per_channel(constant(2)?, out)?,
            };
            let weights = Weights { constant: *matrix, columns: !transposed };
            let (affine, addend) = (None, None);
            Kind::Convolution { window: Window::PIXEL, groups: 1, weights, bias, affine, addend, function: PLAIN }
        }
        Op::MaxPool { kernel, stride, padding, dilation } => {
            Kind::Pool { window: pool(kernel, stride, padding, dilation), kind: PoolKind::Max, factors: vec![1.] }
        }
        Op::AveragePool { kernel, stride, padding } => {
            let corrections = match step.inputs.len() {
                1 => &[1.][..],
                _ => &constant(1)?.values,
            };
            let area = (kernel[0] * kernel[1]) as f32;
            Kind::Pool {
                window: pool(kernel, stride, padding, &[1, 1]),
                kind: PoolKind::Sum,
                factors: corrections.iter().map(|correction| correction / area).collect(),
            }
        }
        Op::Reduce { kind, axes } => {
            let whole = axes.len() == 2 && axes.contains(&2) && axes.contains(&3);
            if !(whole && x.channels_first && out.single() && out.channels == x.channels) {
                return None;
            }
            let (kind, factor) = match kind {
                Reduction::Mean => (PoolKind::Sum, 1. / (x.height * x.width) as f32),
                Reduction::Sum => (PoolKind::Sum, 1.),
                Reduction::Max => (PoolKind::Max, 1.),
            };
            Kind::Pool { window: Window { kernel: [x.height, x.width], ..Window::PIXEL }, kind, factors: vec![factor] }
        }
        Op::Unary(unary) => {
            let function = function(*unary)?;
            Kind::Map { scale: vec![1.; out.channels], shift: vec![0.; out.channels], function }
        }
        Op::Affine | Op::Binary(_) if values.len() == 1 => {
            let (scale, shift) = affine(plan, index, values[0])?;
            Kind::Map { scale, shift, function: PLAIN }
        }
        Op::Binary(binary) if values.len() == 2 => {
            let combine = match binary {
                Binary::Add => Combine::Add,
                Binary::Sub => Combine::Sub,
                Binary::Mul => Combine::Mul,
                _ => return None,
            };
            let y = form(values[1]);
            let spreads = |form: Form| {
                form.single() && form.channels == out.channels && form.channels_first == out.channels_first
            };
            let kind = Kind::Combine { combine, finish: Finish::PLAIN };
            return match combine {
                _ if x == out && (y == out || spreads(y)) => Some((kind, values)),
                Combine::Add | Combine::Mul if y == out && spreads(x) => Some((kind, vec![values[1], values[0]])),
                _ => None,
            };
        }
        Op::Concat { axis } if is_channel_axis(*axis) && values.len() == step.inputs.len() => Kind::Concat,
        Op::Slice { axis, start, step: 1, .. } if is_channel_axis(*axis) => Kind::View { channel: *start },
        Op::Slice { axis: axis @ (2 | 3), start, step, .. } if out.channels_first => {
            let (mut from, mut by) = ([0, 0], [1, 1]);
            (from[axis - 2], by[axis - 2]) = (*start, *step);
            Kind::Pick { start: from, step: by }
        }
        Op::Rearrange { dims, permutation } if planes && x == out && permutation[..] == [0, 2, 1, 3, 4] => {
            match dims[3..] == [x.height, x.width] {
                true => Kind::Shuffle { groups: dims[1] },
                false => return None,
            }
        }
        Op::Reshape if x.single() && out.single() => Kind::View { channel: 0 },
        Op::Pad { padding, value } if out.channels_first && padding[0] == (0, 0) => {
            Kind::Pad { before: [padding[1].0, padding[2].0, padding[3].0], value: *value }
        }
        _ => return None,
    };
    Some((kind, values))
}

/// The sum as it is.
const PLAIN: Function = Function::Finish(Finish::PLAIN);

/// Takes the next step into a group, if its kernel can do that in passing.
fn absorb(plan: &Plan, group: &mut Group, next: usize) -> bool {
    let step = &plan.steps[next];
    let unary = match step.op {
        Op::Unary(unary) => function(unary),
        _ => None,
    };
    match &mut group.kind {
        Kind::Convolution { bias, affine: own, addend, function, .. } if function.is_plain() => {
            if let Some(unary) = unary {
                *function = unary;
                return true;
            }
            if addend.is_some() {
                return false;
            }
            if let Some((scale, shift)) = affine(plan, next, group.output) {
                match own {
                    None if scale.iter().all(|&scale| scale == 1.) => {
                        bias.iter_mut().zip(shift).for_each(|(bias, shift)| *bias += shift);
                    }
                    None => *own = Some([scale, shift]),
                    Some([own_scale, own_shift]) => compose(own_scale, own_shift, &scale, &shift),
                }
                return true;
            }
            let shape = |value: ValueId| &plan.values[value.0].shape;
            match (&step.op, step.inputs[..].iter().map(Source::value).collect::<Option<Vec<_>>>().as_deref()) {
                (Op::Binary(Binary::Add), Some(&[a, b])) if a != b && shape(a) == shape(b) => {
                    let other = if a == group.output { b } else { a };
                    *addend = Some(other);
                    group.operands.push(other);
                    true
                }
                _ => false,
            }
        }
        Kind::Map { scale, shift, function } if function.is_plain() => {
            if let Some(unary) = unary {
                *function = unary;
                return true;
            }
            let Some((by, plus)) = affine(plan, next, group.output) else { return false };
            compose(scale, shift, &by, &plus);
            true
        }
        Kind::Combine { finish, .. } if *finish == Finish::PLAIN => match unary {
            Some(Function::Finish(unary)) => {
                *finish = unary;
                true
            }
            _ => false,
        },
        _ => false,
    }
}

/// Follows a scale and a shift by another.
fn compose(scale: &mut [f32], shift: &mut [f32], by: &[f32], plus: &[f32]) {
    for channel in 0..scale.len() {
        scale[channel] *= by[channel];
        shift[channel] = shift[channel] * by[channel] + plus[channel];
    }
}

/// Which values lie inside others from the start.
pub(super) fn parents(plan: &Plan, groups: &[Group]) -> Vec<Option<(ValueId, usize)>> {
    let form = |value: ValueId| Form::of(&plan.values[value.0].shape);
    let mut parents = vec![None; plan.values.len()];
    for group in groups {
        let out = form(group.output);
        match &group.kind {
            Kind::View { channel } => {
                let source = form(group.operands[0]);
                // A part has to end with a vector, or with the whole.
                let ends = out.channels.is_multiple_of(4) || channel + out.channels == source.channels;
                if channel.is_multiple_of(4) && ends {
                    parents[group.output.0] = Some((group.operands[0], *channel));
                }
            }
            Kind::Concat => {
                let mut channel = 0_usize;
                for (index, &value) in group.operands.iter().enumerate() {
                    let channels = form(value).channels;
                    let ends = channels.is_multiple_of(4) || index + 1 == group.operands.len();
                    if parents[value.0].is_none() && channel.is_multiple_of(4) && ends {
                        parents[value.0] = Some((group.output, channel));
                    }
                    channel += channels;
                }
            }
            _ => {}
        }
    }
    parents
}
