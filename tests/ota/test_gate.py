import pytest

from pitcore.ota.gate import Failed, Gate, Health, Passed, judge

GATE = Gate(frames=100, cherries=0, max_infer_ms=50.0, more_troubles=0.02)


def health(frames, troubles=0, infer_ms=10.0):
    return Health("1" * 64, frames, troubles, infer_ms)


START = health(2)


def test_too_few_frames_give_no_result():
    assert judge(GATE, None, START, health(101, troubles=99)) is None


def test_a_good_model_passes():
    assert judge(GATE, None, START, health(102)) == Passed()


@pytest.mark.parametrize(("troubles", "passes"), [(12, True), (13, False)])
def test_faults_are_compared_with_those_that_are_usual_on_this_line(troubles, passes):
    before = health(1000, troubles=100)  # a line with a bad camera: one frame in ten
    assert isinstance(judge(GATE, before, START, health(102, troubles)), Passed if passes else Failed)


def test_faults_without_a_history_are_compared_with_none():
    found = judge(GATE, None, START, health(102, 3))
    assert found == Failed("3 events in 100 frames, 0.0 in 100 frames are usual")


def test_a_network_that_leaves_no_time_fails_and_0_asks_for_nothing():
    assert "51 ms" in judge(GATE, None, START, health(102, infer_ms=51.0)).why
    assert judge(Gate(frames=100, cherries=0, max_infer_ms=0.0), None, START, health(102, infer_ms=999.0)) == Passed()
    assert judge(GATE, None, START, health(102, infer_ms=None)) == Passed()
