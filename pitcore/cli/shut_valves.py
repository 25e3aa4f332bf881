"""Implements ``pitcore shut-valves``, which systemd runs after a service that did not end well."""

from __future__ import annotations

from pathlib import Path

import click

from pitcore.actuation.valve_setup import shut_valves as drive_shut
from pitcore.cli.options import board_option, file_read
from pitcore.config import load_actuation


@click.command()
@board_option
def shut_valves(config_path: Path | None) -> None:
    """Shut every valve while no service runs.

    A service that ends shuts its valves itself. A killed service cannot, and a Raspberry Pi's kernel leaves a line as
    it was last driven. So the unit runs this command after a service that did not end well. It reads the section
    [actuation] only: a fault elsewhere in the file does not matter. Exit code 2 if there is no file to read.

    \b
    Example:
      sudo pitcore shut-valves
    """
    path = file_read(config_path)
    number = drive_shut(load_actuation(path))
    said = f"{number} valves are shut" if number else "[actuation] drives no line of this board; nothing to shut"
    click.echo(f"{path}: {said}")
