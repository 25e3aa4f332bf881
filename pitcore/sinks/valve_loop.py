"""One turn after the other: wait for the belt, follow it, switch lines. Runs in the valve process.

Edges wake it only shortly before something is to be done; in between they are read many at a time.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from pitcore.belt.encoder import Decoder, QuadratureDecoder, SingleDecoder
from pitcore.belt.lanes import Plan
from pitcore.config import ActuationConfig
from pitcore.sinks.actuator import COUNTED, Actuator, Rules
from pitcore.sinks.lines import Lines
from pitcore.sinks.valve_board import ValveBoard

REST_S = 0.002  # with nothing to do soon, edges are read so often
AWAKE_S = 0.0005  # and so long before something is to be done, each edge wakes the process
STANDING_S = 0.01  # how often a belt without edges is looked at


def rules_of(config: ActuationConfig) -> Rules:
    """Return latency, limits and fail-safe of a configuration."""
    return Rules(
        latency_ns=config.latency_us * 1000,
        max_on_ns=config.max_on_ms * 1_000_000,
        jitter_ticks=config.jitter_ticks,
        rejects_unjudged=config.fail_safe == "reject",
    )


class ValveLoop:
    """Follows the belt.

    Args:
        plan: the lanes, in the order of the lines.
        config: latency, limits, fail-safe, encoder.
        lines: open; closed by ``close``.
        board: what is shared with the service.

    Attributes:
        actuator: what is to be done is put into it.
    """

    def __init__(self, plan: Plan, config: ActuationConfig, lines: Lines, board: ValveBoard) -> None:
        encoder = config.encoder
        self._lines, self._board, self._history = lines, board, board.history
        self._decoder: Decoder = (
            QuadratureDecoder(*lines.levels(), reverse=encoder.reverse)
            if encoder.line_b is not None
            else SingleDecoder()
        )
        self.actuator = Actuator(plan, rules_of(config))

    def run(self, listen: Callable[[Actuator], bool]) -> None:
        """Go on until ``listen``, which takes in what is to be done, says that it is over; then shut every valve.

        Raises:
            OSError: the chip is gone.
        """
        try:
            while listen(self.actuator):
                self.turn()
        finally:
            self._lines.close()

    def turn(self) -> None:
        """Wait for the belt, or a little; follow it; switch lines."""
        history, actuator, board = self._history, self.actuator, self._board
        rest_s = self._rest_s(history.ticks_per_s(time.monotonic_ns()))
        if rest_s:
            time.sleep(rest_s)
        self._lines.wait(STANDING_S)
        for edge in self._lines.read():
            history.append(edge.t_ns, self._decoder.feed(edge))
        counts, opened_before = actuator.counts, actuator.counts["openings"]
        counts["encoder_lost"], counts["encoder_glitch"] = self._decoder.lost, self._decoder.glitches
        now_ns = time.monotonic_ns()
        mask = actuator.step(history.tick, now_ns, history.ticks_per_s(now_ns))
        armed = board.get("armed")
        self._lines.drive(mask if armed else 0)
        name = "driven" if armed else "dry_run"
        board.set(name, board.get(name) + counts["openings"] - opened_before)
        for count in COUNTED:
            board.set(count, counts[count])
        board.set("alive_ns", now_ns)

    def _rest_s(self, speed: float) -> float:
        """Return how long nothing is to be done, so that edges may be read many at a time."""
        schedule = self.actuator.schedule
        if schedule.mask or speed <= 0:
            return 0.0
        return max(0.0, min(REST_S, (schedule.next_change - schedule.tick) / speed - AWAKE_S))
