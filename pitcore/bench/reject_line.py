"""Models a line for the reject benchmark: a belt of uneven speed, the cherries on it, and the camera.

Ticks here are the true ticks of the belt. The service gets only its encoder's edges and its frames.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pitcore.belt.lanes import Lane, Plan
from pitcore.belt.track import BOTTOM, TOP, BeltTracker, Box
from pitcore.verdict import CODES, Action, FrameRef, ModelRef, Reason, Verdict, VerdictName

HEIGHT_PX, WIDTH_PX, CHERRY_PX = 500, 2464, 60
PX_PER_TICK = 1.0  # boxes are whole pixels, so with this scale they are exact and all error comes from the actuator
LANES = 8
FRAMES_PER_S = 20
DISTANCE_TICKS, PULSE_TICKS = 3000, 40
PIT_SHARE = 0.3
FIRST_TICK = DISTANCE_TICKS  # belt before it was unjudged at the start, and is subject to the fail-safe
SPACING_TICKS = 66  # least distance of the middles of two cherries in a lane, so that they do not overlap

PLAN = Plan(
    px_per_tick=PX_PER_TICK,
    rows_px=(0, HEIGHT_PX),
    cherry_px=CHERRY_PX,
    lanes=tuple(
        Lane((WIDTH_PX * lane // LANES, WIDTH_PX * (lane + 1) // LANES), DISTANCE_TICKS + 3 * lane, PULSE_TICKS)
        for lane in range(LANES)
    ),
)
CLUSTERS = (1, 1, 1, 2, 2, 2, 3, 4)  # sizes of clusters of touching cherries; each entry is equally likely
RADII_PX = (15, CHERRY_PX // 2)
SHARED_PX = 2  # overlap of the outlines of touching cherries, so that rounding to whole pixels does not part them
_MODEL = ModelRef("bench", "0", "")
Pits = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Cherries:
    """The cherries on the belt; (N,) arrays.

    Attributes:
        at_row_0: tick at which the middle is at row 0, ascending within a lane.
        lane: number of the lane.
        x: column of the middle, in pixels.
        pit: True for a pit; the model always judges right.
        radius: radius in pixels, which are also ticks, because PX_PER_TICK is 1.
        cluster: number of the cluster, ascending. In a cluster each cherry touches the one before.
    """

    at_row_0: NDArray[np.int64]
    lane: NDArray[np.int64]
    x: NDArray[np.int64]
    pit: NDArray[np.bool_]
    radius: NDArray[np.int64]
    cluster: NDArray[np.int64]

    @classmethod
    def alone(cls, at_row_0: NDArray[np.int64], lane: NDArray[np.int64], x: NDArray[np.int64], pit: Pits) -> Cherries:
        """Make single cherries of diameter CHERRY_PX."""
        return cls(at_row_0, lane, x, pit, np.full(len(x), CHERRY_PX // 2), np.arange(len(x)))

    @property
    def due(self) -> NDArray[np.int64]:
        """(N,) tick at which each cherry's middle is under its nozzle."""
        distances = np.asarray([place.distance_ticks for place in PLAN.lanes])
        due: NDArray[np.int64] = self.at_row_0 + distances[self.lane]
        return due

    @property
    def clustered(self) -> NDArray[np.bool_]:
        """(N,) True for each cherry that touches another: they are judged and hit as one thing."""
        touches: NDArray[np.bool_] = (np.bincount(self.cluster) > 1)[self.cluster]
        return touches


def lay(count: int, seed: int) -> Cherries:
    """Place cherries at random in their lanes, three for each lane and frame as in the reference load."""
    rng = np.random.default_rng(seed)
    lane = np.repeat(np.arange(LANES), -(-count // LANES))[:count]
    gaps = SPACING_TICKS + rng.exponential(47.0, count)
    first = np.searchsorted(lane, lane)  # index of the lane's first cherry
    along = np.cumsum(gaps)
    at_row_0 = FIRST_TICK + (along - along[first] + rng.integers(0, 200, LANES)[lane]).astype(np.int64)
    left = np.asarray([place.x_px[0] for place in PLAN.lanes])[lane]
    x = left + rng.integers(CHERRY_PX // 2, WIDTH_PX // LANES - CHERRY_PX // 2, count)
    return Cherries.alone(at_row_0, lane.astype(np.int64), x.astype(np.int64), rng.random(count) < PIT_SHARE)


def lay_crowded(count: int, per_frame: int, seed: int) -> Cherries:
    """Place cherries anywhere in their lanes, also side by side. None overlaps another or the border of its lane.

    Args:
        count: number of cherries.
        per_frame: average number of cherries in a frame.
        seed: equal seeds give equal belts.
    """
    rng = np.random.default_rng(seed)
    a_lane = count // LANES
    belt_ticks = a_lane * LANES * HEIGHT_PX / PX_PER_TICK / per_frame
    places: list[NDArray[np.int64]] = []
    for lane in PLAN.lanes:
        laid: list[tuple[int, int]] = []
        by_tick: dict[int, list[tuple[int, int]]] = {}  # by stretches of belt as long as a cherry
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
    return Cherries.alone(FIRST_TICK + along, lanes, x, rng.random(len(lanes)) < PIT_SHARE)


def lay_touching(count: int, per_frame: int, seed: int) -> Cherries:
    """Place single cherries and clusters of two to four anywhere on the belt, also across the borders of lanes.

    Args:
        count: number of cherries, approximately.
        per_frame: average number of cherries in a frame.
        seed: equal seeds give equal belts.
    """
    rng = np.random.default_rng(seed)
    belt_ticks = round(count * HEIGHT_PX / PX_PER_TICK / per_frame)
    laid: list[tuple[int, int, int, int]] = []  # tick, x, radius, cluster
    by_tick: dict[int, list[tuple[int, int, int, int]]] = {}  # by stretches of belt longer than a cherry
    number = 0
    while len(laid) < count:
        chain = _chain(int(rng.choice(CLUSTERS)), belt_ticks, rng)
        if min(x - radius for _, x, radius in chain) < 1 or max(x + radius for _, x, radius in chain) >= WIDTH_PX:
            continue
        near = [one for tick, _, _ in chain for step in (-1, 0, 1) for one in by_tick.get(tick // 64 + step, [])]
        if any(
            (tick - at) ** 2 + (x - beside) ** 2 < (radius + other + 3) ** 2
            for tick, x, radius in chain
            for at, beside, other, _ in near
        ):
            continue
        for tick, x, radius in chain:
            laid.append((tick, x, radius, number))
            by_tick.setdefault(tick // 64, []).append(laid[-1])
        number += 1
    along, x, radius, cluster = np.asarray(laid, np.int64).T
    ends = np.asarray([place.x_px[1] for place in PLAN.lanes])
    lanes = np.searchsorted(ends, x, side="right").astype(np.int64)
    return Cherries(FIRST_TICK + along, lanes, x, rng.random(len(x)) < PIT_SHARE, radius, cluster)


def _chain(size: int, belt_ticks: int, rng: np.random.Generator) -> list[tuple[int, int, int]]:
    """Return (tick, column, radius) of ``size`` cherries of which each touches the one before."""
    radius = int(rng.integers(*RADII_PX, endpoint=True))
    chain = [(int(rng.integers(HEIGHT_PX, belt_ticks)), int(rng.integers(0, WIDTH_PX)), radius)]
    angle = rng.uniform(0, 2 * np.pi)
    for _ in range(size - 1):
        tick, x, before = chain[-1]
        radius, angle = int(rng.integers(*RADII_PX, endpoint=True)), angle + rng.normal(0, 0.4)
        away = before + radius - SHARED_PX
        chain.append((round(tick + away * np.sin(angle)), round(x + away * np.cos(angle)), radius))
    return chain


def steps(last_tick: int, ticks_per_s: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (steps,) times in ns and (steps,) ticks of every step of the belt until it has passed ``last_tick``.

    The speed varies by 40 %, each step comes up to 20 % too early or too late, and every few thousand ticks the belt
    stops, jitters, or backs up: mostly by less than a frame, sometimes so far that the camera sees cherries again.
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
    turns = np.flatnonzero(np.diff(move)) + 1  # it stops before it turns
    period_ns[turns] += rng.uniform(0, 30e6, len(turns)) * (rng.random(len(turns)) < 0.2)
    return np.cumsum(period_ns).astype(np.int64), np.cumsum(move)


class BeltPosition(NamedTuple):
    """True position of the belt, and the furthest position so far, in ticks."""

    tick: int
    furthest: int


class Camera:
    """Takes frames of the cherries, tracks them as the service does, and judges them without error.

    Args:
        cherries: the cherries on the belt.

    Attributes:
        seq: number of frames so far.
        waiting_px: length of belt at the entry edge on which things wait for the next frame, in pixels.
    """

    def __init__(self, cherries: Cherries) -> None:
        self._cherries, self._due = cherries, cherries.due
        self._taken_off = cherries.pit | cherries.clustered
        self._order = np.argsort(cherries.at_row_0)
        self._sorted = cherries.at_row_0[self._order]
        reach_px = PLAN.reach_ticks * PX_PER_TICK
        self._tracker = BeltTracker(HEIGHT_PX, PX_PER_TICK, 8.0, min(HEIGHT_PX, reach_px / 2))
        self.seq = self.waiting_px = 0

    def take(self, place: BeltPosition, tick: int, t_ns: int) -> list[Verdict]:
        """Return the verdicts of a frame. A cherry to reject is not on the belt after it reached its nozzle.

        Args:
            place: true position of the belt, which gives the places of cherries.
            tick: encoder count, the only position that the service knows.
            t_ns: time of exposure in nanoseconds.
        """
        things = self._things(place)
        boxes = [box for _, box in things]
        borders = [(TOP if y <= 0 else 0) | (BOTTOM if y + height >= HEIGHT_PX else 0) for _, y, _, height in boxes]
        chosen = self._tracker.update(tick, boxes, borders)
        self.seq, self.waiting_px = self.seq + 1, chosen.waiting_px
        frame = FrameRef(self.seq, t_ns)
        verdicts = [_verdict(frame, tick, boxes[index], *self._answer(things[index][0])) for index in chosen.whole]
        verdicts += [_verdict(frame, tick, chosen.box_of(index, boxes), "maybe", "cut") for index in chosen.cut]
        return verdicts + [_verdict(frame, tick, box, "maybe", "unseen") for box in chosen.unseen]

    def _things(self, place: BeltPosition) -> list[tuple[list[int], Box]]:
        """Return the things that the frame shows: the indices of their cherries, and their boxes."""
        cherries, tick = self._cherries, place.tick
        half = CHERRY_PX / 2 / PX_PER_TICK
        low, high = np.searchsorted(self._sorted, [tick - HEIGHT_PX / PX_PER_TICK - half, tick + half])
        things: list[tuple[list[int], Box]] = []
        for index in sorted(self._order[low:high].tolist()):
            if self._taken_off[index] and self._due[index] <= place.furthest:
                continue
            box = _shown(tick - int(cherries.at_row_0[index]), int(cherries.x[index]), int(cherries.radius[index]))
            if box is None:
                continue
            if things and self._joined(things[-1][0][-1], index, tick):
                members, around = things.pop()
                things.append(([*members, index], _around(around, box)))
            else:
                things.append(([index], box))
        return things

    def _joined(self, first: int, second: int, tick: int) -> bool:
        """Return True if two cherries touch and the point of contact is in view."""
        cherries = self._cherries
        if second != first + 1 or cherries.cluster[first] != cherries.cluster[second]:
            return False
        share = cherries.radius[first] / (cherries.radius[first] + cherries.radius[second])
        along = cherries.at_row_0[first] + share * (cherries.at_row_0[second] - cherries.at_row_0[first])
        return bool(0 <= tick - along < HEIGHT_PX)

    def _answer(self, members: list[int]) -> tuple[VerdictName, Reason | None]:
        """Return the verdict on a whole thing, and its reason."""
        if len(members) > 1:
            return "maybe", "touching"
        return ("pit" if self._cherries.pit[members[0]] else "clean"), None


def _verdict(frame: FrameRef, tick: int, box: Box, verdict: VerdictName, reason: Reason | None = None) -> Verdict:
    action: Action = "pass" if verdict == "clean" else "reject"
    return Verdict(
        schema="pitcore.verdict/1",
        frame=frame,
        tick=tick,
        box=box,
        verdict=verdict,
        code=CODES[verdict],
        reason=reason,
        probabilities=None,
        model=_MODEL,
        config="",
        latency_us=None,
        action=action,
    )


def _shown(row: int, x: int, radius: int) -> Box | None:
    """Return the box of the visible part of a disc; None if no part is visible."""
    top, bottom = max(row - radius, 0), min(row + radius, HEIGHT_PX)
    if bottom <= top:
        return None
    off = max(0, top - row, row - bottom)
    half = math.sqrt(radius**2 - off**2)
    left, right = math.floor(x - half), math.ceil(x + half)
    return left, top, max(1, right - left), bottom - top


def _around(one: Box, other: Box) -> Box:
    """Return the smallest box around two boxes."""
    left, top = min(one[0], other[0]), min(one[1], other[1])
    right, bottom = max(one[0] + one[2], other[0] + other[2]), max(one[1] + one[3], other[1] + other[3])
    return left, top, right - left, bottom - top


def exposures(first_ns: int, last_ns: int) -> Iterator[int]:
    """Yield the times of the camera's frames in nanoseconds."""
    return iter(range(first_ns, last_ns, 10**9 // FRAMES_PER_S))
