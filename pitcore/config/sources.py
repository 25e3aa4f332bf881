"""Where frames come from: one class for each ``kind`` of ``[source]``."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from pitcore.config.section import MAX_SIDE_PX, Count, Section, Share


class EmulatedSourceConfig(Section, frozen=True, tag_field="kind", tag="emulated"):
    """The procedural belt."""

    seed: Count = 1
    cherries_per_frame: Annotated[float, Meta(ge=0.0, le=200.0)] = 24.0
    pit_share: Share = 0.3
    advance_px: Annotated[int, Meta(ge=1, le=MAX_SIDE_PX)] = 340
    frames_per_s: Annotated[float, Meta(gt=0.0, le=1000.0)] = 20.0
    ring_frames: Annotated[int, Meta(ge=0, le=1000)] = 24


class ReplaySourceConfig(Section, frozen=True, tag_field="kind", tag="replay"):
    """A recording made by ``pitcore record``."""

    path: str
    paced: bool = True


SourceConfig = EmulatedSourceConfig | ReplaySourceConfig
