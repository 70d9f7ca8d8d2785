"""Mutated and oddly encoded pictures: the crate's pixels against Pillow's. `cargo xtask soak pictures` runs it.

usage: pictures.py PIXELS [COUNT] [SEED]    PIXELS is the built example `pixels`

Every picture of `tests/data/images` and `tests/data/pictures`, JPEG files of every sampling and GIF files of every size
are taken as they are and then with random damage: bytes changed, runs of bytes removed, doubled or overwritten, numbers in
headers replaced, files cut, and chunks of PNG files changed whose checksums are right again. Where the crate gives pixels and
Pillow does too, they must be the same, within the tolerance below; where the crate refuses what Pillow reads, that is counted
and never wrong. Pillow gives damaged files without a word, too: pixels that it
fills in where data is missing say nothing, and the crate's refusal is right there.
"""

import io
import pathlib
import random
import struct
import subprocess
import sys
import tempfile
import time
import warnings
import zlib

import numpy as np
from PIL import Image, ImageFile, ImageOps

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "data"))
import jpeg_writer  # noqa: E402

# Levels that decoders may differ by: lossy WebP by its rounding, and samples of 16 bits in PNG, which Pillow cuts. All others are
# exact.
TOLERANCE = {"JPEG": 1, "WEBP": 3, "PNG": 1, "GIF": 0, "BMP": 0}
# More is a hang, in seconds of the crate's own work.
LIMIT = 5
# Larger pictures come from damaged headers and only cost time.
MOST_PIXELS = 4_000_000


class Crate:
    def __init__(self, program):
        self.program = program
        self.start()

    def start(self):
        self.process = subprocess.Popen([self.program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def worked(self):
        """What it has worked in seconds, whatever else the machine does; the time where the system does not tell."""
        try:
            return int(pathlib.Path(f"/proc/{self.process.pid}/schedstat").read_text().split()[0]) / 1e9
        except OSError:
            return time.monotonic()

    def read(self, count):
        data = self.process.stdout.read(count)
        if len(data) != count:
            raise EOFError
        return data

    def decode(self, data):
        """RGBA as an array, or the sentence that refuses the file."""
        self.process.stdin.write(struct.pack("<I", len(data)) + data)
        self.process.stdin.flush()
        try:
            width, height = struct.unpack("<II", self.read(8))
            if width == 0:
                return self.read(struct.unpack("<I", self.read(4))[0]).decode()
            return np.frombuffer(self.read(4 * width * height), np.uint8).reshape(height, width, 4)
        except EOFError:
            reason = self.process.stderr.read().decode()
            self.process.wait()
            self.start()
            raise RuntimeError(reason) from None


def pillow(data):
    """RGBA as Pillow sees it, the format's name, or None."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = Image.open(io.BytesIO(data))
            if image.width * image.height > MOST_PIXELS:
                return None
            kind = image.format
            mode = image.mode
            frame = image.tile[0][1] if kind == "GIF" else None
            image.load()
            try:
                image = ImageOps.exif_transpose(image)
            except Exception:
                pass
            if mode.startswith("I"):
                # Pillow clips 16-bit grey instead of scaling it.
                grey = np.asarray(image).astype(np.uint32)
                level = ((grey * 255 + 32767) // 65535).astype(np.uint8)
                return np.dstack([level, level, level, np.full_like(level, 255)]), kind
            rgba = np.array(image.convert("RGBA"))
            if frame:
                # Around a frame that does not fill its screen there is nothing, as in browsers; Pillow has a colour there.
                left, top, right, bottom = frame
                inside = rgba[top:bottom, left:right].copy()
                rgba[:] = 0
                rgba[top:bottom, left:right] = inside
            return rgba, kind
        except Exception:
            return None


def mutated_chunks(rng, data):
    """A PNG file with other data in some of its chunks, with lengths and checksums that are right."""
    parts, at = [], 8
    while at + 12 <= len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        parts.append((data[at + 4 : at + 8], bytearray(data[at + 8 : at + 8 + length])))
        at += 12 + length
    for _ in range(rng.choice([1, 1, 2, 3])):
        _, inner = rng.choice(parts)
        at = rng.randrange(len(inner) + 1)
        match rng.randrange(4):
            case 0:
                del inner[at:]
            case 1:
                del inner[at : at + rng.choice([1, 2, 3, 4])]
            case 2:
                inner[at:at] = rng.randbytes(rng.choice([1, 2, 3, 4, 300]))
            case 3:
                inner[at : at + 1] = rng.randbytes(1)
    chunks = (struct.pack(">I", len(d)) + kind + d + struct.pack(">I", zlib.crc32(kind + d)) for kind, d in parts)
    return data[:8] + b"".join(chunks)


def mutated(rng, data, others):
    if data.startswith(b"\x89PNG") and rng.random() < 0.7:
        return mutated_chunks(rng, data)
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 3, 6])):
        if len(data) < 8:
            break
        at = rng.randrange(len(data)) if rng.random() < 0.5 else rng.randrange(min(len(data), 400))
        length = rng.choice([1, 2, 4, 16, 64])
        match rng.randrange(9):
            case 0:
                data[at] = rng.randrange(256)
            case 1:
                data[at] ^= 1 << rng.randrange(8)
            case 2:
                del data[at : at + length]
            case 3:
                data[at:at] = data[at : at + length]
            case 4:
                data[at : at + length] = rng.randbytes(len(data[at : at + length]))
            case 5:
                data[at : at + length] = bytes([rng.choice([0, 0xFF])]) * len(data[at : at + length])
            case 6:
                data[at : at + 2] = struct.pack(rng.choice("<>") + "H", rng.choice([0, 1, 2, 7, 255, 256, 32767, 65535]))
            case 7:
                del data[at:]
            case 8:
                other = rng.choice(others)
                start = rng.randrange(len(other))
                data[at : at + length] = other[start : start + length]
    return bytes(data)


def odd_jpegs(rng, count):
    """Files of every sampling, interleaved or not, with and without markers, restarts and an end."""
    for _ in range(count):
        width, height = rng.randrange(1, 70), rng.randrange(1, 70)
        y, x = np.mgrid[0:height, 0:width]
        rgb = np.stack([128 + 100 * np.sin(x / rng.uniform(3, 20) + c + y / 9) for c in range(3)], -1)
        parts = rng.choice([1, 3, 3, 3, 3, 4])
        planes = list(jpeg_writer.ycc(rgb))[:parts] + [200 + 50 * np.sin(x / 7)] * (parts == 4)
        # Mostly factors that divide each other; libjpeg reads no others.
        factors = rng.choice([[1], [1, 2], [1, 2], [1, 2, 4], [1, 3], [1, 2, 3, 4]])
        samplings = [(rng.choice(factors), rng.choice(factors)) for _ in range(parts)]
        order = list(range(parts))
        rng.shuffle(order)
        scans = rng.choice([None, [[i] for i in order], [order[:1], order[1:]] if parts > 1 else None])
        adobe = rng.choice([None, None, 0, 1, 2])
        ids = rng.choice([(1, 2, 3, 4), (0, 1, 2, 3), tuple(b"RGBK")])
        restart = rng.choice([0, 0, 1, 3])
        jfif, end = rng.random() < 0.5, rng.random() < 0.8
        yield jpeg_writer.encode(planes, samplings, scans=scans, adobe=adobe, ids=ids, restart=restart, jfif=jfif, end=end)


def odd_gifs(rng, count):
    """Files as Pillow writes them, of few or many colours, in one piece or in stripes: mostly interlaced."""
    for _ in range(count):
        size = rng.randrange(1, 70), rng.randrange(1, 70)
        colors = rng.choice([1, 2, 3, 16, 256])
        picture = Image.new("P", size)
        picture.putpalette(rng.randbytes(3 * colors))
        length = rng.choice([1, 7, 10_000])
        picture.putdata([at // length % colors for at in range(size[0] * size[1])])
        file = io.BytesIO()
        picture.save(file, "GIF", interlace=rng.choice([0, 1, 1]), optimize=rng.random() < 0.5)
        yield file.getvalue()


def main():
    program, count, seed = sys.argv[1], int((sys.argv[2:] or [2000])[0]), int((sys.argv[3:] or [1])[0])
    rng = random.Random(seed)
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    Image.MAX_IMAGE_PIXELS = None
    crate = Crate(program)
    files = sorted(p for f in ("images", "pictures") for p in (HERE.parent / "data" / f).glob("*.*") if p.suffix != ".svg")
    whole = [(path.name, path.read_bytes()) for path in files if path.stat().st_size < 20_000]
    made = [*odd_jpegs(rng, max(100, count // 40)), *odd_gifs(rng, max(50, count // 80))]
    odd = [(f"odd {i}", data) for i, data in enumerate(made)]
    seeds = whole + odd
    tally = dict.fromkeys(["same", "both refuse", "crate refuses", "Pillow refuses", "WRONG", "PANIC", "HANG"], 0)
    refused_whole = []
    sentences = {}

    def check(name, data):
        began = crate.worked()
        try:
            ours = crate.decode(data)
        except RuntimeError as error:
            tally["PANIC"] += 1
            keep(name, data)
            print(f"PANIC {name}: {error}")
            return
        if crate.worked() - began > LIMIT:
            tally["HANG"] += 1
            keep(name, data)
            print(f"HANG {name}")
        theirs = pillow(data)
        if isinstance(ours, str):
            tally["both refuse" if theirs is None else "crate refuses"] += 1
            if theirs is not None:
                sentences[ours] = sentences.get(ours, 0) + 1
                if "·" not in name:
                    refused_whole.append((name, ours))
            return
        if theirs is None:
            tally["Pillow refuses"] += 1
            return
        pixels, kind = theirs
        if pixels.shape != ours.shape:
            tally["WRONG"] += 1
            keep(name, data)
            print(f"WRONG {name} ({kind}): {ours.shape} instead of {pixels.shape}")
            return
        off = np.abs(pixels.astype(int) - ours)
        # The colour of what can't be seen is no matter.
        off[..., :3] *= (pixels[..., 3:] > 0)
        if off.max() > TOLERANCE.get(kind, 0):
            tally["WRONG"] += 1
            keep(name, data)
            print(f"WRONG {name} ({kind}): off by {off.max()} levels, {off.mean():.2f} on average")
        else:
            tally["same"] += 1

    def keep(name, data):
        folder = pathlib.Path(tempfile.gettempdir(), "soak-pictures")
        folder.mkdir(exist_ok=True)
        (folder / name.replace(" ", "-")).write_bytes(data)

    began = time.monotonic()
    for name, data in seeds:
        check(name, data)
    print(f"whole: {len(seeds)} pictures, {tally}")
    for name, sentence in refused_whole[:20]:
        print(f"  refused though Pillow reads it: {name}: {sentence}")
    blobs = [data for _, data in seeds]
    for index in range(count):
        name, data = rng.choice(whole if rng.random() < 0.7 else odd)
        check(f"{name} · {index}", mutated(rng, data, blobs))
    print(f"in all {len(seeds) + count} pictures in {time.monotonic() - began:.0f} s, seed {seed}: {tally}")
    for sentence, times in sorted(sentences.items(), key=lambda item: -item[1])[:8]:
        print(f"  {times} times refused though Pillow reads it: {sentence}")
    wrong = tally["WRONG"] + tally["PANIC"] + tally["HANG"]
    print(f"{wrong} wrong, panicked or hung")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
