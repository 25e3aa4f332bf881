"""Defines the protocol of a frame source. The implementations are the other modules of this package."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from pitcore.frame import Frame, Geometry, Noise
from pitcore.health import CameraHealth


class Source(Protocol):
    """Yields frames in order. Used by one thread at a time, between ``start`` and ``close``."""

    @property
    def geometry(self) -> Geometry:
        """Shape, plane names and belt scale of every frame; known before ``start``."""
        ...

    @property
    def live(self) -> bool:
        """True if frames come at a fixed rate, so that a slow reader loses some.

        A recording is not live: it delivers the next frame when it is read.
        """
        ...

    @property
    def noise(self) -> Noise:
        """Why two frames of an unchanged scene differ; the check for a frozen camera needs it."""
        ...

    def start(self) -> None:
        """Open cameras or files. Raises SourceError."""
        ...

    def read(self, timeout_s: float) -> Frame | None:
        """Wait for the next frame and lend it.

        Returns:
            The frame, or None at the end of a finite source.

        Raises:
            SourceError: no frame came within ``timeout_s`` seconds, or the camera failed.
        """
        ...

    def health(self) -> tuple[CameraHealth, ...]:
        """Return the health of each camera. Callable from any thread at any time; does not wait for a frame."""
        ...

    def close(self) -> None:
        """Release all resources. May be called twice, and before ``start``.

        Another thread may be in ``start`` or ``read``; a ``read`` that waits for a frame then returns or raises.
        ``close`` waits for a call that hangs, so its caller must set a time limit.
        """
        ...


@dataclass(frozen=True, slots=True)
class Exposure:
    """Exposure time and gain of a camera.

    Attributes:
        exposure_us: exposure time in microseconds.
        gain: analogue gain; 1.0 is no amplification.
    """

    exposure_us: float
    gain: float = 1.0


@dataclass(frozen=True, slots=True)
class ExposureLimits:
    """The range that every camera of a source supports, ends included; the smallest gain is 1.0."""

    min_us: float
    max_us: float
    max_gain: float


@runtime_checkable
class Adjustable(Protocol):
    """A live source whose exposures can be set while it runs.

    Test for it with ``isinstance``. A recording is never adjustable. All methods may be called from any thread.
    """

    @property
    def exposures(self) -> tuple[Exposure, ...]:
        """The last requested exposures, one for each plane, in the order of ``geometry.plane_names``."""
        ...

    @property
    def exposure_limits(self) -> ExposureLimits:
        """The supported range; known before ``start``."""
        ...

    @property
    def settle_frames(self) -> int:
        """Number of frames after ``set_exposures`` that may still show the old exposure."""
        ...

    def set_exposures(self, wanted: Sequence[Exposure]) -> None:
        """Request an exposure for each plane. A call before ``start`` affects the first frame.

        Raises:
            SourceError: the number of exposures is not the number of planes, one is outside the limits, or the camera
                refuses it.
        """
        ...
