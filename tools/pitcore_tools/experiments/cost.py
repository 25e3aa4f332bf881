"""Counts the parameters and multiply-accumulates of a net without running it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from pitcore_tools.networks.zoo import build
from pitcore_tools.train.recipe import Recipe


@dataclass(frozen=True, slots=True)
class NetCost:
    """The cost of a net.

    Attributes:
        parameters: number of weights and biases; about the size in bytes in int8.
        macs: multiply-accumulates of convolutions and matrices for one cherry.
    """

    parameters: int
    macs: int


def cost_of(recipe: Recipe) -> NetCost:
    """Count the cost of the recipe's network."""
    with torch.device("meta"):
        network = build(recipe.architecture, len(recipe.planes), len(recipe.labels), recipe.widths, recipe.stem)
        crop = torch.empty(1, len(recipe.planes), recipe.crop_size_px, recipe.crop_size_px)
    network.eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(crop)
    return NetCost(sum(weight.numel() for weight in network.parameters()), counter.get_total_flops() // 2)
