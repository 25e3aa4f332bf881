"""Formats thresholds as a table for people, a dictionary for programs, and a plot."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

from pitcore.durable import replace_file
from pitcore.errors import DataError
from pitcore_tools.evaluate import figures
from pitcore_tools.evaluate.figures import Floats, Labels, Share
from pitcore_tools.evaluate.logits import HeldOut
from pitcore_tools.thresholds.control import Accepted, Tiers, accept_threshold, reject_threshold, tiers

mpl.use("Agg")
HALVES = "two halves by hash"


@dataclass(frozen=True, slots=True)
class ThresholdRequest:
    """The requirements for thresholds.

    Attributes:
        max_miss: share of pits that may pass.
        confidence: confidence of the promise.
        max_loss: share of clean cherries that may be rejected.
    """

    max_miss: float
    confidence: float
    max_loss: float


@dataclass(frozen=True, slots=True)
class Scores:
    """Calibrated probabilities of crops, each crop once.

    Attributes:
        hashes, labels, probabilities: (N,).
        groups: (N,) groups of the cross-fitted calibration.
        nets: number of nets that scored the crops.
    """

    hashes: list[str]
    labels: Labels
    probabilities: Floats
    groups: NDArray[np.int64]
    nets: int


def scores(held_out: HeldOut) -> Scores:
    """Calibrate held-out margins, of the int8 net if there is one, cross-fitted over folds or over halves."""
    _, first = np.unique(np.array(held_out.hashes), return_index=True)  # exact duplicates count once
    once = held_out.where(np.isin(np.arange(len(held_out.hashes)), first))
    return Scores(once.hashes, once.labels, once.probabilities, once.groups, len(np.unique(once.folds)))


@dataclass(frozen=True, slots=True)
class ThresholdFindings:
    """The results for thresholds.

    Attributes:
        tiers: results for each pit recall.
        accepted: the threshold that keeps the promise; None if there is none, see ``refusal``.
        reject: the threshold for ``ThresholdRequest.max_loss``.
        review: share of cherries between the two, on the crops by which they were chosen.
        refusal: why no promise can be made.
    """

    tiers: list[Tiers]
    accepted: Accepted | None
    reject: float
    review: Share
    refusal: str


def find(held_out: HeldOut, wish: ThresholdRequest) -> ThresholdFindings:
    """Score the tiers, and choose thresholds for a request. Raises DataError if the data cannot support it.

    The promise is about one net, so its threshold refers to the calibration of the shipped net, which is fitted on all
    its held-out crops. That changes the scale and not the order.
    """
    scored = scores(held_out)
    rows = tiers(scored.labels, scored.probabilities, scored.groups, wish.max_loss)
    if scored.nets > 1:
        refusal = f"these logits come from {scored.nets} nets, and a promise is about one: give --fold"
        reject = reject_threshold(scored.labels, scored.probabilities, wish.max_loss)
        return ThresholdFindings(rows, None, reject, Share(0, 0), refusal)
    _, first = np.unique(np.array(held_out.hashes), return_index=True)
    labels, margins = held_out.labels[first], held_out.margins[first]
    probabilities = figures.platt(margins, *figures.fit_platt(held_out.labels, held_out.margins))
    accepted = accept_threshold(labels, probabilities, wish.max_miss, wish.confidence)
    reject = max(accepted.threshold, reject_threshold(labels, probabilities, wish.max_loss))
    between = (probabilities >= accepted.threshold) & (probabilities < reject)
    return ThresholdFindings(rows, accepted, reject, Share(int(between.sum()), len(labels)), "")


def text(found: ThresholdFindings, wish: ThresholdRequest) -> str:
    """Return the table that ``pitcore-tools thresholds`` prints."""
    lines = [
        (
            f"Thresholds chosen on other folds than they are scored on, at most {wish.max_loss:.1%} of clean rejected; "
            "95 % intervals"
        ),
        "",
        "  pits to catch   pits caught                     clean rejected                  review",
    ]
    lines += [
        f"  {row.wanted:13.1%}   {_short(row.caught)}   {_short(row.lost)}   {_short(row.review)}"
        for row in found.tiers
    ]
    lines.append("")
    if found.accepted is None:
        return "\n".join([*lines, f"  no promise: {found.refusal}"])
    accepted = found.accepted
    promise = (
        f"with {accepted.confidence:.1%} confidence at most {accepted.max_miss:.2%} of pits pass "
        f"(Wilks; {accepted.missed} of {accepted.pits} held-out pits do)"
    )
    lines += [f"  accept below {accepted.threshold:.4f}: {promise}", f"  reject from  {found.reject:.4f}"]
    return "\n".join([*lines, f"  review       {found.review}"])


def summary(found: ThresholdFindings) -> dict[str, Any]:
    """Return the results for programs."""
    return {
        "tiers": [
            {
                "pits_to_catch": row.wanted,
                **{name: figures.share_facts(getattr(row, name)) for name in ("caught", "lost", "review")},
            }
            for row in found.tiers
        ],
        "accept": None if found.accepted is None else found.accepted.threshold,
        "reject": found.reject,
        "refusal": found.refusal,
    }


def plot(held_out: HeldOut, wish: ThresholdRequest, path: Path) -> None:
    """Plot pit recall against review share for a fixed reject threshold. Raises DataError if it cannot be written."""
    from matplotlib import pyplot as plt  # noqa: PLC0415  slow to import, and only here

    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    draw(axes, held_out, wish.max_loss)
    try:
        replace_file(path, partial(figure.savefig, format=path.suffix[1:] or "png", dpi=120))
    except ValueError as error:
        raise DataError(f"{path}: cannot be written: {error}; name a .png or .svg") from error
    finally:
        plt.close(figure)


def draw(axes: Any, held_out: HeldOut, max_loss: float) -> None:  # noqa: ANN401  matplotlib's axes
    """Draw the plot into axes."""
    scored = scores(held_out)
    reject = reject_threshold(scored.labels, scored.probabilities, max_loss)
    accepts = np.unique(scored.probabilities[scored.probabilities < reject])
    pits = scored.probabilities[scored.labels == 1]
    caught = [float((pits >= accept).mean()) for accept in accepts]
    below = float((scored.probabilities < reject).mean())
    review = [below - float((scored.probabilities < accept).mean()) for accept in accepts]
    axes.plot(np.array(review) * 100, np.array(caught) * 100)
    for row in tiers(scored.labels, scored.probabilities, scored.groups, max_loss):
        axes.plot(row.review.value * 100, row.caught.value * 100, "o", label=f"chosen for {row.wanted:.1%}")
    axes.set(xlabel="cherries sent to review, %", ylabel="pits that do not pass, %", ylim=(90, 100.2))
    axes.set_title(f"at most {max_loss:.0%} of clean cherries rejected")
    axes.grid(visible=True, alpha=0.3)
    axes.legend(loc="lower right")


def _short(share: Share) -> str:
    low, high = share.interval
    return f"{share.value:7.2%} [{low:7.2%}, {high:7.2%}]   "
