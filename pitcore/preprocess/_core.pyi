"""The C++ core. Sources in ``csrc/``; every refusal is a TypeError or ValueError that names the argument."""

from collections.abc import Sequence
from enum import IntEnum
from types import TracebackType
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

INTERFACE: Final[int]
"""Rises when an older build no longer serves the Python beside it."""

ALIGNMENT_BYTES: Final[int]
"""Outputs start at a multiple of this."""

FLUSH_BITS: Final[int]
"""Bits that FlushToZero sets in the mode register; 0 on a processor we do not know."""

component_dtype: np.dtype[np.void]
"""x, y, w, h, area (int32), border (uint32: 1 left, 2 right, 4 top, 8 bottom), sum_x, sum_y, sum_xx, sum_xy,
sum_yy (int64, over the component's pixels, frame coordinates), plane_sum (int64[4], grey levels), elongation and
ellipse_fill (float64: of the ellipse with the same second moments, the ratio of its axes and the area over its)."""

def matched(
    things: Sequence[tuple[float, float, float, float]],
    others: Sequence[tuple[float, float, float, float]],
    tolerance_px: float,
    share: float,
    back: tuple[float, float, float] | None = None,
) -> list[bool]:
    """Return for each thing whether one of the others, widened by the tolerance on every side, covers that share of it.

    Args:
        things: left, right, low, high in pixels; ends exclusive.
        others: the same.
        tolerance_px: by which the covering one is wider.
        share: of the thing's area.
        back: share, low, high: what lies between low and high of that other one must be covered to this share by the
            thing as well.
    """

class Status(IntEnum):
    """What became of a frame."""

    ok = 0
    bad_argument = 1
    out_of_memory = 2
    too_many_runs = 3
    too_many_components = 4
    bad_index = 5
    unknown_kernel = 6
    unsupported_kernel = 7

class Segmenter:
    """Finds components in frames of one shape. One thread at a time; a second gets a RuntimeError.

    Args:
        shape: height and width of a plane, pixels, 1 to 8192.
        rules: for each plane ``(background, threshold, polarity, gain)``: a level 0 to 255, a (W,) profile or a (H, W)
            image of uint8; 1 to 255; ``"bright"`` or ``"dark"``; a (W,) uint16 flat field in 1/256, or None. Arrays
            are borrowed while this lives.
        combine: ``"any"`` or ``"all"``: in how many planes a pixel must stand out.
        min_area_px: smaller components are counted as specks.
        limits: ``(max_runs, max_components)``, for which memory is taken now.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        rules: tuple[tuple[int | NDArray[np.uint8], int, str, NDArray[np.uint16] | None], ...],
        combine: str,
        min_area_px: int,
        limits: tuple[int, int],
    ) -> None: ...
    def segment(self, planes: Sequence[NDArray[np.uint8]]) -> Status:
        """Replace the components by those of this frame: (H, W) uint8 planes in a tuple or list."""

    def segment_whole(self, planes: Sequence[NDArray[np.uint8]]) -> Status:
        """Take every pixel that is not zero as one component. Needs rules ``(0, 1, "bright", None)`` and ``any``."""

    def measure_row(
        self, planes: Sequence[NDArray[np.uint8]], row: int, cell_px: int, sums: NDArray[np.uint16]
    ) -> list[float]:
        """Write the sums of a row's cells to (P, W // cell_px) ``sums``; return the median cell's mean level."""

    def mask_centres(self, planes: Sequence[NDArray[np.uint8]], index: int) -> list[tuple[int, float, float]]:
        """Return (area, x, y) of each plane's own foreground in the box of a component of the last frame."""

    @property
    def components(self) -> NDArray[np.void]:
        """The (N,) components, ``component_dtype``, read-only, no copy: valid until the next segment call."""

    @property
    def foreground_px(self) -> int:
        """Foreground pixels of the last frame, specks included."""

    @property
    def specks(self) -> int:
        """Components below ``min_area_px`` in the last frame."""

class Extractor:
    """Cuts components into centred, masked crops. One thread at a time.

    Args:
        size_px: side S of a crop, 16 to 1024.
        resize: ``"centre"``, ``"shrink"`` or ``"fit"``, see ``csrc/include/pitcore/extract.h``.
        longest_side_px: of the frames it will see.
    """

    def __init__(self, size_px: int, resize: str, longest_side_px: int) -> None: ...
    def extract(
        self,
        segmenter: Segmenter,
        planes: Sequence[NDArray[np.uint8]],
        indices: NDArray[np.int32],
        out: NDArray[np.uint8],
    ) -> None:
        """Write component ``indices[i]`` to ``out[i]``; out is (N, S, S, P), C-contiguous, aligned."""

class FlushToZero:
    """Flushes subnormals on the thread that enters it, and gives back the thread's whole old mode on leaving.

    Raises:
        RuntimeError: entered twice, left on another thread, or left without having been entered.
    """

    def __init__(self) -> None: ...
    def __enter__(self) -> FlushToZero: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

def to_float(
    batch: NDArray[np.uint8],
    layout: Literal["NHWC", "NCHW"],
    scale: Sequence[float],
    offset: Sequence[float],
    out: NDArray[np.float32],
) -> None:
    """Write ``pixel * scale + offset`` of a (B, S, S, P) batch, in the layout, to aligned ``out``."""

def read_mode() -> int:
    """Return the calling thread's floating-point control register (x86 MXCSR, aarch64 FPCR)."""

def flushes_subnormals() -> bool:
    """Multiply a subnormal and tell whether the calling thread flushes it."""

def int8_products_saturate() -> bool:
    """Return whether ONNX Runtime's fastest int8 kernels differ here from other machines': on x86-64 without VNNI."""

def kernels() -> tuple[str, ...]:
    """Return the kernels that this processor can run, best first."""

def active_kernel() -> str:
    """Return the kernel that segmentation uses."""

def force_kernel(name: str) -> None:
    """Use the named kernel in every thread; ``"auto"`` returns to the best. Raises ValueError listing them."""
