//! Drawing, for the page's main thread.

use js_sys::{Array, Float32Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen::{Clamped, JsCast};
use web_sys::{
    CanvasRenderingContext2d, HtmlCanvasElement, ImageData, OffscreenCanvas, OffscreenCanvasRenderingContext2d,
};

use crate::heatmap::{Grid, Heatmap};
use crate::image::{Image, check_size};
use crate::overlay::{self, Colormap, Style, regions};
use crate::preprocess::Placement;
use crate::{Error, ErrorKind};

/// An image and a heatmap over it.
#[wasm_bindgen]
pub struct Overlay {
    image: Image,
    heatmap: Heatmap,
    placement: Placement,
}

#[wasm_bindgen]
impl Overlay {
    /// `map` is the class activation map, `rect` where the network's whole input lies on the image:
    /// x, y, width, height in pixels.
    #[wasm_bindgen(constructor)]
    pub fn new(width: u32, height: u32, rgba: Vec<u8>, rect: &[f64], map: &Map) -> Result<Overlay, JsValue> {
        let image = Image::from_rgba(width, height, rgba)?;
        let rect = rect.try_into().map_err(|_| Error::new(ErrorKind::Image, "a placement takes four numbers"))?;
        // Only points of the input need its size, and none are asked for here.
        let placement = Placement::from_rect(rect, (width, height));
        Ok(Overlay { image, heatmap: map.0.heatmap(), placement })
    }

    /// The same image under another map.
    #[wasm_bindgen(js_name = withMap)]
    pub fn with_map(self, map: &Map) -> Overlay {
        Overlay { heatmap: map.0.heatmap(), ..self }
    }

    /// Makes `canvas` as large as the image and draws image and heatmap on it.
    pub fn draw(
        &self,
        canvas: &JsValue,
        colormap: &str,
        opacity: f32,
        threshold: f32,
        by_value: bool,
    ) -> Result<(), JsValue> {
        let mut style = Style::new(colormap.parse::<Colormap>()?, opacity)?.with_threshold(threshold)?;
        if by_value {
            style = style.with_opacity_by_value();
        }
        let pixels = overlay::blend(&self.image, &self.heatmap, &self.placement, &style);
        let (width, height) = (self.image.width(), self.image.height());
        let picture = ImageData::new_with_u8_clamped_array_and_sh(Clamped(&pixels), width, height)?;
        put(canvas, width, height, &picture)
    }

    /// The numbers over the whole image, 0 where the network did not look.
    pub fn values(&self) -> Vec<f32> {
        self.over_image().values().to_vec()
    }

    /// Boxes around what reaches `threshold`, the largest first: x, y, width and height one after the other.
    pub fn boxes(&self, threshold: f32) -> Vec<u32> {
        let boxes = regions::boxes(&self.over_image(), threshold);
        boxes.iter().flat_map(|region| [region.x, region.y, region.width, region.height]).collect()
    }

    /// Closed lines around what reaches `threshold`, each as a `Float32Array` of x and y one after the other.
    pub fn contours(&self, threshold: f32) -> Array {
        let lines = regions::contours(&self.over_image(), threshold);
        lines.into_iter().map(|line| Float32Array::from(line.as_flattened())).collect()
    }

    fn over_image(&self) -> Grid {
        overlay::values_over(&self.heatmap, &self.placement, (self.image.width(), self.image.height()))
    }

    /// The heatmap's number in a pixel of the image, 0..=1; nothing where the network did not look.
    #[wasm_bindgen(js_name = valueAt)]
    pub fn value_at(&self, x: u32, y: u32) -> Option<f32> {
        overlay::value_at(&self.heatmap, &self.placement, (x, y))
    }
}

/// A class activation map.
#[wasm_bindgen]
pub struct Map(Grid);

#[wasm_bindgen]
impl Map {
    /// Row-major numbers, as an explanation carries them.
    #[wasm_bindgen(constructor)]
    pub fn new(width: u32, height: u32, values: Vec<f32>) -> Map {
        Map(Grid::new(width, height, values))
    }

    /// Rectified, stretched to 0..=1, at the map's own resolution.
    pub fn heatmap(&self) -> Vec<f32> {
        self.0.heatmap().grid().values().to_vec()
    }

    /// The heatmap at another size, stretched to 0..=1 again.
    #[wasm_bindgen(js_name = heatmapAt)]
    pub fn heatmap_at(&self, width: u32, height: u32) -> Result<Vec<f32>, JsValue> {
        check_size("the heatmap", width, height)
            .map_err(|error| Error::new(ErrorKind::Target, error.message().to_owned()))?;
        Ok(self.0.heatmap().resampled(width, height).grid().values().to_vec())
    }

    /// What to tell a person who sees the heatmap.
    pub fn sentence(&self) -> String {
        self.0.state().sentence().to_owned()
    }
}

/// Draws an image and over it the maps of several concepts, each in its colour; `values` are the maps one after the other.
#[wasm_bindgen(js_name = drawConcepts)]
#[allow(clippy::too_many_arguments, reason = "an image, its placement, its maps, one by one")]
pub fn draw_concepts(
    width: u32,
    height: u32,
    rgba: Vec<u8>,
    rect: &[f64],
    map_width: u32,
    map_height: u32,
    values: &[f32],
    canvas: &JsValue,
    opacity: f32,
) -> Result<(), JsValue> {
    let image = Image::from_rgba(width, height, rgba)?;
    let rect = rect.try_into().map_err(|_| Error::new(ErrorKind::Image, "a placement takes four numbers"))?;
    let maps = values.chunks_exact(map_width as usize * map_height as usize);
    let heatmaps: Vec<Heatmap> = maps.map(|map| Grid::new(map_width, map_height, map.to_vec()).heatmap()).collect();
    let style = Style::new(Colormap::default(), opacity)?;
    let pixels = overlay::blend_concepts(&image, &heatmaps, &Placement::from_rect(rect, (width, height)), &style);
    put(canvas, width, height, &ImageData::new_with_u8_clamped_array_and_sh(Clamped(&pixels), width, height)?)
}

/// The colours of that many concepts, red, green, blue.
#[wasm_bindgen(js_name = conceptColors)]
pub fn concept_colors(count: usize) -> Vec<u8> {
    overlay::concept_colors(count).into_flattened()
}

/// A colormap's 256 colours, red, green, blue.
#[wasm_bindgen]
pub fn colors(colormap: &str) -> Result<Vec<u8>, JsValue> {
    Ok(colormap.parse::<Colormap>()?.colors().as_flattened().to_vec())
}

fn put(canvas: &JsValue, width: u32, height: u32, picture: &ImageData) -> Result<(), JsValue> {
    let no_canvas = || Error::new(ErrorKind::Target, "draw takes an HTMLCanvasElement or an OffscreenCanvas");
    let no_context =
        || Error::new(ErrorKind::Target, "the canvas already has a context of another kind; draw needs a 2d context");
    // A canvas that is given its own size again is cleared all the same, and every pixel is about to be replaced.
    if let Some(canvas) = canvas.dyn_ref::<HtmlCanvasElement>() {
        let context = canvas.get_context("2d")?.ok_or_else(no_context)?;
        if (canvas.width(), canvas.height()) != (width, height) {
            canvas.set_width(width);
            canvas.set_height(height);
        }
        context.unchecked_ref::<CanvasRenderingContext2d>().put_image_data(picture, 0., 0.)
    } else if let Some(canvas) = canvas.dyn_ref::<OffscreenCanvas>() {
        let context = canvas.get_context("2d")?.ok_or_else(no_context)?;
        if (canvas.width(), canvas.height()) != (width, height) {
            canvas.set_width(width);
            canvas.set_height(height);
        }
        context.unchecked_ref::<OffscreenCanvasRenderingContext2d>().put_image_data(picture, 0., 0.)
    } else {
        Err(no_canvas().into())
    }
}
