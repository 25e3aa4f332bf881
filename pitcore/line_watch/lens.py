"""Is the glass clean? What stays where it is while the belt moves on is not on the belt.

One row of each plane a frame, in cells of 16 px, every 8th row in turn: so the whole frame is seen every few seconds.
Each cell keeps a running median, which cherries passing by do not move far; a spot is where it differs from its
column. A whole column cannot: a scratch along the belt's way is part of what 'calibrate flat' measures.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pitcore.frame import Plane
from pitcore.preprocess.prepare import Preparer

CELL_PX = 16
ROW_STEP_PX = 8
STEP_LEVELS = 0.8  # by which a median follows, each time its row is looked at
SETTLED = 10  # looks at each row before anything is said
MIN_CELLS = 2  # beside each other: one may be a few hot pixels


class LensCheck:
    """Follows the static picture of each plane.

    Args:
        plane_names: for messages.
        shape: (H, W) of the planes.
        dirt_levels: grey levels by which a spot stands apart.
    """

    def __init__(self, plane_names: Sequence[str], shape: tuple[int, int], dirt_levels: float) -> None:
        self._names, self._dirt = plane_names, dirt_levels
        self.cell_px = min(CELL_PX, shape[1])
        self._rows = max(1, shape[0] // ROW_STEP_PX)
        columns = shape[1] // self.cell_px
        self._medians = np.zeros((self._rows, len(plane_names), columns), np.uint16)  # of a cell's sum
        self._step = max(1, round(STEP_LEVELS * self.cell_px))
        self._looks = 0
        self._due = False
        self._detail = ""

    def look(self, planes: Sequence[Plane], preparer: Preparer, *, moved: bool) -> list[float]:
        """Look at the next row of a frame; return the belt's level in each plane.

        Args:
            planes: of the frame.
            preparer: that searched it.
            moved: whether the belt did since the frame before; on a standing one everything stays where it is.
        """
        # Each pass starts a row later: else a row would meet the same flights of the belt, or the same frames of an
        # emulated loop, again and again.
        at = (self._looks + self._looks // self._rows) % self._rows
        medians, step = self._medians[at], self._step if moved else 0
        levels = preparer.belt_levels(planes, at * ROW_STEP_PX, self.cell_px, step, medians)
        if self._looks < self._rows:  # start from the belt, not from a cherry that happens to lie there
            medians[:] = np.rint(np.asarray(levels) * self.cell_px)[:, None]
        self._looks += moved
        self._due = moved and self._looks % self._rows == 0 and self._looks >= SETTLED * self._rows
        return levels

    def dirty(self) -> bool | None:
        """Tell whether there is dirt, once every row was looked at again; None in between."""
        return self._find() if self._due else None

    def tell(self) -> str:
        """Say where it is, and what to do."""
        return self._detail

    def _find(self) -> bool:
        apart = self._medians - np.median(self._medians, axis=0)  # (rows, planes, columns)
        dirty = np.abs(apart) > self._dirt * self.cell_px
        if not dirty.any():
            return False
        beside = dirty[1:] & dirty[:-1]
        for plane, name in enumerate(self._names):
            found = np.argwhere(beside[:, plane])
            if len(found) >= MIN_CELLS - 1:
                self._detail = self._describe(name, apart[:, plane], found)
                return True
        return False

    def _describe(self, name: str, apart: NDArray[np.float64], found: NDArray[np.intp]) -> str:
        (top, left), (bottom, right) = found.min(axis=0).tolist(), found.max(axis=0).tolist()
        level = float(apart[found[:, 0], found[:, 1]].mean()) / self.cell_px
        kind = f"{abs(level):.1f} grey levels {'brighter' if level > 0 else 'darker'}"
        return (
            f"plane {name}: something at columns {left * self.cell_px} to {(right + 1) * self.cell_px}, rows "
            f"{top * ROW_STEP_PX} to {(bottom + 2) * ROW_STEP_PX} does not move with the belt, {kind}; "
            "clean lens, glass and lamp"
        )
