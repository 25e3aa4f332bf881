"""Reads a configuration file; an error names file, section and key, and what the key may be."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Literal, get_args, get_origin, get_type_hints

import msgspec

from pitcore.config.board import Config
from pitcore.config.calibration import read_calibration
from pitcore.config.control import ControlConfig
from pitcore.config.sources import SourceConfig
from pitcore.errors import ConfigError


def decode_config(text: str, where: str) -> Config:
    """Parse and check TOML. ``where`` names it in errors. Raises ConfigError."""
    try:
        return msgspec.convert(tomllib.loads(text), type=Config)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where}: not valid TOML: {error}") from error
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where}: {_place_first(str(error))}") from error


def load_config(path: Path | None, *, calibrated: bool = True) -> Config:
    """Read a configuration file; None gives the defaults.

    Args:
        path: TOML.
        calibrated: read the calibration it names as well.

    Raises:
        ConfigError: a file cannot be read, or a value not be taken.
    """
    if path is None:
        return Config()
    config = decode_config(_read(path), str(path))
    return _with_calibration(config, path) if calibrated else config


def load_control(path: Path | None) -> ControlConfig:
    """Read the [control] section alone: a service runs on when its file has become bad elsewhere, and can be asked why.

    Raises:
        ConfigError: the file cannot be read, is no TOML, or that section is bad.
    """
    if path is None:
        return ControlConfig()
    try:
        return msgspec.convert(tomllib.loads(_read(path)).get("control", {}), type=ControlConfig)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}; give --socket instead") from error
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: [control]: {error}; give --socket instead") from error


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}; give --config an existing TOML file") from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}: not UTF-8 text at byte {error.start}; a configuration is a TOML text file"
        ) from error


def calibration_path(config: Config, path: Path) -> Path | None:
    """Return where the calibration of a configuration file lies or will lie; None if it names none."""
    return None if config.calibration.file is None else path.parent / config.calibration.file


def _with_calibration(config: Config, path: Path) -> Config:
    """Put the measured values into the configuration, so that its hash is of them too. Raises ConfigError."""
    file = calibration_path(config, path)
    if config.calibration.values is not None:
        raise ConfigError(f"{path}: [calibration] values: measured values come from a file; set file instead")
    values = None if file is None else read_calibration(file)
    if values is None:
        return config
    section = msgspec.structs.replace(config.calibration, values=values)
    try:
        return msgspec.structs.replace(config, calibration=section)
    except ValueError as error:
        raise ConfigError(f"{file}: {error}") from error


def _place_first(message: str) -> str:
    """Turn msgspec's ``reason - at `$.section.key[0]``` into ``[section] key[0]: reason``."""
    found = re.fullmatch(r"(?s)(.*?)(?: - at `(?:key in )?\$\.?([^`]*)`)?", message)
    if not found:
        return message
    section, _, key = (found[2] or "").partition(".")
    unknown = re.fullmatch(r"Object contains unknown field `(.*)`", found[1])
    reason = f"unknown key `{unknown[1]}`{_known_keys(section)}" if unknown else found[1] + _choices(section, key)
    place = f"[{section}]" if section and section != "schema" else section
    return ": ".join(part for part in (f"{place} {key}".strip(), reason) if part)


def _choices(section: str, key: str) -> str:
    """Name the values a key may have where they can be listed, as the mend for another one."""
    if (section, key) == ("source", "kind"):
        kinds = (kind.__struct_config__.tag for kind in get_args(SourceConfig))
        return f"; choose one of: {', '.join(map(str, kinds))}"
    hint = get_type_hints(type(getattr(Config(), section, None))).get(key.partition("[")[0])
    words = [word for part in (hint, *get_args(hint)) if get_origin(part) is Literal for word in get_args(part)]
    return f"; choose one of: {', '.join(words)}" if words else ""


def _known_keys(section: str) -> str:
    """Name the keys of a section (of the file where it is empty), as the mend for an unknown one."""
    holder = getattr(Config(), section, None) if section else Config()
    if section == "source" or not isinstance(holder, msgspec.Struct):
        return ""
    return f"; known: {', '.join(holder.__struct_fields__)}"
