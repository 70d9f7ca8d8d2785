//! ONNX bytes to a [`Network`].
//!
//! Everything ONNX hides behind [`load`]: protobuf, opsets, the exporters' habits. It is apart from the network so that
//! running can't fail: all refusals happen here.
//!
//! **Invariants.** Every shape is known for one image when `load` returns. Operators that are not there are reported all
//! together, each by node name and operator. Layers keep the names of the file.

mod activation;
mod arithmetic;
mod attention;
mod budget;
mod chain;
mod convolution;
mod input;
mod literal;
mod node;
mod normalization;
mod places;
mod pooling;
mod proto;
mod quantization;
mod recurrent;
mod reduction;
mod rewrite;
mod sampling;
mod shape;
mod view;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;

use prost::Message;
use prost::bytes::Bytes;

use self::arithmetic::no_nan;
use self::budget::Budget;
use self::chain::{Chain, Part};
use self::literal::Literal;
use self::node::{Input, Lowered, NewStep, Node, Operand, Resolved, Table};
use crate::device::Device;
use crate::error::shortened;
use crate::network::{InputSpec, Network};
use crate::plan::layers::{keeps_images_apart, layout_after};
use crate::plan::work::work;
use crate::plan::{
    Activation, Constant, Layout, Op, Output, OutputKind, Plan, Source, Step, Value, ValueId, head, outputs, rank4,
};
use crate::preprocess::CHANNELS;
use crate::tensor::{Tensor, numbers, tensor};
use crate::{Error, ErrorKind, Result};

const TABLES: [Table; 12] = [
    activation::TABLE,
    arithmetic::TABLE,
    attention::TABLE,
    convolution::TABLE,
    normalization::TABLE,
    places::TABLE,
    pooling::TABLE,
    quantization::TABLE,
    recurrent::TABLE,
    reduction::TABLE,
    sampling::TABLE,
    shape::TABLE,
];

/// The names of all operators that are there, sorted.
pub fn operators() -> Vec<&'static str> {
    let mut names: Vec<_> = TABLES.iter().flat_map(|table| table.iter().map(|(name, _)| *name)).collect();
    names.sort_unstable();
    names
}

/// What a file leaves open.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// Width and height of the input, in pixels, for a file with symbolic ones; 224 × 224 if not given.
    pub input_size: Option<(u32, u32)>,
    /// The name of the layer to explain where a question names none; the last one on which the scores depend if not given.
    pub default_layer: Option<String>,
}

/// Reads a classifier from the bytes of an ONNX file and puts its parameters on a device.
///
/// # Errors
/// - [`ErrorKind::Model`]: not ONNX, damaged, split over several files, or without the default layer that is wanted.
/// - [`ErrorKind::Unsupported`]: operators that are not there (all of them, each by node and operator), or a network that
///   is no image classifier.
pub fn load(bytes: &[u8], options: &LoadOptions, device: &Device) -> Result<Network> {
    load_parts(bytes.to_vec(), Vec::new(), options, device)
}

/// [`load`] without a copy of the file, whose parameters may lie in further files: each one's name and bytes.
///
/// # Errors
/// Those of [`load`].
pub fn load_parts(
    bytes: Vec<u8>,
    parts: Vec<(String, Vec<u8>)>,
    options: &LoadOptions,
    device: &Device,
) -> Result<Network> {
    let parts: Vec<(String, Bytes)> = parts.into_iter().map(|(name, bytes)| (name, Bytes::from(bytes))).collect();
    let size = parts.iter().fold(bytes.len(), |size, (_, part)| size.saturating_add(part.len()));
    let model = decode(bytes, &parts)?;
    let mut metadata = metadata_of(&model.metadata)?;
    let graph = graph(&model)?;
    let budget = Budget::new(size);
    let mut builder = Builder::new(&model, graph, &budget)?;
    let (input, channels_last) = builder.image_input(options)?;
    let assumed =
        builder.assumed.map(|assumed| format!("the file leaves its {assumed} was taken: another size can be given"));
    let batch = builder.fixed_batch.map(|batch| {
        format!("the file is made for {batch} images at once, and one is looked at: export it for a batch of 1")
    });
    let about: Vec<String> = [assumed, batch].into_iter().flatten().collect();
    let told = |error: Error| {
        // Other errors have nothing to do with it.
        if about.is_empty() || !["not fit", "not hold"].iter().any(|words| error.message().contains(words)) {
            return error;
        }
        Error::new(error.kind(), format!("{} ({})", error.message(), about.join("; ")))
    };
    builder.build().map_err(told)?;
    // What the graph itself does to a picture tells what it expects, where the file says nothing else.
    if let Some(text) = builder.preprocess.take()
        && !["preprocess", "preprocessing", "mean"].iter().any(|key| metadata.contains_key(*key))
    {
        metadata.insert("preprocess".into(), text);
    }
    let plan = builder.finish_classifier(graph)?;
    budget::check_memory(&plan, size)?;
    let mut network = Network::new(plan, input, channels_last, metadata, device)?;
    if let Some(name) = &options.default_layer {
        let named = network.layer(name);
        let layer =
            named.map_err(|error| Error::new(ErrorKind::Model, format!("default layer: {}", error.message())))?;
        network.set_default_layer(layer);
    }
    Ok(network)
}

/// The names of the files in which an ONNX file keeps parameters, where it does not hold them itself; none for what is no
/// ONNX file.
pub fn part_names(bytes: &[u8]) -> Vec<String> {
    // Most files name none, which is seen without reading their messages.
    if !bytes.windows(8).any(|word| word == b"location") {
        return Vec::new();
    }
    if proto::count_messages(bytes, budget::MAX_MESSAGES) > budget::MAX_MESSAGES {
        return Vec::new();
    }
    proto::Model::decode(Bytes::copy_from_slice(bytes)).map_or_else(|_| Vec::new(), rewrite::parts)
}

/// The metadata of an ONNX file, by key, found without reading its graph; nothing of what is no ONNX file, or has too much of it.
pub fn metadata(bytes: &[u8]) -> BTreeMap<String, String> {
    if proto::count_messages(bytes, budget::MAX_MESSAGES) > budget::MAX_MESSAGES {
        return BTreeMap::new();
    }
    let entries = proto::Metadata::decode(bytes).map(|found| found.entries).unwrap_or_default();
    metadata_of(&entries).unwrap_or_default()
}

fn metadata_of(entries: &[proto::Entry]) -> Result<BTreeMap<String, String>> {
    if entries.len() > budget::MAX_METADATA {
        return Err(Error::new(
            ErrorKind::Model,
            format!("the file has {} entries of metadata; up to {} are accepted", entries.len(), budget::MAX_METADATA),
        ));
    }
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    Ok(entries.iter().map(|entry| (text(&entry.key), text(&entry.value))).collect())
}

/// Runs a graph of float inputs once and returns its first output's shape and numbers: for testing operators one by one.
/// `on_reference_engine` runs it on burn, step by step, even where there is a faster way.
#[doc(hidden)]
pub async fn evaluate(
    bytes: &[u8],
    inputs: &[(Vec<usize>, Vec<f32>)],
    device: &Device,
    on_reference_engine: bool,
) -> Result<(Vec<usize>, Vec<f32>)> {
    let model = decode(bytes.to_vec(), &[])?;
    let graph = graph(&model)?;
    let budget = Budget::new(bytes.len());
    let mut builder = Builder::new(&model, graph, &budget)?;
    for (info, (shape, _)) in builder.inputs(graph).into_iter().zip(inputs) {
        builder.add_input(info.name.as_deref().unwrap_or_default(), shape.clone(), Layout::unknown(shape));
    }
    builder.build()?;
    let name = graph.output.first().and_then(|output| output.name.as_deref()).unwrap_or_default();
    match builder.known.get(name) {
        Some(Resolved::Constant(literal)) => Ok((literal.shape.clone(), literal.floats())),
        Some(Resolved::Value(operand)) => {
            let operand = operand.clone();
            let kind = OutputKind::Scores(Activation::Softmax);
            let plan = builder.plan_for(Output { value: operand.id, kind });
            budget::check_memory(&plan, bytes.len())?;
            let inputs = inputs.iter().map(|(shape, values)| tensor(values.clone(), rank4(shape))).collect();
            let out = crate::network::evaluate(plan, inputs, device, on_reference_engine).await?;
            Ok((operand.shape, numbers(out)))
        }
        _ => Err(Error::new(ErrorKind::Model, format!("nothing computes the output `{name}`"))),
    }
}

/// The messages of a file, whose tensors stay where they are in it and in the files beside it.
fn decode(bytes: Vec<u8>, parts: &[(String, Bytes)]) -> Result<proto::Model> {
    let refuse = |message: String| Error::new(ErrorKind::Model, message);
    if bytes.starts_with(b"version https://git-lfs") {
        return Err(refuse(
            "this is a Git LFS pointer, not the model that it points to: `git lfs pull` fetches it, or download the file itself"
                .into(),
        ));
    }
    if proto::count_messages(&bytes, budget::MAX_MESSAGES) > budget::MAX_MESSAGES {
        return Err(unsupported(format!(
            "the file has more than {} nodes, names, attributes, tensors and the like; a network for one image has thousands",
            budget::MAX_MESSAGES
        )));
    }
    let mut model = proto::Model::decode(Bytes::from(bytes)).map_err(|error| {
        refuse(format!("this is no ONNX file, or a damaged one ({error}); a .onnx file is accepted"))
    })?;
    rewrite::rewrite(&mut model, parts)?;
    Ok(model)
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
struct Builder<'a> {
    graph: &'a proto::Graph,
    table: HashMap<&'static str, fn(&Node) -> Result<Lowered>>,
    /// How often each name is still to be taken, for the nodes outside If and Loop.
    uses: HashMap<&'a str, usize>,
    refusals: Refusals,
    /// What is left of what the file may take.
    budget: &'a Budget,
    /// The batch that the file asks for, where only one image is given.
    fixed_batch: Option<usize>,
    /// How pictures are prepared, if the graph tells, as the metadata would say it.
    preprocess: Option<String>,
    /// Which sides nobody names, and what was taken for them.
    assumed: Option<&'static str>,
    known: HashMap<String, Resolved>,
    /// Results that nodes have beside those that are computed.
    left_out: HashSet<String>,
    /// The nodes of inner graphs in order.
    orders: HashMap<*const proto::Graph, Rc<[&'a proto::Node]>>,
    initializers: HashSet<String>,
    values: Vec<Value>,
    constants: Vec<Constant>,
    /// How many of the constants were looked at for infinite numbers, and whether there were any.
    checked: usize,
    is_infinite: bool,
    steps: Vec<Step>,
    aliases: Vec<(String, ValueId)>,
    batches: bool,
    opset: i64,
}

/// How often the body of a loop may be run.
const ROUNDS: i64 = 1 << 12;

impl<'a> Builder<'a> {
    fn new(model: &proto::Model, graph: &'a proto::Graph, budget: &'a Budget) -> Result<Self> {
        let standard = |set: &&proto::OperatorSet| matches!(set.domain.as_deref(), None | Some("" | "ai.onnx"));
        let opset = model.opset_import.iter().find(standard).and_then(|set| set.version).unwrap_or(1);
        let mut known = HashMap::new();
        let mut initializers = HashSet::new();
        for (index, tensor) in graph.initializer.iter().enumerate() {
            let name = tensor.name.clone().unwrap_or_default();
            let resolved = if is_text(tensor) { Resolved::Text } else { Resolved::Initializer(index) };
            known.insert(name.clone(), resolved);
            initializers.insert(name);
        }
        for sparse in &graph.sparse {
            let literal = Literal::sparse(sparse)?;
            budget.fold_result(&literal).map_err(unsupported)?;
            let name = sparse.values.as_ref().and_then(|values| values.name.clone()).unwrap_or_default();
            known.insert(name.clone(), Resolved::Constant(Rc::new(literal)));
            initializers.insert(name);
        }
        let mut uses = HashMap::new();
        count_uses(graph, &mut uses);
        Ok(Builder {
            graph,
            table: TABLES.iter().flat_map(|table| table.iter().copied()).collect(),
            uses,
            refusals: Refusals::default(),
            budget,
            fixed_batch: None,
            preprocess: None,
            assumed: None,
            known,
            left_out: HashSet::new(),
            orders: HashMap::new(),
            initializers,
            values: vec![],
            constants: vec![],
            checked: 0,
            is_infinite: false,
            steps: vec![],
            aliases: vec![],
            batches: true,
            opset,
        })
    }

    /// The inputs that the caller gives; older files list parameters among them.
    fn inputs<'b>(&self, graph: &'b proto::Graph) -> Vec<&'b proto::ValueInfo> {
        graph
            .input
            .iter()
            .filter(|info| !self.initializers.contains(info.name.as_deref().unwrap_or_default()))
            .collect()
    }

    fn add_input(&mut self, name: &str, shape: Vec<usize>, layout: Layout) {
        let id = ValueId(self.values.len());
        self.values.push(Value { name: name.into(), shape: shape.clone(), layout });
        self.known.insert(name.into(), Resolved::Value(Operand { id, shape, element: literal::element::FLOAT }));
    }

    /// Checks that the one input is an image and settles its size.
    fn image_input(&mut self, options: &LoadOptions) -> Result<(InputSpec, bool)> {
        let accepted = "one image [1, channels, height, width] with 1, 3 or 4 channels, or channels last, is accepted";
        let inputs = self.inputs(self.graph);
        let [info] = inputs[..] else {
            let names: Vec<_> = inputs.iter().map(|info| info.name.as_deref().unwrap_or_default()).collect();
            let shown: Vec<_> = names.iter().take(SHOWN).map(|name| shortened(name)).collect();
            let more = more(names.len());
            return Err(unsupported(format!(
                "this is no image classifier: its inputs are {shown:?}{more}; {accepted}"
            )));
        };
        let name = info.name.as_deref().unwrap_or_default();
        let tensor = info.r#type.as_ref().and_then(|t| t.tensor.as_ref());
        let shape = tensor.and_then(|t| t.shape.as_ref()).filter(|shape| !shape.dim.is_empty());
        let side = |d: &proto::Dimension| d.value.and_then(|v| usize::try_from(v).ok()).filter(|&v| v > 0);
        let mut dims: Vec<Option<usize>> =
            shape.map_or_else(|| vec![None; 4], |shape| shape.dim.iter().map(side).collect());
        let shown: Vec<String> = dims.iter().map(|d| d.map_or("?".into(), |d| d.to_string())).collect();
        let refuse = |why: &str| {
            unsupported(format!(
                "this is no image classifier: {why} its input `{}` has the shape [{}]; {accepted}",
                shortened(name),
                shown.join(", ")
            ))
        };
        let is_single = dims.len() == 3;
        if is_single {
            dims.insert(0, Some(1));
        }
        let [batch, d1, d2, d3] = dims[..] else { return Err(refuse("")) };
        let element = tensor.and_then(|t| t.element).unwrap_or(literal::element::FLOAT);
        if !literal::element::is_float(element) && !literal::element::is_integer(element) {
            return Err(refuse("the input is not of numbers;"));
        }
        self.fixed_batch = batch.filter(|&batch| batch > 1);
        let use_ = input::first_use(self.graph, name);
        let is_channels = |d: Option<usize>| d.is_some_and(|d| CHANNELS.contains(&d));
        let channels_last = match (d1, d3) {
            (None, None) => use_.is_last,
            _ => !is_channels(d1) && is_channels(d3) && d1.is_none_or(|d| d > 4),
        };
        let (channels, height, width) = if channels_last { (d3, d1, d2) } else { (d1, d2, d3) };
        let channels = channels.or(use_.channels).unwrap_or(3);
        if !CHANNELS.contains(&channels) {
            return Err(refuse(&format!("it takes {channels} channels;")));
        }
        let (wide, high) = options.input_size.unwrap_or((224, 224));
        self.assumed = match (width, height) {
            _ if options.input_size.is_some() => None,
            (None, None) => Some("width and height open, and 224 × 224"),
            (None, Some(_)) => Some("width open, and 224"),
            (Some(_), None) => Some("height open, and 224"),
            (Some(_), Some(_)) => None,
        };
        let (width, height) = (width.unwrap_or(wide as usize), height.unwrap_or(high as usize));
        if width.max(height) > 4096 || width == 0 || height == 0 {
            return Err(unsupported(format!("an input of {width}×{height} pixels; 1 to 4096 a side are accepted")));
        }
        let (shape, layout) = match channels_last {
            true => {
                let shape = vec![1, height, width, channels];
                (shape.clone(), Layout::channels_last(&shape))
            }
            false => {
                let shape = vec![1, channels, height, width];
                (shape.clone(), Layout::channels_first(&shape))
            }
        };
        self.add_input(name, shape.clone(), layout);
        // What the file takes is made of the one picture: whole numbers, without the batch's axis.
        let proto = proto::Node { output: vec![name.into()], ..proto::Node::default() };
        let node = Node::of(&proto, self.opset, self.budget);
        let mut chain = Chain::of(&node);
        let mut x = chain.value(ValueId(0), shape.clone());
        if literal::element::is_integer(element) {
            let (low, high) = literal::element::range(element);
            let (one, none) = (Part::number(1.0), Part::number(0.0));
            x = chain.step(Op::Quantize { low, high }, &[&x, &one, &none], shape.clone());
        }
        if is_single {
            x = chain.reshape(&x, shape[1..].to_vec());
        }
        if literal::element::is_integer(element) || is_single {
            let shape = x.shape.clone();
            if let Lowered::Chain(new_steps) = chain.done(&x, shape)?
                && let Some(operand) = self.add_chain(&node, new_steps, String::new())?
            {
                let operand = Operand { element, ..operand };
                self.known.insert(name.into(), Resolved::Value(operand));
            }
        }
        self.preprocess = use_.preprocess(literal::element::is_integer(element), channels);
        Ok((InputSpec { width: width as u32, height: height as u32, channels }, channels_last))
    }

    /// Turns all nodes into steps and constants.
    fn build(&mut self) -> Result<()> {
        let graph = self.graph;
        for proto in in_order(graph) {
            self.build_node(proto);
            if self.budget.refusal().is_some() {
                break;
            }
            for name in &proto.input {
                let left = self.uses.get_mut(name.as_str()).expect("it was counted");
                *left -= 1;
                if *left == 0 && matches!(self.known.get(name), Some(Resolved::Constant(_))) {
                    self.known.remove(name);
                }
            }
        }
        self.refusals.summary().map_or(Ok(()), Err)
    }

    /// One node; what is wrong with it is noted.
    fn build_node(&mut self, proto: &'a proto::Node) {
        let lowered = self.try_node(proto);
        // Whatever came of it: where too much was asked for, not all of it was done.
        let error = self.budget.refusal().map(|reason| node::refusal(proto, &reason)).or(lowered.err());
        if let Some(error) = error {
            self.refusals.note(proto.operator.as_deref().unwrap_or_default(), error);
            self.refuse_outputs(proto);
        }
    }

    fn try_node(&mut self, proto: &'a proto::Node) -> Result<()> {
        let operator = proto.operator.as_deref().unwrap_or_default();
        let domain = proto.domain.as_deref().unwrap_or_default();
        let builder = self.table.get(operator).filter(|_| matches!(domain, "" | "ai.onnx" | "com.microsoft")).copied();
        let refuse = |reason: String| node::refusal(proto, &reason);
        self.budget.node(proto).map_err(refuse)?;
        // Decoded once, however often the node takes them.
        let mut decoded: HashMap<usize, Rc<Literal>> = HashMap::new();
        let mut integers: usize = 0;
        let inputs = proto.input.iter().map(|name| {
            let known = match self.known.get(name).filter(|_| !name.is_empty()) {
                Some(Resolved::Initializer(index)) => {
                    let literal = match decoded.get(index) {
                        Some(literal) => literal.clone(),
                        None => {
                            let tensor = &self.graph.initializer[*index];
                            integers = integers.saturating_add(literal::integers(tensor));
                            if integers > literal::MAX_INTEGERS {
                                let most = literal::MAX_INTEGERS;
                                return Err(refuse(format!(
                                    "parameters of {integers} integers; up to {most} are accepted"
                                )));
                            }
                            Rc::new(Literal::decode(tensor, "an initializer")?)
                        }
                    };
                    decoded.insert(*index, literal.clone());
                    Some(Resolved::Constant(literal))
                }
                known => known.cloned(),
            };
            if let Some(Resolved::Constant(literal)) = &known {
                self.budget.fold(literal.len()).map_err(refuse)?;
            }
            Ok(known)
        });
        let inputs: Vec<Option<Resolved>> = inputs.collect::<Result<_>>()?;
        let refused = inputs.iter().flatten().any(|known| matches!(known, Resolved::Refused));
        let unknown = proto.input.iter().find(|name| !name.is_empty() && !self.known.contains_key(*name));
        if let Some(scores) = decision(operator, &inputs) {
            for output in &proto.output {
                self.known.insert(output.clone(), Resolved::Decision(scores.clone()));
            }
            return Ok(());
        }
        let is_chosen = |known: &Resolved| matches!(known, Resolved::Decision(_) | Resolved::Lost);
        let is_settled = |known: &Resolved| matches!(known, Resolved::Constant(_) | Resolved::Text);
        let mut given = inputs.iter().flatten();
        if given.clone().any(is_chosen) && given.all(|known| is_chosen(known) || is_settled(known)) {
            for output in &proto.output {
                self.known.insert(output.clone(), Resolved::Lost);
            }
            return Ok(());
        }
        let controls = matches!(operator, "If" | "Loop") && matches!(domain, "" | "ai.onnx");
        let is_words = |of: &proto::Attribute| match of.name.as_deref() {
            Some("value") => of.t.as_ref().is_some_and(is_text),
            name => matches!(name, Some("value_string" | "value_strings")),
        };
        if operator == "Constant" && proto.attribute.iter().any(is_words) {
            for output in &proto.output {
                self.known.insert(output.clone(), Resolved::Text);
            }
            return Ok(());
        }
        if builder.is_none() && !controls {
            let domain = if domain.is_empty() { String::new() } else { format!(" of `{}`", shortened(domain)) };
            return Err(node::refusal(proto, &format!("this operator{domain} is not supported")));
        }
        if refused {
            self.refuse_outputs(proto);
            return Ok(());
        }
        if let Some(name) = unknown {
            if self.left_out.contains(name) {
                let name = shortened(name);
                return Err(node::refusal(proto, &format!("its input `{name}` is a result that is not computed here")));
            }
            return Err(Error::new(
                ErrorKind::Model,
                format!(
                    "node `{}` ({}): nothing computes its input `{}`",
                    shortened(node::label(proto)),
                    shortened(operator),
                    shortened(name)
                ),
            ));
        }
        let uses = &self.uses;
        let unused = |name: &String| name.is_empty() || uses.get(name.as_str()).is_none_or(|&count| count == 0);
        let outputs = proto.output.iter().rposition(|name| !unused(name)).map_or(0, |last| last + 1);
        let (opset, budget, fixed_batch) = (self.opset, self.budget, self.fixed_batch);
        let node = Node { proto, inputs, outputs, opset, budget, is_folding: false, fixed_batch };
        let Some(build) = builder else {
            return if operator == "If" { self.branch(&node) } else { self.repeat(&node) };
        };
        let afforded = match node.constants() {
            Some(constants) => budget.computed(&constants),
            // Steps take copies of them.
            None => {
                let constants = (0..node.inputs.len()).filter_map(|index| node.constant(index));
                budget.could_hold(constants.map(|literal| literal.len()).fold(0, usize::saturating_add))
            }
        };
        afforded.map_err(refuse)?;
        let lowered = match operator {
            "IsNaN" if self.is_number(&node) => no_nan(&node)?,
            _ => build(&node).or_else(|refusal| folded(&node, build).ok_or(refusal))?,
        };
        // Steps that were left out are missed by those behind them.
        self.budget.refusal().map_or(Ok(()), |reason| Err(refuse(reason)))?;
        self.add(&node, lowered)?;
        let is_missing = |name: &&String| !name.is_empty() && !self.known.contains_key(*name);
        self.left_out.extend(proto.output.iter().filter(is_missing).cloned());
        Ok(())
    }

    /// Whether a node's input is a softmax that has a number everywhere: of rows of -∞ alone, which masks may make, it has none.
    fn is_number(&mut self, node: &Node) -> bool {
        let Some(Some(Resolved::Value(operand))) = node.inputs.first() else { return false };
        let step = self.steps.binary_search_by_key(&operand.id.0, |step| step.output.0);
        let infinite = |constant: &Constant| !constant.values.iter().all(|value| value.is_finite());
        while !self.is_infinite && self.checked < self.constants.len() {
            self.is_infinite = infinite(&self.constants[self.checked]);
            self.checked += 1;
        }
        !self.is_infinite && step.is_ok_and(|step| matches!(self.steps[step].op, Op::Softmax { log: false, .. }))
    }

    /// The nodes of a graph inside this one, which knows some names of its own, and what they give. Names are those of the graph
    /// that gives them: behind it the ones of outside mean what they meant before.
    fn inner(&mut self, graph: &'a proto::Graph, own: Vec<(String, Resolved)>) -> Result<Vec<Option<Resolved>>> {
        self.budget.round(graph).map_err(unsupported)?;
        let parameters = graph.initializer.iter().map(|tensor| tensor.name.as_deref().unwrap_or_default());
        let results = graph.node.iter().flat_map(|node| node.output.iter().map(String::as_str));
        let names = own.iter().map(|(name, _)| name.as_str()).chain(parameters).chain(results);
        let outer: Vec<(String, Option<Resolved>)> =
            names.map(|name| (name.to_owned(), self.known.remove(name))).collect();
        self.known.extend(own);
        for tensor in &graph.initializer {
            let name = tensor.name.clone().unwrap_or_default();
            if is_text(tensor) {
                self.known.insert(name, Resolved::Text);
                continue;
            }
            let literal = Literal::decode(tensor, "an initializer")?;
            self.budget.fold_result(&literal).map_err(unsupported)?;
            self.known.insert(name, Resolved::Constant(Rc::new(literal)));
        }
        for proto in self.ordered(graph).iter() {
            self.build_node(proto);
            if self.budget.refusal().is_some() {
                break;
            }
        }
        let outputs = graph.output.iter().map(|info| info.name.as_deref().unwrap_or_default());
        let found = outputs.map(|name| self.known.get(name).cloned()).collect();
        // A name that is there twice was known the first time.
        for (name, known) in outer.into_iter().rev() {
            match known {
                Some(known) => self.known.insert(name, known),
                None => self.known.remove(&name),
            };
        }
        Ok(found)
    }

    /// The nodes of a graph inside this one in order, which is found once for all its rounds.
    fn ordered(&mut self, graph: &'a proto::Graph) -> Rc<[&'a proto::Node]> {
        Rc::clone(self.orders.entry(std::ptr::from_ref(graph)).or_insert_with(|| in_order(graph).into()))
    }

    /// If, whose condition is settled.
    fn branch(&mut self, node: &Node<'a>) -> Result<()> {
        let condition = node.required_constant(0, "its condition")?;
        let holds = condition.floats().first().is_some_and(|&value| value != 0.0);
        let graph = node.graph(if holds { "then_branch" } else { "else_branch" })?;
        let found = self.inner(graph, vec![])?;
        for (name, known) in node.proto.output.iter().zip(found) {
            self.known.insert(name.clone(), known.unwrap_or(Resolved::Refused));
        }
        Ok(())
    }

    /// Loop, whose number of rounds is settled: its body once for each.
    fn repeat(&mut self, node: &Node<'a>) -> Result<()> {
        let body = node.graph("body")?;
        let rounds = match node.int_list(0, "the number of rounds")? {
            Some(list) => list.first().copied().unwrap_or(0),
            None => i64::MAX,
        };
        let mut holds = match node.has(1) {
            true => Some(node.required_constant(1, "its condition")?.clone()),
            false => None,
        };
        let carried = node.inputs.len().saturating_sub(2);
        let names = |infos: &[proto::ValueInfo]| -> Vec<String> {
            infos.iter().map(|info| info.name.clone().unwrap_or_default()).collect()
        };
        let (inputs, outputs) = (names(&body.input), names(&body.output));
        if inputs.len() != carried + 2 || outputs.len() < carried + 1 {
            return Err(node.refuse("a body whose inputs and outputs do not fit"));
        }
        let mut values: Vec<Option<Resolved>> = node.inputs[2..].to_vec();
        let mut scans: Vec<Vec<Resolved>> = vec![vec![]; outputs.len() - carried - 1];
        let mut round = 0;
        while round < rounds && holds.as_ref().is_none_or(|holds| holds.scalar() != Some(0.0)) {
            if round >= ROUNDS {
                return Err(node.refuse(format!("more than {ROUNDS} rounds")));
            }
            let condition = holds.clone().unwrap_or_else(|| Rc::new(Literal::ints(vec![], vec![1])));
            let number = Rc::new(Literal::ints(vec![], vec![round]));
            let carried_here = values.iter().map(|value| value.clone().unwrap_or(Resolved::Refused));
            let given = [Resolved::Constant(number), Resolved::Constant(condition)].into_iter().chain(carried_here);
            let refusals = self.refusals.count;
            let found = self.inner(body, inputs.iter().cloned().zip(given).collect())?;
            if self.refusals.count > refusals {
                self.refuse_outputs(node.proto);
                return Ok(());
            }
            let mut found = found.into_iter();
            holds = match found.next().flatten() {
                Some(Resolved::Constant(literal)) => Some(literal),
                _ => return Err(node.refuse("a condition that the image decides; a settled one is accepted")),
            };
            values = found.by_ref().take(carried).collect();
            for (scan, value) in scans.iter_mut().zip(found) {
                scan.push(value.ok_or_else(|| node.refuse("a body that does not give all its results"))?);
            }
            round += 1;
        }
        for (name, value) in node.proto.output.iter().zip(values) {
            self.known.insert(name.clone(), value.unwrap_or(Resolved::Refused));
        }
        for (name, scan) in node.proto.output.iter().skip(carried).zip(scans) {
            let (name, operator) = (vec![name.clone()], node.proto.operator.clone());
            let proto = proto::Node { output: name, name: node.proto.name.clone(), operator, ..Default::default() };
            let rows = Node { proto: &proto, inputs: scan.into_iter().map(Some).collect(), ..node.bare() };
            let lowered = shape::stacked(&rows)?;
            self.add(&rows, lowered)?;
        }
        Ok(())
    }

    fn refuse_outputs(&mut self, proto: &proto::Node) {
        for output in &proto.output {
            self.known.insert(output.clone(), Resolved::Refused);
        }
    }

    fn add(&mut self, node: &Node, lowered: Lowered) -> Result<()> {
        let outputs = &node.proto.output;
        let first = outputs.first().cloned().unwrap_or_default();
        match lowered {
            Lowered::Given(index) => {
                let Some(Some(known)) = node.inputs.get(index).cloned() else {
                    return Err(node.refuse("its input is missing"));
                };
                if let Resolved::Value(operand) = &known {
                    let names = first.len() + node.proto.name.as_ref().map_or(0, String::len);
                    self.budget.names(names).map_err(|reason| node.refuse(reason))?;
                    self.aliases.push((first.clone(), operand.id));
                    self.aliases.extend(node.proto.name.iter().map(|name| (name.clone(), operand.id)));
                }
                self.known.insert(first, known);
            }
            Lowered::Constants(literals) => {
                let afforded = literals.iter().try_for_each(|literal| self.budget.fold_result(literal));
                afforded.map_err(|reason| node.refuse(reason))?;
                for (output, literal) in outputs.iter().zip(literals) {
                    self.known.insert(output.clone(), Resolved::Constant(Rc::new(literal)));
                }
            }
            Lowered::View { source, dims, permutation } => {
                self.known.insert(first, Resolved::View { source, dims, permutation });
            }
            Lowered::Views(views) => {
                for (output, (new_steps, dims, permutation)) in outputs.iter().zip(views) {
                    if let Some(source) = self.add_chain(node, new_steps, String::new())? {
                        self.known.insert(output.clone(), Resolved::View { source, dims, permutation });
                    }
                }
            }
            Lowered::Chain(new_steps) => {
                if let Some(operand) = self.add_chain(node, new_steps, first.clone())? {
                    self.known.insert(first, Resolved::Value(operand));
                }
            }
            Lowered::Parts(new_steps, results) => {
                let mut names = vec![String::new(); new_steps.len()];
                results.iter().zip(outputs).for_each(|(&step, name)| names[step].clone_from(name));
                let mut operands: Vec<Operand> = vec![];
                for (new_step, name) in new_steps.into_iter().zip(names) {
                    operands.push(self.add_step(node, new_step, name, &operands)?);
                }
                for (output, step) in outputs.iter().zip(results) {
                    self.known.insert(output.clone(), Resolved::Value(operands[step].clone()));
                }
            }
            Lowered::Each(new_steps) => {
                for (output, new_step) in outputs.iter().zip(new_steps) {
                    let operand = self.add_step(node, new_step, output.clone(), &[])?;
                    self.known.insert(output.clone(), Resolved::Value(operand));
                }
            }
        }
        for (index, output) in outputs.iter().enumerate() {
            if let Some(Resolved::Value(operand) | Resolved::View { source: operand, .. }) = self.known.get_mut(output)
            {
                operand.element = node.result_element(index);
            }
        }
        Ok(())
    }

    /// Steps one after the other, the last of which gets the name.
    fn add_chain(&mut self, node: &Node, new_steps: Vec<NewStep>, name: String) -> Result<Option<Operand>> {
        let last = new_steps.len().saturating_sub(1);
        let mut results: Vec<Operand> = vec![];
        for (i, new_step) in new_steps.into_iter().enumerate() {
            let name = if i == last { name.clone() } else { String::new() };
            results.push(self.add_step(node, new_step, name, &results)?);
        }
        Ok(results.pop())
    }

    fn add_step(&mut self, node: &Node, new_step: NewStep, name: String, earlier: &[Operand]) -> Result<Operand> {
        let NewStep { op, inputs, shape } = new_step;
        if shape.len() > 4 {
            return Err(node.refuse(format!("a result with {} axes; up to four are accepted", shape.len())));
        }
        if shape.contains(&0) || literal::count(&shape).is_none() {
            return Err(node.refuse(format!("a result of the shape {shape:?}")));
        }
        if inputs
            .iter()
            .any(|input| matches!(input, Input::Constant(literal) if literal.rank() > 4 || literal.len() == 0))
        {
            return Err(node.refuse("a constant without numbers, or with more than four axes"));
        }
        if inputs.iter().all(|input| matches!(input, Input::Constant(_))) {
            return Err(node.refuse("constants alone where a computed value is accepted"));
        }
        let sides = inputs.iter().map(|input| match input {
            Input::Value(id) => rank4(&self.values[id.0].shape),
            Input::Previous => earlier.last().map_or([1; 4], |operand| rank4(&operand.shape)),
            Input::Earlier(step) => earlier.get(*step).map_or([1; 4], |operand| rank4(&operand.shape)),
            Input::Constant(literal) => rank4(&literal.shape),
        });
        let taken = work(&op, &sides.collect::<Vec<_>>(), &shape);
        let held = inputs.iter().map(|input| if let Input::Constant(literal) = input { literal.len() } else { 0 });
        let node_name = node.proto.name.clone().unwrap_or_default();
        let names = name.len() + node_name.len() + node.operator().len();
        let afforded = self.budget.step(taken).and_then(|()| self.budget.hold(held.sum()));
        let afforded = afforded.and_then(|()| self.budget.names(names));
        afforded.map_err(|reason| node.refuse(reason))?;
        let inputs: Vec<Source> = inputs
            .into_iter()
            .map(|input| match input {
                Input::Value(id) => Source::Value(id),
                Input::Previous => Source::Value(earlier.last().map_or(ValueId(0), |operand| operand.id)),
                Input::Earlier(step) => Source::Value(earlier.get(step).map_or(ValueId(0), |operand| operand.id)),
                Input::Constant(literal) => {
                    self.constants.push(Constant { shape: rank4(&literal.shape), values: literal.into_floats() });
                    Source::Constant(self.constants.len() - 1)
                }
            })
            .collect();
        let operands: Vec<&Value> = inputs.iter().filter_map(Source::value).map(|id| &self.values[id.0]).collect();
        let layout = layout_after(&self.values, &self.constants, &op, &inputs, &shape);
        self.batches &= keeps_images_apart(&op, &operands, &shape);
        let id = ValueId(self.values.len());
        self.values.push(Value { name, shape: shape.clone(), layout });
        self.steps.push(Step { node: node_name, operator: node.operator().into(), op, inputs, output: id });
        Ok(Operand { id, shape, element: literal::element::FLOAT })
    }

    /// The plan that computes `output`, without what does not lead there.
    fn plan_for(self, output: Output) -> Plan {
        let mut needed = HashSet::from([output.value]);
        let mut steps: Vec<Step> = vec![];
        for step in self.steps.into_iter().rev() {
            if needed.contains(&step.output) {
                needed.extend(step.inputs.iter().filter_map(Source::value));
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
            constants: constants.into(),
            steps,
            output,
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
                Some(Resolved::Value(operand)) if is_scores(&operand.shape) => candidates.push(operand.id),
                Some(Resolved::Decision(operand)) if is_scores(&operand.shape) => decided.push(operand.id),
                Some(Resolved::Value(operand)) => {
                    found.push(format!("`{}` of shape {:?}", shortened(name), operand.shape));
                }
                Some(Resolved::Decision(operand)) => {
                    found.push(format!("`{}`, a choice of the best of the shape {:?}", shortened(name), operand.shape));
                }
                Some(Resolved::View { dims, permutation, .. }) => {
                    let shape: Vec<usize> = permutation.iter().map(|&axis| dims[axis]).collect();
                    found.push(format!("`{}` of shape {shape:?}", shortened(name)));
                }
                Some(Resolved::Lost) => {
                    found.push(format!("`{}`, which is made of a choice of the best", shortened(name)));
                }
                None => found.push(format!("`{}`, which nothing computes", shortened(name))),
                _ => found.push(format!("`{}`, which does not depend on the image", shortened(name))),
            }
        }
        candidates.extend(decided);
        // Beside the name of the best class the greatest score stands for the scores that it is the greatest of.
        let named: HashSet<ValueId> = candidates.iter().copied().collect();
        for candidate in &mut candidates {
            let scores =
                outputs::choices(&self.steps, &self.values, *candidate).filter(|scores| named.contains(scores));
            *candidate = scores.unwrap_or(*candidate);
        }
        let graph = outputs::Graph { steps: &self.steps, values: &self.values, constants: &self.constants };
        let Some(output) = graph.result(&candidates) else {
            if found.is_empty() {
                found.push("not named".into());
            }
            let more = more(found.len());
            found.truncate(SHOWN);
            return Err(unsupported(format!(
                "this is no image classifier: its output is {}{more}; {accepted}",
                found.join(" and ")
            )));
        };
        // The score is taken before a trailing softmax or sigmoid.
        let scores = graph.scores(output);
        let classes: usize = self.values[scores.value.0].shape.iter().product();
        if classes > budget::MAX_CLASSES {
            return Err(unsupported(format!(
                "the network has {classes} classes; up to {} are accepted",
                budget::MAX_CLASSES
            )));
        }
        let mut plan = self.plan_for(scores);
        plan.head = head::pooling_head(&plan);
        Ok(plan)
    }
}

/// Whether a tensor is of strings.
fn is_text(tensor: &proto::Tensor) -> bool {
    tensor.data_type == Some(literal::element::STRING)
}

/// How often each name is taken, by inner graphs and as a result, too.
fn count_uses<'a>(graph: &'a proto::Graph, uses: &mut HashMap<&'a str, usize>) {
    let outputs = graph.output.iter().filter_map(|info| info.name.as_ref());
    let inputs = graph.node.iter().flat_map(|node| &node.input);
    inputs.chain(outputs).for_each(|name| *uses.entry(name).or_default() += 1);
    let attributes = graph.node.iter().flat_map(|node| &node.attribute);
    attributes.filter_map(|attribute| attribute.g.as_ref()).for_each(|graph| count_uses(graph, uses));
}

/// Why nodes can't be run: those of one operator, and for one reason, together.
#[derive(Default)]
struct Refusals {
    count: usize,
    first: Option<Error>,
    groups: Vec<Group>,
    /// The place of each group, by operator and reason.
    places: HashMap<(String, String), usize>,
}

struct Group {
    /// The first of them.
    nodes: Vec<String>,
    count: usize,
    operator: String,
    reason: String,
}

/// How many reasons one message lists, and how many nodes for each.
const SHOWN: usize = 8;

/// How many reasons are told apart.
const REASONS: usize = 1000;

impl Refusals {
    fn note(&mut self, operator: &str, error: Error) {
        self.count += 1;
        // The reason alone, without the node's name.
        let start = format!("({operator}): ");
        let message = error.message();
        let reason = message.split_once(&start).map_or(message, |(_, reason)| reason).to_string();
        let node = message.split('`').nth(1).unwrap_or_default().to_string();
        self.first.get_or_insert(error);
        if self.groups.len() == REASONS {
            return;
        }
        let place = *self.places.entry((operator.into(), reason)).or_insert_with_key(|(operator, reason)| {
            let (operator, reason) = (shortened(operator), reason.clone());
            self.groups.push(Group { nodes: vec![], count: 0, operator, reason });
            self.groups.len() - 1
        });
        let group = &mut self.groups[place];
        group.count += 1;
        if group.nodes.len() < SHOWN {
            group.nodes.push(node);
        }
    }

    /// All of them in one.
    fn summary(&self) -> Option<Error> {
        let first = self.first.as_ref()?;
        if self.count == 1 {
            return Some(first.clone());
        }
        let shown = self.groups.iter().take(SHOWN).map(|Group { nodes, count, operator, reason }| match &nodes[..] {
            [one] => format!("node `{one}` ({operator}): {reason}"),
            nodes => {
                let named: Vec<String> = nodes.iter().map(|node| format!("`{node}`")).collect();
                format!("nodes {}{} ({operator}): {reason}", named.join(", "), more(*count))
            }
        });
        let mut all = shown.collect::<Vec<_>>().join("; ");
        if self.groups.len() > SHOWN {
            all += &format!("; and {} more reasons", self.groups.len() - SHOWN);
        }
        Some(Error::new(first.kind(), format!("{} nodes can't be run: {all}", self.count)))
    }
}

/// How many of `count` are not shown.
fn more(count: usize) -> String {
    if count > SHOWN { format!(" and {} more", count - SHOWN) } else { String::new() }
}

/// The nodes, each behind those that compute its inputs, and what graphs inside it take: some converters append what they add at the
/// end of the file. Nodes in a circle stand as they do in the file.
fn in_order(graph: &proto::Graph) -> Vec<&proto::Node> {
    let mut producers: HashMap<&str, usize> = HashMap::new();
    for (index, node) in graph.node.iter().enumerate() {
        for name in &node.output {
            producers.entry(name).or_insert(index);
        }
    }
    let taken: Vec<Vec<&str>> = graph.node.iter().map(names_taken).collect();
    let mut ordered = Vec::with_capacity(graph.node.len());
    let mut is_begun = vec![false; graph.node.len()];
    // Nodes that wait for the one above them, each with how many of its inputs were looked at.
    let mut waiting: Vec<(usize, usize)> = vec![];
    for index in 0..graph.node.len() {
        waiting.push((index, 0));
        while let Some((index, seen)) = waiting.pop() {
            if seen == 0 && std::mem::replace(&mut is_begun[index], true) {
                continue;
            }
            match taken[index].get(seen) {
                None => ordered.push(&graph.node[index]),
                Some(name) => {
                    waiting.push((index, seen + 1));
                    waiting.extend(producers.get(name).filter(|&&other| !is_begun[other]).map(|&other| (other, 0)));
                }
            }
        }
    }
    ordered
}

/// How deep graphs inside graphs are looked through for what they take, so that many levels do not look through all below them.
const LEVELS: usize = 4;

/// The names that a node takes, and those that graphs inside it take from outside.
fn names_taken(node: &proto::Node) -> Vec<&str> {
    fn look<'b>(node: &'b proto::Node, levels: usize, taken: &mut Vec<&'b str>, own: &mut HashSet<&'b str>) {
        let graphs = node.attribute.iter().filter_map(|attribute| attribute.g.as_ref());
        for graph in graphs.filter(|_| levels > 0) {
            own.extend(graph.input.iter().filter_map(|info| info.name.as_deref()));
            own.extend(graph.initializer.iter().filter_map(|tensor| tensor.name.as_deref()));
            taken.extend(graph.output.iter().filter_map(|info| info.name.as_deref()));
            for node in &graph.node {
                own.extend(node.output.iter().map(String::as_str));
                taken.extend(node.input.iter().map(String::as_str));
                look(node, levels - 1, taken, own);
            }
        }
    }
    let (mut taken, mut own) = (vec![], HashSet::new());
    look(node, LEVELS, &mut taken, &mut own);
    taken.retain(|name| !own.contains(name));
    node.input.iter().map(String::as_str).chain(taken).collect()
}

/// Operators that choose the best of scores.
const CHOICES: [&str; 3] = ["ArgMax", "TopK", "ZipMap"];

/// Operators that give a choice another place, form, name or unit, or compare it. Whatever else is made of one, such as a sum, is
/// no choice any more: [`Resolved::Lost`].
#[rustfmt::skip]
const AS_CHOSEN: [&str; 43] = [
    "Add", "And", "ArrayFeatureExtractor", "Cast", "CastLike", "CategoryMapper", "Ceil", "Clip", "Concat", "Div", "Equal",
    "Exp", "Expand", "Flatten", "Floor", "Gather", "GatherElements", "GatherND", "Greater", "GreaterOrEqual", "Identity",
    "LabelEncoder", "Less", "LessOrEqual", "LogSoftmax", "Max", "Min", "Mod", "Mul", "Not", "OneHot", "Or", "Reshape",
    "Round", "Sigmoid", "Slice", "Softmax", "Split", "Squeeze", "Sub", "Transpose", "Unsqueeze", "Where",
];

/// The scores among which a node decides, if it does: some files give the names of the best classes beside the scores, or
/// instead of them.
fn decision(operator: &str, inputs: &[Option<Resolved>]) -> Option<Operand> {
    let is_first = CHOICES.contains(&operator);
    // A row for each class is no name.
    let is_table = |known: &Resolved| matches!(known, Resolved::Constant(literal) if literal.rank() > 1);
    if !is_first
        && (!AS_CHOSEN.contains(&operator) || operator == "Gather" && inputs.first()?.as_ref().is_some_and(is_table))
    {
        return None;
    }
    let rest = &inputs[usize::from(is_first).min(inputs.len())..];
    let mut scores = match inputs.first() {
        Some(Some(Resolved::Value(operand))) if is_first => Some(operand),
        _ => None,
    };
    for input in if scores.is_some() { rest } else { inputs }.iter().flatten() {
        match input {
            Resolved::Decision(operand) => scores = scores.or(Some(operand)),
            Resolved::Constant(_) | Resolved::Text => {}
            _ => return None,
        }
    }
    scores.cloned()
}

/// What a node makes of constants alone, by the steps that would compute it: some exporters leave whole functions of the
/// parameters in the graph, such as the standardised weights of NFNets.
fn folded(node: &Node, build: fn(&Node) -> Result<Lowered>) -> Option<Lowered> {
    // No step is for what has no numbers.
    let is_empty = node.constants()?.iter().any(|literal| literal.len() == 0);
    let first = node.constant(0).filter(|first| first.as_ints().is_none() && first.rank() <= 4 && !is_empty)?;
    let operand = Operand { id: ValueId(0), shape: first.shape.clone(), element: first.element };
    let mut inputs = node.inputs.clone();
    inputs[0] = Some(Resolved::Value(operand));
    let chained = |new_steps: Vec<NewStep>, is_chain: bool| {
        let given = tensor(first.floats(), rank4(&first.shape));
        let mut results: Vec<(Vec<usize>, Tensor<4>)> = vec![];
        for NewStep { op, inputs, shape } in new_steps {
            if inputs.iter().any(|input| matches!(input, Input::Constant(literal) if literal.rank() > 4)) {
                return None;
            }
            let operands = inputs.into_iter().map(|input| match input {
                Input::Value(_) => given.clone(),
                Input::Previous => results.last().map_or(given.clone(), |(_, result)| result.clone()),
                Input::Earlier(step) => results[step].1.clone(),
                Input::Constant(literal) => {
                    let shape = rank4(&literal.shape);
                    tensor(literal.into_floats(), shape)
                }
            });
            let operands: Vec<_> = operands.collect();
            let sides: Vec<_> = operands.iter().map(Tensor::dims).collect();
            if !node.budget.fold_step(&op, &sides, &shape) {
                return None;
            }
            let result = crate::engine::run_step(&op, &operands, rank4(&shape));
            results.push((shape, result));
        }
        if is_chain {
            results.drain(..results.len().saturating_sub(1));
        }
        Some(results.into_iter().map(|(shape, result)| Literal::float(shape, numbers(result))).collect())
    };
    let lowered = build(&Node { inputs, is_folding: true, ..node.bare() }).ok()?;
    if node.budget.refusal().is_some() {
        return None;
    }
    let results = match lowered {
        Lowered::Chain(new_steps) => chained(new_steps, true),
        Lowered::Parts(new_steps, results) => chained(new_steps, false)
            .map(|all: Vec<Literal>| results.into_iter().map(|step| Literal::clone(&all[step])).collect()),
        Lowered::Views(mut views) if views.len() == 1 => {
            let (new_steps, dims, permutation) = views.pop()?;
            let all = chained(new_steps, true)?;
            all.into_iter().last().map(|literal| vec![literal.reshaped(dims).transposed(&permutation)])
        }
        Lowered::Each(new_steps) => chained(new_steps, false),
        Lowered::Given(index) => node.constant(index).map(|literal| vec![Literal::clone(literal)]),
        Lowered::Constants(literals) => Some(literals),
        Lowered::View { .. } | Lowered::Views(_) => None,
    };
    results.map(Lowered::Constants)
}
