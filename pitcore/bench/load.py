"""What is asked of the service: cherries a frame, frames a second, workers, and for how long."""

from __future__ import annotations

import re
from dataclasses import dataclass

import msgspec

from pitcore.config import Config, EmulatedSourceConfig
from pitcore.errors import ConfigError

RING_FRAMES = 24  # 59 MB of the production geometry: more than any last-level cache of a board
MAX_CHERRIES = 1024


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked.

    Attributes:
        cherries: in view in a frame, on average.
        frames_per_s: how often one comes; None as fast as they are taken, from a source that waits.
        seconds: how long to measure.
        frames: or how many; None lets the seconds decide.
    """

    cherries: float
    frames_per_s: float | None
    seconds: float
    frames: int | None = None

    def __str__(self) -> str:
        pace = "as fast as it goes" if self.frames_per_s is None else f"{self.frames_per_s:g} frames/s"
        return f"{self.cherries:g} cherries in view, {pace}"


def parse_load(text: str, seconds: float, frames: int | None) -> Load:
    """Read ``CHERRIES`` or ``CHERRIES@FPS``; FPS may be ``max``. Raises ConfigError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(?:@(\d+(?:\.\d+)?|max))?", text)
    pace = found.group(2) if found else None
    cherries = float(found.group(1)) if found else -1.0
    frames_per_s = None if pace == "max" else float(pace or EmulatedSourceConfig().frames_per_s)
    if not 0.0 <= cherries <= 200.0 or (frames_per_s is not None and not 0.0 < frames_per_s <= 1000.0):
        raise ConfigError(
            f"--load {text}: wants CHERRIES or CHERRIES@FPS, at most 200 cherries in view and 1000 frames a second, "
            "FPS may be max; for instance 24@20"
        )
    return Load(cherries, frames_per_s, seconds, frames)


def config_for(config: Config, load: Load, workers: int | None) -> Config:
    """Return the configuration with the emulated belt at that load, every cherry judged, and so many workers."""
    belt = config.source if isinstance(config.source, EmulatedSourceConfig) else EmulatedSourceConfig()
    source = msgspec.structs.replace(
        belt,
        cherries_per_frame=load.cherries,
        frames_per_s=load.frames_per_s or belt.frames_per_s,
        ring_frames=RING_FRAMES,
        advance_px=min(belt.advance_px, config.frame.height_px),
    )
    runtime = msgspec.structs.replace(
        config.runtime, workers=workers or config.runtime.workers, max_cherries=MAX_CHERRIES
    )
    return msgspec.structs.replace(config, source=source, runtime=runtime)
