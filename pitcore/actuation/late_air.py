"""Checks that pulses get their air, for valves whose air arrives some time after the line is switched.

The air that the belt gets now is that of the lines one latency ago. So it is known exactly, whatever speed was foreseen
when the lines were switched.
"""

from __future__ import annotations

from collections import deque

COUNTED = -(1 << 62)  # ticks that a pulse lost without air, after they were counted


class LateAir:
    """Compares the air over the belt with the pulses under the nozzles.

    Args:
        lanes: number of lanes.
        latency_ns: from the line to the air.
        spared_ticks: a pulse that loses no more is not cut short.
        tick: position of the belt.

    Attributes:
        steady: bit n is set if lane n had air all the time since the step before.
    """

    def __init__(self, lanes: int, latency_ns: int, spared_ticks: int, tick: int) -> None:
        self._latency_ns, self._spared = latency_ns, spared_ticks
        self._switched: deque[tuple[int, int]] = deque()  # time and valves of each change whose air has not arrived
        self._now = self._open = self.steady = 0
        self._lost = [0] * lanes
        self._furthest = tick

    def switch(self, t_ns: int, mask: int) -> None:
        """Note that the valves changed."""
        self._switched.append((t_ns, mask))

    def arrive(self, t_ns: int) -> None:
        """Follow the air to a time."""
        self._open = self.steady = self._now
        while self._switched and self._switched[0][0] + self._latency_ns <= t_ns:
            self._now = self._switched.popleft()[1]
            self._open |= self._now
            self.steady &= self._now

    def cut(self, tick: int, wanted: int, still_wanted: int) -> int:
        """Follow the belt to a tick, and return the number of lanes whose pulse turned out to be cut short.

        A long pulse counts again for each gap in its air.

        Args:
            tick: position of the belt.
            wanted: the lanes with a pulse under their nozzle before this step.
            still_wanted: the same after this step.
        """
        moved = max(0, tick - self._furthest)
        self._furthest += moved
        count = 0
        for lane in range(len(self._lost)) if wanted else ():
            if self._open >> lane & 1:
                self._lost[lane] = max(0, self._lost[lane])
            elif wanted >> lane & 1:
                self._lost[lane] += moved
                if self._lost[lane] > self._spared:
                    count += 1
                    self._lost[lane] = COUNTED
            if wanted & ~still_wanted & (1 << lane):
                self._lost[lane] = 0
        return count
