"""Writes `forms.safetensors`: small networks in the many forms in which classifiers are written down, and what they give.

The networks are made below, with random weights; what they give is onnxruntime's. With a folder as its argument, the
script writes the same of the folder's .onnx files, to the file named as the second argument.

Layout: `CASE/model` u8: the bytes of the ONNX file; `CASE/data` u8: those of its file of parameters, if it has one;
`CASE/input` f32: the network's input `[C, H, W]`; `CASE/scores` f32: what onnxruntime gives for it.
`__metadata__` (JSON): `cases` [CASE], `probabilities` [CASE]: those whose output are probabilities, `layers`
{CASE: [NODE, [K, h, w]]}: default layers, by the way in which they are made, `versions`.
"""

import pathlib
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

import fixture
from fixture import HERE, formula_input, save, versions


def expected(path):
    """The input `[C, H, W]` and the first output of several numbers, or else the first."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0]
    shape = SHAPES.get(path.stem) or list(given.shape)
    last = shape[-1] in (1, 3) and len(shape) >= 3 and shape[-3] not in (1, 3)
    planes = shape[-3:] if not last else [shape[-1], *shape[-3:-1]]
    planes = [side if isinstance(side, int) else 16 for side in planes]
    x = formula_input([1, *planes])
    kind = given.type
    if kind != "tensor(float)" and "float" not in kind:
        x = np.round((x + 1) * 127.5)
    fed = np.moveaxis(x, 1, -1) if last else x
    fed = fed.reshape(fed.shape[4 - len(shape):])
    if isinstance(shape[0], int) and len(shape) == 4 and shape[0] > 1:
        fed = np.repeat(fed, shape[0], 0)
    types = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8, "tensor(int32)": np.int32, "tensor(int64)": np.int64, "tensor(int8)": np.int8}
    outputs = session.run(None, {given.name: np.ascontiguousarray(fed.astype(types[kind]))})
    several = [o for o in outputs if o.ndim and o.size > 1] or outputs
    scores = np.asarray(several[0], np.float32)
    if isinstance(shape[0], int) and len(shape) == 4 and shape[0] > 1:
        scores = scores[:1]
    return x[0].astype(np.float32), scores.ravel()


# What a file leaves open.
SHAPES = {"input_without_shape": [1, 3, 16, 16], "input_symbolic_channels": [1, 1, 16, 16]}


# ---- The networks ----

RANDOM = np.random.default_rng(17)


def weights(*shape):
    return (RANDOM.standard_normal(shape) / max(1, np.sqrt(np.prod(shape[1:])))).astype(np.float32)


class Net:
    """Nodes under way: `conv` to `channels` planes, something in the middle, pooling and a linear layer to five classes."""

    def __init__(self, channels=8, size=(10, 12), stem=True, inputs=3):
        self.nodes, self.parameters, self.count = [], [], 0
        self.inputs = [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, inputs, *size])]
        self.x = "input"
        if stem:
            self.x = self("Conv", "input", self.of(weights(channels, inputs, 3, 3)), self.of(weights(channels)), pads=[1] * 4)
            self.x = self("Relu", self.x, name="relu")

    def of(self, array, name=None):
        name = name or f"p{len(self.parameters)}"
        self.parameters.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def __call__(self, operator, *inputs, outputs=1, name=None, domain="", **attributes):
        self.count += 1
        names = [f"v{self.count}"] if outputs == 1 else [f"v{self.count}_{i}" for i in range(outputs)]
        inputs = [self.of(given) if not isinstance(given, str) else given for given in inputs]
        self.nodes.append(helper.make_node(operator, inputs, names, name or f"n{self.count}", domain=domain, **attributes))
        return names[0] if outputs == 1 else names

    def head(self, channels=8, classes=5):
        self.x = self("GlobalAveragePool", self.x)
        self.x = self("Flatten", self.x)
        self.x = self("Gemm", self.x, weights(channels, classes), weights(classes))
        return self

    def model(self, opset=20, outputs=None, functions=(), sparse=(), domains=()):
        outputs = outputs or [self.x]
        made = [helper.make_empty_tensor_value_info(name) for name in outputs]
        graph = helper.make_graph(self.nodes, "net", self.inputs, made, self.parameters, sparse_initializer=list(sparse))
        opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
        ir = {23: 11, 22: 10, 21: 10}.get(opset, 8)
        return helper.make_model(graph, opset_imports=opsets, ir_version=ir, functions=list(functions))


NETWORKS = {}


def network(make):
    NETWORKS[make.__name__] = make
    return make


def middle(name, opset=20, channels=8):
    """A network whose middle is made by the decorated function of (net, x)."""

    def decorate(make):
        def whole():
            net = Net()
            net.x = make(net, net.x)
            return net.head(channels).model(opset)

        NETWORKS[name] = whole
        return make

    return decorate


def scaled(net, x):
    """Around 0, so that functions of each number see both signs."""
    return net("Sub", x, np.float32(0.3))


for operator in "Floor Ceil Round Sign Sin Cos Atan Sinh Cosh Asinh Celu ThresholdedRelu Shrink".split():
    middle(operator.lower())(lambda net, x, operator=operator: net("Add", net(operator, scaled(net, x)), x))
for operator in "Asin Acos Atanh".split():
    middle(operator.lower())(lambda net, x, operator=operator: net(operator, net("Mul", net("Tanh", scaled(net, x)), np.float32(0.9))))
middle("tan")(lambda net, x: net("Tan", net("Tanh", scaled(net, x))))
middle("acosh")(lambda net, x: net("Acosh", net("Add", x, np.float32(1.1))))
for operator in "Less LessOrEqual Greater GreaterOrEqual Equal".split():
    middle(f"{operator.lower()}_where")(
        lambda net, x, operator=operator: net("Where", net(operator, x, np.float32(0)), net("Mul", x, np.float32(-2)), scaled(net, x))
    )
for operator in "And Or Xor".split():
    middle(operator.lower())(
        lambda net, x, operator=operator: net(
            "Mul", x, net("Cast", net(operator, net("Greater", x, np.float32(0.2)), net("Not", net("Less", x, np.float32(0.6)))), to=1)
        )
    )


@middle("where_minus_infinity")
def _(net, x):
    masked = net("Where", net("Greater", x, np.float32(0.1)), x, np.float32(-np.inf))
    return net("Softmax", net("Max", masked, np.float32(-9)), axis=1)


@middle("cast_to_integers")
def _(net, x):
    return net("Add", x, net("Cast", net("Cast", net("Mul", scaled(net, x), np.float32(5)), to=7), to=1))


@middle("mod")
def _(net, x):
    return net("Sub", x, net("Mul", np.float32(0.5), net("Floor", net("Div", x, np.float32(0.5)))))


for mode in ("DCR", "CRD"):
    middle(f"depth_to_space_{mode.lower()}", channels=2)(lambda net, x, mode=mode: net("DepthToSpace", x, blocksize=2, mode=mode))
middle("space_to_depth", channels=32)(lambda net, x: net("SpaceToDepth", x, blocksize=2))
middle("tile_channels", channels=16)(lambda net, x: net("Tile", x, np.array([1, 2, 1, 1])))
middle("tile_planes")(lambda net, x: net("Mul", net("Tile", net("GlobalAveragePool", x), np.array([1, 1, 10, 12])), x))
middle("gather_elements")(lambda net, x: net("GatherElements", x, RANDOM.integers(-10, 10, (1, 8, 7, 12)), axis=2))
def gather_nd():
    net = Net()
    net.x = net("GatherND", net.x, np.array([[[0, 3], [0, 1], [0, 7], [0, 2]]]))
    return net.head(4).model()


NETWORKS["gather_nd"] = gather_nd


@middle("scatter_nd_on_value")
def _(net, x):
    return net("ScatterND", x, np.array([[0, 2], [0, 5]]), weights(2, 10, 12))


@middle("scatter_nd_adds")
def _(net, x):
    flat = net("Reshape", x, np.array([960]))
    more = net("Mul", net("Slice", flat, np.array([0]), np.array([6])), np.float32(3))
    added = net("ScatterND", flat, np.array([[1], [2], [1], [500], [1], [900]]), more, reduction="add")
    return net("Reshape", added, np.array([1, 8, 10, 12]))


@middle("scatter_elements")
def _(net, x):
    return net("ScatterElements", x, RANDOM.permuted(np.tile(np.arange(12), (1, 8, 10, 1)), axis=3)[..., :5], weights(1, 8, 10, 5), axis=3)


@middle("trilu_of_value")
def _(net, x):
    return net("Trilu", x, np.int64(-2), upper=0)


@middle("constants_folded")
def _(net, x):
    mask = net("ScatterND", np.zeros((10, 12), np.float32), np.array([[1], [4]]), np.ones((2, 12), np.float32))
    mask = net("Add", mask, net("Trilu", np.full((10, 12), 0.5, np.float32)))
    mask = net("Add", mask, net("EyeLike", np.zeros((10, 12), np.float32), k=1))
    row = net("Cast", net("OneHot", np.array([3]), np.array([12]), np.array([0, 7])), to=1)
    row = net("Add", row, net("Range", np.float32(0), np.float32(1.15), np.float32(0.1)))
    row = net("Add", row, net("GatherND", weights(3, 12), np.array([[1]])))
    column = net("Cast", net("NonZero", np.array([1, 0, 2, 3, 4, 1, 1, 9, 1, 1, 1])), to=1)
    column = net("Reshape", column, np.array([10, 1]))
    return net("Mul", x, net("Add", net("Add", mask, row), column))


@middle("cumulated")
def _(net, x):
    return net("Mul", net("CumSum", x, np.int64(2), reverse=1), np.float32(0.1))


@middle("dynamic_kernel")
def _(net, x):
    pooled = net("Reshape", net("GlobalAveragePool", x), np.array([1, 8]))
    attention = net("Softmax", net("Gemm", pooled, weights(8, 3) * 20))
    kernel = net("MatMul", attention, net.of(weights(3, 8 * 8 * 9) * 8))
    return net("Conv", x, net("Reshape", kernel, np.array([8, 8, 3, 3])), pads=[1] * 4)


@middle("transposed_convolution", channels=6)
def _(net, x):
    return net("ConvTranspose", x, weights(8, 3, 3, 4), weights(6), group=2, strides=[2, 3], pads=[1, 0, 0, 2], output_padding=[1, 0])


@middle("transposed_convolution_dilated", channels=4)
def _(net, x):
    return net("ConvTranspose", x, weights(8, 4, 3, 3), strides=[1, 2], dilations=[2, 1], auto_pad="SAME_UPPER")


def three_axes():
    net = Net()
    deep = net("Unsqueeze", net.x, np.array([1]))
    deep = net("Conv", deep, weights(4, 1, 3, 3, 1), weights(4), strides=[2, 1, 1], pads=[1, 1, 0, 1, 1, 0])
    deep = net("MaxPool", deep, kernel_shape=[2, 3, 3], pads=[0, 1, 1, 1, 1, 1])
    deep = net("AveragePool", deep, kernel_shape=[3, 1, 1], pads=[1, 0, 0, 1, 0, 0])
    net.x = net("Reshape", deep, np.array([1, 16, 10, 12]))
    return net.head(16).model()


NETWORKS["three_spatial_axes"] = three_axes


@middle("einsum_attention")
def _(net, x):
    x = net("Reshape", x, np.array([1, 2, 4, 120]))
    scores = net("Softmax", net("Einsum", x, x, equation="bhdi,bhdj->bhij"), axis=-1)
    mixed = net("Einsum", scores, x, equation="bhij,bhdj->bhdi")
    return net("Reshape", mixed, np.array([1, 8, 10, 12]))


@middle("einsum_channels", channels=6)
def _(net, x):
    return net("Einsum", x, weights(8, 6), weights(12, 12), equation="bchw,cd,wv->bdhv")


@middle("einsum_relative_positions")
def _(net, x):
    table = weights(10, 12, 8)
    bias = net("Einsum", x, table, equation="...chw,hkc->...hwk")
    return net("Add", x, net("Unsqueeze", net("ReduceMean", bias, np.array([3]), keepdims=0), np.array([1])))


def tokens(net, x):
    return net("Transpose", net("Reshape", x, np.array([1, 8, 120])), perm=[0, 2, 1])


def planes(net, x):
    return net("Reshape", net("Transpose", x, perm=[0, 2, 1]), np.array([1, 8, 10, 12]))


def attention(heads, shared, mask=None, **attributes):
    net = Net()
    t = tokens(net, net.x)
    q = net("MatMul", t, weights(8, 8) * 3)
    k, v = (net("MatMul", t, weights(8, 8 // heads * shared) * 3) for _ in range(2))
    extra = () if mask is None else (mask,)
    y = net("Attention", q, k, v, *extra, q_num_heads=heads, kv_num_heads=shared, **attributes)
    net.x = planes(net, y)
    return net.head().model(23)


NETWORKS["attention_grouped"] = lambda: attention(4, 2, is_causal=1, softcap=2.0)
NETWORKS["attention_masked"] = lambda: attention(2, 2, RANDOM.random((120, 120)) < 0.7, scale=0.9)
NETWORKS["attention_biased"] = lambda: attention(2, 2, weights(1, 2, 120, 120))
middle("rms_normalization", 23)(lambda net, x: planes(net, net("RMSNormalization", tokens(net, x), weights(8), epsilon=1e-3)))
middle("group_normalization", 21)(lambda net, x: net("GroupNormalization", x, weights(8), weights(8), num_groups=4))
middle("group_normalization_18", 18)(lambda net, x: net("GroupNormalization", x, weights(2), weights(2), num_groups=2))
middle("mean_variance_normalization")(lambda net, x: net("Relu", net("MeanVarianceNormalization", net("Conv", x, weights(8, 8, 3, 3)))))
middle("mean_variance_normalization_planes")(lambda net, x: net("Relu", net("MeanVarianceNormalization", net("Conv", x, weights(8, 8, 3, 3)), axes=[2, 3])))
middle("lp_normalization")(lambda net, x: net("LpNormalization", x, axis=1, p=2))
middle("lp_pool")(lambda net, x: net("LpPool", scaled(net, x), kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 1], p=3))
middle("global_lp_pool")(lambda net, x: net("Mul", x, net("GlobalLpPool", scaled(net, x), p=2)))
middle("log_sum_exp")(lambda net, x: net("Mul", x, net("ReduceLogSumExp", x, np.array([2, 3]))))
middle("reduced_product")(lambda net, x: net("Mul", x, net("ReduceProd", net("Add", x, np.float32(0.6)), np.array([1]))))
middle("pooled_along_one_axis")(
    lambda net, x: net("Mul", x, net("Unsqueeze", net("AveragePool", net("MaxPool", net("ReduceMean", x, np.array([2]), keepdims=0), kernel_shape=[3], pads=[1, 1]), kernel_shape=[3], pads=[1, 1], count_include_pad=1), np.array([2])))
)
middle("max_pool_names_indices")(lambda net, x: net("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2], outputs=2)[0])


@middle("columns_to_image")
def _(net, x):
    rows = net("Concat", *(net("Reshape", net("Slice", net("Pad", x, np.array([0, 0, 0, 0, 0, 0, 1, 1])), np.array([0, 0, i, j]), np.array([1, 8, 10 + i, 12 + j])), np.array([1, 8, 1, 120])) for i in (0, 1) for j in (0, 1)), axis=2)
    return net("Col2Im", net("Reshape", rows, np.array([1, 32, 120])), np.array([11, 13]), np.array([2, 2]))


@middle("unfolded", channels=32)
def _(net, x):
    h, w = np.arange(9)[None] + np.arange(2)[:, None], np.arange(11)[None] + np.arange(2)[:, None]
    windows = net("Gather", net("Gather", x, h, axis=2), w, axis=4)
    windows = net("Transpose", windows, perm=[0, 1, 2, 4, 3, 5])
    return net("Reshape", windows, np.array([1, 32, 9, 11]))


@middle("lrn_written_out", channels=8)
def _(net, x):
    squares = net("Unsqueeze", net("Mul", x, x), np.array([1]))
    squares = net("Pad", squares, np.array([0, 0, 2, 0, 0, 0, 0, 2, 0, 0]))
    mean = net("Squeeze", net("AveragePool", squares, kernel_shape=[5, 1, 1]), np.array([1]))
    return net("Div", x, net("Pow", net("Add", net("Mul", mean, np.float32(0.9)), np.float32(1)), np.float32(0.75)))


@middle("padded_by_wrapping", 19)
def _(net, x):
    return net("Conv", net("Pad", x, np.array([0, 0, 1, 1, 0, 0, 1, 1]), mode="wrap"), weights(8, 8, 3, 3))


for mode, padding, align in (("linear", "zeros", 0), ("linear", "border", 1), ("linear", "reflection", 0), ("nearest", "zeros", 0)):
    @middle(f"grid_sample_{mode}_{padding}", 20)
    def _(net, x, mode=mode, padding=padding, align=align):
        grid = net("Mul", net("Tanh", net("Conv", x, weights(2, 8, 1, 1))), np.float32(1.1))
        return net("GridSample", x, net("Transpose", grid, perm=[0, 2, 3, 1]), mode=mode, padding_mode=padding, align_corners=align)


@middle("spatial_transformer", 20)
def _(net, x):
    theta = net("Gemm", net("Flatten", net("GlobalAveragePool", x)), weights(8, 6), np.array([1, 0.1, 0, -0.1, 0.9, 0.1], np.float32))
    return net("GridSample", x, net("AffineGrid", net("Reshape", theta, np.array([1, 2, 3])), np.array([1, 8, 10, 12])))


for mode, sizes in (("linear", [1, 8, 4, 5]), ("cubic", [1, 8, 5, 7]), ("linear", [1, 8, 13, 20])):
    middle(f"resize_antialias_{mode}_{sizes[2]}")(
        lambda net, x, mode=mode, sizes=sizes: net("Resize", x, "", "", np.array(sizes), mode=mode, antialias=1)
    )
middle("resize_cubic_inside")(lambda net, x: net("Resize", x, "", "", np.array([1, 8, 15, 15]), mode="cubic", exclude_outside=1, cubic_coeff_a=-0.5))
middle("resize_not_larger")(lambda net, x: net("Resize", x, "", "", np.array([20, 20]), mode="linear", axes=[2, 3], keep_aspect_ratio_policy="not_larger"))
middle("resize_symmetric", 19)(lambda net, x: net("Resize", x, "", np.array([1, 1, 1.3, 0.7], np.float32), mode="linear", coordinate_transformation_mode="half_pixel_symmetric"))


@middle("resize_channels_last")
def _(net, x):
    last = net("Transpose", x, perm=[0, 2, 3, 1])
    last = net("Resize", last, "", np.array([1, 2, 2, 1], np.float32), mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    return net("Transpose", last, perm=[0, 3, 1, 2])


def recurrent(operator, gates, **attributes):
    net = Net()
    rows = net("Reshape", net("Transpose", net.x, perm=[3, 0, 2, 1]), np.array([12, 10, 8]))
    both = attributes.get("direction") == "bidirectional"
    d = 2 if both else 1
    y = net(operator, rows, weights(d, gates * 4, 8), weights(d, gates * 4, 4), weights(d, gates * 8), hidden_size=4, outputs=3 if gates == 4 else 2, **attributes)
    y = net("Reshape", net("Transpose", y[0], perm=[2, 1, 3, 0]), np.array([1, 10, 4 * d, 12]))
    net.x = net("Transpose", y, perm=[0, 2, 1, 3])
    return net.head(4 * d).model()


NETWORKS["lstm_both_ways"] = lambda: recurrent("LSTM", 4, direction="bidirectional")
NETWORKS["gru_reverse"] = lambda: recurrent("GRU", 3, direction="reverse", linear_before_reset=1)
NETWORKS["gru"] = lambda: recurrent("GRU", 3)
NETWORKS["rnn"] = lambda: recurrent("RNN", 1)


def graph_of(name, nodes, inputs, outputs, parameters=()):
    infos = lambda names: [helper.make_tensor_value_info(n, t, s) for n, t, s in names]
    return helper.make_graph(nodes, name, infos(inputs), infos(outputs), list(parameters))


@middle("if_settled", 16)
def _(net, x):
    rank = net("Size", net("Shape", x))
    four = net("Equal", rank, np.int64(4))
    yes = graph_of("yes", [helper.make_node("Mul", [x, "two"], ["doubled"])], [], [("doubled", 1, None)], [numpy_helper.from_array(np.float32(2), "two")])
    no = graph_of("no", [helper.make_node("Neg", [x], ["turned"])], [], [("turned", 1, None)])
    return net("If", four, then_branch=yes, else_branch=no)


@middle("loop_of_settled_length", 16, channels=8)
def _(net, x):
    body = graph_of(
        "body",
        [
            helper.make_node("Identity", ["going"], ["still"]),
            helper.make_node("Cast", ["i"], ["at"], to=1),
            helper.make_node("Add", ["at", "one"], ["next"]),
            helper.make_node("Div", ["state", "next"], ["less"]),
            helper.make_node("Sub", ["less", "tenth"], ["moved"]),
            helper.make_node("ReduceMean", ["moved"], ["seen"], axes=[2, 3], keepdims=0),
        ],
        [("i", 7, []), ("going", 9, []), ("state", 1, None)],
        [("still", 9, []), ("moved", 1, None), ("seen", 1, None)],
        [numpy_helper.from_array(np.float32(1), "one"), numpy_helper.from_array(np.float32(0.1), "tenth")],
    )
    state, seen = net("Loop", np.int64(3), np.bool_(True), x, body=body, outputs=2)
    seen = net("ReduceMean", seen, axes=[0], keepdims=0)
    return net("Mul", state, net("Reshape", seen, np.array([1, 8, 1, 1])))


def _function():
    net = Net()
    body = [helper.make_node("Mul", ["a", "b"], ["m"]), helper.make_node("LeakyRelu", ["m"], ["y"])]
    body[1].attribute.append(helper.make_attribute("alpha", 0.0))
    body[1].attribute[0].ClearField("f")
    body[1].attribute[0].ref_attr_name = "slope"
    function = helper.make_function("house", "Gated", ["a", "b"], ["y"], body, [helper.make_opsetid("", 20)], ["slope"])
    outer_body = [helper.make_node("Gated", ["a", "b"], ["z"], domain="house", slope=0.3), helper.make_node("Add", ["z", "a"], ["y"])]
    outer = helper.make_function("house", "Twice", ["a", "b"], ["y"], outer_body, [helper.make_opsetid("", 20), helper.make_opsetid("house", 1)])
    net.x = net("Twice", scaled(net, net.x), net.of(weights(1, 8, 1, 1)), domain="house")
    net.x = net("Gated", net.x, net.of(weights(1, 8, 1, 1) * 3), domain="house", slope=0.7)
    return net.head().model(functions=[function, outer], domains=["house"])


NETWORKS["functions_of_its_own"] = _function


def _sparse():
    net = Net()
    values = helper.make_tensor("mask", TensorProto.FLOAT, [3], [2.0, -1.0, 0.5])
    places = helper.make_tensor("mask_places", TensorProto.INT64, [3, 4], [0, 1, 0, 0, 0, 4, 0, 0, 0, 6, 0, 0])
    net.x = net("Add", net.x, net("Mul", net.x, "mask"))
    return net.head().model(sparse=[helper.make_sparse_tensor(values, places, [1, 8, 1, 1])])


NETWORKS["sparse_initialiser"] = _sparse


def crops():
    net = Net(stem=False)
    flipped = net("Slice", "input", np.array([11]), np.array([-99]), np.array([3]), np.array([-1]))
    net.x = net("Concat", "input", flipped, axis=0)
    net.x = net("Relu", net("Conv", net.x, weights(8, 3, 3, 3), weights(8), pads=[1] * 4))
    net.head()
    net.x = net("ReduceMean", net.x, np.array([0]), keepdims=1)
    return net.model()


NETWORKS["augmentations_stacked"] = crops


def head(name, **kinds):
    def decorate(make):
        def whole():
            net = Net().head()
            outputs = make(net, net.x)
            return net.model(outputs=[outputs] if isinstance(outputs, str) else outputs)

        NETWORKS[name] = whole
        return make

    return decorate


head("head_mean_of_two")(lambda net, x: net("Mean", net("Softmax", x), net("Softmax", net("Mul", x, np.float32(2)))))
head("head_normalised_sigmoids")(lambda net, x: (lambda p: net("Div", p, net("ReduceSum", p, np.array([1]))))(net("Sigmoid", x)))
head("head_normalised_powers")(lambda net, x: (lambda p: net("Div", p, net("ReduceSum", p, np.array([1]))))(net("Exp", x)))
head("head_two_sided")(lambda net, x: (lambda p: net("Concat", net("Sub", np.float32(1), p), p, axis=1))(net("Sigmoid", net("Slice", x, np.array([0]), np.array([1]), np.array([1])))))


def typed(name, kind, size=(1, 3, 10, 12), turn=None, opset=20):
    def whole():
        net = Net(stem=False)
        net.inputs = [helper.make_tensor_value_info("input", kind, size)]
        x = net("Cast", "input", to=1) if kind != TensorProto.FLOAT else "input"
        if kind not in (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16):
            x = net("Div", net("Sub", x, np.float32(120)), np.float32(60))
        if turn:
            x = net("Transpose", x, perm=turn)
        if len(size) == 3:
            x = net("Unsqueeze", x, np.array([0]))
        net.x = net("Relu", net("Conv", x, weights(8, 3, 3, 3), weights(8), pads=[1] * 4))
        return net.head().model(opset)

    NETWORKS[name] = whole


typed("input_of_bytes_channels_last", TensorProto.UINT8, (1, 10, 12, 3), [0, 3, 1, 2])
typed("input_of_int32", TensorProto.INT32)
typed("input_of_float64", TensorProto.DOUBLE)
typed("input_of_float16", TensorProto.FLOAT16)
typed("input_without_batch", TensorProto.FLOAT, (3, 10, 12))
typed("input_without_batch_channels_last", TensorProto.FLOAT, (10, 12, 3), [2, 0, 1])


def fixed_batch():
    net = Net()
    net.inputs = [helper.make_tensor_value_info("input", TensorProto.FLOAT, [4, 3, 10, 12])]
    net.x = net("GlobalAveragePool", net.x)
    net.x = net("Gemm", net("Reshape", net.x, np.array([4, 8])), weights(8, 5))
    return net.model()


NETWORKS["input_of_a_fixed_batch"] = fixed_batch


def quantised(static, form):
    """What onnxruntime's quantiser makes of a small network."""

    def whole():
        from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static

        net = Net()
        y = net("Conv", net.x, weights(8, 8, 3, 3) * 2, weights(8), pads=[1] * 4)
        y = net("Sigmoid", net("Add", y, net.x))
        net.x = net("Mul", net("Concat", y, net.x, axis=1), np.float32(1.5))
        model = net.head(16).model(17)
        with tempfile.TemporaryDirectory() as folder:
            before, after = pathlib.Path(folder, "a.onnx"), pathlib.Path(folder, "b.onnx")
            onnx.save(model, before)

            class Reader(CalibrationDataReader):
                left = [{"input": formula_input([1, 3, 10, 12])}]

                def get_next(self):
                    return self.left.pop() if self.left else None

            if static:
                quantize_static(before, after, Reader(), quant_format=QuantFormat[form], per_channel=True, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)
            else:
                quantize_dynamic(before, after, op_types_to_quantize=["MatMul", "Gemm", "Conv"])
            return onnx.load(after)

    return whole


NETWORKS["quantised_by_operators"] = quantised(True, "QOperator")
NETWORKS["quantised_dynamically"] = quantised(False, None)


def optimised():
    """What onnxruntime writes of a network after its extended optimisations."""
    net = Net()
    y = net("Add", net("Conv", net.x, weights(8, 8, 3, 3), weights(8), pads=[1] * 4), net.x)
    y = net("LeakyRelu", y, alpha=0.1)
    y = net("Mul", y, net("Sigmoid", net("Mul", y, np.float32(1.702))))
    y = net("Conv", y, weights(8, 8, 1, 1), weights(8))
    y = net("Clip", y, np.float32(0), np.float32(0.4))
    t = net("Reshape", y, np.array([1, 8, 120]))
    scores = net("MatMul", net("Transpose", t, perm=[0, 2, 1]), t)
    mixed = net("MatMul", t, net("Softmax", net("Mul", scores, np.float32(0.3))))
    net.x = net("Reshape", mixed, np.array([1, 8, 10, 12]))
    model = net.head().model(17)
    with tempfile.TemporaryDirectory() as folder:
        path = str(pathlib.Path(folder, "a.onnx"))
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.optimized_model_filepath = path
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return onnx.load(path)


NETWORKS["optimised_by_onnxruntime"] = optimised


@middle("matmul_rows_share", channels=6)
def _(net, x):
    # As in LambdaNetworks: each head's row of a place by the matrix of that place, which all heads share.
    rows = net("Transpose", net("Reshape", x, np.array([1, 2, 4, 120])), perm=[0, 1, 3, 2])
    matrices = net("Reshape", net("Conv", x, weights(12, 8, 1, 1)), np.array([1, 4, 3, 120]))
    matrices = net("Unsqueeze", net("Transpose", matrices, perm=[0, 3, 1, 2]), np.array([1]))
    product = net("MatMul", net("Unsqueeze", rows, np.array([3])), matrices)
    product = net("Transpose", net("Squeeze", product, np.array([3])), perm=[0, 1, 3, 2])
    return net("Relu", net("Reshape", product, np.array([1, 6, 10, 12])))


@middle("matmul_five_axes_by_four")
def _(net, x):
    product = net("MatMul", net("Reshape", x, np.array([1, 2, 4, 10, 12])), weights(2, 1, 12, 7))
    return net("Relu", net("Reshape", product, np.array([1, 8, 10, 7])))


# As in TNT: pixels of patches by themselves, joined to one token a patch, of which a class token makes the scores.
def _patches():
    net = Net()
    rows, columns = (np.arange(2)[:, None] + 2 * np.arange(count) for count in (5, 6))
    patches = net("Gather", net("Gather", net.x, rows, axis=2), columns, axis=4)
    patches = net("Reshape", net("Transpose", patches, perm=[0, 1, 2, 4, 3, 5]), np.array([1, 32, 30]))
    pixels = net("Reshape", net("Transpose", patches, perm=[0, 2, 1]), np.array([30, 8, 4]))
    pixels = net("LayerNormalization", net("Transpose", pixels, perm=[0, 2, 1]), weights(8) + 1, weights(8))
    tokens = net("MatMul", net("Reshape", pixels, np.array([1, 30, 32])), weights(32, 6))
    tokens = net("Concat", weights(1, 1, 6), tokens, axis=1)
    tokens = net("LayerNormalization", tokens, weights(6) + 1, weights(6), name="tokens")
    likeness = net("Softmax", net("MatMul", tokens, net("Transpose", tokens, perm=[0, 2, 1])))
    mixed = net("Squeeze", net("Slice", net("MatMul", likeness, tokens), np.array([0]), np.array([1]), np.array([1])), np.array([1]))
    net.x = net("Gemm", mixed, weights(6, 5), weights(5))
    return net.model()


NETWORKS["patches_as_tokens"] = _patches

def packed(name, operator, *parts, inner=20, outer=6, block=16, **attributes):
    """Weights of few bits, as files for browsers have them: rows of 20 numbers in blocks of 16."""

    def whole():
        net = Net(channels=inner)
        net.x = net("Flatten", net("GlobalAveragePool", net.x))
        sizes = {"K": inner, "N": outer, "block_size": block}
        given = [part if isinstance(part, str) else part() for part in parts]
        net.x = net("Relu", net(operator, net.x, *given, domain="com.microsoft", **sizes, **attributes))
        net.x = net("Gemm", net.x, weights(outer, 5), weights(5))
        return net.model(domains=["com.microsoft"])

    NETWORKS[name] = whole


def bytes_of(*shape):
    return lambda: RANDOM.integers(0, 256, shape).astype(np.uint8)


def sizes_of(*shape):
    return lambda: (0.02 + 0.05 * RANDOM.random(shape)).astype(np.float32)


packed("packed_4_bits", "MatMulNBits", bytes_of(6, 2, 8), sizes_of(12), bits=4)
packed("packed_4_bits_with_zero_points", "MatMulNBits", bytes_of(6, 2, 8), sizes_of(12), bytes_of(6), bits=4)
packed("packed_8_bits_with_bias", "MatMulNBits", bytes_of(6, 2, 16), sizes_of(12), bytes_of(12), "", lambda: weights(6), bits=8)
packed("packed_nf4", "MatMulBnb4", bytes_of(60), sizes_of(8), quant_type=1)
packed("packed_fp4", "MatMulBnb4", bytes_of(60), sizes_of(8), quant_type=0)


def _blocks():
    net = Net()
    halves = RANDOM.integers(-8, 8, (6, 8, 3, 3))
    levels = helper.make_tensor("levels", TensorProto.INT4, halves.shape, halves.flatten())
    net.parameters.append(levels)
    kernel = net("DequantizeLinear", "levels", sizes_of(6, 3, 3, 3)(), axis=1, block_size=3)
    net.x = net("Relu", net("Conv", net.x, kernel, weights(6)))
    return net.head(6).model(21)


NETWORKS["kernel_of_4_bits_in_blocks"] = _blocks

def guarded(net, x, mask):
    """As PyTorch's exporter writes attention: rows in which nothing may be looked at get nothing."""
    rows = net("Reshape", x, np.array([1, 8, 120]))
    likeness = net("Softmax", net("Add", net("MatMul", rows, net("Transpose", rows, perm=[0, 2, 1])), mask))
    kept = net("Where", net("IsNaN", likeness), np.float32(0), likeness)
    return net("Reshape", net("MatMul", kept, rows), np.array([1, 8, 10, 12]))


middle("guarded_attention", opset=20)(lambda net, x: guarded(net, x, np.zeros((1, 8, 8), np.float32)))
MASK = np.where(np.arange(8)[None, :, None] == 3, -np.inf, np.linspace(-1, 1, 64).reshape(1, 8, 8)).astype(np.float32)
middle("guarded_attention_with_an_empty_row", opset=20)(lambda net, x: guarded(net, x, MASK))


@middle("logarithms_without_numbers")
def _(net, x):
    y = net("Log", net("Max", scaled(net, x), np.float32(-0.1)))
    y = net("Where", net("IsNaN", y), np.float32(-3), y)
    z = net("Log", x)
    z = net("Where", net("IsInf", z, detect_positive=0), np.float32(-2), z)
    return net("Add", y, net("Where", net("IsInf", z, detect_negative=0), np.float32(9), z))


# The node of the layer that people look at, and its maps.
LAYERS = {"patches_as_tokens": ["tokens", [6, 5, 6]]}


def collect(paths):
    tensors, cases, probabilities = {}, [], []
    for path in paths:
        try:
            x, scores = expected(path)
        except Exception as error:  # onnxruntime's errors have no common type.
            print(path.name, str(error)[:600])
            continue
        cases.append(path.stem)
        if scores.size > 1 and scores.min() >= 0 and abs(scores.sum() - 1) < 1e-3:
            probabilities.append(path.stem)
        tensors[f"{path.stem}/model"] = np.frombuffer(path.read_bytes(), np.uint8)
        data = path.with_name(path.name + ".data")
        if data.exists():
            tensors[f"{path.stem}/data"] = np.frombuffer(data.read_bytes(), np.uint8)
        tensors[f"{path.stem}/input"], tensors[f"{path.stem}/scores"] = x, scores
    layers = {case: layer for case, layer in LAYERS.items() if case in cases}
    return tensors, {"cases": cases, "probabilities": probabilities, "layers": layers, "versions": versions("onnx", "onnxruntime", "numpy")}


def made(folder):
    """The networks of this script as files."""
    for name, make in NETWORKS.items():
        path = pathlib.Path(folder, f"{name}.onnx")
        onnx.save(make(), path)
        yield path


if __name__ == "__main__":
    if len(sys.argv) == 3:
        folder, out = map(pathlib.Path, sys.argv[1:])
        fixture.HERE = out.resolve().parent
        save(out.resolve(), *collect(sorted(folder.glob("*.onnx"))))
    else:
        with tempfile.TemporaryDirectory() as folder:
            save(HERE / "forms.safetensors", *collect(made(folder)))
