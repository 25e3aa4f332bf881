"""Replaces the cameras of a configuration by an emulated belt, to run it without cameras."""

from __future__ import annotations

from typing import TypeGuard

import msgspec

from pitcore.config.board import Config
from pitcore.config.calibration import AlignmentConfig, CalibrationConfig
from pitcore.config.sources import EmulatedSourceConfig
from pitcore.config.travel import Travel, travel_of

_REFERENCE_PX = 500 * 2464


def emulated(config: Config) -> Config:
    """Return the configuration with an emulated belt of the same frames, rate and speed; the rest is unchanged.

    A configuration that is emulated already is returned unchanged. If the speed is not known, or is more than a frame's
    height from frame to frame, the belt moves by two thirds of the height; ``other_speed`` says so. The belt moves
    towards larger rows by whole pixels a frame, so ``belt.px_per_tick`` becomes the next value that allows it; small
    frames hold fewer cherries. Valves are simulated. The calibration of the real cameras is left out.
    """
    if isinstance(config.source, EmulatedSourceConfig):
        return config
    frame, known = config.frame, EmulatedSourceConfig()
    frames_per_s = getattr(config.source, "frames_per_s", known.frames_per_s)
    travel = travel_of(config)
    advance_px = round(travel.px) if _fits(travel, frame.height_px) else frame.height_px * 2 // 3
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


def other_speed(config: Config) -> str | None:
    """Return in words that ``emulated`` takes a speed that the configuration does not give; None if it does give it."""
    if isinstance(config.source, EmulatedSourceConfig):
        return None
    travel, height_px = travel_of(config), config.frame.height_px
    if _fits(travel, height_px):
        return None
    taken = f"the emulated belt moves {height_px * 2 // 3} px a frame"
    if travel is None:
        return f"{taken}: the configuration gives no speed of the belt"
    return f"{taken}, not {travel.px:g} px: {travel.keys} fits no frame of {height_px} px"


def _fits(travel: Travel | None, height_px: int) -> TypeGuard[Travel]:
    return travel is not None and 1 <= round(travel.px) <= height_px
