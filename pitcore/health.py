"""How each camera of a source fares: what `status` shows, and what decides whether the watchdog is fed.

Plain data. A source fills it in; the control socket, the watchdog and the metrics read it, and none of them is known
here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class LockedPicture:
    """Exposure, gain and frame time as the camera's own metadata confirmed them.

    Attributes:
        exposure_us: of every frame.
        gain: analogue.
        frame_us: time from frame to frame; for a triggered camera the shortest it can do.
    """

    exposure_us: int
    gain: float
    frame_us: int


@dataclass(frozen=True, slots=True)
class CameraHealth:
    """One camera at one moment.

    Attributes:
        id: what names the camera to the machine: libcamera's Id, a device's path, a folder.
        planes: which planes it gives.
        frames: good ones so far.
        last_frame_ns: CLOCK_MONOTONIC when the last good one was there; None before the first.
        due: True if another is expected by now; False while nothing should come, as when the belt that triggers the
            camera stands, or at the end of a file.
        lost: frames that never reached the loop, by cause.
        locked: None where the source locks nothing, or the camera has not confirmed yet.
    """

    id: str
    planes: tuple[str, ...]
    frames: int
    last_frame_ns: int | None
    due: bool = True
    lost: Mapping[str, int] = field(default_factory=dict)
    locked: LockedPicture | None = None

    def age_s(self, now_ns: int) -> float | None:
        """Return how long ago the last good frame was there; None before the first."""
        return None if self.last_frame_ns is None else max(0, now_ns - self.last_frame_ns) / 1e9


def stalled(cameras: Iterable[CameraHealth], now_ns: int, limit_s: float) -> tuple[CameraHealth, ...]:
    """Return the cameras that should have given a frame within the limit and did not.

    A camera without its first frame counts: the service is not ready before each has given one.
    """
    ages = ((camera, camera.age_s(now_ns)) for camera in cameras if camera.due)
    return tuple(camera for camera, age_s in ages if age_s is None or age_s > limit_s)
