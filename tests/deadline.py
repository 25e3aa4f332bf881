"""Ends a test that waits for what never comes, whether it waits in a loop, for a lock or in a call of the system."""

import contextlib
import signal

import pytest

LIMIT_S = 1800.0  # no test needs as long, even on a busy or an emulated machine
AGAIN_S = 60.0  # then the clean-up gets this time, and so on: it may wait for the same thing


@contextlib.contextmanager
def deadline(limit_s=LIMIT_S, again_s=AGAIN_S):
    """Fail what runs inside, on the main thread, when the time has passed."""

    def end(_number, _frame):
        pytest.fail(f"a wait without an end: the test did not go on within {limit_s:g} s")

    handler = signal.signal(signal.SIGALRM, end)
    timer = signal.setitimer(signal.ITIMER_REAL, limit_s, again_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, *timer)
        signal.signal(signal.SIGALRM, handler)
