"""Measures the compiled schedule against the same module as plain Python."""

from __future__ import annotations

import importlib.util
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np

import pitcore.actuation.schedule as installed

TICKS_PER_S = 5_000
LANES, PULSE_TICKS, AHEAD_TICKS = 8, 40, 600
PITS_PER_TICK = 0.029  # 24 cherries in 250 ticks, three of ten with a pit
TICKS, ROUNDS = 50_000, 5


@dataclass(frozen=True, slots=True)
class Speed:
    """Nanoseconds for each tick: medians of ``ROUNDS`` interleaved runs, without the time of the benchmark's loop.

    Attributes:
        compiled: True if the installed module is compiled.
        installed_ns: time of the installed module.
        plain_ns: time of its source as plain Python.
    """

    compiled: bool
    installed_ns: float
    plain_ns: float


def plain_schedule() -> ModuleType:
    """Load the source of the schedule as a plain Python module; the imported one stays as it is."""
    source = Path(str(installed.__file__)).with_name("schedule.py")
    spec = importlib.util.spec_from_file_location("pitcore_plain_schedule", source)
    assert spec is not None  # noqa: S101  the source is part of every wheel
    assert spec.loader is not None  # noqa: S101
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def measure() -> Speed:
    """Measure both modules, interleaved. Takes about a second."""
    plain = plain_schedule()
    pits = np.random.default_rng(1).random(TICKS) < PITS_PER_TICK
    lanes = np.random.default_rng(2).integers(0, LANES, TICKS)
    load = [lane if pit else -1 for pit, lane in zip(pits.tolist(), lanes.tolist(), strict=True)]
    times: dict[str, list[float]] = {"empty": [], "installed": [], "plain": []}
    for _ in range(ROUNDS):
        times["empty"].append(_run(load, lambda _lane, _on, _off: None, lambda _tick: None))
        for name, module in (("installed", installed), ("plain", plain)):
            schedule = module.Schedule(LANES, 2, AHEAD_TICKS)
            times[name].append(_run(load, schedule.add, schedule.advance))
    middle = {name: statistics.median(values) for name, values in times.items()}
    return Speed(
        compiled=Path(str(installed.__file__)).suffix != ".py",
        installed_ns=middle["installed"] - middle["empty"],
        plain_ns=middle["plain"] - middle["empty"],
    )


def _run(load: list[int], add: Callable[[int, int, int], object], advance: Callable[[int], object]) -> float:
    """Return nanoseconds for each tick."""
    started = time.perf_counter_ns()
    for tick, lane in enumerate(load):
        if lane >= 0:
            add(lane, tick + AHEAD_TICKS, tick + AHEAD_TICKS + PULSE_TICKS)
        advance(tick)
    return (time.perf_counter_ns() - started) / len(load)
