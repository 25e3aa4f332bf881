import numpy as np
import pytest

from pitcore.belt.track import BOTTOM, LEFT, MOST_PASSED, TOP, BeltTracker

HEIGHT, ADVANCE = 500, 340


def update(tracker, tick, *things):
    """Feed (x, y, w, h) boxes; border flags follow from a 2000 px wide frame."""
    border = [
        LEFT * (x == 0) + 2 * (x + w == 2000) + TOP * (y == 0) + BOTTOM * (y + h == HEIGHT) for x, y, w, h in things
    ]
    return tracker.update(tick, things, border)


def clip(x, y, w, h):
    """Cut a box by the frame's rows; None if nothing is left."""
    top, bottom = max(y, 0), min(y + h, HEIGHT)
    return (x, top, w, bottom - top) if bottom > top else None


@pytest.fixture
def tracker():
    return BeltTracker(HEIGHT, 1.0, 8.0)


def test_a_cherry_seen_whole_twice_is_judged_once(tracker):
    assert update(tracker, 0, (100, 50, 60, 60)).whole == [0]
    again = update(tracker, ADVANCE, (100, 50 + ADVANCE, 60, 60))
    assert again.whole == []
    assert again.known == 1


def test_a_cherry_cut_at_the_entry_is_judged_where_it_is_whole(tracker):
    first = update(tracker, 0, (100, 0, 60, 30))
    assert (first.whole, first.waiting) == ([], 1)
    second = update(tracker, ADVANCE, (100, ADVANCE - 30, 60, 60))
    assert (second.whole, second.unseen) == ([0], [])


def test_the_leaving_part_of_a_judged_cherry_is_not_judged_again(tracker):
    update(tracker, 0, (100, 130, 60, 60))
    assert update(tracker, ADVANCE, (100, 470, 60, 30)).cut == []


def test_a_cherry_that_leaves_before_it_was_whole_is_cut(tracker):
    update(tracker, 0, (100, 0, 60, 30))
    assert update(tracker, 460, (100, 430, 60, 70)).cut == [0]


def test_a_small_cherry_in_the_corner_of_a_large_ones_box_is_not_taken_for_it(tracker):
    """The large one is whole a frame earlier; the small one trails it so closely that their boxes overlap."""
    assert update(tracker, 0, (100, 20, 80, 80), (173, 0, 26, 14)).whole == [0]
    later = update(tracker, ADVANCE, (100, 20 + ADVANCE, 80, 80), (165, 13 + ADVANCE, 26, 26))
    assert later.whole == [1]
    assert later.known == 1


def test_the_same_when_the_large_one_is_leaving(tracker):
    update(tracker, 0, (100, 130, 80, 80))
    later = update(tracker, ADVANCE, (100, 470, 80, 30), (165, 452, 26, 26))
    assert later.whole == [1]
    assert later.known == 1


def test_a_cherry_that_left_between_two_frames_is_unseen_and_not_forgotten(tracker):
    update(tracker, 0, (100, 0, 60, 30))
    late = update(tracker, 700)
    assert late.unseen == [(100, 700, 60, 30)]
    assert late.gap_px == 200
    assert update(tracker, 1000).unseen == []


def test_the_end_of_the_belt_returns_all_waiting_cherries(tracker):
    update(tracker, 0, (100, 0, 60, 30))
    assert tracker.finish().unseen == [(100, 0, 60, 30)]
    assert tracker.finish().unseen == []


def test_a_cherry_cut_by_a_lateral_edge_is_side_once(tracker):
    assert update(tracker, 0, (0, 100, 40, 60)).side == [0]
    assert update(tracker, ADVANCE, (0, 440, 40, 60)).side == []


def test_a_cherry_that_ran_together_with_a_judged_one_is_not_lost(tracker):
    assert update(tracker, 0, (100, 60, 60, 60), (100, 0, 60, 20)).whole == [0]
    merged = update(tracker, ADVANCE, (100, ADVANCE - 40, 60, 160))  # noise bridged the two
    assert merged.whole == [0]


def test_neighbouring_cherries_are_distinguished(tracker):
    update(tracker, 0, (100, 100, 60, 60))
    again = update(tracker, 100, (100, 200, 60, 60), (164, 200, 60, 60), (100, 136, 60, 60))
    assert again.whole == [1, 2]


def test_encoder_noise_within_the_tolerance_makes_no_second_verdict(tracker):
    update(tracker, 0, (100, 50, 60, 60))
    assert update(tracker, ADVANCE, (100, 50 + ADVANCE + 7, 60, 60)).whole == []


def test_an_encoder_reset_forgets_old_cherries_and_loses_no_new_one(tracker):
    update(tracker, 100_000, (100, 50, 60, 60), (500, 0, 60, 20))
    after = update(tracker, 0, (100, 50, 60, 60))
    assert after.whole == [0]
    assert len(after.unseen) == 1


def test_cherries_that_were_entering_at_a_reset_are_returned_once(tracker):
    """The encoder is dead: its count stays, and what was entering is gone in the next frame."""
    update(tracker, 0, (100, 0, 60, 30), (300, 200, 60, 60))
    tracker.forget()
    after = update(tracker, 0, (700, 200, 60, 60))
    assert after.unseen == [(100, 0, 60, 30)]
    assert after.whole == [0]
    tracker.forget()
    assert update(tracker, 0).unseen == []


def test_cherries_that_were_entering_in_the_last_frame_of_a_dead_encoder_are_returned_at_the_end(tracker):
    update(tracker, 0, (100, 0, 60, 30))
    tracker.forget()
    assert tracker.finish().unseen == [(100, 0, 60, 30)]
    assert tracker.finish().unseen == []


@pytest.mark.parametrize("px_per_tick", [1.0, 0.5, -1.0, -0.5])
@pytest.mark.parametrize("seed", range(5))
def test_every_cherry_of_a_random_belt_gets_one_verdict(px_per_tick, seed):
    rng = np.random.default_rng(seed)
    tracker = BeltTracker(HEIGHT, px_per_tick, 8.0)
    forward = 1 if px_per_tick > 0 else -1
    # cherries at rows along the belt, 70 px apart, up to 64 px long, clear of the first and last frame
    starts = np.arange(600, 6000, 70)
    cherries = [
        (int(100 + 80 * rng.integers(20)), int(s), int(rng.integers(33, 64)), int(rng.integers(33, 64))) for s in starts
    ]
    verdicts = np.zeros(len(cherries), dtype=int)
    for frame in range(25):
        travel = frame * ADVANCE
        tick = round(travel / abs(px_per_tick))
        seen = []
        for number, (x, start, w, h) in enumerate(cherries):
            row = travel - start if forward > 0 else HEIGHT - (travel - start) - h
            box = clip(x, row, w, h)
            if box is not None and box[3] >= 6:
                seen.append((number, (box[0] + int(rng.integers(-2, 3)), *box[1:])))
        chosen = update(tracker, tick, *(box for _, box in seen))
        assert not chosen.unseen
        assert not chosen.cut
        for index in chosen.whole:
            verdicts[seen[index][0]] += 1
    assert verdicts.tolist() == [1] * len(cherries)


def test_a_cherry_that_left_by_the_entry_edge_is_judged_again_when_it_returns(tracker):
    assert update(tracker, 1000, (100, 50, 60, 60)).whole == [0]
    update(tracker, 800)  # backwards: the cherry left, and another one may be in its place
    assert update(tracker, 1000, (104, 52, 58, 58)).whole == [0]


def test_a_belt_that_runs_to_and_fro_takes_no_more_memory(tracker):
    for number in range(2000):
        tick = 1000 - 3 * (number % 200) if number % 400 < 200 else 400 + 3 * (number % 200)
        update(tracker, tick, (100 + number % 50, 100, 60, 60))
    assert len(tracker) < 400 + MOST_PASSED


def test_a_chain_whose_end_passed_the_exit_edge_has_a_box_that_holds_all_of_it(tracker):
    update(tracker, 0, (100, 0, 60, 200))
    later = update(tracker, ADVANCE, (100, 320, 60, 180))
    assert later.cut == [0]
    assert later.box_of(0, [(100, 320, 60, 180)]) == (100, 320, 60, 220)


def test_a_cherry_that_comes_by_the_exit_edge_of_a_belt_that_backs_up_is_judged_where_it_is_whole(tracker):
    update(tracker, 2000)
    assert update(tracker, 1990, (100, 480, 60, 20)).waiting == 1
    assert update(tracker, 1900, (100, 390, 60, 60)).whole == [0]


def test_a_cherry_that_came_by_the_exit_edge_in_part_and_leaves_again_is_cut(tracker):
    update(tracker, 2000)
    assert update(tracker, 1990, (100, 480, 60, 20)).cut == []
    assert update(tracker, 1995, (100, 485, 60, 15)).cut == [0]


def test_a_cherry_that_came_by_the_exit_edge_in_part_and_was_not_seen_again_is_unseen(tracker):
    update(tracker, 2000)
    update(tracker, 1990, (100, 480, 60, 20))
    assert update(tracker, 2100).unseen == [(100, 590, 60, 20)]


def test_a_cherry_at_the_entry_edge_waits_while_the_encoder_jitters(tracker):
    for tick in (2000, 1999, 2000, 1999):
        assert update(tracker, tick, (100, 0, 60, 30)).whole == []
    assert update(tracker, 2200, (100, 170, 60, 60)).whole == [0]


@pytest.mark.parametrize("rows", [1, 2, 8])
@pytest.mark.parametrize("off", [1, 3, 7])
def test_the_last_rows_of_a_judged_cherry_are_not_called_cut_though_the_tick_is_off(tracker, off, rows):
    """A clean cherry that is `cut` would be hit."""
    assert update(tracker, 0, (100, 200, 60, 60)).whole == [0]
    later = update(tracker, 300 - rows + off, (110, HEIGHT - rows, 40, rows))
    assert (later.cut, later.whole, later.known) == ([], [], 1)


def test_a_cherry_that_is_cut_beside_the_last_rows_of_a_judged_one_is_judged(tracker):
    assert update(tracker, 0, (100, 200, 60, 60)).whole == [0]
    later = update(tracker, 300, (110, HEIGHT - 1, 40, 1), (180, HEIGHT - 6, 40, 6))
    assert later.cut == [1]
