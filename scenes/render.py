"""Renders the page's sample pictures and their objects' masks: `python scenes/render.py [NAME …]`.

Needs POV-Ray (Debian: `apt-get install povray povray-includes`) and Pillow. Writes `www/samples/NAME.jpg`, its line in
`www/samples/samples.json`, and `tests/data/samples/NAME-OBJECT.png`: one bit a pixel, white where the object is seen.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

from PIL import Image, ImageChops

HERE = Path(__file__).resolve().parent
PICTURES = HERE.parent / "www/samples"
MASKS = HERE.parent / "tests/data/samples"
LARGEST = 80_000

# Width, height, title, and the known objects by their class, nearer ones before those that they may hide.
SCENES = {
    "lighthouse": (420, 600, "A lighthouse on a rock", ["lighthouse"]),
    "coffee": (520, 520, "A cup of coffee", ["espresso"]),
    "barn": (640, 440, "A red barn", ["barn"]),
    "desk": (640, 520, "A cup of coffee and a keyboard", ["espresso", "computer keyboard"]),
    "lemons": (640, 440, "Lemons", ["lemon"]),
    "coast": (560, 600, "A picket fence before a lighthouse", ["picket fence", "lighthouse"]),
    "mushrooms": (500, 600, "Three mushrooms", ["mushroom"]),
    "breakfast": (640, 427, "A pretzel and a cup of coffee", ["pretzel", "espresso"]),
    "watertower": (460, 600, "A water tower", ["water tower"]),
    "farm": (640, 440, "A barn and a water tower", ["barn", "water tower"]),
    "fence": (640, 420, "A picket fence", ["picket fence"]),
    "yard": (640, 440, "A picket fence before a barn", ["picket fence", "barn"]),
    "ladybug": (600, 480, "A ladybug on a leaf", ["ladybug"]),
    "street": (640, 480, "A school bus and a water tower", ["school bus", "water tower"]),
    "bus": (640, 420, "A school bus", ["school bus"]),
    "pretzel": (560, 480, "A pretzel", ["pretzel"]),
    "keyboard": (640, 400, "A computer keyboard", ["computer keyboard"]),
    "oranges": (640, 440, "Oranges", ["orange"]),
    "candle": (400, 560, "A burning candle", ["candle"]),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(SCENES)}; default: all")
    names = parser.parse_args().names
    unknown = [name for name in names if name not in SCENES]
    if unknown:
        raise SystemExit(f"no scene is called {', '.join(unknown)}; there are {', '.join(SCENES)}")
    for name in names or SCENES:
        width, height, _, classes = SCENES[name]
        write_picture(rendered(name, width, height, 0), PICTURES / f"{name}.jpg")
        write_masks(name, [rendered(name, width, height, 1 + i).convert("L") for i in range(len(classes))], classes)
    write_list()


def rendered(name: str, width: int, height: int, show: int) -> Image.Image:
    """The photograph (`show` 0), or the known object of that number in black on white."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "out.png"
        command = ["povray", f"+I{name}.pov", f"+O{file}", f"+W{width}", f"+H{height}", f"Declare=Show={show}", "+A0.25", "-D"]
        try:
            run = subprocess.run(command, cwd=HERE, capture_output=True, text=True)
        except FileNotFoundError as error:
            raise SystemExit("POV-Ray is not there; on Debian: apt-get install povray povray-includes") from error
        if run.returncode != 0:
            raise SystemExit(f"{name}.pov: {run.stderr[-1500:]}")
        return Image.open(file).convert("RGB")


def write_picture(picture: Image.Image, file: Path):
    for quality in range(88, 40, -3):
        picture.save(file, quality=quality, optimize=True)
        if file.stat().st_size <= LARGEST:
            print(f"{file.name}: {picture.width}×{picture.height}, {file.stat().st_size} bytes, quality {quality}", flush=True)
            return
    raise SystemExit(f"{file.name} does not get below {LARGEST} bytes")


def write_masks(name: str, black: list[Image.Image], classes: list[str]):
    MASKS.mkdir(parents=True, exist_ok=True)
    nearer = None
    for image, label in zip(black, classes):
        mask = image.point(lambda level: 255 if level < 128 else 0)
        seen = mask if nearer is None else ImageChops.subtract(mask, nearer)
        nearer = mask if nearer is None else ImageChops.lighter(nearer, mask)
        seen.convert("1", dither=Image.Dither.NONE).save(MASKS / f"{name}-{label.replace(' ', '-')}.png", optimize=True)


def write_list():
    """Those scenes whose pictures are there, in the order above."""
    samples = [{"file": f"{name}.jpg", "title": title} for name, (_, _, title, _) in SCENES.items()
               if (PICTURES / f"{name}.jpg").exists()]
    (PICTURES / "samples.json").write_text(json.dumps(samples, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
