"""Are there cherries among what comes along?"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

JUDGED = 40  # verdicts that are looked back on
FEW_FOREIGN = 0.3  # of them; a heap of touching cherries is no foreign object
HALF = 0.5
RELIEF = 0.2  # the alarm goes off this far below its bound


class StreamCheck:
    """Follows the reasons of the last verdicts.

    Args:
        bound: share of things that are no single cherries, from which on nothing else comes.
    """

    def __init__(self, bound: float) -> None:
        self._bound = bound
        self._reasons: deque[str | None] = deque(maxlen=JUDGED)

    def add(self, reasons: Sequence[str | None]) -> None:
        """Take the reasons of the verdicts of a frame."""
        self._reasons.extend(reasons)

    def forget(self) -> None:
        """Start again."""
        self._reasons.clear()

    @property
    def tells_light(self) -> bool:
        """Whether most of it is cherries, from whose brightness the light can be told."""
        return self._odd_share() < HALF

    def only_foreign(self) -> bool | None:
        """Tell whether nothing but foreign objects comes."""
        if len(self._reasons) < JUDGED:
            return None
        share = self._odd_share()
        return None if self._bound - RELIEF <= share < self._bound else share >= self._bound

    def tell(self) -> str:
        """Say what was seen, and what to do."""
        return (
            f"{self._odd_share():.0%} of the last {JUDGED} things are not single cherries; check what is "
            "on the belt, and [decision] min_plane_mean and max_plane_mean"
        )

    def _odd_share(self) -> float:
        """Return how much of it is no single cherry, if some of it is no cherry at all."""
        foreign = self._reasons.count("foreign")
        if foreign < FEW_FOREIGN * len(self._reasons):
            return 0.0
        return (foreign + self._reasons.count("touching")) / max(1, len(self._reasons))
