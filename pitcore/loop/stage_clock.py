"""The clock that goes along with one frame through the loop."""

from __future__ import annotations

import time

from pitcore.metrics import PARTS
from pitcore.verdict import LatencyUs


class StageClock:
    """Durations of one frame's stages, each from the mark before.

    Args:
        start_ns: CLOCK_MONOTONIC where the first stage begins: mid-exposure, or when the frame was asked for.

    Attributes:
        last_ns: of the last mark, CLOCK_MONOTONIC.
        durations_ns: by stage.
    """

    def __init__(self, start_ns: int) -> None:
        self.last_ns = start_ns
        self.durations_ns: dict[str, int] = {}

    def mark(self, stage: str) -> None:
        """End a stage."""
        now = time.monotonic_ns()
        self.durations_ns[stage] = now - self.last_ns
        self.last_ns = now

    def total_ns(self, *, from_start: bool) -> int:
        """Sum of the stages; without ``from_start`` leave out the capture."""
        return sum(self.durations_ns.values()) - (0 if from_start else self.durations_ns["capture"])

    @property
    def prepare_ns(self) -> int:
        """Sum of the parts of prepare."""
        return sum(self.durations_ns[part] for part in PARTS)

    def latency(self, *, total_from_start: bool) -> LatencyUs:
        """Return what a verdict line says."""
        micro = {stage: self.durations_ns[stage] // 1000 for stage in ("capture", "infer", "decide")}
        total = self.total_ns(from_start=total_from_start) // 1000
        return LatencyUs(**micro, prepare=self.prepare_ns // 1000, total=total)
