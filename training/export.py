"""Writes the network as ONNX with names that a person can read, and the manifest and labels beside it.

The graph is spelt out here rather than traced, because its names are part of what users see (the target layer is chosen
by name), and so that batch normalisation is folded and parameters take two bytes each.
"""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper

import bundle
from data import MEAN, STD
from network import STRIDE, Everyday, folded

NAME = "Everyday 100"
FILE = "everyday.onnx"
RESIZE = "stretch"
LICENSE = ("MIT OR Apache-2.0 for the parameters; they were trained on Tiny ImageNet, whose images are under ImageNet's "
           "terms for non-commercial research and are not included")
SOURCE = ("trained from random parameters by training/train.py of gradcam-web on names and boxes of 100 classes of "
          "Tiny ImageNet, with soft labels from a MobileNetV2 trained on ImageNet")


class _Graph:
    def __init__(self):
        self.nodes, self.initialisers = [], []

    def node(self, operator: str, inputs: list[str], name: str, **attributes) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def parameter(self, name: str, values: torch.Tensor) -> str:
        self.initialisers.append(numpy_helper.from_array(values.detach().numpy().astype(np.float16), f"{name}.f16"))
        return self.node("Cast", [f"{name}.f16"], name, to=TensorProto.FLOAT)

    def conv(self, x: str, name: str, conv: torch.nn.Conv2d) -> str:
        inputs = [x, self.parameter(f"{name}.weight", conv.weight), self.parameter(f"{name}.bias", conv.bias)]
        return self.node("Conv", inputs, name, kernel_shape=list(conv.kernel_size), strides=list(conv.stride),
                         pads=list(conv.padding) * 2)


def preprocess(side: int) -> dict:
    return {"width": side, "height": side, "resize": RESIZE, "mean": MEAN, "std": STD, "order": "RGB"}


def model(network: Everyday, side: int, labels: list[str]) -> tuple[onnx.ModelProto, str]:
    """The network for an input of `side` pixels, and the name of its target layer."""
    network, graph = folded(network), _Graph()
    x = graph.node("Relu", [graph.conv("input", "stem.conv", network.stem)], "stem.relu")
    for s, stage in enumerate(network.stages, 1):
        for b, block in enumerate(stage, 1):
            name = f"stage{s}.block{b}"
            y = graph.node("Relu", [graph.conv(x, f"{name}.conv1", block.conv1)], f"{name}.relu1")
            y = graph.conv(y, f"{name}.conv2", block.conv2)
            if block.shortcut is not None:
                x = graph.conv(x, f"{name}.shortcut", block.shortcut)
            x = graph.node("Relu", [graph.node("Add", [y, x], f"{name}.add")], f"{name}.relu")
    pooled = graph.node("Flatten", [graph.node("GlobalAveragePool", [x], "pool")], "pool.flat", axis=1)
    graph.node("Gemm", [pooled, graph.parameter("linear.weight", network.linear.weight),
                        graph.parameter("linear.bias", network.linear.bias)], "logits", transB=1)

    def value(name, shape):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    proto = helper.make_model(
        helper.make_graph(graph.nodes, "everyday", [value("input", ["batch", 3, side, side])],
                          [value("logits", ["batch", len(labels)])], graph.initialisers),
        opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="gradcam-web")
    bundle.describe(proto, preprocess(side), labels, license=LICENSE, source=SOURCE)
    onnx.checker.check_model(proto, full_check=True)
    return proto, x


def write(network: Everyday, side: int, labels: list[str], folder: Path):
    """Writes `everyday.onnx`, `model.json` and `labels.json`, and checks the file against PyTorch."""
    proto, target_layer = model(network, side, labels)
    contents = proto.SerializeToString()
    x = torch.rand(4, 3, side, side, generator=torch.Generator().manual_seed(0)) * 4 - 2
    got = onnxruntime.InferenceSession(contents).run(["logits"], {"input": x.numpy()})[0]
    exact = folded(network)
    with torch.no_grad():
        for p in exact.parameters():
            p.copy_(p.half())
        wanted, unrounded = exact(x).numpy(), network.eval()(x).numpy()
    scale = np.abs(wanted).max()
    difference, rounding = np.abs(got - wanted).max() / scale, np.abs(unrounded - wanted).max() / scale
    print(f"{FILE}: {len(contents)} bytes; logits differ from PyTorch's by {difference:.1e} of the largest, "
          f"{rounding:.1e} of which half precision accounts for in the parameters")
    if difference > 1e-3:
        raise SystemExit(f"{FILE} does not compute what PyTorch computes")

    bundle.write(folder, FILE, contents, labels, {
        "name": NAME, "license": LICENSE, "source": SOURCE, "preprocess": preprocess(side), "targetLayer": target_layer})
    print(f"wrote {folder}: input {side}×{side}, map {side // STRIDE}×{side // STRIDE} at {target_layer}")
