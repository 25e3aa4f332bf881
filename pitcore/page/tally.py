"""Counts verdicts by lane over the last minute and hour. Reads no clock: the time is an argument.

The service sends its totals since the start, so a lost message changes no count.
"""

from __future__ import annotations

from collections import deque

from pitcore.verdict import VERDICTS

Count = list[list[int]]  # [lane][verdict], in the order of VERDICTS


def zero(lanes: int) -> Count:
    """Return a count of zeros for a number of lanes."""
    return [[0] * len(VERDICTS) for _ in range(lanes)]


def plus(one: Count, other: Count) -> Count:
    """Return the sum of two counts."""
    return [[a + b for a, b in zip(left, right, strict=True)] for left, right in zip(one, other, strict=True)]


def minus(one: Count, other: Count) -> Count:
    """Return the difference of two counts."""
    return [[a - b for a, b in zip(left, right, strict=True)] for left, right in zip(one, other, strict=True)]


class Window:
    """Counts over a sliding window of time.

    Args:
        at_s: time at which the window begins, monotonic clock in seconds.
        total: count so far at that time.
        span_s: length of the window in seconds.
        steps: number of steps in the window, which limits its memory.
    """

    def __init__(self, at_s: float, total: Count, span_s: float, steps: int = 60) -> None:
        self._span_s, self._step_s = span_s, span_s / steps
        self._marks: deque[tuple[float, Count]] = deque([(at_s, total)])  # (second, count so far), the oldest first

    def update(self, now_s: float, total: Count) -> tuple[Count, float]:
        """Record a total, and return the count within the window.

        Args:
            now_s: monotonic clock, in seconds.
            total: count so far; never decreases.

        Returns:
            The count within the window, and the seconds that it covers: fewer than ``span_s`` after its begin.
        """
        if now_s - self._marks[-1][0] >= self._step_s:
            self._marks.append((now_s, total))
        while len(self._marks) > 1 and self._marks[1][0] <= now_s - self._span_s:
            self._marks.popleft()
        at_s, before = self._marks[0]
        return minus(total, before), now_s - at_s
