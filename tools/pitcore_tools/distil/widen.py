"""Widens the weights of a net without a change of its function.

A wider net begins where a narrower one has arrived: each new channel is a copy of an old one, and the weights that
read a channel are split among its copies by random shares, so that the copies go different ways in training. Source:
T. Chen, I. Goodfellow, J. Shlens, "Net2Net: accelerating learning via knowledge transfer", 2016, section 2.3.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

LEAST_SHARE = 0.25  # of a channel's weights before they are divided by the sum of its copies


def widened(weights: Mapping[str, Tensor], shapes: Mapping[str, torch.Size], seed: int) -> dict[str, Tensor]:
    """Return weights of the wider ``shapes`` with the same function.

    Channel j of a wider layer is a copy of channel j modulo the old width. All layers of a stage have one width, so the
    two inputs of a shortcut's sum are copied alike.

    Args:
        weights: (C_out, C_in, H, W) convolutions and (C,) tensors of batch norms by name, without the last layer.
        shapes: shape of each of them in the wider net; each dimension at least the old one.
        seed: seed of the shares.
    """
    generator = torch.Generator().manual_seed(seed)
    wider = {}
    for name, value in weights.items():
        shape = shapes[name]
        if value.ndim == 0:
            wider[name] = value
            continue
        grown = value.float()[torch.arange(shape[0]) % len(value)]
        if value.ndim > 1:
            old = torch.arange(shape[1]) % value.shape[1]
            shares = LEAST_SHARE + (1.0 - LEAST_SHARE) * torch.rand(shape[0], shape[1], generator=generator)
            sums = torch.zeros(shape[0], value.shape[1]).index_add_(1, old, shares)
            grown = grown[:, old] * (shares / sums[:, old])[..., None, None]
        wider[name] = grown
    return wider


def is_wider(weights: Mapping[str, Tensor], shapes: Mapping[str, torch.Size]) -> bool:
    """Return True if ``shapes`` are those of a net with the same layers, each at least as wide."""
    return weights.keys() == shapes.keys() and all(
        value.ndim == len(shapes[name])
        and value.shape[2:] == shapes[name][2:]
        and all(old <= new for old, new in zip(value.shape[:2], shapes[name][:2], strict=True))
        for name, value in weights.items()
    )
