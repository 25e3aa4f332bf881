"""Simulates a belt with clusters of cherries, searches it with the real search, and runs the tracker on the boxes.

Positions along the belt are in pixels and grow towards the feed, as in ``pitcore.belt.track`` for a positive scale.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from pitcore.belt.track import BeltTracker, Box, Selection
from pitcore.preprocess.prepare import CropSpec, Preparer, SegmentSpec

HEIGHT, WIDTH = 500, 2464
RADII_PX = (15, 32)
SHARED_PX = 1.5  # by which the outlines of two cherries that touch overlap
ALONG, ACROSS = math.pi / 2, 0.0
LEVEL, THRESHOLD = 60, 14
EDGE_PX = 4  # a middle so near to the first or last row may be cut off by noise


@dataclass(frozen=True)
class Cherries:
    """The cherries on the belt; arrays of one length, in pixels.

    Attributes:
        x: of the middles, across the belt.
        along: of the middles, along it.
        radius: of each.
        cluster: equal numbers touch.
    """

    x: np.ndarray
    along: np.ndarray
    radius: np.ndarray
    cluster: np.ndarray


@dataclass(frozen=True)
class Layout:
    """The arrangement of cherries.

    Attributes:
        size: of each cluster; 1 is a single cherry.
        angle: of the clusters' lines, in radians; None: any.
        per_frame: cherries that a frame shows, on average.
        gap_px: the least distance between two clusters; noise may bridge a small one.
    """

    size: int
    angle: float | None
    per_frame: float
    gap_px: float = 2.0


def lay(layout: Layout, length_px: int, seed: int) -> Cherries:
    """Lay clusters at random places until there are enough, or until no more find room."""
    rng = np.random.default_rng(seed)
    wanted = round(layout.per_frame * length_px / HEIGHT)
    xs, alongs, radii, clusters = (np.zeros(0) for _ in range(4))
    for number in range(20 * max(1, wanted // layout.size)):
        if len(xs) >= wanted:
            break
        x, along, radius = _chain(layout, rng)
        x = x + rng.uniform(-20, WIDTH + 20 - np.ptp(x)) - x.min()
        along = along + rng.uniform(0, length_px) - along.min()
        near = np.abs(alongs - along.mean()) < 64 * (layout.size + 2)
        apart = np.hypot(xs[near] - x[:, None], alongs[near] - along[:, None]) - radii[near] - radius[:, None]
        if apart.size and apart.min() < layout.gap_px:
            continue
        xs, alongs, radii = np.append(xs, x), np.append(alongs, along), np.append(radii, radius)
        clusters = np.append(clusters, np.full(layout.size, number))
    return Cherries(xs, alongs, radii, clusters)


def _chain(layout: Layout, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return columns, positions and radii of one cluster whose first cherry lies at (0, 0)."""
    radius = rng.uniform(*RADII_PX, layout.size)
    angle = rng.uniform(0, 2 * np.pi) if layout.angle is None else layout.angle
    angles = angle + rng.normal(0, 0.25, layout.size - 1)
    steps = radius[1:] + radius[:-1] - SHARED_PX
    return (
        np.append(0.0, np.cumsum(steps * np.cos(angles))),
        np.append(0.0, np.cumsum(steps * np.sin(angles))),
        radius,
    )


class Camera:
    """Draws frames of a belt and searches them as the service does.

    Args:
        cherries: on the belt.
        seed: of the sensor's noise.
    """

    def __init__(self, cherries: Cherries, seed: int = 0) -> None:
        self._cherries, self._rng = cherries, np.random.default_rng(seed)
        self._order = np.argsort(cherries.along)
        self._sorted = cherries.along[self._order]
        self._noise = self._rng.normal(5.0, 1.5, (HEIGHT + 64, WIDTH + 64)).clip(0, 12).astype(np.uint8)
        self._discs: dict[int, tuple[int, np.ndarray]] = {}
        spec = SegmentSpec((0,), (THRESHOLD,), ("bright",), "any", 60)
        self._preparer = Preparer(HEIGHT, WIDTH, spec, CropSpec(64, "centre", 1))

    def take(self, front_px: int) -> tuple[list[tuple[int, int, int, int]], list[int]]:
        """Return boxes and border flags of the frame whose row 0 looks at a position of the belt."""
        top, left = self._rng.integers(0, 64, 2)
        plane = self._noise[top : top + HEIGHT, left : left + WIDTH].copy()  # copied: drawn into
        low, high = np.searchsorted(self._sorted, [front_px - HEIGHT - RADII_PX[1] - 2, front_px + RADII_PX[1] + 2])
        for index in self._order[low:high].tolist():
            self._draw(plane, front_px, index)
        things = self._preparer.segment((plane,))
        return things[["x", "y", "w", "h"]].tolist(), things["border"].tolist()

    def _draw(self, plane: np.ndarray, front_px: int, index: int) -> None:
        """Draw a cherry; the noise gives it another outline in every frame."""
        if index not in self._discs:
            self._discs[index] = self._disc(index)
        top, disc = self._discs[index]
        left, top = int(self._cherries.x[index]) - len(disc) // 2, front_px + top
        rows, columns = _within(top, len(disc), HEIGHT), _within(left, len(disc), WIDTH)
        light = disc[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
        shown = plane[rows, columns]
        np.maximum(shown, light + (light > 0) * (shown >> 1), out=shown)

    def _disc(self, index: int) -> tuple[int, np.ndarray]:
        """Return a disc with a soft rim, and its first row in a frame at position 0; frames are whole pixels apart."""
        x, row, radius = self._cherries.x[index], -self._cherries.along[index], self._cherries.radius[index]
        reach = math.ceil(radius) + 2
        top, left = math.floor(row) - reach, int(x) - reach
        span = np.arange(2 * reach + 1)
        away = np.hypot(top + span[:, None] - row, left + span[None, :] - x)
        return top, ((radius + 1 - away) * (LEVEL / 4)).clip(0, LEVEL).astype(np.uint8)


def _within(start: int, length: int, end: int) -> slice:
    """Return the part of [start, start + length) that is in [0, end)."""
    return slice(min(max(0, start), end), max(0, min(end, start + length)))


@dataclass
class Outcome:
    """The result for one belt.

    Attributes:
        due: cherries whose middle was in the frame, of those in view when the belt began and when it ended too.
        missed: of them, those whose middle no box of any verdict holds, as indices.
        twice: of them, those with more than one.
        most_spans: that the tracker held at a time.
    """

    due: int = 0
    missed: list[int] = field(default_factory=list)
    twice: int = 0
    most_spans: int = 0


@dataclass(frozen=True)
class Encoder:
    """The conversion from the belt's position to a tick.

    Attributes:
        px_per_tick: scale; negative where the belt runs towards smaller rows.
        error_px: the most by which a tick is off, either way.
    """

    px_per_tick: float = 1.0
    error_px: int = 0


def pass_by(cherries: Cherries, fronts_px: Sequence[int], encoder: Encoder = Encoder(), seed: int = 0) -> Outcome:
    """Run a belt past the camera and compare the boxes of all verdicts with the cherries.

    Args:
        cherries: on the belt; those whose middle comes into a frame are due.
        fronts_px: position of the belt at the entry edge of each frame.
        encoder: of the belt.
        seed: of all noise.
    """
    tracker = BeltTracker(HEIGHT, encoder.px_per_tick, 8.0)
    counts, outcome = np.zeros(len(cherries.x), int), Outcome()
    for front, _, judged in follow(tracker, Camera(cherries, seed), fronts_px, encoder, seed):
        outcome.most_spans = max(outcome.most_spans, len(tracker))
        counts += in_boxes(cherries, judged, front, encoder.px_per_tick)
    counts += in_boxes(cherries, tracker.finish().unseen, fronts_px[-1], encoder.px_per_tick)
    due = (cherries.along > fronts_px[0] - HEIGHT + EDGE_PX) & (cherries.along < fronts_px[-1] - EDGE_PX)
    due &= (cherries.x + cherries.radius > 12) & (cherries.x - cherries.radius < WIDTH - 12)
    outcome.due = int(due.sum())
    outcome.missed = np.flatnonzero(due & (counts == 0)).tolist()
    outcome.twice = int((due & (counts > 1)).sum())
    return outcome


def follow(
    tracker: BeltTracker, camera: Camera, fronts_px: Sequence[int], encoder: Encoder = Encoder(), seed: int = 0
) -> Iterator[tuple[int, Selection, list[Box]]]:
    """Give a tracker the belt at each position; yield the position, the chosen things and the boxes of all verdicts."""
    chance = np.random.default_rng(seed)
    for front in fronts_px:
        boxes, border = camera.take(front)
        if encoder.px_per_tick < 0:
            boxes = [(x, HEIGHT - y - h, w, h) for x, y, w, h in boxes]
            border = [flags & 3 | (flags & 4) << 1 | (flags & 8) >> 1 for flags in border]
        off_px = int(chance.integers(-encoder.error_px, encoder.error_px + 1))
        chosen = tracker.update(round((front + off_px) / abs(encoder.px_per_tick)), boxes, border)
        judged = [chosen.box_of(index, boxes) for index in chosen.whole + chosen.side + chosen.cut]
        yield front, chosen, judged + chosen.unseen


def in_boxes(cherries: Cherries, judged: Sequence[Box], front_px: int, px_per_tick: float) -> np.ndarray:
    """Return for each cherry the number of boxes of a frame that contain its middle."""
    counts, middle = np.zeros(len(cherries.x), int), np.clip(cherries.x, 0, WIDTH - 1)
    for x, y, width, height in judged:
        high = front_px - y if px_per_tick > 0 else front_px - HEIGHT + y + height
        inside = (middle >= x) & (middle <= x + width) & (cherries.along <= high)
        counts += inside & (cherries.along >= high - height)
    return counts
