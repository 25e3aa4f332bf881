"""Reads a configuration file. An error names file, section, key and the allowed values."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from pitcore.config.actuation import ActuationConfig
from pitcore.config.board import Config
from pitcore.config.calibration import read_calibration
from pitcore.config.control import ControlConfig
from pitcore.config.section import Section
from pitcore.config.sources import SourceConfig
from pitcore.errors import ConfigError
from pitcore.plain_text import decode_text, unusual_character

S = TypeVar("S", bound=Section)


def decode_config(text: str, where: str) -> Config:
    """Parse and check TOML. ``where`` names it in errors. Raises ConfigError."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        twice = "; it is given twice: keep one" if "Cannot" in str(error) else ""
        raise ConfigError(f"{where}: not valid TOML: {error}{twice}{_unusual(text, str(error))}") from error
    try:
        return msgspec.convert(raw, type=Config)
    except msgspec.ValidationError as error:
        source = raw.get("source")
        kind = source.get("kind") if isinstance(source, dict) else None
        raise ConfigError(f"{where}: {_place_first(str(error), str(kind))}") from error


def load_config(path: Path | None, *, calibrated: bool = True) -> Config:
    """Read a configuration file; None gives the defaults.

    Args:
        path: TOML.
        calibrated: also read the calibration that it names.

    Raises:
        ConfigError: a file cannot be read, or a value is not allowed.
    """
    if path is None:
        return Config()
    config = decode_config(config_text(path), str(path))
    return _with_calibration(config, path) if calibrated else config


def load_control(path: Path | None) -> ControlConfig:
    """Read the [control] section only, so that a service can be asked although the rest of its file is bad.

    Raises:
        ConfigError: the file cannot be read, is not TOML, or that section is bad.
    """
    return _load_section(path, "control", ControlConfig, "give --socket instead")


def load_actuation(path: Path | None) -> ActuationConfig:
    """Read the [actuation] section only, so that valves can be shut although the rest of the file is bad.

    Raises:
        ConfigError: the file cannot be read, is not TOML, or that section is bad.
    """
    return _load_section(path, "actuation", ActuationConfig, "shut off the air, then correct it")


def _load_section(path: Path | None, name: str, kind: type[S], otherwise: str) -> S:
    if path is None:
        return kind()
    try:
        return msgspec.convert(tomllib.loads(config_text(path)).get(name, {}), type=kind)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}; {otherwise}") from error
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: [{name}]: {error}; {otherwise}") from error


def config_text(path: Path) -> str:
    """Return the text of a configuration file. Raises ConfigError."""
    try:
        return decode_text(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}; give --config an existing TOML file") from error
    except ValueError as error:
        raise ConfigError(f"{path}: {error}; a configuration is a TOML text file") from error


def _unusual(text: str, message: str) -> str:
    """Name a word processor's character in the line that a message of ``tomllib`` gives."""
    place = re.search(r"at line (\d+)", message)
    return unusual_character(text, int(place[1]) if place else None)


def calibration_path(config: Config, path: Path) -> Path | None:
    """Return the path of a configuration's calibration, which may not exist yet; None if it names none.

    Raises:
        ConfigError: it names the configuration itself.
    """
    if config.calibration.file is None:
        return None
    file = path.parent / config.calibration.file
    if file.exists() and file.samefile(path):
        raise ConfigError(f"{path}: [calibration] file: names this configuration; name a file of its own")
    return file


def _with_calibration(config: Config, path: Path) -> Config:
    """Put the measured values into the configuration, so that its hash covers them. Raises ConfigError."""
    file = calibration_path(config, path)
    if config.calibration.values is not None:
        raise ConfigError(f"{path}: [calibration] values: measured values are read from a file; set file instead")
    values = None if file is None else read_calibration(file)
    if values is None:
        return config
    section = msgspec.structs.replace(config.calibration, values=values)
    try:
        return msgspec.structs.replace(config, calibration=section)
    except ValueError as error:
        raise ConfigError(f"{file}: {error}") from error


def _place_first(message: str, kind: str) -> str:
    """Convert msgspec's ``reason - at `$.section.key[0]``` to ``[section] key[0]: reason``.

    Args:
        message: of msgspec.
        kind: of the source, on which its keys depend.
    """
    found = re.fullmatch(r"(?s)(.*?)(?: - at `(?:key in )?\$\.?([^`]*)`)?", message)
    if not found:
        return message
    section, _, key = (found[2] or "").partition(".")
    unknown = re.fullmatch(r"Object contains unknown field `(.*)`", found[1])
    fix = _known_keys(found[2] or "", kind) if unknown else _choices(found[2] or "", kind)
    reason = (f"unknown key `{unknown[1]}`" if unknown else found[1]) + fix
    place = f"[{section}]" if section and section != "schema" else section
    return ": ".join(part for part in (f"{place} {key}".strip(), reason) if part)


def _choices(path: str, kind: str) -> str:
    """Return the allowed values of a key as a fix, if they can be listed."""
    if path == "source.kind":
        kinds = (source.__struct_config__.tag for source in get_args(SourceConfig))
        return f"; choose one of: {', '.join(map(str, kinds))}"
    section, _, key = path.rpartition(".")
    holder = _class_at(section, kind)
    hint = None if holder is None else get_type_hints(holder).get(key.partition("[")[0])
    words = [word for part in (hint, *get_args(hint)) if get_origin(part) is Literal for word in get_args(part)]
    return f"; choose one of: {', '.join(words)}" if words else ""


def _known_keys(path: str, kind: str) -> str:
    """Return the keys of a section as a fix for an unknown key; an empty section is the file."""
    holder = _class_at(path, kind)
    return "" if holder is None else f"; known: {', '.join(holder.__struct_fields__)}"


def _class_at(path: str, kind: str) -> type[Section] | None:
    """Return the class of a section, for example ``source.cameras[...]``; None if it is not a section."""
    at: type[Section] = Config
    for name in filter(None, path.split(".")):
        found = _classes_in(get_type_hints(at).get(name.partition("[")[0]))
        fitting = [each for each in found if each.__struct_config__.tag in {None, kind}]
        if not fitting:
            return None
        at = fitting[0]
    return at


def _classes_in(hint: Any) -> list[type[Section]]:  # noqa: ANN401  a type, or what typing makes of several
    """Return the sections in a type hint."""
    if isinstance(hint, type) and issubclass(hint, Section):
        return [hint]
    return [each for part in get_args(hint) for each in _classes_in(part)]
