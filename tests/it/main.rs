//! Whole parts of the crate against values from elsewhere: Pillow, torchvision, pytorch-grad-cam, onnxruntime.

mod fixtures;
mod heatmaps;
#[cfg(feature = "decode")]
mod pictures;
