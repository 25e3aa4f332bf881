"""Writes frames to a recording, without loss. See ``recording`` for the format."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import msgspec
import numpy as np

from pitcore.camera.recording import FRAMES, INDEX, MANIFEST, TRUTH, IndexEntry, manifest_of
from pitcore.camera.truth import Truth
from pitcore.durable import NEW_FILE, replace_file
from pitcore.errors import RecordingError
from pitcore.frame import Frame, Geometry, Noise


class Recorder:
    """Appends frames to a recording in a new folder. The recording is readable even if the process is killed.

    Args:
        folder: created if it is missing; must not hold a recording yet.
        geometry: geometry of every frame.
        noise: noise of the source, see ``frame.Noise``.
        sync_every: number of frames after which the files are synced to disk; a power cut loses at most these.

    Raises:
        RecordingError: the folder cannot be written or already holds a recording.
    """

    def __init__(self, folder: Path, geometry: Geometry, *, noise: Noise = "sensor", sync_every: int = 20) -> None:
        self._folder = folder
        self._manifest = manifest_of(geometry, noise)
        self._sync_every = max(1, sync_every)
        self._files: tuple[BinaryIO, BinaryIO] | None = None
        self.written = 0
        try:
            check_new(folder)
            folder.mkdir(parents=True, exist_ok=True)
            self._files = (_new_file(folder / FRAMES), _new_file(folder / INDEX))
            manifest = msgspec.json.format(msgspec.json.encode(self._manifest)) + b"\n"
            replace_file(folder / MANIFEST, lambda file: file.write(manifest))
        except OSError as error:
            self._drop_files()
            raise RecordingError(f"{folder}: cannot be written: {error.strerror}; name another folder") from error

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def write(self, frame: Frame) -> None:
        """Append a frame.

        Raises:
            RecordingError: the frame's shape or type differs from the recording's, the disk is full, or the recorder is
                closed. Frames written before stay readable.
        """
        if self._files is None:
            raise RecordingError(f"{self._folder}: the recording is closed; start another one")
        shape = (self._manifest.height_px, self._manifest.width_px)
        fits = [plane.shape == shape and plane.dtype == np.uint8 for plane in frame.planes]
        if len(fits) != len(self._manifest.plane_names) or not all(fits):
            raise RecordingError(
                f"{self._folder}: frame {frame.seq} does not have the recording's shape {shape} of uint8; "
                "record every camera setting into a folder of its own"
            )
        pixels, index = self._files
        offset, crc = self.written * self._manifest.frame_bytes, 0
        try:
            pixels.seek(offset)
            for plane in frame.planes:
                rows = np.ascontiguousarray(plane)  # copies where rows are padded: the file has no padding
                crc = zlib.crc32(rows.data, crc)
                _write_all(pixels, rows.data)
            entry = IndexEntry(frame.seq, frame.t_ns, frame.tick, offset, crc)
            _append_line(index, msgspec.json.encode(entry))
            self.written += 1
            if self.written % self._sync_every == 0:
                self._sync()
        except OSError as error:
            self.close()
            raise RecordingError(
                f"{self._folder}: {error.strerror} at frame {frame.seq}; {self.written} frames before it are safe"
            ) from error

    def write_truth(self, truths: Iterable[Truth]) -> None:
        """Store the true objects of an emulated belt. Replaces any stored before.

        Raises:
            RecordingError: the file cannot be written.
        """
        lines = b"".join(msgspec.json.encode(truth) + b"\n" for truth in truths)
        try:
            replace_file(self._folder / TRUTH, lambda file: file.write(lines))
        except OSError as error:
            raise RecordingError(
                f"{self._folder / TRUTH}: cannot be written: {error.strerror}; free the disk"
            ) from error

    def close(self) -> None:
        """Sync the files to disk and close them. May be called twice.

        Raises:
            RecordingError: the disk does not confirm.
        """
        if self._files is None:
            return
        try:
            self._sync()
        except OSError as error:
            raise RecordingError(
                f"{self._folder}: the disk does not confirm the write: {error.strerror}; check it"
            ) from error
        finally:
            self._drop_files()

    def _sync(self) -> None:
        """Sync the pixels to disk, then the index lines that refer to them."""
        for file in self._files or ():
            os.fsync(file.fileno())

    def _drop_files(self) -> None:
        for file in self._files or ():
            file.close()
        self._files = None


def check_new(folder: Path) -> None:
    """Raise RecordingError if a folder holds a recording or parts of one."""
    if any(os.path.lexists(folder / name) for name in (MANIFEST, FRAMES, INDEX)):
        raise RecordingError(f"{folder}: already holds a recording; name another folder")


def _new_file(path: Path) -> BinaryIO:
    """Create a file and open it unbuffered, so that the kernel has a frame before it has the frame's index line."""
    return os.fdopen(os.open(path, NEW_FILE, 0o666), "wb", buffering=0)


def _write_all(file: BinaryIO, data: memoryview) -> None:
    """Write every byte. An unbuffered file may write only a part, for example when the disk is full."""
    rest = data.cast("B")
    while rest:
        rest = rest[file.write(rest) :]


def _append_line(file: BinaryIO, line: bytes) -> None:
    """Append a line; if that fails, restore the file and raise OSError."""
    before = file.tell()
    try:
        _write_all(file, memoryview(line + b"\n"))
    except OSError:
        file.truncate(before)
        raise
