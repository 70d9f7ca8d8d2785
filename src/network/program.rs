//! A stretch of a plan, compiled for the CPU: parameters folded and packed, memory laid out, ready to run many times.
//!
//! A convolution takes in what follows it as long as nobody else looks at the values between: a scale and a shift for each
//! channel, an addition, a function of each number. Values lie channels last, with a border of zeros where a convolution
//! reads over the edge; concatenated values lie side by side from the start; memory is shared by values that do not live at
//! the same time. Steps without a kernel run on burn.
//!
//! **Invariants.** The values asked for are exactly what the plan says; only values between may be folded away. Burn's way
//! through the same steps is the definition.

use std::collections::HashMap;

use burn_tensor::{Device, Tensor};

use super::plan::{Binary, Constant, Op, Plan, Reduction, Source, Unary, ValueId, rank4};
use super::run;
use crate::kernels::{
    self, After, Combine, Convolution, Depthwise, Finish, Function, Map, Planes, Pool, PoolKind, Window, Winograd,
};

/// Compiled steps.
pub(super) struct Program {
    inputs: Vec<(Placed, Border)>,
    outputs: Vec<Placed>,
    instructions: Vec<Instruction>,
    /// How many numbers of memory it takes.
    memory: usize,
    /// How many of the plan's steps it does.
    pub steps: u64,
}

/// Rows and columns of zeros around an image: before and after.
type Border = [(usize, usize); 2];

/// A value in memory.
#[derive(Clone, Copy)]
struct Placed {
    planes: Planes,
    /// Whether the file's order is channels first; otherwise it is that of the memory.
    channels_first: bool,
    /// From a pixel to the next where nothing else lies between.
    pixel: usize,
}

enum Instruction {
    Border(Planes, Border, usize),
    Convolution(Convolution),
    Winograd(Winograd),
    Depthwise(Depthwise),
    Pool(Pool),
    Map(Map),
    Combine(Combine, [Planes; 2], Planes, Finish),
    Fill(Planes, f32),
    Copy([Planes; 2]),
    /// A step as burn runs it.
    Step {
        step: usize,
        values: Vec<Placed>,
        output: Placed,
    },
}

/// What a group of steps computes.
enum Kind {
    Convolution {
        window: Window,
        groups: usize,
        weights: Vec<f32>,
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
    Step,
}

/// Steps that become one instruction.
struct Group {
    last: usize,
    kind: Kind,
    operands: Vec<ValueId>,
    output: ValueId,
}

/// A value's size and order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Form {
    height: usize,
    width: usize,
    channels: usize,
    channels_first: bool,
}

impl Form {
    fn of(shape: &[usize]) -> Form {
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

    /// One pixel: the order makes no difference.
    fn single(&self) -> bool {
        self.height * self.width == 1
    }
}

impl Program {
    /// Compiles the `chosen` steps, which need `inputs` and lead to `outputs`.
    pub(super) fn new(plan: &Plan, chosen: &[usize], inputs: &[ValueId], outputs: &[ValueId]) -> Program {
        let mut uses: HashMap<ValueId, usize> = outputs.iter().map(|&value| (value, 1)).collect();
        for &step in chosen {
            for value in plan.steps[step].inputs.iter().filter_map(Source::value) {
                *uses.entry(value).or_default() += 1;
            }
        }
        let groups = groups(plan, chosen, &uses, outputs);
        let layout = Layout::new(plan, &groups, inputs, outputs);
        layout.emit(groups, inputs, outputs, chosen.len() as u64)
    }

    /// Runs the steps for one image. `inputs` and the results are in the order of [`Program::new`], in the file's layout.
    pub(super) fn run(
        &self,
        memory: &mut Vec<f32>,
        inputs: &[&[f32]],
        plan: &Plan,
        constant: &dyn Fn(usize) -> Tensor<4>,
        device: &Device,
    ) -> Vec<Vec<f32>> {
        if memory.len() < self.memory {
            memory.resize(self.memory, 0.);
        }
        for ((placed, border), values) in self.inputs.iter().zip(inputs) {
            kernels::clear_border(memory, placed.planes, *border, placed.pixel);
            placed.write(memory, values);
        }
        for instruction in &self.instructions {
            match instruction {
                Instruction::Border(planes, border, pixel) => kernels::clear_border(memory, *planes, *border, *pixel),
                Instruction::Convolution(convolution) => convolution.run(memory),
                Instruction::Winograd(convolution) => convolution.run(memory),
                Instruction::Depthwise(convolution) => convolution.run(memory),
                Instruction::Pool(pool) => pool.run(memory),
                Instruction::Map(map) => map.run(memory),
                Instruction::Combine(combine, operands, output, finish) => {
                    combine.run(memory, *operands, *output, *finish);
                }
                Instruction::Fill(planes, value) => kernels::fill(memory, *planes, *value),
                Instruction::Copy(planes) => kernels::copy(memory, *planes),
                Instruction::Step { step, values, output } => {
                    let step = &plan.steps[*step];
                    let mut values = values.iter();
                    let operands: Vec<Tensor<4>> = step
                        .inputs
                        .iter()
                        .map(|source| match source {
                            Source::Constant(index) => constant(*index),
                            Source::Value(value) => {
                                let placed = values.next().expect("each value operand was placed");
                                super::tensor(placed.read(memory), rank4(&plan.values[value.0].shape), device)
                            }
                        })
                        .collect();
                    let result = run::run(&step.op, &operands, rank4(&plan.values[step.output.0].shape));
                    output.write(memory, &super::numbers(result));
                }
            }
        }
        self.outputs.iter().map(|placed| placed.read(memory)).collect()
    }
}

impl Placed {
    /// One row after the other, where that is the file's order.
    fn read(&self, memory: &[f32]) -> Vec<f32> {
        if self.channels_first {
            return kernels::to_planes(memory, self.planes);
        }
        let mut values = Vec::with_capacity(self.planes.height * self.planes.width * self.planes.channels);
        for pixel in self.planes.pixels() {
            values.extend_from_slice(&memory[pixel..pixel + self.planes.channels]);
        }
        values
    }

    fn write(&self, memory: &mut [f32], values: &[f32]) {
        if self.channels_first {
            return kernels::from_planes(memory, self.planes, values);
        }
        for (pixel, values) in self.planes.pixels().zip(values.chunks_exact(self.planes.channels)) {
            memory[pixel..pixel + values.len()].copy_from_slice(values);
        }
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
        Unary::Tanh => Some(Function::Any(f32::tanh)),
        Unary::Sqrt => Some(Function::Any(f32::sqrt)),
        Unary::Abs => Some(Function::Any(f32::abs)),
        _ => None,
    }
}

/// Groups steps, in the order in which they are to run.
fn groups(plan: &Plan, chosen: &[usize], uses: &HashMap<ValueId, usize>, outputs: &[ValueId]) -> Vec<Group> {
    let mut taken = vec![false; plan.steps.len()];
    let mut groups = Vec::new();
    for (position, &step) in chosen.iter().enumerate() {
        if taken[step] {
            continue;
        }
        let mut group = group(plan, step);
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
    groups.sort_by_key(|group| group.last);
    groups
}

/// What one step does.
fn group(plan: &Plan, index: usize) -> Group {
    let step = &plan.steps[index];
    let (kind, operands) =
        recognise(plan, index).unwrap_or_else(|| (Kind::Step, step.inputs.iter().filter_map(Source::value).collect()));
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
            let weights = constant(1)?;
            let [_, per_group, kh, kw] = weights.shape;
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
                weights: weights.values.clone(),
                bias,
                affine: None,
                addend: None,
                function: PLAIN,
            }
        }
        Op::Linear { transposed } => {
            let matrix = constant(1)?;
            let [1, 1, rows, columns] = matrix.shape else { return None };
            if x.channels_first || out.channels_first {
                return None;
            }
            let bias = match step.inputs.len() {
                2 => vec![0.; out.channels],
                _ => per_channel(constant(2)?, out)?,
            };
            let weights = match transposed {
                true => matrix.values.clone(),
                false => (0..rows * columns).map(|at| matrix.values[at % rows * columns + at / rows]).collect(),
            };
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

/// A stretch of memory that one or several values lie in.
#[derive(Clone, Copy)]
struct Root {
    form: Form,
    border: Border,
    /// From a pixel to the next.
    pixel: usize,
    /// When it is first written and last read; loading the inputs is time 0, group `i` time `i + 1`.
    first: usize,
    last: usize,
    address: usize,
}

impl Root {
    fn row(&self) -> usize {
        (self.border[1].0 + self.form.width + self.border[1].1) * self.pixel
    }

    fn size(&self) -> usize {
        // A vector may reach beyond the last pixel.
        (self.border[0].0 + self.form.height + self.border[0].1) * self.row() + 4
    }

    fn planes(&self) -> Planes {
        let Form { height, width, channels, .. } = self.form;
        let row = self.row();
        let start = self.address + self.border[0].0 * row + self.border[1].0 * self.pixel;
        Planes { start, row, pixel: self.pixel, height, width, channels }
    }
}

/// Where all values lie.
struct Layout<'a> {
    plan: &'a Plan,
    /// The value that a value is a part of, and the channel of it at which it begins.
    parents: Vec<Option<(ValueId, usize)>>,
    roots: HashMap<ValueId, Root>,
    /// Where the transformed numbers of a group's convolution lie.
    scratch: HashMap<usize, usize>,
    memory: usize,
}

impl<'a> Layout<'a> {
    fn new(plan: &'a Plan, groups: &[Group], inputs: &[ValueId], outputs: &[ValueId]) -> Layout<'a> {
        let parents = parents(plan, groups);
        let mut layout = Layout { plan, parents, roots: HashMap::new(), scratch: HashMap::new(), memory: 0 };
        for &input in inputs {
            layout.live(input, 0);
        }
        for (time, group) in groups.iter().enumerate() {
            for &value in group.operands.iter().chain([&group.output]) {
                layout.live(value, time + 1);
            }
            if let Kind::Convolution { window, groups, .. } = &group.kind {
                let border = layout.border_for(group, window, *groups);
                let (root, _) = layout.root(group.operands[0]);
                let root = layout.roots.get_mut(&root).expect("it lives");
                for (own, wanted) in root.border.iter_mut().zip(border) {
                    *own = (own.0.max(wanted.0), own.1.max(wanted.1));
                }
            }
        }
        for &output in outputs {
            layout.live(output, usize::MAX);
        }
        for root in layout.roots.values_mut() {
            // A picture's pixels lie as close as they can; everything else is written in whole vectors.
            let picture = root.first == 0 && root.form.channels < 4;
            root.pixel = if picture { root.form.channels } else { root.form.channels.next_multiple_of(4) };
        }
        layout.place(groups);
        layout
    }

    fn form(&self, value: ValueId) -> Form {
        Form::of(&self.plan.values[value.0].shape)
    }

    /// The value that a value lies in, and at which channel.
    fn root(&self, value: ValueId) -> (ValueId, usize) {
        let (mut at, mut channel) = (value, 0);
        while let Some((parent, offset)) = self.parents[at.0] {
            (at, channel) = (parent, channel + offset);
        }
        (at, channel)
    }

    /// Notes that a value is needed at a time.
    fn live(&mut self, value: ValueId, time: usize) {
        let (id, _) = self.root(value);
        let form = self.form(id);
        let new = Root { form, border: [(0, 0); 2], pixel: 0, first: time, last: time, address: 0 };
        let root = self.roots.entry(id).or_insert(new);
        root.last = root.last.max(time);
    }

    fn is_winograd(&self, group: &Group, window: &Window, groups: usize) -> bool {
        let sides = |form: Form| [form.channels, form.height, form.width];
        kernels::winograd_pays(window, groups, sides(self.form(group.operands[0])), sides(self.form(group.output)))
    }

    /// What a convolution reads around its input.
    fn border_for(&self, group: &Group, window: &Window, groups: usize) -> Border {
        let (x, out) = (self.form(group.operands[0]), self.form(group.output));
        let (input, output) = ([x.height, x.width], [out.height, out.width]);
        let needed = if self.is_winograd(group, window, groups) {
            Winograd::needed(output, window.padding)
        } else {
            std::array::from_fn(|i| {
                let reach = (output[i] - 1) * window.stride[i] + (window.kernel[i] - 1) * window.dilation[i] + 1;
                reach.saturating_sub(window.padding[i])
            })
        };
        std::array::from_fn(|i| (window.padding[i], needed[i].saturating_sub(input[i])))
    }

    /// Gives each root its address: the largest first, each as low as those that live at the same time allow.
    fn place(&mut self, groups: &[Group]) {
        enum Of {
            Root(ValueId),
            Scratch(usize),
        }
        let mut wanted: Vec<(usize, usize, usize, Of)> =
            self.roots.iter().map(|(&id, root)| (root.size(), root.first, root.last, Of::Root(id))).collect();
        for (index, group) in groups.iter().enumerate() {
            if let Kind::Convolution { window, groups, .. } = &group.kind
                && self.is_winograd(group, window, *groups)
            {
                let size = Winograd::scratch(self.form(group.operands[0]).channels, self.planes(group.output));
                wanted.push((size, index + 1, index + 1, Of::Scratch(index)));
            }
        }
        wanted.sort_by_key(|(size, first, ..)| (std::cmp::Reverse(*size), *first));
        let mut placed: Vec<(usize, usize, usize, usize)> = Vec::new();
        for (size, first, last, of) in wanted {
            let mut address = 0;
            // In order of their addresses: the first gap that is wide enough.
            for &(start, end, from, to) in &placed {
                if from <= last && first <= to && start < address + size {
                    address = address.max(end);
                }
            }
            let entry = (address, address + size, first, last);
            let position = placed.partition_point(|other| other.0 <= address);
            placed.insert(position, entry);
            self.memory = self.memory.max(address + size);
            match of {
                Of::Root(id) => self.roots.get_mut(&id).expect("it was counted").address = address,
                Of::Scratch(index) => {
                    self.scratch.insert(index, address);
                }
            }
        }
    }

    fn planes(&self, value: ValueId) -> Planes {
        let (root, channel) = self.root(value);
        let planes = self.roots[&root].planes();
        Planes { start: planes.start + channel, channels: self.form(value).channels, ..planes }
    }

    fn placed(&self, value: ValueId) -> Placed {
        let root = &self.roots[&self.root(value).0];
        Placed { planes: self.planes(value), channels_first: self.form(value).channels_first, pixel: root.pixel }
    }

    fn emit(self, groups: Vec<Group>, inputs: &[ValueId], outputs: &[ValueId], steps: u64) -> Program {
        let mut instructions = Vec::new();
        let border = |value: ValueId| self.roots[&self.root(value).0].border;
        let mut clean: HashMap<ValueId, ()> = inputs.iter().map(|&input| (self.root(input).0, ())).collect();
        for (index, group) in groups.into_iter().enumerate() {
            let (root, _) = self.root(group.output);
            if clean.insert(root, ()).is_none() && self.roots[&root].border != [(0, 0); 2] {
                let root = &self.roots[&root];
                instructions.push(Instruction::Border(root.planes(), root.border, root.pixel));
            }
            let output = self.planes(group.output);
            let operands: Vec<Planes> = group.operands.iter().map(|&value| self.planes(value)).collect();
            let planes = [operands[0], output];
            match group.kind {
                Kind::Convolution { window, groups, ref weights, ref bias, ref affine, addend, function } => {
                    let (finish, then) = match function {
                        Function::Finish(finish) => (finish, None),
                        function => (Finish::PLAIN, Some(function)),
                    };
                    let addend = addend.map(|value| self.planes(value));
                    let after = After { bias: bias.clone(), affine: affine.clone(), addend, finish };
                    let depthwise = groups > 1 && groups == planes[0].channels && groups == output.channels;
                    instructions.push(if self.is_winograd(&group, &window, groups) {
                        let scratch = self.scratch[&index];
                        Instruction::Winograd(Winograd::new(planes, window.padding, weights, &after, scratch))
                    } else if depthwise {
                        Instruction::Depthwise(Depthwise::new(planes, window, weights, &after))
                    } else {
                        Instruction::Convolution(Convolution::new(planes, window, groups, weights, &after))
                    });
                    if let Some(function) = then {
                        let (scale, shift) = (vec![1.; output.channels], vec![0.; output.channels]);
                        instructions.push(Instruction::Map(Map::new([output; 2], &scale, &shift, function)));
                    }
                }
                Kind::Pool { window, kind, factors } => {
                    instructions.push(Instruction::Pool(Pool::new(planes, window, kind, factors)));
                }
                Kind::Map { scale, shift, function } => {
                    instructions.push(Instruction::Map(Map::new(planes, &scale, &shift, function)));
                }
                Kind::Combine { combine, finish } => {
                    instructions.push(Instruction::Combine(combine, [operands[0], operands[1]], output, finish));
                }
                Kind::Concat => {
                    let mut channel = 0;
                    for (&value, &operand) in group.operands.iter().zip(&operands) {
                        let part = Planes { start: output.start + channel, channels: operand.channels, ..output };
                        if self.parents[value.0] != Some((group.output, channel)) {
                            instructions.push(Instruction::Copy([operand, part]));
                        }
                        channel += operand.channels;
                    }
                }
                Kind::View { channel } => {
                    if self.parents[group.output.0].is_none_or(|(parent, _)| parent != group.operands[0]) {
                        let part = Planes { start: planes[0].start + channel, channels: output.channels, ..planes[0] };
                        instructions.push(Instruction::Copy([part, output]));
                    }
                }
                Kind::Pick { start, step } => {
                    let from = planes[0];
                    let part = Planes {
                        start: from.start + start[0] * from.row + start[1] * from.pixel,
                        row: from.row * step[0],
                        pixel: from.pixel * step[1],
                        ..output
                    };
                    instructions.push(Instruction::Copy([part, output]));
                }
                Kind::Pad { before: [channel, y, x], value } => {
                    let from = planes[0];
                    let start = output.start + y * output.row + x * output.pixel + channel;
                    instructions.push(Instruction::Fill(output, value));
                    instructions.push(Instruction::Copy([from, Planes { start, ..from }.strided_like(output)]));
                }
                Kind::Step => {
                    let values = group.operands.iter().map(|&value| self.placed(value)).collect();
                    instructions.push(Instruction::Step {
                        step: group.last,
                        values,
                        output: self.placed(group.output),
                    });
                }
            }
        }
        Program {
            inputs: inputs.iter().map(|&value| (self.placed(value), border(value))).collect(),
            outputs: outputs.iter().map(|&value| self.placed(value)).collect(),
            instructions,
            memory: self.memory,
            steps,
        }
    }
}

/// Which values lie inside others from the start.
fn parents(plan: &Plan, groups: &[Group]) -> Vec<Option<(ValueId, usize)>> {
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
