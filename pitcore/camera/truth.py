"""Describes the true objects on the emulated belt, with which verdicts are compared.

Coordinates. Columns and rows are measured from the outer edge of the frame's first pixel, so pixel ``i`` covers
``[i, i+1)``. Along the belt a point has a constant position in pixels; at encoder tick ``T`` it is at row
``T * px_per_tick - position``. New cherries come in at row 0 and have the larger positions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle of whole pixels: columns ``x_px .. x_px+width_px-1``, rows ``y_px .. y_px+height_px-1``."""

    x_px: int
    y_px: int
    width_px: int
    height_px: int


@dataclass(frozen=True, slots=True)
class Truth:
    """One object on the belt.

    Attributes:
        id: unique along the belt, also when a belt loop repeats.
        kind: ``cherry`` or ``foreign``.
        label: ``clean`` or ``pit``; empty for foreign objects.
        x_px: column of the body's middle. May be outside the frame if ``cut_lateral``.
        belt_px: position of the body's middle along the belt, see the module's docstring.
        width_px, height_px: size of the whole body: the pixels of at least 20 of 255 in either plane; for a real crop
            its non-zero pixels.
        touching: the same number for all objects that touch each other, or None.
        cut_lateral: True if a side edge of the frame cuts the body.
        pit_visibility: 0 (no pit, or no plane shows it) to 1; 1 for real crops with a pit.
        path: path of the real crop below its folder, or None.
        hash: hash of the real crop's pixels, see ``crops.crop_hash``, or None.
    """

    id: int
    kind: str
    label: str
    x_px: float
    belt_px: float
    width_px: int
    height_px: int
    touching: int | None = None
    cut_lateral: bool = False
    pit_visibility: float = 0.0
    path: str | None = None
    hash: str | None = None

    def row_px(self, tick: int, px_per_tick: float) -> float:
        """Return the row of the body's middle at an encoder tick; outside 0..height if the middle is not in view."""
        return tick * px_per_tick - self.belt_px

    def box(self, tick: int, px_per_tick: float) -> Box:
        """Return the body's box in whole pixels at an encoder tick; parts of it may be outside the frame."""
        # Rounded down like the frame's own rows; the small addend corrects scales that are not binary fractions.
        y_px = math.floor(self.row_px(tick, px_per_tick) - self.height_px / 2 + 5e-4)
        return Box(round(self.x_px - self.width_px / 2), y_px, self.width_px, self.height_px)
