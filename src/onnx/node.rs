//! One node as the operator families read it: attributes in ONNX's own words, inputs with known shapes.

use std::rc::Rc;

use super::budget::Budget;
use super::literal::{Literal, element};
use super::proto;
use super::shape::cast_to;
use crate::error::shortened;
use crate::plan::{Op, ValueId};
use crate::{Error, ErrorKind, Result};

/// What is known of a name of the file while loading.
#[derive(Clone)]
pub(super) enum Resolved {
    /// A tensor of the file that is yet to be decoded, by its place there: decoded where it is used, so that no two copies
    /// of all parameters are there at once.
    Initializer(usize),
    Constant(Rc<Literal>),
    Value(Operand),
    /// Reshaped (and perhaps permuted) beyond four axes: what can use it is in [`super::view`].
    View {
        source: Operand,
        dims: Vec<usize>,
        permutation: Vec<usize>,
    },
    /// Which classes score best, not how much: no numbers here, but the scores that were decided among.
    Decision(Operand),
    /// Made of choices, but none itself, such as a sum: no numbers here.
    Lost,
    /// Strings, such as the names of the classes: no step takes them, but the name of what was decided may be one of them.
    Text,
    /// Refused earlier; what depends on it says nothing more.
    Refused,
}

/// A computed value, with its shape for one image.
#[derive(Clone)]
pub(super) struct Operand {
    pub id: ValueId,
    pub shape: Vec<usize>,
    /// Of which type its numbers are in the file: here all of them are floats.
    pub element: i32,
}

/// What a node turns into.
pub(super) enum Lowered {
    /// The result is the input of this number as it is.
    Given(usize),
    /// Computed while loading, one for each output.
    Constants(Vec<Literal>),
    /// Steps, each using the one before; the last one's result is the node's.
    Chain(Vec<NewStep>),
    /// One step for each output.
    Each(Vec<NewStep>),
    /// Steps, some of whose results are the outputs.
    Parts(Vec<NewStep>, Vec<usize>),
    /// See [`Resolved::View`].
    View { source: Operand, dims: Vec<usize>, permutation: Vec<usize> },
    /// Steps for each output, whose last result is read through more than four axes: steps, dims, permutation.
    Views(Vec<(Vec<NewStep>, Vec<usize>, Vec<usize>)>),
}

/// A step to be: its shape is that of the file, for one image.
pub(super) struct NewStep {
    pub op: Op,
    pub inputs: Vec<Input>,
    pub shape: Vec<usize>,
}

/// An operand of a step to be.
#[derive(Clone)]
pub(super) enum Input {
    Value(ValueId),
    Constant(Literal),
    /// The result of the step before in a chain.
    Previous,
    /// The result of the chain's step of that number.
    Earlier(usize),
}

pub(super) fn step(op: Op, inputs: Vec<Input>, shape: Vec<usize>) -> Result<Lowered> {
    Ok(Lowered::Chain(vec![NewStep { op, inputs, shape }]))
}

/// A node with its inputs looked up.
pub(super) struct Node<'a> {
    pub proto: &'a proto::Node,
    pub inputs: Vec<Option<Resolved>>,
    /// How many of its outputs are there, up to the last one that is used.
    pub outputs: usize,
    pub opset: i64,
    /// What is left of what the file may take.
    pub budget: &'a Budget,
    /// The batch that the file's shapes are written for, where it is not one.
    pub fixed_batch: Option<usize>,
    /// Whether the first input is a constant, given as if it were computed to know what is computed of it.
    pub is_folding: bool,
}

impl<'a> Node<'a> {
    /// A node without inputs.
    pub fn of(proto: &'a proto::Node, opset: i64, budget: &'a Budget) -> Node<'a> {
        Node { proto, inputs: vec![], outputs: 1, opset, budget, fixed_batch: None, is_folding: false }
    }

    /// The same without its inputs.
    pub fn bare(&self) -> Node<'a> {
        Node { inputs: vec![], ..*self }
    }

    /// The same with its second operand, a constant, in another shape.
    pub fn with_second(&self, constant: &Literal, shape: Vec<usize>) -> Node<'a> {
        let second = Resolved::Constant(Rc::new(constant.clone().reshaped(shape)));
        Node { inputs: vec![self.inputs[0].clone(), Some(second)], ..*self }
    }

    /// The graph of an attribute.
    pub fn graph(&self, name: &str) -> Result<&'a proto::Graph> {
        let mut attributes = self.proto.attribute.iter();
        let found = attributes.find(|attribute| attribute.name.as_deref() == Some(name));
        found.and_then(|attribute| attribute.g.as_ref()).ok_or_else(|| self.refuse(format!("{name} is missing")))
    }

    pub fn operator(&self) -> &str {
        self.proto.operator.as_deref().unwrap_or_default()
    }

    /// How people find the node: its name, or else what it computes.
    pub fn label(&self) -> &str {
        label(self.proto)
    }

    /// An error that names this node and operator.
    pub fn refuse(&self, reason: impl AsRef<str>) -> Error {
        refusal(self.proto, reason.as_ref())
    }

    fn attribute(&self, name: &str) -> Option<&proto::Attribute> {
        self.proto.attribute.iter().find(|attribute| attribute.name.as_deref() == Some(name))
    }

    pub fn has_attribute(&self, name: &str) -> bool {
        self.attribute(name).is_some()
    }

    pub fn int(&self, name: &str, default: i64) -> i64 {
        self.attribute(name).and_then(|attribute| attribute.i).unwrap_or(default)
    }

    pub fn float(&self, name: &str, default: f32) -> f32 {
        self.attribute(name).and_then(|attribute| attribute.f).unwrap_or(default)
    }

    pub fn optional_float(&self, name: &str) -> Option<f32> {
        self.attribute(name).and_then(|attribute| attribute.f)
    }

    pub fn ints(&self, name: &str) -> Option<Vec<i64>> {
        self.attribute(name).map(|attribute| attribute.ints.clone())
    }

    pub fn floats(&self, name: &str) -> Option<Vec<f32>> {
        self.attribute(name).map(|attribute| attribute.floats.clone())
    }

    pub fn text(&self, name: &str) -> Option<String> {
        self.attribute(name).and_then(|a| a.s.as_ref()).map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    pub fn texts(&self, name: &str) -> Option<Vec<String>> {
        let strings = &self.attribute(name)?.strings;
        Some(strings.iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect())
    }

    pub fn tensor(&self, name: &str) -> Result<Option<Literal>> {
        self.attribute(name)
            .and_then(|a| a.t.as_ref())
            .map(|t| Literal::decode(t, &format!("node `{}`", self.label())))
            .transpose()
    }

    /// A tensor of which only some numbers are not 0.
    pub fn sparse(&self, name: &str) -> Result<Option<Literal>> {
        self.attribute(name).and_then(|attribute| attribute.sparse.as_ref()).map(Literal::sparse).transpose()
    }

    /// A pair of sizes, such as `strides`, each at least `least`, and so small that the product of two is a size, too.
    pub fn pair(&self, name: &str, default: usize, least: usize) -> Result<[usize; 2]> {
        let Some(values) = self.ints(name) else { return Ok([default; 2]) };
        let accepted = least as i64..1 << 15;
        match (self.shape(0)?.len(), &values[..]) {
            (4, &[a, b]) if accepted.contains(&a) && accepted.contains(&b) => Ok([a as usize, b as usize]),
            (3, &[a]) if accepted.contains(&a) => Ok([default, a as usize]),
            (rank, _) => {
                let numbers = if rank == 3 { "one number" } else { "two numbers" };
                Err(self.refuse(format!("{name} {values:?}; {numbers} from {least} to 32767 are accepted")))
            }
        }
    }

    /// Whether input `index` is given.
    pub fn has(&self, index: usize) -> bool {
        matches!(self.inputs.get(index), Some(Some(_)))
    }

    /// Input `index`, if given, as a constant.
    pub fn constant(&self, index: usize) -> Option<&Rc<Literal>> {
        match self.inputs.get(index) {
            Some(Some(Resolved::Constant(literal))) => Some(literal),
            _ => None,
        }
    }

    /// Input `index`, which has to be a constant.
    pub fn required_constant(&self, index: usize, what: &str) -> Result<&Rc<Literal>> {
        self.constant(index).ok_or_else(|| match self.inputs.get(index) {
            Some(Some(Resolved::Text)) => self.refuse(format!("{what} is a string; numbers are accepted")),
            _ => self.refuse(format!("{what} is computed; a constant is accepted")),
        })
    }

    /// Input `index` as a list of integers, if given.
    pub fn int_list(&self, index: usize, what: &str) -> Result<Option<Vec<i64>>> {
        if !self.has(index) {
            return Ok(None);
        }
        let literal = self.required_constant(index, what)?;
        literal
            .as_ints()
            .map(|ints| Some(ints.to_vec()))
            .ok_or_else(|| self.refuse(format!("{what} is not a list of integers")))
    }

    /// All inputs, if all of them are constants.
    pub fn constants(&self) -> Option<Vec<&Literal>> {
        let given = self.inputs.iter().flatten();
        given.map(|known| if let Resolved::Constant(literal) = known { Some(&**literal) } else { None }).collect()
    }

    /// Input `index` as a computed value of at most four axes.
    pub fn value(&self, index: usize) -> Result<&Operand> {
        match self.inputs.get(index) {
            Some(Some(Resolved::Value(operand))) => Ok(operand),
            Some(Some(Resolved::Constant(_))) => {
                Err(self.refuse(format!("input {index} is a constant where a computed value is accepted")))
            }
            Some(Some(Resolved::View { dims, .. })) => {
                Err(self.refuse(format!("input {index} has {} axes; up to four are accepted", dims.len())))
            }
            Some(Some(Resolved::Decision(_))) => {
                Err(self.refuse(format!("input {index} is a choice of the best; computed numbers are accepted")))
            }
            Some(Some(Resolved::Lost)) => {
                Err(self
                    .refuse(format!("input {index} is made of a choice of the best; computed numbers are accepted")))
            }
            Some(Some(Resolved::Text)) => Err(self.refuse(format!("input {index} is a string; numbers are accepted"))),
            _ => Err(self.refuse(format!("input {index} is missing"))),
        }
    }

    /// The computed value at input `index` if it has `rank` axes.
    pub fn value_of_rank(&self, index: usize, rank: usize) -> Result<&Operand> {
        let operand = self.value(index)?;
        match operand.shape.len() {
            found if found == rank => Ok(operand),
            found => Err(self.refuse(format!("its input has {found} axes; {rank} are accepted"))),
        }
    }

    /// The shape of input `index`, computed or constant.
    pub fn shape(&self, index: usize) -> Result<&[usize]> {
        match self.inputs.get(index) {
            Some(Some(Resolved::Constant(literal))) => Ok(&literal.shape),
            _ => Ok(&self.value(index)?.shape),
        }
    }

    /// The same, whatever its rank.
    pub fn dims(&self, index: usize) -> Result<Vec<usize>> {
        match self.inputs.get(index) {
            Some(Some(Resolved::View { dims, permutation, .. })) => {
                Ok(permutation.iter().map(|&axis| dims[axis]).collect())
            }
            _ => Ok(self.shape(index)?.to_vec()),
        }
    }

    /// The element type of input `index`.
    pub fn element(&self, index: usize) -> i32 {
        match self.inputs.get(index) {
            Some(Some(Resolved::Constant(literal))) => literal.element,
            Some(Some(Resolved::Value(operand) | Resolved::View { source: operand, .. })) => operand.element,
            _ => element::FLOAT,
        }
    }

    /// The element type of its output `index`: that of its first input, for most operators.
    pub fn result_element(&self, index: usize) -> i32 {
        match (self.operator(), index) {
            ("Cast" | "CastLike", _) => cast_to(self).unwrap_or(element::FLOAT),
            ("Equal" | "Less" | "Greater" | "LessOrEqual" | "GreaterOrEqual" | "And" | "Or" | "Xor" | "Not", _)
            | ("IsNaN" | "IsInf", _) => element::BOOL,
            ("Where", _) => self.element(1),
            ("OneHot", _) => self.element(2),
            ("EyeLike", _) => self.int("dtype", self.element(0).into()) as i32,
            ("QuantizeLinear", _) if self.has(2) => self.element(2),
            ("QuantizeLinear", _) => self.int("output_dtype", element::UINT8.into()) as i32,
            ("DynamicQuantizeLinear", 0 | 2) => element::UINT8,
            ("ConvInteger" | "MatMulInteger", _) => element::INT32,
            ("DequantizeLinear" | "MatMulNBits" | "MatMulBnb4", _) => element::FLOAT,
            // Computed as floats here, and cut where they are cast.
            ("Resize" | "Upsample" | "GridSample", _) if self.text("mode").is_some_and(|mode| mode != "nearest") => {
                element::FLOAT
            }
            ("Div", _) if !self.is_of_integers() => element::FLOAT,
            _ => self.element(0),
        }
    }

    /// Whether all inputs are integers.
    pub fn is_of_integers(&self) -> bool {
        (0..self.inputs.len()).all(|index| element::is_integer(self.element(index)))
    }

    /// Whether input `index` is a computed value of more than four axes.
    pub fn is_view(&self, index: usize) -> bool {
        matches!(self.inputs.get(index), Some(Some(Resolved::View { .. })))
    }

    /// Input `index` for a step; constants get the device's four axes.
    pub fn operand(&self, index: usize) -> Result<Input> {
        match self.constant(index) {
            Some(literal) if literal.rank() <= 4 => Ok(Input::Constant(literal.rank4())),
            Some(_) => Err(self.refuse(format!("input {index} has more than four axes"))),
            None => Ok(Input::Value(self.value(index)?.id)),
        }
    }

    /// An axis as ONNX counts it, negative from the end.
    pub fn axis(&self, axis: i64, rank: usize) -> Result<usize> {
        let counted = if axis < 0 { axis + rank as i64 } else { axis };
        if (0..rank as i64).contains(&counted) {
            Ok(counted as usize)
        } else {
            Err(self.refuse(format!("axis {axis} of a value with {rank} axes")))
        }
    }

    /// Several axes, no two of them the same.
    pub fn axes(&self, axes: &[i64], rank: usize) -> Result<Vec<usize>> {
        if axes.len() > rank {
            return Err(self.refuse(format!("{} axes of a value with {rank}", axes.len())));
        }
        let axes = axes.iter().map(|&axis| self.axis(axis, rank)).collect::<Result<Vec<_>>>()?;
        match (1..axes.len()).find(|&i| axes[..i].contains(&axes[i])) {
            Some(twice) => Err(self.refuse(format!("axis {} named twice", axes[twice]))),
            None => Ok(axes),
        }
    }
}

pub(super) fn label(node: &proto::Node) -> &str {
    match node.name.as_deref() {
        Some(name) if !name.is_empty() => name,
        _ => node.output.first().map_or("", String::as_str),
    }
}

pub(super) fn refusal(node: &proto::Node, reason: &str) -> Error {
    let operator = node.operator.as_deref().unwrap_or_default();
    let (label, operator) = (shortened(label(node)), shortened(operator));
    Error::new(ErrorKind::Unsupported, format!("node `{label}` ({operator}): {reason}"))
}

/// An axis of a value of `rank` axes in the device's four.
pub(super) fn device_axis(axis: usize, rank: usize) -> usize {
    axis + 4 - rank
}

/// One operator family's table: operator names and how each is lowered.
pub(super) type Table = &'static [(&'static str, fn(&Node) -> Result<Lowered>)];
