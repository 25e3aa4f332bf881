"""Draws views of crops by seed (rotated, mirrored, scaled, shifted, relit), and renders them on any device.

A view is twelve numbers, drawn on the CPU from a seed, so every machine draws the same views. Teacher and student
render the same view, each at its own size. Three tenths of the views are not interpolated: they have only quarter turns
and shifts by whole pixels, like the crops on the board.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812  the field's name for it
from torch import Tensor

EXACT_SHARE = 0.3
COLUMNS = 12  # numbers of a view: rotation (2 x 2), shift (2), gain (2), gamma (2), level, unused


@dataclass(frozen=True, slots=True)
class Jitter:
    """Ranges of the views. ``scale`` and ``gain`` are relative, ``shift_px`` in pixels, ``gamma`` in log units."""

    scale: float = 0.15
    shift_px: float = 3.0
    gain: float = 0.12
    gamma: float = 0.12
    max_level: int = 18


def draw(count: int, jitter: Jitter, generator: torch.Generator | None, device: torch.device | str = "cpu") -> Tensor:
    """Draw (count, 12) float32 views. Without a generator, torch's default one on ``device`` is used."""

    def share(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, device=device)

    exact = share(count) < EXACT_SHARE
    angle = (share(count) * 2.0 - 1.0) * math.pi
    quarter = torch.round(angle / (math.pi / 2)) * (math.pi / 2)
    angle = torch.where(exact, quarter, angle)
    zoom = torch.where(exact, torch.ones_like(angle), 1.0 + (share(count) * 2.0 - 1.0) * jitter.scale)
    mirror = torch.where(share(count) < 0.5, -1.0, 1.0)
    shift = (share(count, 2) * 2.0 - 1.0) * jitter.shift_px
    shift = torch.where(exact[:, None], torch.round(shift), shift)
    gain = 1.0 + (share(count, 2) * 2.0 - 1.0) * jitter.gain
    gamma = torch.exp((share(count, 2) * 2.0 - 1.0) * jitter.gamma)
    level = torch.floor(share(count) * (jitter.max_level + 1))
    cosine, sine = torch.cos(angle) / zoom, torch.sin(angle) / zoom
    columns = [cosine * mirror, -sine, sine * mirror, cosine]
    return torch.stack(
        [*columns, *shift.unbind(1), *gain.unbind(1), *gamma.unbind(1), level, torch.zeros_like(level)], 1
    )


def render(crops: Tensor, views: Tensor, source_px: int, out_px: int) -> Tensor:
    """Render views of crops.

    Args:
        crops: (B, 2, N, N) uint8, N even.
        views: (B, 12) float32 from ``draw``.
        source_px: side of the rendered square in pixels of the crop.
        out_px: side of the result in pixels.

    Returns:
        (B, 2, out_px, out_px) float32 in 0..1, zero outside the cherry.
    """
    side = crops.shape[2]
    window = source_px / side
    turn = views[:, :4].view(-1, 2, 2) * window
    theta = torch.cat([turn, (views[:, 4:6] * 2.0 / side).unsqueeze(2)], 2)
    level = views[:, 10].view(-1, 1, 1, 1)
    pixels = crops.float()
    pixels = pixels * (pixels >= level).any(dim=1, keepdim=True) / 255.0
    grid = F.affine_grid(theta, [len(crops), crops.shape[1], out_px, out_px], align_corners=False)
    pixels = F.grid_sample(pixels, grid, align_corners=False)
    gain, gamma = views[:, 6:8].view(-1, 2, 1, 1), views[:, 8:10].view(-1, 2, 1, 1)
    lit = torch.exp(torch.log(pixels.clamp(min=1e-4)) * gamma) * gain
    return (lit * (pixels > 0)).clamp(0.0, 1.0)


def eight(crops: Tensor) -> list[Tensor]:
    """Return a batch in eight orientations: four quarter turns (the unchanged one first), then the mirrored ones."""
    return [torch.rot90(picture, turns, (2, 3)) for picture in (crops, crops.flip(3)) for turns in range(4)]


def oriented(pictures: Tensor, orientations: Tensor) -> Tensor:
    """Return each of (B, planes, S, S) pictures in one of the eight orientations of ``eight``.

    Args:
        pictures: the pictures.
        orientations: (B,) int64 in 0..7: quarter turns, and 4 more if mirrored first.
    """
    number = orientations.view(-1, 1, 1, 1)
    result = torch.where(number >= 4, pictures.flip(3), pictures)
    result = torch.where(number % 2 == 1, result.rot90(1, (2, 3)), result)
    return torch.where(number % 4 >= 2, result.rot90(2, (2, 3)), result)


def middle(crops: Tensor, size_px: int) -> Tensor:
    """Return the middle (B, planes, size_px, size_px) of a batch (B, planes, N, N), as a view."""
    start = (crops.shape[2] - size_px) // 2
    return crops[:, :, start : start + size_px, start : start + size_px]
