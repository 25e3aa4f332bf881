"""Detects that the belt carries no single cherries, only foreign objects and heaps."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

JUDGED = 40  # number of last verdicts that are evaluated
FEW_FOREIGN = 0.3  # share of foreign objects below which touching cherries alone raise no alarm
HALF = 0.5
RELIEF = 0.2  # hysteresis: the alarm goes off this far below its bound


class StreamCheck:
    """Keeps the reasons of the last verdicts.

    Args:
        bound: share of things other than single cherries, 0..1, from which on the alarm is raised.
    """

    def __init__(self, bound: float) -> None:
        self._bound = bound
        self._reasons: deque[str | None] = deque(maxlen=JUDGED)

    def add(self, reasons: Sequence[str | None]) -> None:
        """Take the reasons of a frame's verdicts."""
        self._reasons.extend(reasons)

    def forget(self) -> None:
        """Discard all reasons."""
        self._reasons.clear()

    @property
    def tells_light(self) -> bool:
        """True if most things are cherries, so that their brightness can be used to measure the light."""
        return self._odd_share() < HALF

    def only_foreign(self) -> bool | None:
        """Return True if there are hardly any single cherries; None if too few verdicts or near the bound."""
        if len(self._reasons) < JUDGED:
            return None
        share = self._odd_share()
        return None if self._bound - RELIEF <= share < self._bound else share >= self._bound

    def describe(self) -> str:
        """Return what was found, and what to do."""
        return (
            f"{self._odd_share():.0%} of the last {JUDGED} things are not single cherries; check what is "
            "on the belt, and the bounds of size, shape and light in [decision]"
        )

    def _odd_share(self) -> float:
        """Return the share of things that are not single cherries; 0 if few of them are foreign."""
        foreign = self._reasons.count("foreign")
        if foreign < FEW_FOREIGN * len(self._reasons):
            return 0.0
        return (foreign + self._reasons.count("touching")) / max(1, len(self._reasons))
