"""Computes when a camera's next frame is due: at a fixed frame rate, or with the encoder's trigger pulses. No IO."""

from __future__ import annotations

from typing import Protocol

from pitcore.camera.ticks import Ticks


class Cadence(Protocol):
    """Knows the interval between frames."""

    def steps(self, earlier_ns: int, later_ns: int) -> int:
        """Return the number of frames from one exposure to another; 2 means that one frame between them is missing."""
        ...

    def due(self, last_ns: int, now_ns: int) -> bool:
        """Return whether a frame after the last one should have been exposed by now."""
        ...


class FreeRunning:
    """Frames at a constant interval.

    Args:
        frame_us: interval between two frames, in microseconds.
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
    """Frames triggered by the belt's encoder, one every ``every`` ticks; the encoder count gives the number of pulses.

    Args:
        ticks: the encoder.
        every: ticks between two pulses.
    """

    def __init__(self, ticks: Ticks, every: int) -> None:
        self._ticks, self._every = ticks, every

    def steps(self, earlier_ns: int, later_ns: int) -> int:
        """See ``Cadence``."""
        return round((self._ticks.tick_at(later_ns) - self._ticks.tick_at(earlier_ns)) / self._every)

    def due(self, last_ns: int, now_ns: int) -> bool:
        """See ``Cadence``. Allows one extra pulse, because a tick may be counted before or after its pulse."""
        return self._ticks.tick_at(now_ns) - self._ticks.tick_at(last_ns) >= 2 * self._every
