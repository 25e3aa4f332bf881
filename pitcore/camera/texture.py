"""Smooth random fields: skin, fibres and belt grain are made of them. Seeded, and no more than NumPy."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]


@lru_cache(maxsize=512)
def _spline(length: int, cell_px: float) -> Field:
    """Return the (length, knots) matrix that interpolates knots every ``cell_px`` with cubic B-splines."""
    at = np.arange(length, dtype=np.float64) / cell_px
    knots = int(at[-1]) + 4
    distance = np.abs(at[:, None] - (np.arange(knots)[None, :] - 1.0))
    near = 2.0 / 3.0 - distance**2 + distance**3 / 2.0
    far = np.clip(2.0 - distance, 0.0, None) ** 3 / 6.0
    return np.asarray(np.where(distance < 1.0, near, far), np.float32)


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], cell_px: float) -> Field:
    """Return an (H, W) float32 field of mean 0 and deviation about 1 that varies over ``cell_px`` pixels."""
    rows, columns = _spline(shape[0], cell_px), _spline(shape[1], cell_px)
    knots = rng.standard_normal((rows.shape[1], columns.shape[1]), dtype=np.float32)
    # A cubic B-spline shrinks white noise to a deviation of 0.479 along each of the two axes, on average.
    return np.asarray(rows @ knots @ columns.T / np.float32(0.479), np.float32)


def fractal_noise(rng: np.random.Generator, shape: tuple[int, int], cells_px: tuple[float, ...]) -> Field:
    """Return the sum of ``smooth_noise`` over several cell sizes, each with the same weight, deviation about 1."""
    total = np.zeros(shape, np.float32)
    for cell_px in cells_px:
        total += smooth_noise(rng, shape, cell_px)
    return total / np.float32(np.sqrt(len(cells_px)))
