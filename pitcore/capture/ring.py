"""Limits the size of a folder of files: the oldest files are removed first.

There is no index. Names begin with a running number, so the order is known after a restart, even if the clock was
changed. Files are written atomically; parts that a killed process left are removed at the next start. Files with other
names are neither counted nor removed.
"""

from __future__ import annotations

import datetime as dt
import errno
import fcntl
import logging
import os
import re
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from operator import methodcaller
from pathlib import Path

from pitcore.durable import replace_file, trusted

log = logging.getLogger("pitcore.capture")

BLOCK_BYTES = 4096  # a file takes whole blocks of the disk
NAME = re.compile(r"(\d{12})-(\d{8}T\d{6}Z)-[0-9a-z-]+\.png")
_PART = re.compile(r"\.[0-9a-f]{16}\.part")  # of ``durable.replace_file``
_STAMP = "%Y%m%dT%H%M%SZ"
_CLOCK_SET = dt.datetime(2025, 1, 1, tzinfo=dt.UTC)  # a board without a clock battery starts years before


@dataclass(frozen=True, slots=True)
class RingFile:
    """One file: its name, its size on the disk, and the time at which it was written."""

    name: str
    taken_bytes: int
    at: dt.datetime


class Ring:
    """Manages the folder, exclusively for this process.

    Args:
        folder: the folder; created if it is missing.
        max_bytes: largest size of all its files on the disk, in whole blocks.
        max_age: files older than this are removed.
        free_bytes: free space that must remain on the disk.

    Raises:
        OSError: the folder cannot be created or read, or another process uses it.
    """

    def __init__(self, folder: Path, *, max_bytes: int, max_age: dt.timedelta, free_bytes: int) -> None:
        self._max_bytes, self._max_age, self._free_bytes = max_bytes, max_age, free_bytes
        self.folder = trusted(folder)
        self.folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        self._fd = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._lock()
            self._files = deque(self._scan())
            self._taken = sum(file.taken_bytes for file in self._files)
            self._next = int(self._files[-1].name[:12]) + 1 if self._files else 1
            self.prune()
        except OSError:
            self.close()
            raise

    @property
    def taken_bytes(self) -> int:
        """Size of all files on the disk, in bytes."""
        return self._taken

    @property
    def files(self) -> tuple[RingFile, ...]:
        """Its files, the oldest first."""
        return tuple(self._files)

    def add(self, tail: str, content: bytes) -> str:
        """Add a file; remove the oldest ones if there is not enough room.

        Args:
            tail: last part of the name: a-z, 0-9 and hyphens.
            content: bytes of the file.

        Returns:
            The name of the file.

        Raises:
            OSError: the file could not be written.
        """
        need = _blocks(len(content))
        self.prune(need)
        disk = os.statvfs(self._fd)
        if disk.f_bavail * disk.f_frsize < self._free_bytes + need:
            raise OSError(errno.ENOSPC, f"less than free_bytes = {self._free_bytes} would be left on the disk")
        now = dt.datetime.now(dt.UTC)
        name = f"{self._next:012d}-{now.strftime(_STAMP)}-{tail}.png"
        replace_file(self.folder / name, methodcaller("write", content))
        self._next += 1
        self._files.append(RingFile(name, need, now))
        self._taken += need
        return name

    def prune(self, need_bytes: int = 0) -> None:
        """Remove files that are too old, and the oldest files until ``need_bytes`` fit. Raises OSError."""
        oldest_at = dt.datetime.now(dt.UTC) - self._max_age
        while self._files and (self._files[0].at < oldest_at or self._taken + need_bytes > self._max_bytes):
            with suppress(FileNotFoundError):  # somebody else removed it
                os.unlink(self._files[0].name, dir_fd=self._fd)
            self._taken -= self._files.popleft().taken_bytes

    def close(self) -> None:
        """Release the folder for other processes. Safe to call twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _lock(self) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OSError(errno.EBUSY, "another service writes into it") from error

    def _scan(self) -> list[RingFile]:
        """Remove unfinished files, and return the others, the oldest first. Raises OSError."""
        now = dt.datetime.now(dt.UTC)
        files, others = [], 0
        for entry in os.scandir(self.folder):
            if _PART.fullmatch(entry.name):
                os.unlink(entry.name, dir_fd=self._fd)
                continue
            known = NAME.fullmatch(entry.name)
            if known is None or not entry.is_file(follow_symlinks=False):
                others += 1
                continue
            size = entry.stat(follow_symlinks=False).st_size
            files.append(RingFile(entry.name, _blocks(size), _time_of(known[2], now)))
        if others:
            log.warning("[capture] %s: %d other files are neither counted nor removed", self.folder, others)
        return sorted(files, key=lambda file: file.name)


def _blocks(size: int) -> int:
    return -(-size // BLOCK_BYTES) * BLOCK_BYTES


def _time_of(stamp: str, now: dt.datetime) -> dt.datetime:
    """Return the time in a file's name; the present time if the name is invalid or the clock was not set."""
    try:
        at = dt.datetime.strptime(stamp, _STAMP).replace(tzinfo=dt.UTC)
    except ValueError:
        return now
    return at if at >= _CLOCK_SET else now
