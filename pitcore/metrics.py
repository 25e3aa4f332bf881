"""Counts and durations of a run. What they are for, and how they leave the process, is not known here.

One writer thread for each counter or stage; readers may look at any time.
"""

from __future__ import annotations

import threading
from collections import Counter

import numpy as np
from numpy.typing import NDArray

STAGES = ("capture", "prepare", "infer", "decide", "emit", "total")
PARTS = ("search", "track", "extract")  # of prepare


class StageTimes:
    """The last ``capacity`` durations of one stage, and how many there ever were."""

    def __init__(self, capacity: int = 1 << 16) -> None:
        self._ns = np.zeros(capacity, dtype=np.int64)
        self.count = 0

    def add(self, duration_ns: int) -> None:
        """Record one duration."""
        self._ns[self.count % len(self._ns)] = duration_ns
        self.count += 1

    def percentile_ms(self, percent: float) -> float:
        """Return a percentile of the recorded durations in milliseconds; NaN where there is none."""
        known = self._ns[: min(self.count, len(self._ns))]
        return float(np.percentile(known, percent)) / 1e6 if len(known) else float("nan")

    def in_order_ms(self) -> NDArray[np.float64]:
        """Return the recorded durations, oldest first."""
        known = self._ns[: min(self.count, len(self._ns))]
        return np.roll(known, -(self.count % len(self._ns)) if self.count > len(self._ns) else 0) / 1e6


class Metrics:
    """Everything counted in one run."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, str]] = Counter()
        self.stages = {name: StageTimes() for name in STAGES + PARTS}

    def count(self, name: str, label: str = "", by: int = 1) -> None:
        """Add to a counter, for instance ``count("frames_dropped", "queue_full")``."""
        with self._lock:
            self._counts[name, label] += by

    def value(self, name: str, label: str | None = None) -> int:
        """Return a counter; without a label the sum over its labels."""
        with self._lock:
            if label is not None:
                return self._counts[name, label]
            return sum(number for (key, _), number in self._counts.items() if key == name)

    def labels(self, name: str) -> dict[str, int]:
        """Return every label of a counter with its number."""
        with self._lock:
            return {label: number for (key, label), number in sorted(self._counts.items()) if key == name}
