"""Computes the thresholds in use: the card's, which a board may only make stricter."""

from __future__ import annotations

from dataclasses import dataclass

from pitcore.config.stages import DecisionConfig
from pitcore.errors import ConfigError
from pitcore.model_card import ModelCard, PointName, Thresholds


@dataclass(frozen=True, slots=True)
class Operating:
    """The thresholds in use, and their origin.

    Attributes:
        point: of the card; a stricter one if the card lacks the wanted one.
        thresholds: its thresholds, or the board's stricter ones.
        promise: of the point, in words.
    """

    point: PointName
    thresholds: Thresholds
    promise: str


def operating_point(card: ModelCard, board: DecisionConfig) -> Operating:
    """Return the thresholds in use: of the point that the board names, otherwise ``strict``. Raises ConfigError."""
    wanted = board.point or "strict"
    name, point = card.point(wanted)
    lacking = "" if name == wanted else f"; the card has no point {wanted}, so the next stricter one is used"
    return Operating(name, effective_thresholds(point.thresholds, board), point.promise + lacking)


def effective_thresholds(card: Thresholds, board: DecisionConfig) -> Thresholds:
    """Return the card's thresholds, or the board's stricter ones.

    Stricter means lower: fewer cherries accepted, more rejected. Raises ConfigError for a looser one.
    """
    for key in ("accept", "reject"):
        wish, bound = getattr(board, key), getattr(card, key)
        if wish is not None and wish > bound:
            raise ConfigError(
                f"[decision] {key} = {wish} is looser than the model card's {bound}; "
                f"a board may only be stricter: use at most {bound}, or leave the key out"
            )
    accept = card.accept if board.accept is None else board.accept
    reject = card.reject if board.reject is None else board.reject
    if accept > reject:
        raise ConfigError(f"[decision] accept = {accept} is above reject = {reject}; lower accept to at most {reject}")
    return Thresholds(accept=accept, reject=reject)
