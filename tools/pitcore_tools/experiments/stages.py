"""Compares one and two stages: three rules for "maybe" on the same crops. Does no IO.

The two-stage recipe trains a binary net, relabels the training crops that net gets wrong as ``maybe`` and fine-tunes
with three classes. The alternatives: tiers on the calibrated probability of a binary net, and two binary nets whose
disagreement means ``maybe``. A rule is (N,) of 0 accept, 1 review, 2 reject.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pitcore_tools.evaluate.figures import Floats, Labels, Share

ACCEPT, REVIEW, REJECT = 0, 1, 2
Rule = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class StagesResult:
    """The result of a rule.

    Attributes:
        counts: (2, 3) rows clean, pit; columns accept, review, reject.
    """

    counts: NDArray[np.int64]

    @property
    def missed(self) -> Share:
        """Pits that pass as clean."""
        return Share(int(self.counts[1, ACCEPT]), int(self.counts[1].sum()))

    @property
    def lost(self) -> Share:
        """Clean cherries that are thrown out."""
        return Share(int(self.counts[0, REJECT]), int(self.counts[0].sum()))

    @property
    def review(self) -> Share:
        """Cherries that a person looks at."""
        return Share(int(self.counts[:, REVIEW].sum()), int(self.counts.sum()))


def outcome(labels: Labels, rule: Rule) -> StagesResult:
    """Count the results of a rule. ``labels`` is (N,), 1 for a pit."""
    return StagesResult(
        np.array([[int(((labels == row) & (rule == column)).sum()) for column in range(3)] for row in (0, 1)])
    )


def three_class_rule(pit_margins: Floats, maybe_margins: Floats) -> Rule:
    """Apply production's thresholds to a three-class net: pit from 0.75, maybe from 0.5, clean from 0.5, else maybe."""
    p_pit, p_maybe = (1.0 / (1.0 + np.exp(-margins)) for margins in (pit_margins, maybe_margins))
    p_clean = 1.0 - p_pit - p_maybe
    return np.select([p_pit >= 0.75, p_maybe >= 0.5, p_clean >= 0.5], [REJECT, REVIEW, ACCEPT], REVIEW)


def tier_rule(scores: Floats, groups: NDArray[np.int64], accepted: float, rejected: float) -> Rule:
    """Accept and reject given shares of all crops, the cut-offs of each group taken from the other groups.

    So two ways of scoring can be compared at the same review share.

    Args:
        scores: (N,) scores; higher ones are more likely pits.
        groups: (N,) fold of each crop.
        accepted: share to accept, 0..1.
        rejected: share to reject, 0..1.
    """
    rule = np.full(len(scores), REVIEW, np.int64)
    for name in np.unique(groups):
        mine = groups == name
        low, high = np.quantile(scores[~mine], [accepted, 1.0 - rejected])
        rule[mine & (scores < low)] = ACCEPT
        rule[mine & (scores >= high)] = REJECT
    return rule


def fixed_tier_rule(probabilities: Floats, review_from: float, reject_from: float) -> Rule:
    """Apply two fixed thresholds to (N,) probabilities."""
    return np.digitize(probabilities, [review_from, reject_from]).astype(np.int64)


def disagreement_rule(first: Floats, second: Floats) -> Rule:
    """Return ``REVIEW`` where the (N,) margins of two nets have different signs."""
    return np.select([(first > 0) & (second > 0), (first <= 0) & (second <= 0)], [REJECT, ACCEPT], REVIEW)
