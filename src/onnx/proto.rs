//! The part of `onnx.proto` that classifiers use, with the field numbers of the published schema.
//!
//! Unknown fields are skipped while decoding, so newer files read as far as they go. `cargo xtask build` writes the default
//! network by the same messages: three of their fields are for other programs that read that file.

use prost::Message;
use prost::bytes::Bytes;

#[derive(Clone, PartialEq, Message)]
pub(super) struct Model {
    /// For other readers.
    #[prost(int64, optional, tag = "1")]
    pub ir_version: Option<i64>,
    #[prost(string, optional, tag = "2")]
    pub producer: Option<String>,
    #[prost(message, optional, tag = "7")]
    pub graph: Option<Graph>,
    #[prost(message, repeated, tag = "8")]
    pub opset_import: Vec<OperatorSet>,
    #[prost(message, repeated, tag = "14")]
    pub metadata: Vec<Entry>,
    #[prost(message, repeated, tag = "25")]
    pub functions: Vec<Function>,
}

/// Of a [`Model`] what it says about itself.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Metadata {
    #[prost(message, repeated, tag = "14")]
    pub entries: Vec<Entry>,
}

/// An operator that the file itself defines by others.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Function {
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    #[prost(string, repeated, tag = "4")]
    pub input: Vec<String>,
    #[prost(string, repeated, tag = "5")]
    pub output: Vec<String>,
    #[prost(message, repeated, tag = "7")]
    pub node: Vec<Node>,
    #[prost(string, optional, tag = "10")]
    pub domain: Option<String>,
    /// Attributes with their defaults.
    #[prost(message, repeated, tag = "11")]
    pub defaults: Vec<Attribute>,
    #[prost(string, optional, tag = "13")]
    pub overload: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct OperatorSet {
    #[prost(string, optional, tag = "1")]
    pub domain: Option<String>,
    #[prost(int64, optional, tag = "2")]
    pub version: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Entry {
    #[prost(string, optional, tag = "1")]
    pub key: Option<String>,
    #[prost(string, optional, tag = "2")]
    pub value: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Graph {
    #[prost(message, repeated, tag = "1")]
    pub node: Vec<Node>,
    /// For other readers.
    #[prost(string, optional, tag = "2")]
    pub name: Option<String>,
    #[prost(message, repeated, tag = "5")]
    pub initializer: Vec<Tensor>,
    #[prost(message, repeated, tag = "11")]
    pub input: Vec<ValueInfo>,
    #[prost(message, repeated, tag = "12")]
    pub output: Vec<ValueInfo>,
    #[prost(message, repeated, tag = "15")]
    pub sparse: Vec<SparseTensor>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct SparseTensor {
    #[prost(message, optional, tag = "1")]
    pub values: Option<Tensor>,
    #[prost(message, optional, tag = "2")]
    pub indices: Option<Tensor>,
    #[prost(int64, repeated, packed = "false", tag = "3")]
    pub dims: Vec<i64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Node {
    #[prost(string, repeated, tag = "1")]
    pub input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub output: Vec<String>,
    #[prost(string, optional, tag = "3")]
    pub name: Option<String>,
    #[prost(string, optional, tag = "4")]
    pub operator: Option<String>,
    #[prost(message, repeated, tag = "5")]
    pub attribute: Vec<Attribute>,
    #[prost(string, optional, tag = "7")]
    pub domain: Option<String>,
    #[prost(string, optional, tag = "8")]
    pub overload: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Attribute {
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    #[prost(float, optional, tag = "2")]
    pub f: Option<f32>,
    #[prost(int64, optional, tag = "3")]
    pub i: Option<i64>,
    #[prost(bytes = "bytes", optional, tag = "4")]
    pub s: Option<Bytes>,
    #[prost(message, optional, tag = "5")]
    pub t: Option<Tensor>,
    /// A branch of If, the body of Loop.
    #[prost(message, optional, tag = "6")]
    pub g: Option<Graph>,
    #[prost(float, repeated, packed = "false", tag = "7")]
    pub floats: Vec<f32>,
    #[prost(int64, repeated, packed = "false", tag = "8")]
    pub ints: Vec<i64>,
    #[prost(bytes = "bytes", repeated, tag = "9")]
    pub strings: Vec<Bytes>,
    /// For other readers: 2 where `i` counts, 7 where `ints` does. Here the field counts that an operator asks for.
    #[prost(int32, optional, tag = "20")]
    pub kind: Option<i32>,
    /// In a function: the attribute of its caller that this one is.
    #[prost(string, optional, tag = "21")]
    pub of_caller: Option<String>,
    #[prost(message, optional, tag = "22")]
    pub sparse: Option<SparseTensor>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Tensor {
    #[prost(int64, repeated, packed = "false", tag = "1")]
    pub dims: Vec<i64>,
    #[prost(int32, optional, tag = "2")]
    pub data_type: Option<i32>,
    #[prost(float, repeated, tag = "4")]
    pub float_data: Vec<f32>,
    #[prost(int32, repeated, tag = "5")]
    pub int32_data: Vec<i32>,
    #[prost(int64, repeated, tag = "7")]
    pub int64_data: Vec<i64>,
    #[prost(string, optional, tag = "8")]
    pub name: Option<String>,
    #[prost(bytes = "bytes", optional, tag = "9")]
    pub raw_data: Option<Bytes>,
    #[prost(double, repeated, tag = "10")]
    pub double_data: Vec<f64>,
    #[prost(uint64, repeated, tag = "11")]
    pub uint64_data: Vec<u64>,
    /// Where in a file of their own the numbers lie: `location`, `offset`, `length`.
    #[prost(message, repeated, tag = "13")]
    pub external: Vec<Entry>,
    /// 1 where the numbers lie in a file of their own.
    #[prost(int32, optional, tag = "14")]
    pub data_location: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ValueInfo {
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    #[prost(message, optional, tag = "2")]
    pub r#type: Option<Type>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Type {
    #[prost(message, optional, tag = "1")]
    pub tensor: Option<TensorType>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TensorType {
    #[prost(int32, optional, tag = "1")]
    pub element: Option<i32>,
    #[prost(message, optional, tag = "2")]
    pub shape: Option<Shape>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Shape {
    #[prost(message, repeated, tag = "1")]
    pub dim: Vec<Dimension>,
}

/// Without a value the dimension is symbolic.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Dimension {
    #[prost(int64, optional, tag = "1")]
    pub value: Option<i64>,
}

/// The messages inside a message, by their field's number.
struct Inside(&'static [(u64, &'static Inside)]);

/// A message of plain fields, or a name.
static PLAIN: Inside = Inside(&[]);
static TENSOR: Inside = Inside(&[(13, &PLAIN)]);
static SPARSE: Inside = Inside(&[(1, &TENSOR), (2, &TENSOR)]);
static ATTRIBUTE: Inside = Inside(&[(5, &TENSOR), (6, &GRAPH), (9, &PLAIN), (22, &SPARSE)]);
static NODE: Inside = Inside(&[(1, &PLAIN), (2, &PLAIN), (5, &ATTRIBUTE)]);
static SHAPE: Inside = Inside(&[(1, &PLAIN)]);
static TENSOR_TYPE: Inside = Inside(&[(2, &SHAPE)]);
static TYPE: Inside = Inside(&[(1, &TENSOR_TYPE)]);
static INFO: Inside = Inside(&[(2, &TYPE)]);
static GRAPH: Inside = Inside(&[(1, &NODE), (5, &TENSOR), (11, &INFO), (12, &INFO), (15, &SPARSE)]);
static FUNCTION: Inside = Inside(&[(7, &NODE), (11, &ATTRIBUTE)]);
static MODEL: Inside = Inside(&[(7, &GRAPH), (8, &PLAIN), (14, &PLAIN), (25, &FUNCTION)]);

/// How deep messages may lie in each other; decoding refuses what is deeper.
const DEPTH: usize = 100;

/// How many messages a file has, counted until there are more than `most`: two bytes of it can become hundreds of bytes in
/// memory. What is damaged counts as far as it can be read; decoding says what is wrong.
pub(super) fn count_messages(bytes: &[u8], most: usize) -> usize {
    count_inside(bytes, &MODEL, most, DEPTH)
}

fn count_inside(mut bytes: &[u8], inside: &Inside, most: usize, depth: usize) -> usize {
    let mut found = 0;
    while found <= most
        && depth > 0
        && let Some(key) = varint(&mut bytes)
    {
        let length = match key & 7 {
            0 => varint(&mut bytes).map(|_| 0),
            1 => Some(8),
            2 => varint(&mut bytes).and_then(|length| usize::try_from(length).ok()),
            5 => Some(4),
            // What is in a group counts as if it were beside it.
            _ => Some(0),
        };
        let Some((field, rest)) = length.and_then(|length| bytes.split_at_checked(length)) else { break };
        if let Some((_, inside)) = inside.0.iter().find(|(number, _)| key == number << 3 | 2) {
            found += 1 + count_inside(field, inside, most - found, depth - 1);
        }
        bytes = rest;
    }
    found
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}
