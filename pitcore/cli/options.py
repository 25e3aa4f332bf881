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
from pitcore.config import Config, ModelConfig, board_config, emulated, load_config, load_control, other_speed
from pitcore.config.installed import BOARD_CONFIG, is_there
from pitcore.control.protocol import BOARD_SOCKET
from pitcore.errors import ConfigError

log = logging.getLogger(__name__)
Command = TypeVar("Command", bound=Callable[..., Any])


def config_option(function: Command) -> Command:
    """``--config FILE`` of a command that emulates or experiments: it has the same defaults on every machine."""
    return click.option(
        "--config",
        "config_path",
        type=InputPath(),
        help="Board configuration (TOML). Default: the production geometry, emulated.",
    )(_naming(function))


def _naming(function: Command) -> Command:
    """Let an error of the command that begins with a section of the configuration name the file too."""

    @functools.wraps(function)
    def naming(*args: Any, config_path: Path | None, **options: Any) -> Any:  # noqa: ANN401  of any command
        with named(config_path):
            return function(*args, config_path=config_path, **options)

    return cast("Command", naming)


@contextmanager
def named(path: Path | None) -> Iterator[None]:
    """Put the file's name before an error that begins with one of its sections. Raises ConfigError."""
    try:
        yield
    except ConfigError as error:
        if path is None or not str(error).startswith("["):
            raise
        raise ConfigError(f"{path}: {error}") from error


def board_option(function: Command) -> Command:
    """``--config FILE`` of a command that acts on this board: without it the board's own file is used."""
    return click.option(
        "--config",
        "config_path",
        type=InputPath(),
        callback=lambda _context, _option, given: given or board_config(),
        help=f"Board configuration (TOML). Default: {BOARD_CONFIG} if it exists.",
    )(_naming(function))


def file_read(config_path: Path | None) -> Path:
    """Return the file that ``board_option`` found. Raises ConfigError if there is none: defaults are of no board."""
    if config_path is None:
        raise ConfigError(f"no configuration was read: there is no {BOARD_CONFIG}; name the board's: --config FILE")
    return config_path


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
    """Return the socket of the service: of ``--socket``, else of the configuration.

    Where no configuration was named, the usual socket of a board stands in for one that is not there, and for a board's
    file that is damaged: a running line must be disarmed also then.

    Args:
        socket_path: of ``--socket``.
        config_path: as ``board_option`` gives it.

    Raises:
        ConfigError: the configuration cannot be used.
    """
    if socket_path is not None:
        return socket_path
    usual = Path(BOARD_SOCKET) if config_path in {None, board_config()} and is_there(Path(BOARD_SOCKET)) else None
    try:
        configured = Path(load_control(config_path).socket)
    except ConfigError:
        if usual is None:
            raise
        return usual
    return configured if usual is None or is_there(configured) else usual


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
