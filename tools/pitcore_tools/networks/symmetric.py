"""Ties a ResNet's weights so that its output does not change if a cherry is rotated or mirrored.

Each group of channels has one filter in every orientation, so a filter is learnt once for all orientations. In training
the tied weights replace the full ones; ``untied`` returns a plain network with plain names, which is exported like any
other. Source: T. Cohen, M. Welling, "Group equivariant convolutional networks", 2016
(the groups p4 and p4m).

The symmetry is exact if every stride gets an odd number of pixels (81 px without the stem's pooling, 97 px with it);
otherwise the grid of a stride is not centred, as in any network.
"""

from __future__ import annotations

import copy
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import parametrize

from pitcore.errors import ConfigError
from pitcore_tools.networks.resnet import ResNet

Symmetry = Literal["none", "turns", "mirrors"]
Matrix = NDArray[np.int64]  # (2, 2), acts on (row, column) from the middle of a kernel


def tie(network: nn.Module, symmetry: Symmetry) -> None:
    """Tie a network's weights in place.

    Args:
        network: a ResNet, whose widths the order of the group divides (4 for ``turns``, 8 for ``mirrors``).
        symmetry: quarter turns, or these and mirror images.

    Raises:
        ConfigError: no ResNet, or its widths do not fit.
    """
    if symmetry == "none":
        return
    group = _elements(symmetry)
    if not isinstance(network, ResNet) or any(
        module.out_channels % len(group) for module in network.modules() if isinstance(module, nn.Conv2d)
    ):
        raise ConfigError(f"symmetry {symmetry} wants a ResNet whose widths are multiples of {len(group)}")
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            index = _kernel_index(module, group, lifting=name == "conv1")
            parametrize.register_parametrization(module, "weight", _Tied(index))
        elif isinstance(module, nn.BatchNorm2d):
            index = np.arange(module.num_features) // len(group)
            parametrize.register_parametrization(module, "weight", _Tied(index))
            parametrize.register_parametrization(module, "bias", _Tied(index))
        elif isinstance(module, nn.Linear):
            features = module.in_features // len(group)
            index = np.arange(module.out_features)[:, None] * features + np.arange(module.in_features) // len(group)
            parametrize.register_parametrization(module, "weight", _Tied(index))


def untied(network: nn.Module, symmetry: Symmetry) -> nn.Module:
    """Return a plain copy of a tied network; statistics of a channel's orientations are averaged."""
    plain = copy.deepcopy(network)
    if symmetry == "none":
        return plain
    order = len(_elements(symmetry))
    for module in plain.modules():
        for name in ("weight", "bias"):
            if parametrize.is_parametrized(module, name):
                parametrize.remove_parametrizations(module, name)
        if isinstance(module, nn.BatchNorm2d):
            for values in (module.running_mean, module.running_var):
                assert values is not None  # noqa: S101  narrows the type; we never switch the statistics off
                values.copy_(values.view(-1, order).mean(1).repeat_interleave(order))
    return plain


class _Tied(nn.Module):
    """Makes a full tensor of fewer weights: entry i of the full tensor is weight ``index[i]``."""

    index: Tensor
    first: Tensor

    def __init__(self, index: NDArray[np.int64]) -> None:
        super().__init__()
        _, first = np.unique(index, return_index=True)
        self.register_buffer("index", torch.from_numpy(index), persistent=False)
        self.register_buffer("first", torch.from_numpy(first), persistent=False)

    def forward(self, weights: Tensor) -> Tensor:
        """Return the full tensor."""
        return weights[self.index]

    def right_inverse(self, full: Tensor) -> Tensor:
        """Return the first occurrence of each weight in a full tensor; that is exact for a tied tensor."""
        return full.reshape(-1)[self.first]


def _elements(symmetry: Symmetry) -> list[Matrix]:
    """Return the group's elements, the identity first."""
    quarter, mirror = np.array([[0, -1], [1, 0]]), np.diag([1, -1])
    turns = [np.linalg.matrix_power(quarter, times) for times in range(4)]
    return turns if symmetry == "turns" else turns + [turn @ mirror for turn in turns]


def _kernel_index(conv: nn.Conv2d, group: list[Matrix], *, lifting: bool) -> NDArray[np.int64]:
    """Return the index of the weight at each place of a kernel of shape (out, in, k, k).

    The weight from input channel (i, s) to output channel (o, r) is weight (o, i, r^-1 s), rotated by r. The inputs of
    the first layer are planes, which have no orientation.
    """
    order, side = len(group), conv.kernel_size[0]
    inputs = conv.in_channels if lifting else conv.in_channels // order
    orientations = 1 if lifting else order
    own = np.arange(conv.out_channels // order * inputs * orientations * side * side)
    own = own.reshape(-1, inputs, orientations, side, side)
    rows, columns = np.mgrid[:side, :side] - (side - 1) // 2
    full = np.empty((len(own), order, inputs, orientations, side, side), np.int64)
    for r, turn in enumerate(group):
        back = turn.T  # the inverse of an orthogonal matrix
        row = back[0, 0] * rows + back[0, 1] * columns + (side - 1) // 2
        column = back[1, 0] * rows + back[1, 1] * columns + (side - 1) // 2
        for s in range(orientations):
            source = 0 if lifting else next(k for k, g in enumerate(group) if (g == back @ group[s]).all())
            full[:, r, :, s] = own[:, :, source][:, :, row, column]
    return full.reshape(conv.out_channels, conv.in_channels, side, side)
