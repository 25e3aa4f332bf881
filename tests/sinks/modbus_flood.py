"""A flood of Modbus connections against a running service: ``python -m tests.sinks.modbus_flood HOST PORT SOCKET``.

Opens 2,000 connections within a minute, as a broken client would, and keeps what the service keeps. Asks the control
socket to disarm every five seconds. Ends with exit code 1 if an answer takes longer than a second.
"""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import time

CONNECTIONS, SECONDS, ASK_EVERY_S, LONGEST_S = 2000, 60.0, 5.0, 1.0


def disarm(path: str) -> float:
    """Ask the service to disarm; return the seconds until its answer."""
    started = time.monotonic()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10.0)
        connection.connect(path)
        connection.sendall(b'{"command": "disarm"}\n')
        answer = json.loads(connection.makefile().readline())
    if not answer["ok"]:
        raise SystemExit(f"disarm was refused: {answer['error']}")
    return time.monotonic() - started


def main() -> int:
    """Flood, ask, report."""
    host, port, control = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    kept, longest, asked = [], 0.0, 0.0
    began = time.monotonic()
    for number in range(CONNECTIONS):
        with contextlib.suppress(OSError):
            kept.append(socket.create_connection((host, port), 5.0))
        if time.monotonic() - asked >= ASK_EVERY_S:
            asked = time.monotonic()
            longest = max(longest, disarm(control))
        time.sleep(max(0.0, began + SECONDS * number / CONNECTIONS - time.monotonic()))
    sys.stdout.write(f"{len(kept)} connections, disarm answered within {longest:.3f} s\n")
    return int(longest > LONGEST_S)


if __name__ == "__main__":
    sys.exit(main())
