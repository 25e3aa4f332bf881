"""What many viewers cost the line: one service, with and without viewers in turn.

    python -m tests.page.viewers --seconds 120            # 50 viewers, 10 of them read nothing

Prints latency from exposure to verdict and memory of both processes for each turn. Turns alternate, so that whatever
else the machine does falls on both.
"""

import argparse
import contextlib
import json
import select
import socket
import statistics
import tempfile
import threading
import time
from pathlib import Path

from tests.cli.service import PATIENCE_S, Service, whole_lines

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
        self._threads = [threading.Thread(target=self._read, args=(at,)) for at in range(stalled, number)]
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


def latencies_ms(path, start):
    """Return the latency of each frame after a line of the verdict file."""
    found = {}
    for line in whole_lines(path)[start:]:
        record = json.loads(line)
        if record["schema"] == "pitcore.verdict/1" and record["latency_us"]:
            found[record["frame"]["seq"]] = record["latency_us"]["total"] / 1000
    return list(found.values())


def measure(config, folder, seconds, turns):
    """Run a service, and yield for each turn (viewers, latencies in ms, memory in MB of service and page,
    dropped, least bytes that a viewer heard)."""
    service = Service(config, folder / "log")
    try:
        service.wait_for_log("[page] listens on")
        verdicts = folder / "verdicts.jsonl"
        service.wait(lambda: verdicts.exists() and verdicts.stat().st_size > 0, "verdicts")
        port = int((folder / "log").read_text().split("[page] listens on ")[1].split("/")[2].rpartition(":")[2])
        (page,) = children_of(service.process.pid)
        for turn in range(turns):
            start = len(whole_lines(verdicts))
            viewers = Viewers(port, NUMBER, STALLED) if turn % 2 else None
            most = [0.0, 0.0]
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                time.sleep(0.2)
                most = [
                    max(before, memory_mb(pid)) for before, pid in zip(most, (service.process.pid, page), strict=True)
                ]
            found = latencies_ms(verdicts, start)
            dropped = heard = 0
            if viewers is not None:
                dropped, heard = viewers.dropped(), min(viewers.heard[STALLED:])
                viewers.close()
            yield turn % 2 * NUMBER, found, most, dropped, heard
        assert service.stop() == 0
    finally:
        service.kill()


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=float, default=120.0, help="of each turn")
    options.add_argument("--turns", type=int, default=4)
    options.add_argument("--frames-per-s", type=float, default=4.0)
    options.add_argument("--cherries", type=float, default=12.0)
    asked = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = folder / "board.toml"
        config.write_text(CONFIG.format(folder=folder, frames_per_s=asked.frames_per_s, cherries=asked.cherries))
        print("viewers  frames  p50 ms  p99 ms  service MB  page MB  dropped of 10  least bytes a viewer")  # noqa: T201
        for viewers, found, (service_mb, page_mb), dropped, heard in measure(
            config, folder, asked.seconds, asked.turns
        ):
            p50, p99 = statistics.median(found), sorted(found)[int(len(found) * 0.99)]
            row = f"{viewers:7}  {len(found):6}  {p50:6.1f}  {p99:6.1f}  {service_mb:10.0f}  {page_mb:7.0f}"
            print(f"{row}  {dropped:13}  {heard:20,}", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
