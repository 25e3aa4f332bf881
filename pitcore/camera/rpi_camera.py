"""One camera of a Raspberry Pi, by picamera2: opened by its id, locked, every frame taken, none copied.

Pairing and the belt are ``picamera``'s. picamera2 calls ``_arrived`` on its own thread for each good frame, with a lock
of its own held: there the frame is only judged, kept and handed on.
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
    """A good frame, kept from going back to the camera until its request is released once.

    Attributes:
        request: picamera2's.
        mid_ns: CLOCK_MONOTONIC at mid-exposure.
        damage: what libcamera says is wrong with its picture; empty if nothing is.
    """

    request: Any
    mid_ns: int
    damage: str = ""


class RpiCamera:
    """Opens one camera and hands on its good frames.

    Args:
        config: of this camera.
        shared: of all of them.
        geometry: of the frame that its planes are part of.
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
        """Let frames come. Raises SourceError."""
        self._started_ns = time.monotonic_ns()
        try:
            self._camera.pre_callback = self._arrived
            self._camera.start()
        except Exception as error:  # picamera2 passes on whatever libcamera raises
            raise SourceError(f"{self} cannot be started: {_why(error)}") from error

    def check(self, now_ns: int, timeout_s: float) -> None:
        """Raise SourceError if the camera broke, fell silent or never does what it is set to."""
        if self.failure is not None:
            raise self.failure
        seen, limit_s, frame_s = self.arrivals, self._shared.startup_s, self._shared.frame_us / 1e6
        last_ns = seen.last_new_ns
        # `due` allows a frame's time of its own, so that this comes within the time-out, not after it.
        silent_s = max(timeout_s - frame_s, 2 * frame_s) if last_ns is not None else limit_s
        if self._cadence.due(last_ns or self._started_ns, now_ns - round(silent_s * 1e9)):
            raise SourceError(
                f"{self} sent nothing for {silent_s + frame_s:.2g} s: it hangs, or its cable or power failed; the "
                "service has to restart"
            )
        if seen.bad_in_row * frame_s > limit_s:  # counted: a stopped belt that triggers nothing is no fault
            raise SourceError(f"{self} gave no good frame for {limit_s:g} s: {seen.doubt}; correct [source] cameras")

    def lend(self, shot: Shot) -> tuple[tuple[Plane, ...], Callable[[], None]]:
        """Return a frame's planes and what gives them back: views of the camera's buffer, except for colours."""
        mapped = self._library.MappedArray(shot.request, "main", write=False)
        window = mapped.__enter__().array[self._rows, self._columns]

        def release() -> None:
            mapped.__exit__(None, None, None)
            shot.request.release()

        if "luma" in self._config.channels:
            return (window,) * len(self._config.channels), release
        # copies, since the core wants the pixels of a row side by side, and here the colours are
        colours = tuple(np.ascontiguousarray(window[..., _BGR[channel]]) for channel in self._config.channels)
        release()
        return colours, _nothing

    def relock(self, exposure_us: int, gain: float) -> None:
        """Ask for another exposure and gain; frames are lost until the camera confirms. Raises SourceError."""
        self.arrivals.relock(self._lock(exposure_us, gain))
        if self._camera is None:
            return
        try:
            self._camera.set_controls(self._known(self.arrivals.lock.controls()))
        except Exception as error:  # picamera2 passes on whatever libcamera raises
            raise SourceError(f"{self} refuses the exposure: {_why(error)}") from error

    @property
    def exposure(self) -> tuple[int, float]:
        """What was last asked for: microseconds and gain."""
        return self.arrivals.lock.exposure_us, self.arrivals.lock.gain

    def health(self, now_ns: int) -> CameraHealth:
        """Return how the camera fares."""
        seen = self.arrivals
        lost = {cause: count for cause, count in sorted(dict(seen.lost).items()) if count}
        free = self._shared.trigger == "none"
        due = free or self._cadence.due(seen.last_new_ns or self._started_ns, now_ns)
        return CameraHealth(
            self._config.id, self._config.planes, seen.frames, seen.last_good_ns, due, lost, seen.locked
        )

    def closing(self) -> threading.Thread | None:
        """Begin to close the camera; None if it is not open. A camera without its cable may never come back from it."""
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
        """Judge a frame; keep it if it is good. On picamera2's thread, which an exception would end."""
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
        """Return where picamera2 lists the camera. Not its ``Num``: the list is sorted by id, the numbers are not."""
        found = [camera["Id"] for camera in library.Picamera2.global_camera_info()]
        if self._config.id not in found:
            raise SourceError(
                f"{self} is not connected; found: {', '.join(found) or 'none'}: check its cable, or give "
                "[source] cameras the id that `rpicam-hello --list-cameras` shows"
            )
        return found.index(self._config.id)

    def _configure(self) -> None:
        """Ask for the picture, and refuse another one than asked for."""
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
            queue=False,  # it would keep a buffer for a caller that we are not
        )
        self._camera.configure(wanted)
        given = self._camera.camera_configuration()["main"]
        if tuple(given["size"]) != self._picture_px or given["format"] != main["format"]:
            raise SourceError(
                f"{self} gives {given['size']} {given['format']} instead of {self._picture_px} {main['format']}; "
                "set [source] picture_px to a size that it has"
            )
        if self._config.sensor_crop_px is not None:
            crop = self._config.sensor_crop_px
            several = "ScalerCrops" in self._camera.camera_controls  # on a Raspberry Pi 5 one for each stream rules
            self._camera.set_controls({"ScalerCrops": [crop]} if several else {"ScalerCrop": crop})

    def _known(self, controls: dict[str, Any]) -> dict[str, Any]:
        """Leave out what this sensor does not have."""
        return {name: value for name, value in controls.items() if name in self._camera.camera_controls}

    def _in_step(self) -> dict[str, Any]:
        """Return what makes the first camera lead and the other follow."""
        if self._shared.sync == "none":
            return {}
        modes = libcamera().controls.rpi.SyncModeEnum
        return {"SyncMode": modes.Server if self._config is self._shared.cameras[0] else modes.Client}


def _damage(request: Any) -> str:  # noqa: ANN401  picamera2 has no types
    """Return what libcamera reports of a picture that the camera or its cable spoilt; empty if it is whole.

    ``FrameMetadata.status`` is ``Error`` if a transfer failed: part of the buffer is of an earlier frame.
    """
    states = {buffer.metadata.status.name for buffer in request.request.buffers.values()}
    bad = states & {"Error", "Cancelled"}
    return f"libcamera reports the frame's status {', '.join(sorted(bad))}; check the camera's cable" if bad else ""


def _nothing() -> None:
    return None


def _transform(flip: str) -> Any:  # noqa: ANN401  libcamera has no types
    return libcamera().Transform(hflip=flip in {"horizontal", "both"}, vflip=flip in {"vertical", "both"})


def _why(error: BaseException) -> str:
    """Return what went wrong at the bottom, for picamera2 wraps what libcamera says, and what helps against it."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{first_line(error)}; {_fix(error)}"


def _fix(error: BaseException) -> str:
    """Return what helps against what libcamera and the kernel are known to say."""
    text = str(error).lower()
    if "busy" in text or "acquire" in text:
        return "another program holds it: end it (`fuser -v /dev/media*`)"
    if (isinstance(error, OSError) and error.errno == errno.ENOMEM) or "alloc" in text:
        return "camera memory is used up: lower [source] buffers, or give it more (dtoverlay=cma,cma-512 in config.txt)"
    if isinstance(error, PermissionError):
        return "the user needs the group video"
    return "check its cable, and `rpicam-hello --list-cameras`"
