"""The default network for classes of your own: a folder of folders of pictures, one folder a class.

    python training/finetune.py pictures/          # pictures/cat/*.jpg, pictures/dog/*.jpg, …

The convolutions stay as they are and each picture passes through them once for each of a few views; what is trained is a
new linear layer behind the pooling, so that a minute on a processor is enough and CAM stays exact. Every epoch leaves a
checkpoint; the one with the smallest loss on the validation pictures is exported to www/models/own (or --output) as
NAME.onnx, model.json and labels.json.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper
from PIL import Image, ImageEnhance, ImageOps, UnidentifiedImageError

import bundle

ROOT = Path(__file__).resolve().parent.parent
PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif"}
FEWEST = 4


def main():
    options = arguments()
    base = Base(options.model)
    checkpoints = options.output / "checkpoints"
    if options.checkpoint:
        head = Head.load(options.checkpoint)
    else:
        labels, files = classes_in(options.folder)
        head = train(base, labels, files, checkpoints, options)
    path = base.export(head, options)
    print(f"wrote {options.output}: {path.stat().st_size / 1e6:.1f} MB, {len(head.labels)} classes: {', '.join(head.labels)}")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="holds one folder of pictures for each class, named like the class")
    parser.add_argument("--output", type=Path, default=ROOT / "www/models/own")
    parser.add_argument("--name", default="own", help="of the network and its file")
    parser.add_argument("--license", help="of the pictures and what is learnt from them; said in the manifest")
    parser.add_argument("--model", type=Path, default=ROOT / "www/models/everyday/model.json",
                        help="the manifest of a network that ends in pooling and one linear layer")
    parser.add_argument("--validation", type=float, default=0.2, help="share of each class that is not trained on")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--views", type=int, default=6, help="crops and flips of each training picture")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--checkpoint", type=Path, help="export this one and train nothing")
    options = parser.parse_args()
    if (options.folder is None) == (options.checkpoint is None):
        parser.error("give a folder of class folders, or --checkpoint")
    if not 0 < options.validation < 1:
        parser.error(f"--validation {options.validation}: a share between 0 and 1")
    return options


def classes_in(folder: Path) -> tuple[list[str], list[list[Path]]]:
    """Names in alphabetical order, and the pictures of each."""
    if not folder.is_dir():
        raise SystemExit(f"{folder} is no folder; a folder with one folder of pictures for each class is wanted")
    named = {entry.name: sorted(f for f in entry.rglob("*") if f.suffix.lower() in PICTURES)
             for entry in sorted(folder.iterdir()) if entry.is_dir() and not entry.name.startswith(".")}
    if len(named) < 2:
        raise SystemExit(f"{folder} holds {len(named)} folders of classes; at least two are wanted")
    for name, files in named.items():
        if len(files) < FEWEST:
            raise SystemExit(f"{folder / name} holds {len(files)} pictures; at least {FEWEST} are wanted "
                             f"({', '.join(sorted(PICTURES))})")
    return list(named), list(named.values())


def in_units(preprocess: dict) -> dict:
    """Mean and std of samples from 0 to 1, where a manifest may have those from 0 to 255, as pkg/preprocess.js tells them."""
    mean, std = preprocess["mean"], preprocess["std"]
    if max(mean) > 1 or (max(std) > 1 and not any(mean)):
        preprocess = preprocess | {"mean": [value / 255 for value in mean], "std": [value / 255 for value in std]}
    return preprocess


class Base:
    """A network up to its pooling, with whatever its manifest says."""

    def __init__(self, path: Path):
        if not path.exists():
            raise SystemExit(f"--model {path}: there is no such manifest")
        self.manifest = json.loads(path.read_text())
        self.proto = onnx.load(path.parent / self.manifest["file"])
        last = self.proto.graph.node[-1]
        if last.op_type != "Gemm" or last.output[0] != self.proto.graph.output[0].name:
            raise SystemExit(f"{path} ends in {last.op_type}; a network that ends in pooling and one linear layer (Gemm) "
                             "is wanted")
        self.linear, self.pooled = last, last.input[0]
        probed = onnx.ModelProto()
        probed.CopyFrom(self.proto)
        probed.graph.output.append(helper.make_tensor_value_info(self.pooled, TensorProto.FLOAT, None))
        self.session = onnxruntime.InferenceSession(probed.SerializeToString(), providers=["CPUExecutionProvider"])
        self.preprocess = in_units(self.manifest["preprocess"])
        self.size = self.preprocess["width"], self.preprocess["height"]

    def input(self, picture: Image.Image) -> np.ndarray:
        """`[1, 3, H, W]` of an RGB picture that has the input's size."""
        pixels = np.asarray(picture, np.float32) / 255
        pixels = (pixels - np.float32(self.preprocess["mean"])) / np.float32(self.preprocess["std"])
        pixels = pixels[..., ::-1] if self.preprocess["order"] == "BGR" else pixels
        return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])

    def fitted(self, picture: Image.Image) -> Image.Image:
        """As the page does it."""
        if self.preprocess["resize"] == "stretch":
            return picture.resize(self.size, Image.BILINEAR)
        if self.preprocess["resize"] == "crop":
            return ImageOps.fit(picture, self.size, Image.BILINEAR)
        return ImageOps.pad(picture, self.size, Image.BILINEAR, tuple(round(255 * m) for m in self.preprocess["mean"]))

    def features(self, picture: Image.Image) -> np.ndarray:
        """The pooled activations `[K]`."""
        name = self.session.get_inputs()[0].name
        return self.session.run([self.pooled], {name: self.input(picture)})[0].reshape(-1)

    def export(self, head: "Head", options) -> Path:
        weight, bias = head.weight, head.bias
        transposed = next((a.i for a in self.linear.attribute if a.name == "transB"), 0)
        self.replace(self.linear.input[1], weight if transposed else weight.T)
        self.replace(self.linear.input[2], bias)
        self.proto.graph.output[0].type.tensor_type.shape.dim[-1].dim_value = len(bias)
        facts = {"source": f"the convolutions of {self.manifest['name']}, with a linear layer trained by "
                           "training/finetune.py of gradcam-web"}
        licenses = [text for text in (options.license, self.manifest.get("license")) if text]
        if licenses:
            facts["license"] = "; the convolutions: ".join(licenses)
        bundle.describe(self.proto, self.preprocess, head.labels, **facts)
        onnx.checker.check_model(self.proto, full_check=True)
        manifest = {"name": options.name, **facts, "preprocess": self.preprocess}
        if "targetLayer" in self.manifest:
            manifest["targetLayer"] = self.manifest["targetLayer"]
        file = f"{options.name}.onnx"
        bundle.write(options.output, file, self.proto.SerializeToString(), head.labels, manifest)
        return options.output / file

    def replace(self, name: str, values: np.ndarray):
        """Another parameter in the place of `name`, which may come out of a Cast."""
        cast = next((node for node in self.proto.graph.node if node.output[0] == name and node.op_type == "Cast"), None)
        name = cast.input[0] if cast else name
        stored = next(tensor for tensor in self.proto.graph.initializer if tensor.name == name)
        stored.CopyFrom(numpy_helper.from_array(values.astype(numpy_helper.to_array(stored).dtype), name))


class Head:
    """The linear layer: weight `[C, K]`, bias `[C]`."""

    def __init__(self, labels: list[str], weight: np.ndarray, bias: np.ndarray):
        self.labels, self.weight, self.bias = labels, weight, bias

    def save(self, path: Path):
        np.savez(path, labels=np.array(self.labels), weight=self.weight, bias=self.bias)

    @classmethod
    def load(cls, path: Path) -> "Head":
        if not path.exists():
            raise SystemExit(f"--checkpoint {path}: there is no such file")
        with np.load(path) as stored:
            return cls([str(label) for label in stored["labels"]], stored["weight"], stored["bias"])


def train(base: Base, labels: list[str], files: list[list[Path]], checkpoints: Path, options) -> Head:
    rng = np.random.default_rng(options.seed)
    seen, held_out = split(files, options.validation, rng)
    print(f"{len(seen)} pictures to train on, {len(held_out)} for validation, {len(labels)} classes")
    held_out_x, held_out_y = collect(base, held_out, None, rng, options)
    train_x, train_y = collect(base, seen, options.views, rng, options)
    for part, found in (("train on", train_y), ("validate with", held_out_y)):
        missing = [label for i, label in enumerate(labels) if i not in found]
        if missing:
            raise SystemExit(f"no picture of {', '.join(missing)} is left to {part}: too many files were no pictures")

    # Channels of one scale train alike; the scale goes into the exported weights.
    mean, deviation = train_x.mean((0, 1)), train_x.std((0, 1)) + 1e-6
    torch.manual_seed(options.seed)
    x, y = (torch.from_numpy(v) for v in ((train_x - mean) / deviation, train_y))
    validation = torch.from_numpy((held_out_x[:, 0] - mean) / deviation), torch.from_numpy(held_out_y)
    # A class with twice the pictures counts no more than another.
    balance = len(y) / (len(labels) * torch.bincount(y, minlength=len(labels)).float())
    linear = torch.nn.Linear(x.shape[2], len(labels))
    torch.nn.init.zeros_(linear.weight)
    torch.nn.init.zeros_(linear.bias)
    optimiser = torch.optim.AdamW(linear.parameters(), 3e-3, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, options.epochs)
    checkpoints.mkdir(parents=True, exist_ok=True)
    best, best_loss = None, float("inf")
    for epoch in range(1, options.epochs + 1):
        losses = []
        for rows in torch.randperm(len(y)).split(32):
            view = torch.randint(x.shape[1], (len(rows),))
            loss = F.cross_entropy(linear(x[rows, view]), y[rows], balance)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        schedule.step()
        with torch.no_grad():
            scores = linear(validation[0])
        loss = F.cross_entropy(scores, validation[1]).item()
        accuracy = (scores.argmax(1) == validation[1]).float().mean().item()
        weight = linear.weight.detach().numpy() / deviation
        head = Head(labels, weight, linear.bias.detach().numpy() - weight @ mean)
        head.save(checkpoints / f"epoch-{epoch:02}-loss-{loss:.3f}.npz")
        print(f"epoch {epoch}: loss {np.mean(losses):.3f}; validation loss {loss:.3f}, accuracy {accuracy:.1%}", flush=True)
        if loss < best_loss:
            best, best_loss, best_epoch, best_accuracy = head, loss, epoch, accuracy
    print(f"epoch {best_epoch} is exported: {best_accuracy:.1%} of {len(held_out_y)} validation pictures right. It was chosen "
          "by them; for a score to publish, keep other pictures back")
    return best


def split(files: list[list[Path]], share: float, rng) -> tuple[list, list]:
    """(file, class) to train on and to validate with: the same share of each class, drawn at random."""
    seen, held_out = [], []
    for label, of_class in enumerate(files):
        order = [of_class[i] for i in rng.permutation(len(of_class))]
        count = min(max(1, round(share * len(order))), len(order) - 1)
        held_out += [(file, label) for file in order[:count]]
        seen += [(file, label) for file in order[count:]]
    return seen, held_out


def collect(base: Base, pictures: list, views: int | None, rng, options) -> tuple[np.ndarray, np.ndarray]:
    """Features `[N, views, K]` and classes `[N]`; `None` is the one view that the page takes."""
    features, found = [], []
    for number, (file, label) in enumerate(pictures, 1):
        try:
            with Image.open(file) as opened:
                picture = ImageOps.exif_transpose(opened).convert("RGB")
        except (UnidentifiedImageError, OSError) as error:
            print(f"skipped: {file} is no picture that can be read ({error})")
            continue
        whole = base.fitted(picture)
        shown = [whole] if views is None else [whole] + [view(picture, base.size, rng) for _ in range(views - 1)]
        features.append([base.features(image) for image in shown])
        found.append(label)
        if number % 200 == 0:
            print(f"{number} of {len(pictures)} pictures", flush=True)
    return np.array(features, np.float32), np.array(found)


def view(picture: Image.Image, size: tuple[int, int], rng) -> Image.Image:
    """A random part, mirrored or not, a little brighter or duller."""
    area, aspect = rng.uniform(0.4, 1), np.exp(rng.uniform(-0.3, 0.3))
    width, height = (min(1, (area * a) ** 0.5) for a in (aspect, 1 / aspect))
    left, top = rng.uniform(0, 1 - width), rng.uniform(0, 1 - height)
    box = tuple(v * side for v, side in zip((left, top, left + width, top + height), picture.size * 2))
    part = picture.resize(size, Image.BILINEAR, box)
    part = ImageOps.mirror(part) if rng.random() < 0.5 else part
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        part = enhance(part).enhance(rng.uniform(0.75, 1.25))
    return part


if __name__ == "__main__":
    main()
