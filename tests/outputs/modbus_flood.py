"""A flood of Modbus connections against an armed service: ``python -m tests.outputs.modbus_flood [COUNT [SECONDS]]``.

Starts a service with valves on a simulated chip under a watchdog, as systemd would, and arms it. Opens 2,000
connections within a minute, as a broken client would, and keeps what the service keeps. Every five seconds it asks the
control socket to disarm, and arms again. The last line says what came of it. Exit code 1 if the watchdog was not fed
in time, an answer took longer than a second, or the service logged more than ten lines.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import resource
import socket
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.cli.program import write_config
from tests.cli.service import Service
from tests.conftest import write_tiny_bundle

CONNECTIONS, SECONDS, ASK_EVERY_S = 2000, 60.0, 5.0
LONGEST_S, WATCHDOG_S, MOST_LINES = 1.0, 5.0, 10
LINE = """
[actions]
maybe = "reject"
side = "reject"

[modbus]
enabled = true
port = {port}

[actuation]
kind = "simulated"
encoder = {{ line_a = 10, line_b = 11 }}
cherry_px = 60
lanes = [{{ line = 1, x_px = [0, 640], distance_ticks = 1500, pulse_ticks = 40 }}]
"""


@dataclass
class Found:
    """The result of a flood.

    Attributes:
        opened: connections that the service accepted.
        answers_s: seconds until each answer to `disarm`.
        feed_gaps_s: seconds between two feedings of the watchdog.
        lines: that the service logged meanwhile, without those of arming and disarming.
    """

    opened: int = 0
    answers_s: list[float] = field(default_factory=list)
    feed_gaps_s: list[float] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)


class Systemd:
    """The socket at which systemd would hear the service."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self.fed: list[float] = []
        threading.Thread(target=self._hear, daemon=True).start()

    def _hear(self) -> None:
        while True:
            if b"WATCHDOG=1" in self._socket.recv(65536).split(b"\n"):
                self.fed.append(time.monotonic())


def ask(path: Path, command: str) -> float:
    """Send a command to the service; return the seconds until its answer."""
    started = time.monotonic()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(60.0)
        connection.connect(str(path))
        connection.sendall(json.dumps({"command": command}).encode() + b"\n")
        answer = json.loads(connection.makefile().readline())
    assert answer["ok"], f"{command} was refused: {answer}"
    return time.monotonic() - started


def flood(place: Path, count: int, seconds: float) -> Found:
    """Start a service in a folder, flood it, and return what came of it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    extra = LINE.format(port=port)
    bundle = write_tiny_bundle(place / "tiny")
    config = write_config(place / "board.toml", bundle, sink=place / "v.jsonl", extra=extra, frames_per_s=8.0)
    systemd, control, log = Systemd(place / "notify"), place / "c.sock", place / "log"
    environment = os.environ | {"NOTIFY_SOCKET": str(place / "notify"), "WATCHDOG_USEC": str(round(WATCHDOG_S * 1e6))}
    service, found, kept = Service(config, log, env=environment), Found(), []
    try:
        service.wait(lambda: systemd.fed, "feeding of the watchdog")
        ask(control, "arm")
        before, began = len(log.read_text().splitlines()), time.monotonic()
        fed_before, asked = len(systemd.fed) - 1, 0.0
        for number in range(count):
            with contextlib.suppress(OSError):
                kept.append(socket.create_connection(("127.0.0.1", port), 5.0))
            if time.monotonic() - asked >= ASK_EVERY_S or number == count - 1:
                asked = time.monotonic()
                found.answers_s.append(ask(control, "disarm"))
                ask(control, "arm")
            time.sleep(max(0.0, began + seconds * number / count - time.monotonic()))
        fed = len(systemd.fed)
        service.wait(lambda: len(systemd.fed) > fed, "feeding of the watchdog after the flood")
        times = systemd.fed[fed_before:]
        found.opened = len(kept)
        found.feed_gaps_s = [later - earlier for earlier, later in itertools.pairwise(times)]
        said = log.read_text().splitlines()[before:]
        found.lines = [line for line in said if "armed" not in line]
        assert service.stop() == 0, log.read_text()
    finally:
        service.kill()
        for one in kept:
            one.close()
    return found


def main() -> int:
    """Flood, ask, report."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else CONNECTIONS
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else SECONDS
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # ours; the service inherits it and needs few
    with tempfile.TemporaryDirectory() as folder:
        found = flood(Path(folder), count, seconds)
    for line in found.lines:
        sys.stdout.write(f"log: {line}\n")
    longest, gap = max(found.answers_s), max(found.feed_gaps_s)
    good = longest <= LONGEST_S and gap <= WATCHDOG_S and len(found.lines) <= MOST_LINES and found.opened == count
    sys.stdout.write(
        f"{'ok' if good else 'FAILED'}: {found.opened} of {count} connections in {seconds:g} s while armed; "
        f"watchdog of {WATCHDOG_S:g} s fed at least every {gap:.2f} s; {len(found.answers_s)} times disarmed, "
        f"within {longest:.3f} s; {len(found.lines)} log lines\n"
    )
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
