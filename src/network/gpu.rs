//! A stretch of a plan, compiled for the GPU: parameters packed on the device, every buffer and launch decided.
//!
//! Steps are fused first (`network/fuse.rs`). Values lie channels last in vectors of four, each in a buffer of its own or,
//! concatenated, side by side in one; burn sees them as tensors with strides, so that nothing is copied for it. Steps without
//! a shader run on burn between the launches.
//!
//! **Invariants.** Values that burn reads begin where their buffer begins: devices bind buffers at multiples of 256 bytes
//! only. Burn's way through the same steps is the definition.

use std::cell::RefCell;
use std::collections::HashMap;

use burn_cubecl::cubecl::prelude::{Client, CubeCount};
use burn_cubecl::cubecl::server::{Handle, KernelArguments};
use burn_cubecl::cubecl::zspace::metadata::Metadata;
use burn_cubecl::tensor::CubeTensor;
use burn_cubecl::{Cube, CubeDevice};
use burn_tensor::{Bytes, DType};

use super::fuse::{Form, Group, Kind, Weights, groups, parents};
use super::plan::{Plan, Source, ValueId, rank4};
use super::run;
use crate::formula::{Function, PoolKind, Window};
use crate::shaders::{self, Input, Last, Operand, Shader, Shared, Sizes, Strides};
use crate::tensor::{Device, Tensor};

/// What a device's programs share: the client that launches, and weights in the shaders' order.
pub(super) struct Gpu {
    client: Client,
    device: CubeDevice,
    weights: RefCell<HashMap<(Weights, Order), Handle>>,
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
    /// What nobody needs after each of them.
    done: Vec<Done>,
    /// Of each buffer the numbers for one image.
    sizes: Vec<usize>,
    /// Where values lie that burn looks at.
    places: HashMap<ValueId, Place>,
    /// How many of the plan's steps it does.
    pub steps: u64,
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

    /// Those of a tensor of burn's, if a value of this form lies in it with even steps.
    fn strides_in(&self, tensor: &CubeTensor, sides: [usize; 4], batch_axis: usize, images: usize) -> Option<Strides> {
        let (shape, strides) = (tensor.meta.shape(), tensor.meta.strides());
        let image = match shape[batch_axis] == sides[batch_axis] && images > 1 {
            true => 0,
            false => sides[batch_axis] * strides[batch_axis],
        };
        if self.form.channels_first {
            return Some(Strides { offset: 0, image, row: strides[2], pixel: strides[3], channel: strides[1] });
        }
        let row = if sides[1] > 1 { strides[1] } else { strides[0] };
        let even = sides[0] == 1 || sides[1] == 1 || strides[0] == sides[1] * strides[1];
        even.then_some(Strides { offset: 0, image, row, pixel: strides[2], channel: strides[3] })
    }

    /// Whether numbers with these strides lie as this place has them.
    fn is_like(&self, other: Strides, images: usize) -> bool {
        let own = self.strides();
        let Form { height, width, channels, .. } = self.form;
        // The buffer holds this value and nothing else.
        let whole = self.planar || (channels.is_multiple_of(4) && self.pixel == channels);
        whole
            && own.offset == 0
            && (images == 1 || own.image == other.image)
            && (height == 1 || own.row == other.row)
            && (width == 1 || own.pixel == other.pixel)
            && (channels == 1 || own.channel == other.channel)
    }
}

enum Instruction {
    /// A tensor of burn's (an input, or what a step made) into a buffer.
    Import {
        value: ValueId,
        place: Place,
    },
    Launch(Launch),
    /// A step as burn runs it.
    Step {
        step: usize,
    },
}

/// Buffers and tensors to let go.
struct Done {
    slots: Vec<usize>,
    tensors: Vec<ValueId>,
}

/// A shader and what it is given.
struct Launch {
    shader: Shader,
    groups: [u32; 2],
    parameters: Handle,
    weights: Option<Handle>,
    output: usize,
    input: usize,
    other: Option<usize>,
}

impl Gpu {
    /// Only burn's GPU device launches shaders; the tensor tells which that is.
    pub(super) fn on(device: &Device) -> Option<Gpu> {
        #[cfg(feature = "cpu")]
        if *device == Device::flex() {
            return None;
        }
        let probe = primitive(super::tensor(vec![0.], [1, 1, 1, 1], device))?;
        Some(Gpu { client: probe.client, device: probe.device, weights: RefCell::default() })
    }

    /// The same device, with no weights on it yet.
    pub(super) fn empty(&self) -> Gpu {
        Gpu { client: self.client.clone(), device: self.device.clone(), weights: RefCell::default() }
    }

    fn upload(&self, parameters: Vec<u32>) -> Handle {
        self.client.create(Bytes::from_elems(parameters))
    }

    fn launch(&self, shader: Shader, groups: [u32; 2], images: usize, buffers: impl Fn(Operand) -> Handle) {
        let bindings = shader.operands().into_iter().map(|operand| buffers(operand).binding());
        let arguments = bindings.fold(KernelArguments::new(), KernelArguments::with_buffer);
        let count = CubeCount::Static(groups[0], groups[1], images as u32);
        self.client.launch(Box::new(shader), count, arguments);
    }

    /// Weights `[outputs, inputs, rows, columns]`, `sides`, in the shaders' order.
    fn weights(&self, plan: &Plan, weights: Weights, order: Order, sides: [usize; 4]) -> Handle {
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
            self.client.create(Bytes::from_elems(packed))
        };
        self.weights.borrow_mut().entry((weights, order)).or_insert_with(pack).clone()
    }
}

fn primitive(tensor: Tensor<4>) -> Option<CubeTensor> {
    tensor.try_into_primitive::<Cube>().ok()
}

impl Program {
    /// Compiles the `chosen` steps, which need `inputs` and lead to `outputs`.
    pub(super) fn new(gpu: &Gpu, plan: &Plan, chosen: &[usize], inputs: &[ValueId], outputs: &[ValueId]) -> Program {
        let groups = groups(plan, chosen, outputs);
        let mut compiler = Compiler::new(gpu, plan, &groups, inputs, outputs);
        for group in &groups {
            compiler.emit(group);
        }
        let mut last_slot = vec![0; compiler.sizes.len()];
        let mut last_tensor: HashMap<ValueId, usize> = HashMap::new();
        for (index, instruction) in compiler.instructions.iter().enumerate() {
            match instruction {
                Instruction::Import { value, place } => {
                    last_slot[place.slot] = index;
                    last_tensor.insert(*value, index);
                }
                Instruction::Launch(launch) => {
                    let slots = [Some(launch.output), Some(launch.input), launch.other];
                    slots.into_iter().flatten().for_each(|slot| last_slot[slot] = index);
                }
                Instruction::Step { step } => {
                    for value in plan.steps[*step].inputs.iter().filter_map(Source::value) {
                        match compiler.tensors.contains_key(&value) {
                            true => _ = last_tensor.insert(value, index),
                            false => last_slot[compiler.places[&value].slot] = index,
                        }
                    }
                }
            }
        }
        for output in outputs {
            last_tensor.remove(output);
            if let Some(place) = compiler.places.get(output) {
                last_slot[place.slot] = usize::MAX;
            }
        }
        let done = (0..compiler.instructions.len()).map(|index| Done {
            slots: (0..last_slot.len()).filter(|&slot| last_slot[slot] == index).collect(),
            tensors: last_tensor.iter().filter(|(_, last)| **last == index).map(|(value, _)| *value).collect(),
        });
        let done = done.collect();
        Program {
            inputs: inputs.to_vec(),
            outputs: outputs.to_vec(),
            instructions: compiler.instructions,
            done,
            sizes: compiler.sizes,
            places: compiler.places,
            steps: chosen.len() as u64,
        }
    }

    /// Runs the steps for `images` images at once. `inputs` and the results are in the order of [`Program::new`]; an input
    /// of one image serves for all.
    pub(super) fn run(
        &self,
        gpu: &Gpu,
        inputs: Vec<Tensor<4>>,
        images: usize,
        plan: &Plan,
        constant: &dyn Fn(usize) -> Tensor<4>,
    ) -> Vec<Tensor<4>> {
        let mut slots: Vec<Option<Handle>> = vec![None; self.sizes.len()];
        let mut tensors: HashMap<ValueId, Tensor<4>> = self.inputs.iter().copied().zip(inputs).collect();
        let shape = |value: ValueId| plan.device_shape(value, images);
        for (index, instruction) in self.instructions.iter().enumerate() {
            let room = |slots: &mut Vec<Option<Handle>>, slot: usize| {
                slots[slot].get_or_insert_with(|| gpu.client.empty(4 * self.sizes[slot] * images)).clone()
            };
            match instruction {
                Instruction::Import { value, place } => {
                    let mut tensor = primitive(tensors[value].clone()).expect("the program runs on its own device");
                    let sides = rank4(&plan.values[value.0].shape);
                    let strides =
                        |tensor: &CubeTensor| place.strides_in(tensor, sides, plan.batch_axis(*value), images);
                    let from = strides(&tensor).unwrap_or_else(|| {
                        tensor = burn_cubecl::kernel::into_contiguous(tensor.clone());
                        strides(&tensor).expect("a contiguous tensor has even steps")
                    });
                    let starts = tensor.handle.offset_start.is_none_or(|offset| offset == 0);
                    if starts && slots[place.slot].is_none() && place.is_like(from, images) {
                        slots[place.slot] = Some(tensor.handle);
                    } else {
                        let output = room(&mut slots, place.slot);
                        let (shader, sizes) = copy([place.form; 2], from, *place);
                        let parameters = gpu.upload(sizes.parameters(&[]));
                        gpu.launch(shader, shader.groups(&sizes), images, |operand| match operand {
                            Operand::Output => output.clone(),
                            Operand::Parameters => parameters.clone(),
                            _ => tensor.handle.clone(),
                        });
                    }
                }
                Instruction::Launch(launch) => {
                    let output = room(&mut slots, launch.output);
                    let handle = |slot: usize| slots[slot].clone().expect("it was written before");
                    gpu.launch(launch.shader, launch.groups, images, |operand| match operand {
                        Operand::Output => output.clone(),
                        Operand::Parameters => launch.parameters.clone(),
                        Operand::Input => handle(launch.input),
                        Operand::Weights => launch.weights.clone().expect("the shader has weights"),
                        Operand::Other => handle(launch.other.expect("the shader has another operand")),
                    });
                }
                Instruction::Step { step } => {
                    let step = &plan.steps[*step];
                    let operands: Vec<Tensor<4>> = step
                        .inputs
                        .iter()
                        .map(|source| match source {
                            Source::Constant(index) => constant(*index),
                            Source::Value(value) => self.tensor(gpu, &slots, &tensors, *value, shape(*value)),
                        })
                        .collect();
                    // Burn computes in place where nobody else holds a tensor.
                    self.let_go(index, &mut slots, &mut tensors);
                    tensors.insert(step.output, run::run(&step.op, &operands, shape(step.output)));
                }
            }
            self.let_go(index, &mut slots, &mut tensors);
        }
        self.outputs.iter().map(|&value| self.tensor(gpu, &slots, &tensors, value, shape(value))).collect()
    }

    /// Whether several images lie one after the other along the first axis of every value: not if that is the channels'.
    pub(super) fn stacks(&self, plan: &Plan) -> bool {
        let stacks = |value: &ValueId| plan.values[value.0].shape.len() > 1;
        self.inputs.iter().chain(self.places.keys()).chain(&self.outputs).all(stacks)
    }

    pub(super) fn input(&self, position: usize) -> ValueId {
        self.inputs[position]
    }

    /// Joins the results of single images.
    pub(super) fn join(&self, images: Vec<Vec<Tensor<4>>>, axis: impl Fn(ValueId) -> usize) -> Vec<Tensor<4>> {
        let output = |(position, &value): (usize, &ValueId)| {
            Tensor::cat(images.iter().map(|results| results[position].clone()).collect(), axis(value))
        };
        self.outputs.iter().enumerate().map(output).collect()
    }

    /// Drops what no instruction after this one needs.
    fn let_go(&self, index: usize, slots: &mut [Option<Handle>], tensors: &mut HashMap<ValueId, Tensor<4>>) {
        for &slot in &self.done[index].slots {
            slots[slot] = None;
        }
        for value in &self.done[index].tensors {
            tensors.remove(value);
        }
    }

    /// A value as burn sees it.
    fn tensor(
        &self,
        gpu: &Gpu,
        slots: &[Option<Handle>],
        tensors: &HashMap<ValueId, Tensor<4>>,
        value: ValueId,
        shape: [usize; 4],
    ) -> Tensor<4> {
        if let Some(tensor) = tensors.get(&value) {
            // An input of one image serves for all of them.
            return if tensor.dims() == shape { tensor.clone() } else { tensor.clone().expand(shape) };
        }
        let place = &self.places[&value];
        let handle = slots[place.slot].clone().expect("it is kept as long as burn needs it");
        let [_, rows, columns, _] = shape;
        let strides = match place.form.channels_first {
            true => {
                let Strides { image, row, pixel, channel, .. } = place.strides();
                [image, channel, row, pixel]
            }
            // Images lie one after the other along the first axis that the value has.
            false => [rows * columns * place.pixel, columns * place.pixel, place.pixel, 1],
        };
        let meta = Metadata::new(shape, strides);
        let tensor = CubeTensor::new(gpu.client.clone(), handle, meta, gpu.device.clone(), DType::F32);
        Tensor::from_primitive::<Cube>(tensor)
    }
}

/// Numbers of a value with these strides to a place, for each of its pixels; channels beyond those that there are read zero.
fn copy([input, output]: [Form; 2], from: Strides, to: Place) -> (Shader, Sizes) {
    let numbers = if to.planar { output.channels } else { output.channels.next_multiple_of(4) };
    let shader = shader(shaders::Kind::Copy, Last::Plain, 8);
    let sizes = Sizes {
        pixels: output.height * output.width,
        width: output.width,
        vectors: numbers,
        input_size: [input.height, input.width],
        stride: [1, 1],
        channels: input.channels,
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
    gpu: &'a Gpu,
    plan: &'a Plan,
    /// The value that a value is a part of, and the channel of it at which it begins.
    parents: Vec<Option<(ValueId, usize)>>,
    /// Pictures that only convolutions read.
    planar: Vec<ValueId>,
    /// Values that are tensors of burn's; of them those that were imported.
    tensors: HashMap<ValueId, bool>,
    places: HashMap<ValueId, Place>,
    /// Of each buffer the numbers for one image.
    sizes: Vec<usize>,
    instructions: Vec<Instruction>,
}

impl<'a> Compiler<'a> {
    fn new(gpu: &'a Gpu, plan: &'a Plan, groups: &[Group], inputs: &[ValueId], outputs: &[ValueId]) -> Compiler<'a> {
        let mut parents = parents(plan, groups);
        // Burn reads from the beginning of a buffer on.
        let steps = groups.iter().filter(|group| matches!(group.kind, Kind::Step)).flat_map(|group| &group.operands);
        for &value in steps.chain(outputs) {
            let mut at = parents[value.0];
            while let Some((parent, channel)) = at {
                if channel > 0 {
                    parents[value.0] = None;
                    break;
                }
                at = parents[parent.0];
            }
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
            gpu,
            plan,
            parents,
            planar: planar.collect(),
            tensors: inputs.iter().map(|&input| (input, false)).collect(),
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
        if let Some(imported @ false) = self.tensors.get_mut(&value) {
            *imported = true;
            self.instructions.push(Instruction::Import { value, place });
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
        weights: Option<Handle>,
        [input, output]: [usize; 2],
        other: Option<usize>,
    ) {
        let parameters = self.gpu.upload(sizes.parameters(tail));
        let groups = shader.groups(&sizes);
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
            self.instructions.push(Instruction::Step { step: group.last });
            self.tensors.insert(group.output, false);
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
        let weights = self.gpu.weights(self.plan, *weights, order, sides);
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
