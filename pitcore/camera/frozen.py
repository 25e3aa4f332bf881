"""Detects a frozen camera: one that sends its last picture again as a new one.

A frozen picture can look like an empty belt. Sensor noise makes two exposures differ in some pixel. So a thousand
pixels of each plane are compared with those of the previous frame, which costs a few microseconds. If all are equal and
enough of them can show noise, the picture is frozen. If the picture is mostly black, or was compressed, the whole plane
is compared with a copy; the copy is made only in that case. This module decides whether a picture is frozen;
``line_watch.frame_watch`` acts on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pitcore.frame import Frame, Noise, Plane

SAMPLE_ROWS = 16  # spread over the height
SAMPLE_PX = 64  # in each row: one cache line
# If noise changes one pixel in twenty by a grey level, 512 pixels are all equal once in 10^11 frames.
NOISY_PX = 512


@dataclass(slots=True)
class _Last:
    """The last picture of a plane.

    Attributes:
        pixels: sample of the picture, see ``sample_of``.
        since_ns: stamp of the first frame that repeated the picture; None if no frame repeated it.
        whole: copy of the whole plane; None until a frame with an equal sample comes.
    """

    pixels: bytes = b""
    since_ns: int | None = None
    whole: NDArray[np.uint8] | None = None


class FrozenCheck:
    """Compares each plane with the previous picture of that plane.

    Args:
        planes: number of planes.
        noise: why two exposures of the source differ, see ``frame.Noise``.
    """

    def __init__(self, planes: int, noise: Noise) -> None:
        self._noise = noise
        self._last = [_Last() for _ in range(planes)]

    def continue_from(self, before: FrozenCheck) -> None:
        """Take over the last pictures of another check."""
        self._last = before._last

    def find(self, frame: Frame, samples: Sequence[bytes]) -> tuple[int, float] | None:
        """Compare the next frame with the one before. Call it while the frame is borrowed.

        Args:
            frame: the next frame.
            samples: ``sample_of`` of each of its planes.

        Returns:
            The number of the first plane that repeats its last picture, and for how many seconds frames have repeated
            it: 0 for the first repetition, however long the belt was stopped before. None if no plane repeats.
        """
        if self._noise == "none":
            return None
        frozen = None
        for number, (plane, pixels, last) in enumerate(zip(frame.planes, samples, self._last, strict=True)):
            if not self._repeats(plane, pixels, last):
                last.since_ns = None
                continue
            if last.since_ns is None:
                last.since_ns = frame.t_ns
            frozen = frozen or (number, (frame.t_ns - last.since_ns) / 1e9)
        return frozen

    def _repeats(self, plane: Plane, pixels: bytes, last: _Last) -> bool:
        if pixels != last.pixels:
            last.pixels, last.whole = pixels, None
            return False
        compared = last.whole is not None
        if last.whole is not None and np.array_equal(plane, last.whole):
            return bool(_can_show_noise(plane).any())
        last.whole = plane.copy()  # for the comparison with the next frame, when this frame's buffer was returned
        if compared:  # the whole plane differs although the sample is equal: not frozen
            return False
        noisy = _can_show_noise(np.frombuffer(pixels, np.uint8))
        return self._noise == "sensor" and int(noisy.sum()) >= NOISY_PX


def sample_of(plane: Plane) -> bytes:
    """Return a copy of 16 x 64 pixels of a plane, in rows spread over its height."""
    height, width = plane.shape
    left = max(0, (width - SAMPLE_PX) // 2)
    return plane[:: max(1, height // SAMPLE_ROWS), left : left + SAMPLE_PX].tobytes()


def _can_show_noise(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return True for each pixel that can show sensor noise: one that is neither black nor white."""
    return np.asarray((pixels > 0) & (pixels < 255))
