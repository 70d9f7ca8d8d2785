"""Writes `images/*` (synthetic pictures) and `preprocess.safetensors`: what Pillow and torchvision make of them.

Layout of `preprocess.safetensors`:
- `CASE/resized` u8 [h,w,3]: the picture after Pillow's `Image.resize(..., BILINEAR)` (antialiased), before any crop
  or padding;
- `CASE/pixels` u8 [H,W,3]: what the network sees of it as bytes (after crop; absent for letterbox, see below);
- `CASE/tensor` f32 [1,3,H,W]: `pixels` / 255, minus mean, over std (torchvision's ToTensor and Normalize), for some;
- `decoded/FILE` u8 [h,w,3] (or 4 with alpha): the small pictures as they should be seen (EXIF orientation applied,
  first frame, palette and grey expanded).

`__metadata__` (JSON): `cases` { CASE: { "file", "placement": "stretch" | "crop" | "letterbox", "width", "height" of the
input, "resized": [width, height], "offset": [x, y], "has_tensor" } }, `decoded` { FILE: what is special about it },
`hot_corner` { FILE: [x, y] a pixel inside the bright spot of the upright picture }, `mean`, `std`, `versions`.

- `stretch`: Resize((H, W)).
- `crop`: torchvision's Resize(shorter side) and CenterCrop. The shorter side is the smallest that covers the input;
  the longer one is truncated (int), the crop's `offset` into the resized picture is Python's round((long - input) / 2),
  half to even.
- `letterbox`: scale = min(W / w, H / h), sides rounded half up, `offset` = where the resized picture lies in the input,
  rounded down. What is around it is the reader's choice.

JPEG and lossy WebP decoders differ by a few levels: a test that compares such pixels needs room for that.
"""

import io
import math

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageOps
from torchvision import transforms
from torchvision.transforms import InterpolationMode

from fixture import HERE, save, versions

IMAGES = HERE / "images"
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def synthetic_photo(width, height, noise, seed):
    """Smooth gradients, hard-edged shapes, thin lines and some noise."""
    y, x = np.mgrid[0:height, 0:width] / max(width, height)
    base = np.stack([0.5 + 0.5 * np.sin(5 * x + 2 * y), 0.2 + 0.7 * y, 0.5 + 0.4 * np.cos(9 * x * y + 1)], -1)
    image = Image.fromarray(np.uint8(np.round(255 * base.clip(0, 1))))
    draw = ImageDraw.Draw(image)
    w, h = width, height
    draw.ellipse((0.1 * w, 0.15 * h, 0.4 * w, 0.7 * h), fill=(230, 40, 30))
    draw.rectangle((0.55 * w, 0.5 * h, 0.9 * w, 0.85 * h), fill=(20, 200, 60), outline=(0, 0, 0))
    draw.polygon([(0.6 * w, 0.05 * h), (0.95 * w, 0.1 * h), (0.75 * w, 0.45 * h)], fill=(30, 60, 240))
    for k in range(12):
        draw.line((0.05 * w + k * 3, 0.75 * h, 0.3 * w + k * 3, 0.98 * h), fill=(255, 255, 255) if k % 2 else (0, 0, 0))
    pixels = np.asarray(image).astype(np.int16)
    # A grainy quarter; elsewhere the file stays small.
    grain = np.random.default_rng(seed).integers(-noise, noise + 1, (height // 2, width // 2, 3))
    pixels[height // 4 : height // 4 + height // 2, width // 4 : width // 4 + width // 2] += grain.astype(np.int16)
    return Image.fromarray(np.uint8(pixels.clip(0, 255)))


def hot_corner_picture(width=40, height=24):
    """A dim gradient with a bright spot near the top left corner, and a green bar at the bottom."""
    y, x = np.mgrid[0:height, 0:width]
    pixels = np.stack([40 + x, 60 + y, 90 + x - y], -1).astype(np.uint8)
    image = Image.fromarray(pixels)
    draw = ImageDraw.Draw(image)
    draw.rectangle((1, 1, 8, 8), fill=(250, 240, 40))
    draw.rectangle((4, height - 5, width - 1, height - 3), fill=(10, 200, 40))
    return image


# How the upright picture is stored, so that the orientation's transform brings it back.
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def write_images():
    """The pictures, as {file: what is special about it}."""
    IMAGES.mkdir(exist_ok=True)
    photo = synthetic_photo(371, 250, 12, 1)
    photo.save(IMAGES / "photo.png", optimize=True)
    photo.save(IMAGES / "photo.jpg", quality=90)
    photo.transpose(Image.Transpose.ROTATE_90).crop((0, 0, 250, 331)).save(IMAGES / "portrait.jpg", quality=90, subsampling=0)
    small = synthetic_photo(37, 25, 12, 2)
    small.save(IMAGES / "small.png", optimize=True)

    special = {"small.png": "lossless"}
    upright = hot_corner_picture()
    for orientation, transpose in STORED.items():
        stored = upright if transpose is None else upright.transpose(transpose)
        exif = Image.Exif()
        exif[0x0112] = orientation
        file = f"orientation_{orientation}.jpg"
        stored.save(IMAGES / file, quality=95, subsampling=0, exif=exif)
        special[file] = f"EXIF orientation {orientation}"
    alpha = np.asarray(upright.convert("RGBA")).copy()
    alpha[..., 3] = np.linspace(0, 255, alpha.shape[1]).round().astype(np.uint8)
    Image.fromarray(alpha).save(IMAGES / "alpha.png", optimize=True)
    special["alpha.png"] = "transparency from left (0) to right (255)"
    upright.save(IMAGES / "lossless.webp", lossless=True)
    special["lossless.webp"] = "WebP, lossless"
    upright.save(IMAGES / "lossy.webp", quality=90)
    special["lossy.webp"] = "WebP, lossy"
    frames = [upright.quantize(64), upright.transpose(Image.Transpose.ROTATE_180).quantize(64)]
    frames[0].save(IMAGES / "animated.gif", save_all=True, append_images=frames[1:], duration=200, loop=0)
    special["animated.gif"] = "GIF, the first of two frames"
    upright.save(IMAGES / "plain.bmp")
    special["plain.bmp"] = "BMP, 24 bits"
    upright.convert("L").save(IMAGES / "grey.png", optimize=True)
    special["grey.png"] = "one grey channel"
    upright.quantize(32).save(IMAGES / "palette.png", optimize=True)
    special["palette.png"] = "palette"
    upright.convert("L").save(IMAGES / "grey.jpg", quality=95)
    special["grey.jpg"] = "grey JPEG"
    upright.save(IMAGES / "progressive.jpg", quality=95, progressive=True)
    special["progressive.jpg"] = "progressive JPEG, 4:2:0"
    return special


def seen(file):
    image = ImageOps.exif_transpose(Image.open(IMAGES / file))
    return image if image.mode == "RGBA" else image.convert("RGB")


def resized_to(image, placement, width, height):
    """The resized picture's sides and its offset, by the rules at the head of this file."""
    w, h = image.size
    if placement == "stretch":
        return (width, height), (0, 0)
    if placement == "crop":
        # torchvision's Resize(s): the shorter side becomes s, the longer one int(s * long / short).
        side = min(width, height)
        while True:
            size = (side, int(side * h / w)) if w <= h else (int(side * w / h), side)
            if size[0] >= width and size[1] >= height:
                break
            side += 1
        return size, (int(round((size[0] - width) / 2)), int(round((size[1] - height) / 2)))
    scale = min(width / w, height / h)
    size = (max(1, math.floor(w * scale + 0.5)), max(1, math.floor(h * scale + 0.5)))
    return size, ((width - size[0]) // 2, (height - size[1]) // 2)


def main():
    special = write_images()
    tensors, cases = {}, {}
    normalise = transforms.Compose([transforms.ToTensor(), transforms.Normalize(MEAN, STD)])
    wanted = [
        ("photo.png", "stretch", 64, 48, True),
        ("photo.png", "stretch", 96, 96, False),
        ("photo.png", "crop", 64, 48, False),
        ("photo.png", "crop", 64, 64, False),
        ("photo.png", "letterbox", 64, 48, False),
        ("photo.png", "letterbox", 64, 64, False),
        ("photo.jpg", "stretch", 64, 48, False),
        ("photo.jpg", "crop", 64, 64, False),
        ("portrait.jpg", "stretch", 64, 48, False),
        ("portrait.jpg", "crop", 64, 48, False),
        ("portrait.jpg", "letterbox", 64, 48, False),
        ("small.png", "stretch", 64, 48, True),
        ("small.png", "stretch", 24, 40, False),
        ("small.png", "crop", 64, 64, False),
        ("small.png", "letterbox", 64, 48, False),
        ("small.png", "stretch", 37, 25, False),
    ]
    for file, placement, width, height, with_tensor in wanted:
        image = seen(file)
        size, offset = resized_to(image, placement, width, height)
        resized = image.resize(size, Image.Resampling.BILINEAR)
        case = f"{file}-{placement}-{width}x{height}"
        tensors[f"{case}/resized"] = np.asarray(resized)
        if placement == "crop":
            side = min(size)
            composed = transforms.Compose(
                [transforms.Resize(side, InterpolationMode.BILINEAR, antialias=True), transforms.CenterCrop((height, width))]
            )
            pixels = composed(image)
            box = (offset[0], offset[1], offset[0] + width, offset[1] + height)
            if not np.array_equal(np.asarray(pixels), np.asarray(resized.crop(box))):
                raise ValueError(f"{case}: torchvision crops elsewhere")
            tensors[f"{case}/pixels"] = np.asarray(pixels)
        elif placement == "stretch":
            pixels = transforms.Resize((height, width), InterpolationMode.BILINEAR, antialias=True)(image)
            if not np.array_equal(np.asarray(pixels), np.asarray(resized)):
                raise ValueError(f"{case}: torchvision resizes otherwise")
        if with_tensor:
            tensors[f"{case}/tensor"] = normalise(pixels)[None].numpy()
        cases[case] = {
            "file": file,
            "placement": placement,
            "width": width,
            "height": height,
            "image": list(image.size),
            "resized": list(size),
            "offset": list(offset),
            "has_tensor": with_tensor,
        }
    for file in special:
        tensors[f"decoded/{file}"] = np.asarray(seen(file))
        top_left = np.asarray(seen(file).convert("RGB"))[4, 4].astype(int)
        if file not in ("small.png",) and top_left[:2].min() < 200:
            raise ValueError(f"{file}: the bright spot is not at the top left: {top_left}")
    facts = {
        "cases": cases,
        "decoded": special,
        "hot_corner": {file: [4, 4] for file in special if file != "small.png"},
        "mean": MEAN,
        "std": STD,
        "versions": versions("pillow", "torch", "torchvision", "numpy"),
    }
    save(HERE / "preprocess.safetensors", tensors, facts)
    for case, facts in cases.items():
        print(f"  {case}: resized {facts['resized']}, offset {facts['offset']}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
