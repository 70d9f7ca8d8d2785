//! A stretch of a plan, compiled for a graphics card: every buffer and launch decided, parameters packed on the card.
//!
//! Steps are fused first (`network/fuse.rs`). Values lie channels last in vectors of four, concatenated ones side by side in
//! one buffer; values that do not live at the same time share one. Steps without a shader run on the CPU's tensors between
//! the launches.
//!
//! **Invariants.** A value from the CPU has a place of its own. Burn's way through the same steps is the definition.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::fuse::{Form, Group, Kind, Weights, groups, parents};
use super::plan::{Plan, Source, ValueId};
use super::program::Placed;
use super::run;
use crate::Result;
use crate::formula::{Function, PoolKind, Window};
use crate::gpu::{Bound, Buffer, Gpu};
use crate::kernels::Planes;
use crate::order;
use crate::shaders::{self, Input, Last, Operand, Shader, Shared, Sizes, Strides};
use crate::tensor::{Tensor, numbers, tensor};

/// What the programs of a network share: the card, and weights in the shaders' order.
pub(super) struct Engine {
    gpu: Rc<Gpu>,
    weights: RefCell<HashMap<(Weights, Order), Rc<Buffer>>>,
}

/// How weights are laid out.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Order {
    Vectors,
    Numbers,
    Depthwise,
}

/// Compiled steps.
pub(super) struct Program {
    inputs: Vec<ValueId>,
    outputs: Vec<ValueId>,
    instructions: Vec<Instruction>,
    /// Of each buffer the numbers for one image.
    sizes: Vec<usize>,
    /// Where values lie that the CPU writes or reads.
    places: HashMap<ValueId, Place>,
    /// What the last run left, unless a run is under way.
    room: RefCell<Option<Room>>,
    /// How many of the plan's steps it does.
    pub steps: u64,
}

/// The buffers for so many images at once, and every launch with those that it takes.
struct Room {
    images: usize,
    buffers: Vec<Buffer>,
    launches: Vec<Bound>,
}

/// A value in a buffer.
#[derive(Clone, Copy)]
struct Place {
    slot: usize,
    form: Form,
    /// The first of its channels in the buffer.
    channel: usize,
    /// From a pixel to the next.
    pixel: usize,
    /// One channel after the other, as pictures come.
    planar: bool,
}

impl Place {
    /// In numbers.
    fn strides(&self) -> Strides {
        let Form { height, width, channels, .. } = self.form;
        if self.planar {
            return Strides {
                offset: 0,
                image: channels * height * width,
                row: width,
                pixel: 1,
                channel: height * width,
            };
        }
        let row = width * self.pixel;
        Strides { offset: self.channel, image: height * row, row, pixel: self.pixel, channel: 1 }
    }

    /// In vectors.
    fn vector_strides(&self) -> Strides {
        let Strides { offset, image, row, pixel, .. } = self.strides();
        Strides { offset: offset / 4, image: image / 4, row: row / 4, pixel: pixel / 4, channel: 0 }
    }

    /// The numbers of the buffer that an image takes.
    fn size(&self) -> usize {
        self.strides().image
    }

    /// The same for kernels.
    fn placed(&self, image: usize) -> Placed {
        let Strides { offset, image: each, row, pixel, .. } = self.strides();
        let Form { height, width, channels, channels_first } = self.form;
        let planes = Planes { start: offset + image * each, row, pixel, height, width, channels };
        Placed { planes, channels_first, pixel }
    }

    /// What a buffer holds of a value, image after image in the file's order.
    fn read(&self, buffer: Vec<f32>, images: usize) -> Vec<f32> {
        if self.planar {
            return buffer;
        }
        (0..images).flat_map(|image| self.placed(image).read(&buffer)).collect()
    }

    /// A buffer that holds the value, from image after image in the file's order; a single image serves for all.
    fn write(&self, numbers: &[f32], images: usize) -> Vec<f32> {
        let each = self.form.height * self.form.width * self.form.channels;
        let mut given = numbers.chunks_exact(each).cycle();
        if self.planar {
            return given.take(images).flatten().copied().collect();
        }
        let mut buffer = vec![0.; images * self.size()];
        for image in 0..images {
            self.placed(image).write(&mut buffer, given.next().expect("there is an image"));
        }
        buffer
    }
}

enum Instruction {
    /// A value from the CPU to its place.
    Import(ValueId),
    Launch(Launch),
    /// A step on the CPU's tensors, and the values that none after it takes.
    Step {
        step: usize,
        done: Vec<ValueId>,
    },
}

/// A shader and what it is given.
struct Launch {
    shader: Shader,
    groups: [u32; 3],
    parameters: Buffer,
    weights: Option<Rc<Buffer>>,
    output: usize,
    input: usize,
    other: Option<usize>,
}

impl Launch {
    fn slots(&self) -> impl Iterator<Item = usize> {
        [Some(self.output), Some(self.input), self.other].into_iter().flatten()
    }
}

/// A value on the CPU, of one image or of each.
#[derive(Clone)]
struct Numbers<'a> {
    numbers: Cow<'a, [f32]>,
    images: usize,
}

impl Engine {
    pub(super) fn new(gpu: Rc<Gpu>) -> Engine {
        Engine { gpu, weights: RefCell::default() }
    }

    /// The same card, with no weights on it yet.
    pub(super) fn empty(&self) -> Engine {
        Engine::new(self.gpu.clone())
    }

    /// Weights `[outputs, inputs, rows, columns]`, `sides`, in the shaders' order.
    fn weights(&self, plan: &Plan, weights: Weights, order: Order, sides: [usize; 4]) -> Rc<Buffer> {
        let pack = || {
            let numbers = weights.numbers(plan);
            let [outputs, inputs, ..] = sides;
            let window = sides[2] * sides[3];
            let (width, depth) = (outputs.next_multiple_of(4), inputs.next_multiple_of(4));
            let mut packed = match order {
                Order::Vectors => vec![0.; window * depth * width],
                Order::Numbers => vec![0.; window * inputs * width],
                Order::Depthwise => vec![0.; window * width],
            };
            let depth = if order == Order::Vectors { depth } else { inputs };
            for output in 0..outputs {
                for input in 0..inputs {
                    for tap in 0..window {
                        packed[(tap * depth + input) * width + output] =
                            numbers[(output * inputs + input) * window + tap];
                    }
                }
            }
            Rc::new(self.gpu.filled(&packed))
        };
        self.weights.borrow_mut().entry((weights, order)).or_insert_with(pack).clone()
    }
}

impl Program {
    /// Compiles the `chosen` steps, which need `inputs` and lead to `outputs`.
    pub(super) fn new(
        engine: &Engine,
        plan: &Plan,
        chosen: &[usize],
        inputs: &[ValueId],
        outputs: &[ValueId],
    ) -> Program {
        let groups = groups(plan, chosen, outputs, engine.gpu.most_numbers());
        let mut compiler = Compiler::new(engine, plan, &groups, inputs, outputs);
        for group in &groups {
            compiler.emit(group);
        }
        let Compiler { mut instructions, mut places, sizes, on_cpu, .. } = compiler;

        // From when to when each slot is in use, and the last use of each value on the CPU.
        let mut lives: Vec<Option<(usize, usize)>> = vec![None; sizes.len()];
        let mut last: HashMap<ValueId, usize> = HashMap::new();
        let mut live = |slot: usize, time: usize| {
            let life = lives[slot].get_or_insert((time, time));
            life.1 = life.1.max(time);
        };
        for (time, instruction) in instructions.iter().enumerate() {
            match instruction {
                Instruction::Import(value) => {
                    live(places[value].slot, time);
                    last.insert(*value, time);
                }
                Instruction::Launch(launch) => launch.slots().for_each(|slot| live(slot, time)),
                Instruction::Step { step, .. } => {
                    for value in plan.steps[*step].inputs.iter().filter_map(Source::value) {
                        last.insert(value, time);
                        if !on_cpu.contains_key(&value) {
                            live(places[&value].slot, time);
                        }
                    }
                }
            }
        }
        for output in outputs.iter().filter(|output| !on_cpu.contains_key(output)) {
            live(places[output].slot, usize::MAX);
        }
        for (value, &time) in last.iter().filter(|(value, _)| !outputs.contains(value)) {
            if let Instruction::Step { done, .. } = &mut instructions[time] {
                done.push(*value);
            }
        }
        let (shared, sizes) = share(&sizes, &lives);
        places.values_mut().for_each(|place| place.slot = shared[place.slot]);
        for instruction in &mut instructions {
            if let Instruction::Launch(launch) = instruction {
                launch.input = shared[launch.input];
                launch.output = shared[launch.output];
                launch.other = launch.other.map(|slot| shared[slot]);
            }
        }
        let steps = chosen.len() as u64;
        let (inputs, outputs) = (inputs.to_vec(), outputs.to_vec());
        Program { inputs, outputs, instructions, sizes, places, room: RefCell::new(None), steps }
    }

    /// Runs the steps for `images` images at once. `inputs` and the results, of which the first `skipped` are not wanted, are
    /// in the order of [`Program::new`]; an input of one image serves for all.
    ///
    /// # Errors
    /// `DeviceError` if the card was lost or ran out of memory.
    pub(super) async fn run(
        &self,
        engine: &Engine,
        inputs: &[(&[f32], usize)],
        images: usize,
        skipped: usize,
        plan: &Plan,
        constant: &dyn Fn(usize) -> Tensor<4>,
    ) -> Result<Vec<Vec<f32>>> {
        // Another run may begin while this one waits: it makes room of its own.
        let room = self.room.take().filter(|room| room.images == images);
        let room = room.unwrap_or_else(|| self.room_for(&engine.gpu, images));
        let results = self.run_in(&room, &engine.gpu, inputs, &self.outputs[skipped..], plan, constant).await;
        self.room.replace(Some(room));
        results
    }

    fn room_for(&self, gpu: &Gpu, images: usize) -> Room {
        let buffers: Vec<Buffer> = self.sizes.iter().map(|size| gpu.buffer(size * images)).collect();
        let bound = |launch: &Launch| {
            let operands = launch.shader.operands().into_iter().map(|operand| match operand {
                Operand::Output => &buffers[launch.output],
                Operand::Parameters => &launch.parameters,
                Operand::Input => &buffers[launch.input],
                Operand::Weights => launch.weights.as_ref().expect("the shader has weights"),
                Operand::Other => &buffers[launch.other.expect("the shader has another operand")],
            });
            let [x, y, layers] = launch.groups;
            gpu.bind(launch.shader, operands, [x, y, layers * images as u32])
        };
        let launches = self.instructions.iter().filter_map(|instruction| match instruction {
            Instruction::Launch(launch) => Some(bound(launch)),
            _ => None,
        });
        let launches = launches.collect();
        Room { images, buffers, launches }
    }

    async fn run_in(
        &self,
        room: &Room,
        gpu: &Gpu,
        inputs: &[(&[f32], usize)],
        outputs: &[ValueId],
        plan: &Plan,
        constant: &dyn Fn(usize) -> Tensor<4>,
    ) -> Result<Vec<Vec<f32>>> {
        let given = inputs.iter().map(|&(numbers, images)| Numbers { numbers: Cow::Borrowed(numbers), images });
        let mut on_cpu: HashMap<ValueId, Numbers<'_>> = self.inputs.iter().copied().zip(given).collect();
        let mut launches = room.launches.iter();
        let mut queue: Vec<&Bound> = Vec::new();
        for instruction in &self.instructions {
            match instruction {
                Instruction::Launch(_) => queue.extend(launches.next()),
                Instruction::Import(value) => {
                    // What is written now comes after all that was launched before.
                    gpu.launch(&std::mem::take(&mut queue));
                    let place = &self.places[value];
                    gpu.write(&room.buffers[place.slot], &place.write(&on_cpu[value].numbers, room.images));
                }
                Instruction::Step { step, done } => {
                    let step = &plan.steps[*step];
                    let values: Vec<ValueId> = step.inputs.iter().filter_map(Source::value).collect();
                    self.bring(room, gpu, &mut queue, &values, &mut on_cpu).await?;
                    let operand = |source: &Source| match source {
                        Source::Constant(index) => constant(*index),
                        Source::Value(value) => {
                            tensor(on_cpu[value].of(room.images).into_owned(), plan.device_shape(*value, room.images))
                        }
                    };
                    let operands: Vec<Tensor<4>> = step.inputs.iter().map(operand).collect();
                    let result = run::run(&step.op, &operands, plan.device_shape(step.output, room.images));
                    let result = Numbers { numbers: Cow::Owned(numbers(result)), images: room.images };
                    done.iter().for_each(|value| drop(on_cpu.remove(value)));
                    on_cpu.insert(step.output, result);
                }
            }
        }
        self.bring(room, gpu, &mut queue, outputs, &mut on_cpu).await?;
        Ok(outputs.iter().map(|value| on_cpu[value].of(room.images).into_owned()).collect())
    }

    /// Brings those values to the CPU that are not there yet.
    async fn bring(
        &self,
        room: &Room,
        gpu: &Gpu,
        queue: &mut Vec<&Bound>,
        values: &[ValueId],
        on_cpu: &mut HashMap<ValueId, Numbers<'_>>,
    ) -> Result<()> {
        let missing: Vec<ValueId> = values.iter().copied().filter(|value| !on_cpu.contains_key(value)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let wanted = missing.iter().map(|value| {
            let place = &self.places[value];
            (&room.buffers[place.slot], place.size() * room.images)
        });
        let found = gpu.read(&std::mem::take(queue), &wanted.collect::<Vec<_>>()).await?;
        for (value, buffer) in missing.into_iter().zip(found) {
            let numbers = Cow::Owned(self.places[&value].read(buffer, room.images));
            on_cpu.insert(value, Numbers { numbers, images: room.images });
        }
        Ok(())
    }

    /// How many images it can run at once, at least one.
    pub(super) fn most_images(&self, engine: &Engine) -> usize {
        let largest = self.sizes.iter().copied().max().unwrap_or(1);
        (engine.gpu.most_numbers() / largest.max(1)).max(1)
    }

    /// Whether several images lie one after the other along the first axis of every value: not if that is the channels'.
    pub(super) fn stacks(&self, plan: &Plan) -> bool {
        let stacks = |value: &ValueId| plan.values[value.0].shape.len() > 1;
        self.inputs.iter().chain(self.places.keys()).chain(&self.outputs).all(stacks)
    }
}

impl Numbers<'_> {
    /// Those of so many images.
    fn of(&self, images: usize) -> Cow<'_, [f32]> {
        match self.images == images {
            true => Cow::Borrowed(&self.numbers),
            false => Cow::Owned(self.numbers.repeat(images)),
        }
    }
}

/// Lets slots that are not in use at the same time be one buffer, the largest first: the buffer of each slot, and the sizes.
fn share(sizes: &[usize], lives: &[Option<(usize, usize)>]) -> (Vec<usize>, Vec<usize>) {
    let mut order: Vec<usize> = (0..sizes.len()).filter(|&slot| lives[slot].is_some()).collect();
    order::sort(&mut order, &|a, b| sizes[b].cmp(&sizes[a]));
    let mut buffers: Vec<(usize, Vec<(usize, usize)>)> = Vec::new();
    let mut of_slot = vec![0; sizes.len()];
    for slot in order {
        let Some((from, to)) = lives[slot] else { continue };
        let is_free = |(_, lives): &(usize, Vec<(usize, usize)>)| lives.iter().all(|&(a, b)| b < from || to < a);
        let buffer = buffers.iter().position(is_free).unwrap_or_else(|| {
            buffers.push((sizes[slot], Vec::new()));
            buffers.len() - 1
        });
        buffers[buffer].1.push((from, to));
        of_slot[slot] = buffer;
    }
    (of_slot, buffers.into_iter().map(|(size, _)| size).collect())
}

/// Numbers of a value with these strides to a place, for each of its pixels; channels beyond those that there are read zero.
fn copy([input, output]: [Form; 2], from: Strides, to: Place) -> (Shader, Sizes) {
    let numbers = output.channels.next_multiple_of(4);
    let shader = shader(shaders::Kind::Copy, Last::Plain, 8);
    let sizes = Sizes {
        pixels: output.height * output.width,
        width: output.width,
        vectors: numbers,
        input_size: [input.height, input.width],
        stride: [1, 1],
        channels: input.channels,
        groups: 1,
        input: from,
        output: to.strides(),
        ..Sizes::default()
    };
    (shader, sizes)
}

fn shader(kind: shaders::Kind, function: Last, lanes: u32) -> Shader {
    Shader { kind, function, shared: Shared::default(), lanes }
}

/// Decides buffers and launches, group by group.
struct Compiler<'a> {
    engine: &'a Engine,
    plan: &'a Plan,
    /// The value that a value is a part of, and the channel of it at which it begins.
    parents: Vec<Option<(ValueId, usize)>>,
    /// Pictures that only convolutions read.
    planar: Vec<ValueId>,
    /// Values that come from the CPU, and whether they are in their places.
    on_cpu: HashMap<ValueId, bool>,
    places: HashMap<ValueId, Place>,
    /// Of each slot the numbers for one image.
    sizes: Vec<usize>,
    instructions: Vec<Instruction>,
}

impl<'a> Compiler<'a> {
    fn new(
        engine: &'a Engine,
        plan: &'a Plan,
        groups: &[Group],
        inputs: &[ValueId],
        outputs: &[ValueId],
    ) -> Compiler<'a> {
        let mut parents = parents(plan, groups);
        let steps = groups.iter().filter(|group| matches!(group.kind, Kind::Step)).map(|group| &group.output);
        for value in inputs.iter().chain(steps) {
            parents[value.0] = None;
        }
        let only_convolutions = |value: ValueId| {
            groups.iter().all(|group| match &group.kind {
                Kind::Convolution { groups: 1, .. } => !group.operands[1..].contains(&value),
                _ => !group.operands.contains(&value),
            })
        };
        let planar = inputs.iter().copied().filter(|&value| {
            let form = Form::of(&plan.values[value.0].shape);
            form.channels_first && form.channels < 4 && !outputs.contains(&value) && only_convolutions(value)
        });
        Compiler {
            engine,
            plan,
            parents,
            planar: planar.collect(),
            on_cpu: inputs.iter().map(|&input| (input, false)).collect(),
            places: HashMap::new(),
            sizes: Vec::new(),
            instructions: Vec::new(),
        }
    }

    fn form(&self, value: ValueId) -> Form {
        Form::of(&self.plan.values[value.0].shape)
    }

    /// Where a value lies, or is to lie.
    fn place(&mut self, value: ValueId) -> Place {
        if let Some(place) = self.places.get(&value) {
            return *place;
        }
        let form = self.form(value);
        let place = match self.parents[value.0] {
            Some((parent, channel)) => {
                let parent = self.place(parent);
                Place { form, channel: parent.channel + channel, ..parent }
            }
            None => {
                let planar = self.planar.contains(&value);
                let mut place = Place { slot: 0, form, channel: 0, pixel: form.channels.next_multiple_of(4), planar };
                place.slot = self.buffer(place.size());
                place
            }
        };
        self.places.insert(value, place);
        place
    }

    fn buffer(&mut self, size: usize) -> usize {
        self.sizes.push(size);
        self.sizes.len() - 1
    }

    /// Where a value lies that is there already.
    fn operand(&mut self, value: ValueId) -> Place {
        let place = self.place(value);
        if let Some(imported @ false) = self.on_cpu.get_mut(&value) {
            *imported = true;
            self.instructions.push(Instruction::Import(value));
        }
        place
    }

    fn launch(&mut self, mut shader: Shader, sizes: Sizes, tail: &[f32], places: [Place; 2], other: Option<Place>) {
        let [input, output] = places;
        shader.shared.input = input.slot == output.slot;
        shader.shared.other = other.is_some_and(|other| other.slot == output.slot);
        self.push(shader, sizes, tail, None, [input.slot, output.slot], other.map(|other| other.slot));
    }

    fn push(
        &mut self,
        shader: Shader,
        sizes: Sizes,
        tail: &[f32],
        weights: Option<Rc<Buffer>>,
        [input, output]: [usize; 2],
        other: Option<usize>,
    ) {
        let groups = shader.groups(&sizes);
        let parameters = self.engine.gpu.filled(&sizes.parameters(groups[2], tail));
        self.instructions.push(Instruction::Launch(Launch {
            shader,
            groups,
            parameters,
            weights,
            output,
            input,
            other,
        }));
    }

    fn copy(&mut self, forms: [Form; 2], from: Place, to: Place, change: impl FnOnce(&mut Sizes)) {
        let (shader, mut sizes) = copy(forms, from.strides(), to);
        change(&mut sizes);
        self.launch(shader, sizes, &[], [from, to], None);
    }

    fn emit(&mut self, group: &Group) {
        if let Kind::Step = group.kind {
            self.instructions.push(Instruction::Step { step: group.last, done: Vec::new() });
            self.on_cpu.insert(group.output, false);
            return;
        }
        let operands: Vec<Place> = group.operands.iter().map(|&value| self.operand(value)).collect();
        let (input, output) = (operands[0], self.place(group.output));
        let (x, out) = (input.form, output.form);
        let vectors = out.channels.div_ceil(4);
        let lanes = Shader::lanes_for(vectors);
        let sizes = Sizes {
            pixels: out.height * out.width,
            width: out.width,
            vectors,
            depth: x.channels.div_ceil(4),
            input_size: [x.height, x.width],
            kernel: [1, 1],
            stride: [1, 1],
            dilation: [1, 1],
            input: input.vector_strides(),
            output: output.vector_strides(),
            channels: x.channels,
            ..Sizes::default()
        };
        let windowed = |sizes: Sizes, window: &Window| Sizes {
            kernel: window.kernel,
            stride: window.stride,
            dilation: window.dilation,
            padding: window.padding.map(|padding| padding as isize),
            ..sizes
        };
        match &group.kind {
            Kind::Convolution { function, .. } => {
                let (function, parameters) = Last::of(*function);
                self.convolution(group, [input, output], Sizes { parameters, ..sizes }, function);
            }
            Kind::Pool { window, kind, factors } => {
                let max = *kind == PoolKind::Max;
                let whole = out.single() && window.kernel == [x.height, x.width] && window.padding == [0, 0];
                let kind = match whole {
                    true => shaders::Kind::Whole { max },
                    false => shaders::Kind::Pool { max, each: factors.len() > 1 },
                };
                let start = if max { f32::NEG_INFINITY } else { 0. };
                let sizes = Sizes { factor: factors[0], start, ..windowed(sizes, window) };
                let tail = if factors.len() > 1 { padded(factors) } else { Vec::new() };
                self.launch(shader(kind, Last::Plain, lanes), sizes, &tail, [input, output], None);
            }
            Kind::Map { scale, shift, function } => {
                let (function, parameters) = Last::of(*function);
                let tail = [padded(scale), padded(shift)].concat();
                let shader = shader(shaders::Kind::Map, function, lanes);
                self.launch(shader, Sizes { parameters, ..sizes }, &tail, [input, output], None);
            }
            Kind::Combine { combine, finish } => {
                let (function, parameters) = Last::of(Function::Finish(*finish));
                let second = operands[1];
                let mut other = second.vector_strides();
                if second.form.single() {
                    other.pixel = 0;
                }
                let shader = shader(shaders::Kind::Combine(*combine), function, lanes);
                self.launch(shader, Sizes { parameters, other, ..sizes }, &[], [input, output], Some(second));
            }
            Kind::Concat => {
                let mut channel = 0;
                for (index, &operand) in operands.iter().enumerate() {
                    if self.parents[group.operands[index].0] != Some((group.output, channel)) {
                        let form = operand.form;
                        let to = Place { form, channel: output.channel + channel, ..output };
                        let last = index + 1 == operands.len();
                        // The last part fills the vector that it ends in.
                        let end =
                            if last { (channel + form.channels).next_multiple_of(4) } else { channel + form.channels };
                        self.copy([form; 2], operand, to, |sizes| sizes.vectors = end - channel);
                    }
                    channel += operand.form.channels;
                }
            }
            Kind::View { channel } => {
                if self.parents[group.output.0].is_none_or(|(parent, _)| parent != group.operands[0]) {
                    self.copy([x, out], input, output, |sizes| sizes.first = *channel as isize);
                }
            }
            Kind::Pick { start, step } => self.copy([x, out], input, output, |sizes| {
                sizes.stride = *step;
                sizes.padding = start.map(|start| -(start as isize));
            }),
            Kind::Pad { before: [channel, y, x_before], value } => self.copy([x, out], input, output, |sizes| {
                sizes.first = -(*channel as isize);
                sizes.padding = [*y as isize, *x_before as isize];
                sizes.start = *value;
            }),
            Kind::Shuffle { groups } => self.copy([x, out], input, output, |sizes| sizes.groups = *groups),
            Kind::Step => {}
        }
    }

    fn convolution(&mut self, group: &Group, [mut input, output]: [Place; 2], sizes: Sizes, function: Last) {
        let Kind::Convolution { window, groups, weights, bias, affine, addend, .. } = &group.kind else { return };
        let (x, out, vectors) = (input.form, output.form, sizes.vectors);
        let addend = addend.map(|value| self.operand(value));
        let depthwise = *groups > 1 && *groups == x.channels && *groups == out.channels;
        let numbers = input.planar || (*groups > 1 && !depthwise);
        if numbers && input.slot == output.slot {
            // Numbers and vectors of one buffer can't be bound at once.
            let apart = Place { slot: self.buffer(0), channel: 0, pixel: x.channels.next_multiple_of(4), ..input };
            self.sizes[apart.slot] = apart.size();
            self.copy([x, x], input, apart, |_| {});
            input = apart;
        }
        let reach = |i: usize, size: usize, outputs: usize| {
            (outputs - 1) * window.stride[i] + (window.kernel[i] - 1) * window.dilation[i] >= size + window.padding[i]
        };
        let edges = window.padding != [0, 0] || reach(0, x.height, out.height) || reach(1, x.width, out.width);
        let per_group = out.channels / groups;
        let (is_affine, has_addend) = (affine.is_some(), addend.is_some());
        let row = *groups == 1 && x.single() && out.single() && window.kernel == [1, 1] && !numbers;
        let (kind, order, lanes) = if row {
            (shaders::Kind::Row { affine: is_affine, addend: has_addend }, Order::Vectors, 8)
        } else if depthwise {
            let kind = shaders::Kind::Depthwise { pixels: 4, affine: is_affine, addend: has_addend };
            (kind, Order::Depthwise, Shader::lanes_for(vectors))
        } else {
            let tile = if vectors > 1 && (*groups == 1 || per_group.is_multiple_of(8)) { 2 } else { 1 };
            let (read, order) =
                if numbers { (Input::Numbers, Order::Numbers) } else { (Input::Vectors, Order::Vectors) };
            let kind = shaders::Kind::Convolution {
                input: read,
                pixels: 4,
                vectors: tile,
                edges,
                affine: is_affine,
                addend: has_addend,
            };
            (kind, order, Shader::lanes_for(vectors.div_ceil(tile as usize)))
        };
        let mut shader = shader(kind, function, lanes);
        shader.shared.input = input.slot == output.slot;
        shader.shared.other = addend.is_some_and(|addend| addend.slot == output.slot);
        let sizes = Sizes {
            kernel: window.kernel,
            stride: window.stride,
            dilation: window.dilation,
            padding: window.padding.map(|padding| padding as isize),
            depth: if numbers { x.channels / groups } else { sizes.depth },
            input: if numbers { input.strides() } else { input.vector_strides() },
            other: addend.map(|addend| addend.vector_strides()).unwrap_or_default(),
            outputs_per_group: if *groups == 1 { 4 * vectors } else { per_group },
            ..sizes
        };
        let mut tail = padded(bias);
        for own in affine.iter().flatten() {
            tail.extend(padded(own));
        }
        let sides = [out.channels, x.channels / groups, window.kernel[0], window.kernel[1]];
        let weights = self.engine.weights(self.plan, *weights, order, sides);
        let slots = [input.slot, output.slot];
        self.push(shader, sizes, &tail, Some(weights), slots, addend.map(|addend| addend.slot));
    }
}

/// One number a channel, in whole vectors.
fn padded(numbers: &[f32]) -> Vec<f32> {
    let mut padded = numbers.to_vec();
    padded.resize(numbers.len().next_multiple_of(4), 0.);
    padded
}
