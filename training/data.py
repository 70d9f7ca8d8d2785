"""Tiny ImageNet's hundred everyday classes as arrays, and the augmentation that training applies to them.

Images stay `uint8` `[N, 3, 64, 64]` in memory (0.6 GB) and are cropped, pasted and coloured a batch at a time on the
training device, because decoding and cropping one by one would cost as much as the network itself.
"""

import csv
import io
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

SIDE = 64
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
HELD_OUT_PER_CLASS = 25


@dataclass
class Split:
    """Images `uint8 [N, 3, 64, 64]`, class indices `[N]`, boxes `[N, 4]` (x0, y0, x1, y1 in pixels)."""

    images: torch.Tensor
    labels: torch.Tensor
    boxes: torch.Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows) -> "Split":
        return Split(self.images[rows], self.labels[rows], self.boxes[rows])


def classes(folder: Path) -> tuple[list[str], list[str]]:
    """WordNet ids, and names as people say them: the first synonym in lower case."""
    rows = rows_in_archive(folder / "val.tar.xz", "classes.tsv")
    return [row[0] for row in rows], [row[1].split(",")[0].strip().lower() for row in rows]


def load(folder: Path, name: str, cache: Path) -> Split:
    """Reads the split `train` or `val` from the archives in `folder`, or from `cache` if that was done before."""
    cached = cache / f"{name}.npz"
    if not cached.exists():
        archives = sorted(folder.glob(f"{name}*.tar.xz"))
        if not archives:
            raise SystemExit(f"no {name}*.tar.xz in {folder}: give the folder of the data set with --data")
        index = {wnid: i for i, wnid in enumerate(classes(folder)[0])}
        header, *rows = rows_in_archive(folder / "val.tar.xz", f"{name}_boxes.tsv")
        boxes = {row[0]: [int(v) for v in row[2:6]] for row in rows}
        found = []
        for archive in archives:
            print(f"reading {archive.name}", flush=True)
            with tarfile.open(archive, "r:xz") as tar:
                for member in tar:
                    path = Path(member.name)
                    if path.suffix == ".JPEG":
                        pixels = np.asarray(Image.open(io.BytesIO(tar.extractfile(member).read())).convert("RGB"))
                        found.append((path.name, index[path.parent.name], pixels.transpose(2, 0, 1)))
        # The order in an archive is an accident of how it was packed; the split below must not depend on it.
        found.sort(key=lambda image: (image[1], image[0]))
        cache.mkdir(parents=True, exist_ok=True)
        np.savez(cached, images=np.stack([f[2] for f in found]), labels=np.array([f[1] for f in found]),
                 boxes=np.array([boxes[f[0]] for f in found]))
    arrays = np.load(cached)
    return Split(*(torch.from_numpy(arrays[key]) for key in ("images", "labels", "boxes")))


def held_out(labels: torch.Tensor) -> torch.Tensor:
    """Marks the same 25 images of each class of `train`: choices are made on them, and nothing is trained on them."""
    rng = np.random.default_rng(0)
    mark = torch.zeros(len(labels), dtype=torch.bool)
    for label in labels.unique():
        mark[rng.permutation(torch.nonzero(labels == label).flatten().numpy())[:HELD_OUT_PER_CLASS]] = True
    return mark


def normalise(images: torch.Tensor) -> torch.Tensor:
    """Pixels 0..=1 to what the network sees."""
    mean, std = (torch.tensor(v, device=images.device).view(1, 3, 1, 1) for v in (MEAN, STD))
    return (images - mean) / std


def resized(images: torch.Tensor, side: int) -> torch.Tensor:
    """`uint8 [N, 3, 64, 64]` to the network's input at `side` pixels, the whole image kept."""
    return normalise(F.interpolate(images.float() / 255, (side, side), mode="bilinear", antialias=True))


def inside(boxes: torch.Tensor) -> torch.Tensor:
    """1 where a pixel's middle is in the image's box, else 0: `[N, 1, 64, 64]`."""
    middles = torch.arange(SIDE, device=boxes.device) + 0.5
    columns = (boxes[:, :1] <= middles) & (middles <= boxes[:, 2:3])
    rows = (boxes[:, 1:2] <= middles) & (middles <= boxes[:, 3:])
    return (rows[:, None, :, None] & columns[:, None, None, :]).float()


@dataclass
class Augmentation:
    """What a batch goes through. Areas are fractions of the image, probabilities 0..=1."""

    side: int
    crop_area: tuple[float, float] = (0.35, 1.0)
    # Photos that people drop show their object smaller than Tiny ImageNet does.
    zoom_out: float = 0.1
    paste: float = 0.1

    def __call__(self, images: torch.Tensor, boxes: torch.Tensor, rng: torch.Generator):
        """Returns input `[N, 3, side, side]`, the crops `[N, 4]` (x0, y0, x1, y1, 0..=1 within the image, before any
        paste), for each image the row that was pasted onto it and the share of the area that it covers, and where the boxes
        of the image and of what was pasted can be seen, `[N, 2, side, side]`, 0..=1."""
        n, device = len(images), images.device
        pixels = images.float() / 255
        crop = self._crops(n, rng).to(device)
        # The box goes the way of the pixels, so that a reflected object is inside a reflected box.
        boxed = torch.cat([pixels, inside(boxes.to(device))], 1)
        view = _sample(boxed, crop, self._flips(n, rng).to(device), self.side, "reflection")
        seen = torch.cat([view[:, 3:], torch.zeros_like(view[:, 3:])], 1)
        view = view[:, :3].contiguous()

        # ResizeMix (Qin et al. 2020, https://arxiv.org/abs/2012.11101): another whole image, made smaller, on top.
        donor = torch.randperm(n, generator=rng).to(device)
        share = torch.zeros(n, device=device)
        chosen = torch.nonzero(torch.rand(n, generator=rng) < self.paste).flatten().to(device)
        if len(chosen):
            width = 0.35 + 0.4 * torch.rand(len(chosen), generator=rng).to(device)
            corner = torch.rand(len(chosen), 2, generator=rng).to(device) * (1 - width)[:, None]
            # In the donor's frame the output spans more than 0..=1; what lies outside is left as it was.
            start = -corner / width[:, None]
            window = torch.cat([start, start + 1 / width[:, None]], 1)
            flips = self._flips(len(chosen), rng).to(device)
            source = torch.cat([boxed[donor[chosen]], torch.ones_like(boxed[donor[chosen]][:, :1])], 1)
            pasted = _sample(source, window, flips, self.side, "zeros")
            opaque = (pasted[:, 4:] > 0.5).float()
            view[chosen] = view[chosen] * (1 - opaque) + pasted[:, :3] * opaque
            seen[chosen] = torch.cat([seen[chosen, :1] * (1 - opaque), pasted[:, 3:4] * opaque], 1)
            share[chosen] = opaque.mean((1, 2, 3))
        return normalise(self._coloured(view, rng)), crop, donor, share, seen

    def _crops(self, n: int, rng: torch.Generator) -> torch.Tensor:
        low, high = self.crop_area
        area = low + (high - low) * torch.rand(n, generator=rng)
        out = torch.rand(n, generator=rng) < self.zoom_out
        area = torch.where(out, 1 + 2 * torch.rand(n, generator=rng), area)
        aspect = torch.exp((torch.rand(n, generator=rng) * 2 - 1) * np.log(4 / 3))
        size = torch.stack([(area * aspect).sqrt(), (area / aspect).sqrt()], 1)
        size = torch.where(out[:, None], size, size.clamp(max=1))
        start = torch.rand(n, 2, generator=rng) * (1 - size)
        return torch.cat([start, start + size], 1)

    @staticmethod
    def _flips(n: int, rng: torch.Generator) -> torch.Tensor:
        return torch.rand(n, generator=rng) < 0.5

    @staticmethod
    def _coloured(pixels: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        def factor(spread):
            return (1 + spread * (2 * torch.rand(len(pixels), 1, 1, 1, generator=rng) - 1)).to(pixels.device)

        gray = pixels.mean(1, keepdim=True)
        pixels = gray + (pixels - gray) * factor(0.4)
        middle = gray.mean((2, 3), keepdim=True)
        return ((pixels - middle) * factor(0.3) + middle * factor(0.3)).clamp(0, 1)


def _sample(images: torch.Tensor, window: torch.Tensor, flip: torch.Tensor, side: int, outside: str) -> torch.Tensor:
    """The part `window` (x0, y0, x1, y1 in 0..=1 of the image) of each image at `side` pixels."""
    centre = window[:, :2] + window[:, 2:] - 1
    half = window[:, 2:] - window[:, :2]
    theta = torch.zeros(len(images), 2, 3, device=images.device)
    theta[:, 0, 0] = torch.where(flip, -half[:, 0], half[:, 0])
    theta[:, 1, 1] = half[:, 1]
    theta[:, :, 2] = centre
    grid = F.affine_grid(theta, (len(images), images.shape[1], side, side), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode=outside, align_corners=False)


def rows_in_archive(archive: Path, name: str) -> list[list[str]]:
    with tarfile.open(archive, "r:xz") as tar:
        for member in tar:
            if Path(member.name).name == name:
                text = io.TextIOWrapper(tar.extractfile(member), encoding="utf-8")
                return list(csv.reader(text, delimiter="\t", quoting=csv.QUOTE_NONE))
    raise SystemExit(f"{archive} holds no {name}")
