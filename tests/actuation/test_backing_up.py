"""A belt that backs up: what leaves by the entry edge is not judged any more, and what stays is."""

import msgspec
import pytest

from tests.actuation.test_actuator import HALF, TICK_NS, judged_line, ticks
from tests.sinks.valves import DISTANCE, PLAN, verdict


def blind_until(line, tick):
    """Run on with a camera that judges nothing more."""
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
    line.judged(1999, before_ns)
    blind_until(line, 2000 + DISTANCE)
    turned = 2000 - ticks_late
    assert set(range(max(turned, 1970) + DISTANCE + HALF, 2000 + DISTANCE)) <= line.open[0]
    assert min(line.open[0]) == pytest.approx(min(turned, 1970) + DISTANCE, abs=2 * HALF)


def test_a_frame_from_before_the_turn_that_begins_beyond_it_leaves_no_gap():
    line = judged_line()
    before_ns = line.now_ns
    line.run(range(1999, 1000, -1))
    line.judged(1999, before_ns)  # its exit edge is beyond what is judged now
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
    line.judged(2000, line.now_ns + TICK_NS, 180)
    blind_until(line, 2000 + DISTANCE)
    begins = min(line.open[0])
    other = judged_line()
    other._judge = False
    other.judged(2000, other.now_ns + TICK_NS)
    blind_until(other, 2000 + DISTANCE)
    assert min(other.open[0]) > begins


def test_a_cluster_that_waits_makes_no_gap_between_two_frames():
    line = judged_line()
    line._judge = False
    for tick in range(2000, 5000, 100):
        line.run(range(tick, tick + 100))
        line.judged(tick, line.now_ns, 250)
    assert line.notices() == {}


KNOWN_PX = 32  # as the tracker says, with a tolerance of 8 px


def frame(line, *verdicts, known_px=KNOWN_PX):
    """Judge a frame at the tick where the line is."""
    line.take(verdicts)
    line.judged(line.tick, line.now_ns, known_px=known_px)


def backed_up(*verdicts, to=1500):
    """A line on which verdicts were given at tick 2000, and that a frame saw at tick ``to`` afterwards."""
    line = judged_line()
    line._judge = False
    line.run([2000])
    frame(line, *verdicts)
    line.run(range(1999, to - 1, -1))
    frame(line)
    return line


def forward_with_frames(line, *verdicts):
    """Run forward past the nozzles, and judge a frame every hundred ticks, the first at 2000 with verdicts."""
    for tick in range(line.tick + 1, 2000 + 2 * DISTANCE):
        line.run([tick])
        if tick % 100 == 0:
            frame(line, *(verdicts if tick == 2000 else ()))
    return line


def test_a_clean_cherry_in_the_place_of_a_pit_that_left_by_the_entry_edge_is_not_hit():
    line = forward_with_frames(backed_up(verdict(1900)))
    assert not any(line.open)
    assert line.notices() == {}


def test_what_was_withdrawn_is_no_more_on_its_way_to_the_nozzles():
    line = backed_up(verdict(1900), verdict(1400))
    line.run(range(1501, 1510))
    assert line.actuator.ahead() == 1


def test_a_pit_that_is_judged_again_after_it_had_left_is_hit():
    line = forward_with_frames(backed_up(verdict(1900)), verdict(1900, tick=2000))
    assert line.open[0] == ticks(1900 + DISTANCE)


@pytest.mark.parametrize("at_row_0", [1300, 1490, 1500 + KNOWN_PX])
def test_a_pit_that_the_tracker_may_still_know_is_hit_though_no_frame_judges_it_again(at_row_0):
    line = forward_with_frames(backed_up(verdict(at_row_0, tick=2000)))
    assert line.open[0] == ticks(at_row_0 + DISTANCE)


def test_a_pit_beside_one_that_left_keeps_its_whole_pulse():
    kept, left = 1500, 1500 + KNOWN_PX + 3  # their pulses are one in the schedule
    line = forward_with_frames(backed_up(verdict(kept, tick=2000), verdict(left, tick=2000)))
    assert line.open[0] == ticks(kept + DISTANCE)


def test_a_cluster_that_left_in_part_is_hit_as_far_as_it_stayed():
    cluster = msgspec.structs.replace(verdict(1500, tick=2000), box=(20, 400, 60, 200))
    line = forward_with_frames(backed_up(cluster))
    assert line.open[0] == set(range(1400 + 30 + DISTANCE - HALF, 1500 + KNOWN_PX + DISTANCE + HALF))


def test_a_turn_that_no_frame_saw_withdraws_nothing():
    """The tracker takes what comes again for what it knows, so no new verdict would come."""
    line = judged_line()
    line._judge = False
    line.run([2000])
    frame(line, verdict(1900))
    line.run(range(1999, 1750, -1)).run(range(1751, 2000))
    forward_with_frames(line)
    assert line.open[0] == ticks(1900 + DISTANCE)


def test_a_turn_that_only_frames_which_could_not_be_searched_saw_withdraws_what_left():
    line = judged_line()
    line._judge = False
    line.run([2000])
    frame(line, verdict(1900))
    line.run(range(1999, 1750, -1)).run(range(1751, 2000))
    frame(line, known_px=KNOWN_PX - 248)
    forward_with_frames(line)
    assert not any(line.open)


def test_a_frame_with_a_wrong_tick_withdraws_nothing():
    """The belt was never there by the count that the valves follow."""
    line = judged_line()
    line._judge = False
    line.run([2000])
    frame(line, verdict(1900))
    line.judged(1500, line.now_ns, known_px=KNOWN_PX)
    forward_with_frames(line)
    assert ticks(1900 + DISTANCE) <= line.open[0]


def test_a_verdict_that_comes_after_the_turn_on_a_frame_before_it_is_withdrawn_too():
    line = judged_line()
    line._judge = False
    line.run([2000])
    seen_ns = line.now_ns
    line.run(range(1999, 1700, -1))
    line.take([verdict(1900, tick=2000)])
    line.judged(2000, seen_ns, known_px=KNOWN_PX)
    line.run(range(1700, 1499, -1))
    frame(line)
    forward_with_frames(line)
    assert not any(line.open)


def test_what_the_fail_safe_fires_stays_where_a_pulse_is_withdrawn():
    line = judged_line()
    line._judge = False
    line.run(range(2000, 2301))
    frame(line, verdict(1965, tick=2300))  # no frame showed the belt from 1870 to 2000
    line.run(range(2299, 1959, -1))
    frame(line, known_px=0)
    forward_with_frames(line)
    assert set(range(1870 + DISTANCE - HALF, 1960 + DISTANCE)) <= line.open[0]
    assert not line.open[0] & set(range(1960 + DISTANCE, 1965 + DISTANCE + HALF))
