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
    ("MatMulNBits", |node| with_packed(node, packed_levels)),
    ("MatMulBnb4", |node| with_packed(node, packed_floats)),
];

/// How a node's numbers are quantised.
struct Levels {
    /// Shaped to broadcast over the input, unless they are for blocks.
    scale: Literal,
    zero: Literal,
    /// The zero point's type.
    element: Option<i32>,
    /// Which of the scales the number in a place has.
    group: Box<dyn Fn(usize) -> usize>,
}

impl Levels {
    /// Scale and zero point for each of `count` numbers in a row.
    fn each(&self, count: usize) -> impl Iterator<Item = (f32, f32)> {
        let (scale, zero) = (self.scale.floats(), self.zero.floats());
        (0..count).map(|i| (self.group)(i)).map(move |group| (scale[group], zero[group]))
    }
}

fn levels(node: &Node, shape: &[usize]) -> Result<Levels> {
    let scale = node.required_constant(1, "the scale")?;
    let zero = if node.has(2) { Some(node.required_constant(2, "the zero point")?) } else { None };
    let rank = shape.len();
    let mut dims = vec![1; rank];
    let mut group: Box<dyn Fn(usize) -> usize> = Box::new(|_| 0);
    if scale.len() != 1 || scale.rank() > 1 {
        let axis = node.axis(node.int("axis", 1), rank)?;
        let (along, behind) = (shape[axis], shape[axis + 1..].iter().product::<usize>());
        let mut blocks = shape.to_vec();
        let block = usize::try_from(node.int("block_size", 0)).unwrap_or(0);
        blocks[axis] = along.div_ceil(block.max(1));
        if block == 0 && scale.shape == [along] {
            dims[axis] = along;
            group = Box::new(move |i| i / behind % along);
        } else if block > 0 && scale.shape == blocks && node.constant(0).is_some() {
            let row = blocks[axis];
            dims = blocks;
            group = Box::new(move |i| (i / behind / along * row + i / behind % along / block) * behind + i % behind);
        } else {
            return Err(node.refuse(format!(
                "a scale of shape {:?} for {shape:?}; one number, one a channel, or of parameters one a block is accepted",
                scale.shape
            )));
        }
    }
    if zero.is_some_and(|zero| zero.len() != scale.len()) {
        return Err(node.refuse("a zero point of another shape than the scale"));
    }
    let zeros = zero.map_or_else(|| vec![0.0; scale.len()], |zero| zero.floats());
    Ok(Levels {
        scale: Literal::float(dims.clone(), scale.floats()),
        zero: Literal::float(dims, zeros),
        element: zero.map(|zero: &Rc<Literal>| zero.element),
        group,
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
    if !matches!(element, element::UINT8..=element::INT16 | element::UINT4 | element::INT4) {
        return Err(node.refuse(format!("the element type {element}; integers of 4, 8 and 16 bits are accepted")));
    }
    let (low, high) = element::range(element);
    if let Some(literal) = node.constant(0) {
        let levels = literal.floats().into_iter().zip(quantised.each(literal.len()));
        let levels = levels.map(|(v, (s, z))| within((v / s).round_ties_even() + z, low, high) as i64).collect();
        return Ok(Lowered::Constants(vec![Literal::integers(element, shape, levels)]));
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
    // Of zeros alone the scale is 1.
    let scale = chain.one_for_zero(&scale);
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

/// onnxruntime's product with a matrix [N, K] whose rows are packed as `unpack` reads them.
fn with_packed(node: &Node, unpack: fn(&Node, [usize; 3]) -> Result<Vec<f32>>) -> Result<Lowered> {
    let size = |name: &str| usize::try_from(node.int(name, 0)).ok().filter(|&size| (1..1 << 24).contains(&size));
    let (Some(inner), Some(outer), Some(block)) = (size("K"), size("N"), size("block_size")) else {
        return Err(node.refuse("K, N and block_size of 1 to 16777215 are accepted"));
    };
    if outer as u64 * (inner + block) as u64 > 1 << 29 {
        return Err(node.refuse(format!("a matrix of {outer} × {inner}; up to 2 GiB are accepted")));
    }
    let rows = Literal::float(vec![outer, inner], unpack(node, [outer, inner, block])?);
    let matrix = Resolved::Constant(Rc::new(rows.transposed(&[1, 0])));
    matmul(&Node { inputs: vec![node.inputs[0].clone(), Some(matrix)], ..node.bare() })
}

/// Input `index`, whose numbers have to be so many.
fn packed<'a>(node: &'a Node, index: usize, what: &str, count: usize) -> Result<&'a Literal> {
    let literal = node.required_constant(index, what)?;
    match literal.len() == count {
        true => Ok(literal),
        false => Err(node.refuse(format!("{what} has {} numbers where its sizes need {count}", literal.len()))),
    }
}

/// The number of so many bits at a place of packed bytes, the first in the lowest bits.
fn unpacked(bytes: &[i64], place: usize, bits: usize) -> f32 {
    let at = place * bits;
    (bytes[at / 8] >> (at % 8) & ((1 << bits) - 1)) as f32
}

/// Levels in blocks along each row, with a scale and a zero point for each block.
fn packed_levels(node: &Node, [outer, inner, block]: [usize; 3]) -> Result<Vec<f32>> {
    let bits = node.int("bits", 4) as usize;
    if !matches!(bits, 2 | 4 | 8) || !(block * bits).is_multiple_of(8) || node.has(4) {
        return Err(node.refuse("2, 4 or 8 bits, blocks of whole bytes and no g_idx are accepted"));
    }
    let blocks = inner.div_ceil(block);
    let levels = packed(node, 1, "the matrix", outer * blocks * (block * bits / 8))?;
    let levels = levels.as_ints().ok_or_else(|| node.refuse("a matrix of bytes is accepted"))?;
    let scales = packed(node, 2, "the scale", outer * blocks)?.floats();
    let zeros: Vec<f32> = match node.has(3) {
        false => vec![(1 << (bits - 1)) as f32; scales.len()],
        true => {
            // Each row's begin with a byte of their own.
            let row = (blocks * bits).div_ceil(8);
            let given = node.required_constant(3, "the zero point")?;
            match given.as_ints() {
                None => packed(node, 3, "the zero point", scales.len())?.floats(),
                Some(_) => {
                    let bytes = packed(node, 3, "the zero point", outer * row)?.as_ints().unwrap_or_default();
                    (0..scales.len()).map(|i| unpacked(&bytes[i / blocks * row..], i % blocks, bits)).collect()
                }
            }
        }
    };
    let of = |row: usize, column: usize| {
        let group = row * blocks + column / block;
        (unpacked(levels, group * block + column % block, bits) - zeros[group]) * scales[group]
    };
    Ok((0..outer * inner).map(|i| of(i / inner, i % inner)).collect())
}

/// What the 16 values of bitsandbytes' two formats of 4 bits stand for, as shares of a block's largest number.
const FP4: [f32; 8] = [0.0, 0.005_208_333_3, 0.666_666_7, 1.0, 0.333_333_34, 0.5, 0.166_666_67, 0.25];
const NF4: [f32; 16] = [
    -1.0,
    -0.696_192_8,
    -0.525_073_05,
    -0.394_917_5,
    -0.284_441_38,
    -0.184_773_43,
    -0.091_050_036,
    0.0,
    0.079_580_3,
    0.160_930_2,
    0.246_112_3,
    0.337_915_24,
    0.440_709_83,
    0.562_617,
    0.722_956_84,
    1.0,
];

/// bitsandbytes' numbers: blocks of the whole matrix, the first of two in a byte's upper half.
fn packed_floats(node: &Node, [outer, inner, block]: [usize; 3]) -> Result<Vec<f32>> {
    let count = outer * inner;
    let bytes = packed(node, 1, "the matrix", count.div_ceil(2))?;
    let bytes = bytes.as_ints().ok_or_else(|| node.refuse("a matrix of bytes is accepted"))?;
    let largest = packed(node, 2, "the largest numbers", count.div_ceil(block))?.floats();
    let is_fp4 = node.int("quant_type", 1) == 0;
    let share = |half: usize| match (is_fp4, half & 8) {
        (false, _) => NF4[half],
        (true, 0) => FP4[half],
        (true, _) => -FP4[half & 7],
    };
    let half = |i: usize| (bytes[i / 2] >> (4 * (1 - i % 2)) & 15) as usize;
    Ok((0..count).map(|i| share(half(i)) * largest[i / block]).collect())
}
