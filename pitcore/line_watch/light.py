"""Detects missing, low and excessive light: compares the empty belt and the cherries with their calibrated levels."""

from __future__ import annotations

from collections.abc import Sequence

from pitcore.config import Config
from pitcore.config.safety import DARKEST, belt_levels

SMOOTHING = 0.1  # of the belt's level: about the last 20 frames (one second), every other one of which is measured
CHERRIES = 300.0  # number of cherries in the running mean, so that a few ripe ones have little influence
MIN_CHERRIES = 200  # cherries before the first result
BACK = 0.05  # hysteresis: an alarm goes off this share inside its bound


class LightCheck:
    """Follows the light of each plane.

    Args:
        config: configuration of the board. Its calibration is the reference; without one only missing light is
            detected, by the configured background.
    """

    def __init__(self, config: Config) -> None:
        rules, values, names = config.line, config.calibration.values, config.frame.planes
        self._names, self._rules = names, rules
        planes = [None if values is None else values.planes[name] for name in names]
        self._calibrated = [None if plane is None else plane.belt_level for plane in planes]
        self._cherry_reference = [None if plane is None else plane.cherry_level for plane in planes]
        self._reference = belt_levels(config)
        self._belt: list[float] = []
        self._cherries = [0.0] * len(names)
        self._weight = 0.0
        self._seen = 0
        self._levels: Sequence[float] = ()
        self._black = False
        self._detail = ""

    @property
    def is_calibrated(self) -> bool:
        """True if there is a calibrated level of the belt or of the cherries."""
        return any(level is not None for level in (*self._calibrated, *self._cherry_reference))

    def add_belt(self, levels: Sequence[float]) -> None:
        """Take the grey level of the empty belt in each plane of a frame."""
        self._levels = levels
        if not self._belt:
            self._belt = list(levels)
        for plane, level in enumerate(levels):
            self._belt[plane] += SMOOTHING * (level - self._belt[plane])

    def add_cherries(self, cherries: Sequence[Sequence[float]]) -> None:
        """Take the mean grey level in each plane of each cherry judged in a frame."""
        count = len(cherries)
        if not count:
            return
        keep = 1.0 - min(1.0, count / CHERRIES)
        for plane, means in enumerate(zip(*cherries, strict=True)):
            self._cherries[plane] = keep * self._cherries[plane] + (1.0 - keep) * sum(means) / count
        self._weight = keep * self._weight + (1.0 - keep)
        self._seen = min(self._seen + count, MIN_CHERRIES)

    def set_black(self) -> None:
        """Record that a frame was completely black in some plane."""
        self._black = True

    def describe(self) -> str:
        """Return what the last call of ``off``, ``dim`` or ``bright`` measured, and what to do."""
        return self._detail

    def forget(self) -> None:
        """Discard all measurements: those made without light say nothing about the light."""
        self._belt = []
        self._cherries = [0.0] * len(self._names)
        self._weight, self._seen = 0.0, 0

    def off(self) -> bool | None:
        """Return True if the belt has no light in some plane; None without a new frame."""
        if self._black:
            self._black = False
            self._detail = (
                "frames are black in at least one plane; check the lamp, its supply, lens cap and camera cable"
            )
            return True
        levels = self._levels
        self._levels = ()  # each frame is evaluated once
        if not levels:
            return None
        for plane, (name, level, reference) in enumerate(zip(self._names, levels, self._reference, strict=True)):
            if reference >= DARKEST and level < self._rules.light_off * reference:
                self._detail = (
                    f"plane {name}: no light, the empty belt has {level:.1f} grey levels instead of {reference:.1f}; "
                    "check the lamp, its supply and its cable"
                )
                if self._calibrated[plane] is None:
                    self._detail += "; if the lamp is on, run 'pitcore calibrate flat', which measures the belt"
                return True
        return False

    def dim(self) -> bool | None:
        """Return True if some plane has less light than at calibration; None if unknown or near the bound."""
        low = self._rules.light_low
        shares = self._shares()
        worst = min(shares, default=None)
        if worst is None or low <= worst[0] < low + BACK:
            return None
        if worst[0] < low:
            self._detail = (
                f"plane {worst[2]}: {worst[1]} at {worst[0]:.0%} of the calibrated level; clean or replace the lamp, "
                "clean the glass, then run 'pitcore calibrate exposure' and 'flat'"
            )
            return True
        return False

    def bright(self) -> bool | None:
        """Return True if some plane has more light than at calibration; None if unknown or near the bound."""
        high = self._rules.light_high
        shares = self._shares()
        worst = max(shares, default=None)
        if worst is None or high - BACK < worst[0] <= high:
            return None
        if worst[0] > high:
            self._detail = (
                f"plane {worst[2]}: {worst[1]} at {worst[0]:.0%} of the calibrated level; close the hood, keep other "
                "light out, clean the belt, else run 'pitcore calibrate exposure' and 'flat'"
            )
            return True
        return False

    def _shares(self) -> list[tuple[float, str, str]]:
        """Return (share of the calibrated level, text, plane) for each known level of belt and cherries."""
        shares = []
        for plane, name in enumerate(self._names):
            belt, cherries = self._calibrated[plane], self._cherry_reference[plane]
            if belt is not None and belt >= DARKEST and self._belt:
                shares.append((self._belt[plane] / belt, "the empty belt is", name))
            if cherries and self._seen >= MIN_CHERRIES:
                shares.append((self._cherries[plane] / self._weight / cherries, "cherries are", name))
        return shares
