"""Watches the valve process: an open valve must not outlive whoever is to shut it.

A process that hangs with an open valve is killed, and the service drives the valves shut itself. So does it after a
process that ended badly: what a line does that nobody holds is the chip's. What is said of it is ``gpio``'s.
"""

from __future__ import annotations

import logging
import subprocess
import threading
from collections.abc import Callable

from pitcore.actuation.shared_state import ValveBoard
from pitcore.errors import SinkError

log = logging.getLogger("pitcore.valves")

OPEN_HUNG_NS = 150_000_000  # with an open valve; it is shut within 200 ms
HUNG_NS = 1_000_000_000  # with none
AWAKE_NS = 50_000_000  # the most that one look adds to a silence: who did not look cannot tell who hung
KILL_S = 1.0


class Silence:
    """For how long somebody was not heard of, as far as the listener was awake to hear.

    A machine that stops for a while stops both; that is no silence.
    """

    def __init__(self, now_ns: int) -> None:
        self._heard, self._looked_ns, self._silent_ns = 0, now_ns, 0

    def update(self, heard: int, now_ns: int) -> int:
        """Return the silence in ns.

        Args:
            heard: changes while somebody lives.
            now_ns: CLOCK_MONOTONIC.
        """
        self._silent_ns = 0 if heard != self._heard else self._silent_ns + min(now_ns - self._looked_ns, AWAKE_NS)
        self._heard, self._looked_ns = heard, now_ns
        return self._silent_ns


class ValveGuard:
    """Looks after one valve process. Safe for use by several threads.

    Args:
        process: which.
        board: what it shares with the service.
        shut: drives every valve shut when no other process holds the lines. Raises SinkError.
        now_ns: CLOCK_MONOTONIC.
    """

    def __init__(
        self, process: subprocess.Popen[bytes], board: ValveBoard, shut: Callable[[], None], now_ns: int
    ) -> None:
        self._process, self._board, self._shut = process, board, shut
        self._silence = Silence(now_ns)
        self._lock = threading.Lock()
        self._fault: str | None = None

    def look(self, now_ns: int) -> str | None:
        """Return what is wrong with the process, once and for all; the valves are shut then. None: it is well."""
        with self._lock:
            if self._fault is None:
                self._fault = self._find(now_ns)
            return self._fault

    def _find(self, now_ns: int) -> str | None:
        code = self._process.poll()
        if code is not None:
            what = "ended; the log says why" if code >= 0 else f"was killed by signal {-code}"
            return f"the valve process {what}{self._shut_all() if code else ''}"
        silent_ns = self._silence.update(self._board.get("alive_ns"), now_ns)
        is_open = self._board.get("open") != 0
        if silent_ns <= (OPEN_HUNG_NS if is_open else HUNG_NS):
            return None
        valves = "an open valve" if is_open else "its valves shut"
        what = f"the valve process hung for {silent_ns / 1e9:.2g} s with {valves}: the board is overloaded, or its chip"
        self._process.kill()
        try:
            self._process.wait(KILL_S)
        except subprocess.TimeoutExpired:
            return f"{what} hangs; it cannot be killed, so a valve may be open: shut off the air"
        return f"{what} hangs; it was killed{self._shut_all()}"

    def _shut_all(self) -> str:
        """Drive every valve shut, and return what to say of it."""
        try:
            self._shut()
        except (SinkError, OSError) as error:
            log.critical("the valves cannot be shut: %s", error)
            return f"; lines may still be driven until `pitcore shut-valves`, which systemd runs next: {error}"
        return "; the valves were shut"
