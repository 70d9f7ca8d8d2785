"""The network: residual 3×3 convolutions, global average pooling and one linear layer.

Pooling and one linear layer make CAM exact and Grad-CAM equal to it. Strides multiply to 8, so that an input of 96 pixels
gives a 12×12 map. Nothing but convolutions, additions and ReLU, which every engine has a fast path for.
"""

import copy

import torch
from torch import nn

WIDTHS = (32, 80, 160)
BLOCKS = (1, 1, 3)
STRIDE = 8


class Block(nn.Module):
    """Two 3×3 convolutions and a shortcut (He et al. 2015, https://arxiv.org/abs/1512.03385)."""

    def __init__(self, channels_in: int, channels: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.shortcut = self.shortcut_norm = None
        if stride != 1 or channels_in != channels:
            self.shortcut = nn.Conv2d(channels_in, channels, 1, stride, bias=False)
            self.shortcut_norm = nn.BatchNorm2d(channels)

    def forward(self, x):
        y = torch.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        return torch.relu(y + (x if self.shortcut is None else self.shortcut_norm(self.shortcut(x))))


class Everyday(nn.Module):
    """`[N, 3, H, W]` to logits `[N, classes]`."""

    def __init__(self, classes: int):
        super().__init__()
        self.stem = nn.Conv2d(3, WIDTHS[0], 3, 2, 1, bias=False)
        self.stem_norm = nn.BatchNorm2d(WIDTHS[0])
        channels_in, self.stages = WIDTHS[0], nn.ModuleList()
        for stage, (channels, blocks) in enumerate(zip(WIDTHS, BLOCKS)):
            strides = [2 if stage > 0 else 1] + [1] * (blocks - 1)
            self.stages.append(nn.ModuleList(
                Block(channels_in if i == 0 else channels, channels, s) for i, s in enumerate(strides)))
            channels_in = channels
        self.linear = nn.Linear(channels_in, classes)

    def features(self, x):
        """Activations `[N, K, H/8, W/8]` of the target layer."""
        x = torch.relu(self.stem_norm(self.stem(x)))
        for stage in self.stages:
            for block in stage:
                x = block(x)
        return x

    def forward(self, x):
        return self.linear(self.features(x).mean((2, 3)))


def folded(network: Everyday) -> Everyday:
    """The same function with every batch normalisation folded into its convolution."""
    network = copy.deepcopy(network).eval()
    network.stem, network.stem_norm = _fold(network.stem, network.stem_norm), nn.Identity()
    for stage in network.stages:
        for block in stage:
            block.conv1, block.norm1 = _fold(block.conv1, block.norm1), nn.Identity()
            block.conv2, block.norm2 = _fold(block.conv2, block.norm2), nn.Identity()
            if block.shortcut is not None:
                block.shortcut, block.shortcut_norm = _fold(block.shortcut, block.shortcut_norm), nn.Identity()
    return network


def _fold(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    return nn.utils.fuse_conv_bn_eval(conv, norm)
