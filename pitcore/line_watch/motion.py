"""Checks that the cherries move as the encoder says, and that the belt brings any."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from pitcore.belt.track import Box, Selection
from pitcore.preprocess._core import matched

Span = tuple[float, float, float, float]  # left, right, top, bottom
SAME_PLACE_PX = 3.0  # a cherry on a stopped belt is found again within this distance
SAME_SHARE = 0.8
REVERSED_PX = 60.0  # a belt that ran back further than this (about a cherry) does not just jitter
MARGIN_PX = 3.0  # closer to the edge a thing may have been cut in the previous frame
WINDOW = 40  # cherries that should be matched, before the matched share is evaluated
CLEAR_PX = 4 * SAME_PLACE_PX  # travel after which a thing on the belt is surely no longer in the same place
REMEMBERED = 16  # comparisons whose things are kept, to recognise a reflection that comes and goes
FEW_SPOTS = 4  # if more new things appear at once, they are not reflections
FOLLOWED = 0.5  # matched share below which encoder and belt disagree
LONGEST_S = 1.0  # between two frames; a longer pause counts as this long


class MotionCheck:
    """Compares each searched frame with the one before.

    Args:
        height_px: height of the frame, along the belt.
        px_per_tick: belt scale in force.
        tolerance_px: tolerance of the tracker.
        nothing_seen_s: how long a moving belt may be empty, in seconds.
    """

    def __init__(self, height_px: int, px_per_tick: float, tolerance_px: float, nothing_seen_s: float) -> None:
        self._height, self._scale = height_px, px_per_tick
        self._margin = tolerance_px + MARGIN_PX
        self._nothing_seen_s = nothing_seen_s
        self._last: tuple[int, int, Sequence[Box]] | None = None  # t_ns, tick, boxes
        self._expected = self._known = 0
        self._share = 1.0
        self._empty_s = 0.0
        self._travel_s = 0.0  # for how long the belt has moved since the frame that boxes are compared with
        self._compared: int | None = None  # tick of that frame
        self._places: deque[list[Span]] = deque(maxlen=REMEMBERED)  # of the things in it and in those before it
        self._followed: bool | None = None
        self._dead: bool | None = None
        self._furthest: int | None = None  # tick, in the belt's direction
        self._back_px = 0.0
        self.moved = False  # whether the encoder counted since the frame before

    def add(self, t_ns: int, tick: int, boxes: Sequence[Box], chosen: Selection) -> None:
        """Take a searched frame."""
        last, self._last = self._last, (t_ns, tick, boxes)
        self._dead = self._followed = None
        ahead = tick if self._scale > 0 else -tick
        self._furthest = ahead if self._furthest is None else max(self._furthest, ahead)
        self._back_px = (self._furthest - ahead) * abs(self._scale)
        if self._back_px > self._height:  # nothing that was in view is in view any more, or the encoder was reset
            self._furthest = ahead
        if last is None:
            return
        self.moved = tick != last[1]
        passed_s = min(max((t_ns - last[0]) / 1e9, 0.0), LONGEST_S)
        advance_px = (tick - last[1]) * self._scale
        if self.moved:
            self._count_empty(passed_s, tick, boxes)
            self._follow(advance_px, boxes, chosen.known)
        self._dead = False if abs(advance_px) > CLEAR_PX else self._moves(boxes, last[2], abs(advance_px))

    def _moves(self, boxes: Sequence[Box], before: Sequence[Box], advance_px: float) -> bool | None:
        """Return True if things moved although the encoder counted nothing or jitters; None if there are no things.

        If the belt moved by ``advance_px``, each thing is within that distance of its last place, except for things
        that entered or left.
        """
        later, earlier = self._inner(boxes, advance_px), self._inner(before, advance_px)
        if not later and not earlier:
            return None
        near_px = SAME_PLACE_PX + advance_px
        stay = matched(_spans(later), _spans(before), near_px, SAME_SHARE)
        stay += matched(_spans(earlier), _spans(boxes), near_px, SAME_SHARE)
        return sum(stay) < len(stay) / 2

    def _inner(self, boxes: Sequence[Box], advance_px: float) -> Sequence[Box]:
        """Return the boxes that did not enter since the previous frame and do not leave before the next one."""
        if not advance_px:
            return boxes
        margin = advance_px + MARGIN_PX
        return [box for box in boxes if box[1] >= margin and box[1] + box[3] <= self._height - margin]

    def _count_empty(self, passed_s: float, tick: int, boxes: Sequence[Box]) -> None:
        """Add up the time for which the moving belt brought nothing.

        A thing is not on the belt if all its edges stay within SAME_PLACE_PX while the belt moves by CLEAR_PX, or if
        an equal thing was there in one of the last comparisons, because a reflection flickers. Shorter travel is not
        evaluated. Time with a stopped belt is not counted.
        """
        self._travel_s += passed_s
        if self._compared is None:
            self._compared = tick
            self._places.append(_spans(boxes))
        if abs((tick - self._compared) * self._scale) < CLEAR_PX:
            return
        things = _spans(boxes)
        self._empty_s = 0.0 if self._come_along(things) else self._empty_s + self._travel_s
        self._travel_s, self._compared = 0.0, tick
        self._places.append(things)

    def _come_along(self, things: list[Span]) -> bool:
        """Return True if any of these things is at a place where none was before."""
        whole = (1.0, 0.0, float(self._height))  # both must overlap fully, so a thing that leaves the frame has moved
        stays = matched(things, self._places[-1], SAME_PLACE_PX, 1.0, whole)
        other = [thing for thing, is_there in zip(things, stays, strict=True) if not is_there]
        if not 0 < len(other) <= FEW_SPOTS:
            return bool(other)
        before = [place for places in self._places for place in places]
        return not all(matched(other, before, SAME_PLACE_PX, 1.0, whole))

    def _follow(self, advance_px: float, boxes: Sequence[Box], known: int) -> None:
        """Count the things that the last frame showed completely, and those of them that were matched again."""
        forward = advance_px if self._scale > 0 else -advance_px
        if not 0.0 < forward < self._height:
            return
        if advance_px > 0:
            nearest = advance_px + self._margin
            expected = len([box for box in boxes if box[1] >= nearest])
        else:
            furthest = self._height + advance_px - self._margin
            expected = len([box for box in boxes if box[1] + box[3] <= furthest])
        self._expected += expected
        self._known += min(known, expected)
        if self._expected >= WINDOW:
            self._followed = self._known >= FOLLOWED * self._expected
            self._share = self._known / self._expected
            self._expected = self._known = 0

    def encoder_dead(self) -> bool | None:
        """Return True if cherries move although the encoder does not count or jitters; None if there are too few."""
        return self._dead

    def mismatch(self) -> bool | None:
        """Return True if cherries are not where the encoder says; None until enough cherries were compared."""
        return None if self._followed is None else not self._followed

    def reversing(self) -> bool:
        """Return True if the belt is behind its furthest position by more than its jitter."""
        return self._back_px > REVERSED_PX

    def nothing_seen(self) -> bool:
        """Return True if the moving belt was empty for too long."""
        return self._empty_s >= self._nothing_seen_s

    def describe_dead(self) -> str:
        """Return what ``encoder_dead`` found, and what to do."""
        return "cherries move but the encoder does not count, or only jitters; check its cable, supply and coupling"

    def describe_mismatch(self) -> str:
        """Return what ``mismatch`` measured, and what to do."""
        return (
            f"{self._share:.0%} of the cherries that two frames show are at the place that the encoder gives; "
            "check the encoder's "
            "coupling and slip, then run 'pitcore calibrate belt'"
        )

    def describe_reversing(self) -> str:
        """Return what ``reversing`` measured, and what follows from it."""
        return (
            f"the belt ran back by {self._back_px:.0f} px; what left the frame by its entry edge is judged again when "
            "it comes back; if the belt runs forward, the encoder's channels A and B are exchanged"
        )

    def describe_nothing(self) -> str:
        """Return what ``nothing_seen`` found, and what to do."""
        return (
            f"the belt moves and nothing was seen for {self._nothing_seen_s:g} s; check the feed, the light "
            "and the camera's view"
        )


def _spans(boxes: Sequence[Box]) -> list[Span]:
    return [(float(x), float(x + width), float(y), float(y + height)) for x, y, width, height in boxes]
