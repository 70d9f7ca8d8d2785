"""Writes `ops.safetensors`: single operators (and a few short chains), their inputs and their expected outputs.

Sources: `node` = ONNX's own node tests (`onnx.backend.test.case.node`), `pytorch` = what PyTorch's exporter made of
single modules (`onnx/backend/test/data/pytorch-converted`), both with the outputs that ship with the `onnx` package;
`onnxruntime` = cases written here (older forms of operators, shapes computed in the graph, quantisation, pooling
corners), with onnxruntime's outputs. onnxruntime agrees with every case of the first two.

Only f32 data of rank 1..=4 is fed and expected; parameters, shapes and axes are initialisers. Each model's opset is the
lowest in 8..=20 at which onnxruntime accepts it and gives the expected values, for `onnxruntime` cases the stated one.

Layout: `CASE/model` u8: the bytes of the ONNX file; `CASE/in/NAME`, `CASE/out/NAME`: the graph's inputs and outputs (f32).
`__metadata__` (JSON): `cases` { CASE: { "source", "operators", "opset", "inputs": [names], "outputs": [names] } },
`versions`.
"""

import pathlib
import warnings

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnx.backend.test.case.node import collect_testcases

from fixture import HERE, save, versions

OPERATORS = set(
    """Conv Gemm MatMul BatchNormalization LRN InstanceNormalization MaxPool AveragePool GlobalAveragePool GlobalMaxPool
    Relu LeakyRelu PRelu Clip Sigmoid HardSigmoid HardSwish Elu Gelu Erf Tanh Softmax LogSoftmax Add Sub Mul Div Pow Sqrt
    Sum Min Max Reshape Flatten Transpose Squeeze Unsqueeze Concat Split Slice Pad Identity Dropout ReduceMean Gather
    Expand Resize DequantizeLinear LayerNormalization Exp Neg Abs Reciprocal Mean ReduceL1 ReduceL2 ReduceSumSquare ReduceMin Softplus Selu Mish Upsample""".split()
)
# Inputs by position that are a network's parameters.
PARAMETERS = {
    "Conv": {1, 2},
    "Gemm": {1, 2},
    "BatchNormalization": {1, 2, 3, 4},
    "InstanceNormalization": {1, 2},
    "LayerNormalization": {1, 2},
    "PRelu": {1},
    "Clip": {1, 2},
    "Pad": {1, 2, 3},
    "Resize": {1, 2, 3},
    "Upsample": {1},
    "Dropout": {1, 2},
    "Reshape": {1},
    "DequantizeLinear": {0, 1, 2},
}
# Not for classifiers: training, other number types, masks, argmax, cubic and cropping resampling, empty tensors.
LEFT_OUT = ("training", "mask", "argmax", "uint8", "int8", "int16", "int32", "int64", "uint", "float16", "float64", "bfloat")
LEFT_OUT += ("cubic", "tf_crop", "antialias", "zero_size", "dropout_random", "wrap_pad", "not_larger", "not_smaller", "e4m3", "e5m2")
LEFT_OUT += ("int2", "int4", "float4", "blocked", "min_greater", "reflect_pad", "edge_pad", "half_pixel_symmetric", "_3d_dil", "expanded")
LARGEST = 2400  # elements of a case's inputs and outputs together


def run(proto, feeds):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def graph_model(nodes, feeds, outputs, initialisers, opset):
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, array.shape) for name, array in feeds.items()]
    made = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()
    ]
    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in initialisers.items()]
    graph = helper.make_graph(nodes, "case", inputs, made, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def lowest_opset(nodes, feeds, outputs, initialisers, original):
    """The model at the lowest opset that gives the expected outputs, or None."""
    for opset in [*range(8, 21), original]:
        shapes = {name: array.shape for name, array in outputs.items()}
        proto = graph_model(nodes, feeds, shapes, initialisers, opset)
        try:
            onnx.checker.check_model(proto, full_check=True)
            actual = run(proto, feeds)
        except Exception:  # Not valid at this opset; the checker's and the runtime's errors have no common type.
            continue
        if all(
            a.shape == e.shape and np.allclose(a, e, rtol=1e-3, atol=1e-5) for a, e in zip(actual, outputs.values())
        ):
            return opset, proto
    return None


def array_of(value):
    return numpy_helper.to_array(value) if isinstance(value, TensorProto) else np.asarray(value)


def node_cases():
    """(name, node, inputs, outputs, opset) of ONNX's own node tests that fit."""
    for case in collect_testcases(None):
        nodes = case.model.graph.node
        if len(nodes) != 1 or nodes[0].op_type not in OPERATORS or any(word in case.name for word in LEFT_OUT):
            continue
        node = nodes[0]
        inputs, outputs = case.data_sets[0]
        named = iter(zip((value.name for value in case.model.graph.input), map(array_of, inputs)))
        given = dict(named)
        yield case.name.removeprefix("test_"), node, given, [array_of(o) for o in outputs], case.model.opset_import[0].version


def collect_node(cases, skipped):
    for name, node, given, outputs, original in node_cases():
        parameters = PARAMETERS.get(node.op_type, set())
        feeds, initialisers = {}, {}
        for position, value in enumerate(node.input):
            if value in given:
                array = given[value]
                fed = array.dtype == np.float32 and position not in parameters
                (feeds if fed else initialisers)[value] = array
        expected = dict(zip((o for o in node.output if o), outputs))
        everything = [*feeds.values(), *expected.values()]
        if not all(a.dtype == np.float32 and 1 <= a.ndim <= 4 and a.size for a in everything):
            if node.op_type != "DequantizeLinear":
                skipped.append(f"{name} (types or ranks)")
                continue
        if sum(a.size for a in [*everything, *initialisers.values()]) > LARGEST:
            skipped.append(f"{name} (size)")
            continue
        if not feeds:
            # A graph of constants alone: something has to be fed, so the result is added to zeros.
            zero = np.zeros_like(next(iter(expected.values())))
            feeds = {"zero": zero}
            inner = onnx.NodeProto.FromString(node.SerializeToString())
            (result,) = node.output
            inner.output[0] = "constant"
            nodes = [inner, helper.make_node("Add", ["constant", "zero"], [result])]
        else:
            nodes = [node]
        found = lowest_opset(nodes, feeds, expected, initialisers, original)
        if found is None:
            skipped.append(f"{name} (onnxruntime)")
            continue
        add(cases, f"node_{name}", "node", found[1], feeds, expected)


def collect_pytorch(cases, skipped):
    root = pathlib.Path(onnx.__file__).parent / "backend/test/data/pytorch-converted"
    wanted = ("Conv2d", "AvgPool2d", "MaxPool2d", "BatchNorm2d", "PReLU_2d", "Linear", "ConstantPad2d", "ZeroPad2d", "softmax", "ELU")
    for folder in sorted(root.iterdir()):
        name = folder.name.removeprefix("test_")
        if not name.startswith(wanted):
            continue
        proto = onnx.load(folder / "model.onnx")
        data = folder / "test_data_set_0"
        arrays = [
            numpy_helper.to_array(TensorProto.FromString((data / f"{kind}_0.pb").read_bytes())) for kind in ("input", "output")
        ]
        if sum(a.size for a in arrays) > LARGEST or arrays[0].ndim > 4:
            skipped.append(f"{name} (size or rank)")
            continue
        initialised = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
        feeds = {value.name: arrays[0] for value in proto.graph.input if value.name not in initialised}
        expected = {proto.graph.output[0].name: arrays[1]}
        found = lowest_opset(proto.graph.node, feeds, expected, initialised, 8)
        if found is None:
            skipped.append(f"{name} (onnxruntime)")
            continue
        add(cases, f"pytorch_{name}", "pytorch", found[1], feeds, expected)


def add(cases, name, source, proto, feeds, outputs):
    if name in cases:
        raise ValueError(f"two cases are called {name}")
    cases[name] = (source, proto, feeds, outputs)


# ---- cases written here --------------------------------------------------------------------------------------------


def own_cases():
    """(name, opset, nodes, feeds, initialisers, number of outputs); onnxruntime says what comes out."""
    rng = np.random.default_rng(3)

    def f32(*shape):
        return rng.standard_normal(shape).astype(np.float32)

    def one(name, opset, op, feeds, initialisers=None, outputs=1, **attributes):
        """A case of one node, whose inputs are the feeds and then the initialisers, in order."""
        initialisers = initialisers or {}
        outs = ["y"] if outputs == 1 else [f"y{i}" for i in range(outputs)]
        names = [*feeds, *initialisers]
        return name, opset, [helper.make_node(op, names, outs, name="node", **attributes)], feeds, initialisers, outs

    i64 = lambda *values: np.array(values, np.int64)
    x = {"x": f32(1, 4, 7, 10)}
    small = {"x": f32(1, 3, 4, 5)}
    n = helper.make_node

    # Convolution: groups, dilation, strides and pads unlike in the two directions.
    weights = {"w": f32(6, 2, 3, 3), "b": f32(6)}
    yield one("conv_groups", 11, "Conv", x, weights, group=2, pads=[1, 1, 1, 1])
    yield one("conv_depthwise", 11, "Conv", x, {"w": f32(4, 1, 3, 3), "b": f32(4)}, group=4, strides=[2, 1], pads=[1, 0, 0, 1])
    yield one("conv_depthwise_multiplier", 11, "Conv", x, {"w": f32(8, 1, 3, 2)}, group=4, pads=[1, 1, 1, 1])
    yield one("conv_dilated", 11, "Conv", x, {"w": f32(5, 4, 3, 3), "b": f32(5)}, dilations=[2, 3], pads=[2, 3, 2, 3])
    yield one("conv_asymmetric_pads", 11, "Conv", x, {"w": f32(5, 4, 3, 2), "b": f32(5)}, pads=[0, 1, 2, 3], strides=[2, 3])
    yield one("conv_1x1_strided", 11, "Conv", x, {"w": f32(5, 4, 1, 1)}, strides=[2, 2])
    yield one("conv_even_kernel_same_lower", 8, "Conv", x, {"w": f32(3, 4, 2, 4)}, auto_pad="SAME_LOWER", kernel_shape=[2, 4])
    yield one("conv_even_kernel_same_upper", 8, "Conv", x, {"w": f32(3, 4, 2, 4)}, auto_pad="SAME_UPPER", strides=[2, 3], kernel_shape=[2, 4])
    yield one("conv_valid", 8, "Conv", x, {"w": f32(3, 4, 3, 3)}, auto_pad="VALID", kernel_shape=[3, 3])
    yield one("conv_groups_dilated_strided", 11, "Conv", x, weights, group=2, dilations=[2, 1], strides=[1, 2], pads=[2, 0, 2, 1])

    # Pooling at the borders.
    for op, extras in (("MaxPool", [{}]), ("AveragePool", [{"count_include_pad": 0}, {"count_include_pad": 1}])):
        for extra in extras:
            tail = "_count" if extra.get("count_include_pad") else ""
            yield one(f"{op}_ceil{tail}", 11, op, x, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1, **extra)
            yield one(f"{op}_ceil_pads{tail}", 11, op, x, kernel_shape=[3, 2], strides=[2, 3], pads=[1, 0, 1, 1], ceil_mode=1, **extra)
            yield one(f"{op}_asymmetric{tail}", 10, op, x, kernel_shape=[2, 3], strides=[1, 2], pads=[0, 1, 1, 2], **extra)
            yield one(f"{op}_same_upper{tail}", 8, op, x, kernel_shape=[3, 2], strides=[2, 2], auto_pad="SAME_UPPER", **extra)
            yield one(f"{op}_same_lower{tail}", 8, op, x, kernel_shape=[2, 2], strides=[2, 1], auto_pad="SAME_LOWER", **extra)
    yield one("MaxPool_negative", 12, "MaxPool", {"x": -np.abs(x["x"]) - 1}, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    yield one("MaxPool_dilated", 12, "MaxPool", x, kernel_shape=[2, 3], dilations=[3, 2])
    yield one("AveragePool_dilated", 19, "AveragePool", x, kernel_shape=[2, 3], dilations=[3, 2])
    yield one("GlobalMaxPool_wide", 8, "GlobalMaxPool", x)
    yield one("GlobalAveragePool_wide", 8, "GlobalAveragePool", x)

    # Normalisation.
    yield one("batch_norm_9", 9, "BatchNormalization", x, {"s": f32(4), "b": f32(4), "m": f32(4), "v": np.abs(f32(4)) + 0.1}, epsilon=1e-3)
    yield one("lrn_strong", 13, "LRN", {"x": f32(1, 7, 3, 4)}, size=3, alpha=0.3, beta=0.75, bias=2.0)
    yield one("lrn_alexnet", 8, "LRN", {"x": f32(1, 7, 3, 4)}, size=5, alpha=1e-4, beta=0.75, bias=1.0)
    yield one("instance_norm", 8, "InstanceNormalization", x, {"s": f32(4), "b": f32(4)})
    yield one("layer_norm_last", 17, "LayerNormalization", {"x": f32(1, 5, 6)}, {"s": f32(6), "b": f32(6)}, axis=-1, epsilon=1e-6)
    yield one("layer_norm_no_bias", 17, "LayerNormalization", small, {"s": f32(5)})

    # Activations.
    wide = {"x": (f32(1, 3, 4, 5) * 4)}
    for name, op, opset, attributes in (
        ("relu_8", "Relu", 8, {}),
        ("leaky_relu", "LeakyRelu", 8, {"alpha": 0.1}),
        ("elu", "Elu", 8, {"alpha": 1.3}),
        ("sigmoid_8", "Sigmoid", 8, {}),
        ("hard_sigmoid", "HardSigmoid", 8, {"alpha": 1 / 6, "beta": 0.5}),
        ("hard_swish", "HardSwish", 14, {}),
        ("tanh_8", "Tanh", 8, {}),
        ("erf_9", "Erf", 9, {}),
        ("gelu_exact", "Gelu", 20, {}),
        ("gelu_tanh", "Gelu", 20, {"approximate": "tanh"}),
        ("softplus", "Softplus", 8, {}),
        ("clip_6_both", "Clip", 8, {"min": 0.0, "max": 6.0}),
        ("clip_6_min", "Clip", 10, {"min": -0.5}),
        ("clip_6_max", "Clip", 8, {"max": 1.5}),
        ("clip_6_neither", "Clip", 8, {}),
    ):
        yield one(name, opset, op, wide, **attributes)
    yield one("clip_11_both", 11, "Clip", wide, {"lo": np.float32(0), "hi": np.float32(6)})
    yield "clip_11_max", 11, [n("Clip", ["x", "", "hi"], ["y"])], wide, {"hi": np.float32(1.5)}, ["y"]
    yield "clip_13_constants", 13, [
        n("Constant", [], ["lo"], value=numpy_helper.from_array(np.float32(-1))),
        n("Constant", [], ["hi"], value_float=2.0),
        n("Clip", ["x", "lo", "hi"], ["y"]),
    ], wide, {}, ["y"]
    yield one("prelu_channels", 9, "PRelu", wide, {"slope": f32(3, 1, 1)})
    yield one("prelu_one", 9, "PRelu", wide, {"slope": f32(1)})
    yield "swish", 13, [n("Sigmoid", ["x"], ["s"]), n("Mul", ["x", "s"], ["y"])], wide, {}, ["y"]
    gelu = {"r": np.float32(np.sqrt(2)), "one": np.float32(1), "half": np.float32(0.5)}
    yield "gelu_by_erf", 17, [
        n("Div", ["x", "r"], ["a"]), n("Erf", ["a"], ["e"]), n("Add", ["e", "one"], ["f"]),
        n("Mul", ["x", "f"], ["g"]), n("Mul", ["g", "half"], ["y"]),
    ], wide, gelu, ["y"]

    # Softmax: before opset 13 it flattens from the axis on.
    yield one("softmax_8_default", 8, "Softmax", {"x": f32(1, 12)})
    yield one("softmax_11_rank4_axis1", 11, "Softmax", small, axis=1)
    yield one("softmax_11_rank4_axis2", 11, "Softmax", small, axis=2)
    yield one("softmax_13_rank4_axis1", 13, "Softmax", small, axis=1)
    yield one("log_softmax_11_axis1", 11, "LogSoftmax", small, axis=1)
    yield one("log_softmax_13", 13, "LogSoftmax", {"x": f32(1, 12)})

    # Arithmetic against constants of every shape that broadcasts.
    for op in ("Add", "Sub", "Mul", "Div"):
        yield one(f"{op}_channels", 8, op, small, {"c": f32(3, 1, 1)})
        yield one(f"{op}_scalar", 14, op, small, {"c": np.float32(1.7)})
    yield one("Add_row", 13, "Add", small, {"c": f32(5)})
    yield one("Mul_both_ways", 13, "Mul", {"x": f32(1, 3, 1, 5), "z": f32(1, 1, 4, 1)})
    yield "Sub_constant_first", 13, [n("Sub", ["c", "x"], ["y"])], small, {"c": f32(3, 1, 1)}, ["y"]
    yield "Div_constant_first", 13, [n("Div", ["c", "x"], ["y"])], small, {"c": np.float32(2)}, ["y"]
    yield one("mul_squeeze_excite", 13, "Mul", {"x": f32(1, 3, 4, 5), "gate": f32(1, 3, 1, 1)})
    yield one("pow_square", 13, "Pow", small, {"e": np.float32(2)})
    yield one("pow_int_exponent", 13, "Pow", small, {"e": np.int64(3)})
    yield one("sqrt_positive", 8, "Sqrt", {"x": np.abs(f32(1, 3, 4, 5))})
    yield one("sum_three", 8, "Sum", {"x": f32(1, 3, 4, 5), "z": f32(1, 3, 1, 1), "w": f32(1, 3, 4, 5)})
    yield one("max_two", 13, "Max", {"x": f32(1, 3, 4, 5), "z": f32(1, 3, 1, 1)})
    yield one("min_constant", 13, "Min", small, {"c": np.float32(0.3)})

    # Products of matrices.
    yield one("gemm_linear", 13, "Gemm", {"x": f32(1, 6)}, {"w": f32(5, 6), "b": f32(5)}, transB=1)
    yield one("gemm_9_alpha_beta", 9, "Gemm", {"x": f32(1, 6)}, {"w": f32(6, 5), "b": f32(1, 5)}, alpha=0.5, beta=2.0)
    yield one("gemm_scalar_bias", 13, "Gemm", {"x": f32(2, 6)}, {"w": f32(6, 5), "b": f32(1)})
    yield one("matmul_linear", 13, "MatMul", {"x": f32(1, 6)}, {"w": f32(6, 5)})
    yield one("matmul_tokens", 13, "MatMul", {"x": f32(1, 4, 6)}, {"w": f32(6, 5)})
    yield one("matmul_attention", 13, "MatMul", {"x": f32(1, 2, 4, 6), "z": f32(1, 2, 6, 4)})

    # Shapes.
    yield one("reshape_0_and_minus_1", 8, "Reshape", small, {"shape": i64(0, -1)})
    yield one("reshape_5_then_back", 13, "Reshape", small, {"shape": i64(1, 15, 4)})
    yield one("flatten_1", 8, "Flatten", small, axis=1)
    yield one("flatten_negative", 13, "Flatten", small, axis=-2)
    yield one("transpose_nhwc", 13, "Transpose", small, perm=[0, 2, 3, 1])
    yield one("transpose_default_order", 8, "Transpose", {"x": f32(3, 5)})
    yield "channel_shuffle", 13, [
        n("Reshape", ["x", "five"], ["a"]), n("Transpose", ["a"], ["b"], perm=[0, 2, 1, 3, 4]), n("Reshape", ["b", "four"], ["y"]),
    ], {"x": f32(1, 6, 3, 2)}, {"five": i64(1, 2, 3, 3, 2), "four": i64(1, 6, 3, 2)}, ["y"]
    yield one("squeeze_11_attribute", 11, "Squeeze", {"x": f32(1, 7, 1, 1)}, axes=[2, 3])
    yield one("squeeze_13_input", 13, "Squeeze", {"x": f32(1, 7, 1, 1)}, {"axes": i64(-1, -2)})
    yield one("unsqueeze_11_attribute", 11, "Unsqueeze", {"x": f32(1, 7)}, axes=[2, 3])
    yield one("unsqueeze_13_input", 13, "Unsqueeze", {"x": f32(1, 7)}, {"axes": i64(2, 3)})
    yield one("concat_channels", 8, "Concat", {"x": f32(1, 3, 4, 5), "z": f32(1, 2, 4, 5), "w": f32(1, 1, 4, 5)}, axis=1)
    yield one("concat_width_negative_axis", 13, "Concat", {"x": f32(1, 3, 4, 5), "z": f32(1, 3, 4, 2)}, axis=-1)
    yield one("concat_zero_channels", 13, "Concat", small, {"zero": np.zeros((1, 2, 4, 5), np.float32)}, axis=1)
    yield one("split_2_attribute", 8, "Split", {"x": f32(1, 6, 3, 2)}, outputs=2, axis=1, split=[2, 4])
    yield one("split_2_equal", 8, "Split", {"x": f32(1, 6, 3, 2)}, outputs=3, axis=1)
    yield one("split_13_input", 13, "Split", {"x": f32(1, 6, 3, 2)}, {"split": i64(1, 5)}, outputs=2, axis=1)
    yield one("split_18_uneven", 18, "Split", {"x": f32(1, 7, 3, 2)}, outputs=3, axis=1, num_outputs=3)
    yield one("slice_1_attributes", 8, "Slice", small, axes=[1, 3], starts=[1, -3], ends=[3, 1000])
    yield one("slice_10_strided", 10, "Slice", small, {"starts": i64(0, 0), "ends": i64(4, 5), "axes": i64(2, 3), "steps": i64(2, 2)})
    yield one("slice_13_reversed", 13, "Slice", small, {"starts": i64(-1), "ends": i64(-1000), "axes": i64(3), "steps": i64(-1)})
    yield one("slice_int32_indices", 13, "Slice", small, {k: np.array([v], np.int32) for k, v in (("starts", 1), ("ends", 3), ("axes", 1))})
    yield one("pad_2_attributes", 8, "Pad", small, pads=[0, 0, 1, 2, 0, 0, 3, 0], value=0.5)
    yield one("pad_11_input", 11, "Pad", small, {"pads": i64(0, 2, 0, 1, 0, 1, 2, 0)})
    yield one("pad_negative", 13, "Pad", small, {"pads": i64(0, 0, -1, 1, 0, 0, 0, -2), "value": np.float32(0)})
    yield one("pad_reflect", 13, "Pad", small, {"pads": i64(0, 0, 1, 2, 0, 0, 2, 1)}, mode="reflect")
    yield one("pad_edge", 13, "Pad", small, {"pads": i64(0, 0, 1, 2, 0, 0, 2, 1)}, mode="edge")
    yield one("pad_18_axes", 18, "Pad", small, {"pads": i64(1, 2, 0, 1), "value": np.float32(0), "axes": i64(2, 3)})
    yield one("identity", 8, "Identity", small)
    yield one("dropout_10_ratio", 10, "Dropout", small, ratio=0.5)
    yield one("dropout_13", 13, "Dropout", small, {"ratio": np.float32(0.4)})
    yield one("reduce_mean_11_axes", 11, "ReduceMean", small, axes=[2, 3], keepdims=1)
    yield one("reduce_mean_11_flat", 11, "ReduceMean", small, axes=[-1, -2], keepdims=0)
    yield one("reduce_mean_13_channels", 13, "ReduceMean", small, axes=[1], keepdims=1)
    yield one("reduce_mean_18_axes", 18, "ReduceMean", small, {"axes": i64(2, 3)}, keepdims=0)
    yield one("gather_channels", 13, "Gather", small, {"indices": i64(2, 0, -1)}, axis=1)
    yield one("gather_first_token", 13, "Gather", {"x": f32(1, 4, 6)}, {"index": np.int64(0)}, axis=1)
    yield one("expand_gate", 13, "Expand", {"x": f32(1, 3, 1, 1)}, {"shape": i64(1, 3, 4, 5)})
    yield one("expand_ones", 13, "Expand", small, {"shape": i64(1, 1)})

    # Shapes computed in the graph, as the exporters write them.
    yield "flatten_by_shape", 11, [
        n("Shape", ["x"], ["s"]), n("Constant", [], ["zero"], value=numpy_helper.from_array(np.int64(0))),
        n("Gather", ["s", "zero"], ["batch"], axis=0), n("Unsqueeze", ["batch"], ["batches"], axes=[0]),
        n("Concat", ["batches", "rest"], ["shape"], axis=0), n("Reshape", ["x", "shape"], ["y"]),
    ], small, {"rest": i64(-1)}, ["y"]
    yield "view_by_shape_slices", 17, [
        n("Shape", ["x"], ["s"]), n("Slice", ["s", "zero", "two"], ["head"]), n("Slice", ["s", "two", "four"], ["tail"]),
        n("ReduceProd", ["tail"], ["pixels"], keepdims=1), n("Concat", ["head", "pixels"], ["shape"], axis=0),
        n("Reshape", ["x", "shape"], ["y"]),
    ], small, {"zero": i64(0), "two": i64(2), "four": i64(4)}, ["y"]
    yield "shape_arithmetic_resize", 17, [
        n("Shape", ["x"], ["s"]), n("Gather", ["s", "index"], ["height"], axis=0), n("Mul", ["height", "two"], ["twice"]),
        n("Cast", ["twice"], ["f"], to=TensorProto.FLOAT), n("Floor", ["f"], ["g"]), n("Cast", ["g"], ["h"], to=TensorProto.INT64),
        n("Unsqueeze", ["h", "axis"], ["hs"]), n("Concat", ["nc", "hs", "w"], ["sizes"], axis=0),
        n("Resize", ["x", "", "", "sizes"], ["y"], mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"),
    ], small, {"index": np.int64(2), "two": np.int64(2), "axis": i64(0), "nc": i64(1, 3), "w": i64(5)}, ["y"]
    yield "constant_of_shape", 9, [
        n("Shape", ["x"], ["s"]), n("ConstantOfShape", ["s"], ["c"], value=numpy_helper.from_array(np.array([0.25], np.float32))),
        n("Add", ["x", "c"], ["y"]),
    ], small, {}, ["y"]
    yield "shape_15_part", 17, [
        n("Shape", ["x"], ["s"], start=1, end=-1), n("Concat", ["one", "s", "minus"], ["shape"], axis=0), n("Reshape", ["x", "shape"], ["y"]),
    ], small, {"one": i64(1), "minus": i64(-1)}, ["y"]
    yield "half_weights_behind_cast", 13, [n("Cast", ["w16"], ["w"], to=TensorProto.FLOAT), n("Conv", ["x", "w"], ["y"])], x, {
        "w16": f32(3, 4, 3, 3).astype(np.float16)
    }, ["y"]

    # Resampling.
    grid = {"x": f32(1, 2, 3, 4)}
    yield one("upsample_9_nearest", 9, "Upsample", grid, {"scales": np.float32([1, 1, 2, 3])}, mode="nearest")
    yield one("upsample_9_linear", 9, "Upsample", grid, {"scales": np.float32([1, 1, 2, 2])}, mode="linear")
    yield one("upsample_8_nearest", 8, "Upsample", grid, mode="nearest", scales=[1.0, 1.0, 2.0, 2.0])
    yield one("resize_10_nearest", 10, "Resize", grid, {"scales": np.float32([1, 1, 2, 2])}, mode="nearest")
    yield one("resize_10_linear", 10, "Resize", grid, {"scales": np.float32([1, 1, 2, 2])}, mode="linear")
    for mode in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"):
        for sizes in ((5, 9), (2, 3)):
            word = "up" if sizes[0] > 3 else "down"
            yield f"resize_linear_{mode}_{word}", 13, [
                n("Resize", ["x", "", "", "sizes"], ["y"], mode="linear", coordinate_transformation_mode=mode)
            ], grid, {"sizes": i64(1, 2, *sizes)}, ["y"]
    for mode, rounding in (("asymmetric", "floor"), ("half_pixel", "round_prefer_floor"), ("half_pixel", "round_prefer_ceil"), ("align_corners", "ceil"), ("asymmetric", "round_prefer_floor")):
        for sizes in ((5, 9), (2, 3)):
            word = "up" if sizes[0] > 3 else "down"
            yield f"resize_nearest_{mode}_{rounding}_{word}", 13, [
                n("Resize", ["x", "", "", "sizes"], ["y"], mode="nearest", coordinate_transformation_mode=mode, nearest_mode=rounding)
            ], grid, {"sizes": i64(1, 2, *sizes)}, ["y"]
    yield "resize_linear_scales", 13, [n("Resize", ["x", "", "scales"], ["y"], mode="linear")], grid, {"scales": np.float32([1, 1, 1.7, 2.3])}, ["y"]

    # Quantisation: ties to even, saturation, per tensor and per channel.
    ties = {"x": np.concatenate([np.arange(-3, 3, 0.25), [-40, 40, 12.3]]).astype(np.float32).reshape(1, 3, 3, 3)}
    for name, zero in (("uint8", np.uint8(128)), ("int8", np.int8(-5)), ("int8_symmetric", np.int8(0))):
        yield f"quantize_{name}", 13, [n("QuantizeLinear", ["x", "s", "z"], ["q"]), n("DequantizeLinear", ["q", "s", "z"], ["y"])], ties, {
            "s": np.float32(0.25 if name == "uint8" else 0.5), "z": zero
        }, ["y"]
    yield "quantize_per_channel", 13, [n("QuantizeLinear", ["x", "s", "z"], ["q"], axis=1), n("DequantizeLinear", ["q", "s", "z"], ["y"], axis=1)], ties, {
        "s": np.float32([0.1, 0.25, 0.5]), "z": np.int8([0, 3, -7])
    }, ["y"]
    yield "dequantized_weights", 13, [n("DequantizeLinear", ["q", "s", "z"], ["w"], axis=0), n("Conv", ["x", "w"], ["y"])], x, {
        "q": rng.integers(-127, 128, (3, 4, 3, 3)).astype(np.int8), "s": np.float32([0.01, 0.02, 0.03]), "z": np.int8([0, 0, 0])
    }, ["y"]
    yield "dequantized_bias_int32", 13, [
        n("DequantizeLinear", ["qw", "sw", "zw"], ["w"]), n("DequantizeLinear", ["qb", "sb"], ["b"]), n("Conv", ["x", "w", "b"], ["y"])
    ], x, {
        "qw": rng.integers(0, 256, (3, 4, 1, 1)).astype(np.uint8), "sw": np.float32(0.01), "zw": np.uint8(120),
        "qb": np.array([100, -3000, 5], np.int32), "sb": np.float32(0.001),
    }, ["y"]

    # More than four axes: attention's queries, keys and values, split attention, stacked branches, windows.
    tokens = {"x": f32(1, 5, 12)}
    heads = {"five": i64(1, 5, 3, 2, 2)}
    yield "attention_split", 17, [
        n("Reshape", ["x", "five"], ["a"]), n("Transpose", ["a"], ["b"], perm=[2, 0, 3, 1, 4]),
        n("Split", ["b"], ["q", "k", "v"], axis=0), n("Squeeze", ["q", "first"], ["q4"]), n("Squeeze", ["k", "first"], ["k4"]),
        n("Squeeze", ["v", "first"], ["v4"]), n("Transpose", ["k4"], ["kt"], perm=[0, 1, 3, 2]), n("MatMul", ["q4", "kt"], ["s"]),
        n("Softmax", ["s"], ["p"], axis=-1), n("MatMul", ["p", "v4"], ["h"]), n("Transpose", ["h"], ["t"], perm=[0, 2, 1, 3]),
        n("Reshape", ["t", "three"], ["y"]),
    ], tokens, heads | {"first": i64(0), "three": i64(1, 5, 4)}, ["y"]
    yield "attention_gather", 17, [
        n("Reshape", ["x", "five"], ["a"]), n("Transpose", ["a"], ["b"], perm=[2, 0, 3, 1, 4]),
        n("Gather", ["b", "second"], ["y"], axis=0),
    ], tokens, heads | {"second": np.int64(1)}, ["y"]
    yield "slice_five_axes", 17, [
        n("Reshape", ["x", "five"], ["a"]), n("Transpose", ["a"], ["b"], perm=[0, 3, 2, 1, 4]),
        n("Slice", ["b", "starts", "ends", "axes", "steps"], ["c"]), n("Reshape", ["c", "flat"], ["y"]),
    ], tokens, heads | {"starts": i64(0, -1), "ends": i64(2, -9), "axes": i64(2, 3), "steps": i64(1, -2), "flat": i64(1, -1)}, ["y"]
    yield "split_attention", 17, [
        n("Reshape", ["x", "five"], ["a"]), n("ReduceSum", ["a", "one"], ["s"], keepdims=0), n("GlobalAveragePool", ["s"], ["g"]),
        n("Concat", ["g", "g2"], ["gates"], axis=1), n("Reshape", ["gates", "gate"], ["b"]), n("Softmax", ["b"], ["p"], axis=1),
        n("Mul", ["a", "p"], ["m"]), n("ReduceSum", ["m", "one"], ["y"], keepdims=0),
    ], {"x": f32(1, 6, 3, 4), "g2": f32(1, 3, 1, 1)}, {"five": i64(1, 2, 3, 3, 4), "gate": i64(1, 2, 3, 1, 1), "one": i64(1)}, ["y"]
    yield "stacked_branches", 17, [
        n("Unsqueeze", ["x", "one"], ["a"]), n("Unsqueeze", ["z", "one"], ["b"]), n("Concat", ["a", "b"], ["c"], axis=1),
        n("Sigmoid", ["c"], ["d"]), n("ReduceL2", ["d"], ["y"], axes=[1, 4], keepdims=0),
    ], {"x": f32(1, 3, 2, 4), "z": f32(1, 3, 2, 4)}, {"one": i64(1)}, ["y"]
    yield "windows_with_mask", 17, [
        n("Reshape", ["x", "five"], ["a"]), n("Add", ["a", "mask"], ["b"]), n("Softmax", ["b"], ["c"], axis=-1),
        n("Reshape", ["c", "four"], ["y"]),
    ], {"x": f32(4, 2, 3, 3)}, {"five": i64(2, 2, 2, 3, 3), "mask": f32(1, 2, 1, 3, 3), "four": i64(4, 2, 3, 3)}, ["y"]
    yield "matmul_five_axes", 17, [
        n("Reshape", ["x", "five"], ["a"]), n("Transpose", ["a"], ["b"], perm=[0, 1, 2, 4, 3]), n("MatMul", ["a", "b"], ["c"]),
        n("MatMul", ["c", "w"], ["d"]), n("Reshape", ["d", "flat"], ["y"]),
    ], {"x": f32(1, 4, 3, 5)}, {"five": i64(1, 2, 2, 3, 5), "w": f32(3, 2), "flat": i64(1, 4, 3, 2)}, ["y"]
    yield "expand_five_axes", 17, [
        n("Reshape", ["x", "five"], ["a"]), n("Expand", ["a", "wide"], ["b"]), n("Reshape", ["b", "flat"], ["y"]),
    ], {"x": f32(1, 4, 1, 5)}, {"five": i64(1, 2, 2, 1, 5), "wide": i64(1, 2, 2, 3, 5), "flat": i64(1, 4, 3, 5)}, ["y"]
    yield "matmul_constant_first", 13, [n("MatMul", ["w", "x"], ["y"])], {"x": f32(1, 4, 6)}, {"w": f32(3, 4)}, ["y"]
    yield one("conv_along_a_line", 11, "Conv", {"x": f32(1, 2, 9)}, {"w": f32(3, 2, 3), "b": f32(3)}, pads=[1, 2], strides=[2], dilations=[2])
    yield one("split_into_many", 13, "Split", {"x": f32(1, 1000)}, {"split": i64(*[1] * 500, 500)}, outputs=501, axis=1)

    # Functions of parameters that are left in the graph, and reductions of other kinds.
    kernel = {"w": f32(3, 4, 3, 3)}
    yield "standardised_weights", 17, [
        n("ReduceMean", ["w"], ["m"], axes=[1, 2, 3]), n("Sub", ["w", "m"], ["c"]), n("ReduceL2", ["c"], ["l"], axes=[1, 2, 3]),
        n("Clip", ["l", "low"], ["d"]), n("Div", ["c", "d"], ["k"]), n("Conv", ["x", "k"], ["y"]),
    ], x, kernel | {"low": np.float32(4)}, ["y"]
    yield "standardised_by_batch_norm", 17, [
        n("Reshape", ["w", "rows"], ["r"]), n("BatchNormalization", ["r", "s", "b", "z", "z"], ["n", "_m", "_v"], training_mode=1),
        n("Reshape", ["n", "back"], ["k"]), n("Conv", ["x", "k"], ["y"]),
    ], x, kernel | {"rows": i64(1, 3, -1), "s": f32(3), "b": f32(3), "z": np.zeros(3, np.float32), "back": i64(3, 4, 3, 3)}, ["y"]
    yield "computed_positions", 17, [
        n("CumSum", ["ones", "axis"], ["c"]), n("Sin", ["c"], ["s"]), n("Cos", ["c"], ["t"]), n("Mul", ["s", "t"], ["p"]), n("Add", ["x", "p"], ["y"]),
    ], small, {"ones": np.ones((1, 1, 4, 5), np.float32), "axis": np.int64(2)}, ["y"]
    yield "clipped_shape", 17, [
        n("Shape", ["x"], ["s"]), n("Clip", ["s", "", "most"], ["c"]), n("Slice", ["x", "zeros", "c"], ["y"]),
    ], small, {"most": np.int64(2), "zeros": i64(0, 0, 0, 0)}, ["y"]
    for op in ("ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceMin"):
        yield one(f"{op}_places", 13, op, small, axes=[2, 3], keepdims=1)

    # Quantised while running, on numbers that are whole levels, so that nothing is lost.
    levels = {"x": np.concatenate([[0, 255], rng.integers(0, 256, 46)]).astype(np.float32).reshape(1, 3, 4, 4)}
    dynamic = n("DynamicQuantizeLinear", ["x"], ["q", "s", "z"])
    back = [n("Cast", ["i"], ["f"], to=TensorProto.FLOAT), n("Mul", ["s", "ws"], ["scale"]), n("Mul", ["f", "scale"], ["y"])]
    for name, zero in (("one", np.uint8(120)), ("symmetric", np.uint8(0))):
        yield f"conv_integer_{name}", 13, [dynamic, n("ConvInteger", ["q", "w", "z", "wz"], ["i"], pads=[1, 1, 0, 0]), *back], levels, {
            "w": rng.integers(0, 256, (2, 3, 3, 3)).astype(np.uint8), "wz": zero, "ws": np.float32(0.01)
        }, ["y"]
    row = {"x": levels["x"].reshape(1, 48)}
    # Seven bits: onnxruntime's products of unsigned and signed bytes saturate on processors without VNNI.
    yield "matmul_integer_columns", 13, [dynamic, n("MatMulInteger", ["q", "w", "z", "wz"], ["i"]), *back], row, {
        "w": rng.integers(-64, 64, (48, 5)).astype(np.int8), "wz": rng.integers(-9, 9, 5).astype(np.int8), "ws": np.float32(0.01)
    }, ["y"]

    for name, bounds in (("up", (1, 11, 2)), ("down", (4, -1, -1))):
        yield f"range_{name}", 11, [
            n("Range", ["start", "limit", "delta"], ["r"]), n("Cast", ["r"], ["f"], to=TensorProto.FLOAT), n("Add", ["x", "f"], ["y"])
        ], small, dict(zip(("start", "limit", "delta"), map(np.int64, bounds))), ["y"]

    # Cubic resampling.
    for mode in ("half_pixel", "align_corners"):
        yield f"resize_cubic_{mode}", 13, [
            n("Resize", ["x", "", "", "sizes"], ["y"], mode="cubic", coordinate_transformation_mode=mode, cubic_coeff_a=-0.75)
        ], grid, {"sizes": i64(1, 2, 5, 3)}, ["y"]


def collect_own(cases):
    for name, opset, nodes, feeds, initialisers, outputs in own_cases():
        # The outputs' shapes come from a first run with shapes left open.
        open_model = graph_model(nodes, feeds, {out: None for out in outputs}, initialisers, opset)
        expected = dict(zip(outputs, run(open_model, feeds)))
        proto = graph_model(nodes, feeds, {out: array.shape for out, array in expected.items()}, initialisers, opset)
        onnx.checker.check_model(proto)
        add(cases, name, "onnxruntime", proto, feeds, expected)


def main():
    warnings.filterwarnings("ignore")
    cases, skipped = {}, []
    collect_own(cases)
    collect_node(cases, skipped)
    collect_pytorch(cases, skipped)
    tensors, facts = {}, {}
    for name, (source, proto, feeds, outputs) in cases.items():
        tensors[f"{name}/model"] = np.frombuffer(proto.SerializeToString(), np.uint8)
        tensors |= {f"{name}/in/{value}": array for value, array in feeds.items()}
        tensors |= {f"{name}/out/{value}": np.asarray(array, np.float32) for value, array in outputs.items()}
        facts[name] = {
            "source": source,
            "operators": [node.op_type for node in proto.graph.node],
            "opset": proto.opset_import[0].version,
            "inputs": list(feeds),
            "outputs": list(outputs),
        }
    found = {op for fact in facts.values() for op in fact["operators"]}
    save(HERE / "ops.safetensors", tensors, {"cases": facts, "versions": versions("onnx", "onnxruntime", "numpy")})
    print(f"  {len(cases)} cases of {len(found)} operators: {' '.join(sorted(found))}")
    for source in ("onnxruntime", "node", "pytorch"):
        print(f"  {source}: {sum(fact['source'] == source for fact in facts.values())}")
    print(f"  left out: {', '.join(skipped)}")


if __name__ == "__main__":
    main()
