"""Computes the pulses of valves for a thing in a frame: which lanes, and the first and last encoder tick.

A point at row r of a frame taken at tick t is, or was, at row 0 at tick ``t - r / px_per_tick``, whichever way the belt
runs through the picture. A lane's nozzle is ``distance_ticks`` behind row 0. A box that is not known to hold one cherry
is hit over its whole length, by every lane that it covers: a pit may be anywhere in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pitcore.belt.track import Box
from pitcore.verdict import Action

SMALLEST_PX = 20  # of a cherry: its middle is at least half of this within the box


@dataclass(frozen=True, slots=True)
class Lane:
    """One valve's place.

    Attributes:
        x_px: first column of the frame that it serves, and the one after the last.
        distance_ticks: travel from the point that row 0 of the frame shows to the nozzle.
        pulse_ticks: how far the belt moves while the valve is open for one cherry.
        action: done to the cherries that it hits.
    """

    x_px: tuple[int, int]
    distance_ticks: int
    pulse_ticks: int
    action: Action = "reject"


@dataclass(frozen=True, slots=True)
class Pulse:
    """One valve open from tick ``on`` until tick ``off``; ``lane`` is an index into the plan's lanes."""

    lane: int
    on: int
    off: int


@dataclass(frozen=True, slots=True)
class Plan:
    """The lanes, and the size of one cherry.

    Attributes:
        px_per_tick: as of the belt.
        rows_px: the first row in which cherries are searched, and the one after the last.
        cherry_px: length and width of the largest single cherry.
        lanes: of every action, in the order of the lines.
    """

    px_per_tick: float
    rows_px: tuple[int, int]
    cherry_px: int
    lanes: tuple[Lane, ...]

    def pulses(self, tick: int, box: Box, action: Action, *, one_cherry: bool = True) -> list[Pulse]:
        """Return the pulses that do an action to the thing in a box of a frame.

        A thing beside every lane of the action gets the nearest lane, which hits it from the side.

        Args:
            tick: of the frame.
            box: of the thing.
            action: to do.
            one_cherry: the thing has the shape of one cherry. Its middle is hit, unless it is larger than any cherry.
        """
        x, y, width, height = box
        single_px = self.cherry_px if one_cherry else SMALLEST_PX
        half_beyond = max(0.0, width - single_px) / 2
        left, right = x + width / 2 - half_beyond, x + width / 2 + half_beyond  # where centres of cherries may be
        if not one_cherry:
            left, right = x, x + width
        at_row_0 = tick - (y + height / 2) / self.px_per_tick
        longer = max(0.0, height - single_px) / abs(self.px_per_tick)
        pulses = []
        for number in self._across(left, right, action):
            lane = self.lanes[number]
            on = round(at_row_0 + lane.distance_ticks - (lane.pulse_ticks + longer) / 2)
            pulses.append(Pulse(number, on, on + round(lane.pulse_ticks + longer)))
        return pulses

    def judged(self, tick: int) -> tuple[int, int]:
        """Return the stretch of belt that a frame judges, as the ticks [from, until) at which it is at row 0.

        A cherry cut by the entry edge waits for the next frame, so the stretch ends half a cherry before it.
        """
        first, end = self.rows_px
        half = self.cherry_px / 2
        leaving, entering = (end, first + half) if self.px_per_tick > 0 else (first, end - half)
        return round(tick - leaving / self.px_per_tick), round(tick - entering / self.px_per_tick)

    def entering(self, tick: int) -> int:
        """Return the tick at which the belt that enters the frame at ``tick`` is at row 0."""
        first, end = self.rows_px
        return round(tick - (first if self.px_per_tick > 0 else end) / self.px_per_tick)

    def of_action(self, action: Action) -> list[int]:
        """Return the lanes that do an action."""
        return [number for number, lane in enumerate(self.lanes) if lane.action == action]

    @property
    def reach_ticks(self) -> int:
        """Return the travel of the belt from the last row that the cameras see to the nearest nozzle."""
        seen_last = max(row / self.px_per_tick for row in self.rows_px)
        distances = [lane.distance_ticks for lane in self.lanes]
        return max(1, round(min(distances, default=1) - seen_last))

    def _across(self, left: float, right: float, action: Action) -> Sequence[int]:
        """Return the lanes of an action that serve some column of left..right, otherwise the nearest one."""
        able = self.of_action(action)
        spans = {number: self.lanes[number].x_px for number in able}
        across = [number for number, (first, end) in spans.items() if left < end and right >= first]
        return across or sorted(able, key=lambda number: max(spans[number][0] - right, left - spans[number][1]))[:1]
