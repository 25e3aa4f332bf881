"""Measures the travel of the belt from cherries in two consecutive frames. Does no IO.

The step ``belt`` measures pixels per encoder tick. The other steps need the advance: a belt that is stopped shows the
same cherries in every frame, and a slow one shows each of them many times.

A cherry is matched by its column, size and brightness; no scale is assumed. Between two frames all cherries move by the
same distance. The distance that most candidate pairs share is that of the belt; the other pairs are wrong matches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pitcore.errors import CalibrationError

SAME_X_PX = 3.0  # largest change of a cherry's column
SAME_SIZE = 0.06  # largest relative change of its area and its brightness
AGREE_PX = 2.5
MIN_CHERRIES = 50
MIN_PAIRS = 10  # pairs of frames
MOVED_PX = 2.0  # a belt that moves less between two frames is stopped


@dataclass(frozen=True, slots=True)
class Sight:
    """The whole cherries of one frame.

    Attributes:
        tick: encoder count of the frame.
        points: (N, 2 + 1 + P) middle x and y in px, area in px, mean grey level in each plane.
    """

    tick: int
    points: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Moved:
    """Travel of the belt between two frames: ticks, pixels, and number of cherries that agree."""

    ticks: int
    px: float
    cherries: int


@dataclass(frozen=True, slots=True)
class Scale:
    """A measured scale: pixels for one tick, its standard error, and the numbers of cherries and pairs of frames."""

    px_per_tick: float
    error: float
    cherries: int
    pairs: int


@dataclass(frozen=True, slots=True)
class Views:
    """Number of measured frames, and of those that show the same cherry, on average."""

    frames: int
    of_each: float


def sight_of(tick: int, things: NDArray[np.void], planes: int) -> Sight:
    """Return the sight of a frame, given its whole things as ``Preparer.segment`` returns them."""
    area = things["area"].astype(float)
    columns = [
        things["sum_x"] / area,
        things["sum_y"] / area,
        area,
        *(things["plane_sum"][:, :planes] / area[:, None]).T,
    ]
    return Sight(tick, np.stack(columns, axis=1) if len(things) else np.zeros((0, 3 + planes)))


def moved_between(before: Sight, after: Sight, needed: int = 2) -> Moved | None:
    """Return the travel of the belt between two frames, or None if fewer than ``needed`` cherries agree."""
    if not len(before.points) or not len(after.points):
        return None
    one, two = before.points[:, None, :], after.points[None, :, :]
    same = np.abs(one[..., 0] - two[..., 0]) <= SAME_X_PX
    same &= (np.abs(one[..., 2:] - two[..., 2:]) <= SAME_SIZE * one[..., 2:]).all(axis=2)
    distances = np.sort((two[..., 1] - one[..., 1])[same])
    if len(distances) < needed:
        return None
    agree = np.searchsorted(distances, distances + AGREE_PX, side="right") - np.arange(len(distances))
    start = int(agree.argmax())
    if agree[start] < needed:
        return None
    return Moved(after.tick - before.tick, float(np.mean(distances[start : start + agree[start]])), int(agree[start]))


def views_of(step: str, sights: Sequence[Sight], height_px: int) -> Views:
    """Return in how many frames each cherry is seen: in one if no cherry is seen in two frames.

    Args:
        step: name of the step, for the message.
        sights: consecutive frames.
        height_px: height of the searched part of a frame.

    Raises:
        CalibrationError: the belt is stopped in most frames, or most things do not move with it.
    """
    # one cherry is enough: a wrong match is nearly always further away than MOVED_PX
    moves = [moved_between(one, two, needed=1) for one, two in pairwise(sights)]
    advances = np.abs([move.px for move in moves if move is not None])
    if not len(advances):
        return Views(len(sights), 1.0)
    if np.median(advances) < MOVED_PX:
        raise CalibrationError(
            f"{step}: the belt is stopped, and the same cherries are in every frame, or fixed things are in view; "
            "start the belt with cherries on it, clean the glass, and run the step again"
        )
    return Views(len(sights), max(1.0, height_px / float(np.mean(advances))))


def scale_of(moves: Sequence[Moved | None]) -> Scale:
    """Return the scale that the pairs of frames agree on.

    Raises:
        CalibrationError: the belt is stopped, the encoder does not count, too few cherries were matched, or the pairs
            disagree.
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
            f"belt: {len(moves) + 1} frames were measured: {cherries} cherries were matched in {len(used)} pairs of "
            f"frames, but {MIN_CHERRIES} in {MIN_PAIRS} are needed; run the belt with cherries on it, slower if frames "
            "do not overlap, or take more --frames"
        )
    return _fitted(used)


def _fitted(moves: Sequence[Moved]) -> Scale:
    """Fit px = scale * ticks through zero, without pairs far from the median scale. Raises CalibrationError."""
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
