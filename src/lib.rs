//! See why a neural network said what it said: class activation maps of image classifiers, in Rust on burn,
//! natively and in the browser.

#[cfg(feature = "engine")]
pub mod cam;
mod error;
#[cfg(feature = "engine")]
mod formula;
pub mod heatmap;
pub mod image;
#[cfg(feature = "engine")]
pub mod judge;
#[cfg(feature = "cpu")]
mod kernels;
#[cfg(feature = "engine")]
pub mod network;
#[cfg(feature = "engine")]
pub mod onnx;
pub mod overlay;
pub mod preprocess;
#[cfg(feature = "engine")]
mod random;
#[cfg(feature = "engine")]
pub mod sanity;
#[cfg(feature = "gpu")]
mod shaders;
#[cfg(feature = "engine")]
mod tensor;
#[cfg(target_family = "wasm")]
mod web;

pub use error::{Error, ErrorKind, Result};
/// What networks run on, as [`onnx::load`] takes it.
#[cfg(feature = "engine")]
pub use tensor::{Device, Tensor};

/// The README's example compiles.
#[cfg(all(doctest, feature = "cpu"))]
#[doc = include_str!("../README.md")]
struct Readme;
