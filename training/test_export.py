"""Exports torchvision's architectures with seeded random parameters, and writes beside each file what PyTorch and
pytorch-grad-cam make of it: `python training/test_export.py FOLDER [NAME …]`, for the test
`exported` in `tests/it`.

FOLDER/NAME/NAME.onnx and, for some, NAME.half.onnx.
FOLDER/NAME/reference.safetensors: `input` [1,3,H,W], `logits` [1,C], `half_logits` (onnxruntime's, for the file with half the bytes),
and `CLASS/map`, `CLASS/heatmap` of Grad-CAM for the top class and the tenth, at the value `default` of the file, which
must be the engine's own choice.
"""

import json
import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.image import scale_cam_image
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from safetensors.numpy import save_file
from torch import nn

import bundle
import export_torchvision

# Name of the network: side of the input, the module after which pytorch-grad-cam's own
# documentation looks (its last feature map, where it does not say).
NETWORKS = {
    "resnet18": (96, lambda n: n.layer4[-1]),
    "resnext50_32x4d": (96, lambda n: n.layer4[-1]),
    "mobilenet_v2": (96, lambda n: n.features[-1]),
    "mobilenet_v3_small": (96, lambda n: n.features[-1]),
    "efficientnet_b0": (96, lambda n: n.features[-1]),
    "shufflenet_v2_x0_5": (96, lambda n: n.conv5),
    "squeezenet1_1": (96, lambda n: n.classifier[2]),
    "densenet121": (96, lambda n: n.features_relu),
    # Its pooling to 7 × 7 has an ONNX form only where the map's side is a multiple of 7.
    "vgg11": (224, lambda n: n.features[-1]),
    "googlenet": (96, lambda n: n.inception5b),
    "regnet_y_400mf": (96, lambda n: n.trunk_output[-1]),
    "mnasnet0_5": (96, lambda n: n.layers[-1]),
    "convnext_tiny": (96, lambda n: n.features[-1][-1]),
}


# Of these, a file with two bytes a parameter too.
HALVED = ("resnet18", "mobilenet_v3_small", "convnext_tiny")


class DenseNet(nn.Module):
    """torchvision's, with the ReLU after its features as a module, so that a hook can look behind it."""

    def __init__(self, network):
        super().__init__()
        self.features, self.features_relu, self.classifier = network.features, nn.ReLU(), network.classifier

    def forward(self, x):
        return self.classifier(self.features_relu(self.features(x)).mean((2, 3)))


def network_of(name: str, side: int):
    """A network whose maps are not flat: normalised by the statistics of one batch, as if it had been trained."""
    network, _ = export_torchvision.build(name, "none")
    if name == "densenet121":
        network = DenseNet(network)
    rng = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
        if getattr(module, "inplace", False):
            # pytorch-grad-cam's hooks would see what a later module wrote into their tensor.
            module.inplace = False
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0, module.in_features ** -0.5, generator=rng)
    with torch.no_grad():
        network.train()(scenes(8, side, rng))
    return network.eval(), scenes(1, side, rng)


def scenes(count: int, side: int, rng: torch.Generator) -> torch.Tensor:
    """Patches of colour of several sizes, in the range of normalised pixels."""
    patches = (torch.randn(count, 3, n, n, generator=rng) for n in (3, 7, 24))
    return sum(nn.functional.interpolate(p, (side, side), mode="bicubic") for p in patches) / 2


def value_of(proto: onnx.ModelProto, x: np.ndarray, wanted: np.ndarray) -> str:
    """The last value of the file that has these numbers."""
    probed = onnx.ModelProto()
    probed.CopyFrom(proto)
    shapes = {v.name: len(v.type.tensor_type.shape.dim) for v in onnx.shape_inference.infer_shapes(proto).graph.value_info}
    names = [n for node in proto.graph.node for n in node.output if shapes.get(n) == 4]
    del probed.graph.output[:]
    probed.graph.output.extend(helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in names)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(probed.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found = [n for n, v in zip(names, session.run(names, {"input": x}))
             if v.shape == wanted.shape and np.abs(v - wanted).max() <= 1e-3 * np.abs(wanted).max()]
    if not found:
        raise SystemExit("no value of the file is what pytorch-grad-cam looks at")
    return found[-1]


def check(name: str, folder: Path):
    side, layer = NETWORKS[name]
    network, x = network_of(name, side)
    preprocess = {"width": side, "height": side, "resize": "crop", **export_torchvision.IMAGENET, "order": "RGB"}
    proto = export_torchvision.onnx_of(network, (1, 3, side, side))
    with torch.no_grad():
        logits = network(x)
    labels = [f"class {i}" for i in range(logits.shape[1])]
    bundle.describe(proto, preprocess, labels)
    bundle.write(folder, f"{name}.onnx", proto.SerializeToString(), labels, {"name": name, "preprocess": preprocess})

    module, seen = layer(network), []
    handle = module.register_forward_hook(lambda _module, _inputs, output: seen.append(output.detach().numpy()))
    with torch.no_grad():
        network(x)
    handle.remove()
    default = value_of(proto, x.numpy(), seen[0])
    order = logits[0].argsort(descending=True).tolist()
    tensors = {"input": x.numpy(), "logits": logits.numpy()}
    for category in (order[0], order[9]):
        cam = GradCAM(network, [module])
        heatmap = cam(x, [ClassifierOutputTarget(category)])[0]
        hooks = cam.activations_and_grads
        activations, gradients = (v[0].detach().numpy() for v in (hooks.activations, hooks.gradients))
        raw = cam.get_cam_image(x, module, [ClassifierOutputTarget(category)], activations, gradients, False)[0]
        hooks.release()
        # The library scales each layer's heatmap, and then the mean over layers once more.
        if not np.allclose(scale_cam_image(scale_cam_image(np.maximum(raw, 0)[None], (side, side)))[0], heatmap, atol=1e-5):
            raise SystemExit(f"{name}: this map does not give pytorch-grad-cam's heatmap")
        tensors |= {f"{category}/map": raw, f"{category}/heatmap": heatmap}
    positive = min((tensors[f"{c}/map"] > 0).mean() for c in (order[0], order[9]))
    if name in HALVED:
        bundle.half_precision(proto)
        (folder / f"{name}.half.onnx").write_bytes(proto.SerializeToString())
        session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
        tensors["half_logits"] = session.run(None, {"input": x.numpy()})[0]
    save_file({k: np.ascontiguousarray(v, np.float32) for k, v in tensors.items()}, folder / "reference.safetensors",
              {"default": json.dumps(default), "classes": json.dumps([order[0], order[9]])})
    print(f"{name}: {side} px, {default} {list(seen[0].shape[1:])}, at least {positive:.0%} of a map positive", flush=True)


def main():
    warnings.filterwarnings("ignore")
    folder, *names = sys.argv[1:]
    for name in names or NETWORKS:
        check(name, Path(folder) / name)


if __name__ == "__main__":
    main()
