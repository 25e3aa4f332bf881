"""What a configuration takes off the safety of the defaults. It is allowed, and reported for as long as it lasts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pitcore.config.cameras import Picamera2SourceConfig
from pitcore.config.line import FailsafeConfig

if TYPE_CHECKING:
    from pitcore.config.board import Config

DARKEST = 3.5  # grey levels; an empty belt below cannot be told from the camera's black
STRENGTH = ("alarm", "maybe", "reject")


def weakened(config: Config) -> list[str]:
    """Return one sentence for each value that lets more pass than its default does, or that hides a fault."""
    found = []
    if isinstance(config.source, Picamera2SourceConfig) and config.calibration.values is None:
        found.append(
            "not calibrated: light that fades or grows is not found; run `pitcore calibrate exposure`, then `flat`"
        )
    if isinstance(config.source, Picamera2SourceConfig) and max(_belt_levels(config)) < DARKEST:
        found.append(
            f"the empty belt is darker than {DARKEST} grey levels in every plane: a lamp that fails is not found "
            "before the cherries show it"
        )
    if config.actions.side == "pass":
        found.append("[actions] side = pass: cherries that a lateral edge cuts pass unjudged")
    default = FailsafeConfig()
    for name in FailsafeConfig.__struct_fields__:
        mine, usual = getattr(config.failsafe, name), getattr(default, name)
        if STRENGTH.index(mine) < STRENGTH.index(usual):
            found.append(f"[failsafe] {name} = {mine}: weaker than the default {usual}")
    if config.actuation.fail_safe == "pass":
        found.append("[actuation] fail_safe = pass: belt that was not judged passes")
    return found


def _belt_levels(config: Config) -> list[float]:
    """Return the empty belt's level in each plane: as calibrated, else as configured."""
    values = config.calibration.values
    if values is None:
        return [float(level) for level in config.segmentation.background]
    found = []
    for name, level in zip(config.frame.planes, config.segmentation.background, strict=True):
        plane = values.planes.get(name)
        measured = plane.background if plane is not None else None
        found.append(sum(measured) / len(measured) if measured else float(level))
    return found
