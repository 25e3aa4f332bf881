import dataclasses

import numpy as np
import pytest

from pitcore.errors import FrameError
from pitcore.frame import Frame
from pitcore.line_watch.frame_watch import FrameWatch
from pitcore.preprocess.prepare import CropSpec, Preparer, SegmentSpec
from tests.scene import HEIGHT, PIT, WIDTH, planes_with


@pytest.fixture
def watch():
    return FrameWatch(("top", "bottom"), (HEIGHT, WIDTH), max_foreground_share=0.6, noise="sensor")


def frame(seq, tick=None, planes=None):
    return Frame(seq, 0, seq if tick is None else tick, planes or planes_with())


def arrivals(watch, *numbered):
    return [watch.check_arrival(frame(seq), dropped) for seq, dropped in numbered]


def names(events):
    return [(event.event, event.count) for event in events]


def test_frames_in_order_raise_nothing(watch):
    assert arrivals(watch, (7, 0), (8, 0), (9, 0)) == [([], True)] * 3


def test_what_the_queue_dropped_is_not_counted_as_lost_before_us(watch):
    _, (events, is_new) = arrivals(watch, (3, 0), (9, 2))
    assert is_new
    assert names(events) == [("frames_dropped", 2), ("frames_lost", 3)]
    assert "too slow" in events[0].detail


def test_a_gap_that_the_queue_explains_is_no_loss(watch):
    _, (events, _) = arrivals(watch, (3, 0), (6, 2))
    assert names(events) == [("frames_dropped", 2)]


def test_a_camera_whose_numbers_restart_is_judged_and_reported(watch):
    _, (events, is_new), (later, later_is_new) = arrivals(watch, (500, 0), (0, 0), (1, 0))
    assert (names(events), is_new) == ([("frames_renumbered", 1)], True)
    assert (later, later_is_new) == ([], True)


def test_the_last_number_again_is_not_judged_again(watch):
    _, (events, is_new), (later, later_is_new) = arrivals(watch, (5, 0), (5, 0), (6, 0))
    assert (names(events), is_new) == ([("frame_repeated", 1)], False)
    assert (later, later_is_new) == ([], True)


def test_frames_dropped_before_the_first_one_are_reported(watch):
    ((events, is_new),) = arrivals(watch, (4, 4))
    assert (names(events), is_new) == ([("frames_dropped", 4)], True)


def test_frames_dropped_before_a_repeated_one_are_reported_once_and_not_as_lost(watch):
    _, (events, is_new), (later, _), (last, _) = arrivals(watch, (5, 0), (5, 2), (9, 0), (11, 0))
    assert (names(events), is_new) == ([("frames_dropped", 2), ("frame_repeated", 1)], False)
    assert names(later) == [("frames_lost", 1)]  # 6 and 7 were dropped, 8 never came
    assert names(last) == [("frames_lost", 1)]  # and the drops of then explain no gap of now


@pytest.mark.parametrize("black", [0, 1])
def test_a_black_plane_is_named(watch, black):
    planes = list(planes_with())
    planes[black] = np.zeros((HEIGHT, WIDTH), np.uint8)
    event = watch.check_picture(frame(1, planes=tuple(planes)))
    assert event.event == "frame_black"
    assert f"plane {('top', 'bottom')[black]} " in event.detail


def test_a_dark_belt_is_not_a_black_plane(watch):
    assert watch.check_picture(frame(1)) is None


@pytest.mark.parametrize(
    "planes",
    [
        planes_with()[:1],
        (*planes_with(), planes_with()[0]),
        planes_with(height=HEIGHT + 1),
        (planes_with()[0], planes_with(width=WIDTH - 1)[1]),
    ],
    ids=["one plane", "three planes", "too high", "one too narrow"],
)
def test_planes_other_than_configured_are_refused_with_both_sizes_and_the_fix(watch, planes):
    promise = rf"promises 2 \(top, bottom\) of \({HEIGHT}, {WIDTH}\); set \[frame\] to what the source gives$"
    with pytest.raises(FrameError, match=promise) as refused:
        watch.check_arrival(frame(4, planes=planes), 0)
    assert f"frame 4: planes of shape {[plane.shape for plane in planes]}" in str(refused.value)


def searched(planes):
    rule = SegmentSpec((6, 6), (14, 14), ("bright", "bright"), "any", 300)
    preparer = Preparer(HEIGHT, WIDTH, rule, CropSpec(64, "centre", 2))
    return preparer.segment(planes), preparer.foreground_px


def test_too_much_foreground_is_a_flood_and_says_how_much(watch):
    full = (np.full((HEIGHT, WIDTH), 200, np.uint8),) * 2
    event = watch.check_things(frame(1, planes=full), *searched(full))
    assert event.event == "frame_flooded"
    assert "100%" in event.detail
    assert "60%" in event.detail


def test_the_same_picture_again_is_a_hung_camera_only_if_the_belt_moved(watch):
    planes = planes_with((50, 50, PIT))
    found = searched(planes)
    assert watch.check_things(frame(1, 100), *found) is None
    assert watch.check_things(frame(2, 100), *found) is None  # the belt is stopped
    assert watch.check_things(frame(3, 300), *found).event == "frame_stuck"
    other = searched(planes_with((51, 50, PIT)))
    assert watch.check_things(frame(4, 500), *other) is None


def test_an_empty_belt_twice_is_not_a_hung_camera(watch):
    nothing = searched(planes_with())
    assert len(nothing[0]) == 0
    assert watch.check_things(frame(1, 100), *nothing) is None
    assert watch.check_things(frame(2, 300), *nothing) is None


def test_a_frozen_plane_is_named_though_the_other_goes_on(watch):
    still, _ = planes_with(seed=1)
    moving = [planes_with(seed=seed)[1] for seed in (2, 3, 4)]
    events = [watch.check_picture(frame(seq, planes=(still, moving[seq]))) for seq in range(3)]
    assert events[0] is None
    assert [(event.event, event.camera) for event in events[1:]] == [("frame_stuck", "top")] * 2
    assert watch.frozen[0] == "top"
    assert watch.check_picture(frame(4, planes=planes_with(seed=9))) is None
    assert watch.frozen is None


def test_a_reload_does_not_make_a_frozen_picture_a_new_one(watch):
    planes = planes_with(seed=1)
    assert watch.check_picture(frame(1, planes=planes)) is None
    later = FrameWatch(("top", "bottom"), (HEIGHT, WIDTH), max_foreground_share=0.6, noise="sensor")
    later.continue_from(watch)
    assert later.check_picture(frame(2, planes=planes)).event == "frame_stuck"


def test_an_event_names_its_frame(watch):
    planes = (np.zeros((HEIGHT, WIDTH), np.uint8),) * 2
    event = watch.check_picture(dataclasses.replace(frame(11, 77), planes=planes))
    assert (event.schema, event.seq, event.tick, event.count) == ("pitcore.event/1", 11, 77, 1)
