"""A film or stream of the belt as a ``Source``: every picture is played, none is dropped."""

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

OPEN_S, SILENT_S = 5.0, 5.0  # a server that sends nothing for longer is broken


class VideoSource:
    """Implements ``camera.source.Source`` over what FFmpeg reads: a file, or the address of a stream.

    Stamps count from the film's beginning, so runs are the same.

    Args:
        config: ``[source]``.
        geometry: of the frames, as ``[frame]`` and ``[belt]`` say.
        ticks: where the belt is.
    """

    live = False
    noise: Noise = "none"

    def __init__(self, config: VideoSourceConfig, geometry: Geometry, ticks: Ticks) -> None:
        self._config, self.geometry, self._ticks = config, geometry, ticks
        self._cutter = Cutter(config.channels, config.window_px, geometry)
        self._film: Any = None
        self._lock = threading.Lock()  # a film that is closed while it is read ends the process
        self._closed = threading.Event()
        self._shots: Iterator[Shot] = iter(())
        self._given, self._ended = 0, False
        self._last_ns: int | None = None
        self._start_ns = 0
        self._first_stamp_ns = 0

    def start(self) -> None:
        """Open the file; see ``Source.start``."""
        self.close()
        self._closed.clear()
        path = Path(self._config.path)
        if path.exists() and not path.is_file():  # a pipe without a writer cannot even be opened: it hangs
            raise SourceError(f"{path}: is not a regular file; give [source] path a film, or the address of a stream")
        with self._lock:
            self._film = open_film(self._config.path, None, {}, None if path.exists() else (OPEN_S, SILENT_S))
            self._shots = shots(self._film)
            self._given, self._ended = 0, False
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
            raise SourceError(f"{where}: damaged after {self._given} pictures: {first_line(error)}") from error
        if shot is None:
            self._ended = True
            return None
        t_ns = self._since_first(shot)
        if self._config.paced:
            self._wait(t_ns, timeout_s)
        planes = self._cutter.planes(shot.picture, where)
        frame = Frame(self._given, t_ns, self._ticks.tick_at(t_ns), planes, damage=damage_of(shot, len(planes)))
        self._given, self._last_ns = self._given + 1, time.monotonic_ns()
        return frame

    def health(self) -> tuple[CameraHealth, ...]:
        """The film as one camera; see ``Source.health``."""
        names = self.geometry.plane_names
        return (CameraHealth(self._config.path, names, self._given, self._last_ns, due=not self._ended),)

    def close(self) -> None:
        """Close the file; frames that are still lent stay readable. Waits for a ``read`` that is under way."""
        self._closed.set()
        with self._lock:
            film, self._film = self._film, None
            if film is not None:
                film.close()

    def _since_first(self, shot: Shot) -> int:
        now_ns = shot.stamp_ns
        if now_ns is None:
            raise SourceError(f"{self._config.path}: picture {self._given} has no time stamp; convert it with FFmpeg")
        if self._given == 0:
            self._first_stamp_ns = now_ns
        return now_ns - self._first_stamp_ns

    def _wait(self, t_ns: int, timeout_s: float) -> None:
        wait_s = (self._start_ns + t_ns - time.monotonic_ns()) / 1e9
        if wait_s > timeout_s:
            raise SourceError(
                f"{self._config.path}: the next picture is due in {wait_s:.1f} s; set [source] paced = false"
            )
        self._closed.wait(max(0.0, wait_s))
