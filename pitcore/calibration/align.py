"""Measures the shift of the second plane's picture relative to the first's (step ``align``). Does no IO.

The middle of a cherry's mask is at the same place in both planes, whatever its brightness. The median over many
cherries is accurate to a fraction of a pixel. Only whole pixels are applied: a fractional shift would cost a pass over
the frame, and the network was trained on crops that are aligned no better.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pitcore.calibration.belt import Views
from pitcore.errors import CalibrationError

MIN_CHERRIES = 30  # different cherries
MAX_SHIFT_PX = 64.0
SAME_AREA = 1.6  # largest ratio of the areas of one cherry's masks
MAX_SCATTER_PX = 4.0  # largest robust deviation between cherries; that of real masks is about 1

Centre = tuple[int, float, float]  # area in px, x, y


@dataclass(frozen=True, slots=True)
class Shift:
    """A measured shift.

    Attributes:
        dx_px, dy_px: shift of the second plane, right and down.
        error_px: the larger of their standard errors.
        cherries: number of measured cherries, each counted once.
    """

    dx_px: float
    dy_px: float
    error_px: float
    cherries: int

    @property
    def whole_px(self) -> tuple[int, int]:
        """The shift in whole pixels, which is applied."""
        return round(self.dx_px), round(self.dy_px)


def displacement(centres: Sequence[Centre]) -> tuple[float, float] | None:
    """Return (dx, dy) in px from the first mask's middle to the second's; None if the masks are not of one thing."""
    (area, x, y), (other_area, other_x, other_y) = centres[0], centres[1]
    if not area or not other_area or not 1 / SAME_AREA <= other_area / area <= SAME_AREA:
        return None
    return other_x - x, other_y - y


def shift_of(displacements: Sequence[tuple[float, float]], views: Views) -> Shift:
    """Return the median shift of the cherries.

    Args:
        displacements: (dx, dy) of each cherry in each frame that shows it, in px.
        views: measured frames, and how many of them show the same cherry.

    Raises:
        CalibrationError: there are too few cherries, they disagree, or the shift is too large.
    """
    count = int(len(displacements) / views.of_each)
    if count < MIN_CHERRIES:
        raise CalibrationError(
            f"align: {views.frames} frames were measured: {count} cherries are in both planes, but {MIN_CHERRIES} are "
            "needed; run the belt with cherries on it, or take more --frames"
        )
    points = np.asarray(displacements)
    middle = np.median(points, axis=0)
    scatter = float(1.4826 * np.median(np.abs(points - middle), axis=0).max())
    if scatter > MAX_SCATTER_PX:
        raise CalibrationError(
            f"align: the cherries disagree by {scatter:.1f} px; the cameras expose at different moments, or a lens "
            "is loose"
        )
    if np.abs(middle).max() > MAX_SHIFT_PX:
        raise CalibrationError(
            f"align: the planes are offset by ({middle[0]:z.0f}, {middle[1]:z.0f}) px, more than "
            f"{MAX_SHIFT_PX:g}; move the cameras closer to each other's picture first"
        )
    error_px = 1.2533 * scatter / count**0.5  # of a median
    return Shift(float(middle[0]), float(middle[1]), error_px, count)
