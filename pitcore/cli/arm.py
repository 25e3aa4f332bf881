"""Implements ``pitcore arm`` and ``pitcore disarm``, which allow or forbid the air jet."""

from __future__ import annotations

import os
from pathlib import Path

import click

from pitcore.cli.options import board_option, control_socket, socket_option
from pitcore.control.client import ask


@click.command()
@board_option
@socket_option
def arm(config_path: Path | None, socket_path: Path | None) -> None:
    """Allow the air jet of the running service to fire. A new board is in dry run until then.

    It stays armed over restarts with the same valves, until `pitcore disarm`. `pitcore status` shows who armed it and
    when. Exit code 2 if the board drives no valve, 3 if no service runs.

    \b
    Example:
      pitcore arm
    """
    _change("arm", control_socket(socket_path, config_path))


@click.command()
@board_option
@socket_option
def disarm(config_path: Path | None, socket_path: Path | None) -> None:
    """Put the air jet of the running service into dry run at once. Exit code 3 if no service runs.

    \b
    Example:
      pitcore disarm
    """
    _change("disarm", control_socket(socket_path, config_path))


def sudo_user() -> dict[str, str]:
    """Return the user who runs sudo, as arguments of a command, so that the log names a person."""
    name = os.environ.get("SUDO_USER")
    return {"sudo_user": name} if name and os.geteuid() == 0 else {}


def _change(command: str, path: Path) -> None:
    state = ask(path, command, sudo_user())
    now = "armed" if state["armed"] else "dry run"
    whose = f"by {state['by']} at {state['at']}" if state["by"] else "never armed"
    click.echo(f"{now}, {'' if state['changed'] else 'as it was before, '}{whose}")
