//! What crates want to have run before everything else.

unsafe extern "C" {
    /// Written by the linker: it calls all of them.
    safe fn __wasm_call_ctors();
}

/// Runs every constructor of the crates that are linked in; to be called once, before anything else of theirs.
///
/// In a library that never calls them the linker has *each* exported function call them when it begins: those of burn's
/// compiler, thousands, took 0.2 ms at every step from JavaScript into WebAssembly, of which a question has a hundred.
pub fn run_constructors() {
    __wasm_call_ctors();
}
