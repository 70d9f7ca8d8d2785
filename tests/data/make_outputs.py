"""Writes `outputs.safetensors`: one small classifier with the outputs that files have beside its scores, or instead.

Features before or behind the scores, probabilities, the best class, the best few, scores without the batch's axis. The
scores before softmax are the same in all of them; onnxruntime says what they are.

Layout: `CASE/model` u8: the bytes of the ONNX file; `input`, `scores` (f32).
"""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from fixture import HERE, save, versions
from make_ops import run

HEIGHT, WIDTH, CLASSES = 6, 8, 5

n = helper.make_node
BODY = [
    n("Conv", ["input", "kernel"], ["convolved"], pads=[1, 1, 1, 1]),
    n("Relu", ["convolved"], ["activations"]),
    n("GlobalAveragePool", ["activations"], ["pooled"]),
    n("Flatten", ["pooled"], ["features"]),
    n("Gemm", ["features", "weights", "bias"], ["scores"], transB=1),
]
SOFTMAX = n("Softmax", ["scores"], ["probabilities"], axis=1)
BEST = n("ArgMax", ["scores"], ["best"], axis=1, keepdims=0)
# Nodes behind the scores, and outputs with their types.
FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
CASES = {
    "scores": ([], {"scores": FLOAT}),
    "features_first": ([], {"features": FLOAT, "scores": FLOAT}),
    "features_last": ([], {"scores": FLOAT, "activations": FLOAT, "features": FLOAT}),
    "features_and_probabilities": ([SOFTMAX], {"features": FLOAT, "probabilities": FLOAT}),
    "best_and_probabilities": ([SOFTMAX, BEST], {"best": INT64, "probabilities": FLOAT}),
    "best_alone": ([BEST], {"best": INT64}),
    "best_few": ([SOFTMAX, n("TopK", ["probabilities", "k"], ["most", "which"], axis=1)], {"most": FLOAT, "which": INT64}),
    "best_name": (
        [SOFTMAX, BEST, n("Gather", ["names", "best"], ["name"], axis=0)],
        {"name": INT64, "features": FLOAT, "probabilities": FLOAT},
    ),
    "without_batch": ([SOFTMAX, n("Squeeze", ["probabilities", "first"], ["flat"])], {"flat": FLOAT}),
}


def main():
    rng = np.random.default_rng(5)
    parameters = {
        "kernel": rng.standard_normal((4, 3, 3, 3)).astype(np.float32),
        "weights": rng.standard_normal((CLASSES, 4)).astype(np.float32),
        "bias": rng.standard_normal(CLASSES).astype(np.float32),
        "k": np.int64([2]),
        "names": np.arange(10, 10 + CLASSES),
        "first": np.int64([0]),
    }
    x = rng.standard_normal((1, 3, HEIGHT, WIDTH)).astype(np.float32)
    tensors = {"input": x}
    for case, (nodes, outputs) in CASES.items():
        nodes = [*BODY, *nodes]
        used = {name for node in nodes for name in node.input}
        graph = helper.make_graph(
            nodes,
            case,
            [helper.make_tensor_value_info("input", FLOAT, x.shape)],
            [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs.items()],
            [numpy_helper.from_array(np.asarray(array), name) for name, array in parameters.items() if name in used],
        )
        proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        results = run(proto, {"input": x})
        if case == "scores":
            (tensors["scores"],) = results
        tensors[f"{case}/model"] = np.frombuffer(proto.SerializeToString(), np.uint8)
    save(HERE / "outputs.safetensors", tensors, {"cases": list(CASES), "versions": versions("onnx", "onnxruntime", "numpy")})


if __name__ == "__main__":
    main()
