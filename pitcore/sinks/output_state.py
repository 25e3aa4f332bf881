"""Keeps the state of an optional output: it starts, it works, or it fails for a reason and is tried again.

An output that cannot start, or that fails later, never stops the inspection. A failure is logged once for each reason,
and shown in the status until the output works again. The output itself decides when to try again.
"""

from __future__ import annotations

import logging
import os
import ssl
from typing import Any

log = logging.getLogger(__name__)


class OutputState:
    """The state of one output. One thread changes it, any thread may read it.

    Args:
        section: section of the configuration, such as ``modbus``.
        retry_s: time between two tries, for the log.
        starting: True if the output does not work before the first ``works``.
    """

    def __init__(self, section: str, retry_s: float, *, starting: bool = False) -> None:
        self._section, self._retry_s = section, retry_s
        self._reason = ""  # empty while the output does not fail
        self._starting = starting

    def fails(self, reason: str, fix: str) -> None:
        """Set the state to failing, and log it if the reason is new.

        Args:
            reason: one line.
            fix: how to fix it, one line.
        """
        if reason != self._reason:
            log.warning("[%s] %s; it is tried again every %g s. %s", self._section, reason, self._retry_s, fix)
        self._reason = reason

    def works(self, message: str) -> None:
        """Set the state to ok, and log the message if the output failed before."""
        if self._reason:
            log.info("[%s] %s", self._section, message)
        self._reason, self._starting = "", False

    @property
    def failing(self) -> bool:
        """True while the output fails."""
        return bool(self._reason)

    def status(self) -> dict[str, Any]:
        """Return ``state``, and ``reason`` if the output fails; see ``sink.ReportsStatus``."""
        reason = self._reason
        if reason:
            return {"state": "failing", "reason": reason}
        return {"state": "starting" if self._starting else "ok"}


def reason_of(error: OSError) -> str:
    """Return the system's text of an error, without number and path."""
    if isinstance(error, ssl.SSLError) or error.errno is None or error.errno < 0:  # libraries' own numbers
        return error.strerror or str(error)
    return os.strerror(error.errno)
