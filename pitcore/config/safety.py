"""Lists values that make a configuration less safe than the defaults. They are allowed, and reported.

The operating point and the place of the cherries in the picture (``[segmentation]`` thresholds, ``[belt]``) are not in
the list: the first is shown everywhere by itself, the others must suit the line and are bounded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pitcore.config.line import AlarmName, ByLight, FailSafe, FailsafeConfig
from pitcore.config.travel import doubts

if TYPE_CHECKING:
    from pitcore.config.board import Config
    from pitcore.config.calibration import PlaneCalibration

DARKEST = 3.5  # grey levels; an empty belt below cannot be distinguished from the camera's black
STRENGTH = ("alarm", "maybe", "reject")
HIGHER, LOWER = 1, -1
WEAKER = {  # for each bound of a check: the direction in which the check finds less
    ("line", "light_off"): LOWER,
    ("line", "light_low"): LOWER,
    ("line", "light_high"): HIGHER,
    ("line", "dirt_levels"): HIGHER,
    ("line", "misaligned_px"): HIGHER,
    ("line", "nothing_seen_s"): HIGHER,
    ("line", "foreign_share"): HIGHER,
    ("drift", "psi"): HIGHER,
    ("decision", "min_area_px"): LOWER,
    ("decision", "max_area_px"): HIGHER,
    ("decision", "max_elongation"): HIGHER,
    ("decision", "min_ellipse_fill"): LOWER,
    ("decision", "min_plane_mean"): LOWER,
    ("decision", "max_plane_mean"): HIGHER,
    ("segmentation", "max_foreground_share"): HIGHER,
}


def weakened(config: Config) -> list[str]:
    """Return one sentence for each value that lets more pass than its default, or hides a fault."""
    found = []
    if config.source.belt == "real":
        found += _unwatched_light(config)
        found += doubts(config)
    if config.actions.side == "pass":
        found.append("[actions] side = pass: cherries that a lateral edge cuts pass unjudged")
    default = FailsafeConfig()
    for name in FailsafeConfig.__struct_fields__:
        mine, usual = _resolved(config, config.failsafe, name), _resolved(config, default, name)
        if STRENGTH.index(mine) < STRENGTH.index(usual):
            found.append(f"[failsafe] {name} = {mine}: weaker than the default {usual}")
    found += _loosened(config)
    if config.segmentation.combine == "all":
        found.append("[segmentation] combine = all: a cherry that is dark in one plane is not found")
    if getattr(config.source, "trigger", "none") == "external":
        found.append(
            "[source] trigger = external: an encoder that fails looks like a stopped belt: no frame is taken, and "
            "everything passes; let the PLC stop the belt if the Modbus register heartbeat does not count while the "
            "motor runs"
        )
    if config.actuation.fail_safe == "pass":
        found.append("[actuation] fail_safe = pass: belt that was not judged passes")
    if config.mqtt.shows_password:
        found.append("[mqtt] tls = false: the password goes over the network for everybody to read; set tls = true")
    return found


def _loosened(config: Config) -> list[str]:
    """Return one sentence for each bound of a check that lets the check find less than its default."""
    found = []
    for (section, key), direction in WEAKER.items():
        given = getattr(config, section)
        mine, usual = getattr(given, key), getattr(type(given)(), key)
        pairs = zip(mine, usual, strict=False) if isinstance(mine, tuple) else [(mine, usual)]
        if any((own - default) * direction > 0 for own, default in pairs):
            found.append(f"[{section}] {key} = {_text(mine)}: the check finds less than by default ({_text(usual)})")
    return found


def _text(value: float | tuple[float, ...]) -> str:
    return ", ".join(f"{one:g}" for one in (value if isinstance(value, tuple) else (value,)))


def failsafe_of(config: Config, name: AlarmName) -> FailSafe:
    """Return what becomes of verdicts while an alarm is on."""
    return _resolved(config, config.failsafe, name)


def _resolved(config: Config, section: FailsafeConfig, name: str) -> FailSafe:
    said: FailSafe | ByLight = getattr(section, name)
    if said != "by_light":
        return said
    return "reject" if unlit(config) else "alarm"


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
    strips = {strip.plane for strip in config.line.reference}
    until_then = ""
    if failsafe_of(config, "nothing_seen") == "reject":
        until_then = f"; until then a belt that is empty for {config.line.nothing_seen_s:g} s is rejected"
    unmeasured = [name for name in names if name in strips and not _strip_level(config, name)]
    if unmeasured:
        found.append(
            f"plane {', '.join(unmeasured)}: the reference strip was not measured and is not watched; run "
            "`pitcore calibrate flat`" + (until_then if set(unmeasured) & set(unlit(config)) else "")
        )
    dark = [name for name in unlit(config) if name not in strips]
    if dark:
        found.append(
            f"plane {', '.join(dark)}: the empty belt is darker than {DARKEST} grey levels: a lamp that fails "
            "is not detected there until cherries pass; lay a strip of white tape at a lateral edge of the "
            "view and name "
            "it in [[line.reference]], or use a lighter belt" + until_then
        )
    return found


def unlit(config: Config) -> list[str]:
    """Return the planes in which neither the empty belt nor a reference strip shows whether the lamp is on."""
    levels = zip(config.frame.planes, belt_levels(config), strict=True)
    return [name for name, level in levels if level < DARKEST and not _strip_level(config, name)]


def _strip_level(config: Config, name: str) -> float | None:
    """Return the measured level of a plane's reference strip; None where it has none, or it was not measured."""
    values = config.calibration.values
    watched = values is not None and any(strip.plane == name for strip in config.line.reference)
    return values.planes[name].strip_level if watched and values is not None else None


def _has_light_level(plane: PlaneCalibration) -> bool:
    """Return whether there is a level to compare with: of a belt that shows the lamp, of cherries, or of a strip."""
    return bool(plane.cherry_level) or (plane.belt_level or 0.0) >= DARKEST or bool(plane.strip_level)
