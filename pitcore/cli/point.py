"""``pitcore point``: by which operating point of its card the running service judges."""

from __future__ import annotations

from pathlib import Path

import click

from pitcore.cli.arm import sudo_user
from pitcore.cli.options import board_option, control_socket, socket_option
from pitcore.cli.parameters import Text
from pitcore.control.client import RELOAD_TIMEOUT_S, ask

OF_CONFIGURATION = "configuration"


@click.command()
@click.argument("name", type=Text())
@board_option
@socket_option
def point(name: str, config_path: Path | None, socket_path: Path | None) -> None:
    """Let the running service judge by another operating point of its model, without losing a frame.

    NAME is a point of the model's card: strict, balanced or throughput. `configuration` takes the point of the
    configuration file again. The choice is kept over restarts, until the next one. Exit code 2 if the service refuses:
    then the old point is used, and the line says why. Exit code 3 if no service runs.

    \b
    Example:
      pitcore point strict
    """
    path = control_socket(socket_path, config_path)
    wanted = {} if name == OF_CONFIGURATION else {"point": name}
    result = ask(path, "point", sudo_user() | wanted, timeout_s=RELOAD_TIMEOUT_S)
    click.echo(f"{result['point']}: {result['promise']}")
