"""Implements ``pitcore reload``: a new model or configuration without a restart."""

from __future__ import annotations

from pathlib import Path

import click

from pitcore.cli.arm import sudo_user
from pitcore.cli.options import board_option, control_socket, socket_option
from pitcore.control.client import RELOAD_TIMEOUT_S, ask


@click.command()
@board_option
@socket_option
def reload(config_path: Path | None, socket_path: Path | None) -> None:
    """Make the running service load its configuration and model again, without losing a frame.

    The service reads its own configuration file again, as on SIGHUP. Exit code 2 if it refuses: it then keeps the old
    ones, and the line gives the reason. Exit code 3 if none runs.

    \b
    Example:
      pitcore reload
    """
    path = control_socket(socket_path, config_path)
    result = ask(path, "reload", sudo_user(), timeout_s=RELOAD_TIMEOUT_S)
    click.echo(f"reloaded: {result['detail']}; took {result['took_s']:.2f} s")
