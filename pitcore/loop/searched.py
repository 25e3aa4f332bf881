"""One searched frame on its way to verdicts, and the shapes of the things in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pitcore.belt.track import Selection
from pitcore.decision import policy
from pitcore.frame import Frame
from pitcore.verdict import FrameRef


@dataclass(frozen=True, slots=True)
class Searched:
    """One frame that was searched, on its way to verdicts.

    Attributes:
        ref: names the frame in verdict lines.
        tick: of the belt's encoder at mid-exposure.
        chosen: what the tracker made of the things found.
        asked: indices of the things that the network judges.
        beyond: indices of the things that are `maybe` unseen, since there are more than ``[runtime] max_cherries``.
    """

    ref: FrameRef
    tick: int
    chosen: Selection
    asked: list[int]
    beyond: list[int]

    @classmethod
    def of(cls, frame: Frame, chosen: Selection, most: int) -> Searched:
        """Split what was chosen of a frame into what the network judges, at most so many, and the rest."""
        wanted = chosen.whole + chosen.cut
        return cls(FrameRef(frame.seq, frame.t_ns), frame.tick, chosen, wanted[:most], wanted[most:])


def shapes_of(things: NDArray[np.void], planes: int) -> list[policy.Shape]:
    """Return what the policy knows of each thing; a column at a time, which leaves NumPy only four times."""
    columns = [things[key].tolist() for key in ("area", "elongation", "ellipse_fill", "plane_sum")]
    return [
        policy.Shape(area, elongation, fill, tuple(total / area for total in sums[:planes]))
        for area, elongation, fill, sums in zip(*columns, strict=True)
    ]
