"""Ctrl-C while a program imports its modules ends it at once, without a traceback."""

import signal
import subprocess
import sys

import pytest

PRESSED = "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(60)\n"  # while it is imported
AS_A_PROGRAM = "from pitcore.entry import start; start('slow')"
AS_A_COMMAND = """
import click
from pitcore.cli.lazy import LazyGroup, Member
LazyGroup(members={"slow": Member("slow:command", "")}).main(["slow"])
"""


def run_in(folder, code):
    return subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("code", [AS_A_PROGRAM, AS_A_COMMAND])
def test_ctrl_c_during_an_import_ends_the_program_without_a_traceback(code, tmp_path):
    (tmp_path / "slow.py").write_text(PRESSED)
    done = run_in(tmp_path, code)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


def test_after_the_imports_ctrl_c_is_an_exception_again(tmp_path):
    main = "def main():\n    try:\n        os.kill(os.getpid(), signal.SIGINT)\n        time.sleep(60)\n"
    (tmp_path / "slow.py").write_text(
        f"import os, signal, time\n{main}    except KeyboardInterrupt:\n        print('kept')\n"
    )
    assert run_in(tmp_path, AS_A_PROGRAM).stdout == "kept\n"


def test_an_ignored_ctrl_c_stays_ignored(tmp_path):
    (tmp_path / "slow.py").write_text(
        "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\ndef main(): print('done')\n"
    )
    ignored = f"import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); {AS_A_PROGRAM}"
    assert run_in(tmp_path, ignored).stdout == "done\n"
