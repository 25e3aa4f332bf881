"""Detects dirt on lens or glass: a spot that stays in place while the belt moves is not on the belt.

Each frame adds one row of each plane, in cells of 16 px; every 8th row takes its turn, so the whole frame is covered
every few seconds. Each cell keeps a running median, which passing cherries change little. A cell is dirty if its median
differs from the median of its column. A defect of a whole column, such as a scratch along the belt, is not detected: it
is part of what 'calibrate flat' measures.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pitcore.frame import Plane
from pitcore.preprocess.prepare import Preparer

CELL_PX = 16
ROW_STEP_PX = 8
STEP_LEVELS = 0.8  # step of the running median each time its row is measured, in grey levels
SETTLED = 10  # measurements of each row before the first result
MIN_CELLS = 2  # adjacent dirty cells that count as a spot; a single one may be a few hot pixels


class LensCheck:
    """Keeps the running medians of each plane.

    Args:
        plane_names: names of the planes, for messages.
        shape: (H, W) of the planes.
        dirt_levels: difference from the column's median above which a cell is dirty, in grey levels.
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
        """Measure the next row of a frame.

        Args:
            planes: the planes of the frame.
            preparer: the preparer that searched the frame.
            moved: True if the belt moved since the previous frame; on a stopped belt nothing is learned.

        Returns:
            The grey level of the belt in each plane.
        """
        # Each pass starts one row later; otherwise a row would always see the same flights of the belt, or the same
        # frames of an emulated loop.
        at = (self._looks + self._looks // self._rows) % self._rows
        medians, step = self._medians[at], self._step if moved else 0
        levels = preparer.belt_levels(planes, at * ROW_STEP_PX, self.cell_px, step, medians)
        if self._looks < self._rows:  # start with the belt's level, not with that of a cherry in the cell
            medians[:] = np.rint(np.asarray(levels) * self.cell_px)[:, None]
        self._looks += moved
        self._due = moved and self._looks % self._rows == 0 and self._looks >= SETTLED * self._rows
        return levels

    def dirty(self) -> bool | None:
        """Return True if there is dirt; None until every row was measured again."""
        return self._find() if self._due else None

    def describe(self) -> str:
        """Return where the dirt is, and what to do."""
        return self._detail

    def _find(self) -> bool:
        apart = self._medians - np.median(self._medians, axis=0)  # (rows, planes, columns)
        dirty = np.abs(apart) > self._dirt * self.cell_px
        if not dirty.any():
            return False
        beside = dirty[1:] & dirty[:-1]
        for plane, name in enumerate(self._names):
            cells = np.argwhere(beside[:, plane])
            if len(cells) >= MIN_CELLS - 1:
                self._detail = self._detail_of(name, apart[:, plane], cells)
                return True
        return False

    def _detail_of(self, name: str, apart: NDArray[np.float64], cells: NDArray[np.intp]) -> str:
        (top, left), (bottom, right) = cells.min(axis=0).tolist(), cells.max(axis=0).tolist()
        level = float(apart[cells[:, 0], cells[:, 1]].mean()) / self.cell_px
        kind = f"{abs(level):.1f} grey levels {'brighter' if level > 0 else 'darker'}"
        return (
            f"plane {name}: something at columns {left * self.cell_px} to {(right + 1) * self.cell_px}, rows "
            f"{top * ROW_STEP_PX} to {(bottom + 2) * ROW_STEP_PX} does not move with the belt, {kind}; "
            "clean lens, glass and lamp"
        )
