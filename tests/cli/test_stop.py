"""The service ends within its limit after a stop signal, even if a call hangs: real servers, pipes, processes."""

import contextlib
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pitcore.config import Config, load_config
from pitcore.service.stopping import STOPS
from tests.cli.program import assert_one_clear_line, run_pitcore, write_config
from tests.cli.service import PATIENCE_S, Service
from tests.cli.test_actuation import LINE
from tests.conftest import ROOT

HUNG, INTERRUPTED = 4, 130
RUNTIME = "\n[runtime]\nstop_timeout_s = {}\n"


@pytest.fixture
def silent_server():
    """A server that accepts every connection and never sends; ``asked`` is set with the first byte it gets."""
    server, kept, asked = socket.create_server(("127.0.0.1", 0)), [], threading.Event()

    def serve():
        with contextlib.suppress(OSError):
            while True:
                kept.append(server.accept()[0])
                kept[-1].recv(1)
                asked.set()

    threading.Thread(target=serve, daemon=True).start()
    yield server.getsockname()[1], asked
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    for one in kept:
        one.close()


def film_config(tmp_path, bundle, path, stop_timeout_s=4.0):
    config = write_config(
        tmp_path / "board.toml", bundle, sink=tmp_path / "v.jsonl", extra=RUNTIME.format(stop_timeout_s)
    )
    text = config.read_text()
    start, end = text.index("[source]"), text.index("[model]")
    config.write_text(text[:start] + f'[source]\nkind = "video"\npath = "{path}"\npx_per_s = 100.0\n\n' + text[end:])
    return config


def test_a_server_that_never_answers_is_a_fault_of_the_source_with_its_own_line(tmp_path, tiny_bundle, silent_server):
    port, _ = silent_server
    url = f"http://127.0.0.1:{port}/belt"
    done = run_pitcore("run", "--config", film_config(tmp_path, tiny_bundle, url))
    assert done.returncode == 2, done.stderr
    assert f"pitcore: {url}: sent nothing for 5 s; check the camera or server, and the network\n" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_stop_ends_the_service_while_the_server_never_answers(tmp_path, tiny_bundle, silent_server):
    port, asked = silent_server
    service = Service(film_config(tmp_path, tiny_bundle, f"http://127.0.0.1:{port}/belt", 1.0), tmp_path / "log")
    try:
        service.wait(asked.is_set, "request")
        assert service.stop() == HUNG
    finally:
        service.kill()
    log = (tmp_path / "log").read_text()
    assert log.count(f"the source http://127.0.0.1:{port}/belt did not return") == 1
    assert "Traceback" not in log


def takes_signals(pid):
    """Whether a process handles every stop signal itself."""
    caught = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigCgt"))
    return all(int(caught.split()[1], 16) >> (number - 1) & 1 for number in STOPS)


def test_the_unit_kills_the_service_only_after_its_own_limit():
    """Otherwise systemd would end it before it names what hangs."""
    unit = (ROOT / "firmware_configs" / "systemd" / "pitcore.service").read_text()
    (limit_s,) = re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)
    configs = [Config(), *map(load_config, sorted((ROOT / "firmware_configs" / "boards").glob("*.toml")))]
    assert len(configs) > 3
    assert max(config.runtime.stop_timeout_s for config in configs) < int(limit_s)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("command", [("record", "rec"), ("calibrate", "flat")])
@pytest.mark.parametrize("kind", ["server", "pipe"])
def test_a_stop_ends_a_command_that_reads_a_source_which_never_answers(
    tmp_path, tiny_bundle, silent_server, number, command, kind
):
    port, asked = silent_server
    config = film_config(tmp_path, tiny_bundle, f"http://127.0.0.1:{port}/belt")  # 1 s for the source, 4 s at most
    name = f"http://127.0.0.1:{port}/belt"
    if kind == "pipe":  # a recording on a disk that does not answer
        name = tmp_path / "old"
        emulated = write_config(tmp_path / "emulated.toml", tiny_bundle)
        assert run_pitcore("record", name, "--config", emulated, "--frames", "2").returncode == 0
        (name / "frames.raw").unlink()
        os.mkfifo(name / "frames.raw")
        text = config.read_text()
        start, end = text.index("[source]"), text.index("[model]")
        config.write_text(text[:start] + f'[source]\nkind = "replay"\npath = "{name}"\n\n' + text[end:])
    config.write_text(config.read_text() + '\n[calibration]\nfile = "calibration.json"\n')
    words = [*command[:1], tmp_path / command[1]] if command[0] == "record" else [*command, "--out", tmp_path / "out"]
    reading = Service(config, tmp_path / "log", command=words)
    try:
        reading.wait(lambda: takes_signals(reading.process.pid), "handler of signals")
        if kind == "server":
            reading.wait(asked.is_set, "request")
        assert reading.stop(number) == HUNG
    finally:
        reading.kill()
    said = (tmp_path / "log").read_text()
    assert said.count("\n") == 1
    assert f"pitcore: the source {name} did not return within 1 s of the stop" in said
    assert not (tmp_path / "rec").exists()
    assert not list(tmp_path.glob("calibration.json*"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_recording_that_was_stopped_keeps_every_frame_before_the_signal(tmp_path, tiny_bundle, number):
    config = write_config(tmp_path / "board.toml", tiny_bundle, extra="\n[runtime]\nstop_timeout_s = 60.0\n")
    words = ["record", tmp_path / "rec", "--frames", "100000"]
    recording, index = Service(config, tmp_path / "log", command=words), tmp_path / "rec" / "index.jsonl"
    try:
        recording.wait(lambda: index.exists() and index.read_bytes().count(b"\n") >= 3, "three frames")
        assert recording.stop(number) == INTERRUPTED
    finally:
        recording.kill()
    assert " frames are recorded\n" in (tmp_path / "log").read_text()
    kept = index.read_bytes().count(b"\n")
    done = run_pitcore("replay", tmp_path / "rec", "--config", config, "--out", tmp_path / "verdicts.jsonl")
    assert done.returncode == 0, done.stderr
    assert f"{kept} frames" in done.stdout
    assert "its last frame is not whole" not in done.stdout
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_a_pipe_as_a_film_is_refused_before_it_can_hang(tmp_path, tiny_bundle):
    os.mkfifo(tmp_path / "pipe")
    done = run_pitcore("run", "--config", film_config(tmp_path, tiny_bundle, tmp_path / "pipe"))
    assert done.returncode == 2
    assert f"pitcore: {tmp_path / 'pipe'}: is not a regular file; give [source] path a film" in done.stderr


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_pipe_or_device_as_the_verdict_file_is_one_clear_line(tmp_path, tiny_bundle, kind):
    place = tmp_path / "pipe" if kind == "pipe" else Path("/dev/null")
    if kind == "pipe":
        os.mkfifo(place)
    config = write_config(tmp_path / "board.toml", tiny_bundle, sink=place)
    assert_one_clear_line(run_pitcore("run", "--config", config), str(place), "not a regular file", "[sink] path")
    assert not place.is_file()


# The service's own parts, with a sink that reads a pipe which nothing writes to, so its call never returns.
HANGING_SINK = """
import os, sys
from pathlib import Path
from pitcore.outputs import opening
from pitcore.cli.main import main

class Hanging:
    def emit(self, records):
        if records:
            print("hangs", flush=True)
            os.read(pipe, 1)
    def close(self):
        pass
    def status(self):
        return {"kind": "disk", "state": "ok", "path": "/mnt/far/v.jsonl"}

pipe, _ = os.pipe()
opening.EventLog = Hanging
sys.argv = ["pitcore", "run", "--config", sys.argv[1]]
main()
"""


def test_a_stop_ends_the_service_while_a_sink_never_returns_and_shuts_the_valves(tmp_path, tiny_bundle):
    extra = LINE.format(port=0).replace("enabled = true", "enabled = false") + RUNTIME.format(1.0)
    config = write_config(tmp_path / "board.toml", tiny_bundle, sink=tmp_path / "v.jsonl", extra=extra)
    with (tmp_path / "log").open("wb") as log:
        command = [sys.executable, "-c", HANGING_SINK, str(config)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert process.stdout.readline() == "hangs\n", (tmp_path / "log").read_text()
        (valves,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        pidfd = os.pidfd_open(int(valves))
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == HUNG
        assert select.select([pidfd], [], [], PATIENCE_S)[0], "the valve process outlived the service"
        os.close(pidfd)
    finally:
        process.kill()
        process.stdout.close()
    said = (tmp_path / "log").read_text()
    assert said.count("stopped by force after 1 s: sink disk /mnt/far/v.jsonl hangs") == 1
    assert "Traceback" not in said


def test_a_stop_ends_the_service_while_nobody_reads_its_log(tmp_path, tiny_bundle):
    config = write_config(tmp_path / "board.toml", tiny_bundle, sink=tmp_path / "v.jsonl", extra=RUNTIME.format(1.0))
    reading, writing = os.pipe()
    command = [str(Path(sys.executable).with_name("pitcore")), "run", "--config", str(config)]
    process = subprocess.Popen(command, stderr=writing)
    try:
        said = b""
        while b"ready: " not in said:
            said += os.read(reading, 65536)
        again = os.open(f"/proc/self/fd/{writing}", os.O_WRONLY | os.O_NONBLOCK)  # fills it without waiting
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(again, b"\0")
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == HUNG
    finally:
        process.kill()
        for end in (reading, writing, again):
            os.close(end)
