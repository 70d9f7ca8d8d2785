//! Runs a network by compiled programs where no gradient is asked for.

use std::cell::{OnceCell, RefCell};
use std::rc::Rc;

#[cfg(feature = "gpu")]
use super::gpu;
use super::gradient::Chain;
use super::plan::{Source, ValueId};
use super::{Cut, LayerId, Network, program};
use crate::Result;
use crate::device::Device;
use crate::tensor::{Tensor, TensorData, tensor};

/// The programs of a network for the layers that were asked for, and what they share.
pub(super) struct Fast {
    /// Of the default layer and of the other one that was asked for last.
    cuts: RefCell<Vec<Rc<Programs>>>,
    engine: Engine,
}

/// What runs programs.
enum Engine {
    /// In one memory.
    Cpu(RefCell<Vec<f32>>),
    #[cfg(feature = "gpu")]
    Gpu(gpu::Engine),
}

/// A stretch of the plan, compiled.
enum Program {
    Cpu(program::Program),
    #[cfg(feature = "gpu")]
    Gpu(gpu::Program),
}

/// Empty: a copy of a network is made to be changed.
impl Clone for Fast {
    fn clone(&self) -> Fast {
        let engine = match &self.engine {
            Engine::Cpu(_) => Engine::Cpu(RefCell::default()),
            #[cfg(feature = "gpu")]
            Engine::Gpu(engine) => Engine::Gpu(engine.empty()),
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
    pub(super) fn on(device: &Device) -> Fast {
        #[cfg(feature = "gpu")]
        if let Some(gpu) = &device.gpu {
            return Fast { cuts: RefCell::default(), engine: Engine::Gpu(gpu::Engine::new(gpu.clone())) };
        }
        let _ = device;
        Fast { cuts: RefCell::default(), engine: Engine::Cpu(RefCell::default()) }
    }
}

impl Network {
    /// [`Network::forward_to`], if there is a way around burn.
    pub(super) async fn fast_forward_to(&self, input: &Tensor<4>, layer: LayerId) -> Option<Result<Cut>> {
        let fast = self.fast.as_ref()?;
        let programs = self.programs(fast, layer);
        let program = programs.to.get_or_init(|| {
            let behind = self.behind(layer);
            let chosen = self.steps(|value| !behind[value.0]);
            self.program(fast, &chosen, &[ValueId(0)], &programs.cut())
        });
        let results = self.run_input(fast, program, input, 0).await;
        Some(results.map(|results| self.cut_of(&programs, input.dims()[0], results)))
    }

    /// [`Network::forward`], if there is a way around burn.
    pub(super) async fn fast_forward(&self, input: &Tensor<4>) -> Option<Result<Tensor<2>>> {
        let fast = self.fast.as_ref()?;
        let programs = self.programs(fast, self.default_layer_id());
        let program = self.program_through(fast, &programs);
        let results = self.run_input(fast, program, input, programs.cut().len()).await;
        Some(results.map(|mut results| self.scores_of(input.dims()[0], &mut results)))
    }

    /// [`Network::forward_through`], if there is a way around burn.
    pub(super) async fn fast_forward_through(
        &self,
        input: &Tensor<4>,
        layer: LayerId,
    ) -> Option<Result<(Cut, Tensor<2>)>> {
        let fast = self.fast.as_ref()?;
        let programs = self.programs(fast, layer);
        let program = self.program_through(fast, &programs);
        let batch = input.dims()[0];
        let results = self.run_input(fast, program, input, 0).await;
        Some(results.map(|mut results| {
            let scores = self.scores_of(batch, &mut results);
            (self.cut_of(&programs, batch, results), scores)
        }))
    }

    /// From the input to the cut and the scores.
    fn program_through<'a>(&self, fast: &Fast, programs: &'a Programs) -> &'a Program {
        programs.through.get_or_init(|| {
            let outputs = [programs.cut(), vec![self.plan.scores]].concat();
            self.program(fast, &self.steps(|_| true), &[ValueId(0)], &outputs)
        })
    }

    fn program(&self, fast: &Fast, chosen: &[usize], inputs: &[ValueId], outputs: &[ValueId]) -> Program {
        match &fast.engine {
            Engine::Cpu(_) => Program::Cpu(program::Program::new(&self.plan, chosen, inputs, outputs)),
            #[cfg(feature = "gpu")]
            Engine::Gpu(engine) => Program::Gpu(gpu::Program::new(engine, &self.plan, chosen, inputs, outputs)),
        }
    }

    /// Runs a program from the network's input.
    async fn run_input(
        &self,
        fast: &Fast,
        program: &Program,
        input: &Tensor<4>,
        skipped: usize,
    ) -> Result<Vec<Vec<f32>>> {
        let batch = input.dims()[0];
        let input = if self.channels_last { input.clone().permute([0, 2, 3, 1]) } else { input.clone() };
        self.run_program(fast, program, vec![(input, batch)], batch, skipped).await
    }

    fn cut_of(&self, programs: &Programs, batch: usize, results: Vec<Vec<f32>>) -> Cut {
        let mut values = vec![None; self.plan.values.len()];
        for (value, result) in programs.cut().into_iter().zip(results) {
            values[value.0] = Some(tensor(result, self.plan.device_shape(value, batch)));
        }
        Cut::new(programs.layer, values)
    }

    /// The last of the results.
    fn scores_of(&self, batch: usize, results: &mut Vec<Vec<f32>>) -> Tensor<2> {
        tensor(results.pop().expect("scores were asked for"), [batch, self.classes()])
    }

    /// [`Network::forward_from`], if there is a way around burn.
    pub(super) async fn fast_forward_from(&self, cut: &Cut, activations: &Tensor<4>) -> Option<Result<Tensor<2>>> {
        let fast = self.fast.as_ref()?;
        let programs = self.programs(fast, cut.layer);
        let program = programs.from.get_or_init(|| self.program_from(fast, &programs, &[self.plan.scores]));
        let results = self.run_from(fast, &programs, program, cut, activations).await;
        Some(results.map(|mut results| self.scores_of(activations.dims()[0], &mut results)))
    }

    /// The gradient of [`Network::activations_and_gradients`], if the way back is a chain of simple steps.
    pub(super) async fn fast_gradients(&self, cut: &Cut, class: usize) -> Option<Result<Tensor<4>>> {
        let fast = self.fast.as_ref()?;
        let programs = self.programs(fast, cut.layer);
        let chain = programs.chain.get_or_init(|| Chain::behind(&self.plan, cut.layer.0)).as_ref()?;
        if cut.saved.get().is_none() && !chain.saved.is_empty() {
            let program = programs.saved.get_or_init(|| self.program_from(fast, &programs, &chain.saved));
            match self.run_from(fast, &programs, program, cut, &cut.activations).await {
                Ok(saved) => drop(cut.saved.set(saved)),
                Err(error) => return Some(Err(error)),
            }
        }
        let saved = cut.saved.get().map_or(&[][..], Vec::as_slice);
        let shape = cut.activations.dims();
        let mut gradients = Vec::with_capacity(shape.iter().product());
        for image in 0..shape[0] {
            let saved: Vec<&[f32]> = saved.iter().map(|saved| of_image(saved, image, shape[0])).collect();
            gradients.extend(chain.gradient(&self.plan, class, &saved));
        }
        Some(Ok(tensor(gradients, shape)))
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

    /// Runs such a program from `activations` of the cut's layer.
    async fn run_from(
        &self,
        fast: &Fast,
        programs: &Programs,
        program: &Program,
        cut: &Cut,
        activations: &Tensor<4>,
    ) -> Result<Vec<Vec<f32>>> {
        let batch = activations.dims()[0];
        let cut_batch = cut.activations.dims()[0];
        let kept = programs.kept.iter().map(|value| {
            let value = cut.values[value.0].clone().expect("the cut keeps what is used behind it");
            (value, cut_batch)
        });
        let inputs = [(activations.clone(), batch)].into_iter().chain(kept).collect();
        self.run_program(fast, program, inputs, batch, 0).await
    }

    /// The whole plan, from any inputs.
    pub(super) async fn fast_evaluate(&self, inputs: &[Tensor<4>]) -> Option<Result<Tensor<4>>> {
        let fast = self.fast.as_ref()?;
        let values: Vec<ValueId> = (0..inputs.len()).map(ValueId).collect();
        let program = self.program(fast, &self.steps(|_| true), &values, &[self.plan.scores]);
        let inputs = inputs.iter().map(|input| (input.clone(), 1)).collect();
        let results = self.run_program(fast, &program, inputs, 1, 0).await;
        Some(results.map(|mut results| {
            let result = results.pop().expect("the result was asked for");
            tensor(result, self.plan.device_shape(self.plan.scores, 1))
        }))
    }

    fn programs(&self, fast: &Fast, layer: LayerId) -> Rc<Programs> {
        let mut cuts = fast.cuts.borrow_mut();
        if let Some(programs) = cuts.iter().find(|programs| programs.layer == layer) {
            return programs.clone();
        }
        let behind = self.behind(layer);
        let mut is_kept = vec![false; self.plan.values.len()];
        for step in self.plan.steps.iter().filter(|step| behind[step.output.0]) {
            step.inputs.iter().filter_map(Source::value).for_each(|value| is_kept[value.0] = true);
        }
        let values = (0..is_kept.len()).map(ValueId);
        let kept: Vec<ValueId> =
            values.filter(|&value| is_kept[value.0] && !behind[value.0] && value != layer.0).collect();
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

    /// Runs a program for `batch` images; each input is of so many or of one. The first `skipped` results are not wanted.
    async fn run_program(
        &self,
        fast: &Fast,
        program: &Program,
        inputs: Vec<(Tensor<4>, usize)>,
        batch: usize,
        skipped: usize,
    ) -> Result<Vec<Vec<f32>>> {
        let constant = |index| self.constant(index);
        // Not taken out of the tensors, which others may hold, too.
        let inputs: Vec<(TensorData, usize)> =
            inputs.into_iter().map(|(input, images)| (input.into_data(), images)).collect();
        let inputs: Vec<(&[f32], usize)> =
            inputs.iter().map(|(data, images)| (data.as_slice().expect("tensors are of f32"), *images)).collect();
        let of_one = |image: usize| inputs.iter().map(move |&(numbers, images)| of_image(numbers, image, images));
        let mut joined: Vec<Vec<f32>> = Vec::new();
        let mut join = |results: Vec<Vec<f32>>| {
            if joined.is_empty() {
                joined = results;
            } else {
                joined.iter_mut().zip(results).for_each(|(joined, result)| joined.extend(result));
            }
        };
        let steps = match (&fast.engine, program) {
            (Engine::Cpu(memory), Program::Cpu(program)) => {
                let mut memory = memory.borrow_mut();
                for image in 0..batch {
                    let inputs: Vec<&[f32]> = of_one(image).collect();
                    join(program.run(&mut memory, &inputs, skipped, &self.plan, &constant));
                }
                program.steps
            }
            #[cfg(feature = "gpu")]
            (Engine::Gpu(engine), Program::Gpu(program)) => {
                let stacks = self.plan.batches && program.stacks(&self.plan);
                if batch == 1 || stacks && batch <= program.most_images(engine) {
                    join(program.run(engine, &inputs, batch, skipped, &self.plan, &constant).await?);
                } else {
                    for image in 0..batch {
                        let inputs: Vec<_> = of_one(image).map(|numbers| (numbers, 1)).collect();
                        join(program.run(engine, &inputs, 1, skipped, &self.plan, &constant).await?);
                    }
                }
                program.steps
            }
            #[cfg(feature = "gpu")]
            _ => unreachable!("an engine runs its own programs"),
        };
        let runs = if self.plan.batches { 1 } else { batch as u64 };
        self.steps_run.set(self.steps_run.get() + runs * steps);
        Ok(joined)
    }
}

/// The numbers of one of `images`; those of a single one serve for all.
fn of_image(numbers: &[f32], image: usize, images: usize) -> &[f32] {
    let each = numbers.len() / images;
    let image = if images == 1 { 0 } else { image };
    &numbers[image * each..][..each]
}
