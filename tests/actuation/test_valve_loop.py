"""Tests the turns of the valve process, in real time with a chip in memory. No test depends on its speed."""

import os
import time
from functools import partial
from types import SimpleNamespace

import msgspec
import pytest

from pitcore.actuation import valve_loop
from pitcore.actuation.actuator import acts_of
from pitcore.actuation.lines import Lines
from pitcore.actuation.shared_state import ValveBoard
from pitcore.actuation.simulated_chip import SimulatedChip, steady
from pitcore.actuation.valve_loop import DRAIN_NS, ValveLoop
from tests.actuation.valves import CONFIG, DISTANCE, PLAN, PULSE, verdict

PATIENCE_S = 60.0
TICKS_PER_S = 4000.0


def paced(longest_ns=5_000_000):
    """A clock that stands while the machine does: a chip keeps edges only for a while, and then drops the oldest."""
    seen_ns = now_ns = time.monotonic_ns()
    while True:
        before_ns, seen_ns = seen_ns, time.monotonic_ns()
        now_ns += min(seen_ns - before_ns, longest_ns)
        yield now_ns


class Rig:
    """A loop with its chip and a belt that runs from the first turn."""

    def __init__(self, *, armed=True, clock=time.monotonic_ns):
        self.board, fd = ValveBoard.create()
        os.close(fd)
        self.board.set("armed", int(armed))
        self.start_ns = time.monotonic_ns()
        self.chip = SimulatedChip(steady(lambda: self.start_ns, TICKS_PER_S), clock)
        self.loop = ValveLoop(PLAN, CONFIG, Lines(self.chip, CONFIG), self.board)
        for tick in range(0, round(TICKS_PER_S * 2 * PATIENCE_S), 200):
            self.loop.actuator.judged(tick, 0)  # coming belt is judged; the belt under the nozzles is not

    def turn_until(self, condition, what):
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, f"no {what}"
            self.loop.turn()

    def driven(self, lane):
        return [level for _, offset, level in self.chip.driven if offset == lane]


@pytest.fixture
def rig():
    return Rig()


def test_a_pit_opens_and_shuts_its_valve(rig):
    rig.turn_until(lambda: rig.board.history.tick > 100, "belt")
    before = len(rig.driven(1))
    rig.loop.actuator.take(acts_of([verdict(rig.board.history.tick + 500, x=150)]))
    rig.turn_until(lambda: rig.driven(1)[before:][-2:] == [1, 0], "pulse of lane 1")
    assert rig.board.get("scheduled") == 1
    assert rig.board.get("driven") == rig.board.get("openings") >= 1
    assert rig.board.get("dry_run") == 0


def test_a_dry_run_does_everything_but_drive_and_says_so():
    rig = Rig(armed=False)
    rig.loop.actuator.take(acts_of([verdict(500)]))
    rig.turn_until(lambda: rig.board.history.tick > 500 + DISTANCE + 100, "belt")
    assert all(level == 0 for _, _, level in rig.chip.driven)
    assert rig.board.get("dry_run") == rig.board.get("openings") >= 1
    assert rig.board.get("driven") == 0


def test_disarming_shuts_an_open_valve_and_arming_opens_it(rig):
    rig.board.set("armed", 0)
    rig.loop.actuator.take(acts_of([verdict(20 * number) for number in range(2000)]))  # one long stretch of pits
    rig.turn_until(lambda: rig.loop.actuator.schedule.mask & 1, "open valve")
    assert rig.chip.level(0) == 0
    rig.board.set("armed", 1)
    rig.turn_until(lambda: rig.chip.level(0) == 1, "open valve")
    rig.board.set("armed", 0)
    rig.turn_until(lambda: rig.chip.level(0) == 0, "shut valve")


@pytest.mark.parametrize("broken", [False, True])
def test_at_the_end_every_valve_is_shut_whatever_was_under_it(rig, broken):
    rig.turn_until(lambda: rig.chip.level(0) == 1, "open valve")  # the fail-safe, at the start

    def listen(actuator):
        if broken:
            raise OSError("the chip is gone")
        return False

    if broken:
        with pytest.raises(OSError, match="the chip is gone"):
            rig.loop.run(listen)
    else:
        rig.loop.run(listen)
    assert [rig.chip.level(lane) for lane in range(3)] == [0, 0, 0]


class LateMachine:
    """A simulated clock: every sleep ends a millisecond late, and everything else takes some time."""

    LATE_NS = 1_000_000

    def __init__(self):
        self.now_ns = 1_000_000_000

    def monotonic_ns(self):
        self.now_ns += 1000
        return self.now_ns

    def sleep(self, seconds):
        self.now_ns += round(seconds * 1e9) + self.LATE_NS


def virtual_loop(monkeypatch, config, ticks):
    """Return a loop with this clock and a belt that makes these steps."""
    machine = LateMachine()
    monkeypatch.setattr(valve_loop, "time", SimpleNamespace(monotonic_ns=machine.monotonic_ns, sleep=machine.sleep))
    board, fd = ValveBoard.create()
    os.close(fd)
    board.set("armed", 1)
    steps = [(machine.now_ns + round(tick * 1e9 / TICKS_PER_S), tick) for tick in ticks]
    chip = SimulatedChip(steps, machine.monotonic_ns, machine.sleep)
    return machine, board, chip, ValveLoop(PLAN, config, Lines(chip, config), board)


def starts_late_us(monkeypatch, spin_share):
    """Run a belt with thirty pits; return the delay of each pulse."""
    config = msgspec.structs.replace(CONFIG, spin_share=spin_share)
    machine, board, chip, loop = virtual_loop(monkeypatch, config, range(1, 20_000))
    start_ns = machine.now_ns
    pits = range(1000, 16_000, 500)
    loop.actuator.take(acts_of([verdict(at_row_0) for at_row_0 in pits]))
    for tick in range(0, 20_000, 200):
        loop.actuator.judged(tick, 0)
    while board.history.tick < pits[-1] + DISTANCE + 100:
        loop.turn()
    due_ns = [start_ns + (at_row_0 + DISTANCE - PULSE // 2) * 1e9 / TICKS_PER_S for at_row_0 in pits]
    began_ns = [t_ns for t_ns, line, level in chip.driven if (line, level) == (0, 1)][-len(pits) :]
    return [(began - due) / 1000 for began, due in zip(began_ns, due_ns, strict=True)]


def test_a_machine_that_wakes_late_makes_no_pulse_late(monkeypatch):
    tick_us = 1e6 / TICKS_PER_S
    assert max(starts_late_us(monkeypatch, spin_share=0.2)) < tick_us / 5
    assert max(starts_late_us(monkeypatch, spin_share=0.0)) > tick_us


def gone(_actuator):
    """The connection to a service that has ended."""
    return False


def test_a_pit_that_reaches_its_nozzle_within_a_second_is_fired_at_although_the_service_has_ended(monkeypatch):
    _, board, chip, loop = virtual_loop(monkeypatch, CONFIG, range(1, 9000))
    for tick in range(0, 9000, 200):
        loop.actuator.judged(tick, 0)
    while board.history.tick < 1500:
        loop.turn()
    before = len(chip.driven)
    loop.actuator.take(acts_of([verdict(2500 - DISTANCE, x=150)]))
    loop.run(gone)
    assert [(line, level) for _, line, level in chip.driven][before:] == [(1, 1), (1, 0)]
    assert 2500 < board.history.tick < 2700
    assert board.get("let_through") == 0


def test_a_pit_that_is_farther_away_passes_and_is_counted(monkeypatch):
    machine, board, chip, loop = virtual_loop(monkeypatch, CONFIG, range(1, 9000))
    for tick in range(0, 6000, 200):  # and the last one, from 6000 on, as part of what the fail-safe rejects
        loop.actuator.judged(tick, 0)
    loop.actuator.judged(9000, 0)
    loop.actuator.take(acts_of([verdict(6000), verdict(6500), verdict(6000, action="pass")]))
    while board.history.tick < 100:
        loop.turn()
    since_ns = machine.now_ns
    loop.run(gone)
    assert board.get("let_through") == 2
    assert DRAIN_NS <= machine.now_ns - since_ns < 1.1 * DRAIN_NS
    assert [chip.level(lane) for lane in range(3)] == [0, 0, 0]


@pytest.mark.parametrize(("armed", "last_tick", "let_through"), [(False, 9000, 0), (True, 500, 1)])
def test_the_end_waits_neither_in_dry_run_nor_for_a_stopped_belt(monkeypatch, armed, last_tick, let_through):
    machine, board, chip, loop = virtual_loop(monkeypatch, CONFIG, range(1, last_tick))
    board.set("armed", int(armed))
    loop.actuator.take(acts_of([verdict(2000)]))
    while board.history.tick < 499:
        loop.turn()
    since_ns = machine.now_ns
    loop.run(gone)
    assert machine.now_ns - since_ns < DRAIN_NS / 4
    assert board.get("let_through") == let_through
    assert chip.level(0) == 0


def test_frames_get_the_tick_the_belt_had_at_their_exposure():
    rig = Rig(clock=partial(next, paced()))
    rig.turn_until(lambda: rig.board.history.tick > 2000, "belt")
    for tick in (1, 500, 1999):
        at_ns = rig.start_ns + round(tick * 1e9 / TICKS_PER_S)
        assert rig.board.history.tick_at(at_ns) == tick
        assert rig.board.history.tick_at(at_ns - 1) == tick - 1


def test_two_mappings_of_the_shared_state_show_the_same_values(rig):
    here, fd = ValveBoard.create()
    there = ValveBoard(fd)
    os.close(fd)
    here.set("armed", 1)
    there.set("openings", 1 << 40)
    for tick in range(1, 10):
        there.history.append(tick * 1000, tick)
    assert (there.get("armed"), here.counts()["openings"], here.history.tick_at(5500)) == (1, 1 << 40, 5)
