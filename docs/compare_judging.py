"""Judges pytorch-grad-cam's maps on the networks and images of `docs/judging.md`, and compares with this project's scores.

    cargo xtask judge --networks squeezenet --layer concat_60 --images 100 --curves 0 --scores target/scores.tsv
    python docs/compare_judging.py target/scores.tsv squeezenet --layer concat_60

The network is rebuilt in PyTorch from its ONNX file (`tests/data/make_real_cams.py`), pictures are read by Pillow, maps
come from the released pytorch-grad-cam, and the measures are those of `tests/data/make_boxes.py`, which rest on OpenCV.
Nothing of this project's code takes part. Ends with an error if a score differs by more than half a point.

Needs Python 3.11 with torch, grad-cam, onnx, opencv, pillow and what else `tests/data/fixture.py` names.
"""

import argparse
import csv
import pathlib
import sys

import numpy as np
import torch
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/data"))

from fixture import SHARED  # noqa: E402
from make_boxes import BoxAccuracy, box_overlap, energy, pointing  # noqa: E402
from make_cams import PLAIN, ClassifierOutputTarget  # noqa: E402
from make_real_cams import FromOnnx  # noqa: E402

IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
# Name: file, the last layer with places, mean and standard deviation.
NETWORKS = {
    "squeezenet": ("squeezenet1_1_torchvision_fp16w", "classifier.1_relu", *IMAGENET),
    "mobilenet-v2": ("mobilenet_v2_1.0_224_w8", "conv_62_relu6", [0.5], [0.5]),
    "mobilenet-v1-0.25": ("mobilenet_v1_0.25_224", "conv_pw_13_relu", [0.5], [0.5]),
    "tiny-darknet": ("tiny_darknet", "conv2d_16", [0.0], [1.0]),
}
METHODS = ["grad-cam", "grad-cam++", "hirescam", "grad-cam-elementwise", "xgrad-cam", "layercam", "fem"]
TOLERANCE = 15.0
ALLOWED = 0.5


def samples():
    folder = SHARED / "data/ilsvrc-boxes-250"
    with open(folder / "boxes.csv") as file:
        for row in csv.DictReader(file):
            boxes = [[float(side) for side in box.split()] for box in row["boxes_224"].split("|")]
            yield folder / "images" / row["file"], int(row["imagenet_index"]), np.float32(boxes)


def tensor(path, mean, std):
    pixels = np.asarray(Image.open(path).convert("RGB"), np.float32) / 255
    return torch.from_numpy(((pixels - np.float32(mean)) / np.float32(std)).transpose(2, 0, 1)[None].copy())


def maps(network, layer, methods):
    """From an input and a class to pytorch-grad-cam's final maps; all methods share one run forwards and backwards."""
    extractors = {name: PLAIN[name](network, [layer]) for name in methods}
    first, *others = extractors.values()
    for other in others:
        other.activations_and_grads.release()
        other.activations_and_grads = first.activations_and_grads

    def explain(x, category):
        target = ClassifierOutputTarget(category)
        x = x.requires_grad_()
        outputs = first.activations_and_grads(x)
        network.zero_grad()
        target(outputs[0]).backward()
        found = {}
        for name, extractor in extractors.items():
            layers = extractor.compute_cam_per_layer(x, [target], eigen_smooth=False)
            found[name] = extractor.aggregate_multi_layers(layers)[0]
        return found

    return explain


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scores", help="what `cargo xtask judge --scores` wrote")
    parser.add_argument("network", choices=NETWORKS)
    parser.add_argument("--layer", help="the same as given there; default the last one")
    arguments = parser.parse_args()

    file, last, mean, std = NETWORKS[arguments.network]
    wanted = {}
    with open(arguments.scores) as table:
        for network, method, measure, images, value in csv.reader(table, delimiter="\t"):
            if network == arguments.network and method in METHODS:
                wanted[method, measure] = int(images), float(value)
    methods = [method for method in METHODS if (method, "energy") in wanted]
    if not methods:
        raise SystemExit(f"{arguments.scores}: no scores of {arguments.network} by a method that is compared")
    count = wanted[methods[0], "energy"][0]

    torch.set_num_threads(1)
    network = FromOnnx(SHARED / f"models/{file}.onnx").eval()
    _, layer = network.module(arguments.layer or last)
    explain = maps(network, layer, methods)
    every = list(samples())
    chosen = [every[at * len(every) // count] for at in range(count)]
    sums = {(method, measure): 0.0 for method in methods for measure in ("pointing", "iou-15", "iou-20", "energy")}
    accuracy = {method: BoxAccuracy() for method in methods}
    for path, category, boxes in chosen:
        for method, heatmap in explain(tensor(path, mean, std), category).items():
            sums[method, "pointing"] += pointing(heatmap, boxes, TOLERANCE)
            sums[method, "iou-15"] += box_overlap(heatmap, boxes, 0.15)
            sums[method, "iou-20"] += box_overlap(heatmap, boxes, 0.2)
            sums[method, "energy"] += energy(heatmap, boxes)
            accuracy[method].add(heatmap, boxes)
    found = {key: 100 * total / count for key, total in sums.items()}
    found |= {(method, "max-box-acc-v2"): 100 * accuracy[method].value() for method in methods}

    print(f"{arguments.network} at {arguments.layer or last}, {count} images: pytorch-grad-cam / this project")
    worst = 0.0
    for method in methods:
        cells = []
        for measure in ("pointing", "iou-15", "iou-20", "max-box-acc-v2", "energy"):
            theirs, ours = found[method, measure], wanted[method, measure][1]
            worst = max(worst, abs(theirs - ours))
            cells.append(f"{measure} {theirs:.2f}/{ours:.2f}")
        print(f"  {method:22}" + "  ".join(cells))
    print(f"largest difference: {worst:.3f} points, of {ALLOWED} allowed")
    if worst > ALLOWED:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
