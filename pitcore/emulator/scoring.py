"""Verdicts held against the ground truth of an emulated belt: misses, doubles, confusion.

Pure: takes verdicts and truths, returns counts. Once both are moved to belt positions, a verdict belongs to each
thing whose middle its box holds (a box around two that touch holds both), and to one that holds the box's middle
(the box of a part that was cut, or of one half of a crop that really shows two cherries).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from pitcore.camera.truth import Truth
from pitcore.frame import Geometry
from pitcore.verdict import Verdict

RIM_PX = 2.0  # the soft rim of a body: nearer to an edge than this it may count as cut


@dataclass(slots=True)
class Score:
    """What the verdicts are worth.

    Attributes:
        due: cherries that some frame showed from end to end along the belt: each must get one verdict.
        misses: those that got none.
        doubles: those that got more than one.
        stray: verdicts for which there is nothing on the belt.
        confusion: (truth, verdict) -> count, see ``kind_of``. Foreign things too small to be seen are left out.
        verdict_of: truth id -> verdict, for everything that got exactly one.
    """

    due: int = 0
    misses: list[Truth] = field(default_factory=list)
    doubles: list[Truth] = field(default_factory=list)
    stray: list[Verdict] = field(default_factory=list)
    confusion: Counter[tuple[str, str]] = field(default_factory=Counter)
    verdict_of: dict[int, Verdict] = field(default_factory=dict)


def score(truths: Sequence[Truth], verdicts: Sequence[Verdict], ticks: Sequence[int], geometry: Geometry) -> Score:
    """Match verdicts with truths.

    Args:
        truths: everything on the belt that any frame showed in part.
        verdicts: of the whole run.
        ticks: encoder counts of the frames that were processed, ascending.
        geometry: of the frames.
    """
    found = _match(truths, verdicts, geometry)
    result = Score(stray=found.stray)
    for truth in truths:
        mine = found.of[truth.id]
        if truth.kind == "cherry" and _was_whole(truth, ticks, geometry):
            result.due += 1
            if not mine:
                result.misses.append(truth)
            elif len(mine) > 1:
                result.doubles.append(truth)
        if len(mine) == 1:
            result.verdict_of[truth.id] = mine[0]
            result.confusion[kind_of(truth), mine[0].verdict] += 1
    return result


def kind_of(truth: Truth) -> str:
    """Return what a thing is, as a row of the confusion table."""
    if truth.kind == "foreign":
        return "foreign"
    if truth.cut_lateral:
        return "cut by an edge"
    return truth.label if truth.touching is None else "touching"


@dataclass(slots=True)
class _Matches:
    of: dict[int, list[Verdict]]
    stray: list[Verdict]


def _match(truths: Sequence[Truth], verdicts: Sequence[Verdict], geometry: Geometry) -> _Matches:
    ordered = sorted(truths, key=lambda truth: truth.belt_px)
    positions = [truth.belt_px for truth in ordered]
    tallest = max((truth.height_px for truth in truths), default=0)
    matches = _Matches({truth.id: [] for truth in truths}, [])
    for verdict in verdicts:
        x, y, width, height = verdict.box
        high = verdict.tick * geometry.px_per_tick - y
        middle_px, across_px = high - height / 2, x + width / 2
        reach = max(height, tallest) / 2
        near = ordered[bisect_left(positions, middle_px - reach) : bisect_right(positions, middle_px + reach)]
        mine = [
            truth
            for truth in near
            if (_within(truth.belt_px - middle_px, height) and _within(_column(truth, geometry) - across_px, width))
            or (_within(truth.belt_px - middle_px, truth.height_px) and _within(truth.x_px - across_px, truth.width_px))
        ]
        for truth in mine:
            matches.of[truth.id].append(verdict)
        if not mine:
            matches.stray.append(verdict)
    return matches


def _within(distance_px: float, length_px: float) -> bool:
    """Tell whether a point lies inside an interval of this length, given its distance from the interval's middle."""
    return abs(distance_px) <= length_px / 2


def _column(truth: Truth, geometry: Geometry) -> float:
    """Return the column of a thing's middle; of one that a side edge cuts, the nearest that is in view."""
    return min(max(truth.x_px, 0.0), geometry.width_px - 1.0)


def _was_whole(truth: Truth, ticks: Sequence[int], geometry: Geometry) -> bool:
    """Tell whether some frame showed a thing from end to end along the belt."""
    half = truth.height_px / 2 + RIM_PX
    if 2 * half > geometry.height_px:
        return False
    near, far = truth.belt_px + half, truth.belt_px + geometry.height_px - half
    # the ticks at which its far end has come in and its near end has not left; a belt may run towards smaller rows
    first, last = sorted((near / geometry.px_per_tick, far / geometry.px_per_tick))
    index = bisect_left(ticks, first)
    return index < len(ticks) and ticks[index] <= last
