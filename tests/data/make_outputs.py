"""Writes `outputs.safetensors`: one small classifier with the outputs that files have beside its scores, or instead.

Features before or behind the scores, probabilities, the best class, the best few, scores without the batch's axis; and
other ways to the same head: nodes out of order, pooling with channels last, groups normalised. onnxruntime says what the
scores before softmax are.

Layout: `CASE/model` u8: the bytes of the ONNX file; `CASE/scores`, `input` (f32).
"""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from fixture import HERE, save, versions
from make_ops import run

HEIGHT, WIDTH, CLASSES = 6, 8, 5

n = helper.make_node
CONVOLUTION = n("Conv", ["input", "kernel"], ["convolved"], pads=[1, 1, 1, 1])
RELU = n("Relu", ["convolved"], ["activations"])
LINEAR = n("Gemm", ["features", "weights", "bias"], ["scores"], transB=1)
POOLING = [n("GlobalAveragePool", ["activations"], ["pooled"]), n("Flatten", ["pooled"], ["features"])]
BODY = [CONVOLUTION, RELU, *POOLING, LINEAR]
CHANNELS_LAST = [
    n("Transpose", ["activations"], ["turned"], perm=[0, 2, 3, 1]),
    n("ReduceMean", ["turned"], ["features"], axes=[1, 2], keepdims=0),
]
GROUPS = [
    n("Reshape", ["convolved", "two"], ["groups"]),
    n("InstanceNormalization", ["groups", "ones", "zeros"], ["normal"]),
    n("Reshape", ["normal", "four"], ["back"]),
    n("Mul", ["back", "scale"], ["scaled"]),
    n("Relu", ["scaled"], ["activations"]),
]
SOFTMAX = n("Softmax", ["scores"], ["probabilities"], axis=1)
BEST = n("ArgMax", ["scores"], ["best"], axis=1, keepdims=0)
# Nodes behind the scores, and outputs with their types.
FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
CASES = {
    "out_of_order": ([*BODY[1:], CONVOLUTION], [], {"scores": FLOAT}),
    "pooled_with_channels_last": ([CONVOLUTION, RELU, *CHANNELS_LAST, LINEAR], [], {"scores": FLOAT}),
    "normalised_groups": ([CONVOLUTION, *GROUPS, *POOLING, LINEAR], [], {"scores": FLOAT}),
    "scores": (BODY, [], {"scores": FLOAT}),
    "features_first": (BODY, [], {"features": FLOAT, "scores": FLOAT}),
    "features_last": (BODY, [], {"scores": FLOAT, "activations": FLOAT, "features": FLOAT}),
    "features_and_probabilities": (BODY, [SOFTMAX], {"features": FLOAT, "probabilities": FLOAT}),
    "best_and_probabilities": (BODY, [SOFTMAX, BEST], {"best": INT64, "probabilities": FLOAT}),
    "best_alone": (BODY, [BEST], {"best": INT64}),
    "best_few": (BODY, [SOFTMAX, n("TopK", ["probabilities", "k"], ["most", "which"], axis=1)], {"most": FLOAT, "which": INT64}),
    "best_name": (
        BODY,
        [SOFTMAX, BEST, n("Gather", ["names", "best"], ["name"], axis=0)],
        {"name": INT64, "features": FLOAT, "probabilities": FLOAT},
    ),
    "without_batch": (BODY, [SOFTMAX, n("Squeeze", ["probabilities", "first"], ["flat"])], {"flat": FLOAT}),
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
        "two": np.int64([1, 2, -1]),
        "four": np.int64([1, 4, HEIGHT, WIDTH]),
        "ones": np.ones(2, np.float32),
        "zeros": np.zeros(2, np.float32),
        "scale": rng.standard_normal((4, 1, 1)).astype(np.float32),
    }
    x = rng.standard_normal((1, 3, HEIGHT, WIDTH)).astype(np.float32)
    tensors = {"input": x}
    for case, (body, nodes, outputs) in CASES.items():
        nodes = [*body, *nodes]
        used = {name for node in nodes for name in node.input}

        def model(outputs):
            graph = helper.make_graph(
                nodes,
                case,
                [helper.make_tensor_value_info("input", FLOAT, x.shape)],
                [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs.items()],
                [numpy_helper.from_array(np.asarray(array), name) for name, array in parameters.items() if name in used],
            )
            return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

        proto = model(outputs)
        run(proto, {"input": x})
        (tensors[f"{case}/scores"],) = run(model({"scores": FLOAT}), {"input": x})
        tensors[f"{case}/model"] = np.frombuffer(proto.SerializeToString(), np.uint8)
    save(HERE / "outputs.safetensors", tensors, {"cases": list(CASES), "versions": versions("onnx", "onnxruntime", "numpy")})


if __name__ == "__main__":
    main()
