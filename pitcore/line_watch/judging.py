"""Detects that belt passes unjudged: counts frames that could not be judged, and gaps between frames."""

from __future__ import annotations

from collections import Counter, deque

LATEST = 8  # frames that are counted
TOO_MANY = 4  # faulty frames among them that raise the alarm


class JudgingCheck:
    """Keeps the results of the latest frames."""

    def __init__(self) -> None:
        self._latest: deque[str | None] = deque(maxlen=LATEST)

    def add(self, fault: str | None) -> None:
        """Take the result of a frame: the event that says what was not judged, or None if all of it was."""
        self._latest.append(fault)

    def not_judging(self) -> bool | None:
        """Return True if belt passes unjudged, False if it surely does not, None in between."""
        faults = sum(fault is not None for fault in self._latest)
        if faults >= TOO_MANY:
            return True
        return False if not faults and len(self._latest) == LATEST else None

    def describe(self) -> str:
        """Return what was found, and what to do."""
        faults = Counter(fault for fault in self._latest if fault is not None)
        names = ", ".join(f"{name} {count}" for name, count in faults.most_common())
        return f"of the last {len(self._latest)} frames {faults.total()} left belt unjudged ({names}); fix these faults"
