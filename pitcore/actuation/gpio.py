"""Connects the service with the valve process: sends verdicts, reads ticks and counts.

``valve_loop`` switches the valves, in a separate process (``valve_process``).
"""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from pitcore.actuation.actuator import Act, FaultReporter, JudgedFrame, acts_of
from pitcore.actuation.lines import import_gpiod, shut_lines
from pitcore.actuation.shared_state import ValveBoard
from pitcore.actuation.valve_guard import HUNG_NS, ValveGuard
from pitcore.actuation.valve_loop import STOOD_NS
from pitcore.actuation.valve_process import MAX_MESSAGE_BYTES, Answer, ChipChoice, RealChip, Start, Work
from pitcore.actuation.valve_tester import LANES, TestResult
from pitcore.belt.lanes import Plan
from pitcore.child_process import start_child
from pitcore.config import ActuationConfig
from pitcore.errors import ControlError, SinkError
from pitcore.metrics import Metrics
from pitcore.sinks.sink import Armed, Notice, TickNow
from pitcore.verdict import Event, Verdict

log = logging.getLogger("pitcore.valves")

START_S = 30.0  # time-out of the start; a slow board takes two seconds
END_S = 3.0  # time-out of the end: more than valve_loop.DRAIN_NS, less than the unit's TimeoutStopSec
TEST_S = 2  # time-out of a valve test; the valve process reads requests every 10 ms
UPDATE_EVERY_S = 0.01  # interval in which arming and disarming reach the valve process
POLL_S = 0.0005  # interval of checking whether the encoder was read


class GpioSink:
    """Implements ``sink.BeltSink``, ``sink.ReportsTick`` and ``belt.encoder.Encoder`` with the valve process.

    Args:
        plan: the lanes, in the order of the lines.
        config: lines, latency, limits, fail-safe.
        chip: the GPIO chip.
        arming: says whether lines may be driven.
        metrics: gets the counts ``rejects`` and ``valve_openings``, and ``spare``.

    Raises:
        SinkError: the chip or a line does not exist or is in use, or no process can be started.
    """

    def __init__(self, plan: Plan, config: ActuationConfig, chip: ChipChoice, arming: Armed, metrics: Metrics) -> None:
        self._arming, self._metrics = arming, metrics
        self._plan, self._latency_ns, self._tests = plan, config.latency_us * 1000, 0
        self._reporter = FaultReporter(config.fail_safe)
        self._counted: dict[tuple[str, str], int] = {}
        self._reports_end = False  # True if ``close`` must report that the process failed
        try:
            self._board, self._connection, self._process = _start_process()
        except OSError as error:
            raise SinkError(
                f"the valve process cannot be started: {error}; the board may be out of processes, files or "
                "memory: see TasksMax= of the unit and `pitcore doctor`"
            ) from error
        self._board.set("armed", int(arming.armed))
        self._guard = ValveGuard(self._process, self._board, _shutting(config, chip), time.monotonic_ns())
        self._is_stale = False  # True if the process did not read the encoder in time for a frame's tick
        self._closing = threading.Event()
        self._belt_started_ns: Callable[[], int | None] = lambda: None
        self._watcher = threading.Thread(target=self._update_process, name="pitcore-valves", daemon=True)
        self._connection.settimeout(START_S)
        try:
            self._connection.sendall(msgspec.msgpack.encode(Start(plan, config, chip)))
            self._receive_answer()
        except SinkError:
            self.close()
            raise
        except OSError as error:
            self.close()
            raise SinkError(f"the valve process does not start: {error}; see the log for the reason") from error
        self._connection.settimeout(0.0)
        self._watcher.start()
        self._reports_end = True

    @property
    def counts(self) -> dict[str, int]:
        """Every counter by name; see ``Actuator``. Readable from any thread."""
        return self._board.counts()

    def start_simulated_belt(self, started_ns: Callable[[], int | None]) -> None:
        """Set the start time of a simulated belt, CLOCK_MONOTONIC; it is stopped while ``started_ns`` returns None."""
        self._belt_started_ns = started_ns

    def tick_at(self, t_ns: int) -> int:
        """Return the encoder count at a time; see ``Encoder``.

        Waits until the process has read the edges before that time, because an old count would put a verdict at the
        wrong place. If that takes longer than ``HUNG_NS``, the next ``emit`` raises.
        """
        now_ns = time.monotonic_ns()
        until_ns, t_read_ns = now_ns + HUNG_NS, min(t_ns, now_ns)
        while self._board.get("read_ns") < t_read_ns and not self._closing.is_set():
            if time.monotonic_ns() > until_ns:
                self._is_stale = True
                break
            time.sleep(POLL_S)
        return self._board.history.tick_at(t_ns)

    def tick_now(self) -> TickNow:
        """Return the present count; see ``sink.ReportsTick``. Two reads of the shared memory; nothing waits."""
        t_ns = self._board.get("read_ns")  # first: later edges may follow
        return TickNow(self._board.history.tick_at(t_ns), t_ns)

    def emit(self, records: Sequence[Verdict | Event]) -> None:
        """Take the verdicts of a frame.

        Raises:
            SinkError: the valve process ended or hangs. A service that cannot reject must stop.
        """
        self._check_alive()
        acts = acts_of(records)
        if acts:
            self._send(Work(acts))
            self._measure_spare(acts)
        self._count()

    def judged(self, tick: int, t_ns: int, waiting_px: int = 0) -> None:
        """See ``BeltSink``."""
        self._send(Work(judged=JudgedFrame(tick, t_ns, waiting_px)))

    def notices(self) -> list[Notice]:
        """See ``BeltSink``. It is also called without frames, and then detects that the process ended.

        Raises:
            SinkError: as ``emit``.
        """
        self._check_alive()
        return self._reporter.notices(self.counts)

    @property
    def lanes(self) -> int:
        """Number of valves; see ``control.valve_test.Valves``."""
        return len(self._plan.lanes)

    def test(self, lane: int) -> None:
        """Open the valve of a lane for a tenth of a second. Callable from any thread, one call at a time.

        Raises:
            ControlError: the air jet is armed, the belt is not stopped, or the valve process does not answer.
        """
        refusals = {
            TestResult.ARMED: "the air jet is armed; a valve is tested in dry run only: disarm first",
            TestResult.BELT_MOVES: "the belt moves, or moved within the last two seconds; stop it first",
        }
        if self._arming.armed:
            raise ControlError(refusals[TestResult.ARMED])
        self._tests += 1
        self._board.set("test_asked", self._tests * LANES + lane)
        until_ns = time.monotonic_ns() + TEST_S * 10**9
        while (answer := self._board.get("test_result")) // LANES != self._tests:
            if time.monotonic_ns() > until_ns:
                raise ControlError("the valve process did not answer; the result of the test is unknown")
            time.sleep(UPDATE_EVERY_S)
        if (result := TestResult(answer % LANES)) in refusals:
            raise ControlError(refusals[result])

    def status(self) -> dict[str, Any]:
        """See ``sink.ReportsStatus``."""
        running = self._process.poll() is None
        values = {name: self._board.get(name) for name in ("driven", "dry_run", "wake_late_us")}
        return {"kind": "valves", "state": "ok" if running else "ended"} | values | self.counts

    def close(self) -> None:
        """Fire the pulses of the next second, then shut every valve and end the process. Safe to call twice.

        Raises:
            SinkError: the process failed, and this was not reported yet.
        """
        if self._closing.is_set():
            return
        # Arming may have changed since the thread wrote it last, and the process acts on it until its end.
        self._board.set("armed", int(self._arming.armed))
        self._connection.close()  # the process ends when the connection closes
        self._board.set("armed", int(self._arming.armed))
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._closing.set()
        if self._watcher.is_alive():
            self._watcher.join()
        self._count()
        if self._board.get("let_through"):
            log.warning(
                "%d things that should have left the belt passed: the service stopped "
                "before they reached the nozzles; stop the belt first",
                self._board.get("let_through"),
            )
        fault = self._guard.look(time.monotonic_ns()) if self._process.returncode else None
        if fault and self._reports_end:
            raise SinkError(fault)

    def _check_alive(self) -> None:
        """Raise SinkError if the process ended or hangs."""
        fault = self._guard.look(time.monotonic_ns())
        if fault is None and not self._is_stale:
            return
        self._reports_end = False
        self._raise_reason()
        raise SinkError(fault or "the valve process did not read the encoder for a second: the board is overloaded")

    def _update_process(self) -> None:
        """Write arming and belt start to the shared memory, and watch the process."""
        while not self._closing.wait(UPDATE_EVERY_S):
            self._board.set("armed", int(self._arming.armed))
            if not self._board.get("belt_start_ns"):
                self._board.set("belt_start_ns", self._belt_started_ns() or 0)
            self._guard.look(time.monotonic_ns())

    def _send(self, work: Work) -> None:
        try:
            self._connection.sendall(msgspec.msgpack.encode(work))
        except BlockingIOError as error:
            raise SinkError("the valve process does not listen; the board is overloaded, or its chip hangs") from error
        except OSError as error:  # the process is ending; wait for its reason
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(END_S)
            self._check_alive()
            raise SinkError(f"the valve process does not listen: {error.strerror}") from error

    def _receive_answer(self) -> None:
        """Wait for the process's first answer. Raises SinkError with its message, TimeoutError."""
        raw = self._connection.recv(MAX_MESSAGE_BYTES)
        answer = msgspec.msgpack.decode(raw, type=Answer) if raw else Answer("the valve process ended; see the log")
        if answer.error is not None:
            raise SinkError(answer.error)

    def _raise_reason(self) -> None:
        """Raise SinkError with the reason, if the process reported why it ended."""
        try:
            raw = self._connection.recv(MAX_MESSAGE_BYTES)
        except OSError:
            return
        if raw and (reason := msgspec.msgpack.decode(raw, type=Answer).error):
            raise SinkError(reason)

    def _measure_spare(self, acts: Sequence[Act]) -> None:
        """Measure the time until the first valve of each thing must open. A stopped belt has none."""
        history, now_ns = self._board.history, time.monotonic_ns()
        t_ns, tick = history.newest
        ticks_per_s = history.ticks_per_s(t_ns)  # until the newest step: the valve process reads steps a little later
        if ticks_per_s <= 0 or now_ns - t_ns > STOOD_NS:
            return
        for act in acts:
            pulses = self._plan.pulses(act.tick, act.box, act.action, one_cherry=act.one_cherry)
            if pulses:
                ticks = min(pulse.on for pulse in pulses) - tick
                due_ns = t_ns + int(ticks * 1e9 / ticks_per_s) - self._latency_ns
                self._metrics.spare.add(max(0, due_ns - now_ns))

    def _count(self) -> None:
        """Update the metrics. Only the loop's thread calls this, because it writes all metrics."""
        counts = self.counts
        now = {
            ("rejects", label): counts[name]
            for name, label in (
                ("scheduled", "scheduled"),
                ("known", "known"),
                ("reject_late", "late"),
                ("reject_skipped", "skipped"),
            )
        }
        now |= {("valve_openings", name): self._board.get(name) for name in ("driven", "dry_run")}
        for place, number in now.items():
            new = number - self._counted.get(place, 0)
            if new:
                self._metrics.count(*place, new)
                self._counted[place] = number


def _shutting(config: ActuationConfig, chip: ChipChoice) -> Callable[[], None]:
    """Return a function that shuts the valves after the process ended; it does nothing for a simulated chip."""
    if not isinstance(chip, RealChip) or not config.lanes:
        return lambda: None
    import_gpiod()  # imports now, because importing takes too long in an emergency
    return lambda: shut_lines(config)


def _start_process() -> tuple[ValveBoard, socket.socket, subprocess.Popen[bytes]]:
    """Start the process with the shared memory. Raises OSError."""
    board, memory = ValveBoard.create()
    try:
        ours, process = start_child("pitcore.actuation.valve_process", memory)
    finally:
        os.close(memory)
    return board, ours, process
