//! A loaded classifier: a plan of steps, run on a device up to a target layer and from it.
//!
//! A class activation map needs the activations of a layer and how the score depends on them, so a run is cut in two at
//! that layer: what lies before is computed once for an image, and only what follows is differentiated.
//!
//! **Invariants.** The plan was checked while loading: running it fails only if a graphics card does. Numbers come from one
//! asynchronously only, because a browser can't wait for them.

use std::cell::{Cell, OnceCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::device::Device;
use crate::engine::reference::Stepwise;
use crate::engine::{self, Engine, Reference};
use crate::plan::{Head, LayerForm, Plan, ValueId};
use crate::preprocess::Preprocess;
use crate::tensor::{Tensor, numbers, tensor};
use crate::{Error, ErrorKind, Result};

mod attention;
mod backward;
mod programs;
mod randomise;
mod reach;
pub(crate) mod runs;
mod self_test;

pub use crate::plan::Activation;
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

/// A layer whose activations keep the places of the image apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// The name of the value in the file; where a loop repeats it, `y`, `y (2)` and so on.
    pub name: String,
    /// The name of the node that computes it; may be empty.
    pub node: String,
    /// That node's operator, such as `Conv`.
    pub operator: String,
    /// Channels, height and width of the activations: K, h, w.
    pub shape: [usize; 3],
    /// How the network has them.
    pub kind: LayerKind,
}

/// How a network has the activations of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerKind {
    /// As maps, `[1, K, h, w]`.
    Map,
    /// As tokens, `[1, n, K]`, or as a plane with channels last, `[1, h, w, K]`: what transformers and mixers compute. Tokens
    /// that are no places of the image (class, distillation, registers) are left out of its maps.
    Tokens,
}

impl LayerKind {
    /// `map` or `tokens`.
    pub fn name(self) -> &'static str {
        match self {
            LayerKind::Map => "map",
            LayerKind::Tokens => "tokens",
        }
    }
}

/// A layer of the network that gave it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerId(ValueId);

/// A loaded classifier on a device.
pub struct Network {
    plan: Rc<Plan>,
    input: InputSpec,
    channels_last: bool,
    metadata: BTreeMap<String, String>,
    /// The plan step by step, and its parameters as tensors.
    reference: Rc<Reference>,
    engine: Rc<dyn Engine>,
    cuts: programs::Cuts,
    input_back: backward::InputBack,
    /// Each layer beside its value, in the order of the run.
    layers: Vec<Layer>,
    layer_ids: Vec<LayerId>,
    default_layer: LayerId,
    steps_run: Cell<u64>,
}

/// A run that stopped at a layer: its activations and whatever else the rest of the network needs.
pub struct Cut {
    layer: LayerId,
    values: Vec<Option<Tensor<4>>>,
    /// What the layer computed, as the network has it, and how that becomes maps.
    value: Tensor<4>,
    form: LayerForm,
    images: usize,
    shape: [usize; 3],
    /// What gradients in closed form need of the steps behind the layer, from the first of them on.
    saved: OnceCell<Vec<Vec<f32>>>,
}

impl Cut {
    /// The layer at which the run stopped.
    pub fn layer(&self) -> LayerId {
        self.layer
    }

    /// What the layer computed, row-major: see [`shape`](Self::shape).
    pub fn activations(&self) -> Vec<f32> {
        numbers(self.maps())
    }

    /// Images, channels, height and width of the activations: `[N, K, h, w]`.
    pub fn shape(&self) -> [usize; 4] {
        let [channels, height, width] = self.shape;
        [self.images, channels, height, width]
    }

    /// What the layer computed: `[N, K, h, w]`.
    pub(crate) fn maps(&self) -> Tensor<4> {
        self.as_maps(self.value.clone())
    }

    /// A value like that of the layer, or its gradient, as maps `[N, K, h, w]`.
    fn as_maps(&self, value: Tensor<4>) -> Tensor<4> {
        self.form.maps(value, self.images, self.shape)
    }

    /// The least number of the layer's value, be it of a place or not.
    pub(crate) fn least(&self) -> f32 {
        numbers(self.value.clone().min())[0]
    }

    /// How many bytes the values kept here take.
    pub(crate) fn memory(&self) -> usize {
        let tensors = self.values.iter().flatten().chain([&self.value]);
        let saved = self.saved.get().into_iter().flatten();
        let numbers = tensors.map(|tensor| tensor.dims().iter().product::<usize>()).chain(saved.map(Vec::len));
        size_of::<f32>() * numbers.sum::<usize>()
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
        let reached = reach::reaching(&plan);
        let mut default_layer = None;
        // The rounds of a loop have one name in the file.
        let mut times: BTreeMap<&str, usize> = BTreeMap::new();
        for (step, form, shape) in plan.layers() {
            let name = plan.values[step.output.0].name.as_str();
            let count = times.entry(name).or_default();
            *count += 1;
            layers.push(Layer {
                name: if *count == 1 { name.into() } else { format!("{name} ({count})") },
                node: step.node.clone(),
                operator: step.operator.clone(),
                shape,
                kind: if form == LayerForm::Map { LayerKind::Map } else { LayerKind::Tokens },
            });
            layer_ids.push(LayerId(step.output));
            // The last one on whose places the scores depend: of one behind which only a class token goes on there is nothing
            // to see. Of tokens only what people look at: not the keys and values of the last attention.
            if reached[step.output.0] && (form == LayerForm::Map || plan.is_junction(step)) {
                default_layer = Some(LayerId(step.output));
            }
        }
        let any = || layer_ids.iter().copied().rfind(|layer: &LayerId| reached[layer.0.0]);
        let default_layer = default_layer.or_else(any).or(layer_ids.last().copied()).unwrap_or(LayerId(ValueId(0)));
        let plan = Rc::new(plan);
        let reference = Rc::new(Reference::new(plan.clone()));
        let engine = engine::on(device, reference.clone());
        Network {
            plan,
            input,
            channels_last,
            metadata,
            reference,
            engine,
            cuts: programs::Cuts::default(),
            input_back: backward::InputBack::default(),
            layers,
            layer_ids,
            default_layer,
            steps_run: Cell::new(0),
        }
    }

    /// The same network, run step by step: what faster engines are compared with.
    #[doc(hidden)]
    pub fn on_reference_engine(self) -> Network {
        let engine = Rc::new(Stepwise(self.reference.clone()));
        Network { engine, cuts: programs::Cuts::default(), input_back: backward::InputBack::default(), ..self }
    }

    /// The same network with the parameters of another plan, on the same engine.
    fn with_plan(&self, plan: Plan) -> Network {
        let plan = Rc::new(plan);
        let reference = Rc::new(Reference::new(plan.clone()));
        Network {
            engine: self.engine.with_reference(reference.clone()),
            cuts: programs::Cuts::default(),
            input_back: backward::InputBack::default(),
            plan,
            reference,
            input: self.input,
            channels_last: self.channels_last,
            metadata: self.metadata.clone(),
            layers: self.layers.clone(),
            layer_ids: self.layer_ids.clone(),
            default_layer: self.default_layer,
            steps_run: Cell::new(0),
        }
    }

    /// What the network takes.
    pub fn input(&self) -> &InputSpec {
        &self.input
    }

    /// How many classes it scores.
    pub fn classes(&self) -> usize {
        self.plan.classes()
    }

    /// Its spatial layers, in the order of the run.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// What is explained where a question names no layer: unless set otherwise while loading the last spatial layer on which the
    /// scores depend, where most is recognised and places are still apart.
    pub fn default_layer(&self) -> &str {
        self.layer_name(self.default_layer_id())
    }

    /// The same layer.
    pub fn default_layer_id(&self) -> LayerId {
        self.default_layer
    }

    pub(crate) fn set_default_layer(&mut self, layer: LayerId) {
        self.default_layer = layer;
    }

    /// The last layer of each of the last `count` resolutions, in the order of the run.
    pub(crate) fn last_of_each_resolution(&self, count: usize) -> Vec<LayerId> {
        let mut chosen: Vec<usize> = Vec::new();
        let last = self.layer_ids.iter().position(|&layer| layer == self.default_layer);
        for index in (0..last.map_or(0, |last| last + 1)).rev() {
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
        self.plan.activation()
    }

    /// How many steps the CPU had to run though there is a graphics card.
    pub fn cpu_steps(&self) -> u64 {
        self.engine.cpu_steps()
    }

    /// How many multiplications or additions one run takes.
    pub fn work(&self) -> u64 {
        self.plan.work()
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

    /// The name of a layer, that of its value in the file.
    pub fn layer_name(&self, layer: LayerId) -> &str {
        match self.layer_ids.iter().position(|id| *id == layer) {
            Some(position) => &self.layers[position].name,
            None => &self.plan.values[layer.0.0].name,
        }
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

    /// Preprocessed images, one after the other, as `[N, C, H, W]`.
    ///
    /// # Errors
    /// `ImageError` if the numbers are not those of whole images.
    pub(crate) fn inputs(&self, values: &[f32]) -> Result<Tensor<4>> {
        let InputSpec { width, height, channels } = self.input;
        let shape = [channels, height as usize, width as usize];
        let images = images_in(values.len(), "an input", shape)?;
        Ok(tensor(values.to_vec(), batch(images, shape)))
    }

    /// One preprocessed image, as `[1, C, H, W]`.
    ///
    /// # Errors
    /// `ImageError` if there are more or fewer numbers.
    pub(crate) fn input_of(&self, values: &[f32]) -> Result<Tensor<4>> {
        let input = self.inputs(values)?;
        match input.dims() {
            [1, ..] => Ok(input),
            [images, shape @ ..] => Err(wrong_length(images * shape.iter().product::<usize>(), "an input", shape)),
        }
    }

    /// The scores of each image, row-major: `[N, C, H, W]` to `[N, classes]`.
    ///
    /// # Errors
    /// `ImageError` if `inputs` are not the numbers of whole images; `DeviceError` if a graphics card gives no result, here
    /// and in what follows.
    pub async fn forward(&self, inputs: &[f32]) -> Result<Vec<f32>> {
        Ok(numbers(self.run_all(&self.inputs(inputs)?).await?))
    }

    /// Runs everything that does not depend on `layer`, and the layer itself, for inputs `[N, C, H, W]`.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub async fn forward_to(&self, inputs: &[f32], layer: LayerId) -> Result<Cut> {
        self.run_to(&self.inputs(inputs)?, layer).await
    }

    /// Runs what depends on the layer of the cut, from the given activations of it.
    ///
    /// # Shapes
    /// - `activations`: `[N, K, h, w]`, where the cut was made of N images or one
    /// - output: `[N, classes]`
    ///
    /// # Errors
    /// `ImageError` if `activations` has another length, and those of [`forward`](Self::forward).
    pub async fn forward_from(&self, cut: &Cut, activations: &[f32]) -> Result<Vec<f32>> {
        let [kept, shape @ ..] = cut.shape();
        let images = images_in(activations.len(), "activations", shape)?;
        if kept != 1 && kept != images {
            return Err(Error::new(
                ErrorKind::Image,
                format!("activations of {images} images; those of {kept}, as many as the cut has, are accepted"),
            ));
        }
        Ok(numbers(self.run_from(cut, &tensor(activations.to_vec(), batch(images, shape))).await?))
    }

    /// The activations A of the cut and the gradient ∂y/∂A of the score y of `class`, both `[N, K, h, w]`, row-major.
    ///
    /// # Errors
    /// `DeviceError` if a graphics card gives no result.
    pub async fn activations_and_gradients(&self, cut: &Cut, class: usize) -> Result<(Vec<f32>, Vec<f32>)> {
        Ok((cut.activations(), numbers(self.gradients_of(cut, class).await?)))
    }

    /// The gradient ∂y/∂A of the score y of `class` by the activations of the cut, `[N, K, h, w]`.
    pub(crate) async fn gradients_of(&self, cut: &Cut, class: usize) -> Result<Tensor<4>> {
        let mut weights = vec![0.; self.classes()];
        weights[class] = 1.;
        self.gradients(cut, &weights).await
    }

    /// The gradient ∂s/∂A of the weighted sum s = Σ_c w_c y_c of the scores by the activations of the cut, `[N, K, h, w]`.
    pub(crate) async fn gradients(&self, cut: &Cut, class_weights: &[f64]) -> Result<Tensor<4>> {
        let weights: Vec<f32> = class_weights.iter().map(|&weight| weight as f32).collect();
        self.run_back(cut, &weights).await
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
        let (_, [channels, _, _]) = self.plan.form(layer);
        let head = self.plan.head.as_ref().expect("there is a pooled layer").head.clone();
        Ok(match head {
            Head::Linear { constant, columns } => {
                let parameters = self.reference.constant(constant);
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
}

/// How many images of `shape` so many numbers are; `what` they are, for the message.
fn images_in(length: usize, what: &str, shape: [usize; 3]) -> Result<usize> {
    let one = shape.iter().product::<usize>();
    if length == 0 || !length.is_multiple_of(one) {
        return Err(wrong_length(length, what, shape));
    }
    Ok(length / one)
}

fn wrong_length(length: usize, what: &str, [channels, height, width]: [usize; 3]) -> Error {
    Error::new(
        ErrorKind::Image,
        format!(
            "{what} of {length} numbers; the network takes [1, {channels}, {height}, {width}], which is {}",
            channels * height * width
        ),
    )
}

/// The shape of so many images.
fn batch(images: usize, [channels, height, width]: [usize; 3]) -> [usize; 4] {
    [images, channels, height, width]
}

/// Runs a plan of any inputs once and gives its result: for testing operators one by one. `on_reference_engine` runs it step by step.
pub(crate) async fn evaluate(
    plan: Plan,
    inputs: Vec<Tensor<4>>,
    device: &Device,
    on_reference_engine: bool,
) -> Result<Tensor<4>> {
    let input = InputSpec { width: 1, height: 1, channels: 1 };
    let mut network = Network::on_device(plan, input, false, BTreeMap::new(), device);
    if on_reference_engine {
        network = network.on_reference_engine();
    }
    let plan = &network.plan;
    let (values, output) = ((0..inputs.len()).map(ValueId).collect(), plan.output.value);
    let program = network.compiled(plan.whole(values, vec![output]));
    let inputs = inputs.into_iter().map(|input| (input.into_data(), 1)).collect();
    let result = network.run_program(&program, inputs, 1, 0).await?.pop().expect("the result was asked for");
    Ok(tensor(result, plan.device_shape(output, 1)))
}

/// Lets the browser make fast code of what networks spend their time in, while their files are still on the way.
pub fn warm_up() {
    crate::kernels::warm_up();
}
