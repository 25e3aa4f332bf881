"""``pitcore-bench --rejects`` as a program; how late this machine fires is not judged here."""

import subprocess
import sys
from pathlib import Path


def test_the_command_reports_virtual_and_real_time_and_the_cost_of_the_schedule():
    command = [Path(sys.executable).with_name("pitcore-bench"), "--rejects", "1000"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode in {0, 3}, done.stderr  # 3: a pulse of the real-time run was off
    virtual, alone, asleep, beside = done.stdout.split("\n\n")[:4]
    assert virtual.startswith("virtual time: 1000 cherries")
    assert virtual.endswith("every pulse is within a tick of its place, and none beside it")
    assert alone.startswith("real time: 100 cherries")
    assert "pauses of the valve process" in alone
    assert asleep.startswith("real time, valve process only sleeps: 100 cherries")
    assert beside.startswith("real time, beside a busy thread: 100 cherries")
    assert "crowded belt, virtual time" in done.stdout
    assert "wake-ups of a sleeping thread" in done.stdout
    assert "the schedule, compiled by Cython" in done.stdout
