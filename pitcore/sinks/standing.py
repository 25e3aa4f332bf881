"""How an optional output stands: it works, or it fails for a reason and is tried again.

An output that cannot start, or that breaks later, never stops the inspection. It says so here: once in the log for each
reason, and in its status for as long as it lasts. When to try again is its own affair.
"""

from __future__ import annotations

import logging
import os
import ssl
from typing import Any

log = logging.getLogger(__name__)


class Standing:
    """Tells how one output stands. One thread changes it, any may read it.

    Args:
        section: of the configuration, ``modbus`` for instance.
        retry_s: from one try to the next, for the log.
    """

    def __init__(self, section: str, retry_s: float) -> None:
        self._section, self._retry_s = section, retry_s
        self._reason = ""  # while it works

    def fails(self, reason: str, fix: str) -> None:
        """Say why it does not work; a reason that was said already is not logged again.

        Args:
            reason: one line.
            fix: what to do about it, one line.
        """
        if reason != self._reason:
            log.warning("[%s] %s; it is tried again every %g s. %s", self._section, reason, self._retry_s, fix)
        self._reason = reason

    def works(self, said: str) -> None:
        """Say that it works; only what failed before is logged."""
        if self._reason:
            log.info("[%s] %s", self._section, said)
        self._reason = ""

    @property
    def failing(self) -> bool:
        """Whether it does not work now."""
        return bool(self._reason)

    def status(self) -> dict[str, Any]:
        """Return ``state`` and, where it fails, ``reason``; see ``sink.ReportsStatus``."""
        reason = self._reason
        return {"state": "failing", "reason": reason} if reason else {"state": "ok"}


def why(error: OSError) -> str:
    """Return what the system says of an error, without number and path."""
    if isinstance(error, ssl.SSLError) or error.errno is None or error.errno < 0:  # libraries' own numbers
        return error.strerror or str(error)
    return os.strerror(error.errno)
