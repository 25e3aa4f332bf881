"""Which clock a camera's time stamps are of, and when its exposure was half over."""

from __future__ import annotations

import time

from pitcore.errors import SourceError

# A stamp is the past, but a frame that waits in a driver for longer than this is not one of now.
OLDEST_NS = 10_000_000_000


class StampClock:
    """Brings stamps to CLOCK_MONOTONIC. Decides by the first one.

    libcamera documents CLOCK_BOOTTIME; the driver of the Raspberry Pi 5 stamps CLOCK_MONOTONIC. The two differ by the
    time the machine was suspended, so on most boards not at all: a stamp that is still to come by CLOCK_MONOTONIC is of
    the other.

    Args:
        camera: for the message.
    """

    def __init__(self, camera: str) -> None:
        self._camera = camera
        self._ahead_ns: int | None = None

    def monotonic_ns(self, stamp_ns: int) -> int:
        """Return a stamp by CLOCK_MONOTONIC. Raises SourceError if it is of neither clock."""
        if self._ahead_ns is None:
            self._ahead_ns = self._decide(stamp_ns, time.monotonic_ns(), time.clock_gettime_ns(time.CLOCK_BOOTTIME))
        return stamp_ns - self._ahead_ns

    def _decide(self, stamp_ns: int, monotonic_ns: int, boottime_ns: int) -> int:
        """Return by how much the stamps are ahead of CLOCK_MONOTONIC."""
        for clock_ns in (monotonic_ns, boottime_ns):
            if 0 <= clock_ns - stamp_ns < OLDEST_NS:
                return clock_ns - monotonic_ns
        raise SourceError(
            f"{self._camera}: stamps its frames {(stamp_ns - monotonic_ns) / 1e9:+.1f} s from now, by a clock that is "
            "neither CLOCK_MONOTONIC nor CLOCK_BOOTTIME; rejects cannot be timed by it: update the camera's driver"
        )


def mid_exposure_ns(stamp_ns: int, exposure_us: int) -> int:
    """Return when half of the light was gathered: a stamp is the end of the exposure, where reading out begins."""
    return stamp_ns - exposure_us * 500
