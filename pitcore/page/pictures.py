"""Draws pictures for viewers: a belt picture of a frame, and both planes of each cherry in it."""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pitcore.page.messages import PictureRef, Seen, Start
from pitcore.palette import GAMMA

WIDEST_PX = 1300  # largest width of a belt picture; a wider frame is reduced by a whole factor
JPEG_QUALITY = 75
MARGIN_PX = 8  # around a cherry
MAX_CHERRIES = 400  # number of cherries whose pictures are kept, about a minute
LARGEST_PX = 400  # largest side of a cherry's picture; a larger thing is cut off
_CURVE = ((np.arange(256) / 255.0) ** GAMMA * 255.0).round().astype(np.uint8)


@dataclass(frozen=True, slots=True)
class Shown:
    """A cherry in a belt picture; ``box`` is its box in that frame, in pixels of the first plane."""

    seen: Seen
    box: tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class BeltPicture:
    """A picture of a frame for viewers.

    Attributes:
        number: running number of the picture.
        ref: the frame.
        jpeg: grey JPEG of the planes, one below the other, each reduced by the same factor.
        shown: the cherries in the picture.
    """

    number: int
    ref: PictureRef
    jpeg: bytes
    shown: tuple[Shown, ...]


class _Kept(NamedTuple):
    """A cherry and its planes; ``seen_px`` is the number of its rows that were in the frame."""

    seen: Seen
    cuts: tuple[NDArray[np.uint8], ...]
    seen_px: int


class Album:
    """Draws belt pictures, and keeps the pictures of the last cherries.

    Args:
        start: the first message of the service.
    """

    def __init__(self, start: Start) -> None:
        self._start = start
        self._number = 0
        self._factor = -(-start.shape[1] // WIDEST_PX)
        self._cherries: OrderedDict[int, _Kept] = OrderedDict()

    def draw(self, frame: NDArray[np.uint8], ref: PictureRef, seen: Iterable[Seen]) -> BeltPicture:
        """Draw a frame.

        Args:
            frame: (planes, height, width) uint8.
            ref: number, tick and time of the frame.
            seen: the last verdicts; cherries that are not in this frame are ignored.
        """
        self._number += 1
        shown = tuple(self._visible(ref, seen))
        for one in shown:
            self._keep(frame, one)
        rows = [Image.fromarray(_CURVE[plane]).reduce(self._factor) for plane in frame]
        picture = Image.new("L", (rows[0].width, rows[0].height * len(rows)))
        for number, row in enumerate(rows):
            picture.paste(row, (0, number * row.height))
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=JPEG_QUALITY)
        return BeltPicture(self._number, ref, file.getvalue(), shown)

    def cherry(self, number: int) -> Seen | None:
        """Return a cherry by its number, or None if its pictures are no longer kept."""
        kept = self._cherries.get(number)
        return None if kept is None else kept.seen

    def cherry_png(self, number: int, plane: int) -> bytes | None:
        """Return a plane of a cherry as PNG, or None if it is no longer kept."""
        kept = self._cherries.get(number)
        if kept is None or not 0 <= plane < len(kept.cuts):
            return None
        file = io.BytesIO()
        Image.fromarray(_CURVE[kept.cuts[plane]]).save(file, "PNG", compress_level=1)
        return file.getvalue()

    def _visible(self, ref: PictureRef, seen: Iterable[Seen]) -> Iterable[Shown]:
        height = self._start.shape[0]
        for one in seen:
            x, y, box_width, box_height = one.box
            y += round((ref.tick - one.tick) * self._start.px_per_tick)
            if y + box_height > 0 and y < height:
                yield Shown(one, (x, y, box_width, box_height))

    def _keep(self, frame: NDArray[np.uint8], shown: Shown) -> None:
        """Copy the pixels of a cherry, because the frame is released, unless an earlier frame showed more of it."""
        x, y, width, height = shown.box
        seen_px = min(y + height, frame.shape[1]) - max(y, 0)
        known = self._cherries.get(shown.seen.number)
        if known is not None and known.seen_px >= seen_px:
            return
        cuts = []
        for number, plane in enumerate(frame):
            right, down = self._start.shift_px if number else (0, 0)
            left, top = max(0, x + right - MARGIN_PX), max(0, y + down - MARGIN_PX)
            cut = plane[top : max(0, y + down + height + MARGIN_PX), left : max(0, x + right + width + MARGIN_PX)]
            cuts.append(cut[:LARGEST_PX, :LARGEST_PX].copy())
        if any(cut.size == 0 for cut in cuts):
            return
        self._cherries[shown.seen.number] = _Kept(shown.seen, tuple(cuts), seen_px)
        while len(self._cherries) > MAX_CHERRIES:
            self._cherries.popitem(last=False)
