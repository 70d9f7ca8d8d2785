//! The programs of a network for the layers that were asked for, compiled at their first use.

use std::cell::{OnceCell, RefCell};
use std::rc::Rc;

use super::{Cut, LayerId, Network};
use crate::Result;
use crate::engine::{Images, Program, Rectifiers, Stretch, WayBack};
use crate::plan::{Chain, Source, ValueId};
use crate::tensor::{Tensor, TensorData, tensor};

/// A program, and how many of the plan's steps it does.
pub(super) struct Compiled {
    program: Box<dyn Program>,
    steps: u64,
}

/// Beside the default layer's, programs are kept for so many layers, and for one of networks with more parameters than this:
/// those of the ways back lie in memory once more.
const KEPT_LAYERS: usize = 6;
const KEPT_NUMBERS: usize = 50_000_000;

/// What runs before a layer and behind it.
pub(super) struct Programs {
    layer: LayerId,
    /// The values from before the layer that are used behind it.
    kept: Vec<ValueId>,
    to: OnceCell<Compiled>,
    from: OnceCell<Compiled>,
    /// Both at once.
    through: OnceCell<Compiled>,
    /// The last steps of the way back, what computes the values that they need, and the steps before them.
    chain: OnceCell<Chain>,
    saved: OnceCell<Compiled>,
    back: OnceCell<Compiled>,
}

/// Those of the default layer and of the other ones that were asked for lately, the last one last.
pub(super) type Cuts = RefCell<Vec<Rc<Programs>>>;

impl Programs {
    /// What a cut holds: the layer's own value and those that are used behind it.
    fn cut(&self) -> Vec<ValueId> {
        [self.layer.0].into_iter().chain(self.kept.iter().copied()).collect()
    }
}

impl Network {
    pub(super) fn compiled(&self, stretch: Stretch) -> Compiled {
        Compiled { steps: stretch.steps.len() as u64, program: self.engine.compile(stretch) }
    }

    pub(super) fn compiled_back(&self, way: WayBack) -> Compiled {
        Compiled { steps: way.forward.steps.len() as u64, program: self.engine.compile_back(way) }
    }

    fn programs(&self, layer: LayerId) -> Rc<Programs> {
        let mut cuts = self.cuts.borrow_mut();
        if let Some(at) = cuts.iter().position(|programs| programs.layer == layer) {
            let programs = cuts.remove(at);
            cuts.push(programs.clone());
            return programs;
        }
        let behind = self.plan.downstream_of(layer.0);
        let mut is_kept = vec![false; self.plan.values.len()];
        for step in self.plan.steps.iter().filter(|step| behind[step.output.0]) {
            step.inputs.iter().filter_map(Source::value).for_each(|value| is_kept[value.0] = true);
        }
        let values = (0..is_kept.len()).map(ValueId);
        let kept: Vec<ValueId> =
            values.filter(|&value| is_kept[value.0] && !behind[value.0] && value != layer.0).collect();
        // Whoever compares layers comes back to them.
        let others = cuts.iter().filter(|programs| programs.layer != self.default_layer).count();
        if others >= if self.plan.numbers() > KEPT_NUMBERS { 1 } else { KEPT_LAYERS } {
            let oldest = cuts.iter().position(|programs| programs.layer != self.default_layer);
            cuts.remove(oldest.expect("there is another one"));
        }
        let programs = Rc::new(Programs {
            layer,
            kept,
            to: OnceCell::new(),
            from: OnceCell::new(),
            through: OnceCell::new(),
            chain: OnceCell::new(),
            saved: OnceCell::new(),
            back: OnceCell::new(),
        });
        cuts.push(programs.clone());
        programs
    }

    /// From inputs `[N, C, H, W]` to the cut at `layer`.
    pub(crate) async fn run_to(&self, input: &Tensor<4>, layer: LayerId) -> Result<Cut> {
        let programs = &self.programs(layer);
        let program = programs.to.get_or_init(|| {
            let behind = self.plan.downstream_of(programs.layer.0);
            let steps = self.plan.steps_to(|value| !behind[value.0]);
            self.compiled(Stretch { steps, inputs: vec![ValueId(0)], outputs: programs.cut() })
        });
        let results = self.run_input(program, input, 0).await?;
        Ok(self.cut_of(programs, input.dims()[0], results))
    }

    /// From inputs `[N, C, H, W]` to the cut at `layer` and the scores `[N, classes]`.
    pub(crate) async fn run_through(&self, input: &Tensor<4>, layer: LayerId) -> Result<(Cut, Tensor<2>)> {
        let programs = &self.programs(layer);
        let mut results = self.run_input(self.program_through(programs), input, 0).await?;
        let images = input.dims()[0];
        let scores = self.scores_of(images, &mut results);
        let saved = results.split_off(programs.cut().len());
        let cut = self.cut_of(programs, images, results);
        if !saved.is_empty() {
            cut.saved.get_or_init(|| saved);
        }
        Ok((cut, scores))
    }

    /// From inputs `[N, C, H, W]` to the scores `[N, classes]`.
    pub(crate) async fn run_all(&self, input: &Tensor<4>) -> Result<Tensor<2>> {
        // One program for this and for cuts at the default layer.
        let programs = &self.programs(self.default_layer);
        let mut results = self.run_input(self.program_through(programs), input, programs.cut().len()).await?;
        Ok(self.scores_of(input.dims()[0], &mut results))
    }

    fn program_through<'a>(&self, programs: &'a Programs) -> &'a Compiled {
        programs.through.get_or_init(|| {
            // What the last steps' gradient takes is a part of most kernels, and of little use where it is soon computed again.
            let saved = match programs.layer == self.default_layer {
                true => &[][..],
                false => &self.chain_behind(programs).saved,
            };
            let outputs = [&programs.cut(), saved, &[self.plan.output.value]].concat();
            self.compiled(self.plan.whole(vec![ValueId(0)], outputs))
        })
    }

    fn chain_behind<'a>(&self, programs: &'a Programs) -> &'a Chain {
        programs.chain.get_or_init(|| Chain::downstream_of(&self.plan, programs.layer.0))
    }

    /// From other activations of the cut's layer, `[N, K, h, w]`, to the scores `[N, classes]`.
    pub(crate) async fn run_from(&self, cut: &Cut, activations: &Tensor<4>) -> Result<Tensor<2>> {
        let images = activations.dims()[0];
        self.run_value(cut, cut.form.value(activations.clone(), &cut.value), images).await
    }

    /// The same with each channel of the layer times a scale and plus a shift, `[N, K, 1, 1]` each, at tokens that are no
    /// places, too.
    pub(crate) async fn run_changed(&self, cut: &Cut, scale: Tensor<4>, shift: Tensor<4>) -> Result<Tensor<2>> {
        let images = scale.dims()[0];
        self.run_value(cut, cut.form.changed(cut.value.clone(), scale, shift), images).await
    }

    /// From another value of the cut's layer, for so many images, to the scores.
    async fn run_value(&self, cut: &Cut, value: Tensor<4>, images: usize) -> Result<Tensor<2>> {
        let programs = &self.programs(cut.layer);
        let outputs = || vec![self.plan.output.value];
        let program = programs.from.get_or_init(|| self.compiled(self.stretch_from(programs, outputs())));
        let mut results = self.run_cut(programs, program, cut, (value, images), None).await?;
        Ok(self.scores_of(images, &mut results))
    }

    /// The gradient of the weighted sum of the scores by the activations of the cut.
    pub(super) async fn run_back(&self, cut: &Cut, class_weights: &[f32]) -> Result<Tensor<4>> {
        let programs = &self.programs(cut.layer);
        let chain = self.chain_behind(programs);
        if cut.saved.get().is_none() && !chain.saved.is_empty() {
            let program =
                programs.saved.get_or_init(|| self.compiled(self.stretch_from(programs, chain.saved.clone())));
            let saved = self.run_cut(programs, program, cut, (cut.value.clone(), cut.images), None).await?;
            // Another call may have been faster, with the same numbers.
            let _ = cut.saved.set(saved);
        }
        let saved = cut.saved.get().map_or(&[][..], Vec::as_slice);
        let shape = cut.value.dims();
        let mut gradients = Vec::new();
        for image in 0..cut.images {
            let saved: Vec<&[f32]> =
                saved.iter().map(|numbers| Images { numbers, count: cut.images }.of(image)).collect();
            gradients.extend(chain.gradient(&self.plan, class_weights, &saved));
        }
        if chain.neck == cut.layer.0 {
            return Ok(cut.as_maps(tensor(gradients, shape)));
        }
        let program = programs.back.get_or_init(|| {
            let (forward, wanted) = (self.stretch_from(programs, vec![chain.neck]), cut.layer.0);
            self.compiled_back(WayBack { forward, wanted, rectifiers: Rectifiers::Plain, biases: false })
        });
        let value = (cut.value.clone(), cut.images);
        let gradients = self.run_cut(programs, program, cut, value, Some(&gradients)).await?;
        Ok(cut.as_maps(tensor(gradients.into_iter().next().expect("one gradient was asked for"), shape)))
    }

    /// The steps that lead to `outputs` from a layer and what is kept for the steps behind it.
    fn stretch_from(&self, programs: &Programs, outputs: Vec<ValueId>) -> Stretch {
        let behind = self.plan.downstream_of(programs.layer.0);
        let mut needed = vec![false; self.plan.values.len()];
        outputs.iter().for_each(|output| needed[output.0] = true);
        for step in self.plan.steps.iter().rev().filter(|step| behind[step.output.0]) {
            if needed[step.output.0] {
                step.inputs.iter().filter_map(Source::value).for_each(|value| needed[value.0] = true);
            }
        }
        let steps = self.plan.steps_to(|value| behind[value.0] && needed[value.0]);
        Stretch { steps, inputs: programs.cut(), outputs }
    }

    /// Runs a program from the network's input.
    pub(super) async fn run_input(
        &self,
        program: &Compiled,
        input: &Tensor<4>,
        skipped: usize,
    ) -> Result<Vec<Vec<f32>>> {
        let images = input.dims()[0];
        let input = if self.channels_last { input.clone().permute([0, 2, 3, 1]) } else { input.clone() };
        self.run_program(program, vec![(input.into_data(), images)], images, skipped).await
    }

    /// Runs a program from a value of the cut's layer for so many images; a way back is given the gradient, too.
    async fn run_cut(
        &self,
        programs: &Programs,
        program: &Compiled,
        cut: &Cut,
        (value, images): (Tensor<4>, usize),
        gradient: Option<&[f32]>,
    ) -> Result<Vec<Vec<f32>>> {
        let kept = programs.kept.iter().map(|value| {
            let value = cut.values[value.0].clone().expect("the cut keeps what is used behind it");
            (value.into_data(), cut.images)
        });
        let gradient = gradient.map(|gradient| (TensorData::new(gradient.to_vec(), [gradient.len()]), images));
        let inputs = [(value.into_data(), images)].into_iter().chain(kept).chain(gradient);
        self.run_program(program, inputs.collect(), images, 0).await
    }

    /// Runs a program for so many images; each input is of so many or of one. The first `skipped` results are not wanted.
    pub(super) async fn run_program(
        &self,
        program: &Compiled,
        inputs: Vec<(TensorData, usize)>,
        images: usize,
        skipped: usize,
    ) -> Result<Vec<Vec<f32>>> {
        let inputs: Vec<Images<'_>> = inputs
            .iter()
            .map(|(data, count)| Images { numbers: data.as_slice().expect("tensors are of f32"), count: *count })
            .collect();
        let runs = if self.plan.batches { 1 } else { images as u64 };
        self.steps_run.set(self.steps_run.get() + runs * program.steps);
        program.program.run(&inputs, images, skipped).await
    }

    fn cut_of(&self, programs: &Programs, images: usize, results: Vec<Vec<f32>>) -> Cut {
        let mut values = vec![None; self.plan.values.len()];
        for (value, result) in programs.cut().into_iter().zip(results) {
            values[value.0] = Some(tensor(result, self.plan.device_shape(value, images)));
        }
        let value = values[programs.layer.0.0].take().expect("the layer's own step does not depend on it");
        let (form, shape) = self.plan.form(programs.layer.0);
        Cut { layer: programs.layer, values, value, form, images, shape, saved: OnceCell::new() }
    }

    /// The last of the results.
    fn scores_of(&self, images: usize, results: &mut Vec<Vec<f32>>) -> Tensor<2> {
        tensor(results.pop().expect("scores were asked for"), [images, self.classes()])
    }
}
