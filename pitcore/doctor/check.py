"""What a check finds, and the board it looks at: files below a root, so that any board's can be looked at anywhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

Status = Literal["ok", "warn", "fail", "skip"]


class Check(msgspec.Struct, frozen=True):
    """One line of the report.

    Attributes:
        name: what was looked at.
        status: ``ok``; ``warn`` if it runs, but not as it should; ``fail`` if it must not go to the line so; ``skip``
            if this machine has no such thing.
        found: what there is.
        fix: what to do; empty for ``ok`` and ``skip``.
    """

    name: str
    status: Status
    found: str
    fix: str = ""


def ok(name: str, found: str) -> Check:
    """Return a check that is good."""
    return Check(name, "ok", found)


def warn(name: str, found: str, fix: str) -> Check:
    """Return a check that could be better."""
    return Check(name, "warn", found, fix)


def fail(name: str, found: str, fix: str) -> Check:
    """Return a check that must be fixed."""
    return Check(name, "fail", found, fix)


def skip(name: str, found: str) -> Check:
    """Return a check that does not concern this machine."""
    return Check(name, "skip", found)


@dataclass(frozen=True, slots=True)
class SystemRoot:
    """The files by which a board is judged.

    Attributes:
        root: ``/``, or a folder that holds a board's ``proc``, ``sys``, ``dev``, ``etc`` and ``run``.
    """

    root: Path = Path("/")

    def path(self, absolute: str) -> Path:
        """Return where an absolute path lies."""
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
        """Return what matches in a folder, sorted."""
        return sorted(self.path(folder).glob(pattern))

    @property
    def model(self) -> str | None:
        """The board's name as its device tree has it; None on a machine without one."""
        return self.text("/proc/device-tree/model")

    @property
    def is_pi(self) -> bool:
        """True on a Raspberry Pi."""
        return (self.model or "").startswith("Raspberry Pi")
