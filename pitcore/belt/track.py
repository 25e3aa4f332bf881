"""One verdict for each cherry, though overlapping frames show it more than once.

The belt moves along the rows. A point that is at row ``r`` when the encoder says ``t`` has the belt position
``t * px_per_tick - r``, and keeps it from frame to frame; that is how a box is matched with the boxes
of earlier frames. This module decides *which* things of a frame are to be judged now; it knows neither
pixels nor probabilities.

A thing is judged in the first frame that shows it whole. Seen only in part, it waits. If it leaves
before any frame shows it whole (frames were lost, or it is longer than a frame), it is handed out as
``cut`` or ``unseen``, and never passed over in silence. In doubt whether a thing was judged before, it
is judged again: a second verdict costs a cherry, a missing one a tooth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pitcore.preprocess._core import matched

LEFT, RIGHT, TOP, BOTTOM = 1, 2, 4, 8  # border flags, as the core sets them

Box = tuple[int, int, int, int]  # x, y, width, height in pixels of a frame
Span = tuple[float, float, float, float]  # x0, x1, and belt position low and high; high ends exclusive

# A thing is known if an earlier one covers this share of its box. Two cherries that ran together count
# half at most, so the pair is judged anew and the second is not lost in the first.
KNOWN_SHARE = 0.7
# And only if it covers this share of what the frame shows of the earlier one: a small cherry in the shadow of a large
# one's box is another cherry.
SAME_SHARE = 0.35
# A part seen at the entry edge lies within the whole thing seen later, but for noise at its rim.
RESUMED_SHARE = 0.5


@dataclass(slots=True)
class Selection:
    """What to do with the things of one frame. Lists of integers hold indices into its boxes.

    Attributes:
        whole: judge now.
        side: cut by a lateral edge: ``side``, no need to ask the network.
        cut: leaving without ever having been whole: judge with reason ``cut``.
        unseen: boxes of things that were seen in part and left between two frames, where they would be
            now (so outside the frame); and of those that were entering when all was forgotten, where they were last.
        known: how many were passed over because an earlier frame had them.
        waiting: how many are entering and will be whole in a later frame.
        gap_px: length of belt that passed unseen before this frame.
    """

    whole: list[int] = field(default_factory=list)
    side: list[int] = field(default_factory=list)
    cut: list[int] = field(default_factory=list)
    unseen: list[Box] = field(default_factory=list)
    known: int = 0
    waiting: int = 0
    gap_px: int = 0

    def to_judge(self, edges: int, exit_edge: int) -> list[int]:
        """Return the list in which a thing at these edges of the frame belongs."""
        if edges & (LEFT | RIGHT):
            return self.side
        return self.cut if edges & exit_edge else self.whole


class BeltTracker:
    """Matches the things of each frame with those of the frames before.

    Args:
        height_px: of the frame, along the belt.
        px_per_tick: belt travel for one encoder tick, positive towards larger rows.
        tolerance_px: how far a thing may be from where the encoder says.
    """

    def __init__(self, height_px: int, px_per_tick: float, tolerance_px: float) -> None:
        self._height = height_px
        self._px_per_tick = px_per_tick
        self._tolerance = tolerance_px
        self._entry, self._exit = (TOP, BOTTOM) if px_per_tick > 0 else (BOTTOM, TOP)
        self._judged: list[Span] = []
        self._waiting: list[Span] = []
        self._given_up: list[Span] = []
        self._last_origin: float | None = None

    def update(self, tick: int, boxes: Sequence[Box], border: Sequence[int]) -> Selection:
        """Decide what to judge in one frame.

        Args:
            tick: encoder count of the frame.
            boxes: x, y, width, height in pixels of each thing.
            border: flags of the frame's edges that each box touches.
        """
        origin = tick * self._px_per_tick
        chosen = Selection()
        chosen.unseen += [_in_frame(span, self._last_origin or 0.0) for span in self._given_up]
        self._given_up = []
        self._follow_belt(origin, chosen)
        seen = [_on_belt(box, origin) for box in boxes]

        in_view = (SAME_SHARE, origin - self._height, origin)
        known = matched(seen, self._judged, self._tolerance, KNOWN_SHARE, in_view)
        resumed = matched(self._waiting, seen, self._tolerance, RESUMED_SHARE)
        still = [span for span, again in zip(self._waiting, resumed, strict=True) if not again]
        chosen.unseen += [_in_frame(span, origin) for span in still if self._has_left(span, origin)]
        self._waiting = [span for span in still if not self._has_left(span, origin)]
        self._judged = [span for span in self._judged if not self._has_left(span, origin)]

        for index, (span, edges) in enumerate(zip(seen, border, strict=True)):
            if known[index]:
                chosen.known += 1
            elif edges & self._entry and not edges & self._exit:
                chosen.waiting += 1
                self._waiting.append(span)
            else:
                self._judged.append(span)
                chosen.to_judge(edges, self._exit).append(index)
        return chosen

    def forget(self) -> None:
        """Know nothing again: what comes is judged, whether it was judged before or not.

        What was entering cannot be known again either, and may be gone: the next ``update`` hands it out as ``unseen``.
        """
        self._given_up += self._waiting
        self._judged, self._waiting = [], []

    def finish(self) -> Selection:
        """End of the belt: hand out what still waits, as ``unseen``."""
        left = Selection(unseen=[_in_frame(span, self._last_origin or 0.0) for span in self._given_up + self._waiting])
        self._given_up, self._waiting = [], []
        return left

    def _follow_belt(self, origin: float, chosen: Selection) -> None:
        """Note how far the belt came. After an encoder reset nothing known can be matched any more."""
        if self._last_origin is not None:
            advance = (origin - self._last_origin) * (1 if self._px_per_tick > 0 else -1)
            chosen.gap_px = max(0, round(advance - self._height))
            if advance < -self._height:
                chosen.unseen += [_in_frame(span, self._last_origin) for span in self._waiting]
                self._waiting, self._judged = [], []
        self._last_origin = origin

    def _has_left(self, span: Span, origin: float) -> bool:
        """Return whether a span lies wholly beyond the exit edge."""
        _, _, low, high = span
        return origin - high >= self._height if self._px_per_tick > 0 else origin - low <= 0.0


def _on_belt(box: Box, origin: float) -> Span:
    """Turn a box of a frame into a span on the belt."""
    x, y, width, height = box
    return float(x), float(x + width), origin - y - height, origin - y


def _in_frame(span: Span, origin: float) -> Box:
    """Turn a span on the belt into a box relative to the frame at ``origin``; it may lie outside it."""
    x0, x1, low, high = span
    return round(x0), round(origin - high), round(x1 - x0), round(high - low)
