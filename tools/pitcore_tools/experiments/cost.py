"""What a net costs: parameters and multiply-accumulates, counted without running it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from pitcore_tools.networks.zoo import build
from pitcore_tools.train.recipe import Recipe


@dataclass(frozen=True, slots=True)
class NetCost:
    """Of one cherry.

    Attributes:
        parameters: weights and biases; about as many bytes in int8.
        macs: multiply-accumulates of convolutions and matrices.
    """

    parameters: int
    macs: int


def cost_of(recipe: Recipe) -> NetCost:
    """Count what the recipe's network does for one crop."""
    with torch.device("meta"):
        network = build(recipe.architecture, len(recipe.planes), len(recipe.labels), recipe.widths, recipe.stem)
        crop = torch.empty(1, len(recipe.planes), recipe.crop_size_px, recipe.crop_size_px)
    network.eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(crop)
    return NetCost(sum(weight.numel() for weight in network.parameters()), counter.get_total_flops() // 2)
