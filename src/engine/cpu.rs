//! A stretch of a plan, compiled for the CPU: parameters folded and packed, memory laid out, ready to run many times.
//!
//! Steps are fused first (`schedule.rs`). Values lie channels last, with a border of zeros where a convolution
//! reads over the edge; concatenated values lie side by side from the start; memory is shared by values that do not live at
//! the same time. Steps without a kernel run on burn.
//!
//! **Invariants.** A compiled program returns exactly the values it is asked for; only those between may be fused away. The
//! reference engine defines what they are.

use std::borrow::Cow;
use std::cell::{LazyCell, RefCell};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use super::reference::Reference;
use super::{Engine, Images, Kept, Later, Program, Stretch, each_image};
use crate::formula::{Combine, Function, PoolKind, Rectifier, Window};
use crate::kernels::{
    self, After, Convolution, Depthwise, Map, Order, Panels, Planes, Pool, PoolBack, Tiling, Winograd,
};
use crate::order::arranged;
use crate::plan::{Plan, ValueId};
use crate::schedule::{Back, Form, Group, Kind, Life, Weights, addresses, groups, parents};

/// The kernels, for one plan, and the memory that all programs of a network share.
pub(crate) struct Cpu {
    reference: Rc<Reference>,
    memory: Rc<RefCell<Vec<f32>>>,
    packed: Rc<AllPanels>,
}

impl Cpu {
    pub(crate) fn new(reference: Rc<Reference>) -> Cpu {
        Cpu { reference, memory: Rc::default(), packed: Rc::default() }
    }
}

/// Weights in the kernels' order.
type AllPanels = Kept<Packed, Vec<f32>>;

/// Which weights of a plan, and how they are packed.
#[derive(PartialEq)]
struct Packed {
    weights: Weights,
    /// The places of each window that are left, if not all are.
    places: Vec<usize>,
    order: Order,
    /// As bits, which can be compared.
    bias: Vec<u32>,
}

impl AllPanels {
    /// `numbers` are those of the weights that are left.
    fn panels<'a>(
        &self,
        (weights, places): (Weights, Vec<usize>),
        bias: &[f32],
        order: Order,
        numbers: &dyn Fn() -> Cow<'a, [f32]>,
    ) -> Panels {
        let bits = bias.iter().map(|bias| bias.to_bits()).collect();
        self.get(weights.constant, Packed { weights, places, order, bias: bits }, || order.pack(&numbers(), bias))
    }
}

impl Engine for Cpu {
    fn compile(&self, stretch: Stretch) -> Box<dyn Program> {
        let code = Code::new(&self.reference.plan, &stretch, &self.packed);
        Box::new(Compiled { code, reference: self.reference.clone(), memory: self.memory.clone() })
    }

    fn plan(&self) -> &Plan {
        &self.reference.plan
    }

    fn with_reference(&self, reference: Rc<Reference>) -> Rc<dyn Engine> {
        // A way back has the constants of the way forward.
        let is_same = Rc::ptr_eq(&reference.plan.constants, &self.reference.plan.constants);
        let packed = if is_same { self.packed.clone() } else { Rc::default() };
        Rc::new(Cpu { reference, memory: self.memory.clone(), packed })
    }
}

/// Code with what it runs by.
struct Compiled {
    code: Code,
    reference: Rc<Reference>,
    memory: Rc<RefCell<Vec<f32>>>,
}

impl Program for Compiled {
    fn run<'a>(&'a self, inputs: &'a [Images<'a>], images: usize, skipped: usize) -> Later<'a> {
        Box::pin(async move {
            let mut memory = self.memory.borrow_mut();
            Ok(each_image(images, |image| {
                let inputs: Vec<&[f32]> = inputs.iter().map(|input| input.of(image)).collect();
                self.code.run(&mut memory, &inputs, skipped, &self.reference)
            }))
        })
    }
}

/// Compiled steps.
struct Code {
    inputs: Vec<(Placed, Border)>,
    outputs: Vec<Placed>,
    instructions: Vec<Instruction>,
    /// How many numbers of memory it takes.
    memory: usize,
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
    Combine(Combine, [Planes; 2], Planes, Rectifier),
    Fill(Planes, f32),
    Copy([Planes; 2]),
    Shuffle([Planes; 2], usize),
    Clear(Planes),
    PoolBack(PoolBack),
    Slope(Function, [Planes; 2], Planes),
    Spread([Planes; 2], f32),
    StretchedSum([Planes; 2], Vec<f32>),
    /// A step as burn runs it.
    Step {
        step: usize,
        values: Vec<Placed>,
        output: Placed,
    },
}

impl Code {
    fn new(plan: &Plan, stretch: &Stretch, packed: &AllPanels) -> Code {
        let Stretch { steps, inputs, outputs } = stretch;
        let groups = groups(plan, steps, outputs, usize::MAX);
        let layout = Layout::new(plan, &groups, inputs, outputs);
        layout.emit(groups, inputs, outputs, packed)
    }

    /// Runs the steps for one image. `inputs` and the results, of which the first `skipped` are not wanted, are in the order
    /// of the stretch, in the file's layout.
    fn run(&self, memory: &mut Vec<f32>, inputs: &[&[f32]], skipped: usize, reference: &Reference) -> Vec<Vec<f32>> {
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
                Instruction::Combine(combine, operands, output, rectifier) => {
                    kernels::combine(*combine, memory, *operands, *output, *rectifier);
                }
                Instruction::Fill(planes, value) => kernels::fill(memory, *planes, *value),
                Instruction::Copy(planes) => kernels::copy(memory, *planes),
                Instruction::Shuffle(planes, groups) => kernels::shuffle(memory, *planes, *groups),
                Instruction::Clear(planes) => kernels::clear(memory, *planes),
                Instruction::PoolBack(pool) => pool.run(memory),
                Instruction::Slope(function, operands, output) => {
                    kernels::slope(*function, memory, *operands, *output);
                }
                Instruction::Spread(planes, factor) => kernels::spread(memory, *planes, *factor),
                Instruction::StretchedSum(planes, biases) => kernels::stretched_sum(memory, *planes, biases),
                Instruction::Step { step, values, output } => {
                    let mut values = values.iter();
                    let result = reference.step(&reference.plan.steps[*step], 1, |_| {
                        values.next().expect("each value operand was placed").read(memory)
                    });
                    output.write(memory, &result);
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
            let border = match &group.kind {
                Kind::Convolution { window, groups, .. } => Some(layout.border_for(group, window, *groups)),
                Kind::Back(Back::Convolution { window, .. }) => Some(layout.border_back(group, window)),
                _ => None,
            };
            if let Some(border) = border {
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

    /// What a strided convolution on the way back reads around its input.
    fn border_back(&self, group: &Group, window: &Window) -> Border {
        let (given, out) = (self.form(group.operands[0]), self.form(group.output));
        let sides = [(given.height, out.height), (given.width, out.width)];
        std::array::from_fn(|i| {
            let (input, output) = (sides[i].0 as isize, sides[i].1);
            let mut border = (0, 0);
            for phase in window.phases(i).into_iter().filter(|phase| !phase.taps.is_empty()) {
                let places = output.saturating_sub(phase.start).div_ceil(window.stride[i]) as isize;
                let end = phase.first + places + phase.taps.len() as isize - 1;
                border.0 = border.0.max((-phase.first).max(0) as usize);
                border.1 = border.1.max((end - input).max(0) as usize);
            }
            border
        })
    }

    /// Gives each root its address, and each transformed convolution a place for its numbers.
    fn place(&mut self, groups: &[Group]) {
        // One order for equal things, whatever that of the map is.
        let roots: Vec<ValueId> = arranged(self.roots.keys().copied().collect(), &|a: &ValueId, b| a.cmp(b));
        let mut scratch = Vec::new();
        let life = |root: &Root| Life { size: root.size(), first: root.first, last: root.last };
        let mut lives: Vec<Life> = roots.iter().map(|id| life(&self.roots[id])).collect();
        for (index, group) in groups.iter().enumerate() {
            if let Kind::Convolution { window, groups, .. } = &group.kind
                && let Some(tiling) = self.tiling(group, window, *groups)
            {
                let size = tiling.scratch(self.form(group.operands[0]).channels, self.planes(group.output));
                scratch.push(index);
                lives.push(Life { size, first: index + 1, last: index + 1 });
            }
        }
        let (addresses, memory) = addresses(&lives);
        let (of_roots, of_scratch) = addresses.split_at(roots.len());
        for (id, &address) in roots.iter().zip(of_roots) {
            self.roots.get_mut(id).expect("it was counted").address = address;
        }
        self.scratch = scratch.into_iter().zip(of_scratch.iter().copied()).collect();
        self.memory = memory;
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

    /// A step without a kernel.
    fn step(&self, group: &Group) -> Instruction {
        let values = group.operands.iter().map(|&value| self.placed(value)).collect();
        Instruction::Step { step: group.last, values, output: self.placed(group.output) }
    }

    fn emit(self, groups: Vec<Group>, inputs: &[ValueId], outputs: &[ValueId], packed: &AllPanels) -> Code {
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
                    let (rectifier, then) = match function {
                        Function::Rectifier(rectifier) => (rectifier, None),
                        function => (Rectifier::PLAIN, Some(function)),
                    };
                    let addend = addend.map(|value| self.planes(value));
                    let after = After { bias: bias.clone(), affine: affine.clone(), addend, rectifier };
                    let depthwise = groups > 1 && groups == planes[0].channels && groups == output.channels;
                    let numbers = || weights.numbers(self.plan);
                    let panels = &|order| packed.panels((weights, Vec::new()), &after.bias, order, &numbers);
                    instructions.push(if let Some(tiling) = self.tiling(&group, &window, groups) {
                        let scratch = self.scratch[&index];
                        Instruction::Winograd(Winograd::new(tiling, planes, window.padding, panels, &after, scratch))
                    } else if depthwise {
                        Instruction::Depthwise(Depthwise::new(planes, window, panels, &after))
                    } else {
                        Instruction::Convolution(Convolution::new(planes, window, groups, panels, &after))
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
                Kind::Combine { combine, rectifier } => {
                    instructions.push(Instruction::Combine(combine, [operands[0], operands[1]], output, rectifier));
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
                Kind::Back(Back::Convolution { window, groups, weights }) => {
                    let numbers = LazyCell::new(|| weights.numbers(self.plan));
                    let windows = || numbers.chunks_exact(window.kernel[0] * window.kernel[1]);
                    let panels = |places: &[usize], bias: &[f32], order| {
                        let left = || windows().flat_map(|window| places.iter().map(|&place| window[place])).collect();
                        packed.panels((weights, places.to_vec()), bias, order, &left)
                    };
                    strided_back(&mut instructions, planes, &window, groups, &panels);
                }
                Kind::Back(Back::MaxPool(window)) => {
                    let pool = PoolBack::new([operands[0], operands[1], output], window, PoolKind::Max, vec![1.]);
                    instructions.push(Instruction::PoolBack(pool));
                }
                Kind::Back(Back::SumPool { window, factors }) => {
                    let pool = PoolBack::new([output, operands[0], output], window, PoolKind::Sum, factors);
                    instructions.push(Instruction::PoolBack(pool));
                }
                Kind::Back(Back::Spread { factor }) => instructions.push(Instruction::Spread(planes, factor)),
                Kind::Back(Back::StretchedSum { biases }) => {
                    let biases = self.plan.constants[biases].values.clone();
                    instructions.push(Instruction::StretchedSum(planes, biases));
                }
                Kind::Back(Back::Slope(function)) => {
                    instructions.push(Instruction::Slope(function, [operands[0], operands[1]], output));
                }
                Kind::Back(Back::Place { start, step }) => {
                    let from = planes[0];
                    let part = Planes {
                        start: output.start + start[0] * output.row + start[1] * output.pixel,
                        row: output.row * step[0],
                        pixel: output.pixel * step[1],
                        ..from
                    };
                    instructions.push(Instruction::Clear(output));
                    instructions.push(Instruction::Copy([from, part]));
                }
                #[cfg(feature = "gpu")]
                Kind::Product { .. } => instructions.push(self.step(&group)),
                Kind::Step => instructions.push(self.step(&group)),
            }
        }
        Code {
            inputs: inputs.iter().map(|&value| (self.placed(value), border(value))).collect(),
            outputs: outputs.iter().map(|&value| self.placed(value)).collect(),
            instructions,
            memory: self.memory,
        }
    }
}

/// Weights at some places of their windows, with biases, in an order.
type PackedAt<'a> = dyn Fn(&[usize], &[f32], Order) -> Panels + 'a;

/// The gradient by the input of a strided convolution: one convolution for each phase of rows and columns.
///
/// `packed` gives, in an order, its weights with inputs and outputs swapped, windows turned round, and only some of their places
/// left.
fn strided_back(
    instructions: &mut Vec<Instruction>,
    [from, to]: [Planes; 2],
    window: &Window,
    groups: usize,
    packed: &PackedAt<'_>,
) {
    let [kh, kw] = window.kernel;
    let after = After { bias: vec![0.; to.channels], affine: None, addend: None, rectifier: Rectifier::PLAIN };
    for rows in window.phases(0) {
        for columns in window.phases(1) {
            let places = |side: usize, start: usize, i: usize| side.saturating_sub(start).div_ceil(window.stride[i]);
            let part = Planes {
                start: to.start + rows.start * to.row + columns.start * to.pixel,
                row: to.row * window.stride[0],
                pixel: to.pixel * window.stride[1],
                height: places(to.height, rows.start, 0),
                width: places(to.width, columns.start, 1),
                channels: to.channels,
            };
            if part.height * part.width == 0 {
                continue;
            }
            let kernel = [rows.taps.len(), columns.taps.len()];
            if kernel.contains(&0) {
                instructions.push(Instruction::Clear(part));
                continue;
            }
            // Taps of the turned window: the last of its own is the first.
            let place = |y: usize, x: usize| (kh - 1 - y) * kw + kw - 1 - x;
            let places: Vec<usize> =
                rows.taps.iter().flat_map(|&y| columns.taps.iter().map(move |&x| place(y, x))).collect();
            let panels = &|order| packed(&places, &after.bias, order);
            let skip = [rows.first.max(0) as usize, columns.first.max(0) as usize];
            let shifted = Planes {
                start: from.start + skip[0] * from.row + skip[1] * from.pixel,
                height: from.height.saturating_sub(skip[0]),
                width: from.width.saturating_sub(skip[1]),
                ..from
            };
            let padding = [(-rows.first).max(0) as usize, (-columns.first).max(0) as usize];
            let piece = Window { kernel, stride: [1, 1], padding, dilation: [1, 1] };
            let depthwise = groups > 1 && groups == from.channels && groups == to.channels;
            instructions.push(match depthwise {
                true => Instruction::Depthwise(Depthwise::new([shifted, part], piece, panels, &after)),
                false => Instruction::Convolution(Convolution::new([shifted, part], piece, groups, panels, &after)),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Rectifiers, WayBack};
    use super::*;
    use crate::plan::layers::Layout as Axes;
    use crate::plan::{Activation, Constant, Op, Output, OutputKind, Step, Unary, Value};

    /// A convolution, a ReLU, and a convolution with a stride, of 8 channels each.
    fn plan() -> Plan {
        let value =
            |height, width| Value { name: String::new(), shape: vec![1, 8, height, width], layout: Axes::default() };
        let weights = |seed: usize| Constant {
            shape: [8, 8, 3, 3],
            values: (0..576).map(|i| ((i * 37 + seed) % 23) as f32 / 11. - 1.).collect(),
        };
        let convolution =
            |side| Op::Convolution { stride: [side; 2], padding: [(1, 1); 2], dilation: [1, 1], groups: 1 };
        Plan {
            values: vec![value(7, 6), value(7, 6), value(7, 6), value(4, 3)],
            constants: vec![weights(1), weights(2)].into(),
            steps: vec![
                Step::in_chain(0, convolution(1), Some(0)),
                Step::in_chain(1, Op::Unary(Unary::Relu), None),
                Step::in_chain(2, convolution(2), Some(1)),
            ],
            output: Output { value: ValueId(3), kind: OutputKind::Scores(Activation::Softmax) },
            batches: true,
            head: Err(String::new()),
            aliases: Vec::new(),
        }
    }

    #[test]
    fn programs_of_a_network_share_their_weights_while_they_live() {
        let plan = Rc::new(plan());
        let engine = Cpu::new(Rc::new(Reference::new(plan.clone())));
        let kept = || {
            let constants = engine.packed.0.borrow();
            constants.iter().flatten().filter(|(_, panels)| panels.strong_count() > 0).count()
        };
        let [input, first, last] = [ValueId(0), ValueId(1), ValueId(3)];
        let forward = [vec![last], vec![first, last]].map(|outputs| engine.compile(plan.whole(vec![input], outputs)));
        assert_eq!(kept(), 2, "one for each convolution");
        let back = [input, first].map(|wanted| {
            let steps = (wanted.0..3).collect();
            let forward = Stretch { steps, inputs: vec![wanted], outputs: vec![last] };
            engine.compile_back(WayBack { forward, wanted, rectifiers: Rectifiers::Plain, biases: false })
        });
        // Back through the stride there is one convolution for each of four phases.
        assert_eq!(kept(), 2 + 1 + 4);
        drop(forward);
        drop(back);
        assert_eq!(kept(), 0);
    }

    #[test]
    fn other_parameters_are_not_taken_for_the_same() {
        let plan = Rc::new(plan());
        let engine = Cpu::new(Rc::new(Reference::new(plan.clone())));
        let mut other = (*plan).clone();
        other.constants = other
            .constants
            .iter()
            .map(|weights| Constant { values: weights.values.iter().map(|value| 2. * value).collect(), ..*weights })
            .collect::<Vec<_>>()
            .into();
        let doubled = engine.with_reference(Rc::new(Reference::new(Rc::new(other))));
        let numbers: Vec<f32> = (0..8 * 7 * 6).map(|i| ((i * 29) % 17) as f32 / 8. - 1.).collect();
        let run = |engine: &dyn Engine| {
            let program = engine.compile(plan.whole(vec![ValueId(0)], vec![ValueId(3)]));
            let inputs = [Images { numbers: &numbers, count: 1 }];
            pollster::block_on(program.run(&inputs, 1, 0)).unwrap().remove(0)
        };
        // Twice two convolutions, and a ReLU that keeps factors.
        let (once, four) = (run(&engine), run(&*doubled));
        assert!(once.iter().zip(&four).all(|(once, four)| (4. * once - four).abs() < 1e-4), "{once:?} {four:?}");
        assert!(once.iter().any(|number| number.abs() > 1.));
    }
}
