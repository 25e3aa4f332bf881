"""Tests a belt that backs up: things that leave by the entry edge are forgotten, the others stay judged."""

import pytest

from tests.actuation.test_actuator import HALF, TICK_NS, judged_line, ticks
from tests.actuation.valves import DISTANCE, PLAN, verdict


def blind_until(line, tick):
    """Run the belt further without judging frames."""
    line._judge = False
    return line.run(range(line.tick + 1, tick))


def test_belt_that_left_by_the_entry_edge_is_unjudged_when_no_frame_shows_it_again():
    line = judged_line().run(range(1999, 1000, -1))
    blind_until(line, 2000 + DISTANCE)
    assert line.notices()["belt_unjudged"] == 1
    unjudged = range(1001 + DISTANCE + HALF, 1870 + DISTANCE - HALF)  # row 0 is the entry edge
    assert set(unjudged) <= line.open[0]
    assert min(line.open[0]) > 1001 + DISTANCE - 2 * HALF


def test_belt_that_frames_show_again_is_judged_and_no_clean_cherry_is_hit():
    line = judged_line().run(range(1999, 1000, -1)).run(range(1001, 2400)).run(range(2399, 1500, -1))
    line.run(range(1501, 2400 + DISTANCE))
    assert line.notices() == {}
    assert not any(line.open)


@pytest.mark.parametrize("ticks_late", [50, 600])
def test_a_frame_from_before_the_turn_counts_only_for_belt_that_stayed_in_view(ticks_late):
    line = judged_line()
    before_ns = line.now_ns
    line._judge = False
    line.run(range(1999, 1999 - ticks_late, -1))
    line.actuator.judged(1999, before_ns)
    blind_until(line, 2000 + DISTANCE)
    turned = 2000 - ticks_late
    assert set(range(max(turned, 1970) + DISTANCE + HALF, 2000 + DISTANCE)) <= line.open[0]
    assert min(line.open[0]) == pytest.approx(min(turned, 1970) + DISTANCE, abs=2 * HALF)


def test_a_frame_from_before_the_turn_that_begins_beyond_it_leaves_no_gap():
    line = judged_line()
    before_ns = line.now_ns
    line.run(range(1999, 1000, -1))
    line.actuator.judged(1999, before_ns)  # its exit edge is beyond what is judged now
    line.run(range(1001, 2000 + DISTANCE))
    assert line.notices() == {}
    assert not any(line.open)


def test_belt_that_the_fail_safe_hit_is_hit_again_if_it_comes_again_unjudged():
    line = judged_line()
    blind_until(line, 2400 + DISTANCE)
    line.run(range(line.tick, 1000, -1))
    line.open = [set() for _ in PLAN.lanes]
    blind_until(line, 2400 + DISTANCE)
    assert set(range(1100 + DISTANCE, 2400 + DISTANCE)) <= line.open[0]


def test_belt_on_which_a_cluster_waits_is_not_judged():
    line = judged_line()
    line._judge = False
    line.actuator.judged(2000, line.now_ns + TICK_NS, 180)
    blind_until(line, 2000 + DISTANCE)
    begins = min(line.open[0])
    other = judged_line()
    other._judge = False
    other.actuator.judged(2000, other.now_ns + TICK_NS)
    blind_until(other, 2000 + DISTANCE)
    assert min(other.open[0]) > begins


def test_a_cluster_that_waits_makes_no_gap_between_two_frames():
    line = judged_line()
    line._judge = False
    for tick in range(2000, 5000, 100):
        line.run(range(tick, tick + 100))
        line.actuator.judged(tick, line.now_ns, 250)
    assert line.notices() == {}


GAP = range(1870, 2300)  # ticks at which the belt is at row 0 that the frames at 1900 and 2600 leave between them


def line_with_a_gap_that_left():
    """Return a line on which an unjudged stretch of belt backed up beyond the entry edge and returned."""
    line = judged_line()
    line._judge = False
    line.run(range(2000, 2600))
    line.actuator.judged(2600, line.now_ns)
    line.run(range(2600, 1600, -1))
    line._judge = True
    return line


@pytest.mark.parametrize("at_row_0", [GAP[0] - HALF, GAP[150], GAP[-1] + HALF])
def test_a_pit_in_a_fail_safe_stretch_that_left_and_came_again_is_missed(at_row_0):
    line = line_with_a_gap_that_left().run(range(1601, at_row_0 + 150))
    line.take([verdict(at_row_0)])
    line.run(range(line.tick + 1, 2600 + DISTANCE))
    assert ticks(at_row_0 + DISTANCE) <= line.open[0]


def test_a_fail_safe_stretch_that_left_is_fired_once_and_belt_beside_it_is_not():
    line = line_with_a_gap_that_left().run(range(1601, 2800 + DISTANCE))  # every frame of it judged, without a verdict
    assert {tick + DISTANCE for tick in GAP} <= line.open[0]  # air on clean belt: docs/adr/0013
    assert line.open[0] <= set(range(GAP[0] + DISTANCE - HALF, GAP[-1] + DISTANCE + HALF + 1))
    assert line.actuator.counts["openings"] == 2 + 2  # one for each reject lane at the start, and for the gap
