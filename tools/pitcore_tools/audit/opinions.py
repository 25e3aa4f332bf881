"""What nets say of crops they never saw, and which labels that puts in doubt. Reads and writes nothing."""

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


@dataclass(frozen=True, slots=True)
class Opinions:
    """What every net says of the crops that all of them hold.

    Attributes:
        names: (K) of the nets.
        hashes: (N) of the crops, each once.
        labels: (N,) what people said, 1 for a pit.
        probabilities: (K, N) of a pit, calibrated on other crops.
    """

    names: list[str]
    hashes: list[str]
    labels: Labels
    probabilities: Floats

    @property
    def mean(self) -> Floats:
        """(N,) of a pit, over the nets."""
        return np.asarray(self.probabilities.mean(axis=0))

    @property
    def wrong(self) -> NDArray[np.bool_]:
        """(K, N) where a net and the label differ."""
        return np.asarray((self.probabilities > 0.5) != (self.labels == 1))

    def suspects(self, confidence: float) -> NDArray[np.int64]:
        """Return indices of crops of which every net says the other label with more than ``confidence``.

        Most confident first, by the mean over the nets.
        """
        other = np.where(self.labels == 1, 1.0 - self.probabilities, self.probabilities)
        order = np.argsort(-other.mean(axis=0), kind="stable")
        return order[np.asarray((other > confidence).all(axis=0))[order]]


def gather(tables: Mapping[str, HeldOut], label_of: Mapping[str, int]) -> Opinions:
    """Bring together what nets say of the crops that all of them hold.

    Args:
        tables: held-out margins by the name of the net. Calibrated as for thresholds, cross-fitted.
        label_of: the label of each crop of one label by its hash, as people gave it; it counts, not the table's.

    Raises:
        DataError: no table or two of one net, a table that cannot be calibrated, no crop in common.
    """
    if not tables:
        raise DataError("no table of logits; give one --logits for each net")
    said: list[dict[str, float]] = []
    for name, table in tables.items():
        try:
            found = scores(table)
        except DataError as error:
            raise DataError(f"{name}: {error}") from error
        said.append(dict(zip(found.hashes, found.probabilities.tolist(), strict=True)))
    for (one, first), (two, second) in combinations(zip(tables, said, strict=True), 2):
        if first == second:
            raise DataError(f"{two}: says the same as {one} to the last digit; give tables of independent nets")
    shared = sorted(set.intersection(*(set(table) for table in said)) & set(label_of))
    if not shared:
        raise DataError(f"{', '.join(tables)}: no crop is in all of them; give tables of the same folds")
    labels = np.array([label_of[name] for name in shared], np.int64)
    return Opinions(list(tables), shared, labels, np.array([[table[name] for name in shared] for table in said]))


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far nets err on the same crops, and what that says of the labels.

    Attributes:
        accuracy: of each net, as labelled.
        errors_by_any, errors_by_all: crops that at least one net has wrong, and that every net has.
        errors_by_all_if_independent: expected, were errors a matter of chance.
        ceiling: accuracy of a net without fault, if every suspect label were wrong: it would still lose those.
        accuracy_mended: of each net, if every suspect label were wrong and were turned.
    """

    accuracy: list[Share]
    errors_by_any: int
    errors_by_all: int
    errors_by_all_if_independent: float
    ceiling: Share
    accuracy_mended: list[Share]

    @property
    def in_common(self) -> Share:
        """Of the crops that some net has wrong, those that every net has wrong."""
        return Share(self.errors_by_all, self.errors_by_any)


def agreement(opinions: Opinions, suspects: Sequence[int] | NDArray[np.int64]) -> Agreement:
    """Compare the errors of nets. Every net has each suspect wrong, so turning those labels fixes each alike."""
    wrong, count = opinions.wrong, len(opinions.hashes)
    errors = wrong.sum(axis=1)
    return Agreement(
        accuracy=[Share(count - int(each), count) for each in errors],
        errors_by_any=int(wrong.any(axis=0).sum()),
        errors_by_all=int(wrong.all(axis=0).sum()),
        errors_by_all_if_independent=float(count * np.prod(errors / count)),
        ceiling=Share(count - len(suspects), count),
        accuracy_mended=[Share(count - int(each) + len(suspects), count) for each in errors],
    )
