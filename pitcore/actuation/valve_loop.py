"""Runs the loop of the valve process: wait for the belt, follow it, switch lines.

Long before a change, edges are read many at a time. Shortly before a change the process stays awake and polls for each
edge (``wakeup_margin``), since a sleeping process wakes late.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from pitcore.actuation.actuator import COUNTED, Actuator, FiringRules
from pitcore.actuation.lines import Lines
from pitcore.actuation.shared_state import ValveBoard
from pitcore.actuation.valve_tester import ValveTester
from pitcore.actuation.wakeup_margin import Gap, WakeupMargin
from pitcore.belt.encoder import Decoder, QuadratureDecoder, SingleDecoder
from pitcore.belt.lanes import Plan
from pitcore.belt.lead import Lead
from pitcore.config import ActuationConfig

REST_NS = 2_000_000  # interval of reading edges when no valve must change soon
STANDING_NS = 10_000_000  # interval of reading a belt without edges
DRAIN_NS = 1_200_000_000  # pulses due within this time are still fired at the end; the service must stop within 2 s
STOOD_NS = 100_000_000  # a belt without edges for this long is stopped
FADING = 0.9995  # decay of the belt's top speed for each turn, so that it is remembered over a stop


def rules_of(config: ActuationConfig) -> FiringRules:
    """Return latency, limits and fail-safe of a configuration."""
    return FiringRules(
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
        lines: the open lines; ``run`` closes them.
        board: memory shared with the service.

    Attributes:
        actuator: takes the actions.
        wakeups: measures how late this process wakes.
    """

    def __init__(self, plan: Plan, config: ActuationConfig, lines: Lines, board: ValveBoard) -> None:
        encoder = config.encoder
        self._lines, self._board, self._history = lines, board, board.history
        self._decoder: Decoder = (
            QuadratureDecoder(*lines.levels(), reverse=encoder.reverse)
            if encoder.line_b is not None
            else SingleDecoder()
        )
        rules = rules_of(config)
        self.actuator = Actuator(plan, rules)
        self._lead = Lead(board.history, rules.latency_ns, rules.jitter_ticks)
        self.wakeups = WakeupMargin(config.spin_share)
        self._fastest = 0.0
        self._tester = ValveTester(board)

    def run(self, listen: Callable[[Actuator], bool]) -> None:
        """Run until ``listen``, which reads messages, returns False; then shut every valve.

        Pulses for judged things on a running belt are fired first, within ``DRAIN_NS``.

        Raises:
            OSError: the chip has failed.
        """
        try:
            while listen(self.actuator):
                self.turn()
            self._drain()
        finally:
            self._lines.close()
            self._board.set("open", 0)

    def _drain(self) -> None:
        """Fire at known pits that reach their nozzle soon; count those that do not."""
        board, history = self._board, self._history
        until_ns = time.monotonic_ns() + DRAIN_NS
        self.turn()  # processes the last messages
        while board.get("armed") and self.actuator.ahead():
            now_ns = time.monotonic_ns()
            if now_ns > until_ns or now_ns - history.t_ns > STOOD_NS:
                break
            self.turn()
        board.set("let_through", self.actuator.ahead() if board.get("armed") else 0)

    def turn(self) -> None:
        """Wait for the belt up to a limit, follow it, switch lines."""
        history, actuator, board = self._history, self.actuator, self._board
        asleep_ns = self._wait(time.monotonic_ns())
        woke_ns = time.monotonic_ns()
        edges = self._lines.read()
        if edges and asleep_ns is not None and edges[0].t_ns > asleep_ns:
            self.wakeups.woke(edges[0].t_ns, woke_ns)
        for edge in edges:
            history.append(edge.t_ns, self._decoder.feed(edge))
        board.set("read_ns", woke_ns)
        counts, opened_before = actuator.counts, actuator.counts["openings"]
        counts["encoder_lost"], counts["encoder_glitch"] = self._decoder.lost, self._decoder.glitches
        now_ns = time.monotonic_ns()
        mask = actuator.step(history.tick, now_ns, self._lead.at_nozzle(now_ns), history.t_ns)
        armed = board.get("armed")
        tested = self._tester.mask(now_ns, history.t_ns, armed=bool(armed))
        driven = mask if armed else tested
        board.set("open", board.get("open") | driven)  # set before, cleared after: the chip may hang
        self._lines.drive(driven)
        board.set("open", driven)
        self.wakeups.note(woke_ns, time.monotonic_ns(), Gap.AT_WORK)
        name = "driven" if armed else "dry_run"
        board.set(name, board.get(name) + counts["openings"] - opened_before)
        for count in COUNTED:
            board.set(count, counts[count])
        board.set("wake_late_us", int(self.wakeups.latest_ns) // 1000)
        board.set("alive_ns", now_ns)

    def _wait(self, now_ns: int) -> int | None:
        """Wait for the belt: asleep while nothing is due soon, then polling.

        Returns:
            The start of the sleep until the next edge; None if it did not sleep.
        """
        due_ns, earliest_ns = self._due_ns(now_ns)
        lead_ns = self.wakeups.lead_ns
        if due_ns - lead_ns <= now_ns and self.wakeups.may_spin(now_ns):
            self._spin(now_ns)
            return None
        rest_ns = 0 if self.actuator.busy else min(REST_NS, earliest_ns - lead_ns - now_ns)
        if rest_ns > 0:
            time.sleep(rest_ns / 1e9)
            until_ns, now_ns = now_ns + rest_ns, time.monotonic_ns()
            self.wakeups.woke(until_ns, now_ns)
        limit_ns = due_ns - lead_ns - now_ns if due_ns - lead_ns > now_ns else STANDING_NS
        self._lines.wait(min(STANDING_NS, limit_ns) / 1e9)
        return now_ns

    def _spin(self, since_ns: int) -> None:
        """Poll for an edge for a limited time: the belt may have stopped."""
        until_ns = since_ns + 2 * self.wakeups.lead_ns
        now_ns = since_ns
        found = False
        while not found and now_ns < until_ns:
            found, asked_ns = self._lines.wait(0), now_ns
            now_ns = time.monotonic_ns()
            self.wakeups.note(asked_ns, now_ns, Gap.AWAKE)
        self.wakeups.spun(now_ns - since_ns)

    def _due_ns(self, now_ns: int) -> tuple[int, int]:
        """Return the times of the next change of a valve, at the present and at the highest speed of the belt.

        A stopped belt changes none; its next edge wakes the process.
        """
        history = self._history
        speed = history.ticks_per_s(now_ns)
        self._fastest = max(speed, self._fastest * FADING)
        if speed <= 0 or now_ns - history.t_ns > STANDING_NS:
            return now_ns + 2 * STANDING_NS, now_ns
        ticks_ns = self.actuator.next_change_ticks * 10**9
        return history.t_ns + int(ticks_ns / speed), history.t_ns + int(ticks_ns / self._fastest)
