"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from pitcore.config import Config, ModelConfig, load_config

Command = TypeVar("Command", bound=Callable[..., Any])


def config_option(function: Command) -> Command:
    """``--config FILE``."""
    return click.option(
        "--config",
        "config_path",
        type=click.Path(path_type=Path),
        help="Board configuration (TOML). Default: the production geometry, emulated.",
    )(function)


def bundle_option(function: Command) -> Command:
    """``--bundle DIR``."""
    return click.option(
        "--bundle", type=click.Path(path_type=Path), help="Model bundle. Default: the one that came with pitcore."
    )(function)


def read_config(config_path: Path | None, bundle: Path | None) -> Config:
    """Load the configuration and let ``--bundle`` have its way. Raises ConfigError."""
    config = load_config(config_path)
    if bundle is None:
        return config
    return msgspec.structs.replace(config, model=ModelConfig(bundle=str(bundle)))
