"""The one door through which an update changes the disk.

A change is a value (``Operation``) that ``Disk.perform`` carries out. So a test can count the changes of a whole
install, end the process before and after each, let each fail, or play them again without those not yet synced.
What a change means, and in which order they come, is in ``slots`` and ``update``. It knows no models.
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
        path: what it is done to.
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
    """Carries out operations; the methods are the only sequences of them that are used more than once."""

    def perform(self, operation: Operation) -> None:
        """Change the disk.

        Raises:
            UpdateError: nothing, or for a ``write`` a part of it, was done.
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
            UpdateError: the old content stands; or the new, if only the directory could not be synced, or the copy
                could not be renamed.
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
        """Return an open, empty file for what wants one. Its writes raise UpdateError; nothing is synced."""
        self.perform(Operation("create", path))
        return io.BufferedWriter(_Appender(self, path), PIECE_BYTES)

    def keep(self, path: Path, place: Path) -> None:
        """Put a whole file where it belongs: fsync, rename, fsync of the directory. Raises UpdateError."""
        self.perform(Operation("sync", path))
        self.perform(Operation("rename", path, place))
        self.perform(Operation("sync directory", place.parent))

    def make_directory(self, path: Path) -> None:
        """Make a directory, and those above it, that outlive a power cut; not where it is. Raises UpdateError."""
        if not path.is_dir():
            self.make_directory(path.parent)
            self.perform(Operation("mkdir", path))
            self.perform(Operation("sync directory", path.parent))

    def remove_tree(self, path: Path) -> None:
        """Remove a file, or a directory with all it holds; nothing to do where it is not. Raises UpdateError."""
        if path.is_dir() and not path.is_symlink():
            for entry in sorted(path.iterdir()):
                self.remove_tree(entry)
            self.perform(Operation("rmdir", path))
        elif path.exists() or path.is_symlink():
            self.perform(Operation("unlink", path))


def storage_error(path: Path, error: OSError) -> UpdateError:
    """Return what a technician can do about a disk that refuses."""
    fixes = {
        errno.ENOSPC: (Refusal.NO_SPACE, "the disk is full: free some space, `df -h` shows where"),
        errno.EDQUOT: (Refusal.NO_SPACE, "the quota is used up: free some space"),
        errno.EROFS: (
            Refusal.READ_ONLY,
            "the disk is read-only: `dmesg` says why; replace a failing card",
        ),
        errno.ENOENT: (Refusal.STORAGE, "a parent directory is missing: the package creates it, or correct the path"),
        errno.ENOTDIR: (Refusal.STORAGE, "a part of the path is a file: correct the path"),
        errno.EACCES: (Refusal.STORAGE, "this user may not change it: run it as the service's user, `sudo -u pitcore`"),
    }
    refusal, fix = fixes.get(
        error.errno or 0, (Refusal.STORAGE, "check the owner of the directory, and `dmesg` for a failing card")
    )
    return UpdateError(refusal, f"{path}: {error.strerror or first_line(error)}; {fix}")


class _Appender(io.RawIOBase):
    """A file whose every write is an operation."""

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
