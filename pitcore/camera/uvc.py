"""Reads a USB camera as a ``Source``, through Video4Linux: for a laptop or a bench test.

Such a camera sets its own exposure, so the exposure is not locked. Do not use it on a production line.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from pathlib import Path

from pitcore.camera.cadence import FreeRunning
from pitcore.camera.film import Cutter, Shot, damage_of, open_film, shots
from pitcore.camera.library import av
from pitcore.camera.stamps import StampClock
from pitcore.camera.ticks import Ticks
from pitcore.config import UvcSourceConfig
from pitcore.errors import SourceError, first_line
from pitcore.frame import Frame, Geometry, Noise
from pitcore.health import CameraHealth

QUEUE_FRAMES = 2
STARTUP_S = 5.0  # some cameras need seconds for their first picture
STOP_S = 1.0


class UvcSource:
    """Implements ``camera.source.Source`` over a device. A thread reads it, since the kernel may never return.

    Args:
        config: ``[source]`` of the configuration.
        geometry: geometry of the frames, from ``[frame]`` and ``[belt]``.
        ticks: gives the encoder count at a time.
        kind: FFmpeg's name of the input format.
    """

    live = True
    noise: Noise = "compressed"  # most of them send JPEGs

    def __init__(
        self, config: UvcSourceConfig, geometry: Geometry, ticks: Ticks, kind: str | None = "video4linux2"
    ) -> None:
        self._config, self.geometry, self._ticks, self._kind = config, geometry, ticks, kind
        self._cutter = Cutter(config.channels, config.window_px, geometry)
        self._cadence = FreeRunning(round(1e6 / config.frames_per_s))
        self._changed = threading.Condition()
        self._queue: deque[tuple[int, Shot]] = deque()  # (CLOCK_MONOTONIC in ns, picture)
        self._lost: Counter[str] = Counter()
        self._failure: Exception | None = None
        self._reader: threading.Thread | None = None
        self._stopping = threading.Event()
        self._seq, self._frames = 0, 0
        self._stamp_ns: int | None = None
        self._put_ns: int | None = None
        self._arrived_ns: int | None = None
        self._started_ns = 0

    def start(self) -> None:
        """See ``Source.start``."""
        av()  # raises here, on the caller's thread, if PyAV is missing
        if not Path(self._config.device).exists():
            raise SourceError(
                f"{self._config.device}: no such camera; plug it in, or give [source] device one that "
                "`v4l2-ctl --list-devices` shows"
            )
        self._stopping.clear()
        self._queue.clear()
        self._failure = self._stamp_ns = self._put_ns = self._arrived_ns = None
        self._started_ns = time.monotonic_ns()
        self._reader = threading.Thread(target=self._read_all, name=f"camera {self._config.device}", daemon=True)
        self._reader.start()

    def read(self, timeout_s: float) -> Frame | None:
        """Wait for the next picture; see ``Source.read``. Returns None after ``close``."""
        with self._changed:
            while not self._queue:
                if self._stopping.is_set():
                    return None
                if self._failure is not None:
                    raise self._failure
                self._wait(timeout_s)
            t_ns, shot = self._queue.popleft()
            seq = self._seq_of(t_ns)
        planes = self._cutter.planes(shot.picture, self._config.device)
        return Frame(seq, t_ns, self._ticks.tick_at(t_ns), planes, damage=damage_of(shot, len(planes)))

    def health(self) -> tuple[CameraHealth, ...]:
        """See ``Source.health``."""
        names, lost = self.geometry.plane_names, {cause: count for cause, count in dict(self._lost).items() if count}
        return (CameraHealth(self._config.device, names, self._frames, self._arrived_ns, lost=lost),)

    def close(self) -> None:
        """Stop the reader thread. If the kernel blocks it, it stays until the process ends."""
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()
        if self._reader is not None:
            self._reader.join(STOP_S)

    def _wait(self, timeout_s: float) -> None:
        """Wait for the reader thread. Raises SourceError if the camera sends nothing for too long."""
        since_ns, limit_s = self._arrived_ns or self._started_ns, timeout_s if self._arrived_ns else STARTUP_S
        left_s = limit_s - (time.monotonic_ns() - since_ns) / 1e9
        if left_s <= 0:
            raise SourceError(
                f"camera {self._config.device} sent nothing for {limit_s:g} s: it hangs, or its cable failed; the "
                "service has to restart"
            )
        self._changed.wait(left_s)

    def _seq_of(self, t_ns: int) -> int:
        """Return the number of a picture; a gap in time is a gap in numbers."""
        if self._stamp_ns is not None:
            self._seq += max(1, self._cadence.steps(self._stamp_ns, t_ns))
        self._stamp_ns = t_ns
        return self._seq

    def _read_all(self) -> None:
        """Read until ``close`` or until the camera is unplugged. ``read`` raises the error, if there was one."""
        try:
            with open_film(self._config.device, self._kind, self._options()) as film:
                clock = StampClock(f"camera {self._config.device}")
                for shot in shots(film):
                    if self._stopping.is_set():
                        return
                    self._put(clock, shot)
            self._fail(SourceError(f"camera {self._config.device} ended: it was unplugged; plug it in again"))
        except SourceError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001  without this the camera would seem to hang, with no cause reported
            self._fail(SourceError(f"camera {self._config.device} broke: {first_line(error)}; plug it in again"))

    def _put(self, clock: StampClock, shot: Shot) -> None:
        if shot.stamp_ns is None:
            raise SourceError(f"camera {self._config.device}: its pictures carry no time stamp")
        t_ns = clock.monotonic_ns(shot.stamp_ns)
        with self._changed:
            if len(self._queue) >= QUEUE_FRAMES:
                self._queue.popleft()
                self._lost["queue_full"] += 1
            if self._put_ns is not None:
                self._lost["sensor"] += max(0, self._cadence.steps(self._put_ns, t_ns) - 1)
            self._put_ns = t_ns
            self._queue.append((t_ns, shot))
            self._frames, self._arrived_ns = self._frames + 1, time.monotonic_ns()
            self._changed.notify()

    def _fail(self, error: Exception) -> None:
        with self._changed:
            self._failure = error
            self._changed.notify()

    def _options(self) -> dict[str, str]:
        """Return FFmpeg's options for the device."""
        if self._kind != "video4linux2":
            return {}
        width_px, height_px = self._config.picture_px or (self.geometry.width_px, self.geometry.height_px)
        options = {"video_size": f"{width_px}x{height_px}", "framerate": f"{self._config.frames_per_s:g}"}
        if self._config.pixel_format is not None:
            options["input_format"] = self._config.pixel_format
        return options
