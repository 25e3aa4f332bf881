"""Implements the service's side of sd_notify(3): sends datagrams to the socket that systemd names."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import weakref
from collections.abc import Mapping

log = logging.getLogger("pitcore.supervision")

FOR_EVER_USEC = (1 << 64) - 1  # systemd's infinity


def _watchdog_ns(usec: str) -> int | None:
    """Return systemd's time in nanoseconds; None without a watchdog, see sd_watchdog_enabled(3)."""
    if not usec:
        return None
    if not (usec.isascii() and usec.isdigit() and len(usec) <= len(str(FOR_EVER_USEC))):
        log.warning(
            "WATCHDOG_USEC = %r is not a time, so the watchdog is not fed; unset it, or let systemd set it", usec
        )
        return None
    return int(usec) * 1000 if 0 < int(usec) < FOR_EVER_USEC else None


class Notifier:
    """Reports the state of the service to systemd. Does nothing if the service was not started by systemd.

    Args:
        environment: contains NOTIFY_SOCKET, and with a watchdog WATCHDOG_USEC and WATCHDOG_PID.

    Attributes:
        watchdog_ns: the watchdog kills the service if it is not fed for this time; None without a watchdog.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        meant = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self.watchdog_ns = _watchdog_ns(environment.get("WATCHDOG_USEC", "")) if self._address and meant else None
        self._channel: socket.socket | None = None
        if self._address:  # opened once, so that the watchdog is fed even if the process cannot open more files
            self._channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            weakref.finalize(self, self._channel.close)
            self._channel.settimeout(0.0)  # a busy systemd must not delay a frame; the next message follows soon

    def tell(self, *assignments: str) -> None:
        """Send assignments such as ``READY=1``. Does nothing if systemd cannot be reached."""
        if self._channel is None:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with contextlib.suppress(OSError):
            self._channel.sendto("\n".join(assignments).encode(), address)
