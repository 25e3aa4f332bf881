from itertools import pairwise

import pytest

from pitcore.belt.lanes import Lane, Plan

LANES = (
    Lane((0, 100), 1000, 40),
    Lane((100, 200), 1010, 40),
    Lane((200, 300), 1000, 20),
    Lane((0, 300), 2000, 60, "review"),
)


def plan(px_per_tick=0.5, lanes=LANES):
    return Plan(px_per_tick=px_per_tick, rows_px=(0, 500), cherry_px=80, lanes=lanes)


def placed(pulses):
    return [(pulse.lane, pulse.on, pulse.off) for pulse in pulses]


@pytest.mark.parametrize("px_per_tick", [0.5, -0.5, 3.0, -0.25])
def test_a_pulse_is_centred_on_the_tick_at_which_the_cherry_is_under_the_nozzle(px_per_tick):
    made = plan(px_per_tick)
    row, tick = 170, 9000
    (pulse,) = made.pulses(tick, (20, row - 30, 60, 60), "reject")
    middle = (pulse.on + pulse.off) / 2
    # A point at row r at tick t is at row 0 when px_per_tick * (its tick - t) = -r; the nozzle is 1000 ticks later.
    row_when_due = row + (middle - 1000 - tick) * px_per_tick
    assert row_when_due == pytest.approx(0.0, abs=abs(px_per_tick))
    assert pulse.off - pulse.on == 40


def test_the_same_cherry_in_a_later_frame_gets_the_same_pulse():
    made = plan()
    early = placed(made.pulses(1000, (120, 100, 60, 50), "reject"))
    assert placed(made.pulses(1200, (120, 200, 60, 50), "reject")) == early


def test_each_column_has_its_lane_and_each_action_its_own_lanes():
    made = plan()
    assert [made.pulses(0, (x, 0, 50, 50), "reject")[0].lane for x in (10, 74, 75, 130, 175, 240)] == [0, 0, 1, 1, 2, 2]
    assert placed(made.pulses(0, (10, 0, 50, 50), "review")) == [(3, 1920, 1980)]
    assert made.pulses(0, (10, 0, 50, 50), "pass") == []


def test_things_wider_than_a_cherry_are_hit_wherever_a_cherry_may_be_in_them():
    made = plan()
    assert [pulse.lane for pulse in made.pulses(0, (60, 0, 80, 50), "reject")] == [1]  # one cherry, its middle at 100
    assert [pulse.lane for pulse in made.pulses(0, (50, 0, 120, 50), "reject")] == [0, 1]  # two side by side
    assert [pulse.lane for pulse in made.pulses(0, (0, 0, 300, 50), "reject")] == [0, 1, 2]


def test_things_longer_than_a_cherry_are_hit_for_as_much_longer():
    made = plan()
    (one,) = made.pulses(0, (10, 100, 60, 80), "reject")
    (two,) = made.pulses(0, (10, 100, 60, 160), "reject")
    assert two.off - two.on == one.off - one.on + 160
    # The first cherry's middle is at row 220, due 440 ticks before row 0; the second's at row 140, due 280 before.
    assert two.on <= 1000 - 440 - 20
    assert two.off >= 1000 - 280 + 20


def test_a_thing_beside_every_lane_is_hit_from_the_nearest():
    made = plan(lanes=(Lane((50, 100), 1000, 40), Lane((150, 200), 1000, 40)))
    assert [made.pulses(0, (x, 0, 20, 20), "reject")[0].lane for x in (0, 110, 120, 290)] == [0, 0, 1, 1]


@pytest.mark.parametrize("px_per_tick", [0.5, -0.5])
def test_frames_that_overlap_by_a_cherry_leave_no_stretch_unjudged(px_per_tick):
    made = plan(px_per_tick)
    advance = round((500 - 80 / 2) / abs(px_per_tick))
    stretches = [made.judged(tick) for tick in range(0, 10 * advance, advance)]
    for (_, until), (start, _) in pairwise(stretches):
        assert start <= until
    start, until = made.judged(10 * advance + 1000)
    assert start > stretches[-1][1]


def test_reach_is_from_the_last_row_seen_to_the_nearest_nozzle():
    assert plan(0.5).reach_ticks == 1  # the nozzle is at the end of the frame
    assert plan(5.0).reach_ticks == 900
    assert plan(-0.5).reach_ticks == 1000
    assert plan(lanes=()).reach_ticks == 1
