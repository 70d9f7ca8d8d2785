//! The boundary to JavaScript: the only module that names `wasm_bindgen`, `js_sys` or `web_sys`; no arithmetic.
