"""Ends the service within a limit after SIGTERM or SIGINT, even if something hangs.

Python handles a signal on the main thread, between two of its instructions. A call that does not return, for example to
a network file system or a full pipe, would block the stop for ever. So the C handler writes the signal's number to a
socket, which a thread reads. The caller implements the orderly stop.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pitcore
from pitcore.errors import HungError

log = logging.getLogger("pitcore")

STOPS = (signal.SIGTERM, signal.SIGINT)
LOG_S = 0.2  # the log may be what hangs
PACKAGE = Path(pitcore.__file__).parent


class StopGuard:
    """Handles the stop signals. For the main thread, once in a process.

    Args:
        limit_s: longest time from the signal to the end of the process.
        stop: requests an orderly stop; called on a thread at the first signal.
        shut: makes the belt safe; called on the thread after half of the limit.
        busy_with: returns the present activity of the main thread, in words; may be empty.
    """

    def __init__(
        self, limit_s: float, stop: Callable[[], None], shut: Callable[[], None], busy_with: Callable[[], str]
    ) -> None:
        self._limit_s, self._stop, self._shut, self._busy_with = limit_s, stop, shut, busy_with
        self._main = threading.main_thread()
        self._heard, self._told = socket.socketpair()
        self._told.settimeout(0.0)
        self._thread = threading.Thread(target=self._watch, name="pitcore-stop", daemon=True)

    def start(self) -> None:
        """Handle the signals until the process ends."""
        signal.set_wakeup_fd(self._told.fileno(), warn_on_full_buffer=False)
        self._thread.start()
        for number in STOPS:
            signal.signal(number, lambda *_: None)  # the thread handles it

    def _watch(self) -> None:
        while self._heard.recv(1)[0] not in STOPS:
            pass
        self._stop()
        over = threading.Event()  # never set: an orderly stop ends the process, and this thread with it
        over.wait(self._limit_s / 2)
        shutting = threading.Thread(target=self._shut_quietly, name="pitcore-stop-shut", daemon=True)
        shutting.start()
        over.wait(self._limit_s / 2 - LOG_S)
        self._end()

    def _shut_quietly(self) -> None:
        with contextlib.suppress(Exception):  # the main thread reports the error if it can
            self._shut()

    def _end(self) -> None:
        what, where = self._busy_with() or "the process", self._place()
        writing = threading.Thread(
            target=log.critical,
            args=("stopped by force after %g s: %s hangs%s", self._limit_s, what, where),
            daemon=True,
        )
        writing.start()
        writing.join(LOG_S)
        os._exit(HungError.exit_code)

    def _place(self) -> str:
        """Return the position of the main thread in this package."""
        frame = sys._current_frames().get(self._main.ident or 0)  # noqa: SLF001  documented, for this use
        while frame is not None:
            path = Path(frame.f_code.co_filename)
            if path.is_relative_to(PACKAGE):
                return f", in {path.relative_to(PACKAGE.parent)}:{frame.f_lineno} ({frame.f_code.co_name})"
            frame = frame.f_back
        return ""
