"""Computes how long before a change the valve process must wake up, and how long it may poll.

A sleeping process wakes late: by tens of microseconds on a quiet board, by milliseconds on a busy virtual machine. So
the process ends its sleep before the next change of a valve, earlier by the delay of recent wake-ups, and polls the
encoder until the change. This module reads no clock.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

MARGIN_NS = 100_000  # beyond the latest wake-up: what a turn computes, and a belt that gathers speed
MOST_NS = 2_000_000  # later wake-ups are no rule to live by: each change would cost a spin as long
FADES_IN_NS = 10 * 10**9  # by 63 %: what was late once in ten seconds is reckoned with
SAVED_NS = 10**9  # what was not spun away is kept for so long
NOTED_NS = 150_000  # shorter gaps are no matter


class Gap(IntEnum):
    """The activity during which the process was held up."""

    ASLEEP = 0  # it had asked to be woken, and was late
    AWAKE = 1  # it asked for edges over and over, and between two questions time went by: its core did not run it
    AT_WORK = 2  # reading edges, following the belt and switching valves took so long


class Noted(NamedTuple):
    """A gap.

    Attributes:
        from_ns, to_ns: CLOCK_MONOTONIC.
        gap: its activity.
        queued_ns: longest time of it in which the kernel ran another program although the process was ready. In the
            rest an interrupt was late or long, or a virtual machine's host ran another guest.
    """

    from_ns: int
    to_ns: int
    gap: Gap
    queued_ns: int


class Vigil:
    """Measures the wake-ups of one process.

    Args:
        share: of one core that may be spent on polling; 0: no polling.

    Attributes:
        latest_ns: delay of recent wake-ups: the largest, decaying.
        noted: times when the process was held up, since ``take_notes``.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._queued_ns: Callable[[], int] | None = None
        self._queued_until_now_ns = 0
        self.latest_ns = float(MOST_NS)  # until it is known better
        self._woke_ns = 0
        self.noted: list[Noted] = []
        self._credit_ns = share * SAVED_NS
        self._credited_at_ns = 0

    @property
    def lead_ns(self) -> int:
        """Return how long before a change the sleep must end."""
        return min(int(self.latest_ns) + MARGIN_NS, MOST_NS)

    def woke(self, due_ns: int, now_ns: int) -> None:
        """Record that a sleep that should have ended at ``due_ns`` ended now."""
        fading = max(0.0, 1 - (now_ns - self._woke_ns) / FADES_IN_NS)
        self.latest_ns = max(float(now_ns - due_ns), self.latest_ns * fading)
        self._woke_ns = now_ns
        self.note(due_ns, now_ns, Gap.ASLEEP)

    def take_notes(self, queued_ns: Callable[[], int]) -> None:
        """Record every gap from now on. For benchmarks, since the record only grows.

        Args:
            queued_ns: returns the total time that the process was ready and not run.
        """
        self._queued_ns, self._queued_until_now_ns = queued_ns, queued_ns()

    def note(self, from_ns: int, to_ns: int, gap: Gap) -> None:
        """Record a gap, if it is long enough and recording is on."""
        if self._queued_ns is not None and to_ns - from_ns > NOTED_NS:
            before_ns, self._queued_until_now_ns = self._queued_until_now_ns, self._queued_ns()
            self.noted.append(Noted(from_ns, to_ns, gap, self._queued_until_now_ns - before_ns))

    def may_spin(self, now_ns: int) -> bool:
        """Return whether time for polling is left."""
        earned_ns = self._share * (now_ns - self._credited_at_ns)
        self._credit_ns = min(self._share * SAVED_NS, self._credit_ns + earned_ns)
        self._credited_at_ns = now_ns
        return self._credit_ns > 0

    def spun(self, for_ns: int) -> None:
        """Record time spent on polling."""
        self._credit_ns -= for_ns
