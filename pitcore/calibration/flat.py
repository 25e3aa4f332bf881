"""Measures the grey level of the empty belt and the fall-off of the light across its width (``flat``). Does no IO.

The background is the grey level of the belt in each column, from many rows of many frames, because cherries move and
the belt does not. The fall-off cannot be measured on a dark belt, whose few grey levels are mostly the camera's black
level. It is measured on the cherries, which lie everywhere and are equally bright on average.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pitcore.calibration.belt import Views
from pitcore.config.calibration import GAIN_ONE
from pitcore.errors import CalibrationError
from pitcore.frame import Plane

ROW_STEP = 8  # every 8th row: neighbouring rows are alike, and a frame takes 3 ms
CELL_PX = 16  # cell size of the line watch
ZONE_PX = 120  # least width of a zone, two cherries; each zone gives the median of its cherries
MIN_ZONES, MAX_ZONES = 6, 16
MIN_IN_ZONE = 20  # different cherries: they differ by a third, so the error of a zone's median is 9 %
ZONES_A_DEGREE = 3.5  # zones for each degree of the fitted polynomial: degree 4 for a full-size belt, at least 2
EVEN_ENOUGH = 0.93  # share of the light in the darkest column above which no flat field is needed
SURE = 5.0  # least fall-off in standard errors of a zone; at the ends the error of a fit is twice as large
MAX_GAIN = 3.0
SPREAD = 4.0  # least half width in grey levels of the range around the median that counts as belt


class BeltProfile:
    """Collects histograms of the grey levels of every column of one plane.

    Args:
        width_px: width of the plane.
    """

    def __init__(self, width_px: int) -> None:
        self._counts = np.zeros((width_px, 256), np.int64)
        self._first = np.arange(width_px, dtype=np.int64) * 256

    def add(self, plane: Plane) -> None:
        """Add every 8th row of an (H, W) uint8 plane."""
        at = (self._first + plane[::ROW_STEP]).ravel()
        self._counts += np.bincount(at, minlength=self._counts.size).reshape(self._counts.shape)

    def levels(self) -> NDArray[np.float64]:
        """Return the (W,) mean grey level of the belt in each column, without cherries."""
        counts = self._counts
        middle = _quantile(counts, 0.5)
        below, above = middle - _quantile(counts, 0.25), _quantile(counts, 0.75) - middle
        deviation = np.minimum(below, above) / 0.6745  # cherries widen one side only
        grey = np.arange(256)
        near = np.abs(grey - middle[:, None]) <= np.maximum(SPREAD, 4.0 * deviation)[:, None]
        belt = counts * near
        return np.asarray((belt @ grey) / belt.sum(axis=1), np.float64)


def _quantile(counts: NDArray[np.int64], share: float) -> NDArray[np.int64]:
    """Return the quantile ``share`` of each row of (W, 256) counts, as a grey level."""
    sums = np.cumsum(counts, axis=1)
    return np.asarray((sums < share * sums[:, -1:]).sum(axis=1), np.int64)


def belt_level(levels: NDArray[np.float64]) -> float:
    """Return the grey level of the belt as the line watch measures it: the median of the means of cells."""
    count = len(levels) // CELL_PX
    return float(np.median(levels[: count * CELL_PX].reshape(count, CELL_PX).mean(axis=1)))


@dataclass(frozen=True, slots=True)
class Falloff:
    """The fall-off of the light across the belt.

    Attributes:
        zone_x_px, zone_level: (zones,) median column of the cherries in a zone, and the median of their mean grey
            levels.
        light: (W,) light in each column as a share of the brightest column's.
        error: standard error of a zone's share.
    """

    zone_x_px: NDArray[np.float64]
    zone_level: NDArray[np.float64]
    light: NDArray[np.float64]
    error: float

    @property
    def is_even(self) -> bool:
        """True if the fall-off is small, or not significant with these cherries; then no flat field is made."""
        darkest = float(self.light.min())
        return darkest > EVEN_ENOUGH or 1.0 - darkest < SURE * self.error


def falloff(
    x_px: NDArray[np.float64],
    means: NDArray[np.float64],
    width_px: int,
    views: Views,
    searched: slice | None = None,
) -> Falloff:
    """Fit the fall-off of the light to cherries.

    Args:
        x_px: (N,) columns of the cherries' middles, in each frame that shows them.
        means: (N,) mean grey levels of these sightings in one plane, uncorrected.
        width_px: width of the plane.
        views: measured frames, and how many of them show the same cherry: its sightings are not independent.
        searched: columns where cherries can be; None is all columns.

    Raises:
        CalibrationError: too few cherries in some part of the belt, or the light falls off beyond correction.
    """
    first, span = (0, width_px) if searched is None else (searched.start, searched.stop - searched.start)
    zones = min(max(span // ZONE_PX, MIN_ZONES), MAX_ZONES)
    zone = np.clip(((x_px - first) * zones / span).astype(int), 0, zones - 1)
    counts = np.bincount(zone, minlength=zones)
    poor = int(counts.argmin())
    cherries = counts[poor] / views.of_each
    if cherries < MIN_IN_ZONE:
        raise CalibrationError(
            f"flat: {views.frames} frames were measured: {cherries:.0f} cherries are between columns "
            f"{first + poor * span // zones} and {first + (poor + 1) * span // zones}, but {MIN_IN_ZONE} are needed; "
            "spread cherries over the whole width, or take more --frames"
        )
    middles = np.array([np.median(x_px[zone == number]) for number in range(zones)])
    levels = np.array([np.median(means[zone == number]) for number in range(zones)])
    degree = max(2, round(zones / ZONES_A_DEGREE) - 1)
    curve = np.polynomial.Polynomial.fit(middles, levels, degree, w=np.sqrt(counts))(np.arange(width_px))
    curve = np.clip(curve, levels.min() / 1.25, None)  # beyond the outermost zones a polynomial may fall steeply
    light = np.asarray(curve / curve.max(), np.float64)
    if light.min() * MAX_GAIN < 1.0:
        side = "left" if int(light.argmin()) < width_px / 2 else "right"
        raise CalibrationError(
            f"flat: only {light.min():.0%} of the light reaches the {side} side; fix or move the lamp, "
            f"a flat field corrects down to {1 / MAX_GAIN:.0%}"
        )
    scatter = [np.std(means[zone == number]) / levels[number] for number in range(zones)]
    error = (
        1.2533 * float(np.mean(scatter)) / float(np.sqrt(counts.mean() / views.of_each))
    )  # standard error of a median
    return Falloff(middles, levels, light, error)


def gains(light: NDArray[np.float64]) -> tuple[int, ...]:
    """Return the flat field for (W,) shares of light: a factor in 1/256 for each column."""
    return tuple(int(value) for value in np.rint(GAIN_ONE / light))
