"""Commands are imported when they are used: help does not wait for the network's runtime or for torch."""

import subprocess
import sys

import click
import pytest

from pitcore.cli.main import pitcore
from tests.cli.forks import PROGRAMS

HEAVY = ("numpy", "onnxruntime", "torch", "scipy", "sklearn")


@pytest.mark.parametrize("program", ["pitcore", "pitcore-tools"])
def test_the_list_of_commands_has_the_first_line_of_each_help(program):
    module, name = PROGRAMS[program]
    group = getattr(pytest.importorskip(module), name)
    context = click.Context(group)
    listed = {command: member.summary for command, member in group.members.items()}
    helps = {command: group.get_command(context, command).get_short_help_str(limit=1000) for command in listed}
    assert listed == helps


def imported(program, *arguments):
    """Which heavy packages a command line of pitcore or pitcore-tools imports."""
    code = f"""
import importlib, sys
sys.argv = {[program, *arguments]!r}
try:
    importlib.import_module({PROGRAMS[program][0]!r}).main()
finally:
    print("IMPORTED", *sorted(set(sys.modules) & set({HEAVY!r})))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.rpartition("IMPORTED")[2].split()


@pytest.mark.parametrize("program", ["pitcore", "pitcore-tools"])
def test_help_imports_no_command(program):
    assert imported(program, "--help") == []


@pytest.mark.parametrize("command", ["evaluate", "package", "rescore", "pull"])
def test_commands_without_torch_do_not_import_it(command):
    assert {"torch", "scipy", "sklearn"} & set(imported("pitcore-tools", command, "--help")) == set()


def test_an_unknown_command_imports_nothing():
    assert pitcore.get_command(click.Context(pitcore), "os") is None
