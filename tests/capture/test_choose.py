"""Tests which cherries are kept."""

import random

import pytest

from pitcore.capture.choose import OUTLIERS_AFTER, Chooser
from pitcore.config import CaptureConfig
from pitcore.decision.policy import Shape
from pitcore.model_card import Thresholds
from tests.page.board import verdict

AT = Thresholds(accept=0.2, reject=0.8)
USUAL = Shape(2000, 1.1, 1.0, (90.0, 60.0))


def chooser(**keys):
    return Chooser(CaptureConfig(**({"random_share": 0.0, "sample_seed": 1} | keys)))


def why(one, name="clean", *, pit=0.001, reason=None, shape=USUAL, at_s=0.0):
    return one.why(verdict(name, pit=pit, reason=reason), shape, AT, at_s)


def test_the_random_sample_is_of_the_share_of_every_verdict_and_equal_for_an_equal_seed():
    runs = []
    for _ in range(2):
        one = chooser(random_share=0.05, doubtful_per_minute=0.0)
        draw = random.Random(3)  # noqa: S311
        kept = {"clean": 0, "maybe": 0, "pit": 0}
        of = dict.fromkeys(kept, 0)
        order = []
        for _ in range(30_000):
            name, pit = draw.choice([("clean", 0.01), ("maybe", 0.5), ("pit", 0.99)])
            reasons, _ = why(one, name, pit=pit, reason="uncertain" if name == "maybe" else None)
            of[name] += 1
            kept[name] += "random" in reasons
            order.append(bool(reasons))
        runs.append(order)
        for name, count in kept.items():  # five standard deviations
            assert abs(count - 0.05 * of[name]) < 5 * (of[name] * 0.05 * 0.95) ** 0.5
    assert runs[0] == runs[1]


def test_a_cherry_drawn_at_random_says_also_why_it_is_doubtful():
    assert why(chooser(random_share=1.0), "maybe", pit=0.5, reason="touching") == (("random", "touching"), False)


@pytest.mark.parametrize(
    ("pit", "kept"),
    [(0.2, True), (0.19, True), (0.21, True), (0.15, True), (0.05, False), (0.79, True), (0.95, False), (1.0, False)],
)
def test_near_means_near_a_threshold_in_log_odds(pit, kept):
    assert ("near_threshold" in why(chooser(), pit=pit)[0]) is kept


@pytest.mark.parametrize("reason", ["uncertain", "touching", "foreign", "cut", "not_finite"])
def test_a_maybe_is_kept_under_its_reason(reason):
    assert reason in why(chooser(), "maybe", pit=None, reason=reason)[0]


def test_doubtful_cherries_above_the_limit_a_minute_are_skipped_and_counted():
    one = chooser(doubtful_per_minute=6.0)
    told = [why(one, "maybe", pit=0.5, reason="uncertain", at_s=1.0) for _ in range(10)]
    assert [bool(reasons) for reasons, _ in told] == [True] * 6 + [False] * 4
    assert [passed for _, passed in told] == [False] * 6 + [True] * 4
    assert why(one, "maybe", pit=0.5, reason="uncertain", at_s=11.0)[0]  # ten seconds bring one
    assert not why(one, "maybe", pit=0.5, reason="uncertain", at_s=11.0)[0]


def shapes(number, level=90.0):
    draw = random.Random(5)  # noqa: S311
    for _ in range(number):
        yield Shape(round(2000 * draw.lognormvariate(0, 0.1)), 1.1, 1.0, (draw.gauss(level, 4), draw.gauss(60, 4)))


def test_an_unusual_cherry_is_an_outlier_and_the_usual_ones_are_not():
    one = chooser()
    usual = [why(one, shape=shape)[0] for shape in shapes(3000)]
    assert sum("outlier" in reasons for reasons in usual) == 0
    for unusual in (Shape(9000, 1.1, 1.0, (90.0, 60.0)), Shape(2000, 1.1, 1.0, (150.0, 60.0))):
        assert "outlier" in why(one, shape=unusual)[0]


def test_nothing_is_an_outlier_before_the_usual_is_known():
    one = chooser()
    for shape in shapes(OUTLIERS_AFTER - 1):
        why(one, shape=shape)
    assert "outlier" not in why(one, shape=Shape(9000, 1.1, 1.0, (90.0, 60.0)))[0]
