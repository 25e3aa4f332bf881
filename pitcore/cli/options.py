"""Defines options that several commands share."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

import click
import msgspec

from pitcore.cli.parameters import InputPath
from pitcore.config import Config, ModelConfig, emulated, load_config, load_control, other_speed
from pitcore.control.protocol import BOARD_SOCKET
from pitcore.errors import ConfigError

log = logging.getLogger(__name__)
Command = TypeVar("Command", bound=Callable[..., Any])


def config_option(function: Command) -> Command:
    """``--config FILE``. An error of the command that begins with a section of the file names the file too."""

    @functools.wraps(function)
    def naming(*args: Any, config_path: Path | None, **options: Any) -> Any:  # noqa: ANN401  of any command
        with named(config_path):
            return function(*args, config_path=config_path, **options)

    return click.option(
        "--config",
        "config_path",
        type=InputPath(),
        help="Board configuration (TOML). Default: the production geometry, emulated.",
    )(cast("Command", naming))


@contextmanager
def named(path: Path | None) -> Iterator[None]:
    """Put the file's name before an error that begins with one of its sections. Raises ConfigError."""
    try:
        yield
    except ConfigError as error:
        if path is None or not str(error).startswith("["):
            raise
        raise ConfigError(f"{path}: {error}") from error


def bundle_option(function: Command) -> Command:
    """``--bundle DIR``."""
    return click.option("--bundle", type=InputPath(), help="Model bundle. Default: the one that came with pitcore.")(
        function
    )


def socket_option(function: Command) -> Command:
    """``--socket PATH``."""
    return click.option(
        "--socket", "socket_path", type=InputPath(), help="Control socket. Default: the configuration's."
    )(function)


def control_socket(socket_path: Path | None, config_path: Path | None) -> Path:
    """Return the socket of the service. Without options it is the default one, or the board's if that is missing.

    Raises:
        ConfigError: the configuration cannot be used.
    """
    if socket_path is not None:
        return socket_path
    configured = Path(load_control(config_path).socket)
    board = Path(BOARD_SOCKET)
    return board if config_path is None and board.exists() and not configured.exists() else configured


def read_config(config_path: Path | None, bundle: Path | None) -> Config:
    """Load the configuration, with ``--bundle`` in place of its model. Raises ConfigError."""
    config = load_config(config_path)
    if bundle is None:
        return config
    return msgspec.structs.replace(config, model=ModelConfig(bundle=str(bundle)))


def with_emulated_belt(config: Config) -> Config:
    """Return the configuration with an emulated belt; log it if that has not the configured speed."""
    if said := other_speed(config):
        log.warning("%s", said)
    return emulated(config)
