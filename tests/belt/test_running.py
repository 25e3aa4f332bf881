import pytest

from pitcore.belt.running import Running

LIMIT_NS = 200
JITTER = 2


def belt(steps, tick=0):
    """Follow (time, tick) steps; return whether it runs after each."""
    running = Running(tick, JITTER, LIMIT_NS)
    return [running.update(tick, t_ns, t_ns) for t_ns, tick in steps]


def test_a_belt_that_comes_on_by_no_more_than_it_trembles_does_not_run():
    assert belt([(0, 0), (10, 1), (20, 2), (5000, 2), (5010, 1), (5020, 0), (5030, 2)]) == [False] * 7


def test_a_belt_runs_as_soon_as_it_has_come_on_by_more():
    assert belt([(10, 1), (20, 2), (30, 3), (40, 4)]) == [False, False, True, True]


def test_a_belt_that_creeps_with_longer_pauses_than_the_limit_never_runs():
    assert not any(belt([(number * (LIMIT_NS + 1), number) for number in range(1, 100)]))


def test_a_belt_that_stood_for_minutes_has_to_come_on_anew():
    steps = [(number, number) for number in range(1, 10)]
    assert belt([*steps, (9 + LIMIT_NS, 9), (10 + LIMIT_NS, 9), (9999, 10), (10_000, 11), (10_001, 12)])[-5:] == [
        True,
        False,
        False,
        False,
        True,
    ]


@pytest.mark.parametrize("amplitude", [1, JITTER])
def test_a_belt_that_trembles_at_its_foremost_place_stands_after_the_limit(amplitude):
    run = [(number, number) for number in range(1, 10)]
    assert not belt([*run, *((10 + number, 9 - number % 2 * amplitude) for number in range(LIMIT_NS + 1))])[-1]


def test_a_belt_that_is_turned_round_without_a_pause_goes_on_running():
    back = [(10 + number, 10 - number) for number in range(9)]
    assert belt([*((number, number) for number in range(1, 11)), *back, (20, 3)])[-1]


def test_edges_that_were_read_long_after_the_belt_stopped_do_not_make_it_run():
    running = Running(0, JITTER, LIMIT_NS)
    assert running.update(5, 5, 6)
    assert not running.update(5000, 5000, 5001 + LIMIT_NS)


def test_a_belt_without_tremble_needs_more_than_a_single_edge():
    running = Running(0, 0, LIMIT_NS)
    assert [running.update(tick, tick, tick) for tick in (1, 2)] == [False, True]
