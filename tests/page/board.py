"""A live page without a service: the test sends the data that the loop would send."""

import errno
import http.client
import json
import os
import socket
import subprocess
import time
import uuid
from dataclasses import dataclass, field, replace

import msgspec
import numpy as np

from pitcore.actuation.valve_setup import belt_plan
from pitcore.child_process import start_child
from pitcore.config import Config, ControlConfig, FrameConfig, PageConfig
from pitcore.config.sources import EmulatedSourceConfig
from pitcore.frame import Frame
from pitcore.page.hand_over import PageSink
from pitcore.page.messages import LineNow
from pitcore.sinks.child_output import ChildOutput
from pitcore.verdict import CODES, FrameRef, ModelRef, Verdict
from tests.patience import PATIENCE_S

HEIGHT, WIDTH = 120, 320
MODEL = {"name": "net", "version": "1.0.0", "sha256": "ab" * 32, "directory": "/m", "point": "strict", "promise": "p"}
LINE = LineNow(
    state="running",
    version="0",
    uptime_s=1.0,
    armed=False,
    armed_by=None,
    armed_at=None,
    arming_possible=True,
    model=MODEL | {"accept": 0.05, "reject": 0.8, "card_accept": 0.05, "card_reject": 0.8},
    frames={"processed": 1, "dropped": 0, "lost": 0, "waiting": 0, "queue": 2, "judged": 1},
    alarms=[],
    cameras=[],
    looked_ns=None,
    latency_ms=(20.0, 30.0),
    busy=0.3,
    rejects={},
    spare_ms=None,
    sinks=[],
    machine={"temperature_c": 51.0, "throttled": [], "load_average_1min": 1.0},
    less_safe=[],
    points=["strict", "balanced"],
    valves=2,
    reloading=False,
    reload=None,
)


def camera(**changes):
    return {
        "id": "cam",
        "planes": ["top", "bottom"],
        "state": "ok",
        "frames": 10,
        "age_s": 0.02,
        "lost": {},
        "locked": None,
    } | changes


def alarm(name, **changes):
    told = {"name": name, "detail": "measured", "since": "2026-01-01T00:00:00+00:00", "since_seq": 1}
    return told | {"failsafe": "maybe"} | changes


def config(folder, **page):
    return Config(
        frame=FrameConfig(height_px=HEIGHT, width_px=WIDTH),
        source=EmulatedSourceConfig(advance_px=60),
        control=ControlConfig(socket=str(folder / "c.sock"), state_dir=str(folder / "state")),
        page=PageConfig(enabled=True, **({"port": 0} | page)),
    )


def verdict(name="clean", *, tick=0, x=100, y=40, reason=None, pit=0.01):
    return Verdict(
        schema="pitcore.verdict/1",
        frame=FrameRef(0, 0),
        tick=tick,
        box=(x, y, 40, 40),
        verdict=name,
        code=CODES[name],
        reason=reason,
        probabilities=None if pit is None else {"clean": round(1 - pit, 6), "pit": pit},
        model=ModelRef("net", "1", "ab" * 32),
        config="cd" * 32,
        latency_us=None,
        action="pass",
    )


def frame(tick=0, level=60):
    planes = tuple(np.full((HEIGHT, WIDTH), level + 40 * number, np.uint8) for number in range(2))
    return Frame(tick, time.monotonic_ns(), tick, planes)


def no_memory(*_):
    """Replaces ``os.memfd_create`` on a machine without free memory."""
    raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))


class HangingStarts:
    """The first two processes of an output say nothing and do not end by themselves; the others are real.

    Attributes:
        processes: those that hang.
        told: status of the output when the first real process starts.
    """

    def __init__(self, monkeypatch):
        self.processes, self.told = [], None
        self._output, self._theirs = None, []
        begin = ChildOutput._begin

        def begin_of(output):
            self._output = output
            return begin(output)

        monkeypatch.setattr(ChildOutput, "_begin", begin_of)
        monkeypatch.setattr("pitcore.sinks.child_output.start_child", self._start)

    def _start(self, module, memory_fd, idle):
        if len(self.processes) == 2:
            if self.told is None:
                self.told = self._output.status()
                self._output._child = replace(self._output._child, silent_s=PATIENCE_S)  # a real start takes its time
            return start_child(module, memory_fd, idle=idle)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._theirs.append(theirs)  # open, so that the connection does not end
        self.processes.append(subprocess.Popen(["sleep", "3600"]))
        return ours, self.processes[-1]

    def close(self):
        for end in self._theirs:
            end.close()
        for process in self.processes:
            process.kill()
            process.wait(PATIENCE_S)


def address_of(service, log):
    """Wait for the page of a service, and return its address."""
    service.wait_for_log("[page] listens on", patience_s=PATIENCE_S)
    return log.read_text().split("[page] listens on ")[1].split()[0]


@dataclass
class Board:
    """A running page.

    Attributes:
        line: what the next look at the line gives.
    """

    folder: object
    page: dict = field(default_factory=dict)
    line: LineNow = LINE

    def __enter__(self):
        self.config = config(self.folder, **self.page)
        self.sink = PageSink(self.config, belt_plan(self.config), uuid.uuid4().hex)
        self.sink.start(lambda: self.line)
        return self

    def __exit__(self, *_):
        self.sink.close()

    def wait(self, condition, what="it"):
        deadline = time.monotonic() + PATIENCE_S
        while not (found := condition()):
            assert time.monotonic() < deadline, f"never came: {what}; {self.sink.status()}"
            time.sleep(0.02)
        return found

    def ready(self):
        self.wait(lambda: self.sink.status()["state"] == "ok", "a page that listens")
        return self

    def change(self, **changes):
        self.line = msgspec.structs.replace(self.line, **changes)

    def ask(self, path, method="GET", body=None, **headers):
        """Return status, headers and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.sink.port, timeout=PATIENCE_S)
        raw = None if body is None else json.dumps(body).encode() if not isinstance(body, bytes) else body
        try:
            connection.request(method, path, raw, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def state(self):
        return json.loads(self.ask("/state")[2])

    def write(self, path, body=None, method="POST", **headers):
        """As a browser does from the page itself."""
        origin = f"http://127.0.0.1:{self.sink.port}"
        return self.ask(path, method, body or {}, **({"origin": origin, "content_type": "application/json"} | headers))

    def start_again(self):
        """End the page process in order, and wait for the next one."""
        first, patient = self.sink._process, self.sink._child
        self.sink._child = replace(patient, silent_s=0.0, end_s=PATIENCE_S, retry_s=0.1)
        self.wait(lambda: self.sink._process is not first, "the end of the process")
        self.sink._child = patient
        self.wait(lambda: self.sink._process not in {first, None}, "another process")
        return self.ready()

    def events(self, **headers):
        """Yield (kind, data) as a viewer hears them, until the stream ends."""
        connection = http.client.HTTPConnection("127.0.0.1", self.sink.port, timeout=PATIENCE_S)
        connection.request("GET", "/events", headers=headers)
        answer = connection.getresponse()
        kind = None
        try:
            for raw in answer:
                line = raw.decode().strip()
                if line.startswith("event: "):
                    kind = line[7:]
                elif line.startswith("data: "):
                    yield kind, json.loads(line[6:])
        finally:
            connection.close()

    def raw(self, sent):
        """Send bytes, and return everything that comes until the connection ends."""
        with socket.create_connection(("127.0.0.1", self.sink.port), PATIENCE_S) as connection:
            found = b""
            try:
                connection.sendall(sent)
                connection.shutdown(socket.SHUT_WR)
                while piece := connection.recv(65536):
                    found += piece
            except ConnectionError:
                pass
            return found
