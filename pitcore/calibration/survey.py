"""Reads frames from a source for a calibration, and searches them with the rules in force. Measures nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pitcore.camera.frozen import FrozenCheck, sample_of
from pitcore.camera.source import Source
from pitcore.config import Config
from pitcore.errors import CalibrationError, SourceError
from pitcore.frame import Frame, Window
from pitcore.preprocess.prepare import CropSpec, Preparer
from pitcore.preprocess.search_rules import segment_spec, window_of

WHOLE = 0  # border flags of a thing that no edge of the frame cuts


@dataclass(frozen=True, slots=True)
class Look:
    """One searched frame, valid while it is borrowed.

    Attributes:
        frame: the frame, its planes cut to the window that both show.
        things: the things as ``Preparer.segment`` returns them; valid until the next look.
        preparer: the preparer that searched it.
    """

    frame: Frame
    things: NDArray[np.void]
    preparer: Preparer

    @property
    def whole(self) -> NDArray[np.intp]:
        """Indices of the things that no edge of the frame cuts."""
        return np.flatnonzero(self.things["border"] == WHOLE)


class Survey:
    """Reads and searches the frames of a source.

    Args:
        source: the source, whose exposure may be set.
        read: returns the next frame, None at the end; raises SourceError.
        config: configuration of the board, with its present calibration.
        progress: called for each frame, for a progress bar.
    """

    def __init__(
        self, source: Source, read: Callable[[], Frame | None], config: Config, progress: Callable[[], Any]
    ) -> None:
        self.source, self.read = source, read
        self.config, self.progress = config, progress

    def frames(self, count: int) -> Iterator[Frame]:
        """Lend up to ``count`` frames; fewer if the source ends, and without damaged frames.

        Raises:
            SourceError: the source failed, more than half of the frames are damaged, or a camera repeats one picture.
            CalibrationError: a frame does not have the shape of the configuration.
        """
        frame_config, limit_s = self.config.frame, self.config.runtime.capture_timeout_s
        want = [(frame_config.height_px, frame_config.width_px)] * len(frame_config.planes)
        frozen = FrozenCheck(len(frame_config.planes), self.source.noise)
        damaged = 0
        for asked in range(1, count + 1):
            frame = self.read()
            if frame is None:
                return
            with frame:
                shapes = [plane.shape for plane in frame.planes]
                if shapes != want:
                    raise CalibrationError(f"the source gives planes {shapes}, [frame] says {want}; correct [frame]")
                if any(frame.damage):
                    damaged += 1
                    if 2 * damaged > count:  # the rest would not be representative
                        raise SourceError(
                            f"{damaged} of {asked} frames are damaged ({next(filter(None, frame.damage))}); check "
                            "cable and supply of the camera, then calibrate again"
                        )
                    continue
                repeated = frozen.find(frame, [sample_of(plane) for plane in frame.planes])
                if repeated is not None and repeated[1] >= limit_s:
                    raise SourceError(
                        f"plane {frame_config.planes[repeated[0]]}: its camera sends one and the same picture; check "
                        "its cable and supply, then calibrate again"
                    )
                yield frame
            self.progress()

    def looks(self, count: int, window: Window | None = None) -> Iterator[Look]:
        """Read and search up to ``count`` frames.

        Args:
            count: number of frames.
            window: window to search; None takes that of the configuration's alignment.

        Raises:
            SourceError, CalibrationError: as ``frames``.
            SegmentationError: cherries cannot be distinguished from the belt.
        """
        window = window or window_of(self.config)
        crop = CropSpec(size_px=64, resize="centre", planes=len(self.config.frame.planes))  # not used
        preparer = Preparer(*window.shape, segment_spec(self.config, window), crop)
        for frame in self.frames(count):
            seen = window.of(frame)
            yield Look(seen, preparer.segment(seen.planes), preparer)
