//! Whole parts of the crate against values from elsewhere: Pillow, torchvision, pytorch-grad-cam, onnxruntime.

#[cfg(feature = "cpu")]
mod cams;
#[cfg(feature = "cpu")]
mod exported;
mod fixtures;
#[cfg(feature = "cpu")]
mod forms;
mod heatmaps;
#[cfg(feature = "cpu")]
mod hostile;
#[cfg(feature = "cpu")]
mod judging;
#[cfg(feature = "cpu")]
mod networks;
#[cfg(feature = "cpu")]
mod operators;
#[cfg(feature = "formats")]
mod pictures;
mod samples;
#[cfg(feature = "cpu")]
mod units;
