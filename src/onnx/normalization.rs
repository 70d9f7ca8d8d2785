//! Normalisation at inference.

use super::host::Host;
use super::node::{Built, Input, Node, Table, device_axis, step};
use crate::Result;
use crate::network::plan::Op;

pub(super) const TABLE: Table = &[
    ("BatchNormalization", batch_normalization),
    ("InstanceNormalization", instance_normalization),
    ("LayerNormalization", layer_normalization),
    ("LRN", local_response_normalization),
];

/// A list with one number a channel, shaped to broadcast over a value of `rank` axes.
fn per_channel(rank: usize, values: Vec<f32>) -> Input {
    let mut shape = vec![1; 4];
    shape[device_axis(1, rank)] = values.len();
    Input::Constant(Host::float(shape, values))
}

/// Constant input `index`, which holds one number a channel.
fn channel_list(node: &Node, index: usize, what: &str, channels: usize) -> Result<Vec<f32>> {
    let host = node.required_constant(index, what)?;
    if host.len() == channels {
        Ok(host.floats())
    } else {
        Err(node.refuse(format!("{what} has {} numbers for {channels} channels", host.len())))
    }
}

fn batch_normalization(node: &Node) -> Result<Built> {
    let x = node.value(0)?;
    let rank = x.shape.len();
    if rank < 2 {
        return Err(node.refuse("its input has no channels"));
    }
    if node.int("training_mode", 0) != 0 && node.is_folding {
        // By its own mean and variance, as standardised weights are.
        let list = |index, what| channel_list(node, index, what, x.shape[1]).map(|values| per_channel(rank, values));
        let axes = (0..rank).filter(|&axis| axis != 1).map(|axis| device_axis(axis, rank)).collect();
        let inputs = vec![Input::Value(x.id), list(1, "the scale")?, list(2, "the shift")?];
        return step(Op::Normalize { axes, epsilon: node.float("epsilon", 1e-5) }, inputs, x.shape.clone());
    }
    if node.int("training_mode", 0) != 0 {
        return Err(node.refuse("training_mode; a network exported for inference is accepted"));
    }
    let epsilon = node.float("epsilon", 1e-5);
    let list = |index, what| channel_list(node, index, what, x.shape[1]);
    let (scale, shift, mean, variance) =
        (list(1, "the scale")?, list(2, "the shift")?, list(3, "the mean")?, list(4, "the variance")?);
    // In f64: the two numbers that remain are rounded once.
    let factor: Vec<f64> =
        scale.iter().zip(&variance).map(|(&s, &v)| f64::from(s) / (f64::from(v) + f64::from(epsilon)).sqrt()).collect();
    let offset =
        shift.iter().zip(&mean).zip(&factor).map(|((&b, &m), f)| (f64::from(b) - f64::from(m) * f) as f32).collect();
    let factor = factor.iter().map(|&f| f as f32).collect();
    step(Op::Affine, vec![Input::Value(x.id), per_channel(rank, factor), per_channel(rank, offset)], x.shape.clone())
}

fn instance_normalization(node: &Node) -> Result<Built> {
    let x = node.value(0)?;
    let rank = x.shape.len();
    if rank < 3 {
        return Err(node.refuse("its input has no positions"));
    }
    let list = |index, what| channel_list(node, index, what, x.shape[1]).map(|values| per_channel(rank, values));
    let axes = (2..rank).map(|axis| device_axis(axis, rank)).collect();
    let inputs = vec![Input::Value(x.id), list(1, "the scale")?, list(2, "the shift")?];
    step(Op::Normalize { axes, epsilon: node.float("epsilon", 1e-5) }, inputs, x.shape.clone())
}

fn layer_normalization(node: &Node) -> Result<Built> {
    let x = node.value(0)?;
    let rank = x.shape.len();
    let first = node.axis(node.int("axis", -1), rank)?;
    let mut inputs = vec![Input::Value(x.id)];
    for index in 1..3 {
        if node.has(index) {
            let host = node.required_constant(index, "a parameter")?;
            if super::host::broadcast_shape(&x.shape, &host.shape).as_ref() != Some(&x.shape) {
                return Err(node.refuse("a parameter that does not fit its input"));
            }
            inputs.push(Input::Constant(host.rank4()));
        }
    }
    let axes = (first..rank).map(|axis| device_axis(axis, rank)).collect();
    step(Op::Normalize { axes, epsilon: node.float("epsilon", 1e-5) }, inputs, x.shape.clone())
}

fn local_response_normalization(node: &Node) -> Result<Built> {
    let x = node.value_of_rank(0, 4)?;
    let size = node.int("size", 0);
    if !(1..=i64::from(u16::MAX)).contains(&size) {
        return Err(node.refuse(format!("size {size}; a number from 1 is accepted")));
    }
    let op = Op::LocalResponse {
        size: size as usize,
        alpha: node.float("alpha", 1e-4),
        beta: node.float("beta", 0.75),
        bias: node.float("bias", 1.0),
    };
    step(op, vec![Input::Value(x.id)], x.shape.clone())
}
