"""Writes small networks as a visitor brings them: `nameless.onnx`, with the thousand outputs of ImageNet, many layers and not
a word about either, `ultralytics.onnx`, with the metadata that Ultralytics' exporter writes for its classifiers,
`two-files.onnx`, whose parameters lie in `two-files.onnx.data`, and `open-sides.onnx`, whose metadata alone tell how large the
pictures are that it takes.

All look at the mean colour of the tiles of a 48×32 picture.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from fixture import HERE

WIDTH, HEIGHT, TILE, LAYERS = 48, 32, 8, 48
random = np.random.default_rng(18)


def parameter(name, values):
    return numpy_helper.from_array(np.asarray(values, dtype=np.float32), name)


def write(file, classes, layers, metadata, beside=None, are_sides_open=False):
    means = np.zeros((3, 3, TILE, TILE))
    for channel in range(3):
        means[channel, channel] = 1 / TILE**2
    nodes = [helper.make_node("Conv", ["input", "means"], ["layer 0"], "tiles", kernel_shape=[TILE, TILE], strides=[TILE, TILE])]
    for layer in range(1, layers + 1):
        nodes.append(helper.make_node("Softsign", [f"layer {layer - 1}"], [f"layer {layer}"], f"softsign {layer}"))
    pooled = f"layer {layers}" if are_sides_open else "pooled"
    if not are_sides_open:
        nodes.append(helper.make_node("GlobalAveragePool", [f"layer {layers}"], [pooled], "pool"))
    nodes += [
        helper.make_node("Flatten", [pooled], ["features"], "flatten", axis=1),
        helper.make_node("Gemm", ["features", "classes"], ["logits"], "head"),
    ]
    sides = ["height", "width"] if are_sides_open else [HEIGHT, WIDTH]
    features = 3 * (HEIGHT // TILE) * (WIDTH // TILE) if are_sides_open else 3
    graph = helper.make_graph(
        nodes,
        file,
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, *sides])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, classes])],
        [parameter("means", means), parameter("classes", random.normal(size=(features, classes)))],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="make_own.py")
    helper.set_model_props(model, metadata)
    onnx.checker.check_model(model, full_check=True)
    parameters = sum(int(np.prod(tensor.dims)) for tensor in graph.initializer)
    if beside:
        (HERE / beside).unlink(missing_ok=True)
    onnx.save(model, HERE / file, save_as_external_data=bool(beside), location=beside, size_threshold=0)
    print(f"{file}: {parameters} parameters, {len(graph.node)} nodes, opset {model.opset_import[0].version}")


write("nameless.onnx", 1000, LAYERS, {})
write(
    "ultralytics.onnx",
    3,
    1,
    {"author": "Ultralytics", "task": "classify", "imgsz": "[32, 48]", "stride": "1", "names": "{2: 'blue thing', 0: 'red thing', 1: \"green's\"}"},
)
write("two-files.onnx", 3, 1, {}, "two-files.onnx.data")
write("open-sides.onnx", 3, 1, {"preprocess": '{"width": 48, "height": 32, "mean": [0], "std": [1]}'}, are_sides_open=True)
