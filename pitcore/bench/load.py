"""Defines the load of a benchmark: cherries in view, frames a second, workers, and duration."""

from __future__ import annotations

import re
from dataclasses import dataclass

import msgspec

from pitcore.config import Config, EmulatedSourceConfig
from pitcore.errors import ConfigError

RING_FRAMES = 24  # 59 MB of the production geometry: more than any last-level cache of a board
MAX_CHERRIES = 1024
STOP_TIMEOUT_S = 600.0  # Ctrl-C must not become the error that the source hangs, while it draws a frame
WARM_UP_FRAMES, LEAST_FRAMES = 30, 20


@dataclass(frozen=True, slots=True)
class Load:
    """The load of one run.

    Attributes:
        cherries: average number of cherries in view in a frame.
        frames_per_s: frame rate; None delivers a frame whenever the loop asks for one.
        seconds: duration of the measurement.
        frames: number of frames to measure instead; None measures for ``seconds``.
        warm_up_frames: number of frames before the measured ones.
        least_frames: number of frames to measure although ``seconds`` have passed.
    """

    cherries: float
    frames_per_s: float | None
    seconds: float
    frames: int | None = None
    warm_up_frames: int = WARM_UP_FRAMES
    least_frames: int = LEAST_FRAMES

    def __str__(self) -> str:
        pace = "as fast as it goes" if self.frames_per_s is None else f"{self.frames_per_s:g} frames/s"
        return f"{self.cherries:g} cherries in view, {pace}"


def parse_load(text: str, seconds: float, frames: int | None) -> Load:
    """Read ``CHERRIES`` or ``CHERRIES@FPS``; FPS may be ``max``. Raises ConfigError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(?:@(\d+(?:\.\d+)?|max))?", text)
    pace = match.group(2) if match else None
    cherries = float(match.group(1)) if match else -1.0
    frames_per_s = None if pace == "max" else float(pace or EmulatedSourceConfig().frames_per_s)
    if not 0.0 <= cherries <= 200.0 or (frames_per_s is not None and not 0.0 < frames_per_s <= 1000.0):
        raise ConfigError(
            f"--load {text}: wants CHERRIES or CHERRIES@FPS, at most 200 cherries in view and 1000 frames a second, "
            "FPS may be max; for instance 24@20"
        )
    return Load(cherries, frames_per_s, seconds, frames)


def config_for(config: Config, load: Load, workers: int | None) -> Config:
    """Return the configuration with the emulated belt at this load, no limit of cherries, and ``workers`` workers."""
    belt = config.source if isinstance(config.source, EmulatedSourceConfig) else EmulatedSourceConfig()
    source = msgspec.structs.replace(
        belt,
        cherries_per_frame=load.cherries,
        frames_per_s=load.frames_per_s or belt.frames_per_s,
        ring_frames=RING_FRAMES,
        advance_px=min(belt.advance_px, config.frame.height_px),
    )
    runtime = msgspec.structs.replace(
        config.runtime,
        workers=workers or config.runtime.workers,
        max_cherries=MAX_CHERRIES,
        stop_timeout_s=STOP_TIMEOUT_S,
    )
    return msgspec.structs.replace(config, source=source, runtime=runtime)
