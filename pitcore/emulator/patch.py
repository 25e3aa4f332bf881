"""Defines a patch: the pixels of one object before it is placed. Does not know belts, labels or files."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pitcore.camera.truth import Box

# The belt's level is about 6, and the usual threshold of a segmenter is 14 above it: brighter pixels are body.
BODY_LEVEL = 20
FAINTEST_LEVEL = 3  # glow below this cannot be distinguished from the belt; it is cut off so that patches stay small
TOUCHING_PX2 = 60  # pixels of body that two touching cherries share


@dataclass(frozen=True, slots=True)
class Patch:
    """Two aligned planes of one object, zero where the object is not.

    Attributes:
        pixels: (h, w, 2) uint8, top then bottom; no outer row or column is all zero.
        exact: True for real crops, whose pixels must be in the frame unchanged; no noise is added to them.
    """

    pixels: NDArray[np.uint8]
    exact: bool = False

    @property
    def height_px(self) -> int:
        """Rows."""
        return int(self.pixels.shape[0])

    @property
    def width_px(self) -> int:
        """Columns."""
        return int(self.pixels.shape[1])


def extent(mask: NDArray[np.bool_]) -> Box:
    """Return the smallest box around the True pixels of an (H, W) mask, of which at least one must be True."""
    rows = np.flatnonzero(mask.any(axis=1))
    columns = np.flatnonzero(mask.any(axis=0))
    y_px, x_px = int(rows[0]), int(columns[0])
    return Box(x_px, y_px, int(columns[-1]) - x_px + 1, int(rows[-1]) - y_px + 1)


def brightest(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the brighter of the two planes, (h, w); many times faster than ``max`` along a short axis."""
    return np.maximum(pixels[:, :, 0], pixels[:, :, 1])


def body_mask(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return (h, w) True where either plane is at least ``BODY_LEVEL``."""
    return np.asarray(brightest(pixels) >= BODY_LEVEL)


def body_box(patch: Patch) -> Box:
    """Return the box in the patch where the object is brighter than the belt; the whole patch for a real crop."""
    if patch.exact:
        return Box(0, 0, patch.width_px, patch.height_px)
    return extent(body_mask(patch.pixels))


def trimmed(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return (h, w, 2) pixels without outer rows and columns of zeros. Copies, so that the rest can be freed."""
    box = extent(brightest(pixels) > 0)
    return pixels[box.y_px : box.y_px + box.height_px, box.x_px : box.x_px + box.width_px].copy()


def quantised(planes: tuple[NDArray[np.float32], NDArray[np.float32]]) -> NDArray[np.uint8]:
    """Round two (h, w) float planes to trimmed (h', w', 2) uint8; levels below ``FAINTEST_LEVEL`` become 0."""
    pixels = np.stack(planes, axis=2)
    np.clip(pixels, 0.0, 254.0, out=pixels)  # the real cameras' brightest pixel is 254
    pixels[np.maximum(pixels[:, :, 0], pixels[:, :, 1]) < FAINTEST_LEVEL] = 0.0
    return trimmed(np.asarray(np.rint(pixels), np.uint8))


def touching_offset(first: NDArray[np.uint8], second: NDArray[np.uint8], angle_rad: float) -> tuple[int, int]:
    """Return the offset (dx, dy) from the first patch's corner to the second's at which the bodies touch.

    The second patch is in direction ``angle_rad`` of the first (0 is +x, pi/2 is +y) and is moved closer until at
    least ``TOUCHING_PX2`` pixels of the bodies overlap.
    """
    one, two = body_mask(first), body_mask(second)
    centre_dx, centre_dy = (one.shape[1] - two.shape[1]) / 2.0, (one.shape[0] - two.shape[0]) / 2.0
    dx, dy = 0, 0
    for distance_px in range(max(*one.shape, *two.shape) * 3 // 2, 0, -1):
        dx = round(centre_dx + distance_px * float(np.cos(angle_rad)))
        dy = round(centre_dy + distance_px * float(np.sin(angle_rad)))
        if _common_px2(one, two, (dx, dy)) >= TOUCHING_PX2:
            break
    return dx, dy


def _common_px2(one: NDArray[np.bool_], two: NDArray[np.bool_], offset_px: tuple[int, int]) -> int:
    dx, dy = offset_px
    top, bottom = max(dy, 0), min(one.shape[0], dy + two.shape[0])
    left, right = max(dx, 0), min(one.shape[1], dx + two.shape[1])
    if bottom <= top or right <= left:
        return 0
    shared = one[top:bottom, left:right] & two[top - dy : bottom - dy, left - dx : right - dx]
    return int(np.count_nonzero(shared))
