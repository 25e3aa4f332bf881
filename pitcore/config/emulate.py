"""Replaces the cameras of a configuration by an emulated belt, to run it without cameras."""

from __future__ import annotations

import msgspec

from pitcore.config.board import Config
from pitcore.config.calibration import AlignmentConfig, CalibrationConfig
from pitcore.config.sources import EmulatedSourceConfig

_REFERENCE_PX = 500 * 2464


def emulated(config: Config) -> Config:
    """Return the configuration with an emulated belt of the same frames, rate and speed; the rest is unchanged.

    A configuration that is emulated already is returned unchanged. If the speed is not known, or is more than a frame's
    height from frame to frame, the belt moves by two thirds of the height. The belt moves towards larger rows by whole
    pixels a frame, so ``belt.px_per_tick`` becomes the next value that allows it; small frames hold fewer cherries.
    Valves are simulated. The calibration of the real cameras is left out.
    """
    if isinstance(config.source, EmulatedSourceConfig):
        return config
    frame, known = config.frame, EmulatedSourceConfig()
    frames_per_s = getattr(config.source, "frames_per_s", known.frames_per_s)
    travel_px = round((getattr(config.source, "px_per_s", None) or 0.0) / frames_per_s)
    advance_px = travel_px if 1 <= travel_px <= frame.height_px else frame.height_px * 2 // 3
    ticks = max(1, round(advance_px / abs(config.px_per_tick)))
    room = frame.height_px * frame.width_px / _REFERENCE_PX
    source = EmulatedSourceConfig(
        frames_per_s=frames_per_s,
        advance_px=advance_px,
        cherries_per_frame=known.cherries_per_frame * min(1.0, room),
    )
    actuation = config.actuation
    if actuation.kind == "gpio":  # the emulated belt turns no encoder that has wires
        actuation = msgspec.structs.replace(actuation, kind="simulated")
    return msgspec.structs.replace(
        config,
        source=source,
        actuation=actuation,
        belt=msgspec.structs.replace(config.belt, px_per_tick=advance_px / ticks),
        calibration=CalibrationConfig(),  # light and place of the real cameras
        alignment=AlignmentConfig(),
    )
