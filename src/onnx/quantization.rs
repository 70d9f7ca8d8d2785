//! Quantised numbers, computed with as floats: parameters are dequantised while loading.

use std::rc::Rc;

use super::chain::{Chain, Part};
use super::convolution::{convolution, matmul};
use super::literal::{Literal, element};
use super::node::{Input, Lowered, Node, Resolved, Table, device_axis, step};
use super::shape::flat;
use crate::Result;
use crate::numbers::within;
use crate::plan::{Binary, Op, Reduction, Unary};

pub(super) const TABLE: Table = &[
    ("QuantizeLinear", quantize),
    ("DequantizeLinear", dequantize),
    ("DynamicQuantizeLinear", quantize_dynamically),
    ("ConvInteger", |node| with_integers(node, 0, convolution)),
    ("MatMulInteger", |node| with_integers(node, 1, matmul)),
];

/// How a node's numbers are quantised.
struct Levels {
    /// Shaped to broadcast over the input.
    scale: Literal,
    zero: Literal,
    /// The zero point's type.
    element: Option<i32>,
    /// How many numbers lie side by side that have one scale.
    run: usize,
}

impl Levels {
    /// Scale and zero point for each of `count` numbers in a row.
    fn each(&self, count: usize) -> impl Iterator<Item = (f32, f32)> {
        let (scale, zero) = (self.scale.floats(), self.zero.floats());
        (0..count).map(move |i| {
            let channel = i / self.run % scale.len();
            (scale[channel], zero[channel])
        })
    }
}

fn levels(node: &Node, shape: &[usize]) -> Result<Levels> {
    let scale = node.required_constant(1, "the scale")?;
    let zero = if node.has(2) { Some(node.required_constant(2, "the zero point")?) } else { None };
    let rank = shape.len();
    let mut dims = vec![1; rank];
    let mut run = 1;
    if scale.len() != 1 {
        let axis = node.axis(node.int("axis", 1), rank)?;
        if scale.rank() != 1 || scale.len() != shape[axis] || node.int("block_size", 0) != 0 {
            return Err(node.refuse(format!(
                "a scale of shape {:?} for {shape:?}; one number, or one a channel, is accepted",
                scale.shape
            )));
        }
        dims[axis] = scale.len();
        run = shape[axis + 1..].iter().product();
    }
    if zero.is_some_and(|zero| zero.len() != scale.len()) {
        return Err(node.refuse("a zero point of another shape than the scale"));
    }
    let zeros = zero.map_or_else(|| vec![0.0; scale.len()], |zero| zero.floats());
    Ok(Levels {
        scale: Literal::float(dims.clone(), scale.floats()),
        zero: Literal::float(dims, zeros),
        element: zero.map(|zero: &Rc<Literal>| zero.element),
        run,
    })
}

fn on_device(literal: Literal, rank: usize) -> Input {
    debug_assert!(literal.shape.iter().enumerate().all(|(axis, _)| device_axis(axis, rank) < 4));
    Input::Constant(literal.rank4())
}

fn quantize(node: &Node) -> Result<Lowered> {
    let shape = node.shape(0)?.to_vec();
    let quantised = levels(node, &shape)?;
    let element = quantised.element.unwrap_or(match node.int("output_dtype", 0) {
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
    if let Some(literal) = node.constant(0) {
        let levels = literal.floats().into_iter().zip(quantised.each(literal.len()));
        let levels = levels.map(|(v, (s, z))| within((v / s).round_ties_even() + z, low, high) as i64).collect();
        return Ok(Lowered::Constants(vec![Literal { element, ..Literal::ints(shape, levels) }]));
    }
    let x = node.value(0)?;
    let rank = shape.len();
    let inputs = vec![Input::Value(x.id), on_device(quantised.scale, rank), on_device(quantised.zero, rank)];
    step(Op::Quantize { low, high }, inputs, shape)
}

/// Scale and zero point that the image decides, one number each.
fn computed_levels(node: &Node, chain: &mut Chain) -> Result<[Part; 3]> {
    let (x, _) = flat(node, chain)?;
    let scale = chain.input(node, 1)?;
    let zero = if node.has(2) { chain.input(node, 2)? } else { Part::number(0.0) };
    match [&scale, &zero].iter().all(|part| part.shape.iter().all(|&side| side == 1)) {
        true => Ok([x, scale, zero]),
        false => Err(node.refuse("computed scales of more than one number; one is accepted")),
    }
}

fn dequantize(node: &Node) -> Result<Lowered> {
    if node.constant(1).is_none() || (node.has(2) && node.constant(2).is_none()) {
        let mut chain = Chain::of(node);
        let [x, scale, zero] = computed_levels(node, &mut chain)?;
        let y = chain.step(Op::Dequantize, &[&x, &scale, &zero], x.shape.clone());
        return chain.done(&y, node.dims(0)?);
    }
    let shape = node.shape(0)?.to_vec();
    let quantised = levels(node, &shape)?;
    if let Some(literal) = node.constant(0) {
        let mut values = literal.floats();
        let count = values.len();
        values.iter_mut().zip(quantised.each(count)).for_each(|(v, (s, z))| *v = (*v - z) * s);
        return Ok(Lowered::Constants(vec![Literal::float(shape, values)]));
    }
    let x = node.value(0)?;
    let rank = shape.len();
    let inputs = vec![Input::Value(x.id), on_device(quantised.scale, rank), on_device(quantised.zero, rank)];
    step(Op::Dequantize, inputs, shape)
}

/// Levels from 0 to 255 between the least and the greatest number (and 0), which the image decides.
fn quantize_dynamically(node: &Node) -> Result<Lowered> {
    let mut chain = Chain::of(node);
    let (x, shape) = flat(node, &mut chain)?;
    if shape.len() > 4 {
        return Err(node.refuse(format!("{shape:?}; up to four axes are accepted")));
    }
    let row = chain.reshape(&x, vec![1, shape.iter().product()]);
    let most = chain.reduce(Reduction::Max, &row, &[1]);
    let most = chain.with(Binary::Max, &most, 0.0);
    let turned = chain.unary(Unary::Neg, &row);
    let least = chain.reduce(Reduction::Max, &turned, &[1]);
    let least = chain.with(Binary::Max, &least, 0.0);
    let range = chain.binary(Binary::Add, &most, &least);
    let scale = chain.with(Binary::Div, &range, 255.0);
    let zero = chain.binary(Binary::Div, &least, &scale);
    let zero = chain.unary(Unary::Clip(0.0, 255.0), &zero);
    let zero = chain.unary(Unary::Round, &zero);
    let levels = chain.step(Op::Quantize { low: 0.0, high: 255.0 }, &[&x, &scale, &zero], shape.clone());
    chain.several(&[(&levels, shape), (&scale, vec![]), (&zero, vec![])])
}

/// A product of integers less their zero points; those of the parameters lie along `axis` from the front for convolutions,
/// from the end for matrices.
fn with_integers(node: &Node, axis: usize, build: fn(&Node) -> Result<Lowered>) -> Result<Lowered> {
    let parameters = node.required_constant(1, "its second operand")?;
    let parameters = match node.has(3) {
        false => Literal::clone(parameters),
        true => {
            let zero = node.required_constant(3, "the zero point")?;
            let mut shape = vec![1; parameters.rank()];
            if zero.len() != 1 {
                let along = if axis == 0 { 0 } else { parameters.rank().saturating_sub(axis) };
                *shape.get_mut(along).ok_or_else(|| node.refuse("parameters without axes"))? = zero.len();
            }
            Literal::combine(parameters, &Literal::clone(zero).reshaped(shape), |v, z| v - z, i64::wrapping_sub)
                .ok_or_else(|| node.refuse("a zero point of another shape than the parameters"))?
        }
    };
    let inputs = vec![node.inputs[0].clone(), Some(Resolved::Constant(Rc::new(parameters)))];
    if !node.has(2) || node.constant(2).is_some_and(|zero| zero.floats().iter().all(|&zero| zero == 0.0)) {
        return build(&Node { inputs, ..node.bare() });
    }
    // The first operand less its zero point, which goes to the product as its own first step.
    let mut chain = Chain::of(node);
    let (x, shape) = flat(node, &mut chain)?;
    let zero = chain.input(node, 2)?;
    if zero.shape.iter().any(|&side| side != 1) || shape.len() > 4 {
        return Err(node.refuse("a zero point of its first operand with one number is accepted"));
    }
    let x = chain.binary(Binary::Sub, &x, &zero);
    chain.then(&x, |operand| {
        build(&Node { inputs: [vec![Some(Resolved::Value(operand))], inputs[1..].to_vec()].concat(), ..node.bare() })
    })
}
