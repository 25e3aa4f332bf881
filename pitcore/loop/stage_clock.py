"""Measures the stages of one frame in the loop."""

from __future__ import annotations

import time

from pitcore.metrics import PARTS
from pitcore.verdict import LatencyUs


class StageClock:
    """Records the durations of one frame's stages. The time from one mark to the next belongs to the next one's stage.

    Args:
        start_ns: start of the first stage, CLOCK_MONOTONIC: mid-exposure, or the time at which the frame was requested.

    Attributes:
        last_ns: time of the last mark, CLOCK_MONOTONIC.
        durations_ns: duration of each stage, by name.
    """

    def __init__(self, start_ns: int) -> None:
        self.last_ns = start_ns
        self.durations_ns: dict[str, int] = {}

    def mark(self, stage: str) -> None:
        """End a stage or a part of it: add the time since the last mark to the stage's duration."""
        now = time.monotonic_ns()
        self.durations_ns[stage] = self.durations_ns.get(stage, 0) + now - self.last_ns
        self.last_ns = now

    def total_ns(self, *, from_start: bool) -> int:
        """Return the sum of all stages; without capture if ``from_start`` is False."""
        return sum(self.durations_ns.values()) - (0 if from_start else self.durations_ns["capture"])

    @property
    def prepare_ns(self) -> int:
        """Sum of the parts of the stage prepare."""
        return sum(self.durations_ns[part] for part in PARTS)

    def latency(self, *, total_from_start: bool) -> LatencyUs:
        """Return the latencies for a verdict line."""
        micro = {stage: self.durations_ns[stage] // 1000 for stage in ("capture", "infer", "decide")}
        total = self.total_ns(from_start=total_from_start) // 1000
        return LatencyUs(**micro, prepare=self.prepare_ns // 1000, total=total)
