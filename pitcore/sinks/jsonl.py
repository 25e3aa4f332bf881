"""Writes verdicts as JSON lines to a file that rotates by size and never contains half a line.

A full or broken disk does not stop the belt: lines wait in bounded memory and are tried again with the next frame;
lines beyond that memory are dropped and counted. ``close`` raises if lines were lost.

If the file was removed or moved away, the next frame starts a new one at the path. Only one process may write a file.
A symbolic link is followed once, at the start.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pitcore.durable import check_regular, trusted
from pitcore.errors import SinkError
from pitcore.metrics import Metrics
from pitcore.output_path import VERDICT_FILE, fix_of
from pitcore.verdict import Event, Verdict, encode_lines
from pitcore.wall_clock import utc_now

log = logging.getLogger(__name__)

MAX_WAITING_BYTES = 8 * 1024 * 1024  # about 20,000 verdicts: 40 s of the reference load


class JsonlSink:
    """Appends records to ``path``.

    Args:
        path: a regular file; its directory is created. An incomplete last line of an earlier run is cut off.
        rotate_bytes: a block that would make the file larger than this starts a new one.
        keep: number of rotated files; ``path.1`` is the newest.
        metrics: counts ``sink_lines``, ``sink_retries`` and ``sink_lines_lost``.
        run: the run of the service: its beginning and each further file get a line of ``RUN_EVENTS``. None, as for a
            replay, gives none: equal input gives equal bytes.

    Raises:
        SinkError: the file cannot be opened, is in use by another process, or contains other data.
    """

    def __init__(self, path: Path, *, rotate_bytes: int, keep: int, metrics: Metrics, run: str | None = None) -> None:
        self._rotate_bytes, self._keep, self._metrics = rotate_bytes, keep, metrics
        self._run, self._run_event = run, "run_started"
        self._is_marked = run is None  # True if this file says which run its lines are of
        self._waiting: deque[tuple[bytes, int]] = deque()  # blocks of whole lines, and their number of lines
        self._waiting_bytes = 0
        self._failure = ""  # why the disk does not accept lines now
        try:
            self._path = trusted(path)  # rotates the file that a link points to, not the link
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._fd, self._size = _open_whole(self._path)
            self._file = _identity(os.fstat(self._fd))
        except OSError as error:
            raise SinkError(
                f"{path}: verdicts cannot be written: {error.strerror}; {fix_of(error, 'choose another [sink] path')}"
            ) from error

    def emit(self, records: Sequence[Verdict | Event]) -> None:
        """Append one line for each record, or keep the lines until the disk accepts them."""
        if records:
            block = encode_lines(records)
            self._waiting.append((block, len(records)))
            self._waiting_bytes += len(block)
        try:
            self._drain()
        except OSError as error:
            self._note_failure(error)
        else:
            if self._failure:
                self._failure = ""
                log.warning("%s: can be written again, no line waits", self._path)

    def status(self) -> dict[str, Any]:
        """See ``sink.ReportsStatus``; from any thread."""
        failure = self._failure
        state = {"state": "failing", "reason": failure} if failure else {"state": "ok"}
        return {
            "kind": "jsonl",
            **state,
            "path": str(self._path),
            "lines": self._metrics.value("sink_lines"),
            "bytes_waiting": self._waiting_bytes,
            "reopened": self._metrics.value("sink_reopened"),
            "lines_lost": self._metrics.value("sink_lines_lost"),
        }

    def close(self) -> None:
        """Write the waiting lines and close the file.

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
        """Write every waiting block. Raises OSError; unwritten blocks continue to wait."""
        self._follow_path()
        self._mark(len(self._waiting[0][0]) if self._waiting else 0)
        while self._waiting:
            block, lines = self._waiting[0]
            if self._size and self._size + len(block) > self._rotate_bytes:
                self._rotate()
                self._mark(len(block))
            self._append(block)
            self._waiting.popleft()
            self._waiting_bytes -= len(block)
            self._metrics.count("sink_lines", by=lines)

    def _mark(self, following: int) -> None:
        """Write which run the next lines are of, unless this file says so. Raises OSError.

        A file without room for it and the ``following`` bytes is rotated first, so that both are in one file.
        """
        if self._is_marked:
            return
        detail = f"run {self._run}: frames, ticks and numbers of Modbus count from its start"
        mark = Event(
            "pitcore.event/1", 0, 0, self._run_event, detail, 1, run=self._run, at=utc_now(), t_ns=time.monotonic_ns()
        )
        raw = encode_lines([mark])
        if self._size and self._size + len(raw) + following > self._rotate_bytes:
            self._rotate()
        self._append(raw)
        self._is_marked, self._run_event = True, "run_continued"
        self._metrics.count("sink_lines")

    def _follow_path(self) -> None:
        """Start a new file if the open one is no longer at the path. Raises OSError."""
        try:
            there = _identity(os.stat(self._path))  # noqa: PTH116  with every frame: `Path.stat` takes longer
        except FileNotFoundError:
            there = None
        if there == self._file:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._take(*_open_whole(self._path))
        self._metrics.count("sink_reopened")
        log.warning("%s: was removed or moved away; a new file is started", self._path)

    def _take(self, fd: int, size: int) -> None:
        """Use another open file from now on."""
        os.close(self._fd)
        self._fd, self._size, self._file = fd, size, _identity(os.fstat(fd))
        self._is_marked = self._run is None

    def _append(self, block: bytes) -> None:
        """Write a whole block, or leave the file unchanged and raise OSError."""
        view = memoryview(block)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError:
            with contextlib.suppress(OSError):  # a device that cannot be truncated has no half line
                os.ftruncate(self._fd, self._size)
            raise
        self._size += len(block)

    def _rotate(self) -> None:
        """Move ``path`` to ``path.1``, that to ``path.2`` and so on, and start a new file."""
        os.fsync(self._fd)
        if self._path.exists():  # otherwise an earlier try moved the files and failed to open the new one
            for age in range(self._keep, 0, -1):
                older = self._path if age == 1 else self._rotated(age - 1)
                with contextlib.suppress(FileNotFoundError):
                    older.rename(self._rotated(age))
        self._take(*_open_whole(self._path))

    def _rotated(self, age: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{age}")

    def _note_failure(self, error: OSError) -> None:
        """Log once that the disk fails; drop and count the oldest blocks beyond the limit."""
        self._metrics.count("sink_retries")
        if not self._failure:
            log.warning("%s: cannot write: %s; lines wait in memory", self._path, error.strerror)
        self._failure = error.strerror or str(error)
        while self._waiting_bytes > MAX_WAITING_BYTES:
            block, lines = self._waiting.popleft()
            self._waiting_bytes -= len(block)
            self._metrics.count("sink_lines_lost", by=lines)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _open_whole(path: Path) -> tuple[int, int]:
    """Open a file for appending, cut off an incomplete last line, and return descriptor and size. Raises OSError."""
    check_regular(path)  # before opening, because opening some devices has an effect
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # a pipe could block
    fd = os.open(path, flags, 0o644)
    try:
        return fd, _made_whole(fd, path)
    except OSError:
        os.close(fd)
        raise


def _made_whole(fd: int, path: Path) -> int:
    """Lock a file for this process, cut off an incomplete last line, and return its size. Raises OSError."""
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
    """Return the number of bytes up to the end of the last complete line."""
    end = size
    while end:
        start = max(0, end - 65536)
        newline = os.pread(fd, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0
