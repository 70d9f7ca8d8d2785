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
#[cfg(any(feature = "cpu", feature = "decode"))]
mod value;
#[cfg(feature = "view")]
mod view;

use wasm_bindgen::JsValue;

use crate::Error;

/// Waits until messages that arrived meanwhile have been taken up.
#[cfg(feature = "cpu")]
async fn next_turn() {
    pause(0).await;
}

/// The same, after so many milliseconds at least.
#[cfg(feature = "cpu")]
async fn pause(milliseconds: u32) {
    let promise = js_sys::Promise::new(&mut |resolve, _| {
        let timer = js_sys::Reflect::get(&js_sys::global(), &"setTimeout".into());
        let timer = timer.map(js_sys::Function::from);
        if timer.and_then(|timer| timer.call2(&JsValue::NULL, &resolve, &milliseconds.into())).is_err() {
            // Without timers there are no messages to wait for.
            let _ = resolve.call0(&JsValue::NULL);
        }
    });
    let _ = wasm_bindgen_futures::JsFuture::from(promise).await;
}

/// Calls `nudge` for as long as it says that something is waited for: each millisecond at first, less often after 20, no
/// longer than a second. Only in Firefox, which looks whether a graphics card has finished ten times a second unless it is
/// given something to do: an answer took 103 ms there, whatever was computed.
#[cfg(feature = "gpu")]
pub(crate) fn keep_moving(nudge: impl Fn() -> bool + 'static) {
    let of = |object: &JsValue, name: &str| js_sys::Reflect::get(object, &name.into());
    let agent = of(&js_sys::global(), "navigator").and_then(|navigator| of(&navigator, "userAgent"));
    if !agent.is_ok_and(|agent| agent.as_string().is_some_and(|agent| agent.contains("Firefox/"))) {
        return;
    }
    wasm_bindgen_futures::spawn_local(async move {
        let start = js_sys::Date::now();
        while nudge() {
            let waited = js_sys::Date::now() - start;
            if waited > 1000. {
                return;
            }
            pause(if waited < 20. { 1 } else { 8 }).await;
        }
    });
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
fn preprocess_of(value: &JsValue) -> crate::Result<crate::preprocess::Preprocess> {
    let fields = value::Fields(value);
    Ok(crate::preprocess::Preprocess {
        width: fields.number("width") as u32,
        height: fields.number("height") as u32,
        resize: fields.text("resize").parse()?,
        mean: fields.numbers("mean"),
        std: fields.numbers("std"),
        order: fields.text("order").parse()?,
    })
}
