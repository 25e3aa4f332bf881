"""A line for the reject benchmark: a belt that never runs evenly, cherries on it, and the camera that sees them.

Ticks here are the belt's true ones; what the service makes of them comes from its own encoder and its own frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pitcore.belt.lanes import Lane, Plan
from pitcore.belt.track import BOTTOM, TOP, BeltTracker, Box
from pitcore.verdict import Action, FrameRef, ModelRef, Verdict

HEIGHT_PX, WIDTH_PX, CHERRY_PX = 500, 2464, 60
PX_PER_TICK = 1.0  # so that boxes, which are whole pixels, are exact, and every tick of error is the actuator's
LANES = 8
FRAMES_PER_S = 20
DISTANCE_TICKS, PULSE_TICKS = 3000, 40
PIT_SHARE = 0.3
FIRST_TICK = DISTANCE_TICKS  # what lies before was on the belt at the start, unjudged, and goes by the fail-safe
SPACING_TICKS = 66  # of the middles of two cherries in a lane: they do not overlap

PLAN = Plan(
    px_per_tick=PX_PER_TICK,
    rows_px=(0, HEIGHT_PX),
    cherry_px=CHERRY_PX,
    lanes=tuple(
        Lane((WIDTH_PX * lane // LANES, WIDTH_PX * (lane + 1) // LANES), DISTANCE_TICKS + 3 * lane, PULSE_TICKS)
        for lane in range(LANES)
    ),
)
_MODEL = ModelRef("bench", "0", "")


@dataclass(frozen=True, slots=True)
class Cherries:
    """What lies on the belt; arrays of one length.

    Attributes:
        at_row_0: the tick at which the middle is at row 0, rising within a lane.
        lane: which one it runs in.
        x: of the middle, in pixels.
        pit: what it is, and what the model says it is.
    """

    at_row_0: NDArray[np.int64]
    lane: NDArray[np.int64]
    x: NDArray[np.int64]
    pit: NDArray[np.bool_]

    @property
    def due(self) -> NDArray[np.int64]:
        """The tick at which each cherry's middle is under its nozzle."""
        distances = np.asarray([place.distance_ticks for place in PLAN.lanes])
        due: NDArray[np.int64] = self.at_row_0 + distances[self.lane]
        return due


def lay(count: int, seed: int) -> Cherries:
    """Lay cherries at random, three a lane and frame of the reference load."""
    rng = np.random.default_rng(seed)
    lane = np.repeat(np.arange(LANES), -(-count // LANES))[:count]
    gaps = SPACING_TICKS + rng.exponential(47.0, count)
    first = np.searchsorted(lane, lane)  # index of the lane's first cherry
    along = np.cumsum(gaps)
    at_row_0 = FIRST_TICK + (along - along[first] + rng.integers(0, 200, LANES)[lane]).astype(np.int64)
    left = np.asarray([place.x_px[0] for place in PLAN.lanes])[lane]
    x = left + rng.integers(CHERRY_PX // 2, WIDTH_PX // LANES - CHERRY_PX // 2, count)
    return Cherries(at_row_0, lane.astype(np.int64), x.astype(np.int64), rng.random(count) < PIT_SHARE)


def lay_crowded(count: int, per_frame: int, seed: int) -> Cherries:
    """Lay cherries anywhere in their lanes, side by side too; none lies over another, or over a lane's border.

    Args:
        count: of cherries.
        per_frame: how many a frame shows on average.
        seed: equal seeds give equal belts.
    """
    rng = np.random.default_rng(seed)
    a_lane = count // LANES
    belt_ticks = a_lane * LANES * HEIGHT_PX / PX_PER_TICK / per_frame
    places: list[NDArray[np.int64]] = []
    for lane in PLAN.lanes:
        laid: list[tuple[int, int]] = []
        by_tick: dict[int, list[tuple[int, int]]] = {}  # in stretches as long as a cherry
        while len(laid) < a_lane:
            tick = int(rng.integers(0, int(belt_ticks)))
            x = int(rng.integers(lane.x_px[0] + CHERRY_PX // 2, lane.x_px[1] - CHERRY_PX // 2))
            stretch = tick // CHERRY_PX
            near = [other for step in (-1, 0, 1) for other in by_tick.get(stretch + step, [])]
            if all((tick - at) ** 2 + (x - beside) ** 2 >= CHERRY_PX**2 for at, beside in near):
                by_tick.setdefault(stretch, []).append((tick, x))
                laid.append((tick, x))
        places.append(np.asarray(sorted(laid), np.int64))
    along, x = np.concatenate(places).T
    lanes = np.repeat(np.arange(LANES), a_lane).astype(np.int64)
    return Cherries(FIRST_TICK + along, lanes, x, rng.random(len(lanes)) < PIT_SHARE)


def steps(last_tick: int, ticks_per_s: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return times in ns and ticks of every step of the belt until it has passed ``last_tick``.

    The speed swings by 40 %, each step comes up to 20 % too early or too late, and every few thousand ticks the belt
    stops, trembles, or backs up: mostly by less than a frame, sometimes until the camera sees again what it had seen.
    """
    rng = np.random.default_rng(seed)
    moves: list[NDArray[np.int64]] = []
    tick = 0
    while tick <= last_tick:
        forward = int(rng.integers(2000, 12_000))
        back = int(rng.choice([0, 1, 2, int(rng.integers(3, 60)), int(rng.integers(60, 900)), 4500]))
        back = min(back, tick + forward)
        moves += [np.ones(forward, np.int64), np.tile([-1, 1], int(rng.integers(0, 20))), -np.ones(back, np.int64)]
        tick += forward - back
    move = np.concatenate(moves)
    phase = np.arange(len(move)) / 30_000
    period_ns = 1e9 / (ticks_per_s * (1 + 0.4 * np.sin(2 * np.pi * phase))) * rng.uniform(0.8, 1.2, len(move))
    turns = np.flatnonzero(np.diff(move)) + 1  # it stands before it turns
    period_ns[turns] += rng.uniform(0, 30e6, len(turns)) * (rng.random(len(turns)) < 0.2)
    return np.cumsum(period_ns).astype(np.int64), np.cumsum(move)


class BeltPosition(NamedTuple):
    """Where the belt truly is, and how far it ever was, in ticks."""

    tick: int
    furthest: int


class Camera:
    """Takes frames of the cherries, tracks them as the service does, and judges them without fault.

    Args:
        cherries: on the belt.

    Attributes:
        seq: how many frames there were.
        waiting_px: length of belt at the entry edge on which things wait for the next frame.
    """

    def __init__(self, cherries: Cherries) -> None:
        self._cherries, self._due = cherries, cherries.due
        self._order = np.argsort(cherries.at_row_0)
        self._sorted = cherries.at_row_0[self._order]
        self._tracker = BeltTracker(HEIGHT_PX, PX_PER_TICK, 8.0)
        self.seq = self.waiting_px = 0

    def take(self, place: BeltPosition, tick: int, t_ns: int) -> list[Verdict]:
        """Return the verdicts of a frame. A pit that came to its nozzle is not on the belt any more.

        Args:
            place: of the belt, which says where cherries are.
            tick: of the encoder, which is all that the service knows.
            t_ns: of the exposure.
        """
        true_tick = place.tick
        half = CHERRY_PX / 2 / PX_PER_TICK
        low, high = np.searchsorted(self._sorted, [true_tick - HEIGHT_PX / PX_PER_TICK - half, true_tick + half])
        seen = [int(index) for index in self._order[low:high] if not self._is_blown(index, place.furthest)]
        boxes, borders, kept = [], [], []
        for index in seen:
            middle = (true_tick - int(self._cherries.at_row_0[index])) * PX_PER_TICK
            top, bottom = round(middle - CHERRY_PX / 2), round(middle + CHERRY_PX / 2)
            shown: Box = (
                int(self._cherries.x[index]) - CHERRY_PX // 2,
                max(top, 0),
                CHERRY_PX,
                min(bottom, HEIGHT_PX) - max(top, 0),
            )
            if shown[3] > 0:
                boxes.append(shown)
                borders.append((TOP if top <= 0 else 0) | (BOTTOM if bottom >= HEIGHT_PX else 0))
                kept.append(index)
        chosen = self._tracker.update(tick, boxes, borders)
        self.seq, self.waiting_px = self.seq + 1, chosen.waiting_px
        return [
            self._verdict(boxes[place], tick, t_ns, pit=bool(self._cherries.pit[kept[place]])) for place in chosen.whole
        ]

    def _is_blown(self, index: int, furthest: int) -> bool:
        return bool(self._cherries.pit[index]) and int(self._due[index]) <= furthest

    def _verdict(self, box: Box, tick: int, t_ns: int, *, pit: bool) -> Verdict:
        action: Action = "reject" if pit else "pass"
        return Verdict(
            schema="pitcore.verdict/1",
            frame=FrameRef(self.seq, t_ns),
            tick=tick,
            box=box,
            verdict="pit" if pit else "clean",
            code=2 if pit else 1,
            reason=None,
            probabilities=None,
            model=_MODEL,
            config="",
            latency_us=None,
            action=action,
        )


def exposures(first_ns: int, last_ns: int) -> Iterator[int]:
    """Yield the times of the camera's frames."""
    return iter(range(first_ns, last_ns, 10**9 // FRAMES_PER_S))
