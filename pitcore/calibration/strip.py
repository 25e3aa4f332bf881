"""Reference strips: how bright one is, and whether it is good enough to tell a lamp by. Rules only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pitcore.config import ReferenceConfig
from pitcore.errors import CalibrationError
from pitcore.frame import Plane

ROW_STEP = 4  # every 4th row: a strip of the reference frame still has thousands of pixels
BLOCKS = 8  # along a strip
UNEVEN = 0.3  # share by which its darkest block may lie below the brightest
DARKEST, BRIGHTEST = 40.0, 235.0  # grey levels: below it does not stand out, above it may be clipped, and hide a change
CLIPPED_LEVEL = 254
MAX_CLIPPED = 0.01


def level_of(plane: Plane, strip: ReferenceConfig) -> float:
    """Return the mean grey level of a strip in an (H, W) plane."""
    return float(plane[strip.rows(plane.shape[0]), strip.columns][::ROW_STEP].mean())


class StripLevel:
    """Measures one strip over many frames.

    Args:
        strip: where it is.
    """

    def __init__(self, strip: ReferenceConfig) -> None:
        self._strip = strip
        self._blocks: list[list[float]] = []
        self._clipped = 0.0

    def add(self, plane: Plane) -> None:
        """Look at an (H, W) plane."""
        pixels: NDArray[np.uint8] = plane[self._strip.rows(plane.shape[0]), self._strip.columns]
        self._blocks.append([float(block.mean()) for block in np.array_split(pixels, BLOCKS)])
        self._clipped += float((pixels >= CLIPPED_LEVEL).mean())

    def level(self) -> float:
        """Return its mean grey level.

        Raises:
            CalibrationError: nothing bright and even lies there, or it is so bright that a change would not show.
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
