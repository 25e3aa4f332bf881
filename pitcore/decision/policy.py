"""The decision: pure functions from logits and shape to verdict, reason and action.

No IO, no clock, no state. Arithmetic is plain Python ``float`` and ``math``, and probabilities are
rounded to six places, because NumPy's ``exp`` differs in the last digit between x86 and Arm.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from pitcore.config import ActionsConfig, DecisionConfig, FailSafe
from pitcore.model_card import ProbabilityCalibration, Thresholds
from pitcore.verdict import Action, Reason, VerdictName

PROBABILITY_PLACES = 6


class Shape(msgspec.Struct, frozen=True):
    """Shape and brightness of a thing on the belt.

    Attributes:
        area_px: pixels of its mask.
        elongation: ratio of the axes of the ellipse with the same second moments, at least 1.
        ellipse_fill: area over that ellipse's: 1 for an ellipse, less for a waist, a dent or a stem.
        plane_means: mean grey level over the mask, one for each plane.
    """

    area_px: int
    elongation: float
    ellipse_fill: float
    plane_means: tuple[float, ...]


class Judgement(msgspec.Struct, frozen=True):
    """A verdict without the frame it belongs to."""

    verdict: VerdictName
    reason: Reason | None
    probabilities: dict[str, float] | None


def pit_probability(logits: Sequence[float], labels: Sequence[str], calibration: ProbabilityCalibration) -> float:
    """Return the calibrated probability of a pit, as ``probabilities`` does."""
    return probabilities(logits, labels, calibration)["pit"]


def probabilities(
    logits: Sequence[float], labels: Sequence[str], calibration: ProbabilityCalibration
) -> dict[str, float]:
    """Return a probability for each label, rounded to six places; ``pit`` is calibrated and the others share the rest.

    The rest is divided in proportion to their softmax. All are NaN if a logit is NaN or infinite: an overflow of one
    sign would otherwise read as a cherry that is surely clean.

    Args:
        logits: one for each label, in the card's order; Python's floats.
        labels: the card's labels; contains ``pit``.
        calibration: slope and intercept of Platt scaling of the pit margin, the pit logit minus the log-sum-exp of the
            others.
    """
    if not all(map(math.isfinite, logits)):
        return dict.fromkeys(labels, math.nan)
    pit = labels.index("pit")
    others = [*logits[:pit], *logits[pit + 1 :]]
    top = max(others)
    weights = [math.exp(value - top) for value in others]
    total = math.fsum(weights)
    score = calibration.slope * (logits[pit] - (top + math.log(total))) + calibration.intercept
    p_pit = round(_sigmoid(score), PROBABILITY_PLACES)
    rest = 1.0 - p_pit
    shares = [round(rest * weight / total, PROBABILITY_PLACES) for weight in weights]
    return dict(zip(labels, [*shares[:pit], p_pit, *shares[pit:]], strict=True))


def judge_probability(p_pit: float, thresholds: Thresholds) -> tuple[VerdictName, Reason | None]:
    """Return clean below ``accept``, pit from ``reject`` on, and maybe between and for NaN."""
    if math.isnan(p_pit):
        return "maybe", "not_finite"
    if p_pit >= thresholds.reject:
        return "pit", None
    if p_pit < thresholds.accept:
        return "clean", None
    return "maybe", "uncertain"


def shape_reason(shape: Shape, limits: DecisionConfig) -> Reason | None:
    """Return why a thing cannot be one clean cherry, or None if its shape and light allow it."""
    bounds = zip(shape.plane_means, limits.min_plane_mean, limits.max_plane_mean, strict=True)
    if shape.area_px < limits.min_area_px or not all(low <= mean <= high for mean, low, high in bounds):
        return "foreign"
    is_large = shape.area_px > limits.max_area_px or shape.elongation > limits.max_elongation
    return "touching" if is_large or shape.ellipse_fill < limits.min_ellipse_fill else None


def judge(shares: dict[str, float], doubt: Reason | None, thresholds: Thresholds) -> Judgement:
    """Judge a thing that the network has seen.

    A thing in doubt (foreign, touching, cut) is never clean. It is a pit if its probability says so, unless
    it is foreign: of those the network knows nothing. A pit keeps its doubt as the reason, since the valves have to
    hit all of a thing that may be several cherries.
    """
    verdict, reason = judge_probability(shares["pit"], thresholds)
    if reason == "not_finite":
        return Judgement(verdict, doubt or reason, None)
    if doubt == "foreign" or (doubt is not None and verdict != "pit"):
        return Judgement("maybe", doubt, shares)
    return Judgement(verdict, doubt or reason, shares)


def judge_unseen(reason: Reason) -> Judgement:
    """Judge a thing that the network has not seen: always maybe, with the reason."""
    return Judgement("maybe", reason, None)


SIDE = Judgement("side", None, None)


def fail_safe(judgement: Judgement, failsafe: FailSafe) -> Judgement:
    """Return a judgement while an alarm is on: not clean, unless the alarm is only reported."""
    if failsafe == "alarm" or judgement.verdict != "clean":
        return judgement
    return Judgement("maybe", "failsafe", judgement.probabilities)


def action_of(verdict: VerdictName, actions: ActionsConfig, failsafe: FailSafe = "alarm") -> Action:
    """Return the action for a verdict; reject for every verdict while the fail-safe rejects all."""
    if failsafe == "reject":
        return "reject"
    action: Action = getattr(actions, verdict)
    return action


def _sigmoid(score: float) -> float:
    """1 / (1 + exp(-score)) without overflow on either side."""
    if score >= 0.0:
        return 1.0 / (1.0 + math.exp(-score))
    grown = math.exp(score)
    return grown / (1.0 + grown)
