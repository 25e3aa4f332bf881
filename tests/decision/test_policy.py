import math

import pytest

from pitcore.config import ActionsConfig, DecisionConfig
from pitcore.decision import policy
from pitcore.decision.policy import Judgement, Shape
from pitcore.model_card import ProbabilityCalibration, Thresholds

SOFTMAX = ProbabilityCalibration(method="platt", slope=1.0, intercept=0.0)
THRESHOLDS = Thresholds(accept=0.2, reject=0.8)
ROUND_CHERRY = Shape(area_px=2600, elongation=1.1, ellipse_fill=0.985, plane_means=(100.0, 130.0))


def test_two_class_probability_is_softmax_when_uncalibrated():
    expected = math.exp(1.5) / (math.exp(1.5) + math.exp(-0.5))
    assert policy.pit_probability([-0.5, 1.5], ["clean", "pit"], SOFTMAX) == round(expected, 6)


def test_three_class_probability_is_softmax_when_uncalibrated():
    logits = {"clean": 0.3, "maybe": -1.0, "pit": 0.9}
    total = sum(math.exp(value) for value in logits.values())
    shares = policy.probabilities(list(logits.values()), list(logits), SOFTMAX)
    for label, value in logits.items():
        assert shares[label] == pytest.approx(math.exp(value) / total, abs=2e-6)


def test_the_order_of_labels_is_the_cards():
    assert policy.pit_probability([3.0, -3.0], ["pit", "clean"], SOFTMAX) > 0.99


def test_calibration_moves_the_probability():
    calibration = ProbabilityCalibration(method="platt", slope=0.5, intercept=-1.0)
    assert policy.pit_probability([0.0, 2.0], ["clean", "pit"], calibration) == 0.5


@pytest.mark.parametrize("margin", [-1e4, 1e4])
def test_huge_logits_do_not_overflow(margin):
    assert policy.pit_probability([0.0, margin], ["clean", "pit"], SOFTMAX) == (1.0 if margin > 0 else 0.0)


@pytest.mark.parametrize(
    ("p_pit", "verdict"),
    [(0.0, "clean"), (0.199999, "clean"), (0.2, "maybe"), (0.799999, "maybe"), (0.8, "pit"), (1.0, "pit")],
)
def test_thresholds_belong_to_the_safer_side(p_pit, verdict):
    assert policy.judge_probability(p_pit, THRESHOLDS)[0] == verdict


def test_equal_thresholds_leave_no_maybe():
    both = Thresholds(accept=0.5, reject=0.5)
    assert policy.judge_probability(0.5, both)[0] == "pit"
    assert policy.judge_probability(0.499999, both)[0] == "clean"


@pytest.mark.parametrize("doubt", ["touching", "foreign", "cut"])
@pytest.mark.parametrize("p_pit", [0.0, 0.5, 1.0])
def test_a_thing_in_doubt_is_never_clean(doubt, p_pit):
    shares = {"clean": 1 - p_pit, "pit": p_pit}
    judged = policy.judge(shares, doubt, THRESHOLDS)
    assert judged.verdict != "clean"
    if judged.verdict == "maybe":
        assert judged.reason == doubt


def test_a_foreign_thing_is_maybe_whatever_the_network_says():
    assert policy.judge({"clean": 0.0, "pit": 1.0}, "foreign", THRESHOLDS).verdict == "maybe"


def test_a_visible_pit_among_touching_cherries_is_a_pit():
    assert policy.judge({"clean": 0.0, "pit": 1.0}, "touching", THRESHOLDS).verdict == "pit"


def test_one_round_cherry_raises_no_doubt():
    assert policy.shape_reason(ROUND_CHERRY, DecisionConfig()) is None


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        (Shape(9000, 1.2, 0.98, (100.0, 130.0)), "touching"),
        (Shape(4000, 2.4, 0.98, (100.0, 130.0)), "touching"),
        (Shape(4000, 1.6, 0.91, (100.0, 130.0)), "touching"),
        (Shape(2600, 1.1, 0.98, (12.0, 130.0)), "foreign"),
        (Shape(2600, 1.1, 0.98, (100.0, 3.0)), "foreign"),
        (Shape(2600, 1.1, 0.98, (250.0, 130.0)), "foreign"),
        (Shape(569, 1.1, 0.98, (100.0, 130.0)), "foreign"),
        (Shape(570, 1.1, 0.98, (100.0, 130.0)), None),
    ],
)
def test_odd_shapes_and_greys_raise_a_doubt(shape, reason):
    assert policy.shape_reason(shape, DecisionConfig()) == reason


def test_what_the_network_did_not_see_is_maybe_with_its_reason():
    assert policy.judge_unseen("overload") == Judgement("maybe", "overload", None)


def test_actions_follow_the_boards_table():
    actions = ActionsConfig(maybe="reject")
    assert [policy.action_of(name, actions) for name in ("clean", "maybe", "pit", "side")] == [
        "pass",
        "reject",
        "reject",
        "review",
    ]


@pytest.mark.parametrize(
    ("failsafe", "clean", "foreign", "side"),
    [
        ("alarm", ("clean", None, "pass"), ("maybe", "foreign", "review"), ("side", None, "review")),
        ("maybe", ("maybe", "failsafe", "review"), ("maybe", "foreign", "review"), ("side", None, "review")),
        ("reject", ("maybe", "failsafe", "reject"), ("maybe", "foreign", "reject"), ("side", None, "reject")),
    ],
)
def test_an_alarm_changes_verdicts_and_actions_as_documented(failsafe, clean, foreign, side):
    """The table below `action` in docs/verdicts.md."""
    before = (Judgement("clean", None, None), Judgement("maybe", "foreign", None), policy.SIDE)
    after = [policy.fail_safe(judgement, failsafe) for judgement in before]
    found = [(one.verdict, one.reason, policy.action_of(one.verdict, ActionsConfig(), failsafe)) for one in after]
    assert found == [clean, foreign, side]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_logits_that_are_no_numbers_are_maybe_and_never_clean(value, at):
    logits = [3.0, -1.0, -9.0]
    logits[at] = value
    shares = policy.probabilities(logits, ["clean", "maybe", "pit"], SOFTMAX)
    assert policy.judge(shares, None, THRESHOLDS) == Judgement("maybe", "not_finite", None)
    assert policy.judge(shares, "touching", THRESHOLDS) == Judgement("maybe", "touching", None)
    p_pit = policy.pit_probability(logits, ["clean", "maybe", "pit"], SOFTMAX)
    assert policy.judge_probability(p_pit, THRESHOLDS) == ("maybe", "not_finite")
