"""Judges pytorch-grad-cam's maps on the networks and images of `docs/judging.md`, and compares with this project's scores.

    python docs/compare_judging.py --decode target/boxes-250
    cargo xtask judge --pictures target/boxes-250 --networks squeezenet --layer concat_60 --curves 0 --scores target/compared.tsv
    python docs/compare_judging.py target/compared.tsv squeezenet --layer concat_60

The pictures of the default network, `everyday`, are those that judging it has unpacked: its name goes with `--decode`, too.

The network is rebuilt in PyTorch from its ONNX file (`tests/data/make_real_cams.py`), pictures are read by Pillow, maps
come from the released pytorch-grad-cam, and the measures are those of `tests/data/make_boxes.py`, which rest on OpenCV.
Nothing of this project's code takes part. Ends with an error if a score differs by more than half a point.

`--decode` writes the pictures without loss as Pillow reads them, because decoders of JPEG differ by a few levels: where two
peaks of a map are nearly as high, or a threshold nearly cuts a part of it in two, a picture then falls on the other side.
Scores of the JPEG files may be in the same file; they are printed as well, and pictures that differ are named.

Needs Python 3.11 with torch, grad-cam, onnx, opencv, pillow and what else `tests/data/fixture.py` names.
"""

import argparse
import csv
import pathlib
import re
import sys
from collections import defaultdict

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
MODELS = SHARED / "models"
QUANTISED = "/features/features.18/features.18.2/Clip_output_0_DequantizeLinear_Output"
# Name: file, the last layer with places, mean and standard deviation.
NETWORKS = {
    "squeezenet": (MODELS / "squeezenet1_1_torchvision_fp16w.onnx", "classifier.1_relu", *IMAGENET),
    "mobilenet-v2": (MODELS / "mobilenet_v2_1.0_224_w8.onnx", "conv_62_relu6", [0.5], [0.5]),
    "mobilenet-v1-0.25": (MODELS / "mobilenet_v1_0.25_224.onnx", "conv_pw_13_relu", [0.5], [0.5]),
    "tiny-darknet": (MODELS / "tiny_darknet.onnx", "conv2d_16", [0.0], [1.0]),
    "mobilenet-v2-quantised": (MODELS / "mobilenetv2_quant_static.onnx", QUANTISED, *IMAGENET),
    "everyday": (ROOT / "www/models/everyday/everyday.onnx", "stage3.block3.relu", *IMAGENET),
}
METHODS = ["grad-cam", "grad-cam++", "hirescam", "grad-cam-elementwise", "xgrad-cam", "layercam", "fem"]
# In pixels of 224.
TOLERANCE = 15.0
ALLOWED = 0.5
MEASURES = ("pointing", "iou-15", "iou-20", "max-box-acc-v2", "energy")
PICTURES = SHARED / "data/ilsvrc-boxes-250"
OWN_PICTURES = ROOT / "target/tiny-imagenet-100"


def own_rows():
    with open(OWN_PICTURES / "val_boxes.tsv") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def samples(network):
    """From a picture's name to its path, class and boxes."""
    if network == "everyday":
        wnids = [line.split("\t")[0] for line in (OWN_PICTURES / "classes.tsv").read_text().splitlines()]
        return {
            pathlib.Path(row["file"]).stem: (
                OWN_PICTURES / "val" / row["wnid"] / row["file"],
                wnids.index(row["wnid"]),
                np.float32([[float(row[side]) for side in ("x0", "y0", "x1", "y1")]]),
            )
            for row in own_rows()
        }
    with open(PICTURES / "boxes.csv") as file:
        return {
            pathlib.Path(row["file"]).stem: (
                PICTURES / "images" / row["file"],
                int(row["imagenet_index"]),
                np.float32([[float(side) for side in box.split()] for box in row["boxes_224"].split("|")]),
            )
            for row in csv.DictReader(file)
        }


def decode(folder, network):
    root, table = (OWN_PICTURES, "val_boxes.tsv") if network == "everyday" else (PICTURES, "boxes.csv")
    for path, *_ in samples(network).values():
        copy = folder / path.relative_to(root).with_suffix(".png")
        copy.parent.mkdir(parents=True, exist_ok=True)
        Image.open(path).convert("RGB").save(copy)
    for name in (table, "classes.tsv"):
        if (root / name).exists():
            (folder / name).write_text(re.sub(r"\.jpe?g\b", ".png", (root / name).read_text(), flags=re.IGNORECASE))


def tensor(path, side, mean, std):
    picture = Image.open(path).convert("RGB")
    pixels = np.asarray(picture.resize((side, side), Image.BILINEAR), np.float32) / 255
    return torch.from_numpy(((pixels - np.float32(mean)) / np.float32(std)).transpose(2, 0, 1)[None].copy())


def maps(network, layer, methods, side):
    """From an input and a class to pytorch-grad-cam's final maps at `side` pixels; all methods share one run forwards and
    backwards."""
    extractors = {name: PLAIN[name](network, [layer]) for name in methods}
    for extractor in extractors.values():
        # It would stretch maps to the input, which has not the pictures' size where those are small.
        extractor.get_target_width_height = lambda _: (side, side)
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


def scores_in(file, network, layer):
    """By the pictures' format, the method and the picture's name: what this project measured."""
    found = defaultdict(lambda: defaultdict(dict))
    with open(file) as table:
        for row in csv.DictReader(table, delimiter="\t"):
            if row["network"] == network and row["layer"] == (layer or "-") and row["method"] in METHODS:
                path = pathlib.Path(row["image"])
                found[path.suffix][row["method"]][path.stem] = numbers(row)
    return found


def numbers(row):
    """A picture's measures; of MaxBoxAccV2 whether each of three overlaps is reached at each of 1000 thresholds, which are
    written as `3-20,40-41|...`."""
    reached = np.zeros((3, 1000))
    for overlap, ranges in enumerate(row["max-box-acc-v2"].split("|")):
        for start, end in (map(int, part.split("-")) for part in ranges.split(",") if part):
            reached[overlap, start:end] = 1
    return {measure: float(row[measure]) for measure in MEASURES if measure != "max-box-acc-v2"} | {"max-box-acc-v2": reached}


def judged(heatmap, boxes):
    """The same of a heatmap of pytorch-grad-cam, in the boxes' frame."""
    accuracy = BoxAccuracy()
    accuracy.add(heatmap, boxes)
    return {
        "pointing": pointing(heatmap, boxes, TOLERANCE * len(heatmap) / 224),
        "iou-15": box_overlap(heatmap, boxes, 0.15),
        "iou-20": box_overlap(heatmap, boxes, 0.2),
        "energy": energy(heatmap, boxes),
        "max-box-acc-v2": np.stack(list(accuracy.correct.values())),
    }


def score(pictures, measure):
    values = np.mean([picture[measure] for picture in pictures], axis=0)
    return 100 * float(np.mean(values.max(1)) if measure == "max-box-acc-v2" else values)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scores", nargs="?", help="what `cargo xtask judge --scores` wrote")
    parser.add_argument("network", nargs="?", choices=NETWORKS)
    parser.add_argument("--layer", help="the same as given there; default the last one")
    parser.add_argument("--decode", type=pathlib.Path, help="only write the pictures to this folder; those of `everyday` if that is named")
    arguments = parser.parse_args()
    if arguments.decode:
        return decode(arguments.decode, arguments.scores)
    if not arguments.network:
        parser.error("the file of scores and the network are needed")

    file, last, mean, std = NETWORKS[arguments.network]
    ours = scores_in(arguments.scores, arguments.network, arguments.layer)
    if not ours:
        raise SystemExit(f"{arguments.scores}: no scores of {arguments.network} at that layer by a method that is compared")
    methods = [method for method in METHODS if any(method in by_method for by_method in ours.values())]
    names = {name for by_method in ours.values() for by_name in by_method.values() for name in by_name}

    torch.set_num_threads(1)
    network = FromOnnx(file).eval()
    _, layer = network.module(arguments.layer or last)
    input_side, frame_side = (96, 64) if arguments.network == "everyday" else (224, 224)
    explain = maps(network, layer, methods, frame_side)
    theirs = defaultdict(dict)
    for name, (path, category, boxes) in samples(arguments.network).items():
        if name in names:
            for method, heatmap in explain(tensor(path, input_side, mean, std), category).items():
                theirs[method][name] = judged(heatmap, boxes)

    worst = {}
    for suffix, by_method in ours.items():
        print(f"{arguments.network} at {arguments.layer or last}, {suffix[1:]}: pytorch-grad-cam / this project")
        differing, worst[suffix] = defaultdict(list), 0.0
        for method, by_name in by_method.items():
            cells = []
            for measure in MEASURES:
                pairs = [(theirs[method][name][measure], mine[measure]) for name, mine in by_name.items()]
                expected, found = (score([{measure: pair[side]} for pair in pairs], measure) for side in (0, 1))
                worst[suffix] = max(worst[suffix], abs(expected - found))
                cells.append(f"{measure} {expected:.2f}/{found:.2f}")
                if measure != "max-box-acc-v2":
                    for name, (a, b) in zip(by_name, pairs):
                        if abs(a - b) > 0.05:
                            differing[name].append(f"{method} {measure} {a:.2f}/{b:.2f}")
            print(f"  {method:22}{len(by_name):4} images  " + "  ".join(cells))
        for name, what in differing.items():
            print(f"  {name} differs by more than 0.05: {', '.join(what)}")
        print(f"  largest difference: {worst[suffix]:.3f} points")
    # Of JPEG files, each side reads other pixels.
    enforced = worst.get(".png", max(worst.values()))
    if enforced > ALLOWED:
        raise SystemExit(f"{enforced:.3f} points are more than {ALLOWED}")


if __name__ == "__main__":
    main()
