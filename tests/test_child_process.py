"""Tests what a child process of the service does before its work."""

import os
import subprocess
import sys

import pytest

from pitcore.child_process import start_child
from tests.patience import PATIENCE_S

IMPORTED = """
import os
from pitcore.child_process import begin_child

PRIORITY = f"{os.sched_getscheduler(0)} {os.getpriority(os.PRIO_PROCESS, 0)}"  # while the module is imported

def main():
    connection, _ = begin_child()
    connection.send(PRIORITY.encode())
"""

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


@pytest.mark.parametrize("idle", [True, False, None])
def test_a_child_has_its_priority_before_it_imports_its_module(tmp_path, monkeypatch, idle):
    (tmp_path / "imported_by_child.py").write_text(IMPORTED)
    monkeypatch.syspath_prepend(tmp_path)
    memory_fd = os.memfd_create("unused")
    connection, process = start_child("imported_by_child", memory_fd, idle=idle)
    os.close(memory_fd)
    connection.settimeout(PATIENCE_S)
    with connection:
        policy, nice = map(int, connection.recv(100).split())
    process.kill()  # its own end may take minutes, because it gets a core only when nobody else wants one
    process.wait(PATIENCE_S)
    mine = os.getpriority(os.PRIO_PROCESS, 0)
    assert policy == (os.SCHED_IDLE if idle else os.sched_getscheduler(0))
    assert nice >= 10 if idle is False else nice == mine


@pytest.mark.parametrize(
    "module",
    ["pitcore.actuation.valve_process", "pitcore.page.page_process", "pitcore.shadow.candidate_process"],
)
def test_a_child_whose_service_ended_before_its_first_message_ends_without_a_word(module, capfd):
    memory_fd = os.memfd_create("unused")
    os.ftruncate(memory_fd, 1 << 24)
    connection, process = start_child(module, memory_fd)
    os.close(memory_fd)
    connection.close()
    assert process.wait(PATIENCE_S) == 0
    assert capfd.readouterr() == ("", "")
