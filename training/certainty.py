"""How often a network's rule of certainty (`certainty` in its manifest) is wrong: pictures of its own classes that it calls unsure
(false alarms), and pictures of nothing, or of something else, that it calls unsure (caught). Prints a table, and what other
thresholds would give.

    python certainty.py ../www/models/everyday/model.json --known VAL_IMAGES [--unknown PICTURES ...] [--network FILE.onnx]

Needs numpy, onnxruntime and Pillow. The rule is that of pkg/certainty.js. The pictures of nothing are made here, from a seed:
flat colours, ramps and noise of several kinds and sizes.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

# As in pkg/certainty.js.
LIKELY, HIGHEST, ALIKE = 0.25, 1 / 20, 0.2


def prepared(image, rule):
    """The input of a network, as its manifest says."""
    image = image.convert("RGB")
    width, height = rule["width"], rule["height"]
    if rule["resize"] == "crop":
        scale = max(width / image.width, height / image.height)
        image = image.resize((max(width, round(scale * image.width)), max(height, round(scale * image.height))), Image.BILINEAR)
        left, top = (image.width - width) // 2, (image.height - height) // 2
        image = image.crop((left, top, left + width, top + height))
    else:
        image = image.resize((width, height), Image.BILINEAR)
    samples = (np.asarray(image, np.float32) / 255 - rule["mean"]) / rule["std"]
    return samples.transpose(2, 0, 1)[None].astype(np.float32)


def flat():
    for name, colour in {
        "black": (0, 0, 0), "white": (255, 255, 255), "grey": (127, 127, 127), "red": (255, 0, 0), "green": (0, 255, 0),
        "blue": (0, 0, 255), "yellow": (255, 255, 0), "brown": (120, 80, 40),
    }.items():
        yield name, Image.new("RGB", (96, 64), colour)


def ramps():
    for colour in ((255, 255, 255), (255, 120, 0), (0, 120, 255)):
        for axis in (0, 1):
            along = np.linspace(0, 1, 96 if axis else 64)
            levels = along[None, :, None] if axis else along[:, None, None]
            yield "ramp", Image.fromarray(np.broadcast_to(levels * colour, (64, 96, 3)).astype(np.uint8))


def noise():
    random = np.random.default_rng(18)
    for side in (8, 16, 32, 64, 96, 128, 256, 640):
        for channels in (1, 3):
            for kind in ("uniform", "normal"):
                shape = (side, side, channels)
                levels = random.integers(0, 256, shape) if kind == "uniform" else np.clip(random.normal(128, 50, shape), 0, 255)
                small = Image.fromarray(np.broadcast_to(levels, (side, side, 3)).astype(np.uint8))
                yield "noise", small
                yield "noise in squares", small.resize((256, 256), Image.NEAREST)
                yield "smooth noise", small.resize((256, 256), Image.BICUBIC)


def files(folder, most):
    """The folder's pictures; of more than `most` as many, evenly spread."""
    found = sorted(file for file in Path(folder).rglob("*") if file.suffix.lower() in (".jpg", ".jpeg", ".png"))
    for file in found[:: max(1, len(found) // most)]:
        yield file.stem, Image.open(file)


def energy(scores):
    return scores.max() + np.log(np.exp(scores - scores.max()).sum())


def likeness(picture):
    """The correlation of pixels with those on their left, in green."""
    levels = np.asarray(picture.convert("RGB"), np.float64)[..., 1].reshape(-1)
    at = np.arange(1, levels.size, max(1, -(-levels.size // 100_000)))
    here, left = levels[at], levels[at - 1]
    mean, variance = here.mean(), here.var()
    return (np.mean(here * left) - mean**2) / variance if variance > 0 else np.nan


def measures(session, rule, pictures):
    """Of each picture: the greatest probability, the log-sum-exp of all scores and of all but the highest twentieth, and how alike
    neighbouring pixels are."""
    found = []
    [entry] = session.get_inputs()
    for _, picture in pictures:
        scores = session.run(None, {entry.name: prepared(picture, rule)})[0].reshape(-1).astype(np.float64)
        likely = 1 / np.exp(scores - scores.max()).sum()
        others = np.sort(scores)[: len(scores) - int(np.ceil(HIGHEST * len(scores)))]
        found.append((likely, energy(scores), energy(others), likeness(picture)))
    return np.array(found)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--network", type=Path, help="if it does not lie beside the manifest")
    parser.add_argument("--known", nargs="+", default=[], help="folders of pictures of the network's classes, not trained on")
    parser.add_argument("--unknown", nargs="+", default=[], help="folders of pictures of other things")
    parser.add_argument("--most", type=int, default=500, help="pictures of each folder, evenly spread")
    options = parser.parse_args()
    manifest = json.loads(options.manifest.read_text())
    session = onnxruntime.InferenceSession(str(options.network or options.manifest.parent / manifest["file"]))
    sets = {"flat": flat(), "ramps": ramps(), "noise": noise()}
    sets |= {f"known: {Path(folder).name}": files(folder, options.most) for folder in options.known}
    sets |= {f"unknown: {Path(folder).name}": files(folder, options.most) for folder in options.unknown}
    values = {name: measures(session, manifest["preprocess"], pictures) for name, pictures in sets.items()}

    rule = manifest.get("certainty", {})
    least, enough, most = rule.get("probability", LIKELY), rule.get("energy", -np.inf), rule.get("rest", np.inf)
    print(f"{manifest['name']}: unsure below {least:.0%}, with an energy below {enough}, a rest above {most} or pixels of a correlation "
          f"below {ALIKE}")
    for name, found in values.items():
        unsure = (found[:, 0] < least) | (found[:, 1] < enough) | (found[:, 2] > most) | (found[:, 3] < ALIKE)
        print(f"  {name:32} {unsure.sum():5} of {len(found):5} unsure, {unsure.mean():6.1%}")

    print("\nunsure by other thresholds, of " + ", ".join(values))
    for least in (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4):
        shares = [(found[:, 0] < least).mean() for found in values.values()]
        print(f"  probability {least:5.2f} " + " ".join(f"{share:7.1%}" for share in shares))
    known = [found for name, found in values.items() if name.startswith("known")]
    for column, name in ((1, "energy"), (2, "rest")):
        for threshold in np.quantile(np.concatenate(known or list(values.values()))[:, column], [0.01, 0.02, 0.05, 0.1, 0.5, 0.9, 0.95, 0.98, 0.99]):
            below = [(found[:, column] < threshold).mean() for found in values.values()]
            shares = below if column == 1 else [1 - share for share in below]
            print(f"  {name:8} {threshold:7.2f} " + " ".join(f"{share:7.1%}" for share in shares))


if __name__ == "__main__":
    main()
