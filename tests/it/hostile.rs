//! Damaged and hostile models: each is refused with a sentence that names the node or the figure, or gives the right
//! numbers, in little time. None panics.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::{Duration, Instant};

use gradcam_web::cam::{ExplainOptions, Method, Prediction};
use gradcam_web::image::Image;
use gradcam_web::preprocess::{Preprocess, input_from_image};
use gradcam_web::{Device, ErrorKind, onnx};
use pollster::block_on;
use prost::Message;

#[allow(dead_code, reason = "the loader reads more than these models have")]
#[path = "../../src/onnx/proto.rs"]
mod proto;

/// What any of these files may take, on a slow machine without optimisation.
const MOST: Duration = Duration::from_secs(20);

/// How long this thread has worked, whatever else the machine does; where the system does not tell, how long ago the
/// beginning is.
fn worked(epoch: &Instant) -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = told.and_then(|text| text.split(' ').next()?.parse().ok());
    nanoseconds.map_or_else(|| epoch.elapsed(), Duration::from_nanos)
}

const FLOAT: i32 = 1;
const INT64: i32 = 7;
const UINT8: i32 = 2;
const INT8: i32 = 3;
const INT32: i32 = 6;
const UINT32: i32 = 12;
const UINT64: i32 = 13;

fn floats(name: &str, dims: &[i64], values: Vec<f32>) -> proto::Tensor {
    let (name, data_type) = (Some(name.to_owned()), Some(FLOAT));
    proto::Tensor { name, dims: dims.to_vec(), data_type, float_data: values, ..Default::default() }
}

fn ints(name: &str, values: &[i64]) -> proto::Tensor {
    let (name, data_type) = (Some(name.to_owned()), Some(INT64));
    let dims = vec![values.len() as i64];
    proto::Tensor { name, dims, data_type, int64_data: values.to_vec(), ..Default::default() }
}

/// Integers of another type.
fn whole(name: &str, data_type: i32, values: &[i64]) -> proto::Tensor {
    let small = |values: &[i64]| values.iter().map(|&value| value as i32).collect();
    let whole = proto::Tensor { data_type: Some(data_type), ..ints(name, values) };
    match data_type {
        INT64 => whole,
        UINT32 | UINT64 => proto::Tensor {
            int64_data: vec![],
            uint64_data: values.iter().map(|&value| value as u64).collect(),
            ..whole
        },
        _ => proto::Tensor { int64_data: vec![], int32_data: small(values), ..whole },
    }
}

fn info(name: &str, dims: &[i64]) -> proto::ValueInfo {
    let dim = dims.iter().map(|&side| proto::Dimension { value: Some(side) }).collect();
    let tensor = proto::TensorType { element: Some(FLOAT), shape: Some(proto::Shape { dim }) };
    proto::ValueInfo { name: Some(name.into()), r#type: Some(proto::Type { tensor: Some(tensor) }) }
}

fn node(operator: &str, inputs: &[&str], output: &str) -> proto::Node {
    let input = inputs.iter().map(|&name| name.to_owned()).collect();
    proto::Node { input, output: vec![output.into()], operator: Some(operator.into()), ..Default::default() }
}

impl proto::Node {
    fn int(mut self, name: &str, value: i64) -> Self {
        self.attribute.push(proto::Attribute { name: Some(name.into()), i: Some(value), ..Default::default() });
        self
    }

    fn ints(mut self, name: &str, values: &[i64]) -> Self {
        let ints = values.to_vec();
        self.attribute.push(proto::Attribute { name: Some(name.into()), ints, ..Default::default() });
        self
    }

    fn text(mut self, name: &str, value: &str) -> Self {
        let s = Some(value.to_owned().into());
        self.attribute.push(proto::Attribute { name: Some(name.into()), s, ..Default::default() });
        self
    }
}

fn model(graph: proto::Graph) -> proto::Model {
    let opset = proto::OperatorSet { domain: None, version: Some(17) };
    proto::Model { graph: Some(graph), opset_import: vec![opset], ..Default::default() }
}

/// A classifier of four channels of 8 × 6 places and three classes, with `nodes` from `r` to `x` between.
fn classifier(nodes: Vec<proto::Node>, constants: Vec<proto::Tensor>) -> proto::Model {
    let spread = |count: usize| (0..count).map(|i| (i * 7 % 11) as f32 / 11. - 0.4).collect();
    let mut initializer =
        vec![floats("k", &[4, 3, 3, 3], spread(108)), floats("w", &[4, 3], spread(12)), floats("b", &[3], vec![0.; 3])];
    initializer.extend(constants);
    let mut all = vec![node("Conv", &["input", "k"], "c").ints("pads", &[1, 1, 1, 1]), node("Relu", &["c"], "r")];
    all.extend(nodes);
    all.extend([
        node("GlobalAveragePool", &["x"], "g"),
        node("Flatten", &["g"], "f"),
        node("Gemm", &["f", "w", "b"], "scores"),
    ]);
    let (input, output) = (vec![info("input", &[1, 3, 8, 6])], vec![info("scores", &[1, 3])]);
    model(proto::Graph { node: all, initializer, input, output, ..Default::default() })
}

/// Loads and, if that succeeds, runs.
fn outcome(model: &proto::Model) -> Result<Vec<f32>, (ErrorKind, String)> {
    let bytes = model.encode_to_vec();
    let epoch = Instant::now();
    let started = worked(&epoch);
    let outcome = onnx::load(&bytes, &Default::default(), &Device::cpu());
    let outcome = outcome.map_err(|error| (error.kind(), error.message().to_owned())).map(|network| {
        let input = *network.input();
        let count = input.channels * input.width as usize * input.height as usize;
        let values: Vec<f32> = (0..count).map(|i| (i % 5) as f32 / 5.).collect();
        block_on(Prediction::new(Rc::new(network), &values)).unwrap().scores().to_vec()
    });
    let took = worked(&epoch).saturating_sub(started);
    assert!(took < MOST, "it took {took:?}");
    outcome
}

#[track_caller]
fn refused(model: &proto::Model, kind: ErrorKind, words: &[&str]) {
    let (found, message) = outcome(model).expect_err("it is to be refused");
    assert_eq!(found, kind, "{message}");
    assert!(message.len() < 5000, "{} bytes", message.len());
    for word in words {
        assert!(message.contains(word), "no `{word}` in: {message}");
    }
}

/// Two rows of two channels each are no places of four: CAM once laid the one's weights over the other.
#[test]
fn a_reshape_between_pooling_and_the_linear_layer_is_no_head_of_cam() {
    let mut model = classifier(vec![], vec![]);
    let graph = model.graph.as_mut().unwrap();
    graph.node.truncate(2);
    graph.node.extend([
        node("GlobalAveragePool", &["r"], "g"),
        node("Reshape", &["g", "rows"], "two"),
        node("MatMul", &["two", "v"], "both"),
        node("Reshape", &["both", "row"], "scores"),
    ]);
    graph.initializer.extend([ints("rows", &[1, 2, 2]), ints("row", &[1, 6]), floats("v", &[2, 3], vec![0.5; 6])]);
    graph.output = vec![info("scores", &[1, 6])];
    let network = onnx::load(&model.encode_to_vec(), &Default::default(), &Device::cpu()).unwrap();
    let prediction = block_on(Prediction::new(Rc::new(network), &[0.5; 144])).unwrap();
    let explain =
        |method| block_on(prediction.explain(&ExplainOptions { method, ..Default::default() }, &|_| {}, &|| false));
    assert_eq!(explain(Method::Cam).unwrap_err().kind(), ErrorKind::Unsupported);
    explain(Method::GradCam).unwrap();
}

/// One node of an input and constants, by the graph's own inputs and result.
#[track_caller]
fn gives(node: proto::Node, constants: Vec<proto::Tensor>, input: (&[usize], &[f32]), expected: &[f32]) {
    all_give(vec![node], constants, input, expected, 17);
}

/// The same of several nodes, the last of which gives the result.
#[track_caller]
fn all_give(
    nodes: Vec<proto::Node>,
    constants: Vec<proto::Tensor>,
    input: (&[usize], &[f32]),
    expected: &[f32],
    opset: i64,
) {
    let found = evaluated(nodes, constants, input, opset);
    for (on_reference_engine, found) in found.into_iter().enumerate() {
        assert_eq!(found.unwrap(), expected, "on_reference_engine: {on_reference_engine}");
    }
}

/// What nodes say that can't be run.
#[track_caller]
fn says(nodes: Vec<proto::Node>, constants: Vec<proto::Tensor>, input: (&[usize], &[f32]), words: &[&str], opset: i64) {
    for found in evaluated(nodes, constants, input, opset) {
        let message = found.expect_err("it is to be refused").message().to_owned();
        words.iter().for_each(|word| assert!(message.contains(word), "no `{word}` in: {message}"));
    }
}

/// The numbers by each of the two engines.
fn evaluated(
    nodes: Vec<proto::Node>,
    constants: Vec<proto::Tensor>,
    input: (&[usize], &[f32]),
    opset: i64,
) -> [Result<Vec<f32>, gradcam_web::Error>; 2] {
    let output = vec![info(&nodes[nodes.len() - 1].output[0], &[])];
    let dims: Vec<i64> = input.0.iter().map(|&side| side as i64).collect();
    let input_info = vec![info("x", &dims)];
    let graph = proto::Graph { node: nodes, initializer: constants, input: input_info, output, ..Default::default() };
    let opset_import = vec![proto::OperatorSet { domain: None, version: Some(opset) }];
    let bytes = proto::Model { opset_import, ..model(graph) }.encode_to_vec();
    [false, true].map(|on_reference_engine| {
        let inputs = [(input.0.to_vec(), input.1.to_vec())];
        block_on(onnx::evaluate(&bytes, &inputs, &Device::cpu(), on_reference_engine)).map(|(_, found)| found)
    })
}

const LINE: &[usize] = &[1, 1, 1, 3];

#[test]
fn constants_come_before_a_computed_operand() {
    let a = || floats("a", &[1, 1, 1, 3], vec![1., 5., -2.]);
    let b = || floats("b", &[1, 1, 1, 3], vec![4., 2., -3.]);
    let x: (&[usize], &[f32]) = (LINE, &[3., 3., 3.]);
    gives(node("Max", &["a", "b", "x"], "y"), vec![a(), b()], x, &[4., 5., 3.]);
    gives(node("Min", &["a", "b", "x"], "y"), vec![a(), b()], x, &[1., 2., -3.]);
    gives(node("Sum", &["a", "b", "x"], "y"), vec![a(), b()], x, &[8., 10., -2.]);
    // Thirds of multiples of three, as far as a third is exact.
    gives(node("Mean", &["a", "b", "x", "x"], "y"), vec![a(), b()], x, &[2.75, 3.25, 0.25]);
    gives(node("Max", &["a", "x", "b"], "y"), vec![a(), b()], x, &[4., 5., 3.]);
    // Of five axes, too.
    let wide = |name: &str, values: Vec<f32>| floats(name, &[1, 1, 1, 1, 3], values);
    let constants = vec![wide("a", vec![1., 5., -2.]), wide("b", vec![4., 2., -3.])];
    let sum = node("Sum", &["a", "b", "x"], "s");
    let flat = node("Reshape", &["s", "shape"], "y");
    let graph = proto::Graph {
        node: vec![sum, flat],
        initializer: [constants, vec![ints("shape", &[1, 3])]].concat(),
        input: vec![info("x", &[1, 1, 1, 3])],
        output: vec![info("y", &[])],
        ..Default::default()
    };
    let inputs = [(LINE.to_vec(), vec![3.; 3])];
    let (_, found) = block_on(onnx::evaluate(&model(graph).encode_to_vec(), &inputs, &Device::cpu(), false)).unwrap();
    assert_eq!(found, [8., 10., -2.]);
}

#[test]
fn a_mean_of_five_axes_is_divided() {
    let nodes = vec![
        node("Reshape", &["x", "wide"], "five"),
        node("Mean", &["five", "a"], "mean"),
        node("Reshape", &["mean", "flat"], "y"),
    ];
    let a = floats("a", &[1, 1, 1, 1, 3], vec![1., 5., -2.]);
    let constants = vec![a, ints("wide", &[1, 1, 1, 1, 3]), ints("flat", &[1, 3])];
    // (3 + 1) / 2 and so on.
    all_give(nodes, constants, (LINE, &[3.; 3]), &[2., 4., 0.5], 17);
}

/// By onnxruntime 1.x, whose scale is 1 where there is nothing to quantise.
#[test]
fn zeros_alone_are_divided_by_no_zero() {
    let zeros: (&[usize], &[f32]) = (&[1, 1, 2, 2], &[0.; 4]);
    let quantized = |output: &str| {
        let mut quantize = node("DynamicQuantizeLinear", &["x"], "q");
        quantize.output.extend(["s".into(), "z".into()]);
        let nodes = vec![quantize, node("DequantizeLinear", &["q", "s", "z"], "d"), node("Identity", &[output], "y")];
        evaluated(nodes, vec![], zeros, 17).map(|found| found.unwrap())
    };
    assert_eq!(quantized("d"), [[0.; 4]; 2]);
    assert_eq!(quantized("s"), [[1.]; 2]);
    for p in [1, 2] {
        let normalize = node("LpNormalization", &["x"], "y").int("p", p);
        gives(normalize, vec![], (&[1, 1, 2, 2], &[0., 0., 0., -2.]), &[0., 0., 0., -1.]);
    }
    says(vec![node("LpNormalization", &["x"], "y").int("p", 3)], vec![], zeros, &["p 3; 1 and 2 are accepted"], 17);
}

/// A root has no slope at 0.
#[test]
fn gradients_through_norms_of_zeros_are_numbers() {
    let none = |operator: &str| node(operator, &["zeros"], "l");
    let norms = vec![
        none("LpNormalization").int("axis", 1).int("p", 1),
        none("LpNormalization").int("axis", 1),
        none("ReduceL2").ints("axes", &[1]),
        none("GlobalLpPool"),
        none("GlobalLpPool").int("p", 3),
        none("LpPool").ints("kernel_shape", &[1, 1]),
    ];
    for norm in norms {
        let dead = vec![node("Mul", &["r", "none"], "zeros"), norm, node("Add", &["l", "r"], "x")];
        let model = classifier(dead, vec![floats("none", &[], vec![0.])]);
        let network = onnx::load(&model.encode_to_vec(), &Default::default(), &Device::cpu()).unwrap();
        let prediction = block_on(Prediction::new(Rc::new(network), &[0.5; 144])).unwrap();
        let layers = vec![prediction.network().layer("r").unwrap()];
        let options = ExplainOptions { method: Method::HiResCam, layers, ..Default::default() };
        let found = block_on(prediction.explain(&options, &|_| {}, &|| false)).unwrap();
        assert!(found.map.values().iter().all(|value| value.is_finite()), "{:?}", found.map.values());
    }
}

/// By onnxruntime, which crops first.
#[test]
fn pads_that_crop_are_taken_before_the_others() {
    let row: (&[usize], &[f32]) = (&[1, 1, 1, 4], &[0., 1., 2., 3.]);
    let cases: [(&str, [i64; 2], &[f32]); 8] = [
        ("wrap", [-1, 2], &[1., 2., 3., 1., 2.]),
        ("wrap", [2, -1], &[1., 2., 0., 1., 2.]),
        ("wrap", [3, -2], &[1., 0., 1., 0., 1.]),
        ("wrap", [-3, 4], &[3.; 5]),
        ("edge", [-2, 3], &[2., 3., 3., 3., 3.]),
        ("reflect", [-1, 2], &[1., 2., 3., 2., 1.]),
        ("reflect", [-2, 1], &[2., 3., 2.]),
        ("constant", [-1, 1], &[1., 2., 3., 0.]),
    ];
    for (mode, [start, end], expected) in cases {
        let pads = ints("p", &[0, 0, 0, start, 0, 0, 0, end]);
        let pad = node("Pad", &["x", "p"], "y").text("mode", mode);
        gives(pad, vec![pads.clone()], row, expected);
        // Of a constant, too.
        let pad = node("Pad", &["c", "p"], "k").text("mode", mode);
        let none = floats("none", &[], vec![0.]);
        let nodes = vec![pad, node("Mul", &["x", "none"], "zero"), node("Slice", &["zero", "i", "j", "l"], "o")];
        let nodes = [nodes, vec![node("Add", &["o", "k"], "y")]].concat();
        let constants = vec![pads, none, floats("c", &[1, 1, 1, 4], row.1.to_vec())];
        let axis = vec![ints("i", &[0]), ints("j", &[1]), ints("l", &[3])];
        all_give(nodes, [constants, axis].concat(), row, expected, 17);
    }
    let reflect = |start: i64, end: i64| {
        let pad = node("Pad", &["x", "p"], "y").text("mode", "reflect");
        let pads = ints("p", &[0, 0, 0, start, 0, 0, 0, end]);
        says(vec![pad], vec![pads], row, &["less than the axis is accepted"], 17);
    };
    reflect(4, 0);
    reflect(-2, 3);
}

#[test]
fn pads_are_refused_for_a_computed_value_and_an_unknown_mode() {
    let row: (&[usize], &[f32]) = (&[1, 1, 1, 4], &[0., 1., 2., 3.]);
    let pads = || ints("p", &[0, 0, 0, 1, 0, 0, 0, 1]);
    let most = node("ReduceMax", &["x"], "most").int("keepdims", 0);
    says(vec![most, node("Pad", &["x", "p", "most"], "y")], vec![pads()], row, &["the value is computed"], 17);
    let known = "mode symmetric; constant, reflect, edge and wrap are accepted";
    let pad = |of: &str| node("Pad", &[of, "p"], "y").text("mode", "symmetric");
    says(vec![pad("x")], vec![pads()], row, &[known], 17);
    says(vec![pad("c")], vec![pads(), floats("c", &[1, 1, 1, 4], vec![0.; 4])], row, &[known], 17);
    let wide = node("Reshape", &["x", "five"], "w");
    let pads = ints("p", &[0, 0, 0, 0, 1, 0, 0, 0, 0, 1]);
    says(vec![wide, pad("w")], vec![pads, ints("five", &[1, 1, 1, 1, 4])], row, &[known], 17);
}

#[test]
fn unsigned_integers_are_read() {
    for data_type in [UINT32, UINT64] {
        let whole = whole("u", data_type, &[3, 4_000_000_000, 0]);
        let nodes = vec![node("Cast", &["u"], "f").int("to", FLOAT.into()), node("Add", &["x", "f"], "y")];
        all_give(nodes, vec![whole], (LINE, &[1., 0., 2.]), &[4., 4e9, 2.], 17);
    }
}

#[test]
fn padding_as_large_as_a_window_of_three_axes_is_refused() {
    for operator in ["MaxPool", "AveragePool"] {
        let pool = node(operator, &["w"], "y").ints("kernel_shape", &[1, 2, 2]).ints("pads", &[0, 2, 0, 0, 0, 0]);
        let nodes = vec![node("Reshape", &["x", "five"], "w"), pool];
        let five = vec![ints("five", &[1, 1, 1, 2, 2])];
        let words = ["padding [(0, 0), (2, 0), (0, 0)] as large as the window [1, 2, 2]"];
        says(nodes, five, (&[1, 1, 2, 2], &[1., 2., 3., 4.]), &words, 17);
    }
}

/// Numbers by onnxruntime.
#[test]
fn constant_integers_stay_those_of_their_type() {
    let check = |of: proto::Node, a: proto::Tensor, b: proto::Tensor, expected: &[f32]| {
        let count = expected.len();
        let nodes = vec![of, node("Cast", &["whole"], "f").int("to", FLOAT.into()), node("Add", &["x", "f"], "y")];
        all_give(nodes, vec![a, b], (&[count], &vec![0.; count]), expected, 17);
    };
    let of = |operator: &str| node(operator, &["a", "b"], "whole");
    let bytes = |name: &str, values: &[i64]| whole(name, UINT8, values);
    check(of("Add"), bytes("a", &[200, 7]), bytes("b", &[100, 2]), &[44., 9.]);
    check(of("Sub"), bytes("a", &[3, 7]), bytes("b", &[100, 2]), &[159., 5.]);
    check(of("Mul"), whole("a", INT32, &[100_000]), whole("b", INT32, &[100_000]), &[1_410_065_408.]);
    let shift = |direction: &str| of("BitShift").text("direction", direction);
    check(shift("RIGHT"), bytes("a", &[200, 7, 255]), bytes("b", &[1, 2, 9]), &[100., 1., 0.]);
    check(shift("LEFT"), bytes("a", &[200, 7, 255]), bytes("b", &[1, 2, 9]), &[144., 28., 0.]);
    let (base, exponent) = (ints("a", &[2, 3, -1, -2, 1, -1, 5]), ints("b", &[-1, 3, 64, 3, -3, -3, 0]));
    check(of("Pow"), base, exponent, &[0., 27., 1., -8., 1., -1., 1.]);
    check(of("Pow"), whole("a", INT32, &[2, 3, 10]), floats("b", &[3], vec![0.5, 2.5, -1.]), &[1., 15., 0.]);
    let large = |above: i64| (1 << 60) + above;
    check(of("Equal"), ints("a", &[large(1), 5]), ints("b", &[large(0), 5]), &[0., 1.]);
    check(of("Less"), ints("a", &[large(0), 5]), ints("b", &[large(1), 5]), &[1., 0.]);
    check(of("And"), ints("a", &[2, 0, 4, 0]), ints("b", &[3, 3, 0, 0]), &[1., 0., 0., 0.]);
    check(of("CumSum"), whole("a", INT32, &[i32::MAX.into(), 1]), ints("b", &[0]), &[i32::MAX as f32, i32::MIN as f32]);
    check(node("Neg", &["a"], "whole"), whole("a", INT8, &[-128, 5]), ints("b", &[]), &[-128., -5.]);
    check(node("Cast", &["a"], "whole").int("to", UINT8.into()), ints("a", &[300, -1]), ints("b", &[]), &[44., 255.]);
    check(node("Cast", &["a"], "whole").int("to", INT8.into()), ints("a", &[300, 128]), ints("b", &[]), &[44., -128.]);
    // Bounds that floats don't tell apart.
    let most = (1 << 24) + 1;
    let clip = vec![node("Clip", &["a", "", "b"], "c"), node("Sub", &["c", "d"], "e")];
    let nodes = [clip, vec![node("Cast", &["e"], "f").int("to", FLOAT.into()), node("Add", &["x", "f"], "y")]].concat();
    let scalar = |name: &str, value: i64| proto::Tensor { dims: vec![], ..ints(name, &[value]) };
    let constants = vec![ints("a", &[1 << 30]), scalar("b", most), scalar("d", most - 1)];
    all_give(nodes, constants, (&[1], &[0.]), &[1.], 17);
    let nodes = vec![shift("UP"), node("Cast", &["whole"], "f"), node("Add", &["x", "f"], "y")];
    let constants = vec![bytes("a", &[1]), bytes("b", &[1])];
    says(nodes, constants, (&[1], &[0.]), &["direction UP; LEFT and RIGHT are accepted"], 17);
}

/// As the standard has it of Add-6: "shape(A) = (2, 3, 4, 5), shape(B) = (3, 4), with axis=1". onnxruntime begins at opset 7.
#[test]
fn old_operands_lie_from_their_axis_on() {
    // [1, 2, 2, 2], whose channels, rows and columns are all of the same length.
    let x: (&[usize], &[f32]) = (&[1, 2, 2, 2], &[0., 1., 2., 3., 4., 5., 6., 7.]);
    let of = |operator: &str, second: &str| node(operator, &["x", second], "y").int("broadcast", 1);
    let b = || vec![floats("b", &[2], vec![10., 20.])];
    all_give(vec![of("Add", "b").int("axis", 1)], b(), x, &[10., 11., 12., 13., 24., 25., 26., 27.], 6);
    all_give(vec![of("Sub", "b").int("axis", 2)], b(), x, &[-10., -9., -18., -17., -6., -5., -14., -13.], 6);
    all_give(vec![of("Mul", "b").int("axis", 3)], b(), x, &[0., 20., 20., 60., 40., 100., 60., 140.], 6);
    all_give(vec![of("Add", "b")], b(), x, &[10., 21., 12., 23., 14., 25., 16., 27.], 6);
    let limits = || vec![floats("b", &[2], vec![1.5, 5.5])];
    all_give(vec![of("Greater", "b").int("axis", 1)], limits(), x, &[0., 0., 1., 1., 0., 0., 1., 1.], 6);
    // A computed one: the greatest number of each channel.
    let most = node("ReduceMax", &["x"], "m").ints("axes", &[2, 3]).int("keepdims", 0);
    let nodes = vec![most, of("Sub", "m").int("axis", 0)];
    all_give(nodes, vec![], x, &[-3., -2., -1., 0., -3., -2., -1., 0.], 6);
    let words = ["axis 2 of [1, 2, 2, 2] for [3], which does not fit there"];
    says(vec![of("Add", "b").int("axis", 2)], vec![floats("b", &[3], vec![0.; 3])], x, &words, 6);
    // A list of slopes is of the channels.
    let slopes = || vec![floats("b", &[2], vec![10., 20.])];
    let negative: (&[usize], &[f32]) = (x.0, &[0., -1., -2., -3., -4., -5., -6., 7.]);
    let prelu = || vec![node("PRelu", &["x", "b"], "y")];
    all_give(prelu(), slopes(), negative, &[0., -10., -20., -30., -80., -100., -120., 7.], 6);
    all_give(prelu(), slopes(), negative, &[0., -20., -20., -60., -40., -100., -60., 7.], 7);
    // From opset 7 on there is no such axis.
    all_give(vec![of("Add", "b").int("axis", 1)], b(), x, &[10., 21., 12., 23., 14., 25., 16., 27.], 7);
}

#[test]
fn casts_go_where_they_are_told_or_are_refused() {
    let x: (&[usize], &[f32]) = (LINE, &[2.7, -1.5, 0.]);
    all_give(vec![node("Cast", &["x"], "y").text("to", "INT32")], vec![], x, &[2., -1., 0.], 5);
    all_give(vec![node("Cast", &["x"], "y").text("to", "BOOL")], vec![], x, &[1., 1., 0.], 5);
    all_give(vec![node("Cast", &["x"], "y").text("to", "FLOAT")], vec![], x, x.1, 5);
    says(vec![node("Cast", &["x"], "y").text("to", "STRING")], vec![], x, &["to STRING", "booleans are accepted"], 5);
    // Strings, two floats of 8 bits, 4 bits.
    for to in [8, 17, 19, 21, 22, 23] {
        let words = [&format!("to the element type {to}") as &str, "booleans are accepted"];
        says(vec![node("Cast", &["x"], "y").int("to", to)], vec![], x, &words, 21);
        let nodes = vec![node("Cast", &["c"], "k").int("to", to), node("Add", &["x", "k"], "y")];
        says(nodes, vec![floats("c", &[3], vec![0.3; 3])], x, &words, 21);
    }
}

/// Numbers by onnxruntime.
#[test]
fn computed_integers_stay_those_of_their_type() {
    let check = |to: i32, nodes: Vec<proto::Node>, constants: Vec<proto::Tensor>, input: &[f32], expected: &[f32]| {
        let nodes = [vec![node("Cast", &["x"], "i").int("to", to.into())], nodes].concat();
        all_give(nodes, constants, (&[1, 1, 1, input.len()], input), expected, 17);
    };
    let of = |operator: &str| vec![node(operator, &["i", "b"], "y")];
    let wide = |values: &[i64]| vec![whole("b", INT32, values)];
    let bytes = |value: i64| vec![whole("b", UINT8, &[value])];
    check(INT32, of("Div"), wide(&[2, 2, -3, 7]), &[7., -7., 5., 7.], &[3., -3., -1., 1.]);
    check(INT32, of("Div"), wide(&[5]), &[4., 5., -4., -11.], &[0., 1., 0., -2.]);
    check(UINT8, of("Add"), bytes(100), &[3., 200.], &[103., 44.]);
    check(UINT8, of("Sub"), bytes(5), &[3., 200.], &[254., 195.]);
    check(UINT8, of("Mul"), bytes(3), &[3., 200.], &[9., 88.]);
    check(UINT8, of("Div"), bytes(255), &[254., 255.], &[0., 1.]);
    let mean = |axes: &[i64]| vec![node("ReduceMean", &["i"], "y").ints("axes", axes)];
    check(INT32, mean(&[3]), vec![], &[7., -8., -3.], &[-1.]);
    // Casts wrap, except where all numbers fit.
    let (odd, bytes) = ([300.7, -1.5, -0.4, -200., 128., 255.9], [44., 255., 0., 56., 128., 255.]);
    check(UINT8, vec![node("Identity", &["i"], "y")], vec![], &odd, &bytes);
    check(INT8, vec![node("Identity", &["i"], "y")], vec![], &odd, &[44., -1., 0., 56., -128., -1.]);
    check(UINT8, vec![node("Cast", &["i"], "y").int("to", INT64.into())], vec![], &odd, &bytes);
    // As floats they are divided as such.
    let float = vec![node("Cast", &["i"], "f").int("to", FLOAT.into()), node("Div", &["f", "b"], "y")];
    check(INT32, float, vec![floats("b", &[], vec![2.])], &[7., -3.], &[3.5, -1.5]);
    let like = vec![node("CastLike", &["x", "i"], "l"), node("Sub", &["x", "l"], "y")];
    check(INT32, like, vec![], &[2.5, -1.25], &[0.5, -0.25]);
    let power = vec![node("Cast", &["x"], "i").int("to", INT32.into()), node("Pow", &["i", "b"], "y")];
    says(power, vec![floats("b", &[], vec![0.5])], (LINE, &[4.; 3]), &["a power of computed integers"], 17);
}

#[test]
fn a_product_of_integers_with_five_axes_is_refused() {
    let mut quantize = node("DynamicQuantizeLinear", &["x"], "q");
    quantize.output.extend(["s".into(), "z".into()]);
    let nodes = vec![quantize, node("MatMulInteger", &["q", "b", "z"], "y")];
    let b = proto::Tensor { dims: vec![1, 1, 1, 3, 3], ..whole("b", UINT8, &[1; 9]) };
    says(nodes, vec![b], (LINE, &[1., 2., 3.]), &["a result of more than four axes; up to four are accepted"], 17);
}

/// By onnxruntime, which rounds up where there are fewer.
#[test]
fn nearest_pixels_until_opset_10() {
    let line: Vec<f32> = (0..20).map(|i| i as f32).collect();
    let check = |scale: f32, expected: &[f32]| {
        let nodes = vec![node("Resize", &["x", "s"], "y").text("mode", "nearest")];
        all_give(nodes, vec![floats("s", &[4], vec![1., 1., 1., scale])], (&[1, 1, 1, 20], &line), expected, 10);
    };
    check(0.3, &[0., 4., 7., 10., 14., 17.]);
    check(0.7, &[0., 2., 3., 5., 6., 8., 9., 10., 12., 13., 15., 16., 18., 19.]);
    check(0.5, &[0., 2., 4., 6., 8., 10., 12., 14., 16., 18.]);
    let more: Vec<f32> = (0..30).map(|i| (i * 2 / 3) as f32).collect();
    check(1.5, &more);
    // Of 6, 12 and 18 by 1.2 the last alone lies below a whole number.
    let more =
        [0., 0., 1., 2., 3., 4., 5., 5., 6., 7., 8., 9., 10., 10., 11., 12., 13., 14., 14., 15., 16., 17., 18., 19.];
    check(1.2, &more);
    // The example of the standard.
    let nodes = vec![node("Resize", &["x", "s"], "y").text("mode", "nearest")];
    let scales = vec![floats("s", &[4], vec![1., 1., 0.6, 0.6])];
    all_give(nodes, scales, (&[1, 1, 2, 4], &[1., 2., 3., 4., 5., 6., 7., 8.]), &[1., 3.], 10);
}

#[test]
fn an_unknown_way_to_the_nearest_pixel_is_refused() {
    let resize = node("Resize", &["x", "", "s"], "y").text("nearest_mode", "closest");
    let scales = vec![floats("s", &[4], vec![1., 1., 1., 2.])];
    says(vec![resize], scales, (LINE, &[1., 2., 3.]), &["nearest_mode closest; floor, ceil"], 17);
}

/// By onnxruntime; ONNX's own evaluator takes 4, 9, … by 0.2, and 5 in the place of 4 by 0.7.
#[test]
fn nearest_pixels_by_a_decimal_scale_are_those_of_onnxruntime() {
    let line: Vec<f32> = (0..40).map(|i| i as f32).collect();
    let x: (&[usize], &[f32]) = (&[1, 1, 1, 40], &line);
    let resize = |coordinates: &str, nearest: &str| {
        let resize = node("Resize", &["x", "", "s"], "y").text("coordinate_transformation_mode", coordinates);
        resize.text("nearest_mode", nearest)
    };
    let scales = |scale: f32| vec![floats("s", &[4], vec![1., 1., 1., scale])];
    gives(resize("asymmetric", "floor"), scales(0.2), x, &[0., 5., 10., 15., 20., 25., 30., 35.]);
    gives(resize("asymmetric", "floor"), scales(0.05), x, &[0., 20.]);
    let expected = [
        0., 2., 3., 4., 6., 7., 9., 10., 12., 13., 14., 16., 17., 19., 20., 22., 23., 24., 26., 27., 29., 30., 32.,
        33., 34., 36., 37., 39.,
    ];
    gives(resize("half_pixel", "round_prefer_floor"), scales(0.7), x, &expected);
    // Sizes are exact: 16 · 14 / 32 is 7.
    let whole: Vec<f32> = (0..14).map(|i| i as f32).collect();
    let halves: Vec<f32> = (0..32).map(|i| (i * 14 / 32) as f32).collect();
    let resize = node("Resize", &["x", "", "", "t"], "y").text("coordinate_transformation_mode", "asymmetric");
    let sizes = vec![ints("t", &[1, 1, 1, 32])];
    gives(resize.text("nearest_mode", "floor"), sizes, (&[1, 1, 1, 14], &whole), &halves);
}

#[test]
fn a_maximum_of_padding_alone_is_minus_infinity() {
    // Places −2 and 1, −1 and 2, 0 and 3 of a single one: only the last window holds it.
    let pool = node("MaxPool", &["x"], "y")
        .ints("kernel_shape", &[1, 2])
        .ints("dilations", &[1, 3])
        .ints("pads", &[0, 2, 0, 3]);
    let none = f32::NEG_INFINITY;
    gives(pool, vec![], (&[1, 1, 1, 1], &[7.]), &[none, none, 7.]);
}

#[test]
fn a_side_of_nothing_beside_a_huge_one_is_refused() {
    let empty = |dims: &[i64]| floats("e", dims, vec![]);
    for (operator, dims) in [
        ("Concat", vec![1 << 32, 0]),
        ("Add", vec![0, 1 << 40]),
        ("Transpose", vec![1 << 62, 0, 1 << 62]),
        ("Max", vec![i64::MAX, 0]),
    ] {
        let inputs = vec!["e"; if operator == "Transpose" { 1 } else { 2 }];
        let nodes = vec![node(operator, &inputs, "n"), node("Relu", &["r"], "x")];
        refused(&classifier(nodes, vec![empty(&dims)]), ErrorKind::Model, &["`e`", "too large"]);
    }
}

#[test]
fn constants_without_numbers_are_no_reason_to_panic() {
    let empty = |dims: &[i64]| floats("e", dims, vec![]);
    for (label, node) in [
        ("mean", node("ReduceMean", &["e"], "n")),
        ("maximum", node("ReduceMax", &["e"], "n")),
        ("pooled", node("GlobalAveragePool", &["e"], "n")),
        ("padded", node("Pad", &["e", "pads"], "n")),
        ("resized", node("Resize", &["e", "", "", "sizes"], "n")),
        ("convolved", node("Conv", &["e", "k"], "n").text("auto_pad", "SAME_UPPER")),
        ("turned", node("Transpose", &["e"], "n")),
        ("reversed", node("Slice", &["e", "last", "first", "axis", "back"], "n")),
        ("normalised", node("Softmax", &["e"], "n")),
        ("picked", node("Gather", &["e", "axis"], "n")),
        ("function", node("Tanh", &["e"], "n")),
        ("summed", node("CumSum", &["e", "axis"], "n")),
    ] {
        let constants = vec![
            empty(&[1, 3, 0, 4]),
            ints("pads", &[0, 0, 1, 1, 0, 0, 1, 1]),
            ints("sizes", &[1, 3, 2, 2]),
            ints("last", &[-1]),
            ints("first", &[-9]),
            ints("axis", &[2]),
            ints("back", &[-1]),
        ];
        let nodes = vec![node, proto::Node { output: vec!["x".into()], ..self::node("Add", &["r", "n"], "") }];
        if let Err((kind, message)) = outcome(&classifier(nodes, constants)) {
            assert!(matches!(kind, ErrorKind::Unsupported | ErrorKind::Model), "{label}: {message}");
        } else {
            panic!("{label}: nothing can be added to what has no numbers");
        }
    }
}

#[test]
fn memory_is_counted_before_it_is_taken() {
    let huge = || ints("huge", &[1 << 14, 1 << 15]);
    // A constant made of nothing.
    let made = vec![node("ConstantOfShape", &["huge"], "n"), node("Add", &["r", "n"], "x")];
    refused(&classifier(made, vec![huge()]), ErrorKind::Unsupported, &["ConstantOfShape", "16384"]);
    let one = || floats("one", &[1, 1], vec![1.]);
    let expanded = vec![node("Expand", &["one", "huge"], "n"), node("Cos", &["n"], "m"), node("Add", &["r", "m"], "x")];
    refused(&classifier(expanded, vec![huge(), one()]), ErrorKind::Unsupported, &["Expand", "16384"]);
    let tiled = vec![node("Tile", &["one", "huge"], "n"), node("Add", &["r", "n"], "x")];
    refused(&classifier(tiled, vec![huge(), one()]), ErrorKind::Unsupported, &["Tile"]);
    let line = floats("line", &[1 << 15], vec![1.; 1 << 15]);
    let column = floats("column", &[1 << 15, 1], vec![1.; 1 << 15]);
    let broadcast = vec![node("Add", &["line", "column"], "n"), node("Add", &["r", "n"], "x")];
    refused(&classifier(broadcast, vec![line, column]), ErrorKind::Unsupported, &["Add"]);
    // Values of the network.
    let padded = vec![node("Pad", &["r", "pads"], "x")];
    let pads = ints("pads", &[0, 0, 30_000, 30_000, 0, 0, 30_000, 30_000]);
    refused(&classifier(padded, vec![pads]), ErrorKind::Unsupported, &["Pad"]);
    let resized = vec![node("Resize", &["r", "", "", "sizes"], "x")];
    let sizes = ints("sizes", &[1, 4, 11_000, 11_000]);
    refused(&classifier(resized, vec![sizes]), ErrorKind::Unsupported, &["MiB"]);
    // A border that a convolution reads over.
    let bordered = vec![
        node("Conv", &["r", "line"], "x")
            .ints("dilations", &[1, 30_000])
            .ints("pads", &[60_000, 60_000, 60_000, 60_000])
            .ints("strides", &[30_000, 30_000]),
    ];
    let kernel = floats("line", &[4, 4, 1, 3], vec![1.; 48]);
    refused(&classifier(bordered, vec![kernel]), ErrorKind::Unsupported, &["MiB"]);
    // Many of them at once.
    let many: Vec<_> = (0..500).map(|i| node("Neg", &[["one", "n"][usize::from(i > 0)]], "n")).collect();
    let many = [many, vec![node("Add", &["r", "n"], "x")]].concat();
    let one = floats("one", &[1, 1_000_000], vec![1.; 1_000_000]);
    refused(&classifier(many, vec![one]), ErrorKind::Unsupported, &["more than", "constants"]);
}

#[test]
fn four_channels_are_colour_and_opacity() {
    let mut model = classifier(vec![node("Relu", &["r"], "x")], vec![]);
    let graph = model.graph.as_mut().unwrap();
    graph.input = vec![info("input", &[1, 4, 8, 6])];
    // Each channel as it is.
    let one_each = (0..16).map(|i| f32::from(i % 5 == 0)).collect();
    graph.initializer[0] = floats("k", &[4, 4, 1, 1], one_each);
    graph.node[0] = node("Conv", &["input", "k"], "c");
    let network = onnx::load(&model.encode_to_vec(), &Default::default(), &Device::cpu()).unwrap();
    let fitting = Preprocess { width: 6, height: 8, mean: vec![0.], std: vec![1.], ..Default::default() };
    network.check(&fitting).unwrap();
    let pixel = [51, 102, 153, 204];
    let image = Image::from_rgba(6, 8, pixel.repeat(48)).unwrap();
    let (input, _) = input_from_image(&image, &fitting, network.input().channels).unwrap();
    let prediction = block_on(Prediction::new(Rc::new(network), &input)).unwrap();
    // The channels' means are 0.2, 0.4, 0.6 and 0.8; the weight of channel i for class j is (21 i + 7 j) mod 11 / 11 - 0.4.
    let weight = |i: usize, j: usize| ((3 * i + j) * 7 % 11) as f32 / 11. - 0.4;
    let expected = [0, 1, 2].map(|class| (0..4).map(|i| 0.2 * (i as f32 + 1.) * weight(i, class)).sum::<f32>());
    for (score, expected) in prediction.scores().iter().zip(expected) {
        assert!((score - expected).abs() < 1e-5, "{:?} instead of {expected}", prediction.scores());
    }
}

#[test]
fn a_default_layer_is_one_of_the_networks() {
    let bytes = classifier(vec![node("Relu", &["r"], "x")], vec![]).encode_to_vec();
    let load = |layer: &str| {
        let options = onnx::LoadOptions { default_layer: Some(layer.into()), ..Default::default() };
        onnx::load(&bytes, &options, &Device::cpu())
    };
    let prediction = block_on(Prediction::new(Rc::new(load("c").unwrap()), &[0.5; 144])).unwrap();
    let explanation = block_on(prediction.explain(&Default::default(), &|_| {}, &|| false)).unwrap();
    assert_eq!(explanation.layers, ["c"]);
    let error = load("nowhere").err().expect("there is no such layer");
    assert_eq!(error.kind(), ErrorKind::Model);
    assert!(error.message().contains("`nowhere` is no spatial layer"), "{error}");
}

#[test]
fn work_is_counted_before_it_is_begun() {
    // Sums over 65,535 channels at each of many places.
    let sizes = ints("sizes", &[1, 4, 4000, 4000]);
    let nodes = vec![
        node("LRN", &["r"], "a").int("size", 65_000),
        node("Resize", &["a", "", "", "sizes"], "s"),
        node("LRN", &["s"], "x").int("size", 65_000),
    ];
    refused(&classifier(nodes, vec![sizes]), ErrorKind::Unsupported, &["LRN", "multiplications"]);
    // A window as wide as its padding lets it be, at as many places.
    let pool = node("AveragePool", &["r"], "x").ints("kernel_shape", &[32_000, 32_000]).ints("pads", &[31_000; 4]);
    refused(&classifier(vec![pool], vec![]), ErrorKind::Unsupported, &["AveragePool"]);
}

#[test]
fn a_million_of_anything_is_read_in_little_time_or_refused() {
    let chain = |count: usize| -> Vec<proto::Node> {
        let name = |i: usize| if i == 0 { "r".to_owned() } else { format!("n{i}") };
        let last = |i: usize| if i + 1 == count { "x".to_owned() } else { name(i + 1) };
        (0..count).map(|i| node("Relu", &[&name(i)], &last(i))).collect()
    };
    refused(&classifier(chain(1_100_000), vec![]), ErrorKind::Unsupported, &["more than 1048576 nodes"]);
    refused(&classifier(chain(100_000), vec![]), ErrorKind::Unsupported, &["more than 20000 steps"]);
    outcome(&classifier(chain(10_000), vec![])).expect("a deep network");
    // From the last to the first.
    let mut backwards = chain(10_000);
    backwards.reverse();
    outcome(&classifier(backwards, vec![])).expect("nodes in any order");
    let mut outputs = classifier(vec![node("Relu", &["r"], "x")], vec![]);
    outputs.graph.as_mut().unwrap().output.extend((0..30_000).map(|_| info("c", &[])));
    outcome(&outputs).expect("the scores are among the outputs");
    let mut outputs = classifier(vec![node("Relu", &["r"], "x")], vec![]);
    outputs.graph.as_mut().unwrap().output = (0..30_000).map(|_| info("c", &[])).collect();
    refused(&outputs, ErrorKind::Unsupported, &["29992 more"]);
    let unknown: Vec<_> = (0..100_000).map(|i| node("Nothing", &["r"], &format!("u{i}"))).collect();
    let unknown = [unknown, vec![node("Relu", &["u0"], "x")]].concat();
    refused(&classifier(unknown, vec![]), ErrorKind::Unsupported, &["100000 nodes", "Nothing"]);
    let mut said = classifier(vec![node("Relu", &["r"], "x")], vec![]);
    said.metadata = (0..20_000).map(|i| proto::Entry { key: Some(i.to_string()), value: None }).collect();
    refused(&said, ErrorKind::Model, &["20000 entries"]);
}

#[test]
fn more_classes_than_a_million_are_refused() {
    // As many as a weight of one number for each can stand for.
    let shape = ints("shape", &[1, 4, 20_000, 20_000]);
    let mut classes = classifier(vec![node("Relu", &["r"], "x")], vec![shape]);
    let graph = classes.graph.as_mut().unwrap();
    graph.node.extend([node("Unsqueeze", &["scores", "axes"], "u"), node("Expand", &["u", "wide"], "many")]);
    graph.node.push(node("Reshape", &["many", "flat"], "all"));
    graph.initializer.extend([ints("axes", &[2]), ints("wide", &[1, 3, 500_000]), ints("flat", &[1, 1_500_000])]);
    graph.output = vec![info("all", &[])];
    refused(&classes, ErrorKind::Unsupported, &["1500000 classes", "1000000"]);
}

#[test]
fn a_sentence_stays_short_whatever_names_are_in_it() {
    let name = "n".repeat(1 << 20);
    refused(
        &classifier(vec![node(&name, &["r"], "x")], vec![]),
        ErrorKind::Unsupported,
        &["node `x`", "not supported"],
    );
    let missing = vec![node("Relu", &[&name], "x")];
    refused(&classifier(missing, vec![]), ErrorKind::Model, &["nothing computes its input `nnn"]);
    let axes: Vec<i64> = (0..200_000).collect();
    let nodes = vec![node("ReduceMean", &["r"], "x").ints("axes", &axes)];
    refused(&classifier(nodes, vec![]), ErrorKind::Unsupported, &["200000 axes"]);
}

#[test]
fn an_axis_named_twice_is_refused() {
    let nodes = vec![node("Slice", &["r", "from", "to", "axes"], "x")];
    let constants = vec![ints("from", &[0, 2]), ints("to", &[2, 3]), ints("axes", &[2, 2])];
    refused(&classifier(nodes, constants), ErrorKind::Unsupported, &["axis 2 named twice"]);
}

#[test]
fn steps_and_reaches_beyond_all_numbers_are_counted_right() {
    let slice = |step: i64| {
        let constants = vec![ints("from", &[0]), ints("to", &[i64::MAX]), ints("axes", &[2]), ints("step", &[step])];
        classifier(vec![node("Slice", &["r", "from", "to", "axes", "step"], "x")], constants)
    };
    // Eight rows, of which such a step leaves the first.
    let scores = outcome(&slice(8)).expect("a sound model");
    assert_eq!(outcome(&slice(1 << 32)).expect("a sound model"), scores);
    assert_eq!(outcome(&slice(i64::MAX)).expect("a sound model"), scores);
    let kernel = || floats("far", &[4, 4, 2, 2], vec![0.5; 64]);
    let far = node("Conv", &["r", "far"], "x").ints("dilations", &[30_000, 30_000]);
    refused(&classifier(vec![far.clone()], vec![kernel()]), ErrorKind::Unsupported, &["larger than its padded input"]);
    // A window far wider than the image, at every place.
    outcome(&classifier(vec![far.text("auto_pad", "SAME_UPPER")], vec![kernel()])).expect_err("too much memory");
}

/// A call of a function of the file's own.
fn call(function: &str, input: &str, output: &str) -> proto::Node {
    proto::Node { domain: Some("own".into()), ..node(function, &[input], output) }
}

/// A function of one input `i` and one output `o`.
fn function(name: &str, nodes: Vec<proto::Node>) -> proto::Function {
    let (domain, name) = (Some("own".into()), Some(name.into()));
    proto::Function {
        domain,
        name,
        input: vec!["i".into()],
        output: vec!["o".into()],
        node: nodes,
        ..Default::default()
    }
}

#[test]
fn functions_do_not_multiply_without_end() {
    // Each calls the one before twice: two to the power of thirty nodes.
    let level = |i: usize| format!("f{i}");
    let mut functions = vec![function("f0", vec![node("Relu", &["i"], "o")])];
    functions.extend(
        (1..30).map(|i| function(&level(i), vec![call(&level(i - 1), "i", "m"), call(&level(i - 1), "m", "o")])),
    );
    let mut doubled = classifier(vec![call("f29", "r", "x")], vec![]);
    doubled.functions = functions;
    refused(&doubled, ErrorKind::Model, &["functions", "131072 nodes"]);
    let mut circle = classifier(vec![call("f", "r", "x")], vec![]);
    circle.functions = vec![function("f", vec![call("f", "i", "o")])];
    refused(&circle, ErrorKind::Model, &["32 deep"]);
    // A long name in front of many.
    let many = (0..2000).map(|i| node("Relu", &["i"], &if i == 0 { "o".into() } else { format!("m{i}") })).collect();
    let mut named = classifier(vec![call("f", "r", "x")], vec![]);
    named.functions = vec![function("f", many)];
    named.graph.as_mut().unwrap().node[2].name = Some("n".repeat(1 << 20));
    refused(&named, ErrorKind::Model, &["bytes"]);
    named.graph.as_mut().unwrap().node[2] = call("f", &"n".repeat(1 << 20), "x");
    refused(&named, ErrorKind::Model, &["bytes"]);
}

#[test]
fn what_functions_copy_is_counted() {
    let with = |attribute: Vec<proto::Attribute>| proto::Node { attribute, ..node("Relu", &["i"], "o") };
    let calls = |count: usize| {
        let value = |i: usize| if i == 0 { "r".into() } else { format!("v{i}") };
        let calls = (0..count).map(|i| call("f", &value(i), &value(i + 1)));
        classifier(calls.chain([node("Relu", &[&value(count)], "x")]).collect(), vec![])
    };
    let list = || vec![1; 1 << 17];
    let taken = |count: usize| {
        let of_caller = Some("list".into());
        with(vec![proto::Attribute { name: Some("own".into()), of_caller, ..Default::default() }; count])
    };
    // Attributes of nothing, and a list whose numbers have a byte each in the file.
    let mut empty = calls(500);
    empty.functions = vec![function("f", vec![with(vec![proto::Attribute::default(); 1 << 15])])];
    refused(&empty, ErrorKind::Model, &["bytes"]);
    let mut long = calls(800);
    long.functions = vec![function("f", vec![with(vec![]).ints("list", &list())])];
    refused(&long, ErrorKind::Model, &["bytes"]);
    // The caller's list, or the one in its place, many times.
    let mut given = calls(1);
    given.functions = vec![function("f", vec![taken(5000)])];
    let sound = outcome(&given).expect("there is none to be copied");
    assert_eq!(sound, outcome(&classifier(vec![node("Relu", &["r"], "x")], vec![])).unwrap());
    given.graph.as_mut().unwrap().node[2] = call("f", "r", "v1").ints("list", &list());
    refused(&given, ErrorKind::Model, &["bytes"]);
    given.graph.as_mut().unwrap().node[2] = call("f", "r", "v1");
    let defaults = vec![proto::Attribute { name: Some("list".into()), ints: list(), ..Default::default() }];
    given.functions = vec![proto::Function { defaults, ..function("f", vec![taken(5000)]) }];
    refused(&given, ErrorKind::Model, &["bytes"]);
}

/// A loop of so many rounds, whose body adds one to what it carries.
fn repeated(rounds: &str, inner: Option<proto::Node>) -> proto::Node {
    let mut nodes = vec![node("Identity", &["c"], "c2"), node("Relu", &["v"], "v2")];
    nodes.extend(inner);
    let infos = |names: &[&str]| names.iter().map(|name| info(name, &[])).collect();
    let body = proto::Graph {
        node: nodes,
        input: infos(&["n", "c", "v"]),
        output: infos(&["c2", "v2"]),
        ..Default::default()
    };
    let mut node = node("Loop", &[rounds, "", "r"], "x");
    node.attribute.push(proto::Attribute { name: Some("body".into()), g: Some(body), ..Default::default() });
    node
}

#[test]
fn loops_end() {
    let rounds = |count: i64| vec![ints("rounds", &[count]), ints("few", &[4000])];
    outcome(&classifier(vec![repeated("rounds", None)], rounds(3))).expect("three rounds");
    refused(&classifier(vec![repeated("rounds", None)], rounds(i64::MAX)), ErrorKind::Unsupported, &["4096 rounds"]);
    let mut inner = repeated("few", None);
    inner.output = vec!["w".into()];
    let within = classifier(vec![repeated("few", Some(inner))], rounds(1));
    refused(&within, ErrorKind::Unsupported, &["more than 20000 steps"]);
}

#[test]
fn what_loops_look_at_every_round_is_counted() {
    let many = 1 << 16;
    let loops = |change: &dyn Fn(&mut proto::Graph)| {
        let mut node = repeated("rounds", None);
        change(node.attribute[0].g.as_mut().unwrap());
        classifier(vec![node], vec![ints("rounds", &[4096])])
    };
    let counted = |what: &str, change: &dyn Fn(&mut proto::Graph)| {
        println!("{what}");
        refused(&loops(change), ErrorKind::Unsupported, &["more than"]);
    };
    counted("inputs", &|body| body.node[1].input = vec!["v".into(); many]);
    counted("outputs", &|body| body.node[1].output.extend((0..many).map(|i| format!("o{i}"))));
    counted("attributes", &|body| body.node[1].attribute = vec![Default::default(); many]);
    counted("results", &|body| body.output.extend(vec![info("v2", &[]); many]));
    counted("initializers", &|body| body.initializer = vec![floats("none", &[0], vec![]); many]);
    let equation = format!("abcd{}->abcd", " ".repeat(4 * many));
    counted("text", &|body| body.node[1] = node("Einsum", &["v"], "v2").text("equation", &equation));
    // A name for each step.
    counted("names", &|body| body.node[1].name = Some("n".repeat(many)));
    let long = "n".repeat(many);
    counted("names of what stays the same", &|body| {
        body.node[1] = node("Identity", &["v"], &long);
        body.output[1] = info(&long, &[]);
    });
}

#[test]
fn a_value_that_is_used_twice_at_every_step_is_not_followed_along_every_way() {
    let mut doubling = classifier(vec![node("Relu", &["r"], "x")], vec![]);
    let graph = doubling.graph.as_mut().unwrap();
    graph.node.push(node("Softmax", &["scores"], "s0"));
    graph.node.extend((0..40).map(|i| {
        let name = format!("s{i}");
        node("Add", &[&name, &name], &format!("s{}", i + 1))
    }));
    graph.output = vec![info("s40", &[])];
    outcome(&doubling).expect("a sound model");
}

#[test]
fn lists_of_places_are_counted_before_they_are_made() {
    let many = || floats("many", &[1 << 14], vec![1.; 1 << 14]);
    let wide = || ints("wide", &[1 << 12, 1 << 12]);
    let place = |nodes: Vec<proto::Node>| [nodes, vec![node("Add", &["r", "n"], "x")]].concat();
    for (label, nodes, constants) in [
        (
            "one hot",
            vec![node("Cast", &["many"], "i").int("to", 7), node("OneHot", &["i", "depth", "pair"], "n")],
            vec![many(), ints("depth", &[1 << 20]), floats("pair", &[2], vec![0., 1.])],
        ),
        ("tiled", vec![node("Tile", &["many", "times"], "n")], vec![many(), ints("times", &[1 << 14])]),
        (
            "summed",
            vec![node("ConstantOfShape", &["long"], "l"), node("CumSum", &["l", "zero"], "n")],
            vec![ints("long", &[1 << 24]), ints("zero", &[0])],
        ),
        (
            "grid",
            vec![node("AffineGrid", &["theta", "size"], "n")],
            vec![floats("theta", &[1, 2, 3], vec![0.; 6]), ints("size", &[1, 3, 30_000, 30_000])],
        ),
        (
            "corners",
            (0..40).map(|_| node("Trilu", &["square"], "n")).collect(),
            vec![floats("square", &[1 << 11, 1 << 11], vec![1.; 1 << 22])],
        ),
        (
            "nothing named",
            vec![
                node("Expand", &["none", "rows"], "i"),
                node("Cast", &["i"], "j").int("to", 7),
                node("GatherND", &["many", "j"], "n"),
            ],
            vec![many(), floats("none", &[1, 0], vec![]), ints("rows", &[1 << 24, 0])],
        ),
        (
            "windows",
            vec![
                node("Reshape", &["r", "line"], "l"),
                node("Expand", &["l", "wide"], "m"),
                node("Col2Im", &["m", "image", "block"], "n"),
            ],
            vec![
                ints("line", &[1, 192, 1]),
                wide(),
                ints("image", &[i64::MAX, i64::MAX]),
                ints("block", &[1 << 32, 1 << 32]),
            ],
        ),
    ] {
        let (kind, message) = outcome(&classifier(place(nodes), constants)).expect_err(label);
        assert!(matches!(kind, ErrorKind::Unsupported | ErrorKind::Model), "{label}: {message}");
    }
}

#[test]
fn what_is_computed_of_made_up_constants_is_counted_before() {
    let place = |nodes: Vec<proto::Node>| [nodes, vec![node("Add", &["r", "n"], "x")]].concat();
    let made = |nodes: Vec<proto::Node>| place([vec![node("ConstantOfShape", &["sides"], "l")], nodes].concat());
    let one_more = || ints("sides", &[(1 << 24) + 1]);
    let constants = || vec![one_more(), floats("two", &[1], vec![2.]), ints("row", &[1, -1]), ints("zero", &[0])];
    for nodes in [
        vec![node("Mul", &["l", "two"], "n")],
        vec![node("Reshape", &["l", "row"], "n")],
        vec![node("Slice", &["l", "zero", "zero"], "n")],
        vec![node("Where", &["l", "l", "two"], "n")],
        vec![node("Softmax", &["l"], "n")],
    ] {
        let words = [nodes[0].operator.clone().unwrap(), "16777217 numbers".into(), "16777216".into()];
        refused(&classifier(made(nodes), constants()), ErrorKind::Unsupported, &words.each_ref().map(String::as_str));
    }
    // What is left is looked at before the numbers are there.
    let lists = ["a", "b", "c"].map(|name| node("ConstantOfShape", &["sides"], name)).to_vec();
    let sides = ints("sides", &[1 << 27]);
    let words = ["ConstantOfShape", "`c`", "numbers would be computed"];
    refused(
        &classifier([lists, vec![node("Relu", &["r"], "x")]].concat(), vec![sides]),
        ErrorKind::Unsupported,
        &words,
    );
    // A step on constants, with its operand and its result at once.
    let planes = vec![node("Reshape", &["l", "planes"], "p"), node("LRN", &["p"], "n").int("size", 3)];
    let constants = vec![ints("sides", &[1 << 24]), ints("planes", &[1, 1, 1 << 12, 1 << 12])];
    refused(&classifier(made(planes), constants), ErrorKind::Unsupported, &["LRN", "numbers at once", "67108864"]);
    // As many copies as a node has inputs.
    let inputs = [vec!["r"], vec!["l"; 17]].concat();
    let constants = vec![ints("sides", &[1 << 24])];
    refused(&classifier(made(vec![node("Sum", &inputs, "n")]), constants), ErrorKind::Unsupported, &["Sum", "MiB"]);
    // A coordinate on each axis for each number.
    let axes = ints("sides", &[[1 << 8, 1 << 8, 1 << 7].to_vec(), vec![1; 20]].concat());
    let one = node("ConstantOfShape", &["sides"], "l");
    let nodes = vec![one, node("Equal", &["l", "l"], "e"), node("NonZero", &["e"], "n")];
    refused(&classifier(place(nodes), vec![axes]), ErrorKind::Unsupported, &["NonZero", "numbers would be computed"]);
}

#[test]
fn parameters_of_a_node_are_decoded_once_and_counted_before() {
    // Numbers of four bits: what the file says of them is enough.
    let four = |name: &str, dims: &[i64]| {
        let (name, dims, data_type) = (Some(name.to_owned()), dims.to_vec(), Some(22));
        proto::Tensor { name, dims, data_type, raw_data: Some(vec![0x21].into()), ..Default::default() }
    };
    let nodes = vec![node("Concat", &["b", "a"], "i").int("axis", 0), node("Add", &["r", "i"], "x")];
    let constants = vec![four("a", &[1 << 27]), four("b", &[2])];
    refused(&classifier(nodes, constants), ErrorKind::Unsupported, &["Concat", "134217730 integers", "134217728"]);
    let nodes = vec![node("Cast", &["a"], "i").int("to", 1), node("Add", &["r", "i"], "x")];
    refused(&classifier(nodes, vec![four("a", &[1 << 28])]), ErrorKind::Unsupported, &["Cast", "268435456 integers"]);
    let twice = node("Concat", &["pair", "pair"], "").int("axis", 0);
    folds(twice, vec![floats("pair", &[2], vec![1., 2.])], &[1., 2., 1., 2.]);
}

#[test]
fn windows_and_states_beyond_all_memory_are_refused() {
    let window = |sides: &[i64]| {
        let nodes = vec![
            node("Reshape", &["r", "volume"], "v"),
            node("MaxPool", &["v"], "m").ints("kernel_shape", sides),
            node("Reshape", &["m", "plane"], "x"),
        ];
        classifier(nodes, vec![ints("volume", &[1, 4, 2, 4, 6]), ints("plane", &[1, 4, -1, 6])])
    };
    let accepted = "up to 512 numbers along three axes";
    refused(&window(&vec![4096; 200_000]), ErrorKind::Unsupported, &["MaxPool", "200000 axes", accepted]);
    // On 32 bits their product is 4 beyond the largest number.
    refused(&window(&[2050, 1321, 1586]), ErrorKind::Unsupported, &["[2050, 1321, 1586]", accepted]);
    outcome(&window(&[2, 1, 1])).expect("a sound model");
    // A state of 2¹² numbers for each of 2¹⁹ sequences.
    let nodes = vec![
        node("Reshape", &["r", "line"], "l"),
        node("Expand", &["l", "many"], "m"),
        node("Reshape", &["m", "batch"], "q"),
        node("ConstantOfShape", &["w"], "ws"),
        node("ConstantOfShape", &["rw"], "rs"),
        node("RNN", &["q", "ws", "rs"], "y"),
        node("Add", &["r", "y"], "x"),
    ];
    let sizes = vec![
        ints("line", &[1, 192, 1]),
        ints("many", &[1 << 12, 192, 1]),
        ints("batch", &[1, -1, 1]),
        ints("w", &[1, 1 << 12, 1]),
        ints("rw", &[1, 1 << 12, 1 << 12]),
    ];
    refused(&classifier(nodes, sizes), ErrorKind::Unsupported, &["RNN", "states of 786432 × 4096"]);
}

/// What one node makes of constants alone.
#[track_caller]
fn folds(node: proto::Node, constants: Vec<proto::Tensor>, expected: &[f32]) {
    let sum = self::node("Add", &["x", "n"], "y");
    let graph = proto::Graph {
        node: vec![proto::Node { output: vec!["n".into()], ..node }, sum],
        initializer: constants,
        input: vec![info("x", &[1])],
        output: vec![info("y", &[])],
        ..Default::default()
    };
    let inputs = [(vec![1], vec![0.])];
    let (_, found) = block_on(onnx::evaluate(&model(graph).encode_to_vec(), &inputs, &Device::cpu(), false)).unwrap();
    assert_eq!(found, expected);
}

#[test]
fn constants_are_combined_chosen_and_moved_in_place() {
    let a = || floats("a", &[2, 3], vec![1., 2., 3., 4., 5., 6.]);
    let row = || floats("row", &[3], vec![10., 20., 30.]);
    let column = || floats("column", &[2, 1], vec![100., 200.]);
    let two = || floats("two", &[], vec![2.]);
    folds(node("Sub", &["a", "row"], ""), vec![a(), row()], &[-9., -18., -27., -6., -15., -24.]);
    folds(node("Sub", &["row", "a"], ""), vec![a(), row()], &[9., 18., 27., 6., 15., 24.]);
    folds(node("Sub", &["column", "row"], ""), vec![row(), column()], &[90., 80., 70., 190., 180., 170.]);
    folds(node("Pow", &["two", "a"], ""), vec![a(), two()], &[2., 4., 8., 16., 32., 64.]);
    folds(node("Sum", &["a", "a", "two"], ""), vec![a(), two()], &[4., 6., 8., 10., 12., 14.]);
    folds(node("Transpose", &["a"], ""), vec![a()], &[1., 4., 2., 5., 3., 6.]);
    folds(
        node("Concat", &["a", "column"], "").int("axis", 1),
        vec![a(), column()],
        &[1., 2., 3., 100., 4., 5., 6., 200.],
    );
    // Three blocks of rows, the last one not whole.
    let tall = || floats("tall", &[1, 37, 2], (0..74).map(|i| i as f32).collect());
    let columns: Vec<f32> = (0..74).map(|i| (i % 37 * 2 + i / 37) as f32).collect();
    folds(node("Transpose", &["tall"], "").ints("perm", &[0, 2, 1]), vec![tall()], &columns);
    let cube = || floats("cube", &[2, 1, 2, 2], (0..8).map(|i| i as f32).collect());
    folds(
        node("Transpose", &["cube"], "").ints("perm", &[2, 0, 3, 1]),
        vec![cube()],
        &[0., 1., 4., 5., 2., 3., 6., 7.],
    );
    // The condition is of a row, the choices are of a matrix and of a column.
    let kept = || floats("kept", &[3], vec![0., 1., 0.]);
    let chosen = node("Where", &["kept", "a", "column"], "");
    folds(chosen, vec![kept(), a(), column()], &[100., 2., 100., 200., 5., 200.]);
    // Every second number from the last one of each row back, of the rows the second.
    let backwards = node("Slice", &["a", "from", "to", "axes", "by"], "");
    let lists = [("from", [1, -1]), ("to", [2, i64::MIN]), ("axes", [0, 1]), ("by", [i64::MAX, -2])];
    let lists = lists.map(|(name, list)| ints(name, &list)).to_vec();
    folds(backwards, [vec![a()], lists].concat(), &[6., 4.]);
    let picks = node("Gather", &["a", "picks"], "").int("axis", 1);
    folds(picks, vec![a(), ints("picks", &[2, -3])], &[3., 1., 6., 4.]);
    folds(node("EyeLike", &["a"], "").int("k", 1), vec![a()], &[0., 1., 0., 0., 0., 1.]);
}

#[test]
fn the_weights_of_a_recurrent_layer_are_counted_at_every_position() {
    let nodes = vec![
        node("Reshape", &["r", "line"], "l"),
        node("ConstantOfShape", &["w"], "ws"),
        node("ConstantOfShape", &["rw"], "rs"),
        node("LSTM", &["l", "ws", "rs"], "y"),
        node("Add", &["r", "y"], "x"),
    ];
    let sizes = vec![ints("line", &[192, 1, 1]), ints("w", &[1, 8192, 1]), ints("rw", &[1, 8192, 2048])];
    refused(&classifier(nodes, sizes), ErrorKind::Unsupported, &["LSTM", "MiB"]);
}

#[test]
fn attention_to_more_images_than_ask_is_refused() {
    let nodes = vec![
        node("Reshape", &["r", "tokens"], "q"),
        node("Mul", &["q", "three"], "keys"),
        node("Attention", &["q", "keys", "keys"], "y").int("q_num_heads", 2).int("kv_num_heads", 2),
        node("Reshape", &["y", "planes"], "x"),
    ];
    let constants = vec![
        ints("tokens", &[1, 48, 4]),
        ints("planes", &[1, 4, 8, 6]),
        floats("three", &[3, 1, 1], vec![0.5, 1., 2.]),
    ];
    refused(&classifier(nodes, constants), ErrorKind::Unsupported, &["Attention", "[3, 2, 48, 2]", "do not fit"]);
}

#[test]
fn what_lies_deep_within_is_refused() {
    // A graph in an attribute of a node of a graph, and so on.
    let mut inner = proto::Graph::default();
    for _ in 0..40 {
        let mut node = node("If", &["c"], "y");
        node.attribute.push(proto::Attribute {
            name: Some("then_branch".into()),
            g: Some(inner),
            ..Default::default()
        });
        inner = proto::Graph { node: vec![node], ..Default::default() };
    }
    refused(&model(inner), ErrorKind::Model, &["damaged"]);
    // Fields without an end within each other: a graph that is nothing but its own beginning.
    let bytes = [0x3a, 0xff, 0xff, 0xff, 0xff, 0x0f].repeat(50_000);
    let error = onnx::load(&bytes, &Default::default(), &Device::cpu()).err().expect("no model");
    assert_eq!(error.kind(), ErrorKind::Model);
}

#[test]
fn operators_of_two_are_refused_one_or_three() {
    for operator in ["Mod", "Less", "And", "LessOrEqual"] {
        for inputs in [vec!["r"], vec!["r", "r", "r"]] {
            let nodes = vec![node(operator, &inputs, "x")];
            refused(&classifier(nodes, vec![]), ErrorKind::Unsupported, &["2 are accepted"]);
        }
    }
    refused(&classifier(vec![node("Where", &["r", "r"], "x")], vec![]), ErrorKind::Unsupported, &["Where", "3 are"]);
}

#[test]
fn results_of_several_outputs_may_be_constants() {
    let dynamic = proto::Node {
        output: ["q", "s", "z"].map(str::to_owned).to_vec(),
        ..node("DynamicQuantizeLinear", &["half"], "")
    };
    let nodes = vec![dynamic, node("Cast", &["q"], "f").int("to", 1), node("Add", &["r", "f"], "x")];
    outcome(&classifier(nodes, vec![floats("half", &[1], vec![0.5])])).expect("a sound model");
}

#[test]
fn gradients_by_a_matrix_that_meets_several_are_added_up() {
    // a, the first channel, is [1, 1, 3, 4]; b has a matrix of 4 × 2 for each class, all numbers of whose row k are k + 1 for
    // class 0 and 10 · (k + 1) for class 1. The score is the mean over 3 × 2 results, so its gradient by a[y, k] is
    // 2 · (k + 1) / 6 for class 0 and ten times that for class 1; HiResCAM's map is that times a.
    let matrices = (0..16).map(|i| if i < 8 { 1. } else { 10. } * (i % 8 / 2 + 1) as f32).collect();
    let nodes = vec![
        node("Conv", &["input", "first"], "a"),
        node("MatMul", &["a", "b"], "c"),
        node("GlobalAveragePool", &["c"], "g"),
        node("Flatten", &["g"], "scores"),
    ];
    let initializer = vec![floats("first", &[1, 3, 1, 1], vec![1., 0., 0.]), floats("b", &[1, 2, 4, 2], matrices)];
    let (input, output) = (vec![info("input", &[1, 3, 3, 4])], vec![info("scores", &[1, 2])]);
    let bytes = model(proto::Graph { node: nodes, initializer, input, output, ..Default::default() }).encode_to_vec();
    let network = Rc::new(onnx::load(&bytes, &Default::default(), &Device::cpu()).unwrap());
    let values: Vec<f32> = (0..36).map(|i| i as f32 / 12.).collect();
    let prediction = block_on(Prediction::new(network.clone(), &values)).unwrap();
    for (class, factor) in [(0, 1.), (1, 10.)] {
        let layers = vec![network.layer("a").unwrap()];
        let options =
            ExplainOptions { method: Method::HiResCam, target_class: Some(class), layers, ..Default::default() };
        let explanation = block_on(prediction.explain(&options, &|_| {}, &|| false)).unwrap();
        for (place, (found, a)) in explanation.map.values().iter().zip(&values[..12]).enumerate() {
            let expected = factor * (place % 4 + 1) as f32 / 3. * a;
            assert!((found - expected).abs() < 1e-5, "class {class}, place {place}: {found} instead of {expected}");
        }
    }
}

#[test]
fn packed_weights_are_as_many_as_their_sizes_say() {
    let product = |operator: &str, k: i64, n: i64, block: i64| {
        let packed = node(operator, &["r", "w", "b"], "x").int("K", k).int("N", n).int("block_size", block);
        classifier(vec![packed], vec![])
    };
    for operator in ["MatMulNBits", "MatMulBnb4"] {
        let huge = (1 << 24) - 1;
        refused(&product(operator, huge, huge, 16), ErrorKind::Unsupported, &[operator, "2 GiB"]);
        refused(&product(operator, 0, -1, 0), ErrorKind::Unsupported, &[operator, "1 to 16777215"]);
        refused(&product(operator, 6, 1 << 20, 16), ErrorKind::Unsupported, &[operator, "has 12 numbers"]);
    }
    refused(&product("MatMulNBits", 6, 4, 3), ErrorKind::Unsupported, &["whole bytes"]);
}

#[test]
fn a_great_many_questions_for_numbers_take_no_longer_than_others() {
    let count = 20_000;
    let mut nodes = vec![node("Softmax", &["r"], "s")];
    let name = |i: usize| format!("n{i}");
    nodes.extend((0..count).map(|i| node("IsNaN", &["s"], &name(i))));
    nodes.push(node("Where", &[&name(count - 1), "r", "s"], "x"));
    assert!(outcome(&classifier(nodes, vec![])).is_ok());
}

#[test]
fn numbers_for_two_axes_are_refused_along_one() {
    let along_a_line = |node: proto::Node| {
        let nodes = vec![
            self::node("Reshape", &["r", "line"], "l"),
            node,
            self::node("ReduceMean", &["p"], "m").ints("axes", &[2]),
            self::node("Reshape", &["m", "places"], "x"),
        ];
        let kernel = floats("kernel", &[4, 4, 3], vec![1.; 48]);
        classifier(nodes, vec![ints("line", &[1, 4, 48]), ints("places", &[1, 4, 1, 1]), kernel])
    };
    for operator in ["MaxPool", "AveragePool", "LpPool"] {
        let window = node(operator, &["l"], "p").ints("kernel_shape", &[4, 5]).ints("pads", &[2, 2, 2, 2]);
        let pieces = [operator, "kernel_shape [4, 5]; one number"];
        refused(&along_a_line(window), ErrorKind::Unsupported, &pieces);
        let pads = node(operator, &["l"], "p").ints("kernel_shape", &[5]).ints("pads", &[1, 1, 1, 1]);
        refused(&along_a_line(pads), ErrorKind::Unsupported, &[operator, "pads [1, 1, 1, 1]; two numbers"]);
    }
    for operator in ["Conv", "ConvTranspose"] {
        let kernel = || node(operator, &["l", "kernel"], "p");
        assert!(outcome(&along_a_line(kernel().ints("pads", &[1, 1]).ints("strides", &[1]))).is_ok());
        let pads = along_a_line(kernel().ints("pads", &[1, 1, 1, 1]));
        refused(&pads, ErrorKind::Unsupported, &[operator, "pads [1, 1, 1, 1]; two numbers"]);
        for name in ["strides", "dilations"] {
            let two = along_a_line(kernel().ints(name, &[2, 2]));
            refused(&two, ErrorKind::Unsupported, &[operator, name, "[2, 2]; one number"]);
        }
    }
    let one = classifier(vec![node("MaxPool", &["r"], "x").ints("kernel_shape", &[3])], vec![]);
    refused(&one, ErrorKind::Unsupported, &["MaxPool", "kernel_shape [3]; two numbers"]);
}

#[test]
fn the_rounds_of_a_loop_are_layers_with_names_of_their_own() {
    let bytes = classifier(vec![repeated("rounds", None)], vec![ints("rounds", &[3])]).encode_to_vec();
    let network = onnx::load(&bytes, &Default::default(), &Device::cpu()).unwrap();
    let names: Vec<String> = network.layers().iter().map(|layer| layer.name.clone()).collect();
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{names:?}");
    let last = network.default_layer().to_owned();
    let named = network.layer(&last).unwrap();
    assert_eq!(named, network.default_layer_id());
    let prediction = block_on(Prediction::new(Rc::new(network), &[0.5; 144])).unwrap();
    let explain = |layers| {
        let options = ExplainOptions { layers, ..Default::default() };
        let explanation = block_on(prediction.explain(&options, &|_| {}, &|| false)).unwrap();
        (explanation.layers.clone(), explanation.map.clone())
    };
    assert_eq!(explain(vec![named]).0, [last.as_str()]);
    assert_eq!(explain(vec![named]), explain(vec![]));
}

#[test]
fn a_constant_may_be_sparse_and_is_never_made_up() {
    let places = proto::Tensor { dims: vec![2], ..ints("", &[0, 2]) };
    let sparse =
        proto::SparseTensor { values: Some(floats("", &[2], vec![5., -3.])), indices: Some(places), dims: vec![3] };
    let constant = |attribute: proto::Attribute| {
        let mut made = node("Constant", &[], "k");
        made.attribute.push(attribute);
        let graph = proto::Graph {
            node: vec![made, node("Add", &["x", "k"], "y")],
            input: vec![info("x", &[1, 1, 1, 3])],
            output: vec![info("y", &[])],
            ..Default::default()
        };
        let inputs = [(LINE.to_vec(), vec![1., 2., 3.])];
        block_on(onnx::evaluate(&model(graph).encode_to_vec(), &inputs, &Device::cpu(), false))
    };
    let named = |name: &str| proto::Attribute { name: Some(name.into()), ..Default::default() };
    let (_, found) = constant(proto::Attribute { sparse: Some(sparse), ..named("sparse_value") }).unwrap();
    assert_eq!(found, [6., 2., 0.]);
    // Writers that leave out what is 0.
    assert_eq!(constant(named("value_float")).unwrap().1, [1., 2., 3.]);
    let error = constant(proto::Attribute { s: Some("7".into()), ..named("value_string") }).unwrap_err();
    assert!(error.message().contains("input 1 is a string"), "{error}");
}

#[test]
fn a_size_that_nobody_named_is_told_where_it_does_not_fit() {
    let mut flat = classifier(vec![], vec![floats("all", &[192, 3], vec![0.01; 576])]);
    let graph = flat.graph.as_mut().unwrap();
    graph.node.truncate(2);
    graph.node.extend([node("Flatten", &["r"], "f"), node("Gemm", &["f", "all", "b"], "scores")]);
    let open = || proto::Dimension { value: None };
    let shape = graph.input[0].r#type.as_mut().and_then(|of| of.tensor.as_mut()).and_then(|of| of.shape.as_mut());
    shape.unwrap().dim.splice(2.., [open(), open()]);
    refused(&flat, ErrorKind::Unsupported, &["`scores`", "224 × 224 was taken"]);
    let options = onnx::LoadOptions { input_size: Some((6, 8)), ..Default::default() };
    onnx::load(&flat.encode_to_vec(), &options, &Device::cpu()).unwrap();
}

#[test]
fn the_first_two_of_three_operands_may_be_smaller_than_the_third() {
    let graph = proto::Graph {
        node: vec![node("Sum", &["x", "z", "w"], "s"), node("Flatten", &["s"], "y").int("axis", 0)],
        initializer: vec![
            floats("z", &[1, 2, 1, 1], vec![10., 20.]),
            floats("w", &[1, 2, 1, 1, 3], vec![100., 200., 300., 400., 500., 600.]),
        ],
        input: vec![info("x", &[1, 2, 1, 3])],
        output: vec![info("y", &[])],
        ..Default::default()
    };
    let inputs = [(vec![1, 2, 1, 3], vec![1., 2., 3., 4., 5., 6.])];
    for on_reference_engine in [false, true] {
        let bytes = model(graph.clone()).encode_to_vec();
        let (_, found) = block_on(onnx::evaluate(&bytes, &inputs, &Device::cpu(), on_reference_engine)).unwrap();
        assert_eq!(found, [111., 212., 313., 124., 225., 326., 411., 512., 613., 424., 525., 626.]);
    }
}

/// The scores and the probabilities of a classifier with further nodes, of which `outputs` are given.
fn explained(nodes: Vec<proto::Node>, constants: Vec<proto::Tensor>, outputs: &[&str]) -> [Vec<f32>; 2] {
    let mut model = classifier(vec![node("Relu", &["r"], "x")], constants);
    let graph = model.graph.as_mut().unwrap();
    graph.node.extend(nodes);
    graph.output = outputs.iter().map(|name| info(name, &[])).collect();
    let network = onnx::load(&model.encode_to_vec(), &Default::default(), &Device::cpu()).unwrap();
    let values: Vec<f32> = (0..144).map(|i| (i % 5) as f32 / 5.).collect();
    let prediction = block_on(Prediction::new(Rc::new(network), &values)).unwrap();
    [prediction.scores().to_vec(), prediction.probabilities().to_vec()]
}

#[test]
fn of_several_outputs_what_is_made_of_the_others_is_explained() {
    // The mean of two heads, as of DeiT with its teacher.
    let heads = || {
        let other = floats("w2", &[4, 3], (0..12).map(|i| ((i * 5) % 7) as f32 - 3.).collect());
        let nodes = vec![
            node("Gemm", &["f", "w2", "b"], "other"),
            node("Add", &["scores", "other"], "sum"),
            node("Div", &["sum", "two"], "mean"),
        ];
        (nodes, vec![other, floats("two", &[], vec![2.])])
    };
    let of = |outputs: &[&str]| explained(heads().0, heads().1, outputs);
    assert_eq!(of(&["mean", "scores", "other"]), of(&["mean"]));
    assert_ne!(of(&["mean"]), of(&["scores"]));
    // Several labels, and probabilities at another temperature: as the file has them, in either order.
    for nodes in [
        vec![node("Reshape", &["scores", "shape"], "flat"), node("Sigmoid", &["flat"], "probabilities")],
        vec![node("Div", &["scores", "two"], "cool"), node("Softmax", &["cool"], "probabilities")],
        vec![node("HardSigmoid", &["scores"], "probabilities")],
    ] {
        let constants = || vec![ints("shape", &[1, 3]), floats("two", &[], vec![2.])];
        let alone = explained(nodes.clone(), constants(), &["probabilities"]);
        assert_eq!(explained(nodes.clone(), constants(), &["scores", "probabilities"]), alone, "{nodes:?}");
        assert_eq!(explained(nodes, constants(), &["probabilities", "scores"]), alone);
    }
    // What is made of the image as well is no other form of the scores.
    for order in [["scores", "brightness"], ["brightness", "scores"]] {
        let nodes = vec![
            node("ReduceMean", &["input"], "mean").int("keepdims", 1),
            node("Reshape", &["mean", "one"], "brightness"),
            node("Mul", &order, "weighted"),
            node("Greater", &["weighted", "half"], "above"),
        ];
        let constants = vec![ints("one", &[1, 1]), floats("half", &[], vec![0.5])];
        let found = explained(nodes, constants, &["above", "weighted"]);
        assert_ne!(found[0], explained(vec![], vec![], &["scores"])[0]);
        assert!(found[0].iter().all(|score| score.fract() != 0.), "{found:?}");
    }
}

#[test]
fn a_file_may_name_the_best_class() {
    let words = |name: &str, values: &[&str]| {
        let strings = values.iter().map(|value| value.as_bytes().to_vec().into()).collect();
        proto::Attribute { name: Some(name.into()), strings, ..Default::default() }
    };
    let mut names = node("Constant", &[], "names");
    names.attribute.push(words("value_strings", &["cat", "dog", "ox"]));
    let best = node("ArgMax", &["scores"], "best").int("axis", 1);
    let named = node("Gather", &["names", "best"], "label");
    let alone = explained(vec![], vec![], &["scores"]);
    assert_eq!(explained(vec![names.clone(), best.clone(), named.clone()], vec![], &["label", "scores"]), alone);
    // As a tensor of the file, and where nobody takes it.
    let tensor = proto::Tensor { dims: vec![3], data_type: Some(8), name: Some("names".into()), ..Default::default() };
    assert_eq!(explained(vec![best, named], vec![tensor.clone()], &["scores", "label"]), alone);
    assert_eq!(explained(vec![], vec![tensor], &["scores"]), alone);
    // No step takes one.
    let added = vec![names, node("Add", &["r", "names"], "x")];
    refused(&classifier(added, vec![]), ErrorKind::Unsupported, &["`x` (Add)", "is a string; numbers are accepted"]);
}

/// An If that holds, with these nodes, of which the last gives the result.
fn branch(nodes: Vec<proto::Node>, parameters: Vec<proto::Tensor>, output: &str) -> proto::Node {
    let result = nodes.last().unwrap().output[0].clone();
    let graph =
        proto::Graph { node: nodes, initializer: parameters, output: vec![info(&result, &[])], ..Default::default() };
    let with = |name: &str| proto::Attribute { name: Some(name.into()), g: Some(graph.clone()), ..Default::default() };
    let mut node = node("If", &["yes"], output);
    node.attribute = vec![with("then_branch"), with("else_branch")];
    node
}

fn yes() -> proto::Tensor {
    ints("yes", &[1])
}

#[test]
fn names_inside_a_branch_or_a_loop_are_its_own() {
    // `z` of outside is exp(r), that of inside −r, as a step or as a constant.
    let sum = |inside: &str| {
        let nodes = vec![
            node("Exp", &["r"], "z"),
            branch(vec![node("Neg", &["r"], inside), node("Relu", &[inside], "result")], vec![], "branched"),
            node("Add", &["branched", "z"], "x"),
        ];
        outcome(&classifier(nodes, vec![yes()])).unwrap()
    };
    assert_eq!(sum("z"), sum("other"));
    let constant = |inside: &str| {
        let nodes = vec![
            node("Exp", &["r"], "z"),
            branch(vec![node("Mul", &["r", inside], "result")], vec![floats(inside, &[1], vec![7.])], "branched"),
            node("Add", &["branched", "z"], "x"),
        ];
        outcome(&classifier(nodes, vec![yes()])).unwrap()
    };
    assert_eq!(constant("z"), constant("other"));
    let repeated = |outside: &str| {
        let nodes = vec![node("Exp", &["r"], outside), repeated("rounds", None), node("Add", &["x", outside], "y")];
        let mut model = classifier(nodes, vec![ints("rounds", &[2])]);
        let graph = model.graph.as_mut().unwrap();
        graph.node.iter_mut().filter(|node| node.operator.as_deref() == Some("GlobalAveragePool")).for_each(|node| {
            node.input = vec!["y".into()];
        });
        outcome(&model).unwrap()
    };
    assert_eq!(repeated("v"), repeated("other"));
    assert_eq!(repeated("v2"), repeated("other"));
}

#[test]
fn what_a_branch_takes_from_outside_may_stand_behind_it() {
    let late = vec![branch(vec![node("Relu", &["late"], "result")], vec![], "x"), node("Exp", &["r"], "late")];
    let early = vec![node("Exp", &["r"], "late"), branch(vec![node("Relu", &["late"], "result")], vec![], "x")];
    let [late, early] = [late, early].map(|nodes| outcome(&classifier(nodes, vec![yes()])).unwrap());
    assert_eq!(late, early);
}

#[test]
fn attributes_of_a_call_reach_the_branches_of_a_function() {
    let taken = |name: &str| proto::Attribute { of_caller: Some("slope".into()), ..float(name, 0.) };
    let float_of = |value: f32| float("slope", value);
    let found = |given: Vec<proto::Attribute>, defaults: Vec<proto::Attribute>| {
        let mut leaky = node("LeakyRelu", &["i"], "result");
        leaky.attribute = vec![proto::Attribute { f: None, ..taken("alpha") }];
        let mut call = call("f", "c", "x");
        call.attribute = given;
        let mut model = classifier(vec![call], vec![]);
        let nodes = vec![node("Constant", &[], "yes").ints("value_ints", &[1]), branch(vec![leaky], vec![], "o")];
        model.functions = vec![proto::Function { defaults, ..function("f", nodes) }];
        outcome(&model).unwrap()
    };
    let alone = |alpha: f32| {
        let mut leaky = node("LeakyRelu", &["c"], "x");
        leaky.attribute = vec![float("alpha", alpha)];
        outcome(&classifier(vec![leaky], vec![])).unwrap()
    };
    assert_eq!(found(vec![float_of(0.5)], vec![float_of(0.25)]), alone(0.5));
    assert_eq!(found(vec![], vec![float_of(0.25)]), alone(0.25));
    assert_ne!(alone(0.25), alone(0.5));
}

fn float(name: &str, value: f32) -> proto::Attribute {
    proto::Attribute { name: Some(name.into()), f: Some(value), ..Default::default() }
}

#[test]
fn what_is_made_of_a_choice_is_a_choice_as_long_as_it_is_only_named() {
    let alone = explained(vec![], vec![], &["scores"]);
    let best = || node("ArgMax", &["scores"], "best").int("axis", 1).int("keepdims", 0);
    let top = || vec![node("TopK", &["scores", "two"], "most")];
    // Its number from 1 on, whether it is the second, its own name.
    for named in [
        node("Add", &["best", "one"], "label"),
        node("Equal", &["best", "one"], "label"),
        node("Gather", &["list", "best"], "label"),
    ] {
        let constants = vec![ints("one", &[1]), ints("list", &[7, 8, 9])];
        assert_eq!(explained(vec![best(), named], constants, &["label"]), alone);
    }
    // A row of numbers for each class, and sums of the best, are something else.
    let constants = || {
        let table = floats("table", &[3, 3], vec![1.; 9]);
        vec![table, ints("two", &[2]), floats("weights", &[2, 3], vec![1.; 6])]
    };
    let refuses = |nodes: Vec<proto::Node>, words: &[&str]| {
        let mut model = classifier(vec![node("Relu", &["r"], "x")], constants());
        let graph = model.graph.as_mut().unwrap();
        let last = nodes.last().unwrap().output[0].clone();
        graph.node.extend(nodes);
        graph.output = vec![info(&last, &[])];
        refused(&model, ErrorKind::Unsupported, words);
    };
    let made = "made of a choice of the best";
    let row = vec![best(), node("Gather", &["table", "best"], "row")];
    let sums = [top(), vec![node("MatMul", &["most", "weights"], "sums")]].concat();
    let count = vec![best(), node("Shape", &["best"], "sides"), node("ConstantOfShape", &["sides"], "count")];
    for nodes in [row, sums.clone(), count] {
        let last = nodes.last().unwrap().output[0].clone();
        refuses(nodes.clone(), &[&last, made]);
        // Beside the scores it takes nothing away.
        assert_eq!(explained(nodes, constants(), &[&last, "scores"]), alone);
    }
    // In the middle of a network it is missed.
    let mixed = [sums, vec![node("Add", &["scores", "sums"], "mixed")]].concat();
    refuses(mixed, &["`mixed` (Add)", "is made of a choice of the best; computed numbers are accepted"]);
    let shares = [top(), vec![node("Softmax", &["most"], "shares")]].concat();
    assert_eq!(explained(shares, constants(), &["shares"]), alone);
    // The highest of a map is one score, where nothing names its place.
    let highest = node("ReduceMax", &["scores"], "highest").int("keepdims", 1);
    assert_eq!(explained(vec![highest.clone()], vec![], &["highest"])[0].len(), 1);
    assert_eq!(explained(vec![highest, best()], vec![], &["highest", "best"]), alone);
}

#[test]
fn a_result_that_is_not_computed_is_named_where_it_is_used() {
    let mut normalized = node("LayerNormalization", &["r", "scale"], "n");
    normalized.output.push("mean".into());
    let used = vec![normalized.clone(), node("Add", &["n", "mean"], "x")];
    let scale = || vec![floats("scale", &[6], vec![1.; 6])];
    refused(
        &classifier(used, scale()),
        ErrorKind::Unsupported,
        &["`x` (Add)", "its input `mean` is a result that is not"],
    );
    let unused = vec![normalized, node("Relu", &["n"], "x")];
    assert!(outcome(&classifier(unused, scale())).is_ok());
}

#[test]
fn a_file_for_several_images_is_told_to_be_one() {
    let nodes = vec![node("Reshape", &["r", "rows"], "rows of all"), node("Reshape", &["rows of all", "planes"], "x")];
    let mut model = classifier(nodes, vec![ints("rows", &[8, 8, 6]), ints("planes", &[2, 4, 8, 6])]);
    model.graph.as_mut().unwrap().input = vec![info("input", &[2, 3, 8, 6])];
    refused(&model, ErrorKind::Unsupported, &["[8, 8, 6]", "made for 2 images at once", "a batch of 1"]);
}

#[test]
fn integers_of_a_shape_are_reduced_along_any_axes() {
    // Of [[1, 4], [8, 6]]: along the second axis, and all.
    let found = |operator: &str, axes: &[i64]| {
        let mut reduced = node(operator, &["two by two"], "reduced").int("keepdims", 0);
        if !axes.is_empty() {
            reduced = reduced.ints("axes", axes);
        }
        let graph = proto::Graph {
            node: vec![
                node("Shape", &["x"], "shape"),
                node("Reshape", &["shape", "form"], "two by two"),
                reduced,
                node("Cast", &["reduced"], "number").int("to", 1),
                node("Mul", &["one", "number"], "y"),
            ],
            initializer: vec![ints("form", &[2, 2])],
            input: vec![info("x", &[1, 4, 8, 6]), info("one", &[1, 1])],
            output: vec![info("y", &[])],
            ..Default::default()
        };
        let inputs = [(vec![1, 4, 8, 6], vec![0.; 192]), (vec![1, 1], vec![1.])];
        block_on(onnx::evaluate(&model(graph).encode_to_vec(), &inputs, &Device::cpu(), false)).unwrap().1
    };
    assert_eq!([found("ReduceSum", &[1]), found("ReduceSum", &[])], [vec![5., 14.], vec![19.]]);
    assert_eq!([found("ReduceMax", &[1]), found("ReduceMax", &[0])], [vec![4., 8.], vec![8., 6.]]);
    assert_eq!([found("ReduceMin", &[-1]), found("ReduceMin", &[])], [vec![1., 6.], vec![1.]]);
    assert_eq!([found("ReduceProd", &[0]), found("ReduceProd", &[])], [vec![8., 24.], vec![192.]]);
    // Of none, as of the shape of a single number.
    let none = vec![ints("none", &[])];
    let nodes = vec![
        node("ReduceProd", &["none"], "reduced").int("keepdims", 0),
        node("Cast", &["reduced"], "number").int("to", 1),
        node("Mul", &["x", "number"], "y"),
    ];
    all_give(nodes, none, (LINE, &[1., 2., 3.]), &[1., 2., 3.], 17);
}

#[test]
fn names_of_a_function_are_none_of_the_files() {
    let found = |other: &str| {
        let inside = function("f", vec![node("Exp", &["i"], "q"), node("Neg", &["q"], "o")]);
        let nodes = vec![node("Sin", &["r"], other), call("f", "r", "y"), node("Add", &["y", other], "x")];
        let mut model = classifier(nodes, vec![]);
        model.functions = vec![inside];
        outcome(&model).unwrap()
    };
    assert_eq!(found("y/q"), found("other"));
}

#[test]
fn a_name_inside_a_branch_is_nothing_that_it_waits_for() {
    // The branch's own `t` is another one than that which is made of its result.
    let found = |inside: &str| {
        let nodes = vec![
            branch(vec![node("Neg", &["r"], inside), node("Relu", &[inside], "result")], vec![], "q"),
            node("Sigmoid", &["q"], "t"),
            node("Exp", &["t"], "x"),
        ];
        outcome(&classifier(nodes, vec![yes()])).unwrap()
    };
    assert_eq!(found("t"), found("other"));
}
