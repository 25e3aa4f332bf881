"""Tests how long before a change the valve process wakes up, with given times."""

import pytest

from pitcore.actuation.wakeup_margin import (
    FADES_IN_NS,
    MARGIN_NS,
    MOST_NS,
    PAUSE_NS,
    SAVED_NS,
    Gap,
    Pause,
    WakeupMargin,
)

S = 10**9


def woken(late_ns, for_s, start_ns=0, margin=None):
    """Return a margin after wake-ups every millisecond, all with the same delay."""
    margin = WakeupMargin(0.2) if margin is None else margin
    for at_ns in range(start_ns, start_ns + round(for_s * S), 1_000_000):
        margin.woke(at_ns, at_ns + late_ns)
    return margin


def test_the_margin_is_large_at_the_start():
    assert WakeupMargin(0.2).lead_ns == MOST_NS


def test_on_a_punctual_machine_sleeping_ends_shortly_before_a_change():
    margin = woken(40_000, 60)
    assert margin.lead_ns == pytest.approx(40_000 + MARGIN_NS, rel=0.01)


def test_one_late_wake_up_enlarges_the_margin_for_seconds():
    margin = woken(40_000, 60)
    margin.woke(60 * S, 60 * S + 1_000_000)
    assert margin.lead_ns == 1_000_000 + MARGIN_NS
    woken(40_000, FADES_IN_NS / S, 60 * S, margin)
    assert margin.latest_ns == pytest.approx(1_000_000 / 2.718, rel=0.02)


def test_a_very_late_wake_up_does_not_make_the_loop_poll_all_the_time():
    margin = woken(40_000, 1)
    margin.woke(2 * S, 3 * S)
    assert margin.lead_ns == MOST_NS


def test_polling_takes_at_most_the_allowed_share():
    margin = WakeupMargin(0.1)
    spun_ns, now_ns = 0, 0
    while now_ns < 20 * S:
        if margin.may_spin(now_ns):
            margin.spun(1_000_000)
            spun_ns += 1_000_000
        now_ns += 1_000_000
    assert spun_ns == pytest.approx(0.1 * (20 * S + SAVED_NS), rel=0.01)


def test_unused_polling_time_is_saved_for_at_most_a_second():
    margin = WakeupMargin(0.1)
    assert margin.may_spin(3600 * S)
    margin.spun(round(0.1 * SAVED_NS))
    assert not margin.may_spin(3600 * S)


def test_a_share_of_zero_never_polls():
    assert not WakeupMargin(0.0).may_spin(3600 * S)


def test_only_long_gaps_are_noted_with_the_time_that_other_programs_took():
    queued = [0, 7000, 7500]
    margin = WakeupMargin(0.2)
    margin.woke(0, 10 * PAUSE_NS)
    assert margin.pauses == []  # recording is off
    margin.record_pauses(lambda: queued.pop(0))
    margin.note(0, PAUSE_NS, Gap.AWAKE)
    margin.note(0, PAUSE_NS + 1, Gap.AT_WORK)
    margin.woke(0, PAUSE_NS + 2)
    assert margin.pauses == [Pause(0, PAUSE_NS + 1, Gap.AT_WORK, 7000), Pause(0, PAUSE_NS + 2, Gap.ASLEEP, 500)]
