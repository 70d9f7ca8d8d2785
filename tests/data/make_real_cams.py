"""Writes `cams/real_NAME.safetensors`: what pytorch-grad-cam and torch-cam make of the trained networks in
`../shared/models`, rebuilt in PyTorch from their ONNX files (maps only, no parameters). Of those named as arguments, or of
all.

The input is the formula of the reference logits (`fixture.formula_input`); the rebuilt network's logits agree with
`models/refs`.

Layout as in `make_cams.py` without `input`, activations and gradients: `logits` [1,C], `LAYER/CLASS/METHOD/map`; for
`resnet20` also `LAYER/CLASS/METHOD/{weights,heatmap,spread}`, `input/CLASS/fullgrad/{map,heatmap}` and `noise`. The larger
networks have maps of the methods that need one pass; grad-cam++ and xgrad-cam not at layers with negative values. `__metadata__`: `model` (file in `../shared/models`), `classes` (the
top class and the tenth, of `resnet20` the third), `layers`, `smooth`, `versions`.
"""

import logging
import sys
import warnings

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import nn

import make_cams
from fixture import HERE, SHARED, formula_input, save, versions
from make_cams import PLAIN, PROJECTED, ClassifierOutputTarget, methods_at, run_pgc, run_torchcam, with_sign_rule


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


class FromOnnx(nn.Module):
    """One submodule for each node, so that hooks reach every value."""

    def __init__(self, path):
        super().__init__()
        graph = onnx.load(path).graph
        constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        self.steps = []
        self.name_of = {}
        self.nodes = nn.ModuleList()
        for node in graph.node:
            attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            (output,) = node.output
            if node.op_type == "Cast":
                constants[output] = constants[node.input[0]].astype(np.float32)
                continue
            if node.op_type == "Constant":
                constants[output] = numpy_helper.to_array(attributes["value"])
                continue
            if node.op_type == "DequantizeLinear" and node.input[0] in constants:
                q, scale, zero = (constants[name] for name in node.input)
                column = (-1,) + (1,) * (q.ndim - 1)
                constants[output] = ((q.astype(np.float32) - zero.astype(np.float32).reshape(column)) * scale.reshape(column)).astype(np.float32)
                continue
            parameters = [torch.from_numpy(np.array(constants[n])) for n in node.input if n in constants]
            self.nodes.append(module_of(node.op_type, attributes, parameters))
            self.steps.append(([n for n in node.input if n not in constants], output))
            self.name_of[output] = node.name
        self.input, self.output = graph.input[0].name, graph.output[0].name

    def forward(self, x):
        values = {self.input: x}
        for module, (inputs, output) in zip(self.nodes, self.steps):
            values[output] = module(*(values[name] for name in inputs))
        return values[self.output]

    def module(self, value):
        """The name and the module whose output is `value`."""
        index = [output for _, output in self.steps].index(value)
        return f"nodes.{index}", self.nodes[index]


def module_of(operator, attributes, parameters):
    if operator == "Conv":
        weight, bias = (*parameters, None)[:2]
        top, left, bottom, right = attributes["pads"]
        conv = nn.Conv2d(
            weight.shape[1] * attributes.get("group", 1),
            weight.shape[0],
            weight.shape[2:],
            stride=attributes["strides"],
            padding=(top, left) if (top, left) == (bottom, right) else 0,
            groups=attributes.get("group", 1),
            bias=bias is not None,
        )
        conv.weight.data = weight
        if bias is not None:
            conv.bias.data = bias
        return conv if (top, left) == (bottom, right) else nn.Sequential(nn.ZeroPad2d((left, right, top, bottom)), conv)
    if operator == "BatchNormalization":
        norm = nn.BatchNorm2d(len(parameters[0]), eps=attributes["epsilon"])
        norm.weight.data, norm.bias.data, norm.running_mean, norm.running_var = parameters
        return norm
    if operator == "Gemm":
        linear = nn.Linear(parameters[0].shape[1], parameters[0].shape[0])
        linear.weight.data, linear.bias.data = parameters
        return linear
    if operator == "Clip":
        assert [float(p) for p in parameters] == [0.0, 6.0]
        return nn.ReLU6()
    if operator == "QuantizeLinear":
        scale, zero = parameters
        limits = torch.iinfo(zero.dtype)
        # Rounds and clips to what the quantised number stands for; gradients pass, but not where it clips.
        return Function(lambda x: torch.fake_quantize_per_tensor_affine(x, float(scale), int(zero), limits.min, limits.max))
    if operator == "DequantizeLinear":
        return nn.Identity()
    if operator == "Slice":
        starts, ends, axes, steps = (p.tolist() for p in parameters)
        window = {axis: slice(s, e, step) for s, e, axis, step in zip(starts, ends, axes, steps)}
        return Function(lambda x: x[tuple(window.get(axis, slice(None)) for axis in range(x.ndim))])
    if operator == "Pad":
        pads = parameters[0].tolist()
        flat = [p for axis in (3, 2, 1, 0) for p in (pads[axis], pads[axis + 4])]
        return Function(lambda x: nn.functional.pad(x, flat))
    return {
        "Relu": nn.ReLU,
        "LeakyRelu": lambda: nn.LeakyReLU(attributes["alpha"]),
        "MaxPool": lambda: nn.MaxPool2d(attributes["kernel_shape"], attributes["strides"], ceil_mode=bool(attributes.get("ceil_mode", 0))),
        "Concat": lambda: Function(lambda *inputs: torch.cat(inputs, attributes["axis"])),
        "Add": lambda: Function(torch.add),
        "GlobalAveragePool": lambda: nn.AdaptiveAvgPool2d(1),
        "Flatten": lambda: nn.Flatten(attributes["axis"]),
    }[operator]()


ONE_PASS = ["grad-cam", "hirescam", "grad-cam-elementwise", "grad-cam++", "xgrad-cam", "layercam", "fem"]
NETWORKS = {
    # NAME: file, layers, value whose node holds the weights of CAM (None: the pooled map's own channel)
    "squeezenet": ("squeezenet1_1_torchvision_fp16w", {"late": "classifier.1_relu", "features": "concat_60", "early": "concat_31"}, None),
    "mobilenet_v1": ("mobilenet_v1_0.25_224", {"late": "conv_pw_13_relu", "early": "conv_pw_11_relu"}, "conv_preds"),
    "mobilenet_v2": ("mobilenet_v2_1.0_224_w8", {"late": "conv_62_relu6", "early": None}, "conv_64"),
    "tiny_darknet": ("tiny_darknet", {"late": "conv2d_16", "early": "leaky_re_lu_11"}, None),
    "resnet20": ("resnet20_cifar10", {"late": "layer3.2.out", "early": "layer2.1.out", "inside": "relu_35"}, "logits"),
}


def cam_at_late(network, layer, fc, activations, x):
    size = (x.shape[3], x.shape[2])

    def run(category):
        if fc is None:
            result = {"map": activations[0, category]}
        else:
            result = run_torchcam(make_cams.tcm.CAM, network, layer, x, category, fc_layer=network.module(fc)[0])
        scaled = make_cams.scale_cam_image(np.maximum(result["map"], 0)[None], size)
        return result | {"heatmap": make_cams.scale_cam_image(np.maximum(scaled, 0))[0]}

    return run


def main():
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    logging.getLogger().setLevel(logging.ERROR)
    noise = torch.randn(1009, generator=torch.Generator().manual_seed(7))
    for name in sys.argv[1:] or NETWORKS:
        file, layers, fc = NETWORKS[name]
        network = FromOnnx(SHARED / f"models/{file}.onnx").eval()
        if name == "mobilenet_v2":
            layers = layers | {"early": second_last_add(network)}
        shape = (1, 3, 32, 32) if name == "resnet20" else (1, 3, 224, 224)
        x = torch.from_numpy(formula_input(shape))
        with torch.no_grad():
            logits = network(x)
        expected = np.fromfile(SHARED / f"models/refs/{file}.logits.f32", "<f4")
        difference = np.abs(logits[0].numpy() - expected).max() / np.abs(expected).max()
        if difference > 1e-4:
            raise ValueError(f"{file}: the rebuilt network's logits differ by {difference}")
        order = logits[0].argsort(descending=True).tolist()
        classes = [order[0], order[2 if name == "resnet20" else 9]]
        tensors = {"logits": logits.numpy()}
        found = {}
        for layer, value in layers.items():
            path, module = network.module(value)
            for category in classes:
                target = ClassifierOutputTarget(category)
                _, arrays = make_cams.activations_and_gradients(network, {layer: module}, x, target)
                activations = arrays[layer][0]
                found[layer] = {"value": value, "node": network.name_of[value], "shape": list(activations.shape)}
                cam = cam_at_late(network, path, fc, activations, x) if layer == "late" else None
                if name == "resnet20":
                    results = methods_at(network, name, path, x, category, noise, cam)
                else:
                    # Two methods divide by a channel's sum: where values of both signs cancel, f32 is not enough for
                    # anyone (pytorch-grad-cam itself is off by up to 7e-4 there).
                    signed = activations.min() < 0
                    results = {
                        m: run_pgc(PLAIN[m], network, path, x, target)
                        for m in ONE_PASS
                        if not (signed and m in ("grad-cam++", "xgrad-cam"))
                    }
                    for m in ("eigen-cam", "eigen-grad-cam"):
                        projected = with_sign_rule(run_pgc(PROJECTED[m], network, path, x, target), (x.shape[3], x.shape[2]))
                        results |= {m: projected} if projected else {}
                    if cam is not None:
                        results["cam"] = cam(category)
                for method, result in results.items():
                    for kind, array in result.items():
                        small = name == "resnet20" and layer == "late" and category == classes[0]
                        if kind == "map" or (kind in ("weights", "spread") and name == "resnet20") or (kind == "heatmap" and small):
                            tensors[f"{layer}/{category}/{method}/{kind}"] = array
        facts = {
            "model": f"{file}.onnx",
            "classes": classes,
            "layers": found,
            "versions": versions("torch", "grad-cam", "torchcam", "onnx", "numpy"),
        }
        if name == "resnet20":
            tensors["noise"] = noise.numpy()
            for category in classes:
                tensors |= {f"input/{category}/fullgrad/{kind}": v for kind, v in make_cams.full_grad(network, x, category).items()}
            facts["smooth"] = {m: {"samples": n, "deviation": d} for m, (n, d) in make_cams.SAMPLES.items()} | {
                "is-cam": {"samples": make_cams.IS_CAM_SAMPLES}
            }
        save(HERE / f"cams/real_{name}.safetensors", tensors, facts)
        print(f"  {name}: logits within {difference:.1e}, classes {classes}, scores {[round(float(logits[0, c]), 3) for c in classes]}")
        for key, array in tensors.items():
            if key.endswith("/map") and array.max() <= 0:
                print(f"  {name}: nothing positive in {key}")


def second_last_add(network):
    adds = [output for module, (inputs, output) in zip(network.nodes, network.steps) if len(inputs) == 2]
    return adds[-2]


if __name__ == "__main__":
    main()
