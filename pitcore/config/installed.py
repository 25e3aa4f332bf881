"""Finds the configuration of this board: the one rule of the commands that act on it and are given no other."""

from __future__ import annotations

from pathlib import Path

BOARD_CONFIG = Path("/etc/pitcore/board.toml")  # the Debian package installs it, and its units name it


def board_config() -> Path | None:
    """Return the installed configuration, or None if there is none.

    One that this user may not look at, or a link that leads nowhere, is there: reading it says why it cannot be used.
    """
    return BOARD_CONFIG if is_there(BOARD_CONFIG) else None


def is_there(path: Path) -> bool:
    """Return whether a path exists, as far as this user can tell. What may not be looked at counts as there."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True
