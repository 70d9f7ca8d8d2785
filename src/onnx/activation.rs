//! Functions of one number, and softmax.

use super::host::broadcast_shape;
use super::node::{Built, Input, Node, Table, device_axis, step};
use super::view;
use crate::Result;
use crate::network::plan::{Op, Unary};

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
    ("Softmax", |node| softmax(node, false)),
    ("LogSoftmax", |node| softmax(node, true)),
];

/// The same function on the host, for constants; only what exporters compute with parameters is there.
fn on_host(unary: Unary) -> Option<fn(f32) -> f32> {
    Some(match unary {
        Unary::Relu => |v| v.max(0.0),
        Unary::Sqrt => f32::sqrt,
        Unary::Exp => f32::exp,
        Unary::Log => f32::ln,
        Unary::Abs => f32::abs,
        Unary::Neg => |v| -v,
        Unary::Reciprocal => f32::recip,
        Unary::Tanh => f32::tanh,
        Unary::Sigmoid => |v| 1.0 / (1.0 + (-v).exp()),
        _ => return None,
    })
}

fn unary(node: &Node, unary: Unary) -> Result<Built> {
    if let (Some(host), Some(function)) = (node.constant(0), on_host(unary)) {
        let mapped = match (host.as_ints(), unary) {
            (Some(ints), Unary::Neg) => {
                super::host::Host::ints(host.shape.clone(), ints.iter().map(|v| v.wrapping_neg()).collect())
            }
            _ => host.map(function),
        };
        return Ok(Built::Constants(vec![mapped]));
    }
    view::elementwise(node, unary)
}

fn clip(node: &Node) -> Result<Built> {
    let bound = |index: usize, name: &str, none: f32| -> Result<f32> {
        if let Some(value) = node.optional_float(name) {
            return Ok(value);
        }
        if !node.has(index) {
            return Ok(none);
        }
        let host = node.required_constant(index, name)?;
        host.scalar().ok_or_else(|| node.refuse(format!("{name} is not a single number")))
    };
    let (low, high) = (bound(1, "min", f32::NEG_INFINITY)?, bound(2, "max", f32::INFINITY)?);
    // Exporters write "no bound" as the largest finite number, too.
    let open = |v: f32| if v.abs() >= f32::MAX { v.signum() * f32::INFINITY } else { v };
    if let Some((host, ints)) = node.constant(0).and_then(|host| Some((host, host.as_ints()?))) {
        // To an integer beyond all others where there is no bound.
        let clipped = ints.iter().map(|&v| v.max(low as i64).min(high as i64)).collect();
        return Ok(Built::Constants(vec![super::host::Host::ints(host.shape.clone(), clipped)]));
    }
    unary(node, Unary::Clip(open(low), open(high)))
}

fn gelu(node: &Node) -> Result<Built> {
    match node.text("approximate").as_deref() {
        None | Some("none") => unary(node, Unary::Gelu),
        Some("tanh") => unary(node, Unary::GeluTanh),
        Some(other) => Err(node.refuse(format!("approximate {other}; none and tanh are accepted"))),
    }
}

fn prelu(node: &Node) -> Result<Built> {
    let x = node.value(0)?;
    if broadcast_shape(&x.shape, node.shape(1)?).as_ref() != Some(&x.shape) {
        return Err(node.refuse("a slope that does not fit its input"));
    }
    step(Op::Prelu, vec![Input::Value(x.id), node.operand(1)?], x.shape.clone())
}

fn softmax(node: &Node, log: bool) -> Result<Built> {
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
    let x = node.value(0)?;
    step(Op::Softmax { axis: device_axis(axis, rank), flatten, log }, vec![Input::Value(x.id)], x.shape.clone())
}
