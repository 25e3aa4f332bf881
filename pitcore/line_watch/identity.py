"""Does each plane show the light that its name says? Finds cameras that were exchanged, calibrated or not.

Reflected light (``top``) makes the middle of a cherry brighter than its rim. Light that comes through it (``bottom``)
does not: the middle is the thickest part, and a stone makes it darker still. The ratio of middle to rim does not depend
on lamp, exposure or gain, so a calibration of exchanged cameras cannot hide them. Planes by other names are not
checked.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

REFLECTED, TRANSMITTED = "top", "bottom"
LOOKS, LOOKS_WHEN_SURE = 8, 2  # cherries of a frame
STEP_PX = 2  # every second pixel of every second row tells as much
MIDDLE, RIM = 0.5, 0.75  # shares of the radius of a disc as large as the cherry: below is middle, beyond is rim
LARGEST = 1.0  # one cherry counts no more than this
# Cumulative sum (E. S. Page, Continuous inspection schemes, Biometrika 41, 1954). The difference between the planes is
# 0.37 on average over 3,676 real crops (0.21 of the clean ones, 0.57 of pits), with a deviation of 0.34. In 2,000,000
# draws of these the sum never fell below -1.2. Half of all exchanges are found by 9 cherries, 99 of 100 by 16, where
# 46 % are pits. Among clean cherries alone it takes 14 and 27 (500,000 draws each, from the crops cut to 80 x 80).
SURE = 3.0
GIVE_UP = 100  # cherries; planes that tell nothing by then never will, and nothing is held back for them any longer


class IdentityCheck:
    """Follows what the cherries show in two planes.

    Args:
        plane_names: of the frame, in its order.
    """

    def __init__(self, plane_names: Sequence[str]) -> None:
        self._names = plane_names
        self.applies = sorted(plane_names) == sorted((REFLECTED, TRANSMITTED))
        self._against = self._for = 0.0  # sums of evidence that the planes are exchanged, and that they are not
        self._fresh = False
        self._looked = 0
        self._was_proven = False

    def go_on_from(self, before: IdentityCheck) -> None:
        """Take over what another check saw of the same cameras."""
        self._against, self._for = before._against, before._for
        self._looked, self._was_proven = before._looked, before._was_proven

    @property
    def is_open(self) -> bool:
        """Whether the planes have not yet shown that they are what their names say, and may still."""
        return self.applies and not self._was_proven and self._looked < GIVE_UP

    @property
    def looks(self) -> int:
        """How many cherries of a frame are worth looking at: few, once the planes are known to be right."""
        if not self.applies:
            return 0
        return LOOKS_WHEN_SURE if self._for >= SURE and not self._against else LOOKS

    def add(self, crops: NDArray[np.uint8]) -> None:
        """Take (N, S, S, P) crops of single cherries, all else in them zero."""
        if not self.applies or not len(crops):
            return
        difference = differences(crops[: self.looks])
        sign = 1.0 if self._names[0] == REFLECTED else -1.0
        for value in (sign * difference).tolist():
            step = min(max(value, -LARGEST), LARGEST)
            self._against = min(max(0.0, self._against - step), 2 * SURE)
            self._for = min(max(0.0, self._for + step), 2 * SURE)
        self._fresh = True
        self._looked += min(len(crops), self.looks)
        self._was_proven = self._was_proven or self._for >= SURE

    def swapped(self) -> bool | None:
        """Tell whether the planes are exchanged; None while it is not sure."""
        if not self._fresh:
            return None
        self._fresh = False
        if self._against >= SURE:
            return True
        return False if self._for >= SURE else None

    def tell(self) -> str:
        """Say what was seen, and what to do."""
        return (
            f"plane {TRANSMITTED} shows reflected light and plane {REFLECTED} light through the cherries: the cameras "
            "are exchanged; exchange their ids (or channels) in [source], then run 'pitcore calibrate exposure', "
            "'flat' and 'align'"
        )


def differences(crops: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return for each crop how much more the middle stands out from the rim in the first plane than in the second.

    Args:
        crops: (N, S, S, 2), centred, zero outside the cherry.

    Returns:
        (N,) difference of the natural logarithms of the mean of the middle over the mean of the rim; 0 for a crop too
        small or too dark to tell.
    """
    seen = crops[:, ::STEP_PX, ::STEP_PX].astype(np.float32)  # copies: sums of bytes would overflow
    count, rows, columns, planes = seen.shape
    y, x = np.ogrid[:rows, :columns]
    square = ((y - (rows - 1) / 2) ** 2 + (x - (columns - 1) / 2) ** 2).ravel()
    pixels = seen.reshape(count, rows * columns, planes)
    mask = (pixels[..., 0] > 0) | (pixels[..., 1] > 0)
    radius = mask.sum(axis=1)[:, None] / np.pi  # squared
    parts = np.stack((mask & (square < MIDDLE**2 * radius), mask & (square > RIM**2 * radius)), axis=1)
    sums = parts.astype(np.float32) @ pixels  # (N, 2 parts, 2 planes)
    with np.errstate(divide="ignore", invalid="ignore"):
        levels = np.log(sums / parts.sum(axis=2)[..., None])
        found = levels[:, 0, 0] - levels[:, 1, 0] - levels[:, 0, 1] + levels[:, 1, 1]
    return np.where(np.isfinite(found), found, 0.0)
