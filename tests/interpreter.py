"""How to start this Python again: under an emulator, its path alone is not enough."""

import json
import os
import subprocess
import sys


def run_script(script, *options, env=None):
    """Run a script in a new interpreter, with this environment or another; raises if it fails."""
    command = json.loads(os.environ.get("PITCORE_TEST_PYTHON", "null")) or [sys.executable]
    subprocess.run([*command, *options, "-c", script], env=env, check=True, timeout=300)
