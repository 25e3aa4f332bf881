"""Tests that the guard shuts the valves of a process that hangs, and that stale counts are not used as positions."""

import os
import signal
import subprocess
import threading
import time

import pytest

from pitcore.actuation import gpio, lines
from pitcore.actuation.gpio import GpioSink
from pitcore.actuation.shared_state import ValveBoard
from pitcore.actuation.simulated_chip import SimulatedChip
from pitcore.actuation.valve_guard import HUNG_NS, Silence, ValveGuard
from pitcore.actuation.valve_process import RealChip, SteadyChip
from pitcore.config import ActuationConfig
from pitcore.errors import SinkError
from pitcore.metrics import Metrics
from tests.actuation.test_gpio import Switch, wait_for
from tests.actuation.valves import CONFIG, PLAN

MS = 1_000_000
BOUND_NS = 200 * MS  # for how long an open valve may outlive who is to shut it
TICKS_PER_S = 2000.0


class Rig:
    """A process that does nothing, and its guard, which checks it every 10 ms of a simulated clock."""

    def __init__(self, *, refuses=False):
        self.process = subprocess.Popen(["sleep", "600"])
        self.board, fd = ValveBoard.create()
        os.close(fd)
        self.now_ns, self.shut, self._refuses = 0, 0, refuses
        self._guard = ValveGuard(self.process, self.board, self._shut, 0)

    def _shut(self):
        assert self.process.returncode is not None, "somebody else holds the lines"
        self.shut += 1
        if self._refuses:
            raise SinkError("the line is another's")

    def look(self, for_ns, *, lives=False):
        """Run the guard for this time; return its last result."""
        found = None
        for _ in range(for_ns // (10 * MS)):
            self.now_ns += 10 * MS
            if lives:
                self.board.set("alive_ns", self.now_ns)
            found = self._guard.look(self.now_ns)
        return found


@pytest.fixture
def rig():
    made = Rig()
    yield made
    made.process.kill()
    made.process.wait()


def test_an_open_valve_is_shut_within_200_ms_of_a_process_that_hangs(rig):
    rig.board.set("open", 1)
    assert rig.look(1000 * MS, lives=True) is None
    assert "hung for 0.16 s with an open valve" in rig.look(BOUND_NS)
    assert (rig.process.returncode, rig.shut) == (-signal.SIGKILL, 1)


def test_a_hanging_process_whose_valves_are_shut_has_a_second_to_recover(rig):
    assert rig.look(HUNG_NS - 10 * MS) is None
    assert "with its valves shut" in rig.look(100 * MS)
    assert rig.shut == 1


def test_a_process_that_was_killed_has_its_valves_shut_by_the_service(rig):
    rig.process.kill()
    rig.process.wait()
    assert rig.look(10 * MS) == "the valve process was killed by signal 9; the valves were shut"
    rig.look(100 * MS)
    assert rig.shut == 1


def test_valves_that_cannot_be_shut_are_not_reported_as_shut(caplog):
    rig = Rig(refuses=True)
    rig.process.kill()
    rig.process.wait()
    assert "lines may still be driven until `pitcore shut-valves`" in rig.look(10 * MS)
    assert "the valves cannot be shut: the line is another's" in caplog.text


def test_a_pause_of_the_whole_machine_is_not_taken_for_a_hanging_process():
    silence = Silence(0)
    assert silence.update(1, 10 * MS) == 0
    assert silence.update(1, 5000 * MS) < BOUND_NS / 2
    assert silence.update(2, 5010 * MS) == 0


def test_the_lines_of_a_real_chip_are_driven_shut(monkeypatch):
    config = ActuationConfig(kind="gpio", encoder=CONFIG.encoder, lanes=CONFIG.lanes, chip="here")
    chip = SimulatedChip([])
    for lane in config.lanes:
        chip.put(lane.line, 1)
    monkeypatch.setattr(lines, "open_chip", lambda label: chip if label == "here" else None)
    gpio._shutting(config, RealChip("here"))()
    assert [chip.level(lane.line) for lane in config.lanes] == [0, 0, 0]


@pytest.fixture
def sink():
    """In dry run, so that no valve is open; its belt runs."""
    made = GpioSink(PLAN, CONFIG, SteadyChip(TICKS_PER_S), Switch(armed=False), Metrics())
    made.start_ns = time.monotonic_ns()
    made.start_simulated_belt(lambda: made.start_ns)
    wait_for(lambda: made.tick_at(time.monotonic_ns()), "belt")
    yield made
    if made._process.poll() is None:
        os.kill(made._process.pid, signal.SIGCONT)
    made.close()


def test_a_frame_taken_while_the_encoder_was_not_read_gets_the_tick_of_its_moment(sink):
    os.kill(sink._process.pid, signal.SIGSTOP)
    stopped_at = sink._board.history.tick
    t_ns = time.monotonic_ns() + 50 * MS
    while time.monotonic_ns() < t_ns:
        time.sleep(0.001)
    threading.Timer(0.1, os.kill, (sink._process.pid, signal.SIGCONT)).start()
    expected = (t_ns - sink.start_ns) * TICKS_PER_S / 1e9
    assert sink.tick_at(t_ns) - expected == pytest.approx(0, abs=1)
    assert expected > stopped_at + 50


def test_a_tick_that_nobody_read_ends_the_service(sink):
    os.kill(sink._process.pid, signal.SIGSTOP)
    sink.tick_at(time.monotonic_ns())
    with pytest.raises(SinkError, match="the valve process"):
        sink.emit([])
