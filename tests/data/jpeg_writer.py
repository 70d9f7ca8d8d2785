"""A JPEG writer for what Pillow can't write: any sampling factors, a scan for each component, any markers.

Baseline, Huffman tables of ITU T.81 annex K, pixels rounded as they come. Small and slow.
"""

import math
import struct

import numpy as np

# fmt: off
ZIGZAG = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28,
    35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
]
DC = ([0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0], list(range(12)))
AC_SYMBOLS = [run << 4 | size for run in range(16) for size in range(11) if size or run in (0, 15)]
# fmt: on


def codes(table):
    counts, symbols = table
    found, code, at = {}, 0, 0
    for length, count in enumerate(counts, 1):
        for _ in range(count):
            found[symbols[at]] = (code, length)
            code, at = code + 1, at + 1
        code <<= 1
    return found

# A table of our own: every symbol has eight or nine bits, which no small picture minds.
AC = ([0] * 7 + [92, len(AC_SYMBOLS) - 92] + [0] * 7, AC_SYMBOLS)
DC_CODES, AC_CODES = codes(DC), codes(AC)

COSINES = np.array([[math.sqrt((1 if u == 0 else 2) / 8) * math.cos((2 * x + 1) * u * math.pi / 16) for x in range(8)] for u in range(8)])


def segment(marker, payload=b""):
    return bytes([0xFF, marker]) + struct.pack(">H", len(payload) + 2) + payload


def ycc(rgb):
    r, g, b = np.moveaxis(np.asarray(rgb, float), -1, 0)
    return np.stack([0.299 * r + 0.587 * g + 0.114 * b, 128 - 0.168736 * r - 0.331264 * g + 0.5 * b, 128 + 0.5 * r - 0.418688 * g - 0.081312 * b])


class Bits:
    def __init__(self):
        self.out, self.value, self.count = bytearray(), 0, 0

    def put(self, value, count):
        self.value = self.value << count | value & (1 << count) - 1
        self.count += count
        while self.count >= 8:
            byte = self.value >> (self.count - 8) & 255
            self.out += bytes([byte, 0]) if byte == 255 else bytes([byte])
            self.count -= 8

    def align(self):
        if self.count:
            self.put((1 << (8 - self.count)) - 1, 8 - self.count)
        self.value = 0

    def number(self, value):
        size = int(abs(value)).bit_length()
        return size, value if value > 0 else value + (1 << size) - 1


def encode(planes, samplings, *, scans=None, ids=(1, 2, 3, 4), jfif=True, adobe=None, restart=0, step=4, end=True, extra=b""):
    """The file's bytes.

    `planes` are at the picture's size, [h, w] each; each is averaged down to its sampling (h, v) of the finest one.
    `scans` lists the components of each scan, all in one if it isn't given; `step` is every quantization step.
    """
    height, width = planes[0].shape
    finest = [max(s[axis] for s in samplings) for axis in (0, 1)]
    units = [math.ceil(width / (8 * finest[0])), math.ceil(height / (8 * finest[1]))]
    blocks, sizes = [], []
    for plane, (h, v) in zip(planes, samplings):
        across, down = finest[0] // h, finest[1] // v
        full = np.pad(np.asarray(plane, float), ((0, units[1] * 8 * finest[1] - height), (0, units[0] * 8 * finest[0] - width)), "edge")
        small = full.reshape(full.shape[0] // down, down, full.shape[1] // across, across).mean((1, 3)) - 128
        tiles = small.reshape(small.shape[0] // 8, 8, small.shape[1] // 8, 8).swapaxes(1, 2)
        blocks.append(np.rint(COSINES @ tiles @ COSINES.T / step).astype(int))
        sizes.append([math.ceil(math.ceil(width * h / finest[0]) / 8), math.ceil(math.ceil(height * v / finest[1]) / 8)])
    out = b"\xff\xd8"
    if jfif:
        out += segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0")
    if adobe is not None:
        out += segment(0xEE, b"Adobe\0\x64\0\0\0\0" + bytes([adobe]))
    out += extra + segment(0xDB, b"\0" + bytes([step] * 64))
    frame = struct.pack(">BHHB", 8, height, width, len(planes))
    frame += b"".join(bytes([ids[i], h << 4 | v, 0]) for i, (h, v) in enumerate(samplings))
    out += segment(0xC0, frame)
    for kind, (counts, symbols) in ((0x00, DC), (0x10, AC)):
        out += segment(0xC4, bytes([kind, *counts, *symbols]))
    if restart:
        out += segment(0xDD, struct.pack(">H", restart))
    for scan in scans or [range(len(planes))]:
        scan = list(scan)
        out += segment(0xDA, bytes([len(scan)]) + b"".join(bytes([ids[i], 0]) for i in scan) + b"\0\x3f\0")
        bits, last = Bits(), dict.fromkeys(scan, 0)
        single = len(scan) == 1
        grid = sizes[scan[0]] if single else units
        done = 0
        for y in range(grid[1]):
            for x in range(grid[0]):
                if restart and done and done % restart == 0:
                    bits.align()
                    bits.out += bytes([0xFF, 0xD0 + (done // restart - 1) % 8])
                    last = dict.fromkeys(scan, 0)
                done += 1
                for i in scan:
                    h, v = (1, 1) if single else samplings[i]
                    for row in range(y * v, (y + 1) * v):
                        for column in range(x * h, (x + 1) * h):
                            block = blocks[i][row, column].reshape(64)[ZIGZAG]
                            write_block(bits, block, last[i])
                            last[i] = int(block[0])
        bits.align()
        out += bytes(bits.out)
    return out + (b"\xff\xd9" if end else b"")


def write_block(bits, block, last):
    size, value = bits.number(int(block[0]) - last)
    bits.put(*DC_CODES[size])
    bits.put(value, size)
    run = 0
    for number in block[1:]:
        if number == 0:
            run += 1
            continue
        while run > 15:
            bits.put(*AC_CODES[0xF0])
            run -= 16
        size, value = bits.number(int(number))
        bits.put(*AC_CODES[run << 4 | size])
        bits.put(value, size)
        run = 0
    if run:
        bits.put(*AC_CODES[0])
