"""Prints the manual page of one of our programs, written from its click commands.

python tools/debian/man_page.py pitcore | man --local-file -
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator

import click

from pitcore import __version__
from pitcore.cli.bench import bench
from pitcore.cli.main import pitcore

COMMANDS: dict[str, click.Command] = {"pitcore": pitcore, "pitcore-bench": bench}
SUMMARIES = {
    "pitcore": "a verdict for every cherry on the belt, in time for an air jet",
    "pitcore-bench": "what every stage of pitcore costs on this machine",
}
FILES = (
    ("/etc/pitcore/board.toml", "The board's configuration."),
    ("/usr/share/pitcore/boards", "Configurations to start from, one for each kind of board."),
    ("/var/lib/pitcore", "Models, and whether the air jet is armed."),
    ("/var/log/pitcore", "Verdicts and events, one JSON object a line."),
    ("/run/pitcore/control.sock", "The control socket of the running service, for members of the group pitcore."),
)
EXIT_STATUS = (
    ("0", "Success."),
    ("1", "A fault of pitcore or, from doctor, of the board."),
    ("2", "Something you can fix: one line on standard error says what, where and how."),
    ("3", "No service runs; or, from update, a model is still on trial."),
)
VERBATIM = "\b"  # click's mark of a paragraph whose lines stay as they are


def escape(text: str) -> str:
    """Return text as roff: backslashes and hyphens literal, and no line that starts a request."""
    literal = text.replace("\\", "\\e").replace("-", "\\-")
    return "\n".join(f"\\&{line}" if line[:1] in {".", "'"} else line for line in literal.split("\n"))


def prose(text: str) -> Iterator[str]:
    """Yield the lines of a help text, paragraph by paragraph."""
    for paragraph in text.split("\n\n"):
        if paragraph.startswith(VERBATIM):
            yield from (".PP", ".nf", escape(paragraph.removeprefix(VERBATIM).strip("\n")), ".fi")
        else:
            yield from (".PP", escape(paragraph.strip()))


def definitions(rows: Iterator[tuple[str, str]] | tuple[tuple[str, str], ...]) -> Iterator[str]:
    """Yield a list of terms with their meaning."""
    for term, meaning in rows:
        yield from (".TP", f"\\fB{escape(term)}\\fR", escape(meaning))


def describe(command: click.Command, context: click.Context) -> Iterator[str]:
    """Yield usage, help and options of one command."""
    usage = " ".join(command.collect_usage_pieces(context))
    yield from (".PP", f"\\fB{escape(context.command_path)}\\fR {escape(usage)}")
    yield from prose(inspect.cleandoc(command.help or ""))
    records = (parameter.get_help_record(context) for parameter in command.get_params(context))
    yield from definitions(record for record in records if record is not None)


def walk(command: click.Command, context: click.Context) -> Iterator[tuple[click.Command, click.Context]]:
    """Yield every command below a group, by name, with the group's own first."""
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None and not below.hidden:
                inner = click.Context(below, info_name=name, parent=context)
                yield below, inner
                yield from walk(below, inner)


def page(name: str) -> str:
    """Return the manual page of a command as roff. Raises KeyError."""
    command = COMMANDS[name]
    context = click.Context(command, info_name=name, **command.context_settings)
    lines = [f'.TH {escape(name.upper())} 1 "" "pitcore {__version__}" "User Commands"']
    lines += [".SH NAME", f"{escape(name)} \\- {SUMMARIES[name]}", ".SH DESCRIPTION", *describe(command, context)]
    below = list(walk(command, context))
    if below:
        lines += [".SH COMMANDS"]
    for inner, inner_context in below:
        title = inner_context.command_path.removeprefix(f"{name} ")
        lines += [f".SS {escape(title)}", *describe(inner, inner_context)]
    if command is pitcore:
        lines += [".SH FILES", *definitions(FILES), ".SH EXIT STATUS", *definitions(EXIT_STATUS)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    if sys.argv[1:2] == [] or sys.argv[1] not in COMMANDS:
        sys.exit(f"usage: man_page.py {' | '.join(COMMANDS)}")
    sys.stdout.write(page(sys.argv[1]))
