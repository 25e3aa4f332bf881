"""Tests the valve test: only in dry run, over a stopped belt, for a tenth of a second."""

import os
import time

import pytest

from pitcore.actuation.gpio import GpioSink
from pitcore.actuation.shared_state import ValveBoard
from pitcore.actuation.valve_process import SteadyChip
from pitcore.actuation.valve_tester import LANES, OPEN_NS, STOPPED_NS, TestResult, ValveTester
from pitcore.control.valve_test import ValveTest
from pitcore.errors import ControlError
from pitcore.metrics import Metrics
from tests.actuation.valves import CONFIG, PLAN

NOW, EDGE = 10 * STOPPED_NS, 2 * STOPPED_NS


@pytest.fixture
def board():
    made, fd = ValveBoard.create()
    yield made
    os.close(fd)


def asked(board, lane=1, number=1):
    tester = ValveTester(board)
    board.set("test_asked", number * LANES + lane)
    return tester


def told(board):
    return divmod(board.get("test_result"), LANES)


def test_a_valve_is_open_for_a_tenth_of_a_second(board):
    tester = asked(board)
    assert tester.mask(NOW, EDGE, armed=False) == 0b10
    assert tester.mask(NOW + OPEN_NS - 1, EDGE, armed=False) == 0b10
    assert tester.mask(NOW + OPEN_NS, EDGE, armed=False) == 0
    assert told(board) == (1, TestResult.OPENED)


def test_no_valve_opens_over_a_belt_that_moved_lately(board):
    tester = asked(board)
    assert tester.mask(EDGE + STOPPED_NS - 1, EDGE, armed=False) == 0
    assert tester.mask(NOW, EDGE, armed=False) == 0  # later neither
    assert told(board) == (1, TestResult.BELT_MOVES)


def test_an_edge_closes_the_valve(board):
    tester = asked(board)
    assert tester.mask(NOW, EDGE, armed=False)
    assert tester.mask(NOW + 1, NOW + 1, armed=False) == 0


def test_arming_closes_the_valve(board):
    tester = asked(board)
    assert tester.mask(NOW, EDGE, armed=False)
    assert tester.mask(NOW + 1, EDGE, armed=True) == 0


def test_a_valve_test_that_was_requested_while_armed_is_not_carried_out_later(board):
    tester = asked(board)
    assert tester.mask(NOW, EDGE, armed=True) == 0
    assert tester.mask(NOW + 1, EDGE, armed=False) == 0
    assert told(board) == (1, TestResult.ARMED)


def test_a_valve_process_that_starts_again_opens_nothing(board):
    board.set("test_asked", 7 * LANES + 1)
    assert ValveTester(board).mask(NOW, EDGE, armed=False) == 0


class Valves:
    lanes = 2

    def __init__(self):
        self.tested = []

    def test(self, lane):
        self.tested.append(lane)


def test_a_test_takes_two_steps_and_each_code_is_good_once():
    valves = Valves()
    test = ValveTest(valves)
    code = test.prepare(2)
    assert valves.tested == []
    with pytest.raises(ControlError, match="no test was prepared with this code"):
        test.fire("0" * 16)
    with pytest.raises(ControlError, match="no test was prepared"):
        test.fire(code)  # the wrong code ended it
    assert test.fire(test.prepare(2)) == 2
    assert valves.tested == [1]


def test_a_test_that_waits_too_long_is_over(monkeypatch):
    valves = Valves()
    test = ValveTest(valves)
    code = test.prepare(1)
    now = time.monotonic()
    monkeypatch.setattr("pitcore.control.valve_test.time.monotonic", lambda: now + 16)
    with pytest.raises(ControlError, match="prepare it again"):
        test.fire(code)
    assert valves.tested == []


@pytest.mark.parametrize("lane", [0, 3])
def test_a_missing_lane_is_refused(lane):
    with pytest.raises(ControlError, match="the lanes are 1 to 2"):
        ValveTest(Valves()).prepare(lane)


def test_a_board_without_valves_is_refused():
    with pytest.raises(ControlError, match="drives no valves"):
        ValveTest(None).prepare(1)


class Switch:
    armed = False


def test_the_valve_process_opens_a_valve_over_a_stopped_belt_and_refuses_over_a_moving_one():
    switch = Switch()
    sink = GpioSink(PLAN, CONFIG, SteadyChip(2000.0), switch, Metrics())
    try:
        sink.test(0)
        switch.armed = True
        with pytest.raises(ControlError, match="disarm first"):
            sink.test(0)
        switch.armed = False
        start_ns = time.monotonic_ns()
        sink.start_simulated_belt(lambda: start_ns)
        deadline = time.monotonic() + 60
        while not sink.tick_at(time.monotonic_ns()):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        with pytest.raises(ControlError, match="stop it first"):
            sink.test(0)
    finally:
        sink.close()
