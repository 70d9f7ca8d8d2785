//! A stretch of a plan, compiled for the CPU: parameters folded and packed, memory laid out, ready to run many times.
//!
//! Steps are fused first (`network/fuse.rs`). Values lie channels last, with a border of zeros where a convolution
//! reads over the edge; concatenated values lie side by side from the start; memory is shared by values that do not live at
//! the same time. Steps without a kernel run on burn.
//!
//! **Invariants.** The values asked for are exactly what the plan says; only values between may be folded away. Burn's way
//! through the same steps is the definition.

use std::collections::{HashMap, HashSet};

use super::fuse::{Form, Group, Kind, groups, parents};
use super::plan::{Plan, Source, ValueId, rank4};
use super::run;
use crate::formula::{Combine, Finish, Function, Window};
use crate::kernels::{self, After, Convolution, Depthwise, Map, Planes, Pool, Tiling, Winograd};
use crate::order::arranged;
use crate::tensor::{Tensor, numbers, tensor};

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
pub(super) struct Placed {
    pub planes: Planes,
    /// Whether the file's order is channels first; otherwise it is that of the memory.
    pub channels_first: bool,
    /// From a pixel to the next where nothing else lies between.
    pub pixel: usize,
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
    Shuffle([Planes; 2], usize),
    /// A step as burn runs it.
    Step {
        step: usize,
        values: Vec<Placed>,
        output: Placed,
    },
}

impl Program {
    /// Compiles the `chosen` steps, which need `inputs` and lead to `outputs`.
    pub(super) fn new(plan: &Plan, chosen: &[usize], inputs: &[ValueId], outputs: &[ValueId]) -> Program {
        let groups = groups(plan, chosen, outputs, usize::MAX);
        let layout = Layout::new(plan, &groups, inputs, outputs);
        layout.emit(groups, inputs, outputs, chosen.len() as u64)
    }

    /// Runs the steps for one image. `inputs` and the results, of which the first `skipped` are not wanted, are in the order
    /// of [`Program::new`], in the file's layout.
    pub(super) fn run(
        &self,
        memory: &mut Vec<f32>,
        inputs: &[&[f32]],
        skipped: usize,
        plan: &Plan,
        constant: &dyn Fn(usize) -> Tensor<4>,
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
                    kernels::combine(*combine, memory, *operands, *output, *finish);
                }
                Instruction::Fill(planes, value) => kernels::fill(memory, *planes, *value),
                Instruction::Copy(planes) => kernels::copy(memory, *planes),
                Instruction::Shuffle(planes, groups) => kernels::shuffle(memory, *planes, *groups),
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
                                tensor(placed.read(memory), rank4(&plan.values[value.0].shape))
                            }
                        })
                        .collect();
                    let result = run::run(&step.op, &operands, rank4(&plan.values[step.output.0].shape));
                    output.write(memory, &numbers(result));
                }
            }
        }
        self.outputs[skipped..].iter().map(|placed| placed.read(memory)).collect()
    }
}

impl Placed {
    /// One row after the other, where that is the file's order.
    pub(super) fn read(&self, memory: &[f32]) -> Vec<f32> {
        if self.channels_first {
            return kernels::to_planes(memory, self.planes);
        }
        let mut values = Vec::with_capacity(self.planes.height * self.planes.width * self.planes.channels);
        for pixel in self.planes.pixels() {
            values.extend_from_slice(&memory[pixel..pixel + self.planes.channels]);
        }
        values
    }

    pub(super) fn write(&self, memory: &mut [f32], values: &[f32]) {
        if self.channels_first {
            return kernels::from_planes(memory, self.planes, values);
        }
        for (pixel, values) in self.planes.pixels().zip(values.chunks_exact(self.planes.channels)) {
            memory[pixel..pixel + values.len()].copy_from_slice(values);
        }
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
        // A vector may reach beyond the last pixel; what comes behind begins with a whole one, too.
        ((self.border[0].0 + self.form.height + self.border[0].1) * self.row() + 4).next_multiple_of(4)
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

    fn tiling(&self, group: &Group, window: &Window, groups: usize) -> Option<Tiling> {
        let sides = |form: Form| [form.channels, form.height, form.width];
        Tiling::of(window, groups, sides(self.form(group.operands[0])), sides(self.form(group.output)))
    }

    /// What a convolution reads around its input.
    fn border_for(&self, group: &Group, window: &Window, groups: usize) -> Border {
        let (x, out) = (self.form(group.operands[0]), self.form(group.output));
        let (input, output) = ([x.height, x.width], [out.height, out.width]);
        let needed = match self.tiling(group, window, groups) {
            Some(tiling) => tiling.needed(output, window.padding),
            None => std::array::from_fn(|i| {
                let reach = (output[i] - 1) * window.stride[i] + (window.kernel[i] - 1) * window.dilation[i] + 1;
                reach.saturating_sub(window.padding[i])
            }),
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
                && let Some(tiling) = self.tiling(group, window, *groups)
            {
                let size = tiling.scratch(self.form(group.operands[0]).channels, self.planes(group.output));
                wanted.push((size, index + 1, index + 1, Of::Scratch(index)));
            }
        }
        wanted = arranged(wanted, &|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
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
        let mut clean: HashSet<ValueId> = inputs.iter().map(|&input| self.root(input).0).collect();
        for (index, group) in groups.into_iter().enumerate() {
            let (root, _) = self.root(group.output);
            if clean.insert(root) && self.roots[&root].border != [(0, 0); 2] {
                let root = &self.roots[&root];
                instructions.push(Instruction::Border(root.planes(), root.border, root.pixel));
            }
            let output = self.planes(group.output);
            let operands: Vec<Planes> = group.operands.iter().map(|&value| self.planes(value)).collect();
            let planes = [operands[0], output];
            match group.kind {
                Kind::Convolution { window, groups, weights, ref bias, ref affine, addend, function } => {
                    let weights = weights.numbers(self.plan);
                    let (finish, then) = match function {
                        Function::Finish(finish) => (finish, None),
                        function => (Finish::PLAIN, Some(function)),
                    };
                    let addend = addend.map(|value| self.planes(value));
                    let after = After { bias: bias.clone(), affine: affine.clone(), addend, finish };
                    let depthwise = groups > 1 && groups == planes[0].channels && groups == output.channels;
                    instructions.push(if let Some(tiling) = self.tiling(&group, &window, groups) {
                        let scratch = self.scratch[&index];
                        Instruction::Winograd(Winograd::new(tiling, planes, window.padding, &weights, &after, scratch))
                    } else if depthwise {
                        Instruction::Depthwise(Depthwise::new(planes, window, &weights, &after))
                    } else {
                        Instruction::Convolution(Convolution::new(planes, window, groups, &weights, &after))
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
                Kind::Shuffle { groups } => instructions.push(Instruction::Shuffle(planes, groups)),
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
