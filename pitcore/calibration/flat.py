"""Flat: what the empty belt looks like across its width, and how far the lamp falls off over it. Rules only.

The background is the belt's own grey level, column by column, from many rows of many frames: cherries pass, the belt
stays. The fall-off cannot be had from a dark belt, whose few grey levels are mostly the camera's black; it is had from
the cherries themselves, which lie everywhere and are alike on average.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pitcore.config.calibration import GAIN_ONE
from pitcore.errors import CalibrationError
from pitcore.frame import Plane

ROW_STEP = 8  # every 8th row: neighbours tell the same, and a frame is looked at in 3 ms
CELL_PX = 16  # as the line watch sums the belt
ZONE_PX = 120  # across the belt, at least; in each zone the median cherry is taken. Two cherries wide
MIN_ZONES, MAX_ZONES = 6, 16
MIN_IN_ZONE = 40  # sightings: cherries differ by a third from each other, so that a zone's median is good to 6 %
ZONES_A_DEGREE = 3.5  # the polynomial through the zones is smooth: of degree 4 over a full-size belt, at least 2
EVEN_ENOUGH = 0.93  # share of the light; above, a flat field would correct little
SURE = 5.0  # standard errors of a zone by which a fall-off must stand out: at its ends a fit is half as good
MAX_GAIN = 3.0
SPREAD = 4.0  # grey levels round the median that count as belt, besides four deviations


class BeltProfile:
    """Collects the grey levels of every column of one plane.

    Args:
        width_px: of the plane.
    """

    def __init__(self, width_px: int) -> None:
        self._counts = np.zeros((width_px, 256), np.int64)
        self._first = np.arange(width_px, dtype=np.int64) * 256

    def add(self, plane: Plane) -> None:
        """Look at an (H, W) plane."""
        at = (self._first + plane[::ROW_STEP]).ravel()
        self._counts += np.bincount(at, minlength=self._counts.size).reshape(self._counts.shape)

    def levels(self) -> NDArray[np.float64]:
        """Return the (W,) mean grey level of the belt in each column, cherries left out."""
        counts = self._counts
        middle = _quantile(counts, 0.5)
        below, above = middle - _quantile(counts, 0.25), _quantile(counts, 0.75) - middle
        deviation = np.minimum(below, above) / 0.6745  # cherries widen one side only
        grey = np.arange(256)
        near = np.abs(grey - middle[:, None]) <= np.maximum(SPREAD, 4.0 * deviation)[:, None]
        belt = counts * near
        return np.asarray((belt @ grey) / belt.sum(axis=1), np.float64)


def _quantile(counts: NDArray[np.int64], share: float) -> NDArray[np.int64]:
    """Return the level below which a share of each row's counts lies."""
    sums = np.cumsum(counts, axis=1)
    return np.asarray((sums < share * sums[:, -1:]).sum(axis=1), np.int64)


def belt_level(levels: NDArray[np.float64]) -> float:
    """Return the belt's level as the line watch measures it: the median cell's mean."""
    count = len(levels) // CELL_PX
    return float(np.median(levels[: count * CELL_PX].reshape(count, CELL_PX).mean(axis=1)))


@dataclass(frozen=True, slots=True)
class Falloff:
    """How the light goes down across the belt.

    Attributes:
        zone_x_px, zone_level: (zones,) where cherries were measured, and the median of their mean grey levels.
        light: (W,) share of the brightest column's light.
        error: standard error of a zone's share.
    """

    zone_x_px: NDArray[np.float64]
    zone_level: NDArray[np.float64]
    light: NDArray[np.float64]
    error: float

    @property
    def is_even(self) -> bool:
        """Whether nothing needs to be corrected, or can be with these cherries."""
        darkest = float(self.light.min())
        return darkest > EVEN_ENOUGH or 1.0 - darkest < SURE * self.error


def falloff(
    x_px: NDArray[np.float64], means: NDArray[np.float64], width_px: int, searched: slice | None = None
) -> Falloff:
    """Fit the fall-off to cherries.

    Args:
        x_px: (N,) their middles.
        means: (N,) their mean grey levels in one plane, uncorrected.
        width_px: of the plane.
        searched: its columns where cherries can be; None is all of them.

    Raises:
        CalibrationError: too few cherries in some part of the belt, or the light falls off beyond correction.
    """
    first, span = (0, width_px) if searched is None else (searched.start, searched.stop - searched.start)
    zones = min(max(span // ZONE_PX, MIN_ZONES), MAX_ZONES)
    zone = np.clip(((x_px - first) * zones / span).astype(int), 0, zones - 1)
    counts = np.bincount(zone, minlength=zones)
    if counts.min() < MIN_IN_ZONE:
        poor = int(counts.argmin())
        raise CalibrationError(
            f"flat: {counts[poor]} cherries between columns {first + poor * span // zones} and "
            f"{first + (poor + 1) * span // zones}, but {MIN_IN_ZONE} are needed; spread cherries over the "
            "whole width, "
            "or take more --frames"
        )
    middles = np.array([np.median(x_px[zone == number]) for number in range(zones)])
    levels = np.array([np.median(means[zone == number]) for number in range(zones)])
    degree = max(2, round(zones / ZONES_A_DEGREE) - 1)
    curve = np.polynomial.Polynomial.fit(middles, levels, degree, w=np.sqrt(counts))(np.arange(width_px))
    curve = np.clip(curve, levels.min() / 1.25, None)  # beyond the outermost zones a polynomial may dive
    light = np.asarray(curve / curve.max(), np.float64)
    if light.min() * MAX_GAIN < 1.0:
        side = "left" if int(light.argmin()) < width_px / 2 else "right"
        raise CalibrationError(
            f"flat: only {light.min():.0%} of the light reaches the {side} side; fix or move the lamp, "
            f"a flat field corrects down to {1 / MAX_GAIN:.0%}"
        )
    scatter = [np.std(means[zone == number]) / levels[number] for number in range(zones)]
    # of a median; a cherry is sighted about twice
    error = 1.2533 * float(np.mean(scatter)) / float(np.sqrt(counts.mean() / 2))
    return Falloff(middles, levels, light, error)


def gains(light: NDArray[np.float64]) -> tuple[int, ...]:
    """Return the flat field of a fall-off: a factor in 1/256 for each column."""
    return tuple(int(value) for value in np.rint(GAIN_ONE / light))
