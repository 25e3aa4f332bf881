"""A belt that runs forward, back and forward again, on drawn frames through the real search."""

import dataclasses

import numpy as np
import pytest

from pitcore.belt.track import BeltTracker
from tests.belt.clusters import HEIGHT, Camera, Encoder, Layout, follow, in_boxes, lay

LENGTH, TURN = 3600, 2600  # px
TOLERANCE_PX = 8.0
CLEAR_PX = 40  # of an edge of the frame, at the turn: more than the radius of any cherry


def cherries(size, seed):
    return lay(Layout(size, None, 24), LENGTH, seed)


STEADY = Encoder()


def counted(tracker, belt, fronts, encoder=STEADY, seed=0):
    """Return the number of verdicts of each cherry, and the number of things judged as `cut`."""
    counts, cut = np.zeros(len(belt.x), int), 0
    for front, chosen, judged in follow(tracker, Camera(belt, seed), fronts, encoder, seed):
        counts += in_boxes(belt, judged, front, encoder.px_per_tick)
        cut += len(chosen.cut)
    return counts, cut


def inside(belt):
    return (belt.x - belt.radius > 12) & (belt.x + belt.radius < 2452)


def tracker_of(encoder):
    return BeltTracker(HEIGHT, encoder.px_per_tick, TOLERANCE_PX)


@pytest.mark.parametrize("encoder", [Encoder(), Encoder(-0.5), Encoder(error_px=3)], ids=str)
@pytest.mark.parametrize("back", [30, 90, 300, 480, 900, 2000])
@pytest.mark.parametrize("size", [1, 3])
def test_other_cherries_on_belt_that_left_by_the_entry_edge_get_verdicts_of_their_own(size, back, encoder):
    before, after = cherries(size, 1), cherries(size, 2)
    turned = TURN - back
    stayed = before.along < turned
    came = (after.along > turned + CLEAR_PX) & ~np.isin(after.cluster, after.cluster[after.along < turned + CLEAR_PX])
    belt = dataclasses.replace(
        before,
        **{
            name: np.concatenate([getattr(before, name)[stayed], getattr(after, name)[came]])
            for name in ("x", "along", "radius", "cluster")
        },
    )
    tracker = tracker_of(encoder)
    counted(tracker, before, range(HEIGHT, TURN, 170), encoder)
    counted(tracker, before, range(TURN, turned, -170), encoder)
    counts, _ = counted(tracker, belt, range(turned, LENGTH, 170), encoder)
    new = inside(belt) & (belt.along > turned + CLEAR_PX) & (belt.along < LENGTH - HEIGHT)
    assert new.sum() > 10
    assert (counts[new] > 0).all(), "a new cherry has no verdict of its own"


@pytest.mark.parametrize("encoder", [Encoder(), Encoder(-0.5), Encoder(error_px=3)], ids=str)
@pytest.mark.parametrize("back", [30, 90, 300, 480])
def test_a_cherry_that_stays_on_the_belt_is_not_judged_again_and_not_taken_for_a_cut_one(back, encoder):
    belt, tracker, turned = cherries(1, 3), tracker_of(encoder), TURN - back
    first, _ = counted(tracker, belt, range(HEIGHT, TURN + 1, 100), encoder)
    there, cut = counted(tracker, belt, range(TURN - 30, turned - 1, -30), encoder, seed=1)
    again, cut_again = counted(tracker, belt, range(turned, TURN + 1, 30), encoder, seed=2)
    assert cut + cut_again == 0, "a cherry that came back by the exit edge would be rejected"
    stayed = inside(belt) & (belt.along < turned - CLEAR_PX) & (belt.along > HEIGHT)
    assert (first[stayed] == 1).all()
    assert not (there + again)[stayed].any()


def test_a_cherry_that_left_while_frames_could_not_be_searched_is_judged_when_it_returns():
    """A hand covers the frames while the belt runs back and gets other cherries."""
    tracker, belt = tracker_of(Encoder()), cherries(1, 4)
    counted(tracker, belt, range(HEIGHT, TURN + 1, 100))
    for front in [*range(TURN, TURN - 800, -100), *range(TURN - 800, TURN, 100)]:
        tracker.not_searched(front)
    counts, _ = counted(tracker, belt, [TURN])
    shown = inside(belt) & (np.abs(belt.along - (TURN - HEIGHT / 2)) < HEIGHT / 2 - CLEAR_PX)
    assert shown.sum() > 10
    assert (counts[shown] == 1).all()


def test_a_cherry_that_passed_the_nozzles_and_returns_is_judged_again():
    tracker = BeltTracker(HEIGHT, 1.0, TOLERANCE_PX, remembered_px=100)
    tracker.update(1000, [(100, 200, 60, 60)], [0])
    tracker.update(1400, [], [])
    assert tracker.update(1000, [(100, 200, 60, 60)], [0]).whole == [0]
