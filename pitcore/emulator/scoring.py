"""Compares verdicts with the ground truth of an emulated belt: misses, doubles, confusion. Does no IO.

Verdicts and truths are compared in belt positions. A verdict belongs to each thing whose middle is inside its box (a
box around two that touch contains both middles). It also belongs to a thing that contains the middle of its box (the
box of a part that was cut, or of one half of a crop that shows two cherries).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from pitcore.camera.truth import Truth
from pitcore.frame import Geometry
from pitcore.verdict import Verdict

RIM_PX = 2.0  # the soft rim of a body: closer to an edge than this a body may count as cut


@dataclass(slots=True)
class Score:
    """The result of a comparison.

    Attributes:
        due: number of cherries that some frame showed from end to end along the belt. Each must get one verdict.
        misses: due cherries that got no verdict.
        doubles: due cherries that got more than one verdict.
        stray: verdicts that belong to no object on the belt.
        confusion: (truth, verdict) -> count, see ``kind_of``. Objects without a verdict are left out.
        verdict_of: truth id -> verdict, for every object that got exactly one verdict.
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
        truths: all objects that any frame showed at least partly.
        verdicts: all verdicts of the run.
        ticks: encoder counts of the processed frames, ascending.
        geometry: geometry of the frames.
    """
    matches = _match(truths, verdicts, geometry)
    result = Score(stray=matches.stray)
    for truth in truths:
        mine = matches.of[truth.id]
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
    """Return the row of the confusion table to which an object belongs."""
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
    """Return True if a point is inside an interval of this length, given its distance from the interval's middle."""
    return abs(distance_px) <= length_px / 2


def _column(truth: Truth, geometry: Geometry) -> float:
    """Return the column of an object's middle, clamped to the frame's columns."""
    return min(max(truth.x_px, 0.0), geometry.width_px - 1.0)


def _was_whole(truth: Truth, ticks: Sequence[int], geometry: Geometry) -> bool:
    """Return True if some frame showed an object from end to end along the belt."""
    half = truth.height_px / 2 + RIM_PX
    if 2 * half > geometry.height_px:
        return False
    near, far = truth.belt_px + half, truth.belt_px + geometry.height_px - half
    # the ticks between which both of its ends are in view; a belt may run towards smaller rows
    first, last = sorted((near / geometry.px_per_tick, far / geometry.px_per_tick))
    index = bisect_left(ticks, first)
    return index < len(ticks) and ticks[index] <= last
