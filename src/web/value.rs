//! Plain values that cross to JavaScript and back: objects by the names of their fields.

use js_sys::{Float32Array, Object, Reflect};
use wasm_bindgen::JsValue;

/// An object of the package's own modules, which have checked what users wrote: a field that is missing reads as nothing.
pub(super) struct Fields<'a>(pub &'a JsValue);

impl Fields<'_> {
    pub fn field(&self, name: &str) -> JsValue {
        Reflect::get(self.0, &name.into()).unwrap_or(JsValue::UNDEFINED)
    }

    pub fn text(&self, name: &str) -> String {
        self.field(name).as_string().unwrap_or_default()
    }

    pub fn number(&self, name: &str) -> f64 {
        self.field(name).as_f64().unwrap_or_default()
    }

    pub fn numbers(&self, name: &str) -> Vec<f32> {
        Float32Array::new(&self.field(name)).to_vec()
    }
}

/// What only the engine is asked.
#[cfg(feature = "cpu")]
impl Fields<'_> {
    pub fn count(&self, name: &str) -> usize {
        self.number(name) as usize
    }

    pub fn count_if_any(&self, name: &str) -> Option<usize> {
        self.field(name).as_f64().map(|number| number as usize)
    }

    pub fn is(&self, name: &str) -> bool {
        self.field(name).is_truthy()
    }

    pub fn texts(&self, name: &str) -> Vec<String> {
        js_sys::Array::from(&self.field(name)).iter().filter_map(|text| text.as_string()).collect()
    }
}

/// An object of these fields.
pub(super) fn object<const N: usize>(fields: [(&str, JsValue); N]) -> JsValue {
    let object = Object::new();
    for (name, value) in fields {
        // A new object takes any field.
        let _ = Reflect::set(&object, &name.into(), &value);
    }
    object.into()
}

#[cfg(feature = "cpu")]
pub(super) fn list(values: impl Iterator<Item = JsValue>) -> JsValue {
    values.collect::<js_sys::Array>().into()
}

/// A `Float32Array`.
pub(super) fn numbers(values: &[f32]) -> JsValue {
    Float32Array::from(values).into()
}
