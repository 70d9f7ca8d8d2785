//! See why a neural network said what it said: class activation maps of image classifiers, natively
//! and in the browser. burn defines what is computed; kernels and shaders of our own compute it.

#[cfg(feature = "cpu")]
pub mod cam;
#[cfg(feature = "cpu")]
mod device;
#[cfg(feature = "cpu")]
mod engine;
mod error;
#[cfg(feature = "gpu")]
mod gpu;
pub mod heatmap;
#[cfg(feature = "cpu")]
pub mod host;
pub mod image;
#[cfg(feature = "cpu")]
pub mod judge;
#[cfg(feature = "cpu")]
pub mod network;
mod numbers;
#[cfg(feature = "cpu")]
pub mod onnx;
#[cfg(feature = "cpu")]
mod order;
pub mod overlay;
#[cfg(feature = "cpu")]
mod plan;
pub mod preprocess;
#[cfg(feature = "cpu")]
pub mod question;
#[cfg(feature = "cpu")]
mod random;
#[cfg(feature = "cpu")]
pub mod sanity;
#[cfg(feature = "cpu")]
mod schedule;
#[cfg(feature = "gpu")]
mod shaders;
#[cfg(feature = "cpu")]
mod tensor;
#[cfg(target_family = "wasm")]
mod web;

#[cfg(feature = "cpu")]
use gradcam_kernels::{self as kernels, formula};

#[cfg(feature = "cpu")]
pub use device::Device;
pub use error::{Error, ErrorKind, Result};

/// The README's example compiles.
#[cfg(all(doctest, feature = "cpu"))]
#[doc = include_str!("../README.md")]
struct Readme;
