//! Running networks, in the page's worker.

use std::collections::BTreeMap;
use std::rc::Rc;

use js_sys::{Function, Map};
use wasm_bindgen::prelude::*;

use self::question::{question_of, value_of};
use super::preprocess_of;
use super::value::{Fields, list, numbers, object};
use crate::cam;
use crate::device::Device;
use crate::network;
use crate::onnx::{self, LoadOptions};

mod question;

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
        crate::kernels::run_constructors();
        crate::host::set_next_turn(|| Box::pin(super::next_turn()));
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

    /// Waits until the graphics card fails or is lost, whatever was asked of it, and tells why.
    #[cfg(feature = "gpu")]
    pub async fn failure(&self) -> String {
        match self.device.gpu.clone() {
            Some(gpu) => gpu.failure().await,
            None => std::future::pending().await,
        }
    }

    /// What an ONNX file says before it is read: `parts`, the names of the files in which it keeps parameters, where it does not
    /// hold them itself, and `metadata`.
    pub fn outline(&self, bytes: &[u8]) -> JsValue {
        let parts = onnx::part_names(bytes).into_iter().map(JsValue::from);
        object([("parts", list(parts)), ("metadata", map(&onnx::metadata(bytes)))])
    }

    /// Reads an ONNX file, whose parameters may lie in further files, each with its name; `width`, `height` and `default_layer`
    /// settle what the file leaves open.
    pub fn load(
        &self,
        bytes: Vec<u8>,
        names: Vec<String>,
        parts: Vec<js_sys::Uint8Array>,
        width: Option<u32>,
        height: Option<u32>,
        default_layer: Option<String>,
    ) -> Result<Network, JsValue> {
        let options = LoadOptions { input_size: width.zip(height), default_layer };
        let parts = names.into_iter().zip(parts.iter().map(js_sys::Uint8Array::to_vec)).collect();
        Ok(Network(Rc::new(onnx::load_parts(bytes, parts, &options, &self.device)?)))
    }
}

/// A `Map` of strings.
fn map(entries: &BTreeMap<String, String>) -> JsValue {
    let map = Map::new();
    for (key, value) in entries {
        map.set(&key.into(), &value.into());
    }
    map.into()
}

/// A loaded network.
#[wasm_bindgen]
pub struct Network(Rc<network::Network>);

#[wasm_bindgen]
impl Network {
    /// What it takes and has: input, classes, layers, default layer and the file's metadata.
    pub fn info(&self) -> JsValue {
        let network = &self.0;
        let input = network.input();
        let layers = network.layers().iter().map(|layer| {
            object([
                ("name", layer.name.as_str().into()),
                ("operator", layer.operator.as_str().into()),
                ("shape", list(layer.shape.iter().map(|&side| (side as u32).into()))),
                ("kind", layer.kind.name().into()),
            ])
        });
        object([
            (
                "input",
                object([
                    ("width", input.width.into()),
                    ("height", input.height.into()),
                    ("channels", (input.channels as u32).into()),
                ]),
            ),
            ("classes", (network.classes() as u32).into()),
            ("layers", list(layers)),
            ("defaultLayer", network.default_layer().into()),
            ("metadata", map(network.metadata())),
        ])
    }

    /// How many steps of the network have been run so far, and how many of them the CPU ran though there is a graphics card.
    pub fn counts(&self) -> JsValue {
        object([("stepsRun", (self.0.steps_run() as f64).into()), ("cpuSteps", (self.0.cpu_steps() as f64).into())])
    }

    /// Whether images prepared like this are what the network takes.
    #[wasm_bindgen(js_name = checkPreprocess)]
    pub fn check_preprocess(&self, preprocess: &JsValue) -> Result<(), JsValue> {
        Ok(self.0.check(&preprocess_of(preprocess)?)?)
    }

    /// Runs the network on its input's numbers, in the order `[1, C, H, W]`, so that questions about `layer` are quick.
    pub async fn classify(&self, input: Vec<f32>, layer: Option<String>) -> Result<Prediction, JsValue> {
        // Whoever asks about a layer that is not there hears of it as the answer.
        let layer = layer.and_then(|name| self.0.layer(&name).ok()).unwrap_or(self.0.default_layer_id());
        Ok(Prediction(cam::Prediction::ready_at(Rc::clone(&self.0), &input, layer).await?))
    }
}

/// What the network says of an input, ready to be explained.
#[wasm_bindgen]
pub struct Prediction(cam::Prediction);

#[wasm_bindgen]
impl Prediction {
    /// One number a class each: scores and probabilities.
    pub fn classified(&self) -> JsValue {
        object([("scores", numbers(self.0.scores())), ("probabilities", numbers(&self.0.probabilities()))])
    }

    /// How many bytes it takes.
    pub fn memory(&self) -> f64 {
        self.0.memory() as f64
    }

    /// The answer to the question of that name. `progress` is called with fractions, `is_stopped` asked whether to go on.
    pub async fn ask(
        &self,
        name: &str,
        question: JsValue,
        progress: Function,
        is_stopped: Function,
    ) -> Result<JsValue, JsValue> {
        let question = question_of(self.0.network(), name, &Fields(&question))?;
        Ok(value_of(&self.0.ask(question, &hear(progress), &ask(is_stopped)).await?))
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

/// How many bytes of the engine's memory are in use.
#[wasm_bindgen(js_name = usedMemory)]
pub fn used_memory() -> f64 {
    crate::kernels::used_memory() as f64
}

/// A panic like any other, so that tests can see that the page survives one.
#[wasm_bindgen(js_name = panicForTest)]
pub fn panic_for_test() {
    panic!("a panic for a test");
}
