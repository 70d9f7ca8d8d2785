//! Running networks, in the page's worker.

use std::rc::Rc;

use js_sys::Function;
use wasm_bindgen::prelude::*;

use super::preprocess_of;
use crate::cam::{self, ExplainOptions, FactorizeOptions, Method, Start, Target};
use crate::device::Device;
use crate::network::{self, LayerId};
use crate::onnx::{self, LoadOptions};
use crate::tensor::Tensor;
use crate::{Error, ErrorKind};

mod judging;

/// The device that this worker computes on.
#[wasm_bindgen]
pub struct Engine {
    device: Device,
}

#[wasm_bindgen]
impl Engine {
    /// Opens the device and holds it to a known answer.
    pub async fn start() -> Result<Engine, JsValue> {
        super::report_panics();
        #[cfg(feature = "gpu")]
        let device = Device::gpu().await?;
        #[cfg(not(feature = "gpu"))]
        let device = Device::cpu();
        network::self_test(&device).await?;
        if cfg!(not(feature = "gpu")) {
            network::warm_up();
        }
        Ok(Engine { device })
    }

    /// Reads an ONNX file; `width` and `height` settle what the file leaves open.
    pub fn load(&self, bytes: Vec<u8>, width: Option<u32>, height: Option<u32>) -> Result<Network, JsValue> {
        let options = LoadOptions { input_size: width.zip(height) };
        Ok(Network(Rc::new(onnx::load_owned(bytes, &options, &self.device)?)))
    }
}

/// A loaded network.
#[wasm_bindgen]
pub struct Network(Rc<network::Network>);

#[wasm_bindgen]
impl Network {
    #[wasm_bindgen(getter, js_name = inputWidth)]
    pub fn input_width(&self) -> u32 {
        self.0.input().width
    }

    #[wasm_bindgen(getter, js_name = inputHeight)]
    pub fn input_height(&self) -> u32 {
        self.0.input().height
    }

    #[wasm_bindgen(getter, js_name = inputChannels)]
    pub fn input_channels(&self) -> usize {
        self.0.input().channels
    }

    #[wasm_bindgen(getter)]
    pub fn classes(&self) -> usize {
        self.0.classes()
    }

    #[wasm_bindgen(js_name = layerNames)]
    pub fn layer_names(&self) -> Vec<String> {
        self.0.layers().iter().map(|layer| layer.name.clone()).collect()
    }

    #[wasm_bindgen(js_name = layerOperators)]
    pub fn layer_operators(&self) -> Vec<String> {
        self.0.layers().iter().map(|layer| layer.operator.clone()).collect()
    }

    /// Channels, height and width of each layer, one after the other.
    #[wasm_bindgen(js_name = layerShapes)]
    pub fn layer_shapes(&self) -> Vec<u32> {
        self.0.layers().iter().flat_map(|layer| layer.shape).map(|side| side as u32).collect()
    }

    #[wasm_bindgen(getter, js_name = defaultLayer)]
    pub fn default_layer(&self) -> String {
        self.0.default_layer().to_owned()
    }

    /// Keys and values in turn.
    pub fn metadata(&self) -> Vec<String> {
        self.0.metadata().iter().flat_map(|(key, value)| [key.clone(), value.clone()]).collect()
    }

    /// How many steps of the network have been run so far.
    #[wasm_bindgen(getter, js_name = stepsRun)]
    pub fn steps_run(&self) -> f64 {
        self.0.steps_run() as f64
    }

    /// Whether images prepared like this are what the network takes.
    #[wasm_bindgen(js_name = checkPreprocess)]
    pub fn check_preprocess(
        &self,
        width: u32,
        height: u32,
        resize: &str,
        mean: Vec<f32>,
        std: Vec<f32>,
        order: &str,
    ) -> Result<(), JsValue> {
        Ok(self.0.check(&preprocess_of((width, height), resize, [mean, std], order)?)?)
    }

    /// The network's input, from its numbers in the order `[1, C, H, W]`.
    pub fn input(&self, values: Vec<f32>) -> Result<Input, JsValue> {
        Ok(Input(self.0.input_of(values)?))
    }

    /// Runs the network.
    pub async fn classify(&self, input: Input) -> Result<Prediction, JsValue> {
        let network = Rc::clone(&self.0);
        let prediction = cam::Prediction::new(Rc::clone(&network), input.0).await?;
        Ok(Prediction { network, prediction })
    }
}

/// What the network is given.
#[wasm_bindgen]
pub struct Input(Tensor<4>);

/// What the network says of an input, ready to be explained.
#[wasm_bindgen]
pub struct Prediction {
    network: Rc<network::Network>,
    prediction: cam::Prediction,
}

#[wasm_bindgen]
impl Prediction {
    #[wasm_bindgen(getter)]
    pub fn scores(&self) -> Vec<f32> {
        self.prediction.scores().to_vec()
    }

    #[wasm_bindgen(getter)]
    pub fn probabilities(&self) -> Vec<f32> {
        self.prediction.probabilities().to_vec()
    }

    /// `progress` is called with fractions, `is_stopped` asked whether to go on.
    pub async fn explain(
        &self,
        method: &str,
        target_class: Option<usize>,
        layers: Vec<String>,
        aim: Aim,
        progress: Function,
        is_stopped: Function,
    ) -> Result<Explanation, JsValue> {
        let options = self.options(method, target_class, &layers, aim)?;
        Ok(Explanation(self.prediction.explain(&options, &hear(progress), &ask(is_stopped)).await?))
    }

    /// The concepts of which a layer's activations are made.
    pub async fn factorize(
        &self,
        layer: &str,
        concepts: usize,
        seed: u32,
        progress: Function,
        is_stopped: Function,
    ) -> Result<Concepts, JsValue> {
        let layer = Some(self.network.layer(layer)?);
        let options = FactorizeOptions { concepts, layer, start: Start::Seed(seed.into()) };
        Ok(Concepts(self.prediction.factorize(&options, &hear(progress), &ask(is_stopped)).await?.concepts))
    }

    /// The `count` channels of a layer that add most to a class's score.
    pub async fn units(&self, target_class: Option<usize>, layer: &str, count: usize) -> Result<Units, JsValue> {
        let layer = self.network.layer(layer)?;
        Ok(Units(self.prediction.units(target_class, Some(layer), count).await?))
    }

    /// The classes for which a place of a layer speaks: all of them, or the `likeliest` where each takes a gradient.
    #[wasm_bindgen(js_name = classesAt)]
    pub async fn classes_at(
        &self,
        layer: &str,
        column: usize,
        row: usize,
        likeliest: usize,
        is_stopped: Function,
    ) -> Result<Evidence, JsValue> {
        let layer = self.network.layer(layer)?;
        let is_stopped = || is_stopped.call0(&JsValue::NULL).is_ok_and(|answer| answer.is_truthy());
        Ok(Evidence(self.prediction.classes_at(Some(layer), (column, row), likeliest, &is_stopped).await?))
    }
}

/// What about a class is explained, and how smoothly.
#[wasm_bindgen]
pub struct Aim {
    target: Target,
    aug_smooth: bool,
    eigen_smooth: bool,
}

#[wasm_bindgen]
impl Aim {
    /// `rather_than` is another class, to whose score that of the target class is compared.
    #[wasm_bindgen(constructor)]
    pub fn new(target: &str, rather_than: Option<usize>, aug_smooth: bool, eigen_smooth: bool) -> Result<Aim, JsValue> {
        let target = match (target, rather_than) {
            ("score", Some(other)) => Target::Contrast(other),
            ("score", None) => Target::Score,
            ("against", None) => Target::Against,
            ("score-and-probability", None) => Target::ScoreAndProbability,
            ("against" | "score-and-probability", Some(_)) => {
                let message = "only the score of a class can be compared with that of another one";
                return Err(Error::new(ErrorKind::Target, message).into());
            }
            _ => {
                let message =
                    format!("`{target}` is nothing to explain; there are score, against, score-and-probability");
                return Err(Error::new(ErrorKind::Target, message).into());
            }
        };
        Ok(Aim { target, aug_smooth, eigen_smooth })
    }
}

/// What a layer's activations are made of.
#[wasm_bindgen]
pub struct Concepts(Vec<cam::Concept>);

#[wasm_bindgen]
impl Concepts {
    /// The width of every map.
    #[wasm_bindgen(getter)]
    pub fn width(&self) -> u32 {
        self.0.first().map_or(0, |concept| concept.map.width())
    }

    /// The height of every map.
    #[wasm_bindgen(getter)]
    pub fn height(&self) -> u32 {
        self.0.first().map_or(0, |concept| concept.map.height())
    }

    /// A concept's map.
    pub fn values(&self, concept: usize) -> Vec<f32> {
        self.0[concept].map.values().to_vec()
    }

    /// The scores of an image that shows it everywhere.
    pub fn scores(&self, concept: usize) -> Vec<f32> {
        self.0[concept].scores.clone()
    }

    /// From those scores.
    pub fn probabilities(&self, concept: usize) -> Vec<f32> {
        self.0[concept].probabilities.clone()
    }
}

/// Channels of a layer, those that add most to a score first.
#[wasm_bindgen]
pub struct Units(Vec<cam::Unit>);

#[wasm_bindgen]
impl Units {
    #[wasm_bindgen(getter)]
    pub fn channels(&self) -> Vec<u32> {
        self.0.iter().map(|unit| unit.channel as u32).collect()
    }

    #[wasm_bindgen(getter)]
    pub fn contributions(&self) -> Vec<f32> {
        self.0.iter().map(|unit| unit.contribution).collect()
    }

    /// The width of every map.
    #[wasm_bindgen(getter)]
    pub fn width(&self) -> u32 {
        self.0.first().map_or(0, |unit| unit.map.width())
    }

    /// The height of every map.
    #[wasm_bindgen(getter)]
    pub fn height(&self) -> u32 {
        self.0.first().map_or(0, |unit| unit.map.height())
    }

    /// The maps, one after the other.
    #[wasm_bindgen(getter)]
    pub fn values(&self) -> Vec<f32> {
        self.0.iter().flat_map(|unit| unit.map.values()).copied().collect()
    }
}

/// Classes for which a place of a layer speaks, highest first.
#[wasm_bindgen]
pub struct Evidence(cam::Evidence);

#[wasm_bindgen]
impl Evidence {
    #[wasm_bindgen(getter)]
    pub fn classes(&self) -> Vec<u32> {
        self.0.classes.iter().map(|&(class, _)| class as u32).collect()
    }

    #[wasm_bindgen(getter)]
    pub fn values(&self) -> Vec<f32> {
        self.0.classes.iter().map(|&(_, value)| value).collect()
    }

    /// Whether these are all classes of the network.
    #[wasm_bindgen(getter)]
    pub fn all(&self) -> bool {
        self.0.all
    }
}

impl Prediction {
    fn options(
        &self,
        method: &str,
        target_class: Option<usize>,
        layers: &[String],
        aim: Aim,
    ) -> Result<ExplainOptions, Error> {
        let layers = layers.iter().map(|name| self.network.layer(name)).collect::<Result<Vec<LayerId>, Error>>()?;
        let method = method.parse::<Method>()?;
        let Aim { target, aug_smooth, eigen_smooth } = aim;
        Ok(ExplainOptions {
            method,
            target_class,
            layers,
            target,
            aug_smooth,
            eigen_smooth,
            ..ExplainOptions::default()
        })
    }
}

/// A caller who hears of progress.
fn hear(progress: Function) -> impl Fn(f32) {
    move |fraction| {
        let _ = progress.call1(&JsValue::NULL, &fraction.into());
    }
}

/// A caller who may say that nobody waits any more.
fn ask(is_stopped: Function) -> impl Fn() -> bool {
    move || is_stopped.call0(&JsValue::NULL).is_ok_and(|answer| answer.is_truthy())
}

/// A class activation map and what it is of.
#[wasm_bindgen]
pub struct Explanation(cam::Explanation);

#[wasm_bindgen]
impl Explanation {
    #[wasm_bindgen(getter)]
    pub fn width(&self) -> u32 {
        self.0.map.width()
    }

    #[wasm_bindgen(getter)]
    pub fn height(&self) -> u32 {
        self.0.map.height()
    }

    #[wasm_bindgen(getter)]
    pub fn values(&self) -> Vec<f32> {
        self.0.map.values().to_vec()
    }

    #[wasm_bindgen(getter)]
    pub fn method(&self) -> String {
        self.0.method.name().to_owned()
    }

    #[wasm_bindgen(getter, js_name = targetClass)]
    pub fn target_class(&self) -> usize {
        self.0.target_class
    }

    #[wasm_bindgen(getter, js_name = targetLayers)]
    pub fn target_layers(&self) -> Vec<String> {
        self.0.layers.clone()
    }
}

/// Name, title, paper, summary and number of forward passes of every method, one after the other.
#[wasm_bindgen]
pub fn methods() -> Vec<String> {
    let row =
        |method: Method| [method.name(), method.title(), method.paper(), method.summary(), method.forward_passes()];
    Method::ALL.into_iter().flat_map(row).map(str::to_owned).collect()
}

/// A panic like any other, so that tests can see that the page survives one.
#[wasm_bindgen(js_name = panicForTest)]
pub fn panic_for_test() {
    panic!("a panic for a test");
}
