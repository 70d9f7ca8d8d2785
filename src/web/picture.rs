//! Reading pictures and preparing them for a network, in the page's worker.
//!
//! Builds of their own beside the engines, which all need the same: JPEG and PNG in one, every format in another, which
//! loads when a picture asks for it.

use js_sys::Uint8Array;
use wasm_bindgen::prelude::*;

use super::preprocess_of;
use crate::image::Image;
use crate::preprocess::{Placement, Preprocess, input_from_image};

/// How images are prepared for a network.
#[wasm_bindgen]
pub struct Preparation {
    preprocess: Preprocess,
    channels: usize,
}

#[wasm_bindgen]
impl Preparation {
    /// `channels` is how many the network takes.
    #[wasm_bindgen(constructor)]
    pub fn new(
        width: u32,
        height: u32,
        resize: &str,
        mean: Vec<f32>,
        std: Vec<f32>,
        order: &str,
        channels: usize,
    ) -> Result<Preparation, JsValue> {
        super::report_panics();
        let preprocess = preprocess_of((width, height), resize, [mean, std], order)?;
        preprocess.check(channels)?;
        Ok(Preparation { preprocess, channels })
    }
}

/// A decoded picture.
#[wasm_bindgen]
pub struct Picture(Image);

#[wasm_bindgen]
impl Picture {
    /// Reads a file of one of the build's formats.
    pub fn decode(bytes: Vec<u8>) -> Result<Picture, JsValue> {
        super::report_panics();
        Ok(Picture(Image::decode(&bytes)?))
    }

    /// A picture from its pixels.
    #[wasm_bindgen(js_name = fromRgba)]
    pub fn from_rgba(width: u32, height: u32, rgba: Vec<u8>) -> Result<Picture, JsValue> {
        Ok(Picture(Image::from_rgba(width, height, rgba)?))
    }

    #[wasm_bindgen(getter)]
    pub fn width(&self) -> u32 {
        self.0.width()
    }

    #[wasm_bindgen(getter)]
    pub fn height(&self) -> u32 {
        self.0.height()
    }

    /// A copy of the pixels.
    pub fn rgba(&self) -> Uint8Array {
        Uint8Array::from(self.0.rgba())
    }

    /// What a network sees of it.
    pub fn prepared(&self, preparation: &Preparation) -> Result<Prepared, JsValue> {
        let (values, placement) = input_from_image(&self.0, &preparation.preprocess, preparation.channels)?;
        Ok(Prepared { values, placement })
    }
}

/// A picture as a network sees it.
#[wasm_bindgen]
pub struct Prepared {
    values: Vec<f32>,
    placement: Placement,
}

#[wasm_bindgen]
impl Prepared {
    /// The network's input in the order `[1, C, H, W]`.
    #[wasm_bindgen(getter)]
    pub fn values(&self) -> Vec<f32> {
        self.values.clone()
    }

    /// Where the network's whole input lies on the image: x, y, width, height in pixels.
    #[wasm_bindgen(getter)]
    pub fn rect(&self) -> Vec<f64> {
        self.placement.rect().to_vec()
    }
}
