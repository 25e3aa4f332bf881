"""The service with valves and a PLC: an emulated belt turns the encoder of a chip in memory."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
from pathlib import Path

import pytest
from pyModbusTCP.client import ModbusClient

from pitcore.outputs.registers import FIELDS
from tests.cli.program import assert_one_clear_line, program, run_pitcore, write_config
from tests.cli.service import PATIENCE_S, Service

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
lanes = [
  {{ line = 1, x_px = [0, 320], distance_ticks = 1500, pulse_ticks = 40 }},
  {{ line = 2, x_px = [320, 640], distance_ticks = 1500, pulse_ticks = 40 }},
]
"""


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class Plc:
    """Reads the registers over the network, by a library that is not the server's."""

    def __init__(self, port):
        self._client = ModbusClient("127.0.0.1", port, unit_id=1, timeout=60.0)

    def __call__(self, name):
        (place,) = (place for place in FIELDS if place.name == name)
        words = self._client.read_input_registers(place.address, place.words)
        return None if words is None else int.from_bytes(b"".join(word.to_bytes(2) for word in words))

    def close(self):
        self._client.close()


@pytest.fixture
def line(tmp_path, tiny_bundle):
    """A running service and the PLC beside it."""
    port = free_port()
    extra, sink = LINE.format(port=port), tmp_path / "v.jsonl"
    config = write_config(tmp_path / "board.toml", tiny_bundle, sink=sink, extra=extra, frames_per_s=8.0)
    service, plc = Service(config, tmp_path / "log"), Plc(port)
    yield service, plc, tmp_path
    plc.close()
    service.kill()


def test_a_plc_sees_the_service_run_and_valves_open_only_while_it_is_armed(line):
    service, plc, place = line
    service.wait(lambda: (plc("pit") or 0) + (plc("clean") or 0) + (plc("maybe") or 0) > 10, "verdicts")
    assert plc("schema") == 1
    beats, frames = plc("heartbeat"), plc("frames")
    service.wait(lambda: plc("heartbeat") != beats and plc("frames") > frames, "heartbeat")
    assert plc("flags") == 0b10
    assert plc("openings") == 0

    assert run_pitcore("arm", "--config", place / "board.toml").returncode == 0
    service.wait(lambda: plc("openings"), "opening")
    assert plc("flags") == 0b11
    assert plc("newest") > 0
    told = json.loads(run_pitcore("status", "--json", "--config", place / "board.toml").stdout)
    (valves,) = (sink for sink in told["sinks"] if sink["kind"] == "valves")
    assert valves["state"] == "ok"
    assert valves["driven"] > 0
    assert valves["dry_run"] > 0

    assert run_pitcore("disarm", "--config", place / "board.toml").returncode == 0
    service.wait(lambda: plc("flags") == 0b10, "dry run")
    assert service.stop() == 0
    events = {json.loads(text).get("event") for text in (place / "v.jsonl").read_text().splitlines()}
    assert "belt_unjudged" in events  # the belt before the nozzles at the start
    assert "Traceback" not in (place / "log").read_text()


def test_a_valve_process_that_is_killed_ends_the_service_with_one_line(line):
    service, plc, place = line
    service.wait(lambda: plc("frames"), "frames")
    (valves,) = Path(f"/proc/{service.process.pid}/task/{service.process.pid}/children").read_text().split()
    os.kill(int(valves), signal.SIGKILL)
    assert service.process.wait(PATIENCE_S) == 2
    log = (place / "log").read_text()
    assert "pitcore: the valve process was killed by signal 9; the valves were shut" in log
    assert "Traceback" not in log


def test_shut_valves_says_what_it_did(tmp_path, tiny_bundle):
    config = write_config(tmp_path / "board.toml", tiny_bundle, extra=LINE.format(port=0))
    done = run_pitcore("shut-valves", "--config", config)
    assert (done.returncode, done.stdout) == (
        0,
        f"{config}: [actuation] drives no line of this board; nothing to shut\n",
    )


def test_valves_are_shut_whatever_is_wrong_in_other_sections(tmp_path, tiny_bundle):
    config = write_config(
        tmp_path / "board.toml", tiny_bundle, extra=LINE.format(port=0) + "[belt]\ntolerance_px = -1\n"
    )
    assert_one_clear_line(run_pitcore("config", "check", config), "tolerance_px")
    assert run_pitcore("shut-valves", "--config", config).returncode == 0
    config.write_text("[actuation]\nwidth = 3\n")
    assert_one_clear_line(run_pitcore("shut-valves", "--config", config), "[actuation]", "shut off the air")


@pytest.mark.parametrize(("result", "shut"), [("success", False), ("signal", True), ("exit-code", True)])
def test_systemd_shuts_the_valves_after_a_service_that_did_not_end_well(tmp_path, tiny_bundle, result, shut):
    """The unit's own line, with this installation's program and configuration in place of the package's."""
    config = write_config(tmp_path / "board.toml", tiny_bundle, extra=LINE.format(port=0))
    unit = Path(__file__).parents[2] / "firmware_configs/systemd/pitcore.service"
    (wanted,) = re.findall(r"^ExecStopPost=-(/bin/sh .*)$", unit.read_text(), re.MULTILINE)
    wanted = wanted.replace("$$", "$").replace("/usr/bin/pitcore", program())
    wanted = wanted.replace("/etc/pitcore/board.toml", str(config))
    environment = os.environ | {"SERVICE_RESULT": result}
    done = subprocess.run(shlex.split(wanted), capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert ("nothing to shut" in done.stdout) is shut


def test_a_board_without_the_chip_says_so_in_one_line(tmp_path, tiny_bundle):
    extra = LINE.format(port=0).replace("enabled = true", "enabled = false").replace('"simulated"', '"gpio"')
    config = write_config(tmp_path / "board.toml", tiny_bundle, sink=tmp_path / "v.jsonl", extra=extra)
    assert_one_clear_line(run_pitcore("run", "--config", config), "an emulated belt has no encoder")
