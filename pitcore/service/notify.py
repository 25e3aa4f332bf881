"""The service's side of sd_notify(3): one datagram to the socket that systemd names. Knows nothing of cameras."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping


class Notifier:
    """Tells systemd how the service is. Where no systemd listens it says nothing, and that is no error.

    Args:
        environment: holds NOTIFY_SOCKET, and WATCHDOG_USEC and WATCHDOG_PID where a watchdog waits.

    Attributes:
        watchdog_ns: the watchdog kills whoever did not feed it for so long; None where there is none.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        meant = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        usec = environment.get("WATCHDOG_USEC", "")
        self.watchdog_ns = int(usec) * 1000 if self._address and meant and usec.isdigit() else None

    def tell(self, *assignments: str) -> None:
        """Send assignments such as ``READY=1``. A systemd that cannot be reached is not ours to mend."""
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.settimeout(0.0)  # a busy systemd must not hold up a frame; the next feeding is soon
            try:
                channel.sendto("\n".join(assignments).encode(), address)
            except OSError:
                return
