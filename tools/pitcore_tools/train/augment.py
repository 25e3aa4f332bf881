"""Augments whole batches of crops.

A cherry has no preferred orientation, so it is rotated and mirrored at random. Its size, place and light vary little.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812  the field's name for it
from torch import Generator, Tensor

from pitcore_tools.train.recipe import Recipe

# ImageNet's statistics of red, green and blue. Source: torchvision.models, "weights.transforms".
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CROP_PLANES = [0, 2]  # planes of a picture that crops use: red is the top plane, blue the bottom one, green is zero


def augment(crops: Tensor, recipe: Recipe, generator: Generator) -> Tensor:
    """Rotate, mirror, scale, shift, blur, relight and threshold a batch.

    Args:
        crops: (B, planes, N, N) uint8, N at least the recipe's crop size.
        recipe: the strength of each change.
        generator: the only source of randomness; on the CPU, so that every device draws the same numbers.

    Returns:
        (B, planes, S, S) float32 in 0..1, zero outside the cherries, on the device of ``crops``.
    """
    chance = _Chance(generator, crops.device)
    pixels = _turn(_threshold(crops, recipe, chance).float() / 255.0, recipe, chance)
    if recipe.blur_px > 0.0:
        pixels = _blur(pixels, recipe, chance)
    return _light(pixels, recipe, chance)


def normalised(pixels: Tensor, *, rgb: bool) -> Tensor:
    """Subtract ImageNet's mean and divide by its deviation, also in the background.

    Args:
        pixels: (B, 2, S, S) in 0..1.
        rgb: insert a green plane of zeros first.

    Returns:
        (B, 2 or 3, S, S).
    """
    if rgb:
        red, blue = pixels.unbind(1)
        pixels = torch.stack([red, torch.zeros_like(red), blue], 1)
    mean, deviation = (pixels.new_tensor(values) for values in statistics(rgb=rgb))
    return (pixels - mean.view(1, -1, 1, 1)) / deviation.view(1, -1, 1, 1)


def statistics(*, rgb: bool) -> tuple[list[float], list[float]]:
    """Return ImageNet's mean and deviation for the planes of a network."""
    planes = range(3) if rgb else CROP_PLANES
    return [MEAN[plane] for plane in planes], [DEVIATION[plane] for plane in planes]


class _Chance:
    """Random numbers from one generator, brought to a device."""

    def __init__(self, generator: Generator, device: torch.device) -> None:
        self._generator, self._device = generator, device

    def share(self, *shape: int) -> Tensor:
        """Numbers in 0..1."""
        return torch.rand(shape, generator=self._generator).to(self._device)

    def both_sides(self, *shape: int) -> Tensor:
        """Numbers in -1..1."""
        return self.share(*shape) * 2.0 - 1.0

    def integer(self, below: int, *shape: int) -> Tensor:
        """Integers from 0."""
        return torch.randint(0, below, shape, generator=self._generator).to(self._device)


def _threshold(crops: Tensor, recipe: Recipe, chance: _Chance) -> Tensor:
    """Set pixels below a random level in all planes to zero, like the segmentation does with the dimmest rim."""
    levels = chance.integer(recipe.max_threshold + 1, len(crops), 1, 1, 1)
    return crops * (crops >= levels).any(dim=1, keepdim=True)


def _turn(pixels: Tensor, recipe: Recipe, chance: _Chance) -> Tensor:
    """Rotate all, mirror half of them, scale and shift a little, and cut the middle out."""
    count, planes, side = len(pixels), pixels.shape[1], pixels.shape[2]
    angle = chance.both_sides(count) * math.pi
    if recipe.turn == "half":
        angle = torch.round(angle / math.pi) * math.pi
    zoom = 1.0 + chance.both_sides(count) * recipe.scale_jitter
    mirror = torch.where(chance.share(count) < 0.5, -1.0, 1.0)
    shift_x, shift_y = (chance.both_sides(count) * recipe.shift_px * 2.0 / side for _ in range(2))
    window = recipe.crop_size_px / side / zoom
    cosine, sine = torch.cos(angle) * window, torch.sin(angle) * window
    rows = (torch.stack([cosine * mirror, -sine, shift_x], 1), torch.stack([sine * mirror, cosine, shift_y], 1))
    size = [count, planes, recipe.crop_size_px, recipe.crop_size_px]
    grid = F.affine_grid(torch.stack(rows, 1), size, align_corners=False)
    return F.grid_sample(pixels, grid, align_corners=False)


def _blur(pixels: Tensor, recipe: Recipe, chance: _Chance) -> Tensor:
    """Blur each cherry along its columns by up to ``blur_px``, like a movement during the exposure."""
    reach = math.ceil(recipe.blur_px)
    offsets = torch.arange(-reach, reach + 1, device=pixels.device)
    length = chance.share(len(pixels), 1) * recipe.blur_px
    weights = (length / 2.0 + 0.5 - offsets.abs()).clamp(0.0, 1.0)  # (B, taps): the share of each whole pixel
    weights = weights / weights.sum(1, keepdim=True)
    count, planes, height, width = pixels.shape
    columns = pixels.reshape(1, count * planes, height, width)
    kernel = weights.repeat_interleave(planes, 0)[:, None, :, None]
    blurred = F.conv2d(columns, kernel, padding=(reach, 0), groups=count * planes)
    return blurred.view(count, planes, height, width)


def _light(pixels: Tensor, recipe: Recipe, chance: _Chance) -> Tensor:
    """Change brightness and contrast of each plane independently; the background stays zero."""
    shape = (len(pixels), pixels.shape[1], 1, 1)
    gain, contrast = (1.0 + chance.both_sides(*shape) * recipe.light_jitter for _ in range(2))
    inside = pixels > 0
    mean = pixels.sum((2, 3), keepdim=True) / inside.sum((2, 3), keepdim=True).clamp(min=1)
    return (((pixels - mean) * contrast + mean) * gain * inside).clamp(0.0, 1.0)
