"""Detects dirt on lens or glass: a spot that stays in place while the belt moves is not on the belt.

Each frame adds one row of each plane, in cells of 16 px; every 8th row takes its turn, so the whole frame is covered
every few seconds. Each cell keeps the level that it has without cherries. It moves towards a cherry's level by a third
of the step away from it, so it settles at the quartile of its measurements that is on the belt's side. Cherries change
it little if they cover the cell in clearly fewer than three measurements in four.

A spot is reported if its level and its last measurement both differ from the median of their column, in the same
direction. A thing on the belt, such as a leaf that is darker than the belt while the levels are learned, changes a
level for minutes, but it is not in later measurements. The spot is gone only when the levels are normal: a cherry that
covers it at the last measurement hides it, but does not clean it. A defect of a whole column, such as a scratch along
the belt, is not detected: it is part of what 'calibrate flat' measures.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pitcore.config import Config
from pitcore.frame import Plane
from pitcore.preprocess.prepare import Preparer

CELL_PX = 16
ROW_STEP_PX = 8
TOWARDS_LEVELS = 0.4  # step of a cell towards a cherry's level each time its row is measured, in grey levels
AWAY_LEVELS = 1.2  # step back to the belt's level
SETTLED = 10  # measurements of each row before the first result


class LensCheck:
    """Keeps the level of each cell of each plane.

    Args:
        config: configuration of the board.
        shape: (H, W) of the planes as they are searched.
    """

    def __init__(self, config: Config, shape: tuple[int, int]) -> None:
        self._names, self._dirt = config.frame.planes, config.line.dirt_levels
        self.cell_px = min(CELL_PX, shape[1])
        self._rows = max(1, shape[0] // ROW_STEP_PX)
        columns = shape[1] // self.cell_px
        self._levels = np.zeros((self._rows, len(self._names), columns), np.uint16)  # times cell_px
        self._measured = np.zeros_like(self._levels)  # the last measurement of each cell
        self._first, self._later = (self._steps(config, away) for away in (255.0, AWAY_LEVELS))
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
        # Each pass starts further on than the one before. The time between two measurements of a row differs, so no row
        # always sees the same flight of the belt.
        passes = self._looks // self._rows
        at = (self._looks + passes * (passes + 1) // 2) % self._rows
        levels = preparer.belt_levels(planes, at * ROW_STEP_PX, self.cell_px, self._measured[at])
        if moved:
            self._learn(at, passes)
        self._looks += moved
        self._due = moved and self._looks % self._rows == 0 and self._looks >= SETTLED * self._rows
        return levels

    def _learn(self, at: int, passes: int) -> None:
        """Move the levels of a row towards its last measurement; ``passes`` were measured before."""
        cells, measured = self._levels[at], self._measured[at]
        if not passes:
            cells[:] = measured
            return
        # While the levels settle, a cherry of the first measurement is forgotten at once.
        fall, rise = self._first if passes < SETTLED else self._later
        before = cells.astype(np.int32)
        np.clip(measured, before - fall, before + rise, out=cells, casting="unsafe")

    def _steps(self, config: Config, away_levels: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return by how much a cell may fall and rise at a measurement: (P, 1) each, times cell_px."""
        towards, away = (max(1, round(levels * self.cell_px)) for levels in (TOWARDS_LEVELS, away_levels))
        is_bright = np.array([[polarity == "bright"] for polarity in config.segmentation.polarity])
        return np.where(is_bright, away, towards), np.where(is_bright, towards, away)

    def dirty(self) -> bool | None:
        """Return True if there is dirt, False if all levels are normal.

        Return None until every row was measured again, and if a level is not normal but its last measurement is.
        """
        return self._find() if self._due else None

    def describe(self) -> str:
        """Return where the dirt is, and what to do."""
        return self._detail

    def _find(self) -> bool | None:
        apart, last = (cells - np.median(cells, axis=0) for cells in (self._levels, self._measured))
        limit = self._dirt * self.cell_px
        if not _spots(np.abs(apart) > limit).any():
            return False
        shown = _spots(np.where(apart > 0, np.minimum(apart, last) > limit, np.maximum(apart, last) < -limit))
        for plane, name in enumerate(self._names):
            cells = np.argwhere(shown[:, plane])
            if len(cells):
                self._detail = self._detail_of(name, apart[:, plane], cells)
                return True
        return None

    def _detail_of(self, name: str, apart: NDArray[np.float64], cells: NDArray[np.intp]) -> str:
        (top, left), (bottom, right) = cells.min(axis=0).tolist(), cells.max(axis=0).tolist()
        level = float(apart[cells[:, 0], cells[:, 1]].mean()) / self.cell_px
        kind = f"{abs(level):.1f} grey levels {'brighter' if level > 0 else 'darker'}"
        return (
            f"plane {name}: something at columns {left * self.cell_px} to {(right + 1) * self.cell_px}, rows "
            f"{top * ROW_STEP_PX} to {(bottom + 2) * ROW_STEP_PX} does not move with the belt, {kind}; "
            "clean lens, glass and lamp"
        )


def _spots(dirty: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the cells that are dirty like the cell below them; a single one may be a few hot pixels."""
    return dirty[1:] & dirty[:-1]
