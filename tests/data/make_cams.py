"""Writes `cams/NAME.onnx` and `cams/NAME.safetensors`: small seeded-random networks and what the libraries of the
field (pytorch-grad-cam, torch-cam, captum) make of them. Of those named as arguments, or of all.

The networks (all activations nn.ReLU, but for `curved` and `bent`, none in place; weights scaled on the very input so that about half of the
units are active and the logits spread):

| NAME          | input    | network |
| ------------- | -------- | ------- |
| `gap`         | 3x24x36  | conv s2, conv, conv; global average pooling; one linear layer |
| `squeeze`     | 3x32x44  | conv s2, ceil-mode max pooling, two fire modules (1x1 and 3x3 branches concatenated), 1x1 conv, ReLU, average pooling |
| `vgg`         | 3x24x24  | conv, conv, max pooling, conv, max pooling; flatten; two linear layers |
| `residual`    | 3x29x41  | conv, two residual blocks with batch normalisation (the second with a strided 1x1 shortcut), pooling, linear |
| `flatten`     | 1x20x28  | conv, padded average pooling, conv; flatten; one linear layer |
| `golden_tiny` | 1x4x4    | captum's hand example: conv, ReLU, flatten, linear, ReLU; weights written by hand |
| `single`      | 3x24x32  | conv s2, conv; pooling; linear with a single output (binary) |
| `curved`      | 3x26x38  | conv s2, SiLU, conv, ReLU, conv s2, GELU; pooling; linear, SiLU, linear |
| `bent`        | 3x22x34  | conv s2, ELU, conv, CELU, conv s2, ELU, times its sigmoid; pooling; linear, ELU, linear |

Exports: TorchScript exporter, opset 17 (`golden_tiny` opset 13). `vgg.onnx` has a symbolic batch and computes its
flattened shape in the graph; `residual.onnx` keeps its batch normalisations; `gap_dynamo.onnx` and
`residual_dynamo.onnx` are the same networks through the dynamo exporter (opset 18).

# Layout of NAME.safetensors

`__metadata__` (every value is JSON):
- `model`: file name of the export; `classes`: the target classes, the first one is the top class; `versions`;
- `layers`: { LAYER: { "value": the ONNX value that equals the activations, "node": the node that makes it, "shape" } };
- `exports`: { other file name: { LAYER: as in `layers` } } for the same network exported otherwise;
- `occlusion`: window, strides and baseline; `smooth`: samples and deviations of the noisy methods.

LAYER is `late` (the last spatial value, the default target layer), `early`, and in some networks more:
`residual` has `early` = inside a block, jumped over by its skip connection, and `fork` = that block's input, which
feeds both the branch and the skip; `vgg` has `conv` = the last ReLU, before the last pooling; in `curved` the score is
a smooth function of `late` and `early`, and of `corner` (the first SiLU) one that has corners, too. The slopes of `bent`
are steady, their own slopes jump at 0; Shapley-CAM, which takes these, and few others are kept of it.

Tensors (f32):
- `input` [1,c,H,W], `logits` [1,C];
- `LAYER/activations` [1,K,h,w] A; `LAYER/CLASS/gradients` [1,K,h,w] G = d logit / dA;
- `LAYER/CLASS/METHOD/map` [h,w]: the raw class activation map, before rectification;
- `LAYER/CLASS/METHOD/weights` [K]: the weights of the channels, where the method has such;
- `LAYER/CLASS/smooth-grad-cam++/spread` []: by how much rounding to f32 moves the map, see `smooth_grad_cam_plus_plus`;
- `LAYER/CLASS/METHOD/heatmap` [H,W]: pytorch-grad-cam's final map at the size of the input (rectified, min-max,
  bilinear, min-max). For each method at `late` for the top class in `squeeze`, `flatten` and `golden_tiny`; elsewhere
  for a few;
- `late/CLASS/METHOD/...` with CLASS = `A-B`: the target is the difference of two logits;
- `multi/CLASS/METHOD/heatmap`: over the layers `early` and `late` together;
- `input/CLASS/METHOD/...`: methods without a target layer (fullgrad, guided-backprop [c,H,W], occlusion);
- `noise` [1009]: standard normal numbers. The noisy methods read it cyclically in place of their random numbers:
  the n-th number drawn since the method began is `deviation * noise[n mod 1009]`.

METHOD is a name of the package's `METHODS`, with `@` for another library's or a variant's formula and `+` for an
option: `grad-cam++@torchcam`, `grad-cam+eigen_smooth`. Without `@`, the value is pytorch-grad-cam's, where it has
the method; `cam`, `ss-cam`, `is-cam`, `smooth-grad-cam++` (in double precision) are torch-cam's, `occlusion` is captum's.

Methods that project on a singular vector have the sign that LAPACK happened to give. Their `map` and `heatmap` are
turned so that the entry largest in absolute value is positive (the rule of Seg-Eigen-CAM); where two tie, the method is
left out.
"""

import os

os.environ["TQDM_DISABLE"] = "1"  # Score-CAM and Ablation-CAM draw progress bars otherwise.

import copy
import logging
import sys
import warnings

import captum.attr
import numpy as np
import onnx
import onnxruntime
import pytorch_grad_cam as pgc
import torch
import torchcam.methods as tcm
from pytorch_grad_cam.utils.image import scale_cam_image
from pytorch_grad_cam.utils.model_targets import (
    BinaryClassifierOutputTarget,
    ClassifierOutputReST,
    ClassifierOutputTarget,
)
from torch import nn

from fixture import HERE, save, versions

OUT = HERE / "cams"
SAMPLES = {"ss-cam": (35, 2.0), "smooth-grad-cam++": (4, 0.3)}
IS_CAM_SAMPLES = 10
SMOOTH = {m: {"samples": n, "deviation": d} for m, (n, d) in SAMPLES.items()} | {"is-cam": {"samples": IS_CAM_SAMPLES}}
# Half of f32's last digit, and how often to try.
ROUNDING, ROUNDINGS = 2.0**-24, 8
OCCLUSION = {"window": [8, 10], "stride": [4, 5], "baseline": 0.0}
OCCLUSION_TINY = {"window": [2, 3], "stride": [1, 2], "baseline": 0.0}


# ---- networks ------------------------------------------------------------------------------------------------------


class Gap(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(8, 10, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(10, 12, 3, stride=2, padding=1),
            nn.ReLU(),
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(12, 6)
        self.layers = {"late": self.features[5], "early": self.features[3]}

    def forward(self, x):
        return self.fc(torch.flatten(self.pool(self.features(x)), 1))


class Fire(nn.Module):
    def __init__(self, inputs, squeeze, expand):
        super().__init__()
        self.squeeze = nn.Sequential(nn.Conv2d(inputs, squeeze, 1), nn.ReLU())
        self.expand1x1 = nn.Sequential(nn.Conv2d(squeeze, expand, 1), nn.ReLU())
        self.expand3x3 = nn.Sequential(nn.Conv2d(squeeze, expand, 3, padding=1), nn.ReLU())

    def forward(self, x):
        x = self.squeeze(x)
        return torch.cat([self.expand1x1(x), self.expand3x3(x)], 1)


class Squeeze(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2, ceil_mode=True),
            Fire(8, 4, 6),
            Fire(12, 5, 7),
        )
        self.classifier = nn.Sequential(nn.Dropout(0.5), nn.Conv2d(14, 6, 1), nn.ReLU(), nn.AdaptiveAvgPool2d((1, 1)))
        self.layers = {"late": self.classifier[2], "early": self.features[3], "features": self.features[4]}

    def forward(self, x):
        return torch.flatten(self.classifier(self.features(x)), 1)


class Vgg(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(6, 8, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2, 2),
            nn.Conv2d(8, 12, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(3, 3, padding=1),
        )
        self.classifier = nn.Sequential(nn.Linear(12 * 4 * 4, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 5))
        self.layers = {"late": self.features[7], "early": self.features[3], "conv": self.features[6]}

    def forward(self, x):
        x = self.features(x)
        return self.classifier(x.view(x.size(0), -1))


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )
        self.relu2 = nn.ReLU()

    def forward(self, x):
        y = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        return self.relu2(y + self.shortcut(x))


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 5, stride=2, padding=2), nn.ReLU())
        self.block1 = Block(8, 8, 1)
        self.block2 = Block(8, 12, 2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(12, 7)
        self.layers = {"late": self.block2, "early": self.block1.relu1, "fork": self.stem[1]}

    def forward(self, x):
        x = self.block2(self.block1(self.stem(x)))
        return self.fc(torch.flatten(self.pool(x), 1))


class Flatten(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 6, 3, padding=1),
            nn.ReLU(),
            nn.AvgPool2d(3, stride=2, padding=1),
            nn.Conv2d(6, 8, 3, stride=2, padding=1),
            nn.ReLU(),
        )
        self.fc = nn.Linear(8 * 5 * 7, 4)
        self.layers = {"late": self.features[4], "early": self.features[1]}

    def forward(self, x):
        return self.fc(torch.flatten(self.features(x), 1))


class GoldenTiny(nn.Module):
    """captum's BasicModel_ConvNet_One_Conv: every number is written by hand."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 2, 3)
        self.relu1 = nn.ReLU()
        self.fc1 = nn.Linear(8, 4, bias=False)
        self.relu2 = nn.ReLU()
        with torch.no_grad():
            self.conv1.weight.fill_(1.0)
            self.conv1.bias.copy_(torch.tensor([-50.0, -75.0]))
            self.fc1.weight.copy_(torch.tensor([1.0] * 5 + [-1.0] * 3).repeat(4, 1))
        self.layers = {"late": self.relu1, "early": self.conv1}

    def forward(self, x):
        return self.relu2(self.fc1(torch.flatten(self.relu1(self.conv1(x)), 1)))


class Single(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2, padding=1), nn.ReLU()
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(8, 1)
        self.layers = {"late": self.features[3], "early": self.features[1]}

    def forward(self, x):
        return self.fc(torch.flatten(self.pool(self.features(x)), 1))


class Curved(nn.Module):
    """Its second derivatives are not zero: what Shapley-CAM is about."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1),
            nn.SiLU(),
            nn.Conv2d(8, 10, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(10, 12, 3, stride=2, padding=1),
            nn.GELU(),
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Linear(12, 16), nn.SiLU(), nn.Linear(16, 5))
        self.layers = {"late": self.features[5], "early": self.features[3], "corner": self.features[1]}

    def forward(self, x):
        return self.classifier(torch.flatten(self.pool(self.features(x)), 1))


class Bent(nn.Module):
    """Its second derivatives jump where an ELU goes through zero."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1),
            nn.ELU(),
            nn.Conv2d(8, 10, 3, padding=1),
            nn.CELU(0.7),
            nn.Conv2d(10, 12, 3, stride=2, padding=1),
            nn.ELU(),
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Linear(12, 16), nn.ELU(), nn.Linear(16, 5))
        self.layers = {"late": self.features[4], "early": self.features[3], "first": self.features[1]}

    def forward(self, x):
        x = self.features(x)
        return self.classifier(torch.flatten(self.pool(x * torch.sigmoid(x)), 1))


def smooth_random_input(shape, generator):
    """A few soft blobs per channel and some noise, about -2..=2, like a normalised photograph."""
    _, channels, height, width = shape
    coarse = torch.randn((1, channels, 4, 5), generator=generator)
    x = nn.functional.interpolate(coarse, (height, width), mode="bicubic", align_corners=False)
    return (x + 0.3 * torch.randn(shape, generator=generator)).clamp(-2.2, 2.6)


@torch.no_grad()
def scale_to_input(model, x, generator, spread):
    """Shifts and scales each layer, in order of execution, so that half of its outputs on `x` are positive.

    The last layer's outputs get the standard deviation `spread`.
    """
    last = [m for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear))][-1]

    def jitter(like, amount):
        return amount * torch.randn(like.shape, generator=generator)

    def linear(module, inputs, _):
        if module is last:
            # Weights that sum to zero give each class gradients of both signs.
            module.weight.sub_(module.weight.mean(1, keepdim=True))
        module.bias.zero_()
        output = module.forward(inputs[0])
        size = output.std() if output.numel() > 1 else output.abs().mean()
        module.weight.mul_((spread if module is last else 1.0) / size)
        output = module.forward(inputs[0])
        module.bias.copy_(jitter(module.bias, 0.2))
        if output.numel() > 1:
            module.bias.sub_(output.mean())
        return module.forward(inputs[0])

    def conv(module, inputs, output):
        module.weight.mul_((spread if module is last else 1.0) / output.std((0, 2, 3))[:, None, None, None])
        if module.bias is not None:
            module.bias.zero_()
            middle = module.forward(inputs[0])[0].flatten(1).median(-1).values
            module.bias.copy_(jitter(module.bias, 0.2 * (spread if module is last else 1.0)) - middle)
        return module.forward(inputs[0])

    def batch_norm(module, inputs, _):
        module.running_mean.copy_(inputs[0].mean((0, 2, 3)) + jitter(module.bias, 0.2))
        module.running_var.copy_(inputs[0].var((0, 2, 3)) * torch.exp(jitter(module.bias, 0.3)))
        module.weight.copy_(0.7 + jitter(module.bias, 0.2).abs())
        module.bias.copy_(jitter(module.bias, 0.3))
        return module.forward(inputs[0])

    rules = {nn.Linear: linear, nn.Conv2d: conv, nn.BatchNorm2d: batch_norm}
    hooks = [m.register_forward_hook(rules[type(m)]) for m in model.modules() if type(m) in rules]
    model(x)
    for hook in hooks:
        hook.remove()


# ---- exports -------------------------------------------------------------------------------------------------------


def export(model, x, path, *, dynamo=False, opset=17, symbolic_batch=False, keep_batch_norm=False):
    names = {"input_names": ["input"], "output_names": ["logits"]}
    if dynamo:
        torch.onnx.export(model, (x,), path, dynamo=True, opset_version=opset, external_data=False, verbose=False, **names)
        strip_python_traces(path)
        return
    if symbolic_batch:
        names["dynamic_axes"] = {"input": {0: "batch"}, "logits": {0: "batch"}}
    # Evaluation mode folds batch normalisation into the convolution before it; "preserve" leaves it.
    mode = torch.onnx.TrainingMode.PRESERVE if keep_batch_norm else torch.onnx.TrainingMode.EVAL
    torch.onnx.export(model, x, path, dynamo=False, opset_version=opset, training=mode, **names)


def strip_python_traces(path):
    """The dynamo exporter writes stack traces, with paths of the machine, into the nodes' metadata."""
    proto = onnx.load(path)
    for node in proto.graph.node:
        del node.metadata_props[:]
    for value in [*proto.graph.value_info, *proto.graph.input, *proto.graph.output, *proto.graph.initializer]:
        del value.metadata_props[:]
    del proto.graph.metadata_props[:]
    del proto.metadata_props[:]
    onnx.save(proto, path)


def every_value(path, x):
    """All f32 values of the graph as onnxruntime computes them, in order, with the names of their nodes."""
    proto = onnx.load(path)
    made_by = {out: node.name for node in proto.graph.node for out in node.output if out}
    declared = {output.name for output in proto.graph.output}
    for name in made_by:
        if name not in declared:
            proto.graph.output.append(onnx.ValueInfoProto(name=name))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    values = dict(zip(names, session.run(None, {session.get_inputs()[0].name: x.numpy()})))
    return [(name, made_by[name], values[name]) for name in made_by]


def find_layers(path, x, activations, logits):
    """The values of the export that equal the given activations: {LAYER: {"value", "node", "shape"}}."""
    values = every_value(path, x)
    found = {}
    np.testing.assert_allclose(dict((n, v) for n, _, v in values)["logits"], logits, rtol=1e-4, atol=1e-4)
    for layer, wanted in activations.items():
        same = [
            (name, node)
            for name, node, value in values
            if value.shape == wanted.shape and np.abs(value - wanted).max() <= 1e-5 * np.abs(wanted).max()
        ]
        if not same:
            raise ValueError(f"{path.name} has no value that equals layer {layer}")
        found[layer] = {"value": same[0][0], "node": same[0][1], "shape": list(wanted.shape)}
    return found


# ---- methods -------------------------------------------------------------------------------------------------------


class TableNoise:
    """Stands in for torch's normal distribution: reads a table cyclically."""

    def __init__(self, table, deviation):
        self.table, self.deviation, self.drawn = table, deviation, 0

    def sample(self, size):
        count = int(np.prod(size))
        index = (self.drawn + torch.arange(count)) % len(self.table)
        self.drawn += count
        return (self.deviation * self.table[index]).reshape(size)


class Difference:
    def __init__(self, a, b):
        self.a, self.b = a, b

    def __call__(self, output):
        return output[..., self.a] - output[..., self.b]


class Negative:
    def __init__(self, category):
        self.category = category

    def __call__(self, output):
        return -output[..., self.category]


def watch(cam):
    """Keeps what a pytorch-grad-cam object computes on the way to its final map."""
    seen = {}

    def keep(name, method):
        def wrapped(*args, **kwargs):
            seen[name] = method(*args, **kwargs)
            return seen[name]

        return wrapped

    cam.get_cam_image = keep("map", cam.get_cam_image)
    cam.get_cam_weights = keep("weights", cam.get_cam_weights)
    return seen


def run_pgc(method, model, layer, x, target, made_with=None, **options):
    """{"map", "weights", "heatmap"} of one pytorch-grad-cam method, made with such arguments; the model is left as it was."""
    model = copy.deepcopy(model)
    with method(model, [dict(model.named_modules())[layer]], **(made_with or {})) as cam:
        seen = watch(getattr(cam, "base_cam", cam))
        if method is pgc.FinerCAM:
            final = cam(x.clone(), None, target_idx=target, **options)
        else:
            final = cam(x.clone(), [target], **options)
        # What is kept would be detached in place on leaving, which views (after max pooling) refuse.
        hooks = getattr(cam, "base_cam", cam).activations_and_grads
        hooks.activations, hooks.gradients = [], []
    result = {"map": np.asarray(seen["map"])[0], "heatmap": final[0]}
    if "weights" in seen and np.asarray(seen["weights"]).ndim == 2:
        result["weights"] = np.asarray(seen["weights"])[0]
    return result


def with_sign_rule(result, size):
    """Turns a projection so that the entry largest in absolute value is positive, and redoes the final map; or None."""
    raw = result["map"]
    if abs(raw.max() + raw.min()) < 1e-3 * abs(raw).max():
        return None  # The extremes tie (KPCA's kernel saturates on large numbers): the rule decides nothing.
    if abs(raw.min()) > abs(raw.max()):
        raw = -raw
    scaled = scale_cam_image(np.maximum(raw, 0)[None], size)
    return {"map": raw, "heatmap": scale_cam_image(np.maximum(scaled, 0))[0]}


def run_torchcam(method, model, layer, x, category, noise=None, **options):
    model = copy.deepcopy(model)
    with method(model, layer, input_shape=tuple(x.shape[1:]), **options) as extractor:
        base = getattr(extractor, "base_cam", extractor)
        base._relu = False  # the map before rectification
        if noise is not None:
            base._distrib = noise
        weights = {}
        original = base._get_weights

        def keep(*args, **kwargs):
            weights["all"] = original(*args, **kwargs)
            return weights["all"]

        base._get_weights = keep
        scores = model(x.clone())
        maps = extractor(category, scores, normalized=False)
    result = {"map": maps[0][0].detach().numpy()}
    if weights["all"][0].ndim == 2:
        result["weights"] = weights["all"][0][0].detach().numpy()
    return result


PLAIN = {
    "grad-cam": pgc.GradCAM,
    "hirescam": pgc.HiResCAM,
    "grad-cam-elementwise": pgc.GradCAMElementWise,
    "grad-cam++": pgc.GradCAMPlusPlus,
    "xgrad-cam": pgc.XGradCAM,
    "layercam": pgc.LayerCAM,
    "score-cam": pgc.ScoreCAM,
    "ablation-cam": pgc.AblationCAM,
    "fem": pgc.FEM,
}
PROJECTED = {
    "eigen-cam": pgc.EigenCAM,
    "eigen-grad-cam": pgc.EigenGradCAM,
    "seg-eigen-cam": pgc.SegEigenCAM,
    "kpca-cam": pgc.KPCA_CAM,
}
# A final map per method is kept at `late` for the top class of these networks; elsewhere two say enough about the
# upsampling, which is the same for all.
ALL_HEATMAPS = {"squeeze", "flatten", "golden_tiny"}
HEATMAPS_ELSEWHERE = {"grad-cam", "eigen-cam"}
# Layers beside `late` and `early` are there for the graph around them; these methods exercise it.
AT_EXTRA_LAYERS = ["grad-cam", "hirescam", "layercam", "grad-cam++", "eigen-cam", "score-cam", "ablation-cam", "shapley-cam"]


def shapley_works(model, layer, x):
    """pytorch-grad-cam's ShapleyCAM raises where a logit's gradient depends on no parameter (pooling heads)."""
    kept = []
    hook = dict(model.named_modules())[layer].register_forward_hook(lambda _, __, output: kept.append(output))
    score = model(x.clone().requires_grad_(True))[0, 0]
    hook.remove()
    return torch.autograd.grad(score, kept[0], create_graph=True)[0].requires_grad


def methods_at(model, name, layer, x, category, noise, cam_weights):
    """Every method at one layer: {METHOD: {"map", "weights", "heatmap"}}."""
    size = (x.shape[3], x.shape[2])
    target = ClassifierOutputTarget(category)
    results = {m: run_pgc(method, model, layer, x, target) for m, method in PLAIN.items()}
    if shapley_works(model, layer, x):
        results["shapley-cam"] = run_pgc(pgc.ShapleyCAM, model, layer, x, target)
    for m, method in PROJECTED.items():
        results[m] = with_sign_rule(run_pgc(method, model, layer, x, target), size)
    results["grad-cam+eigen_smooth"] = with_sign_rule(
        run_pgc(pgc.GradCAM, model, layer, x, target, eigen_smooth=True), size
    )
    results["layercam+eigen_smooth"] = with_sign_rule(
        run_pgc(pgc.LayerCAM, model, layer, x, target, eigen_smooth=True), size
    )
    results["grad-cam+aug_smooth"] = {
        "heatmap": run_pgc(pgc.GradCAM, model, layer, x, target, aug_smooth=True)["heatmap"]
    }
    results["counterfactual"] = run_pgc(pgc.GradCAM, model, layer, x, Negative(category))
    results["shapley-cam@rest"] = run_pgc(pgc.ShapleyCAM, model, layer, x, ClassifierOutputReST(category))
    results["grad-cam++@torchcam"] = run_torchcam(tcm.GradCAMpp, model, layer, x, category)
    results["xgrad-cam@torchcam"] = run_torchcam(tcm.XGradCAM, model, layer, x, category)
    results["score-cam@torchcam"] = run_torchcam(tcm.ScoreCAM, model, layer, x, category)
    samples, deviation = SAMPLES["ss-cam"]
    results["ss-cam"] = run_torchcam(
        tcm.SSCAM, model, layer, x, category, TableNoise(noise, deviation), num_samples=samples, std=deviation
    )
    results["is-cam"] = run_torchcam(tcm.ISCAM, model, layer, x, category, num_samples=IS_CAM_SAMPLES)
    results["smooth-grad-cam++"] = smooth_grad_cam_plus_plus(model, layer, x, category, noise)
    if name not in ("golden_tiny", "single"):
        results["finer-cam"] = run_pgc(pgc.FinerCAM, model, layer, x, category)
        results["finer-cam@torchcam"] = run_torchcam(tcm.FinerCAM, model, layer, x, category)
    if cam_weights is not None:
        results["cam"] = cam_weights(category)
    for method in [m for m, result in results.items() if result is None]:
        print(f"  {name}: left out {method} at {layer} for class {category}: no sign by the rule")
        del results[method]
    return results


def smooth_grad_cam_plus_plus(model, layer, x, category, noise):
    """In double precision: its divisor may be a small difference of large sums. `spread` tells how small: by how much the
    map moves, relative to its largest value, when parameters and input move by as much as single precision rounds."""
    samples, deviation = SAMPLES["smooth-grad-cam++"]
    generator = torch.Generator().manual_seed(11)

    def run(rounding):
        moved = copy.deepcopy(model).double()
        jitter = lambda t: t * (1 + rounding * torch.randn(t.shape, generator=generator, dtype=torch.float64))
        with torch.no_grad():
            for parameter in moved.parameters():
                parameter.copy_(jitter(parameter))
        table = TableNoise(noise.double(), deviation)
        return run_torchcam(
            tcm.SmoothGradCAMpp, moved, layer, jitter(x.double()), category, table, num_samples=samples, std=deviation
        )

    exact = run(0.0)
    moves = [np.abs(run(ROUNDING)["map"] - exact["map"]).max() for _ in range(ROUNDINGS)]
    result = {kind: value.astype(np.float32) for kind, value in exact.items()}
    return result | {"spread": np.float32(max(moves) / np.abs(exact["map"]).max())}


def torchcam_cam(model, layer, x):
    """torch-cam's CAM with the linear layer's weights; `map` is before rectification, which torch-cam never does."""

    def run(category):
        result = run_torchcam(tcm.CAM, model, layer, x, category)
        scaled = scale_cam_image(np.maximum(result["map"], 0)[None], (x.shape[3], x.shape[2]))
        return result | {"heatmap": scale_cam_image(np.maximum(scaled, 0))[0]}

    return run


def one_hot_cam(activations, x):
    """CAM of a head that only pools: the map of a class is its own channel."""

    def run(category):
        raw = activations[0, category]
        scaled = scale_cam_image(np.maximum(raw, 0)[None], (x.shape[3], x.shape[2]))
        weights = np.eye(activations.shape[1], dtype=np.float32)[category]
        return {"map": raw, "weights": weights, "heatmap": scale_cam_image(np.maximum(scaled, 0))[0]}

    return run


def layer_name(model, module):
    return next(name for name, m in model.named_modules() if m is module)


def activations_and_gradients(model, modules, x, target):
    kept = {}
    hooks = []
    for layer, module in modules.items():

        def keep(_, __, output, layer=layer):
            output.retain_grad()
            kept[layer] = output

        hooks.append(module.register_forward_hook(keep))
    logits = model(x.clone().requires_grad_(True))
    target(logits[0]).backward()
    for hook in hooks:
        hook.remove()
    model.zero_grad()
    arrays = {layer: (a.detach().numpy().copy(), a.grad.numpy().copy()) for layer, a in kept.items()}
    return logits.detach().numpy(), arrays


def full_grad(model, x, category):
    model = copy.deepcopy(model)
    with pgc.FullGrad(model, []) as cam:
        original = cam.aggregate_multi_layers
        seen = {}

        def keep(maps):
            seen["map"] = np.sum(maps, axis=1)[0]
            return original(maps)

        cam.aggregate_multi_layers = keep
        final = cam(x.clone(), [ClassifierOutputTarget(category)])
    return {"map": seen["map"], "heatmap": final[0]}


def build(name, model, x, options, occlusion, seed_noise, others=()):
    modules = model.layers
    target_of = ClassifierOutputTarget
    tensors = {"input": x.numpy(), "noise": seed_noise.numpy()}
    with torch.no_grad():
        scores = model(x)[0]
    order = scores.argsort(descending=True).tolist()
    # The top class and the one in the middle; `residual` takes the last one instead, whose logit is negative.
    classes = [order[0], order[-1] if name == "residual" else order[len(order) // 2]]
    if name == "golden_tiny":
        classes = [0, 1]  # All four are equal; captum's target is 0.
    if name == "single":
        classes = [0]

    OUT.mkdir(exist_ok=True)
    exports = {f"{name}.onnx": options} | dict(others)
    activations = {}
    for category in classes:
        logits, arrays = activations_and_gradients(model, modules, x, target_of(category))
        for layer, (a, g) in arrays.items():
            activations[layer] = tensors[f"{layer}/activations"] = a
            tensors[f"{layer}/{category}/gradients"] = g
    tensors["logits"] = logits
    layers = {}
    for file, how in exports.items():
        export(copy.deepcopy(model), x, OUT / file, **how)
        layers[file] = find_layers(OUT / file, x, activations, logits)

    def put(prefix, results, heatmaps):
        for method, result in results.items():
            for kind, value in result.items():
                if kind != "heatmap" or heatmaps is None or method in heatmaps or "map" not in result:
                    tensors[f"{prefix}/{method}/{kind}"] = value

    for category in classes:
        for layer, module in modules.items():
            path = layer_name(model, module)
            cam = None
            if layer == "late" and name in ("gap", "residual", "single"):
                cam = torchcam_cam(model, path, x)
            elif layer == "late" and name == "squeeze":
                cam = one_hot_cam(activations["late"], x)
            results = methods_at(model, name, path, x, category, seed_noise, cam)
            if name == "bent":
                kept = ("grad-cam", "grad-cam++", "layercam", "shapley-cam", "shapley-cam@rest")
                results = {method: results[method] for method in kept}
            elif layer not in ("late", "early"):
                results = {method: results[method] for method in AT_EXTRA_LAYERS if method in results}
            if category != classes[0]:
                results.pop("grad-cam+aug_smooth", None)
            all_heatmaps = layer == "late" and category == classes[0] and name in ALL_HEATMAPS
            put(f"{layer}/{category}", results, None if all_heatmaps else HEATMAPS_ELSEWHERE)
        put(f"input/{category}", {"fullgrad": full_grad(model, x, category)}, None)
        guided = pgc.GuidedBackpropReLUModel(copy.deepcopy(model), device="cpu")(x.clone(), category)
        tensors[f"input/{category}/guided-backprop/map"] = guided.transpose(2, 0, 1)
        occluded = captum.attr.Occlusion(model).attribute(
            x,
            sliding_window_shapes=(x.shape[1], *occlusion["window"]),
            strides=(x.shape[1], *occlusion["stride"]),
            baselines=occlusion["baseline"],
            target=category,
        )
        # The window covers all channels of the input, so that each has the same attribution.
        tensors[f"input/{category}/occlusion/map"] = occluded[0, 0].detach().numpy()
        if category == classes[0]:
            multi(model, x, category, put)

    if len(classes) > 1 and name != "golden_tiny":
        pair = Difference(*classes)
        path = layer_name(model, modules["late"])
        results = {m: run_pgc(PLAIN[m], model, path, x, pair) for m in ("grad-cam", "layercam", "score-cam")}
        put(f"late/{classes[0]}-{classes[1]}", results, {"grad-cam"})
    if name == "single":
        path = layer_name(model, modules["late"])
        against = run_pgc(pgc.GradCAM, model, path, x, BinaryClassifierOutputTarget(0))
        put("late/not-0", {"grad-cam": against}, None)

    facts = {
        "model": f"{name}.onnx",
        "classes": classes,
        "layers": layers.pop(f"{name}.onnx"),
        "exports": layers,
        "occlusion": occlusion,
        "smooth": SMOOTH,
        "versions": versions("torch", "grad-cam", "torchcam", "captum", "onnx", "onnxruntime", "numpy", "scikit-learn"),
    }
    save(OUT / f"{name}.safetensors", tensors, facts)
    report(name, tensors, classes, modules)


def multi(model, x, category, put):
    """Methods over the layers `early` and `late` together."""
    target = [ClassifierOutputTarget(category)]
    results = {}
    copied = copy.deepcopy(model)
    # deepcopy keeps the attribute `layers` pointing at the copy's own modules.
    both = [copied.layers["early"], copied.layers["late"]]
    for method, cls in (("grad-cam", pgc.GradCAM), ("layercam", pgc.LayerCAM)):
        with cls(copied, both) as cam:
            results[method] = {"heatmap": cam(x.clone(), target)[0]}
    results["refine-cam"] = {"heatmap": pgc.RefineCAM(copied, both)(x.clone(), target)[0]}
    results["refine-cam@grad-cam"] = {
        "heatmap": pgc.RefineCAM(copied, both, base_method=pgc.GradCAM)(x.clone(), target)[0]
    }
    names = [layer_name(model, model.layers[layer]) for layer in ("early", "late")]
    for method, base in (("refine-cam@torchcam", tcm.GradCAMpp), ("refine-cam@torchcam-grad-cam", tcm.GradCAM)):
        copied = copy.deepcopy(model)
        with tcm.RefineCAM(copied, names, input_shape=tuple(x.shape[1:]), base_method=base) as extractor:
            # At the larger layer's own size.
            results[method] = {"map": extractor(category, copied(x.clone()))[0][0].detach().numpy()}
    put(f"multi/{category}", results, None)


def report(name, tensors, classes, modules):
    logits = np.round(tensors["logits"][0], 2).tolist()
    active = {layer: round(float((tensors[f"{layer}/activations"] > 0).mean()), 2) for layer in modules}
    print(f"  {name}: logits {logits}, classes {classes}, share of active units {active}")
    for key, value in tensors.items():
        if key.endswith("/map") and not (np.maximum(value, 0) > 0).any():
            print(f"  {name}: nothing positive in {key}")


def networks():
    """(name, network, input, options of the export, exports otherwise) of the seeded networks."""
    kinds = [
        ("gap", Gap, (1, 3, 24, 36), 2.0, {}, [("gap_dynamo.onnx", {"dynamo": True, "opset": 18})]),
        ("squeeze", Squeeze, (1, 3, 32, 44), 3.0, {}, []),
        ("vgg", Vgg, (1, 3, 24, 24), 2.0, {"symbolic_batch": True}, []),
        (
            "residual",
            Residual,
            (1, 3, 29, 41),
            2.0,
            {"keep_batch_norm": True},
            [("residual_folded.onnx", {}), ("residual_dynamo.onnx", {"dynamo": True, "opset": 18})],
        ),
        ("flatten", Flatten, (1, 1, 20, 28), 2.0, {}, []),
        ("single", Single, (1, 3, 24, 32), 1.5, {}, []),
        ("curved", Curved, (1, 3, 26, 38), 2.0, {}, []),
        ("bent", Bent, (1, 3, 22, 34), 2.0, {}, []),
    ]
    for seed, (name, network, shape, spread, options, others) in enumerate(kinds):
        generator = torch.Generator().manual_seed(100 + seed)
        torch.manual_seed(100 + seed)
        model = network().eval()
        x = smooth_random_input(shape, generator)
        scale_to_input(model, x, generator, spread)
        yield name, model, x, options, others


def main():
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    logging.getLogger().setLevel(logging.ERROR)
    noise = torch.randn(1009, generator=torch.Generator().manual_seed(7))
    wanted = sys.argv[1:]
    for name, model, x, options, others in networks():
        if name in (wanted or [name]):
            build(name, model, x, options, OCCLUSION, noise, others)
    if not wanted or "golden_tiny" in wanted:
        x = torch.arange(16.0).view(1, 1, 4, 4)
        build("golden_tiny", GoldenTiny().eval(), x, {"opset": 13}, OCCLUSION_TINY, noise)


if __name__ == "__main__":
    main()
