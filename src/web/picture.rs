//! Reading pictures and preparing them for a network, in the page's worker.
//!
//! Builds of their own beside the engines, which all need the same: JPEG and PNG in one, every format in another, which
//! loads when a picture asks for it.

use js_sys::{Float64Array, Uint8Array};
use wasm_bindgen::prelude::*;

use super::preprocess_of;
use super::value::{numbers, object};
use crate::image::Image;
use crate::preprocess::{Preprocess, input_from_image};

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
    pub fn new(preprocess: &JsValue, channels: usize) -> Result<Preparation, JsValue> {
        super::report_panics();
        let preprocess = preprocess_of(preprocess)?;
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

    /// Width and height in pixels, and whether the file has more frames, of which this is the first.
    pub fn info(&self) -> JsValue {
        object([
            ("width", self.0.width().into()),
            ("height", self.0.height().into()),
            ("isAnimated", self.0.is_animated().into()),
        ])
    }

    /// A copy of the pixels.
    pub fn rgba(&self) -> Uint8Array {
        Uint8Array::from(self.0.rgba())
    }

    /// What a network sees of it: its input's numbers in the order `[1, C, H, W]`, and where its whole input lies on the image
    /// (x, y, width, height in pixels).
    pub fn prepared(&self, preparation: &Preparation) -> Result<JsValue, JsValue> {
        let (values, placement) = input_from_image(&self.0, &preparation.preprocess, preparation.channels)?;
        let rect = Float64Array::from(&placement.rect()[..]);
        Ok(object([("values", numbers(&values)), ("rect", rect.into())]))
    }
}
