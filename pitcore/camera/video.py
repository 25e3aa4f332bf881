"""Plays a film or stream of the belt as a ``Source``: every picture is delivered, none is dropped."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pitcore.camera.film import Cutter, Shot, damage_of, open_film, shots, silent
from pitcore.camera.library import av
from pitcore.camera.ticks import Ticks
from pitcore.config import VideoSourceConfig
from pitcore.errors import SourceError, first_line
from pitcore.frame import Frame, Geometry, Noise
from pitcore.health import CameraHealth

OPEN_S, SILENT_S = 5.0, 5.0  # a server that sends nothing for longer has failed


class VideoSource:
    """Implements ``camera.source.Source`` over a file or stream that FFmpeg reads.

    Time stamps count from the beginning of the film, so every run gives the same stamps.

    Args:
        config: ``[source]`` of the configuration.
        geometry: geometry of the frames, from ``[frame]`` and ``[belt]``.
        ticks: gives the encoder count at a time.
    """

    live = False
    noise: Noise = "none"

    def __init__(self, config: VideoSourceConfig, geometry: Geometry, ticks: Ticks) -> None:
        self._config, self.geometry, self._ticks = config, geometry, ticks
        self._cutter = Cutter(config.channels, config.window_px, geometry)
        self._film: Any = None
        self._lock = threading.Lock()  # closing a film during a read would crash the process
        self._closed = threading.Event()
        self._shots: Iterator[Shot] = iter(())
        self._delivered, self._ended = 0, False
        self._last_ns: int | None = None
        self._start_ns = 0
        self._first_stamp_ns = 0

    def start(self) -> None:
        """Open the file; see ``Source.start``."""
        self.close()
        self._closed.clear()
        path = Path(self._config.path)
        if path.exists() and not path.is_file():  # opening a pipe without a writer would hang
            raise SourceError(f"{path}: is not a regular file; give [source] path a film, or the address of a stream")
        with self._lock:
            self._film = open_film(self._config.path, None, {}, None if path.exists() else (OPEN_S, SILENT_S))
            self._shots = shots(self._film)
            self._delivered, self._ended = 0, False
            self._start_ns = time.monotonic_ns()

    def read(self, timeout_s: float) -> Frame | None:
        """Lend the next picture; None after the last; see ``Source.read``."""
        with self._lock:
            return self._next(timeout_s)

    def _next(self, timeout_s: float) -> Frame | None:
        where = self._config.path
        if self._film is None:
            raise SourceError(f"{where}: the film is not started; call start first")
        asked = time.monotonic()
        try:
            shot = next(self._shots, None)
        except av().FFmpegError as error:
            if time.monotonic() - asked >= SILENT_S:
                raise silent(where, SILENT_S) from error
            raise SourceError(f"{where}: damaged after {self._delivered} pictures: {first_line(error)}") from error
        if shot is None:
            self._ended = True
            return None
        t_ns = self._since_first(shot)
        if self._config.paced:
            self._wait(t_ns, timeout_s)
        planes = self._cutter.planes(shot.picture, where)
        frame = Frame(self._delivered, t_ns, self._ticks.tick_at(t_ns), planes, damage=damage_of(shot, len(planes)))
        self._delivered, self._last_ns = self._delivered + 1, time.monotonic_ns()
        return frame

    def health(self) -> tuple[CameraHealth, ...]:
        """Report the film as one camera; see ``Source.health``."""
        names = self.geometry.plane_names
        return (CameraHealth(self._config.path, names, self._delivered, self._last_ns, due=not self._ended),)

    def close(self) -> None:
        """Close the file; borrowed frames stay readable. Waits for a ``read`` on another thread to end."""
        self._closed.set()
        with self._lock:
            film, self._film = self._film, None
            if film is not None:
                film.close()

    def _since_first(self, shot: Shot) -> int:
        now_ns = shot.stamp_ns
        if now_ns is None:
            number = self._delivered
            raise SourceError(f"{self._config.path}: picture {number} has no time stamp; convert it with FFmpeg")
        if self._delivered == 0:
            self._first_stamp_ns = now_ns
        return now_ns - self._first_stamp_ns

    def _wait(self, t_ns: int, timeout_s: float) -> None:
        wait_s = (self._start_ns + t_ns - time.monotonic_ns()) / 1e9
        if wait_s > timeout_s:
            raise SourceError(
                f"{self._config.path}: the next picture is due in {wait_s:.1f} s; set [source] paced = false"
            )
        self._closed.wait(max(0.0, wait_s))
