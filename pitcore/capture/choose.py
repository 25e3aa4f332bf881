"""Selects the cherries to keep, and gives the reasons. Does no IO and reads no clock.

The random sample is independent: each cherry that the network judged is drawn with the same probability, whatever its
verdict. The limit on doubtful cherries does not affect it.
"""

from __future__ import annotations

import math
import random

from pitcore.capture.record import Why
from pitcore.config import CaptureConfig
from pitcore.decision.policy import Shape
from pitcore.model_card import Thresholds
from pitcore.verdict import Verdict

OUTLIERS_AFTER = 500  # cherries from which the usual figures are learned before outliers are reported
MEMORY = 5000  # cherries in the running mean, which follows slow changes
DOUBTS: tuple[Why, ...] = ("uncertain", "touching", "foreign", "cut", "not_finite")
_LEAST = 1e-6  # probabilities have six places


class Usual:
    """Keeps mean and variance of each figure of the cherries, over about the last ``MEMORY`` of them."""

    def __init__(self) -> None:
        self._count = 0
        self._means: list[float] = []
        self._variances: list[float] = []

    def sigmas(self, figures: tuple[float, ...]) -> float:
        """Return the largest deviation of a cherry's figures in standard deviations, then add it to the statistics.

        Returns 0 for the first ``OUTLIERS_AFTER`` cherries.
        """
        if len(figures) != len(self._means):
            self._count, self._means, self._variances = 0, list(figures), [0.0] * len(figures)
        away = 0.0
        self._count += 1
        step = 1.0 / min(self._count, MEMORY)
        for place, value in enumerate(figures):
            off, variance = value - self._means[place], self._variances[place]
            if self._count > OUTLIERS_AFTER and variance > 0.0:
                away = max(away, abs(off) / math.sqrt(variance))
            self._means[place] += step * off
            self._variances[place] += step * (off * off * (1.0 - step) - variance)
        return away


class Credit:
    """Allows so many cherries a minute; 0 allows none. What is not used is saved up, for a minute or one cherry."""

    def __init__(self, per_minute: float) -> None:
        self._rate = per_minute
        self._most = self._left = max(1.0, per_minute) if per_minute else 0.0
        self._at_s = 0.0

    def take(self, now_s: float) -> bool:
        """Return whether one more is allowed; ``now_s`` is monotonic."""
        self._left = min(self._most, self._left + max(0.0, now_s - self._at_s) * self._rate / 60.0)
        self._at_s = now_s
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


class Chooser:
    """Chooses cherries.

    Args:
        config: shares, limits, and the seed.
    """

    def __init__(self, config: CaptureConfig) -> None:
        self._config = config
        self._random = random.Random(config.sample_seed)  # noqa: S311  not a secret
        self._usual = Usual()
        self._credit = Credit(config.doubtful_per_minute)

    def why(self, verdict: Verdict, shape: Shape, thresholds: Thresholds, now_s: float) -> tuple[tuple[Why, ...], bool]:
        """Return the reasons to keep a cherry.

        Args:
            verdict: verdict of a cherry that the network judged.
            shape: shape of the cherry.
            thresholds: thresholds in force.
            now_s: monotonic clock in seconds, for the limit of doubtful cherries a minute.

        Returns:
            The reasons, empty if the cherry is not kept; and True if it is doubtful but beyond the limit.
        """
        drawn: tuple[Why, ...] = ("random",) if self._random.random() < self._config.random_share else ()
        doubts = self._doubts(verdict, shape, thresholds)
        if not doubts or drawn:  # a cherry of the random sample does not count towards the limit
            return drawn + doubts if drawn else (), False
        allowed = self._credit.take(now_s)
        return doubts if allowed else (), not allowed

    def _doubts(self, verdict: Verdict, shape: Shape, thresholds: Thresholds) -> tuple[Why, ...]:
        doubts: list[Why] = [reason for reason in DOUBTS if reason == verdict.reason]
        p_pit = None if verdict.probabilities is None else verdict.probabilities["pit"]
        if p_pit is not None and _distance(p_pit, thresholds) <= self._config.near_log_odds:
            doubts.append("near_threshold")
        if verdict.is_one_cherry:
            away = self._usual.sigmas((math.log(max(shape.area_px, 1)), *shape.plane_means))
            if away > self._config.outlier_sigmas:
                doubts.append("outlier")
        return tuple(doubts)


def _distance(p_pit: float, thresholds: Thresholds) -> float:
    """Return the distance of a probability from the nearer threshold, in log-odds."""
    return min(abs(_log_odds(p_pit) - _log_odds(at)) for at in (thresholds.accept, thresholds.reject))


def _log_odds(share: float) -> float:
    bounded = min(max(share, _LEAST), 1.0 - _LEAST)
    return math.log(bounded / (1.0 - bounded))
