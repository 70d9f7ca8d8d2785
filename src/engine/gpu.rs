//! A stretch of a plan, compiled for a graphics card: every buffer and dispatch decided, parameters packed on the card.
//!
//! Steps are fused first (`schedule.rs`). Values lie channels last in vectors of four, concatenated ones side by side in
//! one buffer; values that do not live at the same time share one. Steps without a shader run on burn's tensors on the same
//! card between the dispatches.
//!
//! **Invariants.** A value that no dispatch computes has a place of its own. Burn's way through the same steps is the definition.

use std::borrow::Cow;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use burn::tensor::ops::PadMode;
use burn::tensor::{Tensor, TensorData};

use super::card;
use super::cpu::Placed;
use super::reference::Reference;
use super::{Engine, Images, Kept, Later, Program, Stretch};
use crate::Result;
use crate::formula::{Function, PoolKind, Window};
use crate::gpu::{Bound, Buffer, Gpu as Card, Wanted, Watch};
use crate::kernels::Planes;
use crate::plan::{Plan, Source, ValueId};
use crate::schedule::{Back, Form, Group, Kind, Life, Weights, buffers, groups, parents};
use crate::shaders::{self, Edges, Epilogue, Input, Operand, Shader, Shared, Sizes, Strides};

mod product;

/// The card, for one plan.
pub(crate) struct Gpu {
    common: Rc<Common>,
    reference: Rc<Reference>,
}

impl Gpu {
    pub(crate) fn new(card: Rc<Card>, reference: Rc<Reference>) -> Gpu {
        Gpu { common: Rc::new(Common::new(card)), reference }
    }
}

impl Engine for Gpu {
    fn compile(&self, stretch: Stretch) -> Box<dyn Program> {
        let code = Code::new(&self.common, &self.reference.plan, &stretch);
        Box::new(Compiled { code, common: self.common.clone(), reference: self.reference.clone() })
    }

    fn plan(&self) -> &Plan {
        &self.reference.plan
    }

    fn cpu_steps(&self) -> u64 {
        self.common.cpu_steps.get()
    }

    fn with_reference(&self, reference: Rc<Reference>) -> Rc<dyn Engine> {
        // A way back has the constants of the way forward.
        let is_same = Rc::ptr_eq(&reference.plan.constants, &self.reference.plan.constants);
        let common = if is_same { self.common.clone() } else { Rc::new(self.common.for_another_plan()) };
        Rc::new(Gpu { common, reference })
    }
}

/// Code with what it runs by.
struct Compiled {
    code: Code,
    common: Rc<Common>,
    reference: Rc<Reference>,
}

impl Program for Compiled {
    fn run<'a>(&'a self, inputs: &'a [Images<'a>], images: usize, skipped: usize) -> Later<'a> {
        Box::pin(async move {
            let Compiled { code, common, reference } = self;
            let stacks = reference.plan.batches && code.stacks(&reference.plan);
            if images == 1 || stacks && images <= code.most_images(common) {
                return code.run(common, inputs, images, skipped, reference).await;
            }
            let mut joined = Vec::new();
            for image in 0..images {
                let inputs = of_image(inputs, image);
                join(&mut joined, code.run(common, &inputs, 1, skipped, reference).await?);
            }
            Ok(joined)
        })
    }
}

/// What there is of one image.
fn of_image<'a>(inputs: &[Images<'a>], image: usize) -> Vec<Images<'a>> {
    inputs.iter().map(|input| Images { numbers: input.of(image), count: 1 }).collect()
}

/// Puts the results of the next image behind those that there are.
fn join(joined: &mut Vec<Vec<f32>>, results: Vec<Vec<f32>>) {
    if joined.is_empty() {
        *joined = results;
    } else {
        joined.iter_mut().zip(results).for_each(|(joined, result)| joined.extend(result));
    }
}

/// What the programs of a network share: the card and, as long as one of them takes it, what lies there of the constants.
struct Common {
    gpu: Rc<Card>,
    /// Weights in the shaders' order.
    weights: Kept<(Weights, Order), Buffer>,
    /// Constants as they are, one behind the other.
    matrices: Kept<Vec<usize>, Buffer>,
    /// The plan's constants as burn takes them, from their first use on.
    constants: OnceCell<Vec<OnceCell<Tensor<4>>>>,
    /// How many steps the CPU had to run.
    cpu_steps: Rc<Cell<u64>>,
}

/// How weights are laid out.
#[derive(Clone, Copy, PartialEq)]
enum Order {
    Vectors,
    Numbers,
    Depthwise,
}

/// Compiled steps.
struct Code {
    inputs: Vec<ValueId>,
    outputs: Vec<ValueId>,
    instructions: Vec<Instruction>,
    /// Of each buffer the numbers for one image.
    sizes: Vec<usize>,
    /// Where values lie that the CPU writes or reads.
    places: HashMap<ValueId, Place>,
    /// Buffers and bind groups of the last run, to be used again; `None` while a run holds them.
    bindings: RefCell<Option<Bindings>>,
}

/// The buffers for so many images at once, and every dispatch with those that it takes.
struct Bindings {
    images: usize,
    buffers: Vec<Buffer>,
    dispatches: Vec<Bound>,
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

    /// The value as burn takes it, `shape` in the file's order, from such a buffer; `dispatches` come before.
    fn tensor(
        &self,
        gpu: &Card,
        dispatches: &[&Bound],
        buffer: &Buffer,
        images: usize,
        shape: [usize; 4],
    ) -> Tensor<4> {
        let Form { height, width, channels, channels_first } = self.form;
        if self.planar {
            return gpu.tensor(dispatches, buffer, shape);
        }
        let mut value = gpu.tensor(dispatches, buffer, [images, height, width, self.pixel]);
        if self.pixel != channels {
            value = value.narrow(3, self.channel, channels);
        }
        if channels_first { value.permute([0, 3, 1, 2]) } else { value.reshape(shape) }
    }

    /// What such a buffer holds of a value that burn computed.
    fn filled(&self, value: Tensor<4>, images: usize) -> Tensor<4> {
        let Form { height, width, channels, channels_first } = self.form;
        if self.planar {
            return value;
        }
        let value = match channels_first {
            true => value.permute([0, 2, 3, 1]),
            false => value.reshape([images, height, width, channels]),
        };
        let beyond = self.pixel - channels;
        if beyond == 0 { value } else { value.pad([(0, 0), (0, 0), (0, 0), (0, beyond)], PadMode::Constant(0.)) }
    }
}

enum Instruction {
    /// A value that no dispatch computes to its place.
    Import(ValueId),
    Dispatch(Dispatch),
    /// A step on burn's tensors, on the card unless it is beyond what that takes, and the values that none after it takes.
    Step {
        step: usize,
        on_card: bool,
        done: Vec<ValueId>,
    },
}

/// A shader and what it is given.
struct Dispatch {
    shader: Shader,
    groups: [u32; 3],
    parameters: Buffer,
    weights: Option<Rc<Buffer>>,
    output: usize,
    input: usize,
    other: Option<usize>,
}

impl Dispatch {
    fn slots(&self) -> impl Iterator<Item = usize> {
        [Some(self.output), Some(self.input), self.other].into_iter().flatten()
    }
}

/// A value that is in none of the shared buffers.
#[allow(clippy::large_enum_variant, reason = "a few of them live at a time")]
enum Apart<'a> {
    OnCpu(Numbers<'a>),
    /// Of all images, in the file's order.
    OnCard(Tensor<4>),
}

/// A value on the CPU, of one image or of each.
#[derive(Clone)]
struct Numbers<'a> {
    numbers: Cow<'a, [f32]>,
    images: usize,
}

impl Common {
    fn new(gpu: Rc<Card>) -> Common {
        Common {
            gpu,
            weights: Kept::default(),
            matrices: Kept::default(),
            constants: OnceCell::new(),
            cpu_steps: Rc::default(),
        }
    }

    /// The same card, with no parameters on it yet.
    fn for_another_plan(&self) -> Common {
        Common { cpu_steps: self.cpu_steps.clone(), ..Common::new(self.gpu.clone()) }
    }

    /// The way step by step on the card.
    fn tape<'a>(&'a self, plan: &'a Plan) -> card::Tape<'a> {
        let constants = self.constants.get_or_init(|| vec![OnceCell::new(); plan.constants.len()]);
        card::Tape { plan, device: self.gpu.burn(), constants }
    }

    /// A tensor of burn's on the card.
    fn upload(&self, numbers: Vec<f32>, shape: [usize; 4]) -> Tensor<4> {
        Tensor::from_data(TensorData::new(numbers, shape), self.gpu.burn())
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
        self.weights.get(weights.constant, (weights, order), pack)
    }
}

impl Code {
    fn new(common: &Common, plan: &Plan, stretch: &Stretch) -> Code {
        let Stretch { steps: chosen, inputs, outputs } = stretch;
        let groups = groups(plan, chosen, outputs, common.gpu.max_elements());
        let mut compiler = Compiler::new(common, plan, &groups, inputs, outputs);
        for group in &groups {
            compiler.emit(group);
        }
        let Compiler { mut instructions, mut places, sizes, apart, .. } = compiler;

        // From when to when each slot is in use, and the last use of each value that is in none.
        let mut lives: Vec<Option<Life>> = vec![None; sizes.len()];
        let mut last: HashMap<ValueId, usize> = HashMap::new();
        let mut live = |slot: usize, time: usize| {
            let life = lives[slot].get_or_insert(Life { size: sizes[slot], first: time, last: time });
            life.last = life.last.max(time);
        };
        for (time, instruction) in instructions.iter().enumerate() {
            match instruction {
                Instruction::Import(value) => {
                    live(places[value].slot, time);
                    last.insert(*value, time);
                }
                Instruction::Dispatch(dispatch) => dispatch.slots().for_each(|slot| live(slot, time)),
                Instruction::Step { step, .. } => {
                    for value in plan.steps[*step].inputs.iter().filter_map(Source::value) {
                        last.insert(value, time);
                        if !apart.contains_key(&value) {
                            live(places[&value].slot, time);
                        }
                    }
                }
            }
        }
        for output in outputs.iter().filter(|output| !apart.contains_key(output)) {
            live(places[output].slot, usize::MAX);
        }
        for (value, &time) in last.iter().filter(|(value, _)| !outputs.contains(value)) {
            if let Instruction::Step { done, .. } = &mut instructions[time] {
                done.push(*value);
            }
        }
        let mut shared = vec![0; lives.len()];
        let used: Vec<usize> = (0..lives.len()).filter(|&slot| lives[slot].is_some()).collect();
        let (found, sizes) = buffers(&lives.into_iter().flatten().collect::<Vec<Life>>());
        used.into_iter().zip(found).for_each(|(slot, buffer)| shared[slot] = buffer);
        places.values_mut().for_each(|place| place.slot = shared[place.slot]);
        for instruction in &mut instructions {
            if let Instruction::Dispatch(dispatch) = instruction {
                dispatch.input = shared[dispatch.input];
                dispatch.output = shared[dispatch.output];
                dispatch.other = dispatch.other.map(|slot| shared[slot]);
            }
        }
        let (inputs, outputs) = (inputs.to_vec(), outputs.to_vec());
        Code { inputs, outputs, instructions, sizes, places, bindings: RefCell::new(None) }
    }

    /// Runs the steps for `images` images at once. `inputs` and the results, of which the first `skipped` are not wanted, are
    /// in the order of the stretch; an input of one image serves for all.
    ///
    /// # Errors
    /// `DeviceError` if the card was lost or ran out of memory.
    async fn run(
        &self,
        common: &Common,
        inputs: &[Images<'_>],
        images: usize,
        skipped: usize,
        reference: &Reference,
    ) -> Result<Vec<Vec<f32>>> {
        let watch = common.gpu.watch();
        // Another run may begin while this one waits: it makes bindings of its own.
        let bindings = self.bindings.take().filter(|bindings| bindings.images == images);
        let bindings = bindings.unwrap_or_else(|| self.bindings_for(&common.gpu, images));
        let results = self.run_in(&bindings, watch, common, inputs, &self.outputs[skipped..], reference).await;
        self.bindings.replace(Some(bindings));
        results
    }

    fn bindings_for(&self, gpu: &Card, images: usize) -> Bindings {
        let buffers: Vec<Buffer> = self.sizes.iter().map(|size| gpu.buffer(size * images)).collect();
        let bound = |dispatch: &Dispatch| {
            let operands = dispatch.shader.operands().into_iter().map(|operand| match operand {
                Operand::Output => &buffers[dispatch.output],
                Operand::Parameters => &dispatch.parameters,
                Operand::Input => &buffers[dispatch.input],
                Operand::Weights => dispatch.weights.as_ref().expect("the shader has weights"),
                Operand::Other => &buffers[dispatch.other.expect("the shader has another operand")],
            });
            let [x, y, layers] = dispatch.groups;
            gpu.bind(dispatch.shader, operands, [x, y, layers * images as u32])
        };
        let dispatches = self.instructions.iter().filter_map(|instruction| match instruction {
            Instruction::Dispatch(dispatch) => Some(bound(dispatch)),
            _ => None,
        });
        let dispatches = dispatches.collect();
        Bindings { images, buffers, dispatches }
    }

    async fn run_in(
        &self,
        bindings: &Bindings,
        watch: Watch,
        common: &Common,
        inputs: &[Images<'_>],
        outputs: &[ValueId],
        reference: &Reference,
    ) -> Result<Vec<Vec<f32>>> {
        let (gpu, images, plan) = (&common.gpu, bindings.images, &reference.plan);
        let given = inputs
            .iter()
            .map(|input| Apart::OnCpu(Numbers { numbers: Cow::Borrowed(input.numbers), images: input.count }));
        let mut apart: HashMap<ValueId, Apart<'_>> = self.inputs.iter().copied().zip(given).collect();
        let mut dispatches = bindings.dispatches.iter();
        let mut queue: Vec<&Bound> = Vec::new();
        let mut watch = Some(watch);
        for instruction in &self.instructions {
            match instruction {
                Instruction::Dispatch(_) => queue.extend(dispatches.next()),
                Instruction::Import(value) => {
                    // What is written now comes after all that was dispatched before.
                    gpu.dispatch(&std::mem::take(&mut queue));
                    let place = &self.places[value];
                    let buffer = &bindings.buffers[place.slot];
                    match &apart[value] {
                        Apart::OnCpu(given) => gpu.write(buffer, &place.write(&given.numbers, images)),
                        Apart::OnCard(tensor) => gpu.take(place.filled(tensor.clone(), images), buffer),
                    }
                }
                Instruction::Step { step, on_card, done } => {
                    let step = &plan.steps[*step];
                    let shape = plan.device_shape(step.output, images);
                    let result = if *on_card {
                        let value = |value: ValueId| {
                            let shape = plan.device_shape(value, images);
                            match apart.get(&value) {
                                Some(Apart::OnCard(tensor)) => tensor.clone(),
                                Some(Apart::OnCpu(given)) => common.upload(given.of(images).into_owned(), shape),
                                None => {
                                    let place = &self.places[&value];
                                    let queue = std::mem::take(&mut queue);
                                    place.tensor(gpu, &queue, &bindings.buffers[place.slot], images, shape)
                                }
                            }
                        };
                        Apart::OnCard(card::run(&step.op, &common.tape(plan).operands(step, value), shape))
                    } else {
                        let values: Vec<ValueId> = step.inputs.iter().filter_map(Source::value).collect();
                        let watched = watch.take().expect("a watch begins where one ends");
                        self.bring(bindings, watched, gpu, &mut queue, &values, &mut apart).await?;
                        watch = Some(gpu.watch());
                        let result = reference.step(step, images, |value| apart[&value].numbers(images));
                        common.cpu_steps.set(common.cpu_steps.get() + 1);
                        Apart::OnCpu(Numbers { numbers: Cow::Owned(result), images })
                    };
                    done.iter().for_each(|value| drop(apart.remove(value)));
                    apart.insert(step.output, result);
                }
            }
        }
        let watch = watch.expect("a watch begins where one ends");
        self.bring(bindings, watch, gpu, &mut queue, outputs, &mut apart).await?;
        Ok(outputs.iter().map(|value| apart[value].numbers(images)).collect())
    }

    /// Brings those values to the CPU that are not there yet.
    async fn bring(
        &self,
        bindings: &Bindings,
        watch: Watch,
        gpu: &Card,
        queue: &mut Vec<&Bound>,
        values: &[ValueId],
        apart: &mut HashMap<ValueId, Apart<'_>>,
    ) -> Result<()> {
        let is_here = |value: &ValueId| matches!(apart.get(value), Some(Apart::OnCpu(_)));
        let mut missing: Vec<ValueId> = values.iter().copied().filter(|value| !is_here(value)).collect();
        // A value may be asked for twice: by name, and for what follows it.
        missing.sort();
        missing.dedup();
        let wanted = missing.iter().map(|value| match apart.get(value) {
            Some(Apart::OnCard(tensor)) => Wanted::tensor(tensor.clone()),
            _ => {
                let place = &self.places[value];
                Wanted::Buffer(&bindings.buffers[place.slot], place.size() * bindings.images)
            }
        });
        let wanted = wanted.collect::<Vec<_>>();
        let found = gpu.read(watch, &std::mem::take(queue), &wanted).await?;
        drop(wanted);
        for (value, found) in missing.into_iter().zip(found) {
            let numbers = match apart.get(&value) {
                Some(_) => found,
                None => self.places[&value].read(found, bindings.images),
            };
            apart.insert(value, Apart::OnCpu(Numbers { numbers: Cow::Owned(numbers), images: bindings.images }));
        }
        Ok(())
    }

    /// How many images it can run at once, at least one.
    fn most_images(&self, common: &Common) -> usize {
        let largest = self.sizes.iter().copied().max().unwrap_or(1);
        (common.gpu.max_elements() / largest.max(1)).max(1)
    }

    /// Whether several images lie one after the other along the first axis of every value: not if that is the channels'.
    fn stacks(&self, plan: &Plan) -> bool {
        let stacks = |value: &ValueId| plan.values[value.0].shape.len() > 1;
        self.inputs.iter().chain(self.places.keys()).chain(&self.outputs).all(stacks)
    }
}

impl Apart<'_> {
    /// The numbers of so many images, of a value that was brought to the CPU.
    fn numbers(&self, images: usize) -> Vec<f32> {
        match self {
            Apart::OnCpu(given) => given.of(images).into_owned(),
            Apart::OnCard(_) => unreachable!("it was brought to the CPU"),
        }
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

/// Numbers of a value with these strides to a place, for each of its pixels; channels beyond those that there are read zero.
fn copy([input, output]: [Form; 2], from: Strides, to: Place) -> (Shader, Sizes) {
    let numbers = output.channels.next_multiple_of(4);
    let shader = shader(shaders::Kind::Copy, Epilogue::Plain, 8);
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

fn shader(kind: shaders::Kind, function: Epilogue, lanes: u32) -> Shader {
    Shader { kind, function, shared: Shared::default(), lanes }
}

/// Decides buffers and dispatches, group by group.
struct Compiler<'a> {
    common: &'a Common,
    plan: &'a Plan,
    /// The value that a value is a part of, and the channel of it at which it begins.
    parents: Vec<Option<(ValueId, usize)>>,
    /// Pictures that only convolutions read.
    planar: Vec<ValueId>,
    /// Values that no dispatch computes, and whether they are in their places.
    apart: HashMap<ValueId, bool>,
    places: HashMap<ValueId, Place>,
    /// Of each slot the numbers for one image.
    sizes: Vec<usize>,
    instructions: Vec<Instruction>,
}

impl<'a> Compiler<'a> {
    fn new(
        common: &'a Common,
        plan: &'a Plan,
        groups: &[Group],
        inputs: &[ValueId],
        outputs: &[ValueId],
    ) -> Compiler<'a> {
        let mut parents = parents(plan, groups);
        let steps = groups.iter().filter(|group| is_burns(&group.kind)).map(|group| &group.output);
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
            common,
            plan,
            parents,
            planar: planar.collect(),
            apart: inputs.iter().map(|&input| (input, false)).collect(),
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
        if let Some(imported @ false) = self.apart.get_mut(&value) {
            *imported = true;
            self.instructions.push(Instruction::Import(value));
        }
        place
    }

    /// Whether the card takes everything that a step has to do with in one piece.
    fn fits(&self, step: usize) -> bool {
        let most = self.common.gpu.max_elements();
        let step = &self.plan.steps[step];
        let size = |source: &Source| match source {
            Source::Constant(index) => self.plan.constants[*index].values.len(),
            Source::Value(value) => self.plan.values[value.0].shape.iter().product(),
        };
        step.inputs.iter().all(|source| size(source) <= most) && size(&Source::Value(step.output)) <= most
    }

    fn dispatch(&mut self, mut shader: Shader, sizes: Sizes, tail: &[f32], places: [Place; 2], other: Option<Place>) {
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
        let parameters = self.common.gpu.filled(&sizes.parameters(groups[2], tail));
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

    fn copy(&mut self, forms: [Form; 2], from: Place, to: Place, change: impl FnOnce(&mut Sizes)) {
        let (shader, mut sizes) = copy(forms, from.strides(), to);
        change(&mut sizes);
        self.dispatch(shader, sizes, &[], [from, to], None);
    }

    fn emit(&mut self, group: &Group) {
        if is_burns(&group.kind) {
            let on_card = self.fits(group.last);
            self.instructions.push(Instruction::Step { step: group.last, on_card, done: Vec::new() });
            self.apart.insert(group.output, false);
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
            Kind::Convolution { window, groups, weights, bias, affine, addend, function } => {
                let (function, parameters) = Epilogue::of(*function);
                let reach = |i: usize, size: usize, outputs: usize| {
                    (outputs - 1) * window.stride[i] + (window.kernel[i] - 1) * window.dilation[i]
                        >= size + window.padding[i]
                };
                let around = window.padding != [0, 0] || reach(0, x.height, out.height) || reach(1, x.width, out.width);
                let edges = if around { Edges::Around } else { Edges::Inside };
                let addend = addend.map(|value| self.operand(value));
                let convolved = Convolved { groups: *groups, weights: *weights, bias, affine, addend };
                let sizes = Sizes { parameters, ..windowed(sizes, window) };
                self.convolution(convolved, [input, output], sizes, function, edges);
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
                self.dispatch(shader(kind, Epilogue::Plain, lanes), sizes, &tail, [input, output], None);
            }
            Kind::Map { scale, shift, function } => {
                let (function, parameters) = Epilogue::of(*function);
                let tail = [padded(scale), padded(shift)].concat();
                let shader = shader(shaders::Kind::Map, function, lanes);
                self.dispatch(shader, Sizes { parameters, ..sizes }, &tail, [input, output], None);
            }
            Kind::Combine { combine, rectifier } => {
                let (function, parameters) = Epilogue::of(Function::Rectifier(*rectifier));
                let second = operands[1];
                let mut other = second.vector_strides();
                if second.form.single() {
                    other.pixel = 0;
                }
                let shader = shader(shaders::Kind::Combine(*combine), function, lanes);
                self.dispatch(shader, Sizes { parameters, other, ..sizes }, &[], [input, output], Some(second));
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
            Kind::Back(Back::Convolution { window, groups, weights }) => {
                let none = (vec![0.; out.channels], None, None);
                let turned = Sizes {
                    kernel: window.kernel,
                    stride: window.stride,
                    padding: std::array::from_fn(|i| window.kernel[i] as isize - 1 - window.padding[i] as isize),
                    ..sizes
                };
                let convolved =
                    Convolved { groups: *groups, weights: *weights, bias: &none.0, affine: &none.1, addend: none.2 };
                self.convolution(convolved, [input, output], turned, Epilogue::Plain, Edges::Between);
            }
            Kind::Back(Back::MaxPool(window)) => {
                let gradient = operands[1];
                let sizes = Sizes {
                    other: gradient.vector_strides(),
                    other_size: [gradient.form.height, gradient.form.width],
                    ..windowed(sizes, window)
                };
                let shader = shader(shaders::Kind::MaxBack, Epilogue::Plain, lanes);
                self.dispatch(shader, sizes, &[], [input, output], Some(gradient));
            }
            Kind::Back(Back::SumPool { window, factors }) => {
                let each = factors.len() > 1;
                let tail = if each { padded(factors) } else { Vec::new() };
                let sizes = Sizes { factor: factors[0], ..windowed(sizes, window) };
                let shader = shader(shaders::Kind::SumBack { each }, Epilogue::Plain, lanes);
                self.dispatch(shader, sizes, &tail, [input, output], None);
            }
            // As of a window of one pixel that meets none of the others.
            Kind::Back(Back::Place { start, step }) => {
                let padding = start.map(|start| -(start as isize));
                let sizes = Sizes { stride: *step, padding, factor: 1., ..sizes };
                let shader = shader(shaders::Kind::SumBack { each: false }, Epilogue::Plain, lanes);
                self.dispatch(shader, sizes, &[], [input, output], None);
            }
            Kind::Back(Back::Spread { factor }) => {
                let tail = [padded(&vec![*factor; out.channels]), padded(&vec![0.; out.channels])].concat();
                let source = Strides { pixel: 0, ..sizes.input };
                let shader = shader(shaders::Kind::Map, Epilogue::Plain, lanes);
                self.dispatch(shader, Sizes { input: source, ..sizes }, &tail, [input, output], None);
            }
            Kind::Back(Back::Slope(function)) => {
                let (function, parameters) = Epilogue::of(*function);
                let sizes = Sizes { parameters, other: operands[1].vector_strides(), ..sizes };
                self.dispatch(
                    shader(shaders::Kind::Slope, function, lanes),
                    sizes,
                    &[],
                    [input, output],
                    Some(operands[1]),
                );
            }
            Kind::Product { factors, bias } => self.product(factors, *bias, group.output),
            Kind::Back(Back::StretchedSum { .. }) | Kind::Step => {}
        }
    }

    /// A convolution of whose window `sizes` tell.
    fn convolution(
        &mut self,
        convolved: Convolved<'_>,
        [mut input, output]: [Place; 2],
        sizes: Sizes,
        function: Epilogue,
        edges: Edges,
    ) {
        let Convolved { groups, weights, bias, affine, addend } = convolved;
        let (x, out, vectors) = (input.form, output.form, sizes.vectors);
        let depthwise = groups > 1 && groups == x.channels && groups == out.channels;
        let numbers = input.planar || (groups > 1 && !depthwise);
        if numbers && input.slot == output.slot {
            // Numbers and vectors of one buffer can't be bound at once.
            let apart = Place { slot: self.buffer(0), channel: 0, pixel: x.channels.next_multiple_of(4), ..input };
            self.sizes[apart.slot] = apart.size();
            self.copy([x, x], input, apart, |_| {});
            input = apart;
        }
        let per_group = out.channels / groups;
        let (is_affine, has_addend) = (affine.is_some(), addend.is_some());
        let is_row = groups == 1 && x.single() && out.single() && sizes.kernel == [1, 1] && edges != Edges::Between;
        let (kind, order, lanes) = if is_row && !numbers {
            (shaders::Kind::Row { affine: is_affine, addend: has_addend }, Order::Vectors, 8)
        } else if depthwise {
            // They look for edges in any case.
            let edges = if edges == Edges::Inside { Edges::Around } else { edges };
            let kind = shaders::Kind::Depthwise { pixels: 4, edges, affine: is_affine, addend: has_addend };
            (kind, Order::Depthwise, Shader::lanes_for(vectors))
        } else {
            let tile = if vectors > 1 && (groups == 1 || per_group.is_multiple_of(8)) { 2 } else { 1 };
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
            depth: if numbers { x.channels / groups } else { sizes.depth },
            input: if numbers { input.strides() } else { input.vector_strides() },
            other: addend.map(|addend| addend.vector_strides()).unwrap_or_default(),
            outputs_per_group: if groups == 1 { 4 * vectors } else { per_group },
            ..sizes
        };
        let mut tail = padded(bias);
        for own in affine.iter().flatten() {
            tail.extend(padded(own));
        }
        let sides = [out.channels, x.channels / groups, sizes.kernel[0], sizes.kernel[1]];
        let weights = self.common.weights(self.plan, weights, order, sides);
        let slots = [input.slot, output.slot];
        self.push(shader, sizes, &tail, Some(weights), slots, addend.map(|addend| addend.slot));
    }
}

/// Whether burn's tensors compute it.
fn is_burns(kind: &Kind) -> bool {
    matches!(kind, Kind::Step | Kind::Back(Back::StretchedSum { .. }))
}

/// What a convolution adds up, and what becomes of the sums.
struct Convolved<'a> {
    groups: usize,
    weights: Weights,
    bias: &'a [f32],
    affine: &'a Option<[Vec<f32>; 2]>,
    addend: Option<Place>,
}

/// One number a channel, in whole vectors.
fn padded(numbers: &[f32]) -> Vec<f32> {
    let mut padded = numbers.to_vec();
    padded.resize(numbers.len().next_multiple_of(4), 0.);
    padded
}
