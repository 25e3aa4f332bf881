"""Finds the pictures below a folder, for every command that takes one, and lists what it skipped.

Unreadable folders, links to folders, pictures of another format and pipes are skipped and listed, so that the user
notices if pictures are missing. No file is opened, so a pipe cannot block.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pitcore.plain_text import printable

_OTHER_PICTURES = frozenset({".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".heic"})
_NAMED = 5  # skipped entries listed in one message


@dataclass(slots=True)
class Found:
    """The pictures below a folder.

    Attributes:
        pictures: every PNG file, sorted by its path relative to the folder.
        passed_over: every skipped entry, as ``NAME (why)``.
    """

    pictures: list[Path] = field(default_factory=list)
    passed_over: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """Return one line that lists skipped entries; empty if nothing was skipped."""
        if not self.passed_over:
            return ""
        more = f" and {len(self.passed_over) - _NAMED} more" if len(self.passed_over) > _NAMED else ""
        return f"{len(self.passed_over)} skipped: {', '.join(self.passed_over[:_NAMED])}{more}"


def walk(folder: Path) -> Found:
    """Find the PNG files below an existing folder, which may itself be a link."""
    found = Found()
    for path, why in _below(folder):
        if why:
            found.passed_over.append(f"{printable(path.relative_to(folder).as_posix())} ({why})")
        else:
            found.pictures.append(path)
    found.pictures.sort(key=lambda path: path.relative_to(folder).as_posix())
    return found


def _below(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield (path, reason): an empty reason for a picture, or why the entry is skipped."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        yield folder, f"folder cannot be read: {error.strerror}"
        return
    for entry in entries:
        path = folder / entry.name
        try:
            mode = entry.stat().st_mode  # follows links
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
