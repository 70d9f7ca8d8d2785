"""Writes `pictures/*` (odd but legal files) and `pictures.safetensors`: what Pillow makes of them.

`FILE` u8 [h,w,3] (or 4 with alpha): the picture upright, first frame. `__metadata__`: `files` { FILE: what is odd about it },
`versions`. JPEG files that Pillow can't write come from `jpeg_writer.py`.
"""

import io
import struct
import warnings
import zlib

import numpy as np
from PIL import Image, ImageOps

from fixture import HERE, save, versions
from jpeg_writer import encode, segment, ycc

FOLDER = HERE / "pictures"
FULL, HALF = (1, 1), (2, 2)


def scene(width, height):
    """Waves of different lengths in each colour, and a hard edge."""
    y, x = np.mgrid[0:height, 0:width]
    rgb = np.stack([128 + 90 * np.sin(x / 5 + y / 11), 128 + 90 * np.cos(x / 9 - y / 4), 128 + 90 * np.sin(x * y / 150)], -1)
    rgb[height // 3 :, : width // 4] = (220, 30, 60)
    return rgb.clip(0, 255)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def exif_long(orientation):
    """EXIF data in which the orientation is a 32-bit number."""
    tiff = b"MM\0*" + struct.pack(">IHHHIII", 8, 1, 0x0112, 4, 1, orientation, 0)
    return segment(0xE1, b"Exif\0\0" + tiff)


def files():
    rgb = scene(43, 29)
    planes = ycc(rgb)
    luma = planes[:1]
    separate = [[0], [1], [2]]
    yield "separate_420.jpg", encode(planes, [HALF, FULL, FULL], scans=separate), "a scan for each component, 4:2:0"
    yield "separate_440.jpg", encode(planes, [(1, 2), FULL, FULL], scans=separate), "a scan for each component, 4:4:0"
    yield "separate_mixed.jpg", encode(planes, [(4, 2), (2, 1), (1, 2)], scans=separate), "separate scans of three resolutions"
    yield "two_scans.jpg", encode(planes, [HALF, FULL, FULL], scans=[[0], [1, 2]]), "luma, then both chroma together"
    yield "fine_chroma.jpg", encode(planes, [FULL, HALF, (2, 1)]), "chroma finer than luma"
    yield "four_by_one.jpg", encode(planes, [(4, 1), FULL, FULL]), "4:1:1"
    yield "three.jpg", encode(planes, [(3, 1), FULL, FULL]), "sampling factor 3"
    yield "three_down.jpg", encode(planes, [(1, 3), (1, 3), FULL]), "sampling factor 3, vertically"
    yield "jfif_adobe_0.jpg", encode(planes, [FULL] * 3, adobe=0), "JFIF, with an Adobe marker that says RGB"
    yield "adobe_0.jpg", encode(np.moveaxis(rgb, -1, 0), [FULL] * 3, jfif=False, adobe=0), "RGB, by its Adobe marker"
    yield "rgb_ids.jpg", encode(np.moveaxis(rgb, -1, 0), [FULL] * 3, jfif=False, ids=b"RGB"), "RGB, by its components' names"
    yield "grey_2x2.jpg", encode(luma, [HALF]), "one component with factors 2 × 2"
    yield "restarts.jpg", encode(planes, [HALF, FULL, FULL], restart=2), "a restart every two units"
    yield "no_end.jpg", encode(planes, [HALF, FULL, FULL], end=False), "no end marker"
    yield "trailer.jpg", encode(planes, [HALF, FULL, FULL], end=False) + b"trailing bytes, thousands of them" * 9, "bytes instead of the end"
    yield "narrow.jpg", encode(ycc(scene(3, 30)), [HALF, FULL, FULL]), "chroma of two columns, which is repeated"
    yield "exif_long.jpg", encode(planes, [FULL] * 3, extra=exif_long(6)), "EXIF orientation 6 as a LONG"
    inks = np.stack([planes[1], planes[0], planes[2], 255 - planes[0] / 3])
    yield "cmyk.jpg", encode(inks, [FULL] * 4, jfif=False, adobe=0), "CMYK"
    yield "cmyk_plain.jpg", encode(inks, [FULL] * 4, jfif=False), "CMYK without an Adobe marker"
    yield "ycck.jpg", encode([*planes, planes[0]], [HALF, FULL, FULL, HALF], jfif=False, adobe=2), "YCCK"
    usual = io.BytesIO()
    picture = Image.fromarray(rgb.astype(np.uint8))
    picture.save(usual, "JPEG", quality=80)
    yield "no_tables.jpg", without(usual.getvalue(), 0xC4), "no Huffman tables, as in Motion JPEG"
    deep = io.BytesIO()
    picture.save(deep, "JPEG", quality=60, progressive=True, restart_marker_rows=1)
    yield "progressive_restarts.jpg", deep.getvalue(), "progressive, with restarts"

    png = io.BytesIO()
    picture.save(png, "PNG", optimize=True)
    whole = png.getvalue()
    yield "no_end.png", whole[:-12], "no end chunk"
    yield "cut_text.png", whole[:-12] + chunk(b"tEXt", b"Comment\0 cut")[:-6], "cut in a comment behind the pixels"
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = io.BytesIO()
    picture.save(turned, "PNG", exif=exif)
    yield "exif.png", turned.getvalue(), "EXIF orientation 6 in a PNG"
    webp = io.BytesIO()
    picture.save(webp, "WEBP", lossless=True, exif=exif)
    yield "exif.webp", webp.getvalue(), "EXIF orientation 6 in a WebP"
    wide = io.BytesIO()
    Image.fromarray(np.tile(np.arange(250, dtype=np.uint8), (2, 80))).save(wide, "PNG", optimize=True)
    yield "wide.png", wide.getvalue(), "20,000 pixels wide"
    frames = [picture.quantize(32), ImageOps.mirror(picture).quantize(32)]
    for name, options in (("moving.png", {}), ("moving.webp", {"lossless": True})):
        moving = io.BytesIO()
        kind = name.split(".")[1].upper()
        (picture if kind == "WEBP" else picture).save(moving, kind, save_all=True, append_images=[ImageOps.mirror(picture)], **options)
        yield name, moving.getvalue(), "two frames"
    gif = io.BytesIO()
    frames[0].save(gif, "GIF")
    small = bytearray(gif.getvalue())
    small[6:10] = struct.pack("<HH", 20, 10)
    yield "small_screen.gif", bytes(small), "a frame larger than the screen"


def without(data, marker):
    """The file without the segments of a marker."""
    out, at = data[:2], 2
    while data[at + 1] != 0xDA:
        end = at + 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]
        out += data[at:end] if data[at + 1] != marker else b""
        at = end
    return out + data[at:]


def main():
    FOLDER.mkdir(exist_ok=True)
    tensors, facts = {}, {}
    for name, data, odd in files():
        (FOLDER / name).write_bytes(data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Pillow alone wants something behind the last scan, and whole comments; browsers show these two.
            whole = {"no_end.jpg": data + b"\xff\xd9", "cut_text.png": data[:-20]}.get(name, data)
            image = ImageOps.exif_transpose(Image.open(io.BytesIO(whole)))
            image = image.convert("RGBA" if image.mode in ("RGBA", "LA") else "RGB")
        tensors[name], facts[name] = np.asarray(image), odd
    save(HERE / "pictures.safetensors", tensors, {"files": facts, "versions": versions("pillow", "numpy")})


main()
