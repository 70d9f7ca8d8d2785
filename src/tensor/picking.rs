//! Numbers picked from places, on burn's tensors.

use burn::tensor::{Int, Tensor, TensorData};

use crate::plan::NOWHERE;

/// The number at each of `places` of each image in turn, `fill` at [`NOWHERE`], in the given shape.
pub(crate) fn picked(x: Tensor<4>, places: &[u32], fill: f32, shape: [usize; 4]) -> Tensor<4> {
    let images = shape.iter().product::<usize>() / places.len();
    let each = x.dims().iter().product::<usize>() / images;
    let device = x.device();
    // The number to fill in stands behind the last one.
    let mut filled = Tensor::from_data(TensorData::new(vec![fill; images], [images, 1]), &device);
    let x = x.reshape([images, each]);
    if x.is_autodiff() {
        filled = filled.autodiff();
    }
    let places: Vec<i32> = places.iter().map(|&at| if at == NOWHERE { each as i32 } else { at as i32 }).collect();
    let count = places.len();
    let places = Tensor::<1, Int>::from_data(TensorData::new(places, [count]), &device);
    Tensor::cat(vec![x, filled], 1).select(1, places).reshape(shape)
}
