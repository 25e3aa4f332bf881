"""Decides whether the belt runs.

A valve may be open only while it runs, since a person may be at the nozzles of a stopped belt. Pure: counts and times
are passed in.
"""

from __future__ import annotations


class Running:
    """Decides from the encoder count whether the belt runs.

    The belt is stopped when it has not moved for ``stands_after_ns``. It runs after it has moved forward by more than
    the jitter without such a pause. A belt that reverses without a pause counts as running.

    Args:
        tick: position of the belt at the start.
        jitter_ticks: the most it trembles.
        stands_after_ns: the longest pause of a belt that runs.

    Attributes:
        on: it runs.
    """

    def __init__(self, tick: int, jitter_ticks: int, stands_after_ns: int) -> None:
        self.on = False
        self._jitter, self._stands_after_ns = max(1, jitter_ticks), stands_after_ns
        self._from = self._foremost = tick  # where it began to come on, and how far it came
        self._moved_ns: int | None = None

    def update(self, tick: int, came_ns: int, now_ns: int) -> bool:
        """Take the count and return ``on``.

        Args:
            tick: the count now.
            came_ns: when the belt reached it, by the edge's own time stamp, since edges may be read much later.
            now_ns: by the same clock.
        """
        if tick > self._foremost:
            if self._pause_ns(came_ns) > self._stands_after_ns:
                self._stand(self._foremost)
            self._foremost, self._moved_ns = tick, came_ns
            self.on = self.on or tick - self._from > self._jitter
        elif tick < self._foremost - self._jitter:
            self._from = self._foremost = tick
            self._moved_ns = came_ns
        if self._pause_ns(now_ns) > self._stands_after_ns and (self.on or self._foremost > self._from):
            self._stand(tick)
        return self.on

    def _pause_ns(self, until_ns: int) -> int:
        return 0 if self._moved_ns is None else until_ns - self._moved_ns

    def _stand(self, tick: int) -> None:
        self.on = False
        self._from = self._foremost = tick
