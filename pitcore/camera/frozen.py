"""Detects a frozen camera: it sends its last picture again as a new one, and can look like an empty belt.

Sensor noise makes two exposures differ in some pixel. So a thousand pixels of each plane are compared with those of
the frame before, which costs a few microseconds. If all are equal and enough of them are noisy, the picture is frozen.
If the picture is mostly black, or was compressed, the whole plane is compared with a copy, which is made only then.
This module decides whether a picture is frozen; ``line_watch.frame_watch`` acts on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pitcore.frame import Frame, Noise, Plane

SAMPLE_ROWS = 16  # spread over the height
SAMPLE_PX = 64  # of each: a line of the processor's cache
# Of a sensor whose noise moves one pixel in twenty by a grey level, 512 stay alike once in 10^11 frames.
TREMBLING_PX = 512


@dataclass(slots=True)
class _Last:
    """What is remembered of a plane.

    Attributes:
        pixels: a sample of it.
        since_ns: stamp of the first frame that repeated it; None as long as none did.
        whole: a copy of it; None as long as the next is another.
    """

    pixels: bytes = b""
    since_ns: int | None = None
    whole: NDArray[np.uint8] | None = None


class FrozenCheck:
    """Follows the picture of each plane.

    Args:
        planes: how many.
        noise: what tells two exposures of the source apart.
    """

    def __init__(self, planes: int, noise: Noise) -> None:
        self._noise = noise
        self._last = [_Last() for _ in range(planes)]

    def go_on_from(self, before: FrozenCheck) -> None:
        """Remember what another check saw last."""
        self._last = before._last

    def find(self, frame: Frame, samples: Sequence[bytes]) -> tuple[int, float] | None:
        """Look at the next frame while it is lent.

        Args:
            frame: the next.
            samples: ``sample_of`` each of its planes.

        Returns:
            The plane whose picture is the last one's, and for how many seconds frames have repeated it: 0 at the first,
            however long the belt stood before; None if all are new.
        """
        if self._noise == "none":
            return None
        found = None
        for number, (plane, pixels, last) in enumerate(zip(frame.planes, samples, self._last, strict=True)):
            if not self._repeats(plane, pixels, last):
                last.since_ns = None
                continue
            if last.since_ns is None:
                last.since_ns = frame.t_ns
            found = found or (number, (frame.t_ns - last.since_ns) / 1e9)
        return found

    def _repeats(self, plane: Plane, pixels: bytes, last: _Last) -> bool:
        if pixels != last.pixels:
            last.pixels, last.whole = pixels, None
            return False
        compared = last.whole is not None
        if last.whole is not None and np.array_equal(plane, last.whole):
            return bool(_trembling(plane).any())
        last.whole = plane.copy()  # to be compared with the next frame, when this one's buffer is the camera's again
        if compared:  # and found to differ: the sample is quiet, the camera lives
            return False
        trembling = _trembling(np.frombuffer(pixels, np.uint8))
        return self._noise == "sensor" and int(trembling.sum()) >= TREMBLING_PX


def sample_of(plane: Plane) -> bytes:
    """Return a copy of some pixels of a plane, spread over its height."""
    height, width = plane.shape
    left = max(0, (width - SAMPLE_PX) // 2)
    return plane[:: max(1, height // SAMPLE_ROWS), left : left + SAMPLE_PX].tobytes()


def _trembling(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Tell which pixels can show a sensor's noise: those that are neither black nor white."""
    return np.asarray((pixels > 0) & (pixels < 255))
