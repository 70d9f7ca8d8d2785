//! The definition once more, on burn's tensors on a graphics card: every step, and runs of steps forwards and back.
//!
//! Nearly all products of matrices and convolutions are shaders of our own. The few that are none are sums of burn's: its
//! own products come with some hundred kilobytes of code that looks for the fastest.

/// burn's tensors, and what the steps need beside them.
mod tensor {
    pub(super) use burn::tensor::{Device, Gradients, Slice, Tensor, TensorData, activation, ops};

    pub(super) use super::sums::product;
    pub(super) use crate::tensor::picking::picked;

    pub(super) mod module {
        pub(in super::super) use super::super::sums::conv2d;
        pub(in super::super) use burn::tensor::module::{avg_pool2d, max_pool2d};
    }
}

#[path = "step.rs"]
mod step;
mod sums;
#[expect(dead_code, reason = "runs beside others are computed on the CPU")]
#[path = "tape.rs"]
mod tape;

pub(super) use step::run;
pub(super) use tape::Tape;
