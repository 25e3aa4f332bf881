"""The one rule for a path that a command writes to, and the one place that says why a path failed.

An output is tried before the work starts, so that hours of work do not end at a wrong path. What is there already is
replaced only if it is what the command writes: a device, a folder and a file of another kind are refused. It leaves to
``durable`` how a file is written.
"""

from __future__ import annotations

import errno
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pitcore.durable import NEW_FILE, check_regular, trusted
from pitcore.errors import OutputError

_PROBE_BYTES = 4096  # a full disk shows in the first block

_FIXES = {
    errno.ENOSPC: "free some space, or name another place",
    errno.EDQUOT: "free some space, or name another place",
    errno.EROFS: "name a place on a disk that can be written",
    errno.EACCES: "name a place that this user may use",
    errno.EPERM: "name a place that this user may use",
    errno.ENOENT: "name a place that is there",
    errno.ENOTDIR: "a part of this path is a file; name another place",
    errno.EISDIR: "name a file",
    errno.EINVAL: "name a plain file",
    errno.ELOOP: "name another place",
    errno.ENAMETOOLONG: "use a shorter name",
    errno.EIO: "check the disk",
    errno.EFBIG: "name a place on a disk that takes large files",
    errno.EMFILE: "raise the limit of open files (`ulimit -n`)",
}
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


@dataclass(frozen=True, slots=True)
class Kind:
    """The kind of a file's content, so that a file of another kind is not replaced.

    Attributes:
        name: for messages, with its article.
        beginnings: such a file begins with one of them.
    """

    name: str
    beginnings: tuple[bytes, ...]

    def fits(self, start: bytes) -> bool:
        """Return whether a file with these first bytes is of this kind; an empty or a cut one may be."""
        return any(start.startswith(one) or one.startswith(start) for one in self.beginnings)

    @property
    def longest(self) -> int:
        """Number of bytes that are needed to know the kind."""
        return max(len(one) for one in self.beginnings)


# A power cut can leave a file whose first block was never written: it reads as zeros.
VERDICT_FILE = Kind("a verdict file", (b'{"schema":"pitcore.', bytes(19)))
PNG = Kind("a PNG picture", (b"\x89PNG\r\n\x1a\n",))


def try_file(
    path: Path,
    kind: Kind | None = None,
    *,
    makes_folders: bool = False,
    is_new: bool = False,
    appends: bool = False,
) -> None:
    """Refuse a file that could not be written, or that must not be. Nothing is left behind.

    Args:
        path: of the file.
        kind: of what is written; None takes any file that is there.
        makes_folders: whether missing folders are made later.
        is_new: whether no file may be there.
        appends: whether a file that is there is not replaced, but written to.

    Raises:
        OutputError: says why, and what to do.
    """
    try:
        place = trusted(path)
        _check_present(path, place, kind)
        if is_new and place.exists():
            raise OutputError(f"{path}: is there already, and is never overwritten; name another file")
        if appends and place.exists() and not os.access(place, os.R_OK | os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        _probe(_nearest(place.parent) if makes_folders else place.parent)
    except OSError as error:
        raise OutputError(cannot_be_written(path, error)) from error


def check_file(path: Path, kind: Kind) -> None:
    """Refuse a path that holds something else than a file of this kind. Whether this user may write is not checked.

    Raises:
        OutputError: says why, and what to do.
    """
    try:
        place = trusted(path)
        with suppress(PermissionError):  # the user who writes the file may look at it
            _check_present(path, place, kind)
    except OSError as error:
        raise OutputError(cannot_be_written(path, error)) from error


def try_folder(path: Path) -> None:
    """Refuse a folder that could not be made or written to. Nothing is left behind.

    Raises:
        OutputError: says why, and what to do.
    """
    try:
        _probe(_nearest(trusted(path)))
    except OSError as error:
        raise OutputError(cannot_be_written(path, error)) from error


def is_same(one: Path, other: Path) -> bool:
    """Return whether two paths name one file or folder, also by a symbolic or a hard link."""
    try:
        return one.samefile(other)
    except OSError:  # one is not there yet
        return os.path.realpath(one) == os.path.realpath(other)


def cannot_be_written(path: Path, error: OSError) -> str:
    """Return the line that says why a path cannot be written, and what to do."""
    return f"{path}: cannot be written: {error.strerror}; {_FIXES.get(error.errno or 0, 'name another place')}"


# Another path or user would not help against these; the rest is a fault of the configured place.
_OTHER_FIXES = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space",
    errno.EROFS: "the disk cannot be written: see `dmesg`, a failing card becomes read-only",
    errno.EIO: "check the disk",
    errno.EMFILE: _FIXES[errno.EMFILE],
    errno.ENFILE: "too many files are open on this machine: end other programs",
    errno.ENOMEM: "free some memory",
}
_OF_THE_PORT = {errno.EADDRINUSE, errno.EACCES, errno.EPERM}


def fix_of(error: OSError, place: str) -> str:
    """Return what to do about a place that the configuration names and that cannot be used.

    Args:
        error: of the system.
        place: what to do if the fault is of this path, or of the user who may not use it.
    """
    return _OTHER_FIXES.get(error.errno or 0, place)


def listening_fix(error: OSError, section: str) -> str:
    """Return which key of a section to change, ``bind`` or ``port``, if an address cannot be listened on."""
    if error.errno in _OF_THE_PORT:
        return f"choose another [{section}] port"
    return fix_of(error, f"correct [{section}] bind: an address of this machine, or a name of one")


def line_of(error: OSError) -> str | None:
    """Return the line for an error that no command has explained itself.

    Returns:
        None where it is no fault of a path, a disk or a limit: then it is ours.
    """
    if error.errno not in _FIXES:
        return None
    if error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {error.strerror}; {_FIXES[error.errno]}"
    if error.errno in _FULL:  # `replace_file` names the file
        return f"standard output: {error.strerror}; send it to a place with room"
    return None


def _check_present(path: Path, place: Path, kind: Kind | None) -> None:
    """Refuse what is at a place, if it is no regular file or of another kind. Raises OutputError, OSError."""
    check_regular(place)
    if kind is None or not place.exists():
        return
    with place.open("rb") as file:
        start = file.read(kind.longest)
    if not kind.fits(start):
        raise OutputError(f"{path}: is there already and is not {kind.name}; name another file, or remove this one")


def _nearest(folder: Path) -> Path:
    """Return the folder itself, or the first one above it that is there."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def _probe(folder: Path) -> None:
    """Write a small file into a folder and remove it. Raises OSError."""
    probe = folder / f".{secrets.token_hex(8)}.part"
    fd = os.open(probe, NEW_FILE, 0o600)
    try:
        os.write(fd, bytes(_PROBE_BYTES))
    finally:
        os.close(fd)
        probe.unlink()
