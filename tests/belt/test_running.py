import pytest

from pitcore.belt.running import Running

LIMIT_NS = 200
JITTER = 2


def belt(steps, tick=0):
    """Follow (time, tick) steps; return whether it runs after each."""
    running = Running(tick, JITTER, LIMIT_NS)
    return [running.update(tick, t_ns, t_ns) for t_ns, tick in steps]


def test_a_belt_that_moves_no_more_than_the_jitter_does_not_count_as_running():
    assert belt([(0, 0), (10, 1), (20, 2), (5000, 2), (5010, 1), (5020, 0), (5030, 2)]) == [False] * 7


def test_a_belt_counts_as_running_once_it_moved_more_than_the_jitter():
    assert belt([(10, 1), (20, 2), (30, 3), (40, 4)]) == [False, False, True, True]


def test_a_belt_that_creeps_with_pauses_above_the_limit_never_counts_as_running():
    assert not any(belt([(number * (LIMIT_NS + 1), number) for number in range(1, 100)]))


def test_a_belt_that_was_stopped_for_minutes_must_move_again_to_count_as_running():
    steps = [(number, number) for number in range(1, 10)]
    assert belt([*steps, (9 + LIMIT_NS, 9), (10 + LIMIT_NS, 9), (9999, 10), (10_000, 11), (10_001, 12)])[-5:] == [
        True,
        False,
        False,
        False,
        True,
    ]


@pytest.mark.parametrize("amplitude", [1, JITTER])
def test_a_belt_that_only_jitters_counts_as_stopped_after_the_limit(amplitude):
    run = [(number, number) for number in range(1, 10)]
    assert not belt([*run, *((10 + number, 9 - number % 2 * amplitude) for number in range(LIMIT_NS + 1))])[-1]


def test_a_belt_that_reverses_without_a_pause_still_counts_as_running():
    back = [(10 + number, 10 - number) for number in range(9)]
    assert belt([*((number, number) for number in range(1, 11)), *back, (20, 3)])[-1]


def test_edges_that_were_read_long_after_the_belt_stopped_do_not_make_it_run():
    running = Running(0, JITTER, LIMIT_NS)
    assert running.update(5, 5, 6)
    assert not running.update(5000, 5000, 5001 + LIMIT_NS)


def test_a_belt_without_jitter_needs_more_than_one_edge_to_count_as_running():
    running = Running(0, 0, LIMIT_NS)
    assert [running.update(tick, tick, tick) for tick in (1, 2)] == [False, True]
