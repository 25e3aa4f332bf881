"""Tests the service's side of the valves with the real valve process. No test depends on its speed."""

import errno
import os
import signal
import subprocess
import time

import msgspec
import numpy as np
import pytest

from pitcore.actuation import gpio
from pitcore.actuation.gpio import GpioSink
from pitcore.actuation.valve_loop import STOOD_NS
from pitcore.actuation.valve_process import Answer, PlayedChip, RealChip, Start, SteadyChip
from pitcore.errors import SinkError
from pitcore.metrics import Metrics
from tests.actuation.valves import CONFIG, DISTANCE, PLAN, PULSE, verdict

PATIENCE_S = 60.0


class Switch:
    def __init__(self, *, armed):
        self.armed = armed


class Rig:
    """Return a sink with its valve process and a running belt."""

    def __init__(self, chip, *, armed=True):
        self.arming, self.metrics = Switch(armed=armed), Metrics()
        self.sink = GpioSink(PLAN, CONFIG, chip, self.arming, self.metrics)
        for tick in range(0, 40_000, 200):
            self.sink.judged(tick, 0)
        self.start_ns = time.monotonic_ns()
        self.sink.start_simulated_belt(lambda: self.start_ns)

    def tick(self):
        return self.sink.tick_at(time.monotonic_ns())


def played(folder, steps="steps"):
    return PlayedChip(*(str(folder / f"{name}.npy") for name in (steps, "driven", "gaps")))


def wait_for(condition, what):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"no {what}"
        time.sleep(0.005)


@pytest.fixture
def rig():
    made = Rig(SteadyChip(2000.0))
    yield made
    made.sink.close()


def test_the_present_count_is_that_of_the_moment_told_with_it_and_does_not_wait(rig):
    wait_for(lambda: rig.sink.tick_now().tick > 20, "moving belt")
    tick, t_ns = rig.sink.tick_now()
    assert rig.sink.tick_at(t_ns) == tick
    assert 0 <= time.monotonic_ns() - t_ns < PATIENCE_S * 1e9
    wait_for(lambda: rig.sink.tick_now().tick > tick, "later count")


def ends_with(rig, text):
    """Wait until the sink reports that its process ended, and return the reason."""

    def told():
        try:
            rig.sink.emit([verdict(0)])
        except SinkError as error:
            return text in str(error)
        return False

    wait_for(told, "error")


def test_a_pit_is_fired_at_and_counted(rig):
    rig.sink.emit([verdict(500), verdict(520, action="pass")])
    wait_for(lambda: rig.tick() > 500 + DISTANCE + 100, "belt")
    rig.sink.emit([])
    assert rig.metrics.value("rejects", "scheduled") == 1
    assert rig.metrics.value("valve_openings", "driven") == rig.sink.counts["openings"] >= 2
    assert rig.metrics.value("valve_openings", "dry_run") == 0
    assert rig.sink.status()["state"] == "ok"


def test_the_time_to_spare_is_that_until_the_valve_opens(rig):
    def measured():
        at_row_0, begun_ns = rig.tick(), time.monotonic_ns()
        rig.sink.emit([verdict(at_row_0), verdict(at_row_0, action="pass")])
        due_ns = rig.start_ns + (at_row_0 + DISTANCE - PULSE // 2) * 500_000
        return due_ns - time.monotonic_ns(), due_ns - begun_ns

    wait_for(lambda: rig.tick() > 100, "belt")
    bounds = []

    def counted():
        bounds.append(measured())
        return rig.metrics.spare.count

    wait_for(counted, "time to spare")  # a busy machine reads the belt too late to know its speed
    (spare_ms,) = rig.metrics.spare.in_order_ms()
    least_ms, most_ms = (max(0.0, bound_ns / 1e6) for bound_ns in bounds[-1])
    assert least_ms - 0.001 <= spare_ms <= most_ms + 0.001  # rounding


def test_a_verdict_that_is_too_late_has_no_time_to_spare(rig):
    wait_for(lambda: rig.tick() > 100, "belt")

    def counted():
        rig.sink.emit([verdict(rig.tick() - 2 * DISTANCE)])
        return rig.metrics.spare.count

    wait_for(counted, "time to spare")
    assert rig.metrics.spare.in_order_ms().tolist() == [0.0]


def test_a_stopped_belt_leaves_time_to_spare_unknown(tmp_path):
    np.save(tmp_path / "steps.npy", np.stack([np.arange(1, 201) * 500_000, np.arange(1, 201)], axis=1))
    rig = Rig(played(tmp_path))
    try:
        wait_for(lambda: rig.tick() == 200, "belt")
        wait_for(lambda: time.monotonic_ns() - rig.sink._board.history.t_ns > STOOD_NS, "stop")
        rig.sink.emit([verdict(500)])
        assert rig.metrics.spare.count == 0
    finally:
        rig.sink.close()


def test_arming_reaches_the_valves(rig):
    rig.arming.armed = False
    wait_for(lambda: not rig.sink._board.get("armed"), "dry run")
    rig.arming.armed = True
    wait_for(lambda: rig.sink._board.get("armed"), "armed valves")


def test_events_between_frames_are_reported_once(rig):
    wait_for(lambda: rig.tick() > DISTANCE, "belt")
    assert "belt_unjudged" in [notice.event for notice in rig.sink.notices()]
    rig.sink.emit([verdict(rig.tick() - 2 * DISTANCE)])
    wait_for(lambda: "reject_late" in [notice.event for notice in rig.sink.notices()], "late reject")
    assert rig.sink.notices() == []


def test_lines_are_driven_where_the_belt_is_and_shut_at_the_end(tmp_path):
    steps = np.stack([np.arange(1, 4001) * 500_000, np.arange(1, 4001)], axis=1)
    np.save(tmp_path / "steps.npy", steps)
    rig = Rig(played(tmp_path))
    rig.sink.emit([verdict(500), verdict(600, x=150)])
    wait_for(lambda: rig.tick() == 4000, "belt")
    rig.sink.close()
    rig.sink.close()
    driven = np.load(tmp_path / "driven.npy")
    for lane in (0, 1):
        assert driven[driven[:, 1] == lane][-2:, 2].tolist() == [1, 0]
    levels = dict(driven[:, 1:].tolist())
    assert not any(levels.values())


def test_a_process_that_is_killed_ends_the_service(rig):
    os.kill(rig.sink._process.pid, signal.SIGKILL)
    ends_with(rig, "the valve process")


def test_a_process_that_is_killed_is_found_while_no_frame_comes(rig):
    os.kill(rig.sink._process.pid, signal.SIGKILL)
    rig.sink._process.wait(PATIENCE_S)
    with pytest.raises(SinkError, match="killed by signal 9; the valves were shut"):
        rig.sink.notices()


def test_a_valve_process_that_is_killed_while_the_service_stops_is_reported(rig):
    wait_for(lambda: rig.sink._board.get("alive_ns"), "first turn")
    os.kill(rig.sink._process.pid, signal.SIGKILL)
    with pytest.raises(SinkError, match="killed by signal 9; the valves were shut"):
        rig.sink.close()
    rig.sink.close()


def test_a_killed_valve_process_is_reported_by_the_next_message_to_it(rig):
    os.kill(rig.sink._process.pid, signal.SIGKILL)
    rig.sink._process.wait(PATIENCE_S)
    with pytest.raises(SinkError, match="killed by signal 9; the valves were shut"):
        rig.sink.judged(0, 0)


def test_a_valve_process_that_cannot_be_started_is_a_one_line_error(monkeypatch):
    def refused(*_, **__):
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", refused)
    with pytest.raises(SinkError, match=r"the valve process cannot be started: .*temporarily unavailable.*TasksMax"):
        Rig(SteadyChip(2000.0))


def test_cherries_that_pass_at_the_end_are_reported(rig, caplog):
    rig.sink.emit([verdict(1 << 30), verdict((1 << 30) + 500)])
    wait_for(lambda: rig.sink.counts["scheduled"] == 2, "schedule")
    rig.sink.close()
    assert "2 things that should have left the belt passed" in caplog.text
    assert "stop the belt first" in caplog.text


def test_disarming_reaches_the_valves_while_the_service_stops(rig):
    class UntilClosed:
        @property
        def armed(self):
            return rig.sink._connection.fileno() >= 0

    rig.sink._arming = UntilClosed()
    rig.sink.emit([verdict(1 << 30)])
    wait_for(lambda: rig.sink.counts["scheduled"] == 1, "schedule")
    rig.sink.close()
    assert not rig.sink._board.get("armed")
    assert not rig.sink._board.get("let_through")  # in a dry run no cherry counts as passed


def test_disarming_just_before_the_stop_reaches_the_valves_before_they_are_told_to_end(monkeypatch):
    monkeypatch.setattr(gpio, "UPDATE_EVERY_S", PATIENCE_S)  # the thread has not written it yet
    rig = Rig(SteadyChip(2000.0))
    connection, armed_at_close = rig.sink._connection, []

    class Connection:
        def close(self):
            armed_at_close.append(rig.sink._board.get("armed"))
            connection.close()

    rig.sink._connection = Connection()
    rig.arming.armed = False
    rig.sink.close()
    assert armed_at_close == [0]


def test_a_process_that_hangs_ends_the_service(rig):
    wait_for(lambda: rig.sink._board.get("alive_ns"), "first turn")
    os.kill(rig.sink._process.pid, signal.SIGSTOP)
    ends_with(rig, "the valve process hung for")
    assert rig.sink._process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_to_all_processes_of_the_service_leave_the_valves_to_it(rig, number):
    wait_for(lambda: rig.sink._board.get("alive_ns"), "first turn")
    os.kill(rig.sink._process.pid, number)
    before = rig.tick()
    wait_for(lambda: rig.tick() > before + 500, "belt")
    rig.sink.close()
    assert rig.sink._process.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_while_the_process_starts_does_not_end_it(number):
    _, connection, process = gpio._start_process()
    os.kill(process.pid, number)  # it has not read a line of ours yet
    with connection:
        connection.settimeout(PATIENCE_S)
        connection.sendall(msgspec.msgpack.encode(Start(PLAN, CONFIG, SteadyChip(2000.0))))
        assert msgspec.msgpack.decode(connection.recv(1000), type=Answer) == Answer()
    assert process.wait(PATIENCE_S) == 0


def test_the_valve_process_ends_when_the_service_was_killed(rig):
    rig.sink._connection.close()
    assert rig.sink._process.wait(PATIENCE_S) == 0


def test_a_valve_process_that_fails_reports_the_reason(tmp_path):
    with pytest.raises(SinkError, match=r"the valve process ended: .*nowhere.npy.*; the valves are shut"):
        Rig(played(tmp_path, "nowhere"))


def test_a_missing_gpio_chip_is_an_error_of_the_service():
    with pytest.raises(SinkError, match="no GPIO chip is labelled `pinctrl-nowhere`"):
        Rig(RealChip("pinctrl-nowhere"))
