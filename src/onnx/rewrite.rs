//! What becomes of a file before it is read: parameters from other files joined, the file's own functions put in the place
//! of their calls, and onnxruntime's operators written in those of the standard.

use std::collections::{HashMap, HashSet};

use prost::Message;
use prost::bytes::Bytes;

use super::proto::{Attribute, Entry, Function, Graph, Model, Node, Tensor, ValueInfo};
use crate::{Error, ErrorKind, Result};

/// How deep functions may call each other, how many nodes they may come to, and how many bytes of names and numbers.
const DEPTH: usize = 32;
const NODES: usize = 1 << 17;
const BYTES: usize = 1 << 29;

/// What functions came to so far.
struct Count {
    nodes: usize,
    bytes: usize,
    /// The names that results have in the file: those of a function's own get others.
    taken: HashSet<String>,
}

/// A function of the file, and what a call of it takes.
struct Callable<'a> {
    function: &'a Function,
    /// Bytes of a copy.
    size: usize,
    /// How many names are in it.
    names: usize,
    /// How many attributes it takes from its caller, and the bytes of the largest that it has in their place.
    taken: usize,
    largest: usize,
}

impl<'a> Callable<'a> {
    fn of(function: &'a Function) -> Callable<'a> {
        Callable {
            function,
            size: size(function.encoded_len(), messages(&function.node) + attribute_messages(&function.defaults)),
            names: names(&function.node),
            taken: taken(&function.node),
            largest: largest(&function.defaults),
        }
    }

    /// Bytes of what is put in the place of a call.
    fn size(&self, call: &Node) -> usize {
        // Each name in the copy gets one of the call's in front, or in its place.
        let names = call.output.iter().chain(&call.input).chain(&call.name);
        let longest = names.map(String::len).max().unwrap_or(0);
        let taken = match self.taken {
            0 => 0,
            taken => taken.saturating_mul(self.largest.max(largest(&call.attribute))),
        };
        self.size.saturating_add(longest.saturating_mul(self.names)).saturating_add(taken)
    }
}

/// How many attributes nodes take from a caller, those of inner graphs with them.
fn taken(nodes: &[Node]) -> usize {
    let inner = |attribute: &Attribute| attribute.g.as_ref().map_or(0, |graph| taken(&graph.node));
    let attributes = nodes.iter().flat_map(|node| &node.attribute);
    attributes.map(|attribute| usize::from(attribute.of_caller.is_some()) + inner(attribute)).sum()
}

fn largest(attributes: &[Attribute]) -> usize {
    let sizes = attributes
        .iter()
        .map(|attribute| size(attribute.encoded_len(), attribute_messages(std::slice::from_ref(attribute))));
    sizes.max().unwrap_or(0)
}

/// No less than what a copy of messages takes in memory: an integer of one byte takes eight, and an empty attribute a thousand.
fn size(bytes: usize, messages: usize) -> usize {
    bytes.saturating_mul(8).saturating_add(messages.saturating_mul(size_of::<Attribute>()))
}

/// How many messages and names nodes consist of.
fn messages(nodes: &[Node]) -> usize {
    nodes.iter().map(|node| 1 + node.input.len() + node.output.len() + attribute_messages(&node.attribute)).sum()
}

/// The same of attributes, and of all that is in them.
fn attribute_messages(attributes: &[Attribute]) -> usize {
    let tensor = |tensor: &Tensor| 1 + tensor.external.len();
    let dims = |info: &ValueInfo| {
        let shape = info.r#type.as_ref().and_then(|kind| kind.tensor.as_ref()?.shape.as_ref());
        4 + shape.map_or(0, |shape| shape.dim.len())
    };
    let graph = |graph: &Graph| {
        let infos: usize = graph.input.iter().chain(&graph.output).map(dims).sum();
        let tensors: usize = graph.initializer.iter().map(tensor).sum();
        messages(&graph.node) + tensors + infos + 3 * graph.sparse.len()
    };
    let attribute =
        |a: &Attribute| 1 + a.strings.len() + a.t.as_ref().map_or(0, tensor) + a.g.as_ref().map_or(0, graph);
    attributes.iter().map(attribute).sum()
}

/// All of it. `parts` are the files beside the model's own, each by its name.
pub(super) fn rewrite(model: &mut Model, parts: &[(String, Bytes)]) -> Result<()> {
    let functions = std::mem::take(&mut model.functions);
    let functions: HashMap<_, _> =
        functions.iter().map(|function| (key_of(function), Callable::of(function))).collect();
    let Some(graph) = &mut model.graph else { return Ok(()) };
    each_tensor(graph, &mut |tensor| join(tensor, parts))?;
    let nodes = std::mem::take(&mut graph.node);
    let mut count = Count { nodes: 0, bytes: 0, taken: HashSet::new() };
    if !functions.is_empty() {
        count.taken = nodes.iter().flat_map(|node| &node.output).cloned().collect();
    }
    inline(nodes, &functions, 0, &mut count, &mut graph.node)
}

/// The names of the files in which tensors lie.
pub(super) fn parts(mut model: Model) -> Vec<String> {
    let mut names: Vec<String> = vec![];
    let mut known = HashSet::new();
    let note = &mut |tensor: &mut Tensor| {
        let name = entry(&tensor.external, "location").unwrap_or_default();
        if tensor.data_location == Some(1) && known.insert(name.to_owned()) {
            names.push(name.into());
        }
        Ok(())
    };
    // It is never refused.
    let _ = model.graph.as_mut().map(|graph| each_tensor(graph, note));
    names
}

/// Does something with every tensor of a graph.
fn each_tensor(graph: &mut Graph, f: &mut dyn FnMut(&mut Tensor) -> Result<()>) -> Result<()> {
    graph.initializer.iter_mut().try_for_each(&mut *f)?;
    for attribute in graph.node.iter_mut().flat_map(|node| &mut node.attribute) {
        attribute.t.iter_mut().try_for_each(&mut *f)?;
        attribute.g.iter_mut().try_for_each(|graph| each_tensor(graph, f))?;
    }
    Ok(())
}

fn entry<'a>(entries: &'a [Entry], key: &str) -> Option<&'a str> {
    entries.iter().find(|entry| entry.key.as_deref() == Some(key))?.value.as_deref()
}

/// Takes the numbers of a tensor from the file that it names.
fn join(tensor: &mut Tensor, parts: &[(String, Bytes)]) -> Result<()> {
    if tensor.data_location != Some(1) {
        return Ok(());
    }
    let damaged = |message: String| Err(Error::new(ErrorKind::Model, message));
    let location = entry(&tensor.external, "location").unwrap_or_default();
    let file_name = |path: &str| path.rsplit(['/', '\\']).next().unwrap_or_default().to_string();
    let part = parts.iter().find(|(name, _)| file_name(name) == file_name(location));
    // Renamed together with the model, a single file can only be the one.
    let Some((_, bytes)) = part.or(parts.first().filter(|_| parts.len() == 1)) else {
        return damaged(format!(
            "the parameters lie in a file of their own, `{location}`: give it together with the .onnx file, or write one \
             file: torch.onnx.export(…, external_data=False), or onnx.save(onnx.load(\"model.onnx\"), \"one.onnx\")"
        ));
    };
    // What is no number lies nowhere.
    let number = |key: &str| entry(&tensor.external, key).map(|text| text.parse::<usize>().unwrap_or(usize::MAX));
    let start = number("offset").unwrap_or(0);
    let end = number("length").map_or(Some(bytes.len()), |length| start.checked_add(length));
    match end.filter(|&end| start <= end && end <= bytes.len()) {
        Some(end) => tensor.raw_data = Some(bytes.slice(start..end)),
        None => {
            return damaged(format!(
                "tensor `{}` lies beyond the {} bytes of `{location}`: the two files do not belong together, or one is cut",
                tensor.name.as_deref().unwrap_or_default(),
                bytes.len()
            ));
        }
    }
    tensor.data_location = None;
    Ok(())
}

type Key<'a> = (&'a str, &'a str, &'a str);

fn key_of(function: &Function) -> Key<'_> {
    let [domain, name, overload] =
        [&function.domain, &function.name, &function.overload].map(|text| text.as_deref().unwrap_or_default());
    (domain, name, overload)
}

fn inline(
    nodes: Vec<Node>,
    functions: &HashMap<Key, Callable>,
    depth: usize,
    count: &mut Count,
    into: &mut Vec<Node>,
) -> Result<()> {
    for mut node in nodes {
        count.nodes += 1;
        let too_much = || {
            Error::new(
                ErrorKind::Model,
                format!(
                    "the file's functions come to more than {NODES} nodes or {BYTES} bytes, or call each other more than \
                     {DEPTH} deep"
                ),
            )
        };
        if depth > DEPTH || count.nodes > NODES {
            return Err(too_much());
        }
        for graph in node.attribute.iter_mut().filter_map(|attribute| attribute.g.as_mut()) {
            let nodes = std::mem::take(&mut graph.node);
            inline(nodes, functions, depth + 1, count, &mut graph.node)?;
        }
        let text = |text: &'_ Option<String>| text.clone().unwrap_or_default();
        let key = (text(&node.domain), text(&node.operator), text(&node.overload));
        if let Some(callable) = functions.get(&(key.0.as_str(), key.1.as_str(), key.2.as_str())) {
            count.bytes = count.bytes.saturating_add(callable.size(&node));
            if count.bytes > BYTES {
                return Err(too_much());
            }
            inline(called(callable.function, &node, &count.taken), functions, depth + 1, count, into)?;
        } else if let Some(nodes) = standard(&node) {
            into.extend(nodes);
        } else {
            into.push(node);
        }
    }
    Ok(())
}

/// How many names nodes have, those of inner graphs with them.
fn names(nodes: &[Node]) -> usize {
    let inner = |node: &Node| -> usize {
        let graphs = node.attribute.iter().filter_map(|attribute| attribute.g.as_ref());
        graphs.map(|g| names(&g.node) + g.initializer.len() + g.input.len() + g.output.len()).sum()
    };
    nodes.iter().map(|node| 1 + node.input.len() + node.output.len() + inner(node)).sum()
}

/// A function's nodes for one call; names of the file are `taken`.
fn called(function: &Function, call: &Node, taken: &HashSet<String>) -> Vec<Node> {
    let prefix = call.output.iter().find(|name| !name.is_empty()).cloned().unwrap_or_default();
    let mut names: HashMap<&str, String> = HashMap::from([("", String::new())]);
    for (at, name) in function.input.iter().enumerate() {
        names.insert(name, call.input.get(at).cloned().unwrap_or_default());
    }
    for (name, given) in function.output.iter().zip(&call.output).filter(|(_, given)| !given.is_empty()) {
        names.insert(name, given.clone());
    }
    let own = |name: &str| {
        let mut own = format!("{prefix}/{name}");
        if taken.contains(&own) {
            own.push('\'');
        }
        own
    };
    let rename = |name: &mut String| {
        *name = names.get(name.as_str()).cloned().unwrap_or_else(|| own(name));
    };
    // The call's own come before the defaults, and the first of several counts.
    let given = call.attribute.iter().chain(&function.defaults).rev();
    let given: HashMap<_, _> = given.map(|attribute| (attribute.name.as_deref(), attribute)).collect();
    let mut nodes = function.node.clone();
    for node in &mut nodes {
        renamed(node, &rename);
        resolve(node, &given);
        if let (Some(own), Some(callers)) = (&mut node.name, &call.name) {
            *own = format!("{callers}/{own}");
        }
    }
    nodes
}

/// Gives the nodes of a function, those of graphs inside it too, the attributes of its call.
fn resolve(node: &mut Node, given: &HashMap<Option<&str>, &Attribute>) {
    let own = std::mem::take(&mut node.attribute).into_iter().filter_map(|mut attribute| {
        if attribute.of_caller.as_deref().is_none_or(str::is_empty) {
            let inner = attribute.g.iter_mut().flat_map(|graph| &mut graph.node);
            inner.for_each(|node| resolve(node, given));
            return Some(attribute);
        }
        let given: &Attribute = given.get(&attribute.of_caller.as_deref())?;
        Some(Attribute { name: attribute.name, ..given.clone() })
    });
    node.attribute = own.collect();
}

fn renamed(node: &mut Node, rename: &dyn Fn(&mut String)) {
    node.input.iter_mut().chain(&mut node.output).for_each(rename);
    for graph in node.attribute.iter_mut().filter_map(|attribute| attribute.g.as_mut()) {
        for node in &mut graph.node {
            renamed(node, rename);
        }
        graph.initializer.iter_mut().filter_map(|tensor| tensor.name.as_mut()).for_each(rename);
        let infos = graph.input.iter_mut().chain(&mut graph.output);
        infos.filter_map(|info| info.name.as_mut()).for_each(rename);
    }
}

/// The nodes that one node of onnxruntime's is written as.
struct Writer<'a> {
    of: &'a Node,
    nodes: Vec<Node>,
}

impl Writer<'_> {
    /// Adds a node and names its result.
    fn call(&mut self, operator: &str, inputs: &[&str], attributes: &[Attribute]) -> String {
        let of = self.of;
        let output = format!("{}/{}", of.output[0], self.nodes.len());
        self.nodes.push(Node {
            input: inputs.iter().map(ToString::to_string).collect(),
            output: vec![output.clone()],
            name: of.name.as_ref().map(|name| format!("{name}/{operator}")),
            operator: Some(operator.into()),
            attribute: attributes.to_vec(),
            ..Node::default()
        });
        output
    }

    /// The last node gives what the node of onnxruntime's gave.
    fn done(mut self) -> Option<Vec<Node>> {
        let last = self.nodes.last_mut()?;
        last.output.clone_from(&self.of.output);
        last.name.clone_from(&self.of.name);
        Some(self.nodes)
    }

    /// Input `at`, or no name.
    fn input(&self, at: usize) -> String {
        self.of.input.get(at).cloned().unwrap_or_default()
    }

    /// The number that a level at input `at` stands for, whose scale and zero point are the next two.
    fn dequantized(&mut self, at: usize, axis: i64) -> String {
        let [x, scale, zero] = [0, 1, 2].map(|i| self.input(at + i));
        self.call("DequantizeLinear", &[&x, &scale, &zero], &[int("axis", axis)])
    }

    /// `x` in levels, with the scale and zero point at inputs `at` and the next.
    fn quantized(&mut self, x: &str, at: usize) {
        let [scale, zero] = [0, 1].map(|i| self.input(at + i));
        self.call("QuantizeLinear", &[x, &scale, &zero], &[]);
    }

    /// What follows a fused operator, by its attributes.
    fn activated(&mut self, x: &str) {
        let name = text(self.of, "activation").unwrap_or_default();
        let numbers = find(self.of, "activation_params").map(|a| a.floats.clone()).unwrap_or_default();
        let own = |key: &str, at: usize, name: &str| {
            let given = find(self.of, key).and_then(|a| a.f).or_else(|| numbers.get(at).copied());
            given.map(|f| Attribute { name: Some(name.into()), f: Some(f), ..Attribute::default() })
        };
        let attributes: Vec<Attribute> = match name.as_str() {
            "" => return,
            "Clip" => {
                [own("activation_min", 0, "min"), own("activation_max", 1, "max")].into_iter().flatten().collect()
            }
            _ => {
                [own("activation_alpha", 0, "alpha"), own("activation_beta", 1, "beta")].into_iter().flatten().collect()
            }
        };
        self.call(&name, &[x], &attributes);
    }
}

fn find<'a>(node: &'a Node, name: &str) -> Option<&'a Attribute> {
    node.attribute.iter().find(|attribute| attribute.name.as_deref() == Some(name))
}

fn text(node: &Node, name: &str) -> Option<String> {
    find(node, name)?.s.as_ref().map(|bytes| String::from_utf8_lossy(bytes).into_owned())
}

fn int(name: &str, i: i64) -> Attribute {
    Attribute { name: Some(name.into()), i: Some(i), ..Attribute::default() }
}

fn permutation(axes: &[i64]) -> [Attribute; 1] {
    [Attribute { name: Some("perm".into()), ints: axes.to_vec(), ..Attribute::default() }]
}

/// A node of onnxruntime's, as it writes files that it optimised or quantised, in the standard's operators.
fn standard(node: &Node) -> Option<Vec<Node>> {
    let operator = node.operator.as_deref()?;
    node.output.first()?;
    let mut w = Writer { of: node, nodes: vec![] };
    let own = &node.attribute[..];
    let is_last = find(node, "channels_last").and_then(|a| a.i) == Some(1) || operator.starts_with("Nhwc");
    // Channels last around operators that know channels first.
    let first =
        |w: &mut Writer, x: String| if is_last { w.call("Transpose", &[&x], &permutation(&[0, 3, 1, 2])) } else { x };
    let last =
        |w: &mut Writer, x: String| if is_last { w.call("Transpose", &[&x], &permutation(&[0, 2, 3, 1])) } else { x };
    match operator {
        "QLinearConv" => {
            let x = w.dequantized(0, 1);
            let x = first(&mut w, x);
            let kernel = w.dequantized(3, 0);
            let mut inputs = vec![x, kernel];
            if !w.input(8).is_empty() {
                let scale = w.call("Mul", &[&w.input(1), &w.input(4)], &[]);
                inputs.push(w.call("DequantizeLinear", &[&w.input(8), &scale], &[int("axis", 0)]));
            }
            let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
            let y = w.call("Conv", &inputs, own);
            let y = last(&mut w, y);
            w.quantized(&y, 6);
        }
        "QLinearMatMul" => {
            let (a, b) = (w.dequantized(0, -1), w.dequantized(3, -1));
            let y = w.call("MatMul", &[&a, &b], &[]);
            w.quantized(&y, 6);
        }
        "QGemm" => {
            let turned = find(node, "transB").and_then(|a| a.i) == Some(1);
            let (a, b) = (w.dequantized(0, 1), w.dequantized(3, i64::from(!turned)));
            let mut inputs = vec![a, b];
            if !w.input(6).is_empty() {
                let scale = w.call("Mul", &[&w.input(1), &w.input(4)], &[]);
                inputs.push(w.call("DequantizeLinear", &[&w.input(6), &scale], &[int("axis", 0)]));
            }
            let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
            let y = w.call("Gemm", &inputs, own);
            if !w.input(7).is_empty() {
                w.quantized(&y, 7);
            }
        }
        "QLinearAdd" | "QLinearMul" => {
            let (a, b) = (w.dequantized(0, 1), w.dequantized(3, 1));
            let y = w.call(&operator[7..], &[&a, &b], &[]);
            w.quantized(&y, 6);
        }
        "QLinearSigmoid"
        | "QLinearLeakyRelu"
        | "QLinearGlobalAveragePool"
        | "QLinearAveragePool"
        | "QLinearReduceMean"
        | "QLinearSoftmax" => {
            let x = w.dequantized(0, 1);
            let x = first(&mut w, x);
            let y = w.call(&operator[7..], &[&x], own);
            let y = last(&mut w, y);
            w.quantized(&y, 3);
        }
        "QLinearConcat" => {
            let parts: Vec<String> = (2..node.input.len()).step_by(3).map(|at| w.dequantized(at, 1)).collect();
            let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
            let y = w.call("Concat", &parts, own);
            w.quantized(&y, 0);
        }
        "FusedConv" | "FusedGemm" => {
            let inputs: Vec<&str> = node.input.iter().take(3).map(String::as_str).collect();
            let mut y = w.call(&operator[5..], &inputs, own);
            if operator == "FusedConv" && !w.input(3).is_empty() {
                y = w.call("Add", &[&y, &w.input(3)], &[]);
            }
            w.activated(&y);
        }
        "NhwcMaxPool" => {
            let x = w.input(0);
            let x = first(&mut w, x);
            let y = w.call("MaxPool", &[&x], own);
            last(&mut w, y);
        }
        "QuickGelu" => {
            w.call("Swish", &[&w.input(0)], own);
        }
        "BiasGelu" | "FastGelu" => {
            let mut x = w.input(0);
            if !w.input(1).is_empty() {
                x = w.call("Add", &[&x, &w.input(1)], &[]);
            }
            let way = if operator == "FastGelu" { "tanh" } else { "none" };
            let way = Attribute { name: Some("approximate".into()), s: Some(Bytes::from(way)), ..Attribute::default() };
            w.call("Gelu", &[&x], &[way]);
        }
        "SkipLayerNormalization" | "SkipSimplifiedLayerNormalization" => {
            let simplified = operator.contains("Simplified");
            let mut x = w.call("Add", &[&w.input(0), &w.input(1)], &[]);
            let bias = w.input(if simplified { 3 } else { 4 });
            if !bias.is_empty() {
                x = w.call("Add", &[&x, &bias], &[]);
            }
            // Its further output is the sum itself.
            if let Some(sum) = node.output.get(3).filter(|name| !name.is_empty()) {
                w.call("Identity", &[&x], &[]);
                w.nodes.last_mut()?.output = vec![sum.clone()];
            }
            match simplified {
                true => w.call("RMSNormalization", &[&x, &w.input(2)], own),
                false => w.call("LayerNormalization", &[&x, &w.input(2), &w.input(3)], own),
            };
        }
        "SimplifiedLayerNormalization" => {
            w.call("RMSNormalization", &[&w.input(0), &w.input(1)], own);
        }
        "MatMulIntegerToFloat" | "DynamicQuantizeMatMul" => {
            let is_dynamic = operator.starts_with('D');
            let (a, scale, zero, offset) = if is_dynamic {
                let levels = w.call("DynamicQuantizeLinear", &[&w.input(0)], &[]);
                let names = [format!("{levels}/scale"), format!("{levels}/zero")];
                w.nodes.last_mut()?.output.extend(names.clone());
                let [scale, zero] = names;
                (levels, scale, zero, 2)
            } else {
                (w.input(0), w.input(2), w.input(4), 3)
            };
            let a = w.call("DequantizeLinear", &[&a, &scale, &zero], &[]);
            let zero_at = if is_dynamic { 3 } else { 5 };
            let b = w.call("DequantizeLinear", &[&w.input(1), &w.input(offset), &w.input(zero_at)], &[int("axis", -1)]);
            let y = w.call("MatMul", &[&a, &b], &[]);
            if !w.input(zero_at + 1).is_empty() {
                w.call("Add", &[&y, &w.input(zero_at + 1)], &[]);
            }
        }
        // Only with a bias is there anything to write anew.
        "MatMulNBits" if !w.input(5).is_empty() => {
            let inputs: Vec<&str> = node.input.iter().take(5).map(String::as_str).collect();
            let y = w.call(operator, &inputs, own);
            w.call("Add", &[&y, &w.input(5)], &[]);
        }
        _ => return None,
    }
    w.done()
}
