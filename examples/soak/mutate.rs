//! Models made by numbers: sound ones from the operators' own tests, changed as a careless or hostile writer would.

use std::path::Path;

use prost::Message;
use safetensors::SafeTensors;
use serde_json::Value;

use crate::proto::{Attribute, Dimension, Graph, Model, Node, OperatorSet, Shape, Tensor, TensorType, Type, ValueInfo};

/// What is to be done with.
pub struct Case {
    pub bytes: Vec<u8>,
    /// For a graph of any inputs; a classifier gets pictures.
    pub inputs: Option<Vec<(Vec<usize>, Vec<f32>)>>,
}

impl Case {
    /// A classifier from a file.
    pub fn file(bytes: Vec<u8>) -> Case {
        Case { bytes, inputs: None }
    }
}

/// Sound models.
pub struct Corpus {
    operators: Vec<Operator>,
    classifiers: Vec<Model>,
    names: Vec<String>,
}

/// A test of an operator: its model and inputs.
struct Operator {
    model: Model,
    inputs: Vec<(Vec<usize>, Vec<f32>)>,
}

/// Sizes at which something may change.
const SIZES: [i64; 36] = [
    0,
    1,
    -1,
    2,
    -2,
    3,
    4,
    5,
    7,
    8,
    16,
    17,
    31,
    32,
    63,
    64,
    127,
    255,
    256,
    1000,
    4096,
    8191,
    32_767,
    65_535,
    65_536,
    1 << 20,
    1 << 24,
    (1 << 29) + 1,
    1 << 31,
    (1 << 32) - 1,
    1 << 32,
    (1 << 32) + 2,
    1 << 62,
    i64::MAX,
    i64::MIN,
    -(1 << 31),
];

const FLOATS: [f32; 16] = [
    0.,
    -0.,
    1.,
    -1.,
    0.5,
    1e-30,
    1e30,
    -1e30,
    f32::MAX,
    f32::MIN,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::NAN,
    1e-45,
    3.,
    255.,
];

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, count: usize) -> usize {
        if count == 0 { 0 } else { (self.next() % count as u64) as usize }
    }

    fn one<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        of.get(self.below(of.len()))
    }

    /// Mostly small, sometimes at a limit.
    fn size(&mut self) -> i64 {
        if self.below(3) > 0 { self.below(9) as i64 - 1 } else { SIZES[self.below(SIZES.len())] }
    }

    fn float(&mut self) -> f32 {
        if self.below(2) > 0 { self.below(200) as f32 / 50. - 2. } else { FLOATS[self.below(FLOATS.len())] }
    }
}

fn info(name: &str, dims: &[i64]) -> ValueInfo {
    let dim = dims.iter().map(|&side| Dimension { value: Some(side) }).collect();
    let tensor = TensorType { element: Some(1), shape: Some(Shape { dim }) };
    ValueInfo { name: Some(name.into()), r#type: Some(Type { tensor: Some(tensor) }) }
}

fn node(operator: &str, inputs: &[&str], output: &str) -> Node {
    let input = inputs.iter().map(|&name| name.to_owned()).collect();
    Node { input, output: vec![output.into()], operator: Some(operator.into()), ..Default::default() }
}

fn tensor(name: &str, dims: &[usize], values: Vec<f32>) -> Tensor {
    let dims = dims.iter().map(|&side| side as i64).collect();
    Tensor { name: Some(name.into()), data_type: Some(1), dims, float_data: values, ..Default::default() }
}

fn data(name: &str) -> Vec<u8> {
    // The folder of the package, or the one above that of the fuzz targets.
    let folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let mut files = folders.map(|folder| folder.join(format!("tests/data/{name}.safetensors")));
    std::fs::read(files.find(|file| file.is_file()).expect("tests/data is there")).expect("tests/data can be read")
}

/// The graph itself, or one inside it: a branch, or a loop's body.
fn some_graph<'a>(graph: &'a mut Graph, dice: &mut Dice) -> &'a mut Graph {
    let attributes = |node: &Node| node.attribute.iter().position(|attribute| attribute.g.is_some());
    let within = graph.node.iter().enumerate().find_map(|(at, node)| Some((at, attributes(node)?)));
    match within.filter(|_| dice.below(2) == 0) {
        Some((node, attribute)) => some_graph(graph.node[node].attribute[attribute].g.get_or_insert_default(), dice),
        None => graph,
    }
}

impl Corpus {
    /// The tests of operators and of whole networks in the repository.
    pub fn read() -> Corpus {
        let bytes = data("ops");
        let tensors = SafeTensors::deserialize(&bytes).expect("tests/data is sound");
        let (_, header) = SafeTensors::read_metadata(&bytes).expect("tests/data is sound");
        let facts = header.metadata().as_ref().and_then(|facts| facts.get("cases")).expect("it lists its cases");
        let facts: Value = serde_json::from_str(facts).expect("tests/data is sound");
        let floats = |name: &str| -> Option<(Vec<usize>, Vec<f32>)> {
            let view = tensors.tensor(name).ok()?;
            let numbers =
                view.data().chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap_or_default()));
            (view.dtype() == safetensors::Dtype::F32).then(|| (view.shape().to_vec(), numbers.collect()))
        };
        let (mut operators, mut classifiers) = (vec![], vec![]);
        for (case, facts) in facts.as_object().into_iter().flatten() {
            let Ok(model) = tensors.tensor(&format!("{case}/model")) else { continue };
            let Ok(model) = Model::decode(model.data().to_vec().as_slice()) else { continue };
            let names = facts["inputs"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let inputs: Option<Vec<_>> = names.map(|name| floats(&format!("{case}/in/{name}"))).collect();
            let Some(inputs) = inputs else { continue };
            let outputs = facts["outputs"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let shapes =
                outputs.filter_map(|name| Some(tensors.tensor(&format!("{case}/out/{name}")).ok()?.shape().len()));
            classifiers.extend(shapes.take(1).filter_map(|rank| classifier(&model, &inputs, rank)));
            operators.push(Operator { model, inputs });
        }
        let bytes = data("forms");
        let forms = SafeTensors::deserialize(&bytes).expect("tests/data is sound");
        let is_model = |name: &&str| name.ends_with("/model");
        let models = forms.names().into_iter().filter(is_model).filter_map(|name| forms.tensor(name).ok());
        let mut models: Vec<Vec<u8>> = models.map(|model| model.data().to_vec()).collect();
        models.sort_unstable();
        classifiers.extend(models.into_iter().filter_map(|model| Model::decode(model.as_slice()).ok()));
        let names = gradcam_web::onnx::operators().into_iter().map(str::to_owned).collect();
        Corpus { operators, classifiers, names }
    }

    /// The mutant of that number.
    pub fn mutant(&self, seed: u64) -> Case {
        let mut dice = Dice(seed);
        dice.next();
        let (mut model, inputs) = match dice.below(4) {
            0 => {
                let operator = &self.operators[dice.below(self.operators.len())];
                (operator.model.clone(), Some(operator.inputs.clone()))
            }
            _ => (self.classifiers[dice.below(self.classifiers.len())].clone(), None),
        };
        for _ in 0..dice.below(5) {
            self.change(&mut model, &mut dice);
        }
        let mut bytes = model.encode_to_vec();
        if dice.below(10) == 0 {
            for _ in 0..=dice.below(4) {
                let at = dice.below(bytes.len());
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << dice.below(8);
                }
            }
        }
        if dice.below(50) == 0 {
            bytes.truncate(dice.below(bytes.len()));
        }
        Case { bytes, inputs }
    }

    /// A model changed in one to three places; none where the bytes are no model.
    #[allow(dead_code, reason = "only `fuzz/` has models of its own")]
    pub fn mutated(&self, bytes: &[u8], seed: u64) -> Option<Vec<u8>> {
        let mut model = Model::decode(bytes).ok()?;
        let mut dice = Dice(seed);
        for _ in 0..=dice.below(3) {
            self.change(&mut model, &mut dice);
        }
        Some(model.encode_to_vec())
    }

    fn change(&self, model: &mut Model, dice: &mut Dice) {
        let Some(graph) = &mut model.graph else { return };
        let graph = some_graph(graph, dice);
        if let Some(function) = model.functions.first_mut().filter(|_| dice.below(4) == 0) {
            let at = dice.below(function.node.len());
            return change_attribute(&mut function.node, at, dice);
        }
        let names: Vec<String> =
            graph.node.iter().flat_map(|node| node.input.iter().chain(&node.output)).cloned().collect();
        let at = dice.below(graph.node.len());
        match dice.below(16) {
            0 | 1 => change_attribute(&mut graph.node, at, dice),
            2 | 3 => change_tensor(&mut graph.initializer, dice),
            4 => {
                if let (Some(node), Some(name)) = (graph.node.get_mut(at), dice.one(&self.names)) {
                    node.operator = Some(name.clone());
                }
            }
            5 => {
                if let Some(node) = graph.node.get_mut(at) {
                    let place = dice.below(node.input.len());
                    match (node.input.get_mut(place), dice.one(&names)) {
                        (Some(input), Some(name)) => *input = name.clone(),
                        (None, Some(name)) => node.input.push(name.clone()),
                        _ => {}
                    }
                }
            }
            6 => {
                if let Some(node) = graph.node.get_mut(at) {
                    match (dice.below(3), dice.one(&names)) {
                        (0, _) => drop(node.input.pop()),
                        (1, _) => node.input.push(String::new()),
                        (_, Some(name)) => node.input.push(name.clone()),
                        _ => {}
                    }
                }
            }
            7 if !graph.node.is_empty() => match dice.below(3) {
                0 => drop(graph.node.remove(at)),
                1 => graph.node.push(graph.node[at].clone()),
                _ => {
                    let other = dice.below(graph.node.len());
                    graph.node.swap(at, other);
                }
            },
            8 => {
                let shapes =
                    graph.input.iter_mut().filter_map(|info| info.r#type.as_mut()?.tensor.as_mut()?.shape.as_mut());
                for shape in shapes {
                    let place = dice.below(shape.dim.len());
                    if let Some(dimension) = shape.dim.get_mut(place) {
                        dimension.value = Some(dice.size()).filter(|_| dice.below(5) > 0);
                    }
                }
            }
            9 => {
                if let (Some(output), Some(name)) = (graph.output.first_mut(), dice.one(&names)) {
                    output.name = Some(name.clone());
                }
            }
            10 => model.opset_import = vec![OperatorSet { domain: None, version: Some(1 + dice.below(24) as i64) }],
            // A constant in the place of an input.
            11 | 12 => {
                let values: Vec<i64> = (0..dice.below(6)).map(|_| dice.size()).collect();
                let name = format!("made{}", dice.next());
                let (ints, dims) = (values.clone(), vec![values.len() as i64]);
                let floats = values.iter().map(|_| dice.float()).collect();
                let (data_type, name_of) = (Some(1), Some(name.clone()));
                graph.initializer.push(match dice.below(3) {
                    0 => Tensor { name: name_of, dims, data_type, float_data: floats, ..Default::default() },
                    _ => Tensor { name: name_of, dims, data_type: Some(7), int64_data: ints, ..Default::default() },
                });
                if let Some(node) = graph.node.get_mut(at) {
                    let place = dice.below(node.input.len());
                    match node.input.get_mut(place) {
                        Some(input) => *input = name,
                        None => node.input.push(name),
                    }
                }
            }
            // All nodes of another test between a value and who uses it.
            _ => self.graft(graph, at, dice),
        }
    }

    fn graft(&self, graph: &mut Graph, at: usize, dice: &mut Dice) {
        let Some(operator) = dice.one(&self.operators) else { return };
        let Some(other) = &operator.model.graph else { return };
        let prefix = format!("g{}_", graph.node.len());
        let renamed = |name: &String| if name.is_empty() { String::new() } else { format!("{prefix}{name}") };
        let Some(target) = graph.node.get_mut(at) else { return };
        let Some(from) = target.input.first().cloned() else { return };
        let Some(result) = other.output.first().and_then(|info| info.name.as_ref()) else { return };
        target.input[0] = renamed(result);
        // The first input of the test becomes the value before it, the others constants.
        let is_input = |name: &String| other.input.first().is_some_and(|info| info.name.as_ref() == Some(name));
        for node in &other.node {
            let mut node = node.clone();
            for name in &mut node.input {
                *name = if is_input(name) { from.clone() } else { renamed(name) };
            }
            node.output.iter_mut().for_each(|name| *name = renamed(name));
            graph.node.push(node);
        }
        for tensor in &other.initializer {
            let mut tensor = tensor.clone();
            tensor.name = tensor.name.as_ref().map(renamed);
            graph.initializer.push(tensor);
        }
        for (info, (shape, values)) in other.input.iter().zip(&operator.inputs).skip(1) {
            let name = info.name.as_ref().map(renamed).unwrap_or_default();
            graph.initializer.push(tensor(&name, shape, values.clone()));
        }
    }
}

fn change_attribute(nodes: &mut [Node], at: usize, dice: &mut Dice) {
    let Some(node) = nodes.get_mut(at) else { return };
    let place = dice.below(node.attribute.len());
    let Some(attribute) = node.attribute.get_mut(place) else {
        let names = ["axis", "axes", "group", "pads", "strides", "dilations", "kernel_shape", "keepdims", "ceil_mode"];
        let ints = (0..dice.below(5)).map(|_| dice.size()).collect();
        let (name, i) = (Some(names[dice.below(names.len())].to_owned()), Some(dice.size()));
        node.attribute.push(Attribute { name, i, ints, ..Default::default() });
        return;
    };
    let place = dice.below(attribute.ints.len());
    match dice.below(5) {
        0 if !attribute.ints.is_empty() => drop(attribute.ints.pop()),
        1 if !attribute.ints.is_empty() => attribute.ints.push(dice.size()),
        _ if !attribute.ints.is_empty() => attribute.ints[place] = dice.size(),
        _ if attribute.f.is_some() => attribute.f = Some(dice.float()),
        _ if attribute.t.is_some() => change_tensor(attribute.t.as_mut_slice(), dice),
        4 => drop(node.attribute.remove(0)),
        _ => attribute.i = Some(dice.size()),
    }
}

fn change_tensor(tensors: &mut [Tensor], dice: &mut Dice) {
    let at = dice.below(tensors.len());
    let Some(tensor) = tensors.get_mut(at) else { return };
    let place = dice.below(tensor.dims.len());
    match dice.below(7) {
        0 => {
            if let Some(side) = tensor.dims.get_mut(place) {
                *side = dice.size();
            }
        }
        1 => {
            let other = dice.below(tensor.dims.len());
            if !tensor.dims.is_empty() {
                tensor.dims.swap(place, other);
            }
        }
        2 => tensor.dims.insert(place, 1),
        // Nothing in it.
        3 => {
            if let Some(side) = tensor.dims.get_mut(place) {
                *side = 0;
            }
            (tensor.float_data, tensor.int64_data, tensor.int32_data) = (vec![], vec![], vec![]);
            tensor.raw_data = None;
        }
        4 => {
            let at = dice.below(tensor.float_data.len());
            if let Some(number) = tensor.float_data.get_mut(at) {
                *number = dice.float();
            }
            let at = dice.below(tensor.int64_data.len());
            if let Some(number) = tensor.int64_data.get_mut(at) {
                *number = dice.size();
            }
        }
        5 => {
            if let Some(raw) = &tensor.raw_data {
                let mut raw = raw.to_vec();
                let number = if tensor.data_type == Some(7) {
                    dice.size().to_le_bytes().to_vec()
                } else {
                    dice.float().to_le_bytes().to_vec()
                };
                let at = dice.below(raw.len() / number.len()) * number.len();
                if let Some(place) = raw.get_mut(at..at + number.len()) {
                    place.copy_from_slice(&number);
                }
                tensor.raw_data = Some(raw.into());
            }
        }
        _ => tensor.data_type = Some(dice.below(18) as i32),
    }
}

/// A classifier around the model of an operator's test whose first input is a plane; `rank` is that of its result.
fn classifier(model: &Model, inputs: &[(Vec<usize>, Vec<f32>)], rank: usize) -> Option<Model> {
    let graph = model.graph.as_ref()?;
    let (first, rest) = inputs.split_first()?;
    let [1, channels, height, width] = first.0[..] else { return None };
    if height * width < 2 || height * width * channels > 4096 {
        return None;
    }
    let name = |info: &ValueInfo| info.name.clone().unwrap_or_default();
    let (x, result) = (name(graph.input.first()?), name(graph.output.first()?));
    let mut initializer = graph.initializer.clone();
    let kernel = (0..channels * 3).map(|i| (i % 7) as f32 / 3. - 1.).collect();
    initializer.push(tensor("soak_kernel", &[channels, 3, 1, 1], kernel));
    for (info, (shape, values)) in graph.input.iter().skip(1).zip(rest) {
        initializer.push(tensor(&name(info), shape, values.clone()));
    }
    let mut nodes = vec![node("Conv", &["soak_input", "soak_kernel"], &x)];
    nodes.extend(graph.node.iter().cloned());
    let pooled = rank == 4;
    if pooled {
        nodes.push(node("GlobalAveragePool", &[&result], "soak_pooled"));
    }
    nodes.push(node("Flatten", &[if pooled { "soak_pooled" } else { &result }], "soak_scores"));
    let input = vec![info("soak_input", &[1, 3, height as i64, width as i64])];
    let output = vec![info("soak_scores", &[])];
    let graph = Graph { node: nodes, initializer, input, output, ..Default::default() };
    Some(Model { graph: Some(graph), ..model.clone() })
}
