"""Finds and cuts out the cherries of a frame with OpenCV's algorithms, for comparison with pitcore's core."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pitcore.config import SegmentationConfig
from pitcore.errors import DataError
from pitcore_tools.reference import OurSearch, Planes

ALGORITHMS = {
    name.removeprefix("CCL_").lower(): getattr(cv2, name)
    for name in ("CCL_DEFAULT", "CCL_WU", "CCL_GRANA", "CCL_BOLELLI", "CCL_SAUF", "CCL_BBDT", "CCL_SPAGHETTI")
    if hasattr(cv2, name)
}
LABELS = {"32-bit": cv2.CV_32S, "16-bit": cv2.CV_16U}
CONNECTIVITY = 8


@dataclass(frozen=True, slots=True)
class Found:
    """The result of a search, ordered by top, left, width, height.

    Attributes:
        boxes: (N, 5) x, y, width, height, area.
        crops: (N, S, S, 2) uint8.
    """

    boxes: NDArray[np.int64]
    crops: NDArray[np.uint8]


class OpenCvSearch:
    """Searches like OpenCV's examples: threshold, connected components with statistics, masked crops.

    Args:
        rule: the rule of pitcore's search; bright cherries on a dark belt only.
        size_px: side of a crop.
        algorithm, labels: keys of ``ALGORITHMS`` and ``LABELS``.
    """

    def __init__(self, rule: SegmentationConfig, size_px: int, algorithm: str, labels: str) -> None:
        if set(rule.polarity) != {"bright"} or rule.combine != "any":
            raise DataError("the OpenCV peer knows bright cherries in any plane only")
        self._limits = [level + step - 1 for level, step in zip(rule.background, rule.threshold, strict=True)]
        self._min_area, self._size = rule.min_area_px, size_px
        self._algorithm, self._labels = ALGORITHMS[algorithm], LABELS[labels]

    def run(self, planes: Planes) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        """Return (N, 5) statistics of the things and (N, S, S, 2) crops."""
        masks = [
            cv2.threshold(plane, limit, 255, cv2.THRESH_BINARY)[1]
            for plane, limit in zip(planes, self._limits, strict=True)
        ]
        mask = cv2.bitwise_or(*masks)
        _, labels, stats, _ = cv2.connectedComponentsWithStatsWithAlgorithm(
            mask, CONNECTIVITY, self._labels, self._algorithm
        )
        large = [index for index in range(1, len(stats)) if stats[index, cv2.CC_STAT_AREA] >= self._min_area]
        crops = np.zeros((len(large), self._size, self._size, len(planes)), np.uint8)
        for crop, index in zip(crops, large, strict=True):
            self._cut(planes, labels, index, stats[index].tolist(), crop)
        return stats[large], crops

    def found(self, planes: Planes) -> Found:
        """Return the result in the form that is compared."""
        stats, crops = self.run(planes)
        return _ordered(stats.astype(np.int64), crops)

    def _cut(self, planes: Planes, labels: NDArray[Any], index: int, box: list[int], crop: NDArray[np.uint8]) -> None:
        """Write the thing's own pixels, centred; a side longer than the crop loses its ends."""
        x, y, width, height = box[:4]
        x, x_to, width = _span(x, width, self._size)
        y, y_to, height = _span(y, height, self._size)
        own = labels[y : y + height, x : x + width] == index
        for number, plane in enumerate(planes):
            target = crop[y_to : y_to + height, x_to : x_to + width, number]
            np.copyto(target, plane[y : y + height, x : x + width], where=own)


def found_by(ours: OurSearch, planes: Planes) -> Found:
    """Return the result of pitcore's search in the form that is compared."""
    things, crops = ours.run(planes)
    boxes = np.stack([things[key].astype(np.int64) for key in ("x", "y", "w", "h", "area")], axis=1)
    return _ordered(boxes, crops)


def check_equal(ours: Found, theirs: Found, name: str) -> None:
    """Raise DataError if boxes, areas or pixels of the crops differ, because the times could not be compared."""
    if not np.array_equal(ours.boxes, theirs.boxes) or not np.array_equal(ours.crops, theirs.crops):
        raise DataError(
            f"{name} finds {len(theirs.boxes)} things, pitcore {len(ours.boxes)}, or cuts them otherwise; "
            "no times are compared"
        )


def _span(start: int, length: int, size: int) -> tuple[int, int, int]:
    """Return the first pixel to read, the first pixel to write, and the number of pixels."""
    if length > size:
        return start + (length - size) // 2, 0, size
    return start, (size - length) // 2, length


def _ordered(boxes: NDArray[np.int64], crops: NDArray[np.uint8]) -> Found:
    order = np.lexsort((boxes[:, 3], boxes[:, 2], boxes[:, 0], boxes[:, 1]))
    return Found(boxes[order], crops[order].copy())
