"""Makes every change of the disk that an update needs.

A change is a value (``Operation``) that ``Disk.perform`` carries out. So a test can count the changes of a whole
install, end the process before and after each, let each fail, or play them again without those not yet synced. The
meaning and the order of changes are in ``slots`` and ``update``. This module knows no models.
"""

from __future__ import annotations

import errno
import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pitcore.durable import sync_directory
from pitcore.errors import Refusal, UpdateError, first_line

PIECE_BYTES = 1024 * 1024  # of one write
Kind = Literal["create", "write", "sync", "mkdir", "rename", "unlink", "rmdir", "sync directory"]


@dataclass(frozen=True, slots=True)
class Operation:
    """One change of the disk, or one fsync.

    Attributes:
        kind: ``create`` makes an empty file or empties one; ``write`` appends; ``sync`` is fsync of a file.
        path: the file or directory to change.
        target: of a ``rename``.
        content: of a ``write``.
    """

    kind: Kind
    path: Path
    target: Path | None = None
    content: bytes = b""

    def __str__(self) -> str:
        return f"{self.kind} {self.path}" + (f" -> {self.target}" if self.target else "")


class Disk:
    """Carries out operations. Its methods are the sequences that are used more than once."""

    def perform(self, operation: Operation) -> None:
        """Change the disk.

        Raises:
            UpdateError: nothing was done, or a part of a ``write``.
        """
        try:
            self.attempt(operation)
        except OSError as error:
            raise storage_error(operation.path, error) from error

    def attempt(self, operation: Operation) -> None:
        """Do what ``perform`` promises. Raises OSError."""
        path = operation.path
        match operation.kind:
            case "create":
                path.open("wb").close()
            case "write":
                with path.open("ab", buffering=0) as file:
                    rest = memoryview(operation.content)
                    while rest:  # a write may be short, on a nearly full disk
                        rest = rest[file.write(rest) :]
            case "sync":
                _sync_file(path)
            case "mkdir":
                path.mkdir(exist_ok=True)  # a store is made before it can be locked: another may have been quicker
            case "rename":
                assert operation.target is not None, "a rename has a target"  # noqa: S101  every caller gives one
                path.rename(operation.target)
            case "unlink":
                path.unlink()
            case "rmdir":
                path.rmdir()
            case "sync directory":
                sync_directory(path)

    def replace(self, path: Path, content: bytes, copy: Path | None = None) -> None:
        """Give a file new content: temporary file, fsync, rename, fsync of the directory. In that order.

        Args:
            path: the file.
            content: all of it.
            copy: a second file in the same directory, to hold the same.

        Raises:
            UpdateError: the old content is there. The new content is there if only the directory could not be synced,
                or the copy could not be renamed.
        """
        paths = (path,) if copy is None else (path, copy)
        temporary = [place.with_name(f".{place.name}.part") for place in paths]  # the store's lock keeps others out
        for place in temporary:
            self.perform(Operation("create", place))
            self.perform(Operation("write", place, content=content))
            self.perform(Operation("sync", place))
        for place, target in zip(temporary, paths, strict=True):
            self.perform(Operation("rename", place, target))
        self.perform(Operation("sync directory", path.parent))

    def writer(self, path: Path) -> io.BufferedWriter:
        """Return an open, empty file. Its writes raise UpdateError; nothing is synced."""
        self.perform(Operation("create", path))
        return io.BufferedWriter(_Appender(self, path), PIECE_BYTES)

    def keep(self, path: Path, place: Path) -> None:
        """Move a complete file to its place: fsync, rename, fsync of the directory. Raises UpdateError."""
        self.perform(Operation("sync", path))
        self.perform(Operation("rename", path, place))
        self.perform(Operation("sync directory", place.parent))

    def make_directory(self, path: Path) -> None:
        """Make a missing directory and its parents, so that they survive a power cut. Raises UpdateError."""
        if not path.is_dir():
            self.make_directory(path.parent)
            self.perform(Operation("mkdir", path))
            self.perform(Operation("sync directory", path.parent))

    def remove_tree(self, path: Path) -> None:
        """Remove a file, or a directory with its content, if it exists. Raises UpdateError."""
        if path.is_dir() and not path.is_symlink():
            for entry in sorted(path.iterdir()):
                self.remove_tree(entry)
            self.perform(Operation("rmdir", path))
        elif path.exists() or path.is_symlink():
            self.perform(Operation("unlink", path))


def storage_error(path: Path, error: OSError) -> UpdateError:
    """Return the error of a disk that refuses, with a fix for the technician."""
    fixes = {
        errno.ENOSPC: (Refusal.NO_SPACE, "the disk is full: free some space, `df -h` shows where"),
        errno.EDQUOT: (Refusal.NO_SPACE, "the quota is used up: free some space"),
        errno.EROFS: (
            Refusal.READ_ONLY,
            "the disk is read-only: `dmesg` says why; replace a failing card",
        ),
        errno.ENOENT: (Refusal.STORAGE, _fix_of_missing(path)),
        errno.ENOTDIR: (Refusal.STORAGE, "a part of the path is a file: correct the path"),
        errno.EACCES: (Refusal.STORAGE, "this user may not change it: run it as the service's user, `sudo -u pitcore`"),
    }
    refusal, fix = fixes.get(
        error.errno or 0, (Refusal.STORAGE, "check the owner of the directory, and `dmesg` for a failing card")
    )
    return UpdateError(refusal, f"{path}: {error.strerror or first_line(error)}; {fix}")


def _fix_of_missing(path: Path) -> str:
    if path.parent.is_dir():
        return "another program removed it; `pitcore update install` makes it again"
    return f"the directory {path.parent} is missing: the package creates it, or correct the path"


class _Appender(io.RawIOBase):
    """A file whose writes are operations."""

    def __init__(self, disk: Disk, path: Path) -> None:
        super().__init__()
        self._disk, self._path, self._length = disk, path, 0

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:  # noqa: ANN401  any buffer, as io's own
        raw = bytes(content)
        self._disk.perform(Operation("write", self._path, content=raw))
        self._length += len(raw)
        return len(raw)

    def tell(self) -> int:  # tarfile wants to know
        return self._length


def _sync_file(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
