"""Schedules which valves are open at which tick of the belt.

A pulse is an interval [on, off) of encoder ticks in one lane. ``Schedule`` takes pulses in any order and follows the
belt. Each tick of each pulse is fired once, when the belt reaches it, and not again when the belt backs up and moves
forward again. It knows no pixels, no time and no lines (see ``belt.lanes``, ``actuator``).

This is Cython's pure-Python mode: the module runs as plain Python, and setup.py compiles it with the C types of
``schedule.pxd``. Both give the same results (tests/actuation/test_schedule.py); ``pitcore-bench --rejects`` prints both
speeds.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import NamedTuple

NEVER = 1 << 62  # a tick that is never reached


class Placed(NamedTuple):
    """The result of adding a pulse: its ticks by what happens to them.

    Attributes:
        fresh: number of ticks that will be fired for this pulse.
        known: number of ticks that were fired before, or will be fired for an earlier pulse.
        late: number of ticks that the belt has passed without firing.
    """

    fresh: int
    known: int
    late: int


class Skipped(NamedTuple):
    """A pulse that the count skipped: the valve never opened for it."""

    lane: int
    on: int
    off: int


# A set of ticks is a list of the rising borders of its intervals: low, high, low, high ...; high ends exclusive.


def put_in(borders: list[int], low: int, high: int) -> None:
    """Add [low, high) to a set, and merge touching intervals."""
    if low < high:
        first, last = bisect_left(borders, low), bisect_right(borders, high)
        borders[first:last] = ([] if first % 2 else [low]) + ([] if last % 2 else [high])


def take_out(borders: list[int], low: int, high: int) -> None:
    """Remove [low, high) from a set."""
    if low < high:
        first, last = bisect_left(borders, low), bisect_right(borders, high)
        borders[first:last] = ([low] if first % 2 else []) + ([high] if last % 2 else [])


def parts_within(borders: list[int], low: int, high: int) -> list[int]:
    """Return the part of a set inside [low, high), as borders."""
    if low >= high:
        return []
    first, last = bisect_right(borders, low), bisect_left(borders, high)
    return ([low] if first % 2 else []) + borders[first:last] + ([high] if last % 2 else [])


def size_of(borders: list[int]) -> int:
    """Return the number of ticks in a set."""
    return sum(borders[1::2]) - sum(borders[::2])


class _Lane:
    """One valve.

    Attributes:
        pending: ticks to fire.
        fired: ticks that were fired, as far back as the schedule remembers.
        front: the tick up to which the open valve has fired.
    """

    def __init__(self) -> None:
        self.pending: list[int] = []
        self.fired: list[int] = []
        self.front = 0
        self.is_open = False


class Schedule:
    """The pulses of all lanes.

    Args:
        lanes: number of lanes, at most 62.
        jitter_ticks: backward movement up to this is jitter, and an open valve stays open.
        reach_ticks: a belt that backs up by more brings cherries back to the cameras. They are judged again, and pits
            are fired at again. Fired ticks are remembered up to twice this distance behind the nozzle.

    Attributes:
        tick: position of the belt.
        at: the first tick that can still get air, where that is beyond ``tick``; see ``foresee``.
        mask: bit n is set while lane n's valve must be open.
        next_change: the next tick of a belt running forward at which ``mask`` may change.
        foreseen_change: travel of the belt until the result of ``foresee`` may change.
        skipped: pulses that the count skipped; the caller takes them.
        late_ticks: largest number of ticks by which the count passed a border of a fired pulse; the caller resets it.
    """

    def __init__(self, lanes: int, jitter_ticks: int, reach_ticks: int) -> None:
        if not 0 <= lanes <= 62:
            raise ValueError(f"lanes = {lanes}: at most 62")
        self._lanes = [_Lane() for _ in range(lanes)]
        self._jitter = jitter_ticks
        self._reach = max(1, reach_ticks)
        self._tidy_at = -NEVER
        self.tick = 0
        self.at = -NEVER
        self.mask = 0
        self.next_change = self.foreseen_change = NEVER
        self.skipped: list[Skipped] = []
        self.late_ticks = 0

    def start_at(self, tick: int) -> None:
        """Set the position of the belt, before the first ``advance``."""
        self.tick = tick

    def add(self, number: int, on: int, off: int) -> Placed:
        """Take a pulse [on, off) for a lane. The valve opens at the next ``advance``, not here."""
        lane = self._lanes[number]
        pending, fired = lane.pending, lane.fired
        at = max(self.tick, self.at)
        if at < on < off and (not pending or pending[-1] < on) and (not fired or fired[-1] <= on):
            pending.append(on)  # the common case: the pulse is beyond all others
            pending.append(off)
            self.next_change = min(self.next_change, on)
            return Placed(off - on, 0, 0)
        self._settle(lane)
        wanted = [on, off] if on < off else []
        known: list[int] = []
        for low, high in _pairs(parts_within(fired, on, off)) + _pairs(parts_within(pending, on, off)):
            put_in(known, low, high)
        for low, high in _pairs(known):
            take_out(wanted, low, high)
        late = parts_within(wanted, -NEVER, at)
        fresh = parts_within(wanted, at, NEVER)
        for low, high in _pairs(fresh):
            put_in(pending, low, high)
        if fresh:
            # A pulse that is due now opens with the next `advance`, even if that is to the same tick.
            self.next_change = min(self.next_change, fresh[0] if fresh[0] > self.tick else -NEVER)
        return Placed(size_of(fresh), size_of(known), size_of(late))

    def advance(self, tick: int) -> int:
        """Follow the belt to a tick and return ``mask``."""
        if self.tick <= tick < self.next_change:
            self.tick = tick
            return self.mask
        before = self.tick
        mask = 0
        next_change = NEVER
        for number in range(len(self._lanes)):
            lane = self._lanes[number]
            self._settle(lane)
            if tick >= before:
                self._forward(lane, number, before, tick)
            else:
                self._backward(lane, tick)
            if lane.is_open:
                mask |= 1 << number
            next_change = min(next_change, self._next_of(lane, tick))
        self.tick = tick
        self.mask = mask
        self.next_change = next_change
        if tick >= self._tidy_at:
            self._tidy_at = tick + self._reach
            for lane in self._lanes:
                take_out(lane.fired, -NEVER, tick - 2 * self._reach)
        return mask

    def foresee(self, first: int, last: int) -> int:
        """Return the lanes with ticks to fire in [first, last], where the belt is when the air of a valve arrives.

        Their valves must be open now. They are not marked as fired: the belt may stop before it is there.
        """
        mask = 0
        change = NEVER
        for number in range(len(self._lanes)):
            lane = self._lanes[number]
            pending = lane.pending
            for place in range(0, len(pending), 2):
                low, high = pending[place], pending[place + 1]
                if high > first:
                    if low <= last:
                        mask |= 1 << number
                    change = min(change, high - first if low <= last else low - last)
                    break
        self.at = first
        self.foreseen_change = change
        return mask

    def _settle(self, lane: _Lane) -> None:
        """Move the ticks that an open valve has fired since the last change from pending to fired."""
        if lane.is_open and self.tick >= lane.front:
            end = self.tick + 1
            put_in(lane.fired, lane.front, end)
            take_out(lane.pending, lane.front, end)
            lane.front = self.tick

    def _forward(self, lane: _Lane, number: int, before: int, tick: int) -> None:
        """Open or close a valve whose belt moved forward from ``before`` to ``tick``."""
        pending = lane.pending
        if lane.is_open and tick <= lane.front:
            return  # after jitter the belt has not yet reached its earlier position
        was_open, lane.is_open = lane.is_open, False
        while pending and pending[1] <= tick:
            low, high = pending[0], pending[1]
            if was_open and low <= before + 1:
                put_in(lane.fired, low, high)  # the count skipped the rest of a pulse that was being fired
                self.late_ticks = max(self.late_ticks, tick - high)
            else:
                self.skipped.append(Skipped(number, low, high))
            del pending[:2]
        if pending and pending[0] <= tick:
            low = pending[0]
            if not (was_open and low <= before + 1):
                self.late_ticks = max(self.late_ticks, tick - low)
            lane.is_open = True
            lane.front = low

    def _backward(self, lane: _Lane, tick: int) -> None:
        """Close a valve whose belt backs up, and forget ticks that the cameras will judge again."""
        if lane.is_open and tick < lane.front - self._jitter:
            lane.is_open = False
        fired = lane.fired
        while fired and fired[-2] >= tick + self._reach:
            del fired[-2:]

    def _next_of(self, lane: _Lane, tick: int) -> int:
        """Return the next tick at which this lane may change."""
        pending = lane.pending
        if lane.is_open:
            return pending[1] if pending and pending[0] <= tick + 1 else tick + 1
        return pending[0] if pending else NEVER


def _pairs(borders: list[int]) -> list[tuple[int, int]]:
    """Return the intervals of a set."""
    return list(zip(borders[::2], borders[1::2], strict=True))
