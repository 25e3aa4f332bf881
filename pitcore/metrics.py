"""Keeps counts and durations of a run.

The writer never waits for a reader: a reader copies the values and takes no lock.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

STAGES = ("capture", "prepare", "infer", "decide", "emit", "total")
PARTS = ("search", "track", "extract")  # of prepare
NETWORK = ("clean", "maybe", "pit")  # verdicts of the network alone, on whole single cherries
# Upper bounds of the ranges that durations are counted in. 150 ms is what a frame may take from exposure to reject.
BOUNDS_MS = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 35.0, 50.0, 75.0, 100.0, 150.0, 200.0, 300.0, 500.0, 1000.0)
_BOUNDS_NS = tuple(int(bound * 1e6) for bound in BOUNDS_MS)


@dataclass(frozen=True, slots=True)
class Spread:
    """How the durations of a stage are spread since the start.

    Attributes:
        counts: durations up to each of ``BOUNDS_MS`` and above the one before; the last is of all longer ones.
        sum_s: of all durations, in seconds.
    """

    counts: tuple[int, ...]
    sum_s: float


class RecentCounts:
    """The counts of the last ``capacity`` frames, by label, and of how many frames there ever were.

    Args:
        labels: of what is counted.
        capacity: in frames.
    """

    def __init__(self, labels: Sequence[str], capacity: int = 1 << 13) -> None:
        self.labels = tuple(labels)
        self._counts = np.zeros((capacity, len(labels)), dtype=np.int32)
        self.count = 0

    def add(self, counts: Mapping[str, int]) -> None:
        """Record one frame; a label that is left out is 0."""
        self._counts[self.count % len(self._counts)] = [counts.get(label, 0) for label in self.labels]
        self.count += 1

    def total(self, since: int = 0) -> dict[str, int]:
        """Return the sum by label over the frames after the first ``since``, of at most ``capacity``, the latest."""
        wanted = min(self.count - since, len(self._counts))
        known = self._counts.take(np.arange(self.count - wanted, self.count), axis=0, mode="wrap")
        return dict(zip(self.labels, known.sum(axis=0).tolist(), strict=True))


class StageTimes:
    """The last ``capacity`` durations of one stage, and how many there ever were. One thread adds, any may read."""

    def __init__(self, capacity: int = 1 << 16) -> None:
        self._ns = np.zeros(capacity, dtype=np.int64)
        self._counts = [0] * (len(BOUNDS_MS) + 1)
        self._sum_ns = 0
        self.count = 0

    def add(self, duration_ns: int) -> None:
        """Record one duration."""
        self._ns[self.count % len(self._ns)] = duration_ns
        self._counts[bisect_left(_BOUNDS_NS, duration_ns)] += 1
        self._sum_ns += duration_ns
        self.count += 1

    def spread(self) -> Spread:
        """Return how all durations since the start are spread."""
        return Spread(tuple(self._counts), self._sum_ns / 1e9)

    def percentile_ms(self, percent: float) -> float:
        """Return a percentile of the recorded durations in milliseconds; NaN where there is none."""
        known = self._ns[: min(self.count, len(self._ns))]
        return float(np.percentile(known, percent)) / 1e6 if len(known) else float("nan")

    def percentiles_ms(self, percents: Sequence[float], since: int = 0) -> list[float] | None:
        """Return percentiles in milliseconds of the durations after the first ``since``; None where there is none.

        At most ``capacity`` of them, the latest, are looked at.
        """
        wanted = min(self.count - since, len(self._ns))
        if wanted <= 0:
            return None
        known = self._ns.take(np.arange(self.count - wanted, self.count), mode="wrap")
        return [value / 1e6 for value in np.percentile(known, percents).tolist()]

    def in_order_ms(self) -> NDArray[np.float64]:
        """Return the recorded durations, oldest first."""
        known = self._ns[: min(self.count, len(self._ns))]
        return np.roll(known, -(self.count % len(self._ns)) if self.count > len(self._ns) else 0) / 1e6


class FrameWork(NamedTuple):
    """One judged frame.

    Attributes:
        done_ns: when its verdicts were given, CLOCK_MONOTONIC.
        seq: number of the frame; numbers between two rows are frames that were lost, dropped or not judged.
        cherries: that the network should judge.
        judged: of them; the rest are beyond ``[runtime] max_cherries``.
        network_ns: how long the network took.
        other_ns: how long all else took, without the wait for the frame.
    """

    done_ns: int
    seq: int
    cherries: int
    judged: int
    network_ns: int
    other_ns: int


class Work:
    """The work of each of the last ``capacity`` judged frames."""

    def __init__(self, capacity: int = 4096) -> None:
        self._rows = np.zeros((capacity, len(FrameWork._fields)), dtype=np.int64)
        self.count = 0

    def add(self, frame: FrameWork) -> None:
        """Record one frame."""
        self._rows[self.count % len(self._rows)] = frame
        self.count += 1

    def since(self, t_ns: int) -> NDArray[np.int64]:
        """Return a row for each frame done after ``t_ns``, oldest first; columns as in ``FrameWork``."""
        first = max(0, self.count - len(self._rows))
        rows = self._rows.take(np.arange(first, self.count), axis=0, mode="wrap")
        return rows[rows[:, 0] > t_ns]


@dataclass(frozen=True, slots=True)
class Mark:
    """How far everything was at one moment, ``t_ns`` by CLOCK_MONOTONIC."""

    t_ns: int
    counts: Mapping[tuple[str, str], int]
    stages: Mapping[str, int]
    network: int = 0


class Metrics:
    """Everything counted in one run.

    Attributes:
        stages: durations of a frame, by stage.
        work: what each of the last judged frames took.
        network: verdicts of the network, by frame.
        spare: from each verdict to act on until its valve must open; 0 if that time has passed.
    """

    def __init__(self) -> None:
        self._writing = threading.Lock()  # of those who count; no reader takes it
        self._counts: dict[tuple[str, str], int] = {}
        self.stages = {name: StageTimes() for name in STAGES + PARTS}
        self.work = Work()
        self.network = RecentCounts(NETWORK)
        self.spare = StageTimes()

    def count(self, name: str, label: str = "", by: int = 1) -> None:
        """Add to a counter, for instance ``count("frames_dropped", "queue_full")``."""
        with self._writing:
            self._counts[name, label] = self._counts.get((name, label), 0) + by

    def value(self, name: str, label: str | None = None) -> int:
        """Return a counter; without a label the sum over its labels."""
        if label is not None:
            return self._counts.get((name, label), 0)
        return sum(number for (key, _), number in self._copied().items() if key == name)

    def labels(self, name: str, since: Mark | None = None) -> dict[str, int]:
        """Return every label of a counter with its number; with a mark, what came since, without zeros."""
        before = {} if since is None else since.counts
        found = {key: number - before.get(key, 0) for key, number in sorted(self._copied().items()) if key[0] == name}
        return {label: number for (_, label), number in found.items() if number or since is None}

    def mark(self) -> Mark:
        """Return how far everything is now."""
        return Mark(
            time.monotonic_ns(),
            self._copied(),
            {name: stage.count for name, stage in self.stages.items()},
            self.network.count,
        )

    def _copied(self) -> dict[tuple[str, str], int]:
        """Return all counts of one moment: the interpreter copies a dictionary in one step."""
        return self._counts.copy()
