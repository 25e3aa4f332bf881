"""What a source of frames is. The implementations stand beside this module."""

from __future__ import annotations

from typing import Protocol

from pitcore.frame import Frame, Geometry


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

    def start(self) -> None:
        """Open cameras or files. Raises SourceError."""
        ...

    def read(self, timeout_s: float) -> Frame | None:
        """Wait for the next frame and lend it.

        Returns None at the end of a finite source. Raises SourceError when no frame came within
        ``timeout_s`` seconds, or when the camera broke.
        """
        ...

    def close(self) -> None:
        """Give everything back. May be called twice, and before ``start``."""
        ...
