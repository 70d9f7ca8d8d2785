//! What a graph does first with its input: how many channels it takes, in which order, and what was done to the picture.

use super::literal::Literal;
use super::proto::{Attribute, Graph, Node};

/// What was found on the way from the input to the first convolution.
#[derive(Default)]
pub(super) struct FirstUse {
    /// What the first convolution's kernel takes.
    pub channels: Option<usize>,
    /// Whether channels come last.
    pub is_last: bool,
    /// The least or greatest number that a step of preprocessing names.
    scaled: Option<Scale>,
}

/// What a step of preprocessing says about the numbers before it.
#[derive(Clone, Copy, PartialEq)]
enum Scale {
    /// They lie in 0..=255.
    Bytes,
    /// They lie in 0..=1.
    Unit,
}

/// How many nodes are looked through.
const STEPS: usize = 24;

/// Follows the input through the nodes that each take the result of the one before.
pub(super) fn first_use(graph: &Graph, input: &str) -> FirstUse {
    let mut found = FirstUse::default();
    let mut name = input;
    for _ in 0..STEPS {
        let Some(node) = graph.node.iter().find(|node| node.input.iter().any(|given| given == name)) else { break };
        let attribute = |name: &str| node.attribute.iter().find(|own| own.name.as_deref() == Some(name));
        let operator = node.operator.as_deref().unwrap_or_default();
        match operator {
            "Conv" => {
                let kernel = node.input.get(1).and_then(|kernel| dims(graph, kernel, 8));
                let groups = attribute("group").and_then(|a| a.i).unwrap_or(1);
                if let Some([_, per_group, _, _]) = kernel.as_deref() {
                    found.channels = usize::try_from(per_group.saturating_mul(groups)).ok();
                }
                break;
            }
            "Transpose" => {
                let order: &[i64] = attribute("perm").map_or(&[], |perm| &perm.ints);
                found.is_last |= order == [0, 3, 1, 2] || order == [2, 0, 1];
            }
            "Sub" | "Add" | "Mul" | "Div" if found.scaled.is_none() => {
                let other = node.input.iter().find(|given| *given != name);
                let largest = other.and_then(|other| largest(graph, other));
                found.scaled = largest.map(|largest| match operator {
                    "Mul" if largest <= 0.02 => Scale::Bytes,
                    "Div" if largest >= 20. => Scale::Bytes,
                    "Sub" | "Add" if largest > 4. => Scale::Bytes,
                    _ => Scale::Unit,
                });
            }
            "Sub" | "Add" | "Mul" | "Div" | "Cast" | "CastLike" | "Identity" | "Clip" | "Unsqueeze" | "Pad"
            | "Resize" | "QuantizeLinear" | "DequantizeLinear" | "BatchNormalization" | "Squeeze" | "Concat" => {}
            _ => break,
        }
        let Some(next) = node.output.first() else { break };
        name = next;
    }
    found
}

/// The shape of a parameter, followed back through what makes it of one.
fn dims(graph: &Graph, name: &str, steps: usize) -> Option<Vec<i64>> {
    if let Some(tensor) = graph.initializer.iter().find(|tensor| tensor.name.as_deref() == Some(name)) {
        return Some(tensor.dims.clone());
    }
    let producer = graph.node.iter().find(|node| node.output.iter().any(|given| given == name))?;
    match producer.operator.as_deref() {
        Some("Constant") => Some(value(producer)?.t.as_ref()?.dims.clone()),
        _ if steps > 0 => dims(graph, producer.input.first()?, steps - 1),
        _ => None,
    }
}

fn value(node: &Node) -> Option<&Attribute> {
    node.attribute.iter().find(|attribute| attribute.name.as_deref() == Some("value"))
}

/// The largest size of a parameter's numbers.
fn largest(graph: &Graph, name: &str) -> Option<f32> {
    let tensor = graph.initializer.iter().find(|tensor| tensor.name.as_deref() == Some(name)).or_else(|| {
        let node = graph.node.iter().find(|node| node.output.iter().any(|given| given == name))?;
        value(node)?.t.as_ref()
    })?;
    let is_short =
        tensor.dims.iter().try_fold(1i64, |size, &side| size.checked_mul(side)).is_some_and(|size| size <= 64);
    let literal = Literal::decode(tensor, "an initializer").ok().filter(|_| is_short)?;
    literal.floats().into_iter().map(f32::abs).reduce(f32::max)
}

/// 1 / 255, with the digits of double precision.
const A_255TH: &str = "0.00392156862745098";

impl FirstUse {
    /// How pictures are prepared, as the file's metadata would say it.
    pub fn preprocess(&self, is_integer: bool, channels: usize) -> Option<String> {
        let std = match self.scaled {
            _ if is_integer => A_255TH,
            Some(Scale::Bytes) => A_255TH,
            Some(Scale::Unit) => "1",
            None => return None,
        };
        let each = |number| vec![number; channels.min(3)].join(",");
        Some(format!("{{\"mean\":[{}],\"std\":[{}]}}", each("0"), each(std)))
    }
}
