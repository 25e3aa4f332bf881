"""Watches the valve process, so that no valve stays open if the process hangs or ends.

A process that hangs with an open valve is killed, and the service shuts the valves. It also shuts them after a process
that ended badly, since the chip decides the level of a released line. ``gpio`` reports it.
"""

from __future__ import annotations

import logging
import subprocess
import threading
from collections.abc import Callable

from pitcore.actuation.shared_state import ValveBoard
from pitcore.errors import SinkError

log = logging.getLogger("pitcore.valves")

OPEN_HUNG_NS = 150_000_000  # longest silence with an open valve, so that it is shut within 200 ms
HUNG_NS = 1_000_000_000  # longest silence with no open valve
AWAKE_NS = 50_000_000  # most time that one check adds to a silence: the checking thread may itself have been stopped
KILL_S = 1.0


class Silence:
    """Measures how long a process was silent, while the listener itself was running.

    A machine that stops for a while stops both, which does not count.
    """

    def __init__(self, now_ns: int) -> None:
        self._heard, self._looked_ns, self._silent_ns = 0, now_ns, 0

    def update(self, heard: int, now_ns: int) -> int:
        """Return the silence in ns.

        Args:
            heard: a value that changes while the process runs.
            now_ns: present time, CLOCK_MONOTONIC.
        """
        self._silent_ns = 0 if heard != self._heard else self._silent_ns + min(now_ns - self._looked_ns, AWAKE_NS)
        self._heard, self._looked_ns = heard, now_ns
        return self._silent_ns


class ValveGuard:
    """Watches one valve process. Safe for use by several threads.

    Args:
        process: the valve process.
        board: memory shared with it.
        shut: shuts every valve when no other process holds the lines. Raises SinkError.
        now_ns: present time, CLOCK_MONOTONIC.
    """

    def __init__(
        self, process: subprocess.Popen[bytes], board: ValveBoard, shut: Callable[[], None], now_ns: int
    ) -> None:
        self._process, self._board, self._shut = process, board, shut
        self._silence = Silence(now_ns)
        self._lock = threading.Lock()
        self._fault: str | None = None

    def look(self, now_ns: int) -> str | None:
        """Check the process. If it failed, shut the valves and return the fault; else return None."""
        with self._lock:
            if self._fault is None:
                self._fault = self._find(now_ns)
            return self._fault

    def _find(self, now_ns: int) -> str | None:
        code = self._process.poll()
        if code is not None:
            what = "ended; see the log for the reason" if code >= 0 else f"was killed by signal {-code}"
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
        """Shut every valve, and return the message."""
        try:
            self._shut()
        except (SinkError, OSError) as error:
            log.critical("the valves cannot be shut: %s", error)
            return f"; lines may still be driven until `pitcore shut-valves`, which systemd runs next: {error}"
        return "; the valves were shut"
