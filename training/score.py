"""Scores an exported network on `val` through this project's own engine: `python training/score.py`.

`val` is for the final score alone. Nothing is chosen by it; `training/train.py` holds back a part of `train` for that.
What is measured, and how, is in `examples/score.rs`.
"""

import argparse
import csv
import subprocess
import tarfile
from pathlib import Path

import data

ROOT = Path(__file__).resolve().parent.parent


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=ROOT / "www/models/everyday/model.json", help="a manifest")
    parser.add_argument("--data", type=Path, default=ROOT / "../shared/data/tiny-imagenet-100")
    parser.add_argument("--cache", type=Path, default=ROOT / "training/.cache")
    options = parser.parse_args()
    listed = unpack(options.data, options.cache)
    engine = ["cargo", "run", "--quiet", "--release", "--example", "score", "--", options.model.resolve(), listed.resolve()]
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
    listed = cache / "val.tsv"
    with listed.open("w", newline="") as file:
        csv.writer(file, delimiter="\t", lineterminator="\n").writerows(sorted(lines, key=lambda line: line[0].name))
    return listed


if __name__ == "__main__":
    main()
