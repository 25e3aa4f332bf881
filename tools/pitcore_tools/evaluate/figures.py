"""Computes the figures by which a model is judged. Does no IO.

Throughout, ``labels`` is (N,) with 1 for a pit and 0 for clean, and ``margins`` is (N,): the pit logit minus the
clean one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pitcore.errors import DataError

Z_95 = 1.959963984540054  # 97.5 % quantile of the normal distribution
ECE_BINS = 15

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Share:
    """A share with its 95 % interval after Wilson.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
    """

    hits: int
    of: int

    @property
    def value(self) -> float:
        """The share; NaN if ``of`` is 0."""
        return self.hits / self.of if self.of else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Lower and upper end."""
        if not self.of:
            return math.nan, math.nan
        n, p, z2 = self.of, self.value, Z_95 * Z_95
        middle = (p + z2 / (2 * n)) / (1 + z2 / n)
        half = Z_95 * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
        return middle - half, middle + half

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.value:7.2%}  [{low:.2%}, {high:.2%}]  {self.hits}/{self.of}"


@dataclass(frozen=True, slots=True)
class Confusion:
    """Counts at one threshold; the first word is the truth.

    ``none`` counts crops whose margin is NaN: the board reports neither class, so they count as wrong.
    """

    clean_clean: int
    clean_pit: int
    pit_clean: int
    pit_pit: int
    clean_none: int = 0
    pit_none: int = 0

    @property
    def none(self) -> int:
        """Crops without an answer."""
        return self.clean_none + self.pit_none

    @property
    def f1(self) -> float:
        """Mean over both classes of the harmonic mean of precision and recall."""
        wrong = self.clean_pit + self.pit_clean
        classes = ((self.clean_clean, self.clean_none), (self.pit_pit, self.pit_none))
        return sum(2 * right / max(1, 2 * right + wrong + none) for right, none in classes) / 2

    @property
    def shares(self) -> dict[str, Share]:
        """Accuracy, and precision and recall of each class."""
        right, wrong = self.clean_clean + self.pit_pit, self.clean_pit + self.pit_clean + self.none
        return {
            "accuracy": Share(right, right + wrong),
            "pit recall": Share(self.pit_pit, self.pit_pit + self.pit_clean + self.pit_none),
            "pit precision": Share(self.pit_pit, self.pit_pit + self.clean_pit),
            "clean recall": Share(self.clean_clean, self.clean_clean + self.clean_pit + self.clean_none),
            "clean precision": Share(self.clean_clean, self.clean_clean + self.pit_clean),
        }


def pit_margins(logits: NDArray[np.floating[Any]], labels: Sequence[str], of: str = "pit") -> Floats:
    """Return (N,) pit logit (or that ``of`` another label) minus the log-sum-exp of the others.

    Args:
        logits: (N, classes).
        labels: names of the classes, in order.
        of: the class whose margin is returned.

    Returns:
        NaN where a logit is NaN or infinite: the board then says ``maybe``.
    """
    own, finite = list(labels).index(of), np.isfinite(logits).all(axis=1)
    known = np.where(finite[:, None], np.asarray(logits, np.float64), 0.0)
    margins = known[:, own] - np.logaddexp.reduce(np.delete(known, own, axis=1), axis=1)
    return np.asarray(np.where(finite, margins, np.nan))


def confusion(labels: Labels, margins: Floats) -> Confusion:
    """Count at probability one half, that is at margin 0."""
    pit, called, none = labels == 1, margins > 0, np.isnan(margins)
    counts = [int((a & b).sum()) for b in (~called & ~none, called, none) for a in (~pit, pit)]
    clean_clean, pit_clean, clean_pit, pit_pit, clean_none, pit_none = counts
    return Confusion(clean_clean, clean_pit, pit_clean, pit_pit, clean_none, pit_none)


def mcnemar(labels: Labels, first: Floats, second: Floats) -> tuple[int, int, float]:
    """Compare two nets on the same crops.

    Returns:
        Crops that only the first has right, crops that only the second has right, and the exact two-sided
        p. Source: Q. McNemar, "Note on the sampling error of the difference between correlated
        proportions", 1947.
    """
    from scipy.stats import binomtest  # noqa: PLC0415  takes a second, and few commands need it

    pit = labels == 1
    right_first, right_second = (first > 0) == pit, (second > 0) == pit
    only_first, only_second = int((right_first & ~right_second).sum()), int((right_second & ~right_first).sum())
    differ = only_first + only_second
    return only_first, only_second, float(binomtest(only_first, differ).pvalue) if differ else 1.0


def fit_platt(labels: Labels, margins: Floats) -> tuple[float, float]:
    """Return slope and intercept of p = 1 / (1 + exp(-(slope * margin + intercept))), by maximum likelihood.

    Raises:
        DataError: there are crops of one class only.
    """
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415  takes a second, and few commands need it

    if len(np.unique(labels)) < 2:
        raise DataError(f"{len(labels)} crops of one class or none cannot calibrate probabilities; give more crops")
    fitted = LogisticRegression(C=np.inf).fit(margins[:, None], labels)
    return float(fitted.coef_[0, 0]), float(fitted.intercept_[0])


def platt(margins: Floats, slope: float, intercept: float) -> Floats:
    """Return calibrated probabilities of a pit."""
    return 1.0 / (1.0 + np.exp(-(slope * margins + intercept)))


def cross_fitted(labels: Labels, margins: Floats, groups: NDArray[np.int64]) -> Floats:
    """Return (N,) probabilities; the calibration of each of the (N,) groups is fitted on the other groups."""
    probabilities = np.empty(len(margins))
    for name in np.unique(groups):
        mine = groups == name
        probabilities[mine] = platt(margins[mine], *fit_platt(labels[~mine], margins[~mine]))
    return probabilities


def expected_calibration_error(labels: Labels, probabilities: Floats) -> float:
    """Return the mean distance of predicted probability and observed share, over 15 bins of equal mass."""
    order = np.argsort(probabilities, kind="stable")
    return float(
        sum(
            abs(probabilities[part].mean() - labels[part].mean()) * len(part) / len(order)
            for part in np.array_split(order, min(ECE_BINS, len(order)))
        )
    )


def chance_calibration_error(probabilities: Floats, draws: int = 200, seed: int = 0) -> float:
    """Return the mean ECE of labels that are drawn with exactly these probabilities.

    A perfectly calibrated net has this error on as many crops. Source: R. Roelofs et al., "Mitigating bias in
    calibration error estimation", 2022.
    """
    generator = np.random.default_rng(seed)
    drawn = (generator.random((draws, len(probabilities))) < probabilities).astype(np.int64)
    return float(np.mean([expected_calibration_error(labels, probabilities) for labels in drawn]))


def log_loss(labels: Labels, probabilities: Floats) -> float:
    """Return the mean negative log of the probability of the true class."""
    given = np.where(labels == 1, probabilities, 1.0 - probabilities)
    return float(-np.log(np.maximum(given, np.finfo(np.float64).tiny)).mean())


def share_facts(share: Share) -> dict[str, Any]:
    """Return a share and its interval for programs."""
    return {"value": share.value, "interval_95": list(share.interval), "hits": share.hits, "of": share.of}
