"""Compares nets' probabilities of held-out crops with their labels, and finds suspect labels. Does no IO."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from pitcore.errors import DataError
from pitcore_tools.evaluate.figures import Floats, Labels, Share
from pitcore_tools.evaluate.logits import HeldOut
from pitcore_tools.thresholds.report import scores

SURE = 0.9  # probability above which a net contradicts a label


@dataclass(frozen=True, slots=True)
class Opinions:
    """The probabilities of K nets for the N crops that all their tables contain.

    Attributes:
        names: K names of the nets.
        hashes: N hashes of the crops, each once.
        labels: (N,) labels of people, 1 for a pit.
        probabilities: (K, N) probabilities of a pit, calibrated on other crops.
    """

    names: list[str]
    hashes: list[str]
    labels: Labels
    probabilities: Floats

    @property
    def mean(self) -> Floats:
        """(N,) mean probability of a pit over the nets."""
        return np.asarray(self.probabilities.mean(axis=0))

    @property
    def wrong(self) -> NDArray[np.bool_]:
        """(K, N) True if a net and the label differ."""
        return np.asarray((self.probabilities > 0.5) != (self.labels == 1))

    def suspects(self, confidence: float) -> NDArray[np.int64]:
        """Return indices of crops for which every net gives the other label more than ``confidence``.

        Sorted by the mean over the nets, most confident first.
        """
        other = np.where(self.labels == 1, 1.0 - self.probabilities, self.probabilities)
        order = np.argsort(-other.mean(axis=0), kind="stable")
        return order[np.asarray((other > confidence).all(axis=0))[order]]


def gather(tables: Mapping[str, HeldOut], label_of: Mapping[str, int]) -> Opinions:
    """Combine the probabilities of nets for the crops that all tables contain.

    Args:
        tables: held-out margins by the name of the net. They are calibrated as for thresholds, cross-fitted.
        label_of: the label of each crop by its hash, without crops that have both labels. It replaces the table's.

    Raises:
        DataError: there is no table, two tables are equal, a table cannot be calibrated, or no crop is in all tables.
    """
    if not tables:
        raise DataError("no table of logits; give one --logits for each net")
    by_net: list[dict[str, float]] = []
    for name, table in tables.items():
        try:
            scored = scores(table)
        except DataError as error:
            raise DataError(f"{name}: {error}") from error
        by_net.append(dict(zip(scored.hashes, scored.probabilities.tolist(), strict=True)))
    for (one, first), (two, second) in combinations(zip(tables, by_net, strict=True), 2):
        if first == second:
            raise DataError(f"{two}: is equal to {one} to the last digit; give tables of independent nets")
    shared = sorted(set.intersection(*(set(table) for table in by_net)) & set(label_of))
    if not shared:
        raise DataError(f"{', '.join(tables)}: no crop is in all of them; give tables of the same folds")
    labels = np.array([label_of[name] for name in shared], np.int64)
    return Opinions(list(tables), shared, labels, np.array([[table[name] for name in shared] for table in by_net]))


@dataclass(frozen=True, slots=True)
class Agreement:
    """How many errors the nets have in common, and what follows for the labels.

    Attributes:
        accuracy: accuracy of each net by the present labels.
        errors_by_any, errors_by_all: numbers of crops that at least one net, and that every net, has wrong.
        errors_by_all_if_independent: expected number if the errors of the nets were independent.
        ceiling: accuracy of a perfect net by the present labels, if every suspect label is wrong.
        accuracy_corrected: accuracy of each net after correcting every suspect label.
    """

    accuracy: list[Share]
    errors_by_any: int
    errors_by_all: int
    errors_by_all_if_independent: float
    ceiling: Share
    accuracy_corrected: list[Share]

    @property
    def in_common(self) -> Share:
        """Share of the crops that every net has wrong among those that any net has wrong."""
        return Share(self.errors_by_all, self.errors_by_any)


def agreement(opinions: Opinions, suspects: Sequence[int] | NDArray[np.int64]) -> Agreement:
    """Compare the errors of nets. Every net has every suspect wrong, so correcting them improves each net equally."""
    wrong, count = opinions.wrong, len(opinions.hashes)
    errors = wrong.sum(axis=1)
    return Agreement(
        accuracy=[Share(count - int(each), count) for each in errors],
        errors_by_any=int(wrong.any(axis=0).sum()),
        errors_by_all=int(wrong.all(axis=0).sum()),
        errors_by_all_if_independent=float(count * np.prod(errors / count)),
        ceiling=Share(count - len(suspects), count),
        accuracy_corrected=[Share(count - int(each) + len(suspects), count) for each in errors],
    )
