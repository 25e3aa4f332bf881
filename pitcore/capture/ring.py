"""A folder of files that never holds more than it may: the oldest go first.

The folder itself is the index. Names begin with a number that counts up, so the order is known after any restart,
whatever the clock did. A file is there wholly or not at all; what a killed process left behind is removed at the next
start. Files with other names are nobody's here: they are neither counted nor removed.
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
    """One file: its name, what it takes of the disk, and when it was written."""

    name: str
    taken_bytes: int
    at: dt.datetime


class Ring:
    """The folder, for this process alone.

    Args:
        folder: is made.
        max_bytes: that its files take at most, in whole blocks.
        max_age: of a file.
        free_bytes: that a file must leave on the disk.

    Raises:
        OSError: it cannot be made or read, or another process has it.
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
        """What its files take of the disk."""
        return self._taken

    @property
    def files(self) -> tuple[RingFile, ...]:
        """Its files, the oldest first."""
        return tuple(self._files)

    def add(self, tail: str, content: bytes) -> str:
        """Add a file, after the oldest ones made room for it.

        Args:
            tail: the last part of its name: a-z, 0-9 and hyphens.
            content: of the file.

        Returns:
            Its name.

        Raises:
            OSError: it was not written.
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
        """Remove what is too old, and the oldest until there is room. Raises OSError."""
        oldest_at = dt.datetime.now(dt.UTC) - self._max_age
        while self._files and (self._files[0].at < oldest_at or self._taken + need_bytes > self._max_bytes):
            with suppress(FileNotFoundError):  # somebody removed it
                os.unlink(self._files[0].name, dir_fd=self._fd)
            self._taken -= self._files.popleft().taken_bytes

    def close(self) -> None:
        """Let another process have it. Safe to call twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _lock(self) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OSError(errno.EBUSY, "another service writes into it") from error

    def _scan(self) -> list[RingFile]:
        """Remove what was never finished, and return the files, the oldest first. Raises OSError."""
        now = dt.datetime.now(dt.UTC)
        found, strangers = [], 0
        for entry in os.scandir(self.folder):
            if _PART.fullmatch(entry.name):
                os.unlink(entry.name, dir_fd=self._fd)
                continue
            known = NAME.fullmatch(entry.name)
            if known is None or not entry.is_file(follow_symlinks=False):
                strangers += 1
                continue
            size = entry.stat(follow_symlinks=False).st_size
            found.append(RingFile(entry.name, _blocks(size), _time_of(known[2], now)))
        if strangers:
            log.warning("[capture] %s: %d files of others are neither counted nor removed", self.folder, strangers)
        return sorted(found, key=lambda file: file.name)


def _blocks(size: int) -> int:
    return -(-size // BLOCK_BYTES) * BLOCK_BYTES


def _time_of(stamp: str, now: dt.datetime) -> dt.datetime:
    """Return when a file was written; of one that a clock dated which was not set, its age counts from now."""
    try:
        at = dt.datetime.strptime(stamp, _STAMP).replace(tzinfo=dt.UTC)
    except ValueError:
        return now
    return at if at >= _CLOCK_SET else now
