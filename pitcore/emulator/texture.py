"""Draws smooth random fields for skin, fibres and belt grain. Seeded; needs only NumPy."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pitcore.emulator.seeds import Stream, generator

Field = NDArray[np.float32]

_TILE_PX = 512  # fields are cut from tiles of this size, drawn once: much faster than a new field for each cherry


def _spline(length: int, cell_px: float) -> Field:
    """Return the (length, knots) matrix that interpolates knots ``cell_px`` apart with cubic B-splines."""
    at = np.arange(length, dtype=np.float32) / np.float32(cell_px)
    knots = int(at[-1]) + 4
    distance = np.abs(at[:, None] - (np.arange(knots, dtype=np.float32)[None, :] - 1.0))
    near = 2.0 / 3.0 - distance**2 + distance**3 / 2.0
    far = np.clip(2.0 - distance, 0.0, None) ** 3 / 6.0
    return np.asarray(np.where(distance < 1.0, near, far), np.float32)


def smooth_line(rng: np.random.Generator, length: int, cell_px: float) -> Field:
    """Return a (length,) float32 line of mean 0 and deviation about 1 that varies over ``cell_px`` pixels."""
    spline = _spline(length, cell_px)
    # A cubic B-spline shrinks white noise to a deviation of 0.692 along an axis, on average.
    return np.asarray(spline @ rng.standard_normal(spline.shape[1], dtype=np.float32) / 0.692, np.float32)


@lru_cache(maxsize=32)
def _tile(cells_px: tuple[float, ...]) -> Field:
    """Return the (512, 512) sum of fields at these scales, of deviation 1; equal in every process."""
    total = np.zeros((_TILE_PX, _TILE_PX), np.float32)
    for number, cell_px in enumerate(cells_px):
        rng = generator(0, Stream.TEXTURE, number, round(cell_px * 1000))
        spline = _spline(_TILE_PX, cell_px)
        knots = rng.standard_normal((spline.shape[1], spline.shape[1]), dtype=np.float32)
        field = spline @ knots @ spline.T
        total += field / field.std()
    return np.asarray(total / total.std(), np.float32)


def noise(rng: np.random.Generator, shape: tuple[int, int], *cells_px: float) -> Field:
    """Return an (H, W) float32 field of mean about 0 and deviation about 1.

    Args:
        rng: chooses the part of the tile and its orientation.
        shape: (H, W), at most 512 each.
        cells_px: the scales over which the field varies, in pixels, each with the same weight.
    """
    y, x = rng.integers(0, _TILE_PX - shape[0] + 1), rng.integers(0, _TILE_PX - shape[1] + 1)
    window = _tile(cells_px)[y : y + shape[0], x : x + shape[1]]
    turn = int(rng.integers(4))
    return window[:: 1 - 2 * (turn & 1), :: 1 - (turn & 2)]


def periodic_grain(rng: np.random.Generator, shape: tuple[int, int]) -> Field:
    """Return a periodic (H, W) float32 field of deviation 1: opposite edges fit together."""
    field = rng.standard_normal(shape, dtype=np.float32)
    for step_px in (1, 2):
        for axis in (0, 1):
            field = field + 0.7 * (np.roll(field, step_px, axis) + np.roll(field, -step_px, axis))
    return np.asarray(field / field.std(), np.float32)
