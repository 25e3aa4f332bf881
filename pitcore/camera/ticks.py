"""Where the belt was when a frame was exposed: what a camera asks, and the answer of a board without an encoder."""

from __future__ import annotations

from typing import Protocol


class Ticks(Protocol):
    """Says where the belt was; every ``belt.encoder.Encoder`` does. Safe to call from any thread."""

    def tick_at(self, t_ns: int) -> int:
        """Return the encoder count at a moment of CLOCK_MONOTONIC."""
        ...


class ConstantSpeed:
    """A belt that is taken to run at one speed for ever: a stand-in that drifts, for a bench and a film, not a line.

    Args:
        px_per_s: speed of the belt.
        px_per_tick: travel for each tick; its sign, the direction in the frame, plays no part here.
    """

    def __init__(self, px_per_s: float, px_per_tick: float) -> None:
        self._ticks_per_s = px_per_s / abs(px_per_tick)

    def tick_at(self, t_ns: int) -> int:
        """Return the ticks since the clock's zero."""
        return round(t_ns * self._ticks_per_s / 1e9)
