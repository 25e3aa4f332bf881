"""Lists values that make a configuration less safe than the defaults. They are allowed, and reported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pitcore.config.cameras import Picamera2SourceConfig, UvcSourceConfig
from pitcore.config.line import FailsafeConfig

if TYPE_CHECKING:
    from pitcore.config.board import Config
    from pitcore.config.calibration import PlaneCalibration

DARKEST = 3.5  # grey levels; an empty belt below cannot be distinguished from the camera's black
CAMERAS = (Picamera2SourceConfig, UvcSourceConfig)  # what stands over a real belt
STRENGTH = ("alarm", "maybe", "reject")


def weakened(config: Config) -> list[str]:
    """Return one sentence for each value that lets more pass than its default, or hides a fault."""
    found = []
    if isinstance(config.source, CAMERAS):
        found += _unwatched_light(config)
    if config.actions.side == "pass":
        found.append("[actions] side = pass: cherries that a lateral edge cuts pass unjudged")
    default = FailsafeConfig()
    for name in FailsafeConfig.__struct_fields__:
        mine, usual = getattr(config.failsafe, name), getattr(default, name)
        if STRENGTH.index(mine) < STRENGTH.index(usual):
            found.append(f"[failsafe] {name} = {mine}: weaker than the default {usual}")
    if config.actuation.fail_safe == "pass":
        found.append("[actuation] fail_safe = pass: belt that was not judged passes")
    if config.mqtt.shows_password:
        found.append("[mqtt] tls = false: the password goes over the network for everybody to read; set tls = true")
    return found


def belt_levels(config: Config) -> list[float]:
    """Return the grey level of the empty belt in each plane, for detecting a lamp that fails.

    It is the calibrated level, otherwise the configured one.
    """
    levels = []
    for name, configured in zip(config.frame.planes, config.segmentation.background, strict=True):
        values = config.calibration.values
        measured = None if values is None else values.planes[name].belt_level
        levels.append(float(configured) if measured is None else measured)
    return levels


def _unwatched_light(config: Config) -> list[str]:
    """Return one sentence for each fault of the light that the alarms cannot detect."""
    found = []
    names, values = config.frame.planes, config.calibration.values
    unknown = [name for name in names if values is None or not _has_light_level(values.planes[name])]
    if unknown:
        file = config.calibration.file
        missing = "" if values is not None or file is None else f" (there is no file {file})"
        found.append(
            f"plane {', '.join(unknown)}: not calibrated{missing}: a change of the light is not detected; run "
            "`pitcore calibrate exposure`, then `flat`"
        )
    dark = [name for name, level in zip(names, belt_levels(config), strict=True) if level < DARKEST]
    if dark:
        found.append(
            f"plane {', '.join(dark)}: the empty belt is darker than {DARKEST} grey levels: a lamp that fails "
            "is not detected there until cherries pass; use a lighter belt"
        )
    return found


def _has_light_level(plane: PlaneCalibration) -> bool:
    """Return whether a level exists to compare with: of a belt that shows the lamp, or of cherries."""
    return bool(plane.cherry_level) or (plane.belt_level or 0.0) >= DARKEST
