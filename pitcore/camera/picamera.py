"""Reads one or two cameras of a Raspberry Pi as a ``Source``.

Pairs the frames of the cameras by time, numbers them so that a gap in time is a gap in numbers, and returns every
buffer. ``rpi_camera`` handles a single camera. If a camera hangs, loses its cable or does not take its settings,
``read`` raises an error that names it; the service ends and systemd restarts it. The last picture is never repeated.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pitcore.camera.cadence import Cadence, FreeRunning, Triggered
from pitcore.camera.library import picamera2
from pitcore.camera.pairing import Left, Pairing
from pitcore.camera.rpi_camera import RpiCamera, Shot
from pitcore.camera.source import Exposure, ExposureLimits
from pitcore.camera.ticks import Ticks
from pitcore.config import Picamera2SourceConfig
from pitcore.errors import SourceError
from pitcore.frame import Frame, Geometry, Noise, Plane
from pitcore.health import CameraHealth

log = logging.getLogger(__name__)

QUEUE_FRAMES = 3  # for each camera: one may be half a frame's time ahead of the other, and the reader may be late
CLOSE_S = 1.0
POLL_S = 0.02  # how late a silent camera may be found
MAX_GAIN = 16.0  # of the IMX296, and of most sensors
TRIGGER_MODE = Path("/sys/module/imx296/parameters/trigger_mode")


class PicameraSource:
    """Implements ``camera.source.Source`` and ``Adjustable``.

    Args:
        config: ``[source]`` of the configuration.
        geometry: geometry of the frames, from ``[frame]`` and ``[belt]``.
        ticks: gives the encoder count at a time.
    """

    live = True
    noise: Noise = "sensor"
    settle_frames = 0  # frames with the old exposure are not delivered

    def __init__(self, config: Picamera2SourceConfig, geometry: Geometry, ticks: Ticks) -> None:
        self._config, self.geometry, self._ticks = config, geometry, ticks
        self._cadence: Cadence = FreeRunning(config.frame_us)
        if config.trigger_ticks is not None:
            self._cadence = Triggered(ticks, config.trigger_ticks)
        tolerance_us = config.pair_within_us or config.frame_us / 2
        self._pairing: Pairing[Shot] = Pairing(len(config.cameras), round(tolerance_us * 1000), QUEUE_FRAMES)
        self._changed = threading.Condition()  # guards the pairing; frames are released outside it
        self._closed = True
        self._last_ns: int | None = None  # mid-exposure of the last frame
        self._seq = 0
        self._unpaired = 0  # frames without a partner since the last pair
        self._cameras = tuple(
            RpiCamera(camera, config, geometry, self._cadence, self._deliver_for(number))
            for number, camera in enumerate(config.cameras)
        )
        names = config.plane_names
        self._order = tuple(names.index(name) for name in geometry.plane_names)

    def start(self) -> None:
        """Open every camera, then start them; see ``Source.start``."""
        if self._config.trigger == "external" or TRIGGER_MODE.exists():
            _check_trigger(self._config.trigger)  # before the import: picamera2 sets the variable that this checks
        library = picamera2()
        self._closed, self._last_ns, self._seq, self._unpaired = False, None, 0, 0
        try:
            for camera in self._cameras:
                camera.open(library)
            for camera in self._cameras:
                camera.start()
        except SourceError:
            self.close()
            raise

    def read(self, timeout_s: float) -> Frame | None:
        """Wait for one frame of every camera, exposed at the same time; see ``Source.read``.

        Returns None after ``close``. While nothing triggers the cameras no frame is due, so it waits.
        """
        while not self._closed:
            with self._changed:
                shots, unpaired = self._pairing.take()
                if not shots and not unpaired:
                    self._changed.wait(POLL_S)
            self._give_up(unpaired)
            if shots:
                return self._frame([shot for _, shot in shots])
            self._check(timeout_s)
        return None

    def health(self) -> tuple[CameraHealth, ...]:
        """See ``Source.health``."""
        now_ns = time.monotonic_ns()
        return tuple(camera.health(now_ns) for camera in self._cameras)

    def close(self) -> None:
        """Close every camera; see ``Source.close``.

        Waits a second at most, because the call for a camera without its cable may never return. A ``read`` on another
        thread returns None.
        """
        with self._changed:
            self._closed = True
            waiting = self._pairing.clear()
            self._changed.notify_all()
        for shot in waiting:
            shot.request.release()
        deadline_ns = time.monotonic_ns() + round(CLOSE_S * 1e9)
        for thread in [thread for camera in self._cameras if (thread := camera.closing())]:
            thread.join(max(0.0, (deadline_ns - time.monotonic_ns()) / 1e9))
            if thread.is_alive():
                log.warning("%s does not return; its thread is left running until this process ends", thread.name)

    @property
    def exposures(self) -> tuple[Exposure, ...]:
        """See ``Adjustable``."""
        asked = [
            camera.exposure
            for camera, config in zip(self._cameras, self._config.cameras, strict=True)
            for _ in config.planes
        ]
        return tuple(Exposure(*asked[place]) for place in self._order)

    @property
    def exposure_limits(self) -> ExposureLimits:
        """See ``Adjustable``. An exposure must be shorter than the interval between frames."""
        return ExposureLimits(10.0, float(self._config.frame_us - 1000), MAX_GAIN)

    def set_exposures(self, wanted: Sequence[Exposure]) -> None:
        """See ``Adjustable``; planes of one camera have one exposure."""
        names, limits = self.geometry.plane_names, self.exposure_limits
        if len(wanted) != len(names):
            raise SourceError(f"{len(wanted)} exposures for the planes {', '.join(names)}; give one for each")
        of_plane = dict(zip(names, wanted, strict=True))
        for camera, config in zip(self._cameras, self._config.cameras, strict=True):
            asked = {of_plane[name] for name in config.planes}
            if len(asked) > 1:
                raise SourceError(f"{camera}: its planes are one exposure; give both the same")
            (one,) = asked
            if not (limits.min_us <= one.exposure_us <= limits.max_us and 1.0 <= one.gain <= limits.max_gain):
                raise SourceError(f"{camera}: {one} is beyond {limits}")
            if self._config.trigger == "external" and round(one.exposure_us) != camera.exposure[0]:
                raise SourceError(f"{camera}: the trigger's pulse exposes it; make the pulse longer or shorter")
            if (round(one.exposure_us), one.gain) != camera.exposure:
                camera.relock(round(one.exposure_us), one.gain)

    def _deliver_for(self, number: int) -> Callable[[Shot], None]:
        """Return the callback that receives a camera's frames on that camera's thread."""

        def deliver(shot: Shot) -> None:
            with self._changed:
                left = [Left(number, "closed", shot)] if self._closed else self._pairing.add(number, shot.mid_ns, shot)
                self._changed.notify()
            self._give_up(left)

        return deliver

    def _give_up(self, left: Sequence[Left[Shot]]) -> None:
        """Count frames that will not be part of a pair, and release them."""
        with self._changed:  # two camera threads and the reader count here
            for frame in left:
                self._cameras[frame.camera].arrivals.lost[frame.cause] += 1
                self._unpaired += frame.cause == "unpaired"
        for frame in left:
            frame.item.request.release()

    def _check(self, timeout_s: float) -> None:
        now_ns, limit_s = time.monotonic_ns(), self._config.startup_s
        for camera in self._cameras:
            camera.check(now_ns, timeout_s)
        if self._unpaired * self._config.frame_us > 2e6 * limit_s:  # twice as many as a late start costs
            raise SourceError(
                f"{' and '.join(map(str, self._cameras))} expose at different moments and gave no pair for "
                f'{limit_s:g} s: trigger them together, or set [source] sync = "software"'
            )

    def _frame(self, shots: Sequence[Shot]) -> Frame:
        """Combine one frame of each camera into a ``Frame``."""
        self._unpaired = 0
        mid_ns = sum(shot.mid_ns for shot in shots) // len(shots)
        if self._last_ns is not None:
            self._seq += max(1, self._cadence.steps(self._last_ns, mid_ns))
        self._last_ns = mid_ns
        lent = [camera.lend(shot) for camera, shot in zip(self._cameras, shots, strict=True)]
        planes: list[Plane] = [plane for views, _ in lent for plane in views]
        faults = [shot.damage or None for shot, (views, _) in zip(shots, lent, strict=True) for _ in views]
        damage = tuple(faults[place] for place in self._order) if any(faults) else ()

        def release() -> None:
            for _, give_back in lent:
                give_back()

        ordered = tuple(planes[place] for place in self._order)
        return Frame(self._seq, mid_ns, self._ticks.tick_at(mid_ns), ordered, release, damage)


def _check_trigger(wanted: str) -> None:
    """Compare the trigger mode of the sensor's driver with ``[source] trigger``. Raises SourceError."""
    try:
        triggered = TRIGGER_MODE.read_text(encoding="ascii").strip() not in {"0", "N"}
    except OSError as error:
        raise SourceError(
            f"{TRIGGER_MODE}: {error.strerror}; an external trigger needs the IMX296 and its driver: "
            'connect it, or set [source] trigger = "none"'
        ) from error
    if triggered != (wanted == "external"):
        raise SourceError(
            f'[source] trigger = "{wanted}", but {TRIGGER_MODE} says {int(triggered)}: write `options imx296 '
            f"trigger_mode={int(wanted == 'external')}` into /etc/modprobe.d/imx296.conf and restart the board"
        )
    if triggered and "LIBCAMERA_RPI_CONFIG_FILE" not in os.environ:
        log.warning(
            "libcamera stops a camera that waits long for its trigger; set LIBCAMERA_RPI_CONFIG_FILE to a file "
            "with a longer camera_timeout_value_ms, for example /usr/share/pitcore/libcamera/trigger-pisp.json; "
            "for the service write it into /etc/pitcore/service.env"
        )
