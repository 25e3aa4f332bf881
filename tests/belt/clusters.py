"""A belt of cherries in clusters, the boxes that the real search finds on it, and what the tracker makes of them.

Positions along the belt are in pixels and grow towards the feed, as in ``pitcore.belt.track`` for a positive scale.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from pitcore.belt.track import BeltTracker
from pitcore.preprocess.prepare import CropSpec, Preparer, SegmentSpec

HEIGHT, WIDTH = 500, 2464
RADII_PX = (15, 32)
SHARED_PX = 1.5  # by which the outlines of two cherries that touch overlap
ALONG, ACROSS = math.pi / 2, 0.0
LEVEL, THRESHOLD = 60, 14


@dataclass(frozen=True)
class Cherries:
    """What lies on the belt; arrays of one length, in pixels.

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
    """How cherries are to lie.

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
        spec = SegmentSpec((0,), (THRESHOLD,), ("bright",), "any", 60)
        self._preparer = Preparer(HEIGHT, WIDTH, spec, CropSpec(64, "centre", 1))

    def take(self, front_px: float) -> tuple[list[tuple[int, int, int, int]], list[int]]:
        """Return boxes and border flags of the frame whose row 0 looks at a position of the belt."""
        top, left = self._rng.integers(0, 64, 2)
        plane = self._noise[top : top + HEIGHT, left : left + WIDTH].copy()  # copied: drawn into
        low, high = np.searchsorted(self._sorted, [front_px - HEIGHT - RADII_PX[1] - 2, front_px + RADII_PX[1] + 2])
        for index in self._order[low:high]:
            self._draw(plane, front_px - self._cherries.along[index], index)
        things = self._preparer.segment((plane,))
        return things[["x", "y", "w", "h"]].tolist(), things["border"].tolist()

    def _draw(self, plane: np.ndarray, row: float, index: int) -> None:
        """Draw a disc with a soft rim, to which the noise gives another outline in every frame."""
        x, radius = self._cherries.x[index], self._cherries.radius[index]
        reach = math.ceil(radius) + 2
        rows = slice(max(0, int(row) - reach), max(0, min(HEIGHT, int(row) + reach + 1)))
        columns = slice(max(0, int(x) - reach), max(0, min(WIDTH, int(x) + reach + 1)))
        away = np.hypot(
            np.arange(rows.start, rows.stop)[:, None] - row, np.arange(columns.start, columns.stop)[None, :] - x
        )
        light = ((radius + 1 - away) * (LEVEL / 4)).clip(0, LEVEL).astype(np.uint8)
        plane[rows, columns] = np.maximum(plane[rows, columns], light + (light > 0) * (plane[rows, columns] >> 1))


@dataclass
class Outcome:
    """What came of a belt.

    Attributes:
        due: cherries that passed the frame from edge to edge.
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
    """How the belt's position becomes a tick.

    Attributes:
        px_per_tick: scale; negative where the belt runs towards smaller rows.
        error_px: the most by which a tick is off, either way.
    """

    px_per_tick: float = 1.0
    error_px: int = 0


def pass_by(cherries: Cherries, fronts_px: Sequence[int], encoder: Encoder = Encoder(), seed: int = 0) -> Outcome:
    """Run a belt past the camera and hold every verdict's box against the cherries.

    Args:
        cherries: on the belt; those between the first frame and the last frame's exit edge are due.
        fronts_px: position of the belt at the entry edge of each frame.
        encoder: of the belt.
        seed: of all noise.
    """
    px_per_tick, chance = encoder.px_per_tick, np.random.default_rng(seed)
    camera, tracker = Camera(cherries, seed), BeltTracker(HEIGHT, px_per_tick, 8.0)
    counts, outcome = np.zeros(len(cherries.x), int), Outcome()
    for front in fronts_px:
        boxes, border = camera.take(front)
        if px_per_tick < 0:
            boxes = [(x, HEIGHT - y - h, w, h) for x, y, w, h in boxes]
            border = [flags & 3 | (flags & 4) << 1 | (flags & 8) >> 1 for flags in border]
        off_px = int(chance.integers(-encoder.error_px, encoder.error_px + 1))
        tick = round((front + off_px) / abs(px_per_tick))
        chosen = tracker.update(tick, boxes, border)
        judged = [chosen.box_of(index, boxes) for index in chosen.whole + chosen.side + chosen.cut] + chosen.unseen
        for x, y, width, height in judged:
            high = front - y if px_per_tick > 0 else front - HEIGHT + y + height
            middle = np.clip(cherries.x, 0, WIDTH - 1)
            inside = (middle >= x) & (middle <= x + width) & (cherries.along <= high)
            counts += inside & (cherries.along >= high - height)
        outcome.most_spans = max(outcome.most_spans, len(tracker))
    reached = cherries.radius + 2
    due = (cherries.along - reached > fronts_px[0]) & (cherries.along + reached < fronts_px[-1] - HEIGHT)
    due &= (cherries.x + cherries.radius > 12) & (cherries.x - cherries.radius < WIDTH - 12)
    outcome.due = int(due.sum())
    outcome.missed = np.flatnonzero(due & (counts == 0)).tolist()
    outcome.twice = int((due & (counts > 1)).sum())
    return outcome
