"""Scores an exported network on `val`: `python training/score.py`.

`val` is for the final score alone. Nothing is chosen by it; `training/train.py` holds back a part of `train` for that.
Localisation is scored for the true class with CAM (Zhou et al. 2016, https://arxiv.org/abs/1512.04150), beside what one
gets without looking at the image: its centre as the point, all of it as the box.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from PIL import Image
from onnx import TensorProto, helper, numpy_helper
from scipy import ndimage

import data

ROOT = Path(__file__).resolve().parent.parent
BINS = 15
BOX_THRESHOLD = 0.2


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=ROOT / "www/models/everyday/model.json", help="a manifest")
    parser.add_argument("--data", type=Path, default=ROOT / "../shared/data/tiny-imagenet-100")
    parser.add_argument("--cache", type=Path, default=ROOT / "training/.cache")
    options = parser.parse_args()

    manifest = json.loads(options.model.read_text())
    split = data.load(options.data, "val", options.cache)
    images, labels, boxes = (values.numpy() for values in (split.images, split.labels, split.boxes))
    scores, maps = evaluate(options.model.parent / manifest["file"], manifest, images, labels)

    best = np.argsort(-scores, axis=1)[:, :5] == labels[:, None]
    probabilities = softmax(scores)
    points = [pointing(map_, box) for map_, box in zip(maps, boxes)]
    overlaps = [iou(box_of(map_), box) for map_, box in zip(maps, boxes)]
    centre = [inside(data.SIDE / 2, data.SIDE / 2, box) for box in boxes]
    full = [iou((0, 0, data.SIDE, data.SIDE), box) for box in boxes]
    print(f"{len(labels)} images of val, {manifest['name']}, input {manifest['preprocess']['width']}×{manifest['preprocess']['height']}")
    print(f"top-1                     {percent(best[:, 0])}")
    print(f"top-5                     {percent(best.any(1))}")
    print(f"calibration error (ECE)   {percent(calibration_error(probabilities, labels))}")
    print(f"pointing game, CAM        {percent(points)}   (centre of the image {percent(centre)})")
    print(f"box IoU ≥ 0.5, CAM at 20 % {percent(np.array(overlaps) >= 0.5)}   (full image {percent(np.array(full) >= 0.5)})")
    print(f"mean box IoU, CAM at 20 % {percent(overlaps)}   (full image {percent(full)})")


def evaluate(path: Path, manifest: dict, images: np.ndarray, labels: np.ndarray):
    """Logits `[N, C]`, and the CAM of each image's true class at the images' size, `[N, 64, 64]`."""
    model = onnx.load(path)
    layer = manifest["targetLayer"]
    model.graph.output.append(helper.make_tensor_value_info(layer, TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(model.SerializeToString())
    weights = linear_weights(model)

    preprocess = manifest["preprocess"]
    size = preprocess["width"], preprocess["height"]
    mean, std = (np.array(preprocess[key], np.float32) for key in ("mean", "std"))
    scores, maps = [], []
    for i, (image, label) in enumerate(zip(images, labels)):
        pixels = Image.fromarray(image.transpose(1, 2, 0)).resize(size, Image.BILINEAR)
        x = (np.asarray(pixels, np.float32) / 255 - mean) / std
        logits, activations = session.run(["logits", layer], {"input": np.ascontiguousarray(x.transpose(2, 0, 1)[None])})
        scores.append(logits[0])
        map_ = np.tensordot(weights[label], activations[0], 1)
        maps.append(np.asarray(Image.fromarray(map_).resize((data.SIDE, data.SIDE), Image.BILINEAR)))
        if (i + 1) % 1000 == 0:
            print(f"{i + 1} of {len(images)}", flush=True)
    return np.stack(scores), np.stack(maps)


def linear_weights(model: onnx.ModelProto) -> np.ndarray:
    """`[C, K]`, from the Gemm that makes the logits, through the Cast before it."""
    gemm = next(node for node in model.graph.node if node.op_type == "Gemm")
    cast = next(node for node in model.graph.node if node.output[0] == gemm.input[1])
    stored = next(tensor for tensor in model.graph.initializer if tensor.name == cast.input[0])
    return numpy_helper.to_array(stored).astype(np.float32)


def softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def calibration_error(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Expected calibration error over 15 bins of equal width (Guo et al. 2017, https://arxiv.org/abs/1706.04599, eq. 3)."""
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    return sum(abs(right[bins == b].mean() - confidence[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins))


def inside(x: float, y: float, box) -> bool:
    return box[0] <= x <= box[2] and box[1] <= y <= box[3]


def pointing(map_: np.ndarray, box) -> bool:
    """Whether the hottest pixel lies in the box (Zhang et al. 2016, https://arxiv.org/abs/1608.00507; no margin)."""
    y, x = np.unravel_index(map_.argmax(), map_.shape)
    return inside(x + 0.5, y + 0.5, box)


def box_of(map_: np.ndarray) -> tuple[int, int, int, int]:
    """The box around the largest connected part above 20 % of the heatmap's maximum (Zhou et al. 2016, section 3.2)."""
    heatmap = np.maximum(map_, 0)
    parts, _ = ndimage.label(heatmap >= BOX_THRESHOLD * heatmap.max())
    largest = np.bincount(parts.ravel())[1:].argmax() + 1
    rows, columns = ndimage.find_objects(parts)[largest - 1]
    return columns.start, rows.start, columns.stop, rows.stop


def iou(a, b) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def percent(values) -> str:
    return f"{100 * np.mean(values):5.1f} %"


if __name__ == "__main__":
    main()
