"""Reads frames from a source for a calibration, searched with the rules in force. Measures nothing itself."""

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
    """One searched frame, while it is lent.

    Attributes:
        frame: its planes cut down to what both show.
        things: as ``Preparer.segment`` gives them; valid until the next look.
        preparer: that searched it.
    """

    frame: Frame
    things: NDArray[np.void]
    preparer: Preparer

    @property
    def whole(self) -> NDArray[np.intp]:
        """Indices of the things that no edge of the frame cuts."""
        return np.flatnonzero(self.things["border"] == WHOLE)


class Survey:
    """A source, and the search over its frames.

    Args:
        source: whose exposure may be set.
        read: gives its next frame, None at its end; raises SourceError.
        config: of the board, with what was calibrated before.
        tell: called for each frame, for a progress bar.
    """

    def __init__(
        self, source: Source, read: Callable[[], Frame | None], config: Config, tell: Callable[[], Any]
    ) -> None:
        self.source, self.read = source, read
        self.config, self.tell = config, tell

    def frames(self, count: int) -> Iterator[Frame]:
        """Lend up to ``count`` frames as they come; fewer where the source ends, or where some are damaged.

        Raises:
            SourceError: the source broke, more than half of the frames are damaged, or a camera froze: nothing can be
                measured by one picture.
            CalibrationError: a frame is not what the configuration promises.
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
                    if 2 * damaged > count:  # what is left would be a matter of chance
                        raise SourceError(
                            f"{damaged} of {asked} frames are damaged ({next(filter(None, frame.damage))}); check "
                            "cable and supply of the camera, then calibrate again"
                        )
                    continue
                found = frozen.find(frame, [sample_of(plane) for plane in frame.planes])
                if found is not None and found[1] >= limit_s:
                    raise SourceError(
                        f"plane {frame_config.planes[found[0]]}: its camera sends one and the same picture; check its "
                        "cable and supply, then calibrate again"
                    )
                yield frame
            self.tell()

    def looks(self, count: int, window: Window | None = None) -> Iterator[Look]:
        """Search up to ``count`` frames.

        Args:
            count: how many.
            window: instead of the configuration's alignment.

        Raises:
            SourceError, CalibrationError: as ``frames``.
            SegmentationError: cherries cannot be distinguished from the belt.
        """
        window = window or window_of(self.config)
        crop = CropSpec(size_px=64, resize="centre", planes=len(self.config.frame.planes))  # no crop is cut out here
        preparer = Preparer(*window.shape, segment_spec(self.config, window), crop)
        for frame in self.frames(count):
            seen = window.of(frame)
            yield Look(seen, preparer.segment(seen.planes), preparer)
