//! Tensors: burn's, or on a CPU without burn the few operations that the engine uses, by the same names.
//!
//! burn is the definition, on graphics cards the engine, and natively what everything else is held to. The browser's CPU
//! build is compiled without it: there burn keeps every operator for every data type, three quarters of the download,
//! while the kernels already do nearly all of the work. What is left is [`own`], one data type, and the tests run with it
//! as they run with burn.

#[cfg(feature = "burn")]
pub use burn_tensor::{Device, Tensor};
#[cfg(feature = "burn")]
pub(crate) use burn_tensor::{Slice, TensorData, activation, module, ops};

#[cfg(not(feature = "burn"))]
#[expect(clippy::should_implement_trait, reason = "burn's names")]
mod own;
#[cfg(not(feature = "burn"))]
pub use own::{Device, Tensor};
#[cfg(not(feature = "burn"))]
pub(crate) use own::{Slice, TensorData, activation, module, ops};
