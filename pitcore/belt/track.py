"""Makes sure that each cherry gets one verdict, although overlapping frames show it more than once.

A point of the belt keeps its position from frame to frame. Boxes are matched with those of earlier frames by this
position. Positions are in pixels and grow towards the feed: the entry edge of a frame taken at tick ``t`` is at ``t *
|px_per_tick|``, and its exit edge ``height_px`` less. This module decides *which* things of a frame are judged now. It
knows no pixels and no probabilities.

The rules:

- A thing that touches the entry edge waits, and while the belt backs up one that touches the exit edge, by which it
  comes. Any other is judged in the first frame that shows it.
- A thing is known if one thing that was judged earlier covers it, its end at the entry side included: what reaches
  further holds belt that no earlier frame showed, and is judged again.
- What waited must be seen again in something that is judged or waits on. If only a known thing covers it, that is
  judged again.
- What waited and went past the exit edge is in the box of the ``cut`` thing that it belongs to, or else ``unseen``.
- What lies beyond the entry edge, since the belt ran backwards, is forgotten. It may be other cherries when the belt
  comes forward again.
- The last rows of a judged thing at the exit edge are known, though the tick is off and the thing should be past it.
- What was judged and went past the exit edge is remembered: if the belt backs up it comes again by that edge, and must
  not be taken for a thing that leaves before it was whole. If it may have been at a nozzle, and comes into view whole,
  it was missed there and is judged again.

If it is not certain that a thing was judged before, it is judged again: a second verdict costs a cherry, a missing one
a tooth.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from pitcore.preprocess._core import matched

LEFT, RIGHT, TOP, BOTTOM = 1, 2, 4, 8  # border flags, as the core sets them

Box = tuple[int, int, int, int]  # x, y, width, height in pixels of a frame
Span = tuple[float, float, float, float]  # x0, x1, and belt position low and high; high ends exclusive

# A thing is known if an earlier one covers this share of its box. Two cherries that ran together count
# half at most, so the pair is judged again and the second is not lost in the first.
KNOWN_SHARE = 0.7
# And only if it covers this share of what the frame shows of the earlier one: a small cherry in the shadow of a large
# one's box is another cherry.
SAME_SHARE = 0.35
# And only if earlier ones cover this share of its last pixels at the entry side. Fewer pixels than any cherry has.
TIP_PX = 16.0
TIP_SHARE = 0.5
# A part seen at the entry edge lies within the whole thing seen later, but for noise at its rim.
RESUMED_SHARE = 0.5
# No frame shows more things than the search reports. What was judged before the last so many is judged again.
MOST_SPANS = 4096
# Nor does a belt back up farther than these lie along it.
MOST_PASSED = 1024


@dataclass(slots=True)
class Selection:
    """The decision for the things of one frame. Lists of integers hold indices into its boxes.

    Attributes:
        whole: judge now.
        side: cut by a lateral edge: ``side``, no need to ask the network.
        cut: leaves without having been whole: judge with reason ``cut``.
        unseen: boxes of things that were seen in part and left between two frames, where they would be
            now (so outside the frame); and of those that were entering when all was forgotten, where they were last.
        longer: boxes of things in ``side`` and ``cut`` of which an earlier frame showed what is now past the exit edge;
            these boxes reach beyond the frame.
        known: number of things that were skipped because an earlier frame had them.
        waiting: number of things that are entering and will be whole in a later frame.
        waiting_px: length of belt at the entry edge on which they lie, or lay when a frame showed them last.
        gap_px: length of belt that passed unseen before this frame.
    """

    whole: list[int] = field(default_factory=list)
    side: list[int] = field(default_factory=list)
    cut: list[int] = field(default_factory=list)
    unseen: list[Box] = field(default_factory=list)
    longer: dict[int, Box] = field(default_factory=dict)
    known: int = 0
    waiting: int = 0
    waiting_px: int = 0
    gap_px: int = 0

    def to_judge(self, edges: int, exit_edge: int) -> list[int]:
        """Return the list in which a thing at these edges of the frame belongs."""
        if edges & (LEFT | RIGHT):
            return self.side
        return self.cut if edges & exit_edge else self.whole

    def box_of(self, index: int, boxes: Sequence[Box]) -> Box:
        """Return the box of a thing that is judged now, with what earlier frames showed of it."""
        return self.longer.get(index, boxes[index])


class BeltTracker:
    """Matches the things of each frame with those of the frames before.

    Args:
        height_px: of the frame, along the belt.
        px_per_tick: belt travel for one encoder tick, positive towards larger rows.
        tolerance_px: how far a thing may be from where the encoder says.
        remembered_px: distance past the exit edge within which a judged thing has not reached a nozzle; None: the
            height of a frame.
    """

    def __init__(
        self, height_px: int, px_per_tick: float, tolerance_px: float, remembered_px: float | None = None
    ) -> None:
        self._height = height_px
        self._remembered = height_px if remembered_px is None else remembered_px
        self._px_per_tick = px_per_tick
        self._tolerance = tolerance_px
        self._entry, self._exit = (TOP, BOTTOM) if px_per_tick > 0 else (BOTTOM, TOP)
        self._judged: list[Span] = []
        self._passed: list[Span] = []  # of what was judged, what went past the exit edge
        self._waiting: list[Span] = []
        self._given_up: list[Span] = []
        self._last_front: float | None = None  # position of the entry edge in the frame before
        self._farthest = -math.inf  # of all frames
        self._back_to = math.inf  # and the least of it in the frames since then that were not searched

    def __len__(self) -> int:
        """Return the number of remembered things."""
        return len(self._judged) + len(self._passed) + len(self._waiting)

    def update(self, tick: int, boxes: Sequence[Box], border: Sequence[int]) -> Selection:
        """Decide what to judge in one frame.

        Args:
            tick: encoder count of the frame.
            boxes: x, y, width, height in pixels of each thing.
            border: flags of the frame's edges that each box touches.
        """
        front = tick * abs(self._px_per_tick)
        backs = self._last_front is not None and front < self._last_front
        chosen = Selection()
        chosen.unseen += [self._in_frame(span, self._last_front or 0.0) for span in self._given_up]
        self._given_up = []
        self._follow_belt(front, chosen)
        seen = [self._on_belt(box, front) for box in boxes]
        known = self._known(seen, self._judged, front)
        gone = front - self._height - self._tolerance  # nearer to the exit edge, noise or the tick may have cut it
        came_back = [span for span in self._passed if span[3] > gone] if front < self._farthest else []
        if came_back:  # by the exit edge, at which a thing is seen in part
            again = self._known(seen, came_back, front)
            known = [
                one or (other and bool(edges & self._exit))
                for one, other, edges in zip(known, again, border, strict=True)
            ]
        past = self._resume(seen, known, front)
        waiting = []
        for index, (span, edges) in enumerate(zip(seen, border, strict=True)):
            if known[index]:
                chosen.known += 1
            elif (ends := edges & (TOP | BOTTOM)) == self._entry or (backs and ends == self._exit):
                chosen.waiting += 1
                waiting.append(span)
            else:
                chosen.to_judge(edges, self._exit).append(index)
                if edges & self._exit and past:
                    seen[index] = self._with_past(span, past)
                    if seen[index] != span:
                        chosen.longer[index] = self._in_frame(seen[index], front)
                self._judged.append(seen[index])
        chosen.unseen += [self._in_frame(span, front) for span in past if span[2] < gone]
        self._waiting += waiting
        chosen.waiting_px = max((round(front - span[2]) for span in self._waiting), default=0)
        del self._judged[:-MOST_SPANS], self._passed[:-MOST_PASSED]
        return chosen

    def not_searched(self, tick: int) -> None:
        """Take the tick of a frame that cannot be searched: the belt may be backing up."""
        self._back_to = min(self._back_to, tick * abs(self._px_per_tick))

    def forget(self) -> None:
        """Forget all things, so that every following thing is judged.

        Things that were entering cannot be matched any more: the next ``update`` returns them as ``unseen``.
        """
        self._given_up += self._waiting
        self._judged, self._passed, self._waiting = [], [], []

    def finish(self) -> Selection:
        """End the belt: return the waiting things as ``unseen``."""
        spans, front = self._given_up + self._waiting, self._last_front or 0.0
        self._given_up, self._waiting = [], []
        return Selection(unseen=[self._in_frame(span, front) for span in spans])

    def _follow_belt(self, front: float, chosen: Selection) -> None:
        """Record the travel of the belt, and forget things that are not in view any more.

        After a jump back by more than a frame, for example of a reset encoder, no known thing can be matched.
        """
        before, self._last_front = self._last_front, front
        back_to, self._back_to = min(front, self._back_to), math.inf
        if before is None:
            return
        chosen.gap_px = max(0, round(front - before - self._height))
        if front - before < -self._height:
            chosen.unseen += [self._in_frame(span, before) for span in self._waiting]
            self._waiting, self._judged, self._passed, self._farthest = [], [], [], front
        back = front - self._height
        chosen.unseen += [self._in_frame(span, front) for span in self._waiting if span[3] <= back]
        judged = _before(self._judged, back_to)
        gone = back - self._tolerance
        self._judged = [span for span in judged if span[3] > gone]
        if back_to < self._farthest:
            unreached = self._farthest - self._height - self._remembered
            passed = _before(self._passed, back_to)
            self._judged += [span for span in passed if span[3] > max(gone, unreached)]
            self._passed = [span for span in passed if span[3] <= max(gone, unreached)]
        self._passed += [span for span in judged if span[3] <= gone]
        self._farthest = max(self._farthest, front)
        self._waiting = [span for span in _before(self._waiting, back_to) if span[3] > back]

    def _known(self, seen: Sequence[Span], judged: Sequence[Span], front: float) -> list[bool]:
        """Return which things of a frame are in one of the spans that earlier ones judged."""
        in_view = (SAME_SHARE, front - self._height - self._tolerance, front)
        covered = matched(seen, judged, self._tolerance, KNOWN_SHARE, in_view)
        tips = [(x0, x1, max(low, high - TIP_PX), high) for x0, x1, low, high in seen]
        return [
            one and tip for one, tip in zip(covered, matched(tips, judged, self._tolerance, TIP_SHARE), strict=True)
        ]

    def _resume(self, seen: Sequence[Span], known: list[bool], front: float) -> list[Span]:
        """Find waiting things among the things of a frame.

        A thing that is seen again stops waiting. If only a known thing covers it, that thing is not known any more:
        ``known`` is changed.

        Returns:
            The parts of it that went past the exit edge.
        """
        back, tolerance = front - self._height, self._tolerance
        shown = [(x0, x1, max(low, back), min(high, front)) for x0, x1, low, high in self._waiting]
        fresh = [span for span, before in zip(seen, known, strict=True) if not before]
        resumed = matched(shown, fresh, tolerance, RESUMED_SHARE)
        for number, part in enumerate(shown):
            if resumed[number]:
                continue
            for index, span in enumerate(seen):
                if known[index] and matched([part], [span], tolerance, RESUMED_SHARE)[0]:
                    known[index], resumed[number] = False, True
        past = [
            (span[0], span[1], span[2], back)
            for span, again in zip(self._waiting, resumed, strict=True)
            if again and span[2] < back
        ]
        self._waiting = [span for span, again in zip(self._waiting, resumed, strict=True) if not again]
        return past

    def _with_past(self, span: Span, past: list[Span]) -> Span:
        """Return a thing at the exit edge with its parts that went past that edge; they are removed from ``past``."""
        x0, x1, low, high = span
        mine = [part for part in past if part[0] <= x1 + self._tolerance and part[1] >= x0 - self._tolerance]
        for part in mine:
            past.remove(part)
            x0, x1, low = min(x0, part[0]), max(x1, part[1]), min(low, part[2])
        return x0, x1, low, high

    def _on_belt(self, box: Box, front: float) -> Span:
        """Turn a box of a frame into a span on the belt."""
        x, y, width, height = box
        high = front - y if self._px_per_tick > 0 else front - self._height + y + height
        return float(x), float(x + width), high - height, high

    def _in_frame(self, span: Span, front: float) -> Box:
        """Turn a span on the belt into a box relative to the frame at ``front``; it may lie outside it."""
        x0, x1, low, high = span
        y = front - high if self._px_per_tick > 0 else low - front + self._height
        return round(x0), round(y), round(x1 - x0), round(high - low)


def _before(spans: Sequence[Span], end: float) -> list[Span]:
    """Return what of spans lies before a position of the belt; an end that is no more than a tip stays."""
    return [(x0, x1, low, high if high <= end + TIP_PX else end) for x0, x1, low, high in spans if low < end]
