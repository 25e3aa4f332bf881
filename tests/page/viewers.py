"""Measures the cost of many viewers: one service, with and without viewers in turn.

    python -m tests.page.viewers --seconds 120            # 50 viewers, 10 of them read nothing

Prints for each turn the latency from exposure to verdict, the processor time of the service for each frame, the memory
of both processes, and the load of the machine. Turns alternate, so that whatever else the machine does falls on both;
at the end it compares the turns with viewers and those without.
"""

import argparse
import contextlib
import json
import os
import select
import socket
import statistics
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from tests.cli.service import PATIENCE_S, Service, whole_lines
from tests.page.board import address_of

NUMBER, STALLED = 50, 10
CONFIG = """
[source]
kind = "emulated"
frames_per_s = {frames_per_s}
cherries_per_frame = {cherries}
ring_frames = 12
[decision]
point = "balanced"
[sink]
path = "{folder}/verdicts.jsonl"
[control]
socket = "{folder}/c.sock"
state_dir = "{folder}/state"
[page]
enabled = true
port = 0
"""


class Viewers:
    """Reads the events of a page, many times at once; some read nothing.

    Args:
        port: of the page.
        number: of viewers.
        stalled: of them read nothing.

    Attributes:
        heard: bytes that came, for each viewer.
    """

    def __init__(self, port, number, stalled):
        self.heard = [0] * number
        self.ended = [False] * number
        self._stalled = stalled
        self._sockets = [socket.create_connection(("127.0.0.1", port), PATIENCE_S) for _ in range(number)]
        for one in self._sockets:
            one.sendall(b"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        self._threads = [threading.Thread(target=self._read, args=(at,), daemon=True) for at in range(stalled, number)]
        for thread in self._threads:
            thread.start()

    def _read(self, at):
        with contextlib.suppress(OSError):
            while piece := self._sockets[at].recv(65536):
                self.heard[at] += len(piece)
        self.ended[at] = True

    def dropped(self):
        """Return how many of those that read nothing the board disconnected."""
        poll = select.poll()
        for one in self._sockets[: self._stalled]:
            poll.register(one, select.POLLRDHUP)
        return sum(bool(event & (select.POLLRDHUP | select.POLLHUP | select.POLLERR)) for _, event in poll.poll(0))

    def close(self):
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        for thread in self._threads:
            thread.join()


def children_of(pid):
    """Return the page process of a service."""
    found = " ".join(path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")).split()
    return [int(one) for one in found if "page_process" in Path(f"/proc/{one}/cmdline").read_text()]


def memory_mb(pid):
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.split("VmRSS:")[1].split()[0]) / 1024


def processor_s(pid):
    """Return the processor time that a process had so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def latencies_ms(path, start):
    """Return the latency of each frame after a line of the verdict file."""
    found = {}
    for line in whole_lines(path)[start:]:
        record = json.loads(line)
        if record["schema"] == "pitcore.verdict/1" and record["latency_us"]:
            found[record["frame"]["seq"]] = record["latency_us"]["total"] / 1000
    return list(found.values())


@dataclass
class Turn:
    """Measurements of one turn. Memory is the maximum; ``heard`` is that of the viewer that got the fewest bytes."""

    viewers: int
    latencies_ms: list
    cpu_ms: float  # of the service, for each frame
    page_cpu_share: float  # of one core, by the page process
    service_mb: float
    page_mb: float
    load: float
    dropped: int = 0
    heard: int = 0


HEAD = "viewers  frames  p50 ms  p99 ms  CPU ms a frame  page CPU  service MB  page MB  load  dropped  least KB/s"


def row(turn, seconds):
    p50, p99 = percentile(turn.latencies_ms, 0.5), percentile(turn.latencies_ms, 0.99)
    line = f"{turn.viewers:7}  {len(turn.latencies_ms):6}  {p50:6.1f}  {p99:6.1f}  {turn.cpu_ms:14.1f}"
    line += f"  {100 * turn.page_cpu_share:6.1f} %  {turn.service_mb:10.0f}  {turn.page_mb:7.0f}  {turn.load:4.1f}"
    return f"{line}  {turn.dropped:7}  {turn.heard / 1000 / seconds:10.0f}"


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def measure(config, folder, seconds, turns):
    """Run a service, and yield each turn; every second one has viewers."""
    service = Service(config, folder / "log")
    try:
        port = int(address_of(service, folder / "log").rstrip("/").rpartition(":")[2])
        verdicts, pid = folder / "verdicts.jsonl", service.process.pid
        service.wait(lambda: verdicts.exists() and verdicts.stat().st_size > 0, "verdicts")
        (page,) = children_of(pid)
        for number in range(turns):
            start = len(whole_lines(verdicts))
            before_s, page_before_s = processor_s(pid), processor_s(page)
            viewers = Viewers(port, NUMBER, STALLED) if number % 2 else None
            service_mb = page_mb = 0.0
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                time.sleep(0.2)
                service_mb, page_mb = max(service_mb, memory_mb(pid)), max(page_mb, memory_mb(page))
            found = latencies_ms(verdicts, start)
            cpu_ms = 1000 * (processor_s(pid) - before_s) / max(1, len(found))
            page_share = (processor_s(page) - page_before_s) / seconds
            turn = Turn(NUMBER * (number % 2), found, cpu_ms, page_share, service_mb, page_mb, os.getloadavg()[0])
            if viewers is not None:
                turn.dropped, turn.heard = viewers.dropped(), min(viewers.heard[STALLED:])
                viewers.close()
            yield turn
        assert service.stop() == 0
    finally:
        service.kill()


def compare(turns):
    """Return how turns with viewers differ from those without, and how far turns of one kind differ by themselves."""
    lines = []
    for name, of in (
        ("p50 ms", lambda turn: percentile(turn.latencies_ms, 0.5)),
        ("p99 ms", lambda turn: percentile(turn.latencies_ms, 0.99)),
        ("CPU ms a frame", lambda turn: turn.cpu_ms),
    ):
        alone, watched = ([of(turn) for turn in turns if bool(turn.viewers) == kind] for kind in (False, True))
        noise = max(max(kind) - min(kind) for kind in (alone, watched))
        change = statistics.mean(watched) - statistics.mean(alone)
        lines.append(f"{name}: {change:+.1f} with viewers; turns of one kind differ by up to {noise:.1f}")
    return lines


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=float, default=120.0, help="of each turn")
    options.add_argument("--turns", type=int, default=4, help="the second, fourth and so on have viewers")
    options.add_argument("--frames-per-s", type=float, default=4.0)
    options.add_argument("--cherries", type=float, default=12.0, help="in a frame")
    asked = options.parse_args()
    turns = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = folder / "board.toml"
        config.write_text(CONFIG.format(folder=folder, frames_per_s=asked.frames_per_s, cherries=asked.cherries))
        print(f"{NUMBER} viewers, {STALLED} of them read nothing; turns of {asked.seconds:g} s\n{HEAD}")  # noqa: T201
        for turn in measure(config, folder, asked.seconds, asked.turns):
            turns.append(turn)
            print(row(turn, asked.seconds), flush=True)  # noqa: T201
    if len(turns) > 1:
        print("\n".join(compare(turns)))  # noqa: T201


if __name__ == "__main__":
    main()
