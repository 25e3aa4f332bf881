"""Reads a source for a command that measures or keeps frames: by the service's thread, without its loop.

``Capture`` opens and reads the source, so that a call that hangs cannot hold up the command. This class only turns its
frames into calls of ``read``.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

from pitcore.camera.source import Source
from pitcore.config import Config
from pitcore.frame import Frame
from pitcore.loop.capture import Capture
from pitcore.loop.sources import silent_s


class FrameReader:
    """Gives the frames of a source one by one, each read when it is asked for. Leaving the ``with`` block closes it.

    Args:
        source: not started yet; started with the first ``read``, and closed here.
        config: its limits in time.
    """

    def __init__(self, source: Source, config: Config) -> None:
        runtime = config.runtime
        self._capture = Capture(
            source,
            queue_frames=0,  # a frame that waited would show an exposure that was changed since
            timeout_s=runtime.capture_timeout_s,
            close_s=runtime.stop_timeout_s / 4,
            silent_s=silent_s(config),
        )
        self._arrivals = self._capture.frames()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the source. Raises HungError as ``Capture`` does."""
        self._arrivals.close()  # its views of the last frame would keep the cameras from closing their buffers
        self._capture.__exit__(kind, error, trace)

    def read(self) -> Frame | None:
        """Return the next frame, which the caller releases; None at the end of the source.

        Raises:
            SourceError: the source broke, or hangs.
            KeyboardInterrupt: ``stop`` was called.
        """
        arrival = next(self._arrivals, None)
        if arrival is None and self._capture.stopping:
            raise KeyboardInterrupt
        return None if arrival is None else arrival.frame

    def stop(self) -> None:
        """End the ``read`` that waits, and all later ones; from any thread."""
        self._capture.stop()
