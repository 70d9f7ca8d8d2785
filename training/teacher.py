"""Soft labels from a network that saw all of ImageNet (Hinton et al. 2015, https://arxiv.org/abs/1503.02531).

MobileNetV2 alone is right on only 64 % of these blurred 64-pixel images. A new linear layer on its features knows them
much better. That layer is fitted in folds, so that no image is labelled by a layer that has seen its label, and applied
to each cell of the final map, so that a crop gets the label of what it shows and not of the whole image
(ReLabel, Yun et al. 2021, https://arxiv.org/abs/2101.05022).
"""

import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
import torch.nn.functional as F
from PIL import Image

# Chosen among 128, 160, 192 and 224 by the accuracy on 192 training images.
SIDE = 160
CELLS = 5
FOLDS = 4
LAST_ACTIVATIONS = "conv_62_relu6"


class Teacher:
    """Logits of each cell of each training image, `[N, 5, 5, classes]`, calibrated."""

    def __init__(self, cells: torch.Tensor):
        self.cells = cells

    def probabilities(self, rows: torch.Tensor, crop: torch.Tensor) -> torch.Tensor:
        """What the crops `[n, 4]` (x0, y0, x1, y1, 0..=1 within the image) of the images `rows` show: `[n, classes]`."""
        device = crop.device
        edges = torch.linspace(0, 1, CELLS + 1, device=device)

        def weights(start, end):
            covered = torch.minimum(end[:, None], edges[1:]) - torch.maximum(start[:, None], edges[:-1])
            return F.normalize(covered.clamp(min=0), p=1, dim=1)

        across, down = weights(crop[:, 0], crop[:, 2]), weights(crop[:, 1], crop[:, 3])
        cells = self.cells[rows].to(device).float()
        return torch.einsum("nyxc,ny,nx->nc", cells, down, across).softmax(1)


def load(images: torch.Tensor, labels: torch.Tensor, usable: torch.Tensor, model: Path, cache: Path) -> Teacher:
    """Labels `images` with the network in `model`; only images marked `usable` have a say in the linear layers."""
    cached = cache / "teacher.npy"
    if not cached.exists():
        features = _features(images, model, cache)
        np.save(cached, _cell_logits(features, labels, usable).numpy())
    return Teacher(torch.from_numpy(np.load(cached)))


def _features(images: torch.Tensor, path: Path, cache: Path) -> np.ndarray:
    """The teacher's last activations, `float16 [N, 25, 1280]`."""
    cached = cache / "teacher_features.npy"
    if cached.exists():
        return np.load(cached, mmap_mode="r")
    if not path.exists():
        raise SystemExit(f"no teacher at {path}: give MobileNetV2 in ONNX with --teacher, or --teacher none")
    model = onnx.load(path)
    graph = model.graph
    for dimension, value in zip(graph.input[0].type.tensor_type.shape.dim, ("batch", 3, SIDE, SIDE)):
        dimension.Clear()
        setattr(dimension, "dim_param" if isinstance(value, str) else "dim_value", value)
    while graph.node[-1].output[0] != LAST_ACTIVATIONS:
        del graph.node[-1]
    del graph.value_info[:]
    graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info(LAST_ACTIVATIONS, onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(model.SerializeToString())

    partial = cached.with_suffix(".partial")
    features = np.lib.format.open_memmap(partial, "w+", np.float16, (len(images), CELLS * CELLS, 1280))
    start = time.monotonic()
    for i in range(0, len(images), 50):
        pixels = images[i:i + 50].permute(0, 2, 3, 1).numpy()
        large = np.stack([np.asarray(Image.fromarray(p).resize((SIDE, SIDE), Image.BICUBIC)) for p in pixels])
        batch = np.ascontiguousarray(large.transpose(0, 3, 1, 2), dtype=np.float32) / 127.5 - 1
        activations = session.run(None, {graph.input[0].name: batch})[0]
        features[i:i + 50] = activations.reshape(*activations.shape[:2], -1).transpose(0, 2, 1)
        if i % 2000 == 0:
            print(f"teacher: {i} of {len(images)} images, {(i + 50) / (time.monotonic() - start):.0f} images/s", flush=True)
    features.flush()
    partial.rename(cached)
    return features


def _cell_logits(features: np.ndarray, labels: torch.Tensor, usable: torch.Tensor) -> torch.Tensor:
    pooled = torch.from_numpy(np.stack([f.mean(0, dtype=np.float32) for f in features]))
    scale = pooled[usable].std(0).clamp(min=1e-3)
    fold = torch.from_numpy(np.random.default_rng(1).integers(FOLDS, size=len(labels)))
    cells = torch.empty(len(labels), CELLS, CELLS, int(labels.max()) + 1, dtype=torch.float16)
    logits = torch.empty(len(labels), cells.shape[-1])
    for k in range(FOLDS):
        layer = _linear_layer(pooled[usable & (fold != k)] / scale, labels[usable & (fold != k)])
        with torch.no_grad():
            layer.weight /= scale
            rows = torch.nonzero(fold == k).flatten()
            logits[rows] = layer(pooled[rows])
            for part in rows.split(500):
                cells[part] = layer(torch.from_numpy(features[part.numpy()]).float()).unflatten(1, (CELLS, CELLS)).half()
    temperature = min(np.arange(0.5, 3, 0.05), key=lambda t: F.cross_entropy(logits[usable] / t, labels[usable]).item())
    unseen = ~usable
    print(f"teacher: top-1 {100 * (logits[unseen].argmax(1) == labels[unseen]).float().mean():.1f} % on the held-out images, "
          f"temperature {temperature:.2f}", flush=True)
    return cells / temperature


def _linear_layer(features: torch.Tensor, labels: torch.Tensor) -> torch.nn.Linear:
    torch.manual_seed(0)
    layer = torch.nn.Linear(features.shape[1], int(labels.max()) + 1)
    torch.nn.init.zeros_(layer.weight)
    epochs = 10
    optimiser = torch.optim.AdamW(layer.parameters(), lr=1e-3, weight_decay=0.3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
    for _ in range(epochs):
        for rows in torch.randperm(len(labels)).split(256):
            F.cross_entropy(layer(features[rows]), labels[rows], label_smoothing=0.05).backward()
            optimiser.step()
            optimiser.zero_grad()
        schedule.step()
    return layer
