"""Teaches a network where its classes are, and measures whether its class activation maps show it.

A network that learns names alone looks at what tells the classes apart: a muzzle, not a dog. Told in addition where to
look, it is right for better reasons (Ross et al. 2017, https://arxiv.org/abs/1703.03717). What is told here is what CAM
shows: the map of the true class is to be hot inside its object's box and cold outside.
"""

import torch
import torch.nn.functional as F

# The share of the maximum from which a place belongs to the object: Zhou et al. 2016, section 3.2.
SHARE = 0.2
# How sharply a place belongs, and how much hotter a place has to be to be the one that the map points at.
SHARPNESS = 10.0
# A cell's worth of the object has to be left in a crop for anything to be learnt from it.
MIN_CELLS = 1.0


def activation_map(features: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """CAM before its ReLU, `[N, h, w]`, of activations `[N, K, h, w]` and each image's class weights `[N, K]`."""
    return torch.einsum("nkhw,nk->nhw", features, weights)


def loss(maps: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """How badly each of the maps `[N, h, w]` shows what is `inside` the object's box, the covered part of each cell
    0..=1: `[N]`, 0 for crops that hold no object."""
    # What `heatmap` of the engine does, but with a slope below zero too, along which a cold place can become warm. A map
    # that is cold everywhere is measured by its depth, or its slopes would be huge.
    lowest, highest = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    base = lowest.clamp(min=0)
    heat = (maps - base) / torch.maximum(highest - base, -0.5 * lowest).clamp(min=1e-3)
    extent = F.binary_cross_entropy_with_logits(SHARPNESS * (heat - SHARE), inside, reduction="none").mean((1, 2))
    places = (SHARPNESS * heat).flatten(1).softmax(1)
    pointing = -((places * inside.flatten(1)).sum(1) + 1e-4).log()
    return (extent + 0.5 * pointing) * (inside.sum((1, 2)) >= MIN_CELLS)


@torch.no_grad()
def measure(maps: torch.Tensor, boxes: torch.Tensor, side: int) -> tuple[float, float]:
    """Percent of the maps `[N, h, w]` whose hottest pixel is in the image's box, and whose box around the largest
    connected part from a fifth of the maximum overlaps it by half. `boxes` `[N, 4]` in an image of `side` pixels.

    The same as `examples/score.rs`, to choose by during training."""
    heat = maps.clamp(min=0)
    heat = heat - heat.amin((1, 2), keepdim=True)
    heat = F.interpolate(heat[:, None], (side, side), mode="bilinear")
    hottest = heat.flatten(1).argmax(1)
    x, y = hottest % side + 0.5, hottest // side + 0.5
    boxes = boxes.float()
    pointed = (boxes[:, 0] <= x) & (x <= boxes[:, 2]) & (boxes[:, 1] <= y) & (y <= boxes[:, 3])

    found = _largest_part(heat >= SHARE * heat.amax((2, 3), keepdim=True))[:, 0]
    columns, rows = found.any(1).long(), found.any(2).long()
    x0, y0 = columns.argmax(1), rows.argmax(1)
    x1, y1 = side - columns.flip(1).argmax(1), side - rows.flip(1).argmax(1)
    width = (torch.minimum(x1, boxes[:, 2]) - torch.maximum(x0, boxes[:, 0])).clamp(min=0)
    height = (torch.minimum(y1, boxes[:, 3]) - torch.maximum(y0, boxes[:, 1])).clamp(min=0)
    both = width * height
    either = (x1 - x0) * (y1 - y0) + (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) - both
    return 100 * pointed.float().mean().item(), 100 * (both / either >= 0.5).float().mean().item()


def _largest_part(hot: torch.Tensor) -> torch.Tensor:
    """Of each image `[N, 1, h, w]`, the largest part that is connected, corners included."""
    n, _, height, width = hot.shape
    # Each pixel takes over the largest number around it until a part has one number.
    numbers = torch.arange(1, height * width + 1, dtype=torch.float, device=hot.device).view(1, 1, height, width) * hot
    while True:
        spread = F.max_pool2d(numbers, 3, 1, 1) * hot
        if torch.equal(spread, numbers):
            break
        numbers = spread
    sizes = torch.zeros(n, height * width + 1, device=hot.device)
    sizes.scatter_add_(1, numbers.flatten(1).long(), hot.flatten(1).float())
    return (numbers == sizes.argmax(1).view(n, 1, 1, 1)) & hot
