"""A group of commands that imports a command only when it is used.

A command's module imports what the command needs, which may be the network's runtime or torch. The list of commands and
the commands that need little do not wait for that.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import click

from pitcore.entry import ended_by_interrupt


class Member(NamedTuple):
    """A command that is not imported yet.

    Attributes:
        place: ``module:name`` of the command.
        summary: first sentence of its help, for the list of commands.
    """

    place: str
    summary: str


class LazyGroup(click.Group):
    """A group that imports its commands when they are asked for.

    Args:
        members: name of each command, and where it is.
        rest: as ``click.Group``.
    """

    def __init__(self, *rest: Any, members: Mapping[str, Member], **options: Any) -> None:  # noqa: ANN401  click's
        super().__init__(*rest, **options)
        self.members = members

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's
        """Return the names of the commands, sorted."""
        return sorted(self.members)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  click's
        """Import a command and return it; None if there is none of this name."""
        if cmd_name not in self.members:
            return None
        module, _, name = self.members[cmd_name].place.partition(":")
        with ended_by_interrupt():
            command = getattr(importlib.import_module(module), name)
        assert isinstance(command, click.Command)  # noqa: S101  otherwise a bug
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, self.members[name].summary) for name in self.list_commands(ctx)])
