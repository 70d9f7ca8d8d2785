"""Writes `large.onnx` and `large.safetensors`: a network with more pixels than a graphics card takes groups of threads along
one axis, at full size in a padding, a convolution, a function and an addition; its scores by onnxruntime.
"""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from fixture import HERE, formula_input, save, versions

WIDTH, HEIGHT = 1100, 1000
random = np.random.default_rng(7)


def weights(name, *shape):
    values = random.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
    return numpy_helper.from_array(values.astype(np.float32), name)


node = helper.make_node
graph = helper.make_graph(
    [
        node("Pad", ["input", "margin"], ["padded"]),
        node("Conv", ["padded", "stem"], ["edges"]),
        node("Tanh", ["edges"], ["bounded"]),
        node("Add", ["edges", "bounded"], ["sum"]),
        node("MaxPool", ["sum"], ["pooled"], kernel_shape=[4, 4], strides=[4, 4]),
        node("Conv", ["pooled", "features"], ["activations"], strides=[3, 3]),
        node("Relu", ["activations"], ["evidence"]),
        node("GlobalAveragePool", ["evidence"], ["means"]),
        node("Flatten", ["means"], ["row"]),
        node("Gemm", ["row", "classes"], ["logits"], transB=1),
    ],
    "large",
    [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, HEIGHT, WIDTH])],
    [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 5])],
    [
        numpy_helper.from_array(np.array([0, 0, 1, 1, 0, 0, 0, 0]), "margin"),
        weights("stem", 32, 3, 3, 3),
        weights("features", 8, 32, 3, 3),
        weights("classes", 5, 8),
    ],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="make_large.py")
onnx.checker.check_model(model, full_check=True)
(HERE / "large.onnx").write_bytes(model.SerializeToString())

session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
(logits,) = session.run(None, {"input": formula_input([1, 3, HEIGHT, WIDTH])})
save(HERE / "large.safetensors", {"logits": logits}, {"versions": versions("onnx", "onnxruntime")})
