"""State on disk changes through here, so that a power cut leaves the old state or the new one, never half."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO


def replace_file(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file: to a temporary name, fsync, rename, fsync the directory. In that order.

    Args:
        path: what is to be replaced; its directory exists.
        write: puts the content into the open file.

    Raises:
        OSError: nothing changed, and the temporary file is gone where that was possible; or, if it was the directory
            that could not be synced, the new content stands but may not survive a power cut.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Make renames in a directory survive a power cut."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
