"""Converts a camera's time stamps to CLOCK_MONOTONIC and computes the time of mid-exposure."""

from __future__ import annotations

import time

from pitcore.errors import SourceError

# A stamp is in the past, but a frame does not wait in a driver for longer than this.
OLDEST_NS = 10_000_000_000


class StampClock:
    """Converts stamps to CLOCK_MONOTONIC. Detects the camera's clock by the first stamp.

    libcamera documents CLOCK_BOOTTIME; the driver of the Raspberry Pi 5 uses CLOCK_MONOTONIC. The two clocks differ by
    the time that the machine was suspended; on most boards that is 0. A stamp that lies in the future by
    CLOCK_MONOTONIC is from CLOCK_BOOTTIME.

    Args:
        camera: the camera's name, for the message.
    """

    def __init__(self, camera: str) -> None:
        self._camera = camera
        self._ahead_ns: int | None = None

    def monotonic_ns(self, stamp_ns: int) -> int:
        """Convert a stamp to CLOCK_MONOTONIC nanoseconds. Raises SourceError if it is from neither clock."""
        if self._ahead_ns is None:
            self._ahead_ns = self._decide(stamp_ns, time.monotonic_ns(), time.clock_gettime_ns(time.CLOCK_BOOTTIME))
        return stamp_ns - self._ahead_ns

    def _decide(self, stamp_ns: int, monotonic_ns: int, boottime_ns: int) -> int:
        """Return the stamps' offset from CLOCK_MONOTONIC in nanoseconds. Raises SourceError."""
        for clock_ns in (monotonic_ns, boottime_ns):
            if 0 <= clock_ns - stamp_ns < OLDEST_NS:
                return clock_ns - monotonic_ns
        raise SourceError(
            f"{self._camera}: stamps its frames {(stamp_ns - monotonic_ns) / 1e9:+z.1f} s from now, by a clock that is "
            "neither CLOCK_MONOTONIC nor CLOCK_BOOTTIME; rejects cannot be timed by it: update the camera's driver"
        )


def mid_exposure_ns(stamp_ns: int, exposure_us: int) -> int:
    """Return the time of mid-exposure in nanoseconds. A stamp is the end of the exposure, when read-out begins."""
    return stamp_ns - exposure_us * 500
