"""Decides whether one run is faster than another, although the durations of neighbouring frames are correlated.

The frames of a run are cut into blocks in order; the median of each block is one observation. The interval of the
ratio comes from resampling blocks of each run (block bootstrap; source: H. Kuensch, 1989), so slow periods of a shared
machine widen the interval.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

BLOCKS, RESAMPLES, SEED = 20, 4000, 1
WORTH_SAYING = 0.03  # a smaller relative difference is not reported


@dataclass(frozen=True, slots=True)
class Change:
    """The result of a comparison.

    Attributes:
        ratio: median of the new run's blocks divided by that of the old run's.
        interval: 95 % interval of the ratio.
        verdict: the conclusion.
    """

    ratio: float
    interval: tuple[float, float]
    verdict: Literal["faster", "slower", "no difference"]


def blocks(durations: NDArray[np.float64]) -> list[float]:
    """Return the medians of up to ``BLOCKS`` blocks of (frames,) durations."""
    parts = np.array_split(durations, min(BLOCKS, len(durations))) if len(durations) else []
    return [float(np.median(part)) for part in parts]


def compare(old: list[float], new: list[float]) -> Change:
    """Compare the blocks of two runs, see ``blocks``."""
    rng = np.random.default_rng(SEED)
    medians = [
        np.median(np.asarray(values)[rng.integers(0, len(values), (RESAMPLES, len(values)))], axis=1)
        for values in (old, new)
    ]
    low, high = np.percentile(medians[1] / np.maximum(medians[0], 1e-9), [2.5, 97.5])
    ratio = float(np.median(new) / max(float(np.median(old)), 1e-9))
    verdict: Literal["faster", "slower", "no difference"] = "no difference"
    if low > 1.0 and ratio > 1.0 + WORTH_SAYING:
        verdict = "slower"
    elif high < 1.0 and ratio < 1.0 - WORTH_SAYING:
        verdict = "faster"
    return Change(ratio, (float(low), float(high)), verdict)
