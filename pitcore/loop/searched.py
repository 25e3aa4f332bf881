"""Defines the data of one searched frame between search and verdicts, and the shapes of its things."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pitcore.belt.track import Selection
from pitcore.decision import policy
from pitcore.frame import Frame
from pitcore.verdict import FrameRef


@dataclass(frozen=True, slots=True)
class Searched:
    """One searched frame.

    Attributes:
        ref: identifies the frame in verdict lines.
        tick: encoder count at mid-exposure.
        chosen: the tracker's selection of the things.
        asked: indices of the things that the network judges.
        beyond: indices of the things beyond ``[runtime] max_cherries``, which are `maybe` without the network.
    """

    ref: FrameRef
    tick: int
    chosen: Selection
    asked: list[int]
    beyond: list[int]

    @classmethod
    def of(cls, frame: Frame, chosen: Selection, most: int) -> Searched:
        """Split the selected things of a frame into at most ``most`` for the network, and the rest."""
        indices = chosen.whole + chosen.cut
        return cls(FrameRef(frame.seq, frame.t_ns), frame.tick, chosen, indices[:most], indices[most:])


SHAPE = ("area", "elongation", "ellipse_fill", "plane_sum")


def shapes_of(things: NDArray[np.void], planes: int, wanted: Iterable[int]) -> list[policy.Shape]:
    """Return the shapes of the wanted things. Converts whole columns, which is faster than single values."""
    areas, elongations, fills, sums = (things[key].tolist() for key in SHAPE)
    return [
        policy.Shape(areas[at], elongations[at], fills[at], tuple([total / areas[at] for total in sums[at][:planes]]))
        for at in wanted
    ]
