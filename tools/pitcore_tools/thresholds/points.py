"""Computes the operating points of a card: thresholds, and the evidence for their promises. Does no IO.

The promise of a point is about pits to come. Its accept threshold is the lower of two:

- *All folds.* Five nets of one recipe score all crops, each the fold that it never saw. The order statistics of all
  pits bound the share that passes (Wilks), as if one net had scored them. That net is the average of the five, not the
  one that ships: cross-conformal prediction is valid for exchangeable scores and holds nearly so in practice, while the
  worst case that is proved allows twice the share. Sources: V. Vovk, "Cross-conformal predictors", 2015; R. Barber et
  al., "Predictive inference with the jackknife+", 2021.
- *The net that ships.* The pits that it never saw must not contradict the promise: the lower end of the Clopper-Pearson
  interval of the share that passes must not lie above it.

Without evidence of all folds the bound is Wilks' on the net's own held-out pits, which is exact.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import binom

from pitcore.errors import DataError
from pitcore.model_card import CONFIDENCE, MAX_ACCEPT, MAX_REJECT, PROMISES, Evidence, Point, Thresholds
from pitcore_tools.evaluate import figures
from pitcore_tools.evaluate.figures import Floats, Labels
from pitcore_tools.evaluate.logits import HeldOut
from pitcore_tools.thresholds.control import STEP, accept_threshold, floor_to_step, reject_threshold

MAX_CLEAN_LOSS = 0.02
PIT_SHARE = 0.46  # of the real crops
OWN = "Wilks, on the held-out pits of the net that ships"
POOLED = "Wilks, on the out-of-fold pits of {nets} of this recipe; not contradicted by the net that ships"
WORDS = {2: "two", 3: "three", 4: "four", 5: "five", 10: "ten"}


def calibration(own: HeldOut, evidence: HeldOut | None) -> tuple[float, float]:
    """Return slope and intercept of the calibration of probabilities (Platt).

    With evidence it is fitted on the margins of all folds, because a few hundred crops of one net give the intercept
    only to 0.2: the five nets of a recipe differ by no more.

    Args:
        own: held-out crops of the shipped net.
        evidence: out-of-fold logits of all folds of its recipe, or None.
    """
    basis = own if evidence is None else evidence
    return figures.fit_platt(basis.labels, basis.margins)


def card_points(own: HeldOut, probabilities: Floats, evidence: HeldOut | None) -> dict[str, Point]:
    """Return the points of a card.

    Args:
        own: held-out crops of the shipped net.
        probabilities: (N,) its calibrated probabilities on them.
        evidence: out-of-fold logits of all folds of its recipe, or None.

    Returns:
        ``strict`` always, without evidence if there are too few pits for its promise; the others if there are enough.
    """
    own_labels, own_scores = _once(own.hashes, own.labels, probabilities)
    labels, scores = own_labels, own_scores
    if evidence is not None:
        labels, scores = _once(evidence.hashes, evidence.labels, evidence.probabilities)
    reject = min(MAX_REJECT, reject_threshold(labels, scores, MAX_CLEAN_LOSS))
    points: dict[str, Point] = {}
    for name, share in PROMISES.items():
        try:
            accept = accept_threshold(labels, scores, share, CONFIDENCE).threshold
        except DataError:
            if name == "strict":
                lowest = floor_to_step(float(own_scores[own_labels == 1].min()))
                points[name] = Point(Thresholds(min(lowest, reject, MAX_ACCEPT), reject), None)
            continue
        if evidence is not None:
            accept = min(accept, _not_contradicted(own_scores[own_labels == 1], share))
        accept = min(max(accept, STEP), MAX_ACCEPT)
        thresholds = Thresholds(accept, max(reject, accept))
        points[name] = Point(
            thresholds,
            evidence_of(
                labels,
                scores,
                thresholds,
                (share, OWN if evidence is None else POOLED.format(nets=nets_text(evidence))),
            ),
        )
    return points


def nets_text(evidence: HeldOut) -> str:
    """Return the number of nets of the evidence, one for each fold, for people."""
    count = len(np.unique(evidence.folds))
    return f"{WORDS.get(count, str(count))} nets"


def evidence_of(labels: Labels, scores: Floats, thresholds: Thresholds, promise: tuple[float, str]) -> Evidence:
    """Count the results of thresholds on crops.

    Args:
        labels: (N,) labels, 1 for a pit.
        scores: (N,) calibrated probabilities of a pit.
        thresholds: thresholds of the point.
        promise: share of pits that may pass, and the method by which the threshold was chosen.
    """
    passed, thrown, pit = scores < thresholds.accept, scores >= thresholds.reject, labels == 1
    return Evidence(
        method=promise[1],
        max_miss=promise[0],
        confidence=CONFIDENCE,
        pits=int(pit.sum()),
        pits_passed=int((pit & passed).sum()),
        pits_rejected=int((pit & thrown).sum()),
        clean=int((~pit).sum()),
        clean_passed=int((~pit & passed).sum()),
        clean_rejected=int((~pit & thrown).sum()),
    )


def points_text(points: dict[str, Point], labels: Labels, scores: Floats, pit_share: float = PIT_SHARE) -> str:
    """Return the results of each point per 1,000 cherries, beside the rule to accept below one half."""
    half = Thresholds(0.5, 0.5)
    rows: list[tuple[str, ...]] = [
        ("point", "accept below", "reject from", "pits passed", "clean thrown away", "reviewed", "clean passed")
    ]
    for name, point in points.items():
        if point.evidence is not None:
            rows.append(_row(name, point.thresholds, point.evidence, pit_share))
    rows.append(_row("production: one half", half, evidence_of(labels, scores, half, (0.5, "none")), pit_share))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([f"Per 1,000 cherries, {pit_share:.0%} of them with a pit:", "", *lines])


def basis_text(points: dict[str, Point]) -> str:
    """Return on which crops the promises of points rest, for people."""
    for found in (point.evidence for point in points.values()):
        if found is not None:
            return f"The promises rest on {found.pits} pits: {found.method}."
    return "No promise can be made: too few held-out pits."


def _row(name: str, thresholds: Thresholds, found: Evidence, pit_share: float) -> tuple[str, ...]:
    passed, thrown, review = found.per_thousand(pit_share)
    limits = f"{thresholds.accept:.4f}", f"{thresholds.reject:.4f}"
    return (name, *limits, f"{passed:.1f}", f"{thrown:.1f}", f"{review:.0f}", f"{found.clean_passed / found.clean:.1%}")


def _not_contradicted(pits: Floats, max_miss: float) -> float:
    """Return the highest threshold at which these pits do not contradict the promise (Clopper-Pearson, 95 %)."""
    ordered = np.sort(pits)
    allowed = 0
    while allowed + 1 < len(ordered) and binom.sf(allowed, len(ordered), max_miss) > 1.0 - CONFIDENCE:
        allowed += 1  # this many or more pass with a probability above 5 %
    return floor_to_step(float(ordered[allowed]))


def _once(hashes: list[str], labels: Labels, scores: Floats) -> tuple[Labels, Floats]:
    """Return each crop once, because exact duplicates are not independent evidence."""
    _, first = np.unique(np.array(hashes), return_index=True)
    return labels[first], scores[first]
