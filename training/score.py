"""Scores an exported network on `val` through this project's own engine: `python training/score.py`.

`val` is for the final score alone. Nothing is chosen by it; choices are made on the part of `train` that
`training/train.py` holds back, which `--split held-out` scores. What is measured, and how, is in `examples/score.rs`.
"""

import argparse
import csv
import subprocess
import tarfile
from pathlib import Path

from PIL import Image

import data

ROOT = Path(__file__).resolve().parent.parent


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=ROOT / "www/models/everyday/model.json", help="a manifest")
    parser.add_argument("--split", choices=("val", "held-out"), default="val")
    parser.add_argument("--data", type=Path, default=ROOT / "../shared/data/tiny-imagenet-100")
    parser.add_argument("--cache", type=Path, default=ROOT / "training/.cache")
    options = parser.parse_args()
    listed = (unpack if options.split == "val" else unpack_held_out)(options.data, options.cache)
    # The engine as browsers have it on the CPU; with burn beside it the build would take ten minutes.
    build = ["--release", "--no-default-features", "--features", "cpu,formats"]
    engine = ["cargo", "run", "--quiet", *build, "--example", "score", "--", options.model.resolve(), listed.resolve()]
    subprocess.run(engine, cwd=ROOT, check=True)


def unpack(folder: Path, cache: Path) -> Path:
    """The images of `val` as files in `cache/val`, and the list that the engine's example reads."""
    archive, pictures = folder / "val.tar.xz", cache / "val"
    index = {wnid: i for i, wnid in enumerate(data.classes(folder)[0])}
    _, *rows = data.rows_in_archive(archive, "val_boxes.tsv")
    boxes = {row[0]: row[2:6] for row in rows}
    pictures.mkdir(parents=True, exist_ok=True)
    lines = []
    with tarfile.open(archive, "r:xz") as tar:
        for member in tar:
            path = Path(member.name)
            if path.suffix == ".JPEG":
                (pictures / path.name).write_bytes(tar.extractfile(member).read())
                lines.append([pictures.resolve() / path.name, index[path.parent.name], *boxes[path.name]])
    return write(sorted(lines, key=lambda line: line[0].name), cache / "val.tsv")


def unpack_held_out(folder: Path, cache: Path) -> Path:
    """The same of the images of `train` that nothing is trained on."""
    split = data.load(folder, "train", cache)
    split, pictures = split[data.held_out(split.labels)], cache / "held-out"
    pictures.mkdir(parents=True, exist_ok=True)
    lines = []
    for i, (image, label, box) in enumerate(zip(split.images, split.labels, split.boxes)):
        # PNG, which keeps the pixels as they were decoded.
        picture = pictures.resolve() / f"{i}.png"
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(picture)
        lines.append([picture, label.item(), *box.tolist()])
    return write(lines, cache / "held-out.tsv")


def write(lines: list, listed: Path) -> Path:
    with listed.open("w", newline="") as file:
        csv.writer(file, delimiter="\t", lineterminator="\n").writerows(lines)
    return listed


if __name__ == "__main__":
    main()
