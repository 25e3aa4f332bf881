"""State on disk changes through here, so that a power cut leaves the old state or the new one, never half."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

# For a file that must not be there yet. A link that somebody has put at its name is not followed.
NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def replace_file(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file: to a temporary name, fsync, rename, fsync the directory. In that order.

    Args:
        path: what is to be replaced; its directory exists. A symbolic link stays, and the file it names is replaced.
        write: puts the content into the open file.

    Raises:
        OSError: nothing changed, and the temporary file is gone where that was possible; or, if it was the directory
            that could not be synced, the new content stands but may not survive a power cut. It names ``path``.
    """
    try:
        target = trusted(path)
        check_regular(target)
        _replace(target, write)
    except OSError as error:
        error.filename, error.filename2 = str(path), None  # not the temporary name, which nobody knows
        raise


def _replace(target: Path, write: Callable[[BinaryIO], object]) -> None:
    temporary = target.with_name(f".{secrets.token_hex(8)}.part")  # a name that nobody can guess
    with os.fdopen(os.open(temporary, NEW_FILE, 0o666), "wb") as file:
        try:
            write(file)
            file.flush()
            os.fsync(file.fileno())
            temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    sync_directory(target.parent)


def trusted(path: Path) -> Path:
    """Return a path without its symbolic links, each of which was made by this user or by root.

    Anybody can put a link into a folder like ``/tmp``. A process that follows it writes where it never meant to.

    Args:
        path: its last parts need not exist.

    Raises:
        OSError: another user made a link on the way, or there are too many.
    """
    place, rest = Path(path.anchor or Path.cwd()), list(path.parts[1 if path.anchor else 0 :])
    links = 0
    while rest:
        part = rest.pop(0)
        place = place.parent if part == ".." else place / part
        try:
            found = place.lstat()
        except OSError:
            continue  # it is not there, or cannot be looked at: opening it says why
        if not stat.S_ISLNK(found.st_mode):
            continue
        links += 1
        if links > _MAX_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
        if found.st_uid not in {0, os.geteuid()} and (os.geteuid() == 0 or _is_shared(place.parent)):
            raise OSError(errno.EPERM, f"{place} is a symbolic link of another user (uid {found.st_uid})", str(path))
        aim = place.readlink()
        rest = [*aim.parts[1 if aim.anchor else 0 :], *rest]
        place = Path(aim.anchor) if aim.anchor else place.parent
    return place


_MAX_LINKS = 40  # as Linux has it


def _is_shared(folder: Path) -> bool:
    """Return whether everybody may put files into a folder."""
    return bool(folder.stat().st_mode & stat.S_IWOTH)


_SPECIAL = {
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
}


def check_regular(path: Path) -> None:
    """Refuse to replace or to write what is there and is no regular file. Raises OSError."""
    try:
        kind = stat.S_IFMT(path.stat().st_mode)
    except FileNotFoundError:
        return
    if kind == stat.S_IFDIR:
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if kind != stat.S_IFREG:
        raise OSError(errno.EINVAL, f"it is {_SPECIAL.get(kind, 'something else')}, not a regular file", str(path))


def sync_directory(directory: Path) -> None:
    """Make renames in a directory survive a power cut."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
