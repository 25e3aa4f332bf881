"""Computes thresholds with a finite-sample guarantee. Does no IO.

Throughout, ``labels`` is (N,) with 1 for a pit and 0 for clean, and ``probabilities`` is (N,), of a pit. A cherry is
accepted as clean below ``accept``, rejected from ``reject`` on, and reviewed between.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from pitcore.errors import DataError
from pitcore_tools.evaluate.figures import Floats, Labels, Share

STEP = 1e-4  # resolution of a threshold in a card
RECALLS = (0.95, 0.98, 0.99, 0.995)


@dataclass(frozen=True, slots=True)
class Accepted:
    """An accept threshold with its guarantee.

    Attributes:
        threshold: probability of a pit below which a cherry passes.
        pits: number of pits by which it was chosen.
        missed: number of these pits that pass.
        max_miss, confidence: with this confidence, at most this share of all pits passes.
    """

    threshold: float
    pits: int
    missed: int
    max_miss: float
    confidence: float


def accept_threshold(labels: Labels, probabilities: Floats, max_miss: float, confidence: float) -> Accepted:
    """Return the highest accept threshold that keeps a promise about future pits.

    The share of all pits below the (k + 1)-th lowest of n pits follows Beta(k + 1, n - k), for any distribution; k is
    the largest number with P(Binomial(n, max_miss) <= k) <= 1 - confidence. Source: S. S. Wilks, "Determination of
    sample sizes for setting tolerance limits", 1941. The crops must be held out and similar to future ones; exact
    duplicates count once.

    Raises:
        DataError: there are too few pits for the promise; the message has the needed number.
    """
    pits = np.sort(probabilities[labels == 1])
    spare = _misses_allowed(len(pits), max_miss, confidence)
    if spare < 0:
        raise DataError(
            f"{len(pits)} pits cannot show that at most {max_miss:.2%} of pits pass with {confidence:.1%} confidence; "
            f"{pits_needed(max_miss, confidence)} would do, or ask for --max-miss "
            f"{_supported(len(pits), confidence):.4f}"
        )
    threshold = floor_to_step(float(pits[spare]))
    return Accepted(threshold, len(pits), int((pits < threshold).sum()), max_miss, confidence)


def pits_needed(max_miss: float, confidence: float) -> int:
    """Return the least number of pits for a promise, if none of them passes: (1 - max_miss)**n <= 1 - confidence."""
    return math.ceil(math.log(1.0 - confidence) / math.log1p(-max_miss))


def reject_threshold(labels: Labels, probabilities: Floats, max_loss: float) -> float:
    """Return the lowest reject threshold at which at most ``max_loss`` of these clean cherries are rejected."""
    clean = np.sort(probabilities[labels == 0])
    highest_kept = float(clean[len(clean) - 1 - math.floor(max_loss * len(clean))])
    return round(min(1.0, floor_to_step(highest_kept) + STEP), 4)


@dataclass(frozen=True, slots=True)
class Tiers:
    """The results of two thresholds on cherries by which they were not chosen.

    Attributes:
        wanted: the required share of pits that do not pass.
        caught: pits that do not pass.
        lost: clean cherries that are rejected.
        review: cherries that go to review.
    """

    wanted: float
    caught: Share
    lost: Share
    review: Share


def tiers(labels: Labels, probabilities: Floats, groups: NDArray[np.int64], max_loss: float) -> list[Tiers]:
    """Score thresholds for each of ``RECALLS``, chosen on all groups but one and applied to that one, over all groups.

    Args:
        labels: (N,) labels.
        probabilities: (N,) probabilities.
        groups: (N,) fold of each crop, at least two different ones.
        max_loss: share of clean cherries that may be rejected.

    Raises:
        DataError: one group only.
    """
    names = np.unique(groups)
    if len(names) < 2:
        raise DataError("thresholds are scored on crops they were not chosen by: that takes two folds at least")
    rows = []
    for recall in RECALLS:
        passed, thrown = np.zeros(len(labels), np.bool_), np.zeros(len(labels), np.bool_)
        for name in names:
            mine, others = groups == name, groups != name
            accept, reject = _empirical(labels[others], probabilities[others], 1.0 - recall, max_loss)
            passed[mine] = probabilities[mine] < accept
            thrown[mine] = probabilities[mine] >= reject
        pit = labels == 1
        rows.append(
            Tiers(
                recall,
                Share(int((pit & ~passed).sum()), int(pit.sum())),
                Share(int((~pit & thrown).sum()), int((~pit).sum())),
                Share(int((~passed & ~thrown).sum()), len(labels)),
            )
        )
    return rows


def floor_to_step(probability: float) -> float:
    """Round down to a card's places."""
    return round(math.floor(probability / STEP + 1e-9) * STEP, 4)


def _empirical(labels: Labels, probabilities: Floats, max_miss: float, max_loss: float) -> tuple[float, float]:
    """Return thresholds that keep both shares on these very crops; without a guarantee."""
    pits = np.sort(probabilities[labels == 1])
    accept, reject = float(pits[math.floor(max_miss * len(pits))]), reject_threshold(labels, probabilities, max_loss)
    return min(accept, reject), reject


def _misses_allowed(pits: int, max_miss: float, confidence: float) -> int:
    """Return the largest k with P(Binomial(pits, max_miss) <= k) <= 1 - confidence; -1 if there is none."""
    k = int(binom.ppf(1.0 - confidence, pits, max_miss))
    while k >= 0 and binom.cdf(k, pits, max_miss) > 1.0 - confidence:
        k -= 1
    return k


def _supported(pits: int, confidence: float) -> float:
    """Return the smallest share of missed pits that this many can promise, rounded up."""
    share: float = 1.0 - (1.0 - confidence) ** (1.0 / max(pits, 1))
    return math.ceil(share / STEP) * STEP
