"""Draws views of crops by seed (rotated, mirrored, scaled, shifted, relit), and renders them on any device.

A view is twelve numbers, drawn on the CPU from a seed, so every machine draws the same views. Teacher and student
render the same view, each at its own size. Unless cherries are fitted, three tenths of the views are not interpolated:
they have only quarter turns and shifts by whole pixels, like the crops on the board.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812  the field's name for it
from torch import Tensor

EXACT_SHARE = 0.3
SLACK = 0.08  # share by which the window of a fitted view may be larger than its cherry
COLUMNS = 12  # numbers of a view: rotation (2 x 2), shift (2), gain (2), gamma (2), level, slack


@dataclass(frozen=True, slots=True)
class Jitter:
    """Ranges of the views. ``scale`` and ``gain`` are relative, ``shift_px`` in pixels, ``gamma`` in log units."""

    scale: float = 0.15
    shift_px: float = 3.0
    gain: float = 0.12
    gamma: float = 0.12
    max_level: int = 18


@dataclass(frozen=True, slots=True)
class Form:
    """The form in which a net gets a view.

    Attributes:
        size_px: side of the picture.
        source_px: side of the part of the crop that it shows; None: as large as the cherry, so that it fills the
            picture whatever its size.
    """

    size_px: int
    source_px: int | None


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
    slack = torch.where(exact, torch.zeros_like(angle), share(count))  # drawn last: older answers stay valid
    columns = [cosine * mirror, -sine, sine * mirror, cosine]
    return torch.stack([*columns, *shift.unbind(1), *gain.unbind(1), *gamma.unbind(1), level, slack], 1)


def render(crops: Tensor, views: Tensor, form: Form, partner: Tensor | None = None) -> Tensor:
    """Render views of crops.

    Args:
        crops: (B, 2, N, N) uint8, N even.
        views: (B, 12) float32 from ``draw``.
        form: the form wanted.
        partner: see ``fitted_windows``; not used if the form has a ``source_px``.

    Returns:
        (B, 2, form.size_px, form.size_px) float32 in 0..1, zero outside the cherry.
    """
    if form.source_px is None:
        windows = fitted_windows(crops, views, partner)
    else:
        windows = _centred(form.source_px / crops.shape[2], views)
    return render_windows(crops, views, windows, form.size_px)


def unchanged(crops: Tensor, form: Form) -> Tensor:
    """Bring (B, 2, N, N) uint8 crops into a form: (B, 2, form.size_px, form.size_px) float32 in 0..1.

    A fitted crop differs from what ``crop_from_image`` makes: by rounding at the edge of its cherry, and everywhere if
    the cherry is larger than ``size_px``, because it is sampled here and averaged there.
    """
    if form.source_px is None:
        same = torch.tensor([1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0], device=crops.device)
        return render(crops, same.repeat(len(crops), 1), form)
    small = middle(crops, form.source_px).float() / 255.0
    if form.size_px == form.source_px:
        return small
    return F.interpolate(small, size=(form.size_px, form.size_px), mode="bilinear", align_corners=False)


def render_windows(crops: Tensor, views: Tensor, windows: Tensor, out_px: int) -> Tensor:
    """Render one square window of each view.

    Args:
        crops: as for ``render``.
        views: as for ``render``.
        out_px: side of the result in pixels.
        windows: (B, 3) or (1, 3) float32: x and y of the window's centre, and half its side, in half sides of a crop.

    Returns:
        (B, 2, out_px, out_px) float32 in 0..1, zero outside the cherry.
    """
    pixels = crops.float()
    pixels = _sample(pixels * _mask(crops, views) / 255.0, views, windows, out_px)
    gain, gamma = views[:, 6:8].view(-1, 2, 1, 1), views[:, 8:10].view(-1, 2, 1, 1)
    lit = torch.exp(torch.log(pixels.clamp(min=1e-4)) * gamma) * gain
    return (lit * (pixels > 0)).clamp(0.0, 1.0)


def fitted_windows(crops: Tensor, views: Tensor, partner: Tensor | None = None) -> Tensor:
    """Return the smallest square window of each view that contains its cherry, centred on the cherry's box.

    A part of a view that lies outside the square of its crop is not looked for: of an enlarged view of a cherry of
    nearly N px the window can cut the edge. Views that are interpolated get up to ``SLACK`` more, with the cherry
    anywhere in it, because a box on a belt can contain a stem or a neighbour's edge.

    Args:
        crops: as for ``render``.
        views: as for ``render``.
        partner: (B / 2,) bool: True where view i and view B / 2 + i have one window, which contains both cherries.
            None: no view has a partner.

    Returns:
        (B, 3) float32 windows for ``render_windows``.
    """
    side = crops.shape[2]
    inside = _sample(_mask(crops, views).float(), views, _centred(1.0, views), side)[:, 0] >= 0.5
    edges = []
    for axis in (1, 2):  # columns, then rows
        there = inside.any(axis)
        first = torch.argmax(there.int(), 1)
        last = side - 1 - torch.argmax(there.flip(1).int(), 1)
        edges += [first.float(), last.float() + 1.0]
    left, right, top, bottom = edges
    if partner is not None:
        both = partner.repeat(2)
        left, top = (torch.where(both, torch.minimum(edge, _other(edge)), edge) for edge in (left, top))
        right, bottom = (torch.where(both, torch.maximum(edge, _other(edge)), edge) for edge in (right, bottom))
        views = torch.where(both[:, None], views[: len(partner)].repeat(2, 1), views)
    longer = torch.maximum(right - left, bottom - top)
    slack = longer * SLACK * views[:, 11]
    away = slack.unsqueeze(1) / 2.0 * views[:, 4:6] / Jitter().shift_px
    centre = torch.stack([left + right, top + bottom], 1) / 2.0 + away
    return torch.cat([centre * 2.0 / side - 1.0, ((longer + slack) / side).unsqueeze(1)], 1)


def _centred(half: float, views: Tensor) -> Tensor:
    """Return (1, 3) windows in the middle, made on the device: a CUDA graph must copy nothing from the host."""
    return torch.cat([views.new_zeros(1, 2), views.new_full((1, 1), half)], 1)


def _other(edge: Tensor) -> Tensor:
    first, second = edge.chunk(2)
    return torch.cat([second, first])


def _mask(crops: Tensor, views: Tensor) -> Tensor:
    level = views[:, 10].view(-1, 1, 1, 1).clamp(min=1.0)
    return (crops >= level).any(dim=1, keepdim=True)


def _sample(pixels: Tensor, views: Tensor, windows: Tensor, out_px: int) -> Tensor:
    turn = views[:, :4].view(-1, 2, 2)
    centre = torch.bmm(turn, windows[:, :2].expand(len(views), 2).unsqueeze(2))
    shift = (views[:, 4:6] * 2.0 / pixels.shape[2]).unsqueeze(2) + centre
    theta = torch.cat([turn * windows[:, 2].view(-1, 1, 1), shift], 2)
    grid = F.affine_grid(theta, [*pixels.shape[:2], out_px, out_px], align_corners=False)
    return F.grid_sample(pixels, grid, align_corners=False)


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
