import subprocess
import sys

SCRIPT = """
import os, signal
from pitcore.service.hangups import Hangups
hangups, acted = Hangups(), []
for _ in range(BEFORE):
    os.kill(os.getpid(), signal.SIGHUP)
hangups.hand_to(lambda: acted.append(1))
before = len(acted)
os.kill(os.getpid(), signal.SIGHUP)
print(before, len(acted))
"""


def reloads(before):
    """How often a process is asked for a reload that got so many signals while it started, and one after it."""
    script = SCRIPT.replace("BEFORE", str(before))
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()


def test_a_signal_while_the_service_starts_does_not_end_it_and_is_acted_on_once():
    assert reloads(before=3) == ["1", "2"]


def test_without_a_signal_nothing_is_requested():
    assert reloads(before=0) == ["0", "1"]
