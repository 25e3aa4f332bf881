"""Single labelled crops from the procedural cherries, in the shape of the real data set.

For golden vectors, pre-training and tests. A crop depends on (seed, index) alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pitcore.camera.cherry import render_cherry
from pitcore.camera.patch import brightest, extent, touching_offset
from pitcore.camera.seeds import Stream, generator

SIDE_PX = 128


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
    """Return the cherry with another that touches it; the other holds a pit only if this one does."""
    from_one = render_cherry(rng, int(label and rng.random() < 0.5)).patch
    return joined(pixels, from_one.pixels, float(rng.uniform(0.0, 2 * np.pi)))


def joined(first: NDArray[np.uint8], second: NDArray[np.uint8], angle_rad: float) -> NDArray[np.uint8]:
    """Return two (h, w, 2) patches as one, the second touching the first in the given direction."""
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
    """Cut the way the line does: a tight box with some corners taken off, in which the soft edge stays."""
    level = rng.uniform(22.0, 70.0)
    box = extent(brightest(pixels) >= level)
    cut = pixels[box.y_px : box.y_px + box.height_px, box.x_px : box.x_px + box.width_px]
    rows, columns = cut.shape[:2]
    y, x = np.arange(rows)[:, None], np.arange(columns)[None, :]
    keep = brightest(cut) > 0
    for down, right in ((y, x), (y, columns - 1 - x), (rows - 1 - y, x), (rows - 1 - y, columns - 1 - x)):
        if rng.random() < 0.6:
            keep &= down + right >= rng.uniform(2.0, 0.3 * min(rows, columns))
    return np.asarray(np.where(keep[:, :, None], cut, 0), np.uint8)


def _centred(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the pixels in the middle of a 128 px square; what is larger loses its rim."""
    rows, columns = min(pixels.shape[0], SIDE_PX), min(pixels.shape[1], SIDE_PX)
    y, x = (pixels.shape[0] - rows) // 2, (pixels.shape[1] - columns) // 2
    crop = np.zeros((SIDE_PX, SIDE_PX, 2), np.uint8)
    top, left = (SIDE_PX - rows) // 2, (SIDE_PX - columns) // 2
    crop[top : top + rows, left : left + columns] = pixels[y : y + rows, x : x + columns]
    return crop
