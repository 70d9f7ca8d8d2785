"""Writes `bright.onnx`: a network whose heatmap is known without computing anything.

Class `bright` is the brightness of each 4×4 tile of a 48×32 picture (its map is the picture itself, small), class `dark`
what it lacks to white. Pooling and a linear layer that is the identity follow, so CAM and Grad-CAM are both that map.
Labels and preprocessing are in the file's metadata, as an exporter would write them.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from fixture import HERE

WIDTH, HEIGHT, TILE = 48, 32, 4


def parameter(name, values):
    return numpy_helper.from_array(np.asarray(values, dtype=np.float32), name)


brightness = np.full((1, 3, TILE, TILE), 1 / (3 * TILE * TILE))
graph = helper.make_graph(
    [
        helper.make_node("Conv", ["input", "weights", "bias"], ["tiles"], "tiles", kernel_shape=[TILE, TILE], strides=[TILE, TILE]),
        helper.make_node("Relu", ["tiles"], ["evidence"], "evidence"),
        helper.make_node("GlobalAveragePool", ["evidence"], ["pooled"], "pool"),
        helper.make_node("Flatten", ["pooled"], ["features"], "flatten", axis=1),
        helper.make_node("Gemm", ["features", "identity"], ["logits"], "classes"),
    ],
    "bright",
    [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, HEIGHT, WIDTH])],
    [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 2])],
    [
        parameter("weights", np.concatenate([brightness, -brightness])),
        parameter("bias", [0, 1]),
        parameter("identity", np.eye(2)),
    ],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8, producer_name="make_bright.py")
helper.set_model_props(model, {"labels": "bright\ndark", "preprocess": "RGB 0..1, stretch"})
onnx.checker.check_model(model, full_check=True)
(HERE / "bright.onnx").write_bytes(model.SerializeToString())
