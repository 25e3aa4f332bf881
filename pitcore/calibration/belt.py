"""Belt: pixels per encoder tick, from cherries that two frames in a row both show. Rules only; no scale is assumed.

A cherry is known again by its column, size and brightness. Between two frames all cherries move by the same distance:
the distance that most candidates agree on is the belt's, and the rest are mistaken pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pitcore.errors import CalibrationError

SAME_X_PX = 3.0  # across the belt a cherry stays where it is
SAME_SIZE = 0.06  # of its area and its brightness
AGREE_PX = 2.5
MIN_CHERRIES = 50
MIN_PAIRS = 10  # of frames
MOVED_PX = 2.0  # less, over a pair of frames, is standing


@dataclass(frozen=True, slots=True)
class Sight:
    """What one frame shows of its whole cherries.

    Attributes:
        tick: of the frame.
        points: (N, 2 + 1 + P) middle x and y in px, area in px, mean grey level in each plane.
    """

    tick: int
    points: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Moved:
    """How far the belt came between two frames: ticks, pixels, and how many cherries say so."""

    ticks: int
    px: float
    cherries: int


@dataclass(frozen=True, slots=True)
class Scale:
    """A measured scale: pixels for one tick, its standard error, and what it rests on."""

    px_per_tick: float
    error: float
    cherries: int
    pairs: int


def sight_of(tick: int, things: NDArray[np.void], planes: int) -> Sight:
    """Return the sight of a frame's whole things."""
    area = things["area"].astype(float)
    columns = [
        things["sum_x"] / area,
        things["sum_y"] / area,
        area,
        *(things["plane_sum"][:, :planes] / area[:, None]).T,
    ]
    return Sight(tick, np.stack(columns, axis=1) if len(things) else np.zeros((0, 3 + planes)))


def moved_between(before: Sight, after: Sight) -> Moved | None:
    """Return how far the belt came, or None where fewer than two cherries agree."""
    if not len(before.points) or not len(after.points):
        return None
    one, two = before.points[:, None, :], after.points[None, :, :]
    same = np.abs(one[..., 0] - two[..., 0]) <= SAME_X_PX
    same &= (np.abs(one[..., 2:] - two[..., 2:]) <= SAME_SIZE * one[..., 2:]).all(axis=2)
    distances = np.sort((two[..., 1] - one[..., 1])[same])
    if len(distances) < 2:
        return None
    agree = np.searchsorted(distances, distances + AGREE_PX, side="right") - np.arange(len(distances))
    start = int(agree.argmax())
    if agree[start] < 2:
        return None
    return Moved(after.tick - before.tick, float(np.mean(distances[start : start + agree[start]])), int(agree[start]))


def scale_of(moves: Sequence[Moved | None]) -> Scale:
    """Return the scale that all pairs of frames agree on.

    Raises:
        CalibrationError: the belt or the encoder stands, too few cherries were known again, or the pairs disagree.
    """
    known = [move for move in moves if move is not None]
    moving = [move for move in known if abs(move.px) >= MOVED_PX]
    ticking = [move for move in known if move.ticks]
    if known and not moving and not ticking:
        raise CalibrationError("belt: it is stopped; start the belt and measure again")
    if moving and not ticking:
        raise CalibrationError(
            "belt: cherries move but the encoder gives no ticks; check its cable, supply and coupling"
        )
    if ticking and not moving:
        raise CalibrationError("belt: the encoder counts but the cherries do not move; check what drives the encoder")
    used = [move for move in moving if move.ticks]
    cherries = sum(move.cherries for move in used)
    if cherries < MIN_CHERRIES or len(used) < MIN_PAIRS:
        raise CalibrationError(
            f"belt: {cherries} cherries were matched in {len(used)} pairs of frames, but {MIN_CHERRIES} in "
            f"{MIN_PAIRS} are needed; run the belt with cherries on it, slower if frames do not overlap, or "
            "take more --frames"
        )
    return _fitted(used)


def _fitted(moves: Sequence[Moved]) -> Scale:
    """Fit px = scale * ticks through zero, pairs far from the median scale left out."""
    ratios = np.array([move.px / move.ticks for move in moves])
    middle = float(np.median(ratios))
    kept = [move for move, ratio in zip(moves, ratios, strict=True) if abs(ratio / middle - 1.0) <= 0.05]
    if 2 * len(kept) < len(moves):
        raise CalibrationError(
            f"belt: the pairs of frames disagree ({ratios.min():.4g} to {ratios.max():.4g} px a tick); the belt slips, "
            "or the encoder loses ticks"
        )
    ticks = np.array([move.ticks for move in kept], float)
    px = np.array([move.px for move in kept])
    scale = float(ticks @ px / (ticks @ ticks))
    rest = px - scale * ticks
    error = float(np.sqrt(rest @ rest / max(1, len(kept) - 1) / (ticks @ ticks)))
    return Scale(scale, error, sum(move.cherries for move in kept), len(kept))
