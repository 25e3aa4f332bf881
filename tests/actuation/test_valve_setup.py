"""Tests the last resort that shuts valves, with a chip in memory."""

import msgspec
import pytest

from pitcore.actuation import lines
from pitcore.actuation import valve_setup as valves
from pitcore.actuation.simulated_chip import SimulatedChip
from pitcore.config import ActuationConfig, EncoderConfig, LaneConfig, ModbusConfig
from pitcore.errors import SinkError


def config_of(**actuation):
    lanes = tuple(LaneConfig(line=line, x_px=(0, 9), distance_ticks=9, pulse_ticks=1) for line in (4, 6))
    return ActuationConfig(encoder=EncoderConfig(line_a=1), lanes=lanes, **actuation)


@pytest.mark.parametrize("active_low", [False, True])
def test_lines_that_a_killed_service_left_open_are_driven_shut(monkeypatch, active_low):
    chip = SimulatedChip([])
    for line in (4, 6):
        chip.put(line, int(not active_low))
    monkeypatch.setattr(lines, "open_chip", lambda label: chip if label == "here" else None)
    assert valves.shut_valves(config_of(kind="gpio", chip="here", active_low=active_low)) == 2
    assert [chip.level(4), chip.level(6)] == [int(active_low)] * 2
    assert {line for _, line, _ in chip.driven} == {4, 6}


@pytest.mark.parametrize("kind", ["none", "simulated"])
def test_a_board_without_driven_lines_has_nothing_to_shut(kind):
    assert valves.shut_valves(config_of(kind=kind)) == 0


def test_a_missing_gpio_chip_is_a_pitcore_error():
    with pytest.raises(SinkError, match="no GPIO chip is labelled `pinctrl-nowhere`"):
        valves.shut_valves(config_of(kind="gpio", chip="pinctrl-nowhere"))


def test_what_is_armed_changes_with_the_lines_and_not_with_the_place_of_a_lane():
    board = config_of(kind="gpio", chip="here")
    said = valves.what_is_armed(board, ModbusConfig())
    assert said == "lines 4, 6 of here"
    moved = [msgspec.structs.replace(lane, distance_ticks=8) for lane in reversed(board.lanes)]
    for change, is_same in (
        ({"lanes": tuple(moved)}, True),
        ({"latency_us": 900}, True),
        ({"lanes": tuple(moved[:1])}, False),
        ({"chip": "there"}, False),
        ({"kind": "simulated"}, False),
        ({"kind": "none"}, False),
    ):
        now = valves.what_is_armed(msgspec.structs.replace(board, **change), ModbusConfig(enabled=True))
        assert (now == said) is is_same, change


def test_a_plc_that_reads_whether_the_board_is_armed_can_be_armed_without_valves():
    only_an_encoder = ActuationConfig(kind="gpio", encoder=EncoderConfig(line_a=1))
    for actuation in (config_of(kind="none"), only_an_encoder):
        assert valves.what_is_armed(actuation, ModbusConfig()) is None
        assert "PLC" in valves.what_is_armed(actuation, ModbusConfig(enabled=True))
