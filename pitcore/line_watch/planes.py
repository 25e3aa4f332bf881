"""Checks that both planes show the same place: compares the two masks of single things."""

from __future__ import annotations

from collections.abc import Sequence

from pitcore.calibration.align import displacement
from pitcore.frame import Plane
from pitcore.preprocess.prepare import Preparer

STEP_PX = 0.5  # step of the running median of the shift, for each thing
BACK = 0.7  # hysteresis: the alarm goes off below this share of its bound


class PlanesCheck:
    """Follows the shift between two planes.

    Args:
        bound_px: largest allowed shift, right or down, in pixels.
    """

    def __init__(self, bound_px: float) -> None:
        self._bound = bound_px
        self._shift = [0.0, 0.0]
        self._turn = 0
        self._fresh = False

    def add(self, planes: Sequence[Plane], preparer: Preparer, border: Sequence[int]) -> None:
        """Measure one thing of a searched frame, another one each time; a thing that an edge cuts is ignored."""
        self._turn += 1
        if not border or border[self._turn % len(border)]:
            return
        apart = displacement(preparer.mask_centres(planes, self._turn % len(border)))
        if apart is None:
            return
        self._fresh = True
        for axis, distance in enumerate(apart):
            self._shift[axis] += min(max(distance - self._shift[axis], -STEP_PX), STEP_PX)

    def misaligned(self) -> bool | None:
        """Return True if the shift is too large; None near the bound or without a new measurement."""
        if not self._fresh:
            return None
        self._fresh = False
        worst = max(map(abs, self._shift))
        return None if BACK * self._bound <= worst <= self._bound else worst > self._bound

    def describe(self) -> str:
        """Return what was measured, and what to do."""
        dx, dy = self._shift
        return (
            f"the planes are offset by ({dx:+z.1f}, {dy:+z.1f}) px; check that no camera was moved, then run "
            "'pitcore calibrate align'"
        )
