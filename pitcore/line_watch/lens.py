"""Is the glass clean? What stays where it is while the belt moves on is not on the belt.

One row of each plane a frame, in cells of 16 px, every 8th row in turn: so the whole frame is seen every few seconds.
Each cell keeps the level that it has without cherries. It moves towards a cherry's level by less than away from it, so
it stays near the belt's level unless three looks in four are nearer to a cherry's: a dense flow of cherries does not
move it far, and dirt is there in every look. A spot is where a cell differs from its column. A whole column cannot: a
scratch along the belt's way is part of what 'calibrate flat' measures.
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
TOWARDS_LEVELS = 0.4  # by which a cell moves towards a cherry's level, each time its row is looked at
AWAY_LEVELS = 1.2  # and back to the belt's
ANY_STEP = 65535  # a cell may move to whatever a look shows
SETTLED = 10  # looks at each row before anything is said
MIN_CELLS = 2  # beside each other: one may be a few hot pixels


class LensCheck:
    """Follows the static picture of each plane.

    Args:
        config: of the board.
        shape: (H, W) of the planes as they are searched.
    """

    def __init__(self, config: Config, shape: tuple[int, int]) -> None:
        self._names, self._dirt = config.frame.planes, config.line.dirt_levels
        self.cell_px = min(CELL_PX, shape[1])
        self._rows = max(1, shape[0] // ROW_STEP_PX)
        columns = shape[1] // self.cell_px
        self._levels = np.zeros((self._rows, len(self._names), columns), np.uint16)  # times cell_px
        self._first, self._later = (self._steps(config, away) for away in (255.0, AWAY_LEVELS))
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
        # Each pass starts further on than the one before: the time between two looks at a row differs, so no row
        # meets the same flight of the belt each time.
        passes = self._looks // self._rows
        at = (self._looks + passes * (passes + 1) // 2) % self._rows
        cells = self._levels[at]
        before = cells.astype(np.int32)
        levels = preparer.belt_levels(planes, at * ROW_STEP_PX, self.cell_px, ANY_STEP if moved else 0, cells)
        if passes:  # a cherry that lay there at the first look is forgotten at once while the picture settles
            fall, rise = self._first if passes < SETTLED else self._later
            np.clip(cells, before - fall, before + rise, out=cells, casting="unsafe")
        self._looks += moved
        self._due = moved and self._looks % self._rows == 0 and self._looks >= SETTLED * self._rows
        return levels

    def _steps(self, config: Config, away_levels: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return by how much a cell may fall and rise at a look: (P, 1) each, times cell_px."""
        towards, away = (max(1, round(levels * self.cell_px)) for levels in (TOWARDS_LEVELS, away_levels))
        is_bright = np.array([[polarity == "bright"] for polarity in config.segmentation.polarity])
        return np.where(is_bright, away, towards), np.where(is_bright, towards, away)

    def dirty(self) -> bool | None:
        """Tell whether there is dirt, once every row was looked at again; None in between."""
        return self._find() if self._due else None

    def tell(self) -> str:
        """Say where it is, and what to do."""
        return self._detail

    def _find(self) -> bool:
        apart = self._levels - np.median(self._levels, axis=0)  # (rows, planes, columns)
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
