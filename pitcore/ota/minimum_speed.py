"""Enforces a minimum speed. A server that sends single bytes slowly never exceeds a time-out between two bytes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from pitcore.errors import Refusal, UpdateError

Seconds = Callable[[], float]


@dataclass(frozen=True, slots=True)
class SpeedLimits:
    """The limits of time and speed for a repository.

    Attributes:
        silence_s: longest time between two reads, and for connecting.
        window_s, min_rate: in each window of this length at least this many bytes a second must arrive.
        check_s: longest time for all metadata of one check.
        spare_s: time that a target gets in addition to its length at the minimum rate.
        attempts: tries for one target, if each brings some bytes.
    """

    silence_s: float = 20.0
    window_s: float = 30.0
    min_rate: float = 1024.0
    check_s: float = 300.0
    spare_s: float = 120.0
    attempts: int = 5

    def target_s(self, length: int) -> float:
        """Return the longest time a target of ``length`` bytes may take."""
        return self.spare_s + length / self.min_rate


class Pace:
    """Watches the rate and the deadline of a download.

    Args:
        limits: to keep.
        clock: in seconds; never goes back.
    """

    def __init__(self, limits: SpeedLimits, clock: Seconds = time.monotonic) -> None:
        self._limits, self._clock = limits, clock
        self._until = self._window_from = clock()
        self._window_bytes = 0

    def begin(self, seconds: float) -> None:
        """Start a task that may take this long in all."""
        self._until = self._clock() + seconds

    def remaining_s(self) -> float:
        """Return the time until the deadline, never below zero."""
        return max(self._until - self._clock(), 0.0)

    def request(self, url: str) -> None:
        """Start a request; its waiting time counts too. Raises UpdateError past the deadline."""
        self._window_from, self._window_bytes = self._clock(), 0
        self.received(0, url)

    def received(self, count: int, url: str) -> None:
        """Count bytes. Raises UpdateError if they arrive too slowly."""
        now = self._clock()
        if now >= self._until:
            raise UpdateError(Refusal.TOO_SLOW, f"{url}: it took longer than allowed; try again on a faster network")
        self._window_bytes += count
        window_s = now - self._window_from
        if window_s < self._limits.window_s:
            return
        if self._window_bytes < self._limits.min_rate * window_s:
            rate = self._window_bytes / window_s
            raise UpdateError(
                Refusal.TOO_SLOW,
                f"{url}: {rate:.0f} bytes a second, but at least {self._limits.min_rate:.0f} are needed; "
                "try again on a faster network",
            )
        self._window_from, self._window_bytes = now, 0
