"""Combines the options of `pitcore update` with the configuration."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from pitcore.cli.options import board_option, control_socket, file_read, socket_option
from pitcore.cli.parameters import InputPath, Text
from pitcore.config import Config, load_config
from pitcore.errors import Refusal, UpdateError
from pitcore.ota.slots import Store


@dataclass(frozen=True, slots=True)
class UpdateContext:
    """The settings of an update, from the options and the configuration.

    Attributes:
        config: of the board.
        config_path: its path; None for the defaults.
        store: of the models.
        url: of the repository; None if none is configured.
        socket: of the service.
    """

    config: Config
    config_path: Path | None
    store: Store
    url: str | None
    socket: Path


def options(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options of every update command."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object, for programs."),
        click.option("--from", "url", type=Text(), help="URL or directory of the repository. Default: [update] url."),
        click.option(
            "--store",
            "store_path",
            type=InputPath(),
            help="Directory of the board's models. Default: [model] store.",
        ),
        socket_option,
        board_option,
    ):
        function = option(function)
    return function


def place_of(
    config_path: Path | None, socket_path: Path | None, store_path: Path | None, url: str | None
) -> UpdateContext:
    """Return the settings. Raises ConfigError, UpdateError."""
    config = load_config(config_path)
    root = store_path or (None if config.model.store is None else Path(config.model.store))
    if root is None:
        read = file_read(config_path)
        raise UpdateError(
            Refusal.NOT_SET_UP, f"{read}: no store for models: set [model] store, or give --store DIRECTORY"
        )
    return UpdateContext(
        config, config_path, Store(root), url or config.update.url, control_socket(socket_path, config_path)
    )


@contextmanager
def needing_the_extra() -> Iterator[None]:
    """Import modules that need the extra `ota`. Raises UpdateError with the fix if it is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        fix = "install pitcore with its extra: pip install 'pitcore[ota]'"
        raise UpdateError(Refusal.NOT_SET_UP, f"{error.name} is not installed; {fix}") from error
