"""Runs the line of the reject benchmark in real time: the valve process with a simulated chip, on this machine."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from pitcore.actuation.gpio import GpioSink
from pitcore.actuation.valve_process import PRIORITY, PlayedChip
from pitcore.bench.reject_account import Run, settle
from pitcore.bench.reject_line import CHERRY_PX, LANES, PLAN, BeltPosition, Camera, exposures, lay, steps
from pitcore.bench.rejects import Progress, RejectResult
from pitcore.config import ActuationConfig, EncoderConfig, LaneConfig
from pitcore.metrics import Metrics

TICKS_PER_S = 5_000
JUDGED_AFTER_NS = 60_000_000  # from exposure to verdict
SETTLING_NS = 500_000_000  # from opening the chip to the first step of the belt

CONFIG = ActuationConfig(
    kind="simulated",
    encoder=EncoderConfig(line_a=LANES, line_b=LANES + 1),
    lanes=tuple(
        LaneConfig(line=number, x_px=lane.x_px, distance_ticks=lane.distance_ticks, pulse_ticks=lane.pulse_ticks)
        for number, lane in enumerate(PLAN.lanes)
    ),
    cherry_px=CHERRY_PX,
)


class _Armed:
    armed = True


@dataclass(frozen=True, slots=True)
class Conditions:
    """Conditions of a run in real time.

    Attributes:
        only_sleeps: the valve process never busy-waits (spin_share = 0), for comparison.
        beside_a_busy_thread: another thread computes in Python all the time. This is worse than the service's loop,
            which releases the interpreter for most of a frame.
    """

    only_sleeps: bool = False
    beside_a_busy_thread: bool = False


def live(
    count: int, seed: int, conditions: Conditions = Conditions(), progress: Progress | None = None
) -> RejectResult:
    """Run a belt of cherries in real time; about seven seconds for a thousand.

    Args:
        count: number of cherries.
        seed: equal seeds give equal belts.
        conditions: conditions of the run.
        progress: called with the share that is done, 0..1.
    """
    cherries = lay(count, seed)
    t_ns, ticks = steps(int(cherries.due.max()) + 400, TICKS_PER_S, seed + 1)
    started = time.monotonic()
    config = msgspec.structs.replace(CONFIG, spin_share=0.0) if conditions.only_sleeps else CONFIG
    with tempfile.TemporaryDirectory(prefix="pitcore-rejects-") as folder:
        chip = PlayedChip(*(str(Path(folder) / f"{name}.npy") for name in ("steps", "driven", "gaps")))
        np.save(chip.steps, np.stack([t_ns, ticks], axis=1))
        sink = GpioSink(PLAN, config, chip, _Armed(), Metrics())
        try:
            with _busy_thread() if conditions.beside_a_busy_thread else nullcontext():
                start_ns = time.monotonic_ns() + SETTLING_NS
                sink.start_simulated_belt(lambda: start_ns)
                t_ns = t_ns + start_ns
                _show(sink, Camera(cherries), (t_ns, ticks), progress)
        finally:
            sink.close()
        driven = [(t, lane, level) for t, lane, level in np.load(chip.driven).tolist() if lane < LANES]
        gaps = np.load(chip.gaps)
    counts = sink.counts
    return RejectResult(
        account=settle(Run(t_ns, ticks, driven), cherries),
        steps=len(ticks),
        backed_up=int((np.diff(ticks) < 0).sum()),
        lost=counts["encoder_lost"],
        glitches=counts["encoder_glitch"],
        counts=counts,
        took_s=time.monotonic() - started,
        gaps=gaps,
    )


def _show(
    sink: GpioSink, camera: Camera, belt: tuple[NDArray[np.int64], NDArray[np.int64]], progress: Progress | None
) -> None:
    """Expose frames of the belt at their times, and emit their verdicts ``JUDGED_AFTER_NS`` later."""
    t_ns, ticks = belt
    furthest = np.maximum.accumulate(ticks)
    for exposed_ns in exposures(int(t_ns[0]), int(t_ns[-1])):
        _sleep_until(exposed_ns + JUDGED_AFTER_NS)
        step = max(0, int(np.searchsorted(t_ns, exposed_ns, side="right")) - 1)
        tick = sink.tick_at(exposed_ns)
        sink.emit(camera.take(BeltPosition(int(ticks[step]), int(furthest[step])), tick, exposed_ns))
        sink.judged(tick, exposed_ns, camera.waiting_px)
        if progress is not None:
            progress(step / len(ticks))
    _sleep_until(int(t_ns[-1]) + JUDGED_AFTER_NS)


def wake_ups_us(count: int = 2000) -> NDArray[np.float64]:
    """Measure how late sleeps of 1 ms end at the valve process's priority. Return (count,) microseconds."""
    late = np.zeros(count)

    def sleep() -> None:
        with suppress(OSError):  # without permission for a priority the valve process has none either
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
        for number in range(count):
            due_ns = time.monotonic_ns() + 1_000_000
            time.sleep(0.001)
            late[number] = (time.monotonic_ns() - due_ns) / 1000

    thread = threading.Thread(target=sleep, name="sleeper")
    thread.start()
    thread.join()
    return late


def _sleep_until(t_ns: int) -> None:
    time.sleep(max(0, t_ns - time.monotonic_ns()) / 1e9)


@contextmanager
def _busy_thread() -> Iterator[None]:
    """Compute in Python on another thread that never releases the interpreter voluntarily."""
    done = False

    def work() -> None:
        number = 1
        while not done:
            number = number * 1103515245 % 2147483647

    thread = threading.Thread(target=work, name="busy", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done = True
        thread.join()
