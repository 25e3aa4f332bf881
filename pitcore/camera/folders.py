"""Walks a folder for every command that takes one, finds pictures in it, and lists what it skipped.

Unreadable folders, links to folders, pictures of another format and pipes are skipped and listed, so that the user
notices if files are missing. No file is opened, so a pipe cannot block.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from pitcore.plain_text import printable

_OTHER_PICTURES = frozenset({".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".heic"})
_NAMED = 5  # skipped entries listed in one message
LINK = "link to a folder"


class Entry(NamedTuple):
    """An entry that a walk found.

    Attributes:
        path: of it.
        mode: ``st_mode``, of what a link points to; 0 where that is not known.
        passed_over: why the walk did not enter it, or cannot tell what it is; empty for all else.
    """

    path: Path
    mode: int
    passed_over: str = ""

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file."""
        return stat.S_ISREG(self.mode)


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
    for entry in below(folder):
        why = entry.passed_over or _why_not(entry)
        if why:
            found.passed_over.append(f"{printable(entry.path.relative_to(folder).as_posix())} ({why})")
        elif entry.path.suffix.lower() == ".png" and not stat.S_ISDIR(entry.mode):
            found.pictures.append(entry.path)
    found.pictures.sort(key=lambda path: path.relative_to(folder).as_posix())
    return found


def _why_not(entry: Entry) -> str:
    """Return why a file that looks like a picture is none that can be used; empty for all others."""
    suffix = entry.path.suffix.lower()
    if stat.S_ISDIR(entry.mode):
        return ""
    if suffix in _OTHER_PICTURES:
        return "not a PNG"
    return "not a regular file" if suffix == ".png" and not entry.is_file else ""


def below(folder: Path) -> Iterator[Entry]:
    """Yield everything below a folder, in the order of names; links to folders and unreadable folders are not entered.

    A folder is yielded before what it holds, or once, with the reason, where it cannot be entered. ``folder`` itself is
    yielded only in that case.
    """
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        yield Entry(folder, 0, f"folder cannot be read: {error.strerror}")
        return
    for entry in entries:
        path = folder / entry.name
        try:
            mode = entry.stat().st_mode
        except OSError as error:
            yield Entry(path, 0, error.strerror or "unreadable")
            continue
        if stat.S_ISDIR(mode) and entry.is_symlink():
            yield Entry(path, mode, LINK)
        else:
            yield Entry(path, mode)
            if stat.S_ISDIR(mode):
                yield from below(path)
