"""Computes how far the belt moves from frame to frame and during an exposure.

A belt that moves by more than a frame passes unseen between two frames: that is refused. One that moves so far that
the largest cherry is not always whole in a frame, or that smears a cherry during the exposure, is reported.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pitcore.config.cameras import Picamera2SourceConfig, UvcSourceConfig
from pitcore.config.sources import EmulatedSourceConfig

if TYPE_CHECKING:
    from pitcore.config.board import Config

SMALLEST_PX = 27.0  # diameter of the smallest real cherry, of 573 px
BLUR_PX = 3.0  # a ninth of it; the crops of the training have less than 1 px


@dataclass(frozen=True, slots=True)
class Travel:
    """How far the belt moves from frame to frame.

    Attributes:
        px: the distance.
        keys: that give it, with their values.
        fix: what to change if it is too far.
        in_force: False where the service takes the distance from an encoder, or the scale is measured later.
    """

    px: float
    keys: str
    fix: str
    in_force: bool = True


def travel_of(config: Config) -> Travel | None:
    """Return how far the belt moves from frame to frame; None if the configuration does not say."""
    source = config.source
    if isinstance(source, EmulatedSourceConfig):
        return Travel(source.advance_px, f"source.advance_px = {source.advance_px}", "lower advance_px")
    if not isinstance(source, Picamera2SourceConfig | UvcSourceConfig):
        return None
    if isinstance(source, Picamera2SourceConfig) and source.trigger_ticks is not None:
        px_per_tick = abs(config.px_per_tick)
        keys = f"source.trigger_ticks = {source.trigger_ticks} at {px_per_tick:g} px a tick (belt.px_per_tick)"
        values = config.calibration.values
        is_measured = config.calibration.file is None or (values is not None and values.belt is not None)
        return Travel(source.trigger_ticks * px_per_tick, keys, "lower trigger_ticks", is_measured)
    if source.px_per_s is None:
        return None
    keys = f"source.px_per_s = {source.px_per_s:g} at source.frames_per_s = {source.frames_per_s:g}"
    has_encoder = config.actuation.kind != "none"
    fix = "raise frames_per_s, or correct px_per_s"
    return Travel(source.px_per_s / source.frames_per_s, keys, fix, not has_encoder)


def misfit(config: Config) -> str | None:
    """Return why cherries cannot be seen with this speed, frame rate and exposure; None if they can."""
    travel, height_px = travel_of(config), config.frame.height_px
    if travel is not None and travel.in_force and travel.px > height_px:
        return f"{_too_far(travel, config)}; {travel.fix}: at most {height_px} px a frame"
    if config.calibration.file is not None and config.calibration.values is None:
        return None  # `pitcore calibrate exposure` is yet to find the exposure in force
    exposure_us, blur_px = _blur(config)
    if blur_px > SMALLEST_PX and config.actuation.kind == "none":
        return (
            f"{_smears(config, exposure_us, blur_px)}, more than the smallest cherry is long ({SMALLEST_PX:g} px); "
            f"lower exposure_us to at most {exposure_us * BLUR_PX / blur_px:.0f}"
        )
    return None


def doubts(config: Config) -> list[str]:
    """Return one sentence for each reason why cherries of a real belt may not be whole, or not be sharp."""
    found = []
    travel, height_px, cherry_px = travel_of(config), config.frame.height_px, config.actuation.cherry_px
    shown_px = height_px - abs(config.shift_px[1])  # frames are cut down to what both planes show
    if travel is not None and travel.px > height_px:
        found.append(f"{_too_far(travel, config)}; {travel.fix}")
    elif travel is not None and travel.px > shown_px - cherry_px:
        found.append(
            f"{travel.keys}: the belt moves {travel.px:.0f} px between two frames of {shown_px} px: a cherry of "
            f"actuation.cherry_px = {cherry_px} may be whole in none of them; {travel.fix}: at most "
            f"{max(0, shown_px - cherry_px)} px a frame"
        )
    exposure_us, blur_px = _blur(config)
    if blur_px > BLUR_PX:
        found.append(
            f"{_smears(config, exposure_us, blur_px)}: a pit may not be seen; lower the exposure to at most "
            f"{exposure_us * BLUR_PX / blur_px:.0f} us, with more light"
        )
    return found


def _too_far(travel: Travel, config: Config) -> str:
    return (
        f"{travel.keys}: the belt moves {travel.px:.0f} px between two frames, which is more than frame.height_px = "
        f"{config.frame.height_px}: cherries would pass unseen"
    )


def _smears(config: Config, exposure_us: float, blur_px: float) -> str:
    speed = getattr(config.source, "px_per_s", 0.0)
    keys = f"exposure_us = {exposure_us:g} at source.px_per_s = {speed:g}"
    return f"{keys}: the belt moves {blur_px:.0f} px during the exposure"


def _blur(config: Config) -> tuple[float, float]:
    """Return the longest exposure in microseconds, and how far the belt moves in it; zeros if that is not known.

    Calibrated exposures replace those of the file.
    """
    source, values = config.source, config.calibration.values
    if not isinstance(source, Picamera2SourceConfig) or source.px_per_s is None:
        return 0.0, 0.0
    exposures = [float(camera.exposure_us) for camera in source.cameras]
    if values is not None:
        calibrated = [plane.exposure_us for plane in values.planes.values()]
        exposures = [one for one in calibrated if one is not None] or exposures
    longest_us = max(exposures)
    return longest_us, longest_us * source.px_per_s / 1e6
