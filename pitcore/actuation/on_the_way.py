"""What is to be acted on and has not passed its nozzle yet, and what of it is forgotten when the belt backs up.

A thing that leaves the frame by the entry edge may come again as another: somebody may have taken it off. The tracker
forgets it there and judges what comes (``belt.track``). A pulse planned for it is then taken back, or it would hit
whatever lies in that place. Two things must be so: the belt was there by the count that valves follow, and the tracker
has forgotten by the tick of a frame. In doubt a pulse stays: it costs a cherry, a missing one a tooth.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field

from pitcore.actuation.schedule import NEVER
from pitcore.belt.lanes import Plan, Pulse


@dataclass(order=True, slots=True)
class _Thing:
    """One thing to act on.

    Attributes:
        off: where the last of its pulses ends; the heap goes by it.
        pulses: of it, none merged with those of others.
        counted: no thing before it has all its pulses.
        stayed_until: belt up to here did not leave by the entry edge since the thing was seen; as a tick at which it is
            at row 0.
    """

    off: int
    pulses: list[Pulse] = field(compare=False)
    counted: bool = field(compare=False)
    stayed_until: int = field(default=NEVER, compare=False)


class OnTheWay:
    """Keeps the pulses of each thing by itself: the schedule merges those that touch.

    Args:
        plan: the lanes.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._things: list[_Thing] = []  # a heap

    def put(self, pulses: Sequence[Pulse], *, counted: bool) -> None:
        """Take a thing to act on; ``counted``: no thing before has all its pulses."""
        heapq.heappush(self._things, _Thing(max(pulse.off for pulse in pulses), list(pulses), counted))

    def count(self, tick: int) -> int:
        """Return how many things are still on their way at a tick; forget those that have passed."""
        while self._things and self._things[0].off <= tick:
            heapq.heappop(self._things)
        return sum(thing.counted for thing in self._things)

    def forget(self, known_until: int, back_to: int) -> list[Pulse]:
        """Forget what left by the entry edge. Both places are ticks at which they are at row 0.

        Args:
            known_until: cherries whose middles lie beyond are forgotten by the tracker.
            back_to: the entry edge where the belt was farthest back since the frame before.

        Returns:
            All pulses of the things that are forgotten, or of which a part is.
        """
        forgotten: list[Pulse] = []
        for thing in self._things:
            thing.stayed_until = min(thing.stayed_until, back_to)
            limit = max(known_until, thing.stayed_until)
            kept = [part for pulse in thing.pulses if (part := self._within(pulse, limit)) is not None]
            if kept != thing.pulses:
                forgotten += thing.pulses
                thing.pulses, thing.off = kept, max((pulse.off for pulse in kept), default=-NEVER)
        if forgotten:
            heapq.heapify(self._things)
        return forgotten

    def pulses(self) -> list[Pulse]:
        """Return all pulses that are planned."""
        return [pulse for thing in self._things for pulse in thing.pulses]

    def _within(self, pulse: Pulse, limit: int) -> Pulse | None:
        """Return the part of a pulse that is for middles up to a limit."""
        lane = self._plan.lanes[pulse.lane]
        last = limit + lane.distance_ticks
        first_half, other_half = lane.pulse_ticks // 2, lane.pulse_ticks - lane.pulse_ticks // 2
        if pulse.off - other_half <= last:
            return pulse
        if pulse.on + first_half > last:
            return None
        return Pulse(pulse.lane, pulse.on, min(pulse.off, last + other_half))
