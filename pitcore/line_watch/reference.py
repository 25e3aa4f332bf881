"""Compares the brightness of each reference strip in every frame with its calibrated brightness.

A strip of white tape does not move and is much brighter than the noise, so a failing lamp is detected within a few
frames, even over a black, empty belt. A dirty or covered strip looks the same, and raises an alarm too.
"""

from __future__ import annotations

from dataclasses import dataclass

from pitcore.calibration.strip import level_of
from pitcore.config import Config, ReferenceConfig
from pitcore.config.safety import DARKEST, belt_levels
from pitcore.frame import Frame

BACK = 0.03  # hysteresis: an alarm goes off this share inside its bound


@dataclass(frozen=True, slots=True)
class _Watched:
    """A calibrated strip.

    Attributes:
        strip: the strip's configuration.
        plane: number of its plane.
        level: its grey level at calibration.
        is_only_witness: True if the empty belt in this plane is too dark to show whether the lamp is on.
    """

    strip: ReferenceConfig
    plane: int
    level: float
    is_only_witness: bool


class ReferenceCheck:
    """Follows the calibrated strips.

    Args:
        config: configuration of the board, with its calibration.
    """

    def __init__(self, config: Config) -> None:
        self._rules, values, names = config.line, config.calibration.values, config.frame.planes
        self._watched: list[_Watched] = []
        for strip in config.line.reference:
            level = None if values is None else values.planes[strip.plane].strip_level
            if level:
                plane = names.index(strip.plane)
                self._watched.append(_Watched(strip, plane, level, belt_levels(config)[plane] < DARKEST))
        self._shares: list[float] = []
        self._off_detail = self._detail = ""

    @property
    def is_watched(self) -> bool:
        """True if there is any calibrated strip."""
        return bool(self._watched)

    def look(self, frame: Frame) -> None:
        """Measure the strips in a frame as the source gave it. A damaged frame is not measured."""
        whole = () if any(frame.damage) else self._watched
        self._shares = [level_of(frame.planes[one.plane], one.strip) / one.level for one in whole]

    def off(self) -> bool | None:
        """Return True if a strip has no light in a plane whose belt is too dark to show it; None if not measured."""
        shares = [(share, one) for share, one in zip(self._shares, self._watched, strict=False) if one.is_only_witness]
        if not shares:  # a damaged frame, or no such strip
            return None
        share, worst = min(shares, key=lambda pair: pair[0])
        if share >= self._rules.light_off:
            return False
        self._off_detail = (
            f"plane {worst.strip.plane}: no light, the reference strip is at {share:.0%} of its calibrated level; "
            "check the lamp, its supply and its cable, and whether something covers the strip"
        )
        return True

    def describe_off(self) -> str:
        """Return what ``off`` found, and what to do."""
        return self._off_detail

    def changed(self) -> bool | None:
        """Return True if a strip is darker or brighter than allowed; None if not measured or near the bound."""
        low, high = self._rules.light_low, self._rules.light_high
        if not self._shares:
            return None
        share, worst = max(zip(self._shares, self._watched, strict=True), key=lambda pair: abs(pair[0] - 1.0))
        if low <= share <= high:
            return False if low + BACK <= share <= high - BACK else None
        fix = (
            "clean the strip, see that nothing covers it, then check the lamp"
            if share < low
            else "keep other light out, see whether strip or camera were moved"
        )
        self._detail = (
            f"plane {worst.strip.plane}: the reference strip is at {share:.0%} of its calibrated level; {fix}; then "
            "run 'pitcore calibrate exposure' and 'flat'"
        )
        return True

    def describe(self) -> str:
        """Return what ``changed`` found, and what to do."""
        return self._detail
