"""Writes files that a web server or a board's account can read, whatever the publisher's umask is."""

from __future__ import annotations

import stat
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO

from pitcore.camera.folders import Entry, below
from pitcore.durable import replace_file
from pitcore.errors import PublishError

_FOLDER, _FILE = 0o755, 0o644
_OTHERS_READ, _OTHERS_ENTER = 0o044, 0o011  # by the group, or by everybody


def make_served_folder(folder: Path) -> None:
    """Create a folder and its missing parents, readable by everybody. Raises OSError."""
    if folder.is_dir():
        return
    make_served_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    with suppress(PermissionError):  # a stick's file system has no modes
        folder.chmod(_FOLDER)


def write_served_file(path: Path, content: bytes) -> None:
    """Write a file and its folder, readable by everybody. Raises OSError."""
    make_served_folder(path.parent)
    replace_file(path, partial(_write, content))
    with suppress(PermissionError):
        path.chmod(_FILE)


def check_readable(directory: Path) -> None:
    """Raise PublishError if a web server under another account cannot read every file of a repository."""
    for path, mode, passed_over in (Entry(directory, directory.stat().st_mode), *below(directory)):
        if passed_over:
            raise PublishError(f"{path}: {passed_over}; a repository holds files and folders only: put them there")
        enters = not stat.S_ISDIR(mode) or mode & _OTHERS_ENTER
        if not (mode & _OTHERS_READ and enters):
            raise PublishError(
                f"{path}: only its owner may read it, and a web server is another user; run `chmod -R a+rX {directory}`"
            )


def _write(content: bytes, file: BinaryIO) -> None:
    file.write(content)
