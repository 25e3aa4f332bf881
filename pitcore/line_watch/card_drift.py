"""Compares the cherries on the line with those that the model was tested on, by the reference in the model's card.

A line brings far fewer pits than a set of labelled crops, which is not drift. So the card has separate counts for clean
cherries and for pits, and the check first estimates the share of pits that explains the probabilities best: M. Saerens,
P. Latinne, C. Decaestecker, "Adjusting the outputs of a classifier to new a priori probabilities", Neural Computation
14, 2002. The remaining difference is measured by the population stability index: N. Siddiqi, "Credit risk scorecards",
2006.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from pitcore.model_card import FigureCounts, Reference

WINDOW = 2000  # cherries in one comparison
HALF = 0.5  # added to each count, so that no bin is empty
STEPS = 100  # iterations of expectation maximisation


class CardFigure(msgspec.Struct, frozen=True):
    """The population stability index of one figure over the last complete window."""

    name: str
    psi: float


class CardCheck:
    """Counts the last cherries into the bins of the card. Other threads may read only ``found`` and ``pit_share``.

    Args:
        reference: reference of the card.
        planes: names of the planes, in the order of the figures.
        bound: largest index at which a figure still counts as like the card.

    Attributes:
        found: the index of each figure; empty before the first complete window.
        pit_share: estimated share of pits in the last window; None before the first.
    """

    def __init__(self, reference: Reference, planes: Sequence[str], bound: float) -> None:
        names = ["pit_probability", "area_px", *(f"mean_{name}" for name in planes)]
        self._figures = [
            (at, name, reference.figures[name]) for at, name in enumerate(names) if name in reference.figures
        ]
        self._bound = bound
        self._rows: list[NDArray[np.float64]] = []
        self._waiting = 0
        self._fresh = False
        self.found: tuple[CardFigure, ...] = ()
        self.pit_share: float | None = None

    def add(self, rows: NDArray[np.float64]) -> None:
        """Take a block of N cherries: (N, F) rows that begin with probability, area and the mean of each plane."""
        self._rows.append(rows)
        self._waiting += len(rows)
        if self._waiting >= WINDOW:
            self._compare(np.concatenate(self._rows))
            self._rows, self._waiting = [], 0

    def _compare(self, rows: NDArray[np.float64]) -> None:
        counted = {name: counts_in(counts.edges, rows[:, at]) for at, name, counts in self._figures}
        reference = {name: counts for _, name, counts in self._figures}
        self.pit_share = estimate_pit_share(counted["pit_probability"], reference["pit_probability"])
        self.found = tuple(
            CardFigure(name, round(stability_index(seen, expected_shares(reference[name], self.pit_share)), 4))
            for name, seen in counted.items()
        )
        self._fresh = True

    def unlike(self) -> bool | None:
        """Return True if some figure is unlike the card; None if there is no new window."""
        if not self._fresh:
            return None
        self._fresh = False
        return any(one.psi > self._bound for one in self.found)

    def describe(self) -> str:
        """Return which figures are unlike the card, the worst first, and what to do."""
        over = sorted((one for one in self.found if one.psi > self._bound), key=lambda one: -one.psi)
        figures = ", ".join(f"{one.name} {one.psi:.2f}" for one in over)
        return (
            f"the last {WINDOW} cherries are unlike those that the model was tested on: stability index {figures}, "
            f"bound {self._bound:g}; compare exposure and fruit, or have a model trained on this line's crops"
        )


def counts_in(edges: Sequence[float], values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Count (N,) values in len(edges) + 1 bins; a value on an edge belongs to the bin above."""
    return np.bincount(np.searchsorted(np.asarray(edges), values, side="right"), minlength=len(edges) + 1)


def expected_shares(figure: FigureCounts, pit_share: float) -> NDArray[np.float64]:
    """Return the expected (bins,) shares for a line with this share of pits."""
    clean, pit = (np.asarray(one) + HALF for one in (figure.clean, figure.pit))
    mixed: NDArray[np.float64] = (1.0 - pit_share) * clean / clean.sum() + pit_share * pit / pit.sum()
    return mixed


def estimate_pit_share(seen: NDArray[np.int64], figure: FigureCounts) -> float:
    """Return the share of pits that explains (bins,) counts best: expectation maximisation after Saerens, 2002."""
    clean, pit, share = expected_shares(figure, 0.0), expected_shares(figure, 1.0), HALF
    for _ in range(STEPS):
        likely = share * pit / (share * pit + (1.0 - share) * clean)
        share = float((seen * likely).sum() / seen.sum())
    return share


def stability_index(seen: NDArray[np.int64], expected: NDArray[np.float64]) -> float:
    """Return the population stability index, sum of (a - e) ln(a / e) over the bins; 0 is equal."""
    share = (seen + HALF) / (seen + HALF).sum()
    return float(((share - expected) * np.log(share / expected)).sum())
