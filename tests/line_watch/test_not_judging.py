"""Tests belt that passes unjudged: the alarm comes at once, nothing is clean, and frame counts stop."""

import msgspec
import pytest

from pitcore.config import FailsafeConfig, SegmentationConfig
from pitcore.line_watch.judging import LATEST, TOO_MANY, JudgingCheck
from tests.line_belt import ADVANCE, HEIGHT, line_config, line_source, run_line, wrong

FIRST, LAST = 30, 90


def alarms(memory):
    return [event for event in memory.events if event.event.startswith("not_judging")]


def test_frames_flooded_by_light_raise_the_alarm_and_do_not_count_as_judged(tiny_bundle):
    source = line_source(140, wrong(light=(4.0, 4.0), first=FIRST, last=LAST))
    memory, metrics, _ = run_line(line_config(tiny_bundle), source)
    raised, cleared = alarms(memory)
    assert (raised.event, cleared.event) == ("not_judging", "not_judging_cleared")
    assert FIRST < raised.seq <= FIRST + TOO_MANY
    assert LAST < cleared.seq <= LAST + 1 + LATEST  # the first frame after it has a gap before it
    assert "frame_flooded 4" in raised.detail
    assert metrics.value("frames") == 140
    assert metrics.value("judged") == 140 - metrics.value("events", "frame_flooded")


def test_a_belt_that_runs_faster_than_frames_show_it_is_rejected_until_they_do(tiny_bundle):
    source = line_source(40, advance_px=HEIGHT + ADVANCE)
    memory, _, app = run_line(line_config(tiny_bundle), source)
    assert [event.event for event in alarms(memory)] == ["not_judging"]
    assert [alarm.name for alarm in app.alarms if alarm.name == "not_judging"] == ["not_judging"]
    (raised,) = alarms(memory)
    since = [verdict for verdict in memory.verdicts if verdict.frame.seq >= raised.seq]
    assert {verdict.action for verdict in since} == {"reject"}
    assert not any(verdict.verdict == "clean" for verdict in since)


def test_frames_that_cannot_be_read_raise_the_alarm(tiny_bundle):
    noise = SegmentationConfig(threshold=(4, 4), min_area_px=1)  # is searched as if it were cherries
    config = line_config(tiny_bundle, segmentation=noise)
    memory, metrics, _ = run_line(config, line_source(20))
    assert alarms(memory)[0].seq <= 2 * TOO_MANY
    assert "frame_unreadable" in alarms(memory)[0].detail
    assert metrics.value("judged") + metrics.value("events", "frame_unreadable") == 20


def faults(check, latest):
    for fault in latest:
        check.add(fault)
    return check.not_judging()


@pytest.mark.parametrize("order", [[None, "frame_flooded"] * TOO_MANY, ["belt_gap"] * TOO_MANY])
def test_half_of_the_latest_frames_raises_the_alarm_in_any_order(order):
    assert faults(JudgingCheck(), order) is True


def test_one_bad_frame_among_good_ones_is_no_alarm_and_ends_none():
    assert faults(JudgingCheck(), [None] * 99 + ["frame_flooded"] + [None] * (LATEST - 1)) is None


def test_it_is_over_when_all_of_the_latest_frames_were_judged():
    check = JudgingCheck()
    assert faults(check, ["frame_flooded"] * 99 + [None] * (LATEST - 1)) is None
    assert faults(check, [None]) is False


def test_a_configuration_cannot_disarm_the_alarm():
    with pytest.raises(msgspec.ValidationError, match="not_judging must not be `alarm`"):
        msgspec.convert({"not_judging": "alarm"}, FailsafeConfig)
