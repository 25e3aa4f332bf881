"""Counts of verdicts by lane, over the last minute and hour. Pure: the time is an argument.

The service tells how many there were since its start, so a message that is lost changes no count.
"""

from __future__ import annotations

from collections import deque

from pitcore.verdict import VERDICTS

Count = list[list[int]]  # [lane][verdict], in the order of VERDICTS


def zero(lanes: int) -> Count:
    """Return a count of nothing."""
    return [[0] * len(VERDICTS) for _ in range(lanes)]


def plus(one: Count, other: Count) -> Count:
    """Return the sum."""
    return [[a + b for a, b in zip(left, right, strict=True)] for left, right in zip(one, other, strict=True)]


def minus(one: Count, other: Count) -> Count:
    """Return the difference."""
    return [[a - b for a, b in zip(left, right, strict=True)] for left, right in zip(one, other, strict=True)]


class Window:
    """How much came within the last so many seconds.

    Args:
        lanes: how many.
        span_s: how far it looks back.
        steps: of which it consists; bounds memory.
    """

    def __init__(self, lanes: int, span_s: float, steps: int = 60) -> None:
        self._span_s, self._step_s, self._lanes = span_s, span_s / steps, lanes
        self._marks: deque[tuple[float, Count]] = deque()  # (second, count so far), the oldest first

    def update(self, now_s: float, total: Count) -> tuple[Count, float]:
        """Note how much there is so far.

        Args:
            now_s: a clock that only grows.
            total: since the start; never falls.

        Returns:
            How much came within the span, and the seconds that it really covers: fewer after a start.
        """
        if not self._marks:
            self._marks.append((now_s, zero(self._lanes)))
        elif now_s - self._marks[-1][0] >= self._step_s:
            self._marks.append((now_s, total))
        while len(self._marks) > 1 and self._marks[1][0] <= now_s - self._span_s:
            self._marks.popleft()
        at_s, before = self._marks[0]
        return minus(total, before), now_s - at_s
