//! Runs a network by compiled programs where no gradient is asked for.

use std::cell::{OnceCell, RefCell};
use std::rc::Rc;

#[cfg(feature = "gpu")]
use super::gpu;
use super::gradient::Chain;
use super::plan::{Source, ValueId};
use super::{Cut, LayerId, Network};
#[cfg(feature = "cpu")]
use super::{program, tensor};
use crate::tensor::{Device, Tensor};

/// The programs of a network for the layers that were asked for, and what they share.
pub(super) struct Fast {
    /// Of the default layer and of the other one that was asked for last.
    cuts: RefCell<Vec<Rc<Programs>>>,
    engine: Engine,
}

/// What runs programs.
enum Engine {
    /// In one memory.
    #[cfg(feature = "cpu")]
    Cpu(RefCell<Vec<f32>>),
    #[cfg(feature = "gpu")]
    Gpu(gpu::Gpu),
}

/// A stretch of the plan, compiled.
enum Program {
    #[cfg(feature = "cpu")]
    Cpu(program::Program),
    #[cfg(feature = "gpu")]
    Gpu(gpu::Program),
}

/// What a program gives, where it was computed.
pub(super) enum Numbers {
    #[cfg(feature = "cpu")]
    Host(Vec<f32>),
    #[cfg(feature = "gpu")]
    Device(Tensor<4>),
}

/// Empty: a copy of a network is made to be changed.
impl Clone for Fast {
    fn clone(&self) -> Fast {
        let engine = match &self.engine {
            #[cfg(feature = "cpu")]
            Engine::Cpu(_) => Engine::Cpu(RefCell::default()),
            #[cfg(feature = "gpu")]
            Engine::Gpu(gpu) => Engine::Gpu(gpu.empty()),
        };
        Fast { cuts: RefCell::default(), engine }
    }
}

/// What runs before a layer and behind it.
struct Programs {
    layer: LayerId,
    /// The values from before the layer that are used behind it.
    kept: Vec<ValueId>,
    to: OnceCell<Program>,
    from: OnceCell<Program>,
    /// Both at once.
    through: OnceCell<Program>,
    /// The way back, where it is that simple, and what computes the numbers that it needs.
    chain: OnceCell<Option<Chain>>,
    saved: OnceCell<Program>,
}

impl Programs {
    /// What a cut holds: the layer's own value and those that are used behind it.
    fn cut(&self) -> Vec<ValueId> {
        [self.layer.0].into_iter().chain(self.kept.iter().copied()).collect()
    }
}

impl Fast {
    /// The way that a device has.
    pub(super) fn on(device: &Device) -> Option<Fast> {
        let with = |engine| Some(Fast { cuts: RefCell::default(), engine });
        #[cfg(feature = "cpu")]
        if *device == Device::flex() {
            return with(Engine::Cpu(RefCell::default()));
        }
        #[cfg(feature = "gpu")]
        if let Some(gpu) = gpu::Gpu::on(device) {
            return with(Engine::Gpu(gpu));
        }
        None
    }
}

impl Network {
    /// [`Network::forward_to`], if nothing is recorded and there is a way around burn.
    pub(super) fn fast_forward_to(&self, input: &Tensor<4>, layer: LayerId) -> Option<Cut> {
        let fast = self.fast.as_ref().filter(|_| !input.is_autodiff())?;
        let programs = self.programs(fast, layer);
        let program = programs.to.get_or_init(|| {
            let behind = self.behind(layer);
            let chosen = self.steps(|value| !behind[value.0]);
            self.program(fast, &chosen, &[ValueId(0)], &programs.cut())
        });
        let batch = input.dims()[0];
        Some(self.cut_of(&programs, batch, self.run_input(fast, program, input)))
    }

    /// [`Network::forward_through`], if nothing is recorded and there is a way around burn.
    pub(super) fn fast_forward_through(&self, input: &Tensor<4>, layer: LayerId) -> Option<(Cut, Tensor<2>)> {
        let fast = self.fast.as_ref().filter(|_| !input.is_autodiff())?;
        let programs = self.programs(fast, layer);
        let program = programs.through.get_or_init(|| {
            let outputs = [programs.cut(), vec![self.plan.scores]].concat();
            self.program(fast, &self.steps(|_| true), &[ValueId(0)], &outputs)
        });
        let batch = input.dims()[0];
        let mut results = self.run_input(fast, program, input);
        let scores = results.pop().expect("scores were asked for");
        Some((self.cut_of(&programs, batch, results), self.scores_of(batch, scores)))
    }

    fn program(&self, fast: &Fast, chosen: &[usize], inputs: &[ValueId], outputs: &[ValueId]) -> Program {
        match &fast.engine {
            #[cfg(feature = "cpu")]
            Engine::Cpu(_) => Program::Cpu(program::Program::new(&self.plan, chosen, inputs, outputs)),
            #[cfg(feature = "gpu")]
            Engine::Gpu(gpu) => Program::Gpu(gpu::Program::new(gpu, &self.plan, chosen, inputs, outputs)),
        }
    }

    /// Runs a program from the network's input.
    fn run_input(&self, fast: &Fast, program: &Program, input: &Tensor<4>) -> Vec<Numbers> {
        let batch = input.dims()[0];
        let input = if self.channels_last { input.clone().permute([0, 2, 3, 1]) } else { input.clone() };
        self.run_program(fast, program, vec![(input, batch)], batch)
    }

    fn cut_of(&self, programs: &Programs, batch: usize, results: Vec<Numbers>) -> Cut {
        let mut values = vec![None; self.plan.values.len()];
        for (value, result) in programs.cut().into_iter().zip(results) {
            values[value.0] = Some(self.joined(value, batch, result));
        }
        Cut::new(programs.layer, values)
    }

    fn scores_of(&self, batch: usize, scores: Numbers) -> Tensor<2> {
        self.joined(self.plan.scores, batch, scores).reshape([batch, self.classes()])
    }

    /// [`Network::forward_from`], if nothing is recorded and there is a way around burn.
    pub(super) fn fast_forward_from(&self, cut: &Cut, activations: &Tensor<4>) -> Option<Tensor<2>> {
        let fast = self.fast.as_ref().filter(|_| !activations.is_autodiff())?;
        let programs = self.programs(fast, cut.layer);
        let program = programs.from.get_or_init(|| self.program_from(fast, &programs, &[self.plan.scores]));
        let results = self.run_from(fast, &programs, program, cut, activations)?;
        let scores = results.into_iter().next().expect("scores were asked for");
        Some(self.scores_of(activations.dims()[0], scores))
    }

    /// The gradient of [`Network::activations_and_gradients`], if the way back is a chain of simple steps.
    pub(super) fn fast_gradients(&self, cut: &Cut, class: usize) -> Option<Tensor<4>> {
        let fast = self.fast.as_ref().filter(|_| !cut.activations.is_autodiff())?;
        let programs = self.programs(fast, cut.layer);
        let chain = programs.chain.get_or_init(|| Chain::behind(&self.plan, cut.layer.0)).as_ref()?;
        if cut.saved.get().is_none() && !chain.saved.is_empty() {
            let program = programs.saved.get_or_init(|| self.program_from(fast, &programs, &chain.saved));
            let saved = self.run_from(fast, &programs, program, cut, &cut.activations)?;
            let _ = cut.saved.set(saved);
        }
        let saved = cut.saved.get().map_or(&[][..], Vec::as_slice);
        let shape = cut.activations.dims();
        match &fast.engine {
            #[cfg(feature = "cpu")]
            Engine::Cpu(_) => {
                let mut gradients = Vec::with_capacity(shape.iter().product());
                for image in 0..shape[0] {
                    let saved: Vec<&[f32]> = saved.iter().map(|saved| saved.of_image(image, shape[0])).collect();
                    gradients.extend(chain.gradient(&self.plan, class, &saved));
                }
                Some(tensor(gradients, shape, &self.device))
            }
            #[cfg(feature = "gpu")]
            Engine::Gpu(_) => {
                let saved: Vec<Tensor<4>> = saved.iter().map(Numbers::tensor).collect();
                chain.gradient_on_device(&self.plan, class, &saved, shape, &self.device)
            }
        }
    }

    /// What computes `outputs` from a layer and what is kept for the steps behind it.
    fn program_from(&self, fast: &Fast, programs: &Programs, outputs: &[ValueId]) -> Program {
        let behind = self.behind(programs.layer);
        let mut needed = vec![false; self.plan.values.len()];
        outputs.iter().for_each(|output| needed[output.0] = true);
        for step in self.plan.steps.iter().rev().filter(|step| behind[step.output.0]) {
            if needed[step.output.0] {
                step.inputs.iter().filter_map(Source::value).for_each(|value| needed[value.0] = true);
            }
        }
        let chosen = self.steps(|value| behind[value.0] && needed[value.0]);
        self.program(fast, &chosen, &programs.cut(), outputs)
    }

    /// Runs such a program from `activations` of the cut's layer; not if something is recorded.
    fn run_from(
        &self,
        fast: &Fast,
        programs: &Programs,
        program: &Program,
        cut: &Cut,
        activations: &Tensor<4>,
    ) -> Option<Vec<Numbers>> {
        let batch = activations.dims()[0];
        let cut_batch = cut.activations.dims()[0];
        let kept = programs.kept.iter().map(|value| {
            let value = cut.values[value.0].clone().expect("the cut keeps what is used behind it");
            (!value.is_autodiff()).then_some((value, cut_batch))
        });
        let inputs: Option<Vec<_>> = [Some((activations.clone(), batch))].into_iter().chain(kept).collect();
        Some(self.run_program(fast, program, inputs?, batch))
    }

    /// The whole plan, from any inputs.
    pub(super) fn fast_evaluate(&self, inputs: &[Tensor<4>]) -> Option<Tensor<4>> {
        let fast = self.fast.as_ref()?;
        let values: Vec<ValueId> = (0..inputs.len()).map(ValueId).collect();
        let program = self.program(fast, &self.steps(|_| true), &values, &[self.plan.scores]);
        let inputs = inputs.iter().map(|input| (input.clone(), 1)).collect();
        let result = self.run_program(fast, &program, inputs, 1).into_iter().next().expect("the result was asked for");
        Some(self.joined(self.plan.scores, 1, result))
    }

    fn programs(&self, fast: &Fast, layer: LayerId) -> Rc<Programs> {
        let mut cuts = fast.cuts.borrow_mut();
        if let Some(programs) = cuts.iter().find(|programs| programs.layer == layer) {
            return programs.clone();
        }
        let behind = self.behind(layer);
        let mut kept: Vec<ValueId> = self
            .plan
            .steps
            .iter()
            .filter(|step| behind[step.output.0])
            .flat_map(|step| step.inputs.iter().filter_map(Source::value))
            .filter(|value| !behind[value.0] && *value != layer.0)
            .collect();
        kept.sort_unstable();
        kept.dedup();
        // Packed parameters take memory: no more layers than an explanation needs at a time.
        cuts.retain(|programs| Some(&programs.layer) == self.layer_ids.last());
        let programs = Rc::new(Programs {
            layer,
            kept,
            to: OnceCell::new(),
            from: OnceCell::new(),
            through: OnceCell::new(),
            chain: OnceCell::new(),
            saved: OnceCell::new(),
        });
        cuts.push(programs.clone());
        programs
    }

    /// The steps whose values are chosen, in order.
    fn steps(&self, chosen: impl Fn(ValueId) -> bool) -> Vec<usize> {
        (0..self.plan.steps.len()).filter(|&step| chosen(self.plan.steps[step].output)).collect()
    }

    /// Runs a program for `batch` images; each input is of so many or of one.
    fn run_program(
        &self,
        fast: &Fast,
        program: &Program,
        inputs: Vec<(Tensor<4>, usize)>,
        batch: usize,
    ) -> Vec<Numbers> {
        let constant = |index| self.constant(index);
        let (steps, results) = match (&fast.engine, program) {
            #[cfg(feature = "cpu")]
            (Engine::Cpu(memory), Program::Cpu(program)) => {
                let inputs: Vec<_> = inputs.into_iter().map(|(input, images)| (input.into_data(), images)).collect();
                let mut memory = memory.borrow_mut();
                let mut joined: Vec<Vec<f32>> = Vec::new();
                for image in 0..batch {
                    // Not taken out of the tensors, which others may hold, too.
                    let numbers = inputs.iter().map(|(data, images)| (data.as_slice(), *images));
                    let inputs: Vec<&[f32]> = numbers
                        .map(|(numbers, images)| of_image(numbers.expect("tensors are of f32"), image, images))
                        .collect();
                    let results = program.run(&mut memory, &inputs, &self.plan, &constant, &self.device);
                    if image == 0 {
                        joined = results;
                    } else {
                        joined.iter_mut().zip(results).for_each(|(joined, result)| joined.extend(result));
                    }
                }
                (program.steps, joined.into_iter().map(Numbers::Host).collect())
            }
            #[cfg(feature = "gpu")]
            (Engine::Gpu(gpu), Program::Gpu(program)) => {
                let apart = batch > 1 && !(self.plan.batches && program.stacks(&self.plan));
                let run = |inputs, images| program.run(gpu, inputs, images, &self.plan, &constant);
                let results = if apart {
                    let image = |image: usize| {
                        let of_image = |(position, (input, images)): (usize, &(Tensor<4>, usize))| match images {
                            1 => input.clone(),
                            _ => {
                                let axis = self.plan.batch_axis(program.input(position));
                                let each = input.dims()[axis] / images;
                                input.clone().narrow(axis, image * each, each)
                            }
                        };
                        run(inputs.iter().enumerate().map(of_image).collect(), 1)
                    };
                    program.join((0..batch).map(image).collect(), |value| self.plan.batch_axis(value))
                } else {
                    run(inputs.into_iter().map(|(input, _)| input).collect(), batch)
                };
                (program.steps, results.into_iter().map(Numbers::Device).collect())
            }
            #[cfg(all(feature = "cpu", feature = "gpu"))]
            _ => unreachable!("an engine runs its own programs"),
        };
        let runs = if self.plan.batches { 1 } else { batch as u64 };
        self.steps_run.set(self.steps_run.get() + runs * steps);
        results
    }

    #[cfg_attr(not(feature = "cpu"), allow(unused_variables))]
    fn joined(&self, value: ValueId, batch: usize, numbers: Numbers) -> Tensor<4> {
        match numbers {
            #[cfg(feature = "cpu")]
            Numbers::Host(values) => tensor(values, self.plan.device_shape(value, batch), &self.device),
            #[cfg(feature = "gpu")]
            Numbers::Device(tensor) => tensor,
        }
    }
}

/// The numbers of one of `images`; those of a single one serve for all.
#[cfg(feature = "cpu")]
fn of_image(numbers: &[f32], image: usize, images: usize) -> &[f32] {
    let each = numbers.len() / images;
    let image = if images == 1 { 0 } else { image };
    &numbers[image * each..][..each]
}

impl Numbers {
    #[cfg(feature = "cpu")]
    fn of_image(&self, image: usize, images: usize) -> &[f32] {
        match self {
            Numbers::Host(values) => of_image(values, image, images),
            #[cfg(feature = "gpu")]
            Numbers::Device(_) => unreachable!("the CPU's programs give numbers"),
        }
    }

    #[cfg(feature = "gpu")]
    fn tensor(&self) -> Tensor<4> {
        match self {
            Numbers::Device(tensor) => tensor.clone(),
            #[cfg(feature = "cpu")]
            Numbers::Host(_) => unreachable!("the GPU's programs give tensors"),
        }
    }
}
