"""Tests what a child process of the service does before its work."""

import subprocess
import sys

import pytest

REFUSED = """
import os
from pathlib import Path
from pitcore.child_process import step_back

def refuse(*_):
    raise PermissionError

os.sched_setscheduler = os.setpriority = refuse  # as a seccomp filter does
step_back(idle={})
print(Path("/proc/self/oom_score_adj").read_text())
"""


@pytest.mark.parametrize(("idle", "score"), [(True, "800"), (False, "500")])
def test_a_child_that_may_not_lower_its_priority_is_not_killed_before_the_service(idle, score):
    code = REFUSED.format(idle)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [score]
