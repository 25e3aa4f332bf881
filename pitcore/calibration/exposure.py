"""Finds the exposure that makes cherries as bright as the training crops, with hardly any clipping. Does no IO.

The bright level of a plane is the 90th percentile of its foreground, in the quarter of the belt that gets most light;
the flat field raises the others to it. Sensors are linear, so one step computes the needed product of time and gain. A
clipped picture does not show how much too bright it is, so its exposure is halved until it no longer clips.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pitcore.camera.source import Exposure, ExposureLimits
from pitcore.errors import CalibrationError
from pitcore.frame import Plane

# 90th percentiles of the grey levels of every 4th of the 3,676 real crops that the default model was trained on:
# reflected light, and light through the cherry.
TARGETS = {"top": 156.0, "bottom": 210.0}
OTHER_TARGET = 180.0  # for a plane with another name
BRIGHT_SHARE = 0.9
CLIPPED_LEVEL = 254  # brightest pixel of the real cameras
MAX_CLIPPED = 0.05  # share of the foreground; 0.4 % in the bottom planes of the real crops
TOLERANCE = 0.05  # share of the target; groups of a hundred cherries differ by as much
ZONES = 4  # across the belt
MIN_FOREGROUND_PX = 12_000  # in a zone, about five cherries


@dataclass(frozen=True, slots=True)
class Brightness:
    """Brightness of the cherries in one plane.

    Attributes:
        level: 90th percentile of the foreground's grey levels in the brightest zone.
        clipped: share of that foreground that is clipped.
    """

    level: float
    clipped: float


def add_histogram(histogram: NDArray[np.int64], plane: Plane) -> None:
    """Add the grey levels of the (H, W) plane's zones to a (ZONES, 256) histogram."""
    edges = [plane.shape[1] * zone // ZONES for zone in range(ZONES + 1)]
    for zone, (left, right) in enumerate(pairwise(edges)):
        histogram[zone] += np.bincount(plane[:, left:right].ravel(), minlength=256)


def brightness(histogram: NDArray[np.int64], first_level: int) -> Brightness:
    """Measure the pixels of at least ``first_level`` in a (ZONES, 256) histogram.

    Raises:
        CalibrationError: there are too few such pixels.
    """
    totals = histogram[:, first_level:].sum(axis=1)
    if totals.max() < MIN_FOREGROUND_PX:
        raise CalibrationError(
            f"exposure: {totals.max()} px of cherries in the fullest quarter of the belt, but {MIN_FOREGROUND_PX} "
            "are needed; run the belt with cherries on it, or take more --frames"
        )
    zones = [_of_zone(row, first_level, int(total)) for row, total in zip(histogram, totals, strict=True)]
    return max((one for one, total in zip(zones, totals, strict=True) if total >= MIN_FOREGROUND_PX), key=_level)


def _of_zone(row: NDArray[np.int64], first_level: int, total: int) -> Brightness:
    level = first_level + int(np.searchsorted(np.cumsum(row[first_level:]), BRIGHT_SHARE * total))
    return Brightness(float(level), float(row[CLIPPED_LEVEL:].sum() / max(1, total)))


def _level(one: Brightness) -> float:
    return one.level


def is_reached(seen: Sequence[Brightness], targets: Sequence[float]) -> bool:
    """Return True if the planes of one camera, which share one exposure, are as bright as possible.

    That is: one plane reaches its target, and none is brighter than its target or clipped.
    """
    pairs = list(zip(seen, targets, strict=True))
    if any(one.clipped > MAX_CLIPPED or one.level > (1.0 + TOLERANCE) * target for one, target in pairs):
        return False
    return any(one.level >= (1.0 - TOLERANCE) * target for one, target in pairs)


def next_exposure(now: Exposure, seen: Brightness, target: float, limits: ExposureLimits) -> Exposure:
    """Return the exposure to try next. Raises the gain, which adds noise, only if the time is at its limit.

    Raises:
        CalibrationError: the needed exposure is outside the camera's limits.
    """
    factor = 0.5 if seen.clipped > MAX_CLIPPED and seen.level >= CLIPPED_LEVEL else target / seen.level
    if seen.clipped > MAX_CLIPPED:
        factor = min(factor, 0.93)
    product = now.exposure_us * now.gain * factor
    exposure_us = min(max(product, limits.min_us), limits.max_us)
    gain = max(1.0, product / exposure_us)
    if product < limits.min_us or gain > limits.max_gain:
        fix = "dim the lamp or close the lens" if product < limits.min_us else "more light, or a wider lens"
        raise CalibrationError(
            f"exposure: {product:.0f} us would be needed, the camera gives {limits.min_us:g} to {limits.max_us:g} us "
            f"at a gain of up to {limits.max_gain:g}; {fix}"
        )
    return Exposure(round(exposure_us, 1), round(gain, 3))
