"""Foresees where the belt is when the air of a valve that is switched now arrives.

Pure: it reads the encoder's history, and no clock.
"""

from __future__ import annotations

from pitcore.belt.encoder import TickHistory

NOISE_TICKS = (
    6  # uncertainty of the foreseen travel at any speed, since steps of an encoder are uneven by up to a fifth
)


class Lead:
    """Foresees the belt's position after the latency of the valves.

    Nobody knows how long a brake or a start goes on. So the position is foreseen twice: the belt keeps its speed, or
    its speed goes on to change as it did. The valves get both, as a stretch of belt.

    Args:
        history: steps of the encoder.
        latency_ns: from the line to the air.
        jitter_ticks: movement up to this is jitter.
    """

    def __init__(self, history: TickHistory, latency_ns: int, jitter_ticks: int) -> None:
        self._history, self._latency_ns, self._jitter = history, latency_ns, jitter_ticks
        self._back = self._front = 0
        self._at_ns = 0
        self._steady = 0.0  # travel in a latency at the last speed
        self._quarter = self._half = -1  # numbers of the steps a quarter and half of the latency ago

    def at_nozzle(self, now_ns: int) -> tuple[int, int]:
        """Return the first and the last tick at which the belt may be when the air arrives.

        Times must not fall from call to call. Neither tick is before the belt's position now: belt that backs up gets
        no air. Both fall only by more than their uncertainty, so that they do not switch a valve twice at one border.
        """
        history, latency_ns = self._history, self._latency_ns
        came_ns, tick = history.newest
        if not latency_ns:
            return tick, tick
        # Between two steps the belt is where it was at the step. It brakes if a step takes longer than the last ones.
        self._at_ns = max(self._at_ns, came_ns, now_ns - round(latency_ns / max(1.0, self._steady)))
        quarter_ns, half_ns = self._at_ns - latency_ns // 4, self._at_ns - latency_ns // 2
        self._quarter = history.step_at(quarter_ns, self._quarter)
        self._half = history.step_at(half_ns, self._half)
        middle = history.place_at(self._quarter, quarter_ns)
        latest, before = tick - middle, middle - history.place_at(self._half, half_ns)
        self._steady = steady = 4 * latest
        changing = steady + 10 * (latest - before)  # exact while the acceleration is constant
        low, high = max(0, round(min(steady, changing))), max(0, round(max(steady, changing)))
        noise = self._jitter + min(high // 2, NOISE_TICKS)
        if not self._back - noise <= tick + low < self._back:
            self._back = tick + low
        if not self._front - noise <= tick + high < self._front:
            self._front = tick + high
        return self._back, max(self._back, self._front)
