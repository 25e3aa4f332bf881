"""Defines the source of frames: one class for each ``kind`` of ``[source]``.

Each class says which ``belt`` its frames show, and which ``extra`` of pyproject.toml it needs. Of a real belt the light
is watched and the first cherries are held back; a recorded belt drives no valves.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from pitcore.config.cameras import Picamera2SourceConfig, UvcSourceConfig, VideoSourceConfig
from pitcore.config.section import MAX_SIDE_PX, Belt, Count, Level, Section, Share

_LightShare = Annotated[float, Meta(ge=0.0, le=4.0)]


class SpotConfig(Section, frozen=True):
    """A spot on the glass of one emulated camera; it does not move with the belt.

    Attributes:
        plane: 0 or 1.
        x_px, y_px, radius_px: its place and size.
        share: share of the light that still passes.
        glow: grey levels that it adds.
    """

    plane: Annotated[int, Meta(ge=0, le=1)]
    x_px: Count
    y_px: Count
    radius_px: Annotated[int, Meta(ge=1, le=MAX_SIDE_PX)]
    share: Share = 0.3
    glow: Level = 0


class DisturbanceConfig(Section, frozen=True):
    """Faults of the emulated line, to test that they are detected and that calibration fixes them.

    Attributes:
        light: share of its light that each plane's lamp gives; 1 is normal.
        dim_frames: number of frames over which the light changes evenly; 0 is at once.
        edge_light: share of the light at the side edges of the frame; it falls with the square of the distance.
        shift_px: offset of the second camera, to the right and down.
        spots: dirt on the glass.
        shows: which of the things on the belt are there.
        belt, encoder: whether each moves; either may be stopped alone.
        swapped: the cameras are exchanged.
        frozen: cameras that repeat their first picture of that time.
        first, last: first and last frame with the faults; by default all.
    """

    light: tuple[_LightShare, _LightShare] = (1.0, 1.0)
    dim_frames: Count = 0
    edge_light: tuple[Share, Share] = (1.0, 1.0)
    shift_px: tuple[Annotated[int, Meta(ge=-64, le=64)], Annotated[int, Meta(ge=-64, le=64)]] = (0, 0)
    spots: tuple[SpotConfig, ...] = ()
    shows: Literal["all", "foreign", "nothing"] = "all"
    belt: Literal["runs", "stands"] = "runs"
    encoder: Literal["counts", "dead"] = "counts"
    swapped: bool = False
    frozen: tuple[bool, bool] = (False, False)
    first: Count = 0
    last: Count | None = None

    def holds(self, index: int) -> bool:
        """Return whether frame ``index`` has the faults."""
        return self.first <= index and (self.last is None or index <= self.last)


class EmulatedSourceConfig(Section, frozen=True, tag_field="kind", tag="emulated"):
    """The procedural belt.

    Attributes:
        seed: of the drawn belt; each seed draws another one.
        cherries_per_frame: in view, on average.
        pit_share: share of cherries with a pit.
        advance_px: belt travel from frame to frame.
        frames_per_s: how often the emulated cameras expose.
        ring_frames: number of frames that are drawn before the start and repeated; 0 draws each frame when it is due.
        belt_level: grey level of the empty belt that is drawn; below 3.5 it is too dark to show its lamp.
        true_px_per_tick: scale of the drawn belt, if [belt] is to be wrong; None if [belt] is right.
        disturbance: None means no fault.
    """

    belt: ClassVar[Belt] = "emulated"
    extra: ClassVar[str | None] = None
    seed: Count = 1
    cherries_per_frame: Annotated[float, Meta(ge=0.0, le=200.0)] = 24.0
    pit_share: Share = 0.3
    advance_px: Annotated[int, Meta(ge=1, le=MAX_SIDE_PX)] = 340
    frames_per_s: Annotated[float, Meta(gt=0.0, le=1000.0)] = 20.0
    ring_frames: Annotated[int, Meta(ge=0, le=1000)] = 24
    belt_level: Annotated[float, Meta(ge=0.0, le=60.0)] = 6.4
    true_px_per_tick: Annotated[float, Meta(gt=0.0, le=1000.0)] | None = None
    disturbance: DisturbanceConfig | None = None

    def __post_init__(self) -> None:
        if self.ring_frames == 1:
            raise ValueError(
                "ring_frames = 1 is a frozen picture; a loop needs at least 2 frames, and 0 draws every frame"
            )


class ReplaySourceConfig(Section, frozen=True, tag_field="kind", tag="replay"):
    """A recording made by ``pitcore record``.

    Attributes:
        path: its folder.
        paced: keep the time between frames.
    """

    belt: ClassVar[Belt] = "recorded"
    extra: ClassVar[str | None] = None
    path: str
    paced: bool = True


CameraSourceConfig = Picamera2SourceConfig | UvcSourceConfig | VideoSourceConfig
SourceConfig = EmulatedSourceConfig | ReplaySourceConfig | CameraSourceConfig
