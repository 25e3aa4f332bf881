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

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

LEFT, RIGHT, TOP, BOTTOM = 1, 2, 4, 8  # border flags, as the core sets them

Boxes = NDArray[np.int64]  # (n, 4): x, y, width, height in pixels of a frame
Spans = NDArray[np.float64]  # (n, 4): x0, x1, and belt position low and high; high ends exclusive

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
            now (so outside the frame).
        known: how many were passed over because an earlier frame had them.
        waiting: how many are entering and will be whole in a later frame.
        gap_px: length of belt that passed unseen before this frame.
    """

    whole: list[int] = field(default_factory=list)
    side: list[int] = field(default_factory=list)
    cut: list[int] = field(default_factory=list)
    unseen: list[tuple[int, int, int, int]] = field(default_factory=list)
    known: int = 0
    waiting: int = 0
    gap_px: int = 0


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
        self._judged: Spans = np.empty((0, 4))
        self._waiting: Spans = np.empty((0, 4))
        self._last_origin: float | None = None

    def update(self, tick: int, boxes: Boxes, border: NDArray[np.integer]) -> Selection:
        """Decide what to judge in one frame.

        Args:
            tick: encoder count of the frame.
            boxes: (n, 4) x, y, width, height in pixels.
            border: (n,) flags of the frame's edges that each box touches.
        """
        origin = tick * self._px_per_tick
        chosen = Selection()
        self._follow_belt(origin, chosen)
        seen = _on_belt(boxes, origin)

        known = self._known(seen, origin)
        enters, leaves = (border & self._entry) != 0, (border & self._exit) != 0
        lateral = (border & (LEFT | RIGHT)) != 0
        waits = ~known & enters & ~leaves
        now = ~known & ~waits
        chosen.known, chosen.waiting = int(known.sum()), int(waits.sum())
        chosen.side = np.flatnonzero(now & lateral).tolist()
        chosen.cut = np.flatnonzero(now & ~lateral & leaves).tolist()
        chosen.whole = np.flatnonzero(now & ~lateral & ~leaves).tolist()

        resumed = _covered(self._waiting, seen, self._tolerance, RESUMED_SHARE).any(axis=1)
        gone = self._has_left(self._waiting, origin) & ~resumed
        chosen.unseen += _in_frame(self._waiting[gone], origin)
        self._waiting = np.concatenate([self._waiting[~resumed & ~gone], seen[waits]])
        self._judged = np.concatenate([self._judged[~self._has_left(self._judged, origin)], seen[now]])
        return chosen

    def finish(self) -> Selection:
        """End of the belt: hand out what still waits, as ``unseen``."""
        left = Selection(unseen=_in_frame(self._waiting, self._last_origin or 0.0))
        self._waiting = np.empty((0, 4))
        return left

    def _follow_belt(self, origin: float, chosen: Selection) -> None:
        """Note how far the belt came. After an encoder reset nothing known can be matched any more."""
        if self._last_origin is not None:
            advance = (origin - self._last_origin) * (1 if self._px_per_tick > 0 else -1)
            chosen.gap_px = max(0, round(advance - self._height))
            if advance < -self._height:
                chosen.unseen += _in_frame(self._waiting, self._last_origin)
                self._waiting = self._judged = np.empty((0, 4))
        self._last_origin = origin

    def _known(self, seen: Spans, origin: float) -> NDArray[np.bool_]:
        """Return which things were judged in an earlier frame."""
        in_view = self._judged.copy()
        along = in_view[:, 2:]
        np.minimum(np.maximum(along, origin - self._height, out=along), origin, out=along)
        covered = _covered(seen, self._judged, self._tolerance, KNOWN_SHARE)
        covers = _covered(in_view, seen, self._tolerance, SAME_SHARE).T
        return np.asarray((covered & covers).any(axis=1), np.bool_)

    def _has_left(self, spans: Spans, origin: float) -> NDArray[np.bool_]:
        """Return which spans lie wholly beyond the exit edge."""
        if self._px_per_tick > 0:
            return origin - spans[:, 3] >= self._height
        return origin - spans[:, 2] <= 0.0


def _covered(things: Spans, others: Spans, tolerance_px: float, share: float) -> NDArray[np.bool_]:
    """Return (things, others): whether each of the others, widened on every side, covers that share of a thing."""
    left, right, low, high = others.T
    first, last, bottom, top = things.T[:, :, None]
    across = np.minimum(last, right + tolerance_px) - np.maximum(first, left - tolerance_px)
    along = np.minimum(top, high + tolerance_px) - np.maximum(bottom, low - tolerance_px)
    shared = np.maximum(across, 0.0) * np.maximum(along, 0.0)
    area = (last - first) * (top - bottom)
    return np.asarray((shared >= share * area) & (area > 0.0))  # what left the view has no area


def _on_belt(boxes: Boxes, origin: float) -> Spans:
    """Turn boxes of a frame into spans on the belt."""
    x, y, width, height = boxes.astype(np.float64).T
    return np.stack([x, x + width, origin - y - height, origin - y], axis=1)


def _in_frame(spans: Spans, origin: float) -> list[tuple[int, int, int, int]]:
    """Turn spans on the belt into boxes relative to the frame at ``origin``; they may lie outside it."""
    return [
        (round(x0), round(origin - high), round(x1 - x0), round(high - low)) for x0, x1, low, high in spans.tolist()
    ]
