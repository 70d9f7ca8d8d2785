//! Whether a device computes what it should, before anyone relies on it.
//!
//! Drivers with wrong results exist. The same small network is computed here by plain loops and compared, on a graphics
//! card its gradient by burn's kernels; a card is also held to the CPU in every kind of shader.

use std::collections::BTreeMap;

use super::{InputSpec, Network, evaluate};
use crate::device::Device;
use crate::engine::Rectifiers;
use crate::plan::{Activation, Constant, Layout, Op, Output, OutputKind, Plan, Step, Unary, Value, ValueId};
use crate::tensor::{Tensor, numbers, tensor};
use crate::{Error, ErrorKind, Result};

#[cfg(feature = "gpu")]
mod every;

/// What the device may differ by, relative to the largest number.
const TOLERANCE: f32 = 1e-4;

/// Input `[1, 2, 7, 6]`, convolution 3×3 to 3 channels with stride 2 and padding 1, ReLU, max pooling 2×2 with stride 1,
/// and a matrix to 2 scores.
const CONVOLVED: [usize; 2] = [4, 3];
const POOLED: [usize; 2] = [3, 2];

/// Runs a small network forwards and backwards and compares it with plain arithmetic; on a graphics card, then, one that
/// takes every kind of shader, which is compared with the CPU.
///
/// # Errors
/// `DeviceError` if a number differs by more than 1e-4 of the largest, or if the device gives no result.
pub async fn self_test(device: &Device) -> Result<()> {
    // Any numbers of both signs will do; a fixed sequence keeps runs comparable.
    let some = |count: usize, seed: usize| -> Vec<f32> {
        (0..count).map(|i| ((i * 37 + seed * 11) % 23) as f32 / 11. - 1.).collect()
    };
    let (input, weights, matrix) = (some(2 * 7 * 6, 1), some(3 * 2 * 9, 2), some(18 * 2, 3));
    let (expected_scores, expected_gradients) = plain(&input, &weights, &matrix);

    let (input, plan) = (tensor(input, [1, 2, 7, 6]), plan(weights, matrix));
    let gradient = slopes(plan.clone(), input.clone(), device).await?;
    agrees("a small network's backward pass", &gradient, &expected_gradients)?;
    let scores = evaluate(plan, vec![input], device, false).await?;
    agrees("a small network's forward pass", &numbers(scores), &expected_scores)?;
    #[cfg(feature = "gpu")]
    if device.gpu.is_some() {
        every::shader(device).await?;
    }
    Ok(())
}

/// The gradient of the second score by the input.
async fn slopes(plan: Plan, input: Tensor<4>, device: &Device) -> Result<Vec<f32>> {
    let [_, channels, height, width] = input.dims();
    let spec = InputSpec { width: width as u32, height: height as u32, channels };
    let weights: Vec<f64> = (0..plan.classes()).map(|class| if class == 1 { 1. } else { 0. }).collect();
    let network = Network::on_device(plan, spec, false, BTreeMap::new(), device);
    Ok(numbers(network.gradients_by_input(input, &weights, Rectifiers::Plain, false).await?.0))
}

/// The network as a plan.
fn plan(weights: Vec<f32>, matrix: Vec<f32>) -> Plan {
    let ([rows, columns], [height, width]) = (CONVOLVED, POOLED);
    let value = |shape: &[usize]| Value { name: String::new(), shape: shape.to_vec(), layout: Layout::default() };
    let convolution = Op::Convolution { stride: [2, 2], padding: [(1, 1); 2], dilation: [1, 1], groups: 1 };
    let pool = Op::MaxPool { kernel: [2, 2], stride: [1, 1], padding: [(0, 0); 2], dilation: [1, 1] };
    Plan {
        values: [
            &[1, 2, 7, 6][..],
            &[1, 3, rows, columns],
            &[1, 3, rows, columns],
            &[1, 3, height, width],
            &[1, 18],
            &[1, 2],
        ]
        .map(value)
        .to_vec(),
        constants: vec![
            Constant { shape: [3, 2, 3, 3], values: weights },
            Constant { shape: [1, 1, 18, 2], values: matrix },
        ]
        .into(),
        steps: vec![
            Step::in_chain(0, convolution, Some(0)),
            Step::in_chain(1, Op::Unary(Unary::Relu), None),
            Step::in_chain(2, pool, None),
            Step::in_chain(3, Op::Reshape, None),
            Step::in_chain(4, Op::Linear { transposed: false }, Some(1)),
        ],
        output: Output { value: ValueId(5), kind: OutputKind::Scores(Activation::Softmax) },
        batches: true,
        head: Err(String::new()),
        aliases: Vec::new(),
    }
}

fn agrees(pass: &str, found: &[f32], expected: &[f32]) -> Result<()> {
    let largest = expected.iter().fold(0_f32, |largest, value| largest.max(value.abs()));
    // Written so that NaN differs.
    let close = |(found, expected): (&f32, &f32)| (found - expected).abs() <= TOLERANCE * largest;
    if found.len() == expected.len() && found.iter().zip(expected).all(close) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Device, format!("the device computes wrong numbers in {pass}")))
}

/// The two scores, and the gradient of the second by the input.
fn plain(input: &[f32], weights: &[f32], matrix: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let [rows, columns] = CONVOLVED;
    // Places of the padded convolution that lie in the input: (output, input, weight).
    let mut taps = Vec::new();
    for out in 0..3 * rows * columns {
        let (channel, y, x) = (out / (rows * columns), out / columns % rows, out % columns);
        for tap in 0..2 * 9 {
            let (from, ky, kx) = (tap / 9, tap / 3 % 3, tap % 3);
            let (sy, sx) = (2 * y + ky, 2 * x + kx);
            if (1..=7).contains(&sy) && (1..=6).contains(&sx) {
                taps.push((out, (from * 7 + sy - 1) * 6 + sx - 1, channel * 18 + tap));
            }
        }
    }
    let mut convolved = vec![0.; 3 * rows * columns];
    for &(out, place, weight) in &taps {
        convolved[out] += input[place] * weights[weight];
    }
    let mut scores = vec![0.; 2];
    let mut slopes = vec![0.; convolved.len()];
    for cell in 0..3 * POOLED[0] * POOLED[1] {
        let (channel, y, x) = (cell / (POOLED[0] * POOLED[1]), cell / POOLED[1] % POOLED[0], cell % POOLED[1]);
        let window = [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(dy, dx)| (channel * rows + y + dy) * columns + x + dx);
        let highest = window.into_iter().fold(window[0], |a, b| if convolved[b] > convolved[a] { b } else { a });
        let rectified = convolved[highest].max(0.);
        scores[0] += rectified * matrix[2 * cell];
        scores[1] += rectified * matrix[2 * cell + 1];
        if rectified > 0. {
            slopes[highest] += matrix[2 * cell + 1];
        }
    }
    let mut gradient = vec![0.; input.len()];
    for &(out, place, weight) in &taps {
        gradient[place] += slopes[out] * weights[weight];
    }
    (scores, gradient)
}
