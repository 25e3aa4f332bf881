"""How long before a change the valve process is awake, over times that are handed in."""

import pytest

from pitcore.actuation.wakeup_margin import FADES_IN_NS, MARGIN_NS, MOST_NS, NOTED_NS, SAVED_NS, Gap, Noted, Vigil

S = 10**9


def woken(late_ns, for_s, start_ns=0, vigil=None):
    """A vigil that was woken every millisecond, each time as late."""
    vigil = Vigil(0.2) if vigil is None else vigil
    for at_ns in range(start_ns, start_ns + round(for_s * S), 1_000_000):
        vigil.woke(at_ns, at_ns + late_ns)
    return vigil


def test_nothing_is_taken_for_granted_at_the_start():
    assert Vigil(0.2).lead_ns == MOST_NS


def test_on_a_punctual_machine_sleeping_ends_shortly_before_a_change():
    vigil = woken(40_000, 60)
    assert vigil.lead_ns == pytest.approx(40_000 + MARGIN_NS, rel=0.01)


def test_one_late_wake_up_is_reckoned_with_for_seconds_and_then_forgotten():
    vigil = woken(40_000, 60)
    vigil.woke(60 * S, 60 * S + 1_000_000)
    assert vigil.lead_ns == 1_000_000 + MARGIN_NS
    woken(40_000, FADES_IN_NS / S, 60 * S, vigil)
    assert vigil.latest_ns == pytest.approx(1_000_000 / 2.718, rel=0.02)


def test_no_wake_up_is_so_late_that_all_time_would_be_spun_away():
    vigil = woken(40_000, 1)
    vigil.woke(2 * S, 3 * S)
    assert vigil.lead_ns == MOST_NS


def test_no_more_is_spun_away_than_the_share():
    vigil = Vigil(0.1)
    spun_ns, now_ns = 0, 0
    while now_ns < 20 * S:
        if vigil.may_spin(now_ns):
            vigil.spun(1_000_000)
            spun_ns += 1_000_000
        now_ns += 1_000_000
    assert spun_ns == pytest.approx(0.1 * (20 * S + SAVED_NS), rel=0.01)


def test_a_rest_saves_up_for_a_second_and_no_longer():
    vigil = Vigil(0.1)
    assert vigil.may_spin(3600 * S)
    vigil.spun(round(0.1 * SAVED_NS))
    assert not vigil.may_spin(3600 * S)


def test_a_share_of_nothing_never_spins():
    assert not Vigil(0.0).may_spin(3600 * S)


def test_short_gaps_are_not_noted_and_others_with_what_another_program_took_of_them():
    queued = [0, 7000, 7500]
    vigil = Vigil(0.2)
    vigil.woke(0, 10 * NOTED_NS)
    assert vigil.noted == []  # nobody asked for notes
    vigil.take_notes(lambda: queued.pop(0))
    vigil.note(0, NOTED_NS, Gap.AWAKE)
    vigil.note(0, NOTED_NS + 1, Gap.AT_WORK)
    vigil.woke(0, NOTED_NS + 2)
    assert vigil.noted == [Noted(0, NOTED_NS + 1, Gap.AT_WORK, 7000), Noted(0, NOTED_NS + 2, Gap.ASLEEP, 500)]
