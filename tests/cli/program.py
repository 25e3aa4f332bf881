"""Runs the installed program as a user does."""

import subprocess
import sys
from pathlib import Path


def run_pitcore(*arguments, **options):
    """Run ``pitcore`` in a process of its own and return what it printed and how it ended."""
    program = Path(sys.executable).with_name("pitcore")
    command = [str(program), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, **options)
