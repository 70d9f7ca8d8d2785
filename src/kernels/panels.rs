//! Weights in the orders in which kernels read them.

use std::rc::Rc;

use super::{Tiling, convolution, depthwise, winograd};

/// Packed weights, and biases where the kernel reads them there. Kernels of one [`Order`], with the same weights and biases, can
/// share them.
pub type Panels = Rc<Vec<f32>>;

/// The order in which a kernel reads its weights. A kernel is made with a function that packs them so, or has them packed
/// already.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Order {
    /// For each group and each block of eight outputs the biases, then for each number of the window eight weights.
    Direct {
        outputs: usize,
        /// Of each group.
        inputs: usize,
        groups: usize,
        kernel: [usize; 2],
        /// From a pixel to the next, where the window's neighbouring pixels are read as one stretch.
        joined: Option<usize>,
    },
    /// For each four channels the biases, then for each place of the window four weights.
    Depthwise { channels: usize, taps: usize },
    /// For each of a tile's products and each block of eight outputs eight zeros, then for each input eight transformed weights.
    Winograd { tiling: Tiling, inputs: usize, outputs: usize },
}

impl Order {
    /// Packs weights `[outputs, inputs / groups, kernel height, kernel width]` and a bias for each output.
    pub fn pack(self, weights: &[f32], bias: &[f32]) -> Panels {
        Rc::new(match self {
            Order::Direct { outputs, inputs, groups, kernel, joined } => {
                let order = convolution::order(inputs, kernel, joined);
                let each = outputs / groups;
                let per_group = each * inputs * kernel[0] * kernel[1];
                let rows = (0..groups).map(|group| &weights[group * per_group..][..per_group]);
                let mut packed = rows.zip(bias.chunks_exact(each));
                // A single group is moved rather than copied.
                let (rows, biases) = packed.next().expect("there is a group");
                let mut panels = convolution::pack(rows, each, &order, biases);
                packed.for_each(|(rows, bias)| panels.extend(convolution::pack(rows, each, &order, bias)));
                panels
            }
            Order::Depthwise { channels, taps } => depthwise::pack(weights, channels, taps, bias),
            Order::Winograd { tiling, inputs, outputs } => winograd::pack(weights, tiling, inputs, outputs),
        })
    }
}
