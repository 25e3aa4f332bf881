"""Tests the comparison of belt and encoder, with few and many cherries, backwards and forwards."""

import pytest

from pitcore.belt.track import Selection
from pitcore.line_watch.motion import MotionCheck

FRAME_NS = 50_000_000


def check(scale=0.5):
    return MotionCheck(500, scale, 8.0, 60.0)


def show(motion, number, tick, *boxes):
    motion.add(number * FRAME_NS, tick, boxes, Selection())
    return motion.encoder_dead()


def test_one_cherry_that_moves_while_the_encoder_stands_is_enough():
    motion = check()
    rows = (20, 190, 360, 30, 200)  # one leaves, the next comes
    found = [show(motion, number, 1000, (300, row, 60, 60)) for number, row in enumerate(rows)]
    assert found == [None, True, True, True, True]


def test_single_cherries_on_a_sparse_belt_show_a_dead_encoder():
    motion = check()
    frames = ((), ((300, 200, 60, 60),), (), ((900, 100, 60, 60),))
    found = [show(motion, number, 1000, *boxes) for number, boxes in enumerate(frames)]
    assert found == [None, True, True, True]


@pytest.mark.parametrize("ticks", [(0, 1), (0, 1, 0, -1), (0, 1, 1, 0), (0, 1, 2, 3, 4, 5)], ids=str)
@pytest.mark.parametrize("count", [1, 24])
def test_cherries_that_move_while_the_encoder_jitters_show_a_dead_encoder(ticks, count):
    motion = check()
    found = []
    for number in range(8):
        rows = [(30 + 170 * number + 97 * one) % 420 + 20 for one in range(count)]
        boxes = [(100 * one + 13 * number % 40, row, 60, 55) for one, row in enumerate(rows)]
        found.append(show(motion, number, 1000 + ticks[number % len(ticks)], *boxes))
    assert found == [None] + [True] * 7


@pytest.mark.parametrize("advance", [1, -1, 2, 20])
def test_cherries_on_a_slow_belt_show_no_dead_encoder(advance):
    motion = check()
    for number in range(300):
        low = advance * 0.5 * number % 700 - 100
        row, end = max(low, 0), min(low + 60, 500)
        boxes = [(300, round(row), 60, round(end - row))] if end > row else []
        assert not show(motion, number, 1000 + advance * number, *boxes)


def test_cherries_that_lie_still_while_the_encoder_jitters_show_no_dead_encoder():
    motion = check()
    found = [show(motion, number, 1000 + number % 2, (300, 200 + number % 2, 60, 60)) for number in range(6)]
    assert found == [None] + [False] * 5


def test_an_empty_stopped_belt_gives_no_finding():
    motion = check()
    assert [show(motion, number, 1000) for number in range(4)] == [None] * 4


def test_cherries_that_lie_still_show_no_dead_encoder():
    motion = check()
    found = [show(motion, number, 1000, (300, 200 + number % 2, 60, 60)) for number in range(4)]
    assert found == [None, False, False, False]


@pytest.mark.parametrize("scale", [0.5, -0.5])
def test_a_belt_that_runs_back_is_reported_until_it_is_where_it_was(scale):
    motion, sign = check(scale), 1 if scale > 0 else -1
    said = []
    for number, tick in enumerate((1000, 1400, 1290, 1270, 1100, 1300, 1401)):
        show(motion, number, sign * tick)
        said.append(motion.reversing())
    assert said == [False, False, False, True, True, False, False]


def test_encoder_jitter_is_not_a_reversing_belt():
    motion = check()
    for number in range(20):
        show(motion, number, 1000 + 3 * (number % 2))
        assert not motion.reversing()


def test_after_a_reset_of_the_encoder_the_belt_counts_from_there():
    motion = check()
    show(motion, 0, 1_000_000)
    show(motion, 1, 0)
    show(motion, 2, 100)
    assert not motion.reversing()


def test_a_blob_that_does_not_move_with_the_belt_does_not_prevent_nothing_seen():
    motion = MotionCheck(500, 0.5, 8.0, nothing_seen_s=1.0)
    for number in range(30):
        show(motion, number, 1000 + 100 * number, (700, 240, 50, 50))
    assert motion.nothing_seen()
    show(motion, 30, 4000, (700, 240, 50, 50), (300, 100, 60, 60))
    assert not motion.nothing_seen()


def test_a_belt_that_stops_now_and_then_does_not_reset_the_timer():
    motion = MotionCheck(500, 0.5, 8.0, nothing_seen_s=1.0)
    for number in range(60):
        show(motion, number, 1000 + 100 * (number - number // 10), (700, 240, 50, 50))
    assert motion.nothing_seen()


def test_a_flickering_reflection_does_not_reset_the_timer():
    motion = MotionCheck(500, 0.5, 8.0, nothing_seen_s=1.0)
    shows = [number % 7 in {0, 1, 4} for number in range(60)]  # two spots, one of them now and then
    for number, is_there in enumerate(shows):
        blobs = [(700, 240, 50, 50)] + [(90, 40 + number % 3, 30, 30)] * is_there
        show(motion, number, 1000 + 100 * number, *blobs)
    assert motion.nothing_seen()


def test_cherries_that_come_one_by_one_are_not_taken_for_a_flickering_reflection():
    """Fed in lanes, each is in nearly the same place of a frame as one before it, but not of the same size."""
    motion = MotionCheck(500, 0.5, 8.0, nothing_seen_s=1.0)
    for number in range(200):
        size = 60 + 7 * (number // 5 % 5)
        show(motion, number, 1000 + 100 * number, *([(300, 100, size, size)] if number % 5 == 0 else []))
        assert not motion.nothing_seen() or number < 5


@pytest.mark.parametrize("advance_px", [2, -2, 12, -12])
@pytest.mark.parametrize("length_px", [50, 300])
def test_cherries_on_a_slow_belt_do_not_raise_nothing_seen(advance_px, length_px):
    """A cherry, or a chain of them, is nearly where it was in the frame before."""
    motion = MotionCheck(500, advance_px / 4, 8.0, nothing_seen_s=1.0)
    for number in range(200):
        low = advance_px * number % (500 + length_px) - length_px
        row, end = max(low, 0), min(low + length_px, 500)
        show(motion, number, 1000 + 4 * number, *([(700, row, 50, end - row)] if end > row else []))
        assert not motion.nothing_seen()


def test_an_empty_slow_belt_raises_nothing_seen():
    motion = MotionCheck(500, 0.5, 8.0, nothing_seen_s=1.0)
    for number in range(60):
        show(motion, number, 1000 + 4 * number)
    assert motion.nothing_seen()
