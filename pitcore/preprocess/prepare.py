"""The Python face of the C++ core: planes in, components and a batch of crops out.

Frames and single crop images go through the same code, so that training and serving see equal bytes. This
module decides nothing about a component and knows no model; callers take sizes and scales from the card.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from pitcore.errors import FrameError, ImageError, SegmentationError
from pitcore.frame import Plane
from pitcore.preprocess import _core

if getattr(_core, "INTERFACE", 1) != 4:  # an editable checkout moved on, its compiled core did not
    raise ImportError(
        f"{_core.__file__} is older or newer than the Python beside it; build it again: pip install --editable . "
        "(in a worktree: python setup.py build_ext --inplace)"
    )

Resize = Literal["centre", "shrink", "fit"]
Polarity = Literal["bright", "dark"]

MAX_IMAGE_SIDE_PX = 4096
WHOLE_PX = 128  # a crop in its own size; training starts from such ones, and a single cherry has at most 100 px
RUNS_PER_ROW = 128  # of a noisy row; a clean one of the reference load has about three for each cherry


@dataclass(frozen=True)
class CropSpec:
    """Size and form of a crop; from a model card.

    Attributes:
        size_px: side S of the square crop, 16 to 1024.
        resize: ``centre`` cuts what is larger than S; ``shrink`` averages by area what is larger, and leaves
            the rest untouched; ``fit`` scales every crop so that its longer side is S (antialiased bilinear).
            The exact rounding is in ``csrc/include/pitcore/extract.h``.
        planes: number of planes P, 1 to 4.
    """

    size_px: int
    resize: Resize
    planes: int


@dataclass(frozen=True)
class SegmentSpec:
    """Rules for foreground pixels and for components. One entry per plane in each tuple.

    Attributes:
        background: the empty belt: a level 0 to 255, a (W,) uint8 profile across the belt, or a (H, W) uint8 image.
            Arrays are borrowed.
        threshold: 1 to 255. ``bright`` planes: pixel - background >= threshold; ``dark`` the reverse.
        polarity: whether a cherry is brighter or darker than the belt in this plane.
        combine: whether a pixel must stand out in ``any`` plane or in ``all``.
        min_area_px: smaller components are specks: counted, not reported.
        max_components: more than this many in a frame is an error.
        gain: the flat field of each plane: (W,) uint16 factors in 1/256, or None. Plane sums and crops are of corrected
            pixels; what is foreground is not changed by it. Empty: no plane has one.
    """

    background: tuple[int | NDArray[np.uint8], ...]
    threshold: tuple[int, ...]
    polarity: tuple[Polarity, ...]
    combine: Literal["any", "all"]
    min_area_px: int
    max_components: int = 4096
    gain: tuple[NDArray[np.uint16] | None, ...] = ()


class Preparer:
    """Segments frames of one shape and cuts out their cherries. Takes its memory once; one thread at a time.

    Args:
        height_px, width_px: of every plane, 1 to 8192.
        segment: how to find the cherries.
        crop: how to cut them out; as many planes as ``segment``.

    Raises:
        ValueError, TypeError: a size, threshold or background that cannot be; the message names it.
    """

    def __init__(self, height_px: int, width_px: int, segment: SegmentSpec, crop: CropSpec) -> None:
        gain = segment.gain or (None,) * crop.planes
        counts = {len(segment.background), len(segment.threshold), len(segment.polarity), len(gain), crop.planes}
        if len(counts) != 1:
            raise ValueError(
                f"planes: background ({len(segment.background)}), threshold ({len(segment.threshold)}), "
                f"polarity ({len(segment.polarity)}), gain ({len(gain)}) and crop ({crop.planes}) must count the same "
                "planes"
            )
        self._spec = segment
        self._max_runs = height_px * min((width_px + 1) // 2, RUNS_PER_ROW)
        self._segmenter = _core.Segmenter(
            (height_px, width_px),
            tuple(zip(segment.background, segment.threshold, segment.polarity, gain, strict=True)),
            segment.combine,
            segment.min_area_px,
            (self._max_runs, segment.max_components),
        )
        self._extractor = _core.Extractor(crop.size_px, crop.resize, max(height_px, width_px))
        self._whole = _core.Extractor(WHOLE_PX, "centre", max(height_px, width_px))  # takes no memory

    def segment(self, planes: Sequence[Plane]) -> NDArray[np.void]:
        """Find the cherries of a frame.

        Args:
            planes: P views, each (H, W) uint8, pixels of a row adjacent, any row stride of at least W.

        Returns:
            (N,) components, dtype ``_core.component_dtype``, ordered by their first pixel, top to bottom and
            left to right. A read-only view without a copy: valid until the next call of ``segment``.

        Raises:
            FrameError: a plane has another shape, type or memory layout.
            SegmentationError: more foreground or more components than memory was taken for.
        """
        try:
            status = self._segmenter.segment(planes)
        except (TypeError, ValueError) as error:
            raise FrameError(
                f"{error}; set the camera's size and planes in the board's configuration to what it delivers"
            ) from error
        if status == _core.Status.too_many_runs:
            raise SegmentationError(
                f"more than {self._max_runs} runs of foreground in one frame: the threshold {self._spec.threshold} "
                "is within the noise; raise it, or calibrate the background on the empty belt"
            )
        if status == _core.Status.too_many_components:
            raise SegmentationError(
                f"more than {self._spec.max_components} components of {self._spec.min_area_px} pixels or more in one "
                "frame; raise [segmentation] min_area_px or threshold, or calibrate the background on the empty belt"
            )
        if status != _core.Status.ok:
            raise RuntimeError(f"segment: {status.name}")  # the checks before make this impossible
        return self._segmenter.components

    @property
    def foreground_px(self) -> int:
        """Foreground pixels of the last frame, specks included; tells an empty belt from a blinded camera."""
        return self._segmenter.foreground_px

    @property
    def specks(self) -> int:
        """Components below the smallest area in the last frame."""
        return self._segmenter.specks

    def belt_levels(self, planes: Sequence[Plane], row: int, cell_px: int, sums: NDArray[np.uint16]) -> list[float]:
        """Sum one row of each plane in cells, for a watch over light and lens.

        Args:
            planes: as for ``segment``.
            row: 0 to H - 1.
            cell_px: width of a cell, 1 to 256.
            sums: (P, W // cell_px) uint16, C-contiguous; the sum of each cell is written to it.

        Returns:
            For each plane the median cell's mean grey level: the empty belt's, while cherries cover less than half.
        """
        return self._segmenter.measure_row(planes, row, cell_px, sums)

    def mask_centres(self, planes: Sequence[Plane], index: int) -> list[tuple[int, float, float]]:
        """Return (area in px, x, y) of each plane's own foreground in the box of a component of the last frame."""
        return self._segmenter.mask_centres(planes, index)

    def extract(self, planes: Sequence[Plane], indices: NDArray[np.int32], out: NDArray[np.uint8]) -> None:
        """Write components of the last segmented frame as masked, centred crops; all else becomes zero.

        Args:
            planes: the planes given to ``segment``.
            indices: (N,) int32, which components, in the order wanted.
            out: (N, S, S, P) uint8, C-contiguous, 64-byte aligned (``aligned_batch``); written.

        Raises:
            ValueError, TypeError: an argument of the wrong kind; the message names it.
        """
        self._extractor.extract(self._segmenter, planes, indices, out)

    def extract_whole(self, planes: Sequence[Plane], indices: NDArray[np.int32], out: NDArray[np.uint8]) -> None:
        """Write components in their own size, not that of the model; larger ones lose their borders.

        Args:
            planes: as for ``extract``.
            indices: the same.
            out: (N, WHOLE_PX, WHOLE_PX, P) uint8, C-contiguous, 64-byte aligned; written.

        Raises:
            ValueError, TypeError: an argument of the wrong kind; the message names it.
        """
        self._whole.extract(self._segmenter, planes, indices, out)


def crop_from_image(
    image: NDArray[np.uint8], spec: CropSpec, out: NDArray[np.uint8] | None = None
) -> NDArray[np.uint8]:
    """Bring one crop image into the form of a model's input, through the code that serves frames.

    All pixels that are not zero in some plane are one object, however many pieces it is in.

    Args:
        image: (H, W, P) uint8, sides of 1 to 4096, any strides.
        spec: the crop wanted; P must be its ``planes``.
        out: (S, S, P) uint8, C-contiguous, 64-byte aligned; made if not given.

    Returns:
        ``out``.

    Raises:
        ImageError: the image has another shape or type, or no pixel that is not zero.
        ValueError, TypeError: ``out`` is of the wrong kind.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != spec.planes:
        raise ImageError(
            f"expected a (height, width, {spec.planes}) image of uint8, got {image.shape} of {image.dtype}; "
            f"the model looks at {spec.planes} planes"
        )
    height, width, count = image.shape
    if not (1 <= height <= MAX_IMAGE_SIDE_PX and 1 <= width <= MAX_IMAGE_SIDE_PX):
        raise ImageError(
            f"a {height}x{width} image is not a crop; sides of 1 to {MAX_IMAGE_SIDE_PX} pixels can be read"
        )
    # Copied because the core reads planes, and an image has its planes interleaved. Crops are small.
    planes = tuple(np.ascontiguousarray(np.moveaxis(image, 2, 0)))
    segmenter = _core.Segmenter(
        (height, width), ((0, 1, "bright", None),) * count, "any", 1, (height + (width + 1) // 2, 1)
    )
    status = segmenter.segment_whole(planes)
    if status != _core.Status.ok:
        raise RuntimeError(f"segment_whole: {status.name}")  # the checks before make this impossible
    if segmenter.foreground_px == 0:
        raise ImageError("every pixel is zero: no cherry in this image; give a crop on a black background")
    if out is None:
        out = aligned_batch(1, (spec.size_px, spec.size_px, count), np.uint8)[0]
    extractor = _core.Extractor(spec.size_px, spec.resize, max(height, width))
    extractor.extract(segmenter, planes, np.zeros(1, np.int32), out[np.newaxis])
    return out


def aligned_batch(count: int, shape: Sequence[int], dtype: DTypeLike) -> NDArray[Any]:
    """Make a zeroed, C-contiguous (count, *shape) array that starts at a multiple of 64 bytes."""
    item = np.dtype(dtype)
    size = count * int(np.prod(shape)) * item.itemsize
    raw = np.zeros(size + _core.ALIGNMENT_BYTES, np.uint8)
    start = -raw.ctypes.data % _core.ALIGNMENT_BYTES
    return raw[start : start + size].view(item).reshape(count, *shape)


def to_float(
    batch: NDArray[np.uint8],
    layout: Literal["NHWC", "NCHW"],
    scale: Sequence[float],
    offset: Sequence[float],
    out: NDArray[np.float32],
) -> None:
    """Write ``pixel * scale + offset``, float32, rounded after the product and after the sum.

    Args:
        batch: (B, S, S, P) uint8, C-contiguous.
        layout: of ``out``: ``NHWC`` is (B, S, S, P), ``NCHW`` is (B, P, S, S).
        scale: one number for each plane, rounded to float32 first.
        offset: the same.
        out: float32, C-contiguous, 64-byte aligned; written.

    Raises:
        ValueError, TypeError: an argument of the wrong kind; the message names it.
    """
    _core.to_float(batch, layout, scale, offset, out)
