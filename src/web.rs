//! The boundary to JavaScript: the only module that names `wasm_bindgen`, `js_sys` or `web_sys`; no arithmetic.
//!
//! Three parts of one page: [`picture`] reads images and [`engine`] runs networks, both in a worker; [`view`] draws on the
//! page's main thread, where `draw` and `heatmapAt` have to answer at once. JavaScript sees a few immutable handles and typed arrays.
//!
//! **Invariants.** No exported function takes `&mut self`: a second call during an asynchronous one would throw. Errors
//! cross here, once, as a JavaScript `Error` whose `name` is the kind.

#[cfg(feature = "cpu")]
mod engine;
#[cfg(feature = "decode")]
mod picture;
#[cfg(feature = "view")]
mod view;

use wasm_bindgen::JsValue;

use crate::Error;

/// Waits until messages that arrived meanwhile have been taken up.
#[cfg(feature = "cpu")]
pub(crate) async fn next_turn() {
    let promise = js_sys::Promise::new(&mut |resolve, _| {
        let timer = js_sys::Reflect::get(&js_sys::global(), &"setTimeout".into());
        let timer = timer.map(js_sys::Function::from);
        if timer.and_then(|timer| timer.call1(&JsValue::NULL, &resolve)).is_err() {
            // Without timers there are no messages to wait for.
            let _ = resolve.call0(&JsValue::NULL);
        }
    });
    let _ = wasm_bindgen_futures::JsFuture::from(promise).await;
}

impl From<Error> for JsValue {
    fn from(error: Error) -> JsValue {
        let thrown = js_sys::Error::new(error.message());
        thrown.set_name(error.kind().name());
        thrown.into()
    }
}

/// Leaves a panic's message where the page's worker finds it: an instance that panicked can no longer be asked for it.
#[cfg(any(feature = "cpu", feature = "decode"))]
fn report_panics() {
    std::panic::set_hook(Box::new(|info| {
        let _ = js_sys::Reflect::set(&js_sys::global(), &"gradcamPanic".into(), &info.to_string().into());
    }));
}

/// How JavaScript says how images are prepared.
#[cfg(any(feature = "cpu", feature = "decode"))]
fn preprocess_of(
    (width, height): (u32, u32),
    resize: &str,
    [mean, std]: [Vec<f32>; 2],
    order: &str,
) -> crate::Result<crate::preprocess::Preprocess> {
    Ok(crate::preprocess::Preprocess { width, height, resize: resize.parse()?, mean, std, order: order.parse()? })
}
