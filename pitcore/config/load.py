"""Reads a configuration file. An error names file, section, key and the allowed values."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TypeVar

import msgspec

from pitcore.config.actuation import ActuationConfig
from pitcore.config.board import Config
from pitcore.config.calibration import read_calibration
from pitcore.config.control import ControlConfig
from pitcore.config.messages import of_syntax, of_value
from pitcore.config.section import Section, cannot_be_read
from pitcore.errors import ConfigError
from pitcore.plain_text import decode_text

S = TypeVar("S", bound=Section)


def decode_config(text: str, where: str) -> Config:
    """Parse and check TOML. ``where`` names it in errors. Raises ConfigError."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where}: {of_syntax(str(error), text)}") from error
    try:
        return msgspec.convert(raw, type=Config)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where}: {of_value(str(error), raw)}") from error


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
    text = config_text(path)
    try:
        raw = tomllib.loads(text)
        return msgspec.convert(raw.get(name, {}), type=kind)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: {of_syntax(str(error), text)}; {otherwise}") from error
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {of_value(str(error), raw, section=name)}; {otherwise}") from error


def config_text(path: Path) -> str:
    """Return the text of a configuration file. Raises ConfigError."""
    try:
        return decode_text(path.read_bytes())
    except OSError as error:
        raise ConfigError(cannot_be_read(path, error, "give --config an existing TOML file")) from error
    except ValueError as error:
        raise ConfigError(f"{path}: {error}; a configuration is a TOML text file") from error


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
