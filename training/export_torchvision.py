"""Any classifier of torchvision, or one of your own, as a file that the page loads.

    python training/export_torchvision.py resnet18
    python training/export_torchvision.py mobilenet_v3_small --half
    python training/export_torchvision.py resnet18 --weights flowers.pt --labels flowers.txt
    python training/export_torchvision.py my_package.networks:make_flowers --weights flowers.pt --labels flowers.txt --size 128

writes NAME.onnx, model.json and labels.json to www/models/NAME (or --output). The page takes the three files when they are
dropped on it together; built with them, it has them at `?model=gradcam-web/models/NAME/model.json`.
"""

import argparse
import contextlib
import importlib
import io
import json
import logging
import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
import torchvision
from torch import nn
from torchvision.transforms import InterpolationMode

import bundle

ROOT = Path(__file__).resolve().parent.parent
IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
TOLERANCE = 1e-3
# Eleven bits for a parameter: about 3e-4 off in the logits of a deep network, more only where something is wrong.
ROUNDED_TOLERANCE = 2e-2


def main():
    options = arguments()
    network, preset = build(options.network, options.weights, options.labels and len(read_labels(options.labels)),
                            options.seed)
    preprocess = preprocess_of(preset, options)
    shape = (1, options.channels, preprocess["height"], preprocess["width"])
    proto = onnx_of(network, shape)
    classes = proto.graph.output[0].type.tensor_type.shape.dim[-1].dim_value
    labels = labels_for(preset, options.labels, classes)
    contents = proto.SerializeToString()
    check(contents, network, shape, TOLERANCE)
    if options.half:
        bundle.half_precision(proto)
    name = options.network.rpartition(":")[2]
    facts = {key: value for key, value in {"license": options.license, "source": source(options, preset)}.items() if value}
    bundle.describe(proto, preprocess, labels, **facts)
    contents = proto.SerializeToString()
    if options.half:
        check(contents, network, shape, ROUNDED_TOLERANCE)
    folder = options.output or ROOT / "www/models" / name
    bundle.write(folder, f"{name}.onnx", contents, labels, {"name": options.title or name, **facts, "preprocess": preprocess})
    print(f"wrote {folder}: {len(contents) / 1e6:.1f} MB, {classes} classes, input {preprocess['width']}×{preprocess['height']}")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", help="a torchvision classifier, or package.module:factory of your own, which is called")
    parser.add_argument("--weights", help="a name such as IMAGENET1K_V1, a file with a state dict, or none for random ones; "
                                          "default: torchvision's, and of your own network those that it comes with")
    parser.add_argument("--half", action="store_true", help="parameters in two bytes each: half the download")
    parser.add_argument("--labels", type=Path, help="classes, one a line or a JSON list; default: those of the weights")
    parser.add_argument("--size", type=int, nargs="+", metavar="PIXELS",
                        help="of the input: one number, or width and height; default: the weights', else 224")
    parser.add_argument("--resize", choices=("crop", "stretch", "letterbox"),
                        help="how a photo becomes the input; default: crop")
    parser.add_argument("--mean", type=float, nargs="+",
                        help="subtracted from each channel, or one number from all, of pixels 0..=1; "
                             "default: the weights', else ImageNet's")
    parser.add_argument("--std", type=float, nargs="+", help="each channel is divided by it")
    parser.add_argument("--channels", type=int, choices=(1, 3), default=3, help="1 for a network that sees grey")
    parser.add_argument("--order", choices=("RGB", "BGR"), default="RGB")
    parser.add_argument("--seed", type=int, default=0, help="of random weights")
    parser.add_argument("--title", help="the name that the page shows")
    parser.add_argument("--license", help="said in the manifest")
    parser.add_argument("--output", type=Path, help="a folder; default: www/models/NAME")
    options = parser.parse_args()
    if options.size and len(options.size) > 2:
        parser.error("--size takes one number, or width and height")
    return options


def build(name: str, weights: str | None, classes: int | None = None, seed: int = 0):
    """The network in evaluation mode, and torchvision's weights if these are meant (else None)."""
    torch.manual_seed(seed)
    file = Path(weights) if weights and Path(weights).suffix in (".pt", ".pth", ".bin", ".safetensors") else None
    preset = None
    if ":" in name:
        network = own(name)
        if weights and weights != "none" and not file:
            raise SystemExit(f"--weights {weights}: for a network of your own, a .pt, .pth or .safetensors file")
    else:
        if name not in torchvision.models.list_models(module=torchvision.models):
            raise SystemExit(f"torchvision has no classifier `{name}`; it has "
                             f"{', '.join(torchvision.models.list_models(module=torchvision.models))}. "
                             "Your own: package.module:factory")
        if not file and weights != "none":
            preset = preset_of(name, weights)
        extra = {"num_classes": classes} if classes and not preset else {}
        if name in ("googlenet", "inception_v3") and not preset:
            # The weights switch these off themselves; without them they would be made and not exported.
            extra |= {"aux_logits": False, "init_weights": True}
        try:
            network = torchvision.models.get_model(name, weights=preset, **extra)
        except OSError as error:
            raise SystemExit(f"{preset} can't be downloaded: {error}; a .pt, .pth or .safetensors file or none "
                             "is accepted") from error
    if file:
        load(network, file)
    return network.eval(), preset


def own(name: str) -> nn.Module:
    module, _, factory = name.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        network = getattr(importlib.import_module(module), factory)()
    except ModuleNotFoundError as error:
        raise SystemExit(f"{name}: {error}; modules are looked for in {Path.cwd()} and where Python looks") from error
    except AttributeError as error:
        raise SystemExit(f"{name}: {error}") from error
    if not isinstance(network, nn.Module):
        raise SystemExit(f"{name}() gave a {type(network).__name__}; a torch.nn.Module is wanted")
    return network


def preset_of(name: str, weights: str | None):
    known = torchvision.models.get_model_weights(name)
    if weights is None:
        return known.DEFAULT
    if weights not in known.__members__:
        raise SystemExit(f"`{name}` has no weights `{weights}`; it has {', '.join(known.__members__)}, "
                         "and a .pt, .pth or .safetensors file or none is accepted")
    return known[weights]


def load(network: nn.Module, file: Path):
    if not file.exists():
        raise SystemExit(f"--weights {file}: there is no such file")
    if file.suffix == ".safetensors":
        from safetensors.torch import load_file
        state = load_file(file)
    else:
        state = torch.load(file, map_location="cpu", weights_only=True)
    # Training scripts store the state beside other things, and DataParallel puts a word before each name.
    for key in ("state_dict", "model_state_dict", "model"):
        state = state[key] if isinstance(state.get(key), dict) else state
    state = {key.removeprefix("module."): value for key, value in state.items()}
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise SystemExit(f"{file} does not fit the network: {error}") from error


def preprocess_of(preset, options) -> dict:
    """The manifest's `preprocess`; says what of torchvision's transform it can't."""
    found = {"width": 224, "height": 224, "resize": "crop", **IMAGENET, "order": options.order}
    if preset is not None:
        transform = preset.transforms()
        (crop,), (resized,) = transform.crop_size, transform.resize_size
        found |= {"width": crop, "height": crop, "mean": list(transform.mean), "std": list(transform.std)}
        if resized != crop and not options.resize:
            print(f"note: torchvision scales the shorter side to {resized} and takes the middle {crop}; the page takes the "
                  f"largest square, so that the network sees more of the edges, and things {resized / crop:.2f} times smaller")
        if transform.interpolation != InterpolationMode.BILINEAR:
            print(f"note: torchvision resizes photos for these weights by {transform.interpolation.value} interpolation, "
                  "the page by bilinear")
    if options.size:
        found |= {"width": options.size[0], "height": options.size[-1]}
    found |= {key: value for key in ("resize", "mean", "std") if (value := getattr(options, key))}
    for key in ("mean", "std"):
        if len(found[key]) not in (1, options.channels):
            raise SystemExit(f"--{key} has {len(found[key])} numbers; 1 or {options.channels} are accepted, one for each channel")
    return found


def onnx_of(network: nn.Module, shape: tuple) -> onnx.ModelProto:
    """`network` as ONNX for one image of `shape` (1, channels, height, width). The TorchScript exporter names values by the modules that made them
    (`/layer4/layer4.1/relu_1/Relu_output_0`), and people choose layers by name."""
    file = io.BytesIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        torch.onnx.export(network, (torch.zeros(shape),), file, dynamo=False, opset_version=17, input_names=["input"],
                          output_names=["logits"])
    proto = onnx.load_from_string(file.getvalue())
    with torch.no_grad():
        result = network(torch.zeros(shape))
    given = list(getattr(result, "shape", []))
    if len(proto.graph.output) != 1 or len(given) != 2 or given[0] != 1:
        raise SystemExit(f"the network gives {len(proto.graph.output)} outputs, the first of shape {given}; "
                         "one output [1, classes] is accepted")
    # The exporter can't follow the shapes of shifted windows (Swin).
    sides = proto.graph.output[0].type.tensor_type.shape
    sides.ClearField("dim")
    for side in given:
        sides.dim.add(dim_value=side)
    return proto


def read_labels(file: Path) -> list[str]:
    text = file.read_text(encoding="utf-8")
    return json.loads(text) if text.lstrip().startswith("[") else [line.strip() for line in text.strip().splitlines()]


def labels_for(preset, file: Path | None, classes: int) -> list[str]:
    if file:
        labels, origin = read_labels(file), str(file)
    elif preset is not None:
        labels, origin = list(preset.meta["categories"]), str(preset)
    else:
        print("note: no --labels; the classes are called by their numbers")
        return [f"class {i}" for i in range(classes)]
    if len(labels) != classes:
        raise SystemExit(f"{origin} names {len(labels)} classes, but the network has {classes}")
    return labels


def source(options, preset) -> str:
    version = torchvision.__version__.partition("+")[0]
    if preset is not None:
        return f"torchvision {version}, {preset}"
    weights = "random parameters" if options.weights == "none" else options.weights and Path(options.weights).name
    network = options.network if ":" in options.network else f"torchvision {version}, {options.network}"
    return ", ".join(part for part in (network, weights) if part)


def check(contents: bytes, network: nn.Module, shape: tuple, tolerance: float):
    """Runs the file and PyTorch on the same input."""
    x = torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 4 - 2
    got = onnxruntime.InferenceSession(contents, providers=["CPUExecutionProvider"]).run(None, {"input": x.numpy()})[0]
    with torch.no_grad():
        wanted = network(x).numpy()
    difference = np.abs(got - wanted).max() / max(np.abs(wanted).max(), 1e-12)
    print(f"logits differ from PyTorch's by {difference:.1e} of the largest")
    if not difference <= tolerance:
        raise SystemExit(f"the file does not compute what PyTorch computes: more than {tolerance:.0e} off")


if __name__ == "__main__":
    main()
