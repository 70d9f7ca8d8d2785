//! What steps can become one kernel: how a plan is fused, whatever runs it.
//!
//! A convolution takes in what follows it as long as nobody else looks at the values between: a scale and a shift for each
//! channel, an addition, a function of each number. Concatenated values and parts of values lie inside one another.
//!
//! **Invariants.** The values asked for are exactly what the plan says; only values between may be folded away. What is not
//! recognised stays a step as burn runs it.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use crate::formula::{Combine, Function, PoolKind, Rectifier, Window};
use crate::order::arranged;
#[cfg(feature = "gpu")]
use crate::plan::rank4;
use crate::plan::{Binary, Constant, Op, Plan, Reduction, Source, Step, Unary, ValueId};

mod placement;

#[cfg(feature = "gpu")]
pub(crate) use placement::buffers;
pub(crate) use placement::{Life, addresses};

/// What a group of steps computes.
pub(crate) enum Kind {
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
        rectifier: Rectifier,
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
    /// Matrices multiplied from left to right, for each place along the first two axes, and a constant that is added to them.
    #[cfg(feature = "gpu")]
    Product {
        factors: Vec<Matrix>,
        bias: Option<usize>,
    },
    /// A step of a way back.
    Back(Back),
    Step,
}

/// A factor of a product of matrices.
#[cfg(feature = "gpu")]
#[derive(Clone, Copy)]
pub(crate) struct Matrix {
    pub source: Source,
    /// With rows for columns.
    pub turned: bool,
}

/// Steps of a way back that are not made of others.
pub(crate) enum Back {
    /// The gradient by the input of a convolution with a stride. (With a stride of one it is a convolution, too.)
    Convolution { window: Window, groups: usize, weights: Weights },
    /// By the input of maximum pooling: operands are that input and the gradient by the result.
    MaxPool(Window),
    /// By the input of a sum over windows, with a factor for each result, or one for all.
    SumPool { window: Window, factors: Vec<f32> },
    /// The same number, times a factor, for each place of a channel.
    Spread { factor: f32 },
    /// The slope of a function, times the gradient by its result; the first operand is the argument of the function, or of
    /// [`Function::Rectifier`] and [`Function::Clip`] the result.
    Slope(Function),
    /// To rows and columns by start and step; zero between them.
    Place { start: [usize; 2], step: [usize; 2] },
    /// [`Op::StretchedSum`], with a constant of as many numbers as there are channels.
    StretchedSum { biases: usize },
}

/// The weights of a convolution, `[outputs, inputs, rows, columns]`.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Weights {
    pub constant: usize,
    /// A matrix `[inputs, outputs]` in their place.
    columns: bool,
    /// Inputs and outputs swapped and every window turned round, of a convolution with so many groups.
    turned: Option<usize>,
}

impl Weights {
    pub fn numbers(self, plan: &Plan) -> Cow<'_, [f32]> {
        let Constant { shape: [outputs, inputs, rows, columns], values } = &plan.constants[self.constant];
        if let Some(groups) = self.turned {
            let (area, each) = (rows * columns, outputs / groups);
            let mut turned = Vec::with_capacity(values.len());
            for windows in values.chunks_exact(each * inputs * area) {
                for (input, output) in (0..*inputs).flat_map(|input| (0..each).map(move |output| (input, output))) {
                    turned.extend(windows[(output * inputs + input) * area..][..area].iter().rev());
                }
            }
            return turned.into();
        }
        match self.columns {
            true => (0..*columns).flat_map(|column| values[column..].iter().step_by(*columns)).copied().collect(),
            false => Cow::Borrowed(values),
        }
    }
}

/// Steps that become one instruction.
pub(crate) struct Group {
    /// The last of its steps.
    pub last: usize,
    pub kind: Kind,
    pub operands: Vec<ValueId>,
    pub output: ValueId,
}

/// A value's size and order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Form {
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
    let rectifier = |slope, high| Some(Function::Rectifier(Rectifier { slope, high }));
    match unary {
        Unary::Relu => rectifier(0., f32::INFINITY),
        Unary::LeakyRelu(slope) if (0. ..=1.).contains(&slope) => rectifier(slope, f32::INFINITY),
        Unary::Clip(0., high) => rectifier(0., high),
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
pub(crate) fn groups(plan: &Plan, chosen: &[usize], outputs: &[ValueId], most: usize) -> Vec<Group> {
    let asked: HashSet<ValueId> = outputs.iter().copied().collect();
    // How often each value is used, and by which step last.
    let mut uses: HashMap<ValueId, (usize, usize)> = HashMap::new();
    for &step in chosen {
        for value in plan.steps[step].inputs.iter().filter_map(Source::value) {
            let (count, user) = uses.entry(value).or_default();
            (*count, *user) = (*count + 1, step);
        }
    }
    let mut taken = vec![false; plan.steps.len()];
    let mut groups = Vec::new();
    for &step in chosen {
        if taken[step] {
            continue;
        }
        let mut group = group(plan, step, most);
        // Values inside a group disappear: none of them may be asked for, or used elsewhere.
        while let Some(&(1, next)) = uses.get(&group.output).filter(|_| !asked.contains(&group.output)) {
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
        Kind::Convolution { weights, .. } | Kind::Back(Back::Convolution { weights, .. }) => {
            plan.constants[weights.constant].values.len() <= most / 5 * 4
        }
        #[cfg(feature = "gpu")]
        Kind::Product { factors, bias } => {
            let numbers = |constant: &usize| plan.constants[*constant].values.len();
            let constants = factors.iter().filter_map(|matrix| match &matrix.source {
                Source::Constant(constant) => Some(constant),
                Source::Value(_) => None,
            });
            constants.map(numbers).max().unwrap_or(0) + bias.iter().map(numbers).sum::<usize>() <= most
        }
        _ => true,
    };
    let value_fits = |value: &ValueId| Form::of(&plan.values[value.0].shape).numbers() <= most;
    let fits = |(kind, operands): &(Kind, Vec<ValueId>)| {
        weights_fit(kind) && operands.iter().chain([&step.output]).all(value_fits)
    };
    let found = recognise(plan, index).filter(fits);
    #[cfg(feature = "gpu")]
    let found = found.or_else(|| product(plan, step).filter(fits));
    let (kind, operands) =
        found.unwrap_or_else(|| (Kind::Step, step.inputs.iter().filter_map(Source::value).collect()));
    Group { last: index, kind, operands, output: step.output }
}

/// The kernel for a step, and the values that it takes.
fn recognise(plan: &Plan, index: usize) -> Option<(Kind, Vec<ValueId>)> {
    let step = &plan.steps[index];
    if let Op::Back { op, operand: 0 } = &step.op {
        return recognise_back(plan, step, op);
    }
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
                weights: Weights { constant: *weights, columns: false, turned: None },
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
            let weights = Weights { constant: *matrix, columns: !transposed, turned: None };
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
            let kind = Kind::Combine { combine, rectifier: Rectifier::PLAIN };
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
        Op::StretchedSum => {
            let Some(Source::Constant(biases)) = step.inputs.get(1) else { return None };
            Kind::Back(Back::StretchedSum { biases: *biases })
        }
        Op::Pad { padding, value } if out.channels_first && padding[0] == (0, 0) => {
            Kind::Pad { before: [padding[1].0, padding[2].0, padding[3].0], value: *value }
        }
        _ => return None,
    };
    Some((kind, values))
}

/// The kernel for the gradient by the first operand of `op`, and the values that it takes.
fn recognise_back(plan: &Plan, step: &Step, op: &Op) -> Option<(Kind, Vec<ValueId>)> {
    let form = |value: ValueId| Form::of(&plan.values[value.0].shape);
    let (first, gradient) = (step.inputs.first()?.value()?, step.inputs.last()?.value()?);
    let (given, out) = (form(gradient), form(step.output));
    let constant = |position: usize| match step.inputs.get(position) {
        Some(Source::Constant(constant)) => Some(*constant),
        _ => None,
    };
    let planes = given.channels_first && out.channels_first;
    let window = |kernel: [usize; 2], stride: &[usize; 2], padding: &[(usize, usize); 2], dilation: [usize; 2]| {
        Window { kernel, stride: *stride, padding: [padding[0].0, padding[1].0], dilation }
    };
    let back = |back: Back, operands: Vec<ValueId>| Some((Kind::Back(back), operands));
    match op {
        Op::Convolution { stride, padding, dilation, groups } if planes => {
            let weights = constant(1)?;
            let [outputs, per_group, kh, kw] = plan.constants[weights].shape;
            let depthwise = per_group == 1 && outputs == *groups;
            if !(*groups == 1 || depthwise || per_group.is_multiple_of(4)) {
                return None;
            }
            let weights = Weights { constant: weights, columns: false, turned: Some(*groups) };
            let own = window([kh, kw], stride, padding, *dilation);
            if *stride != [1, 1] {
                let strided = Back::Convolution { window: own, groups: *groups, weights };
                return if *dilation == [1, 1] { back(strided, vec![gradient]) } else { None };
            }
            let mut turned = own;
            for (i, dilation) in dilation.iter().enumerate() {
                turned.padding[i] = (dilation * (own.kernel[i] - 1)).checked_sub(own.padding[i])?;
            }
            let kind = Kind::Convolution {
                window: turned,
                groups: *groups,
                weights,
                bias: vec![0.; out.channels],
                affine: None,
                addend: None,
                function: PLAIN,
            };
            Some((kind, vec![gradient]))
        }
        Op::MaxPool { kernel, stride, padding, dilation } if planes => {
            back(Back::MaxPool(window(*kernel, stride, padding, *dilation)), vec![first, gradient])
        }
        Op::AveragePool { kernel, stride, padding } if planes => {
            let corrections = match step.inputs.len() {
                2 => &[1.][..],
                _ => &plan.constants[constant(1)?].values,
            };
            let area = (kernel[0] * kernel[1]) as f32;
            let factors = corrections.iter().map(|correction| correction / area).collect();
            back(Back::SumPool { window: window(*kernel, stride, padding, [1, 1]), factors }, vec![gradient])
        }
        Op::Reduce { kind: kind @ (Reduction::Mean | Reduction::Sum), axes } => {
            let whole = axes.len() == 2 && axes.contains(&2) && axes.contains(&3);
            if !(whole && out.channels_first && given.single() && given.channels == out.channels) {
                return None;
            }
            let factor = if *kind == Reduction::Sum { 1. } else { 1. / (out.height * out.width) as f32 };
            back(Back::Spread { factor }, vec![gradient])
        }
        Op::Unary(unary) if form(first) == out && given == out => match function(*unary)? {
            Function::Sqrt | Function::Abs => None,
            function => back(Back::Slope(function), vec![first, gradient]),
        },
        Op::Slice { axis: axis @ (2 | 3), start, step, .. } if planes => {
            let (mut from, mut by) = ([0, 0], [1, 1]);
            (from[axis - 2], by[axis - 2]) = (*start, *step);
            back(Back::Place { start: from, step: by }, vec![gradient])
        }
        _ => None,
    }
}

/// A product of matrices that no convolution is, the way back through one included.
#[cfg(feature = "gpu")]
fn product(plan: &Plan, step: &Step) -> Option<(Kind, Vec<ValueId>)> {
    let inputs = &step.inputs;
    let matrix = |position: usize, turned: bool| inputs.get(position).map(|&source| Matrix { source, turned });
    let shape = |source: &Source| match source {
        Source::Value(value) => rank4(&plan.values[value.0].shape),
        Source::Constant(constant) => plan.constants[*constant].shape,
    };
    let mut bias = None;
    let factors = match &step.op {
        Op::Linear { transposed } => {
            bias = match inputs.get(2) {
                None => None,
                Some(Source::Constant(bias)) => Some(*bias),
                Some(Source::Value(_)) => return None,
            };
            vec![matrix(0, false)?, matrix(1, *transposed)?]
        }
        Op::Resample => vec![matrix(1, false)?, matrix(0, false)?, matrix(2, false)?],
        Op::Back { op, operand } => {
            let gradient = inputs.last()?;
            // What was spread over several products would have to be added up.
            if shape(gradient)[..2] != rank4(&plan.values[step.output.0].shape)[..2] {
                return None;
            }
            let gradient = |turned: bool| Matrix { source: *gradient, turned };
            match (&**op, operand) {
                (Op::Linear { transposed }, 0) => vec![gradient(false), matrix(1, !transposed)?],
                (Op::Linear { transposed: false }, 1) => vec![matrix(0, true)?, gradient(false)],
                (Op::Linear { transposed: true }, 1) => vec![gradient(true), matrix(0, false)?],
                (Op::Resample, 0) => vec![matrix(1, true)?, gradient(false), matrix(2, true)?],
                _ => return None,
            }
        }
        _ => return None,
    };
    let values: Vec<ValueId> = inputs.iter().filter_map(Source::value).collect();
    Some((Kind::Product { factors, bias }, values))
}

/// The sum as it is.
const PLAIN: Function = Function::Rectifier(Rectifier::PLAIN);

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
        Kind::Combine { rectifier, .. } if *rectifier == Rectifier::PLAIN => match unary {
            Some(Function::Rectifier(unary)) => {
                *rectifier = unary;
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
pub(crate) fn parents(plan: &Plan, groups: &[Group]) -> Vec<Option<(ValueId, usize)>> {
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
