"""What keeps the tests from waiting for ever when the product is broken."""

import ast
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.deadline import deadline

TESTS = Path(__file__).parent


def wait_in_a_loop():
    while True:
        pass


def wait_for_an_event():
    threading.Event().wait()


def wait_for_a_thread():
    thread = threading.Thread(target=wait_for_an_event, daemon=True)
    thread.start()
    thread.join()


def wait_for_a_program():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        try:
            process.wait()
        finally:
            process.kill()


def wait_for_a_pipe():
    reading, writing = os.pipe()
    try:
        os.read(reading, 1)
    finally:
        os.close(reading)
        os.close(writing)


@pytest.mark.parametrize(
    "wait", [wait_in_a_loop, wait_for_an_event, wait_for_a_thread, wait_for_a_program, wait_for_a_pipe]
)
def test_a_wait_without_an_end_fails(wait):
    with pytest.raises(pytest.fail.Exception, match=r"did not go on within 0\.05 s"), deadline(0.05):
        wait()


def test_a_clean_up_that_waits_as_well_is_ended_too():
    with pytest.raises(pytest.fail.Exception), deadline(0.05, again_s=0.05):
        try:
            wait_in_a_loop()
        finally:
            wait_for_an_event()


@pytest.fixture
def set_up():
    timers = [signal.getitimer(signal.ITIMER_REAL)]
    yield timers
    assert signal.getitimer(signal.ITIMER_REAL)[0] > 0.0


def test_every_test_and_its_fixtures_have_a_deadline(set_up):
    set_up.append(signal.getitimer(signal.ITIMER_REAL))
    assert all(left_s > 0.0 for left_s, _ in set_up)


def test_no_thread_of_the_tests_keeps_the_interpreter_from_ending():
    """A thread that waits for ever may be left by a test that failed."""
    keeping = [
        f"{path.relative_to(TESTS)}:{node.lineno}"
        for path in sorted(TESTS.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) == "threading.Thread"
        and not any(word.arg == "daemon" for word in node.keywords)
    ]
    assert keeping == []
