"""Plays a recording back as a ``Source``: the same frames with the same stamps, every time."""

from __future__ import annotations

import mmap
import threading
import time
import zlib
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from pitcore.camera.recording import FRAMES, TRUTH, IndexEntry, Manifest, read_index, read_manifest
from pitcore.camera.truth import Truth
from pitcore.errors import RecordingError
from pitcore.frame import Frame, Geometry, Noise
from pitcore.health import CameraHealth


class ReplaySource:
    """Implements ``camera.source.Source`` over a folder that ``Recorder`` wrote.

    Frames are views of the memory-mapped file, never copies; they stay readable after release and after ``close``.

    Args:
        folder: the recording.
        paced: keep the recorded time between frames. All frames are still delivered, so the source is not live.
        verify: compare every frame with its checksum; costs about 1 ms for each full-size frame.
        expected: if given, the recording must have this geometry.

    Attributes:
        torn: True if the recorder was killed and left an incomplete frame, which is not played.

    Raises:
        RecordingError: a file of the recording is missing, empty or damaged.
    """

    live = False

    def __init__(
        self, folder: Path, *, paced: bool = False, verify: bool = True, expected: Geometry | None = None
    ) -> None:
        self._folder = folder
        self._paced = paced
        self._verify = verify
        self._manifest = _checked_manifest(folder, expected)
        self._entries, self.torn = _checked_index(folder, self._manifest)
        self._pixels: NDArray[np.uint8] | None = None
        self._closed = threading.Event()
        self._next = 0
        self._start_ns = 0
        self._last_ns: int | None = None

    @property
    def geometry(self) -> Geometry:
        """Shape, plane names and belt scale, from the manifest."""
        return self._manifest.geometry

    @property
    def noise(self) -> Noise:
        """Noise of the recorded source."""
        return self._manifest.noise

    @property
    def frames(self) -> int:
        """Number of frames."""
        return len(self._entries)

    def start(self) -> None:
        """Map the file and go to the first frame; see ``Source.start``.

        Raises:
            RecordingError: the frames are missing, or fewer than the index says.
        """
        self._pixels = _mapped(self._folder / FRAMES, len(self._entries) * self._manifest.frame_bytes)
        self.torn = self.torn or (self._folder / FRAMES).stat().st_size > self._pixels.size
        self._next = 0
        self._closed.clear()
        self._start_ns = time.monotonic_ns()

    def read(self, timeout_s: float) -> Frame | None:
        """Lend the next frame; None after the last one; see ``Source.read``.

        Raises:
            RecordingError: the frame's bytes are not those recorded, or ``start`` was not called.
        """
        if self._pixels is None:
            raise RecordingError(f"{self._folder}: the replay is not started; call start first")
        if self._next >= len(self._entries):
            return None
        entry = self._entries[self._next]
        if self._paced:
            self._wait(entry, timeout_s)
        pixels = self._pixels[entry.offset : entry.offset + self._manifest.frame_bytes]
        if self._verify and zlib.crc32(pixels.data) != entry.crc32:
            raise RecordingError(f"{self._folder / FRAMES}: frame {entry.seq} was altered; copy the recording again")
        self._next += 1
        self._last_ns = time.monotonic_ns()
        shape = (len(self._manifest.plane_names), self._manifest.height_px, self._manifest.width_px)
        return Frame(entry.seq, entry.t_ns, entry.tick, tuple(pixels.reshape(shape)))

    def health(self) -> tuple[CameraHealth, ...]:
        """Report the folder as one camera; see ``Source.health``."""
        due = self._next < len(self._entries)
        return (CameraHealth(str(self._folder), self._manifest.plane_names, self._next, self._last_ns, due),)

    def close(self) -> None:
        """Drop the file; it is unmapped when the last frame is freed. Another thread may be in ``read``."""
        self._closed.set()
        self._pixels = None

    def truths(self) -> list[Truth]:
        """Return the true objects of a recorded emulated belt; an empty list for other recordings.

        Raises:
            RecordingError: ``truth.jsonl`` is damaged.
        """
        path = self._folder / TRUTH
        if not path.exists():
            return []
        try:
            return [msgspec.json.decode(line, type=Truth) for line in path.read_bytes().splitlines()]
        except (OSError, msgspec.MsgspecError) as error:
            raise RecordingError(f"{path}: damaged: {error}; remove it, the frames do not need it") from error

    def _wait(self, entry: IndexEntry, timeout_s: float) -> None:
        due_ns = self._start_ns + entry.t_ns - self._entries[0].t_ns
        wait_s = (due_ns - time.monotonic_ns()) / 1e9
        self._closed.wait(min(max(wait_s, 0.0), timeout_s))
        if wait_s > timeout_s:
            raise RecordingError(
                f"{self._folder}: frame {entry.seq} is due in {wait_s:.1f} s; allow more time, or do not pace"
            )


def _checked_manifest(folder: Path, expected: Geometry | None) -> Manifest:
    manifest = read_manifest(folder)
    if expected is not None and manifest.geometry != expected:
        have, want = manifest.geometry, expected
        raise RecordingError(
            f"{folder}: {','.join(have.plane_names)} {have.height_px}x{have.width_px} at {have.px_per_tick} px a tick; "
            f"the configuration says {','.join(want.plane_names)} {want.height_px}x{want.width_px} at "
            f"{want.px_per_tick}; use the configuration it was recorded with"
        )
    return manifest


def _checked_index(folder: Path, manifest: Manifest) -> tuple[list[IndexEntry], bool]:
    entries, torn = read_index(folder, manifest)
    if not entries:
        raise RecordingError(f"{folder}: the recording holds no frame; record again")
    return entries, torn


def _mapped(path: Path, needed_bytes: int) -> NDArray[np.uint8]:
    """Map the first bytes of a file, read-only."""
    try:
        with path.open("rb") as file:
            have_bytes = path.stat().st_size
            if have_bytes < needed_bytes:
                raise RecordingError(
                    f"{path}: {have_bytes} bytes, but the index needs {needed_bytes}; copy the recording again"
                )
            mapping = mmap.mmap(file.fileno(), needed_bytes, access=mmap.ACCESS_READ)
    except OSError as error:
        raise RecordingError(f"{path}: {error.strerror or 'unreadable'}; the recording is incomplete") from error
    return np.frombuffer(mapping, np.uint8)
