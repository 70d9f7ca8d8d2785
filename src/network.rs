//! A loaded classifier: a plan of steps, run on a device up to a target layer and from it.
//!
//! A class activation map needs the activations of a layer and how the score depends on them, so a run is cut in two at
//! that layer: what lies before is computed once for an image, and only what follows is differentiated.
//!
//! **Invariants.** The plan was checked while loading: running it fails only if a graphics card does. Numbers come from one
//! asynchronously only, because a browser can't wait for them.

use std::cell::{Cell, OnceCell};
use std::collections::BTreeMap;

use crate::device::Device;
use crate::preprocess::Preprocess;
use crate::tensor::{Tensor, tensor};
use crate::{Error, ErrorKind, Result};

mod backward;
mod fast;
mod fuse;
#[cfg(feature = "gpu")]
mod gpu;
mod gradient;
pub(crate) mod plan;
mod program;
mod randomise;
mod run;
mod self_test;

pub(crate) use backward::Rectifiers;
use plan::{Head, Layout, Op, Plan, Source, ValueId};
pub(crate) use run::run as compute;

pub use plan::Activation;
pub use self_test::self_test;

/// How many layers an error message lists.
const LISTED: usize = 8;

/// What a network takes: pictures of one size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InputSpec {
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// 3 for colour, 1 for grey.
    pub channels: usize,
}

/// A layer whose activations are maps over the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// The name of the value in the file.
    pub name: String,
    /// The name of the node that computes it; may be empty.
    pub node: String,
    /// That node's operator, such as `Conv`.
    pub operator: String,
    /// Channels, height and width of the activations: K, h, w.
    pub shape: [usize; 3],
}

/// A layer of the network that gave it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerId(ValueId);

/// A loaded classifier on a device.
#[derive(Clone)]
pub struct Network {
    plan: Plan,
    input: InputSpec,
    channels_last: bool,
    metadata: BTreeMap<String, String>,
    /// Those of the plan as tensors, from their first use on.
    constants: Vec<OnceCell<Tensor<4>>>,
    /// The way around burn, unless it is not to be taken.
    fast: Option<fast::Fast>,
    /// Each layer beside its value, in the order of the run.
    layers: Vec<Layer>,
    layer_ids: Vec<LayerId>,
    /// The last step that takes each value; the scores are never let go.
    last_use: Vec<usize>,
    steps_run: Cell<u64>,
}

/// A run that stopped at a layer: its activations and whatever else the rest of the network needs.
pub struct Cut {
    layer: LayerId,
    values: Vec<Option<Tensor<4>>>,
    activations: Tensor<4>,
    /// What gradients in closed form need of the steps behind the layer, from the first of them on.
    saved: OnceCell<Vec<Vec<f32>>>,
}

impl Cut {
    fn new(layer: LayerId, mut values: Vec<Option<Tensor<4>>>) -> Cut {
        let activations = values[layer.0.0].take().expect("the layer's own step does not depend on it");
        Cut { layer, values, activations, saved: OnceCell::new() }
    }

    /// The layer at which the run stopped.
    pub fn layer(&self) -> LayerId {
        self.layer
    }

    /// What the layer computed: `[N, K, h, w]`.
    pub fn activations(&self) -> Tensor<4> {
        self.activations.clone()
    }
}

impl Network {
    /// Uploads a plan's parameters to `device`. `channels_last` says that the plan takes `[N, H, W, C]`.
    ///
    /// # Errors
    /// `UnsupportedError` if no layer keeps the places of the image apart.
    pub(crate) fn new(
        plan: Plan,
        input: InputSpec,
        channels_last: bool,
        metadata: BTreeMap<String, String>,
        device: &Device,
    ) -> Result<Network> {
        let network = Network::on_device(plan, input, channels_last, metadata, device);
        if network.layers.is_empty() {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "this network has no spatial layer: class activation maps need a layer with more than one place, \
                 such as a convolution",
            ));
        }
        Ok(network)
    }

    fn on_device(
        plan: Plan,
        input: InputSpec,
        channels_last: bool,
        metadata: BTreeMap<String, String>,
        device: &Device,
    ) -> Network {
        let (mut layers, mut layer_ids) = (Vec::new(), Vec::new());
        for step in &plan.steps {
            let value = &plan.values[step.output.0];
            if let (Layout::ChannelsFirst, &[_, channels, height, width]) = (value.layout, value.shape.as_slice())
                && height * width > 1
                && !value.name.is_empty()
            {
                layers.push(Layer {
                    name: value.name.clone(),
                    node: step.node.clone(),
                    operator: step.operator.clone(),
                    shape: [channels, height, width],
                });
                layer_ids.push(LayerId(step.output));
            }
        }
        let mut last_use = vec![0; plan.values.len()];
        for (index, step) in plan.steps.iter().enumerate() {
            for value in step.inputs.iter().filter_map(|source| source.value()) {
                last_use[value.0] = index;
            }
        }
        last_use[plan.scores.0] = usize::MAX;
        let constants = vec![OnceCell::new(); plan.constants.len()];
        Network {
            plan,
            input,
            channels_last,
            metadata,
            constants,
            fast: Some(fast::Fast::on(device)),
            layers,
            layer_ids,
            last_use,
            steps_run: Cell::new(0),
        }
    }

    /// The same network, run on burn step by step even where there is a faster way: what that is to be compared with.
    #[doc(hidden)]
    pub fn plainly(self) -> Network {
        Network { fast: None, ..self }
    }

    /// What the network takes.
    pub fn input(&self) -> &InputSpec {
        &self.input
    }

    /// How many classes it scores.
    pub fn classes(&self) -> usize {
        self.plan.values[self.plan.scores.0].shape.iter().product()
    }

    /// Its spatial layers, in the order of the run.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// The last spatial layer: most is recognised there, and places are still apart.
    pub fn default_layer(&self) -> &str {
        self.layer_name(self.default_layer_id())
    }

    /// The last spatial layer.
    pub fn default_layer_id(&self) -> LayerId {
        *self.layer_ids.last().expect("a network without layers was refused")
    }

    /// The last layer of each of the last `count` resolutions, in the order of the run.
    pub(crate) fn last_of_each_resolution(&self, count: usize) -> Vec<LayerId> {
        let mut chosen: Vec<usize> = Vec::new();
        for index in (0..self.layers.len()).rev() {
            let [_, height, width] = self.layers[index].shape;
            let larger = |&last: &usize| self.layers[last].shape[1] < height && self.layers[last].shape[2] < width;
            if chosen.len() < count && chosen.last().is_none_or(larger) {
                chosen.push(index);
            }
        }
        chosen.into_iter().rev().map(|index| self.layer_ids[index]).collect()
    }

    /// What the file says about itself.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// How scores become probabilities.
    pub fn activation(&self) -> Activation {
        self.plan.activation
    }

    /// How many steps were run so far, which tells what a cut saves.
    pub fn steps_run(&self) -> u64 {
        self.steps_run.get()
    }

    /// The layer of that name: a value's, an alias or a node's.
    ///
    /// # Errors
    /// `TargetError` if there is no spatial layer of that name.
    pub fn layer(&self, name: &str) -> Result<LayerId> {
        let named = |wanted: &dyn Fn(&Layer) -> bool| {
            self.layers.iter().position(wanted).map(|position| self.layer_ids[position])
        };
        named(&|layer| layer.name == name)
            .or_else(|| {
                let (_, value) = self.plan.aliases.iter().find(|(alias, _)| alias == name)?;
                self.layer_ids.iter().copied().find(|id| id.0 == *value)
            })
            .or_else(|| named(&|layer| !layer.node.is_empty() && layer.node == name))
            .ok_or_else(|| {
                let count = self.layers.len();
                // The last ones are those that people choose.
                let listed: Vec<&str> =
                    self.layers.iter().rev().take(LISTED).map(|layer| layer.name.as_str()).collect();
                let (listed, which) =
                    (listed.join("`, `"), if count > LISTED { ", the last of which are" } else { ":" });
                Error::new(
                    ErrorKind::Target,
                    format!("`{name}` is no spatial layer of this network; it has {count}{which} `{listed}`"),
                )
            })
    }

    /// The name of a layer's value in the file.
    pub fn layer_name(&self, layer: LayerId) -> &str {
        &self.plan.values[layer.0.0].name
    }

    /// Whether pictures preprocessed like this are what the network takes.
    ///
    /// # Errors
    /// `ModelError` if the size differs, and the errors of [`Preprocess::check`].
    pub fn check(&self, preprocess: &Preprocess) -> Result<()> {
        let InputSpec { width, height, channels } = self.input;
        if (preprocess.width, preprocess.height) != (width, height) {
            return Err(Error::new(
                ErrorKind::Model,
                format!(
                    "preprocess: an input of {} × {}, but the network takes {width} × {height}",
                    preprocess.width, preprocess.height
                ),
            ));
        }
        preprocess.check(channels)
    }

    /// One preprocessed picture: `[1, C, H, W]`.
    ///
    /// # Errors
    /// `ImageError` if `values` has another length.
    pub fn input_tensor(&self, values: &[f32]) -> Result<Tensor<4>> {
        self.input_of(values.to_vec())
    }

    /// [`Network::input_tensor`] without a copy.
    pub(crate) fn input_of(&self, values: Vec<f32>) -> Result<Tensor<4>> {
        let InputSpec { width, height, channels } = self.input;
        let length = channels * height as usize * width as usize;
        if values.len() != length {
            return Err(Error::new(
                ErrorKind::Image,
                format!(
                    "an input of {} numbers; the network takes [1, {channels}, {height}, {width}], which is {length}",
                    values.len()
                ),
            ));
        }
        Ok(tensor(values, [1, channels, height as usize, width as usize]))
    }

    /// The scores of each image: `[N, C, H, W]` to `[N, classes]`.
    ///
    /// # Errors
    /// `DeviceError` if a graphics card gives no result, here and in what follows.
    pub async fn forward(&self, input: Tensor<4>) -> Result<Tensor<2>> {
        match self.fast_forward(&input).await {
            Some(scores) => scores,
            None => Ok(self.forward_through(input, self.default_layer_id()).await?.1),
        }
    }

    /// [`forward_to`](Self::forward_to) and [`forward_from`](Self::forward_from) in one: the cut, and the scores `[N, classes]`.
    ///
    /// # Shapes
    /// - `input`: `[N, C, H, W]`
    pub async fn forward_through(&self, input: Tensor<4>, layer: LayerId) -> Result<(Cut, Tensor<2>)> {
        if let Some(both) = self.fast_forward_through(&input, layer).await {
            return both;
        }
        let cut = self.forward_to(input, layer).await?;
        let scores = self.forward_from(&cut, cut.activations()).await?;
        Ok((cut, scores))
    }

    /// Runs everything that does not depend on `layer`, and the layer itself.
    ///
    /// # Shapes
    /// - `input`: `[N, C, H, W]`
    pub async fn forward_to(&self, input: Tensor<4>, layer: LayerId) -> Result<Cut> {
        if let Some(cut) = self.fast_forward_to(&input, layer).await {
            return cut;
        }
        let batch = input.dims()[0];
        let input = if self.channels_last { input.permute([0, 2, 3, 1]) } else { input };
        let behind = self.behind(layer);
        let values = self.in_batches(batch, |range| {
            let mut values = vec![None; self.plan.values.len()];
            values[0] = Some(input.clone().narrow(0, range.start, range.len()));
            self.run_steps(&mut values, range.len(), |output| !behind[output.0]);
            values
        });
        Ok(Cut::new(layer, values))
    }

    /// Runs what depends on the layer of the cut, from the given activations of it.
    ///
    /// # Shapes
    /// - `activations`: `[N, K, h, w]`, where the cut was made of N images or one
    /// - output: `[N, classes]`
    pub async fn forward_from(&self, cut: &Cut, activations: Tensor<4>) -> Result<Tensor<2>> {
        match self.fast_forward_from(cut, &activations).await {
            Some(scores) => scores,
            None => Ok(self.step_from(cut, activations)),
        }
    }

    /// The same step by step, which a tape can record.
    fn step_from(&self, cut: &Cut, activations: Tensor<4>) -> Tensor<2> {
        let batch = activations.dims()[0];
        let cut_batch = cut.activations.dims()[0];
        let behind = self.behind(cut.layer);
        let mut values = self.in_batches(batch, |range| {
            let mut values = cut.values.clone();
            for (id, value) in values.iter_mut().enumerate() {
                let Some(kept) = value.take() else { continue };
                let axis = self.plan.batch_axis(ValueId(id));
                *value = Some(match cut_batch {
                    1 if range.len() == 1 => kept,
                    1 => kept.repeat_dim(axis, range.len()),
                    _ => {
                        let each = kept.dims()[axis] / cut_batch;
                        kept.narrow(axis, range.start * each, range.len() * each)
                    }
                });
            }
            values[cut.layer.0.0] = Some(activations.clone().narrow(0, range.start, range.len()));
            self.run_steps(&mut values, range.len(), |output| behind[output.0]);
            values
        });
        let scores = values[self.plan.scores.0].take().expect("every step feeds the scores");
        scores.reshape([batch, self.classes()])
    }

    /// The activations A of the cut and the gradient ∂y/∂A of the score y of `class`, both `[N, K, h, w]`.
    ///
    /// # Errors
    /// `DeviceError` if a graphics card gives no result.
    pub async fn activations_and_gradients(&self, cut: &Cut, class: usize) -> Result<(Tensor<4>, Tensor<4>)> {
        if let Some(gradients) = self.fast_gradients(cut, class).await {
            return Ok((cut.activations(), gradients?));
        }
        let activations = cut.activations().autodiff().require_grad();
        let scores = self.step_from(cut, activations.clone());
        let mut gradients = scores.narrow(1, class, 1).sum().backward();
        let gradient = activations.grad_remove(&mut gradients);
        let activations = cut.activations();
        let gradient = gradient.unwrap_or_else(|| activations.zeros_like());
        Ok((activations, gradient))
    }

    /// The layer that the pooling head pools: CAM's only target layer.
    ///
    /// # Errors
    /// `UnsupportedError` with the reason if the network has no such head.
    pub(crate) fn pooled_layer(&self) -> Result<LayerId> {
        match &self.plan.head {
            Ok(head) => Ok(LayerId(head.layer)),
            Err(reason) => Err(Error::new(
                ErrorKind::Unsupported,
                format!("CAM needs pooling and one linear layer behind the last activations: {reason}"),
            )),
        }
    }

    /// By how much the score of `class` grows with the pooled activation of each channel: `[1, K, 1, 1]`.
    ///
    /// # Errors
    /// Those of [`pooled_layer`](Self::pooled_layer).
    pub(crate) fn pooling_weights(&self, class: usize) -> Result<Tensor<4>> {
        let LayerId(layer) = self.pooled_layer()?;
        let channels = self.plan.values[layer.0].shape[1];
        let head = self.plan.head.as_ref().expect("there is a pooled layer").head.clone();
        Ok(match head {
            Head::Linear { constant, columns } => {
                let parameters = self.constant(constant);
                let axis = match parameters.dims() {
                    _ if columns => 3,
                    [_, _, 1, 1] => 0,
                    _ => 2,
                };
                parameters.narrow(axis, class, 1).reshape([1, channels, 1, 1])
            }
            Head::Channels => {
                let one_hot = (0..channels).map(|channel| f32::from(channel == class)).collect();
                tensor(one_hot, [1, channels, 1, 1])
            }
        })
    }

    /// A parameter as a tensor.
    fn constant(&self, index: usize) -> Tensor<4> {
        let made = || {
            let constant = &self.plan.constants[index];
            tensor(constant.values.clone(), constant.shape)
        };
        self.constants[index].get_or_init(made).clone()
    }

    /// Puts other numbers in the place of a parameter's.
    fn set_parameter(&mut self, index: usize, values: Vec<f32>) {
        let constant = &mut self.plan.constants[index];
        constant.values = values;
        self.constants[index] = OnceCell::new();
        if let Some(fast) = &mut self.fast {
            // Its programs hold the old numbers.
            *fast = fast.clone();
        }
    }

    /// Which values depend on the layer, the layer itself not among them.
    fn behind(&self, layer: LayerId) -> Vec<bool> {
        let mut behind = vec![false; self.plan.values.len()];
        for step in &self.plan.steps {
            behind[step.output.0] = step.output != layer.0
                && step.inputs.iter().filter_map(|s| s.value()).any(|value| value == layer.0 || behind[value.0]);
        }
        behind
    }

    /// Runs the chosen steps and lets values go after their last use.
    fn run_steps(&self, values: &mut [Option<Tensor<4>>], batch: usize, chosen: impl Fn(ValueId) -> bool) {
        for (index, step) in self.plan.steps.iter().enumerate().filter(|(_, step)| chosen(step.output)) {
            let mut operands: Vec<Tensor<4>> = step
                .inputs
                .iter()
                .map(|source| match source {
                    Source::Value(value) => values[value.0].clone().expect("steps are in topological order"),
                    Source::Constant(constant) => self.constant(*constant),
                })
                .collect();
            for value in step.inputs.iter().filter_map(|source| source.value()) {
                if self.last_use[value.0] == index {
                    values[value.0] = None;
                }
            }
            // A list is given to the backend as a whole; single operands may differ in whether they are on the tape.
            if matches!(step.op, Op::Concat { .. }) && operands.iter().any(|operand| operand.is_autodiff()) {
                operands = operands.into_iter().map(|operand| operand.autodiff()).collect();
            }
            let shape = self.plan.device_shape(step.output, batch);
            values[step.output.0] = Some(run::run(&step.op, &operands, shape));
            self.steps_run.set(self.steps_run.get() + 1);
        }
    }

    /// Runs `batch` images at once, or one by one where the plan can't keep them apart, and joins the values.
    fn in_batches(
        &self,
        batch: usize,
        run: impl Fn(std::ops::Range<usize>) -> Vec<Option<Tensor<4>>>,
    ) -> Vec<Option<Tensor<4>>> {
        if self.plan.batches || batch == 1 {
            return run(0..batch);
        }
        let mut images: Vec<_> = (0..batch).map(|image| run(image..image + 1)).collect();
        (0..self.plan.values.len())
            .map(|id| {
                let each: Option<Vec<_>> = images.iter_mut().map(|values| values[id].take()).collect();
                each.map(|each| Tensor::cat(each, self.plan.batch_axis(ValueId(id))))
            })
            .collect()
    }
}

impl Source {
    fn value(&self) -> Option<ValueId> {
        match self {
            Source::Value(value) => Some(*value),
            Source::Constant(_) => None,
        }
    }
}

/// Runs a plan of any inputs once and gives its result: for testing operators one by one. `plainly` runs it on burn alone.
pub(crate) async fn evaluate(plan: Plan, inputs: Vec<Tensor<4>>, device: &Device, plainly: bool) -> Result<Tensor<4>> {
    let input = InputSpec { width: 1, height: 1, channels: 1 };
    let network = Network::on_device(plan, input, false, BTreeMap::new(), device);
    if !plainly && let Some(result) = network.fast_evaluate(&inputs).await {
        return result;
    }
    let mut values: Vec<Option<Tensor<4>>> = inputs.into_iter().map(Some).collect();
    values.resize(network.plan.values.len(), None);
    network.run_steps(&mut values, 1, |_| true);
    Ok(values[network.plan.scores.0].take().expect("every step feeds the result"))
}

/// Lets the browser make fast code of what networks spend their time in, while their files are still on the way.
pub fn warm_up() {
    crate::kernels::warm_up();
}
