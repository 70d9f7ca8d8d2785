//! Tensors on the CPU: burn's, or without burn the few operations that the engine uses, by the same names.
//!
//! burn is the definition: natively the engine computes with it, and everything else is held to it. The browser's builds
//! are compiled without: there burn keeps every operator for every data type, three quarters of the download, while
//! kernels and shaders already do nearly all of the work. What is left is [`own`], one data type, and the tests run with
//! it as they run with burn.

#[cfg(any(feature = "burn", feature = "gpu"))]
pub(crate) mod picking;
#[cfg(feature = "burn")]
pub(crate) use burn::tensor::{Device, Gradients, Slice, Tensor, TensorData, activation, module, ops};
#[cfg(feature = "burn")]
pub(crate) use picking::picked;

#[cfg(not(feature = "burn"))]
mod own;
#[cfg(not(feature = "burn"))]
pub(crate) use own::{Device, Gradients, Slice, Tensor, TensorData, activation, module, ops, picked};

/// The products of matrices, whose rows and columns are the last two axes.
pub(crate) fn product(left: Tensor<4>, right: Tensor<4>) -> Tensor<4> {
    left.matmul(right)
}

/// A tensor of these numbers, row-major.
pub(crate) fn tensor<const D: usize>(numbers: Vec<f32>, shape: [usize; D]) -> Tensor<D> {
    Tensor::from_data(TensorData::new(numbers, shape), &Device::flex())
}

/// The numbers of a tensor, row-major.
pub(crate) fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().expect("tensors are of f32")
}
