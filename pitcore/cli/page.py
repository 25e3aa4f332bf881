"""Implements ``pitcore page``: tokens of the live page."""

from __future__ import annotations

import getpass
from pathlib import Path

import click

from pitcore.cli.options import board_option, file_read
from pitcore.cli.parameters import Text
from pitcore.config import load_control
from pitcore.page.roles import FILE, ROLES, Role, add_token, check_name, read_tokens, remove_token
from pitcore.text_table import table


@click.group()
def page() -> None:
    """Make and revoke tokens, which give people a role at the live page.

    Everybody may look at the page, unless [page] open is false: then viewers need a token too. An operator may arm and
    disarm. An engineer may also choose the operating point and test a valve.
    """


@page.command()
@click.argument("role", type=click.Choice(ROLES), metavar="ROLE")
@click.option("--name", type=Text(), help="Owner of the token, as the log names them. Default: the user who runs this.")
@board_option
def token(role: Role, name: str | None, config_path: Path | None) -> None:
    """Make a token for a role and print it. It is shown only once: the disk keeps its hash.

    \b
    Example:
      sudo pitcore page token operator --name anna
    """
    owner = check_name(name or getpass.getuser())
    click.echo(add_token(_file(config_path), role, owner))
    click.echo(f"{config_path}: {owner} is {role}", err=True)


@page.command()
@click.argument("name", type=Text())
@board_option
def revoke(name: str, config_path: Path | None) -> None:
    """Revoke a person's token at once.

    \b
    Example:
      sudo pitcore page revoke anna
    """
    remove_token(_file(config_path), name)
    click.echo(f"{config_path}: {name} has no token any more")


@page.command(name="list")
@board_option
def list_tokens(config_path: Path | None) -> None:
    """List the owners of tokens, with their roles.

    \b
    Example:
      sudo pitcore page list
    """
    rows = [(one.name, one.role, one.made) for one in read_tokens(_file(config_path))]
    click.echo(table(("name", "role", "made"), rows) if rows else f"{config_path}: nobody has a token")


def _file(config_path: Path | None) -> Path:
    """Return the file of a board's tokens. Raises ConfigError, also if no configuration says where it is."""
    return Path(load_control(file_read(config_path)).state_dir) / FILE
