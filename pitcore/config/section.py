"""Defines the base of every section, and types with their bounds."""

from __future__ import annotations

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
