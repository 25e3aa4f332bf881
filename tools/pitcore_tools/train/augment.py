"""Augmentation on whole batches: what a cherry on the belt may look like besides what it did.

A cherry has no up: it is turned by any angle and mirrored. Its size, place and light vary little.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812  the field's name for it
from torch import Generator, Tensor

from pitcore_tools.train.recipe import Recipe


def augment(crops: Tensor, recipe: Recipe, generator: Generator) -> Tensor:
    """Turn, mirror, scale, shift, light and threshold a batch.

    Args:
        crops: (B, planes, N, N) uint8, N at least the recipe's crop size.
        recipe: how much of each.
        generator: the only source of chance.

    Returns:
        (B, planes, S, S) float32 in 0..1, zero outside the cherries.
    """
    return _light(_turn(_threshold(crops, recipe, generator).float() / 255.0, recipe, generator), recipe, generator)


def _uniform(count: int, generator: Generator) -> Tensor:
    """(count,) numbers in -1..1."""
    return torch.rand(count, generator=generator) * 2.0 - 1.0


def _threshold(crops: Tensor, recipe: Recipe, generator: Generator) -> Tensor:
    """Drop pixels below a random level in all planes, as the belt's segmentation drops the dimmest rim."""
    levels = torch.randint(0, recipe.max_threshold + 1, (len(crops), 1, 1, 1), generator=generator)
    return crops * (crops >= levels).any(dim=1, keepdim=True)


def _turn(pixels: Tensor, recipe: Recipe, generator: Generator) -> Tensor:
    """Turn by any angle, mirror half of them, scale and shift a little; cut the middle out."""
    count, planes, side = len(pixels), pixels.shape[1], pixels.shape[2]
    angle = _uniform(count, generator) * math.pi
    zoom = 1.0 + _uniform(count, generator) * recipe.scale_jitter
    mirror = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0)
    shift_x, shift_y = (_uniform(count, generator) * recipe.shift_px * 2.0 / side for _ in range(2))
    window = recipe.crop_size_px / side / zoom
    cosine, sine = torch.cos(angle) * window, torch.sin(angle) * window
    rows = (torch.stack([cosine * mirror, -sine, shift_x], 1), torch.stack([sine * mirror, cosine, shift_y], 1))
    size = [count, planes, recipe.crop_size_px, recipe.crop_size_px]
    grid = F.affine_grid(torch.stack(rows, 1), size, align_corners=False)
    return F.grid_sample(pixels, grid, align_corners=False)


def _light(pixels: Tensor, recipe: Recipe, generator: Generator) -> Tensor:
    """Change brightness and contrast of each plane by itself; the background stays zero."""
    shape = (len(pixels), pixels.shape[1], 1, 1)
    gain, contrast = (1.0 + _uniform(math.prod(shape), generator).view(shape) * recipe.light_jitter for _ in range(2))
    inside = pixels > 0
    mean = pixels.sum((2, 3), keepdim=True) / inside.sum((2, 3), keepdim=True).clamp(min=1)
    return (((pixels - mean) * contrast + mean) * gain * inside).clamp(0.0, 1.0)
