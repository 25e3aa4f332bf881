"""Defines the base of every section, types with their bounds, and the message for a file that cannot be read."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Level = Annotated[int, Meta(ge=0, le=255)]
GreyMean = Annotated[float, Meta(ge=0.0, le=255.0)]
Share = Annotated[float, Meta(ge=0.0, le=1.0)]
Count = Annotated[int, Meta(ge=0)]
Belt = Literal["real", "emulated", "recorded"]  # what a source shows; every class of [source] has it as `belt`
MAX_SIDE_PX = 8192  # four times the widest camera we know of; the core's coordinates are 32-bit
MIN_PX_PER_TICK = 1e-6  # in either direction; a smaller value means no movement


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of every section: immutable, refuses unknown keys."""


def cannot_be_read(path: Path, error: OSError, otherwise: str) -> str:
    """Return the line that says why a file cannot be read, and what to do.

    Args:
        path: of the file.
        error: why.
        otherwise: what to do, unless this user lacks the permission.
    """
    fix = otherwise
    if error.errno in {errno.EACCES, errno.EPERM}:
        fix = f"it is there, but this user may not read it: use sudo, or let this user read it (ls -l {path})"
    return f"{path}: cannot be read: {error.strerror}; {fix}"
