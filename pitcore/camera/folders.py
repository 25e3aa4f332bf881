"""Walks a folder for pictures, for every command that does, and remembers what it passed over.

A folder that cannot be read, a link to a folder, a picture of another format, a pipe: each is passed over and named, so
that nobody takes half of the pictures for all of them. Nothing is opened here, so no pipe makes it wait.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pitcore.plain_text import printable

_OTHER_PICTURES = frozenset({".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".heic"})
_NAMED = 5  # of what was passed over, in one line


@dataclass(slots=True)
class Found:
    """What lies below a folder.

    Attributes:
        pictures: every PNG file, sorted by its path relative to the folder.
        passed_over: what was not looked at, as ``NAME (why)``.
    """

    pictures: list[Path] = field(default_factory=list)
    passed_over: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """Return one line that says what was passed over; empty if nothing was."""
        if not self.passed_over:
            return ""
        more = f" and{len(self.passed_over) - _NAMED} more" if len(self.passed_over) > _NAMED else ""
        return f"{len(self.passed_over)} skipped: {', '.join(self.passed_over[:_NAMED])}{more}"


def walk(folder: Path) -> Found:
    """Look for PNG files below a folder that exists, itself perhaps a link."""
    found = Found()
    for path, why in _below(folder):
        if why:
            found.passed_over.append(f"{printable(path.relative_to(folder).as_posix())} ({why})")
        else:
            found.pictures.append(path)
    found.pictures.sort(key=lambda path: path.relative_to(folder).as_posix())
    return found


def _below(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield each picture with an empty reason, and whatever else matters with the reason why it is passed over."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        yield folder, f"folder cannot be read: {error.strerror}"
        return
    for entry in entries:
        path = folder / entry.name
        try:
            mode = entry.stat().st_mode  # of what a link points to
        except OSError as error:
            yield path, f"{error.strerror}"
            continue
        if stat.S_ISDIR(mode):
            if entry.is_symlink():
                yield path, "link to a folder"
            else:
                yield from _below(path)
        elif path.suffix.lower() == ".png":
            yield path, "" if stat.S_ISREG(mode) else "not a regular file"
        elif path.suffix.lower() in _OTHER_PICTURES:
            yield path, "not a PNG"
