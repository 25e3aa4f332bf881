"""Defines the parameters of an emulated belt (sizes, speeds, shares) and checks them. Renders nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from pitcore.errors import ConfigError

_COVERED_PER_CHERRY_PX2 = 80 * 80  # one cherry with the room around it; half of a frame can be filled
_MIN_LOOP_PX = 192  # an object and the gap behind it


@dataclass(frozen=True, slots=True)
class Strip:
    """A reference strip of white tape over an edge of one plane; it does not move.

    Attributes:
        plane: number of the plane.
        rows, columns: rows and columns of the frame that it covers.
        level: grey level; the default is as bright as cherries.
    """

    plane: int
    rows: slice
    columns: slice
    level: int = 150


@dataclass(frozen=True, slots=True)
class BeltSpec:
    """An emulated belt under two cameras; the defaults are the reference load.

    Attributes:
        height_px, width_px: size of a frame; the belt moves along the height, towards larger rows.
        seed: equal seeds give equal frames, byte for byte on one machine.
        cherries_per_frame: average number of cherries with their middle in a frame.
        pit_share, touching_share: shares of all cherries, 0..1.
        foreign_share: number of leaves, stems and stones for each cherry, 0..1.
        advance_px: belt travel between two frames.
        px_per_tick: belt travel for each encoder tick.
        frames_per_s: frame rate of the cameras.
        frames: number of frames; None is endless, or one pass over the real crops.
        ring: render this many frames at start and repeat them as a belt loop; 0 renders each frame when it is read.
        noise: standard deviation of the sensor noise on the dark belt, 0..255 scale; cherries get shot noise in
            proportion.
        start_tick: encoder count of the first frame.
        belt_level: grey level of the empty belt, including 3 of the sensor's pedestal.
        strips: reference strips of white tape.
        rails_px: widths at the left and right edge where no cherry can be, because of strips.
    """

    height_px: int = 500
    width_px: int = 2464
    seed: int = 1
    cherries_per_frame: float = 24.0
    pit_share: float = 0.25
    touching_share: float = 0.04
    foreign_share: float = 0.02
    advance_px: int = 340
    px_per_tick: float = 0.5
    frames_per_s: float = 20.0
    frames: int | None = None
    ring: int = 0
    noise: float = 1.5
    start_tick: int = 0
    belt_level: float = 6.4
    strips: tuple[Strip, ...] = ()
    rails_px: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        """Raise ConfigError for the first value that is out of range or contradicts another."""
        for name, low, high in (
            ("height_px", 64, 16384),
            ("width_px", 64, 16384),
            ("cherries_per_frame", 0.0, 4096.0),
            ("pit_share", 0.0, 1.0),
            ("touching_share", 0.0, 1.0),
            ("foreign_share", 0.0, 1.0),
            ("advance_px", 1, 16384),
            ("px_per_tick", 1e-3, 1e3),
            ("frames_per_s", 1e-3, 1e4),
            ("ring", 0, 4096),
            ("noise", 0.0, 20.0),
            ("belt_level", 0.0, 60.0),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(f"belt: {name} = {value} is outside {low}..{high}")
        if self.frames is not None and self.frames < 0:
            raise ConfigError(f"belt: frames = {self.frames} is negative; leave it out for an endless belt")
        if not math.isclose(self.ticks_per_frame * self.px_per_tick, self.advance_px):
            raise ConfigError(
                f"belt: advance_px = {self.advance_px} is not a multiple of px_per_tick = {self.px_per_tick}"
            )
        if self.cherries_per_frame * _COVERED_PER_CHERRY_PX2 > 0.5 * self.height_px * self.width_px:
            raise ConfigError(f"belt: cherries_per_frame = {self.cherries_per_frame} do not fit the frame; take fewer")
        if self.ring and self.ring * self.advance_px < _MIN_LOOP_PX:
            raise ConfigError(f"belt: ring = {self.ring} makes a loop under {_MIN_LOOP_PX} px; take more frames")

    @property
    def ticks_per_frame(self) -> int:
        """Encoder ticks between two frames."""
        return round(self.advance_px / self.px_per_tick)

    @property
    def cherries_per_px(self) -> float:
        """Mean number of cherries for each pixel of belt length."""
        return self.cherries_per_frame / self.height_px

    def tick_of(self, index: int) -> int:
        """Return the encoder count of frame number ``index``."""
        return self.start_tick + index * self.ticks_per_frame

    def shift_px(self, tick: int) -> int:
        """Return the travel of the belt at a tick, in whole pixels. A row is this minus the belt position."""
        return tick * self.advance_px // self.ticks_per_frame  # integers: exact however far the belt has run


@dataclass(frozen=True, slots=True)
class RealCrops:
    """Real crops to lay on the belt instead of procedural cherries.

    Attributes:
        folder: holds ``cherry_clean/`` and ``cherry_pit/``.
        limit: use this many, after shuffling; None uses all.
    """

    folder: Path
    limit: int | None = None
