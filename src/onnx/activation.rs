//! Functions of one number, and softmax.

use super::chain::{Chain, Part};
use super::literal::{Literal, broadcast_shape};
use super::node::{Input, Lowered, Node, Table, device_axis, step};
use super::shape::flat;
use super::view;
use crate::Result;
use crate::plan::{Binary, Op, Reduction, Unary};

pub(super) const TABLE: Table = &[
    ("Relu", |node| unary(node, Unary::Relu)),
    ("LeakyRelu", |node| unary(node, Unary::LeakyRelu(node.float("alpha", 0.01)))),
    ("PRelu", prelu),
    ("Clip", clip),
    ("Sigmoid", |node| unary(node, Unary::Sigmoid)),
    ("HardSigmoid", |node| unary(node, Unary::HardSigmoid(node.float("alpha", 0.2), node.float("beta", 0.5)))),
    ("HardSwish", |node| unary(node, Unary::HardSwish)),
    ("Swish", |node| unary(node, Unary::Swish(node.float("alpha", 1.0)))),
    ("Elu", |node| unary(node, Unary::Elu(node.float("alpha", 1.0)))),
    ("Selu", |node| unary(node, Unary::Selu(node.float("alpha", 1.673_263_2), node.float("gamma", 1.050_701)))),
    ("Gelu", gelu),
    ("Erf", |node| unary(node, Unary::Erf)),
    ("Tanh", |node| unary(node, Unary::Tanh)),
    ("Softplus", |node| unary(node, Unary::Softplus)),
    ("Softsign", |node| unary(node, Unary::Softsign)),
    ("Mish", |node| unary(node, Unary::Mish)),
    ("Sqrt", |node| unary(node, Unary::Sqrt)),
    ("Exp", |node| unary(node, Unary::Exp)),
    ("Log", |node| unary(node, Unary::Log)),
    ("Abs", |node| unary(node, Unary::Abs)),
    ("Neg", |node| unary(node, Unary::Neg)),
    ("Reciprocal", |node| unary(node, Unary::Reciprocal)),
    ("Floor", |node| unary(node, Unary::Floor)),
    ("Ceil", |node| unary(node, Unary::Ceil)),
    ("Round", |node| unary(node, Unary::Round)),
    ("Sign", |node| unary(node, Unary::Sign)),
    ("Sin", |node| unary(node, Unary::Sin)),
    ("Cos", |node| unary(node, Unary::Cos)),
    ("Tan", |node| unary(node, Unary::Tan)),
    ("Asin", |node| unary(node, Unary::Asin)),
    ("Acos", |node| unary(node, Unary::Acos)),
    ("Atan", |node| unary(node, Unary::Atan)),
    ("Sinh", |node| unary(node, Unary::Sinh)),
    ("Cosh", |node| unary(node, Unary::Cosh)),
    ("Asinh", |node| unary(node, Unary::Asinh)),
    ("Acosh", |node| unary(node, Unary::Acosh)),
    ("Atanh", |node| unary(node, Unary::Atanh)),
    ("Celu", celu),
    ("ThresholdedRelu", thresholded),
    ("Shrink", shrink),
    ("Hardmax", hardmax),
    ("Softmax", |node| softmax(node, false)),
    ("LogSoftmax", |node| softmax(node, true)),
];

/// The same function for constants; only what exporters compute with parameters is there.
fn on_literal(unary: Unary) -> Option<fn(f32) -> f32> {
    Some(match unary {
        Unary::Relu => |v| v.max(0.0),
        Unary::Sqrt => f32::sqrt,
        Unary::Exp => f32::exp,
        Unary::Log => f32::ln,
        Unary::Abs => f32::abs,
        Unary::Neg => |v| -v,
        Unary::Reciprocal => f32::recip,
        Unary::Tanh => f32::tanh,
        Unary::Floor => f32::floor,
        Unary::Ceil => f32::ceil,
        Unary::Round => f32::round_ties_even,
        Unary::Sin => f32::sin,
        Unary::Cos => f32::cos,
        Unary::Sign => |v| if v == 0.0 { 0.0 } else { v.signum() },
        Unary::Sigmoid => |v| 1.0 / (1.0 + (-v).exp()),
        _ => return None,
    })
}

fn unary(node: &Node, unary: Unary) -> Result<Lowered> {
    if let (Some(literal), Some(function)) = (node.constant(0), on_literal(unary)) {
        let mapped = match (literal.as_ints(), unary) {
            (Some(ints), Unary::Neg | Unary::Abs | Unary::Sign | Unary::Relu) => {
                let of = |&v: &i64| match unary {
                    Unary::Relu => v.max(0),
                    Unary::Neg => v.wrapping_neg(),
                    Unary::Abs => v.wrapping_abs(),
                    _ => v.signum(),
                };
                Literal::integers(literal.element, literal.shape.clone(), ints.iter().map(of).collect())
            }
            _ => literal.map(function),
        };
        return Ok(Lowered::Constants(vec![mapped]));
    }
    view::elementwise(node, unary)
}

fn clip(node: &Node) -> Result<Lowered> {
    let bound = |index: usize, name: &str, none: f32| -> Result<f32> {
        if let Some(value) = node.optional_float(name) {
            return Ok(value);
        }
        if !node.has(index) {
            return Ok(none);
        }
        let literal = node.required_constant(index, name)?;
        literal.scalar().ok_or_else(|| node.refuse(format!("{name} is not a single number")))
    };
    let (low, high) = (bound(1, "min", f32::NEG_INFINITY)?, bound(2, "max", f32::INFINITY)?);
    // Exporters write "no bound" as the largest finite number, too.
    let open = |v: f32| if v.abs() >= f32::MAX { v.signum() * f32::INFINITY } else { v };
    if let Some((literal, ints)) = node.constant(0).and_then(|literal| Some((literal, literal.as_ints()?))) {
        // Bounds as integers, too: floats don't tell all of them apart. One beyond all others where there is none.
        let whole = |index: usize, bound: f32| {
            node.constant(index).and_then(|bound| bound.as_ints()?.first().copied()).unwrap_or(bound as i64)
        };
        let (low, high) = (whole(1, low), whole(2, high));
        let clipped = ints.iter().map(|&v| v.max(low).min(high)).collect();
        return Ok(Lowered::Constants(vec![Literal::integers(literal.element, literal.shape.clone(), clipped)]));
    }
    unary(node, Unary::Clip(open(low), open(high)))
}

/// max(0, x) + min(0, α·(exp(x/α) − 1)).
fn celu(node: &Node) -> Result<Lowered> {
    let alpha = node.float("alpha", 1.0);
    let mut chain = Chain::of(node);
    let (x, shape) = flat(node, &mut chain)?;
    let scaled = chain.with(Binary::Mul, &x, 1.0 / alpha);
    let scaled = chain.unary(Unary::Elu(1.0), &scaled);
    let y = chain.with(Binary::Mul, &scaled, alpha);
    chain.done(&y, shape)
}

/// x above a threshold, else 0.
fn thresholded(node: &Node) -> Result<Lowered> {
    let mut chain = Chain::of(node);
    let (x, shape) = flat(node, &mut chain)?;
    let y = above(&mut chain, &x, node.float("alpha", 1.0), 0.0);
    chain.done(&y, shape)
}

/// x less a bias where it is above a threshold, else 0.
fn above(chain: &mut Chain, x: &Part, threshold: f32, bias: f32) -> Part {
    let ahead = chain.with(Binary::Sub, x, threshold);
    let mask = chain.unary(Unary::Step, &ahead);
    let moved = if bias == 0.0 { x.clone() } else { chain.with(Binary::Sub, x, bias) };
    chain.binary(Binary::Keep, &mask, &moved)
}

/// x ± bias beyond ±lambd, between them 0.
fn shrink(node: &Node) -> Result<Lowered> {
    let (bias, lambd) = (node.float("bias", 0.0), node.float("lambd", 0.5));
    let mut chain = Chain::of(node);
    let (x, shape) = flat(node, &mut chain)?;
    let negative = chain.unary(Unary::Neg, &x);
    let (high, low) = (above(&mut chain, &x, lambd, bias), above(&mut chain, &negative, lambd, bias));
    let y = chain.binary(Binary::Sub, &high, &low);
    chain.done(&y, shape)
}

/// 1 at the first of the greatest along an axis, else 0.
fn hardmax(node: &Node) -> Result<Lowered> {
    let mut chain = Chain::of(node);
    let x = chain.input(node, 0)?;
    let (rank, shape) = (x.shape.len(), x.shape.clone());
    let axis = node.axis(node.int("axis", if node.opset < 13 { 1 } else { -1 }), rank)?;
    if node.opset < 13 && axis + 1 < rank {
        return Err(node.refuse(format!("over several axes of {shape:?}; the last one is accepted")));
    }
    // Earlier numbers get a little more: which is the first of equals.
    let greatest = chain.reduce(Reduction::Max, &x, &[axis]);
    let below = chain.binary(Binary::Sub, &greatest, &x);
    let below = chain.unary(Unary::Step, &below);
    let best = chain.binary(Binary::Sub, &Part::number(1.0), &below);
    let mut wide = vec![1; rank];
    wide[axis] = shape[axis];
    let order = Part::constant(Literal::float(wide, (0..shape[axis]).map(|i| (shape[axis] - i) as f32).collect()));
    let ranked = chain.binary(Binary::Mul, &best, &order);
    let first = chain.reduce(Reduction::Max, &ranked, &[axis]);
    let behind = chain.binary(Binary::Sub, &first, &ranked);
    let behind = chain.unary(Unary::Step, &behind);
    let y = chain.binary(Binary::Sub, &Part::number(1.0), &behind);
    chain.done(&y, shape)
}

fn gelu(node: &Node) -> Result<Lowered> {
    match node.text("approximate").as_deref() {
        None | Some("none") => unary(node, Unary::Gelu),
        Some("tanh") => unary(node, Unary::GeluTanh),
        Some(other) => Err(node.refuse(format!("approximate {other}; none and tanh are accepted"))),
    }
}

fn prelu(node: &Node) -> Result<Lowered> {
    let x = node.value(0)?;
    if let Some(slope) = node.constant(1).filter(|slope| node.opset < 7 && slope.rank() == 1 && slope.len() > 1)
        && x.shape.len() > 2
    {
        // Until opset 6 a list was of the channels.
        let shape = [vec![slope.len()], vec![1; x.shape.len() - 2]].concat();
        return prelu(&node.with_second(slope, shape));
    }
    if broadcast_shape(&x.shape, node.shape(1)?).as_ref() != Some(&x.shape) {
        return Err(node.refuse("a slope that does not fit its input"));
    }
    step(Op::Prelu, vec![Input::Value(x.id), node.operand(1)?], x.shape.clone())
}

fn softmax(node: &Node, log: bool) -> Result<Lowered> {
    let shape = node.dims(0)?;
    let rank = shape.len();
    // Before opset 13 all axes from the given one on counted as one.
    let flatten = node.opset < 13;
    let axis = node.axis(node.int("axis", if flatten { 1 } else { -1 }), rank)?;
    let flatten = flatten && axis + 1 < rank;
    if node.is_view(0) && !flatten {
        let over = |axis| Op::Softmax { axis, flatten, log };
        let x = (vec![], view::of(node, 0)?);
        return view::result(node, view::along(x, &[(axis, shape[axis], &over)]), &[]);
    }
    if node.is_view(0) {
        let (outer, inner) = shape.split_at(axis);
        let mut chain = Chain::of(node);
        let x = chain.shaped(node, 0, vec![outer.iter().product(), inner.iter().product()])?;
        let op = Op::Softmax { axis: 3, flatten: false, log };
        let y = chain.step(op, &[&x], x.shape.clone());
        return chain.done(&y, shape);
    }
    let x = node.value(0)?;
    step(Op::Softmax { axis: device_axis(axis, rank), flatten, log }, vec![Input::Value(x.id)], x.shape.clone())
}
