"""Tests the board's lines with a chip in memory that uses gpiod's types; no real chip is available."""

import builtins
import errno

import gpiod
import pytest

from pitcore.actuation.lines import BUFFERED_EDGES, Lines, open_chip
from pitcore.actuation.simulated_chip import SimulatedChip
from pitcore.belt.encoder import QuadratureDecoder, SingleDecoder
from pitcore.config import ActuationConfig, EncoderConfig, LaneConfig
from pitcore.errors import SinkError
from tests.actuation.valves import CONFIG


class Clock:
    """A clock in nanoseconds that advances by sleeping, and by the test."""

    def __init__(self):
        self.now_ns = 0

    def __call__(self):
        return self.now_ns

    def sleep(self, seconds):
        self.now_ns += round(seconds * 1e9)


def lines_over(steps, config=CONFIG):
    clock = Clock()
    chip = SimulatedChip(steps, clock, clock.sleep)
    return Lines(chip, config), chip, clock


def walk(ticks):
    return [(1000 * (number + 1), tick) for number, tick in enumerate(ticks)]


def test_the_decoder_counts_the_movement_of_the_belt():
    ticks = [*range(1, 50), *range(48, 20, -1), *range(22, 60)]
    lines, _, clock = lines_over(walk(ticks))
    decoder = QuadratureDecoder(*lines.levels())
    clock.now_ns = 10**9
    seen = [(edge.t_ns, decoder.feed(edge)) for edge in lines.read()]
    assert seen == walk(ticks)
    assert (decoder.lost, decoder.glitches) == (0, 0)


def test_waiting_ends_with_the_edge_or_with_the_time():
    lines, _, clock = lines_over([(5_000_000, 1)])
    assert not lines.wait(0.003)
    assert clock.now_ns == 3_000_000
    assert lines.wait(0.1)
    assert clock.now_ns == 5_000_000
    assert [edge.t_ns for edge in lines.read()] == [5_000_000]
    assert lines.read() == []


def test_edges_beyond_the_kernels_buffer_are_lost_named_and_still_counted():
    count = BUFFERED_EDGES + 300
    lines, _, clock = lines_over(walk(range(1, count + 1)))
    decoder = QuadratureDecoder(*lines.levels())
    clock.now_ns = 500_000
    for edge in lines.read():
        decoder.feed(edge)
    assert decoder.tick == 500
    clock.now_ns = 10**9
    edges = lines.read()
    assert len(edges) == count - 500
    more, _, clock = lines_over(walk(range(1, count + 1)))
    clock.now_ns = 10**9
    edges = more.read()
    assert len(edges) == BUFFERED_EDGES
    decoder = QuadratureDecoder()
    decoder.feed(edges[0]._replace(seqno=1, line=0, rising=True))
    assert edges[0].seqno == 301


def test_one_channel_gives_a_rising_edge_a_tick():
    config = ActuationConfig(kind="simulated", encoder=EncoderConfig(line_a=7))
    lines, _, clock = lines_over(walk(range(1, 31)), config)
    assert lines.levels() == (0, 0)
    decoder = SingleDecoder()
    clock.now_ns = 10**9
    assert [decoder.feed(edge) for edge in lines.read()] == list(range(1, 31))


@pytest.mark.parametrize("active_low", [False, True])
def test_valves_are_shut_from_the_start_only_changes_are_driven_and_shut_at_the_end(active_low):
    config = ActuationConfig(
        kind="simulated",
        encoder=CONFIG.encoder,
        active_low=active_low,
        lanes=tuple(LaneConfig(line=line, x_px=(0, 9), distance_ticks=9, pulse_ticks=1) for line in (4, 6)),
    )
    lines, chip, _ = lines_over([], config)
    shut, opened = int(active_low), int(not active_low)
    assert (chip.level(4), chip.level(6)) == (shut, shut)
    for mask in (0b01, 0b01, 0b11, 0b10):
        lines.drive(mask)
    assert (chip.level(4), chip.level(6)) == (shut, opened)
    changes = [(offset, level) for _, offset, level in chip.driven][-4:]
    assert changes[-3:] == [(4, opened), (6, opened), (4, shut)]
    lines.close()
    lines.close()
    assert (chip.level(4), chip.level(6)) == (shut, shut)


class Taking:
    """A chip that records the requests for its lines."""

    def __init__(self, *, refuse_encoder=False):
        self.asked, self.closed, self._refuse = [], False, refuse_encoder
        self._real = SimulatedChip([])

    def request_lines(self, config, consumer=None, event_buffer_size=None):
        ((offsets, settings),) = config.items()
        if self._refuse and settings.direction is gpiod.line.Direction.INPUT:
            raise OSError(errno.EBUSY, "Device or resource busy")
        self.asked.append((offsets, settings, consumer, event_buffer_size))
        return self._real.request_lines(config, consumer, event_buffer_size)

    def level(self, offset):
        return self._real.level(offset)

    def close(self):
        self.closed = True


def test_valves_are_asked_for_shut_and_the_encoder_with_the_cameras_clock():
    chip = Taking()
    Lines(
        chip,
        ActuationConfig(
            kind="simulated", encoder=EncoderConfig(line_a=3, line_b=9, bias="pull_up"), lanes=CONFIG.lanes
        ),
    )
    (valves, valve_settings, name, _), (encoder, settings, _, buffered) = chip.asked
    assert (valves, encoder, name, buffered) == ((0, 1, 2), (3, 9), "pitcore", BUFFERED_EDGES)
    assert valve_settings.output_value is gpiod.line.Value.INACTIVE
    assert settings.event_clock is gpiod.line.Clock.MONOTONIC
    assert settings.edge_detection is gpiod.line.Edge.BOTH
    assert settings.bias is gpiod.line.Bias.PULL_UP
    assert chip.closed


def test_a_line_that_another_program_holds_is_named_and_the_valves_given_back():
    chip = Taking(refuse_encoder=True)
    with pytest.raises(SinkError, match=r"chip `pinctrl-rp1`: Device or resource busy; gpioinfo lists"):
        Lines(chip, CONFIG)
    assert chip.closed


def test_a_chip_is_found_by_its_label_or_the_known_labels_are_listed(tmp_path):
    with pytest.raises(SinkError, match=r"no GPIO chip is labelled `pinctrl-rp1`; there is none that can be opened;"):
        open_chip("pinctrl-rp1", tmp_path)
    (tmp_path / "gpiochip0").write_text("not a device")
    with pytest.raises(SinkError, match=r"gpiochip0: .*; is the user in the group gpio\?"):
        open_chip("pinctrl-rp1", tmp_path)


def test_without_gpiod_the_extra_is_named(monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name.startswith("gpiod"):
            raise ModuleNotFoundError("No module named 'gpiod'")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SinkError, match=r"pip install 'pitcore\[gpio\]'"):
        open_chip("pinctrl-rp1")
