"""Computes how long before a change the valve process must wake up, and how long it may poll.

A sleeping process wakes late: by tens of microseconds on a quiet board, by milliseconds on a busy virtual machine. So
the process ends its sleep before the next change of a valve, earlier by the delay of recent wake-ups, and polls the
encoder until the change. This module reads no clock.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

MARGIN_NS = 100_000  # added to the latest wake-up: computing time of a turn, and acceleration of the belt
MOST_NS = 2_000_000  # largest margin, because each change of a valve costs polling for this long
FADES_IN_NS = 10 * 10**9  # time in which the largest delay decays by 63 %
SAVED_NS = 10**9  # time over which unused polling time is saved
PAUSE_NS = 150_000  # shorter pauses are not recorded


class Gap(IntEnum):
    """The activity during which a pause happened."""

    ASLEEP = 0  # a sleep ended late
    AWAKE = 1  # time passed between two polls for edges, because no core ran the process
    AT_WORK = 2  # reading edges, following the belt and switching valves took too long


class Pause(NamedTuple):
    """A time in which the process did not continue.

    Attributes:
        from_ns, to_ns: beginning and end, CLOCK_MONOTONIC.
        gap: the activity.
        queued_ns: time in which the process was ready, but the kernel ran another program. The rest is due to a late
            or long interrupt, or to the host of a virtual machine.
    """

    from_ns: int
    to_ns: int
    gap: Gap
    queued_ns: int


class WakeupMargin:
    """Measures how late one process wakes up, and limits the time that it polls.

    Args:
        share: of one core that may be spent on polling; 0: no polling.

    Attributes:
        latest_ns: largest delay of recent wake-ups, with decay.
        pauses: pauses of the process since ``record_pauses``.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._queued_ns: Callable[[], int] | None = None
        self._queued_until_now_ns = 0
        self.latest_ns = float(MOST_NS)  # before the first measurement
        self._woke_ns = 0
        self.pauses: list[Pause] = []
        self._credit_ns = share * SAVED_NS
        self._credited_at_ns = 0

    @property
    def lead_ns(self) -> int:
        """Time in ns by which a sleep must end before a change."""
        return min(int(self.latest_ns) + MARGIN_NS, MOST_NS)

    def woke(self, due_ns: int, now_ns: int) -> None:
        """Record that a sleep that should have ended at ``due_ns`` ended now."""
        fading = max(0.0, 1 - (now_ns - self._woke_ns) / FADES_IN_NS)
        self.latest_ns = max(float(now_ns - due_ns), self.latest_ns * fading)
        self._woke_ns = now_ns
        self.note(due_ns, now_ns, Gap.ASLEEP)

    def record_pauses(self, queued_ns: Callable[[], int]) -> None:
        """Record every pause from now on. For benchmarks only, because the record is unbounded.

        Args:
            queued_ns: returns the total time in ns that the process was ready but did not run.
        """
        self._queued_ns, self._queued_until_now_ns = queued_ns, queued_ns()

    def note(self, from_ns: int, to_ns: int, gap: Gap) -> None:
        """Record a pause, if it is long enough and recording is on."""
        if self._queued_ns is not None and to_ns - from_ns > PAUSE_NS:
            before_ns, self._queued_until_now_ns = self._queued_until_now_ns, self._queued_ns()
            self.pauses.append(Pause(from_ns, to_ns, gap, self._queued_until_now_ns - before_ns))

    def may_spin(self, now_ns: int) -> bool:
        """Return True if time for polling is left."""
        earned_ns = self._share * (now_ns - self._credited_at_ns)
        self._credit_ns = min(self._share * SAVED_NS, self._credit_ns + earned_ns)
        self._credited_at_ns = now_ns
        return self._credit_ns > 0

    def spun(self, for_ns: int) -> None:
        """Record time spent on polling."""
        self._credit_ns -= for_ns
