"""Pictures of any camera or file that FFmpeg reads, by PyAV, as planes.

PyAV and not OpenCV: it hands on each picture's own time stamp and its planes where FFmpeg put them, says which error
came, and picamera2 needs it anyway. OpenCV's ``VideoCapture`` gives interleaved BGR, no stamp of the kernel's, and
False for whatever went wrong.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from pitcore.camera.library import av
from pitcore.config import Channel
from pitcore.errors import SourceError, first_line
from pitcore.frame import Geometry, Plane

_GBR = {"green": 0, "blue": 1, "red": 2}  # FFmpeg's planar RGB is green first


def open_film(  # PyAV is optional
    url: str, kind: str | None, options: Mapping[str, str], limits_s: tuple[float, float] | None = None
) -> Any:  # noqa: ANN401
    """Open a file or device for reading.

    Args:
        url: path, or what FFmpeg takes for one.
        kind: FFmpeg's name of the format; None lets it find out.
        options: of that format.
        limits_s: how long a server may send nothing, while it is opened and while it is read; None is for ever.

    Raises:
        SourceError: it is missing, or no pictures can be read from it.
    """
    library, started = av(), time.monotonic()
    try:
        film = library.open(url, format=kind, options=dict(options), timeout=limits_s)
    except (library.FFmpegError, ValueError) as error:
        if limits_s is not None and time.monotonic() - started >= limits_s[0]:
            raise silent(url, limits_s[0]) from error
        why = getattr(error, "strerror", None) or first_line(error)
        raise SourceError(f"{url}: cannot be opened: {why}; name a camera or film that FFmpeg reads") from error
    if not film.streams.video:
        film.close()
        raise SourceError(f"{url}: holds no pictures; name a film")
    return film


def silent(url: str, limit_s: float) -> SourceError:
    """Return the error of a server that sends nothing. FFmpeg has no code for it that every protocol uses."""
    return SourceError(f"{url}: sent nothing for {limit_s:g} s; check the camera or server, and the network")


class Cutter:
    """Cuts a frame's planes out of a picture.

    Args:
        channels: of the picture, one for each plane.
        window_px: column and row of the picture where the frame begins.
        geometry: of the frame.
    """

    def __init__(self, channels: tuple[Channel, ...], window_px: tuple[int, int], geometry: Geometry) -> None:
        self._channels, self._size = channels, (geometry.height_px, geometry.width_px)
        column, row = window_px
        self._rows = slice(row, row + geometry.height_px)
        self._columns = slice(column, column + geometry.width_px)

    def planes(self, picture: Any, where: str) -> tuple[Plane, ...]:  # noqa: ANN401  PyAV is optional
        """Return one (H, W) uint8 view for each channel; they hold FFmpeg's memory for as long as they live.

        Raises:
            SourceError: the frame does not lie within the picture.
        """
        if self._rows.stop > picture.height or self._columns.stop > picture.width:
            raise SourceError(
                f"{where}: gives pictures of {picture.width} x {picture.height} px, which do not hold the frame of "
                f"{self._size[1]} x {self._size[0]} from [source] window_px; correct [frame] or the window"
            )
        made: dict[str, Any] = {}
        planes = []
        for channel in self._channels:
            layout = "gray" if channel == "luma" else "gbrp"  # from most formats a conversion, and so a copy
            if layout not in made:
                made[layout] = picture.reformat(format=layout)
            planes.append(_view(made[layout].planes[_GBR.get(channel, 0)])[self._rows, self._columns])
        return tuple(planes)


def _view(plane: Any) -> Plane:  # noqa: ANN401  PyAV is optional
    """Return FFmpeg's plane as (H, stride) uint8, without a copy."""
    return np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)


def stamp_ns(picture: Any) -> int | None:  # noqa: ANN401  PyAV is optional
    """Return a picture's own time stamp in nanoseconds, None if it has none."""
    if picture.pts is None or picture.time_base is None:
        return None
    return int(picture.pts * picture.time_base * 1_000_000_000)
