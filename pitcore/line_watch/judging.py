"""Is the belt judged at all? Counts frames that were not fit to be judged, and frames that left belt between them."""

from __future__ import annotations

from collections import Counter, deque

LATEST = 8  # frames that are looked at
TOO_MANY = 4  # of them: so many are found within as many frames, whatever comes between


class JudgingCheck:
    """Remembers what became of the latest frames."""

    def __init__(self) -> None:
        self._latest: deque[str | None] = deque(maxlen=LATEST)

    def add(self, fault: str | None) -> None:
        """Take a frame: the event that says what was not judged, or None if all of it was."""
        self._latest.append(fault)

    def not_judging(self) -> bool | None:
        """Tell whether belt goes by unjudged; None as long as it is neither so nor surely over."""
        faults = sum(fault is not None for fault in self._latest)
        if faults >= TOO_MANY:
            return True
        return False if not faults and len(self._latest) == LATEST else None

    def tell(self) -> str:
        """Return what was found, and what to do."""
        faults = Counter(fault for fault in self._latest if fault is not None)
        names = ", ".join(f"{name} {count}" for name, count in faults.most_common())
        return f"of the last {len(self._latest)} frames {faults.total()} left belt unjudged ({names}); fix these faults"
