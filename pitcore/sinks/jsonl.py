"""Verdicts as JSON lines in a file that rotates by bytes and never holds half a line.

A full or broken disk does not stop the belt: lines wait in bounded memory and are tried again with the
next frame; what memory cannot hold is counted. ``close`` raises if lines were lost.

A file that was removed or moved away is noticed with the next frame, and a new one is begun at the path. One process
writes a file: the second is refused. A symbolic link is followed once, at the start.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pitcore.durable import check_regular, trusted
from pitcore.errors import SinkError
from pitcore.metrics import Metrics
from pitcore.output_path import VERDICT_FILE
from pitcore.verdict import Event, Verdict, encode_lines

log = logging.getLogger(__name__)

MAX_WAITING_BYTES = 8 * 1024 * 1024  # about 20,000 verdicts: 40 s of the reference load


class JsonlSink:
    """Appends records to ``path``.

    Args:
        path: a regular file; its directory is made. A torn last line of an earlier run is cut off.
        rotate_bytes: a block that would let the file grow beyond this starts a new one.
        keep: rotated files that stay, ``path.1`` the youngest.
        metrics: counts ``sink_lines``, ``sink_retries`` and ``sink_lines_lost``.

    Raises:
        SinkError: the file cannot be opened, is another process's, or holds something else.
    """

    def __init__(self, path: Path, *, rotate_bytes: int, keep: int, metrics: Metrics) -> None:
        self._rotate_bytes, self._keep, self._metrics = rotate_bytes, keep, metrics
        self._waiting: deque[tuple[bytes, int]] = deque()  # blocks of whole lines, and their number of lines
        self._waiting_bytes = 0
        self._failing = False
        try:
            self._path = trusted(path)  # a link is not rotated, but what it points to
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._fd, self._size = _open_whole(self._path)
        except OSError as error:
            raise SinkError(
                f"{path}: verdicts cannot be written: {error.strerror}; choose another [sink] path"
            ) from error

    def emit(self, records: Sequence[Verdict | Event]) -> None:
        """Append one line a record, or hold them until the disk takes them."""
        if records:
            block = encode_lines(records)
            self._waiting.append((block, len(records)))
            self._waiting_bytes += len(block)
        try:
            self._drain()
        except OSError as error:
            self._note_failure(error)
        else:
            if self._failing:
                self._failing = False
                log.warning("%s: can be written again, no line waits", self._path)

    def status(self) -> dict[str, Any]:
        """Return how the file fares; from any thread."""
        return {
            "kind": "jsonl",
            "state": "failing" if self._failing else "ok",
            "path": str(self._path),
            "lines": self._metrics.value("sink_lines"),
            "bytes_waiting": self._waiting_bytes,
            "reopened": self._metrics.value("sink_reopened"),
            "lines_lost": self._metrics.value("sink_lines_lost"),
        }

    def close(self) -> None:
        """Write what waits and close the file.

        Raises:
            SinkError: lines were lost, now or earlier.
        """
        if self._fd < 0:
            return
        cause: OSError | None = None
        try:
            self._drain()
            os.fsync(self._fd)
        except OSError as error:
            cause = error
            self._metrics.count("sink_lines_lost", by=sum(lines for _, lines in self._waiting))
        finally:
            os.close(self._fd)
            self._fd = -1
        lost = self._metrics.value("sink_lines_lost")
        if lost or cause:
            reason = cause.strerror if cause else "the disk was full for too long"
            raise SinkError(
                f"{self._path}: {lost} lines could not be written ({reason}); every line in the file is whole; "
                "free some space or choose another [sink] path"
            ) from cause

    def _drain(self) -> None:
        """Write every waiting block. Raises OSError; what was not written still waits."""
        self._follow_path()
        while self._waiting:
            block, lines = self._waiting[0]
            if self._size and self._size + len(block) > self._rotate_bytes:
                self._rotate()
            self._append(block)
            self._waiting.popleft()
            self._waiting_bytes -= len(block)
            self._metrics.count("sink_lines", by=lines)

    def _follow_path(self) -> None:
        """Begin a new file if the one that is written is not at the path any more. Raises OSError."""
        mine = os.fstat(self._fd)
        try:
            there = self._path.stat()
        except FileNotFoundError:
            there = None
        if there is not None and (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino):
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._take(*_open_whole(self._path))
        self._metrics.count("sink_reopened")
        log.warning("%s: was removed or moved away; a new file is started", self._path)

    def _take(self, fd: int, size: int) -> None:
        """Write to another file from now on."""
        os.close(self._fd)
        self._fd, self._size = fd, size

    def _append(self, block: bytes) -> None:
        """Write a block wholly, or leave the file as it was and raise OSError."""
        view = memoryview(block)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError:
            with contextlib.suppress(OSError):  # on a device that cannot be cut there is no half line either
                os.ftruncate(self._fd, self._size)
            raise
        self._size += len(block)

    def _rotate(self) -> None:
        """Move ``path`` to ``path.1``, that to ``path.2``, and restart."""
        os.fsync(self._fd)
        if self._path.exists():  # else an earlier try moved the files, and failed only to open the new one
            for age in range(self._keep, 0, -1):
                older = self._path if age == 1 else self._rotated(age - 1)
                with contextlib.suppress(FileNotFoundError):
                    older.rename(self._rotated(age))
        self._take(*_open_whole(self._path))

    def _rotated(self, age: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{age}")

    def _note_failure(self, error: OSError) -> None:
        """Say once that the disk fails, and drop the oldest blocks beyond the bound, counted."""
        self._metrics.count("sink_retries")
        if not self._failing:
            self._failing = True
            log.warning("%s: cannot write: %s; lines wait in memory", self._path, error.strerror)
        while self._waiting_bytes > MAX_WAITING_BYTES:
            block, lines = self._waiting.popleft()
            self._waiting_bytes -= len(block)
            self._metrics.count("sink_lines_lost", by=lines)


def _open_whole(path: Path) -> tuple[int, int]:
    """Open for appending, cut off a torn last line, and return descriptor and size. Raises OSError."""
    check_regular(path)  # first: to open some devices is to act on them
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # a pipe may wait
    fd = os.open(path, flags, 0o644)
    try:
        return fd, _made_whole(fd, path)
    except OSError:
        os.close(fd)
        raise


def _made_whole(fd: int, path: Path) -> int:
    """Take a file for this process alone, cut off a torn last line, and return its size. Raises OSError."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise OSError(errno.EBUSY, "another process writes it") from error
    if not VERDICT_FILE.fits(os.pread(fd, VERDICT_FILE.longest, 0)):
        raise OSError(errno.EINVAL, "it does not hold verdicts")
    size = os.fstat(fd).st_size
    whole = _end_of_last_line(fd, size)
    if whole < size:
        log.warning("%s: cut off a torn last line of %d bytes", path, size - whole)
        os.ftruncate(fd, whole)
    return whole


def _end_of_last_line(fd: int, size: int) -> int:
    """Return how many bytes of the file are whole lines."""
    end = size
    while end:
        start = max(0, end - 65536)
        newline = os.pread(fd, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0
