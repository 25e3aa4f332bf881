"""What a source of frames is. The implementations are beside this module."""

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
        """True if frames come at their own pace, so that a slow reader loses some.

        A recording read as fast as possible is not live: its reader may take its time.
        """
        ...

    @property
    def noise(self) -> Noise:
        """What tells two of its frames apart that show the same; by it a frozen camera is known."""
        ...

    def start(self) -> None:
        """Open cameras or files. Raises SourceError."""
        ...

    def read(self, timeout_s: float) -> Frame | None:
        """Wait for the next frame and lend it.

        Returns None at the end of a finite source. Raises SourceError when no frame came within
        ``timeout_s`` seconds, or when the camera broke.
        """
        ...

    def health(self) -> tuple[CameraHealth, ...]:
        """Return how each camera fares; from any thread, at any time, without waiting for a frame."""
        ...

    def close(self) -> None:
        """Give everything back. May be called twice, and before ``start``.

        Another thread may be in ``start`` or ``read``: one that waits for a frame then returns or raises. A call that
        hangs is waited for, so the caller of ``close`` sets the limit.
        """
        ...


@dataclass(frozen=True, slots=True)
class Exposure:
    """How long a camera gathers light, and by how much its signal is amplified.

    Attributes:
        exposure_us: microseconds.
        gain: analogue gain, 1.0 for none.
    """

    exposure_us: float
    gain: float = 1.0


@dataclass(frozen=True, slots=True)
class ExposureLimits:
    """What every camera of a source can do; both ends belong to it."""

    min_us: float
    max_us: float
    max_gain: float


@runtime_checkable
class Adjustable(Protocol):
    """What a live source is besides, if the exposure of its cameras can be set while it runs.

    Optional: ask with ``isinstance``. A recording is never adjustable. From any thread, at any time.
    """

    @property
    def exposures(self) -> tuple[Exposure, ...]:
        """What was last asked for, one for each plane, in the order of ``geometry.plane_names``."""
        ...

    @property
    def exposure_limits(self) -> ExposureLimits:
        """Known before ``start``."""
        ...

    @property
    def settle_frames(self) -> int:
        """How many frames after ``set_exposures`` may still show the old exposure."""
        ...

    def set_exposures(self, wanted: Sequence[Exposure]) -> None:
        """Ask for an exposure of each plane; before ``start`` it holds from the first frame on.

        Raises:
            SourceError: not one for each plane, beyond the limits, or the camera refuses.
        """
        ...
