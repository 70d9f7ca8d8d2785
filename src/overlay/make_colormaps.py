"""Writes `colormaps.bin`: 256 RGB triples of 8 bits for each colormap, in the order of `Colormap::ALL`.

Needs matplotlib, numpy and opencv. matplotlib's tables are numbers in 0..=1, rounded here to the nearest level; OpenCV's
jet comes in bytes, blue first.
"""

import pathlib

import cv2
import matplotlib
import numpy as np

LEVELS = np.arange(256)


def published(name):
    return np.round(matplotlib.colormaps[name](LEVELS)[:, :3] * 255).astype(np.uint8)


jet = cv2.applyColorMap(LEVELS.astype(np.uint8)[:, None], cv2.COLORMAP_JET)[:, 0, ::-1]
gray = np.repeat(LEVELS[:, None], 3, axis=1).astype(np.uint8)
tables = [published(name) for name in ("turbo", "viridis", "inferno", "magma", "cividis")] + [jet, gray]
pathlib.Path(__file__).with_name("colormaps.bin").write_bytes(np.stack(tables).tobytes())
