"""Detects frames that are lost, repeated, damaged, black, stuck or flooded, and makes one event for each.

A frame that fails a check is not searched for cherries, because it does not show the belt. It leaves an event and a
count, and the belt that it should have shown counts as unseen.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pitcore.camera.frozen import FrozenCheck, sample_of
from pitcore.errors import FrameError
from pitcore.frame import Frame, Noise
from pitcore.verdict import Event


def event_of(frame: Frame, name: str, detail: str, count: int = 1, camera: str | None = None) -> Event:
    """Make an event with the number and tick of a frame."""
    return Event("pitcore.event/1", frame.seq, frame.tick, name, detail, count, camera)


class FrameWatch:
    """Compares each frame with the last one.

    Args:
        plane_names: names of the planes, for messages.
        shape: (H, W) that every plane must have.
        max_foreground_share: a frame with a larger share of foreground, 0..1, is flooded.
        noise: noise of the source, see ``frame.Noise``.

    Attributes:
        frozen: the plane that repeats its last picture, and for how many seconds; None if none does.
    """

    def __init__(
        self, plane_names: tuple[str, ...], shape: tuple[int, int], max_foreground_share: float, noise: Noise
    ) -> None:
        self._names, self._shape, self._max_share = plane_names, shape, max_foreground_share
        self._frozen = FrozenCheck(len(plane_names), noise)
        self.frozen: tuple[str, float] | None = None
        self._last_seq: int | None = None
        self._dropped = 0  # since the last new frame
        self._last_tick: int | None = None
        self._last_things: bytes = b""

    def continue_from(self, before: FrameWatch) -> None:
        """Take over the last frame of another watch, so that a change of limits between two frames loses nothing."""
        self._last_seq, self._dropped = before._last_seq, before._dropped
        self._last_tick, self._last_things = before._last_tick, before._last_things
        self._frozen.continue_from(before._frozen)

    def check_arrival(self, frame: Frame, dropped: int) -> tuple[list[Event], bool]:
        """Compare a frame's number with the last one's.

        Args:
            frame: the frame as the source gave it.
            dropped: number of frames that the full queue dropped just before it.

        Returns:
            Events, and True if the frame is new.

        Raises:
            FrameError: a plane is missing or has the wrong shape: the configuration does not fit the source.
        """
        shapes = [plane.shape for plane in frame.planes]
        if shapes != [self._shape] * len(self._names):
            raise FrameError(
                f"frame {frame.seq}: planes of shape {shapes}, but the configuration promises {len(self._names)} "
                f"({', '.join(self._names)}) of {self._shape}; set [frame] to what the source gives"
            )
        events, last = [], self._last_seq
        self._dropped += dropped
        if dropped:
            frames = "1 frame" if dropped == 1 else f"{dropped} frames"
            detail = f"{frames} dropped because the queue was full: the board is too slow for this belt"
            events.append(event_of(frame, "frames_dropped", detail, dropped))
        if frame.seq == last:
            events.append(event_of(frame, "frame_repeated", f"frame {frame.seq} arrived twice"))
            return events, False
        lost = 0 if last is None else frame.seq - last - 1 - self._dropped
        if last is not None and frame.seq < last:  # the camera restarted; its frames are judged
            detail = f"frame {frame.seq} after {last}: the source restarted its count; the number of losses is unknown"
            events.append(event_of(frame, "frames_renumbered", detail))
        self._last_seq, self._dropped = frame.seq, 0
        if lost > 0:
            frames = "1 frame" if lost == 1 else f"{lost} frames"
            events.append(event_of(frame, "frames_lost", f"{frames} did not arrive from the source", lost))
        return events, True

    def check_picture(self, frame: Frame) -> Event | None:
        """Return an event if a plane is damaged, black, or equal to its last picture, pixel for pixel; else None."""
        self.frozen = None
        damaged = [(name, why) for name, why in zip(self._names, frame.damage, strict=False) if why is not None]
        if damaged:
            detail = "; ".join(f"plane {name} is damaged: {why}" for name, why in damaged)
            return event_of(frame, "frame_damaged", detail, camera=damaged[0][0] if len(damaged) == 1 else None)
        samples = [sample_of(plane) for plane in frame.planes]
        for name, plane, pixels in zip(self._names, frame.planes, samples, strict=True):
            if pixels.count(0) == len(pixels) and not plane.any():  # no lens passes exactly 0
                detail = f"plane {name} is all 0: light, lens cap or cable"
                return event_of(frame, "frame_black", detail, camera=name)
        frozen = self._frozen.find(frame, samples)
        if frozen is None:
            return None
        name = self._names[frozen[0]]
        self.frozen = name, frozen[1]
        detail = f"plane {name} repeats its last picture, pixel for pixel: its camera hangs"
        return event_of(frame, "frame_stuck", detail, camera=name)

    def check_things(self, frame: Frame, things: NDArray[np.void], foreground_px: int) -> Event | None:
        """Return an event if the frame is flooded with foreground, or equal to the last one on a moving belt."""
        share = foreground_px / (self._shape[0] * self._shape[1])
        if share > self._max_share:
            detail = (
                f"{share:.0%} of the frame is foreground (at most {self._max_share:.0%}): "
                "light, background or threshold is wrong, or the belt is heaped"
            )
            return event_of(frame, "frame_flooded", detail)
        same = things.tobytes()  # contains grey sums, which noise never repeats
        stuck = bool(same) and same == self._last_things and frame.tick != self._last_tick
        self._last_things, self._last_tick = same, frame.tick
        if stuck:
            return event_of(frame, "frame_stuck", "the picture is unchanged although the belt moved: the camera hangs")
        return None
