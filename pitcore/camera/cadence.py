"""When a camera's next frame is due: at its own pace, or with the pulses that the belt gives. Pure."""

from __future__ import annotations

from typing import Protocol

from pitcore.camera.ticks import Ticks


class Cadence(Protocol):
    """How frames follow one another."""

    def steps(self, earlier_ns: int, later_ns: int) -> int:
        """Return how many frames later the second of two exposures is; 2 if one between them is missing."""
        ...

    def due(self, last_ns: int, now_ns: int) -> bool:
        """Return whether a frame after the last one should have been exposed by now."""
        ...


class FreeRunning:
    """The camera keeps its own time.

    Args:
        frame_us: from frame to frame.
    """

    def __init__(self, frame_us: int) -> None:
        self._frame_ns = frame_us * 1000

    def steps(self, earlier_ns: int, later_ns: int) -> int:
        """See ``Cadence``."""
        return round((later_ns - earlier_ns) / self._frame_ns)

    def due(self, last_ns: int, now_ns: int) -> bool:
        """See ``Cadence``."""
        return now_ns - last_ns > self._frame_ns


class Triggered:
    """The belt's encoder gives a pulse every so many ticks, so the ticks tell how many pulses there were.

    Args:
        ticks: the encoder.
        every: ticks from pulse to pulse.
    """

    def __init__(self, ticks: Ticks, every: int) -> None:
        self._ticks, self._every = ticks, every

    def steps(self, earlier_ns: int, later_ns: int) -> int:
        """See ``Cadence``."""
        return round((self._ticks.tick_at(later_ns) - self._ticks.tick_at(earlier_ns)) / self._every)

    def due(self, last_ns: int, now_ns: int) -> bool:
        """See ``Cadence``; one pulse more than it takes, for a tick may be counted before its pulse or after."""
        return self._ticks.tick_at(now_ns) - self._ticks.tick_at(last_ns) >= 2 * self._every
