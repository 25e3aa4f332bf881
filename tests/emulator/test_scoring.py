from dataclasses import replace

import pytest

from pitcore.camera.truth import Truth
from pitcore.emulator.scoring import kind_of, score
from pitcore.frame import Geometry
from pitcore.verdict import CODES, FrameRef, ModelRef, Verdict

GEOMETRY = Geometry(("top", "bottom"), 200, 600, 0.5)
CHERRY = Truth(id=1, kind="cherry", label="clean", x_px=300.0, belt_px=50.0, width_px=60, height_px=50)
TICKS = [200, 400]  # belt at 100 and 200 px: the cherry's middle at rows 50 and 150


def judged(verdict, box, tick=200):
    model = ModelRef("tiny", "1", "0")
    schema, code = "pitcore.verdict/1", CODES[verdict]
    return Verdict(schema, FrameRef(0, 0), tick, box, verdict, code, None, None, model, "", None, "pass")


AROUND = (270, 25, 60, 50)


def test_one_verdict_for_one_cherry_is_right():
    found = score([CHERRY], [judged("clean", AROUND)], TICKS, GEOMETRY)
    assert (found.due, found.misses, found.doubles, found.stray) == (1, [], [], [])
    assert found.confusion == {("clean", "clean"): 1}
    assert found.verdict_of[1].verdict == "clean"


def test_a_cherry_without_a_verdict_is_missed():
    found = score([CHERRY], [], TICKS, GEOMETRY)
    assert found.misses == [CHERRY]
    assert not found.confusion


def test_a_cherry_judged_in_two_frames_is_a_double():
    again = judged("pit", (270, 125, 60, 50), tick=400)
    found = score([CHERRY], [judged("clean", AROUND), again], TICKS, GEOMETRY)
    assert found.doubles == [CHERRY]
    assert (found.misses, found.stray, dict(found.confusion)) == ([], [], {})


def test_a_verdict_on_empty_belt_is_stray():
    wrong = judged("pit", (400, 25, 60, 50))
    found = score([CHERRY], [judged("clean", AROUND), wrong], TICKS, GEOMETRY)
    assert found.stray == [wrong]


def test_a_box_around_two_that_touch_is_the_verdict_of_both():
    second = replace(CHERRY, id=2, x_px=355.0, label="pit", touching=1)
    first = replace(CHERRY, touching=1)
    found = score([first, second], [judged("maybe", (270, 25, 115, 50))], TICKS, GEOMETRY)
    assert (found.misses, found.doubles, found.stray) == ([], [], [])
    assert found.confusion == {("touching", "maybe"): 2}


def test_two_boxes_within_one_thing_are_a_double_not_a_miss():
    halves = [judged("pit", (270, 25, 25, 50)), judged("pit", (305, 25, 25, 50))]
    found = score([CHERRY], halves, TICKS, GEOMETRY)
    assert (found.misses, found.doubles, found.stray) == ([], [CHERRY], [])


def test_the_box_of_a_part_belongs_to_its_whole():
    part = judged("maybe", (270, 0, 60, 20), tick=140)  # the belt at 70 px: rows -5 to 45, of which 0 to 20 were seen
    found = score([CHERRY], [part], [140], GEOMETRY)
    assert found.stray == []
    assert found.verdict_of == {1: part}


@pytest.mark.parametrize(("ticks", "due"), [([140], 0), ([160], 1), ([440], 1), ([460], 0), ([20, 900], 0), ([], 0)])
def test_a_cherry_is_due_only_if_some_frame_showed_it_whole(ticks, due):
    found = score([CHERRY], [], ticks, GEOMETRY)
    assert (found.due, len(found.misses)) == (due, due)


@pytest.mark.parametrize(("ticks", "due"), [([60], 0), ([40], 1), ([-240], 1), ([-260], 0), ([-700, 100], 0)])
def test_a_belt_that_runs_towards_smaller_rows_has_its_misses_too(ticks, due):
    backwards = replace(GEOMETRY, px_per_tick=-0.5)
    coming = replace(CHERRY, belt_px=-50.0)
    assert coming.row_px(-100, -0.5) == 100
    found = score([coming], [], ticks, backwards)
    assert (found.due, len(found.misses)) == (due, due)


def test_a_belt_that_runs_towards_smaller_rows_finds_its_verdicts():
    backwards = replace(GEOMETRY, px_per_tick=-0.5)
    seen_twice = [judged("clean", (270, 25, 60, 50), tick=-200), judged("clean", (270, 125, 60, 50), tick=-400)]
    coming = replace(CHERRY, belt_px=50.0)
    one = score([coming], seen_twice[:1], [-400, -200], backwards)
    assert (one.due, one.misses, one.stray, one.verdict_of) == (1, [], [], {1: seen_twice[0]})
    assert score([coming], seen_twice, [-400, -200], backwards).doubles == [coming]


def test_every_cherry_of_a_mixed_belt_gets_its_own_row():
    kinds = {1: ("clean", "clean"), 2: ("clean", "pit"), 3: ("pit", "pit"), 4: ("pit", "clean"), 5: ("pit", "pit")}
    belt = [replace(CHERRY, id=key, label=label, x_px=100.0 * key) for key, (label, _) in kinds.items()]
    verdicts = [judged(said, (100 * key - 30, 25, 60, 50)) for key, (_, said) in kinds.items()]
    found = score(belt, verdicts[::-1], TICKS, GEOMETRY)
    assert found.confusion == {("clean", "clean"): 1, ("clean", "pit"): 1, ("pit", "pit"): 2, ("pit", "clean"): 1}
    assert {key: verdict.verdict for key, verdict in found.verdict_of.items()} == {k: v for k, (_, v) in kinds.items()}


def test_a_cherry_longer_than_the_frame_is_never_due():
    assert score([replace(CHERRY, height_px=220)], [], list(range(0, 1000, 10)), GEOMETRY).due == 0


def test_a_cherry_cut_by_the_side_is_found_though_its_middle_is_out_of_view():
    outside = replace(CHERRY, x_px=-12.0, cut_lateral=True)
    found = score([outside], [judged("side", (0, 25, 18, 50))], TICKS, GEOMETRY)
    assert (found.misses, found.stray) == ([], [])
    assert found.confusion == {("cut by an edge", "side"): 1}


@pytest.mark.parametrize(("cut_x", "whole_x", "box_x"), [(-12.0, 45.0, 0), (612.0, 555.0, 525)])
def test_a_group_that_a_side_cuts_is_the_verdict_of_the_cut_one_too(cut_x, whole_x, box_x):
    cut = replace(CHERRY, x_px=cut_x, cut_lateral=True, touching=1)
    whole = replace(CHERRY, id=2, x_px=whole_x, touching=1)
    found = score([cut, whole], [judged("side", (box_x, 25, 75, 50))], TICKS, GEOMETRY)
    assert (found.misses, found.doubles, found.stray) == ([], [], [])
    assert found.confusion == {("cut by an edge", "side"): 1, ("touching", "side"): 1}


@pytest.mark.parametrize(("y", "height", "belongs"), [(18, 12, False), (18, 16, True), (70, 8, True), (70, 12, False)])
def test_a_box_whose_middle_lies_beyond_the_cherry_is_not_its_verdict(y, height, belongs):
    found = score([CHERRY], [judged("clean", (270, y, 60, height))], TICKS, GEOMETRY)  # the cherry: rows 25 to 75
    assert (len(found.misses), len(found.stray)) == ((0, 0) if belongs else (1, 1))


def test_foreign_things_are_counted_but_never_due():
    stone = replace(CHERRY, kind="foreign", label="")
    found = score([stone], [], TICKS, GEOMETRY)
    assert (found.due, found.misses) == (0, [])
    found = score([stone], [judged("maybe", AROUND)], TICKS, GEOMETRY)
    assert found.confusion == {("foreign", "maybe"): 1}


def test_the_kind_says_what_makes_a_thing_hard_first():
    assert kind_of(CHERRY) == "clean"
    assert kind_of(replace(CHERRY, label="pit")) == "pit"
    assert kind_of(replace(CHERRY, touching=1)) == "touching"
    assert kind_of(replace(CHERRY, touching=1, cut_lateral=True)) == "cut by an edge"
    assert kind_of(replace(CHERRY, kind="foreign", label="", cut_lateral=True)) == "foreign"
