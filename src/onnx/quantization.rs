//! Quantised numbers, computed with as floats: parameters are dequantised while loading.

use std::rc::Rc;

use super::host::{Host, element};
use super::node::{Built, Input, Node, Table, device_axis, step};
use crate::Result;
use crate::network::plan::Op;

pub(super) const TABLE: Table = &[("QuantizeLinear", quantize), ("DequantizeLinear", dequantize)];

/// Scale and zero point of a node, shaped to broadcast over an input of this shape, and the zero point's element type.
fn parameters(node: &Node, shape: &[usize]) -> Result<(Host, Host, Option<i32>)> {
    let scale = node.required_constant(1, "the scale")?;
    let zero = if node.has(2) { Some(node.required_constant(2, "the zero point")?) } else { None };
    let rank = shape.len();
    let mut dims = vec![1; rank];
    if scale.len() != 1 {
        let axis = node.axis(node.int("axis", 1), rank)?;
        if scale.rank() != 1 || scale.len() != shape[axis] || node.int("block_size", 0) != 0 {
            return Err(node.refuse(format!(
                "a scale of shape {:?} for {shape:?}; one number, or one a channel, is accepted",
                scale.shape
            )));
        }
        dims[axis] = scale.len();
    }
    if zero.is_some_and(|zero| zero.len() != scale.len()) {
        return Err(node.refuse("a zero point of another shape than the scale"));
    }
    let zeros = zero.map_or_else(|| vec![0.0; scale.len()], |zero| zero.floats());
    Ok((Host::float(dims.clone(), scale.floats()), Host::float(dims, zeros), zero.map(|zero: &Rc<Host>| zero.element)))
}

fn on_device(host: Host, rank: usize) -> Input {
    debug_assert!(host.shape.iter().enumerate().all(|(axis, _)| device_axis(axis, rank) < 4));
    Input::Constant(host.rank4())
}

fn quantize(node: &Node) -> Result<Built> {
    let shape = node.shape(0)?.to_vec();
    let (scale, zero, element) = parameters(node, &shape)?;
    let element = element.unwrap_or(match node.int("output_dtype", 0) {
        0 => element::UINT8,
        given => given as i32,
    });
    let (low, high) = match element {
        element::UINT8 => (0.0, 255.0),
        element::INT8 => (-128.0, 127.0),
        element::UINT16 => (0.0, 65535.0),
        element::INT16 => (-32768.0, 32767.0),
        other => return Err(node.refuse(format!("the element type {other}; 8 and 16 bit integers are accepted"))),
    };
    if let Some(host) = node.constant(0) {
        let (scale, zero) = (scale.expanded(&shape).floats(), zero.expanded(&shape).floats());
        let levels = host.floats().into_iter().zip(scale).zip(zero);
        let levels = levels.map(|((v, s), z)| ((v / s).round_ties_even() + z).clamp(low, high) as i64).collect();
        return Ok(Built::Constants(vec![Host { element, ..Host::ints(shape, levels) }]));
    }
    let x = node.value(0)?;
    let rank = shape.len();
    let inputs = vec![Input::Value(x.id), on_device(scale, rank), on_device(zero, rank)];
    step(Op::Quantize { low, high }, inputs, shape)
}

fn dequantize(node: &Node) -> Result<Built> {
    let shape = node.shape(0)?.to_vec();
    let (scale, zero, _) = parameters(node, &shape)?;
    if let Some(host) = node.constant(0) {
        let shifted = Host::combine(&Host::float(shape.clone(), host.floats()), &zero, |x, z| x - z, |x, _| x);
        let scaled = shifted.and_then(|shifted| Host::combine(&shifted, &scale, |x, s| x * s, |x, _| x));
        return Ok(Built::Constants(vec![scaled.ok_or_else(|| node.refuse("operands whose shapes do not fit"))?]));
    }
    let x = node.value(0)?;
    let rank = shape.len();
    step(Op::Dequantize, vec![Input::Value(x.id), on_device(scale, rank), on_device(zero, rank)], shape)
}
