"""Reads pictures from any camera or file that FFmpeg supports, through PyAV, and returns them as planes.

FFmpeg fills missing parts of a picture with grey or with the previous picture. So a picture with damage is marked as
damaged.

PyAV is used instead of OpenCV because it gives the time stamp of each picture, a view of FFmpeg's own planes, and the
error that occurred; picamera2 needs it anyway. OpenCV's ``VideoCapture`` gives interleaved BGR, no kernel time stamp,
and only False for every error.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from pitcore.camera.integrity import jpeg_fault
from pitcore.camera.library import av
from pitcore.config import Channel
from pitcore.errors import SourceError, first_line
from pitcore.frame import Geometry, Plane

_GBR = {"green": 0, "blue": 1, "red": 2}  # FFmpeg's planar RGB is green first
# Without this, decoders ignore wrong checksums and invalid bits.
_STRICT = {"err_detect": "crccheck+bitstream+buffer+explode"}


class Shot(NamedTuple):
    """One picture of a film.

    Attributes:
        stamp_ns: its time stamp in nanoseconds, None if it has none.
        picture: PyAV's frame; None if nothing could be decoded.
        damage: what is damaged; empty if nothing is.
    """

    stamp_ns: int | None
    picture: Any
    damage: str


def open_film(  # PyAV is optional
    url: str, kind: str | None, options: Mapping[str, str], limits_s: tuple[float, float] | None = None
) -> Any:  # noqa: ANN401
    """Open a file or device for reading.

    Args:
        url: a path or URL that FFmpeg accepts.
        kind: FFmpeg's name of the format; None lets FFmpeg detect it.
        options: FFmpeg's options of that format.
        limits_s: how long a server may send nothing, in seconds, during opening and during reading; None for no limit.

    Returns:
        PyAV's input container.

    Raises:
        SourceError: the file is missing, or no pictures can be read from it.
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
    stream = film.streams.video[0]
    stream.thread_type = "SLICE"  # decodes one picture at a time, so that an error belongs to that picture
    stream.codec_context.options = _STRICT
    library.logging.set_level(library.logging.FATAL)  # errors are counted and not printed
    return film


def silent(url: str, limit_s: float) -> SourceError:
    """Return the error for a server that sends nothing. FFmpeg has no error code for it that every protocol uses."""
    return SourceError(f"{url}: sent nothing for {limit_s:g} s; check the camera or server, and the network")


def shots(film: Any) -> Iterator[Shot]:  # noqa: ANN401  PyAV is optional
    """Decode a film, picture by picture, and mark damaged pictures.

    A picture is damaged if its decoder reports or conceals an error, or if its JPEG has no end marker. In a format
    with inter-frame compression, the following pictures are damaged too, up to the next key frame.

    Yields:
        Every picture in the order of the time stamps, including pictures of which nothing could be decoded.

    Raises:
        FFmpegError: from PyAV, if the file cannot be read further.
    """
    last_ns: int | None = None
    lasting: _LastingDamage | None = None
    for packet in film.demux(video=0):
        pictures, fault = _decoded(packet)
        if fault:
            lasting = _LastingDamage(fault, stamp_ns(packet))
        stamped = [(stamp_ns(picture), picture) for picture in pictures]
        if fault and not stamped:
            stamped = [(stamp_ns(packet), None)]
        for at_ns, picture in stamped:
            if lasting is not None and not fault and lasting.ends_with(at_ns, picture):
                lasting = None
            damage = "" if lasting is None else lasting.fault
            if damage and at_ns is not None and last_ns is not None and at_ns <= last_ns:
                continue  # damaged and out of order: a damaged picture with a later stamp was yielded before it
            last_ns = at_ns
            yield Shot(at_ns, picture, damage)


class _LastingDamage(NamedTuple):
    """Damage that also affects the following pictures, and the stamp of the packet in which it was found."""

    fault: str
    since_ns: int | None

    def ends_with(self, at_ns: int | None, picture: Any) -> bool:  # noqa: ANN401  PyAV is optional
        """Return True if a picture does not depend on the damaged ones: a key frame with a later stamp."""
        later = at_ns is None or self.since_ns is None or at_ns > self.since_ns
        return later and picture is not None and bool(picture.key_frame)


def _decoded(packet: Any) -> tuple[list[Any], str]:  # noqa: ANN401  PyAV is optional
    """Decode a packet. Return its pictures and what is damaged; an empty string if nothing is."""
    library = av()
    if not packet.size:
        # An empty packet without a stamp marks the end of the film: the decoder returns the pictures it still holds.
        return ([], "the camera gave an empty picture") if packet.pts is not None else (packet.decode(), "")
    fault = "the camera's driver reports damage" if packet.is_corrupt else ""
    if not fault and packet.stream.codec_context.name == "mjpeg":
        fault = jpeg_fault(bytes(packet)) or ""  # copies one compressed picture
    errors, _ = library.logging.get_last_error()
    try:
        pictures = packet.decode()
    except library.FFmpegError as error:
        return [], fault or f"it cannot be decoded: {first_line(error)}"
    errors_now, last_error = library.logging.get_last_error()
    if not fault and errors_now != errors:
        fault = f"its decoder reports an error: {last_error[2].strip()}"
    if not fault and any(picture.is_corrupt for picture in pictures):
        fault = "its decoder conceals an error"
    return pictures, fault


def damage_of(shot: Shot, planes: int) -> tuple[str | None, ...]:
    """Return a shot's damage as ``Frame.damage``: the same for each plane, because one picture shows all planes."""
    return (shot.damage,) * planes if shot.damage else ()


class Cutter:
    """Cuts a frame's planes out of a picture.

    Args:
        channels: the picture's channel for each plane.
        window_px: column and row in the picture of the frame's top left pixel.
        geometry: geometry of the frame.
    """

    def __init__(self, channels: tuple[Channel, ...], window_px: tuple[int, int], geometry: Geometry) -> None:
        self._channels, self._size = channels, (geometry.height_px, geometry.width_px)
        column, row = window_px
        self._rows = slice(row, row + geometry.height_px)
        self._columns = slice(column, column + geometry.width_px)

    def planes(self, picture: Any, where: str) -> tuple[Plane, ...]:  # noqa: ANN401  PyAV is optional
        """Return one (H, W) uint8 view for each channel. The views keep FFmpeg's memory alive.

        If nothing of the picture could be decoded (None), the planes are all zeros.

        Raises:
            SourceError: the frame does not lie within the picture.
        """
        if picture is None:
            return (np.zeros(self._size, np.uint8),) * len(self._channels)
        if self._rows.stop > picture.height or self._columns.stop > picture.width:
            raise SourceError(
                f"{where}: gives pictures of {picture.width} x {picture.height} px, which do not hold the frame of "
                f"{self._size[1]} x {self._size[0]} from [source] window_px; correct [frame] or the window"
            )
        made: dict[str, Any] = {}
        planes = []
        for channel in self._channels:
            layout = "gray" if channel == "luma" else "gbrp"  # copies: most formats have to be converted
            if layout not in made:
                made[layout] = picture.reformat(format=layout)
            planes.append(_view(made[layout].planes[_GBR.get(channel, 0)])[self._rows, self._columns])
        return tuple(planes)


def _view(plane: Any) -> Plane:  # noqa: ANN401  PyAV is optional
    """Return FFmpeg's plane as (H, stride) uint8, without a copy."""
    return np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)


def stamp_ns(picture: Any) -> int | None:  # noqa: ANN401  PyAV is optional
    """Return the time stamp of a picture or packet in nanoseconds, None if it has none."""
    if picture.pts is None or picture.time_base is None:
        return None
    return int(picture.pts * picture.time_base * 1_000_000_000)
