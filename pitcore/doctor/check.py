"""Defines the result of a check, and access to a board's files below a root folder, so that a copy can be checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

Status = Literal["ok", "warn", "fail", "skip"]


class Check(msgspec.Struct, frozen=True):
    """One line of the report.

    Attributes:
        name: what was checked.
        status: ``ok``; ``warn`` if the board works, but not as well as it should; ``fail`` if it must be fixed before
            it goes to the line; ``skip`` if this machine has no such thing.
        found: what was found.
        fix: what to do; empty for ``ok`` and ``skip``.
    """

    name: str
    status: Status
    found: str
    fix: str = ""


def ok(name: str, found: str) -> Check:
    """Return a check that passed."""
    return Check(name, "ok", found)


def warn(name: str, found: str, fix: str) -> Check:
    """Return a check of something that works, but should be improved."""
    return Check(name, "warn", found, fix)


def fail(name: str, found: str, fix: str) -> Check:
    """Return a check of something that must be fixed."""
    return Check(name, "fail", found, fix)


def skip(name: str, found: str) -> Check:
    """Return a check that does not apply to this machine."""
    return Check(name, "skip", found)


@dataclass(frozen=True, slots=True)
class SystemRoot:
    """Gives access to the system files of a board.

    Attributes:
        root: ``/``, or a folder that holds a board's ``proc``, ``sys``, ``dev``, ``etc`` and ``run``.
    """

    root: Path = Path("/")

    def path(self, absolute: str) -> Path:
        """Return an absolute path below the root."""
        return self.root / absolute.lstrip("/")

    def text(self, absolute: str) -> str | None:
        """Return a file's text, None if it cannot be read."""
        try:
            return self.path(absolute).read_text(encoding="utf-8", errors="replace").strip("\0\n ")
        except OSError:
            return None

    def number(self, absolute: str) -> int | None:
        """Return the whole number in a file, None if there is none."""
        text = self.text(absolute)
        return int(text) if text is not None and text.lstrip("-").isdigit() else None

    def find(self, folder: str, pattern: str) -> list[Path]:
        """Return the paths in a folder that match a pattern, sorted."""
        return sorted(self.path(folder).glob(pattern))

    @property
    def model(self) -> str | None:
        """The board's name from its device tree; None on a machine without a device tree."""
        return self.text("/proc/device-tree/model")

    @property
    def is_pi(self) -> bool:
        """True on a Raspberry Pi."""
        return (self.model or "").startswith("Raspberry Pi")
