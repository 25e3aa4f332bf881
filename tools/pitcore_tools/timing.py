"""Measures variants of one job in interleaved rounds, so that other load on the machine affects all of them equally."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

RESAMPLES, SEED = 2000, 20260101

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Timed:
    """Times of one variant.

    Attributes:
        wall_ms, cpu_ms: (rounds,) wall clock time, and CPU time of all threads.
    """

    wall_ms: Floats
    cpu_ms: Floats


@dataclass(frozen=True, slots=True)
class Ratio:
    """Ratio of the times of two variants: the median over rounds, and its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


def in_turns(
    jobs: Mapping[str, Callable[[int], object]], rounds: int, tick: Callable[[], object] = lambda: None
) -> dict[str, Timed]:
    """Run every job once in each round, after a round of warm-up.

    Args:
        jobs: functions by name; each is called with the number of the round.
        rounds: number of measured rounds.
        tick: called after each round.

    Returns:
        The times of each job, by name.
    """
    wall, cpu = ({name: np.empty(rounds) for name in jobs} for _ in range(2))
    for number in range(rounds + 1):
        for name, job in jobs.items():
            took = once(partial(job, number))
            if number:
                wall[name][number - 1], cpu[name][number - 1] = took
        tick()
    return {name: Timed(wall[name], cpu[name]) for name in jobs}


def once(job: Callable[[], object]) -> tuple[float, float]:
    """Run a job. Return wall clock time and CPU time in ms."""
    started, cpu_started = time.perf_counter_ns(), time.process_time_ns()
    job()
    return (time.perf_counter_ns() - started) / 1e6, (time.process_time_ns() - cpu_started) / 1e6


def ratio(numerator: Floats, denominator: Floats) -> Ratio:
    """Return the median of the rounds' ratios and its interval by the percentile bootstrap. Source: B. Efron, 1979."""
    ratios = numerator / denominator
    picks = np.random.default_rng(SEED).integers(0, len(ratios), (RESAMPLES, len(ratios)))
    low, high = np.percentile(np.median(ratios[picks], axis=1), [2.5, 97.5])
    return Ratio(float(np.median(ratios)), float(low), float(high))
