"""Measures the brightness of a reference strip, and checks that a lamp can be judged by it. Does no IO."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pitcore.config import ReferenceConfig
from pitcore.errors import CalibrationError
from pitcore.frame import Plane

ROW_STEP = 4  # every 4th row: a strip of the reference frame still has thousands of pixels
BLOCKS = 8  # blocks along a strip
UNEVEN = 0.3  # largest relative difference of the darkest block from the brightest
DARKEST, BRIGHTEST = 40.0, 235.0  # grey levels; below, it is too similar to the belt; above, it may be clipped
CLIPPED_LEVEL = 254
MAX_CLIPPED = 0.01


def level_of(plane: Plane, strip: ReferenceConfig) -> float:
    """Return the mean grey level of a strip in an (H, W) plane."""
    return float(plane[strip.rows(plane.shape[0]), strip.columns][::ROW_STEP].mean())


class StripLevel:
    """Measures one strip over many frames.

    Args:
        strip: plane and place of the strip.
    """

    def __init__(self, strip: ReferenceConfig) -> None:
        self._strip = strip
        self._blocks: list[list[float]] = []
        self._clipped = 0.0

    def add(self, plane: Plane) -> None:
        """Measure the strip in an (H, W) uint8 plane."""
        pixels: NDArray[np.uint8] = plane[self._strip.rows(plane.shape[0]), self._strip.columns]
        self._blocks.append([float(block.mean()) for block in np.array_split(pixels, BLOCKS)])
        self._clipped += float((pixels >= CLIPPED_LEVEL).mean())

    def level(self) -> float:
        """Return the mean grey level of the strip.

        Raises:
            CalibrationError: the strip is too dark, uneven, or so bright that a change would not be visible.
        """
        blocks = np.mean(self._blocks, axis=0)
        level, darkest, brightest = float(blocks.mean()), float(blocks.min()), float(blocks.max())
        where = f"flat: the reference strip of plane {self._strip.plane}, columns {self._strip.x_px}"
        if level < DARKEST:
            raise CalibrationError(
                f"{where}, is at {level:.0f} grey levels, at least {DARKEST:g} are needed: no white tape lies there; "
                "correct [[line.reference]] x_px"
            )
        if level > BRIGHTEST or self._clipped > MAX_CLIPPED * len(self._blocks):
            raise CalibrationError(
                f"{where}, is overexposed ({level:.0f} grey levels): a lamp that fades would not show; use grey tape, "
                "or more layers of it"
            )
        if darkest < (1.0 - UNEVEN) * brightest:
            raise CalibrationError(
                f"{where}, is uneven ({darkest:.0f} to {brightest:.0f} grey levels along it): clean it, or set y_px to "
                "the rows that it covers"
            )
        return level
