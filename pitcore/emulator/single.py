"""Renders single labelled crops of procedural cherries in the format of the real data set.

For golden vectors, pre-training and tests. A crop depends only on (seed, index).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pitcore.emulator.cherry import render_cherry
from pitcore.emulator.patch import brightest, extent, touching_offset
from pitcore.emulator.seeds import Stream, generator

SIDE_PX = 128
MASK_CELLS = 28  # the masks of the real crops have a resolution of about 28 cells for each side of the box


def render_crop(seed: int, index: int) -> tuple[NDArray[np.uint8], int]:
    """Render crop number ``index`` of ``seed``; even ones are clean, odd ones hold a pit.

    Returns:
        pixels: (128, 128, 2) uint8, top then bottom, masked, centred, zero outside the mask.
        label: 0 clean, 1 pit.
    """
    rng = generator(seed, Stream.CROP, index)
    label = index % 2
    cherry = render_cherry(rng, label)
    pixels = cherry.patch.pixels
    if rng.random() < 0.05:
        pixels = _with_neighbour(rng, pixels, label)
    return _centred(_masked(rng, pixels)), label


def _with_neighbour(rng: np.random.Generator, pixels: NDArray[np.uint8], label: int) -> NDArray[np.uint8]:
    """Return the cherry with a second one that touches it. The second may have a pit only if the first has one."""
    from_one = render_cherry(rng, int(label and rng.random() < 0.5)).patch
    return joined(pixels, from_one.pixels, float(rng.uniform(0.0, 2 * np.pi)))


def joined(first: NDArray[np.uint8], second: NDArray[np.uint8], angle_rad: float) -> NDArray[np.uint8]:
    """Return two (h, w, 2) patches as one; the second touches the first in direction ``angle_rad``."""
    dx, dy = touching_offset(first, second, angle_rad)
    left, top = min(dx, 0), min(dy, 0)
    width_px = max(first.shape[1], dx + second.shape[1]) - left
    height_px = max(first.shape[0], dy + second.shape[0]) - top
    both = np.zeros((height_px, width_px, 2), np.uint8)
    both[-top : first.shape[0] - top, -left : first.shape[1] - left] = first
    there = both[dy - top : dy - top + second.shape[0], dx - left : dx - left + second.shape[1]]
    np.maximum(there, second, out=there)
    return both


def _masked(rng: np.random.Generator, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Cut out like the real crops: by a tight box, multiplied by a coarse mask with a soft edge."""
    level = rng.uniform(30.0, 70.0)
    box = extent(brightest(pixels) >= level)
    inset = rng.integers(0, 5, 4)
    rows = slice(box.y_px + inset[0], box.y_px + max(box.height_px - inset[1], inset[0] + 8))
    columns = slice(box.x_px + inset[2], box.x_px + max(box.width_px - inset[3], inset[2] + 8))
    cut = pixels[rows, columns]
    body = (brightest(cut) >= level).astype(np.float64)
    weight = _coarse(cut.shape[0]) @ body @ _coarse(cut.shape[1]).T
    return np.asarray(np.rint(cut * weight[:, :, None]), np.uint8)


@lru_cache(maxsize=256)
def _coarse(length: int) -> NDArray[np.float64]:
    """Return the (length, length) matrix that averages an axis to ``MASK_CELLS`` and interpolates it again.

    In double precision, so that a machine's order of summation does not change a rounded pixel.
    """
    at = (np.arange(length) + 0.5) * (MASK_CELLS / length) - 0.5
    away = np.abs(at[:, None] - np.arange(MASK_CELLS))
    up, down = np.clip(1.0 - away, 0.0, None), np.clip(2.0 - away, 0.0, None)
    return np.asarray(up / up.sum(axis=1, keepdims=True) @ (down / down.sum(axis=0)).T, np.float64)


def _centred(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the pixels centred in a 128 px square; larger pictures lose their rim."""
    rows, columns = min(pixels.shape[0], SIDE_PX), min(pixels.shape[1], SIDE_PX)
    y, x = (pixels.shape[0] - rows) // 2, (pixels.shape[1] - columns) // 2
    crop = np.zeros((SIDE_PX, SIDE_PX, 2), np.uint8)
    top, left = (SIDE_PX - rows) // 2, (SIDE_PX - columns) // 2
    crop[top : top + rows, left : left + columns] = pixels[y : y + rows, x : x + columns]
    return crop
