"""A frame: what a source lends to the pipeline.

A frame does not own its pixels. The planes are views into the source's buffers, valid until the frame
is released; leaving the ``with`` block releases it. Whoever needs pixels longer copies them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.uint8]  # (H, W), row stride arbitrary, pixels of a row adjacent
# What tells two exposures of the same thing apart: a sensor's own noise; what compression left of it; nothing, as in a
# film, where one picture may rightly follow another that is its equal.
Noise = Literal["sensor", "compressed", "none"]


def _nothing() -> None:
    return None


@dataclass(frozen=True, slots=True)
class Frame:
    """One exposure of all cameras, aligned.

    Attributes:
        seq: number the source gave; a gap means that frames were lost before they reached us.
        t_ns: CLOCK_MONOTONIC at mid-exposure, nanoseconds.
        tick: belt encoder count at mid-exposure.
        planes: one (H, W) uint8 view per plane, in the order of the configuration. Borrowed.
        release: gives the buffers back to the source. Called by leaving ``with``; call it once.
        damage: for each plane what is damaged in its picture, None where it is whole; empty if all are. A frame with
            damage is not judged, and nothing is measured by it.
    """

    seq: int
    t_ns: int
    tick: int
    planes: tuple[Plane, ...]
    release: Callable[[], None] = _nothing
    damage: tuple[str | None, ...] = ()

    def __enter__(self) -> Frame:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


@dataclass(frozen=True, slots=True)
class Window:
    """What two planes show in common, when the second's picture lies aside from the first's, less its lateral edges.

    Attributes:
        shift_px: right and down, by which things lie displaced in every plane but the first.
        height_px, width_px: of the planes as they come.
        left_px, right_px: columns of the common part that are left out at either edge.
    """

    shift_px: tuple[int, int]
    height_px: int
    width_px: int
    left_px: int = 0
    right_px: int = 0

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of the common part."""
        width_px = self.width_px - abs(self.shift_px[0]) - self.left_px - self.right_px
        return self.height_px - abs(self.shift_px[1]), width_px

    def columns(self, plane: int) -> slice:
        """Which columns of a plane are the common part."""
        return _common(self.shift_px[0], plane, self.shape[1], self.left_px)

    def rows(self, plane: int) -> slice:
        """Which rows."""
        return _common(self.shift_px[1], plane, self.shape[0])

    @property
    def origin(self) -> tuple[int, int]:
        """Column and row of the first plane where the common part starts."""
        return self.columns(0).start, self.rows(0).start

    def of(self, frame: Frame) -> Frame:
        """Return the frame with views of the common part: no pixel is copied."""
        if self.shape == (self.height_px, self.width_px):
            return frame
        views = (plane[self.rows(number), self.columns(number)] for number, plane in enumerate(frame.planes))
        return replace(frame, planes=tuple(views))


def _common(shift_px: int, plane: int, length_px: int, left_out_px: int = 0) -> slice:
    first = max(0, shift_px if plane else -shift_px) + left_out_px
    return slice(first, first + length_px)


@dataclass(frozen=True, slots=True)
class Geometry:
    """What every frame of a source looks like.

    Attributes:
        plane_names: order of the planes, for instance ``("top", "bottom")``.
        height_px, width_px: of every plane. The belt moves along the height.
        px_per_tick: belt travel for each encoder tick, in pixels, positive towards larger rows.
    """

    plane_names: tuple[str, ...]
    height_px: int
    width_px: int
    px_per_tick: float
