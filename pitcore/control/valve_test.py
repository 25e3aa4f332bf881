"""Tests one valve in two steps: the test is prepared, then started with the code of the preparation.

So a single wrong click opens no valve. The valve process decides: it opens a valve for a test only while the belt is
stopped and the air jet is in dry run.
"""

from __future__ import annotations

import secrets
import threading
import time
from typing import Protocol

from pitcore.errors import ControlError

READY_S = 15.0  # from preparing to firing


class Valves(Protocol):
    """The interface that opens a valve."""

    @property
    def lanes(self) -> int:
        """Return the number of valves."""
        ...

    def test(self, lane: int) -> None:
        """Open a valve for a moment. Raises ControlError with the reason."""
        ...


class ValveTest:
    """Prepares and starts tests, at most one at a time; from any thread.

    Args:
        valves: of the board; None where it drives none.
    """

    def __init__(self, valves: Valves | None) -> None:
        self._valves = valves
        self._lock = threading.Lock()
        self._ready: tuple[str, int, float] | None = None  # code, lane, until

    def prepare(self, lane: int) -> str:
        """Return the code that opens a lane's valve; lanes count from 1. Raises ControlError."""
        if self._valves is None or not self._valves.lanes:
            raise ControlError("this board drives no valves: [actuation] has no lanes")
        if not 1 <= lane <= self._valves.lanes:
            raise ControlError(f"there is no lane {lane}; the lanes are 1 to {self._valves.lanes}")
        code = secrets.token_hex(8)
        with self._lock:
            self._ready = (code, lane, time.monotonic() + READY_S)
        return code

    def fire(self, code: str) -> int:
        """Open the prepared valve once, and return its lane. Raises ControlError."""
        with self._lock:
            ready, self._ready = self._ready, None
        if ready is None or not secrets.compare_digest(ready[0].encode(), code.encode(errors="replace")):
            raise ControlError("no test was prepared with this code; prepare it again")
        if time.monotonic() > ready[2]:
            raise ControlError(f"it was prepared more than {READY_S:g} s ago; prepare it again")
        assert self._valves is not None  # noqa: S101  prepare refuses
        self._valves.test(ready[1] - 1)
        return ready[1]
