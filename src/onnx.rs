//! ONNX bytes to a [`Network`].
//!
//! Everything ONNX hides behind [`load`]: protobuf, opsets, the exporters' habits. It is apart from the network so that
//! running can't fail: all refusals happen here.
//!
//! **Invariants.** Every shape is known for one image when `load` returns. Operators that are not there are reported all
//! together, each by node name and operator. Layers keep the names of the file.

mod activation;
mod arithmetic;
mod convolution;
mod host;
mod node;
mod normalization;
mod pooling;
mod proto;
mod quantization;
mod reduction;
mod shape;
mod view;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;

use prost::Message;
use prost::bytes::Bytes;

use self::host::Host;
use self::node::{Built, Draft, Input, Known, Node, Operand, Table};
use crate::device::Device;
use crate::network::plan::{
    Activation, Constant, Head, Layout, Op, Plan, PoolingHead, Reduction, Source, Step, Unary, Value, ValueId, rank4,
};
use crate::network::{InputSpec, Network};
use crate::tensor::{Tensor, numbers, tensor};
use crate::{Error, ErrorKind, Result};

const TABLES: [Table; 8] = [
    activation::TABLE,
    arithmetic::TABLE,
    convolution::TABLE,
    normalization::TABLE,
    pooling::TABLE,
    quantization::TABLE,
    reduction::TABLE,
    shape::TABLE,
];

/// The names of all operators that are there, sorted.
pub fn operators() -> Vec<&'static str> {
    let mut names: Vec<_> = TABLES.iter().flat_map(|table| table.iter().map(|(name, _)| *name)).collect();
    names.sort_unstable();
    names
}

/// What a file leaves open.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoadOptions {
    /// Width and height of the input, in pixels, for a file with symbolic ones; 224 × 224 if not given.
    pub input_size: Option<(u32, u32)>,
}

/// Reads a classifier from the bytes of an ONNX file and puts its parameters on a device.
///
/// # Errors
/// - [`ErrorKind::Model`]: not ONNX, damaged, or split over several files.
/// - [`ErrorKind::Unsupported`]: operators that are not there (all of them, each by node and operator), or a network that
///   is no image classifier.
pub fn load(bytes: &[u8], options: &LoadOptions, device: &Device) -> Result<Network> {
    load_owned(bytes.to_vec(), options, device)
}

/// [`load`] without a copy of the file.
pub(crate) fn load_owned(bytes: Vec<u8>, options: &LoadOptions, device: &Device) -> Result<Network> {
    let model = decode(bytes)?;
    let metadata: BTreeMap<String, String> = model
        .metadata
        .iter()
        .map(|e| (e.key.clone().unwrap_or_default(), e.value.clone().unwrap_or_default()))
        .collect();
    let graph = graph(&model)?;
    let mut builder = Builder::new(&model, graph);
    let (input, channels_last) = builder.image_input(graph, options)?;
    builder.build(graph)?;
    let plan = builder.finish_classifier(graph)?;
    Network::new(plan, input, channels_last, metadata, device)
}

/// Runs a graph of float inputs once and returns its first output's shape and numbers: for testing operators one by one.
/// `plainly` runs it on burn, step by step, even where there is a faster way.
#[doc(hidden)]
pub async fn evaluate(
    bytes: &[u8],
    inputs: &[(Vec<usize>, Vec<f32>)],
    device: &Device,
    plainly: bool,
) -> Result<(Vec<usize>, Vec<f32>)> {
    let model = decode(bytes.to_vec())?;
    let graph = graph(&model)?;
    let mut builder = Builder::new(&model, graph);
    for (info, (shape, _)) in builder.inputs(graph).into_iter().zip(inputs) {
        builder.add_input(info.name.as_deref().unwrap_or_default(), shape.clone(), Layout::Other);
    }
    builder.build(graph)?;
    let name = graph.output.first().and_then(|output| output.name.as_deref()).unwrap_or_default();
    match builder.known.get(name) {
        Some(Known::Constant(host)) => Ok((host.shape.clone(), host.floats())),
        Some(Known::Value(operand)) => {
            let operand = operand.clone();
            let plan = builder.plan_for(operand.id);
            let inputs = inputs.iter().map(|(shape, values)| tensor(values.clone(), rank4(shape))).collect();
            let out = crate::network::evaluate(plan, inputs, device, plainly).await?;
            Ok((operand.shape, numbers(out)))
        }
        _ => Err(Error::new(ErrorKind::Model, format!("nothing computes the output `{name}`"))),
    }
}

/// The messages of a file, whose tensors stay where they are in it.
fn decode(bytes: Vec<u8>) -> Result<proto::Model> {
    proto::Model::decode(Bytes::from(bytes)).map_err(|error| {
        Error::new(
            ErrorKind::Model,
            format!("this is no ONNX file, or a damaged one ({error}); a .onnx file is accepted"),
        )
    })
}

fn graph(model: &proto::Model) -> Result<&proto::Graph> {
    model.graph.as_ref().filter(|graph| !graph.node.is_empty()).ok_or_else(|| {
        Error::new(
            ErrorKind::Model,
            "this is no ONNX file, or a damaged one (it has no graph); a .onnx file is accepted",
        )
    })
}

fn unsupported(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Unsupported, message)
}

/// A graph on its way to a plan.
struct Builder {
    known: HashMap<String, Known>,
    initializers: HashSet<String>,
    values: Vec<Value>,
    constants: Vec<Constant>,
    steps: Vec<Step>,
    aliases: Vec<(String, ValueId)>,
    batches: bool,
    opset: i64,
}

impl Builder {
    fn new(model: &proto::Model, graph: &proto::Graph) -> Self {
        let standard = |set: &&proto::OperatorSet| matches!(set.domain.as_deref(), None | Some("" | "ai.onnx"));
        let opset = model.opset_import.iter().find(standard).and_then(|set| set.version).unwrap_or(1);
        let mut known = HashMap::new();
        let mut initializers = HashSet::new();
        for (index, tensor) in graph.initializer.iter().enumerate() {
            let name = tensor.name.clone().unwrap_or_default();
            known.insert(name.clone(), Known::Initializer(index));
            initializers.insert(name);
        }
        Builder {
            known,
            initializers,
            values: vec![],
            constants: vec![],
            steps: vec![],
            aliases: vec![],
            batches: true,
            opset,
        }
    }

    /// The inputs that the caller gives; older files list parameters among them.
    fn inputs<'a>(&self, graph: &'a proto::Graph) -> Vec<&'a proto::ValueInfo> {
        graph
            .input
            .iter()
            .filter(|info| !self.initializers.contains(info.name.as_deref().unwrap_or_default()))
            .collect()
    }

    fn add_input(&mut self, name: &str, shape: Vec<usize>, layout: Layout) {
        let id = ValueId(self.values.len());
        self.values.push(Value { name: name.into(), shape: shape.clone(), layout });
        self.known.insert(name.into(), Known::Value(Operand { id, shape }));
    }

    /// Checks that the one input is an image and settles its size.
    fn image_input(&mut self, graph: &proto::Graph, options: &LoadOptions) -> Result<(InputSpec, bool)> {
        let accepted = "one input of shape [1, channels, height, width] with 1, 3 or 4 channels is accepted";
        let inputs = self.inputs(graph);
        let [info] = inputs[..] else {
            let names: Vec<_> = inputs.iter().map(|info| info.name.as_deref().unwrap_or_default()).collect();
            return Err(unsupported(format!("this is no image classifier: its inputs are {names:?}; {accepted}")));
        };
        let name = info.name.as_deref().unwrap_or_default();
        let tensor = info.r#type.as_ref().and_then(|t| t.tensor.as_ref());
        let dims: Vec<Option<usize>> = tensor
            .and_then(|t| t.shape.as_ref())
            .map(|shape| {
                shape.dim.iter().map(|d| d.value.and_then(|v| usize::try_from(v).ok()).filter(|&v| v > 0)).collect()
            })
            .unwrap_or_default();
        let shown: Vec<String> = dims.iter().map(|d| d.map_or("?".into(), |d| d.to_string())).collect();
        let refuse = |why: &str| {
            unsupported(format!(
                "this is no image classifier: {why} its input `{name}` has the shape [{}]; {accepted}",
                shown.join(", ")
            ))
        };
        let [batch, d1, d2, d3] = dims[..] else { return Err(refuse("")) };
        if !matches!(tensor.and_then(|t| t.element), Some(host::element::FLOAT | host::element::FLOAT16)) {
            return Err(refuse("the input is not of floats;"));
        }
        if batch.is_some_and(|n| n != 1) {
            return Err(unsupported(format!(
                "the input `{name}` has a fixed batch of {}; a batch of 1 or a symbolic one is accepted",
                batch.unwrap_or_default()
            )));
        }
        let is_channels = |d: Option<usize>| matches!(d, Some(1 | 3 | 4));
        let channels_last = !is_channels(d1) && is_channels(d3) && d1.is_none_or(|d| d > 4);
        let (channels, height, width) = if channels_last { (d3, d1, d2) } else { (d1, d2, d3) };
        let channels = channels.unwrap_or(3);
        if !matches!(channels, 1 | 3 | 4) {
            return Err(refuse(""));
        }
        let (wide, high) = options.input_size.unwrap_or((224, 224));
        let (width, height) = (width.unwrap_or(wide as usize), height.unwrap_or(high as usize));
        if width.max(height) > 4096 || width == 0 || height == 0 {
            return Err(unsupported(format!("an input of {width}×{height} pixels; 1 to 4096 a side are accepted")));
        }
        let (shape, layout) = match channels_last {
            true => (vec![1, height, width, channels], Layout::ChannelsLast),
            false => (vec![1, channels, height, width], Layout::ChannelsFirst),
        };
        self.add_input(name, shape, layout);
        Ok((InputSpec { width: width as u32, height: height as u32, channels }, channels_last))
    }

    /// Turns all nodes into steps and constants.
    fn build(&mut self, graph: &proto::Graph) -> Result<()> {
        let table: HashMap<&str, fn(&Node) -> Result<Built>> =
            TABLES.iter().flat_map(|table| table.iter().copied()).collect();
        let mut refusals: Vec<Error> = vec![];
        let mut uses: HashMap<&str, usize> = HashMap::new();
        let outputs = graph.output.iter().filter_map(|info| info.name.as_ref());
        graph
            .node
            .iter()
            .flat_map(|node| &node.input)
            .chain(outputs)
            .for_each(|name| *uses.entry(name).or_default() += 1);
        for proto in in_order(graph, &self.known) {
            let operator = proto.operator.as_deref().unwrap_or_default();
            let domain = proto.domain.as_deref().unwrap_or_default();
            let builder = table.get(operator).filter(|_| matches!(domain, "" | "ai.onnx"));
            let inputs = proto.input.iter().map(|name| match self.known.get(name).filter(|_| !name.is_empty()) {
                Some(Known::Initializer(index)) => {
                    let host = Host::decode(&graph.initializer[*index], "an initializer")?;
                    Ok(Some(Known::Constant(Rc::new(host))))
                }
                known => Ok(known.cloned()),
            });
            let inputs: Vec<Option<Known>> = inputs.collect::<Result<_>>()?;
            let refused = inputs.iter().flatten().any(|known| matches!(known, Known::Refused));
            let unknown = proto.input.iter().find(|name| !name.is_empty() && !self.known.contains_key(*name));
            if let Some(scores) = decision(operator, &inputs) {
                for output in &proto.output {
                    self.known.insert(output.clone(), Known::Decision(scores.clone()));
                }
                continue;
            }
            let built = match (builder, unknown) {
                (None, _) => {
                    let domain = if domain.is_empty() { String::new() } else { format!(" of `{domain}`") };
                    Err(node::refusal(proto, &format!("this operator{domain} is not supported")))
                }
                (Some(_), _) if refused => {
                    self.refuse_outputs(proto);
                    continue;
                }
                (Some(_), Some(name)) => Err(Error::new(
                    ErrorKind::Model,
                    format!("node `{}` ({operator}): nothing computes its input `{name}`", node::label(proto)),
                )),
                (Some(build), None) => {
                    let node = Node { proto, inputs, opset: self.opset, is_folding: false };
                    let built = build(&node).or_else(|refusal| folded(&node, *build).ok_or(refusal));
                    built.and_then(|built| self.add(&node, built))
                }
            };
            if let Err(error) = built {
                refusals.push(error);
                self.refuse_outputs(proto);
            }
            for name in &proto.input {
                let left = uses.get_mut(name.as_str()).expect("it was counted");
                *left -= 1;
                if *left == 0 && matches!(self.known.get(name), Some(Known::Constant(_))) {
                    self.known.remove(name);
                }
            }
        }
        match &refusals[..] {
            [] => Ok(()),
            [one] => Err(one.clone()),
            [first, ..] => {
                let all: Vec<&str> = refusals.iter().map(Error::message).collect();
                Err(Error::new(first.kind(), format!("{} nodes can't be run: {}", all.len(), all.join("; "))))
            }
        }
    }

    fn refuse_outputs(&mut self, proto: &proto::Node) {
        for output in &proto.output {
            self.known.insert(output.clone(), Known::Refused);
        }
    }

    fn add(&mut self, node: &Node, built: Built) -> Result<()> {
        let outputs = &node.proto.output;
        let first = outputs.first().cloned().unwrap_or_default();
        match built {
            Built::SameWith(hosts) => {
                for (output, host) in outputs.iter().skip(1).zip(hosts) {
                    self.known.insert(output.clone(), Known::Constant(Rc::new(host)));
                }
                return self.add(node, Built::Same);
            }
            Built::Same => {
                let Some(Some(known)) = node.inputs.first().cloned() else {
                    return Err(node.refuse("its input is missing"));
                };
                if let Known::Value(operand) = &known {
                    self.aliases.push((first.clone(), operand.id));
                    self.aliases.extend(node.proto.name.iter().map(|name| (name.clone(), operand.id)));
                }
                self.known.insert(first, known);
            }
            Built::Constants(hosts) => {
                for (output, host) in outputs.iter().zip(hosts) {
                    self.known.insert(output.clone(), Known::Constant(Rc::new(host)));
                }
            }
            Built::View { source, dims, permutation } => {
                self.known.insert(first, Known::View { source, dims, permutation });
            }
            Built::Views(views) => {
                for (output, (drafts, dims, permutation)) in outputs.iter().zip(views) {
                    if let Some(source) = self.add_chain(node, drafts, String::new())? {
                        self.known.insert(output.clone(), Known::View { source, dims, permutation });
                    }
                }
            }
            Built::Chain(drafts) => {
                if let Some(operand) = self.add_chain(node, drafts, first.clone())? {
                    self.known.insert(first, Known::Value(operand));
                }
            }
            Built::Each(drafts) => {
                for (output, draft) in outputs.iter().zip(drafts) {
                    let operand = self.add_step(node, draft, output.clone(), &[])?;
                    self.known.insert(output.clone(), Known::Value(operand));
                }
            }
        }
        Ok(())
    }

    /// Steps one after the other, the last of which gets the name.
    fn add_chain(&mut self, node: &Node, drafts: Vec<Draft>, name: String) -> Result<Option<Operand>> {
        let last = drafts.len().saturating_sub(1);
        let mut results: Vec<Operand> = vec![];
        for (i, draft) in drafts.into_iter().enumerate() {
            let name = if i == last { name.clone() } else { String::new() };
            results.push(self.add_step(node, draft, name, &results)?);
        }
        Ok(results.pop())
    }

    fn add_step(&mut self, node: &Node, draft: Draft, name: String, earlier: &[Operand]) -> Result<Operand> {
        let Draft { op, inputs, shape } = draft;
        if shape.len() > 4 {
            return Err(node.refuse(format!("a result with {} axes; up to four are accepted", shape.len())));
        }
        if shape.contains(&0) || host::count(&shape).is_none() {
            return Err(node.refuse(format!("a result of the shape {shape:?}")));
        }
        let inputs: Vec<Source> = inputs
            .into_iter()
            .map(|input| match input {
                Input::Value(id) => Source::Value(id),
                Input::Previous => Source::Value(earlier.last().map_or(ValueId(0), |operand| operand.id)),
                Input::Earlier(step) => Source::Value(earlier.get(step).map_or(ValueId(0), |operand| operand.id)),
                Input::Constant(host) => {
                    self.constants.push(Constant { shape: rank4(&host.shape), values: host.into_floats() });
                    Source::Constant(self.constants.len() - 1)
                }
            })
            .collect();
        let operands: Vec<&Value> = inputs
            .iter()
            .filter_map(|s| if let Source::Value(id) = s { Some(&self.values[id.0]) } else { None })
            .collect();
        let layout = match self.flattened_from(&op, &inputs, &shape) {
            Some(before) => before,
            None => layout(&op, &operands, &shape),
        };
        self.batches &= keeps_images_apart(&op, &operands, &shape);
        let id = ValueId(self.values.len());
        self.values.push(Value { name, shape: shape.clone(), layout });
        let node_name = node.proto.name.clone().unwrap_or_default();
        self.steps.push(Step { node: node_name, operator: node.operator().into(), op, inputs, output: id });
        Ok(Operand { id, shape })
    }

    /// The layout of the value that was reshaped, normalised and is now reshaped to what it was: normalisation of groups
    /// as exporters write it.
    fn flattened_from(&self, op: &Op, inputs: &[Source], shape: &[usize]) -> Option<Layout> {
        let producer = |source: &Source| match source {
            Source::Value(id) => self.steps.iter().rev().find(|step| step.output == *id),
            Source::Constant(_) => None,
        };
        let middle = producer(inputs.first().filter(|_| *op == Op::Reshape)?)?;
        let first = producer(middle.inputs.first().filter(|_| matches!(middle.op, Op::Normalize { .. }))?)?;
        match (&first.op, first.inputs.first()?) {
            (Op::Reshape, Source::Value(id)) if self.values[id.0].shape == shape => Some(self.values[id.0].layout),
            _ => None,
        }
    }

    /// The plan that computes `scores`, without what does not lead there.
    fn plan_for(self, scores: ValueId) -> Plan {
        let mut needed = HashSet::from([scores]);
        let mut steps: Vec<Step> = vec![];
        for step in self.steps.into_iter().rev() {
            if needed.contains(&step.output) {
                needed.extend(
                    step.inputs.iter().filter_map(|s| if let Source::Value(id) = s { Some(*id) } else { None }),
                );
                steps.push(step);
            }
        }
        steps.reverse();
        // Only the parameters that are used travel to the device.
        let mut constants = vec![];
        let mut moved: HashMap<usize, usize> = HashMap::new();
        let mut given: Vec<Option<Constant>> = self.constants.into_iter().map(Some).collect();
        for source in steps.iter_mut().flat_map(|step| &mut step.inputs) {
            if let Source::Constant(index) = source {
                *index = *moved.entry(*index).or_insert_with(|| {
                    constants.push(given[*index].take().expect("each constant moves once"));
                    constants.len() - 1
                });
            }
        }
        Plan {
            values: self.values,
            constants,
            steps,
            scores,
            activation: Activation::Softmax,
            batches: self.batches,
            head: Err(String::new()),
            aliases: self.aliases.into_iter().filter(|(name, id)| !name.is_empty() && needed.contains(id)).collect(),
        }
    }

    /// Finds the scores among the outputs and describes the classifier's head.
    fn finish_classifier(self, graph: &proto::Graph) -> Result<Plan> {
        let accepted = "a classifier gives one score a class, [1, classes]";
        let is_scores = |shape: &[usize]| {
            shape.iter().filter(|&&side| side != 1).count() <= 1 && (shape.len() < 2 || shape[0] == 1)
        };
        let (mut found, mut candidates, mut decided) = (vec![], vec![], vec![]);
        for info in &graph.output {
            let name = info.name.as_deref().unwrap_or_default();
            match self.known.get(name) {
                Some(Known::Value(operand)) if is_scores(&operand.shape) => candidates.push(operand.id),
                Some(Known::Decision(operand)) if is_scores(&operand.shape) => decided.push(operand.id),
                Some(Known::Value(operand)) => found.push(format!("`{name}` of shape {:?}", operand.shape)),
                _ => found.push(format!("`{name}`, which does not depend on the image")),
            }
        }
        // What another one is computed from is no result: features beside scores, scores beside probabilities.
        candidates.extend(decided);
        let is_used = |id: ValueId| {
            let mut used = HashSet::from([id]);
            for step in &self.steps {
                if step.inputs.iter().any(|s| matches!(s, Source::Value(value) if used.contains(value))) {
                    used.insert(step.output);
                }
            }
            candidates.iter().any(|&other| other != id && used.contains(&other))
        };
        let Some(output) = candidates.iter().copied().find(|&id| !is_used(id)) else {
            return Err(unsupported(format!(
                "this is no image classifier: its output is {}; {accepted}",
                found.join(" and ")
            )));
        };
        let producer = |id: ValueId| self.steps.iter().find(|step| step.output == id);
        let first_value = |step: &Step| match step.inputs[0] {
            Source::Value(id) => Some(id),
            Source::Constant(_) => None,
        };
        // The score is taken before a trailing softmax or sigmoid.
        let mut scores = output;
        let mut activation = Activation::Softmax;
        let mut at = Some(output);
        while let Some(step) = at.and_then(producer) {
            at = match step.op {
                Op::Reshape => first_value(step),
                Op::Softmax { .. } | Op::Unary(Unary::Sigmoid) => {
                    if step.op == Op::Unary(Unary::Sigmoid) {
                        activation = Activation::Sigmoid;
                    }
                    scores = first_value(step).unwrap_or(scores);
                    None
                }
                _ => None,
            };
        }
        let classes: usize = self.values[scores.0].shape.iter().product();
        let mut plan = self.plan_for(scores);
        plan.activation = if classes == 1 { Activation::Sigmoid } else { activation };
        plan.head = pooling_head(&plan);
        Ok(plan)
    }
}

/// The nodes, each behind those that compute its inputs: some converters append what they add at the end of the file. Nodes
/// whose inputs never come are last.
fn in_order<'a>(graph: &'a proto::Graph, known: &HashMap<String, Known>) -> Vec<&'a proto::Node> {
    let outputs: HashSet<&str> = graph.node.iter().flat_map(|node| &node.output).map(String::as_str).collect();
    let mut computed: HashSet<&str> = HashSet::new();
    let (mut ordered, mut waiting): (Vec<_>, Vec<_>) = (vec![], graph.node.iter().collect());
    // In order it takes one round, and one more for each part that is behind what needs it.
    for _ in 0..100 {
        waiting.retain(|node: &&proto::Node| {
            let comes = |name: &str| outputs.contains(name) && !computed.contains(name) && !known.contains_key(name);
            let is_waiting = node.input.iter().any(|name| comes(name));
            if !is_waiting {
                computed.extend(node.output.iter().map(String::as_str));
                ordered.push(*node);
            }
            is_waiting
        });
        if waiting.is_empty() {
            break;
        }
    }
    ordered.extend(waiting);
    ordered
}

/// The scores among which a node decides, if it does: some files give the names of the best classes beside the scores, or
/// instead of them, and whatever is made of such a choice and constants is one, too.
fn decision(operator: &str, inputs: &[Option<Known>]) -> Option<Operand> {
    let is_first = matches!(operator, "ArgMax" | "TopK" | "ZipMap");
    let rest = &inputs[usize::from(is_first).min(inputs.len())..];
    let mut scores = match inputs.first() {
        Some(Some(Known::Value(operand))) if is_first => Some(operand),
        _ => None,
    };
    for input in if scores.is_some() { rest } else { inputs }.iter().flatten() {
        match input {
            Known::Decision(operand) => scores = scores.or(Some(operand)),
            Known::Constant(_) => {}
            _ => return None,
        }
    }
    scores.cloned()
}

/// What a node makes of constants alone, by the steps that would compute it: some exporters leave whole functions of the
/// parameters in the graph, such as the standardised weights of NFNets.
fn folded(node: &Node, build: fn(&Node) -> Result<Built>) -> Option<Built> {
    node.constants()?;
    let first = node.constant(0).filter(|first| first.as_ints().is_none() && first.rank() <= 4)?;
    let operand = Operand { id: ValueId(0), shape: first.shape.clone() };
    let mut inputs = node.inputs.clone();
    inputs[0] = Some(Known::Value(operand));
    let chained = |drafts: Vec<Draft>, is_chain: bool| {
        let given = first.rank4();
        let given = tensor(given.floats(), rank4(&given.shape));
        let mut results: Vec<(Vec<usize>, Tensor<4>)> = vec![];
        for Draft { op, inputs, shape } in drafts {
            if shape.len() > 4 || shape.contains(&0) || host::count(&shape).is_none() {
                return None;
            }
            let operands = inputs.into_iter().map(|input| match input {
                Input::Value(_) => given.clone(),
                Input::Previous => results.last().map_or(given.clone(), |(_, result)| result.clone()),
                Input::Earlier(step) => results[step].1.clone(),
                Input::Constant(host) => tensor(host.floats(), rank4(&host.shape)),
            });
            let result = crate::network::compute(&op, &operands.collect::<Vec<_>>(), rank4(&shape));
            results.push((shape, result));
        }
        if is_chain {
            results.drain(..results.len().saturating_sub(1));
        }
        Some(results.into_iter().map(|(shape, result)| Host::float(shape, numbers(result))).collect())
    };
    let results = match build(&Node { proto: node.proto, inputs, opset: node.opset, is_folding: true }).ok()? {
        Built::Chain(drafts) => chained(drafts, true),
        Built::Each(drafts) => chained(drafts, false),
        Built::Same => Some(vec![Host::clone(first)]),
        Built::Constants(hosts) => Some(hosts),
        Built::View { .. } | Built::Views(_) | Built::SameWith(_) => None,
    };
    results.map(Built::Constants)
}

/// How the result of `op` is laid out.
fn layout(op: &Op, operands: &[&Value], shape: &[usize]) -> Layout {
    let Some(first) = operands.first() else { return Layout::Other };
    match op {
        _ if shape.len() != 4 => Layout::Other,
        Op::Convolution { .. }
        | Op::MaxPool { .. }
        | Op::AveragePool { .. }
        | Op::LocalResponse { .. }
        | Op::Resample => Layout::ChannelsFirst,
        Op::Permute([0, 2, 3, 1]) if first.layout == Layout::ChannelsFirst => Layout::ChannelsLast,
        Op::Permute([0, 3, 1, 2]) if first.layout == Layout::ChannelsLast => Layout::ChannelsFirst,
        Op::Permute([0, 1, 2, 3]) => first.layout,
        Op::Permute(_) => Layout::Other,
        // A channel shuffle, or a reshape that leaves the plane as it is.
        Op::Reshape | Op::Rearrange { .. } | Op::Expand if first.shape.len() == 4 && first.shape[2..] == shape[2..] => {
            first.layout
        }
        Op::Reshape | Op::Rearrange { .. } | Op::Expand => Layout::Other,
        _ => operands.iter().find(|value| value.shape.len() == 4).map_or(Layout::Other, |value| value.layout),
    }
}

/// Whether `op` treats each image along the first axis by itself.
fn keeps_images_apart(op: &Op, operands: &[&Value], shape: &[usize]) -> bool {
    let rank = operands.first().map_or(0, |value| value.shape.len());
    if rank == 0
        || shape.is_empty()
        || shape[0] != 1
        || operands.iter().any(|v| v.shape.len() != rank || v.shape[0] != 1)
    {
        return false;
    }
    let batch = 4 - rank;
    match op {
        Op::Permute(axes) => axes[batch] == batch,
        Op::Rearrange { dims, permutation } => dims[0] == 1 && permutation[0] == 0,
        Op::Concat { axis } | Op::Slice { axis, .. } | Op::Select { axis, .. } => *axis != batch,
        Op::Reduce { axes, .. } | Op::Normalize { axes, .. } => !axes.contains(&batch),
        Op::Softmax { axis, .. } => *axis != batch,
        Op::Pad { padding, .. } | Op::PadEdge { padding, .. } => padding[batch] == (0, 0),
        Op::Linear { .. } => rank >= 3 || operands.len() == 1,
        _ => true,
    }
}

/// Looks for pooling and a linear layer (or a convolution to classes and pooling) before the scores.
fn pooling_head(plan: &Plan) -> std::result::Result<PoolingHead, String> {
    let classes: usize = plan.values[plan.scores.0].shape.iter().product();
    let mut linear: Option<Head> = None;
    let mut at = plan.scores;
    loop {
        let Some(step) = plan.producer(at) else {
            return Err("this network has none".into());
        };
        let between = || {
            let name = if step.node.is_empty() { &plan.values[step.output.0].name } else { &step.node };
            Err(format!("`{name}` ({}) stands in the way; Grad-CAM serves every network", step.operator))
        };
        let source = |index: usize| step.inputs.get(index).copied();
        let Some(Source::Value(input)) = source(0) else { return between() };
        let input_shape = &plan.values[input.0].shape;
        let is_plane = input_shape.len() == 4 && input_shape[2] * input_shape[3] > 1;
        // Pooled with channels last, but computed with channels first: TensorFlow's networks, for a fixed batch.
        let turned = plan.producer(input).filter(|step| step.op == Op::Permute([0, 2, 3, 1]));
        if let (Op::Reduce { kind: Reduction::Mean, axes }, Some(turned), Some(head)) = (&step.op, turned, &linear)
            && axes.len() == 2
            && axes.contains(&1)
            && axes.contains(&2)
            && let Some(Source::Value(layer)) = turned.inputs.first().copied()
            && plan.values[layer.0].layout == Layout::ChannelsFirst
        {
            return Ok(PoolingHead { layer, head: head.clone() });
        }
        let pools = match &step.op {
            Op::Reduce { kind: Reduction::Mean, axes } => {
                input_shape.len() == 4 && axes.len() == 2 && axes.contains(&2) && axes.contains(&3)
            }
            Op::AveragePool { kernel, padding, .. } => {
                input_shape[2..] == kernel[..] && *padding == [(0, 0); 2] && step.inputs.len() == 1
            }
            _ => false,
        };
        if pools {
            if plan.values[input.0].layout != Layout::ChannelsFirst {
                return between();
            }
            return match linear {
                Some(head) => Ok(PoolingHead { layer: input, head }),
                None if input_shape[1] == classes => Ok(PoolingHead { layer: input, head: Head::Channels }),
                None => between(),
            };
        }
        match (&step.op, source(1)) {
            (Op::Reshape, _) if !is_plane => {}
            (Op::Quantize { .. } | Op::Dequantize, _) if !is_plane => {}
            (Op::Binary(crate::network::plan::Binary::Add), Some(Source::Constant(_))) if !is_plane => {}
            (Op::Linear { transposed }, Some(Source::Constant(constant))) if linear.is_none() && !is_plane => {
                linear = Some(Head::Linear { constant, columns: !transposed });
            }
            (Op::Convolution { groups: 1, .. }, Some(Source::Constant(constant)))
                if linear.is_none() && !is_plane && plan.constants[constant].shape[2..] == [1, 1] =>
            {
                linear = Some(Head::Linear { constant, columns: false });
            }
            _ => return between(),
        }
        at = input;
    }
}
