//! Maps at the size of the input, from gradients by every value of the network.

use super::passes::enlarge;
use super::target::wide;
use super::{Objective, Prediction, Target, Task};
use crate::Result;
use crate::engine::{Rectifiers, stretched_sum};
use crate::heatmap::Grid;
use crate::network::runs::Watch;
use crate::tensor::{Tensor, numbers};

impl Prediction {
    /// The gradient of a class's score by each number of the input, `[C, H, W]`, that passes back through a rectifier only
    /// where it is positive itself (guided backpropagation, Springenberg et al. 2014). The top class if `None`.
    ///
    /// Rectifiers are Relu, LeakyRelu, PRelu, Elu, Selu, Clip from 0 (ReLU6), and the smooth ones: Softplus, Swish (SiLU),
    /// HardSwish, Gelu and Mish; each passes max(G, 0) times its own derivative. pytorch-grad-cam and captum reach modules
    /// of PyTorch's `ReLU` only.
    ///
    /// # Errors
    /// `TargetError` if there is no such class, `DeviceError` if a graphics card gives no result.
    pub async fn guided_backpropagation(&self, target_class: Option<usize>) -> Result<Vec<f32>> {
        let class = self.class_or_top(target_class)?;
        Ok(numbers(self.guided(&Objective::new(Target::Score, class)).await?))
    }

    async fn guided(&self, objective: &Objective) -> Result<Tensor<4>> {
        let slopes = objective.slopes(&wide(&self.scores));
        let input = self.input.clone();
        Ok(self.network.gradients_by_input(input, &slopes, Rectifiers::Guided, false).await?.0)
    }
}

impl Task<'_> {
    /// For each place the largest absolute value among the input's channels, as in Simonyan et al. 2013.
    pub(super) async fn guided_map(&self) -> Result<Grid> {
        Ok(grid(self.prediction.guided(&self.objective).await?.abs().max_dim(1)))
    }

    /// Σ ψ(|x · ∂y/∂x|) over the input's channels plus Σ ψ(|b_k · G_k|) over the channels of all layers with a bias b, where
    /// ψ stretches to 0..=1 (plus 1e-7 below) and enlarges to the size of the input. Srinivas and Fleuret 2019.
    ///
    /// As in pytorch-grad-cam, biases are those of convolutions and batch normalisations (as the file has them: an exporter
    /// may have joined the two), not of linear layers, and each channel is stretched by itself; the authors' own program
    /// stretches all channels of a layer together.
    pub(super) async fn full_grad(&self, watch: Watch<'_>) -> Result<Grid> {
        let network = self.network();
        let input = &self.prediction.input;
        let [_, _, height, width] = input.dims();
        let slopes = self.objective.slopes(&wide(self.prediction.scores()));
        // Enlarging is linear, so that channels are added up first; layers of one size share one sum.
        let (gradients, mut sums) = network.gradients_by_input(input.clone(), &slopes, Rectifiers::Plain, true).await?;
        sums.push(stretched_sum(input.clone().mul(gradients)));
        watch.pause_at(0.9).await?;
        let enlarged = sums.into_iter().map(|sum| enlarge(sum, height, width));
        let map = enlarged.reduce(Tensor::add).expect("there is the input");
        Ok(grid(map))
    }
}

/// A map `[1, 1, h, w]`.
fn grid(map: Tensor<4>) -> Grid {
    let [_, _, height, width] = map.dims();
    Grid::new(width as u32, height as u32, numbers(map))
}
