"""Drives the valves: one thread that wakes on encoder edges, follows the belt, and switches lines.

The thread is real-time where the system lets it be. It needs the interpreter for some microseconds at a time, so while
it runs other threads give the interpreter up ten times as often as Python's default. What is to be done is
``actuator``'s, how lines are reached ``lines``'.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
import threading
import time
from collections.abc import Sequence

from pitcore.belt.encoder import Decoder, QuadratureDecoder, SingleDecoder, TickHistory
from pitcore.belt.lanes import Plan
from pitcore.config import ActuationConfig
from pitcore.errors import SinkError
from pitcore.metrics import Metrics
from pitcore.sinks.actuator import Actuator, Rules
from pitcore.sinks.lines import Lines
from pitcore.sinks.sink import Armed, Notice
from pitcore.verdict import Event, Verdict

log = logging.getLogger(__name__)

PRIORITY = 40  # SCHED_FIFO: below the kernel's own threads (50), above everything else of ours
SWITCH_INTERVAL_S = 0.00005
REST_S = 0.002  # with nothing to do soon, edges are read so often
AWAKE_S = 0.0005  # and so long before something is to be done, each edge wakes the thread
STANDING_S = 0.02  # how often a belt without edges is looked at
HUNG_NS = 1_000_000_000  # a thread silent for longer is broken


def rules_of(config: ActuationConfig) -> Rules:
    """Return latency, limits and fail-safe of a configuration."""
    return Rules(
        latency_ns=config.latency_us * 1000,
        max_on_ns=config.max_on_ms * 1_000_000,
        jitter_ticks=config.jitter_ticks,
        rejects_unjudged=config.fail_safe == "reject",
    )


class GpioSink:
    """Implements ``sink.BeltSink`` and ``belt.encoder.Encoder``.

    Args:
        plan: the lanes, in the order of the lines.
        config: latency, limits, fail-safe, encoder.
        lines: open; closed here.
        arming: whether lines may be driven.
        metrics: ``rejects`` and ``valve_openings`` are counted there.
    """

    def __init__(self, plan: Plan, config: ActuationConfig, lines: Lines, arming: Armed, metrics: Metrics) -> None:
        encoder = config.encoder
        self._lines, self._arming, self._metrics = lines, arming, metrics
        self._decoder: Decoder = (
            QuadratureDecoder(*lines.levels(), reverse=encoder.reverse)
            if encoder.line_b is not None
            else SingleDecoder()
        )
        self._history = TickHistory()
        self._actuator = Actuator(plan, rules_of(config))
        self._counted: dict[str, int] = {}
        self._dry_openings = self._driven_openings = 0
        self._alive_ns = time.monotonic_ns()
        self._stopping = threading.Event()
        self._closed = False
        self._switch_interval_s = 0.0
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="pitcore-actuator", daemon=True)

    @property
    def counts(self) -> dict[str, int]:
        """Everything that happened, by name; see ``Actuator``. From any thread."""
        return dict(self._actuator.counts)

    def start(self) -> None:
        """Start following the belt."""
        # A full collection walks every object of the process and holds the interpreter meanwhile, for longer than a
        # pulse may be late; what was built until now stays for good.
        gc.freeze()
        self._switch_interval_s = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        self._thread.start()

    def tick_at(self, t_ns: int) -> int:
        """Return the encoder count at a moment; see ``Encoder``."""
        return self._history.tick_at(t_ns)

    def emit(self, records: Sequence[Verdict | Event]) -> None:
        """Take the verdicts of a frame.

        Raises:
            SinkError: the thread broke or hangs: a service that cannot reject must not go on.
        """
        if self._failure is not None:
            raise SinkError(f"the actuator stopped: {self._failure}; the valves are shut") from self._failure
        if self._thread.is_alive() and time.monotonic_ns() - self._alive_ns > HUNG_NS:
            raise SinkError("the actuator hangs: its thread did not run for a second; the board is overloaded")
        self._actuator.take(record for record in records if isinstance(record, Verdict))
        self._count()

    def judged(self, tick: int) -> None:
        """See ``BeltSink``."""
        self._actuator.judged(tick)

    def notices(self) -> list[Notice]:
        """See ``BeltSink``."""
        return self._actuator.notices()

    def close(self) -> None:
        """Stop the thread and shut every valve. Safe to call before ``start`` and twice."""
        self._stopping.set()
        if self._thread.ident is not None and not self._closed:
            self._thread.join()
            sys.setswitchinterval(self._switch_interval_s)
            gc.unfreeze()
        self._closed = True
        self._lines.close()
        self._count()

    def _run(self) -> None:
        try:
            _ask_for_real_time()
            while not self._stopping.is_set():
                self._once()
        except BaseException as error:
            self._failure = error
            log.critical("the actuator stopped", exc_info=error)
        finally:
            self._lines.drive(0)

    def _once(self) -> None:
        """Wait for the belt, follow it, switch lines."""
        history, actuator = self._history, self._actuator
        now_ns = time.monotonic_ns()
        speed = history.ticks_per_s(now_ns)
        rest_s = self._rest_s(speed)
        if rest_s:
            time.sleep(rest_s)
        self._lines.wait(STANDING_S)
        for edge in self._lines.read():
            history.append(edge.t_ns, self._decoder.feed(edge))
        actuator.counts["encoder_lost"] = self._decoder.lost
        actuator.counts["encoder_glitch"] = self._decoder.glitches
        now_ns = self._alive_ns = time.monotonic_ns()
        before = actuator.counts["openings"]
        mask = actuator.step(history.tick, now_ns, history.ticks_per_s(now_ns))
        armed = self._arming.armed
        self._lines.drive(mask if armed else 0)
        opened = actuator.counts["openings"] - before
        if armed:
            self._driven_openings += opened
        else:
            self._dry_openings += opened

    def _rest_s(self, speed: float) -> float:
        """Return how long nothing is to be done, so that edges may be read many at a time."""
        schedule = self._actuator.schedule
        if schedule.mask or speed <= 0:
            return 0.0
        return max(0.0, min(REST_S, (schedule.next_change - schedule.tick) / speed - AWAKE_S))

    def _count(self) -> None:
        """Bring the metrics up to date; the loop's thread writes them, as all others."""
        counts = self._actuator.counts
        now = {f"rejects/{name}": counts[name] for name in ("scheduled", "known", "reject_late", "reject_skipped")}
        now |= {"valve_openings/driven": self._driven_openings, "valve_openings/dry_run": self._dry_openings}
        for place, number in now.items():
            new = number - self._counted.get(place, 0)
            if new:
                name, _, label = place.partition("/")
                self._metrics.count(name, label.removeprefix("reject_"), new)
                self._counted[place] = number


def _ask_for_real_time() -> None:
    """Ask for a real-time priority; without one a busy board may fire late, and the counts will show it."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    except OSError as error:
        log.warning("no real-time priority for the valves (%s): allow it with LimitRTPRIO=%d", error.strerror, PRIORITY)
