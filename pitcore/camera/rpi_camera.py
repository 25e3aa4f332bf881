"""Opens one camera of a Raspberry Pi through picamera2, by its id, locks its settings and delivers its good frames.

``picamera`` pairs the frames and knows the belt. picamera2 calls ``_arrived`` for every frame on its own thread and
holds a lock during the call. So ``_arrived`` only judges the frame, acquires its request and delivers it.
"""

from __future__ import annotations

import errno
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from pitcore.camera.arrivals import Arrivals
from pitcore.camera.cadence import Cadence
from pitcore.camera.library import libcamera
from pitcore.camera.lock import Lock
from pitcore.config import CameraConfig, Picamera2SourceConfig
from pitcore.errors import SourceError, first_line
from pitcore.frame import Geometry, Plane
from pitcore.health import CameraHealth

log = logging.getLogger(__name__)

_BGR = {"blue": 0, "green": 1, "red": 2}  # libcamera's RGB888 is blue first in memory


@dataclass(frozen=True, slots=True)
class Shot:
    """A good frame. Its buffer returns to the camera when its request is released.

    Attributes:
        request: picamera2's request, acquired once.
        mid_ns: time of mid-exposure, CLOCK_MONOTONIC in nanoseconds.
        damage: damage that libcamera reports; empty if none.
    """

    request: Any
    mid_ns: int
    damage: str = ""


class RpiCamera:
    """Opens one camera and delivers its good frames.

    Args:
        config: configuration of this camera.
        shared: configuration of all cameras.
        geometry: geometry of the frame to which the camera's planes belong.
        cadence: when frames are due.
        deliver: called with each good frame, on the camera's thread; must not wait.
    """

    def __init__(
        self,
        config: CameraConfig,
        shared: Picamera2SourceConfig,
        geometry: Geometry,
        cadence: Cadence,
        deliver: Callable[[Shot], None],
    ) -> None:
        self._config, self._shared, self._cadence, self._deliver = config, shared, cadence, deliver
        self._picture_px = shared.picture_for(geometry.width_px, geometry.height_px)
        column, row = config.window_px
        self._rows = slice(row, row + geometry.height_px)
        self._columns = slice(column, column + geometry.width_px)
        self._camera: Any = None
        self._library: Any = None
        self._started_ns = 0
        self.failure: Exception | None = None
        self.arrivals = self._arrivals(self._lock(config.exposure_us, config.gain))

    def __str__(self) -> str:
        return f"camera {' + '.join(self._config.planes)} ({self._config.id})"

    def open(self, library: ModuleType) -> None:
        """Open and configure the camera, by its id. Raises SourceError."""
        self._library, self.failure, self.arrivals = library, None, self._arrivals(self.arrivals.lock)
        try:
            self._camera = library.Picamera2(self._place(library))
            self._configure()
        except SourceError:
            raise
        except Exception as error:  # picamera2 passes on whatever libcamera raises
            raise SourceError(f"{self} cannot be opened: {_why(error)}") from error

    def start(self) -> None:
        """Start the camera. Raises SourceError."""
        self._started_ns = time.monotonic_ns()
        try:
            self._camera.pre_callback = self._arrived
            self._camera.start()
        except Exception as error:  # picamera2 passes on whatever libcamera raises
            raise SourceError(f"{self} cannot be started: {_why(error)}") from error

    def check(self, now_ns: int, timeout_s: float) -> None:
        """Raise SourceError if the camera failed, sends nothing, or does not take its settings."""
        if self.failure is not None:
            raise self.failure
        seen, limit_s, frame_s = self.arrivals, self._shared.startup_s, self._shared.frame_us / 1e6
        last_ns = seen.last_new_ns
        # `due` itself allows one frame's time, which is subtracted here to stay within the time-out.
        silent_s = max(timeout_s - frame_s, 2 * frame_s) if last_ns is not None else limit_s
        if self._cadence.due(last_ns or self._started_ns, now_ns - round(silent_s * 1e9)):
            raise SourceError(
                f"{self} sent nothing for {silent_s + frame_s:.2g} s: it hangs, or its cable or power failed; the "
                "service has to restart"
            )
        if seen.bad_in_row * frame_s > limit_s:  # counts frames, not time: a stopped belt triggers no frames
            raise SourceError(f"{self} gave no good frame for {limit_s:g} s: {seen.doubt}; correct [source] cameras")

    def lend(self, shot: Shot) -> tuple[tuple[Plane, ...], Callable[[], None]]:
        """Return a frame's planes, (H, W) uint8 each, and the function that releases them.

        A luma plane is a view of the camera's buffer; colour planes are copies.
        """
        mapped = self._library.MappedArray(shot.request, "main", write=False)
        window = mapped.__enter__().array[self._rows, self._columns]

        def release() -> None:
            mapped.__exit__(None, None, None)
            shot.request.release()

        if "luma" in self._config.channels:
            return (window,) * len(self._config.channels), release
        # copies: the core needs adjacent pixels in a row, and the camera interleaves the colours
        colours = tuple(np.ascontiguousarray(window[..., _BGR[channel]]) for channel in self._config.channels)
        release()
        return colours, _nothing

    def relock(self, exposure_us: int, gain: float) -> None:
        """Request another exposure and gain. Frames are lost until the camera confirms. Raises SourceError."""
        self.arrivals.relock(self._lock(exposure_us, gain))
        if self._camera is None:
            return
        try:
            self._camera.set_controls(self._known(self.arrivals.lock.controls()))
        except Exception as error:  # picamera2 passes on whatever libcamera raises
            raise SourceError(f"{self} refuses the exposure: {_why(error)}") from error

    @property
    def exposure(self) -> tuple[int, float]:
        """The last requested exposure in microseconds and gain."""
        return self.arrivals.lock.exposure_us, self.arrivals.lock.gain

    def health(self, now_ns: int) -> CameraHealth:
        """Return the camera's health at a time (CLOCK_MONOTONIC in nanoseconds)."""
        seen = self.arrivals
        lost = {cause: count for cause, count in sorted(dict(seen.lost).items()) if count}
        free = self._shared.trigger == "none"
        due = free or self._cadence.due(seen.last_new_ns or self._started_ns, now_ns)
        return CameraHealth(
            self._config.id, self._config.planes, seen.frames, seen.last_good_ns, due, lost, seen.locked
        )

    def closing(self) -> threading.Thread | None:
        """Close the camera on a new thread and return the thread; None if the camera is not open.

        The call may never return for a camera without its cable.
        """
        camera, self._camera = self._camera, None
        if camera is None:
            return None
        thread = threading.Thread(target=self._close, args=(camera,), name=f"close {self}", daemon=True)
        thread.start()
        return thread

    def _close(self, camera: Any) -> None:  # noqa: ANN401  picamera2 has no types
        try:
            camera.pre_callback = None
            camera.close()
        except Exception as error:  # noqa: BLE001  a camera that broke may break again; the process ends in any case
            log.warning("%s did not close: %s", self, first_line(error))

    def _arrived(self, request: Any) -> None:  # noqa: ANN401  picamera2 has no types
        """Judge a frame and deliver it if it is good. Runs on picamera2's thread, which an exception would end."""
        try:
            mid_ns = self.arrivals.judge(request.get_metadata(), time.monotonic_ns())
            if mid_ns is not None:
                request.acquire()
                self._deliver(Shot(request, mid_ns, _damage(request)))
        except Exception as error:  # noqa: BLE001  raised where frames are read, by ``check``
            self.failure = error

    def _arrivals(self, lock: Lock) -> Arrivals:
        return Arrivals(str(self), lock, self._cadence, sync=self._shared.sync == "software")

    def _lock(self, exposure_us: int, gain: float) -> Lock:
        return Lock(exposure_us, gain, self._shared.frame_us if self._shared.trigger == "none" else None)

    def _place(self, library: ModuleType) -> int:
        """Return the camera's index in picamera2's list. Not its ``Num``: the list is sorted by id, ``Num`` is not."""
        ids = [camera["Id"] for camera in library.Picamera2.global_camera_info()]
        if self._config.id not in ids:
            raise SourceError(
                f"{self} is not connected; found: {', '.join(ids) or 'none'}: check its cable, or give "
                "[source] cameras the id that `rpicam-hello --list-cameras` shows"
            )
        return ids.index(self._config.id)

    def _configure(self) -> None:
        """Configure the camera. Raises SourceError if it chooses another picture size or format than requested."""
        colours = "luma" not in self._config.channels
        main = {"size": self._picture_px, "format": "RGB888" if colours else "YUV420"}
        controls = self._lock(*self.exposure).controls() | {"ColourGains": self._config.colour_gains}
        wanted = self._camera.create_video_configuration(
            main=main,
            raw=None,  # its default would allocate a second, raw stream
            transform=_transform(self._config.flip),
            buffer_count=self._shared.buffers,
            controls=self._known(controls | self._in_step()),
            display=None,
            encode=None,
            queue=False,  # a queue would keep one buffer for a caller of capture_request, which is not used here
        )
        self._camera.configure(wanted)
        actual = self._camera.camera_configuration()["main"]
        if tuple(actual["size"]) != self._picture_px or actual["format"] != main["format"]:
            raise SourceError(
                f"{self} gives {actual['size']} {actual['format']} instead of {self._picture_px} {main['format']}; "
                "set [source] picture_px to a size that it has"
            )
        if self._config.sensor_crop_px is not None:
            crop = self._config.sensor_crop_px
            several = "ScalerCrops" in self._camera.camera_controls  # on a Raspberry Pi 5: one for each stream
            self._camera.set_controls({"ScalerCrops": [crop]} if several else {"ScalerCrop": crop})

    def _known(self, controls: dict[str, Any]) -> dict[str, Any]:
        """Return the controls that this sensor has."""
        return {name: value for name, value in controls.items() if name in self._camera.camera_controls}

    def _in_step(self) -> dict[str, Any]:
        """Return the controls for software synchronisation: the first camera is the server, the other the client."""
        if self._shared.sync == "none":
            return {}
        modes = libcamera().controls.rpi.SyncModeEnum
        return {"SyncMode": modes.Server if self._config is self._shared.cameras[0] else modes.Client}


def _damage(request: Any) -> str:  # noqa: ANN401  picamera2 has no types
    """Return the damage that libcamera reports for a picture; empty if none.

    ``FrameMetadata.status`` is ``Error`` if a transfer failed: part of the buffer then holds an earlier frame.
    """
    states = {buffer.metadata.status.name for buffer in request.request.buffers.values()}
    bad = states & {"Error", "Cancelled"}
    return f"libcamera reports the frame's status {', '.join(sorted(bad))}; check the camera's cable" if bad else ""


def _nothing() -> None:
    return None


def _transform(flip: str) -> Any:  # noqa: ANN401  libcamera has no types
    return libcamera().Transform(hflip=flip in {"horizontal", "both"}, vflip=flip in {"vertical", "both"})


def _why(error: BaseException) -> str:
    """Return the message of the innermost cause, since picamera2 wraps libcamera's errors, and how to fix it."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{first_line(error)}; {_fix(error)}"


def _fix(error: BaseException) -> str:
    """Return how to fix a known error of libcamera or the kernel."""
    text = str(error).lower()
    if "busy" in text or "acquire" in text:
        return "another program holds it: end it (`fuser -v /dev/media*`)"
    if (isinstance(error, OSError) and error.errno == errno.ENOMEM) or "alloc" in text:
        return "camera memory is used up: lower [source] buffers, or give it more (dtoverlay=cma,cma-512 in config.txt)"
    if isinstance(error, PermissionError):
        return "the user needs the group video"
    return "check its cable, and `rpicam-hello --list-cameras`"
