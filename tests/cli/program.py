"""Runs the installed program as a user does."""

import subprocess
import sys
from pathlib import Path

from tests.cli.forks import run_forked
from tests.config_text import FRAMES_PER_S, small_belt
from tests.patience import PATIENCE_S


def program():
    """Path of the installed ``pitcore``."""
    return str(Path(sys.executable).with_name("pitcore"))


def run_pitcore(*arguments, cwd=None, env=None, **options):
    """Run ``pitcore`` in a process of its own and return what it printed and how it ended.

    The process is forked from one that has imported pitcore, or is the installed program where options of
    ``subprocess.run`` ask for more.
    """
    if not options:
        return run_forked(program(), *arguments, cwd=cwd, env=env)
    return run_installed(*arguments, cwd=cwd, env=env, **options)


def run_installed(*arguments, **options):
    """Run the installed ``pitcore`` itself."""
    command = [program(), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S, **options)


def write_config(path, bundle, *, sink=None, extra="", frames_per_s=FRAMES_PER_S):
    """Write a configuration of a small emulated belt."""
    text = small_belt(frames_per_s=frames_per_s) + f'\n[model]\nbundle = "{bundle}"\n' + extra
    if sink is not None:
        text += f'\n[sink]\npath = "{sink}"\n'
        if "[runtime]" not in text:  # no test depends on the speed of the machine
            text += "\n[runtime]\nstop_timeout_s = 60.0\ncapture_timeout_s = 60.0\n"
        text += f'\n[control]\nsocket = "{path.parent / "c.sock"}"\nstate_dir = "{path.parent / "state"}"\n'
    path.write_text(text)
    return path


def assert_one_clear_line(done, *parts):
    """Exit code 2, one line that names the parts, no traceback, nothing on standard output."""
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("pitcore: ")
    assert done.stderr.count("\n") == 1
    for part in parts:
        assert part in done.stderr
    assert done.stdout == ""
