//! A plan run step by step on the CPU's tensors, and back on a tape for each step: what every other engine is held to.
//!
//! Other engines also run by it the steps for which they have nothing of their own.

use std::cell::OnceCell;
use std::rc::Rc;

use super::step;
use super::tape::{self, Tape};
use super::{Engine, Images, Later, Program, Stretch, WayBack, each_image};
use crate::plan::{Plan, Step, ValueId};
use crate::tensor::{Device, Tensor, numbers, tensor};

/// A plan, and its parameters as tensors from their first use on.
pub(crate) struct Reference {
    pub plan: Rc<Plan>,
    device: Device,
    constants: Vec<OnceCell<Tensor<4>>>,
}

/// A run of what lies behind a layer at activations beside others: see [`Reference::beside`].
pub(crate) struct Beside {
    layer: ValueId,
    values: tape::Beside,
}

impl Reference {
    pub(crate) fn new(plan: Rc<Plan>) -> Reference {
        let constants = vec![OnceCell::new(); plan.constants.len()];
        Reference { plan, device: Device::flex(), constants }
    }

    fn tape(&self) -> Tape<'_> {
        Tape { plan: &self.plan, device: &self.device, constants: &self.constants }
    }

    /// A parameter as a tensor.
    pub(crate) fn constant(&self, index: usize) -> Tensor<4> {
        self.tape().constant(index)
    }

    /// Runs one step for so many images, of the values that it takes.
    pub(crate) fn step(&self, step: &Step, images: usize, value: impl FnMut(ValueId) -> Vec<f32>) -> Vec<f32> {
        let mut value = value;
        let operands = self.tape().operands(step, |id| tensor(value(id), self.plan.device_shape(id, images)));
        numbers(step::run(&step.op, &operands, self.plan.device_shape(step.output, images)))
    }

    fn tensors(&self, values: &[ValueId], inputs: &[Images<'_>], images: usize) -> Vec<Tensor<4>> {
        let made = |(&id, input): (&ValueId, &Images<'_>)| {
            let numbers = if input.count == images { input.numbers.to_vec() } else { input.numbers.repeat(images) };
            tensor(numbers, self.plan.device_shape(id, images))
        };
        values.iter().zip(inputs).map(made).collect()
    }

    fn run(&self, stretch: &Stretch, inputs: &[Images<'_>], images: usize, skipped: usize) -> Vec<Vec<f32>> {
        let at_once = |inputs: &[Images<'_>], images: usize| -> Vec<Vec<f32>> {
            let results = self.tape().run(stretch, self.tensors(&stretch.inputs, inputs, images), images);
            results.into_iter().skip(skipped).map(numbers).collect()
        };
        if self.plan.batches {
            return at_once(inputs, images);
        }
        each_image(images, |image| at_once(&of_image(inputs, image), 1))
    }

    fn run_back(&self, way: &WayBack, inputs: &[Images<'_>]) -> Vec<Vec<f32>> {
        let values = [&way.forward.inputs[..], &way.forward.outputs[..]].concat();
        let mut tensors = self.tensors(&values, inputs, 1);
        let gradient = tensors.pop().expect("the gradient is given last");
        self.tape().run_back(way, tensors, gradient).into_iter().map(numbers).collect()
    }

    /// Runs what lies behind a layer at another value of it than `value` as if nothing changed sides: each rectifier, clipping
    /// and maximum stays in the piece in which it is at `value`.
    pub(crate) fn beside(
        &self,
        layer: ValueId,
        kept: &[Option<Tensor<4>>],
        value: Tensor<4>,
        other: Tensor<4>,
    ) -> Beside {
        Beside { layer, values: self.tape().beside(layer, kept, value, other) }
    }

    /// The scores of such a run: one a class.
    pub(crate) fn scores_beside(&self, beside: &Beside) -> Vec<f32> {
        numbers(self.tape().scores_beside(&beside.values))
    }

    /// The gradient of the weighted sum of these scores by the layer's value.
    pub(crate) fn gradients_beside(&self, beside: &Beside, class_weights: &[f64]) -> Tensor<4> {
        self.tape().gradients_beside(beside.layer, &beside.values, class_weights)
    }
}

/// What there is of one image.
fn of_image<'a>(inputs: &[Images<'a>], image: usize) -> Vec<Images<'a>> {
    inputs.iter().map(|input| Images { numbers: input.of(image), count: 1 }).collect()
}

/// The plan, step by step.
pub(crate) struct Stepwise(pub Rc<Reference>);

impl Engine for Stepwise {
    fn compile(&self, stretch: Stretch) -> Box<dyn Program> {
        Box::new(Steps { reference: self.0.clone(), stretch })
    }

    fn compile_back(&self, way: WayBack) -> Box<dyn Program> {
        Box::new(StepsBack { reference: self.0.clone(), way })
    }

    fn plan(&self) -> &Plan {
        &self.0.plan
    }

    fn with_reference(&self, reference: Rc<Reference>) -> Rc<dyn Engine> {
        Rc::new(Stepwise(reference))
    }
}

struct Steps {
    reference: Rc<Reference>,
    stretch: Stretch,
}

impl Program for Steps {
    fn run<'a>(&'a self, inputs: &'a [Images<'a>], images: usize, skipped: usize) -> Later<'a> {
        Box::pin(async move { Ok(self.reference.run(&self.stretch, inputs, images, skipped)) })
    }
}

struct StepsBack {
    reference: Rc<Reference>,
    way: WayBack,
}

impl Program for StepsBack {
    fn run<'a>(&'a self, inputs: &'a [Images<'a>], images: usize, skipped: usize) -> Later<'a> {
        Box::pin(async move {
            Ok(each_image(images, |image| {
                let mut results = self.reference.run_back(&self.way, &of_image(inputs, image));
                results.split_off(skipped)
            }))
        })
    }
}
