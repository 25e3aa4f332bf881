"""Defines MobileNetV3-Large and EfficientNet-B0 (inverted residuals) with torchvision's state-dict names.

Sources: A. Howard et al., "Searching for MobileNetV3", 2019; M. Tan, Q. Le, "EfficientNet", 2019; G. Huang et al.,
"Deep networks with stochastic depth", 2016.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

Activation = Callable[[], nn.Module]

# channels in, kernel, expanded, channels out, squeeze, hard swish, stride
MOBILENET_V3_LARGE = (
    (16, 3, 16, 16, False, False, 1),
    (16, 3, 64, 24, False, False, 2),
    (24, 3, 72, 24, False, False, 1),
    (24, 5, 72, 40, True, False, 2),
    (40, 5, 120, 40, True, False, 1),
    (40, 5, 120, 40, True, False, 1),
    (40, 3, 240, 80, False, True, 2),
    (80, 3, 200, 80, False, True, 1),
    (80, 3, 184, 80, False, True, 1),
    (80, 3, 184, 80, False, True, 1),
    (80, 3, 480, 112, True, True, 1),
    (112, 3, 672, 112, True, True, 1),
    (112, 5, 672, 160, True, True, 2),
    (160, 5, 960, 160, True, True, 1),
    (160, 5, 960, 160, True, True, 1),
)
# expansion, kernel, stride, channels in, channels out, blocks
EFFICIENTNET_B0 = (
    (1, 3, 1, 32, 16, 1),
    (6, 3, 2, 16, 24, 2),
    (6, 5, 2, 24, 40, 2),
    (6, 3, 2, 40, 80, 3),
    (6, 5, 1, 80, 112, 3),
    (6, 5, 2, 112, 192, 4),
    (6, 3, 1, 192, 320, 1),
)
STOCHASTIC_DEPTH = 0.2  # of the last block; the first has none


class ConvNorm(nn.Sequential):
    """Convolution, batch norm and activation, at the indices 0, 1, 2."""

    def __init__(self, convolution: nn.Conv2d, norm: nn.Module, activation: Activation | None = None) -> None:
        super().__init__(convolution, norm, *([activation()] if activation else []))


class SqueezeExcitation(nn.Module):
    """Scale each channel by a factor computed from the whole picture: (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, channels: int, squeezed: int, activation: Activation, gate: Activation) -> None:
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Conv2d(channels, squeezed, 1)
        self.fc2 = nn.Conv2d(squeezed, channels, 1)
        self.activation = activation()
        self.scale_activation = gate()

    def forward(self, x: Tensor) -> Tensor:
        """Return the scaled channels."""
        gate = self.scale_activation(self.fc2(self.activation(self.fc1(self.avgpool(x)))))
        return torch.as_tensor(gate * x)


@dataclass(frozen=True, slots=True)
class _Inverted:
    """Parameters of an inverted residual: 1x1 expansion, depthwise convolution, squeeze, 1x1 projection."""

    channels_in: int
    expanded: int
    channels_out: int
    kernel: int
    stride: int
    squeezed: int
    activation: Activation
    gate: Activation
    eps: float
    momentum: float
    drop: float = 0.0


class InvertedResidual(nn.Module):
    """(B, C_in, H, W) -> (B, C_out, H / stride, W / stride)."""

    def __init__(self, form: _Inverted) -> None:
        super().__init__()

        def norm(channels: int) -> nn.BatchNorm2d:
            return nn.BatchNorm2d(channels, form.eps, form.momentum)

        layers: list[nn.Module] = []
        wide, kernel = form.expanded, form.kernel
        if wide != form.channels_in:
            layers.append(ConvNorm(_conv(form.channels_in, wide), norm(wide), form.activation))
        layers.append(ConvNorm(_conv(wide, wide, kernel, form.stride, wide), norm(wide), form.activation))
        if form.squeezed:
            squeeze = nn.ReLU if form.activation is nn.Hardswish else form.activation
            layers.append(SqueezeExcitation(wide, form.squeezed, squeeze, form.gate))
        layers.append(ConvNorm(_conv(wide, form.channels_out), norm(form.channels_out)))
        self.block = nn.Sequential(*layers)
        self.adds = form.stride == 1 and form.channels_in == form.channels_out
        self.drop = form.drop

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output; in training a crop may skip the block."""
        inner = self.block(x)
        if not self.adds:
            return torch.as_tensor(inner)
        if self.training and self.drop > 0.0:
            kept = torch.rand(len(x), 1, 1, 1, device=x.device) >= self.drop
            inner = inner * kept / (1.0 - self.drop)
        return torch.as_tensor(x + inner)


class InvertedNet(nn.Module):
    """(B, planes, S, S) float -> (B, classes) logits."""

    def __init__(self, features: nn.Sequential, classifier: nn.Sequential) -> None:
        super().__init__()
        self.features = features
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = classifier
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0.0, 0.01)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        return torch.as_tensor(self.classifier(self.avgpool(self.features(x)).flatten(1)))


def mobilenet_v3_large(planes: int, classes: int) -> InvertedNet:
    """Make a MobileNetV3-Large: 5,483,032 parameters with three planes and 1,000 classes."""
    eps, momentum = 1e-3, 0.01

    def norm(channels: int) -> nn.BatchNorm2d:
        return nn.BatchNorm2d(channels, eps, momentum)

    layers: list[nn.Module] = [ConvNorm(_conv(planes, 16, 3, 2), norm(16), nn.Hardswish)]
    for channels_in, kernel, expanded, channels_out, squeeze, hard, stride in MOBILENET_V3_LARGE:
        squeezed = _by_eight(expanded // 4) if squeeze else 0
        activation = nn.Hardswish if hard else nn.ReLU
        form = _Inverted(
            channels_in,
            expanded,
            channels_out,
            kernel,
            stride,
            squeezed,
            activation,
            nn.Hardsigmoid,
            eps,
            momentum,
        )
        layers.append(InvertedResidual(form))
    layers.append(ConvNorm(_conv(160, 960), norm(960), nn.Hardswish))
    head = nn.Sequential(nn.Linear(960, 1280), nn.Hardswish(), nn.Dropout(0.2), nn.Linear(1280, classes))
    return InvertedNet(nn.Sequential(*layers), head)


def efficientnet_b0(planes: int, classes: int) -> InvertedNet:
    """Make an EfficientNet-B0: 5,288,548 parameters with three planes and 1,000 classes."""
    eps, momentum = 1e-5, 0.1
    layers: list[nn.Module] = [ConvNorm(_conv(planes, 32, 3, 2), nn.BatchNorm2d(32), nn.SiLU)]
    total, done = sum(entry[-1] for entry in EFFICIENTNET_B0), 0
    for expansion, kernel, first_stride, first_in, channels_out, blocks in EFFICIENTNET_B0:
        stage = []
        for index in range(blocks):
            channels_in, stride = (first_in, first_stride) if index == 0 else (channels_out, 1)
            form = _Inverted(
                channels_in,
                channels_in * expansion,
                channels_out,
                kernel,
                stride,
                max(1, channels_in // 4),
                nn.SiLU,
                nn.Sigmoid,
                eps,
                momentum,
                STOCHASTIC_DEPTH * done / total,
            )
            stage.append(InvertedResidual(form))
            done += 1
        layers.append(nn.Sequential(*stage))
    layers.append(ConvNorm(_conv(320, 1280), nn.BatchNorm2d(1280), nn.SiLU))
    return InvertedNet(nn.Sequential(*layers), nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, classes)))


def _conv(channels_in: int, channels_out: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, kernel, stride, kernel // 2, groups=groups, bias=False)


def _by_eight(value: int) -> int:
    """Round to a multiple of eight, never down by more than a tenth."""
    rounded = max(8, (value + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * value else rounded
