import pytest

from pitcore.ota.gate import Failed, FaultShares, Gate, Health, Passed, Unclear, judge

GATE = Gate(frames=100, cherries=0, max_infer_ms=50.0, more_troubles=0.02)


def health(frames, model_faults=0, faults=None, infer_ms=10.0):
    return Health("1" * 64, frames, model_faults, model_faults if faults is None else faults, infer_ms)


START = health(2)


def test_too_few_frames_give_no_result():
    assert judge(GATE, START, health(101, 99)) is None


def test_a_good_model_passes():
    assert judge(GATE, START, health(102)) == Passed()


@pytest.mark.parametrize(("number", "passes"), [(12, True), (13, False)])
def test_faults_are_compared_with_those_that_are_usual_on_this_line(number, passes):
    usual = health(1000, 100).shares  # a slow board: one frame in ten
    assert isinstance(judge(GATE, START, health(102, number), usual), Passed if passes else Failed)
    usual = health(1000, faults=100).shares  # a line with a bad camera
    assert isinstance(judge(GATE, START, health(102, faults=number), usual), Passed if passes else Unclear)


def test_faults_without_a_history_are_compared_with_none():
    found = judge(GATE, START, health(102, 3))
    assert found == Failed("frames are late or dropped too often: 3 in 100 frames, 0.0 in 100 frames are usual")


def test_faults_of_the_machine_do_not_pass_and_do_not_fail():
    found = judge(GATE, START, health(102, faults=3))
    assert found == Unclear("too many faults, perhaps of the machine: 3 in 100 frames, 0.0 in 100 frames are usual")


def test_faults_of_the_machine_hide_no_fault_of_the_model():
    assert isinstance(judge(GATE, START, health(102, 3, faults=90)), Failed)
    assert isinstance(judge(GATE, START, health(102, faults=90, infer_ms=51.0)), Failed)


def test_a_burst_of_dropped_frames_is_unclear_and_passes_once_it_is_rare():
    """One event, 30 frames: the model hung, or the machine did."""
    assert isinstance(judge(GATE, START, health(1002, 1, faults=30)), Unclear)
    assert judge(GATE, START, health(2002, 1, faults=30)) == Passed()


def test_a_service_that_judged_no_frame_has_no_usual_faults():
    assert health(0, 5).shares == FaultShares()


def test_a_network_that_leaves_no_time_fails_and_0_asks_for_nothing():
    assert "51 ms" in judge(GATE, START, health(102, infer_ms=51.0)).why
    assert judge(Gate(frames=100, cherries=0, max_infer_ms=0.0), START, health(102, infer_ms=999.0)) == Passed()
    assert judge(GATE, START, health(102, infer_ms=None)) == Passed()
