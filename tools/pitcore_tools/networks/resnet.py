"""Defines ResNets with torchvision's state-dict names, any number of planes and any widths.

Source: K. He, X. Zhang, S. Ren, J. Sun, "Deep residual learning for image recognition", 2015; the stride of a
bottleneck sits on its 3x3 convolution, as in torchvision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

WIDTHS = (64, 128, 256, 512)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut: (B, C_in, H, W) -> (B, width, H / stride, W / stride)."""

    expansion = 1

    def __init__(self, channels_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(channels_in, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        shortcut = x if self.downsample is None else self.downsample(x)
        inner = self.relu(self.bn1(self.conv1(x)))
        return torch.as_tensor(self.relu(self.bn2(self.conv2(inner)) + shortcut))


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 and a shortcut: (B, C_in, H, W) -> (B, 4 width, H / stride, W / stride)."""

    expansion = 4

    def __init__(self, channels_in: int, width: int, stride: int) -> None:
        super().__init__()
        channels_out = width * self.expansion
        self.conv1 = nn.Conv2d(channels_in, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, channels_out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels_out)
        self.relu = nn.ReLU()
        self.downsample = _shortcut(channels_in, channels_out, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        shortcut = x if self.downsample is None else self.downsample(x)
        inner = self.relu(self.bn1(self.conv1(x)))
        inner = self.relu(self.bn2(self.conv2(inner)))
        return torch.as_tensor(self.relu(self.bn3(self.conv3(inner)) + shortcut))


@dataclass(frozen=True, slots=True)
class Shape:
    """The parameters of a ResNet.

    Attributes:
        block: class of its blocks.
        depths: number of blocks in each of the four stages.
        widths: channels of each stage, before a bottleneck's expansion.
        pooled: True if the stem has max-pooling; without it every stage has twice the resolution.
    """

    block: type[BasicBlock | Bottleneck] = BasicBlock
    depths: tuple[int, int, int, int] = (2, 2, 2, 2)
    widths: Sequence[int] = WIDTHS
    pooled: bool = True


class ResNet(nn.Module):
    """(B, planes, S, S) float -> (B, classes) logits.

    Args:
        planes: number of planes of the input.
        classes: number of logits.
        shape: parameters of the network; None is the published ResNet18.
    """

    def __init__(self, planes: int = 2, classes: int = 2, shape: Shape | None = None) -> None:
        super().__init__()
        shape = shape or Shape()
        widths, expansion = shape.widths, shape.block.expansion
        self.conv1 = nn.Conv2d(planes, widths[0], 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, 2, 1) if shape.pooled else nn.Identity()
        inputs = [widths[0], *(width * expansion for width in widths[:3])]
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            _stage(shape, stage, channels_in) for stage, channels_in in enumerate(inputs)
        )
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(widths[3] * expansion, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    @property
    def stages(self) -> tuple[nn.Sequential, ...]:
        """The four stages in order."""
        return (self.layer1, self.layer2, self.layer3, self.layer4)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for stage in self.stages:
            x = stage(x)
        return torch.as_tensor(self.fc(self.avgpool(x).flatten(1)))


def _stage(shape: Shape, stage: int, channels_in: int) -> nn.Sequential:
    width, stride = shape.widths[stage], 1 if stage == 0 else 2
    first = shape.block(channels_in, width, stride)
    channels = width * shape.block.expansion
    return nn.Sequential(first, *(shape.block(channels, width, 1) for _ in range(shape.depths[stage] - 1)))


def _shortcut(channels_in: int, channels_out: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and channels_in == channels_out:
        return None
    return nn.Sequential(nn.Conv2d(channels_in, channels_out, 1, stride, bias=False), nn.BatchNorm2d(channels_out))
