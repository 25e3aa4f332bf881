"""Defines the protocol that gives the encoder count at a time, and a constant-speed substitute for an encoder."""

from __future__ import annotations

from typing import Protocol


class Ticks(Protocol):
    """Gives the position of the belt at a time; every ``belt.encoder.Encoder`` does. Safe to call from any thread."""

    def tick_at(self, t_ns: int) -> int:
        """Return the encoder count at a time (CLOCK_MONOTONIC in nanoseconds)."""
        ...


class ConstantSpeed:
    """Computes ticks from a constant belt speed. It drifts from the real belt: for bench tests and films only.

    Args:
        px_per_s: speed of the belt, in pixels a second.
        px_per_tick: belt travel for each tick, in pixels; its sign is ignored.
    """

    def __init__(self, px_per_s: float, px_per_tick: float) -> None:
        self._ticks_per_s = px_per_s / abs(px_per_tick)

    def tick_at(self, t_ns: int) -> int:
        """Return the ticks from time 0 of the clock to ``t_ns``."""
        return round(t_ns * self._ticks_per_s / 1e9)
